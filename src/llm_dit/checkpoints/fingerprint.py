"""A checkpoint's fingerprint: a hash of all bytes that make its images, and of none that don't."""

from __future__ import annotations

import hashlib
from pathlib import Path

from llm_dit.checkpoints.file_hashes import hashes_of
from llm_dit.checkpoints.finding import COMPONENTS
from llm_dit.checkpoints.weight_files import choose_weight_files

READ_WHOLE_BYTES = 64 << 20
"""Larger files are hashed once and remembered."""
READ_FILES = {"tokenizer": ("tokenizer.json",)}
COMPANIONS = {
    "text_encoder": ("generation_config.json",),
    "tokenizer": ("chat_template.jinja", "tokenizer_config.json"),
}
"""Published beside what is read, and part of a small model's fingerprint from the first: so results stay known."""


def fingerprint(folder: Path) -> str:
    """Return a hash of the files of a checkpoint that are read: configurations, tokenizer, weights, every byte.

    Returns:
        SHA-256, 64 hexadecimal digits.

    Raises:
        CheckpointError: If a component's weights are missing or ambiguous.
    """
    read = [path for component in COMPONENTS for path in files_read(folder / component)]
    if max(path.stat().st_size for path in read) > READ_WHOLE_BYTES:
        digest = hashlib.sha256(b"llm-dit checkpoint 2")
        for path, content in zip(read, hashes_of(read), strict=True):
            digest.update(f"{path.parent.name}/{path.name}\0{content}\0".encode())
        return digest.hexdigest()
    digest = hashlib.sha256(b"llm-dit checkpoint 1")
    companions = [folder / component / name for component, names in COMPANIONS.items() for name in names]
    beside = [path for path in companions if path.is_file()]
    for path in sorted([*read, *beside], key=lambda path: (COMPONENTS.index(path.parent.name), path)):
        digest.update(f"{path.parent.name}/{path.name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def component_fingerprint(folder: Path) -> str:
    """Return a hash of the files of one component that are read, 64 hexadecimal digits."""
    digest = hashlib.sha256(b"llm-dit component 1")
    for path in files_read(folder):
        digest.update(f"{path.name}\0{file_fingerprint(path)}\0".encode())
    return digest.hexdigest()


def file_fingerprint(path: Path) -> str:
    """Return a hash of one file of weights, every byte.

    Returns:
        SHA-256, 64 hexadecimal digits; the file's name and folder don't matter.
    """
    size = path.stat().st_size
    if size > READ_WHOLE_BYTES:
        return hashlib.sha256(f"llm-dit file 2\0{size}\0{hashes_of([path])[0]}".encode()).hexdigest()
    digest = hashlib.sha256(f"llm-dit file 1\0{size}\0".encode())
    digest.update(path.read_bytes())
    return digest.hexdigest()


def files_read(component: Path) -> list[Path]:
    """Return the files of a component that the engine reads, by name."""
    if component.name in READ_FILES:
        return [component / name for name in READ_FILES[component.name]]
    weights = choose_weight_files(component)
    index = [] if weights.index is None else [weights.index]
    return sorted([component / "config.json", *index, *weights.paths])
