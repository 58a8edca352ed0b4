"""Questions after the first that `analyze.py` is asked of a folder: what it prints, and what it keeps of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from asked_questions import THINK
from click.testing import CliRunner
from sample_results import (
    SHIFT,
    STEPS,
    axis,
    noisy_scores,
    sample_manifest,
    sample_plan,
    sample_records,
    write_results,
)

from experiments import analyze
from experiments.metrics import METRICS
from experiments.prompts import Prompt
from experiments.stats.questions.answering import Asked, answer
from experiments.stats.questions.narrowing import conditions_from_flags, narrowed
from experiments.store.result_store import ResultStore


def test_further_columns_are_folded_counted_as_no_question_and_printed_when_asked_for(tmp_path: Path) -> None:
    plain = noisy_scores({"2.0": 0.4})
    folder = write_results(
        tmp_path / "further",
        sample_plan(),
        lambda run: {**plain(run), "siglip_logit": 1.0, "image_reward_chunked": 0.5},
        image_size=8,
    )
    told = CliRunner(env={"COLUMNS": "300"}).invoke(analyze.main, [str(folder), "--correlate"]).output
    assert "Further columns, parts of these: image_reward_chunked, siglip_logit. --measure NAME prints one." in told
    assert "Note: 3 questions were asked, one a measure" in told
    assert "siglip_logit:" not in told
    assert "Within a prompt, no sign that ImageReward and SigLIP 2 go together" in told
    assert json.loads((folder / "manifest.json").read_text())["analyses"][0]["measures"] == [
        "generation_time_seconds",
        "image_reward",
        "siglip_score",
    ]
    flags = ["--correlate", "--measure", "siglip_logit", "--measure", "siglip_score"]
    told = CliRunner(env={"COLUMNS": "300"}).invoke(analyze.main, [str(folder), *flags]).output
    assert "siglip_logit: Every level gave exactly the same numbers as shift 3.0." in told
    assert "Whether SigLIP 2 and siglip_logit go together can't be said" in told
    assert "Further columns" not in told


@pytest.fixture(scope="module")
def think_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """432 pictures: 4 shifts, 2 numbers of steps, with and without a think block, 27 prompts of 3 categories."""
    plan = sample_plan(
        axes=(SHIFT, STEPS, THINK),
        baseline={"shift": "3.0", "num_inference_steps": "9", "force_think_block": "False"},
        prompts=27,
        name="think",
    )
    plain = noisy_scores({"2.0": 0.4, "1.0": -0.4}, spread=0.1)

    def scores(run):
        values = dict(plain(run))
        if run.prompt.category == "landscapes" and run.cell.levels["force_think_block"] == "True":
            values["image_reward"] += 0.3
        return values

    return write_results(tmp_path_factory.mktemp("asked") / "think", plan, scores, image_size=8)


def test_which_shift_at_4_steps_on_landscapes_and_does_a_think_block_help(think_folder: Path) -> None:
    told = CliRunner(env={"COLUMNS": "2000"}).invoke(
        analyze.main,
        [
            str(think_folder),
            *("--where", "num_inference_steps=4", "--where", "category=landscapes"),
            *("--all-pairs", "--measure", "image_reward"),
        ],
    )
    assert told.exit_code == 0, told.output
    lines = told.output.splitlines()
    assert "think: 72 pictures, baseline 3.0 x False" in lines
    assert "Asked: where category=landscapes; where num_inference_steps=4; all pairs" in lines
    (shift,) = (line for line in lines if line.startswith("ImageReward: shift 2.0 has the best mean;"))
    assert "it beats every other level: 1.0, 3.0, 4.0." in shift
    (think,) = (line for line in lines if line.startswith("ImageReward: force_think_block “True” has the best mean;"))
    assert "it beats every other level: “False”." in think
    effect = next(line for line in lines if "Averaged over the other axes: force_think_block" in line)
    assert "“True” beats “False” by 0.3" in effect


def test_the_same_block_helps_no_animals_and_the_answer_says_that_it_differs(think_folder: Path) -> None:
    told = CliRunner(env={"COLUMNS": "2000"}).invoke(
        analyze.main,
        [
            str(think_folder),
            *("--where", "shift=2.0", "--where", "num_inference_steps=4"),
            *("--by", "category", "--measure", "image_reward"),
        ],
    )
    assert told.exit_code == 0, told.output
    assert "category “landscapes”: force_think_block “True” beats “False” by 0.3" in told.output
    assert "category “animals”: force_think_block “True” can't be told apart from “False” with 9 prompts" in told.output
    assert "The answer differs by category: force_think_block “True” is +0.3" in told.output


def test_questions_are_kept_and_counted_and_cost_an_extension_nothing_twice(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "asked", sample_plan(), noisy_scores({}), image_size=8)
    for flags in ([], ["--where", "category=animals"], ["--where", "category=animals"], ["--all-pairs"]):
        assert CliRunner().invoke(analyze.main, [str(folder), *flags]).exit_code == 0
    kept = json.loads((folder / "manifest.json").read_text())["analyses"]
    assert [entry.get("asked", "") for entry in kept] == ["", "where category=animals", "all pairs"]
    # each rests on all that was there, so that none looks like an analysis of fewer prompts
    assert [entry["prompts"] for entry in kept] == [12, 12, 12]
    store = ResultStore(folder)
    last = answer(store.manifest(), store.runs(), METRICS, Asked(by="category"))
    assert any(
        note.startswith("With this one, 4 questions have been asked of these results") for note in last.analysis.notes
    )
    assert all(result.extension is None for result in last.analysis.measures)


def test_a_prompt_of_which_the_list_says_nothing_is_not_like_what_is_asked_for() -> None:
    listed = [
        Prompt(f"p{index}", "all", "easy", f"take {index}", details={"tag": "counting"} if index < 7 else {})
        for index in range(12)
    ]
    plan = sample_plan(prompts=listed)
    part = narrowed(
        sample_manifest(plan), sample_records(plan, noisy_scores({})), conditions_from_flags(["tag=counting"])
    )
    assert {record.prompt_id for record in part.records} == {f"p{index}" for index in range(7)}
    assert part.manifest.planned_runs == dict.fromkeys(("1.0", "2.0", "3.0", "4.0"), 7)
    rest = narrowed(sample_manifest(plan), sample_records(plan, noisy_scores({})), conditions_from_flags(["tag=none"]))
    assert {record.prompt_id for record in rest.records} == {f"p{index}" for index in range(7, 12)}


def test_in_a_file_or_a_pipe_no_name_and_no_sentence_is_broken(tmp_path: Path) -> None:
    names = ("last_before_norm_of_the_encoder", "the_one_before_the_last_of_the_encoder")
    folder = write_results(
        tmp_path / "named", sample_plan(axes=(axis("system_prompt", *names),)), noisy_scores({}), image_size=8
    )
    asked = [str(folder), "--all-pairs", "--by", "category"]
    piped = CliRunner(env={"COLUMNS": None}).invoke(analyze.main, asked).output.splitlines()
    assert sum(line.split()[:2] == [names[1], names[0]] for line in piped) == 3  # by two scores and the time
    assert max(len(line) for line in piped) > 150
    narrow = CliRunner(env={"COLUMNS": "80"}).invoke(analyze.main, asked).output.splitlines()
    assert max(len(line) for line in narrow if not line.startswith("Votes")) <= 80
