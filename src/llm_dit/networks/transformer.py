"""The diffusion transformer of Z-Image: one stream of image and text tokens.

It knows tensors only: no files, no prompts, no noise schedule. Parameter names are those of the published
checkpoint, so its state dict loads strictly. Departures from the reference code, none of which changes the numbers
beyond rounding: what does not depend on the time is computed once per image (`ZImageTransformer.prepare`), rotary
embeddings are real-valued, and the batch is one padded tensor with exact masks instead of a list.

Source: Z-Image, 2025 (S3-DiT); diffusers 0.42 `models/transformers/transformer_z_image.py`.

Shapes: B images, C latent channels, L tokens, I image tokens, T text tokens (I and T are multiples of 32), D width,
H heads, K head width.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from llm_dit.errors import LlmDitError
from llm_dit.networks.joined_linear import stack_linears
from llm_dit.networks.linear import Linear
from llm_dit.networks.packed_linear import PackedLinear
from llm_dit.networks.rope import PositionTables, rotate
from llm_dit.networks.transformer_config import PATCH_SIZE, SEQUENCE_MULTIPLE, ZImageTransformerConfig
from llm_dit.placement.devices import sent

TIME_EMBEDDING_WIDTH = 256
TIME_MLP_WIDTH = 1024
QK_NORM_EPS = 1e-5
FUSED_ATTENTION = ("to_q", "to_k", "to_v")
FUSED_FEED_FORWARD = ("w1", "w3")

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
RunBlocks = Callable[[Iterable[nn.Module], Tensor, Tensor, Tensor | None, Iterable[Tensor]], Tensor]


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What the transformer needs to know about a batch of images besides the latents and the time.

    Attributes:
        text: Refined caption tokens, [B, T, D].
        image_rope: Cosines and signed sines of the image tokens, float32, [2, B or 1, I, 1, K].
        joint_rope: The same for image and text tokens together, float32, [2, B or 1, I + T, 1, K].
        joint_mask: True where a key may be attended to, [B, 1, 1, I + T]; None if that is everywhere.
    """

    text: Tensor
    image_rope: Tensor
    joint_rope: Tensor
    joint_mask: Tensor | None


class Attention(nn.Module):
    """Self-attention with normalised, rotated queries and keys."""

    def __init__(self, dim: int, n_heads: int, qk_norm: bool) -> None:
        super().__init__()
        self.head_dim = dim // n_heads
        self.to_q = Linear(dim, dim, bias=False)
        self.to_k = Linear(dim, dim, bias=False)
        self.to_v = Linear(dim, dim, bias=False)
        self.to_qkv: nn.Linear | PackedLinear | None = None
        self.norm_q = nn.RMSNorm(self.head_dim, QK_NORM_EPS) if qk_norm else nn.Identity()
        self.norm_k = nn.RMSNorm(self.head_dim, QK_NORM_EPS) if qk_norm else nn.Identity()
        self.to_out = nn.ModuleList([Linear(dim, dim, bias=False)])
        self.attend: Attend = scaled_dot_product

    def forward(self, hidden_states: Tensor, rope: Tensor, mask: Tensor | None) -> Tensor:
        """Mix tokens; [B, L, D] to [B, L, D]."""
        attended: Tensor = self.to_out[0](self.mix(self._project(hidden_states), rope, mask))
        return attended

    def mix(self, projected: Sequence[Tensor], rope: Tensor, mask: Tensor | None) -> Tensor:
        """Mix tokens by their queries, keys and values, [B, L, D] each, to [B, L, D] before the last projection."""
        query, key, value = (rearrange(part, "B L (H K) -> B L H K", K=self.head_dim) for part in projected)
        query = rotate(self.norm_q(query), rope)
        key = rotate(self.norm_k(key), rope)
        mixed: Tensor = rearrange(self.attend(query, key, value, mask), "B L H K -> B L (H K)")
        return mixed

    def _project(self, hidden_states: Tensor) -> tuple[Tensor, ...]:
        if self.to_qkv is not None:
            return tuple(self.to_qkv(hidden_states).chunk(3, dim=-1))
        return self.to_q(hidden_states), self.to_k(hidden_states), self.to_v(hidden_states)

    def fuse(self) -> None:
        """Replace the three projections by one matrix product."""
        if self.to_qkv is None:
            self.to_qkv = stack_linears(self.to_q, self.to_k, self.to_v)
            del self.to_q, self.to_k, self.to_v


class FeedForward(nn.Module):
    """SwiGLU: w2(silu(w1 x) * w3 x), 8/3 wide."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden_dim = int(dim / 3 * 8)
        self.w1 = Linear(dim, hidden_dim, bias=False)
        self.w2 = Linear(hidden_dim, dim, bias=False)
        self.w3 = Linear(dim, hidden_dim, bias=False)
        self.w13: nn.Linear | PackedLinear | None = None

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Transform every token by itself; [B, L, D] to [B, L, D]."""
        if self.w13 is not None:
            gate, up = self.w13(hidden_states).chunk(2, dim=-1)
        else:
            gate, up = self.w1(hidden_states), self.w3(hidden_states)
        transformed: Tensor = self.w2(F.silu(gate) * up)
        return transformed

    def fuse(self) -> None:
        """Replace the gate and up projections by one matrix product."""
        if self.w13 is None:
            self.w13 = stack_linears(self.w1, self.w3)
            del self.w1, self.w3


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each normalised before and after; the time scales and gates them if it is given."""

    def __init__(self, config: ZImageTransformerConfig, has_time: bool) -> None:
        super().__init__()
        dim, eps = config.dim, config.norm_eps
        self.has_time = has_time
        self.attention = Attention(dim, config.n_heads, config.qk_norm)
        self.feed_forward = FeedForward(dim)
        self.attention_norm1 = nn.RMSNorm(dim, eps)
        self.ffn_norm1 = nn.RMSNorm(dim, eps)
        self.attention_norm2 = nn.RMSNorm(dim, eps)
        self.ffn_norm2 = nn.RMSNorm(dim, eps)
        if has_time:
            self.adaLN_modulation = nn.Sequential(Linear(min(dim, TIME_EMBEDDING_WIDTH), 4 * dim))

    def forward(self, x: Tensor, rope: Tensor, mask: Tensor | None, modulation: Tensor | None = None) -> Tensor:
        """Advance the residual stream `x`, [B, L, D] to [B, L, D]; `modulation` as `block_modulations` gives it."""
        if modulation is None:
            x = x + self.attention_norm2(self.attention(self.attention_norm1(x), rope, mask))
            x = x + self.ffn_norm2(self.feed_forward(self.ffn_norm1(x)))
            return x
        scale_attention, gate_attention, scale_ffn, gate_ffn = modulation.unbind(0)
        attended = self.attention(self.attention_norm1(x) * (1 + scale_attention), rope, mask)
        x = torch.addcmul(x, gate_attention.tanh(), self.attention_norm2(attended))
        transformed = self.feed_forward(self.ffn_norm1(x) * (1 + scale_ffn))
        return torch.addcmul(x, gate_ffn.tanh(), self.ffn_norm2(transformed))

    def fuse(self) -> None:
        """Join the projections of one input."""
        self.attention.fuse()
        self.feed_forward.fuse()


class TimeEmbedder(nn.Module):
    """Sinusoids of the time through a small MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(Linear(TIME_EMBEDDING_WIDTH, TIME_MLP_WIDTH), nn.SiLU(), Linear(TIME_MLP_WIDTH, width))

    def forward(self, scaled_time: Tensor, dtype: torch.dtype) -> Tensor:
        """Embed times (0 to `t_scale`, float32, [B]) as [B, width] in `dtype`."""
        half = TIME_EMBEDDING_WIDTH // 2
        steps = torch.arange(half, dtype=torch.float32, device=scaled_time.device)
        angles = scaled_time.float()[:, None] * torch.exp(-math.log(10000) * steps / half)
        embedded: Tensor = self.mlp(torch.cat([angles.cos(), angles.sin()], dim=-1).to(dtype))
        return embedded


class FinalLayer(nn.Module):
    """From tokens back to patches, scaled by the time."""

    def __init__(self, dim: int, out_features: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        self.linear = Linear(dim, out_features)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), Linear(min(dim, TIME_EMBEDDING_WIDTH), dim))

    def forward(self, x: Tensor, time_embedding: Tensor) -> Tensor:
        """[B, L, D] to [B, L, patch pixels times channels]."""
        scale = 1 + self.adaLN_modulation(time_embedding)
        patches: Tensor = self.linear(self.norm_final(x) * scale[:, None])
        return patches


class ZImageTransformer(nn.Module):
    """Predicts, from noisy latents, the time and a caption, where the clean image lies."""

    def __init__(self, config: ZImageTransformerConfig) -> None:
        super().__init__()
        self.config = config
        dim, patch_features = config.dim, PATCH_SIZE**2 * config.in_channels
        self.all_x_embedder = nn.ModuleDict({"2-1": Linear(patch_features, dim)})
        self.all_final_layer = nn.ModuleDict({"2-1": FinalLayer(dim, patch_features)})
        self.noise_refiner = _blocks(config, config.n_refiner_layers, has_time=True)
        self.context_refiner = _blocks(config, config.n_refiner_layers, has_time=False)
        self.t_embedder = TimeEmbedder(min(dim, TIME_EMBEDDING_WIDTH))
        self.cap_embedder = nn.Sequential(
            nn.RMSNorm(config.cap_feat_dim, config.norm_eps), Linear(config.cap_feat_dim, dim)
        )
        self.to_modulations: nn.Linear | PackedLinear | None = None
        self.x_pad_token = nn.Parameter(torch.zeros(1, dim))
        self.cap_pad_token = nn.Parameter(torch.zeros(1, dim))
        self.layers = _blocks(config, config.n_layers, has_time=True)
        self.run_blocks: RunBlocks = run_blocks
        self.tables = PositionTables(config.axes_dims, config.rope_theta)

    @property
    def blocks(self) -> list[TransformerBlock]:
        """All blocks, of the refiners too."""
        return [module for module in self.modules() if isinstance(module, TransformerBlock)]

    @property
    def stream_order(self) -> list[TransformerBlock]:
        """All blocks in the order in which they run; those of the context refiner, which come first, once an image."""
        return [*self.context_refiner, *self.noise_refiner, *self.layers]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that activations have; quantised weights may have another."""
        return self.x_pad_token.dtype

    def prepare(
        self, prompt_embeds: Sequence[Tensor], latent_height: int, latent_width: int, *, extend_rope: bool = False
    ) -> Conditioning:
        """Compute once per batch of images what does not depend on the time.

        Args:
            prompt_embeds: One tensor per image, [tokens, cap_feat_dim]; token counts may differ.
            latent_height: Height of the latents, even.
            latent_width: Width of the latents, even.
            extend_rope: Allow positions beyond the published `axes_lens`, which the model never saw in training.

        Raises:
            LlmDitError: If a caption or size does not fit the model.
        """
        text_lengths = self._check_inputs(prompt_embeds, latent_height, latent_width)
        padded_lengths = [_round_up(length) for length in text_lengths]
        grid = (latent_height // PATCH_SIZE, latent_width // PATCH_SIZE)
        if not extend_rope:
            self._check_positions(max(text_lengths), grid)
        device = self.x_pad_token.device
        is_ragged = min(padded_lengths) != max(padded_lengths)
        image_length, text_length = _round_up(grid[0] * grid[1]), max(padded_lengths)
        indices = [length + 1 for length in (padded_lengths if is_ragged else padded_lengths[:1])]
        images = torch.cat([self.tables.image(index, grid, image_length, device) for index in indices], dim=1)
        text = self.tables.text(text_length, device)
        text_mask = sent(_key_mask(padded_lengths, text_length), device) if is_ragged else None
        return Conditioning(
            text=self._refine_text(prompt_embeds, text_length, text, text_mask),
            image_rope=images,
            joint_rope=torch.cat([images, text.expand(-1, len(indices), -1, -1, -1)], dim=2),
            joint_mask=None if text_mask is None else F.pad(text_mask, (image_length, 0), value=True),
        )

    def forward(self, latents: Tensor, model_time: Tensor, conditioning: Conditioning) -> Tensor:
        """Evaluate the network once.

        Args:
            latents: Noisy latents, [B, C, latent_height, latent_width], any float dtype.
            model_time: 1 - sigma, so 0 is noise and 1 is the image, [B].
            conditioning: From `prepare`, for the same B and size.

        Returns:
            The reference's raw output, which points from noise to image (sampling negates it), float32, shape of
            `latents`.
        """
        batch_size, _, latent_height, _ = latents.shape
        time_embedding = self.t_embedder(model_time * self.config.t_scale, self.dtype)
        modulations = self.block_modulations(time_embedding)
        refining, mixing = modulations[: len(self.noise_refiner)], modulations[len(self.noise_refiner) :]
        patches = rearrange(latents.to(self.dtype), "B C (h p) (w q) -> B (h w) (p q C)", p=PATCH_SIZE, q=PATCH_SIZE)
        image_length, padded_length = patches.shape[1], conditioning.image_rope.shape[2]
        padding = self.x_pad_token.expand(batch_size, padded_length - image_length, -1)
        x = torch.cat([self.all_x_embedder["2-1"](patches), padding], dim=1)  # [B, I, D]
        x = self.run_blocks(self.noise_refiner, x, conditioning.image_rope, None, refining)
        x = torch.cat([x, conditioning.text], dim=1)  # [B, I + T, D]
        x = self.run_blocks(self.layers, x, conditioning.joint_rope, conditioning.joint_mask, mixing)
        predicted = self.all_final_layer["2-1"](x[:, :image_length], time_embedding)
        output: Tensor = rearrange(
            predicted, "B (h w) (p q C) -> B C (h p) (w q)", h=latent_height // PATCH_SIZE, p=PATCH_SIZE, q=PATCH_SIZE
        )
        return output.float()

    def block_modulations(self, time_embedding: Tensor) -> tuple[Tensor, ...]:
        """Scales and gates of every block with a time, noise refiner first: [four, B, 1, D] each."""
        blocks = (*self.noise_refiner, *self.layers)
        if self.to_modulations is None:
            joined = torch.cat([block.adaLN_modulation(time_embedding) for block in blocks], dim=-1)
        else:
            joined = self.to_modulations(time_embedding)
        pattern = "B (block four D) -> block four B 1 D"
        return rearrange(joined, pattern, block=len(blocks), four=4).contiguous().unbind(0)

    def fuse_projections(self) -> None:
        """Join weights that read the same input for inference, after loading; the published names are then gone."""
        for block in self.blocks:
            block.fuse()
        self.fuse_modulations()

    def fuse_modulations(self) -> None:
        """Join the modulations of all blocks with a time; see `fuse_projections`."""
        if self.to_modulations is None:
            blocks = (*self.noise_refiner, *self.layers)
            self.to_modulations = stack_linears(*(block.adaLN_modulation[0] for block in blocks))
            for block in blocks:
                del block.adaLN_modulation

    def place_of(self, layer: str) -> tuple[nn.Module, int]:
        """Return the module that holds a linear layer of the published checkpoint now, and the layer's first row in it.

        Args:
            layer: Published name, such as `layers.0.attention.to_k`; `fuse_projections` may have joined it with others.
        """
        parent, _, part = layer.rpartition(".")
        home = self.get_submodule(parent) if not parent.endswith(".adaLN_modulation") else None
        if isinstance(home, Attention) and part in FUSED_ATTENTION and home.to_qkv is not None:
            return home.to_qkv, FUSED_ATTENTION.index(part) * self.config.dim
        if isinstance(home, FeedForward) and part in FUSED_FEED_FORWARD and home.w13 is not None:
            return home.w13, FUSED_FEED_FORWARD.index(part) * int(self.config.dim / 3 * 8)
        if layer.endswith(".adaLN_modulation.0") and self.to_modulations is not None:
            kind, index, *_ = layer.split(".")
            place = int(index) + (0 if kind == "noise_refiner" else len(self.noise_refiner))
            return self.to_modulations, place * 4 * self.config.dim
        return self.get_submodule(layer), 0

    def _refine_text(self, prompt_embeds: Sequence[Tensor], length: int, rope: Tensor, mask: Tensor | None) -> Tensor:
        embeds = pad_sequence([embed.to(rope.device, self.dtype) for embed in prompt_embeds], batch_first=True)
        embeds = F.pad(embeds, (0, 0, 0, length - embeds.shape[1]))  # [B, T, cap_feat_dim]
        is_token = rearrange(_key_mask([len(embed) for embed in prompt_embeds], length), "B 1 1 T -> B T 1")
        text: Tensor = torch.where(sent(is_token, rope.device), self.cap_embedder(embeds), self.cap_pad_token)
        for block in self.context_refiner:
            text = block(text, rope, mask)
        return text

    def _check_inputs(self, prompt_embeds: Sequence[Tensor], latent_height: int, latent_width: int) -> list[int]:
        width = self.config.cap_feat_dim
        for embed in prompt_embeds:
            if embed.ndim != 2 or embed.shape[1] != width or len(embed) == 0:
                raise LlmDitError(f"prompt_embeds of shape {tuple(embed.shape)}: need [at least 1, {width}] per image.")
        if latent_height < PATCH_SIZE or latent_width < PATCH_SIZE or latent_height % 2 or latent_width % 2:
            raise LlmDitError(f"Latents of {latent_height} x {latent_width}: both must be even and at least 2.")
        return [len(embed) for embed in prompt_embeds]

    def _check_positions(self, text_length: int, grid: tuple[int, int]) -> None:
        index_limit, *grid_limits = self.config.axes_lens
        if _round_up(text_length) + 1 >= index_limit:
            raise LlmDitError(
                f"A caption of {text_length} tokens does not fit the model's positions; at most "
                f"{self.config.text_token_limit} do. Shorten it (max_text_tokens) or set extend_rope (experimental)."
            )
        for size, limit in zip(grid, grid_limits, strict=True):
            if size > limit:
                raise LlmDitError(f"Latents of {size * 2} exceed the model's {limit * 2}; make the image smaller.")


def run_blocks(
    blocks: Iterable[nn.Module], x: Tensor, rope: Tensor, mask: Tensor | None, modulations: Iterable[Tensor]
) -> Tensor:
    """Advance the residual stream `x`, [B, L, D], through blocks with a time, one modulation each."""
    for block, modulation in zip(blocks, modulations, strict=True):
        x = block(x, rope, mask, modulation)
    return x


def scaled_dot_product(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attend with PyTorch's own choice of kernel; all [B, L, H, K]."""
    attended: Tensor = F.scaled_dot_product_attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn_mask=mask
    )
    return attended.transpose(1, 2)


def _blocks(config: ZImageTransformerConfig, count: int, has_time: bool) -> nn.ModuleList:
    return nn.ModuleList(TransformerBlock(config, has_time) for _ in range(count))


def _round_up(length: int) -> int:
    return -(-length // SEQUENCE_MULTIPLE) * SEQUENCE_MULTIPLE


def _key_mask(lengths: Sequence[int], total: int) -> Tensor:
    """True at the first `lengths[b]` of `total` keys: [B, 1, 1, total]."""
    mask: Tensor = rearrange(torch.arange(total) < torch.tensor(lengths)[:, None], "B L -> B 1 1 L")
    return mask
