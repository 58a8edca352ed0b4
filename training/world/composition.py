"""Choose scenes at random: which things, where, how many, in what light.

A scene comes with the manner in which it will be told ("empty", "bare", "short", "full" or "prose"): a bare noun
needs a picture that a bare noun may mean. Held-out concept-style pairs never occur. Words are not known here.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from training.world.layouts import grid, side_by_side, standing_row
from training.world.looks import COLORS, PALE, PATTERNS, SIGN_COLORS, SIGN_WORDS, TINTS
from training.world.media import with_look
from training.world.nouns import is_countable
from training.world.places import COMMON_SKIES, LAND, PLACES
from training.world.scene import VARIANTS, Scene, SceneObject, Setting, Sign

if TYPE_CHECKING:
    from training.world.world import World

STYLE_WEIGHTS = {"3d": 0.46, "flat": 0.18, "cartoon": 0.18, "sticker": 0.18}
KINDS = {
    "empty": 0.02, "bare": 0.1, "single": 0.31, "count": 0.18, "pair": 0.2, "group": 0.06, "sign": 0.04,
    "pattern": 0.06, "landscape": 0.03,
}  # fmt: skip
COUNTS = {2: 0.26, 3: 0.35, 4: 0.34, 5: 0.05}
STANDING_RELATIONS = {
    "left of": 2, "right of": 2, "next to": 1, "in front of": 1, "behind": 1, "and": 1, "between": 1,
}  # fmt: skip
FLOATING_RELATIONS = {"left of": 2, "right of": 2, "above": 3, "below": 3, "next to": 1, "and": 1, "between": 1}
COLORED_SHARE = 0.25
"""Of single things that may be painted."""
TELLINGS = {"short": 0.36, "full": 0.2, "prose": 0.44}
"""How scenes other than bare nouns are told, see `captions.tell`."""
POSITIONS = {
    "top left": (0.27, 0.27), "top": (0.5, 0.27), "top right": (0.73, 0.27), "left": (0.27, 0.5), "right": (0.73, 0.5),
    "bottom left": (0.27, 0.73), "bottom": (0.5, 0.73), "bottom right": (0.73, 0.73),
}  # fmt: skip


class Composer:
    """Draws scenes of one world from one random generator."""

    def __init__(self, world: "World", rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        everything = range(len(world.concepts))
        self._all = list(everything)
        self._weights = [concept.weight for concept in world.concepts]
        homes = {concept.home for concept in world.concepts}
        self._by_home = {home: [n for n in everything if world.concepts[n].home == home] for home in homes}
        self._home_weights = {home: [self._weights[n] for n in members] for home, members in self._by_home.items()}
        self._held_out = sorted(world.held_out)
        self._draw: dict[str, Callable[[], Scene]] = {
            "bare": self._bare,
            "single": self._single,
            "count": self._count,
            "pair": self._pair,
            "group": self._group,
            "sign": self._sign,
            "pattern": self._pattern,
            "landscape": self._landscape,
        }

    def scene(self) -> tuple[Scene, str]:
        """Draw a scene of the training split and the manner of telling it."""
        kind = self._weighted(KINDS)
        if kind == "empty":
            return self.scene()[0], "empty"
        scene = replace(self._draw[kind](), noise=self.rng.randrange(VARIANTS))
        if kind == "bare":
            return scene, "bare"
        return with_look(self.rng, scene), self._weighted(TELLINGS)

    def held_out_scene(self) -> tuple[Scene, str]:
        """Draw a plain picture of one held-out pair, told shortly."""
        concept, style = self.rng.choice(self._held_out)
        thing = self._centred(concept, style)
        setting = Setting("plain", (self.rng.choice(PALE),))
        return Scene((thing,), setting, count=1, noise=self.rng.randrange(VARIANTS)), "plain"

    def scene_of_held_out(self) -> tuple[Scene, str]:
        """Draw a scene of the training kind with a held-out pair for its subject: for the judge alone."""
        scene = self._draw[self.rng.choice(("bare", "single", "single", "count", "pair"))]()
        concept, style = self.rng.choice(self._held_out)
        subject = scene.objects[0].concept
        things = tuple(
            replace(thing, concept=concept, style=style, color=None) if thing.concept == subject else thing
            for thing in scene.objects
        )
        return with_look(self.rng, replace(scene, objects=things, noise=self.rng.randrange(VARIANTS))), "short"

    def _weighted(self, choices: Mapping[str, float]) -> str:
        return self.rng.choices(list(choices), list(choices.values()))[0]

    def _jitter(self, reach: float) -> float:
        return self.rng.uniform(-reach, reach)

    def _tint(self, concept: int, share: float) -> str | None:
        """A colour to paint a thing in, for a share of the things, never the one that it has anyway.

        People and what is named by a colour keep theirs.
        """
        thing = self.world.concepts[concept]
        keeps = thing.group.startswith(("person", "face", "hand", "body")) or any(
            word in COLORS for word in thing.label.split()
        )
        others = [color for color in TINTS if color != thing.color]
        return self.rng.choice(others) if self.rng.random() < share and not keeps else None

    def _style(self) -> str:
        return self._weighted(STYLE_WEIGHTS)

    def _concept(self, style: str, home: str | None = None, not_in: tuple[int, ...] = ()) -> int:
        """Draw a concept that exists in a style and isn't held out in it."""
        members = self._by_home[home] if home else self._all
        weights = self._home_weights[home] if home else self._weights
        for _ in range(30):
            number = self.rng.choices(members, weights)[0]
            is_drawn = (number, style) in self.world.index.sprites and (number, style) not in self.world.held_out
            if is_drawn and number not in not_in:
                return number
        # Few things live there; any other thing may visit.
        return self._concept(style, None, not_in)

    def _centred(self, concept: int, style: str) -> SceneObject:
        size = self.rng.uniform(0.66, 0.84)
        return SceneObject(
            concept, style, 0.5 + self._jitter(0.03), 0.5 + self._jitter(0.03), size, is_flipped=self._flips(concept)
        )

    def _flips(self, concept: int) -> bool:
        """Whether to mirror a thing; symbols, hands and whatever carries letters have a side."""
        has_side = self.world.concepts[concept].home == "none" or self.world.concepts[concept].group == "place-building"
        return self.rng.random() < 0.2 and not has_side

    def _backdrop(self) -> Setting:
        """A plain colour, a gradient or, seldom, a pattern."""
        chance = self.rng.random()
        if chance < 0.78:
            names = PALE if self.rng.random() < 0.5 else tuple(COLORS)
            return Setting("plain", (self.rng.choice(names),))
        first, second = self.rng.sample(list(COLORS), 2)
        if chance < 0.92:
            gradient = self.rng.choice(("vertical", "vertical", "horizontal", "diagonal", "radial"))
            return Setting("gradient", (first, second), gradient=gradient)
        return self._patterned(first, second)

    def _patterned(self, first: str, second: str) -> Setting:
        repeats = self.rng.choice((3.0, 4.0, 5.0, 6.0))
        return Setting("pattern", (first, second), pattern=self.rng.choice(list(PATTERNS)), repeats=repeats)

    def _place_for(self, home: str) -> Setting | None:
        """A place where things of this home fit, with sky or wall; None if there is none."""
        fitting = [name for name, place in PLACES.items() if home in place.homes]
        return self._place(self.rng.choice(fitting)) if fitting else None

    def _place(self, name: str) -> Setting:
        place = PLACES[name]
        colors = (self.rng.choice(place.walls),) if place.walls else ()
        sky = self.rng.choice(place.skies or COMMON_SKIES) if place.is_outdoor else None
        return Setting("place", colors, place=name, sky=sky, horizon=round(self.rng.uniform(*place.horizon), 3))

    def _foot(self, setting: Setting) -> float:
        return setting.horizon + (1 - setting.horizon) * self.rng.uniform(0.5, 0.78)

    def _bare(self) -> Scene:
        style = self.rng.choices(list(STYLE_WEIGHTS), (0.7, 0.1, 0.1, 0.1))[0]
        concept = self._concept(style)
        setting = self._place_for(self.world.concepts[concept].home) if self.rng.random() < 0.3 else None
        if setting is None:
            return Scene((self._centred(concept, style),), Setting("plain", (self.rng.choice(PALE),)), count=1)
        return Scene((self._in_place(concept, style, setting),), setting, count=1)

    def _in_place(self, concept: int, style: str, setting: Setting) -> SceneObject:
        """One thing, large, standing on the ground or floating."""
        assert setting.place is not None
        size = self.rng.uniform(0.46, 0.62)
        x = 0.5 + self._jitter(0.1)
        floats = PLACES[setting.place].ground is None
        if floats or self.world.concepts[concept].home == "sky":
            y = 0.5 + self._jitter(0.06) if floats else 0.33 + self._jitter(0.03)
            return SceneObject(concept, style, x, y, size if floats else size * 0.8, is_flipped=self._flips(concept))
        foot = max(self._foot(setting), size + 0.04)
        return SceneObject(concept, style, x, foot, size, stands=True, is_flipped=self._flips(concept))

    def _single(self) -> Scene:
        style = self._style()
        concept = self._concept(style)
        color = self._tint(concept, COLORED_SHARE)
        setting = self._place_for(self.world.concepts[concept].home) if self.rng.random() < 0.52 else None
        if setting is not None:
            thing = replace(self._in_place(concept, style, setting), color=color)
            if thing.stands and self.rng.random() < 0.1:
                return Scene((replace(thing, size=thing.size * 0.45),), setting, count=1, size_word="small")
            return Scene((thing,), setting, count=1)
        return self._on_backdrop(replace(self._centred(concept, style), color=color))

    def _on_backdrop(self, thing: SceneObject) -> Scene:
        """Vary size and position of a centred thing; its background may not share its colour."""
        setting = self._backdrop()
        while thing.color in setting.colors:
            setting = self._backdrop()
        chance = self.rng.random()
        if chance < 0.07:
            return Scene((replace(thing, size=self.rng.uniform(0.2, 0.26)),), setting, count=1, size_word="tiny")
        if chance < 0.15:
            return Scene((replace(thing, size=self.rng.uniform(0.36, 0.43)),), setting, count=1, size_word="small")
        if chance < 0.23:
            return Scene((replace(thing, size=self.rng.uniform(0.96, 1.04)),), setting, count=1, size_word="large")
        if chance < 0.35:
            position = self.rng.choice(list(POSITIONS))
            x, y = POSITIONS[position]
            moved = replace(thing, x=x + self._jitter(0.02), y=y + self._jitter(0.02), size=self.rng.uniform(0.4, 0.47))
            return Scene((moved,), setting, count=1, position=position)
        if chance < 0.38:
            return Scene((replace(thing, is_upside_down=True),), setting, count=1)
        return Scene((thing,), setting, count=1)

    def _count(self) -> Scene:
        style = self._style()
        concept = self._concept(style)
        while not is_countable(self.world.concepts[concept].label):
            concept = self._concept(style)
        number = self.rng.choices(list(COUNTS), list(COUNTS.values()))[0]
        color = self._tint(concept, 0.12)
        is_flipped = self._flips(concept)
        setting = self._place_for(self.world.concepts[concept].home) if self.rng.random() < 0.45 else None
        stands = setting is not None and self._can_stand(concept, setting)
        if setting is None or not stands:
            setting = setting if setting is not None and PLACES[str(setting.place)].ground is None else self._backdrop()
            while color in setting.colors:
                setting = self._backdrop()
            places = grid(number)
        else:
            places = standing_row(number, setting.horizon)
        things = tuple(
            SceneObject(
                concept, style, x + self._jitter(0.008), y + self._jitter(0.01), size, stands, color, is_flipped
            )
            for x, y, size in places
        )
        return Scene(things, setting, count=number)

    def _can_stand(self, concept: int, setting: Setting) -> bool:
        return PLACES[str(setting.place)].ground is not None and self.world.concepts[concept].home != "sky"

    def _pair(self) -> Scene:
        style = self._style()
        first = self._concept(style)
        home = self.world.concepts[first].home
        setting = self._place_for(home) if self.rng.random() < 0.45 else None
        if setting is not None and self._can_stand(first, setting):
            partner_home = self.rng.choice(
                [h for h in PLACES[str(setting.place)].homes if h in self._by_home and h != "sky"]
            )
            second = self._concept(style, partner_home, (first,))
            relation = self._weighted(STANDING_RELATIONS)
            return self._standing_pair(style, first, second, setting, relation)
        second = self._concept(style, None, (first,))
        relation = self._weighted(FLOATING_RELATIONS)
        return self._floating_pair(style, first, second, relation)

    def _colors_of_pair(self, first: int, second: int) -> tuple[str | None, str | None]:
        if self.rng.random() > 0.16:
            return None, None
        ours, theirs = self._tint(first, 1.0), self._tint(second, 0.5)
        return (ours, theirs) if ours != theirs else (ours, None)

    def _standing_pair(self, style: str, first: int, second: int, setting: Setting, relation: str) -> Scene:
        concepts = self.world.concepts
        ratio = min(max(concepts[first].scale / concepts[second].scale, 0.62), 1.6)
        foot = self._foot(setting)
        colors = self._colors_of_pair(first, second)
        if relation == "between":
            third = self._concept(style, concepts[second].home, (first, second))
            row = ((0.5, first, colors[0]), (0.18, second, colors[1]), (0.82, third, None))
            things = tuple(SceneObject(n, style, x, foot, 0.31, True, color) for x, n, color in row)
            return Scene(things, setting, relation)
        size = 0.46 / max(ratio, 1)
        first_size, second_size = size * ratio, size
        left = SceneObject(
            first, style, 0.26 + self._jitter(0.02), foot + self._jitter(0.02), first_size, True, colors[0]
        )
        right = SceneObject(
            second, style, 0.74 + self._jitter(0.02), foot + self._jitter(0.02), second_size, True, colors[1]
        )
        if relation in ("in front of", "behind"):
            near, far = foot + 0.06, setting.horizon + 0.08
            ours, theirs = (near, far) if relation == "in front of" else (far, near)
            shift = self.rng.choice((-0.13, 0.13))
            left = replace(left, x=0.5 + shift, y=ours, size=0.44 if ours == near else 0.4)
            right = replace(right, x=0.5 - shift, y=theirs, size=0.44 if theirs == near else 0.4)
        elif relation == "right of" or (relation == "next to" and self.rng.random() < 0.5):
            left, right = replace(left, x=right.x), replace(right, x=left.x)
        return Scene((left, right), setting, relation)

    def _floating_pair(self, style: str, first: int, second: int, relation: str) -> Scene:
        setting, colors = self._backdrop(), self._colors_of_pair(first, second)
        while colors[0] in setting.colors or (colors[1] and colors[1] in setting.colors):
            setting = self._backdrop()
        size = self.rng.uniform(0.42, 0.48)
        if relation == "between":
            third = self._concept(style, None, (first, second))
            row = ((0.5, first, colors[0]), (0.17, second, colors[1]), (0.83, third, None))
            things = tuple(SceneObject(n, style, x, 0.5 + self._jitter(0.03), 0.3, color=color) for x, n, color in row)
            return Scene(things, setting, relation)
        offsets = {
            "left of": (-0.25, 0),
            "right of": (0.25, 0),
            "above": (0, -0.25),
            "below": (0, 0.25),
            "and": (-0.25, 0),
        }
        dx, dy = offsets.get(relation, (self.rng.choice((-0.25, 0.25)), 0))
        things = tuple(
            SceneObject(
                n, style, 0.5 + sign * dx + self._jitter(0.02), 0.5 + sign * dy + self._jitter(0.02), size, color=color
            )
            for n, sign, color in ((first, 1, colors[0]), (second, -1, colors[1]))
        )
        return Scene(things, setting, relation)

    def _group(self) -> Scene:
        """Three to five different things from left to right."""
        style = self._style()
        number = self.rng.choices((3, 4, 5), (0.55, 0.3, 0.15))[0]
        setting = self._place(self.rng.choice([name for name, place in PLACES.items() if place.ground]))
        homes = [home for home in PLACES[str(setting.place)].homes if home in self._by_home and home != "sky"]
        if not homes or self.rng.random() < 0.4:
            setting, homes = self._backdrop(), []
        chosen: tuple[int, ...] = ()
        for _ in range(number):
            chosen = (*chosen, self._concept(style, self.rng.choice(homes) if homes else None, chosen))
        places = standing_row(number, setting.horizon) if homes else side_by_side(number)
        things = tuple(
            SceneObject(n, style, x, y + self._jitter(0.02), size, bool(homes))
            for n, (x, y, size) in zip(chosen, places, strict=True)
        )
        return Scene(things, setting, "and")

    def _sign(self) -> Scene:
        """A word: large on a plain ground, on a board, or on a sign beside a thing."""
        text = self.rng.choice(SIGN_WORDS) if self.rng.random() < 0.75 else self._random_word()
        board_color, color = self.rng.choice(
            (("white", "black"), ("black", "white"), ("yellow", "black"), ("red", "white"))
        )
        if self.rng.random() < 0.6:
            board_color = self.rng.choice(SIGN_COLORS)
            color = "black" if sum(COLORS[board_color]) > 480 else "white"
        chance = self.rng.random()
        # Letters with gaps, and the board's edges, fill at most nine tenths of the picture.
        advances = (float(self.world.glyph_advances[self.world.index.glyphs[letter]]) for letter in text)
        height = min(0.2, 0.88 / (sum(advances) + 0.1 * len(text) + 1.2))
        if chance < 0.3:
            setting = Setting("plain", (board_color,))
            return Scene((), setting, sign=Sign(text, color, "none", board_color, 0.5, 0.5, height * 1.1))
        setting = self._place(self.rng.choice(("meadow", "street", "beach", "snow", "desert", "road", "forest")))
        if chance < 0.6:
            return Scene((), setting, sign=Sign(text, color, "post", board_color, 0.5, 0.42, height))
        style = self._style()
        concept = self._concept(style, self.rng.choice([home for home in LAND[:2] if home in self._by_home] or [None]))
        thing = replace(self._in_place(concept, style, setting), x=0.5, size=0.42, y=0.93)
        return Scene((thing,), setting, count=1, sign=Sign(text, color, "board", board_color, 0.5, 0.26, height * 0.9))

    def _random_word(self) -> str:
        consonants, vowels = "BCDFGHKLMNPRSTVWZ", "AEIOU"
        letters = [
            self.rng.choice(vowels if place % 2 else consonants) for place in range(self.rng.choice((2, 3, 4, 5, 6)))
        ]
        return "".join(letters)

    def _pattern(self) -> Scene:
        first, second = self.rng.sample(list(COLORS), 2)
        if self.rng.random() < 0.25:
            gradient = self.rng.choice(("vertical", "horizontal", "diagonal", "radial"))
            return Scene((), Setting("gradient", (first, second), gradient=gradient))
        if self.rng.random() < 0.1:
            return Scene((), Setting("plain", (first,)))
        return Scene((), self._patterned(first, second))

    def _landscape(self) -> Scene:
        outdoors = [name for name, place in PLACES.items() if place.is_outdoor]
        return Scene((), self._place(self.rng.choice(outdoors)))
