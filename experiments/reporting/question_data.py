"""What the page needs to answer questions by itself: axes, who is one prompt, the numbers to their last digit.

With them goes what of the sentences it can't know from the numbers.

Left out are measures whose numbers depend on more than the runs asked about: scores of several weights, and votes that
were looked at while they came in. Which times may be compared depends on those runs, so the page chooses them anew.
Where results were extended after an analysis, or looked at as planned, `analyze.py` allows for more than the page can;
then it says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scipy import special

from experiments.examination.kept import examination_notes
from experiments.stats.comparable_scores import judge_notes, prompt_units, weights_that_count
from experiments.stats.findings import Analysis, MeasureAnalysis
from experiments.stats.measures import TIME_COLUMN
from experiments.stats.notes import OUT_OF_TURN, blocks_of, margin_notes, primary_note
from experiments.stats.paired_statistics import CONFIDENCE
from experiments.stats.questions.narrowing import OF_PROMPTS, prompt_property
from experiments.stats.questions.trends import numbers_of
from experiments.store.comparable import mixed_surroundings, with_comparable_times

if TYPE_CHECKING:
    from experiments.store.manifest import Manifest
    from experiments.store.records import RunRecord

MOST_STUDENT = 1000
MOST_VALUES = 40
"""A property of prompts with more values than this divides nothing."""


EXTENDED = (
    "These results were extended after they had been analysed. What that does to a claim is reckoned by the command "
    "alone, so the answer stands there:"
)
LOOKED = (
    "Planned looks decided how many prompts each level has, which tests in this page would not allow for; the command "
    "says what can still be asked:"
)


def question_data(manifest: Manifest, records: Sequence[RunRecord], analysis: Analysis) -> dict[str, Any] | None:
    """Return what the page's questions rest on; None where there is nothing to ask.

    Args:
        manifest: The experiment.
        records: Its runs, in the order of the page's other data.
        analysis: Its numbers.
    """
    finished = [record for record in records if record.is_finished]
    comparable = {record.run_id: record for record in with_comparable_times(finished)[0]}
    timed = [comparable.get(record.run_id, record) for record in records]
    measures = [
        _measure(manifest, timed, place, result)
        for place, result in enumerate(analysis.measures)
        if not result.measure.is_of_pairs
        and weights_that_count(finished, result.measure.metric) is None
        and not (result.measure.metric.counted and any(item.cost > 1 for item in result.comparisons))
    ]
    if not measures or len(manifest.combinations) < 2:
        return None
    is_extended = any(result.extension is not None for result in analysis.measures)
    units = prompt_units(finished)
    names = list(dict.fromkeys(record.prompt_id for record in records))
    planned = [prompt.id for prompt in manifest.prompts if prompt.id not in set(names)]
    distances = {name for record in records for found in record.pair_scores.values() for name in found["values"]}
    return {
        "refused": LOOKED if manifest.looks is not None else EXTENDED if is_extended else "",
        "numbers": [numbers_of([level.name for level in axis.levels]) for axis in manifest.axes],
        "alike": {name: unit for name, unit in units.items() if name != unit},
        "properties": _properties(manifest, records, names, planned),
        "measures": measures,
        "unfinished": [index for index, record in enumerate(records) if not record.is_finished],
        "planned": _planned(manifest),
        "distances": sorted(name for name in distances if any(name in record.scores for record in records)),
        "leftOut": [found.sentence() for found in manifest.left_out],
        "primary": {
            "column": manifest.primary,
            "sentence": "" if manifest.primary is None else primary_note(manifest, analysis.measures),
        },
        "whole": [note for note in (mixed_surroundings(finished),) if note is not None],
        "times": {**_times(records), "blocks": blocks_of(manifest), "outOfTurn": OUT_OF_TURN},
        "overall": all(
            result.measure.column in {item["column"] for item in measures}
            for result in analysis.measures
            if result.measure.is_main and not result.measure.is_of_pairs
        ),
        "asked": sorted({"", *(found.asked for found in manifest.analyses)}),  # this page is the first question again
        "student": [
            float(special.stdtrit(freedom, 0.5 + CONFIDENCE / 2))
            for freedom in range(1, min(len(names), MOST_STUDENT) + 1)
        ],
    }


def _measure(manifest: Manifest, records: Sequence[RunRecord], place: int, result: MeasureAnalysis) -> dict[str, Any]:
    """Return a measure's numbers, and what is said of it that no part of the runs changes."""
    measure, finished = result.measure, [record for record in records if record.is_finished]
    flags = [
        {
            "meaning": column.meaning,
            "runs": [at for at, item in enumerate(records) if item.scores.get(column.name) is True],
        }
        for column in (measure.metric.columns if measure.is_main else ())
    ]
    examined = len(examination_notes(finished, measure.metric)) if measure.is_main else 0
    return {
        "place": place,
        "column": measure.column,
        "title": measure.title,
        "unit": measure.unit,
        "direction": measure.direction,
        "isMain": measure.is_main,
        "isTime": measure.column == TIME_COLUMN,
        "isCounted": bool(measure.metric.counted),
        "margin": manifest.margins.get(measure.column),
        "judge": judge_notes(manifest, finished, measure.metric),
        "flags": [flag for flag in flags if flag["runs"]],
        "after": margin_notes(manifest, measure),
        "examined": [len(result.notes), examined],  # which of the verdict's notes say it already
        "values": [_plain(measure.counted(record)) if record.is_finished else None for record in records],
    }


def _times(records: Sequence[RunRecord]) -> dict[str, Any]:
    """Return each run's seconds, and the run of the command that they may be compared in; None for a warm-up."""
    sessions: dict[str, int] = {}
    return {
        "seconds": [record.generation_time_seconds if record.is_finished else None for record in records],
        "sessions": [
            sessions.setdefault(record.session, len(sessions)) if record.session and not record.is_warm_up else None
            for record in records
        ],
    }


def _planned(manifest: Manifest) -> list[dict[str, Any]]:
    """Return what each command asked for: prompts' ids, seeds, and levels' names along each axis."""
    return [
        {
            "prompts": list(block["prompts"]),
            "seeds": list(block["seeds"]),
            "levels": [list(block["levels"][axis.name]) for axis in manifest.axes],
        }
        for block in manifest.asked
    ]


def _properties(
    manifest: Manifest, records: Sequence[RunRecord], names: Sequence[str], planned: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Return what divides prompts: property to each prompt's value, where there are two or more and not too many.

    Args:
        manifest: The experiment.
        records: Its runs.
        names: Prompts that have runs.
        planned: Those that have none yet.
    """
    known = {prompt.id: prompt for prompt in manifest.prompts}
    recorded = {record.prompt_id: record for record in records}
    found: dict[str, dict[str, str]] = {
        "category": {name: recorded[name].category for name in names},
        "difficulty": {name: recorded[name].difficulty for name in names},
    }
    for detail in {name for prompt in manifest.prompts for name in prompt.details} - {*OF_PROMPTS}:
        found[detail] = {name: (known.get(name) and prompt_property(known[name], detail)) or "none" for name in names}
    dividing = {name: values for name, values in sorted(found.items()) if 1 < len(set(values.values())) <= MOST_VALUES}
    return {
        name: {**values, **{other: prompt_property(known[other], name) or "none" for other in planned}}
        for name, values in dividing.items()
    }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
