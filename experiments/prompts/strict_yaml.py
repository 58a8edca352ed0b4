"""YAML files read strictly: every complaint names file and line.

It works on the nodes of the parsed document, which remember where they stand. It knows mappings, lists and scalars, and
nothing about experiments or prompts.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.prompts.text_file import read_text
from llm_dit.errors import ConfigError, nearest


@dataclass(frozen=True)
class Entry:
    """One key of a mapping and the node of its value."""

    key: str
    key_node: yaml.ScalarNode
    node: yaml.Node


class YamlFile:
    """A YAML document with its path, for messages such as `mine.yaml:12: unknown key 'axis'`."""

    def __init__(self, path: Path, *, option: str) -> None:
        """Read and parse `path`.

        Args:
            path: The file.
            option: The command line's name of the file, for the message where it is missing.

        Raises:
            ConfigError: If the file can't be read, is not YAML, or is empty.
        """
        self.path = path
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        text = read_text(path, option)
        try:
            root = yaml.compose(text, Loader=loader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ConfigError(f"{path}:{line}: not valid YAML: {error.problem}.") from None
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}: not valid YAML: {error}.") from None
        if root is None:
            raise ConfigError(f"{path}: the file is empty.")
        self.root: yaml.Node = root

    def error(self, node: yaml.Node, problem: str) -> ConfigError:
        """Return an error that says where `node` stands."""
        return ConfigError(f"{self.place(node)}: {problem}")

    def place(self, node: yaml.Node) -> str:
        """Return file and line of `node`."""
        return f"{self.path}:{node.start_mark.line + 1}"

    def mapping(
        self, node: yaml.Node, what: str, *, allowed: Collection[str] = (), required: Collection[str] = ()
    ) -> dict[str, Entry]:
        """Return the entries of a mapping, keys as written.

        Args:
            node: The node that must be a mapping.
            what: Its name in messages.
            allowed: The keys it may have; any where empty.
            required: The keys it must have.

        Raises:
            ConfigError: For another kind of node, and for duplicate, unknown and missing keys.
        """
        if not isinstance(node, yaml.MappingNode):
            raise self.error(node, f"{what} must be a mapping of keys to values.")
        entries: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.error(key_node, f"{what} has a key that is not plain text.")
            key = key_node.value
            if key in entries:
                first = entries[key].key_node.start_mark.line + 1
                raise self.error(key_node, f"{what} has {key!r} twice; the first stands in line {first}.")
            if allowed and key not in allowed:
                raise self.error(key_node, f"{what} has no key {key!r}{nearest(key, allowed)}")
            entries[key] = Entry(key, key_node, value_node)
        for key in required:
            if key not in entries:
                raise self.error(node, f"{what} needs the key {key!r}.")
        return entries

    def items(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        """Return the nodes of a list.

        Raises:
            ConfigError: For another kind of node.
        """
        if not isinstance(node, yaml.SequenceNode):
            raise self.error(node, f"{what} must be a list.")
        return list(node.value)

    def scalar(self, node: yaml.Node, what: str) -> Any:
        """Return a text, number, switch or None.

        Raises:
            ConfigError: For another kind of node.
        """
        if not isinstance(node, yaml.ScalarNode):
            raise self.error(node, f"{what} must be one value, not a list or a mapping.")
        try:
            value = yaml.SafeLoader("").construct_object(node)
        except (ValueError, yaml.YAMLError) as error:
            raise self.error(node, f"{what} = {node.value!r} can't be read: {error}.") from None
        return value if isinstance(value, str | int | float | bool | None) else node.value

    def text(self, node: yaml.Node, what: str) -> str:
        """Return a text; numbers and the like are taken as written.

        Raises:
            ConfigError: For a list, a mapping, or an empty text.
        """
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            raise self.error(node, f"{what} must be a text that is not empty.")
        return str(node.value)
