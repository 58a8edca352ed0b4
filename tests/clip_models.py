"""Small random CLIPs as PickScore and HPS v2.1 are published, and CLIP once more, from open_clip's weights alone."""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

VISION_WIDTH, TEXT_WIDTH, EMBEDDING, PATCH, IMAGE_SIZE, LENGTH = 160, 128, 24, 8, 32, 77
LAYERS = 2
LETTERS = "abcdefghijklmnopqrstuvwxyz.,"
START, END = "<|startoftext|>", "<|endoftext|>"


def write_tokenizer(folder: Path) -> int:
    """Write a byte-pair tokenizer that knows letters and one word; return its size."""
    from transformers import CLIPTokenizer

    pieces = ["!", *LETTERS, *(f"{letter}</w>" for letter in LETTERS), "ca", "cat</w>", START, END]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    folder.mkdir(parents=True, exist_ok=True)
    CLIPTokenizer(vocab=vocabulary, merges=[("c", "a"), ("ca", "t</w>")])._tokenizer.save(
        str(folder / "tokenizer.json")
    )
    return len(pieces)


def token_ids(text: str, size: int) -> torch.Tensor:
    """The ids of a text of letters, by hand, [77]."""
    pieces = ["!", *LETTERS, *(f"{letter}</w>" for letter in LETTERS), "ca", "cat</w>", START, END]
    words = text.lower().replace(".", " .").split()
    spelled = [piece for word in words for piece in (["cat</w>"] if word == "cat" else [*word[:-1], f"{word[-1]}</w>"])]
    ids = [pieces.index(piece) for piece in [START, *spelled[: LENGTH - 2], END]]
    assert size == len(pieces)
    return torch.tensor(ids + [0] * (LENGTH - len(ids)))


def open_clip_weights(vocabulary: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights in open_clip's names, large enough that every part moves the cosine."""
    shapes: dict[str, tuple[int, ...]] = {
        "visual.class_embedding": (VISION_WIDTH,),
        "visual.positional_embedding": (1 + (IMAGE_SIZE // PATCH) ** 2, VISION_WIDTH),
        "visual.conv1.weight": (VISION_WIDTH, 3, PATCH, PATCH),
        "visual.proj": (VISION_WIDTH, EMBEDDING),
        "token_embedding.weight": (vocabulary, TEXT_WIDTH),
        "positional_embedding": (LENGTH, TEXT_WIDTH),
        "text_projection": (TEXT_WIDTH, EMBEDDING),
    }
    norms = [("visual.ln_pre", VISION_WIDTH), ("visual.ln_post", VISION_WIDTH), ("ln_final", TEXT_WIDTH)]
    for root, width in (("visual.transformer", VISION_WIDTH), ("transformer", TEXT_WIDTH)):
        for layer in range(LAYERS):
            block = f"{root}.resblocks.{layer}"
            norms += [(f"{block}.ln_1", width), (f"{block}.ln_2", width)]
            linears = {
                "attn.out_proj": (width, width),
                "mlp.c_fc": (2 * width, width),
                "mlp.c_proj": (width, 2 * width),
            }
            for name, shape in linears.items():
                shapes[f"{block}.{name}.weight"], shapes[f"{block}.{name}.bias"] = shape, shape[:1]
            shapes[f"{block}.attn.in_proj_weight"] = (3 * width, width)
            shapes[f"{block}.attn.in_proj_bias"] = (3 * width,)
    for name, width in norms:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (width,), (width,)
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator) * (0.3 if len(shape) == 1 else shape[-1] ** -0.5)
        weights[name] = values + 1 if ".ln_" in f".{name}" and name.endswith("weight") else values
    return {**weights, "logit_scale": torch.tensor(3.0)}


def write_hps(folder: Path, **changed: torch.Tensor) -> Path:
    weights = {**open_clip_weights(write_tokenizer(folder)), **changed}
    torch.save({"state_dict": weights, "epoch": 1}, folder / "HPS_v2.1_compressed.pt")
    return folder


def write_pick_score(folder: Path) -> Path:
    """The same network in transformers' layout, whose names are spelled here once more."""
    size = write_tokenizer(folder)
    weights = open_clip_weights(size)
    ours = {
        "logit_scale": weights["logit_scale"],
        "visual_projection.weight": weights["visual.proj"].T,
        "text_projection.weight": weights["text_projection"].T,
        "vision_model.embeddings.class_embedding": weights["visual.class_embedding"],
        "vision_model.embeddings.position_embedding.weight": weights["visual.positional_embedding"],
        "vision_model.embeddings.patch_embedding.weight": weights["visual.conv1.weight"],
        "text_model.embeddings.token_embedding.weight": weights["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": weights["positional_embedding"],
    }
    parts = {"vision_model.pre_layrnorm": "visual.ln_pre", "vision_model.post_layernorm": "visual.ln_post"}
    parts["text_model.final_layer_norm"] = "ln_final"
    for tower, root in (("vision_model", "visual.transformer"), ("text_model", "transformer")):
        for layer in range(LAYERS):
            here, there = f"{tower}.encoder.layers.{layer}", f"{root}.resblocks.{layer}"
            parts |= {f"{here}.layer_norm1": f"{there}.ln_1", f"{here}.layer_norm2": f"{there}.ln_2"}
            parts |= {f"{here}.mlp.fc1": f"{there}.mlp.c_fc", f"{here}.mlp.fc2": f"{there}.mlp.c_proj"}
            parts[f"{here}.self_attn.out_proj"] = f"{there}.attn.out_proj"
            for kind in ("weight", "bias"):
                packed = weights[f"{there}.attn.in_proj_{kind}"]
                width = len(packed) // 3
                for index, name in enumerate("qkv"):
                    ours[f"{here}.self_attn.{name}_proj.{kind}"] = packed[index * width : (index + 1) * width]
    for here, there in parts.items():
        ours |= {f"{here}.{kind}": weights[f"{there}.{kind}"] for kind in ("weight", "bias")}
    save_file({name: tensor.contiguous() for name, tensor in ours.items()}, folder / "model.safetensors")
    shared = {"num_hidden_layers": LAYERS, "hidden_act": "gelu", "projection_dim": EMBEDDING}
    text = {
        **shared,
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 2 * TEXT_WIDTH,
        "num_attention_heads": TEXT_WIDTH // 64,
        "vocab_size": size,
        "max_position_embeddings": LENGTH,
        "eos_token_id": 2,
        "bos_token_id": 0,
    }
    vision = {
        **shared,
        "hidden_size": VISION_WIDTH,
        "intermediate_size": 2 * VISION_WIDTH,
        "num_attention_heads": VISION_WIDTH // 80,
        "image_size": IMAGE_SIZE,
        "patch_size": PATCH,
    }
    config = {"model_type": "clip", "projection_dim": EMBEDDING, "text_config": text, "vision_config": vision}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _norm(weights, name, x):
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-5)


def _tower(weights, root, x, head_width, mask):
    for layer in range(LAYERS):
        block = f"{root}.resblocks.{layer}"
        packed = _norm(weights, f"{block}.ln_1", x) @ weights[f"{block}.attn.in_proj_weight"].T
        packed = packed + weights[f"{block}.attn.in_proj_bias"]
        query, key, value = (part.unflatten(-1, (-1, head_width)).transpose(0, 1) for part in packed.chunk(3, -1))
        scores = query @ key.transpose(1, 2) / head_width**0.5 + mask
        attended = (scores.softmax(-1) @ value).transpose(0, 1).flatten(1)
        x = x + attended @ weights[f"{block}.attn.out_proj.weight"].T + weights[f"{block}.attn.out_proj.bias"]
        inner = _norm(weights, f"{block}.ln_2", x) @ weights[f"{block}.mlp.c_fc.weight"].T
        inner = F.gelu(inner + weights[f"{block}.mlp.c_fc.bias"])
        x = x + inner @ weights[f"{block}.mlp.c_proj.weight"].T + weights[f"{block}.mlp.c_proj.bias"]
    return x


def reference_cosine(weights: dict[str, torch.Tensor], pixels: torch.Tensor, text: str) -> float:
    """The cosine of normalised pixels [3, 32, 32] and a text, as `open_clip.CLIP` computes it."""
    patches = F.unfold(pixels[None], PATCH, stride=PATCH)[0].T @ weights["visual.conv1.weight"].flatten(1).T
    x = torch.cat([weights["visual.class_embedding"][None], patches]) + weights["visual.positional_embedding"]
    x = _tower(weights, "visual.transformer", _norm(weights, "visual.ln_pre", x), 80, torch.zeros(()))
    image = _norm(weights, "visual.ln_post", x[0]) @ weights["visual.proj"]
    ids = token_ids(text, len(weights["token_embedding.weight"]))
    x = weights["token_embedding.weight"][ids] + weights["positional_embedding"]
    x = _tower(weights, "transformer", x, 64, torch.full((LENGTH, LENGTH), -torch.inf).triu(1))
    written = _norm(weights, "ln_final", x)[ids.argmax()] @ weights["text_projection"]
    return float(image @ written / image.norm() / written.norm())
