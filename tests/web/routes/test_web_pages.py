"""The HTML pages: what stands on them, and that nothing in a prompt is ever run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from web_fakes import FakeEngine
from web_server import client_of, make_app

from llm_dit.parameters import PARAMETERS, GenerationParams, RewriterSettings
from web.jobs.lab_request import FIELDS
from web.routes.form import Control, json_schema
from web.routes.pages import _environment

MARKUP = "<img src=x onerror=alert(1)>\"'</textarea><script>alert(2)</script>"
PAGES = ("/", "/history", "/rewriter", "/experiments", "/docs")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with client_of(make_app(tmp_path, FakeEngine())) as client:
        yield client


def make(client: TestClient, **values) -> str:
    answer = client.post("/api/generate?wait=true", json={"prompt": "a fox", "seed": 1, **values})
    return answer.headers["x-job-id"]


def test_every_knob_of_an_image_has_a_section_and_no_setting_has() -> None:
    for parameter in PARAMETERS.values():
        assert (parameter.note.section is not None) == (parameter.group is GenerationParams), parameter.name


def test_every_control_has_its_label_help_and_range(client: TestClient) -> None:
    page = client.get("/").text
    for name in GenerationParams.model_fields:
        assert page.count(f' name="{name}"') == 1, name
        assert f'id="field-{name}"' in page, name
        help_text = PARAMETERS[name].help.replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;")
        assert help_text in page, name
    assert 'name="num_inference_steps" value="" min="1" max="1000" step="1" placeholder="auto"' in page
    assert "Empty takes the model&#39;s (9 for Turbo, 50 for its base)." in page
    assert 'data-for="field-shift" min="0.5" max="10"' in page
    assert 'data-for="field-hidden_layer" min="-6" max="-1"' in page


def test_the_rewriter_form_has_every_setting(client: TestClient) -> None:
    page = client.get("/rewriter").text
    for name in RewriterSettings.model_fields:
        assert f'name="{name}"' in page


def test_the_labs_form_has_every_field_of_its_request_and_no_other(client: TestClient) -> None:
    form = re.search(r'<form id="lab-form".*?</form>', client.get("/experiments").text, re.DOTALL)
    assert form is not None
    fields = {*FIELDS, "kind"} - {"ray_address"}  # which the server's configuration alone decides
    assert set(re.findall(r'\sname="(\w+)"', form[0])) == fields


@pytest.mark.parametrize(("value", "chosen"), [(None, "the model's"), ("pool", "pool")])
def test_a_choice_that_may_be_none_is_not_the_first_one(value: str | None, chosen: str) -> None:
    declared = PARAMETERS["long_prompt_mode"]
    item = replace(declared, optional=True, note=replace(declared.note, unset="the model's"))
    template = '{% from "controls.html" import render_control %}{{ render_control(item) }}'
    shown = _environment().from_string(template).render(item=Control(item, "Long prompts", value, None, None, 1))
    assert re.findall(r"<option[^>]* selected>(.*?)<", shown) == [chosen.replace("'", "&#39;")]


def test_the_request_schema_has_every_field_with_its_range() -> None:
    schema = json_schema(GenerationParams)
    assert set(schema["properties"]) == set(GenerationParams.model_fields)
    assert schema["required"] == ["prompt"]
    steps = schema["properties"]["num_inference_steps"]
    assert (steps["type"], steps["minimum"], steps["maximum"]) == (["integer", "null"], 1, 1000)
    assert schema["properties"]["shift"]["exclusiveMinimum"] == 0
    assert schema["properties"]["width"]["multipleOf"] == 16


@pytest.mark.parametrize("path", PAGES)
def test_pages_load_nothing_from_other_hosts_and_hold_no_inline_code(client: TestClient, path: str) -> None:
    page = client.get(path).text
    loaded = re.findall(r'<(?:script|link|img|use|iframe)[^>]*?(?:src|href)="([^"]+)"', page)
    assert loaded
    assert all(address.startswith("/") and not address.startswith("//") for address in loaded)
    assert not re.search(r"<script(?![^>]*src=)", page)
    assert not re.search(r'\son\w+="|\sstyle="|javascript:', page)
    for address in {address.partition("#")[0] for address in loaded}:
        assert client.get(address).status_code == 200, address


@pytest.mark.parametrize("path", PAGES)
def test_pages_name_their_language_title_and_main_part(client: TestClient, path: str) -> None:
    page = client.get(path).text
    assert '<html lang="en">' in page
    assert re.search(r"<title>[A-Z].+ · llm-dit</title>", page)
    assert page.count('id="main"') == 1
    assert page.count("<h1") == 1
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_markup_in_prompts_is_shown_and_never_run(client: TestClient) -> None:
    first = make(client, prompt=MARKUP, system_prompt=MARKUP)
    second = make(client, prompt=MARKUP, negative_prompt=MARKUP)
    for path in (
        "/",
        "/history",
        f"/history/{first}",
        f"/?edit={first}",
        f"/history/compare?left={first}&right={second}",
    ):
        page = client.get(path).text
        assert "<script>alert" not in page, path
        assert "<img src=x" not in page, path
        assert "&lt;img src=x" in page, path


def test_edit_puts_all_parameters_into_the_form(client: TestClient) -> None:
    image_id = make(client, shift=2.5, thinking_content="", seed=77)
    page = client.get(f"/?edit={image_id}").text
    assert "&#34;shift&#34;: 2.5" in page
    assert "&#34;thinking_content&#34;: &#34;&#34;" in page
    assert "&#34;seed&#34;: 77" in page


def test_compare_lists_what_differs_and_nothing_else(client: TestClient) -> None:
    left, right = make(client, shift=2.0), make(client, shift=4.0)
    page = client.get(f"/history/compare?left={left}&right={right}").text
    rows = re.findall(r'<th scope="row" title="(\w+)">', page)
    assert rows == ["shift"]
    same = client.get(f"/history/compare?left={left}&right={left}").text
    assert "Nothing: both were made with the same parameters." in same


def test_failed_images_stand_in_the_history_with_their_reason(client: TestClient) -> None:
    client.post("/api/generate?wait=true", json={"prompt": "not finite"})
    page = client.get("/history").text
    assert "use --dtype bfloat16" in page
    assert 'data-state="failed"' in page


@pytest.mark.parametrize("path", [f"/history/{'0' * 32}", "/history/x", "/?edit=x", "/history/compare?left=a&right=b"])
def test_a_page_that_is_not_there_is_a_page_that_says_so(client: TestClient, path: str) -> None:
    answer = client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code in (404, 422)
    assert "<h1>" in answer.text


def test_an_empty_history_invites_to_make_the_first_image(client: TestClient) -> None:
    assert "Make the first one" in client.get("/history").text
