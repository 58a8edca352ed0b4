"""This process's device as the hands of a command: one model after the other, each loaded once and drawn with."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from experiments.running.making import Maker, Sink, draw_in_turn, failure_record
from experiments.running.models import LoadedModel, Models
from experiments.running.prompt_encodings import RUN_ERRORS, EncodingCache, KeptEncodings
from experiments.running.worklist import KnownModel, WorkItem
from experiments.store.comparable import Conditions, ModelIdentity
from llm_dit.errors import CheckpointError
from llm_dit.parameters import EngineSettings
from llm_dit.placement.planned_work import UNKNOWN_WORK, PlannedWork
from llm_dit.sampling.shared_work import HELD_RESULTS, SharedWork

if TYPE_CHECKING:
    from experiments.running.execution import Surroundings
    from experiments.running.look_runs import Judging
    from llm_dit.pipeline import ZImagePipeline


class OneDevice:
    """A device of this process that draws.

    Args:
        models: Where its pipelines come from; used for this alone.
        planned: The work under each setting of the engine.
        shares: Compute once what images have in common at their beginning; False is for measuring what that saves.
        keeps_encodings: Whether runs of the same prompt come in several calls of `draw`, so that encodings are kept.
        on_load: Called before each loading.
    """

    def __init__(
        self,
        models: Models,
        planned: PlannedWork = UNKNOWN_WORK,
        *,
        shares: bool = True,
        keeps_encodings: bool = False,
        on_load: Callable[[EngineSettings], None] | None = None,
    ) -> None:
        self._models = models
        self._planned = planned
        self._shares = shares
        self._keeps_encodings = keeps_encodings
        self._on_load = on_load
        self._known: dict[EngineSettings, KnownModel] = {}
        self._kept = KeptEncodings()
        self._settings: EngineSettings | None = None
        self._pipeline: ZImagePipeline | None = None
        self._shared: SharedWork | None = None
        self._reused_before = 0
        self._maker: Callable[..., Maker] | None = None
        self._told: tuple[Conditions, str, str] | None = None

    @classmethod
    def of(cls, pipeline: ZImagePipeline, *, shares: bool = True) -> OneDevice:
        """Return the device of a pipeline that is loaded already, for plans that vary no setting of the engine."""
        return cls(LoadedModel(pipeline), shares=shares)

    def known(self, settings: EngineSettings) -> KnownModel:
        """Return what is known of a model before it is loaded; see `Hands.known`."""
        if settings not in self._known:
            self._known[settings] = self._models.known(settings, self._planned)
        return self._known[settings]

    @property
    def device(self) -> str:
        """Where the transformer is."""
        return str(next(iter(self._known.values())).device)

    @property
    def shared_evaluations(self) -> int:
        """Evaluations of the transformer taken so far from earlier images that began alike."""
        return self._reused_before + (0 if self._shared is None else self._shared.reused_evaluations)

    def lend(self, _judging: Judging) -> None:
        """Leave scoring to the process; see `Hands.lend`."""

    def begin(self, conditions: Conditions, experiment: str, session_of: Callable[[Surroundings], str]) -> None:
        """Learn what all runs of a plan share; see `Hands.begin`."""
        session = session_of(next(iter(self._known.values())).surroundings())
        self._told = conditions, experiment, session

    def draw(
        self,
        items: Sequence[WorkItem],
        writer: Sink,
        on_finished: Callable[[str], None],
        should_stop: Callable[[], bool],
    ) -> int:
        """Draw runs one by one, those of each setting of the engine together; see `Hands.draw`."""
        begun = 0
        for settings, group in itertools.groupby(items, key=lambda item: item.run.settings):
            if begun and should_stop():  # before another loading
                break
            alike = list(group)
            try:
                self._move_to(settings, alike[0].model)
            except RUN_ERRORS as error:
                if len(self._known) == 1:
                    raise
                self._fail(alike, error, writer, on_finished)
                begun += len(alike)
                continue
            drawn = self._draw(alike, writer, on_finished, should_stop)
            begun += drawn
            if drawn < len(alike):
                break
        return len(items) - begun

    def _move_to(self, settings: EngineSettings, expected: ModelIdentity) -> None:
        """Load what differs from the settings before; nothing here holds the old pipeline then."""
        if self._pipeline is not None and settings == self._settings:
            return
        self._reused_before = self.shared_evaluations
        self._pipeline = self._shared = self._maker = self._settings = None
        if self._on_load is not None:
            self._on_load(settings)
        pipeline = self._models.get(settings, self._planned)
        if ModelIdentity(pipeline.fingerprint, pipeline.numerics).told != expected.told:
            raise CheckpointError(
                f"{settings.model_path} is another model, or runs otherwise, than when the runs were planned; run the "
                "same command again.",
                field="model_path",
            )
        assert self._told is not None, "begin comes first"
        conditions, experiment, session = self._told
        self._settings, self._pipeline = settings, pipeline
        self._shared = SharedWork(pipeline.device, HELD_RESULTS if self._shares else 0)
        self._maker = partial(
            Maker, conditions, pipeline, self._shared, experiment=experiment, session=session, first_texts={}
        )

    def _draw(
        self,
        items: Sequence[WorkItem],
        writer: Sink,
        on_finished: Callable[[str], None],
        should_stop: Callable[[], bool],
    ) -> int:
        assert self._pipeline is not None and self._maker is not None
        is_kept = self._keeps_encodings or len(self._known) > 1
        encodings = EncodingCache(self._pipeline, items, self._kept if is_kept else None)
        maker = self._maker(encodings, writer)
        return draw_in_turn(encodings, maker, lambda item: on_finished(item.run.run_id), should_stop)

    def _fail(
        self, items: Sequence[WorkItem], error: Exception, writer: Sink, on_finished: Callable[[str], None]
    ) -> None:
        """Write down that a level's model could not be loaded; the others go on."""
        assert self._told is not None
        conditions, experiment, _ = self._told
        for item in items:
            record = failure_record(item, conditions, experiment)
            writer.fail(item.run, record, str(error) or type(error).__name__)
            on_finished(item.run.run_id)
