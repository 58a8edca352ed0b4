"""What a page is to those who can't see it, use the keyboard, or have a small screen: in real Chromium, by axe-core."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from sample_results import noisy_scores, sample_plan, write_results
from web_fakes import FakeEngine
from web_server import HTTP, live_server, make_app, wait_for_model, wait_until
from web_tab import fill_prompt, open_tab

from experiments.reporting.report_page import write_report

pytestmark = pytest.mark.slow  # axe on every page in every state, light and dark

AXE = files("axe_playwright_python") / "axe.min.js"
LONG_WORD = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
NARROW = 320
PAGES = (
    "/",
    "/history",
    "IMAGE",
    "FAILED",
    "COMPARE",
    "/rewriter",
    "/experiments",
    "/experiments/overview",
    "/docs",
    "/model",
    "/nothing",
    "/login",
    "REPORT",
)


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, engine: FakeEngine) -> Iterator[str]:
    """A server with something of everything to show."""
    folder = tmp_path_factory.mktemp("seen")
    results = folder / "results" / "seen"
    write_results(results, sample_plan(prompts=4, name="seen"), noisy_scores({"shift_2.0": 0.2}))
    write_report(results)
    with live_server(make_app(folder, engine)) as address:
        wait_for_model(address)
        for prompt in ("a fox", f"a {LONG_WORD} in snow", "a fox out of memory"):
            HTTP.post(
                f"{address}/api/generate?wait=true", json={"prompt": prompt, "seed": 1, "negative_prompt": "blur"}
            )
        yield address


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with open_tab(browser, address, "status of 404") as page:
        yield page


def path_of(page: Any, name: str) -> str:
    """Return the address of a page that is known by name."""
    entries = page.request.get("/api/history").json()
    done = [entry["id"] for entry in entries if entry["state"] == "done"]
    failed = [entry["id"] for entry in entries if entry["state"] == "failed"]
    named = {
        "IMAGE": f"/history/{done[0]}",
        "FAILED": f"/history/{failed[0]}",
        "COMPARE": f"/history/compare?left={done[0]}&right={done[1]}",
        "REPORT": "/results/open/seen/report.html",
    }
    return named.get(name, name)


def show(page: Any, name: str) -> None:
    """Open a page, and all that can be unfolded on it."""
    page.goto(path_of(page, name))
    if page.locator("#model-pill").count():
        page.locator("#model-pill[data-state=ready]").wait_for()
    if name == "/experiments":
        page.locator("#plan .totals").wait_for()
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")


def problems_of(page: Any) -> list[str]:
    """Return what axe-core finds, a line each."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:160]} {node['any'][0]['message'] if node['any'] else ''}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(page: Any, name: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    show(page, name)
    assert problems_of(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_while_an_image_is_made_and_others_wait(page: Any, engine: FakeEngine, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    engine.gate.clear()
    try:
        fill_prompt(page, "a fox")
        for _ in range(2):
            page.click("#generate-button")
        page.locator("#queue li").wait_for()
        page.fill("#field-shift", "500")
        page.locator("#field-shift[aria-invalid]").wait_for()
        assert problems_of(page) == []
    finally:
        engine.gate.set()
    page.locator("#result-bar").wait_for()
    assert problems_of(page) == []


@pytest.mark.parametrize("width", [NARROW, 1280])
def test_axe_finds_nothing_in_full_size_and_while_images_are_selected(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 640})
    page.goto("/history")
    page.locator("a[data-view]", has=page.locator(f"[alt*='{LONG_WORD}']")).click()
    page.locator("#viewer[open]").wait_for()
    assert problems_of(page) == []
    for part in (".viewer-bar", ".viewer-stage", "#viewer [aria-label=Close]"):
        box = page.locator(part).bounding_box()
        assert box["x"] + box["width"] <= width, part
    page.keyboard.press("Escape")
    page.locator(".card-image").first.click(modifiers=["Control"])
    page.locator("#selection-bar").wait_for()
    assert problems_of(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", PAGES)
def test_at_320_pixels_nothing_overflows(page: Any, name: str) -> None:
    page.set_viewport_size({"width": NARROW, "height": 640})
    show(page, name)
    wide = page.evaluate(
        """(width) => [...document.querySelectorAll("body *")]
            .filter((box) => box.getBoundingClientRect().right > width + 1 && !box.closest("pre, .hidden-title, .skip"))
            .map((box) => box.outerHTML.slice(0, 120))""",
        NARROW,
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW, wide[:5]


# --- what is spoken ---------------------------------------------------------------------------------------------------

WATCH_LIVE_REGIONS = """() => {
    window.spoken = [];
    const live = "[aria-live]:not([aria-live=off]), [role=status], [role=alert]";
    const text = (region) => (region.closest("[hidden]") ? "" : region.textContent.trim());
    const known = new Map([...document.querySelectorAll(live)].map((region) => [region, text(region)]));
    new MutationObserver((changes) => {
        for (const region of document.querySelectorAll(live)) {
            const touched = changes.some((change) => region.contains(change.target));
            if (!touched || !text(region)) continue;
            const isNew = known.get(region) !== text(region);
            window.spoken.push({ at: performance.now(), text: text(region), isNew });
            known.set(region, text(region));
        }
    }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
}"""


def test_live_regions_speak_at_most_once_a_second_while_an_image_is_made(page: Any, engine: FakeEngine) -> None:
    fill_prompt(page, "a fox")
    page.fill("#field-num_inference_steps", "200")
    page.evaluate(WATCH_LIVE_REGIONS)
    engine.step_s = 0.03
    try:
        page.click("#generate-button")
        for letter in "in the snow":  # and one types meanwhile
            page.locator("#field-prompt").press(letter if letter != " " else "Space")
        page.locator("#result-bar").wait_for()
    finally:
        engine.step_s = 0.0
    wait_until(lambda: page.evaluate("window.spoken.at(-1).text.includes('seed')"))
    spoken = page.evaluate("window.spoken")
    assert sum("Step" in said["text"] for said in spoken) >= 2, spoken
    gaps = [later["at"] - earlier["at"] for earlier, later in itertools.pairwise(spoken)]
    assert min(gaps) >= 1000, spoken
    assert all(said["isNew"] for said in spoken)


# --- where the focus is -----------------------------------------------------------------------------------------------


def focus(page: Any) -> str:
    """Return what has the focus: its id, or its text with the row it stands in."""
    return page.evaluate(
        """() => {
            const { activeElement: active } = document;
            const row = active.closest("[data-id], [data-name]");
            return active.id || [row?.dataset.id ?? row?.dataset.name, active.textContent.trim()].join(" ");
        }"""
    )


def test_the_focus_stays_on_generate_and_comes_back_from_cancel(page: Any, engine: FakeEngine) -> None:
    fill_prompt(page, "a fox")
    engine.gate.clear()
    try:
        page.locator("#generate-button").focus()
        with page.expect_response("**/api/generate"):
            page.keyboard.press("Enter")
        page.locator("#status-text", has_text="Reading the prompt").wait_for()
        page.locator("#generate-button:enabled").wait_for()
        assert focus(page) == "generate-button"
        page.locator("#cancel-button").focus()
        with page.expect_response("**/api/jobs/*"):  # the page says it before the server knows
            page.keyboard.press("Enter")
        page.locator("#status-text", has_text="Cancelling").wait_for()
    finally:
        engine.gate.set()
    page.locator("#canvas[data-state=cancelled]").wait_for()
    wait_until(lambda: focus(page) == "generate-button")


def test_the_focus_stays_in_the_queue_while_it_moves(page: Any, engine: FakeEngine) -> None:
    fill_prompt(page, "a fox")
    engine.gate.clear()
    try:
        for count in range(4):
            page.click("#generate-button")
            page.locator("#queue li").nth(count - 1).wait_for() if count else page.locator("#cancel-button").wait_for()
        ids = page.locator("#queue li").evaluate_all("items => items.map((item) => item.dataset.id)")
        page.locator(f"[data-id='{ids[1]}'] button").focus()
        page.request.delete(f"/api/jobs/{ids[0]}")
        page.locator(f"[data-id='{ids[0]}']").wait_for(state="detached")
        assert focus(page) == f"{ids[1]} Cancel"
        page.keyboard.press("Enter")
        page.locator(f"[data-id='{ids[1]}']").wait_for(state="detached")
        assert focus(page) == f"{ids[2]} Cancel"
        page.keyboard.press("Enter")
        page.locator("#queue").wait_for(state="hidden")
        wait_until(lambda: focus(page) == "generate-button")
    finally:
        page.request.delete(f"/api/jobs/{page.request.get('/api/jobs').json()[0]['id']}")
        engine.gate.set()


def test_the_focus_stays_in_the_list_of_experiments_and_at_the_plan(page: Any) -> None:
    page.goto("/experiments")
    page.locator("#plan .totals").wait_for()
    page.locator("[data-name=seen] .report-link").focus()
    with page.expect_response("**/experiments/list"):
        page.evaluate("htmx.trigger(document.body, 'experiments-changed')")
    page.locator("#experiment-list:not(.htmx-settling)").wait_for()
    assert focus(page) == "seen Report"


def test_the_focus_goes_to_the_next_image_when_one_is_deleted(page: Any) -> None:
    ids = []
    for seed in (5, 6, 7):
        answer = page.request.post("/api/generate?wait=true", data={"prompt": "a fox to delete", "seed": seed})
        ids.insert(0, answer.headers["x-job-id"])
    page.goto("/history")
    page.on("dialog", lambda dialog: dialog.accept())
    for gone, next_one in ((0, 1), (1, 2)):
        page.locator(f"[data-id='{ids[gone]}'] button.danger").focus()
        page.keyboard.press("Enter")
        page.locator(f"[data-id='{ids[gone]}']").wait_for(state="detached")
        assert focus(page) == f"{ids[next_one]} Delete"
