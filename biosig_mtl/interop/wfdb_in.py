"""A record of the wfdb package → ours. wfdb itself is not imported: whoever has its objects has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from biosig_mtl.data.readers.channels import match
from biosig_mtl.interop.arrays import UNKNOWN, About, record_of
from biosig_mtl.types import EMPTY, Channel, DataError, Record


def from_wfdb(given: Any, channels: Mapping[str, str | tuple[str, ...]] = EMPTY, about: About = UNKNOWN) -> Record:
    """Return a `Record` of a ``wfdb.Record`` (``wfdb.rdrecord``).

    Physical and digital samples are taken, NaN stays NaN, and several samples a frame (``smooth_frames=False``) become rates
    of their own.

    Parameters
    ----------
    given
        What ``wfdb.rdrecord`` returned.
    channels
        Our name → theirs, in order of preference where there are several. Without it channels are found by their name, as in
        a file.
    about
        Names, labels and demographics. Without a name that of the record is taken.

    Raises
    ------
    DataError
        It is no such record, holds no samples, is made of segments, or has none of the channels.
    """
    if not hasattr(given, "sig_name") or not hasattr(given, "record_name"):
        raise DataError(f"need a wfdb.Record, got {type(given).__name__}; for plain arrays use from_arrays")
    name = str(given.record_name or about.name)
    if hasattr(given, "segments"):
        raise DataError(f"{name}: is made of segments; read it with wfdb.rdrecord(..., m2s=True)")
    signals = _signals(given, name)
    wanted = {ours: (theirs,) if isinstance(theirs, str) else tuple(theirs) for ours, theirs in channels.items()}
    chosen = match(list(given.sig_name), wanted, name)
    # Without smoothing a frame holds several samples of a fast channel.
    frames = list(given.samps_per_frame or []) if given.p_signal is None and given.d_signal is None else []
    made = {}
    for ours, (kind, row) in chosen.items():
        fs = float(given.fs) * (frames[row] if frames else 1)
        unit = str((given.units or [""] * len(signals))[row] or "")
        made[ours] = Channel(ours, kind, unit, fs, np.asarray(signals[row], np.float32), str(given.sig_name[row]))
    told = about if about.name != UNKNOWN.name else replace(about, name=name)
    return record_of(made, told if told.subject != UNKNOWN.subject else replace(told, subject=name))


def _signals(given: Any, name: str) -> list[Any]:
    """Return the physical samples of every channel."""
    if given.p_signal is not None:
        return list(np.asarray(given.p_signal).T)
    if given.e_p_signal is not None:
        return list(given.e_p_signal)
    if given.d_signal is not None:
        return list(given.dac().T)
    if given.e_d_signal is not None:
        return list(given.dac(expanded=True))
    raise DataError(f"{name}: holds no samples; read it with wfdb.rdrecord, not with wfdb.rdheader")
