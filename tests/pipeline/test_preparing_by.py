"""Laws of a preparation on any engine: the same bytes by whomever they are written, and everything told at the end."""

from __future__ import annotations

import errno
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from biosig_mtl import pipeline, store
from biosig_mtl.data.readers import open_source
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.pipeline import lots, preparing, summing, working
from biosig_mtl.pipeline.engines import Account, Here, Local, apart
from biosig_mtl.recipe import Recipe, digest, from_dict, load
from biosig_mtl.types import DataError, RecipeError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load("demo_bp")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(Cohort(n_subjects=3, records_per_subject=2, record_s=20, fault_share=0.3), tmp_path_factory.mktemp("d") / "c")


@pytest.fixture(scope="module", autouse=True)
def small_lots() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparing, "LOT_RECORDS", 1)
        yield


@pytest.fixture(scope="module")
def plain(recipe: Recipe, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> pipeline.Prepared:
    """The store as one process writes it."""
    return pipeline.prepare_by(recipe, cohort, tmp_path_factory.mktemp("s"), pipeline.Way())


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ------------------------------------------------------------------------------------------------------------------ shards
def test_shards_in_any_order_write_what_one_run_writes(
    recipe: Recipe, cohort: Path, plain: pipeline.Prepared, tmp_path: Path
) -> None:
    made = []
    for words in ("3/4", "1/4", "4/4", "2/4"):
        seen: list[tuple[int, int]] = []
        way = pipeline.Way(shard=pipeline.Shard.read(words), progress=lambda *now, seen=seen: seen.append(now))
        made.append(pipeline.prepare_by(recipe, cohort, tmp_path, way))
        assert seen == [(i + 1, len(seen)) for i in range(len(seen))]
    # Six lots on four shards.
    assert [(p.summary.wrote, p.summary.missing, p.finished) for p in made] == [
        (1, 5, False),
        (2, 3, False),
        (1, 2, False),
        (2, 0, True),
    ]
    assert made[0].summary.lines()[0].startswith("6 lots: 1 written now, 5 still missing")
    assert contents(made[-1].folder) == contents(plain.folder)
    again = pipeline.prepare_by(recipe, cohort, tmp_path, pipeline.Way(shard=pipeline.Shard.read("1/4")))
    assert (again.summary.wrote, again.finished) == (0, True)


def test_a_shard_that_is_run_again_does_only_what_is_missing_of_its_own(recipe: Recipe, cohort: Path, tmp_path: Path) -> None:
    way = pipeline.Way(shard=pipeline.Shard(1, 2))
    first = pipeline.prepare_by(recipe, cohort, tmp_path, way)
    (first.folder / "lots" / "00002.json").unlink()
    seen: list[tuple[int, int]] = []
    again = pipeline.prepare_by(recipe, cohort, tmp_path, replace(way, progress=lambda *now: seen.append(now)))
    assert (again.summary.wrote, again.summary.missing) == (1, 3)
    assert seen == [(3, 3)]
    assert pipeline.prepare_by(recipe, cohort, tmp_path, way).summary.wrote == 0


@pytest.mark.parametrize("words", ["0/4", "5/4", "1", "1/", "a/b", "1/0", "/", "1/4/4"])
def test_a_shard_is_written_as_one_of_many(words: str) -> None:
    with pytest.raises(RecipeError, match=f"--shard {words}: write it as i/n with 1 <= i <= n, as 3/8"):
        pipeline.Shard.read(words)


def test_shards_share_all_lots() -> None:
    parts = [pipeline.Shard(i, 7).own(range(100)) for i in range(1, 8)]
    assert sorted(i for part in parts for i in part) == list(range(100))
    assert [pipeline.Shard(i, 7).size(100) for i in range(1, 8)] == [len(p) for p in parts]


# ------------------------------------------------------------------------------------------------------------- whoever dies
RUN = """
import os, signal, sys
from pathlib import Path
from biosig_mtl import pipeline
from biosig_mtl.pipeline import preparing
from biosig_mtl.recipe import load
if __name__ == "__main__":
    preparing.LOT_RECORDS = 1
    def kill(done, of):
        if done == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
    way = pipeline.Way(pipeline.chosen_engine(sys.argv[4], 2), progress=kill)
    print(pipeline.prepare_by(load("demo_bp"), Path(sys.argv[1]), Path(sys.argv[2]), way).folder)
"""


def killed_after(lots: int, engine: str, cohort: Path, into: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", RUN, str(cohort), str(into), str(lots), engine]
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is of POSIX")
def test_a_driver_that_is_killed_leaves_what_another_run_completes(
    cohort: Path, plain: pipeline.Prepared, tmp_path: Path
) -> None:
    assert killed_after(2, "local", cohort, tmp_path).returncode == -signal.SIGKILL
    done = killed_after(-1, "local", cohort, tmp_path)
    assert (done.stdout.strip(), done.stderr) == (str(tmp_path / plain.folder.name), "")
    assert contents(tmp_path / plain.folder.name) == contents(plain.folder)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is of POSIX")
def test_dask_writes_the_same_bytes_and_a_killed_driver_is_completed(
    cohort: Path, plain: pipeline.Prepared, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    assert killed_after(1, "dask", cohort, tmp_path).returncode == -signal.SIGKILL
    done = killed_after(-1, "dask", cohort, tmp_path)
    assert (done.stdout.strip(), done.stderr) == (str(tmp_path / plain.folder.name), "")
    assert contents(tmp_path / plain.folder.name) == contents(plain.folder)


def test_what_ended_an_earlier_run_is_met_in_a_process_of_its_own(
    recipe: Recipe, cohort: Path, plain: pipeline.Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / plain.folder.name
    store.write_plan(folder, {})
    (folder / "lots" / ".00002.ab12.cd34.tmp").write_bytes(b"00000000\n")
    used = []
    real = Local.open

    def seen(self: Local, *words: Any) -> Any:
        used.append(self)
        return real(self, *words)

    monkeypatch.setattr(Local, "open", seen)
    assert pipeline.prepare(recipe, cohort, tmp_path) == folder
    assert used == [Local(1)]
    assert contents(folder) == contents(plain.folder)


def test_a_time_limit_needs_a_process_of_its_own(recipe: Recipe, cohort: Path, tmp_path: Path) -> None:
    assert apart(Here(), limited=True) == Local(1)
    assert apart(Local(3), limited=True) == Local(3)
    told: list[str] = []
    prepared = pipeline.prepare_by(
        replace(recipe, data=replace(recipe.data, limit=1)),
        cohort,
        tmp_path,
        pipeline.Way(Local(1), record_timeout_s=1e-3, tell=told.append),
    )
    assert prepared.summary.account.quarantined == ["s001_1"]
    assert store.read_rejected(prepared.folder) == [("s001_1", "", "this record took longer than 0.001 s, 3 times; left out")]
    assert len(told) == 3
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="need record_timeout_s > 0"):
            pipeline.Way(record_timeout_s=wrong)


# ------------------------------------------------------------------------------------------------------- troubles that pass
Break = Callable[[str, BaseException, int], None]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Return what makes the opening of a record fail some times."""
    monkeypatch.setattr(working, "PAUSES_S", (0.0, 0.0))

    def set_up(record: str, error: BaseException, times: int) -> None:
        met = [0]

        def opening(entry: Any) -> Any:
            if entry.record == record and met[0] < times:
                met[0] += 1
                raise error
            return open_source(entry)

        monkeypatch.setattr(working, "open_source", opening)

    return set_up


def wrapped(error: BaseException) -> DataError:
    made = DataError("s002_1.dat: cannot be read")
    made.__cause__ = error
    return made


@pytest.mark.parametrize(
    "error", [OSError(errno.ESTALE, "Stale file handle"), wrapped(OSError(errno.EIO, "Input/output error")), MemoryError()]
)
def test_a_trouble_that_passes_leaves_no_trace(
    recipe: Recipe, cohort: Path, plain: pipeline.Prepared, tmp_path: Path, broken: Break, error: BaseException
) -> None:
    broken("s002_1", error, 2)
    assert contents(pipeline.prepare(recipe, cohort, tmp_path)) == contents(plain.folder)


@pytest.mark.parametrize(
    ("error", "times", "expected"),
    [
        (OSError(errno.ESTALE, "Stale file handle"), 99, "unexpected OSError: [Errno 116] Stale file handle"),
        (PermissionError(errno.EACCES, "Permission denied"), 1, "unexpected PermissionError: [Errno 13] Permission denied"),
        (MemoryError(), 99, "its worker died 3 times at this record (a crash, or no memory left); left out"),
    ],
)
def test_a_trouble_that_stays_is_the_record_s_own(
    recipe: Recipe, cohort: Path, tmp_path: Path, broken: Break, error: BaseException, times: int, expected: str
) -> None:
    broken("s002_1", error, times)
    prepared = pipeline.prepare_by(recipe, cohort, tmp_path, pipeline.Way())
    assert [why for record, onset, why in store.read_rejected(prepared.folder) if (record, onset) == ("s002_1", "")] == [
        expected
    ]
    assert store.summary(prepared.folder)["records"] == 6


@pytest.mark.parametrize("name", ["ETIMEDOUT", "EHOSTUNREACH", "EMFILE"])
def test_a_line_that_stays_broken_ends_the_run_and_no_record_is_refused(
    recipe: Recipe, cohort: Path, plain: pipeline.Prepared, tmp_path: Path, broken: Break, name: str
) -> None:
    number = getattr(errno, name)
    broken("s002_1", wrapped(OSError(number, "no way")), 3)
    with pytest.raises(DataError, match=r"s002_1.*run the same command again"):
        pipeline.prepare(recipe, cohort, tmp_path)
    assert contents(pipeline.prepare(recipe, cohort, tmp_path)) == contents(plain.folder)


def test_a_disk_that_went_away_ends_the_run(
    recipe: Recipe, cohort: Path, plain: pipeline.Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, away = tmp_path / "disk", tmp_path / "away"
    shutil.copytree(cohort, root)

    def opening(entry: Any) -> Any:
        if entry.record == "s002_1":
            if root.is_dir():
                root.rename(away)
            raise OSError(errno.EIO, "Input/output error")
        return open_source(entry)

    with monkeypatch.context() as patch:
        patch.setattr(working, "PAUSES_S", (0.0,))
        patch.setattr(working, "open_source", opening)
        with pytest.raises(DataError, match="Input/output error; run the same command again"):
            pipeline.prepare(recipe, root, tmp_path / "stores")
    away.rename(root)
    assert contents(pipeline.prepare(recipe, root, tmp_path / "stores")) == contents(plain.folder)


def test_a_part_of_a_long_record_is_left_out_by_its_second(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(Cohort(n_subjects=1, records_per_subject=1, record_s=90, fault_share=0), tmp_path / "c")
    monkeypatch.setattr(preparing, "PIECE_S", 30.0)
    monkeypatch.setattr(preparing, "LOT_RECORDS", 9)
    real = working.work_piece

    def hungry(made: Any, piece: Any, source: Any = None) -> Any:
        if piece.start_s == 30.0:
            raise MemoryError
        return real(made, piece, source)

    monkeypatch.setattr(working, "work_piece", hungry)
    prepared = pipeline.prepare_by(recipe, root, tmp_path / "s", pipeline.Way())
    assert prepared.summary.account.quarantined == ["s001_1 from 30 s on"]
    onsets = store.read(prepared.folder).index["onset_s"]
    assert not any(30 <= onset < 60 for onset in onsets)
    assert max(onsets) > 60
    (why,) = [why for _, onset, why in store.read_rejected(prepared.folder) if not onset]
    assert why.startswith("its worker died 3 times at this record from 30 s on (a crash")
    assert prepared.summary.recorded_s == pytest.approx(60.0)


# ------------------------------------------------------------------------------------------------------------ other places
def a_job(recipe: Recipe, folder: Path, root: Path, **more: Any) -> pipeline.Job:
    return pipeline.Job(folder, 0, (), recipe.to_dict(), {}, root, 0, **more)


def test_a_worker_that_does_not_see_the_data_refuses_the_lot_and_not_every_record(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: a worker does not see this folder"):
        pipeline.work(a_job(recipe, tmp_path, tmp_path / "nowhere"))
    with pytest.raises(DataError, match="lots: a worker does not see this folder"):
        pipeline.work(a_job(recipe, tmp_path, tmp_path))
    with pytest.raises(DataError, match=f"a worker writes stores of format {store.FORMAT}, need 2"):
        pipeline.work(a_job(recipe, tmp_path, tmp_path, format=2))


def test_a_header_that_cannot_be_read_for_a_moment_never_mixes_two_cuts(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(Cohort(n_subjects=2, records_per_subject=1, record_s=90, fault_share=0), tmp_path / "c")
    monkeypatch.setattr(preparing, "PIECE_S", 30.0)
    first = pipeline.prepare(recipe, root, tmp_path / "s")
    real = lots._told_by_header
    monkeypatch.setattr(
        lots, "_told_by_header", lambda path, size: real(path, size) if "s001" in path.name else (math.nan, 0.0)
    )
    second = pipeline.prepare(recipe, root, tmp_path / "s")
    assert first != second
    assert (store.summary(first)["lots"], store.summary(second)["lots"]) == (6, 4)


# ------------------------------------------------------------------------------------------------------------ at the end
def test_the_end_tells_records_lots_and_hours(recipe: Recipe, plain: pipeline.Prepared) -> None:
    lines = plain.summary.lines()
    assert lines[-2] == "6 lots: 6 written now"
    assert lines[-1].startswith("0.03 record-hours in ")
    assert plain.summary.recorded_s == pytest.approx(120.0, abs=20)  # one of them is cut short
    refused = store.read_rejected(plain.folder)
    assert sum(n for _, n in plain.summary.windows_refused) == sum(bool(onset) for _, onset, _ in refused) > 0
    del recipe


def test_reasons_are_counted_by_kind() -> None:
    assert summing.kind_of("s001/s001_1.hea: missing channel 'ppg'", "s001_1") == "missing channel 'ppg'"
    assert summing.kind_of("2 beats, need at least 5", "r") == summing.kind_of("3 beats, need at least 5", "r")
    assert summing.kind_of("r7", "r7") == "r7"
    rows = [("a", "a.hea: 2 beats"), ("b", "b.hea: 3 beats"), ("a", "ends at 4 s"), ("c", "ends at 4 s"), ("d", "2 beats")]
    assert summing._kinds(rows) == [("… beats", 3), ("ends at 4 s", 2)]
    reasons = [(f"reason {chr(97 + i)}", 10 - i) for i in range(8)]
    names = [f"r{i}" for i in range(7)]
    summary = pipeline.Summary(9, 4, 0, Account(1, names), 7200.0, 4.0, reasons)
    assert summary.lines() == [
        "records refused: " + "; ".join(f"{n} × {why}" for why, n in reasons[:5]) + "; 12 for other reasons",
        "9 lots: 4 written now, 5 found, 1 retry after a worker died",
        "left out after three tries: r0, r1, r2, r3, r4 and 2 more (see rejected.csv)",
        "2.00 record-hours in 4.0 s: 0.5 record-hours a second",
    ]
    assert pipeline.Summary(9, 0, 0, Account(), 0.0, 1.0).lines() == []


# ------------------------------------------------------------------------------------------------------------------ recipes
def test_where_a_recipe_is_worked_is_no_part_of_it(tmp_path: Path) -> None:
    text = Path(ROOT / "pipelines" / "demo_bp.yaml").read_text()
    path = tmp_path / "demo_bp.yaml"
    path.write_text(f"{text}\ncluster: {{queue: long, jobs: 40, walltime: '12:00:00'}}\n")
    there, here = load(path), load("demo_bp")
    assert there.cluster["jobs"] == 40
    assert there == here
    assert "cluster" not in there.to_dict()
    assert digest(there.to_dict()) == digest(here.to_dict())
    assert from_dict(there.to_dict()) == here
    assert pipeline.resolved(there) == pipeline.resolved(here)
    assert load(path, ["cluster.queue=short"]).cluster["queue"] == "short"
