"""The lab's command line as a user meets it: lists, plans, runs, and what it says when something is wrong."""

import json
import os
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from experiments.run_ablation import main
from experiments.store.result_store import ResultStore


def plan_table(output):
    """Return the rows of the printed plan."""
    return dict(re.findall(r"│ (.+?) +│ (.+?) +│", output))


def test_lists_plans_and_help_answer_without_torch(tiny_checkpoint, tmp_path):
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from experiments.run_ablation import main\n"
        "def answers(*arguments, without):\n"
        "    result = CliRunner().invoke(main, arguments)\n"
        "    assert result.exit_code == 0, result.output\n"
        "    assert not without & sys.modules.keys(), without & sys.modules.keys()\n"
        "heavy = {'torch', 'transformers', 'diffusers', 'pandas'}\n"
        "for flag in ('--help', '--list-experiments', '--list-prompts'):\n"
        "    answers(flag, without=heavy | {'scipy'})\n"
        f"model = {str(tiny_checkpoint)!r}\n"
        "answers('--experiment', 'shift_sweep', '--model-path', model, '--dry-run', without=heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == [], "a dry run writes nothing"


def test_what_draws_nothing_answers_without_torch(run, tiny_checkpoint, tmp_path):
    arguments = ["--sweep", "shift=1,2", "--max-prompts", "1", "--steps", "1", "--height", "64", "--width", "64"]
    arguments += ["--dit-device", "cpu", "--text-encoder-device", "cpu", "--name", "light"]
    drawn = run(*arguments)
    assert drawn.exit_code == 0, drawn.stderr
    (folder,) = (path.parent for path in tmp_path.rglob("manifest.json"))
    before = json.loads((folder / "manifest.json").read_text())
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from experiments import analyze, report, run_ablation\n"
        "def answers(command, *arguments):\n"
        "    result = CliRunner().invoke(command, arguments)\n"
        "    assert result.exit_code == 0, result.output\n"
        "    heavy = {'torch', 'transformers', 'diffusers', 'matplotlib'} & sys.modules.keys()\n"
        "    assert not heavy, (arguments, heavy)\n"
        "    return result.output\n"
        f"again = answers(run_ablation.main, '--model-path', {str(tiny_checkpoint)!r}, *{arguments!r})\n"
        "assert '0 runs to do, 2 finished before.' in again, again\n"
        f"answers(analyze.main, {str(folder)!r})\n"
        f"answers(report.main, {str(folder)!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = json.loads((folder / "manifest.json").read_text())
    assert after["versions"] == before["versions"], "those that made the pictures"
    assert (after["device"], after["sessions"]) == (before["device"], before["sessions"])


def test_the_lists_name_every_experiment_and_every_prompt():
    listed = CliRunner().invoke(main, ["--list-experiments"]).output
    for name in ("shift_sweep", "shift_steps_grid", "steps_only", "hidden_layer", "think_block", "system_prompt"):
        assert re.search(rf"^{name}$", listed, re.MULTILINE), name
    assert "1.0, 2.0, 3.0, 4.0, 5.0, 6.0  (baseline 3.0)" in listed
    prompts = CliRunner().invoke(main, ["--list-prompts"]).output
    assert len(re.findall(r"^    (\w+_[\d.]+) ", prompts, re.MULTILINE)) == 60 + 30 + 3 * 6


def test_a_dry_run_counts_the_plan(run, tmp_path):
    result = run("--experiment", "shift_sweep", "--prompt-category", "animals", "--seeds", "42,123", "--dry-run")
    assert result.exit_code == 0, result.output
    table = plan_table(result.output)
    assert table["runs"] == "72"
    assert (table["levels"], table["prompts"], table["seeds"]) == ("6", "6", "2")
    assert table["distinct encodings"] == "6"
    assert table["transformer evaluations"] == str(72 * 9)
    assert table["axis shift"] == "1.0, 2.0, 3.0, 4.0, 5.0, 6.0  (baseline 3.0)"
    assert {"disk", "time", "folder"} <= table.keys()
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_counts_both_branches_of_guidance_and_the_negative_prompt(run):
    result = run("--experiment", "guidance", "--max-prompts", "2", "--steps", "4", "--dry-run")
    table = plan_table(result.output)
    assert table["distinct encodings"] == "3"
    assert table["transformer evaluations"] == str(2 * (4 + 3 * 8))


def test_a_setting_that_does_nothing_at_any_level_is_said(run):
    idle = ("--negative-prompt", "blurry", "--max-prompts", "1", "--dry-run")
    sentence = "Warning: negative_prompt does nothing while guidance_scale is 0; raise guidance_scale, or leave it out."
    assert sentence in run("--sweep", "shift=1,2", *idle).output
    assert "does nothing" not in run("--sweep", "guidance_scale=0,2", *idle).output


@pytest.mark.parametrize("arguments", [["--dit-device", "cuda:77"], ["--vae-device", "mps"]])
def test_a_device_that_is_not_there_is_known_before_any_folder_is_made(run, tmp_path, arguments):
    result = run("--sweep", "shift=1,2", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {' '.join(arguments)} is not on this machine")
    assert "Loading" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_seeds_out_of_range_are_called_seeds(run):
    result = run("--sweep", "shift=1,2", "--seeds", "-1", "--dry-run")
    assert result.stderr == "Error: --seeds -1 is not allowed; use a whole number 0 to 9007199254740991.\n"


def test_a_short_name_is_an_axis_and_a_fixed_parameter(run, tmp_path):
    assert plan_table(run("--sweep", "steps=1,2", "--max-prompts", "1", "--dry-run").output)["axis num_inference_steps"]
    (tmp_path / "mine.yaml").write_text(
        "version: 1\nexperiments:\n  mine:\n    fixed: {guidance_scale: 0}\n"
        "    axes:\n      steps: [4, 9]\n      speed: {quick: {shift: 2}, usual: {shift: 3}}\n"
        "    baseline: {steps: 9, speed: usual}\n"
    )
    result = run("--experiments-file", "mine.yaml", "--experiment", "mine", "--max-prompts", "1", "--dry-run")
    assert plan_table(result.output)["axis num_inference_steps"] == "4, 9  (baseline 9)", result.output


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_a_hundred_thousand_runs_are_planned_in_five_seconds_and_500_megabytes(tiny_checkpoint, tmp_path):
    arguments = ["--sweep", "shift=1..25", "--max-prompts", "40", "--seeds", "0..99", "--dry-run"]
    code = (
        "import atexit, pathlib, time\n"
        "atexit.register(lambda: print('processor seconds:', time.process_time()))\n"
        "atexit.register(lambda: print(pathlib.Path('/proc/self/status').read_text()))\n"
        f"from experiments.run_ablation import main; main({['--model-path', str(tiny_checkpoint), *arguments]!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert plan_table(done.stdout)["runs"] == "100,000", done.stderr
    assert float(re.search(r"processor seconds: ([\d.]+)", done.stdout)[1]) < 5
    peak_kilobytes = int(re.search(r"VmHWM:\s+(\d+) kB", done.stdout)[1])
    assert peak_kilobytes < 500_000


SPEEDS = """
version: 1
experiments:
  speeds:
    axes:
      speed:
        usual: {{num_inference_steps: 2}}
        quick: {{num_inference_steps: {steps}}}
"""


def test_a_dry_run_counts_as_the_command_does(run, tmp_path):
    asked = ("--experiments-file", "mine.yaml", "--experiment", "speeds", "--max-prompts", "2", "--output-dir", "out")
    (tmp_path / "mine.yaml").write_text(SPEEDS.format(steps=1))
    assert plan_table(run(*asked, "--dry-run").output)["to do"] == "4"
    assert "4 images made" in run(*asked).output
    finished = plan_table(run(*asked, "--dry-run").output)
    assert (finished["on disk already"], finished["to do"], finished["time"].split(" (")[0]) == ("4", "0", "about 0 s")
    (tmp_path / "mine.yaml").write_text(SPEEDS.format(steps=3))
    stale = plan_table(run(*asked, "--dry-run").output)
    assert (stale["on disk already"], stale["to do"], stale["stale"].split()[0]) == ("2", "0", "2")
    assert "0 images made" in run(*asked).output
    assert plan_table(run(*asked, "--overwrite", "--dry-run").output)["to do"] == "2"
    assert "2 images made" in run(*asked, "--overwrite").output


def test_a_dry_run_refuses_what_the_command_refuses(run):
    asked = ("--sweep", "shift=2,3", "--steps", "1", "--max-prompts", "1", "--output-dir", "out")
    assert run(*asked).exit_code == 0
    for more in ((), ("--dry-run",)):
        result = run(*asked, "--width", "128", *more)
        assert result.exit_code == 2
        assert "2 results are stale, made with other inputs (width: 64 -> 128)" in result.output
    assert plan_table(run(*asked, "--width", "128", "--overwrite", "--dry-run").output)["to do"] == "2"


def test_a_hidden_layer_that_the_model_lacks_is_known_before_anything_is_loaded(run, tmp_path):
    for more in ((), ("--dry-run",)):
        result = run("--sweep", "hidden_layer=-2,-20", "--max-prompts", "1", "--output-dir", "out", *more)
        assert result.exit_code == 2
        assert "-20 is not in this model; use -7 to -1" in result.output
        assert "level -20" in result.output
        assert "Loading" not in result.output
    assert not (tmp_path / "out").exists()


def test_levels_that_are_secretly_equal_are_reported_before_the_run(run):
    result = run("--sweep", "negative_prompt=blurry,dark", "--max-prompts", "1", "--dry-run")
    assert "Warning: The levels blurry, dark are secretly equal" in result.output


def test_every_depth_of_the_model_is_planned(run):
    result = run("--experiment", "hidden_layer_deep", "--max-prompts", "1", "--dry-run")
    assert (
        plan_table(result.output)["axis hidden_layer"] == "-1, last_before_norm, -2, -3, -4, -5, -6, -7  (baseline -2)"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--experiment", "shift_swep"], "no experiment 'shift_swep'; did you mean 'shift_sweep'"),
        ([], "Give --experiment or --sweep"),
        (["--experiment", "shift_sweep", "--sweep", "shift=1,2"], "Give --experiment or --sweep, one of them"),
        (["--experiment", "shift_sweep", "--prompt-category", "animal"], "'animal' does not exist; did you mean"),
        (["--experiment", "shift_sweep", "--prompt-ids", "animal_01"], "did you mean 'animal_001'"),
        (["--experiment", "shift_sweep", "--shift", "4"], "--shift is an axis of shift_sweep"),
        (["--experiment", "shift_sweep", "--seeds", "a"], "--seeds 'a' is not a list of whole numbers"),
        (["--experiment", "shift_sweep", "--seeds", "-1"], "--seeds -1"),
        (["--experiment", "shift_sweep", "--seeds", "1", "--seed", "2"], "--seeds or --seed, not both"),
        (["--experiment", "shift_sweep", "--steps", "0"], "--steps 0"),
        (["--experiment", "shift_sweep", "--width", "1000"], "--width 1000 is not a multiple of 16; use 992 or 1008"),
        (["--experiment", "shift_sweep", "--name", "../x"], "--name '../x'"),
        (["--sweep", "shift=0"], "--sweep shift=0: shift 0"),
        (["--sweep", "max_text_tokens=1024,2048"], "--max-text-tokens 2048"),
        (["--experiment", "shift_sweep", "--prompts-file", "none.yaml"], "none.yaml does not exist"),
        (["--experiment", "a", "--experiments-file", "none.yaml"], "none.yaml does not exist"),
        (["--experiment", "shift_sweep", "--config", "none.toml"], "none.toml does not exist"),
        (["--experiment", "shift_sweep", "--model-path", "nowhere"], "Model folder nowhere does not exist"),
        (["--experiment", "shift_sweep", "--dit-device", "tpu"], "--dit-device"),
    ],
)
def test_a_mistake_is_one_sentence_with_exit_code_2_and_nothing_is_written(run, tmp_path, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_cant_be_made_is_known_before_the_model_is_loaded(run, tmp_path):
    (tmp_path / "out").write_text("a file")
    result = run("--experiment", "shift_sweep", "--output-dir", "out")
    assert result.exit_code == 2
    assert "out/shift_sweep can't be made" in result.stderr
    assert "Loading" not in result.stderr


def test_a_folder_that_is_in_use_is_known_before_the_model_is_loaded(run, tmp_path):
    store = ResultStore(tmp_path / "out/shift_sweep")
    store.create()
    with store.lock(command="another one"):
        result = run("--experiment", "shift_sweep", "--output-dir", "out")
    assert result.exit_code == 2
    assert f"in use by process {os.getpid()} on " in result.stderr
    assert "Loading" not in result.stderr


def test_a_dry_run_says_what_the_design_can_find_and_how_many_prompts_a_difference_takes(run):
    asked = ("--sweep", "shift=1,2", "--max-prompts", "12", "--dry-run")
    assert "With 12 prompts and 1 comparison, 4 in 5 such experiments find a difference of 0.89" in run(*asked).output
    told = run(*asked, "--spread", "image_reward=0.5", "--detect", "0.25").output
    assert "image_reward: 4 in 5 such experiments find a difference of 0.25 with 34 prompts." in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--detect", "0.2"), "--detect is told by a plan; add --dry-run"),
        (("--spread", "image_reward=1"), "--spread is told by a plan; add --dry-run"),
        (("--detect", "0", "--dry-run"), "--detect 0 is no difference; use a number above 0"),
        (("--detect", "0.2", "--dry-run"), "has no scored results of this model; add for example --spread"),
        (("--spread", "image_reward", "--dry-run"), "is no measure with a standard deviation above 0"),
        (("--spread", "image_reward=-1", "--dry-run"), "is no measure with a standard deviation above 0"),
        (("--spread", "image_rewrad=1", "--dry-run"), "--spread 'image_rewrad' is no measure; did you mean"),
        (("--primary", "image_rewrad", "--dry-run"), "--primary 'image_rewrad' is no measure; did you mean"),
    ],
)
def test_sizes_and_measures_that_cant_be_are_one_sentence(run, arguments, message):
    result = run("--sweep", "shift=1,2", "--max-prompts", "2", *arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_the_measure_that_counts_is_named_once_and_stands_everywhere(run, tmp_path):
    asked = ("--sweep", "shift=1,2", "--max-prompts", "2", "--steps", "1", "--output-dir", "out", "--name", "trial")
    assert run(*asked, "--primary", "image_reward").exit_code == 0
    for more in ((), ("--dry-run",)):
        other = run(*asked, "--primary", "siglip_score", *more)
        assert other.exit_code == 2
        assert "is image_reward, and it can't be chosen again" in other.output
    assert run(*asked, "--seeds", "1,2").exit_code == 0
    folder = tmp_path / "out" / "trial"
    assert json.loads((folder / "manifest.json").read_text())["primary"]["measure"] == "image_reward"
    summary = json.loads((folder / "trial_summary.json").read_text())
    assert (summary["primary"], [found["by"] for found in summary["analyses"]]) == ("image_reward", ["run_ablation.py"])
    assert "The measure that counts is image_reward, which no picture has yet." in (folder / "report.html").read_text()
