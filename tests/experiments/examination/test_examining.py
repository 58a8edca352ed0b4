"""A judge whose answers are known, examined; what is kept of it, and where it is said."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from metric_models import write_siglip
from PIL import Image
from sample_results import axis, noisy_scores, sample_plan, write_results

from experiments import analyze
from experiments.examination import kept
from experiments.examination.examining import examine
from experiments.examination.examples import Example, ExampleSet, examples_of_results
from experiments.examination.kept import examination_notes, examined_now, found_before, keep
from experiments.metrics import Column, Metric, metric_named
from experiments.metrics.examine import main
from experiments.prompts import STANDARD_PROMPTS, Prompt, read_prompts
from experiments.reporting.report_page import write_report
from experiments.store.result_store import ResultStore
from llm_dit.errors import LlmDitError


class Brightness:
    """Likes bright pictures, whatever the prompt: every answer of its examination is known beforehand."""

    def __init__(self, direction: str = "higher") -> None:
        self.metric = Metric(
            name="brightness",
            title="Brightness",
            unit="levels",
            direction=direction,
            model="mean@1",
            columns=(Column("brightness", "Mean level"),),
            source="",
        )

    def move_to(self, device: str) -> None:
        """Stay."""

    def score_rows(self, rows):
        return [
            {} if row.prompt == "unjudged" else {"brightness": float(np.asarray(Image.open(row.image)).mean())}
            for row in rows
        ]


class RoundedBrightness(Brightness):
    """The same, summed in another order where a picture is not the whole one."""

    def score_rows(self, rows):
        nudges = [1e-6 if "examine-" in str(row.image) else 0.0 for row in rows]
        return [
            {name: value + nudge for name, value in columns.items()}
            for columns, nudge in zip(super().score_rows(rows), nudges, strict=True)
        ]


@pytest.fixture
def examples(tmp_path) -> ExampleSet:
    found = []
    texts = [f"a thing {index}" for index in range(10)] + ["a cat on the left", "unjudged"]
    for index, text in enumerate(texts):
        for seed in (1, 2):
            path = tmp_path / f"{index}_{seed}.png"
            level = np.random.default_rng(index * 2 + seed).integers(60, 180, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(level).save(path)
            found.append(Example(Prompt(f"p{index:02}", "things", "", text), seed, path))
    return ExampleSet("made-up prompts", "/models/none", tuple(found))


def test_what_rounding_moves_is_no_difference_however_steady_its_sign(examples):
    (mirrored,) = (item for item in examine(RoundedBrightness(), examples) if item.damage == "mirrored")
    assert (mirrored.difference, mirrored.low, mirrored.high, mirrored.p_value) == (0, 0, 0, 1)
    assert mirrored.found == "can't tell"


def test_each_damage_has_the_answer_that_is_known_of_the_judge(examples):
    findings = {item.damage: item for item in examine(Brightness(), examples)}
    assert len(findings) == 14
    assert {name: item.found for name, item in findings.items() if item.found != "can't tell"} == {
        "black": "notices",
        "colour cast": "notices",
        "grey": "prefers",
        "white": "prefers",
    }
    assert (findings["mirrored"].difference, findings["mirrored"].prompts) == (0, 10)
    assert (findings["wrong caption"].difference, findings["wrong caption"].prompts) == (0, 11)
    mean = np.mean([np.asarray(Image.open(item.image)).mean() for item in examples.examples[:22]])
    assert findings["white"].difference == pytest.approx(255 - mean)
    assert findings["white"].low < findings["white"].difference < findings["white"].high
    assert [name for name, item in findings.items() if item.is_right] == [
        "another seed",
        "mirrored",
        "JPEG 75",
        "colour cast",
        "black",
    ]


def test_where_lower_is_better_black_is_preferred(examples):
    found = {item.damage: item.found for item in examine(Brightness("lower"), examples)}
    assert (found["black"], found["white"]) == ("prefers", "notices")


def test_too_few_prompts_give_no_findings(examples):
    assert examine(Brightness(), ExampleSet("few", "mini", examples.examples[:10])) == ()


def test_prompts_with_sides_or_words_are_not_mirrored():
    prompts = {prompt.id: Example(prompt, 1, STANDARD_PROMPTS) for prompt in read_prompts(STANDARD_PROMPTS)}
    sided = {name for name, example in prompts.items() if example.has_a_side}
    assert {"scene_006", "abstract_006", "text_001", "simple_001"} <= sided
    assert not {"animal_001", "landscape_001", "style_002"} & sided


def test_what_was_found_is_kept_by_weights_and_set_and_said_in_a_sentence(examples, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "found")
    judge = Brightness()
    findings = examine(judge, examples)
    path = keep(judge.metric, examined_now(examples.name, examples.generator, 2, findings))
    keep(judge.metric, examined_now("others", "mini", 2, findings[:2]))
    keep(judge.metric, examined_now("others", "mini", 2, findings[:3]))
    assert path.name == "brightness--mean@1.json"
    first, second = found_before("brightness", "mean@1")
    assert (first.name, first.findings, len(second.findings)) == ("made-up prompts", findings, 3)
    assert first.sentence("mean@1").startswith("mean was examined on 11 made-up prompts (none): it prefers grey (by ")
    assert "; it notices colour cast, black; it can't tell another seed, mirrored, JPEG 75" in first.sentence("mean@1")
    assert found_before("brightness", "mean@2") == ()
    path.write_text(json.dumps({"sets": [{"name": "x"}]}))
    with pytest.raises(LlmDitError, match=r"is no examination .*delete it and examine the judge again"):
        found_before("brightness", "mean@1")


def test_an_installed_package_is_not_written_into_and_a_users_own_examination_stands_in_its_place(
    examples, tmp_path, monkeypatch
):
    shipped, own = tmp_path / "package" / "found", tmp_path / "data" / "llm-dit" / "examinations"
    monkeypatch.setattr(kept, "FOLDER", shipped)
    judge, findings = Brightness(), examine(Brightness(), examples)
    keep(judge.metric, examined_now("others", "mini", 2, findings[:2]))
    keep(judge.metric, examined_now("prompts", "mini", 2, findings[:3]))
    (before,) = [(path, path.read_bytes()) for path in shipped.iterdir()]
    monkeypatch.setattr(kept, "installed_apps", lambda: tmp_path / "package")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert [len(item.findings) for item in found_before("brightness", "mean@1")] == [2, 3]
    path = keep(judge.metric, examined_now("prompts", "mini", 2, findings[:5]))
    keep(judge.metric, examined_now("zebras", "mini", 2, findings[:4]))
    assert path == own / "brightness--mean@1.json"
    assert [(item.name, len(item.findings)) for item in found_before("brightness", "mean@1")] == [
        ("others", 2),
        ("prompts", 5),
        ("zebras", 4),
    ]
    assert [(path, path.read_bytes()) for path in shipped.iterdir()] == [before]


def test_without_a_folder_for_data_it_is_the_usual_one(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "installed_apps", lambda: tmp_path)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(kept.Path, "home", lambda: tmp_path)
    assert kept.own_folder() == tmp_path / ".local" / "share" / "llm-dit" / "examinations"


def test_report_and_analysis_say_what_the_examination_of_the_judge_found(examples, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "found")
    folder = write_results(tmp_path / "results", sample_plan(axes=[axis("shift", 3.0, 4.0)]), noisy_scores({}))
    assert "was examined" not in write_report(folder).read_text()
    metric = metric_named("image_reward")
    tiny = Metric(**{**vars(metric), "model": "tiny"})
    keep(tiny, examined_now("prompts", "mini", 2, examine(Brightness(), examples)))
    text = write_report(folder).read_text()
    assert text.count("tiny was examined on 11 prompts (mini): it prefers grey (by ") == 1
    printed = CliRunner().invoke(analyze.main, [str(folder)]).output
    assert "tiny was examined on 11 prompts (mini)" in " ".join(printed.split())
    (tmp_path / "found" / "image_reward--tiny.json").write_text('{"sets": 3}')
    (note,) = examination_notes(ResultStore(folder).runs(), metric)
    assert "is no examination" in note


def test_the_command_examines_a_results_folders_baseline(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "found")
    plan = sample_plan(axes=[axis("shift", 3.0, 4.0)], prompts=7, seeds=(1, 2, 3))
    folder = write_results(tmp_path / "results", plan, noisy_scores({}))
    examined = examples_of_results(ResultStore(folder).manifest(), ResultStore(folder).runs())
    assert [(item.prompt.id, item.seed) for item in examined.examples[:3]] == [
        ("animals_000", 1),
        ("animals_000", 2),
        ("landscapes_001", 1),
    ]
    siglip = str(write_siglip(tmp_path / "siglip"))
    arguments = ["--metric", "siglip_score", "--pictures", str(folder), "--device", "cpu", "--siglip", siglip]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "SigLIP 2 (siglip@" in done.stdout
    assert "on prompts of shift_sweep, drawn by mini" in done.stdout
    lines = [line for line in done.stdout.splitlines() if " to " in line]
    assert len(lines) == 13  # two prompts ask for words, which leaves too few to be mirrored
    (file,) = (tmp_path / "found").iterdir()
    assert f"Kept in {file}" in done.stdout
    refused = CliRunner().invoke(main, [*arguments, "--metric", "pixel_diversity"])
    assert (refused.exit_code, "says nothing of better or worse" in refused.stderr) == (2, True)
    few = write_results(tmp_path / "few", sample_plan(axes=[axis("shift", 3.0, 4.0)], prompts=5), noisy_scores({}))
    refused = CliRunner().invoke(main, ["--pictures", str(few)])
    assert (refused.exit_code, "needs at least 6" in refused.stderr) == (2, True)
