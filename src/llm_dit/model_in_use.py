"""One loaded model that moves from one set of engine settings to the next and loads only the parts that differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_dit.parameters import EngineSettings
from llm_dit.placement.planned_work import UNKNOWN_WORK, PlannedWork

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_dit.pipeline import ZImagePipeline
    from llm_dit.stages.stage_shelf import StageShelf


class ModelInUse:
    """Holds the pipeline of the settings it was last asked for; serves one thread.

    A caller drops the pipeline it got before it asks for the next one: what both hold stays in memory.
    """

    def __init__(self) -> None:
        self._shelf: StageShelf | None = None
        self._pipeline: ZImagePipeline | None = None
        self._room = 0

    @property
    def loads(self) -> Mapping[str, int]:
        """How often each network was loaded: `text_encoder`, `transformer`, `vae`."""
        return {} if self._shelf is None else dict(self._shelf.loads)

    def pipeline(self, settings: EngineSettings, planned: PlannedWork = UNKNOWN_WORK) -> ZImagePipeline:
        """Return the pipeline for these settings.

        Args:
            settings: Model, devices and numerics.
            planned: The images ahead, as far as they are known.

        Raises:
            LlmDitError: If the checkpoint, a device or a setting is not usable.
        """
        from llm_dit.pipeline import ZImagePipeline
        from llm_dit.stages.stage_shelf import StageShelf

        if self._pipeline is not None and settings == self._pipeline.settings and self._serves(self._pipeline, planned):
            return self._pipeline
        self._pipeline = None
        self._shelf = self._shelf or StageShelf()
        self._pipeline = ZImagePipeline.from_pretrained(settings=settings, planned=planned, shelf=self._shelf)
        self._room = planned.pixels
        return self._pipeline

    def _serves(self, pipeline: ZImagePipeline, planned: PlannedWork) -> bool:
        """Return whether a pipeline would be loaded alike for this work."""
        return pipeline.settings.compile != "auto" and planned.pixels <= self._room

    def release(self) -> None:
        """Let go of the model and its memory; the next pipeline is loaded anew."""
        self._pipeline = None
        if self._shelf is not None:
            self._shelf.clear()
