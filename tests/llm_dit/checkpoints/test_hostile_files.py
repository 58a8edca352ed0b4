"""Damaged and hostile files of a model: one sentence each, whatever is in them."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from experiments.planning.model_facts import read_model_facts
from llm_dit import ZImagePipeline
from llm_dit.checkpoints.finding import find_checkpoint, model_name, shown
from llm_dit.checkpoints.model_parts import find_parts
from llm_dit.checkpoints.tokenizer_file import read_tokenizer
from llm_dit.errors import CheckpointError, LlmDitError, NonFiniteLatents
from llm_dit.networks.qwen3 import Qwen3Config
from llm_dit.networks.transformer_config import ZImageTransformerConfig
from llm_dit.networks.vae_decoder import DecoderConfig
from llm_dit.parameters import EngineSettings

READERS = {"transformer": ZImageTransformerConfig, "text_encoder": Qwen3Config, "vae": DecoderConfig}
WRONG = (None, "9", -1, 0.5, True, [], {}, [None], 10**400, float("nan"))


@pytest.fixture
def copy(tiny_checkpoint, tmp_path):
    return shutil.copytree(tiny_checkpoint, tmp_path / "copy")


@pytest.mark.parametrize("component", READERS)
def test_every_value_of_a_config_may_be_damaged(tiny_checkpoint, component):
    config = json.loads((tiny_checkpoint / component / "config.json").read_text())
    refused = {}
    for name in config:
        for value in WRONG:
            try:
                READERS[component].from_dict({**config, name: value})
            except LlmDitError as error:
                refused[name] = str(error)
    assert [message for message in refused.values() if not message.endswith(".") or len(message) > 300] == []
    sizes = {"transformer": "axes_dims", "text_encoder": "max_position_embeddings", "vae": "sample_size"}
    assert sizes[component] in refused


@pytest.mark.parametrize("component", READERS)
def test_keys_of_later_versions_with_null_are_passed_over(tiny_checkpoint, component):
    config = json.loads((tiny_checkpoint / component / "config.json").read_text())
    reader = READERS[component]
    assert reader.from_dict({**config, "use_next_years_norm": None}) == reader.from_dict(config)


def test_a_key_of_later_versions_that_asks_for_something_is_refused(tiny_checkpoint):
    config = json.loads((tiny_checkpoint / "transformer" / "config.json").read_text())
    with pytest.raises(LlmDitError, match=r"unknown \['use_next_years_norm'\]"):
        ZImageTransformerConfig.from_dict({**config, "use_next_years_norm": True})


@pytest.mark.parametrize("content", ["[" * 100_000, '{"dim": ' + "9" * 5000 + "}", "{", "[]", "\x00"], ids=range(5))
@pytest.mark.parametrize("file", ["transformer/config.json", "vae/config.json", "scheduler/scheduler_config.json"])
def test_json_that_is_deep_long_or_none_is_one_sentence(copy, file, content):
    (copy / file).write_text(content)
    with pytest.raises(CheckpointError, match=rf"{file.split('/')[1]} .*(fetch it again|missing)") as caught:
        ZImagePipeline.from_pretrained(str(copy), dit_device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["{", "null", '{"version": "1.0"}', "[" * 10_000, "\x00\x01", ""], ids=range(6))
def test_a_damaged_tokenizer_is_one_sentence_for_drawing_and_planning(copy, content):
    (copy / "tokenizer" / "tokenizer.json").write_text(content)
    for read in (
        lambda: read_tokenizer(copy / "tokenizer"),
        lambda: read_model_facts(EngineSettings(model_path=str(copy))),
    ):
        with pytest.raises(CheckpointError, match=r"tokenizer\.json is damaged \(.*\); fetch it again\.") as caught:
            read()
        assert len(str(caught.value)) < 300


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"has no tokenizer\.json; fetch it again"):
        read_tokenizer(tmp_path)


def test_values_of_a_file_are_shown_on_one_short_line():
    assert shown({"a": "b\nc"}) == '{"a": "b\\nc"}'
    assert len(shown("x" * 10_000)) == len(shown(list(range(10_000)))) < 200
    assert shown(10**5000) == f"a number of {(10**5000).bit_length()} bits"
    assert shown([10**5000]) == "something very long"


@pytest.mark.parametrize(
    "name",
    [
        "~nouser/x",
        "x" * 300,
        "x" * 300 + ".safetensors",
        "a/" + "x" * 300,
        "org/na--me",
        "org/na..me",
        "a\x00b",
        "a/b\x00",
        "org/.name-",
    ],
)
def test_places_that_can_be_none_are_one_sentence_for_drawing_and_planning(name):
    for read in (
        lambda: find_checkpoint(name),
        lambda: find_parts(EngineSettings(model_path=name)),
        lambda: read_model_facts(EngineSettings(model_path=name)),
        lambda: find_parts(EngineSettings(vae_path=name)),
        lambda: find_parts(EngineSettings(tokenizer_path=name)),
    ):
        with pytest.raises(CheckpointError) as caught:
            read()
        assert len(str(caught.value)) < 500
    assert model_name(name) == ("x" if name == "~nouser/x" else name)


@pytest.mark.parametrize(
    ("dtype", "advice"),
    [
        ("float32", "the checkpoint's weights are damaged or a setting is extreme; fetch it again"),
        ("bfloat16", "use dtype float32; if that is not finite either, the weights are damaged"),
        ("float16", "use dtype bfloat16 or float32"),
    ],
)
@pytest.mark.parametrize("component", ["transformer", "vae"])
def test_damaged_weights_advise_what_helps_in_the_number_format_in_use(copy, component, dtype, advice):
    path = copy / component / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    name = "x_pad_token" if component == "transformer" else "decoder.conv_out.bias"
    save_file({**tensors, name: torch.full_like(tensors[name], float("nan"))}, path)
    pipeline = ZImagePipeline.from_pretrained(str(copy), dit_device="cpu", dtype=dtype)
    with pytest.raises(NonFiniteLatents, match=advice):
        pipeline("A cat", seed=1, width=80, num_inference_steps=1)


def test_a_model_is_named_without_its_place(copy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [model_name(path) for path in ("mini", "Tongyi-MAI/Z-Image-Turbo")] == ["mini", "Tongyi-MAI/Z-Image-Turbo"]
    assert [model_name(path) for path in (str(copy), "copy", "./copy", "~/gone/model")] == [
        "copy",
        "copy",
        "copy",
        "model",
    ]
    copy.rename(tmp_path / "mini")
    assert model_name("./mini") == "folder mini"
    assert model_name(str(find_checkpoint("mini"))) == "mini"
