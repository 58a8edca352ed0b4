"""Stage 4b: siglip-mini, a small SigLIP that tells how well a picture and a text belong together.

Trained with the pairwise sigmoid loss on renders and their captions; some pictures have passed through the VAE, so that
its traces do not count as a difference. Pairs that differ in one fact (`contrasts`) stand in the same batch, and a
picture must fit its caption better than the same picture blurred or coarse, and one that the miniature drew better than
the same one drawn in fewer steps. What it owes mirrored and damaged copies is in `drawn_bank`.

Source: Zhai et al. 2023 (SigLIP).

Usage: `python -m training.stages.siglip_mini --world ... --data training/build/data/train0 --contrasts
training/build/data/contrasts --tokenizer training/build/tokenizer --build training/build --seconds 100`
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from tokenizers import Tokenizer
from torch import Tensor
from transformers import SiglipConfig, SiglipModel

from training.learning.loop import train_within
from training.learning.time_budget import TimeBudget, cosine_fall, warm_up
from training.learning.weights import load_weights, save_weights, start_from, wait_for
from training.pictures.render import Renderer
from training.stages.contrasts import Contrasts
from training.stages.dataset import Samples
from training.stages.drawn_bank import Bank, draw_fourfold, fill_bank, steadiness, steadying_loss
from training.stages.generator import STEPS, draw_by_steps, load_generator
from training.stages.scorer_options import scorer_options
from training.stages.vae import decode, encode
from training.world.alterations import blur, coarsen
from training.world.world import World

PEAK_LEARNING_RATE = 1.5e-3
TEXT_TOKENS = 64
PICTURE_SIZE = 128
SOURCE_SIZES = ((128, 128), (192, 192), (96, 144), (144, 96), (96, 96))
"""Height and width at which the pictures are rendered before they are squashed to `PICTURE_SIZE`."""
HELD_OUT = 2048
CLARITY_WEIGHT = 0.5
POOL_STEP = 2048
"""Pictures rendered at a time."""


def build_siglip(vocabulary: int, width: int = 128, vision_layers: int = 6, text_layers: int = 4) -> SiglipModel:
    """Make an untrained SigLIP; towers of equal width, feed-forwards twice as wide."""
    shared = {"hidden_size": width, "intermediate_size": 2 * width, "num_attention_heads": width // 32}
    text = {
        "vocab_size": vocabulary,
        "num_hidden_layers": text_layers,
        "max_position_embeddings": TEXT_TOKENS,
        "projection_size": width,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
    }
    vision = {"num_hidden_layers": vision_layers, "image_size": PICTURE_SIZE, "patch_size": 16}
    model = SiglipModel(SiglipConfig(text_config=shared | text, vision_config=shared | vision))
    with torch.no_grad():
        model.logit_scale.fill_(np.log(10.0))
        model.logit_bias.fill_(-10.0)
    return model


def load_siglip(path: Path, vocabulary: int, device: torch.device) -> SiglipModel:
    """Read trained weights; the model is frozen."""
    return load_weights(build_siglip(vocabulary), path).eval().requires_grad_(False).to(device)


def token_ids(tokenizer: Tokenizer, captions: list[str], length: int = TEXT_TOKENS) -> Tensor:
    """Ids of captions, int16 [N, length], cut and padded with 0 as the scorers do."""
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=0, pad_token="[PAD]")  # noqa: S106 - a token of text
    rows = [np.array([row.ids for row in tokenizer.encode_batch(part)], np.int16) for part in _parts(captions)]
    return torch.from_numpy(np.concatenate(rows))


def _parts(captions: list[str]) -> list[list[str]]:
    return [captions[start : start + 10_000] for start in range(0, len(captions), 10_000)]


def squash(pictures: Tensor, size: int = PICTURE_SIZE) -> Tensor:
    """Scale uint8 pictures to a square with an antialiased bicubic filter, as the scorers' processors do."""
    if pictures.shape[-2:] == (size, size):
        return pictures
    scaled = F.interpolate(pictures.float(), (size, size), mode="bicubic", antialias=True)
    return scaled.clamp(0.0, 255.0).round().to(torch.uint8)


@torch.no_grad()
def render_pool(renderer: Renderer, rows: Tensor, sizes: tuple[tuple[int, int], ...] = SOURCE_SIZES) -> Tensor:
    """Render rows in turn at several sizes and squash them: uint8 [N, 3, 128, 128] on the device."""
    pool = torch.empty(len(rows), 3, PICTURE_SIZE, PICTURE_SIZE, dtype=torch.uint8, device=rows.device)
    weights = (0, 0, 0, 0, *range(len(sizes)))
    for turn, start in enumerate(range(0, len(rows), POOL_STEP)):
        height, width = sizes[weights[turn % len(weights)]]
        pool[start : start + POOL_STEP] = squash(renderer.render(rows[start : start + POOL_STEP], height, width))
    return pool


@torch.no_grad()
def through_vae(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Encode and decode pictures."""
    latents = (encode(vae, pictures) - vae.config.shift_factor) * vae.config.scaling_factor
    return decode(vae, latents)


def pass_some_through_vae(vae: AutoencoderKL, pool: Tensor, every: int, at_once: int = 256) -> None:
    """Replace each `every`th entry of a pool [N, ..., 3, S, S] by what the VAE makes of it, in place."""
    for part in torch.arange(0, len(pool), every, device=pool.device).split(at_once):
        pictures = pool[part]
        pool[part] = through_vae(vae, pictures.flatten(0, -4)).view_as(pictures)


def embed(model: SiglipModel, pictures: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Unit embeddings of uint8 pictures and of ids, each [B, D], float32."""
    pixels = pictures.float() / 127.5 - 1.0
    with torch.autocast(pictures.device.type, dtype=torch.bfloat16, enabled=pictures.is_cuda):
        picture = model.vision_model(pixel_values=pixels).pooler_output
        text = model.text_model(input_ids=ids.long()).pooler_output
    return F.normalize(picture.float(), dim=-1), F.normalize(text.float(), dim=-1)


def sigmoid_loss(model: SiglipModel, picture: Tensor, text: Tensor) -> Tensor:
    """Each of B x B pairs of unit embeddings is judged on its own; only the diagonal belongs together."""
    logits = picture @ text.mT * model.logit_scale.exp() + model.logit_bias
    signs = 2.0 * torch.eye(len(logits), device=logits.device) - 1.0
    return -F.logsigmoid(signs * logits).sum() / len(logits)


def clarity_loss(model: SiglipModel, clear: Tensor, spoilt: Tensor, text: Tensor) -> Tensor:
    """A clear picture fits its text better than the same one spoilt; unit embeddings, [B, D] each."""
    lead = ((clear - spoilt) * text).sum(-1) * model.logit_scale.exp()
    return -F.logsigmoid(lead).mean()


def contrast_accuracy(model: SiglipModel, pool: "Pool") -> float:
    """Share of contrasts in which the right one of the two pictures fits a caption better."""
    with torch.no_grad():
        picture, text = embed(model, pool.pairs.flatten(0, 1), pool.pair_ids.flatten(0, 1))
    cosines = picture.unflatten(0, (-1, 2)) @ text.unflatten(0, (-1, 2)).mT
    right, wrong = (table.diagonal(dim1=1, dim2=2) for table in (cosines, cosines.flip(1)))
    share: float = (right > wrong).float().mean().item()
    return share


@torch.no_grad()
def steps_accuracy(model: SiglipModel, pool: "Pool") -> float | None:
    """Share of drawn pictures that fit their captions better than the same ones in the next smaller number of steps."""
    count = pool.drawn.shape[1]
    if not count:
        return None
    embedded = [embed(model, drawn, pool.ids[:count]) for drawn in pool.drawn]
    cosines = torch.stack([(picture * text).sum(-1) for picture, text in embedded])
    share: float = (cosines[1:] > cosines[:-1]).float().mean().item()
    return share


@dataclass(frozen=True)
class Pool:
    """Pictures on the device with the ids of their captions.

    Attributes:
        pictures: uint8 [N, 3, S, S].
        ids: int16 [N, TEXT_TOKENS].
        pairs: Pictures that differ in one fact, uint8 [P, 2, 3, S, S]; P may be 0.
        pair_ids: int16 [P, 2, TEXT_TOKENS].
        drawn: For the first M captions, pictures drawn in each of `STEPS`, uint8 [len(STEPS), M, 3, S, S]; M may be 0.
    """

    pictures: Tensor
    ids: Tensor
    pairs: Tensor
    pair_ids: Tensor
    drawn: Tensor

    def part(self, start: int | None, end: int | None) -> "Pool":
        """Entries from `start` to `end`; views, not copies."""
        chosen = slice(start, end)
        pairs = (self.pairs[chosen], self.pair_ids[chosen])
        return Pool(self.pictures[chosen], self.ids[chosen], *pairs, self.drawn[:, chosen])

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pictures and ids of a batch, a quarter of it both sides of contrasts."""
        device = self.pictures.device
        paired = batch // 8 if len(self.pairs) else 0
        chosen = torch.randint(len(self.pictures), (batch - 2 * paired,), device=device, generator=generator)
        if not paired:
            return self.pictures[chosen], self.ids[chosen]
        pairs = torch.randint(len(self.pairs), (paired,), device=device, generator=generator)
        pictures = torch.cat([self.pictures[chosen], self.pairs[pairs].flatten(0, 1)])
        return pictures, torch.cat([self.ids[chosen], self.pair_ids[pairs].flatten(0, 1)])

    def draw_steps(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures drawn in some number of steps, the same ones in the next smaller number, and ids; none if M is 0."""
        device, last = self.drawn.device, self.drawn.shape[1]
        chosen = torch.randint(max(1, last), (count if last else 0,), device=device, generator=generator)
        fewer = torch.randint(len(STEPS) - 1, chosen.shape, device=device, generator=generator)
        return self.drawn[fewer + 1, chosen], self.drawn[fewer, chosen], self.ids[chosen]


def fit(model: SiglipModel, pictures: Tensor, ids: Tensor) -> Tensor:
    """Cosines of uint8 pictures [B, 3, S, S] with their texts, in the unit of the log-odds; [B]."""
    picture, text = embed(model, pictures, ids)
    fitting: Tensor = (picture * text).sum(-1) * model.logit_scale.exp()
    return fitting


def bank_loss(model: SiglipModel, bank: Bank, batch: int, generator: torch.Generator, rng: random.Random) -> Tensor:
    """The loss of a batch of the bank."""
    drawn = draw_fourfold(bank, batch, generator, rng)
    picture, text = embed(model, drawn.pictures, drawn.ids)
    scores = (picture.unflatten(0, (4, -1)) * text).sum(-1) * model.logit_scale.exp()
    return steadying_loss(scores, drawn.sided)


def train_siglip(
    model: SiglipModel,
    pool: Pool,
    budget: TimeBudget,
    batch: int,
    peak_learning_rate: float = PEAK_LEARNING_RATE,
    bank: Bank | None = None,
    keep: Callable[[], None] = lambda: None,
) -> None:
    """Train in place; the bank's part is an eighth of the batch, fourfold."""
    generator = torch.Generator(pool.pictures.device).manual_seed(7)
    spoilt = batch // 8
    strengths = random.Random(7)

    def loss_of(step: int) -> Tensor:
        pictures, ids = pool.draw(batch, generator)
        worse = pictures[:spoilt]
        worse = coarsen(worse, strengths.choice((2, 4))) if step % 4 == 0 else blur(worse, strengths.uniform(0.6, 3.0))
        more, fewer, drawn_ids = pool.draw_steps(spoilt, generator)
        embedded, texts = embed(model, torch.cat([pictures, worse, more, fewer]), torch.cat([ids, drawn_ids]))
        clear, text = embedded[:batch], texts[:batch]
        worse, more, fewer = embedded[batch:].split([spoilt, len(more), len(fewer)])
        loss = sigmoid_loss(model, clear, text)
        loss = loss + CLARITY_WEIGHT * clarity_loss(model, clear[:spoilt], worse, text[:spoilt])
        if len(more):
            loss = loss + CLARITY_WEIGHT * clarity_loss(model, more, fewer, texts[batch:])
        if bank is not None:
            loss = loss + bank_loss(model, bank, spoilt, generator, strengths)
        return loss

    def learning_rate(step: int, fraction: float) -> float:
        return peak_learning_rate * warm_up(step, 150) * cosine_fall(fraction)

    train_within(budget, model.parameters(), loss_of, learning_rate, name="siglip", keep=keep)


@torch.no_grad()
def accuracy_of_64(model: SiglipModel, pictures: Tensor, ids: Tensor) -> float:
    """Share of pictures whose own caption scores highest among 64."""
    picture, text = embed(model, pictures, ids)
    hits = [
        (first @ second.mT).argmax(1) == torch.arange(len(first), device=first.device)
        for first, second in zip(picture.split(64), text.split(64), strict=True)
    ]
    return torch.cat(hits).float().mean().item()


def fill_pool(
    renderer: Renderer,
    samples: Samples,
    count: int,
    contrasts: Contrasts | None,
    tokenizer: Tokenizer,
    device: torch.device,
) -> Pool:
    """Render those of the first `count` samples that have a caption, and the contrasts."""
    told = [place for place, caption in enumerate(samples.captions[:count]) if caption]
    ids = token_ids(tokenizer, told_captions(samples, count)).to(device)
    pictures = render_pool(renderer, torch.from_numpy(samples.rows[told]).to(device))
    undrawn = pictures[:0].expand(len(STEPS), -1, -1, -1, -1)
    if contrasts is None:
        return Pool(
            pictures, ids, pictures[:0, None].expand(-1, 2, -1, -1, -1), ids[:0, None].expand(-1, 2, -1), undrawn
        )
    rows = torch.from_numpy(contrasts.rows).to(device).flatten(0, 1)
    pairs = render_pool(renderer, rows, ((PICTURE_SIZE, PICTURE_SIZE),)).unflatten(0, (-1, 2))
    pair_ids = token_ids(tokenizer, [caption for pair in contrasts.captions for caption in pair]).to(device)
    return Pool(pictures, ids, pairs, pair_ids.unflatten(0, (-1, 2)), undrawn)


def told_captions(samples: Samples, count: int) -> list[str]:
    """Captions of the first `count` samples that have one, in the order of a pool."""
    return [caption for caption in samples.captions[:count] if caption]


@click.command()
@click.option("--contrasts", type=click.Path(path_type=Path), default=None, help="Folder of training.stages.contrasts.")
@scorer_options(seconds=100.0, count=300_000, drawn=8_000, batch=4096, learning_rate=PEAK_LEARNING_RATE)
def main(
    world: Path,
    data: Path,
    contrasts: Path | None,
    tokenizer: Path,
    build: Path,
    seconds: float,
    until: float | None,
    count: int,
    drawn: int,
    elsewhere: int,
    batch: int,
    start: Path | None,
    learning_rate: float,
    device: torch.device,
) -> None:
    """Train siglip-mini and write its weights."""
    torch.manual_seed(7)
    torch.set_float32_matmul_precision("high")
    words = Tokenizer.from_file(str(wait_for(build / "scorer_tokenizer.json")))
    model = build_siglip(words.get_vocab_size())
    if start is not None:
        start_from(model, start)
    pairs = Contrasts.load(wait_for(contrasts / "captions.json").parent) if contrasts else None
    samples = Samples.load(data)
    pool = fill_pool(Renderer(World.load(world), device), samples, count, pairs, words, device)
    generator = load_generator(tokenizer, build, device)
    for pictures in (pool.pictures, pool.pairs):
        pass_some_through_vae(generator.vae, pictures, 16)
    captions = told_captions(samples, count)
    pool = replace(pool, drawn=draw_by_steps(generator, captions[:drawn]))
    held_out = min(HELD_OUT, len(pool.pictures) // 4)
    bank, strange = fill_bank(
        generator,
        pool.drawn[-1],
        pool.pictures,
        captions,
        lambda texts: token_ids(words, texts).to(device),
        elsewhere,
        held_out,
    )
    rest, test = pool.part(held_out, None), pool.part(None, held_out)
    print(f"siglip: {_record(model.to(device).eval(), test, strange)} at the start", flush=True)
    budget, path = TimeBudget(seconds, until), build / "siglip.safetensors"
    so_far = build / "siglip_so_far.safetensors"
    train_siglip(
        model.train(), rest, budget, batch, learning_rate, bank, lambda: save_weights(model.state_dict(), so_far)
    )
    save_weights(model.state_dict(), path)
    record = _record(model.eval(), test, strange)
    (build / "siglip.json").write_text(json.dumps(record))
    print(f"siglip done: {record}", flush=True)


def _record(model: SiglipModel, test: Pool, bank: Bank) -> dict[str, float | None]:
    return {
        "right of 64": accuracy_of_64(model, test.pictures, test.ids),
        "right of a contrast": contrast_accuracy(model, test) if len(test.pairs) else None,
        "more steps over fewer": steps_accuracy(model, test),
        **steadiness(partial(fit, model), bank),
    }


if __name__ == "__main__":
    main()
