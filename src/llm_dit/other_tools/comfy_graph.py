"""ComfyUI's graph in either form as nodes with named inputs: that of its API, and that of the editor.

An editor's node keeps the values of its widgets in a list whose order only the node knows, so the common nodes' orders
stand here. Whoever walks the graph is bounded: it may hold circles.

Source: ComfyUI `nodes.py`, `comfy_extras/nodes_custom_sampler.py`, `nodes_model_advanced.py`, `nodes_lumina2.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llm_dit.other_tools.foreign_settings import UnreadableSettings

MAX_NODES = 20_000
MAX_STEPS = 200
"""Nodes passed on one way through a graph."""
BYPASSED = 4
MUTED = 2
CONTROL = "control_after_generate"
WIDGETS: Mapping[str, tuple[str, ...]] = {
    "KSampler": ("seed", CONTROL, "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": ("add_noise", "noise_seed", CONTROL, "steps", "cfg", "sampler_name", "scheduler"),
    "SamplerCustom": ("add_noise", "noise_seed", CONTROL, "cfg"),
    "RandomNoise": ("noise_seed", CONTROL),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "CFGGuider": ("cfg",),
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeLumina2": ("system_prompt", "user_prompt"),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "ModelSamplingAuraFlow": ("shift",),
    "ModelSamplingSD3": ("shift",),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "UnetLoaderGGUF": ("unet_name",),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "PrimitiveNode": ("value",),
    "PrimitiveInt": ("value",),
    "PrimitiveFloat": ("value",),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
}
"""Type of a node to the names of its widgets, in their order."""
VALUES = ("value", "text", "string", "prompt", "seed", "noise_seed", "int", "float", "number")
"""Inputs of a node that only hands on a value."""


@dataclass(frozen=True)
class Node:
    """One node.

    Attributes:
        kind: Its type.
        inputs: Name to value; a link to another node is a `Link`.
        is_skipped: It hands its inputs on unchanged.
    """

    kind: str
    inputs: Mapping[str, Any]
    is_skipped: bool = False


@dataclass(frozen=True)
class Link:
    """A link to an output of a node, which is known by its identifier."""

    node: str


Graph = Mapping[str, Node]


def graph_from_api(content: Mapping[str, Any]) -> Graph:
    """Read the API's form: identifier to `class_type` and `inputs`.

    Raises:
        UnreadableSettings: If it has no nodes, or too many.
    """
    _check_count(content)
    nodes = {}
    for name, node in content.items():
        if isinstance(node, Mapping) and isinstance(node.get("inputs"), Mapping):
            inputs = {str(key): _linked(value) for key, value in node["inputs"].items()}
            nodes[str(name)] = Node(str(node.get("class_type", "")), inputs)
    if not nodes:
        raise UnreadableSettings("its graph has no nodes")
    return nodes


def _linked(value: Any) -> Any:
    is_link = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int)
    return Link(str(value[0])) if is_link else value


def graph_from_editor(content: Mapping[str, Any]) -> Graph:
    """Read the editor's form: `nodes` with widgets in order, and `links` between them.

    Raises:
        UnreadableSettings: If it has no nodes, or too many.
    """
    listed, links = content.get("nodes"), content.get("links")
    if not isinstance(listed, list):
        raise UnreadableSettings("its graph has no nodes")
    _check_count(listed)
    origins = dict(_origins(links if isinstance(links, list) else []))
    nodes = {}
    for node in listed:
        if isinstance(node, Mapping) and node.get("mode") != MUTED:
            kind, inputs = str(node.get("type", "")), _widgets(node)
            for entry in node["inputs"] if isinstance(node.get("inputs"), list) else []:
                if isinstance(entry, Mapping) and str(entry.get("link")) in origins:
                    inputs[str(entry.get("name"))] = Link(origins[str(entry["link"])])
            nodes[str(node.get("id"))] = Node(kind, inputs, node.get("mode") == BYPASSED)
    return nodes


def _origins(links: list[Any]) -> Iterator[tuple[str, str]]:
    """Yield each link and the node that it comes from; links are lists, or objects in newer files."""
    for link in links:
        if isinstance(link, list) and len(link) >= 2:
            yield str(link[0]), str(link[1])
        elif isinstance(link, Mapping):
            yield str(link.get("id")), str(link.get("origin_id"))


def _widgets(node: Mapping[str, Any]) -> dict[str, Any]:
    values = node.get("widgets_values")
    if isinstance(values, Mapping):
        return {str(name): value for name, value in values.items()}
    names = WIDGETS.get(str(node.get("type")), ())
    return dict(zip(names, values, strict=False)) if isinstance(values, list) else {}


def _check_count(nodes: Mapping[str, Any] | list[Any]) -> None:
    if len(nodes) > MAX_NODES:
        raise UnreadableSettings(f"its graph has {len(nodes):,} nodes, and at most {MAX_NODES:,} are read")


def value_of(graph: Graph, value: Any) -> Any:
    """Return a value, through nodes that only hand one on; None where a way ends, or goes in a circle."""
    for _ in range(MAX_STEPS):
        if not isinstance(value, Link):
            return value
        node = graph.get(value.node)
        if node is None:
            return None
        inputs = node.inputs
        if node.kind == "Reroute" or node.is_skipped:
            value = next(iter(inputs.values()), None)
        else:
            value = next((inputs[name] for name in VALUES if name in inputs), None)
    return None


def way(graph: Graph, value: Any, names: tuple[str, ...]) -> Iterator[Node]:
    """Yield the nodes from a link on, each by the first of its inputs `names` that is a link, the nearest first."""
    seen: set[str] = set()
    while isinstance(value, Link) and value.node not in seen and len(seen) < MAX_STEPS:
        seen.add(value.node)
        node = graph.get(value.node)
        if node is None:
            return
        if not node.is_skipped and node.kind != "Reroute":
            yield node
        linked = [node.inputs[name] for name in names if isinstance(node.inputs.get(name), Link)]
        others = [each for each in node.inputs.values() if isinstance(each, Link)] if node.kind == "Reroute" else []
        value = next(iter([*linked, *others]), None)
