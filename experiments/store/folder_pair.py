"""Two results folders as one experiment: their runs paired by prompt and seed, the folders as its levels.

A folder's whole settings are an arm, whatever they are: what differs between them is told from what the pictures were
made with. Prompts are paired by their texts, since ids may differ. Where both folders vary the same, each level is
paired with its like, and the answer is over all of them. Nothing is written here.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from experiments.planning.axes import Axis, Experiment, Level
from experiments.prompts import Prompt
from experiments.store.comparable import Conditions
from experiments.store.manifest import OF_THE_RUN, Manifest
from experiments.store.pair_scores import pairing_seed
from experiments.store.records import RunRecord
from experiments.store.result_store import ResultStore
from llm_dit.errors import LlmDitError, listed

AXIS: Final = "folder"
PAIRINGS: Final = (frozenset(("prompt", "seed")), frozenset(("prompt",)))
"""By what runs of two folders may be paired."""
MOST_NAMED: Final = 6
NUMBER_BYTES: Final = 6
Levels = tuple[str, ...]
Key = tuple[str, int, Levels]
"""Prompt's text, pairing seed, and levels of the axes of both folders, by the first folder's names."""


@dataclass(frozen=True)
class FolderPair:
    """Two folders, ready to be analysed as one experiment.

    Attributes:
        manifest: An experiment with the axis `folder`, whose baseline is the first one.
        records: The finished runs that have a partner, under its names. What pairs them stands as their seed; times are
            left out, since no run of the command made them side by side.
        notes: What differs between the folders, and what was left out.
        stores: Both folders, the baseline first.
    """

    manifest: Manifest
    records: tuple[RunRecord, ...]
    notes: tuple[str, ...]
    stores: tuple[ResultStore, ResultStore]

    def manifest_with_choices(self) -> Manifest:
        """Return the manifest with what both folders say now: margins, the measure that counts, earlier analyses."""
        one, other = (store.manifest() for store in self.stores)
        seen = {*one.analyses_beside(other.conditions.hash), *other.analyses_beside(one.conditions.hash)}
        analyses = tuple(sorted(seen, key=lambda analysis: analysis.when))
        return replace(self.manifest, raw=_choices(one, other), analyses=analyses)

    def partners(self) -> dict[int, RunRecord]:
        """Return the place of each run among `records` to its partner in the first folder, its own for the first's."""
        first = {
            (record.prompt, record.seed): record
            for record in self.records
            if record.level == self.manifest.baseline_name
        }
        return {place: first[record.prompt, record.seed] for place, record in enumerate(self.records)}


@dataclass(frozen=True)
class _Arm:
    """One folder with the name of its level."""

    name: str
    store: ResultStore
    manifest: Manifest
    records: tuple[RunRecord, ...]

    def keyed(self, matched: Callable[[RunRecord], Levels | None], *, by_seed: bool) -> dict[Key, list[RunRecord]]:
        """Return the runs by what pairs them; without those of levels that the other folder has not."""
        found: dict[Key, list[RunRecord]] = {}
        for record in self.records:
            levels = matched(record)
            if levels is not None:
                seed = pairing_seed(self.manifest, record) if by_seed else 0
                found.setdefault((record.prompt, seed, levels), []).append(record)
        return found


def is_paired_by_seed(text: str) -> bool:
    """Return whether seeds are paired too.

    Raises:
        LlmDitError: For anything but `prompt,seed` and `prompt`.
    """
    chosen = frozenset(part.strip() for part in text.split(","))
    if chosen not in PAIRINGS:
        raise LlmDitError(f"--pair-by {text!r} is not known; use prompt,seed or prompt.", field="pair_by")
    return "seed" in chosen


def pair_folders(first: ResultStore, second: ResultStore, *, by_seed: bool) -> FolderPair:
    """Pair the runs of two folders.

    Args:
        first: What the other is compared with.
        second: The other folder.
        by_seed: Pair by prompt and seed; by prompt alone otherwise, over the seeds that each has.

    Raises:
        LlmDitError: If their levels can't be matched, or no run has a partner.
        OutputError: If a folder holds no experiment.
    """
    if first.folder.resolve() == second.folder.resolve():
        raise LlmDitError(f"{first.folder} is given twice; give two folders.")
    arms = _arms(first, second)
    one, other = arms
    matches = _matched_levels(one, other)
    keyed = one.keyed(matches.first, by_seed=by_seed), other.keyed(matches.second, by_seed=by_seed)
    common = sorted(keyed[0].keys() & keyed[1].keys())
    if not common:
        raise LlmDitError(_nothing_in_common(one, other, by_seed=by_seed))
    ids = {record.prompt: record.prompt_id for record in one.records}
    records = [
        replace(
            record,
            prompt_id=ids[record.prompt],
            seed=_number(key),
            levels={AXIS: arm.name},
            level=arm.name,
            generation_time_seconds=None,
        )
        for arm, found in zip(arms, keyed, strict=True)
        for key in common
        for record in found[key]
    ]
    notes = (
        *_difference_notes(one, other, [(keyed[0][key][0], keyed[1][key][0]) for key in common]),
        *matches.notes,
        *_left_out_notes(arms, keyed, frozenset(common)),
        *_look_notes(arms),
        "Time is not compared: each folder was drawn by runs of the command of its own.",
    )
    return FolderPair(_manifest(arms, common, ids), tuple(records), notes, (first, second))


def _number(key: Key) -> int:
    """Return what stands as the seed of a pair: the seed, with the levels mixed in where there are several."""
    _text, seed, levels = key
    if not levels:
        return seed
    digest = hashlib.sha256(json.dumps([seed, *levels]).encode()).digest()
    return int.from_bytes(digest[:NUMBER_BYTES], "big")


def _arms(first: ResultStore, second: ResultStore) -> tuple[_Arm, _Arm]:
    names = _shortest_names(first.folder.resolve(), second.folder.resolve())
    arms = [
        _Arm(name, store, store.manifest(), tuple(record for record in store.runs() if record.is_finished))
        for name, store in zip(names, (first, second), strict=True)
    ]
    return arms[0], arms[1]


def _shortest_names(first: Path, second: Path) -> tuple[str, str]:
    """Return as little of the ends of two paths as tells them apart: `none` and `int8`, or `x/none` and `y/none`."""
    length = 1
    while first.parts[-length:] == second.parts[-length:]:
        length += 1
    return "/".join(first.parts[-length:]), "/".join(second.parts[-length:])


@dataclass(frozen=True)
class _Matches:
    """How levels of two folders belong together: a run's levels by the first folder's names; None for lone ones."""

    first: Callable[[RunRecord], Levels | None]
    second: Callable[[RunRecord], Levels | None]
    notes: tuple[str, ...] = ()


def _matched_levels(one: _Arm, other: _Arm) -> _Matches:
    """Match the levels of both folders by what they set.

    Raises:
        LlmDitError: If they have several levels and not the same axes, or no level in common.
    """
    mine, theirs = one.manifest, other.manifest
    if len(mine.combinations) == len(theirs.combinations) == 1:
        return _Matches(lambda _record: (), lambda _record: ())
    if {axis.name for axis in mine.axes} != {axis.name for axis in theirs.axes}:
        varied = [
            f"{arm.name} has {len(arm.manifest.combinations)} of {arm.manifest.variable_name}" for arm in (one, other)
        ]
        raise LlmDitError(
            f"Levels can't be matched: {' and '.join(varied)}; compare folders that have one level each, or the same "
            "axes."
        )
    names: dict[str, dict[str, str]] = {}
    lone = []
    for axis in mine.axes:
        own = {_settings(level): level.name for level in axis.levels}
        partners = next(item for item in theirs.axes if item.name == axis.name).levels
        names[axis.name] = {level.name: own[_settings(level)] for level in partners if _settings(level) in own}
        known = {arm.name: set(kept) for arm, kept in ((one, names[axis.name].values()), (other, names[axis.name]))}
        for arm, levels in ((one, axis.levels), (other, partners)):
            lone += [f"{axis.name} {level.name} of {arm.name}" for level in levels if level.name not in known[arm.name]]
        if not names[axis.name]:
            raise LlmDitError(f"{one.name} and {other.name} have no level of {axis.name} in common; nothing is paired.")

    def first(record: RunRecord) -> Levels | None:
        is_known = all(record.levels[axis] in kept.values() for axis, kept in names.items())
        return tuple(record.levels[axis] for axis in names) if is_known else None

    def second(record: RunRecord) -> Levels | None:
        is_known = all(record.levels[axis] in kept for axis, kept in names.items())
        return tuple(kept[record.levels[axis]] for axis, kept in names.items()) if is_known else None

    notes = []
    if math.prod(len(kept) for kept in names.values()) > 1:
        shared = " x ".join(f"{len(kept)} of {axis}" for axis, kept in names.items())
        notes.append(f"Each level is paired with its like in the other folder, and the answer is over all: {shared}.")
    if lone:
        notes.append(f"Levels that only one folder has are left out: {listed(lone, MOST_NAMED)}.")
    return _Matches(first, second, tuple(notes))


def _settings(level: Level) -> str:
    return json.dumps(dict(level.parameters), sort_keys=True, default=str)


def _manifest(arms: tuple[_Arm, _Arm], common: Sequence[Key], ids: Mapping[str, str]) -> Manifest:
    one, other = arms
    experiment = Experiment(
        f"{one.name} and {other.name}",
        f"{other.name} beside {one.name}",
        (Axis(AXIS, tuple(Level(arm.name, {}) for arm in arms)),),
        {AXIS: one.name},
    )
    numbers: dict[str, list[int]] = {}
    for key in common:
        numbers.setdefault(ids[key[0]], []).append(_number(key))
    known = {record.prompt: record for record in one.records}
    return Manifest(
        experiment,
        tuple(
            Prompt(ids[text], known[text].category, known[text].difficulty, text)
            for text in dict.fromkeys(key[0] for key in common)
        ),
        tuple(dict.fromkeys(number for own in numbers.values() for number in own)),
        one.manifest.conditions,
        (),
        tuple(
            {"prompts": [name], "seeds": sorted(set(own)), "levels": {AXIS: [arm.name for arm in arms]}}
            for name, own in numbers.items()
        ),
        _choices(one.manifest, other.manifest),
    )


def _choices(one: Manifest, other: Manifest) -> dict[str, Any]:
    """Return the measure that counts in the first folder, and of two margins of a measure the smaller one."""
    primary = {"primary": one.raw["primary"]} if "primary" in one.raw else {}
    margins = dict(one.raw.get("margins", {}))
    for measure, entry in other.raw.get("margins", {}).items():
        margins[measure] = min(margins.get(measure, entry), entry, key=lambda item: float(item["margin"]))
    return {**primary, **({"margins": margins} if margins else {}), "model_path": one.raw.get("model_path", "")}


def _difference_notes(one: _Arm, other: _Arm, pairs: Sequence[tuple[RunRecord, RunRecord]]) -> list[str]:
    """Say what the pictures of the folders were made with that is not the same."""
    counts: Counter[str] = Counter()
    for first, second in pairs:
        counts.update(_conditions(first).differences(_conditions(second)))
    if not counts:
        return [f"{one.name} and {other.name} were made with the same settings."]
    differences = [
        f"{what}{'' if count == len(pairs) else f' ({count} of {len(pairs)} pairs)'}" for what, count in counts.items()
    ]
    together = "" if len(differences) == 1 else " What is found is of all of it together."
    return [f"From {one.name} to {other.name}: {listed(differences, MOST_NAMED)}.{together}"]


def _conditions(record: RunRecord) -> Conditions:
    own = {name: value for name, value in record.parameters.items() if name not in OF_THE_RUN}
    return Conditions(own, record.fingerprint, record.numerics)


def _left_out_notes(
    arms: tuple[_Arm, _Arm], keyed: tuple[Mapping[Key, Sequence[Any]], ...], common: frozenset[Key]
) -> list[str]:
    lone = [
        f"{count} of {arm.name}"
        for arm, found in zip(arms, keyed, strict=True)
        if (count := sum(len(records) for key, records in found.items() if key not in common))
    ]
    return [f"Pictures without a partner are left out: {listed(lone, MOST_NAMED)}."] if lone else []


def _look_notes(arms: tuple[_Arm, _Arm]) -> list[str]:
    looked = [(arm.name, arm.manifest.looks.plan.measure) for arm in arms if arm.manifest.looks is not None]
    return [
        f"Pictures of {name} were drawn until {measure} had decided, so what is found with them is exploratory."
        for name, measure in looked
    ]


def _nothing_in_common(one: _Arm, other: _Arm, *, by_seed: bool) -> str:
    for arm in (one, other):
        if not arm.records:
            return f"{arm.store.folder} has no finished picture yet."
    texts = {record.prompt for record in one.records} & {record.prompt for record in other.records}
    if texts and by_seed:
        return (
            f"{one.name} and {other.name} have {len(texts)} prompts in common, but with no seed; draw one with the "
            "seeds of the other, or pair by the prompts alone with --pair-by prompt."
        )
    return f"{one.name} and {other.name} have no prompt in common; draw one with the prompts of the other."
