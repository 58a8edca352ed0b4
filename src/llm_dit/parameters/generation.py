"""Every knob of one image, declared once: `GenerationParams`.

`docs/add_a_parameter.md` says how to add one; `FieldNote` is the list of what a field can say.
"""

from __future__ import annotations

from typing import Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from llm_dit.parameters.base import Parameters
from llm_dit.parameters.declaration import generation, parameter
from llm_dit.parameters.hidden_layers import HiddenLayer, LayerBlend, LayerShare, layer_shares
from llm_dit.parameters.loras import LoraList
from llm_dit.parameters.values import (
    MAX_SEED,
    ROPE_TABLE_TOKENS,
    LongPromptMode,
    Number,
    Size,
    Text,
    Whole,
)


class GenerationParams(Parameters):
    """Every knob that changes an image, apart from the model and its numerics."""

    prompt: Text = parameter(
        ...,
        "What the image shows.",
        generation("Prompt", in_file=False, elsewhere="positive positive_prompt text caption"),
    )
    system_prompt: Text | None = parameter(
        None,
        "System message in front of the prompt; none by default.",
        generation("Chat template", elsewhere="system system_message template"),
    )
    thinking_content: Text | None = parameter(
        None,
        "Text of a think block after the prompt; empty text makes an empty block, none makes no block.",
        generation("Chat template", label="Think block", elsewhere="thinking think think_content"),
    )
    force_think_block: bool = parameter(
        False,
        "Append an empty think block where thinking_content is none.",
        generation("Chat template", label="Empty think block", elsewhere="enable_thinking force_think add_think_block"),
    )
    assistant_content: Text | None = parameter(
        None,
        "Beginning of the assistant's answer, closed with <|im_end|>.",
        generation("Chat template", elsewhere="assistant assistant_prefix prefill"),
    )
    width: Size | None = parameter(
        None,
        "Width of the image.",
        generation("Size", unit="pixels", elsewhere="w image_width resolution_x", unset="the model's native size"),
    )
    height: Size | None = parameter(
        None,
        "Height of the image.",
        generation("Size", unit="pixels", elsewhere="h image_height resolution_y", unset="the model's native size"),
    )
    num_inference_steps: Whole | None = parameter(
        None,
        "Euler steps, each one evaluation of the transformer (two with guidance).",
        generation(
            "Sampling",
            label="Steps",
            unit="steps",
            usual=(1, 50),
            aliases=("steps",),
            elsewhere="sampling_steps step_count inference_steps n_steps",
            in_text="Steps",
            acts_later=True,
            unset="the model's (9 for Turbo, 50 for its base)",
        ),
        ge=1,
        le=1000,
    )
    shift: Number | None = parameter(
        None,
        "Static factor that moves the noise schedule towards high noise; 1 leaves it linear.",
        generation(
            "Sampling",
            table="scheduler",
            usual=(0.5, 10),
            elsewhere="sampler_shift flow_shift time_shift timestep_shift sigma_shift mu sd3_shift",
            in_text="Shift",
            acts_later=True,
            unset="the model's (3 for Turbo, 6 for its base)",
        ),
        gt=0,
        le=100,
    )
    guidance_scale: Number | None = parameter(
        None,
        "Strength s of guidance pos + s * (pos - neg); 0 switches it off.",
        generation(
            "Guidance",
            usual=(0, 10),
            elsewhere="cfg cfg_scale cfgscale guidance classifier_free_guidance true_cfg_scale",
            elsewhere_offset=1,
            in_text="CFG scale",
            acts_later=True,
            unset="the model's (0 for Turbo, 4 for its base)",
        ),
        ge=0,
        le=100,
    )
    negative_prompt: Text = parameter(
        "",
        "What guidance leads away from; used where guidance_scale > 0.",
        generation("Guidance", elsewhere="negative neg uc negative_text uncond"),
    )
    cfg_normalization: Number = parameter(
        0.0,
        "Largest norm of the guided prediction relative to the positive one; 0 switches it off.",
        generation(
            "Guidance",
            label="Guidance normalization",
            usual=(0, 2),
            elsewhere="cfg_norm guidance_rescale cfg_rescale cfg_rescale_multiplier rescale_cfg",
            acts_later=True,
        ),
        ge=0,
        le=100,
    )
    cfg_truncation: Number = parameter(
        1.0,
        "Model time (1 - sigma) after which guidance stops; 1 keeps it to the end.",
        generation(
            "Guidance",
            label="Guidance until",
            usual=(0, 1),
            elsewhere="cfg_trunc guidance_end cfg_end end_percent cfg_interval control_guidance_end",
            acts_later=True,
        ),
        ge=0,
        le=1,
    )
    seed: Whole | None = parameter(
        None,
        "Seed of the noise; the same image on every device. Drawn and recorded if none is given.",
        generation("Sampling", elsewhere="noise_seed random_seed manual_seed rng_seed", in_text="Seed"),
        ge=0,
        le=MAX_SEED,
    )
    loras: LoraList = parameter(
        "",
        "LoRA files, FILE[:STRENGTH], strength 1 by default; more after commas. Names with a comma stand in quotes.",
        generation(
            "Sampling",
            label="LoRAs",
            aliases=("lora",),
            elsewhere="lora_name lora_path lora_file",
            neutral="",
            several=True,
        ),
    )
    lora_strength: Number = parameter(
        1.0,
        "Factor on the strength of every LoRA.",
        generation(
            "Sampling",
            label="LoRA strength",
            elsewhere="lora_scale lora_weight strength_model lora_multiplier",
            neutral=1.0,
        ),
        ge=-10,
        le=10,
    )
    lora_ignore_unknown: bool = parameter(
        False,
        "Leave out what a LoRA has for no layer of the model instead of refusing the file.",
        generation("Sampling", label="Ignore unknown LoRA layers", neutral=False),
    )
    hidden_layer: HiddenLayer = parameter(
        -2,
        "Hidden state of the text encoder that conditions the image: -1 the last, with the final norm applied; "
        "last_before_norm the same without it; -2 the one before (reference).",
        generation(
            "Text encoder",
            table="encoder",
            usual=(-6, -1),
            elsewhere="hidden_state_layer text_encoder_layer encoder_layer layer clip_skip stop_at_clip_layer",
            in_text="Hidden layer",
        ),
    )
    hidden_layer_blend: LayerBlend = parameter(
        "",
        "Weighted mix of hidden states in place of hidden_layer: LAYER:WEIGHT, more after commas, such as "
        "-2:0.7,-6:0.3. Weights are taken as they are.",
        generation(
            "Text encoder",
            table="encoder",
            label="Blend of hidden layers",
            elsewhere="layer_blend layer_weights hidden_layer_weights blend_layers layer_mix hidden_layers",
            neutral="",
            several=True,
        ),
    )
    long_prompt_mode: LongPromptMode = parameter(
        "truncate",
        "How embeddings beyond max_text_tokens are brought down to it.",
        generation("Text encoder", table="pytorch", label="Long prompts", elsewhere="truncation prompt_truncation"),
    )
    max_text_tokens: Whole = parameter(
        1024,
        f"Most text tokens the transformer sees; up to {ROPE_TABLE_TOKENS}, beyond it extend_rope is needed.",
        generation(
            "Text encoder",
            table="pytorch",
            label="Most text tokens",
            unit="tokens",
            usual=(32, ROPE_TABLE_TOKENS),
            elsewhere="max_sequence_length max_length max_text_length text_tokens max_prompt_tokens",
        ),
        ge=1,
        le=16384,
    )
    extend_rope: bool = parameter(
        False,
        "Compute rotary positions beyond the published table (experimental).",
        generation(
            "Text encoder", table="pytorch", label="Longer position table", elsewhere="rope_scaling rope_extension"
        ),
    )

    @property
    def layer_shares(self) -> tuple[LayerShare, ...]:
        """The hidden states that condition the image with their weights, from the last layer to the first."""
        return layer_shares(self.hidden_layer_blend) or (LayerShare(self.hidden_layer, 1.0),)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if not self.prompt.strip():
            raise PydanticCustomError("together", "prompt: is empty; say what the image shows")
        if self.max_text_tokens > ROPE_TABLE_TOKENS and not self.extend_rope:
            raise PydanticCustomError(
                "together",
                f"max_text_tokens: {self.max_text_tokens} is above {ROPE_TABLE_TOKENS}, the longest caption that fits "
                "the published position table; lower it or set extend_rope (experimental)",
            )
        return self
