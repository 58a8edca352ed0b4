"""A checkpoint's fingerprint: a hash of what changes its images."""

from __future__ import annotations

import hashlib
from pathlib import Path

from llm_dit.checkpoints.finding import COMPONENTS

FINGERPRINT_BLOCK_BYTES = 1 << 20
FINGERPRINT_BLOCKS = 64


def fingerprint(folder: Path) -> str:
    """Return a hash of everything in a checkpoint that changes an image: configurations, tokenizer, weights.

    Files up to 64 MiB are read whole; of larger ones the header, the size and 64 evenly spaced blocks of 1 MiB are
    read, which any training step changes, so that a 20 GB model is known within a second.

    Returns:
        SHA-256, 64 hexadecimal digits.
    """
    digest = hashlib.sha256(b"llm-dit checkpoint 1")
    for component in COMPONENTS:
        for path in sorted((folder / component).iterdir()):
            if path.suffix in (".json", ".txt", ".safetensors", ".jinja"):
                digest.update(f"{component}/{path.name}\0{path.stat().st_size}\0".encode())
                _digest_file(digest, path)
    return digest.hexdigest()


def file_fingerprint(path: Path) -> str:
    """Return a hash of one file of weights, read as `fingerprint` reads those of a checkpoint.

    Returns:
        SHA-256, 64 hexadecimal digits; the file's name and folder don't matter.
    """
    digest = hashlib.sha256(f"llm-dit file 1\0{path.stat().st_size}\0".encode())
    _digest_file(digest, path)
    return digest.hexdigest()


def _digest_file(digest: hashlib._Hash, path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= FINGERPRINT_BLOCKS * FINGERPRINT_BLOCK_BYTES:
            digest.update(file.read())
            return
        stride = (size - FINGERPRINT_BLOCK_BYTES) // (FINGERPRINT_BLOCKS - 1)
        for index in range(FINGERPRINT_BLOCKS):
            file.seek(index * stride)
            digest.update(file.read(FINGERPRINT_BLOCK_BYTES))
