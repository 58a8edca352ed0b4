"""The driver's loop with workers that only tell the time, some of which fail, vanish or hang."""

from collections import Counter, deque

import pytest
from test_batches import items_of

from experiments.cluster.crew import Done, Lost, Ready
from experiments.cluster.dispatch import TRIES, Dispatcher, Patience
from experiments.cluster.orders import BatchResult, Drawn, Failed, Loaded
from experiments.cluster.simulation import Timing, simulate
from experiments.store.comparable import Conditions

MODEL = Loaded("f", {}, {"machine": {"card": "x"}})


class Scripted:
    """Workers in one process that draw a run a second, and do to each run what `fate` says.

    fate: (run id, worker, how many times it was begun) to `fail`, `lose`, `hang` or None.
    """

    def __init__(self, count=2, fate=lambda run_id, worker, times: None):
        self.fate, self.clock, self.begun = fate, 0.0, Counter()
        self.orders = {f"w{number}": deque() for number in range(count)}
        self.pending = deque(Ready(name, MODEL) for name in self.orders)
        self.hung, self.replaced, self.stopped, self.sent = set(), [], False, []

    expected = 2

    def now(self):
        return self.clock

    def submit(self, worker, order):
        assert len(self.orders[worker]) < 2, "at most two orders are in flight"
        self.orders[worker].append(order)
        self.sent.append((worker, order))

    def events(self, timeout_s):
        if self.pending:
            return [self.pending.popleft()]
        for worker in list(self.orders):
            orders = self.orders[worker]
            self.orders[worker] = self.orders.pop(worker)  # they take turns
            if orders and worker not in self.hung:
                event = self._drawn(worker, orders)
                if event is not None:
                    return [event]
        self.clock += timeout_s
        return []

    def _drawn(self, worker, orders):
        order, drawn, failed = orders[0], [], []
        for item in order.items:
            if self.stopped:
                break
            name = item.run.run_id
            self.begun[name] += 1
            self.clock += 1.0
            match self.fate(name, worker, self.begun[name]):
                case "fail":
                    failed.append(Failed(item.run, {}, "out of memory"))
                case "lose":
                    orders.clear()
                    self.pending.append(Ready(worker, MODEL))
                    return Lost(worker, "gone")
                case "hang":
                    self.hung.add(worker)
                    return None
                case _:
                    drawn.append(Drawn(item.run, b"png", {}))
        orders.popleft()
        return Done(worker, BatchResult(order.number, tuple(drawn), tuple(failed), float(len(order.items))))

    def replace(self, worker):
        self.replaced.append(worker)
        self.hung.discard(worker)
        self.orders[worker].clear()
        self.pending += [Lost(worker, "killed"), Ready(worker, MODEL)]

    def stop(self):
        self.stopped = True


class Kept:
    """A writer that keeps what it is given."""

    def __init__(self):
        self.made, self.failed = [], {}

    def write_png(self, run, metadata, png):
        self.made.append(run.run_id)

    def fail(self, run, metadata, error):
        self.failed[run.run_id] = error

    def has_result(self, run_id, identity):
        return run_id in self.made


def drawn(crew, items, should_stop=lambda: False, patience=None):
    told, writer = [], Kept()
    dispatcher = Dispatcher(
        crew, Conditions({}, "", {}), "trial", lambda surroundings: "s", lambda item: "", told.append, patience
    )
    left = dispatcher.draw(items, writer, lambda run_id: None, should_stop)
    return writer, left, told, dispatcher


def names(items):
    return sorted(item.run.run_id for item in items)


def test_every_run_is_made_once():
    items = items_of(prompts=6)
    writer, left, told, _ = drawn(Scripted(3), items)
    assert (sorted(writer.made), left, told) == (names(items), 0, [])


@pytest.mark.parametrize("fate", ["lose", "hang", "fail"])
def test_a_fault_costs_no_run_and_doubles_none(fate):
    items = items_of(prompts=6)
    victim = items[7].run.run_id
    crew = Scripted(2, lambda name, worker, times: fate if name == victim and times == 1 else None)
    writer, left, told, dispatcher = drawn(crew, items)
    assert sorted(writer.made) == names(items)
    assert (left, writer.failed) == (0, {})
    assert told and dispatcher.tally.lost == (fate != "fail")


def test_a_lost_worker_costs_at_most_the_two_batches_that_it_had():
    items = items_of(prompts=20)
    victim = items[30].run.run_id
    crew = Scripted(2, lambda name, worker, times: "lose" if name == victim and times == 1 else None)
    drawn(crew, items)
    again = sum(times - 1 for times in crew.begun.values())
    largest = max(len(order.items) for _, order in crew.sent)
    assert 1 <= again <= 2 * largest


def test_after_a_loss_what_the_store_holds_is_not_handed_out_again():
    items = items_of(prompts=20)
    victim = items[30].run.run_id
    crew = Scripted(2, lambda name, worker, times: "lose" if name == victim and times == 1 else None)
    writer = Kept()
    there = {item.run.run_id for item in items} - {victim}  # by another way than the answer that was lost
    writer.has_result = lambda run_id, identity: run_id in there
    dispatcher = Dispatcher(crew, Conditions({}, "", {}), "trial", lambda _: "s", lambda _: "", lambda _: None)
    dispatcher.draw(items, writer, lambda run_id: None, lambda: False)
    assert [name for name, times in crew.begun.items() if times > 1] == [victim]
    assert writer.made.count(victim) == 1


@pytest.mark.parametrize(("fate", "error"), [("fail", "out of memory"), ("lose", "gone")])
def test_a_run_that_always_fails_is_tried_three_times_on_two_workers(fate, error):
    items = items_of(prompts=6)
    victim = items[7].run.run_id
    crew = Scripted(2, lambda name, worker, times: fate if name == victim else None)
    writer, left, _, _ = drawn(crew, items)
    assert sorted(writer.made) == [name for name in names(items) if name != victim]
    assert left == 0
    assert writer.failed.keys() == {victim}
    assert writer.failed[victim].startswith(error)
    workers = [worker for worker, order in crew.sent if victim in [item.run.run_id for item in order.items]]
    assert len(workers) == crew.begun[victim] == TRIES
    assert len(set(workers)) == 2


class Eager(Scripted):
    """Workers that begin their next order before the answer to the one before is on its way."""

    def _drawn(self, worker, orders):
        if len(orders) == 2:
            name = orders[1].items[0].run.run_id
            if self.fate(name, worker, self.begun[name] + 1) == "lose":
                self.begun[name] += 1
                orders.clear()
                self.pending.append(Ready(worker, MODEL))
                return Lost(worker, "gone")
        return super()._drawn(worker, orders)


@pytest.mark.parametrize("place", [0, 7, 20])
def test_nothing_is_blamed_for_a_run_beside_it_that_ends_its_worker_each_time(place):
    items = items_of(prompts=6)
    victim = items[place].run.run_id
    crew = Eager(2, lambda name, worker, times: "lose" if name == victim else None)
    writer, left, _, _ = drawn(crew, items)
    assert sorted(writer.made) == [name for name in names(items) if name != victim]
    assert (left, list(writer.failed)) == (0, [victim])
    assert crew.begun[victim] <= 2 * TRIES


def test_a_run_that_came_to_nothing_has_its_worker_to_itself():
    items = items_of(prompts=6)
    victim = items[7].run.run_id
    crew = Scripted(2, lambda name, worker, times: "fail" if name == victim else None)
    alone = []
    submit = crew.submit

    def watched(worker, order):
        submit(worker, order)
        waiting = [item.run.run_id for one in crew.orders[worker] for item in one.items]
        if crew.begun[victim] and victim in waiting:
            alone.append(waiting == [victim])

    crew.submit = watched
    drawn(crew, items)
    assert alone == [True, True]


def test_a_worker_that_hangs_is_replaced_when_its_batch_is_overdue():
    items = items_of(prompts=3)
    crew = Scripted(2, lambda name, worker, times: "hang" if worker == "w1" and crew.clock < 10 else None)
    writer, _, told, _ = drawn(crew, items, patience=Patience(first_s=100.0, least_s=20.0, factor=2.0))
    assert crew.replaced == ["w1"]
    assert sorted(writer.made) == names(items)
    assert "w1 does not answer and is replaced." in told


def test_a_device_on_which_runs_fail_that_others_make_is_replaced():
    items = items_of(prompts=8)
    crew = Scripted(2, lambda name, worker, times: "fail" if worker == "w1" and "w1" not in crew.replaced else None)
    writer, _, _, _ = drawn(crew, items)
    assert crew.replaced == ["w1"]
    assert (sorted(writer.made), writer.failed) == (names(items), {})


def test_asked_to_stop_it_keeps_what_is_drawn_and_says_how_much_is_left():
    items = items_of(prompts=8)
    writer = Kept()
    asks = iter([False] * 6 + [True] * 1000)
    writer, left, _, _ = drawn(Scripted(2), items, should_stop=lambda: next(asks))
    assert len(writer.made) + left == len(items)
    assert writer.made and left


def test_an_answer_of_a_worker_that_was_given_up_is_not_taken():
    items = items_of(prompts=2)
    crew = Scripted(1)
    late = Done("w0", BatchResult(999, (Drawn(items[0].run, b"", {}),), (), 1.0))
    crew.pending.append(late)
    writer, _, _, _ = drawn(crew, items)
    assert sorted(writer.made) == names(items)


# Simulation


def seconds(workers, items, **timing):
    return simulate(items, workers, Timing(lambda _item: 0.5, **timing), lambda _item: "")


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_simulated_workers_share_the_work_evenly(workers):
    items = items_of(prompts=40)  # 240 runs
    found = seconds(workers, items, driver_per_order=0, driver_per_run=0, answering=0)
    assert found.seconds == pytest.approx(240 * 0.5 / workers, abs=0.5)
    assert found.limit == "the devices"


def test_a_simulation_names_what_limits():
    items = items_of(prompts=10)  # 60 runs
    assert seconds(1000, items).limit == "the number of runs (60 for 1,000 workers)"
    assert seconds(4, items, loading=600.0).limit == "loading the model"
    assert seconds(60, items_of(prompts=100), driver_per_run=0.1).limit.startswith("the driver")


def test_a_simulation_says_how_much_of_the_time_the_driver_works_and_names_it_where_that_limits():
    items = items_of(prompts=40)  # 240 runs: 2 s on 60 devices, 24 s for the driver
    found = seconds(60, items, driver_per_order=0, driver_per_run=0.1, answering=0)
    assert found.driver_share == pytest.approx(24 / found.seconds)
    assert found.seconds == pytest.approx(24 + 0.5, abs=0.1)  # the first run's 0.5 s, then nothing but the driver
    assert "the devices compute 8% of it, the driver works 98% of it; limited by the driver" in found.sentence()
    easy = seconds(1, items, driver_per_order=0, driver_per_run=0.1, answering=0)
    assert "the driver works 20% of it; limited by the devices." in easy.sentence()
