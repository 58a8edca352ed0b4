"""The three stages of a checkpoint, loaded: what is asked for is checked, read, placed and accelerated.

Knows nothing of drawing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from llm_dit.acceleration.accelerate import Acceleration, accelerate, check_graphs, choose_acceleration
from llm_dit.acceleration.attention import check_head_width
from llm_dit.acceleration.compilation import compile_decoder
from llm_dit.acceleration.quantization import check_quantization
from llm_dit.checkpoints.finding import find_checkpoint
from llm_dit.checkpoints.model_parts import ModelParts, find_parts
from llm_dit.checkpoints.scheduler import ModelScheduler, read_scheduler
from llm_dit.parameters import EngineSettings
from llm_dit.placement.budget import require_fit
from llm_dit.placement.devices import resolve_device, resolve_dtype
from llm_dit.stages.card_plans import plan_cards, streamed_sentence
from llm_dit.stages.denoiser import Denoiser
from llm_dit.stages.latent_decoder import LatentDecoder
from llm_dit.stages.packed_weights import check_packed
from llm_dit.stages.text_encoder import ZImageTextEncoder

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class LoadedStages:
    """A checkpoint, loaded and placed.

    Attributes:
        parts: Where the model's parts lie.
        text_encoder: First stage.
        denoiser: Second stage.
        decoder: Third stage.
        scheduler: The noise schedule that the model was trained for.
        numerics: Effective number formats and kernels, part of an image's identity.
    """

    parts: ModelParts
    text_encoder: ZImageTextEncoder
    denoiser: Denoiser
    decoder: LatentDecoder
    scheduler: ModelScheduler
    numerics: dict[str, str]


@dataclass(frozen=True)
class Placement:
    """Where each stage computes and how: all that follows from the settings and this machine alone.

    Attributes:
        text_encoder: Device and number format of the first stage.
        transformer: The same of the second one.
        vae: The same of the third one.
        acceleration: What is applied to the transformer.
    """

    text_encoder: tuple[torch.device, torch.dtype]
    transformer: tuple[torch.device, torch.dtype]
    vae: tuple[torch.device, torch.dtype]
    acceleration: Acceleration

    @property
    def networks(self) -> dict[str, tuple[torch.device, torch.dtype]]:
        """Device and number format by network."""
        return {"vae": self.vae, "transformer": self.transformer, "text_encoder": self.text_encoder}


def place_stages(wanted: EngineSettings, planned_evaluations: int = 0) -> Placement:
    """Check all that needs no model: devices, number formats, kernels, quantization.

    Args:
        wanted: Devices and numerics.
        planned_evaluations: Transformer evaluations ahead, by which `compile = auto` decides; 0 for unknown.

    Raises:
        InvalidParameter: If a device is not there.
        DeviceError: If something else is asked for that this machine does not have.
    """
    encoder_device = resolve_device(wanted.text_encoder_device, "text_encoder_device")
    device = resolve_device(wanted.dit_device, "dit_device")
    vae_device = device if wanted.vae_device is None else resolve_device(wanted.vae_device, "vae_device")
    encoder_dtype = resolve_dtype(wanted.text_encoder_dtype, encoder_device, "text_encoder_dtype")
    dtype = resolve_dtype(wanted.dtype, device, "dtype")
    check_quantization(
        wanted.text_encoder_quantization, encoder_device, encoder_dtype, field="text_encoder_quantization"
    )
    check_packed(wanted, encoder_device, device)
    check_graphs(wanted.cuda_graphs, device)
    acceleration = choose_acceleration(
        device,
        dtype,
        compile="off" if wanted.keep_packed else wanted.compile,
        attention_backend=wanted.attention_backend,
        quantization=wanted.quantization,
        planned_evaluations=planned_evaluations,
    )
    return Placement(
        (encoder_device, encoder_dtype),
        (device, dtype),
        (vae_device, resolve_dtype(wanted.dtype, vae_device, "dtype")),
        acceleration,
    )


def load_stages(
    wanted: EngineSettings,
    *,
    planned_evaluations: int = 0,
    token: str | None = None,
    cache_dir: str | Path | None = None,
) -> LoadedStages:
    """Load a checkpoint as the settings say.

    Args:
        wanted: Model, devices and numerics.
        planned_evaluations: See `place_stages`.
        token: See `find_checkpoint`.
        cache_dir: See `find_checkpoint`.

    Raises:
        LlmDitError: If the checkpoint, a device or a setting is not usable.
    """
    placement = place_stages(wanted, planned_evaluations)
    parts = find_parts(wanted, partial(find_checkpoint, token=token, cache_dir=cache_dir))
    scheduler = read_scheduler(parts.folder)
    sizes = parts.transformer.config
    check_head_width(placement.acceleration.attention_backend, int(sizes["dim"]) // int(sizes["n_heads"]))
    plans = plan_cards(parts, wanted, placement.networks)
    for plan in plans.values():
        require_fit(plan)
    streamed = {name: blocks for plan in plans.values() for name, blocks in plan.streamed.items()}
    check_graphs(wanted.cuda_graphs, placement.transformer[0], stays=not any(streamed.values()))
    text_encoder, denoiser, decoder = _load(parts, placement, wanted, streamed)
    device, applied = denoiser.device, placement.acceleration
    graphs = "off" if wanted.keep_packed else wanted.cuda_graphs
    has_room = not any(streamed.values())  # graphs take memory of their own
    accelerate(denoiser.transformer, applied, device, stays=has_room, graphs=graphs)
    if applied.compile == "on" and decoder.device.type == device.type and not wanted.vae_tiling:
        compile_decoder(decoder.vae)
    return LoadedStages(parts, text_encoder, denoiser, decoder, scheduler, numerics_of(placement, wanted))


def memory_sentence(wanted: EngineSettings) -> str:
    """Say what `load_stages` would leave on the cards and what it would stream, without reading weights.

    Raises:
        LlmDitError: As `load_stages` does.
    """
    placement = place_stages(wanted)
    parts = find_parts(wanted, find_checkpoint)
    sentences = []
    for device, plan in plan_cards(parts, wanted, placement.networks).items():
        require_fit(plan)
        sentences.append(f"{device}: {streamed_sentence(plan) or 'all weights stay'}")
    return "; ".join(sentences)


def _load(
    parts: ModelParts, placement: Placement, wanted: EngineSettings, streamed: Mapping[str, Sequence[int]]
) -> tuple[ZImageTextEncoder, Denoiser, LatentDecoder]:
    with ThreadPoolExecutor(1) as beside:  # the largest part is copied while the others' code is imported
        loading = beside.submit(
            Denoiser.from_stored,
            parts.transformer,
            *placement.transformer,
            quantization=wanted.quantization,
            streamed=streamed.get("transformer", ()),
            loras_folder=wanted.loras_folder,
            keep_packed=wanted.keep_packed,
        )
        text_encoder = ZImageTextEncoder.from_stored(
            parts.text_encoder,
            parts.tokenizer,
            *placement.text_encoder,
            quantization=wanted.text_encoder_quantization,
            streamed=streamed.get("text_encoder", ()),
            keep_packed=wanted.keep_packed,
        )
        decoder = LatentDecoder.from_stored(parts.vae, *placement.vae, tiling=wanted.vae_tiling)
        return text_encoder, loading.result(), decoder


def numerics_of(placement: Placement, wanted: EngineSettings) -> dict[str, str]:
    """Return the number formats and kernels in effect, part of an image's identity."""
    return {
        "text_encoder_device": placement.text_encoder[0].type,
        "text_encoder_dtype": _name(placement.text_encoder[1]),
        "text_encoder_quantization": wanted.text_encoder_quantization,
        "dit_device": placement.transformer[0].type,
        "dtype": _name(placement.transformer[1]),
        "vae_device": placement.vae[0].type,
        "vae_dtype": _name(placement.vae[1]),
        "vae_tiling": str(wanted.vae_tiling).lower(),
        **placement.acceleration.as_numerics(),
    }


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
