"""The values in use: those of a configuration file's profile, under flags or a request, over the built-in defaults.

Precedence: flag or request > profile > profile `default` > built-in default. `config_file.py` reads the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_dit.config_file import DEFAULT_PROFILE, read_config_file
from llm_dit.errors import ConfigError, InvalidParameter, nearest
from llm_dit.parameters import (
    PARAMETERS,
    ClusterSettings,
    EngineSettings,
    GenerationParams,
    MetricSettings,
    Parameters,
    RewriterSettings,
    ServerSettings,
)


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
    def cluster(self) -> ClusterSettings:
        """Workers in use."""
        return ClusterSettings.parse(self._of(ClusterSettings))

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
    file = read_config_file(path)
    wanted = profile or DEFAULT_PROFILE
    if wanted not in file.profiles and profile:
        raise ConfigError(f"{path}: there is no profile {wanted!r}{nearest(wanted, file.profiles)}", field="profile")
    values = {**file.shared, **file.profiles.get(DEFAULT_PROFILE, {}), **file.profiles.get(wanted, {})}
    _check_together(path, wanted, values)
    return Config(values, path, wanted)


def _check_together(path: Path, profile: str, values: Mapping[str, Any]) -> None:
    config = Config(values, path, profile)
    try:
        config.generation("-")
    except InvalidParameter as error:
        raise ConfigError(f"{path}: profile {profile}: {error}", field=error.field) from None
