"""The list of analyses in a manifest: kept by whoever writes, whatever else is written meanwhile."""

from __future__ import annotations

import hashlib
import json
import multiprocessing

import pytest
from sample_results import CONDITIONS, noisy_scores, sample_plan, write_results

from experiments.store.analyses import (
    PastAnalysis,
    analysis_from_values,
    analysis_values,
    text_hash,
    united_analyses,
)
from experiments.store.comparable import Conditions
from experiments.store.manifest_json import manifest_values
from experiments.store.manifest_union import united_values
from experiments.store.result_store import ResultStore
from llm_dit.errors import OutputError


def analysis(prompts: int, *, when: str = "2026-01-01T00:00:00+00:00", seeds=(1,), measures=("reward",)):
    seen = frozenset((text_hash(f"text {i}"), seed) for i in range(prompts) for seed in seeds)
    return PastAnalysis(when, "analyze.py", frozenset(measures), len(seen), seen)


@pytest.fixture
def store(tmp_path) -> ResultStore:
    return ResultStore(write_results(tmp_path / "r", sample_plan(prompts=2), noisy_scores({}), image_size=8))


def counts(store: ResultStore) -> list[int]:
    return [entry["prompts"] for entry in store.manifest().raw.get("analyses", ())]


def test_an_analysis_is_read_as_it_was_written():
    mixed = PastAnalysis(
        "now", "report.py", frozenset({"b", "a"}), 5, frozenset({("x", 1), ("x", 2), ("y", 1), ("z", 1)})
    )
    values = json.loads(json.dumps(analysis_values(mixed)))
    assert analysis_from_values(values) == mixed
    assert values["seen"] == [{"seeds": [1, 2], "prompts": ["x"]}, {"seeds": [1], "prompts": ["y", "z"]}]
    assert (values["prompts"], values["measures"]) == (3, ["a", "b"])


def test_prompts_and_seeds_are_written_in_order():
    many = analysis(40, seeds=(3, 1, 2))
    (group,) = analysis_values(many)["seen"]
    assert group == {"seeds": [1, 2, 3], "prompts": sorted(text_hash(f"text {i}") for i in range(40))}


@pytest.mark.parametrize(
    "wrong", [{"pictures": "many"}, {"seen": [{"seeds": ["x"], "prompts": ["y"]}]}, {"seen": None}, {"measures": None}]
)
def test_what_is_no_analysis_is_a_damaged_manifest(store, wrong):
    path = store.folder / "manifest.json"
    entry = {**analysis_values(analysis(2)), **wrong}
    path.write_text(json.dumps({**json.loads(path.read_text()), "analyses": [entry]}))
    with pytest.raises(OutputError, match="is not a whole manifest"):
        store.manifest()


def test_numbers_where_texts_stand_are_read_as_texts():
    entry = {"when": 5, "by": 6, "measures": [7], "pictures": "8", "seen": [{"seeds": ["1"], "prompts": [9]}]}
    assert analysis_from_values(entry) == PastAnalysis("5", "6", frozenset({"7"}), 8, frozenset({("9", 1)}))
    usual = analysis_values(analysis(2))
    assert united_analyses([usual], [entry]) == [usual, entry]


def test_the_same_data_are_kept_once_and_more_measures_again(store):
    for found in (analysis(2), analysis(2, when="later"), analysis(3), analysis(2, measures=("reward", "other"))):
        store.add_analysis(found)
    assert counts(store) == [2, 3, 2]


def test_old_manifests_have_no_analyses(store):
    assert store.manifest().analyses == ()


def test_a_command_that_extends_keeps_the_analyses_made_since_it_read_the_manifest(store):
    plan = sample_plan(prompts=4)
    values = united_values(store.manifest().raw, manifest_values(plan, CONDITIONS))
    store.add_analysis(analysis(2))
    store.write_manifest(values)
    assert counts(store) == [2]
    store.write_manifest(united_values(store.manifest().raw, manifest_values(plan, CONDITIONS)))
    assert counts(store) == [2]


def test_analyses_of_pictures_made_under_other_conditions_are_forgotten(store):
    store.add_analysis(analysis(2))
    other = Conditions(CONDITIONS.parameters, "0" * 64, CONDITIONS.numerics)
    store.write_manifest(manifest_values(sample_plan(prompts=2), other))
    assert counts(store) == []


def test_a_damaged_list_is_a_damaged_manifest(store):
    path = store.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "analyses": [{"when": "now"}]}))
    with pytest.raises(OutputError, match="is not a whole manifest"):
        store.manifest()


def test_lists_of_two_copies_of_a_folder_unite_in_the_order_of_their_time():
    first, second, third = (analysis_values(analysis(n, when=f"2026-01-0{n}")) for n in (1, 2, 3))
    assert united_analyses([first, third], [first, second]) == [first, second, third]


def test_entries_that_differ_in_anything_stay_and_equal_ones_are_one():
    entry = analysis_values(analysis(2))
    others = [
        {**entry, "when": "2026-01-02"},
        {**entry, "by": "report.py"},
        analysis_values(analysis(3)),
        analysis_values(analysis(2, measures=("other",))),  # by the same command within a second
    ]
    united = united_analyses([entry, *others], [dict(entry)])
    assert len(united) == 5
    assert all(found in united for found in (entry, *others))


@pytest.mark.parametrize(("shown", "is_new"), [(("a",), False), (("a", "b"), False), (("a", "c"), True)])
def test_an_analysis_of_fewer_measures_tells_nothing_new(store, shown, is_new):
    store.add_analysis(analysis(2, measures=("a", "b")))
    store.add_analysis(analysis(2, measures=shown))
    assert len(counts(store)) == 1 + is_new


def test_a_prompt_is_known_by_twelve_digits_of_its_hash_whatever_its_text():
    assert text_hash("A cat") == hashlib.sha256(b"A cat").hexdigest()[:12]
    assert text_hash("\udce9") == hashlib.sha256(b"\xed\xb3\xa9").hexdigest()[:12]  # half of a pair, as a file has it


def _add(folder: str, prompts: int) -> None:
    ResultStore(folder).add_analysis(analysis(prompts))


def test_analyses_at_the_same_time_are_all_kept(store):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_add, args=(str(store.folder), count)) for count in range(1, 7)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(counts(store)) == [1, 2, 3, 4, 5, 6]
