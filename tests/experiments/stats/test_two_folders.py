"""Two folders, one answer: what is paired, what is told of their differences, and what is refused."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sample_results import axis, noisy_scores, sample_plan, sample_prompts, write_results

from experiments import analyze
from experiments.metrics import METRICS
from experiments.metrics.folder_fidelity import with_fidelity
from experiments.metrics.pixel_fidelity import PSNRScorer, SSIMScorer
from experiments.planning.design import Axis
from experiments.stats.findings import MeasureAnalysis, analyse
from experiments.stats.verdict import sentences
from experiments.store.folder_pair import FolderPair, pair_folders
from experiments.store.records import RunRecord
from experiments.store.result_store import ResultStore
from llm_dit.errors import LlmDitError

ONE = (axis("shift", 3.0),)
PIXELS = (PSNRScorer(), SSIMScorer())


def folder_of(
    path: Path,
    scores: Callable[[Any], Mapping[str, Any]] | None = None,
    *,
    axes: tuple[Axis, ...] = ONE,
    prompts: Any = 12,
    seeds: tuple[int, ...] = (42,),
    **told: Any,
) -> Path:
    """A results folder; `told` replaces entries of every record, numerics those of the manifest too."""
    plan = sample_plan(axes=axes, prompts=prompts, seeds=seeds, name=path.name)
    write_results(path, plan, scores or by_prompt(0.0), image_size=8)
    for file in (path / "metadata").iterdir():
        file.write_text(json.dumps({**json.loads(file.read_text()), **told}), encoding="utf-8")
    if "numerics" in told:
        manifest = json.loads((path / "manifest.json").read_text())
        manifest["conditions"]["numerics"] = told["numerics"]
        (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return path


def by_prompt(effect: float, spread: float = 0.0) -> Callable[[Any], Mapping[str, Any]]:
    """Scores that depend on the prompt's text and the seed, and lie `effect` higher in one folder."""

    def scores(run: Any) -> Mapping[str, Any]:
        number = int(run.prompt.text.rsplit(" ", 1)[1].rstrip("."))
        wave = spread * (1 if number % 2 else -1)
        return {"image_reward": 0.1 * number + 0.01 * run.params.seed + effect + wave}

    return scores


def paired(*folders: Path, by_seed: bool = True) -> FolderPair:
    first, second = (ResultStore(folder) for folder in folders)
    return pair_folders(first, second, by_seed=by_seed)


def image_reward(pair: FolderPair) -> tuple[MeasureAnalysis, list[str]]:
    analysis = analyse(pair.manifest_with_choices(), pair.records, METRICS)
    result = next(item for item in analysis.measures if item.measure.column == "image_reward")
    return result, sentences(analysis, result)


def distances(pair: FolderPair) -> tuple[list[RunRecord], list[str]]:
    return with_fidelity(pair.records, pair.partners(), PIXELS)


def command(*words: Any) -> tuple[int, str]:
    result = CliRunner().invoke(analyze.main, [str(word) for word in words])
    return result.exit_code, " ".join(result.output.split())


def test_none_beside_none_differs_by_nothing_and_its_pictures_have_no_bound(tmp_path: Path) -> None:
    first, second = folder_of(tmp_path / "a"), folder_of(tmp_path / "b")
    code, said = command(first, second, "--pair-by", "prompt,seed", "--margin", "image_reward=0.05")
    assert code == 0, said
    assert "a and b: 24 pictures, baseline a" in said
    assert "Note: a and b were made with the same settings." in said
    assert "ImageReward: Every level gave exactly the same numbers as folder “a”." in said
    assert "folder “b” is as good as “a” within 0.05 (90 % interval 0.000 to 0.000, 12 prompts)." in said
    assert "PSNR: The same pictures as folder “a”, pixel for pixel: “b” (all 12)." in said
    assert "infinite" in said
    assert "Generation time" not in said
    assert "Time is not compared: each folder was drawn by runs of the command of its own." in said
    records, problems = distances(paired(first, second))
    assert problems == []
    assert {(record.scores["psnr_db"], record.scores["ssim"]) for record in records} == {(math.inf, 1.0)}


def test_runs_are_paired_by_text_whatever_their_ids_order_and_company(tmp_path: Path) -> None:
    renamed = [replace(prompt, id=f"other_{i}") for i, prompt in enumerate(reversed(sample_prompts(14)))]
    first = folder_of(tmp_path / "a", by_prompt(0.0))
    second = folder_of(tmp_path / "b", by_prompt(0.3, 0.1), prompts=renamed, seeds=(42, 43))
    pair = paired(first, second)
    result, said = image_reward(pair)
    (found,) = result.comparisons
    assert (found.pairs, found.prompts, found.difference.mean) == (12, 12, pytest.approx(0.3))
    assert said[0].startswith("folder “b” beats “a” by 0.3")
    assert "Pictures without a partner are left out: 16 of b." in pair.notes
    assert result.notes == (), "what has no partner is not missing"


def test_what_differs_between_the_folders_is_told_and_other_machines_are_warned_of(tmp_path: Path) -> None:
    first = folder_of(tmp_path / "a", numerics={"dtype": "float32", "quantization": "none"})
    second = folder_of(
        tmp_path / "b",
        axes=(axis("shift", 4.0),),
        numerics={"dtype": "float32", "quantization": "float8"},
        versions={"torch": "2.12"},
    )
    pair = paired(first, second)
    assert pair.notes[0] == (
        "From a to b: shift: 3.0 -> 4.0, quantization: none -> float8. What is found is of all of it together."
    )
    _, said = command(first, second)
    assert "Pictures were made with several versions or machines: torch 2.12 (12), 2.9 (12)." in said


def test_equal_levels_are_matched_by_what_they_set_and_answer_as_one(tmp_path: Path) -> None:
    effects = {"3.0": 0.1, "1.0": 0.5}
    first = folder_of(tmp_path / "a", axes=(axis("shift", 3.0, 1.0, 2.0),))
    second = folder_of(
        tmp_path / "b",
        lambda run: {"image_reward": by_prompt(effects[run.cell.levels["shift"]], 0.05)(run)["image_reward"]},
        axes=(axis("shift", 1.0, 3.0),),
    )
    pair = paired(first, second)
    result, _ = image_reward(pair)
    (found,) = result.comparisons
    assert (found.pairs, found.prompts, found.difference.mean) == (24, 12, pytest.approx(0.3))
    assert "the answer is over all: 2 of shift." in pair.notes[1]
    assert pair.notes[2] == "Levels that only one folder has are left out: shift 2.0 of a."


def test_seeds_that_differ_can_be_paired_by_prompt_alone(tmp_path: Path) -> None:
    first = folder_of(tmp_path / "a", seeds=(1, 3))
    second = folder_of(tmp_path / "b", by_prompt(0.2, 0.05), seeds=(12,))
    with pytest.raises(LlmDitError, match=r"12 prompts in common, but with no seed.*--pair-by prompt"):
        paired(first, second)
    result, _ = image_reward(paired(first, second, by_seed=False))
    (found,) = result.comparisons
    assert (found.prompts, found.difference.mean) == (12, pytest.approx(0.2 + 0.01 * (12 - 2)))
    code, said = command(first, second, "--pair-by", "prompt")
    assert code == 0 and "PSNR" not in said


def flat(folder: Path, level: int, size: int = 16) -> None:
    """Make every picture of a folder one grey."""
    file = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), level, np.uint8)).save(file, "png")
    for record in (folder / "metadata").iterdir():
        values = json.loads(record.read_text())
        values["image"]["bytes"] = len(file.getvalue())
        record.write_text(json.dumps(values))
        (folder / values["image"]["file"]).write_bytes(file.getvalue())


def test_distances_are_those_of_the_pictures_in_both_folders(tmp_path: Path) -> None:
    first, second = folder_of(tmp_path / "a"), folder_of(tmp_path / "b")
    flat(first, 100)
    flat(second, 105)
    pair = paired(first, second)
    records, _ = distances(pair)
    expected = 10 * math.log10(255**2 / 25)
    assert [record.scores["psnr_db"] for record in records if record.level == "b"] == pytest.approx([expected] * 12)
    code, said = command(first, second)
    assert code == 0
    assert "Beside folder “a”: “b” has PSNR 34.15" in said
    flat(second, 105, size=32)  # sizes that differ have no distance
    records, _ = distances(paired(first, second))
    assert all("psnr_db" not in record.scores for record in records if record.level == "b")


def test_a_picture_that_cannot_be_read_has_no_distance_and_is_named(tmp_path: Path) -> None:
    first, second = folder_of(tmp_path / "a"), folder_of(tmp_path / "b")
    broken = next(iter(sorted((second / "images").iterdir())))
    broken.write_bytes(b"\0" * broken.stat().st_size)
    code, said = command(first, second)
    assert code == 0, said
    _, problems = distances(paired(first, second))
    assert [problem.startswith(f"No distance: Image {broken} can't be read") for problem in problems] == [True]
    assert "No distance: Image" in said
    assert "“b” (all 11)" in said


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (
            {"axes": (axis("shift", 3.0, 1.0),), "steps": True},
            "Levels can't be matched: a has 2 of shift and b has 2 of",
        ),
        ({"axes": (axis("shift", 5.0, 6.0),)}, "a and b have no level of shift in common; nothing is paired."),
        (
            {"prompts": [replace(prompt, text=f"Another {prompt.text}") for prompt in sample_prompts(3)]},
            "no prompt in common",
        ),
    ],
)
def test_what_cannot_be_paired_is_refused_in_a_sentence_and_nothing_is_written(
    tmp_path: Path, other: dict[str, Any], sentence: str
) -> None:
    first = folder_of(tmp_path / "a", axes=(axis("shift", 3.0, 1.0),))
    if other.pop("steps", False):
        other["axes"] = (axis("num_inference_steps", 4, 9),)
    second = folder_of(tmp_path / "b", **{"axes": (axis("shift", 3.0, 1.0),), **other})
    before = [(folder / "manifest.json").read_bytes() for folder in (first, second)]
    code, said = command(first, second, "--margin", "image_reward=0.05", "--primary", "image_reward")
    assert code == 2
    assert sentence in said
    assert [(folder / "manifest.json").read_bytes() for folder in (first, second)] == before


def test_a_folder_without_a_finished_picture_is_named(tmp_path: Path) -> None:
    first, second = folder_of(tmp_path / "a"), folder_of(tmp_path / "b")
    for file in (second / "metadata").iterdir():
        file.unlink()
    code, said = command(first, second)
    assert code == 2
    assert f"{second} has no finished picture yet." in said


def test_what_is_no_pair_of_folders_is_refused(tmp_path: Path) -> None:
    first = folder_of(tmp_path / "a")
    for words, sentence in (
        ((first, first), "is given twice; give two folders."),
        ((first, first, first), "3 folders are given; give one, or two that are compared."),
        ((first, "--pair-by", "prompt"), "--pair-by belongs to two folders"),
        ((first, tmp_path / "none"), "does not exist; give the folder of an experiment's results."),
        ((first, first, "--pair-by", "seed"), "--pair-by 'seed' is not known; use prompt,seed or prompt."),
    ):
        code, said = command(*words)
        assert code == 2
        assert sentence in said


def test_of_two_margins_the_smaller_counts_and_the_first_folders_measure(tmp_path: Path) -> None:
    first, second = folder_of(tmp_path / "a"), folder_of(tmp_path / "b")
    ResultStore(first).name_margins({"image_reward": 0.3})
    ResultStore(second).name_margins({"image_reward": 0.2, "siglip_score": 0.1})
    ResultStore(first).name_primary("image_reward")
    manifest = paired(first, second).manifest_with_choices()
    assert manifest.margins == {"image_reward": 0.2, "siglip_score": 0.1}
    assert manifest.primary == "image_reward"


def test_an_analysis_of_two_folders_is_kept_in_both_and_counts_only_for_the_two(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, effect, count in ((first, 0.0, 10), (second, 0.2, 10)):
        folder_of(folder, by_prompt(effect, 0.3), prompts=count)
    for _ in range(2):
        assert command(first, second)[0] == 0
    hashes = [ResultStore(folder).manifest().conditions.hash for folder in (first, second)]
    for folder, other in ((first, hashes[1]), (second, hashes[0])):
        manifest = ResultStore(folder).manifest()
        (kept,) = manifest.raw["analyses"]
        assert (kept["beside"], kept["prompts"], kept["pictures"]) == (other, 10, 20)
        assert manifest.analyses == ()
    kept_of = {folder: json.loads((folder / "manifest.json").read_text())["analyses"] for folder in (first, second)}
    alone, _ = image_reward(paired(first, second))
    for folder, effect in ((first, 0.0), (second, 0.2)):
        more = folder_of(folder.parent / f"{folder.name} more", by_prompt(effect, 0.3), prompts=16)
        path = more / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "analyses": kept_of[folder]}))
    extended, said = image_reward(paired(tmp_path / "a more", tmp_path / "b more"))
    assert alone.extension is None
    assert extended.extension is not None and [look.prompts for look in extended.extension.looks] == [10]
    assert any(sentence.startswith("Extended once after it had been analysed") for sentence in said)


def test_scores_beside_each_folders_own_baseline_do_not_stand_for_those_of_the_pair(tmp_path: Path) -> None:
    first, second = folder_of(tmp_path / "a", axes=(axis("shift", 3.0, 1.0),)), folder_of(tmp_path / "b")
    pair = paired(first, second)
    marked = tuple(replace(record, scores={**record.scores, "lpips": 0.5, "psnr_db": 1.0}) for record in pair.records)
    records, _ = with_fidelity(marked, {}, PIXELS)
    assert all(not {"lpips", "psnr_db"} & record.scores.keys() for record in records)


def test_two_folders_give_the_numbers_of_one_folder_with_two_levels(tmp_path: Path) -> None:
    together = folder_of(tmp_path / "t", noisy_scores({"1.0": 0.1}), axes=(axis("shift", 3.0, 1.0),), prompts=20)
    parts = []
    for name, value in (("a", 3.0), ("b", 1.0)):
        chosen = {
            run.run_id.split("_shift")[0].removeprefix("t_"): noisy_scores({"1.0": 0.1})(run)
            for run in sample_plan(axes=(axis("shift", 3.0, 1.0),), prompts=20, name="t").runs()
            if run.cell.levels["shift"] == str(value)
        }
        parts.append(
            folder_of(tmp_path / name, lambda run, c=chosen: c[run.prompt.id], axes=(axis("shift", value),), prompts=20)
        )
    store = ResultStore(together)
    expected = next(
        item
        for item in analyse(store.manifest(), store.runs(), METRICS).measures
        if item.measure.column == "image_reward"
    ).comparisons[0]
    (found,) = image_reward(paired(*parts))[0].comparisons
    assert (found.difference, found.p_value, found.win_rate) == (
        expected.difference,
        expected.p_value,
        expected.win_rate,
    )
