"""Packed weights: every format gives the numbers of its formula, and what lacks a part is refused."""

import json

import numpy as np
import pytest
import torch
from model_files import (
    PACKERS,
    declaration,
    encoder_llama_tensors,
    pack_layers,
    tiled,
    transformer_tensors,
    write_file,
    write_gguf,
)

from llm_dit.checkpoints.comfy_quantization import unpacked_tensors
from llm_dit.checkpoints.gguf_file import open_gguf
from llm_dit.checkpoints.model_file import open_model_file
from llm_dit.checkpoints.packed_formats import hadamard, untiled
from llm_dit.checkpoints.safetensors_file import open_safetensors
from llm_dit.errors import CheckpointError

CPU = torch.device("cpu")
NARROW = ["layers.0.attention.qkv", "layers.0.attention.out", "layers.1.feed_forward.w2"]
WIDE = ["layers.0.feed_forward.w2", "layers.1.feed_forward.w2"]
"""Only these have a multiple of 32 columns in the tiny model."""


def layers_for(kind):
    return WIDE if kind == "mxfp8" else NARROW


@pytest.fixture
def original(tiny_checkpoint):
    return {name: tensor.bfloat16() for name, tensor in transformer_tensors(tiny_checkpoint).items()}


def read(path, dtype=torch.float32):
    component = open_model_file(path).components["transformer"]
    return {name: tensor.read(dtype, CPU) for name, tensor in component.tensors.items()}


def expected_of(worth, tmp_path, config):
    """The same worth in a plain float32 file, read back under our names."""
    plain = {name: tensor.float() for name, tensor in worth.items()}
    return read(write_file(tmp_path / "plain.safetensors", plain, config))


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("place", ["tensors", "header", "header without prefix"])
def test_every_format_is_worth_its_formula(original, tiny_checkpoint, tmp_path, kind, place):
    config = tiny_checkpoint / "transformer"
    stored, worth, declared = pack_layers(original, kind, layers_for(kind))
    metadata = None
    if place == "tensors":
        stored |= {f"{layer}.comfy_quant": declaration(value) for layer, value in declared.items()}
    else:
        metadata = {"_quantization_metadata": json.dumps({"layers": declared})}
    if place == "header without prefix":
        stored = {f"model.diffusion_model.{name}": tensor for name, tensor in stored.items()}
    found = read(write_file(tmp_path / "packed.safetensors", stored, config, metadata))
    expected = expected_of(worth, tmp_path, config)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-6)
        if "convrot" not in kind:
            assert torch.equal(found[name], value), name


def test_formats_mix_in_one_file(original, tiny_checkpoint, tmp_path):
    config = tiny_checkpoint / "transformer"
    stored, worth, declared = pack_layers(original, "nvfp4", ["layers.0.attention.qkv"])
    stored, worth_2, declared_2 = pack_layers(stored, "int8", ["layers.1.feed_forward.w1"])
    worth["layers.1.feed_forward.w1.weight"] = worth_2["layers.1.feed_forward.w1.weight"]
    metadata = {"_quantization_metadata": json.dumps({"layers": declared | declared_2})}
    path = write_file(tmp_path / "mixed.safetensors", stored, config, metadata)
    expected, found = expected_of(worth, tmp_path, config), read(path)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    formats = open_model_file(path).components["transformer"].formats
    assert (formats["nvfp4"], formats["int8_tensorwise"]) == (3, 1)


def test_the_number_format_asked_for_is_rounded_to_once(original, tiny_checkpoint, tmp_path):
    config = tiny_checkpoint / "transformer"
    stored, worth, declared = pack_layers(original, "float8_e4m3fn", NARROW)
    stored |= {f"{layer}.comfy_quant": declaration(value) for layer, value in declared.items()}
    found = read(write_file(tmp_path / "packed.safetensors", stored, config), torch.bfloat16)
    expected = worth["layers.0.attention.out.weight"].bfloat16()
    assert torch.equal(found["layers.0.attention.to_out.0.weight"], expected)


@pytest.mark.parametrize("mark", [True, False])
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_old_scaled_fp8_is_multiplied_by_its_scale(original, tiny_checkpoint, tmp_path, mark, prefix):
    config = tiny_checkpoint / "transformer"
    stored, worth, _ = pack_layers(original, "float8_e4m3fn", NARROW)
    old = {name.replace(".weight_scale", ".scale_weight"): tensor for name, tensor in stored.items()}
    old["layers.0.attention.qkv.scale_input"] = torch.ones(())
    if mark:
        old["scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    path = write_file(tmp_path / "x.safetensors", {prefix + name: tensor for name, tensor in old.items()}, config)
    found, expected = read(path), expected_of(worth, tmp_path, config)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_plain_fp8_is_a_cast(original, tiny_checkpoint, tmp_path, dtype):
    config = tiny_checkpoint / "transformer"
    cast = {name: tensor.to(dtype) for name, tensor in original.items()}
    found = read(write_file(tmp_path / "x.safetensors", cast, config))
    expected = expected_of(cast, tmp_path, config)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_float8_stored_as_bytes_is_float8(original, tiny_checkpoint, tmp_path):
    config = tiny_checkpoint / "transformer"
    stored, worth, declared = pack_layers(original, "float8_e4m3fn", NARROW)
    stored |= {f"{layer}.weight": stored[f"{layer}.weight"].view(torch.uint8) for layer in NARROW}
    stored |= {f"{layer}.comfy_quant": declaration(value) for layer, value in declared.items()}
    found, expected = read(write_file(tmp_path / "x.safetensors", stored, config)), expected_of(worth, tmp_path, config)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_layers_whose_inputs_comfyui_rounds_are_counted(original, tiny_checkpoint, tmp_path):
    stored, _, declared = pack_layers(original, "nvfp4", NARROW)
    stored |= {f"{layer}.comfy_quant": declaration(value) for layer, value in declared.items()}
    path = write_file(tmp_path / "x.safetensors", stored, tiny_checkpoint / "transformer")
    assert open_model_file(path).rounds_activations == 3


def refused(tmp_path, stored, match, metadata=None):
    with pytest.raises(CheckpointError, match=match):
        unpacked_tensors(open_safetensors(write_file(tmp_path / "x.safetensors", stored, metadata=metadata)))


def test_a_scale_without_weight_is_refused(tmp_path):
    refused(tmp_path, {"a.scale_weight": torch.ones(())}, "a has a scale or a format, but its weight is missing")


def test_a_scale_that_nothing_explains_is_refused(tmp_path):
    stored = {"a.weight": torch.ones(2, 2).to(torch.float8_e4m3fn), "a.weight_scale": torch.ones(())}
    refused(tmp_path, stored, r"has scales \(a\.weight_scale\), but says nowhere")


def test_a_missing_scale_is_refused(tmp_path):
    stored = {
        "a.weight": torch.ones(2, 2).to(torch.float8_e4m3fn),
        "a.comfy_quant": declaration({"format": "float8_e4m3fn"}),
    }
    refused(tmp_path, stored, r"a\.weight is float8_e4m3fn, but a\.weight_scale is missing")


def test_a_missing_block_scale_is_refused(tmp_path):
    stored = {"a.weight": torch.zeros(2, 8, dtype=torch.uint8), "a.comfy_quant": declaration({"format": "nvfp4"})}
    refused(tmp_path, stored, r"a\.weight is nvfp4, but a\.weight_scale_2 is missing")


@pytest.mark.parametrize("name", ["asym_w4a8_int8", "convrot_w4a4", "float3"])
def test_an_unknown_format_is_named(tmp_path, name):
    stored = {"a.weight": torch.zeros(2, 8, dtype=torch.uint8), "a.comfy_quant": declaration({"format": name})}
    refused(tmp_path, stored, f"stores a as '{name}', which is not read here; float8_e4m3fn, .* are")


def test_whole_numbers_without_a_format_are_refused(tmp_path):
    refused(
        tmp_path, {"a.weight": torch.zeros(2, 8, dtype=torch.int8)}, r"a\.weight is stored as int8 \[2, 8\] without"
    )


def test_a_malformed_declaration_is_refused(tmp_path):
    refused(tmp_path, {"a.weight": torch.zeros(2)}, "not a JSON object", {"_quantization_metadata": "{"})


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({"format_version": "1.0"}, "its _quantization_metadata lists no layers"),
        ({"layers": {"a": "nvfp4"}}, "the format of a is not a JSON object"),
    ],
)
def test_a_header_that_declares_no_format_is_refused(tmp_path, declared, sentence):
    refused(tmp_path, {"a.weight": torch.zeros(2)}, sentence, {"_quantization_metadata": json.dumps(declared)})


@pytest.mark.parametrize(
    ("kind", "stored", "sentence"),
    [
        (
            {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 16},
            {"weight": torch.zeros(2, 24, dtype=torch.int8), "weight_scale": torch.ones(2, 1)},
            r"a\.weight has 24 columns, no multiple of its rotation's 16",
        ),
        (
            {"format": "int8_tensorwise"},
            {"weight": torch.zeros(4, 8, dtype=torch.int8), "weight_scale": torch.ones(3, 1)},
            r"a\.weight_scale holds 3 scales for 4 rows",
        ),
        (
            {"format": "int8_tensorwise"},
            {"weight": torch.zeros(4, dtype=torch.int8), "weight_scale": torch.ones(())},
            r"a\.weight, which has a scale or a format, has shape \[4\]",
        ),
        (
            {"format": "mxfp8"},
            {"weight": torch.zeros(2, 32).to(torch.float8_e4m3fn), "weight_scale": torch.zeros(4, dtype=torch.uint8)},
            r"a\.weight of 2 x 32 needs 512 scales of 32 in a\.weight_scale, which is \[4\]",
        ),
        (
            {"format": "mxfp8"},
            {"weight": torch.zeros(2, 32).to(torch.float8_e4m3fn)},
            r"a\.weight of 2 x 32 needs 512 scales of 32 in a\.weight_scale, which is missing",
        ),
    ],
)
def test_scales_that_do_not_fit_their_weight_are_refused(tmp_path, kind, stored, sentence):
    tensors = {f"a.{end}": tensor for end, tensor in stored.items()}
    refused(tmp_path, {**tensors, "a.comfy_quant": declaration(kind)}, sentence)


@pytest.mark.parametrize("kind", PACKERS)
def test_rows_of_a_packed_layer_are_those_of_the_whole(original, tiny_checkpoint, tmp_path, kind):
    (layer, *_) = layers_for(kind)
    stored, _, declared = pack_layers(original, kind, [layer])
    stored[f"{layer}.comfy_quant"] = declaration(declared[layer])
    file = open_safetensors(write_file(tmp_path / "x.safetensors", stored))
    tensor = unpacked_tensors(file)[f"{layer}.weight"]
    assert torch.equal(tensor.read_rows(3, 7, CPU), tensor.read(torch.float32, CPU)[3:7])


def test_a_tensor_takes_no_shape_of_another_size(tiny_checkpoint, tmp_path):
    path = write_file(tmp_path / "x.safetensors", {"a": torch.arange(6.0)})
    tensor = open_safetensors(path).lazy("a")
    assert torch.equal(tensor.reshaped(2, 3).read(torch.float32, CPU), torch.arange(6.0).reshape(2, 3))
    with pytest.raises(ValueError, match=r"\[6\] can't become \[4, 2\]"):
        tensor.reshaped(4, 2)


def test_the_rotation_is_its_own_inverse():
    matrix = hadamard(256)
    torch.testing.assert_close(matrix @ matrix, torch.eye(256))
    assert torch.equal(matrix, matrix.T)


def test_tiles_come_back_in_order():
    scales = torch.randint(0, 255, (160, 11), dtype=torch.uint8)
    assert torch.equal(untiled(tiled(scales), 160, 11), scales)
    # cuBLAS: row r, column c of a tile of 128 x 4 lies at 16 * (r % 32) + 4 * (r // 32) + c
    assert tiled(scales).reshape(-1)[16 * (37 % 32) + 4 * (37 // 32) + 2] == scales[37, 2]


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "MXFP4"])
def test_a_gguf_transformer_is_worth_what_the_gguf_package_says(tiny_checkpoint, tmp_path, kind):
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize, quantize

    config = tiny_checkpoint / "transformer"
    original = transformer_tensors(tiny_checkpoint)
    packed = [f"{layer}.weight" for layer in WIDE] + (
        ["layers.0.attention.qkv.weight"] if kind in ("F32", "F16", "BF16") else []
    )
    path = write_gguf(tmp_path / "x.gguf", original, dict.fromkeys(packed, kind))
    path.with_suffix(".json").write_text((config / "config.json").read_text())
    worth = dict(original)
    for name in packed:
        code = GGMLQuantizationType[kind]
        worth[name] = torch.from_numpy(dequantize(quantize(original[name].numpy(), code), code))
    found, expected = read(path), expected_of(worth, tmp_path, config)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    "kind", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS", "IQ4_NL", "IQ2_XXS", "IQ3_S", "TQ2_0"]
)
def test_raw_blocks_of_every_kind_unpack_whole_and_by_rows(tmp_path, kind):
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter
    from gguf.quants import dequantize

    code = GGMLQuantizationType[kind]
    block, size = GGML_QUANT_SIZES[code]
    raw = np.random.default_rng(0).integers(0, 60, (6, 512 // block * size), dtype=np.uint8)
    writer = GGUFWriter(tmp_path / "x.gguf", "lumina2")
    writer.add_tensor("a.weight", raw, raw_dtype=code)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tensor = open_gguf(tmp_path / "x.gguf").tensors["a.weight"]
    expected = torch.from_numpy(dequantize(raw, code))
    assert (tensor.shape, tensor.format, tensor.stored_bytes) == ((6, 512), kind, raw.size)
    assert torch.equal(tensor.read(torch.float32, CPU), expected)
    assert torch.equal(tensor.rows(2, 5).read(torch.float32, CPU), expected[2:5])


def test_a_gguf_encoder_tells_its_rotary_base(tiny_checkpoint, tmp_path):
    from gguf import GGUFWriter

    writer = GGUFWriter(tmp_path / "x.gguf", "qwen3")
    writer.add_rope_freq_base(5e6)
    writer.add_context_length(262144)
    writer.add_tensor("token_embd.weight", np.zeros((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert open_gguf(tmp_path / "x.gguf").told == {"rope_theta": 5e6, "max_position_embeddings": 262144}


def test_a_gguf_encoder_has_llama_names(tiny_checkpoint, tmp_path):
    tensors = encoder_llama_tensors(tiny_checkpoint)
    path = write_gguf(tmp_path / "q.gguf", tensors, {"blk.0.ffn_up.weight": "Q8_0"}, "qwen3")
    path.with_suffix(".json").write_text((tiny_checkpoint / "text_encoder" / "config.json").read_text())
    component = open_model_file(path).components["text_encoder"]
    assert component.layout == "llama.cpp"
    assert component.tensors["layers.0.mlp.up_proj.weight"].format == "Q8_0"
    found = component.tensors["layers.3.self_attn.q_proj.weight"].read(torch.float32, CPU)
    assert torch.equal(found, tensors["blk.3.attn_q.weight"])


def test_a_gguf_format_that_the_package_can_not_unpack_is_named(tmp_path, monkeypatch):
    path = write_gguf(tmp_path / "x.gguf", {"a.weight": torch.zeros(2, 32)}, {"a.weight": "Q8_0"})
    monkeypatch.setattr("gguf.quants._type_traits", {})
    with pytest.raises(CheckpointError, match=r"x\.gguf stores a\.weight as Q8_0, which the gguf package can't unpack"):
        open_gguf(path)


@pytest.mark.parametrize("kept", [3, 20, 0.5])
def test_a_damaged_gguf_file_is_one_sentence(tiny_checkpoint, tmp_path, kept):
    path = write_gguf(tmp_path / "x.gguf", transformer_tensors(tiny_checkpoint))
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    with pytest.raises(CheckpointError, match=r"x\.gguf is .*fetch it again"):
        open_gguf(path)


def test_a_gguf_file_without_the_package_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr("llm_dit.checkpoints.gguf_file.find_spec", {"gguf": None}.__getitem__)
    told = r"x\.gguf needs the package gguf, which is not installed; install it \(uv sync --extra gguf\), or take"
    with pytest.raises(CheckpointError, match=told):
        open_gguf(tmp_path / "x.gguf")
