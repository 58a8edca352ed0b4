"""What a metric says about itself: name, unit, direction, model, columns and bands, declared in one place.

The store, the statistics and the report read these records; none of them knows a metric by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

BANDS_NOTE = (
    "Labels are rules of thumb for the published models on photographic prompts; "
    "what counts is the comparison within one experiment."
)

Scores = dict[str, float | bool | str]
"""One row's columns; a `bool` is a flag, a `float` a number, a `str` what was read, which nothing counts."""


class Band(NamedTuple):
    """A label for values above a threshold."""

    label: str
    above: float


class Column(NamedTuple):
    """One column that a metric writes."""

    name: str
    meaning: str


class Fidelity(NamedTuple):
    """How a metric of pairs reads: how far a picture is from the baseline's of the same prompt and seed.

    Attributes:
        closer: Which direction is the closer one; neither is the better one.
        equal: The value of a picture beside itself, infinity where there is no bound.
    """

    closer: Literal["higher", "lower"]
    equal: float


@dataclass(frozen=True)
class Metric:
    """The declaration of one metric.

    Attributes:
        name: Name on the command line and of the main column.
        title: Name in a table or plot.
        unit: Unit of the main column.
        direction: Which direction is the better one; `none` where neither is.
        model: Identity of the weights behind the numbers; values of different models can't be compared.
        columns: Every column the metric writes, the main one first.
        source: Paper or implementation that defines the number.
        bands: Labels of the main column, best first; empty where there are none.
        below: Label of values that reach no band.
        compares_seeds: With how many others of its group a row is compared at most, the group's first ones in the order
            given; 0 where a row's value is its own. The column `<name>_seeds` says how many pictures were compared, the
            row's own included.
        fidelity: How it reads, for a metric of pairs; None where a row's value needs no picture of the baseline.
        counted: Score that stands for the main column in means and tests, where what is shown beside a picture is not
            what it adds to them; empty where it is. Only people's votes have one, and no scorer makes them.
        needs: What a picture must have to get a value at all, as a sentence ends; empty where each gets one.
    """

    name: str
    title: str
    unit: str
    direction: Literal["higher", "lower", "none"]
    model: str
    columns: tuple[Column, ...]
    source: str
    bands: tuple[Band, ...] = ()
    below: str = ""
    compares_seeds: int = 0
    fidelity: Fidelity | None = None
    counted: str = ""
    needs: str = ""

    def __post_init__(self) -> None:
        assert self.columns[0].name == self.name, f"the first column of {self.name} must bear its name"
        thresholds = [band.above for band in self.bands]
        assert thresholds == sorted(thresholds, reverse=True), f"the bands of {self.name} must fall: {thresholds}"
        assert self.fidelity is None or self.direction == "none", (
            f"{self.name} is a distance, so no direction is better"
        )

    @property
    def can_decide(self) -> bool:
        """True if one direction is the better one, and a scorer gives each row its own value: it may decide levels."""
        return self.direction != "none" and not self.compares_seeds and not self.counted

    def label(self, value: float) -> str:
        """Return the band a value of the main column lies in, or an empty string without bands."""
        return next((band.label for band in self.bands if value > band.above), self.below)


class ScoreInput(NamedTuple):
    """One image to score.

    Attributes:
        prompt: The user's prompt, as typed.
        image: Path of the picture.
        group: Rows with one group are seeds of one prompt at one level; used by metrics that compare seeds.
        is_wanted: False for a row that is only there for others to be compared with.
        baseline: The baseline's picture of the same prompt and seed; used by metrics of pairs, which give a row without
            one no score.
        words: What is to be written in the picture, as the prompt's file says; empty where it does not.
        questions: What the prompt's file says that a true picture answers with yes.
    """

    prompt: str
    image: Path
    group: str = ""
    is_wanted: bool = True
    baseline: Path | None = None
    words: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()


class Scorer(Protocol):
    """A metric that is loaded and can score."""

    @property
    def metric(self) -> Metric:
        """The declaration, with the identity of the loaded weights."""

    def move_to(self, device: str) -> None:
        """Go to another device, such as `auto` once a generator has made room there.

        Raises:
            LlmDitError: If this machine does not have it.
        """

    def score_rows(self, rows: Sequence[ScoreInput]) -> list[Scores]:
        """Return every column of the metric for every row that is wanted, in the rows' order; others may have none.

        Raises:
            LlmDitError: If an image can't be read.
        """
