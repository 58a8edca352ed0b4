"""Prompt files in the project's own form: YAML with a version, and categories of prompts with ids."""

from __future__ import annotations

import yaml

from experiments.prompts.prompt import DIFFICULTIES, LISTS, Prompt
from experiments.prompts.strict_yaml import YamlFile

FILE_VERSION = 1


def is_project_file(file: YamlFile) -> bool:
    """Return True if a file means to have this form, and is read strictly then."""
    if not isinstance(file.root, yaml.MappingNode):
        return False
    keys = {key.value for key, _ in file.root.value}
    return bool(keys & {"version", "categories"}) and "prompts" not in keys


def prompts_of_project_file(file: YamlFile) -> list[tuple[Prompt, str]]:
    """Return the prompts in the order they are written, and where each stands.

    Raises:
        ConfigError: With file and line, for what is unknown, missing, duplicate or empty.
    """
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
    return [(prompt, file.place(node)) for prompt, node in prompts.values()]


def _prompt_from_node(file: YamlFile, node: yaml.Node, category: str) -> Prompt:
    keys = ("id", "difficulty", "prompt", *LISTS)
    entries = file.mapping(node, "a prompt", allowed=keys, required=("id", "prompt"))
    difficulty = file.text(entries["difficulty"].node, "difficulty") if "difficulty" in entries else ""
    if difficulty and difficulty not in DIFFICULTIES:
        raise file.error(
            entries["difficulty"].node, f"difficulty {difficulty!r} is not one of {', '.join(DIFFICULTIES)}."
        )

    def listed(name: str) -> tuple[str, ...]:
        return tuple(file.text(item, name) for item in file.items(entries[name].node, name)) if name in entries else ()

    return Prompt(
        id=file.text(entries["id"].node, "id"),
        category=category,
        difficulty=difficulty,
        text=file.text(entries["prompt"].node, "prompt").strip(),
        must_show=listed("must_show"),
        words=listed("words"),
        questions=listed("questions"),
    )
