"""Who may ask, from where, and how much."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from web_fakes import FakeEngine
from web_server import ADDRESS, client_of, make_app

from llm_dit.errors import LlmDitError
from web.security import (
    COOKIE,
    MAX_BODY_BYTES,
    WRONG_KEYS_ALLOWED,
    WRONG_KEYS_WINDOW_S,
    Guard,
    KeyAttempts,
    allowed_hosts,
    check_exposure,
    cookie_value,
    results_token,
)

KEY = "a long random text"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with client_of(make_app(tmp_path, FakeEngine())) as client:
        yield client


@pytest.fixture
def locked_client(tmp_path: Path) -> Iterator[TestClient]:
    with client_of(make_app(tmp_path, FakeEngine(), host="0.0.0.0", api_key=KEY)) as client:
        client.headers["accept"] = "application/json"
        yield client


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_no_other_address_without_a_key(host: str) -> None:
    with pytest.raises(LlmDitError, match="give --api-key") as error:
        check_exposure(host, None)
    assert error.value.field == "host"
    check_exposure(host, KEY)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_this_machine_needs_no_key(host: str) -> None:
    check_exposure(host, None)


def test_an_empty_key_protects_nothing_and_is_refused() -> None:
    with pytest.raises(LlmDitError, match="--api-key is empty"):
        check_exposure("0.0.0.0", " ")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "[::2]", "localhost.evil", "", "[", "a b"])
def test_a_foreign_host_name_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/healthz", headers={"Host": host})
    assert answer.status_code == 421
    assert set(answer.json()) == {"error", "field"}


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000"])
def test_names_of_this_machine_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_this_machines_name_is_answered_where_others_may_ask_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.security.socket.gethostname", lambda: "Workshop")
    assert "workshop" in (allowed_hosts("192.168.1.5") or ())
    assert "workshop" not in (allowed_hosts("127.0.0.1") or ())


def test_the_tenth_wrong_key_counts_from_the_first_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("web.security.time.monotonic", lambda: now[0])
    attempts = KeyAttempts()
    client = {"client": ("10.0.0.1", 1)}
    assert attempts.note_wrong(client) is None
    now[0] = 30.0
    for _ in range(WRONG_KEYS_ALLOWED - 1):
        assert attempts.note_wrong(client) is None
    now[0] = WRONG_KEYS_WINDOW_S + 1.0
    assert attempts.note_wrong(client) is None, "the first is forgotten"
    assert "Too many wrong keys" in (attempts.note_wrong(client) or ""), "the second is not"


def test_hosts_of_a_specific_address_are_that_address_and_this_machine() -> None:
    hosts = allowed_hosts("192.168.1.5")
    assert hosts is not None
    assert {"192.168.1.5", "localhost"} <= hosts
    assert "evil.example" not in hosts
    assert allowed_hosts("0.0.0.0") is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://["},
    ],
)
@pytest.mark.parametrize("path", ["/api/generate", "/experiments/start", "/login", "/v1/images/generations"])
def test_a_page_of_another_site_can_change_nothing(client: TestClient, headers: dict, path: str) -> None:
    assert client.post(path, json={"prompt": "a fox"}, headers=headers).status_code == 403
    assert client.get("/api/jobs").json() == []


def test_our_own_pages_and_clients_without_a_page_may_change_things(client: TestClient) -> None:
    for headers in ({"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}, {}):
        assert client.post("/api/generate", json={"prompt": "a fox"}, headers=headers).status_code == 202


def test_a_form_post_of_another_site_is_no_json_request(client: TestClient) -> None:
    answer = client.post("/api/generate", content='{"prompt": "x"}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


def test_no_answer_allows_other_origins(client: TestClient) -> None:
    answer = client.get("/api/history", headers={"Origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/", "/history", "/api/history", "/static/style.css", "/nothing", "/healthz"])
def test_every_answer_forbids_sniffing_framing_and_other_hosts(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize("with_length", [True, False])
def test_a_body_beyond_the_limit_is_refused(client: TestClient, with_length: bool) -> None:
    chunk = b"x" * (1 << 20)
    count = (MAX_BODY_BYTES >> 20) + 1
    content = chunk * count if with_length else (chunk for _ in range(count))
    answer = client.post("/api/generate", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert "larger than 4 MiB" in answer.json()["error"]


@pytest.mark.parametrize(
    "path", ["/", "/history", "/api/history", "/api/parameters", "/v1/models", "/docs", "/metrics"]
)
def test_with_a_key_nothing_is_told_without_it(locked_client: TestClient, path: str) -> None:
    answer = locked_client.get(path, headers={"Accept": "application/json"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    wrong = locked_client.get(path, headers={"Authorization": "Bearer wrong"})
    assert wrong.status_code == 401
    right = locked_client.get(path, headers={"Authorization": f"Bearer {KEY}"})
    assert right.status_code == 200


def test_with_a_key_a_browser_is_sent_to_the_login_page(locked_client: TestClient) -> None:
    answer = locked_client.get("/history", headers={"Accept": "text/html"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/history")
    assert locked_client.get("/healthz").status_code == 200


def test_logging_in_sets_a_cookie_that_opens_the_page_and_does_not_hold_the_key(locked_client: TestClient) -> None:
    answer = locked_client.post("/login", data={"key": KEY, "next": "/history"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/history")
    cookie = answer.headers["set-cookie"]
    assert KEY not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert locked_client.get("/history").status_code == 200
    locked_client.cookies.clear()
    locked_client.cookies.set(COOKIE, cookie_value("another key"))
    assert locked_client.get("/history").status_code == 401


def test_a_wrong_key_is_told_and_sets_no_cookie(locked_client: TestClient) -> None:
    answer = locked_client.post("/login", data={"key": "wrong"})
    assert answer.status_code == 401
    assert "That key is not right." in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_login_never_leads_to_another_site(locked_client: TestClient, path: str) -> None:
    answer = locked_client.post("/login", data={"key": KEY, "next": path}, follow_redirects=False)
    assert answer.headers["location"] == "/"


def test_results_need_their_token_and_stay_in_their_folder(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "shift_sweep"
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("<p>report</p>")
    (folder / "secret.sqlite3").write_text("no")
    (tmp_path / "outside.png").write_text("no")
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    with client_of(make_app(tmp_path, FakeEngine(), host="0.0.0.0", api_key=KEY)) as client:
        token = results_token(KEY)
        answer = client.get(f"/results/{token}/shift_sweep/report.html")
        assert answer.status_code == 200
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "allow-same-origin" not in answer.headers["content-security-policy"]
        assert client.get("/results/open/shift_sweep/report.html").status_code == 401
        for path in (
            "secret.sqlite3",
            "link.png",
            "..%2f..%2foutside.png",
            "%2e%2e/outside.png",
            "%00.png",
            "x" * 300,
            "",
        ):
            assert client.get(f"/results/{token}/shift_sweep/{path}").status_code == 404, path


def test_there_is_no_page_but_our_own_error_page(client: TestClient) -> None:
    answer = client.get("/nothing", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert "<h1>404</h1>" in answer.text
    assert client.get("/api/nothing", headers={"Accept": "text/html"}).json()["field"] is None


@pytest.mark.parametrize("key", ["secret", "a" * 40, "abababababababababab"])
def test_a_key_that_is_easy_to_guess_is_refused(key: str) -> None:
    with pytest.raises(LlmDitError, match="too easy to guess"):
        check_exposure("0.0.0.0", key)


def test_the_login_keeps_the_query_of_the_page_that_was_asked_for(locked_client: TestClient) -> None:
    html = {"Accept": "text/html"}
    answer = locked_client.get("/?run=shift_sweep/a&b=1", headers=html, follow_redirects=False)
    page = locked_client.get(answer.headers["location"], headers=html).text
    assert 'value="/?run=shift_sweep/a&amp;b=1"' in page
    done = locked_client.post("/login", data={"key": KEY, "next": "/?run=shift_sweep/a&b=1"}, follow_redirects=False)
    assert done.headers["location"] == "/?run=shift_sweep/a&b=1"


@pytest.mark.parametrize("guess", ["header", "login", "cookie", "results"])
def test_wrong_keys_of_all_kinds_are_limited_together(
    locked_client: TestClient, monkeypatch: pytest.MonkeyPatch, guess: str
) -> None:
    monkeypatch.setattr("web.routes.pages.WRONG_KEY_PAUSE_S", 0)

    def try_key(key: str) -> int:
        match guess:
            case "header":
                return locked_client.get("/api/jobs", headers={"Authorization": f"Bearer {key}"}).status_code
            case "login":
                return locked_client.post("/login", data={"key": key}, follow_redirects=False).status_code
            case "cookie":
                return locked_client.get("/api/jobs", headers={"Cookie": f"{COOKIE}={key}"}).status_code
        return locked_client.get(f"/results/{key}/x/report.html").status_code

    assert [try_key(f"guess {n}" if guess in ("header", "login") else f"guess{n}") for n in range(10)] == [401] * 10
    assert try_key("guess11") == 429
    for kind in ({"Authorization": "Bearer guess 12"}, {"Cookie": f"{COOKIE}=guess13"}):
        assert locked_client.get("/api/jobs", headers=kind).status_code == 429


def test_behind_one_address_a_right_key_is_never_refused_and_frees_no_wrong_ones(locked_client: TestClient) -> None:
    right = {"Authorization": f"Bearer {KEY}"}

    def ask(headers: dict[str, str]) -> int:
        return locked_client.get("/api/jobs", headers=headers).status_code

    assert ask(right) == 200
    guesses = [ask({"Authorization": f"Bearer guess {n}"}) for n in range(12)]
    assert guesses == [401] * 10 + [429] * 2
    assert ask(right) == 200
    assert ask({"Authorization": "Bearer guess 13"}) == 429
    assert ask({"Cookie": f"{COOKIE}={cookie_value(KEY)}"}) == 200
    assert locked_client.post("/login", data={"key": KEY}, follow_redirects=False).status_code == 303
    assert locked_client.post("/login", data={"key": "guess 14"}).status_code == 429


def test_wrong_keys_of_one_address_do_not_count_for_another() -> None:
    attempts = KeyAttempts()
    for _ in range(10):
        assert attempts.note_wrong({"client": ("10.0.0.1", 1)}) is None
    assert "Too many wrong keys" in attempts.note_wrong({"client": ("10.0.0.1", 2)})
    assert attempts.note_wrong({"client": ("10.0.0.2", 1)}) is None


def test_no_more_clients_are_remembered_than_fit_and_the_one_heard_of_longest_ago_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("web.security.CLIENTS_REMEMBERED", 2)
    attempts = KeyAttempts()
    for _ in range(10):
        assert attempts.note_wrong({"client": ("10.0.0.1", 1)}) is None
    assert attempts.note_wrong({"client": ("10.0.0.2", 1)}) is None
    assert "Too many wrong keys" in attempts.note_wrong({"client": ("10.0.0.1", 1)})
    assert attempts.note_wrong({"client": ("10.0.0.3", 1)}) is None
    assert "Too many wrong keys" in attempts.note_wrong({"client": ("10.0.0.1", 1)}), "10.0.0.2 was forgotten instead"
    for last in (4, 5):
        assert attempts.note_wrong({"client": (f"10.0.0.{last}", 1)}) is None
    assert attempts.note_wrong({"client": ("10.0.0.1", 1)}) is None


@pytest.mark.parametrize("cookie", [f"a(b)=1; {COOKIE}={cookie_value(KEY)}", f"{COOKIE}=\x00", ";;"])
def test_a_cookie_that_cannot_be_read_is_no_key(locked_client: TestClient, cookie: str) -> None:
    assert locked_client.get("/api/jobs", headers={"Cookie": cookie}).status_code == 401


def test_without_a_key_results_lie_under_open() -> None:
    assert results_token(None) == "open"
    assert results_token(KEY) not in ("open", results_token("another long random text"))


def test_what_an_application_answers_to_a_body_that_was_cut_off_is_replaced_by_the_refusal() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b"cut off"})

    chunks = (b"x" * (1 << 20) for _ in range((MAX_BODY_BYTES >> 20) + 1))
    answer = TestClient(Guard(application, None, None), base_url=ADDRESS).post("/", content=chunks)
    assert answer.status_code == 413
    assert "larger than 4 MiB" in answer.json()["error"]


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 413)])
@pytest.mark.parametrize("is_announced", [True, False])
def test_a_body_of_just_the_limit_is_taken_and_not_a_byte_more(more: int, status: int, is_announced: bool) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"taken"})

    body = bytes(MAX_BODY_BYTES + more)
    content = body if is_announced else (body[start : start + (1 << 20)] for start in range(0, len(body), 1 << 20))
    answer = TestClient(Guard(application, None, None), base_url=ADDRESS).post("/", content=content)
    assert answer.status_code == status


def test_one_can_log_out(locked_client: TestClient) -> None:
    locked_client.post("/login", data={"key": KEY})
    assert locked_client.get("/api/jobs").status_code == 200
    assert "Log out" in locked_client.get("/", headers={"Accept": "text/html"}).text
    locked_client.post("/logout", follow_redirects=False)
    assert locked_client.get("/api/jobs").status_code == 401


def test_names_of_proxies_and_containers_can_be_allowed(client: TestClient, tmp_path: Path) -> None:
    docker = {"Host": "host.docker.internal:8000"}
    assert "--allowed-hosts" in client.get("/healthz", headers=docker).json()["error"]
    app = make_app(tmp_path / "other", FakeEngine(), allowed_hosts="host.docker.internal, pictures.example")
    with client_of(app) as allowing:
        assert allowing.get("/healthz", headers=docker).status_code == 200
        for origin, status in (("https://pictures.example", 202), ("https://evil.example", 403)):
            headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
            assert allowing.post("/api/generate", json={"prompt": "a fox"}, headers=headers).status_code == status
