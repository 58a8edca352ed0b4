"""The commands of README.md and docs/: each is one that this project, or what it names, has."""

from __future__ import annotations

import importlib
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from llm_dit.commands import COMMANDS, script

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
STARTS = ("uv ", "uvx ", "python ", "llm-dit ", "make ", "srun ", "kubectl ", "ray ", "curl ", "pip ", "apt-get ")
NEEDED = {
    "srun": "a Slurm cluster",
    "kubectl": "a Kubernetes cluster",
    "uvx": "the package registry",
    "uv tool": "the package registry",
    "uv pip": "the package registry",
    "pip": "the package registry",
    "apt-get": "the system's packages",
    "curl": "a page that is running; its requests are in tests/web/routes",
    "ray": "a Ray cluster; tests/experiments/cluster starts its own",
}
"""Beginning of a command that is not run, and what the machine of a test lacks."""


def documented() -> list[tuple[str, str]]:
    """Every command of an indented block, continued lines joined, with the page it stands on."""
    found = []
    for page in PAGES:
        text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))
        for line in re.findall(r"^ {4,}(\S.*)$", text, re.MULTILINE):
            command = re.split(r"\s{2,}", line)[0]  # what follows two spaces is a remark
            command = command.removeprefix("HF_HUB_OFFLINE=1 ")
            if command.startswith(STARTS):
                found.append((page.relative_to(ROOT).as_posix(), command))
    return found


def words_of(command: str) -> list[str]:
    return shlex.split(command, comments=True)


@pytest.mark.parametrize(("page", "command"), documented())
def test_a_documented_command_has_the_flags_it_is_given(page, command):
    words = words_of(command)
    if any(command == start or command.startswith(f"{start} ") for start in NEEDED):
        return
    match words:
        case ["uv", "run", "pytest", *rest] | ["uv", "run", "python", "-m", "pytest", *rest]:
            paths = [word for word in rest if "/" in word]
            assert [path for path in paths if not (ROOT / path.partition("::")[0]).exists()] == []
        case ["uv", "sync", *rest]:
            assert set(rest[1::2]) <= extras() if rest[:1] == ["--extra"] else set(rest) <= {"--compile-bytecode"}
        case ["make", target]:
            assert f"\n{target}:" in (ROOT / "Makefile").read_text(encoding="utf-8")
        case ["uv", "run", "python", "-m", module, *rest] | ["python", "-m", module, *rest]:
            parse(importlib.import_module(module).main, rest)
        case ["uv", "run", path, *rest] | ["python", path, *rest] if path.endswith(".py"):
            parse_script(path, rest)
        case ["llm-dit", name, *rest]:
            parse(script(name).main, rest)
        case _:
            pytest.fail(f"{page}: nothing tests {command!r}")


def extras() -> set[str]:
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"])


def parse_script(path: str, arguments: list[str]) -> None:
    name = next((name for name, file in COMMANDS.items() if file == path), None)
    if name is not None:
        parse(script(name).main, arguments)
    else:
        assert (ROOT / path).is_file()
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        if isinstance(getattr(module, "main", None), click.Command):
            parse(module.main, arguments)
        else:
            assert arguments == []


def parse(command: click.Command, arguments: list[str]) -> None:
    try:
        command.make_context(command.name, [word for word in arguments if word != "&"])
    except click.BadParameter as error:
        if "does not exist" not in error.format_message():  # as a folder or file does that stands for the reader's own
            raise


def test_the_quick_start_names_every_word_of_the_command():
    page = (ROOT / "docs" / "quick_start.md").read_text(encoding="utf-8")
    listed = page.partition("has a word for each script: ")[2].partition(". It is the same code")[0]
    assert re.findall(r"`([\w-]+)`", listed) == list(COMMANDS)


def test_commands_are_found_where_they_stand():
    found = documented()
    assert ("README.md", 'uv run scripts/generate.py "A red apple on a wooden table"') in found
    assert len(found) > 80
