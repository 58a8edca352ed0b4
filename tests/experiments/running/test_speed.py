"""Speed of levels: measured alone and warm, told with what disturbed it, and shown beside quality."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from sample_results import CONDITIONS, SHIFT, axis, sample_manifest, sample_plan, sample_records, write_results

from experiments.analyze import main as analyze
from experiments.measure_speed import main as measure_speed
from experiments.metrics import METRICS
from experiments.planning.command_flags import request_from_arguments
from experiments.reporting.frontier import frontiers_of
from experiments.reporting.report_page import write_report
from experiments.reporting.speed_table import speed_table
from experiments.run_ablation import main as run_ablation
from experiments.running import speed
from experiments.running.experiment_run import Events, _Going, _measure
from experiments.running.speed import REPEATS, WARM_UPS, measure_speeds, settings_of
from experiments.stats.findings import analyse
from experiments.stats.speed_sentences import speed_sentences
from experiments.store.manifest import Manifest
from experiments.store.result_store import ResultStore
from experiments.store.speeds import LevelSpeed, Speeds, read_speeds, write_speeds
from llm_dit.config import Config
from llm_dit.errors import CheckpointError, OutputError

GIB = 2**30


class Pipeline:
    """Takes, by a clock of its own, as many seconds a picture as its list says."""

    device = SimpleNamespace(type="cpu")
    fingerprint = "f" * 64

    def __init__(self, clock: list[float], seconds: list[float]) -> None:
        self._clock, self._seconds = clock, itertools.cycle(seconds)
        self.drawn: list[float] = []

    def encode(self, params):
        return params.prompt

    def draw(self, params, conditioning):
        self.drawn.append(params.shift)
        self._clock[0] += next(self._seconds)
        return SimpleNamespace(wait=lambda: None)


class RewritingPipeline(Pipeline):
    """Takes a second more for a picture with other LoRAs than the one before, whose weights it rewrites."""

    used = ""

    def draw(self, params, conditioning):
        self._clock[0] += params.loras != self.used
        self.used = params.loras
        return super().draw(params, conditioning)


def measured(monkeypatch, seconds, *, load_average=0.1, repeats=3, axes=(SHIFT,), kind=Pipeline):
    """Measure a sweep of shifts on a pipeline that takes 7 s to load."""
    plan = sample_plan(prompts=2, axes=axes)
    clock, loaded = [0.0], []
    monkeypatch.setattr(speed.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(speed.os, "getloadavg", lambda: (load_average, 0, 0))

    def load(settings):
        clock[0] += 7
        loaded.append(kind(clock, seconds))
        return loaded[-1]

    found = measure_speeds(sample_manifest(plan), sample_records(plan, lambda run: {}), load, repeats=repeats)
    return found, loaded


def test_a_level_is_timed_warm_alone_and_by_its_median_and_its_model_is_loaded_once(monkeypatch):
    found, loaded = measured(monkeypatch, [99.0] * WARM_UPS * 4 + [2.0] * 4 + [2.1] * 4 + [2.0] * 4)
    assert [level.level for level in found.levels] == ["1.0", "2.0", "3.0", "4.0"]
    assert found.levels[0].seconds == pytest.approx((2.0, 2.1, 2.0))
    assert [level.median_seconds for level in found.levels] == pytest.approx([2.0] * 4)
    assert {level.load_seconds for level in found.levels} == {7}
    assert {level.peak_memory_bytes for level in found.levels} == {None}
    imports, pipeline = loaded  # the first one pays for what it imports, and draws nothing
    assert imports.drawn == []
    warmed, timed = pipeline.drawn[: 4 * WARM_UPS], pipeline.drawn[4 * WARM_UPS :]
    assert warmed == [shift for shift in (1.0, 2.0, 3.0, 4.0) for _ in range(WARM_UPS)]
    assert timed == [1.0, 2.0, 3.0, 4.0, *(4.0, 3.0, 2.0, 1.0), *(2.0, 4.0, 1.0, 3.0)]
    assert (found.device, found.notes) == (str(Pipeline.device), ())


def test_a_machine_that_becomes_slower_makes_no_level_slower(monkeypatch):
    slower = [1.0 + 0.01 * picture for picture in range(4 * (WARM_UPS + 4))]
    found, _ = measured(monkeypatch, slower, repeats=4)
    timed = slower[4 * WARM_UPS :]
    assert [sum(level.seconds) for level in found.levels] == pytest.approx([sum(timed) / 4] * 4)
    assert [level.median_seconds for level in found.levels] == pytest.approx([sum(timed) / 16] * 4, rel=0.01)


def test_weights_that_loras_rewrite_are_in_no_levels_time(monkeypatch):
    axes = (axis("shift", 3.0, 4.0), axis("loras", "", "a.safetensors", "b.safetensors"))
    found, _ = measured(monkeypatch, [2.0], axes=axes, kind=RewritingPipeline)
    assert {level.level: level.seconds for level in found.levels} == {
        f"{shift} x {loras}": pytest.approx((2.0, 2.0, 2.0))
        for shift in ("3.0", "4.0")
        for loras in (level.name for level in axes[1].levels)
    }


def test_no_more_levels_take_turns_than_an_engine_keeps_graphs_for(monkeypatch):
    shifts = [float(shift) for shift in range(1, 11)]
    _, (_, pipeline) = measured(monkeypatch, [2.0], axes=(axis("shift", *shifts),))
    of_the_first = 8 * (WARM_UPS + 3)
    assert set(pipeline.drawn[:of_the_first]) == set(shifts[:8])
    assert set(pipeline.drawn[of_the_first:]) == set(shifts[8:])


def test_a_busy_machine_and_times_that_lie_apart_are_told(monkeypatch):
    found, _ = measured(monkeypatch, [9.0] * WARM_UPS * 4 + [2.0] * 4 + [3.0] * 4 + [2.0] * 4, load_average=4.25)
    assert found.notes[0] == "4.2 processes were running on this machine when it began"
    assert found.notes[1] == "the times of 1.0 lie 50% of their median apart"
    assert speed_sentences(found, "shift", "3.0")[1].startswith("The measurement may be disturbed: 4.2 processes")


def test_another_model_is_refused(monkeypatch):
    monkeypatch.setattr(Pipeline, "fingerprint", "0" * 64)
    with pytest.raises(CheckpointError, match="is another model now than that of shift_sweep"):
        measured(monkeypatch, [1.0])


def test_nothing_can_be_measured_without_a_picture():
    plan = sample_plan(prompts=1)
    with pytest.raises(OutputError, match="There is no finished picture"):
        measure_speeds(sample_manifest(plan), sample_records(plan, lambda run: "failed"), lambda _: None, repeats=1)


def test_settings_are_the_commands_with_what_was_chosen_for_compile():
    plan = sample_plan(prompts=1)
    manifest = sample_manifest(plan)
    raw = {**manifest.raw, "config": {"engine": {"model_path": "m", "compile": "auto", "dit_device": "cpu"}}}
    record = replace(sample_records(plan, lambda run: {})[0], numerics={"compile": "off"})
    settings = settings_of(Manifest(**{**vars(manifest), "raw": raw}), record)
    assert (settings.model_path, settings.compile, settings.dit_device) == ("m", "off", "cpu")


def some_speeds(*numbers: tuple[str, float, float | None]) -> Speeds:
    levels = [LevelSpeed(name, (s, s), None if m is None else int(m * GIB), 20.0) for name, s, m in numbers]
    return Speeds(tuple(levels), "NVIDIA H100", "2026-01-01T00:00:00+00:00")


def test_sentences_order_levels_by_seconds_and_hold_them_against_the_baseline():
    found = some_speeds(("3.0", 2.0, 16), ("1.0", 1.0, 8), ("2.0", 3.0, 16))
    assert speed_sentences(found, "shift", "3.0") == [
        "Alone and warm on NVIDIA H100, median of 2, by shift: 1.0 takes 1 s a picture (0.50 of 3.0's), 8.0 GiB at "
        "most (0.50), 20 s to load; 3.0 takes 2 s a picture, 16.0 GiB at most, 20 s to load; "
        "2.0 takes 3 s a picture (1.50 of 3.0's), 16.0 GiB at most (1.00), 20 s to load."
    ]
    (told,) = speed_sentences(some_speeds(("3.0", 2.0, None)), "shift", "3.0")
    assert told.endswith("20 s to load. This device does not tell how much memory a picture took.")


def test_a_level_is_unbeaten_if_no_other_is_as_good_in_quality_fidelity_time_and_memory():
    plan = sample_plan(prompts=6, baseline={"shift": "3.0"})
    rewards = {"1.0": 0.5, "2.0": 0.4, "3.0": 0.5, "4.0": 0.4}
    similarities = {"1.0": 0.9, "2.0": 0.8, "3.0": 1.0, "4.0": 0.9}
    records = [
        replace(record, scores={"image_reward": rewards[record.level], "ssim": similarities[record.level]})
        for record in sample_records(plan, lambda run: {})
    ]
    analysis = analyse(sample_manifest(plan), records, METRICS)
    speeds = some_speeds(("1.0", 1.0, 8), ("2.0", 1.0, 8), ("3.0", 2.0, 16), ("4.0", 2.0, 4))
    table = speed_table(analysis, speeds)
    assert table.judged_by == "ImageReward, SSIM, seconds, memory"
    assert [row.is_unbeaten for row in table.rows] == [
        True,
        False,
        True,
        True,
    ]  # 1.0 is better than 2.0
    assert table.sentence == (
        "No other measured level is at least as good in all of ImageReward, SSIM, seconds, memory as: 1.0, 3.0, 4.0."
    )
    assert [(row.seconds, row.memory, row.load) for row in table.rows[:1]] == [("1 s", "8.0 GiB", "20 s")]
    assert dict(zip(table.measures, table.rows[0].scores, strict=True)) == {"ImageReward": "0.500", "SSIM": "0.900"}


def test_a_measurement_is_read_as_it_was_written_and_a_damaged_one_is_named(tmp_path: Path):
    folder = write_results(tmp_path / "r", sample_plan(prompts=2), lambda run: {})
    assert read_speeds(folder, CONDITIONS.hash) is None
    found = replace(some_speeds(("3.0", 2.0, 16), ("1.0", 1.0, None)), conditions=CONDITIONS.hash)
    write_speeds(folder, found)
    assert read_speeds(folder, CONDITIONS.hash) == found
    (folder / "speed.json").write_text('{"format": 1, "levels": [{"level": "3.0", "seconds": []}]}')
    with pytest.raises(OutputError, match=r"speed\.json is damaged .*measure_speed\.py writes it anew"):
        read_speeds(folder, CONDITIONS.hash)
    assert "speed.json is damaged" in write_report(folder).read_text()


def test_the_command_measures_the_levels_of_a_real_experiment(tmp_path: Path, tiny_checkpoint: Path):
    arguments = [f"--model-path={tiny_checkpoint}", "--dit-device=cpu", "--text-encoder-device=cpu", "--vae-device=cpu"]
    arguments += ["--sweep=steps=1,4", "--prompt-ids=simple_001,simple_002", f"--output-dir={tmp_path}", "--name=s"]
    drawn = CliRunner().invoke(run_ablation, [*arguments, "--metric=psnr_db"])
    assert drawn.exit_code == 0, drawn.output
    before = {path.name: path.read_bytes() for path in (tmp_path / "s" / "images").iterdir()}
    done = CliRunner().invoke(measure_speed, [str(tmp_path / "s"), "--repeats=2"])
    assert done.exit_code == 0, done.output
    assert "Alone and warm on cpu, median of 2, by num_inference_steps:" in done.stdout
    assert "This device does not tell how much memory a picture took." in done.stdout
    found = read_speeds(tmp_path / "s", ResultStore(tmp_path / "s").manifest().conditions.hash)
    assert [(level.level, len(level.seconds)) for level in found.levels] == [("1", 2), ("4", 2)]
    assert min(found.levels[0].seconds) > 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "s" / "images").iterdir()} == before
    page = (tmp_path / "s" / "report.html").read_text()
    assert "<h2>Speed beside quality</h2>" in page
    assert "<dt>Speed</dt>" in page
    assert "PSNR <small>distance from" in page
    told = CliRunner().invoke(analyze, [str(tmp_path / "s")]).stdout
    assert "Speed: Alone and warm on cpu" in told
    assert "Speed: No other measured level is at least as good in all of PSNR, seconds as: " in told
    assert ResultStore(tmp_path / "s").manifest().name == "s"
    assert json.loads((tmp_path / "s" / "speed.json").read_text())["format"] == 1


def test_what_was_measured_of_other_pictures_is_told_and_not_shown(tmp_path: Path):
    folder = write_results(tmp_path / "r", sample_plan(prompts=2), lambda run: {"image_reward": 0.5})
    write_speeds(folder, replace(some_speeds(("3.0", 2.0, 16), ("1.0", 1.0, 8)), conditions="others"))
    sentence = (
        "was measured with other settings than the pictures have that are there now; measure_speed.py measures anew"
    )
    page = write_report(folder).read_text()
    assert sentence in page
    assert "<h2>Speed beside quality</h2>" not in page
    told = CliRunner().invoke(analyze, [str(folder)])
    assert told.exit_code == 0
    assert sentence in told.stderr
    assert "Speed: " not in told.stdout


def test_the_frontier_stands_on_the_seconds_that_were_measured_alone(tmp_path: Path):
    plan = sample_plan(prompts=6)
    folder = write_results(tmp_path / "r", plan, lambda run: {"image_reward": run.params.shift, "ssim": 0.5})
    manifest, records = ResultStore(folder).manifest(), ResultStore(folder).runs()
    analysis = analyse(manifest, records, METRICS)
    speeds = some_speeds(("1.0", 4.0, 8), ("2.0", 3.0, 8), ("3.0", 2.0, 8), ("4.0", 1.0, 8))
    plots = frontiers_of(analysis, speeds)
    for plot in plots[:2]:
        assert {point.level: point.cost for point in plot.points} == {
            "1.0": "4 s",
            "2.0": "3 s",
            "3.0": "2 s",
            "4.0": "1 s",
        }
    titles = ["ImageReward", "SSIM"]
    assert [(plot.title, plot.unit) for plot in plots] == [(title, unit) for unit in ("s", "GiB") for title in titles]
    assert {point.cost for plot in plots[2:] for point in plot.points} == {"8 GiB"}
    assert [plot.what.endswith(", against memory") for plot in plots] == [False, False, True, True]
    on_a_cpu = frontiers_of(analysis, some_speeds(("1.0", 4.0, None), ("3.0", 2.0, None)))
    assert [plot.unit for plot in on_a_cpu] == ["s", "s"]
    (drawn, _) = frontiers_of(analysis, None)
    assert {point.cost for point in drawn.points} == {"0.45 s"}, "else it is the time of the pictures, 9 steps of 0.05"


def test_the_command_measures_in_the_same_go_with_the_device_to_itself(
    tmp_path: Path, tiny_checkpoint: Path, monkeypatch
):
    released = []
    monkeypatch.setattr(
        "experiments.running.models.OwnModels.release", lambda self: released.append(self._model.release())
    )
    arguments = [f"--model-path={tiny_checkpoint}", "--dit-device=cpu", "--text-encoder-device=cpu", "--vae-device=cpu"]
    arguments += ["--sweep=quantization=none,int8", "--steps=1", "--prompt-ids=simple_001", f"--output-dir={tmp_path}"]
    done = CliRunner().invoke(run_ablation, [*arguments, "--name=s", "--measure-speed", "--metric=psnr_db"])
    assert done.exit_code == 0, done.output
    assert "Loading" in done.stderr and "(quantization int8) ..." in done.stderr
    assert "Measuring the speed of int8 ..." in done.stderr
    assert "Alone and warm on cpu, median of 5, by quantization: " in done.stdout
    assert len(released) == 2, "before it is measured, and before it is scored"
    store = ResultStore(tmp_path / "s")
    found = read_speeds(store.folder, store.manifest().conditions.hash)
    assert [(level.level, len(level.seconds)) for level in found.levels] == [("none", REPEATS), ("int8", REPEATS)]
    assert "<h2>Speed beside quality</h2>" in (store.folder / "report.html").read_text()
    with_workers = CliRunner().invoke(run_ablation, [*arguments, "--measure-speed", "--workers=1"])
    assert with_workers.exit_code == 2
    assert (
        "--measure-speed measures this process's device, and the pictures are drawn by workers" in with_workers.output
    )


def test_a_measurement_that_is_stopped_or_fails_keeps_the_pictures_and_says_why(tmp_path: Path, monkeypatch):
    folder = write_results(tmp_path / "r", sample_plan(prompts=2), lambda run: {})
    store = ResultStore(folder)
    asked = request_from_arguments(["--sweep=shift=2,3"], Config())
    going = _Going(asked, store, "c", Events(), lambda: True)
    assert _measure(going, 2) == ([], [])
    monkeypatch.setattr(speed, "_pipeline", lambda settings, planned: Pipeline([0.0], [1.0]))
    monkeypatch.setattr(Pipeline, "fingerprint", "0" * 64)
    told, (problem,) = _measure(replace(going, should_stop=lambda: False), 2)
    assert told == []
    assert problem.startswith("The speed could not be measured: ")
    assert "is another model now" in problem
    assert not (folder / "speed.json").exists()


def test_a_measurement_that_cannot_be_written_or_is_of_another_version_is_said(tmp_path: Path) -> None:
    speeds = Speeds((LevelSpeed("3.0", (1.0,), None, 2.0),), "cpu", "2026-01-01")
    with pytest.raises(OutputError, match=r"speed\.json can't be written"):
        write_speeds(tmp_path / "none" / "deeper", speeds)
    write_speeds(tmp_path, speeds)
    (path,) = tmp_path.iterdir()
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(OutputError):
        read_speeds(tmp_path, "")


def test_of_many_levels_the_fastest_are_named_and_the_others_counted() -> None:
    levels = tuple(LevelSpeed(str(index), (float(index + 1),), None, 2.0) for index in range(8))
    (sentence,) = speed_sentences(Speeds(levels, "cpu", "2026-01-01"), "shift", "0")
    assert "5 takes 6 s a picture (6.00 of 0's), 2 s to load; 2 more, see the table." in sentence
