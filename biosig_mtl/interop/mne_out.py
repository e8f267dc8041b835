"""Our records and windows → Raw and Epochs of mne."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from biosig_mtl.interop.mne_in import LABEL, STIMULUS
from biosig_mtl.interop.mne_words import USUAL, scale_of, told
from biosig_mtl.interop.tables import to_pandas
from biosig_mtl.types import EMPTY, F64, Bool, Channel, ChannelInfo, DataError, Record, Windows

GAP = "BAD_missing"
BOUNDARY = "EDGE boundary"


def to_mne(value: Record | Windows, channels: Sequence[str] | None = None, units: Mapping[str, str] = EMPTY) -> Any:
    """Return a RawArray of a record, or an EpochsArray of windows.

    Values are in the units of mne: volt, siemens, °C; what is none of these is of type ``misc``, as it is. Kinds and units go
    into ``info["description"]``, so that `from_mne` gives them back.

    Of a record: the stimulus, the labels and seams become annotations, and so do gaps (``BAD_missing``), which stay NaN.
    Times count from the start of the record value. Of windows: onsets become events, and targets, quality and facts metadata.

    Parameters
    ----------
    value
        What to turn.
    channels
        Names of some of its channels; None: all.
    units
        Units of the channels of windows, which carry none; None told: µV (EEG, EOG, EMG), mV (ECG), µS, °C.

    Raises
    ------
    DataError
        A channel is not there, the channels have several rates (mne knows one a recording), or there is no window.
    """
    return _raw(value, channels) if isinstance(value, Record) else _epochs(value, channels, units)


def _raw(record: Record, channels: Sequence[str] | None) -> Any:
    import mne

    chosen = {name: record.channel(name) for name in (record.channels if channels is None else channels)}
    _need_one_rate(record.name, chosen)
    fs = next(iter(chosen.values())).fs
    info, factors = _info(chosen, fs, record.subject)
    size = max(channel.samples.size for channel in chosen.values())
    values = np.full((len(chosen), size), np.nan)
    for n, (channel, factor) in enumerate(zip(chosen.values(), factors, strict=True)):
        values[n, : channel.samples.size] = channel.samples.astype(np.float64) * factor
    raw = mne.io.RawArray(values, info, verbose="ERROR")
    marks = _marks(record, size / fs) + [(at / fs, length / fs, GAP) for at, length in _gaps(np.isnan(values).any(axis=0))]
    if marks:
        onset, duration, text = zip(*marks, strict=True)
        raw.set_annotations(mne.Annotations(onset, duration, text), verbose="ERROR")
    return raw


def _epochs(windows: Windows, channels: Sequence[str] | None, units: Mapping[str, str]) -> Any:
    import mne

    if not len(windows):
        raise DataError(f"{windows.record}: has no windows: mne knows no empty epochs")
    names = windows.channels if channels is None else tuple(channels)
    kinds = dict(zip(windows.channels, windows.kinds, strict=True))
    each = [windows.channel(name) for name in names]
    infos = {n: ChannelInfo(n, kinds[n], units.get(n, USUAL.get(kinds[n], "")), windows.fs) for n in names}
    info, factors = _info(infos, windows.fs, windows.subject)
    events = np.zeros((len(windows), 3), np.int64)
    events[:, 0], events[:, 2] = np.rint(windows.onset_s * windows.fs), 1
    values = np.stack([signal * factor for signal, factor in zip(each, factors, strict=True)], axis=1, dtype=np.float64)
    return mne.EpochsArray(
        values, info, events, tmin=0.0, event_id={windows.stimulus or "window": 1}, metadata=to_pandas(windows),
        baseline=None, verbose="ERROR",
    )  # fmt: skip


def _need_one_rate(where: str, chosen: Mapping[str, Channel]) -> None:
    if not chosen:
        raise DataError(f"{where}: has no channels to give to mne")
    if len({channel.fs for channel in chosen.values()}) > 1:
        rates = ", ".join(f"{name} {channel.fs:g} Hz" for name, channel in chosen.items())
        raise DataError(f"{where}: mne knows one rate a recording, got {rates}; name channels of one rate, or resample first")


def _info(chosen: Mapping[str, Channel | ChannelInfo], fs: float, subject: str) -> tuple[Any, F64]:
    import mne

    types, factors = zip(*(scale_of(channel.kind, channel.unit) for channel in chosen.values()), strict=True)
    info = mne.create_info(list(chosen), fs, list(types), verbose="ERROR")
    info["description"] = told(chosen)
    info["subject_info"] = {"his_id": subject}
    return info, np.array(factors)


def _marks(record: Record, length_s: float) -> list[tuple[float, float, str]]:
    """Return what is told of a record as onset, duration and text; an asterisk marks a label of the whole record."""
    marks = [(0.0, length_s, STIMULUS + record.stimulus)] if record.stimulus else []
    for label in record.labels:
        whole = label.time_s is None
        at = 0.0 if label.time_s is None else label.time_s - record.start_s
        text = f"{LABEL}{label.name}={label.value!r} {label.unit}{'*' if whole else ''} {label.source}"
        marks.append((at, length_s if whole else 0.0, text))
    inside = record.seams_s - record.start_s
    return marks + [(float(at), 0.0, BOUNDARY) for at in inside if 0 < at < length_s]


def _gaps(missing: Bool) -> list[tuple[int, int]]:
    """Return first sample and length of every run of missing samples."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
    return [(int(a), int(b - a)) for a, b in edges.reshape(-1, 2)]
