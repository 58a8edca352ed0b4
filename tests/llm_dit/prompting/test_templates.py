"""Template files: ours are sound, broken ones are reported, the user's own win."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llm_dit.errors import LlmDitError
from llm_dit.prompting.templates import TemplateShelf, included_folder, read_template

FRONT = "---\nname: Mine\ndescription: My own.\nkind: {kind}\n{more}---\n\nBe bold.\n"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_projects_own_templates_are_sound() -> None:
    templates, problems = TemplateShelf().read()
    assert problems == []
    assert len(templates) == len(list(included_folder().glob("*.md"))) == 15
    assert {template.kind for template in templates} == {"prompt", "rewriter"}
    assert all("\n" not in template.body for template in templates), "line breaks would become part of the prompt"


def test_a_template_is_front_matter_and_body(tmp_path: Path) -> None:
    text = FRONT.format(kind="prompt", more='thinking_content: ""\nassistant_content: Here is\n')
    template = read_template(write(tmp_path, "mine.md", text), is_own=True)
    assert (template.name, template.description, template.kind, template.body) == (
        "Mine",
        "My own.",
        "prompt",
        "Be bold.",
    )
    assert (template.thinking_content, template.assistant_content, template.is_own) == ("", "Here is", True)


def test_a_file_without_a_kind_is_a_prompt_template_and_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    text = "\ufeff---\nname: Mine\ndescription: My own.\nthinking_content: hm\n---\nBe bold.\n"
    template = read_template(write(tmp_path, "mine.md", text))
    assert (template.kind, template.thinking_content, template.body) == ("prompt", "hm", "Be bold.")


def test_no_think_block_and_an_empty_one_are_different(tmp_path: Path) -> None:
    without = read_template(write(tmp_path, "a.md", FRONT.format(kind="prompt", more="")))
    empty = read_template(write(tmp_path, "b.md", FRONT.format(kind="prompt", more="thinking_content: ''\n")))
    assert (without.thinking_content, empty.thinking_content) == (None, "")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Be bold.", "the first line has to be ---"),
        ("---\nname: x\n", "is not closed"),
        ("---\n- a\n---\nBody", "keys and values"),
        ("---\nname: [\n---\nBody", "not valid YAML"),
        (FRONT.format(kind="poem", more=""), "kind is 'poem'; use prompt or rewriter"),
        (FRONT.format(kind="rewriter", more="thinking_content: x\n"), "no front matter key 'thinking_content'"),
        (FRONT.format(kind="prompt", more="assistant_contend: x\n"), "did you mean 'assistant_content'"),
        (FRONT.format(kind="prompt", more="thinking_content: 3\n"), "thinking_content is not a text"),
        ("---\nname: x\nkind: prompt\n---\nBody", "description is missing"),
        ("---\nname: x\ndescription: y\nkind: prompt\n---\n  \n", "nothing below the front matter"),
        ("---\nname: x\nwhen: 2024-13-45\n---\nBody", "not valid YAML"),
        ("---\nname: 2024-02-03\ndescription: y\n---\nBody", "name is not a text"),
        ("---\nname: x\n2024-02-03: y\n---\nBody", "is not a text"),
        ("---\nname: x\n? [a]\n: y\n---\nBody", "not valid YAML"),
        ("---\nname: " + "[" * 20_000 + "\n---\nBody", "nested too deeply"),
        ("---\nname: " + "{a: " * 20_000 + "\n---\nBody", "nested too deeply"),
        ("---\nname: 9:99:99:99\nd: 0x\n---\nBody", ""),
        ("---\nname: !!float x\n---\nBody", "not valid YAML"),
        ("---\nname: !!binary x\n---\nBody", "not valid YAML"),
        ("---\nname: " + "9" * 5_000 + "\n---\nBody", "not valid YAML"),
        ("---\nname: !!python/object/apply:os.system ['true']\n---\nBody", "not valid YAML"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, sentence: str) -> None:
    path = write(tmp_path, "broken.md", text)
    with pytest.raises(LlmDitError, match=r"broken\.md: ") as error:
        read_template(path)
    assert sentence in str(error.value)


def test_a_file_that_is_no_text_or_too_large_is_named(tmp_path: Path) -> None:
    (tmp_path / "bytes.md").write_bytes(b"---\n\xff\xfe")
    (tmp_path / "large.md").write_bytes(b"-" * (256 * 1024 + 1))
    _, problems = TemplateShelf(folder=tmp_path).read()
    assert [problem.partition(":")[0] for problem in problems] == ["bytes.md", "large.md"]


def test_broken_files_do_not_hide_the_others(tmp_path: Path) -> None:
    write(tmp_path, "broken.md", "")
    write(tmp_path, "mine.md", FRONT.format(kind="prompt", more=""))
    templates, problems = TemplateShelf(folder=tmp_path).read()
    assert [template.name for template in templates] == ["Mine"]
    assert len(problems) == 1


def test_the_users_own_template_wins_over_one_of_the_same_name(tmp_path: Path) -> None:
    ours, own = tmp_path / "ours", tmp_path / "own"
    for folder, body in ((ours, "Ours."), (own, "Own.")):
        folder.mkdir()
        write(folder, "a.md", f"---\nname: Same\ndescription: d\nkind: rewriter\n---\n{body}")
    template = TemplateShelf(own, ours).get("rewriter", "Same")
    assert (template.body, template.is_own) == ("Own.", True)


def test_a_missing_folder_of_the_user_is_reported(tmp_path: Path) -> None:
    _, problems = TemplateShelf(tmp_path / "nothing").read()
    assert problems == [f"The templates folder {tmp_path / 'nothing'} does not exist."]


def test_an_unknown_template_names_the_nearest() -> None:
    with pytest.raises(LlmDitError, match="did you mean 'Expand'"):
        TemplateShelf().get("rewriter", "Expnd")


def test_a_pipe_in_the_folder_is_a_problem_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    assert TemplateShelf(folder=tmp_path).read() == ([], ["pipe.md: is not a file."])
