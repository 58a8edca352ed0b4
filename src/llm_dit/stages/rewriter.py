"""Prompt rewriting with the text encoder's own language model.

Qwen3-4B's output layer repeats its token embeddings, so the encoder's weights are a whole language model: nothing is
loaded twice. The model may think first; that part is split off and never becomes part of the prompt.
Source of the sampling: transformers' `generate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from llm_dit.errors import CheckpointError, InvalidParameter
from llm_dit.parameters import RewriterSettings
from llm_dit.placement.devices import on
from llm_dit.prompting.chat_template import MESSAGE_END, THINK_END, THINK_START, format_prompt
from llm_dit.prompting.templates import Template

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

    from llm_dit.stages.text_encoder import ZImageTextEncoder

END_TOKENS = (MESSAGE_END, "<|endoftext|>")


class HasTextEncoder(Protocol):
    """A pipeline, as far as rewriting needs one."""

    @property
    def text_encoder(self) -> ZImageTextEncoder:
        """The stage whose language model writes."""


@dataclass(frozen=True)
class Rewrite:
    """What the language model wrote.

    Attributes:
        text: The new prompt; empty while (or if only) thinking.
        thinking: What the model thought before it, without its tags.
    """

    text: str
    thinking: str


def rewrite(
    pipeline_or_encoder: HasTextEncoder | ZImageTextEncoder,
    prompt: str,
    template: Template | str,
    settings: RewriterSettings,
    *,
    seed: int | None = None,
    on_text: Callable[[Rewrite], None] | None = None,
) -> Rewrite:
    """Let the language model write a prompt.

    Args:
        pipeline_or_encoder: Whose text encoder writes.
        prompt: The user's text.
        template: Rewriter template, or the instruction itself.
        settings: Sampling; temperature 0 takes the likeliest token each time.
        seed: Makes the sampling repeatable on one device; None draws anew.
        on_text: Called with all that is written so far; what it raises stops the writing.

    Raises:
        CheckpointError: If the model's output layer is not its token embeddings.
        InvalidParameter: If the prompt leaves no room for an answer.
    """
    import torch

    encoder: Any = getattr(pipeline_or_encoder, "text_encoder", pipeline_or_encoder)
    instruction = template.body if isinstance(template, Template) else template
    formatted = format_prompt(prompt, system_prompt=instruction)
    input_ids = torch.tensor([encoder.tokenizer.encode(formatted, add_special_tokens=False).ids])  # [1, L]
    room = encoder.model.config.max_position_embeddings - input_ids.shape[1]
    if room < 1:
        raise InvalidParameter("prompt", "is too long to be rewritten; shorten it or the instruction.")
    written: list[str] = []

    def take(piece: str) -> None:
        written.append(piece)
        if on_text is not None:
            on_text(split_thinking("".join(written)))

    with (
        on(encoder.device),
        encoder.embeddings_at_hand(),
        torch.inference_mode(),
        _seeded(seed, encoder.device),
    ):
        language_model(encoder).generate(
            input_ids.to(encoder.device),
            attention_mask=torch.ones_like(input_ids, device=encoder.device),
            generation_config=_generation_config(encoder.tokenizer, settings, min(room, settings.max_tokens)),
            streamer=_streamer(encoder.tokenizer, take),
        )
    return split_thinking("".join(written))


def split_thinking(written: str) -> Rewrite:
    """Split what a model wrote into its thinking, finished or not, and its answer."""
    start = written.lstrip()
    if not start.startswith(THINK_START):
        is_beginning = THINK_START.startswith(start)
        return Rewrite("" if is_beginning else written.strip(), "")
    thinking, _, answer = start.removeprefix(THINK_START).partition(THINK_END)
    return Rewrite(answer.strip(), thinking.strip())


def language_model(encoder: ZImageTextEncoder) -> Any:
    """Return transformers' `Qwen3ForCausalLM` around the encoder's weights, without copying any.

    Raises:
        CheckpointError: If the model's output layer is not its token embeddings.
    """
    import torch
    from transformers.models.qwen3 import Qwen3Config, Qwen3ForCausalLM

    if not encoder.model.config.tie_word_embeddings:
        raise CheckpointError(
            "This text encoder's output layer is not its token embeddings, so it can't write prompts.", field="rewriter"
        )
    config = Qwen3Config.from_dict(dict(encoder.raw_config))
    with torch.device("meta"):
        model = Qwen3ForCausalLM(config)
    model.model.rotary_emb = type(model.model.rotary_emb)(config)  # computed, not stored: it must not stay on meta
    weights = dict(encoder.model.named_parameters())
    for name in [name for name, _ in model.model.named_parameters()]:
        module, _, leaf = name.rpartition(".")
        if name in weights:
            setattr(model.model.get_submodule(module), leaf, weights[name])
        else:  # quantized: the layer itself takes the place of the linear one
            parent, _, layer = module.rpartition(".")
            setattr(model.model.get_submodule(parent), layer, encoder.model.get_submodule(module))
    model.lm_head.weight = encoder.model.embed_tokens.weight
    if encoder.stream is not None:
        encoder.stream.follow(model.model.layers)
    return model.eval()


def _generation_config(tokenizer: Tokenizer, settings: RewriterSettings, most_tokens: int) -> Any:
    from transformers import GenerationConfig

    vocabulary = tokenizer.get_vocab()
    ends = [vocabulary[token] for token in END_TOKENS if token in vocabulary]
    is_sampled = settings.temperature > 0
    sampling = {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "top_k": settings.top_k,
        "min_p": settings.min_p or None,
    }
    return GenerationConfig(
        do_sample=is_sampled,
        max_new_tokens=most_tokens,
        eos_token_id=ends or None,
        pad_token_id=ends[-1] if ends else 0,
        **(sampling if is_sampled else {}),
    )


def _streamer(tokenizer: Tokenizer, take: Callable[[str], None]) -> Any:
    from transformers import PreTrainedTokenizerFast, TextStreamer

    class Streamer(TextStreamer):  # type: ignore[misc] # transformers is read without its types
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:  # noqa: ARG002 - its signature
            if text:
                take(text)

    return Streamer(PreTrainedTokenizerFast(tokenizer_object=tokenizer), skip_prompt=True, skip_special_tokens=True)


@contextmanager
def _seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Let torch's global random numbers start at `seed` inside the block, and put them back afterwards.

    `generate` draws from the global generator; images draw from their own.
    """
    import torch

    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
