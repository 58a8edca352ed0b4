"""The command `llm-dit`: each of its words runs the script of a checkout, the same file.

The engine knows lab and page by the names of their files alone; they are imported when their word is typed.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.metadata import version
from types import ModuleType
from typing import Final

import click

from llm_dit.errors import nearest
from llm_dit.home import home, installed_apps

COMMANDS: Final = {
    "generate": "scripts/generate.py",
    "ablate": "experiments/run_ablation.py",
    "score": "experiments/score.py",
    "measure-speed": "experiments/measure_speed.py",
    "analyze": "experiments/analyze.py",
    "report": "experiments/report.py",
    "export": "experiments/export.py",
    "overview": "experiments/overview.py",
    "compare": "experiments/compare.py",
    "vote": "experiments/vote.py",
    "examine": "experiments/metrics/examine.py",
    "serve": "web/server.py",
    "inspect": "scripts/inspect_model.py",
}
"""Word to the file whose `main` it runs."""


def command_words(name: str) -> list[str]:
    """Return how a user types a command of `COMMANDS` where this code runs."""
    return ["uv", "run", COMMANDS[name]] if installed_apps() is None else ["llm-dit", name]


class Scripts(click.Group):
    """A group that imports a command's file when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the words in the order of work."""
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command as click does; say which word is nearest where there is none."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"There is no command {args[0]!r}{nearest(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command of a word; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        command = script(cmd_name).main
        assert isinstance(command, click.Command)
        return command


def script(name: str) -> ModuleType:
    """Import the file of a word; its `main` is the command."""
    apps = str(home())
    if apps not in sys.path:
        sys.path.insert(0, apps)
        if installed_apps() is not None:  # processes that are started from here look there too
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [apps, os.environ.get("PYTHONPATH")]))
    path = home() / COMMANDS[name]
    spec = importlib.util.spec_from_file_location(f"llm_dit_command_{path.stem}", path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@click.group(cls=Scripts, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("llm-dit"), prog_name="llm-dit")
def main() -> None:
    """Draw pictures with Z-Image, and find out which setting makes better ones."""
