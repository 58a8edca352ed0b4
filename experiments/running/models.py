"""Where a run's models come from: known without loading, loaded one at a time, let go of before anything is scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from experiments.running.worklist import KnownModel
from llm_dit.parameters import EngineSettings
from llm_dit.placement.planned_work import PlannedWork

if TYPE_CHECKING:
    from llm_dit.pipeline import ZImagePipeline


class Models(Protocol):
    """A source of models; one run uses it at a time."""

    def known(self, settings: EngineSettings, planned: PlannedWork) -> KnownModel:
        """Return what is known of the model of these settings before it is loaded."""

    def get(self, settings: EngineSettings, planned: PlannedWork) -> ZImagePipeline:
        """Return the pipeline for these settings, loaded; the caller holds none of other settings then."""

    def release(self) -> None:
        """Let go of the pipeline, so that scorers find the device free."""


class OwnModels:
    """Models loaded for one command, which keeps the parts that two settings share."""

    def __init__(self) -> None:
        from llm_dit.model_in_use import ModelInUse

        self._model = ModelInUse()

    def known(self, settings: EngineSettings, planned: PlannedWork) -> KnownModel:
        """See `Models.known`."""
        from experiments.running.unloaded_model import UnloadedModel

        return UnloadedModel(settings, planned)

    def get(self, settings: EngineSettings, planned: PlannedWork) -> ZImagePipeline:
        """See `Models.get`."""
        return self._model.pipeline(settings, planned)

    def release(self) -> None:
        """See `Models.release`."""
        self._model.release()


class LoadedModel:
    """A pipeline that is loaded already, for plans that vary no setting of the engine."""

    def __init__(self, pipeline: ZImagePipeline) -> None:
        self._pipeline = pipeline

    def known(self, _settings: EngineSettings, _planned: PlannedWork) -> KnownModel:
        """Return the pipeline."""
        return self._pipeline

    def get(self, _settings: EngineSettings, _planned: PlannedWork) -> ZImagePipeline:
        """Return the pipeline."""
        return self._pipeline

    def release(self) -> None:
        """Keep it: somebody else loaded it."""
