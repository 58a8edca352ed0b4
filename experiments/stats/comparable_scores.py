"""Which scores may stand beside each other, and which prompts count apart.

Scores of different weights can't be compared, and two prompts of one text are not two independent prompts. What is left
out or put together is told in a sentence, where the numbers are shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from experiments.metrics.declaration import Metric
from experiments.metrics.judges import beyond_its_world
from experiments.store.manifest import Manifest
from experiments.store.records import RunRecord
from llm_dit.errors import listed

MOST_NAMED = 5


def weights_that_count(records: Iterable[RunRecord], metric: Metric) -> str | None:
    """Return the weights that gave the most scores, the first by name of several; None where no scores are mixed."""
    counts = _weights(records, metric)
    return min(counts, key=lambda name: (-counts[name], name)) if len(counts) > 1 else None


def counts_with(record: RunRecord, metric: Metric, weights: str | None) -> bool:
    """Return True if a run's score is of the weights that count; `weights` is None where none are mixed."""
    return weights is None or record.scores_of.get(metric.name) == weights


def judge_notes(manifest: Manifest, records: Sequence[RunRecord], metric: Metric) -> list[str]:
    """Say which scores are left out, since other weights gave them, and whether the judge knows such pictures."""
    notes = []
    counted, counts = weights_that_count(records, metric), _weights(records, metric)
    if counted is not None:
        others = sum(counts.values()) - counts[counted]
        notes.append(
            f"Scored by different weights, which can't be compared: {listed(sorted(counts), MOST_NAMED)}. Only the "
            f"{counts[counted]} scores of {counted} count here; score.py gives the other {others} anew."
        )
    generator = str(manifest.raw.get("model_path") or "")
    foreign = (beyond_its_world(weights, generator) for weights in sorted(counts) if counted in (None, weights))
    return [*notes, *(sentence for sentence in foreign if sentence)]


def prompt_units(records: Iterable[RunRecord]) -> Mapping[str, str]:
    """Return each prompt id's unit: the first id, in the order of ids, whose runs have the same text.

    Texts are the same if they differ in spaces and capital letters alone. An id with several texts, as where an axis
    brings the prompts, is a unit by itself.
    """
    texts: dict[str, set[str]] = {}
    for record in records:
        texts.setdefault(record.prompt_id, set()).add(" ".join(record.prompt.split()).casefold())
    first: dict[str, str] = {}
    units = {}
    for name in sorted(texts):
        (text, *more) = texts[name]
        units[name] = name if more else first.setdefault(text, name)
    return units


def double_prompts_note(units: Mapping[str, str]) -> str | None:
    """Say which prompts are put together; None where every prompt is a unit by itself."""
    doubles = [f"{name} with {unit}" for name, unit in units.items() if name != unit]
    if not doubles:
        return None
    return (
        f"{len(doubles)} prompt{'s repeat' if len(doubles) > 1 else ' repeats'} the text of another and "
        f"count{'s' if len(doubles) == 1 else ''} with it as one: {listed(doubles, MOST_NAMED)}."
    )


def _weights(records: Iterable[RunRecord], metric: Metric) -> Counter[str]:
    return Counter(record.scores_of[metric.name] for record in records if metric.name in record.scores_of)
