"""Targets of texts, tables and containers: CSV, Parquet, E4, spreadsheets, manifests, recipes, archives, live lines."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from biosig_mtl import recipe
from biosig_mtl.data import manifest
from biosig_mtl.data.affect.columns import read_columns
from biosig_mtl.data.affect.faced import electrode_file
from biosig_mtl.data.affect.session_xml import read_elements
from biosig_mtl.data.fetching_sums import problem_of, sums_near
from biosig_mtl.data.readers import open_source
from biosig_mtl.data.readers.clock import parse_clock
from biosig_mtl.data.readers.ppg_bp import read_people
from biosig_mtl.data.unpacking import Limits, unpack
from biosig_mtl.types import DataError, Entry, InputSpec
from tests.fuzz.harness import Finding, Target, check_source, join, read_all

if TYPE_CHECKING:
    from biosig_mtl.inference.stream_words import Chunk

# What is imported late, in the middle of a reading, would be taken for files of its own.
importlib.import_module("pandas")

# ------------------------------------------------------------------------------------------------------------------ tables
ROWS = "".join(f"{n / 100:.2f},{(n * 37) % 11 - 5.5:.1f},{n % 7}\n" for n in range(60))
CSV = f"Time [s],PLETH (a.u.),II\n{ROWS}".encode()
CLOCKS = b"timestamp;ppg;x\n" + "".join(f"[12:59:{50 + n // 10}.{n % 10}00];0.5;{n}\n" for n in range(90)).encode()
PPG_BP = "\t".join(f"{2000 + (n * 37) % 101:.1f}" for n in range(60)).encode()


def table(frame: Mapping[str, Any], **how: Any) -> bytes:
    """Return a Parquet file with these columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(pa.table(dict(frame)), sink, **how)
    return sink.getvalue()


@lru_cache
def _parquet() -> bytes:
    n = np.arange(60)
    return table({"time": n / 50, "ppg": np.sin(n), "ecg": (n % 5).astype(np.int16)}, row_group_size=40)


@lru_cache
def _parquet_words() -> bytes:
    import pyarrow as pa

    stamps = pa.array([f"2024-01-01T00:00:{n / 10:06.3f}" for n in range(60)])
    return table({"time": stamps, "ppg": pa.array([str(n % 7) for n in range(60)]), "eda": pa.array(np.arange(60.0))})


def _table(name: str, **options: Any) -> Callable[[Path], None]:
    return lambda folder: read_all(folder / name, options=options)


def _clock(folder: Path) -> None:
    words = np.array((folder / "w").read_text("latin-1").split("\n"), dtype=str)
    if words.size and words.dtype.itemsize < 4 * 80:
        times = parse_clock(np.char.strip(words), "w", 1)
        if times.shape != words.shape or not np.isfinite(times).all():
            raise Finding(f"{times.shape} times of {words.shape} words: {times[:5]}")


def _columns(folder: Path) -> None:
    # Values may be infinite: readers make samples or ratings of them, and both are asked then.
    read_columns(folder / "t.csv", ("seconds", "valence"))


# ---------------------------------------------------------------------------------------------------------------------- E4
E4 = {
    "BVP.csv": b"1544027337.00\r\n64.00\r\n" + b"".join(b"%d.5\r\n" % (n % 40) for n in range(192)),
    "ACC.csv": b"1544027337.00,1544027337.00,1544027337.00\n32.00,32.00,32.00\n" + b"1,-2,63\n" * 96,
    "EDA.csv": b"1544027337.5\n4.000000\n0.000\n" + b"0.25\n" * 11,
    "tags.csv": b"1544027338.11\n",
}


def zipped(members: Mapping[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip of files."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, how)
    return sink.getvalue()


# ------------------------------------------------------------------------------------------------------------ spreadsheets
HEADS = ("Num.", "subject_ID", "Sex(M/F)", "Age(year)", "Height(cm)", "Weight(kg)", "Systolic Blood Pressure(mmHg)",
         "Diastolic Blood Pressure(mmHg)")  # fmt: skip


@lru_cache
def _xlsx() -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    for row in ((), HEADS, (1, 2, "Female", 45, 152, 63, 161, 89), (2, 3, "Male", None, 170, "?", 120, 80)):
        sheet.append(row)
    sink = io.BytesIO()
    book.save(sink)
    return sink.getvalue()


@lru_cache
def sheet_parts() -> dict[str, bytes]:
    """Return the members of a small workbook."""
    with zipfile.ZipFile(io.BytesIO(_xlsx())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


_SHEET, _BOOK = "xl/worksheets/sheet1.xml", "xl/workbook.xml"


def _people(folder: Path) -> None:
    for person in read_people(folder).values():
        if not all(np.isfinite(x.value) for x in person.labels):
            raise Finding("a pressure that is no number")


def _xml(folder: Path) -> None:
    place = folder / "a.xlsx"
    texts = {_SHEET: (folder / "sheet").read_bytes(), _BOOK: (folder / "book").read_bytes()}
    place.write_bytes(zipped(sheet_parts() | texts, zipfile.ZIP_STORED))
    _people(folder)
    electrode_file(place)


# ------------------------------------------------------------------------------------------------- manifests and listings
MANIFEST = b"""name: own
title: x
version: "1"
licence: x
citation: x
access: {kind: registration}
format: table
pattern: "*.csv"
subject_pattern: '(?P<subject>\\w)'
index: {path: "{record}.csv", labels: {sbp: sbp}, demographics: {age_years: age}, stimulus: film, begins: at}
channels:
  ppg: {names: [PLETH], unit: NU, fs_hz: 100}
subject_level: person
timing_reliable: true
timing_reason: x
"""
INDEX = b"record,subject,sbp,age,film,at\na,S1,120,50,f1,0.5\nb,S2,x,,f2,\n"
PAIRED = b"""name: own
title: x
version: "1"
licence: x
citation: x
access: {kind: registration}
format: paired
options:
  index: records.csv
  span: union
  parts:
    - {column: one, format: table}
    - {column: two, format: table, offset: offset_s}
  labels: {valence: 1..9}
channels:
  ppg: {names: [PLETH], unit: NU, fs_hz: 100}
  eda: {names: [EDA], unit: uS, fs_hz: 10}
subject_level: person
timing_reliable: true
timing_reason: x
"""
PAIRS = b"record,subject,stimulus,one,two,offset_s,start_s,stop_s,rest_s,valence\nP1/1,P1,film,a.csv,b.csv,-0.5,0.1,0.5,0.1,7\n"
SLOW = b"time,EDA\n" + b"".join(b"%.1f,0.%d\n" % (n / 10, n) for n in range(20))


def _listed(folder: Path) -> None:
    """Read a manifest, list its records and read each: what `prepare` does before it works on a record."""
    read = manifest.load(folder / "own.yaml")
    listing = manifest.entries(read, manifest.locate(read, folder))
    for entry in listing.entries[:4]:
        _inside(entry, folder)
        _maybe(entry)
    recipe.digest(read.facts())
    manifest.save(read, folder / "again.yaml")
    if manifest.load(folder / "again.yaml").channels != read.channels:
        raise Finding("another manifest after writing it")


def _inside(entry: Entry, folder: Path) -> None:
    if not os.path.realpath(entry.path).startswith(str(folder.resolve())):
        raise Finding(f"a record outside of the folder: {entry.path}")
    names = (entry.record, entry.subject, entry.session, entry.stimulus)
    if not all(name.isprintable() and len(name) <= 1000 for name in names):
        raise Finding(f"names that cannot be shown: {names!r}"[:200])


def _maybe(entry: Entry) -> None:
    # Records that cannot be read are rejected one by one.
    try:
        source = open_source(entry)
    except DataError:
        return
    check_source(source)


RECIPE = b"""name: x
task: blood_pressure
data: {dataset: ptt_ppg, limit: 3, exclude: {a: b}}
signal:
  - {step: bandpass, channels: [ppg], low_hz: 0.5, high_hz: 8}
windows: &w {length_s: 8, step_s: 4}
features: {families: [pulse]}
split: {protocol: subject_kfold, folds: 3}
training: {epochs: 2}
"""


def _recipe(folder: Path) -> None:
    read = recipe.load(folder / "r.yaml")
    content = read.to_dict()
    recipe.digest(content)
    text = recipe.dump(content)
    (folder / "again.yaml").write_text(text, encoding="utf-8")
    if recipe.load(folder / "again.yaml").to_dict() != content and "nan" not in text:
        raise Finding("another recipe after writing it")


def _set(folder: Path) -> None:
    words = (folder / "w").read_text("utf-8", errors="replace").split("\n")
    (folder / "r.yaml").write_bytes(RECIPE)
    recipe.digest(recipe.load(folder / "r.yaml", words).to_dict())


# ---------------------------------------------------------------------------------------------------- sums and archives
_SUM = hashlib.sha256(b"x").hexdigest()
SUMS = f"{_SUM}  a.bin\n{_SUM} *deep/b.bin\n".encode()
SUMS_CSV = f"path,bytes,sha256\na.bin,1,{_SUM}\n".encode()
NOTES = json.dumps({"files": [{"path": "a.bin", "bytes": 1, "sha256": _SUM, "source": "x", "checked": True}]}).encode()


def _sums(folder: Path) -> None:
    for one in sums_near(folder / "in"):
        problem_of(one)


def _tar() -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        for name in ("a.txt", "deep/b.txt"):
            told = tarfile.TarInfo(name)
            told.size = 5
            archive.addfile(told, io.BytesIO(b"12345"))
    return sink.getvalue()


def _unpack(name: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        # Sweeping opens folders relative to an open folder, which the guard can only see as relative names.
        with contextlib.chdir(folder):
            made = unpack(folder / name, folder / "out", Limits(bytes=1 << 24, files=100))
        if not all((folder / "out" / one.path).is_file() for one in made):
            raise Finding("a file that is not there")

    return read


# -------------------------------------------------------------------------------------------------------------- live lines
LINES = b"time, PLETH [a.u.], II [mV]\n" + b"".join(b"%.2f,0.%d,%d\n" % (n / 50, n % 10, n) for n in range(300))
JSON_LINES = b'{"channels": {"PLETH": {"fs_hz": 125, "unit": "a.u."}, "II": 250}}\n' + b"".join(
    b'{"at_s": %.2f, "PLETH": [0.1, null, 0.3], "II": [0.2]}\n' % (n / 40) for n in range(20)
)


class _Stream(io.BytesIO):
    def fileno(self) -> int:
        raise OSError("none")


def _lines(fs_hz: float | None) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        # What stands on torch is imported where it is used: most targets can do without.
        from biosig_mtl.live.lines import LineSettings, LineSource

        source = LineSource(_Stream((folder / "w").read_bytes()), LineSettings({}, fs_hz=fs_hz))
        for name, info in source.channels.items():
            if not (np.isfinite(info.fs) and info.fs > 0 and name.isprintable()):
                raise Finding(f"{name!r}: {info}"[:200])
        for chunk in source.chunks():
            _sane(chunk)
        for note in source.notes:
            if not note.isprintable() or len(note) > 300:
                raise Finding(f"a note that cannot be shown: {note!r}"[:300])

    return read


def _sane(chunk: Chunk | None) -> None:
    if chunk is not None and chunk.at_s is not None and not np.isfinite(chunk.at_s):  # type: ignore[arg-type]
        raise Finding(f"a chunk at {chunk.at_s} s")


# ---------------------------------------------------------------------------------------------- what lies in a run folder
SPEC = InputSpec(("ppg",), 8, ("hr.mean", "ppg.amplitude"), ("sbp", "dbp"))


@lru_cache
def _personal() -> bytes:
    from safetensors.numpy import save

    from biosig_mtl.inference.personal_file import _digest

    numbers = {
        "anchors/onset_s": np.array([1.0, 9.0]), "anchors/sqi": np.ones(2), "anchors/truth": np.array([[120, 80], [121, 79.0]]),
        "anchors/estimate": np.full((2, 2), 100.0), "anchors/values": np.ones((2, 2), np.float32), "half_width": np.ones(2),
        "method/share": np.ones(2), "standard/center": np.zeros(2), "standard/scale": np.ones(2),
    }  # fmt: skip
    words = {"format": 1, "model_sha256": "0", "sha256": _digest(numbers), "record": "r", "method": "offset", "readings": 2,
             "words": {}, "targets": ["sbp", "dbp"], "fs": 125.0}  # fmt: skip
    return save(numbers, metadata={"personal": json.dumps(words)})


def _resealed(raw: bytes) -> bytes:
    """Put the right digest into a personal file: whoever alters one may do so too."""
    from safetensors import SafetensorError
    from safetensors.numpy import load, save

    from biosig_mtl.inference.personal_file import _digest

    try:
        size = struct.unpack("<Q", raw[:8])[0]
        words = json.loads(json.loads(raw[8 : 8 + size])["__metadata__"]["personal"])
        numbers = load(raw)
        return save(numbers, metadata={"personal": json.dumps(words | {"sha256": _digest(numbers)})})
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, struct.error, SafetensorError):
        return raw


def _read_personal(folder: Path) -> None:
    from biosig_mtl.inference.personal_file import from_bytes

    raw = (folder / "p").read_bytes()
    for content in (raw, _resealed(raw)):
        from_bytes(content, SPEC, folder / "p")


@lru_cache
def _calibrators() -> bytes:
    from safetensors.numpy import save

    numbers = {"center": np.zeros(2), "scale": np.ones(2), "0/share": np.ones(2)}
    entry = {"method": "offset", "readings": 1, "words": {}, "half_width": [9.0, None]}
    words = {
        "format": 1,
        "targets": ["sbp", "dbp"],
        "features": list(SPEC.features),
        "fitted": [entry],
        "chosen": {"1": "offset"},
    }
    return join(json.dumps(words).encode(), save(numbers))


def _keeping(folder: Path) -> None:
    from biosig_mtl.training.calibration import keeping

    place, model = folder / keeping.FOLDER, folder / "model" / "model.json"
    raw = (folder / "numbers").read_bytes()
    try:
        words = json.loads((folder / "words").read_bytes())
        words |= {"model_sha256": keeping.digest(model), "sha256": hashlib.sha256(raw).hexdigest()}
        text = json.dumps(words)
    except (ValueError, TypeError, RecursionError):
        text = (folder / "words").read_text("latin-1")
    place.mkdir(exist_ok=True)
    (place / keeping.NUMBERS_FILE).write_bytes(raw)
    (place / keeping.WORDS_FILE).write_text(text, encoding="utf-8", errors="replace")
    kept = keeping.load(place, model)
    kept.find("offset", 1)
    kept.best(2)


def _with_model(read: Callable[[Path], None]) -> Callable[[Path], None]:
    def wrapped(folder: Path) -> None:
        (folder / "model").mkdir(exist_ok=True)
        (folder / "model" / "model.json").write_text("{}")
        read(folder)

    return wrapped


def _elements(folder: Path) -> None:
    read_elements(folder / "s.xml")


_SESSION = b'<?xml version="1.0"?><session cutNr="1" feltArsl="5" feltVlnc="3"><subject id="3" gender="m"/></session>'
_TARGETS = (
    Target("csv", ("a.csv",), _table("a.csv"), lambda: CSV),
    Target("csv_clock", ("a.csv",), _table("a.csv"), lambda: CLOCKS),
    Target("csv_rate", ("a.csv",), _table("a.csv", fs_hz=100.0), lambda: CSV),
    Target("text", ("1_1.txt",), _table("1_1.txt"), lambda: PPG_BP),
    Target("parquet", ("a.parquet",), _table("a.parquet"), _parquet),
    Target("parquet_words", ("a.parquet",), _table("a.parquet"), _parquet_words),
    Target("clock", ("w",), _clock, lambda: b"12:00:01.5\n12:00:02 01/02/2003\n13:00"),
    Target("columns", ("t.csv",), _columns, lambda: b"seconds,valence,\n5,3,\n10,,,\n"),
    Target("e4", tuple(f"S1/{name}" for name in E4), lambda f: read_all(f / "S1"), lambda: join(*E4.values())),
    Target("e4_zip", ("S1.zip",), lambda f: read_all(f / "S1.zip"), lambda: zipped(E4, zipfile.ZIP_STORED)),
    Target("xlsx", ("a.xlsx",), _people, _xlsx),
    Target("xlsx_xml", ("sheet", "book"), _xml, lambda: join(sheet_parts()[_SHEET], sheet_parts()[_BOOK])),
    Target("manifest", ("own.yaml", "records.csv", "a.csv"), _listed, lambda: join(MANIFEST, INDEX, CSV)),
    Target("paired", ("own.yaml", "records.csv", "a.csv", "b.csv"), _listed, lambda: join(PAIRED, PAIRS, CSV, SLOW)),
    Target("recipe", ("r.yaml",), _recipe, lambda: RECIPE),
    Target("override", ("w",), _set, lambda: b"data.limit=4\nsignal.0.low_hz=0.7\nmodel.width=[1, {a: 2}]"),
    Target("sums", ("SHA256SUMS.txt", "in/a.bin"), _sums, lambda: join(SUMS, b"x")),
    Target("sums_csv", ("in/MANIFEST.csv", "in/fetched.json", "in/a.bin"), _sums, lambda: join(SUMS_CSV, NOTES, b"x")),
    Target("unzip", ("a.zip",), _unpack("a.zip"), lambda: zipped({"a.txt": b"12345", "deep/b.txt": b"x" * 99})),
    Target("untar", ("a.tgz",), _unpack("a.tgz"), _tar),
    Target("lines", ("w",), _lines(None), lambda: LINES),
    Target("lines_rate", ("w",), _lines(125.0), lambda: b"PLETH;II\n1;2\n3;4\n"),
    Target("lines_json", ("w",), _lines(None), lambda: JSON_LINES),
    Target("personal", ("p",), _read_personal, _personal),
    Target("calibrators", ("words", "numbers"), _with_model(_keeping), _calibrators),
    Target("session_xml", ("s.xml",), _elements, lambda: _SESSION),
)
TARGETS = {target.name: target for target in _TARGETS}
