"""What only needs device and settings is checked first; names, torch's objects and paths mean the same."""

import json
import shutil
from pathlib import Path
from typing import get_args

import pytest
import torch

from llm_dit import ZImagePipeline, ZImageTextEncoder
from llm_dit.acceleration import attention
from llm_dit.checkpoints.model_file import open_folder
from llm_dit.errors import DeviceError, InvalidParameter, LlmDitError
from llm_dit.parameters import EngineSettings, Quantization
from llm_dit.stages import loading, text_encoder
from llm_dit.stages.loading import known_numerics, numerics_of, place_stages

ON_CPU = {"dit_device": "cpu", "text_encoder_device": "cpu"}


@pytest.fixture
def nothing_is_read(monkeypatch):
    def read(*_, **__):
        raise AssertionError("a model was looked for")

    monkeypatch.setattr(loading, "find_parts", read)
    monkeypatch.setattr(text_encoder, "find_checkpoint", read)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"quantization": "float8"}, "quantization float8 needs a CUDA device .* not cpu; use int8 or none"),
        ({"text_encoder_quantization": "float8"}, "text_encoder_quantization float8 needs a CUDA device"),
        ({"attention_backend": "flash"}, "attention_backend flash can't be used on cpu in float32"),
        ({"attention_backend": "cudnn"}, "attention_backend cudnn can't be used on cpu"),
        ({"cuda_graphs": "on"}, "cuda_graphs = on needs cuda, not cpu; use auto or off"),
        ({"dit_device": "cuda:7"}, "dit_device cuda:7 is not on this machine"),
        ({"vae_device": "cuda:7"}, "vae_device cuda:7 is not on this machine"),
        ({"quantization": "fp8"}, "quantization 'fp8' is not allowed; use one of none, float8, int8"),
        ({"dtype": "fp16"}, "dtype 'fp16' is not allowed; use one of auto, bfloat16, float16, float32"),
        ({"dtype": torch.int8}, "dtype torch.int8 is not allowed; use one of auto, bfloat16, float16, float32"),
        ({"dit_device": "gpu"}, "dit_device 'gpu' is not a device; use auto, cpu, cuda, cuda:N or mps"),
        ({"dit_device": torch.device("meta")}, "is not a device; use auto, cpu, cuda, cuda:N or mps"),
        ({"model_path": 7}, "model_path 7 is not allowed; use text"),
    ],
    ids=str,
)
def test_a_setting_that_can_not_be_is_refused_before_anything_is_read(nothing_is_read, settings, sentence):
    with pytest.raises(LlmDitError, match=sentence):
        ZImagePipeline.from_pretrained(**ON_CPU | settings)


def test_a_missing_compiler_is_told_before_anything_is_read(nothing_is_read, monkeypatch):
    monkeypatch.setattr("llm_dit.acceleration.compilation.shutil.which", lambda name: None)
    with pytest.raises(DeviceError, match="compile = on needs a C\\+\\+ compiler"):
        ZImagePipeline.from_pretrained(**ON_CPU, compile="on")


def test_flash_without_its_package_is_told_before_anything_is_read(nothing_is_read, monkeypatch):
    monkeypatch.setattr(attention, "find_spec", lambda name: None)
    monkeypatch.setattr(loading, "resolve_device", lambda *_: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    with pytest.raises(DeviceError, match=r"flash can't be used on cuda in bfloat16; available here:"):
        ZImagePipeline.from_pretrained(attention_backend="flash")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"quantization": "fp8"}, "quantization 'fp8' is not allowed; use one of none, float8, int8"),
        ({"quantization": "float8"}, "quantization float8 needs a CUDA device"),
        ({"dtype": "fp16"}, "dtype 'fp16' is not allowed; use one of auto, bfloat16, float16, float32"),
        ({"device": "gpu"}, "device 'gpu' is not a device; use auto, cpu, cuda, cuda:N or mps"),
    ],
    ids=str,
)
def test_the_text_encoder_alone_checks_as_the_settings_do(nothing_is_read, arguments, sentence):
    with pytest.raises(LlmDitError, match=f"^{sentence}"):
        ZImageTextEncoder.from_pretrained("mini", **{"device": "cpu"} | arguments)


def test_float8_of_a_model_with_other_widths_is_refused_before_its_weights_are_read(
    tiny_checkpoint, monkeypatch, tmp_path
):
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
    config = json.loads((folder / "transformer" / "config.json").read_text())
    config |= {"dim": 64, "axes_dims": [8, 12, 12]}  # its feed-forward is 170 wide
    (folder / "transformer" / "config.json").write_text(json.dumps(config))

    def read(*_, **__):
        raise AssertionError("weights were read")

    monkeypatch.setattr("llm_dit.checkpoints.lazy_tensor.LazyTensor.read", read)
    stored = open_folder(folder / "transformer", "transformer")
    with pytest.raises(DeviceError, match="widths that are multiples of 16"):
        loading.Denoiser.from_stored(stored, torch.device("cpu"), torch.bfloat16, quantization="float8")


def test_torchs_objects_and_paths_mean_what_their_names_mean(tiny_checkpoint):
    by_name = EngineSettings.parse({"model_path": str(tiny_checkpoint), "dtype": "float16", "dit_device": "cuda:1"})
    device = torch.device("cuda", 1)
    values = {"model_path": tiny_checkpoint, "dtype": torch.float16, "dit_device": device}
    assert isinstance(tiny_checkpoint, Path)
    assert EngineSettings.parse(values) == by_name
    pipeline = ZImagePipeline.from_pretrained(
        tiny_checkpoint, dit_device=torch.device("cpu"), text_encoder_device=torch.device("cpu"), dtype=torch.bfloat16
    )
    assert pipeline.settings.model_path == str(tiny_checkpoint)
    assert pipeline.numerics["dtype"] == "bfloat16"
    encoder = ZImageTextEncoder.from_pretrained(tiny_checkpoint, device=torch.device("cpu"), dtype=torch.float16)
    assert encoder.dtype == torch.float16


@pytest.mark.parametrize("quantization", [item for item in get_args(Quantization) if item != "float8"])
def test_what_is_applied_is_recorded_as_before(tiny_checkpoint, quantization, monkeypatch):
    monkeypatch.setattr(loading, "onednn_multiplies", lambda: False)  # what it adds is the next test's
    settings = {"quantization": quantization, "text_encoder_quantization": quantization}
    assert ZImagePipeline.from_pretrained(tiny_checkpoint, **ON_CPU, **settings).numerics == {
        "text_encoder_device": "cpu",
        "text_encoder_dtype": "float32",
        "text_encoder_quantization": quantization,
        "dit_device": "cpu",
        "dtype": "float32",
        "vae_device": "cpu",
        "vae_dtype": "float32",
        "vae_tiling": "false",
        "attention_backend": "sdpa",
        "compile": "off",
        "quantization": quantization,
    }


def test_revision_token_and_cache_folder_reach_the_hub(tiny_checkpoint, monkeypatch, tmp_path):
    asked = {}

    def snapshot_download(hub_id, **how):
        asked.update(how, hub_id=hub_id)
        return str(tiny_checkpoint)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    how = {"revision": "v2", "token": "hf_x", "cache_dir": tmp_path}
    pipeline = ZImagePipeline.from_pretrained("someone/model", **ON_CPU, **how)
    assert {name: asked[name] for name in how} == how
    assert pipeline.settings.model_revision == "v2"
    ZImageTextEncoder.from_pretrained("someone/model", device="cpu", **how | {"revision": "v3"})
    assert (asked["hub_id"], asked["revision"]) == ("someone/model", "v3")


def test_a_revision_of_what_is_here_is_refused(tiny_checkpoint):
    with pytest.raises(InvalidParameter, match="model_revision v2 is for models on the hub, but mini is here"):
        ZImagePipeline.from_pretrained("mini", model_revision="v2")


def test_no_stage_is_placed_by_default_where_the_settings_say_otherwise():
    placement = place_stages(EngineSettings.parse({**ON_CPU, "dtype": "bfloat16", "text_encoder_dtype": "float16"}))
    cpu = torch.device("cpu")
    assert placement.text_encoder == (cpu, torch.float16)
    assert placement.transformer == placement.vae == (cpu, torch.bfloat16)


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"dtype": "bfloat16", "text_encoder_dtype": "float16", "vae_tiling": True},
        {"quantization": "int8", "text_encoder_quantization": "int8"},
        {"compile": "on", "vae_device": "cpu"},
        {"keep_packed": True, "attention_backend": "sdpa"},
        {"keep_packed": True, "quantization": "int8"},
        {"quantization": "float8"},
        {"text_encoder_quantization": "float8"},
        {"attention_backend": "flash3"},
        {"attention_backend": "cudnn"},
        {"cuda_graphs": "on"},
    ],
)
def test_numerics_known_without_torch_are_those_of_the_placed_stages(wanted):
    settings = EngineSettings.parse({**ON_CPU, **wanted})

    def told(find):
        try:
            return find()
        except LlmDitError as error:
            return type(error), error.field, str(error)

    def placed():
        placement = place_stages(settings, 2000)
        return str(placement.transformer[0]), numerics_of(placement, settings)

    def known():
        found = known_numerics(settings, 2000)
        return str(found.device), found.numerics

    assert told(known) == told(placed)


@pytest.mark.parametrize(
    ("wanted", "products"),
    [
        ({}, "onednn"),
        ({"dtype": "bfloat16"}, "onednn"),  # the text encoder's
        ({"text_encoder_dtype": "bfloat16"}, "onednn"),
        ({"dtype": "bfloat16", "text_encoder_dtype": "bfloat16"}, None),
    ],
)
def test_a_record_says_where_onednn_multiplies_float32(monkeypatch, wanted, products):
    settings = EngineSettings.parse({**ON_CPU, **wanted})
    monkeypatch.setattr(loading, "onednn_multiplies", lambda: True)
    assert known_numerics(settings).numerics.get("products") == products

    monkeypatch.setattr(loading, "onednn_multiplies", lambda: False)
    assert "products" not in known_numerics(settings).numerics


@pytest.mark.parametrize("field", ["text_encoder_dtype", "dtype"])
def test_a_number_format_that_nobody_checked_is_refused_by_the_name_of_its_parameter(field):
    unchecked = EngineSettings.parse(ON_CPU)
    object.__setattr__(unchecked, field, "fp16")
    with pytest.raises(InvalidParameter, match=f"^{field} 'fp16' is not allowed; use one of auto, bfloat16"):
        place_stages(unchecked)
