"""The configuration file: TOML profiles that inherit from `default`, checked key by key against the parameters.

Precedence: flag or request > profile > profile `default` > built-in default. The generated example file and the
reference page are written here too, so that they cannot drift from the parameters.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_dit.errors import ConfigError, InvalidParameter, nearest
from llm_dit.parameters import (
    GROUPS,
    PARAMETERS,
    EngineSettings,
    GenerationParams,
    MetricSettings,
    Parameter,
    Parameters,
    RewriterSettings,
    ServerSettings,
)

DEFAULT_PROFILE = "default"
SHARED_TABLE = "server"
"""The one table that may also stand at the top of the file, outside any profile."""

TABLE_TITLES = {
    "": "Profile",
    "encoder": "Text encoder",
    "pipeline": "Transformer and VAE",
    "scheduler": "Schedule",
    "generation": "Image",
    "pytorch": "Long prompts, kernels",
    "rewriter": "Prompt rewriter",
    "metrics": "Scorers",
    "server": "Web page",
}


@dataclass(frozen=True)
class Config:
    """The values a file sets, by parameter name; everything else keeps its built-in default.

    Attributes:
        values: Parameter name to value, already validated one by one.
        path: The file they came from, if any.
        profile: Name of the profile.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    profile: str = DEFAULT_PROFILE

    def replaced(self, values: Mapping[str, Any]) -> Config:
        """Return a copy in which `values` (flags, a request) win over the file's."""
        return Config({**self.values, **values}, self.path, self.profile)

    def generation(self, prompt: str, **overrides: Any) -> GenerationParams:
        """Return the parameters of one image of `prompt`.

        Raises:
            InvalidParameter: If a value is out of range.
        """
        return GenerationParams.parse(
            {**self._of(GenerationParams), "prompt": prompt, **GenerationParams.in_own_names(overrides)}
        )

    @property
    def generation_values(self) -> dict[str, Any]:
        """The generation parameters that the file or the flags set, without a prompt."""
        return self._of(GenerationParams)

    @property
    def engine(self) -> EngineSettings:
        """Model, devices and numerics."""
        return EngineSettings.parse(self._of(EngineSettings))

    @property
    def rewriter(self) -> RewriterSettings:
        """Sampling of the prompt rewriter."""
        return RewriterSettings.parse(self._of(RewriterSettings))

    @property
    def metrics(self) -> MetricSettings:
        """Scorers in use."""
        return MetricSettings.parse(self._of(MetricSettings))

    @property
    def server(self) -> ServerSettings:
        """Address and data of the web page."""
        return ServerSettings.parse(self._of(ServerSettings))

    def _of(self, group: type[Parameters]) -> dict[str, Any]:
        return {name: value for name, value in self.values.items() if PARAMETERS[name].group is group}


def load_config(path: Path | None, profile: str | None = None) -> Config:
    """Read a configuration file.

    Args:
        path: TOML file; None gives the built-in defaults.
        profile: Name of a profile; `default` if None.

    Raises:
        ConfigError: If the file can't be read, or names an unknown profile, table or key, or a value out of range. The
            message gives file, key, and the nearest valid name.
    """
    if path is None:
        if profile not in (None, DEFAULT_PROFILE):
            raise ConfigError(f"--profile {profile} needs --config, the file that defines it.", field="profile")
        return Config()
    document = _read_toml(path)
    profiles = {name: table for name, table in document.items() if name != SHARED_TABLE}
    for name, table in profiles.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {name!r} stands outside a profile; put it under [{DEFAULT_PROFILE}].")
    wanted = profile or DEFAULT_PROFILE
    if wanted not in profiles and not (wanted == DEFAULT_PROFILE and not profile):
        raise ConfigError(f"{path}: there is no profile {wanted!r}{nearest(wanted, profiles)}", field="profile")
    values: dict[str, Any] = {}
    checked = {name: _profile_values(path, name, table) for name, table in profiles.items()}
    if SHARED_TABLE in document:
        values |= _table_values(path, f"[{SHARED_TABLE}]", SHARED_TABLE, document[SHARED_TABLE])
    values |= checked.get(DEFAULT_PROFILE, {}) | checked.get(wanted, {})
    _check_together(path, wanted, values)
    return Config(values, path, wanted)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; copy config.toml.example to start one.", field="config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}.", field="config") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.", field="config") from None


def _profile_values(path: Path, profile: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Check every table of one profile; return parameter name to value."""
    values: dict[str, Any] = {}
    top_keys = {parameter.key for parameter in PARAMETERS.values() if parameter.note.table == ""}
    table_names = {name for name in TABLE_TITLES if name}
    for key, value in table.items():
        if key in top_keys and not isinstance(value, dict):
            values |= _table_values(path, f"[{profile}]", "", {key: value})
        elif key not in table_names:
            raise ConfigError(f"{path}: [{profile}] has no {key!r}{nearest(key, table_names | top_keys)}")
        elif not isinstance(value, dict):
            raise ConfigError(f"{path}: [{profile}] {key} is a table; write [{profile}.{key}].")
        else:
            values |= _table_values(path, f"[{profile}.{key}]", key, value)
    return values


def _table_values(path: Path, header: str, table: str, entries: Any) -> dict[str, Any]:
    if not isinstance(entries, dict):
        raise ConfigError(f"{path}: {header} is a table of keys, not a value.")
    by_key = {item.key: item for item in file_parameters() if item.note.table == table}
    values: dict[str, Any] = {}
    for key, value in entries.items():
        if key not in by_key:
            raise ConfigError(f"{path}: {header} has no key {key!r}{nearest(key, by_key)}")
        values[by_key[key].name] = _checked(path, header, by_key[key], value)
    return values


def _checked(path: Path, header: str, parameter: Parameter, value: Any) -> Any:
    kinds: dict[str, tuple[tuple[type, ...], str]] = {
        "integer": ((int,), "a whole number"),
        "number": ((int, float), "a number"),
        "switch": ((bool,), "true or false"),
    }
    types, wanted = kinds.get(parameter.kind, ((str,), "text in quotes"))
    if not isinstance(value, types):
        raise ConfigError(f"{path}: {header} {parameter.key} = {value!r} is not {wanted}.", field=parameter.name)
    prompt = {"prompt": "-"} if parameter.group is GenerationParams else {}
    together = {"extend_rope": True} if parameter.name == "max_text_tokens" else {}
    try:
        checked = parameter.group.parse({**prompt, **together, parameter.name: value})
    except InvalidParameter as error:
        raise ConfigError(f"{path}: {header} {error.named(parameter.key)}", field=parameter.name) from None
    return getattr(checked, parameter.name)


def _check_together(path: Path, profile: str, values: Mapping[str, Any]) -> None:
    config = Config(values, path, profile)
    try:
        config.generation("-")
    except InvalidParameter as error:
        raise ConfigError(f"{path}: profile {profile}: {error}", field=error.field) from None


def file_parameters() -> Iterable[Parameter]:
    """Yield the parameters that may stand in a configuration file."""
    return (parameter for parameter in PARAMETERS.values() if parameter.note.in_file)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def _example_line(parameter: Parameter) -> list[str]:
    allowed = f" ({parameter.allowed})" if parameter.allowed else ""
    lines = [f"# {parameter.help}{allowed}"]
    if parameter.default is None:
        return [*lines, f"# {parameter.key} ="]
    return [*lines, f"{parameter.key} = {_toml_value(parameter.default)}"]


def example_file() -> str:
    """Return the text of `config.toml.example`: every key with its help and default."""
    lines = [
        "# Configuration of llm-dit. Generated from the code by `uv run scripts/write_reference.py`.",
        "# A table per profile; other profiles inherit from [default]. Flags win over the file.",
        "",
    ]
    for table in TABLE_TITLES:
        lines.append(f"[{DEFAULT_PROFILE}.{table}]" if table else f"[{DEFAULT_PROFILE}]")
        for parameter in file_parameters():
            if parameter.note.table == table:
                lines += _example_line(parameter)
        lines.append("")
    lines += ["# A profile of your own says only what differs.", "[rtx4090]", ""]
    lines += ["[rtx4090.pipeline]", "offload = true", ""]
    return "\n".join(lines)


def reference_page() -> str:
    """Return the text of `docs/configuration.md`: one row a parameter."""
    lines = [
        "# Configuration",
        "",
        "Generated from `src/llm_dit/parameters/groups.py` by `uv run scripts/write_reference.py`.",
        "",
        "A value is taken from the flag or request, else from the profile, else from the profile `default`, else it is",
        "the built-in default below. Every parameter is a field of that name in Python, over HTTP and in the metadata.",
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
    default = "required" if parameter.required else "none" if parameter.default is None else f"`{parameter.default!r}`"
    allowed = parameter.allowed or parameter.kind
    if parameter.step:
        allowed += f", multiples of {parameter.step}"
    identity = "yes" if parameter.note.changes_image else "no"
    return f"| `{parameter.name}` | {file} | {flags} | {default} | {allowed} | {identity} | {parameter.help} |"
