"""What the page needs to answer questions by itself: axes, who is one prompt, and the numbers to their last digit.

Left out are measures whose numbers depend on more than the runs asked about: times of several runs of the command,
scores of several weights, and votes that were looked at while they came in; and everything where results were extended
after an analysis, which `analyze.py` allows for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scipy import special

from experiments.stats.comparable_scores import prompt_units, weights_that_count
from experiments.stats.findings import Analysis
from experiments.stats.measures import TIME_COLUMN
from experiments.stats.paired_statistics import CONFIDENCE
from experiments.stats.questions.narrowing import OF_PROMPTS, prompt_property
from experiments.stats.questions.trends import numbers_of
from experiments.store.comparable import with_comparable_times

if TYPE_CHECKING:
    from experiments.store.manifest import Manifest
    from experiments.store.records import RunRecord

MOST_STUDENT = 1000
MOST_VALUES = 40
"""A property of prompts with more values than this divides nothing."""


def question_data(manifest: Manifest, records: Sequence[RunRecord], analysis: Analysis) -> dict[str, Any] | None:
    """Return what the page's questions rest on; None where it can't answer as the command does.

    Args:
        manifest: The experiment.
        records: Its runs, in the order of the page's other data.
        analysis: Its numbers.
    """
    if any(result.extension is not None for result in analysis.measures) or manifest.looks is not None:
        return None
    finished = [record for record in records if record.is_finished]
    is_one_clock = with_comparable_times(finished)[1] is None
    measures = [
        {
            "place": place,
            "column": result.measure.column,
            "values": [_plain(result.measure.counted(record)) if record.is_finished else None for record in records],
        }
        for place, result in enumerate(analysis.measures)
        if not result.measure.is_of_pairs
        and weights_that_count(finished, result.measure.metric) is None
        and (is_one_clock or result.measure.column != TIME_COLUMN)
        and not (result.measure.metric.counted and any(item.cost > 1 for item in result.comparisons))
    ]
    if not measures or len(manifest.combinations) < 2:
        return None
    units = prompt_units(finished)
    names = list(dict.fromkeys(record.prompt_id for record in records))
    return {
        "numbers": [numbers_of([level.name for level in axis.levels]) for axis in manifest.axes],
        "alike": {name: unit for name, unit in units.items() if name != unit},
        "properties": _properties(manifest, records, names),
        "measures": measures,
        "student": [
            float(special.stdtrit(freedom, 0.5 + CONFIDENCE / 2))
            for freedom in range(1, min(len(names), MOST_STUDENT) + 1)
        ],
    }


def _properties(manifest: Manifest, records: Sequence[RunRecord], names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return what divides prompts: property to each prompt's value, where there are two or more and not too many."""
    known = {prompt.id: prompt for prompt in manifest.prompts}
    recorded = {record.prompt_id: record for record in records}
    found: dict[str, dict[str, str]] = {
        "category": {name: recorded[name].category for name in names},
        "difficulty": {name: recorded[name].difficulty for name in names},
    }
    for detail in {name for prompt in manifest.prompts for name in prompt.details} - {*OF_PROMPTS}:
        found[detail] = {name: (known.get(name) and prompt_property(known[name], detail)) or "none" for name in names}
    return {name: values for name, values in sorted(found.items()) if 1 < len(set(values.values())) <= MOST_VALUES}


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
