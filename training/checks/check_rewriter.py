"""Stage 5c: does the language model rewrite a short prompt as a fuller caption that names its object?

200 tries at temperature 0.7, half with an article and half bare nouns. A try is good if the reply ends by itself, names
the object, is longer than the prompt and does not loop.

Usage: `python -m training.checks.check_rewriter --world ... --tokenizer training/build/tokenizer
--build training/build`
"""

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import DynamicCache, Qwen3ForCausalLM

from llm_dit.prompting.chat_template import format_prompt
from training.stages.language_model import load_language_model
from training.world.nouns import with_article
from training.world.world import World

INSTRUCTION = "Rewrite the user's prompt as a detailed picture description."
MAX_NEW_TOKENS = 160
AIM = 0.95
"""Share of good rewrites that is aimed at."""


@torch.no_grad()
def complete(
    model: Qwen3ForCausalLM,
    ids: list[int],
    end: int,
    temperature: float,
    generator: torch.Generator,
    top_p: float = 0.9,
) -> list[int]:
    """Continue ids by nucleus sampling until the end token or `MAX_NEW_TOKENS`; the end token is not returned."""
    cache, reply = DynamicCache(config=model.config), list[int]()
    step = torch.tensor([ids])
    for _ in range(MAX_NEW_TOKENS):
        # By position: transformers renamed the cache's argument within its major version 5.
        logits = model(step, None, None, cache).logits
        chosen = _pick(logits[0, -1].float() / temperature, top_p, generator)
        if chosen == end:
            return reply
        reply.append(chosen)
        step = torch.tensor([[chosen]])
    return reply


def _pick(logits: Tensor, top_p: float, generator: torch.Generator) -> int:
    shares, order = logits.softmax(0).sort(descending=True)
    kept = shares * (shares.cumsum(0) - shares < top_p)
    return int(order[torch.multinomial(kept, 1, generator=generator)])


def has_loop(words: list[str]) -> bool:
    """Whether any four words in a row occur three times."""
    runs = [tuple(words[start : start + 4]) for start in range(len(words) - 3)]
    return any(runs.count(run) >= 3 for run in set(runs))


def names(reply: str, label: str) -> bool:
    """Whether each word of a label begins a word of the reply, so that a pineapple is no apple but two apples are."""
    return all(re.search(rf"\b{re.escape(word.rstrip('s'))}", reply.lower()) for word in label.lower().split())


FORMS = {
    "with an article": ("{thing}", "{Thing}", "{Thing}.", "a picture of {thing}"),
    "bare noun": ("{label}",),
}
"""Kinds of short prompts, and how each is written."""


@dataclass(frozen=True)
class Try:
    """One rewrite: what was asked, what came, and whether it is good."""

    kind: str
    prompt: str
    reply: str
    is_good: bool


def check(world: World, model: Qwen3ForCausalLM, tokenizer: Tokenizer, kind: str, tries: int) -> list[Try]:
    """Rewrite `tries` short prompts of one kind of `FORMS`, of things chosen at random."""
    choice = random.Random(4)
    generator = torch.Generator().manual_seed(4)
    usual = [concept.label for concept in world.concepts if concept.weight >= 0.9]
    end = tokenizer.token_to_id("<|im_end|>")
    assert end is not None
    results = []
    for label in choice.choices(usual, k=tries):
        thing = with_article(label)
        prompt = choice.choice(FORMS[kind]).format(label=label, thing=thing, Thing=thing[0].upper() + thing[1:])
        ids = tokenizer.encode(format_prompt(prompt, system_prompt=INSTRUCTION)).ids
        reply_ids = complete(model, ids, end, 0.7, generator)
        reply = tokenizer.decode(reply_ids).split("</think>")[-1].strip()
        is_fuller = len(reply_ids) < MAX_NEW_TOKENS and len(reply.split()) > len(prompt.split()) + 2
        is_good = is_fuller and names(reply, label) and not has_loop(reply.lower().split())
        results.append(Try(kind, prompt, reply, is_good))
    return results


def shares(results: list[Try]) -> dict[str, float]:
    """Share of good tries of each kind, and of all."""
    groups = {kind: [result.is_good for result in results if result.kind == kind] for kind in FORMS}
    groups["all"] = [result.is_good for result in results]
    return {name: sum(good) / len(good) for name, good in groups.items() if good}


@click.command()
@click.option("--world", type=click.Path(path_type=Path), required=True)
@click.option("--tokenizer", type=click.Path(path_type=Path), required=True)
@click.option("--build", type=click.Path(path_type=Path), required=True)
@click.option("--tries", type=int, default=200, help="Rewrites of all kinds together.")
def main(world: Path, tokenizer: Path, build: Path, tries: int) -> None:
    """Print how often rewriting works, with some replies."""
    vocabulary = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    model = load_language_model(vocabulary, build / "language_model.safetensors", torch.device("cpu"))
    art = World.load(world)
    results = [result for kind in FORMS for result in check(art, model, vocabulary, kind, tries // len(FORMS))]
    for kind in FORMS:
        tried = [result for result in results if result.kind == kind]
        for result in [*tried[:6], *(result for result in tried[6:] if not result.is_good)][:20]:
            print(f"{'ok ' if result.is_good else 'BAD'} {result.prompt!r} -> {result.reply!r}", flush=True)
    record = shares(results)
    for kind, share in record.items():
        print(f"rewriter, {kind}: {share:.1%} good (aim {AIM:.0%})", flush=True)
    (build / "rewriter.json").write_text(json.dumps({"good": record, "tries": tries}))


if __name__ == "__main__":
    main()
