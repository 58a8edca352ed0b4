"""One linear layer in the place of several that read the same input, packed or not."""

import torch
from torch import nn

from llm_dit.networks.linear import Linear
from llm_dit.networks.packed_linear import PackedLinear, join_linears


def stack_linears(*linears: nn.Linear | PackedLinear) -> nn.Linear | PackedLinear:
    """Join projections of one input into a single one whose outputs lie side by side."""
    plain = [linear for linear in linears if isinstance(linear, nn.Linear)]
    if len(plain) < len(linears):
        return join_linears(linears)
    weight = torch.cat([linear.weight for linear in plain]).detach()
    needs_grad, has_bias = plain[0].weight.requires_grad, plain[0].bias is not None
    stacked = Linear(weight.shape[1], weight.shape[0], bias=has_bias, device="meta")
    stacked.weight = nn.Parameter(weight, requires_grad=needs_grad)
    if has_bias:
        bias = torch.cat([linear.bias for linear in plain]).detach()
        stacked.bias = nn.Parameter(bias, requires_grad=needs_grad)
    return stacked
