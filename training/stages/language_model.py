"""Stage 1: the language model, whose hidden states condition the transformer and which rewrites prompts.

A Qwen3 of 3.2 million parameters learns to predict formatted prompts and rewriter dialogues, token by token, and is
frozen afterwards. Its last layer comes after the hidden state that conditions, so that rewriting can be trained on
(`--last-layer-only`) without any change to what the transformer has learnt to read.

Usage: `python -m training.stages.language_model --data training/build/data/train0 --tokenizer training/build/tokenizer
--output training/build/language_model.safetensors --seconds 100`
"""

from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from training.learning.loop import train_within
from training.learning.time_budget import TimeBudget, late_fall, warm_up
from training.learning.weights import load_weights, save_weights, start_from
from training.stages.dataset import Ragged, Samples

CONDITIONING_LAYER = -2
BUCKETS = (32, 64, 96, 128, 192, 256, 384, 512)
PEAK_LEARNING_RATE = 3e-3
HELD_OUT = 2000
"""Samples at the start of the data that are only used to measure."""
FULL_SIZE = {"hidden_size": 192, "intermediate_size": 384, "num_hidden_layers": 8}


def build_language_model(tokenizer: Tokenizer, **sizes: int) -> Qwen3ForCausalLM:
    """Make an untrained language model with `FULL_SIZE` or other sizes."""
    chosen = FULL_SIZE | sizes
    config = Qwen3Config(
        vocab_size=tokenizer.get_vocab_size(),
        num_attention_heads=chosen["hidden_size"] // 64,
        num_key_value_heads=1,
        head_dim=64,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id("<|im_end|>"),
        pad_token_id=tokenizer.token_to_id("<|endoftext|>"),
        **chosen,
    )
    return Qwen3ForCausalLM(config)


def load_language_model(tokenizer: Tokenizer, path: Path, device: torch.device, **sizes: int) -> Qwen3ForCausalLM:
    """Read trained weights; the model is frozen."""
    model = build_language_model(tokenizer, **sizes)
    load_weights(model.model, path)
    return model.eval().requires_grad_(False).to(device)


def freeze_conditioning(model: Qwen3ForCausalLM) -> None:
    """Leave only what comes after `CONDITIONING_LAYER` to be trained: the last layer and the last norm.

    The embeddings are the output matrix as well and stay frozen, as the conditioning begins with them.
    """
    assert CONDITIONING_LAYER == -2, CONDITIONING_LAYER
    model.requires_grad_(False)
    model.model.layers[-1].requires_grad_(True)
    model.model.norm.requires_grad_(True)


def next_token_loss(
    model: Qwen3ForCausalLM, ids: Tensor, lengths: Tensor, last_turn_after: int | None = None
) -> Tensor:
    """Mean cross-entropy of each token given those before it.

    Args:
        model: The language model.
        ids: Token ids [B, L], filled up at the right.
        lengths: Real tokens of each row [B].
        last_turn_after: Id of the token that opens a turn, to count only what follows the last one; None counts all.
    """
    with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=ids.is_cuda):
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    is_real = torch.arange(1, ids.shape[1], device=ids.device) < lengths[:, None]
    if last_turn_after is not None:
        opens_later = (ids == last_turn_after).flip(1).cumsum(1).flip(1)
        is_real = is_real & (opens_later[:, 1:] == 0)
    targets = torch.where(is_real, ids[:, 1:], -100)
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=-100)


@torch.no_grad()
def hidden_states(model: Qwen3ForCausalLM, ids: Tensor, layer: int = CONDITIONING_LAYER) -> Tensor:
    """Return one layer's hidden states [B, L, width] of right-padded ids (causal, so pads change nothing)."""
    with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=ids.is_cuda):
        output = model.model(input_ids=ids, output_hidden_states=True, use_cache=False)
    chosen: Tensor = output.hidden_states[layer]
    return chosen


class TokenBatches:
    """Batches of equal token count from rows of unequal length, resident on the device.

    Args:
        rows: The data.
        tokens: Tokens of one batch, pads included.
        pad_id: Fills rows up.
        device: Where the ids live.
        seed: Order of the batches.
    """

    def __init__(self, rows: Ragged, tokens: int, pad_id: int, device: torch.device, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.tokens = tokens
        self.device = device
        self.buckets: list[tuple[Tensor, Tensor]] = []
        lengths = rows.lengths
        for low, high in zip((0, *BUCKETS[:-1]), BUCKETS, strict=True):
            last = high == BUCKETS[-1]
            members = np.flatnonzero((lengths > low) & ((lengths <= high) | last))
            if len(members):
                ids = torch.from_numpy(rows.padded(members, high, pad_id).astype(np.int16)).to(device)
                self.buckets.append((ids, torch.from_numpy(np.minimum(lengths[members], high)).to(device)))
        weights = np.array([ids.numel() for ids, _ in self.buckets], dtype=np.float64)
        self.weights: NDArray[np.float64] = weights / weights.sum()

    def draw(self) -> tuple[Tensor, Tensor]:
        """Return ids [B, L] int64 and lengths [B] of one bucket."""
        ids, lengths = self.buckets[self.generator.choice(len(self.buckets), p=self.weights)]
        count = max(1, self.tokens // ids.shape[1])
        chosen = torch.from_numpy(self.generator.integers(0, len(ids), count)).to(self.device)
        return ids[chosen].long(), lengths[chosen]


def train_language_model(
    model: Qwen3ForCausalLM,
    samples: Samples,
    budget: TimeBudget,
    tokens: int,
    device: torch.device,
    peak_learning_rate: float = PEAK_LEARNING_RATE,
    reply_after: int | None = None,
) -> float:
    """Train in place what is not frozen.

    Args:
        model: On the device already.
        samples: Prompts and dialogues: three batches of prompts to two of dialogues.
        budget: Time to spend.
        tokens: Tokens of a batch.
        device: Where to train.
        peak_learning_rate: Reached after 100 steps.
        reply_after: Id of the token that opens a turn, to learn nothing but the replies of dialogues.

    Returns:
        Mean loss over held-out samples.
    """
    torch.manual_seed(0)
    pad_id = model.config.pad_token_id
    held_out = min(HELD_OUT, len(samples.captions) // 5)
    sources = [
        TokenBatches(_without_first(rows, held_out), tokens, pad_id, device, seed)
        for seed, rows in enumerate((samples.prompts, samples.dialogues))
    ]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    order = (0, 1, 0, 1, 0) if reply_after is None else (1,)

    def loss_of(step: int) -> Tensor:
        return next_token_loss(model, *sources[order[step % len(order)]].draw(), reply_after)

    def learning_rate(step: int, fraction: float) -> float:
        return peak_learning_rate * warm_up(step, 100) * late_fall(fraction, 0.3)

    step = train_within(budget, trained, loss_of, learning_rate, name="language model", steps_a_line=200)
    with torch.no_grad():
        losses = [
            next_token_loss(model, *TokenBatches(_first(rows, held_out), 8192, pad_id, device, 9).draw()).item()
            for rows in (samples.prompts, samples.dialogues)
        ]
    print(f"language model done: {step} steps, held-out loss {losses[0]:.3f} prompts, {losses[1]:.3f} dialogues")
    return sum(losses) / 2


def _first(rows: Ragged, count: int) -> Ragged:
    ends = rows.ends[:count]
    return Ragged(rows.values[: int(ends[-1])], ends)


def _without_first(rows: Ragged, count: int) -> Ragged:
    start = int(rows.ends[count - 1])
    return Ragged(rows.values[start:], rows.ends[count:] - start)


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of training.stages.dataset.")
@click.option("--tokenizer", type=click.Path(path_type=Path), required=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--seconds", type=float, default=100.0)
@click.option("--tokens", type=int, default=65_536, help="Tokens of a batch.")
@click.option("--start", type=click.Path(path_type=Path, exists=True), default=None, help="Weights to train on from.")
@click.option("--last-layer-only", is_flag=True, help="Learn replies, leave the conditioning; needs --start.")
@click.option("--learning-rate", type=float, default=PEAK_LEARNING_RATE, help="Its peak.")
@click.option("--device", type=torch.device, default=torch.device("cuda"))
def main(
    data: Path,
    tokenizer: Path,
    output: Path,
    seconds: float,
    tokens: int,
    start: Path | None,
    *,
    last_layer_only: bool,
    learning_rate: float,
    device: torch.device,
) -> None:
    """Train the language model and write its weights."""
    torch.manual_seed(0)
    vocabulary = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    model = build_language_model(vocabulary)
    if last_layer_only and start is None:
        raise click.UsageError("--last-layer-only keeps the conditioning of --start, which is missing.")
    if start is not None:
        start_from(model.model, start, prefix="model.")
    reply_after = None
    if last_layer_only:
        freeze_conditioning(model)
        reply_after = vocabulary.token_to_id("<|im_start|>")
    budget = TimeBudget(seconds)
    train_language_model(model.to(device), Samples.load(data), budget, tokens, device, learning_rate, reply_after)
    save_weights(model.model.state_dict(), output)


if __name__ == "__main__":
    main()
