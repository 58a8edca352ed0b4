"""The predefined experiments over the engine, LoRAs and hidden layers, drawn on the embedded model on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from experiments.analyze import main as analyze
from experiments.run_ablation import main as run_ablation
from experiments.store.records import RunRecord
from experiments.store.result_store import ResultStore

pytestmark = pytest.mark.slow  # draws whole experiments on the embedded model

PROMPTS = ("animal_001", "simple_001")
SMALL = ("--width=64", "--height=64", "--dit-device=cpu", "--text-encoder-device=cpu", "--vae-device=cpu")
WIDTH = 288
"""Of the embedded transformer."""
LEFT_OUT = "The level float8 of quantization is left out: quantization float8 needs a CUDA device"


class Drawn(NamedTuple):
    """What a command left behind."""

    store: ResultStore
    said: str
    runs: tuple[RunRecord, ...]

    def pixels(self, level: str, prompt: str = PROMPTS[0]) -> np.ndarray:
        (record,) = [run for run in self.runs if (run.level, run.prompt_id) == (level, prompt)]
        with Image.open(record.image_path) as picture:
            return np.asarray(picture)


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lora") / "style.safetensors"
    delta = 0.05 * torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(0))
    save_file({"diffusion_model.layers.0.attention.to_q.diff": delta}, path)
    return path


@pytest.fixture(scope="module")
def draw(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Drawn]:
    folder = tmp_path_factory.mktemp("predefined")

    @cache
    def drawn(*arguments: str) -> Drawn:
        name = f"--name=e{len(list(folder.iterdir()))}"
        words = [*arguments, name, f"--prompt-ids={','.join(PROMPTS)}", *SMALL, f"--output-dir={folder}"]
        done = CliRunner().invoke(run_ablation, [*words, "--metric=psnr_db"])
        assert done.exit_code == 0, done.output
        store = ResultStore(folder / name.removeprefix("--name="))
        return Drawn(store, done.output, tuple(store.runs()))

    return drawn


def levels_of(drawn: Drawn) -> list[str]:
    return [cell.name for cell in drawn.store.manifest().combinations]


def test_precision_varies_transformer_and_vae_and_each_arm_is_drawn_as_alone(draw: Callable[..., Drawn]) -> None:
    drawn = draw("--experiment=precision", "--steps=2")
    assert levels_of(drawn) == ["bfloat16", "float16", "float32"]
    assert len(drawn.runs) == 3 * len(PROMPTS)
    assert {(run.level, run.numerics["dtype"], run.numerics["vae_dtype"]) for run in drawn.runs} == {
        (level, level, level) for level in levels_of(drawn)
    }
    assert len({run.numerics["text_encoder_dtype"] for run in drawn.runs}) == 1, "all arms read the same prompt"
    for level in ("bfloat16", "float16"):
        alone = draw("--sweep=shift=3", "--steps=2", f"--dtype={level}")
        for prompt in PROMPTS:
            assert np.array_equal(drawn.pixels(level, prompt), alone.pixels("3.0", prompt)), (level, prompt)
    psnr = {level: [run.scores["psnr_db"] for run in drawn.runs if run.level == level] for level in levels_of(drawn)}
    assert psnr["bfloat16"] == [float("inf")] * len(PROMPTS)
    assert all(20 < value < 100 for level in ("float16", "float32") for value in psnr[level])


@pytest.mark.parametrize(("name", "cells"), [("quantization", 2), ("speed_and_fidelity", 6)])
def test_what_the_device_has_is_drawn_and_the_rest_is_named_everywhere(
    draw: Callable[..., Drawn], name: str, cells: int
) -> None:
    drawn = draw(f"--experiment={name}")
    assert len(drawn.runs) == cells * len(PROMPTS)
    assert len({run.metadata["image"]["sha256"] for run in drawn.runs}) == cells * len(PROMPTS)
    assert {run.numerics["quantization"] for run in drawn.runs} == {"none", "int8"}
    assert [(found.axis, found.level) for found in drawn.store.manifest().left_out] == [("quantization", "float8")]
    assert LEFT_OUT in drawn.said
    assert LEFT_OUT in (drawn.store.folder / "report.html").read_text()
    analysed = " ".join(CliRunner().invoke(analyze, [str(drawn.store.folder)]).output.split())
    assert f"Note: {LEFT_OUT}" in analysed
    assert drawn.said.index("(quantization none)") < drawn.said.index("(quantization int8)"), (
        "each is named once loaded"
    )
    assert drawn.said.count("Loading mini") == 2


def test_the_strength_of_a_lora_at_0_is_no_lora_and_grows_from_there(draw: Callable[..., Drawn], lora: Path) -> None:
    drawn = draw("--experiment=lora_strength", "--steps=2", f"--lora={lora}")
    assert levels_of(drawn) == ["0.0", "0.25", "0.5", "0.75", "1.0"]
    plain = draw("--sweep=shift=3", "--steps=2")
    assert np.array_equal(drawn.pixels("0.0"), plain.pixels("3.0"))
    far = [np.abs(drawn.pixels(level).astype(float) - plain.pixels("3.0")).mean() for level in levels_of(drawn)]
    assert far[0] == 0 and far[1] > 0 and far == sorted(far)


def test_strengths_of_no_lora_are_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    words = ["--experiment=lora_strength", *SMALL, f"--output-dir={tmp_path}"]
    for more in ([], ["--dry-run"]):
        refused = CliRunner().invoke(run_ablation, [*words, *more])
        assert refused.exit_code == 2
        assert refused.output.endswith(
            "--lora-strength changes nothing without a LoRA (experiment lora_strength); add --lora FILE.\n"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_blend_of_one_layer_is_that_layer_and_mixes_are_neither(draw: Callable[..., Drawn]) -> None:
    drawn = draw("--experiment=layer_blend", "--steps=2")
    single = draw("--sweep=hidden_layer=-2,-6", "--steps=2")
    assert len(levels_of(drawn)) == 6
    for level, layer in (("-2:1", "-2"), ("-6:1", "-6")):
        assert np.array_equal(drawn.pixels(level), single.pixels(layer))
    assert len({drawn.pixels(level).tobytes() for level in levels_of(drawn)}) == 6
