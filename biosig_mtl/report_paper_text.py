"""A table or a text of a paper, written as Markdown, LaTeX (booktabs) and CSV from the same cells.

A number is rounded in one place only, so the three say the same; the CSV keeps all digits and puts interval ends into columns
of their own.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from biosig_mtl.report_sections import interval, number


@dataclass(frozen=True, slots=True)
class Num:
    """A number with its decimals and, where known, its 95 % interval."""

    value: float | None
    digits: int = 1
    ci95: tuple[float, float] | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any], key: str, digits: int = 1) -> Num:
        """Take a figure and its interval out of ``scores.json``."""
        ends = content.get(f"{key}_ci95")
        known = ends is not None and None not in ends
        return cls(content.get(key), digits, (float(ends[0]), float(ends[1])) if ends is not None and known else None)

    def text(self) -> str:
        """Return the number for people."""
        written = number(self.value, self.digits)
        return f"{written} ({interval(self.ci95, self.digits)})" if self.ci95 else written


Cell = str | Num


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its name (that of its files), caption, header, rows as long as the header, and notes below it."""

    name: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse rows of another length than the header."""
        if any(len(row) != len(self.header) for row in self.rows):
            raise ValueError(f"need rows of {len(self.header)} cells in table {self.name}")


def shown(cell: Cell) -> str:
    """Return a cell for people."""
    return cell.text() if isinstance(cell, Num) else cell


# -------------------------------------------------------------------------------------------------------------- Markdown
def markdown(table: Table) -> str:
    """Return a table as Markdown."""
    rows = [[_md(shown(cell)) for cell in row] for row in table.rows]
    right = _right(table)
    lines = [
        f"**{_md(table.caption)}**",
        "",
        "| " + " | ".join(map(_md, table.header)) + " |",
        "|" + "|".join("---:" if i in right else "---" for i in range(len(table.header))) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    return "\n".join([*lines, *(line for note in table.notes for line in ("", _md(note)))]) + "\n"


def _md(text: str) -> str:
    """Keep a text one cell, and keep names from being read as markup."""
    return re.sub(r"([\\|*_`<\[])", r"\\\1", " ".join(text.split()))


def _right(table: Table) -> set[int]:
    """Return the columns that hold numbers."""
    return {i for i in range(len(table.header)) if any(isinstance(row[i], Num) for row in table.rows)}


# ----------------------------------------------------------------------------------------------------------------- LaTeX
_SPECIAL = {
    "\\": r"\textbackslash{}", "/": r"/\allowbreak{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "_": r"\_\allowbreak{}", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': r"\textquotedbl{}", "−": r"\(-\)", "–": "--", "—": "---", "±": r"\(\pm\)", "≤": r"\(\leq\)", "≥": r"\(\geq\)",
    "×": r"\(\times\)", "÷": r"\(\div\)", "→": r"\(\rightarrow\)", "Δ": r"\(\Delta\)", "…": r"\ldots{}", "·": r"\(\cdot\)",
    "²": r"\textsuperscript{2}", "µ": r"\textmu{}", "μ": r"\textmu{}", "°": r"\textdegree{}", "\u00a0": "~", "\u2060": "",
    "“": "``", "”": "''", "„": ",,", "’": "'", "‘": "`", "κ": r"\(\kappa\)", "σ": r"\(\sigma\)", "λ": r"\(\lambda\)",
    "τ": r"\(\tau\)", "α": r"\(\alpha\)", "β": r"\(\beta\)", "√": r"\(\surd\)",
}  # fmt: skip


# More rows than this do not fit on a page; more letters than this do not fit in a cell of one line.
_PAGE, _WRAPS = 40, 45


def escaped(text: str) -> str:
    r"""Return a text so that LaTeX prints it as it is.

    >>> print(escaped("50 % of a_b, −1.5 to 2"))
    50 \% of a\_\allowbreak{}b, \(-\)1.5 to 2
    """
    return "".join(_SPECIAL.get(letter, letter) for letter in " ".join(text.split()))


def latex(table: Table) -> str:
    """Return a table as LaTeX with booktabs rules: over both columns where it is wide, over several pages where it is long."""
    longest = [max([len(h), *(len(shown(row[i])) for row in table.rows)]) for i, h in enumerate(table.header)]
    letters = sum(longest)
    size = r"\small" if letters <= 60 else r"\footnotesize" if letters <= 100 else r"\scriptsize\setlength{\tabcolsep}{2pt}"
    caption = rf"\caption{{{escaped(table.caption)}}}\label{{tab:{re.sub('[^a-z0-9]+', '-', table.name.lower())}}}"
    columns = f"{{@{{}}{_columns(table, longest)}@{{}}}}"
    head = [r"\toprule", " & ".join(map(escaped, table.header)) + r" \\", r"\midrule"]
    # A row that begins with a bracket would be read as an option of the line end before it.
    rows = [" & ".join(re.sub(r"^\[", "{[}", escaped(shown(cell))) for cell in row) + r" \\" for row in table.rows]
    notes = [rf"\par\smallskip\parbox{{0.95\linewidth}}{{\footnotesize {escaped(note)}}}" for note in table.notes]
    if len(rows) > _PAGE:
        begin = [
            "{" + size,
            rf"\begin{{longtable}}{columns}",
            caption + r" \\",
            *head,
            r"\endhead",
            r"\bottomrule",
            r"\endlastfoot",
        ]
        lines = [*begin, *rows, r"\end{longtable}", *notes, "}"]
    else:
        kind = "table*" if letters > 60 else "table"
        begin = [rf"\begin{{{kind}}}[htbp]", r"\centering", caption, size, rf"\begin{{tabular}}{columns}"]
        lines = [*begin, *head, *rows, r"\bottomrule", r"\end{tabular}", *notes, rf"\end{{{kind}}}"]
    return "\n".join(lines) + "\n"


def _columns(table: Table, longest: Sequence[int]) -> str:
    """Return the kinds of the columns: numbers to the right, words to the left, long words in lines of their own."""
    right, wraps = _right(table), {i: letters**0.5 for i, letters in enumerate(longest) if letters > _WRAPS}
    whole = 0.62 if len(table.header) > 3 else 0.68

    def kind(column: int) -> str:
        if column in right or column not in wraps:
            return "r" if column in right else "l"
        return rf">{{\raggedright\arraybackslash}}p{{{whole * wraps[column] / sum(wraps.values()):.2f}\linewidth}}"

    return "".join(map(kind, range(len(table.header))))


# ------------------------------------------------------------------------------------------------------------------- CSV
def comma_separated(table: Table) -> str:
    """Return a table as CSV: all digits, interval ends in columns of their own, empty where a number is unknown."""
    right = _right(table)
    ends = {i for i in right if any(isinstance(row[i], Num) and row[i].ci95 for row in table.rows)}  # type: ignore[union-attr]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [word for i, h in enumerate(table.header) for word in ([h, f"{h}, low", f"{h}, high"] if i in ends else [h])]
    )
    for row in table.rows:
        writer.writerow([word for i, cell in enumerate(row) for word in _csv(cell, with_ends=i in ends)])
    return out.getvalue()


def _csv(cell: Cell, *, with_ends: bool) -> list[str]:
    if isinstance(cell, str):
        # A cell that begins like a formula is one to a spreadsheet.
        return [f"'{cell}" if cell[:1] in {"=", "+", "@"} else cell, *(["", ""] if with_ends else [])]
    low, high = cell.ci95 or (None, None)
    return [_digits(value) for value in ((cell.value, low, high) if with_ends else (cell.value,))]


def _digits(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else repr(value)


# ------------------------------------------------------------------------------------------------------------------ text
@dataclass(frozen=True, slots=True)
class Part:
    """A heading and its paragraphs."""

    title: str
    paragraphs: tuple[str, ...]


def text_markdown(title: str, parts: Sequence[Part]) -> str:
    """Return a text as Markdown."""
    lines = [f"# {title}"]
    for part in parts:
        lines += ["", f"## {part.title}", *(line for p in part.paragraphs for line in ("", _md(p)))]
    return "\n".join(lines) + "\n"


def text_latex(parts: Sequence[Part], level: str = "subsection") -> str:
    """Return a text as LaTeX, to be put into a document by ``input``."""
    lines: list[str] = []
    for part in parts:
        lines += [rf"\{level}{{{escaped(part.title)}}}", *(line for p in part.paragraphs for line in (escaped(p), ""))]
    return "\n".join(lines)


def document(title: str, inputs: Sequence[str], figures: Sequence[tuple[str, str, float]]) -> str:
    """Return a document with the texts and tables named by ``inputs``, the figures, and the citations.

    A figure is its path without ending, its caption, and its width in mm.
    """
    pictures = [
        line
        for path, caption, width_mm in figures
        for line in (
            r"\begin{figure}[htbp]",
            r"\centering",
            rf"\includegraphics[width={width_mm:.0f}mm]{{{path}.pdf}}",
            rf"\caption{{{escaped(caption)}}}",
            r"\end{figure}",
        )
    ]
    head = [
        r"\documentclass[a4paper]{article}",
        r"\usepackage[margin=15mm]{geometry}",
        r"\usepackage{iftex}",
        r"\iftutex\usepackage{fontspec}\else\usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}\fi",
        r"\usepackage{array,booktabs,graphicx,longtable,textcomp}",
        r"\emergencystretch=3em",
        rf"\title{{{escaped(title)}}}",
        r"\date{}",
        r"\begin{document}",
        r"\maketitle",
        r"\section{Methods}",
    ]
    tail = [r"\nocite{*}", r"\bibliographystyle{plain}", r"\bibliography{citations}", r"\end{document}"]
    return "\n".join([*head, *(rf"\input{{{name}}}" for name in inputs), *pictures, *tail]) + "\n"
