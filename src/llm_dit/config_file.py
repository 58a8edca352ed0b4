"""The configuration file: TOML tables by profile, read against the parameters; all mistakes are told at once."""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_dit.errors import ConfigError, InvalidParameter, nearest
from llm_dit.parameters import PARAMETERS, GenerationParams, Parameter
from llm_dit.parameters.names import meant, not_here, other_count

DEFAULT_PROFILE = "default"
"""The profile that all others inherit from."""
SHARED_TABLE = "server"
"""The one table that may also stand at the top of the file, outside any profile."""
TABLES = tuple(dict.fromkeys(item.note.table for item in PARAMETERS.values() if item.note.in_file))
"""Tables of a profile in the order of the example file; the empty one is the profile itself."""
MISTAKES_TOLD = 8
MAX_DEPTH = 8
INTEGER_BITS = 64
PATH_ESCAPES = re.compile(r"[\x00-\x1f]")


@dataclass(frozen=True)
class ConfigFile:
    """What a file says, by parameter name, each value checked by itself.

    Attributes:
        shared: Values outside any profile.
        profiles: Values of each profile.
    """

    shared: Mapping[str, Any]
    profiles: Mapping[str, Mapping[str, Any]]


def file_parameters(table: str | None = None) -> list[Parameter]:
    """Return the parameters that may stand in a configuration file; those of one table if one is named."""
    return [item for item in PARAMETERS.values() if item.note.in_file and table in (None, item.note.table)]


def read_config_file(path: Path) -> ConfigFile:
    """Read a file.

    Raises:
        ConfigError: If it can't be read, or holds unknown tables or keys or values out of range. The message names file
            and keys, and shows how they are written rightly.
    """
    reading = _Reading()
    document = _document(path)
    shared = reading.table("", SHARED_TABLE, document.pop(SHARED_TABLE)) if SHARED_TABLE in document else {}
    profiles = {name: reading.profile(name, content) for name, content in document.items()}
    reading.raise_mistakes(path)
    return ConfigFile(shared, profiles)


class _Reading:
    """One pass over a document, which collects what is wrong with it."""

    def __init__(self) -> None:
        self._mistakes: list[tuple[str, str | None]] = []

    def raise_mistakes(self, path: Path) -> None:
        """Raise a ConfigError that tells all mistakes, if there are any."""
        if not self._mistakes:
            return
        sentences = [sentence for sentence, _ in self._mistakes[:MISTAKES_TOLD]]
        if len(self._mistakes) > MISTAKES_TOLD:
            sentences.append(f"{len(self._mistakes) - MISTAKES_TOLD} more are like these.")
        count = f" ({len(self._mistakes)} mistakes)" if len(self._mistakes) > 1 else ""
        raise ConfigError(f"{path}{count}: {' '.join(sentences)}", field=self._mistakes[0][1])

    def profile(self, profile: str, content: Any) -> dict[str, Any]:
        """Return the values of one profile."""
        if not isinstance(content, dict):
            self._add(f"{profile!r} stands outside a profile; {_place_of_stray_key(profile)}.")
            return {}
        if profile in TABLES and not any(isinstance(value, dict) for value in content.values()):
            self._add(f"[{profile}] stands outside a profile; write [{DEFAULT_PROFILE}.{profile}].")
            return self.table(DEFAULT_PROFILE, profile, content)
        values: dict[str, Any] = {}
        for key, value in content.items():
            if key in TABLES and not isinstance(value, dict):
                self._add(f"[{profile}] {key} is a table; write [{profile}.{key}].")
            elif key in TABLES:
                values |= self.table(profile, key, value)
            elif isinstance(value, dict):
                self._add(f"[{profile}] has no {key!r}{nearest(key, [table for table in TABLES if table])}")
            else:
                values |= self.table(profile, "", {key: value})
        return values

    def table(self, profile: str, table: str, entries: Any) -> dict[str, Any]:
        """Return the values of one table, by parameter name."""
        header = _header(profile, table)
        if not isinstance(entries, dict):
            self._add(f"{header} is a table of keys, not a value.")
            return {}
        by_key = {key: item for item in file_parameters(table) for key in (item.key, *item.note.aliases)}
        values: dict[str, Any] = {}
        for key, value in entries.items():
            if key not in by_key:
                self._add(f"{header} has no key {key!r}{_key_hint(key, profile, table)}")
            elif by_key[key].name in values:
                self._add(f"{header} has {by_key[key].key} twice, once as {key!r}; give one of them.")
            else:
                values[by_key[key].name] = self._checked(header, key, by_key[key], value)
        return values

    def _checked(self, header: str, key: str, parameter: Parameter, value: Any) -> Any:
        problem = _kind_problem(key, parameter, value)
        if problem is not None:
            self._add(f"{header} {problem}", parameter.name)
            return None
        prompt = {"prompt": "-"} if parameter.group is GenerationParams else {}
        together = {"extend_rope": True} if parameter.name == "max_text_tokens" else {}
        try:
            checked = parameter.group.parse({**prompt, **together, parameter.name: value})
        except InvalidParameter as error:
            self._add(f"{header} {error.named(key)}", parameter.name)
            return None
        return getattr(checked, parameter.name)

    def _add(self, sentence: str, field: str | None = None) -> None:
        self._mistakes.append((sentence, field))


def _header(profile: str, table: str) -> str:
    return f"[{'.'.join(part for part in (profile, table) if part)}]"


def _key_hint(key: str, profile: str, table: str) -> str:
    """Return the rest of the sentence on an unknown key: by meaning first, wherever that stands, then by letters."""
    item = meant(key, file_parameters(table))
    if item is not None:
        return f"; did you mean {item.key!r}?{other_count(item, key)}"
    item = meant(key, file_parameters())
    if item is not None:
        called = "" if item.key == key else f" as {item.key!r}"
        return f"; it belongs to {_header(profile, item.note.table)}{called}.{other_count(item, key)}"
    if key in PARAMETERS:
        return "; it belongs to one image, not to a file."
    known = {known for item in file_parameters(table) for known in (item.key, *item.note.aliases)}
    return not_here(key) or nearest(key, known if table else known | {name for name in TABLES if name})


def _place_of_stray_key(key: str) -> str:
    item = meant(key, file_parameters())
    if item is None:
        return f"put it under [{DEFAULT_PROFILE}]"
    return f"write {item.key} under {_header(DEFAULT_PROFILE, item.note.table)}"


def _kind_problem(key: str, parameter: Parameter, value: Any) -> str | None:
    """Return the rest of the sentence if `value` is of the wrong kind: what it should be, and how that is written."""
    kinds: dict[str, tuple[tuple[type, ...], str]] = {
        "integer": ((int,), "a whole number"),
        "number": ((int, float), "a number"),
        "switch": ((bool,), "true or false"),
    }
    types, wanted = kinds.get(parameter.kind, ((str,), "text in quotes"))
    if parameter.note.several:
        types, wanted = (str, list), "text in quotes, or a list of texts"
    if not isinstance(value, types) and value not in parameter.words:
        return f"{key} = {toml_value(value)} is not {wanted}{_kind_mend(key, parameter, value)}"
    if isinstance(value, str) and parameter.group is not GenerationParams and PATH_ESCAPES.search(value):
        typed = value.encode("unicode_escape").decode()
        return (
            f"{key} holds a tab or line break, since a backslash in double quotes begins an escape; "
            f"write {key} = '{typed}' in single quotes."
        )
    return None


def _kind_mend(key: str, parameter: Parameter, value: Any) -> str:
    if isinstance(value, bool) and {"on", "off"} <= set(parameter.choices):
        return f'; write {key} = "{"on" if value else "off"}".'
    if isinstance(value, str) and re.fullmatch(r"-?[\d.]+|true|false", value.strip().lower()):
        return f"; write {key} = {value.strip().lower()} without quotes."
    if parameter.kind in ("text", "choice") and isinstance(value, int | float):
        return f'; write {key} = "{value}".'
    return "."


def toml_value(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


# The text


def _document(path: Path) -> dict[str, Any]:
    text = _text(path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}{_mend(text, str(error))}", field="config") from None
    except RecursionError:
        raise _too_deep(path) from None
    except ValueError:
        raise _too_large(path) from None
    _check_bounds(path, document)
    return document


def _check_bounds(path: Path, document: dict[str, Any]) -> None:
    """Refuse what no value of ours is: nesting that a message could not show, integers of more than 64 bits."""
    waiting: list[tuple[Any, int]] = [(document, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _too_deep(path)
        if isinstance(value, int) and value.bit_length() > INTEGER_BITS:
            raise _too_large(path)
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        waiting += [(item, depth + 1) for item in inner]


def _too_deep(path: Path) -> ConfigError:
    return ConfigError(f"{path} is nested too deeply; a profile holds tables of single values.", field="config")


def _too_large(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} holds an integer of more than {INTEGER_BITS} bits; use a smaller number.", field="config"
    )


def _text(path: Path) -> str:
    """Read text as editors save it: UTF-8 with or without a byte order mark, or UTF-16 with one."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; copy config.toml.example to start one.", field="config") from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read ({error.strerror}).", field="config") from None
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if is_utf16 else "utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path} is not UTF-8 text (line {line}); save it as UTF-8.", field="config") from None


def _mend(text: str, error: str) -> str:
    """Return the rest of the sentence on a line that is no TOML: as it should be, where that can be guessed."""
    place = re.search(r"at line (\d+)", error)
    if place is None:
        return "."
    line = text.split("\n")[int(place[1]) - 1].strip()
    entry = re.fullmatch(r"([\w.-]+)\s*([=:])\s*(.*?)\s*(?:#.*)?", line)
    if entry is None:
        return f"; the line is: {line[:80]}"
    key, sign, value = entry.groups()
    quoted = re.fullmatch(r'"(.*)"', value)
    if quoted and "\\" in value and "'" not in value:
        return f"; a backslash in double quotes begins an escape: write {key} = '{quoted[1]}' in single quotes."
    if value.lower() in ("true", "false", "yes", "no", "on", "off"):
        value = "true" if value.lower() in ("true", "yes", "on") else "false"
    elif not re.match(r"""["'\[{\d+-]""", value):
        value = toml_value(value)
    return f"; write {key} = {value}." if f"{key} = {value}" != line or sign == ":" else f"; the line is: {line[:80]}"
