"""Who may ask, from where, and how much: plain ASGI middleware around the whole application.

- The Host header must name an address the server listens on, so that no foreign name can be pointed at it (DNS
  rebinding).
- A request that changes something must come from our own pages or from no page at all (same-origin check).
- With an API key, everything but the health check and the login page needs it: as a bearer token or as a cookie.
- Bodies are limited; answers forbid sniffing, framing, and content from other hosts.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm_dit.errors import LlmDitError
from web.responses import MAX_BODY_BYTES, MAX_IMAGE_BYTES, error_response

COOKIE = "llm_dit_key"
LEAST_KEY_CHARACTERS = 16
LEAST_KEY_VARIETY = 8
WRONG_KEYS_ALLOWED = 10
"""In `WRONG_KEYS_WINDOW_S` seconds, of one client, in the header, a cookie, an address and the login together."""
WRONG_KEYS_WINDOW_S = 60.0
CLIENTS_REMEMBERED = 1000
OPEN_PATHS = ("/healthz", "/login", "/static/")
RESULTS_PREFIX = "/results/"
IMAGE_UPLOAD_PATH = "/api/image-parameters"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
ANSWER_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, api_key: str | None) -> None:
    """Refuse to listen where others can reach the server unless a key protects it.

    Raises:
        LlmDitError: Naming the way out.
    """
    if api_key is not None and not api_key.strip():
        raise LlmDitError("--api-key is empty; give a long random text.", field="api_key")
    if api_key is not None and (len(api_key) < LEAST_KEY_CHARACTERS or len(set(api_key)) < LEAST_KEY_VARIETY):
        raise LlmDitError(
            f"--api-key is too easy to guess: it has {len(api_key)} characters, {len(set(api_key))} of them different; "
            f"use at least {LEAST_KEY_CHARACTERS} and {LEAST_KEY_VARIETY}, for example {secrets.token_urlsafe(24)}.",
            field="api_key",
        )
    if not is_loopback(host) and api_key is None:
        raise LlmDitError(
            f"--host {host} can be reached by other machines; give --api-key, or listen on 127.0.0.1.", field="host"
        )


def allowed_hosts(host: str, further: str | None = None) -> frozenset[str] | None:
    """Return the names that a Host header may carry, None for any.

    Args:
        host: Where the server listens.
        further: Names of proxies and containers, separated by commas.

    On all addresses of a machine any name may be the right one; the key, which a foreign page can't send, protects it.
    """
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return None
    names = {*LOOPBACK_NAMES, host.strip("[]").lower(), *names_in(further)}
    return frozenset(names if is_loopback(host) else names | {socket.gethostname().lower()})


def names_in(further: str | None) -> frozenset[str]:
    """Return the names of a list with commas."""
    return frozenset(name.strip().lower() for name in (further or "").split(",") if name.strip())


def cookie_value(api_key: str) -> str:
    """Return what the login cookie holds: a digest, so that the key itself is not stored in the browser."""
    return hmac.new(api_key.encode("utf-8"), b"llm-dit login cookie", hashlib.sha256).hexdigest()


def results_token(api_key: str | None) -> str:
    """Return the part of a path that lets a report load its images.

    Reports run in a sandbox without cookies, so with a key this token stands for it, for reading results only.
    """
    if api_key is None:
        return "open"
    return hmac.new(api_key.encode("utf-8"), b"llm-dit results", hashlib.sha256).hexdigest()[:32]


def is_same_text(given: str, expected: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(
        hashlib.sha256(given.encode("utf-8", "surrogatepass")).digest(),
        hashlib.sha256(expected.encode("utf-8", "surrogatepass")).digest(),
    )


class KeyAttempts:
    """Counts the wrong keys of each client (an address), and tells one that showed too many to wait.

    A right key is never counted and never refused: whoever holds it may share the address of one who guesses, as all do
    behind a proxy. What guessing is up against is the length that `check_exposure` asks of a key. Lives on the event
    loop.
    """

    def __init__(self) -> None:
        self._wrong_at: OrderedDict[str, deque[float]] = OrderedDict()

    def note_wrong(self, scope: Scope) -> str | None:
        """Count a wrong key of this client; return why it has to wait, None if it may try again."""
        address = scope["client"][0] if scope.get("client") else ""
        wrong_at = self._wrong_at.setdefault(address, deque(maxlen=WRONG_KEYS_ALLOWED))
        self._wrong_at.move_to_end(address)
        if len(self._wrong_at) > CLIENTS_REMEMBERED:
            self._wrong_at.popitem(last=False)
        now = time.monotonic()
        if len(wrong_at) == WRONG_KEYS_ALLOWED and now - wrong_at[0] <= WRONG_KEYS_WINDOW_S:
            return f"Too many wrong keys; try again in {WRONG_KEYS_WINDOW_S:.0f} s."
        wrong_at.append(now)
        return None


class Guard:
    """Checks every request before the application sees it, and marks every answer.

    Args:
        app: The application.
        hosts: Names that a Host header may carry; None for any.
        api_key: Key that clients must send; None for none.
        attempts: What was tried with wrong keys.
        proxies: Names of proxies; a proxy may hand on another Host than its pages come from.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Iterable[str] | None,
        api_key: str | None,
        attempts: KeyAttempts | None = None,
        proxies: Iterable[str] = (),
    ) -> None:
        self._proxies = frozenset(proxies)
        self._attempts = attempts or KeyAttempts()
        self._app = app
        self._hosts = None if hosts is None else frozenset(hosts)
        self._api_key = api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        marked_send = _marked(send)
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, marked_send)
            return
        limit = MAX_IMAGE_BYTES if scope["path"] == IMAGE_UPLOAD_PATH else MAX_BODY_BYTES
        await _BodyLimit(self._app, limit)(scope, receive, marked_send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, path = Headers(scope=scope), scope["path"]
        host = headers.get("host", "")
        if not self._is_known_host(host):
            return error_response(
                path, 421, f"This server does not answer to the name {host[:100]!a}; --allowed-hosts NAME lets it."
            )
        if scope["method"] not in SAFE_METHODS and not self._is_same_origin(headers):
            problem = (
                "This request came from a page of another site; behind a proxy, name that site with --allowed-hosts."
            )
            return error_response(path, 403, problem)
        if self._api_key is not None and not self._is_open(path):
            return self._refusal_without_key(scope, headers, self._api_key)
        return None

    def _refusal_without_key(self, scope: Scope, headers: Headers, api_key: str) -> Response | None:
        path = scope["path"]
        if self._has_key(headers, api_key) or self._has_results_token(path):
            return None
        if self._is_key_shown(headers, path) and (problem := self._attempts.note_wrong(scope)) is not None:
            wait = {"Retry-After": str(int(WRONG_KEYS_WINDOW_S))}
            return error_response(path, 429, problem, headers=wait)
        if "text/html" in headers.get("accept", "") and scope["method"] == "GET":
            query = scope.get("query_string", b"").decode("latin-1")
            wanted = f"{path}?{query}" if query else path
            return RedirectResponse(f"/login?next={quote(wanted)}", 303)
        challenge = {"WWW-Authenticate": "Bearer"}
        return error_response(path, 401, "An API key is needed: Authorization: Bearer KEY.", headers=challenge)

    def _is_same_origin(self, headers: Headers) -> bool:
        """Say whether a change comes from our own page, from a page of a proxy in front of us, or from no browser."""
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return False
        origin = headers.get("origin")
        if origin is None:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.netloc.lower() == headers.get("host", "").lower() or parts.hostname in self._proxies

    def _is_known_host(self, host: str) -> bool:
        if self._hosts is None:
            return True
        try:
            return (urlsplit(f"//{host}").hostname or "") in self._hosts
        except ValueError:
            return False

    def _is_open(self, path: str) -> bool:
        return path.startswith(OPEN_PATHS)

    def _has_results_token(self, path: str) -> bool:
        token = path.removeprefix(RESULTS_PREFIX).partition("/")[0]
        return path.startswith(RESULTS_PREFIX) and is_same_text(token, results_token(self._api_key))

    def _is_key_shown(self, headers: Headers, path: str) -> bool:
        """Say whether a request shows a key, or what is made of one, that could be a guess."""
        is_in_header = "authorization" in headers or f"{COOKIE}=" in headers.get("cookie", "")
        return is_in_header or path.startswith(RESULTS_PREFIX)

    def _has_key(self, headers: Headers, api_key: str) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and is_same_text(token.strip(), api_key):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and is_same_text(cookie.value, cookie_value(api_key))


class _BodyLimit:
    """Refuses a body that is announced, or turns out, to be larger than `limit` bytes."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self._limit:
            await self._refuse(scope, receive, send)
            return
        received, is_started, is_refused = 0, False, False

        async def counted_receive() -> Message:
            nonlocal received, is_refused
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                is_refused = True
                return {"type": "http.disconnect"}
            return message

        async def watched_send(message: Message) -> None:
            nonlocal is_started
            if is_refused and not is_started:
                return
            is_started = True
            await send(message)

        try:
            await self._app(scope, counted_receive, watched_send)
        except ClientDisconnect:
            pass  # gone while it was sending, or refused by us; either way there is nobody to tell about a defect
        finally:
            if is_refused and not is_started:
                await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = error_response(scope["path"], 413, f"The body is larger than {self._limit >> 20} MiB; send less.")
        await response(scope, receive, send)


def _marked(send: Send) -> Send:
    """Wrap `send` so that every answer carries the security headers it does not set itself."""

    async def marked_send(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in ANSWER_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return marked_send
