"""Every parameter once: name, type, default, range, unit, help, place in the file, and whether it changes the image.

`docs/add_a_parameter.md` says how to add one; `FieldNote` is the list of what a field can say.
"""

from __future__ import annotations

from typing import Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from llm_dit.parameters.base import Parameters
from llm_dit.parameters.declaration import generation, parameter, runtime
from llm_dit.parameters.loras import LoraList
from llm_dit.parameters.values import (
    MAX_SEED,
    ROPE_TABLE_TOKENS,
    AttentionBackend,
    CompileMode,
    Device,
    GraphMode,
    LongPromptMode,
    Number,
    NumberFormat,
    PathText,
    Quantization,
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
    num_inference_steps: Whole = parameter(
        9,
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
            unset="the model's (3 for Turbo)",
        ),
        gt=0,
        le=100,
    )
    guidance_scale: Number = parameter(
        0.0,
        "Strength s of guidance pos + s * (pos - neg); 0 switches it off.",
        generation(
            "Guidance",
            usual=(0, 10),
            elsewhere="cfg cfg_scale cfgscale guidance classifier_free_guidance true_cfg_scale",
            elsewhere_offset=1,
            in_text="CFG scale",
            acts_later=True,
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
        "LoRA files, FILE[:STRENGTH], strength 1 by default; more after commas.",
        generation("Sampling", aliases=("lora",), elsewhere="lora_name lora_path lora_file", neutral="", several=True),
    )
    lora_strength: Number = parameter(
        1.0,
        "Factor on the strength of every LoRA.",
        generation("Sampling", elsewhere="lora_scale lora_weight strength_model lora_multiplier", neutral=1.0),
        ge=-10,
        le=10,
    )
    lora_ignore_unknown: bool = parameter(
        False,
        "Leave out what a LoRA has for no layer of the model instead of refusing the file.",
        generation("Sampling", neutral=False),
    )
    hidden_layer: Whole = parameter(
        -2,
        "Hidden state of the text encoder that conditions the image: -1 the last, -2 the one before (reference).",
        generation(
            "Text encoder",
            table="encoder",
            usual=(-6, -1),
            elsewhere="hidden_state_layer text_encoder_layer encoder_layer layer clip_skip stop_at_clip_layer",
            in_text="Hidden layer",
        ),
        ge=-1000,
        le=-1,
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


class EngineSettings(Parameters):
    """Which model runs, where, and with which numerics."""

    model_path: PathText = parameter(
        "mini",
        "Model: 'mini' (embedded), a folder, a hub id such as Tongyi-MAI/Z-Image-Turbo, a .safetensors or .gguf file.",
        runtime(
            "",
            changes_image=True,
            elsewhere="model model_name model_id ckpt ckpt_name checkpoint sd_model_checkpoint unet_name",
        ),
        min_length=1,
    )
    model_revision: str | None = parameter(
        None,
        "Branch, tag or commit of a model on the hub; its main branch by default.",
        runtime("", changes_image=True, elsewhere="revision hub_revision"),
        min_length=1,
    )
    text_encoder_path: PathText | None = parameter(
        None,
        "File or folder of the text encoder, instead of the model's own.",
        runtime("encoder", key="path", changes_image=True, elsewhere="clip_name text_encoder clip te_path clip_path"),
        min_length=1,
    )
    tokenizer_path: PathText | None = parameter(
        None,
        "Folder of the tokenizer, or its tokenizer.json, instead of the model's own.",
        runtime("encoder", changes_image=True, elsewhere="tokenizer tokenizer_name"),
        min_length=1,
    )
    vae_path: PathText | None = parameter(
        None,
        "File or folder of the VAE, instead of the model's own.",
        runtime("pipeline", changes_image=True, elsewhere="vae vae_name ae_path"),
        min_length=1,
    )
    text_encoder_device: Device = parameter(
        "auto",
        "Device of the text encoder: auto, cpu, cuda, cuda:N, mps.",
        runtime("encoder", key="device", elsewhere="encoder_device clip_device te_device"),
    )
    text_encoder_dtype: NumberFormat = parameter(
        "auto",
        "Number format of the text encoder; auto is bfloat16 on cuda and mps, float32 on cpu.",
        runtime("encoder", key="dtype", changes_image=True, elsewhere="encoder_dtype clip_dtype"),
    )
    text_encoder_quantization: Quantization = parameter(
        "none",
        "Weight quantization of the text encoder.",
        runtime("encoder", key="quantization", changes_image=True, elsewhere="encoder_quantization load_in_8bit"),
    )
    dit_device: Device = parameter(
        "auto",
        "Device of the transformer, and of the VAE unless vae_device says otherwise.",
        runtime(
            "pipeline",
            key="device",
            elsewhere="device pipeline_device transformer_device unet_device device_map",
        ),
    )
    vae_device: Device | None = parameter(
        None, "Device of the VAE; the transformer's by default.", runtime("pipeline", elsewhere="decoder_device")
    )
    dtype: NumberFormat = parameter(
        "auto",
        "Number format of transformer and VAE; auto is bfloat16 on cuda and mps, float32 on cpu.",
        runtime(
            "pipeline",
            changes_image=True,
            elsewhere="torch_dtype precision weight_dtype pipeline_dtype dit_dtype half no_half",
        ),
    )
    offload: bool = parameter(
        False,
        "Keep only the stage in use on the accelerator.",
        runtime(
            "pipeline",
            elsewhere="cpu_offload model_cpu_offload enable_model_cpu_offload lowvram low_vram medvram",
        ),
    )
    quantization: Quantization = parameter(
        "none",
        "Quantization of the transformer.",
        runtime(
            "pipeline",
            changes_image=True,
            elsewhere="quant quantize quantization_config fp8 dit_quantization",
        ),
    )
    vae_tiling: bool = parameter(
        False,
        "Decode in bands of rows, which needs less memory for large images.",
        runtime(
            "pipeline",
            changes_image=True,
            elsewhere="tiled_vae enable_vae_tiling vae_tiled vae_slicing enable_vae_slicing tiled_decode tile_size",
        ),
    )
    compile: CompileMode = parameter(
        "auto",
        "Compile the transformer with torch.compile; auto does where the planned work pays for it.",
        runtime("pytorch", changes_image=True, elsewhere="torch_compile compile_model use_compile"),
    )
    attention_backend: AttentionBackend = parameter(
        "auto",
        "Attention kernel.",
        runtime(
            "pytorch",
            changes_image=True,
            elsewhere="flash_attn flash_attention sage_attention xformers attention attn_mode attn_implementation",
        ),
    )
    cuda_graphs: GraphMode = parameter(
        "auto",
        "Replay evaluations as CUDA graphs, the same bits with fewer launches; auto does where launches take longer "
        "than the work.",
        runtime("pytorch", elsewhere="cudagraphs use_cuda_graph"),
    )


class RewriterSettings(Parameters):
    """How the text encoder's language model samples when it rewrites a prompt."""

    temperature: Number = parameter(
        0.7, "Sampling temperature; 0 takes the likeliest token.", runtime("rewriter", elsewhere="temp"), ge=0, le=2
    )
    top_p: Number = parameter(
        0.9, "Smallest set of tokens with this much probability is kept.", runtime("rewriter"), gt=0, le=1
    )
    top_k: Whole = parameter(
        20, "Number of likeliest tokens kept; 0 keeps all.", runtime("rewriter"), ge=0, le=1_000_000
    )
    min_p: Number = parameter(
        0.0, "Least probability relative to the likeliest token.", runtime("rewriter"), ge=0, le=1
    )
    max_tokens: Whole = parameter(
        512,
        "Most tokens of a rewrite.",
        runtime("rewriter", label="Most tokens", unit="tokens", elsewhere="max_new_tokens num_predict n_predict"),
        ge=1,
        le=32768,
    )


class MetricSettings(Parameters):
    """Which scorers judge the images."""

    image_reward: PathText = parameter(
        "auto",
        "ImageReward model: auto (image-reward-mini for mini, else zai-org/ImageReward), a folder or a hub id.",
        runtime("metrics", elsewhere="imagereward reward_model"),
        min_length=1,
    )
    siglip: PathText = parameter(
        "auto",
        "SigLIP model: auto (siglip-mini for mini, else google/siglip2-giant-opt-patch16-384), a folder or a hub id.",
        runtime("metrics", elsewhere="siglip2 clip_model"),
        min_length=1,
    )


class ServerSettings(Parameters):
    """Where the web page listens and keeps its data."""

    host: str = parameter(
        "127.0.0.1",
        "Address to listen on.",
        runtime("server", elsewhere="listen server_name bind address"),
        min_length=1,
    )
    port: Whole = parameter(8000, "Port to listen on.", runtime("server", elsewhere="server_port"), ge=0, le=65535)
    api_key: str | None = parameter(
        None,
        "Key that clients must send; needed on any address but this machine's own.",
        runtime("server", elsewhere="token api_token password api_auth"),
    )
    history_size: Whole = parameter(
        50, "Images kept in the history.", runtime("server", unit="images"), ge=1, le=100_000
    )
    data_dir: PathText = parameter(
        "outputs/web",
        "Folder of the history's database and images.",
        runtime("server", elsewhere="output_directory outdir output_path"),
        min_length=1,
    )
    results_dir: PathText = parameter(
        "experiments/results", "Folder of the experiments shown.", runtime("server"), min_length=1
    )
    templates_dir: PathText | None = parameter(
        None,
        "Folder of your own prompt and rewriter templates.",
        runtime("server", elsewhere="templates template_dir prompt_templates"),
    )
    queue_size: Whole = parameter(
        32,
        "Jobs that may wait; more are refused for the moment.",
        runtime("server", elsewhere="max_queue_size queue"),
        ge=1,
        le=10_000,
    )
