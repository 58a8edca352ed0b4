"""Votes given in a report that lies on disk: by keyboard, kept over a reload, exported, and added by the command."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sample_results import axis, noisy_scores, sample_plan, write_results

from experiments import vote
from experiments.reporting.report_page import write_report
from experiments.store.result_store import ResultStore
from experiments.voting.vote_scores import CountedVotes
from experiments.voting.votes_file import read_votes

AXE = files("axe_playwright_python") / "axe.min.js"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    plan = sample_plan(prompts=4, axes=(axis("shift", 1.0, 2.0, 3.0),), baseline={"shift": "2.0"}, name="sweep")
    folder = write_results(tmp_path / "sweep", plan, noisy_scores({}))
    for path in (folder / "metadata").glob("*.json"):
        record = json.loads(path.read_text())
        picture = (folder / record["image"]["file"]).read_bytes()
        record["image"]["sha256"] = hashlib.sha256(picture).hexdigest()
        path.write_text(json.dumps(record))
    return folder


@pytest.fixture
def page(browser: Any, folder: Path) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1200, "height": 800}, accept_downloads=True)
    complaints: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(write_report(folder).as_uri())
    yield page
    context.close()
    assert complaints == []


def begin(page: Any) -> None:
    page.fill("#ballot-voter", "Ada")
    page.click("#begin-votes")
    ready(page)


def ready(page: Any) -> None:
    page.locator("#ballot-pair:not(.loading)").wait_for()
    page.wait_for_timeout(260)  # no vote before a look


def test_votes_of_a_report_are_exported_and_added_once(page: Any, folder: Path, tmp_path: Path) -> None:
    begin(page)
    for key in ("ArrowLeft", "ArrowRight", "b"):
        page.keyboard.press(key)
        ready(page)
    page.keyboard.press("u")
    ready(page)
    page.keyboard.press("ArrowDown")
    page.reload()
    assert page.locator("#votes-count").inner_text() == "3 votes, in this browser"
    with page.expect_download() as download:
        page.click("#export-votes")
    exported = tmp_path / download.value.suggested_filename
    download.value.save_as(exported)
    assert exported.name == "votes-sweep.jsonl"
    done = CliRunner().invoke(vote.main, [str(folder), "--add", str(exported)])
    assert (done.exit_code, done.output) == (0, f"{exported}: 3 votes added, 0 were there already.\n")
    assert "0 votes added, 3 were" in CliRunner().invoke(vote.main, [str(folder), "--add", str(exported)]).output
    votes = read_votes(folder)
    assert [item.choice for item in votes.standing] == ["left", "right", "tie"]
    assert (votes.torn, len(votes.ids)) == (0, 3)
    store = ResultStore(folder)
    counted = CountedVotes(folder, store.manifest(), store.runs())
    assert (len(counted.first), counted.stale) == (3, 0)
    assert all(item.weight == 1.0 and 0 < item.of_pictures <= 1 for item in counted.first)


def test_a_name_is_asked_for_first(page: Any) -> None:
    page.locator("#ballot-voter").press("Enter")
    assert page.locator("#votes-count").inner_text().startswith("Write your name first")
    assert not page.locator("#booth").is_visible()
    page.locator("#ballot-voter").fill("Ada")
    page.locator("#ballot-voter").press("Enter")
    page.locator("#booth").wait_for()


def test_a_round_in_the_report_shows_every_pair_once(page: Any) -> None:
    begin(page)
    for _ in range(40):
        page.keyboard.press("ArrowLeft")
        if page.locator("#ballot-over").is_visible():
            break
        ready(page)
    lines = json.loads(page.evaluate("localStorage.getItem('votes of sweep')"))
    pairs = [frozenset((line["left"], line["right"])) for line in lines if line["repeats"] is None]
    assert len(pairs) == len(set(pairs)) == 12


def test_a_vote_that_is_taken_back_after_its_export_is_taken_back_by_the_next(page: Any, folder: Path) -> None:
    begin(page)
    exports = []
    for key in ("ArrowLeft", "u"):
        page.keyboard.press(key)
        page.locator("#ballot-close").click()
        with page.expect_download() as download:
            page.click("#export-votes")
        exports.append(download.value.path())
        begin(page)
    assert CliRunner().invoke(vote.main, [str(folder), "--add", str(exports[0])]).exit_code == 0
    assert len(read_votes(folder).standing) == 1
    CliRunner().invoke(vote.main, [str(folder), "--add", str(exports[1])])
    assert read_votes(folder).standing == ()


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (320, 640)])
def test_axe_finds_nothing_and_nothing_overflows(page: Any, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run('#voting', { resultTypes: ['violations'] })")["violations"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    begin(page)
    found += page.evaluate("axe.run('#booth', { resultTypes: ['violations'] })")["violations"]
    assert [f"{rule['id']}: {node['html'][:120]}" for rule in found for node in rule["nodes"]] == []
    boxes = [page.locator(part).bounding_box() for part in ("#ballot-left", "#ballot-right", ".ballot-answers")]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    assert boxes[2]["y"] + boxes[2]["height"] <= height


def test_a_file_that_holds_no_votes_is_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    done = CliRunner().invoke(vote.main, [str(folder), "--add", str(tmp_path / "a.txt")])
    assert done.exit_code == 2
    assert re.fullmatch(r"Error: .*a\.txt holds no votes; give a file that a report exported, .*\n", done.output)
