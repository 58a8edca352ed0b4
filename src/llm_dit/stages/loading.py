"""The three stages of a checkpoint, loaded: what is asked for is checked, read, placed and accelerated.

Knows nothing of drawing.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from llm_dit.acceleration.accelerate import accelerate
from llm_dit.acceleration.compilation import compile_decoder
from llm_dit.checkpoints.finding import find_checkpoint, read_json
from llm_dit.checkpoints.scheduler import ModelScheduler, read_scheduler
from llm_dit.errors import CheckpointError
from llm_dit.parameters import EngineSettings
from llm_dit.placement.devices import resolve_device, resolve_dtype
from llm_dit.stages.denoiser import Denoiser
from llm_dit.stages.latent_decoder import LatentDecoder
from llm_dit.stages.text_encoder import ZImageTextEncoder


@dataclass(frozen=True, eq=False)
class LoadedStages:
    """A checkpoint, loaded and placed.

    Attributes:
        folder: The checkpoint's folder.
        text_encoder: First stage.
        denoiser: Second stage.
        decoder: Third stage.
        scheduler: The noise schedule that the model was trained for.
        numerics: Effective number formats and kernels, part of an image's identity.
    """

    folder: Path
    text_encoder: ZImageTextEncoder
    denoiser: Denoiser
    decoder: LatentDecoder
    scheduler: ModelScheduler
    numerics: dict[str, str]


def load_stages(wanted: EngineSettings, planned_evaluations: int = 0) -> LoadedStages:
    """Load a checkpoint as the settings say.

    Args:
        wanted: Model, devices and numerics.
        planned_evaluations: Transformer evaluations ahead, by which `compile = auto` decides; 0 for unknown.

    Raises:
        LlmDitError: If the checkpoint, a device or a setting is not usable.
    """
    folder = find_checkpoint(wanted.model_path)
    encoder_device = resolve_device(wanted.text_encoder_device, "text_encoder_device")
    device = resolve_device(wanted.dit_device, "dit_device")
    vae_device = device if wanted.vae_device is None else resolve_device(wanted.vae_device, "vae_device")
    encoder_dtype = resolve_dtype(wanted.text_encoder_dtype, encoder_device)
    dtype, vae_dtype = resolve_dtype(wanted.dtype, device), resolve_dtype(wanted.dtype, vae_device)
    _check_widths(folder)
    scheduler = read_scheduler(folder)
    with ThreadPoolExecutor(1) as beside:  # the largest part is copied while the others' code is imported
        loading = beside.submit(Denoiser.from_folder, folder, device, dtype, offload=wanted.offload)
        text_encoder = ZImageTextEncoder.from_folder(
            folder,
            encoder_device,
            encoder_dtype,
            quantization=wanted.text_encoder_quantization,
            offload=wanted.offload,
        )
        decoder = LatentDecoder.from_folder(
            folder, vae_device, vae_dtype, tiling=wanted.vae_tiling, offload=wanted.offload
        )
        denoiser = loading.result()
    applied = accelerate(
        denoiser.transformer,
        device=device,
        compile=wanted.compile,
        attention_backend=wanted.attention_backend,
        quantization=wanted.quantization,
        planned_evaluations=planned_evaluations,
        stays=not wanted.offload,
    )
    # offloaded, it also draws previews on the CPU
    if applied.compile == "on" and vae_device.type == device.type and not (wanted.vae_tiling or wanted.offload):
        compile_decoder(decoder.vae)
    numerics = {
        "text_encoder_device": encoder_device.type,
        "text_encoder_dtype": str(encoder_dtype).removeprefix("torch."),
        "text_encoder_quantization": wanted.text_encoder_quantization,
        "dit_device": device.type,
        "dtype": str(dtype).removeprefix("torch."),
        "vae_device": vae_device.type,
        "vae_dtype": str(vae_dtype).removeprefix("torch."),
        "vae_tiling": str(wanted.vae_tiling).lower(),
        **applied.as_numerics(),
    }
    return LoadedStages(folder, text_encoder, denoiser, decoder, scheduler, numerics)


def _check_widths(folder: Path) -> None:
    width = read_json(folder / "text_encoder" / "config.json").get("hidden_size")
    expected = read_json(folder / "transformer" / "config.json").get("cap_feat_dim")
    if width != expected:
        raise CheckpointError(
            f"{folder}: the text encoder is {width} wide, but the transformer reads embeddings of {expected}; use "
            "components of the same model.",
            field="model_path",
        )
