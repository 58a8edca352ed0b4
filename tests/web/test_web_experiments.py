"""The cards of experiments and the way from a plan to its start, over HTTP and in Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sample_results import noisy_scores, sample_plan, write_results
from web_fakes import FakeEngine
from web_server import HTTP, client_of, live_server, make_app, wait_for_model, wait_until
from web_tab import open_tab

from experiments.reporting.report_page import headline_of, write_report
from experiments.store.result_store import ResultStore
from experiments.voting.votes_file import read_votes

EFFECT = {"2.0": 1.5}
UPDATED = datetime.now(UTC) - timedelta(days=3, hours=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    for name in ("first", "second", "third"):
        results = folder / "results" / name
        write_results(results, sample_plan(prompts=6, name=name), noisy_scores(EFFECT))
        write_report(results)
        manifest = json.loads((results / "manifest.json").read_text())
        (results / "manifest.json").write_text(json.dumps(manifest | {"updated": UPDATED.isoformat()}))
    with live_server(make_app(folder, FakeEngine())) as address:
        wait_for_model(address)
        yield address


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with open_tab(browser, address) as page:
        page.goto("/experiments")
        yield page


def test_all_experiments_stand_in_one_table_with_their_verdicts(page: Any) -> None:
    page.goto("/experiments/overview")
    row = page.locator("table.overview tbody tr", has_text="second")
    cells = [cell.inner_text() for cell in row.locator("td, th").all()]
    assert cells[1:5] == ["second", "What does it change?", "shift", "24 of 24"]
    assert cells[6].startswith("shift ") or cells[6].startswith("No level") or cells[6].startswith("With ")
    lines = "cell => { const r = document.createRange(); r.selectNodeContents(cell); return r.getClientRects().length }"
    date_and_pictures = [row.locator("td").nth(index) for index in (0, 3)]
    assert [cell.evaluate(lines) for cell in date_and_pictures] == [1, 1]
    assert row.locator("a").get_attribute("href").endswith("/second/report.html")
    page.goto("/experiments")
    assert page.locator("a[href='/experiments/overview']").count() == 1


def test_a_card_has_its_date_its_verdict_and_a_few_pictures(page: Any, folder: Path) -> None:
    verdict = headline_of(folder / "results" / "first" / "report.html")
    card = page.locator("[data-name=first]")
    assert verdict.endswith(".")
    assert "shift" in verdict
    assert card.locator(".card-verdict").inner_text() == verdict
    assert verdict in (folder / "results" / "first" / "report.html").read_text().partition("<body")[2]
    assert card.locator("time").get_attribute("datetime") == UPDATED.isoformat()
    assert card.locator("time").inner_text() == "3 days ago"
    pictures = card.locator(".card-thumbnails img")
    assert pictures.count() == 5
    widths = pictures.evaluate_all(
        "images => Promise.all(images.map((one) => one.decode().then(() => one.naturalWidth)))"
    )
    assert min(widths) > 0
    listed = page.request.get("/api/experiments/first").json()
    assert (listed["verdict"], len(listed["thumbnails"])) == (verdict, 5)


def test_the_pictures_of_a_card_open_in_full_size_and_survive_that_the_list_is_made_anew(page: Any) -> None:
    links = page.locator("[data-name=first] .card-thumbnails a")
    links.nth(1).focus()
    page.keyboard.press("Enter")
    page.locator("#viewer[open]").wait_for()
    name = links.nth(1).get_attribute("data-view").rpartition("/")[2].removesuffix(".png")
    assert page.inner_text(".viewer-title") == f"A picture of first: {name}"
    wait_until(lambda: page.evaluate("document.querySelector('.viewer-stage img').naturalWidth") > 0)
    with page.expect_response("**/experiments/list"):
        page.evaluate("htmx.trigger(document.body, 'experiments-changed')")
    page.locator("#experiment-list:not(.htmx-settling)").wait_for()
    page.keyboard.press("ArrowRight")
    later = links.nth(2).get_attribute("data-view").rpartition("/")[2].removesuffix(".png")
    assert page.inner_text(".viewer-title") == f"A picture of first: {later}"
    page.keyboard.press("Escape")
    wait_until(lambda: (page.evaluate("document.activeElement.dataset.view") or "").endswith(f"/images/{later}.png"))


def test_an_experiment_is_deleted_once_that_is_confirmed_and_what_others_wrote_stays(page: Any, folder: Path) -> None:
    results = folder / "results" / "second"
    (results / "notes.txt").write_text("mine")
    picture = next((results / "images").glob("*.png"))
    picture.write_bytes(b"painted over by someone")
    asked = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.click("[data-name=second] [data-action=delete]")
    assert asked == ["Delete second with its 24 pictures? Files that the lab did not write stay."]
    assert (results / "manifest.json").is_file()

    page.once("dialog", lambda dialog: dialog.accept())
    page.click("[data-name=second] [data-action=delete]")
    page.locator("[data-name=second]").wait_for(state="detached")
    page.get_by_text("what the lab did not write stays").wait_for()
    left = {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()}
    assert left == {"notes.txt", f"images/{picture.name}"}
    assert page.request.get("/api/experiments/second").status == 404


def test_a_folder_with_nothing_else_goes_whole(address: str, folder: Path) -> None:
    assert HTTP.delete(f"{address}/api/experiments/third").json() == {"deleted": "third", "left": []}
    assert not (folder / "results" / "third").exists()
    assert HTTP.delete(f"{address}/api/experiments/third").status_code == 404


def test_an_experiment_that_another_process_works_on_is_not_deleted(address: str, folder: Path) -> None:
    store = ResultStore(folder / "results" / "first")
    with store.lock(command="elsewhere"):
        answer = HTTP.delete(f"{address}/api/experiments/first")
    assert answer.status_code == 422
    assert "is in use by process" in answer.json()["error"]
    assert len(list(store.images.iterdir())) == 24


NOT_TO_RUN = {
    "no prompts": ({"experiment": "shift_sweep", "ids": "nobody"}, "nobody"),
    "invalid": ({"sweeps": "shift=0..2"}, "shift"),
    "unknown": ({"sweeps": "shiftz=1,2"}, "shiftz"),
    "unsupported": ({"sweeps": "hidden_layer=-2,-99", "max_prompts": 1}, "-99"),
    "too large": ({"sweeps": "shift=0.5..10..0.0001"}, "95,001 levels"),
    "another's folder": ({"sweeps": "num_inference_steps=4,9", "name": "first", "max_prompts": 1}, "first"),
}


@pytest.mark.parametrize(("asked", "word"), NOT_TO_RUN.values(), ids=NOT_TO_RUN)
def test_a_plan_that_cannot_run_is_refused_before_it_starts(
    page: Any, address: str, asked: dict[str, Any], word: str
) -> None:
    answer = HTTP.post(f"{address}/api/experiments", json=asked, timeout=60)
    assert answer.status_code == 422, answer.text
    sentence = answer.json()["error"]
    assert word in sentence
    assert HTTP.get(f"{address}/api/jobs").json() == []
    page.locator("#plan .totals").wait_for()
    page.select_option("#lab-set", "")
    if "sweeps" in asked:
        page.check("[name=kind][value=own]", force=True)
    for name, value in asked.items():
        if name != "experiment":
            page.fill(f"#lab-form [name={name}]", str(value))
    page.locator("#plan-error", has_text=sentence).wait_for()
    assert page.locator("#start-button").is_disabled()


def test_the_embedded_model_is_offered_the_prompts_of_its_world_until_another_set_is_chosen(page: Any) -> None:
    form = page.locator("#lab-form")
    chosen, most = form.locator("[name=prompt_set]"), form.locator("[name=max_prompts]")
    assert (chosen.input_value(), most.input_value()) == ("first", "")
    page.locator("#plan", has_text="30 prompts").wait_for()
    page.select_option("#lab-experiment", "long_prompt_mode")
    assert chosen.input_value() == ""  # it brings its own
    page.select_option("#lab-experiment", "hidden_layer")
    assert chosen.input_value() == "first"
    page.select_option("#lab-set", "standard")
    page.select_option("#lab-experiment", "shift_sweep")
    assert chosen.input_value() == "standard"


def test_another_model_is_offered_the_experiments_own_prompts_and_few(tmp_path: Path) -> None:
    with client_of(make_app(tmp_path, FakeEngine(), model_path="someone/z-image")) as client:
        choices = client.get("/api/experiments/choices").json()
    assert {experiment["suggested_set"] for experiment in choices["experiments"]} == {""}
    assert choices["suggested_prompts"] == 3


def test_own_axes_are_asked_for_in_the_pages_words(page: Any) -> None:
    page.locator("#plan .totals").wait_for()
    page.check("[name=kind][value=own]", force=True)
    page.locator("#plan-error", has_text="Write an axis a line, such as shift=1..6.").wait_for()
    assert page.locator("#start-button").is_disabled()


def test_the_api_page_has_the_address_in_use_and_marks_code(tmp_path: Path) -> None:
    with client_of(make_app(tmp_path, FakeEngine(), allowed_hosts="pictures.example")) as client:
        text = client.get("/docs", headers={"Host": "pictures.example:8443"}).text
        assert "curl -X POST http://pictures.example:8443/api/generate -H" in text
        assert "127.0.0.1:8000" not in text
        assert "`" not in text
        assert "<code>wait=true</code>" in text
        assert "query, default false." in text
        assert "default True" not in text
        assert "default False" not in text
        assert "Authorization: Bearer KEY" not in text.replace("needed: Authorization", "")
    with client_of(make_app(tmp_path, FakeEngine(), api_key="a long random text")) as client:
        client.headers["Authorization"] = "Bearer a long random text"
        assert "-H &#39;Authorization: Bearer KEY&#39; -H" in client.get("/docs").text.replace("'", "&#39;")


def test_an_experiment_can_be_voted_on_from_its_card(page: Any, folder: Path) -> None:
    write_results(folder / "results" / "voted", sample_plan(prompts=2, name="voted"), noisy_scores(EFFECT))
    page.reload()
    page.locator("[data-name=voted] a", has_text="Vote").click()
    page.fill("#voter", "Ada")
    page.keyboard.press("Enter")
    page.locator("#pair:not([data-loading])").wait_for()
    page.wait_for_timeout(260)  # no vote before a look
    with page.expect_response("**/experiments/voted/vote/vote") as answer:
        page.keyboard.press("ArrowLeft")
    assert answer.value.json()["votes"] == 1
    assert read_votes(folder / "results" / "voted").standing[0].choice == "left"
    page.click("text=Experiments")
    page.locator("[data-name=voted]").wait_for()


@pytest.mark.parametrize("path", ["/experiments/nothing/vote/", "/experiments/..%2fdata/vote/"])
def test_there_is_no_vote_on_what_is_no_experiment(address: str, path: str) -> None:
    assert HTTP.get(f"{address}{path}").status_code == 404


def test_votes_outlive_the_experiment_that_is_deleted(address: str, folder: Path) -> None:
    results = write_results(folder / "results" / "gone", sample_plan(prompts=2, name="gone"), noisy_scores(EFFECT))
    asked = HTTP.post(f"{address}/experiments/gone/vote/next", json={"voter": "Ada"}).json()
    vote = {"voter": "Ada", "ballot": asked["ballot"], "choice": "tie"}
    assert HTTP.post(f"{address}/experiments/gone/vote/vote", json=vote).json()["votes"] == 1
    assert HTTP.delete(f"{address}/api/experiments/gone").json()["left"] == ["votes.jsonl"]
    assert len(read_votes(results).standing) == 1
