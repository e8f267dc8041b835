"""Laws of faults: whatever the disk does at whichever moment, one line is said and a second run ends in the same bytes."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl import store
from biosig_mtl.store import files, shards
from biosig_mtl.types import DataError

Write = Callable[..., Path]
Contents = Callable[[Path], dict[str, bytes]]
COUNT = 2


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, write_store: Write) -> Path:
    return write_store(tmp_path_factory.mktemp("whole") / "abc", COUNT)


class Disk:
    """Counts what is asked of the disk when files are written, and answers the ``at``-th request (and later) with an error."""

    def __init__(self, at: int, code: int, *, times: int = 10**9) -> None:
        self.at, self.code, self.times = at, code, times
        self.asked: list[str] = []
        self._open, self._replace, self._fsync = Path.open, os.replace, os.fsync

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if len(self.asked) > self.at and self.times > 0:
            self.times -= 1
            raise OSError(self.code, os.strerror(self.code))

    def open(self, path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if "w" not in mode:
            return self._open(path, mode, *rest, **more)
        self._ask(f"open {path.name.split('.')[1]}")
        file = self._open(path, mode, *rest, **more)
        return Written(file, lambda: self._ask("write"))

    def replace(self, old: Any, new: Any) -> None:
        self._ask(f"rename {Path(new).name}")
        self._replace(old, new)

    def fsync(self, handle: int) -> None:
        self._ask("flush names" if os.path.isdir(f"/proc/self/fd/{handle}") else "flush")  # noqa: PTH112
        self._fsync(handle)


class Written:
    """A file that asks before each write."""

    def __init__(self, file: Any, ask: Callable[[], None]) -> None:
        self._file, self._ask = file, ask

    def write(self, content: Any) -> Any:
        self._ask()
        return self._file.write(content)

    def __enter__(self) -> Written:
        self._file.__enter__()
        return self

    def __exit__(self, *why: object) -> Any:
        return self._file.__exit__(*why)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextlib.contextmanager
def on(disk: Disk) -> Iterator[Disk]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", lambda path, *rest, **more: disk.open(path, *rest, **more))
        patch.setattr(os, "replace", disk.replace)
        patch.setattr(os, "fsync", disk.fsync)
        yield disk


def test_what_vouches_is_flushed_after_what_it_vouches_for(tmp_path: Path, write_store: Write) -> None:
    with on(Disk(10**9, 0)) as disk:
        write_store(tmp_path / "s", COUNT)
    renamed = [what for what in disk.asked if what.startswith("rename")]
    one_lot = ["safetensors", "parquet", "json"]
    lots = [f"rename {i:05d}.{kind}" for i in range(COUNT) for kind in one_lot]
    assert renamed == ["rename plan.json", *lots, "rename index.parquet", "rename rejected.csv", "rename store.json"]
    for at, what in enumerate(disk.asked):
        if what.startswith("rename"):
            assert disk.asked[at - 1] == "flush"
        if what.endswith(("rename store.json", "rename 00001.json")):
            before = disk.asked[:at]
            names = len(before) - 1 - before[::-1].index("flush names")
            # Between the flush of the names and this rename there is no other.
            assert not any(w.startswith("rename") for w in before[names:])
    assert disk.asked[-1] == "flush names"


# EROFS: the folder became read-only; EDQUOT: the quota is used up; ENOENT: somebody took the folder away.
CODES = [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.ESTALE, errno.EINTR, errno.ENOENT]


@pytest.mark.parametrize("code", CODES, ids=[errno.errorcode[c] for c in CODES])
def test_a_disk_that_fails_at_any_moment_is_one_line_and_the_second_run_is_whole(
    whole: Path, tmp_path: Path, write_store: Write, contents: Contents, code: int
) -> None:
    folder = tmp_path / "s"
    expected = contents(whole)
    told = []
    # Each run goes on from where the one before was stopped; nothing is cleaned in between.
    for at in (0, 1, 2, 3, 5, 8, 11, 14, 12, 9, 10, 13, 7, 4, 6, 15):
        with on(Disk(at, code)), contextlib.suppress(DataError):
            try:
                write_store(folder, COUNT)
            except DataError as error:
                told.append(str(error))
                raise
        found = contents(folder)
        assert all(expected[name] == found[name] for name in found)  # nothing half, no litter
    assert len(told) > 10
    assert all(os.strerror(code) in line and "\n" not in line for line in told)
    write_store(folder, COUNT)
    assert contents(folder) == expected
    assert store.verify(folder) == []


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EINTR])
def test_what_passes_is_tried_once_more(whole: Path, tmp_path: Path, write_store: Write, contents: Contents, code: int) -> None:
    for at in (0, 1, 2, 5, 12, 20):
        with on(Disk(at, code, times=1)):
            write_store(tmp_path / f"s{at}", COUNT)
        assert contents(tmp_path / f"s{at}") == contents(whole)


def test_a_file_system_that_cannot_flush_names_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = os.open

    def refusing(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if Path(path).is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")
        return once(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refusing)
    files.flush_names(tmp_path)


# --------------------------------------------------------------------------------------------------------------------- reading
def failing_at(code: int, times: int, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Let files of a kind fail to open so many times."""
    left = [times]
    once = Path.open

    def opened(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if path.suffix == kind and "r" in mode and left[0] > 0:
            left[0] -= 1
            raise OSError(code, os.strerror(code))
        return once(path, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", opened)


@pytest.mark.parametrize("kind", [".safetensors", ".parquet", ".json"])
def test_a_stale_handle_is_asked_again_by_name(whole: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    expected = np.asarray(store.read(whole).values)
    with monkeypatch.context() as patch:
        failing_at(errno.ESTALE, 1, patch, kind)
        patch.setattr("biosig_mtl.store.reading._summaries", {})
        np.testing.assert_array_equal(store.read(whole).values, expected)


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EACCES, errno.EIO, errno.ENOMEM, errno.EMFILE])
@pytest.mark.parametrize("kind", [".safetensors", ".parquet", ".json"])
def test_what_cannot_be_read_is_not_advised_to_be_deleted(
    whole: Path, monkeypatch: pytest.MonkeyPatch, kind: str, code: int
) -> None:
    with monkeypatch.context() as patch:
        failing_at(code, 10**9, patch, kind)
        patch.setattr("biosig_mtl.store.reading._summaries", {})
        with pytest.raises(DataError, match=f"cannot be read: {os.strerror(code)}") as error:
            store.read(whole)
    assert str(whole) in str(error.value)
    assert kind in str(error.value)
    assert "delete" not in str(error.value)


def test_an_error_of_the_disk_in_a_waveform_is_one_line(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = store.read(whole)

    def broken(*_: object) -> str:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(shards, "digest_of", broken)
    monkeypatch.setattr(shards, "_known", set())
    with pytest.raises(DataError, match=r"00000\.safetensors: cannot be read: Input/output error"):
        table.waveform[0]


@pytest.mark.parametrize(
    ("error", "told"), [(MemoryError(), "not enough memory"), (RuntimeError("no new thread"), "no new thread")]
)
def test_too_little_memory_is_one_line(whole: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str) -> None:
    def refused(*_: object) -> Any:
        raise error

    monkeypatch.setattr("biosig_mtl.store.reading.joined", refused)
    with pytest.raises(DataError, match=f"cannot be read: {told}"):
        store.read(whole)


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np, pandas, pyarrow.parquet
from biosig_mtl import store
from biosig_mtl.types import DataError
folder = Path(sys.argv[1])
store.read(folder)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
ended = []
for more in (0, 1, 4, 16, 64, 1024):
    resource.setrlimit(resource.RLIMIT_AS, (used + more * 2**20, -1))
    try:
        np.asarray(store.read(folder).waveform)
    except DataError as error:
        ended.append("refused")
        assert "cannot be read" in str(error) and "delete" not in str(error), error
    except MemoryError:  # of the caller, who asked for all of a waveform
        ended.append("refused")
    else:
        ended.append("read")
print(*ended)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="the memory of a process is read from /proc")
def test_under_a_limit_of_memory_a_store_is_read_or_refused(tmp_path: Path, lot: Any) -> None:
    one = lot(1)
    many = tuple(replace(f, waveform=np.zeros((len(f.values), 1, 500_000), np.float32)) for f in one.features)
    store.write_plan(tmp_path, {})
    store.write_lot(tmp_path, 0, replace(one, features=many), {"dataset": "demo"})
    store.finish(tmp_path, 1)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    ended = done.stdout.split()
    assert (ended[0], ended[-1]) == ("refused", "read")


def test_a_folder_that_may_not_be_looked_into_is_one_line(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refused)
    for look in (store.is_finished, store.read, lambda folder: store.missing_lots(folder, COUNT)):
        with pytest.raises(DataError, match="cannot be read: Permission denied"):
            look(whole)


# ------------------------------------------------------------------------------------------------------------- several at once
def test_who_reads_while_others_write_the_same_store_reads_the_same(
    tmp_path: Path, write_store: Write, lot: Any, contents: Contents
) -> None:
    folder = write_store(tmp_path / "s", COUNT)
    before = contents(folder)
    expected = np.asarray(store.read(folder).waveform)
    stop = threading.Event()
    errors: list[BaseException] = []

    def writing() -> None:
        try:
            while not stop.is_set():
                for i in range(COUNT):
                    store.write_lot(folder, i, lot(i), {"dataset": "demo", "subject_level": "person"})
                store.finish(folder, COUNT)
        except BaseException as error:  # noqa: BLE001 (told to the test)
            errors.append(error)

    writers = [threading.Thread(target=writing) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(25):
            np.testing.assert_array_equal(np.asarray(store.read(folder).waveform), expected)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert errors == []
    assert contents(folder) == before
