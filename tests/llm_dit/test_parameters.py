"""Parameters: ranges, sentences, and their appearance on every surface of the engine."""

import re
import tomllib
from functools import cache
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from parameter_values import other_value

from llm_dit.cli import config_from_flags, parameter_options
from llm_dit.errors import InvalidParameter
from llm_dit.parameters import (
    GROUPS,
    PARAMETERS,
    EngineSettings,
    GenerationParams,
    RewriterSettings,
    ServerSettings,
)
from llm_dit.reference import example_file, reference_page

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("parameter", PARAMETERS.values(), ids=lambda item: item.name)
def test_every_parameter_is_a_key_of_the_example_file_with_its_default(parameter):
    if not parameter.note.in_file:
        return
    document = tomllib.loads(example_file())["default"]
    table = document[parameter.note.table] if parameter.note.table else document
    if parameter.default is None:
        assert f"# {parameter.key} =" in example_file()
    else:
        assert table[parameter.key] == parameter.default


@pytest.mark.parametrize("parameter", PARAMETERS.values(), ids=lambda item: item.name)
def test_every_parameter_is_a_flag_that_reaches_its_field(parameter):
    if parameter.name == "prompt":
        return
    seen = {}

    @click.command()
    @parameter_options(*GROUPS)
    def command(**flags):
        seen.update(config_from_flags(flags).values)

    value = other_value(parameter)
    arguments = [parameter.flag] if parameter.kind == "switch" else [parameter.flag, str(value)]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert seen == {parameter.name: value}


@pytest.mark.parametrize("parameter", PARAMETERS.values(), ids=lambda item: item.name)
def test_every_parameter_stands_on_the_reference_page_with_its_help(parameter):
    row = next(line for line in reference_page().splitlines() if line.startswith(f"| `{parameter.name}` |"))
    assert parameter.help in row
    assert parameter.help.endswith(".")


@pytest.mark.parametrize("parameter", PARAMETERS.values(), ids=lambda item: item.name)
def test_every_parameter_is_read_by_some_code_outside_its_declaration(parameter):
    reading = re.compile(rf"\.{parameter.name}\b|\b{parameter.name}: ")
    assert reading.search(code()), f"nothing reads {parameter.name}: see step 2 of docs/add_a_parameter.md"


@cache
def code():
    """All of the packages but the declarations."""
    files = [path for folder in ("src/llm_dit", "experiments", "web") for path in (ROOT / folder).rglob("*.py")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files if path.parent.name != "parameters")


def test_no_two_names_of_parameters_are_the_same():
    names = [name for item in PARAMETERS.values() for name in (item.name, *item.note.aliases)]
    assert len(set(names)) == len(names)


def test_every_generation_parameter_is_identity():
    assert all(item.note.changes_image for item in PARAMETERS.values() if item.group is GenerationParams)


def test_precision_is_identity_and_where_it_runs_is_not():
    for name in ("dtype", "quantization", "compile", "attention_backend", "text_encoder_dtype"):
        assert PARAMETERS[name].note.changes_image, name
    for name in ("text_encoder_device", "dit_device", "vae_device", "vram_limit"):
        assert not PARAMETERS[name].note.changes_image, name


def test_the_generated_files_are_up_to_date():
    mend = "run `uv run scripts/write_reference.py`"
    assert (ROOT / "config.toml.example").read_text() == example_file(), mend
    assert (ROOT / "docs" / "configuration.md").read_text() == reference_page(), mend


def test_defaults_are_the_published_ones():
    params = GenerationParams.parse({"prompt": "A cat"})
    assert (params.num_inference_steps, params.shift, params.guidance_scale) == (None, None, None), "the model's"
    assert (params.hidden_layer, params.long_prompt_mode, params.max_text_tokens) == (-2, "truncate", 1024)
    assert ServerSettings().port == 8000


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"height": 1000}, "height 1000 is not a multiple of 16; use 992 or 1008."),
        ({"height": 0}, "height 0 is not allowed; use a whole number 64 to 4096 pixels."),
        ({"width": 100000}, "width 100000 is not allowed; use a whole number 64 to 4096 pixels."),
        ({"num_inference_steps": 0}, "num_inference_steps 0 is not allowed; use a whole number 1 to 1000 steps."),
        ({"shift": float("nan")}, "shift nan is not allowed; use a number above 0 up to 100."),
        ({"shift": 0}, "shift 0 is not allowed; use a number above 0 up to 100."),
        ({"seed": -1}, "seed -1 is not allowed; use a whole number 0 to 9007199254740991."),
        ({"seed": True}, "seed True is a switch, not a number."),
        ({"hidden_layer": 0}, "hidden_layer 0 is not allowed; use a whole number -1000 to -1, or last_before_norm."),
        ({"long_prompt_mode": "cut"}, "long_prompt_mode 'cut' is not allowed; use one of truncate, interpolate,"),
        ({"prompt": " \n"}, "prompt is empty; say what the image shows."),
        ({"prompt": "word " * 100_000}, "prompt has 500,000 characters, and at most 100,000 are read; shorten it."),
        ({"prompt": "a\ud800b"}, "prompt contains lone surrogates"),
        ({"prompt": "a\0b"}, "prompt contains a NUL character"),
        ({"hight": 512}, "hight is not a parameter; did you mean 'height'?"),
        ({"max_text_tokens": 1505}, "max_text_tokens 1505 is above 1504"),
    ],
)
def test_bad_values_get_one_sentence_with_value_range_and_next_step(values, sentence):
    with pytest.raises(InvalidParameter) as error:
        GenerationParams.parse({"prompt": "A cat", **values})
    assert str(error.value).startswith(sentence)


def test_extend_rope_allows_more_text_tokens():
    assert GenerationParams.parse({"prompt": "a", "max_text_tokens": 1505, "extend_rope": True}).max_text_tokens == 1505


def test_an_unknown_device_is_refused():
    with pytest.raises(InvalidParameter, match="dit_device 'tpu' is not a device; use auto, cpu, cuda, cuda:N or mps"):
        EngineSettings.parse({"dit_device": "tpu"})


def test_replaced_validates_again():
    with pytest.raises(InvalidParameter, match="temperature 3"):
        RewriterSettings().replaced(temperature=3)
