"""Run the tests of engine and scorers on the oldest and on the newest versions that pyproject.toml allows.

Each set is installed into an environment of its own (several gigabytes with torch's CUDA libraries) and removed again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click

PROJECT = Path(__file__).resolve().parents[1]
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}
TESTS = ("tests/llm_dit", "tests/experiments/metrics")
PYTHONS = {"lowest": "3.11", "newest": "3"}
SHOWN = ("torch", "transformers", "tokenizers", "safetensors", "huggingface-hub", "numpy", "pillow", "pydantic")


@click.command()
@click.argument("which", type=click.Choice(list(RESOLUTIONS)), nargs=-1)
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Keep the environments here; used again where they are."
)
def main(which: tuple[str, ...], folder: Path | None) -> None:
    """Run the tests on WHICH versions, on both by default; exit with 1 if any fail."""
    with tempfile.TemporaryDirectory() as temporary:
        results = {name: _run(name, (folder or Path(temporary)) / name) for name in which or RESOLUTIONS}
    for name, (versions, is_passed) in results.items():
        click.echo(f"{name}: {'passed' if is_passed else 'FAILED'} with {versions}")
    sys.exit(not all(is_passed for _, is_passed in results.values()))


def _run(name: str, environment: Path) -> tuple[str, bool]:
    """Install one set of versions and run the tests; return its versions in words, and whether all passed."""
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run(["uv", "venv", "--python", PYTHONS[name], str(environment)], check=True)
    install = ["uv", "pip", "install", "--python", str(python), "--upgrade", "--resolution", RESOLUTIONS[name]]
    subprocess.run([*install, "--editable", ".", "--group", "dev"], check=True, cwd=PROJECT)
    code = f"from importlib.metadata import version; print(', '.join(f'{{n}} {{version(n)}}' for n in {SHOWN!r}))"
    versions = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    click.echo(f"{name}: {versions}")
    tests = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "slow or not slow", *TESTS]
    done = subprocess.run(tests, cwd=PROJECT, env={**os.environ, "HF_HUB_OFFLINE": "1"}, check=False)
    return versions, done.returncode == 0


if __name__ == "__main__":
    main()
