"""From the texts of a picture to settings: which tool wrote it, asked from the most telling text on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from llm_dit.other_tools.comfyui import read_api_graph, read_editor_graph
from llm_dit.other_tools.foreign_settings import ForeignSettings, UnreadableSettings, json_object
from llm_dit.other_tools.info_text import read_info_text
from llm_dit.other_tools.metadata_objects import read_invoke, read_swarm

SWARM_KEY = "sui_image_params"


def foreign_settings(texts: Mapping[str, str]) -> ForeignSettings | None:
    """Return what a picture's texts say, each tried until one is read; None where there are none of a known tool.

    Args:
        texts: From `picture_texts`.

    Raises:
        UnreadableSettings: If there are such texts, and none can be read; says what is wrong with the first.
    """
    problem: UnreadableSettings | None = None
    for read in _readings(texts):
        try:
            found = read()
        except UnreadableSettings as error:
            problem = problem or error
        else:
            if found is not None and found.values:
                return found
    if problem is not None:
        raise problem
    return None


def _readings(texts: Mapping[str, str]) -> Iterator[Callable[[], ForeignSettings | None]]:
    if "invokeai_metadata" in texts:
        yield lambda: read_invoke(json_object(texts["invokeai_metadata"], "invokeai_metadata"))
    if texts.get("parameters", "").lstrip().startswith("{"):
        yield lambda: _read_object(json_object(texts["parameters"], "parameters"))
    if texts.get("prompt", "").lstrip().startswith("{"):
        yield lambda: read_api_graph(json_object(texts["prompt"], "graph"))
    if "workflow" in texts:
        yield lambda: read_editor_graph(json_object(texts["workflow"], "workflow"))
    if "parameters" in texts:
        yield lambda: read_info_text(texts["parameters"])


def _read_object(content: Mapping[str, Any]) -> ForeignSettings | None:
    """Read a JSON object in the place of a text: SwarmUI's, or both of ComfyUI's graphs as some nodes save them."""
    if isinstance(content.get(SWARM_KEY), dict):
        return read_swarm(content[SWARM_KEY])
    if isinstance(content.get("prompt"), dict):
        return read_api_graph(content["prompt"])
    if isinstance(content.get("workflow"), dict):
        return read_editor_graph(content["workflow"])
    return None
