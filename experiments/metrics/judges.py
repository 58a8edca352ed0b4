"""Which scorers there are for a generator's pictures, and whether their weights are on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.metrics import image_reward, perceptual_distance, siglip
from experiments.metrics.declaration import Scorer
from experiments.metrics.model_files import is_hub_id
from experiments.metrics.picture_model import is_embedded
from experiments.metrics.registry import REGISTRY, Entry, configured_models
from llm_dit.checkpoints.finding import EMBEDDED_MODELS, existing
from llm_dit.errors import LlmDitError
from llm_dit.parameters import MetricSettings

EMBEDDED_SCORERS = (image_reward.EMBEDDED, siglip.EMBEDDED)
"""Names of the scorers that come with the code."""


@dataclass(frozen=True)
class Judge:
    """A metric as it would score here.

    Attributes:
        name: The metric's name.
        title: Its name in a table.
        model: Name of its weights, without folders; empty where it has none.
        is_here: True if nothing has to be fetched, installed or set.
        can_score: True if nothing has to be installed or set: what is not here is fetched when it scores.
        needs: What it lacks, as a sentence; empty if `is_here`.
    """

    name: str
    title: str
    model: str
    is_here: bool
    can_score: bool
    needs: str


def judges_for(settings: MetricSettings, generator_model: str) -> list[Judge]:
    """Return every metric that is computed where none is named, with the weights that the configuration gives it.

    Args:
        settings: The profile's `[PROFILE.metrics]`.
        generator_model: The model that makes the images, as configured.
    """
    models = configured_models(settings, generator_model)
    return [_judge(entry, entry.model(models)) for entry in REGISTRY]


def beyond_its_world(weights: str, generator_model: str) -> str | None:
    """Return a sentence if an embedded scorer judges pictures of a model that does not come with the code.

    Args:
        weights: Identity of the scorer's weights, as `model_identity` writes it.
        generator_model: The model that made the images, as configured; empty if nobody knows.
    """
    name = weights.partition("@")[0]
    if name not in EMBEDDED_SCORERS or not generator_model or is_embedded(generator_model):
        return None
    return (
        f"{name} knows the embedded model's world only, and these pictures were made by {generator_model}: its numbers "
        "say nothing of them."
    )


def beyond_their_worlds(scorers: Sequence[Scorer], generator_model: str) -> list[str]:
    """Return a sentence for each loaded scorer that does not know a model's pictures; see `beyond_its_world`."""
    found = (beyond_its_world(scorer.metric.model, generator_model) for scorer in scorers)
    return [sentence for sentence in found if sentence]


def _judge(entry: Entry, model: str | None) -> Judge:
    metric, missing = entry.metric, entry.missing_packages()
    folder = existing(model) if model else None
    name = (model or "") if folder is None else folder.name
    needs, can_score = "", True
    if metric.name == perceptual_distance.METRIC.name:
        needs = _lacking_for_lpips(model)
        return Judge(metric.name, metric.title, name, is_here=not needs, can_score=not needs, needs=needs)
    if missing:
        needs, can_score = f"It needs {' and '.join(missing)}: uv sync --extra {entry.extra}.", False
    elif entry.weights and model is None:
        needs, can_score = (
            f"It needs weights: set {entry.weights} in [PROFILE.metrics], to {metric.model} for example.",
            False,
        )
    elif (
        model and folder is None and not (EMBEDDED_MODELS / model).is_dir() and not _is_cached(model.partition("@")[0])
    ):
        from huggingface_hub import constants

        can_score = is_hub_id(model) and not constants.HF_HUB_OFFLINE
        needs = f"It needs {model}, which is fetched from the hub when it scores for the first time."
        if not is_hub_id(model):
            needs = f"It needs the folder {model}, which does not exist."
        elif constants.HF_HUB_OFFLINE:
            needs = f"It needs {model}, and HF_HUB_OFFLINE forbids to fetch it."
    return Judge(metric.name, metric.title, name, is_here=not needs, can_score=can_score, needs=needs)


def _lacking_for_lpips(model: str | None) -> str:
    if model is None:
        return (
            "It needs the weights of AlexNet and LPIPS: set lpips in [PROFILE.metrics] to their folder; where they are "
            "in torch's cache, name it (--metric lpips)."
        )
    try:
        perceptual_distance.weight_files(model)
    except LlmDitError as error:
        return str(error)
    return ""


def _is_cached(repository: str) -> bool:
    from huggingface_hub.constants import HF_HUB_CACHE

    snapshots = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    return snapshots.is_dir() and any(snapshots.iterdir())
