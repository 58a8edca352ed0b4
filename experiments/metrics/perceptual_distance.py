"""LPIPS: how far a picture looks from the baseline's of the same prompt and seed, by the features of AlexNet.

The published definition, version 0.1 with AlexNet: pictures as numbers in -1 to 1, shifted and scaled by constants, go
through the five convolutions; after each the features are normalised over channels, their squared difference is
weighted by one learned number a channel and averaged over places, and the five are added. Pictures are compared at full
size.

Two files hold the weights, and this code brings neither: torchvision's AlexNet, and the learned numbers, which the
package `lpips` brings.

Shape legend: B = 2 (picture and baseline), C = channels of a layer, H, W = its height and width.

Source: Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric"; github.com/
richzhang/PerceptualSimilarity, `lpips/lpips.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.metrics.declaration import Column, Fidelity, Metric, ScoreInput, Scores
from experiments.metrics.images import Pixels, normalise, open_image, read_ahead
from experiments.metrics.model_files import first_line, model_identity
from llm_dit.checkpoints.finding import existing
from llm_dit.errors import LlmDitError
from llm_dit.placement.devices import resolve_device

if TYPE_CHECKING:
    from torch import Tensor

TRUNK_FILE = "alexnet-owt-7be5be79.pth"
"""Of torchvision, as `torch.hub` keeps it."""
HEADS_FILE = "alex.pth"
"""Of the package lpips, in `weights/v0.1`."""
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
"""The published shift (-0.030, -0.088, -0.188) and scale (0.458, 0.448, 0.450) of -1 to 1, told for 0 to 1."""
SMALLEST_SIDE = 31
"""Below it nothing is left after the second pooling."""
EPSILON = 1e-10

METRIC = Metric(
    name="lpips",
    title="LPIPS",
    unit="",
    direction="none",
    model="lpips-alex",
    columns=(Column("lpips", "Perceptual distance to the baseline's picture by AlexNet's features, 0 for equal ones"),),
    source="Zhang et al. 2018, arXiv:1801.03924",
    fidelity=Fidelity(closer="lower", equal=0.0),
)


class Convolution(NamedTuple):
    """One of AlexNet's: its name in torchvision's file, its kernel's side, stride, padding, and a pooling before it."""

    name: str
    kernel: int
    stride: int
    padding: int
    pools_before: bool


CONVOLUTIONS = (
    Convolution("features.0", 11, 4, 2, pools_before=False),
    Convolution("features.3", 5, 1, 2, pools_before=True),
    Convolution("features.6", 3, 1, 1, pools_before=True),
    Convolution("features.8", 3, 1, 1, pools_before=False),
    Convolution("features.10", 3, 1, 1, pools_before=False),
)


class LPIPSScorer:
    """Compares each picture with the baseline's.

    Args:
        model: A folder with `alexnet-owt-7be5be79.pth` and, unless the package lpips is there, `alex.pth`; None or
            `auto` takes AlexNet from torch's hub cache and the rest from the package.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        LlmDitError: If a file can't be had or is another model's.
    """

    def __init__(self, model: str | Path | None = None, *, device: str = "auto") -> None:
        paths = weight_files(None if model == "auto" else model)
        self._weights = _read_weights(*paths)
        self._device = resolve_device(device, "device")
        identity = model_identity(paths[0].parent, paths[0].parent, paths)
        self.metric = replace(METRIC, model=f"{METRIC.model}@{identity.rpartition('@')[2]}")
        self.move_to(device)

    def move_to(self, device: str) -> None:
        """Go to another device; `auto` takes the fastest."""
        self._device = resolve_device(device, "device")
        self._weights = {name: values.to(self._device) for name, values in self._weights.items()}

    def score_rows(self, rows: Sequence[ScoreInput]) -> list[Scores]:
        """Return the column for every row; none for one without a baseline, or with one of another size."""
        return [self._score(pair) for _, (pair,) in read_ahead(rows, _pair, batch_size=1)]

    def _score(self, pair: tuple[Pixels, Pixels] | None) -> Scores:
        import torch

        if pair is None:
            return {}
        if np.array_equal(*pair):
            return {"lpips": 0.0}
        with torch.inference_mode():
            pictures = torch.from_numpy(np.stack(pair)).to(self._device)  # [B, 3, H, W]
            return {"lpips": max(0.0, float(distance(self._weights, pictures)))}


def distance(weights: Mapping[str, Tensor], pictures: Tensor) -> Tensor:
    """Return the distance of two pictures.

    Args:
        weights: AlexNet's convolutions by torchvision's names, and `lin0` to `lin4`, [1, C, 1, 1].
        pictures: Both, normalised by `IMAGE_MEAN` and `IMAGE_STD`, [2, 3, H, W], float32.
    """
    from torch.nn.functional import conv2d, max_pool2d, relu

    total = pictures.new_zeros(())
    features = pictures
    for index, layer in enumerate(CONVOLUTIONS):
        if layer.pools_before:
            features = max_pool2d(features, kernel_size=3, stride=2)
        kernel, bias = weights[f"{layer.name}.weight"], weights[f"{layer.name}.bias"]
        features = relu(conv2d(features, kernel, bias, stride=layer.stride, padding=layer.padding))  # [B, C, H, W]
        directions = features / (features.pow(2).sum(1, keepdim=True).sqrt() + EPSILON)
        difference = (directions[0] - directions[1]).pow(2)  # [C, H, W]
        total = total + conv2d(difference[None], weights[f"lin{index}"]).mean()
    return total


def weight_files(model: str | Path | None) -> tuple[Path, Path]:
    """Return where AlexNet's weights and the learned numbers are.

    Raises:
        LlmDitError: If one of them is nowhere, with where to get it.
    """
    folder = None if model is None else existing(str(model))
    if model is not None and (folder is None or not folder.is_dir()):
        raise LlmDitError(f"--lpips {model} is no folder; give one with {TRUNK_FILE} and {HEADS_FILE}.", field="lpips")
    trunk = (_hub_checkpoints() if folder is None else folder) / TRUNK_FILE
    if not trunk.is_file():
        raise LlmDitError(
            f"LPIPS needs AlexNet's weights, and {trunk} is not there; download "
            f"https://download.pytorch.org/models/{TRUNK_FILE} to it, or name a folder that holds it by --lpips.",
            field="lpips",
        )
    heads = [place / HEADS_FILE for place in (folder, _package_weights()) if place is not None]
    found = next((path for path in heads if path.is_file()), None)
    if found is None:
        raise LlmDitError(
            f"LPIPS needs its learned weights; install them by uv sync --extra lpips, or put {HEADS_FILE} of the "
            f"package lpips (weights/v0.1) beside {TRUNK_FILE} and name the folder by --lpips.",
            field="lpips",
        )
    return trunk, found


def _hub_checkpoints() -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def _package_weights() -> Path | None:
    found = find_spec("lpips")
    return None if found is None or found.origin is None else Path(found.origin).parent / "weights" / "v0.1"


def _read_weights(trunk: Path, heads: Path) -> dict[str, Tensor]:
    """Read both files and check that each layer has the published form, its width taken from the file."""
    stored, learned = _read(trunk), _read(heads)
    weights: dict[str, Tensor] = {}
    width = 3
    for index, layer in enumerate(CONVOLUTIONS):
        kernel, bias = (stored.get(f"{layer.name}.{part}") for part in ("weight", "bias"))
        if kernel is None or bias is None or kernel.shape[1:] != (width, layer.kernel, layer.kernel):
            raise LlmDitError(f"{trunk} is not torchvision's AlexNet: {layer.name} is missing or of another shape.")
        width = kernel.shape[0]
        head = learned.get(f"lin{index}.model.1.weight")
        if head is None or head.shape != (1, width, 1, 1):
            raise LlmDitError(f"{heads} does not fit {trunk}: lin{index} is missing or not of {width} channels.")
        weights |= {f"{layer.name}.weight": kernel, f"{layer.name}.bias": bias, f"lin{index}": head}
    return {name: values.float() for name, values in weights.items()}


def _read(path: Path) -> Mapping[str, Tensor]:
    import pickle

    import torch

    try:
        values: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise LlmDitError(f"{path} can't be read as weights: {first_line(error)}") from error
    return values


def _pair(row: ScoreInput) -> tuple[Pixels, Pixels] | None:
    if row.baseline is None:
        return None
    picture, baseline = (open_image(path) for path in (row.image, row.baseline))
    if picture.size != baseline.size or min(picture.size) < SMALLEST_SIDE:
        return None
    return normalise(picture, IMAGE_MEAN, IMAGE_STD), normalise(baseline, IMAGE_MEAN, IMAGE_STD)
