"""The base of the parameter groups: a frozen model that knows its parameters and complains in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails

from llm_dit.errors import InvalidParameter, nearest
from llm_dit.parameters.declaration import Parameter, parameter_from_field
from llm_dit.parameters.names import in_own_names, suggestion

COMPLAINTS_TOLD = 5


class Parameters(BaseModel):
    """Base of the parameter groups: frozen, strict about names, errors as `InvalidParameter`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Validate `values`.

        Args:
            values: Names of fields, short or whole, and values; strings are accepted for numbers.

        Raises:
            InvalidParameter: For what is unknown or out of range, all at once.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise _invalid_parameters(cls, error, cls.in_own_names(values)) from None

    def replaced(self, **changes: Any) -> Self:
        """Return a copy with `changes` applied and everything validated again."""
        return self.parse({**self.model_dump(), **self.in_own_names(changes)})

    @classmethod
    def parameter(cls, name: str) -> Parameter:
        """Return what the field `name` declares."""
        return parameter_from_field(cls, name, cls.model_fields[name])

    @classmethod
    def parameters(cls) -> list[Parameter]:
        """Return what all fields declare, in their order."""
        return [cls.parameter(name) for name in cls.model_fields]

    @classmethod
    def in_own_names(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return `values` with short names such as `steps` replaced by the fields' own.

        Raises:
            InvalidParameter: If a field is given under two names.
        """
        return in_own_names(values, _short_names(cls))

    @model_validator(mode="before")
    @classmethod
    def _take_short_names(cls, values: Any) -> Any:
        return cls.in_own_names(values) if isinstance(values, Mapping) else values


@cache
def _short_names(group: type[Parameters]) -> dict[str, str]:
    return {alias: item.name for item in group.parameters() for alias in item.note.aliases}


def _invalid_parameters(group: type[Parameters], error: ValidationError, values: Mapping[str, Any]) -> InvalidParameter:
    """Turn pydantic's complaints into a sentence each with value, range and next step; the first names the field."""
    complaints = error.errors(include_url=False, include_context=False)
    first, *rest = [_complaint(group, complaint, values) for complaint in complaints[:COMPLAINTS_TOLD]]
    untold = len(complaints) - COMPLAINTS_TOLD
    more = [f"{untold} more {'is' if untold == 1 else 'are'} wrong."] if untold > 0 else []
    return InvalidParameter(first[0], " ".join([first[1], *(" ".join(other) for other in rest), *more]))


def _complaint(group: type[Parameters], complaint: ErrorDetails, values: Mapping[str, Any]) -> tuple[str, str]:
    """Return the field's name and the rest of the sentence."""
    if not complaint["loc"]:
        name, _, problem = complaint["msg"].partition(": ")
        return name, problem + "."
    name, kind = str(complaint["loc"][0]), complaint["type"]
    if kind == "extra_forbidden":
        return name, f"is not a parameter{suggestion(name, group.parameters(), _known())}"
    if kind == "missing":
        return name, "is missing; it has no default."
    return name, _complaint_of_value(group.parameter(name), complaint, values.get(name))


def _complaint_of_value(parameter: Parameter, complaint: ErrorDetails, value: Any) -> str:
    kind = complaint["type"]
    if kind == "text":
        return f"{complaint['msg']}."
    shown = str(value) if parameter.kind in ("integer", "number") else repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    if kind in ("device", "size", "number"):
        return f"{shown} {complaint['msg']}."
    if kind.startswith("bool"):
        return f"{shown} is not a switch; use true or false."
    if parameter.allowed:
        hint = nearest(str(value), parameter.choices) if parameter.choices else ""
        hint = hint if "did you mean" in hint else "."
        return f"{shown} is not allowed; use {_article(parameter)}{parameter.allowed}{hint}"
    return f"{shown} is not allowed; use {parameter.kind}."


def _known() -> list[Parameter]:
    return [item for group in Parameters.__subclasses__() for item in group.parameters()]


def _article(parameter: Parameter) -> str:
    return {"integer": "a whole number ", "number": "a number "}.get(parameter.kind, "")
