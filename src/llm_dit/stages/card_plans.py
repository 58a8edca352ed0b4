"""What stays on each card and what is streamed to it, known from files and settings before a weight is read."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llm_dit.checkpoints.lazy_tensor import LazyTensor
from llm_dit.checkpoints.model_file import StoredComponent
from llm_dit.checkpoints.model_parts import ModelParts
from llm_dit.parameters import EngineSettings, Quantization
from llm_dit.placement.budget import GIB, CardPlan, NetworkSize, plan_card
from llm_dit.stages.latent_decoder import drawn_with

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

BLOCK = re.compile(r"(?P<kind>context_refiner|noise_refiner|layers)\.(?P<index>\d+)\.")
KINDS = ("context_refiner", "noise_refiner", "layers")
"""In the order in which they run."""
EMBEDDINGS = "embed_tokens.weight"
DENOISING_WIDTHS = 16
"""Activations of one evaluation at its fullest, in numbers of the transformer's width for each token; measured."""
DECODING_WIDTHS, BANDED_WIDTHS = 12, 4
"""The same of the decoder, in numbers of its narrowest block's channels for each pixel; in bands."""
TEXT_TOKENS = 512
BLOCKS_ARE = {"transformer": "blocks of the transformer", "text_encoder": "layers of the text encoder"}
CARDS_GIB = (6, 8, 12, 16, 24)
SYSTEM_GIB = 0.5
"""What the driver and a process take of a card."""
WORKSPACE = 256 << 20
"""What products and the allocator's rounding take beside activations, in bytes."""


def network_sizes(parts: ModelParts, wanted: EngineSettings, itemsizes: Mapping[str, int]) -> dict[str, NetworkSize]:
    """Return what each network will take, `vae` and `transformer` before `text_encoder`.

    Args:
        parts: Opened, not read.
        wanted: Says how they are quantized.
        itemsizes: Network to bytes of a number.
    """
    return {
        "vae": NetworkSize("vae", _numbers(drawn_with(parts.vae.tensors)) * itemsizes["vae"]),
        "transformer": _network_size(parts.transformer, wanted, wanted.quantization, itemsizes["transformer"]),
        "text_encoder": _network_size(
            parts.text_encoder, wanted, wanted.text_encoder_quantization, itemsizes["text_encoder"]
        ),
    }


def _network_size(
    part: StoredComponent, wanted: EngineSettings, quantization: Quantization, itemsize: int
) -> NetworkSize:
    places = {name: found for name in part.tensors if (found := BLOCK.match(name)) and "adaLN" not in name}
    matrices = {name for name in places if len(part.tensors[name].shape) > 1}
    blocks: dict[tuple[int, int], int] = {}
    for name in matrices:
        place = KINDS.index(places[name]["kind"]), int(places[name]["index"])
        tensor = part.tensors[name]
        if wanted.keep_packed and tensor.read_packed is not None:
            size = tensor.stored_bytes
        else:
            size = math.prod(tensor.shape) * (itemsize if quantization == "none" else 1)
        blocks[place] = blocks.get(place, 0) + size
    rest = {name: tensor for name, tensor in part.tensors.items() if name not in matrices}
    spare = {name: rest.pop(name) for name in (EMBEDDINGS,) if name in rest}
    guests = sum(kind == 0 for kind, _ in blocks)
    sizes = tuple(blocks[place] for place in sorted(blocks))
    return NetworkSize(part.component, _numbers(rest) * itemsize, sizes, guests, _numbers(spare) * itemsize)


def _numbers(tensors: Mapping[str, LazyTensor]) -> int:
    return sum(math.prod(tensor.shape) for tensor in tensors.values())


def working_bytes(
    parts: ModelParts, pixels: int, itemsizes: Mapping[str, int], *, tiling: bool = False
) -> dict[str, int]:
    """Return what each network computes with beside its weights for one image, in bytes; measured, rounded up.

    Args:
        parts: Opened, not read.
        pixels: Of the image.
        itemsizes: Network to bytes of a number.
        tiling: The decoder works in bands.
    """
    transformer: Mapping[str, Any] = parts.transformer.config
    encoder: Mapping[str, Any] = parts.text_encoder.config
    tokens = pixels // 256 + TEXT_TOKENS
    widths = BANDED_WIDTHS if tiling else DECODING_WIDTHS
    return {
        "transformer": WORKSPACE + DENOISING_WIDTHS * tokens * int(transformer["dim"]) * itemsizes["transformer"],
        "vae": WORKSPACE + widths * pixels * int(parts.vae.config["block_out_channels"][0]) * itemsizes["vae"],
        "text_encoder": WORKSPACE + 16 * TEXT_TOKENS * int(encoder["intermediate_size"]) * itemsizes["text_encoder"],
    }


def plan_cards(
    parts: ModelParts,
    wanted: EngineSettings,
    places: Mapping[str, tuple[torch.device, torch.dtype]],
    *,
    pixels: int = 0,
    loaded: Collection[str] = (),
) -> dict[torch.device, CardPlan]:
    """Decide for each CUDA device what is streamed to it.

    Args:
        parts: Opened, not read.
        wanted: Its `vram_limit` counts; None means what a card has free now.
        places: Network to device and number format.
        pixels: Of the largest image that there must be room for; the model's own size where that is larger.
        loaded: Networks whose weights are on their devices already and stay there.
    """
    itemsizes = {name: dtype.itemsize for name, (_, dtype) in places.items()}
    sizes = network_sizes(parts, wanted, itemsizes)
    native = int(parts.vae.config.get("sample_size", 1024))
    work = working_bytes(parts, max(native**2, pixels), itemsizes, tiling=wanted.vae_tiling)
    plans = {}
    for device in {device for device, _ in places.values() if device.type == "cuda"}:
        here = [name for name in sizes if places[name][0] == device]
        missing = [sizes[name] for name in here if name not in loaded]
        plan = plan_card(missing, _limit(wanted, device), max(work[name] for name in here))
        if sentence := streamed_sentence(plan):
            logger.info("%s: %s.", device, sentence)
        plans[device] = plan
    return plans


def _limit(wanted: EngineSettings, device: torch.device) -> int:
    """What is left of the limit, or of the card."""
    import torch

    held = torch.cuda.memory_allocated(device)
    if wanted.vram_limit is not None:
        return int(wanted.vram_limit * GIB) - held
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - held)


def streamed_sentence(plan: CardPlan) -> str:
    """Say what is streamed, or nothing where all stays."""
    parts = _streamed_parts(plan)
    return f"{parts} wait in the computer's memory and are streamed" if parts else ""


def _streamed_parts(plan: CardPlan) -> str:
    return " and ".join(
        f"{len(plan.streamed[name])} {what}" for name, what in BLOCKS_ARE.items() if plan.streamed.get(name)
    )


def _told(plan: CardPlan) -> str:
    if not plan.fits:
        return "is too large"
    parts = _streamed_parts(plan)
    return f"streams {parts}" if parts else f"stays ({plan.resident / GIB:.1f} GiB)"


def card_lines(parts: ModelParts) -> Iterator[str]:
    """Yield lines that say what stays on cards of usual sizes, in bfloat16 and with the transformer in 8 bit."""
    settings = EngineSettings()
    names = dict.fromkeys(("vae", "transformer", "text_encoder"), 2)
    native = int(parts.vae.config.get("sample_size", 1024))
    work = max(working_bytes(parts, native**2, names).values())
    yield f"on a card, at {native} x {native} (streamed blocks wait in the computer's memory):"
    for card in CARDS_GIB:
        told = []
        for kind, quantization in (("bfloat16", "none"), ("float8 or int8", "int8")):
            wanted = settings.replaced(quantization=quantization, text_encoder_quantization="none")
            sizes = network_sizes(parts, wanted, names)
            plan = plan_card(list(sizes.values()), int((card - SYSTEM_GIB) * GIB), work)
            told.append(f"{kind} {_told(plan)}")
        yield f"  {card} GiB: " + "; ".join(told)
