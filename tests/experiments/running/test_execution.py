"""Runs to results: only what is missing, nothing lost, and the same bytes however they came about."""

import json
import os
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fake_pipeline import FakePipeline
from small_runs import CAT, CUP, images, make, plan_of

from experiments.planning.design import Axis, Experiment, Level, plan_experiment
from experiments.planning.experiment_file import find_experiment, load_experiments
from experiments.prompts import Prompt
from experiments.running.execution import Sessions
from experiments.running.plan_models import plan_of as plan_in_folder
from experiments.running.worklist import make_worklist
from experiments.store.result_store import ResultStore
from llm_dit.errors import InvalidParameter, LlmDitError, OutputError


def test_the_next_image_is_started_before_the_last_one_is_waited_for(tmp_path):
    events = []

    class Watched(FakePipeline):
        def draw(self, params, conditioning, shared=None):
            number = len(self.denoised)
            events.append(("start", number))
            drawing = super().draw(params, conditioning, shared)
            return SimpleNamespace(wait=lambda: (events.append(("wait", number)), drawing.wait())[1])

    make(tmp_path, pipeline=Watched())
    assert events[:4] == [("start", 0), ("start", 1), ("wait", 0), ("start", 2)]
    assert events[-2:] == [("wait", 4), ("wait", 5)]


def test_the_same_command_again_makes_nothing_and_says_so(tmp_path):
    make(tmp_path)
    pipeline = FakePipeline()
    _, outcome = make(tmp_path, pipeline=pipeline)
    assert (outcome.made, outcome.skipped, outcome.remaining) == (0, 6, 0)
    assert pipeline.denoised == pipeline.encoded == []


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"prompts": (CAT, CUP, Prompt("p3", "c", "", "A dog"))}, 3),
        ({"seeds": (42, 43)}, 6),
    ],
)
def test_adding_prompts_or_seeds_does_only_the_new_ones(tmp_path, more, expected):
    make(tmp_path)
    pipeline = FakePipeline()
    _, outcome = make(tmp_path, plan_of(**more), pipeline)
    assert (outcome.made, outcome.skipped, len(pipeline.denoised)) == (expected, 6, expected)


def test_adding_levels_does_only_the_new_ones_and_keeps_the_baseline_comparable(tmp_path):
    make(tmp_path)
    store, outcome = make(tmp_path, plan_of("shift=1..5"))
    assert (outcome.made, outcome.skipped) == (4, 6)
    assert [level.name for level in store.manifest().axes[0].levels] == ["1.0", "2.0", "3.0", "4.0", "5.0"]


def test_torn_results_are_made_again(tmp_path):
    store, _ = make(tmp_path)
    first, second, *_ = (record.run_id for record in store.runs())
    whole = images(store)
    (store.metadata / f"{first}.json").write_text("{")
    store.image_path(second).write_bytes(b"\x89PNG")
    _, outcome = make(tmp_path)
    assert (outcome.made, outcome.skipped) == (2, 4)
    assert images(store) == whole


def test_partial_files_of_a_killed_writer_are_removed(tmp_path):
    store, _ = make(tmp_path)
    left = store.images / ".partial-abc"
    left.write_bytes(b"x")
    make(tmp_path)
    assert not left.exists()


def test_a_result_made_with_another_prompt_text_is_stale_and_stays_until_overwritten(tmp_path):
    store, _ = make(tmp_path)
    before = images(store)
    changed = plan_of(prompts=(Prompt(CAT.id, "animals", "easy", "A black cat"), CUP))
    _, outcome = make(tmp_path, changed)
    assert outcome.stale == tuple(f"trial_animal_001_shift_{shift}_seed42" for shift in ("1.0", "2.0", "3.0"))
    assert (outcome.made, outcome.skipped) == (0, 3)
    assert images(store) == before
    assert {record.prompt_id for record in store.runs()} == {"simple_001"}
    _, outcome = make(tmp_path, changed, overwrite=True)
    assert (outcome.made, outcome.skipped, outcome.stale) == (3, 3, ())
    assert store.runs()[0].prompt == "A black cat"


def test_neither_a_new_folder_nor_a_whole_one_has_anything_to_tell(tmp_path):
    told = []
    for _ in range(2):
        make(tmp_path, on_start=lambda work: told.append(work.notes))
    assert told == [(), ()]


@pytest.mark.parametrize("lost", ["trial_summary.csv", "trial_summary.json"])
def test_a_summary_that_was_lost_comes_back_although_nothing_is_drawn(tmp_path, lost):
    store, _ = make(tmp_path)
    before = (store.folder / lost).read_text(encoding="utf-8")
    (store.folder / lost).unlink()
    assert make(tmp_path)[1].made == 0
    after = (store.folder / lost).read_text(encoding="utf-8")
    if lost.endswith(".json"):
        own = ("total_runs", "made_from", "successful_runs")
        assert {name: json.loads(after)[name] for name in own} == {name: json.loads(before)[name] for name in own}
    else:
        assert after == before


def test_a_level_that_means_something_else_now_leaves_the_summary(tmp_path):
    def plan(steps):
        levels = (Level("quick", {"num_inference_steps": steps}), Level("slow", {"num_inference_steps": 20}))
        return plan_experiment(Experiment("trial", "", (Axis("speed", levels),)), [CAT], [42])

    store, _ = make(tmp_path, plan(4))
    _, outcome = make(tmp_path, plan(5))
    assert outcome.stale == ("trial_animal_001_speed_quick_seed42",)
    assert [(record.level, record.parameters["num_inference_steps"]) for record in store.runs()] == [("slow", 20)]
    make(tmp_path, plan(5), overwrite=True)
    assert [record.parameters["num_inference_steps"] for record in store.runs()] == [5, 20]


def test_runs_of_a_prompt_axis_are_all_in_the_summary(tmp_path):
    store, _ = make(tmp_path / "a", plan_of('prompt=["{prompt}", "{prompt}, at night"]'))
    assert len(store.runs()) == 4
    store, _ = make(tmp_path / "b", plan_of('prompt=["A red house", "A blue house"]'))
    assert [record.prompt for record in store.runs()] == ["A red house", "A blue house"]


@pytest.mark.parametrize(
    ("pipeline", "options", "named"),
    [
        (FakePipeline(fingerprint="0" * 64), {}, "model fingerprint: ffffffffffff -> 000000000000"),
        (FakePipeline(dtype="bfloat16"), {}, "dtype: float32 -> bfloat16"),
        (FakePipeline(), {"overrides": {"num_inference_steps": 4}}, "num_inference_steps: 9 -> 4"),
        (FakePipeline(), {"overrides": {"width": 128}}, "width: 64 -> 128"),
    ],
)
def test_other_weights_numerics_or_settings_make_a_folder_stale_and_the_message_names_them(
    tmp_path, pipeline, options, named
):
    store, _ = make(tmp_path)
    before = images(store)
    with pytest.raises(OutputError) as caught:
        make(tmp_path, plan_of(**options), pipeline)
    message = str(caught.value)
    assert named in message
    assert "6 results are stale" in message
    assert "trial_animal_001_shift_1.0_seed42" in message
    assert "--overwrite" in message
    assert images(store) == before
    _, outcome = make(tmp_path, plan_of(**options), pipeline, overwrite=True)
    assert outcome.made == 6
    assert len(store.runs()) == 6


def test_results_of_other_settings_never_enter_the_same_summary(tmp_path):
    make(tmp_path, plan_of(prompts=(CAT, CUP)))
    store, _ = make(tmp_path, plan_of(prompts=(CAT,), overrides={"num_inference_steps": 4}), overwrite=True)
    assert {record.parameters["num_inference_steps"] for record in store.runs()} == {4}
    assert [record.prompt_id for record in store.runs()] == ["animal_001"] * 3
    assert store.write_summary().values["total_runs"] == 3


def test_a_folder_with_other_axes_is_refused(tmp_path):
    make(tmp_path)
    with pytest.raises(OutputError, match=r"over shift, not over num_inference_steps; choose another --name"):
        make(tmp_path, plan_of("num_inference_steps=3,4"), overwrite=True)


def test_a_model_that_can_not_do_a_level_is_known_before_any_image(tmp_path):
    pipeline = FakePipeline()
    with pytest.raises(InvalidParameter, match=r"-9 is not in this model.*level -9"):
        make(tmp_path, plan_of("hidden_layer=-1,-9"), pipeline)
    assert pipeline.denoised == []


def test_images_are_byte_equal_together_alone_in_another_order_and_after_a_resume(tmp_path):
    together, _ = make(tmp_path / "a", plan_of("shift=1..3", seeds=(1, 2)))
    make(tmp_path / "b", plan_of("shift=3,1", prompts=(CUP,), seeds=(2,)))
    make(tmp_path / "b", plan_of("shift=2,1,3", prompts=(CUP, CAT), seeds=(2, 1)))
    assert images(ResultStore(tmp_path / "b" / "trial")) == images(together)


def test_real_images_are_byte_equal_together_alone_and_after_a_resume(tmp_path, tiny_pipeline, monkeypatch):
    encode, encoded = tiny_pipeline.encode_prompts, []

    def counting(texts, layers):
        encoded.extend(texts)
        return encode(texts, layers)

    monkeypatch.setattr(tiny_pipeline, "encode_prompts", counting)
    overrides = {"num_inference_steps": 2, "guidance_scale": 1.0}
    together, outcome = make(tmp_path / "a", plan_of("hidden_layer=-1,-2,-3", overrides=overrides), tiny_pipeline)
    assert (outcome.made, len(encoded), len(set(encoded))) == (6, 3, 3)  # two prompts and the negative one, once each
    make(tmp_path / "b", plan_of("hidden_layer=-3", prompts=(CUP,), overrides=overrides), tiny_pipeline)
    alone, outcome = make(tmp_path / "b", plan_of("hidden_layer=-2,-3,-1", overrides=overrides), tiny_pipeline)
    assert (outcome.made, outcome.skipped) == (5, 1)
    assert images(alone) == images(together)


def test_a_real_run_equals_the_image_its_record_makes_again(tmp_path, tiny_pipeline):
    from io import BytesIO

    from PIL import Image

    from llm_dit.image_io import read_parameters
    from llm_dit.parameters import GenerationParams

    store, _ = make(tmp_path, plan_of("shift=2,3", prompts=(CAT,), overrides={"num_inference_steps": 2}), tiny_pipeline)
    record = store.runs()[1]
    again = tiny_pipeline.generate(GenerationParams.parse(record.parameters))
    stored = Image.open(BytesIO(record.image_path.read_bytes()))
    assert stored.tobytes() == again.image.tobytes()
    inside = read_parameters(record.image_path)
    assert inside["parameters"] == record.parameters
    assert inside["run"]["levels"] == {"shift": "3.0"}
    assert record.metadata["sigmas"] == again.metadata["sigmas"]
    assert record.token_count == again.metadata["token_count"]


def test_each_distinct_formatted_prompt_is_encoded_once_with_all_its_layers(tmp_path):
    pipeline = FakePipeline()
    make(tmp_path, plan_of("hidden_layer=-1..-6", "shift=1..3", seeds=(1, 2)), pipeline)
    assert len(pipeline.denoised) == 6 * 3 * 2 * 2
    assert [layers for _, layers in pipeline.encoded] == [(-1, -2, -3, -4, -5, -6)] * 2
    assert len({text for text, _ in pipeline.encoded}) == 2


def test_prompts_are_encoded_once_even_where_sizes_bring_them_back_later(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.running.prompt_encodings.GROUP_PROMPTS", 2)
    prompts = [Prompt(f"p{number}", "c", "", f"Cat {number}") for number in range(7)]
    pipeline = FakePipeline(streamed=True)
    _, outcome = make(tmp_path, plan_of("width=64,128", prompts=prompts), pipeline)
    assert (outcome.made, len(pipeline.encoded)) == (14, 7)


@pytest.mark.parametrize(("streamed", "most_ahead"), [(True, 3), (False, 2)])
def test_a_streamed_encoder_works_ahead_in_groups_and_another_before_the_first_run_of_a_prompt(
    tmp_path, monkeypatch, streamed, most_ahead
):
    monkeypatch.setattr("experiments.running.prompt_encodings.GROUP_PROMPTS", 3)
    prompts = [Prompt(f"p{number}", "c", "", f"Cat {number}") for number in range(10)]
    pipeline, ahead = FakePipeline(streamed=streamed), []
    make(
        tmp_path,
        plan_of("shift=1,2", prompts=prompts),
        pipeline,
        on_progress=lambda progress: ahead.append(len(pipeline.encoded) - (progress.done - 1) // 2),
    )
    assert len(pipeline.encoded) == 10
    assert max(ahead) == most_ahead


@pytest.fixture(params=[1, 2])
def threads(request):
    """Threads of torch; the tests have one, users have several."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_a_run_has_the_same_bytes_alone_and_in_company_on_any_number_of_threads(tmp_path, tiny_pipeline, threads):
    plan = plan_of("shift=1,2", overrides={"num_inference_steps": 2, "guidance_scale": 2.0})
    whole, _ = make(tmp_path / "whole", plan, tiny_pipeline)
    asks = iter([False] * 3 + [True] * 9)
    make(tmp_path / "halves", plan, tiny_pipeline, should_stop=lambda: next(asks))
    halves, outcome = make(tmp_path / "halves", plan, tiny_pipeline)
    assert (outcome.made, outcome.skipped) == (1, 3)
    assert images(halves) == images(whole)


def test_runs_that_begin_alike_share_their_first_evaluation_and_change_no_byte(tmp_path, tiny_pipeline, threads):
    plan = plan_experiment(find_experiment("shift_sweep", load_experiments()), (CAT, CUP), (1, 2))
    plan = replace(plan, base={**plan.base, "num_inference_steps": 2})
    together, outcome = make(tmp_path / "a", plan, tiny_pipeline)
    assert outcome.shared_evaluations == (6 - 1) * 2 * 2
    alone, outcome = make(tmp_path / "b", plan, tiny_pipeline, shares=False)
    assert outcome.shared_evaluations == 0
    assert images(alone) == images(together)


def test_levels_that_take_turns_share_as_well_where_the_outer_axis_acts_later(tmp_path, tiny_pipeline):
    plan = plan_of("shift=1,2,3", "hidden_layer=-1..-4", prompts=(CAT,), overrides={"num_inference_steps": 1})
    _, outcome = make(tmp_path, plan, tiny_pipeline)
    assert outcome.shared_evaluations == (3 - 1) * 4


def test_a_run_that_failed_in_the_shared_evaluation_leaves_it_to_the_next(tmp_path, tiny_pipeline, monkeypatch):
    forward, calls = tiny_pipeline.transformer.forward, []

    def fail_first(*args):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("out of memory")
        return forward(*args)

    plan = plan_of(prompts=(CAT,), overrides={"num_inference_steps": 2})
    monkeypatch.setattr(tiny_pipeline.transformer, "forward", fail_first)
    _, outcome = make(tmp_path, plan, tiny_pipeline)
    assert dict(outcome.failed) == {"trial_animal_001_shift_1.0_seed42": "out of memory"}
    assert (outcome.made, outcome.shared_evaluations, len(calls)) == (2, 1, 1 + 2 + 1)
    _, outcome = make(tmp_path, plan, tiny_pipeline)
    assert (outcome.made, outcome.shared_evaluations) == (1, 0)


def test_twenty_thousand_finished_runs_are_known_within_ten_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    count = 1_000  # a twentieth of them in a twentieth of the time
    prompts = [Prompt(f"p{number:05}", "c", "easy", f"A cat number {number}") for number in range(count // 10)]
    plan = plan_of("shift=1..10", prompts=prompts)
    store, _ = make(tmp_path, plan)
    started = time.process_time()  # what other programs do meanwhile does not count
    work = make_worklist(plan, lambda _settings: FakePipeline(), store)
    assert work.finished == count
    assert time.process_time() - started < 0.5


def test_doubled_seeds_count_once():
    assert plan_of("shift=1..6", prompts=(CAT,), seeds=[1, 1, 2]).run_count == 12


def test_two_runs_of_one_name_are_refused_before_anything_is_drawn(tmp_path):
    levels = (Level("x_shift_y", {"shift": 2.0}), Level("y", {"shift": 3.0}))
    experiment = Experiment("trial", "", (Axis("shift", levels),), {"shift": "y"})
    plan = plan_experiment(experiment, (replace(CAT, id="a"), replace(CUP, id="a_shift_x")), [42])
    with pytest.raises(LlmDitError, match=r"Two runs would both be called trial_a_shift_x_shift_y_seed42; rename a"):
        make(tmp_path, plan)
    assert not list((tmp_path / "trial").rglob("*.png"))


def test_a_session_that_begins_under_way_stands_in_the_manifest_at_once(tmp_path):
    store, _ = make(tmp_path)
    before = store.manifest().raw["sessions"]
    sessions = Sessions(store, "the command")
    sessions.are_written = True
    first = sessions.id_of({"versions": {"torch": "3"}, "machine": {}})
    assert sessions.id_of({"versions": {"torch": "3"}, "machine": {}}) == first
    assert [entry["id"] for entry in store.manifest().raw["sessions"]] == [*(one["id"] for one in before), first]


def test_a_strength_of_loras_where_none_is_given_is_refused(tmp_path):
    from experiments.planning.command_flags import request_from_arguments
    from llm_dit.config import Config

    asked = request_from_arguments(["--sweep=lora_strength=0.5,1", f"--output-dir={tmp_path}", "--name=s"], Config())
    with pytest.raises(InvalidParameter, match=r"changes nothing without a LoRA \(experiment s\); add --lora FILE"):
        plan_in_folder(asked, ResultStore(asked.folder))
