"""Our preparation beside wfdb and NeuroKit2: ratios on the same input in one run, medians of several.

Seconds differ between machines and hours, so no second is asserted here: only that the whole preparation is not slower. What is
compared is not the same amount of work: ours also finds pressure beats, fiducials, quality, features and windows.
``$BENCH_OUT`` names the folder for ``benchmarks.json`` and ``benchmarks.md``; without it they go to a temporary one.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from biosig_mtl import pipeline, recipe, signal
from biosig_mtl.data import synthetic
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.types import F64, I64

pytestmark = pytest.mark.benchmark

RUNS = 5
TOLERANCE_S = 0.15
BEAT_SYMBOLS = list("NLRBAaJSVrFejnE/fQ?")
HEAD = ("what", "ours", "theirs", "theirs ÷ ours")

# Measured in a process of its own: the peak of this one would be that of whatever ran before.
CHILD = """
import sys
from pathlib import Path
from biosig_mtl import pipeline, recipe

def peak_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

root, into = Path(sys.argv[1]), Path(sys.argv[2])
pipeline.prepare(recipe.load("demo_bp"), root, into, workers=1)
print(peak_mb())
"""

Row = dict[str, str | float]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Row]]:
    """Collect what was measured; write and show it at the end."""
    gathered: list[Row] = []
    yield gathered
    folder = Path(os.environ.get("BENCH_OUT") or tmp_path_factory.mktemp("bench"))
    folder.mkdir(parents=True, exist_ok=True)
    content = {"environment": environment(), "runs": RUNS, "rows": gathered}
    (folder / "benchmarks.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    text = markdown(gathered)
    (folder / "benchmarks.md").write_text(text, encoding="utf-8")
    sys.stdout.write(f"\n\n{text}\n{folder / 'benchmarks.md'}\n")


@pytest.fixture(scope="module")
def neurokit() -> Any:
    """NeuroKit2, which is an extra."""
    try:
        with quiet():
            return importlib.import_module("neurokit2")
    except ImportError:
        pytest.skip("needs neurokit2: pip install 'biosig-mtl[peers]'")


@pytest.fixture(scope="module")
def ten_minutes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("ten_minutes") / "cohort", 600) / "s001" / "s001_1.hea"


def quiet() -> warnings.catch_warnings[None]:
    """Let the peers warn: their warnings are not ours."""
    return warnings.catch_warnings(action="ignore")


def environment() -> dict[str, str]:
    versions = {name: importlib.import_module(name).__version__ for name in ("numpy", "scipy", "wfdb")}
    nk = sys.modules.get("neurokit2")
    return {"python": platform.python_version(), "machine": platform.machine(), **versions} | (
        {"neurokit2": str(nk.__version__)} if nk else {}
    )


def markdown(rows: list[Row]) -> str:
    told = [(str(row["what"]), *(shown(row, key) for key in ("ours", "theirs", "ratio"))) for row in rows]
    table = [HEAD, ("---", "---:", "---:", "---:"), *told]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in table)


def shown(row: Row, key: str) -> str:
    if key not in row:
        return "–"
    if key == "ratio":
        return f"{row[key]:.1f} ×"
    digits = 4 if row["unit"] == "F1" else 3 if row["unit"] == "CPU s" else 0
    return f"{row[key]:.{digits}f} {row['unit']}"


def simulated(folder: Path, record_s: float) -> Path:
    cohort = synthetic.Cohort(n_subjects=1, records_per_subject=1, record_s=record_s, fault_share=0)
    return synthetic.write(cohort, folder)


def cpu_medians(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Return the median CPU seconds of both, run in turns after one run that does not count."""
    spent: list[list[float]] = [[], []]
    for _ in range(RUNS + 1):
        for job, seconds in zip((ours, theirs), spent, strict=True):
            start = time.process_time()
            job()
            seconds.append(time.process_time() - start)
    return median(spent[0][1:]), median(spent[1][1:])


def f1(truth_s: F64, found_s: F64) -> float:
    """Return F1 of one-to-one matches within 150 ms."""
    spot = np.clip(np.searchsorted(found_s, truth_s), 1, found_s.size - 1)
    nearer = np.where(truth_s - found_s[spot - 1] < found_s[spot] - truth_s, spot - 1, spot)
    hits = np.unique(nearer[np.abs(found_s[nearer] - truth_s) <= TOLERANCE_S]).size
    return 2 * hits / (truth_s.size + found_s.size)


def ecg_steps(*, quality: bool) -> tuple[signal.Step, ...]:
    """Return what the recipe does with an ECG."""
    steps = pipeline.preparation(recipe.load("demo_bp")).steps
    chosen = (s for s in steps if getattr(s, "channel", "ecg").startswith("ecg"))
    return tuple(s for s in chosen if quality or not isinstance(s, signal.AssessQuality))


def our_ecg(path: Path, stop_s: float | None, *, quality: bool) -> F64:
    record = open_source(entry_for(path, channels={"ecg": ("MLII",)})).read(0.0, stop_s)
    for step in ecg_steps(quality=quality):
        record = step(record)
    beats = record.beats["ecg_40hz"]
    return beats.peak / beats.fs


def their_ecg(neurokit: Any, path: Path, stop_s: float | None) -> F64:
    import wfdb

    header = wfdb.rdheader(str(path.with_suffix("")))
    stop = None if stop_s is None else round(stop_s * header.fs)
    samples = wfdb.rdrecord(str(path.with_suffix("")), channels=[0], sampto=stop).p_signal[:, 0]
    cleaned = neurokit.ecg_clean(samples, sampling_rate=header.fs)
    _, info = neurokit.ecg_peaks(cleaned, sampling_rate=header.fs)
    peaks: I64 = np.asarray(info["ECG_R_Peaks"], dtype=np.int64)
    return peaks / float(header.fs)


# ------------------------------------------------------------------------------------------------------------------ time
@pytest.mark.parametrize("ecg", ["ecg_peaks", "ecg_process"])
def test_preparation_beside_wfdb_and_neurokit(ten_minutes: Path, neurokit: Any, rows: list[Row], ecg: str) -> None:
    import wfdb

    entry = entry_for(ten_minutes)
    preparation = pipeline.preparation(recipe.load("demo_bp"))
    counted = []

    def ours() -> None:
        _, cut, _ = preparation.apply(open_source(entry).read())
        counted.append(len(cut))

    def theirs() -> None:
        samples = wfdb.rdrecord(str(ten_minutes.with_suffix(""))).p_signal
        neurokit.ppg_process(samples[:, 0], sampling_rate=125)
        if ecg == "ecg_process":
            neurokit.ecg_process(samples[:, 1], sampling_rate=125)
        else:
            neurokit.ecg_peaks(neurokit.ecg_clean(samples[:, 1], sampling_rate=125), sampling_rate=125)

    with quiet():
        mine, other = cpu_medians(ours, theirs)
    assert min(counted) > 60
    what = f"10 min, PPG + ECG + ABP: whole preparation; theirs: wfdb, ppg_process and {ecg} only"
    rows.append({"what": what, "ours": mine, "theirs": other, "ratio": other / mine, "unit": "CPU s"})
    assert other / mine > 1


@pytest.mark.parametrize("quality", [False, True], ids=["same_work", "and_quality"])
def test_ecg_beside_wfdb_and_neurokit(data_root: Path, neurokit: Any, rows: list[Row], *, quality: bool) -> None:
    path = data_root / "annotated" / "100.hea"
    with quiet():
        mine, other = cpu_medians(lambda: our_ecg(path, 600.0, quality=quality), lambda: their_ecg(neurokit, path, 600.0))
    what = f"MIT-BIH 100, first 10 min, one lead: read, filter, R peaks{' (ours: and quality)' if quality else ''}"
    rows.append({"what": what, "ours": mine, "theirs": other, "ratio": other / mine, "unit": "CPU s"})
    # Told, not asserted: on one lead alone NeuroKit2's default detector is the faster one (0.6 to 0.8 when this was written).
    assert mine > 0


# -------------------------------------------------------------------------------------------------------------- accuracy
def test_r_peaks_beside_neurokit(data_root: Path, neurokit: Any, rows: list[Row]) -> None:
    import wfdb

    path = data_root / "annotated" / "100.hea"
    notes = wfdb.rdann(str(path.with_suffix("")), "atr")
    truth_s = notes.sample[np.isin(notes.symbol, BEAT_SYMBOLS)] / 360.0
    with quiet():
        mine, other = f1(truth_s, our_ecg(path, None, quality=False)), f1(truth_s, their_ecg(neurokit, path, None))
    rows.append({"what": f"MIT-BIH 100, R peaks, {truth_s.size} annotated beats", "ours": mine, "theirs": other, "unit": "F1"})
    assert mine > 0.9


# ---------------------------------------------------------------------------------------------------------------- memory
def a_day(hour: Path, folder: Path) -> Path:
    """Write a record of 24 h that repeats an hour (the header's checksums do not matter to a reader of samples)."""
    inside = folder / "s001"
    inside.mkdir(parents=True)
    (folder / "records.csv").write_bytes((hour / "records.csv").read_bytes())
    samples = (hour / "s001" / "s001_1.dat").read_bytes()
    with (inside / "s001_1.dat").open("wb") as file:
        for _ in range(24):
            file.write(samples)
    first, rest = (hour / "s001" / "s001_1.hea").read_text(encoding="ascii").split("\n", 1)
    words = first.split()
    words[3] = str(24 * int(words[3]))
    (inside / "s001_1.hea").write_text(" ".join(words) + "\n" + rest, encoding="ascii")
    return folder


def peak_mb(root: Path, into: Path) -> float:
    done = subprocess.run([sys.executable, "-c", CHILD, str(root), str(into)], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc")
def test_memory_of_a_day_beside_an_hour(tmp_path: Path, rows: list[Row]) -> None:
    hour = simulated(tmp_path / "hour", 3600)
    day = a_day(hour, tmp_path / "day")
    small, large = peak_mb(hour, tmp_path / "stores"), peak_mb(day, tmp_path / "stores")
    what = "peak memory of a process that prepares a record of 24 h (ours) and of 1 h (in place of theirs); ratio 24 h ÷ 1 h"
    rows.append({"what": what, "ours": large, "theirs": small, "ratio": large / small, "unit": "MB"})
    assert large / small < 24
