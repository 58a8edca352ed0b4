"""Beginnings held for the next images: what counts as the same one, how many are kept, and for how long."""

import pytest
import torch
from parameter_values import other_value

from llm_dit.parameters import PARAMETERS, GenerationParams
from llm_dit.sampling.shared_work import Beginning, SharedWork, beginning

CPU = torch.device("cpu")
PARAMS = GenerationParams.parse({"prompt": "A cat", "seed": 1, "height": 64, "width": 64})


def test_every_parameter_is_part_of_a_beginning_but_those_declared_to_act_later():
    parameters = [PARAMETERS[name] for name in GenerationParams.model_fields]
    changed = {item.name: other_value(item) for item in parameters}
    changed |= {"prompt": "A dog", "seed": 2, "height": 96, "width": 96}
    alike = {
        name for name, value in changed.items() if beginning(PARAMS.replaced(**{name: value})) == beginning(PARAMS)
    }
    assert alike == {item.name for item in parameters if item.note.acts_later}
    assert {"shift", "guidance_scale"} <= alike


def test_a_result_is_made_once_and_given_out_as_it_is():
    work, made = SharedWork(CPU), [object(), object()]
    first, was_there = work.get("key", lambda: made[0])
    assert (first, was_there) == (made[0], None)
    again, clock = work.get("key", lambda: made[1])
    assert again is first
    assert len(clock.stage_times_s()) == 1


def test_the_one_not_asked_for_longest_is_dropped_at_the_limit():
    made = []
    work = SharedWork(CPU, limit=2)
    for key in ("a", "b", "a", "c", "a", "b"):  # c drops b, b drops c
        work.get(key, lambda key=key: made.append(key))
    assert made == ["a", "b", "c", "b"]


def test_without_room_everything_is_made_again():
    made = []
    work = SharedWork(CPU, limit=0)
    for _ in range(3):
        assert work.get("a", lambda: made.append(1))[1] is None
    assert len(made) == 3


def test_what_could_not_be_made_is_not_held():
    work = SharedWork(CPU)

    def fail():
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        work.get("key", fail)
    assert work.get("key", lambda: 7) == (7, None)


def test_branches_stages_and_noise_levels_are_kept_apart_and_only_evaluations_are_counted():
    work, made = SharedWork(CPU), []

    def begin():
        image = Beginning(PARAMS, work)
        for branch in ("positive", "negative"):
            image.conditioning(branch, lambda: made.append(1))
            for sigma in (1.0, 1 - 2**-24):
                image.evaluation(branch, sigma, lambda: made.append(1))
        return image

    assert begin().spared == []
    assert (len(made), work.reused_evaluations) == (6, 0)
    assert len(begin().spared) == 6
    assert (len(made), work.reused_evaluations) == (6, 4)


@pytest.mark.parametrize("name", ["seed", "height", "width"])
def test_a_seed_or_size_that_is_still_open_is_a_defect(name):
    with pytest.raises(AssertionError):
        Beginning(PARAMS.replaced(**{name: None}), SharedWork(CPU))
