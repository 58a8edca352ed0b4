"""How trainers call the layers of a transformer and the parts of a LoRA, and what that is here.

Source: ai-toolkit, musubi-tuner, kohya, diffusers and PEFT, OneTrainer, DiffSynth, LyCORIS, VideoX-Fun; ComfyUI
`comfy/lora.py`, `comfy/weight_adapter/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from llm_dit.checkpoints.layouts import ORIGINAL_TRANSFORMER

DOTTED_PREFIXES = ("base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.", "unet.")
JOINED_PREFIXES = ("lora_unet_", "lora_unet__", "lora_transformer_", "lycoris_", "lycoris_unet_")
TEXT_ENCODER_PREFIXES = ("text_encoder", "lora_te", "te.", "conditioner.", "lycoris_te")

PART_ENDS: tuple[tuple[str, str, str], ...] = (
    (r"[._]lora[._]up\.weight|\.lora_B(\.\w+)?\.weight|\.lora_B|\.lora_linear_layer\.up\.weight", "lora", "up"),
    (r"[._]lora[._]down\.weight|\.lora_A(\.\w+)?\.weight|\.lora_A|\.lora_linear_layer\.down\.weight", "lora", "down"),
    *((rf"\.hada_{part}", "loha", part) for part in ("w1_a", "w1_b", "w2_a", "w2_b")),
    *((rf"\.lokr_{part}", "lokr", part) for part in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b")),
    (r"\.diff", "diff", "diff"),
    (r"\.alpha", "", "alpha"),
    (r"\.dora_scale|\.lora_magnitude_vector(\.\w+)*", "", "magnitude"),
)
"""Expression of a name's end to the kind that it makes the change and what part of it the tensor is."""
_ENDS = tuple((re.compile(rf"(?:{end})$"), kind, part) for end, kind, part in PART_ENDS)


@dataclass(frozen=True)
class PartName:
    """One tensor's name in a LoRA file, taken apart.

    Attributes:
        layer: What the file calls the layer, prefixes stripped.
        kind: `lora`, `loha`, `lokr`, `diff`, or empty for what each of them may have.
        part: Which factor, `alpha` or `magnitude`.
    """

    layer: str
    kind: str
    part: str


def part_name(name: str) -> PartName | None:
    """Take a tensor's name apart; None if its end is no part of a LoRA."""
    for end, kind, part in _ENDS:
        match = end.search(name)
        if match:
            return PartName(_without_prefix(name[: match.start()]), kind, part)
    return None


def _without_prefix(layer: str) -> str:
    while prefix := next((prefix for prefix in DOTTED_PREFIXES if layer.startswith(prefix)), None):
        layer = layer.removeprefix(prefix)
    return layer


def layer_spellings(layers: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return every spelling of a layer's name to our layers: several where the original has them fused.

    Args:
        layers: Our names of all layers that a LoRA may change, such as `layers.0.attention.to_q`.
    """
    known = set(layers)
    spellings: dict[str, tuple[str, ...]] = {}
    for layer in layers:
        original = ORIGINAL_TRANSFORMER.foreign(layer)[0]
        for name in (layer, original):
            ours = ORIGINAL_TRANSFORMER.ours(name) if name == original else (layer,)
            if known.issuperset(ours):
                joined = name.replace(".", "_")
                spellings |= dict.fromkeys((name, *(prefix + joined for prefix in JOINED_PREFIXES)), ours)
    return spellings


def is_text_encoder(name: str) -> bool:
    """Whether a tensor of a LoRA file changes a text encoder."""
    return _without_prefix(name).startswith(TEXT_ENCODER_PREFIXES)
