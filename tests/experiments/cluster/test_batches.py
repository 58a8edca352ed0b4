"""What a worker gets next: groups stay together, long ones come first, and all workers end together."""

from itertools import pairwise

import pytest

from experiments.cluster.batches import MOST_RUNS, MOST_SECONDS, WorkPool
from experiments.planning.design import plan_experiment
from experiments.planning.sweeps import experiment_from_sweeps
from experiments.prompts import Prompt
from experiments.running.worklist import WorkItem
from experiments.store.comparable import ModelIdentity

PIXELS = 64 * 64
MODEL = ModelIdentity("f" * 64, {"dtype": "float32"})


def items_of(prompts=4, sweep="shift=1..3", seeds=(1, 2)):
    plan = plan_experiment(
        experiment_from_sweeps([sweep], "trial"),
        [Prompt(f"p{number}", "c", "", f"text {number}") for number in range(prompts)],
        seeds,
        defaults={"height": 64, "width": 64, "guidance_scale": 0.0, "num_inference_steps": 4}
        if "steps" not in sweep
        else {"height": 64, "width": 64, "guidance_scale": 0.0},
    )
    return [WorkItem(run, run.run_id, run.prompt.text, None, MODEL) for run in plan.runs()]


def pool_of(items, setting_of=lambda _item: "only"):
    return WorkPool(items, setting_of)


def drained(pool, workers, rate=lambda _setting: 1e-9):
    """All batches in the order in which workers that take turns get them."""
    batches = []
    while pool.remaining:
        for worker in workers:
            batch = pool.take(worker, len(workers), rate)
            if batch is not None:
                batches.append((worker, batch))
    return batches


def texts(batch):
    return {item.formatted_prompt for item in batch.items}


def test_every_run_is_handed_out_once():
    items = items_of(prompts=9)
    batches = drained(pool_of(items), ["a", "b", "c"])
    names = [item.run.run_id for _, batch in batches for item in batch.items]
    assert sorted(names) == sorted(item.run.run_id for item in items)


def test_the_runs_of_a_prompt_stay_with_the_worker_that_has_begun_it():
    batches = drained(pool_of(items_of(prompts=8)), ["a", "b"])
    owners = {}
    for worker, batch in batches:
        for text in texts(batch):
            owners.setdefault(text, set()).add(worker)
    assert [len(workers) for workers in owners.values()].count(2) <= 1, "only the last prompt may be shared"


def test_a_prompt_is_shared_where_a_worker_would_have_nothing_to_do():
    pool = pool_of(items_of(prompts=1, seeds=range(8)))
    assert {worker for worker, _ in drained(pool, ["a", "b", "c", "d"])} == {"a", "b", "c", "d"}


def test_long_runs_come_first():
    items = items_of(prompts=1, sweep="num_inference_steps=2,40,8", seeds=(1,))
    items = [WorkItem(item.run, item.identity, item.run.cell.name, None, MODEL) for item in items]  # a group each
    order = [item.run.params.num_inference_steps for _, batch in drained(pool_of(items), ["a"]) for item in batch.items]
    assert order == [40, 8, 2]


def test_batches_become_smaller_towards_the_end():
    sizes = [len(batch.items) for _, batch in drained(pool_of(items_of(prompts=40)), ["a", "b"])]
    assert sizes[0] == 30  # 240 runs, 2 workers, 4 batches left for each
    assert sizes[-1] == 1


def test_the_first_batch_is_one_run_so_that_something_is_measured():
    assert len(pool_of(items_of()).take("a", 1, lambda _setting: None).items) == 1


@pytest.mark.parametrize(("seconds_a_run", "runs"), [(1e-3, MOST_RUNS), (1.0, MOST_SECONDS), (100.0, 1)])
def test_a_batch_is_bounded_in_runs_and_time(seconds_a_run, runs):
    items = items_of(prompts=200)
    pool = pool_of(items)
    batch = pool.take("a", 1, lambda _setting: seconds_a_run / (4 * PIXELS))
    assert len(batch.items) == runs


def test_a_batch_is_bounded_in_bytes():
    items = items_of(prompts=50)
    for item in items:
        object.__setattr__(item.run, "params", item.run.params.replaced(height=2048, width=2048))
    assert len(pool_of(items).take("a", 1, lambda _setting: 1e-12).items) == 5  # of 6 MiB each, in 32 MiB


def test_a_run_that_came_to_nothing_goes_alone_and_to_another_worker():
    items = items_of(prompts=1)
    pool = pool_of(items[1:])
    pool.try_again(items[0], "a")
    assert items[0] not in pool.take("a", 2, lambda _setting: 1e-9).items
    assert pool.take("b", 2, lambda _setting: 1e-9).items == (items[0],)


def test_a_run_that_came_to_nothing_stays_with_a_worker_that_is_alone():
    items = items_of(prompts=1)
    pool = pool_of([])
    pool.try_again(items[0], "a")
    assert pool.take("a", 1, lambda _setting: 1e-9).items == (items[0],)


def test_what_a_lost_worker_had_begun_goes_on_elsewhere():
    items = items_of(prompts=2)
    pool = pool_of(items)
    first = pool.take("a", 2, lambda _setting: None)
    pool.forget_worker("a")
    pool.give_back(first.items)
    names = [item.run.run_id for _, batch in drained(pool, ["b"]) for item in batch.items]
    assert sorted(names) == sorted(item.run.run_id for item in items)


def test_a_worker_stays_with_its_engine_setting_as_long_as_there_is_work_for_it():
    items = items_of(prompts=8, sweep="shift=1,2", seeds=(1,))
    batches = drained(pool_of(items, lambda item: item.run.cell.name), ["a", "b"])
    settings = {worker: [batch.setting for name, batch in batches if name == worker] for worker in ("a", "b")}
    changes = {name: sum(x != y for x, y in pairwise(held)) for name, held in settings.items()}
    assert {held[0] for held in settings.values()} == {"1.0", "2.0"}, "they begin with different ones"
    assert max(changes.values()) <= 1
    assert all(len({item.run.cell.name for item in batch.items}) == 1 for _, batch in batches)
