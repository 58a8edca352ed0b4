"""How long /healthz takes while an image is being made: 50 clients, percentiles in milliseconds.

`uv run benchmarks/bench_web_latency.py [--model-path mini]`; the last line is JSON. The bound is 50 ms at the
99th percentile on two cores. Server and clients are two processes on the same cores.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import httpx

ROOT = Path(__file__).resolve().parents[1]
BOUND_MS = 50


@click.command()
@click.option("--model-path", default="mini", show_default=True, help="Model that makes the image.")
@click.option("--clients", default=50, show_default=True, help="Clients at once.")
@click.option("--seconds", default=10.0, show_default=True, help="How long they ask.")
@click.option("--pause-s", default=0.5, show_default=True, help="Pause of a client between two questions.")
@click.option("--port", default=8901, show_default=True, help="Port of the server under test.")
def main(model_path: str, clients: int, seconds: float, pause_s: float, port: int) -> None:
    """Measure and print the percentiles."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "web/server.py", "--model-path", model_path, "--port", str(port)]
        server = subprocess.Popen([*command, "--data-dir", folder], cwd=ROOT)
        try:
            result = asyncio.run(_measure(f"http://127.0.0.1:{port}", clients, seconds, pause_s))
        finally:
            server.terminate()
            server.wait(30)
    result = result | {"model_path": model_path, "clients": clients, "cpu_count": os.cpu_count(), "bound_ms": BOUND_MS}
    click.echo(json.dumps(result))


async def _measure(address: str, clients: int, seconds: float, pause_s: float) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=httpx.Limits(max_connections=clients)) as client:
        await wait_for_model(client)
        job = (await client.post("/api/generate", json={"prompt": "a red fox", "num_inference_steps": 1000})).json()
        await asyncio.sleep(0.5)
        end = time.perf_counter() + seconds
        times = await asyncio.gather(*(_ask(client, end, pause_s, number / clients) for number in range(clients)))
        state = (await client.get(f"/api/jobs/{job['id']}")).json()
        await client.delete(f"/api/jobs/{job['id']}")
    in_ms = sorted(1000 * value for part in times for value in part)
    return {
        "requests": len(in_ms),
        "p50_ms": round(in_ms[len(in_ms) // 2], 2),
        "p99_ms": round(in_ms[int(len(in_ms) * 0.99)], 2),
        "max_ms": round(in_ms[-1], 2),
        "steps_done": state["step"],
    }


async def wait_for_model(client: httpx.AsyncClient) -> None:
    """Return when the server's model is ready; two minutes at most."""
    for _ in range(600):
        try:
            if (await client.get("/healthz")).json()["model"] == "ready":
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.2)
    raise click.ClickException("The server's model did not become ready.")


async def _ask(client: httpx.AsyncClient, end: float, pause_s: float, share: float) -> list[float]:
    """Ask again and again until `end`; return the seconds of each answer."""
    times = []
    await asyncio.sleep(share * pause_s)
    while time.perf_counter() < end:
        began = time.perf_counter()
        (await client.get("/healthz")).raise_for_status()
        times.append(time.perf_counter() - began)
        await asyncio.sleep(pause_s)
    return times


if __name__ == "__main__":
    main()
