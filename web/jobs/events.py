"""Who is watching, and server-sent events made of snapshots.

Lives on the event loop; only `EventHub.announce` may be called from other threads. A stream sends the newest state and
then waits for news, so a slow client skips states instead of piling them up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator

from web.jobs.queue import JobQueue

LEAST_INTERVAL_S = 0.05
"""Between two states that a stream sends."""


class EventHub:
    """Wakes coroutines at news and knows which clients are connected.

    Args:
        queue: Its changes are the news.
    """

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watchers: Counter[str] = Counter()
        self._is_closing = False

    def open(self) -> None:
        """Begin to listen; called on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._queue.add_listener(self.announce)

    def close(self) -> None:
        """End all streams."""
        self._queue.remove_listener(self.announce)
        self._is_closing = True
        self._wake()

    def announce(self) -> None:
        """Wake everyone; may be called from any thread."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to wake
            self._loop.call_soon_threadsafe(self._wake)

    def is_watched(self, client: str | None) -> bool:
        """Say whether `client` has a stream open."""
        return client is not None and self._watchers[client] > 0

    @contextlib.contextmanager
    def watching(self, client: str) -> Iterator[None]:
        """Count `client` as connected inside the block."""
        self._watchers[client] += 1
        try:
            yield
        finally:
            self._watchers[client] -= 1
            if not self._watchers[client]:
                del self._watchers[client]

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Wait until `is_true()`, looking again at each news."""
        while not is_true():
            await self._news.wait()

    async def ticks(self) -> AsyncIterator[None]:
        """Yield at once and after each news, at most once per `LEAST_INTERVAL_S`, until the server stops."""
        while not self._is_closing:
            news = self._news
            yield
            await news.wait()
            await asyncio.sleep(LEAST_INTERVAL_S)

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
