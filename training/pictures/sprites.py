"""Pack openly licensed emoji art into one file of sprites with a table of concepts.

Reads the archives of six npm packages (see `PACKAGES`), renders each picturable concept in four arts, cuts it to its
content and stores it as a lossy WebP of `SPRITE_SIZE` pixels. Also rasterises the letters that signs are written with.
It knows nothing of scenes or captions; which emoji are kept and what they are called is said in `concepts.yaml`.

Usage: `python training/pictures/sprites.py --packages training/build/packages --output training/build/sprites.npz`
"""

import io
import json
import re
import tarfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl
import numpy as np
import yaml
from PIL import Image, ImageDraw, ImageFont

from llm_dit.errors import LlmDitError
from training.world.looks import GLYPHS, STYLES

SPRITE_SIZE = 128
"""Side of a stored sprite in pixels."""
GLYPH_HEIGHT, GLYPH_WIDTH = 32, 32
PACKAGES = {
    "3d": ("lobehub-fluent-emoji-3d", "MIT"),
    "flat": ("iconify-json-fluent-emoji-flat", "MIT"),
    "cartoon": ("iconify-json-noto", "Apache-2.0"),
    "sticker": ("iconify-json-twemoji", "CC-BY-4.0"),
    "names": ("emojibase-data", "MIT"),
    "keywords": ("emojilib", "MIT"),
}
"""Art or use -> stem of the archive that `npm pack` writes, licence."""
SHORTCODES = ("github", "emojibase", "joypixels", "iamcal")
GENDERED = re.compile(r"(man|woman|men|women|people|couple|Mx)\b.")


@dataclass(frozen=True)
class Package:
    """The files of one npm archive, by their path below `package/`."""

    name: str
    files: dict[str, bytes]

    @classmethod
    def open(cls, folder: Path, stem: str) -> "Package":
        """Read the newest archive `stem-*.tgz` in `folder` into memory.

        Raises:
            LlmDitError: If there is none.
        """
        archives = sorted(folder.glob(f"{stem}-[0-9]*.tgz"))
        if not archives:
            raise LlmDitError(f"--packages {folder} holds no {stem}-*.tgz; run `npm pack` for it there.")
        with tarfile.open(archives[-1]) as archive:
            members = [member for member in archive.getmembers() if member.isfile()]
            files = {m.name.split("/", 1)[1]: _content(archive, m) for m in members if m.size < 32_000_000}
        return cls(archives[-1].stem, files)

    def json(self, path: str) -> Any:
        """Parse the JSON file at `path` inside the archive."""
        return json.loads(self.files[path])


@dataclass(frozen=True)
class VectorArt:
    """An icon set in Iconify's JSON format, looked up by code points."""

    icons: dict[str, Any]
    aliases: dict[str, Any]
    width: float
    height: float
    names: dict[str, str]

    @classmethod
    def from_package(cls, package: Package) -> "VectorArt":
        """Read `icons.json` and the code point table `chars.json`."""
        icons, names = package.json("icons.json"), package.json("chars.json")
        size = icons.get("width", 16), icons.get("height", 16)
        plain = {plain_code(code): name for code, name in names.items()}
        return cls(icons["icons"], icons.get("aliases", {}), *size, plain)

    def svg(self, code: str) -> str | None:
        """Write the SVG of an emoji, centred in a square; None if the set lacks it."""
        name = self.names.get(code)
        while name is not None and name not in self.icons:
            name = self.aliases.get(name, {}).get("parent")
        if name is None:
            return None
        icon = self.icons[name]
        width, height = icon.get("width", self.width), icon.get("height", self.height)
        side = max(width, height)
        left, top = icon.get("left", 0) - (side - width) / 2, icon.get("top", 0) - (side - height) / 2
        spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        box = f'width="{side}" height="{side}" viewBox="{left} {top} {side} {side}"'
        return f"<svg {spaces} {box}>{icon['body']}</svg>"


def plain_code(code: str) -> str:
    """Lower-case hyphenated code points without the emoji variation selector."""
    return "-".join(part for part in code.lower().split("-") if part != "fe0f")


def read_concepts(names: Package, keywords: Package, rules: dict[str, Any]) -> list[dict[str, Any]]:
    """Choose the picturable concepts and name them.

    Args:
        names: emojibase-data.
        keywords: emojilib.
        rules: The parsed `concepts.yaml`.

    Returns:
        One dict a concept: code, label, names, keywords, group, home, scale, weight.
    """
    subgroups = names.json("meta/groups.json")["subgroups"]
    codes = [names.json(f"en/shortcodes/{source}.json") for source in SHORTCODES]
    words = keywords.json("dist/emoji-en-US.json")
    kept = []
    for emoji in names.json("en/data.json"):
        group = subgroups.get(str(emoji.get("subgroup")), "")
        if _is_kept(emoji["label"], group, rules):
            shortcodes = [code for source in codes for code in _as_list(source.get(emoji["hexcode"]))]
            kept.append(_concept(emoji, group, shortcodes, words.get(emoji["emoji"], []), rules))
    return _without_shared_names(kept)


def render_sprite(picture: Image.Image) -> bytes | None:
    """Cut a picture to its content, centre it in a square and encode it.

    Args:
        picture: RGBA, any size.

    Returns:
        WebP of `SPRITE_SIZE` squared with alpha, or None if nothing is visible.
    """
    box = picture.getchannel("A").point(lambda alpha: 255 if alpha > 12 else 0).getbbox()
    if box is None:
        return None
    content = picture.crop(box)
    side = max(content.size)
    square = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    square.paste(content, ((side - content.width) // 2, (side - content.height) // 2))
    # Resize with premultiplied alpha, else the transparent black bleeds into the edges.
    small = square.convert("RGBa").resize((SPRITE_SIZE, SPRITE_SIZE), Image.Resampling.LANCZOS).convert("RGBA")
    encoded = io.BytesIO()
    small.save(encoded, "WEBP", quality=86, alpha_quality=90, method=4)
    return encoded.getvalue()


def render_glyphs(font_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Rasterise `GLYPHS` in white on black.

    Args:
        font_path: A TrueType font.

    Returns:
        Bitmaps [G, `GLYPH_HEIGHT`, `GLYPH_WIDTH`], uint8 coverage, left-aligned; advance widths [G], float32, as a
        fraction of the height.
    """
    font = ImageFont.truetype(str(font_path), 40)
    top, bottom = font.getbbox("H")[1], font.getbbox("H")[3]
    scale = GLYPH_HEIGHT * 0.92 / (bottom - top)
    bitmaps, advances = [], []
    for letter in GLYPHS:
        advance = font.getlength(letter)
        canvas = Image.new("L", (round(GLYPH_WIDTH / scale), round(GLYPH_HEIGHT / scale)), 0)
        ImageDraw.Draw(canvas).text((0, 1 - top), letter, fill=255, font=font)
        bitmaps.append(np.asarray(canvas.resize((GLYPH_WIDTH, GLYPH_HEIGHT), Image.Resampling.LANCZOS)))
        advances.append(min(advance * scale, GLYPH_WIDTH) / GLYPH_HEIGHT)
    return np.stack(bitmaps), np.asarray(advances, np.float32)


COLORED_GROUPS = ("food-", "plant-", "transport-", "clothing", "animal-", "tool", "household", "musical", "computer")


def add_colors(concepts: list[dict[str, Any]], drawn: list[tuple[int, str, bytes]]) -> None:
    """Say the colour of each concept that has the same one in nearly all its arts (`color`, absent otherwise)."""
    seen: dict[int, list[str | None]] = {}
    for concept, _, image in drawn:
        if concepts[concept]["group"].startswith(COLORED_GROUPS):
            seen.setdefault(concept, []).append(main_color(image))
    for concept, colors in seen.items():
        commonest = max(set(colors), key=colors.count)
        # The art's orange runs from bread to bears, so the word would say little.
        if commonest not in (None, "orange") and colors.count(commonest) >= max(3, len(colors) - 1):
            concepts[concept]["color"] = commonest


def main_color(image: bytes) -> str | None:
    """Name the colour of most visible pixels of an encoded sprite; None without a majority."""
    pixels = np.asarray(Image.open(io.BytesIO(image)).convert("RGBA")).reshape(-1, 4)
    visible = pixels[pixels[:, 3] > 200, :3].astype(np.float32) / 255
    top, low = visible.max(1), visible.min(1)
    chroma = np.maximum(top - low, 1e-6)
    red, green, blue = visible.T
    from_green_or_blue = np.where(top == green, (blue - red) / chroma + 2, (red - green) / chroma + 4)
    hue = np.where(top == red, (green - blue) / chroma % 6, from_green_or_blue) * 60
    is_dull = chroma / np.maximum(top, 1e-6) < 0.2
    bounds = np.array([14, 42, 68, 168, 255, 300, 344])
    names = np.array(["red", "orange", "yellow", "green", "blue", "purple", "pink", "red"])[np.digitize(hue, bounds)]
    names[np.isin(names, ("red", "orange")) & (top < 0.66)] = "brown"
    names[is_dull] = np.where(top[is_dull] > 0.85, "white", "gray")
    names[top < 0.25] = "black"
    found, counts = np.unique(names, return_counts=True)
    return str(found[counts.argmax()]) if counts.max() > 0.55 * len(names) else None


@click.command()
@click.option("--packages", type=click.Path(path_type=Path), required=True, help="Folder of npm archives (*.tgz).")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The .npz to write.")
@click.option("--processes", type=int, default=2, show_default=True)
def main(packages: Path, output: Path, processes: int) -> None:
    """Pack sprites, glyphs and the concept table into one .npz."""
    rules = yaml.safe_load(Path(__file__).with_name("concepts.yaml").read_text())
    sources = {use: Package.open(packages, stem) for use, (stem, _) in PACKAGES.items()}
    concepts = read_concepts(sources["names"], sources["keywords"], rules)
    jobs = list(_sprite_jobs(concepts, sources))
    with ProcessPoolExecutor(processes) as pool:
        encoded = list(pool.map(_encode_job, jobs, chunksize=32))
    drawn = [(job[0], job[1], image) for job, image in zip(jobs, encoded, strict=True) if image is not None]
    add_colors(concepts, drawn)
    font = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    write_sprites(output, concepts, drawn, render_glyphs(font), {use: sources[use].name for use in PACKAGES})
    click.echo(f"{len(concepts)} concepts, {len(drawn)} sprites, {output.stat().st_size / 1e6:.1f} MB: {output}")


def write_sprites(
    output: Path,
    concepts: list[dict[str, Any]],
    drawn: list[tuple[int, str, bytes]],
    glyphs: tuple[np.ndarray, np.ndarray],
    packages: dict[str, str],
) -> None:
    """Write the file that `World.load` reads.

    Args:
        output: The .npz.
        concepts: Table of `read_concepts`.
        drawn: (index of the concept, art, WebP) a sprite.
        glyphs: Result of `render_glyphs`.
        packages: Name and version of each source, kept for the notice beside the weights.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    licences = {packages[use]: licence for use, (_, licence) in PACKAGES.items() if use in packages}
    table = {"concepts": concepts, "licences": licences | {"DejaVu Sans Bold": "Bitstream Vera"}}
    np.savez(
        output,
        table=np.frombuffer(json.dumps(table, ensure_ascii=False).encode(), np.uint8),
        images=np.frombuffer(b"".join(image for _, _, image in drawn), np.uint8),
        lengths=np.asarray([len(image) for _, _, image in drawn], np.int64),
        sprite_concepts=np.asarray([concept for concept, _, _ in drawn], np.int32),
        sprite_arts=np.asarray([STYLES.index(art) for _, art, _ in drawn], np.int32),
        glyphs=glyphs[0],
        glyph_advances=glyphs[1],
    )


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def _as_list(value: str | list[str] | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else value


def _is_kept(label: str, group: str, rules: dict[str, Any]) -> bool:
    if group not in rules["subgroups"] or label in rules["drop"]:
        return False
    if group in rules["only"]:
        return label in rules["only"][group]
    return not (group.startswith("person") and GENDERED.match(label))


def _concept(
    emoji: dict[str, Any], group: str, shortcodes: list[str], keywords: list[str], rules: dict[str, Any]
) -> dict[str, Any]:
    own = rules["names"].get(emoji["label"])
    label = emoji["label"].lower().replace("’", "'").replace("piñata", "pinata")
    aliases = [code.replace("_", " ").replace("-", " ").lower() for code in shortcodes]
    label = own[0] if own else label
    home = next((home for home, labels in rules["homes"].items() if label in labels), rules["subgroups"][group]["home"])
    scale = next((size for size, labels in rules["scales"].items() if label in labels), None)
    return {
        "code": plain_code(emoji["hexcode"]),
        "label": label,
        "names": list(own) if own else [label, *_good_aliases(aliases, label)],
        "keywords": [word for word in map(str.lower, keywords) if re.fullmatch(r"[a-z]{3,14}", word)][:6],
        "group": group,
        "home": home,
        "scale": scale or rules["subgroups"][group]["scale"],
        "weight": rules["subgroups"][group]["weight"],
    }


def _good_aliases(aliases: list[str], label: str) -> list[str]:
    """Keep the short codes that repeat the label's last word: the others are often jargon."""
    tail = label.split()[-1]
    plain = [alias for alias in dict.fromkeys(aliases) if re.fullmatch(r"[a-z]{3,12}( [a-z]{2,12})?", alias)]
    return [alias for alias in plain if alias != label and alias.endswith(tail)][:1]


def _without_shared_names(concepts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    labels = {concept["label"] for concept in concepts}
    owners: dict[str, int] = {}
    for concept in concepts:
        for name in concept["names"]:
            owners[name] = owners.get(name, 0) + 1
    for concept in concepts:
        others = [n for n in concept["names"][1:] if owners[n] == 1 and n not in labels]
        concept["names"] = [concept["label"], *others]
    return concepts


def _sprite_jobs(concepts: list[dict[str, Any]], sources: dict[str, Package]) -> Iterator[tuple[int, str, bytes | str]]:
    vectors = {art: VectorArt.from_package(sources[art]) for art in STYLES[1:]}
    solids = {plain_code(Path(path).stem): data for path, data in sources["3d"].files.items() if path.endswith(".webp")}
    for index, concept in enumerate(concepts):
        if concept["code"] in solids:
            yield index, "3d", solids[concept["code"]]
        for art, vector in vectors.items():
            svg = vector.svg(concept["code"])
            if svg is not None:
                yield index, art, svg


def _encode_job(job: tuple[int, str, bytes | str]) -> bytes | None:
    # resvg is needed for the making of the art only, not where the world is read.
    import resvg_py

    source = job[2]
    if isinstance(source, str):
        source = bytes(resvg_py.svg_to_bytes(svg_string=source, width=256, height=256))
    return render_sprite(Image.open(io.BytesIO(source)).convert("RGBA"))


if __name__ == "__main__":
    main()
