"""Files of a megabyte or less that stand for gigabytes, and the process in which they are opened."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from biosig_mtl import recipe
from biosig_mtl.data import manifest
from biosig_mtl.data.fetching_sums import sums_near
from biosig_mtl.data.readers.ppg_bp import read_people
from biosig_mtl.data.unpacking import unpack
from biosig_mtl.types import DataError, RecipeError
from tests.fuzz.harness import read_all
from tests.fuzz.targets_text import _BOOK, _SHEET, CSV, E4, PAIRED, PAIRS, SLOW, _listed, sheet_parts, table, zipped

Open = Callable[[], object]
ROOM_BYTES = 256 << 20
_TEN = b"0123456789"


_STAMPED = b"".join(b"%d,1\n" % n for n in range(1000))


def _csv(text: bytes) -> Callable[[Path], Open]:
    def make(folder: Path) -> Open:
        (folder / "a.csv").write_bytes(text)
        return lambda: read_all(folder / "a.csv")

    return make


def _scattered() -> bytes:
    """Return rows that lie a thousand times as far apart as they are long."""
    return b"time,ppg\n" + b"".join(b"%d,1\n%d.001,1\n" % (n, n) for n in range(40_000))


def _parquet(make_table: Callable[[], bytes]) -> Callable[[Path], Open]:
    def make(folder: Path) -> Open:
        (folder / "a.parquet").write_bytes(make_table())
        return lambda: read_all(folder / "a.parquet")

    return make


def _rows() -> bytes:
    """Return a hundred million rows of one value in some kilobytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    part = pa.table({"time": np.zeros(5_000_000, np.int8), "ppg": np.zeros(5_000_000, np.int8)})
    with pq.ParquetWriter(sink, part.schema, compression="zstd") as writer:
        for _ in range(4):
            writer.write_table(part, row_group_size=5_000_000)
    return sink.getvalue()


def _words() -> bytes:
    """Return one word of half a megabyte that stands in every row."""
    import pyarrow as pa

    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(50_000, np.int32)), pa.array(["7" * 500_000]))
    return table({"time": np.arange(50_000) / 100, "ppg": column}, compression="none", store_schema=False)


def _page() -> bytes:
    """Return a page of 400 MB that shrank to some kilobytes."""
    import pyarrow as pa

    column = pa.array([b"\0" * 200_000_000, b"1"])
    return table(
        {"ppg": column.cast(pa.string()), "time": [0.0, 1.0]}, compression="zstd", use_dictionary=False, write_statistics=False
    )


def _e4(members: dict[str, bytes]) -> Callable[[Path], Open]:
    def make(folder: Path) -> Open:
        (folder / "S1.zip").write_bytes(zipped(members))
        return lambda: read_all(folder / "S1.zip")

    return make


def _sheet(member: str, text: Callable[[], bytes]) -> Callable[[Path], Open]:
    def make(folder: Path) -> Open:
        (folder / "a.xlsx").write_bytes(zipped(sheet_parts() | {member: text()}))
        return lambda: read_people(folder)

    return make


def _yaml(text: str) -> Callable[[Path], Open]:
    def make(folder: Path) -> Open:
        (folder / "x.yaml").write_text(text)
        return lambda: recipe.load(folder / "x.yaml")

    return make


def _manifest(text: str) -> Callable[[Path], Open]:
    def make(folder: Path) -> Open:
        (folder / "x.yaml").write_text(text)
        return lambda: manifest.load(folder / "x.yaml")

    return make


def _far(folder: Path) -> Open:
    """Lay two short files a month apart."""
    (folder / "own.yaml").write_bytes(PAIRED)
    (folder / "records.csv").write_bytes(PAIRS.replace(b"-0.5,0.1,0.5,0.1", b"2500000,,,"))
    (folder / "a.csv").write_bytes(CSV)
    (folder / "b.csv").write_bytes(SLOW)
    return lambda: _listed(folder)


def _nested_json(folder: Path) -> Open:
    (folder / "fetched.json").write_text('{"files": ' + "[" * 500_000)
    return lambda: sums_near(folder)


def _unzip(folder: Path) -> Open:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"\0" * 300_000_000)
    return lambda: unpack(folder / "a.zip", folder / "out")


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9)
)
MERGED = "a0: &a0 {k: 1}\n" + "".join(f"a{n + 1}: &a{n + 1} {{<<: [{', '.join([f'*a{n}'] * 9)}]}}\n" for n in range(9))
_HEAD = b'<?xml version="1.0"?><worksheet xmlns="x"><sheetData>'
_LOL = b"<!DOCTYPE x [<!ENTITY a0 'lol'>%s]><sst><si><t>&a9;</t></si></sst>" % b"".join(
    b"<!ENTITY a%d '%s'>" % (n + 1, b"&a%d;" % n * 10) for n in range(9)
)

BOMBS: dict[str, Callable[[Path], Open]] = {
    "csv_one_line": _csv(b"time,ppg\n" + _TEN * 100_000),
    "csv_one_long_stamp": _csv(b"time,ppg\n" + _STAMPED + b"x" * 200_000 + b",1\n" + _STAMPED),
    "csv_many_columns": _csv(b",".join(b"c%d" % n for n in range(20_000)) + b"\n" + b"1," * 20_000 + b"\n"),
    "csv_scattered": _csv(_scattered()),
    "csv_one_column": _csv(b"ppg\n" + b"1\n" * 500_000),
    "csv_blanks_before_a_unit": _csv(b"time,ppg" + b" " * 200_000 + b"(\n0,1\n1,2\n"),
    "parquet_rows": _parquet(_rows),
    "parquet_words": _parquet(_words),
    "parquet_page": _parquet(_page),
    "e4_zeros": _e4(E4 | {"BVP.csv": b"1544027337\n64\n" + b"0\n" * 100_000_000}),
    "e4_dense": _e4(E4 | {"BVP.csv": b"1544027337\n64\n" + b"0\n" * 2_000_000}),
    "e4_days_apart": _e4({"BVP.csv": b"1544027337\n1024\n1\n", "EDA.csv": b"1544327337\n4\n1\n"}),
    "xlsx_zeros": _sheet(_SHEET, lambda: _HEAD + b"<row>" * 10 + b" " * 200_000_000),
    "xlsx_cells": _sheet(_SHEET, lambda: _HEAD + b'<row r="1">' + b"<c><v>1</v></c>" * 1_000_000),
    "xlsx_far_cell": _sheet(_SHEET, lambda: _HEAD + b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'),
    "xlsx_deep": _sheet(_SHEET, lambda: b"<a>" * 3_000_000),
    "xlsx_laughs": _sheet("xl/sharedStrings.xml", lambda: _LOL),
    "xlsx_long_cell": _sheet(_BOOK.replace("workbook", "sharedStrings"), lambda: b"<sst><si><t>" + b"x" * 16_000_000),
    "recipe_laughs": _yaml(LAUGHS),
    "recipe_merged": _yaml(MERGED),
    "recipe_deep": _yaml("a: " + "[" * 500_000),
    "recipe_deep_keys": _yaml("? " * 300_000),
    "recipe_many": _yaml("- x\n" * 250_000),
    "recipe_base_60": _yaml("a: 1" + ":59" * 200_000),
    "manifest_laughs": _manifest(LAUGHS),
    "manifest_deep": _manifest("a: " + "{a: " * 200_000),
    "paired_far": _far,
    "note_deep": _nested_json,
    "unzip": _unzip,
}


def main(place: str) -> None:
    """Open every bomb in this process, whose address space may only grow by ``ROOM_BYTES``."""
    import resource

    opened = {}
    for name, make in BOMBS.items():
        (folder := Path(place) / name).mkdir()
        opened[name] = make(folder)
    (good := Path(place) / "good").mkdir()
    for name in ("csv_one_column", "parquet_words", "e4_dense"):  # what is imported late is no memory of a file
        (good / name).mkdir()
        _said(BOMBS[name](good / name))
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM_BYTES, resource.RLIM_INFINITY))
    for name, bomb in opened.items():
        size = sum(p.stat().st_size for p in (Path(place) / name).rglob("*") if p.is_file())
        sys.stdout.write(f"{name}\t{size}\t{_said(bomb)}\n")
        sys.stdout.flush()


def _said(bomb: Open) -> str:
    try:
        bomb()
    except (DataError, RecipeError) as error:
        return f"refused {error}"
    except MemoryError:
        return "ran out of memory"
    except Exception as error:  # noqa: BLE001  (whatever it is, it is told)
        return f"{type(error).__name__}: {error}".replace("\n", " ")
    return "read"
