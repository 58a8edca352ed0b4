"""What a model's file or folder holds: `uv run scripts/inspect_model.py z_image_turbo-Q4_K_M.gguf`."""

from __future__ import annotations

from pathlib import Path

import click

from llm_dit.cli import user_errors
from llm_dit.stages.inspection import inspect_model


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("path", type=click.Path(path_type=Path))
@user_errors
def main(path: Path) -> None:
    """Say what PATH is: layout, formats by layer, sizes, hash and what is missing, without reading its weights."""
    for line in inspect_model(path.expanduser()):
        click.echo(line)


if __name__ == "__main__":
    main()
