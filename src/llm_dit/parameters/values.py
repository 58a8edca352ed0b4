"""The kinds of values that parameters take, with the checks that a type alone can't make and their sentences."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

MAX_PROMPT_CHARACTERS = 100_000
SIZE_STEP = 16
"""Height and width come in units of the VAE's factor 8 times the transformer's patch of 2, in pixels."""
ROPE_TABLE_TOKENS = 1504
"""Longest caption whose image index lies in the published RoPE table; docs/research/long_prompts.md derives it."""
MAX_SEED = 2**53 - 1
"""Largest integer that JSON readers of every language keep exactly."""

NOT_A_DEVICE = "is not a device; use auto, cpu, cuda, cuda:N or mps"

LongPromptMode = Literal["truncate", "interpolate", "pool", "attention_pool"]
DType = Literal["auto", "bfloat16", "float16", "float32"]
AttentionBackend = Literal["auto", "sdpa", "cudnn", "flash", "flash3", "flash3_float8", "sage"]
Quantization = Literal["none", "float8", "int8"]
CompileMode = Literal["auto", "on", "off"]
GraphMode = Literal["auto", "on", "off"]

DTYPE_NAMES: tuple[str, ...] = get_args(DType)


def is_device(name: str) -> bool:
    """Say whether `name` can name a device, on this machine or another."""
    return re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", name) is not None


def _valid_device(value: str) -> str:
    if not is_device(value):
        raise PydanticCustomError("device", NOT_A_DEVICE)
    return value


def _name_in_torch(value: Any) -> Any:
    """Take `torch.float32` and `torch.device("cuda:1")` for their names; torch itself is not imported here."""
    return str(value).removeprefix("torch.") if type(value).__module__ == "torch" else value


def _path_as_text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def size_in_steps(value: int | None) -> int | None:
    """Refuse a size that is not a multiple of `SIZE_STEP`."""
    if value is not None and value % SIZE_STEP:
        lower = value // SIZE_STEP * SIZE_STEP
        raise PydanticCustomError("size", f"is not a multiple of {SIZE_STEP}; use {lower} or {lower + SIZE_STEP}")
    return value


def number_not_switch(value: Any) -> Any:
    """Refuse true and false, which Python takes for 1 and 0."""
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


Device = Annotated[str, BeforeValidator(_name_in_torch), AfterValidator(_valid_device)]
NumberFormat = Annotated[DType, BeforeValidator(_name_in_torch)]
PathText = Annotated[str, BeforeValidator(_path_as_text)]
Text = Annotated[str, AfterValidator(_readable_text)]
Whole = Annotated[int, BeforeValidator(number_not_switch)]
Number = Annotated[float, BeforeValidator(number_not_switch), Field(allow_inf_nan=False)]
Size = Annotated[int, BeforeValidator(number_not_switch), Field(ge=64, le=4096), AfterValidator(size_in_steps)]
"""The range is checked first, so that advice on steps stays in it."""
