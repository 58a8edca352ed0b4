"""Blocks that share their names stand for dictionaries."""

from experiments.store.entries import Entries, Places, SharedNames


def test_a_block_is_told_and_compared_as_the_dictionary_that_it_stands_for():
    block = Entries({"a": 0, "b": 1}, (1, "x"))
    assert repr(block) == "{'a': 1, 'b': 'x'}"
    assert block == {"a": 1, "b": "x"}
    assert (len(block), block["b"], block.get("a"), block.get("c", 3)) == (2, "x", 1, 3)
    assert list(block.items()) == [("a", 1), ("b", "x")]


def test_a_table_of_names_is_known_by_itself_alone():
    first, second = Places({"a": 0}), Places({"a": 0})
    assert [first == other for other in (first, second)] == [True, False]
    assert [first != other for other in (first, second)] == [False, True]


def test_blocks_with_the_same_entries_beside_some_have_one_key() -> None:
    names = SharedNames()
    first, second, third = (
        names.entries({"shift": shift, "seed": seed, "width": 128}) for shift, seed in ((3.0, 1), (3.0, 2), (6.0, 1))
    )
    assert first.key_beside(("seed",)) == second.key_beside(("seed",)) != third.key_beside(("seed",))
    other = SharedNames().entries({"shift": 3.0, "seed": 7, "width": 128})
    assert other.key_beside(("seed",)) == first.key_beside(("seed",)), "whoever read it"
    renamed = names.entries({"mu": 3.0, "seed": 1, "width": 128})
    assert renamed.key_beside(("seed",)) != first.key_beside(("seed",))
    assert list(first.values()) == [3.0, 1, 128]
