"""Every parameter once: name, type, default, range, unit, help, place in the file, and whether it changes the image."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from llm_dit.parameters.base import Parameters
from llm_dit.parameters.declaration import FieldNote
from llm_dit.parameters.declaration import generation as _generation
from llm_dit.parameters.declaration import parameter as _parameter
from llm_dit.parameters.declaration import runtime as _runtime
from llm_dit.parameters.values import (
    MAX_SEED,
    ROPE_TABLE_TOKENS,
    AttentionBackend,
    CompileMode,
    Device,
    DType,
    LongPromptMode,
    Number,
    Quantization,
    Size,
    Text,
    Whole,
)


class GenerationParams(Parameters):
    """Every knob that changes an image, apart from the model and its numerics."""

    prompt: Text = _parameter(..., "What the image shows.", _generation("prompt", in_file=False))
    negative_prompt: Text = _parameter(
        "", "What guidance leads away from; used where guidance_scale > 0.", _generation("negative_prompt")
    )
    system_prompt: Text | None = _parameter(
        None, "System message in front of the prompt; none by default.", _generation("system_prompt")
    )
    thinking_content: Text | None = _parameter(
        None,
        "Text of a think block after the prompt; empty text makes an empty block, none makes no block.",
        _generation("thinking_content"),
    )
    force_think_block: bool = _parameter(
        False, "Append an empty think block where thinking_content is none.", _generation("force_think_block")
    )
    assistant_content: Text | None = _parameter(
        None, "Beginning of the assistant's answer, closed with <|im_end|>.", _generation("assistant_content")
    )
    width: Size | None = _parameter(
        None, "Width of the image; the model's native size by default.", _generation("width", unit="pixels")
    )
    height: Size | None = _parameter(
        None, "Height of the image; the model's native size by default.", _generation("height", unit="pixels")
    )
    num_inference_steps: Whole = _parameter(
        9,
        "Euler steps, each one evaluation of the transformer (two with guidance).",
        _generation("num_inference_steps", unit="steps", usual=(1, 50), flags=("--steps",)),
        ge=1,
        le=1000,
    )
    shift: Number = _parameter(
        3.0,
        "Static factor that moves the noise schedule towards high noise; 1 leaves it linear.",
        FieldNote("scheduler", "shift", changes_image=True, usual=(0.5, 10)),
        gt=0,
        le=100,
    )
    guidance_scale: Number = _parameter(
        0.0,
        "Strength s of guidance pos + s * (pos - neg); 0 switches it off.",
        _generation("guidance_scale", usual=(0, 10)),
        ge=0,
        le=100,
    )
    cfg_normalization: Number = _parameter(
        0.0,
        "Largest norm of the guided prediction relative to the positive one; 0 switches it off.",
        _generation("cfg_normalization", usual=(0, 2)),
        ge=0,
        le=100,
    )
    cfg_truncation: Number = _parameter(
        1.0,
        "Model time (1 - sigma) after which guidance stops; 1 keeps it to the end.",
        _generation("cfg_truncation", usual=(0, 1)),
        ge=0,
        le=1,
    )
    seed: Whole | None = _parameter(
        None,
        "Seed of the noise; the same image on every device. Drawn and recorded if none is given.",
        _generation("seed"),
        ge=0,
        le=MAX_SEED,
    )
    hidden_layer: Whole = _parameter(
        -2,
        "Hidden state of the text encoder that conditions the image: -1 the last, -2 the one before (reference).",
        FieldNote("encoder", "hidden_layer", changes_image=True, usual=(-6, -1)),
        ge=-1000,
        le=-1,
    )
    long_prompt_mode: LongPromptMode = _parameter(
        "truncate",
        "How embeddings beyond max_text_tokens are brought down to it.",
        FieldNote("pytorch", "long_prompt_mode", changes_image=True),
    )
    max_text_tokens: Whole = _parameter(
        1024,
        f"Most text tokens the transformer sees; up to {ROPE_TABLE_TOKENS}, beyond it extend_rope is needed.",
        FieldNote("pytorch", "max_text_tokens", changes_image=True, unit="tokens", usual=(32, ROPE_TABLE_TOKENS)),
        ge=1,
        le=16384,
    )
    extend_rope: bool = _parameter(
        False,
        "Compute rotary positions beyond the published table (experimental).",
        FieldNote("pytorch", "extend_rope", changes_image=True),
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

    model_path: str = _parameter(
        "mini",
        "Model: 'mini' (embedded), a folder, or a hub id such as Tongyi-MAI/Z-Image-Turbo.",
        FieldNote("", "model_path", changes_image=True),
        min_length=1,
    )
    text_encoder_device: Device = _parameter(
        "auto", "Device of the text encoder: auto, cpu, cuda, cuda:N, mps.", _runtime("encoder", "device")
    )
    text_encoder_dtype: DType = _parameter(
        "auto",
        "Number format of the text encoder; auto is bfloat16 on cuda and mps, float32 on cpu.",
        _runtime("encoder", "dtype", changes_image=True),
    )
    text_encoder_quantization: Quantization = _parameter(
        "none", "Weight quantization of the text encoder.", _runtime("encoder", "quantization", changes_image=True)
    )
    dit_device: Device = _parameter(
        "auto",
        "Device of the transformer, and of the VAE unless vae_device says otherwise.",
        _runtime("pipeline", "device"),
    )
    vae_device: Device | None = _parameter(
        None, "Device of the VAE; the transformer's by default.", _runtime("pipeline", "vae_device")
    )
    dtype: DType = _parameter(
        "auto",
        "Number format of transformer and VAE; auto is bfloat16 on cuda and mps, float32 on cpu.",
        _runtime("pipeline", "dtype", changes_image=True),
    )
    offload: bool = _parameter(False, "Keep only the stage in use on the accelerator.", _runtime("pipeline", "offload"))
    quantization: Quantization = _parameter(
        "none", "Quantization of the transformer.", _runtime("pipeline", "quantization", changes_image=True)
    )
    vae_tiling: bool = _parameter(
        False,
        "Decode in bands of rows, which needs less memory for large images.",
        _runtime("pipeline", "vae_tiling", changes_image=True),
    )
    compile: CompileMode = _parameter(
        "auto",
        "Compile the transformer with torch.compile; auto does where the planned work pays for it.",
        _runtime("pytorch", "compile", changes_image=True),
    )
    attention_backend: AttentionBackend = _parameter(
        "auto", "Attention kernel.", _runtime("pytorch", "attention_backend", changes_image=True)
    )


class RewriterSettings(Parameters):
    """How the text encoder's language model samples when it rewrites a prompt."""

    temperature: Number = _parameter(
        0.7, "Sampling temperature; 0 takes the likeliest token.", _runtime("rewriter", "temperature"), ge=0, le=2
    )
    top_p: Number = _parameter(
        0.9, "Smallest set of tokens with this much probability is kept.", _runtime("rewriter", "top_p"), gt=0, le=1
    )
    top_k: Whole = _parameter(
        20, "Number of likeliest tokens kept; 0 keeps all.", _runtime("rewriter", "top_k"), ge=0, le=1_000_000
    )
    min_p: Number = _parameter(
        0.0, "Least probability relative to the likeliest token.", _runtime("rewriter", "min_p"), ge=0, le=1
    )
    max_tokens: Whole = _parameter(
        512, "Most tokens of a rewrite.", _runtime("rewriter", "max_tokens", unit="tokens"), ge=1, le=32768
    )


class MetricSettings(Parameters):
    """Which scorers judge the images."""

    image_reward: str = _parameter(
        "auto",
        "ImageReward model: auto (image-reward-mini for mini, else zai-org/ImageReward), a folder or a hub id.",
        _runtime("metrics", "image_reward"),
        min_length=1,
    )
    siglip: str = _parameter(
        "auto",
        "SigLIP model: auto (siglip-mini for mini, else google/siglip2-giant-opt-patch16-384), a folder or a hub id.",
        _runtime("metrics", "siglip"),
        min_length=1,
    )


class ServerSettings(Parameters):
    """Where the web page listens and keeps its data."""

    host: str = _parameter("127.0.0.1", "Address to listen on.", _runtime("server", "host"), min_length=1)
    port: Whole = _parameter(8000, "Port to listen on.", _runtime("server", "port"), ge=0, le=65535)
    api_key: str | None = _parameter(
        None, "Key that clients must send; needed on any address but this machine's own.", _runtime("server", "api_key")
    )
    history_size: Whole = _parameter(
        50, "Images kept in the history.", _runtime("server", "history_size", unit="images"), ge=1, le=100_000
    )
    data_dir: str = _parameter(
        "outputs/web", "Folder of the history's database and images.", _runtime("server", "data_dir"), min_length=1
    )
    results_dir: str = _parameter(
        "experiments/results", "Folder of the experiments shown.", _runtime("server", "results_dir"), min_length=1
    )
    templates_dir: str | None = _parameter(
        None, "Folder of your own prompt and rewriter templates.", _runtime("server", "templates_dir")
    )
    queue_size: Whole = _parameter(
        32, "Jobs that may wait; more are refused for the moment.", _runtime("server", "queue_size"), ge=1, le=10_000
    )
