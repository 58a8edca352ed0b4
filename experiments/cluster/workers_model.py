"""Workers in the place of the model: what a command draws with where it is told to use several devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from experiments.cluster.attendance import OverheardCrew
from experiments.cluster.crew import Crew, Event, Lost, Ready, first_ready
from experiments.cluster.dispatch import Dispatcher, Patience, Tally
from experiments.cluster.joining import code_fingerprint
from experiments.cluster.orders import EngineSource, LoadedEngine, WorkerPlan
from experiments.cluster.placing import check_devices, local_cpus, place_workers
from experiments.cluster.ray_crew import RayCrew, Terms
from experiments.cluster.ray_environment import imported_ray, require_ray
from experiments.cluster.ray_opening import opened, store_problem
from experiments.cluster.scoring import RemoteScorer, ScoringCrew
from experiments.cluster.scoring_orders import JudgePlan, LoadedScorers, ScoringPlan
from experiments.cluster.scoring_worker import ScoringWorker
from experiments.cluster.watching import Watch, WatchedCrew
from experiments.cluster.worker import OwnEngine, Worker
from experiments.metrics.declaration import Scorer
from experiments.metrics.missing_scores import Spread
from experiments.planning.model_facts import local_folder, read_model_facts
from experiments.running.execution import Surroundings
from experiments.running.experiment_run import Judges
from experiments.running.look_runs import Judging
from experiments.running.result_writer import ResultWriter
from experiments.running.worklist import WorkItem
from experiments.store.comparable import Conditions, ModelIdentity
from llm_dit.checkpoints.lora_files import LoraFiles
from llm_dit.checkpoints.model_parts import find_parts
from llm_dit.parameters import ClusterSettings, EngineSettings, GenerationParams, MetricSettings
from llm_dit.placement.planned_work import PlannedWork

Tell = Callable[[str], None]


class RemoteModel:
    """A worker's model under one setting of the engine, as far as sorting runs asks; see `KnownModel`.

    Attributes:
        fingerprint: Hash of the checkpoint.
        numerics: Number formats, quantization and kernels in use.
    """

    def __init__(self, settings: EngineSettings, model: ModelIdentity, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._facts = read_model_facts(settings)
        self._loras = LoraFiles(find_parts(settings, local_folder).transformer.tensors, settings.loras_folder)
        self.fingerprint = model.fingerprint
        self.numerics = dict(model.numerics)

    @property
    def device(self) -> str:
        """What the worker computes on."""
        return str(self._surroundings["machine"].get("card", "unknown"))

    def resolve(self, params: GenerationParams) -> GenerationParams:
        """Fill in what the model decides, and check what only it can say."""
        return self._facts.checked(params).replaced(loras=self._loras.resolve(params))

    def surroundings(self) -> dict[str, dict[str, str]]:
        """Return versions and machine of the worker."""
        return {name: dict(values) for name, values in self._surroundings.items()}


class WorkerHands:
    """A crew that draws; see `experiments.running.execution.Hands`.

    Args:
        crew: Its workers.
        settings_in_turn: Every setting of the engine that some level needs.
        tell: Told of every fault, in a sentence.
        patience: With batches.
        should_stop: Asked while the first worker is waited for.
        is_local: Whether all workers are on this machine, and read pictures that they score themselves.
    """

    def __init__(
        self,
        crew: Crew,
        settings_in_turn: Sequence[EngineSettings],
        tell: Tell,
        patience: Patience | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        *,
        is_local: bool = False,
    ) -> None:
        self._present: dict[str, Ready] = {}
        self._missed: list[Event] = []  # while they scored
        crew = OverheardCrew(crew, self._note)
        first, _ = first_ready(crew, should_stop)
        assert isinstance(first, LoadedEngine)
        self._models = {
            settings: RemoteModel(settings, model, first.surroundings)
            for settings, model in zip(settings_in_turn, first.models, strict=True)
        }
        self._names = {settings: f"setting {place}" for place, settings in enumerate(settings_in_turn, 1)}
        self._crew = crew
        self._tell = tell
        self._patience = patience
        self._is_local = is_local
        self._dispatcher: Dispatcher | None = None

    def _note(self, event: Ready | Lost) -> None:
        if isinstance(event, Ready):
            self._present[event.worker] = event
        else:
            self._present.pop(event.worker, None)

    def known(self, settings: EngineSettings) -> RemoteModel:
        """Return what the first worker says of its model under these settings."""
        return self._models[settings]

    @property
    def device(self) -> str:
        """How many workers there are, and on what."""
        return f"{self._crew.expected} workers, {next(iter(self._models.values())).device}"

    @property
    def tally(self) -> Tally:
        """What workers have done so far."""
        return Tally() if self._dispatcher is None else self._dispatcher.tally

    @property
    def shared_evaluations(self) -> int:
        """Evaluations taken so far from earlier images that began alike."""
        return self.tally.shared_evaluations

    def begin(self, conditions: Conditions, experiment: str, session_of: Callable[[Surroundings], str]) -> None:
        """Learn what all runs of a plan share."""
        self._dispatcher = Dispatcher(
            self._crew, conditions, experiment, session_of, self._setting_of, self._tell, self._patience
        )
        self._dispatcher.welcome(self._present.values())
        self._missed.clear()

    def draw(
        self,
        items: Sequence[WorkItem],
        writer: ResultWriter,
        on_finished: Callable[[str], None],
        should_stop: Callable[[], bool],
    ) -> int:
        """Draw runs on all workers, and return how many were left because it was asked to stop."""
        assert self._dispatcher is not None, "begin comes first"
        self._dispatcher.welcome(self._missed)
        self._missed.clear()
        return self._dispatcher.draw(items, writer, on_finished, should_stop)

    def lend(self, judging: Judging) -> Spread:
        """Return how the workers score, who draw nothing meanwhile; see `Hands.lend`."""
        metric = judging.metric
        plan = JudgePlan(metric.name, metric.model, judging.settings, judging.generator, judging.device)
        crew = OverheardCrew(self._crew, self._missed.append)
        scoring = ScoringCrew(crew, self._tell, is_local=self._is_local, judge=plan)
        scoring.welcome(self._present.values())
        return scoring.spread

    def wait_for_all(self) -> None:
        """Wait until every worker has its engine, for measuring; a command begins with the first one."""
        while len(self._present) < self._crew.expected:
            self._crew.events(1.0)

    def _setting_of(self, item: WorkItem) -> str:
        return self._names[item.run.settings]


def crew_of(
    wishes: ClusterSettings,
    settings: EngineSettings,
    make: type,
    plan_of: Callable[[int], object],
    fingerprint: str | None,
    resources: ExitStack,
    tell: Callable[[str], None],
) -> RayCrew:
    """Open the cluster and make workers, all closed with `resources`.

    Args:
        wishes: How many workers, where.
        settings: Its devices say on what.
        make: What is made on each device.
        plan_of: Threads to what it is made from.
        fingerprint: Of the model on this side; None takes the first worker's.
        resources: Closes them.
        tell: Told of every fault, in a sentence.

    Raises:
        LlmDitError: If there is no such cluster, or this machine has too few devices.
    """
    cpus = local_cpus(settings, wishes)
    problem = store_problem(wishes.workers) if wishes.ray_address is None else None
    if problem is not None:
        tell(problem)
    cluster = resources.enter_context(opened(wishes.ray_address, cpus=cpus, workers=wishes.workers))
    placing = place_workers(settings, wishes, cluster)
    terms = Terms(placing, wishes.mixed, fingerprint, code_fingerprint())
    crew = RayCrew(imported_ray(), make, plan_of(placing.threads), terms, tell)
    resources.callback(crew.close)
    return crew


@contextmanager
def scorers_on_workers(
    wishes: ClusterSettings, names: Sequence[str], settings: MetricSettings, generator: str, device: str, tell: Tell
) -> Iterator[tuple[list[Scorer], Spread]]:
    """Load scorers on workers; what they score goes through the function that comes with them.

    Args:
        wishes: How many workers, where.
        names: Metrics.
        settings: Which weights they have.
        generator: The model that made the images, as configured.
        device: `auto`, `cpu` or `cuda`.
        tell: Told of every fault, in a sentence.

    Raises:
        LlmDitError: If there is no such cluster, or no worker that has the scorers.
    """
    where = EngineSettings(dit_device=device, text_encoder_device=device)
    check_devices(where)

    def plan_of(threads: int) -> ScoringPlan:
        return ScoringPlan(tuple(names), settings, generator, device, threads)

    with ExitStack() as resources:
        crew = crew_of(wishes, where, ScoringWorker, plan_of, None, resources, tell)
        first, happened = first_ready(crew)
        assert isinstance(first, LoadedScorers)
        scoring = ScoringCrew(crew, tell, is_local=wishes.ray_address is None)
        scoring.welcome(happened)
        yield [RemoteScorer(metric) for metric in first.metrics], scoring.spread


def judges_on_workers(wishes: ClusterSettings, settings: MetricSettings, tell: Tell) -> Judges:
    """Return how an experiment has its pictures scored by workers; see `experiments.running.experiment_run.Judges`."""

    def judges(
        names: Sequence[str], generator: str, device: str
    ) -> AbstractContextManager[tuple[list[Scorer], Spread]]:
        return scorers_on_workers(wishes, names, settings, generator, device, tell)

    return judges


class WorkersModel:
    """Opens the cluster when the model is wanted; see `experiments.running.experiment_run.Model`.

    Args:
        wishes: How many workers, where.
        resources: Closes the cluster at the end of the command.
        tell: Told of what workers do, in sentences.
        patience: With batches.
        source: Where workers have their engine from; as this process would have it by default.
        watch: Told of all workers whenever one has changed.
        should_stop: Asked while the first worker is waited for.
    """

    def __init__(
        self,
        wishes: ClusterSettings,
        resources: ExitStack,
        tell: Callable[[str], None],
        patience: Patience | None = None,
        source: EngineSource | None = None,
        *,
        watch: Watch = lambda _states: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._wishes = wishes
        self._resources = resources
        self._tell = tell
        self._patience = patience
        self._source = source or OwnEngine()
        self._watch = watch
        self._should_stop = should_stop
        self._crew: RayCrew | None = None

    def get(
        self,
        settings_in_turn: Sequence[EngineSettings],
        planned: PlannedWork,
        on_load: Callable[[EngineSettings], None],
    ) -> WorkerHands:
        """Open the cluster, and return its workers once the first has the model loaded.

        Raises:
            LlmDitError: If there is no such cluster, too few devices, or no worker that can be used.
        """
        first = settings_in_turn[0]
        for settings in settings_in_turn:
            check_devices(settings)
        on_load(first)
        fingerprint = " ".join(find_parts(settings, local_folder).fingerprint() for settings in settings_in_turn)
        source = self._source

        def plan_of(threads: int) -> WorkerPlan:
            return WorkerPlan(tuple(settings_in_turn), planned, threads, source)

        self._crew = crew_of(self._wishes, first, Worker, plan_of, fingerprint, self._resources, self._tell)
        crew = WatchedCrew(self._crew, self._watch)
        is_local = self._wishes.ray_address is None
        return WorkerHands(crew, settings_in_turn, self._tell, self._patience, self._should_stop, is_local=is_local)

    def check(self, settings: EngineSettings) -> None:
        """Refuse devices by number, and a command without Ray; which devices there are is known later."""
        check_devices(settings)
        require_ray()

    def release(self) -> None:
        """End the workers, which gives their devices back."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None
