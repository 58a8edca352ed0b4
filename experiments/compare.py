"""Draw an experiment's pictures side by side: `uv run experiments/compare.py RESULTS_DIR --mode grid -o grid.png`."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from experiments.planning.comma_list import texts_of
from experiments.planning.sweeps import parse_numbers
from llm_dit.cli import Command, user_errors
from llm_dit.errors import LlmDitError, OutputError, nearest, unwritable

if TYPE_CHECKING:
    from PIL.Image import Image

    from experiments.reporting.contact_sheet import Sheet
    from experiments.store.manifest import Manifest
    from experiments.store.records import RunRecord

MODES = ("grid", "side-by-side", "diff")
MODE_PIXELS = {"grid": 256, "side-by-side": 512, "diff": 384}
MOST_PROMPT_CHARACTERS = 200
MOST_HEAD_CHARACTERS = 120
MOST_CHARACTERS_NAMED = 8
logger = logging.getLogger(__name__)


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("results_dir", type=click.Path(path_type=Path))
@click.option("--mode", type=click.Choice(MODES), default="grid", show_default=True, help="What stands in the columns.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="PNG to write.")
@click.option(
    "--levels",
    multiple=True,
    metavar="A,B",
    help="Levels to show, may be repeated; all by default, the baseline and its neighbour side by side.",
)
@click.option("--prompt-ids", metavar="A,B", help="Prompts to show; all by default.")
@click.option("--seeds", metavar="N[,N]", help="Seeds to show, such as 42,123 or 0..9; all by default.")
@click.option("--max-rows", type=click.IntRange(min=1), metavar="N", help="Show at most so many rows.")
@click.option("--size", type=click.IntRange(32, 2048), metavar="PIXELS", help="Longest side of a picture.")
@user_errors
def main(
    results_dir: Path,
    mode: str,
    output: Path,
    levels: tuple[str, ...],
    prompt_ids: str | None,
    seeds: str | None,
    max_rows: int | None,
    size: int | None,
) -> None:
    """Write a labelled contact sheet of the experiment in RESULTS_DIR.

    grid shows prompts by levels; side-by-side shows two levels large; diff shows each level's absolute difference from
    the baseline, brightened to its own largest value.
    """
    path = write_comparison(
        results_dir,
        output,
        mode=mode,
        levels=levels,
        prompt_ids=texts_of(prompt_ids, "--prompt-ids"),
        seeds=parse_numbers(seeds, "--seeds") if seeds else [],
        max_rows=max_rows,
        cell_pixels=size or MODE_PIXELS[mode],
    )
    click.echo(path)


def write_comparison(
    folder: Path,
    output: Path,
    *,
    mode: str = "grid",
    levels: Sequence[str] = (),
    prompt_ids: Sequence[str] = (),
    seeds: Sequence[str] = (),
    max_rows: int | None = None,
    cell_pixels: int = 256,
) -> Path:
    """Write a contact sheet as PNG.

    Args:
        folder: The experiment's folder.
        output: The PNG file.
        mode: `grid`, `side-by-side` or `diff`.
        levels: Level names to show, also several with commas; all, or the baseline and its neighbour, where empty.
        prompt_ids: Prompts to show; all where empty.
        seeds: Seeds to show, as text; all where empty.
        max_rows: Most rows.
        cell_pixels: Longest side of a picture on the sheet.

    Raises:
        LlmDitError: If a name is unknown, nothing is left to show, or the file can't be written.
    """
    from experiments.reporting.contact_sheet import MOST_SIDE_PIXELS, draw_sheet, sheet_pixels
    from experiments.reporting.fonts import uncovered
    from experiments.store.result_store import ResultStore
    from llm_dit.atomic_file import write_atomically

    if output.suffix.lower() != ".png":
        raise OutputError(f"{output} is not a PNG's name; use {output.with_suffix('.png').name}.")
    store = ResultStore(folder)
    manifest, finished = store.manifest(), [record for record in store.runs() if record.image_path]
    names = _levels_shown(manifest, mode, levels)
    rows = _rows(manifest, finished, prompt_ids, seeds)[:max_rows]
    columns = len(names) + (mode != "grid")
    if max(sheet_pixels(len(rows), columns, cell_pixels)) > MOST_SIDE_PIXELS:
        raise OutputError(f"{len(rows)} rows of {cell_pixels} pixels are too many for one picture; use --max-rows.")
    sheet = _sheet(manifest, mode, names, rows, cell_pixels)
    if lacking := uncovered(sheet.texts()):
        logger.warning(
            "No font here has %s%s, which show as boxes; `uv sync --extra fonts` installs Noto Sans CJK and Emoji.",
            " ".join(lacking[:MOST_CHARACTERS_NAMED]),
            " and others" if len(lacking) > MOST_CHARACTERS_NAMED else "",
        )
    image = draw_sheet(sheet, cell_pixels=cell_pixels)
    content = io.BytesIO()
    image.save(content, "png")
    try:
        write_atomically(output, content.getvalue())
    except OSError as error:
        raise unwritable(f"{output} can't be written", error) from None
    return output


def _levels_shown(manifest: Manifest, mode: str, asked: Sequence[str]) -> list[str]:
    """Return the levels of the columns; the baseline first in the modes that compare with it."""
    known = list(dict.fromkeys(cell.name for cell in manifest.combinations))
    asked = [
        name for text in asked for name in ([text] if text in known else texts_of(text, "--levels"))
    ]  # names may hold commas
    for name in asked:
        if name not in known:
            raise LlmDitError(f"--levels {name} is not a level of {manifest.name}{nearest(name, known)}")
    if mode == "side-by-side":
        others = [name for name in known if name != manifest.baseline_name]
        chosen = list(asked) or [manifest.baseline_name, *others[:1]]
        if len(chosen) != 2:
            raise LlmDitError(
                f"--mode side-by-side shows two levels, and {len(chosen)} are chosen; name two by --levels, out of "
                f"{', '.join(known)}."
            )
        return chosen
    chosen = list(asked) or known
    if mode == "diff":
        return [manifest.baseline_name, *(name for name in chosen if name != manifest.baseline_name)]
    return chosen


def _rows(
    manifest: Manifest, finished: Sequence[RunRecord], prompt_ids: Sequence[str], seeds: Sequence[str]
) -> list[dict[str, RunRecord]]:
    """Return one row per prompt and seed: level name to its run."""
    from experiments.store.pair_scores import pairing_seed

    known = list(dict.fromkeys(record.prompt_id for record in finished))
    for name in prompt_ids:
        if name not in known:
            raise LlmDitError(f"--prompt-ids {name} has no pictures here{nearest(name, known)}")
    rows: dict[tuple[str, int], dict[str, RunRecord]] = {}
    for record in finished:
        if (not prompt_ids or record.prompt_id in prompt_ids) and (not seeds or str(record.seed) in seeds):
            row = rows.setdefault((record.prompt_id, pairing_seed(manifest, record)), {})
            row[manifest.level_name(record.levels)] = record
    if not rows:
        raise LlmDitError(
            "There is no finished picture to show with these prompts and seeds; name others by --prompt-ids and "
            "--seeds, or run the experiment's command again."
        )
    return list(rows.values())


def _sheet(
    manifest: Manifest, mode: str, levels: Sequence[str], rows: Sequence[dict[str, RunRecord]], cell_pixels: int
) -> Sheet:
    from experiments.reporting.contact_sheet import Sheet, fitted
    from experiments.reporting.short_names import distinct_names

    draw = {"grid": _plain_row, "side-by-side": _side_by_side_row, "diff": _difference_row}[mode]
    pictures, captions = [], []
    for row in rows:  # scaled row by row: whole pictures of a large experiment do not fit into memory
        drawn, texts = draw(levels, row)
        pictures.append([picture and fitted(picture, cell_pixels) for picture in drawn])
        captions.append(texts)
    shown = distinct_names([_full_name(manifest, name) for name in levels], MOST_HEAD_CHARACTERS)
    heads = [f"{manifest.variable_name} {name}" if index == 0 else name for index, name in enumerate(shown)]
    if mode == "side-by-side":
        heads.append("difference")
    if mode == "diff":
        heads = [heads[0], *(f"|{name} - {shown[0]}|" for name in shown[1:])]
    return Sheet(
        title=f"{manifest.name}: {mode}",
        columns=heads,
        rows=[_row_label(next(iter(row.values()))) for row in rows],
        pictures=pictures,
        captions=captions,
    )


def _full_name(manifest: Manifest, name: str) -> str:
    """Return a level's text in full where its name is a shortened one, on one line."""
    if len(manifest.axes) > 1:
        return name
    level = next(level for level in manifest.axes[0].levels if level.name == name)
    texts = [value for value in level.parameters.values() if isinstance(value, str)]
    return " ".join(texts[0].split()) if len(level.parameters) == len(texts) == 1 and "…" in name else name


def _row_label(record: RunRecord) -> str:
    prompt = " ".join(record.prompt.split())
    if len(prompt) > MOST_PROMPT_CHARACTERS:
        prompt = prompt[:MOST_PROMPT_CHARACTERS].rsplit(" ", 1)[0] + " …"
    return f"{record.prompt_id}, seed {record.seed}: {prompt}"


def _plain_row(levels: Sequence[str], row: dict[str, RunRecord]) -> tuple[list[Image | None], list[str]]:
    return [_picture(row.get(name)) for name in levels], [_scores(row.get(name)) for name in levels]


def _side_by_side_row(levels: Sequence[str], row: dict[str, RunRecord]) -> tuple[list[Image | None], list[str]]:
    pictures, captions = _plain_row(levels, row)
    picture, caption = _difference(pictures[1], pictures[0])
    return [*pictures, picture], [*captions, caption]


def _difference_row(levels: Sequence[str], row: dict[str, RunRecord]) -> tuple[list[Image | None], list[str]]:
    baseline = _picture(row.get(levels[0]))
    drawn = [_difference(_picture(row.get(name)), baseline) for name in levels[1:]]
    return [baseline, *(picture for picture, _ in drawn)], [_scores(row.get(levels[0])), *(text for _, text in drawn)]


def _difference(picture: Image | None, other: Image | None) -> tuple[Image | None, str]:
    from experiments.reporting.contact_sheet import difference

    if picture is None or other is None:
        return None, "not made"
    if picture.size != other.size:
        return None, f"sizes differ: {picture.width} x {picture.height} and {other.width} x {other.height}"
    shown, mean = difference(picture, other)
    return shown, "no difference" if mean == 0 else f"mean {mean:.1f} of 255"


def _picture(record: RunRecord | None) -> Image | None:
    from PIL import Image, UnidentifiedImageError

    if record is None or record.image_path is None:
        return None
    try:
        with Image.open(record.image_path) as image:
            return image.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise OutputError(f"{record.image_path} can't be read: {error}; make it again with --overwrite.") from None


def _scores(record: RunRecord | None) -> str:
    """Return a picture's main scores in one line."""
    from experiments.metrics import METRICS
    from experiments.stats.measures import number

    if record is None:
        return "not made"
    values = [
        (metric.title, number(record.scores.get(metric.name))) for metric in METRICS if metric.direction != "none"
    ]
    return ", ".join(f"{title} {value:.2f}" for title, value in values if value == value)


if __name__ == "__main__":
    main()
