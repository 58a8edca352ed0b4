"""One image from the command line: `uv run scripts/generate.py "A red apple on a wooden table"`."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llm_dit.cli import Command, config_from_flags, parameter_options, user_errors
from llm_dit.collector import collector_paused
from llm_dit.errors import LlmDitError, OutputError
from llm_dit.parameters import PARAMETERS, EngineSettings, GenerationParams, RewriterSettings
from llm_dit.parameters.effects import without_effect
from llm_dit.placement.planned_work import PlannedWork
from llm_dit.placement.waiting_threads import let_waiting_threads_sleep
from llm_dit.prompting.templates import DEFAULT_REWRITER, Template, TemplateShelf

if TYPE_CHECKING:
    from llm_dit.config import Config
    from llm_dit.pipeline import StepInfo, ZImagePipeline

OUTPUT_FOLDER = Path("outputs")


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("words", nargs=-1, metavar="PROMPT")
@click.option("--prompt", metavar="TEXT", help="The prompt, instead of PROMPT.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="PNG to write; a new file in outputs/ by default.",
)
@click.option("--rewrite", is_flag=True, help="Let the text encoder's language model expand PROMPT first.")
@click.option("--rewriter", metavar="NAME", help="Rewriter template for --rewrite; templates/ holds them.")
@parameter_options(EngineSettings, GenerationParams, RewriterSettings, include=("templates_dir",))
@user_errors
@collector_paused()
def main(
    words: tuple[str, ...], prompt: str | None, output: Path | None, rewrite: bool, rewriter: str | None, **flags: Any
) -> None:
    """Draw PROMPT and print where the PNG is."""
    let_waiting_threads_sleep()
    config = config_from_flags(flags)
    prompt = _prompt(words, prompt)
    params = config.generation(prompt)
    path = _output_path(output, prompt)
    template = _rewriter_template(rewriter, config) if rewrite or rewriter else None
    settings = config.engine
    from llm_dit.image_io import write_png
    from llm_dit.pipeline import ZImagePipeline
    from llm_dit.placement.devices import require_devices

    require_devices(settings)
    planned = PlannedWork(params.num_inference_steps or 0, (params.height or 0) * (params.width or 0))
    pipeline = ZImagePipeline.from_pretrained(settings=settings, planned=planned)
    if template is not None:
        params = params.replaced(prompt=_rewritten(pipeline, prompt, template, config))
    for idle in without_effect(pipeline.resolve(params)):
        click.echo(f"Warning: {idle.sentence(PARAMETERS[idle.field].flag)}", err=True)
    result = pipeline.generate(params, on_step=_show_step)
    write_png(path, result.image, result.metadata)
    if params.seed is None:
        click.echo(f"seed {result.params.seed}", err=True)
    click.echo(path)


def _prompt(words: Sequence[str], named: str | None) -> str:
    """Return the one prompt of the command line."""
    given = [*words, *([] if named is None else [named])]
    if not given:
        raise LlmDitError('The prompt is missing; say what the image shows, such as "A red fox".', field="prompt")
    if len(given) > 1 and named is not None:
        raise LlmDitError(f"Give the prompt once: {given[0]!r} and --prompt {named!r} are two.", field="prompt")
    if len(given) > 1:
        raise LlmDitError(f'The prompt has to stand in quotes: "{" ".join(words)}".', field="prompt")
    return given[0]


def _output_path(output: Path | None, prompt: str) -> Path:
    """Choose the file's name, and find out before any work whether it can be written."""
    if output is None:
        output = OUTPUT_FOLDER / f"{datetime.now():%Y%m%d-%H%M%S-%f}-{_file_words(prompt)}.png"
    if output.suffix.lower() != ".png":
        raise OutputError(f"--output {output} is not a .png file; images are written as PNG.", field="output")
    if output.is_dir():
        raise OutputError(f"--output {output} is a folder; name a .png file in it.", field="output")
    folder = next(parent for parent in output.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise OutputError(f"--output {output} can't be written: {folder} is not a writable folder.", field="output")
    return output


def _file_words(prompt: str) -> str:
    """Return the beginning of a prompt as a part of a file name: letters and digits of any script, at most 40."""
    words = ""
    for character in unicodedata.normalize("NFC", prompt).lower():
        category = unicodedata.category(character)[0]
        is_mark = category == "M" and words[-1:] not in ("", "-")  # vowel signs, accents
        if category in "LN" or is_mark:
            words += character
        elif not words.endswith("-"):
            words += "-"
    return words.strip("-")[:40].strip("-") or "image"


def _rewriter_template(name: str | None, config: Config) -> Template:
    folder = config.server.templates_dir
    shelf = TemplateShelf(None if folder is None else Path(folder))
    return shelf.get("rewriter", name or DEFAULT_REWRITER)


def _rewritten(pipeline: ZImagePipeline, prompt: str, template: Template, config: Config) -> str:
    """Expand `prompt`, show the result on stderr and return it."""
    from llm_dit.stages.rewriter import rewrite

    text = rewrite(pipeline, prompt, template, config.rewriter, seed=config.generation_values.get("seed")).text.strip()
    if not text:
        raise LlmDitError(
            f"The rewriter wrote no prompt within {config.rewriter.max_tokens} tokens; raise --max-tokens or "
            "use another --rewriter."
        )
    click.echo(f"prompt: {text}", err=True)
    return text


def _show_step(info: StepInfo) -> None:
    if sys.stderr.isatty():
        end = "\n" if info.step == info.total else ""
        click.echo(f"\rstep {info.step}/{info.total}", nl=bool(end), err=True)


if __name__ == "__main__":
    main()
