"""The stages that train the scorers, and the pairs they learn from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_training import CPU

from training.checks import check_scorers
from training.learning.reward_network import RewardModel, RewardSizes
from training.learning.time_budget import TimeBudget
from training.stages import reward_mini as reward
from training.stages import siglip_mini as siglip
from training.stages.contrasts import KINDS, visible
from training.stages.generator import STEPS, draw_by_steps
from training.world import alterations
from training.world.scene import Scene, SceneObject, Setting


def test_both_captions_of_a_contrast_tell_what_differs(world, contrasts, words):
    assert len(contrasts.captions) == len(contrasts.kinds) == 30
    assert set(contrasts.kinds.tolist()) == set(range(len(KINDS)))
    for kind, (first, second) in zip(contrasts.kinds, contrasts.captions, strict=True):
        assert first != second, KINDS[kind]
        if KINDS[kind] == "another object":
            names = {concept.label for concept in world.concepts}
            told = [{name for name in names if name in visible(text, words).lower()} for text in (first, second)]
            assert told[0] != told[1], (first, second)


def test_only_what_a_caption_says_is_told(world):
    cat = SceneObject(0, "3d", 0.5, 0.5, 0.6)
    scene = Scene((cat, cat), Setting("plain", ("mint",)), count=2)
    one = Scene((cat,), Setting("plain", ("mint",)), count=1)
    assert alterations.tells("another count", scene, one, "Two cats on mint", world)
    assert not alterations.tells("another count", scene, one, "Cats on mint", world)
    flat = Scene((replace(cat, style="flat"),), one.setting, count=1)
    assert not alterations.tells("another style", one, flat, "a cat", world)
    assert alterations.tells("another style", flat, one, "A flat illustration of a cat", world)
    red = replace(one, objects=(replace(cat, color="gray"),))
    assert alterations.tells("another color", red, one, "a grey cat", world)
    assert not alterations.tells("another color", red, one, "a cat on a mint background", world)


def test_the_visible_part_of_a_caption_ends_with_the_last_token_read(words):
    text = "a cat and a dog and a car"
    assert visible(text, words, 100) == text
    assert visible(text, words, 4) == "a cat"
    assert visible("", words) == ""


def test_siglip_trains_on_pictures_and_captions(samples, contrasts, renderer, words, generator):
    torch.manual_seed(0)
    pool = siglip.fill_pool(renderer, samples, 40, contrasts, words, CPU)
    before = pool.pictures.clone()
    siglip.pass_some_through_vae(generator.vae, pool.pictures, 16)
    changed = (pool.pictures != before).flatten(1).any(1).nonzero()[:, 0]
    assert changed.tolist() == list(range(0, len(before), 16))
    model = siglip.build_siglip(words.get_vocab_size(), 32, 1, 1)
    first = siglip.sigmoid_loss(model, *siglip.embed(model, pool.pictures, pool.ids)).item()
    pool = replace(pool, drawn=draw_by_steps(generator, siglip.told_captions(samples, 40)[:12]))
    siglip.train_siglip(model, pool, TimeBudget(60, max_steps=6), 24)
    assert siglip.sigmoid_loss(model, *siglip.embed(model, pool.pictures, pool.ids)).item() < first
    assert 0.0 <= siglip.accuracy_of_64(model.eval(), pool.pictures, pool.ids) <= 1.0
    assert 0.0 <= siglip.contrast_accuracy(model, pool.part(None, 8)) <= 1.0


def test_siglip_sees_a_picture_beside_the_same_one_in_the_next_smaller_number_of_steps(samples, renderer, words):
    pool = siglip.fill_pool(renderer, samples, 12, None, words, CPU)
    assert [len(part) for part in pool.draw_steps(5, torch.Generator())] == [0, 0, 0]
    assert siglip.steps_accuracy(siglip.build_siglip(10, 32, 1, 1), pool) is None
    # each drawn picture is of one level: ten times its rank plus its caption's number
    levels = 10 * torch.arange(len(STEPS))[:, None] + torch.arange(4)
    pool = replace(pool, drawn=levels.to(torch.uint8)[..., None, None, None].expand(-1, -1, 3, 128, 128))
    more, fewer, ids = pool.draw_steps(50, torch.Generator().manual_seed(0))
    assert (more.int() - fewer.int() == 10).all()
    captions = fewer[:, 0, 0, 0].long() % 10
    assert torch.equal(ids, pool.ids[captions])
    assert set((fewer[:, 0, 0, 0] // 10).tolist()) == {0, 1}


def test_a_spoilt_picture_that_fits_as_well_costs_more_than_one_that_fits_less():
    model = siglip.build_siglip(10, 32, 1, 1)
    text = torch.eye(2, 4)
    equal = siglip.clarity_loss(model, text, text, text)
    assert equal.item() == pytest.approx(np.log(2.0))
    assert siglip.clarity_loss(model, text, text.flip(0), text) < equal


def test_the_reward_trains_and_more_steps_win(samples, contrasts, renderer, words, generator):
    data = reward.prepare(renderer, samples, contrasts, words, 48, CPU)
    data = reward.draw_in_few_steps(data, samples.captions[:12], generator)
    better, worse, ids = reward._draw_steps(data, torch.zeros(64, dtype=torch.long), torch.Generator().manual_seed(1))
    ranks = torch.cat([data.drawn[:, 0], data.true[:1]])
    place = [[int((rank == picture).all()) for rank in ranks].index(1) for picture in worse]
    lead = [len(ranks) - 1 - [int((rank == picture).all()) for rank in ranks][::-1].index(1) for picture in better]
    assert all(one <= other for one, other in zip(place, lead, strict=True))
    assert ids.shape == (64, 35)
    model = RewardModel(RewardSizes(words.get_vocab_size(), 32, 2, 1, 1))
    reward.train_reward(model, data.part(8, None), TimeBudget(60, max_steps=2), 16)
    model.eval()
    mean, deviation = reward.truth_scale(model, data)
    with torch.no_grad():
        rewards = (reward.reward_of(model, data.true, data.ids) - mean) / deviation
    assert rewards.mean() == pytest.approx(0.0, abs=1e-3)
    assert rewards.std() == pytest.approx(1.0, abs=1e-3)
    assert reward.preference_accuracy(model, data, 32).keys() == reward.SHARES.keys()


def test_the_second_loss_of_the_reward_teaches_pictures_and_words_alone(words):
    torch.manual_seed(0)
    model = RewardModel(RewardSizes(words.get_vocab_size(), 32, 2, 1, 1))
    match = reward.WordMatch(32)
    pictures = torch.randint(0, 256, (4, 3, 128, 128), dtype=torch.uint8)
    ids = torch.tensor([[2, 9, 3, 0], [2, 10, 3, 0], [2, 11, 3, 0], [2, 12, 3, 0]])
    optimizer = torch.optim.Adam([*model.parameters(), *match.parameters()], 1e-2)
    losses = []
    for _ in range(12):
        tokens = model.look(reward.normalise_pictures(pictures))
        loss = match(tokens, model.embed_words(ids), ids != 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0], losses
    assert all(parameter.grad is None for parameter in model.mlp.parameters())


def test_each_side_of_a_contrast_wins_with_its_own_caption(samples, contrasts, renderer, words):
    data = reward.prepare(renderer, samples, contrasts, words, 8, CPU)
    better, worse, ids = reward.draw_pair(data, "another object", 40, torch.Generator().manual_seed(1))
    for picture, other, text in zip(better, worse, ids, strict=True):
        pair, side = (data.pair_ids == text).all(-1).nonzero()[0].tolist()
        assert torch.equal(data.pairs[pair, side], picture)
        assert torch.equal(data.pairs[pair, 1 - side], other)


def test_a_ranking_is_true_only_if_every_step_is():
    layers = {
        name: {"siglip": rate, "reward": -rate, "judge": rate}
        for name, rate in zip(check_scorers.LAYERS, (4, 9, 8, 7, 6, 5), strict=True)
    }
    steps = {f"{count} steps": {"siglip": count, "reward": min(count, 4), "judge": 1.0} for count in (2, 4, 9)}
    found = {line.name: line.is_met for line in check_scorers.rankings(layers | steps)}
    assert found == {
        "siglip ranks 2 < 4 < 9 steps": True,
        "siglip ranks layers as the judge does": True,
        "reward ranks 2 < 4 < 9 steps": False,
        "reward ranks layers as the judge does": False,
    }
    met = [line.is_met for line in check_scorers.aims({"right of 64": 0.9}, {"blurred": 0.89})]
    assert met == [True, False]
