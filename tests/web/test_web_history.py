"""The History page in real Chromium: live, searched, and several images at once."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web_fakes import FakeEngine
from web_server import HTTP, live_server, make_app, wait_for_model, wait_until
from web_tab import open_tab


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with live_server(make_app(tmp_path, FakeEngine(), history_size=500)) as address:
        wait_for_model(address)
        yield address


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with open_tab(browser, address) as page:
        yield page


def make(address: str, prompt: str, **values: Any) -> str:
    answer = HTTP.post(f"{address}/api/generate?wait=true", json={"prompt": prompt, **values}, timeout=60)
    return answer.headers["x-job-id"]


def prompts(page: Any) -> list[str]:
    return page.locator(".card-prompt").all_inner_texts()


def search(page: Any, text: str) -> None:
    with page.expect_response("**/history/cards?*"):
        page.fill("#search", text)


def test_a_new_image_appears_by_itself_first_and_counted(page: Any, address: str) -> None:
    make(address, "an old fox")
    page.goto("/history")
    for prompt in ("a new fox", "a newer fox"):
        make(address, prompt)
        page.locator(".card-prompt", has_text=prompt).wait_for()
    assert prompts(page) == ["a newer fox", "a new fox", "an old fox"]
    assert page.inner_text("#history-count") == "3 images"
    assert page.locator("#new-images").is_hidden()


def test_what_one_looks_at_stays_where_it_is_and_new_ones_wait_behind_a_button(page: Any, address: str) -> None:
    for number in range(24):
        make(address, f"fox {number}")
    page.goto("/history")
    page.mouse.move(640, 500)
    page.mouse.wheel(0, 300)
    wait_until(lambda: page.evaluate("scrollY > 100"))
    card = page.locator(".card", has_text="fox 12").first
    before = card.bounding_box()
    make(address, "a new fox")
    make(address, "another new fox")
    page.locator("#new-images", has_text="2 new images").wait_for()
    assert card.bounding_box() == before
    assert "a new fox" not in prompts(page)
    page.click("#new-images")
    wait_until(lambda: page.evaluate("scrollY === 0"))
    assert prompts(page)[:3] == ["another new fox", "a new fox", "fox 23"]


def test_while_one_points_at_a_card_nothing_comes_under_the_pointer(page: Any, address: str) -> None:
    make(address, "the first fox")
    page.goto("/history")
    page.locator(".card").hover()
    make(address, "a new fox")
    page.locator("#new-images", has_text="1 new image").wait_for()
    assert prompts(page) == ["the first fox"]
    page.mouse.move(5, 5)
    page.locator(".card-prompt", has_text="a new fox").wait_for()


def test_a_search_is_live_too_and_only_what_fits_comes_in(page: Any, address: str) -> None:
    make(address, "a fox", shift=3)
    make(address, "a cat", shift=3)
    make(address, "a fox", shift=5)
    page.goto("/history")
    search(page, "fox shift>=3 shift<5")
    page.locator("#history-count", has_text="1 image found").wait_for()
    make(address, "a cat that comes later", shift=3)
    make(address, "a fox that comes later", shift=4)
    page.locator(".card-prompt", has_text="a fox that comes later").wait_for()
    assert prompts(page) == ["a fox that comes later", "a fox"]
    page.locator("#history-count", has_text="2 images found").wait_for()
    page.reload()
    assert page.input_value("#search") == "fox shift>=3 shift<5"
    assert prompts(page) == ["a fox that comes later", "a fox"]


def test_a_search_that_is_none_says_so_and_leaves_what_is_shown(page: Any, address: str) -> None:
    make(address, "a fox")
    page.goto("/history")
    search(page, "shfit=3")
    page.locator("#search-problem", has_text="did you mean 'shift'?").wait_for()
    assert page.get_attribute("#search", "aria-invalid") == "true"
    assert prompts(page) == ["a fox"]
    search(page, "nowhere")
    page.locator("#nothing").wait_for()
    assert page.locator("#search-problem").is_hidden()
    assert prompts(page) == []


def test_a_star_is_set_from_the_card_and_kept_over_a_reload(page: Any, address: str) -> None:
    first = make(address, "a fox")
    make(address, "a cat")
    page.goto("/history")
    page.locator(f"[data-id='{first}']").hover()
    page.click(f"[data-id='{first}'] .star")
    page.locator(f"[data-id='{first}'][data-starred]").wait_for()
    page.reload()
    assert page.get_attribute(f"[data-id='{first}'] .star", "aria-pressed") == "true"
    with page.expect_response("**/history/cards?*"):
        page.click("#search-form [data-term='is:starred']")
    page.locator("#history-count", has_text="1 image found").wait_for()
    assert prompts(page) == ["a fox"]
    HTTP.patch(f"{address}/api/history/{first}", json={"is_starred": False})
    page.locator(f"[data-id='{first}']:not([data-starred])").wait_for()  # told by the stream


def test_ctrl_and_shift_and_a_click_select_and_all_are_done_with_at_once(page: Any, address: str) -> None:
    made = [make(address, f"fox {number}") for number in range(6)][::-1]  # as they are shown
    page.goto("/history")
    cards = page.locator(".card-image")
    cards.nth(1).click(modifiers=["Control"])
    cards.nth(3).click(modifiers=["Shift"])
    cards.nth(2).click(modifiers=["Control"])
    assert page.inner_text("#selection-text") == "2 selected"
    assert page.locator("#viewer[open]").count() == 0
    with page.expect_download() as download:
        page.click("#zip-selected")
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        assert set(archive.namelist()) == {f"llm-dit-{made[place][:8]}.png" for place in (1, 3)}
    page.click("#star-selected")
    page.locator(".card[data-starred] >> nth=1").wait_for()
    assert page.locator(".card[data-starred]").count() == 2
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#delete-selected")
    page.get_by_text("2 images deleted.").wait_for()
    assert prompts(page) == ["fox 5", "fox 3", "fox 1", "fox 0"]
    assert page.locator("#selection-bar").is_hidden()
    page.check(".card >> nth=0 >> .pick input")
    page.click("#select-all")
    assert page.inner_text("#selection-text") == "4 selected"
    page.keyboard.press("Escape")
    assert page.locator("#selection-bar").is_hidden()


def test_two_selected_are_compared_older_left(page: Any, address: str) -> None:
    older, newer = make(address, "a fox", shift=2), make(address, "a fox", shift=5)
    page.goto("/history")
    for place in (0, 1):
        page.locator(".card-image").nth(place).click(modifiers=["Control"])
    page.click("#compare-selected")
    page.wait_for_url(f"**/history/compare?left={older}&right={newer}")


def test_what_is_deleted_elsewhere_leaves_its_place_and_moves_nothing(page: Any, address: str) -> None:
    made = [make(address, f"fox {number}") for number in range(3)]
    page.goto("/history")
    before = page.locator(f"[data-id='{made[0]}']").bounding_box()
    HTTP.delete(f"{address}/api/history/{made[1]}")
    page.locator(f"[data-id='{made[1]}'][data-state=deleted]").wait_for()
    after = page.locator(f"[data-id='{made[0]}']").bounding_box()
    assert (before["x"], before["y"]) == (after["x"], after["y"])


def test_further_pages_come_as_one_scrolls(page: Any, address: str) -> None:
    for number in range(130):
        make(address, f"fox {number}", num_inference_steps=1)
    page.goto("/history")
    page.locator(".card").nth(59).wait_for()
    for count in (60, 120):
        page.locator(".card").nth(count - 1).scroll_into_view_if_needed()
        page.locator(".card").nth(count).wait_for()
    assert prompts(page) == [f"fox {number}" for number in reversed(range(130))]
    assert page.locator(".more").count() == 0


def test_after_another_server_took_over_the_list_is_brought_up_without_a_reload(browser: Any, tmp_path: Path) -> None:
    with live_server(make_app(tmp_path, FakeEngine())) as address:
        wait_for_model(address)
        ids = [make(address, f"fox {number}") for number in range(3)]
        port = int(address.rsplit(":", 1)[1])
        tab = open_tab(browser, address, "net::ERR")
        page = tab.__enter__()
        page.goto("/history")
        page.evaluate("window.isTheSamePage = true")
    with live_server(make_app(tmp_path, FakeEngine()), port):
        wait_for_model(address)
        HTTP.delete(f"{address}/api/history/{ids[0]}")
        make(address, "a fox of the other server")
        page.locator(".card-prompt", has_text="a fox of the other server").wait_for()
        page.locator(f"[data-id='{ids[0]}'][data-state=deleted]").wait_for()
        assert page.evaluate("window.isTheSamePage") is True
        tab.__exit__(None, None, None)
