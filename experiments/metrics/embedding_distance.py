"""Embedding distance: how far a picture is from the baseline's of the same prompt and seed for SigLIP.

One minus the cosine of the two pictures' embeddings, by the SigLIP that is configured. It asks whether the pictures
show the same, not whether their pixels agree, and it compares pictures of any two sizes.

Source: Tschannen et al. 2025, "SigLIP 2"; the image tower of `siglip`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.metrics.declaration import Column, Fidelity, Metric, ScoreInput, Scores
from experiments.metrics.images import open_image, read_ahead
from experiments.metrics.shared_siglip import OnEmbeddings
from experiments.metrics.siglip import EMBEDDED

METRIC = Metric(
    name="embedding_distance",
    title="Embedding distance",
    unit="1 - cosine",
    direction="none",
    model=EMBEDDED,
    columns=(Column("embedding_distance", "1 - cosine of SigLIP's embeddings of this picture and the baseline's"),),
    source="Tschannen et al. 2025, arXiv:2502.14786",
    fidelity=Fidelity(closer="lower", equal=0.0),
)


class EmbeddingDistanceScorer(OnEmbeddings):
    """Compares each picture with the baseline's by a SigLIP scorer, which it may share with others."""

    declared = METRIC

    def score_rows(self, rows: Sequence[ScoreInput]) -> list[Scores]:
        """Return the column for every row; none for one without a baseline, 0 where all pixels are equal.

        Each of the other pictures is embedded once. What a picture's embedding rounds to depends on its place in a
        batch, so equal pictures are told by their pixels.
        """
        are_equal = [found for _, (found,) in read_ahead(rows, _is_equal, batch_size=1)]
        apart = [
            row for row, is_equal in zip(rows, are_equal, strict=True) if row.baseline is not None and not is_equal
        ]
        paths = list(dict.fromkeys(path for row in apart for path in (row.image, row.baseline) if path is not None))
        embeds = dict(zip(paths, self.siglip.embed(paths), strict=True)) if paths else {}

        def distance(row: ScoreInput, is_equal: bool) -> Scores:
            if row.baseline is None:
                return {}
            return {"embedding_distance": 0.0 if is_equal else _distance(embeds[row.image], embeds[row.baseline])}

        return [distance(row, is_equal) for row, is_equal in zip(rows, are_equal, strict=True)]


def _is_equal(row: ScoreInput) -> bool:
    """Return whether a picture has the baseline's pixels."""
    if row.baseline is None:
        return False
    picture, baseline = (np.asarray(open_image(path).convert("RGB")) for path in (row.image, row.baseline))
    return np.array_equal(picture, baseline)


def _distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return 1 - cosine of two normalised embeddings, not below 0, whatever rounding left."""
    return max(0.0, 1.0 - float(first @ second))
