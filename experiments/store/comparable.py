"""What makes two runs comparable: the one definition behind stale results, dry runs, counts, reports and times.

Pictures may be compared where everything beside the levels is equal: resolved parameters, hashes of the model, numerics
(`Conditions`). What a run is called, where its folder lies and which command made it don't matter. Versions, card and
threads move last bits: pictures that differ in them are compared, and it is said. Times are compared within one run of
the command, which is on one machine.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from experiments.store.records import RunRecord
from llm_dit.parameters import ALWAYS_TOLD, PARAMETERS, GenerationParams
from llm_dit.parameters.loras import lora_entries

MODEL_PARAMETERS = frozenset(("model_path", "model_revision", "text_encoder_path", "tokenizer_path", "vae_path"))
"""Settings of the engine that say which files are read."""
FOLLOWING_NUMERICS = {"dtype": ("vae_dtype", "attention_backend")}
"""Numerics that follow from a setting beside the one of its own name."""
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
MAY_DIFFER = "Equal runs can differ there by a level of a channel."
NOTHING_DONE = ("", "none", "off", "false")


def told_parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the parameters that change nothing at their value, so that a parameter added later moves no hash."""
    told = {
        name: value for name, value in values.items() if (neutral := _neutral(name)) is ALWAYS_TOLD or value != neutral
    }
    return _with_lora_contents(told) if "loras" in told else told


def _with_lora_contents(told: Mapping[str, Any]) -> dict[str, Any]:
    """Tell LoRAs by what their files hold and their whole strength; one of strength 0 changes nothing."""
    factor = told.get("lora_strength", 1.0)
    entries = [(content, strength * factor) for content, strength in _lora_contents(told["loras"])]
    told = {name: value for name, value in told.items() if name not in ("loras", "lora_strength")}
    active = [list(entry) for entry in entries if entry[1]]
    return {**told, "loras": active} if active else told


def told_numerics(values: Mapping[str, str]) -> dict[str, str]:
    """Leave out the numerics that say that nothing is done, apart from those that were always told."""
    return {name: value for name, value in values.items() if name in FIRST_NUMERICS or value not in NOTHING_DONE}


def _lora_contents(loras: str) -> list[tuple[str, float]]:
    """Return hash and strength of each LoRA; the file's name where nobody has hashed it."""
    return [(entry.hash or entry.file, entry.strength) for entry in lora_entries(loras)]


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
class ModelIdentity:
    """What of a loaded model changes its images.

    Attributes:
        fingerprint: Hash of the model's weights and configurations.
        numerics: Number formats, quantization and kernels in use.
    """

    fingerprint: str
    numerics: Mapping[str, str]

    @cached_property
    def told(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Return the same for equal images."""
        return self.fingerprint, tuple(sorted(told_numerics(self.numerics).items()))


def varied_by(settings: Iterable[str], models: Iterable[ModelIdentity]) -> frozenset[str]:
    """Return what of a model its levels vary: names of numerics, and `fingerprint`.

    Args:
        settings: Settings of the engine that some level sets.
        models: Of all levels.
    """
    names = set(settings)
    varied = {"fingerprint"} if names & MODEL_PARAMETERS else set()
    varied |= {name for setting in names - MODEL_PARAMETERS for name in (setting, *FOLLOWING_NUMERICS.get(setting, ()))}
    if names:
        values: dict[str, set[str | None]] = {}
        seen = [{"fingerprint": model.fingerprint, **model.numerics} for model in models]
        for name in {name for one in seen for name in one}:
            values[name] = {one.get(name) for one in seen}
        varied |= {name for name, found in values.items() if len(found) > 1}
    return frozenset(varied)


@dataclass(frozen=True)
class Conditions:
    """What all runs of a folder share, so that its levels may be compared.

    Attributes:
        parameters: Each generation parameter's value wherever no level sets it, size filled in; without prompt and
            seed, and without what every level sets.
        fingerprint: Hash of the model's weights and configurations; empty where levels vary it.
        numerics: Number formats, quantization and kernels in use, without those that levels vary.
        varied: Names of the numerics that levels vary, and `fingerprint`.
    """

    parameters: Mapping[str, Any]
    fingerprint: str
    numerics: Mapping[str, str]
    varied: frozenset[str] = frozenset()

    @classmethod
    def of(cls, parameters: Mapping[str, Any], model: ModelIdentity, varied: frozenset[str] = frozenset()) -> Self:
        """Return the conditions under which a model is run, without what levels vary."""
        numerics = {name: value for name, value in model.numerics.items() if name not in varied}
        return cls(parameters, "" if "fingerprint" in varied else model.fingerprint, numerics, varied)

    @property
    def model(self) -> ModelIdentity:
        """What all runs share of the model."""
        return ModelIdentity(self.fingerprint, self.numerics)

    @cached_property
    def hash(self) -> str:
        """Versioned hash of all three."""
        return versioned_hash([told_parameters(self.parameters), self.fingerprint, told_numerics(self.numerics)])

    def differences(self, other: Conditions) -> list[str]:
        """Return what is different in `other`, each as `name: here -> there`.

        Parameters that only one side holds are none: on the other side every level sets them. The same holds for what
        levels of one side vary.
        """
        varied = self.varied | other.varied
        pairs: list[tuple[str, Any, Any]] = []
        if "fingerprint" not in varied:
            pairs.append(("model fingerprint", self.fingerprint[:12], other.fingerprint[:12]))
        for name in sorted({*self.parameters, *other.parameters}):
            here, there = (side.parameters.get(name, _neutral(name)) for side in (self, other))
            if name == "loras" and _lora_contents(here) == _lora_contents(there):
                continue  # the same files somewhere else
            if here is not ALWAYS_TOLD and there is not ALWAYS_TOLD:
                pairs.append((name, here, there))
        mine, theirs = told_numerics(self.numerics), told_numerics(other.numerics)
        pairs += [(name, mine.get(name), theirs.get(name)) for name in sorted({*mine, *theirs} - varied)]
        return [f"{name}: {before} -> {now}" for name, before, now in pairs if before != now]


def _neutral(name: str) -> Any:
    """Return the value of a parameter that leaves an image as it was before there was this parameter."""
    return PARAMETERS[name].note.neutral if name in PARAMETERS else ALWAYS_TOLD


def surroundings_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return what may move the last bits of a picture: versions, card, threads."""
    return {
        name: str(value)
        for block in ("versions", "machine")
        if isinstance(metadata.get(block), Mapping)
        for name, value in metadata[block].items()
    }


def changed_surroundings(records: Iterable[RunRecord], now: Mapping[str, str]) -> str | None:
    """Say in which surroundings finished runs were made that are others now; None if all were made in these."""
    counts: Counter[tuple[str, str]] = Counter()
    for record in records:
        counts.update(
            (name, before)
            for name, before in surroundings_of(record.metadata).items()
            if not _is_same(before, now.get(name, before))
        )
    if not counts:
        return None
    changes = ", ".join(
        f"{name} {before} ({count}; now {now[name]})" for (name, before), count in sorted(counts.items())
    )
    return f"Finished results were made with other versions or on another machine: {changes}. {MAY_DIFFER}"


def _is_same(first: str, second: str) -> bool:
    """Compare versions; one that does not name its build (`+cu132`) is taken for any build of it."""
    return first == second or (("+" in first) != ("+" in second) and first.split("+")[0] == second.split("+")[0])


def mixed_surroundings(records: Iterable[RunRecord]) -> str | None:
    """Say in which surroundings pictures differ from each other; None if all share them."""
    alike: dict[tuple[int, int], list[RunRecord]] = {}
    for record in records:  # most records hold the very blocks of the one before
        blocks = id(record.metadata.get("versions")), id(record.metadata.get("machine"))
        alike.setdefault(blocks, []).append(record)
    values: dict[str, Counter[str]] = {}
    for found in alike.values():
        for name, value in surroundings_of(found[0].metadata).items():
            values.setdefault(name, Counter())[value] += len(found)
    mixed = [
        f"{name} " + ", ".join(f"{value} ({count})" for value, count in sorted(counts.items()))
        for name, counts in values.items()
        if any(not _is_same(first, second) for first, second in itertools.combinations(counts, 2))
    ]
    return f"Pictures were made with several versions or machines: {'; '.join(mixed)}. {MAY_DIFFER}" if mixed else None


def with_comparable_times(records: Sequence[RunRecord]) -> tuple[list[RunRecord], str | None]:
    """Keep the times that may be compared: of the run of the command that made most, without its warm-up.

    Returns:
        The records, others without their time, and what is to be said of it; None if no time was left out.
    """
    sessions: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.session and not record.is_warm_up and record.generation_time_seconds is not None:
            sessions.setdefault(record.session, []).append(record)
    kept = max(sessions.values(), key=len, default=[])
    timed = sum(record.generation_time_seconds is not None for record in records)
    if len({record.level for record in kept}) < 2:
        kept = []
    names = {record.run_id for record in kept}
    chosen = [record if record.run_id in names else replace(record, generation_time_seconds=None) for record in records]
    if len(kept) == timed:
        return chosen, None
    if not kept:
        return chosen, (
            "Time is not compared: no single run of the command made several levels beside its first prompt, which "
            "carries the warm-up."
        )
    return chosen, (
        f"Time is compared for {len(kept)} of {timed} pictures: those of one run of the command on one machine, "
        "without its first prompt, which carries the warm-up."
    )
