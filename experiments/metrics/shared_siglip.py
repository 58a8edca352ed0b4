"""What metrics of picture embeddings share: a SigLIP scorer that others may use too."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from experiments.metrics.declaration import Metric
from experiments.metrics.siglip import SigLIPScorer


class OnEmbeddings:
    """A scorer by the embeddings of a SigLIP scorer; its numbers are those of that scorer's weights.

    Attributes:
        declared: The metric, before it is known whose weights it has.
    """

    declared: ClassVar[Metric]

    def __init__(self, siglip: SigLIPScorer) -> None:
        self.siglip = siglip
        self.metric = replace(self.declared, model=siglip.metric.model)

    def move_to(self, device: str) -> None:
        """Go to another device, the scorer that is shared as well."""
        self.siglip.move_to(device)
