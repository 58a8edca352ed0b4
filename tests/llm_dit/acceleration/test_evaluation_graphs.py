"""Replayed evaluations are the plain ones; needs a CUDA device."""

import pytest
import torch

from benchmarks.full_size import build_ours
from llm_dit.acceleration.evaluation_graphs import PLAIN_EVALUATIONS, EvaluationGraphs
from llm_dit.networks.transformer import ZImageTransformer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device")
CUDA = torch.device("cuda")


@pytest.fixture(scope="module")
def transformer() -> ZImageTransformer:
    return build_ours("mini", CUDA, torch.bfloat16)


@torch.inference_mode()
def test_replays_equal_plain_evaluations_bit_for_bit(transformer: ZImageTransformer) -> None:
    graphs = EvaluationGraphs(transformer)
    width = transformer.config.cap_feat_dim
    for tokens in (20, 40, 20):  # the first shape comes back with another caption
        conditioning = transformer.prepare([torch.randn(tokens, width, device=CUDA, dtype=torch.bfloat16)], 16, 16)
        for step in range(PLAIN_EVALUATIONS + 3):
            latents = torch.randn(1, 16, 16, 16, device=CUDA)
            model_time = torch.full((1,), step / 10, device=CUDA)
            expected = transformer(latents, model_time, conditioning)
            assert torch.equal(graphs(latents, model_time, conditioning), expected)
    assert len(graphs.graphs) == 2


@torch.inference_mode()
def test_unequal_captions_are_replayed_with_their_mask(transformer: ZImageTransformer) -> None:
    graphs = EvaluationGraphs(transformer)
    captions = [
        torch.randn(tokens, transformer.config.cap_feat_dim, device=CUDA, dtype=torch.bfloat16) for tokens in (20, 70)
    ]
    conditioning = transformer.prepare(captions, 16, 16)
    latents, model_time = torch.randn(2, 16, 16, 16, device=CUDA), torch.full((2,), 0.3, device=CUDA)
    expected = transformer(latents, model_time, conditioning)
    outputs = [graphs(latents, model_time, conditioning) for _ in range(PLAIN_EVALUATIONS + 2)]
    assert all(torch.equal(output, expected) for output in outputs)
    assert len(graphs.graphs) == 1
