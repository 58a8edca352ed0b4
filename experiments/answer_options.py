"""Flags of commands that read answers off results folders, and the one that takes them into a tracker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

TRACKERS = ("mlflow", "wandb", "trackio")
OPTIONS = (
    click.option(
        "--pair-by",
        metavar="NAMES",
        help="Of two folders, by what their pictures are paired: prompt,seed or prompt. [default: prompt,seed]",
    ),
    click.option(
        "--metric",
        "metrics",
        multiple=True,
        metavar="NAME",
        help="Of two folders, a distance to compute beside PSNR and SSIM: embedding_distance or lpips; may be "
        "repeated. [default: those that both folders have]",
    ),
    click.option(
        "--primary", metavar="MEASURE", help="Name the measure that counts, once; the others are exploratory."
    ),
    click.option(
        "--margin",
        "margins",
        multiple=True,
        metavar="MEASURE=X[,...]",
        help="Name the largest difference of a measure that does not matter, once: is a level as good as the baseline?",
    ),
)
"""What two folders are paired by and beside which distances, which measure counts, and which margins do not matter."""


def answer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def track_option(help_text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what adds `--track`, told as the command means it."""
    return click.option("--track", type=click.Choice(TRACKERS), help=help_text)
