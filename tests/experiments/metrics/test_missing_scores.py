"""Scoring a results folder: only what is missing, and nothing lost."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from metric_models import write_image_reward, write_siglip
from PIL import Image

from experiments.metrics import (
    METRICS,
    PixelDiversityScorer,
    ScoreInput,
    default_metrics,
    metric_named,
    pixel_diversity,
)
from experiments.metrics.missing_scores import ScoringResult, Valueless, score_results
from experiments.planning.design import Axis, Experiment, Level, Plan
from experiments.prompts import Prompt
from experiments.score import main
from experiments.store.comparable import Conditions
from experiments.store.manifest_json import manifest_values
from experiments.store.result_store import ResultStore
from llm_dit.errors import LlmDitError

PROMPTS = tuple(
    Prompt(id=f"animal_00{index}", text=text, category="animals", difficulty="easy", must_show=())
    for index, text in enumerate(["a cat on the table", "two dogs"], start=1)
)


def experiment_plan(seeds: tuple[int, ...]) -> Plan:
    axis = Axis("shift", (Level("3.0", {"shift": 3.0}), Level("4.0", {"shift": 4.0})))
    return Plan(Experiment("sweep", "Which shift?", (axis,), {"shift": "3.0"}), PROMPTS, seeds, {})


def png(seed: int) -> bytes:
    data = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def make_results(folder, seeds: tuple[int, ...] = (1, 2)) -> ResultStore:
    store = ResultStore(folder)
    store.create()
    plan = experiment_plan(seeds)
    conditions = Conditions({}, "fingerprint", {})
    store.write_manifest(manifest_values(plan, conditions))
    for index, run in enumerate(plan.runs()):
        if store.image_path(run.run_id).exists():
            continue
        described = {
            "run_id": run.run_id,
            "identity": f"r1:{run.run_id}",
            "conditions": conditions.hash,
            "prompt_id": run.prompt.id,
            "prompt": run.prompt.text,
            "category": run.prompt.category,
            "difficulty": run.prompt.difficulty,
            "seed": run.seed,
            "levels": dict(run.cell.levels),
        }
        sized = replace(run, params=run.params.model_copy(update={"width": 32, "height": 32}))
        record = {"run": described, "parameters": sized.params.model_dump(), "model_fingerprint": "fingerprint"}
        store.write_result(sized, record, png(index))
    return store


class CountingScorer:
    """A metric whose value is the number of pixels' bytes, and which counts what it was asked."""

    def __init__(self, model: str = "counting@1", fail_after: int | None = None) -> None:
        self.metric = replace(METRICS[0], model=model)
        self.asked: list[ScoreInput] = []
        self.fail_after = fail_after

    def move_to(self, device: str) -> None:
        raise AssertionError("scoring must not move a scorer")

    def score_rows(self, rows):
        if self.fail_after is not None and len(self.asked) >= self.fail_after:
            raise KeyboardInterrupt
        self.asked += rows
        return [{"image_reward": float(len(row.prompt))} for row in rows]


def test_every_image_is_scored_once_and_only_again_by_other_weights(tmp_path):
    store = make_results(tmp_path)
    first, second, other = CountingScorer(), CountingScorer(), CountingScorer("counting@2")
    assert score_results(store, [first]).scored == {"image_reward": 8}
    result = score_results(store, [second])
    assert (result.scored, result.present, second.asked) == ({"image_reward": 0}, {"image_reward": 8}, [])
    assert score_results(store, [other]).scored == {"image_reward": 8}
    assert {record.scores_of["image_reward"] for record in store.runs()} == {"counting@2"}


def test_the_prompt_as_typed_and_the_group_of_seeds_are_scored(tmp_path):
    store, scorer = make_results(tmp_path), CountingScorer()
    score_results(store, [scorer])
    assert {row.prompt for row in scorer.asked} == {prompt.text for prompt in PROMPTS}
    groups = [row.group for row in scorer.asked]
    assert sorted({(group, groups.count(group)) for group in groups}) == [
        (f"{prompt.id}|{level}", 2) for prompt in PROMPTS for level in ("3.0", "4.0")
    ]


def test_scores_written_before_an_interruption_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.metrics.missing_scores.ROWS_PER_WRITE", 2)
    store = make_results(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        score_results(store, [CountingScorer(fail_after=4)])
    assert sum("image_reward" in record.scores for record in store.runs()) == 4
    rest = CountingScorer()
    assert score_results(store, [rest]).scored == {"image_reward": 4}


def test_a_new_seed_renews_the_diversity_of_its_group_and_no_other(tmp_path):
    store = make_results(tmp_path, seeds=(1, 2))
    assert score_results(store, [PixelDiversityScorer()]).scored == {"pixel_diversity": 8}
    assert score_results(store, [PixelDiversityScorer()]).scored == {"pixel_diversity": 0}
    make_results(tmp_path, seeds=(1, 2, 3))
    assert score_results(store, [PixelDiversityScorer()]).scored == {"pixel_diversity": 12}
    assert {record.scores["pixel_diversity_seeds"] for record in store.runs()} == {3}


def count_pairs(monkeypatch) -> list:
    pairs = []
    monkeypatch.setattr(pixel_diversity, "diversity", lambda first, second: pairs.append(0) or 0.5)
    return pairs


def test_the_pairs_compared_grow_with_the_seeds_and_not_with_their_square(tmp_path, monkeypatch):
    pairs = count_pairs(monkeypatch)
    store = make_results(tmp_path, seeds=tuple(range(40)))
    score_results(store, [PixelDiversityScorer()])
    groups = 4
    assert len(pairs) == groups * (9 * 8 // 2 + (40 - 9) * 8)
    assert {record.scores["pixel_diversity_seeds"] for record in store.runs()} == {9}


def test_a_seed_that_joins_a_large_group_is_compared_alone_and_an_earlier_one_renews_all(tmp_path, monkeypatch):
    pairs = count_pairs(monkeypatch)
    make_results(tmp_path, seeds=tuple(range(10, 30)))
    store = ResultStore(tmp_path)
    score_results(store, [PixelDiversityScorer()])
    before = {record.run_id: dict(record.scores) for record in store.runs()}
    pairs.clear()
    make_results(tmp_path, seeds=tuple(range(10, 31)))
    assert score_results(store, [PixelDiversityScorer()]).scored == {"pixel_diversity": 4}
    assert len(pairs) == 4 * 8
    after = {record.run_id: dict(record.scores) for record in store.runs()}
    assert {name: after[name] for name in before} == before
    make_results(tmp_path, seeds=tuple(range(9, 31)))
    assert score_results(store, [PixelDiversityScorer()]).scored == {"pixel_diversity": 4 * 22}


def test_a_value_does_not_depend_on_when_its_seed_joined(tmp_path):
    rows = []
    for seed in range(12):
        (tmp_path / f"{seed}.png").write_bytes(png(seed))
        rows.append(ScoreInput("a cat", tmp_path / f"{seed}.png", "cats"))
    together = PixelDiversityScorer().score_rows(rows)
    later = PixelDiversityScorer().score_rows([*(row._replace(is_wanted=False) for row in rows[:9]), *rows[10:]])
    assert later == [{}] * 9 + together[10:]
    assert together[10]["pixel_diversity"] == pytest.approx(
        np.mean([pixel_diversity.diversity(pixels(10), pixels(seed)) for seed in range(8)])
    )


def pixels(seed: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png(seed))))


def test_a_single_seed_has_no_diversity_and_is_not_asked_for_again(tmp_path):
    store = make_results(tmp_path, seeds=(1,))
    score_results(store, [PixelDiversityScorer()])
    assert [record.scores for record in store.runs()] == [{}] * 4
    assert score_results(store, [PixelDiversityScorer()]).scored == {"pixel_diversity": 0}


def test_that_nothing_was_measured_is_said_with_what_it_takes(tmp_path):
    store = make_results(tmp_path / "one", seeds=(1,))
    for _ in range(2):  # the second time they have been looked at already
        assert score_results(store, [PixelDiversityScorer()]).sentences() == [
            "pixel_diversity: nothing was measured of 4 images, since each needs two seeds of its prompt at its level "
            "(--seeds 42,43)."
        ]
    scored = {"given": 3, "plain": 2}
    some = ScoringResult(scored, {"given": 4, "plain": 0}, (), 0, {"given": Valueless(1, 2, "a word")})
    assert some.sentences() == [
        "given: 2 images scored, 2 had their score already. 3 have no value, since each needs a word.",
        "plain: 2 images scored, 0 had their score already.",
    ]


def test_a_damaged_image_is_named_and_the_others_are_scored(tmp_path):
    store = make_results(tmp_path)
    path = store.runs()[0].image_path
    path.write_bytes(bytes(len(path.read_bytes())))  # the size fits, the content does not
    result = score_results(store, [CountingScorer()])
    assert result.scored == {"image_reward": 7}
    assert len(result.unreadable) == 1
    assert path.name in result.unreadable[0]


def test_a_score_that_is_not_a_number_is_never_written(tmp_path):
    store, scorer = make_results(tmp_path), CountingScorer()
    scorer.score_rows = lambda rows: [{"image_reward": float("nan")} for _ in rows]
    with pytest.raises(LlmDitError, match=r"image_reward of \S+ is not a number: the weights counting@1 are damaged"):
        score_results(store, [scorer])
    assert [record.scores for record in store.runs()] == [{}] * 8


def test_progress_ends_at_the_total(tmp_path):
    seen = []
    score_results(make_results(tmp_path), [CountingScorer(), PixelDiversityScorer()], lambda *now: seen.append(now))
    assert seen[-1] == (16, 16)


def test_the_command_scores_a_folder_and_then_has_nothing_to_do(tmp_path):
    store = make_results(tmp_path / "results")
    arguments = [str(store.folder), "--device", "cpu"]
    arguments += ["--image-reward", str(write_image_reward(tmp_path / "reward"))]
    arguments += ["--siglip", str(write_siglip(tmp_path / "siglip"))]
    first = CliRunner().invoke(main, [*arguments, "--metric", "siglip_score"])
    assert (first.exit_code, first.stdout) == (0, "siglip_score: 8 images scored, 0 had their score already.\n")
    second = CliRunner().invoke(main, arguments)
    assert second.exit_code == 0
    assert "image_reward: 8 images scored" in second.stdout
    assert "siglip_score: 0 images scored, 8 had their score already" in second.stdout
    lines = (store.folder / "sweep_summary.csv").read_text().splitlines()
    columns = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    usual = set(default_metrics()) - {"text_accuracy"}  # no prompt asks for words
    declared = {column.name for name in usual for column in metric_named(name).columns}
    assert declared <= columns.keys()
    assert float(columns["siglip_score"]) == pytest.approx(store.runs()[0].scores["siglip_score"])


def test_an_interrupted_command_leaves_the_summary_with_what_was_scored(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.metrics.missing_scores.ROWS_PER_WRITE", 2)
    monkeypatch.setattr("experiments.score.load_configured_scorers", lambda *_, **__: [CountingScorer(fail_after=4)])
    store = make_results(tmp_path)
    assert CliRunner().invoke(main, [str(tmp_path), "--metric", "image_reward"]).exit_code == 1
    summary = json.loads((store.folder / "sweep_summary.json").read_text())
    assert summary["image_reward"]["count"] == 4


def test_the_command_renews_a_report_and_makes_none(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        "experiments.reporting.report_page.write_report", lambda folder, by: written.append((folder, by)) or folder
    )
    arguments = [str(make_results(tmp_path).folder), "--metric", "pixel_diversity"]
    assert (CliRunner().invoke(main, arguments).exit_code, written) == (0, [])
    (tmp_path / "report.html").touch()
    assert (CliRunner().invoke(main, arguments).exit_code, written) == (0, [(tmp_path, "score.py")])


def test_the_command_refuses_an_unknown_metric_and_a_folder_without_results(tmp_path):
    unknown = CliRunner().invoke(main, [str(make_results(tmp_path / "results").folder), "--metric", "beauty"])
    assert (unknown.exit_code, unknown.stderr.startswith("Error: There is no metric 'beauty'")) == (2, True)
    empty = CliRunner().invoke(main, [str(tmp_path)])
    assert (empty.exit_code, "does not exist" in empty.stderr) == (2, True)
