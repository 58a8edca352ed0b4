"""What the judge is asked: prompts never trained on, each with a test of what must be seen.

Every question has a true render where the world can make one, so that the judge is checked by the same test.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from training.checks.judge import Verdict
from training.checks.painted_color import painted_color
from training.words.samples import sample_world
from training.world.composition import Composer
from training.world.looks import STYLES
from training.world.scene import Scene, SceneObject
from training.world.truth import middle_of
from training.world.world import World

SEED = 90_210
COUNTED = "count up to four"
"""The row that takes two, three and four together."""
AIMS = {
    "object, trained pair": 0.97,
    "object, held-out pair": 0.92,
    "style, held-out pair": 0.75,
    "bare noun": 0.9,
    "relation": 0.9,
    COUNTED: 0.9,
    "color": 0.95,
    "object in long prose": 0.8,
    "prose, object": 0.8,
    "standard prompts": 0.8,
}
"""Kind of question -> share of right pictures that the project aims at, in the order of the table."""
PLACES_OF = {"beach": "beach", "desert": "desert", "mountain": "mountains"}
"""Concepts that prose from outside means as a place, which the world draws as the picture's setting."""
Test = Callable[[Verdict], bool]


@dataclass(frozen=True)
class Question:
    """One prompt and the test of its pictures; `scene` makes the true render, where there is one."""

    kind: str
    prompt: str
    system_prompt: str | None
    thinking_content: str | None
    scene: Scene | None
    test: Test


def sees(concept: int) -> Test:
    """The most certain object is the concept."""
    return lambda verdict: bool(verdict.objects) and verdict.objects[0].concept == concept


def sees_among(concept: int) -> Test:
    """The concept is among the objects."""
    return lambda verdict: bool(verdict.finds(concept))


def sees_all(concepts: Sequence[int]) -> Test:
    """All concepts are among the objects."""
    return lambda verdict: all(verdict.finds(concept) for concept in concepts)


def sees_any_or_place(concepts: Sequence[int], places: Sequence[str]) -> Test:
    """One of the concepts is among the objects, or the picture is set in one of the places."""
    return lambda verdict: any(verdict.finds(concept) for concept in concepts) or verdict.place in places


def says(fact: str, value: str) -> Test:
    """The judge names this place, mood or medium."""
    return lambda verdict: bool(getattr(verdict, fact) == value)


def sees_style(style: str) -> Test:
    """The most certain object is drawn in a style."""
    return lambda verdict: bool(verdict.objects) and verdict.objects[0].style == style


def sees_count(concept: int, count: int) -> Test:
    """There are exactly so many of the concept."""
    return lambda verdict: len(verdict.finds(concept)) == count


def sees_color(thing: SceneObject) -> Test:
    """What is where the scene has the thing is painted in the colour that was said."""
    return lambda verdict: painted_color(verdict.picture, *middle_of(thing)) == thing.color


def sees_relation(first: int, second: int, relation: str) -> Test:
    """Both concepts are there, the first on the side that was said."""

    def test(verdict: Verdict) -> bool:
        pairs = [(one, other) for one in verdict.finds(first) for other in verdict.finds(second)]
        return any(_holds(relation, other.x - one.x, other.y - one.y) for one, other in pairs)

    return test


def _holds(relation: str, right: float, down: float) -> bool:
    """Whether the second thing, `right` and `down` of the first, is where the relation says."""
    sides = {"left of": right, "right of": -right, "above": down, "below": -down}
    return sides[relation] > 0.04


def kinds_of(question: Question) -> tuple[str, ...]:
    """The rows of the table that a question counts in."""
    return (question.kind, COUNTED) if question.kind.startswith("count ") else (question.kind,)


def make_questions(world: World, count: int) -> list[Question]:
    """Make up to `count` questions of each kind; the same for the same world."""
    batch = sample_world(world, 24 * count, SEED)
    questions = _held_out(world, count) + _bare(world, count)
    for caption, system, thinking, scene in zip(
        batch.captions, batch.system_prompts, batch.thinking_contents, batch.scenes, strict=True
    ):
        if caption:
            for kind, test in _tests(scene, caption):
                questions.append(Question(kind, caption, system, thinking, scene, test))
    kept: list[Question] = []
    for kind in dict.fromkeys(question.kind for question in questions):
        kept += [question for question in questions if question.kind == kind][:count]
    return kept


def _tests(scene: Scene, caption: str) -> list[tuple[str, Test]]:
    tests: list[tuple[str, Test]] = []
    if not scene.objects or scene.medium == "silhouette":
        return tests
    subject = scene.objects[0]
    is_prose = caption.count(".") >= 2 and len(caption) > 90
    is_plain = scene.medium == "none"
    if is_prose:
        tests.append(("object in long prose", sees_among(subject.concept)))
    if len(scene.objects) == 1 and is_plain and not is_prose:
        tests.append(("object, trained pair", sees(subject.concept)))
    if scene.count in (2, 3, 4) and is_plain:
        tests.append((f"count {scene.count}", sees_count(subject.concept, scene.count)))
    if scene.relation in ("left of", "right of", "above", "below") and is_plain:
        tests.append(("relation", sees_relation(subject.concept, scene.objects[1].concept, scene.relation)))
    if subject.color and len(scene.objects) == 1 and is_plain and scene.mood == "none" and _is_daylight(scene):
        tests.append(("color", sees_color(subject)))
    return tests


def _is_daylight(scene: Scene) -> bool:
    """Whether the sky leaves colours as they are; a sunset turns brown into orange, the night white into blue."""
    return scene.setting.sky in (None, "clear", "cloudy", "snowfall")


def _held_out(world: World, count: int) -> list[Question]:
    batch = sample_world(world, count, SEED, split="held_out")
    questions = []
    for caption, scene in zip(batch.captions, batch.scenes, strict=True):
        thing = scene.objects[0]
        questions.append(Question("object, held-out pair", caption, None, None, scene, sees(thing.concept)))
        questions.append(Question("style, held-out pair", caption, None, None, scene, sees_style(thing.style)))
    return questions


def _bare(world: World, count: int) -> list[Question]:
    generator = random.Random(SEED)
    usual = [number for number, concept in enumerate(world.concepts) if concept.weight >= 0.9]
    composer = Composer(world, generator)
    questions = []
    for number in generator.sample(usual, min(count, len(usual))):
        scene = _scene_of(composer, number, world)
        questions.append(Question("bare noun", world.concepts[number].label, None, None, scene, sees(number)))
    return questions


def _scene_of(composer: Composer, concept: int, world: World) -> Scene | None:
    """Any training scene whose only object is the concept, if one turns up soon."""
    for _ in range(400):
        scene, manner = composer.scene()
        if manner == "bare" and scene.objects:
            style = next(style for style in STYLES if style in world.concepts[concept].styles)
            thing = scene.objects[0]
            return Scene(
                (SceneObject(concept, style, thing.x, thing.y, thing.size, thing.stands),), scene.setting, count=1
            )
    return None


def named_concepts(world: World, prompt: str) -> list[int]:
    """Concepts that a prompt of any origin names by label or synonym, whole words, longest first."""
    text = f" {re.sub(r'[^a-z0-9 ]', ' ', prompt.lower())} "
    names = sorted(
        ((name, number) for name, number in world.numbers.items() if len(name) > 2), key=lambda pair: -len(pair[0])
    )
    found: list[int] = []
    for name, number in names:
        if f" {name.lower()} " in text:
            found.append(number)
            text = text.replace(f" {name.lower()} ", "  ")
    return found


def prose_questions(world: World, prompts: Sequence[str]) -> list[Question]:
    """Questions on prompts of other origin: one of the concepts they name must be seen, or be the setting."""
    questions = []
    for prompt in prompts:
        named = named_concepts(world, prompt)
        if named:
            labels = [world.concepts[number].label for number in named]
            test = sees_any_or_place(named, [PLACES_OF[label] for label in labels if label in PLACES_OF])
            questions.append(Question("standard prompts", prompt, None, None, None, test))
    return questions


def own_prose_questions(world: World, path: Path) -> list[Question]:
    """Questions on the world's `prompts.yaml`: every concept must be seen, and place, mood and medium where said."""
    questions = []
    for entry in yaml.safe_load(path.read_text())["prompts"]:
        named = [world.numbers[name] for name in entry["concepts"] if name in world.numbers]
        tests = {"prose, object": sees_all(named)} if named else {}
        tests |= {f"prose, {fact}": says(fact, entry[fact]) for fact in ("place", "mood", "medium") if fact in entry}
        questions += [Question(kind, entry["prompt"], None, None, None, test) for kind, test in tests.items()]
    return questions
