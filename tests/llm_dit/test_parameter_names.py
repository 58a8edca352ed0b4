"""Other names of parameters: short ones on every surface, and what other tools call them."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from llm_dit.cli import Command, config_from_flags, parameter_options, user_errors
from llm_dit.config import Config, load_config
from llm_dit.errors import InvalidParameter
from llm_dit.parameters import GROUPS, PARAMETERS, SHORT_NAMES, EngineSettings, GenerationParams
from llm_dit.parameters.names import NOT_HERE, meant, not_here

OTHER_TOOLS = {
    # llm-dit-experiments
    "steps": "num_inference_steps",
    "cfg": "guidance_scale",
    "cfg_scale": "guidance_scale",
    "sampler shift": "shift",
    "enable_thinking": "force_think_block",
    "cpu_offload": "vram_limit",
    "tiled_vae": "vae_tiling",
    "flash_attn": "attention_backend",
    "templates_dir": "templates_dir",
    # diffusers
    "torch_dtype": "dtype",
    "enable_model_cpu_offload": "vram_limit",
    "enable_vae_tiling": "vae_tiling",
    "max_sequence_length": "max_text_tokens",
    "guidance_rescale": "cfg_normalization",
    # ComfyUI
    "noise_seed": "seed",
    "ckpt_name": "model_path",
    "weight_dtype": "dtype",
    "stop_at_clip_layer": "hidden_layer",
    "positive": "prompt",
    # A1111, Forge, InvokeAI, SwarmUI
    "Sampling steps": "num_inference_steps",
    "cfgscale": "guidance_scale",
    "Negative prompt": "negative_prompt",
    "medvram": "vram_limit",
    "xformers": "attention_backend",
    "clip_skip": "hidden_layer",
    "model": "model_path",
    "listen": "host",
}


@pytest.mark.parametrize(("theirs", "ours"), OTHER_TOOLS.items())
def test_names_of_other_tools_lead_to_ours(theirs, ours):
    item = meant(theirs, PARAMETERS.values())
    assert item is not None
    assert item.name == ours


def test_no_name_of_other_tools_is_one_of_ours_or_means_two_things():
    elsewhere = [name for item in PARAMETERS.values() for name in item.note.elsewhere.split()]
    assert sorted(set(elsewhere)) == sorted(elsewhere)
    assert not set(elsewhere) & {*PARAMETERS, *SHORT_NAMES}
    missing = [name for names in NOT_HERE.values() for name in names.split()]
    assert not set(missing) & {*elsewhere, *PARAMETERS, *SHORT_NAMES}
    assert sorted(set(missing)) == sorted(missing)


def test_a_short_name_is_taken_wherever_the_whole_one_is(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text("[default.generation]\nsteps = 4\n")
    assert GenerationParams.parse({"prompt": "A cat", "steps": 4}).num_inference_steps == 4
    assert GenerationParams.parse({"prompt": "A cat"}).replaced(steps=4).num_inference_steps == 4
    assert GenerationParams(prompt="A cat", steps=4).num_inference_steps == 4
    assert load_config(file).generation("A cat").num_inference_steps == 4
    assert load_config(file).generation("A cat", steps=3).num_inference_steps == 3
    assert Config({"num_inference_steps": 9}).generation("A cat", steps=3).num_inference_steps == 3


def test_two_names_of_one_parameter_are_refused_together(tmp_path):
    with pytest.raises(InvalidParameter, match="num_inference_steps and steps are one parameter; give one of them"):
        GenerationParams.parse({"prompt": "A cat", "steps": 4, "num_inference_steps": 4})


@pytest.mark.parametrize(
    ("group", "name", "sentence"),
    [
        (GenerationParams, "cfg", "did you mean 'guidance_scale'? Its value is 1 less than what other tools call cfg."),
        (GenerationParams, "sampler", "the sampler is Euler's, which adds no noise"),
        (GenerationParams, "hight", "did you mean 'height'?"),
        (GenerationParams, "cpu_offload", "'vram_limit' is one of EngineSettings, which are not read here."),
        (EngineSettings, "flash_attn", "did you mean 'attention_backend'?"),
        (EngineSettings, "xyz", "valid: attention_backend, compile,"),
    ],
)
def test_an_unknown_name_is_led_to_the_right_one_by_meaning_then_by_letters(group, name, sentence):
    with pytest.raises(InvalidParameter) as error:
        group.parse({"prompt": "A cat", name: 1} if group is GenerationParams else {name: 1})
    assert f"{name} is not a parameter; {sentence}" in str(error.value)


def test_all_that_is_wrong_is_told_at_once_and_no_more_than_can_be_read():
    with pytest.raises(InvalidParameter) as error:
        GenerationParams.parse({"prompt": "A cat", "steps": 0, "hight": 1, "widht": 2})
    assert str(error.value) == (
        "num_inference_steps 0 is not allowed; use a whole number 1 to 1000 steps. "
        "hight is not a parameter; did you mean 'height'? widht is not a parameter; did you mean 'width'?"
    )
    with pytest.raises(InvalidParameter, match=r"\. 95 more are wrong\.$"):
        GenerationParams.parse({"prompt": "A cat", **{f"x{number}": 1 for number in range(100)}})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--cfg", "3"], "--cfg is not an option; did you mean --guidance-scale? Its value is 1 less than what other"),
        (["--sampler-shift", "3"], "--sampler-shift is not an option; did you mean --shift?"),
        (["--flash-attn"], "--flash-attn is not an option; did you mean --attention-backend?"),
        (["--dype", "x"], "--dype is not an option; did you mean --dtype?"),
        (["--denoise", "1"], "--denoise is not an option; every image begins as noise; there is no image to image."),
        (["--xyz"], "--xyz is not an option; --help lists them all."),
        (["--port", "1"], "--port is not an option of this command."),
        (["--listen"], "--listen is not an option; this command does not read --host."),
        (["--cfg", "3", "--hight=3", "--", "--xyz"], "--hight is not an option; did you mean --height?"),
    ],
)
def test_an_unknown_option_is_led_to_the_right_flag(arguments, sentence):
    @click.command(cls=Command)
    @parameter_options(EngineSettings, GenerationParams)
    @user_errors
    def command(**flags):
        config_from_flags(flags)

    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "--xyz" not in result.stderr or arguments == ["--xyz"]


def test_every_group_is_known_to_every_sentence():
    names = {item.name for item in PARAMETERS.values()}
    assert names == {name for group in GROUPS for name in group.model_fields}
    for name in names:
        assert not not_here(name)


def test_no_command_that_reads_parameters_is_left_with_plain_click():
    root = Path(__file__).parents[2]
    files = [*(root / "experiments").glob("*.py"), root / "scripts" / "generate.py", root / "web" / "server.py"]
    commands = [path for path in files if "@click.command" in path.read_text()]
    assert commands
    for path in commands:
        assert "@click.command(cls=Command" in path.read_text(), path


def test_scores_device_is_called_as_it_was_typed():
    root = Path(__file__).parents[2]
    command = [sys.executable, "experiments/score.py", "no-such-folder", "--device", "tpu"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "Error: --device 'tpu' is not a device; use auto, cpu, cuda, cuda:N or mps.\n"
