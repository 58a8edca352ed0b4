"""What planned looks need of a run: the plan, the judge that decides, its scores between two blocks, and a forecast."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from experiments.planning.command_flags import Request
from experiments.planning.design import Plan
from experiments.planning.looks import LookPlan, plan_looks
from experiments.running.plan_models import judged_model
from experiments.store.look_log import check_looks
from experiments.store.result_store import ResultStore
from llm_dit.errors import LlmDitError
from llm_dit.parameters import MetricSettings

if TYPE_CHECKING:
    from experiments.metrics import Metric, Scorer
    from experiments.metrics.missing_scores import ScoringResult, Spread
    from experiments.running.deciding import Decider
    from experiments.store.look_log import LookLog

ROOM_FOR_JUDGE_BYTES: Final = 6 << 30
"""Free memory of a card from which the judge goes there beside the model; with less it judges on the CPU."""
FORECAST_EXPERIMENTS: Final = 100
FORECAST_EFFECTS: Final = {"none": 0.0, "small": 0.3, "large": 1.0}
"""Differences in standard deviations of the prompts' differences."""
FORECAST_ENUMERATED: Final = 10


@dataclass(frozen=True)
class Judging:
    """What a planned look is judged by, for whoever scores.

    Attributes:
        metric: The metric that decides, with the identity of its weights.
        settings: Which weights scorers have.
        generator: The model that made the images, as configured.
        device: Where it may be, as configured.
    """

    metric: Metric
    settings: MetricSettings
    generator: str
    device: str


Lend = Callable[[Judging], "Spread | None"]


class _Stopped(Exception):
    """Leaves the scoring between two batches."""


def planned_looks(request: Request, plan: Plan, store: ResultStore) -> LookPlan | None:
    """Return the looks that a request asks for; None for a fixed design.

    Raises:
        LlmDitError: If the measure can't decide, so many prompts can show nothing, or the folder holds another plan.
    """
    looks = None
    if request.looks.measure is not None:
        _check_that_a_scorer_decides(request.looks.measure)
        looks = plan_looks(plan, request.looks)
    has_results = next(iter(store.some_runs()), None) is not None
    manifest = store.whole_manifest()
    log = None if manifest is None else manifest.looks
    if looks is not None and log is not None:  # when to look was fixed by the version that began
        before = log.plan
        kept = replace(
            looks,
            prompts=before.prompts,
            exponent=before.exponent,
            within_exponent=before.within_exponent,
            outside_share=before.outside_share,
        )
        looks = kept if kept == log.plan or has_results or log.taken else looks
    check_looks(log, looks, store.folder, has_results=has_results)
    return looks


def _check_that_a_scorer_decides(measure: str) -> None:
    from experiments.metrics import metric_of_column
    from experiments.stats.measures import VOTES

    if measure == VOTES.name:
        raise LlmDitError(
            "votes come from people after the pictures, so they can't decide while they are drawn; name a scorer, and "
            "--primary votes for what counts in the end."
        )
    metric_of_column(measure)


def make_decider(
    request: Request,
    plan: Plan,
    looks: LookPlan | None,
    store: ResultStore,
    scorers: Sequence[Scorer],
    should_stop: Callable[[], bool],
    on_scoring: Callable[[int, int], None],
    on_look: Callable[[LookLog], None],
    lend: Lend = lambda _judge: None,
) -> Decider | None:
    """Return what draws in blocks, with the judge that decides loaded; None for a fixed design.

    Args:
        request: What is asked for.
        plan: All its runs.
        looks: Fixed beforehand; None for a fixed design.
        store: The folder, locked while it is decided.
        scorers: Loaded for the end; the one that decides is taken from them.
        should_stop: Asked after each batch of scores.
        on_scoring: Told of scores done and to do.
        on_look: Told of every look.
        lend: Who scores with the judge instead of this process, such as the workers that draw; None is nobody.

    Raises:
        LlmDitError: If the judge can't be loaded.
    """
    if looks is None:
        return None
    from experiments.metrics import load_configured_scorers, metric_of_column
    from experiments.running.deciding import Decider

    name, config = metric_of_column(looks.measure).name, request.config
    known = [scorer for scorer in scorers if scorer.metric.name == name]
    judge = (known or load_configured_scorers([name], config.metrics, judged_model(plan), device="cpu"))[0]
    problems: list[str] = []

    def score() -> bool:
        spread = lend(Judging(judge.metric, config.metrics, judged_model(plan), config.engine.dit_device))
        if spread is None:
            judge.move_to(judging_device(config.engine.dit_device))
        result, found = scores_of(store, [judge], on_scoring, should_stop, spread)
        judge.move_to("cpu")
        problems.extend(found)
        return result is not None

    return Decider(
        plan,
        looks,
        store,
        judge,
        score,
        problems,
        max_images=request.looks.max_images,
        max_hours=request.looks.max_hours,
        on_look=on_look,
    )


def scores_of(
    store: ResultStore,
    scorers: Sequence[Scorer],
    on_scoring: Callable[[int, int], None],
    should_stop: Callable[[], bool],
    spread: Spread | None = None,
) -> tuple[ScoringResult | None, list[str]]:
    """Score what has no score yet, in a folder that is locked; None if it was stopped, or a scorer is damaged."""
    from experiments.metrics.missing_scores import one_by_one, score_results

    def on_progress(done: int, total: int) -> None:
        on_scoring(done, total)
        if should_stop():
            raise _Stopped

    try:
        result = score_results(store, scorers, on_progress, spread or one_by_one)
    except _Stopped:
        return None, []  # what is scored is written
    except LlmDitError as error:
        return None, [f"The scoring stopped: {error}"]
    return result, [f"Not scored: {problem}" for problem in result.unreadable]


def verdict_of(store: ResultStore, log: LookLog | None) -> tuple[str, ...]:
    """Return what planned looks have shown, in sentences; none for a fixed design."""
    if log is None:
        return ()
    from experiments.metrics import metric_of_column
    from experiments.stats.look_sentences import look_sentences
    from experiments.stats.measures import Measure

    manifest, column = store.manifest(), log.plan.measure
    measure = Measure(column, column, "", metric_of_column(column))
    return tuple(look_sentences(log, measure, manifest.variable_name, manifest.baseline_name))


def judging_device(device: str) -> str:
    """Return where the judge goes while the model stays loaded."""
    import torch

    from llm_dit.placement.devices import resolve_device

    chosen = resolve_device(device, "dit_device")
    if chosen.type == "cuda" and torch.cuda.mem_get_info(chosen)[0] < ROOM_FOR_JUDGE_BYTES:
        return "cpu"
    return device


def expected_pictures(plan: Plan, looks: LookPlan) -> Iterator[str]:
    """Yield a sentence on how many pictures the looks take where levels differ by nothing, little or much.

    By simulation with normal scores, 100 experiments each. A margin is in the measure's unit, so it is left out.
    """
    import numpy as np

    from experiments.stats.error_spending import Looks
    from experiments.stats.look_evidence import Rules
    from experiments.stats.look_taking import rules_of
    from experiments.stats.looks_simulation import KINDS, made_up_scores, simulate_decisions, simulate_races
    from experiments.stats.racing import RaceRules

    times = Looks(looks.prompts, looks.exponent, FORECAST_ENUMERATED)
    shares = {}
    for name, effect in FORECAST_EFFECTS.items():
        effects = (effect,) * (len(plan.cells) - 1)
        experiments = max(FORECAST_EXPERIMENTS // max(1, len(effects) // 5), 20)
        scores = made_up_scores(np.random.default_rng(0), experiments, effects, looks.prompts[-1], KINDS["normal"])
        if looks.is_race:
            outcomes = simulate_races(scores, RaceRules(times))
        else:
            (outcomes,) = simulate_decisions(scores, Rules(times, stops_below=rules_of(looks).stops_below))
        shares[name] = float(outcomes.pictures.mean())
    numbers = ", ".join(
        f"{share * plan.run_count:,.0f} ({share:.0%}) where all differ by {effect:g} sd"
        if (effect := FORECAST_EFFECTS[name])
        else f"{share * plan.run_count:,.0f} ({share:.0%}) where no level differs"
        for name, share in shares.items()
    )
    yield f"Expected pictures, of {plan.run_count:,}: {numbers}, sd being that of the prompts' differences."
    if looks.margin is not None:
        yield "The margin saves more; how much depends on the spread of the measure."
