"""The words that a prompt asks to be written in its picture, and how near what was read comes to them.

Knows texts only, no pictures.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

QUOTED = re.compile(
    r'"([^"]*)"'
    r"|“([^“”]+)”|„([^„“”]+)[“”]|«([^«»]+)»|»([^«»]+)«|‹([^‹›]+)›"
    r"|「([^「」]+)」|『([^『』]+)』|＂([^＂]+)＂"
    r"|(?<!\w)‘([^‘]+?)’(?!\w)|(?<!\w)'([^']+(?:'\w[^']*)*)'(?!\w)"
)
"""Straight, English, German, French, Chinese and Japanese marks; single ones only around words, where no apostrophe is
meant."""
SENTENCE_MARKS = " .,;:，。；：、"
"""Stand before a closing mark for the sentence's sake; what a picture shows is judged without them."""
SAME_CHARACTERS = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-"})


def quoted_words(prompt: str) -> tuple[str, ...]:
    """Return what stands in a prompt's quotation marks, in order, each text once."""
    found = ("".join(filter(None, match.groups())).strip(SENTENCE_MARKS) for match in QUOTED.finditer(prompt))
    return tuple(dict.fromkeys(text for text in found if text))


def words_asked_for(prompt: str, words: Sequence[str]) -> tuple[str, ...]:
    """Return the texts to be written: those of the prompt's file, else those in the prompt's quotation marks."""
    return tuple(words) or quoted_words(prompt)


def text_similarity(wanted: str, lines: Sequence[str]) -> float:
    """Return how near the nearest reading comes to a wanted text.

    Args:
        wanted: What is to be written.
        lines: What was read, line by line.

    Returns:
        1 if it stands somewhere in what was read, across lines too, whatever the case and the spaces; else 1 minus the
        edit distance to the nearest line, or to all of them, over its length; at least 0.

    Source: Levenshtein 1966.
    """
    goal, read = normalised(wanted), [normalised(line) for line in lines]
    whole = "".join(read)
    if not goal or goal in whole:
        return 1.0
    return max(0.0, 1 - min(edit_distance(goal, text) for text in (*read, whole)) / len(goal))


def normalised(text: str) -> str:
    """Return a text in one case, without spaces, with one form for characters that look alike (NFKC, marks)."""
    folded = unicodedata.normalize("NFKC", text).translate(SAME_CHARACTERS).casefold()
    return "".join(folded.split())


def edit_distance(first: str, second: str) -> int:
    """Return how many characters must be put in, left out or replaced to make one text of the other."""
    row = list(range(len(second) + 1))
    for index, character in enumerate(first, start=1):
        above = row
        row = [index]
        for place, other in enumerate(second, start=1):
            row.append(min(above[place] + 1, row[-1] + 1, above[place - 1] + (character != other)))
    return row[-1]
