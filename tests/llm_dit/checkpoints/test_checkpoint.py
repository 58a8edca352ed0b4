"""Broken checkpoints: one clear sentence each, and nothing loaded in part."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file

from llm_dit import ZImagePipeline
from llm_dit.checkpoints.finding import fetch_tokenizer, find_checkpoint
from llm_dit.errors import CheckpointError, InvalidParameter

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(tiny_checkpoint, tmp_path):
    return shutil.copytree(tiny_checkpoint, tmp_path / "copy")


def load(folder):
    return ZImagePipeline.from_pretrained(str(folder), dit_device="cpu", text_encoder_device="cpu")


def change_weights(folder, change):
    path = folder / WEIGHTS
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_a_missing_folder_is_named():
    with pytest.raises(CheckpointError, match=r"Model folder ./no/such does not exist; give 'mini', a folder"):
        find_checkpoint("./no/such")


@pytest.mark.parametrize("name", ["notes.md", "docs/notes.md"])
def test_a_file_that_is_no_model_is_neither_called_missing_nor_looked_for_on_the_hub(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    Path(name).write_text("# Notes")
    with pytest.raises(
        CheckpointError, match=rf"^{name} is neither a folder nor a .safetensors or .gguf file; give one"
    ):
        find_checkpoint(name)


def test_a_hub_id_that_can_not_be_fetched_says_so():
    with pytest.raises(CheckpointError, match=r"no-org/no-model is not a folder here and could not be fetched"):
        find_checkpoint("no-org/no-model")


def test_only_files_that_are_read_are_fetched(tiny_checkpoint, monkeypatch):
    fetched = {}

    def snapshot_download(hub_id, **how):
        fetched.update(how)
        return tiny_checkpoint

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    find_checkpoint("someone/model")
    read = [
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model-00001-of-00003.safetensors",
        "text_encoder/model.safetensors.index.json",
        "tokenizer/tokenizer.json",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    unread = [
        "README.md",
        "assets/showcase.jpg",
        "model_index.json",
        "text_encoder/generation_config.json",
        "text_encoder/pytorch_model.bin",
        "tokenizer/merges.txt",
        "tokenizer/vocab.json",
        "transformer/diffusion_pytorch_model.fp16.safetensors",
        "transformer/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
        "transformer/diffusion_pytorch_model.fp16.safetensors.index.json",
        "vae/diffusion_pytorch_model.bin",
    ]
    patterns = {name: fetched[name] for name in ("allow_patterns", "ignore_patterns")}
    assert list(filter_repo_objects(sorted(read + unread), **patterns)) == read


def test_a_revision_of_a_folder_is_refused(copy):
    with pytest.raises(InvalidParameter, match=r"main is for models on the hub, but .*copy is here; leave it out"):
        find_checkpoint(str(copy), revision="main")


def test_the_published_tokenizer_is_fetched_for_files_that_bring_none(tiny_checkpoint, monkeypatch):
    asked = []

    def snapshot_download(hub_id, **how):
        asked.append((hub_id, how))
        return str(tiny_checkpoint)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert fetch_tokenizer("No tokenizer lies here") == tiny_checkpoint / "tokenizer"
    assert asked == [("Tongyi-MAI/Z-Image-Turbo", {"allow_patterns": ["tokenizer/*"]})]


def test_a_folder_that_another_program_packed_is_named_with_its_program(copy):
    path = copy / "transformer" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "quantization_config": {"quant_method": "bitsandbytes"}}))
    with pytest.raises(
        CheckpointError, match=r"transformer is packed by bitsandbytes, whose formats are not read here"
    ):
        load(copy)


def test_a_folder_without_weights_is_named(copy):
    (copy / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=r"transformer holds no \*\.safetensors weights; fetch it again"):
        load(copy)


@pytest.mark.parametrize("component", ["transformer", "text_encoder", "tokenizer", "vae"])
def test_a_missing_component_is_named(copy, component):
    shutil.rmtree(copy / component)
    with pytest.raises(CheckpointError, match=f"has no {component}/"):
        load(copy)


def test_a_missing_config_is_named(copy):
    (copy / "vae" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"vae/config\.json is missing"):
        load(copy)


def test_a_git_lfs_pointer_is_recognised(copy):
    (copy / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    with pytest.raises(CheckpointError, match="is a Git LFS pointer, not weights; run `git lfs pull`"):
        load(copy)


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_recognised(copy, kept):
    path = copy / WEIGHTS
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(CheckpointError, match="is truncated or damaged"):
        load(copy)


def test_missing_tensors_are_listed(copy):
    change_weights(copy, lambda tensors: tensors.pop("layers.0.feed_forward.w1.weight"))
    with pytest.raises(CheckpointError, match=r"1 missing \(layers\.0\.feed_forward\.w1\.weight\) tensors"):
        load(copy)


def test_spare_tensors_are_listed(copy):
    change_weights(copy, lambda tensors: tensors.update({"lora.up": torch.zeros(3)}))
    with pytest.raises(CheckpointError, match=r"1 spare \(lora\.up\) tensors"):
        load(copy)


def test_misshapen_tensors_are_listed_with_both_shapes(copy):
    change_weights(copy, lambda tensors: tensors.update({"cap_pad_token": torch.zeros(1, 7)}))
    with pytest.raises(CheckpointError, match=r"1 misshapen \(cap_pad_token \[1, 7\] instead of \[1, 48\]\)"):
        load(copy)


def test_spare_tensors_of_the_text_encoder_are_listed(copy):
    path = copy / "text_encoder" / "model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "model.extra": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=r"text_encoder does not fit .* 1 spare \(extra\)"):
        load(copy)


def test_a_text_encoder_of_another_width_is_named(copy):
    path = copy / "text_encoder" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "hidden_size": 64}))
    with pytest.raises(CheckpointError, match=r"the text encoder is 64 wide, but the transformer reads .* of 32"):
        load(copy)


def test_pickle_files_are_refused(copy):
    (copy / WEIGHTS).unlink()
    (copy / "transformer" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match=r"holds only pickle files .* use a checkpoint in safetensors"):
        load(copy)


def test_a_missing_shard_is_named(copy):
    (copy / "transformer" / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"x_pad_token": "model-00001-of-00002.safetensors"}})
    )
    with pytest.raises(CheckpointError, match=r"lists model-00001-of-00002\.safetensors, which is missing"):
        load(copy)


def test_sharded_weights_load_as_one_file(copy, tiny_pipeline):
    tensors = load_file(copy / WEIGHTS)
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, members in shards.items():
        save_file({name: tensors[name] for name in members}, copy / "transformer" / file)
    (copy / WEIGHTS).unlink()
    index = {"weight_map": {name: file for file, members in shards.items() for name in members}}
    (copy / "transformer" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    loaded, expected = load(copy).transformer.state_dict(), tiny_pipeline.transformer.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_load_into_float32(copy, dtype):
    change_weights(copy, lambda tensors: tensors.update({name: value.to(dtype) for name, value in tensors.items()}))
    assert load(copy).transformer.x_pad_token.dtype == torch.float32
