"""A vision tower to which a picture and its mirrored copy are the same.

Attention doesn't care for the order of tokens. So if every filter of the patches is its own mirror image, and a
column's positions are those of the column opposite, a mirrored picture gives the same tokens in other places, and what
reads them by attention says the same of both. The sizes and names of the weights stay.

Shapes: B batch, N picture tokens with the class token first, R rows and C columns of patches, D width.
"""

import torch
from torch import Tensor

from training.learning.reward_network import VisionTower


@torch.no_grad()
def make_mirror_blind(tower: VisionTower) -> None:
    """Average the patches' filters and the positions with their mirrored own, in place."""
    filters, positions = tower.patch_embed["proj"].weight, tower.pos_embed
    assert isinstance(filters, Tensor)
    filters.copy_((filters + filters.flip(-1)) / 2)
    positions.copy_((positions + mirror_tokens(positions)) / 2)


def keep_mirror_blind(tower: VisionTower) -> None:
    """Average the gradients in the same way from now on, so that training leaves a mirror-blind tower mirror-blind.

    That is enough for an optimizer that works element by element: equal gradients at equal weights stay equal.
    """
    filters, positions = tower.patch_embed["proj"].weight, tower.pos_embed
    assert isinstance(filters, Tensor)
    filters.register_hook(lambda gradient: (gradient + gradient.flip(-1)) / 2)
    positions.register_hook(lambda gradient: (gradient + mirror_tokens(gradient)) / 2)


def mirror_tokens(tokens: Tensor) -> Tensor:
    """Put each token [B, N, D] of a square picture into the column opposite; the class token stays."""
    patches = tokens[:, 1:]
    side = round(patches.shape[1] ** 0.5)
    assert side * side == patches.shape[1], tokens.shape
    mirrored = patches.unflatten(1, (side, side)).flip(2).flatten(1, 2)
    return torch.cat([tokens[:, :1], mirrored], 1)
