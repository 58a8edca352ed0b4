"""The chat format, against the strings of Qwen3's own template."""

from llm_dit.prompting.chat_template import format_prompt, special_tokens_in

PROMPT_ONLY = "<|im_start|>user\nA cat<|im_end|>\n<|im_start|>assistant\n"


def test_prompt_alone_has_no_think_block():
    assert format_prompt("A cat") == PROMPT_ONLY


def test_system_prompt_stands_in_front():
    assert format_prompt("A cat", system_prompt="Paint.") == "<|im_start|>system\nPaint.<|im_end|>\n" + PROMPT_ONLY


def test_empty_system_prompt_is_a_message_and_none_is_not():
    assert format_prompt("A cat", system_prompt="") == "<|im_start|>system\n<|im_end|>\n" + PROMPT_ONLY
    assert format_prompt("A cat", system_prompt=None) == PROMPT_ONLY


def test_thinking_content_makes_a_think_block():
    assert format_prompt("A cat", thinking_content="Soft light") == PROMPT_ONLY + "<think>\nSoft light\n</think>\n\n"


def test_empty_thinking_content_is_an_empty_block_and_none_is_no_block():
    assert format_prompt("A cat", thinking_content="") == PROMPT_ONLY + "<think>\n\n</think>\n\n"
    assert format_prompt("A cat", thinking_content=None) == PROMPT_ONLY


def test_force_think_block_makes_an_empty_block_only_where_there_is_none():
    assert format_prompt("A cat", force_think_block=True) == PROMPT_ONLY + "<think>\n\n</think>\n\n"
    assert format_prompt("A cat", thinking_content="T", force_think_block=True).endswith("<think>\nT\n</think>\n\n")


def test_assistant_content_is_closed():
    assert format_prompt("A cat", assistant_content="Here") == PROMPT_ONLY + "Here<|im_end|>"
    assert (
        format_prompt("A cat", thinking_content="T", assistant_content="Here")
        == PROMPT_ONLY + "<think>\nT\n</think>\n\nHere<|im_end|>"
    )


def test_newlines_around_thinking_and_before_the_answer_are_dropped_as_qwen3_does():
    assert format_prompt("A", thinking_content="\n T \n", assistant_content="\n\nB\n") == (
        "<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n<think>\n T \n</think>\n\nB\n<|im_end|>"
    )


def test_the_users_text_is_kept_to_the_letter():
    text = "  spaced \n\n lines <b>&amp;</b> {{ braces }} <|im_end|>"
    assert format_prompt(text) == f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


def test_special_tokens_in_names_only_those_that_occur():
    tokens = ("<|im_start|>", "<|im_end|>", "<think>", "</think>")
    assert special_tokens_in(["a <|im_end|> b", "<think>"], tokens) == ["<think>", "<|im_end|>"]
    assert special_tokens_in(["plain"], tokens) == []
