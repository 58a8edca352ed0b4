"""Many clients at once: nothing lost, nothing mixed up, and the server always answers."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import random
from pathlib import Path
from typing import Any

from PIL import Image
from web_fakes import FakeEngine, colour_of
from web_server import HTTP, live_server, make_app, wait_until

CLIENTS = 50
REQUESTS_EACH = 40
IMAGES_EACH = 4


def test_of_2000_mixed_requests_from_50_clients_none_is_lost_and_none_gets_anothers_image(tmp_path: Path) -> None:
    engine = FakeEngine()
    with live_server(make_app(tmp_path, engine, queue_size=20)) as address:
        wait_until(lambda: HTTP.get(f"{address}/healthz").json()["model"] == "ready")
        answered = asyncio.run(_all_clients(address))
        assert HTTP.get(f"{address}/api/jobs").json() == []
        history = HTTP.get(f"{address}/api/history").json()
    assert sum(answered) == CLIENTS * REQUESTS_EACH
    assert engine.most_running == 1
    expected = sorted((f"client {client}", image) for client in range(CLIENTS) for image in range(IMAGES_EACH))
    assert sorted(engine.made) == expected
    assert len(history) == 50 < len(expected)
    assert all(entry["state"] == "done" for entry in history)


class Client:
    """One connection, kept open; far lighter than httpx, which would take the cores from the server it shares."""

    def __init__(self, address: str) -> None:
        self.port = int(address.rpartition(":")[2])

    async def send(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of the answer."""
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(content)}\r\n\r\n"
        self.writer.write(head.encode() + content)
        status, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        answer = await self.reader.readexactly(int(headers["content-length"]))
        return int(status.split()[1]), headers, answer

    async def __aenter__(self) -> Client:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def _all_clients(address: str) -> list[int]:
    return await asyncio.gather(*(_one_client(address, number) for number in range(CLIENTS)))


async def _one_client(address: str, number: int) -> int:
    """Send this client's requests and return how many were answered as they should be."""
    chance = random.Random(number)
    kinds = ["image"] * IMAGES_EACH + ["format", "health", "jobs"] * ((REQUESTS_EACH - IMAGES_EACH) // 3)
    chance.shuffle(kinds)
    seeds = itertools.count()
    async with Client(address) as client:
        for kind in kinds:
            if kind == "image":
                await _make_image(client, f"client {number}", next(seeds), wait=chance.random() < 0.5)
            elif kind == "format":
                _, _, answer = await client.send("POST", "/api/format-prompt", {"prompt": f"client {number}"})
                assert f"client {number}<|im_end|>" in json.loads(answer)["formatted_prompt"]
            else:
                status, _, _ = await client.send("GET", "/healthz" if kind == "health" else "/api/jobs")
                assert status == 200
    return len(kinds)


async def _make_image(client: Client, prompt: str, seed: int, *, wait: bool) -> None:
    body = {"prompt": prompt, "seed": seed, "num_inference_steps": 2}
    while True:
        status, headers, answer = await client.send("POST", f"/api/generate?wait={str(wait).lower()}", body)
        if status != 429:
            break
        assert int(headers["retry-after"]) >= 1
        await asyncio.sleep(0.25)
    if wait:
        assert status == 200, answer
        with Image.open(io.BytesIO(answer)) as image:
            assert image.getpixel((0, 0)) == colour_of(prompt, seed)
        return
    assert status == 202, answer
    job = json.loads(answer)
    while job["state"] in ("waiting", "running"):
        await asyncio.sleep(0.1)
        job = json.loads((await client.send("GET", f"/api/jobs/{job['id']}"))[2])
    assert (job["state"], job["request"]["prompt"], job["request"]["seed"]) == ("done", prompt, seed)


def test_the_event_loop_answers_while_a_step_takes_long(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.gate.clear()
    with live_server(make_app(tmp_path, engine)) as address:
        wait_until(lambda: HTTP.get(f"{address}/healthz").json()["model"] == "ready")
        HTTP.post(f"{address}/api/generate", json={"prompt": "a fox"})
        wait_until(lambda: engine.running == 1)
        for path in ("/healthz", "/", "/history", "/metrics", "/v1/models"):
            assert HTTP.get(f"{address}{path}").status_code == 200, path
        assert engine.running == 1
        engine.gate.set()
