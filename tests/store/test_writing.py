"""Laws of writing: what was written comes back bit by bit, and the bytes depend on the content alone."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from biosig_mtl import store
from biosig_mtl.store import Lot, files, frames
from biosig_mtl.store.shards import Shard
from biosig_mtl.types import DataError, Rejected

DATASET = {"dataset": "demo", "subject_level": "person"}
PLAN = {"signal": [{"step": "resample", "fs_hz": 125.0}], "lots": 5}
Make = Callable[..., Lot]
Contents = Callable[[Path], dict[str, bytes]]


def write(folder: Path, lot: Make, numbers: Any = range(5), count: int = 5) -> Path:
    store.write_plan(folder, PLAN)
    for i in numbers:
        store.write_lot(folder, i, lot(i), DATASET)
    if not store.missing_lots(folder, count):
        store.finish(folder, count, [Rejected("listed", math.nan, "left out")])
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, lot: Make) -> Path:
    return write(tmp_path_factory.mktemp("store") / "abc", lot)


def test_everything_comes_back_bit_by_bit(finished: Path, lot: Make) -> None:
    table = store.read(finished)
    lots = [lot(i) for i in range(5)]
    windows = [w for each in lots for w in each.windows if len(w)]
    features = [f for each in lots for f in each.features if len(f.values)]
    np.testing.assert_array_equal(table.values, np.concatenate([f.values for f in features]))
    np.testing.assert_array_equal(np.asarray(table.waveform), np.concatenate([f.waveform for f in features]))
    np.testing.assert_array_equal(table.targets, np.concatenate([w.targets for w in windows]))
    np.testing.assert_array_equal(store.read_fingerprints(finished), np.concatenate([w.facts["fingerprints"] for w in windows]))
    assert table.subject.tolist() == [w.subject for w in windows for _ in range(len(w))]
    assert table.index["record"].tolist() == [w.record for w in windows for _ in range(len(w))]
    assert table.index["window_id"].tolist() == [i for w in windows for i in w.facts["window_id"]]
    assert table.index["n_beats"].tolist() == [i for w in windows for i in w.facts["n_beats"]]
    np.testing.assert_array_equal(table.index["onset_s"], np.concatenate([w.onset_s for w in windows]))
    np.testing.assert_array_equal(table.index["end_s"] - table.index["onset_s"], 2.0)
    np.testing.assert_array_equal(table.index["sbp"], table.targets[:, 0])
    np.testing.assert_array_equal(table.index["sqi_ecg"], np.concatenate([w.sqi[:, 1] for w in windows]))
    assert set(table.index["dataset"]) == {"demo"}
    assert table.names == ("pulse.a", "hr.b")
    assert table.waveform_channels == ("ppg_8hz",)
    assert table.target_names == ("sbp", "dbp")
    assert table.fs == 25.0
    assert len(table) == sum(map(len, windows))
    assert table.values.dtype == table.waveform.dtype == table.targets.dtype == np.float32
    assert store.read_examples(finished) == [{"title": f"r{i:02d}0"} for i in range(5)]


def test_waveforms_are_not_read_before_they_are_asked_for(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    once = Shard._open

    def watched(self: Shard, out: Any) -> Any:
        opened.append(self.path)
        return once(self, out)

    table = store.read(finished)
    monkeypatch.setattr(Shard, "_open", watched)
    found = table.waveform[[len(table) - 1, 0, len(table) - 1]]
    assert [path.name for path in opened] == ["00000.safetensors", "00004.safetensors"]
    assert table.waveform[1:2].base is None  # a copy, and no second opening
    assert len(opened) == 2
    np.testing.assert_array_equal(found[0], found[2])


def test_the_summary_counts_every_record_once(finished: Path, lot: Make) -> None:
    summary = store.summary(finished)
    lots = [lot(i) for i in range(5)]
    used = {w.record for each in lots for w in each.windows if len(w)}
    every = {r for each in lots for r in each.records} | {"listed"}
    assert summary["records"] == len(every)
    assert summary["records_used"] == len(used)
    assert summary["records_rejected"] == len(every) - len(used)
    assert summary["windows"] == sum(len(w) for each in lots for w in each.windows)
    assert summary["windows_rejected"] == 5
    assert summary["subjects"] == len(used)
    assert summary["lots"] == 5
    assert summary["notes"] == [[f"r{i:02d}0", "one channel is missing"] for i in range(5)]


def test_every_record_that_is_not_used_has_a_reason(finished: Path, lot: Make) -> None:
    rows = store.read_rejected(finished)
    used = set(store.read(finished).index["record"])
    every = {r for i in range(5) for r in lot(i).records}
    assert every - used <= {record for record, _, _ in rows}
    assert rows[0] == ("listed", "", "left out")
    assert ("bad3", "", 'cannot, be "read"') in rows
    assert ("r000", "4.0", "flat ppg") in rows


def test_the_quality_of_a_window_is_that_of_its_worst_channel_that_is_there(tmp_path: Path, lot: Make, record_of: Any) -> None:
    windows, features = record_of(np.random.default_rng(0), "r", 3)
    signal_ = windows.signal.copy()
    signal_[1, 1] = 0
    sqi = np.array([[0.9, 0.5], [0.9, 0.0], [0.0, 0.7]], np.float32)
    made = replace(windows, signal=signal_, sqi=sqi)
    store.write_plan(tmp_path, PLAN)
    store.write_lot(tmp_path, 0, replace(lot(0), windows=(made,), features=(features,)), DATASET)
    store.finish(tmp_path, 1)
    np.testing.assert_allclose(store.read(tmp_path).index["sqi"], [0.5, 0.9, 0.0])


# -------------------------------------------------------------------------------------------------- the same bytes whatever
@pytest.mark.parametrize("seed", range(3))
def test_another_order_gives_the_same_bytes(finished: Path, tmp_path: Path, lot: Make, contents: Contents, seed: int) -> None:
    order = random.Random(seed).sample(range(5), 5)
    assert contents(write(tmp_path / "other", lot, order)) == contents(finished)


def test_what_a_killed_writer_leaves_is_made_good(finished: Path, tmp_path: Path, lot: Make, contents: Contents) -> None:
    folder = tmp_path / "other"
    write(folder, lot, [0, 3])
    lots = folder / "lots"
    (lots / "00001.safetensors").write_bytes(b"half")
    (lots / "00001.parquet").write_bytes(b"")
    (lots / ".00002.json.77.ab.tmp").write_bytes(b"{")
    (folder / ".store.json.77.ab.tmp").write_bytes(b"{")
    (lots / "00003.parquet").unlink()
    assert store.missing_lots(folder, 5) == [1, 2, 3, 4]
    assert not store.is_finished(folder)
    write(folder, lot, store.missing_lots(folder, 5))
    assert contents(folder) == contents(finished)


def test_the_same_plan_again_changes_nothing(tmp_path: Path) -> None:
    store.write_plan(tmp_path, PLAN)
    before = (tmp_path / "plan.json").stat().st_mtime_ns
    store.write_plan(tmp_path, dict(reversed(PLAN.items())))
    assert (tmp_path / "plan.json").stat().st_mtime_ns == before
    store.write_plan(tmp_path, {**PLAN, "lots": 6})
    assert json.loads((tmp_path / "plan.json").read_text())["lots"] == 6


CHILD = """
import importlib.util, sys
from pathlib import Path
from biosig_mtl import store
from biosig_mtl.types import Rejected
spec = importlib.util.spec_from_file_location("helper", sys.argv[1])
helper = importlib.util.module_from_spec(spec)
spec.loader.exec_module(helper)
folder = Path(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
store.write_plan(folder, {"signal": [{"step": "resample", "fs_hz": 125.0}], "lots": 5})
again = range(5) if sys.argv[3] == "all" else store.missing_lots(folder, 5)
for i in again:
    store.write_lot(folder, i, helper.a_lot(i), {"dataset": "demo", "subject_level": "person"})
store.finish(folder, 5, [Rejected("listed", float("nan"), "left out")])
print("done", flush=True)
"""


def child(folder: Path, which: str) -> subprocess.Popen[str]:
    """Start a writer that waits for a line."""
    helper = str(Path(__file__).with_name("conftest.py"))
    made = subprocess.Popen(
        [sys.executable, "-c", CHILD, helper, str(folder), which],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert made.stdout is not None
    assert made.stdout.readline() == "ready\n"
    return made


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is of POSIX")
def test_a_writer_that_is_really_killed_leaves_a_store_that_a_second_run_completes(
    finished: Path, tmp_path: Path, contents: Contents
) -> None:
    folder = tmp_path / "other"
    rng = random.Random(5)
    for _ in range(4):
        process = child(folder, "missing")
        go(process)
        time.sleep(rng.uniform(0, 0.12))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = child(folder, "missing")
    go(process)
    out, err = process.communicate(timeout=60)
    assert (out, err) == ("done\n", "")
    assert contents(folder) == contents(finished)
    assert store.verify(folder) == []


def test_two_writers_at_once_end_with_the_same_store(finished: Path, tmp_path: Path, contents: Contents) -> None:
    folder = tmp_path / "other"
    both = [child(folder, "all"), child(folder, "all")]
    for process in both:
        go(process)
    for process in both:
        assert process.communicate(timeout=60) == ("done\n", "")
    assert contents(folder) == contents(finished)


def test_a_file_swept_by_another_finisher_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    swept: list[Path] = []
    replace_ = Path.replace

    def swept_once(self: Path, target: Path) -> Path:
        if not swept:
            swept.append(self)
            self.unlink()
        return replace_(self, target)

    monkeypatch.setattr(Path, "replace", swept_once)
    files.commit(path, b"content")
    assert swept
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a.json": b"content"}


# --------------------------------------------------------------------------------------------------------- empty and broken
def test_lots_without_windows_are_lots(tmp_path: Path, lot: Make) -> None:
    empty = Lot((), (), ("gone",), (Rejected("gone", math.nan, "missing channel 'ppg'"),))
    store.write_plan(tmp_path, PLAN)
    store.write_lot(tmp_path, 0, empty, DATASET)
    store.write_lot(tmp_path, 1, lot(1), DATASET)
    store.write_lot(tmp_path, 2, empty, DATASET)
    assert store.missing_lots(tmp_path, 3) == []
    store.finish(tmp_path, 3)
    table = store.read(tmp_path)
    assert set(table.index["lot"]) == {1}
    assert store.verify(tmp_path) == []
    assert store.read_fingerprints(tmp_path).shape == (len(table), 16)


def test_a_store_in_which_nothing_came_through_says_where_the_reasons_are(tmp_path: Path) -> None:
    store.write_plan(tmp_path, PLAN)
    store.write_lot(tmp_path, 0, Lot((), (), ("short",), ()), DATASET)
    summary = store.finish(tmp_path, 1)
    assert (summary["records"], summary["records_used"], summary["records_rejected"]) == (1, 0, 1)
    assert store.is_finished(tmp_path)
    assert store.read_rejected(tmp_path) == [("short", "", "shorter than one window")]
    with pytest.raises(DataError, match=r"no window came through; the reasons are in .*rejected\.csv"):
        store.read(tmp_path)


def test_nothing_rejected_is_a_header(tmp_path: Path, lot: Make) -> None:
    store.write_plan(tmp_path, PLAN)
    rng = lot(1)
    store.write_lot(tmp_path, 0, replace(rng, rejected=(), records=tuple(w.record for w in rng.windows if len(w))), DATASET)
    store.finish(tmp_path, 1)
    assert (tmp_path / "rejected.csv").read_text() == "record,onset_s,reason\n"
    assert store.read_rejected(tmp_path) == []


def test_what_every_piece_of_a_record_says_is_said_once(tmp_path: Path) -> None:
    store.write_plan(tmp_path, PLAN)
    same = Rejected("long", math.nan, "missing channel 'ppg'")
    for i in range(3):
        store.write_lot(tmp_path, i, Lot((), (), ("long",), (same, Rejected("long", float(i), "flat ppg"))), DATASET)
    summary = store.finish(tmp_path, 3)
    assert summary["windows_rejected"] == 3
    assert [row[1] for row in store.read_rejected(tmp_path)] == ["", "0.0", "1.0", "2.0"]


def test_commas_quotes_and_line_ends_survive_in_rejected_csv() -> None:
    rows = [("a,b", 1.5, 'it "is", so'), ("c\nd", None, "é"), ("e", 0.0, "")]
    back = list(csv.reader(store.rejected_csv(rows).splitlines(keepends=True)))
    assert back == [["record", "onset_s", "reason"], ["a,b", "1.5", 'it "is", so'], ["c\nd", "", "é"], ["e", "0.0", ""]]


def test_lots_that_do_not_agree_are_refused(tmp_path: Path, lot: Make) -> None:
    store.write_plan(tmp_path, PLAN)
    store.write_lot(tmp_path, 0, lot(0), DATASET)
    other = lot(1)
    renamed = tuple(replace(f, names=("hr.b", "pulse.a")) for f in other.features)
    store.write_lot(tmp_path, 1, replace(other, features=renamed), DATASET)
    with pytest.raises(DataError, match="do not agree on their names"):
        store.finish(tmp_path, 2)


def test_a_full_disk_is_one_line_and_leaves_what_was_there(
    tmp_path: Path, lot: Make, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, lot, [0])
    before = contents(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="cannot be written: No space left on device") as error:
        store.write_lot(tmp_path, 1, lot(1), DATASET)
    assert "\n" not in str(error.value)
    assert contents(tmp_path) == before


def test_a_store_that_cannot_be_made_is_one_line(tmp_path: Path, lot: Make) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be made"):
        store.write_plan(tmp_path / "file" / "abc", PLAN)
    with pytest.raises(DataError, match="cannot be written"):
        store.write_lot(tmp_path / "file", 0, lot(0), DATASET)


def test_finishing_too_early_names_the_lot_that_is_not_there(tmp_path: Path, lot: Make) -> None:
    write(tmp_path, lot, [0, 1])
    with pytest.raises(DataError, match=r"00002\.json: missing or damaged"):
        store.finish(tmp_path, 5)
    assert not store.is_finished(tmp_path)


def test_parquet_bytes_hold_no_trace_of_the_writer() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    assert frames.parquet(frame) == frames.parquet(frame.set_axis([7, 9]))
    assert b"pandas" not in frames.parquet(frame)
