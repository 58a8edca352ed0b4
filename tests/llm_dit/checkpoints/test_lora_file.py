"""LoRA files: one change in every spelling is one delta, and every tensor is placed or named."""

import json
from importlib.metadata import version

import pytest
import torch
from lora_files import ALPHA, BLOCK, RANK, expected_deltas, factors_of, spellings, write_lora
from tiny_checkpoint import TRANSFORMER_CONFIG
from torch import nn

from llm_dit.checkpoints.lora_file import read_lora
from llm_dit.errors import CheckpointError

QUERY = f"{BLOCK}.attention.to_q"
EMBEDDER = "all_x_embedder.2-1"


@pytest.fixture(scope="module")
def layers():
    from llm_dit.networks.transformer import ZImageTransformer
    from llm_dit.networks.transformer_config import ZImageTransformerConfig

    with torch.device("meta"):
        model = ZImageTransformer(ZImageTransformerConfig.from_dict(TRANSFORMER_CONFIG))
    return {name: tuple(part.weight.shape) for name, part in model.named_modules() if isinstance(part, nn.Linear)}


def deltas(file):
    return {layer: sum(change.delta() for change in changes) for layer, changes in file.changes.items()}


NAMES = list(
    spellings(
        factors_of(
            dict.fromkeys(
                [f"{BLOCK}.attention.{p}" for p in ("to_q", "to_k", "to_v", "to_out.0")] + ["all_x_embedder.2-1"],
                (4, 4),
            )
        )
    )
)


@pytest.mark.parametrize("name", NAMES)
def test_every_spelling_of_a_delta_is_that_delta(layers, tmp_path, name):
    factors = factors_of(layers)
    file = read_lora(write_lora(tmp_path / "x.safetensors", *spellings(factors)[name]), layers)
    expected, found = expected_deltas(factors), deltas(file)
    assert found.keys() == expected.keys() and not file.ignored
    for layer, delta in expected.items():
        torch.testing.assert_close(found[layer], delta, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["musubi", "musubi to ComfyUI", "ai-toolkit", "DiffSynth"]
)  # where diffusers' loader is right
@pytest.mark.skipif(
    tuple(map(int, version("diffusers").split(".")[:2])) < (0, 42), reason="diffusers before 0.42 misreads an alpha"
)
def test_deltas_equal_those_of_diffusers(layers, tmp_path, name):
    from diffusers.loaders import ZImageLoraLoaderMixin

    tensors, metadata = spellings(factors_of(layers))[name]
    if name in ("ai-toolkit", "DiffSynth"):  # its loader leaves the original's names outside the blocks alone
        tensors = {key: value for key, value in tensors.items() if "embedder" not in key}
    found = deltas(read_lora(write_lora(tmp_path / "x.safetensors", tensors, metadata), layers))
    theirs = ZImageLoraLoaderMixin.lora_state_dict({key: value.clone() for key, value in tensors.items()})
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    compared = 0
    for layer, delta in found.items():
        down, up = (theirs.get(f"transformer.{layer}.lora_{end}.weight") for end in "AB")
        if down is not None:
            torch.testing.assert_close(delta, up @ down, rtol=1e-5, atol=1e-5)
            compared += 1
    assert compared >= 4


def lycoris_module(kind, layer, weight, tensors):
    """The lycoris-lora package's own module for a layer."""
    from lycoris.modules.loha import LohaModule
    from lycoris.modules.lokr import LokrModule

    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight.data.copy_(weight)
    ends = {
        "loha": "hada_w1_a hada_w1_b hada_w2_a hada_w2_b hada_t1 hada_t2 alpha dora_scale",
        "lokr": "lokr_w1 lokr_w1_a lokr_w1_b lokr_w2 lokr_w2_a lokr_w2_b lokr_t1 lokr_t2 alpha dora_scale",
    }[kind]
    parts = [tensors.get(f"diffusion_model.{layer}.{end}") for end in ends.split()]
    with torch.no_grad():
        return {"loha": LohaModule, "lokr": LokrModule}[kind].make_module_from_state_dict("x", linear, *parts)


def loha_tensors(layer, rows, columns):
    sizes = {
        "hada_w1_a": (rows, RANK),
        "hada_w1_b": (RANK, columns),
        "hada_w2_a": (rows, RANK),
        "hada_w2_b": (RANK, columns),
    }
    tensors = {f"diffusion_model.{layer}.{name}": torch.randn(size) for name, size in sizes.items()}
    return {**tensors, f"diffusion_model.{layer}.alpha": torch.tensor(ALPHA)}


def lokr_tensors(layer, rows, columns, *, decomposed):
    second = (
        {"lokr_w2_a": (rows // 4, RANK), "lokr_w2_b": (RANK, columns // 4)}
        if decomposed
        else {"lokr_w2": (rows // 4, columns // 4)}
    )
    tensors = {
        f"diffusion_model.{layer}.{name}": torch.randn(size) for name, size in {"lokr_w1": (4, 4), **second}.items()
    }
    return {**tensors, f"diffusion_model.{layer}.alpha": torch.tensor(ALPHA if decomposed else 9999999827968.0)}


@pytest.mark.parametrize("kind", ["loha", "lokr whole", "lokr decomposed"])
@pytest.mark.parametrize("with_dora", [False, True])
@pytest.mark.parametrize("is_merge", [False, True])
def test_loha_lokr_and_dora_are_what_lycoris_computes(layers, tmp_path, kind, with_dora, is_merge):
    torch.manual_seed(0)
    rows, columns = layers[QUERY]
    name = kind.split()[0]
    tensors = (
        loha_tensors(QUERY, rows, columns)
        if name == "loha"
        else lokr_tensors(QUERY, rows, columns, decomposed="decomposed" in kind)
    )
    if with_dora:
        tensors[f"diffusion_model.{QUERY}.dora_scale"] = torch.rand(rows, 1) + 1
    weight = torch.randn(rows, columns)
    change = read_lora(write_lora(tmp_path / "x.safetensors", tensors), layers).changes[QUERY][0]
    if kind == "lokr whole":  # the placeholder is no alpha; lycoris fills in the rank, which is 1 here
        tensors[f"diffusion_model.{QUERY}.alpha"] = torch.tensor(1.0)
    elif is_merge:  # lycoris' merge multiplies by alpha / rank twice, its forward once
        tensors[f"diffusion_model.{QUERY}.alpha"] = torch.tensor(float(RANK))
        change = read_lora(write_lora(tmp_path / "x.safetensors", tensors), layers).changes[QUERY][0]
    with torch.no_grad():
        theirs = lycoris_module(name, QUERY, weight, tensors)
        expected = theirs.get_merged_weight()[0] if is_merge else theirs(torch.eye(columns)).T
    torch.testing.assert_close(change.applied(weight, 1.0), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(change.applied(weight, 0.0), weight)


def test_strength_blends_the_base_and_the_dora_weight(layers, tmp_path):
    factors = factors_of(layers)
    tensors, _ = spellings(factors)["ai-toolkit"]
    columns = layers[QUERY][1]
    magnitude = torch.rand(1, columns) + 1
    tensors[f"diffusion_model.{QUERY}.dora_scale"] = magnitude
    change = read_lora(write_lora(tmp_path / "x.safetensors", tensors), layers).changes[QUERY][0]
    weight = torch.randn(layers[QUERY])
    changed = weight + expected_deltas(factors)[QUERY]
    whole = magnitude * changed / changed.norm(dim=0, keepdim=True)
    torch.testing.assert_close(change.applied(weight, 0.5), (weight + whole) / 2, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["loha", "lokr"])
def test_products_on_a_fused_projection_are_cut_by_rows(layers, tmp_path, kind):
    rows, columns = layers[QUERY]
    fused = f"{BLOCK}.attention.qkv"
    tensors = (
        loha_tensors(fused, 3 * rows, columns)
        if kind == "loha"
        else lokr_tensors(fused, 3 * rows, columns, decomposed=False)
    )
    found = deltas(read_lora(write_lora(tmp_path / "x.safetensors", tensors), layers))
    part = {key.removeprefix(f"diffusion_model.{fused}."): value for key, value in tensors.items()}
    if kind == "loha":
        whole = (part["hada_w1_a"] @ part["hada_w1_b"]) * (part["hada_w2_a"] @ part["hada_w2_b"]) * (ALPHA / RANK)
    else:
        whole = torch.kron(part["lokr_w1"], part["lokr_w2"])
    for index, name in enumerate("qkv"):
        torch.testing.assert_close(found[f"{BLOCK}.attention.to_{name}"], whole[index * rows : (index + 1) * rows])


def test_peft_says_alpha_in_a_file_beside(layers, tmp_path):
    factors = factors_of(layers)
    tensors = {
        f"base_model.model.{layer}.lora_{end}.weight": part
        for layer, (up, down) in factors.items()
        for end, part in (("B", up), ("A", down))
    }
    config = {"lora_alpha": ALPHA, "r": RANK, "use_rslora": True}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    found = deltas(read_lora(write_lora(tmp_path / "adapter_model.safetensors", tensors), layers))
    expected = factors[QUERY][0] @ factors[QUERY][1] * (ALPHA / RANK**0.5)
    torch.testing.assert_close(found[QUERY], expected, rtol=1e-6, atol=1e-6)


def test_a_key_that_can_not_be_placed_is_named_and_refuses_the_file(layers, tmp_path):
    tensors, _ = spellings(factors_of(layers))["musubi"]
    tensors["lora_unet_layers_99_attention_to_q.lora_up.weight"] = torch.zeros(2, 2)
    path = write_lora(tmp_path / "x.safetensors", tensors)
    with pytest.raises(
        CheckpointError, match=r"has 1 tensors that belong to no layer .*layers_99_attention_to_q\.lora_up"
    ):
        read_lora(path, layers)
    file = read_lora(path, layers, ignore_unknown=True)
    assert file.ignored == ("lora_unet_layers_99_attention_to_q.lora_up.weight",)
    assert QUERY in file.changes


@pytest.mark.parametrize("prefix", ["text_encoder.model.layers.0.", "lora_te_layers_0_", "text_encoders.qwen3_4b."])
def test_what_is_for_a_text_encoder_is_refused_by_name(layers, tmp_path, prefix):
    tensors, _ = spellings(factors_of(layers))["musubi"]
    tensors[f"{prefix}q_proj.lora_A.weight"] = torch.zeros(2, 2)
    with pytest.raises(CheckpointError, match="1 tensors for a text encoder, which LoRAs don't change here"):
        read_lora(write_lora(tmp_path / "x.safetensors", tensors), layers)


def test_a_lora_of_another_size_is_refused(layers, tmp_path):
    tensors = {
        f"diffusion_model.{QUERY}.lora_A.weight": torch.zeros(2, 7),
        f"diffusion_model.{QUERY}.lora_B.weight": torch.zeros(9, 2),
    }
    with pytest.raises(CheckpointError, match=r"to_q as 9 x 7, but this model has 48 x 48; it is for another model"):
        read_lora(write_lora(tmp_path / "x.safetensors", tensors), layers)


@pytest.mark.parametrize(
    ("layer", "shape", "sentence"),
    [
        (QUERY, (1, 7), r"the DoRA scale of .*to_q has shape \[1, 7\], which fits no weight of 48 x 48; it is"),
        (QUERY, (7,), r"the DoRA scale of .*to_q has shape \[7\], which fits no weight of 48 x 48; it is"),
        (EMBEDDER, (7,), r"the DoRA scale of .*2-1 has shape \[7\], which fits no weight of 48 x 64; it is"),
    ],
)
def test_a_dora_scale_of_another_size_is_refused(layers, tmp_path, layer, shape, sentence):
    tensors, _ = spellings(factors_of(layers))["ai-toolkit"]
    tensors[f"diffusion_model.{layer}.dora_scale"] = torch.ones(shape)
    with pytest.raises(CheckpointError, match=sentence):
        read_lora(write_lora(tmp_path / "x.safetensors", tensors), layers)


def test_one_norm_for_the_columns_of_three_projections_is_refused(layers, tmp_path):
    tensors, _ = spellings(factors_of(layers))["fused, dotted"]
    tensors[f"diffusion_model.{BLOCK}.attention.qkv.dora_scale"] = torch.ones(1, layers[QUERY][1])
    with pytest.raises(CheckpointError, match="one norm for the columns of three projections"):
        read_lora(write_lora(tmp_path / "x.safetensors", tensors), layers)


def test_a_damaged_peft_configuration_is_one_sentence(layers, tmp_path):
    tensors, _ = spellings(factors_of(layers))["diffusers"]
    path = write_lora(tmp_path / "x.safetensors", tensors, {"lora_adapter_metadata": "{"})
    with pytest.raises(
        CheckpointError, match=r"x\.safetensors has a damaged PEFT configuration \(.*\); fetch it again"
    ):
        read_lora(path, layers)


def test_a_tensor_that_is_no_part_of_a_lora_is_named(layers, tmp_path):
    tensors, _ = spellings(factors_of(layers))["musubi"]
    path = write_lora(tmp_path / "x.safetensors", {**tensors, "notes": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"has 1 tensors that belong to no layer of this model \(notes\)"):
        read_lora(path, layers)


def test_half_a_change_is_refused(layers, tmp_path):
    tensors = {f"diffusion_model.{QUERY}.lora_A.weight": torch.zeros(2, 48)}
    with pytest.raises(CheckpointError, match=r"only parts of a change of .*lora_A\.weight"):
        read_lora(write_lora(tmp_path / "x.safetensors", tensors), layers)


def test_a_lora_for_another_model_is_refused_even_if_unknown_names_pass(layers, tmp_path):
    path = write_lora(tmp_path / "x.safetensors", {"double_blocks.0.img_attn.qkv.lora_A.weight": torch.zeros(2, 2)})
    with pytest.raises(CheckpointError, match="changes no layer of this model"):
        read_lora(path, layers, ignore_unknown=True)
