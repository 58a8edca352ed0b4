"""Parts of sentences that errors are made of."""

import pytest

from llm_dit.errors import listed, unwritable


@pytest.mark.parametrize(
    ("names", "expected"), [([], ""), (["a"], "a"), (["a", "b"], "a, b"), (["a", "b", "c", "d"], "a, b and 2 more")]
)
def test_a_list_is_cut_and_counted_where_it_is_longer_than_most(names, expected):
    assert listed(names, 2) == expected


def test_what_cannot_be_written_is_named_with_the_reason_and_a_way_out():
    error = unwritable("out/report.html can't be written", OSError(28, "No space left on device"), field="output")
    assert error.field == "output"
    assert str(error) == (
        "out/report.html can't be written: No space left on device; "
        "free some space, make the folder writable, or choose another one."
    )
