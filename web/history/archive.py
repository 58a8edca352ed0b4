"""Pictures as one ZIP, made while it is sent."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

CHUNK_BYTES = 1024 * 1024


class _Outgoing(io.RawIOBase):
    """A file that can't be sought, whose content is taken away as it comes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """Say that it takes bytes."""
        return True

    def write(self, data: object) -> int:
        """Keep `data` until it is taken."""
        part = bytes(memoryview(data))  # type: ignore[arg-type]
        self._parts.append(part)
        return len(part)

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def zip_stream(files: Iterable[tuple[str, Path]]) -> Iterator[bytes]:
    """Yield the bytes of a ZIP, about a megabyte in memory whatever it holds.

    Args:
        files: Name in the archive, and where it is. One that was deleted meanwhile is named in `missing.txt`.
    """
    outgoing, missing = _Outgoing(), []
    with zipfile.ZipFile(outgoing, "w", zipfile.ZIP_STORED) as archive:  # PNGs are compressed already
        for name, path in files:
            try:
                source = path.open("rb")
            except FileNotFoundError:
                missing.append(name)
                continue
            with source, archive.open(name, "w") as target:
                while chunk := source.read(CHUNK_BYTES):
                    target.write(chunk)
                    yield outgoing.taken()
        if missing:
            archive.writestr("missing.txt", "\n".join(missing) + "\n")
    yield outgoing.taken()
