"""A fast engine for the page's tests: its images are a function of prompt and seed, so that mix-ups show."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from llm_dit.checkpoints.hidden_layers import check_hidden_layers
from llm_dit.checkpoints.scheduler import ModelScheduler
from llm_dit.errors import NonFiniteLatents
from llm_dit.parameters import GenerationParams
from llm_dit.parameters.effects import without_effect
from llm_dit.prompting.chat_template import formatted_prompt_from_params

NATIVE_SIZE = 64


def fake_tokenizer() -> Tokenizer:
    """One token a word, special tokens whole."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>", "<think>", "</think>"])
    return tokenizer


def colour_of(prompt: str, seed: int) -> tuple[int, int, int]:
    """Return the colour of the image that the fake engine makes."""
    digest = hashlib.sha256(f"{prompt}|{seed}".encode()).digest()
    return digest[0], digest[1], digest[2]


@dataclass
class Halt:
    """Where an engine stops until it is told to go on, so that what passes by can be looked at.

    Attributes:
        at: It stops after having told of this step; 0: nowhere.
        may_pass: What it waits for there.
    """

    at: int = 0
    may_pass: threading.Event = field(default_factory=threading.Event)

    def after(self, step: int) -> None:
        """Wait if this is the step."""
        if step == self.at:
            self.may_pass.wait()


class HaltingEngine:
    """A real engine with a `Halt`."""

    def __init__(self, engine: Any, halt: Halt) -> None:
        self._engine = engine
        self._halt = halt

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def generate(self, params: GenerationParams, *, on_step: Callable[[Any], None]) -> Any:
        def report(info: Any) -> None:
            on_step(info)
            self._halt.after(info.step)

        return self._engine.generate(params, on_step=report)


CUT_NOTICE = "The prompt has 2000 tokens; truncate brought it to 1024 (51 %)."
"""Said of a prompt with the words `very long`."""


@dataclass
class FakeEngine:
    """Makes an image of one colour in `step_s` seconds a step.

    Attributes:
        step_s: Seconds a step takes.
        gate: Every step waits for it; cleared by tests that need a job to be under way.
        halt: Where it stops, having told of a step.
        running: Images being made at this moment; the worker must keep it at 1.
    """

    step_s: float = 0.0
    hidden_layer_count: int = 7
    native_height: int = NATIVE_SIZE
    native_width: int = NATIVE_SIZE
    parts: None = None
    device: str = "cpu"
    gate: threading.Event = field(default_factory=threading.Event)
    halt: Halt = field(default_factory=Halt)
    made: list[tuple[str, int]] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    _draws: int = 0

    scheduler = ModelScheduler()

    def __post_init__(self) -> None:
        self.gate.set()
        self.text_encoder = SimpleNamespace(tokenizer=fake_tokenizer())

    def resolve(self, params: GenerationParams) -> GenerationParams:
        check_hidden_layers(params, self.hidden_layer_count)
        seed = time.monotonic_ns() % 2**32 if params.seed is None else params.seed
        return params.replaced(
            width=params.width or self.native_width,
            height=params.height or self.native_height,
            shift=3.0 if params.shift is None else params.shift,
            num_inference_steps=params.num_inference_steps or 9,
            guidance_scale=params.guidance_scale or 0.0,
            seed=seed,
        )

    def generate(self, params: GenerationParams, *, on_step: Callable[[Any], None] | None = None) -> Any:
        params = self.resolve(params)
        assert params.seed is not None
        assert params.width is not None
        assert params.height is not None
        assert params.num_inference_steps is not None
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            self._fail_if_asked(params.prompt)
            image = Image.new("RGB", (params.width, params.height), colour_of(params.prompt, params.seed))
            for step in range(1, params.num_inference_steps + 1):
                self.gate.wait()
                time.sleep(self.step_s)
                if on_step is not None:
                    on_step(SimpleNamespace(step=step, total=params.num_inference_steps, sigma=0.5, preview=image.copy))
                self.halt.after(step)
        finally:
            self.running -= 1
        self.made.append((params.prompt, params.seed))
        return SimpleNamespace(image=image, params=params, metadata=self._metadata(params))

    @staticmethod
    def _fail_if_asked(prompt: str) -> None:
        if "out of memory" in prompt:
            raise MemoryError
        if "not finite" in prompt:
            raise NonFiniteLatents("Sampling left the range of float16 at step 1; use --dtype bfloat16.")
        if "defect" in prompt:
            raise KeyError("defect")

    @staticmethod
    def _metadata(params: GenerationParams) -> dict[str, Any]:
        formatted = formatted_prompt_from_params(params)
        return {
            "parameters": params.model_dump(),
            "formatted_prompt": formatted,
            "token_count": len(formatted.split()),
            "token_count_used": len(formatted.split()),
            "notices": [
                *(item.sentence() for item in without_effect(params)),
                *([CUT_NOTICE] if "very long" in params.prompt else []),
            ],
            "model_path": "fake",
            "model_fingerprint": "0" * 64,
            "versions": {"llm-dit": "0.1.0"},
        }
