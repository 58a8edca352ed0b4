"""Python's search for circular garbage, left out where there is hardly any and much to go through."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

LEAK_REPORTER = "triton"
"""Complains at the end of a process about each of its objects that the search has not found."""


@contextmanager
def collector_paused() -> Iterator[None]:
    """Search for no garbage inside the block, or the function that this decorates, and take what it made for lasting.

    Going through all records again and again takes a quarter of the time of reading them, and going through all
    that torch makes a sixth of the time of importing it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            _count_among_the_oldest()
            gc.enable()


@cache
def search_nothing_at_exit() -> None:
    """Let this process end without searching what it leaves, whose memory the system takes back at once.

    With torch imported that takes a third of a second. What has to be done at the end is done before.
    """
    atexit.register(_freeze)


def _freeze() -> None:
    if LEAK_REPORTER not in sys.modules:
        gc.freeze()


def _count_among_the_oldest() -> None:
    """Let the next searches pass over what is there now, as if it had outlived them; a full search goes through it."""
    if not gc.get_freeze_count():  # else a program that has frozen its own objects would lose that
        gc.freeze()
        gc.unfreeze()
