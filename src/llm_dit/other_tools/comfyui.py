"""Settings from ComfyUI's graphs: the sampler that begins with noise, and what its inputs lead back to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llm_dit.other_tools.comfy_editor import graph_from_editor
from llm_dit.other_tools.comfy_graph import Graph, Link, Node, graph_from_api, value_of, way
from llm_dit.other_tools.foreign_settings import ForeignSettings, UnreadableSettings, as_number

TOOL = "ComfyUI"
SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
LATENT_WAY = ("samples", "latent_image", "latent", "pixels", "image")
MODEL_WAY = ("model",)
TEXT_WAY = ("conditioning", "positive", "conditioning_1", "conditioning_to")
TEXT_INPUTS = ("text", "user_prompt", "prompt", "t5xxl")
ZERO = "ConditioningZeroOut"
SHIFTED = ("ModelSamplingAuraFlow", "ModelSamplingSD3")
LOADERS = {"UNETLoader": "unet_name", "UnetLoaderGGUF": "unet_name", "CheckpointLoaderSimple": "ckpt_name"}
PLAIN_SCHEDULES = ("simple",)


def read_api_graph(content: Mapping[str, Any]) -> ForeignSettings:
    """Read the graph that pictures carry as `prompt`.

    Raises:
        UnreadableSettings: If it is none, or has no sampler that is known.
    """
    return _read(graph_from_api(content))


def read_editor_graph(content: Mapping[str, Any]) -> ForeignSettings:
    """Read the graph that pictures carry as `workflow`; see `read_api_graph`."""
    return _read(graph_from_editor(content))


def _read(graph: Graph) -> ForeignSettings:
    found = ForeignSettings(TOOL)
    samplers = [node for node in graph.values() if node.kind in SAMPLERS and not node.is_skipped]
    if not samplers:
        raise UnreadableSettings(f"its graph has none of the samplers {', '.join(SAMPLERS)}")
    sampler = next((node for node in samplers if _size_node(graph, node) is not None), samplers[0])
    if len(samplers) > 1:
        found.sentences.append(f"The graph has {len(samplers)} samplers; read is the one that begins the image.")
    inputs = _gathered(graph, sampler)
    _take_size(found, graph, sampler)
    _take_texts(found, graph, inputs)
    found.take("seed", value_of(graph, inputs.get("seed", inputs.get("noise_seed"))))
    found.take("num_inference_steps", value_of(graph, inputs.get("steps")))
    _take_guidance(found, graph, inputs)
    _take_model(found, graph, inputs.get("model"))
    found.take_sampler(value_of(graph, inputs.get("sampler_name")))
    schedule = value_of(graph, inputs.get("scheduler"))
    if isinstance(schedule, str) and schedule not in PLAIN_SCHEDULES:
        found.unread.append(f"schedule {schedule}")
    denoise = as_number(value_of(graph, inputs.get("denoise", 1)))
    if denoise is not None and denoise < 1:
        found.unread.append(f"denoise {denoise:g}")
    return found


def _gathered(graph: Graph, sampler: Node) -> dict[str, Any]:
    """Return a sampler's inputs with those of the nodes that custom samplers have them from."""
    inputs = dict(sampler.inputs)
    for name in ("noise", "guider", "sampler", "sigmas"):
        node = next(way(graph, inputs.get(name), ("sigmas", "guider")), None)
        if node is not None:
            inputs |= {key: value for key, value in node.inputs.items() if key not in inputs}
    return inputs


def _size_node(graph: Graph, sampler: Node) -> Node | None:
    """Return the empty latents that a sampler begins with; None if it goes on from others, or from a picture."""
    for node in way(graph, sampler.inputs.get("latent_image"), LATENT_WAY):
        if node.kind in SAMPLERS:
            return None
        if {"width", "height"} <= node.inputs.keys() and "Empty" in node.kind:
            return node
    return None


def _take_size(found: ForeignSettings, graph: Graph, sampler: Node) -> None:
    node = _size_node(graph, sampler)
    if node is None:
        found.sentences.append("It did not begin with empty latents of a known size; set width and height.")
        return
    for name in ("width", "height"):
        found.take(name, value_of(graph, node.inputs[name]))


def _take_texts(found: ForeignSettings, graph: Graph, inputs: Mapping[str, Any]) -> None:
    positive = _text(graph, inputs.get("positive", inputs.get("conditioning")))
    if positive is None:
        found.unread.append("the prompt's nodes")
    else:
        found.take_loras(found.take_prompt(positive))
    negative = _text(graph, inputs.get("negative"))
    if negative:
        found.take_prompt(negative, "negative_prompt")


def _text(graph: Graph, link: Any) -> str | None:
    """Return the text that a conditioning comes from; empty where it is set to zero, None where none is found."""
    for node in way(graph, link, TEXT_WAY):
        if node.kind == ZERO:
            return ""
        for name in TEXT_INPUTS:
            text = value_of(graph, node.inputs.get(name))
            if isinstance(text, str):
                return text
    return None


def _take_guidance(found: ForeignSettings, graph: Graph, inputs: Mapping[str, Any]) -> None:
    if "cfg" in inputs:
        found.take_cfg(value_of(graph, inputs["cfg"]))
    elif "conditioning" in inputs:  # BasicGuider
        found.take("guidance_scale", 0)


def _take_model(found: ForeignSettings, graph: Graph, link: Any) -> None:
    """Take shift and LoRAs from the nodes between the sampler and the file; the shift nearest to the sampler counts."""
    loras: list[tuple[str, Any]] = []
    for node in way(graph, link, MODEL_WAY):
        if node.kind in SHIFTED:
            if "shift" not in found.values:
                found.take("shift", value_of(graph, node.inputs.get("shift")))
        elif isinstance(node.inputs.get("lora_name"), str | Link):
            loras.append(
                (str(value_of(graph, node.inputs["lora_name"])), value_of(graph, node.inputs.get("strength_model", 1)))
            )
        elif several := list(_lora_rows(node.inputs.values())):
            loras += several
        elif node.kind in LOADERS:
            found.model = str(value_of(graph, node.inputs.get(LOADERS[node.kind])))
        else:
            found.unread.append(f"the node {node.kind}")
    found.take_loras(loras[::-1])


def _lora_rows(values: Iterable[Any]) -> Iterable[tuple[str, Any]]:
    """Yield the LoRAs of a node that holds a row for each: `{"on": true, "lora": NAME, "strength": 1}`."""
    for value in values:
        if isinstance(value, Mapping) and isinstance(value.get("lora"), str) and value.get("on", True):
            yield value["lora"], value.get("strength", 1)
