"""What the tests themselves cost."""

import subprocess
import sys


def test_every_process_of_the_tests_keeps_what_it_compiles():
    assert not sys.dont_write_bytecode
    told = "import sys; print(sys.dont_write_bytecode, sys.pycache_prefix)"
    child = subprocess.run([sys.executable, "-c", told], check=True, capture_output=True, text=True)
    assert child.stdout.strip() == f"False {sys.pycache_prefix}"
