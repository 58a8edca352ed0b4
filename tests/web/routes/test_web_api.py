"""The HTTP API with a fast engine."""

from __future__ import annotations

import io
import json
import re
import struct
import threading
import zlib
from pathlib import Path

import pytest
from api_calls import make, wait_for
from fastapi.testclient import TestClient
from foreign_pictures import A1111, with_comment
from PIL import Image
from web_fakes import CUT_NOTICE, NATIVE_SIZE, FakeEngine, colour_of
from web_server import client_of, make_app, wait_until

from llm_dit.image_io import read_parameters
from llm_dit.parameters import GenerationParams

JSON = {"Content-Type": "application/json"}


def image_of(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def test_generate_with_wait_answers_with_the_png_and_its_parameters_inside(client: TestClient) -> None:
    answer = client.post("/api/generate?wait=true", json={"prompt": "a fox", "seed": 7, "shift": 4.5})
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-seed"] == "7"
    image = image_of(answer.content)
    assert image.size == (NATIVE_SIZE, NATIVE_SIZE)
    assert image.getpixel((0, 0)) == colour_of("a fox", 7)
    assert read_parameters(io.BytesIO(answer.content))["parameters"]["shift"] == 4.5


def test_generate_without_wait_answers_with_a_job_that_ends_with_an_image(client: TestClient) -> None:
    answer = client.post("/api/generate", json={"prompt": "a fox", "seed": 7})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/api/jobs/{job['id']}"
    done = wait_for(client, job["id"])
    assert (done["state"], done["image"]) == ("done", f"/api/images/{job['id']}")
    assert image_of(client.get(done["image"]).content).getpixel((0, 0)) == colour_of("a fox", 7)


IDLE = "negative_prompt does nothing while guidance_scale is 0; raise guidance_scale, or leave it out."


def test_what_does_nothing_and_what_was_cut_is_said(client: TestClient) -> None:
    body = {"prompt": "a very long fox", "negative_prompt": "blurry"}
    job = client.post("/api/generate", json=body).json()
    assert job["notices"] == [IDLE]
    assert wait_for(client, job["id"])["notices"] == [IDLE, CUT_NOTICE]
    assert client.post("/api/generate?wait=true", json=body).headers["x-notices"] == f"{IDLE} {CUT_NOTICE}"
    assert "x-notices" not in client.post("/api/generate?wait=true", json={"prompt": "a fox"}).headers
    assert client.post("/v1/images/generations", json=body).json()["notices"] == [IDLE, CUT_NOTICE]
    assert "notices" not in client.post("/v1/images/generations", json={"prompt": "a fox"}).json()
    page = client.get(f"/history/{job['id']}").text
    assert IDLE in page
    assert CUT_NOTICE in page


def test_a_job_from_before_a_restart_still_says_what_was_cut(tmp_path: Path) -> None:
    with client_of(make_app(tmp_path, FakeEngine())) as client:
        job_id = make(client, prompt="a very long fox")
    with client_of(make_app(tmp_path, FakeEngine())) as client:
        assert client.get(f"/api/jobs/{job_id}").json()["notices"] == [CUT_NOTICE]


def test_the_form_is_told_before_anything_is_made(client: TestClient) -> None:
    body = {"prompt": "a red fox in snow", "negative_prompt": "blurry", "max_text_tokens": 3}
    idle, cut = client.post("/api/format-prompt", json=body).json()["notices"]
    assert idle == IDLE
    assert cut.startswith("The prompt has ")
    assert "truncate brought it to 3 (" in cut
    assert client.post("/api/format-prompt", json={"prompt": "a fox"}).json()["notices"] == []


def test_the_short_name_wins_over_the_configuration_as_the_whole_one_does(tmp_path: Path, engine: FakeEngine) -> None:
    with client_of(make_app(tmp_path, engine, num_inference_steps=2)) as client:
        params = client.get(f"/api/history/{make(client, steps=3)}").json()["params"]
    assert params["num_inference_steps"] == 3


def test_a_seed_is_drawn_and_recorded_when_none_is_given(client: TestClient) -> None:
    image_id = make(client, seed=None)
    seed = client.get(f"/api/history/{image_id}").json()["params"]["seed"]
    assert isinstance(seed, int)
    assert image_of(client.get(f"/api/images/{image_id}").content).getpixel((0, 0)) == colour_of("a fox", seed)


def test_the_configuration_is_where_a_request_starts_from(tmp_path: Path, engine: FakeEngine) -> None:
    with client_of(make_app(tmp_path, engine, shift=5.5, num_inference_steps=2)) as client:
        params = client.get(f"/api/history/{make(client, num_inference_steps=3)}").json()["params"]
    assert (params["shift"], params["num_inference_steps"]) == (5.5, 3)


@pytest.mark.parametrize(
    ("values", "field", "allowed"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps", "1 to 1000"),
        ({"shift": 1000}, "shift", "up to 100"),
        ({"hidden_layer": 0}, "hidden_layer", "-1000 to -1"),
        ({"hidden_layer": -8}, "hidden_layer", "-7 to -1"),
        ({"width": 1000}, "width", "use 992 or 1008"),
        ({"long_prompt_mode": "cut"}, "long_prompt_mode", "truncate"),
        ({"seed": -1}, "seed", "0"),
        ({"stepz": 3}, "stepz", "is not a parameter"),
        ({"prompt": "  "}, "prompt", "empty"),
        ({"prompt": "x" * 1_000_000}, "prompt", "at most 100,000"),
        ({"prompt": "a\ud800b"}, "prompt", "lone surrogates"),
        ({"prompt": "a\x00b"}, "prompt", "NUL"),
    ],
)
def test_an_invalid_request_names_the_field_and_what_is_allowed(
    client: TestClient, values: dict, field: str, allowed: str
) -> None:
    body = json.dumps({"prompt": "a fox", **values})
    answer = client.post("/api/generate", content=body, headers=JSON)
    assert answer.status_code == 422
    assert set(answer.json()) == {"error", "field"}
    assert answer.json()["field"] == field
    assert allowed in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[1]", 400),
        (b'{"prompt": NaN}', 400),
        (b'{"prompt": ' + b"[" * 100_000, 400),
        (b'{"seed": ' + b"9" * 5000 + b"}", 400),
        (b"\xff\xfe", 400),
        (b'{"\\ud800": 1}', 400),
        (b"{}", 422),
        (b'{"prompt": "x", "shift": 1e400}', 422),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(client: TestClient, body: bytes, status: int) -> None:
    answer = client.post("/api/generate", content=body, headers=JSON)
    assert answer.status_code == status
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "prompt", ["<script>alert(1)</script>", "line\nbreak\ttab", "\u202eright to left", "🦊" * 50, "x" * 100_000]
)
def test_unusual_prompts_come_back_unchanged(client: TestClient, prompt: str) -> None:
    image_id = make(client, prompt=prompt)
    assert client.get(f"/api/history/{image_id}").json()["params"]["prompt"] == prompt
    assert "<script>alert" not in client.get("/history").text


def test_the_history_keeps_the_newest_and_deletes(client: TestClient) -> None:
    made = [make(client, seed=seed) for seed in range(7)]
    assert [entry["id"] for entry in client.get("/api/history").json()] == made[:1:-1]
    assert client.get(f"/api/images/{made[0]}").status_code == 404
    assert client.get(f"/api/images/{made[6]}/thumbnail").headers["content-type"] == "image/webp"
    assert client.delete(f"/api/history/{made[6]}").json() == {"deleted": made[6]}
    assert client.delete(f"/api/history/{made[6]}").status_code == 404
    assert client.get(f"/api/images/{made[6]}").status_code == 404
    assert client.get(f"/api/jobs/{made[6]}").status_code == 404


def test_a_download_has_a_file_name(client: TestClient) -> None:
    image_id = make(client)
    disposition = client.get(f"/api/images/{image_id}?download=true").headers["content-disposition"]
    assert disposition == f'attachment; filename="llm-dit-{image_id[:8]}.png"'


@pytest.mark.parametrize("name", ["..%2f..%2fetc%2fpasswd", "....//x", "g" * 32, "0" * 31, "%00" * 32])
def test_image_ids_are_not_paths(client: TestClient, name: str) -> None:
    assert client.get(f"/api/images/{name}").status_code in (404, 422)
    assert client.delete(f"/api/history/{name}").status_code in (404, 422)


def test_a_png_gives_its_parameters_back(client: TestClient) -> None:
    content = client.get(f"/api/images/{make(client, shift=2.5, system_prompt='')}").content
    answer = client.post("/api/image-parameters", content=content, headers={"Content-Type": "image/png"})
    params = answer.json()["params"]
    assert (params["shift"], params["system_prompt"], params["thinking_content"]) == (2.5, "", None)
    assert set(params) == set(GenerationParams.model_fields)


@pytest.mark.parametrize("content", [b"", b"not a png", b"\x89PNG\r\n\x1a\n" + b"0" * 100])
def test_a_file_without_parameters_is_one_sentence(client: TestClient, content: bytes) -> None:
    answer = client.post("/api/image-parameters", content=content)
    assert answer.status_code == 422
    assert "can't be read as a picture with settings" in answer.json()["error"]


def test_a_picture_of_another_tool_gives_its_settings_and_says_what_is_left(client: TestClient) -> None:
    answer = client.post("/api/image-parameters", content=with_comment("JPEG", A1111).getvalue()).json()
    assert answer["params"] == {
        "prompt": "a fox in snow,\nsoft light",
        "negative_prompt": "blurry,\ntext",
        "loras": "ink style:0.8",
        "num_inference_steps": 8,
        "guidance_scale": 3.0,
        "shift": 5.0,
        "seed": 42,
        "width": 832,
        "height": 1216,
    }
    assert "Not understood: Denoising strength." in answer["notices"]
    record = b'{"source": "x", "notices": 5, "parameters": {"steps": 3}}'
    hostile = b"\x89PNG\r\n\x1a\n" + chunk(b"iTXt", b"llm_dit\0\0\0\0\0" + record) + chunk(b"IEND", b"")
    answer = client.post("/api/image-parameters", content=hostile).json()
    assert (answer["params"], answer["notices"]) == ({"num_inference_steps": 3}, [])


def test_format_prompt_shows_special_tokens_apart_and_counts(client: TestClient) -> None:
    answer = client.post("/api/format-prompt", json={"prompt": "a fox", "thinking_content": ""}).json()
    assert answer["formatted_prompt"] == (
        "<|im_start|>user\na fox<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    special = [part["text"] for part in answer["segments"] if part["is_special"]]
    assert special == ["<|im_start|>", "<|im_end|>", "<|im_start|>", "<think>", "</think>"]
    assert "".join(part["text"] for part in answer["segments"]) == answer["formatted_prompt"]
    assert answer["token_count"] == 9
    assert answer["token_limit"] == 1024


def test_format_prompt_works_while_the_prompt_is_still_empty(client: TestClient) -> None:
    answer = client.post("/api/format-prompt", json={"prompt": "", "system_prompt": "S"}).json()
    assert answer["formatted_prompt"].startswith("<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n<|im_end|>")


def test_format_prompt_does_not_need_the_model(tmp_path: Path, engine: FakeEngine) -> None:
    loading = threading.Event()
    app = make_app(tmp_path, engine)
    app.state.services.engine._factory = lambda settings: loading.wait() and engine
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/healthz").json()["model"] == "loading"
        assert client.post("/api/format-prompt", json={"prompt": "a fox"}).json()["token_count"] is None
        assert client.get("/").status_code == 200
        job_id = client.post("/api/generate", json={"prompt": "a fox"}).json()["id"]
        loading.set()
        assert wait_for(client, job_id)["state"] == "done"


def test_a_model_that_cannot_be_loaded_is_told_everywhere(tmp_path: Path) -> None:
    with client_of(make_app(tmp_path, model_path=str(tmp_path / "nothing"))) as client:
        assert client.get("/healthz").json() == {"status": "ok", "model": "failed", "waiting": 0}
        assert "nothing" in client.get("/api/parameters").json()["model"]["error"]
        answer = client.post("/api/generate?wait=true", json={"prompt": "a fox"})
        assert answer.status_code == 422
        assert "nothing" in answer.json()["error"]
        assert client.get("/").status_code == 200


def test_parameters_lists_every_field_without_the_key(tmp_path: Path, engine: FakeEngine) -> None:
    with client_of(make_app(tmp_path, engine, api_key="a long random secret")) as client:
        text = client.get("/api/parameters", headers={"Authorization": "Bearer a long random secret"}).text
    names = [item["name"] for item in json.loads(text)["parameters"]]
    assert set(GenerationParams.model_fields) <= set(names)
    assert "api_key" not in names
    assert "secret" not in text


def test_metrics_count_jobs_by_outcome(client: TestClient) -> None:
    make(client)
    client.post("/api/generate?wait=true", json={"prompt": "not finite"})
    # a job is counted just after its answer is released
    wait_until(lambda: 'llm_dit_jobs_total{kind="generate",outcome="failed"} 1.0' in client.get("/metrics").text)
    text = client.get("/metrics").text
    assert 'llm_dit_jobs_total{kind="generate",outcome="done"} 1.0' in text
    assert "llm_dit_waiting_jobs 0.0" in text


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("depth", [0, 300, 900, 3000, 100_000])
def test_no_png_is_a_defect_of_the_server(client: TestClient, depth: int) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0))
    nested = b'{"parameters": {"prompt": "a fox"}, "more": ' + b"[" * depth + b"]" * depth + b"}"
    record = chunk(b"iTXt", b"llm_dit\0\0\0\0\0" + nested) if depth else b""
    png = b"\x89PNG\r\n\x1a\n" + header + record + chunk(b"IEND", b"")
    answer = client.post("/api/image-parameters", content=png, headers={"Content-Type": "image/png"})
    assert answer.status_code in (200, 422), answer.text


def test_scripts_are_kept_by_version_and_a_new_version_has_new_addresses(client: TestClient) -> None:
    page = client.get("/", headers={"Accept": "text/html"}).text
    scripts = re.findall(r'src="(/static/[^"]+)"', page)
    assert scripts
    for script in scripts:
        assert re.fullmatch(r"/static/[0-9a-f]{12}/.+", script)
        answer = client.get(script)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
    assert client.get("/static/icon.svg").headers["cache-control"] == "no-cache"


def test_the_palette_is_told_once_by_the_lab_and_both_pages_have_it(client: TestClient) -> None:
    assets = Path(__file__).parents[3] / "experiments" / "voting" / "assets"
    named = re.compile(r"^  (--[\w-]+):", re.MULTILINE)
    told = {path.name: set(named.findall(path.read_text())) for path in assets.glob("*.css")}
    (style,) = re.findall(r'href="(/static/[0-9a-f]{12})/style\.css"', client.get("/").text)
    assert client.get(f"{style}/palette.css").text == (assets / "palette.css").read_text()
    own = set(named.findall(client.get(f"{style}/style.css").text))
    assert {"--page", "--text", "--accent"} <= told["palette.css"]
    assert told["palette.css"] & (own | told["vote.css"]) == set()


def test_a_route_takes_no_thread_to_find_its_services(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_thread(*_: object) -> None:
        raise AssertionError("a thread of the pool was asked for")

    monkeypatch.setattr("fastapi.dependencies.utils.run_in_threadpool", no_thread)
    assert client.get("/healthz").status_code == 200


def test_loras_of_the_folder_are_listed_as_the_parameter_takes_them(tmp_path: Path, engine: FakeEngine) -> None:
    folder = tmp_path / "loras"
    (folder / "ink").mkdir(parents=True)
    for name in ("style.safetensors", "ink/fine, dark.safetensors", "notes.txt"):
        (folder / name).touch()
    with client_of(make_app(tmp_path, engine, loras_folder=str(folder))) as client:
        assert client.get("/api/loras").json() == {
            "loras": [
                {"file": "ink/fine, dark.safetensors", "entry": '"ink/fine, dark.safetensors"'},
                {"file": "style.safetensors", "entry": "style.safetensors"},
            ],
            "problems": [],
        }


def test_a_missing_folder_of_loras_is_a_sentence(tmp_path: Path, engine: FakeEngine) -> None:
    with client_of(make_app(tmp_path / "web", engine, loras_folder=str(tmp_path / "gone"))) as client:
        (problem,) = client.get("/api/loras").json()["problems"]
    assert problem == f"loras_folder {tmp_path / 'gone'} does not exist; make it, or leave it out."
    with client_of(make_app(tmp_path / "web", engine)) as client:
        assert client.get("/api/loras").json() == {"loras": [], "problems": []}


def test_templates_are_listed_with_what_is_wrong_with_others(tmp_path: Path, engine: FakeEngine) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "mine.md").write_text("---\nname: Mine\ndescription: My own.\nkind: prompt\n---\nBe bold.")
    (own / "broken.md").write_text("no front matter")
    with client_of(make_app(tmp_path, engine, templates_dir=str(own))) as client:
        answer = client.get("/api/templates").json()
        page = client.get("/").text
    assert [item["body"] for item in answer["templates"] if item["name"] == "Mine"] == ["Be bold."]
    assert answer["problems"] == ["broken.md: the first line has to be ---."]
    assert 'data-system="Be bold."' in page
