"""Configuration files: profiles, precedence, and errors that name file, key and the nearest valid one."""

import pytest

from llm_dit.config import load_config
from llm_dit.errors import ConfigError

ALL_KEYS = """
[default]
model_path = "mini"
[default.encoder]
device = "cpu"
dtype = "float32"
hidden_layer = -3
quantization = "none"
[default.pipeline]
device = "cpu"
dtype = "float32"
offload = true
[default.scheduler]
shift = 2
[default.generation]
width = 96
height = 128
num_inference_steps = 4
guidance_scale = 1.5
negative_prompt = "blurry"
cfg_normalization = 1.0
cfg_truncation = 0.5
[default.pytorch]
long_prompt_mode = "pool"
max_text_tokens = 512
attention_backend = "sdpa"
compile = "off"
[default.rewriter]
temperature = 0.5
top_p = 0.8
top_k = 10
min_p = 0.1
max_tokens = 100
[default.server]
host = "127.0.0.1"
port = 9000
[rtx4090.scheduler]
shift = 4.0
[rtx4090.server]
port = 9001
"""


@pytest.fixture
def write(tmp_path):
    def write_file(text):
        path = tmp_path / "config.toml"
        path.write_text(text)
        return path

    return write_file


def test_every_key_of_the_issue_reaches_its_field(write):
    config = load_config(write(ALL_KEYS))
    params = config.generation("A cat")
    assert (params.width, params.height, params.num_inference_steps, params.shift) == (96, 128, 4, 2.0)
    assert (params.guidance_scale, params.negative_prompt) == (1.5, "blurry")
    assert (params.cfg_normalization, params.cfg_truncation, params.hidden_layer) == (1.0, 0.5, -3)
    assert (params.long_prompt_mode, params.max_text_tokens) == ("pool", 512)
    engine = config.engine
    assert (engine.text_encoder_device, engine.dit_device, engine.offload) == ("cpu", "cpu", True)
    assert (engine.text_encoder_dtype, engine.dtype, engine.attention_backend) == ("float32", "float32", "sdpa")
    assert engine.compile == "off"
    assert config.rewriter.model_dump() == {
        "temperature": 0.5,
        "top_p": 0.8,
        "top_k": 10,
        "min_p": 0.1,
        "max_tokens": 100,
    }
    assert config.server.port == 9000


def test_a_profile_inherits_from_default(write):
    config = load_config(write(ALL_KEYS), "rtx4090")
    assert config.generation("A cat").shift == 4.0
    assert config.generation("A cat").width == 96
    assert config.server.port == 9001


def test_flag_wins_over_profile_over_default_over_built_in(write):
    path = write("[default.scheduler]\nshift = 2\n[default.generation]\nwidth = 96\n[fast.scheduler]\nshift = 4\n")
    assert load_config(None).generation("a").shift == 3.0
    assert load_config(path).generation("a").shift == 2.0
    assert load_config(path, "fast").generation("a").shift == 4.0
    assert load_config(path, "fast").replaced({"shift": 5.0}).generation("a").shift == 5.0
    assert load_config(path, "fast").replaced({"shift": 5.0}).generation("a").width == 96


def test_a_server_table_may_stand_at_the_top(write):
    path = write('[server]\nport = 9000\nhost = "127.0.0.1"\n[fast.server]\nport = 9002\n')
    assert load_config(path).server.port == 9000
    assert load_config(path, "fast").server.port == 9002


@pytest.mark.parametrize(
    ("text", "profile", "parts"),
    [
        ("[default.scheduler]\nshfit = 2\n", None, ["[default.scheduler]", "'shfit'", "did you mean 'shift'?"]),
        ("[default.schedular]\nshift = 2\n", None, ["[default]", "'schedular'", "did you mean 'scheduler'?"]),
        ("[default.scheduler]\nshift = -2\n", None, ["[default.scheduler] shift -2", "above 0 up to 100"]),
        ("[default.generation]\nheight = 1000\n", None, ["height 1000", "multiple of 16", "992 or 1008"]),
        ('[default.generation]\nheight = "big"\n', None, ["height = 'big'", "is not a whole number"]),
        ('[default.pytorch]\nlong_prompt_mode = "interpolat"\n', None, ["did you mean 'interpolate'?"]),
        ("[default.scheduler]\nshift = true\n", None, ["shift"]),
        ("[default]\nscheduler = 3\n", None, ["write [default.scheduler]"]),
        ("shift = 3\n", None, ["'shift' stands outside a profile"]),
        ("[rtx4090]\n", "rtx409", ["no profile 'rtx409'", "did you mean 'rtx4090'?"]),
        ("[default.pytorch]\nmax_text_tokens = 1505\n", None, ["profile default", "max_text_tokens 1505"]),
        ("not toml", None, ["is not valid TOML"]),
        ("[other.scheduler]\nshfit = 2\n", None, ["[other.scheduler]", "'shfit'"]),
    ],
)
def test_mistakes_name_the_file_the_key_and_the_way_out(write, text, profile, parts):
    path = write(text)
    with pytest.raises(ConfigError) as error:
        load_config(path, profile)
    assert str(error.value).startswith(str(path))
    for part in parts:
        assert part in str(error.value), str(error.value)


def test_a_missing_file_points_to_the_example(tmp_path):
    with pytest.raises(ConfigError, match=r"does not exist; copy config\.toml\.example"):
        load_config(tmp_path / "none.toml")


def test_a_profile_without_a_file_is_refused():
    with pytest.raises(ConfigError, match="--profile fast needs --config"):
        load_config(None, "fast")


def test_two_keys_that_agree_only_together_are_judged_together(write):
    path = write("[default.pytorch]\nextend_rope = true\n[long.pytorch]\nmax_text_tokens = 2000\n")
    assert load_config(path, "long").generation("a").max_text_tokens == 2000
