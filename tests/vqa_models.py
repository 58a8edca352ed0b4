"""A small random Qwen3-VL in the published layout."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers

SPECIALS = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
WORDS = ["Yes", "No", "user", "assistant", "Is", "there", "a", "red", "cat", "Does", "this", "picture", "show"]
WORDS += ["Please", "answer", "yes", "or", "no", "?", ".", '"', "\n", "on", "ice"]
VOCABULARY = {token: index for index, token in enumerate([*SPECIALS, "<unk>", *WORDS])}
PATCH, LIMITS = 4, {"shortest_edge": 64, "longest_edge": 1024}


def write_tokenizer(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(vocab=VOCABULARY, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Punctuation()]
    )
    tokenizer.add_special_tokens(SPECIALS)
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def write_vqa(folder: Path) -> Path:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder)
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(VOCABULARY),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e5, "mrope_section": [4, 2, 2]},
        },
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": PATCH,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
        image_token_id=VOCABULARY["<|image_pad|>"],
        video_token_id=VOCABULARY["<|video_pad|>"],
        vision_start_token_id=VOCABULARY["<|vision_start|>"],
        vision_end_token_id=VOCABULARY["<|vision_end|>"],
    )
    torch.manual_seed(0)
    model = Qwen3VLForConditionalGeneration(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.6 * weight[0].numel() ** -0.5 if weight.dim() == 2 else 0.2)
        model.lm_head.weight.mul_(4)
    model.save_pretrained(folder)
    form = {"size": LIMITS, "patch_size": PATCH, "merge_size": 2, "temporal_patch_size": 2}
    form |= {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    (folder / "preprocessor_config.json").write_text(json.dumps(form))
    return folder
