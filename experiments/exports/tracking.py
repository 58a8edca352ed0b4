"""An experiment in a tracker that people have: each level is a run, with what it sets and what was found of it.

A level is the same run however often it is told, so results that grow are told anew. Trackers take their address from
their own settings: `MLFLOW_TRACKING_URI`, `WANDB_MODE` and `WANDB_DIR`, `TRACKIO_DIR`.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from experiments.exports.table_files import csv_text
from experiments.reporting.number_tables import measure_table
from experiments.stats.verdict import sentences
from llm_dit.errors import OutputError

if TYPE_CHECKING:
    from experiments.stats.findings import Analysis
    from experiments.store.manifest import Manifest

KEY_TAG: Final = "llm_dit.level"
KEY_DIGITS: Final = 24
PATIENCE: Final = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""MLflow's own seven retries of two minutes keep a command waiting where nobody listens."""
MOST_PARAMETER_CHARACTERS: Final = 500


@dataclass(frozen=True)
class LevelRun:
    """A level as a tracker keeps it.

    Attributes:
        key: The same for the same level of the same experiment.
        name: The level's.
        parameters: What it was drawn with.
        metrics: `MEASURE/mean`, and of what is compared `MEASURE/difference`, `low`, `high`, `p_corrected`.
        tags: Of the experiment: what is varied, baseline, verdicts.
        tables: File name to its content; of the baseline alone.
    """

    key: str
    name: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    tables: Mapping[str, str]


def level_runs(manifest: Manifest, analysis: Analysis) -> list[LevelRun]:
    """Return one run per level."""
    resolved = {cell.cell.name: cell.parameters for cell in manifest.resolved}
    verdicts = {
        f"verdict.{result.measure.column}": " ".join(sentences(analysis, result))
        for result in analysis.measures
        if result.measure.is_main
    }
    tables = {f"{item.measure.column}.csv": csv_text(measure_table(analysis, item)) for item in analysis.measures}
    runs = []
    for cell in manifest.combinations:
        known = f"{manifest.name}\n{manifest.conditions.hash}\n{cell.name}"
        is_baseline = cell.name == manifest.baseline_name
        runs.append(
            LevelRun(
                key=hashlib.sha256(known.encode("utf-8", "surrogatepass")).hexdigest()[:KEY_DIGITS],
                name=cell.name,
                parameters={**cell.levels, **resolved.get(cell.name, {})},
                metrics=_metrics(analysis, cell.name),
                tags={
                    "varies": manifest.variable_name,
                    "is_baseline": str(is_baseline).lower(),
                    **(verdicts if is_baseline else {}),
                },
                tables=tables if is_baseline else {},
            )
        )
    return runs


def _metrics(analysis: Analysis, level: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for result in analysis.measures:
        column = result.measure.column
        summary = next(item for item in result.levels if item.level == level)
        if summary.estimate is not None:
            found |= {f"{column}/mean": summary.estimate.mean, f"{column}/n": float(summary.runs)}
        item = next((item for item in result.comparisons if item.level == level), None)
        if item is None or item.difference is None:
            continue
        told = {
            "difference": item.difference.mean,
            "low": item.difference.low,
            "high": item.difference.high,
            "p_corrected": item.p_holm,
        }
        found |= {f"{column}/{name}": value for name, value in told.items() if value is not None}
    return found


def track(tracker: str, manifest: Manifest, analysis: Analysis) -> str:
    """Tell a tracker of every level; return a sentence that says where.

    Args:
        tracker: One of `TRACKERS`.
        manifest: The experiment.
        analysis: Its numbers.

    Raises:
        OutputError: If the tracker is not installed, or takes nothing.
    """
    module = _imported(tracker)
    runs = level_runs(manifest, analysis)
    try:
        place = TRACKERS[tracker](module, manifest.name, runs)
    except _errors_of(tracker, module) as error:
        raise OutputError(f"{tracker} did not take the results: {error}", field="track") from None
    return f"{len(runs)} levels of {manifest.name} are in {tracker}: {place}"


def check_tracker(tracker: str) -> None:
    """Refuse a tracker that is not installed.

    Raises:
        OutputError: If it is not.
    """
    _imported(tracker)


def _imported(tracker: str) -> Any:
    try:
        return importlib.import_module(tracker)
    except ImportError:
        raise OutputError(
            f"--track {tracker} needs the package {tracker}, which is not installed; `uv sync --extra {tracker}` "
            "brings it.",
            field="track",
        ) from None


def _errors_of(tracker: str, module: Any) -> tuple[type[Exception], ...]:
    """Return what a tracker raises where it can't be reached or written."""
    own: dict[str, Callable[[], type[Exception]]] = {
        "mlflow": lambda: module.exceptions.MlflowException,
        "wandb": lambda: module.errors.Error,
    }
    return (OSError, *([own[tracker]()] if tracker in own else []))


def _tell_mlflow(mlflow: Any, experiment: str, runs: Sequence[LevelRun]) -> str:
    from mlflow.entities import Metric, Param, RunTag

    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    client = mlflow.MlflowClient()
    known = client.get_experiment_by_name(experiment)
    place = client.create_experiment(experiment) if known is None else known.experiment_id
    now = int(time.time() * 1000)
    for run in runs:
        found = client.search_runs([place], f"tags.`{KEY_TAG}` = '{run.key}'", max_results=1)
        own = found[0] if found else client.create_run(place, run_name=run.name, tags={KEY_TAG: run.key})
        client.log_batch(
            own.info.run_id,
            metrics=[Metric(name, value, now, 0) for name, value in run.metrics.items()],
            params=[Param(name, str(value)[:MOST_PARAMETER_CHARACTERS]) for name, value in run.parameters.items()],
            tags=[RunTag(name, text) for name, text in run.tags.items()],
        )
        for name, text in run.tables.items():
            client.log_text(own.info.run_id, text, f"tables/{name}")
        client.set_terminated(own.info.run_id)
    return f"{mlflow.get_tracking_uri()} (experiment {experiment})"


def _tell_wandb(wandb: Any, experiment: str, runs: Sequence[LevelRun]) -> str:
    for run in runs:
        own = wandb.init(
            project=experiment,
            id=run.key,
            name=run.name,
            config=dict(run.parameters),
            tags=["baseline"] if run.tags["is_baseline"] == "true" else [],
            notes="\n".join(text for name, text in run.tags.items() if name.startswith("verdict.")) or None,
            resume="allow",
            reinit="finish_previous",
            settings=wandb.Settings(silent=True),
        )
        own.log(dict(run.metrics))
        own.finish()
    return f"project {experiment}"


def _tell_trackio(trackio: Any, experiment: str, runs: Sequence[LevelRun]) -> str:
    for run in runs:
        trackio.init(project=experiment, name=run.name, config=dict(run.parameters), resume="allow", embed=False)
        trackio.log(dict(run.metrics))
        trackio.finish()
    return f"trackio show --project {experiment}"


TRACKERS: Final[Mapping[str, Callable[[Any, str, Sequence[LevelRun]], str]]] = {
    "mlflow": _tell_mlflow,
    "wandb": _tell_wandb,
    "trackio": _tell_trackio,
}
