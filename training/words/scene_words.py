"""The facts of one scene as phrases and sentences.

Each method words one fact, or gives an empty text where the picture does not need it told; `captions.py` decides which
facts are told, in which order and by whom.
"""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from training.words import phrases
from training.words.details import ADJECTIVES
from training.world.looks import COLORS, MEDIA, MOODS, PALE, PATTERNS, STYLE_WORDS
from training.world.nouns import NUMBER_WORDS, capitalized, is_plural, listing, plural, with_article
from training.world.places import PLACES, SKIES
from training.world.scene import Scene, SceneObject

if TYPE_CHECKING:
    from training.world.world import World

OWN_COLOR_SHARE = 0.2
"""How often a thing that has one colour is said to have it."""


class SceneWords:
    """Words for one scene, chosen by one random generator."""

    def __init__(self, scene: Scene, world: "World", rng: random.Random) -> None:
        self.scene = scene
        self.world = world
        self.rng = rng
        # One name a thing, so that a long caption speaks of the same thing throughout.
        self.names = [self._name(thing) for thing in scene.objects]

    def _name(self, thing: SceneObject) -> str:
        names = self.world.concepts[thing.concept].names
        name = names[0] if len(names) == 1 or self.rng.random() < 0.6 else self.rng.choice(names[1:])
        # "a blue red apple" and "a green green apple" say nothing clear.
        return names[0] if thing.color is not None else name

    def noun(self, place: int, adjectives: Sequence[str] | None = None) -> str:
        """Article, size, colour and name of one thing.

        Args:
            place: Of the thing in the scene.
            adjectives: Words that change nothing, put before the colour; None leaves the choice to chance.
        """
        thing, name = self.scene.objects[place], self.names[place]
        words = [name]
        own_color = self.world.concepts[thing.concept].color
        if thing.color is not None:
            words.insert(0, thing.color)
        elif self._may_be_described() and own_color and self.rng.random() < OWN_COLOR_SHARE and not _names_color(name):
            words.insert(0, own_color)
        elif adjectives is None and self._may_be_described() and self.rng.random() < 0.1:
            words.insert(0, self.rng.choice(ADJECTIVES))
        words[:0] = adjectives or ()
        if thing.is_upside_down:
            words.insert(0, "upside down")
        if place == 0 and self.scene.size_word is not None:
            words.insert(0, self.rng.choice(phrases.SIZES[self.scene.size_word]))
        return with_article(" ".join(words), name)

    def group(self) -> str:
        """The subject's group, such as "animal-mammal"."""
        return self.world.concepts[self.scene.objects[0].concept].group

    def _may_be_described(self) -> bool:
        """Whether the things keep their own colours: no ink, no night, no grade."""
        sky = self.scene.setting.sky
        return self.scene.medium in ("none", "oil painting") and self.scene.mood in ("none", "photo") and sky != "night"

    def content(self) -> str:
        """The things with count, relation and sign, without style or setting."""
        scene = self.scene
        if not scene.objects:
            return self._without_objects()
        if scene.count > 1:
            color = f"{scene.objects[0].color} " if scene.objects[0].color else ""
            return f"{NUMBER_WORDS[scene.count]} {color}{plural(self.names[0])}"
        text = self.noun(0)
        if scene.relation == "between":
            text = f"{text} between {self.noun(1)} and {self.noun(2)}"
        elif scene.relation == "and":
            text = listing([self.noun(place) for place in range(len(scene.objects))])
        elif scene.relation is not None:
            text = f"{text} {self.rng.choice(phrases.RELATIONS[scene.relation])} {self.noun(1)}"
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

    def in_medium(self, content: str, told: frozenset[str]) -> str:
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

    def where(self) -> str:
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

    def light(self, told: frozenset[str]) -> str:
        """The mood as a phrase, unless it is told already."""
        if self.scene.mood == "none" or "mood" in told:
            return ""
        return self.rng.choice(MOODS[self.scene.mood].phrases)

    def verb(self) -> str:
        """What the subject does where it is."""
        scene = self.scene
        if scene.setting.kind != "place" or scene.relation is not None or scene.sign is not None:
            return ""
        is_many = scene.count > 1 or is_plural(self.names[0])
        return self._verbs()[is_many]

    def _verbs(self) -> tuple[str, str, str]:
        """A verb that fits the subject: singular, plural and participle."""
        key = next((key for key in phrases.VERBS if self.group().startswith(key)), "lies")
        if not self.scene.objects[0].stands and key != "animal-marine":
            key = "floats"
        return self.rng.choice(phrases.VERBS[key])

    def where_is_place(self, extras: list[str]) -> bool:
        """Whether what follows (`extras`) says where a single subject is, so that a verb fits before it."""
        scene = self.scene
        return bool(extras and scene.objects) and scene.setting.kind == "place" and not (scene.relation or scene.sign)

    def doing(self) -> str:
        """The subject's verb as a participle: "sitting"."""
        return self._verbs()[2]

    def sentence(self, fact: str) -> str:
        """A sentence that tells one fact; empty if there is nothing to tell."""
        scene = self.scene
        if fact == "second":
            sentence = self.rng.choice(phrases.RELATION_SENTENCES[str(scene.relation)])
            return capitalized(sentence.format(self.noun(1)))
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
            fitting = phrases.BACKGROUND_SENTENCES[: None if self.scene.count == 1 else 2]
            return self.rng.choice(fitting).format(setting.colors[0])
        if setting.kind == "gradient":
            return self.rng.choice(phrases.GRADIENT_SENTENCES).format(*setting.colors)
        words = self.rng.choice(PATTERNS[str(setting.pattern)])
        return self.rng.choice(phrases.PATTERN_SENTENCES).format(words, *setting.colors)


def _names_color(name: str) -> bool:
    return any(word in COLORS or word in ("golden", "silver", "blonde") for word in name.split())
