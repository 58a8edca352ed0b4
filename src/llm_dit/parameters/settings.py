"""The settings of everything but one image: the engine, the prompt rewriter, the scorers, the page's server.

`docs/add_a_parameter.md` says how to add one; `FieldNote` is the list of what a field can say.
"""

from __future__ import annotations

from llm_dit.parameters.base import Parameters
from llm_dit.parameters.declaration import parameter, runtime
from llm_dit.parameters.values import (
    AttentionBackend,
    CompileMode,
    Device,
    GraphMode,
    Number,
    NumberFormat,
    PathText,
    Quantization,
    Whole,
)


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
    loras_folder: PathText | None = parameter(
        None,
        "Folder in which loras are found by their names, and which the page lists.",
        runtime("pipeline", label="LoRA folder", elsewhere="lora_dir lora_folder loras_dir"),
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
    vram_limit: Number | None = parameter(
        None,
        "Memory of each CUDA device that may be used; all that is free by default. Weights that find no room wait on "
        "the CPU and are streamed while the device computes, which changes no bit.",
        runtime(
            "pipeline",
            unit="GiB",
            label="VRAM limit",
            elsewhere="offload cpu_offload model_cpu_offload enable_model_cpu_offload lowvram low_vram medvram "
            "max_memory gpu_memory_limit reserve_vram",
        ),
        ge=1,
        le=1024,
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
    keep_packed: bool = parameter(
        False,
        "Keep weights that a file packs (fp8, int8, nvfp4, GGUF, ...) packed on the device, and unpack them a layer at "
        "a time: the same image, in little more memory than the file's size.",
        runtime("pipeline", label="Keep weights packed", elsewhere="dequantize_on_the_fly keep_quantized gguf"),
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
        "Attention kernel; auto takes the fastest that is exact. sage and flash3_float8 are not: flash3_float8 moves a "
        "step of the model by 2 to 4 %, about half as far as quantization float8.",
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
        "ImageReward model: auto (image-reward-mini for mini, else zai-org/ImageReward), a folder, a hub id "
        "or id@revision.",
        runtime("metrics", elsewhere="imagereward reward_model"),
        min_length=1,
    )
    siglip: PathText = parameter(
        "auto",
        "SigLIP model: auto (siglip-mini for mini, else google/siglip2-giant-opt-patch16-384), a folder, a hub id "
        "or id@revision.",
        runtime("metrics", elsewhere="siglip2 clip_model"),
        min_length=1,
    )
    lpips: PathText = parameter(
        "auto",
        "Folder with LPIPS's weights (alexnet-owt-7be5be79.pth, alex.pth); auto takes those of the package lpips and "
        "torch's hub cache, for --metric lpips.",
        runtime("metrics", elsewhere="lpips_folder"),
        min_length=1,
    )
    pick_score: PathText | None = parameter(
        None,
        "PickScore model: a folder or a hub id, such as yuvalkirstain/PickScore_v1; left out without one.",
        runtime("metrics", elsewhere="pickscore"),
        min_length=1,
    )
    hps_score: PathText | None = parameter(
        None,
        "HPS v2.1 model: a folder or a hub id, such as xswu/HPSv2; left out without one.",
        runtime("metrics", elsewhere="hpsv2 hps"),
        min_length=1,
    )
    vqa_score: PathText | None = parameter(
        None,
        "Qwen3-VL that answers questions on pictures: a folder or a hub id, such as Qwen/Qwen3-VL-4B-Instruct; left "
        "out without one.",
        runtime("metrics", elsewhere="vqascore vqa_model"),
        min_length=1,
    )


class ClusterSettings(Parameters):
    """How many devices an experiment uses, on this machine or on many."""

    workers: Whole | None = parameter(
        None,
        "Draw, and score, on so many devices at once, each with a worker of its own; 0 takes every GPU there is.",
        runtime("cluster", elsewhere="num_workers n_workers num_processes nproc gpus devices num_gpus"),
        ge=0,
        le=10_000,
    )
    ray_address: str | None = parameter(
        None,
        "Cluster to work on: auto, host:port or ray://host:port; this machine by default.",
        runtime("cluster", elsewhere="ray_head cluster_address head_address"),
        min_length=1,
    )
    worker_threads: Whole | None = parameter(
        None,
        "Processor threads of each worker; an equal share of the processors by default. On a CPU their number moves "
        "last bits.",
        runtime("cluster", elsewhere="omp_num_threads num_threads threads_per_worker"),
        ge=1,
        le=1024,
    )
    mixed: bool = parameter(
        False,
        "Use workers of several kinds of devices or versions together; pictures may then differ by a level.",
        runtime("cluster", elsewhere="heterogeneous allow_mixed"),
    )

    @property
    def is_wanted(self) -> bool:
        """True if workers are to draw, and not this process."""
        return self.workers is not None or self.ray_address is not None


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
    allowed_hosts: str | None = parameter(
        None,
        "Further names that the page is reached by, separated by commas: that of a proxy, or host.docker.internal.",
        runtime("server", elsewhere="root_path public_url"),
    )
    openai_names: bool = parameter(
        False, "Answer requests for OpenAI's models (dall-e-*, gpt-image-*) with the model in use.", runtime("server")
    )
    history_size: Whole = parameter(
        50,
        "Images kept in the history, beside those that are starred.",
        runtime("server", unit="images"),
        ge=1,
        le=100_000,
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
