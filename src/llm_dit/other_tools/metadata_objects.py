"""The JSON objects of InvokeAI and SwarmUI: settings by name.

Source: InvokeAI `buildZImageGraph.ts` and its metadata, whose `cfg_scale` 1 is no guidance; SwarmUI's image metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_dit.other_tools.foreign_settings import ForeignSettings

INVOKE = "InvokeAI"
SWARM = "SwarmUI"
Z_IMAGE = "z-image"
INVOKE_NAMES = {"seed": "seed", "steps": "num_inference_steps", "width": "width", "height": "height", "shift": "shift"}
SWARM_NAMES = {**INVOKE_NAMES, "sigmashift": "shift"}
INVOKE_READ = frozenset(
    {
        *("positive_prompt", "negative_prompt", "cfg_scale", "scheduler", "model", "loras", "generation_mode"),
        *("app_version", "rand_device", "vae", "qwen3_encoder", "qwen3_source", "created_by", "canvas_v2_metadata"),
    }
)
SWARM_READ = frozenset(
    {
        *("prompt", "negativeprompt", "cfgscale", "sampler", "comfyuisampler", "scheduler", "comfyuischeduler"),
        *("loras", "loraweights", "model", "aspectratio", "swarm_version", "images", "vae", "automaticvae"),
    }
)
"""Names that are read, or change nothing here."""


def read_invoke(metadata: Mapping[str, Any]) -> ForeignSettings:
    """Read InvokeAI's `invokeai_metadata`."""
    found = ForeignSettings(INVOKE)
    found.take_prompt(metadata.get("positive_prompt"))
    found.take_prompt(metadata.get("negative_prompt") or None, "negative_prompt")
    _take_named(found, metadata, INVOKE_NAMES)
    found.take_cfg(metadata.get("cfg_scale"))
    found.take_sampler(metadata.get("scheduler"))
    model = metadata.get("model")
    if isinstance(model, Mapping):
        found.model = str(model.get("name", ""))
        if model.get("base") not in (None, Z_IMAGE):
            found.sentences.append("It was drawn by a model of another kind than Z-Image.")
    found.take_loras(list(_invoke_loras(found, metadata.get("loras"))))
    mode = metadata.get("generation_mode")
    if isinstance(mode, str) and not mode.endswith("txt2img"):
        found.sentences.append("It began with a picture; here every image begins as noise.")
    found.unread += [name for name in metadata if name not in INVOKE_READ and name not in INVOKE_NAMES]
    return found


def _invoke_loras(found: ForeignSettings, loras: Any) -> list[tuple[str, Any]]:
    named = []
    for lora in loras if isinstance(loras, list) else []:
        model = lora.get("model", lora.get("lora")) if isinstance(lora, Mapping) else None
        name = model.get("name", model.get("model_name")) if isinstance(model, Mapping) else None
        if isinstance(name, str):
            named.append((name, lora.get("weight", 1)))
        else:
            found.unread.append("a LoRA")
    return named


def read_swarm(metadata: Mapping[str, Any]) -> ForeignSettings:
    """Read what SwarmUI puts under `sui_image_params`."""
    found = ForeignSettings(SWARM)
    in_prompt = found.take_prompt(metadata.get("prompt"))
    found.take_prompt(metadata.get("negativeprompt") or None, "negative_prompt")
    _take_named(found, metadata, SWARM_NAMES)
    found.take_cfg(metadata.get("cfgscale"))
    found.take_sampler(metadata.get("sampler", metadata.get("comfyuisampler")))
    found.model = str(metadata.get("model") or "")
    names, weights = _parts(metadata.get("loras")), _parts(metadata.get("loraweights"))
    weights += [1] * (len(names) - len(weights))
    found.take_loras([*in_prompt, *((str(name), weight) for name, weight in zip(names, weights, strict=False))])
    found.unread += [name for name in metadata if name not in SWARM_READ and name not in SWARM_NAMES]
    return found


def _parts(value: Any) -> list[Any]:
    """Return a list, or the parts of a text between commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")] if value.strip() else []
    return list(value) if isinstance(value, list) else []


def _take_named(found: ForeignSettings, metadata: Mapping[str, Any], names: Mapping[str, str]) -> None:
    for foreign, ours in names.items():
        if foreign in metadata:
            found.take(ours, metadata[foreign])
