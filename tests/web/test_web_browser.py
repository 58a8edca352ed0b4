"""The page in real headless Chromium, with a tiny real checkpoint behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from foreign_pictures import A1111, with_comment
from web_fakes import Halt
from web_server import HTTP, live_server, make_app, wait_for_model, wait_until
from web_tab import fill_prompt, open_tab


@pytest.fixture(scope="module")
def model_halt() -> Halt:
    return Halt()


@pytest.fixture
def halt(model_halt: Halt) -> Iterator[Halt]:
    """Where the model of this module's server stops, for one test."""
    model_halt.may_pass.clear()
    yield model_halt
    model_halt.at = 0
    model_halt.may_pass.set()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path, model_halt: Halt) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("page")
    devices = {"dit_device": "cpu", "text_encoder_device": "cpu"}
    app = make_app(folder, halt=model_halt, model_path=str(tiny_checkpoint), **devices)
    with live_server(app) as address:
        wait_for_model(address)
        yield address


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with open_tab(browser, address) as page:
        yield page


def generate(page: Any) -> str:
    """Press Ctrl+Enter and return the image's id."""
    with page.expect_response("**/api/generate") as answer:
        page.keyboard.press("Control+Enter")
    image_id = answer.value.json()["id"]
    page.locator(f"#details-link[href='/history/{image_id}']").wait_for()  # not that of the image before
    return image_id


def test_the_formatted_prompt_follows_what_one_types(page: Any) -> None:
    fill_prompt(page, "a red fox")
    page.locator("#formatted-prompt", has_text="a red fox").wait_for()
    assert page.locator("#formatted-prompt mark").all_inner_texts() == ["<|im_start|>", "<|im_end|>", "<|im_start|>"]
    page.locator("#token-count", has_text=re.compile(r"^\d+ of 1024 tokens$")).wait_for()
    page.click("summary:has-text('Chat template')")
    page.check("#field-thinking_content-on")
    page.locator("#formatted-prompt mark", has_text="<think>").wait_for()


def test_generating_shows_steps_and_a_preview_and_ends_with_a_download(page: Any, halt: Halt) -> None:
    halt.at = 7
    fill_prompt(page, "a red fox")
    page.fill("#field-num_inference_steps", "20")
    page.keyboard.press("Control+Enter")
    page.locator("#status-text", has_text="Step 7 of 20").wait_for()
    page.locator("#result[src*='/preview?step=7']").wait_for()
    halt.may_pass.set()
    page.locator("#result-bar").wait_for()
    assert "/api/images/" in page.get_attribute("#result", "src")
    with page.expect_download() as download:
        page.click("#download-link")
    assert re.fullmatch(r"llm-dit-[0-9a-f]{8}\.png", download.value.suggested_filename)
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


def test_cancel_stops_the_running_image_and_waiting_ones_queue_visibly(page: Any, address: str, halt: Halt) -> None:
    halt.at = 3
    fill_prompt(page, "a slow fox")
    page.fill("#field-num_inference_steps", "1000")
    page.keyboard.press("Control+Enter")
    page.locator("#status-text", has_text="Step 3 of 1000").wait_for()
    page.keyboard.press("Control+Enter")
    page.locator("#queue li", has_text="a slow fox").wait_for()
    page.click("#queue li button")
    page.locator("#queue").wait_for(state="hidden")
    with page.expect_response("**/api/jobs/*"):
        page.click("#cancel-button")
    halt.may_pass.set()
    page.locator("#canvas[data-state=cancelled]").wait_for()
    wait_until(lambda: HTTP.get(f"{address}/api/jobs").json() == [])
    assert page.locator("#result-bar").is_hidden()


@pytest.mark.parametrize(
    ("kind", "control", "value"),
    [
        ("switch data-optional", "<input type=checkbox name=x checked>", True),
        ("integer", "<input type=number name=x value=3>", 3),
        ("integer data-words=last", "<input type=text name=x value=' -3'>", -3),
        ("integer data-words=last", "<input type=text name=x value='last '>", "last"),
        ("number data-optional", "<input type=number name=x>", None),
        ("text", "<textarea name=x>3</textarea>", "3"),
        ("choice", "<select name=x><option>on</option></select>", "on"),
        ("choice data-optional", "<select name=x><option value=''>none</option></select>", None),
    ],
)
def test_every_kind_of_control_is_read_as_what_it_is(page: Any, kind: str, control: str, value: Any) -> None:
    page.goto("/rewriter")
    read = page.evaluate(
        """async (html) => {
            const { readFields } = await import("/static/fields.js");
            const form = document.createElement("form");
            form.innerHTML = html;
            return readFields(form);
        }""",
        f"<div data-name=x data-kind={kind}>{control}</div>",
    )
    assert read == {"x": value}


def test_a_value_out_of_range_is_told_at_its_field(page: Any) -> None:
    fill_prompt(page, "a red fox")
    with page.expect_response("**/api/format-prompt"):
        page.fill("#field-shift", "500")
    page.locator("#field-shift[aria-invalid=true]").wait_for()
    assert "above 0 up to 100" in page.inner_text("#token-count")


def test_a_setting_without_effect_is_said_while_one_types_and_beside_the_image(page: Any) -> None:
    fill_prompt(page, "a red fox")
    page.click("summary:has-text('Guidance')")
    page.fill("#field-negative_prompt", "blur")
    page.locator("#form-notices li", has_text="Negative prompt does nothing while Guidance scale is 0").wait_for()
    generate(page)
    page.locator("#image-notices li", has_text="Negative prompt does nothing").wait_for()
    page.fill("#field-guidance_scale", "1.5")
    page.locator("#form-notices").wait_for(state="hidden")
    generate(page)
    page.locator("#image-notices").wait_for(state="hidden")


def test_use_all_restores_every_setting_seed_included(page: Any) -> None:
    fill_prompt(page, "a fox with everything set")
    for name in ("Chat template", "Guidance", "Text encoder"):
        page.click(f"summary:has-text('{name}')")
    page.check("#field-system_prompt-on")
    page.fill("#field-system_prompt", "You paint.")
    page.check("#field-assistant_content-on")
    page.fill("#field-num_inference_steps", "3")
    page.fill("#field-shift", "4.5")
    page.fill("#field-guidance_scale", "1.5")
    page.fill("#field-negative_prompt", "blur")
    page.fill("#field-hidden_layer", "-4")
    page.select_option("#field-long_prompt_mode", "pool")
    page.check("[name=shape][value='4:3']", force=True)
    page.fill("#field-seed", "4242")
    image_id = generate(page)
    made = page.request.get(f"/api/history/{image_id}").json()["params"]
    assert made["seed"] == 4242

    page.click("#reset-button")
    assert page.input_value("#field-shift") == ""
    assert page.get_attribute("#field-shift", "placeholder") == "auto"
    assert "Empty takes the model's (3 for Turbo, 6 for its base)." in page.inner_text("#field-shift-help")
    page.goto("/history")
    page.locator(f"[data-id='{image_id}'] a", has_text="Use all").click()
    page.wait_for_url("**/")
    again = page.request.get(f"/api/history/{generate(page)}").json()["params"]
    assert again == made


def test_a_dropped_png_restores_its_settings(page: Any) -> None:
    fill_prompt(page, "a fox to be dropped")
    page.fill("#field-shift", "2.5")
    page.fill("#field-seed", "99")
    image = page.request.get(f"/api/images/{generate(page)}").body()
    page.click("#reset-button")
    page.fill("#field-prompt", "")
    page.evaluate(
        """(numbers) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(numbers)], "fox.png", { type: "image/png" }));
            document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        list(image),
    )
    page.get_by_text("Settings restored from fox.png.").wait_for()
    assert page.input_value("#field-prompt") == "a fox to be dropped"
    assert (page.input_value("#field-shift"), page.input_value("#field-seed")) == ("2.5", "99")


def test_a_dropped_picture_of_another_tool_fills_the_form_and_says_what_is_left(page: Any) -> None:
    fill_prompt(page, "to be replaced")
    page.evaluate(
        """(numbers) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(numbers)], "fox.webp", { type: "image/webp" }));
            document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        list(with_comment("WEBP", A1111).getvalue()),
    )
    page.get_by_text("Not understood: Denoising strength.").wait_for()
    assert page.input_value("#field-prompt") == "a fox in snow,\nsoft light"
    assert (page.input_value("#field-shift"), page.input_value("#field-guidance_scale")) == ("5", "3")


def test_history_compares_two_images_and_deletes_one(page: Any) -> None:
    ids = []
    for shift in ("2", "6"):
        fill_prompt(page, "a fox to compare")
        page.fill("#field-shift", shift)
        page.fill("#field-seed", "7")
        ids.append(generate(page))
    page.goto("/history")
    for image_id in ids:
        page.check(f"[data-id='{image_id}'] .pick input")
    page.click("#compare-selected")
    page.locator("#compare").wait_for()
    assert page.locator(".differences th[scope=row]").all_inner_texts() == ["Shift"]
    page.locator("#compare input").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.getElementById('compare').style.getPropertyValue('--share')") == "51%"
    page.goto("/history")
    page.on("dialog", lambda dialog: dialog.accept())
    page.click(f"[data-id='{ids[0]}'] [data-action=delete]")
    page.locator(f"[data-id='{ids[0]}']").wait_for(state="detached")
    assert page.request.get(f"/api/history/{ids[0]}").status == 404


def test_the_rewriter_streams_and_hands_its_prompt_over(page: Any) -> None:
    page.goto("/rewriter")
    page.fill("#rewriter-prompt", "a fox")
    page.click("summary:has-text('Sampling')")
    page.fill("#field-max_tokens", "40")
    page.fill("#rewriter-seed", "3")
    page.click("#rewrite-button")
    page.locator("#use-button:not([disabled])").wait_for()
    written = page.locator("#written-text").evaluate("box => box.textContent")
    assert written
    page.click("#use-button")
    page.wait_for_url("**/")
    assert page.input_value("#field-prompt").replace("\r", "") == written.replace("\r\n", "\n").replace("\r", "\n")


def test_an_experiment_started_from_the_page_ends_with_its_report_and_its_cells_open_in_generate(page: Any) -> None:
    page.goto("/experiments")
    page.check("[name=kind][value=own]", force=True)
    page.fill("#lab-sweeps", "shift=2,4")
    page.fill("#lab-name", "from_the_page")
    page.fill("#lab-ids", "animal_001")
    page.uncheck("[name=compute_metrics]")
    page.locator("#start-button", has_text="from_the_page").click()
    card = page.locator("[data-name=from_the_page]")
    card.get_by_text("finished").wait_for()
    assert "2 of 2 runs" in card.inner_text()
    card.locator(".report-link").click()
    page.wait_for_url("**/report.html")
    page.locator("img").first.wait_for()
    wait_until(lambda: page.evaluate("[...document.images].some((image) => image.naturalWidth > 0)"))
    page.goto("/?run=from_the_page/" + _first_run(page))
    assert page.input_value("#field-shift") in ("2", "2.0", "4", "4.0")
    assert page.input_value("#field-seed") == "42"


def _first_run(page: Any) -> str:
    summary = page.request.get("/results/open/from_the_page/from_the_page_summary.csv").text()
    return re.search(r"from_the_page_animal_001_shift_[\d.]+_seed42", summary)[0]


@pytest.mark.parametrize("path", ["/", "/history", "/rewriter", "/experiments", "/docs"])
@pytest.mark.parametrize("width", [360, 1280])
def test_no_page_is_wider_than_the_screen(page: Any, path: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("path", ["/", "/history", "/rewriter", "/experiments", "/docs"])
def test_every_control_has_a_name_for_screen_readers(page: Any, path: str) -> None:
    page.goto(path)
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("input:not([type=hidden]), select, textarea, button, a")]
            .filter((control) => !(control.labels?.length || control.ariaLabel || control.textContent.trim()
                || control.querySelector("img[alt]:not([alt=''])") || control.title))
            .map((control) => control.outerHTML)"""
    )
    assert unnamed == []
