"""The summaries of an experiment: one CSV row per run, and totals in JSON, both derived from the runs' records."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from experiments.planning.axes import Axis
from experiments.planning.naming import level_name
from experiments.store.manifest import Manifest
from experiments.store.records import RunRecord
from llm_dit.parameters import PARAMETERS

FIRST_COLUMNS = (
    "prompt_id",
    "seed",
    "variable_name",
    "variable_value",
    "generation_time_seconds",
    "token_count",
    "image_reward",
    "siglip_score",
    "error",
    "output_path",
)
"""These stay first, in this order."""
RUN_COLUMNS = ("run_id", "category", "difficulty", "level")
SIZE_COLUMNS = ("width", "height", "num_inference_steps", "evaluations", "token_count_used")
READ_AS_MISSING = frozenset(
    (
        *("NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NULL", "null", "None", "NaN", "nan", "-NaN", "-nan", "#N/A N/A"),
        *("1.#IND", "1.#QNAN", "-1.#IND", "-1.#QNAN"),
    )
)
"""What pandas reads as a missing value, apart from the empty field."""
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
SUMMARIZED_SCORES = ("image_reward", "siglip_score")
"""Told of every level, whether it has them or not; scores beside the baseline are where there are any."""


@dataclass(frozen=True)
class Summary:
    """The content of the JSON summary."""

    values: Mapping[str, Any]


def axis_columns(manifest: Manifest) -> dict[str, str]:
    """Return the column of each axis.

    An axis over one number has that parameter's column, which holds numbers. Others have a column of their name with
    the level's name in it, or `axis_<name>` where a column of that name holds something else.
    """
    taken = {*FIRST_COLUMNS, *RUN_COLUMNS, *SIZE_COLUMNS, *set_parameters(manifest)}
    found: dict[str, str] = {}
    for axis in manifest.axes:
        column = axis.name
        if not (_is_number_axis(axis) and column not in FIRST_COLUMNS):
            while column in taken or column in found.values():
                column = f"axis_{column}"
        found[axis.name] = column
    return found


def set_parameters(manifest: Manifest) -> list[str]:
    """Return the parameters that named levels set, each of which has a column with the run's value."""
    named = [axis for axis in manifest.axes if not _is_value_axis(axis)]
    return list(dict.fromkeys(name for axis in named for level in axis.levels for name in level.parameters))


def _is_value_axis(axis: Axis) -> bool:
    """Return True if the levels are values of the parameter that the axis is called after, and named after them."""
    return all(
        set(level.parameters) == {axis.name} and level.name == level_name(level.parameters[axis.name])
        for level in axis.levels
    )


def _is_number_axis(axis: Axis) -> bool:
    return _is_value_axis(axis) and axis.name in PARAMETERS and PARAMETERS[axis.name].kind in ("integer", "number")


def detail_columns(manifest: Manifest) -> dict[str, str]:
    """Return what the prompts' list says beside their texts: name to its column, `prompt_<name>` where it is taken."""
    names = dict.fromkeys(name for prompt in manifest.prompts for name in prompt.details)
    taken = {*FIRST_COLUMNS, *RUN_COLUMNS, *SIZE_COLUMNS, *axis_columns(manifest).values(), *set_parameters(manifest)}
    return {name: f"prompt_{name}" if name in taken else name for name in names}


def columns(manifest: Manifest, records: Sequence[RunRecord]) -> list[str]:
    """Return the columns in order: fixed ones, one per axis, what named levels set, sizes, prompts' details, scores."""
    own = [*axis_columns(manifest).values(), *set_parameters(manifest)]
    details = detail_columns(manifest).values()
    scores = sorted({name for record in records for name in record.scores})
    return list(dict.fromkeys([*FIRST_COLUMNS, *RUN_COLUMNS, *own, *SIZE_COLUMNS, *details, *scores]))


def summary_rows(manifest: Manifest, records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Return one row per run, with every column; None where a value is missing."""
    names = columns(manifest, records)
    return [dict(zip(names, values, strict=True)) for values in _rows(manifest, records, names)]


def _rows(manifest: Manifest, records: Iterable[RunRecord], names: Sequence[str]) -> Iterator[list[Any]]:
    """Yield the values of each run in the order of the columns."""
    own = detail_columns(manifest)
    details = {prompt.id: {own[name]: text for name, text in prompt.details.items()} for prompt in manifest.prompts}
    columns_of_axes, parameters = axis_columns(manifest), set_parameters(manifest)
    of_numbers = {
        axis.name for axis in manifest.axes if columns_of_axes[axis.name] == axis.name and _is_number_axis(axis)
    }
    for record in records:
        levels = {
            column: record.parameters.get(name) if name in of_numbers else record.levels[name]
            for name, column in columns_of_axes.items()
        }
        of_parameters = {name: record.parameters.get(name) for name in parameters}
        own_values = {**record.scores, **of_parameters, **_row(manifest, record), **levels}
        values = {**details.get(record.prompt_id, {}), **own_values}
        yield [values.get(name) for name in names]


def summary_csv(manifest: Manifest, records: Sequence[RunRecord]) -> str:
    """Return the CSV file's text; what is missing is an empty field.

    A text that a spreadsheet would take for a formula, or pandas for a missing value, stands in apostrophes or behind
    one.
    """
    text = io.StringIO()
    names = columns(manifest, records)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(harmless, names))
    writer.writerows(map(harmless, row) for row in _rows(manifest, records, names))
    return text.getvalue()


def harmless(value: Any) -> Any:
    """Return a value as it may stand in a CSV field: numbers as they are, texts as nothing but text."""
    if not isinstance(value, str) or _is_number(value):
        return value
    if value.strip() in READ_AS_MISSING:
        return f"'{value}'"
    return f"'{value}" if value.startswith(FORMULA_STARTS) else value


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def summarize(manifest: Manifest, records: Sequence[RunRecord], made_from: str = "") -> Summary:
    """Return totals over all runs and per level; scores that no run has show a count of 0 and no numbers.

    Args:
        manifest: The experiment.
        records: Its runs.
        made_from: Hash of what it is made from, so that it is not made again from the same.
    """
    levels = {cell.name: [record for record in records if record.level == cell.name] for cell in manifest.combinations}
    return Summary(
        {
            "experiment": manifest.name,
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            **_totals(records),
            "variable_name": manifest.variable_name,
            "baseline": manifest.baseline_name,
            "primary": manifest.primary,
            "margins": manifest.margins,
            "analyses": [
                {
                    "when": found.when,
                    "by": found.by,
                    "pictures": found.pictures,
                    "prompts": len({text for text, _ in found.seen}),
                }
                for found in manifest.analyses
            ],
            "levels": {name: _totals(group) for name, group in levels.items()},
            **({"made_from": made_from} if made_from else {}),
        }
    )


def _totals(records: Sequence[RunRecord]) -> dict[str, Any]:
    finished = [record for record in records if record.is_finished]
    return {
        "total_runs": len(records),
        "successful_runs": len(finished),
        "failed_runs": len(records) - len(finished),
        "total_time_seconds": round(math.fsum(record.taken_seconds for record in finished), 3),
        **{name: _score_totals(finished, name) for name in SUMMARIZED_SCORES},
        **{name: _pair_totals(finished, name) for name in _pair_columns(records)},
    }


def _score_totals(records: Sequence[RunRecord], column: str) -> dict[str, Any]:
    values = [record.scores[column] for record in records if record.scores.get(column) is not None]
    if not values:
        return {"mean": None, "min": None, "max": None, "count": 0}
    return {"mean": math.fsum(values) / len(values), "min": min(values), "max": max(values), "count": len(values)}


def _pair_columns(records: Sequence[RunRecord]) -> list[str]:
    """Return the columns of scores beside the baseline."""
    return sorted({name for record in records for found in record.pair_scores.values() for name in found["values"]})


def _pair_totals(records: Sequence[RunRecord], column: str) -> dict[str, Any]:
    """Return totals over the numbers; `count` holds the infinite ones as well, and `infinite` says how many."""
    values = [record.scores[column] for record in records if record.scores.get(column) is not None]
    numbers = [value for value in values if math.isfinite(value)]
    mean = math.fsum(numbers) / len(numbers) if numbers else None
    ends = {"min": min(numbers, default=None), "max": max(numbers, default=None)}
    return {"mean": mean, **ends, "count": len(values), "infinite": len(values) - len(numbers)}


def _row(manifest: Manifest, record: RunRecord) -> dict[str, Any]:
    return {
        "prompt_id": record.prompt_id,
        "seed": record.seed,
        "variable_name": manifest.variable_name,
        "variable_value": record.level,
        "generation_time_seconds": record.generation_time_seconds,
        "token_count": record.token_count,
        "error": record.error,
        "output_path": str(record.image_path) if record.image_path else None,
        "run_id": record.run_id,
        "category": record.category,
        "difficulty": record.difficulty,
        "level": record.level,
        **{name: record.parameters.get(name) for name in ("width", "height", "num_inference_steps")},
        "evaluations": record.metadata.get("evaluations"),
        "token_count_used": record.metadata.get("token_count_used"),
    }
