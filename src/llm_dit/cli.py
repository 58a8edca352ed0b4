"""Command-line flags derived from the parameters, and errors as one sentence.

Imports neither torch nor any model code, so that `--help` answers at once.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from llm_dit.config import Config, load_config
from llm_dit.errors import InvalidParameter, LlmDitError
from llm_dit.parameters import PARAMETERS, GenerationParams, Parameter, Parameters

USER_ERROR_EXIT_CODE = 2
Command = Callable[..., Any]


def user_errors(command: Command) -> Command:
    """Show an `LlmDitError` as one sentence on stderr, with the flag as it is typed, and exit with code 2."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        show_warnings()
        try:
            return command(*args, **kwargs)
        except LlmDitError as error:
            fail(error)

    return wrapped


def fail(error: LlmDitError) -> NoReturn:
    """Print `error` for the user and exit with code 2."""
    if isinstance(error, InvalidParameter) and error.field in PARAMETERS:
        parameter = PARAMETERS[error.field]
        error = error.named(parameter.flag if parameter.name != "prompt" else "The prompt")
    click.echo(f"Error: {error}", err=True)
    sys.exit(USER_ERROR_EXIT_CODE)


def show_warnings() -> None:
    """Send the package's log to stderr, one plain line each."""
    logger = logging.getLogger("llm_dit")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        logger.addHandler(handler)


def parameter_options(*groups: type[Parameters], exclude: Iterable[str] = ("prompt",)) -> Callable[[Command], Command]:
    """Add `--config`, `--profile` and one flag for each parameter of `groups` to a click command.

    A flag that is not given arrives as None, so that the file's value stands.
    """
    left_out = frozenset(exclude)
    chosen = [item for item in PARAMETERS.values() if item.group in groups and item.name not in left_out]

    def decorate(command: Command) -> Command:
        for parameter in reversed(chosen):
            command = _option(parameter)(command)
        command = click.option("--profile", metavar="NAME", help="Profile of the configuration file.")(command)
        return click.option(
            "--config",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Configuration file; config.toml.example lists every key.",
        )(command)

    return decorate


def flags_from_values(values: Mapping[str, Any]) -> list[str]:
    """Return the flags that set parameters to `values`, as they are typed: `--steps=4`, `--no-offload`."""
    flags = []
    for name, value in values.items():
        flag = PARAMETERS[name].flag
        if PARAMETERS[name].kind == "switch":
            flags.append(flag if value else f"--no-{flag[2:]}")
        else:
            flags.append(f"{flag}={value}")
    return flags


def _option(parameter: Parameter) -> Callable[[Command], Command]:
    help_text = parameter.help
    if parameter.allowed:
        help_text += f" ({parameter.allowed})"
    if parameter.default not in (None, ""):
        shown = str(parameter.default).lower() if parameter.kind == "switch" else parameter.default
        help_text += f" [default: {shown}]"
    if parameter.kind == "switch":
        names = f"{parameter.flag}/--no-{parameter.flag[2:]}"
        return click.option(names, parameter.name, default=None, help=help_text)
    metavar = {"integer": "N", "number": "X", "choice": "NAME"}.get(parameter.kind, "TEXT")
    return click.option(*parameter.flags, parameter.name, metavar=metavar, help=help_text)


def config_from_flags(flags: dict[str, Any], base: Config | None = None) -> Config:
    """Take `config`, `profile` and every parameter out of `flags`; return them in the fixed precedence.

    Args:
        flags: As click hands them over.
        base: A configuration that is read already, in place of the file that `flags` name.

    Raises:
        LlmDitError: If the file or a flag is not valid.
    """
    file, profile = flags.pop("config"), flags.pop("profile")
    config = load_config(file, profile) if base is None else base
    given = {name: flags.pop(name) for name in list(flags) if name in PARAMETERS}
    values = {name: value for name, value in given.items() if value is not None}
    for name, value in values.items():
        values[name] = _parsed(name, value)
    return config.replaced(values)


def _parsed(name: str, value: Any) -> Any:
    group = PARAMETERS[name].group
    companions: dict[str, Any] = {"prompt": "-"} if group is GenerationParams else {}
    if name == "max_text_tokens":
        companions["extend_rope"] = True
    return getattr(group.parse({**companions, name: value}), name)
