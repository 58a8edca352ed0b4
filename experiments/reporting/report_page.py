"""The report of an experiment, from its results folder to one HTML file.

One file that opens from disk without a network, beside its pictures or, as a bundle, alone. The template escapes every
text; the page's content policy runs no script but ours and loads nothing from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_dit.commands import command_words
from llm_dit.errors import OutputError, unwritable

if TYPE_CHECKING:
    from jinja2 import Template

    from experiments.reporting.plots import HeatMap, MeasurePlot
    from experiments.stats.findings import Analysis, MeasureAnalysis
    from experiments.stats.measures import Measure
    from experiments.store.analyses import PastAnalysis
    from experiments.store.manifest import Manifest
    from experiments.store.records import DamagedRecord, RunRecord
    from experiments.store.result_store import ResultStore
    from experiments.store.speeds import Speeds
    from experiments.voting.vote_scores import CountedVotes
    from experiments.voting.vote_sentences import VoteReport

REPORT_FILE = "report.html"
ASSETS = Path(__file__).parent / "assets"
HEAD_CHARACTERS = 4096
"""In which a report says its headline."""
SCRIPTS = (
    *("grid.js", "keeping.js", "viewer.js", "crossing.js", "pairs.js", "behind.js"),
    *("sign_flips.js", "power.js", "answers.js", "correlations.js", "sentences.js", "caveats.js", "overall.js"),
    *("prompt_plots.js", "asking_links.js", "asking.js"),
)
VOTING_SCRIPT = "votes.js"
STYLES = ("report.css", "votes.css")
MOST_FAILURES_LISTED = 10
WORD_ENDS = re.compile(r"([_/=,:-])(?=\S)")
"""Behind them a long name may go on in the next line."""


@dataclass(frozen=True)
class MeasureView:
    """What the template shows of one measure."""

    measure: Measure
    standing: str
    better: str
    sentences: list[str]
    notes: tuple[str, ...]
    plot: MeasurePlot
    axis_plots: list[tuple[str, MeasurePlot]]
    heat_maps: list[HeatMap]


def write_report(
    folder: Path,
    *,
    bundle: bool = False,
    output: Path | None = None,
    by: str = "report.py",
    tell: Callable[[str], None] = lambda _sentence: None,
    store: ResultStore | None = None,
) -> Path:
    """Write the report of a results folder, and keep in its manifest that the results were analysed.

    Args:
        folder: The experiment's folder.
        bundle: True to embed the pictures.
        output: The bundle's file; `report.html` in `folder` by default, and always for what is not a bundle.
        by: What shows the report, for the manifest.
        tell: Called with a sentence where the manifest can't be written.
        store: The folder as this process has read it before; it reads again what has changed since.

    Returns:
        The file written.

    Raises:
        OutputError: If `folder` holds no experiment or can't be written.
    """
    from experiments.store.result_store import ResultStore
    from experiments.voting.vote_looks import note_look
    from llm_dit.atomic_file import write_atomically

    if output is not None and not bundle:
        raise OutputError("--output needs --bundle: without it the report refers to the pictures beside it.")
    store = store or ResultStore(folder)
    page = _page_of(store, by, bundle=bundle)
    path = output or folder / REPORT_FILE
    try:
        write_atomically(path, page.text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise unwritable(f"{path} can't be written", error) from None
    for problem in (store.note_analysis(page.seen), note_look(folder, page.votes, by)):
        if problem is not None:
            tell(problem)
    return path


@dataclass(frozen=True)
class _Page:
    """A report's text, what was seen by it, and the votes that it counts."""

    text: str
    seen: PastAnalysis
    votes: CountedVotes


def _page_of(store: ResultStore, by: str, *, bundle: bool) -> _Page:
    """Read and analyse a folder, make what thumbnails it lacks meanwhile, and lay all out."""
    from experiments.metrics import METRICS
    from experiments.reporting.question_data import question_data
    from experiments.reporting.report_data import grid_data
    from experiments.reporting.thumbnails import MOST_SECONDS, data_uris, make_thumbnails
    from experiments.stats.findings import analyse, seen_now
    from experiments.store.folder_state import folder_state
    from experiments.voting.vote_looks import corrected_for_looks
    from experiments.voting.vote_scores import CountedVotes
    from experiments.voting.vote_sentences import vote_report

    folder = store.folder
    made_from, manifest = folder_state(folder), store.manifest()
    records = store.runs()
    votes = CountedVotes(folder, manifest, records)
    records = votes.scored(records)
    with ThreadPoolExecutor(1) as beside:  # pictures are made on the cores that the analysis leaves idle
        making = beside.submit(make_thumbnails, folder, records, math.inf if bundle else MOST_SECONDS)
        analysis = corrected_for_looks(analyse(manifest, records, METRICS), votes)
        thumbnails = making.result()
    speeds, unread = _speeds(folder, manifest)
    left = thumbnails.sentence if thumbnails.left else ""
    damaged = [*_damages(store.damaged_runs(), thumbnails.problems), *filter(None, (unread, left))]
    pictures = data_uris(folder, records) if bundle else None
    grid = grid_data(manifest, records, analysis, unreadable=thumbnails.problems, pictures=pictures)
    grid |= {"questions": question_data(manifest, records, analysis), "folder": folder.as_posix()}
    grid |= {"analyze": command_words("analyze")}
    made_from = "" if damaged or bundle else f"{made_from} {_page_version()}"
    told = vote_report(votes, records, analysis)
    text = report_text(folder, manifest, records, analysis, speeds, grid, damaged, made_from, told)
    return _Page(text, seen_now(manifest, records, analysis, by=by), votes)


def _damages(damaged: Sequence[DamagedRecord], unreadable: Mapping[str, str]) -> list[str]:
    """Name the first runs that are not whole, and the first pictures that can't be read."""
    left_out = [f"Left out, since it is damaged: {found}." for found in damaged[:MOST_FAILURES_LISTED]]
    return left_out + [f"Damaged: {problem}." for problem in list(unreadable.values())[:MOST_FAILURES_LISTED]]


def report_text(
    folder: Path,
    manifest: Manifest,
    records: Sequence[RunRecord],
    analysis: Analysis,
    speeds: Speeds | None,
    grid: dict[str, Any],
    damaged: list[str],
    made_from: str = "",
    votes: VoteReport | None = None,
) -> str:
    """Return the page.

    Args:
        folder: What it names as the place of the results.
        manifest: The experiment.
        records: Its finished and failed runs.
        analysis: Its numbers.
        speeds: What was measured alone; None where nothing was.
        grid: See `experiments.reporting.report_data.grid_data`.
        damaged: Sentences on what can't be shown.
        made_from: What it is made from, so that it is not made again from the same; empty where it always is.
        votes: What the folder's votes say; None where there are none.
    """
    from experiments.metrics import BANDS_NOTE
    from experiments.stats.best import best_level, headline
    from experiments.stats.measures import TIME_COLUMN
    from experiments.stats.overall import overall_sentence

    views = [_view(analysis, result, records, votes) for result in analysis.measures]
    return _template().render(
        manifest=manifest,
        analysis=analysis,
        views=views,
        votes=votes,
        further_views=[view for view in views if not view.measure.is_main],
        headline=headline(analysis),
        overall=overall_sentence(analysis),
        made_from=made_from,
        best=best_level(analysis),
        is_unscored=bool(views) and all(view.measure.column == TIME_COLUMN for view in views),
        folder=folder.as_posix(),
        has_heat_maps=any(view.heat_maps for view in views),
        facts=_facts(manifest, records, analysis),
        failures=_failures(records),
        bands_note=BANDS_NOTE if any(view.measure.bands for view in views) else "",
        bundle_note=_bundle_note(grid),
        provenance=[*damaged, *_provenance(manifest)],
        **_costs(manifest, analysis, speeds),
        **_not_escaped(grid, has_votes=votes is not None),
    )


def _costs(manifest: Manifest, analysis: Analysis, speeds: Speeds | None) -> dict[str, Any]:
    """Return what the page shows of time and memory."""
    from experiments.reporting.frontier import MEMORY, frontiers_of
    from experiments.reporting.speed_table import speed_table
    from experiments.stats.speed_sentences import speed_sentences

    frontiers = frontiers_of(analysis, speeds)
    has_memory = any(plot.unit == MEMORY for plot in frontiers)
    names = manifest.variable_name, manifest.baseline_name
    return {
        "frontiers": frontiers,
        "has_memory": has_memory,
        "frontier_title": "Quality, time and memory" if has_memory else "Quality and time",
        "speed_table": None if speeds is None else speed_table(analysis, speeds),
        "speed_sentences": [] if speeds is None else speed_sentences(speeds, *names),
    }


def _not_escaped(grid: dict[str, Any], *, has_votes: bool) -> dict[str, str]:
    """Return our own files and escaped JSON, the only texts that the template does not escape."""
    from markupsafe import Markup

    from experiments.reporting.report_data import json_for_script

    scripts = (*SCRIPTS, VOTING_SCRIPT) if has_votes else SCRIPTS
    script = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in scripts)
    return {
        "style": Markup("\n".join((ASSETS / name).read_text(encoding="utf-8") for name in STYLES)),  # noqa: S704
        "script": Markup(script),  # noqa: S704
        "script_hash": _content_hash(script),
        "grid_json": Markup(json_for_script(grid)),  # noqa: S704
    }


def _template() -> Template:
    """Return the page's template with what it calls."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape

    environment = Environment(loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined)
    environment.globals["command_words"] = command_words
    environment.filters["at_words"] = lambda text: Markup(WORD_ENDS.sub(r"\1<wbr>", str(escape(text))))  # noqa: S704
    environment.filters["tojson_text"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.get_template("report.html.j2")


def headline_of(report: Path) -> str:
    """Return the line that a report says of itself; empty where there is no report, or none of a verdict."""
    return _told_in_head(report, "description")


def best_of(report: Path) -> str:
    """Return the level that a report says is best, or that none is; empty where it says nothing of it."""
    return _told_in_head(report, "best")


def overall_of(report: Path) -> str:
    """Return the sentence over all measures that a report says; empty where it has none."""
    return _told_in_head(report, "overall")


def is_report_of(report: Path, state: str) -> bool:
    """Return True if a report was made from what is there now, by this version's page, with all its thumbnails."""
    return _told_in_head(report, "made-from") == f"{state} {_page_version()}"


def _told_in_head(report: Path, name: str) -> str:
    try:
        with report.open(encoding="utf-8", errors="replace") as file:
            head = file.read(HEAD_CHARACTERS)
    except OSError:
        return ""
    found = re.search(rf'<meta name="{name}" content="([^"]*)">', head)
    return html.unescape(found[1]) if found else ""


def _page_version() -> str:
    """Return a hash of the page's template, style and scripts."""
    texts = (ASSETS / name for name in sorted(path.name for path in ASSETS.iterdir()))
    return hashlib.sha256(b"".join(path.read_bytes() for path in texts)).hexdigest()[:16]


def _content_hash(script: str) -> str:
    """Return what the page's content policy knows its one script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def _view(
    analysis: Analysis, result: MeasureAnalysis, records: Sequence[RunRecord], votes: VoteReport | None
) -> MeasureView:
    from experiments.examination.kept import examination_notes
    from experiments.reporting.plots import heat_map, measure_plot
    from experiments.stats.measures import VOTES
    from experiments.stats.verdict import sentences

    examined = examination_notes(records, result.measure.metric) if result.measure.is_main else ()
    of_votes = votes.all_notes if votes is not None and result.measure.column == VOTES.name else ()
    axis_plots = []
    for effect in result.main_effects:
        averaged = replace(result, levels=effect.levels, comparisons=effect.comparisons, margin=effect.margin)
        axis_plots.append((effect.axis, measure_plot(averaged, effect.baseline)))
    return MeasureView(
        measure=result.measure,
        standing=analysis.standing(result),
        better=result.measure.reading,
        sentences=sentences(analysis, result),
        notes=(*result.notes, *examined, *of_votes),
        plot=measure_plot(result, analysis.baseline),
        axis_plots=axis_plots,
        heat_maps=[heat_map(result, interaction) for interaction in result.interactions],
    )


def _speeds(folder: Path, manifest: Manifest) -> tuple[Speeds | None, str]:
    """Return what `measure_speed.py` found, and what is wrong with its file."""
    from experiments.store.speeds import read_speeds

    try:
        return read_speeds(folder, manifest.conditions.hash), ""
    except OutputError as error:
        return None, str(error)


def _facts(manifest: Manifest, records: Sequence[RunRecord], analysis: Analysis) -> list[str]:
    prompts, seeds = {record.prompt_id for record in records}, {record.seed for record in records}
    facts = [
        _counted(analysis.finished, "picture"),
        _counted(len(manifest.combinations), "level"),
        _counted(len(prompts), "prompt"),
        _counted(len(seeds), "seed"),
        f"varies {manifest.variable_name}",
        f"baseline {manifest.baseline_name}",
    ]
    return [*facts, f"{analysis.failed} failed"] if analysis.failed else facts


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _failures(records: Sequence[RunRecord]) -> list[tuple[str, int]]:
    return Counter(record.error for record in records if record.error).most_common(MOST_FAILURES_LISTED)


def _bundle_note(grid: dict[str, Any]) -> str:
    from experiments.reporting.thumbnails import BUNDLED_IN_FULL, BUNDLED_PIXELS, THUMBNAIL_PIXELS

    pictures = grid["run"]["picture"]
    if pictures is None:
        return ""
    pixels = BUNDLED_PIXELS if sum(uri is not None for uri in pictures) <= BUNDLED_IN_FULL else THUMBNAIL_PIXELS
    return f"pictures in this file are at most {pixels} pixels wide or high"


def _provenance(manifest: Manifest) -> list[str]:
    """Return where the numbers come from: model, numerics, versions, time."""
    raw = manifest.raw
    versions = ", ".join(f"{name} {version}" for name, version in raw.get("versions", {}).items())
    numerics = ", ".join(f"{name} {value}" for name, value in manifest.conditions.numerics.items())
    model = f"Model fingerprint {manifest.conditions.fingerprint[:16]}"
    if "fingerprint" in manifest.conditions.varied:
        model = "Models as the levels say"
    lines = [f"{model}; {numerics}", versions]
    if "created" in raw and "updated" in raw:
        lines.append(f"Experiment begun {raw['created']}, last run {raw['updated']}")
    return [line for line in lines if line]
