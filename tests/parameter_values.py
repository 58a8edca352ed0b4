"""A valid value of any parameter that is not its default, read from what the parameter declares."""

from typing import Any

from llm_dit.parameters import Parameter


def other_value(parameter: Parameter) -> Any:
    """Return a valid value beside the default, the same at each call."""
    if parameter.kind == "choice":
        return next(choice for choice in reversed(parameter.choices) if choice != parameter.default)
    if parameter.kind == "switch":
        return not parameter.default
    if parameter.kind == "text":
        return "-3:0.5" if parameter.name == "hidden_layer_blend" else "cpu"  # a device, a name, a folder, a prompt
    step = parameter.step or (1 if parameter.kind == "integer" else 0.5)
    low, high = parameter.minimum, parameter.maximum
    start = parameter.default if parameter.default is not None else low
    return start + step if high is None or start + step <= high else start - step
