"""The three stages of a checkpoint, loaded: what is asked for is checked, read, placed and accelerated.

Knows nothing of drawing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_dit.acceleration.accelerate import (
    Acceleration,
    accelerate,
    change_attention,
    check_graphs,
    choose_acceleration,
)
from llm_dit.acceleration.attention import check_head_width
from llm_dit.acceleration.compilation import compile_decoder
from llm_dit.acceleration.quantization import check_quantization
from llm_dit.checkpoints.finding import find_checkpoint
from llm_dit.checkpoints.model_parts import ModelParts, find_parts
from llm_dit.checkpoints.scheduler import ModelScheduler, read_scheduler
from llm_dit.parameters import EngineSettings
from llm_dit.placement.budget import CardPlan, require_fit
from llm_dit.placement.devices import (
    Processor,
    dtype_name,
    is_cpu_meant,
    resolve_device,
    resolve_dtype,
    resolve_dtype_name,
)
from llm_dit.placement.machine import onednn_multiplies
from llm_dit.placement.planned_work import UNKNOWN_WORK, PlannedWork
from llm_dit.stages.card_plans import plan_cards, streamed_sentence
from llm_dit.stages.denoiser import Denoiser
from llm_dit.stages.latent_decoder import LatentDecoder
from llm_dit.stages.packed_weights import check_packed
from llm_dit.stages.stage_shelf import StageShelf, state_of
from llm_dit.stages.text_encoder import ZImageTextEncoder

if TYPE_CHECKING:
    import torch

    from llm_dit.placement.devices import AnyDevice, AnyDtype

    Place = tuple[AnyDevice, AnyDtype]
    """Device and number format."""


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
        seconds: Network to what loading it took, now or for settings before.
    """

    parts: ModelParts
    text_encoder: ZImageTextEncoder
    denoiser: Denoiser
    decoder: LatentDecoder
    scheduler: ModelScheduler
    numerics: dict[str, str]
    seconds: Mapping[str, float]


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
    vae_dtype = resolve_dtype(wanted.dtype, vae_device, "dtype")
    encoder, transformer, vae = (encoder_device, encoder_dtype), (device, dtype), (vae_device, vae_dtype)
    if _multiplies_by_onednn(encoder, transformer, vae):
        from llm_dit.networks.linear import check_onednn

        check_onednn()
    return Placement(encoder, transformer, vae, _acceleration(wanted, encoder, transformer, planned_evaluations))


@dataclass(frozen=True)
class KnownNumerics:
    """What of a placement tells images apart, and where the transformer computes."""

    device: AnyDevice
    numerics: dict[str, str]


def known_numerics(wanted: EngineSettings, planned_evaluations: int = 0) -> KnownNumerics:
    """Return what `place_stages` and `numerics_of` say, with the same checks.

    Imports torch only where a stage may compute on something else than the CPU.

    Raises:
        InvalidParameter: As `place_stages` does.
        DeviceError: As `place_stages` does.
    """
    if not all(is_cpu_meant(name) for name in (wanted.text_encoder_device, wanted.dit_device, _vae_device(wanted))):
        placement = place_stages(wanted, planned_evaluations)
        return KnownNumerics(placement.transformer[0], numerics_of(placement, wanted))
    cpu = Processor()
    encoder = cpu, resolve_dtype_name(wanted.text_encoder_dtype, cpu, "text_encoder_dtype")
    transformer = cpu, resolve_dtype_name(wanted.dtype, cpu, "dtype")
    acceleration = _acceleration(wanted, encoder, transformer, planned_evaluations)
    return KnownNumerics(cpu, _numerics(wanted, encoder, transformer, transformer, acceleration))


def _vae_device(wanted: EngineSettings) -> str:
    return wanted.dit_device if wanted.vae_device is None else wanted.vae_device


def _acceleration(wanted: EngineSettings, encoder: Place, transformer: Place, planned_evaluations: int) -> Acceleration:
    """Check what settings ask of devices and number formats; return what is applied to the transformer."""
    check_quantization(wanted.text_encoder_quantization, *encoder, field="text_encoder_quantization")
    check_packed(wanted, encoder[0], transformer[0])
    check_graphs(wanted.cuda_graphs, transformer[0])
    return choose_acceleration(
        *transformer,
        compile="off" if wanted.keep_packed else wanted.compile,
        attention_backend=wanted.attention_backend,
        quantization=wanted.quantization,
        planned_evaluations=planned_evaluations,
    )


def load_stages(
    wanted: EngineSettings,
    *,
    planned: PlannedWork = UNKNOWN_WORK,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    shelf: StageShelf | None = None,
) -> LoadedStages:
    """Load a checkpoint as the settings say.

    Args:
        wanted: Model, devices and numerics.
        planned: The images ahead, as far as they are known.
        token: See `find_checkpoint`.
        cache_dir: See `find_checkpoint`.
        shelf: Stages that are loaded already: what fits the settings is taken, the rest let go before anything is
            read. Where a card has no room for all weights, nothing is kept, so that what is streamed is planned anew.

    Raises:
        LlmDitError: If the checkpoint, a device or a setting is not usable; what only files and settings tell is known
            while the shelf still holds all its stages.
    """
    shelf = StageShelf() if shelf is None else shelf
    placement = place_stages(wanted, planned.evaluations)
    parts = find_parts(wanted, partial(find_checkpoint, token=token, cache_dir=cache_dir))
    scheduler = read_scheduler(parts.folder)
    sizes = parts.transformer.config
    check_head_width(placement.acceleration.attention_backend, int(sizes["dim"]) // int(sizes["n_heads"]))
    keys = _stage_keys(parts, placement, wanted)
    shelf.keep(keys)
    streamed = _streamed(parts, wanted, placement, shelf, planned.pixels)
    check_graphs(wanted.cuda_graphs, placement.transformer[0], stays=not any(streamed.values()))
    _change_kernel(placement.acceleration, shelf)
    _load_missing(parts, placement, wanted, streamed, shelf, keys)
    stages = shelf.stages
    return LoadedStages(
        parts,
        stages["text_encoder"],
        stages["transformer"],
        stages["vae"],
        scheduler,
        numerics_of(placement, wanted),
        dict(shelf.seconds),
    )


def _streamed(
    parts: ModelParts, wanted: EngineSettings, placement: Placement, shelf: StageShelf, pixels: int
) -> dict[str, Sequence[int]]:
    """Return each network's blocks that are streamed; empties the shelf where its stages leave too little room."""
    plans = plan_cards(parts, wanted, placement.networks, pixels=pixels, loaded=tuple(shelf.stages))
    if shelf.stages and (_is_tight(plans) or shelf.is_streaming):
        shelf.clear()
        plans = plan_cards(parts, wanted, placement.networks, pixels=pixels)
    for plan in plans.values():
        require_fit(plan)
    return {name: blocks for plan in plans.values() for name, blocks in plan.streamed.items()}


def _is_tight(plans: Mapping[torch.device, CardPlan]) -> bool:
    return any(not plan.fits or any(plan.streamed.values()) for plan in plans.values())


def loads_in_turn(
    settings_in_turn: Iterable[EngineSettings],
    find: Callable[..., Path] = find_checkpoint,
    planned: PlannedWork = UNKNOWN_WORK,
) -> Iterator[tuple[str, ...]]:
    """Yield the networks that `load_stages` would read for each of these settings after those before; reads no weight.

    Args:
        settings_in_turn: One after the other, with one shelf.
        find: See `find_parts`.
        planned: See `load_stages`.

    Raises:
        LlmDitError: As `load_stages` does.
    """
    held: Mapping[str, Hashable] = {}
    for wanted in settings_in_turn:
        placement = place_stages(wanted, planned.evaluations)
        parts = find_parts(wanted, find)
        keys = _stage_keys(parts, placement, wanted)
        is_tight = _is_tight(plan_cards(parts, wanted, placement.networks, pixels=planned.pixels))
        yield tuple(network for network, key in keys.items() if is_tight or held.get(network) != key)
        held = {} if is_tight else keys


def _stage_keys(parts: ModelParts, placement: Placement, wanted: EngineSettings) -> dict[str, Hashable]:
    """Return what each stage is loaded from and with: files and their state, device, number format, compiled kernels.

    A kernel that is not compiled into the transformer is no part of what is loaded; `_change_kernel` changes it.

    Args:
        parts: Opened, not read.
        placement: Where each stage computes and how.
        wanted: The settings that both follow from.
    """
    applied = placement.acceleration
    is_compiled = applied.compile == "on" and not wanted.vae_tiling
    kernel = applied.attention_backend if applied.compile == "on" else None
    return {
        "text_encoder": (
            *(state_of(parts.text_encoder.path), state_of(parts.tokenizer)),
            *(placement.text_encoder, wanted.text_encoder_quantization, wanted.keep_packed),
        ),
        "transformer": (
            *(state_of(parts.transformer.path), placement.transformer, applied.compile, applied.quantization, kernel),
            *(wanted.cuda_graphs, wanted.loras_folder, wanted.keep_packed),
        ),
        "vae": (
            *(state_of(parts.vae.path), placement.vae, wanted.vae_tiling),
            is_compiled and placement.vae[0].type == placement.transformer[0].type,
        ),
    }


def memory_sentence(wanted: EngineSettings, planned: PlannedWork = UNKNOWN_WORK) -> str:
    """Say what `load_stages` would leave on the cards and what it would stream, without reading weights.

    Raises:
        LlmDitError: As `load_stages` does.
    """
    placement = place_stages(wanted)
    parts = find_parts(wanted, find_checkpoint)
    sentences = []
    for device, plan in plan_cards(parts, wanted, placement.networks, pixels=planned.pixels).items():
        require_fit(plan)
        sentences.append(f"{device}: {streamed_sentence(plan) or 'all weights stay'}")
    return "; ".join(sentences)


def _change_kernel(applied: Acceleration, shelf: StageShelf) -> None:
    """Give a transformer that stays loaded the kernel that is wanted now; one that is missing gets it when loaded."""
    if "transformer" in shelf.stages and shelf.attention_backend != applied.attention_backend:
        change_attention(shelf.stages["transformer"].transformer, applied.attention_backend)
    shelf.attention_backend = applied.attention_backend


def _load_missing(
    parts: ModelParts,
    placement: Placement,
    wanted: EngineSettings,
    streamed: Mapping[str, Sequence[int]],
    shelf: StageShelf,
    keys: Mapping[str, Hashable],
) -> None:
    """Load the stages that the shelf lacks onto it."""

    def load_transformer() -> Denoiser:
        return Denoiser.from_stored(
            parts.transformer,
            *placement.transformer,
            quantization=wanted.quantization,
            streamed=streamed.get("transformer", ()),
            loras_folder=wanted.loras_folder,
            keep_packed=wanted.keep_packed,
        )

    def load_text_encoder() -> ZImageTextEncoder:
        return ZImageTextEncoder.from_stored(
            parts.text_encoder,
            parts.tokenizer,
            *placement.text_encoder,
            quantization=wanted.text_encoder_quantization,
            streamed=streamed.get("text_encoder", ()),
            keep_packed=wanted.keep_packed,
        )

    def load_vae() -> LatentDecoder:
        return LatentDecoder.from_stored(parts.vae, *placement.vae, tiling=wanted.vae_tiling)

    readers = {"transformer": load_transformer, "text_encoder": load_text_encoder, "vae": load_vae}
    missing = [network for network in readers if network not in shelf.stages]
    with ThreadPoolExecutor(1) as beside:  # the largest part is copied while the others' code is imported
        first = missing.pop(0) if missing else None
        loading = None if first is None else beside.submit(_timed, readers[first])
        for network in missing:
            shelf.put(network, keys[network], *_timed(readers[network]))
        if first is not None and loading is not None:
            shelf.put(first, keys[first], *loading.result())
    if first is not None:
        _speed_up([first, *missing], shelf.stages, placement, wanted, has_room=not any(streamed.values()))


def _timed(read: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    return read(), time.perf_counter() - started


def _speed_up(
    loaded: Collection[str], stages: Mapping[str, Any], placement: Placement, wanted: EngineSettings, *, has_room: bool
) -> None:
    """Give the stages that were loaded now their kernels, compilation and graphs, which take memory of their own."""
    device, applied = placement.transformer[0], placement.acceleration
    if "transformer" in loaded:
        graphs = "off" if wanted.keep_packed else wanted.cuda_graphs
        accelerate(stages["transformer"].transformer, applied, device, stays=has_room, graphs=graphs)
    is_beside = placement.vae[0].type == device.type
    if "vae" in loaded and applied.compile == "on" and is_beside and not wanted.vae_tiling:
        compile_decoder(stages["vae"].vae)


def numerics_of(placement: Placement, wanted: EngineSettings) -> dict[str, str]:
    """Return the number formats and kernels in effect, part of an image's identity."""
    return _numerics(wanted, placement.text_encoder, placement.transformer, placement.vae, placement.acceleration)


def _numerics(
    wanted: EngineSettings, encoder: Place, transformer: Place, vae: Place, acceleration: Acceleration
) -> dict[str, str]:
    return {
        "text_encoder_device": encoder[0].type,
        "text_encoder_dtype": dtype_name(encoder[1]),
        "text_encoder_quantization": wanted.text_encoder_quantization,
        "dit_device": transformer[0].type,
        "dtype": dtype_name(transformer[1]),
        "vae_device": vae[0].type,
        "vae_dtype": dtype_name(vae[1]),
        "vae_tiling": str(wanted.vae_tiling).lower(),
        **acceleration.as_numerics(),
        **({"products": "onednn"} if _multiplies_by_onednn(encoder, transformer, vae) else {}),
    }


def _multiplies_by_onednn(*places: Place) -> bool:
    is_float32_on_cpu = any(device.type == "cpu" and dtype_name(dtype) == "float32" for device, dtype in places)
    return is_float32_on_cpu and onednn_multiplies()
