"""The command `web/server.py`."""

from __future__ import annotations

import re
import socket
import subprocess
import sys

import pytest
import uvicorn
from click.testing import CliRunner

from web.server import main


def test_other_addresses_without_a_key_are_refused_by_name_of_the_flags() -> None:
    result = CliRunner().invoke(main, ["--host", "0.0.0.0"])
    assert result.exit_code == 2
    assert (
        result.stderr
        == "Error: --host 0.0.0.0 can be reached by other machines; give --api-key, or listen on 127.0.0.1.\n"
    )


def test_a_value_out_of_range_is_told_with_its_flag() -> None:
    result = CliRunner().invoke(main, ["--history-size", "0"])
    assert result.exit_code == 2
    assert "--history-size 0" in result.stderr.replace("'", "")


def test_a_port_that_is_taken_is_told_with_the_next_step(tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["--port", str(port), "--data-dir", str(tmp_path / "data")])
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(
        rf"Error: --host 127\.0\.0\.1 --port {port} can't be listened on \(Address already in use\); give another "
        rf"--port, such as {port % 65535 + 1}, or 0 for any that is free\.\n",
        result.stderr,
    )
    assert not (tmp_path / "data").exists()


def test_any_free_port_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    ports: list[int] = []

    def run(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        ports.extend(of.getsockname()[1] for of in sockets)
        server.started = True

    monkeypatch.setattr(uvicorn.Server, "run", run)
    monkeypatch.setattr("web.app.create_app", lambda config: None)
    result = CliRunner().invoke(main, ["--port", "0"])
    assert (result.exit_code, result.stdout) == (0, f"llm-dit: http://127.0.0.1:{ports[0]}  (Ctrl+C stops it)\n")
    assert ports[0] > 0


def test_the_help_needs_neither_the_web_framework_nor_torch() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from web.server import main\n"
        "result = CliRunner().invoke(main, ['--help']); assert '--api-key' in result.output\n"
        "heavy = {'torch', 'fastapi', 'transformers', 'PIL', 'uvicorn'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
