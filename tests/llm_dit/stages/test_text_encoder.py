"""The text encoder, against the reference and against itself in other company."""

import pytest
import torch
from model_files import encoder_llama_tensors, write_comfy_tree, write_gguf

from llm_dit import ZImageTextEncoder
from llm_dit.errors import CheckpointError, InvalidParameter
from llm_dit.prompting.chat_template import format_prompt


@pytest.fixture(scope="module")
def encoder(tiny_checkpoint):
    return ZImageTextEncoder.from_pretrained(str(tiny_checkpoint), device="cpu")


def test_embeddings_equal_the_reference(encoder, reference):
    expected = reference.encode_prompt("A cat", device="cpu", do_classifier_free_guidance=False)[0][0]
    output = encoder.encode("A cat")
    difference = (output.embeddings[0] - expected).abs() / expected.abs().max()
    assert difference.max() < 1e-5, f"max {difference.max()}, mean {difference.mean()}"
    assert [item.shape[0] for item in output.embeddings] == [expected.shape[0]]
    assert output.formatted_prompts == [format_prompt("A cat")]


def test_a_prompt_is_the_same_alone_and_among_others(encoder):
    alone = encoder.encode("A cat").embeddings[0]
    among = encoder.encode(["A house on the table " * 9, "A cat", "sky"]).embeddings[1]
    assert torch.equal(alone, among)


def test_all_layers_come_from_one_pass_and_equal_those_taken_alone(encoder):
    calls = []
    handle = encoder.model.register_forward_hook(lambda *_: calls.append(1))
    text = format_prompt("A cat")
    together = encoder.encode_formatted([text], [-1, -2, -7])[0]
    handle.remove()
    assert len(calls) == 1
    for layer in (-1, -2, -7):
        assert torch.equal(together.embeddings[layer], encoder.encode_formatted([text], [layer])[0].embeddings[layer])


def test_the_deepest_layer_is_the_token_embedding(encoder):
    ids = encoder.tokenizer.encode(format_prompt("A cat"), add_special_tokens=False).ids
    expected = encoder.model.embed_tokens.weight[ids]
    assert torch.equal(encoder.encode("A cat", hidden_layer=-7).embeddings[0], expected)


def test_a_prompt_beyond_the_models_window_is_refused_with_both_numbers(encoder):
    with pytest.raises(InvalidParameter, match=r"prompt has [\d,]+ tokens; the text encoder reads 4,096"):
        encoder.encode("cat " * 5000)


@pytest.mark.parametrize("what", ["its file", "the model's file", "its folder", "llama.cpp's file"])
def test_a_text_encoder_is_loaded_alone_from_files(tiny_checkpoint, tmp_path, what):
    files = write_comfy_tree(tiny_checkpoint, tmp_path)
    gguf = write_gguf(tmp_path / "q.gguf", encoder_llama_tensors(tiny_checkpoint), architecture="qwen3")
    gguf.with_suffix(".json").write_text((tiny_checkpoint / "text_encoder" / "config.json").read_text())
    place = {
        "its file": files["text_encoder"],
        "the model's file": files["transformer"],
        "its folder": tiny_checkpoint / "text_encoder",
        "llama.cpp's file": gguf,
    }[what]
    tokenizer = tiny_checkpoint / "tokenizer"
    whole = ZImageTextEncoder.from_pretrained(tiny_checkpoint, device="cpu")
    alone = ZImageTextEncoder.from_pretrained(place, device="cpu", tokenizer_path=tokenizer)
    expected, found = (encoder.encode("A red apple").embeddings[0] for encoder in (whole, alone))
    assert torch.equal(found, expected)


def test_a_text_encoders_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"model_path .*no\.safetensors is not there"):
        ZImageTextEncoder.from_pretrained(tmp_path / "no.safetensors", device="cpu")
