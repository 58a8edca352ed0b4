"""Scores by workers, without Ray: in the order asked for, whoever is lost, and by a judge beside a model that draws."""

from collections import deque
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_pipeline import FakePipeline
from PIL import Image

from experiments.cluster.attendance import OverheardCrew
from experiments.cluster.batches import MOST_BYTES
from experiments.cluster.crew import Done, Lost, Ready
from experiments.cluster.judge import Parcels
from experiments.cluster.orders import Loaded, WorkerPlan
from experiments.cluster.scoring import ScoringCrew
from experiments.cluster.scoring_orders import JudgePlan, PictureRow, ScoredBatch, ScoringOrder
from experiments.cluster.worker import Worker
from experiments.metrics import load_configured_scorers
from experiments.metrics.declaration import ScoreInput
from experiments.running.models import LoadedModel
from llm_dit.parameters import EngineSettings, MetricSettings

MODEL = Loaded("", {}, {})
LENGTH = SimpleNamespace(metric=SimpleNamespace(name="length"))


class Scripted:
    """Workers that score a row by the length of its prompt; what a script says happens first."""

    expected = 2

    def __init__(self, *script):
        self.script, self.orders, self.judges = deque(script), {}, set()

    def now(self):
        return 0.0

    def replace(self, worker):
        raise AssertionError(worker)

    stop = replace

    def submit(self, worker, order):
        self.orders.setdefault(worker, deque()).append(order)
        self.judges.add(order.judge)

    def events(self, timeout_s):
        if self.script:
            event = self.script.popleft()
            self.orders.pop(event.worker, None)
            return [event]
        for worker, orders in self.orders.items():
            if orders:
                order = orders.popleft()
                return [
                    Done(worker, ScoredBatch(order.number, [{"length": len(row.row.prompt)} for row in order.rows]))
                ]
        return []


def scored(scoring, *texts):
    batches = [[ScoreInput(text, Path(__file__))] for text in texts]
    return [scores[0]["length"] for scores in scoring.spread(LENGTH, batches)]


def test_scores_come_in_the_order_asked_for_though_a_worker_is_lost():
    scoring = ScoringCrew(Scripted(Lost("w1", "gone"), Ready("w1", MODEL)), lambda _sentence: None)
    scoring.welcome([Ready("w1", MODEL), Ready("w2", MODEL)])
    assert scored(scoring, *("x" * length for length in range(1, 20))) == list(range(1, 20))


def test_scoring_waits_for_a_worker_where_none_is_there_at_its_beginning():
    scoring = ScoringCrew(Scripted(Ready("w1", MODEL)), lambda _sentence: None)
    assert scored(scoring, "a", "bb") == [1, 2]
    assert scored(scoring) == []


def test_who_comes_and_goes_meanwhile_is_heard_by_whoever_draws_next():
    heard, judge = [], JudgePlan("length", "m", MetricSettings(), "mini", "cpu")
    crew = Scripted(Lost("w1", "gone"), Ready("w3", MODEL))
    scoring = ScoringCrew(OverheardCrew(crew, heard.append), lambda _sentence: None, judge=judge)
    scoring.welcome([Ready("w1", MODEL), Ready("w2", MODEL)])
    assert scored(scoring, "a", "bb", "ccc") == [1, 2, 3]
    assert heard == [Lost("w1", "gone"), Ready("w3", MODEL)]
    assert crew.judges == {judge}


class ByValue(Scripted):
    """Workers that score a row by the bytes that came with it, whole batches together; the second order is answered
    first where there are two, and `lost` once it has so many orders."""

    def __init__(self, lost=10**9):
        super().__init__()
        self.parcels, self.sizes, self.taken, self.lost, self.batches = {}, [], 0, lost, []

    def submit(self, worker, order):
        super().submit(worker, order)
        assert len(self.orders[worker]) <= 2
        self.sizes.append([sum(len(png) for png in (row.image, row.baseline) if png) for row in order.rows])

    def events(self, timeout_s):
        self.taken += 1
        worker, orders = next((worker, orders) for worker, orders in self.orders.items() if orders)
        if self.taken == self.lost:
            self.orders[worker], self.parcels[worker] = deque(), Parcels()
            return [Lost(worker, "gone"), Ready(worker, MODEL)]
        order = orders.pop()
        whole = self.parcels.setdefault(worker, Parcels()).whole(order)
        if whole is None:
            return [Done(worker, ScoredBatch(order.number, []))]
        self.batches.append([row.row.prompt for row in whole.rows])
        return [Done(worker, ScoredBatch(order.number, [{"length": len(row.image)} for row in whole.rows]))]


def sparse(folder, name, size):
    with (folder / name).open("wb") as file:
        file.truncate(size)
    return folder / name


@pytest.mark.parametrize("lost", [10**9, 2, 5])
def test_pictures_by_value_travel_in_parcels_of_bounded_size_and_are_scored_as_the_batches_they_are_of(tmp_path, lost):
    mebibyte = 1 << 20
    sizes = [[9, 9, 9, 9, 9], [40], [1, 1], [], [33, 1, 30]]  # of pictures; each has a baseline of one more
    baseline = sparse(tmp_path, "baseline", mebibyte)
    batches = [
        [
            ScoreInput(f"{number}-{place}", sparse(tmp_path, f"{number}-{place}", size * mebibyte), baseline=baseline)
            for place, size in enumerate(batch)
        ]
        for number, batch in enumerate(sizes)
    ]
    crew = ByValue(lost)
    scoring = ScoringCrew(crew, lambda _sentence: None)
    scoring.welcome([Ready("w1", MODEL), Ready("w2", MODEL)])
    scores = [[row["length"] // mebibyte for row in found] for found in scoring.spread(LENGTH, batches)]
    assert scores == sizes
    assert {tuple(batch) for batch in crew.batches} == {tuple(row.prompt for row in batch) for batch in batches}
    assert all(sum(parcel) <= MOST_BYTES or len(parcel) == 1 for parcel in crew.sizes)
    assert max(map(sum, crew.sizes)) == 41 * mebibyte, "one picture alone may be larger"
    if lost == 10**9:
        assert [[size // mebibyte for size in parcel] for parcel in crew.sizes].count([10, 10, 10]) == 1
        assert len(crew.sizes) == 2 + 1 + 1 + 1 + 3


class Source:
    """Brings fake pipelines."""

    def models(self):
        return LoadedModel(FakePipeline())


def test_a_worker_that_draws_scores_as_this_process_does_and_refuses_other_weights(tmp_path):
    picture, settings = tmp_path / "picture.png", MetricSettings()
    Image.new("RGB", (64, 64), "red").save(picture)
    row = ScoreInput("a red wall", picture)
    (own,) = load_configured_scorers(["siglip_score"], settings, "mini", device="cpu")
    worker = Worker(WorkerPlan((EngineSettings(),), 0, 1, Source()))
    plan = JudgePlan("siglip_score", own.metric.model, settings, "mini", "cpu")
    by_path, by_value = PictureRow(row), PictureRow(row._replace(image=Path("elsewhere.png")), picture.read_bytes())
    result = worker.draw(ScoringOrder(3, "siglip_score", (by_path, by_value), plan))
    assert (result.number, result.error) == (3, "")
    assert result.scores == own.score_rows([row, row])
    first = worker.draw(ScoringOrder(5, "siglip_score", (by_value,), plan, is_last=False, batch=9))
    assert (first.number, first.scores) == (5, []), "the rest of the batch is to come"
    last = worker.draw(ScoringOrder(6, "siglip_score", (by_path,), plan, is_first=False, batch=9))
    assert (last.number, last.scores) == (6, result.scores)
    other = worker.draw(
        ScoringOrder(4, "siglip_score", (by_path,), JudgePlan("siglip_score", "x", settings, "mini", "cpu"))
    )
    assert (other.scores, other.error) == (None, f"its weights are others ({own.metric.model} instead of x)")
