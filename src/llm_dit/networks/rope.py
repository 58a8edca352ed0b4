"""Where a token sits, and how its queries and keys are turned by that: rotary embeddings over three axes.

A position is (index, row, column). Caption tokens lie at (1, 0, 0), (2, 0, 0), ...; the tokens of the image share the
first index after the padded caption and have their row and column in the grid of patches; image pad tokens lie at the
origin. The angles are a formula, so any position has one; `axes_lens` of a checkpoint only says how far its training
went. Knows nothing of the network.

Source: Su et al. 2021 (RoFormer); diffusers 0.42 `transformer_z_image.py`, `RopeEmbedder` and `_pad_with_ids`.

Shapes: B images, L tokens, H heads, K head width.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import torch
from einops import rearrange
from torch import Tensor

from llm_dit.placement.devices import sent

HELD_BYTES = 64 << 20
"""Of tables that a model holds: four of the largest at 2048 x 2048, some hundred of captions."""


def text_positions(length: int) -> Tensor:
    """Positions of a padded caption: [length, 3], int64."""
    positions = torch.zeros(length, 3, dtype=torch.long)
    positions[:, 0] = torch.arange(1, length + 1)
    return positions


def image_positions(index: int, grid: tuple[int, int], length: int) -> Tensor:
    """Positions of the patches of a grid (rows, columns), row by row, filled up to `length`: [length, 3], int64."""
    rows, columns = grid
    positions = torch.zeros(length, 3, dtype=torch.long)
    positions[: rows * columns] = torch.cartesian_prod(torch.tensor([index]), torch.arange(rows), torch.arange(columns))
    return positions


class PositionTables:
    """Tables of the last captions and grids of one model: computing one takes longer than a step of a small model.

    They are given out as they are, and go with the model.

    Args:
        axes_dims: See `rope_table`.
        theta: See `rope_table`.
        held_bytes: Those not asked for longest are dropped above this.
    """

    def __init__(self, axes_dims: tuple[int, ...], theta: float, held_bytes: int = HELD_BYTES) -> None:
        self._axes_dims = axes_dims
        self._theta = theta
        self._held_bytes = held_bytes
        self._held: OrderedDict[Hashable, Tensor] = OrderedDict()

    def text(self, length: int, device: torch.device) -> Tensor:
        """Table of a caption padded to `length` tokens: see `rope_table`, L = `length`, but on `device`."""
        return self._get((length, device), lambda: text_positions(length), device)

    def image(self, index: int, grid: tuple[int, int], length: int, device: torch.device) -> Tensor:
        """Table of a grid's patches, padded to `length`: see `image_positions` and `rope_table`, but on `device`."""
        return self._get((index, grid, length, device), lambda: image_positions(index, grid, length), device)

    def _get(self, key: Hashable, positions: Callable[[], Tensor], device: torch.device) -> Tensor:
        if key not in self._held:
            with torch.inference_mode(False):  # compiled code takes tensors made in inference mode for others
                self._held[key] = sent(rope_table(positions(), self._axes_dims, self._theta), device)
        self._held.move_to_end(key)
        table = self._held[key]
        while self._held and sum(held.nbytes for held in self._held.values()) > self._held_bytes:
            self._held.popitem(last=False)
        return table


def rope_table(positions: Tensor, axes_dims: Sequence[int], theta: float) -> Tensor:
    """Look up what `rotate` multiplies with.

    Args:
        positions: Whole numbers from 0, [L, 3], on the CPU.
        axes_dims: Features of a head that each axis turns, even, adding up to K.
        theta: Base of the frequencies.

    Returns:
        Cosines and signed sines, [2, 1, L, 1, K], float32, on the CPU.
    """
    angles = torch.cat(
        [
            axis_angles(int(positions[:, axis].max()) + 1, width, theta)[positions[:, axis]]
            for axis, width in enumerate(axes_dims)
        ],
        dim=-1,
    )  # [L, K / 2]
    cosines = torch.stack([angles.cos(), angles.cos()], dim=-1)
    signed_sines = torch.stack([-angles.sin(), angles.sin()], dim=-1)
    table: Tensor = rearrange(torch.stack([cosines, signed_sines]), "two L half pair -> two 1 L 1 (half pair)")
    return table


def axis_angles(length: int, width: int, theta: float) -> Tensor:
    """Angles of positions 0 to `length` - 1 on an axis of `width` features: [length, width / 2], float32.

    The product is taken in float64 on the CPU (mps has none) and then rounded, as in the reference.
    """
    frequencies = theta ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.outer(torch.arange(length, dtype=torch.float64), frequencies).float()


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn each pair of neighbouring features by its angle: (a, b) becomes (a cos - b sin, b cos + a sin).

    Computed in float32, as in the reference, which multiplies complex numbers; those do not compile.

    Args:
        x: Queries or keys, [B, L, H, K].
        table: From `rope_table`, [2, B or 1, L, 1, K].

    Returns:
        The turned features in the dtype of `x`.
    """
    cosines, signed_sines = table.unbind(0)
    swapped = rearrange(x, "B L H (half pair) -> B L H half pair", pair=2).flip(-1).flatten(-2)
    return torch.addcmul(x * cosines, swapped, signed_sines).to(x.dtype)
