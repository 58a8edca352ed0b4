"""Where a scorer's files are: embedded in the package, in a folder, or on the hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from llm_dit.checkpoints.file_hashes import hashes_of
from llm_dit.checkpoints.finding import EMBEDDED_MODELS, existing
from llm_dit.errors import LlmDitError

READ_WHOLE_BYTES = 64 << 20
"""Larger files are hashed once and remembered; smaller ones are read each time."""
UNREAD_ON_THE_HUB = ("*/*", "*.*.safetensors*")
"""What lies in folders, and the same weights in other number formats, such as `model.fp16.safetensors`."""
Model = TypeVar("Model", bound=BaseModel)


def find_model(model: str | Path, *, embedded: str | None, patterns: Sequence[str]) -> Path:
    """Return the folder that holds a scorer.

    Args:
        model: The embedded scorer's name; a folder; or a hub id such as `zai-org/ImageReward`, of which `@` and a
            branch, tag or commit behind it choose another state than that of its main branch.
        embedded: Name of the embedded scorer; None where there is none.
        patterns: File patterns to fetch from the hub.

    Raises:
        LlmDitError: If there is no such folder, or the hub does not give it.
    """
    if embedded is not None and model == embedded:
        folder = EMBEDDED_MODELS / embedded
        if not folder.is_dir():
            raise LlmDitError(
                f"This installation has no embedded scorer {embedded}; name a folder or hub id in "
                "[PROFILE.metrics] instead."
            )
        return folder
    place = existing(str(model))
    if place is not None and place.is_dir():
        return place
    if isinstance(model, Path) or not is_hub_id(str(model)):
        raise LlmDitError(
            f"Scorer folder {model} does not exist; give a folder, a hub id (owner/name or owner/name@revision)"
            f"{f' or {embedded}' if embedded else ' of such a scorer'}."
        )
    try:
        return fetch_from_hub(str(model), patterns)
    except LlmDitError as error:
        if embedded is None:
            raise
        raise LlmDitError(f"{error} The embedded {embedded} needs no network.") from error


def is_hub_id(model: str) -> bool:
    """Return whether a text has the shape `owner/name` or `owner/name@revision` and can't be meant as a path."""
    owner, slash, name = model.partition("@")[0].partition("/")
    return bool(slash and owner and name) and not model.startswith((".", "~", "/")) and "/" not in name


def fetch_from_hub(model: str, patterns: Sequence[str]) -> Path:
    """Return the local snapshot of a hub repository, downloading what is not cached.

    Args:
        model: `owner/name` or `owner/name@revision`.
        patterns: Files at the repository's root that are read; of weights, the plain set.

    Raises:
        LlmDitError: If the repository or revision does not exist, is not open to this user, or can't be reached.
    """
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repo_id, at, revision = model.partition("@")
    if at and not revision:
        raise LlmDitError(f"Scorer {model} names no revision; put a branch, tag or commit after the @ or leave it out.")
    if at and existing(repo_id) is not None:
        raise LlmDitError(f"Scorer folder {repo_id} is here, but @{revision} is for models on the hub; leave it out.")
    try:
        return Path(
            snapshot_download(
                repo_id,
                revision=revision or None,
                allow_patterns=list(patterns),
                ignore_patterns=list(UNREAD_ON_THE_HUB),
            )
        )
    except HFValidationError as error:
        raise LlmDitError(f"Scorer {model} is no hub id: {first_line(error)}") from error
    except RevisionNotFoundError as error:
        raise LlmDitError(f"Scorer {repo_id} has no revision {revision} on the hub; see its branches there.") from error
    except GatedRepoError as error:
        raise LlmDitError(f"Scorer {repo_id} asks you to accept its terms on huggingface.co and to log in.") from error
    except RepositoryNotFoundError as error:
        raise LlmDitError(f"There is no scorer {repo_id} on the hub, or it is private.") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, httpx.HTTPError, ConnectionError) as error:
        raise LlmDitError(
            f"Scorer {model} is not in the local cache and the hub can't be reached; "
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


def model_identity(model: str | Path, folder: Path, read: Sequence[Path]) -> str:
    """Return the name of what is behind a score, such as `image-reward-mini@1f0c9a3b52d4`.

    Args:
        model: As it was asked for.
        folder: Where it was found.
        read: The files that scores depend on: weights, configurations and tokenizer. The mark is a hash over all of
            their bytes; of a large file it is computed once and remembered by its path, size and times.
    """
    digest = hashlib.sha256()
    paths = sorted(set(read))
    large = [path for path in paths if path.stat().st_size > READ_WHOLE_BYTES]
    hashes = dict(zip(large, hashes_of(large), strict=True))
    for path in paths:
        content = hashes[path].encode() if path in hashes else path.read_bytes()
        digest.update(f"{path.name}:{path.stat().st_size};".encode())
        digest.update(content)
    from_hub = isinstance(model, str) and is_hub_id(model) and existing(model) is None
    name = str(model).partition("@")[0] if from_hub else folder.resolve().name
    return f"{name}@{digest.hexdigest()[:12]}"
