"""Known answers: `uv run experiments/metrics/selftest.py` scores files that come with it and fails if a value moved.

`--record` writes today's values as the expected ones; do so only when the scorers' weights were meant to change.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from experiments.metrics import ScoreInput, Scorer, Scores, default_metrics, load_scorers, scorer_models_for
from experiments.store.json_file import read_json, write_json
from llm_dit.cli import Command, user_errors
from llm_dit.errors import LlmDitError

FILES = Path(__file__).parent / "known_answers"
EXPECTED_FILE = "expected.json"
TOLERANCE = 1e-3
"""Largest move allowed; kernels of other processors and devices differ by about 1e-5, other preprocessing by 1e-2."""

ROWS = (
    ScoreInput("A red ball on green grass under a blue sky", FILES / "ball.png"),
    ScoreInput("A yellow star at night", FILES / "ball.png"),
    ScoreInput("A yellow star at night", FILES / "star.png"),
    ScoreInput(
        "A bright yellow star with five points hangs in a dark blue night sky. Far below, a row of black hills sleeps "
        "without a single light. Everything is calm, and the air looks cold and clear.",
        FILES / "star.png",
    ),
    ScoreInput("Two houses with red roofs by the sea", FILES / "houses.png", group="houses"),
    ScoreInput(
        "Two houses with red roofs by the sea",
        FILES / "houses_noisy.png",
        group="houses",
        baseline=FILES / "houses.png",
    ),
    ScoreInput('A brown sign that says "OPEN" and "8 to 12"', FILES / "sign.png"),
)
"""A match, a mismatch, a long prompt, a picture that is not square, two that differ by noise alone, and words."""


class Answer(NamedTuple):
    """One column of one row."""

    row: int
    column: str
    value: float  # not a number where a recorded column is no longer there
    expected: float | None

    @property
    def has_moved(self) -> bool:
        """True if the value is not the recorded one, or none was recorded."""
        return self.expected is None or not abs(self.value - self.expected) <= TOLERANCE


def answers_of(scorer: Scorer, expected: Sequence[Mapping[str, float | bool]]) -> list[Answer]:
    """Score the known files and put the recorded values beside the scores.

    Args:
        scorer: The scorer to check.
        expected: The recorded columns of each row; empty if nothing was recorded.
    """
    recorded: Sequence[Mapping[str, float | bool]] = expected or [{} for _ in ROWS]
    answers: list[Answer] = []
    for index, (columns, known) in enumerate(zip(scorer.score_rows(ROWS), recorded, strict=True)):
        for column in {**_numbers(columns), **known}:
            wanted = known.get(column)
            value = float(columns.get(column, math.nan))
            answers.append(Answer(index, column, value, None if wanted is None else float(wanted)))
    return answers


def record(scorers: Sequence[Scorer], path: Path) -> None:
    """Write the scorers' present values as the expected ones; those of other metrics stay."""
    values: dict[str, Any] = read_json(path) or {}
    for scorer in scorers:
        rows = [_numbers(columns) for columns in scorer.score_rows(ROWS)]
        values[scorer.metric.name] = {"model": scorer.metric.model, "rows": rows}
    write_json(path, values)


def read_expected(path: Path) -> dict[str, Any]:
    """Return metric name to its recorded model and rows.

    Raises:
        LlmDitError: If nothing was recorded.
    """
    values = read_json(path)
    if values is None:
        raise LlmDitError(f"{path} is not there or damaged; record the present values with --record.")
    return values


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--metric", "names", multiple=True, metavar="NAME", help="Metric to check; all but lpips by default.")
@click.option("--device", default="cpu", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps. [default: cpu]")
@click.option("--record", "is_recording", is_flag=True, help="Write today's values as the expected ones.")
@user_errors
def main(names: tuple[str, ...], device: str, is_recording: bool) -> None:
    """Print each embedded scorer's value on known files; exit with 1 if one moved."""
    embedded = scorer_models_for("mini")._asdict()
    scorers = load_scorers(names or default_metrics(), **embedded, device=device)
    path = FILES / EXPECTED_FILE
    if is_recording:
        record(scorers, path)
    sys.exit(1 if check(scorers, path) else 0)


def check(scorers: Sequence[Scorer], path: Path) -> list[Answer]:
    """Print a line for each answer; return those that moved."""
    expected = read_expected(path)
    moved: list[Answer] = []
    for scorer in scorers:
        click.echo(f"{scorer.metric.title} ({scorer.metric.model})")
        for answer in answers_of(scorer, expected.get(scorer.metric.name, {}).get("rows", [])):
            row = ROWS[answer.row]
            verdict = _verdict(answer, scorer.metric.name)
            click.echo(f"  {row.image.name:17} {answer.column:23} {answer.value:9.5f}  {verdict}  {row.prompt[:40]}")
            moved += [answer] if answer.has_moved else []
    click.echo(f"{len(moved)} values are not as recorded." if moved else "All values are as recorded.")
    return moved


def _verdict(answer: Answer, metric: str) -> str:
    if answer.expected is None:
        return f"NOT RECORDED; look whether it is right, then --record --metric {metric}"
    return f"MOVED from {answer.expected}" if answer.has_moved else "as recorded"


def _numbers(columns: Scores) -> dict[str, float | bool]:
    """Return the numbers and flags, rounded; what was read is no number."""
    return {
        name: value if isinstance(value, bool) else round(value, 6)
        for name, value in columns.items()
        if not isinstance(value, str)
    }


if __name__ == "__main__":
    main()
