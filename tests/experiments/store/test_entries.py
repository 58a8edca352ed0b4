"""Blocks that share their names stand for dictionaries."""

from experiments.store.entries import Entries


def test_a_block_is_told_and_compared_as_the_dictionary_that_it_stands_for():
    block = Entries({"a": 0, "b": 1}, (1, "x"))
    assert repr(block) == "{'a': 1, 'b': 'x'}"
    assert block == {"a": 1, "b": "x"}
    assert (len(block), block["b"], block.get("a"), block.get("c", 3)) == (2, "x", 1, 3)
    assert list(block.items()) == [("a", 1), ("b", "x")]
