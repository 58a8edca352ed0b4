"""One experiment from request to report, as command and page run it."""

import os
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from fake_pipeline import FakePipeline

from experiments.planning.command_flags import request_from_arguments
from experiments.running.dry_run import dry_run
from experiments.running.experiment_run import Events, run_experiment
from experiments.running.one_device import OneDevice
from experiments.store.result_store import ResultStore
from llm_dit.config import Config
from llm_dit.errors import LlmDitError
from llm_dit.placement.planned_work import PlannedWork

ROWS_A_BATCH = 2


class Model:
    """Hands out fake pipelines and notes what is asked of it: the evaluations planned at each loading, and releases."""

    def __init__(self):
        self.asked = []

    def check(self, settings):
        pass

    def get(self, settings_in_turn, planned, on_load):
        return OneDevice(SimpleNamespace(known=lambda *_: FakePipeline(), get=self._load), planned)

    def _load(self, settings, planned):
        self.asked.append(planned)
        return FakePipeline()

    def release(self):
        self.asked.append("release")


@pytest.fixture
def request_(tmp_path):
    arguments = ["--sweep=shift=1..3", "--prompt-ids=animal_001,simple_002", f"--output-dir={tmp_path}"]
    return request_from_arguments(arguments, Config({"num_inference_steps": 4}))


@pytest.fixture
def scorer(monkeypatch):
    metric = SimpleNamespace(name="siglip_score", model="m", compares_seeds=False, fidelity=None, needs="")
    stub = SimpleNamespace(
        metric=metric, move_to=lambda device: None, score_rows=lambda rows: [{"siglip_score": 0.5} for _ in rows]
    )
    monkeypatch.setattr("experiments.metrics.load_configured_scorers", lambda *args, **values: [stub])
    monkeypatch.setattr("experiments.metrics.missing_scores.ROWS_PER_WRITE", ROWS_A_BATCH)
    return stub


def scored(store):
    return sum(bool(record.scores) for record in store.runs())


def test_the_model_is_asked_for_once_and_released_before_anything_is_scored(request_, scorer):
    model = Model()
    scorer.move_to = lambda device: model.asked.append(f"scorer to {device}")
    result = run_experiment(request_, model, command="c", metrics=())
    assert model.asked == [PlannedWork(3 * 2 * 4, 128 * 128), "release", "scorer to auto"]
    assert (result.outcome.made, result.problems, result.is_stopped) == (6, (), False)
    assert result.scoring.scored == {"siglip_score": 6}
    assert result.report == request_.folder / "report.html"
    assert ResultStore(request_.folder).manifest().raw["command"] == "c"


def test_scorers_may_be_loaded_elsewhere_once_the_model_is_gone(request_, scorer):
    model, remote = Model(), SimpleNamespace(metric=scorer.metric)
    scorer.move_to = scorer.score_rows = None  # of this process, which only names the metric

    @contextmanager
    def judges(names, generator, device):
        model.asked.append((names, generator, device))
        yield [remote], lambda _scorer, batches: ([{"siglip_score": 0.25} for _ in rows] for rows in batches)

    result = run_experiment(request_, model, command="c", metrics=(), judges=judges)
    assert model.asked == [PlannedWork(3 * 2 * 4, 128 * 128), "release", (["siglip_score"], "mini", "auto")]
    assert (result.scoring.scored, result.problems) == ({"siglip_score": 6}, ())
    assert {record.scores["siglip_score"] for record in ResultStore(request_.folder).runs()} == {0.25}


def test_where_nobody_elsewhere_has_the_scorers_the_images_and_the_report_are_there_all_the_same(request_, scorer):
    def judges(names, generator, device):
        raise_on_entry = MagicMock()
        raise_on_entry.__enter__.side_effect = LlmDitError("No worker can be used: weights are missing.")
        return raise_on_entry

    result = run_experiment(request_, Model(), command="c", metrics=(), judges=judges)
    assert (result.outcome.made, result.scoring) == (6, None)
    assert result.problems == ("The images could not be scored: No worker can be used: weights are missing.",)
    assert result.report == request_.folder / "report.html"


def test_without_metrics_nothing_is_scored_and_the_model_stays(request_):
    model = Model()
    result = run_experiment(request_, model, command="c")
    assert result.scoring is None
    assert "release" not in model.asked


def test_a_stop_while_images_are_made_scores_and_reports_nothing(request_, scorer):
    asks = iter([False] * 2 + [True] * 99)
    result = run_experiment(request_, Model(), command="c", metrics=(), should_stop=lambda: next(asks))
    assert (result.outcome.made, result.outcome.remaining, result.is_stopped) == (2, 4, True)
    assert (result.scoring, result.report) == (None, None)


def test_a_stop_between_two_batches_keeps_the_scores_so_far(request_, scorer):
    wishes = []

    class Impatient(Events):
        def on_scoring(self, done, total):
            wishes.append((done, total))

    result = run_experiment(
        request_, Model(), command="c", metrics=(), events=Impatient(), should_stop=lambda: bool(wishes)
    )
    assert wishes == [(2, 6)]
    assert (result.is_stopped, result.scoring, result.problems) == (True, None, ())
    store = ResultStore(request_.folder)
    assert scored(store) == 2
    again = run_experiment(request_, Model(), command="c", metrics=())
    assert again.outcome.skipped == 6
    assert again.scoring.scored == {"siglip_score": 4}
    assert scored(store) == 6


def test_a_scorer_with_damaged_weights_leaves_images_summary_and_report(request_, scorer):
    scorer.score_rows = lambda rows: [{"siglip_score": float("nan")} for _ in rows]
    result = run_experiment(request_, Model(), command="c", metrics=())
    assert result.outcome.made == 6
    assert len(result.problems) == 1
    assert result.problems[0].startswith("The scoring stopped: siglip_score of ")
    assert result.report is not None


def test_a_full_disk_once_the_images_are_made_is_said_and_the_images_are_counted(request_, scorer, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    scorer.move_to = lambda device: monkeypatch.setattr(os, "fsync", full)
    result = run_experiment(request_, Model(), command="c", metrics=())
    assert (result.outcome.made, result.report) == (6, None)
    assert [problem.partition(": ")[0] for problem in result.problems] == [
        "The images could not be scored",
        "The report could not be written",
    ]
    assert all("No space left on device" in problem for problem in result.problems)


def test_a_full_disk_under_the_scores_is_said(request_, scorer, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    score_rows = scorer.score_rows

    def last_scores(rows):
        monkeypatch.setattr(os, "fsync", full)
        return score_rows(rows)

    scorer.score_rows = last_scores
    result = run_experiment(request_, Model(), command="c", metrics=())
    assert result.outcome.made == 6
    assert result.problems[0].startswith("The scoring stopped: The scores of ")
    assert result.problems[1] == (
        "The summary could not be written: No space left on device; "
        "free some space, make the folder writable, or choose another one."
    )


def test_a_folder_in_use_is_known_before_model_and_scorers(request_, scorer):
    store, model = ResultStore(request_.folder), Model()
    store.create()
    with store.lock(command="another"), pytest.raises(LlmDitError, match="in use by process"):
        run_experiment(request_, model, command="c", metrics=())
    assert model.asked == []


@pytest.mark.parametrize(
    ("prompts", "said"), [("standard", "2 of the set standard among these 2 prompts"), ("first", None)]
)
def test_a_dry_run_says_where_prompts_are_not_of_the_embedded_models_world(tmp_path, prompts, said):
    arguments = ["--sweep=shift=2,3", f"--prompt-set={prompts}", "--max-prompts=2", f"--output-dir={tmp_path}"]
    warned = dry_run(request_from_arguments(arguments, Config())).warnings
    assert len(warned) == bool(said) and all(said in sentence for sentence in warned)


def test_a_dry_run_names_levels_that_are_secretly_equal_and_writes_nothing(tmp_path):
    arguments = ["--sweep=negative_prompt=blurry,dark", "--prompt-set=first", "--max-prompts=1"]
    arguments.append(f"--output-dir={tmp_path}")
    found = dry_run(request_from_arguments(arguments, Config()))
    assert found.totals.runs == 2
    assert [sentence[:40] for sentence in found.warnings] == ["The levels blurry, dark are secretly equ"]
    assert list(tmp_path.iterdir()) == []


def test_a_margin_named_before_the_first_picture_stands_in_the_manifest_first_and_answers_at_the_end(tmp_path, scorer):
    names = ["animal_001", "animal_002", "animal_003", "simple_001", "simple_002", "simple_003"]
    arguments = ["--sweep=shift=1,2", f"--prompt-ids={','.join(names)}", f"--output-dir={tmp_path}"]
    asked = request_from_arguments([*arguments, "--margin=siglip_score=0.1"], Config({"num_inference_steps": 4}))
    seen = []

    class Watched(Events):
        def on_start(self, work):
            seen.append(ResultStore(asked.folder).manifest().margins)

    result = run_experiment(asked, Model(), command="c", metrics=(), events=Watched())
    assert (seen, result.problems) == ([{"siglip_score": 0.1}], ())
    page = result.report.read_text()
    assert "The margin of 0.1 was named before any analysis of it." in page
    assert "shift 2.0 is as good as 1.0 within 0.1" in page
    named = ResultStore(asked.folder).manifest().raw["margins"]

    more = request_from_arguments(
        [*arguments, "--margin=siglip_score=0.1,image_reward=0.2"], Config({"num_inference_steps": 4})
    )
    assert run_experiment(more, Model(), command="c").outcome.made == 0
    kept = ResultStore(asked.folder).manifest()
    assert kept.margins == {"siglip_score": 0.1, "image_reward": 0.2}
    assert kept.raw["margins"]["siglip_score"] == named["siglip_score"], "what was named first keeps its time"

    for margin, sentence in (
        ("siglip_score=0.3", "is 0.1, and it can't be chosen again"),
        ("siglip_scor=0.3", "'siglip_scor' is no measure"),
        ("psnr_db=1", "is a distance from the baseline itself"),
    ):
        other = request_from_arguments([*arguments, f"--margin={margin}"], Config({"num_inference_steps": 4}))
        for tried in (dry_run, lambda one: run_experiment(one, Model(), command="c")):
            with pytest.raises(LlmDitError, match=sentence):
                tried(other)
