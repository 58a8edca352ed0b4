"""Settings that do nothing beside others: said once each, and never of one that acts."""

import pytest

from experiments.planning.equality import effective_inputs
from llm_dit.checkpoints.scheduler import TURBO_DEFAULTS
from llm_dit.parameters import GenerationParams
from llm_dit.parameters.effects import without_effect


@pytest.mark.parametrize(
    ("values", "idle"),
    [
        ({}, []),
        ({"negative_prompt": "blurry"}, ["negative_prompt"]),
        ({"negative_prompt": "blurry", "guidance_scale": 1.0}, []),
        ({"cfg_truncation": 0.5, "cfg_normalization": 1.0}, ["cfg_normalization", "cfg_truncation"]),
        ({"shift": 2.0, "num_inference_steps": 1}, []),
        ({"force_think_block": True, "thinking_content": "hm"}, ["force_think_block"]),
        ({"force_think_block": True}, []),
        ({"extend_rope": True}, ["extend_rope"]),
        ({"extend_rope": True, "max_text_tokens": 1504}, ["extend_rope"]),
        ({"extend_rope": True, "max_text_tokens": 1505}, []),
        ({"lora_strength": 0.5}, ["lora_strength"]),
        ({"hidden_layer": -3, "hidden_layer_blend": "-2:0.5,-6:0.5"}, ["hidden_layer"]),
    ],
)
def test_what_does_nothing_is_named_and_reaches_the_model_as_if_it_were_left_out(values, idle):
    params = GenerationParams.parse({"prompt": "A cat", "seed": 1, **TURBO_DEFAULTS, "shift": 3.0, **values})
    assert [item.field for item in without_effect(params)] == idle
    left_out = {name: GenerationParams.model_fields[name].default for name in idle}
    assert effective_inputs(params, None) == effective_inputs(params.replaced(**left_out), None)


def test_a_sentence_has_the_reason_and_the_next_step():
    params = GenerationParams.parse({"prompt": "A cat", "negative_prompt": "blurry"})
    assert without_effect(params) == [], "whether the model guides is not known yet"
    (item,) = without_effect(params.replaced(guidance_scale=0))
    assert item.sentence("--negative-prompt") == (
        "--negative-prompt does nothing while guidance_scale is 0; raise guidance_scale, or leave it out."
    )


def test_the_strength_of_loras_acts_where_there_is_one():
    params = GenerationParams.parse({"prompt": "A cat", **TURBO_DEFAULTS, "loras": "style", "lora_strength": 0.5})
    assert without_effect(params) == []
