"""CUDA graphs of the transformer, for models and sizes whose launches don't hide behind the work.

A graph replays one evaluation's kernels with a single launch. It is captured from the same kernels on the same shapes,
so the numbers are those of the plain evaluation, bit for bit. Larger evaluations pass through: their launches hide
behind the work.

Legend: B images, C latent channels, h and w latent height and width, T text tokens.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from llm_dit.networks.transformer import Conditioning, TransformerBlock, ZImageTransformer

LAUNCH_BOUND_FLOPS = 1e14
"""Above this (some 60 ms in float8) launches are hidden, and a graph's own memory is better spent otherwise."""
PLAIN_EVALUATIONS = 2
"""Evaluations of a shape before it is captured, in which kernels are chosen and compiled."""
MAX_GRAPHS = 16

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class EvaluationGraph:
    """One captured evaluation and the tensors it reads and writes."""

    graph: torch.cuda.CUDAGraph
    latents: Tensor
    model_time: Tensor
    conditioning: Conditioning
    output: Tensor


class EvaluationGraphs:
    """Stands in for `transformer.forward` on a CUDA device; the weights must stay where they are.

    Args:
        transformer: Ready for inference: fused, quantized, compiled.
    """

    def __init__(self, transformer: ZImageTransformer) -> None:
        self.evaluate = transformer.forward
        blocks = [module for module in transformer.modules() if isinstance(module, TransformerBlock)]
        weights = [tensor for block in blocks for tensor in (*block.parameters(), *block.buffers())]
        self.flops_per_token = 2 * sum(weight.numel() for weight in weights)
        self.graphs: OrderedDict[tuple[Shape, ...], EvaluationGraph] = OrderedDict()
        self.plain_evaluations: dict[tuple[Shape, ...], int] = {}
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, latents: Tensor, model_time: Tensor, conditioning: Conditioning) -> Tensor:
        """Do what `ZImageTransformer.forward` does."""
        tokens = conditioning.joint_rope.shape[2] * latents.shape[0]
        if tokens * self.flops_per_token > LAUNCH_BOUND_FLOPS or torch.is_grad_enabled():
            return self.evaluate(latents, model_time, conditioning)
        key = tuple(tuple(tensor.shape) for tensor in (latents, *_tensors(conditioning)))
        graph = self.graphs.get(key)
        if graph is None:
            done = self.plain_evaluations.get(key, 0)
            self.plain_evaluations[key] = done + 1
            if done < PLAIN_EVALUATIONS:
                return self.evaluate(latents, model_time, conditioning)
            graph = self._captured(key, latents, model_time, conditioning)
        self.graphs.move_to_end(key)
        return self._replayed(graph, latents, model_time, conditioning)

    def _captured(
        self, key: tuple[Shape, ...], latents: Tensor, model_time: Tensor, conditioning: Conditioning
    ) -> EvaluationGraph:
        if len(self.graphs) == MAX_GRAPHS:
            self.graphs.popitem(last=False)
        own_latents, own_time = latents.clone(), model_time.clone()
        mask = conditioning.joint_mask
        own_conditioning = Conditioning(
            conditioning.text.clone(),
            conditioning.image_rope.clone(),
            conditioning.joint_rope.clone(),
            None if mask is None else mask.clone(),
        )
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            output = self.evaluate(own_latents, own_time, own_conditioning)
        self.graphs[key] = EvaluationGraph(graph, own_latents, own_time, own_conditioning, output)
        return self.graphs[key]

    def _replayed(
        self, graph: EvaluationGraph, latents: Tensor, model_time: Tensor, conditioning: Conditioning
    ) -> Tensor:
        graph.latents.copy_(latents)
        graph.model_time.copy_(model_time)
        for own, given in zip(_tensors(graph.conditioning), _tensors(conditioning), strict=True):
            own.copy_(given)
        graph.graph.replay()
        return graph.output.clone()


def _tensors(conditioning: Conditioning) -> list[Tensor]:
    values = (getattr(conditioning, field.name) for field in fields(conditioning))
    return [value for value in values if value is not None]
