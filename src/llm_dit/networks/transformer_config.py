"""Sizes of Z-Image's transformer, as its published `transformer/config.json` tells them, checked.

It knows no tensors and imports none, so that a configuration can be read where no model is loaded.

Source: diffusers 0.42 `models/transformers/transformer_z_image.py`, whose argument names these are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from llm_dit.errors import LlmDitError
from llm_dit.networks.config_values import number, switch, whole, wholes

PATCH_SIZE = 2
WHAT = "The transformer"
SEQUENCE_MULTIPLE = 32
"""Every sequence is filled up to a multiple of this with learned pad tokens, which are attended to."""


@dataclass(frozen=True)
class ZImageTransformerConfig:
    """Sizes of the network, under the names of the published `transformer/config.json`."""

    in_channels: int
    dim: int
    n_layers: int
    n_refiner_layers: int
    n_heads: int
    n_kv_heads: int
    norm_eps: float
    qk_norm: bool
    cap_feat_dim: int
    rope_theta: float
    t_scale: float
    axes_dims: tuple[int, ...]
    axes_lens: tuple[int, ...]
    all_patch_size: tuple[int, ...]
    all_f_patch_size: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("in_channels", "dim", "n_layers", "n_heads", "cap_feat_dim"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise LlmDitError(
                    f"{name} = {getattr(self, name)!r} in the transformer's config must be a whole number >= 1."
                )
        if self.dim % self.n_heads:
            raise LlmDitError(f"dim {self.dim} is not divisible by n_heads {self.n_heads}.")
        if self.n_kv_heads != self.n_heads:
            raise LlmDitError(f"n_kv_heads {self.n_kv_heads} differs from n_heads {self.n_heads}; they must be equal.")
        if len(self.axes_dims) != 3 or len(self.axes_lens) != 3 or any(width % 2 for width in self.axes_dims):
            raise LlmDitError(f"axes_dims {self.axes_dims}, axes_lens {self.axes_lens}: need three axes, even widths.")
        if sum(self.axes_dims) != self.dim // self.n_heads:
            raise LlmDitError(
                f"axes_dims {self.axes_dims} do not add up to dim / n_heads = {self.dim // self.n_heads}."
            )
        if (self.all_patch_size, self.all_f_patch_size) != ((PATCH_SIZE,), (1,)):
            raise LlmDitError(
                f"Patch sizes {self.all_patch_size}, {self.all_f_patch_size} are not supported; only (2,) and (1,) are."
            )

    @property
    def text_token_limit(self) -> int:
        """Longest caption, in tokens, whose padded length L has its image index L + 1 inside the position table."""
        return (self.axes_lens[0] - 2) // SEQUENCE_MULTIPLE * SEQUENCE_MULTIPLE

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "ZImageTransformerConfig":
        """Read the content of a published `transformer/config.json`.

        Args:
            config: The parsed file. Keys that start with "_" say which program wrote it, and keys of later versions
                that are null change nothing: both are ignored.

        Raises:
            LlmDitError: If a key is missing or unknown, or a value is not supported.
        """
        known = {field.name for field in fields(cls)}
        given = {
            key: value
            for key, value in config.items()
            if key in known or not (key.startswith("_") or value is None)  # diffusers writes new keys with null
        }
        if "siglip_feat_dim" in given:
            raise LlmDitError(
                "siglip_feat_dim is set: checkpoints with image conditioning (Omni) are not supported; use Z-Image or "
                "Z-Image-Turbo."
            )
        if given.keys() != known:
            raise LlmDitError(
                "The transformer's config.json does not describe a Z-Image transformer: "
                f"missing {sorted(known - given.keys())}, unknown {sorted(given.keys() - known)}."
            )
        values = {field.name: _reader(field.type)(given, field.name, WHAT) for field in fields(cls)}
        return cls(**values)


def _reader(kind: Any) -> Callable[[Mapping[str, Any], str, str], Any]:
    """Return what reads a field of a type from a configuration."""
    readers: dict[Any, Callable[[Mapping[str, Any], str, str], Any]] = {int: whole, float: number, bool: switch}
    return readers.get(kind, wholes)
