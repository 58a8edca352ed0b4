"""The report of two folders beside each other: one file with the pictures in it, and its tables beside it.

It lies in neither folder, since it is of both: `pair.html`, `pair.csv` with a row a run, `pair.json` with the totals.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.reporting.report_page import MOST_FAILURES_LISTED, report_text
from llm_dit.errors import OutputError, unwritable

if TYPE_CHECKING:
    from experiments.store.manifest import Manifest
    from experiments.store.records import RunRecord
    from experiments.store.result_store import ResultStore

SUFFIX = ".html"


def pair_output(output: Path | None) -> Path:
    """Return where a report of two folders goes.

    Raises:
        OutputError: If nobody said where, or it is no page.
    """
    if output is None or output.suffix.lower() != SUFFIX:
        raise OutputError("The report of two folders lies in neither; say where by --output FILE.html.")
    return output


def write_pair_report(
    stores: Sequence[ResultStore],
    manifest: Manifest,
    records: Sequence[RunRecord],
    notes: Sequence[str],
    output: Path,
) -> tuple[Path, ...]:
    """Write the report and the tables of two folders, and keep in both that they were analysed.

    Args:
        stores: Both folders, the baseline first.
        manifest: Both as one experiment; see `experiments.stats.beside`.
        records: Their runs under its names.
        notes: What differs between the folders, and what was left out.
        output: Where the report goes, `pair_output`'s; the tables have its name.

    Returns:
        The files written.

    Raises:
        OutputError: If a file can't be written.
    """
    from experiments.metrics import METRICS
    from experiments.reporting.report_data import grid_data
    from experiments.stats.beside import note_analysis
    from experiments.stats.findings import analyse, seen_now
    from experiments.store.summary import summarize, summary_csv
    from llm_dit.atomic_file import write_atomically

    unreadable, pictures = _pictures(records)
    named = [replace(record, run_id=f"{record.level}: {record.run_id}") for record in records]
    analysis = analyse(manifest, named, METRICS)
    analysis = replace(analysis, notes=(*notes, *analysis.notes))
    problems = {name.run_id: unreadable[index] for index, name in enumerate(named) if index in unreadable}
    grid = grid_data(manifest, named, analysis, unreadable=problems, pictures=pictures)
    damaged = [f"Damaged: {problem}." for problem in list(problems.values())[:MOST_FAILURES_LISTED]]
    texts = {
        SUFFIX: report_text(stores[1].folder, manifest, named, analysis, None, grid, damaged),
        ".csv": summary_csv(manifest, named),
        ".json": json.dumps(summarize(manifest, named).values, indent=2, allow_nan=False) + "\n",
    }
    written = []
    for suffix, text in texts.items():
        path = output.with_suffix(suffix)
        try:
            write_atomically(path, text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise unwritable(f"{path} can't be written", error) from None
        written.append(path)
    for problem in note_analysis(stores, seen_now(manifest, records, analysis, by="report.py")):
        raise OutputError(problem)
    return tuple(written)


def _pictures(records: Sequence[RunRecord]) -> tuple[Mapping[int, str], list[str | None]]:
    """Return the reasons for pictures that can't be read, and all pictures as data URIs, by the runs' places."""
    from experiments.reporting.thumbnails import data_uris, make_thumbnails

    unreadable: dict[int, str] = {}
    pictures: list[str | None] = [None] * len(records)
    places: dict[Path, list[int]] = {}
    for place, record in enumerate(records):
        if record.image_path is not None:
            places.setdefault(record.image_path.parent.parent, []).append(place)
    for folder, own in places.items():
        theirs = [records[place] for place in own]
        problems = make_thumbnails(folder, theirs, math.inf).problems
        for place, picture in zip(own, data_uris(folder, theirs), strict=True):
            pictures[place] = picture
            if (problem := problems.get(records[place].run_id)) is not None:
                unreadable[place] = problem
    return unreadable, pictures
