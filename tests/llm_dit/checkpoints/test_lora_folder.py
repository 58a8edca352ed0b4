"""LoRAs found by name in their folder, and names that need quotes."""

import pytest

from llm_dit.checkpoints.lora_folder import find_lora, loras_in
from llm_dit.errors import CheckpointError, InvalidParameter
from llm_dit.parameters import GenerationParams
from llm_dit.parameters.loras import LoraEntry, lora_entries, loras_text, quoted_file


@pytest.fixture
def folder(tmp_path):
    for name in ("style.safetensors", "ink/fine.safetensors", "ink/twice.safetensors", "oil/twice.safetensors"):
        path = tmp_path / "loras" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return str(tmp_path / "loras")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("style.safetensors", "style.safetensors"),
        ("style", "style.safetensors"),
        ("ink/fine.safetensors", "ink/fine.safetensors"),
        ("fine.safetensors", "ink/fine.safetensors"),
        ("fine", "ink/fine.safetensors"),
        ("oil/twice", "oil/twice.safetensors"),
    ],
)
def test_a_name_is_found_in_the_folder(folder, name, place):
    assert find_lora(name, folder).as_posix() == f"{folder}/{place}"


def test_a_path_that_is_there_wins_over_the_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "style.safetensors").touch()
    assert find_lora("style.safetensors", folder).resolve() == tmp_path / "style.safetensors"


def test_a_name_without_its_ending_is_told_where_the_file_lies_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "style.v2.safetensors").touch()
    with pytest.raises(
        CheckpointError, match=r"^LoRA style\.v2 does not exist; give style\.v2\.safetensors, which does\."
    ):
        find_lora("style.v2", None)


def test_what_is_nowhere_or_twice_is_a_sentence(folder):
    with pytest.raises(CheckpointError, match=r"^LoRA twice is there 2 times \(ink/twice.safetensors, oil/twice"):
        find_lora("twice", folder)
    with pytest.raises(CheckpointError, match=r"^LoRA gone is neither here nor in loras_folder; give a .safetensors"):
        find_lora("gone", folder)
    with pytest.raises(CheckpointError, match=r"^LoRA gone does not exist; give a .safetensors file, or set loras_fo"):
        find_lora("gone", None)
    with pytest.raises(CheckpointError, match=r"^LoRA /gone/style.safetensors does not exist"):
        find_lora("/gone/style.safetensors", folder)


def test_a_folder_lists_what_is_found_in_it(folder):
    assert loras_in(folder) == [
        "ink/fine.safetensors",
        "ink/twice.safetensors",
        "oil/twice.safetensors",
        "style.safetensors",
    ]


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("a.safetensors:0.5, b", [LoraEntry("a.safetensors", 0.5), LoraEntry("b", 1.0)]),
        ('"a, b.safetensors":0.5,c', [LoraEntry("a, b.safetensors", 0.5), LoraEntry("c", 1.0)]),
        ("'a, b'", [LoraEntry("a, b", 1.0)]),
        ('"say ""hi"", you":2', [LoraEntry('say "hi", you', 2.0)]),
        ('"style:2"', [LoraEntry("style:2", 1.0)]),
        ("style:2", [LoraEntry("style", 2.0)]),
        (r"C:\loras\a.safetensors:-1", [LoraEntry(r"C:\loras\a.safetensors", -1.0)]),
        ("it's:1#0123456789abcdef", [LoraEntry("it's", 1.0, "0123456789abcdef")]),
        ('"a#0123456789abcdef"', [LoraEntry("a#0123456789abcdef", 1.0)]),
        ("", []),
    ],
)
def test_entries_are_cut_at_commas_outside_of_quotes(text, entries):
    checked = GenerationParams(prompt="x", loras=text).loras
    assert lora_entries(checked) == entries
    assert lora_entries(loras_text(entries)) == entries


@pytest.mark.parametrize("file", ["a, b", "style:2", "a#0123456789abcdef", '"a', "'a", " a", 'a"b, c', "it's", "a:b"])
def test_a_quoted_name_is_read_as_it_was(file):
    assert lora_entries(quoted_file(file)) == [LoraEntry(file, 1.0)]


def test_only_names_that_need_them_get_quotes():
    assert quoted_file("ink/style 2.safetensors") == "ink/style 2.safetensors"
    assert quoted_file('a"b') == 'a"b'
    assert quoted_file("a, b") == '"a, b"'


@pytest.mark.parametrize(
    ("text", "problem"), [('"a, b:0.5', "a quote without its other half"), ("a,,b", "an empty en")]
)
def test_what_is_no_entry_is_a_sentence(text, problem):
    with pytest.raises(InvalidParameter, match=problem):
        GenerationParams.parse({"prompt": "x", "loras": text})


def test_a_folder_that_is_not_there_is_no_empty_one(tmp_path):
    with pytest.raises(CheckpointError, match=r"^loras_folder .*none does not exist; make it, or leave it out\.$"):
        loras_in(str(tmp_path / "none"))
