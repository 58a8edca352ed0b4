"""Votes that are looked at while they come in: each look is kept, told, and paid for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sample_results import axis, noisy_scores, sample_plan, write_results
from scipy import stats
from test_vote_scores import vote

from experiments import analyze
from experiments.metrics import METRICS
from experiments.reporting.report_page import write_report
from experiments.store.result_store import ResultStore
from experiments.voting.vote_looks import analysed_with_votes, looks_cost
from experiments.voting.votes_file import append_look, append_votes, read_votes


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    plan = sample_plan(prompts=12, axes=(axis("shift", 2.0, 3.0),), baseline={"shift": "2.0"})
    return ResultStore(write_results(tmp_path / "sweep", plan, noisy_scores({})))


@pytest.mark.parametrize(("votes", "looks"), [(10, 2), (20, 5), (40, 3), (30, 20)])
def test_looks_that_are_paid_for_claim_in_at_most_6_percent(votes: int, looks: int) -> None:
    answers = np.random.default_rng(0).choice([-1, 1], size=(20_000, votes * looks))
    net = np.abs(answers.cumsum(axis=1)[:, votes - 1 :: votes])
    given = np.arange(1, looks + 1) * votes
    p_values = np.minimum(2 * stats.binom.cdf((given - net) // 2, given, 0.5), 1.0)
    claims = lambda cost: float((p_values * cost <= 0.05).any(axis=1).mean())  # noqa: E731
    assert claims(np.array([looks_cost(before) for before in range(looks)])) <= 0.06
    if looks > 2:
        assert claims(1.0) > 0.06  # which is why


def test_each_number_of_votes_is_one_look_and_the_next_one_is_told_and_paid(store: ResultStore) -> None:
    append_votes(store.folder, [vote(store, i, "3.0", "2.0", "left") for i in range(6)])
    first = CliRunner().invoke(analyze.main, [str(store.folder)]).output
    CliRunner().invoke(analyze.main, [str(store.folder)])
    assert read_votes(store.folder).looks == (6,)
    assert "Looked at" not in first
    append_votes(store.folder, [vote(store, i, "3.0", "2.0", "left") for i in range(6, 8)])
    output = CliRunner().invoke(analyze.main, [str(store.folder)]).output
    assert "Votes: Looked at after 6 votes before: who votes on until p is small claims too often, so the" in output
    # 8 of 8: p is 2 / 2^8, four times for the second look
    assert "0.031" in output
    assert "(0.008)" in output
    assert read_votes(store.folder).looks == (6, 8)


def test_tables_over_several_experiments_pay_for_looks_too(store: ResultStore) -> None:
    append_votes(store.folder, [vote(store, i, "3.0", "2.0", "left") for i in range(6)])
    append_look(store.folder, 5, "report.py")
    _, analysis = analysed_with_votes(store.folder, store.manifest(), store.runs(), METRICS)
    (found,) = [item.comparisons[0] for item in analysis.measures if item.measure.column == "votes"]
    assert (found.p_value, found.p_holm, found.is_found) == (2 / 2**6, 4 * 2 / 2**6, False)


def test_a_report_is_a_look_and_another_measure_is_none(store: ResultStore) -> None:
    append_votes(store.folder, [vote(store, i, "3.0", "2.0", "left") for i in range(6)])
    CliRunner().invoke(analyze.main, [str(store.folder), "--measure", "image_reward"])
    assert read_votes(store.folder).looks == ()
    write_report(store.folder)
    assert read_votes(store.folder).looks == (6,)
