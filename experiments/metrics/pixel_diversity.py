"""Pixel diversity: how different the pictures are that seeds alone make of one prompt at one level.

One minus the structural similarity (SSIM), averaged over other seeds of the group: all of them, and the first
`MOST_COMPARED` of a larger one. Seeds are drawn alike, so the first ones stand for all; the work then grows with the
seeds and not with their square, and a seed that joins a large group changes no other's value. 0: the seed changes
nothing; around 0.5 and more: different compositions. It says nothing about quality: noise is diverse too.

Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity", as in scikit-image
(7 x 7 uniform window, colour channels averaged).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.metrics.declaration import Column, Metric, ScoreInput, Scores
from experiments.metrics.images import open_image, read_ahead

MOST_COMPARED = 8
"""Others that a picture is compared with; a pair at 1024 x 1024 takes about a third of a second."""

METRIC = Metric(
    name="pixel_diversity",
    title="Pixel diversity",
    unit="1 - SSIM",
    direction="none",
    model="ssim-7x7",
    columns=(
        Column(
            "pixel_diversity", "1 - SSIM to other seeds of this prompt at this level, the first 8 at most, averaged"
        ),
        Column("pixel_diversity_seeds", "Pictures compared, this one included"),
    ),
    source="Wang et al. 2004, doi:10.1109/TIP.2003.819861",
    compares_seeds=MOST_COMPARED,
    needs="two seeds of its prompt at its level (--seeds 42,43)",
)


class PixelDiversityScorer:
    """Compares the seeds of each group; it has no weights."""

    metric = METRIC

    def move_to(self, device: str) -> None:
        """Do nothing: pixels are compared on the processor."""

    def score_rows(self, rows: Sequence[ScoreInput]) -> list[Scores]:
        """Return the columns for every wanted row; a row without a second seed of its size has none.

        Rows without a `group` are grouped by their prompt.
        """
        groups: dict[str, list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            groups[row.group or row.prompt].append(index)
        columns: list[Scores] = [{} for _ in rows]
        members = list(groups.values())
        # a group is one item, so that its pictures are compared on the reader threads and then forgotten
        prepared = read_ahead(members, lambda group: _diversities([rows[index] for index in group]), batch_size=1)
        for (group,), (diversities,) in prepared:
            for index, diversity in zip(group, diversities, strict=True):
                columns[index] = diversity
        return columns


def diversity(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Return 1 - SSIM of two pictures of one size, [height, width, 3], 0 to 255.

    Returns:
        0 for equal pictures, up to 2 for opposite ones.
    """
    from skimage.metrics import structural_similarity

    side = min(7, *first.shape[:2])
    window = side if side % 2 else side - 1
    return 1.0 - float(structural_similarity(first, second, channel_axis=2, data_range=255, win_size=window))


def _diversities(rows: Sequence[ScoreInput]) -> list[Scores]:
    """Compare each wanted row with the first others; only these stay in memory."""
    first = [_pixels(row) for row in rows[: MOST_COMPARED + 1]]
    pairs: dict[tuple[int, int], float] = {}
    columns: list[Scores] = []
    for index, row in enumerate(rows):
        others = [other for other in range(len(first)) if other != index][:MOST_COMPARED]
        if not row.is_wanted or not others:
            columns.append({})
            continue
        pixels = first[index] if index < len(first) else _pixels(row)
        values = []
        for other in others:
            pair = (min(index, other), max(index, other))
            if pair not in pairs and pixels.shape == first[other].shape:
                pairs[pair] = diversity(pixels, first[other])
            values += [pairs[pair]] if pair in pairs else []
        columns.append(
            {"pixel_diversity": float(np.mean(values)), "pixel_diversity_seeds": float(len(first))} if values else {}
        )
    return columns


def _pixels(row: ScoreInput) -> NDArray[np.uint8]:
    return np.asarray(open_image(row.image).convert("RGB"))
