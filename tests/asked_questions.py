"""Questions asked of made-up scores."""

from __future__ import annotations

from sample_results import SHIFT, STEPS, axis, noisy_scores, sample_manifest, sample_records

from experiments.metrics import METRICS
from experiments.stats.questions.answering import Answer, Answers, Asked, answer
from experiments.stats.questions.narrowing import conditions_from_flags

THINK = axis("force_think_block", False, True)
GRID = {"axes": (SHIFT, STEPS), "baseline": {"shift": "3.0", "num_inference_steps": "9"}}


def asked_of(plan, scores, *where: str, **question) -> Answers:
    asked = Asked(conditions_from_flags(where), **question)
    return answer(sample_manifest(plan), sample_records(plan, scores), METRICS, asked)


def of_reward(answers: Answers) -> Answer:
    return next(item for item in answers.answers if item.measure.column == "image_reward")


def only_for(category: str, level: str, effect: float):
    plain = noisy_scores({})

    def scores(run):
        values = dict(plain(run))
        if run.prompt.category == category and level in run.cell.levels.values():
            values["image_reward"] += effect
        return values

    return scores
