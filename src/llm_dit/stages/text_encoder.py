"""Qwen3 as text encoder: from formatted prompts to the hidden states that condition the transformer.

One prompt a pass, without padding, so that its embeddings never depend on what is encoded beside it; every layer a
caller needs comes from that pass. `hidden_layer` -1 is the state after the last layer and the final norm,
`last_before_norm` the same without the norm, -2 the one before the last layer (the reference's choice). Several are
mixed by `blended`.
Legend: L tokens, D width of the text encoder.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_args

from llm_dit.acceleration.quantization import check_quantization, check_widths
from llm_dit.checkpoints.finding import find_checkpoint
from llm_dit.checkpoints.hidden_layers import check_hidden_layer
from llm_dit.checkpoints.model_file import StoredComponent
from llm_dit.checkpoints.model_parts import find_text_encoder
from llm_dit.checkpoints.tokenizer_file import read_tokenizer
from llm_dit.checkpoints.weights import without_weights
from llm_dit.errors import CheckpointError, InvalidParameter
from llm_dit.parameters import Quantization
from llm_dit.parameters.hidden_layers import LAST_BEFORE_NORM, Layer, LayerShare
from llm_dit.placement.devices import on, resolve_device, resolve_dtype
from llm_dit.prompting.chat_template import format_prompt, special_tokens_in, special_tokens_sentence
from llm_dit.stages.block_placement import Reader, place_text_encoder

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from torch import Tensor

    from llm_dit.networks.qwen3 import Qwen3Encoder
    from llm_dit.placement.block_stream import BlockStream

logger = logging.getLogger(__name__)

STATE_BYTES = 256 << 20
"""Hidden states that prompts encoded in one pass may have on the device."""


@dataclass(frozen=True)
class EncodedPrompt:
    """One prompt after the text encoder.

    Attributes:
        formatted_prompt: What was encoded.
        embeddings: Hidden layer to hidden state, [L, D], on the CPU.
    """

    formatted_prompt: str
    embeddings: Mapping[Layer, Tensor]

    def blended(self, shares: Sequence[LayerShare]) -> Tensor:
        """Return the weighted sum of hidden states, [L, D], in their number format; added in float32.

        Weights are not brought to a sum of 1: the transformer's caption norm takes the size out, token by token, so
        only the ratio of the weights is left. A single layer of weight 1 keeps its bits.
        """
        first, *others = shares
        if not others and first.weight == 1.0:
            return self.embeddings[first.layer]
        mixed = self.embeddings[first.layer].float() * first.weight
        for share in others:
            mixed = mixed + self.embeddings[share.layer].float() * share.weight
        return mixed.to(self.embeddings[first.layer].dtype)

    @property
    def token_count(self) -> int:
        """Tokens of the whole formatted prompt."""
        return int(next(iter(self.embeddings.values())).shape[0])


@dataclass(frozen=True)
class EncoderOutput:
    """Prompts after the text encoder, at one hidden layer.

    Attributes:
        formatted_prompts: What was encoded.
        embeddings: One [L_i, D] per prompt, on the CPU.
    """

    formatted_prompts: list[str]
    embeddings: list[Tensor]


class ZImageTextEncoder:
    """Tokenizer and Qwen3 model of a checkpoint.

    Attributes:
        model: The network.
        raw_config: Content of its config.json.
        tokenizer: From tokenizer.json.
        device: Where it computes.
        dtype: Its number format.
        stream: Brings the layers that wait in pinned memory; None where all stay on the device.
    """

    def __init__(
        self,
        model: Qwen3Encoder,
        raw_config: Mapping[str, Any],
        tokenizer: Tokenizer,
        device: torch.device,
        stream: BlockStream | None = None,
    ) -> None:
        self.model = model
        self.raw_config = raw_config
        self.tokenizer = tokenizer
        self.device = device
        self.stream = stream
        self._own_stream = _own_stream(device)
        self.special_tokens = tuple(sorted(token.content for token in tokenizer.get_added_tokens_decoder().values()))

    @classmethod
    def from_pretrained(
        cls,
        model_path: str | Path,
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        quantization: Quantization = "none",
        tokenizer_path: str | Path | None = None,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | Path | None = None,
    ) -> Self:
        """Load the text encoder of a checkpoint.

        Args:
            model_path: `mini`, a folder, a hub id, or a file: a model's, or the text encoder's own file or folder.
            device: auto, cpu, cuda, cuda:N or mps.
            dtype: auto, bfloat16, float16 or float32.
            quantization: none, float8 or int8.
            tokenizer_path: Folder of the tokenizer, or its tokenizer.json; looked for as for a model where None.
            revision: See `find_checkpoint`.
            token: See `find_checkpoint`.
            cache_dir: See `find_checkpoint`.

        Raises:
            CheckpointError: If the checkpoint is incomplete or damaged.
            InvalidParameter: If a value is not one of these, or the device is not there.
            DeviceError: If the quantization is not there.
        """
        where = resolve_device(device, "device")
        number_format = resolve_dtype(dtype, where, "dtype")
        if quantization not in get_args(Quantization):
            allowed = ", ".join(get_args(Quantization))
            raise InvalidParameter("quantization", f"{quantization!r} is not allowed; use one of {allowed}.")
        check_quantization(quantization, where, number_format)
        find_folder = partial(find_checkpoint, model_path, revision=revision, token=token, cache_dir=cache_dir)
        own_tokenizer = None if tokenizer_path is None else str(tokenizer_path)
        stored, tokenizer = find_text_encoder(str(model_path), own_tokenizer, find_folder)
        return cls.from_stored(stored, tokenizer, where, number_format, quantization=quantization)

    @classmethod
    def from_stored(
        cls,
        stored: StoredComponent,
        tokenizer: Path,
        device: torch.device,
        dtype: torch.dtype,
        *,
        quantization: Quantization = "none",
        streamed: Sequence[int] = (),
        keep_packed: bool = False,
    ) -> Self:
        """Load the text encoder of a model with the tokenizer in a folder; `streamed` layers wait in pinned memory."""
        from llm_dit.networks.qwen3 import Qwen3Config, Qwen3Encoder

        raw = stored.config
        if raw.get("model_type") != "qwen3":
            raise CheckpointError(
                f"{stored.path} holds a model of type {raw.get('model_type')!r}; Z-Image's text encoder is 'qwen3'.",
                field="model_path",
            )
        with without_weights():
            model = Qwen3Encoder(Qwen3Config.from_dict(raw))
        check_widths(quantization, model.layers)
        loaded_tokenizer = read_tokenizer(tokenizer)
        model.eval().requires_grad_(False)
        reader = Reader(model, stored.path, stored.tensors, dtype, keep_packed)
        stream = place_text_encoder(model, reader, quantization, device, streamed)
        return cls(model, raw, loaded_tokenizer, device, stream)

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        return self.model.embed_tokens.weight.dtype

    @property
    def width(self) -> int:
        """Width D of the embeddings."""
        return self.model.config.hidden_size

    @property
    def hidden_layer_count(self) -> int:
        """Number of hidden states: valid layers are -1 down to minus this number, which is the token embeddings."""
        return self.model.config.num_hidden_layers + 1

    def check_hidden_layer(self, hidden_layer: Layer) -> None:
        """Raise `InvalidParameter` with the range if the model has no such hidden state."""
        check_hidden_layer(hidden_layer, self.hidden_layer_count)

    def count_tokens(self, formatted_prompt: str) -> int:
        """Return the number of tokens of a whole formatted prompt."""
        return len(self._input_ids(formatted_prompt))

    def encode(
        self,
        prompts: str | Sequence[str],
        *,
        hidden_layer: Layer = -2,
        system_prompt: str | None = None,
        thinking_content: str | None = None,
        force_think_block: bool = False,
        assistant_content: str | None = None,
    ) -> EncoderOutput:
        """Format and encode prompts.

        Args:
            prompts: One text or several.
            hidden_layer: Hidden state taken, -1 to minus `hidden_layer_count`, or `last_before_norm`.
            system_prompt: See `format_prompt`.
            thinking_content: See `format_prompt`.
            force_think_block: See `format_prompt`.
            assistant_content: See `format_prompt`.

        Raises:
            InvalidParameter: If the layer does not exist or a prompt is longer than the model reads.
        """
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        companions = [text for text in (system_prompt, thinking_content, assistant_content) if text is not None]
        self.warn_of_special_tokens([*texts, *companions])
        formatted = [
            format_prompt(
                text,
                system_prompt=system_prompt,
                thinking_content=thinking_content,
                force_think_block=force_think_block,
                assistant_content=assistant_content,
            )
            for text in texts
        ]
        encoded = self.encode_formatted(formatted, [hidden_layer])
        return EncoderOutput(formatted, [item.embeddings[hidden_layer] for item in encoded])

    def encode_formatted(self, formatted_prompts: Sequence[str], hidden_layers: Sequence[Layer]) -> list[EncodedPrompt]:
        """Encode formatted prompts, each by itself, with all `hidden_layers` from one pass.

        Where layers are streamed, they come once for as many prompts as `STATE_BYTES` lets compute together.

        Raises:
            InvalidParameter: If a layer does not exist or a prompt is longer than the model reads.
        """
        for hidden_layer in hidden_layers:
            self.check_hidden_layer(hidden_layer)
        with on(self.device):
            return [
                encoded
                for together in self._together(formatted_prompts, len(hidden_layers))
                for encoded in self._encode_together(together, hidden_layers)
            ]

    def _together(self, texts: Sequence[str], layer_count: int) -> Iterator[list[str]]:
        """Yield prompts that are encoded in one pass: one, unless layers are streamed."""
        if self.stream is None:
            yield from ([text] for text in texts)
            return
        together: list[str] = []
        held = 0
        for text in texts:
            needed = self.count_tokens(text) * self.width * self.dtype.itemsize * (layer_count + 1)
            if together and held + needed > STATE_BYTES:
                yield together
                together, held = [], 0
            together.append(text)
            held += needed
        if together:
            yield together

    @contextmanager
    def embeddings_at_hand(self) -> Iterator[None]:
        """Keep the token embeddings on the device inside the block, where they may wait on the CPU."""
        weight = self.model.embed_tokens.weight
        home = weight.data
        weight.data = home.to(self.device)
        try:
            yield
        finally:
            weight.data = home

    def warn_of_special_tokens(self, texts: Sequence[str]) -> list[str]:
        """Log a warning that names the special tokens standing in the user's own texts; return them."""
        found = special_tokens_in(texts, self.special_tokens)
        if found:
            logger.warning(special_tokens_sentence(found))
        return found

    def _encode_together(self, texts: Sequence[str], hidden_layers: Sequence[Layer]) -> list[EncodedPrompt]:
        import torch

        from llm_dit.networks.qwen3 import BEFORE_NORM

        indices = {layer: BEFORE_NORM if layer == LAST_BEFORE_NORM else layer for layer in hidden_layers}
        with torch.cuda.stream(self._own_stream), torch.inference_mode():
            device = self.model.embed_tokens.weight.device
            ids = [torch.tensor([self._input_ids(text)], device=device) for text in texts]  # [1, L] each
            chosen = [
                {layer: states[index].to("cpu", copy=True) for layer, index in indices.items()}
                for states in self.model(ids, list(indices.values()))
            ]
        return [EncodedPrompt(text, embeddings) for text, embeddings in zip(texts, chosen, strict=True)]

    def _input_ids(self, formatted_prompt: str) -> list[int]:
        limit = self.model.config.max_position_embeddings
        ids: list[int] = self.tokenizer.encode(formatted_prompt, add_special_tokens=False).ids
        if len(ids) > limit:
            raise InvalidParameter(
                "prompt", f"has {len(ids):,} tokens; the text encoder reads {limit:,}, so shorten it."
            )
        return ids


def _own_stream(device: torch.device) -> torch.cuda.Stream | None:
    """A stream on which a prompt does not wait for the image that the device is drawing; None where there are none."""
    if device.type != "cuda":
        return None
    import torch

    torch.cuda.synchronize(device)  # the weights are there
    return torch.cuda.Stream(device)
