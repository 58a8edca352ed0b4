"""How fast each level draws and what memory it takes, as `measure_speed.py` found it: one file of a results folder.

All of a file was measured by one run of the command, on one machine, so its numbers may be compared with each other.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.store.json_file import read_json, write_json
from llm_dit.errors import OutputError, unwritable

SPEED_FILE = "speed.json"
SPEED_FORMAT = 1


@dataclass(frozen=True)
class LevelSpeed:
    """One level, drawn alone on a device that was warm.

    Attributes:
        level: Name of the combination of levels.
        seconds: Of each repeat, from the prompt to the pixels.
        peak_memory_bytes: Most that was allocated on the transformer's device while a picture was drawn, weights
            included; None where the device does not tell, as a CPU.
        load_seconds: From nothing to a model that is ready; its files may be in the system's cache.
    """

    level: str
    seconds: tuple[float, ...]
    peak_memory_bytes: int | None
    load_seconds: float

    @property
    def median_seconds(self) -> float:
        """Seconds a picture."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """How far the repeats lie apart, as a share of their median."""
        return (max(self.seconds) - min(self.seconds)) / self.median_seconds


@dataclass(frozen=True)
class Speeds:
    """What was measured.

    Attributes:
        levels: In the order of the experiment.
        device: Name of the transformer's device.
        when: Time of the measurement, ISO 8601, UTC.
        notes: What may have disturbed it: other work on the machine or the device, repeats that lie apart.
        conditions: Hash of what all runs of the folder shared then.
    """

    levels: tuple[LevelSpeed, ...]
    device: str
    when: str
    notes: tuple[str, ...] = ()
    conditions: str = ""


def write_speeds(folder: Path, speeds: Speeds) -> None:
    """Replace the folder's measurement.

    Raises:
        OutputError: If it can't be written.
    """
    path = folder / SPEED_FILE
    try:
        write_json(path, {"format": SPEED_FORMAT, **asdict(speeds)})
    except OSError as error:
        raise unwritable(f"{path} can't be written", error) from None


def read_speeds(folder: Path, conditions: str) -> Speeds | None:
    """Return what was measured; None where nothing was.

    Args:
        folder: The results folder.
        conditions: Hash of what all its runs share now.

    Raises:
        OutputError: If the file is damaged, or what was measured then are not the pictures that are there now.
    """
    path = folder / SPEED_FILE
    if not path.exists():
        return None
    values = read_json(path)
    try:
        if values is None or values["format"] != SPEED_FORMAT:
            raise ValueError("it is no measurement of this version")
        levels = tuple(_level(entry) for entry in values["levels"])
        notes = tuple(map(str, values["notes"]))
        found = Speeds(
            levels, str(values["device"]), str(values["when"]), notes, str(values.get("conditions", conditions))
        )
    except (KeyError, TypeError, ValueError) as error:
        raise OutputError(f"{path} is damaged ({error}); measure_speed.py writes it anew, or delete it.") from None
    if found.conditions != conditions:
        raise OutputError(
            f"{path} was measured with other settings than the pictures have that are there now; measure_speed.py "
            "measures anew, or delete it."
        )
    return found


def _level(entry: Mapping[str, Any]) -> LevelSpeed:
    seconds: Sequence[float] = tuple(float(value) for value in entry["seconds"])
    if not seconds or min(seconds) <= 0:
        raise ValueError("a level without seconds")
    peak = entry["peak_memory_bytes"]
    return LevelSpeed(
        str(entry["level"]), tuple(seconds), None if peak is None else int(peak), float(entry["load_seconds"])
    )
