"""The files that are written from the parameters: `config.toml.example` and `docs/configuration.md`."""

from __future__ import annotations

from llm_dit.config_file import DEFAULT_PROFILE, TABLES, file_parameters, toml_value
from llm_dit.parameters import GROUPS, PARAMETERS, Parameter


def _example_line(parameter: Parameter) -> list[str]:
    allowed = f" ({parameter.allowed})" if parameter.allowed else ""
    by_default = f" By default {parameter.note.unset}." if parameter.note.unset else ""
    lines = [f"# {parameter.help}{by_default}{allowed}"]
    if parameter.default is None:
        return [*lines, f"# {parameter.key} ="]
    return [*lines, f"{parameter.key} = {toml_value(parameter.default)}"]


def example_file() -> str:
    """Return the text of `config.toml.example`: every key with its help and default."""
    lines = [
        "# Configuration of llm-dit. Generated from the code by `uv run scripts/write_reference.py`.",
        "# A table per profile; other profiles inherit from [default]. Flags win over the file.",
        "",
    ]
    for table in TABLES:
        lines.append(f"[{DEFAULT_PROFILE}.{table}]" if table else f"[{DEFAULT_PROFILE}]")
        for parameter in file_parameters():
            if parameter.note.table == table:
                lines += _example_line(parameter)
        lines.append("")
    lines += [
        "# A profile of your own says only what differs, such as a card of 24 GiB that draws the screen too.",
        "[rtx4090]",
        "",
    ]
    lines += ["[rtx4090.pipeline]", "vram_limit = 22", ""]
    return "\n".join(lines)


def reference_page() -> str:
    """Return the text of `docs/configuration.md`: one row a parameter."""
    lines = [
        "# Configuration",
        "",
        "Generated from `src/llm_dit/parameters/` by `uv run scripts/write_reference.py`.",
        "",
        "A value is taken from the flag or request, else from the profile, else from the profile `default`, else it is",
        "the built-in default below. Every parameter is a field of that name in Python, over HTTP and in the metadata;",
        "`steps` is read as `num_inference_steps` everywhere. `--prompt` belongs to `scripts/generate.py`.",
        "",
    ]
    for group in GROUPS:
        lines += [f"## {group.__name__}", "", (group.__doc__ or "").strip().splitlines()[0], ""]
        lines += ["| field | file | flag | default | allowed | image | meaning |", "|---|---|---|---|---|---|---|"]
        lines += [_reference_row(item) for item in PARAMETERS.values() if item.group is group]
        lines.append("")
    lines += ["The column *image* says whether the parameter is part of what makes an image the same image.", ""]
    return "\n".join(lines)


def _reference_row(parameter: Parameter) -> str:
    place = ".".join(part for part in (parameter.note.table, parameter.key) if part)
    file = f"`{place}`" if parameter.note.in_file else "-"
    flags = ", ".join(f"`{flag}`" for flag in reversed(parameter.flags))
    unset = parameter.note.unset or "none"
    default = "required" if parameter.required else unset if parameter.default is None else f"`{parameter.default!r}`"
    allowed = parameter.allowed or parameter.kind
    if parameter.step:
        allowed += f", multiples of {parameter.step}"
    identity = "yes" if parameter.note.changes_image else "no"
    return f"| `{parameter.name}` | {file} | {flags} | {default} | {allowed} | {identity} | {parameter.help} |"
