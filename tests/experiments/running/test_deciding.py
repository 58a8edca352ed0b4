"""Experiments that run until they are decided: blocks, looks, limits, and going on after any end."""

import hashlib
import itertools
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fake_pipeline import FakePipeline

from experiments.planning.command_flags import request_from_arguments
from experiments.running import deciding
from experiments.running.console import print_plan
from experiments.running.dry_run import dry_run
from experiments.running.experiment_run import Events, run_experiment
from experiments.running.look_runs import planned_looks
from experiments.running.one_device import OneDevice
from experiments.stats.look_taking import rules_of
from experiments.stats.questions.narrowing import conditions_from_flags, narrowed
from experiments.store.result_store import ResultStore
from llm_dit.config import Config
from llm_dit.errors import LlmDitError, OutputError

EFFECTS = {1.0: -0.9, 2.0: 0.0, 3.0: 0.0, 4.0: 0.9}
"""Shift to what it adds to a score, in which prompts differ by about 0.3."""


class Model:
    """Hands out fake pipelines."""

    def __init__(self, **values):
        self.pipelines, self.values = [], values

    def get(self, settings_in_turn, planned, on_load):
        self.pipelines.append(FakePipeline(**self.values))
        return OneDevice.of(self.pipelines[-1])

    def check(self, settings):
        pass

    def release(self):
        pass


class Watched(Events):
    """Keeps what it is told."""

    def __init__(self):
        self.logs, self.progress = [], []

    def on_look(self, log):
        self.logs.append(log)

    def on_progress(self, progress):
        self.progress.append(progress)


@pytest.fixture(autouse=True)
def judge(monkeypatch):
    def score(row):
        parameters = json.loads(row.image.parents[1].joinpath("metadata", f"{row.image.stem}.json").read_text())
        shift = parameters["parameters"]["shift"]
        noise = int(hashlib.sha256(f"{row.prompt}{shift}".encode()).hexdigest()[:8], 16) / 2**32
        return {"siglip_score": EFFECTS[shift] + noise}

    metric = SimpleNamespace(
        name="siglip_score", model="m", compares_seeds=0, direction="higher", fidelity=None, needs=""
    )
    stub = SimpleNamespace(
        metric=metric, move_to=lambda device: None, score_rows=lambda rows: [score(row) for row in rows]
    )
    monkeypatch.setattr("experiments.metrics.load_configured_scorers", lambda *args, **values: [stub])
    return stub


def request(folder, *more, prompts=24, mode="--until-decided=siglip_score"):
    arguments = ["--sweep=shift=1..4", f"--max-prompts={prompts}", f"--output-dir={folder}", "--name=s"]
    return request_from_arguments([*arguments, *([mode] if mode else []), *more], Config({"num_inference_steps": 4}))


def run(asked, model=None, events=None, **values):
    return run_experiment(asked, model or Model(), command="c", events=events, **values)


def states(log):
    return {name: item.state for name, item in log.latest.levels.items()}


def test_it_stops_when_every_level_is_decided_and_draws_no_more_of_those_that_are(tmp_path):
    asked, events = request(tmp_path, "--margin=0.4"), Watched()
    result = run(asked, events=events)
    assert states(result.looks) == {"1.0": "worse", "2.0": "as good as", "4.0": "better"}
    assert result.looks.end == "decided"
    store = ResultStore(asked.folder)
    drawn = dict.fromkeys(("1.0", "2.0", "3.0", "4.0"), 0)
    for record in store.runs():
        drawn[record.level] += 1
    latest = result.looks.latest
    assert all(drawn[name] == item.prompts for name, item in latest.levels.items())
    assert drawn["3.0"] == latest.prompts == max(drawn.values())
    assert drawn["4.0"] < drawn["3.0"]
    assert latest.pictures == 4 * latest.prompts - sum(drawn.values())
    assert result.outcome.made == sum(drawn.values()) == store.manifest().planned_count
    assert [log.taken for log in events.logs[:-1]] == [result.looks.taken[: n + 1] for n in range(len(events.logs) - 1)]
    assert events.progress[-1].done == events.progress[-1].total == result.outcome.made


def test_order_and_looks_stand_in_the_manifest_before_the_first_picture(tmp_path):
    asked, seen = request(tmp_path), []

    class Curious(Events):
        def on_start(self, work):
            store = ResultStore(asked.folder)
            seen.append((store.manifest().looks, list(store.images.iterdir())))

    result = run(asked, events=Curious())
    ((log, pictures),) = seen
    assert pictures == []
    assert log.taken == ()
    assert log.plan == result.looks.plan
    assert log.plan.prompts[-1] == 24 == len(set(log.plan.order))


def test_a_stopped_run_goes_on_with_the_same_looks_and_ends_as_if_it_had_not_stopped(tmp_path):
    whole = run(request(tmp_path / "whole", "--margin=0.4")).looks
    asked = request(tmp_path / "parts", "--margin=0.4")
    made, logs = 0, []
    for allowed in (1, 10, 25, 27, 3, 500):
        asks = iter([False] * allowed + [True] * 1000)
        result = run(asked, should_stop=lambda asks=asks: next(asks))
        made += result.outcome.made
        logs.append(result.looks)
    assert logs[-1].end == "decided"
    undated = [[(look.prompts, look.levels) for look in log.taken] for log in (whole, logs[-1])]
    assert undated[0] == undated[1]
    for before, after in itertools.pairwise(logs):
        assert after.taken[: len(before.taken)] == before.taken  # no look is taken twice
    assert made == sum(item.prompts for item in whole.latest.levels.values()) + whole.latest.prompts
    again = run(asked)
    assert again.outcome.made == 0
    assert again.looks.taken == logs[-1].taken


def test_a_folder_goes_on_with_the_looks_that_another_version_planned(tmp_path, monkeypatch):
    asked = request(tmp_path, "--margin=0.4")
    monkeypatch.setattr("experiments.planning.looks.look_counts", lambda *_, **__: (10, 17, 24))
    first = run(asked, should_stop=_after(30)).looks
    assert first.plan.prompts == (10, 17, 24)
    monkeypatch.undo()
    assert planned_looks(asked, asked.plan(), ResultStore(tmp_path / "other")).prompts != (10, 17, 24)
    assert planned_looks(asked, asked.plan(), ResultStore(asked.folder)) == first.plan


def test_a_folder_goes_on_with_the_error_of_as_good_as_that_another_version_planned(tmp_path, monkeypatch):
    asked = request(tmp_path, "--margin=0.4")
    monkeypatch.setattr("experiments.planning.looks.WITHIN_EXPONENT", 1.5)
    monkeypatch.setattr("experiments.planning.looks.OUTSIDE_SHARE", 0.0)
    first = run(asked, should_stop=_after(30)).looks
    monkeypatch.undo()
    assert (first.plan.within_exponent, first.plan.outside_share) == (1.5, 0.0)
    assert planned_looks(asked, asked.plan(), ResultStore(asked.folder)) == first.plan
    # what the version changed is not named
    with pytest.raises(OutputError, match=r"planned otherwise \(margin: 0\.4 -> 0\.1\)"):
        run(request(tmp_path, "--margin=0.1"))
    rules = rules_of(first.plan)
    assert (rules.within_exponent, rules.outside_share, rules.within_alpha) == (1.5, 0.0, 0.05)


def test_scores_that_change_later_undo_no_decision(tmp_path, judge):
    asked = request(tmp_path)
    first = run(asked, should_stop=_after(60)).looks
    judge.metric.model = "another"
    judge.score_rows = lambda rows: [{"siglip_score": 0.5} for _ in rows]
    second = run(asked).looks
    assert second.taken[: len(first.taken)] == first.taken
    ended = {name: item for name, item in first.latest.levels.items() if item.ended_at is not None}
    assert ended
    assert all(second.latest.levels[name] == item for name, item in ended.items())


def _after(asks):
    answers = iter([False] * asks + [True] * 10_000)
    return lambda: next(answers)


def test_another_plan_for_a_folder_with_looks_is_refused(tmp_path):
    run(request(tmp_path))
    for other in (
        request(tmp_path, "--margin=0.1"),
        request(tmp_path, prompts=30),
        request(tmp_path, "--no-futility"),
        request(tmp_path, mode="--find-best=siglip_score"),
    ):
        with pytest.raises(OutputError, match=r"planned otherwise .* give the experiment another --name"):
            run(other)
    with pytest.raises(OutputError, match="go on with --until-decided siglip_score"):
        run(request(tmp_path, mode=None))
    with pytest.raises(OutputError, match="go on with --until-decided siglip_score"):
        dry_run(request(tmp_path, mode=None))


def test_pictures_of_a_fixed_design_take_no_looks_afterwards(tmp_path):
    run(request(tmp_path, mode=None, prompts=6))
    with pytest.raises(OutputError, match="looks have to be planned before the first one"):
        run(request(tmp_path))


def test_no_look_is_begun_that_takes_more_pictures_than_allowed(tmp_path):
    result = run(request(tmp_path, "--max-images=45", "--no-futility"))
    assert result.looks.end == "images"
    assert 0 < result.outcome.made <= 45
    more = run(request(tmp_path, "--no-futility"))
    assert more.looks.taken[: len(result.looks.taken)] == result.looks.taken
    assert len(more.looks.taken) > len(result.looks.taken)


def test_the_time_that_is_over_ends_a_run_between_pictures_and_is_no_stop(tmp_path):
    result = run(request(tmp_path, "--max-hours=0.00003"), Model(seconds=0.01))
    assert (result.looks.end, result.is_stopped) == ("hours", False)
    assert 0 < result.outcome.made < 24
    assert result.report is not None


def test_the_time_that_is_over_by_the_scores_ends_it_after_their_look(tmp_path, judge, monkeypatch):
    now, score = [0.0], judge.score_rows
    monkeypatch.setattr(deciding, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def late(rows):
        now[0] = 3600.0
        return score(rows)

    judge.score_rows = late
    result = run(request(tmp_path, "--max-hours=1", "--no-futility"))
    assert (result.looks.end, len(result.looks.taken)) == ("hours", 1)
    assert result.outcome.made == 4 * result.looks.latest.prompts


def test_a_race_ends_with_the_best_level(tmp_path):
    result = run(request(tmp_path, mode="--find-best=siglip_score"))
    assert states(result.looks) == {"1.0": "dropped", "2.0": "dropped", "3.0": "dropped", "4.0": "best"}
    assert (result.looks.latest.leader, result.looks.end) == ("4.0", "decided")
    assert result.outcome.made < 4 * 24


def test_a_race_that_leaves_several_levels_at_its_last_look_has_decided_nothing_of_them(tmp_path, judge):
    judge.score_rows = lambda rows: [{"siglip_score": 0.5} for _ in rows]
    result = run(request(tmp_path, mode="--find-best=siglip_score", prompts=12))
    assert states(result.looks) == dict.fromkeys(("1.0", "2.0", "3.0", "4.0"), "left")
    assert (result.looks.end, result.looks.latest.prompts) == ("prompts", 12)
    assert "the prompts were used up" in " ".join(result.verdict)
    again = run(request(tmp_path, mode="--find-best=siglip_score", prompts=12))
    assert (again.outcome.made, again.looks.end) == (0, "prompts")


def test_a_race_whose_levels_are_all_within_the_margin_is_decided(tmp_path, judge):
    judge.score_rows = lambda rows: [{"siglip_score": 0.5} for _ in rows]
    result = run(request(tmp_path, "--margin=0.1", mode="--find-best=siglip_score"))
    assert set(states(result.looks).values()) == {"left"}
    assert (result.looks.end, result.looks.latest.is_within_margin) == ("decided", True)


def test_runs_that_fail_leave_their_pairs_out_and_the_looks_go_on(tmp_path):
    asked = request(tmp_path)
    texts = [prompt.text for prompt in asked.prompts[:3]]
    model = Model(failing={(text, 4.0): RuntimeError("out of memory") for text in texts})
    result = run(asked, model)
    assert result.looks.latest.levels["4.0"].state == "better"
    at = result.looks.latest.levels["4.0"].ended_at
    first = result.looks.plan.order[: result.looks.plan.prompts[at]]
    missing = sum(prompt.id in first for prompt in asked.prompts[:3])
    assert result.looks.latest.levels["4.0"].prompts == len(first) - missing


def test_a_damaged_judge_ends_the_run_with_its_reason_and_takes_no_look(tmp_path, judge):
    judge.score_rows = lambda rows: [{"siglip_score": float("nan")} for _ in rows]
    result = run(request(tmp_path))
    assert result.looks.taken == ()
    assert result.problems[0].startswith("The scoring stopped: siglip_score of ")


def test_a_dry_run_tells_the_looks_and_the_pictures_to_expect(tmp_path):
    found = dry_run(request(tmp_path, "--margin=0.4"))
    assert found.looks.prompts[-1] == 24
    assert found.expected[0].startswith("Expected pictures, of 96: ")
    assert "where no level differs" in found.expected[0]
    assert "margin" in found.expected[1]
    assert not (tmp_path / "s").exists()


def test_a_dry_run_tells_the_pictures_that_a_race_takes(tmp_path, capsys):
    found = dry_run(request(tmp_path, mode="--find-best=siglip_score"))
    print_plan(found.plan, replace(found.totals, memory="All of it stays on the card."), "results/s")
    told = capsys.readouterr().out
    assert "All of it stays on the card." in told
    assert re.search(r"^. model +. mini +.$", told, re.MULTILINE)
    assert found.expected[0].startswith("Expected pictures, of 96: ")


def test_a_question_about_a_part_has_each_levels_prompts_and_is_said_to_be_no_part_of_the_plan(tmp_path):
    asked = request(tmp_path)
    run(asked)
    store = ResultStore(asked.folder)
    manifest = store.manifest()
    part = narrowed(manifest, store.runs(), conditions_from_flags(["shift=1,3,4"]))
    assert part.notes[0].startswith(
        "Planned looks decided how many prompts each level has; the tests here are not part"
    )
    left = {name: count for name, count in manifest.planned_runs.items() if name != "2.0"}
    assert part.manifest.planned_runs == left
    assert len(part.records) == sum(left.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--until-decided=pixel_diversity",), "has no better direction"),
        (("--until-decided=votes",), "votes come from people after the pictures"),
        (("--until-decided=siglip_scor",), "There is no measure 'siglip_scor'"),
        (("--until-decided=siglip_score", "--max-prompts=4"), "4 prompts can show no difference"),
        (("--find-best=siglip_score", "--max-prompts=5"), "a race among 4 levels takes at least"),
        (("--margin=0.1",), "belong to --until-decided MEASURE or --find-best MEASURE"),
        (("--until-decided=siglip_score", "--margin=0"), "--margin 0 is not above 0"),
        (("--until-decided=siglip_score", "--find-best=siglip_score"), "not both"),
    ],
)
def test_what_can_not_be_decided_is_one_sentence(tmp_path, arguments, message):
    with pytest.raises(LlmDitError, match=message):
        dry_run(request_from_arguments(["--sweep=shift=1..4", f"--output-dir={tmp_path}", *arguments], Config({})))
    assert not list(tmp_path.iterdir())
