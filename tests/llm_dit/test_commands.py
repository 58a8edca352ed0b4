"""The command `llm-dit`: the same code as the scripts of a checkout."""

import re
import runpy
import sys

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from llm_dit.commands import COMMANDS, command_words, main, script
from llm_dit.home import home


def test_a_word_runs_the_main_of_its_file():
    files = {name: script(name).__file__ for name in COMMANDS}
    assert files == {name: str(home() / path) for name, path in COMMANDS.items()}


def test_help_lists_every_word_in_the_order_of_work():
    text = CliRunner().invoke(main, ["--help"]).output
    assert re.findall(r"^  ([a-z-]+)  ", text.partition("Commands:")[2], re.MULTILINE) == list(COMMANDS)


def test_everyscript_that_a_checkout_runs_has_a_word():
    commands = {
        path.relative_to(home()).as_posix()
        for folder in ("experiments", "web")
        for path in (home() / folder).rglob("*.py")
        if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
    }
    assert commands <= set(COMMANDS.values()) | {"experiments/metrics/selftest.py"}


def test_a_picture_of_the_command_is_that_of_the_script(tmp_path, monkeypatch):
    flags = ["A red apple", "--height", "64", "--width", "64", "--steps", "1", "--seed", "1", "--output"]
    assert CliRunner().invoke(main, ["generate", *flags, str(tmp_path / "command.png")]).exit_code == 0
    path = str(home() / "scripts" / "generate.py")
    monkeypatch.setattr(sys, "argv", [path, *flags, str(tmp_path / "script.png")])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(path, run_name="__main__")
    assert ended.value.code == 0
    pictures = [np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("command", "script")]
    np.testing.assert_array_equal(*pictures)


def test_an_unknown_word_is_refused_with_the_nearest():
    result = CliRunner().invoke(main, ["analyse", "results"])
    assert result.exit_code == 2
    assert "There is no command 'analyse'; did you mean 'analyze'?" in result.output


def test_a_shell_completes_the_words(monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "llm-dit sc")
    monkeypatch.setenv("COMP_CWORD", "1")
    result = CliRunner().invoke(main, [], prog_name="llm-dit", env={"_LLM_DIT_COMPLETE": "bash_complete"})
    assert result.output == "plain,score\n"


@pytest.mark.parametrize(("name", "words"), [("ablate", ["uv", "run", "experiments/run_ablation.py"])])
def test_a_checkout_is_told_itsscripts(name, words):
    assert command_words(name) == words


def test_an_installed_wheel_is_told_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr("llm_dit.commands.installed_apps", lambda: tmp_path)
    assert command_words("ablate") == ["llm-dit", "ablate"]
    assert isinstance(main, click.Group)
