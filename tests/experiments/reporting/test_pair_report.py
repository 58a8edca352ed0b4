"""Two folders beside each other, everywhere: distances, text, plots, page, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from metric_models import write_lpips
from PIL import Image
from sample_results import axis, sample_plan, write_results

from experiments import analyze, report
from experiments.metrics import METRICS, folder_fidelity
from experiments.metrics.embedding_distance import METRIC, EmbeddingDistanceScorer
from experiments.metrics.perceptual_distance import LPIPSScorer
from experiments.reporting.plots import measure_plot
from experiments.stats.beside import Pairing, beside_each_other
from experiments.stats.findings import analyse
from experiments.store.result_store import ResultStore

PROMPTS = 7
DISTANCES = {"psnr_db": math.inf, "ssim": 1.0, "lpips": 0.0, "embedding_distance": 0.0}


def folder_of(path: Path, *, has: tuple[str, ...] = ("embedding_distance", "lpips"), metrics: Any = None) -> Path:
    """A results folder of one level whose pictures have distances from their own baseline, with weights in its own."""
    plan = sample_plan(axes=(axis("shift", 3.0),), prompts=PROMPTS, seeds=(42,), name="none")
    write_results(path, plan, lambda run: {"image_reward": 0.5}, image_size=40)
    kept = {"model": "m", "picture": "0", "baseline": "0", "values": {}}
    for file in (path / "metadata").iterdir():
        values = {**json.loads(file.read_text()), "pair_scores": dict.fromkeys(has, kept)}
        file.write_text(json.dumps(values), encoding="utf-8")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest |= {"model_path": "mini", "config": {"metrics": metrics or {}}}
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return path


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """LPIPS with small weights, and a SigLIP that rounds each picture otherwise, as places in batches do."""
    lpips = str(write_lpips(tmp_path / "weights"))

    def embed(paths: Any) -> Any:
        pixels = np.stack([np.asarray(Image.open(path)).astype(float).ravel() for path in paths])
        noise = np.random.default_rng(0).normal(0, 1e-4, pixels.shape)
        return (embeds := pixels + noise) / np.linalg.norm(embeds, axis=1, keepdims=True)

    def load(names: Any, settings: Any, _generator: str) -> list[Any]:
        (name,) = names
        if name == "lpips":
            return [LPIPSScorer(settings.lpips, device="cpu")]
        return [EmbeddingDistanceScorer(SimpleNamespace(metric=METRIC, embed=embed, move_to=None))]

    monkeypatch.setattr(folder_fidelity, "load_configured_scorers", load)
    return {"lpips": lpips}


def invoke(command: Any, *words: Any) -> tuple[int, str]:
    result = CliRunner().invoke(command, [str(word) for word in words])
    return result.exit_code, " ".join(result.output.split())


def test_none_beside_none_is_no_distance_in_text_plots_page_csv_and_json(tmp_path: Path, weights: dict[str, str]):
    first, second = (folder_of(tmp_path / place / "none", metrics=weights) for place in ("x", "y"))
    manifest, records, _ = beside_each_other([ResultStore(first), ResultStore(second)], None, [], Pairing(by_seed=True))
    assert {name: {record.scores[name] for record in records} for name in DISTANCES} == {
        name: {value} for name, value in DISTANCES.items()
    }

    code, said = invoke(analyze.main, first, second, "--pair-by", "prompt,seed")
    assert code == 0, said
    assert said.startswith("x/none and y/none: 14 pictures, baseline x/none")
    for title, by in (
        ("PSNR", "pixel for pixel"),
        ("LPIPS", "by LPIPS"),
        ("Embedding distance", "by Embedding distance"),
    ):
        assert f"{title}: The same pictures as folder “x/none”, {by}: “y/none” (all 7)." in said

    analysis = analyse(manifest, records, METRICS)
    plots = {item.measure.column: measure_plot(item, analysis.baseline) for item in analysis.measures}
    assert [row.mean_text for row in plots["psnr_db"].rows] == ["infinite", "infinite"]
    assert plots["psnr_db"].mean_scale.ticks == (), "nothing that is infinite stands on an axis"
    for name in ("lpips", "embedding_distance", "ssim"):
        assert [row.mean.at for row in plots[name].rows] == [50.0, 50.0]

    code, said = invoke(report.main, first, second, "-o", tmp_path / "pair.html")
    assert (code, said) == (0, " ".join(str(tmp_path / f"pair{suffix}") for suffix in (".html", ".csv", ".json")))
    page = (tmp_path / "pair.html").read_text()
    assert "The same pictures as folder “x/none”, pixel for pixel: “y/none” (all 7)." in page
    assert page.count("data:image/webp;base64,") == 2 * PROMPTS, "two runs of one name are two pictures"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "pair.csv").read_text())))
    assert {tuple(float(row[name]) for name in DISTANCES) for row in rows} == {tuple(DISTANCES.values())}
    assert [row["folder"] for row in rows] == ["x/none"] * PROMPTS + ["y/none"] * PROMPTS
    totals = json.loads((tmp_path / "pair.json").read_text())
    assert totals["psnr_db"] == {"mean": None, "min": None, "max": None, "count": 14, "infinite": 14}
    assert totals["levels"]["y/none"]["embedding_distance"] == {
        "mean": 0.0,
        "min": 0.0,
        "max": 0.0,
        "count": 7,
        "infinite": 0,
    }
    kept = [ResultStore(folder).manifest().raw["analyses"] for folder in (first, second)]
    assert [(len(seen), bool(seen[0]["beside"])) for seen in kept] == [(1, True)] * 2, "seen again, it counts once"


def test_distances_with_weights_are_those_of_the_pictures(tmp_path: Path, weights: dict[str, str]):
    first, second = (folder_of(tmp_path / name, has=(), metrics=weights) for name in ("a", "b"))
    for picture in (second / "images").iterdir():
        with Image.open(picture) as image:
            other = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        other.save(picture, compress_level=1)
        record = second / "metadata" / f"{picture.stem}.json"
        values = json.loads(record.read_text())
        values["image"]["bytes"] = picture.stat().st_size
        record.write_text(json.dumps(values))
    stores = [ResultStore(first), ResultStore(second)]
    _, plain, _ = beside_each_other(stores, None, [], Pairing(by_seed=True))
    assert all(not {"lpips", "embedding_distance"} & record.scores.keys() for record in plain), "nobody asked for them"
    _, records, _ = beside_each_other(stores, None, [], Pairing(by_seed=True, distances=("embedding_distance",)))
    for record in records:
        paths = [folder / "images" / record.image_path.name for folder in (first, second)]
        flat = [np.asarray(Image.open(path)).astype(float).ravel() for path in paths]
        cosine = flat[0] @ flat[1] / math.prod(np.linalg.norm(each) for each in flat)
        expected = 1 - cosine if record.level == "b" else 0.0
        assert record.scores["embedding_distance"] == pytest.approx(expected, abs=1e-5)
    assert "lpips" not in records[-1].scores


def test_a_distance_that_can_not_be_had_is_said_and_refused_where_it_was_named(tmp_path: Path, weights: dict[str, str]):
    first, second = (
        folder_of(tmp_path / name, has=("lpips",), metrics={"lpips": str(tmp_path / "nowhere")}) for name in ("a", "b")
    )
    code, said = invoke(analyze.main, first, second)
    assert code == 0
    assert "Note: LPIPS is left out, though both folders have it: --lpips" in said
    for words, sentence in (
        ((first, second, "--metric", "lpips"), "nowhere is no folder"),
        (
            (first, second, "--metric", "image_reward"),
            "image_reward is no distance between two pictures; use psnr_db or",
        ),
        ((first, second, "--metric", "lpips", "--pair-by", "prompt"), "without seeds no picture has one partner"),
        ((first, "--metric", "lpips"), "--metric belongs to two folders"),
    ):
        code, said = invoke(analyze.main, *words)
        assert code == 2
        assert sentence in said
    code, said = invoke(report.main, first, second, "--primary", "image_reward")
    assert (code, said) == (2, "Error: The report of two folders lies in neither; say where by --output FILE.html.")
    assert ResultStore(first).manifest().primary is None
