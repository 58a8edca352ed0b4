"""One set of weight files a component, whatever lies beside it."""

import json
import logging
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from llm_dit.checkpoints.weight_files import choose_weight_files
from llm_dit.checkpoints.weights import open_weights
from llm_dit.errors import CheckpointError

WHOLE = "diffusion_pytorch_model.safetensors"
INDEX = f"{WHOLE}.index.json"


@pytest.fixture
def vae(tiny_checkpoint, tmp_path):
    return shutil.copytree(tiny_checkpoint / "vae", tmp_path / "vae")


def write_index(folder, name, *shards):
    (folder / name).write_text(json.dumps({"weight_map": {str(number): shard for number, shard in enumerate(shards)}}))


def names(paths):
    return [path.name for path in paths]


def test_a_zeroed_copy_beside_the_weights_is_refused_with_both_names(vae):
    zeros = {name: torch.zeros_like(tensor) for name, tensor in load_file(vae / WHOLE).items()}
    save_file(zeros, vae / "zzz.safetensors")
    with pytest.raises(CheckpointError, match=rf"{WHOLE} and zzz\.safetensors both hold \S+; move away the one that"):
        open_weights(vae)


@pytest.mark.parametrize("variant", ["fp16", "bf16", "non_ema"])
def test_a_variant_is_left_aside_and_named(vae, variant, caplog):
    shutil.copy(vae / WHOLE, vae / f"diffusion_pytorch_model.{variant}.safetensors")
    with caplog.at_level(logging.WARNING, "llm_dit"):
        assert names(file.path for file in open_weights(vae)) == [WHOLE]
    assert f"diffusion_pytorch_model.{variant}.safetensors is not read" in caplog.text


def test_a_variant_in_shards_does_not_hide_the_plain_shards(vae):
    shards = [f"diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    halves = [f"diffusion_pytorch_model.fp16-0000{n}-of-00002.safetensors" for n in (1, 2)]
    others = [f"diffusion_pytorch_model-0000{n}-of-00002.fp16.safetensors" for n in (1, 2)]
    for name in (*shards, *halves, *others):
        shutil.copy(vae / WHOLE, vae / name)
    (vae / WHOLE).unlink()
    write_index(vae, INDEX, *shards)
    write_index(vae, "diffusion_pytorch_model.fp16.safetensors.index.json", *halves)
    chosen = choose_weight_files(vae)
    assert names(chosen.paths) == shards
    assert chosen.index == vae / INDEX
    (vae / INDEX).unlink()
    assert names(choose_weight_files(vae).paths) == shards


def test_the_only_variant_is_taken_and_two_are_refused(vae):
    (vae / WHOLE).rename(vae / "diffusion_pytorch_model.fp16.safetensors")
    assert names(choose_weight_files(vae).paths) == ["diffusion_pytorch_model.fp16.safetensors"]
    shutil.copy(vae / "diffusion_pytorch_model.fp16.safetensors", vae / "diffusion_pytorch_model.bf16.safetensors")
    with pytest.raises(
        CheckpointError, match=r"weights twice, as \S+bf16\.safetensors and as \S+fp16\.safetensors; move"
    ):
        choose_weight_files(vae)


def test_whole_and_in_shards_is_refused_and_a_consolidated_copy_is_left_aside(vae):
    for name in ("a.safetensors", "consolidated.safetensors"):
        shutil.copy(vae / WHOLE, vae / name)
    write_index(vae, INDEX, "a.safetensors")
    with pytest.raises(CheckpointError, match=rf"weights twice, as {WHOLE} and as {INDEX}; move one of them away"):
        choose_weight_files(vae)
    (vae / WHOLE).unlink()
    chosen = choose_weight_files(vae)
    assert (names(chosen.paths), names(chosen.ignored)) == (["a.safetensors"], ["consolidated.safetensors"])


def test_two_indices_of_other_shards_are_refused(vae):
    for name in ("a.safetensors", "b.safetensors"):
        shutil.copy(vae / WHOLE, vae / name)
    write_index(vae, INDEX, "a.safetensors")
    write_index(vae, "model.safetensors.index.json", "b.safetensors")
    with pytest.raises(CheckpointError, match="weights twice"):
        choose_weight_files(vae)


@pytest.mark.parametrize(
    "content", ['{"weight_map": null}', "{}", '{"weight_map": {"a": 3}}', '{"weight_map": {"a": "../b"}}']
)
def test_a_damaged_index_is_one_sentence(vae, content):
    (vae / INDEX).write_text(content)
    with pytest.raises(CheckpointError, match=r"index\.json has no weight_map from tensors to files; fetch it again"):
        choose_weight_files(vae)


def test_a_tensor_under_two_names_is_refused(tmp_path):
    save_file({"norm.weight": torch.ones(2), "model.norm.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="holds both"):
        open_weights(tmp_path)
