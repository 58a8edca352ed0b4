"""The HTTP API of the history: search and paging, stars, several at once, changes, archives."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from web_fakes import FakeEngine
from web_server import ADDRESS, client_of, make_app

KEY = "0123456789abcdef-key"
NOBODY = "f" * 32


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with client_of(make_app(tmp_path, FakeEngine(), history_size=6)) as client:
        yield client


def make(client: TestClient, prompt: str = "a fox", **values: Any) -> str:
    answer = client.post("/api/generate?wait=true", json={"prompt": prompt, "seed": 1, **values})
    assert answer.status_code == 200, answer.text
    return answer.headers["x-job-id"]


def test_search_finds_by_prompt_and_parameters_and_says_how_many(client: TestClient) -> None:
    made = [make(client, f"a {animal}", shift=shift) for animal, shift in (("fox", 2), ("fox", 3), ("cat", 3))]
    answer = client.get("/api/history", params={"search": "fox shift>=3"})
    assert [entry["id"] for entry in answer.json()] == [made[1]]
    assert answer.headers["X-Total-Count"] == "1"
    everything = client.get("/api/history")
    assert [entry["id"] for entry in everything.json()] == made[::-1]
    assert "link" not in everything.headers


def test_pages_are_linked_to_the_next_and_cover_all_once(client: TestClient) -> None:
    made = [make(client, f"fox & co {number}") for number in range(5)]
    seen, path = [], "/api/history?limit=2&search=fox%20%26"
    while path:
        answer = client.get(path)
        assert answer.headers["X-Total-Count"] == "5"
        seen += [entry["id"] for entry in answer.json()]
        path = answer.links.get("next", {}).get("url")
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("search", "sentence"),
    [
        ("shfit=3", "did you mean 'shift'?"),
        ('"fox', "close it"),
        ("steps=many", "num_inference_steps: 'many' can't be"),
    ],
)
def test_a_search_that_is_none_is_one_sentence(client: TestClient, search: str, sentence: str) -> None:
    for path in ("/api/history", "/history/cards"):
        answer = client.get(path, params={"search": search})
        assert answer.status_code == 422
        assert (sentence in answer.json()["error"], answer.json()["field"]) == (True, "search")
    page = client.get("/history", params={"search": search}, headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert 'id="search-problem" data-spoken>' in page.text


@pytest.mark.parametrize("before", [-1, 2**63, 2**70])
def test_a_place_that_no_database_has_is_refused(client: TestClient, before: int) -> None:
    for path in ("/api/history", "/history/cards"):
        assert client.get(path, params={"before": before}).status_code == 422


def test_a_star_keeps_an_image_beyond_the_size_of_the_history(client: TestClient) -> None:
    first, second = make(client), make(client)
    assert client.patch(f"/api/history/{first}", json={"is_starred": True}).json() == {"id": first, "is_starred": True}
    for number in range(7):
        make(client, f"later {number}")
    assert client.get(f"/api/history/{first}").json()["is_starred"] is True
    assert client.get(f"/api/history/{second}").status_code == 404
    assert [entry["id"] for entry in client.get("/api/history?search=is:starred").json()] == [first]
    assert client.patch(f"/api/history/{second}", json={"is_starred": True}).status_code == 404


def test_several_are_starred_and_deleted_at_once_and_the_answer_names_them(client: TestClient) -> None:
    made = [make(client) for _ in range(3)]
    answer = client.post("/api/history/star", json={"ids": [*made[:2], NOBODY], "is_starred": True})
    assert sorted(answer.json()["ids"]) == sorted(made[:2])
    answer = client.post("/api/history/star", json={"ids": [made[0]], "is_starred": False})
    assert [entry["id"] for entry in client.get("/api/history?search=is:starred").json()] == [made[1]]
    answer = client.post("/api/history/delete", json={"ids": [made[0], made[2], NOBODY, made[0]]})
    assert sorted(answer.json()["deleted"]) == sorted([made[0], made[2]])
    assert [entry["id"] for entry in client.get("/api/history").json()] == [made[1]]
    assert client.get(f"/api/jobs/{made[0]}").status_code == 404
    assert client.get(f"/api/images/{made[2]}").status_code == 404


def test_several_images_come_as_one_archive_with_their_bytes(client: TestClient) -> None:
    made = [make(client, f"fox {number}") for number in range(3)]
    failed = client.post("/api/generate?wait=true", json={"prompt": "not finite"})
    assert failed.status_code == 422
    broken = client.get("/api/history?search=is:failed").json()[0]["id"]
    asked = [made[0], made[2], broken]
    for answer in (
        client.post("/api/history/zip", json={"ids": asked}),
        client.post("/api/history/zip", data={"ids": ",".join(asked)}),
    ):
        assert answer.headers["content-type"] == "application/zip"
        assert answer.headers["content-disposition"] == 'attachment; filename="llm-dit-images.zip"'
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.testzip() is None
            assert {name: archive.read(name) for name in archive.namelist()} == {
                f"llm-dit-{image_id[:8]}.png": client.get(f"/api/images/{image_id}").content
                for image_id in (made[0], made[2])
            }
    assert client.post("/api/history/zip", json={"ids": [broken]}).status_code == 404


@pytest.mark.parametrize("path", ["/api/history/star", "/api/history/delete", "/api/history/zip"])
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ids": []},
        {"ids": "x"},
        {"ids": ["../x"]},
        {"ids": [3]},
        {"ids": [NOBODY + "0"]},
        {"ids": [NOBODY], "all": 1},
    ],
)
def test_a_body_without_ids_is_one_sentence(client: TestClient, path: str, body: dict[str, Any]) -> None:
    answer = client.post(path, json={**body, "is_starred": True} if path.endswith("star") else body)
    assert answer.status_code == 422
    assert answer.json()["error"].endswith(".")


@pytest.mark.parametrize("value", [None, 1, "true"])
def test_a_star_is_true_or_false(client: TestClient, value: Any) -> None:
    image_id = make(client)
    for answer in (
        client.patch(f"/api/history/{image_id}", json={"is_starred": value}),
        client.post("/api/history/star", json={"ids": [image_id], "is_starred": value}),
    ):
        assert (answer.status_code, answer.json()["field"]) == (422, "is_starred")


def test_changes_name_what_is_there_and_what_is_gone(client: TestClient) -> None:
    first = make(client)
    since = client.get("/api/history/changes").json()
    assert (since["images"], since["gone"]) == (None, None)
    second = make(client)
    client.patch(f"/api/history/{second}", json={"is_starred": True})
    client.delete(f"/api/history/{first}")
    told = client.get(f"/api/history/changes?since={since['version']}").json()
    assert [(image["id"], image["is_starred"], image["state"]) for image in told["images"]] == [(second, True, "done")]
    assert told["gone"] == [first]
    assert client.get(f"/api/history/changes?since={told['version']}").json() == {
        "version": told["version"], "images": [], "gone": []
    }  # fmt: skip


def test_a_single_parameter_can_be_asked_into_the_form(client: TestClient) -> None:
    image_id = make(client, shift=2.5, guidance_scale=1.5)
    page = client.get(f"/?edit={image_id}&only=shift").text
    assert 'data-initial="{&#34;shift&#34;: 2.5}" data-only-one' in page
    for name in ("port", "nothing"):
        assert client.get(f"/?edit={image_id}&only={name}", headers={"Accept": "text/html"}).status_code == 404
    details = client.get(f"/history/{image_id}").text
    assert f'href="/?edit={image_id}&amp;only=guidance_scale"' in details


def test_the_new_routes_stand_in_the_documentation(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path, method in (
        ("/api/history/star", "post"),
        ("/api/history/delete", "post"),
        ("/api/history/zip", "post"),
        ("/api/history/changes", "get"),
        ("/api/history/{image_id}", "patch"),
    ):
        assert paths[path][method]["summary"]
        assert path in client.get("/docs").text
    assert [item["name"] for item in paths["/api/history"]["get"]["parameters"]] == ["search", "limit", "before"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("PATCH", f"/api/history/{NOBODY}"), *(("POST", f"/api/history/{name}") for name in ("star", "delete", "zip"))],
)
def test_a_foreign_page_and_one_without_the_key_change_nothing(tmp_path: Path, method: str, path: str) -> None:
    app = make_app(tmp_path, FakeEngine(), api_key=KEY)
    with client_of(app) as client:
        key = {"Authorization": f"Bearer {KEY}"}
        body = {"ids": [NOBODY], "is_starred": True}
        assert client.request(method, path, json=body).status_code == 401
        foreign = {**key, "Origin": "http://evil.example"}
        assert client.request(method, path, json=body, headers=foreign).status_code == 403
        own = {**key, "Origin": ADDRESS}
        assert client.request(method, path, json=body, headers=own).status_code in (200, 404, 422)


def test_a_page_of_markup_in_a_search_is_shown_and_never_run(client: TestClient) -> None:
    page = client.get("/history", params={"search": '"><script>alert(1)</script>"'}, headers={"Accept": "text/html"})
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert" in page.text
