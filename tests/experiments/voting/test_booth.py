"""Ballots: how they are drawn and recorded, what a voter may do with them, and pictures that tell nothing else."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zlib
from collections import Counter
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient
from PIL import Image, PngImagePlugin
from sample_results import axis, noisy_scores, sample_plan, write_results
from web_server import wait_until

from experiments import vote
from experiments.store.folder_lock import manifest_locked
from experiments.store.result_store import ResultStore
from experiments.voting.bare_png import without_metadata
from experiments.voting.booth import LEAST_BETWEEN, Booth
from experiments.voting.choice import chance_to_change
from experiments.voting.lone_app import create_voting_app
from experiments.voting.votes_file import VOTES_FILE, read_votes
from llm_dit.errors import LlmDitError, OutputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    plan = sample_plan(prompts=10, axes=(axis("shift", 1.0, 2.0, 3.0),), baseline={"shift": "2.0"}, name="sweep")
    return write_results(tmp_path / "sweep", plan, noisy_scores({}))


def booth_of(folder: Path, seed: int = 0) -> Booth:
    return Booth(folder, np.random.default_rng(seed))


def vote_through(booth: Booth, voter: str, choice: str = "left") -> int:
    """Answer until everything is seen; return the number of votes."""
    shown, count = booth.next_ballot(voter), 0
    while shown["ballot"]:
        shown = booth.vote(voter, shown["ballot"], choice)
        count += 1
    return count


def test_probabilities_stand_beside_each_vote(folder: Path) -> None:
    booth = booth_of(folder)
    shown = booth.next_ballot("Ada")
    booth.vote("Ada", shown["ballot"], "left", 1.25)
    (first,) = read_votes(folder).standing
    levels = {name.split("shift")[-1] for name in (first.left, first.right)}
    # two pairs with the baseline and one without, which comes a tenth as often; ten prompts that nobody has seen
    assert first.probability == pytest.approx((1 if any("2.0" in level for level in levels) else 0.1) / 2.1)
    assert (first.evenly, first.of_pictures, first.seconds) == (pytest.approx(first.probability), 0.1, 1.25)


def test_every_pair_comes_once_and_repeats_come_late_with_sides_drawn_anew(folder: Path) -> None:
    count = sum(vote_through(booth_of(folder, seed), f"voter {seed}") for seed in range(5))
    votes = read_votes(folder).standing
    assert len(votes) == count
    swapped = []
    for voter in {item.voter for item in votes}:
        own = [item for item in votes if item.voter == voter]
        places = {item.id: place for place, item in enumerate(own)}
        assert len([item for item in own if item.repeats is None]) == 30
        repeats = [item for item in own if item.repeats]
        assert len({item.repeats for item in repeats}) == len(repeats)
        for item in repeats:
            before = own[places[str(item.repeats)]]
            assert places[item.id] - places[before.id] > LEAST_BETWEEN
            assert {item.left, item.right} == {before.left, before.right}
            swapped.append(item.left == before.right)
    assert 0.02 < len(swapped) / count < 0.2
    assert set(swapped) == {True, False}
    sides = Counter(sorted((item.left, item.right))[0] == item.left for item in votes)
    assert abs(sides[True] / count - 0.5) < 3 * 0.5 / count**0.5


def test_prompts_are_shown_equally_often_for_each_pair_of_levels(folder: Path) -> None:
    booth = booth_of(folder)
    shown = booth.next_ballot("Ada")
    for _ in range(12):
        shown = booth.vote("Ada", shown["ballot"], "left")
    vote_through(booth, "Grace")
    pairs = Counter(frozenset((item.left, item.right)) for item in read_votes(folder).standing if not item.repeats)
    assert len(pairs) == 30
    assert max(pairs.values()) == 2


def test_a_ballot_stays_until_it_is_answered_and_is_answered_once(folder: Path) -> None:
    booth = booth_of(folder)
    shown = booth.next_ballot("Ada")
    assert booth.next_ballot("Ada")["pictures"] == shown["pictures"]
    after = booth.vote("Ada", shown["ballot"], "left")
    again = booth.vote("Ada", shown["ballot"], "right")  # sent twice, since the first answer was lost
    assert again["ballot"] == after["ballot"]
    assert [item.choice for item in read_votes(folder).standing] == ["left"]


def test_what_is_no_vote_is_refused_in_a_sentence(folder: Path) -> None:
    booth = booth_of(folder)
    ballot = booth.next_ballot("Ada")["ballot"]
    with pytest.raises(LlmDitError, match="'up' is no answer; say left, right, tie or both_bad"):
        booth.vote("Ada", ballot, "up")
    with pytest.raises(LlmDitError, match="shown by a server that is gone"):
        booth.vote("Grace", ballot, "left")
    with pytest.raises(LlmDitError, match="Write your name"):
        booth.next_ballot("  ")
    with pytest.raises(LlmDitError, match="no vote of yours to take back"):
        booth.undo("Ada")
    with pytest.raises(OutputError, match="not shown any more"):
        booth.picture("../manifest")
    assert not (folder / VOTES_FILE).exists()


def test_pictures_that_are_drawn_meanwhile_are_shown(folder: Path) -> None:
    kept = folder.parent / "later"
    kept.mkdir()
    records = sorted((folder / "metadata").glob("*.json"))
    for path in records[3:]:
        shutil.move(path, kept / path.name)
    booth = booth_of(folder)
    few = booth.next_ballot("Ada")["pairs"]
    for path in kept.iterdir():
        shutil.move(path, folder / "metadata" / path.name)
    assert few < 30
    voters = (f"voter {number}" for number in range(10_000))  # each has a new ballot drawn
    wait_until(lambda: booth.next_ballot(next(voters))["pairs"] == 30)  # reading takes a tenth of the time at most


def test_votes_are_saved_while_another_process_holds_the_folder(folder: Path) -> None:
    with ResultStore(folder).lock(command="run_ablation.py"), manifest_locked(folder):
        booth = booth_of(folder)
        assert booth.vote("Ada", booth.next_ballot("Ada")["ballot"], "left")["votes"] == 1


def test_what_a_folder_lacks_is_said_before_a_page_opens(tmp_path: Path) -> None:
    done = CliRunner().invoke(vote.main, [str(tmp_path), "--no-open"])
    assert done.exit_code == 2
    assert "manifest.json does not exist; give the folder of an experiment's results." in done.output


def test_a_page_of_another_site_can_neither_vote_nor_read(folder: Path) -> None:
    app = create_voting_app(booth_of(folder))
    path = "/experiments/sweep/vote/next"
    ours, foreign = TestClient(app, "http://127.0.0.1:8010"), TestClient(app, "http://rebound.example")
    assert ours.post(path, json={"voter": "Ada"}).status_code == 200
    # what a browser sends to another site unasked is a form or plain text
    refused = ours.post(path, content='{"voter": "Ada"}', headers={"Content-Type": "text/plain"})
    assert (refused.status_code, refused.json()["error"][:25]) == (422, "The body has to be JSON; ")
    assert foreign.post(path, json={"voter": "Ada"}).status_code == 400
    assert foreign.get("/experiments/sweep/vote/").status_code == 400
    assert "frame-ancestors 'none'" in ours.get("/experiments/sweep/vote/").headers["content-security-policy"]


@pytest.mark.parametrize("body", ["[]", "{", '{"voter": 3}', '{"voter": ["Ada"]}', "[" * 100_000, "x" * 20_000])
def test_what_is_no_request_is_refused_in_a_sentence(folder: Path, body: str) -> None:
    client = TestClient(create_voting_app(booth_of(folder)), "http://127.0.0.1")
    headers = {"Content-Type": "application/json"}
    odd = client.post("/experiments/sweep/vote/vote", json={"voter": "Ada", "ballot": [{}], "choice": "left"})
    assert odd.status_code == 422
    for path in ("next", "vote", "undo"):
        answer = client.post(f"/experiments/sweep/vote/{path}", content=body, headers=headers)
        assert answer.status_code == 422
        assert answer.json()["error"].endswith(".")


def test_a_bare_picture_has_the_same_pixels_and_no_texts() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "shift 3.0")
    texts.add_itxt("llm-dit", json.dumps({"shift": 3.0}), zip=True)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png", pnginfo=texts, dpi=(72, 72))
    bare = without_metadata(file.getvalue() + b"more after the end")
    assert b"shift" not in bare and b"pHYs" not in bare
    assert bare.endswith(struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND")))
    with Image.open(io.BytesIO(bare)) as image:
        assert (np.asarray(image) == pixels).all()
        assert image.info == {}


@pytest.mark.parametrize(
    ("damage", "problem"), [(b"GIF89a", "not a PNG"), (b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", "cut off")]
)
def test_a_picture_that_is_none_is_named(damage: bytes, problem: str) -> None:
    with pytest.raises(OutputError, match=problem):
        without_metadata(damage)


def test_the_chance_that_votes_change_an_answer_is_that_of_a_mean_known_to_its_own_error():
    """10 votes, 9 decided, 5 more for one: variance 10 / 11 - (5 / 11)^2, so z is 1.886 now and later about 2.668."""
    normal = NormalDist()
    z = 5 / (10 * (10 / 11 - 25 / 121)) ** 0.5
    later = 2**0.5 * z
    opens = normal.cdf(later - 1.96) + normal.cdf(-later - 1.96)
    told = chance_to_change(*(np.array([value]) for value in (5.0, 9.0, 10.0)))
    assert z < 1.96 and told == pytest.approx([opens], abs=1e-12)
    assert chance_to_change(*(np.array([value]) for value in (3.0, 3.0, 3.0))) == [1.0], (
        "of three votes nothing is known"
    )
    assert chance_to_change(*(np.array([value]) for value in (4.0, 4.0, 4.0))) < 1.0
