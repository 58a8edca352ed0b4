"""Stage 5b: ask the judge what the miniature draws, and lay pictures out to be looked at.

Prints the table of what is right in how many pictures, beside the project's aims (`questions.AIMS`) and how often the
judge is right on true renders of the same scenes, and writes it as Markdown and JSON. All prompts are new, several
seeds each, no guidance, 9 steps.

Usage: `python -m training.checks.evaluate --world ... --tokenizer training/build/tokenizer --build training/build
--output training/build/evaluation`
"""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import yaml

from llm_dit.prompting.chat_template import format_prompt
from training.checks.judge import Judge, Verdict, load_judge, look
from training.checks.picture_sheet import save_sheet
from training.checks.questions import AIMS, Question, kinds_of, make_questions, own_prose_questions, prose_questions
from training.pictures.render import Renderer
from training.stages.batched_euler import DEFAULT_SETTINGS, Generator, SampleSettings
from training.stages.generator import load_generator
from training.world.world import World

PROSE = Path(__file__).with_name("prompts.yaml")
SHEETS = Path(__file__).with_name("sheet_prompts.yaml")
VARIANTS = {
    "2 steps": replace(DEFAULT_SETTINGS, steps=2),
    "4 steps": replace(DEFAULT_SETTINGS, steps=4),
    "9 steps": DEFAULT_SETTINGS,
    "20 steps": replace(DEFAULT_SETTINGS, steps=20),
    "guidance 1": replace(DEFAULT_SETTINGS, guidance_scale=1.0),
    "guidance 2": replace(DEFAULT_SETTINGS, guidance_scale=2.0),
    "shift 1": replace(DEFAULT_SETTINGS, shift=1.0),
    "shift 6": replace(DEFAULT_SETTINGS, shift=6.0),
    "layer -1": replace(DEFAULT_SETTINGS, hidden_layer=-1),
    "layer -3": replace(DEFAULT_SETTINGS, hidden_layer=-3),
    "layer -4": replace(DEFAULT_SETTINGS, hidden_layer=-4),
    "layer -5": replace(DEFAULT_SETTINGS, hidden_layer=-5),
    "layer -6": replace(DEFAULT_SETTINGS, hidden_layer=-6),
    "96 x 96": replace(DEFAULT_SETTINGS, height=96, width=96),
    "192 x 192": replace(DEFAULT_SETTINGS, height=192, width=192),
    "128 x 192": replace(DEFAULT_SETTINGS, height=128, width=192),
}
"""Settings under which the questions on trained objects are asked again."""


def formatted(question: Question) -> str:
    """The formatted prompt of a question."""
    return format_prompt(
        question.prompt, system_prompt=question.system_prompt, thinking_content=question.thinking_content
    )


def ask(
    judge: Judge,
    generator: Generator,
    questions: Sequence[Question],
    seeds: int,
    settings: SampleSettings = DEFAULT_SETTINGS,
) -> dict[str, float]:
    """Share of right pictures by kind of question, over `seeds` pictures a prompt."""
    asked = [(question, (formatted(question), seed)) for question in questions for seed in range(seeds)]
    drawn = list(dict.fromkeys(job for _, job in asked))  # several questions may ask about one picture
    pictures = generator.draw([prompt for prompt, _ in drawn], [seed for _, seed in drawn], settings)
    verdicts = dict(zip(drawn, look(judge, pictures), strict=True))
    return _shares((question, verdicts[job]) for question, job in asked)


def ask_truth(judge: Judge, renderer: Renderer, world: World, questions: Sequence[Question]) -> dict[str, float]:
    """Share of true renders that the judge gets right, by kind of question: the ceiling of the table."""
    known = [question for question in questions if question.scene is not None]
    rows = np.stack([world.row(question.scene) for question in known if question.scene is not None])
    pictures = torch.cat([renderer.render(part, 128, 128) for part in torch.from_numpy(rows).split(512)])
    return _shares(zip(known, look(judge, pictures), strict=True))


def _shares(judged: Iterable[tuple[Question, Verdict]]) -> dict[str, float]:
    answers: dict[str, list[bool]] = {}
    for question, verdict in judged:
        for kind in kinds_of(question):
            answers.setdefault(kind, []).append(question.test(verdict))
    return {kind: sum(given) / len(given) for kind, given in answers.items()}


def as_markdown(drawn: dict[str, float], truth: dict[str, float], counts: dict[str, int], seeds: int) -> str:
    """The table: kind, prompts, right pictures beside the aim, right true renders; kinds with an aim come first."""
    lines = ["| question | prompts | seeds | miniature | aim | true renders |", "|---|---|---|---|---|---|"]
    kinds = [kind for kind in AIMS if kind in drawn] + sorted(drawn.keys() - AIMS.keys())
    for kind in kinds:
        aim = f"{AIMS[kind]:.0%}" if kind in AIMS else "-"
        known = f"{truth[kind]:.1%}" if kind in truth else "-"
        lines.append(f"| {kind} | {counts[kind]} | {seeds} | {drawn[kind]:.1%} | {aim} | {known} |")
    return "\n".join(lines) + "\n"


def variants_table(judge: Judge, generator: Generator, questions: Sequence[Question], seeds: int) -> dict[str, float]:
    """Right objects under each of `VARIANTS`."""
    return {
        name: next(iter(ask(judge, generator, questions, seeds, settings).values()))
        for name, settings in VARIANTS.items()
    }


def draw_sheets(generator: Generator, folder: Path) -> None:
    """Draw the prompts of `sheet_prompts.yaml`, one sheet for each list, and one of settings."""
    lists = yaml.safe_load(SHEETS.read_text())
    for name, entries in lists.items():
        prompts = [format_prompt(entry["prompt"], **_companions(entry)) for entry in entries]
        pictures = generator.draw(prompts, [int(entry.get("seed", 0)) for entry in entries])
        labels = [entry["prompt"] + _note(entry) for entry in entries]
        save_sheet(list(pictures), labels, folder / f"sheet_{name}.png")
    prompts = [format_prompt(entry["prompt"]) for entry in lists["free"][:8]]
    cells, labels = [], []
    for name, settings in VARIANTS.items():
        cells += list(generator.draw(prompts, [0] * len(prompts), settings))
        labels += [name] * len(prompts)
    save_sheet(cells, labels, folder / "sheet_settings.png")


def _companions(entry: dict[str, str]) -> dict[str, Any]:
    return {name: entry[name] for name in ("system_prompt", "thinking_content") if name in entry}


def _note(entry: dict[str, str]) -> str:
    return "".join(f" [{name.split('_')[0]}: {text}]" for name, text in _companions(entry).items())


@click.command()
@click.option("--world", type=click.Path(path_type=Path), required=True)
@click.option("--tokenizer", type=click.Path(path_type=Path), required=True)
@click.option("--build", type=click.Path(path_type=Path), required=True, help="Folder of the stages' weights.")
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option(
    "--prompts", type=click.Path(path_type=Path), default=None, help="YAML of standard prompts to ask as well."
)
@click.option("--count", type=int, default=300, help="Prompts of each kind.")
@click.option("--seeds", type=int, default=3)
@click.option("--device", type=torch.device, default=torch.device("cuda"))
def main(
    world: Path,
    tokenizer: Path,
    build: Path,
    output: Path,
    prompts: Path | None,
    count: int,
    seeds: int,
    device: torch.device,
) -> None:
    """Print the judge's table and write it, with contact sheets, into the output folder."""
    torch.set_float32_matmul_precision("high")
    art = World.load(world)
    questions = make_questions(art, count) + own_prose_questions(art, PROSE)
    if prompts is not None:
        questions += prose_questions(art, read_prompts(prompts))
    generator = load_generator(tokenizer, build, device)
    draw_sheets(generator, output)
    judge = load_judge(build / "judge.safetensors", len(art.concepts), device)
    start = time.perf_counter()
    drawn = ask(judge, generator, questions, seeds)
    elapsed_s = time.perf_counter() - start
    truth = ask_truth(judge, Renderer(art, device), art, questions)
    counts = {kind: sum(kind in kinds_of(question) for question in questions) for kind in drawn}
    table = as_markdown(drawn, truth, counts, seeds)
    simple = [question for question in questions if question.kind == "object, trained pair"][: count // 2]
    variants = variants_table(judge, generator, simple, 1)
    (output / "table.md").write_text(table)
    record = {
        "miniature": drawn, "aims": AIMS, "truth": truth, "prompts": counts, "seeds": seeds, "settings": variants,
        "drawing_and_judging_s": round(elapsed_s, 1),
    }  # fmt: skip
    (output / "table.json").write_text(json.dumps(record, indent=2) + "\n")
    print(table, json.dumps(variants, indent=1), f"{elapsed_s:.0f} s for the first table", flush=True)


def read_prompts(path: Path) -> list[str]:
    """Every text under a `prompt` key of a YAML file, however deep."""

    def visit(node: object) -> Iterator[str]:
        values = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
        for value in values:
            yield from visit(value)
        if isinstance(node, dict) and isinstance(node.get("prompt"), str):
            yield node["prompt"]

    return list(visit(yaml.safe_load(path.read_text())))


if __name__ == "__main__":
    main()
