"""Headers of WFDB records, read without their samples.

Written from the format's own description (WFDB Applications Guide, *header(5)*). ``wfdb.rdheader`` needs ten times as long and
believes what it reads; a stay of a day may consist of a thousand headers.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from biosig_mtl.data.readers.files import check_file, read_start
from biosig_mtl.data.readers.quoting import shape
from biosig_mtl.data.readers.source import plain_text
from biosig_mtl.types import DataError

# Numbers of more digits are no lengths of anything.
_COUNT = r"\d{1,18}"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RECORD = re.compile(
    rf"(?P<name>[^\s/]+)(?:/(?P<segments>{_COUNT}))?\s+(?P<signals>{_COUNT})"
    rf"(?:\s+(?P<fs>{_NUMBER})(?:/\S+)?(?:\s+(?P<frames>{_COUNT})(?:\s+(?P<time>[\d:.]+)(?:\s+(?P<date>[\d/]+))?)?)?)?\s*"
)
_FORMAT = re.compile(rf"(?P<fmt>\d{{1,4}})(?:x(?P<spf>{_COUNT}))?(?::(?P<skew>{_COUNT}))?(?:\+(?P<offset>{_COUNT}))?")
_GAIN = re.compile(rf"(?P<gain>{_NUMBER})(?:\((?P<baseline>-?{_COUNT})\))?(?:/(?P<unit>\S+))?")
_PLAIN_NAME = re.compile(r"[\w\-+][\w.\-+]{0,200}")
_CLOCK = re.compile(r"(?:\d{1,4}:){0,2}\d{1,9}(?:\.\d{0,9})?")
# The master of a stay of weeks has some 100 KiB.
_MOST_BYTES = 4 << 20
_SLOWEST_HZ, _FASTEST_HZ = 1e-6, 1e7
# A stored value has at most 32 bits; scaled it must fit into single precision.
_LARGEST_STORED = 2**31
_LARGEST_SAMPLE = 1e38


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
    raw = read_start(path, _MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise DataError(f"{path}: not a WFDB header: it is larger than {_MOST_BYTES} bytes")
    text = raw.decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    found = _RECORD.fullmatch(lines[0]) if lines else None
    if found is None:
        raise DataError(f"{path}: not a WFDB header: its first line has no record name and number of signals")
    fs = float(found["fs"] or 250.0)
    if not _SLOWEST_HZ <= fs <= _FASTEST_HZ:
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
        raise DataError(f"{path}: line of signal {number + 1} is not readable: '{shape(line)}'")
    # ADC resolution, ADC zero, initial value.
    zero, initial = (int(w) if re.fullmatch(rf"-?{_COUNT}", w) else 0 for w in [*words[4:6], "", ""][:2])
    value = float(gain["gain"]) if gain else 0.0
    signal = Signal(
        file=words[0] if words[0] == "~" else _plain(words[0], path),
        fmt=form["fmt"],
        samples_per_frame=int(form["spf"] or 1) or 1,
        skew=int(form["skew"] or 0),
        byte_offset=int(form["offset"] or 0),
        gain=value or 200.0,  # 0 means "not calibrated"; the format then prescribes 200
        baseline=int(gain["baseline"]) if gain and gain["baseline"] else zero,
        unit=plain_text((gain["unit"] if gain else None) or "mV"),
        initial=initial,
        name=plain_text(words[8]) if len(words) > 8 else f"signal_{number + 1}",
    )
    if not _sensible(signal):
        raise DataError(f"{path}: line of signal {number + 1} holds numbers that no recording has: '{shape(line)}'")
    return signal


def _sensible(signal: Signal) -> bool:
    whole = max(abs(signal.baseline), abs(signal.initial), signal.skew, signal.samples_per_frame) <= _LARGEST_STORED
    return whole and math.isfinite(signal.gain) and _LARGEST_SAMPLE * abs(signal.gain) > 2 * _LARGEST_STORED


def beside(path: Path, name: str) -> Path:
    """Return the file of that name beside a header.

    A link is followed where it stays in the folder of the header (or of the file that the header itself is a link to), or
    leads into the store of git-annex: sets that are kept with it consist of such links.

    Raises
    ------
    DataError
        The file is a link that leads elsewhere: the samples would be any file that the reader may open. Or no file can be
        called so.
    """
    try:
        found = path.with_name(name)
        if not found.is_symlink():
            return found
        target = found.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: refers to '{name[:80]}'; no file can be called so") from error
    if target.parent in {path.parent.resolve(), path.resolve().parent} or _annexed(path, target):
        return found
    raise DataError(f"{found}: is a link out of its folder, which is not followed; copy the file, or link the whole folder")


def _annexed(path: Path, target: Path) -> bool:
    return any(target.is_relative_to(folder / ".git" / "annex" / "objects") for folder in path.parent.resolve().parents) or (
        target.is_relative_to(path.parent.resolve() / ".git" / "annex" / "objects")
    )


def _segment(line: str, path: Path) -> tuple[str, int]:
    words = line.split()
    if len(words) != 2 or not re.fullmatch(_COUNT, words[1]):
        raise DataError(f"{path}: line of a segment is not readable: '{shape(line)}'")
    return (words[0] if words[0] == "~" else _plain(words[0], path)), int(words[1])


def _plain(name: str, path: Path) -> str:
    """Refuse names that lead out of the folder of the header."""
    if not _PLAIN_NAME.fullmatch(name):
        raise DataError(f"{path}: refers to '{name[:80]}'; only files beside the header are read")
    return name


def _clock(text: str | None) -> float | None:
    """Return the base time as seconds of the day."""
    if not _CLOCK.fullmatch(text or ""):
        return None
    seconds = [float(part) for part in (text or "").split(":")]
    return sum(s * 60.0**n for n, s in enumerate(reversed(seconds)))
