"""In which order settings of the engine are loaded, so that its parts are read anew as seldom as possible.

The text encoder's settings are outermost, since its encodings outlive every change of the other parts; then those of
the transformer's weights, then its attention kernel, which changes without them, then those of the VAE. Each group goes
back the way the last one came, so that neighbours share a part.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import PurePath

from llm_dit.checkpoints.model_file import SUFFIXES
from llm_dit.parameters import EngineSettings

KeyOf = Callable[[EngineSettings], Hashable]


def in_loading_order(settings: Iterable[EngineSettings]) -> tuple[EngineSettings, ...]:
    """Order settings, each of which is there once; those that differ in nothing that is loaded stay as they came."""
    return tuple(_nested(list(settings), (_text_encoder, _weights, _kernel, _vae)))


def _nested(settings: list[EngineSettings], keys: Sequence[KeyOf]) -> list[EngineSettings]:
    if not keys:
        return settings
    groups: dict[Hashable, list[EngineSettings]] = {}
    for one in settings:
        groups.setdefault(keys[0](one), []).append(one)
    ordered: list[EngineSettings] = []
    for number, group in enumerate(groups.values()):
        inner = _nested(group, keys[1:])
        ordered += reversed(inner) if number % 2 else inner
    return ordered


def _text_encoder(settings: EngineSettings) -> Hashable:
    is_file = PurePath(settings.model_path).suffix.lower() in SUFFIXES  # whose text encoder lies beside it
    brings_its_own = settings.text_encoder_path is None and not is_file
    return (
        (settings.model_path, settings.model_revision) if brings_its_own else settings.text_encoder_path,
        *(settings.tokenizer_path, settings.text_encoder_dtype, settings.text_encoder_quantization),
    )


def _weights(settings: EngineSettings) -> Hashable:
    return settings.model_path, settings.model_revision, settings.dtype, settings.quantization, settings.compile


def _kernel(settings: EngineSettings) -> Hashable:
    return settings.attention_backend


def _vae(settings: EngineSettings) -> Hashable:
    return settings.vae_path, settings.vae_tiling
