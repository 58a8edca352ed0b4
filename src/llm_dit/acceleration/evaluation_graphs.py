"""CUDA graphs of the transformer, for models and sizes whose launches don't hide behind the work.

A graph replays one evaluation's kernels with a single launch. It is captured from the same kernels on the same shapes,
so the numbers are those of the plain evaluation, bit for bit. Larger evaluations pass through: their launches hide
behind the work.

Legend: B images, C latent channels, h and w latent height and width, T text tokens.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from llm_dit.networks.transformer import Conditioning, ZImageTransformer
from llm_dit.placement.devices import give_back_memory, on

logger = logging.getLogger(__name__)

LAUNCH_BOUND_FLOPS = 1e14
"""Above this (some 60 ms in float8) launches are hidden, and a graph's own memory is better spent otherwise."""
PLAIN_EVALUATIONS = 2
"""Evaluations of a shape before it is captured, in which kernels are chosen and compiled."""
MAX_GRAPHS = 16

Shape = tuple[int, ...]
Evaluate = Callable[[Tensor, Tensor, Conditioning], Tensor]


@dataclass(frozen=True, eq=False)
class EvaluationGraph:
    """One captured evaluation and the tensors it reads and writes."""

    graph: torch.cuda.CUDAGraph
    latents: Tensor
    model_time: Tensor
    conditioning: Conditioning
    output: Tensor


class EvaluationGraphs:
    """Captured evaluations of one transformer, whose weights must stay where they are.

    Refers to no module, so that a model that is gone frees its memory at once.

    Args:
        device: Where the transformer computes.
        flops_per_token: Of its blocks.
        most_flops: Evaluations above this pass through.
    """

    def __init__(self, device: torch.device, flops_per_token: float, most_flops: float = LAUNCH_BOUND_FLOPS) -> None:
        self.device = device
        self.flops_per_token = flops_per_token
        self.most_flops = most_flops
        self.graphs: OrderedDict[tuple[Shape, ...], EvaluationGraph] = OrderedDict()
        self.plain_evaluations: dict[tuple[Shape, ...], int] = {}
        self.has_room = True

    def forget(self) -> None:
        """Let go of all captured evaluations, whose kernels are no longer the transformer's."""
        self.graphs.clear()
        self.plain_evaluations.clear()
        self.has_room = True
        give_back_memory(self.device)

    def __call__(self, evaluate: Evaluate, latents: Tensor, model_time: Tensor, conditioning: Conditioning) -> Tensor:
        """Do what `evaluate` does, which is `ZImageTransformer.forward` of the one transformer."""
        tokens = conditioning.joint_rope.shape[2] * latents.shape[0]
        if tokens * self.flops_per_token > self.most_flops or torch.is_grad_enabled():
            return evaluate(latents, model_time, conditioning)
        key = tuple(tuple(tensor.shape) for tensor in (latents, *_tensors(conditioning)))
        if key not in self.graphs and self._is_worth_capturing(key):
            self._capture(key, evaluate, latents, model_time, conditioning)
        if key not in self.graphs:
            return evaluate(latents, model_time, conditioning)
        self.graphs.move_to_end(key)
        with on(self.device):
            return self._replayed(self.graphs[key], latents, model_time, conditioning)

    def _is_worth_capturing(self, key: tuple[Shape, ...]) -> bool:
        done = self.plain_evaluations.get(key, 0)
        self.plain_evaluations[key] = done + 1
        return self.has_room and done >= PLAIN_EVALUATIONS

    def _capture(
        self,
        key: tuple[Shape, ...],
        evaluate: Evaluate,
        latents: Tensor,
        model_time: Tensor,
        conditioning: Conditioning,
    ) -> None:
        """Keep a graph of an evaluation, or, where it finds no memory, try no further ones."""
        if len(self.graphs) == MAX_GRAPHS:
            self.graphs.popitem(last=False)
        try:
            with on(self.device):
                self.graphs[key] = self._captured(evaluate, latents, model_time, conditioning)
        except RuntimeError as error:
            # ending a capture that failed may fail too, and hide why
            if not isinstance(error, torch.OutOfMemoryError) and not isinstance(
                error.__context__, torch.OutOfMemoryError
            ):
                raise
            self.has_room = False
            logger.warning("No memory is left for CUDA graphs on %s; evaluations go on without.", self.device)
            give_back_memory(self.device)

    @cached_property
    def _stream(self) -> torch.cuda.Stream:
        """A stream to capture on; PyTorch's own belongs to the device that captured first."""
        return torch.cuda.Stream(self.device)

    @cached_property
    def _pool(self) -> Any:
        return torch.cuda.graph_pool_handle()

    def _captured(
        self, evaluate: Evaluate, latents: Tensor, model_time: Tensor, conditioning: Conditioning
    ) -> EvaluationGraph:
        own_latents, own_time = latents.clone(), model_time.clone()
        mask = conditioning.joint_mask
        own_conditioning = Conditioning(
            conditioning.text.clone(),
            conditioning.image_rope.clone(),
            conditioning.joint_rope.clone(),
            None if mask is None else mask.clone(),
        )
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            output = evaluate(own_latents, own_time, own_conditioning)
        return EvaluationGraph(graph, own_latents, own_time, own_conditioning, output)

    def _replayed(
        self, graph: EvaluationGraph, latents: Tensor, model_time: Tensor, conditioning: Conditioning
    ) -> Tensor:
        graph.latents.copy_(latents)
        graph.model_time.copy_(model_time)
        for own, given in zip(_tensors(graph.conditioning), _tensors(conditioning), strict=True):
            own.copy_(given)
        graph.graph.replay()
        return graph.output.clone()


class ReplayedTransformer(ZImageTransformer):
    """A transformer whose evaluations are replayed where that saves launches.

    Attributes:
        graphs: Its captured evaluations.
    """

    graphs: EvaluationGraphs

    def forward(self, latents: Tensor, model_time: Tensor, conditioning: Conditioning) -> Tensor:
        """Do what `ZImageTransformer.forward` does."""
        return self.graphs(super().forward, latents, model_time, conditioning)


def replay_evaluations(transformer: ZImageTransformer, device: torch.device, *, are_all_replayed: bool) -> None:
    """Let `transformer` replay its evaluations, those bound by their launches or all; it must be ready for inference.

    Args:
        transformer: Fused, quantized, compiled, on a CUDA device.
        device: Where it is.
        are_all_replayed: Also evaluations whose launches hide behind the work.
    """
    weights = [tensor for block in transformer.blocks for tensor in (*block.parameters(), *block.buffers())]
    flops_per_token = 2.0 * sum(weight.numel() for weight in weights)
    transformer.__class__ = ReplayedTransformer
    assert isinstance(transformer, ReplayedTransformer)
    transformer.graphs = EvaluationGraphs(device, flops_per_token, math.inf if are_all_replayed else LAUNCH_BOUND_FLOPS)


def _tensors(conditioning: Conditioning) -> list[Tensor]:
    values = (getattr(conditioning, field.name) for field in fields(conditioning))
    return [value for value in values if value is not None]
