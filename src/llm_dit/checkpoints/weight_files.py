"""Which files of a component are read: exactly one set, though folders often hold several.

Published models bring the same weights in other number formats (`model.fp16.safetensors`), whole and in shards, or in a
copy. An index says which shards belong together and wins; else the plain files are the set. Two files that would give
the same tensor are refused, since which of them is meant can't be known.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llm_dit.checkpoints.finding import read_json
from llm_dit.errors import CheckpointError

logger = logging.getLogger(__name__)

SUFFIX = ".safetensors"
INDEX_SUFFIX = ".safetensors.index.json"
PICKLE_PATTERNS = ("*.bin", "*.pt", "*.pth", "*.ckpt")
VARIANT = re.compile(r"(?:model|diffusion_pytorch_model)(?:-\d+-of-\d+)?\.([^.]+?)(?:-\d+-of-\d+)?")
"""The stem of a variant, such as `model.fp16` or `diffusion_pytorch_model.fp16-00001-of-00002`."""
NAMED_FILES = 4


@dataclass(frozen=True)
class WeightFiles:
    """The files of one component.

    Attributes:
        index: The list of shards that chose them; None where there is none.
        paths: Those that are read, by name.
        ignored: Others with weights, which are not.
    """

    index: Path | None
    paths: tuple[Path, ...]
    ignored: tuple[Path, ...]


def choose_weight_files(component: Path) -> WeightFiles:
    """Return the one set of weight files of a component.

    Raises:
        CheckpointError: If there is none, only pickle files, a shard is missing, or several sets could be meant.
    """
    everything = sorted(component.glob(f"*{SUFFIX}"))
    indices = [path for path in sorted(component.glob(f"*{INDEX_SUFFIX}")) if not _variant(path, INDEX_SUFFIX)]
    if indices:
        paths = _shards(indices[0])
        for other in indices[1:]:
            if _shards(other) != paths:
                raise _ambiguous(component, indices[0].name, other.name)
        whole = component / f"{indices[0].name.removesuffix(INDEX_SUFFIX)}{SUFFIX}"
        if whole.is_file() and whole not in paths:
            raise _ambiguous(component, whole.name, indices[0].name)
    else:
        paths = [path for path in everything if not _variant(path, SUFFIX)] or _only_variant(component, everything)
    if not paths:
        raise _nothing(component)
    index = indices[0] if indices else None
    return WeightFiles(index, tuple(paths), tuple(path for path in everything if path not in paths))


def tell_ignored(component: Path, files: WeightFiles) -> None:
    """Log a warning that names the weight files which are not read."""
    if files.ignored:
        names = ", ".join(path.name for path in files.ignored[:NAMED_FILES])
        more = len(files.ignored) - NAMED_FILES
        logger.warning("%s: %s%s not read.", component, names, f" and {more} more are" if more > 0 else " is")


def refuse_doubles(component: Path, names_in: Mapping[Path, Iterable[str]]) -> None:
    """Refuse a tensor that two files hold, or one under two names.

    Args:
        component: The component's folder.
        names_in: File to the names of its tensors.

    Raises:
        CheckpointError: Names both and what to do.
    """
    places: dict[str, tuple[str, str]] = {}
    for path, names in names_in.items():
        for name in names:
            other_file, other_name = places.setdefault(name.removeprefix("model."), (path.name, name))
            if other_file != path.name:
                raise CheckpointError(
                    f"{component}: {other_file} and {path.name} both hold {name}; move away the one that does not "
                    "belong to the model.",
                    field="model_path",
                )
            if other_name != name:
                raise CheckpointError(
                    f"{path} holds both {other_name} and {name}; use a checkpoint with one of them.",
                    field="model_path",
                )


def _variant(path: Path, suffix: str) -> str:
    match = VARIANT.fullmatch(path.name.removesuffix(suffix))
    return match[1] if match else ""


def _only_variant(component: Path, everything: list[Path]) -> list[Path]:
    """Return the files of a component that comes in one variant only."""
    variants: dict[str, list[Path]] = {}
    for path in everything:
        variants.setdefault(_variant(path, SUFFIX), []).append(path)
    if len(variants) > 1:
        first, second, *_ = variants.values()
        raise _ambiguous(component, first[0].name, second[0].name)
    return everything


def _shards(index: Path) -> list[Path]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(
        isinstance(name, str) and Path(name).name == name for name in weight_map.values()
    ):
        raise CheckpointError(f"{index} has no weight_map from tensors to files; fetch it again.", field="model_path")
    names = sorted(set(weight_map.values()))
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{index} lists {', '.join(missing[:3])}, which is missing; fetch the checkpoint again.",
            field="model_path",
        )
    return [index.parent / name for name in names]


def _ambiguous(component: Path, one: str, other: str) -> CheckpointError:
    return CheckpointError(
        f"{component} holds the weights twice, as {one} and as {other}; move one of them away.", field="model_path"
    )


def _nothing(component: Path) -> CheckpointError:
    pickles = sorted(path.name for pattern in PICKLE_PATTERNS for path in component.glob(pattern))
    if pickles:
        return CheckpointError(
            f"{component} holds only pickle files ({', '.join(pickles[:3])}), which can run code when read; "
            "use a checkpoint in safetensors.",
            field="model_path",
        )
    return CheckpointError(f"{component} holds no *.safetensors weights; fetch it again.", field="model_path")
