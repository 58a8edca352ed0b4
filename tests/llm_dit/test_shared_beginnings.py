"""Images that begin alike share their first evaluation, and are what they are alone."""

from collections import Counter

import numpy as np
import pytest
import torch
from drawing import drawn

from llm_dit.sampling.shared_work import SharedWork
from llm_dit.sampling.stage_clock import StageClock
from llm_dit.stages.latent_decoder import pixels_to_levels
from llm_dit.stages.pending_image import PendingImage


@pytest.fixture
def counted(tiny_pipeline, monkeypatch):
    """Calls of the transformer's methods by name, counted from here on."""
    calls = Counter()

    def count(name):
        method = getattr(tiny_pipeline.transformer, name)
        monkeypatch.setattr(tiny_pipeline.transformer, name, lambda *a, **k: (calls.update([name]), method(*a, **k))[1])

    for name in ("prepare", "forward"):
        count(name)
    return calls


GUIDED = {"guidance_scale": 2.0, "negative_prompt": "a dog"}


@pytest.mark.parametrize(
    ("images", "prepared", "evaluated"),
    [
        ([{"num_inference_steps": 9}, {"num_inference_steps": 9, "shift": 6.0}], 1, 9 + 8),
        ([{"shift": 1.0}, {"shift": 4.0, "num_inference_steps": 5}, {"num_inference_steps": 1}], 1, 3 + 4 + 0),
        ([GUIDED, {**GUIDED, "guidance_scale": 3.0, "cfg_normalization": 1.0}, {**GUIDED, "shift": 1.0}], 2, 6 + 4 + 4),
        # past model time 0 the guidance stops: 1 + 3, of which both first ones are there already
        ([GUIDED, {**GUIDED, "cfg_truncation": 0.0}], 2, 6 + 2),
        ([{**GUIDED, "guidance_scale": 0.0}, GUIDED], 2, 3 + 5),  # the positive one is the same
        ([{"shift": 3.0}, {"shift": 0.1}], 1, 3 + 3),  # rounding starts it beside 1
    ],
)
def test_images_that_begin_alike_share_their_beginning_and_stay_what_they_are_alone(
    tiny_pipeline, counted, images, prepared, evaluated
):
    shared = SharedWork(tiny_pipeline.device)
    together = [drawn(tiny_pipeline, shared, **changes) for changes in images]
    assert counted == {"prepare": prepared, "forward": evaluated}
    for changes, image in zip(images, together, strict=True):
        assert np.array_equal(image, drawn(tiny_pipeline, **changes))
    alone = counted["forward"] - evaluated
    assert shared.reused_evaluations == alone - evaluated


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 4},
        {"width": 96},
        {"prompt": "A dog"},
        {"hidden_layer": -3},
        {"max_text_tokens": 8},
        {"max_text_tokens": 8, "long_prompt_mode": "pool"},
        {"system_prompt": "the red house"},
    ],
    ids=str,
)
def test_images_that_begin_otherwise_share_nothing(tiny_pipeline, counted, changes):
    shared = SharedWork(tiny_pipeline.device)
    first, second = drawn(tiny_pipeline, shared), drawn(tiny_pipeline, shared, **changes)
    assert counted == {"prepare": 2, "forward": 6}
    assert shared.reused_evaluations == 0
    assert first.shape != second.shape or np.abs(first - second).max() > 0


def test_an_image_that_was_spared_work_is_timed_as_if_it_had_done_it(monkeypatch):
    marks = iter([0.0, 5.0, 10.0, 12.0, 13.0])
    monkeypatch.setattr("llm_dit.sampling.stage_clock.time.perf_counter", lambda: next(marks))
    earlier = StageClock(torch.device("cpu"))
    earlier.mark()
    pixels, is_finite = pixels_to_levels(torch.zeros(1, 3, 1, 1))
    drawing = PendingImage(StageClock(torch.device("cpu")), pixels, torch.tensor([True]), is_finite, (earlier,))
    drawing.clock.mark()
    drawing.clock.mark()
    assert drawing.wait()[1] == {"denoise": 2.0 + 5.0, "decode": 1.0}
