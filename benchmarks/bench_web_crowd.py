"""What a crowd does to the page's answers: 400 wrong keys at once, and 2,000 jobs that wait.

`uv run benchmarks/bench_web_crowd.py`; the last line is JSON, in milliseconds and bytes. /healthz is asked every 20 ms
by a process of its own, while the crowd is another. All but `healthz_wrong_keys_idle` while an image is being made.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import secrets
import subprocess
import sys
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import click
import httpx

from benchmarks.bench_web_latency import wait_for_model

ROOT = Path(__file__).resolve().parents[1]
INTERVAL_S = 0.02
CLIENT = "0" * 32


@click.command()
@click.option("--wrong-keys", default=400, show_default=True, help="Logins with a wrong key, all at once.")
@click.option("--waiting", default=2000, show_default=True, help="Jobs that wait.")
@click.option("--port", default=8902, show_default=True, help="Port of the server under test.")
def main(wrong_keys: int, waiting: int, port: int) -> None:
    """Measure and print."""
    key = secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "web/server.py", "--port", str(port), "--data-dir", folder, "--api-key", key]
        server = subprocess.Popen([*command, "--queue-size", str(waiting + 1)], cwd=ROOT)
        try:
            result = asyncio.run(_measure(f"http://127.0.0.1:{port}", key, wrong_keys, waiting))
        finally:
            server.kill()  # thousands of jobs need not be recorded
            server.wait(30)
    click.echo(json.dumps(result | {"cpu_count": os.cpu_count()}))


async def _measure(address: str, key: str, wrong_keys: int, waiting: int) -> dict[str, Any]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
        await wait_for_model(client)
        idle, statuses = await _guess(client, address, wrong_keys)
        client.headers["Authorization"] = f"Bearer {key}"
        body = {"prompt": "a red fox", "num_inference_steps": 1000}
        running = (await client.post("/api/generate", json=body)).json()["id"]
        with _Watch(address) as quiet:
            await asyncio.sleep(3)
        crowded, _ = await _guess(client, address, wrong_keys)
        with _Watch(address) as filling:
            for _ in range(0, waiting, 50):
                await asyncio.gather(*(client.post("/api/generate", json=body) for _ in range(50)))
        with _Watch(address) as moving:
            events = await _events_of_an_end(client, running)
    return {
        "wrong_keys": {str(status): statuses.count(status) for status in sorted(set(statuses))},
        "healthz_wrong_keys_idle": idle,
        "healthz_quiet": quiet.result,
        "healthz_wrong_keys": crowded,
        "healthz_while_queueing": filling.result,
        "healthz_while_a_job_ends": moving.result,
        "waiting": waiting,
        **events,
    }


async def _guess(client: httpx.AsyncClient, address: str, wrong_keys: int) -> tuple[dict[str, float], list[int]]:
    """Log in with wrong keys, all at once; return how long /healthz took meanwhile, and the statuses."""
    with _Watch(address) as watch:
        guesses = [client.post("/login", data={"key": f"guess {number}"}) for number in range(wrong_keys)]
        answers = await asyncio.gather(*guesses)
    return watch.result, [answer.status_code for answer in answers]


async def _events_of_an_end(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    """Open a page's stream, cancel the job that runs, and return what the events take and weigh."""
    sizes: list[int] = []
    told_ms = 0.0
    async with client.stream("GET", f"/api/events?client={CLIENT}") as stream:
        async for line in stream.aiter_lines():
            if not line.startswith("data: "):
                continue
            sizes.append(len(line))
            if len(sizes) == 1:
                began = time.perf_counter()
                await client.delete(f"/api/jobs/{job_id}")
            elif f'"{job_id}"' not in line.partition('"active"')[2].partition("]")[0]:
                if '"active": null' in line:
                    continue
                told_ms = 1000 * (time.perf_counter() - began)
                break
    return {"first_event_bytes": sizes[0], "event_of_an_end_bytes": sizes[-1], "event_of_an_end_ms": round(told_ms, 1)}


class _Watch:
    """Asks /healthz from another process while its block runs.

    Attributes:
        result: Answers, their median and the slowest, in milliseconds.
    """

    def __init__(self, address: str) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._address = address
        self.result: dict[str, float] = {}

    def __enter__(self) -> _Watch:
        self._ours, theirs = self._context.Pipe()
        self._is_over = self._context.Event()
        self._process = self._context.Process(target=_ask, args=(self._address, theirs, self._is_over))
        self._process.start()
        self._ours.recv()  # it asks
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.result = self._ours.recv()
        self._process.join()


def _ask(address: str, connection: Any, is_over: Event) -> None:
    times = []
    with httpx.Client(base_url=address, timeout=60) as client:
        client.get("/healthz")
        connection.send(None)
        while not is_over.wait(INTERVAL_S):
            began = time.perf_counter()
            client.get("/healthz").raise_for_status()
            times.append(1000 * (time.perf_counter() - began))
    times.sort()
    connection.send({"answers": len(times), "p50": round(times[len(times) // 2], 1), "max": round(times[-1], 1)})


if __name__ == "__main__":
    main()
