"""What the learned scorers share: choosing and loading weights, moving to a device, reading ahead, batching.

A `Judge` is one network with its weights in place; a `LearnedScorer` is the metric that users hold. Without weights of
its own choosing, the scorer takes for each picture those that fit the model that made it: the embedded miniatures know
only the embedded generator's world.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from experiments.metrics.declaration import Metric, ScoreInput, Scores
from experiments.metrics.images import ImageSource, read_ahead
from experiments.metrics.model_files import find_model, model_identity
from experiments.metrics.picture_model import check_source, generator_of, is_embedded
from llm_dit.errors import LlmDitError
from llm_dit.placement.devices import resolve_device

IMAGES_PER_BATCH = 16
Prepared = TypeVar("Prepared")
Rating = TypeVar("Rating")


class Judge(ABC, Generic[Prepared, Rating]):
    """One network with its weights in place.

    Attributes:
        network: A torch module.
        weights: The files that its weights came from.
        device: Where it is.
    """

    network: Any
    weights: Sequence[Path]
    device: Any

    def __init__(self, folder: Path) -> None:
        """Load from a folder, onto the CPU.

        Raises:
            LlmDitError: If it does not fit.
        """

    def texts(self, prompt: str) -> list[str]:
        """Return the texts that a picture is held against for its columns; the first gives the main number."""
        return [prompt]

    def texts_of(self, row: ScoreInput) -> list[str]:
        """Return the texts for a row, of which the file of its prompt may say more."""
        return self.texts(row.prompt)

    @abstractmethod
    def prepare(self, source: ImageSource) -> Prepared:
        """Read a picture as the network sees it; called on threads."""

    @abstractmethod
    def rate(self, texts: Sequence[Sequence[str]], pictures: Sequence[Prepared]) -> list[list[Rating]]:
        """Hold each picture of a batch against its own texts; called without gradients."""

    @abstractmethod
    def value(self, rating: Rating) -> float:
        """Return the metric's main number."""

    @abstractmethod
    def columns(self, prompt: str, ratings: dict[str, Rating], picture: Prepared) -> Scores:
        """Return every column of the metric, from the ratings of `texts(prompt)`."""


class LearnedScorer:
    """A metric of learned weights.

    Attributes:
        declaration: What it measures.
        judge_class: Its network.
        embedded: Name of the scorer that comes with the code; None where none does.
        published: Hub id of the published one.
        weight_files: Patterns of the files that may hold weights, to be fetched from the hub.
        other_files: Patterns of what else is read of a model: configurations and tokenizer.

    Args:
        model: Name of the embedded scorer, a folder, or a hub id, `@` and a revision behind it or not. None or `auto`
            chooses by each picture: the embedded scorer for pictures that say an embedded model made them, the
            published one for all others; nothing is loaded before the first picture then, and `metric.model` is empty.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        LlmDitError: If the model can't be found or does not fit.
    """

    declaration: ClassVar[Metric]
    judge_class: ClassVar[type[Judge[Any, Any]]]
    embedded: ClassVar[str | None]
    published: ClassVar[str]
    weight_files: ClassVar[Sequence[str]]
    other_files: ClassVar[Sequence[str]]

    def __init__(self, model: str | Path | None = None, *, device: str = "auto") -> None:
        self._model = None if model == "auto" else model
        self._device = resolve_device(device, "device")
        self._judges: dict[str | Path, Judge[Any, Any]] = {}
        self.metric = replace(self.declaration, model="")
        if self._model is not None:
            judge, folder = self._load(self._model)
            read = [*judge.weights, *(path for pattern in self.other_files for path in folder.glob(pattern))]
            self.metric = replace(self.declaration, model=model_identity(self._model, folder, read))

    def move_to(self, device: str) -> None:
        """Go to another device; `auto` takes the fastest."""
        self._device = resolve_device(device, "device")
        for judge in self._judges.values():
            self._place(judge)

    def score(self, prompt: str, image: ImageSource) -> float:
        """Return the main number of one picture; higher is better."""
        check_source(image)
        return self.score_batch([prompt], [image])[0]

    def score_batch(self, prompts: Sequence[str], images: Sequence[ImageSource]) -> list[float]:
        """Return the main number of each picture for the prompt beside it.

        Args:
            prompts: As many texts as pictures.
            images: Paths or PIL pictures.

        Raises:
            LlmDitError: If the numbers differ, something is no text or no picture, or a picture can't be read.

        Warns:
            UserWarning: If the embedded scorer was named, and a picture says that another model made it.
        """
        _check_batch(prompts, images)
        self._warn_of_foreign(images)
        values = [0.0] * len(images)
        for judge, indices in self._judges_of(images):
            texts = [judge.texts(prompts[index])[:1] for index in indices]
            judged = _judged(judge, texts, [images[index] for index in indices])
            for index, (_, ratings) in zip(indices, judged, strict=True):
                values[index] = judge.value(ratings[0])
        return values

    def score_rows(self, rows: Sequence[ScoreInput]) -> list[Scores]:
        """Return every column of the metric for every row."""
        columns: list[Scores] = [{} for _ in rows]
        for judge, indices in self._judges_of([row.image for row in rows]):
            own = [judge.texts_of(rows[index]) for index in indices]
            judged = _judged(judge, own, [rows[index].image for index in indices])
            for index, held, (picture, ratings) in zip(indices, own, judged, strict=True):
                columns[index] = judge.columns(rows[index].prompt, dict(zip(held, ratings, strict=True)), picture)
        return columns

    def judges_for(self, images: Sequence[ImageSource]) -> list[Any]:
        """Return the loaded networks that judge some pictures.

        Raises:
            LlmDitError: If they are several, whose numbers can't be compared, or one can't be loaded.
        """
        judges = [judge for judge, _ in self._judges_of(images)]
        if len(judges) != 1:
            raise LlmDitError(
                f"{self.declaration.name} would judge these pictures by {len(judges)} models; name its weights."
            )
        return judges

    def _judges_of(self, images: Sequence[ImageSource]) -> list[tuple[Judge[Any, Any], list[int]]]:
        """Return each judge that is needed, loaded, and the positions of the pictures that it judges."""
        if self._model is not None:
            return [(self._judges[self._model], list(range(len(images))))]
        groups: dict[str, list[int]] = {}
        for index, image in enumerate(images):
            made_by = generator_of(image)
            chosen = self.embedded if self.embedded is not None and is_embedded(made_by) else self.published
            if chosen not in self._judges:
                self._load_fitting(chosen, image, made_by)
            groups.setdefault(chosen, []).append(index)
        return [(self._judges[chosen], indices) for chosen, indices in groups.items()]

    def _warn_of_foreign(self, images: Sequence[ImageSource]) -> None:
        """Warn, once a call, where the embedded scorer was named for a picture that says another model made it."""
        if self.embedded is None or self._model != self.embedded:
            return
        for image in images:
            made_by = generator_of(image)
            if made_by is not None and not is_embedded(made_by):
                name = image if isinstance(image, Path | str) else "A picture"
                warnings.warn(
                    f"{self.embedded} knows the embedded model's world only, and {name} was made by {made_by}: its "
                    "number says nothing of it.",
                    stacklevel=3,
                )
                return

    def _load_fitting(self, chosen: str, image: ImageSource, made_by: str | None) -> None:
        try:
            self._load(chosen)
        except LlmDitError as error:
            name = image if isinstance(image, Path | str) else "The picture"
            origin = f"was made by {made_by}" if made_by else "does not say which model made it"
            choice = f"{type(self).__name__}(FOLDER)."
            if self.embedded is not None:
                choice = (
                    f'{type(self).__name__}("{self.embedded}"), which knows the embedded model\'s world only, or by a '
                    "folder."
                )
            raise LlmDitError(
                f"{name} {origin}, so {chosen} judges it, and that can't be loaded: {error} Choose weights by {choice}"
            ) from error

    def _load(self, model: str | Path) -> tuple[Judge[Any, Any], Path]:
        folder = find_model(model, embedded=self.embedded, patterns=(*self.weight_files, *self.other_files))
        judge = self.judge_class(folder)
        self._place(judge)
        self._judges[model] = judge
        return judge, folder

    def _place(self, judge: Judge[Any, Any]) -> None:
        judge.device = self._device
        judge.network.to(self._device)


@lru_cache(maxsize=2)
def shared_scorer(kind: type[LearnedScorer], model: str | Path | None, device: str) -> LearnedScorer:
    """Return a scorer that stays loaded for the next call."""
    return kind(model, device=device)


def _judged(
    judge: Judge[Prepared, Rating], texts: Sequence[Sequence[str]], images: Sequence[ImageSource]
) -> Iterator[tuple[Prepared, list[Rating]]]:
    """Yield each picture as prepared, and its ratings; pictures are read ahead of the device."""
    import torch

    done = 0
    for _, pictures in read_ahead(images, judge.prepare, IMAGES_PER_BATCH):
        with torch.inference_mode():
            ratings = judge.rate(texts[done : done + len(pictures)], pictures)
        done += len(pictures)
        yield from zip(pictures, ratings, strict=True)


def check_list(call: str, what: str, values: object) -> None:
    """Refuse one text or picture where `call` takes a list of them.

    Raises:
        LlmDitError: Naming what was given.
    """
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise LlmDitError(f"{call} needs a list of {what}, not {type(values).__name__}.")


def _check_batch(prompts: object, images: object) -> None:
    check_list("score_batch", "prompts", prompts)
    check_list("score_batch", "images", images)
    assert isinstance(prompts, Sequence)
    assert isinstance(images, Sequence)
    if len(prompts) != len(images):
        raise LlmDitError(f"score_batch needs a prompt for each image, not {len(prompts)} for {len(images)}.")
    for prompt in prompts:
        if not isinstance(prompt, str):
            raise LlmDitError(f"A prompt is a text, not {type(prompt).__name__}.")
    for image in images:
        check_source(image)
