"""EDF, EDF+ and BDF, read in place.

``mne`` brings all channels to the fastest rate and cannot say what a truncated file still holds, so these are read directly,
from the specifications (Kemp 1992; EDF+ 2003; BDF of BioSemi). The tests compare the samples with those of mne.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from biosig_mtl.data.readers.channels import match
from biosig_mtl.data.readers.files import check_file, read_start
from biosig_mtl.data.readers.quoting import shape
from biosig_mtl.data.readers.source import LazySource, plain_text
from biosig_mtl.types import F32, F64, I64, ChannelInfo, DataError, Entry

_ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
# Widths of the header's columns: label, transducer, unit, physical min and max, digital min and max, filter, samples, reserved.
_WIDTHS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
_LARGEST = 1e30
# The count of signals has four places; a recording of a year at 1 MHz has fewer than this many samples a second.
_MOST_SIGNALS = 9999
_FASTEST_HZ = 1e7
_LARGEST_SAMPLE = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class _Signal:
    label: str
    unit: str
    gain: float
    offset: float
    samples: int  # in one data record
    at: int  # first sample within a data record


@dataclass(frozen=True, slots=True)
class _Layout:
    path: Path
    start: int  # bytes of the header
    width: int  # bytes of a sample
    records: int
    seconds: float  # of a data record
    signals: tuple[_Signal, ...]
    interrupted: bool

    @property
    def record_samples(self) -> int:
        return sum(s.samples for s in self.signals)

    def onsets(self) -> F64:
        """Return when each data record began, in seconds, as its first annotation says (EDF+ §2.2.4)."""
        stamps = next((s for s in self.signals if s.label in _ANNOTATIONS), None)
        if stamps is None:
            return np.empty(0)
        found = np.full(self.records, np.nan)
        with self.path.open("rb") as stream:
            for number in range(self.records):
                stream.seek(self.start + (number * self.record_samples + stamps.at) * self.width)
                text = stream.read(stamps.samples * self.width).split(b"\x14")[0].split(b"\x15")[0]
                onset = _onset(text)
                found[number] = onset if abs(onset) < _LARGEST else np.nan
        return found


def _onset(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def open_edf(entry: Entry) -> LazySource:
    """Open a recording in EDF or BDF. Every channel keeps its own rate; a truncated file is read as far as it goes."""
    layout, notes = _layout(entry.path)
    data = [s for s in layout.signals if s.label not in _ANNOTATIONS and s.samples]
    if not data:
        raise DataError(f"{entry.path}: has no channels besides annotations")
    chosen = match([s.label for s in data], entry.channels, str(entry.path))
    wanted = {ours: data[position] for ours, (_, position) in chosen.items()}
    # Frames as fine as all chosen rates allow: parts may then begin at any of them, not only at whole data records.
    per_record = int(np.gcd.reduce([s.samples for s in wanted.values()]))
    seams = _seams(layout)
    if seams.size:
        notes = (*notes, f"{entry.path.name}: {seams.size} interruptions; the time between them is left out")
    return LazySource(
        entry=entry,
        channels={ours: ChannelInfo(ours, chosen[ours][0], s.unit, s.samples / layout.seconds) for ours, s in wanted.items()},
        source_names={ours: s.label for ours, s in wanted.items()},
        fs=per_record / layout.seconds,
        frames=layout.records * per_record,
        fetch=lambda first, stop: _fetch(layout, wanted, per_record, first, stop),
        seams_s=seams,
        notes=notes,
    )


def read_codes(path: Path, label: str = "Status") -> tuple[I64, float]:
    """Return the stored whole numbers of one signal, without scaling, and their rate: the marks of a BioSemi recording.

    The low eight bits are the code; the bits above are the state of the amplifier (BioSemi, *BDF format*), so mask with 0xFF.

    Raises
    ------
    DataError
        The file is not readable, or has no signal of that name.
    """
    layout, _ = _layout(path)
    found = [s for s in layout.signals if s.label.lower() == label.lower() and s.samples]
    if not found:
        raise DataError(f"{path}: has no signal '{label}'; it has {', '.join(s.label for s in layout.signals)}")
    signal, stride = found[0], layout.record_samples * layout.width
    # Mapped: of every data record only this signal's pages are read.
    mapped = np.memmap(layout.path, np.uint8, "r", layout.start, (layout.records, stride))
    part = np.array(mapped[:, signal.at * layout.width : (signal.at + signal.samples) * layout.width])
    return _integers(part, layout.width).astype(np.int64), signal.samples / layout.seconds


def _layout(path: Path) -> tuple[_Layout, tuple[str, ...]]:
    size = check_file(path)
    head = read_start(path, 256)
    bdf = head[:1] == b"\xff"
    if not (bdf or head[:8].strip() == b"0") or len(head) < 256:
        raise DataError(f"{path}: is no EDF or BDF file, or ends within its header")
    start, promised = _integer(head[184:192], path), _integer(head[236:244], path)
    seconds = _decimal(head[244:252], path)
    signals = _described(path, size, start, _integer(head[252:256], path))
    width = 3 if bdf else 2
    record_bytes = width * sum(s.samples for s in signals)
    if record_bytes == 0 or not seconds > 0:
        raise DataError(f"{path}: data records of {seconds:g} s with {record_bytes} bytes cannot be read")
    if max(s.samples for s in signals) / seconds > _FASTEST_HZ:
        raise DataError(f"{path}: data records of {seconds:g} s would mean more than {_FASTEST_HZ:g} samples a second")
    held = (size - start) // record_bytes
    notes: tuple[str, ...] = ()
    if promised < 0:
        notes = (f"{path.name}: was never closed; it holds {held} data records",)
    elif held < promised:
        notes = (f"{path.name}: holds {held} of {promised} data records, {1 - held / promised:.0%} are missing",)
    records = held if promised < 0 else min(held, promised)
    if records == 0:
        raise DataError(f"{path}: holds no complete data record")
    interrupted = head[192:197] in {b"EDF+D", b"BDF+D"}
    return _Layout(path, start, width, records, seconds, signals, interrupted), notes


def _described(path: Path, size: int, start: int, count: int) -> tuple[_Signal, ...]:
    """Return the signals of a header; nothing is read for a number of them that its four places cannot hold."""
    body = read_start(path, 256 * (count + 1))[256:] if 1 <= count <= _MOST_SIGNALS else b""
    if len(body) < 256 * count or size < start or not body:
        raise DataError(f"{path}: ends within its header ({size} of {start} bytes)")
    if start < 256 * (count + 1):
        raise DataError(f"{path}: the header of {count} signals claims only {start} bytes")
    return _signals(body, count, path)


def _signals(body: bytes, count: int, path: Path) -> tuple[_Signal, ...]:
    columns, at = [], 0
    for width in _WIDTHS:
        columns.append([body[at + n * width : at + (n + 1) * width] for n in range(count)])
        at += width * count
    labels, _, units, low, high, digital_low, digital_high, _, samples, _ = columns
    signals, first = [], 0
    for n in range(count):
        physical = [_decimal(w, path) for w in (low[n], high[n])]
        digital = [_decimal(w, path) for w in (digital_low[n], digital_high[n])]
        span = digital[1] - digital[0]
        # Some writers leave the range empty: the samples are then read as they are stored.
        gain = (physical[1] - physical[0]) / span if span and physical[1] != physical[0] else 1.0
        offset = physical[0] - gain * digital[0] if gain != 1.0 or span else 0.0
        length = _integer(samples[n], path)
        if length < 0:
            raise DataError(f"{path}: signal {n + 1} claims {length} samples in a data record")
        if not abs(gain) * 2.0**23 + abs(offset) < _LARGEST_SAMPLE:
            raise DataError(f"{path}: signal {n + 1} has a range that makes no samples: {physical} for {digital}")
        signals.append(_Signal(_text(labels[n]), _text(units[n]), gain, offset, length, first))
        first += length
    return tuple(signals)


def _text(word: bytes) -> str:
    # The standard says ASCII; files with UTF-8 or Latin-1 labels are common.
    try:
        return plain_text(word.decode("utf-8"))
    except UnicodeDecodeError:
        return plain_text(word.decode("latin-1"))


def _integer(word: bytes, path: Path) -> int:
    return int(_decimal(word, path))


def _decimal(word: bytes, path: Path) -> float:
    try:
        value = float(word.replace(b",", b".").strip(b" \0") or b"0")
    except ValueError as error:
        raise DataError(f"{path}: header holds '{shape(word.decode('latin-1'))}' where a number belongs") from error
    # Larger ones are no quantity: samples made of them would not fit into single precision.
    if not abs(value) < _LARGEST:
        raise DataError(f"{path}: header holds '{shape(word.decode('latin-1'))}' where a number belongs")
    return value


def _seams(layout: _Layout) -> F64:
    if not layout.interrupted:
        return np.empty(0)
    onsets = layout.onsets()
    jumps = np.flatnonzero(np.abs(np.diff(onsets) - layout.seconds) > 1e-3) + 1
    return np.asarray(jumps * layout.seconds, np.float64)


def _fetch(layout: _Layout, wanted: Mapping[str, _Signal], per_record: int, first: int, stop: int) -> dict[str, F32]:
    begin, end = first // per_record, -(-stop // per_record)
    stride = layout.record_samples * layout.width
    raw = np.fromfile(layout.path, np.uint8, max(end - begin, 0) * stride, offset=layout.start + begin * stride)
    records = raw[: raw.size // stride * stride].reshape(-1, stride)
    if len(records) < end - begin:
        raise DataError(f"{layout.path}: became shorter while it was read")
    out = {}
    for ours, signal in wanted.items():
        part = records[:, signal.at * layout.width : (signal.at + signal.samples) * layout.width]
        step = signal.samples // per_record
        trimmed: F64 = _integers(part, layout.width)[(first - begin * per_record) * step :][: (stop - first) * step]
        out[ours] = (trimmed * signal.gain + signal.offset).astype(np.float32)
    return out


def _integers(part: np.ndarray[tuple[int, int], np.dtype[np.uint8]], width: int) -> F64:
    if width == 2:
        return np.ascontiguousarray(part).view("<i2").reshape(-1).astype(np.float64)
    # Three bytes become the upper three of four, so that the sign comes out right.
    wide = np.zeros((part.shape[0], part.shape[1] // 3, 4), np.uint8)
    wide[:, :, 1:] = part.reshape(part.shape[0], part.shape[1] // 3, 3)
    values: F64 = (wide.view("<i4").reshape(-1) >> 8).astype(np.float64)
    return values
