"""Controls for LoRAs, a model's files and judges, in Chromium and over HTTP."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web_fakes import FakeEngine
from web_server import HTTP, client_of, live_server, make_app, wait_for_model
from web_tab import fill_prompt, open_tab

LORAS = ("style.safetensors", "ink/fine, dark.safetensors")
ENTRY = '"ink/fine, dark.safetensors"'


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("controls")
    for name in LORAS:
        (folder / "loras" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "loras" / name).touch()
    with live_server(make_app(folder, FakeEngine(), loras_folder=str(folder / "loras"))) as address:
        wait_for_model(address)
        yield address


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with open_tab(browser, address) as page:
        yield page


def made(page: Any) -> dict[str, Any]:
    """Generate, and return the parameters of the image."""
    with page.expect_response("**/api/generate") as answer:
        page.keyboard.press("Control+Enter")
    image_id = answer.value.json()["id"]
    page.locator(f"#details-link[href='/history/{image_id}']").wait_for()
    return HTTP.get(page.url.rstrip("/") + f"/api/history/{image_id}").json()["params"] | {"id": image_id}


def add_lora(page: Any, file: str, strength: str) -> None:
    page.click("#lora-add")
    page.keyboard.type(file)  # the new row has the focus
    page.locator(".lora-strength").last.fill(strength)


def test_loras_are_rows_of_file_and_strength_that_come_back_with_the_image(page: Any) -> None:
    fill_prompt(page, "a fox")
    page.locator("#lora-files option").first.wait_for(state="attached")
    offered = page.locator("#lora-files option").evaluate_all("options => options.map((option) => option.value)")
    assert offered == [ENTRY, "style.safetensors"]
    assert page.locator("#field-loras").is_hidden()
    add_lora(page, ENTRY, "0.5")
    add_lora(page, "style.safetensors", "-1")
    params = made(page)
    assert params["loras"] == f"{ENTRY}:0.5, style.safetensors:-1"

    page.click("#reset-button")
    assert page.locator(".lora-rows li").count() == 0
    page.goto(f"/?edit={params['id']}")
    page.locator(".lora-rows li").nth(1).wait_for()
    files = page.locator(".lora-file").evaluate_all("inputs => inputs.map((input) => input.value)")
    strengths = page.locator(".lora-strength").evaluate_all("inputs => inputs.map((input) => input.value)")
    assert (files, strengths) == ([ENTRY, "style.safetensors"], ["0.5", "-1"])
    page.get_by_role("button", name=f"Remove the LoRA {ENTRY}").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.ariaLabel") == "Remove the LoRA style.safetensors"
    assert made(page)["loras"] == "style.safetensors:-1"


def test_a_strength_out_of_range_is_told_at_its_row(page: Any) -> None:
    fill_prompt(page, "a fox")
    with page.expect_response("**/api/format-prompt"):
        add_lora(page, "style.safetensors", "20")
    page.locator("#field-loras[aria-invalid=true]").wait_for(state="attached")
    assert "strength 20" in page.inner_text("#token-count")
    colours = page.evaluate(
        "[getComputedStyle(document.querySelector('.lora-file')).outlineColor,"
        " getComputedStyle(document.querySelector('#token-count')).color]"
    )
    assert colours[0] == colours[1]


def test_the_model_page_says_what_is_loaded_from_which_file(tmp_path: Path, tiny_checkpoint: Path) -> None:
    encoder = shutil.copytree(tiny_checkpoint / "text_encoder", tmp_path / "own_encoder")
    devices = {"dit_device": "cpu", "text_encoder_device": "cpu"}
    app = make_app(tmp_path, model_path=str(tiny_checkpoint), text_encoder_path=str(encoder), **devices)
    with client_of(app) as client:
        parts = client.get("/api/parameters").json()["model"]["parts"]
        text = client.get("/model").text
        link = client.get("/").text
    assert [(part["part"], part["file"]) for part in parts] == [
        ("transformer", "transformer"), ("text_encoder", "own_encoder"), ("vae", "vae"), ("tokenizer", "tokenizer")
    ]  # fmt: skip
    for part in parts:
        assert f"<td>{part['file']}</td>" in text
    assert str(tmp_path) not in text
    assert str(tiny_checkpoint.parent) not in text
    assert 'href="/model"' in link


def test_judges_are_chosen_for_each_experiment(page: Any) -> None:
    judges = page.request.get("/api/experiments/choices").json()["judges"]
    ready = [(judge["name"], judge["model"]) for judge in judges if judge["can_score"]]
    assert ready[:2] == [("image_reward", "image-reward-mini"), ("siglip_score", "siglip-mini")]
    assert {"name": "pixel_diversity", "model": ""}.items() <= next(
        judge for judge in judges if judge["name"] == "pixel_diversity"
    ).items()
    page.goto("/experiments")
    page.locator("#plan .totals").wait_for()
    assert "--compute-metrics" in page.text_content("#plan pre")
    assert page.locator("[name=metrics][value=pick_score]").is_disabled()
    assert "set pick_score in [PROFILE.metrics]" in page.locator("label", has_text="PickScore").text_content()
    for name, _ in ready[1:]:
        page.uncheck(f"[name=metrics][value={name}]")
    page.locator("#plan pre", has_text="--metric=image_reward").wait_for(state="attached")
    assert "--compute-metrics" not in page.text_content("#plan pre")
    page.uncheck("[name=metrics][value=image_reward]")
    page.locator("#plan-error", has_text="Choose a judge, or leave the images unscored.").wait_for()
    assert page.locator("#start-button").is_disabled()
    page.uncheck("[name=compute_metrics]")
    page.locator("#start-button:enabled").wait_for()
    assert page.locator(".judges").is_hidden()


def test_weights_of_a_judge_that_would_be_fetched_are_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    app = make_app(tmp_path, FakeEngine(), siglip="nobody/has-this", image_reward=str(tmp_path))
    with client_of(app) as client:
        judges = {judge["name"]: judge for judge in client.get("/api/experiments/choices").json()["judges"]}
        text = client.get("/experiments").text
    assert (judges["siglip_score"]["model"], judges["siglip_score"]["is_here"]) == ("nobody/has-this", False)
    assert (judges["image_reward"]["model"], judges["image_reward"]["is_here"]) == (tmp_path.name, True)
    assert "nobody/has-this (not on this machine; it is fetched first)" in text
