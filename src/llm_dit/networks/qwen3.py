"""Qwen3's layers as a text encoder, on one page: hidden states of prompts, and nothing for writing text.

Transformers' `Qwen3Model` computes the same, but importing it takes several times as long as importing torch, which a
user waits for with every command. Parameter names are those of the published checkpoint. Layers behind the deepest
hidden state that is asked for are not computed.

Source: Qwen3, 2025; transformers 5 `models/qwen3/modeling_qwen3.py`.

Legend: L tokens, D width, H query heads, G key-value heads, K head width.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from llm_dit.errors import LlmDitError
from llm_dit.networks.config_values import number, switch, whole
from llm_dit.networks.linear import Linear

WHAT = "The text encoder"
BEFORE_NORM = 0
"""Names the output of the last layer in place of an index from the end: the last hidden state without the norm."""
REQUIRED = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


@dataclass(frozen=True)
class Qwen3Config:
    """Sizes of the network, under the names of the published `text_encoder/config.json`."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    max_position_embeddings: int
    tie_word_embeddings: bool

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "Qwen3Config":
        """Read the content of a published `text_encoder/config.json`.

        Raises:
            LlmDitError: If a size is missing, or the file asks for something that Qwen3-4B does not have.
        """
        sizes = {name: whole(config, name, WHAT) for name in REQUIRED}
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        if not isinstance(rope, Mapping):
            raise LlmDitError("rope_parameters in the text encoder's config.json are no object; fetch it again.")
        unsupported = {
            "attention_bias": bool(config.get("attention_bias")),
            "hidden_act": config.get("hidden_act", "silu") != "silu",
            "use_sliding_window": bool(config.get("use_sliding_window")),
            "rope_type": rope.get("rope_type", rope.get("type", "default")) != "default",
        }
        if any(unsupported.values()):
            names = ", ".join(name for name, is_set in unsupported.items() if is_set)
            raise LlmDitError(
                f"The text encoder's config.json sets {names} to what Z-Image's Qwen3 does not have; use Qwen3-4B."
            )
        heads = sizes["num_attention_heads"]
        theta = rope if "rope_theta" in rope else config
        optional = {name: value for name, value in config.items() if value is not None}  # null is Qwen3's own rule here
        return cls(
            **sizes,
            num_key_value_heads=whole(optional, "num_key_value_heads", WHAT, heads),
            head_dim=whole(optional, "head_dim", WHAT, sizes["hidden_size"] // heads),
            rms_norm_eps=number(config, "rms_norm_eps", WHAT, 1e-6),
            rope_theta=number(theta, "rope_theta", WHAT, 10_000.0),
            max_position_embeddings=whole(config, "max_position_embeddings", WHAT, 32_768),
            tie_word_embeddings=switch(config, "tie_word_embeddings", WHAT, False),
        )


class Qwen3Attention(nn.Module):
    """Causal self-attention with grouped key-value heads, normalised and rotated queries and keys."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        width, self.head_dim = config.hidden_size, config.head_dim
        self.q_proj = Linear(width, config.num_attention_heads * self.head_dim, bias=False)
        self.k_proj = Linear(width, config.num_key_value_heads * self.head_dim, bias=False)
        self.v_proj = Linear(width, config.num_key_value_heads * self.head_dim, bias=False)
        self.o_proj = Linear(config.num_attention_heads * self.head_dim, width, bias=False)
        self.q_norm = nn.RMSNorm(self.head_dim, config.rms_norm_eps)
        self.k_norm = nn.RMSNorm(self.head_dim, config.rms_norm_eps)

    def forward(self, hidden_states: Tensor, rotary: Tensor) -> Tensor:
        """[1, L, D] to [1, L, D]; `rotary` holds cosines and sines, [2, L, K]."""
        query, key, value = (
            rearrange(project(hidden_states), "1 L (H K) -> 1 H L K", K=self.head_dim)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = rotate_halves(self.q_norm(query), rotary), rotate_halves(self.k_norm(key), rotary)
        repeats = query.shape[1] // key.shape[1]
        key, value = (states.repeat_interleave(repeats, dim=1) for states in (key, value))
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        mixed: Tensor = self.o_proj(rearrange(attended, "1 H L K -> 1 L (H K)"))
        return mixed


class Qwen3FeedForward(nn.Module):
    """SwiGLU: down(silu(gate x) * up x)."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Transform every token by itself; [1, L, D] to [1, L, D]."""
        transformed: Tensor = self.down_proj(F.silu(self.gate_proj(hidden_states)) * self.up_proj(hidden_states))
        return transformed


class Qwen3Layer(nn.Module):
    """Attention and feed-forward, each normalised before."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        self.self_attn = Qwen3Attention(config)
        self.mlp = Qwen3FeedForward(config)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, prompts: Sequence[Tensor], rotary: Sequence[Tensor]) -> list[Tensor]:
        """Advance the residual streams of some prompts, each by itself; [1, L, D] each."""
        return [self._advanced(*prompt) for prompt in zip(prompts, rotary, strict=True)]

    def _advanced(self, hidden_states: Tensor, rotary: Tensor) -> Tensor:
        attended: Tensor = hidden_states + self.self_attn(self.input_layernorm(hidden_states), rotary)
        advanced: Tensor = attended + self.mlp(self.post_attention_layernorm(attended))
        return advanced


class Qwen3Encoder(nn.Module):
    """Token ids to hidden states; hidden state 0 is the token embeddings, the last one is normalised."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Qwen3Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, ids: Sequence[Tensor], hidden_layers: Collection[int]) -> list[dict[int, Tensor]]:
        """Encode prompts, each layer all of them before the next layer; none sees another.

        Args:
            ids: Token ids of each prompt, [1, L].
            hidden_layers: Which hidden states, each -1 (after the last layer and the norm) to -(layers + 1), or
                `BEFORE_NORM`.

        Returns:
            For each prompt, hidden layer to hidden state, [L, D].
        """
        count = len(self.layers) + 1
        computed = {layer: len(self.layers) if layer == BEFORE_NORM else layer % count for layer in hidden_layers}
        states: dict[int, list[Tensor]] = {}
        device = self.norm.weight.device  # token embeddings may wait on the CPU
        prompts = [self.embed_tokens(own).to(device) for own in ids]
        rotary = [
            rotary_table(own.shape[1], self.config.head_dim, self.config.rope_theta).to(device, x.dtype)
            for own, x in zip(ids, prompts, strict=True)
        ]
        for index in range(max(computed.values()) + 1):
            if index > 0:
                prompts = self.layers[index - 1](prompts, rotary)
            for layer in (layer for layer, position in computed.items() if position == index):
                is_normed = index == count - 1 and layer != BEFORE_NORM
                states[layer] = [self.norm(x) for x in prompts] if is_normed else prompts
        return [{layer: states[layer][which][0] for layer in hidden_layers} for which in range(len(ids))]


def rotary_table(length: int, head_dim: int, theta: float) -> Tensor:
    """Cosines and sines of positions 0 to `length` - 1, float32, [2, L, K]; both halves of K are alike."""
    frequencies = 1.0 / (theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim))
    angles = torch.outer(torch.arange(length, dtype=torch.float32), frequencies).repeat(1, 2)
    return torch.stack([angles.cos(), angles.sin()])


def rotate_halves(x: Tensor, rotary: Tensor) -> Tensor:
    """Turn feature i and feature i + K / 2 of each head by their position's angle; `x` is [1, H, L, K]."""
    first, second = x.chunk(2, dim=-1)
    return x * rotary[0] + torch.cat([-second, first], dim=-1) * rotary[1]
