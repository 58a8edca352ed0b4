"""PSNR and SSIM: how far a picture is from the baseline's of the same prompt and seed, pixel by pixel.

PSNR is 10 log10(255^2 / MSE) in decibels, the mean squared error taken over all pixels and the three channels of 8-bit
RGB; without an error it is infinite. SSIM is the published one: luma of ITU-R BT.601, an 11 x 11 Gaussian window of
standard deviation 1.5, K1 = 0.01, K2 = 0.03, L = 255, averaged over the windows that lie wholly inside, at full size
without the down-sampling of later code. So it does not see colour alone, which PSNR does.

Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity"; ssim_index.m.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.metrics.declaration import Column, Fidelity, Metric, ScoreInput, Scores
from experiments.metrics.images import open_image, read_ahead

LARGEST = 255.0
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue, ITU-R BT.601."""
WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03

RGB = NDArray[np.uint8]

PSNR = Metric(
    name="psnr_db",
    title="PSNR",
    unit="dB",
    direction="none",
    model="psnr-rgb8",
    columns=(Column("psnr_db", "Peak signal-to-noise ratio to the baseline's picture, over 8-bit RGB"),),
    source="10 log10(255^2 / MSE) over pixels and channels",
    fidelity=Fidelity(closer="higher", equal=math.inf),
)
SSIM = Metric(
    name="ssim",
    title="SSIM",
    unit="",
    direction="none",
    model="ssim-luma-gaussian11",
    columns=(Column("ssim", "Structural similarity of the luma to the baseline's picture, -1 to 1"),),
    source="Wang et al. 2004, doi:10.1109/TIP.2003.819861",
    fidelity=Fidelity(closer="higher", equal=1.0),
)


class _PixelPairScorer:
    """Compares each picture with the baseline's; it has no weights."""

    metric: Metric
    compare: Callable[[RGB, RGB], float]

    def move_to(self, device: str) -> None:
        """Do nothing: pixels are compared on the processor."""

    def score_rows(self, rows: Sequence[ScoreInput]) -> list[Scores]:
        """Return the column for every row; none for one without a baseline, or with one of another size."""
        return [scores for _, (scores,) in read_ahead(rows, self._score, batch_size=1)]

    def _score(self, row: ScoreInput) -> Scores:
        if row.baseline is None:
            return {}
        picture, baseline = (np.asarray(open_image(path).convert("RGB")) for path in (row.image, row.baseline))
        if picture.shape != baseline.shape:
            return {}
        return {self.metric.name: type(self).compare(picture, baseline)}


class PSNRScorer(_PixelPairScorer):
    """Peak signal-to-noise ratio to the baseline's picture."""

    metric = PSNR

    @staticmethod
    def compare(picture: RGB, baseline: RGB) -> float:
        """Return `psnr_db` of two pictures."""
        return psnr_db(picture, baseline)


class SSIMScorer(_PixelPairScorer):
    """Structural similarity to the baseline's picture."""

    metric = SSIM

    @staticmethod
    def compare(picture: RGB, baseline: RGB) -> float:
        """Return `ssim` of two pictures."""
        return ssim(picture, baseline)


def psnr_db(picture: RGB, baseline: RGB) -> float:
    """Return the peak signal-to-noise ratio of two pictures of one size, [height, width, 3], in dB; inf if equal."""
    error = float(np.mean((picture.astype(np.float64) - baseline.astype(np.float64)) ** 2))
    return 10 * math.log10(LARGEST**2 / error) if error else math.inf


def ssim(picture: RGB, baseline: RGB) -> float:
    """Return the structural similarity of two pictures of one size, [height, width, 3], from 11 x 11; 1 if equal."""
    from skimage.metrics import structural_similarity

    if np.array_equal(picture, baseline):
        return 1.0
    first, second = (values.astype(np.float64) @ np.array(LUMA) for values in (picture, baseline))  # [height, width]
    return float(
        structural_similarity(
            first,
            second,
            win_size=WINDOW,
            data_range=LARGEST,
            gaussian_weights=True,
            sigma=SIGMA,
            use_sample_covariance=False,
            K1=K1,
            K2=K2,
        )
    )
