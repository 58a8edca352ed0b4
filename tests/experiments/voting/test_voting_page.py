"""The voting page in real Chromium: a round by keyboard, a kill in the middle, two voters, no word of levels."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, PngImagePlugin
from sample_results import axis, noisy_scores, sample_plan, write_results
from web_tab import open_tab

from experiments.voting.votes_file import VOTES_FILE, read_votes

ROOT = Path(__file__).parents[3]
AXE = files("axe_playwright_python") / "axe.min.js"
LEVELS = ("1.25", "2.5", "3.75")
SECRET, SEED = "think_block_x", 987654


def make_results(folder: Path, prompts: int = 4) -> Path:
    """An experiment whose pictures carry a secret in their PNG texts, as ours carry their settings."""
    axes = (axis("shift", *map(float, LEVELS)),)
    plan = sample_plan(prompts=prompts, axes=axes, baseline={"shift": LEVELS[1]}, seeds=(SEED,), name="sweep")
    write_results(folder, plan, noisy_scores({}))
    for path in sorted((folder / "metadata").glob("*.json")):
        metadata = json.loads(path.read_text())
        picture = folder / metadata["image"]["file"]
        texts = PngImagePlugin.PngInfo()
        texts.add_text("parameters", SECRET)
        with Image.open(picture) as image:
            image.save(picture, pnginfo=texts)
        metadata["image"]["bytes"] = picture.stat().st_size
        path.write_text(json.dumps(metadata))
    return folder


class Server:
    """`vote.py` as a process that can be killed and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "experiments/vote.py", str(self.folder), "--no-open", "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith(f"Vote at {self.address}/experiments/sweep/vote/"), line
        end = time.monotonic() + 60
        while True:
            try:
                httpx.get(self.address)
                return
            except httpx.TransportError:
                assert time.monotonic() < end
                time.sleep(0.02)

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(make_results(tmp_path_factory.mktemp("voting") / "sweep"))
    yield server
    server.kill()


@pytest.fixture
def no_votes(server: Server) -> Iterator[None]:
    (server.folder / VOTES_FILE).unlink(missing_ok=True)
    yield
    (server.folder / VOTES_FILE).unlink(missing_ok=True)


def begin(page: Any, voter: str) -> None:
    page.goto("/")
    page.fill("#voter", voter)
    page.keyboard.press("Enter")
    ready(page)


def ready(page: Any) -> None:
    """Wait until the pair has been there for as long as a vote needs."""
    page.locator("#pair:not([data-loading])").wait_for()
    page.wait_for_timeout(260)


def press(page: Any, key: str, path: str = "vote") -> dict:
    with page.expect_response(f"**/{path}") as answer:
        page.keyboard.press(key)
    found = answer.value
    assert found.status == 200, found.text()
    if found.json()["ballot"]:
        ready(page)
    return found.json()


@pytest.mark.usefixtures("no_votes")
def test_a_round_of_votes_by_keyboard_until_every_pair_is_seen(browser: Any, server: Server) -> None:
    with open_tab(browser, server.address) as page:
        begin(page, "Ada")
        keys = {
            "ArrowLeft": "left",
            "ArrowRight": "right",
            "ArrowDown": "tie",
            "b": "both_bad",
            "1": "left",
            "2": "right",
        }
        given = []
        for number in range(60):
            key, choice = list(keys.items())[number % len(keys)]
            given.append(choice)
            if not press(page, key)["ballot"]:
                break
        page.locator("#over").wait_for()
        assert page.locator("#progress-text").inner_text().endswith("12 of 12 pairs seen")
    votes = read_votes(server.folder)
    assert [vote.choice for vote in votes.standing] == given
    first = [frozenset((vote.left, vote.right)) for vote in votes.standing if vote.repeats is None]
    assert len(first) == len(set(first)) == 12
    assert {vote.voter for vote in votes.standing} == {"Ada"}
    assert all(vote.seconds and vote.seconds >= 0.25 and 0 < vote.probability <= 1 for vote in votes.standing)


@pytest.mark.usefixtures("no_votes")
def test_undo_takes_a_vote_back_and_asks_its_pair_again(browser: Any, server: Server) -> None:
    with open_tab(browser, server.address) as page:
        begin(page, "Ada")
        press(page, "ArrowLeft")
        taken = read_votes(server.folder).standing[0]
        assert press(page, "u", "undo")["votes"] == 0
        assert read_votes(server.folder).standing == ()
        press(page, "ArrowRight")
        again = read_votes(server.folder).standing[0]
    assert (again.left, again.right, again.choice, again.probability) == (
        taken.left, taken.right, "right", taken.probability,
    )  # fmt: skip


@pytest.mark.usefixtures("no_votes")
def test_kill_9_loses_no_vote_and_the_page_goes_on_with_the_next_server(browser: Any, server: Server) -> None:
    refused = "Failed to load resource: net::ERR_CONNECTION_REFUSED"
    with open_tab(browser, server.address, refused) as page:
        begin(page, "Ada")
        for _ in range(3):
            press(page, "ArrowLeft")
        server.kill()
        page.keyboard.press("ArrowRight")
        page.locator("#message", has_text="The server can't be reached. This vote is not saved.").wait_for()
        server.start()
        page.click("#message button")
        page.locator("#message", has_text="its vote is not saved; here is another one.").wait_for()
        ready(page)
        assert press(page, "ArrowLeft")["votes"] == 4
    assert [vote.choice for vote in read_votes(server.folder).standing] == ["left"] * 4


@pytest.mark.usefixtures("no_votes")
def test_two_voters_at_once_have_their_own_ballots_and_one_file(browser: Any, server: Server) -> None:
    with open_tab(browser, server.address) as first, open_tab(browser, server.address) as second:
        begin(first, "Ada")
        begin(second, "Grace")
        for _ in range(3):
            press(first, "ArrowLeft")
            press(second, "ArrowRight")
        assert "3 votes of yours, 2 of others" in first.locator("#progress-text").inner_text()
        assert "3 votes of yours, 3 of others" in second.locator("#progress-text").inner_text()
        shown = [page.get_attribute("#left", "src") for page in (first, second)]
        assert shown[0] != shown[1]
        first.reload()  # nobody gets another pair by asking again
        ready(first)
        assert first.get_attribute("#left", "src") == shown[0]
    votes = read_votes(server.folder).standing
    assert [(vote.voter, vote.choice) for vote in votes] == [("Ada", "left"), ("Grace", "right")] * 3


@pytest.mark.usefixtures("no_votes")
def test_nothing_that_is_sent_tells_of_levels_scores_times_or_files(browser: Any, server: Server) -> None:
    secrets = {SECRET, "shift", str(SEED), "image_reward", "metadata", "last-modified", "etag", "content-disposition"}
    for path in (server.folder / "metadata").glob("*.json"):
        record = json.loads(path.read_text())
        run = record["run"]
        secrets |= {run["run_id"], run["prompt_id"], run["identity"], run["conditions"], *run["levels"].values()}
        secrets |= {f"{value:.6g}" for value in record["scores"].values()} | {str(run["generation_time_seconds"])}
    texts, pictures = [], []
    with open_tab(browser, server.address) as page:
        responses: list[Any] = []
        page.on("response", lambda response: responses.append(response))
        begin(page, "Ada")
        for _ in range(8):
            press(page, "ArrowLeft")
        page.wait_for_load_state("networkidle")
        for response in responses:
            texts.append(f"{response.url} {json.dumps(response.all_headers())}")
            if "/pictures/" in response.url:
                pictures.append(response.body())
            elif "/assets/" not in response.url and response.status == 200:  # our own code, the same for everybody
                texts.append(response.text())
        texts.append(page.content())
    assert len(pictures) == 18
    random_names = re.compile(r"\b[0-9a-f]{24}\b|\b[0-9a-f]{12}\b")  # of ballots and pictures, and the code's version
    told = [(secret, text) for text in texts for secret in secrets if secret in random_names.sub("", text).lower()]
    assert told == []
    assert {kind for picture in pictures for kind in chunks(picture)} == {b"IHDR", b"IDAT", b"IEND"}


def chunks(png: bytes) -> list[bytes]:
    """Names of a PNG file's chunks."""
    found, position = [], 8
    while position < len(png):
        (length,) = struct.unpack_from(">I", png, position)
        found.append(png[position + 4 : position + 8])
        position += 12 + length
    return found


@pytest.mark.usefixtures("no_votes")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_overflows_a_phone(browser: Any, server: Server, scheme: str) -> None:
    with open_tab(browser, server.address) as page:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.goto("/")
        for width, height in ((1280, 900), (320, 640)):
            page.set_viewport_size({"width": width, "height": height})
            if page.locator("#voter-form").is_visible():
                assert axe(page) == []
                begin(page, "Donaudampfschifffahrtselektrizitätenhaup")
            page.evaluate("document.querySelector('details').open = true")
            assert axe(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            boxes = [page.locator(part).bounding_box() for part in ("#left", "#right", ".answers", "#undo")]
            assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)


def axe(page: Any) -> list[str]:
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [f"{rule['id']}: {node['html'][:120]}" for rule in found["violations"] for node in rule["nodes"]]
