"""From a prompt to an image: encode, denoise, decode, each stage on its device and callable on its own.

Equal to `ZImagePipeline` of diffusers 0.42 for the same weights, noise and steps. One pipeline serves one thread.
"""

from __future__ import annotations

import logging
import platform
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from llm_dit.checkpoints.finding import model_name
from llm_dit.checkpoints.hidden_layers import check_hidden_layers
from llm_dit.checkpoints.scheduler import model_values
from llm_dit.image_io import attach_record
from llm_dit.parameters import EngineSettings, GenerationParams
from llm_dit.parameters.effects import without_effect
from llm_dit.parameters.hidden_layers import Layer
from llm_dit.placement.machine import machine_of
from llm_dit.placement.memory_shortage import shortage_told
from llm_dit.placement.planned_work import UNKNOWN_WORK, PlannedWork
from llm_dit.prompting.chat_template import (
    formatted_negative_prompt,
    formatted_prompt_from_params,
    special_tokens_sentence,
    user_texts,
)
from llm_dit.prompting.long_prompt import check_text_tokens, cut_sentence, shorten
from llm_dit.sampling.euler import EulerStep, check_finite
from llm_dit.sampling.guidance import evaluation_count
from llm_dit.sampling.schedule import schedule
from llm_dit.sampling.shared_work import Beginning, SharedWork
from llm_dit.sampling.stage_clock import StageClock
from llm_dit.stages.denoiser import PromptConditioning
from llm_dit.stages.loading import LoadedStages, load_stages
from llm_dit.stages.pending_image import PendingImage
from llm_dit.stages.text_encoder import EncodedPrompt

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor

    from llm_dit.networks.transformer import ZImageTransformer
    from llm_dit.stages.stage_shelf import StageShelf

logger = logging.getLogger(__name__)

DRAWN_SEED_BITS = 32


@dataclass(frozen=True)
class StepInfo:
    """Progress of one image.

    Attributes:
        step: Steps done, 1 to `total`.
        total: Number of steps.
        sigma: Noise level that was left.
        preview: Makes a small image of the current estimate; costs nothing until called.
    """

    step: int
    total: int
    sigma: float
    preview: Callable[[], Image.Image]


@dataclass(frozen=True)
class GenerationResult:
    """One finished image.

    Attributes:
        image: RGB image.
        params: The parameters with size and seed filled in.
        metadata: Everything needed to make the image again, ready for JSON.
    """

    image: Image.Image
    params: GenerationParams
    metadata: dict[str, Any]


class ZImagePipeline:
    """A Z-Image checkpoint, loaded and placed.

    Attributes:
        settings: Model, devices and numerics it was loaded with.
        parts: Where the model's parts lie.
        folder: The model's folder, or that of its file.
        text_encoder: First stage.
        denoiser: Second stage.
        decoder: Third stage.
        scheduler: The noise schedule that the model was trained for.
        numerics: Effective number formats and kernels, part of an image's identity.
        load_seconds: What loading each network took: `text_encoder`, `transformer`, `vae`.
    """

    def __init__(self, settings: EngineSettings, stages: LoadedStages) -> None:
        self.settings = settings
        self.parts = stages.parts
        self.folder = stages.parts.folder
        self.text_encoder = stages.text_encoder
        self.denoiser = stages.denoiser
        self.decoder = stages.decoder
        self.scheduler = stages.scheduler
        self.numerics = stages.numerics
        self.load_seconds = stages.seconds

    @property
    def transformer(self) -> ZImageTransformer:
        """The network of the second stage."""
        return self.denoiser.transformer

    @property
    def device(self) -> torch.device:
        """Where the transformer computes."""
        return self.denoiser.device

    @classmethod
    def from_pretrained(
        cls,
        model_path: str | Path | None = None,
        *,
        settings: EngineSettings | None = None,
        planned: PlannedWork = UNKNOWN_WORK,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | Path | None = None,
        shelf: StageShelf | None = None,
        **overrides: Any,
    ) -> Self:
        """Load a checkpoint.

        Args:
            model_path: `mini`, a folder, a hub id or a file; the settings' model if None.
            settings: Devices and numerics; the built-in defaults if None.
            planned: The images ahead, as far as they are known.
            revision: Branch, tag or commit on the hub; the settings' `model_revision` if None.
            token: Of the hub, for private models; the one that `hf auth login` keeps if None.
            cache_dir: Folder of downloads; the hub's own if None.
            shelf: Stages that are loaded already; see `load_stages`.
            **overrides: Fields of `EngineSettings` that win over `settings`; devices and number formats also as torch's
                own objects.

        Raises:
            LlmDitError: If the checkpoint, a device or a setting is not usable.
        """
        if model_path is not None:
            overrides["model_path"] = model_path
        if revision is not None:
            overrides["model_revision"] = revision
        wanted = (settings or EngineSettings()).replaced(**overrides)
        stages = load_stages(wanted, planned=planned, token=token, cache_dir=cache_dir, shelf=shelf)
        return cls(wanted, stages)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the checkpoint, 64 hexadecimal digits."""
        return self.parts.fingerprint()

    @property
    def native_height(self) -> int:
        """Height the model was trained for, in pixels."""
        return self.decoder.native_size

    @property
    def native_width(self) -> int:
        """Width the model was trained for, in pixels."""
        return self.decoder.native_size

    @property
    def hidden_layer_count(self) -> int:
        """Number of hidden states; `hidden_layer` may be -1 to minus this, or `last_before_norm`."""
        return self.text_encoder.hidden_layer_count

    @property
    def text_token_limit(self) -> int:
        """Longest caption whose positions lie in the model's table, a multiple of the padding, in tokens."""
        return self.transformer.config.text_token_limit

    def resolve(self, params: GenerationParams) -> GenerationParams:
        """Fill in size, shift, steps, guidance and seed, and check what only the model can say.

        Raises:
            InvalidParameter: If the model has no such hidden layer or can't see as many text tokens.
        """
        check_hidden_layers(params, self.hidden_layer_count)
        check_text_tokens(params, self.text_token_limit)
        return params.replaced(
            loras=self.denoiser.loras.files.resolve(params),
            **model_values(params, (self.native_height, self.native_width), self.scheduler),
            seed=secrets.randbits(DRAWN_SEED_BITS) if params.seed is None else params.seed,
        )

    def encode_prompts(self, formatted_prompts: Sequence[str], hidden_layers: Sequence[Layer]) -> list[EncodedPrompt]:
        """Encode formatted prompts, all `hidden_layers` from one forward pass each."""
        return self.text_encoder.encode_formatted(formatted_prompts, hidden_layers)

    def encode(self, params: GenerationParams) -> PromptConditioning:
        """Encode the prompt of one image, and its negative prompt where guidance is on."""
        special = special_tokens_sentence(self.text_encoder.warn_of_special_tokens(user_texts(params)))
        texts = [formatted_prompt_from_params(params)]
        if self.scheduler.guidance_for(params) > 0:
            texts.append(formatted_negative_prompt(params))
        encoded = self.encode_prompts(texts, [share.layer for share in params.layer_shares])
        conditioning = self.condition(params, encoded[0], encoded[1] if len(encoded) > 1 else None)
        return replace(conditioning, notices=(special, *conditioning.notices)) if special else conditioning

    def condition(
        self, params: GenerationParams, encoded: EncodedPrompt, negative: EncodedPrompt | None
    ) -> PromptConditioning:
        """Choose the hidden layer or mix several, and bring long prompts down to `max_text_tokens`; a cut is logged."""
        prompt_embeds, prompt_cut = self._shortened(params, encoded, "The prompt")
        negative_embeds, negative_cut = None, ""
        if negative is not None:
            negative_embeds, negative_cut = self._shortened(params, negative, "The negative prompt")
        notices = tuple(sentence for sentence in (prompt_cut, negative_cut) if sentence)
        for sentence in notices:
            logger.warning(sentence)
        return PromptConditioning(
            encoded.formatted_prompt, prompt_embeds, negative_embeds, encoded.token_count, notices
        )

    def _shortened(self, params: GenerationParams, encoded: EncodedPrompt, what: str) -> tuple[Tensor, str]:
        """Return the embeddings that the transformer sees, and a sentence where they are fewer."""
        embeds = shorten(encoded.blended(params.layer_shares), params.max_text_tokens, params.long_prompt_mode)
        return embeds, cut_sentence(what, encoded.token_count, len(embeds), params.long_prompt_mode)

    def denoise(
        self,
        params: GenerationParams,
        conditioning: PromptConditioning,
        *,
        on_step: Callable[[StepInfo], None] | None = None,
    ) -> Tensor:
        """Sample the latents of one image.

        Args:
            params: From `resolve`.
            conditioning: From `encode` or `condition`.
            on_step: Called after each step; what it raises stops the sampling at once.

        Returns:
            Latents, [1, 16, H/8, W/8], float32, on the transformer's device.

        Raises:
            NonFiniteLatents: If a step left the range of the number format.
        """
        alone = Beginning(params, SharedWork(self.device, limit=0))
        observer = None if on_step is None else lambda step: on_step(self._step_info(step))
        latents, is_finite = self.denoiser.sample(params, conditioning, alone, observer)
        check_finite(is_finite.tolist(), self.numerics["dtype"])
        return latents

    @shortage_told()
    def draw(
        self, params: GenerationParams, conditioning: PromptConditioning, shared: SharedWork | None = None
    ) -> PendingImage:
        """Start an image: all its work is queued on a CUDA device, elsewhere it is done.

        Args:
            params: From `resolve`.
            conditioning: From `encode` or `condition`.
            shared: Beginnings of images that this pipeline drew before, known by their `params`; every `conditioning`
                must then be what this pipeline makes of them.

        Raises:
            NonFiniteLatents: Where the work is done already, if sampling left the range of the number format;
                elsewhere `PendingImage.wait` raises it.
        """
        beginning = Beginning(params, SharedWork(self.device, limit=0) if shared is None else shared)
        clock = StageClock(self.device)
        latents, step_is_finite = self.denoiser.sample(params, conditioning, beginning)
        if self.device.type != "cuda":
            check_finite(step_is_finite.tolist(), self.numerics["dtype"])
        clock.mark()
        levels, is_finite = self.decoder.levels(latents)
        is_queued = self.device.type == "cuda" and self.decoder.device == self.device
        levels, step_is_finite, is_finite = (
            tensor.to("cpu", non_blocking=is_queued) for tensor in (levels, step_is_finite, is_finite)
        )
        clock.mark()
        return PendingImage(
            clock,
            levels,
            step_is_finite,
            is_finite,
            tuple(beginning.spared),
            dtype=self.numerics["dtype"],
            vae_dtype=self.numerics["vae_dtype"],
        )

    def _step_info(self, step: EulerStep) -> StepInfo:
        return StepInfo(step.step, step.total, step.sigma, lambda: self.preview(step.estimate))

    def preview(self, estimate: Tensor) -> Image.Image:
        """Return a small image of an estimate of the clean latents, [1, 16, h, w]."""
        return self.decoder.preview(estimate)

    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Return one image per entry of `latents`, [B, 16, H/8, W/8]."""
        return self.decoder.decode(latents)

    @shortage_told()
    def generate(
        self, params: GenerationParams, *, on_step: Callable[[StepInfo], None] | None = None
    ) -> GenerationResult:
        """Make one image and the record of how it was made.

        Args:
            params: What to draw.
            on_step: Called after each step; what it raises stops the sampling at once.

        Raises:
            LlmDitError: If a parameter does not fit the model, or sampling left the range of the number format.
        """
        resolved = self.resolve(params)
        started = time.perf_counter()
        conditioning = self.encode(resolved)
        encoded = time.perf_counter()
        latents = self.denoise(resolved, conditioning, on_step=on_step)
        denoised = time.perf_counter()
        image = self.decode(latents)[0]
        decoded = time.perf_counter()
        times = {"encode": encoded - started, "denoise": denoised - encoded, "decode": decoded - denoised}
        metadata = self.metadata(resolved, conditioning, times)
        attach_record(image, metadata)
        return GenerationResult(image, resolved, metadata)

    def __call__(self, prompt: str, **overrides: Any) -> Image.Image:
        """Return an image of `prompt`; keyword arguments are fields of `GenerationParams`."""
        return self.generate(GenerationParams.parse({"prompt": prompt, **overrides})).image

    def metadata(
        self, params: GenerationParams, conditioning: PromptConditioning, stage_times_s: dict[str, float]
    ) -> dict[str, Any]:
        """Return the record of an image: all that is needed to make it again, ready for JSON.

        Args:
            params: From `resolve`.
            conditioning: What the transformer got.
            stage_times_s: Seconds of each stage.
        """
        assert params.shift is not None and params.num_inference_steps is not None
        assert params.height is not None and params.width is not None
        return {
            "parameters": params.model_dump(),
            "formatted_prompt": conditioning.formatted_prompt,
            "token_count": conditioning.token_count,
            "token_count_used": conditioning.token_count_used,
            "notices": [*(item.sentence() for item in without_effect(params)), *conditioning.notices],
            "model_defaults": {
                "shift": self.scheduler.shift_for(params.height, params.width),
                **self.scheduler.defaults,
            },
            "sigmas": schedule(params.num_inference_steps, params.shift).tolist(),
            "evaluations": evaluation_count(params),
            "stage_times_s": stage_times_s,
            "model_path": model_name(self.settings.model_path),
            "model_fingerprint": self.fingerprint,
            **({"model_parts": parts} if (parts := self.parts.record()) else {}),
            **({"loras": self.denoiser.loras.files.record(params)} if params.loras else {}),
            "numerics": self.numerics,
            **self.surroundings(),
        }

    def surroundings(self) -> dict[str, dict[str, str]]:
        """Return what may move an image's last bits beside its identity: `versions` and `machine`."""
        return {"versions": versions(), "machine": machine_of(self.device)}


def versions() -> dict[str, str]:
    """Return the versions of what computes an image; `none` for what has no part in it here."""
    import torch

    return {
        "python": platform.python_version(),
        "llm-dit": _version("llm-dit"),
        "torch": torch.__version__,
        "triton": _version("triton"),
        "cuda": str(torch.version.cuda or "none"),
        "cudnn": str(torch.backends.cudnn.version() or "none"),
    }


def _version(package: str) -> str:
    """Return a package's version; `unknown` without metadata, as where a checkout is only on the path."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown" if package == "llm-dit" else "none"
