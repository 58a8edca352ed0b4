"""Command line of the web page."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from llm_dit.cli import Command, config_from_flags, parameter_options, user_errors
from llm_dit.parameters import EngineSettings, GenerationParams, MetricSettings, RewriterSettings, ServerSettings
from llm_dit.placement.waiting_threads import let_waiting_threads_sleep

if TYPE_CHECKING:
    import socket

SHUTDOWN_S = 3
NOT_STARTED = 3
"""Exit code where the application could not start, as uvicorn's own."""
SWITCH_INTERVAL_S = 0.001
"""After so long the thread that makes an image lets the event loop in; Python's 5 ms add up over an answer's parts."""


@click.command(cls=Command, context_settings={"show_default": True})
@parameter_options(ServerSettings, EngineSettings, GenerationParams, RewriterSettings, MetricSettings)
@user_errors
def main(**flags: Any) -> None:
    """Serve the page at http://127.0.0.1:8000; the model loads behind it.

    Flags of image parameters set what the form and the API begin with.
    """
    config = config_from_flags(flags)
    server = config.server

    import uvicorn

    from llm_dit.placement.devices import require_devices
    from web.app import create_app

    require_devices(config.engine)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    let_waiting_threads_sleep(at_once=True)  # cores for answers
    with _listening(server.host, server.port) as listening:
        app = create_app(config)
        shown_host = f"[{server.host}]" if ":" in server.host else server.host
        click.echo(f"llm-dit: http://{shown_host}:{listening.getsockname()[1]}  (Ctrl+C stops it)")
        running = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=SHUTDOWN_S, server_header=False)
        )
        with suppress(KeyboardInterrupt):  # uvicorn raises the Ctrl+C again that it has ended by
            running.run(sockets=[listening])
    if not running.started:
        sys.exit(NOT_STARTED)


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket on the address.

    Raises:
        LlmDitError: If it is taken, or can't be listened on.
    """
    import socket

    from llm_dit.errors import LlmDitError

    listening = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        if os.name == "posix":  # elsewhere it would let two programs share a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        return listening
    except OSError as error:
        if listening is not None:
            listening.close()
        raise LlmDitError(
            f"--host {host} --port {port} can't be listened on ({error.strerror or error}); give another --port, such "
            f"as {port % 65535 + 1}, or 0 for any that is free.",
            field="port",
        ) from None


if __name__ == "__main__":
    main()
