"""The world of the miniature: sampling, captions and rendering, on a tiny world drawn here."""

import io
import random
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw
from small_world import NAMES, plain, sprite

from training.checks.evaluate import PROSE, read_prompts
from training.pictures.sprites import SPRITE_SIZE, main_color, render_sprite
from training.stages.tokenizer import train_tokenizer, write_tokenizer
from training.words import details, elsewhere, phrases, prose_words
from training.words.prose import Prose
from training.words.samples import Batch, sample_world
from training.words.scene_words import SceneWords
from training.world import looks, places
from training.world.composition import Composer
from training.world.looks import MEDIA, MOODS, PATTERNS, STYLES
from training.world.nouns import NUMBER_WORDS, is_countable, plural, with_article
from training.world.places import PLACES, SKIES
from training.world.scene import COLUMNS, MAX_OBJECTS, OBJECT_FIELDS, ROW_SIZE, SceneObject
from training.world.world import World

GREEN = (40, 200, 60)


@pytest.fixture(scope="module")
def batch(world: World) -> Batch:
    return sample_world(world, 1200, seed=3)


def test_the_same_seed_gives_the_same_samples_whatever_the_processes(world: World) -> None:
    once, forked = sample_world(world, 600, seed=5), sample_world(world, 600, seed=5, processes=2)
    assert once.captions == forked.captions
    assert once.dialogues == forked.dialogues
    assert once.scenes == forked.scenes
    np.testing.assert_array_equal(once.rows, forked.rows)
    assert sample_world(world, 300, seed=6).captions != once.captions[:300]


def test_held_out_pairs_are_never_trained_and_always_tested(world: World, batch: Batch) -> None:
    trained = {(thing.concept, thing.style) for scene in batch.scenes for thing in scene.objects}
    assert world.held_out
    assert not trained & world.held_out
    tested = sample_world(world, 200, seed=1, split="held_out")
    assert {(scene.objects[0].concept, scene.objects[0].style) for scene in tested.scenes} == world.held_out


def test_the_judge_alone_may_be_shown_held_out_pairs(world: World) -> None:
    scenes = sample_world(world, 400, seed=3, held_out_share=0.25).scenes
    shown = [bool({(thing.concept, thing.style) for thing in scene.objects} & world.held_out) for scene in scenes]
    assert 0.15 < np.mean(shown) < 0.35
    assert {scene.count for scene, is_shown in zip(scenes, shown, strict=True) if is_shown} >= {0, 1, 3, 4}


def test_all_other_pairs_occur_in_training(world: World, batch: Batch) -> None:
    trained = {(thing.concept, thing.style) for scene in batch.scenes for thing in scene.objects}
    assert trained == {(number, style) for number in range(len(NAMES)) for style in STYLES} - world.held_out


def test_counted_captions_hold_the_number_of_objects_and_the_plural(world: World, batch: Batch) -> None:
    counted = [(c, s) for c, s in zip(batch.captions, batch.scenes, strict=True) if s.count > 1 and c]
    assert len(counted) > 50
    for caption, scene in counted:
        assert len(scene.objects) == scene.count
        assert NUMBER_WORDS[scene.count] in caption.lower()
        assert plural(world.concepts[scene.objects[0].concept].label) in caption.lower()


def test_captions_name_the_subject_and_all_that_is_painted(world: World, batch: Batch) -> None:
    for caption, scene in zip(batch.captions, batch.scenes, strict=True):
        if not caption or scene.count > 1:
            continue
        words = caption.lower().replace("grey", "gray")
        for thing in scene.objects:
            assert world.concepts[thing.concept].label in words
            assert thing.color is None or thing.color in words


def test_relations_hold_in_the_picture_plane(batch: Batch) -> None:
    seen = set()
    for scene in batch.scenes:
        if scene.relation in ("left of", "right of", "above", "below"):
            first, second = scene.objects
            seen.add(scene.relation)
            assert {
                "left of": first.x < second.x - 0.2, "right of": first.x > second.x + 0.2,
                "above": first.y < second.y - 0.2, "below": first.y > second.y + 0.2,
            }[scene.relation]  # fmt: skip
    assert len(seen) == 4


def test_signs_are_told_letter_by_letter(batch: Batch) -> None:
    told = [(c, s.sign.text) for c, s in zip(batch.captions, batch.scenes, strict=True) if s.sign is not None and c]
    assert len(told) > 20
    assert all(text in caption for caption, text in told)


def test_moods_and_media_are_told_by_caption_or_frame(batch: Batch) -> None:
    words = re.compile("pixel|8-bit|game")
    told = [
        bool(words.search(f"{caption} {system} {thinking}".lower()))
        for caption, system, thinking, scene in zip(
            batch.captions, batch.system_prompts, batch.thinking_contents, batch.scenes, strict=True
        )
        if scene.medium == "pixel art" and caption
    ]
    assert told
    assert all(told)


def test_bare_nouns_show_one_thing_in_its_own_colours(world: World, batch: Batch) -> None:
    labels = {concept.label for concept in world.concepts}
    bare = [s for c, s in zip(batch.captions, batch.scenes, strict=True) if c in labels]
    assert len(bare) > 20
    for scene in bare:
        assert scene.count == 1
        assert scene.objects[0].color is None
        assert scene.medium == "none"


def test_all_kinds_of_frames_occur(batch: Batch) -> None:
    assert {None, ""} <= set(batch.thinking_contents)
    assert "You are an artistic painter." in batch.system_prompts
    assert any(caption == "" for caption in batch.captions)


def test_rewriter_dialogues_name_the_thing_of_the_short_prompt(world: World, batch: Batch) -> None:
    form = re.compile(
        r"<\|im_start\|>system\n.+<\|im_end\|>\n<\|im_start\|>user\n(.+)<\|im_end\|>\n"
        r"<\|im_start\|>assistant\n(.+)<\|im_end\|>\n",
        re.S,
    )
    rewritten = [(form.fullmatch(d), s) for d, s in zip(batch.dialogues, batch.scenes, strict=True) if "system" in d]
    assert len(rewritten) > 500
    bare = 0
    for match, scene in rewritten:
        assert match is not None
        prompt, reply = match.groups()
        bare += prompt.lower() in NAMES
        for thing in scene.objects[: 1 if scene.count > 1 else None]:
            label = world.concepts[thing.concept].label
            name = plural(label) if scene.count > 1 else label
            assert name in prompt.lower()
            assert name in reply.lower()
    assert bare > 0.2 * len(rewritten)


def test_standing_things_stay_inside_the_picture(batch: Batch) -> None:
    for scene in batch.scenes:
        for thing in scene.objects:
            if thing.stands:
                assert scene.setting.horizon < thing.y <= 1.02
                assert thing.y - thing.size > -0.05


def _five_words(text: str) -> set[str]:
    words = re.findall(r"[a-z0-9']+", text.lower().replace("grey", "gray").replace("olour", "olor"))
    return {" ".join(words[start : start + 5]) for start in range(len(words) - 4)}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
    elif is_dataclass(value):
        for part in fields(value):
            yield from _texts(getattr(value, part.name))


def test_no_words_of_the_captions_are_taken_from_evaluation_prompts() -> None:
    root = Path(__file__).parents[3]
    prompts = read_prompts(root / "experiments" / "prompts" / "standard_prompts.yaml") + read_prompts(PROSE)
    unseen = {five for prompt in prompts for five in _five_words(prompt)}
    assert len(unseen) > 2000
    modules = (details, elsewhere, looks, phrases, places, prose_words)
    tables = [table for module in modules for name, table in vars(module).items() if name.isupper()]
    shared = {text for table in tables for text in _texts(table) if _five_words(text) & unseen}
    assert not shared


def test_long_prose_names_the_thing_among_words_of_its_own(world: World) -> None:
    composer, rng = Composer(world, random.Random(2)), random.Random(3)
    told = []
    for _ in range(900):
        scene, manner = composer.scene()
        if manner == "prose" and len(scene.objects) == 1 and scene.sign is None:
            told.append((Prose(SceneWords(scene, world, rng), rng).text().lower(), scene.objects[0]))
    assert len(told) > 100
    assert all(world.concepts[thing.concept].label in text for text, thing in told)
    assert all(thing.color is None or thing.color in text for text, thing in told)
    places = [text.index(world.concepts[thing.concept].label) / len(text) for text, thing in told]
    assert np.mean([place > 0.3 for place in places]) > 0.25
    assert np.mean([len(text.split()) for text, _ in told]) > 20


@pytest.mark.parametrize(
    ("name", "article", "several"),
    [
        ("apple", "an apple", "apples"), ("slice of cake", "a slice of cake", "slices of cake"),
        ("mouse", "a mouse", "mice"),
        ("woman with red hair", "a woman with red hair", "women with red hair"), ("unicorn", "a unicorn", "unicorns"),
        ("person walking", "a person walking", "people walking"), ("cherry", "a cherry", "cherries"),
    ],
)  # fmt: skip
def test_articles_and_plurals_are_english(name: str, article: str, several: str) -> None:
    assert with_article(name) == article
    assert plural(name) == several


@pytest.mark.parametrize("name", ["sunglasses", "broccoli", "santa claus", "statue of liberty", "people hugging"])
def test_what_has_no_plural_is_not_counted(name: str) -> None:
    assert not is_countable(name)


def test_rows_mark_absent_objects(world: World) -> None:
    row = world.row(plain(SceneObject(0, "3d", 0.5, 0.5, 0.5)))
    assert row.shape == (ROW_SIZE,)
    sprites = row[COLUMNS["objects"]].reshape(MAX_OBJECTS, len(OBJECT_FIELDS))[:, 0]
    assert sprites.tolist() == [world.index.sprites[0, "3d"], -1, -1, -1, -1, -1]


def test_sprites_are_cut_to_their_content() -> None:
    picture = Image.new("RGBA", (90, 90), (0, 0, 0, 0))
    ImageDraw.Draw(picture).rectangle((60, 60, 79, 69), fill=(*GREEN, 255))
    encoded = render_sprite(picture)
    assert encoded is not None
    sprite = np.asarray(Image.open(io.BytesIO(encoded)))
    assert sprite.shape == (SPRITE_SIZE, SPRITE_SIZE, 4)
    rows, columns = (sprite[..., 3] > 128).any(1), (sprite[..., 3] > 128).any(0)
    assert columns.mean() == pytest.approx(1.0, abs=0.02)
    assert rows.mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("color", "name"), [(GREEN, "green"), ((225, 30, 40), "red"), ((120, 70, 30), "brown"), ((250, 250, 250), "white")]
)
def test_the_main_colour_of_a_sprite_is_named(color: tuple[int, int, int], name: str) -> None:
    assert main_color(sprite(color)) == name


def test_empty_pictures_make_no_sprite() -> None:
    assert render_sprite(Image.new("RGBA", (20, 20), (0, 0, 0, 0))) is None


def test_evaluation_prompts_state_facts_of_the_world() -> None:
    folder = Path(__file__).parents[3] / "training" / "checks"
    entries = yaml.safe_load((folder / "prompts.yaml").read_text())["prompts"]
    known = {"place": PLACES, "sky": SKIES, "mood": MOODS, "medium": MEDIA, "pattern": PATTERNS, "style": STYLES}
    assert len(entries) == 60
    assert len({entry["prompt"] for entry in entries}) == 60
    for entry in entries:
        assert all(entry[fact] in values for fact, values in known.items() if fact in entry)


def test_the_tokenizer_folder_gives_qwen3_strings(tmp_path: Path, batch: Batch) -> None:
    from transformers import AutoTokenizer

    write_tokenizer(train_tokenizer(iter(batch.captions), 400), tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "A cat, 24 dogs"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert (
        text == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nA cat, 24 dogs<|im_end|>\n<|im_start|>assistant\n"
    )
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids)
    assert tokens[0] == "<|im_start|>"
    assert tokens[tokens.index("2") + 1] == "4"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert len(tokenizer) == 400
    answered = tokenizer.apply_chat_template([*messages, {"role": "assistant", "content": "X"}], tokenize=False)
    assert answered.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\nX<|im_end|>\n")
