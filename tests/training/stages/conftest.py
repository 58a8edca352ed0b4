"""Everything that the stages of a training begin with, tiny: world, tokenizers, samples, contrasts and a generator."""

from pathlib import Path

import pytest
import torch
from tiny_training import CPU, TINY_LANGUAGE_MODEL, TINY_TRANSFORMER, TINY_VAE
from tiny_world import write_tiny_world
from tokenizers import Tokenizer

from training.learning.flow_network import FlowModel, build_transformer
from training.pictures.render import Renderer
from training.stages import language_model, vae
from training.stages.batched_euler import Generator
from training.stages.contrasts import Contrasts, make_contrasts
from training.stages.dataset import Samples, make_samples
from training.stages.scorer_tokenizer import train_scorer_tokenizer
from training.stages.tokenizer import train_tokenizer, write_tokenizer
from training.words.samples import sample_world
from training.world.world import World


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def world_path(tmp_path_factory) -> Path:
    return write_tiny_world(tmp_path_factory.mktemp("world") / "sprites.npz")


@pytest.fixture(scope="session")
def world(world_path) -> World:
    return World.load(world_path)


@pytest.fixture(scope="session")
def words(world) -> Tokenizer:
    return train_scorer_tokenizer(sample_world(world, 200, 2).captions, 400)


@pytest.fixture(scope="session")
def contrasts(world, words) -> Contrasts:
    return make_contrasts(world, words, 30, 4, 1)


@pytest.fixture(scope="session")
def tokenizer_path(world, tmp_path_factory) -> Path:
    batch = sample_world(world, 200, 1)
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(train_tokenizer([*batch.captions, *batch.dialogues], 600), folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(tokenizer_path) -> Tokenizer:
    return Tokenizer.from_file(str(tokenizer_path / "tokenizer.json"))


@pytest.fixture(scope="session")
def samples(world_path, tokenizer_path) -> Samples:
    return make_samples(world_path, tokenizer_path, 120, 3, 1, with_truth=True)


@pytest.fixture(scope="session")
def renderer(world) -> Renderer:
    return Renderer(world, CPU)


@pytest.fixture(scope="session")
def generator(tokenizer) -> Generator:
    torch.manual_seed(0)
    flow = FlowModel(build_transformer(**TINY_TRANSFORMER), torch.float32, is_compiled=False)
    small_vae = vae.build_vae(TINY_VAE).eval()
    model = language_model.build_language_model(tokenizer, **TINY_LANGUAGE_MODEL).eval()
    return Generator(tokenizer, model, flow, small_vae, CPU)
