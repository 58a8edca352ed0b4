"""What makes two runs comparable: the one definition behind stale results, dry runs, counts, reports and times.

Pictures may be compared where everything beside the levels is equal: resolved parameters, hashes of the model, numerics
(`Conditions`). What a run is called, where its folder lies and which command made it don't matter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from llm_dit.parameters import ALWAYS_TOLD, PARAMETERS, GenerationParams

IDENTITY_VERSION = "r1"
"""Raised when the same inputs begin to mean another image."""
FIRST_NUMERICS = frozenset(
    (
        "attention_backend",
        "compile",
        "dit_device",
        "dtype",
        "quantization",
        "text_encoder_device",
        "text_encoder_dtype",
        "text_encoder_quantization",
        "vae_device",
        "vae_dtype",
        "vae_tiling",
    )
)
"""Numerics that every hash holds; others are left out of it where they say that nothing is done."""
NOTHING_DONE = ("", "none", "off", "false")


def told_parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the parameters that change nothing at their value, so that a parameter added later moves no hash."""
    return {
        name: value for name, value in values.items() if (neutral := _neutral(name)) is ALWAYS_TOLD or value != neutral
    }


def told_numerics(values: Mapping[str, str]) -> dict[str, str]:
    """Leave out the numerics that say that nothing is done, apart from those that were always told."""
    return {name: value for name, value in values.items() if name in FIRST_NUMERICS or value not in NOTHING_DONE}


def run_identity(
    params: GenerationParams, formatted_prompt: str, negative: str | None, fingerprint: str, numerics: Mapping[str, str]
) -> str:
    """Return the versioned hash of everything that changes a run's image.

    Args:
        params: Resolved, with height, width and seed.
        formatted_prompt: What the text encoder reads.
        negative: The formatted negative prompt; None without guidance.
        fingerprint: Hash of the model's weights and configurations.
        numerics: Number formats, quantization and kernels in use.
    """
    values = told_parameters(params.model_dump())
    return versioned_hash([values, formatted_prompt, negative, fingerprint, told_numerics(numerics)])


def versioned_hash(values: Any) -> str:
    """Return a hash of JSON-able values, such as `r1:0a1b...`, equal for equal values in any process."""
    text = json.dumps(values, ensure_ascii=True, sort_keys=True, allow_nan=False, default=dict)
    return f"{IDENTITY_VERSION}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"


@dataclass(frozen=True)
class Conditions:
    """What all runs of a folder share, so that its levels may be compared.

    Attributes:
        parameters: Each generation parameter's value wherever no level sets it, size filled in; without prompt and
            seed, and without what every level sets.
        fingerprint: Hash of the model's weights and configurations.
        numerics: Number formats, quantization and kernels in use.
    """

    parameters: Mapping[str, Any]
    fingerprint: str
    numerics: Mapping[str, str]

    @cached_property
    def hash(self) -> str:
        """Versioned hash of all three."""
        return versioned_hash([told_parameters(self.parameters), self.fingerprint, told_numerics(self.numerics)])

    def differences(self, other: Conditions) -> list[str]:
        """Return what is different in `other`, each as `name: here -> there`.

        Parameters that only one side holds are none: on the other side every level sets them.
        """
        pairs: list[tuple[str, Any, Any]] = [("model fingerprint", self.fingerprint[:12], other.fingerprint[:12])]
        for name in sorted({*self.parameters, *other.parameters}):
            here, there = (side.parameters.get(name, _neutral(name)) for side in (self, other))
            if here is not ALWAYS_TOLD and there is not ALWAYS_TOLD:
                pairs.append((name, here, there))
        mine, theirs = told_numerics(self.numerics), told_numerics(other.numerics)
        pairs += [(name, mine.get(name), theirs.get(name)) for name in sorted({*mine, *theirs})]
        return [f"{name}: {before} -> {now}" for name, before, now in pairs if before != now]


def _neutral(name: str) -> Any:
    """Return the value of a parameter that leaves an image as it was before there was this parameter."""
    return PARAMETERS[name].note.neutral if name in PARAMETERS else ALWAYS_TOLD
