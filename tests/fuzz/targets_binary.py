"""Targets of the binary readers: WFDB, EDF and BDF, MATLAB v5 and v7.3, pickles, and what mne reads."""

from __future__ import annotations

import io
import pickle
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.data.mat5 import Mat, open_mat5
from biosig_mtl.data.matlab import hdf5_dataset, open_hdf5
from biosig_mtl.data.readers.edf import read_codes
from biosig_mtl.data.readers.wfdb_header import read_header
from biosig_mtl.data.stored_array import StoredArray
from biosig_mtl.data.unpickle import read_pickle
from tests.fuzz.harness import Target, join, read_all

# ------------------------------------------------------------------------------------------------------------------- WFDB
HEADER = (
    b"rec 2 125 40 12:00:00.5 01/01/2000\nrec.dat 16 200(0)/mV 12 0 0 0 0 ECG II\nrec.dat 16 1e2(5)/mmHg 12 0 0 0 0 ABP\n# x\n"
)
SEVERAL = b"rec/3 1 125 60\none 20\n~ 20\ntwo 20\n"
SEGMENT = b"%s 1 125 20 12:00:00\n%s.dat 212 200/mV 12 0 0 0 0 ECG\n"


def _wave(count: int) -> bytes:
    return (np.sin(np.arange(count) / 7) * 400).astype("<i2").tobytes()


def _several() -> bytes:
    one, two = (SEGMENT % (name, name) for name in (b"one", b"two"))
    return join(SEVERAL, one, b"\x10\x21\x32" * 10, two, b"\x01\x80\x7f" * 10)


def _formats() -> bytes:
    """Return a signal in format 8; a fuzzer finds the other formats, which are two digits away."""
    return join(b"rec 1 100 24\nd.dat 8 200/mV 12 0 7 0 0 s\n", bytes(range(96)))


# -------------------------------------------------------------------------------------------------------------- EDF and BDF
_EDF_WIDTHS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
# Label, unit, physical and digital range, samples in a data record.
_EDF_SIGNALS = (
    ("EEG Fz", "uV", -100, 100, -2048, 2047, 8),
    ("ECG", "mV", -5, 5, -2048, 2047, 4),
    ("Status", "", -1, 1, -1, 1, 8),
)


def edf(*, bdf: bool = False, records: int = 4) -> bytes:
    """Return a small recording in EDF+D or BDF+D with a channel of annotations."""
    kind = "BDF" if bdf else "EDF"
    signals = (*_EDF_SIGNALS, (f"{kind} Annotations", "", -1, 1, -32768, 32767, 12))
    rows = [(s[0], "", s[1], s[2], s[3], s[4], s[5], "", s[6], "") for s in signals]
    columns = "".join(str(row[n]).ljust(width) for n, width in enumerate(_EDF_WIDTHS) for row in rows)
    first = f"{'BIOSEMI' if bdf else '0       '}{'X X X X':<80}{'Startdate X X X X':<80}01.01.0012.00.00"
    first += f"{256 * (len(rows) + 1):<8}{kind + '+D':<44}{records:<8}{'0.5':<8}{len(rows):<4}"
    head = (b"\xff" if bdf else b"") + (first + columns).encode()
    width, samples = (3 if bdf else 2), sum(s[6] for s in _EDF_SIGNALS)
    body = [
        bytes((7 * n + 31 * k) % 256 for k in range(samples * width)) + f"+{n * 0.5}\x14\x14".encode().ljust(12 * width, b"\0")
        for n in range(records)
    ]
    return head + b"".join(body)


def _bdf(folder: Path) -> None:
    path = folder / "rec.bdf"
    read_codes(path)
    read_all(path)


# ------------------------------------------------------------------------------------------------------------------ MATLAB
def _mat5(*, compressed: bool) -> bytes:
    from scipy.io import savemat

    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = np.arange(6.0).reshape(2, 3), "words"
    held = {
        "data": np.arange(12, dtype=np.int16).reshape(3, 4),
        "s": {"fs": 128.0, "name": "x", "c": cells},
        "b": np.zeros((0, 2)),
    }
    raw = io.BytesIO()
    savemat(raw, held, do_compression=compressed)
    return raw.getvalue()


def _walk_mat5(folder: Path) -> None:
    file = open_mat5(folder / "rec.mat")
    for name in file.names:
        _visit(file[name])


def _visit(part: Mat) -> None:
    if part.kind == "numbers":
        np.array(part.array())
    elif part.kind == "text":
        part.text()
    for item in part.items:
        _visit(item)
    for values in part.fields.values():
        for value in values:
            _visit(value)


def _hdf5(fill: Callable[[Any], None]) -> bytes:
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "x.mat"
        with h5py.File(place, "w", userblock_size=512) as file:
            fill(file)
        raw = place.read_bytes()
    return b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + raw[128:]


def _uci_cells(file: Any) -> None:
    import h5py

    cells = file.create_dataset("Part_1", (2, 1), dtype=h5py.ref_dtype)
    for number in range(2):
        table = np.stack([np.sin(np.arange(50) / 9 + k) for k in range(3)], axis=1)
        name = f"#refs#/{number}"
        cells[number, 0] = file.create_dataset(name, data=table, chunks=(25, 3) if number else None).ref


def _numbers(file: Any) -> None:
    file.create_dataset("a/x", data=np.arange(24.0).reshape(4, 6), chunks=(2, 6), compression="gzip")
    file.create_dataset("y", data=np.arange(5, dtype="i2"))


def _take(folder: Path) -> None:
    path = folder / "rec.mat"
    with open_hdf5(path) as file:
        for name in ("a/x", "y"):
            np.asarray(hdf5_dataset(file, name, path)[...])


# ----------------------------------------------------------------------------------------------------------------- pickles
def _pickled(protocol: int) -> bytes:
    held = {"signal": {"chest": np.arange(6.0).reshape(2, 3)}, b"labels": [1, 2.5, None, True, "x" * 20], "n": np.float64(3)}
    return pickle.dumps(held, protocol)


def _unpickle(folder: Path) -> None:
    _visit_value(read_pickle(folder / "rec.pkl"), set())


def _visit_value(value: Any, seen: set[int]) -> None:
    if isinstance(value, StoredArray):
        np.array(value.array())
    if isinstance(value, dict | list | tuple) and id(value) not in seen:
        seen.add(id(value))
        for item in [*value.values()] if isinstance(value, dict) else value:
            _visit_value(item, seen)


# --------------------------------------------------------------------------------------------------------------------- mne
VHDR = b"""Brain Vision Data Exchange Header File Version 1.0
[Common Infos]
Codepage=UTF-8
DataFile=rec.eeg
MarkerFile=rec.vmrk
DataFormat=BINARY
DataOrientation=MULTIPLEXED
NumberOfChannels=2
SamplingInterval=4000
[Binary Infos]
BinaryFormat=INT_16
[Channel Infos]
Ch1=Fz,,0.5,\xc2\xb5V
Ch2=ECG,,1,\xc2\xb5V
"""
VMRK = b"""Brain Vision Data Exchange Marker File, Version 1.0
[Common Infos]
DataFile=rec.eeg
[Marker Infos]
Mk1=New Segment,,1,1,0,20131113161403794232
Mk2=Stimulus,S253,20,1,0
"""


def _raw() -> Any:
    import mne

    info = mne.create_info(["Fz", "ECG"], 100.0, ["eeg", "ecg"])
    return mne.io.RawArray(np.random.default_rng(0).normal(0, 1e-5, (2, 200)), info, verbose="ERROR")


@lru_cache
def _fif() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "x_raw.fif"
        _raw().save(place, verbose="ERROR")
        return place.read_bytes()


@lru_cache
def _set() -> bytes:
    """Return a recording of EEGLAB as its own program saves it: one file with a struct of v5."""
    from scipy.io import savemat

    chans = np.array([("Fz", "EEG"), ("ECG", "ECG")], dtype=[("labels", object), ("type", object)])
    samples = np.arange(100, dtype=np.float32).reshape(2, 50)
    held = {"setname": "x", "nbchan": 2.0, "pnts": 50.0, "trials": 1.0, "srate": 100.0, "xmin": 0.0, "xmax": 0.49}
    held |= {"data": samples, "chanlocs": chans, "event": np.empty((0, 0)), "epoch": np.empty((0, 0)), "history": ""}
    raw = io.BytesIO()
    savemat(raw, {"EEG": held}, appendmat=False, do_compression=False)
    return raw.getvalue()


def _whole(name: str, **options: Any) -> Callable[[Path], None]:
    return lambda folder: read_all(folder / name, options=options)


_TARGETS = (
    Target("wfdb_header", ("rec.hea",), lambda f: read_header(f / "rec.hea"), lambda: HEADER),
    Target("wfdb", ("rec.hea", "rec.dat"), _whole("rec.hea"), lambda: join(HEADER, _wave(80))),
    Target("wfdb_formats", ("rec.hea", "d.dat"), _whole("rec.hea"), _formats),
    Target("wfdb_several", ("rec.hea", "one.hea", "one.dat", "two.hea", "two.dat"), _whole("rec.hea"), _several),
    Target("edf", ("rec.edf",), _whole("rec.edf"), edf),
    Target("bdf", ("rec.bdf",), _bdf, lambda: edf(bdf=True)),
    Target("mat5", ("rec.mat",), _walk_mat5, lambda: _mat5(compressed=False)),
    Target("mat5_deflate", ("rec.mat",), _walk_mat5, lambda: _mat5(compressed=True)),
    Target("uci_mat", ("rec.mat",), _whole("rec.mat", cell=1), lambda: _hdf5(_uci_cells)),
    Target("hdf5", ("rec.mat",), _take, lambda: _hdf5(_numbers)),
    Target("pickle", ("rec.pkl",), _unpickle, lambda: _pickled(4)),
    Target("pickle_old", ("rec.pkl",), _unpickle, lambda: _pickled(0)),
    Target("brainvision", ("rec.vhdr", "rec.eeg", "rec.vmrk"), _whole("rec.vhdr"), lambda: join(VHDR, _wave(200), VMRK)),
    Target("fif", ("rec_raw.fif",), _whole("rec_raw.fif"), _fif),
    Target("eeglab", ("rec.set",), _whole("rec.set"), _set),
)
TARGETS = {target.name: target for target in _TARGETS}
