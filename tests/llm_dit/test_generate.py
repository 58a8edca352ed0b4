"""`scripts/generate.py` as a user runs it: what it prints, its exit codes, and what it leaves behind."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from llm_dit.errors import LlmDitError
from llm_dit.image_io import read_parameters

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "generate.py"


@pytest.fixture(scope="module")
def command():
    spec = importlib.util.spec_from_file_location("generate", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def run(command, tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments, model=str(tiny_checkpoint)):
        return CliRunner().invoke(command, ["--model-path", model, *arguments], catch_exceptions=False)

    return invoke


def test_a_prompt_alone_writes_a_png_and_prints_where(run, tmp_path):
    result = run("A red apple on a wooden table")
    assert result.exit_code == 0, result.output
    path = tmp_path / result.stdout.strip()
    assert path.parent.name == "outputs"
    assert "a-red-apple-on-a-wooden-table" in path.name
    with Image.open(path) as image:
        assert image.size == (64, 64)
    assert f"seed {read_parameters(path)['parameters']['seed']}" in result.stderr


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("\u4e00\u53ea\u72d0\u72f8\uff0c\u5728\u96ea\u5730\u91cc", "\u4e00\u53ea\u72d0\u72f8-\u5728\u96ea\u5730\u91cc"),
        ("Ein Fuchs, scho\u0308n & gro\u00df", "ein-fuchs-sch\u00f6n-gro\u00df"),
        ("\u0915\u0941\u0924\u094d\u0924\u093e", "\u0915\u0941\u0924\u094d\u0924\u093e"),
        ("../../A cat_dog/", "a-cat-dog"),
        ("\U0001f98a\ufe0f", "image"),
    ],
)
def test_a_file_name_keeps_the_letters_of_any_script(run, tmp_path, prompt, words):
    result = run(prompt, "--steps", "1")
    assert result.exit_code == 0, result.output
    (path,) = (tmp_path / "outputs").iterdir()
    assert re.fullmatch(rf"\d{{8}}-\d{{6}}-\d{{6}}-{words}\.png", path.name)


def test_a_setting_without_effect_is_said_and_drawn(run, tmp_path):
    result = run("A cat", "--negative-prompt", "blurry", "--steps", "1", "--extend-rope")
    assert result.exit_code == 0, result.output
    assert "Warning: --negative-prompt does nothing while guidance_scale is 0; raise guidance_scale" in result.stderr
    assert "Warning: --extend-rope does nothing where max_text_tokens is at most 1504" in result.stderr
    notices = read_parameters(tmp_path / result.stdout.strip())["notices"]
    assert [notice.split()[0] for notice in notices] == ["negative_prompt", "extend_rope"]


def test_flags_reach_the_image(run, tmp_path):
    result = run("A cat", "--steps", "3", "--seed", "7", "--shift", "4", "--width", "96", "--output", "cat.png")
    assert result.exit_code == 0, result.output
    record = read_parameters(tmp_path / "cat.png")
    assert record["parameters"]["num_inference_steps"] == 3
    assert (record["parameters"]["seed"], record["parameters"]["shift"], record["parameters"]["width"]) == (7, 4.0, 96)


def test_loras_are_given_by_a_flag_each(run, tmp_path):
    for name in ("a", "b"):
        change = {"diffusion_model.layers.0.attention.to_q.diff": torch.full((48, 48), 0.1)}
        save_file(change, tmp_path / f"{name}.safetensors")
    result = run("A cat", "--steps=1", "--lora", "a.safetensors:0.8", "--lora", "b.safetensors", "--output", "cat.png")
    assert result.exit_code == 0, result.output
    loras = read_parameters(tmp_path / "cat.png")["loras"]
    assert [(item["file"], item["strength"]) for item in loras] == [("a.safetensors", 0.8), ("b.safetensors", 1.0)]


def test_a_missing_lora_is_one_sentence(run):
    result = run("A cat", "--lora", "no.safetensors")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "LoRA no.safetensors does not exist; give a .safetensors file, or set loras_folder." in result.stderr


@pytest.mark.parametrize(
    ("arguments", "mode"),
    [
        (["--compile", "A cat"], "on"),
        (["A cat", "--compile"], "on"),
        (["--no-compile", "A cat"], "off"),
        (["--compile", "off", "A cat"], "off"),
        (["--compile=off", "A cat"], "off"),
        (["--compile", "--prompt", "A cat"], "on"),
        (["--compile", "--", "A cat"], "on"),
    ],
)
def test_a_switch_of_three_ways_needs_no_value_and_leaves_the_prompt_alone(command, monkeypatch, arguments, mode):
    seen = {}

    def load(*, settings, planned):
        seen["compile"] = settings.compile
        raise LlmDitError("enough")

    monkeypatch.setattr("llm_dit.pipeline.ZImagePipeline.from_pretrained", load)
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.stderr == "Error: enough\n"
    assert seen == {"compile": mode}


def test_a_value_that_is_nearly_one_is_no_prompt(run):
    result = run("--compile", "onn", "A cat")
    assert result.stderr == "Error: --compile 'onn' is not allowed; use one of auto, on, off; did you mean 'on'?\n"


def test_a_device_that_is_not_there_is_known_before_anything_is_loaded(run, monkeypatch):
    monkeypatch.setattr("llm_dit.pipeline.ZImagePipeline.from_pretrained", lambda **_: pytest.fail("loaded"))
    result = run("A cat", "--dit-device", "cuda:77")
    assert result.exit_code == 2


def test_the_profile_of_a_file_is_used_and_flags_win(run, tmp_path):
    (tmp_path / "c.toml").write_text(
        "[default.scheduler]\nshift = 2.0\n[rtx4090.generation]\nnum_inference_steps = 2\n"
    )
    result = run("A cat", "--config", "c.toml", "--profile", "rtx4090", "--seed", "1", "--output", "cat.png")
    assert result.exit_code == 0, result.output
    parameters = read_parameters(tmp_path / "cat.png")["parameters"]
    assert (parameters["shift"], parameters["num_inference_steps"]) == (2.0, 2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["A cat", "--height", "1000"], "--height 1000 is not a multiple of 16; use 992 or 1008."),
        (["A cat", "--height", "0"], "--height 0 is not allowed; use a whole number 64 to 4096 pixels."),
        (["A cat", "--width", "100000"], "--width 100000 is not allowed; use a whole number 64 to 4096 pixels."),
        (["A cat", "--steps", "0"], "--steps 0 is not allowed; use a whole number 1 to 1000 steps."),
        (["A cat", "--shift", "nan"], "--shift nan is not allowed; use a number above 0 up to 100."),
        (["A cat", "--num-inference-steps", "0"], "--num-inference-steps 0 is not allowed; use a whole number 1 to"),
        ([], 'The prompt is missing; say what the image shows, such as "A red fox".'),
        (["--compile"], "The prompt is missing; say what the image shows"),
        (["a", "cat"], 'The prompt has to stand in quotes: "a cat".'),
        (["A cat", "--prompt", "A dog"], "Give the prompt once: 'A cat' and --prompt 'A dog' are two."),
        (["--attention-backend", "A cat"], "--attention-backend 'A cat' is not allowed; use one of auto, sdpa,"),
        (["A cat", "--dit-device", "cuda:77"], "--dit-device cuda:77 is not on this machine, which has"),
        (["A cat", "--vae-device", "mps"], "--vae-device mps is not on this machine; use auto or cpu."),
        ([""], "The prompt is empty; say what the image shows."),
        (["word " * 100_000], "The prompt has 500,000 characters, and at most 100,000 are read; shorten it."),
        (["A cat", "--dit-device", "tpu"], "--dit-device 'tpu' is not a device; use auto, cpu, cuda, cuda:N or mps."),
        (["A cat", "--text-encoder-device", "cuda:77"], "--text-encoder-device cuda:77 is not on this machine"),
        (["A cat", "--hidden-layer", "-9"], "--hidden-layer -9 is not in this model; use -7 to -1."),
        (["A cat", "--output", "/dev/null/cat.png"], "--output /dev/null/cat.png can't be written"),
        (["A cat", "--output", "cat.jpg"], "--output cat.jpg is not a .png file; images are written as PNG."),
        (["A cat", "--config", "none.toml"], "none.toml does not exist; copy config.toml.example to start one."),
    ],
    ids=lambda value: " ".join(value)[-20:] if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence_exit_code_2_and_nothing_written(run, tmp_path, arguments, sentence):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {sentence}")
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_rewrite_draws_what_the_language_model_wrote(run, tmp_path):
    result = run("A cat", "--rewrite", "--max-tokens", "12", "--seed", "1", "--steps", "1", "--output", "cat.png")
    assert result.exit_code == 0, result.output
    drawn = read_parameters(tmp_path / "cat.png")["parameters"]["prompt"]
    assert drawn != "A cat"
    assert f"prompt: {drawn}" in result.stderr


def test_an_unknown_rewriter_is_refused_before_the_model_is_loaded(run):
    result = run("A cat", "--rewriter", "no-such", model="./no-such-model")
    assert result.exit_code == 2
    assert "There is no rewriter template 'no-such'" in result.stderr


def test_a_missing_model_is_one_sentence(run, tmp_path):
    result = run("A cat", model="./no-such-model")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: Model folder ./no-such-model does not exist")
    assert list(tmp_path.iterdir()) == []


def test_help_lists_every_flag_without_loading_torch():
    code = (
        "import sys, runpy; sys.argv = ['generate.py', '--help']\n"
        f"try: runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'diffusers', 'numpy', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for flag in ("--steps", "--num-inference-steps", "--long-prompt-mode", "--text-encoder-device", "--output"):
        assert flag in result.stdout
