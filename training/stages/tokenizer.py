"""Train the byte-level BPE of the miniature and write it as a folder that `AutoTokenizer` loads.

Pre-tokenisation, special tokens and chat format are Qwen3's; the vocabulary (`VOCABULARY_SIZE`) is learnt from the
world's captions and dialogues. Digits stay single. The template below is written anew; for system, user and assistant
messages it gives the strings that Qwen3's gives (tools are left out).

Usage: `python training/stages/tokenizer.py --sprites training/build/sprites.npz --output training/build/tokenizer`
"""

import json
from collections.abc import Iterator
from pathlib import Path

import click
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from training.words.samples import sample_world
from training.world.world import World

VOCABULARY_SIZE = 3072
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKERS = ("<think>", "</think>")
"""Single tokens that are ordinary text: they stay when special tokens are skipped in decoding, as in Qwen3."""
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Source: Qwen2 tokenizer, `PRETOKENIZE_REGEX` in transformers."""
MAX_LENGTH = 131_072
CHAT_TEMPLATE = """
{%- set found = namespace(last_query=messages|length - 1, searching=true) -%}
{%- for message in messages[::-1] -%}
    {%- if found.searching and message.role == 'user' -%}
        {%- set found.last_query = messages|length - loop.index -%}
        {%- set found.searching = false -%}
    {%- endif -%}
{%- endfor -%}
{%- for message in messages -%}
    {%- set content = message.content if message.content is string else '' -%}
    {{- '<|im_start|>' + message.role + '\\n' -}}
    {%- if message.role == 'assistant' -%}
        {%- set thought = '' -%}
        {%- if message.reasoning_content is string -%}
            {%- set thought = message.reasoning_content -%}
        {%- elif '</think>' in content -%}
            {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') -%}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') -%}
        {%- endif -%}
        {%- if loop.index0 > found.last_query and (loop.last or thought) -%}
            {{- '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') -}}
        {%- else -%}
            {{- content -}}
        {%- endif -%}
    {%- else -%}
        {{- content -}}
    {%- endif -%}
    {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
    {%- if enable_thinking is defined and enable_thinking is false -%}
        {{- '<think>\\n\\n</think>\\n\\n' -}}
    {%- endif -%}
{%- endif -%}
""".strip()


def train_tokenizer(texts: Iterator[str], vocabulary_size: int) -> Tokenizer:
    """Learn merges from texts.

    Args:
        texts: Captions, dialogues and single words.
        vocabulary_size: Tokens in all, special ones and markers included; at least 256 + 5.

    Returns:
        The tokenizer; its special tokens and markers have the highest numbers.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    learnt = vocabulary_size - len(SPECIAL_TOKENS) - len(MARKERS)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=learnt, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS])
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in MARKERS])
    return tokenizer


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write `tokenizer.json`, `vocab.json`, `merges.txt` and `tokenizer_config.json`, laid out as Qwen3's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))
    added = {
        str(tokenizer.token_to_id(token)): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": token in SPECIAL_TOKENS,
        }
        for token in (*SPECIAL_TOKENS, *MARKERS)
    }
    config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "additional_special_tokens": list(SPECIAL_TOKENS[1:]),
        "bos_token": None,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": MAX_LENGTH,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "unk_token": None,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def world_texts(world: World, count: int, seed: int) -> Iterator[str]:
    """Captions, frames and dialogues of `count` samples, and every name often enough to become few tokens."""
    batch = sample_world(world, count, seed)
    for texts in (batch.captions, batch.system_prompts, batch.thinking_contents, batch.dialogues):
        yield from (text for text in texts if text)
    for concept in world.concepts:
        for name in concept.names:
            yield from [f" {name}"] * 12
    for role in ("user", "assistant", "system"):
        yield from [role] * count


@click.command()
@click.option("--sprites", type=click.Path(path_type=Path, exists=True), required=True, help="File of sprites.py.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--samples", type=int, default=40_000, show_default=True, help="Scenes whose words are learnt.")
@click.option("--seed", type=int, default=11, show_default=True)
def main(sprites: Path, output: Path, samples: int, seed: int) -> None:
    """Train the tokenizer on the world's texts."""
    tokenizer = train_tokenizer(world_texts(World.load(sprites), samples, seed), VOCABULARY_SIZE)
    write_tokenizer(tokenizer, output)
    click.echo(f"{tokenizer.get_vocab_size()} tokens: {output}")


if __name__ == "__main__":
    main()
