"""What both scorers learn on drawn pictures: a mirrored copy is as good, a damaged one is worse, a touched one equal.

The bank holds pictures that the miniature drew for prompts of its own world and from elsewhere, for which it draws
something vague, and renders. No prompt of the evaluation is among them. Of right and left the scorers may know what a
text says; where it says nothing, the mirrored copy differs neither by itself nor on average.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from llm_dit.prompting.chat_template import format_prompt
from training.pictures.damages import DAMAGES, damage, touch
from training.stages.batched_euler import Generator
from training.words.elsewhere import prompts_from_elsewhere
from training.words.sides import has_a_side

ELSEWHERE_SEED = 21
PART = 16
"""Pictures of a batch that are damaged in the same way."""
LOSING_WEIGHT = 1.0
MIRRORED_WEIGHT, MIRRORED_MEAN_WEIGHT = 0.3, 1.0
TOUCHED_WEIGHT, TOUCHED_MEAN_WEIGHT = 0.1, 0.3
"""Of squared differences in the unit of the losses, where 1 is even odds of 73 %."""

Score = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Bank:
    """Pictures with the ids of their texts, on the device.

    Attributes:
        pictures: uint8 [N, 3, S, S].
        ids: int16 [N, L].
        sided: True where the text says a side or words, [N].
    """

    pictures: Tensor
    ids: Tensor
    sided: Tensor

    @classmethod
    def of(cls, pictures: Tensor, ids: Tensor, texts: list[str]) -> "Bank":
        """Put pictures, ids and texts in the same order together."""
        return cls(pictures, ids, torch.tensor([has_a_side(text) for text in texts], device=pictures.device))

    @classmethod
    def concatenate(cls, parts: list["Bank"]) -> "Bank":
        """Join several in order."""
        columns = zip(*((part.pictures, part.ids, part.sided) for part in parts), strict=True)
        return cls(*(torch.cat(column) for column in columns))

    def part(self, start: int | None, end: int | None) -> "Bank":
        """Entries from `start` to `end`; views, not copies."""
        chosen = slice(start, end)
        return Bank(self.pictures[chosen], self.ids[chosen], self.sided[chosen])


@dataclass(frozen=True)
class Fourfold:
    """A batch of the bank.

    Attributes:
        pictures: Whole, mirrored, damaged and touched ones, uint8 [4 * B, 3, S, S].
        ids: Of the whole ones' texts, [B, L].
        sided: [B].
    """

    pictures: Tensor
    ids: Tensor
    sided: Tensor


def fill_bank(
    generator: Generator,
    drawn: Tensor,
    renders: Tensor,
    captions: list[str],
    ids_of: Callable[[list[str]], Tensor],
    elsewhere: int,
    held_out: int,
) -> tuple[Bank, Bank]:
    """Draw prompts from elsewhere and put them beside what is there.

    Args:
        generator: Draws in its default number of steps.
        drawn: Pictures of the first captions, [M, 3, S, S].
        renders: Of the captions, [N, 3, S, S]; half as many as were drawn are taken, from place M on.
        captions: At least N.
        ids_of: Texts to ids on the device.
        elsewhere: Prompts from elsewhere.
        held_out: Of the drawn pictures, how many of the first ones aren't trained on; as many from elsewhere at most.

    Returns:
        The bank to train on, and one of drawn pictures alone to test with.
    """
    texts = prompts_from_elsewhere(elsewhere, ELSEWHERE_SEED)
    foreign = generator.draw([format_prompt(text) for text in texts], range(len(texts)))
    last = len(drawn)
    chosen = slice(last, last + last // 2)
    own, strange, true = (
        Bank.of(pictures, ids_of(told), told)
        for pictures, told in (
            (drawn, captions[:last]),
            (foreign, texts),
            (renders[chosen], captions[chosen][: len(renders[chosen])]),
        )
    )
    first = min(held_out, elsewhere // 4)
    trained = [own.part(held_out, None), strange.part(first, None), true]
    return Bank.concatenate(trained), Bank.concatenate([own.part(None, held_out), strange.part(None, first)])


def draw_fourfold(bank: Bank, batch: int, generator: torch.Generator, rng: random.Random) -> Fourfold:
    """Draw a batch; each `PART` of it is damaged in a way of its own, all of it touched in one."""
    chosen = torch.randint(len(bank.pictures), (batch,), device=bank.pictures.device, generator=generator)
    whole = bank.pictures[chosen]
    damaged = torch.cat([damage(part, rng) for part in whole.split(PART)])
    pictures = torch.cat([whole, whole.flip(-1), damaged, touch(whole, rng)])
    return Fourfold(pictures, bank.ids[chosen], bank.sided[chosen])


def steadying_loss(scores: Tensor, sided: Tensor) -> Tensor:
    """The loss of scores of whole, mirrored, damaged and touched pictures.

    Args:
        scores: In log-odds or what takes their place, [4, B].
        sided: Where mirrored pictures don't count, [B].
    """
    whole, mirrored, damaged, touched = scores
    losing = -F.logsigmoid(whole - damaged).mean()
    unsided = (~sided).float()
    turned = (mirrored - whole) * unsided
    count = unsided.sum().clamp(min=1.0)
    changed = touched - whole
    loss: Tensor = (
        LOSING_WEIGHT * losing
        + MIRRORED_WEIGHT * turned.square().sum() / count
        + MIRRORED_MEAN_WEIGHT * (turned.sum() / count).square()
        + TOUCHED_WEIGHT * changed.square().mean()
        + TOUCHED_MEAN_WEIGHT * changed.mean().square()
    )
    return loss


@torch.no_grad()
def steadiness(score: Score, bank: Bank) -> dict[str, float]:
    """What a scorer makes of a bank that it wasn't trained on.

    Args:
        score: Pictures and ids to scores.
        bank: Some hundreds of pictures.

    Returns:
        For each kind of damage the share of pictures that win against their damaged copies; then mirrored minus whole,
        in deviations of the scores: its mean over texts without a side, and that mean in standard errors.
    """
    rng = random.Random(11)
    whole = _scores(score, bank.pictures, bank)
    result = {}
    for name, (_, change) in DAMAGES.items():
        damaged = torch.cat([change(part, rng) for part in bank.pictures.split(PART)])
        result[f"whole over {name}"] = (whole > _scores(score, damaged, bank)).float().mean().item()
    turned = (_scores(score, bank.pictures.flip(-1), bank) - whole)[~bank.sided] / whole.std()
    result["mirrored minus whole"] = turned.mean().item()
    result["the same in standard errors"] = (turned.mean() / (turned.std() / len(turned) ** 0.5)).item()
    return result


def _scores(score: Score, pictures: Tensor, bank: Bank) -> Tensor:
    return torch.cat([score(*part) for part in zip(pictures.split(512), bank.ids.split(512), strict=True)])
