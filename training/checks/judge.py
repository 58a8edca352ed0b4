"""Stage 5a: an independent judge that names and finds the objects of a picture.

A residual network marks the centre of each object on a grid, and names concept and style there, and place, mood and
medium of the whole picture; colours are read off the pixels (`painted_color`). It is trained on renders only, slightly
spoilt so that small flaws do not confuse it; it never sees the generator, and the generator never sees it. A judge must
know the truth, so a share of its renders shows the concept-style pairs that are kept from the generator. How well it
does on true renders is printed with every table.

Source of the centre map: Zhou et al. 2019 (Objects as Points); our Gaussians have one width for all sizes, and peaks
must be the highest of 5 x 5 cells.

Usage: `python -m training.checks.judge --world ... --data training/build/data/judge0 --build training/build
--seconds 160`
Shapes: B pictures, G grid side, C channels.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.learning.loop import train_within
from training.learning.time_budget import TimeBudget, cosine_fall, warm_up
from training.learning.weights import load_weights, save_weights
from training.pictures.render import Renderer
from training.stages.dataset import Samples
from training.stages.siglip_mini import render_pool
from training.world.alterations import add_noise, blur
from training.world.looks import MEDIA, MOODS, STYLES
from training.world.scene import MAX_OBJECTS
from training.world.truth import OBJECT_FACTS, PLACE_NAMES
from training.world.world import World

PEAK_LEARNING_RATE = 2e-3
HEAT_WIDTH = 0.8
"""Standard deviation of an object's centre on the map, in cells."""
NEIGHBOURS = 5
"""Side of the square of cells that holds one object only; things of the world are three cells apart or more."""
THRESHOLDS = [0.05 * step for step in range(2, 17)]
"""Presence above which a peak may be taken for an object; `calibrate` chooses among them."""
HELD_OUT = 4096
WIDTHS = (64, 128, 256, 512)


class ResidualBlock(nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 or inputs != outputs else nn.Identity()

    def forward(self, value: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        inner = F.relu(self.first_norm(self.first(value)))
        return F.relu(self.second_norm(self.second(inner)) + self.shortcut(value))


@dataclass(frozen=True)
class Views:
    """What the judge sees.

    Attributes:
        features: Per cell, [B, 256, G, G].
        presence: Logit that an object's centre lies in the cell, [B, G, G].
        whole: Of the picture, [B, 512].
    """

    features: Tensor
    presence: Tensor
    whole: Tensor


class Judge(nn.Module):
    """The network.

    Args:
        concepts: Number of concepts of the world.
        widths: Channels of the four stages.
    """

    def __init__(self, concepts: int, widths: tuple[int, int, int, int] = WIDTHS) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 7, 2, 3, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
        self.stages = nn.ModuleList(
            nn.Sequential(ResidualBlock(inputs, outputs, 2), ResidualBlock(outputs, outputs, 1))
            for inputs, outputs in zip((widths[0], *widths[:-1]), widths, strict=True)
        )
        self.merges = nn.ModuleList(nn.Conv2d(width, 256, 1) for width in widths[1:])
        self.blend = ResidualBlock(256, 256, 1)
        self.presence = nn.Conv2d(256, 1, 1)
        self.concept = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, concepts))
        self.style = nn.Linear(256, len(STYLES))
        self.place = nn.Linear(widths[3], len(PLACE_NAMES))
        self.mood = nn.Linear(widths[3], len(MOODS))
        self.medium = nn.Linear(widths[3], len(MEDIA))
        self.threshold: Tensor
        self.register_buffer("threshold", torch.tensor(0.35))

    def forward(self, pictures: Tensor) -> Views:
        """uint8 pictures [B, 3, H, W] -> views on a grid of cells of 8 x 8 pixels."""
        value = (pictures.float() / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)
        value = self.stages[0](self.stem(value))
        levels = []
        for stage in self.stages[1:]:
            value = stage(value)
            levels.append(value)
        merged = self.merges[0](levels[0])
        for merge, level in zip(self.merges[1:], levels[1:], strict=True):
            merged = merged + F.interpolate(merge(level), merged.shape[-2:], mode="bilinear")
        merged = self.blend(merged)
        # In bfloat16 neighbouring cells often tie, and a tie would count twice.
        with torch.autocast(pictures.device.type, enabled=False):
            presence = self.presence(merged.float())[:, 0]
        return Views(merged, presence, value.mean((2, 3)))


def cells_of(facts: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Objects of a batch as (picture, cell row, cell column, facts [objects, len(OBJECT_FACTS)])."""
    objects = facts[:, : MAX_OBJECTS * len(OBJECT_FACTS)].view(-1, MAX_OBJECTS, len(OBJECT_FACTS))
    inside = (objects[..., 0] >= 0) & (objects[..., 2:4] > 0.0).all(-1) & (objects[..., 2:4] < 1.0).all(-1)
    pictures, places = inside.nonzero(as_tuple=True)
    chosen = objects[pictures, places]
    return pictures, (chosen[:, 3] * rows).long(), (chosen[:, 2] * columns).long(), chosen


def heat_of(facts: Tensor, rows: int, columns: int) -> Tensor:
    """How near each cell is to the nearest centre of an object, 1 at the centre itself, [B, rows, columns]."""
    objects = facts[:, : MAX_OBJECTS * len(OBJECT_FACTS)].view(-1, MAX_OBJECTS, len(OBJECT_FACTS))
    down = torch.arange(rows, device=facts.device) + 0.5 - objects[..., 3, None] * rows
    right = torch.arange(columns, device=facts.device) + 0.5 - objects[..., 2, None] * columns
    square = down[..., :, None] ** 2 + right[..., None, :] ** 2
    heat = torch.exp(-square / (2.0 * HEAT_WIDTH**2)) * (objects[..., 0] >= 0)[..., None, None]
    return heat.amax(1)


def peaks_of(presence: Tensor) -> Tensor:
    """Keep the probabilities [B, G, G] that are the highest among their neighbours; 0 elsewhere."""
    highest = F.max_pool2d(presence[:, None], NEIGHBOURS, 1, NEIGHBOURS // 2)[:, 0]
    return presence * (presence == highest)


def judge_loss(judge: Judge, pictures: Tensor, facts: Tensor) -> Tensor:
    """Cross-entropy of all answers, with a focal loss on the centre map."""
    with torch.autocast(pictures.device.type, dtype=torch.bfloat16, enabled=pictures.is_cuda):
        views = judge(pictures)
    rows, columns = views.presence.shape[1:]
    owners, row, column, objects = cells_of(facts, rows, columns)
    target = torch.zeros_like(views.presence)
    target[owners, row, column] = 1.0
    far = (1.0 - heat_of(facts, rows, columns)).pow(4) * (1.0 - target)
    probability = views.presence.sigmoid()
    positive = target * (1.0 - probability).square() * F.logsigmoid(views.presence)
    negative = far * probability.square() * F.logsigmoid(-views.presence)
    loss: Tensor = -(positive.sum() + negative.sum()) / max(1, len(owners))
    # Peaks may lie in the next cell, which must name the object as well.
    row, column = (_nudged(place, size) for place, size in ((row, rows), (column, columns)))
    found = views.features[owners, :, row, column].float()
    is_plain = facts[owners, -1] == 0  # a medium hides the style
    loss = loss + F.cross_entropy(judge.concept(found), objects[:, 0].long())
    loss = loss + 0.5 * F.cross_entropy(judge.style(found[is_plain]), objects[is_plain, 1].long())
    for place, head in enumerate((judge.place, judge.mood, judge.medium)):
        loss = loss + 0.2 * F.cross_entropy(head(views.whole.float()), facts[:, place - 3].long())
    return loss


def _nudged(cells: Tensor, size: int) -> Tensor:
    """Move a quarter of the indices by one, within 0..size - 1."""
    step = torch.randint(0, 8, cells.shape, device=cells.device)
    return (cells + (step == 0).long() - (step == 1).long()).clamp(0, size - 1)


def spoil(pictures: Tensor) -> Tensor:
    """Blur or add noise to a third of a batch each, and leave a third."""
    third = len(pictures) // 3
    spoilt = pictures.clone()
    spoilt[:third] = blur(pictures[:third], 0.4 + 0.8 * torch.rand(()).item())
    spoilt[third : 2 * third] = add_noise(pictures[third : 2 * third], 12.0 * torch.rand(()).item())
    return spoilt


def train_judge(judge: Judge, pool: Tensor, facts: Tensor, budget: TimeBudget, batch: int) -> None:
    """Train in place on a pool of pictures."""
    generator = torch.Generator(pool.device).manual_seed(5)

    def loss_of(_step: int) -> Tensor:
        chosen = torch.randint(len(pool), (batch,), device=pool.device, generator=generator)
        return judge_loss(judge, spoil(pool[chosen]), facts[chosen])

    def learning_rate(step: int, fraction: float) -> float:
        return PEAK_LEARNING_RATE * warm_up(step, 200) * cosine_fall(fraction)

    train_within(
        budget,
        judge.parameters(),
        loss_of,
        learning_rate,
        name="judge",
        betas=(0.9, 0.999),
        weight_decay=0.02,
        is_fused=False,
        steps_a_line=200,
    )


@dataclass(frozen=True)
class Detection:
    """One object that the judge found: centre as a fraction of width and height, confidence in 0..1."""

    concept: int
    style: str
    x: float
    y: float
    confidence: float


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the judge says of one picture, uint8 [3, H, W]; objects by falling confidence."""

    objects: tuple[Detection, ...]
    place: str
    mood: str
    medium: str
    picture: Tensor

    def finds(self, concept: int) -> list[Detection]:
        """The detections of one concept."""
        return [thing for thing in self.objects if thing.concept == concept]


@torch.no_grad()
def look(judge: Judge, pictures: Tensor) -> list[Verdict]:
    """Judge uint8 pictures [B, 3, H, W]; at least the most likely object is always named."""
    return [verdict for part in pictures.split(256) for verdict in _look(judge, part)]


def _look(judge: Judge, pictures: Tensor) -> list[Verdict]:
    views = _views(judge, pictures)
    presence = peaks_of(views.presence.sigmoid())
    rows, columns = presence.shape[1:]
    strongest = presence.flatten(1).amax(1)[:, None, None]
    chosen = (presence > judge.threshold) | (presence == strongest)
    owners, row, column = chosen.nonzero(as_tuple=True)
    found = views.features[owners, :, row, column].float()
    answers = [head(found).argmax(1).tolist() for head in (judge.concept, judge.style)]
    objects: list[list[Detection]] = [[] for _ in pictures]
    confidence = presence[owners, row, column].tolist()
    cells = zip(owners.tolist(), row.tolist(), column.tolist(), confidence, *answers, strict=True)
    for owner, y, x, sure, concept, style in cells:
        center = ((x + 0.5) / columns, (y + 0.5) / rows)
        objects[owner].append(Detection(concept, STYLES[style], *center, sure))
    whole = [head(views.whole.float()).argmax(1).tolist() for head in (judge.place, judge.mood, judge.medium)]
    return [
        Verdict(
            tuple(sorted(things, key=lambda thing: -thing.confidence)),
            PLACE_NAMES[place],
            list(MOODS)[mood],
            list(MEDIA)[medium],
            picture,
        )
        for things, place, mood, medium, picture in zip(objects, *whole, pictures.cpu(), strict=True)
    ]


def _views(judge: Judge, pictures: Tensor) -> Views:
    with torch.autocast(pictures.device.type, dtype=torch.bfloat16, enabled=pictures.is_cuda):
        views: Views = judge(pictures)
    return views


@torch.no_grad()
def calibrate(judge: Judge, pictures: Tensor, facts: Tensor) -> float:
    """Set the threshold under which most true renders get the right number of objects.

    Args:
        judge: Trained, in evaluation mode.
        pictures: Renders that it was not trained on, uint8 [B, 3, H, W].
        facts: What they show, [B, FACTS].

    Returns:
        Share of the pictures in which the number is right.
    """
    peaks = torch.cat([peaks_of(_views(judge, part).presence.sigmoid()) for part in pictures.split(256)])
    wanted = torch.bincount(cells_of(facts, *peaks.shape[1:])[0], minlength=len(peaks))
    shares = [float(((peaks > value).sum((1, 2)) == wanted).float().mean()) for value in THRESHOLDS]
    best = [value for value, share in zip(THRESHOLDS, shares, strict=True) if share == max(shares)]
    judge.threshold.fill_(best[len(best) // 2])
    return max(shares)


def load_judge(path: Path, concepts: int, device: torch.device) -> Judge:
    """Read a trained judge; it is frozen."""
    return load_weights(Judge(concepts), path).eval().requires_grad_(False).to(device)


@click.command()
@click.option("--world", type=click.Path(path_type=Path), required=True)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Of training.stages.dataset --with-truth.")
@click.option("--build", type=click.Path(path_type=Path), required=True)
@click.option("--seconds", type=float, default=160.0)
@click.option("--count", type=int, default=600_000, help="Pictures in the pool.")
@click.option("--batch", type=int, default=768)
@click.option("--device", type=torch.device, default=torch.device("cuda"))
def main(world: Path, data: Path, build: Path, seconds: float, count: int, batch: int, device: torch.device) -> None:
    """Train the judge and write its weights."""
    torch.manual_seed(5)
    torch.set_float32_matmul_precision("high")
    art = World.load(world)
    samples = Samples.load(data)
    facts = torch.from_numpy(samples.facts[:count]).to(device)
    pool = render_pool(Renderer(art, device), torch.from_numpy(samples.rows[:count]).to(device), ((128, 128),))
    judge = Judge(len(art.concepts)).to(device).to(memory_format=torch.channels_last)
    held_out = min(HELD_OUT, len(pool) // 4)
    train_judge(judge, pool[held_out:], facts[held_out:], TimeBudget(seconds), batch)
    counted = calibrate(judge.eval(), pool[:held_out], facts[:held_out])
    save_weights(judge.state_dict(), build / "judge.safetensors")
    hits = first_object_accuracy(judge, pool[:held_out], facts[:held_out])
    record = {"first_object": hits, "number_of_objects": counted, "threshold": judge.threshold.item()}
    (build / "judge.json").write_text(json.dumps(record))
    print(f"judge done, on true renders: first object {hits:.1%}, number of objects {counted:.1%}", flush=True)


def first_object_accuracy(judge: Judge, pictures: Tensor, facts: Tensor) -> float:
    """Share of pictures with an object and no medium in which the judge finds the first object."""
    verdicts = look(judge, pictures)
    asked = [
        (verdict, int(row[0])) for verdict, row in zip(verdicts, facts.tolist(), strict=True) if row[0] >= 0 == row[-1]
    ]
    return sum(bool(verdict.finds(concept)) for verdict, concept in asked) / max(1, len(asked))


if __name__ == "__main__":
    main()
