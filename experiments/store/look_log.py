"""What the manifest holds of planned looks: the plan, fixed before the first picture, and each look that was taken.

A look that stands here has been taken: its decisions hold, whatever becomes of scores later, and nobody takes it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from experiments.planning.looks import LookPlan, not_the_same
from llm_dit.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

KEY: Final = "looks"
"""Of the block in the manifest."""
OPEN: Final = "open"


@dataclass(frozen=True)
class LevelAtLook:
    """One level at one look.

    Attributes:
        state: `open`, `better`, `worse`, `as good as`, `unpromising`; in a race `open`, `dropped`, `best`, `left`.
        prompts: Prompts compared so far.
        ended_at: Index of the look that ended it; None while it goes on.
        mean: Difference from the baseline, in a race from the leader; None where there is nothing to compare.
        low: Lower end of the repeated 95 % interval; None where it has none.
        high: Upper end.
        p_value: Smallest error, spent over the looks and corrected for all levels, at which it would differ.
    """

    state: str
    prompts: int
    ended_at: int | None = None
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Look:
    """One look that was taken.

    Attributes:
        prompts: Prompts drawn up to it.
        at: When, in ISO 8601.
        pictures: Pictures saved so far, of those that the full design would have drawn up to here.
        levels: Every level but the baseline, in a race every level.
        leader: Of a race.
        is_within_margin: Whether all that are left of a race are within the margin of the leader.
    """

    prompts: int
    at: str
    pictures: int
    levels: Mapping[str, LevelAtLook]
    leader: str = ""
    is_within_margin: bool = False


@dataclass(frozen=True)
class LookLog:
    """The plan and its looks so far.

    Attributes:
        plan: Fixed beforehand.
        taken: One after the other.
        end: Why the last command stopped: `decided`, `prompts`, `images`, `hours`; empty while it runs.
        pictures_a_prompt: Of the full design: levels, the baseline among them, times seeds.
    """

    plan: LookPlan
    taken: tuple[Look, ...] = ()
    end: str = ""
    pictures_a_prompt: int = 0

    @property
    def pictures_drawn(self) -> int:
        """Pictures that the looks taken rest on."""
        latest = self.latest
        return 0 if latest is None else self.pictures_a_prompt * latest.prompts - latest.pictures

    @property
    def latest(self) -> Look | None:
        """The last look taken."""
        return self.taken[-1] if self.taken else None

    def with_look(self, look: Look) -> LookLog:
        """Return the log with one look more."""
        return replace(self, taken=(*self.taken, look))

    def prompts_of(self, level: str) -> int:
        """Return how many prompts the level is drawn for, as far as it is decided; all while it is open."""
        latest = self.latest
        if latest is None:
            return len(self.plan.order)
        ends = [item.ended_at for item in latest.levels.values()]
        known = latest.levels.get(level)
        if known is not None:
            return len(self.plan.order) if known.ended_at is None else self.plan.prompts[known.ended_at]
        return len(self.plan.order) if None in ends else self.plan.prompts[max(end for end in ends if end is not None)]

    def values(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {
            "plan": self.plan.values(),
            "taken": [asdict(look) for look in self.taken],
            "end": self.end,
            "pictures_a_prompt": self.pictures_a_prompt,
        }


def look_log_from(values: Mapping[str, Any]) -> LookLog | None:
    """Read the looks from a manifest's values; None for a fixed design.

    Raises:
        OutputError: If the block is damaged.
    """
    block = values.get(KEY)
    if block is None:
        return None
    try:
        taken = tuple(
            Look(**{**look, "levels": {name: LevelAtLook(**item) for name, item in look["levels"].items()}})
            for look in block["taken"]
        )
        return LookLog(LookPlan.from_values(block["plan"]), taken, block["end"], block["pictures_a_prompt"])
    except (KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            f"The block {KEY} of the manifest is damaged ({error}); take another --name, since looks that were taken "
            "can't be counted any more."
        ) from None


def check_looks(log: LookLog | None, plan: LookPlan | None, folder: Path, *, has_results: bool) -> None:
    """Refuse to mix planned looks with another plan, or with a fixed design.

    Args:
        log: Of the folder; None where it has none.
        plan: What a command asks for; None for a fixed design.
        folder: For the message.
        has_results: Whether there are pictures.

    Raises:
        OutputError: If the folder holds results of another plan.
    """
    if log is None:
        if plan is not None and has_results:
            raise OutputError(
                f"{folder} has pictures of a fixed design, and looks have to be planned before the first one; give the "
                "experiment another --name.",
                field="output_dir",
            )
        return
    if plan is None:
        raise OutputError(
            f"{folder} is looked at after planned numbers of prompts, by {log.plan.measure}; go on with "
            f"{'--find-best' if log.plan.is_race else '--until-decided'} {log.plan.measure}, or give a fixed design "
            "another --name.",
            field="output_dir",
        )
    changes = not_the_same(log.plan, plan)
    if changes and (has_results or log.taken):
        raise OutputError(
            f"{folder} has looks that were planned otherwise ({'; '.join(changes)}), and a plan that changes after "
            "looking guards against nothing; give the experiment another --name.",
            field="output_dir",
        )
