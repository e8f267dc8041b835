"""A recording from plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from biosig_mtl.data.readers.channels import kind_of
from biosig_mtl.types import EMPTY, Channel, DataError, Label, Record


@dataclass(frozen=True)
class About:
    """What is told of a recording that its samples do not say; as in `biosig_mtl.types.Record`."""

    name: str = "record"
    subject: str = "unknown"
    session: str = "1"
    labels: tuple[Label, ...] = ()
    demographics: Mapping[str, float] = field(default_factory=lambda: EMPTY)
    stimulus: str = ""
    timing_reliable: bool = False


UNKNOWN = About()


def from_arrays(
    arrays: Mapping[str, Any],
    fs: float | Mapping[str, float],
    *,
    units: Mapping[str, str] = EMPTY,
    kinds: Mapping[str, str] = EMPTY,
    about: About = UNKNOWN,
) -> Record:
    """Return a record from samples by our channel name.

    Parameters
    ----------
    arrays
        Name → (sample,), NaN where there is nothing. All begin at the same instant.
    fs
        Rate in Hz, one for all or one each.
    units
        ``mV``, ``uV``, ``mmHg`` …; what is not told has no unit.
    kinds
        What is measured (``ppg``, ``ecg``, ``eeg`` …); what is not told is taken from the name.
    about
        Names, labels and demographics.

    Raises
    ------
    DataError
        A channel is no row of numbers, or has no rate above 0.

    Examples
    --------
    >>> record = from_arrays({"ppg": np.zeros(1250), "F3": np.zeros(2560)}, {"ppg": 125, "F3": 256}, units={"F3": "uV"})
    >>> [(c.name, c.kind, c.unit, c.fs) for c in record.channels.values()], record.duration_s
    ([('ppg', 'ppg', '', 125.0), ('F3', 'eeg', 'uV', 256.0)], 10.0)
    """
    if not arrays:
        raise DataError(f"{about.name}: has no channels: give at least one array by its name")
    for word in sorted({*units, *kinds} - set(arrays)):
        raise DataError(f"{about.name}: units or kinds tell of a channel '{word}', of which there is no array")
    channels = {}
    for name, samples in arrays.items():
        rate = fs.get(name) if isinstance(fs, Mapping) else fs
        if rate is None or not 0 < float(rate) < np.inf:
            raise DataError(f"{about.name}: channel '{name}' needs a rate fs > 0 Hz, got {rate}")
        row = _row(samples, name, about.name)
        channels[name] = Channel(name, kinds.get(name) or kind_of(name), units.get(name, ""), float(rate), row, name)
    return record_of(channels, about)


def record_of(channels: Mapping[str, Channel], about: About, **more: Any) -> Record:
    """Return a record of channels and what is told of it; ``more`` are further fields of `Record`."""
    return Record(
        name=about.name,
        subject=about.subject,
        session=about.session,
        channels=channels,
        labels=more.pop("labels", about.labels),
        demographics=about.demographics,
        stimulus=more.pop("stimulus", about.stimulus),
        timing_reliable=about.timing_reliable,
        **more,
    )


def _row(samples: Any, name: str, where: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    try:
        row = np.array(samples, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: channel '{name}' holds something that is no number") from error
    if row.ndim != 1:
        raise DataError(f"{where}: channel '{name}' needs one row of samples, got an array of shape {row.shape}")
    return row
