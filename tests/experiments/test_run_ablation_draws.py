"""The command, with a model: what it leaves, what fails, and how it is stopped."""

import json
import os
import re
import signal
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.metrics.pixel_diversity import diversity
from experiments.store.result_store import ResultStore


def test_an_experiment_leaves_what_is_promised_and_again_does_nothing(run, tmp_path):
    arguments = ["--experiment", "shift_sweep", "--prompt-ids", "animal_001,simple_002", "--output-dir", "out"]
    result = run(*arguments, "--steps", "1")
    assert result.exit_code == 0, result.output
    assert re.search(
        r"^12 images made in \d+\.\d s \(10 evaluations shared\), 0 finished before\.$", result.stdout, re.M
    )
    folder = tmp_path / "out" / "shift_sweep"
    assert (folder / "images" / "shift_sweep_animal_001_shift_3.0_seed42.png").is_file()
    assert (folder / "metadata" / "shift_sweep_simple_002_shift_6.0_seed42.json").is_file()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["config"]["generation"] == {"num_inference_steps": 1}
    assert {"engine", "metrics"} <= manifest["config"].keys()
    assert {"torch", "llm-dit"} <= manifest["versions"].keys()
    assert manifest["device"] == "cpu"
    assert [prompt["id"] for prompt in manifest["prompts"]] == ["simple_002", "animal_001"]
    again = run(*arguments, "--steps", "1")
    assert again.exit_code == 0
    assert "0 runs to do, 12 finished before" in again.stderr
    assert "shared" not in again.stdout
    other = run(*arguments, "--steps", "3")
    assert other.exit_code == 2
    assert "12 results are stale, made with other inputs (num_inference_steps: 1 -> 3)" in other.stderr
    assert "--overwrite" in other.stderr


def test_a_config_file_sets_what_is_fixed_and_the_seed(run, tmp_path):
    (tmp_path / "c.toml").write_text(
        "[default.generation]\nnum_inference_steps = 9\nseed = 7\n[quick.generation]\nnum_inference_steps = 1\n"
    )
    result = run("--config", "c.toml", "--profile", "quick", "--sweep", "width=64,80", "--max-prompts", "1")
    assert result.exit_code == 0, result.output
    records = ResultStore("experiments/results/sweep_width").runs()
    assert [(record.parameters["num_inference_steps"], record.seed, record.level) for record in records] == [
        (1, 7, "64"),
        (1, 7, "80"),
    ]


def test_failed_runs_give_exit_code_1_and_a_last_line_that_says_how_to_retry(run, monkeypatch):
    from llm_dit.errors import NonFiniteLatents
    from llm_dit.pipeline import ZImagePipeline

    draw = ZImagePipeline.draw

    def failing(self, params, conditioning, shared):
        if params.shift == 2.0:
            raise NonFiniteLatents("The latents are not finite after step 1 of 1.")
        return draw(self, params, conditioning, shared)

    arguments = ["--sweep", "shift=1..3", "--max-prompts", "1", "--steps", "1", "--name", "failing"]
    monkeypatch.setattr(ZImagePipeline, "draw", failing)
    result = run(*arguments)
    assert result.exit_code == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("1 of 3 runs failed")
    assert last.endswith("run the same command again to retry them.")
    monkeypatch.setattr(ZImagePipeline, "draw", draw)
    retried = run(*arguments)
    assert retried.exit_code == 0
    assert "1 runs to do, 2 finished before" in retried.stderr


def test_ctrl_c_finishes_the_image_writes_the_summary_and_says_how_to_go_on(run, tmp_path, monkeypatch):
    from llm_dit.pipeline import ZImagePipeline

    draw = ZImagePipeline.draw

    def interrupted(self, params, conditioning, shared):
        if params.shift == 3.0:
            os.kill(os.getpid(), signal.SIGINT)
        return draw(self, params, conditioning, shared)

    arguments = ["--sweep", "shift=1..8", "--max-prompts", "1", "--steps", "1", "--name", "stopped"]
    store = ResultStore(tmp_path / "experiments/results/stopped")
    monkeypatch.setattr(ZImagePipeline, "draw", interrupted)
    result = run(*arguments)
    monkeypatch.setattr(ZImagePipeline, "draw", draw)
    assert result.exit_code == 130, result.output
    assert [record.level for record in store.runs()] == ["1.0", "2.0", "3.0"]
    assert result.stderr.strip().splitlines()[-1] == ("Stopped with 5 runs to do; run the same command again to go on.")
    assert len((store.folder / "stopped_summary.csv").read_text().splitlines()) == 4
    resumed = run(*arguments)
    assert resumed.exit_code == 0
    assert "5 runs to do, 3 finished before" in resumed.stderr


def test_a_second_ctrl_c_stops_at_once_and_says_how_to_go_on(run, tmp_path, monkeypatch):
    from llm_dit.pipeline import ZImagePipeline

    draw = ZImagePipeline.draw

    def interrupted(self, params, conditioning, shared):
        for _ in range(2 if params.shift == 3.0 else 0):
            os.kill(os.getpid(), signal.SIGINT)
        return draw(self, params, conditioning, shared)

    arguments = ["--sweep", "shift=1..4", "--max-prompts", "1", "--steps", "1", "--name", "stopped"]
    monkeypatch.setattr(ZImagePipeline, "draw", interrupted)
    result = run(*arguments)
    monkeypatch.setattr(ZImagePipeline, "draw", draw)
    assert result.exit_code == 130, result.output
    assert result.stderr.strip().splitlines()[-1] == "Stopped at once; run the same command again to go on."
    finished = len(ResultStore(tmp_path / "experiments/results/stopped").runs())
    assert finished in (1, 2), "the second one was drawn, and perhaps on its way to the disk"
    assert f"{4 - finished} runs to do, {finished} finished before" in run(*arguments).stderr


def test_a_long_prompt_that_is_cut_is_said_once_not_once_per_image(run, caplog):
    (Path.cwd() / "p.txt").write_text("A red apple on a wooden table\n")
    result = run("--sweep", "shift=1..4", "--prompts-file", "p.txt", "--steps", "1", "--max-text-tokens", "5")
    assert result.exit_code == 0, result.output
    assert len([record for record in caplog.records if "brought it to 5" in record.getMessage()]) == 1
    record = ResultStore("experiments/results/sweep_shift").runs()[0]
    assert record.metadata["token_count_used"] == 5 < record.token_count


def test_of_many_long_prompts_each_mode_is_said_once(run, caplog):
    (Path.cwd() / "p.txt").write_text("A red apple on a wooden table\nA green pear and a cup stand on a chair\n")
    asked = ("--sweep", "long_prompt_mode=truncate,pool", "--prompts-file", "p.txt")
    result = run(*asked, "--steps", "1", "--max-text-tokens", "5")
    assert "2 prompts are longer than max_text_tokens at some level: " in result.output
    said = [record.getMessage() for record in caplog.records if "brought it to 5" in record.getMessage()]
    assert sorted(sentence.split("; ")[1].split()[0] for sentence in said) == ["pool", "truncate"]


def test_under_ci_progress_is_plain_lines(run):
    result = run("--sweep", "shift=1,2", "--max-prompts", "1", "--steps", "1", "--name", "lines")
    assert re.search(r"^2/2 done, \d+\.\d\d images/s, 0 s left$", result.stderr, re.MULTILINE)


def test_a_metric_that_cant_be_loaded_is_known_before_any_image_is_made(run, tmp_path):
    result = run("--experiment", "shift_sweep", "--compute-metrics", "--image-reward", "no/such/folder")
    assert result.exit_code == 2
    assert "Metric image_reward can't be loaded" in result.stderr
    assert "Loading" not in result.stderr
    assert list(tmp_path.rglob("*.png")) == []


def test_metrics_are_scored_after_the_images_and_only_where_they_lack(run, tmp_path):
    arguments = ["--sweep", "shift=1,2", "--max-prompts", "1", "--steps", "1", "--seeds", "1,2", "--name", "scored"]
    store = ResultStore(tmp_path / "experiments/results/scored")
    result = run(*arguments, "--metric", "pixel_diversity")
    assert result.exit_code == 0, result.output
    assert "pixel_diversity: 4 images scored, 0 had their score already." in result.stderr
    assert "With one prompt nothing can be shown by any measure" in result.stdout
    for level in ("1.0", "2.0"):
        first, second = (record for record in store.runs() if record.level == level)
        pictures = [np.asarray(Image.open(record.image_path).convert("RGB")) for record in (first, second)]
        assert first.scores["pixel_diversity"] == second.scores["pixel_diversity"] == diversity(*pictures) > 0
    assert "pixel_diversity" in (store.folder / "scored_summary.csv").read_text().splitlines()[0]
    again = run(*arguments, "--metric", "pixel_diversity")
    assert "pixel_diversity: 0 images scored, 4 had their score already." in again.stderr
    assert (store.folder / "report.html").read_text(encoding="utf-8").count("<html") == 1


def test_a_terminal_that_goes_is_a_wish_to_stop_and_under_nohup_it_is_none():
    from experiments.run_ablation import _StopWish

    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests were started under
    try:
        for handler, is_wish in ((signal.SIG_DFL, True), (signal.SIG_IGN, False)):
            signal.signal(signal.SIGHUP, handler)
            wish = _StopWish()
            with wish.listening():
                os.kill(os.getpid(), signal.SIGHUP)
                assert wish() == is_wish
    finally:
        signal.signal(signal.SIGHUP, before)
