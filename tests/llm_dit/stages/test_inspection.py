"""What `scripts/inspect_model.py` says of files and folders."""

import pytest
from click.testing import CliRunner
from lora_files import factors_of, spellings, write_lora
from model_files import declaration, pack_layers, transformer_tensors, write_comfy_tree, write_file

from llm_dit.checkpoints.finding import EMBEDDED_MODELS
from llm_dit.commands import main
from llm_dit.errors import CheckpointError
from llm_dit.stages.inspection import inspect_model


def test_a_packed_file_is_told_by_format_size_and_hash(tiny_checkpoint, tmp_path):
    stored, _, declared = pack_layers(transformer_tensors(tiny_checkpoint), "nvfp4", ["layers.0.attention.qkv"])
    stored |= {f"{layer}.comfy_quant": declaration(value) for layer, value in declared.items()}
    text = "\n".join(inspect_model(write_file(tmp_path / "x.safetensors", stored, tiny_checkpoint / "transformer")))
    assert "transformer, layout original (ComfyUI), " in text
    assert "sizes: dim 48, n_layers 2, n_refiner_layers 1, n_heads 2, cap_feat_dim 32, in_channels 16" in text
    assert "nvfp4: 3 tensors, 0.0 MB: layers.#.attention.to_k.weight" in text
    assert "1 layers: ComfyUI would also round what they read" in text
    assert "complete" in text and "not in this file: text_encoder, vae, tokenizer, scheduler" in text


def test_missing_tensors_are_named(tiny_checkpoint, tmp_path):
    stored = transformer_tensors(tiny_checkpoint)
    del stored["layers.1.feed_forward.w2.weight"]
    text = "\n".join(inspect_model(write_file(tmp_path / "x.safetensors", stored, tiny_checkpoint / "transformer")))
    assert "missing: layers.1.feed_forward.w2.weight" in text and "complete" not in text


@pytest.mark.parametrize("component", ["text_encoder", "vae"])
def test_encoder_and_vae_are_complete(tiny_checkpoint, tmp_path, component):
    text = "\n".join(inspect_model(write_comfy_tree(tiny_checkpoint, tmp_path)[component]))
    assert f"{component}, layout" in text and "complete" in text


def test_a_folder_is_told_by_component(tiny_checkpoint):
    text = "\n".join(inspect_model(tiny_checkpoint))
    assert text.count("complete") == 3 and "fingerprint" in text and "layout diffusers folder" in text


def test_anything_else_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"neither a \.safetensors or \.gguf file nor a folder with transformer"):
        list(inspect_model(tmp_path))


@pytest.mark.parametrize("spelling", ["musubi", "PEFT", "whole differences"])
def test_a_lora_is_told_as_one(tmp_path, spelling):
    layers = {f"layers.0.attention.{name}": (8, 8) for name in ("to_q", "to_k", "to_v", "to_out.0")}
    tensors, metadata = spellings(factors_of({**layers, "all_x_embedder.2-1": (8, 8)}))[spelling]
    path = write_lora(tmp_path / "style.safetensors", tensors, metadata)
    with pytest.raises(
        CheckpointError, match=r"style\.safetensors is a LoRA, an addition to a model; give it with --lora\.$"
    ):
        list(inspect_model(path))


def test_what_is_not_there_is_told_as_that(tmp_path):
    with pytest.raises(CheckpointError, match=r"no_such\.gguf is not there; give a file or a folder that is\.$"):
        list(inspect_model(tmp_path / "no_such.gguf"))


def test_the_command_knows_the_embedded_model_by_its_name():
    named, placed = (
        CliRunner().invoke(main, ["inspect", name]).output for name in ("mini", str(EMBEDDED_MODELS / "mini"))
    )
    assert named == placed
    assert named.startswith(f"{EMBEDDED_MODELS / 'mini'}: a folder as on the hub\n")
