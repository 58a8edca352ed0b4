"""OpenAI's API, asked by OpenAI's own Python client."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from PIL import Image
from web_fakes import FakeEngine, colour_of
from web_server import HTTP, client_of, live_server, make_app, wait_until

KEY = "a long random text"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    app = make_app(tmp_path_factory.mktemp("openai"), FakeEngine(), api_key=KEY, queue_size=4)
    with live_server(app) as address:
        wait_until(lambda: HTTP.get(f"{address}/healthz").json()["model"] == "ready")
        with openai.OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as client:
            yield client


def image_of(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def test_images_generate_gives_n_images_with_consecutive_seeds(client: openai.OpenAI) -> None:
    answer = client.images.generate(
        prompt="a red fox",
        size="128x96",
        n=2,
        response_format="b64_json",
        extra_body={"seed": 1, "num_inference_steps": 9},
    )
    images = [image_of(base64.b64decode(item.b64_json)) for item in answer.data]
    assert [image.size for image in images] == [(128, 96), (128, 96)]
    assert [image.getpixel((0, 0)) for image in images] == [colour_of("a red fox", 1), colour_of("a red fox", 2)]


def test_without_a_format_the_answer_is_an_address_of_the_image(client: openai.OpenAI) -> None:
    answer = client.images.generate(prompt="a red fox", model="mini", quality="hd", user="me", extra_body={"seed": 5})
    image = HTTP.get(answer.data[0].url, headers={"Authorization": f"Bearer {KEY}"})
    assert image_of(image.content).getpixel((0, 0)) == colour_of("a red fox", 5)


def test_models_lists_the_loaded_model(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["mini"]
    assert client.models.retrieve("mini").owned_by == "llm-dit"


@pytest.mark.parametrize(
    ("values", "field", "sentence"),
    [
        ({"size": "1000x1000"}, "width", "use 992 or 1008"),
        ({"size": "large"}, "size", "WIDTHxHEIGHT"),
        ({"n": 11}, "n", "from 1 to 10"),
        ({"extra_body": {"num_inference_steps": 0}}, "num_inference_steps", "1 to 1000"),
        ({"extra_body": {"stepz": 1}}, "stepz", "is not a parameter"),
        ({"extra_body": {"response_format": "jpeg"}}, "response_format", "b64_json"),
        ({"extra_body": {"seed": 2**53 - 1}, "n": 2}, "seed", "at most"),
    ],
)
def test_what_is_wrong_arrives_in_the_clients_own_error(
    client: openai.OpenAI, values: dict, field: str, sentence: str
) -> None:
    with pytest.raises((openai.BadRequestError, openai.UnprocessableEntityError)) as error:
        client.images.generate(prompt="a red fox", **values)
    assert error.value.param == field
    assert sentence in error.value.body["message"]


def test_a_model_that_is_not_loaded_is_not_answered_by_another(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="use 'mini'"):
        client.images.generate(prompt="a red fox", model="dall-e-3")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("dall-e-3")


def test_a_wrong_key_is_an_authentication_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()


def test_more_images_than_the_queue_ever_holds_says_so(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="more than this server's queue ever holds; use 1 to 4") as error:
        client.images.generate(prompt="a red fox", n=9)
    assert error.value.param == "n"


@pytest.mark.parametrize("values", [{"n": "2", "size": "128X96"}, {"n": 2.0, "size": " 128 x 96 "}])
def test_sizes_and_numbers_are_read_leniently(client: openai.OpenAI, values: dict) -> None:
    answer = client.images.generate(prompt="a red fox", response_format="b64_json", **values)
    assert [image_of(base64.b64decode(item.b64_json)).size for item in answer.data] == [(128, 96)] * 2


def test_what_is_not_here_says_what_is_and_is_not_asked_for_again(client: openai.OpenAI) -> None:
    trying = client.with_options(max_retries=5)
    with pytest.raises(openai.NotFoundError, match="no chat here; POST /v1/images/generations makes images"):
        trying.chat.completions.create(model="mini", messages=[{"role": "user", "content": "hello"}])
    with pytest.raises(openai.NotFoundError, match="can't be edited here"):
        trying.images.edit(image=b"png", prompt="a red fox")
    with pytest.raises(openai.NotFoundError, match="Variations are not made here"):
        trying.post("/images/variations", cast_to=object)
    with pytest.raises(openai.NotFoundError, match="There is no GET /v1/files here; POST /v1/images/generations makes"):
        trying.files.list()


def test_openais_names_can_be_answered_by_the_model_in_use(tmp_path: Path) -> None:
    with client_of(make_app(tmp_path, FakeEngine(), openai_names=True)) as client:
        for name, status in (("dall-e-3", 200), ("gpt-image-1", 200), ("flux", 404)):
            answer = client.post("/v1/images/generations", json={"prompt": "a fox", "model": name})
            assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("model", "key"), [("gpt-image-1", "b64_json"), ("gpt-image-1.5", "b64_json"), ("dall-e-3", "url"), ("mini", "url")]
)
def test_each_name_answers_in_the_form_that_its_clients_read(tmp_path: Path, model: str, key: str) -> None:
    with client_of(make_app(tmp_path, FakeEngine(), openai_names=True)) as client:
        answer = client.post("/v1/images/generations", json={"prompt": "a fox", "model": model})
        assert [list(item) for item in answer.json()["data"]] == [[key]]
        for asked in ("url", "b64_json"):
            body = {"prompt": "a fox", "model": model, "response_format": asked}
            assert list(client.post("/v1/images/generations", json=body).json()["data"][0]) == [asked]


OPEN_WEBUI = {"model": "dall-e-2", "prompt": "a fox", "n": 1, "size": "512x512", "response_format": "b64_json"}
LITELLM = {"prompt": "a fox", "model": "mini", "size": "128x128"}
LANGCHAIN = {"prompt": "a fox", "model": "dall-e-3", "n": 1, "size": "1024x1024", "quality": "standard"}
CLIENTS = {
    "Open WebUI": OPEN_WEBUI,
    "Open WebUI, its model field empty": OPEN_WEBUI | {"model": ""},
    "Open WebUI, parameters as its form has them": OPEN_WEBUI | {"quality": "hd", "steps": 2, "seed": "7"},
    "Open WebUI, gpt-image": {"model": "gpt-image-1", "prompt": "a fox", "n": 2, "size": "auto"},
    "LiteLLM": LITELLM,
    "LiteLLM, gpt-image": LITELLM
    | {"model": "gpt-image-1", "size": "auto", "quality": "low", "background": "auto", "moderation": "low"}
    | {"output_format": "png", "output_compression": 100},
    "LangChain": LANGCHAIN,
    "LangChain, dall-e-2": LANGCHAIN | {"model": "dall-e-2", "size": ""},
}
"""Bodies that these clients were seen to send (Open WebUI routers/images.py, litellm 1, DallEAPIWrapper)."""


@pytest.mark.parametrize("body", CLIENTS.values(), ids=CLIENTS)
def test_what_clients_send_is_answered(tmp_path: Path, body: dict) -> None:
    headers = {"Authorization": "Bearer ", "X-OpenWebUI-User-Name": "Ann"}
    with client_of(make_app(tmp_path, FakeEngine(), openai_names=True)) as client:
        address = "/v1/images/generations?api-version=2025-04-01-preview"
        answer = client.post(address, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        for item in answer.json()["data"]:
            png = base64.b64decode(item["b64_json"]) if "b64_json" in item else client.get(item["url"]).content
            wanted = body.get("size") or "auto"
            assert image_of(png).size == ((64, 64) if wanted == "auto" else tuple(map(int, wanted.split("x"))))
        assert len(answer.json()["data"]) == body.get("n", 1)


def test_a_form_with_a_picture_to_edit_is_told_that_none_is_edited(tmp_path: Path) -> None:
    with client_of(make_app(tmp_path, FakeEngine())) as client:
        form = {"model": "mini", "prompt": "a fox", "response_format": "b64_json"}
        answer = client.post("/v1/images/edits", data=form, files={"image[]": ("a.png", b"png", "image/png")})
    assert answer.status_code == 404
    assert "Images can't be edited here" in answer.json()["error"]["message"]
