"""Weights on disk between the stages: half-precision safetensors, written whole or not at all."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


def save_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Write floating tensors as float16 under a temporary name, then rename.

    Every stage after this one reads the rounded values, so that nothing is trained on weights that are not shipped.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    halves = {
        name: (value.half() if value.is_floating_point() else value).detach().cpu().contiguous().clone()
        for name, value in state.items()
    }
    part = path.with_suffix(f".{os.getpid()}.part")
    save_file(halves, part, metadata={"format": "pt"})
    part.replace(path)


def load_weights(model: Model, path: Path) -> Model:
    """Fill `model` with the weights in `path` as float32; names and shapes must match exactly."""
    model.load_state_dict({name: value.float() for name, value in load_file(path).items()}, strict=True)
    return model


def start_from(model: Model, path: Path, prefix: str = "") -> Model:
    """Fill `model` with weights that were trained before, so that a second run goes on from the shipped ones.

    Args:
        model: Its names and shapes must match exactly.
        path: A stage's file, or a shipped folder with `model.safetensors`.
        prefix: What the shipped names begin with and the stage's don't.

    Returns:
        The model, in float32.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    state = {name.removeprefix(prefix): value.float() for name, value in load_file(file).items()}
    model.load_state_dict(state, strict=True)
    return model


def wait_for(path: Path, timeout_s: float = 900.0) -> Path:
    """Wait until another stage has written `path`, looking twice a second.

    Raises:
        TimeoutError: If it is not there after `timeout_s` seconds.
    """
    end = time.time() + timeout_s
    while not path.exists():
        if time.time() > end:
            raise TimeoutError(
                f"{path} was not written within {timeout_s:.0f} s; see the log of the stage that makes it"
            )
        time.sleep(0.5)
    return path


class Average:
    """Exponential moving average of a model's parameters.

    Args:
        model: The model whose parameters are followed.
        decay: Share kept at each step once warm; earlier steps keep less, so that the start is forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.parameters = [parameter.detach() for parameter in model.parameters()]
        self.values = [parameter.clone() for parameter in self.parameters]
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the present parameters."""
        self.steps += 1
        kept = min(self.decay, self.steps / (self.steps + 20))
        torch._foreach_lerp_(self.values, self.parameters, 1.0 - kept)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the averaged and the present parameters; call twice to come back."""
        for parameter, value in zip(self.parameters, self.values, strict=True):
            present = parameter.clone()
            parameter.copy_(value)
            value.copy_(present)
