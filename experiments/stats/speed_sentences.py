"""What can be said of measured speeds: seconds, memory and load time of each level, beside the baseline's."""

from __future__ import annotations

from experiments.stats.level_names import quoted
from experiments.store.speeds import LevelSpeed, Speeds

MOST_NAMED = 6
GIB = 2**30


def speed_sentences(speeds: Speeds, variable: str, baseline: str) -> list[str]:
    """Return the levels in order of their seconds, and what may have disturbed the measurement."""
    base = next((level for level in speeds.levels if level.level == baseline), None)
    ordered = sorted(speeds.levels, key=lambda level: level.median_seconds)
    clauses = [_clause(level, base) for level in ordered[:MOST_NAMED]]
    if len(ordered) > MOST_NAMED:
        clauses.append(f"{len(ordered) - MOST_NAMED} more, see the table")
    repeats = min(len(level.seconds) for level in speeds.levels)
    sentence = f"Alone and warm on {speeds.device}, median of {repeats}, by {variable}: {'; '.join(clauses)}."
    if all(level.peak_memory_bytes is None for level in speeds.levels):
        sentence += " This device does not tell how much memory a picture took."
    busy = f"The measurement may be disturbed: {'; '.join(speeds.notes)}." if speeds.notes else ""
    return [sentence, *([busy] if busy else [])]


def _clause(level: LevelSpeed, base: LevelSpeed | None) -> str:
    seconds = f"{level.median_seconds:.3g} s a picture"
    memory = "" if level.peak_memory_bytes is None else f", {gib(level.peak_memory_bytes)} at most"
    if base is not None and level is not base:
        seconds += f" ({level.median_seconds / base.median_seconds:.2f} of {quoted(base.level)}'s)"
        if level.peak_memory_bytes and base.peak_memory_bytes:
            memory += f" ({level.peak_memory_bytes / base.peak_memory_bytes:.2f})"
    return f"{quoted(level.level)} takes {seconds}{memory}, {level.load_seconds:.3g} s to load"


def gib(size: int) -> str:
    """Return a size such as `14.2 GiB`."""
    return f"{size / GIB:.1f} GiB"
