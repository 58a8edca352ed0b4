"""Which scorers there are for a generator's pictures, and whether their weights are on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from experiments.metrics import image_reward, siglip
from experiments.metrics.registry import METRICS, scorer_models_for
from llm_dit.checkpoints.finding import EMBEDDED_MODELS, existing
from llm_dit.parameters import MetricSettings


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
    """Return every metric with the weights that the configuration gives it.

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
    return [_judge(metric.name, metric.title, models.get(metric.name) or "") for metric in METRICS]


def _judge(name: str, title: str, model: str) -> Judge:
    folder = existing(model) if model else None
    if not model or folder is not None or (EMBEDDED_MODELS / model).is_dir():
        return Judge(name, title, model if folder is None else folder.name, is_here=True)
    return Judge(name, title, model, is_here=_is_cached(model.partition("@")[0]))


def _is_cached(repository: str) -> bool:
    from huggingface_hub.constants import HF_HUB_CACHE

    snapshots = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    return snapshots.is_dir() and any(snapshots.iterdir())
