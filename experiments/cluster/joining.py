"""Who may draw together: workers of one kind of device, with the same versions and the same weights."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from experiments.cluster.orders import Loaded, WorkerFacts
from experiments.running.execution import Surroundings
from experiments.store.comparable import surroundings_of
from llm_dit.errors import listed

Kind = tuple[tuple[str, str], ...]
"""Versions, card or processor, and threads: what may move the last bits of a picture, each by its name."""
NAMED: Final = 5
"""Differences that are named; the rest are counted."""


def kind_of(surroundings: Surroundings) -> Kind:
    """Return what of a worker's surroundings pictures depend on."""
    return tuple(sorted(surroundings_of(surroundings).items()))


def commonest(facts: Iterable[WorkerFacts]) -> Kind:
    """Return the kind of most workers; of several, the first in their order."""
    return Counter(kind_of(one.surroundings) for one in facts).most_common(1)[0][0]


def code_problem(facts: WorkerFacts, own: str) -> str | None:
    """Return why a worker can't be used at all: its code of this project is not the driver's."""
    if facts.code == own:
        return None
    version = facts.surroundings["versions"].get("llm-dit", "unknown")
    return (
        f"its code of llm-dit (version {version}) is not the one of this process; install the same wheel there, or run "
        "from a checkout, whose code travels by itself"
    )


def code_folders() -> tuple[Path, Path]:
    """Return where the code of engine and lab lies."""
    engine, lab = (find_spec(name) for name in ("llm_dit", "experiments"))
    assert engine is not None and engine.origin is not None and lab is not None and lab.origin is not None
    return Path(engine.origin).parent, Path(lab.origin).parent


def code_fingerprint() -> str:
    """Return a hash of the code of engine and lab, equal wherever they are equal."""
    digest = hashlib.sha256()
    for folder in code_folders():
        for path in sorted(folder.rglob("*.py")):
            if path.is_relative_to(folder / "apps"):  # of an installed wheel's engine: the lab, counted by itself
                continue
            digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def kind_problem(facts: WorkerFacts, kind: Kind) -> str | None:
    """Return in what a worker differs from the kind in use; None if in nothing."""
    here, there = dict(kind), dict(kind_of(facts.surroundings))
    differences = [
        f"{name} {there.get(name, 'none')} instead of {here.get(name, 'none')}"
        for name in sorted({*here, *there})
        if here.get(name) != there.get(name)
    ]
    if not differences:
        return None
    return f"it has {listed(differences, NAMED)}; --mixed uses it all the same, and then pictures may differ by a level"


def model_problem(model: Loaded, fingerprint: str | None, numerics: Mapping[str, str] | None) -> str | None:
    """Return in what a worker's engine differs from the one in use; None if in nothing."""
    if fingerprint not in (None, model.fingerprint):
        return (
            f"its weights are others (fingerprint {model.fingerprint:.12} instead of {fingerprint:.12}); copy the "
            "model's folder there again"
        )
    if numerics is None or model.numerics == numerics:
        return None
    changed = [
        f"{name} {model.numerics.get(name)} instead of {numerics.get(name)}"
        for name in sorted({*numerics, *model.numerics})
        if model.numerics.get(name) != numerics.get(name)
    ]
    return f"it computes otherwise: {listed(changed, NAMED)}; name the numerics by flags, such as --dtype"
