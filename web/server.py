"""Command line of the web page."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from llm_dit.cli import Command, config_from_flags, parameter_options, user_errors
from llm_dit.parameters import EngineSettings, GenerationParams, MetricSettings, RewriterSettings, ServerSettings

SHUTDOWN_S = 3
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
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "PASSIVE"
    )  # torch's threads sleep where they would spin: cores for answers
    app = create_app(config)
    shown_host = f"[{server.host}]" if ":" in server.host else server.host
    click.echo(f"llm-dit: http://{shown_host}:{server.port}  (Ctrl+C stops it)")
    uvicorn.run(
        app,
        host=server.host,
        port=server.port,
        log_level="warning",
        timeout_graceful_shutdown=SHUTDOWN_S,
        server_header=False,
    )


if __name__ == "__main__":
    main()
