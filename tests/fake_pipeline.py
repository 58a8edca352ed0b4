"""A pipeline without a model: images are drawn from a hash of everything that may change an image.

It counts what it is asked for, and fails or dawdles where it is told to. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import json
import time
from types import SimpleNamespace

from PIL import Image

from llm_dit.checkpoints.hidden_layers import check_hidden_layers


class FakeEmbeddings:
    """As much of a tensor as the lab looks at."""

    def __init__(self, tokens):
        self.shape = (tokens, 4)

    def numel(self):
        return 4 * self.shape[0]

    def element_size(self):
        return 4


class FakeTextEncoder(SimpleNamespace):
    """Unlike its base it can be referred to weakly, as a real one."""


def fake_text_encoder(*, streamed=False, **more):
    """As much of a text encoder as the lab asks for; its layers are streamed or stay."""
    return FakeTextEncoder(
        warn_of_special_tokens=lambda texts: [],
        count_tokens=lambda text: len(text.split()),
        width=4,
        dtype=SimpleNamespace(itemsize=4),
        stream=object() if streamed else None,
        **more,
    )


class FakePipeline:
    """Stands for `ZImagePipeline`."""

    native_height = native_width = 64
    hidden_layer_count = 7
    device = SimpleNamespace(type="cpu")
    settings = SimpleNamespace(model_path="fake")

    def __init__(
        self, *, fingerprint="f" * 64, dtype="float32", seconds=0.0, failing=None, failing_texts=(), streamed=False
    ):
        self.fingerprint = fingerprint
        self.load_seconds = {"transformer": 0.5}
        self.numerics = {"dtype": dtype, "quantization": "none"}
        self.versions, self.machine = {"llm-dit": "0", "torch": "2.15"}, {"card": "fake", "threads": "2"}
        self.seconds = seconds
        self.failing = failing or {}
        self.failing_texts = failing_texts
        self.encoded = []
        self.denoised = []
        self.passes = []
        self.text_encoder = fake_text_encoder(streamed=streamed)

    def resolve(self, params):
        check_hidden_layers(params, self.hidden_layer_count)
        shift = 3.0 if params.shift is None else params.shift
        drawn = {"num_inference_steps": params.num_inference_steps or 9, "guidance_scale": params.guidance_scale or 0.0}
        return params.replaced(height=params.height or 64, width=params.width or 64, shift=shift, **drawn)

    def encode_prompts(self, formatted_prompts, hidden_layers):
        self.encoded += [(text, tuple(hidden_layers)) for text in formatted_prompts]
        self.passes.append(len(formatted_prompts))
        if any(part in text for text in formatted_prompts for part in self.failing_texts):
            raise RuntimeError("the text encoder ran out of memory")
        return [
            SimpleNamespace(
                formatted_prompt=text,
                token_count=len(text.split()),
                embeddings={layer: FakeEmbeddings(len(text.split())) for layer in hidden_layers},
            )
            for text in formatted_prompts
        ]

    def condition(self, params, encoded, negative):
        return SimpleNamespace(
            formatted_prompt=encoded.formatted_prompt,
            negative=None if negative is None else negative.formatted_prompt,
            token_count=encoded.token_count,
            token_count_used=min(encoded.token_count, params.max_text_tokens),
        )

    def denoise(self, params, conditioning, *, on_step=None):
        time.sleep(self.seconds)
        self.denoised.append(params)
        error = self.failing.get((params.prompt, params.shift))
        if error is not None:
            raise error
        values = [params.model_dump(), conditioning.formatted_prompt, self.fingerprint, self.numerics]
        return (params.height, params.width), hashlib.sha256(json.dumps(values).encode()).digest()

    def decode(self, latents):
        (height, width), digest = latents
        pixels = (digest * (3 * height * width // len(digest) + 1))[: 3 * height * width]
        return [Image.frombytes("RGB", (width, height), pixels)]

    def draw(self, params, conditioning, shared=None):
        started = time.perf_counter()
        (image,) = self.decode(self.denoise(params, conditioning))
        times = {"denoise": time.perf_counter() - started, "decode": 0.0}
        return SimpleNamespace(wait=lambda: (image, times))

    def metadata(self, params, conditioning, stage_times_s):
        return {
            "parameters": params.model_dump(),
            "formatted_prompt": conditioning.formatted_prompt,
            "token_count": conditioning.token_count,
            "token_count_used": conditioning.token_count_used,
            "sigmas": [1.0, 0.5, 0.0],
            "evaluations": params.num_inference_steps,
            "stage_times_s": stage_times_s,
            "model_path": "fake",
            "model_fingerprint": self.fingerprint,
            "numerics": self.numerics,
            **self.surroundings(),
        }

    def surroundings(self):
        return {"versions": dict(self.versions), "machine": dict(self.machine)}
