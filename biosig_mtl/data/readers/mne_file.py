"""BrainVision, FIF and the other containers that mne reads without loading them."""

from __future__ import annotations

import configparser
import re
import struct
import warnings
from typing import Any

import numpy as np

from biosig_mtl.data.readers.channels import match
from biosig_mtl.data.readers.files import check_file
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.types import F32, F64, ChannelInfo, DataError, Entry

SUFFIXES = (".vhdr", ".fif", ".fif.gz", ".set", ".cnt", ".gdf")
# FIF alone says of each channel what it is; in the other containers mne takes what it does not know for EEG.
_KINDS = {"eeg": "eeg", "ecg": "ecg", "eog": "eog", "emg": "emg", "gsr": "eda", "resp": "resp", "temperature": "temp"}
_LOSS = re.compile(r"truncat|incomplete|corrupt|outside|expanding|missing", re.IGNORECASE)
# What mne (and what it stands on) raises on garbage.
_MNE_ERRORS = (
    configparser.Error,
    ValueError,
    OSError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    struct.error,
    SyntaxError,
)


def open_mne(entry: Entry) -> LazySource:
    """Open a recording with mne; samples are read part by part. Voltages are given in µV.

    ``mne`` knows one rate a file. Where mne says that something was cut, it is told in the notes. Without a map of channels
    their kind is guessed by name; a FIF file that says what a channel is is believed where the name says nothing.
    """
    check_file(entry.path)
    raw, notes = _open(entry)
    names = list(raw.ch_names)
    chosen = match(names, entry.channels, str(entry.path))
    if not entry.channels and entry.path.name.lower().endswith((".fif", ".fif.gz")):
        chosen = _typed(raw, chosen)
    rows = {ours: position for ours, (_, position) in chosen.items()}
    scales = {ours: _scale(raw, row) for ours, row in rows.items()}
    fs = float(raw.info["sfreq"])
    return LazySource(
        entry=entry,
        channels={ours: ChannelInfo(ours, chosen[ours][0], scales[ours][1], fs) for ours in rows},
        source_names={ours: names[row] for ours, row in rows.items()},
        fs=fs,
        frames=int(raw.n_times),
        fetch=lambda first, stop: _fetch(raw, entry, rows, {o: s for o, (s, _) in scales.items()}, (first, stop)),
        seams_s=_seams(raw),
        notes=notes,
    )


def _typed(raw: Any, chosen: dict[str, tuple[str, int]]) -> dict[str, tuple[str, int]]:
    """Add the channels whose name tells no kind and whose file does, under their own names."""
    known = {position for kind, position in chosen.values() if kind != "other"}
    said = {name: _KINDS.get(kind) for name, kind in zip(raw.ch_names, raw.get_channel_types(), strict=True)}
    more = {name: (kind, n) for n, (name, kind) in enumerate(said.items()) if kind and n not in known}
    return chosen | more


def _open(entry: Entry) -> tuple[Any, tuple[str, ...]]:
    import mne

    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            # At this level mne tells what it left out; below it keeps silent.
            raw = mne.io.read_raw(entry.path, preload=False, verbose="WARNING")
    except _MNE_ERRORS as error:
        raise DataError(f"{entry.path}: not readable: {str(error).splitlines()[0][:160] if str(error) else error!r}") from error
    texts = [" ".join(str(w.message).split())[:160] for w in said]
    told = [f"{entry.path.name}: {text}" for text in texts if _LOSS.search(text)]
    return raw, (*told, *_cut(entry, raw))


def _cut(entry: Entry, raw: Any) -> tuple[str, ...]:
    """Tell where the samples of a BrainVision recording end within a sample: mne drops the rest in silence."""
    samples = entry.path.with_suffix(".eeg")
    if entry.path.suffix != ".vhdr" or not samples.is_file() or not raw.n_times:
        return ()
    size = samples.stat().st_size
    # Two or four bytes a value: whatever is left over is a sample that was cut.
    width = size // (raw.n_times * len(raw.ch_names))
    rest = size - raw.n_times * len(raw.ch_names) * width
    return (f"{samples.name}: ends within a sample: it was cut",) if rest else ()


def _scale(raw: Any, row: int) -> tuple[float, str]:
    unit = int(raw.info["chs"][row]["unit"])
    # Codes of units in the FIF standard: volt, tesla, siemens, degree Celsius.
    known = {107: (1e6, "uV"), 112: (1e15, "fT"), 110: (1e6, "uS"), 114: (1.0, "degC")}
    return known.get(unit, (1.0, ""))


def _seams(raw: Any) -> F64:
    """Return where the recording was interrupted: mne marks glued parts as BAD boundary or EDGE boundary."""
    onsets = [float(a["onset"]) - raw.first_time for a in raw.annotations if "boundary" in str(a["description"]).lower()]
    return np.unique(np.clip(np.array(onsets, np.float64), 0, raw.n_times / raw.info["sfreq"]))


def _fetch(raw: Any, entry: Entry, rows: dict[str, int], scales: dict[str, float], part: tuple[int, int]) -> dict[str, F32]:
    first, stop = part
    if first >= stop:
        return {ours: np.empty(0, np.float32) for ours in rows}
    try:
        values = raw.get_data(picks=list(rows.values()), start=first, stop=stop, verbose="ERROR")
    except _MNE_ERRORS as error:
        raise DataError(
            f"{entry.path}: samples not readable: {str(error).splitlines()[0][:160] if str(error) else error!r}"
        ) from error
    return {ours: (values[n] * scales[ours]).astype(np.float32) for n, ours in enumerate(rows)}
