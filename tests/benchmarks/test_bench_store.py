"""The store: random batches beside a memory map of one ``npy``, the opening of a million windows, and what digests cost.

``$BENCH_WINDOWS`` is how many windows of 3 × 1250 numbers lie in the store whose batches are drawn (15 kB each, twice on
the disk).
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from biosig_mtl import store
from biosig_mtl.store import Lot, reading, shards
from biosig_mtl.types import F32, Features, Windows
from tests.benchmarks.book import Book, Ratio

pytestmark = pytest.mark.benchmark

DRAWN = int(os.environ.get("BENCH_WINDOWS", "40000"))
OPENED, LOTS, RECORDS = 1_000_000, 400, 10
FACTS, FEATURES = 72, 60  # columns as a store of the UCI recordings has them
BATCH, BATCHES, RUNS = 256, 40, 9


def written(folder: Path, windows: int, lots: int, samples: int, facts: int) -> Path:
    """Write a store of noise: windows of three channels in lots of ten records."""
    rng = np.random.default_rng(0)
    store.write_plan(folder, {"lots": lots})
    each = windows // lots // RECORDS
    wave = rng.standard_normal((RECORDS * each, 3, samples), dtype=np.float32)
    for lot in range(lots):
        made = [one(rng, lot * RECORDS + i, wave[i * each : (i + 1) * each], facts) for i in range(RECORDS)]
        records = tuple(w.record for w, _ in made)
        store.write_lot(
            folder, lot, Lot(tuple(w for w, _ in made), tuple(f for _, f in made), records, ()), {"dataset": "noise"}
        )
    store.finish(folder, lots)
    return folder


def one(rng: np.random.Generator, number: int, wave: F32, facts: int) -> tuple[Windows, Features]:
    """Return the windows and features of one record."""
    n = len(wave)
    known = rng.standard_normal((facts, n), dtype=np.float32)
    windows = Windows(
        record=f"r{number:06d}",
        subject=f"s{number // 7:06d}",
        session="1",
        fs=125.0,
        onset_s=np.arange(0.0, 5.0 * n, 5.0),
        signal=wave[:, :2],
        channels=("ppg", "ecg"),
        kinds=("ppg", "ecg"),
        sqi=np.ones((n, 2), np.float32),
        targets=known[:2].T.copy() if facts else np.zeros((n, 2), np.float32),
        target_names=("sbp", "dbp"),
        facts={f"fact{i}": column for i, column in enumerate(known)}
        | {
            "window_id": np.array([f"{i:016x}" for i in rng.integers(0, 2**63, n)], "U16"),
            "fingerprints": rng.integers(1, 2**63, (n, 16), dtype=np.uint64),
        },
    )
    names = tuple(f"f.{i}" for i in range(FEATURES))
    return windows, Features(rng.standard_normal((n, FEATURES), dtype=np.float32), names, wave, ("a", "b", "c"))


def seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def say(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")


@pytest.mark.parametrize("lots", [20, 500])
def test_random_batches(tmp_path: Path, book: Book, lots: int) -> None:
    place = written(tmp_path / "s", DRAWN, lots, 1250, 0)
    ours = store.read(place).waveform
    first_s = seconds(lambda: ours[np.arange(0, len(ours), max(len(ours) // (4 * lots), 1))])
    np.save(tmp_path / "one.npy", np.asarray(ours))
    peer = np.load(tmp_path / "one.npy", mmap_mode="r")
    rng = np.random.default_rng(1)
    batches = [rng.integers(0, len(ours), BATCH) for _ in range(BATCHES)]
    assert all(np.array_equal(ours[rows], peer[rows]) for rows in batches)
    shares, rates = [], []
    for _ in range(RUNS):
        theirs_s, ours_s = (seconds(lambda one=one: [one[rows] for rows in batches]) for one in (peer, ours))  # type: ignore[misc]
        shares.append(theirs_s / ours_s)
        rates.append(BATCH * BATCHES / ours_s)
    book.ratios.append(Ratio(f"store: random batches of 256 × 3 × 1250 from {lots} lots, share of one npy", tuple(shares)))
    share, rate = np.median(shares), np.median(rates)
    say(
        f"{len(ours)} windows in {lots} lots: {rate:,.0f} windows/s, {share:.2f} of the memory map of one npy (need 0.50); "
        f"the first touch of every lot, with digests, {ours.size * 4e-9 / first_s:.2f} GB/s"
    )
    assert share >= 0.5


def test_opening_a_million_windows(tmp_path: Path, book: Book) -> None:
    place = written(tmp_path / "s", OPENED, LOTS, 8, FACTS)
    shares, opened = [], []
    for _ in range(5):
        reading._summaries.clear()
        opened.append(seconds(lambda: store.read(place)))
        shares.append(seconds(lambda: pd.read_parquet(place / "index.parquet")) / opened[-1])
    table = store.read(place)
    book.ratios.append(Ratio("store: opening 1 M windows, times as fast as pandas reads the index", tuple(shares)))
    size = (place / "index.parquet").stat().st_size + table.values.nbytes
    say(
        f"{len(table)} windows in {LOTS} lots, {table.index.shape[1]} columns, {FEATURES} features, {size / 1e6:.0f} MB: "
        f"opened in {min(opened):.2f} s at best, {np.median(opened):.2f} s median (need 1); "
        f"pandas alone reads the index in {np.median(shares) * np.median(opened):.2f} s"
    )


def test_digests(tmp_path: Path, book: Book) -> None:
    content = np.random.default_rng(0).bytes(1 << 28)
    path = tmp_path / "file"
    path.write_bytes(content)
    runs = [
        (seconds(lambda: hashlib.sha256(content).hexdigest()), seconds(lambda: shards.digest_and_size(path))) for _ in range(5)
    ]
    book.ratios.append(Ratio("store: sha256 of a file, share of sha256 in memory", tuple(a / b for a, b in runs)))
    memory, file = (len(content) / 1e9 / np.median(spent) for spent in zip(*runs, strict=True))
    say(f"sha256: {file:.2f} GB/s of a cached file, {memory:.2f} GB/s in memory, one thread")
