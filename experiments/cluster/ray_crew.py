"""Workers as Ray's actors: one for each device, made anew by Ray when lost, and asked each time who they are."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from experiments.cluster.crew import ORDERS_IN_FLIGHT, Done, Event, Lost, MemberState, Numbered, Ready, Standing
from experiments.cluster.joining import Kind, code_problem, commonest, kind_problem, model_problem
from experiments.cluster.orders import Loaded, WorkerFacts
from experiments.cluster.placing import Placing
from llm_dit.errors import LlmDitError

GATHERING_S: Final = 20.0
"""So long the first worker waits for the others to say what they are; the kind of most of them is used."""
PATIENCE_S: Final = 30.0
"""After so long without a worker it is said what is waited for."""
ASK_AGAIN_S: Final = 0.5
LOOK_FOR_DEVICES_S: Final = 5.0
LOOK_FOR_CLUSTER_S: Final = 5.0
CLUSTER_PATIENCE_S: Final = 30.0
"""So long a cluster may not answer; after 60 s Ray would end this process, and a page with it."""
CONNECTING_S: Final = 2.0
CONNECTION_BROKEN: Final = (
    "The cluster has gone: the connection to it is broken; start it again, and the same experiment goes on where it is."
)
DEATHS: Final = 3
"""So often one after the other a worker may die at its start, before it is given up."""
CANCELLED: Final = "cancelled before it started"
"""In what Ray says of a worker whose driver it takes for dead: it does not answer a cluster that shows no token."""
CONTROL: Final = "control"
"""Ray's name for the thread on which a worker listens while it draws."""


class NoWorkerLeft(LlmDitError):
    """Every worker was refused, and no other will come."""


class ClusterGone(LlmDitError):
    """Nothing answers where the cluster was."""


@dataclass(eq=False)
class _Member:
    """One actor and what is known of it."""

    name: str
    actor: Any
    state: MemberState = "coming"
    facts: WorkerFacts | None = None
    ask_at: float = 0.0
    deaths: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Terms:
    """On which terms workers join.

    Attributes:
        placing: How many, and what each gets.
        is_mixed: Whether other kinds of devices and versions are used too.
        fingerprint: Of the model on the driver's side; None takes the first worker's.
        code: Of this project's code on the driver's side.
    """

    placing: Placing
    is_mixed: bool
    fingerprint: str | None
    code: str


@dataclass(frozen=True)
class _Asked:
    member: _Member
    what: Literal["describe", "load", "draw"]
    number: int = field(default=-1)


class RayCrew:
    """The workers of one command on a cluster that is open.

    Args:
        ray: Ray's module.
        make: What is made on each device; has the methods of `Worker`.
        plan: What it is made from.
        terms: On which they join.
        tell: Told of every worker that is refused, and of waiting.
    """

    def __init__(self, ray: Any, make: type, plan: object, terms: Terms, tell: Callable[[str], None]) -> None:
        self._ray = ray
        self._make = make
        self._plan = plan
        self._terms = terms
        self._tell = tell
        self._names = (f"worker {number}" for number in itertools.count(1))
        self._members: dict[str, _Member] = {}
        self._asked: dict[Any, _Asked] = {}
        self._kind: Kind | None = None
        self._fingerprint = terms.fingerprint
        self._numerics: Mapping[str, str] | None = None
        self._gathering_until: float | None = None
        self._told_waiting_at = time.monotonic()
        self._looked_at = 0.0
        self._head = head_of(ray)
        self._asked_head_at = self._head_answered_at = self.now()
        self._is_stopped = False
        self._make_members()

    @property
    def expected(self) -> int:
        """How many workers there are or will be."""
        return sum(member.state != "refused" for member in self._members.values())

    def now(self) -> float:
        """Return the seconds of this machine's clock."""
        return time.monotonic()

    def standing(self) -> list[Standing]:
        """Return where each worker stands."""
        return [
            Standing(
                member.name,
                member.state,
                "" if member.facts is None else member.facts.host,
                None if member.facts is None else member.facts.pid,
            )
            for member in self._members.values()
        ]

    def submit(self, worker: str, order: Numbered) -> None:
        """Hand a worker an order."""
        member = self._members[worker]
        with self._connected():
            self._asked[member.actor.draw.remote(order)] = _Asked(member, "draw", order.number)

    def replace(self, worker: str) -> None:
        """End a worker's process at once; Ray makes another one."""
        self._ray.kill(self._members[worker].actor, no_restart=False)

    def stop(self) -> None:
        """Let every worker end after its current image."""
        self._is_stopped = True
        for member in self._members.values():
            if member.state == "ready":
                member.actor.stop.options(concurrency_group=CONTROL).remote()

    def close(self) -> None:
        """End all workers; those of a cluster that has gone are gone."""
        if not self._ray.is_initialized():
            return  # Ray would join another cluster for it
        for member in self._members.values():
            with suppress(Exception):
                self._ray.kill(member.actor, no_restart=True)

    def events(self, timeout_s: float) -> Sequence[Event]:
        """Return what has happened; see `Crew.events`."""
        with self._connected():
            self._check_cluster_is_there()
            self._make_members()
            self._ask_who_they_are()
            if not self._asked:
                time.sleep(min(timeout_s, ASK_AGAIN_S))
            happened = [event for asked, ref in self._answered(timeout_s) for event in self._answer(asked, ref)]
        self._judge_described()
        self._check_anybody_left()
        return happened

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Say that the cluster has gone where Ray's client says that its connection is broken.

        Raises:
            ClusterGone: If so; Ray itself would look for another cluster at the next call.
        """
        if not self._ray.is_initialized():
            raise ClusterGone(CONNECTION_BROKEN, field="ray_address")
        try:
            yield
        except ConnectionError as error:
            raise ClusterGone(CONNECTION_BROKEN, field="ray_address") from error

    def _check_cluster_is_there(self) -> None:
        now = self.now()
        if self._head is None or now - self._asked_head_at < LOOK_FOR_CLUSTER_S:
            return
        self._asked_head_at = now
        try:
            socket.create_connection(self._head, CONNECTING_S).close()
            self._head_answered_at = now
        except OSError as error:
            if now - self._head_answered_at > CLUSTER_PATIENCE_S:
                host, port = self._head
                raise ClusterGone(
                    f"The cluster has gone: nothing answers at {host}:{port} any more ({error.strerror or error}); "
                    "start it again, and the same experiment goes on where it is.",
                    field="ray_address",
                ) from None

    def _make_members(self) -> None:
        """Make the actors that are wanted; where all devices are, look from time to time whether there are more."""
        wanted = self._terms.placing.count
        if wanted is None:
            if self._members and self.now() - self._looked_at < LOOK_FOR_DEVICES_S:
                return
            self._looked_at = self.now()
            resource, each = ("GPU", 1) if self._terms.placing.on_gpu else ("CPU", self._terms.placing.threads)
            wanted = max(1, int(self._ray.cluster_resources().get(resource, 0)) // each)
        while len(self._members) < wanted:
            name = next(self._names)
            self._members[name] = _Member(name, self._made())

    def _made(self) -> Any:
        placing = self._terms.placing
        device = {"num_gpus": 1, "num_cpus": 0} if placing.on_gpu else {"num_cpus": placing.threads}
        threads = str(placing.threads)
        actor = self._ray.remote(
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=ORDERS_IN_FLIGHT,  # the next order is there when the device is free
            concurrency_groups={CONTROL: 1},
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": {"OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"}},
            **device,
        )(self._make)
        return actor.remote(self._plan)

    def _ask_who_they_are(self) -> None:
        for member in self._members.values():
            if member.state == "coming" and self.now() >= member.ask_at:
                member.ask_at = float("inf")
                self._asked[member.actor.describe.remote()] = _Asked(member, "describe")

    def _answered(self, timeout_s: float) -> Iterator[tuple[_Asked, Any]]:
        if not self._asked:
            return
        some, _ = self._ray.wait(list(self._asked), num_returns=1, timeout=timeout_s)
        if not some:
            return
        ready, _ = self._ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0)
        for ref in sorted(ready or some, key=lambda ref: self._asked[ref].number):
            if ref in self._asked:  # not one of a worker that was found lost just now
                yield self._asked.pop(ref), ref

    def _answer(self, asked: _Asked, ref: Any) -> Iterator[Event]:
        """Read one answer; what fails in our own code keeps its traceback."""
        errors, member = self._ray.exceptions, asked.member
        try:
            answer = self._ray.get(ref)
        except errors.RayTaskError:
            raise
        except errors.RayError as error:
            yield from self._lost(member, error)
            return
        if asked.what == "describe":
            member.facts, member.state = answer, "described"
            if self._gathering_until is None:
                self._gathering_until = self.now() + GATHERING_S
        elif asked.what == "load":
            yield from self._loaded(member, answer)
        else:
            yield Done(member.name, answer)

    def _lost(self, member: _Member, error: Exception) -> Iterator[Event]:
        """Forget all that a worker was asked, and ask again who it is once Ray has made it anew."""
        was_ready = member.state == "ready"
        for ref in [ref for ref, other in self._asked.items() if other.member is member]:
            del self._asked[ref]
        if isinstance(error, self._ray.exceptions.ActorDiedError):  # for good; unavailable ones come back
            member.deaths += 1
            if member.deaths == DEATHS:
                self._refuse(member, f"it can't be started: {_why_not_started(error)}")
                return
            member.actor = self._made()
        member.state, member.facts, member.ask_at = "coming", None, self.now() + ASK_AGAIN_S
        if was_ready:
            yield Lost(member.name, _reason(error))

    def _judge_described(self) -> None:
        """Let those load that are of the kind in use, once that is known."""
        described = [member for member in self._members.values() if member.state == "described"]
        if not described:
            return
        if self._kind is None:
            coming = any(member.state == "coming" for member in self._members.values())
            assert self._gathering_until is not None
            if coming and self.now() < self._gathering_until:
                return
            self._kind = commonest(member.facts for member in described if member.facts is not None)
        for member in described:
            assert member.facts is not None
            problem = code_problem(member.facts, self._terms.code)
            if problem is None and not self._terms.is_mixed:
                problem = kind_problem(member.facts, self._kind)
            if problem is not None:
                self._refuse(member, problem)
            else:
                member.state = "loading"
                self._asked[member.actor.load.remote()] = _Asked(member, "load")

    def _loaded(self, member: _Member, answer: Loaded | str) -> Iterator[Event]:
        problem = answer if isinstance(answer, str) else model_problem(answer, self._fingerprint, self._numerics)
        if problem is not None:
            self._refuse(member, problem)
            return
        assert isinstance(answer, Loaded)
        self._fingerprint, self._numerics = answer.fingerprint, answer.numerics
        member.state, member.deaths = "ready", 0
        if self._is_stopped:
            member.actor.stop.options(concurrency_group=CONTROL).remote()
        yield Ready(member.name, answer)

    def _refuse(self, member: _Member, problem: str) -> None:
        host = "" if member.facts is None else f" on {member.facts.host}"
        member.state, member.problem = "refused", problem
        self._tell(f"{member.name}{host} is not used: {problem.rstrip('.')}.")

    def _check_anybody_left(self) -> None:
        members = self._members.values()
        if members and all(member.state == "refused" for member in members):
            problems = dict.fromkeys(member.problem.rstrip(".") for member in members)
            raise NoWorkerLeft(f"No worker can be used: {'; '.join(problems)}.", field="workers")
        if any(member.state == "ready" for member in members):
            self._told_waiting_at = self.now()
        elif self.now() - self._told_waiting_at > PATIENCE_S:
            self._told_waiting_at = self.now()
            device = "a free GPU" if self._terms.placing.on_gpu else f"{self._terms.placing.threads} free processor(s)"
            self._tell(f"No worker is there yet; each needs {device} on a node of the cluster. Waiting.")


def head_of(ray: Any) -> tuple[str, int] | None:
    """Return where the cluster listens that this process is a part of; None for one that is joined from outside."""
    if ray.util.client.ray.is_connected():
        return None  # Ray's client raises ConnectionError by itself
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    return host.strip("[]"), int(port)


def _why_not_started(error: Exception) -> str:
    """Say why Ray gave up a worker; where it says no more than that it did, the likeliest reason."""
    told = last_line(error)
    if CANCELLED in told and os.environ.get("RAY_AUTH_MODE") == "token":
        told = f"{told.rstrip('.')}; if the cluster was started without a token, unset RAY_AUTH_MODE for this command"
    return told


def last_line(error: Exception) -> str:
    """Return the end of what Ray says of an error that has a traceback in its text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{lines[-1]:.200}" if lines else type(error).__name__


def _reason(error: Exception) -> str:
    """Return what Ray says of a loss, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split()):.200}"
