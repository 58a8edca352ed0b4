"""Which scorers there are for a generator's pictures, and whether their weights are on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.metrics import embedding_distance, image_reward, perceptual_distance, siglip
from experiments.metrics.declaration import Scorer
from experiments.metrics.picture_model import is_embedded
from experiments.metrics.registry import default_metrics, metric_named, scorer_models_for
from llm_dit.checkpoints.finding import EMBEDDED_MODELS, existing
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
        is_here: True if nothing has to be fetched.
    """

    name: str
    title: str
    model: str
    is_here: bool


def judges_for(settings: MetricSettings, generator_model: str) -> list[Judge]:
    """Return every metric that is computed where none is named, with the weights that the configuration gives it.

    Args:
        settings: The profile's `[P.metrics]`.
        generator_model: The model that makes the images, as configured.
    """
    fitting = scorer_models_for(generator_model)
    models = {
        image_reward.METRIC.name: fitting.image_reward_model
        if settings.image_reward == "auto"
        else settings.image_reward,
        siglip.METRIC.name: fitting.siglip_model if settings.siglip == "auto" else settings.siglip,
    }
    models[embedding_distance.METRIC.name] = models[siglip.METRIC.name]
    models[perceptual_distance.METRIC.name] = settings.lpips
    offered = [metric_named(name) for name in default_metrics(settings)]
    return [_judge(metric.name, metric.title, models.get(metric.name) or "") for metric in offered]


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


def _judge(name: str, title: str, model: str) -> Judge:
    folder = existing(model) if model else None
    if not model or folder is not None or (EMBEDDED_MODELS / model).is_dir():
        return Judge(name, title, model if folder is None else folder.name, is_here=True)
    return Judge(name, title, model, is_here=_is_cached(model.partition("@")[0]))


def _is_cached(repository: str) -> bool:
    from huggingface_hub.constants import HF_HUB_CACHE

    snapshots = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    return snapshots.is_dir() and any(snapshots.iterdir())
