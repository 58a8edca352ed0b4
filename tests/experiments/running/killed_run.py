"""Runs until it is decided, of which some kill themselves: `killed_run.py WHOLE PARTS WHAT:NUMBER...`.

The first goes to WHOLE and lives. Each of the others goes on in PARTS, in a process of its own, and sends itself
SIGKILL when it begins the NUMBER-th WHAT: `picture`, `scores` or `manifest`. Prints their exit codes as JSON. Processes
are forks, which have everything imported.
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[2]))

from fake_pipeline import FakePipeline

import experiments.metrics
from experiments.planning.command_flags import request_from_arguments
from experiments.running.experiment_run import run_experiment
from experiments.running.one_device import OneDevice
from experiments.store.result_store import ResultStore
from llm_dit.config import Config

ARGUMENTS = ("--sweep=shift=1..3", "--max-prompts=14", "--name=s", "--until-decided=siglip_score", "--margin=0.5")
EFFECTS = {1.0: -0.9, 2.0: 0.0, 3.0: 0.0}


def main(whole: str, parts: str, *instants: str) -> None:
    """Run, and die at the given instants if they come."""
    seen = {"picture": 0, "scores": 0, "manifest": 0}
    deadly = ("", 0)

    def note(kind: str) -> None:
        seen[kind] += 1
        if (kind, seen[kind]) == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(kind, function):
        def noted(*arguments, **values):
            note(kind)
            return function(*arguments, **values)

        return noted

    def score(row):
        file = row.image.parents[1] / "metadata" / f"{row.image.stem}.json"
        shift = json.loads(file.read_text())["parameters"]["shift"]
        noise = int(hashlib.sha256(f"{row.prompt}{shift}".encode()).hexdigest()[:8], 16) / 2**32
        return {"siglip_score": EFFECTS[shift] + noise}

    metric = SimpleNamespace(
        name="siglip_score", model="m", compares_seeds=0, direction="higher", fidelity=None, needs=""
    )
    judge = SimpleNamespace(
        metric=metric,
        move_to=lambda device: None,
        score_rows=before("scores", lambda rows: [score(row) for row in rows]),
    )
    experiments.metrics.load_configured_scorers = lambda *arguments, **values: [judge]
    FakePipeline.draw = before("picture", FakePipeline.draw)
    ResultStore.write_manifest = before("manifest", ResultStore.write_manifest)
    model = SimpleNamespace(get=lambda *_: OneDevice.of(FakePipeline()), check=lambda _: None, release=lambda: None)

    def run(folder: str) -> None:
        asked = request_from_arguments([*ARGUMENTS, f"--output-dir={folder}"], Config({"num_inference_steps": 4}))
        run_experiment(asked, model, command="c")

    run(whole)
    codes = []
    for instant in instants:
        child = os.fork()
        if not child:
            what, number = instant.split(":")
            seen, deadly = dict.fromkeys(seen, 0), (what, int(number))
            run(parts)
            os._exit(0)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(json.dumps(codes))


if __name__ == "__main__":
    main(*sys.argv[1:])
