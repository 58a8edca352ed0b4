"""ComfyUI's graph in the form of its editor: widgets in order, links by number, subgraphs instead of their instances.

A node keeps the values of its widgets in a list whose order only the node knows, so the common nodes' orders stand
here. A subgraph is a node whose type is a definition's identifier. Inside, links from -10 are the instance's inputs,
and links to -20 its outputs, by slot; the values of promoted widgets stand at the instance.

Source: ComfyUI `nodes.py`, `comfy_extras/nodes_custom_sampler.py`, `nodes_model_advanced.py`, `nodes_lumina2.py`;
ComfyUI_frontend, workflow JSON 1.0 with `definitions.subgraphs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from llm_dit.other_tools.comfy_graph import Graph, Link, Node, check_count
from llm_dit.other_tools.foreign_settings import UnreadableSettings

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
INPUT, OUTPUT = "-10", "-20"
"""Identifiers of a subgraph's own inputs and outputs."""
MAX_DEPTH = 8
"""Of subgraphs in subgraphs."""


class Wire(NamedTuple):
    """A link: the output of a node that it comes from, and the input that it goes to."""

    origin: str
    origin_slot: int
    target: str
    target_slot: int


def graph_from_editor(content: Mapping[str, Any]) -> Graph:
    """Read the editor's form.

    Raises:
        UnreadableSettings: If it has no nodes, too many, or subgraphs in subgraphs without end.
    """
    if not isinstance(content.get("nodes"), list):
        raise UnreadableSettings("its graph has no nodes")
    definitions = content.get("definitions")
    listed = definitions.get("subgraphs") if isinstance(definitions, Mapping) else None
    subgraphs = {
        str(each.get("id")): each
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, Mapping) and isinstance(each.get("nodes"), list)
    }
    nodes: dict[str, Node] = {}
    _Level(content, subgraphs, nodes, "", {}).read()
    return nodes


class _Level:
    """The nodes of one graph or of one instance of a subgraph.

    Args:
        content: Its `nodes` and `links`.
        subgraphs: All definitions.
        nodes: Where the nodes go, with `prefix` before their identifiers.
        prefix: The instances that this one is in.
        given: What its inputs get, by slot.
    """

    def __init__(
        self,
        content: Mapping[str, Any],
        subgraphs: Mapping[str, Mapping[str, Any]],
        nodes: dict[str, Node],
        prefix: str,
        given: Mapping[int, Any],
    ) -> None:
        self.subgraphs, self.nodes, self.prefix, self.given = subgraphs, nodes, prefix, given
        check_count(content["nodes"])
        self.listed = {str(node.get("id")): node for node in content["nodes"] if isinstance(node, Mapping)}
        links = content.get("links")
        self.wires = dict(_wires(links if isinstance(links, list) else []))
        self.outputs: dict[str, dict[int, Any]] = {}

    def read(self) -> dict[int, Any]:
        """Read all nodes; return what the outputs of this instance lead back to, by slot."""
        for name, node in self.listed.items():
            if node.get("mode") == MUTED:
                continue
            if self._is_instance(node):
                self._instance(name)
                continue
            inputs = _widgets(node)
            for entry in _entries(node):
                value = self._value(entry.get("link"))
                if value is not None:
                    inputs[str(entry.get("name"))] = value
            self.nodes[self.prefix + name] = Node(str(node.get("type", "")), inputs, node.get("mode") == BYPASSED)
            check_count(self.nodes)
        return {wire.target_slot: self._origin(wire) for wire in self.wires.values() if wire.target == OUTPUT}

    def _is_instance(self, node: Mapping[str, Any]) -> bool:
        return str(node.get("type")) in self.subgraphs and node.get("mode") != BYPASSED

    def _value(self, link: Any) -> Any:
        wire = self.wires.get(str(link))
        return None if wire is None else self._origin(wire)

    def _origin(self, wire: Wire) -> Any:
        if wire.origin == INPUT:
            return self.given.get(wire.origin_slot)
        node = self.listed.get(wire.origin)
        if node is not None and self._is_instance(node):
            return self._instance(wire.origin).get(wire.origin_slot)
        return Link(self.prefix + wire.origin)

    def _instance(self, name: str) -> Mapping[int, Any]:
        """Read an instance once, and return what its outputs lead back to; nothing within a circle."""
        if name in self.outputs:
            return self.outputs[name]
        if self.prefix.count(":") >= MAX_DEPTH:
            raise UnreadableSettings(f"its subgraphs are nested deeper than {MAX_DEPTH}")
        self.outputs[name] = {}
        self.nodes[self.prefix + name] = Node("", {})  # it counts, so that few definitions can't make many instances
        check_count(self.nodes)
        node, prefix = self.listed[name], f"{self.prefix}{name}:"
        values, proxies = _listed_values(node), _proxies(node)
        given: dict[int, Any] = {}
        promoted = iter(() if proxies else values)
        for slot, entry in enumerate(_entries(node)):
            own = next(promoted, None) if "widget" in entry else None
            linked = self._value(entry.get("link"))
            given[slot] = own if linked is None else linked
        inner = _Level(self.subgraphs[str(node["type"])], self.subgraphs, self.nodes, prefix, given)
        self.outputs[name] = inner.read()
        if len(proxies) == len(values):  # otherwise it is not known which is whose, and the subgraph's own values stand
            for (inside, widget), value in zip(proxies, values, strict=True):
                target = self.nodes.get(prefix + inside)
                if target is not None and not isinstance(target.inputs.get(widget), Link):
                    self.nodes[prefix + inside] = Node(target.kind, {**target.inputs, widget: value}, target.is_skipped)
        return self.outputs[name]


def _wires(links: list[Any]) -> Iterator[tuple[str, Wire]]:
    """Yield each link by its number; links are lists, or objects in newer files and in subgraphs."""
    for link in links:
        if isinstance(link, list) and len(link) >= 2:
            origin, origin_slot, target, target_slot = (*link[1:5], *[None] * 4)[:4]
            yield str(link[0]), Wire(str(origin), _slot(origin_slot), str(target), _slot(target_slot))
        elif isinstance(link, Mapping):
            slots = _slot(link.get("origin_slot")), _slot(link.get("target_slot"))
            ends = str(link.get("origin_id")), str(link.get("target_id"))
            yield str(link.get("id")), Wire(ends[0], slots[0], ends[1], slots[1])


def _slot(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _entries(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    inputs = node.get("inputs")
    return [entry for entry in inputs if isinstance(entry, Mapping)] if isinstance(inputs, list) else []


def _listed_values(node: Mapping[str, Any]) -> list[Any]:
    values = node.get("widgets_values")
    return values if isinstance(values, list) else []


def _proxies(node: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return node and widget inside of each promoted widget, as files of the first versions have them."""
    properties = node.get("properties")
    listed = properties.get("proxyWidgets") if isinstance(properties, Mapping) else None
    pairs = [pair for pair in (listed if isinstance(listed, list) else []) if isinstance(pair, list) and len(pair) >= 2]
    return [(str(pair[0]), str(pair[1])) for pair in pairs]


def _widgets(node: Mapping[str, Any]) -> dict[str, Any]:
    values = node.get("widgets_values")
    if isinstance(values, Mapping):
        return {str(name): value for name, value in values.items()}
    return dict(zip(WIDGETS.get(str(node.get("type")), ()), _listed_values(node), strict=False))
