"""Scores that can't stand beside each other, and prompts that are none of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sample_results import CONDITIONS, axis, noisy_scores, sample_manifest, sample_plan, sample_prompts, sample_records

from experiments.metrics import METRICS
from experiments.planning.design import Plan
from experiments.prompts import get_all_prompt_texts
from experiments.stats.findings import Analysis, MeasureAnalysis, analyse
from experiments.stats.verdict import sentences
from experiments.store.manifest_json import manifest_from_values, manifest_values
from experiments.store.records import RunRecord

TWO_SHIFTS = (axis("shift", 3.0, 4.0),)


def reward_of(analysis: Analysis) -> MeasureAnalysis:
    return next(result for result in analysis.measures if result.measure.column == "image_reward")


def by(weights: str, record: RunRecord) -> RunRecord:
    return replace(record, scores_of={**record.scores_of, "image_reward": weights})


def test_a_level_scored_by_other_weights_does_not_beat_the_baseline() -> None:
    plan = sample_plan(axes=TWO_SHIFTS, baseline={"shift": "3.0"})
    records = sample_records(plan, noisy_scores({"4.0": 1.0}))
    alike = analyse(sample_manifest(plan), records, METRICS)
    assert "4.0 beats 3.0" in sentences(alike, reward_of(alike))[0]
    mixed = [by("new@1" if record.levels["shift"] == "4.0" else "old@1", record) for record in records]
    analysis = analyse(sample_manifest(plan), mixed, METRICS)
    result = reward_of(analysis)
    assert sentences(analysis, result)[0].startswith("Nothing can be compared with shift 3.0")
    assert result.notes[-1] == (
        "Scored by different weights, which can't be compared: new@1, old@1. Only the 12 scores of new@1 count here; "
        "score.py gives the other 12 anew."
    )


def test_of_mixed_scores_those_of_the_most_common_weights_count() -> None:
    plan = sample_plan(axes=TWO_SHIFTS, baseline={"shift": "3.0"})
    records = sample_records(plan, noisy_scores({"4.0": 1.0}))
    late = [by("old@1" if record.prompt_id.endswith(("010", "011")) else "new@1", record) for record in records]
    early = [record for record in records if not record.prompt_id.endswith(("010", "011"))]
    mixed, alone = (analyse(sample_manifest(plan), runs, METRICS) for runs in (late, early))
    assert reward_of(mixed).comparisons == reward_of(alone).comparisons
    assert reward_of(mixed).comparisons[0].prompts == 10
    assert not any("different weights" in note for note in reward_of(alone).notes)
    assert not any("different weights" in note for result in mixed.measures[1:] for note in result.notes)


def test_many_weights_are_named_up_to_five() -> None:
    plan = sample_plan(axes=TWO_SHIFTS)
    records = sample_records(plan, noisy_scores({}))
    mixed = [by("fedcba"[index % 6], record) for index, record in enumerate(records)]
    note = reward_of(analyse(sample_manifest(plan), mixed, METRICS)).notes[-1]
    assert note.startswith("Scored by different weights, which can't be compared: a, b, c, d, e and 1 more. Only the 4")


def test_an_embedded_scorer_of_another_models_pictures_is_told_beside_its_numbers() -> None:
    plan = sample_plan(axes=TWO_SHIFTS)
    records = [by("image-reward-mini@0123", record) for record in sample_records(plan, noisy_scores({}))]
    told = (
        "image-reward-mini knows the embedded model's world only, and these pictures were made by ./turbo: its numbers "
        "say nothing of them."
    )
    for model, expected in (("./turbo", (told,)), ("mini", ()), (None, ())):
        values = manifest_values(plan, CONDITIONS) | ({"model_path": model} if model else {})
        analysis = analyse(manifest_from_values(values, Path("manifest.json")), records, METRICS)
        assert reward_of(analysis).notes == expected
        assert all(told not in result.notes for result in analysis.measures[1:])


def test_the_embedded_model_outside_its_world_is_told_over_all_measures() -> None:
    inside = sample_prompts(12)
    long = [replace(prompt, text=text) for prompt, text in zip(inside, get_all_prompt_texts(), strict=False)]
    of_standard = "The embedded model knows a small world of its own, and 3 of the set standard among these 12 prompts"
    for prompts, model, is_told in (
        ([*long[:3], *inside[3:]], "mini", True),
        (long, "./turbo", False),
        (inside, "mini", False),
    ):
        plan = sample_plan(axes=TWO_SHIFTS, prompts=prompts)
        values = manifest_values(plan, CONDITIONS) | {"model_path": model}
        analysis = analyse(
            manifest_from_values(values, Path("manifest.json")), sample_records(plan, noisy_scores({})), METRICS
        )
        told = [note for note in analysis.notes if "mean nothing here" in note]
        assert [note.startswith(of_standard) for note in told] == [True] * is_told


def renamed(plan: Plan, records: list[RunRecord]) -> list[RunRecord]:
    """Give the second half of the prompts the texts of the first, with other spaces and capitals."""
    texts = {prompt.id: prompt.text for prompt in plan.prompts}
    names = list(texts)
    copied = {name: texts[names[index - 6]].upper().replace(" ", "  ") for index, name in enumerate(names) if index > 5}
    return [replace(record, prompt=copied.get(record.prompt_id, record.prompt)) for record in records]


def test_copies_of_a_prompt_count_as_one() -> None:
    plan = sample_plan(axes=TWO_SHIFTS, baseline={"shift": "3.0"})
    records = sample_records(plan, noisy_scores({"4.0": 0.05}))
    apart = analyse(sample_manifest(plan), records, METRICS)
    analysis = analyse(sample_manifest(plan), renamed(plan, records), METRICS)
    (found,) = reward_of(analysis).comparisons
    assert (found.prompts, found.pairs) == (6, 6)
    assert reward_of(apart).comparisons[0].prompts == 12
    assert analysis.notes[1].startswith("6 prompts repeat the text of another and count with it as one: ")
    assert not any("repeat" in note for note in apart.notes)
