"""Which model made a picture, as the picture itself or the record beside it says; and so, which scorers judge it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from experiments.metrics.images import ImageSource, open_image
from experiments.store.json_file import read_json
from llm_dit.checkpoints.finding import EMBEDDED_MODELS, existing, is_embedded_name
from llm_dit.errors import LlmDitError
from llm_dit.image_io import record_of


def generator_of(source: ImageSource) -> str | None:
    """Return the model that made a picture, as it was configured; None where nothing says it.

    Args:
        source: A path, or a picture that is open. A file in the `images` folder of an experiment that has lost what it
            carried is looked up in the experiment's records.

    Raises:
        LlmDitError: If the file can't be read.
    """
    record = record_of(open_image(source))
    if record is None and not isinstance(source, Image.Image) and Path(source).parent.name == "images":
        record = read_json(Path(source).parents[1] / "metadata" / f"{Path(source).stem}.json")
    model = record.get("model_path") if record else None
    return model if isinstance(model, str) and model else None


def is_embedded(generator: str | None) -> bool:
    """Return True if a generator, as configured, is one that comes with the code; unknown ones are not."""
    if not generator:
        return False
    place = existing(generator)
    is_inside = place is not None and place.resolve().parent == EMBEDDED_MODELS.resolve()
    return is_embedded_name(generator) or is_inside


def check_source(source: object) -> None:
    """Check that something can be a picture.

    Raises:
        LlmDitError: If it is neither a path nor a PIL picture.
    """
    if not isinstance(source, Path | str | Image.Image):
        raise LlmDitError(
            f"A picture is a path or a PIL image, not {type(source).__name__}; score_batch takes a list of them."
        )
