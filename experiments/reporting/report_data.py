"""The report's picture grid as compact columns for the page's script, and how to put JSON into a page safely.

A row is a prompt with a seed, a column is a level. Texts and parameters that repeat are written once and referred to by
their position, so that 5,000 pictures fit in about a megabyte.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from experiments.stats.findings import Analysis, MeasureAnalysis
from experiments.stats.measures import TIME_COLUMN, number
from experiments.stats.verdict import decimals_of
from experiments.store.pair_scores import pairing_seed

if TYPE_CHECKING:
    from experiments.store.manifest import Manifest
    from experiments.store.records import RunRecord

Item = TypeVar("Item", bound=Hashable)

SHOWN_APART = ("prompt", "seed")
"""Parameters that the page shows beside the picture anyway."""
PICTURE_DIGITS = 12
"""Of a picture's sha256, by which a vote knows the picture."""
FACTS = ("token_count", "token_count_used", "evaluations")


def json_for_script(values: Any) -> str:
    """Return JSON that can stand inside a `<script>` element: no `<`, `>`, `&`, nor line separators of JavaScript."""
    text = json.dumps(values, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def grid_data(
    manifest: Manifest,
    records: Sequence[RunRecord],
    analysis: Analysis,
    *,
    unreadable: Mapping[str, str],
    pictures: Sequence[str | None] | None,
) -> dict[str, Any]:
    """Return everything that the grid and the viewer show.

    Args:
        manifest: The experiment.
        records: Its finished and failed runs, in the manifest's order.
        analysis: Its numbers.
        unreadable: Run id to the reason why a picture can't be shown.
        pictures: One data URI per record for a self-contained page; None where the files lie beside it.
    """
    prompts = _prompts(manifest, records)
    prompt_index = {prompt["id"]: index for index, prompt in enumerate(prompts)}
    levels = [cell.name for cell in manifest.combinations]
    level_index = {name: index for index, name in enumerate(levels)}
    rows = _Table((prompt_index[record.prompt_id], pairing_seed(manifest, record)) for record in records)
    formatted = _Table(record.metadata.get("formatted_prompt", "") for record in records)
    return {
        "variable": manifest.variable_name,
        "levels": levels,
        "axes": [{"name": axis.name, "levels": [level.name for level in axis.levels]} for axis in manifest.axes],
        "cells": list(itertools.product(*(range(len(axis.levels)) for axis in manifest.axes))),
        "baseline": level_index[manifest.baseline_name],
        "prompts": prompts,
        "measures": [_measure(result, records) for result in analysis.measures],
        "rows": rows.values,
        "formatted": formatted.values,
        "parameters": _parameters(records),
        "run": {
            "id": [record.run_id for record in records],
            "row": rows.positions,
            "level": [level_index[manifest.level_name(record.levels)] for record in records],
            "seed": [record.seed for record in records],
            "formatted": formatted.positions,
            "sha256": [record.metadata.get("image", {}).get("sha256", "")[:PICTURE_DIGITS] for record in records],
            "error": {
                str(index): problem
                for index, record in enumerate(records)
                if (problem := record.error or unreadable.get(record.run_id))
            },
            "facts": {name: [record.metadata.get(name) for record in records] for name in FACTS},
            "values": [[_short(result.measure.value(record)) for record in records] for result in analysis.measures],
            "picture": pictures,
        },
    }


class _Table(Generic[Item]):
    """Distinct values in their first order, and each item's position among them."""

    def __init__(self, items: Iterable[Item]) -> None:
        known: dict[Item, int] = {}
        self.positions = [known.setdefault(item, len(known)) for item in items]
        self.values = list(known)


def _prompts(manifest: Manifest, records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Return the manifest's prompts that have runs, in its order; text and category as the runs recorded them."""
    known = {prompt.id: prompt for prompt in manifest.prompts}
    recorded = {record.prompt_id: record for record in records}
    return [
        {
            "id": name,
            "category": recorded[name].category,
            "difficulty": recorded[name].difficulty,
            "text": recorded[name].prompt,
            "must_show": list(known[name].must_show) if name in known else [],
        }
        for name in dict.fromkeys([*known, *recorded])
        if name in recorded
    ]


def _measure(result: MeasureAnalysis, records: Sequence[RunRecord]) -> dict[str, Any]:
    """Return how a measure is shown; `unbounded` are the positions of runs whose value has no bound."""
    measure = result.measure
    fidelity = measure.metric.fidelity
    return {
        "column": measure.column,
        "title": measure.title,
        "unit": measure.unit,
        "direction": measure.direction,
        "judge": measure.is_main and measure.direction != "none" and measure.column != TIME_COLUMN,
        "closer": fidelity.closer if fidelity else "",
        "equal": _short(number(fidelity.equal)) if fidelity else None,
        "unbounded": [index for index, record in enumerate(records) if record.scores.get(measure.column) == math.inf],
        "decimals": min(max(decimals_of(result), 2), 4),
        "bands": [[band.label, band.above] for band in measure.bands],
        "below": measure.metric.below if measure.bands else "",
    }


def _parameters(records: Sequence[RunRecord]) -> dict[str, Any]:
    """Return parameters that all runs share, and per varying one its values and each run's position among them."""
    names = list(dict.fromkeys(name for record in records for name in record.parameters if name not in SHOWN_APART))
    tables = {name: _Table(json.dumps(record.parameters.get(name)) for record in records) for name in names}
    decoded = {name: [json.loads(value) for value in table.values] for name, table in tables.items()}
    return {
        "common": {name: values[0] for name, values in decoded.items() if len(values) == 1},
        "varying": {
            name: {"values": values, "of_run": tables[name].positions}
            for name, values in decoded.items()
            if len(values) > 1
        },
    }


def _short(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.6g}")
