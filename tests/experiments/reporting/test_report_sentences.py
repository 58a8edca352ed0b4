"""The page says of an answer what the command says, to the letter: where little, nothing, or something odd is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asked_page import ask, told_by_command
from report_tab import report_tab
from sample_results import SHIFT, STEPS, Scores, axis, noisy_scores, sample_plan, sample_prompts, write_results

from experiments.examination import kept
from experiments.planning.design import Plan, Run
from experiments.reporting.report_page import write_report
from experiments.stats.beside import name_choices
from experiments.stats.questions.answering import Asked
from experiments.stats.questions.narrowing import conditions_from_flags
from experiments.store.result_store import ResultStore


def nothing(run: Run) -> Scores:
    return noisy_scores({}, flag_every=3)(run)


def coarse(run: Run) -> Scores | str:
    """Most prompts are the same at every level, one gains much; runs fail, scores are missing."""
    place = int(run.prompt.id[-3:])
    level = run.cell.levels["shift"]
    if place == 4 and level == "1.0":
        return "OutOfMemory"
    gain = {"1.0": -1.0 if place % 2 else 0.0, "2.0": float(place == 1), "4.0": 0.25 * 8.0 ** (place / 12)}.get(
        level, 0.0
    )
    value = None if place == 7 and level == "2.0" else 0.5 + gain
    return {"image_reward": value, "siglip_score": 0.25 + 0.125 * (place % 3) * (level == "2.0")}


def twice(run: Run) -> Scores:
    return {**noisy_scores({"2.0": 0.25}, spread=0.05)(run), "siglip_score": 0.25}


def without_numbers(run: Run) -> Scores:
    values = noisy_scores({"2.0": 0.5}, spread=0.05)(run)
    return {**values, **({"image_reward": None} if run.cell.levels["shift"] == "4.0" else {})}


def equal(_run: Run) -> Scores:
    return {"image_reward": 0.5, "siglip_score": 0.25}


def repeated_texts() -> Plan:
    prompts = sample_prompts(9)
    return sample_plan(prompts=[*prompts[:8], replace(prompts[8], text=prompts[0].text.upper())], name="twice")


FOLDERS: dict[str, tuple[Callable[[], Plan], Callable[[Run], Scores | str], str | None, tuple[str, ...]]] = {
    "nothing differs": (lambda: sample_plan(prompts=8), nothing, "siglip_score", ("image_reward=0.25",)),
    "most are equal": (lambda: sample_plan(prompts=12, seeds=(1, 2)), coarse, None, ("siglip_score=0.01",)),
    "few prompts": (lambda: sample_plan(prompts=4), noisy_scores({"1.0": -0.4}), "image_reward", ()),
    "a level without numbers": (
        lambda: sample_plan(axes=(axis("shift", 1.0, 2.0, 3.0, 4.0, 5.0),), baseline={"shift": "3.0"}, prompts=12),
        without_numbers,
        None,
        (),
    ),
    "all are equal": (lambda: sample_plan(prompts=8), equal, None, ()),
    "one prompt": (lambda: sample_plan(prompts=1), noisy_scores({"1.0": -0.4}), None, ()),
    "a text twice": (repeated_texts, twice, None, ("image_reward=0.3",)),
    "a grid where nothing differs": (
        lambda: sample_plan(axes=(SHIFT, STEPS), baseline={"shift": "3.0", "num_inference_steps": "9"}, prompts=7),
        nothing,
        None,
        ("image_reward=0.2",),
    ),
}
QUESTIONS: list[tuple[dict[str, Any], Asked]] = [
    ({"correlate": True}, Asked(correlate=True)),
    ({"trend": "shift", "pairs": True}, Asked(trend="shift", all_pairs=True)),
    ({"by": "category"}, Asked(by="category")),
    (
        {"property category": "animals", "pairs": True},
        Asked(conditions_from_flags(["category=animals"]), all_pairs=True),
    ),
]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "most are equal" else pytest.mark.slow) for name in FOLDERS]
)
def test_the_page_says_what_the_command_says(
    browser: Any, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    examined = SimpleNamespace(sentence=lambda weights: f"{weights} was examined on these prompts.")
    monkeypatch.setattr(kept, "found_before", lambda _name, _weights: (examined,))
    plan, scores, primary, margins = FOLDERS[name]
    folder = write_results(tmp_path / "said", plan(), scores, image_size=8)
    name_choices([ResultStore(folder)], primary, margins)
    write_report(folder)
    with report_tab(browser, folder) as page:
        manifest = ResultStore(folder).manifest()
        for controls, asked in QUESTIONS:
            if "category" in str(asked) and len(manifest.prompts) < 3:
                continue
            for place in range(2):
                shown = ask(page, {**controls, "measure": str(place)}, manifest.baseline_name)
                column = column_of(page, place)
                _tables, sentences, notes = told_by_command(folder, asked, column)
                assert shown["sentences"] == sentences, (controls, column)
                assert shown["notes"] == notes, (controls, column)
                assert "tiny was examined on these prompts." in notes


def column_of(page: Any, place: int) -> str:
    found: str = page.evaluate(
        "(place) => JSON.parse(document.getElementById('grid-data').textContent).questions.measures[place].column",
        place,
    )
    return found
