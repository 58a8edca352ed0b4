"""Every command of README.md, CONTRIBUTING.md and docs/ runs, or needs what is told here and a test machine lacks.

They run in one folder of their own with the embedded model, beside small results of the experiments that the pages
speak of. A command that draws is given a place of its own and what makes it small (`SMALL`: the same work on fewer,
smaller pictures; `FEWER` for what is long in another way); one that starts workers is given `--dry-run`. Words that
stand for the reader's own files are replaced by such files, and files of a model or a LoRA are written from the
embedded model. tests/test_first_experiment.py runs the README's experiment as it stands.
"""

from __future__ import annotations

import importlib
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import torch
from click.testing import CliRunner
from model_files import encoder_llama_tensors, encoder_tensors, transformer_tensors, vae_tensors, write_file, write_gguf
from safetensors.torch import save_file
from test_documented_commands import NEEDED, PAGES, ROOT, documented, words_of
from web_server import wait_until

from experiments.examination import examples, kept
from experiments.prompts import read_prompts
from experiments.store.result_store import ResultStore
from experiments.voting.votes_file import Vote, append_votes
from llm_dit.checkpoints.finding import EMBEDDED_MODELS
from llm_dit.commands import COMMANDS, script

pytestmark = pytest.mark.slow  # some ninety commands

MINI = EMBEDDED_MODELS / "mini"
SMALL_PICTURE = ["--steps", "1", "--width", "64", "--height", "64"]
SMALL = ["--max-prompts", "2", *SMALL_PICTURE]
LOOKED_AT = ["--max-prompts", "8", *SMALL_PICTURE]
"""The fewest prompts with two looks."""
FEWER = {"benchmarks.run_all": ["--only", "products"]}
NO_GPU, NO_WEIGHTS, NO_CLUSTER = "a GPU", "published weights, which are a download", "a Ray cluster"
IS_THE_SUITE = "nothing: it is what runs this test, or a part of it"
LACKED = {
    "--device cuda": NO_GPU,
    "--config full": NO_GPU,
    "speed_and_fidelity": NO_GPU,
    "bench_cluster": NO_GPU,
    "bench_scoring": NO_GPU,
    "bench_cards": NO_GPU,
    "benchmarks.aims": NO_GPU,
    "full_size": NO_GPU,
    "Tongyi-MAI": NO_WEIGHTS,
    "pick_score": NO_WEIGHTS,
    "--metric brightness": "the metric that the page adds",
    "negative_prompt --max-prompts": "nothing: see test_the_experiment_that_a_page_adds",
    "negative_prompt --dry-run": "nothing: see test_the_experiment_that_a_page_adds",
    "--ray-address": NO_CLUSTER,
    "uv sync": "the package registry",
    "uv run pytest": IS_THE_SUITE,
    "make ": "nothing: CI runs what they start",
    "write_reference": "nothing: it writes into the checkout what test_parameters compares",
    "RESULTS_DIR --workers": "nothing: tests/experiments/cluster/test_on_ray.py scores on workers",
}
"""A part of commands that are not run below, and what the machine of a test lacks for them."""
STANDS_FOR = {
    "RESULTS_DIR": "experiments/results/shift_sweep",
    "DIR": "experiments/results/grid",
    "DIR_A": "experiments/results/shift_sweep",
    "DIR_B": "experiments/results/again",
    "FILE": "mini",
    "FILE_OR_FOLDER": "mini",
    "experiments/results/long_prompt_mode": "experiments/results/grid",
}
"""Words of the pages for what a reader has."""
RESULTS = (
    "--experiment shift_sweep --prompt-set first --max-prompts 3 --steps 1",
    "--experiment shift_sweep --prompt-set first --max-prompts 3 --steps 2 --name again",
    "--experiment hidden_layer --prompt-set first --max-prompts 3 --steps 1",
    "--sweep shift=2.0,6.0 --sweep num_inference_steps=2,4 --prompt-category landscapes,animals --max-prompts 4"
    " --name grid",
    "--experiment quantization --prompt-set first --max-prompts 2 --steps 1",
)
OWN_FILES = re.compile(r"[\w./~-]+\.(?:safetensors|gguf)")


def all_to_run() -> list[str]:
    """Return every command once that is not lacked for, drawing commands first."""
    commands = dict.fromkeys(command for _, command in documented())
    found = [
        command
        for command in commands
        if not any(command == start or command.startswith(f"{start} ") for start in NEEDED)
        and not any(part in command for part in LACKED)
    ]
    return sorted(found, key=lambda command: "run_ablation" not in command)


def is_a_page(command: str) -> bool:
    """True for what goes on until it is interrupted."""
    return "web/server.py" in command or ("experiments/vote.py" in command and "--add" not in command)


def to_run() -> list[str]:
    """Return those that end by themselves and need no file of the reader's."""
    return [command for command in all_to_run() if not is_a_page(command) and not OWN_FILES.search(command)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A reader's folder with results of the pages' experiments."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "mine.csv").write_text("prompt,category\n" + "".join(f"A red apple {n},things\n" for n in range(12)))
    shutil.copy(ROOT / "config.toml.example", folder / "config.toml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in RESULTS:
            small = ["--width", "64", "--height", "64", "--compute-metrics"]
            invoke("experiments/run_ablation.py", [*words.split(), *small])
        write_a_vote(folder / "experiments" / "results" / "shift_sweep", folder / "votes-shift_sweep.jsonl")
        yield folder


def write_a_vote(results: Path, exported: Path) -> None:
    """Write a file of votes as a report exports it."""
    left, right, *_ = [record.run_id for record in ResultStore(results).runs()]
    vote = Vote("a", "Ada", "2026-01-01T00:00:00+00:00", left, right, ("0" * 64, "1" * 64), "left", 0.5, 0.5, 0.1)
    append_votes(results, [vote])
    (results / "votes.jsonl").rename(exported)


def invoke(path: str, arguments: list[str]) -> str:
    name = next(name for name, file in COMMANDS.items() if file == path)
    done = CliRunner().invoke(script(name).main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", to_run())
def test_a_documented_command_runs(place, command, monkeypatch):
    if "metrics/examine.py" in command:
        few_examples(monkeypatch, place)
    match words_of(command):
        case ["uv", "run", "python", "-m", module, *rest] | ["python", "-m", module, *rest]:
            run_module(module, rest)
        case ["uv", "run", path, *rest]:
            run_script(place, path, [STANDS_FOR.get(word, word) for word in rest])
        case ["llm-dit", name, *rest]:
            run_script(place, COMMANDS[name], rest)
        case _:
            pytest.fail(f"nothing runs {command!r}, and LACKED does not say why")


def few_examples(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """Let judges be examined on a tenth of the pictures, and what is found be kept in `place`."""
    monkeypatch.setattr(kept, "FOLDER", place / "found")
    monkeypatch.setattr(examples, "SEEDS", (42,))
    monkeypatch.setattr(examples, "read_prompts", lambda path: read_prompts(path)[:7])


def run_module(module: str, arguments: list[str]) -> None:
    if module in FEWER:
        done = CliRunner().invoke(importlib.import_module(module).main, [*arguments, *FEWER[module]])
        assert done.exit_code == 0 and " ok" in done.output, done.output
        return
    small = ["--size", "64x64", "--iterations", "1", "--warmup", "0", "--no-count-compilations"]
    named = [word for word in arguments if not re.fullmatch(r"--size|\d+x\d+|--variant|eager|compiled", word)]
    done = CliRunner().invoke(importlib.import_module(module).main, [*named, *small], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def run_script(place: Path, path: str, arguments: list[str]) -> None:
    if path == "experiments/run_ablation.py" and "--list" not in arguments[0]:
        # in a place of its own, not among the results of other sizes
        shutil.rmtree(place / "drawn", ignore_errors=True)
        arguments = [*arguments, *what_makes_it_small(arguments), "--output-dir", "drawn"]
    if path in COMMANDS.values():
        assert invoke(path, arguments).strip(), "a command says what it did"
        assert [name for name in written_by(arguments) if not (place / name).exists()] == []
        return
    done = subprocess.run([sys.executable, str(ROOT / path), *arguments], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def what_makes_it_small(arguments: list[str]) -> list[str]:
    if "--dry-run" in arguments:
        return []
    if "--workers" in arguments:  # processes of their own; tests/experiments/cluster starts them
        return ["--dry-run"]
    return LOOKED_AT if {"--until-decided", "--find-best"} & {*arguments} else SMALL


def written_by(arguments: list[str]) -> list[str]:
    return [arguments[index + 1] for index, word in enumerate(arguments) if word in ("-o", "--tables")]


@pytest.mark.parametrize("command", [command for command in all_to_run() if is_a_page(command)])
def test_the_page_comes_up(place, command):
    """As a process of its own, on a free port, until it is interrupted as a reader does."""
    path, *rest = [STANDS_FOR.get(word, word) for word in words_of(command)[2:]]
    if "vote.py" in path:
        rest.append("--no-open")
    port = free_port()
    with subprocess.Popen([sys.executable, str(ROOT / path), *rest, "--port", str(port)], cwd=place) as server:
        try:
            wait_until(lambda: server.poll() is not None or answers(port), 120)
            assert server.poll() is None, "it ended by itself; its message is above"
            assert "<html" in httpx.get(f"http://127.0.0.1:{port}/", follow_redirects=True).text
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(60) == 0


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", timeout=5, follow_redirects=True).is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("flags", [["--dry-run"], [*SMALL, "--output-dir", "drawn"]])
def test_the_experiment_that_a_page_adds(place, flags):
    page = (ROOT / "docs" / "add_an_experiment.md").read_text(encoding="utf-8")
    (entry,) = re.findall(r"^    negative_prompt:\n(?:      .*\n)+", page, re.MULTILINE)
    body = "".join(f"  {line[4:]}\n" for line in entry.splitlines())
    (place / "own.yaml").write_text(f"version: 1\nexperiments:\n{body}")
    told = invoke(
        "experiments/run_ablation.py", ["--experiments-file", "own.yaml", "--experiment", "negative_prompt", *flags]
    )
    assert "none" in told and "blurry" in told if flags == ["--dry-run"] else "4 images made" in told


@pytest.fixture(scope="module")
def own_files(tmp_path_factory) -> Path:
    """The embedded model in files as readers have them, and LoRAs for it; the reader's home folder lies there too."""
    folder = tmp_path_factory.mktemp("files")
    transformer, encoder = transformer_tensors(MINI), encoder_tensors(MINI)
    write_file(folder / "qwen_3_4b.safetensors", encoder, MINI / "text_encoder")
    write_file(folder / "ae.safetensors", vae_tensors(MINI), MINI / "vae")
    shutil.copytree(MINI / "tokenizer", folder / "tokenizer")
    packed = {name: "Q8_0" for name, tensor in transformer.items() if ".feed_forward." in name and tensor.dim() == 2}
    for name, path in (
        ("transformer", write_gguf(folder / "z_image_turbo-Q4_K_M.gguf", transformer, packed)),
        ("text_encoder", write_gguf(folder / "Qwen3-4B-Q8_0.gguf", encoder_llama_tensors(MINI), None, "qwen3")),
    ):
        shutil.copy(MINI / name / "config.json", path.with_suffix(".json"))
    models = folder / "ComfyUI" / "models"
    write_file(
        models / "diffusion_models" / "z_image_turbo_bf16.safetensors",
        {name: tensor.bfloat16() for name, tensor in transformer.items()},
        MINI / "transformer",
    )
    write_file(models / "text_encoders" / "qwen_3_4b.safetensors", encoder, MINI / "text_encoder")
    write_file(models / "vae" / "ae.safetensors", vae_tensors(MINI), MINI / "vae")
    shutil.copytree(MINI / "tokenizer", models / "text_encoders" / "tokenizer")
    width = transformer["layers.0.attention.out.weight"].shape[0]
    for seed, name in enumerate(("style", "detail")):
        delta = 0.05 * torch.randn(width, width, generator=torch.Generator().manual_seed(seed))
        save_file({"diffusion_model.layers.0.attention.to_q.diff": delta}, folder / f"{name}.safetensors")
    return folder


@pytest.mark.parametrize("command", [command for command in all_to_run() if OWN_FILES.search(command)])
def test_a_command_with_the_readers_own_files_runs(own_files, tmp_path, monkeypatch, command):
    """In a folder with the files that it names, and with those that it finds by itself: one encoder and the VAE."""
    named = {Path(name).name for name in OWN_FILES.findall(command)}
    named |= {"ae.safetensors"} | (set() if any("wen" in name for name in named) else {"qwen_3_4b.safetensors"})
    for name in named:
        for path in own_files.glob(f"{Path(name).stem}.*"):
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "tokenizer").symlink_to(own_files / "tokenizer")
    monkeypatch.setenv("HOME", str(own_files))
    monkeypatch.chdir(tmp_path)
    _, _, path, *arguments = words_of(command)
    told = invoke(path, [*arguments, *(SMALL if "run_ablation" in path else SMALL_PICTURE)])
    assert (tmp_path / told.strip().splitlines()[-1]).exists() or "images made" in told


@pytest.mark.parametrize("page", [page for page in PAGES if page.name in ("README.md", "metrics.md")])
def test_the_python_of_a_page_runs(place, page, monkeypatch):
    text = page.read_text(encoding="utf-8")
    written = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    written += [
        re.sub("^    ", "", block, flags=re.MULTILINE)
        for block in re.findall(r"^    from llm_dit import .*\n(?:    .*\n|\n(?=    ))*", text, re.MULTILINE)
    ]
    (lines,) = written
    monkeypatch.chdir(place)
    names: dict[str, object] = {}
    if "images" in lines:
        picture = next((place / "experiments" / "results" / "shift_sweep" / "images").glob("*.png"))
        shutil.copy(picture, "output.png")
        names |= {"images": ["output.png", picture], "prompts": ["A cat", "A dog"]}
        lines = re.sub(r'model="google/.*?"', "model='siglip-mini'", lines)  # published weights, which are a download
    exec(lines, names)


def test_what_is_lacked_for_is_documented_and_no_command_is_forgotten():
    commands = [command for _, command in documented()]
    assert [part for part in LACKED if not any(part in command for command in commands)] == []
    assert len(to_run()) >= 45
