"""A process beside the server that plans, so that a large plan slows neither answers nor the picture being made.

It has low priority, keeps what it has imported and read from one plan to the next, and is ended where a plan that takes
long is given up.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from llm_dit.errors import LlmDitError

NICENESS = 10
PATIENCE_S = 1.0
"""A plan that was given up may take so long to end; a new process takes longer to begin."""


class PlanProcess:
    """One process, begun when it is first needed. Lives on the event loop."""

    def __init__(self) -> None:
        self._process: Any = None
        self._connection: Connection | None = None
        self._is_free = asyncio.Lock()

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return `function(*arguments)`, computed there; one call at a time.

        Raises:
            LlmDitError: As `function` does.
        """
        async with self._is_free:
            answer = asyncio.get_running_loop().run_in_executor(None, self._ask, function, arguments)
            try:
                error, result = await asyncio.shield(answer)
            except asyncio.CancelledError:
                await self._give_up(answer)
                raise
        if error is not None:
            raise LlmDitError(error[0], field=error[1])
        return result

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    @property
    def pid(self) -> int | None:
        """Number of the process, None while there is none."""
        return None if self._process is None else self._process.pid

    def _ask(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, Any]:
        """Send a call and wait for its answer; on a thread."""
        if self._process is None or not self._process.is_alive():
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), name="planner", daemon=True)
            self._process.start()
            theirs.close()
        assert self._connection is not None
        try:
            self._connection.send((function, arguments))
            error, result = self._connection.recv()
        except (EOFError, OSError):
            return ("The planning was stopped; try again.", None), None
        return error, result

    async def _give_up(self, answer: asyncio.Future[Any]) -> None:
        """Let a short plan end; end the process of a long one."""
        done, _ = await asyncio.wait({answer}, timeout=PATIENCE_S)
        if not done:
            self.close()
            await asyncio.wait({answer})


def _serve(connection: Connection) -> None:
    os.nice(NICENESS)
    while True:
        try:
            function, arguments = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        answer: tuple[Any, Any]
        try:
            answer = None, function(*arguments)
        except LlmDitError as error:
            answer = (str(error), error.field), None
        connection.send(answer)
