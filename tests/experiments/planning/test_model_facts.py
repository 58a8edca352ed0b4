"""A model's facts: its files are read once, and again when one of them changes."""

import io
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from experiments.planning import model_facts
from experiments.planning.model_facts import read_model_facts
from llm_dit.checkpoints.finding import EMBEDDED_MODELS
from llm_dit.errors import CheckpointError, InvalidParameter
from llm_dit.parameters import EngineSettings, GenerationParams


@pytest.fixture(autouse=True)
def nothing_kept():
    """Each test reads anew what another has read."""
    forget()
    yield
    forget()


def forget() -> None:
    model_facts._read_token_counter.cache_clear()
    model_facts._kept.clear()


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
    return found


@pytest.fixture
def opened(monkeypatch, tmp_path) -> list[str]:
    """Files of `model` opened, in order."""
    found: list[str] = []
    whole = io.open

    def counting(file, *arguments, **options):
        if str(file).startswith(f"{tmp_path / 'model'}/"):
            found.append(str(Path(file).relative_to(tmp_path / "model")))
        return whole(file, *arguments, **options)

    monkeypatch.setattr(io, "open", counting)
    return found


@pytest.fixture
def model(tmp_path) -> Path:
    """A copy of mini, written an hour ago."""
    shutil.copytree(EMBEDDED_MODELS / "mini", tmp_path / "model", copy_function=shutil.copyfile)
    hour_ago = time.time() - 3600
    for path in (tmp_path / "model").rglob("*"):
        os.utime(path, (hour_ago, hour_ago))
    return tmp_path / "model"


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


def test_a_tokenizer_put_in_the_place_of_another_of_its_size_and_time_is_read(reads, tmp_path):
    shutil.copytree(EMBEDDED_MODELS / "mini" / "tokenizer", tmp_path / "tokenizer")
    path = tmp_path / "tokenizer" / "tokenizer.json"
    model_facts._token_counter(path)
    shutil.copy2(path, tmp_path / "other.json")
    (tmp_path / "other.json").replace(path)
    model_facts._token_counter(path)
    assert len(reads) == 2


@pytest.mark.parametrize("is_longer", [False, True])
def test_a_tokenizer_of_another_time_or_another_size_is_read_again(reads, tmp_path, is_longer):
    shutil.copytree(EMBEDDED_MODELS / "mini" / "tokenizer", tmp_path / "tokenizer")
    path = tmp_path / "tokenizer" / "tokenizer.json"
    before = path.stat()
    model_facts._token_counter(path)
    if is_longer:
        path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        os.utime(path, (1e9, 1e9))
    model_facts._token_counter(path)
    assert len(reads) == 2


def test_tokens_that_a_tokenizer_would_add_by_itself_are_not_counted(tmp_path):
    tokenizer = Tokenizer.from_file(str(EMBEDDED_MODELS / "mini" / "tokenizer" / "tokenizer.json"))
    plain = len(tokenizer.encode("A red cat").ids)
    name = "<|im_start|>"
    special = [(name, tokenizer.token_to_id(name))]
    tokenizer.post_processor = TemplateProcessing(single=f"{name} $A {name}", special_tokens=special)
    shutil.copytree(EMBEDDED_MODELS / "mini" / "tokenizer", tmp_path / "tokenizer")
    tokenizer.save(str(tmp_path / "tokenizer" / "tokenizer.json"))
    assert len(tokenizer.encode("A red cat").ids) == plain + 2
    assert model_facts._token_counter(tmp_path / "tokenizer" / "tokenizer.json")("A red cat") == plain


def test_two_tokenizers_are_not_mistaken_for_each_other(reads, tmp_path):
    for name in ("one", "other"):
        shutil.copytree(EMBEDDED_MODELS / "mini" / "tokenizer", tmp_path / name)
        model_facts._token_counter(tmp_path / name / "tokenizer.json")
    assert len(reads) == 2


CONFIGURATIONS = ["scheduler/scheduler_config.json"] + [
    f"{component}/config.json" for component in ("text_encoder", "transformer", "vae")
]


def test_a_model_is_read_once_for_any_number_of_plans(opened, model):
    settings = EngineSettings(model_path=str(model))
    first = read_model_facts(settings)
    assert set(CONFIGURATIONS) <= set(opened)
    opened.clear()
    assert [read_model_facts(settings) for _ in range(5)] == [first] * 5
    assert opened == []


@pytest.mark.parametrize(
    ("path", "key", "value", "fact"),
    [
        ("vae/config.json", "sample_size", 256, lambda facts: facts.native_size),
        ("text_encoder/config.json", "max_position_embeddings", 99, lambda facts: facts.encoder_token_limit),
        ("scheduler/scheduler_config.json", "shift", 7.5, lambda facts: facts.scheduler.shift),
    ],
)
def test_a_configuration_that_changed_is_read_again(model, path, key, value, fact):
    settings = EngineSettings(model_path=str(model))
    before = read_model_facts(settings)
    config = json.loads((model / path).read_text(encoding="utf-8"))
    (model / path).write_text(json.dumps({**config, key: value}), encoding="utf-8")
    assert fact(before) != value
    assert fact(read_model_facts(settings)) == value


@pytest.mark.parametrize(
    "path",
    [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer.json",
        "text_encoder/model.safetensors",
        "transformer/config.json",
        "vae/config.json",
    ],
)
def test_every_file_of_a_model_is_watched(opened, model, path):
    settings = EngineSettings(model_path=str(model))
    read_model_facts(settings)
    os.utime(model / path, (1e9, 1e9))
    opened.clear()
    read_model_facts(settings)
    assert set(CONFIGURATIONS) <= set(opened)


def test_a_model_without_a_scheduler_is_read_once_too(opened, model):
    shutil.rmtree(model / "scheduler")
    settings = EngineSettings(model_path=str(model))
    assert read_model_facts(settings).scheduler.shift == 3.0
    opened.clear()
    read_model_facts(settings)
    assert opened == []


def test_weights_that_are_gone_are_missed_although_the_model_was_read(model):
    settings = EngineSettings(model_path=str(model))
    read_model_facts(settings)
    (model / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"holds no \*\.safetensors weights"):
        read_model_facts(settings)


def test_a_file_written_this_second_is_read_anew(opened, model):
    settings = EngineSettings(model_path=str(model))
    os.utime(model / "vae" / "config.json")
    read_model_facts(settings)
    opened.clear()
    read_model_facts(settings)
    assert set(CONFIGURATIONS) <= set(opened)


def test_a_file_written_more_than_a_second_ago_is_not_read_again(opened, model):
    settings = EngineSettings(model_path=str(model))
    os.utime(model / "vae" / "config.json", (time.time() - 1.2,) * 2)
    read_model_facts(settings)
    opened.clear()
    read_model_facts(settings)
    assert opened == []


def test_parts_given_apart_are_told_from_the_models_own(model, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(model / "vae", other)
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    (other / "config.json").write_text(json.dumps({**config, "sample_size": 512}), encoding="utf-8")
    own, apart = EngineSettings(model_path=str(model)), EngineSettings(model_path=str(model), vae_path=str(other))
    sizes = [read_model_facts(settings).native_size for settings in (own, apart, own)]
    assert sizes == [128, 512, 128]


def test_a_part_that_is_a_single_file_is_watched_with_its_folder(model, tmp_path):
    shutil.copytree(model / "vae", tmp_path / "other")
    weights = tmp_path / "other" / "diffusion_pytorch_model.safetensors"
    (tmp_path / "other" / "config.json").rename(weights.with_suffix(".json"))
    os.utime(weights, (1e9, 1e9))
    settings = EngineSettings(model_path=str(model), vae_path=str(weights))
    first = read_model_facts(settings)
    assert read_model_facts(settings) is first
    os.utime(weights, (1.1e9, 1.1e9))
    assert read_model_facts(settings) is not first


def test_the_four_models_asked_for_last_are_kept(reads, model):
    models = [model.with_name(f"model{number}") for number in range(5)]
    for copy in models:
        shutil.copytree(model, copy)
        read_model_facts(EngineSettings(model_path=str(copy)))
    assert [json.loads(asked)["model_path"] for asked in model_facts._kept] == [str(copy) for copy in models[1:]]


def test_a_model_whose_file_changed_counts_as_the_newest_again(reads, model):
    models = [model.with_name(f"model{number}") for number in range(4)]
    for copy in models:
        shutil.copytree(model, copy)
        read_model_facts(EngineSettings(model_path=str(copy)))
    os.utime(models[0] / "vae" / "config.json", (1e9, 1e9))
    read_model_facts(EngineSettings(model_path=str(models[0])))
    read_model_facts(EngineSettings(model_path=str(model)))
    kept = [json.loads(asked)["model_path"] for asked in model_facts._kept]
    assert kept == [str(copy) for copy in (*models[2:], models[0], model)]


def test_a_folder_with_a_link_to_nowhere_is_read_each_time(opened, model):
    (model / "vae" / "notes").symlink_to(model / "nowhere")
    settings = EngineSettings(model_path=str(model))
    assert read_model_facts(settings).native_size == 128
    opened.clear()
    assert read_model_facts(settings).native_size == 128
    assert set(CONFIGURATIONS) <= set(opened)


def test_a_newer_revision_fetched_from_the_hub_is_read(reads, model, tmp_path, monkeypatch):
    newer = tmp_path / "newer"
    shutil.copytree(model, newer)
    config = json.loads((newer / "vae" / "config.json").read_text(encoding="utf-8"))
    (newer / "vae" / "config.json").write_text(json.dumps({**config, "sample_size": 256}), encoding="utf-8")
    fetched, asked = [model, newer], []

    def snapshot(*names, **options):
        asked.append((names, options))
        return str(fetched[0])

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    settings = EngineSettings(model_path="someone/a-model", model_revision="v2")
    assert [read_model_facts(settings).native_size for _ in range(2)] == [128, 128]
    fetched.pop(0)
    assert read_model_facts(settings).native_size == 256
    assert asked == [(("someone/a-model",), {"revision": "v2", "local_files_only": True})] * len(asked)


@pytest.mark.parametrize("model_path", ["someone/a-model-that-nobody-fetched", "someone/-no-name"])
def test_a_model_of_the_hub_is_not_fetched_for_a_plan(tmp_path, monkeypatch, model_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError) as refused:
        read_model_facts(EngineSettings(model_path=model_path))
    assert str(refused.value) == (
        f"{model_path} has not been fetched from the hub yet, so its depth and size are not known; run one image with "
        "scripts/generate.py first, or give a folder."
    )
    assert refused.value.field == "model_path"


@pytest.mark.parametrize("model_path", ["./no/model", "/no/model", "~/no/model-of-mine"])
def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(monkeypatch, model_path):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_names, **_options: pytest.fail("asked the hub"))
    with pytest.raises(CheckpointError) as refused:
        read_model_facts(EngineSettings(model_path=model_path))
    assert "fetched" not in str(refused.value)


def test_a_relative_folder_with_a_slash_is_no_model_of_the_hub(model, monkeypatch):
    monkeypatch.chdir(model.parent.parent)
    path = f"{model.parent.name}/{model.name}"
    assert read_model_facts(EngineSettings(model_path=path)).native_size == 128
    with pytest.raises(InvalidParameter, match="model_revision v2 is for models on the hub"):
        read_model_facts(EngineSettings(model_path=path, model_revision="v2"))


def test_a_configuration_without_a_key_is_named(model):
    config = json.loads((model / "text_encoder" / "config.json").read_text(encoding="utf-8"))
    del config["max_position_embeddings"]
    (model / "text_encoder" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError) as refused:
        read_model_facts(EngineSettings(model_path=str(model)))
    assert str(refused.value) == (f"{model}: a config.json has no key 'max_position_embeddings'; fetch it again.")


def test_facts_are_the_numbers_of_the_configurations():
    facts = read_model_facts(EngineSettings())

    def config(part):
        return json.loads((EMBEDDED_MODELS / "mini" / part / "config.json").read_text(encoding="utf-8"))

    text_encoder, transformer = config("text_encoder"), config("transformer")
    assert facts.hidden_layer_count == text_encoder["num_hidden_layers"] + 1
    assert facts.encoder_token_limit == text_encoder["max_position_embeddings"]
    blocks = transformer["n_layers"] + transformer["n_refiner_layers"] * 2  # of the noise and of the caption
    assert facts.transformer_parameters == 12 * transformer["dim"] ** 2 * blocks
    assert facts.native_size == 128


def test_parameters_are_filled_in_from_the_model_and_a_layer_it_lacks_is_refused():
    facts = read_model_facts(EngineSettings())
    filled = facts.checked(GenerationParams(prompt="A cat", width=64, hidden_layer=-facts.hidden_layer_count))
    assert (filled.height, filled.width, filled.shift) == (128, 64, facts.scheduler.shift)
    with pytest.raises(InvalidParameter):
        facts.checked(GenerationParams(prompt="A cat", hidden_layer=-facts.hidden_layer_count - 1))
