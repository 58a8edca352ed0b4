"""Functions that are operators inside compiled blocks, and plain functions elsewhere.

An operator keeps a compiled block one graph. Outside of one its first call, and for Triton its registration too, would
import PyTorch's compiler, which takes two to three seconds of the first picture.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import library

NAMESPACE = "llm_dit"
P = ParamSpec("P")
R = TypeVar("R")


class _Calls(threading.local):
    are_plain = False


_calls = _Calls()
_unregistered: dict[str, Callable[..., Any]] = {}


def triton_operator(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that launches Triton's kernels, each as `wrap_triton(kernel)`.

    Its operator has its name, once `register_operators` was called.
    """

    @wraps(function)
    def plain(*arguments: P.args, **options: P.kwargs) -> R:
        _calls.are_plain = True
        try:
            return function(*arguments, **options)
        finally:
            _calls.are_plain = False

    _unregistered[function.__name__] = function
    return plain_outside(function.__name__, plain)


def plain_outside(name: str, function: Callable[P, R]) -> Callable[P, R]:
    """Return `function`, which inside of compiled blocks is the operator `llm_dit::name`."""

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        if torch.compiler.is_compiling():
            result: R = getattr(getattr(torch.ops, NAMESPACE), name)(*arguments, **options)
            return result
        return function(*arguments, **options)

    return call


def register_operators() -> None:
    """Register what `triton_operator` has decorated since; to be called before blocks are compiled."""
    while _unregistered:
        name, function = _unregistered.popitem()
        library.triton_op(f"{NAMESPACE}::{name}", function, mutates_args={})


def wrap_triton(kernel: Any) -> Any:
    """Return a kernel as it must be launched where it is.

    PyTorch looks for calls of this name in the source of an operator, to tell a compiled one by its kernels.
    """
    return kernel if _calls.are_plain else library.wrap_triton(kernel)
