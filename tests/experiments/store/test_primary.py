"""The measure that counts: named once, kept by whoever writes the manifest, and forgotten with the pictures."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sample_results import CONDITIONS, noisy_scores, sample_plan, write_results

from experiments.store.analyses import PastAnalysis, analysis_values, text_hash
from experiments.store.comparable import Conditions
from experiments.store.manifest_json import manifest_values
from experiments.store.result_store import ResultStore
from llm_dit.errors import LlmDitError, OutputError

PLAN = sample_plan(prompts=2)
NAMED = {"measure": "image_reward", "named": "2026-01-02T00:00:00+00:00"}


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(write_results(tmp_path / "r", PLAN, noisy_scores({}), image_size=8))


def written(store: ResultStore, **values: Any) -> None:
    path = store.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


def seen(measure: str, when: str, by: str = "analyze.py") -> PastAnalysis:
    return PastAnalysis(when, by, frozenset({measure}), 8, frozenset({(text_hash("A cat"), 1)}))


def test_the_measure_that_counts_is_named_with_the_time(store: ResultStore) -> None:
    assert store.manifest().primary is None
    before = datetime.now(UTC)
    store.name_primary("image_reward")
    assert store.manifest().primary == "image_reward"
    named = datetime.fromisoformat(store.manifest().raw["primary"]["named"])
    assert before - timedelta(seconds=1) <= named <= datetime.now(UTC)


def test_a_measure_named_again_keeps_its_time(store: ResultStore) -> None:
    written(store, primary=NAMED)
    store.name_primary("image_reward")
    assert store.manifest().raw["primary"] == NAMED


def test_another_measure_is_refused_and_nothing_is_written(store: ResultStore) -> None:
    written(store, primary=NAMED)
    before = (store.folder / "manifest.json").read_bytes()
    for name in (store.name_primary, store.check_primary):
        with pytest.raises(LlmDitError) as refused:
            name("siglip_score")
        assert str(refused.value) == (
            f"--primary siglip_score: the measure that counts in {store.folder} is image_reward, and it can't be "
            "chosen again; leave --primary out, or take another --name."
        )
        assert refused.value.field == "primary"
    assert (store.folder / "manifest.json").read_bytes() == before


def test_nothing_speaks_against_a_measure_where_none_is_named(store: ResultStore, tmp_path: Path) -> None:
    for free in (store, ResultStore(tmp_path / "nothing here")):
        free.check_primary("siglip_score")
    written(store, primary=NAMED)
    store.check_primary("image_reward")


def test_it_stays_whoever_writes_the_manifest_until_the_pictures_are_others(store: ResultStore) -> None:
    values = manifest_values(PLAN, CONDITIONS)
    assert store.write_manifest(values).primary is None
    store.name_primary("image_reward")
    assert store.write_manifest(values).primary == "image_reward" == store.manifest().primary
    other = Conditions(CONDITIONS.parameters, "0" * 64, CONDITIONS.numerics)
    assert store.write_manifest(manifest_values(PLAN, other)).primary is None


@pytest.mark.parametrize("primary", [{}, [], {"measure": "x"}, {**NAMED, "measure": ""}, {**NAMED, "named": ""}])
def test_a_measure_without_name_or_time_is_a_damaged_manifest(store: ResultStore, primary: Any) -> None:
    written(store, primary=primary)
    with pytest.raises(OutputError, match="is not a whole manifest"):
        store.manifest()


def test_analyses_of_the_measure_before_it_was_named_are_counted(store: ResultStore) -> None:
    analyses = [
        seen("image_reward", "2026-01-01T00:00:00+00:00"),
        seen("image_reward", "2026-01-01T00:00:01+00:00"),
        seen("siglip_score", "2026-01-01T00:00:00+00:00"),
        seen("image_reward", NAMED["named"]),
        seen("image_reward", "2026-01-03T00:00:00+00:00"),
    ]
    written(store, analyses=[analysis_values(found) for found in analyses])
    assert store.manifest().analyses_before_primary == 0
    written(store, primary=NAMED)
    assert store.manifest().analyses_before_primary == 2


def test_neither_a_measure_nor_an_analysis_is_half_written(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (store.folder / "manifest.json").read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    found = seen("image_reward", "2026-01-01T00:00:00+00:00")
    with monkeypatch.context() as crowded:
        crowded.setattr(os, "fsync", full)
        cant = f"{store.folder / 'manifest.json'} can't be written: No space left on device"
        for write in (lambda: store.name_primary("image_reward"), lambda: store.add_analysis(found)):
            with pytest.raises(OutputError) as refused:
                write()
            assert str(refused.value).startswith(cant)
            assert refused.value.field == "output_dir"
        told = store.note_analysis(found)
        assert told.startswith(f"This analysis is not written down, so the next one won't allow for it: {cant}")
    assert (store.folder / "manifest.json").read_bytes() == before
    assert store.note_analysis(found) is None
    assert store.manifest().analyses == (found,)
