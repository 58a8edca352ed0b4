"""What a judge makes of each damage: paired differences over prompts, with the lab's sign-flip test and its interval.

A damage is noticed where the score gets worse and preferred where it gets better, both by the corrected p; in between
it can't be told apart from the picture as it was. Which of these is right, the damage says.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.examination.damages import ANOTHER_SEED, DAMAGES, MIRRORED, WRONG_CAPTION, Damage
from experiments.examination.examples import LEAST_PROMPTS, Example, ExampleSet
from experiments.metrics import Metric, ScoreInput, Scorer
from experiments.stats.paired_statistics import ALPHA, holm, interval_of_difference, sign_flip_p_value

NOTICES, PREFERS, IGNORES = "notices", "prefers", "can't tell"
ROUNDING = 1e-5
"""Scores that differ by less are the same: so much do other kernels and another order of the same sums move them."""


@dataclass(frozen=True)
class Finding:
    """What a judge makes of one damage.

    Attributes:
        damage: Its name.
        should: `notice` or `ignore`.
        prompts: Prompts that the test had.
        difference: Mean score of damaged minus whole pictures, in the metric's unit.
        low: Lower end of its 95 % interval, not corrected.
        high: Upper end.
        p_value: Of the sign-flip test, corrected by Holm for the damages.
        found: `notices`, `prefers` or `can't tell`.
    """

    damage: str
    should: str
    prompts: int
    difference: float
    low: float
    high: float
    p_value: float
    found: str

    @property
    def is_right(self) -> bool:
        """True if the judge does what it should."""
        return self.found == (NOTICES if self.should == "notice" else IGNORES)


def examine(
    scorer: Scorer, examined: ExampleSet, tell: Callable[[str], None] = lambda _damage: None
) -> tuple[Finding, ...]:
    """Examine a judge on a set of pictures.

    Args:
        scorer: Loaded, of a metric that can decide.
        examined: Pictures with their prompts; prompts that the judge gives no score are left out.
        tell: Called with each damage's name before it is scored.

    Returns:
        One finding for each damage that can be done to at least six prompts.
    """
    whole = _scores(scorer, examined.examples, [(item.image, item) for item in examined.examples])
    differences: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
    for damage in DAMAGES:
        tell(damage.name)
        values = _differences(scorer, examined.examples, whole, damage)
        if len(values) >= LEAST_PROMPTS:
            found = np.array([values[name] for name in sorted(values)])
            differences[damage.name] = np.where(np.abs(found) < ROUNDING, 0.0, found)
    if not differences:
        return ()
    corrected = holm(np.array([float(sign_flip_p_value(values)) for values in differences.values()]))
    should = {damage.name: damage.should for damage in DAMAGES}
    return tuple(
        _finding(scorer.metric, name, should[name], values, float(p_value))
        for (name, values), p_value in zip(differences.items(), corrected, strict=True)
    )


def _finding(
    metric: Metric, name: str, should: str, values: np.ndarray[tuple[int], np.dtype[np.float64]], p_value: float
) -> Finding:
    mean = float(values.mean())
    low, high = (float(end) for end in interval_of_difference(values))
    is_better = (mean > 0) == (metric.direction == "higher")
    found = IGNORES if p_value > ALPHA else PREFERS if is_better else NOTICES
    return Finding(name, should, len(values), mean, low, high, p_value, found)


def _differences(
    scorer: Scorer, examples: Sequence[Example], whole: Mapping[Example, float], damage: Damage
) -> dict[str, float]:
    """Return damaged minus whole by prompt id, averaged over seeds."""
    if damage.name == ANOTHER_SEED:
        by_prompt = _by_prompt(examples, whole)
        return {name: values[1] - values[0] for name, values in by_prompt.items() if len(values) > 1}
    chosen = [item for item in examples if item in whole and not (damage.name == MIRRORED and item.has_a_side)]
    with tempfile.TemporaryDirectory(prefix="examine-") as folder:
        pairs = _damaged(Path(folder), chosen, damage)
        damaged = _scores(scorer, chosen, pairs)
    found = {item: damaged[item] - whole[item] for item in chosen if item in damaged}
    return {name: float(np.mean(values)) for name, values in _by_prompt(chosen, found).items()}


def _damaged(folder: Path, examples: Sequence[Example], damage: Damage) -> list[tuple[Path, Example]]:
    """Return each picture to score with the example whose prompt it is scored by."""
    if damage.name == WRONG_CAPTION:
        return list(zip([item.image for item in examples], _with_other_prompts(examples), strict=True))
    assert damage.change is not None
    pairs = []
    for index, item in enumerate(examples):
        path = folder / f"{index}.png"
        with Image.open(item.image) as image:
            damage.change(image.convert("RGB"), index).save(path)
        pairs.append((path, item))
    return pairs


def _with_other_prompts(examples: Sequence[Example]) -> list[Example]:
    """Return for each example one with another prompt, half the list away, so mostly of another category."""
    names = list(dict.fromkeys(item.prompt.id for item in examples))
    first = {item.prompt.id: item for item in reversed(examples)}
    places = {name: place for place, name in enumerate(names)}
    return [first[names[(places[item.prompt.id] + len(names) // 2) % len(names)]] for item in examples]


def _scores(scorer: Scorer, examples: Sequence[Example], pairs: Sequence[tuple[Path, Example]]) -> dict[Example, float]:
    """Return each example's score where there is one."""
    rows = [
        ScoreInput(told.prompt.text, path, words=told.prompt.words, questions=told.prompt.questions)
        for path, told in pairs
    ]
    name = scorer.metric.name
    scored = zip(examples, scorer.score_rows(rows), strict=True)
    return {item: float(columns[name]) for item, columns in scored if name in columns}


def _by_prompt(examples: Sequence[Example], values: Mapping[Example, float]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for item in examples:
        if item in values:
            found[item.prompt.id].append(values[item])
    return found
