"""Jobs whose pieces kill, hang or tire their worker by name. Workers in other processes import this file."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from biosig_mtl.pipeline.engines import crumbs
from biosig_mtl.types import DataError


@dataclass(frozen=True)
class StubPiece:
    """A piece that does what its name says."""

    name: str


@dataclass(frozen=True)
class StubJob:
    """What an engine needs to know of a lot."""

    folder: Path
    number: int
    pieces: tuple[StubPiece, ...]
    skip: Mapping[int, str] = field(default_factory=dict)
    run: str = "0a0a"
    limit_s: float | None = None


def lots_of(folder: Path, *names: Iterable[str], limit_s: float | None = None) -> list[StubJob]:
    """Return a job for every list of names."""
    (folder / "lots").mkdir(exist_ok=True)
    return [
        StubJob(folder, i, tuple(StubPiece(name) for name in lot), limit_s=limit_s) for i, lot in enumerate(map(list, names))
    ]


def work(job: StubJob) -> tuple[int, tuple[str, ...]]:
    """Do what the names of the pieces say; return the number of the lot and what was kept."""
    kept = []
    with crumbs.crumb(job.folder, job.number, job.run, job.limit_s) as crumb:
        for position, piece in enumerate(job.pieces):
            crumb.hold(position)
            if position not in job.skip:
                _do(piece.name, job.folder)
                kept.append(piece.name)
        crumb.hold(crumbs.WRITING)
        if any(piece.name.startswith("heavy") for piece in job.pieces):
            os.kill(os.getpid(), signal.SIGKILL)
    (job.folder / f"{job.number}.done").write_text(" ".join(kept))
    return job.number, tuple(kept)


def never_begins(_job: StubJob) -> None:
    """Die before there is a crumb."""
    os._exit(7)


def _do(name: str, folder: Path) -> None:
    word = name.partition("-")[0]
    if word in DEEDS:
        DEEDS[word](folder / f"{name}.met")


def _once(marker: Path) -> None:
    if not marker.exists():
        marker.touch()
        _kill(marker)


def _kill(_marker: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _raise(error: BaseException) -> None:
    raise error


DEEDS: dict[str, Callable[[Path], object]] = {
    "once": _once,
    "kill": _kill,
    "crash": lambda _marker: os._exit(70),
    "hang": lambda _marker: time.sleep(60),
    "slow": lambda _marker: time.sleep(0.05),
    "hungry": lambda _marker: _raise(MemoryError()),
    "full": lambda _marker: _raise(DataError("lots: cannot be written: No space left on device")),
    "bug": lambda _marker: _raise(ZeroDivisionError("nobody foresaw it")),
}


def nothing(job: StubJob) -> int:
    """Do nothing."""
    return job.number
