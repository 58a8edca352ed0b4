"""What examinations found, a file for each judge's weights, and what of it is said beside a verdict.

Those of the embedded judges come with the code. A checkout keeps new ones beside them; an installed package is not
written into, so there they go into the user's own folder, and stand in the place of what came with it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiments.examination.examining import IGNORES, NOTICES, PREFERS, Finding
from experiments.metrics import Metric
from experiments.store.json_file import read_json, write_json
from experiments.store.records import RunRecord
from llm_dit.errors import LlmDitError, unwritable
from llm_dit.home import installed_apps

FOLDER = Path(__file__).parent / "found"
"""Those that come with the code."""
FORMAT = 1


@dataclass(frozen=True)
class Examined:
    """What was found on one set of pictures.

    Attributes:
        name: What the prompts are.
        generator: The model that drew the pictures, without folders.
        seeds: Pictures of each prompt.
        when: Date and time, UTC.
        findings: One a damage.
    """

    name: str
    generator: str
    seeds: int
    when: str
    findings: tuple[Finding, ...]

    def sentence(self, weights: str) -> str:
        """Return what the judge prefers, can't tell and notices."""
        groups = {
            kind: [_named(finding) for finding in self.findings if finding.found == kind]
            for kind in (PREFERS, NOTICES, IGNORES)
        }
        clauses = [f"{kind} {', '.join(names)}" for kind, names in groups.items() if names]
        prompts = max((finding.prompts for finding in self.findings), default=0)
        return (
            f"{weights.partition('@')[0]} was examined on {prompts} {self.name} ({self.generator}): it "
            f"{'; it '.join(clauses)}."
        )


def own_folder() -> Path:
    """Return where new ones are kept."""
    if installed_apps() is None:
        return FOLDER
    data_home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data_home) / "llm-dit" / "examinations"


def keep(metric: Metric, examined: Examined) -> Path:
    """Keep what was found, in the place of what was found on the same pictures before.

    Raises:
        LlmDitError: If the file can't be written.
    """
    path = own_folder() / _file_name(metric.name, metric.model)
    before = {item.name: item for item in _read(path)}
    sets = [*(item for name, item in before.items() if name != examined.name), examined]
    values = {
        "format": FORMAT,
        "metric": metric.name,
        "weights": metric.model,
        "sets": [asdict(item) for item in sorted(sets, key=lambda item: item.name)],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, values)
    except OSError as error:
        raise unwritable(f"{path} can't be written", error) from None
    return path


def examined_now(name: str, generator: str, seeds: int, findings: Sequence[Finding]) -> Examined:
    """Return what was found just now."""
    own = Path(generator).name if generator else "an unknown model"
    return Examined(name, own, seeds, datetime.now(UTC).isoformat(timespec="seconds"), tuple(findings))


def found_before(metric_name: str, weights: str) -> tuple[Examined, ...]:
    """Return what examinations of a judge's weights found; none where there was none.

    Raises:
        LlmDitError: If a file is damaged.
    """
    name = _file_name(metric_name, weights)
    folders = dict.fromkeys((FOLDER, own_folder()))
    sets = {item.name: item for folder in folders for item in _read(folder / name)}
    return tuple(sets[name] for name in sorted(sets))


def examination_notes(records: Sequence[RunRecord], metric: Metric) -> list[str]:
    """Return what stands beside a verdict: a sentence for each set that the judge behind the scores was examined on."""
    names = {record.scores_of[metric.name] for record in records if metric.name in record.scores_of}
    notes = []
    for weights in sorted(names):
        try:
            notes += [examined.sentence(weights) for examined in found_before(metric.name, weights)]
        except LlmDitError as error:
            notes.append(str(error))
    return notes


def _named(finding: Finding) -> str:
    """Return a damage, by how much where the judge is wrong by preferring it."""
    if finding.found != PREFERS:
        return finding.damage
    return f"{finding.damage} (by {abs(finding.difference):.2g}, p {finding.p_value:.2g})"


def _file_name(metric_name: str, weights: str) -> str:
    return f"{metric_name}--{re.sub(r'[^A-Za-z0-9._@-]+', '_', weights)}.json"


def _read(path: Path) -> tuple[Examined, ...]:
    values = read_json(path)
    if values is None:
        return ()
    try:
        return tuple(_examined(item) for item in values["sets"])
    except (KeyError, TypeError, ValueError) as error:
        raise LlmDitError(f"{path} is no examination ({error}); delete it and examine the judge again.") from None


def _examined(values: Mapping[str, Any]) -> Examined:
    findings = tuple(Finding(**item) for item in values["findings"])
    if not all(math.isfinite(finding.difference) for finding in findings):
        raise ValueError("a difference is no number")
    return Examined(values["name"], values["generator"], values["seeds"], values["when"], findings)
