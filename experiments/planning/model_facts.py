"""What planning needs to know of a model, read from its configuration files without loading it or importing torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from llm_dit.checkpoints.finding import existing, find_checkpoint, shortened
from llm_dit.checkpoints.hidden_layers import check_hidden_layers
from llm_dit.checkpoints.model_parts import ModelParts, find_parts
from llm_dit.checkpoints.scheduler import ModelScheduler, model_values, read_scheduler
from llm_dit.checkpoints.tokenizer_file import read_tokenizer
from llm_dit.errors import CheckpointError
from llm_dit.networks.transformer_config import ZImageTransformerConfig
from llm_dit.parameters import EngineSettings, GenerationParams
from llm_dit.prompting.long_prompt import check_text_tokens

MOST_KEPT = 4
SETTLED_S = 1.0

FileStates = tuple[tuple[str, int, int, int], ...]
"""Path, inode, time of the last change in nanoseconds, and size of each file."""


@dataclass(frozen=True)
class ModelFacts:
    """A checkpoint, seen from outside.

    Attributes:
        hidden_layer_count: Number of hidden states of the text encoder; valid layers are -1 down to minus this.
        encoder_token_limit: Most tokens that the text encoder reads.
        text_token_limit: Longest caption that the transformer's positions hold, in tokens.
        native_size: Side of the square images the model was trained for, in pixels.
        scheduler: The noise schedule it was trained for.
        transformer_parameters: Weights of the transformer's blocks, roughly.
        count_tokens: Tokens of a formatted prompt; None where the tokenizer can't be read without its library.
    """

    hidden_layer_count: int
    encoder_token_limit: int
    text_token_limit: int
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
            InvalidParameter: If the model has no such hidden layer or can't see as many text tokens.
        """
        check_hidden_layers(params, self.hidden_layer_count)
        check_text_tokens(params, self.text_token_limit)
        return self.resolved(params)


@dataclass(frozen=True)
class _KeptFacts:
    """Facts of a model, and the files that they are true of."""

    facts: ModelFacts
    folder: Path
    places: tuple[Path, ...]
    state: FileStates

    def is_current(self, settings: EngineSettings) -> bool:
        """Return True if the settings still mean these files, and all are as they were."""
        if _is_hub_id(settings.model_path):  # whose newest revision may have been fetched since
            folder = local_folder(settings.model_path, revision=settings.model_revision)
            if folder != self.folder:
                return False
        return _state_of(self.places) == self.state


_kept: dict[str, _KeptFacts] = {}
"""By all engine settings, so that none that comes to say where a part lies is forgotten; the newest last."""


def read_model_facts(settings: EngineSettings) -> ModelFacts:
    """Read the configurations of a model; a hub id must have been fetched before.

    A model whose files are as they were the last time is not read again.

    Raises:
        CheckpointError: If it is not there, or a file is missing or damaged.
    """
    asked = settings.model_dump_json()
    kept = _kept.get(asked)
    if kept is not None and kept.is_current(settings):
        return kept.facts
    began_ns = time.time_ns()
    parts = find_parts(settings, local_folder)
    facts = _facts_of(parts)
    places = _places_of(parts)
    state = _state_of(places)
    _kept.pop(asked, None)
    if state is not None and _is_settled(state, began_ns):
        _kept[asked] = _KeptFacts(facts, parts.folder, places, state)
        for oldest in list(_kept)[:-MOST_KEPT]:
            _kept.pop(oldest, None)
    return facts


def local_folder(model_path: str, *, revision: str | None) -> Path:
    """Return the folder of a model without fetching anything.

    Raises:
        CheckpointError: If there is no such folder, or the hub's model has not been fetched yet.
    """
    if _is_hub_id(model_path):
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


def _is_hub_id(model_path: str) -> bool:
    return existing(model_path) is None and "/" in model_path and not model_path.startswith((".", "/", "~"))


def _facts_of(parts: ModelParts) -> ModelFacts:
    text_encoder, transformer, vae = parts.text_encoder.config, parts.transformer.config, parts.vae.config
    try:
        blocks = transformer["n_layers"] + 2 * transformer["n_refiner_layers"]
        return ModelFacts(
            hidden_layer_count=int(text_encoder["num_hidden_layers"]) + 1,
            encoder_token_limit=int(text_encoder["max_position_embeddings"]),
            text_token_limit=ZImageTransformerConfig.from_dict(transformer).text_token_limit,
            native_size=int(vae["sample_size"]),
            scheduler=read_scheduler(parts.folder),
            transformer_parameters=12.0 * transformer["dim"] ** 2 * blocks,
            count_tokens=_token_counter(parts.tokenizer / "tokenizer.json"),
        )
    except KeyError as error:
        raise CheckpointError(f"{parts.folder}: a config.json has no key {error}; fetch it again.") from None


def _places_of(parts: ModelParts) -> tuple[Path, ...]:
    """Return the folders that a model's facts were read from."""
    homes = [
        part.path if part.path.is_dir() else part.path.parent
        for part in (parts.transformer, parts.text_encoder, parts.vae)
    ]
    return tuple(dict.fromkeys([parts.folder, *homes, parts.tokenizer, parts.folder / "scheduler"]))


def _state_of(places: tuple[Path, ...]) -> FileStates | None:
    """Return what tells whether a file of these folders is another now; None where that can't be seen."""
    try:
        return tuple(_file_states(places))
    except OSError:
        return None


def _file_states(places: tuple[Path, ...]) -> Iterator[tuple[str, int, int, int]]:
    for place in places:
        for path in sorted(place.iterdir()) if place.exists() else ():
            stat = path.stat()
            yield str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size


def _is_settled(state: FileStates, began_ns: int) -> bool:
    """Return True if no file was written during the reading, or so shortly before that its time may not tell."""
    newest_ns = max(changed for _path, _number, changed, _size in state)
    return began_ns - newest_ns > SETTLED_S * 1e9


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
