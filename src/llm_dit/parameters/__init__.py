"""Every parameter once: declared in `generation.py` (an image) and `settings.py` (the rest), read by all surfaces.

The configuration file, the command line, the web form, the HTTP API, the axes of an experiment, the metadata beside an
image and the reference page are all made from them. Not here: any surface, any model code.
"""

from __future__ import annotations

from llm_dit.parameters.base import Parameters
from llm_dit.parameters.declaration import ALWAYS_TOLD, FieldNote, Parameter, Section
from llm_dit.parameters.generation import GenerationParams
from llm_dit.parameters.settings import (
    ClusterSettings,
    EngineSettings,
    MetricSettings,
    RewriterSettings,
    ServerSettings,
)
from llm_dit.parameters.values import (
    MAX_SEED,
    AttentionBackend,
    CompileMode,
    GraphMode,
    LongPromptMode,
    Quantization,
)

__all__ = [
    "ALWAYS_TOLD",
    "GROUPS",
    "MAX_SEED",
    "PARAMETERS",
    "SHORT_NAMES",
    "AttentionBackend",
    "ClusterSettings",
    "CompileMode",
    "EngineSettings",
    "FieldNote",
    "GenerationParams",
    "GraphMode",
    "LongPromptMode",
    "MetricSettings",
    "Parameter",
    "Parameters",
    "Quantization",
    "RewriterSettings",
    "Section",
    "ServerSettings",
]

GROUPS: tuple[type[Parameters], ...] = (
    EngineSettings,
    GenerationParams,
    RewriterSettings,
    MetricSettings,
    ClusterSettings,
    ServerSettings,
)

PARAMETERS: dict[str, Parameter] = {name: group.parameter(name) for group in GROUPS for name in group.model_fields}
"""Every parameter by name, in the order of the reference page."""

SHORT_NAMES: dict[str, str] = {alias: item.name for item in PARAMETERS.values() for alias in item.note.aliases}
"""Short names that mean a parameter wherever its own name is read."""
