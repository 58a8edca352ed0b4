"""Write `tested-versions.txt`: the packages of this environment, which the suite has just passed with."""

from __future__ import annotations

from importlib.metadata import distributions
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import Version

FILE = Path(__file__).resolve().parents[1] / "tested-versions.txt"
OWN = "llm-dit"
HEAD = """\
# Names and versions with which the whole test suite passed; install them by
#     uv pip install --constraint tested-versions.txt --editable .
"""


def tested_versions() -> str:
    """Return the text of the file: a line for each package but our own, local parts (`+cpu`) left out."""
    found = {canonicalize_name(item.metadata["Name"]): Version(item.version).public for item in distributions()}
    del found[canonicalize_name(OWN)]
    return HEAD + "".join(f"{name}=={found[name]}\n" for name in sorted(found))


if __name__ == "__main__":
    FILE.write_text(tested_versions(), encoding="utf-8")
