"""Every metric there is, and how to load the ones asked for. `docs/add_a_metric.md` says how to add one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from experiments.metrics import (
    embedding_distance,
    embedding_diversity,
    hps,
    image_reward,
    perceptual_distance,
    pick_score,
    pixel_diversity,
    pixel_fidelity,
    siglip,
    text_accuracy,
    vqa_score,
)
from experiments.metrics.declaration import Metric, Scorer
from experiments.metrics.embedding_distance import EmbeddingDistanceScorer
from experiments.metrics.embedding_diversity import EmbeddingDiversityScorer
from experiments.metrics.hps import HPSScorer
from experiments.metrics.image_reward import ImageRewardScorer
from experiments.metrics.learned_scorer import LearnedScorer, check_list
from experiments.metrics.perceptual_distance import LPIPSScorer
from experiments.metrics.pick_score import PickScoreScorer
from experiments.metrics.picture_model import is_embedded
from experiments.metrics.pixel_diversity import PixelDiversityScorer
from experiments.metrics.pixel_fidelity import PSNRScorer, SSIMScorer
from experiments.metrics.shared_siglip import OnEmbeddings
from experiments.metrics.siglip import SigLIPScorer
from experiments.metrics.text_accuracy import TextAccuracyScorer
from experiments.metrics.vqa_score import VQAScorer
from llm_dit.errors import LlmDitError, nearest
from llm_dit.parameters import MetricSettings


class ScorerModels(NamedTuple):
    """Which weights the scorers take: an embedded scorer's name, a folder, a hub id, or None.

    None chooses by picture for ImageReward and SigLIP, means what its package and torch's hub cache hold for LPIPS, and
    leaves the others without weights.
    """

    image_reward_model: str | None = None
    siglip_model: str | None = None
    lpips_model: str | None = None
    pick_score_model: str | None = None
    hps_score_model: str | None = None
    vqa_score_model: str | None = None


class Entry(NamedTuple):
    """A metric and the way to its scorer.

    Attributes:
        metric: The declaration.
        load: Makes the scorer from weights, device and the scorers that are loaded already.
        needs_files: True if its weights come neither with the code nor from the hub, so that it is computed only where
            it is named or a folder is configured.
        weights: The setting of `[PROFILE.metrics]` that names its weights; empty where it has none.
        packages: What must be importable.
        extra: The installation extra that brings `packages`.
    """

    metric: Metric
    load: Callable[[ScorerModels, str, Mapping[str, Scorer]], Scorer]
    needs_files: bool = False
    weights: str = ""
    packages: tuple[str, ...] = ()
    extra: str = ""

    def missing_packages(self) -> list[str]:
        """Return what is not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]

    def model(self, models: ScorerModels) -> str | None:
        """Return the weights that it takes."""
        return getattr(models, f"{self.weights}_model") if self.weights else None


def _siglip_of(models: ScorerModels, device: str, loaded: Mapping[str, Scorer]) -> SigLIPScorer:
    """Return the SigLIP that is loaded, so that its weights are there once."""
    for scorer in loaded.values():
        if isinstance(scorer, SigLIPScorer):
            return scorer
        if isinstance(scorer, OnEmbeddings):
            return scorer.siglip
    return SigLIPScorer(models.siglip_model, device=device)


def _named(kind: type[LearnedScorer], setting: str) -> Entry:
    """Return the entry of a judge that has no weights until somebody names some."""

    def load(models: ScorerModels, device: str, _loaded: Mapping[str, Scorer]) -> Scorer:
        model: str | None = getattr(models, f"{setting}_model")
        if model is None:
            raise LlmDitError(
                f"it has no weights; set {setting} in [PROFILE.metrics], or --{setting.replace('_', '-')}, to "
                f"{kind.published} for example."
            )
        return kind(model, device=device)

    return Entry(kind.declaration, load, needs_files=True, weights=setting)


REGISTRY = (
    Entry(
        image_reward.METRIC,
        lambda models, device, _: ImageRewardScorer(models.image_reward_model, device=device),
        weights="image_reward",
    ),
    Entry(siglip.METRIC, lambda models, device, _: SigLIPScorer(models.siglip_model, device=device), weights="siglip"),
    _named(PickScoreScorer, pick_score.METRIC.name),
    _named(HPSScorer, hps.METRIC.name),
    _named(VQAScorer, vqa_score.METRIC.name),
    Entry(
        text_accuracy.METRIC,
        lambda *_: TextAccuracyScorer(),
        packages=text_accuracy.PACKAGES,
        extra=text_accuracy.EXTRA,
    ),
    Entry(pixel_diversity.METRIC, lambda *_: PixelDiversityScorer()),
    Entry(
        embedding_diversity.METRIC,
        lambda models, device, loaded: EmbeddingDiversityScorer(_siglip_of(models, device, loaded)),
        weights="siglip",
    ),
    Entry(pixel_fidelity.PSNR, lambda *_: PSNRScorer()),
    Entry(pixel_fidelity.SSIM, lambda *_: SSIMScorer()),
    Entry(
        perceptual_distance.METRIC,
        lambda models, device, _: LPIPSScorer(models.lpips_model, device=device),
        needs_files=True,
        weights="lpips",
    ),
    Entry(
        embedding_distance.METRIC,
        lambda models, device, loaded: EmbeddingDistanceScorer(_siglip_of(models, device, loaded)),
        weights="siglip",
    ),
)

METRICS = tuple(entry.metric for entry in REGISTRY)


def default_metrics(settings: MetricSettings | None = None) -> tuple[str, ...]:
    """Return the names of the metrics that are computed where none is named: those installed and with weights.

    What needs files of its own is among them where `settings` name them.
    """
    models = configured_models(settings or MetricSettings(), "")
    return tuple(
        entry.metric.name
        for entry in REGISTRY
        if not entry.missing_packages() and (entry.model(models) is not None or not entry.needs_files)
    )


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
    pick_score_model: str | None = None,
    hps_score_model: str | None = None,
    vqa_score_model: str | None = None,
    device: str = "auto",
) -> list[Scorer]:
    """Load scorers, all or none, so that a metric that can't be had is known before an image is made.

    Args:
        names: Names of metrics, in the order wanted; repeated ones count once.
        image_reward_model: Name of the embedded scorer, a folder, or a hub id; None or `auto` chooses by each picture.
        siglip_model: The same for SigLIP.
        lpips_model: A folder with LPIPS's weights; None or `auto` for those of its package and torch's hub cache.
        pick_score_model: A folder or hub id of PickScore; without one the metric can't be loaded.
        hps_score_model: The same for HPS v2.1.
        vqa_score_model: The same for the model that answers questions.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        LlmDitError: If a name is unknown or a scorer can't be loaded.
    """
    check_list("load_scorers", "names", names)
    wanted = {_entry(name).metric.name: None for name in names}
    models = ScorerModels(
        image_reward_model, siglip_model, lpips_model, pick_score_model, hps_score_model, vqa_score_model
    )
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
        settings: The profile's `[PROFILE.metrics]`.
        generator_model: The model that makes or made the images, as configured.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        LlmDitError: If a name is unknown or a scorer can't be loaded.
    """
    return load_scorers(names, **configured_models(settings, generator_model)._asdict(), device=device)


def configured_models(settings: MetricSettings, generator_model: str) -> ScorerModels:
    """Return the weights that the configuration gives; where it says `auto`, those that fit the generator."""
    fitting = scorer_models_for(generator_model)
    return ScorerModels(
        image_reward_model=fitting.image_reward_model if settings.image_reward == "auto" else settings.image_reward,
        siglip_model=fitting.siglip_model if settings.siglip == "auto" else settings.siglip,
        lpips_model=None if settings.lpips == "auto" else settings.lpips,
        pick_score_model=settings.pick_score,
        hps_score_model=settings.hps_score,
        vqa_score_model=settings.vqa_score,
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
