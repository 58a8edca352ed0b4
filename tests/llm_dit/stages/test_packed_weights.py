"""Weights that stay packed: the picture of the unpacked ones, byte for byte, in the bytes of the file."""

import numpy as np
import pytest
import torch
from lora_files import factors_of, spellings, write_lora
from model_files import (
    PACKERS,
    declaration,
    encoder_llama_tensors,
    pack_layers,
    transformer_tensors,
    write_file,
    write_gguf,
)
from torch import nn

from benchmarks.bench_placement import all_streamed
from llm_dit import ZImagePipeline
from llm_dit.checkpoints.model_file import open_model_file
from llm_dit.errors import DeviceError, LlmDitError
from llm_dit.networks.packed_linear import PackedLinear
from llm_dit.parameters import EngineSettings, GenerationParams
from llm_dit.stages.packed_weights import check_packed

CPU = {"dit_device": "cpu", "text_encoder_device": "cpu", "keep_packed": True}
LAYERS = ["layers.0.attention.qkv", "layers.0.attention.out", "layers.0.feed_forward.w1", "layers.1.feed_forward.w2"]
WIDE = ["layers.0.feed_forward.w2", "layers.1.feed_forward.w2"]
"""Only these have a multiple of 32 columns in the tiny model."""
FILES = [*PACKERS, "plain fp8", "Q8_0", "Q4_0", "Q5_1"]


def layers_for(kind):
    return WIDE if kind in ("mxfp8", "Q8_0", "Q4_0", "Q5_1") else LAYERS


def packed_file(checkpoint, folder, kind):
    """The tiny transformer with some layers packed."""
    tensors = {name: tensor.bfloat16() for name, tensor in transformer_tensors(checkpoint).items()}
    config, layers = checkpoint / "transformer", layers_for(kind)
    if kind.startswith("Q"):
        path = write_gguf(folder / "x.gguf", tensors, {f"{layer}.weight": kind for layer in layers})
        path.with_suffix(".json").write_text((config / "config.json").read_text())
        return path
    if kind == "plain fp8":
        stored = tensors | {f"{name}.weight": tensors[f"{name}.weight"].to(torch.float8_e4m3fn) for name in layers}
        return write_file(folder / "x.safetensors", stored, config)
    stored, _, declared = pack_layers(tensors, kind, layers)
    stored |= {f"{layer}.comfy_quant": declaration(value) for layer, value in declared.items()}
    return write_file(folder / "x.safetensors", stored, config)


def loaded(checkpoint, path, **settings):
    parts = {f"{name}_path": str(checkpoint / name) for name in ("text_encoder", "tokenizer", "vae")}
    return ZImagePipeline.from_pretrained(path, **parts | CPU | settings)


def drawn(pipeline, **values):
    params = GenerationParams.parse({"prompt": "A red apple", "seed": 1, "steps": 2, "guidance_scale": 1, **values})
    return np.asarray(pipeline.generate(params).image)


def packed_layers(module):
    return {name: child for name, child in module.named_modules() if isinstance(child, PackedLinear)}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", FILES)
def test_the_picture_is_that_of_the_unpacked_weights(tiny_checkpoint, tmp_path, kind, dtype):
    path = packed_file(tiny_checkpoint, tmp_path, kind)
    plain = loaded(tiny_checkpoint, path, keep_packed=False, dtype=dtype)
    kept = loaded(tiny_checkpoint, path, dtype=dtype)
    assert not packed_layers(plain.transformer)
    assert len(packed_layers(kept.transformer)) == (2 if kind in ("mxfp8",) or kind.startswith("Q") else 4)
    assert np.array_equal(drawn(kept), drawn(plain))
    with all_streamed():
        streamed = loaded(tiny_checkpoint, path, dtype=dtype)
    assert np.array_equal(drawn(streamed), drawn(plain))
    assert (kept.fingerprint, kept.numerics) == (plain.fingerprint, plain.numerics)


@pytest.mark.parametrize(
    ("kind", "bits"), [("float8_e4m3fn", 8), ("nvfp4", 4 + 8 / 16), ("mxfp8", 8 + 8 / 32), ("Q4_0", 4 + 16 / 32)]
)
def test_packed_layers_take_the_bytes_of_their_format(tiny_checkpoint, tmp_path, kind, bits):
    pipeline = loaded(tiny_checkpoint, packed_file(tiny_checkpoint, tmp_path, kind))
    layers = packed_layers(pipeline.transformer).values()
    rows = [(part, layer.in_features) for layer in layers for part in layer.parts]
    packed = [(part, columns) for part, columns in rows if part.get_buffer("by_row_0").dtype.itemsize == 1]
    taken = sum(
        buffer.nbytes for part, _ in packed for name, buffer in part.named_buffers() if name.startswith("by_row")
    )
    assert packed and taken == sum(part.rows * columns for part, columns in packed) * bits / 8


def test_a_packed_text_encoder_gives_the_same_embeddings(tiny_checkpoint, tmp_path):
    kinds = {f"blk.{layer}.ffn_up.weight": "Q8_0" for layer in range(6)}
    path = write_gguf(tmp_path / "q.gguf", encoder_llama_tensors(tiny_checkpoint), kinds, "qwen3")
    path.with_suffix(".json").write_text((tiny_checkpoint / "text_encoder" / "config.json").read_text())
    transformer = packed_file(tiny_checkpoint, tmp_path, "Q8_0")
    kept, plain = (
        loaded(tiny_checkpoint, transformer, text_encoder_path=path, keep_packed=is_kept) for is_kept in (True, False)
    )
    assert len(packed_layers(kept.text_encoder.model)) == 6
    one, other = (item.text_encoder.encode("A red apple").embeddings[0] for item in (kept, plain))
    assert torch.equal(one, other)


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "int8 convrot", "nvfp4"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_lora_on_packed_weights_is_the_merged_one(tiny_checkpoint, tmp_path, kind, dtype):
    path = packed_file(tiny_checkpoint, tmp_path, kind)
    kept, plain = (loaded(tiny_checkpoint, path, keep_packed=is_kept, dtype=dtype) for is_kept in (True, False))
    factors = {layer: (up / 8, down / 8) for layer, (up, down) in factors_of(kept.denoiser.loras.files.layers).items()}
    lora = write_lora(tmp_path / "style.safetensors", *spellings(factors)["musubi"])
    base = drawn(kept)
    for strength in (1, 0.5):
        changed = drawn(kept, loras=f"{lora}:{strength}")
        assert any(part.change for layer in packed_layers(kept.transformer).values() for part in layer.parts)
        assert not np.array_equal(changed, base)
        assert np.array_equal(changed, drawn(plain, loras=f"{lora}:{strength}"))
    assert np.array_equal(drawn(kept), base)


def test_a_joined_layer_mixes_packed_and_plain_rows():
    from llm_dit.networks.packed_linear import PackedPart, join_linears

    plain = nn.Linear(4, 3)
    stored = torch.randint(-128, 127, (2, 4), dtype=torch.int8)

    def unpack(by_row, whole, out):
        out.copy_(by_row[0].float() * whole[0])

    packed = PackedLinear([PackedPart([stored], [torch.tensor(0.5)], unpack)], 4, nn.Parameter(torch.ones(2)))
    x = torch.randn(5, 4)
    expected = torch.cat([plain(x), x @ (stored.float() * 0.5).T + 1], dim=-1)
    torch.testing.assert_close(join_linears([plain, packed])(x), expected)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            {"quantization": "int8"},
            "keep_packed keeps weights as their file packs them, and quantization packs them an",
        ),
        ({"text_encoder_quantization": "int8"}, "and text_encoder_quantization packs them anew; use one of the two"),
        ({"compile": "on"}, "compile = on does not go with keep_packed; use auto or off"),
        ({"cuda_graphs": "on"}, "cuda_graphs = on does not go with keep_packed; use auto or off"),
    ],
)
def test_what_does_not_go_with_packed_weights_is_refused(tiny_checkpoint, settings, problem):
    with pytest.raises(LlmDitError, match=problem):
        ZImagePipeline.from_pretrained(tiny_checkpoint, **CPU | settings)


def test_a_device_that_can_not_unpack_is_refused():
    settings = EngineSettings(keep_packed=True)
    check_packed(settings, torch.device("cpu"), torch.device("cuda", 0))
    with pytest.raises(DeviceError, match=r"^keep_packed needs cpu or cuda, not mps; leave it out\."):
        check_packed(settings, torch.device("cpu"), torch.device("mps"))
    check_packed(settings.replaced(keep_packed=False), torch.device("mps"))


def test_what_no_device_but_the_cpu_unpacks_is_unpacked_there(tiny_checkpoint, tmp_path):
    component = open_model_file(packed_file(tiny_checkpoint, tmp_path, "Q4_0")).components["transformer"]
    tensor = next(tensor for tensor in component.tensors.values() if tensor.format == "Q4_0")
    unpacked = tensor.read(torch.bfloat16, torch.device("meta"))  # stands for a device without the formats' operations
    assert (unpacked.device.type, tuple(unpacked.shape), unpacked.dtype) == ("meta", tensor.shape, torch.bfloat16)


def test_a_file_that_packs_nothing_is_told_and_drawn(tiny_checkpoint, caplog):
    kept = ZImagePipeline.from_pretrained(tiny_checkpoint, **CPU)
    assert sum("keep_packed does nothing for" in record.message for record in caplog.records) == 2
    assert np.array_equal(
        drawn(kept), drawn(ZImagePipeline.from_pretrained(tiny_checkpoint, **CPU | {"keep_packed": False}))
    )
