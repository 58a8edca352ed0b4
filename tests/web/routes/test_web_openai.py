"""OpenAI's API, asked by OpenAI's own Python client."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from PIL import Image
from web_fakes import FakeEngine, colour_of
from web_server import client_of, live_server, make_app, wait_until

KEY = "a long random text"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    app = make_app(tmp_path_factory.mktemp("openai"), FakeEngine(), api_key=KEY, queue_size=4)
    with live_server(app) as address:
        wait_until(lambda: httpx.get(f"{address}/healthz").json()["model"] == "ready")
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
    image = httpx.get(answer.data[0].url, headers={"Authorization": f"Bearer {KEY}"})
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


def test_what_is_not_here_says_what_is(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError, match="POST /v1/images/generations makes images") as error:
        client.chat.completions.create(model="mini", messages=[{"role": "user", "content": "hello"}])
    assert error.value.status_code == 501
    with pytest.raises(openai.InternalServerError, match="can't be edited here"):
        client.images.edit(image=b"png", prompt="a red fox")


def test_openais_names_can_be_answered_by_the_model_in_use(tmp_path: Path) -> None:
    with client_of(make_app(tmp_path, FakeEngine(), openai_names=True)) as client:
        for name, status in (("dall-e-3", 200), ("gpt-image-1", 200), ("flux", 404)):
            answer = client.post("/v1/images/generations", json={"prompt": "a fox", "model": name})
            assert answer.status_code == status, answer.text
