"""What one command of the lab asks for: its flags and the files they name, checked before any model is looked at.

The flags are declared here, since the page reads its requests with them too and shows them as a command.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from experiments.planning.axes import Axis, Experiment
from experiments.planning.comma_list import texts_of
from experiments.planning.design import (
    AXIS_PARAMETERS,
    DEFAULT_SEED,
    ENGINE_PARAMETERS,
    MODEL_VALUES,
    Plan,
    plan_experiment,
    select_prompts,
)
from experiments.planning.experiment_file import (
    NAME_RULE,
    PREDEFINED_EXPERIMENTS,
    find_experiment,
    is_name,
    load_experiments,
)
from experiments.planning.looks import LookWishes
from experiments.planning.margins import margins_and_plain
from experiments.planning.sweeps import experiment_from_sweeps, parse_numbers
from experiments.prompts import PROMPT_SETS, Prompt, read_prompt_list
from llm_dit.cli import config_from_flags, flags_from_values, parameter_options
from llm_dit.commands import command_words
from llm_dit.config import Config, load_config
from llm_dit.config_file import DEFAULT_PROFILE
from llm_dit.errors import LlmDitError
from llm_dit.parameters import PARAMETERS, ClusterSettings, EngineSettings, GenerationParams, MetricSettings

DEFAULT_OUTPUT = Path("experiments/results")
PARAMETER_GROUPS = (EngineSettings, GenerationParams, MetricSettings, ClusterSettings)
"""Whose parameters are flags of the lab."""
OPTIONS = (
    click.option("--experiment", metavar="NAME", help="Experiment to run; --list-experiments shows them."),
    click.option(
        "--sweep",
        "sweeps",
        multiple=True,
        metavar="PARAMETER=VALUES",
        help="An axis of your own: shift=1..6, num_inference_steps=6,9,12, or a list in brackets; several are crossed.",
    ),
    click.option(
        "--name", metavar="NAME", help="Name of the experiment's folder and files; for --sweep, or for a variant."
    ),
    click.option(
        "--experiments-file", type=click.Path(path_type=Path), metavar="FILE", help="Experiments of your own."
    ),
    click.option(
        "--prompt-set",
        type=click.Choice(list(PROMPT_SETS)),
        help="Another set of the project's prompts than the experiment's own; first is of the embedded model's world.",
    ),
    click.option(
        "--prompts-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Prompts of your own: .txt, .csv, .tsv, .json, .jsonl, .yaml, or a folder of .txt files.",
    ),
    click.option(
        "--wildcards",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Where NAME.txt is for __NAME__ in prompts; the folder wildcards beside the prompts by default.",
    ),
    click.option("--prompt-category", "categories", metavar="NAME[,NAME]", help="Prompts of these categories."),
    click.option("--prompt-ids", "ids", metavar="ID[,ID]", help="These prompts."),
    click.option(
        "--max-prompts",
        type=click.IntRange(min=1),
        metavar="N",
        help="At most so many prompts, taken in turn from each category.",
    ),
    click.option(
        "--primary",
        metavar="MEASURE",
        help="The measure that counts, such as image_reward; what the others show is exploratory.",
    ),
    click.option("--seeds", metavar="N[,N]", help=f"Seeds, such as 42,123 or 0..9. [default: {DEFAULT_SEED}]"),
    click.option(
        "--until-decided",
        metavar="MEASURE",
        help="Score while it runs, look after planned numbers of prompts, and stop each level that is decided.",
    ),
    click.option(
        "--find-best", metavar="MEASURE", help="The same without a baseline: levels worse than the leader drop out."
    ),
    click.option(
        "--margin",
        "margins",
        multiple=True,
        metavar="[MEASURE=]X",
        help="Largest difference of a measure that does not matter: a level within it is as good as the baseline. "
        "Without a name it is of the measure that decides, else of the one that counts.",
    ),
    click.option(
        "--futility/--no-futility",
        default=True,
        show_default=True,
        help="Stop levels that are not likely to be decided; without it, only those where nothing can come of it.",
    ),
    click.option(
        "--max-images", type=click.IntRange(min=1), metavar="N", help="Begin no look that takes more pictures in all."
    ),
    click.option(
        "--max-hours", type=click.FloatRange(min=0, min_open=True), metavar="H", help="Stop after so many hours."
    ),
    click.option(
        "--skip-unsupported",
        is_flag=True,
        help="Leave out, and name, the levels that this device can't do; without it they are refused.",
    ),
    click.option(
        "--output-dir",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        default=DEFAULT_OUTPUT,
        show_default=True,
        help="Folder of all results; the experiment gets a folder of its own in it.",
    ),
)


@dataclass(frozen=True)
class Request:
    """What one command asks for.

    Attributes:
        experiment: The question; axes that depend on the model are not filled in yet.
        prompts: The prompts chosen.
        seeds: The seeds.
        config: File and flags, in their precedence.
        overrides: Parameters of images and of the engine given as flags.
        folder: The experiment's results folder.
        told: What was read from a prompts file of the user's own; empty without one.
        primary: The measure that counts; None where nobody named one.
        margins: Measure to the largest difference of it that does not matter, for the analysis at the end.
        looks: Whether and how it is looked at while it runs.
        skips_unsupported: Leave out, and name, the levels that this device can't do.
    """

    experiment: Experiment
    prompts: tuple[Prompt, ...]
    seeds: tuple[int, ...]
    config: Config
    overrides: Mapping[str, Any]
    folder: Path
    told: str = ""
    primary: str | None = None
    margins: Mapping[str, float] = field(default_factory=dict)
    looks: LookWishes = field(default_factory=LookWishes)
    skips_unsupported: bool = False

    def plan(self) -> Plan:
        """Cross the experiment with prompts and seeds; reads the model's configuration only where an axis needs it."""
        experiment, model_values = self.experiment, MODEL_VALUES
        if any(axis.is_every_layer or self._asks_model_for_baseline(axis) for axis in experiment.axes):
            from experiments.planning.model_facts import read_model_facts

            facts = read_model_facts(self._settings_of_baseline())
            experiment = experiment.for_model(facts.hidden_layer_count)
            resolved = facts.resolved(self.config.generation("-"))
            model_values = {name: getattr(resolved, name) for name in MODEL_VALUES}
        defaults = {name: value for name, value in self.config.generation_values.items() if name not in self.overrides}
        return plan_experiment(
            experiment,
            self.prompts,
            self.seeds,
            defaults=defaults,
            overrides=self.overrides,
            model_values=model_values,
            engine=self.config.engine,
        )

    def _settings_of_baseline(self) -> EngineSettings:
        """Return the settings of the engine that fill in what depends on the model: of the baseline, else the first."""
        chosen = dict(self.experiment.fixed) | dict(self.overrides)
        for axis in self.experiment.axes:
            named = [level for level in axis.levels if level.name == self.experiment.baseline.get(axis.name)]
            for level in (named or axis.levels)[:1]:
                chosen |= level.parameters
        return self.config.engine.replaced(
            **{name: value for name, value in chosen.items() if name in ENGINE_PARAMETERS}
        )

    def _asks_model_for_baseline(self, axis: Axis) -> bool:
        """Return whether the level that an axis is compared with is the one that equals the model's own value."""
        return axis.name not in self.experiment.baseline and not MODEL_VALUES.keys().isdisjoint(axis.parameter_names)


def question_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that say what to run, on which prompts and seeds, and where results go."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def request_from_arguments(arguments: Sequence[str], config: Config) -> Request:
    """Read arguments as a terminal would hand them over, under a configuration that is loaded already.

    Raises:
        LlmDitError: For whatever is wrong, before any model is looked at.
    """
    try:
        flags = dict(_parser.make_context("run_ablation.py", list(arguments)).params)
    except click.ClickException as error:
        raise LlmDitError(error.format_message(), field="experiment") from None
    return request_from_flags(flags, config)


def request_from_flags(flags: dict[str, Any], base: Config | None = None) -> Request:
    """Read the command line and every file it names; takes what it reads out of `flags`.

    Args:
        flags: As click hands them over.
        base: A configuration that is read already, in place of the file that `flags` name.

    Raises:
        LlmDitError: For whatever is wrong, before any model is looked at.
    """
    experiment = _experiment(flags)
    categories, ids = texts_of(flags.pop("categories"), "--prompt-category"), texts_of(flags.pop("ids"), "--prompt-ids")
    own_file, wildcards = flags.pop("prompts_file"), flags.pop("wildcards")
    prompt_set = _prompt_set(flags, own_file) or experiment.prompt_set
    read = read_prompt_list(own_file or PROMPT_SETS[prompt_set], wildcards)
    prompts = select_prompts(read.prompts, categories=categories, ids=ids, max_prompts=flags.pop("max_prompts"))
    seeds, folder = flags.pop("seeds"), flags.pop("output_dir") / experiment.name
    primary, skips = flags.pop("primary"), flags.pop("skip_unsupported")
    looks, margins = _looks(flags, primary)
    given = {name for name in AXIS_PARAMETERS if flags.get(name) not in (None, ())}
    config = config_from_flags(flags, base)
    assert not flags, f"options that nothing reads: {flags}"
    overrides = {name: config.values[name] for name in given if name != "seed"}
    chosen_seeds = _seeds(seeds, config, is_flag="seed" in given)
    told = read.told if own_file else ""
    return Request(experiment, prompts, chosen_seeds, config, overrides, folder, told, primary, margins, looks, skips)


def _prompt_set(flags: dict[str, Any], own_file: Path | None) -> str | None:
    """Return the set that the command names; refuses one beside a file."""
    name: str | None = flags.pop("prompt_set")
    if name is not None and own_file is not None:
        raise LlmDitError(f"Give --prompt-set {name} or --prompts-file {own_file}, not both.", field="prompt_set")
    return name


def command_of(
    request: Request, arguments: Sequence[str], *, compute_metrics: bool, metrics: Sequence[str] = ()
) -> str:
    """Return the command that does in a terminal what `arguments` do under the request's configuration.

    The configuration's file is named where it is still what was read; every other value is a flag. Parameters that
    the experiment itself sets are left out, since a flag would win over them.

    Args:
        request: Read from `arguments` by `request_from_arguments`.
        arguments: Flags of `question_options` other than `--output-dir`.
        compute_metrics: Score the images afterwards.
        metrics: Names of the metrics to score by; all of them if empty.
    """
    config, output = request.config, request.folder.parent
    in_file = _values_in_file(config)
    file = [] if in_file is None else [f"--config={config.path}"]
    if in_file is not None and config.profile != DEFAULT_PROFILE:
        file.append(f"--profile={config.profile}")
    in_file = in_file or {}
    set_by_experiment = request.experiment.axis_parameters | set(request.experiment.fixed)
    if any(argument.startswith("--seeds=") for argument in arguments):
        set_by_experiment |= {"seed"}
    values = {
        name: value
        for name, value in config.values.items()
        if PARAMETERS[name].group in PARAMETER_GROUPS
        and name not in set_by_experiment
        and (name not in in_file or in_file[name] != value)
    }
    folder = [] if output == DEFAULT_OUTPUT else [f"--output-dir={output}"]
    scoring = [f"--metric={name}" for name in metrics] or ["--compute-metrics"] if compute_metrics else []
    words = [*arguments, *file, *flags_from_values(values), *folder, *scoring]
    return shlex.join([*command_words("ablate"), *words])


def _values_in_file(config: Config) -> Mapping[str, Any] | None:
    """Return what the configuration's file says now; None if naming it would bring in what was not read from it."""
    if config.path is None:
        return None
    try:
        values = load_config(config.path, None if config.profile == DEFAULT_PROFILE else config.profile).values
    except LlmDitError:  # changed since it was read: flags say it all
        return None
    return values if values.keys() <= config.values.keys() else None


@click.command()
@question_options
@parameter_options(*PARAMETER_GROUPS)
def _parser(**_flags: Any) -> None:
    """Read arguments; never called."""


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


def _looks(flags: dict[str, Any], primary: str | None) -> tuple[LookWishes, dict[str, float]]:
    """Read whether and how the experiment is looked at while it runs, and the margins of all other measures.

    A margin without a name is of the measure that decides, else of the one that counts.
    """
    measure, best = flags.pop("until_decided"), flags.pop("find_best")
    margins, margin = margins_and_plain(flags.pop("margins"))
    futility = flags.pop("futility")
    max_images, max_hours = flags.pop("max_images"), flags.pop("max_hours")
    if measure and best:
        raise LlmDitError("Give --until-decided or --find-best, not both.", field="find_best")
    decisive = measure or best
    of_decisive = margins.pop(decisive, margin) if decisive else None
    if decisive and margin not in (None, of_decisive):
        raise LlmDitError(f"--margin gives {decisive} two margins; leave one out.", field="margin")
    if not decisive and margin is not None and primary:
        if margins.setdefault(primary, margin) != margin:
            raise LlmDitError(f"--margin gives {primary} two margins; leave one out.", field="margin")
        margin = None
    wishes = LookWishes(decisive, bool(best), of_decisive or margin, futility, max_images, max_hours)
    if wishes.measure is None and wishes != LookWishes():
        raise LlmDitError(
            "--margin X, --no-futility, --max-images and --max-hours belong to --until-decided MEASURE or --find-best "
            "MEASURE; add one of them, or write --margin MEASURE=X for the analysis at the end."
        )
    return wishes, margins


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
