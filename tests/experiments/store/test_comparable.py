"""Runs are known by what they show; what changes nothing moves no hash, and what does is named."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fake_pipeline import FakePipeline

from experiments.planning.design import Axis, Experiment, Level, plan_experiment
from experiments.planning.sweeps import experiment_from_sweeps
from experiments.prompts import Prompt
from experiments.running.execution import run_plan
from experiments.running.one_device import OneDevice
from experiments.stats.findings import analyse
from experiments.store.comparable import (
    Conditions,
    changed_surroundings,
    mixed_surroundings,
    run_identity,
    told_numerics,
    told_parameters,
    versioned_hash,
    with_comparable_times,
)
from experiments.store.manifest_json import manifest_from_values
from experiments.store.records import record_from_metadata
from experiments.store.result_store import ResultStore
from experiments.store.run_counts import Counts, RunCounter
from llm_dit.errors import OutputError
from llm_dit.parameters import ALWAYS_TOLD, PARAMETERS, FieldNote, GenerationParams
from llm_dit.parameters.declaration import parameter

MADE_BEFORE = Path(__file__).parent / "made_before"
"""Written by the version that hashed every parameter whole; the manifest kept no cells."""
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
CAT, CUP = Prompt("animal_001", "animals", "easy", "A cat"), Prompt("simple_001", "simple_objects", "hard", "A cup")


def plan_of(*sweeps, prompts=(CAT, CUP), seeds=(42,), name="trial", **options):
    return plan_experiment(experiment_from_sweeps(sweeps or ("shift=2,3,4",), name), prompts, seeds, **options)


def make(folder, plan=None, pipeline=None, **options):
    store = ResultStore(folder)
    return store, run_plan(plan or plan_of(), OneDevice.of(pipeline or FakePipeline()), store, **options)


FIRST_NUMERICS = (
    "attention_backend", "compile", "dit_device", "dtype", "quantization", "text_encoder_device", "text_encoder_dtype",
    "text_encoder_quantization", "vae_device", "vae_dtype", "vae_tiling",
)  # fmt: skip
"""What every hash of earlier versions holds."""


# Identity


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


# The same run


def test_a_renamed_folder_keeps_its_runs(tmp_path):
    make(tmp_path / "sweep_shift", plan_of(name="sweep_shift"))
    (tmp_path / "sweep_shift").rename(tmp_path / "renamed")
    store, outcome = make(tmp_path / "renamed", plan_of(name="renamed"))
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


# One question


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


# Surroundings and time


def test_results_of_other_versions_and_threads_are_named_at_the_resume_and_in_the_analysis(tmp_path):
    old = FakePipeline()
    old.versions["torch"], old.machine["threads"] = "2.9", "1"
    make(tmp_path, plan_of(prompts=(CAT,)), old)
    told = []
    store, _ = make(tmp_path, on_start=lambda work: told.extend(work.notes))
    assert told == [
        "Finished results were made with other versions or on another machine: threads 1 (3; now 2), torch 2.9 (3; now "
        "2.15). Equal runs can differ there by a level of a channel."
    ]
    notes = analyse(store.manifest(), store.runs(), ()).notes
    assert any("torch 2.15 (3), 2.9 (3)" in note and "threads 1 (3), 2 (3)" in note for note in notes)
    assert [session["versions"]["torch"] for session in store.manifest().raw["sessions"]] == ["2.9", "2.15"]
    assert make(tmp_path, on_start=lambda work: told.extend(work.notes))[1].made == 0
    assert len(told) == 1, "nothing is mixed where nothing is made"


def test_each_record_names_card_and_threads(tmp_path, tiny_pipeline):
    import torch

    store, _ = make(tmp_path, plan_of("shift=2,3", prompts=(CAT,), overrides={"num_inference_steps": 1}), tiny_pipeline)
    machine = store.runs()[0].metadata["machine"]
    assert machine["threads"] == str(torch.get_num_threads())
    assert machine["card"]


def times(store):
    analysis = analyse(store.manifest(), store.runs(), ())
    found = [result for result in analysis.measures if result.measure.column == "generation_time_seconds"]
    return (found[0] if found else None), [note for note in analysis.notes if note.startswith("Time is")]


def test_time_is_compared_without_the_first_prompt_which_carries_the_warm_up(tmp_path):
    prompts = [CAT, CUP, Prompt("p3", "c", "", "A dog")]
    store, _ = make(tmp_path, plan_of(prompts=prompts))
    warm = {record.prompt_id for record in store.runs() if record.is_warm_up}
    assert warm == {"animal_001"}
    measured, notes = times(store)
    assert {summary.runs for summary in measured.levels} == {2}
    assert "6 of 9 pictures" in notes[0]


def test_times_of_several_runs_of_the_command_are_not_compared(tmp_path):
    make(tmp_path, plan_of("shift=3"))
    store, _ = make(tmp_path, plan_of("shift=4"))
    measured, notes = times(store)
    assert measured is None
    assert notes == [
        "Time is not compared: no single run of the command made several levels beside its first prompt, which carries "
        "the warm-up."
    ]


def test_a_level_made_later_has_no_part_in_the_comparison_of_times(tmp_path):
    prompts = [CAT, CUP, Prompt("p3", "c", "", "A dog")]
    make(tmp_path, plan_of("shift=2,3", prompts=prompts))
    store, _ = make(tmp_path, plan_of("shift=2,3,4", prompts=prompts))
    measured, _ = times(store)
    assert {summary.level: summary.runs for summary in measured.levels} == {"2.0": 2, "3.0": 2, "4.0": 0}


def timed(*times: tuple[str, float | None, bool]):
    """Records of a level each, in pairs, with session, time and whether they carry the warm-up."""
    record = record_from_metadata(json.loads((MADE_BEFORE / "record.json").read_text(encoding="utf-8")), Path())
    return [
        replace(
            record,
            run_id=f"run{index}",
            level=str(index % 2),
            session=session,
            generation_time_seconds=seconds,
            is_warm_up=warm,
        )
        for index, (session, seconds, warm) in enumerate(times)
    ]


def test_the_run_of_the_command_that_made_most_keeps_its_times():
    first, most = ("first", 1.0, False), ("most", 2.0, False)
    records, told = with_comparable_times(
        timed(first, first, most, most, most, ("most", 9.0, True), ("most", None, False))
    )
    assert [record.generation_time_seconds for record in records] == [None, None, 2.0, 2.0, 2.0, None, None]
    assert told == (
        "Time is compared for 3 of 6 pictures: those of one run of the command on one machine, without its first "
        "prompt, which carries the warm-up."
    )
    whole = timed(most, most, ("most", None, False))
    assert with_comparable_times(whole) == (whole, None)
    assert with_comparable_times([]) == ([], None)


def test_times_that_no_session_is_told_of_were_not_measured_in_one():
    records, told = with_comparable_times(timed(("", 1.0, False), ("", 1.0, False)))
    assert [record.generation_time_seconds for record in records] == [None, None]
    assert told.startswith("Time is not compared: no single run of the command ")


def test_versions_that_pictures_differ_in_are_counted_and_told_apart_from_those_they_share():
    def made_with(machine="unknown", **versions):
        (record,) = timed(("s", 1.0, False))
        return replace(record, metadata={"versions": versions, "machine": machine})

    records = [made_with(torch="2.10", python="3.11"), made_with(torch="2.9", python="3.11"), made_with(torch="2.9")]
    assert mixed_surroundings(records) == (
        "Pictures were made with several versions or machines: torch 2.10 (1), 2.9 (2). Equal runs can differ there by "
        "a level of a channel."
    )
    assert mixed_surroundings(records[1:]) is None
    assert changed_surroundings(records, {"torch": "2.9"}) == (
        "Finished results were made with other versions or on another machine: torch 2.10 (1; now 2.9). Equal runs can "
        "differ there by a level of a channel."
    )
    assert changed_surroundings(records[1:], {"torch": "2.9", "driver": "1"}) is None
    threads = [made_with({"threads": count}) for count in (1, 2)]
    assert "several versions or machines: threads 1 (1), 2 (1). " in mixed_surroundings(threads)


def test_the_total_time_is_what_it_took_although_runs_share_an_encoding(tmp_path):
    class SlowEncoder(FakePipeline):
        def encode_prompts(self, formatted_prompts, hidden_layers):
            time.sleep(0.05)
            return super().encode_prompts(formatted_prompts, hidden_layers)

    store, outcome = make(tmp_path, plan_of("shift=1..10", prompts=(CAT,)), SlowEncoder())
    summary = store.write_summary().values
    assert sum(record.generation_time_seconds for record in store.runs()) > 0.5
    assert 0.05 <= summary["total_time_seconds"] <= outcome.seconds


def test_the_page_counts_what_summaries_count(tmp_path):
    store, _ = make(tmp_path)
    counter = RunCounter(tmp_path)
    assert counter.counts(store.manifest()) == Counts(6, 0)
    failing = FakePipeline(failing={("A dog", 2.0): RuntimeError("out of memory")})
    make(tmp_path, plan_of(prompts=(Prompt("p3", "c", "", "A dog"),)), failing)
    assert counter.counts(store.manifest()) == Counts(8, 1)
    (store.metadata / "trial_animal_001_shift_2.0_seed42.json").write_text("{")
    assert counter.counts(store.manifest()) == Counts(7, 1)
    make(tmp_path, plan_of(prompts=(replace(CUP, text="A black cup"),)))  # three results of the old text are stale now
    assert counter.counts(store.manifest()) == Counts(4, 1)
    assert len([record for record in store.runs() if record.is_finished]) == 4


@pytest.mark.parametrize(
    ("before", "is_named"), [("2.15", False), ("2.15+cu132", False), ("2.15+cpu", True), ("2.14", True)]
)
def test_a_version_that_did_not_name_its_build_is_no_other_version(tmp_path, before, is_named):
    old, new = FakePipeline(), FakePipeline()
    old.versions["torch"], new.versions["torch"] = before, "2.15+cu132"
    make(tmp_path, plan_of(prompts=(CAT,)), old)
    notes = []
    store, _ = make(tmp_path, pipeline=new, on_start=lambda work: notes.extend(work.notes))
    assert bool(notes) == is_named
    assert bool([note for note in analyse(store.manifest(), store.runs(), ()).notes if "versions" in note]) == is_named
