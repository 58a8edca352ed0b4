"""The analyses that somebody has seen: when, by what, of which measures, and on which prompts and seeds.

Who adds prompts or seeds after an analysis, and stops once it shows something, is wrong more often than the test says;
`experiments.stats.extension` makes up for it from this list. Prompts are known by a hash of their texts, since ids may
change; the same data count once, however often they are looked at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TEXT_HASH_DIGITS = 12
Unit = tuple[str, int]
"""Hash of a prompt's text, and the seed by which its runs are paired."""


@dataclass(frozen=True)
class PastAnalysis:
    """One analysis.

    Attributes:
        when: ISO time.
        by: What made it, such as `analyze.py`.
        measures: Columns that were shown.
        pictures: Finished pictures then.
        seen: The prompts and seeds that it rested on.
        beside: Hash of the conditions of the folder that it was compared with; empty for the folder alone.
        asked: The question, where it was not the first one: every level beside the baseline, on all runs.
    """

    when: str
    by: str
    measures: frozenset[str]
    pictures: int
    seen: frozenset[Unit]
    beside: str = ""
    asked: str = ""

    def is_told_by(self, other: PastAnalysis) -> bool:
        """Return True if another analysis showed the same measures of the same data."""
        is_of_the_same = (self.seen, self.beside, self.asked) == (other.seen, other.beside, other.asked)
        return is_of_the_same and self.measures <= other.measures


def text_hash(text: str) -> str:
    """Return what a prompt is known by."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:TEXT_HASH_DIGITS]


def analysis_values(analysis: PastAnalysis) -> dict[str, Any]:
    """Return an analysis, ready for JSON: prompts that have the same seeds stand together."""
    seeds: dict[str, list[int]] = {}
    for prompt, seed in sorted(analysis.seen):
        seeds.setdefault(prompt, []).append(seed)
    groups: dict[tuple[int, ...], list[str]] = {}
    for prompt, of_prompt in seeds.items():
        groups.setdefault(tuple(of_prompt), []).append(prompt)
    return {
        "when": analysis.when,
        "by": analysis.by,
        "measures": sorted(analysis.measures),
        "pictures": analysis.pictures,
        **({"beside": analysis.beside} if analysis.beside else {}),
        **({"asked": analysis.asked} if analysis.asked else {}),
        "prompts": len(seeds),
        "seen": [{"seeds": list(of_group), "prompts": prompts} for of_group, prompts in groups.items()],
    }


def analysis_from_values(values: Mapping[str, Any]) -> PastAnalysis:
    """Read an analysis.

    Raises:
        KeyError, TypeError, ValueError: If it is not one.
    """
    seen = frozenset(
        (str(text), int(seed)) for group in values["seen"] for text in group["prompts"] for seed in group["seeds"]
    )
    measures = frozenset(str(name) for name in values["measures"])
    beside, asked = str(values.get("beside", "")), str(values.get("asked", ""))
    return PastAnalysis(str(values["when"]), str(values["by"]), measures, int(values["pictures"]), seen, beside, asked)


def united_analyses(*lists: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries of several lists, made by `analysis_values`, each once and in the order of their time."""
    entries = {
        (
            entry["when"],
            entry["by"],
            entry.get("beside"),
            entry.get("asked"),
            str(entry["measures"]),
            str(entry["seen"]),
        ): dict(entry)
        for entries in lists
        for entry in entries
    }
    return sorted(entries.values(), key=lambda entry: str(entry["when"]))


def with_analysis(entries: Sequence[Mapping[str, Any]], analysis: PastAnalysis) -> list[dict[str, Any]] | None:
    """Return the list with one more analysis; None if one of it tells the same."""
    if any(analysis.is_told_by(analysis_from_values(entry)) for entry in entries):
        return None
    return [*(dict(entry) for entry in entries), analysis_values(analysis)]
