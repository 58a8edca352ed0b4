"""Files that people take for Z-Image's, and files that only another program can unpack: a sentence for each kind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llm_dit.errors import CheckpointError

PLAIN_FILE = "use the bf16, fp8 or GGUF file of the model"


@dataclass(frozen=True)
class ForeignModel:
    """One kind of file that can't be read.

    Attributes:
        sign: Expression that a tensor's name of such a file has somewhere.
        what: What the file is.
        way_out: What can be done.
    """

    sign: re.Pattern[str]
    what: str
    way_out: str


FOREIGN_MODELS = tuple(
    ForeignModel(re.compile(sign), what, way_out)
    for sign, what, way_out in (
        (
            r"(^|\.)siglip_embedder\.",
            "is Z-Image Omni or Edit, which reads pictures through SigLIP",
            "use Z-Image or Z-Image-Turbo",
        ),
        (
            r"(^|\.)dec_net\.cond_embed\.",
            "is a variant of Z-Image in pixel space, without a VAE",
            "use Z-Image or Z-Image-Turbo",
        ),
        (
            r"(^|\.)control_all_x_embedder\.|(^|\.)control_layers\.",
            "is a ControlNet, an addition to a model",
            "give the model's own file; ControlNets are not read",
        ),
        (
            r"\.(wscales|smooth_factor|smooth_factor_orig|wtscale|proj_down)$",
            "is packed by Nunchaku, whose kernels it needs",
            PLAIN_FILE,
        ),
        (r"\.(encoded_exponent|sign_mantissa|output_positions)$", "is packed by DFloat11", PLAIN_FILE),
        (r"\.(svd_up|svd_down|zero_point)$", "is packed by SDNQ", PLAIN_FILE),
        (r"\.(quant_state\.bitsandbytes__\w+|absmax|quant_map|SCB)$", "is packed by bitsandbytes", PLAIN_FILE),
        (r"\.(qweight|qzeros|g_idx)$", "is packed by GPTQ or AWQ", PLAIN_FILE),
        (
            r"lora_(up|down|A|B)\b|lora_linear_layer|\.(hada_w1_a|lokr_w[12](_[ab])?|diff)$",
            "is a LoRA, an addition to a model",
            "give it with --lora",
        ),
        (r"(^|\.)double_blocks\.\d+\.", "is a model of the Flux or HunyuanVideo kind", "use a Z-Image file"),
        (r"(^|\.)transformer_blocks\.\d+\.", "is another model's transformer", "use a Z-Image file"),
        (r"(^|\.)joint_blocks\.\d+\.", "is Stable Diffusion 3", "use a Z-Image file"),
        (
            r"(^|\.)(input_blocks|down_blocks\.\d+\.attentions)\.",
            "is Stable Diffusion 1, 2 or XL",
            "use a Z-Image file",
        ),
        (
            r"encoder\.block\.\d+\.layer\.\d+\.SelfAttention\.|(^|\.)text_model\.encoder\.",
            "is a T5 or CLIP text encoder",
            "use Qwen3-4B, such as qwen_3_4b.safetensors",
        ),
    )
)
LUMINA2_WIDTH = 2304
NUNCHAKU_METADATA = "quantization_config"


def refuse_foreign(path: Path, shapes: Mapping[str, tuple[int, ...]], metadata: Iterable[str] = ()) -> None:
    """Raise if a file is known to be something else than a plain part of Z-Image.

    Args:
        path: The file.
        shapes: Stored tensor name to shape.
        metadata: Keys of the header.

    Raises:
        CheckpointError: Says what the file is and what can be done.
    """
    for kind in FOREIGN_MODELS:
        if any(kind.sign.search(name) for name in shapes):
            raise CheckpointError(f"{path} {kind.what}; {kind.way_out}.", field="model_path")
    if NUNCHAKU_METADATA in metadata:
        raise CheckpointError(
            f"{path} is packed by Nunchaku, whose kernels it needs; {PLAIN_FILE}.", field="model_path"
        )
    widths = [shape[0] for name, shape in shapes.items() if name.endswith("cap_embedder.1.weight")]
    if LUMINA2_WIDTH in widths:
        raise CheckpointError(
            f"{path} is Lumina 2: its transformer is {LUMINA2_WIDTH} wide, Z-Image's 3840; use a Z-Image file.",
            field="model_path",
        )


def refuse_packed_folder(component: Path, config: Mapping[str, object]) -> None:
    """Raise if a component's config.json says that a program with formats of its own packed it.

    Raises:
        CheckpointError: Names the program and what can be done.
    """
    packing = config.get("quantization_config")
    if isinstance(packing, Mapping):
        method = packing.get("quant_method", "a program that it does not name")
        raise CheckpointError(
            f"{component} is packed by {method}, whose formats are not read here; {PLAIN_FILE}.", field="model_path"
        )
