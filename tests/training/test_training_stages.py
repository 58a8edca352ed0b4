"""The stages of training: their parts against closed forms and diffusers, and a smoke run of each on a tiny world."""

import importlib
import json
import random
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tiny_world import write_tiny_world
from tokenizers import Tokenizer

from llm_dit.checkpoints.finding import EMBEDDED_MODELS
from llm_dit.prompting.chat_template import format_prompt
from training import run
from training.checks import check_rewriter, check_scorers, evaluate, judge, retrieval
from training.checks.painted_color import painted_color
from training.checks.picture_sheet import save_sheet
from training.checks.questions import COUNTED, make_questions, named_concepts, prose_questions
from training.learning.flow_network import FlowModel, build_transformer, padded_length
from training.learning.muon import orthogonalise
from training.learning.reward_network import RewardModel, RewardSizes
from training.learning.step_graphs import StepGraphs
from training.learning.time_budget import TimeBudget, cosine_fall, late_fall, warm_up
from training.learning.weights import Average, load_weights, save_weights, start_from
from training.pictures.render import Renderer
from training.stages import language_model, vae
from training.stages import reward_mini as reward
from training.stages import siglip_mini as siglip
from training.stages.batched_euler import Generator, SampleSettings
from training.stages.contrasts import KINDS, Contrasts, make_contrasts, visible
from training.stages.dataset import Ragged, Samples, make_samples
from training.stages.denoiser import GUIDANCE, Course, Devices, EmptyCaption, flow_loss, train_denoiser
from training.stages.generator import STEPS, draw_by_steps, load_generator
from training.stages.latents import PICTURE_SIZES, LatentBatches, assign_sizes, encode_captions, encode_renders
from training.stages.restore import read_component, restore_pipeline
from training.stages.scorer_tokenizer import train_scorer_tokenizer
from training.stages.tokenizer import train_tokenizer, write_tokenizer
from training.words.samples import sample_world
from training.world import alterations
from training.world.looks import COLORS, TINTS
from training.world.scene import MAX_OBJECTS, Scene, SceneObject, Setting
from training.world.truth import OBJECT_FACTS, middle_of
from training.world.world import World

CPU = torch.device("cpu")
TINY_TRANSFORMER = {"dim": 48, "n_layers": 2, "n_refiner_layers": 1, "n_heads": 1, "cap_feat_dim": 64}
TINY_LANGUAGE_MODEL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3}
TINY_VAE = (8, 16, 16, 16)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def world_path(tmp_path_factory) -> Path:
    return write_tiny_world(tmp_path_factory.mktemp("world") / "sprites.npz")


@pytest.fixture(scope="module")
def world(world_path) -> World:
    return World.load(world_path)


@pytest.fixture(scope="module")
def tokenizer_path(world, tmp_path_factory) -> Path:
    batch = sample_world(world, 200, 1)
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(train_tokenizer([*batch.captions, *batch.dialogues], 600), folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(tokenizer_path) -> Tokenizer:
    return Tokenizer.from_file(str(tokenizer_path / "tokenizer.json"))


@pytest.fixture(scope="module")
def words(world) -> Tokenizer:
    return train_scorer_tokenizer(sample_world(world, 200, 2).captions, 400)


@pytest.fixture(scope="module")
def samples(world_path, tokenizer_path) -> Samples:
    return make_samples(world_path, tokenizer_path, 120, 3, 1, with_truth=True)


@pytest.fixture(scope="module")
def contrasts(world, words) -> Contrasts:
    return make_contrasts(world, words, 30, 4, 1)


@pytest.fixture(scope="module")
def renderer(world) -> Renderer:
    return Renderer(world, CPU)


@pytest.fixture(scope="module")
def generator(tokenizer) -> Generator:
    torch.manual_seed(0)
    flow = FlowModel(build_transformer(**TINY_TRANSFORMER), torch.float32, is_compiled=False)
    small_vae = vae.build_vae(TINY_VAE).eval()
    model = language_model.build_language_model(tokenizer, **TINY_LANGUAGE_MODEL).eval()
    return Generator(tokenizer, model, flow, small_vae, CPU)


def test_the_batched_forward_equals_diffusers_with_and_without_picture_pads():
    torch.manual_seed(0)
    model = build_transformer(**TINY_TRANSFORMER)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        latents, time = torch.randn(2, 16, 12, 18), torch.rand(2)
        captions, lengths = torch.randn(2, 64, 64), torch.tensor([33, 64])
        ours = FlowModel(model, torch.float32, is_compiled=False)(latents, time, captions, lengths)
        parts = [caption[:length] for caption, length in zip(captions, lengths, strict=True)]
        theirs = model(list(latents.unsqueeze(2)), time, parts, return_dict=False)[0]
    difference = (ours - torch.stack(list(theirs)).squeeze(2)).abs()
    assert difference.max() < 2e-5, f"max {difference.max():.2e}, mean {difference.mean():.2e}"


def test_a_length_is_padded_to_the_next_multiple_of_32():
    assert [padded_length(tokens) for tokens in (1, 32, 33, 64, 65)] == [32, 32, 64, 64, 96]


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 12, 40), (2, 40, 12)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape):
    singular = torch.linalg.svdvals(orthogonalise(torch.randn(shape, generator=torch.Generator().manual_seed(1))))
    assert singular.min() > 0.6
    assert singular.max() < 1.4


def test_learning_rates_rise_and_fall_as_written():
    assert [warm_up(step, 4) for step in (0, 1, 3, 9)] == [0.25, 0.5, 1.0, 1.0]
    assert [late_fall(fraction) for fraction in (0.0, 0.5, 0.75, 1.0)] == [1.0, 1.0, 0.5, 0.0]
    assert cosine_fall(0.5) == pytest.approx(0.5)
    assert TimeBudget(1e9, max_steps=4).fraction(2) == pytest.approx(0.5)
    assert TimeBudget(10.0, start=0.0).fraction(0) == 1.0


def test_an_average_swaps_back_to_the_present_weights():
    layer = torch.nn.Linear(2, 2)
    average = Average(layer, 0.5)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    average.update()
    average.swap()
    assert not torch.equal(layer.weight, torch.ones(2, 2))
    average.swap()
    assert torch.equal(layer.weight, torch.ones(2, 2))


def test_weights_come_back_rounded_to_half_precision(tmp_path):
    layer = torch.nn.Linear(3, 3)
    save_weights(layer.state_dict(), tmp_path / "layer.safetensors")
    again = load_weights(torch.nn.Linear(3, 3), tmp_path / "layer.safetensors")
    assert torch.equal(again.weight, layer.weight.half().float())
    assert [path.name for path in tmp_path.iterdir()] == ["layer.safetensors"]


def test_ragged_rows_are_cut_and_filled():
    joined = Ragged.concatenate([Ragged.from_rows([[1, 2, 3], [4]]), Ragged.from_rows([[5, 6]])])
    assert joined.padded(np.array([2, 0, 1]), 2, 9).tolist() == [[5, 6], [1, 2], [4, 9]]


def test_samples_depend_on_the_seed_alone_and_survive_the_disk(samples, world_path, tokenizer_path, tmp_path):
    again = make_samples(world_path, tokenizer_path, 120, 3, 1, with_truth=True)
    again.save(tmp_path)
    loaded = Samples.load(tmp_path)
    assert loaded.captions == samples.captions
    assert np.array_equal(loaded.prompts.values, samples.prompts.values)
    assert np.array_equal(loaded.facts, samples.facts)
    assert len(samples.facts) == 120
    assert 0 < sum(caption == "" for caption in samples.captions) < 20


def test_a_prompt_is_tokenised_as_the_engine_formats_it(samples, tokenizer, world):
    batch = sample_world(world, 120, 3 * 1_000_003)
    told = [place for place, caption in enumerate(samples.captions) if caption][:5]
    assert len(told) == 5
    for place in told:
        text = format_prompt(
            batch.captions[place],
            system_prompt=batch.system_prompts[place],
            thinking_content=batch.thinking_contents[place],
        )
        length = samples.prompts.lengths[place]
        assert samples.prompts.padded(np.array([place]), length, 0)[0].tolist() == tokenizer.encode(text).ids


def test_an_alteration_contradicts_the_scene(world):
    generator = random.Random(1)
    scenes = sample_world(world, 60, 5).scenes
    for kind, alteration in alterations.SCENE_ALTERATIONS.items():
        altered = [alteration(scene, world, generator) for scene in scenes]
        assert any(other is not None for other in altered), kind
        assert all(scene != other for scene, other in zip(scenes, altered, strict=True)), kind


def test_the_language_model_learns_and_ignores_pads_on_the_right(samples, tokenizer):
    model = language_model.build_language_model(tokenizer, **TINY_LANGUAGE_MODEL)
    ids = torch.tensor([tokenizer.encode("a red apple").ids])
    padded = torch.cat([ids, torch.zeros(1, 5, dtype=torch.long)], 1)
    difference = language_model.hidden_states(model, padded)[:, : ids.shape[1]] - language_model.hidden_states(
        model, ids
    )
    assert difference.abs().max() < 1e-5
    loss = language_model.train_language_model(model, samples, TimeBudget(60, max_steps=40), 512, CPU)
    assert loss < 0.97 * np.log(tokenizer.get_vocab_size())


def test_training_the_last_layer_alone_keeps_the_conditioning(samples, tokenizer):
    model = language_model.build_language_model(tokenizer, **TINY_LANGUAGE_MODEL)
    ids = torch.tensor([tokenizer.encode("a red apple").ids])
    before = {layer: language_model.hidden_states(model, ids, layer) for layer in (-2, -1)}
    language_model.freeze_conditioning(model)
    opening = tokenizer.token_to_id("<|im_start|>")
    language_model.train_language_model(model, samples, TimeBudget(60, max_steps=5), 512, CPU, reply_after=opening)
    assert torch.equal(language_model.hidden_states(model, ids, -2), before[-2])
    assert not torch.equal(language_model.hidden_states(model, ids, -1), before[-1])


def test_only_the_last_turn_counts_if_replies_are_learnt(tokenizer):
    model = language_model.build_language_model(tokenizer, **TINY_LANGUAGE_MODEL)
    opening = tokenizer.token_to_id("<|im_start|>")
    ids, lengths = torch.tensor([[opening, 20, 21, opening, 22, 23, 0]]), torch.tensor([6])
    with torch.no_grad():
        loss = language_model.next_token_loss(model, ids, lengths, opening)
        shares = model(input_ids=ids).logits.log_softmax(-1)
    assert loss.item() == pytest.approx(-(shares[0, 3, 22] + shares[0, 4, 23]).item() / 2, rel=1e-5)


def test_training_starts_from_the_weights_that_ship(tokenizer, words, tmp_path):
    chat = language_model.build_language_model(tokenizer, **TINY_LANGUAGE_MODEL).half()
    pairs = siglip.build_siglip(words.get_vocab_size(), 32, 1, 1).half()
    chat.save_pretrained(tmp_path / "chat")
    pairs.save_pretrained(tmp_path / "pairs")
    sizes = RewardSizes(words.get_vocab_size(), 32, 2, 1, 1)
    preferring = RewardModel(sizes)
    save_weights(preferring.state_dict(), tmp_path / "reward" / "model.safetensors")
    again = language_model.build_language_model(tokenizer, **TINY_LANGUAGE_MODEL)
    start_from(again.model, tmp_path / "chat", prefix="model.")
    assert _are_equal(again.state_dict(), chat.state_dict())
    other = start_from(siglip.build_siglip(words.get_vocab_size(), 32, 1, 1), tmp_path / "pairs")
    assert _are_equal(other.state_dict(), pairs.state_dict())
    assert _are_equal(start_from(RewardModel(sizes), tmp_path / "reward").state_dict(), preferring.half().state_dict())
    with pytest.raises(RuntimeError, match="Missing key"):
        start_from(siglip.build_siglip(words.get_vocab_size(), 32, 2, 1), tmp_path / "pairs")


def _are_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name].float()) for name in first)


def test_the_vae_learns_and_its_scale_makes_latents_standard(renderer, samples):
    torch.manual_seed(0)
    model = vae.build_vae(TINY_VAE)
    rows = torch.from_numpy(samples.rows[:24])
    pools = {(64, 64): renderer.render(rows, 64, 64)}
    first, _ = vae.vae_loss(model, vae.to_signed(pools[64, 64]))
    batches = (vae.to_signed(pools[64, 64][:8]) for _ in range(20))
    vae.train_vae(model, batches, TimeBudget(60, max_steps=10))
    last, _ = vae.vae_loss(model, vae.to_signed(pools[64, 64]))
    assert last < first
    scale = vae.latent_scale(model, lambda part, _height, _width: renderer.render(part, 64, 64), rows)
    latents = (vae.encode(model, pools[64, 64]) - scale["shift_factor"]) * scale["scaling_factor"]
    assert abs(latents.mean()) < 0.05
    assert latents.std() == pytest.approx(1.0, abs=0.05)


def test_a_mosaic_is_four_halved_pictures():
    pictures = torch.arange(4.0)[:, None, None, None].expand(4, 1, 4, 4)
    assert vae._mosaic(pictures)[0, 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]


def test_the_transformer_trains_on_batches_of_one_shape(samples, renderer, generator, tmp_path):
    count = 24
    sizes = assign_sizes(count, 1) % 2
    latents = encode_renders(renderer.render, generator.vae, samples.rows[:count], sizes, CPU)
    shapes = sorted(tuple(8 * side for side in table.shape[2:]) for table in latents.tables.values())
    assert shapes == sorted(list(PICTURE_SIZES)[:2])
    captions, lengths = encode_captions(
        generator.language_model, Ragged(samples.prompts.values, samples.prompts.ends[:count]), CPU
    )
    batches = LatentBatches(latents, captions, lengths, 512, 1)
    drawn, states, real = batches.draw()
    assert states.shape[1] == padded_length(int(real.max()))
    flow = FlowModel(build_transformer(**TINY_TRANSFORMER), torch.float32, is_compiled=False)
    empty = EmptyCaption(states[:1, :32], torch.tensor([5]))
    before = flow_loss(flow, drawn, states, real, torch.full((len(drawn),), 0.5)).item()
    course = Course(guided_from=0.5)
    train_denoiser(
        flow, batches, empty, TimeBudget(60, max_steps=6), Devices(), course, tmp_path / "so_far.safetensors"
    )
    after = flow_loss(flow, drawn, states, real, torch.full((len(drawn),), 0.5)).item()
    assert np.isfinite(after)
    assert after < 1.2 * before


def test_the_guided_target_leads_away_from_the_estimate_without_a_caption():
    latents, captions = torch.randn(2, 16, 4, 4), torch.zeros(2, 32, 8)
    empty = EmptyCaption(torch.ones(1, 32, 8), torch.tensor([3]))

    def model(noisy, _time, states, _lengths):
        return torch.zeros_like(noisy) + states.mean()  # 0 with the caption, 1 without

    torch.manual_seed(0)
    guided = flow_loss(model, latents, captions, torch.tensor([3, 3]), torch.tensor([0.5, 0.5]), empty)
    torch.manual_seed(0)
    target = latents - torch.randn_like(latents)
    assert guided == pytest.approx((target - GUIDANCE).square().mean().item(), rel=1e-5)


def test_steps_that_share_a_shape_are_run_plainly_on_the_cpu():
    graphs = StepGraphs(lambda value: 2 * value, CPU)
    assert [graphs(torch.tensor([float(step)])).item() for step in range(40)] == [2.0 * step for step in range(40)]
    assert not graphs.recorded


def test_the_shipped_miniature_comes_back_as_the_weights_of_its_stages(tmp_path):
    restore_pipeline(EMBEDDED_MODELS / "mini", tmp_path)
    restored = load_generator(EMBEDDED_MODELS / "mini" / "tokenizer", tmp_path, CPU)
    with safe_open(EMBEDDED_MODELS / "mini" / "text_encoder" / "model.safetensors", "pt") as shipped:
        expected = shipped.get_tensor("model.layers.3.mlp.up_proj.weight")
    assert torch.equal(restored.language_model.model.layers[3].mlp.up_proj.weight, expected.float())
    shipped_transformer = read_component(EMBEDDED_MODELS / "mini" / "transformer")
    state = restored.flow.transformer.state_dict()
    assert shipped_transformer.keys() == state.keys()
    assert all(torch.equal(state[name], value.float()) for name, value in shipped_transformer.items())
    scale = json.loads((EMBEDDED_MODELS / "mini" / "vae" / "config.json").read_text())["scaling_factor"]
    assert restored.vae.config.scaling_factor == scale


def test_a_drawn_picture_depends_on_its_own_seed_alone(generator):
    prompts = [format_prompt("a cat"), format_prompt("a long prompt about a dog and a car " * 4)]
    settings = SampleSettings(steps=2, height=64, width=96, guidance_scale=1.0)
    both = generator.draw(prompts, [1, 2], settings)
    alone = generator.draw(prompts[1:], [2], settings)
    assert both.shape == (2, 3, 64, 96)
    assert (both[1].int() - alone[0].int()).abs().max() <= 1


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


def test_the_judge_finds_what_it_has_learnt(samples, renderer, world, tmp_path):
    torch.manual_seed(0)
    network = judge.Judge(len(world.concepts), (8, 16, 16, 16))
    pool = renderer.render(torch.from_numpy(samples.rows[:24]), 64, 64)
    facts = torch.from_numpy(samples.facts[:24])
    first = judge.judge_loss(network, pool, facts).item()
    judge.train_judge(network, pool, facts, TimeBudget(60, max_steps=8), 12)
    assert judge.judge_loss(network, pool, facts).item() < first
    verdicts = judge.look(network.eval(), pool)
    assert len(verdicts) == 24
    assert all(verdict.objects for verdict in verdicts)
    save_weights(network.state_dict(), tmp_path / "judge.safetensors")
    load_weights(judge.Judge(len(world.concepts), (8, 16, 16, 16)), tmp_path / "judge.safetensors")


def test_the_heat_of_a_picture_is_highest_at_its_objects():
    facts = torch.full((1, len(OBJECT_FACTS) * MAX_OBJECTS + 3), -1.0)
    facts[0, :5] = torch.tensor([3.0, 0.0, 0.25, 0.75, 0.2])
    heat = judge.heat_of(facts, 8, 8)[0]
    assert heat[5:7, 1:3].min() == heat.max() == pytest.approx(np.exp(-0.5 / (2 * judge.HEAT_WIDTH**2)))
    assert heat[0].max() < 1e-6
    assert not judge.heat_of(torch.full_like(facts, -1.0), 8, 8).any()


def test_neighbouring_cells_are_one_object_and_the_threshold_is_calibrated(monkeypatch):
    presence = torch.zeros(2, 8, 8)
    presence[0, 2, 2], presence[0, 2, 4], presence[0, 6, 6] = 0.9, 0.6, 0.45
    presence[1, 2, 2], presence[1, 5, 5] = 0.8, 0.15
    assert (judge.peaks_of(presence) > 0.1).sum((1, 2)).tolist() == [2, 2]
    facts = torch.full((2, len(OBJECT_FACTS) * MAX_OBJECTS + 3), -1.0)
    for picture, place, x in ((0, 0, 0.3), (0, 1, 0.8), (1, 0, 0.3)):
        facts[picture, 5 * place : 5 * place + 5] = torch.tensor([3.0, 0.0, x, x, 0.2])
    network = judge.Judge(4, (8, 16, 16, 16)).eval()
    views = judge.Views(torch.zeros(2, 256, 8, 8), presence.logit(), torch.zeros(2, 16))
    monkeypatch.setattr(judge, "_views", lambda _judge, _pictures: views)
    assert judge.calibrate(network, torch.zeros(2, 3, 64, 64, dtype=torch.uint8), facts) == 1.0
    assert 0.15 < network.threshold < 0.45


def test_a_true_verdict_passes_its_question_and_a_wrong_one_fails(world, renderer):
    kinds = set()
    for question in make_questions(world, 6):
        kinds.add(question.kind)
        if question.scene is None:
            continue
        picture = renderer.render(torch.from_numpy(world.row(question.scene))[None], 128, 128)[0]
        things = question.scene.objects
        truth = judge.Verdict(
            tuple(judge.Detection(thing.concept, thing.style, *middle_of(thing), 1.0) for thing in things),
            question.scene.setting.place or "none",
            question.scene.mood,
            question.scene.medium,
            picture,
        )
        wrong_color = "green" if things[0].color != "green" else "red"
        nothing = judge.Verdict((), "none", "none", "none", painted(wrong_color))
        assert question.test(truth), question
        assert not question.test(nothing), question
    assert {"object, trained pair", "bare noun", "relation", "count 2", "color"} <= kinds


def painted(color: str, background: str | None = None) -> torch.Tensor:
    """A picture of one colour, or a square of it on a background."""
    picture = torch.tensor(COLORS[background or color], dtype=torch.uint8)[:, None, None].repeat(1, 128, 128)
    picture[:, 40:100, 30:90] = torch.tensor(COLORS[color], dtype=torch.uint8)[:, None, None]
    return picture


@pytest.mark.parametrize("color", TINTS)
def test_a_square_has_its_colour_on_any_background(color):
    for background in ("cream", "navy", "green", "white"):
        if background != color:
            assert painted_color(painted(color, background), 60 / 128, 70 / 128) == color
    assert painted_color(painted("red"), 0.0, 0.0) == painted_color(painted("red"), 0.999, 0.999) == "red"


def test_concepts_are_found_in_foreign_prose_as_whole_words(world):
    named = named_concepts(world, "A Cat, asleep in a carpet shop beside the apple.")
    assert {world.concepts[number].label for number in named} == {"cat", "apple"}


def test_the_table_shows_the_judge_beside_the_miniature(world, renderer, generator):
    network = judge.Judge(len(world.concepts), (8, 16, 16, 16)).eval()
    questions = make_questions(world, 1)
    settings = SampleSettings(steps=1, height=64, width=64)
    drawn = evaluate.ask(network, generator, questions, 1, settings)
    table = evaluate.as_markdown(drawn, {"bare noun": 1.0}, dict.fromkeys(drawn, 1), 1)
    assert "| bare noun | 1 | 1 |" in table
    assert "| 90% | 100.0% |" in table
    counted = [question for question in questions if question.kind.startswith("count ")]
    assert drawn[COUNTED] == pytest.approx(np.mean([drawn[question.kind] for question in counted]))
    assert [line.split(" | ")[0] for line in table.splitlines()[2:4]] == [
        "| object, trained pair",
        "| object, held-out pair",
    ]


def test_one_picture_answers_all_questions_about_it(world, generator, monkeypatch):
    jobs = []

    def draw(prompts, seeds, settings):
        jobs.extend(zip(prompts, seeds, strict=True))
        return torch.zeros(len(prompts), 3, settings.height, settings.width, dtype=torch.uint8)

    monkeypatch.setattr(Generator, "draw", lambda _self, *arguments: draw(*arguments))
    network = judge.Judge(len(world.concepts), (8, 16, 16, 16)).eval()
    held_out = [question for question in make_questions(world, 3) if "held-out" in question.kind]
    drawn = evaluate.ask(network, generator, held_out, 2, SampleSettings(height=64, width=64))
    assert drawn.keys() == {"object, held-out pair", "style, held-out pair"}
    assert len(jobs) == len(set(jobs)) == 2 * len({question.prompt for question in held_out})


def test_a_beach_in_prose_from_outside_may_be_the_setting(world):
    concepts = [replace(world.concepts[0], label="beach", names=("beach",)), *world.concepts[1:]]
    [question] = prose_questions(replace(world, concepts=concepts), ["Waves roll up a pale beach."])
    assert question.test(judge.Verdict((), "beach", "none", "none", painted("red")))
    assert not question.test(judge.Verdict((), "desert", "none", "none", painted("red")))


def test_a_sheet_holds_every_picture(tmp_path):
    pictures = [torch.full((3, 16, 16), value, dtype=torch.uint8) for value in (0, 100, 200)]
    save_sheet(pictures, ["a", "b", ""], tmp_path / "sheet.png", columns=2)
    from PIL import Image

    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (2 * 24, 2 * (16 + 44 + 8))


def test_a_reply_ends_at_the_end_token_and_loops_are_seen(generator):
    end = generator.tokenizer.token_to_id("<|im_end|>")
    reply = check_rewriter.complete(generator.language_model, [1, 2], end, 0.7, torch.Generator().manual_seed(0))
    assert len(reply) <= check_rewriter.MAX_NEW_TOKENS
    assert end not in reply
    assert check_rewriter.has_loop(["a", "b", "c", "d", "a", "b", "c", "d", "a", "b", "c", "d"])
    assert not check_rewriter.has_loop(["a", "red", "apple", "on", "a", "table", "and", "a", "red", "pear"])


def test_a_reply_names_a_thing_by_whole_beginnings_of_words():
    assert check_rewriter.names("Two-humped camels stand on an orange dune.", "two-humped camel")
    assert check_rewriter.names("Several red apples.", "apple")
    assert not check_rewriter.names("A pineapple, close up.", "apple")


def test_rewrites_are_counted_for_each_kind_and_together():
    good = [check_rewriter.Try("bare noun", "cat", "", is_good) for is_good in (True, False)]
    articled = [check_rewriter.Try("with an article", "a cat", "", is_good=True)] * 2
    assert check_rewriter.shares(good + articled) == {"with an article": 1.0, "bare noun": 0.5, "all": 0.75}


def test_the_run_leaves_each_stage_its_share_and_skips_what_is_there(tmp_path, monkeypatch):
    plan = run.Plan(tmp_path, tmp_path, tmp_path, 1000.0, 2, 10, None, start=0.0)
    assert plan.denoiser_end < plan.scorers_end < 1000.0
    assert plan.scorers_end - plan.denoiser_end == pytest.approx(plan.share("reward") + 10.0)
    started = []
    monkeypatch.setattr(run.Plan, "launch", lambda _self, stage, *_arguments, **_names: started.append(stage))
    (tmp_path / "vae.safetensors").touch()
    start = run._once(plan)
    start("vae", 1, [], "vae")
    start("judge", 0, [], "judge")
    assert started == ["judge"]


class Finished:
    """A process that has ended well; `made` it wrote."""

    def __init__(self, made: Path | None) -> None:
        if made is not None:
            made.parent.mkdir(parents=True, exist_ok=True)
            made.touch()

    def wait(self) -> int:
        return 0


def _check_command(module: str, arguments: list[str]) -> None:
    """Every option that is given is known to the stage, and every one that it needs is given."""
    parameters = importlib.import_module(module).main.params
    given = {argument for argument in arguments if argument.startswith("--")}
    assert given <= {name for parameter in parameters for name in parameter.opts}, module
    assert {parameter.opts[0] for parameter in parameters if parameter.required} <= given, module


@pytest.mark.parametrize("devices", [1, 2])
def test_the_run_starts_every_stage_with_options_that_it_knows(devices, tmp_path, monkeypatch):
    started = []

    def launch(_plan, stage, _device, *arguments, name=None):
        _check_command(run.MODULES[stage], list(arguments))
        started.append(name or stage)
        named = dict(pairwise(arguments))
        if stage in ("dataset", "contrasts"):
            return Finished(Path(named["--output"]) / "captions.json")
        return Finished(tmp_path / f"{stage}.safetensors")

    monkeypatch.setattr(run.Plan, "launch", launch)
    run.run_stages(run.Plan(tmp_path, Path("world"), Path("words"), 1000.0, devices, 10, Path("prompts"), start=0.0))
    data = [f"dataset{rank}" for rank in range(devices)]
    trained = ["language_model", "vae", "denoiser", "judge", "siglip", "reward"]
    others = ["scorer_tokenizer", "contrasts", "judge_data", "evaluate", "check_scorers"]
    assert sorted(started) == sorted(data + trained + others)
    started.clear()
    (tmp_path / "transformer.safetensors").touch()
    (tmp_path / "scorer_tokenizer.json").touch()
    run.run_stages(run.Plan(tmp_path, Path("world"), Path("words"), 1000.0, devices, 10, None, start=0.0))
    assert started == ["evaluate", "check_scorers"]


def test_a_run_that_trains_on_keeps_the_vae_and_gives_every_stage_its_start(tmp_path, monkeypatch):
    started = {}

    def launch(_plan, stage, _device, *arguments, name=None):
        _check_command(run.MODULES[stage], list(arguments))
        named = dict(pairwise(arguments))
        started[name or stage] = named
        if stage in ("dataset", "contrasts"):
            return Finished(Path(named["--output"]) / "captions.json")
        return Finished(tmp_path / f"{stage}.safetensors")

    monkeypatch.setattr(run.Plan, "launch", launch)
    plan = run.Plan(tmp_path, Path("world"), Path("words"), 1000.0, 1, 10, None, EMBEDDED_MODELS, 40, start=0.0)
    run.bring_shipped(plan, EMBEDDED_MODELS)
    run.run_stages(plan)
    assert {"vae", "scorer_tokenizer"}.isdisjoint(started)
    assert (tmp_path / "vae.json").exists()
    assert "--last-layer-only" in started["language_model"]
    assert Path(started["denoiser"]["--start"]).stat().st_size > 28e6
    assert started["reward"]["--start"] == str(EMBEDDED_MODELS / "image-reward-mini")
    assert [started[name]["--seed"] for name in ("dataset0", "contrasts", "judge_data")] == ["41", "45", "141"]


def test_every_command_of_the_readme_is_one_that_its_stage_knows():
    text = Path(run.__file__).with_name("README.md").read_text()
    short = dict(re.findall(r'`(\w)="([^"]*)"`', text))
    text = re.sub(r"\$(\w)", lambda match: short[match[1]], text).replace("\\\n", " ")
    commands = re.findall(r"(?:-m training|`)\.([\w.]+) (--[^`\n]*)", text)
    for command, arguments in commands:
        _check_command(f"training.{command}", arguments.split())
    trained = {"dataset", "contrasts", "language_model", "vae", "denoiser", "siglip", "reward", "judge"}
    assert {run.MODULES[stage] for stage in trained} < {f"training.{command}" for command, _ in commands}
    assert "stages.restore" in dict(commands)


def test_the_scale_beside_the_vae_is_read_back(tmp_path):
    model = vae.build_vae(TINY_VAE)
    save_weights(model.state_dict(), tmp_path / "vae.safetensors")
    (tmp_path / "vae.json").write_text(json.dumps({"scaling_factor": 1.5, "shift_factor": 0.25, "psnr_db": 30.0}))
    loaded = vae.load_vae(tmp_path / "vae.safetensors", CPU, TINY_VAE)
    assert (loaded.config.scaling_factor, loaded.config.shift_factor) == (1.5, 0.25)


def test_a_clean_render_is_retrieved_wherever_it_stands_and_on_any_background(world, renderer):
    known, pairs = retrieval.templates(world, renderer)
    asked = [(0, "flat"), (3, "3d"), (7, "cartoon")]
    scenes = [
        Scene((SceneObject(concept, style, 0.45, 0.55, 0.6),), Setting("plain", ("cream",)), count=1)
        for concept, style in asked
    ]
    pictures = renderer.render(torch.from_numpy(np.stack([world.row(scene) for scene in scenes])), 128, 128)
    found = retrieval.nearest(list(pictures), known, pairs)
    assert retrieval.shares(found, asked)["concept"] == 1.0
    assert [style in ("flat", "sticker") for _, style in found] == [True, False, False]
    assert not retrieval.signature(torch.full((3, 32, 32), 9, dtype=torch.uint8)).any()
