"""Results for other tools: one row per run as Parquet or CSV, and pictures in the folders that others read.

`imagefolder` is the layout of Hugging Face `datasets`: pictures beside `metadata.jsonl`, which names each one's file
and what is known of it. GenEval's is `<index>/metadata.jsonl` (the prompt) and `<index>/samples/0000.png` (its
pictures).

Sources: huggingface.co/docs/datasets/image_dataset (ImageFolder); Ghosh et al. 2023, github.com/djghosh13/geneval.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.exports.table_files import write_text
from experiments.planning.naming import safe_name
from experiments.store.summary import summary_rows
from llm_dit.errors import OutputError, unwritable

if TYPE_CHECKING:
    import pandas

    from experiments.store.manifest import Manifest
    from experiments.store.records import RunRecord

PROMPT_COLUMN = "prompt"
FILE_COLUMN = "file_name"
SAMPLE_DIGITS = 4
INDEX_DIGITS = 5


def result_rows(manifest: Manifest, records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Return one row per run: the summary's columns, the prompt's text, what it must show, and what the model read."""
    known = {prompt.id: prompt for prompt in manifest.prompts}
    rows = []
    for row, record in zip(summary_rows(manifest, records), records, strict=True):
        listed = known.get(record.prompt_id)
        told = {
            PROMPT_COLUMN: record.prompt,
            "formatted_prompt": record.metadata.get("formatted_prompt"),
            "must_show": "; ".join(listed.must_show) if listed else "",
        }
        rows.append({**told, **row})
    return rows


def results_table(manifest: Manifest, records: Sequence[RunRecord]) -> pandas.DataFrame:
    """Return the rows as a typed table; a column that holds numbers and words holds words."""
    import pandas

    table = pandas.DataFrame(result_rows(manifest, records))
    for name in table.columns:
        kinds = {type(value) for value in table[name] if value is not None and value == value}
        if len(kinds - {int, float}) and len(kinds) > 1:
            table[name] = [None if value is None or value != value else str(value) for value in table[name]]
    return table


def write_parquet(path: Path, manifest: Manifest, records: Sequence[RunRecord]) -> Path:
    """Write one row per run as Parquet.

    Raises:
        OutputError: If the library is missing, or the file can't be written.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise OutputError(
            "Parquet needs pyarrow, which is not installed; `uv sync --extra parquet` brings it, or take --what "
            "results, which is CSV.",
            field="what",
        ) from None
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        results_table(manifest, records).to_parquet(partial, index=False)
        partial.replace(path)
    except OSError as error:
        raise unwritable(f"{path} can't be written", error, field="output") from None
    return path


def write_image_folder(folder: Path, manifest: Manifest, records: Sequence[RunRecord]) -> Path:
    """Write pictures with `metadata.jsonl`, as `datasets.load_dataset("imagefolder", data_dir=...)` reads them.

    Raises:
        OutputError: If it can't be written.
    """
    finished = [record for record in records if record.image_path is not None]
    lines = []
    for row, record in zip(result_rows(manifest, finished), finished, strict=True):
        assert record.image_path is not None
        name = f"images/{record.image_path.name}"
        place(record.image_path, folder / name)
        told = {name: value for name, value in row.items() if name not in ("output_path", "error")}
        lines.append({FILE_COLUMN: name, **told})
    write_text(folder / "metadata.jsonl", _json_lines(lines))
    return folder / "metadata.jsonl"


def write_geneval(folder: Path, manifest: Manifest, records: Sequence[RunRecord]) -> list[Path]:
    """Write each level's pictures as GenEval's own evaluation reads them: `LEVEL/<index>/samples/0000.png`.

    The prompts' order is the manifest's. A prompt's `metadata.jsonl` has its text and what its list said of it, such as
    GenEval's `tag` and `include`, which the evaluation needs.

    Raises:
        OutputError: If it can't be written.
    """
    known = {prompt.id: prompt for prompt in manifest.prompts}
    order = {name: index for index, name in enumerate(dict.fromkeys([*known, *(item.prompt_id for item in records)]))}
    folders = []
    for cell in manifest.combinations:
        own = [record for record in records if record.level == cell.name and record.image_path is not None]
        if not own:
            continue
        root = folder / safe_name(cell.name)
        folders.append(root)
        samples: dict[str, int] = {}
        for record in own:
            assert record.image_path is not None
            target = root / f"{order[record.prompt_id]:0{INDEX_DIGITS}}"
            number = samples.get(record.prompt_id, 0)
            samples[record.prompt_id] = number + 1
            place(record.image_path, target / "samples" / f"{number:0{SAMPLE_DIGITS}}.png")
            if number == 0:
                listed = known.get(record.prompt_id)
                details = {} if listed is None else listed.details
                told = {**_read_details(details), "prompt": record.prompt, "tag": details.get("tag", record.category)}
                write_text(target / "metadata.jsonl", _json_lines([told]))
    return folders


def _read_details(details: Mapping[str, str]) -> dict[str, Any]:
    """Return what a list said, its lists and objects as they were: GenEval's `include` is one."""
    read: dict[str, Any] = {}
    for name, text in details.items():
        is_block = text.startswith(("[", "{"))
        try:
            read[name] = json.loads(text) if is_block else text
        except ValueError:
            read[name] = text
    return read


def place(source: Path, target: Path) -> None:
    """Copy a picture, so that whatever is done with the copy, the result stays as it was.

    Raises:
        OutputError: If it can't be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copyfile(source, target)
    except OSError as error:
        raise unwritable(f"{target} can't be written", error, field="output") from None


def _json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    plain = (
        {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}
        for row in rows
    )
    return "".join(json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n" for row in plain)
