"""PPG-BP in its own folder: one text of a finger PPG a segment, one spreadsheet for all people."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from biosig_mtl.data.readers.channels import match, shown
from biosig_mtl.data.readers.files import check_file, read_start
from biosig_mtl.data.readers.quoting import shape
from biosig_mtl.data.readers.samples import as_samples, parse_numbers
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.data.readers.spreadsheet import Cell, Row, read_sheets
from biosig_mtl.types import F32, ChannelInfo, DataError, Entry, Label, Rejected

FS_HZ = 1000.0
SAMPLES = 2100
_NAME = re.compile(r"(?P<subject>\d+)_(?P<segment>\d+)", re.ASCII)
_MOST_BYTES = 1 << 24
# Headings are matched by how they begin, in lower case without blanks.
_NUMBERS = {"age_years": "age", "height_cm": "height", "weight_kg": "weight"}
_LABELS = {"sbp": "systolic", "dbp": "diastolic"}


@dataclass(frozen=True, slots=True)
class Person:
    """One row of the spreadsheet."""

    labels: tuple[Label, ...]
    demographics: Mapping[str, float]


def open_ppg_bp(entry: Entry) -> LazySource:
    """Open one segment. A text longer than 2.1 s is glued from several: each joint is a seam, and a note says so."""
    if check_file(entry.path) > _MOST_BYTES:
        raise DataError(f"{entry.path}: has more than {_MOST_BYTES >> 20} MB, far more than a segment of PPG-BP")
    chosen = match(["PPG"], entry.channels, str(entry.path))
    samples = _parse(entry.path)
    notes = []
    if samples.size != SAMPLES:
        notes.append(f"{entry.path.name}: {samples.size} samples where {SAMPLES} are usual")
    ours, (kind, _) = next(iter(chosen.items()))
    return LazySource(
        entry=entry,
        channels={ours: ChannelInfo(ours, kind, "a.u.", FS_HZ)},
        source_names={ours: "PPG"},
        fs=FS_HZ,
        frames=samples.size,
        fetch=lambda first, stop: {ours: samples[first:stop]},
        seams_s=np.arange(SAMPLES, samples.size, SAMPLES) / FS_HZ,
        notes=tuple(notes),
    )


def looks_like_ppg_bp(path: Path) -> bool:
    """Tell whether a text is one line of numbers with tabs between them."""
    return bool(re.fullmatch(rb"[\d.\t\r\n +-]+", read_start(path, 200) or b"?"))


def _parse(path: Path) -> F32:
    data = path.read_bytes()
    values = parse_numbers(data)
    if values is None:
        wrong = next((word for word in data.split() if parse_numbers(word) is None), b"?")[:30].decode("latin-1")
        raise DataError(f"{path}: '{shape(wrong)}' is no number; expected numbers with tabs between them")
    samples = as_samples(values)
    if not np.isfinite(samples).any():
        raise DataError(f"{path}: holds no number")
    return samples


def survey(root: Path) -> tuple[list[tuple[Path, str, Person]], list[Rejected]]:
    """List the segments of a folder as (path, subject, person), and what is not used with the reason.

    Segments that are equal byte for byte: of one subject, the first is kept; of two subjects, none, since nobody knows whose
    it is.
    """
    people = read_people(root)
    named = {p: _NAME.fullmatch(p.stem) for p in _texts(root)}
    kept: list[tuple[Path, str, Person]] = []
    rejected = [Rejected(p.stem, math.nan, f"{p.name}: not named <subject>_<segment>.txt") for p, m in named.items() if not m]
    subjects = {p: m["subject"] for p, m in named.items() if m}
    twins = _twins(list(subjects))
    for path, subject in subjects.items():
        reason = _reason(path, subjects, twins.get(path, [path]), people)
        if reason:
            rejected.append(Rejected(path.stem, math.nan, reason))
        else:
            kept.append((path, subject, people[subject]))
    present = set(subjects.values())
    rejected += [
        Rejected(subject, math.nan, f"subject {subject} is in the spreadsheet and has no signal")
        for subject in people
        if subject not in present
    ]
    return kept, rejected


def _reason(path: Path, subjects: Mapping[Path, str], twins: list[Path], people: Mapping[str, Person]) -> str:
    subject = subjects[path]
    strangers = [t.stem for t in twins if subjects[t] != subject]
    if strangers:
        return f"identical to {strangers[0]} of another subject: nobody knows whose it is"
    if twins[0] != path:
        return f"identical to {twins[0].stem}"
    if subject not in people:
        return f"subject {subject} is not in the spreadsheet"
    return ""


def _twins(paths: list[Path]) -> dict[Path, list[Path]]:
    """Return, for every readable text, all texts with the same content, in order."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        # One that is too large is refused when it is opened; until then it is like no other.
        large = path.stat().st_size > _MOST_BYTES
        content = path.name.encode() if large else path.read_bytes().strip()
        groups.setdefault(hashlib.sha256(content).hexdigest(), []).append(path)
    return {p: group for group in groups.values() for p in group}


def _texts(root: Path) -> list[Path]:
    folders = [f for f in (root / "Data File" / "0_subject", root / "0_subject", root) if f.is_dir()]
    for folder in folders:
        texts = [p for p in folder.glob("*.txt") if _NAME.fullmatch(p.stem)]
        if texts:
            return sorted(texts, key=lambda p: [int(w) for w in p.stem.split("_")])
    raise DataError(f"{root}: no texts <subject>_<segment>.txt, here or in 'Data File/0_subject'")


def read_people(root: Path) -> dict[str, Person]:
    """Read the spreadsheet; its heading row is found by its words, whatever stands above it."""
    sheets = sorted(p for p in [*root.glob("*.xlsx"), *root.glob("*/*.xlsx")] if not p.name.startswith("~$"))
    if not sheets:
        raise DataError(f"{root}: the spreadsheet 'PPG-BP dataset.xlsx' is missing")
    path = sheets[0]
    rows = [row for sheet in read_sheets(path) for row in sheet]
    for number, row in enumerate(rows):
        heads = [re.sub(r"\s", "", str(cell or "")).lower() for cell in row]
        if any(h.startswith("subject") for h in heads) and any(h.startswith("systolic") for h in heads):
            return _people(rows[number + 1 :], heads, path)
    raise DataError(f"{path}: no row of headings with 'subject_ID' and 'Systolic Blood Pressure'")


def _people(rows: list[Row], heads: list[str], path: Path) -> dict[str, Person]:
    def column(start: str) -> int:
        found = [i for i, h in enumerate(heads) if h.startswith(start)]
        if not found:
            raise DataError(f"{path}: no column that begins with '{start}'")
        return found[0]

    subject, sex = column("subject"), column("sex")
    numbers = {name: column(start) for name, start in _NUMBERS.items()}
    labels = {name: column(start) for name, start in _LABELS.items()}
    people = {}
    for short in rows:
        row = (*short, *[None] * (len(heads) - len(short)))
        if row[subject] is None:
            continue
        known = {name: _number(row[i]) for name, i in numbers.items()}
        known["sex_male"] = {"m": 1.0, "f": 0.0}.get(str(row[sex] or "").strip().lower()[:1], math.nan)
        values = {name: _number(row[i]) for name, i in labels.items()}
        people[_subject(row[subject])] = Person(
            labels=tuple(Label(name, v, "mmHg", "cuff") for name, v in values.items() if math.isfinite(v)),
            demographics={name: v for name, v in known.items() if math.isfinite(v)},
        )
    return people


def _subject(cell: Cell) -> str:
    whole = isinstance(cell, int | float) and math.isfinite(cell)
    return str(int(cell)) if whole else shown(str(cell))  # type: ignore[arg-type]


def _number(cell: Cell) -> float:
    try:
        return float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
