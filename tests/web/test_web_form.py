"""The Generate and Rewriter forms: what they say, what they keep, and that nothing written by hand is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from web_fakes import FakeEngine
from web_server import HTTP, live_server, make_app, wait_until
from web_tab import fill_prompt, open_tab


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, engine: FakeEngine) -> Iterator[str]:
    with live_server(make_app(tmp_path_factory.mktemp("form"), engine)) as address:
        wait_until(lambda: HTTP.get(f"{address}/healthz").json()["model"] == "ready")
        yield address


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with open_tab(browser, address) as page:
        yield page


def test_cancel_says_so_until_the_step_is_over(page: Any, engine: FakeEngine) -> None:
    engine.halt.may_pass.clear()
    engine.halt.at = 2
    fill_prompt(page, "a fox")
    page.click("#generate-button")
    page.locator("#status-text", has_text="Step 2 of").wait_for()
    page.click("#cancel-button")
    page.locator("#status-text", has_text="Cancelling…").wait_for()
    assert page.locator("#cancel-button").is_disabled()
    engine.halt.at = 0
    engine.halt.may_pass.set()
    page.locator("#canvas[data-state=cancelled]").wait_for()


def test_what_the_model_refused_stays_marked_until_it_is_mended_and_goes_on_reset(page: Any) -> None:
    fill_prompt(page, "a fox")
    field = page.locator("#field-hidden_layer")
    page.locator("details", has=field).evaluate("(details) => { details.open = true; }")
    refused = page.locator("#field-hidden_layer[aria-invalid=true]")
    with page.expect_response("**/api/format-prompt"):
        field.fill("-20")
    page.click("#generate-button")
    refused.wait_for()
    with page.expect_response("**/api/format-prompt"):
        page.fill("#field-prompt", "another fox")
    page.locator("#formatted-prompt", has_text="another fox").wait_for()
    assert refused.count() == 1, "another field was changed"
    assert page.locator("#error-text").is_visible()
    with page.expect_response("**/api/format-prompt"):
        field.fill("-3")
    page.locator("#field-hidden_layer:not([aria-invalid])").wait_for()
    page.locator("#error-text").wait_for(state="hidden")
    field.fill("-20")
    page.click("#generate-button")
    refused.wait_for()
    page.click("#reset-button")
    assert refused.count() == 0
    assert page.locator("#error-text").is_hidden()


def test_another_error_outlives_the_field_that_is_mended(page: Any) -> None:
    fill_prompt(page, "a fox")
    field = page.locator("#field-hidden_layer")
    page.locator("details", has=field).evaluate("(details) => { details.open = true; }")
    with page.expect_response("**/api/format-prompt"):
        field.fill("-20")
    page.click("#generate-button")
    page.locator("#field-hidden_layer[aria-invalid=true]").wait_for()
    said = """async () => {
        const { src } = document.querySelector("script[src*='generate.js']");
        (await import(src.replace("generate.js", "notices.js"))).showError("The model is lost.");
    }"""
    page.evaluate(said)  # as a job or the model that fails says it
    with page.expect_response("**/api/format-prompt"):
        field.fill("-3")
    page.locator("#field-hidden_layer:not([aria-invalid])").wait_for()
    assert page.inner_text("#error-text") == "The model is lost."


def test_a_template_never_destroys_what_was_written_by_hand(page: Any) -> None:
    fill_prompt(page, "a fox")
    page.click("summary:has-text('Chat template')")
    page.check("#field-system_prompt-on")
    page.fill("#field-system_prompt", "My own words.")
    names = page.eval_on_selector_all("#template-select option", "(all) => all.map((one) => one.value).slice(1, 3)")
    assert len(names) == 2
    for name in names:
        page.select_option("#template-select", name)
        assert page.input_value("#field-system_prompt") != "My own words."
    page.click("#template-undo")
    assert page.input_value("#field-system_prompt") == "My own words."
    assert page.locator("#template-undo").is_hidden()


def test_presets_say_their_pixels_and_a_far_size_is_warned_of(page: Any) -> None:
    fill_prompt(page, "a fox")
    chips = page.locator(".chips .chip span")
    page.locator(".chip span", has_text="1:1 · 64×64").wait_for()
    assert chips.all_inner_texts()[:2] == ["1:1 · 64×64", "4:3 · 80×64"]
    assert page.locator("#size-warning").is_hidden()
    page.fill("#field-width", "1024")
    page.fill("#field-height", "1024")
    assert re.search(r"1024×1024 has 256.0 times the pixels .* \(64×64\)", page.inner_text("#size-warning"))


def test_the_rewriter_starts_from_generates_prompt_and_keeps_its_result(page: Any) -> None:
    answer = 'event: done\ndata: {"text": "A red fox", "thinking": ""}\n\n'
    page.route("**/api/rewrite", lambda route: route.fulfill(body=answer, content_type="text/event-stream"))
    fill_prompt(page, "a fox")
    page.goto("/rewriter")
    assert page.input_value("#rewriter-prompt") == "a fox"
    page.click("#rewrite-button")
    page.locator("#written-text[data-state=done]", has_text="A red fox").wait_for()
    page.fill("#rewriter-prompt", "a hare")
    page.reload()
    assert page.input_value("#rewriter-prompt") == "a hare"
    assert page.inner_text("#written-text") == "A red fox"
    assert page.locator("#use-button").is_enabled()


def test_a_prompt_is_rewritten_in_place_and_back(page: Any) -> None:
    page.route("**/api/rewrite", lambda route: route.fulfill(json={"text": "A red fox in snow", "thinking": ""}))
    fill_prompt(page, "a fox")
    page.click("#rewrite-here")
    wait_until(lambda: page.input_value("#field-prompt") == "A red fox in snow")
    page.click("#rewrite-undo")
    assert page.input_value("#field-prompt") == "a fox"
    assert page.locator("#rewrite-undo").is_hidden()
