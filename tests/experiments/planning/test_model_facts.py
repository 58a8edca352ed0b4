"""A model's facts: the tokenizer is read once, and again when its file changes."""

import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from experiments.planning import model_facts
from experiments.planning.model_facts import read_model_facts
from llm_dit.checkpoints.finding import EMBEDDED_MODELS
from llm_dit.parameters import EngineSettings


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The tokenizer files read, in order."""
    found: list[str] = []

    class Counting:
        @staticmethod
        def from_file(path: str) -> Tokenizer:
            found.append(path)
            return Tokenizer.from_str(Path(path).read_text(encoding="utf-8"))

    monkeypatch.setattr("tokenizers.Tokenizer", Counting)
    model_facts._read_token_counter.cache_clear()
    yield found
    model_facts._read_token_counter.cache_clear()


def test_a_tokenizer_is_read_once_for_any_number_of_plans(reads):
    facts = [read_model_facts(EngineSettings()) for _ in range(5)]
    assert len(reads) == 1
    assert facts[0].count_tokens("A red cat") == facts[4].count_tokens("A red cat") > 0


def test_a_tokenizer_that_changed_is_read_again(reads, tmp_path):
    shutil.copytree(EMBEDDED_MODELS / "mini" / "tokenizer", tmp_path / "tokenizer")
    path = tmp_path / "tokenizer" / "tokenizer.json"
    model_facts._token_counter(path)
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    model_facts._token_counter(path)
    model_facts._token_counter(path)
    assert len(reads) == 2


def test_two_tokenizers_are_not_mistaken_for_each_other(reads, tmp_path):
    for name in ("one", "other"):
        shutil.copytree(EMBEDDED_MODELS / "mini" / "tokenizer", tmp_path / name)
        model_facts._token_counter(tmp_path / name / "tokenizer.json")
    assert len(reads) == 2
