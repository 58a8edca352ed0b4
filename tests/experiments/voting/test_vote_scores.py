"""Votes as a measure: which count, what they add to a level, and that statistics treat them as any other measure."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from sample_results import axis, noisy_scores, sample_plan, write_results

from experiments import analyze, export, run_ablation
from experiments.metrics import METRICS
from experiments.reporting.question_data import question_data
from experiments.stats.findings import analyse
from experiments.stats.verdict import sentences
from experiments.store.result_store import ResultStore
from experiments.voting.vote_scores import CountedVotes, with_votes
from experiments.voting.votes_file import Vote, append_votes

LEVELS = {"1.0": "a", "2.0": "baseline", "3.0": "b"}


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    plan = sample_plan(prompts=12, axes=(axis("shift", 1.0, 2.0, 3.0),), baseline={"shift": "2.0"})
    return ResultStore(write_results(tmp_path / "sweep", plan, noisy_scores({})))


def vote(store: ResultStore, prompt: int, left: str, right: str, choice: str, **changes: object) -> Vote:
    """A vote on two levels' pictures of a prompt."""
    runs = {record.level: record for record in store.runs() if record.prompt_id.endswith(f"{prompt:03}")}
    pictures = tuple(hashlib.sha256(runs[level].image_path.read_bytes()).hexdigest() for level in (left, right))
    values = {"probability": 0.5, "evenly": 0.5, "of_pictures": 0.1, "at": "2026-01-01T00:00:00+00:00", "voter": "Ada"}
    number = hashlib.sha256(repr((prompt, left, right, choice, changes)).encode()).hexdigest()[:24]
    return Vote(**{"id": number, "left": runs[left].run_id, "right": runs[right].run_id, "pictures": pictures,
                   "choice": choice, **values, **changes})  # fmt: skip


def result_of(store: ResultStore):
    manifest = store.manifest()
    records = with_votes(store.folder, manifest, store.runs())
    analysis = analyse(manifest, records, METRICS)
    (result,) = [item for item in analysis.measures if item.measure.column == "votes"]
    return analysis, result


def test_a_level_that_wins_ten_of_twelve_beats_the_baseline(store: ResultStore) -> None:
    append_votes(store.folder, [vote(store, i, "3.0", "2.0", "left" if i < 10 else "right") for i in range(12)])
    analysis, result = result_of(store)
    (_, found) = result.comparisons
    assert found.difference is not None
    assert found.difference.mean == pytest.approx(8 / 12)
    # by flipping signs: 2 or fewer of 12 against, or for: 2 (1 + 12 + 66) / 4096
    assert found.p_value == pytest.approx(158 / 4096)
    assert sentences(analysis, result)[0] == "shift 3.0 beats 2.0 by 0.7, 95 % interval 0.2 to 1.0."
    assert result.comparisons[0].pairs == 0  # nobody voted on 1.0


def test_a_picture_shows_its_votes_against_the_baselines(store: ResultStore) -> None:
    append_votes(
        store.folder,
        [
            vote(store, 0, "3.0", "2.0", choice, voter=f"{number}")
            for number, choice in enumerate(("left", "left", "right", "tie"))
        ],
    )
    records = with_votes(store.folder, store.manifest(), store.runs())
    shown = {record.level: record.scores["votes"] for record in records if "votes" in record.scores}
    assert shown == {"3.0": 0.25, "2.0": 0.0}


def test_the_exported_table_of_runs_has_the_votes_of_each_picture(store: ResultStore, tmp_path: Path) -> None:
    append_votes(
        store.folder,
        [
            vote(store, 0, "3.0", "2.0", choice, voter=f"{number}")
            for number, choice in enumerate(("left", "left", "right", "tie"))
        ],
    )
    told = CliRunner().invoke(export.main, [str(store.folder), "--output", str(tmp_path / "out"), "--what", "results"])
    assert told.exit_code == 0, told.output
    with (tmp_path / "out" / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["level"]: row for row in csv.DictReader(file) if row["votes"]}
    assert {level: float(row["votes"]) for level, row in rows.items()} == {"3.0": 0.25, "2.0": 0.0}
    assert float(rows["2.0"]["votes_counted"]) == 0.0


def test_both_bad_counts_as_a_tie(store: ResultStore) -> None:
    for choice in ("tie", "both_bad"):
        append_votes(store.folder, [vote(store, i, "2.0", "1.0", choice) for i in range(3)])
    tally, _ = CountedVotes(store.folder, store.manifest(), store.runs()).tally()
    assert tally.ties.sum() == tally.votes.sum() == 6.0


def test_a_vote_whose_pair_was_drawn_half_as_often_counts_twice(store: ResultStore) -> None:
    rare, usual = {"probability": 0.25}, {"probability": 0.5}
    append_votes(
        store.folder, [vote(store, 0, "3.0", "2.0", "left", **rare), vote(store, 1, "3.0", "2.0", "right", **usual)]
    )
    _, result = result_of(store)
    assert result.levels[2].estimate is not None
    assert result.levels[2].estimate.mean == pytest.approx((2 - 1) / 3)


def test_repeats_and_votes_on_pictures_that_have_gone_do_not_count(store: ResultStore) -> None:
    first = vote(store, 0, "3.0", "2.0", "left")
    gone = replace(vote(store, 1, "3.0", "2.0", "left"), pictures=("another", "picture"))
    unknown = replace(vote(store, 2, "3.0", "2.0", "left"), left="a run that is not there")
    append_votes(store.folder, [first, vote(store, 0, "2.0", "3.0", "left", repeats=first.id), gone, unknown])
    counted = CountedVotes(store.folder, store.manifest(), store.runs())
    assert [item.id for item in counted.first] == [first.id]
    assert (len(counted.repeats), counted.stale) == (1, 2)


def test_votes_between_two_other_levels_are_no_votes_against_the_baseline(store: ResultStore) -> None:
    append_votes(store.folder, [vote(store, i, "3.0", "1.0", "left") for i in range(8)])
    append_votes(store.folder, [vote(store, i, "1.0", "2.0", "tie") for i in range(8)])
    _, result = result_of(store)
    assert [item.pairs for item in result.comparisons] == [8, 0]
    assert result.levels[0].estimate is not None and result.levels[0].estimate.mean == 0.0


def test_questions_in_the_report_rest_on_what_votes_count(store: ResultStore) -> None:
    rare, usual = {"probability": 0.25}, {"probability": 0.5}
    votes = [vote(store, 0, "3.0", "2.0", "left", **rare), vote(store, 1, "3.0", "2.0", "right", **usual)]
    append_votes(store.folder, votes)
    manifest = store.manifest()
    records = with_votes(store.folder, manifest, store.runs())
    data = question_data(manifest, records, analyse(manifest, records, METRICS))
    assert data is not None
    (values,) = [measure["values"] for measure in data["measures"] if measure["column"] == "votes"]
    shown = {(record.prompt_id[-3:], record.level): value for record, value in zip(records, values, strict=True)}
    assert shown["000", "3.0"] == pytest.approx(2 / 1.5)
    assert shown["001", "3.0"] == pytest.approx(-1 / 1.5)
    assert (shown["000", "2.0"], shown["000", "1.0"]) == (0.0, None)


def test_votes_can_be_the_measure_that_counts_and_decide_nothing_while_pictures_are_drawn(store: ResultStore) -> None:
    done = CliRunner().invoke(analyze.main, [str(store.folder), "--primary", "votes"])
    assert (done.exit_code, store.manifest().primary) == (0, "votes")
    flags = ["--sweep", "shift=1,2", "--max-prompts", "8", "--until-decided", "votes", "--dry-run"]
    done = CliRunner().invoke(run_ablation.main, [*flags, "--output-dir", str(store.folder.parent)])
    assert done.exit_code == 2
    assert "votes come from people after the pictures" in done.output


def test_no_votes_leave_every_run_as_it_is(store: ResultStore) -> None:
    records = store.runs()
    assert with_votes(store.folder, store.manifest(), records) == records
