"""One evaluation of the transformer: ours beside diffusers' in the same run, and beside the matrix ceiling.

    python -m benchmarks.bench_transformer --config mini --size 256x256 --size 512x512
    python -m benchmarks.bench_transformer --config full --device cuda --dtype bfloat16 \
        --variant eager --variant compiled --variant float8 --size 1024x1024 --text-tokens 32 --text-tokens 128

Both sides have the same random weights and inputs and run in turns; their outputs are compared. Times are medians. The
peer of a variant is diffusers' transformer, eager or with `compile_repeated_blocks`; it is never quantized, and is
built and compiled once for all variants, of which the eager ones come first. The last line of stdout is JSON.
"""

import gc
import importlib.metadata
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import click
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from benchmarks.full_size import TRANSFORMERS, build_diffusers, build_ours, transformer_config
from benchmarks.timing import CLOCKS, Clock, elapsed_s, float8_ceiling, machine, matrix_ceiling, median_times_s
from experiments.prompts import STANDARD_PROMPTS, read_prompts
from llm_dit.acceleration.accelerate import accelerate, choose_acceleration
from llm_dit.acceleration.quantization import quantize_linears
from llm_dit.checkpoints.finding import find_checkpoint
from llm_dit.networks.transformer import ZImageTransformer
from llm_dit.networks.transformer_config import SEQUENCE_MULTIPLE
from llm_dit.parameters import AttentionBackend
from llm_dit.placement.devices import resolve_device
from llm_dit.prompting.chat_template import format_prompt

MODEL_TIME = 0.4
VARIANTS: dict[str, dict[str, Any]] = {
    "eager": {"compile": "off", "quantization": "none"},
    "compiled": {"compile": "on", "quantization": "none"},
    "float8": {"compile": "on", "quantization": "float8"},
    "float8 attention": {"compile": "on", "quantization": "float8", "attention_backend": "flash3_float8"},
    "int8": {"compile": "on", "quantization": "int8"},
}


@dataclass(frozen=True)
class Setting:
    """What all measurements of a run share."""

    config: dict[str, Any]
    device: torch.device
    dtype: torch.dtype
    batch: int
    warmup: int
    iterations: int
    other_iterations: int
    clock: Clock
    counts_compilations: bool


def evaluation_flops(config: dict[str, Any], image_tokens: int, text_tokens: int) -> float:
    """Floating point operations of one evaluation of one image.

    The two blocks of the context refiner are left out: they run once per image here (once per evaluation in diffusers).

    Args:
        config: The transformer's published configuration.
        image_tokens: Patches of the image.
        text_tokens: Tokens of the caption.
    """
    dim, hidden = config["dim"], int(config["dim"] / 3 * 8)
    image, text = (math.ceil(tokens / SEQUENCE_MULTIPLE) * SEQUENCE_MULTIPLE for tokens in (image_tokens, text_tokens))

    def block(tokens: int) -> float:
        return float(tokens * 2 * (4 * dim**2 + 3 * dim * hidden) + 4 * tokens**2 * dim)

    refiner_layers, layers = int(config["n_refiner_layers"]), int(config["n_layers"])
    return refiner_layers * block(image) + layers * block(image + text)


def measure(
    ours: ZImageTransformer,
    theirs: Any,
    setting: Setting,
    height: int,
    width: int,
    text_tokens: int,
    *,
    iterations: int,
) -> dict[str, Any]:
    """Time one size and caption length, both sides in turns.

    Returns:
        Times in milliseconds, ours with what it spends once per image apart, and the relative difference of the
        outputs.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (setting.batch, setting.config["in_channels"], height // 8, width // 8)
    latents = torch.randn(shape, generator=generator).to(setting.device)
    embeds = [
        torch.randn(text_tokens, setting.config["cap_feat_dim"], generator=generator).to(setting.device, setting.dtype)
        for _ in range(setting.batch)
    ]
    model_time = torch.full((setting.batch,), MODEL_TIME, device=setting.device)
    latents_as_list = list(latents.to(setting.dtype).unsqueeze(2))
    conditioning = ours.prepare(embeds, *shape[-2:])
    compiled_before = counters["stats"]["unique_graphs"]
    runs: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: ours(latents, model_time, conditioning),
        "diffusers": lambda: torch.stack(theirs(latents_as_list, model_time, embeds, return_dict=False)[0]).squeeze(2),
        "prepare": lambda: ours.prepare(embeds, *shape[-2:]).text,
    }
    first_s = elapsed_s(runs["ours"], setting.device)
    compilations = counters["stats"]["unique_graphs"] - compiled_before
    expected = runs["diffusers"]().float()
    difference = float((runs["ours"]() - expected).norm() / expected.norm())
    times = median_times_s(runs, setting.device, warmup=setting.warmup, iterations=iterations, clock=setting.clock)
    return {
        "height": height,
        "width": width,
        "text_tokens": text_tokens,
        "ours_ms": times["ours"] * 1e3,
        "diffusers_ms": times["diffusers"] * 1e3,
        "ratio": times["ours"] / times["diffusers"],
        "prepare_ms": times["prepare"] * 1e3,
        "first_call_s": first_s,
        "new_compilations": compilations,
        "relative_difference": difference,
        "flops": setting.batch * evaluation_flops(setting.config, shape[-2] * shape[-1] // 4, text_tokens),
    }


def standard_prompt_compilations(ours: ZImageTransformer, setting: Setting, sizes: list[tuple[int, int]]) -> int:
    """Evaluate once for each standard prompt's length (by the embedded tokenizer) at each size: graphs compiled."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(find_checkpoint("mini") / "tokenizer" / "tokenizer.json"))
    prompts = [format_prompt(prompt.text) for prompt in read_prompts(STANDARD_PROMPTS)]
    lengths = [len(encoded.ids) for encoded in tokenizer.encode_batch(prompts)]
    before = counters["stats"]["unique_graphs"]
    with torch.inference_mode():
        for height, width in sizes:
            latents = torch.randn(1, setting.config["in_channels"], height // 8, width // 8, device=setting.device)
            for length in lengths:
                embeds = torch.randn(length, setting.config["cap_feat_dim"], device=setting.device, dtype=setting.dtype)
                conditioning = ours.prepare([embeds], *latents.shape[-2:])
                ours(latents, torch.full((1,), MODEL_TIME, device=setting.device), conditioning)
    return int(counters["stats"]["unique_graphs"] - before)


def bench_variant(
    config_name: str,
    variant: str,
    theirs: Any,
    setting: Setting,
    backend: AttentionBackend,
    cases: list[tuple[int, int, int]],
) -> Iterator[dict[str, Any]]:
    """Measure one variant over all sizes and caption lengths, the first one longest; yields one row each."""
    ours = build_ours(config_name, setting.device, setting.dtype)
    device = setting.device
    applied = choose_acceleration(device, setting.dtype, **({"attention_backend": backend} | VARIANTS[variant]))
    for block in ours.blocks:
        block.fuse()
        quantize_linears(block, ("attention", "feed_forward"), applied.quantization)
    accelerate(ours, applied, device)
    is_float8 = applied.quantization == "float8"
    ceiling = (
        float8_ceiling(setting.device) if is_float8 else matrix_ceiling(setting.device, setting.dtype, setting.clock)
    )
    graphs = None
    if applied.compile == "on" and setting.counts_compilations:
        sizes = list(dict.fromkeys(case[:2] for case in cases))[:2]
        graphs = standard_prompt_compilations(ours, setting, sizes)
        print(f"{variant}: {graphs} compilations over the standard prompts at {len(sizes)} sizes", flush=True)
    for index, case in enumerate(cases):
        iterations = setting.other_iterations if index else setting.iterations
        with torch.inference_mode():
            row = measure(ours, theirs, setting, *case, iterations=iterations)
        share = row["flops"] / (row["ours_ms"] / 1e3) / ceiling
        yield {"variant": variant, **row, **applied.as_numerics(), "ceiling_flops": ceiling, "ceiling_share": share} | {
            "standard_prompt_compilations": graphs
        }


def print_row(row: dict[str, Any]) -> None:
    """Print one measurement as a line of the table."""
    size = f"{row['height']}x{row['width']}"
    print(
        f"{row['variant']:16} {size:>10} {row['text_tokens']:5} {row['ours_ms']:10.2f} {row['diffusers_ms']:10.2f} "
        f"{row['ratio']:6.3f} {row['ceiling_share']:8.1%} {row['prepare_ms']:9.2f} {row['first_call_s']:8.2f} "
        f"{row['new_compilations']:5} {row['relative_difference']:9.1e}",
        flush=True,
    )


def parse_size(text: str) -> tuple[int, int]:
    """Read HEIGHTxWIDTH in pixels, both multiples of 16."""
    height, _, width = text.partition("x")
    if (
        not (height.isdecimal() and width.isdecimal())
        or int(height) % 16
        or int(width) % 16
        or not int(height) * int(width)
    ):
        raise click.BadParameter(f"{text} is not HEIGHTxWIDTH in multiples of 16, such as 1024x768.")
    return int(height), int(width)


@click.command(help=__doc__)
@click.option("--config", "config_name", type=click.Choice(TRANSFORMERS), default="mini", show_default=True)
@click.option(
    "--size", "sizes", multiple=True, default=["256x256"], show_default=True, help="HEIGHTxWIDTH; may be repeated."
)
@click.option(
    "--text-tokens",
    multiple=True,
    type=int,
    default=[128],
    show_default=True,
    help="The first for all sizes, all for the first size.",
)
@click.option(
    "--variant", "variants", multiple=True, type=click.Choice(list(VARIANTS)), default=["eager"], show_default=True
)
@click.option("--batch", default=1, show_default=True, help="Images at once.")
@click.option("--device", "device_name", default="cpu", show_default=True)
@click.option(
    "--dtype", "dtype_name", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32", show_default=True
)
@click.option("--attention-backend", default="auto", show_default=True, help="Ours only.")
@click.option("--warmup", default=3, show_default=True)
@click.option("--iterations", default=20, show_default=True)
@click.option(
    "--other-iterations", default=None, type=int, help="For all but the first size and length; the same by default."
)
@click.option("--clock", type=click.Choice(list(CLOCKS)), default="wall", show_default=True)
@click.option(
    "--count-compilations/--no-count-compilations",
    default=True,
    show_default=True,
    help="Evaluate all standard prompts at the first two sizes.",
)
@click.option("--threads", default=None, type=int, help="CPU threads of torch.")
def main(**options: Any) -> None:
    """Run the benchmark."""
    if options["threads"] is not None:
        torch.set_num_threads(options["threads"])
    setting = Setting(
        config=transformer_config(options["config_name"]),
        device=resolve_device(options["device_name"], "device"),
        dtype=getattr(torch, options["dtype_name"]),
        batch=options["batch"],
        warmup=options["warmup"],
        iterations=options["iterations"],
        other_iterations=options["other_iterations"] or options["iterations"],
        clock=CLOCKS[options["clock"]],
        counts_compilations=options["count_compilations"],
    )
    first_size, *other_sizes = map(parse_size, options["sizes"])
    first_tokens = options["text_tokens"][0]
    cases = [(*first_size, tokens) for tokens in options["text_tokens"]]
    cases += [(*size, first_tokens) for size in other_sizes]
    print(f"{machine(setting.device)}, torch {torch.__version__}, {options['dtype_name']}, batch {setting.batch}")
    print("variant                size  text    ours ms  diffus ms  ratio  ceiling   prep ms  first s  comp  rel diff")
    rows = []
    theirs: Any = build_diffusers(options["config_name"], setting.device, setting.dtype)
    is_peer_compiled = False
    for variant in sorted(options["variants"], key=lambda name: VARIANTS[name]["compile"] == "on"):
        if VARIANTS[variant]["compile"] == "on" and not is_peer_compiled:
            theirs.compile_repeated_blocks(fullgraph=True)
            is_peer_compiled = True
        how = (setting, options["attention_backend"], cases)
        for row in bench_variant(options["config_name"], variant, theirs, *how):
            print_row(row)
            rows.append(row)
        gc.collect()  # the finished variant
    record = {
        "benchmark": "transformer",
        "machine": machine(setting.device),
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "diffusers")},
        "options": options,
        "rows": rows,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
