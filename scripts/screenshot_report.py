"""The picture of README.md: a verdict, its plot, and the pictures behind it, of a report that is there.

`uv run scripts/screenshot_report.py experiments/results/hidden_layer` needs Chromium at /usr/bin/chromium.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import click
from PIL import Image

from llm_dit.cli import user_errors
from llm_dit.errors import LlmDitError

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = "/usr/bin/chromium"
WIDTH = 1120
PICTURES_HEIGHT = 520
"""Of the pictures' rows that are shown."""
ONE_VERDICT = """measure => {
    for (const title of document.querySelectorAll("#verdict dt")) {
        const said = title.nextElementSibling;
        if (title.firstChild.textContent.trim() === measure) [...said.children].slice(1).forEach(part => part.remove());
        else { said.remove(); title.remove(); }
    }
}"""
"""Leaves the first sentence of one measure."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--measure", default="SigLIP 2", show_default=True, help="Title of the measure that is shown.")
@click.option("--output", "-o", type=click.Path(path_type=Path), default=ROOT / "docs" / "images" / "report.png")
@user_errors
def main(folder: Path, measure: str, output: Path) -> None:
    """Take the picture of FOLDER's report."""
    from playwright.sync_api import sync_playwright

    report = folder / "report.html"
    if not report.is_file():
        raise LlmDitError(f"{report} does not exist; run the experiment with --compute-metrics first.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        page.goto(report.resolve().as_uri())
        page.evaluate(ONE_VERDICT, measure)
        page.locator("label:has-text('Score') select[name=measure]").select_option(label=measure)
        parts = [_part(page, selector, height) for selector, height in _places(measure)]
        browser.close()
    picture = Image.new("RGB", (WIDTH, sum(part.height for part in parts)), parts[0].getpixel((1, 1)))
    top = 0
    for part in parts:
        picture.paste(part, (0, top))
        top += part.height
    picture.quantize(256, dither=Image.Dither.NONE).save(output, optimize=True)
    click.echo(f"{output}: {output.stat().st_size // 1024} KB")


def _places(measure: str) -> list[tuple[str, int | None]]:
    """Return what is shown from top to bottom, and how much of it; None for all."""
    return [
        ("header", None),
        ("#verdict .overall", None),
        ("#verdict dl", None),
        (f"#plots .card:has(h3:has-text('{measure}'))", None),
        ("#sheet", PICTURES_HEIGHT),
    ]


def _part(page: Any, selector: str, height: int | None) -> Image.Image:
    place = page.locator(selector).first
    place.scroll_into_view_if_needed()
    page.wait_for_timeout(800)  # pictures come when they are in sight
    box = place.bounding_box()
    clip = {"x": 0, "y": box["y"] - 8, "width": WIDTH, "height": min(height or box["height"], box["height"]) + 12}
    return Image.open(io.BytesIO(page.screenshot(clip=clip, full_page=False))).convert("RGB")


if __name__ == "__main__":
    main()
