"""Many clients at once: nothing lost, nothing mixed up, and the server always answers."""

from __future__ import annotations

import asyncio
import io
import itertools
import random
from pathlib import Path

import httpx
from PIL import Image
from web_fakes import FakeEngine, colour_of
from web_server import live_server, make_app, wait_until

CLIENTS = 50
REQUESTS_EACH = 40
IMAGES_EACH = 10


def test_of_2000_mixed_requests_from_50_clients_none_is_lost_and_none_gets_anothers_image(tmp_path: Path) -> None:
    engine = FakeEngine()
    with live_server(make_app(tmp_path, engine, queue_size=20)) as address:
        wait_until(lambda: httpx.get(f"{address}/healthz").json()["model"] == "ready")
        answered = asyncio.run(_all_clients(address))
        assert httpx.get(f"{address}/api/jobs").json() == []
        history = httpx.get(f"{address}/api/history").json()
    assert sum(answered) == CLIENTS * REQUESTS_EACH
    assert engine.most_running == 1
    expected = sorted((f"client {client}", image) for client in range(CLIENTS) for image in range(IMAGES_EACH))
    assert sorted(engine.made) == expected
    assert len(history) == 50
    assert all(entry["state"] == "done" for entry in history)


async def _all_clients(address: str) -> list[int]:
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as client:
        return await asyncio.gather(*(_one_client(client, number) for number in range(CLIENTS)))


async def _one_client(client: httpx.AsyncClient, number: int) -> int:
    """Send this client's requests and return how many were answered as they should be."""
    chance = random.Random(number)
    kinds = ["image"] * IMAGES_EACH + ["format", "health", "jobs"] * ((REQUESTS_EACH - IMAGES_EACH) // 3)
    chance.shuffle(kinds)
    seeds = itertools.count()
    for kind in kinds:
        if kind == "image":
            await _make_image(client, f"client {number}", next(seeds), wait=chance.random() < 0.5)
        elif kind == "format":
            answer = await client.post("/api/format-prompt", json={"prompt": f"client {number}"})
            assert f"client {number}<|im_end|>" in answer.json()["formatted_prompt"]
        else:
            answer = await client.get("/healthz" if kind == "health" else "/api/jobs")
            assert answer.status_code == 200
    return len(kinds)


async def _make_image(client: httpx.AsyncClient, prompt: str, seed: int, *, wait: bool) -> None:
    body = {"prompt": prompt, "seed": seed, "num_inference_steps": 2}
    while True:
        answer = await client.post("/api/generate", params={"wait": wait}, json=body)
        if answer.status_code != 429:
            break
        assert int(answer.headers["retry-after"]) >= 1
        await asyncio.sleep(0.05)
    if wait:
        assert answer.status_code == 200, answer.text
        with Image.open(io.BytesIO(answer.content)) as image:
            assert image.getpixel((0, 0)) == colour_of(prompt, seed)
        return
    assert answer.status_code == 202, answer.text
    job = answer.json()
    while job["state"] in ("waiting", "running"):
        await asyncio.sleep(0.02)
        job = (await client.get(f"/api/jobs/{job['id']}")).json()
    assert (job["state"], job["request"]["prompt"], job["request"]["seed"]) == ("done", prompt, seed)


def test_the_event_loop_answers_while_a_step_takes_long(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.gate.clear()
    with live_server(make_app(tmp_path, engine)) as address:
        wait_until(lambda: httpx.get(f"{address}/healthz").json()["model"] == "ready")
        httpx.post(f"{address}/api/generate", json={"prompt": "a fox"})
        wait_until(lambda: engine.running == 1)
        for path in ("/healthz", "/", "/history", "/metrics", "/v1/models"):
            assert httpx.get(f"{address}{path}").status_code == 200, path
        assert engine.running == 1
        engine.gate.set()
