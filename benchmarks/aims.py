"""What the engine must reach at full size on an H100, beside what was measured: one table.

    python -m benchmarks.aims results

`results` is the folder of `run_all`. An aim whose benchmark has not run has no figure; figures of another size, model
or machine than an H100 at 1024 x 1024 say nothing about the aims.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

PSNR_AIM_DB = 45.0


@dataclass(frozen=True)
class Aim:
    """One figure and its limit.

    Attributes:
        name: What is measured.
        figure: The measurement; None if there is none.
        limit: What it must reach.
        is_upper: True if the figure must not exceed the limit, False if it must not fall below.
    """

    name: str
    figure: float | None
    limit: float
    is_upper: bool = True

    @property
    def is_reached(self) -> bool | None:
        """Whether the figure is within the limit; None without a figure."""
        if self.figure is None:
            return None
        return self.figure <= self.limit if self.is_upper else self.figure >= self.limit


def aims(records: dict[str, dict[str, Any]]) -> list[Aim]:
    """Put figures beside limits; `records` holds the last line of each benchmark under its name in `run_all`."""
    return [
        *_transformer(records.get("transformer", {})),
        *_experiment(records.get("experiment", {})),
        *_cold_start(records.get("cold_start", {})),
        *_memory(records.get("memory", {})),
        *_decoder(records.get("decoder", {})),
    ]


def _transformer(record: dict[str, Any]) -> Iterator[Aim]:
    first: dict[str, dict[str, Any]] = {}
    for row in record.get("rows", ()):
        first.setdefault(row["variant"], row)
    compiled = first.get("compiled", {})
    yield Aim("step, eager, of diffusers eager", first.get("eager", {}).get("ratio"), 0.85)
    yield Aim("step, compiled, of diffusers compiled", compiled.get("ratio"), 0.89)
    yield Aim("step, compiled, share of the matrix ceiling", compiled.get("ceiling_share"), 0.78, is_upper=False)
    yield Aim("step, float8, of diffusers compiled", first.get("float8", {}).get("ratio"), 0.58)
    yield Aim("step, float8 with attention", first.get("float8 attention", {}).get("ratio"), 0.53)
    large = {row["variant"]: row for row in record.get("rows", ()) if row["height"] == row["width"] == 2048}
    yield Aim("step, compiled, 2048x2048", large.get("compiled", {}).get("ratio"), 0.94)
    yield Aim("step, float8 with attention, 2048x2048", large.get("float8 attention", {}).get("ratio"), 0.60)
    for variant in ("compiled", "float8"):
        graphs = first.get(variant, {}).get("standard_prompt_compilations")
        yield Aim(f"compilations over 60 prompts at two sizes, {variant}", graphs, 4)


def _experiment(record: dict[str, Any]) -> Iterator[Aim]:
    for sharing in ("", ", nothing shared"):
        for quantization, seconds, times in (("none", 0.95, 2.0), ("float8", 0.62, 3.0)):
            name = "bf16" if quantization == "none" else quantization
            key = quantization + sharing
            lab = record.get("labs", {}).get(key, {})
            over_bare = record.get("wall_over_bare", {}).get(key)
            plain = record.get("plain_over_lab", {}).get(key)
            yield Aim(f"experiment, {name}, s an image{sharing}", lab.get("wall_s_per_image"), seconds)
            yield Aim(f"experiment, {name}, of the bare transformer{sharing}", over_bare, 1.10)
            yield Aim(f"plain diffusers loop over {name}{sharing}", plain, times, is_upper=False)


def _cold_start(record: dict[str, Any]) -> Iterator[Aim]:
    rows = {row["compile"]: row["ratio"] for row in record.get("rows", ())}
    for mode in ("off", "on"):
        yield Aim(f"cold start, compile {mode}, of reading, copying, compiling", rows.get(mode), 1.2)


def _memory(record: dict[str, Any]) -> Iterator[Aim]:
    rows = record.get("rows", ())
    for layout, name, card in (("16 GiB", "bf16", 16), ("12 GiB, float8", "float8", 12)):
        found = [row for row in rows if row["layout"] == layout]
        problems = float(sum(row["problem"] is not None for row in found)) if found else None
        yield Aim(f"{name} on a card of {card} GiB, images that did not fit", problems, 0)


def _decoder(record: dict[str, Any]) -> Iterator[Aim]:
    rows = [row for row in record.get("rows", ()) if row["decoder"] == "bands"]
    if not rows:
        yield Aim("tiled decoding, PSNR in dB", None, PSNR_AIM_DB, is_upper=False)
    for row in rows:
        psnr = float("inf") if row["psnr_db"] is None else row["psnr_db"]
        yield Aim(f"tiled decoding, {row['height']}x{row['width']}, PSNR in dB", psnr, PSNR_AIM_DB, is_upper=False)


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Read what `run_all` has left in a folder."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def table(found: list[Aim]) -> str:
    """Format aims as a table."""
    lines = [f"{'aim':64}{'figure':>10}{'limit':>12}  reached"]
    for aim in found:
        figure = "-" if aim.figure is None else f"{aim.figure:.3f}"
        limit = f"{'<=' if aim.is_upper else '>='} {aim.limit:g}"
        reached = {None: "not run", True: "yes", False: "NO"}[aim.is_reached]
        lines.append(f"{aim.name:64}{figure:>10}{limit:>12}  {reached}")
    return "\n".join(lines)


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(folder: Path) -> None:
    """Print the table."""
    print(table(aims(read_records(folder))))


if __name__ == "__main__":
    main()
