"""Writing recordings in EDF (16 bits) and BDF (24 bits), one second a data record.

EDF: Kemp et al., Electroencephalogr. Clin. Neurophysiol. 82 (1992) 391; BDF: the same with three bytes a sample and ``24BIT``
(BioSemi). For simulated cohorts and tests: no annotations, one rate for all channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np

from biosig_mtl.types import F32, I64, DataError

# Lowest and highest integer, and their values in µV, which the header must hold exactly: steps of 0.1 and some 1/256 µV.
_RANGES = {"edf": ((-32768, 32767), (-3276.8, 3276.7)), "bdf": ((1 - 2**23, 2**23 - 1), (-32767, 32767))}


def write_edf(
    path: Path, samples: F32, names: Sequence[str], fs: int, start_unix: float, form: Literal["edf", "bdf"] = "edf"
) -> None:
    """Write a recording in µV.

    Parameters
    ----------
    samples
        Shape (channel, time); a last second that is not whole is filled with zeros. What lies beyond the range of the format is
        cut off at its ends, NaN becomes 0.
    names
        Labels of the channels, at most 16 letters of ASCII.
    start_unix
        Start, seconds of UTC since 1970; the header holds whole seconds.
    """
    if len(samples) != len(names) or not len(names) or any(len(n) > 16 or not n.isascii() for n in names):
        raise DataError(f"{path}: need a label of at most 16 ASCII letters for each of {len(samples)} channels")
    (low, high), (bottom, top) = _RANGES[form]
    records = -(-samples.shape[1] // fs)
    scale = (high - low) / (top - bottom)
    counts = np.zeros((len(names), records * fs), np.int64)
    known = np.nan_to_num(samples.astype(np.float64), posinf=top, neginf=bottom)
    counts[:, : samples.shape[1]] = np.clip(np.rint((known - bottom) * scale + low), low, high)
    blocks = counts.reshape(len(names), records, fs).transpose(1, 0, 2)
    with path.open("wb") as stream:
        stream.write(_header(names, fs, records, start_unix, form))
        stream.write(_bytes(blocks, form))


def _bytes(blocks: I64, form: str) -> bytes:
    if form == "edf":
        return blocks.astype("<i2").tobytes()
    return np.ascontiguousarray(np.ascontiguousarray(blocks, dtype="<i4").view(np.uint8).reshape(-1, 4)[:, :3]).tobytes()


def _header(names: Sequence[str], fs: int, records: int, start_unix: float, form: str) -> bytes:
    (low, high), (bottom, top) = _RANGES[form]
    when = datetime.fromtimestamp(int(start_unix), UTC)
    count = len(names)
    whole = [
        ("", 7) if form == "bdf" else ("0", 8),
        ("X X X X", 80),
        ("simulated", 80),
        (when.strftime("%d.%m.%y"), 8),
        (when.strftime("%H.%M.%S"), 8),
        (str(256 * (count + 1)), 8),
        ("24BIT" if form == "bdf" else "", 44),
        (str(records), 8),
        ("1", 8),
        (str(count), 4),
    ]
    each = [
        (list(names), 16),
        (["simulated"] * count, 80),
        (["uV"] * count, 8),
        ([f"{bottom:g}"] * count, 8),
        ([f"{top:g}"] * count, 8),
        ([str(low)] * count, 8),
        ([str(high)] * count, 8),
        (["none"] * count, 80),
        ([str(fs)] * count, 8),
        ([""] * count, 32),
    ]
    text = "".join(word.ljust(size) for word, size in whole)
    text += "".join(word.ljust(size) for words, size in each for word in words)
    start = b"\xffBIOSEMI" if form == "bdf" else b""
    return start + (text[7:] if form == "bdf" else text).encode("ascii")
