"""Build the wheel, install it into an empty environment, and use it from another folder as its user would."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import click

from llm_dit.commands import COMMANDS

PROJECT = Path(__file__).resolve().parents[1]
LARGEST_MB = 60
SWEEP = ("--sweep", "shift=3,6", "--max-prompts", "1", "--height", "64", "--width", "64", "--steps", "1")
LONGEST_START_S = 120


@click.command()
def main() -> None:
    """Exit with 1 and the reason where the installed wheel does not do what the checkout does."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wheel = _built(folder / "dist")
        program = _installed(wheel, folder / "environment") / "llm-dit"
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        for word in COMMANDS:
            _run(elsewhere, program, word, "--help")
        _run(elsewhere, program, "generate", "A red apple on a wooden table", "--output", "apple.png")
        _run(elsewhere, program, "ablate", *SWEEP, "--compute-metrics", "--output-dir", "results")
        (report,) = elsewhere.glob("results/*/report.html")
        for word in ("score", "analyze", "report"):
            _run(elsewhere, program, word, report.parent)
        _run(elsewhere, program, "compare", report.parent, "-o", "sheet.png")
        _run(elsewhere, program, "export", report.parent, "-o", "paper")
        _run(elsewhere, program, "overview", report.parent.parent)
        _comes_up(elsewhere, program, "serve")
        _comes_up(elsewhere, program, "vote", report.parent, "--no-open")
        _run(elsewhere, program, "inspect", "mini")
        _keeps_names_free(elsewhere, program.with_name("python"))
    click.echo(f"{wheel.name} draws, runs an experiment and leaves the names experiments and web to others.")


def _built(folder: Path) -> Path:
    subprocess.run(["uv", "build", "--quiet", "--wheel", "--out-dir", str(folder)], check=True, cwd=PROJECT)
    (wheel,) = folder.glob("*.whl")
    megabytes = wheel.stat().st_size / 1e6
    click.echo(f"{wheel.name}: {megabytes:.1f} MB")
    if megabytes > LARGEST_MB:
        raise click.ClickException(f"The wheel has {megabytes:.1f} MB; {LARGEST_MB} are allowed.")
    return wheel


def _installed(wheel: Path, environment: Path) -> Path:
    """Install the wheel with its dependencies; return the folder of programs."""
    subprocess.run(["uv", "venv", "--quiet", str(environment)], check=True)
    python = str(environment / "bin" / "python")
    subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, str(wheel)], check=True)
    return environment / "bin"


def _run(folder: Path, *words: str | Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(list(map(str, words)), cwd=folder, env=environment, capture_output=True, text=True)
    click.echo(f"{' '.join(map(str, (Path(words[0]).name, *words[1:])))}: {done.returncode}")
    if done.returncode:
        raise click.ClickException(done.stdout + done.stderr)


def _comes_up(folder: Path, *words: str | Path) -> None:
    """Start a page on a free port, ask for it, and end it as its user would."""
    import httpx

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [*map(str, words), "--port", str(port)]
    ends = time.monotonic() + LONGEST_START_S
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as page:
        status = None
        while status is None and page.poll() is None and time.monotonic() < ends:
            try:
                status = httpx.get(f"http://127.0.0.1:{port}/", timeout=5, follow_redirects=True).status_code
            except httpx.TransportError:
                time.sleep(0.2)
        page.send_signal(signal.SIGINT)
        code = page.wait(LONGEST_START_S)
    click.echo(f"{' '.join([Path(command[0]).name, *command[1:-2]])}: page {status}, {code}")
    if (status, code) != (200, 0):
        raise click.ClickException(f"The page answered {status or 'nothing'} and ended with {code}.")


def _keeps_names_free(folder: Path, python: Path) -> None:
    code = "from importlib.util import find_spec as f; raise SystemExit(any(map(f, ('experiments', 'web', 'scripts'))))"
    _run(folder, python, "-c", code)


if __name__ == "__main__":
    main()
