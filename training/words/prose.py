"""Tell a scene in long prose of foreign kind: the thing in the midst of words that mean nothing visible.

The thing may come late, and need not be the subject of its sentence; what the picture shows is told as in the other
captions, by `SceneWords`. The words stand in `prose_words.py`.
"""

import random
from collections.abc import Mapping
from typing import TypeVar

from training.words import details, phrases
from training.words import prose_words as prose
from training.words.scene_words import SceneWords
from training.world.nouns import NUMBER_WORDS, capitalized, is_plural, listing, plural

Words = TypeVar("Words")


class Prose:
    """Writes two to six sentences about one scene."""

    def __init__(self, words: SceneWords, rng: random.Random) -> None:
        self.words = words
        self.scene = words.scene
        self.rng = rng
        self.group = words.group() if self.scene.objects else ""
        self.is_many = len(self.scene.objects) > 1 or bool(words.names and is_plural(words.names[0]))

    def text(self, told: frozenset[str] = frozenset()) -> str:
        """The whole prose.

        Args:
            told: Facts ("style", "medium", "mood") that the frame tells already.
        """
        rng = self.rng
        # Two things may get a sentence each; the second says where it is.
        is_split = self.scene.relation in phrases.RELATION_SENTENCES and not self.scene.sign and rng.random() < 0.35
        core, rest = self._opening(told, is_split=is_split)
        sentences = [capitalized(core) + "."]
        if is_split:
            sentences.append(self.words.sentence("second"))
        if rng.random() < 0.22:
            sentences.insert(0, rng.choice(prose.OPENERS) if rng.random() < 0.5 else self._stirring())
        rest += [self._aside() for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 4)))]
        rng.shuffle(rest)
        if rest and rng.random() < 0.12:
            sentences.insert(0, rest.pop())
        return " ".join(dict.fromkeys([*sentences, *rest]))

    def _opening(self, told: frozenset[str], *, is_split: bool) -> tuple[str, list[str]]:
        """The sentence that names the things, without its stop, and sentences for what it leaves out."""
        rng, words, scene = self.rng, self.words, self.scene
        rest: list[str] = []
        where = words.where()
        is_where_late = rng.random() < 0.25 and bool(scene.objects)
        if is_where_late:
            where = ""
            rest.append(words.sentence("setting"))
        is_look_late = rng.random() < 0.65
        look = told
        if is_look_late and scene.objects:
            look = told | {"style", "medium"}
            rest.append("" if told & {"style", "medium"} else words.sentence("style"))
        light = words.light(told)
        if light and rng.random() < 0.5:
            light = ""
            rest.append(words.sentence("mood"))
        core = self._core(look, is_split=is_split)
        front = [part for part in (where, light) if part]
        if front and rng.random() < 0.35:
            core = f"{front.pop(0)}, {core}"
        core = " ".join([core, *front])
        if rng.random() < 0.4 and scene.setting.kind != "pattern":
            core = f"{core}, {self._tail()}"
        return core, [sentence for sentence in rest if sentence]

    def _core(self, look: frozenset[str], *, is_split: bool) -> str:
        """The clause that names all things (the first if `is_split`), and medium or style unless `look` holds it."""
        rng, words, scene = self.rng, self.words, self.scene
        if not scene.objects or scene.sign is not None:
            content = words.in_medium(words.content(), look)
            is_land = not scene.objects and scene.sign is None and scene.setting.kind == "place"
            return rng.choice(prose.STRETCHES).format(content) if is_land and rng.random() < 0.6 else content
        names = self._noun_phrases()
        joined = names[0] if is_split else self._joined(names)
        pictured = words.in_medium(joined, look)
        if pictured != joined:
            return pictured
        verb = self._verb(0)
        if scene.relation in prose.RELATIONS and not is_split:
            return rng.choice(prose.RELATIONS[str(scene.relation)]).format(*names, v=verb)
        if scene.relation == "and":
            if rng.random() < 0.4:
                return ", ".join(f"{name} {self._verb(place)}" for place, name in enumerate(names))
            return rng.choice(prose.GATHERINGS).format(listing(names))
        if rng.random() < 0.36:
            return rng.choice(prose.SEEN).format(names[0])
        manner = rng.choice([said for said in prose.MANNERS if not (self.is_many and "it" in said.split()[-1])])
        return f"{names[0]} {verb} {manner}" if rng.random() < 0.4 else f"{names[0]} {verb}"

    def _noun_phrases(self) -> list[str]:
        """One phrase a thing, or one for several equal things; the position of a single thing goes with it."""
        scene, words = self.scene, self.words
        if scene.count > 1:
            color = f"{scene.objects[0].color} " if scene.objects[0].color else ""
            adjectives = "".join(f"{adjective} " for adjective in self._adjectives())
            return [f"{NUMBER_WORDS[scene.count]} {adjectives}{color}{plural(words.names[0])}"]
        names = [words.noun(place, adjectives=self._adjectives(place)) for place in range(len(scene.objects))]
        if scene.position is not None:
            names[0] += " " + self.rng.choice(phrases.POSITIONS).format(scene.position)
        return names

    def _joined(self, names: list[str]) -> str:
        """The things as one noun phrase."""
        relation = self.scene.relation
        if relation == "between":
            return f"{names[0]} between {names[1]} and {names[2]}"
        if relation in phrases.RELATIONS:
            return f"{names[0]} {self.rng.choice(phrases.RELATIONS[str(relation)])} {names[1]}"
        return listing(names)

    def _adjectives(self, place: int = 0) -> list[str]:
        """None, one or two that change nothing."""
        group = self.words.world.concepts[self.scene.objects[place].concept].group
        number = self.rng.choice((0, 0, 1, 1, 1, 2))
        return self.rng.sample(self._fitting(prose.ADJECTIVES, group), number)

    def _verb(self, place: int) -> str:
        is_many = self.scene.count > 1 or is_plural(self.words.names[place])
        group = self.words.world.concepts[self.scene.objects[place].concept].group
        return self.rng.choice(self._fitting(prose.VERBS, group))[is_many]

    def _fitting(self, table: Mapping[str, tuple[Words, ...]], group: str | None = None) -> tuple[Words, ...]:
        group = self.group if group is None else group
        return next(values for key, values in table.items() if group.startswith(key))

    def _tail(self) -> str:
        if self.scene.objects and not self.is_many and self.rng.random() < 0.4:
            return details.detail_tail(self.group, self.rng)
        return self.rng.choice(prose.TAILS_OF_MANY if self.is_many or not self.scene.objects else prose.TAILS)

    def _stirring(self) -> str:
        parts = [self.rng.choice(table) for table in (prose.STIRRINGS, prose.DRIFTINGS, prose.ENDINGS)]
        return capitalized(" ".join(parts if self.rng.random() < 0.7 else parts[:2])) + "."

    def _aside(self) -> str:
        """A sentence that shows nothing new."""
        rng, chance = self.rng, self.rng.random()
        if self.scene.setting.kind == "pattern" and not self.scene.objects:
            return rng.choice(prose.PATTERN_REMARKS)
        if self.scene.objects and chance < 0.4:
            return self._part_sentence()
        if self.scene.objects and not self.is_many and chance < 0.55:
            return details.detail_sentence(self.group, rng)
        return self._stirring() if chance < 0.78 else rng.choice(prose.REMARKS)

    def _part_sentence(self) -> str:
        rng = self.rng
        owner = "their" if self.is_many else "the" if self.group.startswith("person") else "its"
        part = rng.choice((*self._fitting(prose.PARTS), *self._fitting(details.PARTS)))
        surface, (first, second) = rng.choice(prose.SURFACES), rng.sample(details.QUALITIES, 2)
        return capitalized(rng.choice(prose.PART_SENTENCES).format(surface, owner, part, first, second))
