"""Names of levels and files at their borders, and names that results on disk already have."""

from __future__ import annotations

import hashlib

import pytest

from experiments.planning.naming import level_name, path_level_names, run_id, safe_name


def short_hash(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "none"),
        (True, "true"),
        (False, "false"),
        (3, "3"),
        (3.0, "3.0"),
        ("", "empty"),
        ("none", "'none'"),
        ("empty", "'empty'"),
        ("true", "'true'"),
        ("false", "'false'"),
        ("None", "None"),
        ("a cat, sitting", "a cat, sitting"),
        ("x" * 60, "x" * 60),
    ],
)
def test_a_value_names_its_level(value: object, name: str) -> None:
    assert level_name(value) == name


@pytest.mark.parametrize(
    ("value", "readable"),
    [
        ("x" * 61, "x" * 40),
        ("two\nlines", "two lines"),
        ("two  blanks", "two blanks"),
        (" ahead", "ahead"),
        ("bell\a", "bell"),
        ("y" * 39 + " " + "z" * 30, "y" * 39),
    ],
)
def test_what_is_no_short_line_is_shortened_and_has_the_hash_of_the_whole(value: str, readable: str) -> None:
    assert level_name(value) == f"{readable}… {short_hash(value, 6)}"


@pytest.mark.parametrize("text", ["a", "7", "-2", "3.0", "a_b-c.d", "a" * 40, "-" + "a" * 40])
def test_a_text_that_is_a_safe_name_stays(text: str) -> None:
    assert safe_name(text) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A cat", "a-cat"),
        ("a.", "a"),
        ("a" * 41, "a" * 24),
        ("--a", "a"),
        ("_a", "a"),
        (".a", "a"),
        ("Größe", "gro-e"),
        ("ÉTÉ", "ete"),
        ("(a/b)", "a-b"),
        ("(" + "A" * 30, "a" * 24),
        ("abcdefghijklmnopqrstuvw xyz", "abcdefghijklmnopqrstuvw"),
        ("!" * 200 + "late", ""),
        ("!" * 199 + "late", "l"),
        ("猫", ""),
        ("", ""),
    ],
)
def test_any_other_text_is_folded_to_ascii_and_has_its_hash(text: str, words: str) -> None:
    folded = {"Größe": "groe"}.get(text, words)  # ß has no letter that it is made of
    assert safe_name(text) == "-".join(part for part in (folded, short_hash(text, 8)) if part)


def test_a_run_is_called_as_results_on_disk_are() -> None:
    levels = {"shift": "3.0", "hidden_layer": "-2"}
    assert run_id("shift_sweep", "animal_001", levels, 42) == (
        "shift_sweep_animal_001_shift_3.0_hidden_layer_-2_seed42"
    )
    assert run_id("E" * 64, "p", {}, 1) == "E" * 64 + "_p_seed1"
    assert run_id("E" * 65, "p", {}, 1) == f"{'e' * 24}-{short_hash('E' * 65, 8)}_p_seed1"


@pytest.mark.parametrize(("seed", "is_shortened"), [(1, False), (12, True)])
def test_a_run_id_has_at_most_200_characters(seed: int, is_shortened: bool) -> None:
    levels = {"a" * 40: "b" * 40, "c" * 40: "d" * 28}
    stem = "_".join(["e" * 34, "p" * 7, *(f"{axis}_{level}" for axis, level in levels.items())])
    whole = f"{stem}_seed{seed}"
    assert len(whole) == 200 + is_shortened
    shortened = f"{stem[:160]}-{short_hash(stem, 16)}_seed{seed}"
    assert run_id("e" * 34, "p" * 7, levels, seed) == (shortened if is_shortened else whole)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/m/a.safetensors", "/m/b.gguf"], ["a.safetensors", "b.gguf"]),
        (["/m/one/x.gguf", "/m/two/x.gguf", "y.gguf"], ["one/x.gguf", "two/x.gguf", "y.gguf"]),
        (["/m/one/x/f", "/n/one/x/f", "/n/two/x/f"], ["m/one/x/f", "n/one/x/f", "two/x/f"]),
        (["x", "sub/x"], ["x", "sub/x"]),
        (["someone/model", "mini", None], ["model", "mini", "none"]),
        (["/m/none", None], ["m/none", "none"]),
        (["/m/x", "/m/x"], ["//m/x", "//m/x"]),
    ],
)
def test_files_are_called_as_they_are_with_as_many_folders_as_tell_them_apart(
    paths: list[str | None], names: list[str]
) -> None:
    assert path_level_names(paths) == names
