"""The guards around a fuzzed reading see what they are there for: each is shown a reader that does it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from biosig_mtl.types import DataError
from tests.fuzz.harness import Finding, Target, all_targets, folder_of, guarded


def outcome(read: Callable[[Path], object], **options: float) -> str:
    target = Target("none", ("a",), read, lambda: b"a", **options)  # type: ignore[arg-type]
    with folder_of(target.files, [b"a"]) as folder:
        return guarded(lambda: read(folder), folder, target, 1)


def refuse(_: Path) -> None:
    raise DataError("a.hea: no header")


def spin(_: Path) -> None:
    while True:
        pass


def swallow(_: Path) -> None:
    """Hide an escape as readers hide errors of a library."""
    try:
        Path("/etc/hostname").read_bytes()
    except Exception:  # noqa: BLE001 (that is the point)
        raise DataError("not readable") from None


def warn(_: Path) -> None:
    warnings.warn("overflow", RuntimeWarning, stacklevel=1)


def follow(folder: Path) -> None:
    (folder / "b").symlink_to("/etc/hostname")
    (folder / "b").read_bytes()


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "an error of its own": (lambda _: dict[str, int]()["x"], "KeyError"),
    "a warning": (warn, "overflow"),
    "a file elsewhere": (lambda _: Path("/etc/hostname").read_bytes(), "left its folder: open"),
    "a file elsewhere, hidden": (swallow, "left its folder: open"),
    "a file above": (lambda f: (f / ".." / "x").write_bytes(b""), "left its folder: open"),
    "a folder elsewhere": (lambda _: list(Path("/etc").iterdir()), "left its folder: os.listdir"),
    "a program": (lambda _: subprocess.run([sys.executable, "-V"], check=False), "left its folder: subprocess"),
    "a shell": (lambda _: os.system("true"), "left its folder: os.system"),
    "the network": (lambda _: socket.create_connection(("127.0.0.1", 9), 1), "left its folder: socket"),
    "a link out": (follow, "left its folder"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_no_input_may_do_is_a_finding(what: str) -> None:
    read, message = WRONG[what]
    with pytest.raises(Finding, match=message):
        outcome(read)


def test_time_and_memory_are_bounded() -> None:
    with pytest.raises(Finding, match=r"more than 0\.2 s"):
        outcome(spin, seconds=0.2)
    tracemalloc.start()
    try:
        # Asked for and never touched: the kernel would not have noticed.
        with pytest.raises(Finding, match="grew by"):
            outcome(lambda _: np.empty(80 << 20, np.uint8))
        assert outcome(lambda _: np.empty(32 << 20, np.uint8)) == ""
    finally:
        tracemalloc.stop()


def test_reading_and_refusing_are_no_findings() -> None:
    assert outcome(lambda f: (f / "a").read_bytes()) == ""
    assert outcome(refuse) == "a.hea: no header"


def test_targets_of_all_rooms_are_found() -> None:
    assert {"wfdb", "edf", "mat5", "pickle", "hdf5", "eeglab"} <= set(all_targets())
