"""Each distinct formatted prompt encoded once, with every hidden layer that some run needs, and dropped after use.

A prompt is encoded before its first run, while the device draws the run before. Where the text encoder waits on the CPU
(`offload`), prompts are encoded ahead in groups, so that it moves seldom; the groups are bounded in memory, since long
prompts at many layers are large.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.running.worklist import WorkItem
from llm_dit.errors import LlmDitError
from llm_dit.prompting.chat_template import user_texts

if TYPE_CHECKING:
    from llm_dit.pipeline import ZImagePipeline
    from llm_dit.stages.text_encoder import EncodedPrompt

GROUP_BYTES = 1 << 30
GROUP_PROMPTS = 64
RUN_ERRORS = (LlmDitError, RuntimeError, MemoryError)
"""What fails a run and no others: its parameters, and whatever torch raises from a device (out of memory is a
RuntimeError)."""


@dataclass(frozen=True)
class TimedEncoding:
    """An encoded prompt and the seconds it took."""

    encoded: EncodedPrompt
    seconds: float


class EncodingCache:
    """Encoded prompts of the runs that are next.

    Attributes:
        encoded_count: Forward passes of the text encoder so far.
    """

    def __init__(self, pipeline: ZImagePipeline, items: Sequence[WorkItem]) -> None:
        self._pipeline = pipeline
        self._items = items
        self._uses = Counter(text for item in items for text in _texts(item))
        layers: dict[str, set[int]] = {}
        for item in items:
            for text in _texts(item):
                layers.setdefault(text, set()).add(item.run.params.hidden_layer)
        self._layers = layers
        self._held: dict[str, TimedEncoding | Exception] = {}
        self.encoded_count = 0

    def groups(self) -> Iterator[list[WorkItem]]:
        """Yield the runs in order, in groups whose prompts are all encoded when the group is there."""
        group_prompts = GROUP_PROMPTS if self._pipeline.text_encoder.offload else 1
        group: list[WorkItem] = []
        for item in self._items:
            group.append(item)
            for text in _texts(item):
                self._encode(text, item)
            if len(self._held) >= group_prompts or self._held_bytes() >= GROUP_BYTES:
                yield group
                group = []
        if group:
            yield group

    def get(self, text: str) -> TimedEncoding:
        """Return an encoded prompt.

        Raises:
            RuntimeError: The text encoder's own error, if it failed.
        """
        held = self._held[text]
        if isinstance(held, Exception):
            raise held
        return held

    def release(self, item: WorkItem) -> None:
        """Drop what no later run needs."""
        for text in _texts(item):
            self._uses[text] -= 1
            if not self._uses[text]:
                self._held.pop(text, None)

    def _encode(self, text: str, item: WorkItem) -> None:
        if text in self._held:
            return
        if text == item.formatted_prompt:
            self._pipeline.text_encoder.warn_of_special_tokens(user_texts(item.run.params))
        started = time.perf_counter()
        try:
            (encoded,) = self._pipeline.encode_prompts([text], sorted(self._layers[text], reverse=True))
        except RUN_ERRORS as error:
            self._held[text] = error
        else:
            self._held[text] = TimedEncoding(encoded, time.perf_counter() - started)
        self.encoded_count += 1

    def _held_bytes(self) -> int:
        return sum(
            tensor.numel() * tensor.element_size()
            for held in self._held.values()
            if isinstance(held, TimedEncoding)
            for tensor in held.encoded.embeddings.values()
        )


def _texts(item: WorkItem) -> list[str]:
    return [item.formatted_prompt, *([] if item.negative_prompt is None else [item.negative_prompt])]
