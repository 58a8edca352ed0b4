"""The text encoder's network, against transformers' Qwen3."""

import pytest
import torch
from transformers.models.qwen3 import Qwen3Config as ReferenceConfig
from transformers.models.qwen3 import Qwen3Model

from llm_dit.errors import LlmDitError
from llm_dit.networks.qwen3 import BEFORE_NORM, Qwen3Config, Qwen3Encoder

SIZES = {
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000.0,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
"""As published for Qwen3-4B, but small: heads times their width is not the model's width."""


@pytest.fixture(scope="module")
def pair() -> tuple[Qwen3Encoder, Qwen3Model]:
    torch.manual_seed(0)
    config = ReferenceConfig(**{name: value for name, value in SIZES.items() if name != "rope_theta"})
    config.rope_parameters = {"rope_type": "default", "rope_theta": SIZES["rope_theta"]}
    reference = Qwen3Model(config).eval()
    for parameter in reference.parameters():
        torch.nn.init.normal_(parameter, 1.0 if parameter.ndim == 1 else 0.0, 0.2)
    ours = Qwen3Encoder(Qwen3Config.from_dict(SIZES))
    ours.load_state_dict(reference.state_dict(), strict=True)
    return ours, reference


def test_every_hidden_state_is_the_references(pair) -> None:
    ours, reference = pair
    ids = torch.randint(50, (1, 300))
    with torch.inference_mode():
        expected = reference(ids, output_hidden_states=True, use_cache=False).hidden_states
        (states,) = ours([ids], range(-5, 0))
    for layer in range(-5, 0):
        difference = (states[layer] - expected[layer][0]).abs() / expected[layer].abs().max()
        assert difference.max() < 1e-5, f"layer {layer}: max {difference.max()}, mean {difference.mean()}"


def test_the_state_before_the_norm_is_the_output_of_the_references_last_layer(pair) -> None:
    ours, reference = pair
    ids, last = torch.randint(50, (1, 40)), {}

    def keep(_layer, _inputs, output) -> None:
        last["output"] = output[0] if isinstance(output, tuple) else output

    hook = reference.layers[-1].register_forward_hook(keep)
    with torch.inference_mode():
        normed = reference(ids, output_hidden_states=True, use_cache=False).hidden_states[-1]
        (states,) = ours([ids], [BEFORE_NORM, -1, -2])
    hook.remove()
    output = last["output"].reshape(normed.shape)[0]
    difference = (states[BEFORE_NORM] - output).abs() / output.abs().max()
    assert difference.max() < 1e-5, f"max {difference.max()}, mean {difference.mean()}"
    assert torch.equal(ours.norm(states[BEFORE_NORM]), states[-1])
    assert (states[BEFORE_NORM] - states[-1]).abs().max() > 0.1
    with torch.inference_mode():
        (alone,) = ours([ids], [BEFORE_NORM])
    assert torch.equal(alone[BEFORE_NORM], states[BEFORE_NORM])


def test_prompts_in_company_have_the_bits_that_they_have_alone(pair) -> None:
    ours, _ = pair
    prompts = [torch.randint(50, (1, length)) for length in (7, 300, 1)]
    with torch.inference_mode():
        together = ours(prompts, [-1, -3])
        for prompt, states in zip(prompts, together, strict=True):
            (alone,) = ours([prompt], [-1, -3])
            assert all(torch.equal(states[layer], alone[layer]) for layer in (-1, -3))


def test_layers_behind_the_last_one_asked_for_are_not_computed(pair) -> None:
    ours, _ = pair
    computed = []
    hooks = [layer.register_forward_hook(lambda *_, i=i: computed.append(i)) for i, layer in enumerate(ours.layers)]
    with torch.inference_mode():
        ours([torch.tensor([[1, 2, 3]])], [-4, -3])
    for hook in hooks:
        hook.remove()
    assert computed == [0, 1]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"hidden_size": None}, "lacks hidden_size"),
        ({"attention_bias": True}, "sets attention_bias"),
        ({"hidden_act": "gelu"}, "sets hidden_act"),
        ({"use_sliding_window": True}, "sets use_sliding_window"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "sets rope_type"),
    ],
)
def test_what_it_cannot_compute_is_refused(entry: dict[str, object], message: str) -> None:
    with pytest.raises(LlmDitError, match=message):
        Qwen3Config.from_dict(SIZES | entry)


def test_the_base_of_the_rotation_is_read_from_either_place() -> None:
    new_style = {name: value for name, value in SIZES.items() if name != "rope_theta"}
    new_style["rope_parameters"] = {"rope_type": "default", "rope_theta": 5e6}
    assert Qwen3Config.from_dict(SIZES).rope_theta == 1e6
    assert Qwen3Config.from_dict(new_style).rope_theta == 5e6
