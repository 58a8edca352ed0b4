"""Stage 5c: does the language model rewrite a short prompt as a fuller caption that names its object?

200 tries at temperature 0.7. A try is good if the reply ends by itself, names the object, is longer than the prompt and
does not loop.

Usage: `python -m training.check_rewriter --world ... --tokenizer training/build/tokenizer --build training/build`
"""

import json
import random
from pathlib import Path

import click
import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import Qwen3ForCausalLM

from llm_dit.chat_template import format_prompt
from training.language_model import load_language_model
from training.world import World

INSTRUCTION = "Rewrite the user's prompt as a detailed picture description."
MAX_NEW_TOKENS = 160


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
    state, reply = None, list[int]()
    step = torch.tensor([ids])
    for _ in range(MAX_NEW_TOKENS):
        output = model(input_ids=step, past_key_values=state, use_cache=True)
        state = output.past_key_values
        chosen = _pick(output.logits[0, -1].float() / temperature, top_p, generator)
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


def check(
    world: World, model: Qwen3ForCausalLM, tokenizer: Tokenizer, tries: int
) -> tuple[float, list[tuple[str, str, bool]]]:
    """Rewrite `tries` short prompts; return the share of good replies and all of them."""
    choice = random.Random(4)
    generator = torch.Generator().manual_seed(4)
    usual = [concept.label for concept in world.concepts if concept.weight >= 0.9]
    end = tokenizer.token_to_id("<|im_end|>")
    assert end is not None
    results = []
    for label in choice.choices(usual, k=tries):
        prompt = choice.choice((f"a {label}", label, f"A {label}.", f"a picture of a {label}"))
        ids = tokenizer.encode(format_prompt(prompt, system_prompt=INSTRUCTION)).ids
        reply_ids = complete(model, ids, end, 0.7, generator)
        reply = tokenizer.decode(reply_ids).split("</think>")[-1].strip()
        words = reply.lower().split()
        names_it = all(word.rstrip("s") in reply.lower() for word in label.lower().split())
        good = (
            len(reply_ids) < MAX_NEW_TOKENS
            and names_it
            and len(words) > len(prompt.split()) + 2
            and not has_loop(words)
        )
        results.append((prompt, reply, good))
    return sum(good for _, _, good in results) / tries, results


@click.command()
@click.option("--world", type=click.Path(path_type=Path), required=True)
@click.option("--tokenizer", type=click.Path(path_type=Path), required=True)
@click.option("--build", type=click.Path(path_type=Path), required=True)
@click.option("--tries", type=int, default=200)
def main(world: Path, tokenizer: Path, build: Path, tries: int) -> None:
    """Print how often rewriting works, with some replies."""
    vocabulary = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    model = load_language_model(vocabulary, build / "language_model.safetensors", torch.device("cpu"))
    share, results = check(World.load(world), model, vocabulary, tries)
    for prompt, reply, good in [*results[:8], *(entry for entry in results if not entry[2])][:24]:
        print(f"{'ok ' if good else 'BAD'} {prompt!r} -> {reply!r}")
    (build / "rewriter.json").write_text(json.dumps({"good": share, "tries": tries}))
    print(f"rewriter: {share:.1%} of {tries} good")


if __name__ == "__main__":
    main()
