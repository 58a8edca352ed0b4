"""From embeddings to latents: the transformer with its weights, on its device.

Legend: B images, H and W pixels, N steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from llm_dit.acceleration.quantization import check_widths
from llm_dit.checkpoints.model_file import StoredComponent
from llm_dit.checkpoints.weights import without_weights
from llm_dit.errors import InvalidParameter
from llm_dit.parameters import GenerationParams, Quantization
from llm_dit.placement.devices import on, sent
from llm_dit.sampling.euler import EulerStep, sample_euler
from llm_dit.sampling.guidance import guided, guided_steps
from llm_dit.sampling.schedule import schedule
from llm_dit.sampling.shared_work import Beginning, Branch
from llm_dit.stages.block_placement import Reader, place_transformer
from llm_dit.stages.latent_decoder import LATENT_SCALE
from llm_dit.stages.lora_merging import LoraMerger

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from llm_dit.networks.transformer import Conditioning, ZImageTransformer
    from llm_dit.placement.block_stream import BlockStream


@dataclass(frozen=True)
class PromptConditioning:
    """Embeddings as the transformer gets them.

    Attributes:
        formatted_prompt: The text they come from.
        prompt_embeds: At most `max_text_tokens` of them, [tokens, width].
        negative_prompt_embeds: The same for the negative prompt; None without guidance.
        token_count: Tokens of the whole formatted prompt.
        notices: Sentences on what became of the prompts: cut, or read as control tokens.
    """

    formatted_prompt: str
    prompt_embeds: Tensor
    negative_prompt_embeds: Tensor | None
    token_count: int
    notices: tuple[str, ...] = ()

    @property
    def token_count_used(self) -> int:
        """Embeddings left after long-prompt handling."""
        return int(self.prompt_embeds.shape[0])


class Denoiser:
    """The transformer of a checkpoint.

    Attributes:
        transformer: The network.
        device: Where it computes.
        loras: What is added to its weights.
        stream: Brings the blocks that wait in pinned memory; None where all stay on the device.
    """

    def __init__(
        self,
        transformer: ZImageTransformer,
        device: torch.device,
        loras: LoraMerger,
        stream: BlockStream | None = None,
    ) -> None:
        self.transformer = transformer
        self.device = device
        self.loras = loras
        self.stream = stream

    @classmethod
    def from_stored(
        cls,
        stored: StoredComponent,
        device: torch.device,
        dtype: torch.dtype,
        *,
        quantization: Quantization = "none",
        streamed: Sequence[int] = (),
        loras_folder: str | None = None,
        keep_packed: bool = False,
    ) -> Self:
        """Load the transformer of a model; blocks that are `streamed` wait in pinned memory.

        Raises:
            LlmDitError: If the weights are damaged, or the configuration is not a Z-Image transformer's or does not go
                with the quantization.
        """
        from llm_dit.networks.transformer import ZImageTransformer
        from llm_dit.networks.transformer_config import ZImageTransformerConfig

        config = ZImageTransformerConfig.from_dict(stored.config)
        with without_weights():
            transformer = ZImageTransformer(config)
        check_widths(quantization, transformer.blocks)
        transformer.eval().requires_grad_(False)
        reader = Reader(transformer, stored.path, stored.tensors, dtype, keep_packed)
        stream = place_transformer(transformer, reader, quantization, device, streamed)
        loras = LoraMerger(transformer, stored.tensors, device, dtype, loras_folder, stream)
        return cls(transformer, device, loras, stream)

    def sample(
        self,
        params: GenerationParams,
        conditioning: PromptConditioning,
        beginning: Beginning,
        on_step: Callable[[EulerStep], None] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Sample the latents of one image without waiting for the device; see `sample_euler`.

        Args:
            params: With seed, size and shift filled in.
            conditioning: What the image shows.
            beginning: What the image has in common with others.
            on_step: Called after each step; what it raises stops the sampling at once.

        Returns:
            Latents, [1, 16, H/8, W/8], float32; whether those after each step are finite, bool, [N].

        Raises:
            InvalidParameter: If guidance is on and there are no embeddings of a negative prompt.
        """
        import torch

        assert params.height is not None and params.width is not None
        assert params.seed is not None and params.shift is not None and params.num_inference_steps is not None
        noise = self._noise(params.height, params.width, params.seed)
        sigmas = schedule(params.num_inference_steps, params.shift)
        self.loras.use(params)
        with on(self.device), torch.inference_mode():
            velocity = self._velocity(params, conditioning, sigmas, beginning)
            return sample_euler(velocity, noise, sigmas, on_step)

    def _noise(self, height: int, width: int, seed: int) -> Tensor:
        """Draw noise on the CPU, so that a seed means the same image on every device, [1, 16, H/8, W/8]."""
        import torch

        generator = torch.Generator("cpu").manual_seed(seed)
        shape = (1, self.transformer.config.in_channels, height // LATENT_SCALE, width // LATENT_SCALE)
        return sent(torch.randn(shape, generator=generator, dtype=torch.float32), self.device)

    def _velocity(
        self, params: GenerationParams, conditioning: PromptConditioning, sigmas: Tensor, beginning: Beginning
    ) -> Callable[[Tensor, Tensor, int], Tensor]:
        """Prepare all that does not depend on the time, and return the velocity as a function of it."""
        is_guided, guidance_scale = guided_steps(params), params.guidance_scale or 0.0
        negative_embeds = conditioning.negative_prompt_embeds
        if negative_embeds is None and any(is_guided):
            raise InvalidParameter(
                "guidance_scale",
                f"{guidance_scale:g} needs embeddings of a negative prompt, which the conditioning lacks; use 0 "
                "or encode with the same guidance_scale.",
            )
        positive = self._prepared(params, conditioning.prompt_embeds, "positive", beginning)
        negative = None if negative_embeds is None else self._prepared(params, negative_embeds, "negative", beginning)
        first_sigma = sigmas[0].item()

        def evaluated(branch: Branch, given: Conditioning, latents: Tensor, model_time: Tensor, step: int) -> Tensor:
            def evaluate() -> Tensor:
                output: Tensor = self.transformer(latents, model_time, given)
                return output

            return evaluate() if step else beginning.evaluation(branch, first_sigma, evaluate)

        def velocity(latents: Tensor, model_time: Tensor, step: int) -> Tensor:
            output = evaluated("positive", positive, latents, model_time, step)
            if is_guided[step]:
                assert negative is not None
                against = evaluated("negative", negative, latents, model_time, step)
                output = guided(output, against, guidance_scale, params.cfg_normalization)
            return -output

        return velocity

    def _prepared(self, params: GenerationParams, embeds: Tensor, branch: Branch, beginning: Beginning) -> Conditioning:
        assert params.height is not None and params.width is not None
        size = (params.height // LATENT_SCALE, params.width // LATENT_SCALE)

        def prepare() -> Conditioning:
            own = sent(embeds, self.device).to(self.transformer.dtype)
            return self.transformer.prepare([own], *size, extend_rope=params.extend_rope)

        return beginning.conditioning(branch, prepare)
