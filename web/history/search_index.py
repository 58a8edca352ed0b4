"""What of a row is searched: its texts, and its other parameters as values that SQLite compares."""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Mapping
from typing import Any

from llm_dit.parameters import PARAMETERS

INDEX_SCHEMA = """
CREATE TABLE IF NOT EXISTS image_texts (
    name TEXT NOT NULL,
    row INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
    folded TEXT NOT NULL,
    PRIMARY KEY (name, row)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS image_texts_by_row ON image_texts (row);
CREATE TABLE IF NOT EXISTS image_values (
    name TEXT NOT NULL,
    value ANY NOT NULL,
    row INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
    PRIMARY KEY (name, value, row)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS image_values_by_row ON image_values (row);
"""
MODEL = "model"
"""Name under which the model of an image is searched; it is no parameter of an image."""


def fold(text: str) -> str:
    """Return a text as it is compared: without case, and one way of writing each letter."""
    return unicodedata.normalize("NFKC", text).casefold()


def add_to_index(
    database: sqlite3.Connection, entry_id: str, params: Mapping[str, Any], metadata: Mapping[str, Any] | None
) -> None:
    """Write what is searched of one row, in place of what was there."""
    (row,) = database.execute("SELECT row FROM images WHERE id = ?", (entry_id,)).fetchone()
    texts = {name: fold(str(value)) for name, value in params.items() if _is_text(name) and value is not None}
    if metadata and metadata.get("model_path"):
        texts[MODEL] = fold(str(metadata["model_path"]))
    values = {
        name: value for name, value in params.items() if name in PARAMETERS and not _is_text(name) and value is not None
    }
    database.execute("DELETE FROM image_texts WHERE row = ?", (row,))
    database.execute("DELETE FROM image_values WHERE row = ?", (row,))
    database.executemany(
        "INSERT INTO image_texts (name, row, folded) VALUES (?, ?, ?)",
        [(name, row, text) for name, text in texts.items()],
    )
    database.executemany(
        "INSERT INTO image_values (name, value, row) VALUES (?, ?, ?)",
        [(name, value, row) for name, value in values.items()],
    )


def _is_text(name: str) -> bool:
    return name in PARAMETERS and PARAMETERS[name].kind == "text"
