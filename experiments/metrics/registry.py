"""Every metric there is, and how to load the ones asked for. `docs/add_a_metric.md` says how to add one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from experiments.metrics import (
    embedding_distance,
    image_reward,
    perceptual_distance,
    pixel_diversity,
    pixel_fidelity,
    siglip,
)
from experiments.metrics.declaration import Metric, Scorer
from experiments.metrics.embedding_distance import EmbeddingDistanceScorer
from experiments.metrics.image_reward import ImageRewardScorer
from experiments.metrics.learned_scorer import check_list
from experiments.metrics.perceptual_distance import LPIPSScorer
from experiments.metrics.picture_model import is_embedded
from experiments.metrics.pixel_diversity import PixelDiversityScorer
from experiments.metrics.pixel_fidelity import PSNRScorer, SSIMScorer
from experiments.metrics.siglip import SigLIPScorer
from llm_dit.errors import LlmDitError, nearest
from llm_dit.parameters import MetricSettings


class ScorerModels(NamedTuple):
    """Which weights the scorers take: an embedded scorer's name, a folder, a hub id, or None to choose by picture.

    LPIPS takes a folder, or None for what its package and torch's hub cache hold.
    """

    image_reward_model: str | None = None
    siglip_model: str | None = None
    lpips_model: str | None = None


class Entry(NamedTuple):
    """A metric and the way to its scorer.

    Attributes:
        metric: The declaration.
        load: Makes the scorer from weights, device and the scorers that are loaded already.
        needs_files: True if its weights come neither with the code nor from the hub, so that it is computed only where
            it is named or a folder is configured.
    """

    metric: Metric
    load: Callable[[ScorerModels, str, Mapping[str, Scorer]], Scorer]
    needs_files: bool = False


def _load_embedding_distance(models: ScorerModels, device: str, loaded: Mapping[str, Scorer]) -> Scorer:
    """Take the SigLIP that is loaded, so that its weights are there once."""
    known = loaded.get(siglip.METRIC.name)
    scorer = known if isinstance(known, SigLIPScorer) else SigLIPScorer(models.siglip_model, device=device)
    return EmbeddingDistanceScorer(scorer)


REGISTRY = (
    Entry(image_reward.METRIC, lambda models, device, _: ImageRewardScorer(models.image_reward_model, device=device)),
    Entry(siglip.METRIC, lambda models, device, _: SigLIPScorer(models.siglip_model, device=device)),
    Entry(pixel_diversity.METRIC, lambda *_: PixelDiversityScorer()),
    Entry(pixel_fidelity.PSNR, lambda *_: PSNRScorer()),
    Entry(pixel_fidelity.SSIM, lambda *_: SSIMScorer()),
    Entry(
        perceptual_distance.METRIC,
        lambda models, device, _: LPIPSScorer(models.lpips_model, device=device),
        needs_files=True,
    ),
    Entry(embedding_distance.METRIC, _load_embedding_distance),
)

METRICS = tuple(entry.metric for entry in REGISTRY)


def default_metrics(settings: MetricSettings | None = None) -> tuple[str, ...]:
    """Return the names of the metrics that are computed where none is named: LPIPS where its folder is configured."""
    has_folder = settings is not None and settings.lpips != "auto"
    return tuple(entry.metric.name for entry in REGISTRY if has_folder or not entry.needs_files)


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
    lpips_model: str | None = None,
    device: str = "auto",
) -> list[Scorer]:
    """Load scorers, all or none, so that a metric that can't be had is known before an image is made.

    Args:
        names: Names of metrics, in the order wanted; repeated ones count once.
        image_reward_model: Name of the embedded scorer, a folder, or a hub id; None or `auto` chooses by each picture.
        siglip_model: The same for SigLIP.
        lpips_model: A folder with LPIPS's weights; None or `auto` for those of its package and torch's hub cache.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        LlmDitError: If a name is unknown or a scorer can't be loaded.
    """
    check_list("load_scorers", "names", names)
    wanted = {_entry(name).metric.name: None for name in names}
    models = ScorerModels(image_reward_model, siglip_model, lpips_model)
    loaded: dict[str, Scorer] = {}
    for entry in REGISTRY:  # in its order, since one metric may share another's weights
        if entry.metric.name in wanted:
            loaded[entry.metric.name] = _load(entry, models, device, loaded)
    return [loaded[name] for name in wanted]


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
        lpips_model=None if settings.lpips == "auto" else settings.lpips,
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


def _load(entry: Entry, models: ScorerModels, device: str, loaded: Mapping[str, Scorer]) -> Scorer:
    try:
        return entry.load(models, device, loaded)
    except LlmDitError as error:
        raise LlmDitError(f"Metric {entry.metric.name} can't be loaded: {error}", field=error.field) from error


def _entry(name: str) -> Entry:
    for entry in REGISTRY:
        if entry.metric.name == name:
            return entry
    raise LlmDitError(f"There is no metric {name!r}{nearest(name, [metric.name for metric in METRICS])}")
