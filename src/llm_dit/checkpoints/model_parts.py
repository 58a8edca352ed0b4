"""The parts of a model, wherever they lie: a folder as on the hub, single files, or some of each.

A part that a setting names wins over what the model brings. A file alone looks for the others where ComfyUI keeps them.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from llm_dit.checkpoints.finding import WEIGHT_COMPONENTS, expanded, fetch_tokenizer, find_checkpoint
from llm_dit.checkpoints.fingerprint import file_fingerprint, fingerprint
from llm_dit.checkpoints.model_file import SUFFIXES, StoredComponent, is_model_file, open_folder, open_model_file
from llm_dit.checkpoints.scheduler import BASE_DEFAULTS, BASE_SHIFT, TURBO_DEFAULTS, TURBO_SHIFT
from llm_dit.errors import CheckpointError, InvalidParameter
from llm_dit.parameters import EngineSettings

logger = logging.getLogger(__name__)

TREE_FOLDERS = {
    "transformer": ("diffusion_models", "unet", "checkpoints"),
    "text_encoder": ("text_encoders", "clip"),
    "vae": ("vae",),
}
"""Where ComfyUI keeps each part, below its folder `models`."""
USUAL_NAMES = {"text_encoder": ("qwen_3_4b", "qwen3-4b", "qwen3_4b"), "vae": ("ae.", "flux_vae", "flux-vae")}
"""Beginnings of the names that a part of Z-Image usually has."""
USUAL_FILES = {
    "transformer": "z_image_turbo_bf16.safetensors",
    "text_encoder": "qwen_3_4b.safetensors",
    "vae": "ae.safetensors",
}
SHOWN_PARTS = {"transformer": "transformer", "text_encoder": "text encoder", "vae": "VAE"}
TOKENIZER_FILE = "tokenizer.json"


class FindFolder(Protocol):
    """From a name, a folder or a hub id to the folder of a checkpoint."""

    def __call__(self, model_path: str, *, revision: str | None) -> Path:
        """See `find_checkpoint`."""


@dataclass(frozen=True)
class ModelParts:
    """All that makes a model.

    Attributes:
        transformer: Opened, not read.
        text_encoder: The same.
        vae: The same.
        tokenizer: Its folder.
        folder: The folder as on the hub that the model is, or the file's own if it brings no scheduler.
        is_whole_folder: All parts come from `folder`.
    """

    transformer: StoredComponent
    text_encoder: StoredComponent
    vae: StoredComponent
    tokenizer: Path
    folder: Path
    is_whole_folder: bool

    def fingerprint(self) -> str:
        """Return a hash of everything that changes an image; of a folder as on the hub, the one of before."""
        if self.is_whole_folder:
            return fingerprint(self.folder)
        digest = hashlib.sha256(b"llm-dit parts 1")
        for part in (self.transformer, self.text_encoder, self.vae):
            digest.update(part.fingerprint().encode())
        digest.update(file_fingerprint(self.tokenizer / TOKENIZER_FILE).encode())
        return digest.hexdigest()

    def record(self) -> dict[str, dict[str, Any]]:
        """Return where each part lies, its layout and its formats, for an image's record; nothing of a whole folder."""
        if self.is_whole_folder:
            return {}
        parts = (self.transformer, self.text_encoder, self.vae)
        return {
            part.component: {"path": str(part.path), "layout": part.layout, "formats": part.formats} for part in parts
        }


def find_parts(settings: EngineSettings, find_folder: FindFolder = find_checkpoint) -> ModelParts:
    """Open the parts of a model; no weights are read.

    Args:
        settings: Their paths say where the parts lie.
        find_folder: As `find_checkpoint`.

    Raises:
        CheckpointError: If a part is missing, damaged, or is none of Z-Image's; says what to give.
    """
    given = {"text_encoder": settings.text_encoder_path, "vae": settings.vae_path}
    path = expanded(settings.model_path)
    parts = {name: _part_at(name, where) for name, where in given.items() if where is not None}
    if path.suffix.lower() in SUFFIXES and not path.is_file():
        raise CheckpointError(f"model_path {path} is not there; give a file that is, or a folder.", field="model_path")
    if is_model_file(path):
        if settings.model_revision is not None:
            raise InvalidParameter(
                "model_revision",
                f"{settings.model_revision} is for models on the hub, but {path} is a file; leave it out.",
            )
        folder = path.parent
        parts = {**open_model_file(path).components, **parts}
        if "transformer" not in parts:
            raise CheckpointError(
                f"model_path {path} holds {_and(parts)}, but no transformer; give a transformer's file such as "
                f"{USUAL_FILES['transformer']}.",
                field="model_path",
            )
        parts |= _companions(path, parts)
        if not (folder / "scheduler").is_dir():
            _say(
                f"{path.name} brings no scheduler; taken are Z-Image-Turbo's shift {TURBO_SHIFT:g}, "
                f"{TURBO_DEFAULTS['num_inference_steps']} steps and no guidance. For its base model set shift "
                f"{BASE_SHIFT:g}, {BASE_DEFAULTS['num_inference_steps']} steps and guidance_scale "
                f"{BASE_DEFAULTS['guidance_scale']:g}."
            )
    else:
        folder = find_folder(settings.model_path, revision=settings.model_revision)
        parts = {name: open_folder(folder / name, name) for name in WEIGHT_COMPONENTS if name not in parts} | parts
    tokenizer = _tokenizer(settings.tokenizer_path, None if is_model_file(path) else folder, parts["text_encoder"])
    is_whole = not is_model_file(path) and not any((*given.values(), settings.tokenizer_path))
    found = ModelParts(parts["transformer"], parts["text_encoder"], parts["vae"], tokenizer, folder, is_whole)
    _check_widths(found)
    return found


def find_text_encoder(
    model_path: str, tokenizer_path: str | None = None, find_folder: Callable[[], Path] | None = None
) -> tuple[StoredComponent, Path]:
    """Open a text encoder alone.

    Args:
        model_path: As for a model; also the text encoder's own file, or its folder.
        tokenizer_path: Its tokenizer; looked for as for a model where None.
        find_folder: Finds the folder of a model; `find_checkpoint` of `model_path` if None.

    Returns:
        The text encoder, and the folder of its tokenizer.

    Raises:
        CheckpointError: If one of them is missing or damaged; says what to give.
    """
    path = expanded(model_path)
    if path.suffix.lower() in SUFFIXES and not path.is_file():
        raise CheckpointError(f"model_path {path} is not there; give a file that is, or a folder.", field="model_path")
    if is_model_file(path):
        components = open_model_file(path).components
        stored = components.get("text_encoder") or _companion(path, "text_encoder")
    elif (path / "config.json").is_file():
        stored = open_folder(path, "text_encoder")
    else:
        folder = find_checkpoint(model_path) if find_folder is None else find_folder()
        stored = open_folder(folder / "text_encoder", "text_encoder")
        return stored, _tokenizer(tokenizer_path, folder, stored)
    return stored, _tokenizer(tokenizer_path, None, stored)


def _part_at(name: str, where: str) -> StoredComponent:
    """Open the part that a setting names."""
    path, setting = expanded(where), f"{name}_path"
    if is_model_file(path):
        components = open_model_file(path).components
        if name not in components:
            raise CheckpointError(
                f"{setting} {path} holds {_and(components)}, but no {SHOWN_PARTS[name]}; give one such as "
                f"{USUAL_FILES[name]}.",
                field=setting,
            )
        return components[name]
    for folder in (path, path / name):
        if (folder / "config.json").is_file():
            return open_folder(folder, name)
    if not path.exists():
        raise CheckpointError(
            f"{setting} {path} is not there; give a {' or '.join(SUFFIXES)} file that is, or a folder with config.json "
            "and weights.",
            field=setting,
        )
    raise CheckpointError(
        f"{setting} {path} is neither a {' or '.join(SUFFIXES)} file nor a folder with config.json and weights; give "
        f"one of these, such as {USUAL_FILES[name]}.",
        field=setting,
    )


def _companions(path: Path, parts: Mapping[str, StoredComponent]) -> dict[str, StoredComponent]:
    """Find the parts that a file lacks in the ComfyUI folder around it, or beside it."""
    found = {}
    for name in ("text_encoder", "vae"):
        if name not in parts:
            found[name] = _companion(path, name)
    if found:
        taken = " and ".join(f"the {SHOWN_PARTS[name]} {part.path}" for name, part in found.items())
        _say(f"{path.name} brings no {' and no '.join(SHOWN_PARTS[name] for name in found)}; taken is {taken}.")
    return found


def _companion(path: Path, name: str) -> StoredComponent:
    places = list(_places(path, name))
    files = sorted(file for place in places for file in place.rglob("*") if is_model_file(file) and file != path)
    usual = [file for file in files if file.name.lower().startswith(USUAL_NAMES[name])]
    fitting = [part for file in usual or files if (part := _opened(file, name)) is not None]
    setting = f"{name}_path"
    if not fitting:
        looked = ", ".join(str(place) for place in places) or f"{path.parent}"
        raise CheckpointError(
            f"{path} brings no {SHOWN_PARTS[name]}, and none lies in {looked}; give {setting}, such as "
            f"{USUAL_FILES[name]}.",
            field=setting,
        )
    if len(fitting) > 1:
        raise CheckpointError(
            f"{path} brings no {SHOWN_PARTS[name]}, and {len(fitting)} fit it "
            f"({', '.join(str(part.path) for part in fitting[:3])}); give {setting}.",
            field=setting,
        )
    return fitting[0]


def _places(path: Path, name: str) -> Iterator[Path]:
    trees = [folder.parent for folder in path.parents if folder.name in TREE_FOLDERS["transformer"]]
    candidates = [tree / place for tree in trees[:1] for place in TREE_FOLDERS[name]] or [path.parent]
    return (place for place in candidates if place.is_dir())


def _opened(file: Path, name: str) -> StoredComponent | None:
    try:
        return open_model_file(file).components.get(name)
    except CheckpointError:  # something else that lies there
        return None


def _tokenizer(given: str | None, folder: Path | None, text_encoder: StoredComponent) -> Path:
    if given is not None:
        path = expanded(given)
        home = path.parent if path.name == TOKENIZER_FILE else path
        if not (home / TOKENIZER_FILE).is_file():
            raise CheckpointError(
                f"tokenizer_path {path} has no {TOKENIZER_FILE}; give the folder tokenizer/ of a Z-Image or Qwen3 "
                "model.",
                field="tokenizer_path",
            )
        return home
    if folder is not None:
        return folder / "tokenizer"
    around = text_encoder.path if text_encoder.path.is_dir() else text_encoder.path.parent
    for home in (around, around / "tokenizer", around.parent / "tokenizer"):
        if (home / TOKENIZER_FILE).is_file():
            return home
    return fetch_tokenizer(f"No tokenizer lies beside {text_encoder.path}")


def _check_widths(parts: ModelParts) -> None:
    width, expected = parts.text_encoder.config.get("hidden_size"), parts.transformer.config.get("cap_feat_dim")
    if width != expected:
        raise CheckpointError(
            f"{parts.text_encoder.path}: the text encoder is {width} wide, but the transformer reads embeddings of "
            f"{expected}; use components of the same model.",
            field="model_path",
        )


def _and(parts: Mapping[str, Any]) -> str:
    return " and ".join(f"a {SHOWN_PARTS[name]}" for name in parts) or "nothing of Z-Image"


@cache
def _say(sentence: str) -> None:
    """Log a sentence once, however often a model is looked at."""
    logger.warning(sentence)
