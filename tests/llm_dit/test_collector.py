"""Python's collector: what it leaves out, and that it goes on afterwards."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from llm_dit.collector import collector_paused

AT_THE_END = """
import atexit, gc
from llm_dit.collector import search_nothing_at_exit

class Circular:
    def __init__(self):
        self.itself = self

    def __del__(self):
        print("searched")

atexit.register(lambda: print("last"))
search_nothing_at_exit()
search_nothing_at_exit()
kept = Circular()
"""

WHEN_TORCH = """
import gc, sys

class Seen:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("searching:", gc.isenabled())
            raise SystemExit

sys.meta_path.insert(0, Seen())
"""


@pytest.fixture
def searches():
    """Generations that were searched while the test ran."""
    seen: list[int] = []

    def note(phase, told):
        if phase == "start":
            seen.append(told["generation"])

    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)


def test_nothing_is_searched_inside_the_block_and_all_is_after(searches):
    many = 3 * gc.get_threshold()[0]
    assert many

    with collector_paused():
        lasting = [[index] for index in range(many)]
        assert searches == []

    assert gc.isenabled()
    assert [[index] for index in range(many)] == lasting
    assert searches


def test_what_was_made_inside_the_block_counts_among_the_oldest():
    with collector_paused():
        made = [object, "lasting"]

    assert any(known is made for known in gc.get_objects(generation=2))
    assert gc.get_freeze_count() == 0


def test_a_program_that_has_frozen_its_objects_keeps_them_frozen():
    kept: list[object] = []
    gc.freeze()
    try:
        with collector_paused():
            pass
        # their number is no measure: threads of other tests free some of them meanwhile
        assert not any(found is kept for found in gc.get_objects())
    finally:
        gc.unfreeze()
    assert any(found is kept for found in gc.get_objects())


def test_a_collector_that_is_off_stays_off():
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("ending", "printed"),
    [
        ("search_nothing_at_exit()", "last\n"),
        ("", "last\nsearched\n"),
        ("search_nothing_at_exit(); import sys; sys.modules['triton'] = sys", "last\nsearched\n"),
    ],
    ids=["a command", "another program", "with triton"],
)
def test_a_command_ends_without_a_search(ending, printed):
    code = AT_THE_END.replace("search_nothing_at_exit()\n", "") + ending
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout == printed


@pytest.mark.parametrize(
    "importing",
    [
        "from llm_dit.placement.devices import resolve_device; resolve_device('auto', 'dit_device')",
        "from experiments.running.unloaded_model import UnloadedModel; UnloadedModel.surroundings(None)",
    ],
    ids=["a picture", "an experiment"],
)
def test_nothing_is_searched_while_torch_is_imported(importing):
    ended = subprocess.run([sys.executable, "-c", WHEN_TORCH + importing], capture_output=True, text=True, check=False)

    assert ended.stdout == "searching: False\n", ended.stderr
