"""Load time, memory and seconds a step of a packed transformer, unpacked at loading and kept packed.

    python -m benchmarks.bench_packed packed-files
    python -m benchmarks.bench_packed packed-files --config mini --size 128x128 --device cpu

The files are random ones of the published sizes, made in the folder (20 GB): Q4_0, Q4_K and Q8_0 GGUF, scaled fp8. The
transformer alone is loaded, with the file in the page cache, and draws from random embeddings. On the CPU memory is not
measured. Whether both draw the same bits is told. The last line of stdout is JSON.
"""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.bench_transformer import parse_size
from benchmarks.device_memory import GIB, forget, peak_gib
from benchmarks.full_size import transformer_config
from benchmarks.timing import elapsed_s, machine
from llm_dit.acceleration.accelerate import accelerate, choose_acceleration
from llm_dit.checkpoints.layouts import ORIGINAL_TRANSFORMER
from llm_dit.checkpoints.model_file import open_model_file
from llm_dit.checkpoints.weights import without_weights
from llm_dit.networks.transformer import ZImageTransformer
from llm_dit.networks.transformer_config import ZImageTransformerConfig
from llm_dit.parameters import GenerationParams
from llm_dit.placement.devices import resolve_device, resolve_dtype
from llm_dit.sampling.shared_work import Beginning, SharedWork
from llm_dit.stages.denoiser import Denoiser, PromptConditioning

TEXT_TOKENS = 128
Generator = np.random.Generator
Shapes = Mapping[str, tuple[int, ...]]

BLOCKS = {"Q4_0": (32, 18, {0: 0.003}), "Q8_0": (32, 34, {0: 0.0003}), "Q4_K": (256, 144, {0: 5e-5, 2: 4e-4})}
"""Numbers and bytes of a block, and the float16 scales at their places, which keep random weights small."""


def original_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a transformer as ComfyUI's files have them."""
    with without_weights():
        model = ZImageTransformer(ZImageTransformerConfig.from_dict(transformer_config(name)))
    shapes: dict[str, tuple[int, ...]] = {}
    for ours, tensor in model.state_dict().items():
        foreign, *_ = ORIGINAL_TRANSFORMER.foreign(ours)
        rows = shapes.get(foreign, (0,))[0] + tensor.shape[0]
        shapes[foreign] = (rows, *tensor.shape[1:])
    return shapes


def is_packed(name: str, shape: tuple[int, ...], block: int) -> bool:
    """Whether a file of this kind packs a tensor: the large matrices."""
    is_matrix = len(shape) == 2 and ("attention." in name or "feed_forward." in name)
    return is_matrix and shape[1] % block == 0


def random_plain(shape: tuple[int, ...], generator: Generator) -> np.ndarray:
    """Numbers of a tensor that is not packed: near 1 for gains, else near 0."""
    return (generator.standard_normal(shape, dtype=np.float32) * 0.02) + (1.0 if len(shape) == 1 else 0.0)


def write_gguf(path: Path, shapes: Shapes, kind: str) -> None:
    """Write a GGUF file of random blocks."""
    from gguf import GGMLQuantizationType, GGUFWriter

    block, size, scales = BLOCKS[kind]
    generator, writer = np.random.default_rng(0), GGUFWriter(path, "lumina2")
    for name, shape in shapes.items():
        if is_packed(name, shape, block):
            blocks = generator.integers(0, 256, (shape[0], shape[1] // block, size), dtype=np.uint8)
            for place, scale in scales.items():
                blocks[..., place : place + 2] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
            writer.add_tensor(name, blocks.reshape(shape[0], -1), raw_dtype=GGMLQuantizationType[kind])
        else:
            writer.add_tensor(name, random_plain(shape, generator))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_scaled_float8(path: Path, shapes: Shapes) -> None:
    """Write a safetensors file with float8 weights and a scale each."""
    generator = np.random.default_rng(0)
    tensors: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        if is_packed(name, shape, 1):
            stored = torch.from_numpy(generator.integers(0, 256, shape, dtype=np.uint8) & 0xBF)  # magnitudes below 2
            tensors[name] = stored.view(torch.float8_e4m3fn)
            tensors[name.replace(".weight", ".scale_weight")] = torch.tensor(0.02)
        else:
            tensors[name] = torch.from_numpy(random_plain(shape, generator)).bfloat16()
    save_file(tensors, path)


def write_files(folder: Path, name: str) -> dict[str, Path]:
    """Write the files that are not there yet; return them by what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = original_shapes(name)
    writers: dict[str, tuple[Path, Callable[[Path], None]]] = {
        kind: (folder / f"{name}-{kind}.gguf", lambda path, kind=kind: write_gguf(path, shapes, kind))  # type: ignore[misc]
        for kind in BLOCKS
    }
    writers["scaled fp8"] = (folder / f"{name}_fp8_scaled.safetensors", lambda path: write_scaled_float8(path, shapes))
    for path, write in writers.values():
        if not path.is_file():
            write(path)
        path.with_suffix(".json").write_text(json.dumps(transformer_config(name)))
    return {kind: path for kind, (path, _) in writers.items()}


def measured(path: Path, params: GenerationParams, device: torch.device, *, keep_packed: bool) -> dict[str, Any]:
    """Figures of one file: seconds, GiB, and the latents drawn."""
    steps = params.num_inference_steps or 1
    stored, dtype = open_model_file(path).components["transformer"], resolve_dtype("auto", device, "dtype")
    forget(device)
    made: dict[str, Denoiser] = {}

    def load() -> None:
        made["denoiser"] = Denoiser.from_stored(stored, device, dtype, keep_packed=keep_packed)
        accelerate(made["denoiser"].transformer, choose_acceleration(device, dtype), device, graphs="off")

    load_s = elapsed_s(load, device)
    loading_peak, weights = peak_gib(device), _held_gib(device)
    forget(device)
    embeds = torch.randn(TEXT_TOKENS, stored.config["cap_feat_dim"], generator=torch.Generator().manual_seed(0))
    conditioning = PromptConditioning("", embeds.to(dtype), None, TEXT_TOKENS)

    def draw() -> Tensor:
        latents, _ = made["denoiser"].sample(params, conditioning, Beginning(params, SharedWork(device, limit=0)))
        return latents

    latents = draw().cpu()
    step_s = min(elapsed_s(draw, device) for _ in range(2)) / steps
    return {
        "load_s": load_s,
        "weights_gib": weights,
        "loading_peak_gib": loading_peak,
        "drawing_peak_gib": peak_gib(device),
        "step_s": step_s,
        "latents": latents,
    }


def _held_gib(device: torch.device) -> float:
    return torch.cuda.memory_allocated(device) / GIB if device.type == "cuda" else 0.0


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--config", "name", type=click.Choice(["full", "mini"]), default="full", show_default=True)
@click.option("--size", default="1024x1024", show_default=True, help="HEIGHTxWIDTH of the image.")
@click.option("--steps", default=4, show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--kind", "kinds", multiple=True, help="Only these files; all by default.")
def main(folder: Path, name: str, size: str, steps: int, device: str, kinds: tuple[str, ...]) -> None:
    """Measure."""
    where = resolve_device(device, "dit_device")
    height, width = parse_size(size)
    asked = {"num_inference_steps": steps, "width": width, "height": height, "shift": 3.0, "guidance_scale": 0.0}
    params = GenerationParams.parse({"prompt": "-", "seed": 1, **asked})
    started = time.perf_counter()
    files = write_files(folder, name)
    click.echo(
        f"files of {name} written in {time.perf_counter() - started:.0f} s; {machine(where)}, {width} x {height}"
    )
    click.echo(f"{'':24}{'file GiB':>10}{'load s':>9}{'weights':>9}{'loading':>9}{'drawing':>9}{'s a step':>10}")
    figures: dict[str, Any] = {}
    measured(next(iter(files.values())), params, where, keep_packed=True)  # starts the device
    for kind, path in files.items():
        if kinds and kind not in kinds:
            continue
        latents: list[Tensor] = []
        for way, is_kept in (("unpacked", False), ("kept packed", True)):
            found = measured(path, params, where, keep_packed=is_kept)
            latents.append(found.pop("latents"))
            found["file_gib"] = path.stat().st_size / GIB
            figures[f"{kind} {way}"] = found
            click.echo(
                f"{kind + ' ' + way:24}{found['file_gib']:10.2f}{found['load_s']:9.2f}{found['weights_gib']:9.2f}"
                f"{found['loading_peak_gib']:9.2f}{found['drawing_peak_gib']:9.2f}{found['step_s']:10.3f}"
            )
        figures[f"{kind} same bits"] = bool(torch.equal(*latents)) and bool(latents[0].isfinite().all())
        click.echo(f"{'':24}{'the same bits' if figures[f'{kind} same bits'] else 'OTHER BITS'}")
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()
