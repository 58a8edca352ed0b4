"""Find a model: embedded in the package, in a folder, or on the hub.

A checkpoint is a folder as on the hub: `transformer/`, `text_encoder/`, `tokenizer/`, `vae/`, each with its
`config.json`, and safetensors where there are weights.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from llm_dit.errors import CheckpointError, InvalidParameter

EMBEDDED_MODELS = Path(__file__).parents[1] / "models"
MAX_SHOWN_CHARACTERS = 100
PUBLISHED_MODEL = "Tongyi-MAI/Z-Image-Turbo"
COMPONENTS = ("transformer", "text_encoder", "tokenizer", "vae")
WEIGHT_COMPONENTS = ("transformer", "text_encoder", "vae")
HUB_FILES = (
    "tokenizer/tokenizer.json",
    "scheduler/scheduler_config.json",
    *(f"{component}/{name}" for component in WEIGHT_COMPONENTS for name in ("config.json", "*.safetensors*")),
)
"""What is read of a model on the hub."""
HUB_VARIANTS = ("*/*.*.safetensors*",)
"""The same weights in other number formats, such as `model.fp16.safetensors`."""


def find_checkpoint(
    model_path: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
) -> Path:
    """Return the folder of a model.

    Args:
        model_path: Name of an embedded model, a folder, or a hub id, which is downloaded once.
        revision: Branch, tag or commit on the hub; its main branch if None.
        token: Of the hub, for private models; the one that `hf auth login` keeps if None.
        cache_dir: Folder of downloads; the hub's own if None.

    Raises:
        CheckpointError: If there is no such folder, a component is missing, or the download fails.
        InvalidParameter: If a revision is asked for of what is not on the hub.
    """
    name = str(model_path)
    folder = _local_folder(name)
    if folder is None and existing(name) is not None:
        raise CheckpointError(
            f"{shortened(name)} is neither a folder nor a .safetensors or .gguf file; give one of these, 'mini', or a "
            f"hub id such as {PUBLISHED_MODEL}.",
            field="model_path",
        )
    if folder is None and re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith("."):
        folder = _download(name, revision, token, cache_dir)
    elif folder is None:
        raise CheckpointError(
            f"Model folder {shortened(name)} does not exist; give 'mini', a folder, or a hub id such as "
            "Tongyi-MAI/Z-Image-Turbo.",
            field="model_path",
        )
    elif revision is not None:
        raise InvalidParameter(
            "model_revision", f"{revision} is for models on the hub, but {name} is here; leave it out."
        )
    check_components(folder)
    return folder


def model_name(model_path: str) -> str:
    """Name a model without its place: `mini`, `Tongyi-MAI/Z-Image-Turbo`, or the last name of a folder or file.

    What is made with a model carries this name, which says nothing of the user's folders; the fingerprint tells which
    model it was.
    """
    place = None if is_embedded_name(model_path) else existing(model_path)
    if place is None:
        return Path(model_path).name if model_path.startswith((".", "~", "/")) else model_path
    place = place.resolve()
    is_taken = is_embedded_name(place.name) and place.parent != EMBEDDED_MODELS.resolve()
    return f"folder {place.name}" if is_taken else place.name


def is_embedded_name(name: str) -> bool:
    """Return True for the name of a model that comes with the code."""
    return re.fullmatch(r"[\w-]{1,64}", name) is not None and (EMBEDDED_MODELS / name).is_dir()


def existing(place: str) -> Path | None:
    """Return a file or folder, `~` expanded; None if there is none, or no such user, or it can't be a path."""
    path = expanded(place)
    return path if path.exists() else None


def expanded(place: str) -> Path:
    """Return a path, `~` expanded; of what can be none, too long or of a user there isn't, one that doesn't exist."""
    try:
        path = Path(place).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError):  # too long a name, no such user, NUL
        return Path(shortened(place))
    return path


def _local_folder(name: str) -> Path | None:
    if is_embedded_name(name):
        return EMBEDDED_MODELS / name
    place = existing(name)
    return place if place is not None and place.is_dir() else None


def _download(hub_id: str, revision: str | None, token: str | None, cache_dir: str | Path | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            hub_id,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            allow_patterns=list(HUB_FILES),
            ignore_patterns=list(HUB_VARIANTS),
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        asked = shortened(hub_id) if revision is None else f"{shortened(hub_id)} at {revision}"
        raise CheckpointError(
            f"{asked} is not a folder here and could not be fetched from the hub ({type(error).__name__}); check the "
            "name and the network, or give the folder of a downloaded checkpoint.",
            field="model_path",
        ) from error
    return Path(folder)


def fetch_tokenizer(reason: str) -> Path:
    """Return the folder of the published tokenizer, fetched from the hub where it is not here yet.

    Args:
        reason: Why it is needed, the beginning of the message.

    Raises:
        CheckpointError: If it is not here and can't be fetched.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(PUBLISHED_MODEL, allow_patterns=["tokenizer/*"])) / "tokenizer"
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError):
        folder = None
    if folder is None or not (folder / "tokenizer.json").is_file():
        raise CheckpointError(
            f"{reason}, and that of {PUBLISHED_MODEL} could not be fetched; give tokenizer_path, the folder tokenizer/ "
            "of a Z-Image or Qwen3 model.",
            field="tokenizer_path",
        )
    return folder


def check_components(folder: Path) -> None:
    """Check that every component's folder and configuration is there.

    Raises:
        CheckpointError: Names what is missing.
    """
    missing = [name for name in COMPONENTS if not (folder / name).is_dir()]
    if missing:
        raise CheckpointError(
            f"{folder} has no {' or '.join(name + '/' for name in missing)}; a checkpoint holds "
            f"{', '.join(name + '/' for name in COMPONENTS)} as on the hub.",
            field="model_path",
        )
    for name in WEIGHT_COMPONENTS:
        read_json(folder / name / "config.json")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a checkpoint.

    Raises:
        CheckpointError: If the file is missing or is not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; fetch the checkpoint again.", field="model_path") from None
    except RecursionError:
        raise CheckpointError(f"{path} is nested too deeply; fetch it again.", field="model_path") from None
    except (OSError, ValueError) as error:  # not UTF-8, not JSON, or a number of thousands of digits
        raise CheckpointError(f"{path} can't be read ({error}); fetch it again.", field="model_path") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a JSON object; fetch it again.", field="model_path")
    return content


def shown(value: Any) -> str:
    """Return a value from a file as it may stand in a sentence: on one line and short."""
    try:
        return shortened(json.dumps(value, ensure_ascii=True, default=str))
    except ValueError:  # a number of thousands of digits
        return f"a number of {value.bit_length()} bits" if isinstance(value, int) else "something very long"


def shortened(text: str) -> str:
    """Return a text as it may stand in a sentence."""
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[: MAX_SHOWN_CHARACTERS - 3] + "..."
