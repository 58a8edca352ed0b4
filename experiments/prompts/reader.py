"""Prompt lists in every form that people have them, read by the file's ending.

Equal texts are one prompt; what was read and what was left out is told in a sentence. Which prompts an experiment uses
is decided in `experiments.planning.design`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from experiments.prompts.project_file import is_project_file, prompts_of_project_file
from experiments.prompts.prompt import Prompt, id_from_text
from experiments.prompts.rows import (
    Columns,
    Found,
    Row,
    columns_of,
    double_texts,
    merged,
    prompts_of_rows,
    rows_of_value,
)
from experiments.prompts.strict_yaml import YamlFile
from experiments.prompts.tables import rows_of_table
from experiments.prompts.text_file import lines_of, read_text
from experiments.prompts.wildcards import FOLDER_NAME, Wildcards
from llm_dit.errors import ConfigError, InvalidParameter
from llm_dit.parameters import GenerationParams

OPTION = "--prompts-file"
MOST_LINES_OF_A_PROMPT = 50
"""A longer file in a folder of prompts is a list by itself."""


@dataclass(frozen=True)
class PromptList:
    """What a file gave.

    Attributes:
        prompts: In the order they are written, no text twice.
        told: What was read: how many prompts, from which column, what stood there twice.
    """

    prompts: tuple[Prompt, ...]
    told: str


def read_prompts(path: Path, wildcards: Path | None = None) -> tuple[Prompt, ...]:
    """Return the prompts of a list; see `read_prompt_list`."""
    return read_prompt_list(path, wildcards).prompts


def read_prompt_list(path: Path, wildcards: Path | None = None) -> PromptList:
    """Read a prompt list of any known form.

    Args:
        path: A file of one of `FORMS`, a text file without ending, or a folder of `.txt` files with a prompt each.
        wildcards: Folder of the wildcards' files; `wildcards` beside the list if None.

    Raises:
        ConfigError: With file and line, for what is unknown, missing or empty, and for forms that are not read.
    """
    found = _found_prompts(path)
    folder = wildcards or (path if path.is_dir() else path.parent) / FOLDER_NAME
    expanded = list(_expanded(found.prompts, Wildcards(folder)))
    if not expanded:
        raise ConfigError(f"{path}: there is no prompt in this {'folder' if path.is_dir() else 'file'}.")
    for prompt, where in expanded:
        try:
            GenerationParams.parse({"prompt": prompt.text})
        except InvalidParameter as error:
            raise ConfigError(f"{where}: {error}") from None
    prompts = [prompt for prompt, _ in expanded]
    kept = tuple(merged(prompts))
    told = [f"{path}: {len(kept):,} prompt{'s' * (len(kept) != 1)}", *found.told]
    if len(prompts) > len(found.prompts):
        told.append(f"wildcards make {len(prompts):,} of {len(found.prompts):,}")
    if doubles := double_texts(prompts):
        told.append(f"{doubles:,} text{'s stand' if doubles != 1 else ' stands'} there more than once and count once")
    return PromptList(kept, ", ".join(told) + ".")


def _found_prompts(path: Path) -> Found:
    """Return the prompts with their ids, wildcards not expanded yet."""
    if path.is_dir():
        return _prompts_of_folder(path)
    ending = path.suffix.lower()
    if ending in (".yaml", ".yml"):
        file = YamlFile(path, option=OPTION)
        if is_project_file(file):
            return Found(prompts_of_project_file(file), [])
        rows = list(rows_of_value(_plain(file, file.root), str(path)))
    elif ending in FORMS:
        rows = FORMS[ending](read_text(path, OPTION), path)
    else:
        if path.exists():
            known = ", ".join(name for name in [*FORMS, ".yaml"] if name)
            raise ConfigError(f"{OPTION} {path}: prompts are read from {known}, and from a folder of .txt files.")
        raise ConfigError(f"{OPTION} {path} does not exist.")
    if not rows:
        return Found([], [])
    columns = columns_of(rows)
    found = prompts_of_rows(rows, columns, path.stem)
    is_plain = ending in ("", ".txt")
    return found if is_plain else found._replace(told=[f"texts from {columns.text!r}", *found.told])


def _rows_of_lines(text: str, path: Path) -> list[Row]:
    lines = enumerate(lines_of(text), start=1)
    return [Row({"prompt": line.strip()}, f"{path}:{number}") for number, line in lines if line.strip()]


def _rows_of_json(text: str, path: Path) -> list[Row]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # an object a line, under the wrong ending
            return _rows_of_json_lines(text, path)
        raise ConfigError(f"{path}:{error.lineno}: not valid JSON: {error.msg}.") from None
    return list(rows_of_value(value, str(path)))


def _rows_of_json_lines(text: str, path: Path) -> list[Row]:
    rows: list[Row] = []
    for row in _rows_of_lines(text, path):
        try:
            value = json.loads(row.values["prompt"])
        except json.JSONDecodeError as error:
            raise ConfigError(f"{row.where}: not valid JSON: {error.msg}.") from None
        rows += [found._replace(where=row.where) for found in rows_of_value([value], row.where)]
    return rows


FORMS: Mapping[str, Callable[[str, Path], list[Row]]] = {
    "": _rows_of_lines,
    ".txt": _rows_of_lines,
    ".csv": rows_of_table,
    ".tsv": rows_of_table,
    ".json": _rows_of_json,
    ".jsonl": _rows_of_json_lines,
    ".ndjson": _rows_of_json_lines,
}
"""A file's ending to its reader; YAML and folders are read apart, since their prompts may have ids of their own."""


def _prompts_of_folder(folder: Path) -> Found:
    """Return a prompt for each text file, named after it, in the order people count; subfolders are categories."""
    paths = [path for path in folder.rglob("*") if path.suffix.lower() == ".txt" and path.is_file()]
    paths = [path for path in paths if FOLDER_NAME not in path.relative_to(folder).parts[:-1]]
    rows = []
    for path in sorted(paths, key=lambda path: [_counting_key(part) for part in path.relative_to(folder).parts]):
        text = read_text(path, OPTION)
        if len(lines_of(text.strip())) > MOST_LINES_OF_A_PROMPT:
            raise ConfigError(
                f"{path} has {len(lines_of(text.strip())):,} lines, and in a folder each file is one prompt; "
                f"give {OPTION} this file, which is a list by itself."
            )
        rows.append(Row({"id": path.stem, "category": path.parent.name, "prompt": text}, str(path)))
    return prompts_of_rows(rows, Columns("prompt", "id", "category"), folder.name)._replace(told=[])


def _counting_key(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _expanded(found: list[tuple[Prompt, str]], wildcards: Wildcards) -> Iterator[tuple[Prompt, str]]:
    """Yield each prompt's expansions; they are named after the prompt, or after their own text where it named it."""
    for prompt, where in found:
        for text, choices in wildcards.expand(prompt.text, where):
            if not choices:
                yield replace(prompt, text=text), where
                continue
            name = id_from_text(text)
            if prompt.id != id_from_text(prompt.text):
                name = f"{prompt.id}-{name[-10:]}"
            yield replace(prompt, id=name, text=text, details={**prompt.details, **choices}), where


def _plain(file: YamlFile, node: yaml.Node) -> Any:
    """Return a YAML document as lists, mappings and texts, the texts as written: `no` is a word here."""
    if isinstance(node, yaml.SequenceNode):
        return [_plain(file, item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {entry.key: _plain(file, entry.node) for entry in file.mapping(node, "an entry").values()}
    return node.value
