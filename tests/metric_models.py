"""Small random scorers in the published layouts, for the tests of experiments/metrics."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = ["a", "cat", "dog", "red", "blue", "apple", "on", "the", "table", "sits", "in", "sun", "small", "big", "two"]
WORDS += ["and", "with", "ice", "river", "##s", ",", "."]
VISION = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
TEXT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 28}
IMAGE_SIZE, PATCH, MAX_LENGTH = 32, 8, 12
MEAN, STD = 0.25, 1.5


def bert_vocabulary() -> dict[str, int]:
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return {token: index for index, token in enumerate([*specials, *WORDS])}


def bert_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocab=bert_vocabulary(), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def image_reward_shapes() -> dict[str, tuple[int, ...]]:
    """Every weight of the published layout with its shape, spelled out rather than taken from the code under test."""
    V, T, M, I = VISION["hidden_size"], TEXT["hidden_size"], VISION["intermediate_size"], TEXT["intermediate_size"]  # noqa: E741
    shapes: dict[str, tuple[int, ...]] = {
        "blip.visual_encoder.cls_token": (1, 1, V),
        "blip.visual_encoder.pos_embed": (1, 1 + (IMAGE_SIZE // PATCH) ** 2, V),
        "blip.visual_encoder.patch_embed.proj.weight": (V, 3, PATCH, PATCH),
        "blip.visual_encoder.patch_embed.proj.bias": (V,),
        "blip.text_encoder.embeddings.word_embeddings.weight": (len(bert_vocabulary()) + 2, T),
        "blip.text_encoder.embeddings.position_embeddings.weight": (20, T),
    }

    def linear(name: str, out: int, width: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, width), (out,)

    def norm(name: str, width: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (width,), (width,)

    for layer in range(VISION["num_hidden_layers"]):
        block = f"blip.visual_encoder.blocks.{layer}"
        norm(f"{block}.norm1", V)
        norm(f"{block}.norm2", V)
        linear(f"{block}.attn.qkv", 3 * V, V)
        linear(f"{block}.attn.proj", V, V)
        linear(f"{block}.mlp.fc1", M, V)
        linear(f"{block}.mlp.fc2", V, M)
    norm("blip.visual_encoder.norm", V)
    norm("blip.text_encoder.embeddings.LayerNorm", T)
    for layer in range(TEXT["num_hidden_layers"]):
        block = f"blip.text_encoder.encoder.layer.{layer}"
        for attention, width in (("attention", T), ("crossattention", V)):
            linear(f"{block}.{attention}.self.query", T, T)
            linear(f"{block}.{attention}.self.key", T, width)
            linear(f"{block}.{attention}.self.value", T, width)
            linear(f"{block}.{attention}.output.dense", T, T)
            norm(f"{block}.{attention}.output.LayerNorm", T)
        linear(f"{block}.intermediate.dense", I, T)
        linear(f"{block}.output.dense", T, I)
        norm(f"{block}.output.LayerNorm", T)
    for index, (out, width) in {0: (1024, T), 2: (128, 1024), 4: (64, 128), 6: (16, 64), 7: (1, 16)}.items():
        linear(f"mlp.layers.{index}", out, width)
    return shapes


def image_reward_weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights, large enough that every part moves the reward."""
    generator = torch.Generator().manual_seed(seed)

    def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        values = torch.randn(shape, generator=generator)
        if "norm" in name.lower() and name.endswith("weight"):
            return 1 + 0.2 * values
        return values * (shape[-1] ** -0.5 if len(shape) > 1 else 0.1)

    return {name: draw(name, shape) for name, shape in image_reward_shapes().items()}


def write_image_reward(folder: Path, *, as_pickle: bool = False, **changed: torch.Tensor) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    weights = {**image_reward_weights(), **changed}
    if as_pickle:
        torch.save(weights, folder / "ImageReward.pt")
    else:
        save_file(weights, folder / "model.safetensors")
    text = {
        **TEXT,
        "max_position_embeddings": 20,
        "vocab_size": len(bert_vocabulary()) + 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "encoder_width": 768,
        "add_cross_attention": True,
        "model_type": "bert",
    }
    head = {
        "model_type": "image_reward",
        "vision_config": {**VISION, "image_size": IMAGE_SIZE, "patch_size": PATCH},
        "max_length": MAX_LENGTH,
        "mean": MEAN,
        "std": STD,
    }
    (folder / "med_config.json").write_text(json.dumps(text))
    (folder / "config.json").write_text(json.dumps(head))
    bert_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def write_siglip(folder: Path) -> Path:
    from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipModel, SiglipTextConfig, SiglipVisionConfig

    vocabulary = {token: index for index, token in enumerate(["<pad>", "<eos>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    wrapped.save_pretrained(folder)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    text = SiglipTextConfig(
        **sizes,
        vocab_size=len(vocabulary),
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    vision = SiglipVisionConfig(**sizes, image_size=32, patch_size=8)
    torch.manual_seed(0)
    model = SiglipModel(SiglipConfig(text_config=text.to_dict(), vision_config=vision.to_dict()))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.25)
            elif "bias" in name and weight.numel() > 1:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
        model.logit_scale.fill_(2.0)
        model.logit_bias.fill_(-3.0)
    model.save_pretrained(folder)
    processor = {
        "image_processor_type": "SiglipImageProcessor",
        "size": {"height": 32, "width": 32},
        "resample": 2,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "rescale_factor": 1 / 255,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


LPIPS_WIDTHS = (8, 6, 7, 5, 4)
LPIPS_KERNELS = ((0, 11), (3, 5), (6, 3), (8, 3), (10, 3))


def write_lpips(folder: Path, *, seed: int = 0) -> Path:
    """Write small random weights in the two published layouts: torchvision's AlexNet, and lpips' v0.1."""
    generator = torch.Generator().manual_seed(seed)
    trunk, heads, width = {}, {}, 3
    for index, ((place, side), channels) in enumerate(zip(LPIPS_KERNELS, LPIPS_WIDTHS, strict=True)):
        trunk[f"features.{place}.weight"] = torch.randn(channels, width, side, side, generator=generator) * 0.1
        trunk[f"features.{place}.bias"] = torch.randn(channels, generator=generator) * 0.1
        heads[f"lin{index}.model.1.weight"] = torch.rand(1, channels, 1, 1, generator=generator)
        width = channels
    trunk["classifier.1.weight"] = torch.zeros(2, 2)  # the published file has the classifier too
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(trunk, folder / "alexnet-owt-7be5be79.pth")
    torch.save(heads, folder / "alex.pth")
    return folder
