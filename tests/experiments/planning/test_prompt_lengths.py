"""Which prompts are named as too long: each once, with its longest text, beyond the limit and not at it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from experiments.planning.design import Axis, Experiment, Level, Plan, plan_experiment
from experiments.planning.model_facts import ModelFacts
from experiments.planning.prompt_lengths import length_warnings
from experiments.prompts import Prompt
from llm_dit.checkpoints.scheduler import ModelScheduler

BESIDE = len("<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n")
"""Characters of the chat template around a prompt."""
DOWN = "long_prompt_mode brings them down to it."


def facts_of(limit: int, count_tokens: Callable[[str], int] | None = len) -> ModelFacts:
    return defaultdict(lambda: ModelFacts(9, limit, 1504, 64, ModelScheduler(3.0), 1e6, count_tokens))


def plan_of(*sizes: int, levels: tuple[dict[str, object], ...] = ({"max_text_tokens": 200},)) -> Plan:
    """A plan of prompts whose formatted texts have these many characters."""
    prompts = [Prompt(f"p{index}", "c", "", "x" * (size - BESIDE)) for index, size in enumerate(sizes)]
    axis = Axis("limit", tuple(Level(str(number), settings) for number, settings in enumerate(levels)))
    return plan_experiment(Experiment("trial", "", (axis,)), prompts, (42,))


def warnings(plan: Plan, limit: int = 300) -> list[str]:
    return list(length_warnings(plan, facts_of(limit)))


def test_prompts_at_a_limit_are_within_it() -> None:
    assert warnings(plan_of(200)) == []
    assert warnings(plan_of(201)) == [f"1 prompt is longer than max_text_tokens at some level: p0 (201 tokens); {DOWN}"]
    assert warnings(plan_of(300)) == [f"1 prompt is longer than max_text_tokens at some level: p0 (300 tokens); {DOWN}"]
    assert warnings(plan_of(301)) == [
        "1 prompt is longer than the 300 tokens that the text encoder reads: p0 (301 tokens); runs with them fail, so "
        "shorten them."
    ]


def test_five_prompts_are_named_with_their_tokens_and_the_others_counted() -> None:
    assert warnings(plan_of(1234, 201, 400, 401, 402, 403, 404), limit=390) == [
        "6 prompts are longer than the 390 tokens that the text encoder reads: p0 (1,234 tokens), p2 (400 tokens), "
        "p3 (401 tokens), p4 (402 tokens), p5 (403 tokens) and 1 more; runs with them fail, so shorten them.",
        f"1 prompt is longer than max_text_tokens at some level: p1 (201 tokens); {DOWN}",
    ]


def test_a_prompt_is_named_with_its_longest_text_of_all_levels_whatever_their_order() -> None:
    short, system = {"max_text_tokens": 200}, {"max_text_tokens": 200, "system_prompt": "y" * 50}
    for levels in ((short, system), (system, short)):
        (sentence,) = warnings(plan_of(210, levels=levels))
        told = int(sentence.split("p0 (")[1].split(" ")[0])
        assert told == 210 + len("<|im_start|>system\n<|im_end|>\n") + 50
        (sentence,) = warnings(plan_of(210, levels=levels), limit=205)
        assert f"p0 ({told} tokens)" in sentence


def test_a_negative_prompt_counts_where_there_is_guidance() -> None:
    long = {"max_text_tokens": 200, "negative_prompt": "z" * 200}
    assert warnings(plan_of(100, levels=(long,))) == []
    (sentence,) = warnings(plan_of(100, levels=({**long, "guidance_scale": 0.5},)))
    assert f"p0 ({200 + BESIDE} tokens)" in sentence


def test_without_the_tokenizer_nothing_is_said() -> None:
    assert list(length_warnings(plan_of(1000), facts_of(300, None))) == []
