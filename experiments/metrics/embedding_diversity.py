"""Embedding diversity: how different the pictures are that seeds alone make of a prompt at a level, by what they show.

The mean cosine distance between SigLIP's embeddings of a picture and of other seeds of its group, the first 8 at most,
as `pixel_diversity` takes them; so the mean over a group's pictures is the mean over its pairs. It asks what is in the
pictures, where the pixel one asks where it lies.

Source: embeddings of Tschannen et al. 2025, "SigLIP 2"; the mean pairwise distance as in Friedman & Dieng 2023, "The
Vendi Score", section 2.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.metrics.declaration import Column, Metric, ScoreInput, Scores
from experiments.metrics.pixel_diversity import MOST_COMPARED
from experiments.metrics.shared_siglip import OnEmbeddings
from experiments.metrics.siglip import EMBEDDED

METRIC = Metric(
    name="embedding_diversity",
    title="Embedding diversity",
    unit="cosine distance",
    direction="none",
    model=EMBEDDED,
    columns=(
        Column(
            "embedding_diversity",
            "1 - cosine of SigLIP's embeddings to other seeds of this prompt at this level, at most 8, averaged",
        ),
        Column("embedding_diversity_seeds", "Pictures compared, this one included"),
    ),
    source="Tschannen et al. 2025, arXiv:2502.14786",
    compares_seeds=MOST_COMPARED,
    needs="two seeds of its prompt at its level (--seeds 42,43)",
)


class EmbeddingDiversityScorer(OnEmbeddings):
    """Compares the seeds of each group by a SigLIP scorer, which it may share with others."""

    declared = METRIC

    def score_rows(self, rows: Sequence[ScoreInput]) -> list[Scores]:
        """Return the columns for every wanted row; a row without a second seed has none.

        Rows without a `group` are grouped by their prompt.
        """
        groups: dict[str, list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            groups[row.group or row.prompt].append(index)
        several = [group for group in groups.values() if len(group) > 1]
        needed = [index for group in several for index in group]
        images = [rows[index].image for index in needed]
        embeds = dict(zip(needed, self.siglip.embed(images), strict=True)) if images else {}
        columns: list[Scores] = [{} for _ in rows]
        for group in several:
            for index in (index for index in group if rows[index].is_wanted):
                columns[index] = _diversity(index, group[: MOST_COMPARED + 1], embeds)
        return columns


def _diversity(index: int, first: Sequence[int], embeds: Mapping[int, NDArray[np.float64]]) -> Scores:
    others = [other for other in first if other != index][:MOST_COMPARED]
    cosines = [float(embeds[index] @ embeds[other]) for other in others]
    return {"embedding_diversity": 1 - float(np.mean(cosines)), "embedding_diversity_seeds": float(len(first))}
