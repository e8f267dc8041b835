"""Headers of WFDB records, read without their samples.

Written from the format's own description (WFDB Applications Guide, *header(5)*). ``wfdb.rdheader`` needs ten times as long and
believes what it reads; a stay of a day may consist of a thousand headers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from biosig_mtl.data.readers.files import check_file
from biosig_mtl.types import DataError

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RECORD = re.compile(
    rf"(?P<name>[^\s/]+)(?:/(?P<segments>\d+))?\s+(?P<signals>\d+)"
    rf"(?:\s+(?P<fs>{_NUMBER})(?:/\S+)?(?:\s+(?P<frames>\d+)(?:\s+(?P<time>[\d:.]+)(?:\s+(?P<date>[\d/]+))?)?)?)?\s*"
)
_FORMAT = re.compile(r"(?P<fmt>\d+)(?:x(?P<spf>\d+))?(?::(?P<skew>\d+))?(?:\+(?P<offset>\d+))?")
_GAIN = re.compile(rf"(?P<gain>{_NUMBER})(?:\((?P<baseline>-?\d+)\))?(?:/(?P<unit>\S+))?")
_PLAIN_NAME = re.compile(r"[\w\-+][\w.\-+]*")


@dataclass(frozen=True, slots=True)
class Signal:
    """One line of a header: where the samples of a signal lie and how to scale them."""

    file: str
    fmt: str
    samples_per_frame: int
    skew: int
    byte_offset: int
    gain: float
    baseline: int
    unit: str
    initial: int
    name: str


@dataclass(frozen=True, slots=True)
class Header:
    """One header. ``frames`` is 0 where the header does not say; ``segments`` are (name, frames), "~" for a gap."""

    path: Path
    name: str
    fs: float
    frames: int
    signals: tuple[Signal, ...]
    segments: tuple[tuple[str, int], ...] = ()
    clock_s: float | None = None


def read_header(path: Path) -> Header:
    """Read one ``.hea`` file; raise `DataError` that names it where it is no header."""
    check_file(path)
    text = path.read_bytes().decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    found = _RECORD.fullmatch(lines[0]) if lines else None
    if found is None:
        raise DataError(f"{path}: not a WFDB header: its first line has no record name and number of signals")
    fs = float(found["fs"] or 250.0)
    if fs <= 0:
        raise DataError(f"{path}: the header claims a sampling rate of {fs:g} Hz")
    count = int(found["segments"] or found["signals"])
    if len(lines) - 1 < count:
        what = "segments" if found["segments"] else "signals"
        raise DataError(f"{path}: the header promises {count} {what} and lists {len(lines) - 1}")
    body = lines[1 : count + 1]
    return Header(
        path=path,
        name=path.stem,
        fs=fs,
        frames=int(found["frames"] or 0),
        signals=() if found["segments"] else tuple(_signal(line, path, n) for n, line in enumerate(body)),
        segments=tuple(_segment(line, path) for line in body) if found["segments"] else (),
        clock_s=_clock(found["time"]),
    )


def _signal(line: str, path: Path, number: int) -> Signal:
    words = line.split(maxsplit=8)
    form = _FORMAT.fullmatch(words[1]) if len(words) > 1 else None
    gain = _GAIN.fullmatch(words[2]) if len(words) > 2 else None
    if form is None or (len(words) > 2 and gain is None):
        raise DataError(f"{path}: line of signal {number + 1} is not readable: '{line[:60]}'")
    # ADC resolution, ADC zero, initial value.
    zero, initial = (int(w) if re.fullmatch(r"-?\d+", w) else 0 for w in [*words[4:6], "", ""][:2])
    value = float(gain["gain"]) if gain else 0.0
    return Signal(
        file=words[0] if words[0] == "~" else _plain(words[0], path),
        fmt=form["fmt"],
        samples_per_frame=int(form["spf"] or 1) or 1,
        skew=int(form["skew"] or 0),
        byte_offset=int(form["offset"] or 0),
        gain=value or 200.0,  # 0 means "not calibrated"; the format then prescribes 200
        baseline=int(gain["baseline"]) if gain and gain["baseline"] else zero,
        unit=(gain["unit"] if gain else None) or "mV",
        initial=initial,
        name=words[8].strip() if len(words) > 8 else f"signal_{number + 1}",
    )


def _segment(line: str, path: Path) -> tuple[str, int]:
    words = line.split()
    if len(words) != 2 or not words[1].isdigit():
        raise DataError(f"{path}: line of a segment is not readable: '{line[:60]}'")
    return (words[0] if words[0] == "~" else _plain(words[0], path)), int(words[1])


def _plain(name: str, path: Path) -> str:
    """Refuse names that lead out of the folder of the header."""
    if not _PLAIN_NAME.fullmatch(name):
        raise DataError(f"{path}: refers to '{name}'; only files beside the header are read")
    return name


def _clock(text: str | None) -> float | None:
    """Return the base time as seconds of the day."""
    parts = (text or "").split(":")
    try:
        seconds = [float(p) for p in parts]
    except ValueError:
        return None
    return sum(s * 60.0**n for n, s in enumerate(reversed(seconds)))
