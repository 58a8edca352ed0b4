"""A checkpoint's own noise schedule, from `scheduler/scheduler_config.json`: which shift it was trained for.

Read is what a shift can say: a static one, or one that grows with the image. Whatever else changes the noise levels is
refused by name, since a picture would silently be another.
Source: `FlowMatchEulerDiscreteScheduler` and `ZImagePipeline` of diffusers 0.42.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_dit.checkpoints.finding import read_json, shown
from llm_dit.errors import CheckpointError, InvalidParameter
from llm_dit.parameters import PARAMETERS, GenerationParams

MAX_SHIFT = PARAMETERS["shift"].maximum or math.inf
MAX_NUMBER = 1e6
TURBO_SHIFT = 3.0
"""Of Z-Image-Turbo, taken where a folder brings no scheduler."""
BASE_SHIFT = 6.0
"""Of Z-Image, the base model; weights are alike, so this is what tells it from Turbo."""
TURBO_DEFAULTS: Mapping[str, Any] = {"num_inference_steps": 9, "guidance_scale": 0.0}
BASE_DEFAULTS: Mapping[str, Any] = {"num_inference_steps": 50, "guidance_scale": 4.0}
"""As published with the two models: the examples in the repository Tongyi-MAI/Z-Image."""
SCHEDULER_CLASS = "FlowMatchEulerDiscreteScheduler"
SHIFT_BITS = 20
PIXELS_PER_TOKEN = 16 * 16
TRAINED_TIMESTEPS = 1000
DEFAULTS: Mapping[str, Any] = {
    "num_train_timesteps": TRAINED_TIMESTEPS,
    "shift": 1.0,
    "use_dynamic_shifting": False,
    "base_shift": 0.5,
    "max_shift": 1.15,
    "base_image_seq_len": 256,
    "max_image_seq_len": 4096,
    "time_shift_type": "exponential",
}
"""What diffusers takes for keys that are not in the file."""
SUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "num_train_timesteps": (TRAINED_TIMESTEPS,),
    "time_shift_type": ("exponential", "linear"),
    "use_dynamic_shifting": (True, False, None),
}


@dataclass(frozen=True)
class DynamicShift:
    """A shift that grows with the number of image tokens.

    Attributes:
        base_shift: mu at `base_tokens`.
        max_shift: mu at `max_tokens`.
        base_tokens: Image tokens.
        max_tokens: Image tokens.
        is_exponential: True if the factor is exp(mu), False if it is mu itself.
    """

    base_shift: float
    max_shift: float
    base_tokens: float
    max_tokens: float
    is_exponential: bool

    def at(self, image_seq_len: int) -> float:
        """Return the static factor that an image of so many tokens gets.

        It is rounded to 20 bits, with which float32 puts the first level at exactly 1 as the rule itself does.
        """
        slope = (self.max_shift - self.base_shift) / (self.max_tokens - self.base_tokens)
        mu = image_seq_len * slope + (self.base_shift - slope * self.base_tokens)
        fraction, exponent = math.frexp(math.exp(mu) if self.is_exponential else mu)
        return math.ldexp(round(fraction * 2**SHIFT_BITS), exponent - SHIFT_BITS)


@dataclass(frozen=True)
class ModelScheduler:
    """The schedule that a model was trained for.

    Attributes:
        shift: Static factor, above 0.
        dynamic: Taken instead of `shift` where the model has it.
    """

    shift: float = TURBO_SHIFT
    dynamic: DynamicShift | None = None

    @property
    def is_base(self) -> bool:
        """Whether it is the schedule of Z-Image's base model, so that its steps and guidance are the defaults."""
        return self.dynamic is None and self.shift == BASE_SHIFT

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Steps and guidance that the model is meant to be drawn with."""
        return BASE_DEFAULTS if self.is_base else TURBO_DEFAULTS

    def guidance_for(self, params: GenerationParams) -> float:
        """Return the guidance of an image: its own, or the model's where none is set."""
        guidance: float = self.defaults["guidance_scale"] if params.guidance_scale is None else params.guidance_scale
        return guidance

    def shift_for(self, height: int, width: int) -> float:
        """Return the model's own shift for an image of `height` x `width` pixels.

        Raises:
            InvalidParameter: If it is out of the range that a shift may have.
        """
        if self.dynamic is None:
            return self.shift
        shift = self.dynamic.at(height * width // PIXELS_PER_TOKEN)
        if not 0 < shift <= MAX_SHIFT:
            raise InvalidParameter(
                "shift",
                f"is {shift:.4g} by the model's own rule for {width} x {height}, and above 0 up to {MAX_SHIFT:g} is "
                "allowed; set shift, or draw another size.",
            )
        return shift


def model_values(params: GenerationParams, native_size: tuple[int, int], scheduler: ModelScheduler) -> dict[str, Any]:
    """Return what an image takes from its model where its parameters leave it open: size, shift, steps and guidance.

    Args:
        params: Of the image.
        native_size: Height and width that the model was trained for, in pixels.
        scheduler: The model's.
    """
    height, width = params.height or native_size[0], params.width or native_size[1]
    shift = scheduler.shift_for(height, width) if params.shift is None else params.shift
    open_ones = {name: value for name, value in scheduler.defaults.items() if getattr(params, name) is None}
    return {"height": height, "width": width, "shift": shift, **open_ones}


def read_scheduler(folder: Path) -> ModelScheduler:
    """Read the schedule of a checkpoint; Turbo's where its folder has no `scheduler/`.

    Raises:
        CheckpointError: If the file is missing or damaged, or asks for what is not supported; names the key.
    """
    component = folder / "scheduler"
    if not component.is_dir():
        return ModelScheduler()
    path = component / "scheduler_config.json"
    values = {**DEFAULTS, **read_json(path)}
    kind = values.pop("_class_name", SCHEDULER_CLASS)
    if kind != SCHEDULER_CLASS:
        raise _unsupported(path, f"the class {shown(kind)}")
    for key, value in values.items():
        if value and key not in DEFAULTS and not key.startswith("_"):
            raise _unsupported(path, f"{key} = {shown(value)}")
    for key, supported in SUPPORTED.items():
        if values[key] not in supported:
            raise _unsupported(path, f"{key} = {shown(values[key])}")
    if values["use_dynamic_shifting"]:
        return ModelScheduler(dynamic=_dynamic(path, values))
    shift = _number(path, values, "shift")
    if not 0 < shift <= MAX_SHIFT:
        raise _unsupported(path, f"shift = {shift:g}")
    return ModelScheduler(shift)


def _dynamic(path: Path, values: Mapping[str, Any]) -> DynamicShift:
    names = ("base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len")
    base_shift, max_shift, base_tokens, max_tokens = (_number(path, values, name) for name in names)
    if base_tokens == max_tokens:
        raise _unsupported(path, f"base_image_seq_len = max_image_seq_len = {max_tokens:g}")
    is_exponential = values["time_shift_type"] == "exponential"
    return DynamicShift(base_shift, max_shift, base_tokens, max_tokens, is_exponential)


def _number(path: Path, values: Mapping[str, Any], key: str) -> float:
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not -MAX_NUMBER <= value <= MAX_NUMBER:
        raise CheckpointError(f"{path}: {key} is {shown(value)}, not a number; fetch it again.", field="model_path")
    return float(value)


def _unsupported(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path} asks for {what}, which is not supported; a {SCHEDULER_CLASS} with a static or a dynamic shift is.",
        field="model_path",
    )
