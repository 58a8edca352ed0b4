"""How often scorers agree with votes: shares, their tests against chance and each other, and what is said of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sample_results import axis, noisy_scores, sample_plan, write_results
from scipy.stats import kendalltau
from test_vote_scores import vote

from experiments import analyze
from experiments.metrics import METRICS
from experiments.reporting.report_page import write_report
from experiments.stats.findings import analyse
from experiments.store.result_store import ResultStore
from experiments.voting.agreement import Steadiness, agreements, rank_agreements, rank_correlation, steadiness
from experiments.voting.vote_scores import CountedVotes
from experiments.voting.vote_sentences import VoteReport, vote_report
from experiments.voting.votes_file import append_votes

PROMPTS = 12


def results(folder: Path, scores: Callable | None = None) -> ResultStore:
    plan = sample_plan(prompts=PROMPTS, axes=(axis("shift", 1.0, 2.0, 3.0),), baseline={"shift": "2.0"})
    return ResultStore(write_results(folder / "sweep", plan, scores or by_shift))


def by_shift(run) -> dict[str, float]:
    """ImageReward always prefers the larger shift; SigLIP does so on even prompts."""
    number, shift = int(run.prompt.id[-3:]), run.params.shift
    return {"image_reward": shift + 0.01 * number, "siglip_score": shift if number % 2 == 0 else -shift}


def report_of(store: ResultStore) -> tuple[CountedVotes, list, VoteReport]:
    manifest, records = store.manifest(), store.runs()
    counted = CountedVotes(store.folder, manifest, records)
    records = counted.scored(records)
    analysis = analyse(manifest, records, METRICS)
    return counted, records, vote_report(counted, records, analysis)


def test_agreement_is_the_share_of_decided_votes_with_its_test_against_chance(tmp_path: Path) -> None:
    store = results(tmp_path)
    append_votes(store.folder, [vote(store, i, "3.0", "2.0", "left" if i < 10 else "right") for i in range(12)])
    append_votes(store.folder, [vote(store, i, "1.0", "2.0", "tie") for i in range(12)])  # says nothing
    _, _, report = report_of(store)
    reward, siglip = report.scorers
    assert (reward.measure.column, reward.share, reward.votes, reward.prompts) == ("image_reward", 10 / 12, 12, 12)
    assert reward.p_value == pytest.approx(158 / 4096)  # 2 or fewer of 12 disagree, or agree
    # even prompts up to 8 agree, 11 does; 10 and the odd ones up to 9 don't
    assert (siglip.measure.column, siglip.share) == ("siglip_score", 0.5)
    assert siglip.p_value == 1.0


def test_trust_is_given_only_where_the_difference_is_shown(tmp_path: Path) -> None:
    store = results(tmp_path)
    append_votes(store.folder, [vote(store, i, "3.0", "2.0", "left") for i in range(12)])
    _, _, report = report_of(store)
    # of 12 prompts that all agree, the lower end is 0.025^(1/12)
    assert re.fullmatch(
        r"ImageReward agrees with your votes in 100 % \(74 to 100\), SigLIP 2 in 50 % \(\d+ to \d+\): "
        r"for this question trust ImageReward more\.",
        report.agreement[0],
    )
    assert report.agreement[1] == "Not told apart from chance, which agrees in 50 %: SigLIP 2."


def test_few_votes_trust_nobody_more(tmp_path: Path) -> None:
    store = results(tmp_path)
    append_votes(store.folder, [vote(store, i, "3.0", "2.0", "left") for i in range(4)])
    _, _, report = report_of(store)
    assert report.agreement[0].endswith(": which of them to trust more can't be told from 4 decided votes.")
    assert report.agreement[1].endswith("ImageReward, SigLIP 2, nor could they be with so few prompts.")


def test_a_scorer_that_prefers_what_people_reject_is_said_to_be_worse_than_chance(tmp_path: Path) -> None:
    store = results(tmp_path)
    append_votes(store.folder, [vote(store, i, "3.0", "2.0", "right") for i in range(12)])
    _, _, report = report_of(store)
    assert "Worse than chance: what ImageReward prefers was mostly not chosen." in report.agreement
    assert "can't be told" in report.agreement[0]  # SigLIP's half is no reason to trust it


def test_equal_scores_agree_by_half_and_missing_ones_not_at_all(tmp_path: Path) -> None:
    def scores(run) -> dict[str, float]:
        return {"image_reward": 1.0} | ({"siglip_score": run.params.shift} if int(run.prompt.id[-3:]) < 3 else {})

    store = results(tmp_path, scores)
    append_votes(store.folder, [vote(store, i, "3.0", "2.0", "left") for i in range(6)])
    _, _, report = report_of(store)
    assert {(item.measure.column, item.share, item.votes) for item in report.scorers} == {
        ("image_reward", 0.5, 6),
        ("siglip_score", 1.0, 3),
    }


def test_steadiness_counts_pairs_that_were_decided_both_times(tmp_path: Path) -> None:
    store = results(tmp_path)
    first = [vote(store, i, "3.0", "2.0", "left") for i in range(4)]
    again = [
        vote(store, i, "2.0", "3.0", choice, repeats=first[i].id) for i, choice in enumerate(("right", "left", "tie"))
    ]
    append_votes(store.folder, [*first, *again])
    counted, _, report = report_of(store)
    assert steadiness(counted) == Steadiness(same=1, decided=2, asked=3)
    assert any(
        line.startswith("Asked again, the voters chose the same picture in 50 % (1 of 2") for line in report.agreement
    )


def test_the_best_judge_agrees_as_often_as_two_answers_of_a_voter_allow() -> None:
    # a voter whose usual answer comes with probability 0.9 repeats it with 0.9^2 + 0.1^2
    assert Steadiness(82, 100, 100).ceiling == pytest.approx(0.9)
    assert Steadiness(40, 100, 100).ceiling == 0.5


def test_levels_are_ranked_alike_or_opposite(tmp_path: Path) -> None:
    store = results(tmp_path, lambda run: {"image_reward": run.params.shift, "siglip_score": -run.params.shift})
    votes = [("3.0", "2.0", "left"), ("1.0", "2.0", "right")]
    append_votes(store.folder, [vote(store, i, *answer) for answer in votes for i in range(6)])
    manifest = store.manifest()
    records = CountedVotes(store.folder, manifest, store.runs()).scored(store.runs())
    found = rank_agreements(analyse(manifest, records, METRICS).measures)
    assert {(item.first.column, item.second.column): item.tau for item in found} == {
        ("image_reward", "siglip_score"): -1.0,
        ("image_reward", "votes"): 1.0,
        ("siglip_score", "votes"): -1.0,
    }


@pytest.mark.parametrize("most", [3, 8, 1000])
def test_ranks_correlate_as_scipy_says_with_and_without_ties(most: int) -> None:
    generator = np.random.default_rng(most)
    for count in (3, 4, 10, 24):
        first, second = generator.integers(0, most, (2, count)).astype(float)
        expected = kendalltau(first, second).statistic
        assert rank_correlation(first.tolist(), second.tolist()) == pytest.approx(expected, abs=1e-15)
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
    assert rank_correlation([1.0, 2.0, 3.0], [5.0, 7.0, 9.0]) == 1.0


def test_intervals_of_agreement_hold_the_truth(tmp_path: Path) -> None:
    store = results(tmp_path)
    template = [vote(store, i, "3.0", "2.0", "left") for i in range(PROMPTS)]
    manifest, records = store.manifest(), store.runs()
    analysis = analyse(manifest, records, METRICS)
    counted = CountedVotes(store.folder, manifest, records)
    generator = np.random.default_rng(0)
    held = []
    for _ in range(500):
        chances = np.clip(0.7 + 0.15 * generator.normal(size=PROMPTS), 0, 1)
        choices = generator.random((PROMPTS, 3)) < chances[:, None]
        counted.first = tuple(
            replace(template[i], id=f"{i} {k}", choice="left" if choices[i, k] else "right")
            for i in range(PROMPTS)
            for k in range(3)
        )
        alone, _ = agreements(counted, records, analysis.measures)
        (reward,) = [item for item in alone if item.measure.column == "image_reward"]
        held.append(reward.low <= 0.7 <= reward.high)
    assert 0.93 <= np.mean(held) <= 0.97


def test_command_and_report_say_who_agrees_with_whom(tmp_path: Path) -> None:
    store = results(tmp_path)
    append_votes(store.folder, [vote(store, i, "3.0", "2.0", "left") for i in range(12)])
    _, _, report = report_of(store)
    printed = CliRunner().invoke(analyze.main, [str(store.folder)]).output
    assert f"Agreement: {report.agreement[0]}" in printed
    assert f"Votes: {report.notes[0]}" in printed
    page = write_report(store.folder).read_text(encoding="utf-8")
    assert report.agreement[0] in page
    assert "<dt>Votes" in page
    assert [level.level for level in report.strengths] == ["3.0", "2.0"]  # nobody voted on 1.0
    assert f"<td>{report.strengths[0].text}</td><td>{report.strengths[0].interval}</td>" in page
    assert report.strengths[0].interval.startswith("above ")  # it never lost
    assert report.strengths[1].interval == ""


def test_without_votes_nothing_is_said_of_them(tmp_path: Path) -> None:
    plan = sample_plan(prompts=3, axes=(axis("shift", 1.0, 2.0),), baseline={"shift": "2.0"})
    store = ResultStore(write_results(tmp_path / "sweep", plan, noisy_scores({})))
    assert report_of(store)[2] == VoteReport()
