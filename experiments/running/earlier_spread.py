"""How far paired differences spread in results that are there already: of the same model, from their summaries.

The summary of a folder is one file, so that a plan waits for no records. What is no summary is left out.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.stats.sizes import Spread
from experiments.store.manifest import Manifest
from experiments.store.result_store import ResultStore
from experiments.store.summary import harmless
from llm_dit.checkpoints.finding import model_name
from llm_dit.errors import OutputError, listed

ENOUGH_PROMPTS = 6
"""From so many on, the experiment's own folder says it alone."""
FOLDERS_NAMED = 3


class _Seen(NamedTuple):
    """Squares of one folder's differences about their means, per degree of freedom; prompts; the folder's name."""

    variance: float
    prompts: int
    name: str


def earlier_spreads(folder: Path, model_path: str, columns: Iterable[str], seeds: int) -> list[Spread]:
    """Return the spread of each measure that is known from results of a model.

    Args:
        folder: The experiment's folder; its neighbours are read where it has too few prompts.
        model_path: The model as configured.
        columns: The measures.
        seeds: Seeds a prompt that are planned; of more, the first ones are taken.
    """
    own = _seen_in(folder, model_path, seeds)
    others: list[Mapping[str, _Seen]] = []
    found = []
    for column in columns:
        seen = [own[column]] if column in own else []
        if not seen or seen[0].prompts < ENOUGH_PROMPTS:
            others = others or [_seen_in(other, model_path, seeds) for other in _neighbours(folder)]
            seen += [other[column] for other in others if column in other]
        if seen:
            found.append(_pooled(column, seen))
    return found


def _neighbours(folder: Path) -> Iterator[Path]:
    if folder.parent.is_dir():
        yield from sorted(other for other in folder.parent.iterdir() if other != folder and other.is_dir())


def _pooled(column: str, seen: list[_Seen]) -> Spread:
    freedom = sum(one.prompts - 1 for one in seen)
    variance = sum(one.variance * (one.prompts - 1) for one in seen) / freedom
    names = listed([one.name for one in seen], FOLDERS_NAMED)
    prompts = sum(one.prompts for one in seen)
    return Spread(column, variance**0.5, freedom + 1, f"on {prompts} prompts of {names}")


def _seen_in(folder: Path, model_path: str, seeds: int) -> dict[str, _Seen]:
    """Return what a folder's summary says of each score; nothing where it is another model's, or not to be read."""
    try:
        manifest = ResultStore(folder).manifest()
        made_by = str(manifest.raw.get("model_path", ""))
        if model_name(made_by) != model_name(model_path):
            return {}
        with (folder / f"{manifest.name}_summary.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OutputError, OSError, ValueError, csv.Error):
        return {}
    scores = [
        name for name in (rows[0] if rows else {}) if _is_number(rows[0][name]) or name.startswith("image_reward")
    ]
    found = {name: _variance(manifest, rows, name, seeds) for name in scores}
    return {name: seen for name, seen in found.items() if seen is not None}


def _variance(manifest: Manifest, rows: list[dict[str, Any]], column: str, seeds: int) -> _Seen | None:
    """Return the variance of the prompts' differences from the baseline, all levels together; None without any."""
    taken = {str(seed) for seed in manifest.seeds[:seeds]}
    own_seed = any("seed" in axis.parameter_names for axis in manifest.axes)
    values: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    for row in rows:
        if _is_number(row[column]) and (own_seed or row["seed"] in taken):
            values[row["level"]][row["prompt_id"], "" if own_seed else row["seed"]] = float(row[column])
    baseline = values.pop(str(harmless(manifest.baseline_name)), {})
    squares, freedom, most = 0.0, 0, 0
    for numbers in values.values():
        by_prompt: dict[str, list[float]] = defaultdict(list)
        for key in numbers.keys() & baseline.keys():
            by_prompt[key[0]].append(numbers[key] - baseline[key])
        means = [sum(one) / len(one) for one in by_prompt.values()]
        if len(means) > 1:
            centre = sum(means) / len(means)
            squares += sum((mean - centre) ** 2 for mean in means)
            freedom += len(means) - 1
            most = max(most, len(means))
    return _Seen(squares / freedom, most, manifest.name) if squares > 0 else None


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True
