"""Read weights strictly, and say in one sentence what is wrong with them.

Nothing is ever loaded with tensors missing, spare or misshapen, and pickle files are refused. Names and shapes are
compared by the files' headers, before a tensor is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_dit.checkpoints.lazy_tensor import LazyTensor
from llm_dit.checkpoints.safetensors_file import SafetensorsFile, open_safetensors
from llm_dit.checkpoints.weight_files import choose_weight_files, refuse_doubles, tell_ignored
from llm_dit.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import nn

MAX_READERS = 4
"""Tensors read at once; more do not copy faster."""


def open_weights(component: Path) -> list[SafetensorsFile]:
    """Return the safetensors files of a component, with their headers checked.

    Raises:
        CheckpointError: If there are none, only pickle files, a Git LFS pointer, a truncated file, a missing
            shard, or if two files hold the same tensor.
    """
    chosen = choose_weight_files(component)
    tell_ignored(component, chosen)
    files = [open_safetensors(path) for path in chosen.paths]
    refuse_doubles(component, {file.path: file.shapes for file in files})
    return files


def check_tensors(path: Path, found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Check that a component has exactly the tensors its configuration asks for.

    Args:
        path: The component's folder or file, for the message.
        found: Our tensor name to shape.
        expected: Parameter name to shape.

    Raises:
        CheckpointError: Lists missing, spare and misshapen tensors.
    """
    missing = sorted(expected.keys() - found.keys())
    spare = sorted(found.keys() - expected.keys())
    misshapen = [
        f"{name} {list(found[name])} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    problems = [
        f"{len(names)} {what} ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})"
        for what, names in (("missing", missing), ("spare", spare), ("misshapen", misshapen))
        if names
    ]
    if problems:
        raise CheckpointError(
            f"{path} does not fit its config.json: {'; '.join(problems)} tensors. Use weights and config.json of "
            "the same model.",
            field="model_path",
        )


@contextmanager
def without_weights() -> Iterator[None]:
    """Make modules on the meta device inside the block, without drawing initial values.

    Drawing them there, to no effect, would import torch's compiler, which takes longer than importing torch.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class InitialValuesSkipped(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            given = kwargs or {}
            if getattr(func, "__module__", None) == "torch.nn.init":
                return given.get("tensor", args[0] if args else None)
            return func(*args, **given)

    with torch.device("meta"), InitialValuesSkipped():
        yield


def load_weights(
    module: nn.Module,
    path: Path,
    tensors: Mapping[str, LazyTensor],
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Fill a module whose parameters are on the meta device, strictly.

    Args:
        module: Module built under `torch.device("meta")`, buffers that are not saved excepted.
        path: Where the tensors lie, for the message.
        tensors: Parameter name to tensor, all that is stored but what the module has no use for.
        dtype: Number format of the loaded parameters.
        device: Where they go, read straight from the file.

    Raises:
        CheckpointError: If a file is damaged or the tensors do not match.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    check_tensors(path, {name: tensor.shape for name, tensor in tensors.items()}, expected)
    assign_weights(module, tensors, dtype=dtype, device=device)


def assign_weights(
    module: nn.Module, tensors: Mapping[str, LazyTensor], *, dtype: torch.dtype, device: torch.device
) -> None:
    """Read tensors, compared with the module before, and make them its parameters; see `load_weights`."""
    with ThreadPoolExecutor(MAX_READERS) as readers:
        read = readers.map(lambda tensor: tensor.read(dtype, device), tensors.values())
        module.load_state_dict(dict(zip(tensors, read, strict=True)), strict=False, assign=True)
