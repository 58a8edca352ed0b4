"""Pictures from disk to the numbers a vision model reads, on threads ahead of the device.

The arithmetic is PIL's and numpy's, so a score does not depend on whether torchvision is installed.

Shape legend: S = the model's image size in pixels, C = 3.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from llm_dit.errors import LlmDitError

ImageSource = Path | str | Image.Image
Pixels = NDArray[np.float32]
Item = TypeVar("Item")
Result = TypeVar("Result")

READER_THREADS = 4
BATCHES_AHEAD = 2


def open_image(source: ImageSource) -> Image.Image:
    """Return a picture with its pixels loaded.

    Args:
        source: A path, or a picture that is open already.

    Raises:
        LlmDitError: If the file does not exist or is not a whole picture.
    """
    if isinstance(source, Image.Image):
        return source
    path = Path(source)
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise LlmDitError(f"Image {path} does not exist.") from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise LlmDitError(f"Image {path} can't be read ({error}); generate it again.") from error


def check_image(path: Path) -> None:
    """Check that a picture is there and whole, without decoding its pixels.

    Raises:
        LlmDitError: If the file does not exist, is cut off, or fails its checksums.
    """
    try:
        with Image.open(path) as image:
            image.verify()
    except FileNotFoundError:
        raise LlmDitError(f"Image {path} does not exist.") from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise LlmDitError(f"Image {path} can't be read ({error}); generate it again.") from error


def crop_to_square(image: Image.Image, size: int, *, odd_rest: Callable[[float], int] = round) -> Image.Image:
    """Scale the shorter side to `size`, bicubic, and cut the centre square out.

    Args:
        image: Of any shape.
        size: Side of the square, in pixels.
        odd_rest: How half the rest becomes an offset: `round` as torchvision's `CenterCrop` does, `int` as
            transformers' `CLIPImageProcessor`.
    """
    width, height = image.size
    shorter = min(width, height)
    scaled_width, scaled_height = int(size * width / shorter), int(size * height / shorter)
    scaled = image.resize((scaled_width, scaled_height), Image.Resampling.BICUBIC)
    left, top = odd_rest((scaled_width - size) / 2), odd_rest((scaled_height - size) / 2)
    return scaled.crop((left, top, left + size, top + size))


def squash(image: Image.Image, height: int, width: int, resample: Image.Resampling) -> Image.Image:
    """Scale both sides to the given size, whatever the aspect ratio."""
    return image.resize((width, height), resample)


def normalise(image: Image.Image, mean: Sequence[float], std: Sequence[float]) -> Pixels:
    """Return (value / 255 - mean) / std per colour channel, [C, S, S], float32."""
    values = np.asarray(image.convert("RGB"), dtype=np.float32) / np.float32(255)
    normalised = (values - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1))


def read_ahead(
    items: Sequence[Item], prepare: Callable[[Item], Result], batch_size: int
) -> Iterator[tuple[Sequence[Item], list[Result]]]:
    """Prepare items on threads and hand them out in batches, in order.

    At most `BATCHES_AHEAD` batches wait in memory, however many items there are.

    Yields:
        A slice of `items` and what `prepare` made of each.
    """
    remaining = iter(items)
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(READER_THREADS, thread_name_prefix="image-reader") as pool:
        try:
            for start in range(0, len(items), batch_size):
                batch = items[start : start + batch_size]
                room = BATCHES_AHEAD * batch_size + len(batch) - len(waiting)
                waiting.extend(pool.submit(prepare, item) for item in islice(remaining, room))
                yield batch, [waiting.popleft().result() for _ in batch]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
