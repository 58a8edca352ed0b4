"""LPIPS and the embedding distance: an independent computation, shared weights, and what can't be had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from metric_models import LPIPS_KERNELS, write_lpips, write_siglip
from PIL import Image

from experiments.metrics import (
    LPIPSScorer,
    ScoreInput,
    SigLIPScorer,
    default_metrics,
    load_scorers,
    perceptual_distance,
)
from experiments.metrics.judges import judges_for
from llm_dit.errors import LlmDitError
from llm_dit.parameters import MetricSettings


def pictures(folder: Path, count: int, height: int = 48, width: int = 40) -> list[Path]:
    paths = []
    for seed in range(count):
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        paths.append(folder / f"{seed}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def published_lpips(folder: Path, first: Path, second: Path) -> float:
    """LPIPS v0.1 as its paper's code computes it, in numpy from the sums of the definition: no convolution of torch."""
    trunk, heads = (torch.load(folder / name, weights_only=True) for name in ("alexnet-owt-7be5be79.pth", "alex.pth"))
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    layers = []
    for path in (first, second):
        values = np.asarray(Image.open(path), np.float64) / 127.5 - 1
        features, found = ((values - shift) / scale).transpose(2, 0, 1), []
        for index, (place, side) in enumerate(LPIPS_KERNELS):
            if index in (1, 2):
                windows = np.lib.stride_tricks.sliding_window_view(features, (3, 3), (1, 2))[:, ::2, ::2]
                features = windows.max((-1, -2))
            stride, padding = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))[index]
            padded = np.pad(features, ((0, 0), (padding, padding), (padding, padding)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (1, 2))[:, ::stride, ::stride]
            kernel, bias = (trunk[f"features.{place}.{part}"].double().numpy() for part in ("weight", "bias"))
            features = np.maximum(np.einsum("chwij,ocij->ohw", windows, kernel) + bias[:, None, None], 0)
            found.append(features / (np.sqrt((features**2).sum(0)) + 1e-10))
        layers.append(found)
    return float(
        sum(
            np.einsum("chw,c->hw", (a - b) ** 2, heads[f"lin{index}.model.1.weight"].double().numpy().ravel()).mean()
            for index, (a, b) in enumerate(zip(*layers, strict=True))
        )
    )


def test_lpips_is_the_published_definition(tmp_path: Path):
    folder = write_lpips(tmp_path / "weights")
    first, second = pictures(tmp_path, 2)
    scorer = LPIPSScorer(folder, device="cpu")
    rows = [ScoreInput("a", first, baseline=second), ScoreInput("a", second, baseline=second), ScoreInput("a", first)]
    apart, same, alone = scorer.score_rows(rows)
    expected = published_lpips(folder, first, second)
    assert expected > 0.01
    assert apart["lpips"] == pytest.approx(expected, rel=1e-4)
    assert (same, alone) == ({"lpips": 0.0}, {})
    assert scorer.score_rows([ScoreInput("a", second, baseline=first)])[0]["lpips"] == pytest.approx(expected, rel=1e-4)
    (smaller,) = pictures(tmp_path, 1, 32, 32)
    assert scorer.score_rows([ScoreInput("a", smaller, baseline=second)]) == [{}]


def test_other_weights_of_lpips_are_another_scorer(tmp_path: Path):
    first, second = (LPIPSScorer(write_lpips(tmp_path / str(seed), seed=seed), device="cpu") for seed in (0, 1))
    assert first.metric.model.startswith("lpips-alex@")
    assert first.metric.model != second.metric.model


def test_weights_that_are_nowhere_or_others_are_one_sentence_with_the_way_out(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(LlmDitError, match=r"needs AlexNet's weights, and \S+hub/checkpoints/alexnet\S+ is not there"):
        load_scorers(["lpips"])
    with pytest.raises(LlmDitError, match=r"--lpips ./nothing is no folder; give one with alexnet-owt-7be5be79.pth"):
        load_scorers(["lpips"], lpips_model="./nothing")
    folder = write_lpips(tmp_path / "weights")
    (folder / "alex.pth").unlink()
    monkeypatch.setattr(perceptual_distance, "find_spec", lambda name: None)
    with pytest.raises(LlmDitError, match=r"LPIPS needs its learned weights; install them by uv sync --extra lpips"):
        load_scorers(["lpips"], lpips_model=str(folder))
    torch.save({"lin0.model.1.weight": torch.ones(1, 3, 1, 1)}, folder / "alex.pth")
    with pytest.raises(LlmDitError, match=r"alex\.pth does not fit \S+: lin0 is missing or not of 8 channels"):
        LPIPSScorer(folder)
    torch.save({"features.0.weight": torch.ones(8, 3, 3, 3)}, folder / "alexnet-owt-7be5be79.pth")
    with pytest.raises(LlmDitError, match=r"is not torchvision's AlexNet: features\.0 is missing or of another shape"):
        LPIPSScorer(folder)
    (folder / "alexnet-owt-7be5be79.pth").write_bytes(b"no weights")
    with pytest.raises(LlmDitError, match=r"alexnet-owt-7be5be79\.pth can't be read as weights"):
        LPIPSScorer(folder)


def test_lpips_is_computed_and_offered_where_it_is_named_or_its_folder_is_configured(tmp_path: Path):
    assert "lpips" not in default_metrics(MetricSettings())
    folder = str(write_lpips(tmp_path))
    configured = MetricSettings(lpips=folder)
    assert "lpips" in default_metrics(configured)
    assert [judge.is_here for judge in judges_for(configured, "mini") if judge.name == "lpips"] == [True]
    (judge,) = [judge for judge in judges_for(MetricSettings(), "mini") if judge.name == "lpips"]
    assert (judge.can_score, "set lpips in [PROFILE.metrics] to their folder" in judge.needs) == (False, True)


def test_the_embedding_distance_is_one_minus_the_cosine_of_siglips_embeddings_and_shares_its_weights(tmp_path: Path):
    model = str(write_siglip(tmp_path / "siglip"))
    distance, siglip = load_scorers(["embedding_distance", "siglip_score"], siglip_model=model, device="cpu")
    assert distance.siglip is siglip  # loaded once, however they are ordered
    assert distance.metric.model == siglip.metric.model
    first, second = pictures(tmp_path, 2)
    embeds = SigLIPScorer(model, device="cpu").embed([first, second])
    assert np.linalg.norm(embeds, axis=1) == pytest.approx([1, 1], abs=1e-6)
    rows = [
        ScoreInput("a", first, baseline=second),
        ScoreInput("a", second, baseline=second),
        ScoreInput("a", first),
    ]
    apart, same, alone = distance.score_rows(rows)
    assert apart["embedding_distance"] == pytest.approx(1 - float(embeds[0] @ embeds[1]), abs=1e-6)
    assert apart["embedding_distance"] > 1e-4
    assert (same["embedding_distance"], alone) == (0.0, {})
