"""Rows of any list, and the prompts they are: which column is the text, which the id, which the category.

Knows columns by the names that benchmarks and captioning tools give them; what it has no use for stays with the prompt
as a detail.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from experiments.prompts.prompt import DIFFICULTIES, LISTS, Prompt, id_from_text
from llm_dit.errors import ConfigError

TEXT_COLUMNS = ("prompt", "prompts", "text", "caption", "prompt_en", "prompt_cn", "prompt_zh")
"""The first that is there is read. OneIG has the last ones."""
ID_COLUMNS = ("id", "prompt_id", "item_id")
CATEGORY_COLUMNS = ("category", "tag", "category_broad")
"""GenEval says `tag`, DPG-Bench `category_broad`."""
LIST_KEYS = ("prompts", "prompt", "data", "items", "rows", "train", "validation", "test")
"""Keys that hold the list itself; a list under any other key is a category."""


class Row(NamedTuple):
    """One entry of a list: column to value, and where it stands, for messages."""

    values: Mapping[str, Any]
    where: str


class Found(NamedTuple):
    """The prompts of a list, each with the place where it stands, and what is to be told of their reading."""

    prompts: list[tuple[Prompt, str]]
    told: list[str]


class Columns(NamedTuple):
    """The columns of a list by what they are for, as written there; empty where there is none."""

    text: str
    id: str
    category: str


def rows_of_value(value: Any, where: str) -> Iterator[Row]:
    """Yield the rows of parsed JSON or YAML: a list of texts or objects, or a mapping to them by category or id.

    Raises:
        ConfigError: If there is something that is no prompt.
    """
    if isinstance(value, list):
        for number, item in enumerate(value, start=1):
            yield _row(item, f"{where}, entry {number}")
    elif isinstance(value, dict):
        lists = {key: item for key, item in value.items() if isinstance(item, list)}
        inner = next((key for key in lists if str(key).lower() in LIST_KEYS), None)
        if inner is not None:
            yield from rows_of_value(lists[inner], where)
        elif _found(value, TEXT_COLUMNS):
            yield Row(value, where)
        elif lists and len(lists) == len(value):
            for category, items in lists.items():
                for row in rows_of_value(items, f"{where}, {category}"):
                    yield row._replace(values={"category": category, **row.values})
        else:
            for key, item in value.items():
                row = _row(item, f"{where}, {key}")
                yield row._replace(values={"id": key, **row.values})
    else:
        raise ConfigError(f"{where}: {_shortened(value)} is no list of prompts.")


def columns_of(rows: Sequence[Row]) -> Columns:
    """Return the columns that are read.

    Raises:
        ConfigError: If no column is known to hold prompts.
    """
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    text = _found(names, TEXT_COLUMNS)
    if not text:
        raise ConfigError(
            f"{rows[0].where}: no column is called prompt, text or caption; the first row has "
            f" {', '.join(map(repr, list(names)[:8]))}. Rename the one that holds the prompts."
        )
    return Columns(text, _found(names, ID_COLUMNS), _found(names, CATEGORY_COLUMNS))


def prompts_of_rows(rows: Sequence[Row], columns: Columns, default_category: str) -> Found:
    """Return the prompts of a list, in order; rows without a text are left out, equal texts stay.

    Ids of the list are taken where they tell its texts apart, alone or with the category; else the text decides.
    """
    read = [(_prompt(row, columns, default_category), row.where) for row in rows]
    prompts = [(prompt, where) for prompt, where in read if prompt.text]
    namings: dict[str, Callable[[Prompt], str]] = {
        f"ids from {columns.id!r}": lambda prompt: prompt.id,
        f"ids from {columns.category!r} and {columns.id!r}": lambda prompt: f"{prompt.category}_{prompt.id}",
    }
    told = [f"categories from {columns.category!r}"] if columns.category else []
    if len(prompts) < len(rows):
        told.append(f"{len(rows) - len(prompts):,} without a text left out")
    if all(prompt.id for prompt, _ in prompts):
        for said, naming in namings.items():
            if _tells_apart([(naming(prompt), prompt.text) for prompt, _ in prompts]):
                return Found([(replace(prompt, id=naming(prompt)), where) for prompt, where in prompts], [said, *told])
    if columns.id:
        told.append(f"ids from the texts, since {columns.id!r} does not tell them apart")
    return Found([(replace(prompt, id=id_from_text(prompt.text)), where) for prompt, where in prompts], told)


def merged(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return one prompt for each text, the first; of the details those that all of a text's entries agree on."""
    groups: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(prompt.text, []).append(prompt)
    result = []
    for first, *others in groups.values():
        shared = {
            name: value
            for name, value in first.details.items()
            if all(other.details.get(name) == value for other in others)
        }
        result.append(replace(first, details=shared))
    return result


def double_texts(prompts: Sequence[Prompt]) -> int:
    """Return how many texts stand in a list more than once."""
    return sum(count > 1 for count in Counter(prompt.text for prompt in prompts).values())


def _row(item: Any, where: str) -> Row:
    if isinstance(item, str | int | float) and not isinstance(item, bool):
        return Row({"prompt": str(item)}, where)
    if isinstance(item, dict):
        return Row(item, where)
    raise ConfigError(f"{where}: {_shortened(item)} is neither a text nor an object with one.")


def _prompt(row: Row, columns: Columns, default_category: str) -> Prompt:
    values = {str(name): value for name, value in row.values.items() if name}  # pandas writes an index without a name
    text = values.pop(columns.text, None)
    if text is not None and not isinstance(text, str):
        raise ConfigError(f"{row.where}: {columns.text} is {_shortened(text)}, not a text.")
    own_id, category = _as_text(values.pop(columns.id, "")), _as_text(values.pop(columns.category, ""))
    difficulty = _as_text(values.get("difficulty", "")).lower()
    if difficulty in DIFFICULTIES:
        del values["difficulty"]
    lists = {name: found for name in LISTS if (found := _as_list(values.get(name))) is not None}
    values = {name: value for name, value in values.items() if name not in lists}
    return Prompt(
        id=own_id,
        category=category or default_category,
        difficulty=difficulty if difficulty in DIFFICULTIES else "",
        text=(text or "").strip(),
        **lists,
        details={name: _as_text(value) for name, value in values.items() if _as_text(value)},
    )


def _tells_apart(named_texts: Sequence[tuple[str, str]]) -> bool:
    """Return True if no name stands at two texts."""
    return len({name for name, _ in named_texts}) == len(set(named_texts))


def _found(names: Sequence[str] | Mapping[str, Any], wanted: Sequence[str]) -> str:
    """Return the first wanted name that is there, in any case, as it is written there."""
    by_lower = {str(name).lower(): str(name) for name in reversed(list(names))}
    return next((by_lower[name] for name in wanted if name in by_lower), "")


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _as_list(value: Any) -> tuple[str, ...] | None:
    """Return a list of texts, one written as JSON in a table's field as well; None for anything else."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return None
    return tuple(map(_as_text, value)) if isinstance(value, list) else None


def _shortened(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else f"{text[:40]}…"
