"""Stage 5d: do both scorers rank what they should?

Prints mean scores over pictures drawn with few and many steps and from several hidden layers. Then what is aimed at,
each line with its aim: the reward's preference for each kind of pair and SigLIP's hit rate (measured on held-out
samples by their own stages), and whether either scorer ranks steps and hidden layers rightly.

Usage: `python -m training.checks.check_scorers --world ... --tokenizer training/build/tokenizer --build training/build
--output training/build/evaluation`
"""

import json
from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path
from typing import NamedTuple

import click
import torch
from tokenizers import Tokenizer
from torch import Tensor

from llm_dit.prompting.chat_template import format_prompt
from training.checks.judge import load_judge, look
from training.checks.questions import make_questions
from training.learning.reward_network import MAX_TOKENS
from training.learning.weights import wait_for
from training.stages.batched_euler import DEFAULT_SETTINGS
from training.stages.generator import load_generator
from training.stages.reward_mini import load_reward, reward_of
from training.stages.siglip_mini import accuracy_of_64, embed, load_siglip, token_ids
from training.world.world import World

SETTINGS = {
    **{f"{steps} steps": replace(DEFAULT_SETTINGS, steps=steps) for steps in (2, 4, 9)},
    **{f"layer {layer}": replace(DEFAULT_SETTINGS, hidden_layer=layer) for layer in (-1, -2, -3, -4, -5, -6)},
    "guidance 1": replace(DEFAULT_SETTINGS, guidance_scale=1.0),
}


STEPS = ("2 steps", "4 steps", "9 steps")
LAYERS = tuple(name for name in SETTINGS if name.startswith("layer"))
AIM = 0.9
SAME = 0.01
"""Share of right judgements by which two layers must differ to count as ranked by the judge."""


class Line(NamedTuple):
    """One aim and what came of it."""

    name: str
    value: str
    aim: str
    is_met: bool


def aims(siglip: dict[str, float | None], preferred: dict[str, float]) -> list[Line]:
    """A line for SigLIP's hit rate and for each kind of pair."""
    rates = {f"siglip, {name}": rate for name, rate in siglip.items() if rate is not None}
    rates |= {f"reward prefers the better one, {kind}": rate for kind, rate in preferred.items()}
    return [Line(name, f"{rate:.1%}", f"{AIM:.0%}", rate >= AIM) for name, rate in rates.items()]


def rankings(table: dict[str, dict[str, float]]) -> list[Line]:
    """Whether either scorer gives more steps a higher score, and ranks two layers as the judge does."""
    lines = []
    for scorer in ("siglip", "reward"):
        scores = [table[name][scorer] for name in STEPS]
        rises = all(one < other for one, other in pairwise(scores))
        lines.append(Line(f"{scorer} ranks 2 < 4 < 9 steps", str(rises).lower(), "true", rises))
        told = [
            (one, other) for one, other in permutations(LAYERS, 2) if table[one]["judge"] + SAME < table[other]["judge"]
        ]
        wrong = [f"{one} over {other}" for one, other in told if table[one][scorer] >= table[other][scorer]]
        value = "true" if not wrong else f"false: {', '.join(wrong)}"
        lines.append(Line(f"{scorer} ranks layers as the judge does", value, "true", not wrong))
    return lines


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
    found = json.loads((build / "siglip.json").read_text()) if (build / "siglip.json").exists() else {}
    preferred: dict[str, float] = json.loads((build / "reward.json").read_text())["preferred"]
    lines = aims(found, preferred) + rankings(table)
    for line in lines:
        print(f"{line.name}: {line.value} (aim: {line.aim})", flush=True)
    record = {"settings": table, "siglip": found, "reward": scale, "aims": [line._asdict() for line in lines]}
    output.mkdir(parents=True, exist_ok=True)
    (output / "scorers.json").write_text(json.dumps(record, indent=2) + "\n")


def _cosines(picture: Tensor, text: Tensor) -> float:
    return (picture * text).sum(-1).mean().item()


if __name__ == "__main__":
    main()
