"""The prompts that experiments draw: the project's sets, and readers of the lists that people have.

Here: from files to prompts with ids. Not here: which of them an experiment takes (planning), and how they are encoded.
"""

from experiments.prompts.prompt import LISTS, Prompt
from experiments.prompts.reader import PromptList, read_prompt_list, read_prompts
from experiments.prompts.standard import (
    LONG_PROMPTS,
    PROMPT_SETS,
    STANDARD_PROMPTS,
    get_all_prompt_texts,
    get_categories,
    get_prompt_by_id,
    get_prompts_by_category,
    load_standard_prompts,
)

__all__ = [
    "LISTS",
    "LONG_PROMPTS",
    "PROMPT_SETS",
    "STANDARD_PROMPTS",
    "Prompt",
    "PromptList",
    "get_all_prompt_texts",
    "get_categories",
    "get_prompt_by_id",
    "get_prompts_by_category",
    "load_standard_prompts",
    "read_prompt_list",
    "read_prompts",
]
