"""What the page asks of the lab: a form or a JSON body -> arguments of `run_ablation.py`.

A request is put together as a command line and read by the lab's own parser, so that page and terminal understand the
same, and the page can show the command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llm_dit.errors import LlmDitError

TEXT_OPTIONS = {
    "experiment": "--experiment",
    "name": "--name",
    "prompt_set": "--prompt-set",
    "categories": "--prompt-category",
    "ids": "--prompt-ids",
    "max_prompts": "--max-prompts",
    "seeds": "--seeds",
    "primary": "--primary",
    "until_decided": "--until-decided",
    "find_best": "--find-best",
    "margin": "--margin",
    "max_images": "--max-images",
    "max_hours": "--max-hours",
    "workers": "--workers",
    "ray_address": "--ray-address",
}
"""Field of a request to the option of `run_ablation.py` that it fills."""
SWITCHES = ("skip_unsupported", "compute_metrics")
FIELDS = (*TEXT_OPTIONS, "sweeps", *SWITCHES, "metrics")


@dataclass(frozen=True)
class LabRequest:
    """What the page asks of the lab.

    Attributes:
        arguments: Arguments of `run_ablation.py`, without the results folder.
        compute_metrics: Score the images afterwards.
        metrics: Names of the metrics to score by; all of them if empty.
    """

    arguments: tuple[str, ...]
    compute_metrics: bool
    metrics: tuple[str, ...] = ()


def lab_request(values: Mapping[str, Any]) -> LabRequest:
    """Read what a form or a JSON body asks for.

    Args:
        values: `experiment`, or `sweeps` (lines of `parameter=values`); `name`, `prompt_set`, `categories`, `ids`,
            `max_prompts`, `seeds`, `primary`, `until_decided`, `find_best`, `margin`, `max_images`, `max_hours`,
            `workers`, `ray_address` (texts, empty for the default); `skip_unsupported` and `compute_metrics` (true or
            false); `metrics` (names with commas, empty for all).

    Raises:
        LlmDitError: If a value is not a text or, for a switch, not true or false, or a field or metric is unknown.
    """
    from experiments.metrics import METRICS, metric_named

    for name, value in values.items():
        if name not in FIELDS:
            raise LlmDitError(f"{name[:100]!a} is not a field; use {', '.join(FIELDS)}.", field=name)
        if name in SWITCHES:
            if not isinstance(value, bool | None):
                raise LlmDitError(f"{name} {str(value)[:100]!a} is not true or false.", field=name)
        elif not isinstance(value, str | int | None) or "\x00" in str(value) or not _is_unicode(str(value)):
            raise LlmDitError(f"{name} has to be a plain text.", field=name)
    arguments = []
    for name, option in TEXT_OPTIONS.items():
        text = str(values.get(name) or "").strip()
        if text:
            arguments.append(f"{option}={text}")
    sweeps = str(values.get("sweeps") or "").splitlines()
    arguments += [f"--sweep={line.strip()}" for line in sweeps if line.strip()]
    arguments += ["--skip-unsupported"] if values.get("skip_unsupported") else []
    names = [name.strip() for name in str(values.get("metrics") or "").split(",") if name.strip()]
    chosen = {metric_named(name).name for name in names}
    is_all = len(chosen) == len(METRICS)
    metrics = () if is_all else tuple(metric.name for metric in METRICS if metric.name in chosen)
    return LabRequest(tuple(arguments), bool(values.get("compute_metrics")), metrics)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
