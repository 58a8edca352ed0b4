"""The canvas of Generate in real Chromium: large screens, the last picture, thumbnails, single parameters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web_fakes import FakeEngine
from web_server import HTTP, live_server, make_app, wait_for_model, wait_until
from web_tab import fill_prompt, open_tab


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def address(tmp_path: Path, engine: FakeEngine) -> Iterator[str]:
    with live_server(make_app(tmp_path, engine)) as address:
        wait_for_model(address)
        yield address
        engine.gate.set()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with open_tab(browser, address) as page:
        yield page


def make(address: str, prompt: str, **values: Any) -> str:
    answer = HTTP.post(f"{address}/api/generate?wait=true", json={"prompt": prompt, **values}, timeout=60)
    return answer.headers["x-job-id"]


def shown(page: Any) -> str:
    """Return the id of the picture on the canvas."""
    return page.get_attribute("#result", "src").rpartition("/")[2]


def picture_box(page: Any) -> tuple[float, float]:
    """Return width and height of what is seen of the picture, which keeps its shape inside its box."""
    return page.evaluate(
        """() => { const image = document.getElementById('result');
            const zoom = Math.min(image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight);
            return [zoom * image.naturalWidth, zoom * image.naturalHeight]; }"""
    )


@pytest.mark.parametrize(("width", "height", "least"), [(1280, 900, 500), (1920, 1080, 700), (2560, 1440, 1100)])
def test_a_small_picture_takes_the_room_of_the_screen_with_crisp_edges(
    page: Any, address: str, width: int, height: int, least: int
) -> None:
    make(address, "a fox")
    page.set_viewport_size({"width": width, "height": height})
    page.goto("/")
    wait_until(lambda: page.evaluate("document.getElementById('result').naturalWidth === 64"))
    assert min(picture_box(page)) >= least
    assert page.eval_on_selector("#result", "image => getComputedStyle(image).imageRendering") == "pixelated"
    box = page.locator("#canvas").bounding_box()
    assert box["y"] + box["height"] <= height
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_after_a_reload_the_last_picture_is_there_with_its_parameters(page: Any, address: str) -> None:
    fill_prompt(page, "a fox")
    page.fill("#field-shift", "4.5")
    page.fill("#field-seed", "77")
    with page.expect_response("**/api/generate") as answer:
        page.keyboard.press("Control+Enter")
    image_id = answer.value.json()["id"]
    page.locator(f"#details-link[href='/history/{image_id}']").wait_for()
    page.fill("#field-shift", "1")
    page.reload()
    page.locator("#result-bar").wait_for()
    assert shown(page) == image_id
    assert "seed 77" in page.inner_text("#result-text")
    page.click("#picture-parameters summary")
    assert page.locator("#picture-parameter-table tr", has_text="Shift").locator("td").first.inner_text() == "4.5"
    page.click("#use-all")
    assert page.input_value("#field-shift") == "4.5"


def test_a_single_parameter_is_taken_and_every_other_field_stays(page: Any, address: str) -> None:
    make(address, "a fox", shift=4.5, seed=77, num_inference_steps=3, guidance_scale=2, negative_prompt="blur")
    page.goto("/")
    page.fill("#field-prompt", "my own words")
    page.fill("#field-seed", "5")
    page.uncheck("#seed-lock")
    before = page.evaluate(FORM)
    page.click("#picture-parameters summary")
    page.click("[data-use=shift]")
    assert page.evaluate(FORM) == {**before, "shift": "4.5"}
    page.click("[data-use=negative_prompt]")
    assert page.evaluate(FORM) == {**before, "shift": "4.5", "negative_prompt": "blur"}
    page.click("[data-use=seed]")
    assert page.evaluate(FORM) == {
        **before, "shift": "4.5", "negative_prompt": "blur", "seed": "77", "seed-lock": True
    }  # fmt: skip


FORM = """() => Object.fromEntries([...document.querySelectorAll("#generate-form :is(input, select, textarea)")]
    .filter((field) => field.type !== "range")
    .map((field) => [field.name || field.id, field.type === "checkbox" ? field.checked : field.value])
    .filter(([name]) => name !== "shape"))"""


def test_a_single_parameter_is_taken_from_the_page_of_an_image(page: Any, address: str) -> None:
    image_id = make(address, "a fox", shift=4.5, seed=77)
    fill_prompt(page, "my own words")
    page.fill("#field-num_inference_steps", "4")
    page.goto(f"/history/{image_id}")
    page.click("[aria-label='Use Shift']")
    page.wait_for_url("**/")
    page.get_by_text("Shift is taken over from the picture.").wait_for()
    assert page.input_value("#field-shift") == "4.5"
    assert page.input_value("#field-prompt") == "my own words"
    assert page.input_value("#field-num_inference_steps") == "4"
    assert page.input_value("#field-seed") == ""


def test_thumbnails_show_in_place_and_arrows_go_from_one_to_the_next(page: Any, address: str) -> None:
    oldest, middle, newest = (make(address, f"fox {number}", seed=number) for number in range(3))
    page.goto("/")
    assert shown(page) == newest
    assert page.locator("#newer-button").is_disabled()
    page.click("#older-button")
    assert shown(page) == middle
    page.click(f"#recent [data-id='{oldest}']")
    assert shown(page) == oldest
    assert page.url.endswith(":" + address.rsplit(":", 1)[1] + "/")  # it is no other page
    assert "seed 0" in page.inner_text("#result-text")
    assert page.get_attribute("#details-link", "href") == f"/history/{oldest}"
    assert page.get_attribute("#recent [aria-current]", "data-id") == oldest
    assert page.locator("#older-button").is_disabled()
    page.locator(f"#recent [data-id='{oldest}']").focus()
    page.keyboard.press("ArrowLeft")
    assert shown(page) == middle
    assert page.evaluate("document.activeElement.dataset.id") == middle
    page.locator("#open-viewer").focus()
    page.keyboard.press("ArrowLeft")
    assert shown(page) == newest


def test_the_viewer_over_the_canvas_takes_it_along(page: Any, address: str) -> None:
    older, newer = make(address, "an older fox"), make(address, "a newer fox")
    page.goto("/")
    assert shown(page) == newer
    page.locator("#open-viewer").click()
    page.get_by_role("dialog", name="a newer fox").wait_for()
    page.keyboard.press("ArrowRight")
    page.get_by_role("dialog", name="an older fox").wait_for()
    page.keyboard.press("Escape")
    assert shown(page) == older
    wait_until(lambda: page.evaluate("document.activeElement.id") == "open-viewer")


def test_one_can_look_at_another_picture_while_one_is_made_and_come_back(
    page: Any, address: str, engine: FakeEngine
) -> None:
    before = make(address, "the picture before")
    fill_prompt(page, "a slow fox")
    engine.halt.at = 3
    page.keyboard.press("Control+Enter")
    page.locator("#status-text", has_text="Step 3 of 9").wait_for()
    page.click(f"#recent [data-id='{before}']")
    assert shown(page) == before
    assert page.locator("#cancel-button").is_visible()
    page.click("#follow-button")
    page.locator("#result[src*='/preview?step=3']").wait_for()
    page.click(f"#recent [data-id='{before}']")
    engine.halt.at = 0
    engine.halt.may_pass.set()
    page.locator("#status").wait_for(state="hidden")
    assert shown(page) == before  # the end of the other does not take it away
    page.locator("#newer-button:enabled").click()
    assert shown(page) != before


def test_a_picture_that_was_deleted_elsewhere_leaves_the_thumbnails(page: Any, address: str) -> None:
    gone, _ = make(address, "a fox to be deleted"), make(address, "a fox")
    page.goto("/")
    page.locator(f"#recent [data-id='{gone}']").wait_for()
    HTTP.delete(f"{address}/api/history/{gone}")
    page.locator(f"#recent [data-id='{gone}']").wait_for(state="detached")
