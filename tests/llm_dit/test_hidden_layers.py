"""Encoder arms: the last layer before the norm, and mixes of hidden layers, from the value to the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from transformers.models.qwen3 import Qwen3Model

from experiments import run_ablation
from experiments.planning.design import plan_experiment
from experiments.planning.equality import effective_inputs
from experiments.planning.experiment_file import load_experiments
from experiments.prompts import Prompt
from llm_dit import ZImagePipeline
from llm_dit.checkpoints.finding import find_checkpoint
from llm_dit.config import load_config
from llm_dit.errors import ConfigError, InvalidParameter
from llm_dit.parameters import GenerationParams
from llm_dit.parameters.effects import without_effect
from llm_dit.parameters.hidden_layers import LAST_BEFORE_NORM, LayerShare, from_the_last, layer_shares
from llm_dit.prompting.chat_template import format_prompt
from llm_dit.stages.text_encoder import ZImageTextEncoder

TEXT = "A red fox in fresh snow"


def params(**values: Any) -> GenerationParams:
    return GenerationParams.parse({"prompt": TEXT, **values})


@pytest.fixture(scope="module")
def encoder() -> ZImageTextEncoder:
    return ZImageTextEncoder.from_pretrained("mini", device="cpu")


@pytest.fixture(scope="module")
def reference(encoder: ZImageTextEncoder) -> dict[Any, torch.Tensor]:
    """Hidden states of transformers' Qwen3 on the embedded text encoder, and the output of its last layer."""
    model = Qwen3Model.from_pretrained(find_checkpoint("mini") / "text_encoder", dtype=torch.float32).eval()
    kept: list[torch.Tensor] = []
    hook = model.layers[-1].register_forward_hook(
        lambda _layer, _inputs, output: kept.append(output[0] if isinstance(output, tuple) else output)
    )
    ids = torch.tensor([encoder.tokenizer.encode(format_prompt(TEXT), add_special_tokens=False).ids])
    with torch.inference_mode():
        states = model(ids, output_hidden_states=True, use_cache=False).hidden_states
    hook.remove()
    named = {index - len(states): state[0] for index, state in enumerate(states)}
    return {**named, LAST_BEFORE_NORM: kept[0].reshape(states[-1].shape)[0]}


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    difference = (found - expected).abs() / expected.abs().max()
    assert difference.max() < 1e-5, f"max {difference.max()}, mean {difference.mean()}"


def test_the_embedded_encoders_states_are_transformers_and_before_the_norm_is_the_last_layers_output(
    encoder: ZImageTextEncoder, reference: dict[Any, torch.Tensor]
) -> None:
    passes: list[int] = []
    hook = encoder.model.register_forward_hook(lambda *_: passes.append(1))
    layers = [-1, LAST_BEFORE_NORM, -2, -6]
    (encoded,) = encoder.encode_formatted([format_prompt(TEXT)], layers)
    hook.remove()
    assert len(passes) == 1
    for layer in layers:
        assert_close(encoded.embeddings[layer], reference[layer])
    cosine = torch.cosine_similarity(encoded.embeddings[-1], encoded.embeddings[LAST_BEFORE_NORM], dim=-1)
    assert cosine.min() < 0.99, "the final norm does more than scale a token"
    alone = encoder.encode(TEXT, hidden_layer=LAST_BEFORE_NORM).embeddings[0]
    assert torch.equal(alone, encoded.embeddings[LAST_BEFORE_NORM])


def test_a_blend_is_the_weighted_sum_of_the_references_states(
    encoder: ZImageTextEncoder, reference: dict[Any, torch.Tensor]
) -> None:
    for blend, weights in {
        "-2:0.7,-6:0.3": {-2: 0.7, -6: 0.3},
        "-6:0.3,-2:0.7": {-2: 0.7, -6: 0.3},
        "-3:-0.5, last_before_norm:2, -1:1": {-3: -0.5, LAST_BEFORE_NORM: 2.0, -1: 1.0},
    }.items():
        shares = params(hidden_layer_blend=blend).layer_shares
        (encoded,) = encoder.encode_formatted([format_prompt(TEXT)], [share.layer for share in shares])
        expected = sum(weight * reference[layer] for layer, weight in weights.items())
        assert_close(encoded.blended(shares), expected)


def test_a_blend_is_added_in_float32_and_keeps_the_number_format() -> None:
    from llm_dit.stages.text_encoder import EncodedPrompt

    states = {-2: torch.tensor([[256.0, 1.0]]), -6: torch.tensor([[1.0, 256.0]])}
    halves = EncodedPrompt("x", {layer: state.bfloat16() for layer, state in states.items()})
    mixed = halves.blended([LayerShare(-2, 1.0), LayerShare(-6, 1.0)])
    assert mixed.dtype == torch.bfloat16
    assert torch.equal(mixed, torch.tensor([[257.0, 257.0]]).bfloat16())
    assert halves.blended([LayerShare(-2, 1.0)]) is halves.embeddings[-2]


def test_pictures_of_a_blend_come_from_one_pass_and_one_layer_of_weight_one_is_that_layer(
    tiny_pipeline: ZImagePipeline,
) -> None:
    def levels(**values: Any) -> bytes:
        return tiny_pipeline(TEXT, seed=1, width=64, height=64, num_inference_steps=2, **values).tobytes()

    passes: list[int] = []
    hook = tiny_pipeline.text_encoder.model.register_forward_hook(lambda *_: passes.append(1))
    mixed = levels(hidden_layer_blend="-2:0.5,-6:0.5,-1:0.1")
    hook.remove()
    assert len(passes) == 1
    assert levels(hidden_layer_blend="-3:1") == levels(hidden_layer=-3)
    assert levels(hidden_layer_blend="-3:1", hidden_layer=-5) == levels(hidden_layer=-3), "the blend wins"
    assert levels(hidden_layer_blend="-3:1,-6:0") == levels(hidden_layer=-3)
    # a norm whose weights are all 1, as in this random model, does nothing that the transformer's own would not do
    others = [levels(hidden_layer=layer) for layer in (LAST_BEFORE_NORM, -2, -6)]
    assert len({mixed, *others}) == 4


def test_values_have_one_spelling_from_the_last_layer_to_the_first() -> None:
    assert params(hidden_layer_blend=" -6:.30,last_before_norm:1 , -1:2").hidden_layer_blend == (
        "-1:2, last_before_norm:1, -6:0.3"
    )
    assert params(hidden_layer_blend=["-6:0.3", "-2:0.7"]).hidden_layer_blend == "-2:0.7, -6:0.3"
    assert params(hidden_layer_blend="-2:0.123456789").layer_shares == (LayerShare(-2, 0.123456789),)
    assert params(hidden_layer=" last_before_norm ").hidden_layer == LAST_BEFORE_NORM
    assert params(hidden_layer="-3").layer_shares == (LayerShare(-3, 1.0),)
    assert layer_shares("-2:1, -6:0") == (LayerShare(-2, 1.0),)
    assert sorted([-3, LAST_BEFORE_NORM, -1, -2], key=from_the_last) == [-1, LAST_BEFORE_NORM, -2, -3]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"hidden_layer": "last"},
            "hidden_layer last is not allowed; use a whole number -1000 to -1, or last_before_norm.",
        ),
        ({"hidden_layer": 0}, "hidden_layer 0 is not allowed; use a whole number -1000 to -1, or last_before_norm."),
        (
            {"hidden_layer": -2.5},
            "hidden_layer -2.5 is not allowed; use a whole number -1000 to -1, or last_before_norm.",
        ),
        (
            {"hidden_layer_blend": "-2"},
            "hidden_layer_blend has '-2', which is not LAYER:WEIGHT; write for example -2:0.7,-6:0.3.",
        ),
        (
            {"hidden_layer_blend": "-2:1,"},
            "hidden_layer_blend has '', which is not LAYER:WEIGHT; write for example -2:0.7,-6:0.3.",
        ),
        ({"hidden_layer_blend": "3:1"}, "hidden_layer_blend has the layer 3; use -1000 to -1, or last_before_norm."),
        ({"hidden_layer_blend": "-2:1,-2:2"}, "hidden_layer_blend names the layer -2 twice; add up its weights."),
        ({"hidden_layer_blend": "-2:0"}, "hidden_layer_blend has no weight but 0; write for example -2:0.7,-6:0.3."),
        ({"hidden_layer_blend": "-2:inf"}, "hidden_layer_blend has the weight inf in -2:inf; use -100 to 100."),
    ],
)
def test_what_names_no_layer_or_weight_is_refused_in_one_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        params(**values)
    assert str(refused.value) == sentence


def test_layers_that_the_model_lacks_are_refused_by_the_parameter_that_names_them(
    tiny_pipeline: ZImagePipeline,
) -> None:
    with pytest.raises(InvalidParameter, match="hidden_layer_blend -8 is not in this model; use -7 to -1"):
        tiny_pipeline(TEXT, hidden_layer_blend="-2:1,-8:1")


def test_a_hidden_layer_beside_a_blend_is_told_to_be_idle() -> None:
    idle = without_effect(params(hidden_layer=-3, hidden_layer_blend="-2:1"))
    assert [item.sentence() for item in idle] == [
        "hidden_layer does nothing beside hidden_layer_blend, which names its layers itself; leave it out."
    ]
    assert without_effect(params(hidden_layer_blend="-2:1")) == []


def test_levels_that_mix_the_same_states_are_secretly_equal() -> None:
    def inputs(**values: Any) -> Any:
        full = {"width": 64, "height": 64, "num_inference_steps": 2, "shift": 3.0, "guidance_scale": 0.0, "seed": 0}
        return effective_inputs(params(**full, **values), None)

    assert inputs(hidden_layer_blend="-3:1") == inputs(hidden_layer=-3)
    assert inputs(hidden_layer_blend="-3:1", hidden_layer=-5) == inputs(hidden_layer=-3)
    assert inputs(hidden_layer_blend="-3:1,-4:0") == inputs(hidden_layer=-3)
    assert inputs(hidden_layer_blend="-3:0.5") != inputs(hidden_layer=-3)
    assert inputs(hidden_layer=LAST_BEFORE_NORM) != inputs(hidden_layer=-1)


def test_a_file_takes_both_spellings(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[default.encoder]\nhidden_layer = "last_before_norm"\nhidden_layer_blend = ["-2:0.7", "-6:0.3"]\n')
    values = load_config(file, None).values
    assert (values["hidden_layer"], values["hidden_layer_blend"]) == (LAST_BEFORE_NORM, "-2:0.7, -6:0.3")
    file.write_text('[default.encoder]\nhidden_layer = "last"\n')
    with pytest.raises(ConfigError, match='hidden_layer = "last" is not a whole number'):
        load_config(file, None)


def test_the_experiment_layer_blend_asks_what_it_says_without_equal_levels(tmp_path: Path) -> None:
    plan = plan_experiment(load_experiments()["layer_blend"], [Prompt("cat", "animals", "easy", "A cat")], [42])
    assert plan.experiment.baseline == {"hidden_layer_blend": "-2:1"}
    result = CliRunner().invoke(
        run_ablation.main,
        ["--experiment", "layer_blend", "--max-prompts", "1", "--dry-run", "--output-dir", str(tmp_path / "out")],
    )
    assert result.exit_code == 0, result.output
    assert "-2:0.7, -6:0.3" in result.output and "secretly equal" not in result.output
    swept = CliRunner().invoke(
        run_ablation.main,
        [
            *("--sweep", 'hidden_layer_blend=["-3:1","-3:1,-6:0","-2:1"]', "--max-prompts", "1"),
            *("--dry-run", "--output-dir", str(tmp_path / "out")),
        ],
    )
    assert swept.exit_code == 0, swept.output
    assert "secretly equal" in " ".join(swept.output.split())
