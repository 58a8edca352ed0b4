"""The form of the Generate page and the schema of the API, both read from `llm_dit.parameters`.

What is added here is only for the eye: the presets of the size, and a slider's step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from llm_dit.parameters import GROUPS, PARAMETERS, GenerationParams, Parameter, Parameters, RewriterSettings, Section

SHAPES = (("1:1", 1, 1), ("4:3", 4, 3), ("3:4", 3, 4), ("16:9", 16, 9), ("9:16", 9, 16))
"""Width to height of the size presets; each has about the pixels of the model's native size."""


@dataclass(frozen=True)
class Control:
    """One control of a form.

    Attributes:
        parameter: What it sets.
        label: Short name above it.
        value: What it shows at first: the configuration's value.
        low: Left end of its slider; None for no slider.
        high: Right end of its slider.
        step: Step of slider and number field.
    """

    parameter: Parameter
    label: str
    value: Any
    low: float | None
    high: float | None
    step: float

    @property
    def name(self) -> str:
        """Field name of the parameter."""
        return self.parameter.name


def control(name: str, values: Mapping[str, Any]) -> Control:
    """Return the control of one parameter; `values` are the configuration's."""
    parameter = PARAMETERS[name]
    low, high = parameter.note.usual or (None, None)
    if parameter.group is RewriterSettings and parameter.kind == "number":
        low, high = parameter.minimum, parameter.maximum
    step = float(parameter.step or 1)
    if parameter.kind == "number":
        step = 0.05 if high is not None and high <= 2 else 0.1
    return Control(parameter, parameter.label, values.get(name, parameter.default), low, high, step)


def sections(values: Mapping[str, Any]) -> dict[str, list[Control]]:
    """Return the controls of the Generate form by their sections."""
    found: dict[str, list[Control]] = {section: [] for section in get_args(Section)}
    for parameter in PARAMETERS.values():
        if parameter.note.section is not None:
            found[parameter.note.section].append(control(parameter.name, values))
    return found


def label_of(name: str) -> str:
    """Return the short name of a parameter."""
    return PARAMETERS[name].label if name in PARAMETERS else name


def parameter_schema(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every parameter with kind, range, help and the configuration's value, without secrets."""
    return [_described(item, values) for item in PARAMETERS.values() if item.name != "api_key"]


def _described(item: Parameter, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": item.name,
        "group": item.group.__name__,
        "label": item.label,
        "kind": item.kind,
        "default": values.get(item.name, item.default),
        "required": item.required,
        "optional": item.optional,
        "choices": list(item.choices),
        "words": list(item.words),
        "minimum": item.minimum,
        "minimum_excluded": item.minimum_excluded,
        "maximum": item.maximum,
        "multiple_of": item.step,
        "usual": list(item.note.usual) if item.note.usual else None,
        "unit": item.note.unit,
        "changes_image": item.note.changes_image,
        "help": item.help,
    }


def json_schema(group: type[Parameters]) -> dict[str, Any]:
    """Return the JSON schema of a request body with the fields of `group`."""
    assert group in GROUPS
    properties = {item.name: _property(item) for item in PARAMETERS.values() if item.group is group}
    required = [name for name in properties if PARAMETERS[name].required]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _property(item: Parameter) -> dict[str, Any]:
    kinds = {"text": "string", "choice": "string", "switch": "boolean"}
    kind = kinds.get(item.kind, item.kind)
    kinds_of_value = [kind, *(["string"] if item.words else []), *(["null"] if item.optional else [])]
    schema: dict[str, Any] = {
        "type": kinds_of_value if len(kinds_of_value) > 1 else kind,
        "description": _described_name(item),
    }
    limits = {
        "exclusiveMinimum" if item.minimum_excluded else "minimum": item.minimum,
        "maximum": item.maximum,
        "multipleOf": item.step,
        "enum": list(item.choices) or None,
        "default": item.default,
    }
    return schema | {key: value for key, value in limits.items() if value is not None}


def _described_name(item: Parameter) -> str:
    return item.help + "".join(f" `{alias}` is read as well." for alias in item.note.aliases)


def allowed_in_schema(schema: Mapping[str, Any]) -> str:
    """Say in words what a property of a JSON schema may be."""
    kinds = schema.get("type", "anything")
    parts = [" or ".join([kinds] if isinstance(kinds, str) else kinds)]
    if "enum" in schema:
        parts = ["one of " + ", ".join(str(choice) for choice in schema["enum"])]
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "multipleOf": "in steps of"}
    parts += [f"{word} {schema[key]}" for key, word in words.items() if key in schema]
    if "default" in schema:
        parts.append(f"default {json.dumps(schema['default'])}")
    return ", ".join(parts)


GENERATE_EXAMPLE = {"prompt": "A red fox in fresh snow", "seed": 1, "num_inference_steps": 9}
GENERATE_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": json_schema(GenerationParams), "example": GENERATE_EXAMPLE}},
    }
}
"""`openapi_extra` of the routes that take generation parameters."""
