"""PSNR and SSIM of pairs: closed forms, an independent computation, and what has no value."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.signal import convolve2d

from experiments.metrics import PSNRScorer, ScoreInput, SSIMScorer
from experiments.metrics.pixel_fidelity import psnr_db, ssim


def noise(seed: int, height: int = 24, width: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def published_ssim(first: np.ndarray, second: np.ndarray) -> float:
    """Wang et al.'s ssim_index.m, line by line: valid windows of an 11 x 11 Gaussian, on luma."""
    offsets = np.arange(11) - 5
    row = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(row, row) / np.outer(row, row).sum()
    x, y = (0.299 * p[..., 0] + 0.587 * p[..., 1] + 0.114 * p[..., 2] for p in (first * 1.0, second * 1.0))

    def mean(values: np.ndarray) -> np.ndarray:
        return convolve2d(values, window, mode="valid")

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    index = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return float(index.mean())


def test_psnr_has_its_closed_form_and_no_bound_for_equal_pictures():
    flat = np.full((16, 16, 3), 100, np.uint8)
    assert psnr_db(flat, flat) == math.inf
    assert psnr_db(flat + 1, flat) == pytest.approx(20 * math.log10(255))  # 48.13 dB for one level everywhere
    one_channel = flat.copy()
    one_channel[..., 2] += 3
    assert psnr_db(one_channel, flat) == pytest.approx(10 * math.log10(255**2 / 3))  # 9 in one of three channels
    assert psnr_db(flat, one_channel) == psnr_db(one_channel, flat)
    assert psnr_db(np.zeros_like(flat), np.full_like(flat, 255)) == 0


def test_ssim_is_the_published_index_on_luma():
    first, near = (
        noise(0),
        np.clip(noise(0).astype(int) + np.random.default_rng(9).integers(-20, 20, (24, 20, 3)), 0, 255),
    )
    near = near.astype(np.uint8)
    for second in (near, noise(1), 255 - first):
        assert ssim(first, second) == pytest.approx(published_ssim(first, second), abs=1e-10)
    assert ssim(first, first) == 1.0
    assert ssim(first, 255 - first) < 0 < ssim(first, near) < 1


def test_two_flat_pictures_have_the_closed_form_of_ssim():
    dark, bright = (np.full((16, 16, 3), value, np.uint8) for value in (50, 150))
    c1 = (0.01 * 255) ** 2
    assert ssim(dark, bright) == pytest.approx((2 * 50 * 150 + c1) / (50**2 + 150**2 + c1), abs=1e-9)


def test_rows_without_a_baseline_or_with_one_of_another_size_have_no_value(tmp_path: Path):
    paths = []
    for name, values in (("a", noise(0)), ("b", noise(1)), ("wide", noise(2, 24, 32))):
        paths.append(tmp_path / f"{name}.png")
        Image.fromarray(values).save(paths[-1])
    rows = [
        ScoreInput("a cat", paths[0], baseline=paths[1]),
        ScoreInput("a cat", paths[1], baseline=paths[1]),
        ScoreInput("a cat", paths[2], baseline=paths[1]),
        ScoreInput("a cat", paths[0]),
    ]
    assert PSNRScorer().score_rows(rows) == [{"psnr_db": psnr_db(noise(0), noise(1))}, {"psnr_db": math.inf}, {}, {}]
    assert SSIMScorer().score_rows(rows) == [{"ssim": ssim(noise(0), noise(1))}, {"ssim": 1.0}, {}, {}]
