"""Calls for a planner's process, which imports this file alone and not all that its tests import."""

from __future__ import annotations

import os

from llm_dit.errors import LlmDitError


def fail() -> None:
    raise LlmDitError("It is wrong.", field="name")


def priority_and_number() -> tuple[int, int]:
    return os.nice(0), os.getpid()
