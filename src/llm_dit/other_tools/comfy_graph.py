"""ComfyUI's graph as nodes with named inputs, read from the form of its API.

Whoever walks it is bounded: it may hold circles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llm_dit.other_tools.foreign_settings import UnreadableSettings

MAX_NODES = 20_000
MAX_STEPS = 200
"""Nodes passed on one way through a graph."""
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
    check_count(content)
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


def check_count(nodes: Mapping[str, Any] | list[Any]) -> None:
    """Raise `UnreadableSettings` where a graph has too many nodes."""
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
