"""The pictures that judges are examined on: those of a results folder's baseline, or what the embedded model draws."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.prompts import STANDARD_PROMPTS, Prompt, read_prompts
from experiments.store.manifest import Manifest
from experiments.store.records import RunRecord
from llm_dit.errors import LlmDitError

EMBEDDED_MODEL = "mini"
SEEDS = (42, 43)
WORLD_PROMPTS = Path(__file__).parent / "world_prompts.yaml"
LEAST_PROMPTS = 6
"""Below it the sign-flip test rejects nothing at 5 %."""
NAMES_A_SIDE = re.compile(r"\b(left|right|side|clockwise)\b|[左右]", re.IGNORECASE)


@dataclass(frozen=True)
class Example:
    """One picture with its prompt."""

    prompt: Prompt
    seed: int
    image: Path

    @property
    def has_a_side(self) -> bool:
        """True if the prompt names a side or asks for words, so that a mirrored picture is another one."""
        text = self.prompt.text
        return bool(NAMES_A_SIDE.search(text) or self.prompt.words or '"' in text or "“" in text)


@dataclass(frozen=True)
class ExampleSet:
    """Pictures that are examined together.

    Attributes:
        name: What the prompts are, as it stands in a sentence.
        generator: The model that drew them, as configured.
        examples: Each prompt with the same number of seeds.
    """

    name: str
    generator: str
    examples: tuple[Example, ...]


def examples_of_results(manifest: Manifest, records: Sequence[RunRecord]) -> ExampleSet:
    """Take the baseline's pictures of a results folder, at most two seeds a prompt.

    Raises:
        LlmDitError: If there are fewer than six prompts.
    """
    known = {prompt.id: prompt for prompt in manifest.prompts}
    own: dict[str, list[RunRecord]] = {}
    for record in sorted(records, key=lambda record: record.seed):
        if record.is_finished and record.level == manifest.baseline_name and record.prompt_id in known:
            own.setdefault(record.prompt_id, []).append(record)
    seeds = min((min(len(found), len(SEEDS)) for found in own.values()), default=0)
    if len(own) < LEAST_PROMPTS:
        raise LlmDitError(
            f"{len(own)} prompts have a picture at the baseline {manifest.baseline_name}; an examination needs at "
            f"least {LEAST_PROMPTS}."
        )
    examples = [
        Example(known[name], record.seed, record.image_path)
        for name, found in own.items()
        for record in found[:seeds]
        if record.image_path is not None
    ]
    generator = str(manifest.raw.get("model_path") or EMBEDDED_MODEL)
    return ExampleSet(f"prompts of {manifest.name}", generator, tuple(examples))


def draw_examples(folder: Path, tell: Callable[[int, int], None]) -> list[ExampleSet]:
    """Draw the standard prompts and those of its own world with the embedded model, two seeds each.

    Args:
        folder: Where the pictures go.
        tell: Called with pictures drawn and to draw.
    """
    from llm_dit.parameters import GenerationParams
    from llm_dit.pipeline import ZImagePipeline

    pipeline = ZImagePipeline.from_pretrained(EMBEDDED_MODEL)
    lists = {
        "prompts of its own world": read_prompts(WORLD_PROMPTS),
        "standard prompts": read_prompts(STANDARD_PROMPTS),
    }
    total, sets = sum(len(prompts) for prompts in lists.values()) * len(SEEDS), []
    done = 0
    for name, prompts in lists.items():
        examples = []
        for prompt in prompts:
            for seed in SEEDS:
                path = folder / f"{prompt.id}_{seed}.png"
                pipeline.generate(GenerationParams.parse({"prompt": prompt.text, "seed": seed})).image.save(path)
                examples.append(Example(prompt, seed, path))
                done += 1
                tell(done, total)
        sets.append(ExampleSet(name, EMBEDDED_MODEL, tuple(examples)))
    return sets
