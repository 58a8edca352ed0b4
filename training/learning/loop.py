"""The loop of a stage within a time budget: AdamW, a rate that rises and falls, gradients clipped to norm 1."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from training.learning.time_budget import TimeBudget

KEEPING_S = 60.0


def train_within(
    budget: TimeBudget,
    parameters: Iterable[nn.Parameter],
    loss_of: Callable[[int], Tensor],
    learning_rate: Callable[[int, float], float],
    *,
    name: str,
    betas: tuple[float, float] = (0.9, 0.98),
    weight_decay: float = 0.05,
    is_fused: bool = True,
    steps_a_line: int = 100,
    keep: Callable[[], None] = lambda: None,
) -> int:
    """Train until the budget is used up.

    Args:
        budget: Time and steps.
        parameters: What is trained.
        loss_of: From the number of a step, beginning with 0, to its loss.
        learning_rate: From that number and the used share of the budget to the step's rate.
        name: Of what is trained, for the lines printed.
        betas: AdamW's.
        weight_decay: AdamW's.
        is_fused: Whether AdamW works in one kernel.
        steps_a_line: Steps between two lines.
        keep: Called about once a minute, to keep what is trained so far.

    Returns:
        The steps made.
    """
    trained = list(parameters)
    optimizer = torch.optim.AdamW(trained, lr=1e-3, betas=betas, weight_decay=weight_decay, fused=is_fused)
    step, kept = 0, 0.0
    while (fraction := budget.fraction(step)) < 1.0:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, fraction)
        loss = loss_of(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        step += 1
        if budget.elapsed_s > kept + KEEPING_S:
            keep()
            kept = budget.elapsed_s
        if step % steps_a_line == 0:
            print(f"{name} {step}: {loss.item():.3f}, {budget.elapsed_s / step * 1e3:.1f} ms", flush=True)
    return step
