"""Scores for pictures: learned judges, a reader of text, what seeds change, and how far from the baseline.

Here: a file a judge, their declarations, and what has no score yet. Not here: what scores say about levels (stats).
Importing this package is cheap: torch and transformers are imported when a scorer is constructed.
"""

from experiments.metrics.declaration import BANDS_NOTE, Band, Column, Fidelity, Metric, ScoreInput, Scorer, Scores
from experiments.metrics.embedding_distance import EmbeddingDistanceScorer
from experiments.metrics.image_reward import ImageRewardScorer, compute_image_reward
from experiments.metrics.perceptual_distance import LPIPSScorer
from experiments.metrics.pixel_diversity import PixelDiversityScorer
from experiments.metrics.pixel_fidelity import PSNRScorer, SSIMScorer
from experiments.metrics.registry import (
    METRICS,
    ScorerModels,
    default_metrics,
    load_configured_scorers,
    load_scorers,
    metric_named,
    metric_of_column,
    scorer_models_for,
)
from experiments.metrics.siglip import SigLIPScorer, compute_siglip_score

__all__ = [
    "BANDS_NOTE",
    "METRICS",
    "Band",
    "Column",
    "EmbeddingDistanceScorer",
    "Fidelity",
    "ImageRewardScorer",
    "LPIPSScorer",
    "Metric",
    "PSNRScorer",
    "PixelDiversityScorer",
    "SSIMScorer",
    "ScoreInput",
    "Scorer",
    "ScorerModels",
    "Scores",
    "SigLIPScorer",
    "compute_image_reward",
    "compute_siglip_score",
    "default_metrics",
    "load_configured_scorers",
    "load_scorers",
    "metric_named",
    "metric_of_column",
    "scorer_models_for",
]
