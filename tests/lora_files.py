"""One change of a transformer in every spelling that trainers write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

RANK = 2
ALPHA = 4.0
BLOCK = "layers.0"
LayerFactors = Mapping[str, tuple[Tensor, Tensor]]
"""Our layer to `up` [O, R] and `down` [R, I]."""


def factors_of(layers: Mapping[str, tuple[int, int]], seed: int = 0) -> dict[str, tuple[Tensor, Tensor]]:
    """Random factors for the projections of one block and for one layer outside the blocks."""
    generator = torch.Generator().manual_seed(seed)
    chosen = [*(f"{BLOCK}.attention.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0")), "all_x_embedder.2-1"]
    return {
        layer: (
            torch.randn(layers[layer][0], RANK, generator=generator),
            torch.randn(RANK, layers[layer][1], generator=generator),
        )
        for layer in chosen
    }


def expected_deltas(factors: LayerFactors) -> dict[str, Tensor]:
    """What every spelling has to give."""
    return {layer: (up @ down) * (ALPHA / RANK) for layer, (up, down) in factors.items()}


def original(layer: str) -> str:
    """A layer's original name, projections apart."""
    return layer.replace("to_out.0", "out").replace("all_x_embedder.2-1", "x_embedder")


def spellings(factors: LayerFactors) -> dict[str, tuple[dict[str, Tensor], dict[str, str]]]:
    """Name of a spelling to tensors and header of a file in it."""

    def written(prefix: str, up: str, down: str, *, alpha: bool, joined: bool = False, rename=lambda layer: layer):
        tensors = {}
        for layer, (first, second) in factors.items():
            name = rename(layer).replace(".", "_") if joined else rename(layer)
            tensors[prefix + name + up] = first if alpha else first * (ALPHA / RANK)
            tensors[prefix + name + down] = second.clone()
            if alpha:
                tensors[f"{prefix}{name}.alpha"] = torch.tensor(ALPHA)
        return tensors, {}

    kohya = (".lora_up.weight", ".lora_down.weight")
    peft = (".lora_B.weight", ".lora_A.weight")
    metadata = {"transformer.r": RANK, "transformer.lora_alpha": ALPHA}
    plain = {
        f"transformer.{layer}{end}": part
        for layer, pair in factors.items()
        for end, part in zip(peft, pair, strict=True)
    }
    return {
        "ai-toolkit": written("diffusion_model.", *peft, alpha=False),
        "ai-toolkit, original names": written("diffusion_model.", *peft, alpha=False, rename=original),
        "musubi": written("lora_unet_", *kohya, alpha=True, joined=True),
        "musubi, original names": written("lora_unet_", *kohya, alpha=True, joined=True, rename=original),
        "VideoX-Fun": written("lora_unet__", *kohya, alpha=True, joined=True),
        "OneTrainer": written("transformer.", *kohya, alpha=True),
        "diffusers": (plain, {"lora_adapter_metadata": json.dumps(metadata)}),
        "DiffSynth": written("", ".lora_B.default.weight", ".lora_A.default.weight", alpha=False),
        "PEFT": written("base_model.model.", *peft, alpha=False),
        "LyCORIS": written("lycoris_", *kohya, alpha=True, joined=True),
        "old diffusers": written("transformer.", "_lora.up.weight", "_lora.down.weight", alpha=False),
        "without .weight": written("diffusion_model.", ".lora_B", ".lora_A", alpha=False),
        "lora_linear_layer": written(
            "unet.", ".lora_linear_layer.up.weight", ".lora_linear_layer.down.weight", alpha=False
        ),
        "musubi to ComfyUI": (_fused_by_blocks(factors, "lora_unet_", kohya, joined=True), {}),
        "fused, dotted": (_fused_by_blocks(factors, "diffusion_model.", peft, joined=False), {}),
        "whole differences": (
            {f"diffusion_model.{layer}.diff": delta for layer, delta in expected_deltas(factors).items()},
            {},
        ),
    }


def _fused_by_blocks(factors: LayerFactors, prefix: str, ends: tuple[str, str], *, joined: bool) -> dict[str, Tensor]:
    """The three projections as one of three times the rank: ups on a diagonal, downs stacked."""
    three = [factors[f"{BLOCK}.attention.to_{name}"] for name in "qkv"]
    parts = {
        f"{BLOCK}.attention.qkv": (torch.block_diag(*(up for up, _ in three)), torch.cat([down for _, down in three]))
    }
    parts |= {original(layer): pair for layer, pair in factors.items() if layer[-1] not in "qkv"}
    tensors = {}
    for layer, (up, down) in parts.items():
        name = prefix + (layer.replace(".", "_") if joined else layer)
        tensors |= {name + ends[0]: up, name + ends[1]: down.clone()}
        tensors[f"{name}.alpha"] = torch.tensor(ALPHA * down.shape[0] / RANK)
    return tensors


def write_lora(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    """Write a LoRA file."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata or None)
    return path
