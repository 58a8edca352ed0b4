"""Command-line flags derived from the parameters, and errors as one sentence.

Imports neither torch nor any model code, so that `--help` answers at once.
"""

from __future__ import annotations

import functools
import itertools
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from llm_dit.collector import search_nothing_at_exit
from llm_dit.config import Config, load_config
from llm_dit.errors import InvalidParameter, LlmDitError, close_match
from llm_dit.output_streams import LastingStreams
from llm_dit.parameters import PARAMETERS, GenerationParams, Parameter, Parameters
from llm_dit.parameters.names import meant, not_here, other_count

USER_ERROR_EXIT_CODE = 2
TYPED_FLAGS = "llm_dit.typed_flags"
"""Key of click's context under which the flags stand as they were typed."""
Function = Callable[..., Any]


def user_errors(command: Function) -> Function:
    """Show an `LlmDitError` as one sentence on stderr, with the flag as it is typed, and exit with code 2.

    A command goes on where nobody reads what it prints.
    """

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        search_nothing_at_exit()
        streams = LastingStreams()
        show_warnings()
        try:
            result = command(*args, **kwargs)
        except LlmDitError as error:
            fail(error)
        except SystemExit as ending:
            if not ending.code:
                _end_unprinted(streams)
            raise
        _end_unprinted(streams)
        return result

    return wrapped


def _end_unprinted(streams: LastingStreams) -> None:
    """Exit with code 2 where standard output could not be written."""
    failure = streams.output_failure()
    if failure is not None:
        click.echo(f"Error: {failure}", err=True)
        sys.exit(USER_ERROR_EXIT_CODE)


def fail(error: LlmDitError) -> NoReturn:
    """Print `error` for the user and exit with code 2."""
    if isinstance(error, InvalidParameter) and error.label == error.field:
        error = error.named(_as_typed(error.field))
    click.echo(f"Error: {error}", err=True)
    sys.exit(USER_ERROR_EXIT_CODE)


def _as_typed(name: str) -> str:
    """Return the flag of a parameter or option as it stands on the command line, the long one where none does."""
    context = click.get_current_context(silent=True)
    if name == "prompt":
        return "The prompt"
    if name in PARAMETERS:
        typed = frozenset() if context is None else context.meta.get(TYPED_FLAGS, frozenset())
        return next((flag for flag in PARAMETERS[name].flags if flag in typed), PARAMETERS[name].flag)
    flag = "--" + name.replace("_", "-")
    return flag if context is not None and any(flag in item.opts for item in context.command.params) else name


def show_warnings() -> None:
    """Send the package's log to stderr, one plain line each."""
    logger = logging.getLogger("llm_dit")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        logger.addHandler(handler)


class Command(click.Command):
    """A command whose unknown options lead to the right ones, and whose `on`, `off`, `auto` options need no value.

    A bare `--compile` is `--compile on` and `--no-compile` is `--compile off`, so that neither takes the word after it.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does; say what an unknown option is called here."""
        ctx.meta[TYPED_FLAGS] = frozenset(word.partition("=")[0] for word in args)
        try:
            return super().parse_args(ctx, list(self._with_values(args)))
        except click.NoSuchOption as error:
            unknown = [error.option_name, *self._unknown_options(args, besides=error.option_name)]
            sentences = [f"{name} is not an option{self._option_hint(name)}" for name in unknown]
            raise click.UsageError(" ".join(sentences), ctx) from None

    def _flags(self) -> set[str]:
        return {flag for item in self.params for flag in (*item.opts, *item.secondary_opts) if flag.startswith("-")}

    def _unknown_options(self, args: Iterable[str], *, besides: str) -> list[str]:
        before_end = itertools.takewhile(lambda word: word != "--", args)
        names = [word.partition("=")[0] for word in before_end if re.match(r"--[A-Za-z]", word)]
        return [name for name in dict.fromkeys(names) if name not in {*self._flags(), besides}]

    def _option_hint(self, name: str) -> str:
        """Return the rest of the sentence: by meaning first, then by letters."""
        own = sorted(flag for flag in self._flags() if flag.startswith("--"))
        item = meant(name, [item for item in PARAMETERS.values() if item.flag in own])
        if item is not None:
            return f"; did you mean {item.flag}?{other_count(item, name)}"
        item = meant(name, PARAMETERS.values())
        if item is not None:
            return " of this command." if item.flag == name else f"; this command does not read {item.flag}."
        close = close_match(name, own)
        return not_here(name) or (f"; did you mean {close}?" if close else "; --help lists them all.")

    def _with_values(self, args: Sequence[str]) -> Iterator[str]:
        """Yield `args` with the values that three-way switches leave out."""
        switches = {item.flag: item for item in PARAMETERS.values() if {"on", "off"} <= set(item.choices)}
        off = {f"--no-{flag[2:]}": flag for flag in switches}
        own = self._flags()
        for index, word in enumerate(args):
            if word == "--":
                yield from args[index:]
                return
            if word in off and off[word] in own and word not in own:
                yield from (off[word], "off")
                continue
            yield word
            if word in switches and word in own and not self._is_value(switches[word], args[index + 1 : index + 2]):
                yield "on"

    def _is_value(self, parameter: Parameter, following: Sequence[str]) -> bool:
        """Say whether the word after a three-way switch is meant as its value: one of the choices, or nearly."""
        if not following or following[0].startswith("-"):
            return False
        takes_words = any(isinstance(item, click.Argument) for item in self.params)
        return not takes_words or close_match(following[0].lower(), parameter.choices) is not None


def parameter_options(
    *groups: type[Parameters], exclude: Iterable[str] = ("prompt",), include: Iterable[str] = ()
) -> Callable[[Function], Function]:
    """Add `--config`, `--profile` and one flag for each parameter of `groups` to a click command.

    `exclude` leaves parameters out, and `include` adds some of other groups. A flag that is not given arrives as None,
    so that the file's value stands.
    """
    left_out, added = frozenset(exclude), frozenset(include)
    chosen = [
        item
        for item in PARAMETERS.values()
        if (item.group in groups and item.name not in left_out) or item.name in added
    ]

    def decorate(command: Function) -> Function:
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
    """Return the flags that set parameters to `values`, as they are typed: `--steps=4`, `--no-vae-tiling`."""
    flags = []
    for name, value in values.items():
        flag = PARAMETERS[name].flag
        if PARAMETERS[name].kind == "switch":
            flags.append(flag if value else f"--no-{flag[2:]}")
        else:
            flags.append(f"{flag}={value}")
    return flags


def _option(parameter: Parameter) -> Callable[[Function], Function]:
    help_text = parameter.help
    if parameter.allowed:
        help_text += f" ({parameter.allowed})"
    if parameter.default not in (None, ""):
        shown = str(parameter.default).lower() if parameter.kind == "switch" else parameter.default
        help_text += f" [default: {shown}]"
    elif parameter.note.unset:
        help_text += f" [default: {parameter.note.unset}]"
    if parameter.kind == "switch":
        names = f"{parameter.flag}/--no-{parameter.flag[2:]}"
        return click.option(names, parameter.name, default=None, help=help_text)
    metavar = {"integer": "N", "number": "X", "choice": "NAME"}.get(parameter.kind, "TEXT")
    if parameter.note.several:
        return click.option(
            *parameter.flags, parameter.name, metavar=metavar, help=f"{help_text} May be repeated.", multiple=True
        )
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
    values = {name: value for name, value in given.items() if value not in (None, ())}
    for name, value in values.items():
        values[name] = _parsed(name, value)
    return config.replaced(values)


def _parsed(name: str, value: Any) -> Any:
    group = PARAMETERS[name].group
    companions: dict[str, Any] = {"prompt": "-"} if group is GenerationParams else {}
    if name == "max_text_tokens":
        companions["extend_rope"] = True
    return getattr(group.parse({**companions, name: value}), name)
