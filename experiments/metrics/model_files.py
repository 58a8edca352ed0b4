"""Where a scorer's files are: embedded in the package, in a folder, or on the hub."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from llm_dit.checkpoints.finding import EMBEDDED_MODELS, existing
from llm_dit.errors import LlmDitError

READ_WHOLE_BYTES = 64 << 20
READ_END_BYTES = 1 << 20
Model = TypeVar("Model", bound=BaseModel)


def find_model(model: str | Path, *, embedded: str, patterns: Sequence[str]) -> Path:
    """Return the folder that holds a scorer.

    Args:
        model: The embedded scorer's name; a folder; or a hub id such as `zai-org/ImageReward`.
        embedded: Name of the embedded scorer.
        patterns: File patterns to fetch from the hub.

    Raises:
        LlmDitError: If there is no such folder, or the hub does not give it.
    """
    if model == embedded:
        folder = EMBEDDED_MODELS / embedded
        if not folder.is_dir():
            raise LlmDitError(
                f"This installation has no embedded scorer {embedded}; name a folder or hub id in [P.metrics] instead."
            )
        return folder
    place = existing(str(model))
    if place is not None and place.is_dir():
        return place
    if isinstance(model, Path) or not is_hub_id(str(model)):
        raise LlmDitError(f"Scorer folder {model} does not exist; give a folder, a hub id (owner/name) or {embedded}.")
    try:
        return fetch_from_hub(str(model), patterns)
    except LlmDitError as error:
        raise LlmDitError(f"{error} The embedded {embedded} needs no network.") from error


def is_hub_id(model: str) -> bool:
    """Return whether a text has the shape `owner/name` and can't be meant as a path."""
    owner, slash, name = model.partition("/")
    return bool(slash and owner and name) and not model.startswith((".", "~", "/")) and "/" not in name


def fetch_from_hub(repo_id: str, patterns: Sequence[str]) -> Path:
    """Return the local snapshot of a hub repository, downloading what is not cached.

    Raises:
        LlmDitError: If the repository does not exist, is not open to this user, or can't be reached.
    """
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(repo_id, allow_patterns=list(patterns)))
    except GatedRepoError as error:
        raise LlmDitError(f"Scorer {repo_id} asks you to accept its terms on huggingface.co and to log in.") from error
    except RepositoryNotFoundError as error:
        raise LlmDitError(f"There is no scorer {repo_id} on the hub, or it is private.") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, httpx.HTTPError, ConnectionError) as error:
        raise LlmDitError(
            f"Scorer {repo_id} is not in the local cache and the hub can't be reached; "
            "download it where there is network and give its folder."
        ) from error


def read_json(path: Path, model_class: type[Model]) -> Model:
    """Read and check a JSON file.

    Raises:
        LlmDitError: If it is absent, is not JSON, or misses a value.
    """
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
        return model_class.model_validate(values)
    except FileNotFoundError:
        raise LlmDitError(f"Scorer folder {path.parent} has no {path.name}.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise LlmDitError(f"{path} is not valid JSON: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "its content"
        raise LlmDitError(f"{path}: {place} is wrong: {first['msg']}.") from error


def first_line(error: Exception) -> str:
    """Return the first line of another library's message, which often goes on for many."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def model_identity(model: str | Path, folder: Path, weights: Sequence[Path]) -> str:
    """Return the name of what is behind a score, such as `image-reward-mini@1f0c9a3b52d4`.

    The mark is a hash over the weights, configurations and tokenizer. Of files above 64 MiB only the size and both ends
    are read, so that naming a scorer of several gigabytes is instant; it tells versions apart and is no proof against
    tampering.
    """
    digest = hashlib.sha256()
    for path in sorted({*weights, *folder.glob("*.json"), *folder.glob("*.txt")}):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size};".encode())
        with path.open("rb") as file:
            digest.update(file.read(READ_WHOLE_BYTES if size <= READ_WHOLE_BYTES else READ_END_BYTES))
            if size > READ_WHOLE_BYTES:
                file.seek(-READ_END_BYTES, os.SEEK_END)
                digest.update(file.read())
    from_hub = isinstance(model, str) and is_hub_id(model) and existing(model) is None
    return f"{model if from_hub else folder.resolve().name}@{digest.hexdigest()[:12]}"
