"""What a scorer's identity knows, and what is fetched of one on the hub."""

import shutil
from types import SimpleNamespace

import httpx
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import filter_repo_objects
from metric_models import write_image_reward, write_siglip

from experiments.metrics import ImageRewardScorer, SigLIPScorer, model_files
from experiments.metrics.model_files import find_model, model_identity
from llm_dit.checkpoints import file_hashes
from llm_dit.errors import LlmDitError

KINDS = [
    pytest.param(ImageRewardScorer, write_image_reward, id="image_reward"),
    pytest.param(SigLIPScorer, write_siglip, id="siglip"),
]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What the hub was asked for; it gives an empty folder."""
    given = {}

    def download(repo_id, **options):
        given.update(options, repo_id=repo_id)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return given


def fetch(model):
    return find_model(model, embedded="siglip-mini", patterns=["*.safetensors"])


@pytest.mark.parametrize(
    ("kind", "identity"),
    [(ImageRewardScorer, "image-reward-mini@670efb61ac3b"), (SigLIPScorer, "siglip-mini@c138cf87e8a4")],
)
def test_those_of_the_embedded_scorers_are_what_scores_were_given_with(kind, identity):
    assert kind(kind.embedded, device="cpu").metric.model == identity


def test_one_byte_in_the_middle_of_a_large_file_changes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(model_files, "READ_WHOLE_BYTES", 1000)
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(9 << 20))
    before = model_identity("a/b", tmp_path, [path])
    with path.open("r+b") as file:
        file.seek(4 << 20)
        file.write(b"\1")
    assert model_identity("a/b", tmp_path, [path]) != before


def test_a_large_file_is_hashed_once(tmp_path, monkeypatch):
    monkeypatch.setattr(model_files, "READ_WHOLE_BYTES", 1000)
    hashed = []
    digest = file_hashes.hashlib.file_digest
    counted = SimpleNamespace(file_digest=lambda file, kind: (hashed.append(file.name), digest(file, kind))[1])
    monkeypatch.setattr(file_hashes, "hashlib", counted)
    (tmp_path / "model.safetensors").write_bytes(bytes(1001))
    (tmp_path / "config.json").write_bytes(b"{}")
    read = [tmp_path / "model.safetensors", tmp_path / "config.json"]
    first = model_identity("a/b", tmp_path, read)
    assert model_identity("a/b", tmp_path, read) == first
    assert hashed == [str(read[0])]


@pytest.mark.parametrize(("kind", "write"), KINDS)
def test_files_that_are_not_read_do_not_change_it(kind, write, tmp_path):
    folder = write(tmp_path / "model")
    before = kind(folder, device="cpu").metric.model
    (folder / "notes.json").write_text("{}")
    (folder / "notes.txt").write_text("bought in spring")
    if kind is SigLIPScorer:
        shutil.copy(folder / "model.safetensors", folder / "model.fp16.safetensors")
    assert kind(folder, device="cpu").metric.model == before
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    assert kind(folder, device="cpu").metric.model != before


def test_a_revision_goes_to_the_hub_and_not_into_the_name(asked, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert fetch("google/siglip2@refs/pr/3") == tmp_path
    assert (asked["repo_id"], asked["revision"]) == ("google/siglip2", "refs/pr/3")
    named = model_identity("google/siglip2@refs/pr/3", tmp_path, [tmp_path / "config.json"])
    assert named == model_identity("google/siglip2", tmp_path, [tmp_path / "config.json"])
    assert named.startswith("google/siglip2@")
    fetch("google/siglip2")
    assert asked["revision"] is None


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        (ImageRewardScorer, ["ImageReward.pt", "config.json", "med_config.json"]),
        (
            SigLIPScorer,
            [
                "config.json",
                "model-00001-of-00002.safetensors",
                "model.safetensors.index.json",
                "preprocessor_config.json",
                "special_tokens_map.json",
                "tokenizer.json",
                "tokenizer_config.json",
            ],
        ),
    ],
)
def test_only_files_that_are_read_are_fetched(kind, read, asked):
    with pytest.raises(LlmDitError, match="has no"):
        kind("owner/name", device="cpu")
    unread = [
        "README.md",
        "generation_config.json",
        "model.fp16.safetensors",
        "model.fp16.safetensors.index.json",
        "onnx/config.json",
        "onnx/model.safetensors",
        "pytorch_model.bin",
        "training_args.json",
    ]
    patterns = {name: asked[name] for name in ("allow_patterns", "ignore_patterns")}
    assert list(filter_repo_objects(sorted(read + unread), **patterns)) == read


@pytest.mark.parametrize(
    ("model", "fault", "message"),
    [
        ("a/b@", None, "Scorer a/b@ names no revision; put a branch, tag or commit after the @"),
        ("./b@main", None, "Scorer folder ./b@main does not exist; give a folder, a hub id .*owner/name@revision"),
        ("b@main", None, "Scorer folder b@main does not exist"),
        ("here/b@main", None, "Scorer folder here/b is here, but @main is for models on the hub; leave it out"),
        ("a--a/b", "real", "Scorer a--a/b is no hub id: Cannot have -- or .. in repo_id"),
        ("a/b@v9", "revision", "Scorer a/b has no revision v9 on the hub"),
        ("a/b@v9", "offline", "Scorer a/b@v9 is not in the local cache and the hub can't be reached"),
    ],
)
def test_a_model_that_can_t_be_had_is_a_sentence(model, fault, message, tmp_path, monkeypatch):
    response = httpx.Response(404, request=httpx.Request("GET", "https://example.test"))
    faults = {
        "revision": RevisionNotFoundError("404 Client Error", response=response),
        "offline": LocalEntryNotFoundError("Cannot find an appropriate cached snapshot folder"),
    }

    def download(*_arguments, **_options):
        raise faults[fault]

    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "b").mkdir(parents=True)
    if fault != "real":
        monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(LlmDitError, match=message):
        fetch(model)
