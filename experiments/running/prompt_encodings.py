"""Each distinct formatted prompt encoded once, with every hidden layer that some run needs, and dropped after use.

A prompt is encoded before its first run, while the device draws the run before. Where the text encoder's layers are
streamed, prompts are encoded ahead in groups, since the layers come once for many. What is held is bounded, since long
prompts at many layers are large: where prompts come back later, as with several sizes, the runs are taken in blocks of
as many prompts as may be held.
"""

from __future__ import annotations

import heapq
import time
import weakref
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.running.worklist import WorkItem
from llm_dit.errors import LlmDitError
from llm_dit.parameters.hidden_layers import Layer, from_the_last
from llm_dit.prompting.chat_template import user_texts

if TYPE_CHECKING:
    from llm_dit.pipeline import ZImagePipeline
    from llm_dit.stages.text_encoder import EncodedPrompt

GROUP_BYTES = 1 << 30
GROUP_PROMPTS = 64
"""So much is held at most; a single run's own prompts may be larger."""
RUN_ERRORS = (LlmDitError, RuntimeError, MemoryError)
"""What fails a run and no others: its parameters, and whatever torch raises from a device (out of memory is a
RuntimeError)."""


@dataclass(frozen=True)
class Waiting:
    """A prompt that will be encoded with the others of its group, and what it will take, in bytes."""

    nbytes: int


@dataclass(frozen=True)
class TimedEncoding:
    """An encoded prompt and the seconds it took."""

    encoded: EncodedPrompt
    seconds: float


class KeptEncodings:
    """Encodings that outlive a change of transformer or VAE: those of one text encoder.

    Args:
        limit: Most bytes that are held; further encodings are made again. 0 keeps none.
    """

    def __init__(self, limit: int = GROUP_BYTES) -> None:
        self._limit = limit
        self._encoder: weakref.ref[Any] | None = None
        self._held: dict[str, TimedEncoding] = {}
        self._bytes = 0

    def begin(self, encoder: Any) -> None:
        """Take encodings of `encoder`, and forget those of any other."""
        if self._encoder is None or self._encoder() is not encoder:
            self._encoder, self._held, self._bytes = weakref.ref(encoder), {}, 0

    def get(self, text: str, layers: Iterable[Layer]) -> TimedEncoding | None:
        """Return a text's encoding at these hidden layers; None where it has to be made."""
        found = self._held.get(text)
        return found if found is not None and set(layers) <= found.encoded.embeddings.keys() else None

    def put(self, text: str, encoding: TimedEncoding) -> None:
        """Keep an encoding if there is room."""
        size = _bytes_of(encoding) - _bytes_of(self._held.get(text))
        if self._bytes + size <= self._limit:
            self._held[text] = encoding
            self._bytes += size


class EncodingCache:
    """Encoded prompts of the runs that are next.

    Args:
        pipeline: Encodes them.
        items: The runs.
        kept: Encodings of earlier runs, and where those of these runs go as well; None keeps none.
    """

    def __init__(self, pipeline: ZImagePipeline, items: Sequence[WorkItem], kept: KeptEncodings | None = None) -> None:
        self._pipeline = pipeline
        self._items = items
        self._kept = kept or KeptEncodings(limit=0)
        self._kept.begin(pipeline.text_encoder)
        self._uses = Counter(text for item in items for text in _texts(item))
        layers: dict[str, set[Layer]] = {}
        for item in items:
            for text in _texts(item):
                layers.setdefault(text, set()).update(share.layer for share in item.run.params.layer_shares)
        self._layers = layers
        self._held: dict[str, Waiting | TimedEncoding | Exception] = {}
        self._held_bytes = 0

    def groups(self) -> Iterator[list[WorkItem]]:
        """Yield the runs in groups whose prompts are all encoded when the group is there.

        A group has to be drawn, each of its runs released, before the next one is asked for.
        """
        group: list[WorkItem] = []
        for item, begins_block in self._in_blocks():
            if group and (begins_block or not self._has_room(item)):
                self._encode_waiting()
                yield group
                group = []
            self._make_room(item)
            for text in _texts(item):
                self._ask_for(text, item)
            group.append(item)
            if self._is_full() or self._pipeline.text_encoder.stream is None:
                self._encode_waiting()
                yield group
                group = []
        if group:
            self._encode_waiting()
            yield group

    def _in_blocks(self) -> Iterator[tuple[WorkItem, bool]]:
        """Yield the runs in order, but all runs of the prompts in hand before those of prompts that find no room.

        The switch says that prompts that had found none begin a new block.
        """
        runs_of: dict[str, deque[tuple[int, WorkItem]]] = {}
        for index, item in enumerate(self._items):
            runs_of.setdefault(item.formatted_prompt, deque()).append((index, item))
        unseen = deque(runs_of)  # in the order of their first runs
        in_hand: list[tuple[int, str]] = []  # a heap of each prompt's next run
        is_open = True
        while unseen or in_hand:
            begins_block = not (in_hand or is_open)
            is_open = begins_block or (is_open and bool(unseen) and self._has_room(runs_of[unseen[0]][0][1]))
            if unseen and (not in_hand or (is_open and runs_of[unseen[0]][0][0] < in_hand[0][0])):
                text = unseen.popleft()
                heapq.heappush(in_hand, (runs_of[text][0][0], text))
            _, text = heapq.heappop(in_hand)
            _, item = runs_of[text].popleft()
            if runs_of[text]:
                heapq.heappush(in_hand, (runs_of[text][0][0], text))
            yield item, begins_block

    def get(self, text: str) -> TimedEncoding:
        """Return an encoded prompt.

        Raises:
            RuntimeError: The text encoder's own error, if it failed.
        """
        held = self._held[text]
        if isinstance(held, Exception):
            raise held
        assert isinstance(held, TimedEncoding)
        return held

    def release(self, item: WorkItem) -> None:
        """Drop what no later run needs."""
        for text in _texts(item):
            self._uses[text] -= 1
            if not self._uses[text]:
                self._drop(text)

    def _is_full(self) -> bool:
        return len(self._held) >= GROUP_PROMPTS or self._held_bytes >= GROUP_BYTES

    def _has_room(self, item: WorkItem) -> bool:
        """Return whether an item's prompts are held or may be encoded beside what is held."""
        missing = sum(text not in self._held for text in _texts(item))
        return not missing or (len(self._held) + missing <= GROUP_PROMPTS and self._held_bytes < GROUP_BYTES)

    def _make_room(self, item: WorkItem) -> None:
        """Drop what has been held longest until an item's prompts may be encoded; a later run encodes it again."""
        for text in [text for text in self._held if text not in _texts(item)]:
            if self._has_room(item):
                return
            self._drop(text)

    def _drop(self, text: str) -> None:
        self._held_bytes -= _bytes_of(self._held.pop(text, None))

    def _ask_for(self, text: str, item: WorkItem) -> None:
        if text in self._held:
            return
        encoder = self._pipeline.text_encoder
        if text == item.formatted_prompt:
            encoder.warn_of_special_tokens(user_texts(item.run.params))
        numbers = encoder.count_tokens(text) * encoder.width * len(self._layers[text])
        self._held[text] = Waiting(numbers * encoder.dtype.itemsize)
        self._held_bytes += _bytes_of(self._held[text])

    def _encode_waiting(self) -> None:
        """Encode all prompts that wait: those of the same layers together, or one by one where layers stay."""
        waiting = [text for text, held in self._held.items() if isinstance(held, Waiting)]
        together: dict[tuple[Layer, ...], list[str]] = {}
        for text in waiting:
            kept = self._kept.get(text, self._layers[text])
            if kept is not None:
                self._keep(text, kept)
                continue
            together.setdefault(tuple(sorted(self._layers[text], key=from_the_last)), []).append(text)
        for layers, texts in together.items():
            groups = [[text] for text in texts] if self._pipeline.text_encoder.stream is None else [texts]
            for group in groups:
                self._encode(group, layers)

    def _encode(self, texts: Sequence[str], layers: Sequence[Layer]) -> None:
        """Encode prompts together; where that fails, each by itself, so that one can't spoil the others."""
        started = time.perf_counter()
        try:
            encoded = self._pipeline.encode_prompts(texts, layers)
        except RUN_ERRORS as error:
            if len(texts) > 1:
                for text in texts:
                    self._encode([text], layers)
            else:
                self._keep(texts[0], error)
            return
        seconds = (time.perf_counter() - started) / len(texts)
        for text, item in zip(texts, encoded, strict=True):
            self._keep(text, TimedEncoding(item, seconds))
            self._kept.put(text, TimedEncoding(item, seconds))

    def _keep(self, text: str, result: TimedEncoding | Exception) -> None:
        self._held_bytes += _bytes_of(result) - _bytes_of(self._held[text])
        self._held[text] = result


def _bytes_of(held: Waiting | TimedEncoding | Exception | None) -> int:
    match held:
        case Waiting():
            return held.nbytes
        case TimedEncoding():
            return sum(tensor.numel() * tensor.element_size() for tensor in held.encoded.embeddings.values())
        case _:
            return 0


def _texts(item: WorkItem) -> list[str]:
    return [item.formatted_prompt, *([] if item.negative_prompt is None else [item.negative_prompt])]
