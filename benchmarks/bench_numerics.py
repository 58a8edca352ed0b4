"""How far number formats, kernels and quantization move the result, against one or more reference settings.

    python -m benchmarks.bench_numerics mini --device cpu
    python -m benchmarks.bench_numerics z-image-random --device cuda --reference float32 --reference bfloat16

The same noise and prompts are sampled with every variant: with one step, whose error is that of one evaluation, and
with the given number of steps, whose error is that of the final latents and of the pictures, all decoded by the first
reference. The text embeddings are its own too, so that only the transformer differs. Errors of latents are relative:
norm of the difference over norm of the reference; all figures are means over prompts.
The last line of stdout is JSON.
"""

import gc
import json
from statistics import fmean
from typing import Any, NamedTuple

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import machine
from experiments.metrics.pixel_fidelity import RGB, psnr_db, ssim
from experiments.planning.design import select_prompts
from experiments.prompts import STANDARD_PROMPTS, read_prompts
from llm_dit import ZImagePipeline
from llm_dit.errors import DeviceError
from llm_dit.parameters import GenerationParams
from llm_dit.stages.denoiser import PromptConditioning

VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "bfloat16 sdpa": {"dtype": "bfloat16", "attention_backend": "sdpa"},
    "bfloat16 compiled": {"dtype": "bfloat16", "compile": "on"},
    "bfloat16 cudnn": {"dtype": "bfloat16", "attention_backend": "cudnn"},
    "float8 attention": {"dtype": "bfloat16", "attention_backend": "flash3_float8"},
    "float8": {"dtype": "bfloat16", "compile": "on", "quantization": "float8"},
    "float8, both": {
        "dtype": "bfloat16",
        "quantization": "float8",
        "attention_backend": "flash3_float8",
    },
    "int8": {"dtype": "bfloat16", "compile": "on", "quantization": "int8"},
}
"""Fields of `EngineSettings`; compile is off and nothing quantized unless said."""
EQUAL_DB = 100.0
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


class Sampled(NamedTuple):
    """What one variant makes of one prompt.

    Attributes:
        one_step: Latents after one step.
        final: Latents after all steps.
        picture: 8-bit levels, [height, width, 3].
    """

    one_step: Tensor
    final: Tensor
    picture: RGB


def compared(samples: list[Sampled], references: list[Sampled]) -> dict[str, float]:
    """Means over prompts; equal pictures count as `EQUAL_DB`."""
    pairs = list(zip(samples, references, strict=True))
    return {
        "one_step": fmean(relative_error(one.one_step, other.one_step) for one, other in pairs),
        "final": fmean(relative_error(one.final, other.final) for one, other in pairs),
        "psnr_db": fmean(min(psnr_db(one.picture, other.picture), EQUAL_DB) for one, other in pairs),
        "ssim": fmean(ssim(one.picture, other.picture) for one, other in pairs),
    }


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
@click.option("--prompts", "prompt_count", default=1, show_default=True, help="Of the standard prompts.")
@click.option("--height", default=None, type=int, help="Pixels; the model's own by default.")
@click.option("--width", default=None, type=int, help="Pixels; the model's own by default.")
def main(
    model_path: str,
    device: str,
    references: tuple[str, ...],
    variants: tuple[str, ...],
    steps: int,
    prompt_count: int,
    height: int | None,
    width: int | None,
) -> None:
    """Run the comparison."""
    prompts = select_prompts(read_prompts(STANDARD_PROMPTS), max_prompts=prompt_count)
    all_params = [
        GenerationParams(prompt=prompt.text, height=height, width=width, seed=seed)
        for seed, prompt in enumerate(prompts)
    ]
    first, conditionings, rows = None, [], []
    expected: dict[str, list[Sampled]] = {}
    print(f"{machine(torch.device(device))}, torch {torch.__version__}, {prompt_count} prompts")
    print(f"variant              against              one step   {steps} steps  PSNR    SSIM")
    for variant in dict.fromkeys((*references, *(variants or VARIANTS))):
        try:
            pipeline = load(model_path, device, variant)
        except DeviceError as error:
            print(f"{variant:20} not here: {error}")
            continue
        if first is None:
            first = pipeline
            conditionings = [pipeline.encode(pipeline.resolve(params)) for params in all_params]
        samples = []
        for params, conditioning in zip(all_params, conditionings, strict=True):
            one_step, final = (sample(pipeline, conditioning, params, count) for count in (1, steps))
            samples.append(Sampled(one_step, final, np.array(first.decode(final)[0])))
        for reference, values in expected.items():
            row = compared(samples, values)
            rows.append({"variant": variant, "against": reference, **row, **pipeline.numerics})
            print(
                f"{variant:20} {reference:18} {row['one_step']:10.2e} {row['final']:9.2e} {row['psnr_db']:6.1f} "
                f"{row['ssim']:7.4f}",
                flush=True,
            )
        if variant in references:
            expected[variant] = samples
        del pipeline
        gc.collect()  # graphs and model refer to each other
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    print(json.dumps({"benchmark": "numerics", "references": references, "steps": steps, "rows": rows}))


if __name__ == "__main__":
    main()
