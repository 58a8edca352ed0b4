"""Lists as one types them in a shell: divided at commas, with double quotes around what holds one."""

from __future__ import annotations

import re
from typing import NamedTuple

from llm_dit.errors import LlmDitError

_QUOTED = re.compile(r'\s*"((?:[^"]|"")*)"\s*(,|$)', re.DOTALL)
_PLAIN = re.compile(r"([^,]*)(,|$)", re.DOTALL)


class Item(NamedTuple):
    """One entry, without its quotes; `none` in quotes is the word."""

    text: str
    is_quoted: bool


def items_of(text: str, option: str) -> list[Item]:
    """Divide a list at the commas outside double quotes; a quote within quotes is doubled, as in CSV.

    Args:
        text: Such as `1,2,3` or `"a cat, sitting","a dog, running"`.
        option: What was typed, for messages.

    Raises:
        LlmDitError: For an entry without anything, and for quotes that are none; the message says how to write it.
    """
    items: list[Item] = []
    position, is_open = 0, True
    while is_open:
        is_quoted = text[position:].lstrip().startswith('"')
        match = (_QUOTED if is_quoted else _PLAIN).match(text, position)
        if match is None:
            raise LlmDitError(
                f"{option}: the quotes of {text[position:].strip()[:40]} are not around a whole entry; close them "
                'before the comma, and double a quote within ("a ""big"" cat").'
            )
        items.append(Item(match[1].replace('""', '"') if is_quoted else match[1].strip(), is_quoted))
        position, is_open = match.end(), match[2] == ","
    for number, item in enumerate(items, start=1):
        if not item.text and not item.is_quoted:
            place = "after the last comma" if number == len(items) else f"as entry {number}"
            raise LlmDitError(
                f'{option}: there is nothing {place}; leave the comma out, or write "" for an empty text.'
            )
    plain = [item.text for item in items if not item.is_quoted]
    if any(one.startswith("'") for one in plain) and any(one.endswith("'") for one in plain):
        raise LlmDitError(f"{option}: single quotes don't hold an entry together; use double ones.")
    return items


def texts_of(text: str | None, option: str) -> list[str]:
    """Return the entries' texts; none where nothing was given."""
    return [item.text for item in items_of(text, option)] if text else []
