"""What stays on a card and what is streamed to it, from sizes in bytes alone.

The VAE and all that is no block stay. Blocks of the transformer come first, then layers of the text encoder: of each
network as many stay as fit, those that don't are spread evenly, so that one's copy hides behind others' work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llm_dit.errors import InvalidParameter

GIB = 1024**3
PLACES_OF_A_STREAM = 2
"""A streamed network needs room for so many of its largest blocks."""


@dataclass(frozen=True)
class NetworkSize:
    """One network on a card.

    Attributes:
        name: As in messages: `transformer`, `text_encoder`, `vae`.
        fixed: Bytes that always stay.
        blocks: Bytes of each block that may be streamed, in the order in which they run.
        guests: How many of the first blocks run once an image instead of every step, and are streamed first.
        spare: Bytes that wait on the CPU as soon as a block is streamed, such as token embeddings.
    """

    name: str
    fixed: int
    blocks: tuple[int, ...] = ()
    guests: int = 0
    spare: int = 0

    @property
    def total(self) -> int:
        """Bytes of all its weights."""
        return self.fixed + self.spare + sum(self.blocks)

    def resident_bytes(self, streamed: Sequence[int]) -> int:
        """Bytes on the card while the blocks of these indices are streamed."""
        if not streamed:
            return self.total
        places = PLACES_OF_A_STREAM * max(self.blocks[index] for index in streamed)
        return self.fixed + places + sum(size for index, size in enumerate(self.blocks) if index not in set(streamed))

    def streamed(self, count: int) -> tuple[int, ...]:
        """Return which blocks are streamed where `count` are: guests first, then evenly spread ones."""
        first = min(count, self.guests)
        circle, rest = len(self.blocks) - self.guests, count - first
        spread = (self.guests + index * circle // rest for index in range(rest))
        return (*range(first), *spread)


@dataclass(frozen=True)
class CardPlan:
    """What stays on one card.

    Attributes:
        streamed: Network to indices of its streamed blocks.
        resident: Bytes of weights on the card.
        working: Bytes left for what is computed, as they were asked for.
        limit: Bytes that may be used.
    """

    streamed: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    resident: int = 0
    working: int = 0
    limit: int = 0

    @property
    def fits(self) -> bool:
        """Whether weights and work stay within the limit."""
        return self.resident + self.working <= self.limit


def plan_card(networks: Sequence[NetworkSize], limit: int, working: int) -> CardPlan:
    """Decide what is streamed to a card.

    Args:
        networks: Those that compute there, the ones to keep first.
        limit: Bytes that may be used.
        working: Bytes kept free of weights.

    Returns:
        The plan with the fewest streamed bytes that fits; where none does, the one that needs least, whose `fits` is
        false.
    """
    streamed: dict[str, tuple[int, ...]] = {network.name: () for network in networks}

    def resident() -> int:
        return sum(network.resident_bytes(streamed[network.name]) for network in networks)

    for network in reversed(networks):
        if resident() + working <= limit or not network.blocks:
            continue
        rest = resident() - network.total
        for count in range(1, len(network.blocks) + 1):
            choice = network.streamed(count)
            if network.resident_bytes(choice) < network.total:
                streamed[network.name] = choice
            if rest + network.resident_bytes(streamed[network.name]) + working <= limit:
                break
    return CardPlan(streamed, resident(), working, limit)


def require_fit(plan: CardPlan) -> None:
    """Raise `InvalidParameter` where not even the least fits."""
    if not plan.fits:
        needed = plan.resident + plan.working
        raise InvalidParameter(
            "vram_limit",
            f"leaves {plan.limit / GIB:.1f} GiB, and this model needs {needed / GIB:.1f} with all blocks streamed; set "
            "vae_tiling, quantize the model, or use another device.",
        )
