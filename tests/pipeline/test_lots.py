"""Laws of the cut: by bytes alone, nothing lost or twice, and no header that is believed whatever it says."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from biosig_mtl.pipeline import Piece, lots
from biosig_mtl.types import Entry

MIB = 2**20


def header(folder: Path, name: str, first_line: str | bytes, data: int = 0) -> Entry:
    path = folder / f"{name}.hea"
    path.write_bytes(first_line if isinstance(first_line, bytes) else f"# a comment\n{first_line}\n".encode())
    if data:
        with path.with_suffix(".dat").open("wb") as file:
            file.truncate(data)
    return Entry("set", name, name, "1", path, "wfdb")


def hours(folder: Path, name: str, n: float) -> Entry:
    return header(folder, name, f"{name} 3 125 {round(n * 450_000)}", data=6 * round(n * 450_000))


def cut(entries: list[Entry], most: int = 10**6) -> list[tuple[Piece, ...]]:
    return lots.cut(entries, lots.Sizes(), piece_s=3600.0, most_records=most)[0]


def names(made: list[tuple[Piece, ...]]) -> list[list[str]]:
    return [[piece.name for piece in lot] for lot in made]


def test_short_records_share_a_lot_up_to_the_budget(tmp_path: Path) -> None:
    tiny = [header(tmp_path, f"r{i:03d}", f"r{i:03d} 1 125 1000") for i in range(100)]
    made = cut(tiny)
    fit = lots.LEAST_BYTES // (lots.OPENING_BYTES + 2000)
    assert [len(lot) for lot in made] == [fit] * (100 // fit) + [100 % fit]
    assert [piece.entry.record for lot in made for piece in lot] == [e.record for e in tiny]
    assert [len(lot) for lot in cut(tiny, most=10)] == [10] * 10


def test_a_long_record_is_cut_by_the_hour_and_its_hours_share_lots(tmp_path: Path) -> None:
    made = cut([hours(tmp_path, "a", 0.5), hours(tmp_path, "b", 5.5), hours(tmp_path, "c", 0.5)])
    # An hour of three channels is 2.7 MB, with its opening 3 MB: two of them fill the least lot.
    assert names(made) == [
        ["a", "b from 0 s on"],
        ["b from 3600 s on", "b from 7200 s on"],
        ["b from 10800 s on", "b from 14400 s on"],
        ["b from 18000 s on", "c"],
    ]
    spans = [(p.start_s, p.stop_s) for lot in made for p in lot if p.entry.record == "b"]
    assert spans == [(3600.0 * i, 3600.0 * (i + 1)) for i in range(5)] + [(18000.0, math.inf)]


def test_the_budget_grows_with_the_data_set_and_has_an_end(tmp_path: Path) -> None:
    def largest(entries: list[Entry]) -> int:
        return max(map(len, cut(entries)))

    month = hours(tmp_path, "m", 24 * 30)  # 2 GB
    assert largest([month]) == 2
    year = [replace(hours(tmp_path, f"m{i}", 24 * 30), record=f"m{i}") for i in range(12)]
    # A 256th of 23 GB is over the most.
    assert largest(year) == lots.MOST_BYTES // (2_700_000 + lots.OPENING_BYTES) == 22


def test_the_bytes_of_a_file_are_shared_by_the_records_in_it(tmp_path: Path) -> None:
    path = tmp_path / "part_1.mat"
    with path.open("wb") as file:
        file.truncate(600 * MIB)
    cells = [Entry("set", f"c{i}", f"c{i}", "1", path, "uci_mat", options={"cell": i}) for i in range(600)]
    # 1 MiB each, and none is opened to find out how long it is.
    assert {len(lot) for lot in cut(cells)} == {4}


@pytest.mark.parametrize(
    "first_line",
    [
        "",
        "r",
        "r 3 125",
        "r 3 0 1000",
        "r 3 125 inf",
        "r 3 125 nan",
        "r 3 -1 1000",
        "r 3 125 1e300",
        "r 1e300 125 99999999999",
        f"r 3 125 {10**15}",
        b"\xff\xfe" * 99,
        b"x" * 10_000_000,
    ],
)
def test_a_header_that_makes_no_sense_is_one_piece(tmp_path: Path, first_line: str | bytes) -> None:
    entry = header(tmp_path, "r", first_line, data=100)
    assert cut([entry]) == [(Piece(entry),)]


def test_what_is_missing_or_no_recording_is_one_piece(tmp_path: Path) -> None:
    gone = Entry("set", "gone", "gone", "1", tmp_path / "gone.hea", "wfdb")
    huge = tmp_path / "huge.edf"
    with huge.open("wb") as file:
        file.truncate(40 * MIB)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_bytes(b"123")
    sizes = lots.Sizes()
    assert (sizes.of(folder), sizes.of(gone.path)) == ([3], [])
    entries = [gone, Entry("set", "huge", "huge", "1", huge, "edf"), Entry("set", "f", "f", "1", folder, "e4")]
    assert names(cut(entries)) == [["gone"], ["huge"], ["f"]]


def test_the_size_of_a_file_is_asked_for_once(tmp_path: Path) -> None:
    entry = header(tmp_path, "r", "r 1 125 1000", data=10)
    sizes = lots.Sizes()
    before = sizes.of(entry.path)
    entry.path.with_suffix(".dat").write_bytes(b"other")
    assert sizes.of(entry.path) == before
    assert lots.Sizes().of(entry.path) != before
