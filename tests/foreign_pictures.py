"""Pictures as other tools write them, and the graphs of ComfyUI that they carry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

USER_COMMENT = 0x9286
EXIF_FOLDER = 0x8769
MAKE, MODEL = 0x010F, 0x0110

A1111 = (
    "a fox in snow,\nsoft light <lora:ink style:0.8>\nNegative prompt: blurry,\ntext\n"
    "Steps: 8, Sampler: Euler, Schedule type: Simple, CFG scale: 4, Shift: 5, Seed: 42, Size: 832x1216, "
    'Model hash: 0123456789, Model: z_image_turbo_bf16, Denoising strength: 0.4, Lora hashes: "ink style: 01, b: 02", '
    "Version: f2.0.1v1.10.1"
)
SWARM = {
    "sui_image_params": {
        "prompt": "a fox in snow",
        "negativeprompt": "blurry",
        "model": "z_image_turbo_bf16",
        "seed": 42,
        "steps": 8,
        "cfgscale": 4.0,
        "width": 832,
        "height": 1216,
        "sigmashift": 5,
        "sampler": "euler",
        "loras": ["style"],
        "loraweights": ["0.8"],
        "refinermethod": "PostApply",
        "swarm_version": "0.9.7",
    },
    "sui_extra_data": {"date": "2026-01-01"},
}
INVOKE = {
    "generation_mode": "z_image_txt2img",
    "positive_prompt": "a fox in snow",
    "negative_prompt": "blurry",
    "width": 832,
    "height": 1216,
    "seed": 42,
    "steps": 8,
    "cfg_scale": 4.0,
    "scheduler": "euler",
    "model": {"name": "Z-Image Turbo", "base": "z-image", "type": "main"},
    "loras": [{"model": {"name": "style"}, "weight": 0.8}],
    "seamless_x": False,
    "app_version": "6.9.0",
}


def api_graph(**changes: Mapping[str, Any]) -> dict[str, Any]:
    """A graph with shift, a LoRA and both prompts; `changes` replaces inputs of nodes by their class."""
    nodes = {
        "1": ("UNETLoader", {"unet_name": "z_image_turbo_bf16.safetensors", "weight_dtype": "default"}),
        "2": ("CLIPLoader", {"clip_name": "qwen_3_4b.safetensors", "type": "lumina2"}),
        "3": ("LoraLoaderModelOnly", {"lora_name": "ink\\style.safetensors", "strength_model": 0.8, "model": ["1", 0]}),
        "4": ("ModelSamplingAuraFlow", {"shift": 5, "model": ["3", 0]}),
        "5": ("CLIPTextEncode", {"text": "a fox in snow", "clip": ["2", 0]}),
        "6": ("CLIPTextEncode", {"text": "blurry", "clip": ["2", 0], "_meta": {"title": "negative"}}),
        "7": ("EmptySD3LatentImage", {"width": 832, "height": 1216, "batch_size": 1}),
        "8": (
            "KSampler",
            {
                **{"seed": 42, "steps": 8, "cfg": 4, "sampler_name": "euler", "scheduler": "simple", "denoise": 1},
                **{"model": ["4", 0], "positive": ["5", 0], "negative": ["6", 0], "latent_image": ["7", 0]},
            },
        ),
        "9": ("VAEDecode", {"samples": ["8", 0], "vae": ["1", 2]}),
    }
    return {
        name: {"class_type": kind, "inputs": {**inputs, **changes.get(kind, {})}}
        for name, (kind, inputs) in nodes.items()
    }


def custom_graph() -> dict[str, Any]:
    """The same image with the custom sampler's nodes and guidance off."""
    graph = api_graph()
    del graph["8"]
    return graph | {
        "10": {"class_type": "RandomNoise", "inputs": {"noise_seed": ["20", 0]}},
        "11": {"class_type": "BasicGuider", "inputs": {"model": ["4", 0], "conditioning": ["5", 0]}},
        "12": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "res_multistep"}},
        "13": {
            "class_type": "BasicScheduler",
            "inputs": {"scheduler": "simple", "steps": 8, "denoise": 1, "model": ["4", 0]},
        },
        "14": {
            "class_type": "SamplerCustomAdvanced",
            "inputs": {
                **{"noise": ["10", 0], "guider": ["11", 0], "sampler": ["12", 0]},
                **{"sigmas": ["13", 0], "latent_image": ["7", 0]},
            },
        },
        "20": {"class_type": "PrimitiveInt", "inputs": {"value": 42}},
    }


def editor_graph() -> dict[str, Any]:
    """The graph of `api_graph` as the editor saves it."""
    widgets: dict[str, list[Any]] = {
        "KSampler": [42, "fixed", 8, 4, "euler", "simple", 1],
        "UNETLoader": ["z_image_turbo_bf16.safetensors", "default"],
        "LoraLoaderModelOnly": ["ink\\style.safetensors", 0.8],
        "ModelSamplingAuraFlow": [5],
        "EmptySD3LatentImage": [832, 1216, 1],
    }
    nodes: list[dict[str, Any]] = []
    links: list[list[Any]] = []
    for name, node in api_graph().items():
        entries = []
        for key, value in node["inputs"].items():
            if isinstance(value, list):
                links.append([len(links) + 1, int(value[0]), value[1], int(name), len(entries), "*"])
                entries.append({"name": key, "type": "*", "link": len(links)})
        values = widgets.get(node["class_type"], [node["inputs"].get("text")])
        nodes.append(
            {"id": int(name), "type": node["class_type"], "mode": 0, "inputs": entries, "widgets_values": values}
        )
    return {"nodes": nodes, "links": links, "version": 0.4}


def subgraph_graph(*, promoted: str) -> dict[str, Any]:
    """The graph of `editor_graph` with all but its last node in a subgraph.

    Text and seed are promoted to the instance, whose values count: `inputs` as newer files have them, `proxies` as the
    first ones did. The subgraph's own are others.
    """
    whole = editor_graph()
    inner = [node for node in whole["nodes"] if node["type"] != "VAEDecode"]
    (last,) = [node for node in whole["nodes"] if node["type"] == "VAEDecode"]
    names = ("origin_id", "origin_slot", "target_id", "target_slot", "type")
    links = [dict(zip(("id", *names), link, strict=True)) for link in whole["links"] if link[3] != last["id"]]
    links.append({"id": 100, **dict(zip(names, (8, 0, -20, 0, "LATENT"), strict=True))})
    by_id = {node["id"]: node for node in inner}
    by_id[5]["widgets_values"], by_id[8]["widgets_values"] = ["a dog"], [7, *by_id[8]["widgets_values"][1:]]
    instance: dict[str, Any] = {"id": 50, "type": "sub-1", "mode": 0, "inputs": [], "outputs": []}
    instance["widgets_values"] = ["a fox in snow", 42]
    if promoted == "proxies":
        instance["properties"] = {"proxyWidgets": [["5", "text"], ["8", "seed"]]}
    else:
        for slot, (name, target) in enumerate((("text", 5), ("seed", 8))):
            instance["inputs"].append({"name": name, "type": "*", "widget": {"name": name}, "link": None})
            by_id[target]["inputs"].append({"name": name, "type": "*", "link": 101 + slot})
            ends = (-10, slot, target, len(by_id[target]["inputs"]) - 1, "*")
            links.append({"id": 101 + slot, **dict(zip(names, ends, strict=True))})
    last = {**last, "inputs": [{"name": "samples", "type": "LATENT", "link": 1}]}
    return {
        "nodes": [instance, last],
        "links": [[1, 50, 0, last["id"], 0, "LATENT"]],
        "definitions": {"subgraphs": [{"id": "sub-1", "name": "Text to image", "nodes": inner, "links": links}]},
        "version": 0.4,
    }


def png(texts: Mapping[str, str]) -> BytesIO:
    """A PNG with texts."""
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    return _saved("PNG", pnginfo=info)


def with_comment(kind: str, text: str, encoding: str = "utf-16-be") -> BytesIO:
    """A JPEG or WebP with a user comment, as A1111 writes it."""
    exif = Image.Exif()
    code = b"UNICODE\0" if encoding.startswith("utf-16") else b"ASCII\0\0\0"
    exif[EXIF_FOLDER] = {USER_COMMENT: code + text.encode(encoding)}  # Pillow 11 keeps no change of `get_ifd`
    return _saved(kind, exif=exif)


def comfy_webp(prompt: Mapping[str, Any], workflow: Mapping[str, Any]) -> BytesIO:
    """A WebP with graphs in its EXIF, as ComfyUI writes it."""
    exif = Image.Exif()
    exif[MODEL], exif[MAKE] = f"prompt:{json.dumps(prompt)}", f"workflow:{json.dumps(workflow)}"
    return _saved("WEBP", exif=exif)


def _saved(kind: str, **options: Any) -> BytesIO:
    buffer = BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, kind, **options)
    buffer.seek(0)
    return buffer
