"""Stage 5e: have drawn pictures and true renders the colour that was asked for, where the scene has the thing?

Usage: `python -m training.checks.check_colors --world ... --tokenizer training/build/tokenizer --build training/build`,
at 0.8 s a picture on two cores.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from training.checks.evaluate import formatted
from training.checks.judge import Verdict
from training.checks.questions import Question, make_questions
from training.pictures.render import Renderer
from training.stages.generator import load_generator
from training.world.world import World


def share_right(questions: Sequence[Question], pictures: Tensor) -> float:
    """Share of pictures whose thing has the colour that its question asks for."""
    tests = (
        question.test(Verdict((), "none", "none", "none", picture))
        for question, picture in zip(questions, pictures, strict=True)
    )
    return sum(tests) / len(questions)


@click.command()
@click.option("--world", type=click.Path(path_type=Path), required=True)
@click.option("--tokenizer", type=click.Path(path_type=Path), required=True)
@click.option("--build", type=click.Path(path_type=Path), required=True)
@click.option("--count", type=int, default=300)
@click.option("--device", type=torch.device, default=torch.device("cpu"))
def main(world: Path, tokenizer: Path, build: Path, count: int, device: torch.device) -> None:
    """Print the share of right colours on true renders and in drawn pictures."""
    art = World.load(world)
    questions = [question for question in make_questions(art, count) if question.kind == "color"]
    rows = np.stack([art.row(question.scene) for question in questions if question.scene is not None])
    result = {"truth": share_right(questions, Renderer(art, device).render(torch.from_numpy(rows), 128, 128))}
    print(f"{len(questions)} prompts, {result}", flush=True)
    generator = load_generator(tokenizer, build, device)
    pictures = generator.draw([formatted(question) for question in questions], [0] * len(questions))
    result["miniature"] = share_right(questions, pictures)
    (build / "painted_color.json").write_text(json.dumps(result))
    print(result, flush=True)


if __name__ == "__main__":
    main()
