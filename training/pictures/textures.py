"""Banks of random textures that the renderer lays over skies and grounds.

Each bank holds `VARIANTS` fixed pictures drawn from one seed, so that a scene's `noise` number picks the same texture
on every device and at every size. Legend: V variants, H height, W width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from training.world.scene import VARIANTS

BANK_SIZE = 192
"""Pixels of a bank's side before it is resized to the picture."""


class TextureBank:
    """Clouds, stars, grain, falling rain, snow and bubbles, and outlines of horizons, resized on demand and kept."""

    def __init__(self, device: torch.device, seed: int = 20_261_122) -> None:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(VARIANTS, 1, BANK_SIZE, BANK_SIZE, generator=generator)
        banks = {
            "clouds": _fractal_noise(generator, (6, 10, 20, 40), stretch=2.2),
            "blobs": _fractal_noise(generator, (3, 5), stretch=1.0),
            "grain": _rescaled(noise),
            "stars": _dots(generator, 90, 0.55, 1.1),
            "snow": _dots(generator, 70, 1.0, 2.0),
            "bubbles": _dots(generator, 16, 1.5, 3.5),
            "rain": _streaks(noise),
        }
        self._banks = {name: bank.to(device) for name, bank in banks.items()}
        heights = [_smooth_line(generator, (3, 5)), _peaks(generator), _spikes(generator), _towers(generator)]
        heights.append(_smooth_line(generator, (2, 4)))
        self._heights = torch.stack(heights).to(device)  # [kind, V, BANK_SIZE]
        self._resized: dict[tuple[str, int, int], Tensor] = {}

    def picture(self, name: str, variants: Tensor, height: int, width: int) -> Tensor:
        """Take one texture an image.

        Args:
            name: Name of a bank.
            variants: Which, int64 [B].
            height: Pixels.
            width: Pixels.

        Returns:
            float32 [B, 1, H, W], about 0..1.
        """
        key = (name, height, width)
        if key not in self._resized:
            bank = self._banks[name]
            self._resized[key] = F.interpolate(bank, (height, width), mode="bilinear", antialias=True)
        return self._resized[key][variants]

    def skyline(self, kinds: Tensor, variants: Tensor, width: int) -> Tensor:
        """Heights of the silhouettes at the horizon.

        Args:
            kinds: 0 hills, 1 mountains, 2 forest, 3 towers, 4 dunes, int64 [B].
            variants: Which, int64 [B].
            width: Pixels.

        Returns:
            float32 [B, W], 0..1.
        """
        key = ("skyline", 1, width)
        if key not in self._resized:
            self._resized[key] = F.interpolate(self._heights, width, mode="linear")
        return self._resized[key][kinds, variants]


def _fractal_noise(generator: torch.Generator, cells: tuple[int, ...], stretch: float) -> Tensor:
    total = torch.zeros(VARIANTS, 1, BANK_SIZE, BANK_SIZE)
    for octave, count in enumerate(cells):
        grid = torch.randn(VARIANTS, 1, round(count * stretch), count, generator=generator)
        smooth = F.interpolate(grid, (BANK_SIZE, BANK_SIZE), mode="bicubic", align_corners=True)
        total += smooth * 0.55**octave
    return _rescaled(total)


def _rescaled(values: Tensor) -> Tensor:
    centred = values - values.mean((-2, -1), keepdim=True)
    return (0.5 + 0.22 * centred / centred.std((-2, -1), keepdim=True)).clamp(0, 1)


def _dots(generator: torch.Generator, count: int, smallest: float, largest: float) -> Tensor:
    centres = torch.rand(VARIANTS, count, 2, generator=generator) * BANK_SIZE
    radii = smallest + (largest - smallest) * torch.rand(VARIANTS, count, generator=generator)
    axis = torch.arange(BANK_SIZE, dtype=torch.float32)
    rows = torch.exp(-(((axis - centres[..., :1]) / radii[..., None]) ** 2))  # [V, count, H]
    columns = torch.exp(-(((axis - centres[..., 1:]) / radii[..., None]) ** 2))
    return torch.einsum("vnh,vnw->vhw", rows, columns).clamp(0, 1)[:, None]


def _streaks(noise: Tensor) -> Tensor:
    """Smear sparse noise along a steep diagonal."""
    drops = (noise > 2.9).float()
    length = 15
    smeared = sum(torch.roll(drops, (step, -step // 4), (-2, -1)) for step in range(length))
    assert isinstance(smeared, Tensor)
    return F.avg_pool2d(smeared.clamp(0, 1), 3, 1, 1) * 1.6


def _smooth_line(generator: torch.Generator, cells: tuple[int, ...]) -> Tensor:
    total = torch.zeros(VARIANTS, BANK_SIZE)
    for octave, count in enumerate(cells):
        knots = torch.rand(VARIANTS, 1, count + 2, generator=generator)
        total += F.interpolate(knots[:, 0, None], BANK_SIZE, mode="linear", align_corners=True)[:, 0] * 0.5**octave
    kernel = torch.hann_window(41, periodic=False)
    padded = F.pad(total[:, None], (20, 20), mode="replicate")
    smooth = F.conv1d(padded, (kernel / kernel.sum())[None, None])[:, 0]
    return smooth / smooth.amax(-1, keepdim=True)


def _peaks(generator: torch.Generator) -> Tensor:
    position = torch.linspace(0, 1, BANK_SIZE)
    centres = torch.rand(VARIANTS, 4, 1, generator=generator) * 0.22 + torch.arange(4)[None, :, None] * 0.28
    tops = 0.55 + 0.45 * torch.rand(VARIANTS, 4, 1, generator=generator)
    slopes = 1.8 + 1.2 * torch.rand(VARIANTS, 4, 1, generator=generator)
    return (tops - (position - centres).abs() * slopes * 1.4).amax(1).clamp(0.08, 1)


def _spikes(generator: torch.Generator) -> Tensor:
    position = torch.linspace(0, 1, BANK_SIZE)
    count = 13
    centres = (torch.arange(count)[None, :, None] + torch.rand(VARIANTS, count, 1, generator=generator)) / count
    tops = 0.65 + 0.35 * torch.rand(VARIANTS, count, 1, generator=generator)
    return (tops - (position - centres).abs() * 9).amax(1).clamp(0.4, 1)


def _towers(generator: torch.Generator) -> Tensor:
    count = 12
    heights = 0.35 + 0.65 * torch.rand(VARIANTS, 1, count, generator=generator)
    return F.interpolate(heights, BANK_SIZE, mode="nearest")[:, 0]
