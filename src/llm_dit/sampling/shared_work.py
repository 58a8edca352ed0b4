"""What images have in common at their beginning: computed for the first of them, held for the next ones.

Images of one prompt, seed and size start from the same noise at the same level, whatever their schedule does later.
Their conditioning and their first evaluation of the transformer are therefore the same bits and need not be made again.
Knows no model: how something is made comes as a function.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from llm_dit.parameters import PARAMETERS, GenerationParams
from llm_dit.sampling.stage_clock import StageClock

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from llm_dit.networks.transformer import Conditioning

LATER_PARAMETERS = tuple(name for name, item in PARAMETERS.items() if item.note.acts_later)
"""What acts only after the first evaluation: the levels that follow, and the use guidance makes of its predictions."""
HELD_RESULTS = 16
"""At most some 100 MB on the device at 1024 x 1024, where a conditioning has 10 MB and a prediction 1; it grows with
the image's area. A beginning takes two results, four with guidance."""

Branch = Literal["positive", "negative"]
T = TypeVar("T")


class SharedWork:
    """Results of one pipeline by what they follow from; the one that was not asked for longest is dropped first.

    Results are given out as they are: who gets one must not change it in place.

    Args:
        device: Where the work is done, for timing it.
        limit: Results held at most; 0 shares nothing.

    Attributes:
        reused_evaluations: First evaluations that were not made again.
    """

    def __init__(self, device: torch.device, limit: int = HELD_RESULTS) -> None:
        self._device = device
        self._limit = limit
        self._held: OrderedDict[Hashable, tuple[Any, StageClock]] = OrderedDict()
        self.reused_evaluations = 0

    def get(self, key: Hashable, make: Callable[[], T]) -> tuple[T, StageClock | None]:
        """Return a result, and where it was there already the clock that its making was timed with.

        Args:
            key: Equal for equal results only.
            make: Makes it; what it raises passes through, and nothing is held then.
        """
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        clock = StageClock(self._device)
        result = make()
        clock.mark()
        self._held[key] = (result, clock)
        if len(self._held) > self._limit:
            self._held.popitem(last=False)
        return result, None


class Beginning:
    """The beginning of one image, taken from shared work where another image has made it.

    Args:
        params: With seed and size filled in; conditionings and evaluations must follow from them.
        work: Where results are held.

    Attributes:
        spared: Clocks of the work that this image did not have to do.
    """

    def __init__(self, params: GenerationParams, work: SharedWork) -> None:
        assert params.seed is not None and params.height is not None and params.width is not None
        self._params = beginning(params)
        self._work = work
        self.spared: list[StageClock] = []

    def conditioning(self, branch: Branch, make: Callable[[], Conditioning]) -> Conditioning:
        """Return what the transformer needs to know of a branch's prompt; `make` computes it."""
        return self._get(("conditioning", branch, self._params), make)

    def evaluation(self, branch: Branch, sigma: float, make: Callable[[], Tensor]) -> Tensor:
        """Return the transformer's output at the first noise level, `sigma`, shaped as the latents; `make` computes it.

        The level is part of the key, since for some shifts float32's rounding leaves it a little beside 1.
        """
        done = len(self.spared)
        output = self._get(("evaluation", branch, self._params, sigma), make)
        self._work.reused_evaluations += len(self.spared) - done
        return output

    def _get(self, key: Hashable, make: Callable[[], T]) -> T:
        result, clock = self._work.get(key, make)
        if clock is not None:
            self.spared.append(clock)
        return result


def beginning(params: GenerationParams) -> GenerationParams:
    """Return `params` with `LATER_PARAMETERS` at their defaults: equal for images that begin alike."""
    return params.model_copy(update={name: PARAMETERS[name].default for name in LATER_PARAMETERS})
