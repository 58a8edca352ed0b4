"""Files as people hold them, written from a folder in the hub's layout: ComfyUI's, packed ones, GGUF."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from einops import rearrange
from safetensors.torch import load_file, save_file
from torch import Tensor

from llm_dit.checkpoints.layouts import LDM_VAE, LLAMA_ENCODER, MATRICES, ORIGINAL_TRANSFORMER
from llm_dit.checkpoints.name_table import NameTable
from llm_dit.checkpoints.packed_formats import FLOAT4_VALUES, TILE_COLUMNS, hadamard, tiled_shape

ENCODER_PREFIX = "model."


def component_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a component's folder."""
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    return tensors


def in_layout(tensors: Mapping[str, Tensor], table: NameTable) -> dict[str, Tensor]:
    """Tensors under our names, renamed and fused as `table` says."""
    parts: dict[str, dict[int, Tensor]] = {}
    for name, tensor in tensors.items():
        foreign, place, _ = table.foreign(name)
        is_convolution = table is LDM_VAE and MATRICES.search(name)
        parts.setdefault(foreign, {})[place] = tensor[..., None, None] if is_convolution else tensor
    return {name: torch.cat([rows[place] for place in sorted(rows)]) for name, rows in parts.items()}


def transformer_tensors(folder: Path) -> dict[str, Tensor]:
    """The transformer of a checkpoint, as ComfyUI's files have it."""
    return in_layout(component_tensors(folder / "transformer"), ORIGINAL_TRANSFORMER)


def encoder_tensors(folder: Path) -> dict[str, Tensor]:
    """The text encoder of a checkpoint, as ComfyUI's files have it."""
    return component_tensors(folder / "text_encoder")


def vae_tensors(folder: Path) -> dict[str, Tensor]:
    """The VAE of a checkpoint, as ae.safetensors has it."""
    return in_layout(component_tensors(folder / "vae"), LDM_VAE)


def encoder_llama_tensors(folder: Path) -> dict[str, Tensor]:
    """The text encoder of a checkpoint, under llama.cpp's names."""
    ours = {name.removeprefix(ENCODER_PREFIX): tensor for name, tensor in encoder_tensors(folder).items()}
    return in_layout({name: tensor for name, tensor in ours.items() if name != "lm_head.weight"}, LLAMA_ENCODER)


def write_file(
    path: Path, tensors: Mapping[str, Tensor], config: Path | None = None, metadata: dict[str, str] | None = None
) -> Path:
    """Write a file, with a component's config.json beside it as NAME.json where it is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    if config is not None:
        path.with_suffix(".json").write_text((config / "config.json").read_text())
    return path


def write_comfy_tree(folder: Path, tree: Path) -> dict[str, Path]:
    """Write a checkpoint as ComfyUI's three files, and return them by component."""
    places = {
        "transformer": (tree / "diffusion_models" / "z_image.safetensors", transformer_tensors(folder)),
        "text_encoder": (tree / "text_encoders" / "qwen_3_4b.safetensors", encoder_tensors(folder)),
        "vae": (tree / "vae" / "ae.safetensors", vae_tensors(folder)),
    }
    return {name: write_file(path, tensors, folder / name) for name, (path, tensors) in places.items()}


Packed = tuple[dict[str, Tensor], Tensor]
"""Tensors of a packed layer by the end of their names, and what they unpack to, float32."""


def pack_float8(weight: Tensor, dtype: torch.dtype = torch.float8_e4m3fn) -> Packed:
    scale = (weight.float().abs().max() / torch.finfo(dtype).max).reshape(())
    quantized = (weight.float() / scale).to(dtype)
    return {"weight": quantized, "weight_scale": scale}, quantized.float() * scale


def pack_int8(weight: Tensor, group: int = 0) -> Packed:
    rotation = torch.block_diag(*[hadamard(group)] * (weight.shape[1] // group)) if group else None
    values = weight.float() if rotation is None else weight.float() @ rotation
    scale = values.abs().amax(1, keepdim=True) / 127
    quantized = (values / scale).round().to(torch.int8)
    unpacked = quantized.float() * scale
    return {"weight": quantized, "weight_scale": scale}, unpacked if rotation is None else unpacked @ rotation


def tiled(scales: Tensor) -> Tensor:
    """Block scales in tiles as cuBLAS reads them, with zeros for padding: the reverse of `untiled`."""
    padded = torch.zeros(tiled_shape(*scales.shape), dtype=scales.dtype)
    padded[: scales.shape[0], : scales.shape[1]] = scales
    stored: Tensor = rearrange(
        padded, "(rb group lane) (cb column) -> (rb cb lane) (group column)", group=4, lane=32, column=TILE_COLUMNS
    )
    return stored.reshape(padded.shape)


def pack_mxfp8(weight: Tensor) -> Packed:
    rows, columns = weight.shape
    blocks = weight.float().reshape(rows, -1, 32)
    exponents = (blocks.abs().amax(-1) / 448).log2().ceil().clamp(-127, 127)
    quantized = (blocks / exponents.exp2()[..., None]).to(torch.float8_e4m3fn)
    unpacked = (quantized.float() * exponents.exp2()[..., None]).reshape(rows, columns)
    stored = tiled((exponents + 127).to(torch.uint8))
    return {"weight": quantized.reshape(rows, columns), "weight_scale": stored}, unpacked


def pack_nvfp4(weight: Tensor) -> Packed:
    rows, columns = weight.shape
    whole = weight.float().abs().max() / (448 * 6)
    blocks = weight.float().reshape(rows, -1, 16)
    scale = (blocks.abs().amax(-1) / 6 / whole).to(torch.float8_e4m3fn)
    step = (scale.float() * whole)[..., None]
    levels = torch.tensor(FLOAT4_VALUES)
    codes = ((blocks / step).abs()[..., None] - levels).abs().argmin(-1)
    signs = (blocks < 0).int()
    unpacked = (levels[codes] * (1 - 2 * signs) * step).reshape(rows, columns)
    nibbles = (codes + 8 * signs).reshape(rows, -1, 2).to(torch.uint8)
    stored = tiled(scale.view(torch.uint8)).view(torch.float8_e4m3fn)
    packed = {
        "weight": nibbles[..., 0] << 4 | nibbles[..., 1],
        "weight_scale": stored,
        "weight_scale_2": whole.reshape(()),
    }
    return packed, unpacked


PACKERS: dict[str, tuple[dict[str, object], Callable[[Tensor], Packed]]] = {
    "float8_e4m3fn": ({"format": "float8_e4m3fn"}, pack_float8),
    "float8_e5m2": ({"format": "float8_e5m2"}, lambda weight: pack_float8(weight, torch.float8_e5m2)),
    "int8": ({"format": "int8_tensorwise"}, pack_int8),
    "int8 convrot": (
        {"format": "int8_tensorwise", "params": {"convrot": True, "convrot_groupsize": 16}},
        lambda weight: pack_int8(weight, 16),
    ),
    "mxfp8": ({"format": "mxfp8"}, pack_mxfp8),
    "nvfp4": ({"format": "nvfp4"}, pack_nvfp4),
}
"""Name of a format to what a file says of a layer in it, and to the function that packs one."""


def pack_layers(
    tensors: Mapping[str, Tensor], kind: str, layers: list[str]
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, dict[str, object]]]:
    """Pack some layers; return the stored tensors, what every weight is worth, and the layers' declarations."""
    declared, pack = PACKERS[kind]
    stored, worth = dict(tensors), dict(tensors)
    for layer in layers:
        parts, worth[f"{layer}.weight"] = pack(tensors[f"{layer}.weight"])
        stored |= {f"{layer}.{end}": tensor for end, tensor in parts.items()}
    return stored, worth, dict.fromkeys(layers, declared)


def declaration(declared: Mapping[str, object]) -> Tensor:
    """A layer's declaration as the bytes of a `comfy_quant` tensor."""
    return torch.tensor(list(json.dumps(declared).encode()), dtype=torch.uint8)


def write_gguf(
    path: Path, tensors: Mapping[str, Tensor], kinds: Mapping[str, str] | None = None, architecture: str = "lumina2"
) -> Path:
    """Write a GGUF file; tensors whose names are in `kinds` are stored as these types, others as float32."""
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, architecture)
    for name, tensor in tensors.items():
        values = (tensor[0] if name.endswith("pad_token") else tensor).float().numpy()
        kind = GGMLQuantizationType[(kinds or {}).get(name, "F32")]
        writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
