"""A mirror-blind reward: equal for mirrored copies by construction, also while it learns, and taught by what it was."""

import copy
import math
import random

import pytest
import torch

from training.learning.mirror_blindness import keep_mirror_blind, make_mirror_blind, mirror_tokens
from training.learning.reward_network import RewardModel, RewardSizes, normalise_pictures
from training.learning.time_budget import TimeBudget
from training.stages import mirror_blind_reward, reward_mini
from training.stages.contrasts import KINDS
from training.stages.drawn_bank import Bank
from training.stages.mirror_blind_reward import (
    Lessons,
    Pairs,
    both_ways,
    pairs_loss,
    teaching_loss,
    tower_of,
    train_mirror_blind,
)
from training.stages.reward_mini import RewardData


@pytest.fixture
def model() -> RewardModel:
    torch.manual_seed(3)
    model = RewardModel(RewardSizes(40, 32, 2, 2, 1)).eval()
    # as strong as trained ones: 0.02 would leave the columns nearly alike before anything is averaged
    torch.nn.init.normal_(tower_of(model).pos_embed, std=0.5)
    return model


@pytest.fixture
def lessons() -> Lessons:
    torch.manual_seed(4)
    pictures = torch.randint(0, 256, (24, 3, 128, 128), dtype=torch.uint8)
    pictures[..., 64:] //= 2
    return Lessons(pictures, torch.randint(1, 40, (24, 6)))


def rewards(model: RewardModel, pictures: torch.Tensor, lessons: Lessons) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(normalise_pictures(pictures), lessons.ids, lessons.ids != 0)
    return found


def difference_of_mirrored(model: RewardModel, lessons: Lessons) -> float:
    turned = rewards(model, lessons.pictures.flip(-1), lessons)
    return float((turned - rewards(model, lessons.pictures, lessons)).abs().max())


def test_each_token_goes_to_the_opposite_column_and_the_class_token_stays() -> None:
    tokens = torch.arange(10.0)[None, :, None]  # class token, then rows 1 2 3, 4 5 6, 7 8 9
    assert mirror_tokens(tokens)[0, :, 0].tolist() == [0, 3, 2, 1, 6, 5, 4, 9, 8, 7]


def test_mirrored_copies_get_equal_rewards_once_the_tower_is_mirror_blind(model, lessons) -> None:
    spread = float(rewards(model, lessons.pictures, lessons).std())
    assert difference_of_mirrored(model, lessons) > 1e-3 * spread
    make_mirror_blind(tower_of(model))
    assert difference_of_mirrored(model, lessons) < 1e-5 * spread


def test_what_is_mirror_blind_is_not_changed_by_making_it_so_again(model) -> None:
    make_mirror_blind(tower_of(model))
    before = copy.deepcopy(model.state_dict())
    make_mirror_blind(tower_of(model))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_learning_leaves_it_mirror_blind_to_the_bit_and_nearer_to_what_was_said_before(model, lessons) -> None:
    teacher = copy.deepcopy(model)
    read_by = {name: value.clone() for name, value in model.state_dict().items() if "visual_encoder" not in name}
    made = copy.deepcopy(model)
    make_mirror_blind(tower_of(made))
    pictures = normalise_pictures(lessons.pictures)
    at_first = teaching_loss(made, teacher, pictures, lessons.ids).item()
    train_mirror_blind(model, [lessons, lessons], TimeBudget(60, max_steps=40), 16, 2e-3)
    assert teaching_loss(model, teacher, pictures, lessons.ids).item() < 0.8 * at_first
    filters, positions = tower_of(model).patch_embed["proj"].weight, tower_of(model).pos_embed
    assert torch.equal(filters, filters.flip(-1))
    assert torch.equal(positions, mirror_tokens(positions))
    assert not torch.equal(filters, tower_of(made).patch_embed["proj"].weight)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in read_by.items())


def test_gradients_are_those_of_two_weights_that_are_one(model, lessons) -> None:
    tower = tower_of(model)
    make_mirror_blind(tower)
    keep_mirror_blind(tower)
    model(normalise_pictures(lessons.pictures), lessons.ids, lessons.ids != 0).sum().backward()
    gradient = tower.patch_embed["proj"].weight.grad
    assert torch.equal(gradient, gradient.flip(-1))
    # along a symmetric direction the averaged gradient is the whole one, so a step by it changes the sum as foretold
    step = 1e-4 * gradient / gradient.norm()
    before = rewards(model, lessons.pictures, lessons).double().sum()
    with torch.no_grad():
        tower.patch_embed["proj"].weight += step
    change = (rewards(model, lessons.pictures, lessons).double().sum() - before).item()
    assert change == pytest.approx((gradient * step).sum().item(), rel=0.05)


def test_a_model_that_is_mirror_blind_already_has_nothing_to_learn(model, lessons) -> None:
    make_mirror_blind(tower_of(model))
    pictures = normalise_pictures(lessons.pictures)
    tokens, said = both_ways(model, pictures, lessons.ids)
    assert torch.allclose(tokens, model.look(pictures), atol=1e-5)
    assert torch.allclose(said, rewards(model, lessons.pictures, lessons), atol=1e-5)
    assert teaching_loss(model, model, pictures, lessons.ids).item() < 1e-8


@pytest.fixture
def pairs(lessons) -> Pairs:
    contrasts = lessons.pictures.unflatten(0, (12, 2))
    ids = lessons.ids.unflatten(0, (12, 2))
    drawn = lessons.pictures[:9].unflatten(0, (3, 3))
    data = RewardData(lessons.pictures, lessons.ids, contrasts, ids, torch.arange(12) % len(KINDS), drawn)
    return Pairs(data, Bank.of(lessons.pictures, lessons.ids, ["an owl"] * 24))


def test_who_can_t_tell_pairs_and_damages_loses_the_entropy_of_a_coin_twice(model, pairs, monkeypatch) -> None:
    for module in (mirror_blind_reward, reward_mini):
        monkeypatch.setattr(module, "reward_of", lambda _model, pictures, _ids: torch.zeros(len(pictures)))
    loss = pairs_loss(model, pairs, 32, torch.Generator().manual_seed(7), random.Random(7))
    assert loss.item() == pytest.approx(2 * math.log(2))


def test_pairs_teach_all_of_it_and_leave_it_mirror_blind_to_the_bit(model, lessons, pairs) -> None:
    before = copy.deepcopy(model.state_dict())
    train_mirror_blind(model, [lessons], TimeBudget(60, max_steps=3), 8, 2e-3, pairs=pairs)
    filters, positions = tower_of(model).patch_embed["proj"].weight, tower_of(model).pos_embed
    assert torch.equal(filters, filters.flip(-1))
    assert torch.equal(positions, mirror_tokens(positions))
    for part in ("mlp.layers.0.weight", "blip.text_encoder.encoder.layer.0.crossattention.self.key.weight"):
        assert not torch.equal(model.state_dict()[part], before[part])
