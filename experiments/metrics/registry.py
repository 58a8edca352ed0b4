"""Every metric there is, and how to load the ones asked for. `docs/add_a_metric.md` says how to add one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from experiments.metrics import image_reward, pixel_diversity, pixel_fidelity, siglip
from experiments.metrics.declaration import Metric, Scorer
from experiments.metrics.image_reward import ImageRewardScorer
from experiments.metrics.learned_scorer import check_list
from experiments.metrics.picture_model import is_embedded
from experiments.metrics.pixel_diversity import PixelDiversityScorer
from experiments.metrics.pixel_fidelity import PSNRScorer, SSIMScorer
from experiments.metrics.siglip import SigLIPScorer
from llm_dit.errors import LlmDitError, nearest
from llm_dit.parameters import MetricSettings


class ScorerModels(NamedTuple):
    """Which weights the scorers take: an embedded scorer's name, a folder, a hub id, or None to choose by picture."""

    image_reward_model: str | None = None
    siglip_model: str | None = None


class Entry(NamedTuple):
    """A metric and the way to its scorer."""

    metric: Metric
    load: Callable[[ScorerModels, str], Scorer]


REGISTRY = (
    Entry(image_reward.METRIC, lambda models, device: ImageRewardScorer(models.image_reward_model, device=device)),
    Entry(siglip.METRIC, lambda models, device: SigLIPScorer(models.siglip_model, device=device)),
    Entry(pixel_diversity.METRIC, lambda _models, _device: PixelDiversityScorer()),
    Entry(pixel_fidelity.PSNR, lambda _models, _device: PSNRScorer()),
    Entry(pixel_fidelity.SSIM, lambda _models, _device: SSIMScorer()),
)

METRICS = tuple(entry.metric for entry in REGISTRY)


def metric_named(name: str) -> Metric:
    """Return a metric's declaration.

    Raises:
        LlmDitError: If there is no such metric; it names the nearest.
    """
    return _entry(name).metric


def metric_of_column(column: str) -> Metric:
    """Return the metric whose column may decide between levels.

    Raises:
        LlmDitError: If no metric has the column, neither direction of it is better, or its values depend on other
        seeds.
    """
    metric = next((entry.metric for entry in REGISTRY for item in entry.metric.columns if item.name == column), None)
    if metric is None:
        names = [item.name for entry in REGISTRY for item in entry.metric.columns]
        raise LlmDitError(f"There is no measure {column!r}{nearest(column, names)}")
    if not metric.can_decide:
        usable = [entry.metric.name for entry in REGISTRY if entry.metric.can_decide]
        raise LlmDitError(f"{column} has no better direction, so it can't decide; use {' or '.join(usable)}.")
    return metric


def load_scorers(
    names: Sequence[str],
    *,
    image_reward_model: str | None = None,
    siglip_model: str | None = None,
    device: str = "auto",
) -> list[Scorer]:
    """Load scorers, all or none, so that a metric that can't be had is known before an image is made.

    Args:
        names: Names of metrics, in the order wanted; repeated ones count once.
        image_reward_model: Name of the embedded scorer, a folder, or a hub id; None or `auto` chooses by each picture.
        siglip_model: The same for SigLIP.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        LlmDitError: If a name is unknown or a scorer can't be loaded.
    """
    check_list("load_scorers", "names", names)
    entries = [_entry(name) for name in dict.fromkeys(names)]
    models = ScorerModels(image_reward_model, siglip_model)
    return [_load(entry, models, device) for entry in entries]


def load_configured_scorers(
    names: Sequence[str], settings: MetricSettings, generator_model: str, *, device: str = "auto"
) -> list[Scorer]:
    """Load scorers as the configuration says; where it says `auto`, those that fit the generator.

    Args:
        names: Names of metrics.
        settings: The profile's `[P.metrics]`.
        generator_model: The model that makes or made the images, as configured.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        LlmDitError: If a name is unknown or a scorer can't be loaded.
    """
    fitting = scorer_models_for(generator_model)
    return load_scorers(
        names,
        image_reward_model=fitting.image_reward_model if settings.image_reward == "auto" else settings.image_reward,
        siglip_model=fitting.siglip_model if settings.siglip == "auto" else settings.siglip,
        device=device,
    )


def scorer_models_for(generator_model: str) -> ScorerModels:
    """Return the scorers that judge a generator's pictures when no setting names others.

    The embedded miniatures know only the embedded generator's world; pictures of any other model go to the published
    scorers.

    Args:
        generator_model: The generator as configured: the name of an embedded model, a folder or a hub id.
    """
    if is_embedded(generator_model):
        return ScorerModels(image_reward.EMBEDDED, siglip.EMBEDDED)
    return ScorerModels(image_reward.PUBLISHED, siglip.PUBLISHED)


def _load(entry: Entry, models: ScorerModels, device: str) -> Scorer:
    try:
        return entry.load(models, device)
    except LlmDitError as error:
        raise LlmDitError(f"Metric {entry.metric.name} can't be loaded: {error}", field=error.field) from error


def _entry(name: str) -> Entry:
    for entry in REGISTRY:
        if entry.metric.name == name:
            return entry
    raise LlmDitError(f"There is no metric {name!r}{nearest(name, [metric.name for metric in METRICS])}")
