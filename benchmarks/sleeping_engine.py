"""A stand-in for the engine that only waits: what workers load where batches, transport and the driver are measured."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from llm_dit.parameters import EngineSettings, GenerationParams
from llm_dit.placement.planned_work import PlannedWork

SURROUNDINGS = {"versions": {"llm-dit": "stand-in"}, "machine": {"card": "stand-in"}}


class _Encoder:
    """As much of a text encoder as the lab asks for."""

    width = 1
    dtype = SimpleNamespace(itemsize=1)
    stream = None

    def warn_of_special_tokens(self, _texts: Sequence[str]) -> None:
        pass

    def count_tokens(self, text: str) -> int:
        return len(text.split())


class _Sleeping:
    """Stands for a pipeline: waits, and returns a picture of one pixel."""

    device = SimpleNamespace(type="cpu")
    load_seconds: Mapping[str, float] = {}

    def __init__(self, seconds: float, fingerprint: str) -> None:
        from PIL import Image

        self.fingerprint = fingerprint
        self.numerics = {"dtype": "none"}
        self._seconds = seconds
        self._image = Image.new("RGB", (1, 1))
        self.text_encoder = _Encoder()

    def surroundings(self) -> dict[str, dict[str, str]]:
        return SURROUNDINGS

    def resolve(self, params: GenerationParams) -> GenerationParams:
        return params

    def encode_prompts(self, texts: Sequence[str], _layers: Sequence[int]) -> list[Any]:
        return [SimpleNamespace(formatted_prompt=text, token_count=1, embeddings={}) for text in texts]

    def condition(self, _params: GenerationParams, encoded: Any, _negative: Any) -> Any:
        return SimpleNamespace(formatted_prompt=encoded.formatted_prompt, token_count=1, token_count_used=1)

    def draw(self, _params: GenerationParams, _conditioning: Any, _shared: Any = None) -> Any:
        """Queue a picture, which takes its time once it is waited for, as on a device."""
        return SimpleNamespace(wait=self._wait)

    def _wait(self) -> tuple[Any, dict[str, float]]:
        time.sleep(self._seconds)
        return self._image, {"denoise": self._seconds}

    def metadata(self, params: GenerationParams, _conditioning: Any, times: dict[str, float]) -> dict[str, Any]:
        return {
            "parameters": params.model_dump(),
            "stage_times_s": times,
            "model_path": "stand-in",
            "formatted_prompt": "",
            "evaluations": params.num_inference_steps,
            "model_fingerprint": self.fingerprint,
            "numerics": self.numerics,
            **self.surroundings(),
        }


class SleepingEngine:
    """Where workers have the stand-in from; needs no torch.

    Args:
        seconds: Of a picture.
        fingerprint: Of the model that it stands for.
    """

    def __init__(self, seconds: float, fingerprint: str) -> None:
        self._pipeline = (seconds, fingerprint)

    def surroundings(self, _settings: EngineSettings, _threads: int) -> dict[str, dict[str, str]]:
        """Return the same everywhere."""
        return SURROUNDINGS

    def models(self) -> Any:
        """Return what hands out the stand-in."""
        return self

    def known(self, _settings: EngineSettings, _planned: PlannedWork) -> Any:
        """Return the stand-in."""
        return _Sleeping(*self._pipeline)

    get = known

    def release(self) -> None:
        """Nothing is held."""
