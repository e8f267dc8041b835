"""BrainVision, FIF and the other containers that mne reads without loading them."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.data.readers.channels import match
from biosig_mtl.data.readers.files import check_file
from biosig_mtl.data.readers.mne_guard import check_claimed, check_named
from biosig_mtl.data.readers.quoting import shaped
from biosig_mtl.data.readers.samples import as_samples
from biosig_mtl.data.readers.source import LazySource, plain_text
from biosig_mtl.types import F32, F64, ChannelInfo, DataError, Entry

SUFFIXES = (".vhdr", ".fif", ".fif.gz", ".set", ".cnt", ".gdf")
# FIF alone says of each channel what it is; in the other containers mne takes what it does not know for EEG.
_KINDS = {"eeg": "eeg", "ecg": "ecg", "eog": "eog", "emg": "emg", "gsr": "eda", "resp": "resp", "temperature": "temp"}
_SLOWEST_HZ, _FASTEST_HZ = 1e-3, 1e7
_LOSS = re.compile(r"truncat|incomplete|corrupt|outside|expanding|missing", re.IGNORECASE)


def open_mne(entry: Entry) -> LazySource:
    """Open a recording with mne (of EEGLAB with a reader of our own); samples are read part by part. Voltages are given in µV.

    ``mne`` knows one rate a file. Where mne says that something was cut, it is told in the notes. Without a map of channels
    their kind is guessed by name; a FIF file that says what a channel is is believed where the name says nothing.
    """
    check_file(entry.path)
    if entry.path.suffix.lower() == ".set":
        # Late: the reader of MATLAB stands on this room.
        from biosig_mtl.data.readers.mne_eeglab import open_eeglab

        return open_eeglab(entry)
    check_named(entry.path)
    with _refusing(entry.path, "not readable"):
        raw, notes = _open(entry)
        return _described(entry, raw, notes)


def _described(entry: Entry, raw: Any, notes: tuple[str, ...]) -> LazySource:
    names = [plain_text(name) for name in raw.ch_names]
    chosen = match(names, entry.channels, str(entry.path))
    if not entry.channels and entry.path.name.lower().endswith((".fif", ".fif.gz")):
        chosen = _typed(raw, chosen)
    rows = {ours: position for ours, (_, position) in chosen.items()}
    scales = {ours: _scale(raw, row) for ours, row in rows.items()}
    fs = float(raw.info["sfreq"])
    if not _SLOWEST_HZ <= fs <= _FASTEST_HZ:
        raise DataError(f"{entry.path}: claims a sampling rate of {fs:g} Hz")
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
    names = [plain_text(name) for name in raw.ch_names]
    said = {name: _KINDS.get(kind) for name, kind in zip(names, raw.get_channel_types(), strict=True)}
    more = {name: (kind, n) for n, (name, kind) in enumerate(said.items()) if kind and n not in known}
    return chosen | more


def _open(entry: Entry) -> tuple[Any, tuple[str, ...]]:
    import mne

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        # At this level mne tells what it left out; below it keeps silent.
        raw = mne.io.read_raw(entry.path, preload=False, verbose="WARNING")
    check_claimed(entry.path, (Path(f) for f in raw.filenames if f), int(raw.n_times) * len(raw.ch_names))
    texts = [plain_text(shaped(" ".join(str(w.message).split())))[:160] for w in said]
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
    known = [onset for onset in onsets if np.isfinite(onset)]
    return np.unique(np.clip(np.array(known, np.float64), 0, raw.n_times / raw.info["sfreq"]))


def _fetch(raw: Any, entry: Entry, rows: dict[str, int], scales: dict[str, float], part: tuple[int, int]) -> dict[str, F32]:
    first, stop = part
    if first >= stop:
        return {ours: np.empty(0, np.float32) for ours in rows}
    with _refusing(entry.path, "samples not readable"), np.errstate(all="ignore"):
        values = raw.get_data(picks=list(rows.values()), start=first, stop=stop, verbose="ERROR")
        return {ours: as_samples(values[n] * scales[ours]) for n, ours in enumerate(rows)}


@contextmanager
def _refusing(path: Path, what: str) -> Iterator[None]:
    """Turn what mne raises on garbage into one line: whatever its parts raise, and here and there a bare Exception."""
    log = logging.getLogger("mne")
    was_disabled, log.disabled = log.disabled, True  # it quotes what a header says; its warnings come to us another way
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        said = shaped(str(error).splitlines()[0])[:160] if str(error) else type(error).__name__
        raise DataError(f"{path}: {what}: {said}") from error
    finally:
        log.disabled = was_disabled
