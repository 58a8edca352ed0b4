"""Stage 5d: do both scorers rank what they should?

Prints mean scores over pictures drawn with few and many steps and from several hidden layers, SigLIP's hit rate among
64 captions on pictures of the transformer, and the reward's preferences on held-out pairs (measured by its own stage).

Usage: `python -m training.check_scorers --world ... --tokenizer training/build/tokenizer --build training/build
--output training/build/evaluation`
"""

import json
from dataclasses import replace
from pathlib import Path

import click
import torch
from tokenizers import Tokenizer
from torch import Tensor

from llm_dit.chat_template import format_prompt
from training.generator import load_generator
from training.judge import load_judge, look
from training.questions import make_questions
from training.reward import load_reward, reward_of
from training.reward_model import MAX_TOKENS
from training.sampler import DEFAULT_SETTINGS
from training.siglip import accuracy_of_64, embed, load_siglip, token_ids
from training.weights import wait_for
from training.world import World

SETTINGS = {
    **{f"{steps} steps": replace(DEFAULT_SETTINGS, steps=steps) for steps in (2, 4, 9)},
    **{f"layer {layer}": replace(DEFAULT_SETTINGS, hidden_layer=layer) for layer in (-1, -2, -3, -4, -5, -6)},
    "guidance 1": replace(DEFAULT_SETTINGS, guidance_scale=1.0),
}


@click.command()
@click.option("--world", type=click.Path(path_type=Path), required=True)
@click.option("--tokenizer", type=click.Path(path_type=Path), required=True)
@click.option("--build", type=click.Path(path_type=Path), required=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--count", type=int, default=448, help="Prompts; a multiple of 64.")
@click.option("--device", type=torch.device, default=torch.device("cuda"))
def main(world: Path, tokenizer: Path, build: Path, output: Path, count: int, device: torch.device) -> None:
    """Print and write the scorers' table."""
    art = World.load(world)
    questions = [question for question in make_questions(art, count) if question.kind == "object, trained pair"]
    questions = questions[: len(questions) // 64 * 64]
    captions = [question.prompt for question in questions]
    words = Tokenizer.from_file(str(wait_for(build / "scorer_tokenizer.json")))
    siglip = load_siglip(wait_for(build / "siglip.safetensors"), words.get_vocab_size(), device)
    reward, scale = load_reward(wait_for(build / "reward.safetensors"), words.get_vocab_size(), device)
    judge = load_judge(wait_for(build / "judge.safetensors"), len(art.concepts), device)
    long_ids, short_ids = (token_ids(words, captions, length).to(device) for length in (64, MAX_TOKENS))
    generator = load_generator(tokenizer, build, device)
    table = {}
    for name, settings in SETTINGS.items():
        pictures = generator.draw([format_prompt(caption) for caption in captions], range(len(captions)), settings)
        table[name] = {
            "siglip": _cosines(*embed(siglip, pictures, long_ids)),
            "reward": (reward_of(reward, pictures, short_ids).mean().item() - scale["mean"]) / scale["std"],
            "judge": sum(q.test(verdict) for q, verdict in zip(questions, look(judge, pictures), strict=True))
            / len(captions),
            "of 64": accuracy_of_64(siglip, pictures, long_ids),
        }
        print(name, {column: round(value, 3) for column, value in table[name].items()}, flush=True)
    (output / "scorers.json").write_text(json.dumps({"settings": table, "reward": scale}, indent=2) + "\n")


def _cosines(picture: Tensor, text: Tensor) -> float:
    return (picture * text).sum(-1).mean().item()


if __name__ == "__main__":
    main()
