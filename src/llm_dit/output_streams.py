"""Standard output and error that outlive their reader: work goes on, and its end says what could not be printed.

A closed pipe, a full device, a terminal that has gone, or a character that the terminal can't show is no reason to
leave work half done.
"""

from __future__ import annotations

import errno
import io
import sys
from typing import Any


class _Lasting(io.FileIO):
    """A descriptor whose first failure is kept and whose later writes go nowhere.

    Attributes:
        failure: What the first write that failed raised; None as long as all went well.
    """

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write, or pretend to once the reader has gone."""
        if self.failure is None:
            try:
                return super().write(data)
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes


class LastingStreams:
    """Takes the place of `sys.stdout` and `sys.stderr` where these are the process's own."""

    def __init__(self) -> None:
        self._output = self._error = None
        if sys.stdout is not None and sys.stdout is sys.__stdout__:
            sys.stdout, self._output = _lasting(sys.stdout)
        if sys.stderr is not None and sys.stderr is sys.__stderr__:
            sys.stderr, self._error = _lasting(sys.stderr)

    def output_failure(self) -> str | None:
        """Flush, and say why standard output could not be written; None if it was, or its reader has gone at will."""
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        failure = None if self._output is None else self._output.failure
        if failure is None or failure.errno in (errno.EPIPE, errno.EIO):
            return None
        return f"Standard output could not be written: {failure.strerror}."


def _lasting(stream: io.TextIOBase | object) -> tuple[io.TextIOWrapper, _Lasting]:
    assert isinstance(stream, io.TextIOWrapper)
    stream.flush()
    raw = _Lasting(stream.fileno(), "wb", closefd=False)
    buffered = io.BufferedWriter(raw)
    return (
        io.TextIOWrapper(
            buffered, encoding=stream.encoding, errors="backslashreplace", line_buffering=stream.line_buffering
        ),
        raw,
    )
