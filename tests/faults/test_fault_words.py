"""What is said where nobody listens, and what is told of things that are no files: in the process of the test, call by call."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from biosig_mtl import cli
from biosig_mtl.cli import shell
from biosig_mtl.data import listing, manifest
from biosig_mtl.data.readers.files import check_file
from biosig_mtl.types import DataError


class Failing(io.StringIO):
    """A stream that takes nothing."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def write(self, text: str) -> int:
        del text
        raise OSError(self._number, os.strerror(self._number))

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [None, Failing(errno.EPIPE)])
def test_nobody_listens(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    shell.say("lost")
    shell.aside("lost")


def test_a_full_disk_is_told_for_what_was_asked_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Failing(errno.ENOSPC))
    monkeypatch.setattr(sys, "stderr", Failing(errno.ENOSPC))
    shell.aside("lost")
    with pytest.raises(DataError, match="standard output: cannot be written: No space left on device"):
        shell.say("lost")


def test_what_waits_in_a_broken_pipe_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    end, other = os.pipe()
    os.close(end)
    with open(other, "w", encoding="utf-8") as stream:  # noqa: PTH123 (a number, not a path)
        monkeypatch.setattr(sys, "stdout", stream)
        shell.say("lost")
        shell.say("lost again")


def test_a_letter_that_the_stream_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(taken, encoding="ascii"))
    shell.say("3 × 4, caf\udce9")
    assert taken.getvalue() == b"3 \\xd7 4, caf\\udce9\n"


def test_a_terminal_that_is_gone_ends_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Failing(errno.EIO))
    draw = shell.progress("train", "networks")
    draw(1, 2)
    draw(2, 2)
    monkeypatch.setattr(sys, "stderr", None)
    shell.progress("train", "networks")(2, 2)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_one_line(
    number: signal.Signals, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("biosig_mtl.data.manifest.names", lambda: os.kill(os.getpid(), number))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left:
        cli.main(["data", "list"])
    assert left.value.code == code
    assert capsys.readouterr().err == f"biosig-mtl: {cli.STOPPED}\n"
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_thread_leaves_signals_alone(capsys: pytest.CaptureFixture[str]) -> None:
    codes: list[Any] = []

    def call() -> None:
        with pytest.raises(SystemExit) as left:
            cli.main(["data", "describe", "simulated_bp"])
        codes.append(left.value.code)

    one = threading.Thread(target=call)
    one.start()
    one.join()
    assert codes == [0]
    assert "SIMULATED" in capsys.readouterr().out


def test_memory_that_runs_out_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise MemoryError

    monkeypatch.setattr("biosig_mtl.data.manifest.names", full)
    with pytest.raises(SystemExit) as left:
        cli.main(["data", "list"])
    assert left.value.code == 3
    assert "not enough memory" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------------ no files
def test_what_is_no_file_is_told_as_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name, told in {
        "pipe": "is a pipe or a device, not a file",
        "loop": "not readable: Too many levels of symbolic links",
        "dangling": "is a link that leads to no file; fetch what it stands for",
        "none": "no such file",
        "x\0y": "no such file",
        ".": "is a folder",
    }.items():
        with pytest.raises(DataError, match=told):
            check_file(tmp_path / name)


def test_a_pattern_finds_links_that_lead_nowhere(tmp_path: Path) -> None:
    """A record of git-annex that was not fetched is missing, not absent."""
    one = manifest.load("ptt_ppg")
    place = tmp_path / "set"
    for name in ("s1_walk", "s2_walk", "s3_walk"):
        path = place / f"{name}.hea"
        path.parent.mkdir(exist_ok=True)
        path.symlink_to("../annex/gone") if name == "s2_walk" else path.write_text("x", encoding="utf-8")
    (place / "s4_walk.hea").mkdir()
    os.mkfifo(place / "s5_walk.hea")
    found = listing.entries(one, place)
    told = {item.record: item.reason for item in found.rejected}
    assert "leads to no file" in told["s2_walk"]
    assert "is a pipe or a device" in told["s5_walk"]
    assert {entry.record for entry in found.entries} == {"s1_walk", "s3_walk"}
