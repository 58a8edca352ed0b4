"""A second judge, for single things on a plain background: the nearest among clean renders of all art.

It needs no training, so it knows held-out pairs as well as the others. A picture is cut to what differs from its
border, scaled to `SIDE` squared, and compared with every concept in every style.

Usage: `python -m training.checks.retrieval --world ... --tokenizer training/build/tokenizer --build training/build`
"""

import json
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from llm_dit.prompting.chat_template import format_prompt
from training.checks.questions import SEED
from training.pictures.render import Renderer
from training.stages.generator import load_generator
from training.words.samples import sample_world
from training.world.scene import Scene, SceneObject, Setting
from training.world.world import World

SIDE = 24
BORDER = 4
"""Pixels at the edge that show the background."""
DIFFERENCE = 28.0
"""Distance from the background's colour, of 255, above which a pixel belongs to the thing."""
PLAIN = Setting("plain", ("sky blue",))


def signature(picture: Tensor) -> Tensor:
    """Describe the thing in a picture: colour times cover, and cover, cut to its box; unit length.

    Args:
        picture: uint8 [3, H, W] with a plain background.

    Returns:
        float32 [4 * SIDE * SIDE]; zeros if nothing stands out.
    """
    value = picture.float()
    edge = torch.cat([value[:, :BORDER].flatten(1), value[:, -BORDER:].flatten(1)], 1)
    background = edge.median(1).values
    cover = ((value - background[:, None, None]).norm(dim=0) > DIFFERENCE).float()
    rows, columns = cover.amax(1).nonzero()[:, 0], cover.amax(0).nonzero()[:, 0]
    if not len(rows):
        return torch.zeros(4 * SIDE * SIDE)
    centered = torch.cat([(value - 128.0) / 128.0 * cover, cover[None]])
    box = centered[None, :, int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    side = max(box.shape[-2:])
    down, right = side - box.shape[-2], side - box.shape[-1]
    square = F.pad(box, (right // 2, right - right // 2, down // 2, down - down // 2))
    return F.normalize(F.interpolate(square, (SIDE, SIDE), mode="area").flatten(), dim=0)


def templates(world: World, renderer: Renderer) -> tuple[Tensor, list[tuple[int, str]]]:
    """Signatures [N, 4 * SIDE * SIDE] of all art on a plain background, with concept and style of each."""
    pairs = sorted(world.index.sprites)
    scenes = [Scene((SceneObject(concept, style, 0.5, 0.5, 0.76),), PLAIN, count=1) for concept, style in pairs]
    rows = torch.stack([torch.from_numpy(world.row(scene)) for scene in scenes])
    pictures = [picture for part in rows.split(64) for picture in renderer.render(part, 128, 128).cpu()]
    return torch.stack([signature(picture) for picture in pictures]), pairs


def nearest(pictures: list[Tensor], known: Tensor, pairs: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Concept and style of the most similar clean render of each picture."""
    described = torch.stack([signature(picture) for picture in pictures])
    return [pairs[place] for place in (described @ known.mT).argmax(1).tolist()]


def shares(found: list[tuple[int, str]], asked: list[tuple[int, str]]) -> dict[str, float]:
    """Share of right concepts and of right styles."""
    matches = list(zip(found, asked, strict=True))
    return {
        "concept": sum(one[0] == other[0] for one, other in matches) / len(matches),
        "style": sum(one[1] == other[1] for one, other in matches) / len(matches),
    }


@click.command()
@click.option("--world", type=click.Path(path_type=Path), required=True)
@click.option("--tokenizer", type=click.Path(path_type=Path), required=True)
@click.option("--build", type=click.Path(path_type=Path), required=True)
@click.option("--count", type=int, default=160)
@click.option("--device", type=torch.device, default=torch.device("cpu"))
def main(world: Path, tokenizer: Path, build: Path, count: int, device: torch.device) -> None:
    """Print how often held-out pairs are drawn right, and how often true renders of them are found."""
    art = World.load(world)
    renderer = Renderer(art, device)
    known, pairs = templates(art, renderer)
    batch = sample_world(art, count, SEED, split="held_out")
    asked = [(scene.objects[0].concept, scene.objects[0].style) for scene in batch.scenes]
    truth = renderer.render(torch.from_numpy(batch.rows), 128, 128).cpu()
    result = {"truth": shares(nearest(list(truth), known, pairs), asked)}
    print(result, flush=True)
    generator = load_generator(tokenizer, build, device)
    drawn = generator.draw([format_prompt(caption) for caption in batch.captions], range(count)).cpu()
    result["miniature"] = shares(nearest(list(drawn), known, pairs), asked)
    (build / "retrieval.json").write_text(json.dumps(result))
    print(result, flush=True)


if __name__ == "__main__":
    main()
