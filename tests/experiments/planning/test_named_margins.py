"""Margins as a command names them: of a measure, of the one that decides, or of the one that counts."""

import pytest

from experiments.planning.command_flags import request_from_arguments
from llm_dit.config import Config
from llm_dit.errors import LlmDitError


def asked(*arguments):
    return request_from_arguments(["--sweep=shift=1,2", *arguments], Config())


@pytest.mark.parametrize(
    ("arguments", "decides", "others"),
    [
        (("--margin=image_reward=0.05",), None, {"image_reward": 0.05}),
        (("--margin=a=1,b=2", "--margin=c=0.5"), None, {"a": 1, "b": 2, "c": 0.5}),
        (("--primary=image_reward", "--margin=0.05"), None, {"image_reward": 0.05}),
        (("--until-decided=siglip_score", "--margin=0.05"), 0.05, {}),
        (("--until-decided=siglip_score", "--margin=siglip_score=0.05"), 0.05, {}),
        (("--until-decided=siglip_score", "--margin=0.05", "--margin=siglip_score=0.05"), 0.05, {}),
        (("--find-best=siglip_score", "--primary=image_reward", "--margin=0.1"), 0.1, {}),
        (("--until-decided=siglip_score", "--margin=image_reward=0.2"), None, {"image_reward": 0.2}),
        ((), None, {}),
    ],
)
def test_a_margin_belongs_to_the_measure_that_is_named_or_decides_or_counts(arguments, decides, others):
    request = asked(*arguments)
    assert (request.looks.margin, request.margins) == (decides, others)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--margin=0.1",), "--margin X, .* belong to --until-decided .* or write --margin MEASURE=X"),
        (("--margin=wide",), "--margin wide is not above 0"),
        (("--margin=image_reward=0",), "'image_reward=0' is not MEASURE=X with X above 0"),
        (("--margin=image_reward=inf",), "is not MEASURE=X with X above 0"),
        (("--margin==1",), "is not MEASURE=X with X above 0"),
        (("--margin=a=1", "--margin=a=2"), "gives a two margins"),
        (("--primary=a", "--margin=1", "--margin=a=2"), "gives a two margins"),
        (("--until-decided=a", "--margin=1", "--margin=a=2"), "gives a two margins"),
        (("--until-decided=a", "--margin=1", "--margin=2"), "--margin is given as 1 and 2; leave one out"),
    ],
)
def test_what_is_no_margin_is_one_sentence(arguments, sentence):
    with pytest.raises(LlmDitError, match=sentence):
        asked(*arguments)
