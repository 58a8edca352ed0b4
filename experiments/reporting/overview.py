"""All experiments of a results folder in one table: date, question, size, verdict, and which level is best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.reporting.number_tables import Cell, NumberTable, number_cell, text_cell
from experiments.reporting.report_page import REPORT_FILE, best_of, headline_of, is_report_of
from experiments.stats.best import best_level, headline
from experiments.store.folder_state import folder_state
from experiments.store.result_store import ResultStore
from llm_dit.errors import LlmDitError, OutputError


@dataclass(frozen=True)
class Entry:
    """One experiment.

    Attributes:
        name: Of its folder.
        date: Day of its last command; empty where it is not known.
        question: What is asked.
        varies: What is varied.
        done: Finished pictures.
        planned: Pictures that commands asked for.
        verdict: The verdict in a line; empty without scores.
        best: The level that is found better by most, or that none is.
        problem: Why it can't be read; empty if it can.
    """

    name: str
    date: str = ""
    question: str = ""
    varies: str = ""
    done: int = 0
    planned: int = 0
    verdict: str = ""
    best: str = ""
    problem: str = ""


def overview_of(results: Path) -> list[Entry]:
    """Return the experiments of a folder, the latest first; what can't be read comes last.

    Raises:
        OutputError: If there is no such folder, or no experiment in it.
    """
    if not results.is_dir():
        raise OutputError(f"{results} does not exist; give the folder that holds folders of experiments.")
    folders = [path for path in sorted(results.iterdir()) if ResultStore.is_results(path)]
    if not folders:
        hint = f"; did you mean {results.parent}?" if ResultStore.is_results(results) else "."
        raise OutputError(f"{results} holds no experiments{hint}")
    entries = [_entry(folder) for folder in folders]
    return sorted(entries, key=lambda entry: (not entry.problem, entry.date), reverse=True)


def _entry(folder: Path) -> Entry:
    store = ResultStore(folder)
    try:
        manifest, records = store.manifest(), store.runs()
    except LlmDitError as error:
        return Entry(folder.name, problem=str(error))
    verdict, best = _verdict(folder, store)
    return Entry(
        folder.name,
        date=str(manifest.raw.get("updated", ""))[:10],
        question=manifest.description,
        varies=manifest.variable_name,
        done=sum(record.is_finished for record in records),
        planned=manifest.planned_count,
        verdict=verdict,
        best=best,
    )


def _verdict(folder: Path, store: ResultStore) -> tuple[str, str]:
    """Return verdict and best level: the report's where it is of what is there now, else from the numbers."""
    from experiments.metrics import METRICS
    from experiments.voting.vote_looks import analysed_with_votes

    report = folder / REPORT_FILE
    if is_report_of(report, folder_state(folder)):
        return headline_of(report), best_of(report)
    manifest = store.manifest()
    _records, analysis = analysed_with_votes(folder, manifest, store.runs(), METRICS)
    return headline(analysis), best_level(analysis)


def overview_table(entries: Sequence[Entry]) -> NumberTable:
    """Return the experiments as a table."""
    columns = ("date", "experiment", "question", "varies", "pictures", "of", "best level", "verdict")
    rows = tuple(
        (
            text_cell(entry.date),
            text_cell(entry.name),
            text_cell(entry.question),
            text_cell(entry.varies),
            number_cell(entry.done, 0) if not entry.problem else Cell(None, ""),
            number_cell(entry.planned, 0) if not entry.problem else Cell(None, ""),
            text_cell(entry.best),
            text_cell(entry.problem or entry.verdict),
        )
        for entry in entries
    )
    return NumberTable("overview", "Experiments", columns, rows)
