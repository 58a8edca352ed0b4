"""The search of the history: what a text means, what is refused, and how long 20,000 rows take."""

from __future__ import annotations

import json
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llm_dit.errors import LlmDitError
from llm_dit.parameters import GenerationParams
from web.history.image_history import History, open_history
from web.history.search import parse_search

PICTURE = Image.new("RGB", (8, 8))
MADE: list[dict[str, Any]] = [
    {"prompt": "A red fox in the snow", "shift": 3.0, "num_inference_steps": 9, "seed": 1,
     "hidden_layer_blend": "-2:0.7,-6:0.3"},
    {"prompt": "A RED car, Straße", "shift": 2.5, "num_inference_steps": 4, "seed": 2, "guidance_scale": 1.5,
     "hidden_layer": "last_before_norm"},
    {"prompt": "红狐狸在雪中", "shift": 3.0, "num_inference_steps": 20, "seed": 3, "loras": "Detail_v2.pt:0.8"},
    {"prompt": "snow in the red", "shift": 6.0, "num_inference_steps": 8, "seed": 10, "negative_prompt": "Blur, text",
     "extend_rope": True, "long_prompt_mode": "pool", "system_prompt": ""},
]  # fmt: skip
"""By number: 0 to 3."""


def entry_id(number: int) -> str:
    return f"{number:032x}"


def store(history: History, number: int, model: str = "mini", **values: Any) -> None:
    params = GenerationParams.parse(values).model_dump()
    history.add_waiting({entry_id(number): params})
    history.store_image(entry_id(number), b"png", PICTURE, params, {"model_path": model})


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    history = open_history(tmp_path_factory.mktemp("history"), 50)
    for number, values in enumerate(MADE):
        store(history, number, "Tongyi-MAI/Z-Image-Turbo" if number == 1 else "mini", **values)
    history.set_starred([entry_id(0), entry_id(2)], is_starred=True)
    history.add_waiting({entry_id(4): GenerationParams.parse({"prompt": "a broken fox", "steps": 9}).model_dump()})
    history.set_failed(entry_id(4), "failed", "It broke.")
    yield history
    history.close()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", [4, 3, 2, 1, 0]),
        ("red", [3, 1, 0]),
        ("red -car", [3, 0]),
        ("snow red", [3, 0]),
        ('"in the snow"', [0]),
        ('-"in the snow" red', [3, 1]),
        ("STRASSE", [1]),
        ("狐狸", [2]),
        ("50%", []),
        ("shift=3", [2, 0]),
        ("shift = 3", [2, 0]),
        ("shift:3", [2, 0]),
        ("shift!=3", [4, 3, 1]),
        ("-shift=3", [4, 3, 1]),
        ("shift=2,6", [3]),
        ("shift=2..3", [2, 1, 0]),
        ("num_inference_steps>=8", [4, 3, 2, 0]),
        ("steps>8", [4, 2, 0]),
        ("steps<=8 steps>4", [3]),
        ("num-inference-steps=4", [1]),
        ("seed=1,3,10", [3, 2, 0]),
        ("guidance_scale=1.5", [1]),
        ("lora=detail", [2]),
        ("loras=none", [4, 3, 1, 0]),
        ("-lora=none", [2]),
        ("hidden_layer_blend=none", [4, 3, 2, 1]),
        ("hidden_layer=last_before_norm", [1]),
        ("hidden_layer=-2 red", [3, 0]),
        ("model=mini", [3, 2, 0]),
        ("model=z-image", [1]),
        ("negative_prompt=blur", [3]),
        ("negative_prompt!=blur", [4, 2, 1, 0]),
        ("extend_rope=on", [3]),
        ("long_prompt_mode=pool", [3]),
        ("long_prompt_mode=pool,truncate red", [3, 1, 0]),
        ("system_prompt=none", [4, 2, 1, 0]),
        ("is:starred", [2, 0]),
        ("-is:starred red", [3, 1]),
        ("is:failed", [4]),
        ("is:starred shift=3 fox", [0]),
        ("width=none", [4, 3, 2, 1, 0]),
        ("16:9", []),
    ],
)
def test_a_search_finds_exactly_what_it_says(history: History, text: str, found: list[int]) -> None:
    search = parse_search(text)
    assert [int(entry.id, 16) for entry in history.newest(search=search)] == found
    assert history.count(search) == len(found)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("shfit=3", "There is no parameter 'shfit' of an image; did you mean 'shift'? Put quotation marks"),
        ("cfg=2", "did you mean 'guidance_scale'?"),
        ("port=8000", "There is no parameter 'port' of an image"),
        ("shift=fox", "shift: 'fox' can't be read; write shift=3, shift!=3, shift>=3, shift=2..4 or shift=2,4."),
        ("shift=nan", "shift: 'nan' can't be read"),
        ("steps=2..", "num_inference_steps: '' can't be read"),
        ("shift=", "shift= has no value"),
        ("shift>2,3", "shift>2,3 can't be read"),
        ("long_prompt_mode=poll", "write long_prompt_mode= and one of truncate, "),
        ("extend_rope=maybe", "write extend_rope=on or extend_rope=off."),
        ("lora>3", "loras is a text; write loras=words"),
        ('"red fox', "The search has a quotation mark without its partner; close it."),
        ("is:pretty", "is:pretty is not known; write is:starred, is:done, is:failed, is:interrupted."),
        ("x" * 1001, "The search has 1001 characters; 1000 are the most."),
        ("a " * 51, "The search has 51 words and conditions; 50 are the most."),
    ],
)
def test_what_is_no_search_is_told_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(LlmDitError) as error:
        parse_search(text)
    assert sentence in str(error.value)
    assert error.value.field == "search"


def test_an_image_is_found_by_what_it_was_made_with_and_not_by_what_was_asked(tmp_path: Path) -> None:
    history = open_history(tmp_path, 5)
    asked = GenerationParams.parse({"prompt": "a fox"}).model_dump()
    history.add_waiting({entry_id(1): asked})
    assert history.count(parse_search("fox")) == 0  # it is not made yet
    history.store_image(entry_id(1), b"png", PICTURE, {**asked, "shift": 3.0}, {"model_path": "mini"})
    assert history.count(parse_search("shift=3 model=mini")) == 1
    history.delete(entry_id(1))
    assert history._connection.execute("SELECT COUNT(*) FROM image_values").fetchone()[0] == 0
    assert history._connection.execute("SELECT COUNT(*) FROM image_texts").fetchone()[0] == 0
    history.close()


ROWS = 20_000
MOST_MS = 250
"""Of one core; web.md says what was measured."""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    folder = tmp_path_factory.mktemp("large")
    open_history(folder, 100_000).close()
    params = GenerationParams.parse({"prompt": "-"}).model_dump()
    record = json.dumps({"model_path": "mini", "formatted_prompt": "x" * 3000})
    with sqlite3.connect(folder / "history.sqlite3") as database:
        database.executemany(
            "INSERT INTO images (row, id, number, state, is_starred, created_at, params, metadata)"
            " VALUES (?, ?, ?, 'done', ?, 0, ?, ?)",
            (
                (
                    n,
                    entry_id(n),
                    n,
                    n % 100 == 0,
                    json.dumps({**params, "prompt": prompt_of(n), "shift": n % 7}),
                    record,
                )
                for n in range(ROWS)
            ),
        )
        database.executemany(
            "INSERT INTO image_texts VALUES ('prompt', ?, ?)", ((n, prompt_of(n)) for n in range(ROWS))
        )
        database.executemany(
            "INSERT INTO image_texts VALUES ('negative_prompt', ?, ?)",
            ((n, "blur" if n % 1000 == 1 else "") for n in range(ROWS)),
        )
        database.executemany(
            "INSERT INTO image_values VALUES (?, ?, ?)",
            ((name, n % 7 if name == "shift" else n % 50, n) for n in range(ROWS)
             for name in ("shift", "seed", "num_inference_steps", "guidance_scale", "width", "height")),
        )  # fmt: skip
    database.close()
    history = open_history(folder, 100_000)
    yield history
    history.close()


def prompt_of(number: int) -> str:
    return f"a {'fox' if number % 5 else 'cat'} number {number} " + "in a long description of a quiet forest " * 8


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("", lambda n: True),
        ("fox", lambda n: n % 5),
        ('"number 777 "', lambda n: n == 777),
        ("nowhere", lambda n: False),
        ("shift=3", lambda n: n % 7 == 3),
        ("steps>=48 shift=3 fox", lambda n: n % 50 >= 48 and n % 7 == 3),
        ("seed=7 shift>=5 -cat", lambda n: n % 50 == 7 and n % 7 >= 5),
        ("is:starred", lambda n: n % 100 == 0),
        ("negative_prompt=blur", lambda n: n % 1000 == 1),
    ],
)
def test_of_20000_rows_a_page_and_its_count_come_quickly(
    large: History, text: str, is_found: Callable[[int], bool]
) -> None:
    search = parse_search(text)
    times = []
    for _ in range(5):
        began = time.thread_time()  # SQLite works on this thread; what else the machine does is not counted
        page, count = large.newest(60, search), large.count(search)
        times.append(1000 * (time.thread_time() - began))
    print(f"{text!r}: {statistics.median(times):.1f} ms")
    expected = [number for number in reversed(range(ROWS)) if is_found(number)]
    assert ([entry.number for entry in page], count) == (expected[:60], len(expected))
    assert statistics.median(times) < MOST_MS, f"{text!r} took {times} ms"


def test_pages_of_20000_rows_follow_each_other_without_a_gap(large: History) -> None:
    search = parse_search("seed=7")
    seen: list[int] = []
    before = None
    while page := large.newest(60, search, before):
        seen += [entry.number for entry in page]
        before = page[-1].number
    assert seen == [number for number in reversed(range(ROWS)) if number % 50 == 7]
