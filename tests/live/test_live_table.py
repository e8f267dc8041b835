"""Laws of the table: every row is whole on disk as soon as it is told, and what is there already is never harmed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from biosig_mtl.inference.stream_words import Estimate
from biosig_mtl.live.table import Table, columns
from biosig_mtl.types import DataError, RecipeError

ROOT = Path(__file__).parents[2]
TARGETS = ("sbp", "dbp")


def estimate(onset: float, *, settled: bool = True) -> Estimate:
    values = {"sbp": 120.123456789012 + onset, "dbp": 1 / 3}
    low, high = {n: v - 10 for n, v in values.items()}, {n: v + 10 for n, v in values.items()}
    return Estimate(onset, onset + 8, values=values, lower=low, upper=high, sqi=0.5, settled=settled)


def write(path: Path, *onsets: float) -> Table:
    table = Table(path, TARGETS, {})
    for onset in onsets:
        table.add("one", estimate(onset))
    table.close()
    return table


def test_what_is_read_back_is_what_was_estimated(tmp_path: Path) -> None:
    table = Table(tmp_path / "deep" / "a.csv", TARGETS, {})
    told = [estimate(0.0), estimate(8.0, settled=False), Estimate(16.0, 24.0, reason='low quality, "flat"')]
    for one in told:
        table.add("rec,1", one)
        # Nothing waits in memory: who kills the program now loses nothing.
        assert (tmp_path / "deep" / "a.csv").read_text().endswith("Z\n")
    table.close()
    frame = pd.read_csv(tmp_path / "deep" / "a.csv", float_precision="round_trip")
    assert list(frame) == columns(TARGETS, {})
    assert list(frame["state"]) == ["settled", "provisional", "refused"]
    assert frame["reason"].fillna("").tolist() == ["", "", 'low quality, "flat"']
    assert frame["record"].tolist() == ["rec,1"] * 3
    assert frame["sbp"].tolist()[:2] == [told[0].values["sbp"], told[1].values["sbp"]]
    assert frame["dbp_upper"][0] == told[0].upper["dbp"]
    assert frame[["sbp", "sqi", "dbp_lower"]].iloc[2].isna().all()
    assert abs((datetime.now(UTC) - datetime.fromisoformat(str(frame["told_at"][0]))).total_seconds()) < 60


def test_classes_have_shares_and_no_interval(tmp_path: Path) -> None:
    table = Table(tmp_path / "a.csv", ("valence",), {"valence": 2})
    table.add("one", Estimate(0.0, 8.0, values={"valence": "high"}, shares={"valence": (0.25, 0.75)}, sqi=1.0))
    table.close()
    frame = pd.read_csv(tmp_path / "a.csv")
    assert list(frame)[3:7] == ["valence", "valence_p0", "valence_p1", "sqi"]
    assert frame.iloc[0][["valence", "valence_p0", "valence_p1"]].tolist() == ["high", 0.25, 0.75]


def test_a_second_start_goes_on_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    assert write(path, 0, 8).note == ""
    before = path.read_bytes()
    assert write(path, 16).note == f"{path}: goes on after 2 rows"
    assert path.read_bytes().startswith(before)
    frame = pd.read_csv(path)
    assert frame["onset_s"].tolist() == [0, 8, 16]
    assert frame["session"].nunique() <= 2


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_row_is_taken_away_and_nothing_else(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.csv"
    write(path, 0, 8)
    path.write_bytes(path.read_bytes()[:-cut])
    note = write(path, 16).note
    assert note == f"{path}: goes on after 1 rows; its last row was torn and is taken away"
    assert pd.read_csv(path)["onset_s"].tolist() == [0, 16]


@pytest.mark.parametrize("left", [0, 5, 40])
def test_a_torn_heading_is_written_again(tmp_path: Path, left: int) -> None:
    path = tmp_path / "a.csv"
    write(path)
    path.write_bytes(path.read_bytes()[:left])
    write(path, 0)
    assert pd.read_csv(path)["onset_s"].tolist() == [0]


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"precious text", b"record,onset_s\n", b"\xff\xfe\x00", b"\n"])
def test_another_table_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"is another table .* give another --out"):
        write(path, 0)
    assert path.read_bytes() == content


def test_two_do_not_write_at_once(tmp_path: Path) -> None:
    first = Table(tmp_path / "a.csv", TARGETS, {})
    with pytest.raises(RecipeError, match="another live view writes to it"):
        Table(tmp_path / "a.csv", TARGETS, {})
    first.close()
    write(tmp_path / "a.csv", 0)


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"a\.csv: cannot be written"):
        Table(tmp_path / "file" / "a.csv", TARGETS, {})
    with pytest.raises(RecipeError, match=r"a\.parquet: rows can only be added to a text table"):
        Table(tmp_path / "a.parquet", TARGETS, {})


class Full:
    """A disk on which nothing is left."""

    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(tmp_path / "a.csv", TARGETS, {})
    monkeypatch.setattr(table.rows, "_sink", Full())
    with pytest.raises(DataError, match=r"a\.csv: cannot be written: No space"):
        table.add("one", estimate(0))
    table.close()


CHILD = """
import sys
from pathlib import Path
from biosig_mtl.inference.stream_words import Estimate
from biosig_mtl.live.table import Table
table = Table(Path(sys.argv[1]), ("sbp",), {})
for n in range(10**6):
    table.add("one", Estimate(8.0 * n, 8.0 * n + 8, values={"sbp": 120.0 + n}, sqi=1.0))
    print(n, flush=True)
"""


def test_a_kill_loses_no_row_that_was_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert child.stdout is not None
    told = next(int(line) for line in child.stdout if int(line) >= 50)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    table = Table(path, ("sbp",), {})
    table.add("one", Estimate(0.0, 8.0, values={"sbp": 120.0}, sqi=1.0))
    table.close()
    frame = pd.read_csv(path)
    assert len(frame) >= told + 2
    assert (frame["sbp"] == 120 + frame["onset_s"] / 8).all()
    assert frame["onset_s"].iloc[:-1].is_monotonic_increasing
