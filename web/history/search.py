"""The search of the history: words of the prompt, and parameters with values, as one condition of SQL.

red fox -car "in the snow"      all these words, not that one, these words in this order
shift=3  steps>=8  seed=1,2,3   numbers: = != < <= > >=, several after commas, a range as 2..4
lora=detail  model=mini         texts that contain it
is:starred  -is:failed          what a row is
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from llm_dit.errors import LlmDitError
from llm_dit.parameters import PARAMETERS, SHORT_NAMES, GenerationParams, Parameter
from llm_dit.parameters.names import suggestion
from web.history.search_index import MODEL, fold

LONGEST_SEARCH = 1000
MOST_TERMS = 50
TERM = re.compile(
    r'(?P<minus>-(?=\S))?(?:(?P<name>[A-Za-z_][\w-]*)(?:(?P<colon>:)(?=\S)|\s*(?P<sign>>=|<=|!=|=|>|<)\s*))?'
    r'(?:"(?P<quoted>[^"]*)"|(?P<plain>[^\s"]+))?'
)  # fmt: skip
SWITCHES = {"on": 1, "true": 1, "yes": 1, "1": 1, "off": 0, "false": 0, "no": 0, "0": 0}
NONE = "none"
IS = {
    "starred": "images.is_starred",
    "done": "images.state = 'done'",
    "failed": "images.state = 'failed'",
    "interrupted": "images.state = 'interrupted'",
}
OFFERED = [item for item in PARAMETERS.values() if item.group is GenerationParams]


@dataclass(frozen=True)
class Search:
    """A condition on the table `images`.

    Attributes:
        where: SQL that is true for the rows looked for.
        values: What its question marks stand for.
    """

    where: str = "1"
    values: tuple[Any, ...] = ()


EVERYTHING = Search()


def parse_search(text: str) -> Search:
    """Read a search as one types it.

    Raises:
        LlmDitError: If a parameter, a sign or a value is none; the message says what can be written.
    """
    if len(text) > LONGEST_SEARCH:
        raise _error(f"The search has {len(text)} characters; {LONGEST_SEARCH} are the most.")
    if text.count('"') % 2:
        raise _error("The search has a quotation mark without its partner; close it.")
    terms = [_term(match) for match in TERM.finditer(text) if match[0].strip()]
    if len(terms) > MOST_TERMS:
        raise _error(f"The search has {len(terms)} words and conditions; {MOST_TERMS} are the most.")
    if not terms:
        return EVERYTHING
    return Search(" AND ".join(f"({term.where})" for term in terms), sum((term.values for term in terms), ()))


def _term(match: re.Match[str]) -> Search:
    value = match["quoted"] if match["quoted"] is not None else match["plain"] or ""
    if match["name"] is None:
        found = _contains("prompt", value)
    else:
        sign = match["sign"] or "="
        is_not = sign == "!="
        name = match["name"].replace("-", "_").lower()
        found = _condition(name, "=" if is_not else sign, value, is_quoted=match["quoted"] is not None)
        found = _negated(found) if is_not else found
    return _negated(found) if match["minus"] else found


def _negated(search: Search) -> Search:
    return Search(f"NOT ({search.where})", search.values)


def _condition(name: str, sign: str, value: str, *, is_quoted: bool) -> Search:
    name = SHORT_NAMES.get(name, name)
    if not value and not is_quoted:
        raise _error(f"{name}{sign} has no value; write it behind the sign, without a blank after a colon.")
    if name == "is":
        if value.lower() not in IS:
            raise _error(f"is:{value} is not known; write is:{', is:'.join(IS)}.")
        return Search(IS[value.lower()])
    item = PARAMETERS.get(name)
    if name != MODEL and (item is None or item.group is not GenerationParams):
        hint = suggestion(name, OFFERED, PARAMETERS.values()) or "."
        raise _error(f"There is no parameter {name!r} of an image{hint} Put quotation marks around words of a prompt.")
    if value.lower() == NONE and not is_quoted and (item is None or item.optional or item.note.several):
        return _is_none(name, is_none_if_empty=item is not None and item.note.several)
    if item is None or item.kind == "text":
        if sign != "=":
            raise _error(f"{name} is a text; write {name}=words, or {name}!=words for those without.")
        return _contains(name, value)
    return _one_of(item, sign, value)


def _contains(name: str, text: str) -> Search:
    column = "(SELECT folded FROM image_texts WHERE name = ? AND image_texts.row = images.row)"
    return Search(f"COALESCE(instr({column}, ?), 0) > 0", (name, fold(text)))


def _is_none(name: str, *, is_none_if_empty: bool) -> Search:
    """Return the condition that a parameter is not set; a list without entries is none too."""
    texts = "SELECT row FROM image_texts WHERE name = ? AND (folded <> '' OR NOT ?)"
    values = "SELECT row FROM image_values WHERE name = ?"
    return Search(f"images.row NOT IN ({texts} UNION ALL {values})", (name, is_none_if_empty, name))


def _one_of(item: Parameter, sign: str, text: str) -> Search:
    """Return the condition on a number, a switch or a choice: any of those after commas."""
    conditions, values = [], []
    for part in text.split(","):
        low, dots, high = part.partition("..")
        if dots and item.kind in ("integer", "number") and sign == "=":
            conditions.append("value BETWEEN ? AND ?")
            values += [_value(item, low), _value(item, high)]
        else:
            conditions.append(f"value {sign} ?")
            values.append(_value(item, part))
    if sign != "=" and (len(conditions) > 1 or item.kind in ("switch", "choice")):
        raise _error(f"{item.name}{sign}{text} can't be read; {_ways(item)}.")
    where = f"images.row IN (SELECT row FROM image_values WHERE name = ? AND ({' OR '.join(conditions)}))"  # noqa: S608
    return Search(where, (item.name, *values))


def _value(item: Parameter, text: str) -> Any:
    word = text.strip()
    if item.kind == "switch" and word.lower() in SWITCHES:
        return SWITCHES[word.lower()]
    if word in (*item.choices, *item.words):
        return word
    if item.kind in ("integer", "number"):
        if re.fullmatch(r"[-+]?\d{1,18}", word):
            return int(word)
        if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", word, re.IGNORECASE):
            return float(word)
    raise _error(f"{item.name}: {word!r} can't be read; {_ways(item)}.")


def _ways(item: Parameter) -> str:
    """Say what can be written behind the name of a parameter."""
    if item.kind == "switch":
        return f"write {item.name}=on or {item.name}=off"
    if item.kind == "choice":
        return f"write {item.name}= and one of {', '.join(item.choices)}"
    return f"write {item.name}=3, {item.name}!=3, {item.name}>=3, {item.name}=2..4 or {item.name}=2,4"


def _error(sentence: str) -> LlmDitError:
    return LlmDitError(sentence, field="search")
