"""Template files: ready-made system prompts, and instructions for the rewriter.

A template is a Markdown file with front matter between two lines of `---`: `name`, `description`, and `kind`, which is
`prompt` (the body is a system prompt; `thinking_content` and `assistant_content` may stand in the front matter too), as
in a file without a kind, or `rewriter` (the body instructs the language model). A broken file is reported and left out,
never fatal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llm_dit.errors import LlmDitError, nearest
from llm_dit.home import home

TemplateKind = Literal["prompt", "rewriter"]
FRONT_MATTER_LINE = "---"
EXTRA_KEYS = ("thinking_content", "assistant_content")
MAX_TEMPLATE_BYTES = 256 * 1024
DEFAULT_REWRITER = "Expand"
"""The rewriter template taken where none is named."""


@dataclass(frozen=True)
class Template:
    """One template.

    Attributes:
        name: Unique among the templates of its kind.
        description: One sentence.
        kind: `prompt` or `rewriter`.
        body: System prompt, or the rewriter's instruction.
        thinking_content: Think block that goes with a prompt template; None for none.
        assistant_content: Beginning of the answer that goes with a prompt template; None for none.
        is_own: True if it comes from the user's folder.
    """

    name: str
    description: str
    kind: TemplateKind
    body: str
    thinking_content: str | None = None
    assistant_content: str | None = None
    is_own: bool = False


class TemplateShelf:
    """The templates that come with the project, and a folder of the user's own, which win where names are equal.

    Args:
        own_folder: The user's folder; None for none.
        folder: The project's folder.
    """

    def __init__(self, own_folder: Path | None = None, folder: Path | None = None) -> None:
        self._folders = [(folder or included_folder(), False)]
        if own_folder is not None:
            self._folders.append((own_folder, True))

    def read(self) -> tuple[list[Template], list[str]]:
        """Read all files again.

        Returns:
            The templates by kind and name, and one sentence for each broken file.
        """
        found: dict[tuple[str, str], Template] = {}
        problems = []
        for folder, is_own in self._folders:
            if is_own and not folder.is_dir():
                problems.append(f"The templates folder {folder} does not exist.")
            for path in sorted(folder.glob("*.md")):
                try:
                    template = read_template(path, is_own=is_own)
                except LlmDitError as error:
                    problems.append(str(error))
                else:
                    found[template.kind, template.name] = template
        return sorted(found.values(), key=lambda template: (template.kind, template.name.lower())), problems

    def of_kind(self, kind: TemplateKind) -> list[Template]:
        """Return the templates of one kind by name."""
        return [template for template in self.read()[0] if template.kind == kind]

    def get(self, kind: TemplateKind, name: str) -> Template:
        """Return one template.

        Raises:
            LlmDitError: If there is none of that name; names the nearest.
        """
        by_name = {template.name: template for template in self.of_kind(kind)}
        if name not in by_name:
            raise LlmDitError(f"There is no {kind} template {name!r}{nearest(name, by_name)}", field=kind)
        return by_name[name]


def included_folder() -> Path:
    """Return the folder of the templates that come with the project."""
    return home() / "templates"


def read_template(path: Path, *, is_own: bool = False) -> Template:
    """Read one file.

    Raises:
        LlmDitError: Naming the file and what is wrong with it.
    """
    front, body = _split(path)
    kind = front.get("kind", "prompt")
    if kind != "prompt" and kind != "rewriter":
        raise LlmDitError(f"{path.name}: kind is {kind!r}; use prompt or rewriter.")
    allowed = ("name", "description", "kind", *(EXTRA_KEYS if kind == "prompt" else ()))
    for key, value in front.items():
        if not isinstance(key, str):
            raise LlmDitError(f"{path.name}: the front matter key {str(key)[:40]!r} is not a text.")
        if key not in allowed:
            raise LlmDitError(f"{path.name}: there is no front matter key {key!r}{nearest(str(key), allowed)}")
        if not isinstance(value, str):
            raise LlmDitError(f"{path.name}: {key} is not a text.")
    for key in ("name", "description"):
        if not front.get(key, "").strip():
            raise LlmDitError(f"{path.name}: {key} is missing.")
    if not body:
        raise LlmDitError(f"{path.name}: there is nothing below the front matter.")
    extras = {key: front.get(key) for key in EXTRA_KEYS}
    return Template(front["name"].strip(), front["description"].strip(), kind, body, **extras, is_own=is_own)


def _split(path: Path) -> tuple[dict[Any, Any], str]:
    import yaml

    if not path.is_file():  # a pipe would be waited for
        raise LlmDitError(f"{path.name}: is not a file.")
    try:
        if path.stat().st_size > MAX_TEMPLATE_BYTES:
            raise LlmDitError(f"{path.name}: is larger than {MAX_TEMPLATE_BYTES // 1024} KiB.")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LlmDitError(f"{path.name}: can't be read ({error}).") from None
    if not lines or lines[0].strip() != FRONT_MATTER_LINE:
        raise LlmDitError(f"{path.name}: the first line has to be {FRONT_MATTER_LINE}.")
    ends = _line_numbers(lines[1:])
    if not ends:
        raise LlmDitError(f"{path.name}: the front matter is not closed with {FRONT_MATTER_LINE}.")
    try:
        front = yaml.safe_load("\n".join(lines[1 : ends[0] + 1]))
    except RecursionError:
        raise LlmDitError(f"{path.name}: the front matter is nested too deeply.") from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:  # PyYAML lets those of its values through
        problem = str(error).replace("\n", " ")
        raise LlmDitError(f"{path.name}: the front matter is not valid YAML ({problem}).") from None
    if not isinstance(front, dict):
        raise LlmDitError(f"{path.name}: the front matter has to be keys and values.")
    return front, "\n".join(lines[ends[0] + 2 :]).strip()


def _line_numbers(lines: Sequence[str]) -> list[int]:
    return [number for number, line in enumerate(lines) if line.strip() == FRONT_MATTER_LINE]
