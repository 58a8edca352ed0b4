"""One results folder, exported: which kind is written where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.exports.data_sets import results_table, write_geneval, write_image_folder, write_parquet
from experiments.exports.table_files import write_tables, write_text
from experiments.store.result_store import ResultStore
from experiments.store.summary import harmless
from llm_dit.errors import OutputError

if TYPE_CHECKING:
    from experiments.stats.findings import Analysis
    from experiments.stats.questions.over_prompts import PromptNumbers
    from experiments.store.speeds import Speeds


def export(results: Path, output: Path, kinds: Sequence[str]) -> Iterator[Path]:
    """Write each kind, and yield the folder or file that it is in.

    Raises:
        OutputError: If there are no results, or something can't be written.
    """
    from experiments.voting.vote_scores import CountedVotes, with_votes

    if output.resolve() == results.resolve():
        raise OutputError(f"{output} holds the results themselves; give --output another folder.", field="output")
    store = ResultStore(results)
    manifest = store.manifest()
    records = with_votes(results, manifest, store.runs())
    if "figures" in kinds or "tables" in kinds:
        from experiments.metrics import METRICS
        from experiments.stats.findings import seen_now
        from experiments.stats.questions.over_prompts import numbers_over_prompts
        from experiments.store.speeds import read_speeds
        from experiments.voting.vote_looks import analysed_with_votes, note_look

        _records, analysis = analysed_with_votes(results, manifest, records, METRICS)
        prompts = numbers_over_prompts(manifest, records, METRICS) if "figures" in kinds else []
        speeds = read_speeds(results, manifest.conditions.hash) if "figures" in kinds else None
        yield from _of_analysis(analysis, speeds, prompts, output, kinds)
        store.note_analysis(seen_now(manifest, records, analysis, by="export.py"))
        note_look(results, CountedVotes(results, manifest, records), "export.py")
    if "results" in kinds:
        table = results_table(manifest, records).map(harmless)
        write_text(output / "results.csv", table.to_csv(index=False))
        yield output / "results.csv"
    if "parquet" in kinds:
        yield write_parquet(output / "results.parquet", manifest, records)
    if "dataset" in kinds:
        yield write_image_folder(output / "dataset", manifest, records).parent
    if "geneval" in kinds:
        yield from write_geneval(output / "geneval", manifest, records)


def tell_tracker(results: Path, tracker: str) -> str:
    """Tell a tracker of every level of an experiment; return a sentence that says where it is.

    Raises:
        OutputError: If there are no results, or the tracker is not installed or takes nothing.
    """
    from experiments.exports.tracking import check_tracker, track
    from experiments.metrics import METRICS
    from experiments.voting.vote_looks import analysed_with_votes

    check_tracker(tracker)
    store = ResultStore(results)
    manifest = store.manifest()
    return track(tracker, manifest, analysed_with_votes(results, manifest, store.runs(), METRICS)[1])


def _of_analysis(
    analysis: Analysis, speeds: Speeds | None, prompts: Sequence[PromptNumbers], output: Path, kinds: Sequence[str]
) -> Iterator[Path]:
    if "figures" in kinds:
        from experiments.exports.figures import write_figures
        from experiments.exports.prompt_figures import prompt_figures

        over_prompts = prompt_figures(prompts, " x ".join(analysis.axes), analysis.baseline)
        write_figures(output / "figures", analysis, speeds, over_prompts)
        yield output / "figures"
    if "tables" in kinds:
        from experiments.reporting.number_tables import measure_table

        write_tables(output / "tables", [measure_table(analysis, result) for result in analysis.measures])
        yield output / "tables"
