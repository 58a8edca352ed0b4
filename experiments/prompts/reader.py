"""Prompt files: ids, categories, difficulty, and what the picture must show.

The counts in `metadata` are computed from the prompts, so that they can't be wrong. Which prompts an experiment uses is
decided in `experiments.planning.design`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from experiments.prompts.strict_yaml import YamlFile
from llm_dit.errors import ConfigError, InvalidParameter, LlmDitError, nearest
from llm_dit.parameters import GenerationParams

STANDARD_PROMPTS = Path(__file__).parent / "standard_prompts.yaml"
LONG_PROMPTS = Path(__file__).parent / "long_prompts.yaml"
DIFFICULTIES = ("easy", "medium", "hard")
FILE_VERSION = 1


@dataclass(frozen=True)
class Prompt:
    """One prompt of a file.

    Attributes:
        id: Unique in its file; part of file names.
        category: The group it stands in.
        difficulty: `easy`, `medium` or `hard`; empty where the file does not say.
        text: What the model is told.
        must_show: What a true picture shows, item by item.
    """

    id: str
    category: str
    difficulty: str
    text: str
    must_show: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the prompt as JSON and callers of the functions below see it, its text under `prompt`."""
        values = asdict(self)
        return {
            "id": values["id"],
            "category": values["category"],
            "difficulty": values["difficulty"],
            "prompt": values["text"],
            "must_show": list(values["must_show"]),
        }


def read_prompts(path: Path) -> tuple[Prompt, ...]:
    """Read a prompt file, in the order it is written.

    Args:
        path: YAML file with `version: 1` and `categories`, or a text file (`.txt`) with a prompt a line.

    Raises:
        ConfigError: With file and line, for what is unknown, missing, duplicate or empty.
    """
    if path.suffix == ".txt":
        return _prompts_from_lines(path)
    file = YamlFile(path, option="--prompts-file")
    top = file.mapping(
        file.root,
        "a prompt file",
        allowed=("version", "description", "categories"),
        required=("version", "categories"),
    )
    if file.scalar(top["version"].node, "version") != FILE_VERSION:
        raise file.error(top["version"].node, f"version must be {FILE_VERSION}.")
    prompts: dict[str, tuple[Prompt, yaml.Node]] = {}
    for category in file.mapping(top["categories"].node, "categories").values():
        for node in file.items(category.node, f"category {category.key!r}"):
            prompt = _prompt_from_node(file, node, category.key)
            if prompt.id in prompts:
                first = prompts[prompt.id][1].start_mark.line + 1
                raise file.error(node, f"prompt id {prompt.id!r} is taken; the first stands in line {first}.")
            prompts[prompt.id] = (prompt, node)
    if not prompts:
        raise file.error(file.root, "there is no prompt in this file.")
    return tuple(prompt for prompt, _ in prompts.values())


def load_standard_prompts() -> dict[str, Any]:
    """Return the standard prompts with computed metadata.

    Returns:
        `metadata` (total_prompts, categories and difficulties with their counts) and `prompts`, a list of dicts with
        id, category, difficulty, prompt and must_show.
    """
    prompts = _standard_prompts()
    return {
        "metadata": {
            "version": FILE_VERSION,
            "total_prompts": len(prompts),
            "categories": dict(Counter(prompt.category for prompt in prompts)),
            "difficulties": dict(Counter(prompt.difficulty for prompt in prompts)),
        },
        "prompts": [prompt.as_dict() for prompt in prompts],
    }


def get_prompts_by_category(category: str) -> list[dict[str, Any]]:
    """Return the standard prompts of one category.

    Raises:
        LlmDitError: For an unknown category; the message names the nearest.
    """
    _check_known("category", category, get_categories())
    return [prompt.as_dict() for prompt in _standard_prompts() if prompt.category == category]


def get_prompt_by_id(prompt_id: str) -> dict[str, Any]:
    """Return one standard prompt.

    Raises:
        LlmDitError: For an unknown id; the message names the nearest.
    """
    by_id = {prompt.id: prompt for prompt in _standard_prompts()}
    _check_known("prompt id", prompt_id, by_id)
    return by_id[prompt_id].as_dict()


def get_all_prompt_texts() -> list[str]:
    """Return the texts of the standard prompts, in order."""
    return [prompt.text for prompt in _standard_prompts()]


def get_categories() -> list[str]:
    """Return the standard categories, in order."""
    return list(dict.fromkeys(prompt.category for prompt in _standard_prompts()))


def _check_known(what: str, name: str, known: Iterable[str]) -> None:
    names = list(known)
    if name not in names:
        raise LlmDitError(f"There is no {what} {name!r}{nearest(name, names)}", field=what.replace(" ", "_"))


@lru_cache(maxsize=1)
def _standard_prompts() -> tuple[Prompt, ...]:
    return read_prompts(STANDARD_PROMPTS)


def _prompt_from_node(file: YamlFile, node: yaml.Node, category: str) -> Prompt:
    keys = ("id", "difficulty", "prompt", "must_show")
    entries = file.mapping(node, "a prompt", allowed=keys, required=("id", "prompt"))
    difficulty = file.text(entries["difficulty"].node, "difficulty") if "difficulty" in entries else ""
    if difficulty and difficulty not in DIFFICULTIES:
        raise file.error(
            entries["difficulty"].node, f"difficulty {difficulty!r} is not one of {', '.join(DIFFICULTIES)}."
        )
    shows = file.items(entries["must_show"].node, "must_show") if "must_show" in entries else []
    text = file.text(entries["prompt"].node, "prompt").strip()
    try:
        GenerationParams.parse({"prompt": text})
    except InvalidParameter as error:
        raise file.error(entries["prompt"].node, str(error)) from None
    return Prompt(
        id=file.text(entries["id"].node, "id"),
        category=category,
        difficulty=difficulty,
        text=text,
        must_show=tuple(file.text(item, "must_show") for item in shows),
    )


def _prompts_from_lines(path: Path) -> tuple[Prompt, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--prompts-file {path} can't be read: {error}.") from None
    texts = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    if not texts:
        raise ConfigError(f"{path}: there is no prompt in this file.")
    for number, text in texts:
        try:
            GenerationParams.parse({"prompt": text})
        except InvalidParameter as error:
            raise ConfigError(f"{path}:{number}: {error}") from None
    return tuple(Prompt(f"line_{number:03d}", path.stem, "", text) for number, text in texts)
