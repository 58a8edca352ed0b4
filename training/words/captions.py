"""Tell scenes in words: from a bare noun to four sentences, with system prompts, think blocks and dialogues.

What a picture shows beyond the usual is always told; the usual (a pale background, the 3D style) is left out at random,
so that the seed decides it where the prompt says nothing. A system prompt or think block may carry the style or mood
instead of the caption. How scenes are chosen is not known here.
"""

import random
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from llm_dit.prompting.templates import TemplateShelf
from training.words import phrases
from training.words.details import detail_sentence, detail_tail
from training.words.prose import Prose
from training.words.scene_words import SceneWords
from training.world.looks import STYLE_WORDS
from training.world.nouns import capitalized, is_plural, with_article
from training.world.places import PLACES
from training.world.scene import Scene

if TYPE_CHECKING:
    from training.world.world import World


BARE_SHARE = 0.8
"""Of single things' short prompts, which are some three fifths of all: "dolphin", "Red apple"."""
FRAME_SHARES = {"medium": (0.3, 0.2), "mood": (0.2, 0.25), "style": (0.1, 0.1)}
"""Fact -> how often a system prompt and how often a think block tells it."""


@cache
def rewriter_instructions() -> tuple[str, ...]:
    """The instructions of `phrases` and, as often, those of the project's own rewriter templates that expand."""
    shelf = {template.name: template.body for template in TemplateShelf().of_kind("rewriter")}
    own = tuple(shelf[name] for name in phrases.REWRITER_TEMPLATES)
    repeats = len(phrases.REWRITER_INSTRUCTIONS) // len(own)
    return phrases.REWRITER_INSTRUCTIONS + own * repeats


@dataclass(frozen=True)
class Telling:
    """A caption and what may stand around it in the chat format; see `samples.Batch`."""

    caption: str
    system_prompt: str | None
    thinking_content: str | None
    dialogue: str


def tell(scene: Scene, manner: str, world: "World", rng: random.Random) -> Telling:
    """Tell a scene.

    Args:
        scene: What the picture shows.
        manner: "empty", "bare" (a noun), "plain" (noun, style and background), "short" (a clause), "full" (sentences),
            "prose" (long, in words from outside).
        world: Gives the names.
        rng: Chooses the words.

    Returns:
        The caption with its system prompt, think block and dialogue.
    """
    teller = Teller(scene, world, rng)
    if manner == "empty":
        return _telling("", None, None, teller)
    if manner == "bare":
        return _telling(teller.bare(), *teller.neutral_frame(), teller)
    if manner == "plain":
        return _telling(teller.plain(), None, None, teller)
    system_prompt, thinking_content, told = teller.frame()
    if manner == "prose":
        caption = Prose(teller.words, rng).text(told)
    elif manner == "full":
        caption = teller.sentences(told, is_long=rng.random() < 0.22)
    else:
        caption = teller.clause(told)
    return _telling(caption, system_prompt, thinking_content, teller)


class Teller:
    """Finds words for one scene."""

    def __init__(self, scene: Scene, world: "World", rng: random.Random) -> None:
        self.scene = scene
        self.rng = rng
        self.words = SceneWords(scene, world, rng)

    def bare(self) -> str:
        """A noun, perhaps with an article."""
        name = self.words.names[0]
        chance = self.rng.random()
        if chance < 0.35:
            return with_article(name)
        if chance < 0.5:
            return capitalized(with_article(name)) + self._chance(0.4, ".")
        if chance < 0.58:
            return name.upper()
        if chance < 0.7:
            return capitalized(name)
        return name

    def plain(self) -> str:
        """Noun, style and background in one clause."""
        subject = self.words.noun(0)
        style = self.rng.choice(STYLE_WORDS[self.scene.objects[0].style])
        return capitalized(f"{with_article(style)} of {subject} on a {self.scene.setting.colors[0]} background")

    def clause(self, told: frozenset[str] = frozenset()) -> str:
        """One clause, or keywords after it.

        Args:
            told: Facts ("style", "medium", "mood") that the frame tells already.
        """
        text = self.words.in_medium(self.words.content(), told)
        extras = [part for part in (self.words.where(), self.words.light(told)) if part]
        if self.rng.random() < 0.08 and len(extras) == 2:
            extras.reverse()
        joint = ", " if self.rng.random() < 0.3 else " "
        if extras and self.scene.objects and self.rng.random() < 0.08:
            return self._finished(", ".join([f"{extras[0]}, {text}", *extras[1:]]))
        if self.words.where_is_place(extras) and self.rng.random() < 0.35:
            text = f"{text} {self.words.doing()}"
        text = joint.join([text, *extras])
        if self.rng.random() < 0.1:
            text = self.rng.choice(phrases.REQUESTS) + text
        if self.rng.random() < 0.12:
            text = ", ".join([text, *self.rng.sample(phrases.QUALITY_TAGS, self.rng.choice((1, 2, 3)))])
        return self._finished(text)

    def sentences(self, told: frozenset[str] = frozenset(), rewritten: bool = False, is_long: bool = False) -> str:
        """Two to four sentences of prose; facts may come late.

        Args:
            told: As in `clause`.
            rewritten: Whether this is a rewriter's reply, which is short.
            is_long: Add three to ten sentences that say little, so that facts stand far behind.
        """
        opening, left = self._opening(told)
        rest = [sentence for fact in left if (sentence := self.words.sentence(fact))]
        fillers = self._fillers()
        self.rng.shuffle(rest)
        wanted = self.rng.choice((1, 1, 2, 2, 3)) if not rewritten else self.rng.choice((1, 2))
        padding = fillers[: self.rng.randint(3, 10) if is_long else max(0, wanted - len(rest))]
        body = rest + padding
        self.rng.shuffle(body)
        if padding and self.rng.random() < 0.6:
            body.sort(key=lambda sentence: sentence in rest)
        return " ".join([self._finished(opening, stop=True), *body])

    def dialogue(self) -> str:
        """A chat of rewriter instruction, short prompt and full reply; sometimes just the caption in a chat."""
        if self.rng.random() < 0.25:
            told = self.rng.choice((self.sentences, self.clause, Prose(self.words, self.rng).text))
            caption = told()
            return f"<|im_start|>user\n{caption}<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n"
        instruction = self.rng.choice(rewriter_instructions())
        short = self.short_prompt()
        thought = ""
        if self.rng.random() < 0.3:
            content = (
                self.rng.choice(phrases.REWRITER_THOUGHTS).format(short.rstrip(".")) if self.rng.random() < 0.5 else ""
            )
            thought = f"<think>\n{content}\n</think>\n\n"
        return (
            f"<|im_start|>system\n{instruction}<|im_end|>\n<|im_start|>user\n{short}<|im_end|>\n"
            f"<|im_start|>assistant\n{thought}{self.sentences(rewritten=True)}<|im_end|>\n"
        )

    def short_prompt(self) -> str:
        """The objects alone, as a user in a hurry types them: a single one mostly without an article."""
        scene = self.scene
        if len(scene.objects) == 1 and scene.sign is None and self.rng.random() < BARE_SHARE:
            color = f"{scene.objects[0].color} " if scene.objects[0].color else ""
            bare = color + self.words.names[0]
            return capitalized(bare) + self._chance(0.15, ".") if self.rng.random() < 0.5 else bare
        text = self.words.content()
        if self.rng.random() < 0.25:
            text = self.words.in_medium(text, frozenset())
        elif self.rng.random() < 0.25 and (where := self.words.where()):
            text = f"{text} {where}"
        return capitalized(text) if self.rng.random() < 0.5 else text

    def frame(self) -> tuple[str | None, str | None, frozenset[str]]:
        """Choose system prompt and think block.

        Returns:
            System prompt, think block, and the facts that they tell so that the caption need not.
        """
        facts = {"medium": self.scene.medium, "mood": self.scene.mood}
        carried = [(fact, value) for fact, value in facts.items() if value != "none"]
        if self.scene.medium == "none" and self.scene.objects:
            carried.append(("style", self.scene.objects[0].style))
        system_prompt, thinking_content = self.neutral_frame()
        told: set[str] = set()
        is_asked = False
        for fact, value in carried:
            chance = self.rng.random()
            by_system, by_thought = FRAME_SHARES[fact]
            if chance < by_system and value in phrases.SYSTEM_PROMPTS and not is_asked:
                is_asked = True  # one system prompt tells one fact
                system_prompt = self.rng.choice(phrases.SYSTEM_PROMPTS[value])
                told.add(fact)
            elif chance < by_system + by_thought and value in phrases.THOUGHTS:
                said = self.rng.choice(phrases.THOUGHTS[value])
                said = said.rstrip(".") if self.rng.random() < 0.5 else said
                thinking_content = f"{thinking_content} {said}" if thinking_content else said
                told.add(fact)
        # Half of the time the caption says it too.
        return system_prompt, thinking_content, frozenset(fact for fact in sorted(told) if self.rng.random() < 0.75)

    def neutral_frame(self) -> tuple[str | None, str | None]:
        """A system prompt and think block without any visible meaning, mostly none."""
        system_prompt = self.rng.choice(phrases.NEUTRAL_SYSTEM_PROMPTS) if self.rng.random() < 0.1 else None
        chance = self.rng.random()
        thinking_content = None
        if chance < 0.08:
            thinking_content = ""
        elif chance < 0.12:
            thinking_content = self.rng.choice(phrases.NEUTRAL_THOUGHTS)
        return system_prompt, thinking_content

    def _chance(self, probability: float, text: str) -> str:
        return text if self.rng.random() < probability else ""

    def _finished(self, text: str, stop: bool = False) -> str:
        if stop or self.rng.random() < 0.75:
            text = capitalized(text)
        return text + ("." if stop or self.rng.random() < 0.35 else "")

    def _opening(self, told: frozenset[str]) -> tuple[str, list[str]]:
        """The first sentence without its stop, and the facts that later sentences must tell."""
        scene, left = self.scene, []
        if not scene.objects:
            later = [fact for fact in ("sky", "mood") if fact not in told]
            return self.words.in_medium(self.words.content(), told), later
        style_later = self.rng.random() < 0.4
        splits = len(scene.objects) == 2 and scene.relation in phrases.RELATION_SENTENCES and self.rng.random() < 0.5
        content = self.words.noun(0) if splits else self.words.content()
        if splits:
            left.append("second")
        if scene.sign is not None and splits:
            content = self.words.content()
        where = ""
        if self.rng.random() < 0.5:
            where = self.words.where()
        else:
            left.append("setting")
        verb = self.words.verb()
        if style_later or "medium" in told:
            text = " ".join(part for part in (content, verb if where else "", where) if part)
            if not ({"medium", "style"} & told):
                left.append("style")
        else:
            content = self.words.in_medium(content, told)
            text = " ".join(part for part in (content, where) if part)
        if scene.count == 1 and self.rng.random() < 0.3:
            text = f"{text}, {detail_tail(self.words.group(), self.rng)}"
        if scene.mood != "none" and "mood" not in told:
            left.append("mood")
        return text, left

    def _fillers(self) -> list[str]:
        """Sentences that add no visible fact, fitting the subject; shuffled."""
        choices = list(phrases.FILLERS["any"])
        if self.scene.objects:
            group = self.words.group()
            is_single = self.scene.count == 1 and not is_plural(self.words.names[0])
            if is_single:
                choices += [detail_sentence(group, self.rng) for _ in range(len(choices))]
            for key, sentences in phrases.FILLERS.items():
                if is_single and group.startswith(key):
                    choices += sentences * 2
        if self.scene.setting.kind == "place" and self.scene.medium == "none":
            choices += PLACES[str(self.scene.setting.place)].sentences * 2
        self.rng.shuffle(choices)
        return list(dict.fromkeys(choices))


def _telling(caption: str, system_prompt: str | None, thinking_content: str | None, teller: Teller) -> Telling:
    dialogue = _with_vowel_articles(teller.dialogue())
    caption = _with_vowel_articles(caption)
    if teller.rng.random() < 0.25:
        caption = _british(caption)
    return Telling(caption, system_prompt, thinking_content, dialogue)


def _british(text: str) -> str:
    return text.replace("gray", "grey").replace("Gray", "Grey").replace("olor", "olour")


def _with_vowel_articles(text: str) -> str:
    """Mend "a orange", the only colour that templates put after an article and that begins with a vowel."""
    return re.sub(r"\b([Aa]) orange\b", r"\1n orange", text)
