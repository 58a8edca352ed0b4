"""The embedded model, with faults where a folder has a note of them: what a worker of the tests loads.

A note is a file `KIND-RUN` for a run of seed and shift, as `kill-42-3.0`. Whoever comes to it takes it away, so that it
happens once; notes whose kind begins with `always` stay, and those of `waits` until the test takes them away.
"""

import os
import signal
import time
from pathlib import Path

from experiments.cluster.worker import OwnEngine
from experiments.running.models import OwnModels
from llm_dit.errors import CheckpointError


class KillsWhenSent:
    """Ends its process in the middle of the answer that it is a part of."""

    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)
        return dict, ()


class FaultyPipeline:
    """The pipeline, but for `draw` and what goes along with a picture."""

    def __init__(self, pipeline, notes):
        self._pipeline, self._notes, self._sends = pipeline, notes, False

    def __getattr__(self, name):
        return getattr(self._pipeline, name)

    def _is_noted(self, kind, params):
        note = self._notes / f"{kind}-{params.seed}-{params.shift}"
        if kind in ("always_fails", "slow", "slower", "waits"):
            return note.exists() or (self._notes / kind).exists()
        try:
            note.unlink()
        except FileNotFoundError:
            return False
        (self._notes / f"happened-{kind}").touch()
        return True

    def draw(self, params, conditioning, shared=None):
        if self._is_noted("slow", params):
            time.sleep(0.5)
        if self._is_noted("slower", params):
            time.sleep(4)
        while self._is_noted("waits", params):
            time.sleep(0.05)
        if self._is_noted("kill", params):
            os.kill(os.getpid(), signal.SIGKILL)
        if self._is_noted("hang", params):
            time.sleep(3600)
        if self._is_noted("memory", params):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if self._is_noted("always_fails", params):
            raise RuntimeError("this run always fails")
        self._sends = self._is_noted("send", params)
        return self._pipeline.draw(params, conditioning, shared)

    def metadata(self, *arguments):
        record = self._pipeline.metadata(*arguments)
        if self._sends:  # in a part of the record that the image file leaves out
            record["stage_times_s"] = {**record["stage_times_s"], "killer": KillsWhenSent()}
        return record


class Known:
    """What is known of a model, on the node's own kind of device."""

    def __init__(self, known, marked):
        self._known, self._marked = known, marked

    def __getattr__(self, name):
        return getattr(self._known, name)

    def surroundings(self):
        return self._marked(self._known.surroundings())


class FaultyModels(OwnModels):
    """Loads the model with the faults of a folder."""

    def __init__(self, notes, marked):
        super().__init__()
        self._notes, self._marked = notes, marked

    def known(self, settings, planned):
        known = Known(super().known(settings, planned), self._marked)
        if "CARD_OF_NODE" in os.environ and (self._notes / "no_weights").exists():
            raise CheckpointError("There is no model here.")
        if "CARD_OF_NODE" in os.environ and (self._notes / "other_weights").exists():
            known.fingerprint = "f" * 64
        return known

    def get(self, settings, planned):
        return FaultyPipeline(super().get(settings, planned), self._notes)


class FaultyEngine(OwnEngine):
    """Brings such models to a worker."""

    def __init__(self, notes):
        self._notes = Path(notes)

    def surroundings(self, settings, threads):
        return self._marked(super().surroundings(settings, threads))

    def models(self):
        return FaultyModels(self._notes, self._marked)

    def _marked(self, surroundings):
        """Name the card that the node was started with, where a note asks for it."""
        card = os.environ.get("CARD_OF_NODE")
        if card is None or not (self._notes / "kinds").exists():
            return surroundings
        return {**surroundings, "machine": {**surroundings["machine"], "card": card}}
