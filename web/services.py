"""Everything a route may use, put together once for each application."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from llm_dit.config import Config
from llm_dit.prompting.templates import TemplateShelf
from web.history.image_history import History, open_history
from web.jobs.counters import Monitoring
from web.jobs.events import EventHub
from web.jobs.experiment_jobs import Lab
from web.jobs.image_jobs import ImageStudio
from web.jobs.job import Job
from web.jobs.loaded_model import EngineFactory, EngineHandle
from web.jobs.queue import JobQueue
from web.jobs.voting_booths import Booths


@dataclass(frozen=True)
class Services:
    """The parts behind the routes.

    Attributes:
        config: Values of file and flags.
        engine: The model, loading or ready.
        queue: One job at a time on the device.
        hub: News of the queue, and who is watching.
        history: Images on disk.
        studio: Puts image jobs into queue and history.
        lab: Experiments.
        templates: Prompt and rewriter templates.
        monitoring: Counters.
        booths: Where people vote on experiments' pictures.
    """

    config: Config
    engine: EngineHandle
    queue: JobQueue
    hub: EventHub
    history: History
    studio: ImageStudio
    lab: Lab
    templates: TemplateShelf
    monitoring: Monitoring
    booths: Booths


def assemble(config: Config, engine_factory: EngineFactory | None) -> Services:
    """Put the services together; nothing runs yet, but the history's folder is taken.

    Raises:
        LlmDitError: If the data folder can't be used.
    """
    server = config.server
    engine = EngineHandle(config.engine, engine_factory)
    history = open_history(Path(server.data_dir), server.history_size)
    queue = JobQueue(
        server.queue_size,
        prepare=engine.load,
        on_finish=lambda job: _record(job, studio, lab, monitoring),
        on_refuse=lambda count: monitoring.refused.inc(count),
    )
    hub = EventHub(queue)
    studio = ImageStudio(engine, queue, history, is_watched=lambda job: hub.is_watched(job.client or job.id))
    monitoring = Monitoring(queue)
    own_templates = None if server.templates_dir is None else Path(server.templates_dir)
    lab = Lab(config, engine, queue)
    return Services(
        config, engine, queue, hub, history, studio, lab, TemplateShelf(own_templates), monitoring, Booths()
    )


def _record(job: Job, studio: ImageStudio, lab: Lab, monitoring: Monitoring) -> None:
    studio.record_end(job)
    lab.record_end(job)
    monitoring.record_end(job)


async def services_of(request: Request) -> Services:  # not on a thread of the pool: it has nothing to wait for
    """Return the services of the application that answers `request`."""
    services: Services = request.app.state.services
    return services


ServicesOf = Annotated[Services, Depends(services_of)]
"""Type of a route's parameter that receives the services."""
