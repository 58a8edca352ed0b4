"""What `make coverage` asks of the rooms where every line is reached by a test: nothing is left out in silence."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["coverage"]


def is_left_out(line: str) -> bool:
    return any(re.search(pattern, line) for pattern in SETTINGS["report"]["exclude_lines"])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("        return  # pragma: no cover - the first is asked for alone", True),
        ("        return  # pragma: no cover", False),
        ("        return  # pragma: no cover -", False),
        ("        return", False),
        ("if TYPE_CHECKING:", True),
    ],
)
def test_a_line_is_left_out_only_with_its_reason(line, expected):
    assert is_left_out(line) == expected


def test_the_rooms_are_there_and_all_of_them_has_to_be_reached():
    rooms = [*SETTINGS["run"]["source"], *(f"{name.replace('.', '/')}.py" for name in SETTINGS["run"]["source_pkgs"])]
    assert [room for room in rooms if not (ROOT / room).exists()] == []
    assert SETTINGS["report"]["fail_under"] == 100
