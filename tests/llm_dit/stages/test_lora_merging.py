"""LoRAs in the loaded transformer: every spelling the same picture, strength 0 and taking away the same bits."""

import shutil
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from lora_files import expected_deltas, factors_of, spellings, write_lora

from benchmarks.bench_placement import all_streamed
from llm_dit import ZImagePipeline
from llm_dit.checkpoints.model_file import open_folder
from llm_dit.errors import CheckpointError, InvalidParameter
from llm_dit.image_io import without_places
from llm_dit.parameters import GenerationParams
from llm_dit.stages.lora_merging import write_rows

CPU = {"dit_device": "cpu", "text_encoder_device": "cpu"}


@pytest.fixture(scope="module")
def pipeline(tiny_checkpoint):
    """A pipeline of its own, whose weights change."""
    return ZImagePipeline.from_pretrained(str(tiny_checkpoint), **CPU)


@pytest.fixture(scope="module")
def factors(pipeline):
    """Small enough to leave a picture."""
    return {layer: (up / 8, down / 8) for layer, (up, down) in factors_of(pipeline.denoiser.loras.files.layers).items()}


def written(factors, tmp_path, name="musubi", file="style.safetensors"):
    return write_lora(tmp_path / file, *spellings(factors)[name])


def drawn(pipeline, loras="", **values):
    params = GenerationParams.parse({"prompt": "A red apple", "seed": 1, "steps": 2, "loras": loras, **values})
    return pipeline.generate(params)


def pixels(result):
    return np.asarray(result.image)


def weights(pipeline):
    return {name: tensor.clone() for name, tensor in pipeline.transformer.state_dict().items()}


def test_every_spelling_of_a_delta_draws_the_same_picture(pipeline, factors, tmp_path):
    plain = pixels(drawn(pipeline))
    pictures = {
        name: pixels(drawn(pipeline, str(written(factors, tmp_path, name, f"{index}.safetensors"))))
        for index, name in enumerate(spellings(factors))
    }
    first = pictures["musubi"]
    assert not np.array_equal(first, plain)
    for name, picture in pictures.items():
        assert np.abs(picture.astype(int) - first.astype(int)).max() <= 1, name


def test_weights_are_base_and_strength_times_delta(pipeline, factors, tmp_path, tiny_checkpoint):
    drawn(pipeline, f"{written(factors, tmp_path)}:0.5")
    base = open_folder(tiny_checkpoint / "transformer", "transformer").tensors
    for layer, delta in expected_deltas(factors).items():
        module, start = pipeline.transformer.place_of(layer)
        expected = base[f"{layer}.weight"].read(torch.float32, torch.device("cpu")) + 0.5 * delta
        torch.testing.assert_close(module.weight[start : start + len(expected)], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("quantization", ["none", "int8"])
def test_strength_0_and_taking_away_are_the_bits_of_no_lora(tiny_checkpoint, factors, tmp_path, quantization):
    pipeline = ZImagePipeline.from_pretrained(str(tiny_checkpoint), **CPU, quantization=quantization)
    before, picture = weights(pipeline), pixels(drawn(pipeline))
    path = written(factors, tmp_path)
    assert np.array_equal(pixels(drawn(pipeline, f"{path}:0")), picture)
    assert np.array_equal(pixels(drawn(pipeline, str(path), lora_strength=0)), picture)
    assert not np.array_equal(pixels(drawn(pipeline, str(path))), picture)
    changed = weights(pipeline)
    assert any(not torch.equal(changed[name], before[name]) for name in before)
    assert np.array_equal(pixels(drawn(pipeline)), picture)
    after = weights(pipeline)
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("quantization", ["none", "int8"])
def test_in_streamed_blocks_loras_come_and_go_as_in_others(tiny_checkpoint, factors, tmp_path, quantization):
    path = written(factors, tmp_path)
    settings = CPU | {"quantization": quantization}
    resident = ZImagePipeline.from_pretrained(str(tiny_checkpoint), **settings)
    with all_streamed():
        streamed = ZImagePipeline.from_pretrained(str(tiny_checkpoint), **settings)
    for loras in ([], [str(path)], [f"{path}:0.5"], []):
        assert np.array_equal(pixels(drawn(streamed, loras)), pixels(drawn(resident, loras)))


def test_two_loras_add_up_in_any_order(pipeline, factors, tmp_path):
    one = written(factors, tmp_path, file="a.safetensors")
    halves = [f"{shutil.copy(one, tmp_path / name)}:0.5" for name in ("b.safetensors", "c.safetensors")]
    both = [pixels(drawn(pipeline, order)) for order in (halves, halves[::-1])]
    assert np.abs(both[0].astype(int) - pixels(drawn(pipeline, str(one))).astype(int)).max() <= 1
    assert np.array_equal(*both)


def test_the_factor_multiplies_every_strength(pipeline, factors, tmp_path):
    path = written(factors, tmp_path)
    assert np.array_equal(pixels(drawn(pipeline, f"{path}:0.5")), pixels(drawn(pipeline, str(path), lora_strength=0.5)))


def test_the_record_says_file_hash_and_strength(pipeline, factors, tmp_path):
    path = written(factors, tmp_path)
    metadata = drawn(pipeline, f"{path}:0.5", lora_strength=0.5).metadata
    (record,) = metadata["loras"]
    assert (record["file"], record["strength"], record["layers"], record["ignored"]) == (str(path), 0.25, 5, [])
    assert metadata["parameters"]["loras"] == f"{path}:0.5#{record['fingerprint']}"
    assert "loras" not in drawn(pipeline).metadata


def test_a_record_draws_again_and_another_file_is_refused(pipeline, factors, tmp_path):
    path = written(factors, tmp_path)
    first = drawn(pipeline, str(path))
    again = drawn(pipeline, first.metadata["parameters"]["loras"])
    assert np.array_equal(pixels(first), pixels(again))
    write_lora(path, *spellings({layer: (up + 1, down) for layer, (up, down) in factors.items()})["musubi"])
    with pytest.raises(CheckpointError, match="is another file than the one of the record"):
        drawn(pipeline, first.metadata["parameters"]["loras"])
    assert not np.array_equal(pixels(drawn(pipeline, str(path))), pixels(first))


def test_a_record_that_names_no_folder_draws_again_with_the_folder_of_loras(
    tiny_checkpoint, pipeline, factors, tmp_path
):
    path = written(factors, tmp_path, file="ink, fine.safetensors")
    first = drawn(pipeline, f'"{path}":0.5')
    told = without_places(first.metadata)["parameters"]["loras"]
    assert told.startswith('"ink, fine.safetensors":0.5#')
    other = ZImagePipeline.from_pretrained(str(tiny_checkpoint), **CPU, loras_folder=str(tmp_path))
    assert np.array_equal(pixels(drawn(other, told)), pixels(first))
    with pytest.raises(CheckpointError, match=r"does not exist; give a .safetensors file, or set loras_folder"):
        drawn(pipeline, told)


def test_dora_names_its_convention(pipeline, factors, tmp_path):
    tensors, _ = spellings(factors)["ai-toolkit"]
    tensors["diffusion_model.layers.0.attention.to_q.dora_scale"] = torch.ones(48, 1)
    path = write_lora(tmp_path / "dora.safetensors", tensors)
    (record,) = drawn(pipeline, str(path)).metadata["loras"]
    assert record["dora"] == "norm of the changed weight (PEFT, LyCORIS)"


def test_an_unknown_key_refuses_the_file_or_is_recorded(pipeline, factors, tmp_path):
    tensors, _ = spellings(factors)["musubi"]
    tensors["lora_te_layers_0_q_proj.lora_up.weight"] = torch.zeros(2, 2)
    path = write_lora(tmp_path / "x.safetensors", tensors)
    with pytest.raises(CheckpointError, match=r"1 tensors for a text encoder, .* lora_ignore_unknown"):
        drawn(pipeline, str(path))
    (record,) = drawn(pipeline, str(path), lora_ignore_unknown=True).metadata["loras"]
    assert record["ignored"] == ["lora_te_layers_0_q_proj.lora_up.weight"]


def test_layers_that_are_fused_or_not_are_found(tiny_checkpoint, pipeline):
    stored = open_folder(tiny_checkpoint / "transformer", "transformer").tensors
    drawn(pipeline)  # without LoRAs
    assert {"layers.0.attention.to_q", "layers.0.feed_forward.w3"} <= pipeline.denoiser.loras.files.layers.keys()
    for layer, (rows, _) in pipeline.denoiser.loras.files.layers.items():
        module, start = pipeline.transformer.place_of(layer)
        expected = stored[f"{layer}.weight"].read(torch.float32, torch.device("cpu"))
        assert torch.equal(module.weight[start : start + rows], expected), layer


@pytest.mark.parametrize("kind", ["float8", "int8"])
def test_rows_of_a_quantized_layer_are_those_of_the_whole_quantized(kind):
    from llm_dit.acceleration.float8 import ScaledLinear
    from llm_dit.acceleration.int8 import Int8Linear

    layer = {"float8": ScaledLinear, "int8": Int8Linear}[kind]
    linear, other = (torch.nn.Linear(32, 48, bias=False, dtype=torch.bfloat16) for _ in range(2))
    target, expected = layer.from_linear(linear), layer.from_linear(other)
    for start in (0, 16, 32):
        write_rows(target, start, other.weight.detach()[start : start + 16])
    assert torch.equal(target.weight.view(torch.int8), expected.weight.view(torch.int8))
    assert torch.equal(target.scale, expected.scale)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["a.safetensors:0.5", " b.safetensors "], "a.safetensors:0.5, b.safetensors"),
        ([], ""),
        ("a.safetensors:0.5,b.safetensors", "a.safetensors:0.5, b.safetensors"),
    ],
)
def test_a_list_and_a_text_mean_the_same(value, text):
    assert GenerationParams(prompt="x", loras=value).loras == text


@pytest.mark.parametrize("value", ["a:99", "a, , b", "a:1.2.3"])
def test_a_malformed_entry_is_refused(value):
    with pytest.raises(InvalidParameter, match=r"^loras has "):
        GenerationParams.parse({"prompt": "x", "loras": value})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("settings", [{}, {"quantization": "float8"}, {"compile": "on"}], ids=str)
@pytest.mark.parametrize("placed", [nullcontext, all_streamed])
def test_on_a_card_loras_come_and_go_without_a_trace(tmp_path, settings, placed):
    with placed():
        pipeline = ZImagePipeline.from_pretrained("mini", dit_device="cuda", text_encoder_device="cuda", **settings)
    factors = {
        layer: (up / 8, down / 8) for layer, (up, down) in factors_of(pipeline.denoiser.loras.files.layers).items()
    }
    path = written(factors, tmp_path)
    before = pixels(drawn(pipeline))
    changed = pixels(drawn(pipeline, str(path)))
    assert not np.array_equal(changed, before)
    assert np.array_equal(pixels(drawn(pipeline, f"{path}:0")), before)
    assert np.array_equal(pixels(drawn(pipeline, str(path))), changed)
    assert np.array_equal(pixels(drawn(pipeline)), before)
