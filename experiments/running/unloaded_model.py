"""A model as far as its files and settings tell it, so that runs are sorted before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.planning.model_facts import local_folder, read_model_facts
from llm_dit.collector import collector_paused
from llm_dit.parameters import EngineSettings, GenerationParams
from llm_dit.placement.planned_work import UNKNOWN_WORK, PlannedWork

if TYPE_CHECKING:
    from llm_dit.placement.devices import AnyDevice


class UnloadedModel:
    """What a worklist asks of a pipeline, without one. Imports torch only for a device that torch alone knows.

    Attributes:
        fingerprint: Hash of the checkpoint.
        numerics: What would be in effect.
    """

    def __init__(self, settings: EngineSettings, planned: PlannedWork = UNKNOWN_WORK) -> None:
        from llm_dit.checkpoints.lora_files import LoraFiles
        from llm_dit.checkpoints.model_parts import find_parts
        from llm_dit.stages.loading import known_numerics

        self._facts = read_model_facts(settings)
        known = known_numerics(settings, planned.evaluations)
        parts = find_parts(settings, local_folder)
        self._loras = LoraFiles(parts.transformer.tensors, settings.loras_folder)
        self.fingerprint = parts.fingerprint()
        self.numerics = known.numerics
        self._device = known.device

    @property
    def device(self) -> AnyDevice:
        """Where the transformer would compute."""
        return self._device

    def resolve(self, params: GenerationParams) -> GenerationParams:
        """Fill in size, shift, steps, guidance and the LoRAs' hashes, and check what only the model can say.

        See `ZImagePipeline.resolve`.
        """
        return self._facts.checked(params).replaced(loras=self._loras.resolve(params))

    def surroundings(self) -> dict[str, dict[str, str]]:
        """Return versions and machine; see `ZImagePipeline.surroundings`."""
        with collector_paused():  # an experiment imports torch here
            from llm_dit.pipeline import versions
            from llm_dit.placement.machine import machine_of

            return {"versions": versions(), "machine": machine_of(self.device)}
