"""Length and memory: an hour, a day and a hundred short records, each prepared by a process of its own; peers on the hour."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from biosig_mtl.data import synthetic
from tests.benchmarks import peers
from tests.benchmarks.book import Book, Cost
from tests.benchmarks.timing import alone

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc"),
]

# Much is imported where it is first used: a minute is worked before the clock starts.
OUR_START = """from biosig_mtl import pipeline, recipe; work = lambda root, into: pipeline.prepare(
        recipe.load("demo_bp"), Path(root), Path(into), workers=1); work(arguments[2], arguments[1] + "-start")"""
OUR_JOB = "work(arguments[0], arguments[1])"
THEIR_START = """import wfdb, neurokit2 as nk
    def work(path, stop=None):
        x = wfdb.rdrecord(path, sampto=stop).p_signal
        nk.ppg_process(x[:, 0], sampling_rate=125)
        {ecg}
    work(arguments[0], 60 * 125)"""
THEIR_ECG = {
    "ecg_peaks": "nk.ecg_peaks(nk.ecg_clean(x[:, 1], sampling_rate=125), sampling_rate=125)",
    "ecg_process": "nk.ecg_process(x[:, 1], sampling_rate=125)",
}


def repeated(hour: Path, folder: Path, times: int) -> Path:
    """Write a record that repeats the hour (the header's checksums do not matter to a reader of samples)."""
    inside = folder / "s001"
    inside.mkdir(parents=True)
    (folder / "records.csv").write_bytes((hour / "records.csv").read_bytes())
    samples = (hour / "s001" / "s001_1.dat").read_bytes()
    with (inside / "s001_1.dat").open("wb") as file:
        for _ in range(times):
            file.write(samples)
    first, rest = (hour / "s001" / "s001_1.hea").read_text(encoding="ascii").split("\n", 1)
    words = first.split()
    words[3] = str(times * int(words[3]))
    (inside / "s001_1.hea").write_text(" ".join(words) + "\n" + rest, encoding="ascii")
    return folder


def test_length_and_memory_of_ours(hour: Path, tmp_path: Path, book: Book) -> None:
    short = synthetic.Cohort(n_subjects=50, records_per_subject=2, record_s=120, fault_share=0, seed=3, noise="clean")
    roots = {
        "ours, 1 record of 1 h": (1.0, hour),
        "ours, 1 record of 6 h": (6.0, repeated(hour, tmp_path / "six", 6)),
        "ours, 1 record of 24 h": (24.0, repeated(hour, tmp_path / "day", 24)),
        "ours, 100 records of 2 min": (100 / 30, synthetic.write(short, tmp_path / "short")),
    }
    minute = synthetic.write(replace(short, n_subjects=1, records_per_subject=1, record_s=60), tmp_path / "minute")
    for turn, (what, (hours, root)) in enumerate(roots.items()):
        took = alone(OUR_START, OUR_JOB, root, tmp_path / f"store{turn}", minute)
        book.costs.append(Cost("ours", what, hours, **took))
    peak = {row.hours: row.peak_mb for row in book.costs if row.key == "ours"}
    # A day read at once would need ten times as much: this catches only that.
    assert peak[24.0] < 4 * peak[1.0]


@pytest.mark.parametrize("ecg", THEIR_ECG)
def test_memory_of_peers(hour: Path, book: Book, ecg: str) -> None:
    if reason := peers.missing("neurokit2"):
        pytest.skip(reason)
    took = alone(THEIR_START.format(ecg=THEIR_ECG[ecg]), "work(arguments[0])", hour / "s001" / "s001_1")
    book.costs.append(Cost("peer", f"wfdb, nk.ppg_process, nk.{ecg}, 1 record of 1 h", 1.0, **took))
