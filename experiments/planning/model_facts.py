"""What planning needs to know of a model, read from its configuration files without loading it or importing torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from llm_dit.checkpoints.finding import existing, find_checkpoint, shortened
from llm_dit.checkpoints.hidden_layers import check_hidden_layer
from llm_dit.checkpoints.model_parts import find_parts
from llm_dit.checkpoints.scheduler import ModelScheduler, model_values, read_scheduler
from llm_dit.checkpoints.tokenizer_file import read_tokenizer
from llm_dit.errors import CheckpointError
from llm_dit.parameters import EngineSettings, GenerationParams


@dataclass(frozen=True)
class ModelFacts:
    """A checkpoint, seen from outside.

    Attributes:
        hidden_layer_count: Number of hidden states of the text encoder; valid layers are -1 down to minus this.
        encoder_token_limit: Most tokens that the text encoder reads.
        native_size: Side of the square images the model was trained for, in pixels.
        scheduler: The noise schedule it was trained for.
        transformer_parameters: Weights of the transformer's blocks, roughly.
        count_tokens: Tokens of a formatted prompt; None where the tokenizer can't be read without its library.
    """

    hidden_layer_count: int
    encoder_token_limit: int
    native_size: int
    scheduler: ModelScheduler
    transformer_parameters: float
    count_tokens: Callable[[str], int] | None

    def resolved(self, params: GenerationParams) -> GenerationParams:
        """Return parameters with size and shift filled in, as `ZImagePipeline.resolve` does."""
        return params.model_copy(update=model_values(params, (self.native_size, self.native_size), self.scheduler))

    def checked(self, params: GenerationParams) -> GenerationParams:
        """Return resolved parameters.

        Raises:
            InvalidParameter: If the model has no such hidden layer.
        """
        check_hidden_layer(params.hidden_layer, self.hidden_layer_count)
        return self.resolved(params)


def read_model_facts(settings: EngineSettings) -> ModelFacts:
    """Read the configurations of a model; a hub id must have been fetched before.

    Raises:
        CheckpointError: If it is not there, or a file is missing or damaged.
    """
    parts = find_parts(settings, local_folder)
    text_encoder, transformer, vae = parts.text_encoder.config, parts.transformer.config, parts.vae.config
    try:
        blocks = transformer["n_layers"] + 2 * transformer["n_refiner_layers"]
        return ModelFacts(
            hidden_layer_count=int(text_encoder["num_hidden_layers"]) + 1,
            encoder_token_limit=int(text_encoder["max_position_embeddings"]),
            native_size=int(vae["sample_size"]),
            scheduler=read_scheduler(parts.folder),
            transformer_parameters=12.0 * transformer["dim"] ** 2 * blocks,
            count_tokens=_token_counter(parts.tokenizer / "tokenizer.json"),
        )
    except KeyError as error:
        raise CheckpointError(f"{parts.folder}: a config.json has no key {error}; fetch it again.") from None


def local_folder(model_path: str, *, revision: str | None) -> Path:
    """Return the folder of a model without fetching anything.

    Raises:
        CheckpointError: If there is no such folder, or the hub's model has not been fetched yet.
    """
    if existing(model_path) is None and "/" in model_path and not model_path.startswith((".", "/", "~")):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            return Path(snapshot_download(model_path, revision=revision, local_files_only=True))
        except (LocalEntryNotFoundError, ValueError):
            raise CheckpointError(
                f"{shortened(model_path)} has not been fetched from the hub yet, so its depth and size are not known; "
                "run one image with scripts/generate.py first, or give a folder.",
                field="model_path",
            ) from None
    return find_checkpoint(model_path, revision=revision)


def _token_counter(path: Path) -> Callable[[str], int] | None:
    if not path.is_file():
        return None
    stat = path.stat()
    return _read_token_counter(path, (stat.st_ino, stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=4)
def _read_token_counter(path: Path, _state: tuple[int, int, int]) -> Callable[[str], int]:
    """Read a tokenizer once for each state of its file, which takes longer than a plan; what it counted is kept too."""
    tokenizer: Any = read_tokenizer(path.parent)

    @lru_cache(maxsize=100_000)
    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    return count
