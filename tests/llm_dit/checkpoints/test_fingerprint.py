"""What a fingerprint knows: every byte that is read, and nothing else."""

import json
import os
import shutil

import pytest
from safetensors.torch import load_file, save_file

from llm_dit.checkpoints import file_hashes
from llm_dit.checkpoints.file_hashes import cache_file, hashes_of
from llm_dit.checkpoints.finding import EMBEDDED_MODELS
from llm_dit.checkpoints.fingerprint import file_fingerprint, fingerprint

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(tiny_checkpoint, tmp_path):
    return shutil.copytree(tiny_checkpoint, tmp_path / "copy")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "llm-dit" / "file_hashes.json"


@pytest.fixture
def read(monkeypatch):
    """Names of the files that were hashed, in turn."""
    names = []
    digest = file_hashes.hashlib.file_digest
    monkeypatch.setattr(
        file_hashes.hashlib, "file_digest", lambda file, kind: (names.append(file.name), digest(file, kind))[1]
    )
    return names


@pytest.fixture
def large(monkeypatch):
    """Every model counts as large."""
    monkeypatch.setattr("llm_dit.checkpoints.fingerprint.READ_WHOLE_BYTES", 100)


def test_that_of_mini_is_what_results_were_made_with():
    expected = "f9a66d0addf5c3a0af7d9b6cef1449f52c88eba5b9a8b94eac5b886939993418"
    assert fingerprint(EMBEDDED_MODELS / "mini") == expected


def test_it_knows_the_weights_and_nothing_that_is_not_read(copy, tiny_checkpoint):
    before = fingerprint(tiny_checkpoint)
    assert fingerprint(copy) == before
    (copy / "README.md").write_text("notes")
    (copy / "tokenizer" / "merges.txt").write_text("a b")
    (copy / "vae" / "notes.json").write_text("{}")
    shutil.copy(copy / WEIGHTS, copy / "transformer" / "diffusion_pytorch_model.fp16.safetensors")
    (copy / "scheduler" / "scheduler_config.json").write_text('{"shift": 6.0}')  # the shift is in every record
    assert fingerprint(copy) == before
    tensors = load_file(copy / WEIGHTS)
    tensors["x_pad_token"].add_(1e-3)
    save_file(tensors, copy / WEIGHTS)
    assert fingerprint(copy) != before


@pytest.mark.usefixtures("large")
def test_every_byte_of_a_large_file_counts(copy):
    path = copy / WEIGHTS
    content = bytearray(path.read_bytes())
    seen = {fingerprint(copy)}
    for place in (len(content) // 3, len(content) // 2 + 1, len(content) - 1):
        content[place] ^= 1
        path.write_bytes(content)
        seen.add(fingerprint(copy))
        assert fingerprint(copy) in seen
    assert len(seen) == 4


def test_a_large_file_of_its_own_is_known_by_every_byte(tmp_path, monkeypatch):
    monkeypatch.setattr("llm_dit.checkpoints.fingerprint.READ_WHOLE_BYTES", 100)
    path = tmp_path / "lora.safetensors"
    path.write_bytes(bytes(1000))
    before = file_fingerprint(path)
    path.write_bytes(bytes(999) + b"\1")
    assert file_fingerprint(path) != before


def test_files_are_hashed_once_and_again_when_they_change(tmp_path, read, cache):
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    first = hashes_of([path])
    assert hashes_of([path]) == first
    assert len(read) == 1
    assert list(json.loads(cache.read_text())["files"]) == [str(path)]
    path.write_bytes(b"two")
    assert hashes_of([path]) != first
    assert len(read) == 2


def test_a_cache_too_large_to_be_ours_is_left_unread(tmp_path, read, cache, monkeypatch):
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    first = hashes_of([path])
    monkeypatch.setattr(file_hashes, "MAX_CACHE_BYTES", 10)
    assert hashes_of([path]) == first
    assert len(read) == 2


def test_an_edit_that_puts_size_and_time_back_is_seen(tmp_path, read):
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    first, status = hashes_of([path]), path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert hashes_of([path]) != first


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[1]",
        b'{"format": 1, "files": 3}',
        b'{"format": 9, "files": {}}',
        b"[" * 100_000,
        b"9" * 9000,
    ],
    ids=lambda content: repr(content[:12]),
)
def test_a_damaged_cache_costs_the_reading_again(tmp_path, cache, read, content):
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    first = hashes_of([path])
    cache.write_bytes(content)
    assert hashes_of([path]) == first
    assert len(read) == 2


@pytest.mark.parametrize("entry", [[3, 1, 1], [3, 1, 1, "zz" * 32], [True, 1, 1, "0" * 64], "x", None])
def test_a_damaged_entry_is_passed_over(tmp_path, cache, read, entry):
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    cache.parent.mkdir(parents=True)
    cache.write_text(json.dumps({"format": 1, "files": {str(path): entry}}))
    assert len(hashes_of([path])[0]) == 64
    assert len(read) == 1


def test_the_cache_is_bounded_and_whole(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(file_hashes, "MAX_REMEMBERED", 3)
    for number in range(6):
        (tmp_path / str(number)).write_text(str(number))
        hashes_of([tmp_path / str(number)])
    assert list(json.loads(cache.read_text())["files"]) == [str(tmp_path / str(number)) for number in (3, 4, 5)]
    assert list(cache.parent.iterdir()) == [cache]


def test_a_cache_that_can_not_be_written_costs_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(hashes_of([tmp_path / "file"])[0]) == 64
    assert cache_file().parent == tmp_path / "file" / "llm-dit"
