"""Find a model: embedded in the package, in a folder, or on the hub.

A checkpoint is a folder as on the hub: `transformer/`, `text_encoder/`, `tokenizer/`, `vae/`, each with its
`config.json`, and safetensors where there are weights.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from llm_dit.errors import CheckpointError

EMBEDDED_MODELS = Path(__file__).parents[1] / "models"
MAX_SHOWN_CHARACTERS = 60
COMPONENTS = ("transformer", "text_encoder", "tokenizer", "vae")
WEIGHT_COMPONENTS = ("transformer", "text_encoder", "vae")
HUB_FILES = ("model_index.json", *(f"{component}/*" for component in (*COMPONENTS, "scheduler")))


def find_checkpoint(model_path: str) -> Path:
    """Return the folder of a model.

    Args:
        model_path: Name of an embedded model, a folder, or a hub id, which is downloaded once.

    Raises:
        CheckpointError: If there is no such folder, a component is missing, or the download fails.
    """
    embedded = EMBEDDED_MODELS / model_path
    if re.fullmatch(r"[\w-]+", model_path) and embedded.is_dir():
        folder = embedded
    elif Path(model_path).expanduser().is_dir():
        folder = Path(model_path).expanduser()
    elif re.fullmatch(r"[\w.-]+/[\w.-]+", model_path) and not model_path.startswith("."):
        folder = _download(model_path)
    else:
        raise CheckpointError(
            f"Model folder {model_path} does not exist; give 'mini', a folder, or a hub id such as "
            "Tongyi-MAI/Z-Image-Turbo.",
            field="model_path",
        )
    check_components(folder)
    return folder


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(HUB_FILES)))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise CheckpointError(
            f"{hub_id} is not a folder here and could not be fetched from the hub ({type(error).__name__}); check the "
            "name and the network, or give the folder of a downloaded checkpoint.",
            field="model_path",
        ) from error


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
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} can't be read ({error}); fetch it again.", field="model_path") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a JSON object; fetch it again.", field="model_path")
    return content


def shown(value: Any) -> str:
    """Return a value from a file as it may stand in a sentence: on one line and short."""
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[: MAX_SHOWN_CHARACTERS - 3] + "..."
