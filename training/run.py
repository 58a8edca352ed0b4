"""All stages in order, side by side where they do not need one another, on one or two devices within a time.

    processor   scorer tokenizer, data 0 | contrasts, data 1, the judge's data |
    device 0                             | language model | judge              | reward, scorers' table
    device 1                             | VAE                                 | siglip, judge's table
    all                                                   | transformer        |

With one device, all share it. The transformer compiles while the VAE still trains; the scorers render while it ends.

Each stage is a process with a log in `BUILD/logs`; one that has written its weights already is skipped, so an
interrupted run goes on where it was. `retrieval`, `check_rewriter` and `export` are run by hand, without accelerator.

With `--train-on` all stages begin with the weights of exported models: the VAE stays, of the language model only the
last layer learns (the conditioning stays as it is), and the rest is trained on.

Usage: `python -m training.run --build training/build --world training/build/sprites.npz
--tokenizer training/build/tokenizer --prompts experiments/prompts/standard_prompts.yaml --seconds 1200`
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import click
import torch

from training.stages.restore import restore_pipeline

MODULES = {
    "dataset": "training.stages.dataset",
    "contrasts": "training.stages.contrasts",
    "scorer_tokenizer": "training.stages.scorer_tokenizer",
    "language_model": "training.stages.language_model",
    "vae": "training.stages.vae",
    "denoiser": "training.stages.denoiser",
    "siglip": "training.stages.siglip_mini",
    "reward": "training.stages.reward_mini",
    "judge": "training.checks.judge",
    "evaluate": "training.checks.evaluate",
    "check_scorers": "training.checks.check_scorers",
}
"""The command of each stage."""
SHARES = {"language_model": 0.088, "vae": 0.185, "judge": 0.1, "siglip": 0.08, "reward": 0.085, "evaluate": 0.035}
"""Shares of the whole time; the transformer gets what is left."""
NEEDED = ("dataset0", "dataset1", "scorer_tokenizer", "language_model", "vae", "denoiser")
"""Stages without which the later ones make no sense."""
CONTRASTS_SEED = 5
JUDGE_SEED = 101
HELD_OUT_SHARE = 0.12
"""Share of the judge's scenes about pairs that all other stages never see."""
SHIPPED = "shipped"
"""Folder in the build with the weights that a run trains on."""
START_UP_S = 30.0
"""Seconds that a process needs to import, and to render or read before it trains."""


@dataclass
class Plan:
    """Where things are and how long they may take."""

    build: Path
    world: Path
    tokenizer: Path
    seconds: float
    devices: int
    samples: int
    prompts: Path | None
    train_on: Path | None = None
    seed: int = 0
    start: float = field(default_factory=time.time)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def share(self, stage: str) -> float:
        """Seconds of a stage."""
        return SHARES[stage] * self.seconds

    def start_of(self, stage: str) -> list[str]:
        """Options by which a stage goes on from the weights of `train_on`; none without it."""
        if self.train_on is None:
            return []
        transformer = self.build / SHIPPED / "transformer.safetensors"
        return {
            "language_model": ["--start", str(self.train_on / "mini" / "text_encoder"), "--last-layer-only"],
            "denoiser": ["--start", str(transformer), "--learning-rate", "2e-3", "--guided-from", "0.3"],
            "siglip": ["--start", str(self.train_on / "siglip-mini")],
            "reward": ["--start", str(self.train_on / "image-reward-mini")],
        }.get(stage, [])

    @property
    def scorers_end(self) -> float:
        """Clock time at which the scorers are done."""
        return self.start + self.seconds - self.share("evaluate")

    @property
    def denoiser_end(self) -> float:
        """Clock time at which the transformer is done."""
        return self.scorers_end - self.share("reward") - 10.0

    def launch(
        self, stage: str, device: int | None, *arguments: str, name: str | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a stage as a process that sees one device (None: all)."""
        environment = dict(os.environ, PYTHONUNBUFFERED="1", OMP_NUM_THREADS="8")
        if device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = str(min(device, self.devices - 1))
        spread = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(self.devices)]
        runner = [sys.executable, *(spread if device is None else []), "-m", MODULES[stage]]
        log = (self.build / "logs" / f"{name or stage}.log").open("ab")
        print(f"[{time.time() - self.start:6.1f}] start {name or stage} {' '.join(arguments)}", flush=True)
        process = subprocess.Popen([*runner, *arguments], stdout=log, stderr=subprocess.STDOUT, env=environment)
        self.running.append(process)
        return process

    def finish(self, process: subprocess.Popen[bytes], name: str) -> None:
        """Wait for a stage; a failure is said at once and ends the run only where others need the stage.

        Raises:
            click.ClickException: If a stage in `NEEDED` failed.
        """
        has_failed = process.wait() != 0
        print(f"[{time.time() - self.start:6.1f}] {'FAILED' if has_failed else 'done'} {name}", flush=True)
        if has_failed and name in NEEDED:
            raise click.ClickException(f"stage {name} failed; see {self.build / 'logs' / name}.log")

    def stop(self) -> None:
        """End the stages that still run."""
        for process in self.running:
            if process.poll() is None:
                process.terminate()


def make_data(plan: Plan, rank: int) -> None:
    """Sample the world for one device."""
    folder = plan.build / "data" / f"train{rank}"
    if not (folder / "captions.json").exists():
        places = ["--world", str(plan.world), "--tokenizer", str(plan.tokenizer), "--output", str(folder)]
        counts = ["--count", str(plan.samples), "--seed", str(plan.seed + rank + 1)]
        plan.finish(plan.launch("dataset", 0, *places, *counts, name=f"dataset{rank}"), f"dataset{rank}")


def make_judge_data(plan: Plan) -> subprocess.Popen[bytes] | None:
    """Start sampling the judge's own data, which alone shows the held-out pairs."""
    folder = plan.build / "data" / "judge0"
    if (folder / "captions.json").exists():
        return None
    places = ["--world", str(plan.world), "--tokenizer", str(plan.tokenizer), "--output", str(folder)]
    counts = ["--count", str(plan.samples), "--seed", str(plan.seed + JUDGE_SEED)]
    facts = ["--with-truth", "--held-out-share", str(HELD_OUT_SHARE)]
    return plan.launch("dataset", 0, *places, *counts, *facts, name="judge_data")


def run_stages(plan: Plan) -> None:
    """Run everything that trains, then the checks."""
    world, tokenizer, build = (
        ["--world", str(plan.world)],
        ["--tokenizer", str(plan.tokenizer)],
        ["--build", str(plan.build)],
    )
    data = ["--data", str(plan.build / "data" / "train0")]
    contrasts = ["--contrasts", str(plan.build / "data" / "contrasts")]
    start = _once(plan)

    words = plan.build / "scorer_tokenizer.json"
    tokens = None if words.exists() else plan.launch("scorer_tokenizer", 0, *world, "--output", str(words))
    make_data(plan, 0)
    _wait(plan, tokens, "scorer_tokenizer")
    pairs = None
    if not Path(contrasts[1], "captions.json").exists():
        seed = ["--seed", str(plan.seed + CONTRASTS_SEED)]
        pairs = plan.launch("contrasts", 0, *world, "--words", str(words), *seed, "--output", contrasts[1])
    language_model = start("language_model", 0, [*data, *tokenizer, *_output(plan, "language_model")], "language_model")
    vae = start("vae", 1, [*world, *data, *_output(plan, "vae")], "vae")
    for rank in range(1, plan.devices):
        make_data(plan, rank)
    judge_data = make_judge_data(plan)

    _wait(plan, language_model, "language_model")
    shards = ["--data", str(plan.build / "data" / "train"), "--seconds", str(plan.seconds)]
    until = ["--until", str(plan.denoiser_end)]
    denoiser = start("denoiser", None, [*world, *shards, *tokenizer, *build, *until], "transformer")
    _wait(plan, judge_data, "judge_data")
    shown = ["--data", str(plan.build / "data" / "judge0")]
    judge = start("judge", 0, [*world, *shown, *build], "judge")
    _wait(plan, pairs, "contrasts")
    _wait(plan, vae, "vae")
    _wait(plan, judge, "judge")

    time.sleep(max(0.0, plan.denoiser_end - START_UP_S - time.time()))
    reward = siglip = None
    if Path(contrasts[1], "captions.json").exists():
        scorers_until = ["--until", str(plan.scorers_end)]
        reward = start("reward", 0, [*world, *data, *contrasts, *tokenizer, *build, *scorers_until], "reward")
        siglip = start("siglip", 1, [*world, *data, *contrasts, *tokenizer, *build, *scorers_until], "siglip")
    _wait(plan, denoiser, "denoiser")
    output = ["--output", str(plan.build / "evaluation")]
    prompts = ["--prompts", str(plan.prompts)] if plan.prompts else []
    evaluation = plan.launch("evaluate", 1, *world, *tokenizer, *build, *output, *prompts)
    _wait(plan, siglip, "siglip")
    _wait(plan, reward, "reward")
    if all((plan.build / f"{name}.safetensors").exists() for name in ("siglip", "reward", "judge")):
        plan.finish(plan.launch("check_scorers", 0, *world, *tokenizer, *build, *output), "check_scorers")
    plan.finish(evaluation, "evaluate")


def bring_shipped(plan: Plan, models: Path) -> None:
    """Lay out what stays of exported models: the VAE and the scorers' tokenizer; the transformer waits apart."""
    restore_pipeline(models / "mini", plan.build / SHIPPED)
    for name in ("vae.safetensors", "vae.json"):
        shutil.copy(plan.build / SHIPPED / name, plan.build / name)
    shutil.copy(models / "siglip-mini" / "tokenizer.json", plan.build / "scorer_tokenizer.json")


def _once(plan: Plan) -> Callable[..., subprocess.Popen[bytes] | None]:
    """Return a function that starts a stage with its share of the time, unless its weights are there."""

    def start(stage: str, device: int | None, arguments: list[str], product: str) -> subprocess.Popen[bytes] | None:
        if (plan.build / f"{product}.safetensors").exists():
            return None
        seconds = ["--seconds", str(plan.share(stage))] if stage in SHARES else []
        return plan.launch(stage, device, *arguments, *plan.start_of(stage), *seconds)

    return start


def _wait(plan: Plan, process: subprocess.Popen[bytes] | None, name: str) -> None:
    if process is not None:
        plan.finish(process, name)


def _output(plan: Plan, stage: str) -> list[str]:
    return ["--output", str(plan.build / f"{stage}.safetensors")]


@click.command()
@click.option("--build", type=click.Path(path_type=Path), required=True, help="Folder of everything that is made.")
@click.option("--world", type=click.Path(path_type=Path), required=True)
@click.option("--tokenizer", type=click.Path(path_type=Path), required=True)
@click.option("--seconds", type=float, default=1200.0, help="Time for all stages together.")
@click.option("--samples", type=int, default=600_000, help="Samples of the world for each device.")
@click.option(
    "--prompts", type=click.Path(path_type=Path), default=None, help="YAML of standard prompts to judge as well."
)
@click.option(
    "--train-on",
    type=click.Path(path_type=Path, exists=True),
    default=None,
    help="Folder of exported models to begin with; --tokenizer must then be theirs.",
)
@click.option("--seed", type=int, default=0, help="Added to the seeds of all data; choose another to train on.")
def main(
    build: Path,
    world: Path,
    tokenizer: Path,
    seconds: float,
    samples: int,
    prompts: Path | None,
    train_on: Path | None,
    seed: int,
) -> None:
    """Train the miniature and its scorers."""
    (build / "logs").mkdir(parents=True, exist_ok=True)
    devices = max(1, torch.cuda.device_count())
    plan = Plan(build, world, tokenizer, seconds, devices, samples, prompts, train_on, seed)
    if train_on is not None:
        bring_shipped(plan, train_on)
    try:
        run_stages(plan)
    finally:
        plan.stop()


if __name__ == "__main__":
    main()
