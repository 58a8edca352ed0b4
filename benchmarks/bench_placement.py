"""Every placement of the three stages on two GPUs beside one GPU: the same bits, and nothing left after `del`.

    python -m benchmarks.bench_placement
    python -m benchmarks.bench_placement --mode plain --accelerator cpu --encoder cpu      # only tries the script out

Two pictures a placement, the second one guided and drawn without waiting. A text encoder on the CPU is compared with
one GPU beside which the text encoder is on the CPU too, since it computes in float32 there. "left" is what the
allocators still hold of a pipeline that is gone, without the cyclic collector. The last line of stdout is JSON.
"""

import gc
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any
from unittest.mock import patch

import click
import numpy as np
import torch

from benchmarks.timing import machine
from llm_dit import ZImagePipeline
from llm_dit.checkpoints.model_parts import ModelParts
from llm_dit.errors import LlmDitError
from llm_dit.parameters import EngineSettings, GenerationParams
from llm_dit.placement.budget import CardPlan
from llm_dit.stages.card_plans import network_sizes

MODES: dict[str, dict[str, Any]] = {
    "plain": {"compile": "off"},
    "float8": {"compile": "off", "quantization": "float8"},
    "streamed": {"compile": "off"},
    "compiled": {"compile": "on"},
}
"""Fields of `EngineSettings`."""
ACCELERATORS = ("cuda:0", "cuda:1")
ENCODERS = (*ACCELERATORS, "cpu")
GUIDED = {"guidance_scale": 1.0, "negative_prompt": "fog"}
Picture = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Row:
    """One placement in one mode.

    Attributes:
        mode: Name in `MODES`.
        text_encoder: Device of the text encoder.
        transformer: Device of the transformer.
        vae: Device of the VAE.
        difference: Largest difference of a pixel from one GPU, in levels of 255; None where there is no picture.
        left_bytes: What the allocators hold more than before the pipeline was loaded.
        elapsed_s: Seconds to load, compile and draw.
        problem: Why there is no picture.
    """

    mode: str
    text_encoder: str
    transformer: str
    vae: str
    difference: int | None
    left_bytes: int
    elapsed_s: float
    problem: str = ""


def placements(encoders: Sequence[str], accelerators: Sequence[str]) -> list[tuple[str, str, str]]:
    """Devices of text encoder, transformer and VAE, beginning with what others are compared with."""
    first = accelerators[0]
    chosen = list(product(encoders, accelerators, accelerators))
    return sorted(chosen, key=lambda item: (item[1:] != (first, first), item[0] not in (first, "cpu")))


def held_bytes() -> int:
    """What the allocators of all devices have given out, but for workspaces that belong to a thread."""
    if not torch.cuda.is_available():
        return 0
    torch._C._cuda_clearCublasWorkspaces()
    return sum(torch.cuda.memory_allocated(index) for index in range(torch.cuda.device_count()))


@contextmanager
def all_streamed() -> Iterator[None]:
    """Let models that are loaded inside the block stream all their blocks, however much room there is."""

    def plan(
        parts: ModelParts, wanted: EngineSettings, places: Mapping[str, Any], **_loaded: Any
    ) -> dict[torch.device, CardPlan]:
        sizes = network_sizes(parts, wanted, {name: dtype.itemsize for name, (_, dtype) in places.items()})
        streamed = {name: tuple(range(len(size.blocks))) for name, size in sizes.items()}
        return {torch.device("cpu"): CardPlan(streamed)}

    with patch("llm_dit.stages.loading.plan_cards", plan):
        yield


def pictures(model_path: str, placement: tuple[str, str, str], mode: str) -> list[Picture]:
    """Load the model and draw with it."""
    names = ("text_encoder_device", "dit_device", "vae_device")
    settings: dict[str, Any] = dict(zip(names, placement, strict=True))
    with all_streamed() if mode == "streamed" else nullcontext():
        pipeline = ZImagePipeline.from_pretrained(model_path, **settings, **MODES[mode])
    plain = GenerationParams.parse({"prompt": "A red apple on a wooden table", "seed": 1})
    guided = pipeline.resolve(plain.replaced(seed=2, **GUIDED))
    drawn = pipeline.generate(plain).image, pipeline.draw(guided, pipeline.encode(guided)).wait()[0]
    return [np.asarray(image) for image in drawn]


def pictures_or_problem(model_path: str, placement: tuple[str, str, str], mode: str) -> tuple[list[Picture], str]:
    """Draw, or say in a sentence why that can't be."""
    try:
        return pictures(model_path, placement, mode), ""
    except LlmDitError as error:
        return [], str(error)


def compare(
    model_path: str, mode: str, encoders: Sequence[str] = ENCODERS, accelerators: Sequence[str] = ACCELERATORS
) -> Iterator[Row]:
    """Draw in every placement; the collector is off for the time being."""
    expected: dict[bool, list[Picture]] = {}
    gc.collect()
    gc.disable()
    try:
        pictures_or_problem(model_path, placements(encoders, accelerators)[0], mode)  # libraries take their workspaces
        for placement in placements(encoders, accelerators):
            if MODES[mode].get("compile") == "on":
                torch.compiler.reset()  # another device compiles anew, and would reach the limit of that
            before, started = held_bytes(), time.perf_counter()
            difference = None
            drawn, problem = pictures_or_problem(model_path, placement, mode)
            if drawn:
                right = expected.setdefault(placement[0] == "cpu", drawn)
                difference = max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(drawn, right, strict=True))
            del drawn
            yield Row(mode, *placement, difference, held_bytes() - before, time.perf_counter() - started, problem)
    finally:
        gc.enable()


@click.command(help=__doc__)
@click.argument("model_path", default="mini")
@click.option("--mode", "modes", multiple=True, type=click.Choice(list(MODES)), help="Default: all.")
@click.option("--accelerator", "accelerators", multiple=True, default=ACCELERATORS, show_default=True)
@click.option("--encoder", "encoders", multiple=True, default=ENCODERS, show_default=True)
def main(model_path: str, modes: tuple[str, ...], accelerators: tuple[str, ...], encoders: tuple[str, ...]) -> None:
    """Run the benchmark; exit code 1 if a picture differs or is missing."""
    rows = []
    print(f"{machine(torch.device(accelerators[0]))}, torch {torch.__version__}")
    print("mode      encoder  transformer  vae     difference  left MiB  seconds")
    for mode in modes or MODES:
        for row in compare(model_path, mode, encoders, accelerators):
            rows.append(row)
            difference = "-" if row.difference is None else row.difference
            print(
                f"{row.mode:9} {row.text_encoder:8} {row.transformer:12} {row.vae:7} {difference:>10} "
                f"{row.left_bytes / 2**20:9.2f} {row.elapsed_s:8.1f} {row.problem}",
                flush=True,
            )
    print(json.dumps({"benchmark": "placement", "rows": [asdict(row) for row in rows]}))
    sys.exit(0 if all(row.difference == 0 for row in rows) else 1)


if __name__ == "__main__":
    main()
