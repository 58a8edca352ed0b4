"""Every parameter once: name, type, default, range, unit, help, place in the file, and whether it changes the image.

The configuration file, the command line, the web form, the HTTP API, the axes of an experiment, the metadata beside an
image and the reference page are all read from the models in this module. It knows no surface and imports no model code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from llm_dit.errors import InvalidParameter, nearest

MAX_PROMPT_CHARACTERS = 100_000
SIZE_STEP = 16
"""Height and width come in units of the VAE's factor 8 times the transformer's patch of 2, in pixels."""
ROPE_TABLE_TOKENS = 1504
"""Longest caption whose image index lies in the published RoPE table; docs/research/long_prompts.md derives it."""
MAX_SEED = 2**53 - 1
"""Largest integer that JSON readers of every language keep exactly."""

LongPromptMode = Literal["truncate", "interpolate", "pool", "attention_pool"]
DType = Literal["auto", "bfloat16", "float16", "float32"]
AttentionBackend = Literal["auto", "sdpa", "cudnn", "flash", "sage"]
Quantization = Literal["none", "float8", "int8"]
CompileMode = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class FieldNote:
    """What a field says beyond its type, default, range and help.

    Attributes:
        table: Table of the profile in the configuration file; empty for the profile itself.
        key: Key in that table.
        changes_image: True if the parameter is part of an image's identity.
        unit: Unit of the value, where it has one.
        usual: Range that a slider offers; the allowed range may be wider.
        flags: Short forms on the command line, beside `--field-name`.
        in_file: False for what belongs to one image only, such as the prompt.
    """

    table: str
    key: str
    changes_image: bool
    unit: str = ""
    usual: tuple[float, float] | None = None
    flags: tuple[str, ...] = ()
    in_file: bool = True

    def __call__(self, schema: JsonDict) -> None:
        """Tell a JSON schema what it can not know from the type."""
        schema["x-changes-image"] = self.changes_image
        if self.unit:
            schema["x-unit"] = self.unit
        if self.usual:
            schema["x-usual-range"] = list(self.usual)


def _valid_device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        raise PydanticCustomError("device", "is not a device; use auto, cpu, cuda, cuda:N or mps")
    return value


def _size_in_steps(value: int | None) -> int | None:
    if value is not None and value % SIZE_STEP:
        lower = value // SIZE_STEP * SIZE_STEP
        raise PydanticCustomError(
            "size", f"is not a multiple of {SIZE_STEP}; use {max(lower, SIZE_STEP)} or {lower + SIZE_STEP}"
        )
    return value


def _number_not_switch(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("number", "is a switch, not a number")
    return value


def _readable_text(value: str) -> str:
    if len(value) > MAX_PROMPT_CHARACTERS:
        raise PydanticCustomError(
            "text", f"has {len(value):,} characters, and at most {MAX_PROMPT_CHARACTERS:,} are read; shorten it"
        )
    if "\x00" in value:
        raise PydanticCustomError("text", "contains a NUL character; remove it")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise PydanticCustomError("text", "contains lone surrogates, which are not valid Unicode; remove them")
    return value


Device = Annotated[str, AfterValidator(_valid_device)]
Text = Annotated[str, AfterValidator(_readable_text)]
Whole = Annotated[int, BeforeValidator(_number_not_switch)]
Number = Annotated[float, BeforeValidator(_number_not_switch), Field(allow_inf_nan=False)]
Size = Annotated[int, BeforeValidator(_number_not_switch), AfterValidator(_size_in_steps), Field(ge=64, le=4096)]


def _parameter(default: Any, help_text: str, note: FieldNote, **limits: Any) -> Any:
    return Field(default, description=help_text, json_schema_extra=note, **limits)


def _generation(key: str, **extra: Any) -> FieldNote:
    return FieldNote("generation", key, changes_image=True, **extra)


def _runtime(table: str, key: str, *, changes_image: bool = False, **extra: Any) -> FieldNote:
    return FieldNote(table, key, changes_image=changes_image, **extra)


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


class GenerationParams(Parameters):
    """Every knob that changes an image, apart from the model and its numerics."""

    prompt: Text = _parameter(..., "What the image shows.", _generation("prompt", in_file=False))
    negative_prompt: Text = _parameter(
        "", "What guidance leads away from; used where guidance_scale > 0.", _generation("negative_prompt")
    )
    system_prompt: Text | None = _parameter(
        None, "System message in front of the prompt; none by default.", _generation("system_prompt")
    )
    thinking_content: Text | None = _parameter(
        None,
        "Text of a think block after the prompt; empty text makes an empty block, none makes no block.",
        _generation("thinking_content"),
    )
    force_think_block: bool = _parameter(
        False, "Append an empty think block where thinking_content is none.", _generation("force_think_block")
    )
    assistant_content: Text | None = _parameter(
        None, "Beginning of the assistant's answer, closed with <|im_end|>.", _generation("assistant_content")
    )
    width: Size | None = _parameter(
        None, "Width of the image; the model's native size by default.", _generation("width", unit="pixels")
    )
    height: Size | None = _parameter(
        None, "Height of the image; the model's native size by default.", _generation("height", unit="pixels")
    )
    num_inference_steps: Whole = _parameter(
        9,
        "Euler steps, each one evaluation of the transformer (two with guidance).",
        _generation("num_inference_steps", unit="steps", usual=(1, 50), flags=("--steps",)),
        ge=1,
        le=1000,
    )
    shift: Number = _parameter(
        3.0,
        "Static factor that moves the noise schedule towards high noise; 1 leaves it linear.",
        FieldNote("scheduler", "shift", changes_image=True, usual=(0.5, 10)),
        gt=0,
        le=100,
    )
    guidance_scale: Number = _parameter(
        0.0,
        "Strength s of guidance pos + s * (pos - neg); 0 switches it off.",
        _generation("guidance_scale", usual=(0, 10)),
        ge=0,
        le=100,
    )
    cfg_normalization: Number = _parameter(
        0.0,
        "Largest norm of the guided prediction relative to the positive one; 0 switches it off.",
        _generation("cfg_normalization", usual=(0, 2)),
        ge=0,
        le=100,
    )
    cfg_truncation: Number = _parameter(
        1.0,
        "Model time (1 - sigma) after which guidance stops; 1 keeps it to the end.",
        _generation("cfg_truncation", usual=(0, 1)),
        ge=0,
        le=1,
    )
    seed: Whole | None = _parameter(
        None,
        "Seed of the noise; the same image on every device. Drawn and recorded if none is given.",
        _generation("seed"),
        ge=0,
        le=MAX_SEED,
    )
    hidden_layer: Whole = _parameter(
        -2,
        "Hidden state of the text encoder that conditions the image: -1 the last, -2 the one before (reference).",
        FieldNote("encoder", "hidden_layer", changes_image=True, usual=(-6, -1)),
        ge=-1000,
        le=-1,
    )
    long_prompt_mode: LongPromptMode = _parameter(
        "truncate",
        "How embeddings beyond max_text_tokens are brought down to it.",
        FieldNote("pytorch", "long_prompt_mode", changes_image=True),
    )
    max_text_tokens: Whole = _parameter(
        1024,
        f"Most text tokens the transformer sees; up to {ROPE_TABLE_TOKENS}, beyond it extend_rope is needed.",
        FieldNote("pytorch", "max_text_tokens", changes_image=True, unit="tokens", usual=(32, ROPE_TABLE_TOKENS)),
        ge=1,
        le=16384,
    )
    extend_rope: bool = _parameter(
        False,
        "Compute rotary positions beyond the published table (experimental).",
        FieldNote("pytorch", "extend_rope", changes_image=True),
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if not self.prompt.strip():
            raise PydanticCustomError("together", "prompt: is empty; say what the image shows")
        if self.max_text_tokens > ROPE_TABLE_TOKENS and not self.extend_rope:
            raise PydanticCustomError(
                "together",
                f"max_text_tokens: {self.max_text_tokens} is above {ROPE_TABLE_TOKENS}, the longest caption that fits "
                "the published position table; lower it or set extend_rope (experimental)",
            )
        return self


class EngineSettings(Parameters):
    """Which model runs, where, and with which numerics."""

    model_path: str = _parameter(
        "mini",
        "Model: 'mini' (embedded), a folder, or a hub id such as Tongyi-MAI/Z-Image-Turbo.",
        FieldNote("", "model_path", changes_image=True),
        min_length=1,
    )
    text_encoder_device: Device = _parameter(
        "auto", "Device of the text encoder: auto, cpu, cuda, cuda:N, mps.", _runtime("encoder", "device")
    )
    text_encoder_dtype: DType = _parameter(
        "auto",
        "Number format of the text encoder; auto is bfloat16 on cuda and mps, float32 on cpu.",
        _runtime("encoder", "dtype", changes_image=True),
    )
    text_encoder_quantization: Quantization = _parameter(
        "none", "Weight quantization of the text encoder.", _runtime("encoder", "quantization", changes_image=True)
    )
    dit_device: Device = _parameter(
        "auto",
        "Device of the transformer, and of the VAE unless vae_device says otherwise.",
        _runtime("pipeline", "device"),
    )
    vae_device: Device | None = _parameter(
        None, "Device of the VAE; the transformer's by default.", _runtime("pipeline", "vae_device")
    )
    dtype: DType = _parameter(
        "auto",
        "Number format of transformer and VAE; auto is bfloat16 on cuda and mps, float32 on cpu.",
        _runtime("pipeline", "dtype", changes_image=True),
    )
    offload: bool = _parameter(False, "Keep only the stage in use on the accelerator.", _runtime("pipeline", "offload"))
    quantization: Quantization = _parameter(
        "none", "Quantization of the transformer.", _runtime("pipeline", "quantization", changes_image=True)
    )
    vae_tiling: bool = _parameter(
        False,
        "Decode in bands of rows, which needs less memory for large images.",
        _runtime("pipeline", "vae_tiling", changes_image=True),
    )
    compile: CompileMode = _parameter(
        "auto",
        "Compile the transformer with torch.compile; auto does where the planned work pays for it.",
        _runtime("pytorch", "compile", changes_image=True),
    )
    attention_backend: AttentionBackend = _parameter(
        "auto", "Attention kernel.", _runtime("pytorch", "attention_backend", changes_image=True)
    )


class RewriterSettings(Parameters):
    """How the text encoder's language model samples when it rewrites a prompt."""

    temperature: Number = _parameter(
        0.7, "Sampling temperature; 0 takes the likeliest token.", _runtime("rewriter", "temperature"), ge=0, le=2
    )
    top_p: Number = _parameter(
        0.9, "Smallest set of tokens with this much probability is kept.", _runtime("rewriter", "top_p"), gt=0, le=1
    )
    top_k: Whole = _parameter(
        20, "Number of likeliest tokens kept; 0 keeps all.", _runtime("rewriter", "top_k"), ge=0, le=1_000_000
    )
    min_p: Number = _parameter(
        0.0, "Least probability relative to the likeliest token.", _runtime("rewriter", "min_p"), ge=0, le=1
    )
    max_tokens: Whole = _parameter(
        512, "Most tokens of a rewrite.", _runtime("rewriter", "max_tokens", unit="tokens"), ge=1, le=32768
    )


class MetricSettings(Parameters):
    """Which scorers judge the images."""

    image_reward: str = _parameter(
        "auto",
        "ImageReward model: auto (image-reward-mini for mini, else zai-org/ImageReward), a folder or a hub id.",
        _runtime("metrics", "image_reward"),
        min_length=1,
    )
    siglip: str = _parameter(
        "auto",
        "SigLIP model: auto (siglip-mini for mini, else google/siglip2-giant-opt-patch16-384), a folder or a hub id.",
        _runtime("metrics", "siglip"),
        min_length=1,
    )


class ServerSettings(Parameters):
    """Where the web page listens and keeps its data."""

    host: str = _parameter("127.0.0.1", "Address to listen on.", _runtime("server", "host"), min_length=1)
    port: Whole = _parameter(8000, "Port to listen on.", _runtime("server", "port"), ge=0, le=65535)
    api_key: str | None = _parameter(
        None, "Key that clients must send; needed on any address but this machine's own.", _runtime("server", "api_key")
    )
    history_size: Whole = _parameter(
        50, "Images kept in the history.", _runtime("server", "history_size", unit="images"), ge=1, le=100_000
    )
    data_dir: str = _parameter(
        "outputs/web", "Folder of the history's database and images.", _runtime("server", "data_dir"), min_length=1
    )
    results_dir: str = _parameter(
        "experiments/results", "Folder of the experiments shown.", _runtime("server", "results_dir"), min_length=1
    )
    templates_dir: str | None = _parameter(
        None, "Folder of your own prompt and rewriter templates.", _runtime("server", "templates_dir")
    )
    queue_size: Whole = _parameter(
        32, "Jobs that may wait; more are refused for the moment.", _runtime("server", "queue_size"), ge=1, le=10_000
    )


GROUPS: tuple[type[Parameters], ...] = (
    EngineSettings,
    GenerationParams,
    RewriterSettings,
    MetricSettings,
    ServerSettings,
)


@dataclass(frozen=True)
class Parameter:
    """One parameter, as every surface reads it.

    Attributes:
        name: Field name in Python, HTTP and metadata.
        group: The model that holds it.
        kind: `text`, `integer`, `number`, `switch` or `choice`.
        default: Built-in default; None also for the required prompt.
        choices: Allowed values of a `choice`.
        minimum: Smallest value, excluded where `minimum_excluded`.
        maximum: Largest value.
        step: Values are multiples of it.
        optional: True if None is a value.
        required: True if there is no default.
        help: One sentence or two.
        note: Place in the file, unit, identity, short flags.
    """

    name: str
    group: type[Parameters]
    kind: Literal["text", "integer", "number", "switch", "choice"]
    default: Any
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
    def allowed(self) -> str:
        """The allowed values as a sentence part; empty where anything goes."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        unit = f" {self.note.unit}" if self.note.unit else ""
        if self.minimum is None or self.maximum is None:
            return ""
        low, high = f"{self.minimum:g}", f"{self.maximum:g}" if self.maximum < 1e6 else f"{self.maximum:.0f}"
        return f"above {low} up to {high}{unit}" if self.minimum_excluded else f"{low} to {high}{unit}"


def _unwrap(annotation: Any, metadata: list[Any]) -> tuple[Any, list[Any], bool]:
    """Take `Optional` and `Annotated` off a type; collect the constraints."""
    optional = False
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            inner, *extra = get_args(annotation)
            for item in extra:
                metadata = metadata + (item.metadata if isinstance(item, FieldInfo) else [item])
            annotation = inner
        elif origin is Union or type(annotation).__name__ == "UnionType":
            (annotation,) = [part for part in get_args(annotation) if part is not type(None)]
            optional = True
        else:
            return annotation, metadata, optional


def _parameter_from_field(group: type[Parameters], name: str, field: FieldInfo) -> Parameter:
    annotation, metadata, optional = _unwrap(field.annotation, list(field.metadata))
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
    is_size = any(isinstance(item, AfterValidator) and item.func is _size_in_steps for item in metadata)
    return Parameter(
        name=name,
        group=group,
        kind="choice" if choices else kinds[annotation],
        default=None if field.is_required() else field.default,
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


PARAMETERS: dict[str, Parameter] = {
    name: _parameter_from_field(group, name, field) for group in GROUPS for name, field in group.model_fields.items()
}
"""Every parameter by name, in the order of the reference page."""


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
    parameter = PARAMETERS[name]
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
