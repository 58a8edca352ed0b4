"""What the page was asked for in experiments: a file each, so that a waiting one outlives the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llm_dit.atomic_file import write_atomically
from llm_dit.errors import LlmDitError, unwritable
from web.jobs.lab_request import LabRequest

INTERRUPTED = "The server stopped before it was done; Resume goes on with it."
SETTLED = ("done", "cancelled")


class RememberedRequests:
    """The files, by the experiment's name.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def is_asked_for(self, name: str) -> bool:
        """Say whether an experiment was started from the page."""
        return self._file(name).is_file()

    def read(self, name: str) -> LabRequest:
        """Return what was asked for last under this name.

        Raises:
            LlmDitError: If it was not started from the page.
        """
        if not self.is_asked_for(name):
            raise LlmDitError(f"{name} was not started from this page; run its command again in a terminal.")
        values = self._values(name)
        return LabRequest(tuple(values["arguments"]), values["compute_metrics"], tuple(values.get("metrics", ())))

    def remember(self, name: str, asked: LabRequest) -> None:
        """Write down what is asked for; it is open until `note_end`."""
        self._write(name, {**asdict(asked), "end": None, "error": None})

    def note_end(self, name: str, end: str, error: str | None) -> None:
        """Write down how it ended: `done`, `cancelled` or `failed`."""
        self._write(name, self._values(name) | {"end": end, "error": error})

    def forget(self, name: str) -> bool:
        """Remove what was asked for under this name; return whether there was anything."""
        was_there = self.is_asked_for(name)
        self._file(name).unlink(missing_ok=True)
        return was_there

    def unfinished(self) -> Iterator[tuple[str, str]]:
        """Yield name and reason of each request that was neither done nor cancelled."""
        for path in sorted(self._folder.glob("*.json")):
            values = self._values(path.stem)
            if values.get("end", "done") not in SETTLED:  # files of older versions don't tell
                yield path.stem, values["error"] or INTERRUPTED

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _values(self, name: str) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self._file(name).read_text(encoding="utf-8"))
        return values

    def _write(self, name: str, values: dict[str, Any]) -> None:
        path = self._file(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(values).encode("utf-8"))
        except OSError as error:
            raise unwritable(f"{path} can't be written", error, field="data_dir") from None
