"""What a field declares beyond its type, and the same read back as one `Parameter` for every surface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin

from pydantic import AfterValidator, Field
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from llm_dit.parameters.values import SIZE_STEP, size_in_steps

Section = Literal["Prompt", "Size", "Sampling", "Chat template", "Guidance", "Text encoder"]
"""Sections of the page's form, in their order; a field stands in its section in the order of its declaration."""


ALWAYS_TOLD: Any = object()
"""Says that a parameter is part of an image's identity at every value."""


@dataclass(frozen=True, kw_only=True)
class FieldNote:
    """What a field says beyond its name, type, default, range and help.

    Attributes:
        table: Table of the profile in the configuration file; empty for the profile itself.
        changes_image: True if the parameter is part of an image's identity.
        key: Key in that table; the field's name if empty.
        section: Section of the page's form; None for what is no knob of one image.
        label: Short name in forms; made from the field's name if empty.
        unit: Unit of the value, where it has one.
        usual: Range that a slider offers; the allowed range may be wider.
        aliases: Short names that mean the same wherever the field's name is read, as `steps`.
        elsewhere: What other tools call it, for suggestions only; names with blanks between them.
        elsewhere_offset: Other tools' value less ours: 1 where their scale 1 is our 0.
        in_text: Name in the line that images carry for other tools; empty to leave it out there.
        acts_later: True if the first evaluation of the transformer does not depend on it.
        unset: What is taken where the value is None, for forms and help; empty where None is a value of its own.
        several: True for a text of parts between commas, which may also be given as a list or by several flags.
        in_file: False for what belongs to one image only, such as the prompt.
        neutral: Value at which an image is what it was before there was this parameter; an identity leaves it out
            there, so that results made earlier stay known. Never changed afterwards, whatever becomes of the default.
    """

    table: str
    changes_image: bool
    key: str = ""
    section: Section | None = None
    label: str = ""
    unit: str = ""
    usual: tuple[float, float] | None = None
    aliases: tuple[str, ...] = ()
    elsewhere: str = ""
    elsewhere_offset: int = 0
    in_text: str = ""
    acts_later: bool = False
    unset: str = ""
    several: bool = False
    in_file: bool = True
    neutral: Any = ALWAYS_TOLD

    def __call__(self, schema: JsonDict) -> None:
        """Tell a JSON schema what it can not know from the type."""
        schema["x-changes-image"] = self.changes_image
        if self.unit:
            schema["x-unit"] = self.unit
        if self.usual:
            schema["x-usual-range"] = list(self.usual)


def parameter(default: Any, help_text: str, note: FieldNote, **limits: Any) -> Any:
    """Declare a field: its default, help of one sentence or two, note, and limits `ge`, `gt`, `le`."""
    return Field(default, description=help_text, json_schema_extra=note, **limits)


def generation(section: Section, *, table: str = "generation", **extra: Any) -> FieldNote:
    """Return the note of a knob of one image."""
    return FieldNote(table=table, changes_image=True, section=section, **extra)


def runtime(table: str, *, changes_image: bool = False, **extra: Any) -> FieldNote:
    """Return the note of a setting, which leaves images as they are unless `changes_image` says otherwise."""
    return FieldNote(table=table, changes_image=changes_image, **extra)


class Group(Protocol):
    """A group of parameters, as far as its declarations know it; `base.Parameters` is what groups are made of."""

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Any:
        """Validate values by the names of their fields."""


@dataclass(frozen=True)
class Parameter:
    """One parameter, as every surface reads it.

    Attributes:
        name: Field name in Python, HTTP and metadata.
        group: The model that holds it.
        kind: `text`, `integer`, `number`, `switch` or `choice`.
        default: Built-in default; None also for the required prompt.
        words: Values of an `integer` that are no numbers.
        choices: Allowed values of a `choice`.
        minimum: Smallest value, excluded where `minimum_excluded`.
        maximum: Largest value.
        step: Values are multiples of it.
        optional: True if None is a value.
        required: True if there is no default.
        help: One sentence or two.
        note: Whatever else the field says: place in the file, section, unit, identity, other names.
    """

    name: str
    group: type[Group]
    kind: Literal["text", "integer", "number", "switch", "choice"]
    default: Any
    words: tuple[str, ...]
    choices: tuple[str, ...]
    minimum: float | None
    minimum_excluded: bool
    maximum: float | None
    step: int | None
    optional: bool
    required: bool
    help: str
    note: FieldNote

    @property
    def flag(self) -> str:
        """Long form on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def flags(self) -> tuple[str, ...]:
        """Every form on the command line, the long one last."""
        return (*("--" + alias.replace("_", "-") for alias in self.note.aliases), self.flag)

    @property
    def key(self) -> str:
        """Key in its table of the configuration file."""
        return self.note.key or self.name

    @property
    def label(self) -> str:
        """Short name in forms."""
        return self.note.label or self.name.replace("_", " ").capitalize()

    @property
    def allowed(self) -> str:
        """The allowed values as a sentence part; empty where anything goes."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        unit = f" {self.note.unit}" if self.note.unit else ""
        if self.minimum is None or self.maximum is None:
            return ""
        low, high = f"{self.minimum:g}", f"{self.maximum:g}" if self.maximum < 1e6 else f"{self.maximum:.0f}"
        numbers = f"above {low} up to {high}{unit}" if self.minimum_excluded else f"{low} to {high}{unit}"
        return ", or ".join([numbers, *self.words])


def _unwrap(annotation: Any, metadata: list[Any]) -> tuple[Any, list[Any], bool, tuple[str, ...]]:
    """Take `Optional` and `Annotated` off a type, and the words that may stand in place of a number; collect limits."""
    optional, words = False, ()
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            inner, *extra = get_args(annotation)
            for item in extra:
                metadata = metadata + (item.metadata if isinstance(item, FieldInfo) else [item])
            annotation = inner
        elif origin is Union or type(annotation).__name__ == "UnionType":
            parts = [part for part in get_args(annotation) if part is not type(None)]
            optional = optional or len(parts) < len(get_args(annotation))
            annotation, *others = parts
            words = tuple(word for other in others for word in get_args(_unwrap(other, [])[0]))
        else:
            return annotation, metadata, optional, words


def parameter_from_field(group: type[Group], name: str, field: FieldInfo) -> Parameter:
    """Read back what `parameter` and the type annotation of a field say."""
    annotation, metadata, optional, words = _unwrap(field.annotation, list(field.metadata))
    limits = {key: getattr(item, key) for item in metadata for key in ("ge", "gt", "le") if hasattr(item, key)}
    choices = tuple(get_args(annotation)) if get_origin(annotation) is Literal else ()
    kinds: dict[Any, Literal["text", "integer", "number", "switch"]] = {
        str: "text",
        int: "integer",
        float: "number",
        bool: "switch",
    }
    note = field.json_schema_extra
    assert isinstance(note, FieldNote)
    assert field.description is not None
    is_size = any(isinstance(item, AfterValidator) and item.func is size_in_steps for item in metadata)
    return Parameter(
        name=name,
        group=group,
        kind="choice" if choices else kinds[annotation],
        default=None if field.is_required() else field.default,
        words=words,
        choices=choices,
        minimum=limits.get("ge", limits.get("gt")),
        minimum_excluded="gt" in limits,
        maximum=limits.get("le"),
        step=SIZE_STEP if is_size else None,
        optional=optional,
        required=field.is_required(),
        help=field.description,
        note=note,
    )
