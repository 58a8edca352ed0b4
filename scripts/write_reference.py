"""Write the files that are generated from the code: `config.toml.example` and `docs/configuration.md`."""

from __future__ import annotations

from pathlib import Path

from llm_dit.reference import example_file, reference_page

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Write both files."""
    (ROOT / "config.toml.example").write_text(example_file(), encoding="utf-8")
    (ROOT / "docs" / "configuration.md").write_text(reference_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
