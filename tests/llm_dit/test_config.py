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
vae_tiling = true
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
    assert (engine.text_encoder_device, engine.dit_device, engine.vae_tiling) == ("cpu", "cpu", True)
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
    assert load_config(None).generation("a").shift is None
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
        ('[default.generation]\nheight = "big"\n', None, ['height = "big" is not a whole number.']),
        ('[default.pytorch]\nlong_prompt_mode = "interpolat"\n', None, ["did you mean 'interpolate'?"]),
        ("[default.scheduler]\nshift = true\n", None, ["shift"]),
        ("[default]\nscheduler = 3\n", None, ["write [default.scheduler]"]),
        ("shift = 3\n", None, ["'shift' stands outside a profile; write shift under [default.scheduler]."]),
        ("cfg = 3\n", None, ["'cfg' stands outside a profile; write guidance_scale under [default.generation]."]),
        ("[generation]\nsteps = 4\n", None, ["[generation] stands outside a profile; write [default.generation]."]),
        ("[generation]\n[fast.generation]\n", None, ["write [default.generation]."]),
        ("[default]\nshift = 2\n", None, ["[default] has no key 'shift'; it belongs to [default.scheduler]."]),
        ("[fast.generation]\nshift = 2\n", None, ["it belongs to [fast.scheduler]."]),
        ("[default.generation]\ndevice = 'cpu'\n", None, ["it belongs to [default.pipeline]."]),
        ("[default.pipeline]\ntiled_vae = true\n", None, ["no key 'tiled_vae'; did you mean 'vae_tiling'?"]),
        ("[default.pipeline]\ncpu_offload = true\n", None, ["did you mean 'vram_limit'?"]),
        ("[default.generation]\ncfg_scale = 4\n", None, ["did you mean 'guidance_scale'? Its value is 1 less than"]),
        ("[default.generation]\nsampler = 'euler'\n", None, ["'sampler'; the sampler is Euler's"]),
        ("[default.generation]\nprompt = 'A cat'\n", None, ["'prompt'; it belongs to one image, not to a file."]),
        ("[default.pipelin]\nvae_tiling = true\n", None, ["[default] has no 'pipelin'; did you mean 'pipeline'?"]),
        ("[default.generation]\nsteps = 4\nnum_inference_steps = 4\n", None, ["has num_inference_steps twice"]),
        ("[default.generation]\nheight = '512'\n", None, ["is not a whole number; write height = 512 without quotes."]),
        ("[default.pipeline]\nvae_tiling = 'True'\n", None, ["write vae_tiling = true without quotes."]),
        ("[default.pytorch]\ncompile = true\n", None, ['is not text in quotes; write compile = "on".']),
        ('[default]\nmodel_path = "C:\\Users\\me"\n', None, ["write model_path = 'C:\\Users\\me' in single quotes."]),
        ('[default]\nmodel_path = "C:\\temp\\new"\n', None, ["write model_path = 'C:\\temp\\new' in single quotes."]),
        ("[default]\nmodel_path = mini\n", None, ["(at line 2, column 14)", 'write model_path = "mini".']),
        ("[default.pipeline]\nvae_tiling = True # less\n", None, ["write vae_tiling = true."]),
        ("[default.scheduler]\nshift: 3\n", None, ["write shift = 3."]),
        ("[default.scheduler\nshift = 3\n", None, ["the line is: [default.scheduler"]),
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


def test_all_mistakes_are_told_at_once(write):
    path = write("[default.scheduler]\nshfit = 2\n[default.generation]\nhight = 3\nwidth = 3\n[x.y]\n[z]\nq = 1\n")
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert str(error.value).startswith(f"{path} (5 mistakes): [default.scheduler] has no key 'shfit'; did you mean 'sh")
    for part in ("'hight'; did you mean 'height'?", "[default.generation] width 3 is not", "[x] has no 'y'", "'q'"):
        assert part in str(error.value)


def test_a_file_full_of_mistakes_tells_the_first_and_counts_the_others(write):
    path = write("[default.generation]\n" + "".join(f"x{number} = 1\n" for number in range(40)))
    with pytest.raises(ConfigError, match=r"\(40 mistakes\): .* 32 more are like these\.$"):
        load_config(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_is_read_as_editors_save_it(tmp_path, encoding):
    path = tmp_path / "config.toml"
    path.write_bytes("[default.generation]\r\nnegative_prompt = '\u732b'\r\n".encode(encoding))
    assert load_config(path).generation("A cat").negative_prompt == "\u732b"


def test_a_file_in_another_encoding_names_the_line(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b"[default.generation]\nnegative_prompt = 'caf\xe9'\n")
    with pytest.raises(ConfigError, match=r"is not UTF-8 text \(line 2\); save it as UTF-8\."):
        load_config(path)


def test_a_prompt_may_hold_line_breaks_where_a_path_may_not(write):
    assert load_config(write('[default.generation]\nsystem_prompt = "a\\nb"\n')).generation("A").system_prompt == "a\nb"


def test_a_missing_file_points_to_the_example(tmp_path):
    with pytest.raises(ConfigError, match=r"does not exist; copy config\.toml\.example"):
        load_config(tmp_path / "none.toml")


def test_a_profile_without_a_file_is_refused():
    with pytest.raises(ConfigError, match="--profile fast needs --config"):
        load_config(None, "fast")


def test_two_keys_that_agree_only_together_are_judged_together(write):
    path = write("[default.pytorch]\nextend_rope = true\n[long.pytorch]\nmax_text_tokens = 2000\n")
    assert load_config(path, "long").generation("a").max_text_tokens == 2000


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[default.generation]\nwidth = " + "9" * 5_000, "an integer of more than 64 bits"),
        ("[default.generation]\nwidth = 0x" + "f" * 5_000, "an integer of more than 64 bits"),
        ("[default.generation]\nguidance_scale = " + "9" * 400, "an integer of more than 64 bits"),
        ("[default.generation]\nwidth = " + "[" * 50_000, "nested too deeply"),
        ("[default.generation]\nwidth = " + "{a=" * 50_000, "nested too deeply"),
        ("[default.generation]\nwidth" + ".a" * 5_000 + " = 1", "nested too deeply"),
        ("[default.generation]\nguidance_scale = 1e999", "guidance_scale inf is not allowed"),
        ("[default.generation]\nwidth = 1979-05-27", "is not a whole number"),
    ],
    ids=range(8),
)
def test_hostile_files_are_one_sentence(write, text, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        load_config(write(text))
    assert len(str(caught.value)) < 400
