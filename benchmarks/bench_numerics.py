"""How far number formats, kernels and quantization move the result, against one or more reference settings.

    python -m benchmarks.bench_numerics mini --device cpu
    python -m benchmarks.bench_numerics z-image-random --device cuda --reference float32 --reference bfloat16

The same noise and prompt are sampled with every variant: with one step, whose error is that of one evaluation, and with
the given number of steps, whose error is that of the final latents. The text embeddings are those of the first
reference, so that only the transformer differs. Errors are relative: norm of the difference over norm of the reference.
The last line of stdout is JSON.
"""

import gc
import json
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks.timing import machine
from llm_dit import ZImagePipeline
from llm_dit.errors import DeviceError
from llm_dit.parameters import GenerationParams
from llm_dit.stages.denoiser import PromptConditioning

PROMPT = "A red apple on a wooden table"
VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "bfloat16 sdpa": {"dtype": "bfloat16", "attention_backend": "sdpa"},
    "bfloat16 compiled": {"dtype": "bfloat16", "compile": "on"},
    "float8": {"dtype": "bfloat16", "compile": "on", "quantization": "float8"},
    "int8": {"dtype": "bfloat16", "compile": "on", "quantization": "int8"},
}
"""Fields of `EngineSettings`; compile is off and nothing quantized unless said."""
BASE = {"compile": "off", "quantization": "none"}


def load(model_path: str, device: str, variant: str) -> ZImagePipeline:
    """Load the model with one variant's settings, everything on `device`."""
    settings: dict[str, Any] = {"text_encoder_device": device, "dit_device": device, "vae_device": device}
    return ZImagePipeline.from_pretrained(model_path, **settings | BASE | VARIANTS[variant])


def sample(pipeline: ZImagePipeline, conditioning: PromptConditioning, params: GenerationParams, steps: int) -> Tensor:
    """Final latents after `steps` steps, float32 on the CPU."""
    resolved = pipeline.resolve(params.model_copy(update={"num_inference_steps": steps}))
    return pipeline.denoise(resolved, conditioning).float().cpu()


def relative_error(value: Tensor, reference: Tensor) -> float:
    """Norm of the difference over norm of the reference."""
    return float((value - reference).norm() / reference.norm())


@click.command(help=__doc__)
@click.argument("model_path", default="mini")
@click.option("--device", default="cpu", show_default=True)
@click.option(
    "--reference",
    "references",
    multiple=True,
    type=click.Choice(list(VARIANTS)),
    default=["float32"],
    show_default=True,
    help="Repeatable.",
)
@click.option("--variant", "variants", multiple=True, type=click.Choice(list(VARIANTS)), help="Default: all.")
@click.option("--steps", default=9, show_default=True)
@click.option("--height", default=None, type=int, help="Pixels; the model's own by default.")
@click.option("--width", default=None, type=int, help="Pixels; the model's own by default.")
def main(
    model_path: str,
    device: str,
    references: tuple[str, ...],
    variants: tuple[str, ...],
    steps: int,
    height: int | None,
    width: int | None,
) -> None:
    """Run the comparison."""
    params = GenerationParams(prompt=PROMPT, height=height, width=width, seed=0)
    conditioning, rows = None, []
    expected: dict[str, dict[int, Tensor]] = {}
    print(f"{machine(torch.device(device))}, torch {torch.__version__}")
    print(f"variant              against              one step   {steps} steps")
    for variant in dict.fromkeys((*references, *(variants or VARIANTS))):
        try:
            pipeline = load(model_path, device, variant)
        except DeviceError as error:
            print(f"{variant:20} not here: {error}")
            continue
        if conditioning is None:
            conditioning = pipeline.encode(pipeline.resolve(params))
        latents = {count: sample(pipeline, conditioning, params, count) for count in (1, steps)}
        for reference, values in expected.items():
            errors = {count: relative_error(latents[count], values[count]) for count in values}
            row = {"variant": variant, "against": reference, "one_step": errors[1], "final": errors[steps]}
            rows.append(row | pipeline.numerics)
            print(f"{variant:20} {reference:18} {errors[1]:10.2e} {errors[steps]:9.2e}", flush=True)
        if variant in references:
            expected[variant] = latents
        del pipeline
        gc.collect()  # graphs and model refer to each other
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    print(json.dumps({"benchmark": "numerics", "references": references, "steps": steps, "rows": rows}))


if __name__ == "__main__":
    main()
