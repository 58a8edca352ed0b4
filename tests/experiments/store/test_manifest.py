"""The manifest as it stands on disk, and the place it gives to a run by what the run shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from sample_results import CONDITIONS, STEPS, axis, sample_metadata, sample_plan, sample_prompts

from experiments.planning.axes import Axis, Level
from experiments.planning.design import Plan
from experiments.prompts import Prompt
from experiments.store.entries import SharedNames
from experiments.store.manifest import Manifest
from experiments.store.manifest_json import manifest_from_values, manifest_values
from experiments.store.records import RunRecord, record_from_metadata
from llm_dit.errors import OutputError
from llm_dit.parameters import GenerationParams

TWO_SHIFTS = axis("shift", 2.0, 3.0)
CAT = Prompt("cat", "animals", "easy", "A cat", ("a cat",))


def resolved_of(plan: Plan) -> dict[int, GenerationParams]:
    """What each combination resolves to where the model is 64 x 64."""
    return {
        index: plan.params(index, plan.prompts[0], 42).model_copy(update={"width": 64, "height": 64})
        for index in range(len(plan.cells))
    }


def manifest_of(plan: Plan, changes: Mapping[str, Any] | None = None) -> Manifest:
    values = json.loads(json.dumps(manifest_values(plan, CONDITIONS, resolved_of(plan))))
    return manifest_from_values({**values, **(changes or {})}, Path("manifest.json"))


def records_of(plan: Plan) -> list[RunRecord]:
    records = [record_from_metadata(sample_metadata(run, {}), Path("results")) for run in plan.runs()]
    assert None not in records
    return records  # type: ignore[return-value]


def with_parameters(record: RunRecord, **values: object) -> RunRecord:
    return replace(record, parameters={**record.parameters, **values})


# The file


def test_the_file_says_what_was_asked_and_what_each_level_resolved_to() -> None:
    plan = sample_plan(axes=[TWO_SHIFTS], prompts=[CAT], seeds=(1, 2), baseline={"shift": "2.0"}, name="trial")
    values = manifest_values(plan, CONDITIONS, resolved_of(plan))
    levels = [{"name": name, "parameters": {"shift": float(name)}} for name in ("2.0", "3.0")]
    assert values["format"] == 1
    assert values["experiment"] == {
        "name": "trial",
        "description": "What does it change?",
        "axes": [{"name": "shift", "levels": levels}],
        "baseline": {"shift": "2.0"},
        "named_baseline": {"shift": "2.0"},
        "fixed": {},
    }
    assert [cell["levels"] for cell in values["cells"]] == [{"shift": "2.0"}, {"shift": "3.0"}]
    assert [cell["parameters"]["shift"] for cell in values["cells"]] == [2.0, 3.0]
    assert values["cells"][0]["parameters"].keys() == GenerationParams.model_fields.keys() - {"prompt", "seed"}
    assert values["prompts"] == [asdict(CAT)]
    assert values["seeds"] == [1, 2]
    assert values["asked"] == [{"prompts": ["cat"], "seeds": [1, 2], "levels": {"shift": ["2.0", "3.0"]}}]
    assert values["conditions"] == {
        "hash": CONDITIONS.hash,
        "parameters": {"width": 64, "height": 64},
        "fingerprint": "f" * 64,
        "numerics": {"dtype": "float32", "device": "cpu"},
    }
    assert manifest_values(plan, CONDITIONS)["cells"] == []


def test_prompt_and_seed_stand_in_a_cell_that_sets_them_alone() -> None:
    own = Axis("text", (Level("photo", {"prompt": "A photo of {prompt}"}), Level("bare", {"shift": 2.0})))
    plan = sample_plan(axes=[own, axis("seed", 5)], prompts=[CAT])
    cells = manifest_values(plan, CONDITIONS, resolved_of(plan))["cells"]
    assert [(cell["parameters"].get("prompt"), cell["parameters"].get("seed")) for cell in cells] == [
        ("A photo of A cat", 5),
        (None, 5),
    ]


def test_what_was_written_is_read() -> None:
    plan = sample_plan(axes=[TWO_SHIFTS, STEPS], prompts=[CAT], seeds=(1, 2), name="trial")
    manifest = manifest_of(plan)
    assert (manifest.name, manifest.description) == ("trial", "What does it change?")
    assert (manifest.prompts, manifest.seeds, manifest.conditions) == ((CAT,), (1, 2), CONDITIONS)
    assert (manifest.variable_name, manifest.baseline_name) == ("shift x num_inference_steps", "3.0 x 9")
    assert manifest.baseline == {"shift": "3.0", "num_inference_steps": "9"}
    assert [cell.name for cell in manifest.combinations] == ["2.0 x 4", "2.0 x 9", "3.0 x 4", "3.0 x 9"]
    assert [entry.is_whole for entry in manifest.resolved] == [True] * 4
    assert manifest.level_name({"num_inference_steps": "4", "shift": "2.0"}) == "2.0 x 4"


def test_runs_that_several_commands_asked_for_are_planned_once() -> None:
    first = {"prompts": ["cat", "dog"], "seeds": [1], "levels": {"shift": ["2.0"]}}
    second = {"prompts": ["dog"], "seeds": [1, 2, 3], "levels": {"shift": ["2.0", "3.0"]}}
    manifest = manifest_of(sample_plan(axes=[TWO_SHIFTS], prompts=[CAT]), {"asked": [first, second]})
    assert manifest.planned_runs == {"2.0": 4, "3.0": 3}
    assert manifest.planned_count == 7


def test_a_file_that_does_not_say_what_was_asked_means_all_of_it() -> None:
    plan = sample_plan(axes=[TWO_SHIFTS], prompts=3, seeds=(1, 2))
    values = {name: value for name, value in manifest_values(plan, CONDITIONS).items() if name != "asked"}
    assert manifest_from_values(values, Path("manifest.json")).planned_runs == {"2.0": 6, "3.0": 6}


@pytest.mark.parametrize("form", [0, 2])
def test_a_file_of_another_version_is_refused_and_left(form: int) -> None:
    with pytest.raises(OutputError) as refused:
        manifest_of(sample_plan(), {"format": form})
    assert str(refused.value) == (
        f"manifest.json has format {form}, and this version reads 1; use the version of llm-dit that wrote it, or "
        "another folder."
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"prompts": [{"id": "cat"}]}, "'must_show'"),
        ({"seeds": 3}, "'int' object is not iterable"),
        ({"cells": [[]]}, "list indices must be integers or slices, not str"),
        ({"cells": [{"levels": []}]}, "'list' object has no attribute 'items'"),
    ],
)
def test_a_file_that_is_not_whole_names_what_is_wrong(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(OutputError) as refused:
        manifest_of(sample_plan(), changes)
    assert str(refused.value) == (
        f"manifest.json is not a whole manifest ({problem}); run the experiment's command again, which writes it anew."
    )


def test_primary_and_margins_of_a_manifest_are_whole_or_named() -> None:
    named = "2026-01-01T00:00:00+00:00"
    margins = {"ssim": {"margin": 0.5, "named": named}}
    whole = manifest_of(sample_plan(), {"primary": {"measure": "ssim", "named": named}, "margins": margins})
    assert (whole.primary, whole.margins) == ("ssim", {"ssim": 0.5})
    for changes, problem in (
        ({"primary": {"measure": "", "named": named}}, "the primary measure has no name"),
        ({"margins": {"ssim": {"margin": 0.0, "named": named}}}, "a margin is not above 0, or has no time"),
        ({"margins": {"ssim": {"margin": 0.5, "named": ""}}}, "a margin is not above 0, or has no time"),
    ):
        with pytest.raises(OutputError) as refused:
            manifest_of(sample_plan(), changes)
        assert f"is not a whole manifest ({problem})" in str(refused.value)


def test_a_baseline_that_is_no_level_makes_a_manifest_not_whole() -> None:
    experiment = manifest_values(sample_plan(), CONDITIONS)["experiment"]
    with pytest.raises(OutputError, match=r"not a whole manifest \(the baseline of shift is none of its levels\)"):
        manifest_of(sample_plan(), {"experiment": {**experiment, "baseline": {"shift": "7.0"}}})


# The place of a run


def test_a_run_with_a_value_that_no_parameter_has_is_placed_or_not_and_stops_nothing() -> None:
    plan = sample_plan(axes=[TWO_SHIFTS], prompts=[CAT])
    manifest, record = manifest_of(plan), records_of(plan)[0]
    assert manifest.place(record) is not None
    assert manifest.place(with_parameters(record, shift=[1, {}])) is None
    for values, placed in (({}, manifest.place(record)), ({"shift": [1, {}]}, None)):
        read = SharedNames().entries({**record.parameters, **values})
        assert manifest.place(replace(record, parameters=read)) == placed


def test_a_run_under_its_own_names_stays_itself() -> None:
    plan = sample_plan(axes=[TWO_SHIFTS, STEPS], prompts=2)
    records = records_of(plan)
    assert len(records) == 8
    for record in records:
        assert manifest_of(plan).place(record) is record


@pytest.mark.parametrize(
    "other",
    [
        {"prompt_id": "another"},
        {"category": "another"},
        {"difficulty": "another"},
        {"levels": {"shift": "another"}, "level": "another"},
        {"prompt_id": "a", "category": "b", "difficulty": "c", "levels": {"d": "e"}, "level": "e"},
    ],
)
def test_a_run_under_other_names_gets_those_of_what_it_shows(other: dict[str, Any]) -> None:
    plan = sample_plan(axes=[TWO_SHIFTS], prompts=2)
    record = records_of(plan)[3]
    assert manifest_of(plan).place(replace(record, **other)) == record


@pytest.mark.parametrize(
    "other", [{"fingerprint": "0" * 64}, {"numerics": {"dtype": "bfloat16", "device": "cpu"}}, {"numerics": {}}]
)
def test_a_run_of_another_model_or_other_numerics_has_no_place(other: dict[str, Any]) -> None:
    plan = sample_plan(axes=[TWO_SHIFTS])
    assert manifest_of(plan).place(replace(records_of(plan)[0], **other)) is None


@pytest.mark.parametrize("other", [{"shift": 7.0}, {"num_inference_steps": 5}, {"width": 128}])
def test_a_run_of_parameters_of_no_level_has_no_place(other: dict[str, Any]) -> None:
    plan = sample_plan(axes=[TWO_SHIFTS])
    assert manifest_of(plan).place(with_parameters(records_of(plan)[0], **other)) is None


def test_a_run_named_after_one_level_that_shows_another_is_the_other() -> None:
    plan = sample_plan(axes=[TWO_SHIFTS], prompts=1)
    first, second = records_of(plan)
    assert manifest_of(plan).place(with_parameters(first, shift=3.0)) == replace(
        second, run_id=first.run_id, identity=first.identity, metadata=first.metadata, image_path=first.image_path
    )


def test_a_run_that_two_levels_show_is_the_one_it_is_named_after() -> None:
    same = Axis("style", (Level("one", {"shift": 2.0}), Level("other", {"shift": 2.0}), Level("far", {"shift": 5.0})))
    plan = sample_plan(axes=[same], prompts=1)
    manifest, records = manifest_of(plan), records_of(plan)
    assert [manifest.place(record).level for record in records] == ["one", "other", "far"]
    assert manifest.place(replace(records[1], levels={"style": "gone"}, level="gone")).level == "one"


def test_a_text_that_nobody_listed_keeps_its_name_unless_another_text_has_it() -> None:
    plan = sample_plan(axes=[TWO_SHIFTS], prompts=2)
    manifest, record = manifest_of(plan), records_of(plan)[0]
    foreign = with_parameters(
        replace(record, prompt="A dog", prompt_id="dog", category="pets", difficulty="hard"), prompt="A dog"
    )
    assert manifest.place(foreign) is foreign
    assert manifest.place(replace(foreign, prompt_id=sample_prompts(2)[1].id)) is None


def test_a_level_that_wraps_prompts_has_the_runs_whose_text_is_wrapped() -> None:
    wraps = Axis("text", (Level("photo", {"prompt": "A photo of {prompt}"}), Level("bare", {"prompt": "{prompt}"})))
    plan = sample_plan(axes=[wraps], prompts=[CAT])
    values = manifest_values(plan, CONDITIONS)
    manifest = manifest_from_values(values, Path("manifest.json"))
    photo, bare = records_of(plan)
    assert (photo.parameters["prompt"], bare.parameters["prompt"]) == ("A photo of A cat", "A cat")
    assert [manifest.place(record).level for record in (photo, bare)] == ["photo", "bare"]
    assert manifest.place(with_parameters(photo, prompt="A drawing of A cat")) is None
    assert manifest.place(with_parameters(photo, prompt="A cat")).level == "bare"


def test_levels_that_bring_their_own_text_have_the_runs_of_that_text_under_the_prompt_own() -> None:
    plan = sample_plan(axes=[axis("prompt", "A red cat", "A blue cat")], prompts=[CAT])
    manifest = manifest_from_values(manifest_values(plan, CONDITIONS), Path("manifest.json"))
    red, blue = records_of(plan)
    assert [manifest.place(record).level for record in (red, blue)] == ["A red cat", "A blue cat"]
    assert [manifest.place(replace(record, prompt_id="cat")).prompt_id for record in (red, blue)] == ["own", "own"]
    assert manifest.place(with_parameters(red, prompt="A green cat")) is None


def test_a_level_that_sets_the_seed_has_the_runs_of_that_seed() -> None:
    plan = sample_plan(axes=[axis("seed", 5, 6)], prompts=[CAT])
    manifest, (five, six) = manifest_of(plan), records_of(plan)
    assert [manifest.place(record).level for record in (five, six)] == ["5", "6"]
    assert manifest.place(with_parameters(five, seed=6)).level == "6"
    assert manifest.place(with_parameters(five, seed=7)) is None


def test_where_cells_were_not_kept_what_was_left_to_the_model_is_any_number() -> None:
    tall = Axis("height", (Level("usual", {"height": None}), Level("tall", {"height": 128})))
    plan = sample_plan(axes=[tall], prompts=[CAT])
    manifest = manifest_from_values(manifest_values(plan, CONDITIONS), Path("manifest.json"))
    assert [entry.is_whole for entry in manifest.resolved] == [False, False]
    assert manifest.resolved[0].parameters == {"width": 64, "height": None}
    usual, tall_one = records_of(plan)
    assert [manifest.place(record).level for record in (usual, tall_one)] == ["usual", "tall"]
    assert manifest.place(with_parameters(usual, height=80)).level == "usual"
    assert manifest.place(with_parameters(usual, num_inference_steps=5)).level == "usual"  # nobody kept the steps
    assert manifest.place(with_parameters(usual, height="high")) is None
    assert manifest.place(with_parameters(usual, width=128)) is None
