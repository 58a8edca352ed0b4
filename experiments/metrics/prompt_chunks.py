"""A prompt in pieces that a short-sighted text encoder can read whole.

Most metrics read 35 or 64 tokens. A piece is a sentence; a sentence that is itself too long is divided at commas, and
only where that does not help, between words. Every word of the prompt is in exactly one piece.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

SENTENCE_END = re.compile(r"(?<=[.!?。！？])[\"'”’)\]]*\s+|\n+")
CLAUSE_END = re.compile(r"(?<=[,;:，；、])\s+|\s+(?=[—–-]\s)")


def split_prompt(prompt: str, fits: Callable[[str], bool]) -> list[str]:
    """Divide a prompt into pieces that fit.

    Args:
        prompt: The user's text.
        fits: Whether a text is short enough; asked for few candidates, since it tokenises.

    Returns:
        At least one piece. A single word that does not fit stays one piece.
    """
    pieces: list[str] = []
    for sentence in split_sentences(prompt) or [prompt]:
        pieces += [sentence] if fits(sentence) else _split_sentence(sentence, fits)
    return pieces


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text: what ends in `.`, `!`, `?` or a line break, without blank ones."""
    parts = [part.strip() for part in _split_keeping_ends(SENTENCE_END, text)]
    return [part for part in parts if part]


def _split_sentence(sentence: str, fits: Callable[[str], bool]) -> list[str]:
    """Divide a sentence into packed runs of clauses, and of words where one clause is too long."""
    atoms: list[str] = []
    for clause in _split_keeping_ends(CLAUSE_END, sentence):
        atoms += [clause.strip()] if fits(clause) else clause.split()
    packed: list[str] = []
    for atom in atoms:
        longer = f"{packed[-1]} {atom}" if packed else atom
        if packed and fits(longer):
            packed[-1] = longer
        else:
            packed.append(atom)
    return packed


def _split_keeping_ends(pattern: re.Pattern[str], text: str) -> list[str]:
    """Split like `re.split`, with what the pattern matched left at the end of the part before it."""
    cuts = [0, *(match.end() for match in pattern.finditer(text)), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(cuts) if start < end]
