"""What a model's file or folder holds: `uv run scripts/inspect_model.py z_image_turbo-Q4_K_M.gguf`."""

from __future__ import annotations

import click

from llm_dit.checkpoints.finding import EMBEDDED_MODELS, expanded, is_embedded_name
from llm_dit.cli import user_errors
from llm_dit.stages.inspection import inspect_model


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("path")
@user_errors
def main(path: str) -> None:
    """Say what PATH is: layout, formats by layer, sizes, hash and what is missing, without reading its weights.

    PATH is a file, a folder, or the name of an embedded model: mini.
    """
    for line in inspect_model(EMBEDDED_MODELS / path if is_embedded_name(path) else expanded(path)):
        click.echo(line)


if __name__ == "__main__":
    main()
