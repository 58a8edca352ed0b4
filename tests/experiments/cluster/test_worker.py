"""What a worker does, without Ray: the files it brings are those that one device writes."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

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


class Gated(FakePipeline):
    """Says which threads it draws on, and waits at its fourth picture until it is let go on."""

    def __init__(self):
        super().__init__()
        self.threads, self.reached, self.gate = set(), threading.Event(), threading.Event()

    def draw(self, *arguments):
        self.threads.add(threading.current_thread().name)
        if len(self.denoised) == 3:
            self.reached.set()
            assert self.gate.wait(10)
        return super().draw(*arguments)


def halves(order):
    """The order in two, the second of which goes on with the first one's prompt."""
    first, second = (
        order_of_items(order, number, items) for number, items in ((1, order.items[:3]), (2, order.items[3:]))
    )
    return first, second


def order_of_items(order, number, items):
    return Order(number, items, order.conditions, order.experiment, order.session)


def test_a_batch_is_answered_while_the_device_is_at_work_on_the_next_one(tmp_path):
    pipeline = Gated()
    worker = worker_of(Source(pipeline))
    worker.load()
    first, second = halves(order_of(ResultStore(tmp_path)))
    with ThreadPoolExecutor(2) as callers:
        answers = [callers.submit(worker.draw, order) for order in (first, second)]
        assert pipeline.reached.wait(10)
        assert len(answers[0].result(10).drawn) == 3
        assert not answers[1].done()
        pipeline.gate.set()
        assert len(answers[1].result(10).drawn) == 3
    assert len(pipeline.threads) == 1, "one thread owns the device"


def test_a_prompt_that_two_batches_share_is_encoded_once(tmp_path):
    pipeline = FakePipeline()
    worker = worker_of(Source(pipeline))
    worker.load()
    order = order_of(ResultStore(tmp_path))
    of_one_prompt = [item for item in order.items if item.run.prompt.id == "p1"]
    for number, item in enumerate(of_one_prompt):
        worker.draw(order_of_items(order, number, (item,)))
    assert len(of_one_prompt) == 3
    assert len(pipeline.encoded) == 1


def test_loading_is_no_work_of_a_batch_and_the_work_of_two_batches_does_not_overlap(tmp_path):
    worker = worker_of(Source(FakePipeline(seconds=0.02)))
    worker.load()
    orders = halves(order_of(ResultStore(tmp_path)))
    with ThreadPoolExecutor(2) as callers:
        results = [answer.result(10) for answer in [callers.submit(worker.draw, order) for order in orders]]
    for result in results:
        assert 3 * 0.02 <= result.computing_seconds <= result.seconds
