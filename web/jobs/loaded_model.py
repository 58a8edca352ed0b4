"""The model behind the page: it loads on the worker's thread while the pages answer already.

Other threads see only its state, its sizes, and a copy of its tokenizer; the worker alone uses the pipeline.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from llm_dit.checkpoints.finding import model_name
from llm_dit.checkpoints.scheduler import ModelScheduler
from llm_dit.errors import LlmDitError
from llm_dit.model_in_use import ModelInUse
from llm_dit.parameters import EngineSettings, GenerationParams

logger = logging.getLogger(__name__)

CHAT_TOKENS = ("<|im_start|>", "<|im_end|>", "<think>", "</think>")
"""Special tokens that are set apart before the model's own list is known."""


class ImageEngine(Protocol):
    """What the page needs of `llm_dit.pipeline.ZImagePipeline`."""

    @property
    def native_height(self) -> int:
        """Height of an image by default, in pixels."""

    @property
    def native_width(self) -> int:
        """Width of an image by default, in pixels."""

    @property
    def hidden_layer_count(self) -> int:
        """Valid hidden layers are -1 to minus this."""

    @property
    def scheduler(self) -> ModelScheduler:
        """The model's own noise schedule and defaults."""

    @property
    def text_encoder(self) -> Any:
        """Encoder with `.tokenizer`."""

    @property
    def parts(self) -> Any:
        """What it was read from, as `llm_dit.checkpoints.model_parts.ModelParts`; None if from no files."""

    def resolve(self, params: GenerationParams) -> GenerationParams:
        """Fill in size and seed and check what only the model can say; reads nothing that changes."""

    def generate(self, params: GenerationParams, *, on_step: Callable[[Any], None] | None = None) -> Any:
        """Make one image."""


EngineFactory = Callable[[EngineSettings], ImageEngine]


@dataclass(frozen=True)
class ModelCard:
    """What the pages show of a model.

    Attributes:
        name: The model's name, never a path of this machine.
        state: `loading`, `ready` or `failed`.
        error: Why it failed.
        native_height: Pixels; None while loading.
        native_width: Pixels; None while loading.
        hidden_layer_count: Valid hidden layers are -1 to minus this; None while loading.
        parts: What is loaded from which file: `part`, `file` (its name, without folders), `layout` and `formats`.
    """

    name: str
    state: str
    error: str | None = None
    native_height: int | None = None
    native_width: int | None = None
    hidden_layer_count: int | None = None
    parts: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class TokenizedPrompt:
    """A formatted prompt as it will be tokenised.

    Attributes:
        segments: Its parts in order; True marks a special token.
        token_count: Tokens of the whole; None until the tokenizer is there.
    """

    segments: list[tuple[str, bool]]
    token_count: int | None


class EngineHandle:
    """Loads the engine once and hands it to the worker.

    Args:
        settings: Which model, where, with which numerics.
        factory: Makes the engine; the real pipeline by default, which keeps the parts that two settings share.
    """

    def __init__(self, settings: EngineSettings, factory: EngineFactory | None = None) -> None:
        self._settings = self._loaded_settings = settings
        self._model = ModelInUse()
        self._factory: EngineFactory = factory or self._model.pipeline
        self._engine: ImageEngine | None = None
        self._failure: LlmDitError | None = None
        self._tokenizer: Any = None
        self._tokenizer_lock = threading.Lock()
        self._special_pattern = _pattern_of(CHAT_TOKENS)
        self.card = ModelCard(model_name(settings.model_path), "loading")

    def load(self) -> None:
        """Load the model; a failure is kept and told to every job."""
        try:
            self._load(self._settings)
        except LlmDitError as error:
            self._failure = error
        except Exception as error:  # the page must stay up to say so; the log has the traceback
            logger.exception("the model could not be loaded")
            self._failure = LlmDitError(
                f"The model could not be loaded ({type(error).__name__}); see the server's log."
            )
        if self._failure is not None:
            self.card = replace(self.card, state="failed", error=str(self._failure))

    def get(self, settings: EngineSettings | None = None) -> ImageEngine:
        """Return the engine, loaded anew if it was released or has other settings; only the worker's thread may use it.

        Args:
            settings: An experiment's; the page's own if None.

        Raises:
            LlmDitError: If it could not be loaded. Another job tries again, unless it was the server's first try.
        """
        if self._failure is not None:
            raise self._failure
        wanted = settings or self._settings
        if self._engine is None or not self._fits(wanted):
            self._engine = None
            self._load(wanted)
        assert self._engine is not None
        return self._engine

    def release(self) -> None:
        """Let go of the engine, so that the device is free; the next job loads it again."""
        self._engine = None
        self._model.release()

    def _load(self, settings: EngineSettings) -> None:
        self.card = replace(self.card, state="loading", error=None)
        try:
            engine = self._factory(settings)
        except LlmDitError as error:
            self.card = replace(self.card, state="failed", error=str(error))
            raise
        self._take_tokenizer(engine.text_encoder.tokenizer)
        self._engine, self._loaded_settings = engine, settings
        self.card = ModelCard(
            self.card.name,
            "ready",
            native_height=engine.native_height,
            native_width=engine.native_width,
            hidden_layer_count=engine.hidden_layer_count,
            parts=told_parts(engine.parts),
        )

    def _fits(self, wanted: EngineSettings) -> bool:
        """Return whether the engine would be the same if it was loaded as `wanted`."""
        if wanted == self._loaded_settings:
            return True
        is_alike = wanted == self._loaded_settings.replaced(compile=wanted.compile)
        applied = getattr(self._engine, "numerics", {}).get("compile")
        return is_alike and self._loaded_settings.compile == "auto" and wanted.compile == applied

    def resolve(self, params: GenerationParams) -> GenerationParams:
        """Check `params` against the model and fill them in, if it is there yet. May be called from any thread.

        Raises:
            InvalidParameter: If a parameter does not fit the model.
        """
        engine = self._engine  # the worker may let go of it meanwhile
        return params if engine is None else engine.resolve(params)

    def with_defaults(self, params: GenerationParams) -> GenerationParams:
        """Return `params` with the model's own steps and guidance where none are set, if the model is there yet."""
        engine = self._engine
        if engine is None:
            return params
        open_ones = {name: value for name, value in engine.scheduler.defaults.items() if getattr(params, name) is None}
        return params.model_copy(update=open_ones)

    def tokenize(self, formatted_prompt: str) -> TokenizedPrompt:
        """Split a formatted prompt at its special tokens and count its tokens. May be called from any thread."""
        parts = self._special_pattern.split(formatted_prompt)
        segments = [(part, index % 2 == 1) for index, part in enumerate(parts) if part]
        if self._tokenizer is None:
            return TokenizedPrompt(segments, None)
        with self._tokenizer_lock:
            encoding = self._tokenizer.encode(formatted_prompt, add_special_tokens=False)
        return TokenizedPrompt(segments, len(encoding.ids))

    def _take_tokenizer(self, tokenizer: Any) -> None:
        """Copy the tokenizer, so that counting never meets the worker's use of it."""
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        added = (token.content for token in tokenizer.get_added_tokens_decoder().values())
        self._special_pattern = _pattern_of((*CHAT_TOKENS, *added))


def told_parts(parts: Any) -> tuple[dict[str, str], ...]:
    """Return what a model was read from, for people: names of files, never places on this machine."""
    if parts is None:
        return ()
    stored = (parts.transformer, parts.text_encoder, parts.vae)
    told = [
        {"part": part.component, "file": part.path.name, "layout": part.layout, "formats": ", ".join(part.formats)}
        for part in stored
    ]
    return (*told, {"part": "tokenizer", "file": parts.tokenizer.name, "layout": "", "formats": ""})


def _pattern_of(special_tokens: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(set(special_tokens), key=len, reverse=True)
    return re.compile("(" + "|".join(re.escape(token) for token in longest_first) + ")")
