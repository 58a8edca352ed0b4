"""Analyses of made-up scores of a sample plan."""

from __future__ import annotations

from sample_results import sample_manifest, sample_records

from experiments.metrics import METRICS
from experiments.stats.findings import Analysis, MeasureAnalysis, analyse


def analysed(plan, scores) -> Analysis:
    return analyse(sample_manifest(plan), sample_records(plan, scores), METRICS)


def measure(analysis: Analysis, column: str = "image_reward") -> MeasureAnalysis:
    return next(result for result in analysis.measures if result.measure.column == column)


def prompt_number(run) -> int:
    return int(run.prompt.id[-3:])
