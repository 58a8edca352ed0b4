"""What one command of the lab asks for: its flags and the files they name, checked before any model is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.planning.design import AXIS_PARAMETERS, DEFAULT_SEED, Experiment, Plan, plan_experiment, select_prompts
from experiments.planning.experiment_file import (
    NAME_RULE,
    PREDEFINED_EXPERIMENTS,
    PROMPT_SETS,
    experiment_from_sweeps,
    find_experiment,
    is_name,
    load_experiments,
    parse_numbers,
)
from experiments.prompts import Prompt, read_prompts
from llm_dit.cli import config_from_flags
from llm_dit.config import Config
from llm_dit.errors import LlmDitError


@dataclass(frozen=True)
class Request:
    """What one command asks for.

    Attributes:
        experiment: The question; axes that depend on the model are not filled in yet.
        prompts: The prompts chosen.
        seeds: The seeds.
        config: File and flags, in their precedence.
        overrides: Generation parameters given as flags.
        folder: The experiment's results folder.
    """

    experiment: Experiment
    prompts: tuple[Prompt, ...]
    seeds: tuple[int, ...]
    config: Config
    overrides: Mapping[str, Any]
    folder: Path

    def plan(self) -> Plan:
        """Cross the experiment with prompts and seeds; reads the model's configuration only where an axis needs it."""
        experiment = self.experiment
        if any(axis.is_every_layer for axis in experiment.axes):
            from experiments.planning.model_facts import read_model_facts

            experiment = experiment.for_model(read_model_facts(self.config.engine.model_path).hidden_layer_count)
        defaults = {name: value for name, value in self.config.generation_values.items() if name not in self.overrides}
        return plan_experiment(experiment, self.prompts, self.seeds, defaults=defaults, overrides=self.overrides)


def request_from_flags(flags: dict[str, Any]) -> Request:
    """Read the command line and every file it names; takes what it reads out of `flags`.

    Raises:
        LlmDitError: For whatever is wrong, before any model is looked at.
    """
    experiment = _experiment(flags)
    categories, ids = _names(flags.pop("categories")), _names(flags.pop("ids"))
    prompts_file = flags.pop("prompts_file") or PROMPT_SETS[experiment.prompt_set]
    prompts = select_prompts(
        read_prompts(prompts_file), categories=categories, ids=ids, max_prompts=flags.pop("max_prompts")
    )
    seeds, folder = flags.pop("seeds"), flags.pop("output_dir") / experiment.name
    given = {name for name in AXIS_PARAMETERS if flags.get(name) is not None}
    config = config_from_flags(flags)
    assert not flags, f"options that nothing reads: {flags}"
    overrides = {name: config.values[name] for name in given if name != "seed"}
    return Request(experiment, prompts, _seeds(seeds, config, is_flag="seed" in given), config, overrides, folder)


def _experiment(flags: dict[str, Any]) -> Experiment:
    """Return the experiment of `--experiment` or `--sweep`, under `--name`."""
    wanted, sweeps, name = flags.pop("experiment"), flags.pop("sweeps"), flags.pop("name")
    file = flags.pop("experiments_file")
    if bool(wanted) == bool(sweeps):
        raise LlmDitError("Give --experiment or --sweep, one of them; --list-experiments shows the experiments.")
    if sweeps:
        return experiment_from_sweeps(sweeps, name)
    experiment = find_experiment(wanted, load_experiments(file or PREDEFINED_EXPERIMENTS))
    if name and not is_name(name):
        raise LlmDitError(f"--name {name!r}: {NAME_RULE}", field="name")
    return replace(experiment, name=name) if name else experiment


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


def _seeds(text: str | None, config: Config, *, is_flag: bool) -> tuple[int, ...]:
    if text is None:
        seed = config.generation_values.get("seed")
        return (DEFAULT_SEED if seed is None else seed,)
    if is_flag:
        raise LlmDitError("Give --seeds or --seed, not both.", field="seed")
    try:
        return tuple(int(number) for number in parse_numbers(text, "--seeds"))
    except ValueError:
        raise LlmDitError(f"--seeds {text!r} is not a list of whole numbers; use for example 42,123 or 0..9.") from None
