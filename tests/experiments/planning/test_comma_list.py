"""Lists typed in a shell, divided as they are meant or refused with the mend."""

from __future__ import annotations

import pytest

from experiments.planning.comma_list import Item, items_of, texts_of
from llm_dit.errors import LlmDitError


def plain(*texts: str) -> list[Item]:
    return [Item(text, False) for text in texts]


def quoted(*texts: str) -> list[Item]:
    return [Item(text, True) for text in texts]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("1,2,3", plain("1", "2", "3")),
        (" 1 , 2 ", plain("1", "2")),
        ('"a cat, sitting","a dog"', quoted("a cat, sitting", "a dog")),
        (' "a" , b', [*quoted("a"), *plain("b")]),
        ('b, "a"', [*plain("b"), *quoted("a")]),
        ('"a ""big"" cat"', quoted('a "big" cat')),
        ('""', quoted("")),
        ('1,""', [*plain("1"), *quoted("")]),
        ('"two\nlines",b', [*quoted("two\nlines"), *plain("b")]),
        ("two\nlines", plain("two\nlines")),
        ('" a "', quoted(" a ")),
        ('5" nails', plain('5" nails')),
        ("'tis,b", plain("'tis", "b")),
        ("dogs',b", plain("dogs'", "b")),
    ],
)
def test_a_list_is_divided_at_the_commas_outside_quotes(text: str, items: list[Item]) -> None:
    assert items_of(text, "--sweep") == items


@pytest.mark.parametrize(
    ("text", "place"),
    [("1,", "after the last comma"), ("1,,3", "as entry 2"), (",1", "as entry 1"), ("1, ,3", "as entry 2")],
)
def test_an_entry_without_anything_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(LlmDitError) as refused:
        items_of(text, "--sweep")
    assert str(refused.value) == (
        f'--sweep: there is nothing {place}; leave the comma out, or write "" for an empty text.'
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('"a', '"a'),
        ('1, "a"b,c', '"a"b,c'),
        ('"a" b', '"a" b'),
        ('"' + "x" * 60, '"' + "x" * 39),
    ],
)
def test_quotes_that_hold_no_whole_entry_are_shown(text: str, shown: str) -> None:
    with pytest.raises(LlmDitError) as refused:
        items_of(text, "--seeds")
    assert str(refused.value) == (
        f"--seeds: the quotes of {shown} are not around a whole entry; close them before the comma, and double a quote "
        'within ("a ""big"" cat").'
    )


def test_single_quotes_are_refused() -> None:
    with pytest.raises(LlmDitError, match=r"^--sweep: single quotes don't hold an entry together; use double ones\.$"):
        items_of("'a cat, sitting','a dog'", "--sweep")
    assert items_of('"\'a","b\'"', "--sweep") == quoted("'a", "b'")


@pytest.mark.parametrize(("text", "texts"), [(None, []), ("", []), ('a,"b,c"', ["a", "b,c"])])
def test_nothing_given_is_no_entry(text: str | None, texts: list[str]) -> None:
    assert texts_of(text, "--prompt-ids") == texts
