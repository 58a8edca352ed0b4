"""The booths where people vote, one for each results folder that somebody votes on."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.voting.booth import Booth


class Booths:
    """Opens a booth when its folder is first asked for; may be called from several threads."""

    def __init__(self) -> None:
        self._booths: dict[Path, Booth] = {}
        self._lock = threading.Lock()

    def booth(self, folder: Path) -> Booth:
        """Return the booth of a results folder.

        Raises:
            LlmDitError: If the folder's experiment can't be read.
        """
        from experiments.voting.booth import Booth

        with self._lock:
            if folder not in self._booths:
                self._booths[folder] = Booth(folder)
            return self._booths[folder]
