"""Pictures are the same bits wherever the stages are; two GPUs are needed for most of it."""

import pytest
import torch

from benchmarks.bench_placement import ACCELERATORS, ENCODERS, MODES, compare, placements

needs_two_gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")


@pytest.mark.gpu
@needs_two_gpus
@pytest.mark.parametrize("mode", MODES)
def test_every_placement_draws_what_one_gpu_draws_and_leaves_nothing_behind(mode):
    rows = list(compare("mini", mode))
    assert len(rows) == 12
    assert [row for row in rows if row.difference != 0 or row.left_bytes > 1 << 20] == []


def test_what_others_are_compared_with_comes_first():
    assert placements(ENCODERS, ACCELERATORS)[:2] == [("cuda:0", "cuda:0", "cuda:0"), ("cpu", "cuda:0", "cuda:0")]
    assert len(set(placements(ENCODERS, ACCELERATORS))) == 12


@pytest.mark.parametrize("mode", ["plain", "streamed", "float8"])
def test_a_placement_on_the_cpu_is_compared_or_says_why_not(tiny_checkpoint, mode):
    (row,) = compare(str(tiny_checkpoint), mode, ["cpu"], ["cpu"])
    assert (row.text_encoder, row.transformer, row.vae, row.left_bytes) == ("cpu", "cpu", "cpu", 0)
    assert row.difference == (None if mode == "float8" else 0)
    assert ("needs a CUDA device" in row.problem) == (mode == "float8")
