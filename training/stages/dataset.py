"""Samples of the world as plain arrays: token ids of formatted prompts, render rows, dialogues.

Sampling and tokenising run on all processor cores before the accelerator is needed; only arrays travel between the
processes. A share of the prompts is emptied here, so that guidance has a negative prompt it knows.

Usage: `python -m training.stages.dataset --world training/build/sprites.npz --tokenizer training/build/tokenizer
--count 600000 --seed 1 --output training/build/data/train0`; the judge's own samples, with held-out pairs among them:
`--seed 101 --with-truth --held-out-share 0.12 --output training/build/data/judge0`
"""

import json
import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from llm_dit.prompting.chat_template import format_prompt
from training.words.samples import Batch, sample_world
from training.world.truth import FACTS, facts_of
from training.world.world import World

EMPTY_SHARE = 0.025
"""On top of the world's own 2 %."""
CHUNK = 2000
"""Samples a worker makes at a time."""


@dataclass(frozen=True)
class Ragged:
    """Rows of token ids of unequal length, one behind the other.

    Attributes:
        values: All ids, int16.
        ends: Where each row ends in `values`, int64 [N].
    """

    values: NDArray[np.int16]
    ends: NDArray[np.int64]

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[int]]) -> "Ragged":
        """Join rows of ids."""
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        values = np.fromiter((value for row in rows for value in row), dtype=np.int16, count=int(lengths.sum()))
        return cls(values, np.cumsum(lengths))

    @classmethod
    def concatenate(cls, parts: Sequence["Ragged"]) -> "Ragged":
        """Join several sets of rows in order."""
        shifts = np.cumsum([0] + [len(part.values) for part in parts[:-1]])
        ends = [part.ends + shift for part, shift in zip(parts, shifts, strict=True)]
        return cls(np.concatenate([part.values for part in parts]), np.concatenate(ends))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of ids in each row."""
        return np.diff(self.ends, prepend=0)

    def padded(self, indices: NDArray[np.int64], length: int, pad_id: int) -> NDArray[np.int64]:
        """Return the chosen rows as int64 [len(indices), length], cut or filled with `pad_id`."""
        lengths = self.lengths[indices]
        columns = np.arange(length)[None]
        places = (self.ends[indices] - lengths)[:, None] + columns
        inside = columns < lengths[:, None]
        return np.where(inside, self.values[np.minimum(places, len(self.values) - 1)], pad_id).astype(np.int64)


@dataclass(frozen=True)
class Samples:
    """What training needs of many samples of the world.

    Attributes:
        prompts: Ids of the formatted prompts.
        dialogues: Ids of the rewriter dialogues.
        rows: Render rows, float32 [N, ROW_SIZE].
        captions: The prompts as text, empty where emptied.
        facts: What the scenes show, see `truth.facts_of`; [0, FACTS] without truth.
    """

    prompts: Ragged
    dialogues: Ragged
    rows: NDArray[np.float32]
    captions: list[str]
    facts: NDArray[np.float32]

    @classmethod
    def concatenate(cls, parts: Sequence["Samples"]) -> "Samples":
        """Join several sets in order."""
        return cls(
            Ragged.concatenate([part.prompts for part in parts]),
            Ragged.concatenate([part.dialogues for part in parts]),
            np.concatenate([part.rows for part in parts]),
            [caption for part in parts for caption in part.captions],
            np.concatenate([part.facts for part in parts]),
        )

    def save(self, folder: Path) -> None:
        """Write the arrays; the marker `captions.json` comes last."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in (("rows", self.rows), ("facts", self.facts)):
            np.save(folder / f"{name}.npy", table)
        for name, ragged in (("prompts", self.prompts), ("dialogues", self.dialogues)):
            np.save(folder / f"{name}.npy", ragged.values)
            np.save(folder / f"{name}_ends.npy", ragged.ends)
        part = folder / "captions.part"
        part.write_text(json.dumps(self.captions))
        part.replace(folder / "captions.json")

    @classmethod
    def load(cls, folder: Path) -> "Samples":
        """Read what `save` wrote."""
        ragged = [
            Ragged(np.load(folder / f"{name}.npy"), np.load(folder / f"{name}_ends.npy"))
            for name in ("prompts", "dialogues")
        ]
        rows, facts = (np.load(folder / f"{name}.npy") for name in ("rows", "facts"))
        captions = json.loads((folder / "captions.json").read_text())
        return cls(ragged[0], ragged[1], rows, captions, facts)


def tokenise(batch: Batch, tokenizer: Tokenizer, seed: int, *, with_truth: bool = False) -> Samples:
    """Turn a batch of the world into arrays, emptying `EMPTY_SHARE` of the prompts; `with_truth` adds the facts."""
    emptied = np.random.default_rng(seed).random(len(batch.captions)) < EMPTY_SHARE
    captions = ["" if is_empty else caption for caption, is_empty in zip(batch.captions, emptied, strict=True)]
    companions = [
        (None, None) if is_empty else pair
        for pair, is_empty in zip(zip(batch.system_prompts, batch.thinking_contents, strict=True), emptied, strict=True)
    ]
    formatted = [
        format_prompt(caption, system_prompt=system, thinking_content=thinking)
        for caption, (system, thinking) in zip(captions, companions, strict=True)
    ]
    prompts = Ragged.from_rows([row.ids for row in tokenizer.encode_batch(formatted)])
    dialogues = Ragged.from_rows([row.ids for row in tokenizer.encode_batch(list(batch.dialogues))])
    facts = np.stack([facts_of(scene) for scene in batch.scenes]) if with_truth else np.zeros((0, FACTS), np.float32)
    return Samples(prompts, dialogues, batch.rows.astype(np.float32), captions, facts)


class Job(NamedTuple):
    """What one worker makes at a time."""

    world: Path
    tokenizer: Path
    samples: int
    seed: int
    with_truth: bool
    held_out_share: float


def make_samples(
    world: Path,
    tokenizer: Path,
    count: int,
    seed: int,
    processes: int,
    *,
    with_truth: bool = False,
    held_out_share: float = 0.0,
) -> Samples:
    """Draw `count` samples with `processes` workers; the result depends on the seed alone.

    Args:
        world: Packed sprites.
        tokenizer: Folder with tokenizer.json.
        count: Number of samples.
        seed: Each chunk of `CHUNK` samples is drawn with a seed of its own, derived from this one.
        processes: Worker processes; 1 works in this one.
        with_truth: Add facts, which the judge needs.
        held_out_share: Share of scenes about held-out pairs; 0 but for the judge.
    """
    jobs = [
        Job(world, tokenizer, min(CHUNK, count - start), seed * 1_000_003 + start // CHUNK, with_truth, held_out_share)
        for start in range(0, count, CHUNK)
    ]
    if processes == 1:
        return Samples.concatenate([_make_chunk(job) for job in jobs])
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        return Samples.concatenate(pool.map(_make_chunk, jobs, chunksize=1))


@lru_cache(maxsize=1)
def _open(world: Path, tokenizer: Path) -> tuple[World, Tokenizer]:
    return World.load(world), Tokenizer.from_file(str(tokenizer / "tokenizer.json"))


def _make_chunk(job: Job) -> Samples:
    world, tokenizer = _open(job.world, job.tokenizer)
    batch = sample_world(world, job.samples, job.seed, held_out_share=job.held_out_share)
    return tokenise(batch, tokenizer, job.seed, with_truth=job.with_truth)


@click.command()
@click.option("--world", type=click.Path(path_type=Path), required=True)
@click.option("--tokenizer", type=click.Path(path_type=Path), required=True)
@click.option("--count", type=int, default=600_000)
@click.option("--seed", type=int, default=1)
@click.option("--processes", type=int, default=os.cpu_count() or 1)
@click.option("--with-truth", is_flag=True, help="Add facts, which the judge needs.")
@click.option("--held-out-share", type=float, default=0.0, help="Scenes of held-out pairs: for the judge only.")
@click.option("--output", type=click.Path(path_type=Path), required=True)
def main(
    world: Path,
    tokenizer: Path,
    count: int,
    seed: int,
    processes: int,
    *,
    with_truth: bool,
    held_out_share: float,
    output: Path,
) -> None:
    """Sample the world into a folder of arrays."""
    samples = make_samples(
        world, tokenizer, count, seed, processes, with_truth=with_truth, held_out_share=held_out_share
    )
    samples.save(output)
    print(f"data {output.name}: {count} samples", flush=True)


if __name__ == "__main__":
    main()
