"""What a plan will cost: runs, encodings, evaluations, disk and time. Counted where it can be, estimated where not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from experiments.planning.design import Plan
from experiments.planning.model_facts import ModelFacts
from experiments.running.loadings import Loadings, loadings_of
from experiments.running.plan_models import Facts, work_of_each
from experiments.running.worklist import Worklist
from experiments.store.records import RunRecord
from experiments.store.result_store import ResultStore
from llm_dit.checkpoints.finding import expanded, is_embedded_name, model_name
from llm_dit.parameters import EngineSettings
from llm_dit.placement.planned_work import PlannedWork
from llm_dit.prompting.chat_template import formatted_negative_prompt, formatted_prompt_from_params
from llm_dit.sampling.guidance import evaluation_count

BYTES_PER_PIXEL = 1.5
"""Of a PNG of a photograph-like picture; 3 is the most."""
METADATA_BYTES = 4096
TYPICAL_TEXT_TOKENS = 128
FLOPS_ON_CPU = 6e10
FLOPS_ON_GPU = 4e14
"""Floating-point operations a second that two cores and one large card reach; only for the first estimate."""
SAMPLED_RUNS = 50
"""Finished runs whose time is read for the estimate."""


@dataclass(frozen=True)
class Totals:
    """A plan in numbers.

    Attributes:
        runs: Images.
        levels: Combinations of levels.
        prompts: Prompts.
        seeds: Seeds.
        encodings: Distinct formatted prompts, negative ones included: forward passes of the text encoder.
        evaluations: Evaluations of the transformer, both branches of guidance counted.
        disk_bytes: Images and metadata, estimated.
        seconds: Time of drawing the runs that are left, estimated; loading left out.
        seconds_basis: Where the estimate comes from.
        loadings: What is loaded for them, how often, and for how long.
        memory: What stays on the cards and what is streamed; empty where that is not known or there is no card.
        on_disk: Runs that have their result already.
        stale: Runs whose file was made with other inputs, and which nothing but `--overwrite` makes again.
        to_do: Runs that the command makes.
    """

    runs: int
    levels: int
    prompts: int
    seeds: int
    encodings: int
    evaluations: int
    disk_bytes: float
    seconds: float
    seconds_basis: str
    loadings: Loadings
    memory: str
    on_disk: int
    stale: int
    to_do: int

    @property
    def all_seconds(self) -> float:
        """Time of loading and drawing together."""
        return self.loadings.seconds + self.seconds


def forecast(plan: Plan, facts: Facts, store: ResultStore, work: Worklist | None = None, *, looks: int = 1) -> Totals:
    """Count and estimate a plan.

    Args:
        plan: What is asked for.
        facts: Of its models.
        store: The folder it would run into.
        work: What is left to do; all of it where None.
        looks: Times that it is looked at while it runs, before each of which all settings have their turn.
    """
    texts: set[int] = set()
    for index, template in enumerate(plan.templates):
        for prompt in plan.prompts:
            texts.add(hash(formatted_prompt_from_params(plan.params(index, prompt, 0))))
        if facts[plan.settings[index]].scheduler.guidance_for(template) > 0:
            texts.add(hash(formatted_negative_prompt(template)))
    templates = [
        facts[settings].resolved(template) for settings, template in zip(plan.settings, plan.templates, strict=True)
    ]
    per_cell = [evaluation_count(template) for template in templates]
    pixels = [(template.height or 0) * (template.width or 0) for template in templates]
    repeats = len(plan.prompts) * len(plan.seeds)
    costs = [count * size for count, size in zip(per_cell, pixels, strict=True)]
    if work is None:
        cost, to_do = sum(costs) * repeats, plan.run_count
    else:
        cost_of = {cell.name: cost for cell, cost in zip(plan.cells, costs, strict=True)}
        cost, to_do = sum(cost_of[item.run.cell.name] for item in work.to_do), len(work.to_do)
    first, planned = plan.loading_order[0], work_of_each(plan, facts)
    sampled = _sampled(store, plan.loading_order)
    seconds, basis = _seconds(cost, facts[first], first, sampled)
    in_turn = plan.loading_order if work is None else [item.run.settings for item in work.to_do]
    return Totals(
        runs=plan.run_count,
        levels=len(plan.cells),
        prompts=len(plan.prompts),
        seeds=len(plan.seeds),
        encodings=len(texts),
        evaluations=sum(per_cell) * repeats,
        disk_bytes=repeats * sum(BYTES_PER_PIXEL * size + METADATA_BYTES for size in pixels),
        seconds=seconds,
        seconds_basis=basis,
        loadings=loadings_of(list(in_turn) * looks, sampled, planned),
        memory="; ".join(dict.fromkeys(filter(None, (_memory(settings, planned) for settings in plan.loading_order)))),
        on_disk=0 if work is None else work.finished,
        stale=0 if work is None else len(work.stale),
        to_do=to_do,
    )


def _sampled(store: ResultStore, used: Sequence[EngineSettings]) -> list[RunRecord]:
    """Return some finished runs of the folder with models of the plan."""
    paths = {settings.model_path for settings in used}
    names = {*paths, *(model_name(path) for path in paths)}  # records of earlier versions hold the path
    return [run for run in islice(store.some_runs(), SAMPLED_RUNS) if run.metadata.get("model_path") in names]


def _seconds(
    work: float, facts: ModelFacts, settings: EngineSettings, sampled: Sequence[RunRecord]
) -> tuple[float, str]:
    """Estimate from finished runs in the folder, else from the model's size.

    Args:
        work: Sum of evaluations x pixels.
        facts: Of the model.
        settings: Where it runs.
        sampled: Finished runs of the folder.
    """
    timed = [record for record in sampled if record.taken_seconds and record.metadata.get("evaluations")]
    usual = [record for record in timed if not record.is_warm_up] or timed
    if usual:  # together: images that share an encoding or an evaluation take less than the one that made it
        rate = math.fsum(record.taken_seconds for record in usual) / math.fsum(map(_work_of, usual))
        return work * rate, f"from {len(usual)} finished runs in this folder"
    tokens_per_pixel = 1 / 256
    flop = 2 * facts.transformer_parameters * (work * tokens_per_pixel)
    share_of_text = 1 + TYPICAL_TEXT_TOKENS / (facts.native_size**2 * tokens_per_pixel)
    on_gpu = is_on_gpu(settings)
    speed = FLOPS_ON_GPU if on_gpu else FLOPS_ON_CPU
    return flop * share_of_text / speed, f"a guess from the model's size, on a {'GPU' if on_gpu else 'CPU'}"


def _work_of(record: RunRecord) -> float:
    image = record.metadata["image"]
    return float(record.metadata["evaluations"] * image["width"] * image["height"])


def is_on_gpu(settings: EngineSettings) -> bool:
    """Return whether a model with these settings draws on a GPU of this machine, as far as is known without torch."""
    is_nvidia_here = Path("/proc/driver/nvidia/version").exists()
    return settings.dit_device.startswith("cuda") or (settings.dit_device == "auto" and is_nvidia_here)


def _memory(settings: EngineSettings, planned: PlannedWork) -> str:
    """Say what loading will do with the cards of this machine; of a model on the hub nothing is fetched for that."""
    is_here = is_embedded_name(settings.model_path) or expanded(settings.model_path).exists()
    if not is_on_gpu(settings) or not is_here:
        return ""
    from llm_dit.stages.loading import memory_sentence

    return memory_sentence(settings, planned)
