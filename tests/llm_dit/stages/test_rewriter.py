"""Rewriting with the encoder's own weights."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llm_dit.errors import CheckpointError, InvalidParameter
from llm_dit.parameters import RewriterSettings
from llm_dit.stages.rewriter import Rewrite, language_model, rewrite, split_thinking
from llm_dit.stages.text_encoder import ZImageTextEncoder

SHORT = RewriterSettings(max_tokens=12)


@pytest.mark.parametrize(
    ("written", "text", "thinking"),
    [
        ("A fox.", "A fox.", ""),
        ("  A fox.\n", "A fox.", ""),
        ("<think>\nHm.\n</think>\n\nA fox.", "A fox.", "Hm."),
        ("<think>\n\n</think>\n\nA fox.", "A fox.", ""),
        ("<think>\nHm, still", "", "Hm, still"),
        ("<thi", "", ""),
        ("\n<", "", ""),
        ("", "", ""),
        ("A <think> fox", "A <think> fox", ""),
    ],
)
def test_thinking_is_split_off_finished_or_not(written: str, text: str, thinking: str) -> None:
    assert split_thinking(written) == Rewrite(text, thinking)


def test_the_language_model_is_the_encoders_weights_and_no_copy(tiny_pipeline) -> None:
    encoder = tiny_pipeline.text_encoder
    model = language_model(encoder)
    assert model.lm_head.weight is encoder.model.embed_tokens.weight
    own = {parameter.data_ptr() for parameter in encoder.model.parameters()}
    assert {parameter.data_ptr() for parameter in model.parameters()} == own


def test_its_logits_are_those_of_the_published_layout(tiny_pipeline, tiny_checkpoint) -> None:
    import torch
    from transformers.models.qwen3 import Qwen3ForCausalLM

    reference = Qwen3ForCausalLM.from_pretrained(tiny_checkpoint / "text_encoder", dtype=torch.float32).eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        expected = reference(ids).logits
        difference = (language_model(tiny_pipeline.text_encoder)(ids).logits - expected).abs()
    assert difference.max() <= 1e-5, f"max {difference.max()}, mean {difference.mean()}"


def test_a_quantized_encoder_writes_through_its_quantized_layers(tiny_checkpoint) -> None:
    import torch
    from torch.nn.functional import cosine_similarity

    exact, quantized = (
        ZImageTextEncoder.from_pretrained(tiny_checkpoint, device="cpu", quantization=quantization)
        for quantization in ("none", "int8")
    )
    model = language_model(quantized)
    assert model.model.layers[0].self_attn.q_proj is quantized.model.layers[0].self_attn.q_proj
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        likeness = cosine_similarity(model(ids).logits, language_model(exact)(ids).logits, dim=-1)
    assert likeness.min() > 0.9 and likeness.max() < 1
    greedy = SHORT.replaced(temperature=0)
    assert rewrite(quantized, "a fox", "Write more.", greedy) == rewrite(quantized, "a fox", "Write more.", greedy)


def test_the_same_seed_writes_the_same_text_and_leaves_torchs_randomness_alone(tiny_pipeline) -> None:
    import torch

    state = torch.random.get_rng_state()
    first = rewrite(tiny_pipeline, "a fox", "Write more.", SHORT, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert rewrite(tiny_pipeline.text_encoder, "a fox", "Write more.", SHORT, seed=1) == first
    others = {rewrite(tiny_pipeline, "a fox", "Write more.", SHORT, seed=seed).text for seed in range(2, 5)}
    assert others != {first.text}


def test_temperature_zero_needs_no_seed(tiny_pipeline) -> None:
    greedy = SHORT.replaced(temperature=0)
    texts = {rewrite(tiny_pipeline, "a fox", "Write more.", greedy).text for _ in range(2)}
    assert len(texts) == 1


def test_what_is_written_so_far_grows_to_the_result(tiny_pipeline) -> None:
    seen: list[Rewrite] = []
    result = rewrite(
        tiny_pipeline, "a fox", "Write more.", RewriterSettings(max_tokens=40), seed=1, on_text=seen.append
    )
    assert seen[-1] == result
    assert [len(part.text) for part in seen] == sorted(len(part.text) for part in seen)


def test_what_on_text_raises_stops_the_writing(tiny_pipeline) -> None:
    class Stop(Exception):
        pass

    def stop(_: Rewrite) -> None:
        raise Stop

    with pytest.raises(Stop):
        rewrite(tiny_pipeline, "a fox", "Write more.", SHORT, seed=1, on_text=stop)


def test_a_model_with_an_output_layer_of_its_own_is_refused(tiny_pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_pipeline.text_encoder.model
    monkeypatch.setattr(network, "config", replace(network.config, tie_word_embeddings=False))
    with pytest.raises(CheckpointError, match="can't write prompts"):
        rewrite(tiny_pipeline, "a fox", "Write more.", SHORT)


def test_a_prompt_that_leaves_no_room_is_refused(tiny_pipeline) -> None:
    with pytest.raises(InvalidParameter, match="too long to be rewritten"):
        rewrite(tiny_pipeline, "fox " * 5000, "Write more.", SHORT)
