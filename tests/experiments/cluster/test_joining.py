"""Who may draw together, and what is said of those that may not."""

import pytest

from experiments.cluster.joining import (
    code_fingerprint,
    code_problem,
    commonest,
    kind_of,
    kind_problem,
    model_problem,
)
from experiments.cluster.orders import Loaded, WorkerFacts
from experiments.cluster.placing import check_devices, place_workers
from experiments.cluster.ray_opening import OpenCluster, is_on_this_machine
from llm_dit.errors import InvalidParameter, LlmDitError
from llm_dit.parameters import ClusterSettings, EngineSettings


def facts(card="H100", torch="2.9", code="c"):
    return WorkerFacts("node7", 1, {"versions": {"llm-dit": "0.1.0", "torch": torch}, "machine": {"card": card}}, code)


def test_the_kind_of_most_workers_is_used():
    assert dict(commonest([facts("A100"), facts(), facts()]))["card"] == "H100"
    assert dict(commonest([facts("A100"), facts()]))["card"] == "A100", "the first of several"


def test_a_worker_of_the_same_kind_has_no_problem():
    assert kind_problem(facts(), kind_of(facts().surroundings)) is None


def test_another_card_or_torch_is_named_with_the_way_to_use_it():
    problem = kind_problem(facts("A100", "2.10"), kind_of(facts().surroundings))
    assert problem == (
        "it has card A100 instead of H100, torch 2.10 instead of 2.9; --mixed uses it all the same, and then pictures "
        "may differ by a level"
    )


def test_other_code_is_named():
    assert code_problem(facts(), "c") is None
    assert "its code of llm-dit (version 0.1.0) is not the one of this process" in code_problem(facts(), "d")
    assert code_fingerprint() == code_fingerprint()


def test_other_weights_or_numerics_are_named():
    loaded = Loaded("a" * 64, {"dtype": "bfloat16"}, {})
    assert model_problem(loaded, "a" * 64, {"dtype": "bfloat16"}) is None
    assert model_problem(loaded, None, None) is None, "the first one"
    assert "fingerprint aaaaaaaaaaaa instead of bbbbbbbbbbbb" in model_problem(loaded, "b" * 64, None)
    assert "dtype bfloat16 instead of float32" in model_problem(loaded, "a" * 64, {"dtype": "float32"})


# Placing


@pytest.mark.parametrize("device", ["cuda:1", "mps"])
def test_a_device_by_number_is_refused(device):
    with pytest.raises(InvalidParameter, match=f"dit_device {device} can't be given to workers"):
        check_devices(EngineSettings(dit_device=device))


@pytest.mark.parametrize(
    ("device", "wishes", "cluster", "placed"),
    [
        ("cpu", {"workers": 3}, (True, 0, 12), (3, False, 4)),
        ("cpu", {"workers": 3, "worker_threads": 2}, (True, 0, 12), (3, False, 2)),
        ("auto", {"workers": 0}, (True, 8, 64), (None, True, 8)),
        ("auto", {"workers": 2}, (True, 8, 64), (2, True, 32)),
        ("auto", {"workers": 2}, (True, 0, 4), (2, False, 2)),
        ("auto", {}, (False, 16, 128), (None, True, 8)),
        ("cpu", {"workers": 0}, (True, 0, 6), (1, False, 6)),
    ],
)
def test_each_worker_gets_a_device_and_its_share_of_threads(device, wishes, cluster, placed):
    found = place_workers(
        EngineSettings(dit_device=device, text_encoder_device=device), ClusterSettings(**wishes), OpenCluster(*cluster)
    )
    assert (found.count, found.on_gpu, found.threads) == placed


def test_more_workers_than_this_machine_has_gpus_are_refused_before_anything_is_loaded():
    with pytest.raises(LlmDitError, match="--workers 4 is more than the 2 GPUs of this machine; use at most 2"):
        place_workers(EngineSettings(), ClusterSettings(workers=4), OpenCluster(is_local=True, gpus=2, cpus=8))


@pytest.mark.parametrize(
    ("address", "is_here"),
    [(None, True), ("127.0.0.1:6379", True), ("ray://localhost:10001", True), ("auto", False), ("head:6379", False)],
)
def test_nothing_listens_beyond_this_machine_unless_a_cluster_is_named(address, is_here):
    assert is_on_this_machine(address) == is_here
