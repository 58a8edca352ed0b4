"""One folder or two, as a command names them: how two are paired, and what somebody chose for them.

What can't be paired, or is not to be chosen any more, is refused before anything is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from experiments.metrics import METRICS
from experiments.metrics.folder_fidelity import distance_scorers, with_fidelity
from experiments.stats.margins import margins_from_flags
from experiments.stats.measures import check_measure
from experiments.store.folder_pair import is_paired_by_seed, pair_folders
from llm_dit.errors import LlmDitError

if TYPE_CHECKING:
    from experiments.store.analyses import PastAnalysis
    from experiments.store.manifest import Manifest
    from experiments.store.records import RunRecord
    from experiments.store.result_store import ResultStore


@dataclass(frozen=True)
class Pairing:
    """How two folders are compared.

    Attributes:
        by_seed: Pictures are paired by prompt and seed; by the prompt alone otherwise.
        distances: Metrics of pairs that are computed beside PSNR and SSIM; those that both have if empty.
    """

    by_seed: bool
    distances: tuple[str, ...] = ()


def pairing_of(stores: Sequence[ResultStore], pair_by: str | None, distances: Sequence[str]) -> Pairing:
    """Read the flags `--pair-by` and `--metric`.

    Raises:
        LlmDitError: If there are more than two folders, or the flags are not of two.
    """
    if len(stores) > 2:
        raise LlmDitError(f"{len(stores)} folders are given; give one, or two that are compared.")
    if len(stores) == 1 and pair_by is not None:
        raise LlmDitError("--pair-by belongs to two folders; name the other one too, or leave it out.", field="pair_by")
    if len(stores) == 1 and distances:
        raise LlmDitError(
            "--metric belongs to two folders; name the other one too, or use score.py, which computes the metrics of "
            "one.",
            field="metric",
        )
    by_seed = is_paired_by_seed(pair_by or "prompt,seed")
    if distances and not by_seed:
        raise LlmDitError(
            "--metric needs pairs of pictures, and without seeds no picture has one partner; leave --pair-by out.",
            field="metric",
        )
    return Pairing(by_seed, tuple(distances))


def name_choices(stores: Sequence[ResultStore], primary: str | None, margins: Sequence[str]) -> None:
    """Keep the measure that counts and the margins in every folder, or in none.

    Raises:
        LlmDitError: If a flag is wrong, or a folder has named another one.
    """
    named = margins_from_flags(margins, METRICS)
    if primary is not None:
        check_measure(primary, "--primary", METRICS)
    for store in stores:
        store.check_margins(named)
        if primary is not None:
            store.check_primary(primary)
    for store in stores:
        store.name_margins(named)
        if primary is not None:
            store.name_primary(primary)


def beside_each_other(
    stores: Sequence[ResultStore], primary: str | None, margins: Sequence[str], pairing: Pairing
) -> tuple[Manifest, list[RunRecord], tuple[str, ...]]:
    """Return two folders as one experiment, with the distances of its pictures, and notes on both.

    Raises:
        LlmDitError: If they can't be paired, a distance can't be had, or a choice can't be made.
    """
    first, second = stores
    pair = pair_folders(first, second, by_seed=pairing.by_seed)
    # without seeds no picture has one partner
    of_pairs = distance_scorers(pairing.distances, pair.records, first.manifest()) if pairing.by_seed else ([], [])
    name_choices(stores, primary, margins)
    scorers, lacking = of_pairs
    records, problems = with_fidelity(pair.records, pair.partners() if pairing.by_seed else {}, scorers)
    return pair.manifest_with_choices(), records, (*pair.notes, *lacking, *problems)


def note_analysis(stores: Sequence[ResultStore], seen: PastAnalysis) -> list[str]:
    """Keep in each folder that it was analysed, alone or beside the other; return what went wrong."""
    problems = []
    for store, other in zip(stores, [None] if len(stores) == 1 else stores[::-1], strict=True):
        beside = "" if other is None else other.manifest().conditions.hash
        problems.append(store.note_analysis(replace(seen, beside=beside)))
    return [problem for problem in problems if problem is not None]
