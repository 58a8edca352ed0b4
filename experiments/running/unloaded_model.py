"""A model as far as its files and settings tell it, so that a dry run sorts runs as the command itself would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.planning.model_facts import ModelFacts, local_folder
from llm_dit.parameters import EngineSettings, GenerationParams

if TYPE_CHECKING:
    from llm_dit.stages.loading import Placement


class UnloadedModel:
    """What a worklist asks of a pipeline, without one. Imports torch, which alone knows the devices.

    Attributes:
        fingerprint: Hash of the checkpoint.
        numerics: What would be in effect.
    """

    def __init__(self, settings: EngineSettings, facts: ModelFacts, planned_evaluations: int) -> None:
        from llm_dit.checkpoints.model_parts import find_parts
        from llm_dit.stages.loading import numerics_of, place_stages

        self._facts = facts
        self._placement: Placement = place_stages(settings, planned_evaluations)
        self.fingerprint = find_parts(settings, local_folder).fingerprint()
        self.numerics = numerics_of(self._placement, settings)

    def resolve(self, params: GenerationParams) -> GenerationParams:
        """Fill in size and shift, and check what only the model can say; see `ZImagePipeline.resolve`."""
        return self._facts.checked(params)

    def surroundings(self) -> dict[str, dict[str, str]]:
        """Return versions and machine; see `ZImagePipeline.surroundings`."""
        from llm_dit.pipeline import versions
        from llm_dit.placement.machine import machine_of

        return {"versions": versions(), "machine": machine_of(self._placement.transformer[0])}
