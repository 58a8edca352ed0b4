"""Draw rows of scenes as pictures, batched on any device.

The renderer composes background, objects with soft shadows, signs, weather, medium and mood in this order. It knows
rows (`scene.COLUMNS`) and sprites only; what a scene means is said elsewhere. Objects are placed by two small matrix
products with triangle filters, which shrink and enlarge without aliasing. Legend: B batch, S sprite side, H height,
W width.
"""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image
from torch import Tensor

from training.pictures.backgrounds import Canvas, draw_background, draw_falling
from training.pictures.picture_filters import MoodGrades, apply_media, blur_background, luminance
from training.pictures.textures import TextureBank
from training.world.scene import BOARDS, COLUMNS, MAX_LETTERS, MAX_OBJECTS, OBJECT_FIELDS, PAINTS
from training.world.world import World

MARGIN = 10
"""Texels beyond a sprite's ends that the widest resampling filter can reach."""
SHADES = (0.72, 0.42)
"""A painted thing's darkest part as a multiple of its colour, and the share of white in its lightest."""
_FIELD = {name: column for column, name in enumerate(OBJECT_FIELDS)}


class Renderer:
    """Holds the decoded art on a device and draws rows with it."""

    def __init__(self, world: World, device: torch.device) -> None:
        with ThreadPoolExecutor() as pool:
            decoded = list(pool.map(_decode, world.images))
        self._device = device
        self._sprites = torch.from_numpy(np.stack(decoded)).to(device)  # uint8 [N, 4, S, S], premultiplied
        # The foot of a thing that is wider than high lies above the lower edge of its square.
        filled = self._sprites[:, 3].amax(2) > 12
        size = filled.shape[1]
        lowest = size - filled.flip(1).to(torch.uint8).argmax(1)
        self._foot = lowest.float() / size  # [N], 0..1 from the top of the square
        self._content_width = (self._sprites[:, 3].amax(1) > 12).float().mean(1)
        self._glyphs = torch.from_numpy(world.glyphs).to(device).float() / 255
        self._advances = torch.from_numpy(world.glyph_advances).to(device)
        self._textures = TextureBank(device)
        self._grades = MoodGrades(device)

    @torch.no_grad()
    def render(self, rows: Tensor, height: int, width: int) -> Tensor:
        """Draw one picture a row.

        Args:
            rows: float32 [B, ROW_SIZE] of `scene_to_row`, on any device.
            height: Pixels.
            width: Pixels.

        Returns:
            uint8 [B, 3, height, width] on the renderer's device.
        """
        rows = rows.to(self._device, torch.float32)
        canvas = Canvas(height, width, self._device, self._textures)
        picture = draw_background(rows, canvas)
        moods = rows[:, COLUMNS["mood"]][:, 0].long()
        picture = blur_background(picture, moods)
        objects = rearrange(rows[:, COLUMNS["objects"]], "b (n f) -> b n f", n=MAX_OBJECTS)
        for slot in range(MAX_OBJECTS):
            chosen = (objects[:, slot, 0] >= 0).nonzero()[:, 0]
            if len(chosen):
                light = rows[chosen, COLUMNS["light"]]
                picture[chosen] = self._draw_object(picture[chosen], objects[chosen, slot], light)
        chosen = (rows[:, COLUMNS["letters"]][:, 0] >= 0).nonzero()[:, 0]
        if len(chosen):
            picture[chosen] = self._draw_sign(picture[chosen], rows[chosen])
        picture = draw_falling(rows, picture, canvas)
        variants = rows[:, COLUMNS["noise"]][:, 0].long()
        grain = self._textures.picture("grain", variants, height, width)
        picture = apply_media(picture, rows[:, COLUMNS["medium"]][:, 0].long(), grain)
        picture = self._grades.apply(picture, moods)
        return (picture.clamp(0, 1) * 255).round().to(torch.uint8)

    def _draw_object(self, picture: Tensor, things: Tensor, light: Tensor) -> Tensor:
        height, width = picture.shape[-2:]
        side = min(height, width)
        ids = things[:, _FIELD["sprite"]].long()
        sprites = self._sprites[ids].float() / 255
        sprites = _paint(sprites, things)
        pixels = things[:, _FIELD["size"]] * side
        stands = things[:, _FIELD["stands"]]
        anchor = torch.lerp(torch.full_like(stands, 0.5), self._foot[ids], stands)
        top = things[:, _FIELD["y"]] * height - anchor * pixels
        left = things[:, _FIELD["x"]] * width - pixels / 2
        if bool(stands.any()):
            picture = picture * (1 - self._shadow(things, ids, height, width) * stands[:, None, None, None])
        down = _placement(top, pixels, sprites.shape[-1], height, things[:, _FIELD["upside_down"]] > 0)
        right = _placement(left, pixels, sprites.shape[-1], width, things[:, _FIELD["flip"]] > 0)
        layer = torch.einsum("bhs,bcst->bcht", down, sprites)
        layer = torch.einsum("bwt,bcht->bchw", right, layer).clamp(0, 1)
        color = layer[:, :3] * light[:, :, None, None]
        alpha = layer[:, 3:]
        ring = things[:, _FIELD["ring"]] > 0
        if bool(ring.any()):
            picture[ring] = _white_ring(picture[ring], alpha[ring], light[ring], side)
        return picture * (1 - alpha) + color

    def _shadow(self, things: Tensor, ids: Tensor, height: int, width: int) -> Tensor:
        """Soft ellipse under the foot of each thing, [B, 1, H, W], 0..1."""
        side = min(height, width)
        half = things[:, _FIELD["size"]] * self._content_width[ids] * 0.5
        down = (torch.arange(height, device=self._device) + 0.5) / side
        right = (torch.arange(width, device=self._device) + 0.5) / side
        foot = things[:, _FIELD["y"]] * height / side - 0.012
        offset_y = (down - foot[:, None]) / (0.035 + 0.11 * things[:, _FIELD["size"], None])
        offset_x = (right - (things[:, _FIELD["x"]] * width / side)[:, None]) / (half[:, None] * 1.08)
        distance = offset_y[:, :, None] ** 2 + offset_x[:, None] ** 2
        return (0.5 * torch.exp(-((distance * 1.1) ** 2)))[:, None]

    def _draw_sign(self, picture: Tensor, rows: Tensor) -> Tensor:
        height, width = picture.shape[-2:]
        side = min(height, width)
        ids = rows[:, COLUMNS["letters"]].long()
        place = rows[:, COLUMNS["sign_place"]]
        pixels = place[:, 2] * side
        gap = 0.1
        advances = (self._advances[ids.clamp(min=0)] + gap) * (ids >= 0)
        length = advances.sum(1) - gap
        left = place[:, 0] * width - length * pixels / 2
        top = place[:, 1] * height - pixels / 2
        picture = self._draw_board(picture, rows, length * pixels, pixels)
        starts = left[:, None] + (advances.cumsum(1) - advances) * pixels[:, None]
        ink = torch.zeros(len(rows), height, width, device=self._device)
        for slot in range(MAX_LETTERS):
            glyphs = self._glyphs[ids[:, slot].clamp(min=0)] * (ids[:, slot] >= 0)[:, None, None]
            is_turned = torch.zeros(len(rows), dtype=torch.bool, device=self._device)
            down = _placement(top, pixels, glyphs.shape[-2], height, is_turned)
            right = _placement(starts[:, slot], pixels, glyphs.shape[-1], width, is_turned)
            ink += torch.einsum("bhs,bwt,bst->bhw", down, right, glyphs)
        color = rows[:, COLUMNS["sign_color"]][:, :, None, None].expand_as(picture)
        return torch.lerp(picture, color, ink.clamp(0, 1)[:, None])

    def _draw_board(self, picture: Tensor, rows: Tensor, length: Tensor, pixels: Tensor) -> Tensor:
        """A framed rectangle around the word, on a post if the row says so."""
        height, width = picture.shape[-2:]
        place = rows[:, COLUMNS["sign_place"]]
        board = rows[:, COLUMNS["board"]][:, 0]
        down = torch.arange(height, device=self._device) + 0.5
        right = torch.arange(width, device=self._device) + 0.5
        away_y = (down - place[:, 1, None] * height).abs()[:, :, None]
        away_x = (right - place[:, 0, None] * width).abs()[:, None]
        half_x, half_y = (length / 2 + pixels * 0.55)[:, None, None], (pixels * 0.95)[:, None, None]
        below = (down - place[:, 1, None] * height)[:, :, None] > 0
        post = (away_x < pixels[:, None, None] * 0.16) & below & (board == BOARDS.index("post"))[:, None, None]
        wood = torch.tensor((0.36, 0.25, 0.17), device=self._device)[:, None, None].expand_as(picture)
        picture = torch.where(post[:, None], wood, picture)
        edge = torch.minimum(half_x - away_x, half_y - away_y)
        is_board = (board > 0)[:, None, None]
        cover = ((edge + 0.5).clamp(0, 1) * is_board)[:, None]
        frame = ((edge < pixels[:, None, None] * 0.16) & is_board)[:, None].float()
        color = rows[:, COLUMNS["board_color"]][:, :, None, None].expand_as(picture)
        ink = rows[:, COLUMNS["sign_color"]][:, :, None, None].expand_as(picture)
        return torch.lerp(picture, torch.lerp(color, ink, frame), cover)


def _decode(image: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(image)).convert("RGBA").convert("RGBa")
    return np.ascontiguousarray(rearrange(np.asarray(picture), "h w c -> c h w"))


def _placement(start: Tensor, extent: Tensor, source: int, target: int, is_reversed: Tensor) -> Tensor:
    """Weights that resample a line of `source` texels onto `target` pixels.

    Args:
        start: First pixel covered, [B].
        extent: Pixels covered, [B].
        source: Number of texels.
        target: Number of pixels.
        is_reversed: Run backwards, bool [B].

    Returns:
        [B, target, source]; a pixel outside the line has weights 0.
    """
    pixels = torch.arange(target, device=start.device) + 0.5
    texels = torch.arange(source, device=start.device) + 0.5
    position = (pixels - start[:, None]) / extent[:, None]
    position = torch.where(is_reversed[:, None], 1 - position, position) * source
    reach = (source / extent).clamp(min=1)[:, None, None]
    weights = (1 - (position[:, :, None] - texels).abs() / reach).clamp(min=0)
    # Normalise by what an endless line would weigh, so that the inside is even and the ends still fade out.
    beyond = torch.arange(-MARGIN, source + MARGIN, device=start.device) + 0.5
    total = (1 - (position[:, :, None] - beyond).abs() / reach).clamp(min=0).sum(2, keepdim=True)
    return weights / total.clamp(min=1e-3)


def _paint(sprites: Tensor, things: Tensor) -> Tensor:
    """Recolour premultiplied sprites [B, 4, S, S] wholly: shading stays, and so do outlines that are nearly black.

    The average brightness of a thing becomes the colour; darker parts are multiples of it and lighter ones mix with
    white, both within `SHADES`, so that a hue stays the one that is named: a dark orange would be brown.
    """
    paints = things[:, _FIELD["paint"]].long()
    chosen = (paints > 0).nonzero()[:, 0]
    if not len(chosen):
        return sprites
    alpha = sprites[chosen, 3:]
    color = (sprites[chosen, :3] / alpha.clamp(min=1e-3)).clamp(0, 1)
    target = things[chosen, _FIELD["red"] : _FIELD["blue"] + 1][:, :, None, None]
    light = luminance(color)
    mean = (light * alpha).sum((1, 2, 3), keepdim=True) / alpha.sum((1, 2, 3), keepdim=True).clamp(min=1)
    darkest, lightest = SHADES
    shade = (light / mean.clamp(min=0.05)).clamp(darkest, 1)
    shine = lightest * ((light - mean) / (1 - mean).clamp(min=0.25)).clamp(0, 1)
    # A dark colour takes less white: shining black would be gray.
    tinted = target * shade + (1 - target) * shine * target.amax(1, keepdim=True).clamp(0.35, 1)
    ink = 0.3 * mean.clamp(max=0.5)
    is_painted = ((light - ink) / (0.5 * ink).clamp(min=1e-3)).clamp(0, 1)
    is_shape = (paints[chosen] == PAINTS.index("silhouette"))[:, None, None, None]
    painted = torch.lerp(0.2 * target, tinted, is_painted)
    sprites = sprites.clone()
    sprites[chosen, :3] = torch.where(is_shape, target.expand_as(color), painted) * alpha
    return sprites


def _white_ring(picture: Tensor, alpha: Tensor, light: Tensor, side: int) -> Tensor:
    """Draw the white border of a sticker around a shape, with a faint shadow."""
    reach = max(1, round(side * 0.022))
    shape = F.max_pool2d(alpha, (2 * reach + 1, 1), 1, (reach, 0))
    ring = F.max_pool2d(shape, (1, 2 * reach + 1), 1, (0, reach))
    ring = F.avg_pool2d(ring, 3, 1, 1, count_include_pad=False)
    shadow = F.avg_pool2d(torch.roll(ring, (reach, 0), (-2, -1)), 2 * reach + 1, 1, reach)
    picture = picture * (1 - 0.25 * shadow)
    return torch.lerp(picture, light[:, :, None, None].expand_as(picture), ring)
