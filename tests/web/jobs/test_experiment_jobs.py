"""Experiments of the page: the same request, run and result as in a terminal."""

from __future__ import annotations

import ast
import shlex
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_pipeline import FakePipeline, fake_text_encoder
from web_fakes import fake_tokenizer
from web_server import wait_until

from experiments.planning.command_flags import Request, request_from_flags
from experiments.run_ablation import main
from experiments.running.execution import run_plan
from experiments.running.one_device import OneDevice
from experiments.store.result_store import ResultStore
from llm_dit.config import Config, load_config
from llm_dit.errors import LlmDitError, OutputError
from llm_dit.parameters import EngineSettings
from web.jobs.experiment_jobs import Lab
from web.jobs.job import Job, JobState
from web.jobs.lab_request import lab_request
from web.jobs.loaded_model import EngineHandle
from web.jobs.preview import request_of
from web.jobs.queue import JobQueue, QueueFull

SMALL = {"experiment": "shift_sweep", "ids": "animal_001,simple_002"}


class LoadedPipeline(FakePipeline):
    """A pipeline with a tokenizer, whose numerics tell how it was loaded."""

    parts = None

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__()
        self.text_encoder = fake_text_encoder(tokenizer=fake_tokenizer())
        self.numerics["compile"] = "off" if settings.compile == "auto" else settings.compile


class Page:
    """A lab behind a queue, with a note of each model it loads."""

    def __init__(self, folder: Path, config: Config | None = None, queue_size: int = 4) -> None:
        config = (config or Config()).replaced({"data_dir": str(folder / "data"), "results_dir": str(folder / "out")})
        self.loads: list[EngineSettings] = []
        self.pipelines: list[weakref.ref[LoadedPipeline]] = []
        self.engine = EngineHandle(config.engine, self._load)
        self.queue = JobQueue(queue_size, prepare=self.engine.load)
        self.lab = Lab(config, self.engine, self.queue, known=LoadedPipeline)
        self.queue.start()

    def _load(self, settings: EngineSettings) -> LoadedPipeline:
        pipeline = LoadedPipeline(settings)
        self.loads.append(settings)
        self.pipelines.append(weakref.ref(pipeline))
        return pipeline

    def run(self, **values: Any) -> Job:
        job = self.lab.start(lab_request(values))
        wait_until(lambda: job.state.is_final)
        return job

    def store(self, name: str = "shift_sweep") -> ResultStore:
        return ResultStore(self.lab.folders.folder / name)


@pytest.fixture
def open_page(tmp_path: Path) -> Iterator[Callable[..., Page]]:
    pages: list[Page] = []

    def opened(*arguments: Any, **values: Any) -> Page:
        pages.append(Page(tmp_path, *arguments, **values))
        return pages[-1]

    yield opened
    for page in pages:
        page.queue.close()


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """One scorer in place of the real ones."""
    metric = SimpleNamespace(name="siglip_score", model="m", compares_seeds=False, fidelity=None, needs="")
    stub = SimpleNamespace(
        metric=metric, move_to=lambda device: None, score_rows=lambda rows: [{"siglip_score": 0.5} for _ in rows]
    )
    stub.asked_for = []

    def load(names: list[str], *_: Any, **__: Any) -> list[SimpleNamespace]:
        stub.asked_for.append(list(names))
        return [stub]

    monkeypatch.setattr("experiments.metrics.load_configured_scorers", load)
    return stub


def in_terminal(command: str) -> Request:
    """Read a command as the terminal would."""
    words = shlex.split(command)
    assert words[:3] == ["uv", "run", "experiments/run_ablation.py"]
    flags = dict(main.make_context("run_ablation.py", words[3:]).params)
    lists, sizes = ("list_experiments", "list_prompts", "list_metrics"), ("detect", "spreads")
    for name in (
        "metrics",
        "compute_metrics",
        "overwrite",
        "verify",
        "measure_speed",
        "dry_run",
        "track",
        *lists,
        *sizes,
    ):
        flags.pop(name)
    return request_from_flags(flags)


def test_a_set_of_prompts_is_chosen_and_stands_in_the_command(open_page: Callable[..., Page]) -> None:
    page = open_page()
    preview = page.lab.preview(lab_request({"experiment": "hidden_layer", "prompt_set": "first"}))
    assert (preview.totals.prompts, preview.totals.runs) == (30, 210)
    assert "--prompt-set=first" in preview.command
    assert not any("small world" in sentence for sentence in preview.warnings)


def test_the_servers_seed_is_the_experiments(open_page: Callable[..., Page]) -> None:
    page = open_page(Config({"seed": 7}))
    assert page.run(**SMALL).state is JobState.DONE
    assert {record.seed for record in page.store().runs()} == {7}


@pytest.mark.parametrize("asked", [SMALL, {**SMALL, "seeds": "1,2"}, {"sweeps": "width=64,80", "max_prompts": "2"}])
def test_the_command_for_a_terminal_does_what_the_page_does(
    open_page: Callable[..., Page], tmp_path: Path, asked: dict[str, str]
) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[default.generation]\nnum_inference_steps = 2\n[quick.generation]\nheight = 64\n")
    flags = {"seed": 7, "shift": 5.0, "guidance_scale": 1.5, "vram_limit": 20.0, "model_path": "mini", "siglip": "a b"}
    page = open_page(load_config(file, "quick").replaced(flags))
    request = lab_request(asked)
    command = page.lab.preview(request).command
    there, here = in_terminal(command), request_of(page.lab._config, request)
    assert there.plan().templates == here.plan().templates
    assert there.plan().prompts == here.plan().prompts
    assert there.plan().seeds == here.plan().seeds
    assert (there.config.engine, there.config.metrics) == (here.config.engine, here.config.metrics)
    assert there.folder == here.folder
    assert (there.config.path, there.config.profile) == (file, "quick")
    page.run(**asked)
    assert ResultStore(here.folder).manifest().raw["command"] == command


def test_the_measure_that_counts_and_what_the_design_finds_are_shown(open_page: Callable[..., Page]) -> None:
    page = open_page()
    asked = {"sweeps": "shift=1,2", "max_prompts": "12", "name": "trial", "primary": "image_reward"}
    preview = page.lab.preview(lab_request(asked))
    assert "--primary=image_reward" in preview.command
    assert preview.sizes[0].startswith(
        "With 12 prompts and 1 comparison, 4 in 5 such experiments find a difference of "
    )
    page.run(**{**asked, "max_prompts": "1"})
    card = page.lab.experiment("trial")
    assert card is not None
    assert (card.primary, card.analyses) == ("image_reward", 1)


def test_a_configuration_file_that_has_changed_is_not_named_in_the_command(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[default.generation]\nnum_inference_steps = 2\n")
    page = open_page(load_config(file))
    file.write_text("[default.generation]\nnum_inference_steps = 2\nguidance_scale = 4\n")
    there = in_terminal(page.lab.preview(lab_request(SMALL)).command)
    assert there.config.path is None
    assert there.plan().templates == request_of(page.lab._config, lab_request(SMALL)).plan().templates


def test_what_could_not_be_scored_is_said(
    open_page: Callable[..., Page], scorer: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(path: Path) -> None:
        if "shift_2.0" in path.name:
            raise LlmDitError(f"{path.name} can't be read.")

    monkeypatch.setattr("experiments.metrics.missing_scores.check_image", unreadable)
    page = open_page()
    job = page.run(**SMALL, compute_metrics=True)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert "Not scored: shift_sweep_simple_002_shift_2.0_seed42.png can't be read." in job.error
    card = page.lab.experiment("shift_sweep")
    assert card is not None
    assert card.problem == job.error
    assert sum(bool(record.scores) for record in page.store().runs()) == 10, "the others are scored all the same"


def test_a_summary_that_could_not_be_written_is_said_and_the_report_is_there(
    open_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_store: ResultStore) -> None:
        raise OutputError("The summary could not be written: No space left on device.")

    monkeypatch.setattr(ResultStore, "write_summary", full)
    page = open_page()
    job = page.run(**SMALL)
    assert job.state is JobState.FAILED
    assert job.error == "The summary could not be written: No space left on device."
    assert not job.is_defect
    assert (page.store().folder / "report.html").is_file()


def test_scorers_find_the_device_free_and_the_next_job_a_model(
    open_page: Callable[..., Page], scorer: SimpleNamespace
) -> None:
    page = open_page()
    held: list[bool] = []
    scorer.move_to = lambda device: held.append(page.pipelines[-1]() is not None)
    assert page.run(**SMALL, compute_metrics=True).state is JobState.DONE
    assert held == [False]
    assert page.engine.card.state == "ready"
    assert page.run(**SMALL, seeds="5").state is JobState.DONE
    assert len(page.loads) == 2


def test_the_judges_that_were_chosen_judge_and_are_remembered(
    open_page: Callable[..., Page], scorer: SimpleNamespace
) -> None:
    page = open_page()
    job = page.run(**SMALL, compute_metrics=True, metrics="siglip_score")
    assert scorer.asked_for == [["siglip_score"]]
    assert job.request["command"].endswith("--metric=siglip_score")
    resumed = page.lab.resume("shift_sweep")
    wait_until(lambda: resumed.state.is_final)
    assert scorer.asked_for == [["siglip_score"]] * 2
    with pytest.raises(LlmDitError, match="There is no metric 'siglip'"):
        lab_request({**SMALL, "compute_metrics": True, "metrics": "siglip"})


def test_an_experiment_is_not_deleted_while_it_runs_or_waits(
    open_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page()
    may_go = threading.Event()
    monkeypatch.setattr(
        LoadedPipeline, "resolve", lambda self, params: (may_go.wait(), FakePipeline.resolve(self, params))[1]
    )
    job = page.lab.start(lab_request(SMALL))
    with pytest.raises(LlmDitError, match="is running or waiting; cancel it first"):
        page.lab.delete("shift_sweep")
    may_go.set()
    wait_until(lambda: job.state.is_final)
    assert page.lab.delete("shift_sweep") == []
    assert not page.store().folder.exists()
    assert page.lab.experiments() == []
    assert page.lab.delete("shift_sweep") is None


def test_a_folder_begun_with_another_choice_of_auto_is_gone_on_with(open_page: Callable[..., Page]) -> None:
    page = open_page()
    asked = lab_request(SMALL)
    plan = request_of(page.lab._config, asked).plan()
    compiled = LoadedPipeline(EngineSettings(compile="on"))
    store = page.store()
    asks = iter([False] * 3 + [True] * 99)
    assert run_plan(plan, OneDevice.of(compiled), store, should_stop=lambda: next(asks)).made == 3
    job = page.run(**SMALL)
    assert (job.state, job.error) == (JobState.DONE, None)
    assert len(store.runs()) == 12
    assert [settings.compile for settings in page.loads] == ["auto", "on"]
    assert page.engine.get().numerics["compile"] == "off", "pictures of the page are made as before"


def test_a_model_that_fits_is_not_loaded_again(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.run(**SMALL)
    assert page.run(**SMALL, seeds="1,2").state is JobState.DONE
    assert len(page.loads) == 1


def test_what_was_refused_is_not_resumed(open_page: Callable[..., Page]) -> None:
    page = open_page(queue_size=1)
    first = page.run(**SMALL)
    gate, inside = threading.Event(), threading.Event()

    def hold(_handle: Any) -> None:
        inside.set()
        gate.wait()

    blocking = [Job(kind="generate", title="", work=hold), Job(kind="generate", title="", work=hold)]
    page.queue.submit(blocking[:1])
    inside.wait()
    page.queue.submit(blocking[1:])
    with pytest.raises(QueueFull):
        page.lab.start(lab_request({**SMALL, "seeds": "99"}))
    gate.set()
    wait_until(lambda: all(job.state.is_final for job in blocking))
    resumed = page.lab.resume("shift_sweep")
    assert resumed.request == first.request
    wait_until(lambda: resumed.state.is_final)
    assert {record.seed for record in page.store().runs()} == {42}


def test_a_switch_is_true_or_false() -> None:
    with pytest.raises(LlmDitError, match="compute_metrics 'false' is not true or false"):
        lab_request({**SMALL, "compute_metrics": "false"})
    with pytest.raises(LlmDitError, match="skip_unsupported 'on' is not true or false"):
        lab_request({**SMALL, "skip_unsupported": "on"})
    asked = [lab_request({**SMALL, "skip_unsupported": wanted}).arguments for wanted in (True, False, None)]
    assert asked == [(*asked[1], "--skip-unsupported"), asked[1], asked[1]]


def test_the_page_imports_no_command() -> None:
    imported = {
        name
        for path in (Path(__file__).parents[3] / "web").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for name in [node.module or ""]
    }
    assert not imported & {f"experiments.{name}" for name in ("run_ablation", "score", "analyze", "report", "compare")}


def test_a_waiting_experiment_outlives_the_server_and_a_cancelled_one_does_not(open_page: Callable[..., Page]) -> None:
    page = open_page()
    gate = threading.Event()
    blocker = Job("generate", "in front", work=lambda _: gate.wait())
    page.queue.submit([blocker])
    asked = [page.lab.start(lab_request({**SMALL, "name": name})) for name in ("kept", "given_up")]
    page.queue.cancel(asked[1].id)
    page.lab.record_end(asked[1])
    page.queue._is_closing = True  # the server goes away without running it
    gate.set()
    page.queue.close()

    again = open_page()
    (card,) = again.lab.experiments()
    assert (card.name, card.can_resume, card.problem) == (
        "kept", True, "The server stopped before it was done; Resume goes on with it."
    )  # fmt: skip
    job = again.lab.resume("kept")
    wait_until(lambda: job.state.is_final)
    assert job.state is JobState.DONE, job.error
    again.lab.record_end(job)
    assert [card.problem for card in again.lab.experiments()] == [None]
