"""When an experiment that runs until it is decided is looked at, and in which order its prompts come; fixed beforehand.

Pure: order and looks depend on the plan alone, so that nobody gets a second chance by starting again.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from experiments.planning.design import Plan
from experiments.prompts import Prompt
from llm_dit.errors import LlmDitError

GROWTH: Final = 1.08
"""Each look has about so many times the prompts of the one before."""
LEAST_GROWTH: Final = 2
"""And at least so many more: a look costs loading the judge."""
LEAST_FIRST: Final = 6
"""Prompts at the first look, at least."""
ALPHA: Final = 0.05
EXPONENT: Final = 1.5
"""Of the power family of Kim & DeMets 1987: at a share t of the prompts, 5 % x t^1.5 may be spent."""
LATE_EXPONENT: Final = 2.0
"""The same where no level is stopped as unpromising: who gives pictures for power has more of the error late."""
WITHIN_EXPONENT: Final = 2.0
"""The same for "as good as"."""
OUTSIDE_SHARE: Final = 0.1
"""Of the error of "as good as", what pays for leaving out levels that lie outside the margin."""


@dataclass(frozen=True)
class LookWishes:
    """What a command says about its looks.

    Attributes:
        measure: Column that decides; None for a fixed design.
        is_race: Search the best level rather than compare with the baseline.
        margin: Largest difference that does not matter, in the measure's unit; None asks for no equivalence.
        stops_unpromising: Stop levels that are not likely to be decided.
        max_images: Most pictures of the folder; None has no limit.
        max_hours: Most hours of one run of the command; None has no limit.
    """

    measure: str | None = None
    is_race: bool = False
    margin: float | None = None
    stops_unpromising: bool = True
    max_images: int | None = None
    max_hours: float | None = None


@dataclass(frozen=True)
class LookPlan:
    """What is fixed before the first picture, and stands in the manifest.

    Attributes:
        measure: Column that decides.
        is_race: Search the best level rather than compare with the baseline.
        margin: Largest difference that does not matter; None asks for no equivalence.
        stops_unpromising: Stop levels that are not likely to be decided.
        order: Ids of all prompts, in the order in which they are drawn.
        prompts: Number of prompts at each look.
        exponent: Of the spending function.
        within_exponent: Of that of "as good as"; folders planned before it stood here have the default.
        outside_share: Of the error of "as good as", what pays for leaving out levels outside the margin; likewise.
    """

    measure: str
    is_race: bool
    margin: float | None
    stops_unpromising: bool
    order: tuple[str, ...]
    prompts: tuple[int, ...]
    exponent: float = EXPONENT
    within_exponent: float = 1.5
    outside_share: float = 0.0

    def values(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {**asdict(self), "order": list(self.order), "prompts": list(self.prompts)}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> LookPlan:
        """Read what `values` returned."""
        return cls(**{**values, "order": tuple(values["order"]), "prompts": tuple(values["prompts"])})


def plan_looks(plan: Plan, wishes: LookWishes) -> LookPlan:
    """Fix order and looks of a plan.

    Raises:
        LlmDitError: If there is nothing to compare, or too few prompts to show anything.
    """
    assert wishes.measure is not None, "a fixed design has no looks"
    levels = len(plan.cells)
    if levels < 2:
        raise LlmDitError("Looks compare levels, and this experiment has one; give an axis several.")
    # what the first look needs to reject anything: all levels together, or each pair of a race for itself
    tests = levels - 1 if wishes.is_race else 1
    exponent = EXPONENT if wishes.is_race or wishes.stops_unpromising else LATE_EXPONENT

    def counts_of(prompts: int) -> tuple[int, ...]:
        return look_counts(prompts, tests, is_one_sided=wishes.is_race, exponent=exponent)

    counts = counts_of(len(plan.prompts))
    if not counts:
        needed = next(count for count in range(2, 100) if counts_of(count))
        raise LlmDitError(
            f"{len(plan.prompts)} prompts can show no difference, however large; "
            f"{'a race' if wishes.is_race else 'a decision'} among {levels} levels takes at least {needed}."
        )
    return LookPlan(
        wishes.measure,
        wishes.is_race,
        wishes.margin,
        wishes.stops_unpromising,
        drawing_order(plan),
        counts,
        exponent,
        WITHIN_EXPONENT,
        OUTSIDE_SHARE,
    )


def look_counts(prompts: int, tests: int, *, is_one_sided: bool = False, exponent: float = EXPONENT) -> tuple[int, ...]:
    """Return the number of prompts at each look; empty where so many can show nothing.

    The first look is the first that can show anything: a sign-flip test of n prompts has no p-value below 2 / 2^n.

    Args:
        prompts: All prompts of the plan.
        tests: Tests that share the error.
        is_one_sided: Half the p-values.
        exponent: Of the spending function.
    """

    def can_show(count: int) -> bool:
        smallest = 2.0 ** ((0 if is_one_sided else 1) - count)
        return bool(smallest <= ALPHA / tests * (count / prompts) ** exponent)

    first = next((count for count in range(1, prompts + 1) if can_show(count)), None)
    if first is None:
        return ()
    counts = [min(max(first, LEAST_FIRST), prompts)]
    while counts[-1] < prompts:
        following = max(counts[-1] + LEAST_GROWTH, round(counts[-1] * GROWTH))
        # a last step of less than half the usual size joins the one before
        is_nearly_all = following + max(LEAST_GROWTH, following * (GROWTH - 1)) / 2 > prompts
        counts.append(prompts if is_nearly_all else following)
    return tuple(counts)


def drawing_order(plan: Plan) -> tuple[str, ...]:
    """Return the prompts' ids in random order, in which every beginning has its share of each category.

    The random numbers come from the plan itself: its name, levels and texts.
    """
    told = [plan.experiment.name, *(cell.name for cell in plan.cells), *(prompt.text for prompt in plan.prompts)]
    seed = hashlib.sha256("\n".join(told).encode("utf-8", "backslashreplace")).digest()
    generator = random.Random(seed)
    groups: dict[str, list[Prompt]] = {}
    for prompt in sorted(plan.prompts, key=lambda prompt: prompt.id):
        groups.setdefault(prompt.category, []).append(prompt)
    places: list[tuple[float, str]] = []
    for group in groups.values():
        generator.shuffle(group)
        places += [((rank + generator.random()) / len(group), prompt.id) for rank, prompt in enumerate(group)]
    return tuple(prompt_id for _, prompt_id in sorted(places))


def not_the_same(before: LookPlan, now: LookPlan) -> Sequence[str]:
    """Return what a plan would change of the one in a folder, each as `name: before -> now`."""
    old, new = before.values(), now.values()
    return [
        f"{name}: {'other prompts' if name == 'order' else f'{old[name]} -> {new[name]}'}"
        for name in old
        if old[name] != new[name]
    ]
