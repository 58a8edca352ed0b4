"""Models in single files: the same module and the same picture as the folder's, companions found or asked for."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import encoder_tensors, transformer_tensors, vae_tensors, write_comfy_tree, write_file
from safetensors.torch import load_file, save_file

import llm_dit
from llm_dit import ZImagePipeline
from llm_dit.checkpoints import model_parts
from llm_dit.checkpoints.fingerprint import fingerprint
from llm_dit.checkpoints.model_parts import find_parts, find_text_encoder
from llm_dit.errors import CheckpointError, InvalidParameter
from llm_dit.parameters import EngineSettings, GenerationParams

MINI = Path(llm_dit.__file__).parent / "models" / "mini"


@pytest.fixture
def tree(tiny_checkpoint, tmp_path):
    """A ComfyUI folder of the tiny checkpoint: component to file."""
    return write_comfy_tree(tiny_checkpoint, tmp_path / "models")


@pytest.fixture(autouse=True)
def _everything_is_said_again():
    model_parts._say.cache_clear()


def settings(path, tiny_checkpoint, **paths):
    given = {"tokenizer_path": str(tiny_checkpoint / "tokenizer"), **paths}
    return EngineSettings(model_path=str(path), dit_device="cpu", text_encoder_device="cpu", **given)


def test_mini_as_comfyui_files_draws_the_same_picture_byte_for_byte(tmp_path):
    tree = write_comfy_tree(MINI, tmp_path / "models")
    engine = settings(tree["transformer"], MINI)
    params = GenerationParams(prompt="A red apple on a wooden table", seed=3, num_inference_steps=2)
    pictures = [
        ZImagePipeline.from_pretrained(settings=of).generate(params)
        for of in (engine, EngineSettings(dit_device="cpu", text_encoder_device="cpu"))
    ]
    assert np.array_equal(*(np.asarray(picture.image) for picture in pictures))
    prints = [picture.metadata["model_fingerprint"] for picture in pictures]
    assert prints[0] != prints[1] == fingerprint(MINI)
    assert "model_parts" not in pictures[1].metadata
    recorded = pictures[0].metadata["model_parts"]
    assert recorded["vae"] == {"path": str(tree["vae"]), "layout": "LDM (ae.safetensors)", "formats": {"float16": 180}}


def test_companions_come_from_the_comfyui_folder_and_that_is_said_once(tree, tiny_checkpoint, caplog):
    for _ in range(2):
        parts = find_parts(settings(tree["transformer"], tiny_checkpoint))
    assert (parts.text_encoder.path, parts.vae.path) == (tree["text_encoder"], tree["vae"])
    assert [record.message for record in caplog.records] == [
        f"z_image.safetensors brings no text encoder and no VAE; taken is the text encoder {tree['text_encoder']} and "
        f"the VAE {tree['vae']}.",
        "z_image.safetensors brings no scheduler; taken are Z-Image-Turbo's shift 3, 9 steps and no guidance. For its "
        "base model set shift 6, 50 steps and guidance_scale 4.",
    ]


def test_files_side_by_side_find_each_other(tiny_checkpoint, tmp_path):
    for name, tensors in (
        ("text_encoder", encoder_tensors),
        ("vae", vae_tensors),
        ("transformer", transformer_tensors),
    ):
        write_file(tmp_path / f"{name}.safetensors", tensors(tiny_checkpoint), tiny_checkpoint / name)
    parts = find_parts(settings(tmp_path / "transformer.safetensors", tiny_checkpoint))
    assert parts.vae.path == tmp_path / "vae.safetensors"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "text_encoder",
            r"brings no text encoder, and none lies in .*text_encoders; give text_encoder_path, such as qwen_3_4b",
        ),
        ("vae", r"brings no VAE, and none lies in .*vae; give vae_path, such as ae\.safetensors"),
    ],
)
def test_a_missing_companion_says_what_to_give(tree, tiny_checkpoint, name, sentence):
    tree[name].unlink()
    with pytest.raises(CheckpointError, match=sentence):
        find_parts(settings(tree["transformer"], tiny_checkpoint))


def test_other_files_in_the_tree_do_not_matter(tree, tiny_checkpoint):
    save_file({"text_model.encoder.weight": torch.zeros(1)}, tree["text_encoder"].parent / "clip_l.safetensors")
    (tree["vae"].parent / "old.ckpt").write_bytes(b"\x80\x04.")
    assert find_parts(settings(tree["transformer"], tiny_checkpoint)).vae.path == tree["vae"]


def test_several_that_fit_are_named(tree, tiny_checkpoint):
    for end in (".safetensors", ".json"):
        shutil.copy(tree["text_encoder"].with_suffix(end), tree["text_encoder"].with_name(f"qwen_3_4b_copy{end}"))
    with pytest.raises(CheckpointError, match=r"2 fit it .*qwen_3_4b.*qwen_3_4b_copy.*; give text_encoder_path"):
        find_parts(settings(tree["transformer"], tiny_checkpoint))


def test_a_path_of_a_part_wins_over_the_folder(tree, tiny_checkpoint, tmp_path):
    other = {name: tensor + 1 for name, tensor in load_file(tree["vae"]).items()}
    path = write_file(tmp_path / "other" / "ae.safetensors", other, tiny_checkpoint / "vae")
    changed = EngineSettings(model_path=str(tiny_checkpoint), vae_path=str(path))
    parts = find_parts(changed)
    assert (parts.vae.path, parts.text_encoder.path) == (path, tiny_checkpoint / "text_encoder")
    prints = {
        find_parts(changed).fingerprint(),
        find_parts(EngineSettings(model_path=str(tiny_checkpoint))).fingerprint(),
    }
    assert len(prints) == 2


@pytest.mark.parametrize("folder", ["", "vae"])
def test_a_part_may_be_a_folder(tiny_checkpoint, folder):
    parts = find_parts(EngineSettings(model_path=str(tiny_checkpoint), vae_path=str(tiny_checkpoint / folder)))
    assert parts.vae.path == tiny_checkpoint / "vae"


def test_the_fingerprint_of_files_knows_content_not_place(tree, tiny_checkpoint, tmp_path):
    moved = shutil.copytree(tree["transformer"].parents[1], tmp_path / "moved")
    before = find_parts(settings(tree["transformer"], tiny_checkpoint)).fingerprint()
    path = moved / "diffusion_models" / "z_image.safetensors"
    assert find_parts(settings(path, tiny_checkpoint)).fingerprint() == before
    tensors = load_file(path)
    tensors["x_pad_token"] += 1e-3
    save_file(tensors, path)
    assert find_parts(settings(path, tiny_checkpoint)).fingerprint() != before


def test_a_part_of_another_kind_is_named(tree, tiny_checkpoint):
    with pytest.raises(CheckpointError, match=r"vae_path .* holds a transformer, but no VAE"):
        find_parts(settings(tree["transformer"], tiny_checkpoint, vae_path=str(tree["transformer"])))
    with pytest.raises(CheckpointError, match=r"model_path .* holds a VAE, but no transformer"):
        find_parts(settings(tree["vae"], tiny_checkpoint))


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(CheckpointError, match=r"model_path no/such\.gguf is not there"):
        find_parts(EngineSettings(model_path="no/such.gguf"))


@pytest.mark.parametrize("name", ["text_encoder", "vae"])
@pytest.mark.parametrize("given", ["no/such.safetensors", "no/folder"])
def test_a_part_that_is_not_there_is_told_as_that(tiny_checkpoint, name, given):
    with pytest.raises(
        CheckpointError, match=rf"^{name}_path {given} is not there; give a .*config\.json and weights\.$"
    ):
        find_parts(settings(tiny_checkpoint, tiny_checkpoint, **{f"{name}_path": given}))


def test_a_folder_without_a_configuration_is_told_as_that(tiny_checkpoint, tmp_path):
    with pytest.raises(
        CheckpointError, match=rf"^vae_path {tmp_path} is neither a .*file nor a folder with config\.json"
    ):
        find_parts(settings(tiny_checkpoint, tiny_checkpoint, vae_path=str(tmp_path)))


def test_a_revision_of_a_file_is_refused(tree, tiny_checkpoint):
    with pytest.raises(InvalidParameter, match=r"main is for models on the hub, but .*z_image\.safetensors is a file"):
        find_parts(settings(tree["transformer"], tiny_checkpoint, model_revision="main"))


def test_what_the_encoders_folder_holds_beside_an_encoder_is_passed_over(tree, tiny_checkpoint):
    save_file({"something.weight": torch.zeros(1)}, tree["text_encoder"].with_name("other.safetensors"))
    (tree["text_encoder"].with_name("damaged.gguf")).write_bytes(b"no")
    assert find_parts(settings(tree["transformer"], tiny_checkpoint)).text_encoder.path == tree["text_encoder"]
    tree["text_encoder"].rename(tree["text_encoder"].with_name("mine.safetensors"))
    tree["text_encoder"].with_suffix(".json").rename(tree["text_encoder"].with_name("mine.json"))
    found = find_parts(settings(tree["transformer"], tiny_checkpoint)).text_encoder
    assert found.path == tree["text_encoder"].with_name("mine.safetensors")


@pytest.mark.parametrize("place", ["the file", "the transformer's file", "its folder", "the model's folder"])
def test_a_text_encoder_is_found_alone(tree, tiny_checkpoint, place):
    path = {
        "the file": tree["text_encoder"],
        "the transformer's file": tree["transformer"],
        "its folder": tiny_checkpoint / "text_encoder",
        "the model's folder": tiny_checkpoint,
    }[place]
    given = None if place == "the model's folder" else str(tiny_checkpoint / "tokenizer")
    stored, tokenizer = find_text_encoder(str(path), given)
    assert stored.path == (tree["text_encoder"] if "file" in place else tiny_checkpoint / "text_encoder")
    assert tokenizer == tiny_checkpoint / "tokenizer"


def test_a_text_encoders_file_that_is_not_there_is_named():
    with pytest.raises(CheckpointError, match=r"model_path no/such\.safetensors is not there"):
        find_text_encoder("no/such.safetensors")


def test_an_encoder_of_another_width_is_named(tree, tiny_checkpoint):
    with pytest.raises(
        CheckpointError, match=r"the text encoder is 192 wide, but the transformer reads embeddings of 32"
    ):
        find_parts(settings(tree["transformer"], tiny_checkpoint, text_encoder_path=str(MINI)))


def test_the_tokenizer_beside_the_encoder_is_found(tree, tiny_checkpoint):
    shutil.copytree(tiny_checkpoint / "tokenizer", tree["text_encoder"].parent / "tokenizer")
    parts = find_parts(EngineSettings(model_path=str(tree["transformer"])))
    assert parts.tokenizer == tree["text_encoder"].parent / "tokenizer"


def test_without_any_tokenizer_one_sentence_says_what_to_give(tree):
    with pytest.raises(CheckpointError, match=r"No tokenizer lies beside .* give tokenizer_path") as caught:
        find_parts(EngineSettings(model_path=str(tree["transformer"])))
    assert caught.value.field == "tokenizer_path"


def test_a_tokenizer_path_may_be_the_file(tree, tiny_checkpoint):
    file = tiny_checkpoint / "tokenizer" / "tokenizer.json"
    assert find_parts(settings(tree["transformer"], tiny_checkpoint, tokenizer_path=str(file))).tokenizer == file.parent
