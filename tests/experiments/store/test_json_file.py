"""JSON objects in files: readable by people, refused where they could not be read again."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from experiments.store.json_file import read_json, write_json


def test_a_file_has_a_line_per_key_letters_of_any_script_and_an_end_of_line(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"prompt": "猫", "levels": [1, 2.5]})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == (
        '{\n "prompt": "猫",\n "levels": [\n  1,\n  2.5\n ]\n}\n'
    )
    assert read_json(tmp_path / "a.json") == {"prompt": "猫", "levels": [1, 2.5]}


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_is_no_json_is_not_written(tmp_path: Path, number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"score": number})
    assert not (tmp_path / "a.json").exists()


def test_a_name_in_other_bytes_comes_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"folder": "caf\udce9"})
    assert b'"caf\\udce9"' in (tmp_path / "a.json").read_bytes()
    assert read_json(tmp_path / "a.json") == {"folder": "caf\udce9"}


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"[1]", b"null", b'{"a": "\xe9"}', b"[" * 100_000])
def test_what_is_no_whole_object_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    assert read_json(tmp_path / "a.json") is None


def test_a_missing_file_and_a_folder_are_none(tmp_path: Path) -> None:
    assert read_json(tmp_path / "gone.json") is None
    assert read_json(tmp_path) is None


def test_a_file_of_many_portions_is_read_whole(tmp_path: Path) -> None:
    values = {"prompts": [f"a cat, take {index}" for index in range(20_000)]}
    write_json(tmp_path / "a.json", values)
    assert (tmp_path / "a.json").stat().st_size > 5 * 2**16
    assert read_json(tmp_path / "a.json") == values
