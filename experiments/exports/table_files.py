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

LEFT_OUT = ("mean low", "mean high", "sd", "pairs", "p", "detects", "least at", "most at")
MOST_HEADING_CHARACTERS = 14
SIZES = ((86, r"\footnotesize"), (91, r"\scriptsize"), (108, r"\tiny"))
"""Letters of a row that fit in each size on a page of LaTeX's article."""
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
    "<": r"$<$",
    ">": r"$>$",
    "“": "``",
    "”": "''",
    "×": r"$\times$",
    "\u00a0": "~",
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
    r"""Return a table as it is read, for `\usepackage{booktabs}` and a page's width: rounded, text left, numbers right.

    An interval stands beside its number in one column, long headings are stacked, and where levels are compared what a
    paper seldom prints (`LEFT_OUT`) is left to CSV and JSON; a comment names it.
    """
    shown, left_out = _for_paper(table)
    kinds = "".join("l" if _is_text(shown, index) else "r" for index in range(len(shown.columns)))
    size = next((size for most, size in SIZES if _letters(shown) <= most), SIZES[-1][1])
    lines = [
        f"% {' '.join(table.title.split())}",
        r"% needs \usepackage{booktabs}",
        *([f"% not here, but in the CSV and JSON: {', '.join(left_out)}"] if left_out else []),
        rf"\begingroup{size}\setlength{{\tabcolsep}}{{3pt}}",
        rf"\begin{{tabular}}{{{kinds}}}",
        r"\toprule",
        " & ".join(_stacked(heading, kind) for heading, kind in zip(shown.columns, kinds, strict=True)) + r" \\",
        r"\midrule",
        *(_latex_row([cell.text for cell in row]) for row in shown.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\endgroup",
    ]
    return "\n".join(lines) + "\n"


def _for_paper(table: NumberTable) -> tuple[NumberTable, list[str]]:
    """Return the columns that are printed, intervals beside their numbers, and the names of those left out."""
    names = table.columns
    left_out = [name for name in names if name in LEFT_OUT] if {"difference", "median"} & set(names) else []
    columns: list[str] = []
    cells: list[list[Cell]] = [[] for _row in table.rows]
    index = 0
    while index < len(names):
        name = names[index]
        has_ends = names[index + 1 : index + 3] in (("low", "high"), (f"{name} low", f"{name} high"))
        if name not in left_out:
            has_ends = has_ends and not set(names[index + 1 : index + 3]) & set(left_out)
            columns.append(f"{name} [95\u00a0%]" if has_ends else name)
            for row, found in zip(table.rows, cells, strict=True):
                found.append(_with_ends(*row[index : index + 3]) if has_ends else row[index])
        index += 3 if has_ends and name not in left_out else 1
    return NumberTable(table.name, table.title, tuple(columns), tuple(map(tuple, cells))), left_out


def _with_ends(middle: Cell, low: Cell, high: Cell) -> Cell:
    return Cell(middle.value, f"{middle.text} [{low.text}, {high.text}]" if low.text else middle.text)


def _stacked(heading: str, kind: str) -> str:
    """Return a heading in lines that are not too long."""
    joined = r" \\{}".join(map(latex_escaped, _heading_lines(heading)))  # a bracket behind \\ would be its argument
    return rf"\shortstack[{kind}]{{{joined}}}" if r"\\" in joined else joined


def _heading_lines(heading: str) -> list[str]:
    """Part a heading at its blanks, and long words behind their underscores."""
    lines = [""]
    for word in heading.split(" "):
        pieces = [word]
        if len(word) > MOST_HEADING_CHARACTERS:
            pieces = re.findall(r"[^_]+_?|_", word)
            lines.append("")
        for place, piece in enumerate(pieces):
            glue = " " if place == 0 and lines[-1] else ""
            if lines[-1] and len(lines[-1] + glue + piece) > MOST_HEADING_CHARACTERS:
                lines.append(piece)
            else:
                lines[-1] += glue + piece
    return [line for line in lines if line]


def _letters(table: NumberTable) -> int:
    """Return how many letters a row takes at most, with two between columns."""
    return sum(
        2 + max(len(text) for text in (*_heading_lines(heading), *(row[index].text for row in table.rows)))
        for index, heading in enumerate(table.columns)
    )


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
