"""EEGLAB ``.set`` (with its ``.fdt``), read in place by our own reader of MATLAB v5.

mne hands a ``.set`` to scipy, which a single changed tag makes end the process (scipy#25829), and follows the name of the file
of samples wherever it leads. The layout is EEGLAB's own (*EEGLAB data structures*, ``eeg_checkset``): a struct ``EEG``, or its
fields as variables; samples in µV, channel by channel of each sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from biosig_mtl.data.mat5 import Mat, open_mat5
from biosig_mtl.data.readers.channels import match
from biosig_mtl.data.readers.files import check_file
from biosig_mtl.data.readers.samples import as_samples
from biosig_mtl.data.readers.source import LazySource, plain_text
from biosig_mtl.data.readers.wfdb_header import beside
from biosig_mtl.types import F32, F64, ChannelInfo, DataError, Entry

_MOST_CHANNELS = 10_000
_SLOWEST_HZ, _FASTEST_HZ = 1e-3, 1e7
_Lookup = Callable[[str], Mat | None]


def open_eeglab(entry: Entry) -> LazySource:
    """Open a continuous recording of EEGLAB; samples are read part by part, voltages are given in µV.

    Raises
    ------
    DataError
        The file is no MATLAB v5, holds epochs, or brings fewer samples than it claims; its samples lie outside of its folder.
    """
    path = entry.path
    get = _lookup(path)
    if (trials := _number(get("trials"), 1)) != 1:
        raise DataError(f"{path}: holds {trials:g} epochs; only continuous recordings are read")
    fs, count = _number(get("srate"), 0), int(_number(get("nbchan"), 1))
    if not (_SLOWEST_HZ <= fs <= _FASTEST_HZ and 0 < count <= _MOST_CHANNELS):
        raise DataError(f"{path}: claims {count} channels at {fs:g} Hz")
    frames, samples = _samples(path, get("data"), count)
    claimed = _number(get("pnts"), frames)
    names = _names(get("chanlocs"), count)
    chosen = match(names, entry.channels, str(path))
    rows = {ours: position for ours, (_, position) in chosen.items()}

    def fetch(first: int, stop: int) -> dict[str, F32]:
        with np.errstate(invalid="ignore"):
            part = samples(first, stop)
        return {ours: as_samples(part[row]) for ours, row in rows.items()}

    short = claimed != frames
    return LazySource(
        entry=entry,
        channels={ours: ChannelInfo(ours, chosen[ours][0], "uV", fs) for ours in rows},
        source_names={ours: names[row] for ours, row in rows.items()},
        fs=fs,
        frames=frames,
        fetch=fetch,
        seams_s=_seams(get("event"), fs, frames),
        notes=(f"{path.name}: claims {claimed:g} samples and holds {frames}",) if short else (),
    )


def _lookup(path: Path) -> _Lookup:
    """Return the fields of the recording by name, whichever way it was saved."""
    file = open_mat5(path)
    if "EEG" in file.names:
        whole = file["EEG"]
        return lambda name: whole[name] if len(whole.fields.get(name, ())) == 1 else None
    if "data" not in file.names:
        raise DataError(f"{path}: is no recording of EEGLAB; it has {', '.join(file.names) or 'nothing'}")
    return lambda name: file[name] if name in file.names else None


def _number(value: Mat | None, default: float) -> float:
    if value is None or value.kind != "numbers":
        return default
    numbers = value.array().reshape(-1)
    return float(numbers[0]) if numbers.size == 1 and np.isfinite(numbers[0]) else default


def _names(places: Mat | None, count: int) -> list[str]:
    labels = places.fields.get("labels", ()) if places is not None else ()
    known = [plain_text(label.text()) if label.kind == "text" else "" for label in labels[:count]]
    # Named as mne names them.
    return [name or f"EEG {n:03d}" for n, name in enumerate([*known, *[""] * (count - len(known))])]


def _samples(path: Path, data: Mat | None, count: int) -> tuple[int, Callable[[int, int], F64]]:
    """Return how many samples of each channel there are, and how to read some: shape (channel, sample)."""
    if data is not None and data.kind == "text":
        return _beside(path, data.text(), count)
    if data is None or data.kind != "numbers" or len(data.shape) != 2 or data.shape[0] != count:
        shape = "none" if data is None else f"{data.kind} of shape {data.shape}"
        raise DataError(f"{path}: needs samples of {count} channels, got {shape}")
    return data.shape[1], lambda first, stop: data.columns(first, stop).astype(np.float64)


def _beside(path: Path, name: str, count: int) -> tuple[int, Callable[[int, int], F64]]:
    if PurePosixPath(name).name != name or not name.isprintable() or "\\" in name or not name.endswith((".fdt", ".set")):
        raise DataError(f"{path}: refers to '{name}'; only a .fdt beside it is read")
    # Renamed pairs still name each other by the old name; EEGLAB and mne then take the file that is called like the .set.
    found = beside(path, name)
    found = found if found.is_file() else beside(path, f"{path.stem}.fdt")
    frames = check_file(found) // (4 * count)
    if found.suffix != ".fdt" or not frames:
        raise DataError(f"{path}: its samples in {found.name} are none")

    def read(first: int, stop: int) -> F64:
        raw = np.fromfile(found, "<f4", (stop - first) * count, offset=4 * first * count)
        if raw.size < (stop - first) * count:
            raise DataError(f"{found}: became shorter while it was read")
        return raw.reshape(-1, count).T.astype(np.float64)

    return frames, read


def _seams(events: Mat | None, fs: float, frames: int) -> F64:
    """Return where the recording was interrupted: EEGLAB marks it by an event called boundary, counted from sample 1."""
    fields: Mapping[str, tuple[Mat, ...]] = events.fields if events is not None else {}
    pairs = zip(fields.get("type", ()), fields.get("latency", ()), strict=False)
    at = [_number(when, np.nan) for what, when in pairs if what.kind == "text" and "boundary" in what.text().lower()]
    inside = [(a - 1) / fs for a in at if np.isfinite(a)]
    return np.unique(np.clip(np.array(inside, np.float64), 0, frames / fs))
