"""Filters that turn a finished picture into a drawing or painting, and colour grades for light and mood.

All take and give float32 [B, 3, H, W] in 0..1 and treat each picture of the batch alone. Radii follow the picture's
shorter side, so that a filter looks the same at 96 and at 192 pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from training.world.looks import MEDIA, MOODS

_LUMA = (0.299, 0.587, 0.114)


def luminance(picture: Tensor) -> Tensor:
    """Rec. 601 luma, [B, 1, H, W]."""
    weights = torch.tensor(_LUMA, device=picture.device, dtype=picture.dtype)
    return torch.einsum("bchw,c->bhw", picture, weights)[:, None]


def blur(picture: Tensor, radius: float) -> Tensor:
    """Blur with a Gaussian of standard deviation `radius` pixels."""
    reach = max(1, round(radius * 2.5))
    offsets = torch.arange(-reach, reach + 1, device=picture.device, dtype=picture.dtype)
    kernel = torch.exp(-((offsets / radius) ** 2) / 2)
    kernel = kernel / kernel.sum()
    channels = picture.shape[1]
    padded = F.pad(picture, (reach, reach, reach, reach), mode="replicate")
    rows = F.conv2d(padded, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(rows, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def edges(picture: Tensor) -> Tensor:
    """Strength of the strongest colour edge, [B, 1, H, W], about 0..1."""
    unit = min(picture.shape[-2:]) / 128
    smooth = blur(picture, 0.7 * unit)
    padded = F.pad(smooth, (1, 1, 1, 1), mode="replicate")
    right = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    return (right**2 + down**2).sum(1, keepdim=True).sqrt() * unit


def apply_media(picture: Tensor, media: Tensor, grain: Tensor) -> Tensor:
    """Apply each picture's medium.

    Args:
        picture: [B, 3, H, W].
        media: Index into `looks.MEDIA`, int64 [B].
        grain: Paper texture, [B, 1, H, W], 0..1.

    Returns:
        [B, 3, H, W].
    """
    filters = {
        "line drawing": line_drawing,
        "pixel art": pixel_art,
        "watercolor": watercolor,
        "oil painting": oil_painting,
        "pencil sketch": pencil_sketch,
        "blueprint": blueprint,
    }
    for number, name in enumerate(MEDIA):
        chosen = (media == number).nonzero()[:, 0]
        if name in filters and len(chosen):
            picture[chosen] = filters[name](picture[chosen], grain[chosen]).clamp(0, 1)
    return picture


def line_drawing(picture: Tensor, grain: Tensor) -> Tensor:
    """Black outlines on white paper."""
    del grain
    ink = ((edges(picture) - 0.1) * 5).clamp(0, 1)
    return (1 - 0.92 * ink).expand_as(picture)


def pencil_sketch(picture: Tensor, grain: Tensor) -> Tensor:
    """Gray shading and lines on rough paper (colour dodge of the luma by its blurred negative)."""
    unit = min(picture.shape[-2:]) / 128
    light = luminance(picture)
    dodge = light / (blur(light, 3 * unit) + 0.02)
    shading = dodge.clamp(0, 1) * (0.62 + 0.38 * light.sqrt()) - ((edges(picture) - 0.15) * 1.2).clamp(0, 0.5)
    return (shading * 0.92 + (grain - 0.5) * 0.22 + 0.04).expand_as(picture)


def blueprint(picture: Tensor, grain: Tensor) -> Tensor:
    """White lines on a blue sheet with a grid."""
    del grain
    height, width = picture.shape[-2:]
    ink = ((edges(picture) - 0.09) * 5).clamp(0, 1)
    step = min(height, width) / 8
    rows = (torch.arange(height, device=picture.device) % step < 1).float()[:, None]
    columns = (torch.arange(width, device=picture.device) % step < 1).float()[None]
    sheet = torch.tensor((0.09, 0.27, 0.6), device=picture.device)[:, None, None] + 0.1 * torch.maximum(rows, columns)
    return torch.lerp(sheet.expand_as(picture), torch.full_like(picture, 0.95), ink)


def pixel_art(picture: Tensor, grain: Tensor) -> Tensor:
    """Blocks of a 32nd of the shorter side, in few shades."""
    del grain
    height, width = picture.shape[-2:]
    cell = min(height, width) / 32
    small = F.interpolate(picture, (round(height / cell), round(width / cell)), mode="area")
    reduced = (small * 6).round() / 6
    return F.interpolate(reduced, (height, width), mode="nearest")


def watercolor(picture: Tensor, grain: Tensor) -> Tensor:
    """Pale washes with soft borders and dark rims on paper."""
    unit = min(picture.shape[-2:]) / 128
    wash = kuwahara(blur(picture, 1.0 * unit), max(1, round(2 * unit)))
    rim = ((edges(wash) - 0.12) * 0.8).clamp(0, 0.35)
    pale = 1 - (1 - wash) * 0.74
    paper = F.interpolate(grain, scale_factor=0.5, mode="area")
    paper = F.interpolate(paper, picture.shape[-2:], mode="bilinear")
    return pale - rim * pale * 0.8 + (paper - 0.5) * 0.2


def oil_painting(picture: Tensor, grain: Tensor) -> Tensor:
    """Flat strokes of strong colour with a canvas relief."""
    unit = min(picture.shape[-2:]) / 128
    strokes = kuwahara(picture, max(2, round(3 * unit)))
    mean = luminance(strokes)
    vivid = mean + (strokes - mean) * 1.25
    relief = blur(grain, 0.8 * unit)
    return (vivid - 0.5) * 1.06 + 0.5 + (relief - torch.roll(relief, (1, 1), (-2, -1))) * 0.5


def kuwahara(picture: Tensor, radius: int) -> Tensor:
    """Replace each pixel by the mean of the calmest of the four windows that touch it.

    Source: Kuwahara et al. 1976; windows of (radius + 1) squared pixels.
    """
    size = radius + 1
    padded = F.pad(picture, (radius, radius, radius, radius), mode="replicate")
    light = luminance(padded)
    mean = F.avg_pool2d(padded, size, 1)
    variance = F.avg_pool2d(light**2, size, 1) - F.avg_pool2d(light, size, 1) ** 2
    height, width = picture.shape[-2:]
    corners = [(y, x) for y in (0, radius) for x in (0, radius)]
    variances = torch.stack([variance[..., y : y + height, x : x + width] for y, x in corners])
    means = torch.stack([mean[..., y : y + height, x : x + width] for y, x in corners])
    calmest = variances.argmin(0, keepdim=True).expand(-1, -1, 3, -1, -1)
    return means.gather(0, calmest)[0]


def blur_background(picture: Tensor, moods: Tensor) -> Tensor:
    """Blur what lies behind the objects where the mood asks for it: `moods` indexes `looks.MOODS`, [B]."""
    for number, mood in enumerate(MOODS.values()):
        chosen = (moods == number).nonzero()[:, 0] if mood.blur else moods[:0]
        if len(chosen):
            picture[chosen] = blur(picture[chosen], mood.blur * min(picture.shape[-2:]) / 128)
    return picture


class MoodGrades:
    """The colour grades of `looks.MOODS` as tensors, applied by index."""

    def __init__(self, device: torch.device) -> None:
        moods = list(MOODS.values())

        def table(values: list[float]) -> Tensor:
            return torch.tensor(values, device=device)[:, None, None, None]

        self.gain = torch.tensor([mood.gain for mood in moods], device=device)[:, :, None, None]
        self.saturation = table([mood.saturation for mood in moods])
        self.contrast = table([mood.contrast for mood in moods])
        self.lift = table([mood.lift for mood in moods])
        self.vignette = table([mood.vignette for mood in moods])
        self.fog = table([mood.fog for mood in moods])
        self.split = table([mood.split for mood in moods])

    def apply(self, picture: Tensor, moods: Tensor) -> Tensor:
        """Grade each picture.

        Args:
            picture: [B, 3, H, W].
            moods: Index into `looks.MOODS`, int64 [B].

        Returns:
            [B, 3, H, W], 0..1.
        """
        chosen = (moods > 0).nonzero()[:, 0]
        if len(chosen):
            picture[chosen] = self._grade(picture[chosen], moods[chosen])
        return picture

    def _grade(self, picture: Tensor, moods: Tensor) -> Tensor:
        height, width = picture.shape[-2:]
        down = torch.linspace(-1, 1, height, device=picture.device)[:, None]
        right = torch.linspace(-1, 1, width, device=picture.device)[None]
        picture = picture * self.gain[moods]
        pink = torch.tensor((1.25, 0.3, 0.95), device=picture.device)[:, None, None]
        cyan = torch.tensor((0.15, 0.85, 1.3), device=picture.device)[:, None, None]
        side_light = torch.lerp(pink, cyan, (right + 1) / 2)
        split = self.split[moods]
        picture = picture * torch.lerp(torch.ones_like(side_light), side_light, split)
        mean = luminance(picture)
        picture = mean + (picture - mean) * self.saturation[moods]
        picture = (picture - 0.5) * self.contrast[moods] + 0.5 + self.lift[moods]
        thickness = self.fog[moods] * (1 - 0.35 * (down + 0.1).abs())
        picture = torch.lerp(picture, torch.full_like(picture, 0.84), thickness)
        distance = (down**2 + right**2) / 2
        return (picture * (1 - self.vignette[moods] * distance)).clamp(0, 1)
