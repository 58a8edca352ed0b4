"""What lies behind the objects: plain colours, gradients, patterns, and places with sky, horizon and ground.

Works on a batch of rows (see `scene.COLUMNS`); coordinates run 0..1 from the top left, and `across` is scaled so that
textures keep their proportions in oblong pictures. Legend: B batch, H height, W width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.pictures.textures import TextureBank
from training.world.looks import GRADIENTS, PATTERNS
from training.world.places import BACKDROPS, DISCS, FALLS, GROUND_KINDS
from training.world.scene import BACKGROUNDS, COLUMNS

_KIND = {name: number for number, name in enumerate(BACKGROUNDS)}


@dataclass(frozen=True)
class Canvas:
    """The pixel grid of a picture: coordinates of pixel centres and the random textures."""

    height: int
    width: int
    device: torch.device
    textures: TextureBank

    @property
    def down(self) -> Tensor:
        """0 at the top edge, 1 at the bottom, [H, 1]."""
        return ((torch.arange(self.height, device=self.device) + 0.5) / self.height)[:, None]

    @property
    def right(self) -> Tensor:
        """0 at the left edge, 1 at the right, [1, W]."""
        return ((torch.arange(self.width, device=self.device) + 0.5) / self.width)[None]

    @property
    def pixel(self) -> float:
        """Height of a pixel in the coordinates of `down`."""
        return 1 / self.height


def part(rows: Tensor, name: str) -> Tensor:
    """A part of the rows, shaped to broadcast over pixels: [B, 1, 1] for a number, [B, n, 1, 1] for several."""
    values = rows[:, COLUMNS[name]]
    return values[..., None] if values.shape[1] == 1 else values[..., None, None]


def draw_background(rows: Tensor, canvas: Canvas) -> Tensor:
    """Draw what lies behind the objects.

    Args:
        rows: float32 [B, ROW_SIZE].
        canvas: The grid.

    Returns:
        float32 [B, 3, H, W], 0..1.
    """
    kinds = rows[:, COLUMNS["background"]][:, 0].long()
    picture = part(rows, "color_a").expand(-1, -1, canvas.height, canvas.width).clone()
    for kind, draw in ((("gradient"), _gradient), ("pattern", _pattern), ("place", _place)):
        chosen = (kinds == _KIND[kind]).nonzero()[:, 0]
        if len(chosen):
            picture[chosen] = draw(rows[chosen], canvas)
    return picture


def draw_falling(rows: Tensor, picture: Tensor, canvas: Canvas) -> Tensor:
    """Lay rain, snow or bubbles over a picture [B, 3, H, W]."""
    falls = rows[:, COLUMNS["fall"]][:, 0].long()
    for name, texture, color, strength in (
        ("rain", "rain", (0.86, 0.9, 0.97), 0.42),
        ("snow", "snow", (1.0, 1.0, 1.0), 0.95),
        ("bubbles", "bubbles", (0.75, 0.92, 1.0), 0.4),
    ):
        chosen = (falls == FALLS.index(name)).nonzero()[:, 0]
        if len(chosen):
            cover = canvas.textures.picture(texture, _variants(rows[chosen]), canvas.height, canvas.width) * strength
            white = torch.tensor(color, device=canvas.device)[:, None, None]
            picture[chosen] = torch.lerp(picture[chosen], white.expand_as(picture[chosen]), cover.clamp(0, 1))
    return picture


def _variants(rows: Tensor) -> Tensor:
    return rows[:, COLUMNS["noise"]][:, 0].long()


def _mix(rows: Tensor, share: Tensor) -> Tensor:
    """Mix the two colours of each row: `share` [B, H, W] of the second."""
    return torch.lerp(part(rows, "color_a"), part(rows, "color_b"), share[:, None])


def _gradient(rows: Tensor, canvas: Canvas) -> Tensor:
    down, right = canvas.down, canvas.right
    radius = ((down - 0.5) ** 2 + (right - 0.5) ** 2).sqrt() * 1.5
    shapes = [down.expand_as(radius), right.expand_as(radius), (down + right) / 2, radius.clamp(0, 1)]
    assert len(shapes) == len(GRADIENTS)
    return _mix(rows, torch.stack(shapes)[rows[:, COLUMNS["gradient"]][:, 0].long()])


def _pattern(rows: Tensor, canvas: Canvas) -> Tensor:
    """Draw two-coloured patterns with edges softened over a pixel."""
    kinds = rows[:, COLUMNS["pattern"]][:, 0].long()
    shares = torch.zeros(len(rows), canvas.height, canvas.width, device=canvas.device)
    for number, name in enumerate(PATTERNS):
        chosen = (kinds == number).nonzero()[:, 0]
        if len(chosen):
            repeats = part(rows[chosen], "repeats")
            if name == "blobs":
                cloud = canvas.textures.picture("blobs", _variants(rows[chosen]), canvas.height, canvas.width)[:, 0]
                shares[chosen] = ((cloud - 0.5) * 2.5 + 0.5).clamp(0, 1)
            else:
                shares[chosen] = _soft_step(_pattern_wave(name, repeats, canvas), repeats * canvas.pixel * 3)
    return _mix(rows, shares)


def _pattern_wave(name: str, repeats: Tensor, canvas: Canvas) -> Tensor:
    """A function that is positive in one colour of the pattern, [B, H, W], slope about 2 pi a period."""
    side = min(canvas.height, canvas.width)
    down, right = canvas.down * canvas.height / side, canvas.right * canvas.width / side
    turn = 2 * torch.pi * repeats
    from_middle_y, from_middle_x = down - down.mean(), right - right.mean()
    radius = (from_middle_y**2 + from_middle_x**2).sqrt()
    angle = torch.atan2(from_middle_y, from_middle_x)
    cell_y, cell_x = (down * repeats) % 1 - 0.5, (right * repeats) % 1 - 0.5
    spread = torch.zeros_like(radius)
    waves = {
        "horizontal stripes": lambda: torch.sin(turn * (down + spread)),
        "vertical stripes": lambda: torch.sin(turn * (right + spread)),
        "diagonal stripes": lambda: torch.sin(turn * (down + right) * 0.7),
        "polka dots": lambda: (0.3 - (cell_y**2 + cell_x**2).sqrt()) * 6,
        "checks": lambda: torch.sin(turn * down) * torch.sin(turn * right) * 2,
        "waves": lambda: torch.sin(turn * (down + 0.05 * torch.sin(2 * torch.pi * 2 * right))),
        "circles": lambda: torch.sin(turn * radius * 1.6),
        "spiral": lambda: torch.sin(turn * radius + angle * 2),
        "rays": lambda: torch.sin(angle * (2 * repeats).round()) * radius * 3,
        "triangles": lambda: (cell_y + 0.5 - 2 * cell_x.abs()) * 5,
    }
    return waves[name]()


def _soft_step(values: Tensor, width: Tensor) -> Tensor:
    return (values / width.clamp(min=1e-3) + 0.5).clamp(0, 1)


def _place(rows: Tensor, canvas: Canvas) -> Tensor:
    """Draw sky or wall, then silhouettes at the horizon, then the ground."""
    horizon = part(rows, "horizon")
    picture = _mix(rows, (canvas.down / horizon).clamp(0, 1).expand(-1, canvas.height, canvas.width))
    picture = _draw_sky(rows, picture, canvas)
    picture = _draw_backdrop(rows, picture, canvas)
    ground = _draw_ground(rows, canvas)
    below = ((canvas.down - horizon) / canvas.pixel + 0.5).clamp(0, 1)[:, None]
    return torch.lerp(picture, ground, below)


def _draw_sky(rows: Tensor, picture: Tensor, canvas: Canvas) -> Tensor:
    variants = _variants(rows)
    noise = canvas.textures.picture("clouds", variants, canvas.height, canvas.width)
    cover = ((noise - 0.72 + 0.45 * part(rows, "clouds")[:, None]) * 3.2).clamp(0, 1)
    cover = cover * (part(rows, "clouds")[:, None] > 0) * 0.85
    cloud_color = torch.lerp(part(rows, "color_b"), torch.ones_like(part(rows, "color_b")), 0.62)
    picture = torch.lerp(picture, cloud_color.expand_as(picture), cover)
    stars = canvas.textures.picture("stars", variants, canvas.height, canvas.width) * part(rows, "stars")[:, None]
    picture = picture + stars * 0.95 * (1 - picture)
    return _draw_disc(rows, picture, canvas)


def _draw_disc(rows: Tensor, picture: Tensor, canvas: Canvas) -> Tensor:
    """Draw the sun or the moon in an upper corner (a low sun if the sky is orange)."""
    kinds = rows[:, COLUMNS["disc"]][:, 0].long()[:, None, None]
    is_left = (_variants(rows) % 2 == 0).float()[:, None, None]
    is_low = ((kinds == DISCS.index("sun")) & (part(rows, "color_b")[:, 2] < 0.5)).float()
    horizon = part(rows, "horizon")
    side = min(canvas.height, canvas.width)
    offset_x = (canvas.right - (0.84 - 0.68 * is_left)) * canvas.width / side
    offset_y = (canvas.down - (0.15 + is_low * (horizon - 0.24).clamp(min=0))) * canvas.height / side
    distance = (offset_x**2 + offset_y**2).sqrt()
    radius = 0.075
    inside = ((radius - distance) * side + 0.5).clamp(0, 1)
    glow = torch.exp(-((distance / 0.2) ** 2)) * 0.55
    sun = torch.tensor((1.0, 0.93, 0.55), device=canvas.device)[:, None, None]
    moon = torch.tensor((0.96, 0.96, 0.88), device=canvas.device)[:, None, None]
    color = torch.where((kinds == DISCS.index("moon"))[:, None], moon, sun).expand_as(picture)
    strength = torch.maximum(inside, glow) * (kinds > 0)
    return torch.lerp(picture, color, strength[:, None])


def _draw_backdrop(rows: Tensor, picture: Tensor, canvas: Canvas) -> Tensor:
    kinds = rows[:, COLUMNS["backdrop"]][:, 0].long()
    horizon = part(rows, "horizon")
    has_line = (kinds > 0) & (kinds < BACKDROPS.index("sea"))
    heights = canvas.textures.skyline((kinds - 1).clamp(0, 4), _variants(rows), canvas.width)
    scale = torch.tensor((0.0, 0.15, 0.34, 0.34, 0.36, 0.12, 0.0), device=canvas.device)[kinds][:, None, None]
    top = horizon - heights[:, None] * scale
    cover = ((canvas.down - top) / canvas.pixel + 0.5).clamp(0, 1) * has_line[:, None, None]
    # The sea is a band of water between the horizon of the sky and the sand.
    sea = ((canvas.down - (horizon - 0.12)) / canvas.pixel + 0.5).clamp(0, 1)
    cover = torch.where((kinds == BACKDROPS.index("sea"))[:, None, None], sea, cover)[:, None]
    light = part(rows, "light")
    shade = 1.12 - 0.3 * ((canvas.down - top) / 0.3).clamp(0, 1)[:, None]
    snow_line = ((top + 0.075 - canvas.down) / canvas.pixel / 2).clamp(0, 1) * (kinds == 2)[:, None, None]
    color = (part(rows, "backdrop_color") * shade).expand_as(picture)
    color = torch.lerp(color, torch.full_like(color, 0.97), snow_line[:, None]) * light
    return torch.lerp(picture, color.clamp(0, 1), cover)


def _draw_ground(rows: Tensor, canvas: Canvas) -> Tensor:
    horizon = part(rows, "horizon")
    nearness = ((canvas.down - horizon) / (1 - horizon).clamp(min=0.02)).clamp(0, 1)  # [B, H, 1]
    color = torch.lerp(part(rows, "ground_far"), part(rows, "ground_near"), nearness[:, None])
    kinds = rows[:, COLUMNS["ground"]][:, 0].long()
    # Depth grows towards the horizon; the constant keeps the lines there apart.
    depth = 1.25 / (nearness + 0.25)
    across = (canvas.right - 0.5) * depth * canvas.width / min(canvas.height, canvas.width)
    shade = torch.zeros(len(rows), canvas.height, canvas.width, device=canvas.device)
    for number, kind in enumerate(GROUND_KINDS):
        chosen = (kinds == number).nonzero()[:, 0]
        if len(chosen) and kind not in ("none", "smooth"):
            shade[chosen] = _ground_shade(kind, rows[chosen], across[chosen], depth[chosen], canvas)
    shaded = color * (1 + shade[:, None] * part(rows, "ground_texture")[:, None])
    return (shaded * part(rows, "light")).clamp(0, 1)


def _ground_shade(kind: str, rows: Tensor, across: Tensor, depth: Tensor, canvas: Canvas) -> Tensor:
    """Relative brightness of a ground's texture, about -1..1, [B, H, W]."""
    variants = _variants(rows)
    if kind == "planks":
        seam = ((across * 3.2) % 1 - 0.5).abs()
        board = torch.sin((across * 3.2).floor() * 12.9) * 0.16
        return board - ((seam - 0.455) / 0.045).clamp(0, 1) * 0.55
    if kind == "water":
        cloud = canvas.textures.picture("clouds", variants, canvas.height, canvas.width)[:, 0]
        return torch.sin(depth * 26 + cloud * 9) * 0.2 * (1.6 - depth * 0.28).clamp(0.1, 1)
    if kind == "tiles":
        return torch.where(((across * 3).floor() + (depth * 4).floor()) % 2 == 0, 0.08, -0.75)
    if kind == "road":
        middle = (0.045 - across.abs()).clamp(0, 0.02) / 0.02 * ((depth * 2.6) % 1 > 0.45)
        return middle * 3.0
    grain = canvas.textures.picture("grain", variants, canvas.height, canvas.width)[:, 0]
    cloud = canvas.textures.picture("clouds", variants, canvas.height, canvas.width)[:, 0]
    return (grain - 0.5) * 0.3 + (cloud - 0.5) * 0.6
