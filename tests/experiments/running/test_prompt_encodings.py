"""Encodings: once each, in bounded memory, and in few passes of an encoder that is streamed."""

from types import SimpleNamespace

import pytest
from fake_pipeline import FakePipeline

from experiments.planning.design import plan_experiment
from experiments.planning.sweeps import experiment_from_sweeps
from experiments.prompts import Prompt
from experiments.running import prompt_encodings
from experiments.running.prompt_encodings import EncodingCache
from llm_dit.prompting.chat_template import formatted_negative_prompt, formatted_prompt_from_params

LIMIT = 8


class Work:
    """Draws a plan's runs through the cache as the lab does, and notes what is held and when the encoder works."""

    def __init__(self, sweeps, prompts=40, streamed=False, **options):
        self.pipeline = FakePipeline(streamed=streamed)
        texts = [Prompt(f"p{number}", "c", "", f"A cat with {number} hats") for number in range(prompts)]
        plan = plan_experiment(experiment_from_sweeps(sweeps, "trial"), texts, (1,), **options)
        self.items = [self._item(run) for run in plan.runs()]
        self.cache = EncodingCache(self.pipeline, self.items)
        self.drawn, self.most_held, self.most_bytes, self.moves = [], 0, 0, 0

    def _item(self, run):
        negative = formatted_negative_prompt(run.params) if run.params.guidance_scale else None
        return SimpleNamespace(
            run=run, formatted_prompt=formatted_prompt_from_params(run.params), negative_prompt=negative
        )

    def draw(self):
        encoded = 0
        for group in self.cache.groups():
            self.moves += len(self.pipeline.encoded) > encoded
            encoded = len(self.pipeline.encoded)
            for item in group:
                held = self.cache._held
                self.most_held = max(self.most_held, len(held))
                self.most_bytes = max(self.most_bytes, sum(prompt_encodings._bytes_of(one) for one in held.values()))
                assert self.cache.get(item.formatted_prompt).encoded.formatted_prompt == item.formatted_prompt
                if item.negative_prompt is not None:
                    self.cache.get(item.negative_prompt)
                self.cache.release(item)
                self.drawn.append(item.run.run_id)
        return self


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(prompt_encodings, "GROUP_PROMPTS", LIMIT)


@pytest.mark.parametrize("streamed", [False, True])
def test_two_sizes_hold_no_more_prompts_than_promised_and_encode_each_once(streamed):
    work = Work(["width=64,128"], streamed=streamed).draw()
    assert sorted(work.drawn) == sorted(item.run.run_id for item in work.items)
    assert work.most_held <= LIMIT
    assert len(work.pipeline.encoded) == 40
    assert work.cache._held == {}


def test_two_sizes_stream_the_encoder_once_a_block():
    work = Work(["width=64,128"], streamed=True).draw()
    assert work.moves == 40 // LIMIT
    assert work.pipeline.passes == [LIMIT] * (40 // LIMIT)


def test_an_encoder_that_stays_takes_one_prompt_a_pass():
    assert Work(["width=64,128"]).draw().pipeline.passes == [1] * 40


def test_a_prompt_that_fails_in_company_spoils_no_other():
    work = Work(["shift=1"], prompts=6, streamed=True)
    work.pipeline.failing_texts = ("3 hats",)
    (group,) = work.cache.groups()
    results = []
    for item in group:
        try:
            results.append(work.cache.get(item.formatted_prompt).encoded.formatted_prompt == item.formatted_prompt)
        except RuntimeError as error:
            results.append(str(error))
        work.cache.release(item)
    assert results == [True] * 3 + ["the text encoder ran out of memory"] + [True] * 2
    assert work.pipeline.passes == [6] + [1] * 6
    assert (work.cache._held, work.cache._held_bytes) == ({}, 0)


def test_a_block_keeps_each_size_together():
    work = Work(["width=64,128"], prompts=16).draw()
    widths = ["64" if "width_64" in name else "128" for name in work.drawn]
    assert widths == (["64"] * LIMIT + ["128"] * LIMIT) * 2


def test_runs_of_one_size_keep_their_order():
    work = Work(["shift=1,2,3"], prompts=20).draw()
    assert work.drawn == [item.run.run_id for item in work.items]
    assert work.most_held == 1


def test_bytes_bound_what_is_held_as_prompts_do(monkeypatch):
    each = Work(["width=64,128"], prompts=1).draw().most_bytes
    monkeypatch.setattr(prompt_encodings, "GROUP_BYTES", 3 * each)
    work = Work(["width=64,128"]).draw()
    assert work.most_held == 3
    assert len(work.pipeline.encoded) == 40


@pytest.mark.parametrize("streamed", [False, True])
def test_more_negative_prompts_than_may_be_held_are_encoded_again_rather_than_kept(streamed):
    negatives = ",".join(f"fog{number}" for number in range(LIMIT + 4))
    work = Work([f"negative_prompt={negatives}"], prompts=5, streamed=streamed, defaults={"guidance_scale": 3.0}).draw()
    assert sorted(work.drawn) == sorted(item.run.run_id for item in work.items)
    assert work.most_held <= LIMIT


def test_a_negative_prompt_of_all_runs_is_encoded_once():
    work = Work(["width=64,128"], streamed=True, defaults={"guidance_scale": 3.0, "negative_prompt": "fog"}).draw()
    assert len(work.pipeline.encoded) == 41
    assert work.most_held <= LIMIT
