"""Load time and peak memory of a model's transformer as folder, ComfyUI's file, scaled fp8 and Q4 GGUF; LoRAs' times.

    python -m benchmarks.full_size z-image-random --device cuda
    python -m benchmarks.bench_files z-image-random --size 1024x1024

The files are made from the folder, beside it, and need 22 GB; GGUF has random blocks of the right size. Loading is
timed with the files in the page cache, one load before. On the CPU memory is not measured. The last line of stdout is
JSON.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.bench_transformer import parse_size
from benchmarks.device_memory import forget, peak_gib
from benchmarks.timing import elapsed_s, machine
from llm_dit import ZImagePipeline
from llm_dit.checkpoints.layouts import ORIGINAL_TRANSFORMER
from llm_dit.parameters import EngineSettings, GenerationParams
from llm_dit.placement.devices import resolve_device

PROMPT = "A red apple on a wooden table"
STEPS = 2
Q4_BLOCK, Q4_BYTES = 32, 18
Q4_SCALE = 0.003
"""Of every block of the random Q4_0 file: weights up to 0.024."""
LORA_RANK = 16


def original_tensors(folder: Path) -> dict[str, Tensor]:
    """Read a folder's transformer under the original names, projections fused."""
    parts: dict[str, dict[int, Tensor]] = {}
    for path in sorted((folder / "transformer").glob("*.safetensors")):
        for name, tensor in load_file(path).items():
            foreign, place, _ = ORIGINAL_TRANSFORMER.foreign(name)
            parts.setdefault(foreign, {})[place] = tensor
    return {name: torch.cat([rows[place] for place in sorted(rows)]) for name, rows in parts.items()}


def write_files(folder: Path) -> dict[str, Path]:
    """Write the files beside the folder, unless they are there; return them by what they are."""
    files = {
        "bf16 file": folder.with_name(f"{folder.name}_bf16.safetensors"),
        "scaled fp8 file": folder.with_name(f"{folder.name}_fp8_scaled.safetensors"),
        "Q4_0 GGUF": folder.with_name(f"{folder.name}-Q4_0.gguf"),
    }
    if not all(path.is_file() for path in files.values()):
        tensors = original_tensors(folder)
        save_file(tensors, files["bf16 file"])
        save_file(_scaled(tensors), files["scaled fp8 file"])
        _write_gguf(files["Q4_0 GGUF"], tensors)
    for path in files.values():
        path.with_suffix(".json").write_text((folder / "transformer" / "config.json").read_text())
    return files


def _is_packed(name: str, tensor: Tensor) -> bool:
    is_matrix = tensor.ndim == 2 and name.endswith(".weight") and tensor.shape[1] % Q4_BLOCK == 0
    return is_matrix and ("attention." in name or "feed_forward." in name)


def _scaled(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    stored: dict[str, Tensor] = {"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}
    for name, tensor in tensors.items():
        if _is_packed(name, tensor):
            scale = tensor.float().abs().max() / torch.finfo(torch.float8_e4m3fn).max
            stored[name] = (tensor.float() / scale).to(torch.float8_e4m3fn)
            stored[name.replace(".weight", ".scale_weight")] = scale
        else:
            stored[name] = tensor
    return stored


def _write_gguf(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from gguf import GGMLQuantizationType, GGUFWriter

    writer = GGUFWriter(path, "lumina2")
    generator = np.random.default_rng(0)
    for name, tensor in tensors.items():
        if _is_packed(name, tensor):
            rows, columns = tensor.shape
            blocks = generator.integers(0, 256, (rows, columns // Q4_BLOCK, Q4_BYTES), dtype=np.uint8)
            blocks[..., :2] = np.frombuffer(np.float16(Q4_SCALE).tobytes(), np.uint8)
            writer.add_tensor(name, blocks.reshape(rows, -1), raw_dtype=GGMLQuantizationType.Q4_0)
        else:
            writer.add_tensor(name, tensor.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_lora(folder: Path, layers: Mapping[str, tuple[int, int]]) -> Path:
    """Write a random LoRA of all attention and feed-forward layers."""
    path = folder.with_name(f"{folder.name}_lora.safetensors")
    tensors = {}
    for name, (rows, columns) in layers.items():
        if "attention." in name or "feed_forward." in name:
            tensors[f"diffusion_model.{name}.lora_A.weight"] = torch.randn(LORA_RANK, columns).bfloat16() * 0.02
            tensors[f"diffusion_model.{name}.lora_B.weight"] = torch.randn(rows, LORA_RANK).bfloat16() * 0.02
    save_file(tensors, path)
    return path


def measured(settings: EngineSettings, params: GenerationParams, device: torch.device) -> Iterator[tuple[str, float]]:
    """Yield figures of one source: seconds and GiB."""
    for _ in range(2):
        forget(device)
        pipeline: Any = None
        started: dict[str, Any] = {}
        seconds = elapsed_s(lambda: started.update(made=ZImagePipeline.from_pretrained(settings=settings)), device)  # noqa: B023
        pipeline = started.pop("made")
        loading_peak = peak_gib(device)
        forget(device)
        pipeline.generate(params)
        drawing_peak = peak_gib(device)
        del pipeline
    yield from (("load_s", seconds), ("loading_peak_gib", loading_peak), ("drawing_peak_gib", drawing_peak))


def lora_times(
    settings: EngineSettings, params: GenerationParams, folder: Path, device: torch.device
) -> dict[str, float]:
    """Seconds until the weights are changed: for the first time, at another strength, and back."""
    pipeline = ZImagePipeline.from_pretrained(settings=settings)
    path = write_lora(folder, pipeline.denoiser.loras.files.layers)
    changes = {"first": f"{path}:1", "another strength": f"{path}:0.5", "back": "", "again": f"{path}:1"}
    times = {}
    for name, loras in changes.items():
        wanted = pipeline.resolve(params.replaced(loras=loras))
        times[name] = elapsed_s(lambda: pipeline.denoiser.loras.use(wanted), device)  # noqa: B023
    return times


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--size", default="1024x1024", show_default=True, help="HEIGHTxWIDTH of the image.")
@click.option("--device", default="auto", show_default=True)
def main(folder: Path, size: str, device: str) -> None:
    """Measure FOLDER, a checkpoint as on the hub, and its transformer in other files."""
    where = resolve_device(device, "dit_device")
    height, width = parse_size(size)
    params = GenerationParams(prompt=PROMPT, seed=1, num_inference_steps=STEPS, width=width, height=height)
    own = {"dit_device": str(where), "text_encoder_device": str(where)}
    parts = {f"{name}_path": str(folder / name) for name in ("text_encoder", "tokenizer", "vae")}
    sources = {"folder": EngineSettings.parse({"model_path": str(folder), **own})}
    for name, path in write_files(folder).items():
        sources[name] = EngineSettings.parse({"model_path": str(path), **parts, **own})
    click.echo(f"{folder} and its files on {machine(where)}, {width} x {height}")
    click.echo(f"{'':18}{'file GB':>9}{'load s':>9}{'GiB loading':>13}{'GiB drawing':>13}")
    figures: dict[str, Any] = {}
    for name, settings in sources.items():
        found = dict(measured(settings, params, where))
        stored = Path(settings.model_path)
        files = [stored] if stored.is_file() else sorted((stored / "transformer").glob("*.safetensors"))
        found["file_gb"] = sum(path.stat().st_size for path in files) / 1e9
        figures[name] = found
        click.echo(
            f"{name:18}{found['file_gb']:9.2f}{found['load_s']:9.2f}{found['loading_peak_gib']:13.2f}"
            f"{found['drawing_peak_gib']:13.2f}"
        )
    figures["lora_s"] = lora_times(sources["folder"], params, folder, where)
    click.echo(
        "LoRA of all attention and feed-forward layers: "
        + ", ".join(f"{k} {v:.2f} s" for k, v in figures["lora_s"].items())
    )
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()
