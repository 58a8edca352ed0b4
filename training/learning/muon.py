"""Muon for the matrices of the blocks, AdamW for everything else.

Muon replaces the momentum of a matrix by its nearest orthogonal matrix, found with a few Newton-Schulz steps; equal
shapes are stacked so that one batched product serves all layers.

Source: Jordan et al. 2024 (Muon); coefficients of Jiacheng You's five-step variant; the update's scale of Liu et al.
2025 (Moonlight), which matches AdamW's, so both share a learning rate.
"""

import math

import torch
from torch import Tensor, nn

COEFFICIENTS = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)


def orthogonalise(matrices: Tensor) -> Tensor:
    """Bring all singular values of each matrix near 1.

    Args:
        matrices: [N, rows, columns], any floating type.

    Returns:
        Same shape; bfloat16 on an accelerator.
    """
    value: Tensor = matrices.bfloat16() if matrices.is_cuda else matrices.float()
    value = value / (value.float().norm(dim=(-2, -1), keepdim=True) + 1e-7).to(value.dtype)
    is_tall = value.shape[-2] > value.shape[-1]
    if is_tall:
        value = value.mT
    for first, second, third in COEFFICIENTS:
        square = value @ value.mT
        value = first * value + (second * square + third * (square @ square)) @ value
    return value.mT if is_tall else value


class MuonAndAdamW:
    """Optimiser of the transformer.

    Args:
        model: Its parameters' names decide: two-dimensional ones of attention and feed-forward go to Muon.
        learning_rate: Peak for Muon; AdamW takes half of it.
    """

    def __init__(self, model: nn.Module, learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self.groups: dict[tuple[int, ...], list[nn.Parameter]] = {}
        decayed, plain = [], []
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and ("attention." in name or "feed_forward." in name):
                self.groups.setdefault(tuple(parameter.shape), []).append(parameter)
            elif parameter.ndim == 2 and "pad_token" not in name:
                decayed.append(parameter)
            else:
                plain.append(parameter)
        device = plain[0].device
        self.momenta = {shape: torch.zeros(len(group), *shape, device=device) for shape, group in self.groups.items()}
        # Rates are tensors, so that a recorded step reads the present ones.
        self.rate = torch.zeros((), device=device)
        self.adamw_rate = torch.zeros((), device=device)
        self.adamw = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}],
            lr=self.adamw_rate,
            betas=(0.9, 0.98),
            fused=device.type == "cuda",
            capturable=device.type == "cuda",
        )
        for group in self.adamw.param_groups:
            group["lr"] = self.adamw_rate

    def set_rate(self, factor: float) -> None:
        """Let the next steps take `factor` times the peak learning rate."""
        self.rate.fill_(self.learning_rate * factor)
        self.adamw_rate.fill_(0.5 * self.learning_rate * factor)

    @torch.no_grad()
    def step(self) -> None:
        """Apply the gradients; nothing in it waits for the device."""
        self.adamw.step()
        for shape, parameters in self.groups.items():
            gradients = torch.stack([parameter.grad for parameter in parameters if parameter.grad is not None])
            momentum = self.momenta[shape].lerp_(gradients, 0.05)
            update = orthogonalise(gradients.lerp(momentum, 0.95)).float()
            update = update * (-0.2 * math.sqrt(max(shape)) * self.rate)
            values: list[Tensor] = list(parameters)
            torch._foreach_mul_(values, 1.0 - 0.02 * self.rate)
            torch._foreach_add_(values, list(update.unbind(0)))
