"""Pictures in full size, in real Chromium: zoom, drag, keys, focus."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from web_fakes import FakeEngine
from web_server import HTTP, live_server, make_app, wait_for_model, wait_until
from web_tab import open_tab

PROMPTS = ("fox one", "fox two", "fox three")
BOX = """() => { const box = document.querySelector('.viewer-stage img').getBoundingClientRect();
    return { x: box.x, y: box.y, width: box.width, height: box.height }; }"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with live_server(make_app(tmp_path_factory.mktemp("viewer"), FakeEngine())) as address:
        wait_for_model(address)
        for prompt in PROMPTS:
            HTTP.post(f"{address}/api/generate?wait=true", json={"prompt": prompt, "width": 128, "height": 64})
        yield address


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with open_tab(browser, address) as page:
        page.goto("/history")
        yield page


def open_first(page: Any) -> None:
    """Open the newest picture with the keyboard."""
    page.locator(".card-image").first.focus()
    page.keyboard.press("Enter")
    page.locator("#viewer[open]").wait_for()
    wait_until(lambda: page.evaluate("document.querySelector('.viewer-stage img').naturalWidth === 128"))
    page.locator(".viewer-zoom", has_text=re.compile("^1000 %$")).wait_for()  # 1280 / 128


def zoom(page: Any) -> float:
    return page.evaluate(BOX)["width"] / 128


def test_enter_and_a_click_open_it_whole_and_escape_gives_the_focus_back(page: Any) -> None:
    open_first(page)
    assert page.get_by_role("dialog", name="fox three").is_visible()
    box = page.evaluate(BOX)
    assert (round(box["x"]), round(box["width"]), round(box["height"])) == (0, 1280, 640)
    page.keyboard.press("Escape")
    page.locator("#viewer:not([open])").wait_for(state="attached")
    wait_until(lambda: page.evaluate("document.activeElement === document.querySelector('.card-image')"))
    page.locator(".card-image").nth(1).click()
    page.get_by_role("dialog", name="fox two").wait_for()
    page.click("#viewer [aria-label=Close]")
    wait_until(lambda: page.evaluate("document.activeElement === document.querySelectorAll('.card-image')[1]"))


def test_keys_zoom_and_one_is_its_own_size_and_nought_fits(page: Any) -> None:
    open_first(page)
    page.keyboard.press("1")
    assert zoom(page) == pytest.approx(1)
    assert page.locator(".viewer-stage img.crisp").count() == 0
    page.keyboard.press("+")
    assert zoom(page) == pytest.approx(1.25)
    page.keyboard.press("-")
    assert zoom(page) == pytest.approx(1)
    for _ in range(4):
        page.keyboard.press("+")
    assert zoom(page) == pytest.approx(1.25**4)
    assert page.eval_on_selector(".viewer-stage img", "image => getComputedStyle(image).imageRendering") == "pixelated"
    page.keyboard.press("0")
    assert zoom(page) == pytest.approx(10)


def test_the_wheel_zooms_at_the_pointer(page: Any) -> None:
    open_first(page)
    before = page.evaluate(BOX)
    at = (900, 300)
    page.mouse.move(*at)
    page.mouse.wheel(0, -400)
    wait_until(lambda: page.evaluate("document.querySelector('.viewer-zoom').textContent !== '1000 %'"))
    after = page.evaluate(BOX)
    assert after["width"] > 1.5 * before["width"]
    for axis, size, place in (("x", "width", at[0]), ("y", "height", at[1])):
        share = (place - before[axis]) / before[size]
        assert (place - after[axis]) / after[size] == pytest.approx(share, abs=0.002), axis


def test_a_drag_moves_the_picture_and_never_out_of_sight(page: Any) -> None:
    open_first(page)
    page.keyboard.press("+")
    page.keyboard.press("+")
    before = page.evaluate(BOX)
    page.mouse.move(600, 400)
    page.mouse.down()
    page.mouse.move(650, 410, steps=3)
    page.mouse.up()
    after = page.evaluate(BOX)
    assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((50, 10), abs=0.5)
    page.mouse.move(100, 400)
    page.mouse.down()
    page.mouse.move(1200, 400, steps=5)
    page.mouse.up()
    page.mouse.move(100, 400)
    page.mouse.down()
    page.mouse.move(1200, 400, steps=5)
    page.mouse.up()
    assert page.evaluate(BOX)["x"] == pytest.approx(0, abs=0.5)


PINCH = """([from, to]) => {
    const stage = document.querySelector('.viewer-stage');
    stage.setPointerCapture = () => {};
    const send = (type, id, x) => stage.dispatchEvent(new PointerEvent(type, {
        pointerId: id, clientX: x, clientY: 300, button: 0, bubbles: true, pointerType: 'touch' }));
    send('pointerdown', 11, 640 - from); send('pointerdown', 12, 640 + from);
    send('pointermove', 11, 640 - to); send('pointermove', 12, 640 + to);
    send('pointerup', 11, 640 - to); send('pointerup', 12, 640 + to);
}"""


def test_two_fingers_zoom_by_how_far_they_part(page: Any) -> None:
    open_first(page)
    page.evaluate(PINCH, [100, 200])
    assert zoom(page) == pytest.approx(20)
    page.evaluate(PINCH, [200, 150])
    assert zoom(page) == pytest.approx(15)


def test_arrows_go_to_the_next_and_the_one_before_and_stop_at_the_ends(page: Any) -> None:
    open_first(page)
    titles = []
    for key in ("ArrowLeft", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        titles.append(page.inner_text(".viewer-title"))
    assert titles == ["fox three", "fox two", "fox one", "fox one", "fox two"]
    page.click("#viewer [aria-label='Next picture']")
    assert page.locator("#viewer [aria-label='Next picture']").is_hidden()
    page.keyboard.press("Escape")
    wait_until(lambda: page.evaluate("document.activeElement === document.querySelectorAll('.card-image')[2]"))


def test_tab_stays_inside(page: Any) -> None:
    open_first(page)
    inside = []
    for _ in range(20):
        page.keyboard.press("Tab")
        inside.append(page.evaluate("document.activeElement.closest('#viewer') !== null"))
    assert all(inside)
    assert page.evaluate("document.querySelector('#viewer').matches(':modal')")
    for _ in range(3):
        page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.closest('#viewer') !== null")


def test_the_page_of_one_image_has_it_too(page: Any) -> None:
    page.locator(".card a", has_text="Details").first.click()
    page.locator("figure a").click()
    page.get_by_role("dialog", name="fox three").wait_for()
    assert page.locator("#viewer .viewer-step:visible").count() == 0
    page.keyboard.press("ArrowRight")
    assert page.url.endswith(page.get_attribute("figure a", "href").rpartition("/")[2])  # the page behind stayed
