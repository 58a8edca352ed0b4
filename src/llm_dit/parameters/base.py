"""The base of the parameter groups: a frozen model that knows its parameters and complains in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from llm_dit.errors import InvalidParameter, nearest
from llm_dit.parameters.declaration import Parameter, parameter_from_field


class Parameters(BaseModel):
    """Base of the parameter groups: frozen, strict about names, errors as `InvalidParameter`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Validate `values`.

        Args:
            values: Field names and values; strings are accepted for numbers.

        Raises:
            InvalidParameter: For the first field that is unknown or out of range.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise _invalid_parameter(cls, error, values) from None

    def replaced(self, **changes: Any) -> Self:
        """Return a copy with `changes` applied and everything validated again."""
        return self.parse({**self.model_dump(), **changes})

    @classmethod
    def parameter(cls, name: str) -> Parameter:
        """Return what the field `name` declares."""
        return parameter_from_field(cls, name, cls.model_fields[name])


def _invalid_parameter(group: type[Parameters], error: ValidationError, values: Mapping[str, Any]) -> InvalidParameter:
    """Turn pydantic's first complaint into one sentence with value, range and next step."""
    first = error.errors(include_url=False, include_context=False)[0]
    if not first["loc"]:
        name, _, problem = first["msg"].partition(": ")
        return InvalidParameter(name, problem + ".")
    name = str(first["loc"][0])
    kind = first["type"]
    if kind == "extra_forbidden":
        return InvalidParameter(name, f"is not a parameter{nearest(name, group.model_fields)}")
    if kind == "missing":
        return InvalidParameter(name, "is missing; it has no default.")
    value = values.get(name)
    if kind == "text":
        return InvalidParameter(name, f"{first['msg']}.")
    parameter = group.parameter(name)
    shown = str(value) if parameter.kind in ("integer", "number") else repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    if kind in ("device", "size", "number"):
        return InvalidParameter(name, f"{shown} {first['msg']}.")
    if kind.startswith("bool"):
        return InvalidParameter(name, f"{shown} is not a switch; use true or false.")
    if parameter.allowed:
        hint = nearest(str(value), parameter.choices) if parameter.choices else ""
        hint = hint if "did you mean" in hint else "."
        return InvalidParameter(name, f"{shown} is not allowed; use {_article(parameter)}{parameter.allowed}{hint}")
    return InvalidParameter(name, f"{shown} is not allowed; use {parameter.kind}.")


def _article(parameter: Parameter) -> str:
    return {"integer": "a whole number ", "number": "a number "}.get(parameter.kind, "")
