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

from llm_dit.templates import TemplateShelf
from training import phrases
from training.details import ADJECTIVES, detail_sentence, detail_tail
from training.looks import COLORS, MEDIA, MOODS, PALE, PATTERNS, PLACES, SKIES, STYLE_WORDS
from training.nouns import NUMBER_WORDS, capitalized, is_plural, listing, plural, with_article
from training.scene import Scene, SceneObject

if TYPE_CHECKING:
    from training.world import World


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
    """A caption and what may stand around it in the chat format; see `world.Batch`."""

    caption: str
    system_prompt: str | None
    thinking_content: str | None
    dialogue: str


def tell(scene: Scene, manner: str, world: "World", rng: random.Random) -> Telling:
    """Tell a scene.

    Args:
        scene: What the picture shows.
        manner: "empty", "bare" (a noun), "plain" (noun, style and background), "short" (one clause) or "full" (sentences).
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
    if manner == "full":
        caption = teller.sentences(told, is_long=rng.random() < 0.22)
    else:
        caption = teller.clause(told)
    return _telling(caption, system_prompt, thinking_content, teller)


class Teller:
    """Finds words for one scene."""

    def __init__(self, scene: Scene, world: "World", rng: random.Random) -> None:
        self.scene = scene
        self.world = world
        self.rng = rng
        # One name a thing, so that a long caption speaks of the same thing throughout.
        self.names = [self._name(thing) for thing in scene.objects]

    def bare(self) -> str:
        """A noun, perhaps with an article."""
        name = self.names[0]
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
        subject = self._noun(0)
        style = self.rng.choice(STYLE_WORDS[self.scene.objects[0].style])
        return capitalized(f"{with_article(style)} of {subject} on a {self.scene.setting.colors[0]} background")

    def clause(self, told: frozenset[str] = frozenset()) -> str:
        """One clause, or keywords after it.

        Args:
            told: Facts ("style", "medium", "mood") that the frame tells already.
        """
        text = self._in_medium(self._content(), told)
        extras = [part for part in (self._where(), self._light(told)) if part]
        if self.rng.random() < 0.08 and len(extras) == 2:
            extras.reverse()
        joint = ", " if self.rng.random() < 0.3 else " "
        if extras and self.scene.objects and self.rng.random() < 0.08:
            return self._finished(", ".join([f"{extras[0]}, {text}", *extras[1:]]))
        elif self._where_is_place(extras) and self.rng.random() < 0.35:
            text = f"{text} {self._doing()}"
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
        rest = [sentence for fact in left if (sentence := self._sentence(fact))]
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
            caption = self.sentences() if self.rng.random() < 0.5 else self.clause()
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
        """The objects alone, as a user in a hurry types them."""
        text = self._content()
        if self.rng.random() < 0.25:
            text = self._in_medium(text, frozenset())
        elif self.rng.random() < 0.25 and (where := self._where()):
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
        told = set()
        for fact, value in carried:
            chance = self.rng.random()
            by_system, by_thought = FRAME_SHARES[fact]
            if chance < by_system and value in phrases.SYSTEM_PROMPTS:
                system_prompt = self.rng.choice(phrases.SYSTEM_PROMPTS[value])
                told.add(fact)
            elif chance < by_system + by_thought and value in phrases.THOUGHTS:
                said = self.rng.choice(phrases.THOUGHTS[value])
                said = said.rstrip(".") if self.rng.random() < 0.5 else said
                thinking_content = f"{thinking_content} {said}" if thinking_content and fact != "style" else said
                told.add(fact)
        # Half of the time the caption says it too.
        return system_prompt, thinking_content, frozenset(fact for fact in told if self.rng.random() < 0.75)

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

    def _name(self, thing: SceneObject) -> str:
        names = self.world.concepts[thing.concept].names
        name = names[0] if len(names) == 1 or self.rng.random() < 0.7 else self.rng.choice(names[1:])
        # "a blue red apple" and "a green green apple" say nothing clear.
        return names[0] if thing.color is not None else name

    def _noun(self, place: int, with_size: bool = True) -> str:
        """Article, size, colour and name of one thing."""
        thing, name = self.scene.objects[place], self.names[place]
        words = [name]
        own_color = self.world.concepts[thing.concept].color
        if thing.color is not None:
            words.insert(0, thing.color)
        elif self._may_be_described() and own_color and self.rng.random() < 0.14 and not _names_color(name):
            words.insert(0, own_color)
        elif self._may_be_described() and self.rng.random() < 0.1:
            words.insert(0, self.rng.choice(ADJECTIVES))
        if thing.is_upside_down:
            words.insert(0, "upside down")
        if with_size and place == 0 and self.scene.size_word is not None:
            words.insert(0, self.rng.choice(phrases.SIZES[self.scene.size_word]))
        return with_article(" ".join(words), name)

    def _group(self) -> str:
        return self.world.concepts[self.scene.objects[0].concept].group

    def _may_be_described(self) -> bool:
        """Whether the things keep their own colours: no ink, no night, no grade."""
        sky = self.scene.setting.sky
        return self.scene.medium in ("none", "oil painting") and self.scene.mood in ("none", "photo") and sky != "night"

    def _content(self) -> str:
        """The things with count, relation and sign, without style or setting."""
        scene = self.scene
        if not scene.objects:
            return self._without_objects()
        if scene.count > 1:
            color = f"{scene.objects[0].color} " if scene.objects[0].color else ""
            return f"{NUMBER_WORDS[scene.count]} {color}{plural(self.names[0])}"
        text = self._noun(0)
        if scene.relation == "between":
            text = f"{text} between {self._noun(1)} and {self._noun(2)}"
        elif scene.relation == "and":
            text = listing([self._noun(place) for place in range(len(scene.objects))])
        elif scene.relation is not None:
            text = f"{text} {self.rng.choice(phrases.RELATIONS[scene.relation])} {self._noun(1)}"
        if scene.position is not None:
            text = f"{text} {self.rng.choice(phrases.POSITIONS).format(scene.position)}"
        if scene.sign is not None:
            text = f"{text} {self.rng.choice(phrases.SIGN_BESIDE)} {self._lettering()}"
        return text

    def _lettering(self) -> str:
        assert self.scene.sign is not None
        text = self.scene.sign.text
        shown = self.rng.choice((f'"{text}"', f'"{text}"', text, f"'{text}'"))
        return self.rng.choice(phrases.LETTERINGS).format(shown)

    def _without_objects(self) -> str:
        scene = self.scene
        if scene.sign is not None:
            color = scene.sign.board_color
            opening = phrases.WORD_ALONE if scene.sign.board == "none" else phrases.WORD_ON_SIGN
            shown = scene.sign.text if self.rng.random() < 0.3 else f'"{scene.sign.text}"'
            return self.rng.choice(opening).format(shown, color, with_article(color))
        setting = scene.setting
        if setting.kind == "pattern":
            return self._pattern_words()
        if setting.kind == "gradient":
            return self.rng.choice(phrases.GRADIENTS_ALONE).format(*setting.colors, setting.gradient)
        if setting.kind == "plain":
            return self.rng.choice(phrases.PLAIN_ALONE).format(setting.colors[0])
        return self.rng.choice(phrases.LANDSCAPES[str(setting.place)])

    def _pattern_words(self) -> str:
        setting = self.scene.setting
        words = self.rng.choice(PATTERNS[str(setting.pattern)])
        first, second = setting.colors if self.rng.random() < 0.5 else setting.colors[::-1]
        return self.rng.choice(phrases.PATTERNS_ALONE).format(words, first, second)

    def _in_medium(self, content: str, told: frozenset[str]) -> str:
        """Put medium or style before or behind the content, if they are to be told."""
        scene = self.scene
        if scene.medium != "none":
            if "medium" in told:
                return content
            words = self.rng.choice(MEDIA[scene.medium])
            return self._as(words, content)
        if not scene.objects or "style" in told:
            return content
        style = scene.objects[0].style
        if self.rng.random() < (0.62 if style == "3d" else 0.04):
            return content
        return self._as(self.rng.choice(STYLE_WORDS[style]), content)

    def _as(self, words: str, content: str) -> str:
        if words in ("pixel art", "retro pixel art", "flat design", "soft watercolor") and self.rng.random() < 0.5:
            return f"{content} in {words} style"
        if self.rng.random() < 0.15 and not self.scene.sign:
            return f"{content}, {words}"
        return f"{with_article(words)} of {content}"

    def _where(self) -> str:
        """The background or place as a phrase; empty if the picture doesn't need it told."""
        setting = self.scene.setting
        if not self.scene.objects and (setting.kind != "place" or self.scene.sign is None):
            return self._sky_phrase() if setting.kind == "place" else ""
        if setting.kind == "plain":
            color = setting.colors[0]
            is_usual = color in PALE or self.scene.medium in ("line drawing", "blueprint", "pencil sketch")
            if self.scene.medium == "blueprint" or (
                is_usual and self.rng.random() < (0.8 if color == "white" else 0.15)
            ):
                return ""
            return self.rng.choice(phrases.BACKGROUNDS).format(color)
        if setting.kind == "gradient":
            return self.rng.choice(phrases.GRADIENT_BACKGROUNDS).format(*setting.colors)
        if setting.kind == "pattern":
            words = self.rng.choice(PATTERNS[str(setting.pattern)])
            return self.rng.choice(phrases.PATTERN_BACKGROUNDS).format(words, *setting.colors)
        place = self.rng.choice(PLACES[str(setting.place)].phrases)
        if setting.colors and setting.place not in ("underwater",) and self.rng.random() < 0.5:
            place += " " + self.rng.choice(phrases.WALLS).format(setting.colors[0])
        sky = self._sky_phrase()
        return f"{place} {sky}" if sky else place

    def _sky_phrase(self) -> str:
        sky = self.scene.setting.sky
        if sky is None or sky == "space" or (sky == "clear" and self.rng.random() < 0.5):
            return ""
        return self.rng.choice(SKIES[sky].phrases)

    def _light(self, told: frozenset[str]) -> str:
        if self.scene.mood == "none" or "mood" in told:
            return ""
        return self.rng.choice(MOODS[self.scene.mood].phrases)

    def _opening(self, told: frozenset[str]) -> tuple[str, list[str]]:
        """The first sentence without its stop, and the facts that later sentences must tell."""
        scene, left = self.scene, []
        if not scene.objects:
            return self._in_medium(self._content(), told), [fact for fact in ("sky", "mood") if fact not in told]
        style_later = self.rng.random() < 0.4
        splits = len(scene.objects) == 2 and scene.relation in phrases.RELATION_SENTENCES and self.rng.random() < 0.5
        content = self._noun(0) if splits else self._content()
        if splits:
            left.append("second")
        if scene.sign is not None and splits:
            content = self._content()
        where = ""
        if self.rng.random() < 0.5:
            where = self._where()
        else:
            left.append("setting")
        verb = self._verb()
        if style_later or "medium" in told:
            text = " ".join(part for part in (content, verb if where else "", where) if part)
            if not ({"medium", "style"} & told):
                left.append("style")
        else:
            content = self._in_medium(content, told)
            text = " ".join(part for part in (content, where) if part)
        if scene.count == 1 and self.rng.random() < 0.3:
            text = f"{text}, {detail_tail(self._group(), self.rng)}"
        if scene.mood != "none" and "mood" not in told:
            left.append("mood")
        return text, left

    def _verb(self) -> str:
        """What the subject does where it is."""
        scene = self.scene
        if scene.setting.kind != "place" or scene.relation is not None or scene.sign is not None:
            return ""
        is_many = scene.count > 1 or is_plural(self.names[0])
        return self._verbs()[is_many]

    def _verbs(self) -> tuple[str, str, str]:
        """A verb that fits the subject: singular, plural and participle."""
        key = next((key for key in phrases.VERBS if self._group().startswith(key)), "lies")
        if not self.scene.objects[0].stands and key != "animal-marine":
            key = "floats"
        return self.rng.choice(phrases.VERBS[key])

    def _where_is_place(self, extras: list[str]) -> bool:
        scene = self.scene
        return bool(extras and scene.objects) and scene.setting.kind == "place" and not (scene.relation or scene.sign)

    def _doing(self) -> str:
        """The subject's verb as a participle: "sitting"."""
        return self._verbs()[2]

    def _sentence(self, fact: str) -> str:
        """A sentence that tells one fact; empty if there is nothing to tell."""
        scene = self.scene
        if fact == "second":
            sentence = self.rng.choice(phrases.RELATION_SENTENCES[str(scene.relation)])
            return capitalized(sentence.format(self._noun(1)))
        if fact == "mood":
            return self.rng.choice(MOODS[scene.mood].sentences) if scene.mood != "none" else ""
        if fact == "style":
            return self._style_sentence()
        if fact == "sky":
            return self._sky_sentence()
        return self._setting_sentence()

    def _style_sentence(self) -> str:
        if self.scene.medium != "none":
            return self.rng.choice(phrases.STYLE_SENTENCES).format(
                with_article(self.rng.choice(MEDIA[self.scene.medium]))
            )
        style = self.scene.objects[0].style
        if style == "3d" and self.rng.random() < 0.5:
            return ""
        return self.rng.choice(phrases.STYLE_SENTENCES).format(with_article(self.rng.choice(STYLE_WORDS[style])))

    def _sky_sentence(self) -> str:
        sky = self.scene.setting.sky
        if sky is None or sky == "space" or (sky == "clear" and self.rng.random() < 0.4):
            return ""
        return self.rng.choice(SKIES[sky].sentences)

    def _setting_sentence(self) -> str:
        setting = self.scene.setting
        if setting.kind == "place":
            phrase = self.rng.choice(PLACES[str(setting.place)].phrases)
            choices = phrases.PLACE_SENTENCES if self.scene.count == 1 else phrases.PLACE_SENTENCES_OF_MANY
            sentence = self.rng.choice(choices).format(phrase)
            wall = ""
            if setting.colors and setting.place != "underwater" and self.rng.random() < 0.6:
                wall = self.rng.choice(phrases.WALL_SENTENCES).format(setting.colors[0])
            return " ".join(part for part in (sentence, self._sky_sentence(), wall) if part)
        if setting.kind == "plain":
            if self.scene.medium == "blueprint":
                return ""
            choices = phrases.BACKGROUND_SENTENCES if self.scene.count == 1 else phrases.BACKGROUND_SENTENCES[:2]
            return self.rng.choice(choices).format(setting.colors[0])
        if setting.kind == "gradient":
            return self.rng.choice(phrases.GRADIENT_SENTENCES).format(*setting.colors)
        words = self.rng.choice(PATTERNS[str(setting.pattern)])
        return self.rng.choice(phrases.PATTERN_SENTENCES).format(words, *setting.colors)

    def _fillers(self) -> list[str]:
        """Sentences that add no visible fact, fitting the subject; shuffled."""
        choices = list(phrases.FILLERS["any"])
        if self.scene.objects:
            group = self._group()
            is_single = self.scene.count == 1 and not is_plural(self.names[0])
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


def _names_color(name: str) -> bool:
    return any(word in COLORS or word in ("golden", "silver", "blonde") for word in name.split())
