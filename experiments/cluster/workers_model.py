"""Workers in the place of the model: what a command draws with where it is told to use several devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final

from experiments.cluster.dispatch import Dispatcher, Patience
from experiments.cluster.joining import code_fingerprint
from experiments.cluster.orders import LoadedModel, WorkerPlan
from experiments.cluster.placing import check_devices, local_cpus, place_workers
from experiments.cluster.ray_crew import RayCrew, Terms
from experiments.cluster.ray_opening import imported_ray, opened
from experiments.cluster.worker import load_pipeline
from experiments.planning.model_facts import ModelFacts, local_folder, read_model_facts
from experiments.running.execution import Surroundings
from experiments.running.result_writer import ResultWriter
from experiments.running.worklist import WorkItem
from llm_dit.checkpoints.model_parts import find_parts
from llm_dit.errors import LlmDitError
from llm_dit.parameters import ClusterSettings, EngineSettings, GenerationParams

ONLY_SETTING: Final = ""
"""Name of the engine setting of every run."""


class RemoteModel:
    """A worker's engine as far as sorting runs asks; see `KnownModel`.

    Attributes:
        fingerprint: Hash of the checkpoint.
        numerics: Number formats, quantization and kernels in use.
    """

    def __init__(self, loaded: LoadedModel, facts: ModelFacts) -> None:
        self._loaded = loaded
        self._facts = facts
        self.fingerprint = loaded.fingerprint
        self.numerics = dict(loaded.numerics)

    def resolve(self, params: GenerationParams) -> GenerationParams:
        """Fill in size and shift, and check what only the model can say."""
        return self._facts.checked(params)

    @property
    def device(self) -> str:
        """What the worker computes on."""
        return str(self._loaded.surroundings["machine"].get("card", "unknown"))

    def surroundings(self) -> dict[str, dict[str, str]]:
        """Return versions and machine of the worker."""
        return {name: dict(values) for name, values in self._loaded.surroundings.items()}


class WorkerHands:
    """A crew that draws; see `experiments.running.execution.Hands`.

    Args:
        crew: Its workers.
        facts: Of the model.
        tell: Told of every fault, in a sentence.
        patience: With batches.
    """

    def __init__(
        self, crew: RayCrew, facts: ModelFacts, tell: Callable[[str], None], patience: Patience | None = None
    ) -> None:
        first, self._early = crew.first()
        self._model = RemoteModel(first, facts)
        self._crew = crew
        self._tell = tell
        self._patience = patience
        self._dispatcher: Dispatcher | None = None

    def known(self, _settings: EngineSettings) -> RemoteModel:
        """Return what the first worker has loaded."""
        return self._model

    @property
    def device(self) -> str:
        """How many workers there are, and on what."""
        return f"{self._crew.expected} workers, {self._model.device}"

    @property
    def shared_evaluations(self) -> int:
        """Evaluations taken so far from earlier images that began alike."""
        return 0 if self._dispatcher is None else self._dispatcher.tally.shared_evaluations

    def begin(self, conditions: Any, experiment: str, session_of: Callable[[Surroundings], str]) -> None:
        """Learn what all runs of a plan share."""
        self._dispatcher = Dispatcher(
            self._crew, conditions, experiment, session_of, _setting_of, self._tell, self._patience
        )
        self._dispatcher.welcome(self._early)

    def draw(
        self,
        items: Sequence[WorkItem],
        writer: ResultWriter,
        on_finished: Callable[[str], None],
        should_stop: Callable[[], bool],
    ) -> int:
        """Draw runs on all workers, and return how many were left because it was asked to stop."""
        assert self._dispatcher is not None, "begin comes first"
        return self._dispatcher.draw(items, writer, on_finished, should_stop)


class WorkersModel:
    """Opens the cluster when the model is wanted; see `experiments.running.experiment_run.Model`.

    Args:
        wishes: How many workers, where.
        resources: Closes the cluster at the end of the command.
        tell: Told of what workers do, in sentences.
        patience: With batches.
    """

    def __init__(
        self,
        wishes: ClusterSettings,
        resources: ExitStack,
        tell: Callable[[str], None],
        patience: Patience | None = None,
    ) -> None:
        self._wishes = wishes
        self._resources = resources
        self._tell = tell
        self._patience = patience
        self._crew: RayCrew | None = None

    def get(
        self,
        settings_in_turn: Sequence[EngineSettings],
        planned_evaluations: int,
        on_load: Callable[[EngineSettings], None],
    ) -> WorkerHands:
        """Open the cluster, and return its workers once the first has the model loaded.

        Raises:
            LlmDitError: If levels set the engine, there is no such cluster, too few devices, or no worker that can be
                used.
        """
        if len(settings_in_turn) > 1:
            raise LlmDitError(
                f"--workers draws with one model, and these levels need {len(settings_in_turn)}; leave --workers out.",
                field="workers",
            )
        wishes, settings = self._wishes, settings_in_turn[0]
        on_load(settings)
        fingerprint = find_parts(settings, local_folder).fingerprint()
        cpus = local_cpus(settings, wishes)
        cluster = self._resources.enter_context(opened(wishes.ray_address, cpus=cpus, workers=wishes.workers))
        placing = place_workers(settings, wishes, cluster)
        plan = WorkerPlan(settings, planned_evaluations, placing.threads, load_pipeline)
        terms = Terms(placing, wishes.mixed, fingerprint, code_fingerprint())
        self._crew = RayCrew(imported_ray(), plan, terms, self._tell)
        self._resources.callback(self.release)
        return WorkerHands(self._crew, read_model_facts(settings), self._tell, self._patience)

    def check(self, settings: EngineSettings) -> None:
        """Refuse devices by number, and a command without Ray; which devices there are is known later."""
        check_devices(settings)
        imported_ray()

    def release(self) -> None:
        """End the workers, which gives their devices back."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None


def _setting_of(_item: WorkItem) -> str:
    return ONLY_SETTING
