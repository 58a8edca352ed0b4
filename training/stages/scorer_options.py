"""The options that both scorers' stages take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch


def scorer_options(*, seconds: float, count: int, drawn: int, batch: int, learning_rate: float) -> Callable[..., Any]:
    """Return a decorator that adds the options with a stage's own defaults."""
    options = (
        click.option("--world", type=click.Path(path_type=Path), required=True),
        click.option(
            "--data", type=click.Path(path_type=Path), required=True, help="Folder of training.stages.dataset."
        ),
        click.option("--tokenizer", type=click.Path(path_type=Path), required=True, help="Of the language model."),
        click.option(
            "--build", type=click.Path(path_type=Path), required=True, help="Folder of the other stages' weights."
        ),
        click.option("--seconds", type=float, default=seconds),
        click.option("--until", type=float, default=None, help="Clock time at which training ends at the latest."),
        click.option("--count", type=int, default=count, help="Pictures in the pool beside the contrasts."),
        click.option("--drawn", type=int, default=drawn, help="Captions for which the transformer draws."),
        click.option("--elsewhere", type=int, default=8_000, help="Prompts from elsewhere that it draws as well."),
        click.option("--batch", type=int, default=batch),
        click.option(
            "--start", type=click.Path(path_type=Path, exists=True), default=None, help="Weights to train on from."
        ),
        click.option("--learning-rate", type=float, default=learning_rate, help="Its peak."),
        click.option("--device", type=torch.device, default=torch.device("cuda")),
    )

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add
