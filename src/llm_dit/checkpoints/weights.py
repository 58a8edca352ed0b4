"""Read weights strictly, and say in one sentence what is wrong with them.

Nothing is ever loaded with tensors missing, spare or misshapen, and pickle files are refused. Names and shapes are
compared by the files' headers, before a tensor is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_dit.checkpoints.weight_files import choose_weight_files, refuse_doubles, tell_ignored
from llm_dit.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

LFS_POINTER = b"version https://git-lfs"
MAX_READERS = 4
"""Files read at once; more do not copy faster."""


@dataclass(frozen=True)
class TensorFile:
    """One safetensors file and the tensors in it.

    Attributes:
        path: The file.
        shapes: Tensor name to shape.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]


def open_weights(component: Path) -> list[TensorFile]:
    """Return the safetensors files of a component, with their headers checked.

    Raises:
        CheckpointError: If there are none, only pickle files, a Git LFS pointer, a truncated file, a missing
            shard, or if two files hold the same tensor.
    """
    chosen = choose_weight_files(component)
    tell_ignored(component, chosen)
    files = [_open_tensor_file(path) for path in chosen.paths]
    refuse_doubles(component, {file.path: file.shapes for file in files})
    return files


def _open_tensor_file(path: Path) -> TensorFile:
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise CheckpointError(
                f"{path} is a Git LFS pointer, not weights; run `git lfs pull` in that folder.", field="model_path"
            )
    try:
        with safe_open(path, framework="pt") as tensors:
            return TensorFile(path, {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()})  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is truncated or damaged ({error}); fetch it again.", field="model_path"
        ) from None


def check_tensors(
    component: Path, files: Iterable[TensorFile], expected: Mapping[str, tuple[int, ...]], rename: Callable[[str], str]
) -> None:
    """Check that a component has exactly the tensors its configuration asks for.

    Args:
        component: The component's folder, for the message.
        files: Its weights.
        expected: Parameter name to shape.
        rename: From a name in the file to a parameter name; "" for a tensor that repeats another.

    Raises:
        CheckpointError: Lists missing, spare and misshapen tensors.
    """
    found = {rename(name): shape for file in files for name, shape in file.shapes.items()}
    found.pop("", None)
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
            f"{component} does not fit its config.json: {'; '.join(problems)} tensors. Use weights and config.json of "
            "the same model.",
            field="model_path",
        )


def keep_name(name: str) -> str:
    """Return `name`: the file calls its tensors as the module does."""
    return name


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
    component: Path,
    *,
    dtype: torch.dtype,
    device: torch.device,
    rename: Callable[[str], str] = keep_name,
) -> None:
    """Fill a module whose parameters are on the meta device from a component's weights, strictly.

    Args:
        module: Module built under `torch.device("meta")`, buffers that are not saved excepted.
        component: Folder of the weights.
        dtype: Number format of the loaded parameters.
        device: Where they go, read straight from the file.
        rename: See `check_tensors`.

    Raises:
        CheckpointError: If a file is damaged or the tensors do not match.
    """
    files = open_weights(component)
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    check_tensors(component, files, expected, rename)
    state: dict[str, Tensor] = {}
    with ThreadPoolExecutor(min(len(files), MAX_READERS)) as readers:
        for part in readers.map(lambda file: _read_tensors(file, dtype, device, rename), files):
            state |= part
    module.load_state_dict(state, strict=True, assign=True)


def _read_tensors(
    file: TensorFile, dtype: torch.dtype, device: torch.device, rename: Callable[[str], str]
) -> dict[str, Tensor]:
    from safetensors import safe_open

    with safe_open(file.path, framework="pt", device=str(device)) as tensors:
        return {rename(name): tensors.get_tensor(name).to(dtype) for name in file.shapes if rename(name)}
