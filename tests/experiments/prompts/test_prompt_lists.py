"""Prompt lists in the forms that people have: small files written as the benchmarks write theirs."""

import json

import pytest
from click.testing import CliRunner

from experiments import run_ablation
from experiments.prompts import read_prompt_list, read_prompts
from llm_dit.errors import ConfigError


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def texts(path):
    return [prompt.text for prompt in read_prompts(path)]


@pytest.mark.parametrize("name", ["a.txt", "A.TXT", "prompts"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_files_of_any_name_encoding_and_line_end_hold_a_prompt_a_line(tmp_path, name, encoding, end):
    path = write(tmp_path / name, end.join(["A red cat", "", "  Ein grüner Hund  ", "一只猫"]), encoding)
    assert texts(path) == ["A red cat", "Ein grüner Hund", "一只猫"]


def test_only_real_line_ends_divide_lines(tmp_path):
    path = write(tmp_path / "a.txt", "A cat\u2028on a mat\x0cin the sun\x85at noon\nA dog\n")
    assert texts(path) == ["A cat\u2028on a mat\x0cin the sun\x85at noon", "A dog"]


def test_ids_of_a_list_come_from_the_text_and_stay_when_a_line_is_put_on_top(tmp_path):
    path = write(tmp_path / "a.txt", "A red cat\nA dog\n")
    before = {prompt.text: prompt.id for prompt in read_prompts(path)}
    write(path, "A bird\nA red cat\nA dog\n")
    after = {prompt.text: prompt.id for prompt in read_prompts(path)}
    assert {text: after[text] for text in before} == before
    assert before["A red cat"].startswith("a-red-cat-")


def test_equal_texts_are_one_prompt_and_said_once(tmp_path):
    read = read_prompt_list(write(tmp_path / "a.txt", "A cat\nA dog\nA cat \nA cat\n"))
    assert [prompt.text for prompt in read.prompts] == ["A cat", "A dog"]
    assert read.told.endswith("a.txt: 2 prompts, 1 text stands there more than once and count once.")


def test_equal_texts_of_a_project_file_are_one_prompt(tmp_path):
    path = write(tmp_path / "a.yaml", "version: 1\ncategories: {a: [{id: x, prompt: A cat}, {id: y, prompt: A cat}]}\n")
    read = read_prompt_list(path)
    assert [prompt.id for prompt in read.prompts] == ["x"]
    assert "1 text stands there more than once" in read.told


def test_a_tsv_without_quoting_keeps_its_quotation_marks(tmp_path):
    """PartiPrompts: texts that begin with quotation marks, and empty notes."""
    lines = [
        "Prompt\tCategory\tChallenge\tNote",
        "bond\tAbstract\tBasic\tBiology-inspired concepts",
        '"G I G G L E" painted on a wall.\tIllustrations\tWriting & Symbols\t',
    ]
    read = read_prompt_list(write(tmp_path / "Parti.tsv", "\n".join(lines) + "\n"))
    first, second = read.prompts
    assert (first.text, first.category) == ("bond", "Abstract")
    assert first.details == {"Challenge": "Basic", "Note": "Biology-inspired concepts"}
    assert second.text == '"G I G G L E" painted on a wall.'
    assert read.told.endswith("Parti.tsv: 2 prompts, texts from 'Prompt', categories from 'Category'.")


def test_a_quoted_tsv_is_read_as_quoted(tmp_path):
    assert texts(write(tmp_path / "a.tsv", 'text\tid\n"a ""b""\tc\nd"\t1\n')) == ['a "b"\tc\nd']


def test_a_csv_with_quotes_is_read_by_its_columns(tmp_path):
    """DrawBench: `Prompts,Category`, texts with commas in quotes."""
    text = 'Prompts,Category\nA red colored car.,Colors\n"An emoji of a panda, with a hat.",DALL-E\n'
    assert [(p.text, p.category) for p in read_prompts(write(tmp_path / "d.csv", text))] == [
        ("A red colored car.", "Colors"),
        ("An emoji of a panda, with a hat.", "DALL-E"),
    ]


def test_ids_that_begin_anew_in_each_category_are_joined_with_it(tmp_path):
    """OneIG: ids 000, 001 ... of each category; the Chinese file has `prompt_cn`."""
    text = "category,id,prompt_cn,class\nAnime,000,一只猫,\nPortrait,000,一个人,\n"
    read = read_prompt_list(write(tmp_path / "zh.csv", text))
    assert [(p.id, p.text) for p in read.prompts] == [("Anime_000", "一只猫"), ("Portrait_000", "一个人")]
    assert "texts from 'prompt_cn', ids from 'category' and 'id', categories from 'category'" in read.told


def test_a_column_without_a_name_is_an_index_and_no_category(tmp_path):
    """OneIG's text_content.csv, as pandas writes it."""
    (prompt,) = read_prompts(write(tmp_path / "text.csv", ",id,prompt_en,text_content\n7,000,A sign,['Hello']\n"))
    assert (prompt.id, prompt.category, prompt.details) == ("000", "text", {"text_content": "['Hello']"})


def test_ids_that_tell_nothing_apart_are_left_for_those_of_the_texts(tmp_path):
    read = read_prompt_list(write(tmp_path / "a.csv", "id,prompt\n1,A cat\n1,A dog\n"))
    assert [prompt.id[:6] for prompt in read.prompts] == ["a-cat-", "a-dog-"]
    assert "ids from the texts, since 'id' does not tell them apart" in read.told


def test_a_text_with_many_rows_keeps_what_they_agree_on(tmp_path):
    """DPG-Bench's CSV: a row for each question about a prompt."""
    text = "item_id,text,category_broad,question\n7,A cat,entity,Is there a cat?\n7,A cat,entity,Is it one?\n"
    (prompt,) = read_prompts(write(tmp_path / "dpg.csv", text))
    assert (prompt.id, prompt.category, prompt.details) == ("7", "entity", {})


def test_a_european_csv_is_divided_at_semicolons(tmp_path):
    assert texts(write(tmp_path / "a.csv", "prompt;id\nA cat, a dog;1\n", "utf-8-sig")) == ["A cat, a dog"]


def test_json_lines_carry_tag_and_facts(tmp_path):
    """GenEval: `tag`, `include`, `prompt`."""
    line = {"tag": "counting", "include": [{"class": "bench", "count": 2}], "prompt": "a photo of two benches"}
    for name in ("evaluation_metadata.jsonl", "wrong_ending.json"):
        text = json.dumps(line) + "\n" + json.dumps({**line, "prompt": "a photo of a cow"}) + "\n"
        first, second = read_prompts(write(tmp_path / name, text))
        assert (first.category, first.text, second.text) == ("counting", "a photo of two benches", "a photo of a cow")
        assert first.details == {"include": '[{"class": "bench", "count": 2}]'}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["A cat", "A dog"], [("A cat", "list"), ("A dog", "list")]),  # HPDv2's benchmark lists
        ([{"prompt": "A cat", "image_path": ["a.jpg"], "rank": [1]}], [("A cat", "list")]),  # HPDv2's test.json
        ({"anime": ["A cat"], "photo": ["A dog"]}, [("A cat", "anime"), ("A dog", "photo")]),
        ({"prompts": [{"caption": "A cat", "category": "c"}], "version": 2}, [("A cat", "c")]),
        ({"000": {"prompt": "A cat"}, "001": {"prompt": "A dog"}}, [("A cat", "list"), ("A dog", "list")]),
        ({"x": "A cat"}, [("A cat", "list")]),
    ],
)
@pytest.mark.parametrize("ending", ["json", "yaml"])
def test_json_and_flat_yaml_lists_are_read(tmp_path, value, expected, ending):
    path = write(tmp_path / f"list.{ending}", json.dumps(value, ensure_ascii=False))
    assert [(prompt.text, prompt.category) for prompt in read_prompts(path)] == expected


def test_flat_yaml_takes_words_as_written_and_keys_as_ids(tmp_path):
    assert texts(write(tmp_path / "a.yml", "- no\n- A cat, on a mat\n- 1984\n")) == ["no", "A cat, on a mat", "1984"]
    (prompt,) = read_prompts(write(tmp_path / "b.yml", "fox: {prompt: A fox, difficulty: Easy, must_show: [fox]}\n"))
    assert (prompt.id, prompt.difficulty, prompt.must_show, prompt.details) == ("fox", "easy", ("fox",), {})


def test_a_folder_holds_a_prompt_a_file_named_after_it(tmp_path):
    """DPG-Bench's prompts: 0.txt ... 299.txt."""
    for name, text in (("10.txt", "Ten"), ("2.txt", "Two\n\nand more\n"), ("sub/a.TXT", "A"), ("notes.md", "no")):
        write(tmp_path / "dpg" / name, text)
    read = read_prompt_list(tmp_path / "dpg")
    assert [(p.id, p.category, p.text) for p in read.prompts] == [
        ("2", "dpg", "Two\n\nand more"),
        ("10", "dpg", "Ten"),
        ("a", "sub", "A"),
    ]
    assert read.told.endswith("dpg: 3 prompts.")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", "PAR1", r"prompts are read from \.txt, \.csv, \.tsv, \.json, .*, \.yaml, and from a folder"),
        ("a.csv", "title,id\nA cat,1\n", r"a\.csv:2: no column is called prompt, text or caption; .* 'title', 'id'"),
        ("a.csv", "prompt,id\nA cat, a dog,1\n", r"a\.csv:2: the row has 3 fields and the header 2; put texts"),
        ("a.csv", 'prompt,id\nA cat,1\n"A dog,2\n', r"a\.csv:3: the quotes of this row can't be read"),
        ("a.json", '["A cat",\n "A dog"', r"a\.json:2: not valid JSON"),
        ("a.jsonl", '{"prompt": "A cat"}\n{"prompt": \n', r"a\.jsonl:2: not valid JSON"),
        ("a.json", '[["A cat"]]', r'entry 1: \["A cat"\] is neither a text nor an object'),
        ("a.json", "7", r"7 is no list of prompts"),
        ("a.json", '[{"prompt": ["A"]}]', r'entry 1: prompt is \["A"\], not a text'),
        ("a.txt", b"caf\xe9\n", r"a\.txt is not a text in UTF-8 or UTF-16 \(byte 3: .*; save it as UTF-8"),
        ("a.txt", "A cat\nA\0dog\n", r"a\.txt:2: prompt contains a NUL"),
        ("a.txt", "\n \n", r"there is no prompt in this file"),
        ("a.csv", "prompt\n", r"there is no prompt in this file"),
    ],
)
def test_what_can_t_be_read_is_named_with_its_place(tmp_path, name, content, message):
    with pytest.raises(ConfigError, match=message):
        read_prompts(write(tmp_path / name, content))


def test_a_list_in_a_folder_of_prompts_is_refused(tmp_path):
    write(tmp_path / "sets" / "color.txt", "A cat\n" * 300)
    with pytest.raises(ConfigError, match=r"color\.txt has 300 lines, and in a folder each file is one prompt"):
        read_prompts(tmp_path / "sets")


def test_rows_without_a_text_are_told(tmp_path):
    read = read_prompt_list(write(tmp_path / "a.csv", "prompt,id\nA cat,1\n,2\n"))
    assert "1 without a text left out" in read.told


# Wildcards


def test_braces_make_every_combination_with_its_choices(tmp_path):
    read = read_prompt_list(write(tmp_path / "a.txt", "a {red|blue} {cat|dog{| in a hat}}\n"))
    assert {(p.text, p.details["choice_1"], p.details["choice_2"]) for p in read.prompts} == {
        ("a red cat", "red", "cat"),
        ("a red dog", "red", "dog"),
        ("a red dog in a hat", "red", "dog in a hat"),
        ("a blue cat", "blue", "cat"),
        ("a blue dog", "blue", "dog"),
        ("a blue dog in a hat", "blue", "dog in a hat"),
    }
    assert "6 prompts, wildcards make 6 of 1" in read.told


def test_names_take_the_lines_of_files_beside_the_list(tmp_path):
    write(tmp_path / "wildcards" / "colour.txt", "# two colours\nred\n\nlight __tone__\n")
    write(tmp_path / "wildcards" / "tone.txt", "blue\ngreen\n")
    path = write(tmp_path / "a.txt", "a __colour__ cat\n")
    assert [(p.text, p.details) for p in read_prompts(path)] == [
        ("a red cat", {"colour": "red"}),
        ("a light blue cat", {"colour": "light blue"}),
        ("a light green cat", {"colour": "light green"}),
    ]
    assert [p.text for p in read_prompts(path, tmp_path / "wildcards")] == texts(path)


def test_an_expanded_prompt_keeps_the_id_it_had(tmp_path):
    path = write(tmp_path / "a.csv", "id,prompt\nfox,a {red|blue} fox\n")
    first, second = read_prompts(path)
    assert first.id.startswith("fox-")
    assert first.id != second.id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"the formula $\frac{L(L+1)}{2}$", r"the formula $\frac{L(L+1)}{2}$"),
        ("fill in: ____ and _____", "fill in: ____ and _____"),
        ("a | b }", "a | b }"),
        ("a {b | c", "a {b | c"),
        (r"a \{b\|c\} \__init__", "a {b|c} __init__"),
        ("{a {b}} c", "{a {b}} c"),
    ],
)
def test_what_is_no_wildcard_stays_text(tmp_path, text, expected):
    assert texts(write(tmp_path / "a.txt", text)) == [expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a __color__ cat",
            r"a\.txt:1: .*wildcards has no color\.txt for the wildcard __color__; did you mean 'colour'",
        ),
        ("__loop__", r"the wildcard __loop__ holds itself"),
        ("a {0.5::red|blue} cat", r"'0.5::red' has a weight"),
        ("{2$$a|b}", r"'2\$\$a' has a weight or a number of draws"),
        ("{a|b}" * 14, r"make 16,384 prompts, and at most 10,000"),
    ],
)
def test_a_wildcard_that_can_t_be_made_is_named(tmp_path, text, message):
    write(tmp_path / "wildcards" / "colour.txt", "red\n")
    write(tmp_path / "wildcards" / "loop.txt", "a __loop__\n")
    with pytest.raises(ConfigError, match=message):
        read_prompts(write(tmp_path / "a.txt", text))


def test_a_wildcard_without_any_folder_says_how_to_name_one(tmp_path):
    with pytest.raises(ConfigError, match=r"no color\.txt .*; name its folder with --wildcards\. Write"):
        read_prompts(write(tmp_path / "a.txt", "__color__"))


def test_the_command_tells_what_it_read(tmp_path):
    path = write(tmp_path / "a.csv", "Prompt,Category\nA cat,animals\nA dog,animals\nA cat,animals\n")
    options = ["--sweep", "shift=2,3", "--prompts-file", str(path), "--dry-run", "--output-dir", str(tmp_path)]
    result = CliRunner().invoke(run_ablation.main, options)
    assert result.exit_code == 0, result.output
    assert "2 prompts, texts from 'Prompt', categories from 'Category', 1 text stands" in result.stderr
    listed = CliRunner().invoke(run_ablation.main, ["--list-prompts", "--prompts-file", str(path)])
    assert "2 prompts, texts from 'Prompt'" in listed.stderr
