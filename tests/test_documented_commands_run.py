"""Every command of README.md, CONTRIBUTING.md and docs/ runs, or needs what is told here and a test machine lacks.

They run in one folder of their own with the embedded model, beside small results of the experiments that the pages
speak of. A command that draws is given a place of its own and what makes it small (`SMALL`: the same work on fewer,
smaller pictures); one that would take minutes all the same is given `--dry-run`. Words that stand for the reader's own
files are replaced by such files. tests/test_first_experiment.py runs the README's experiment as it stands.
"""

from __future__ import annotations

import importlib
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from test_documented_commands import NEEDED, ROOT, documented, words_of
from web_server import wait_until

from llm_dit.commands import COMMANDS, script

pytestmark = pytest.mark.slow  # some ninety commands

SMALL = ["--max-prompts", "2", "--steps", "1", "--width", "64", "--height", "64"]
NO_GPU, NO_WEIGHTS, NO_CLUSTER = "a GPU", "the real weights, or files of the reader's own", "a Ray cluster"
IS_THE_SUITE = "nothing: it is what runs this test, or a part of it"
LACKED = {
    "--device cuda": NO_GPU,
    "--config full": NO_GPU,
    "experiments/results/quantization": "a device with more than one arm; tests/experiments/running measures speed",
    "--measure-speed": "a device with more than one arm; tests/experiments/running measures speed",
    "speed_and_fidelity": NO_GPU,
    "bench_cluster": NO_GPU,
    "benchmarks.aims": NO_GPU,
    "full_size": NO_GPU,
    "Tongyi-MAI": NO_WEIGHTS,
    "z_image_turbo": NO_WEIGHTS,
    "style.safetensors": NO_WEIGHTS,
    "pick_score": NO_WEIGHTS,
    "metrics/examine.py": "minutes: tests/experiments/examination runs it on few pictures",
    "--metric brightness": "the metric that the page adds",
    "negative_prompt --max-prompts": "nothing: see test_the_experiment_that_a_page_adds",
    "negative_prompt --dry-run": "nothing: see test_the_experiment_that_a_page_adds",
    "--ray-address": NO_CLUSTER,
    "uv sync": "the package registry",
    "uv run pytest": IS_THE_SUITE,
    "make ": "nothing: CI runs what they start",
    "run_all": "minutes; CI times nothing, and every benchmark has a test of its parts",
    "write_reference": "nothing: it writes into the checkout what test_parameters compares",
    "web/server.py": "nothing: see test_the_page_comes_up",
    "experiments/vote.py experiments/results/long": "nothing: see test_the_page_comes_up",
    "experiments/vote.py experiments/results/hidden": "nothing: see test_the_page_comes_up",
    "experiments/vote.py experiments/results/shift_sweep": "nothing: see test_the_page_comes_up",
    "RESULTS_DIR --workers": "a minute for Ray; tests/experiments/cluster scores on workers",
}
"""A part of commands that are not run below, and what the machine of a test lacks for them."""
STANDS_FOR = {
    "RESULTS_DIR": "experiments/results/shift_sweep",
    "DIR": "experiments/results/grid",
    "DIR_A": "experiments/results/shift_sweep",
    "DIR_B": "experiments/results/again",
    "FILE": "mini",
    "FILE_OR_FOLDER": "mini",
}
"""Words of the pages for what a reader has."""
RESULTS = (
    "--experiment shift_sweep --prompt-set first --max-prompts 3 --steps 1",
    "--experiment shift_sweep --prompt-set first --max-prompts 3 --steps 2 --name again",
    "--experiment hidden_layer --prompt-set first --max-prompts 3 --steps 1",
    "--sweep shift=2.0,6.0 --sweep num_inference_steps=2,4 --prompt-category landscapes,animals --max-prompts 4"
    " --name grid",
)


def to_run() -> list[str]:
    """Return every command once that is not lacked for, drawing commands first."""
    commands = dict.fromkeys(command for _, command in documented())
    kept = [
        command
        for command in commands
        if not any(command == start or command.startswith(f"{start} ") for start in NEEDED)
        and not any(part in command for part in LACKED)
    ]
    return sorted(kept, key=lambda command: "run_ablation" not in command)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A reader's folder with results of the pages' experiments."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "mine.csv").write_text("prompt,category\n" + "".join(f"A red apple {n},things\n" for n in range(12)))
    shutil.copy(ROOT / "config.toml.example", folder / "config.toml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in RESULTS:
            small = ["--width", "64", "--height", "64", "--compute-metrics"]
            invoke("experiments/run_ablation.py", [*words.split(), *small])
        yield folder


def invoke(path: str, arguments: list[str]) -> str:
    name = next(name for name, file in COMMANDS.items() if file == path)
    done = CliRunner().invoke(script(name).main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", to_run())
def test_a_documented_command_runs(place, command):
    match words_of(command):
        case ["uv", "run", "python", "-m", module, *rest] | ["python", "-m", module, *rest]:
            run_module(module, rest)
        case ["uv", "run", path, *rest]:
            run_script(place, path, [STANDS_FOR.get(word, word) for word in rest])
        case ["llm-dit", name, *rest]:
            run_script(place, COMMANDS[name], rest)
        case _:
            pytest.fail(f"nothing runs {command!r}, and LACKED does not say why")


def run_module(module: str, arguments: list[str]) -> None:
    small = ["--size", "64x64", "--iterations", "1", "--warmup", "0", "--no-count-compilations"]
    named = [word for word in arguments if not re.fullmatch(r"--size|\d+x\d+|--variant|eager|compiled", word)]
    done = CliRunner().invoke(importlib.import_module(module).main, [*named, *small], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def run_script(place: Path, path: str, arguments: list[str]) -> None:
    if path == "experiments/run_ablation.py" and "--list" not in arguments[0]:
        # in a place of its own, not among the results of other sizes
        shutil.rmtree(place / "drawn", ignore_errors=True)
        takes_minutes = {"--until-decided", "--find-best", "--workers", "long_prompt_mode"} & {*arguments}
        added = [] if "--dry-run" in arguments else ["--dry-run"] if takes_minutes else SMALL
        arguments = [*arguments, *added, "--output-dir", "drawn"]
    if path in COMMANDS.values():
        assert invoke(path, arguments).strip(), "a command says what it did"
        assert [name for name in written_by(arguments) if not (place / name).exists()] == []
        return
    done = subprocess.run([sys.executable, str(ROOT / path), *arguments], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def written_by(arguments: list[str]) -> list[str]:
    return [arguments[index + 1] for index, word in enumerate(arguments) if word in ("-o", "--tables")]


@pytest.mark.parametrize(
    "command",
    [
        *(f"web/server.py {flags}".strip() for flags in ("", "--config config.toml")),
        "experiments/vote.py experiments/results/shift_sweep --no-open",
    ],
)
def test_the_page_comes_up(place, command):
    """As a process of its own, on a free port, until it is interrupted as a reader does."""
    path, *rest = command.split()
    port = free_port()
    with subprocess.Popen([sys.executable, str(ROOT / path), *rest, "--port", str(port)], cwd=place) as server:
        try:
            wait_until(lambda: server.poll() is not None or answers(port), 120)
            assert server.poll() is None, "it ended by itself; its message is above"
            assert "<html" in httpx.get(f"http://127.0.0.1:{port}/", follow_redirects=True).text
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(60) == 0


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", timeout=5, follow_redirects=True).is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("flags", [["--dry-run"], [*SMALL, "--output-dir", "drawn"]])
def test_the_experiment_that_a_page_adds(place, flags):
    page = (ROOT / "docs" / "add_an_experiment.md").read_text(encoding="utf-8")
    (entry,) = re.findall(r"^    negative_prompt:\n(?:      .*\n)+", page, re.MULTILINE)
    body = "".join(f"  {line[4:]}\n" for line in entry.splitlines())
    (place / "own.yaml").write_text(f"version: 1\nexperiments:\n{body}")
    told = invoke(
        "experiments/run_ablation.py", ["--experiments-file", "own.yaml", "--experiment", "negative_prompt", *flags]
    )
    assert "none" in told and "blurry" in told if flags == ["--dry-run"] else "4 images made" in told


def test_what_is_lacked_for_is_documented_and_no_command_is_forgotten():
    commands = [command for _, command in documented()]
    assert [part for part in LACKED if not any(part in command for command in commands)] == []
    assert len(to_run()) >= 45
