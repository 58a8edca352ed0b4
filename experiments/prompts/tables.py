"""CSV and TSV files as rows: a header names the columns, and quotes are read as quotes.

PartiPrompts is a TSV without quoting whose texts begin with quotation marks. Where a file's quotes can't be quoting,
they are taken as text; a comma list has no such way out, since its texts hold commas.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Literal

from experiments.prompts.rows import Row
from llm_dit.errors import ConfigError

MOST_FIELD_CHARACTERS = 16 << 20


def rows_of_table(text: str, path: Path) -> list[Row]:
    """Return the rows below the header.

    Args:
        text: The file's content.
        path: Its name: `.tsv` is divided at tabs, everything else at commas, or at semicolons where the header is.

    Raises:
        ConfigError: With file and line, for quotes that don't close and rows longer than the header.
    """
    if path.suffix.lower() != ".tsv":
        header = text.partition("\n")[0]
        return _rows(text, path, ";" if ";" in header and "," not in header else ",", csv.QUOTE_MINIMAL)
    try:
        return _rows(text, path, "\t", csv.QUOTE_MINIMAL)
    except ConfigError:
        return _rows(text, path, "\t", csv.QUOTE_NONE)


def _rows(text: str, path: Path, delimiter: str, quoting: Literal[0, 3]) -> list[Row]:
    csv.field_size_limit(MOST_FIELD_CHARACTERS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    rows: list[Row] = []
    header: list[str] = []
    last_line = 0
    try:
        for fields in reader:
            where, last_line = f"{path}:{last_line + 1}", reader.line_num
            if not any(field.strip() for field in fields):
                continue
            if not header:
                header = [name.strip() for name in fields]
                continue
            if len(fields) > len(header):
                raise ConfigError(
                    f"{where}: the row has {len(fields)} fields and the header {len(header)}; put texts that hold "
                    "the separator into double quotes."
                )
            rows.append(Row(dict(zip(header, fields, strict=False)), where))
    except csv.Error as error:
        raise ConfigError(f"{path}:{last_line + 1}: the quotes of this row can't be read: {error}.") from None
    return rows
