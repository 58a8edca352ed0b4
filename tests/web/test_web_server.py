"""The command `web/server.py`."""

from __future__ import annotations

import subprocess
import sys

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


def test_the_help_needs_neither_the_web_framework_nor_torch() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from web.server import main\n"
        "result = CliRunner().invoke(main, ['--help']); assert '--api-key' in result.output\n"
        "heavy = {'torch', 'fastapi', 'transformers', 'PIL', 'uvicorn'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
