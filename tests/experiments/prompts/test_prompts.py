"""The prompt files and their reader."""

import re
from collections import Counter

import pytest
from tokenizers import Tokenizer

from experiments.planning.model_facts import read_model_facts
from experiments.prompts import (
    LONG_PROMPTS,
    PROMPT_SETS,
    get_all_prompt_texts,
    get_categories,
    get_prompt_by_id,
    get_prompts_by_category,
    load_standard_prompts,
    read_prompts,
)
from llm_dit.checkpoints.finding import EMBEDDED_MODELS
from llm_dit.errors import ConfigError, LlmDitError
from llm_dit.parameters import EngineSettings, GenerationParams
from llm_dit.prompting.chat_template import formatted_prompt_from_params

CATEGORY_IDS = {
    "simple_objects": "simple",
    "animals": "animal",
    "humans": "human",
    "scenes": "scene",
    "landscapes": "landscape",
    "artistic_styles": "style",
    "lighting": "lighting",
    "abstract": "abstract",
    "technical": "technical",
    "text_rendering": "text",
}


def write(folder, text, name="prompts.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_there_are_six_standard_prompts_in_each_of_ten_categories_with_the_promised_ids():
    assert get_categories() == list(CATEGORY_IDS)
    for category, stem in CATEGORY_IDS.items():
        ids = [prompt["id"] for prompt in get_prompts_by_category(category)]
        assert ids == [f"{stem}_{number:03d}" for number in range(1, 7)]


def test_metadata_counts_what_is_in_the_file():
    loaded = load_standard_prompts()
    prompts = loaded["prompts"]
    assert loaded["metadata"]["total_prompts"] == len(prompts) == 60
    assert loaded["metadata"]["categories"] == Counter(prompt["category"] for prompt in prompts)
    assert sum(loaded["metadata"]["difficulties"].values()) == 60


def test_every_standard_prompt_has_two_or_three_sentences_a_difficulty_and_things_it_must_show():
    for prompt in load_standard_prompts()["prompts"]:
        sentences = re.findall(r"[.!?][\"']?(?:\s|$)", prompt["prompt"])
        assert len(sentences) in (2, 3), prompt["id"]
        assert prompt["difficulty"] in ("easy", "medium", "hard"), prompt["id"]
        assert len(prompt["must_show"]) >= 3, prompt["id"]


def test_standard_prompts_are_all_different():
    assert len(set(get_all_prompt_texts())) == 60


def test_changing_what_is_returned_changes_nothing_for_the_next_caller():
    load_standard_prompts()["prompts"][0]["must_show"].append("a dragon")
    get_prompt_by_id("simple_001")["prompt"] = "gone"
    assert "a dragon" not in get_prompt_by_id("simple_001")["must_show"]
    assert get_prompt_by_id("simple_001")["prompt"].startswith("A single red apple")


def test_an_unknown_category_or_id_raises_and_names_the_nearest():
    with pytest.raises(LlmDitError, match="did you mean 'animals'"):
        get_prompts_by_category("animal")
    with pytest.raises(LlmDitError, match="did you mean 'animal_001'"):
        get_prompt_by_id("animal_01")


def qwen_pieces(text):
    """Count the pieces that Qwen's tokenizer splits a text into first; each becomes at least one token.

    Source: the pre-tokenizer's pattern in `tokenizer.json` of Qwen/Qwen3-4B, written for Python's `re`.
    """
    pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\w]?[^\W\d_]+|\d| ?[^\s\w]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    return len(re.findall(pattern, text))


@pytest.mark.parametrize(("name", "times"), [("long_1.1", 1.1), ("long", 1.5), ("long_2", 2.0)])
def test_long_prompts_have_the_promised_multiple_of_1024_tokens_of_the_embedded_model(name, times):
    count = read_model_facts(EngineSettings()).count_tokens
    lengths = [
        count(formatted_prompt_from_params(GenerationParams.parse({"prompt": prompt.text})))
        for prompt in read_prompts(PROMPT_SETS[name])
    ]
    assert len(lengths) == 6, "fewer prompts can't show a difference at the 5 % level"
    assert lengths == pytest.approx([times * 1024] * 6, rel=0.07)


def test_the_long_sets_tell_the_same_scenes():
    scenes = [
        [prompt.id.split("_")[0] for prompt in read_prompts(path)]
        for name, path in PROMPT_SETS.items()
        if "long" in name
    ]
    assert scenes == [["lighthouse", "workshop", "forest", "square", "valley", "museum"]] * 3


def test_long_prompts_overflow_1024_tokens_of_the_real_model_too():
    assert min(qwen_pieces(prompt.text) for prompt in read_prompts(LONG_PROMPTS)) > 1024
    longest = [qwen_pieces(prompt.text) for prompt in read_prompts(PROMPT_SETS["long_2"])]
    assert min(longest) > 1.3 * 1024
    assert max(longest) > 1504


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 1\ncategories:\n  a:\n    - id: x\n      text: A cat\n", r":5: a prompt has no key 'text'"),
        ("version: 1\ncategories:\n  a:\n    - id: x\n", r":4: a prompt needs the key 'prompt'"),
        (
            "version: 1\ncategories:\n  a:\n    - {id: x, prompt: A}\n    - {id: x, prompt: B}\n",
            r":5: prompt id 'x' is taken; the first stands in line 4",
        ),
        ("version: 1\ncategories:\n  a:\n    - {id: x, prompt: ' '}\n", r":4: prompt must be a text that is not empty"),
        ("version: 1\ncategories:\n  a:\n    - {id: x, prompt: A, difficulty: huge}\n", r":4: difficulty 'huge'"),
        ("version: 2\ncategories: {}\n", r":1: version must be 1"),
        ("version: 1\ncategories: {}\n", r"no prompt in this file"),
        ("version: 1\ncategories: [\n", r":3: not valid YAML"),
        ("", r"the file is empty"),
        ('version: 1\ncategories:\n  a:\n    - {id: x, prompt: "A\\0"}\n', r":4: prompt contains a NUL"),
    ],
)
def test_a_broken_prompt_file_is_refused_with_file_and_line(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_prompts(path)
    assert str(path) in str(caught.value)


def test_first_prompts_are_thirty_in_six_categories_that_the_embedded_judges_read_whole():
    prompts = read_prompts(PROMPT_SETS["first"])
    assert Counter(prompt.category for prompt in prompts) == dict.fromkeys(
        ["things", "animals", "people", "places", "styles", "light"], 5
    )
    assert Counter(prompt.difficulty for prompt in prompts) == {"easy": 12, "medium": 12, "hard": 6}
    tokenizer = Tokenizer.from_file(str(EMBEDDED_MODELS / "image-reward-mini" / "tokenizer.json"))
    assert max(len(tokenizer.encode(prompt.text).ids) for prompt in prompts) <= 35


def test_first_prompts_are_none_of_those_that_judges_are_examined_or_the_model_is_evaluated_on():
    first = {prompt.text for prompt in read_prompts(PROMPT_SETS["first"])}
    examined = {
        prompt.text for prompt in read_prompts(PROMPT_SETS["first"].parents[1] / "examination" / "world_prompts.yaml")
    }
    assert len(first) == 30
    assert first.isdisjoint(examined)
