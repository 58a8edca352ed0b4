"""Tables as files: CSV for programs and spreadsheets, LaTeX for papers, JSON with every digit."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

from experiments.reporting.number_tables import Cell, NumberTable
from experiments.store.summary import harmless
from llm_dit.atomic_file import write_atomically
from llm_dit.errors import unwritable

LATEX_SIGNS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "“": "``",
    "”": "''",
    "×": r"$\times$",
}


def write_tables(folder: Path, tables: Sequence[NumberTable]) -> list[Path]:
    """Write each table as `NAME.csv`, `NAME.tex` and `NAME.json`; names that are taken get a number.

    Raises:
        OutputError: If a file can't be written.
    """
    written, taken = [], set[str]()
    for table in tables:
        name = _file_name(table.name, taken)
        taken.add(name)
        for suffix, text in ((".csv", csv_text(table)), (".tex", latex_text(table)), (".json", json_text(table))):
            path = folder / f"{name}{suffix}"
            write_text(path, text)
            written.append(path)
    return written


def write_text(path: Path, text: str) -> None:
    """Write a file whole.

    Raises:
        OutputError: If it can't be written.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole, with the folders above it.

    Raises:
        OutputError: If it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise unwritable(f"{path} can't be written", error, field="output") from None


def csv_text(table: NumberTable) -> str:
    """Return a table's values, unrounded; what is missing is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(harmless(name) for name in distinct(table.columns))
    writer.writerows([harmless(_value(cell)) for cell in row] for row in table.rows)
    return text.getvalue()


def json_text(table: NumberTable) -> str:
    """Return a table with its title, one object a row, unrounded."""
    columns = distinct(table.columns)
    rows = [dict(zip(columns, map(_value, row), strict=True)) for row in table.rows]
    content = {"name": table.name, "title": table.title, "columns": columns, "rows": rows}
    return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def latex_text(table: NumberTable) -> str:
    r"""Return a table as it is read, for `\usepackage{booktabs}`: rounded, text left, numbers right."""
    kinds = "".join("l" if _is_text(table, index) else "r" for index in range(len(table.columns)))
    lines = [
        f"% {' '.join(table.title.split())}",
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{kinds}}}",
        r"\toprule",
        _latex_row(table.columns),
        r"\midrule",
        *(_latex_row([cell.text for cell in row]) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def distinct(columns: Sequence[str]) -> list[str]:
    """Return headings of which no two are alike: the second `low` is `low 2`."""
    names: list[str] = []
    for heading in columns:
        name, number = heading, 2
        while name in names:
            name, number = f"{heading} {number}", number + 1
        names.append(name)
    return names


def latex_escaped(text: str) -> str:
    """Return a text as LaTeX sets it; a minus sign is one."""
    escaped = "".join(LATEX_SIGNS.get(sign, sign) for sign in text)
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)


def _latex_row(texts: Sequence[str]) -> str:
    return " & ".join(map(latex_escaped, texts)) + r" \\"


def _is_text(table: NumberTable, index: int) -> bool:
    return all(isinstance(row[index].value, str) for row in table.rows)


def _value(cell: Cell) -> str | float | int | None:
    return None if isinstance(cell.value, float) and not math.isfinite(cell.value) else cell.value


def _file_name(name: str, taken: set[str]) -> str:
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[:120] or "table"
    found, number = safe, 2
    while found in taken:
        found, number = f"{safe}_{number}", number + 1
    return found
