"""One device that judges pictures: its scorers for the life of the process, one batch after the other. Knows no Ray."""

from __future__ import annotations

import os
import socket
import threading

from experiments.cluster.joining import code_fingerprint
from experiments.cluster.judge import Parcels, scored
from experiments.cluster.orders import WorkerFacts
from experiments.cluster.scoring_orders import LoadedScorers, ScoredBatch, ScoringOrder, ScoringPlan
from experiments.cluster.worker import OwnEngine
from experiments.metrics import load_configured_scorers
from experiments.metrics.declaration import Scorer
from llm_dit.errors import LlmDitError
from llm_dit.parameters import EngineSettings


class ScoringWorker:
    """A device with its scorers.

    Args:
        plan: What it is made from.
    """

    def __init__(self, plan: ScoringPlan) -> None:
        self._plan = plan
        self._scorers: list[Scorer] = []
        self._on_device = threading.Lock()
        self._parcels = Parcels()

    def describe(self) -> WorkerFacts:
        """Return where it is and what it runs on."""
        surroundings = OwnEngine().surroundings(EngineSettings(dit_device=self._plan.device), self._plan.threads)
        return WorkerFacts(socket.gethostname(), os.getpid(), surroundings, code_fingerprint())

    def load(self) -> LoadedScorers | str:
        """Load the scorers, once; a sentence says what is missing here."""
        plan = self._plan
        try:
            if not self._scorers:
                self._scorers = load_configured_scorers(plan.names, plan.settings, plan.generator, device=plan.device)
        except LlmDitError as error:
            return str(error)
        metrics = tuple(scorer.metric for scorer in self._scorers)
        return LoadedScorers("; ".join(f"{metric.name} {metric.model}" for metric in metrics), {}, {}, metrics)

    def draw(self, order: ScoringOrder) -> ScoredBatch:
        """Score a batch; the next one may come meanwhile, whose pictures are unpacked then."""
        whole = self._parcels.whole(order)
        return ScoredBatch(order.number, []) if whole is None else scored(self._scorers, whole, self._on_device)

    def stop(self) -> None:
        """Do nothing: a batch of scores is short."""
