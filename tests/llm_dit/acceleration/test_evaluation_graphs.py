"""Replayed evaluations are the plain ones (needs a CUDA device); without room there are none."""

import logging
import math
from typing import Any

import pytest
import torch

from benchmarks.full_size import build_ours
from llm_dit.acceleration.evaluation_graphs import PLAIN_EVALUATIONS, EvaluationGraph, EvaluationGraphs
from llm_dit.networks.transformer import Conditioning, ZImageTransformer

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device")


@pytest.fixture(scope="module")
def transformer() -> ZImageTransformer:
    return build_ours("mini", CUDA, torch.bfloat16)


@pytest.mark.gpu
@needs_cuda
@torch.inference_mode()
def test_replays_equal_plain_evaluations_bit_for_bit(transformer: ZImageTransformer) -> None:
    graphs = EvaluationGraphs(CUDA, 1.0)
    width = transformer.config.cap_feat_dim
    for tokens in (20, 40, 20):  # the first shape comes back with another caption
        conditioning = transformer.prepare([torch.randn(tokens, width, device=CUDA, dtype=torch.bfloat16)], 16, 16)
        for step in range(PLAIN_EVALUATIONS + 3):
            latents = torch.randn(1, 16, 16, 16, device=CUDA)
            model_time = torch.full((1,), step / 10, device=CUDA)
            expected = transformer(latents, model_time, conditioning)
            assert torch.equal(graphs(transformer.forward, latents, model_time, conditioning), expected)
    assert len(graphs.graphs) == 2


@pytest.mark.gpu
@needs_cuda
@torch.inference_mode()
def test_unequal_captions_are_replayed_with_their_mask(transformer: ZImageTransformer) -> None:
    graphs = EvaluationGraphs(CUDA, 1.0)
    captions = [
        torch.randn(tokens, transformer.config.cap_feat_dim, device=CUDA, dtype=torch.bfloat16) for tokens in (20, 70)
    ]
    conditioning = transformer.prepare(captions, 16, 16)
    latents, model_time = torch.randn(2, 16, 16, 16, device=CUDA), torch.full((2,), 0.3, device=CUDA)
    expected = transformer(latents, model_time, conditioning)
    outputs = [graphs(transformer.forward, latents, model_time, conditioning) for _ in range(PLAIN_EVALUATIONS + 2)]
    assert all(torch.equal(output, expected) for output in outputs)
    assert len(graphs.graphs) == 1


@pytest.mark.gpu
@needs_cuda
@torch.inference_mode()
def test_a_card_without_room_for_a_graph_evaluates_on(transformer: ZImageTransformer) -> None:
    graphs, captures = EvaluationGraphs(CUDA, 1.0), []
    caption = torch.randn(20, transformer.config.cap_feat_dim, device=CUDA, dtype=torch.bfloat16)
    conditioning = transformer.prepare([caption], 16, 16)
    latents, model_time = torch.randn(1, 16, 16, 16, device=CUDA), torch.full((1,), 0.3, device=CUDA)
    expected = transformer(latents, model_time, conditioning)

    def evaluate(*arguments: Any) -> torch.Tensor:
        output = transformer.forward(*arguments)
        if torch.cuda.is_current_stream_capturing():
            captures.append(1)
            torch.empty(1 << 46, dtype=torch.uint8, device=CUDA)  # 64 TiB, which no card has
        return output

    outputs = [graphs(evaluate, latents, model_time, conditioning) for _ in range(PLAIN_EVALUATIONS + 3)]
    assert captures == [1]
    assert not graphs.graphs
    assert all(torch.equal(output, expected) for output in outputs)


def test_capture_is_tried_once_where_there_is_no_memory(monkeypatch, caplog) -> None:
    tried, evaluated = [], []

    def no_memory(*_: object) -> EvaluationGraph:
        tried.append(1)
        try:
            raise torch.OutOfMemoryError("out of memory")
        finally:  # as the end of a capture that failed does
            raise RuntimeError("operation failed due to a previous error during capture")

    def evaluate(latents: torch.Tensor, *_: object) -> torch.Tensor:
        evaluated.append(1)
        return latents + 1

    monkeypatch.setattr(EvaluationGraphs, "_captured", no_memory)
    graphs = EvaluationGraphs(CPU, 1.0)
    conditioning = Conditioning(torch.zeros(1, 32, 4), torch.zeros(2, 1, 4, 1, 4), torch.zeros(2, 1, 36, 1, 4), None)
    with caplog.at_level(logging.WARNING, "llm_dit"), torch.inference_mode():
        for side in (4, 8):
            latents = torch.zeros(1, 16, side, side)
            for _ in range(PLAIN_EVALUATIONS + 3):
                assert torch.equal(graphs(evaluate, latents, torch.zeros(1), conditioning), latents + 1)
    assert len(tried) == 1
    assert len(evaluated) == 2 * (PLAIN_EVALUATIONS + 3)
    assert [record.message for record in caplog.records] == [
        "No memory is left for CUDA graphs on cpu; evaluations go on without."
    ]


def test_another_error_in_a_capture_passes_through(monkeypatch) -> None:
    def broken(*_: object) -> EvaluationGraph:
        raise RuntimeError("kernel launch failed")

    monkeypatch.setattr(EvaluationGraphs, "_captured", broken)
    graphs = EvaluationGraphs(CPU, 1.0)
    conditioning = Conditioning(torch.zeros(1, 32, 4), torch.zeros(2, 1, 4, 1, 4), torch.zeros(2, 1, 36, 1, 4), None)
    arguments = (lambda latents, *_: latents, torch.zeros(1, 16, 4, 4), torch.zeros(1), conditioning)
    with torch.inference_mode():
        for _ in range(PLAIN_EVALUATIONS):
            graphs(*arguments)
        with pytest.raises(RuntimeError, match="kernel launch failed"):
            graphs(*arguments)


@pytest.mark.parametrize(("most_flops", "captures"), [(1e14, 0), (math.inf, 1)])
def test_evaluations_whose_launches_are_hidden_pass_through_unless_all_are_asked_for(
    monkeypatch, most_flops: float, captures: int
) -> None:
    tried = []

    def no_memory(*_: object) -> EvaluationGraph:
        tried.append(1)
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(EvaluationGraphs, "_captured", no_memory)
    graphs = EvaluationGraphs(CPU, 1e13, most_flops)
    conditioning = Conditioning(torch.zeros(1, 32, 4), torch.zeros(2, 1, 4, 1, 4), torch.zeros(2, 1, 36, 1, 4), None)
    with torch.inference_mode():
        for _ in range(PLAIN_EVALUATIONS + 1):
            graphs(lambda latents, *_: latents, torch.zeros(1, 16, 4, 4), torch.zeros(1), conditioning)
    assert len(tried) == captures
