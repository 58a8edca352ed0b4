"""Runs are known by what they show; what changes nothing moves no hash, and what does is named."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import CAT, CUP, MADE_BEFORE, make, plan_of

from experiments.planning.design import Axis, Experiment, Level, plan_experiment
from experiments.prompts import Prompt
from experiments.stats.findings import analyse
from experiments.store.comparable import (
    Conditions,
    run_identity,
    told_numerics,
    told_parameters,
    versioned_hash,
)
from experiments.store.manifest_json import manifest_from_values
from experiments.store.records import record_from_metadata
from llm_dit.errors import OutputError
from llm_dit.parameters import ALWAYS_TOLD, PARAMETERS, FieldNote, GenerationParams
from llm_dit.parameters.declaration import parameter

ALWAYS_IN_IDENTITY = (
    "prompt",
    "negative_prompt",
    "system_prompt",
    "thinking_content",
    "force_think_block",
    "assistant_content",
    "width",
    "height",
    "num_inference_steps",
    "shift",
    "guidance_scale",
    "cfg_normalization",
    "cfg_truncation",
    "seed",
    "hidden_layer",
    "long_prompt_mode",
    "max_text_tokens",
    "extend_rope",
)


FIRST_NUMERICS = (
    "attention_backend", "compile", "dit_device", "dtype", "quantization", "text_encoder_device", "text_encoder_dtype",
    "text_encoder_quantization", "vae_device", "vae_dtype", "vae_tiling",
)  # fmt: skip
"""What every hash of earlier versions holds."""


@pytest.mark.parametrize("nothing", ["", "none", "off", "false"])
def test_numerics_that_came_later_are_told_where_they_do_something(nothing):
    first = dict.fromkeys(FIRST_NUMERICS, nothing)
    assert told_numerics({**first, "cuda_graphs": nothing, "new": "on"}) == {**first, "new": "on"}


def test_hashes_of_earlier_versions_stay_valid():
    values = json.loads((MADE_BEFORE / "record.json").read_text(encoding="utf-8"))
    params, numerics = GenerationParams.parse(values["parameters"]), values["numerics"]
    identity = run_identity(params, values["formatted_prompt"], None, values["model_fingerprint"], numerics)
    assert identity == values["run"]["identity"] == "r1:7f8b168b8d583018cf1ab519bd116c8f"
    shared = json.loads((MADE_BEFORE / "manifest.json").read_text(encoding="utf-8"))["conditions"]
    conditions = Conditions(shared["parameters"], shared["fingerprint"], shared["numerics"])
    assert conditions.hash == shared["hash"] == "r1:8ac3ef12ba96d59753c5233e2bb4a48d"


def test_a_record_made_before_has_its_place_in_the_manifest_made_before():
    manifest = manifest_from_values(json.loads((MADE_BEFORE / "manifest.json").read_text(encoding="utf-8")), Path())
    record = record_from_metadata(json.loads((MADE_BEFORE / "record.json").read_text(encoding="utf-8")), Path())
    assert manifest.place(record) == record
    assert manifest.planned_count == 6
    assert manifest.place(replace(record, parameters={**record.parameters, "num_inference_steps": 4})) is None


def test_every_parameter_of_an_image_added_since_declares_where_it_changes_nothing():
    names = [name for name, item in PARAMETERS.items() if item.group is GenerationParams]
    undeclared = {name for name in names if PARAMETERS[name].note.neutral is ALWAYS_TOLD}
    assert undeclared == set(ALWAYS_IN_IDENTITY), (
        "FieldNote(neutral=...) says at which value a new parameter does nothing"
    )


def test_a_parameter_added_at_the_value_that_changes_nothing_leaves_all_results_finished(tmp_path, monkeypatch):
    store, _ = make(tmp_path)
    before = {record.identity for record in store.runs()}

    note = FieldNote(table="generation", changes_image=True, neutral=1.0)

    class MoreParams(GenerationParams):
        noise_scale: float = parameter(1.0, "Scale of the noise.", note)

    monkeypatch.setitem(PARAMETERS, "noise_scale", replace(PARAMETERS["shift"], name="noise_scale", note=note))
    monkeypatch.setattr("experiments.planning.design.GenerationParams", MoreParams)
    _, outcome = make(tmp_path)
    assert (outcome.made, outcome.skipped, outcome.stale) == (0, 6, ())
    assert {record.identity for record in store.runs()} == before
    with pytest.raises(OutputError, match=r"6 results are stale.*noise_scale: 1\.0 -> 2\.0"):
        make(tmp_path, plan_of(overrides={"noise_scale": 2.0}))


def test_a_kernel_added_later_that_is_off_moves_no_hash():
    numerics = {"dtype": "float32", "quantization": "none"}
    assert told_numerics({**numerics, "loras": "", "steps_cache": "off"}) == numerics
    assert told_numerics({**numerics, "loras": "a.safetensors"}) != numerics


def test_loras_are_told_by_what_their_files_hold_times_their_whole_strength():
    first, second = "0123456789abcdef", "fedcba9876543210"
    two = f"a.safetensors:0.5#{first}, b.safetensors:2#{second}"
    assert told_parameters({"loras": two, "lora_strength": 0.5}) == {"loras": [[first, 0.25], [second, 1.0]]}
    assert told_parameters({"loras": f"elsewhere/a.safetensors#{first}", "seed": 1}) == {
        "loras": [[first, 1.0]],
        "seed": 1,
    }
    assert told_parameters({"loras": "a.safetensors:0.5"}) == {"loras": [["a.safetensors", 0.5]]}  # not hashed yet
    assert told_parameters({"loras": f"a.safetensors:0#{first}, b.safetensors#{second}"}) == {"loras": [[second, 1.0]]}
    assert told_parameters({"loras": two, "lora_strength": 0.0, "seed": 1}) == {"seed": 1}
    assert told_parameters({"loras": "", "seed": 1}) == {"seed": 1}


def test_conditions_name_what_differs_and_nothing_else():
    here = Conditions({"shift": 3.0, "loras": "a.safetensors#0123456789abcdef"}, "a" * 64, {"dtype": "float32"})
    assert here.differences(replace(here, numerics={"dtype": "float32", "steps_cache": "off"})) == []
    moved = {"shift": 3.0, "loras": "b/c.safetensors#0123456789abcdef"}
    assert here.differences(replace(here, parameters=moved)) == []
    assert (
        here.differences(replace(here, parameters={"loras": here.parameters["loras"]})) == []
    )  # levels set shift there
    there = Conditions({"shift": 6.0, "loras": ""}, "b" * 64, {"dtype": "bfloat16", "steps_cache": "on"})
    assert here.differences(there) == [
        f"model fingerprint: {'a' * 12} -> {'b' * 12}",
        "loras: a.safetensors#0123456789abcdef -> ",
        "shift: 3.0 -> 6.0",
        "dtype: float32 -> bfloat16",
        "steps_cache: None -> on",
    ]


def test_what_one_side_lacks_is_its_neutral_value_or_set_by_every_level():
    lora, none = Conditions({"loras": "a.safetensors#01"}, "a" * 64, {}), Conditions({}, "a" * 64, {})
    assert lora.differences(none) == ["loras: a.safetensors#01 -> "]
    assert none.differences(lora) == ["loras:  -> a.safetensors#01"]
    for name in ("shift", "of_another_version"):
        held = Conditions({name: 3.0}, "a" * 64, {})
        assert held.differences(none) == none.differences(held) == []


def test_what_is_no_number_has_no_hash():
    with pytest.raises(ValueError, match="not JSON compliant"):
        versioned_hash([float("nan")])


def test_a_renamed_folder_keeps_its_runs(tmp_path):
    make(tmp_path, plan_of(name="sweep_shift"))
    (tmp_path / "sweep_shift").rename(tmp_path / "renamed")
    store, outcome = make(tmp_path, plan_of(name="renamed"))
    assert (outcome.made, outcome.skipped) == (0, 6)
    assert len(store.runs()) == 6


def test_copies_of_a_run_under_another_name_count_once(tmp_path):
    store, _ = make(tmp_path)
    for folder in (store.images, store.metadata):
        for path in list(folder.iterdir()):
            shutil.copy(path, path.with_name(f"copy_of_{path.name}"))
    for path in store.metadata.glob("copy_of_*"):
        values = json.loads(path.read_text(encoding="utf-8"))
        values["run"] |= {"run_id": path.stem}
        values["image"]["file"] = f"images/{path.stem}.png"
        path.write_text(json.dumps(values), encoding="utf-8")
    assert len(store.results()[0]) == 12
    assert len(store.runs()) == 6
    assert make(tmp_path)[1].skipped == 6


def test_a_prompt_under_another_id_is_the_same_prompt(tmp_path):
    make(tmp_path)
    added = Prompt("line_001", "list", "", "A dog")
    renamed = (added, replace(CAT, id="line_002"), replace(CUP, id="line_003"))
    store, outcome = make(tmp_path, plan_of(prompts=renamed))
    assert (outcome.made, outcome.skipped, outcome.stale) == (3, 6, ())
    assert [prompt.id for prompt in store.manifest().prompts] == ["line_001", "line_002", "line_003"]
    assert {record.prompt_id for record in store.runs()} == {"line_001", "line_002", "line_003"}


def test_a_line_put_on_top_moves_ids_and_loses_nothing(tmp_path):
    lines = ["A cat", "A cup"]

    def prompts(texts):
        return [Prompt(f"line_{number:03}", "list", "", text) for number, text in enumerate(texts, start=1)]

    make(tmp_path, plan_of(prompts=prompts(lines)))
    store, outcome = make(tmp_path, plan_of(prompts=prompts(["A dog", *lines])))
    assert (outcome.made, outcome.skipped, outcome.stale) == (3, 6, ())
    runs = {(record.prompt_id, record.prompt) for record in store.runs()}
    assert runs == {("line_001", "A dog"), ("line_002", "A cat"), ("line_003", "A cup")}
    assert len(list(store.images.iterdir())) == 9
    assert make(tmp_path, plan_of(prompts=prompts(["A dog", *lines])))[1].skipped == 9


def test_one_text_under_two_ids_is_one_prompt_of_the_statistics(tmp_path):
    twice = (CAT, CUP, replace(CAT, id="again_1"), replace(CUP, id="again_2"))
    plan = plan_of(prompts=twice)
    assert [prompt.id for prompt in plan.prompts] == [CAT.id, CUP.id]
    store, _ = make(tmp_path, plan)
    analysis = analyse(store.manifest(), store.runs(), ())
    assert analysis.finished == 6


def test_a_level_with_another_name_is_the_same_level(tmp_path):
    def plan(name):
        levels = (Level(name, {"num_inference_steps": 4, "shift": 2.0}), Level("slow", {"num_inference_steps": 20}))
        return plan_experiment(Experiment("trial", "", (Axis("speed", levels),)), [CAT], [42])

    make(tmp_path, plan("quick"))
    store, outcome = make(tmp_path, plan("fast"))
    assert (outcome.made, outcome.skipped) == (0, 2)
    assert [record.level for record in store.runs()] == ["fast", "slow"]
    assert store.manifest().baseline_name == "fast"
    assert store.manifest().planned_count == 2


SPEED = (Axis("speed", (Level("usual", {}), Level("quick", {"num_inference_steps": 2, "shift": 2.0}))),)


def test_a_level_never_holds_two_settings(tmp_path):
    def plan(prompts, **defaults):
        return plan_experiment(Experiment("trial", "", SPEED), prompts, [42], defaults=defaults)

    more = [CAT, CUP, Prompt("p3", "c", "", "A dog"), Prompt("p4", "c", "", "A hat")]
    store, _ = make(tmp_path, plan([CAT, CUP]))
    with pytest.raises(OutputError, match=r"4 results are stale, made with other inputs \(shift: 3.0 -> 6.0\)"):
        make(tmp_path, plan(more, shift=6.0))
    make(tmp_path, plan(more, shift=6.0), overwrite=True)
    usual = [record.parameters["shift"] for record in store.runs() if record.level == "usual"]
    assert usual == [6.0, 6.0, 6.0, 6.0]


def test_the_manifest_keeps_what_each_cell_resolved_to(tmp_path):
    store, _ = make(tmp_path, plan_experiment(Experiment("trial", "", SPEED), [CAT], [42]))
    cells = {cell["levels"]["speed"]: cell["parameters"] for cell in store.manifest().raw["cells"]}
    assert {
        name: (values["num_inference_steps"], values["shift"], values["width"]) for name, values in cells.items()
    } == {
        "usual": (9, 3.0, 64),
        "quick": (2, 2.0, 64),
    }
    assert store.manifest().raw["conditions"]["parameters"]["shift"] == 3.0


def test_a_second_command_adds_levels_and_replaces_neither_baseline_nor_description(tmp_path):
    make(tmp_path, plan_of("shift=2,3,4"))
    store, outcome = make(tmp_path, plan_of("shift=5,6"))
    manifest = store.manifest()
    assert outcome.made == 4
    assert manifest.baseline_name == "3.0"
    assert [cell.name for cell in manifest.combinations] == ["2.0", "3.0", "4.0", "5.0", "6.0"]
    assert "shift=2,3,4" in manifest.description
    assert "shift=5,6" in manifest.description
    assert len(store.runs()) == 10


def test_a_second_experiment_with_a_baseline_of_its_own_is_refused_with_the_mend(tmp_path):
    make(tmp_path, plan_of("shift=2,3,4"))
    other = Experiment("trial", "Another question", plan_of("shift=3,4").experiment.axes, {"shift": "4.0"})
    plan = plan_experiment(other, [CAT], [42])
    with pytest.raises(
        OutputError, match=r"compares the levels of shift with 3\.0, .* with 4\.0; choose another --name"
    ):
        make(tmp_path, plan)
    store, outcome = make(tmp_path, plan, overwrite=True)
    assert (outcome.made, outcome.skipped) == (0, 2)
    assert store.manifest().baseline_name == "4.0"


def test_two_complete_commands_of_other_prompts_and_seeds_are_complete(tmp_path):
    make(tmp_path, plan_of("shift=2,3", prompts=(CAT,), seeds=(1,)))
    store, _ = make(tmp_path, plan_of("shift=2,3", prompts=(CUP,), seeds=(2,)))
    assert store.manifest().planned_count == len(store.runs()) == 4
    make(tmp_path, plan_of("shift=2,3", seeds=(1, 2)))
    assert store.manifest().planned_count == len(store.runs()) == 8


def test_a_prompt_with_the_id_own_is_in_every_summary(tmp_path):
    own = Prompt("own", "c", "", "A cat")
    store, outcome = make(tmp_path, plan_of('prompt=["{prompt}", "{prompt}, at night"]', prompts=(own,)))
    assert outcome.made == len(store.runs()) == 2
    assert store.write_summary().values["total_runs"] == 2
