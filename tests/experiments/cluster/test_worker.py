"""What a worker does, without Ray: the files it brings are those that one device writes."""

import pickle

from fake_pipeline import FakePipeline

from experiments.cluster.orders import Order, WorkerPlan
from experiments.cluster.worker import Worker
from experiments.planning.design import plan_experiment
from experiments.planning.sweeps import experiment_from_sweeps
from experiments.prompts import Prompt
from experiments.running.execution import run_plan
from experiments.running.models import LoadedModel
from experiments.running.one_device import OneDevice
from experiments.running.worklist import make_worklist
from experiments.store.result_store import ResultStore
from llm_dit.errors import CheckpointError
from llm_dit.parameters import EngineSettings

PLAN = plan_experiment(
    experiment_from_sweeps(["shift=1..3"], "trial"),
    [Prompt("p1", "c", "", "A cat"), Prompt("p2", "c", "", "A cup")],
    [1],
)


class Source:
    """Brings fake pipelines."""

    def __init__(self, pipeline=None, error=None):
        self.pipeline, self.error = pipeline or FakePipeline(), error

    def surroundings(self, settings, threads):
        return self.pipeline.surroundings()

    def models(self):
        if self.error is None:
            return LoadedModel(self.pipeline)
        return self

    def known(self, settings, planned):
        raise self.error


def worker_of(source):
    return Worker(WorkerPlan((EngineSettings(),), 0, 1, source))


def order_of(store, number=7):
    work = make_worklist(PLAN, lambda settings: FakePipeline(), store)
    return Order(number, work.to_do, work.conditions, "trial", "session")


def test_its_files_are_those_of_one_device(tmp_path):
    store = ResultStore(tmp_path / "alone")
    run_plan(PLAN, OneDevice.of(FakePipeline()), store)
    worker = worker_of(Source())
    loaded = worker.load()
    assert (loaded.fingerprint, loaded.numerics) == (FakePipeline().fingerprint, FakePipeline().numerics)
    sent = pickle.loads(pickle.dumps(order_of(ResultStore(tmp_path / "other"))))
    result = pickle.loads(pickle.dumps(worker.draw(sent)))
    assert result.number == 7
    assert {drawn.run.run_id: drawn.png for drawn in result.drawn} == {
        path.stem: path.read_bytes() for path in store.images.iterdir()
    }
    assert {drawn.metadata["run"]["session"] for drawn in result.drawn} == {"session"}


def test_a_run_that_fails_comes_back_with_its_reason_and_the_others_with_their_files(tmp_path):
    worker = worker_of(Source(FakePipeline(failing={("A cat", 2.0): RuntimeError("out of memory")})))
    worker.load()
    result = worker.draw(order_of(ResultStore(tmp_path)))
    assert [failed.error for failed in result.failed] == ["out of memory"]
    assert len(result.drawn) == 5


def test_once_stopped_it_begins_nothing(tmp_path):
    worker = worker_of(Source())
    worker.load()
    worker.stop()
    result = worker.draw(order_of(ResultStore(tmp_path)))
    assert (result.drawn, result.failed) == ((), ())


def test_a_model_that_is_not_there_is_a_sentence():
    assert worker_of(Source(error=CheckpointError("There is no model z."))).load() == "There is no model z."
