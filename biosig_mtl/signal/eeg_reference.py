"""What the potentials of the EEG are measured against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from biosig_mtl.signal.eeg import EEG, of_kind, one_rate, same_length, stacked, with_samples
from biosig_mtl.types import F32, ChannelInfo, Record, missing_channel

# Of fewer of the channels the mean is no reference: it would be most of the signal itself.
LEAST_SHARE = 0.5
# Samples of all channels that are worked at once.
AT_ONCE = 8192


@dataclass(frozen=True)
class EegReference:
    """Measure all channels of the EEG against another reference.

    Acts on every sample by itself. With ``average``, channels that are missing at a sample do not count, and where more than
    half are missing all become a gap. Set bad channels right and take offsets away before: a channel of +4000 µV that is lost
    for a second moves the mean of 32 by 125 µV for that second.

    Parameters
    ----------
    to
        ``average``: mean of all channels of the EEG; ``channels``: mean of those named, a gap where one of them is missing;
        ``none``: as recorded.
    channels
        Reference electrodes, of any kind (mastoids), for ``channels``.
    optional
        Return a record without EEG unchanged.
    """

    to: Literal["average", "channels", "none"] = "average"
    channels: tuple[str, ...] = ()
    optional: bool = False

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.to not in {"average", "channels", "none"}:
            raise ValueError(f"need to average, channels or none, got {self.to}")
        if (self.to == "channels") != bool(self.channels):
            raise ValueError("need channels for to: channels, and for nothing else")

    @property
    def reach_s(self) -> float:
        """Context on either side in seconds: none."""
        return 0.0

    def plan(self, channels: Mapping[str, ChannelInfo]) -> Mapping[str, ChannelInfo]:
        """Return the channels, which stay; raise an error for a missing reference or for different rates."""
        found = of_kind(channels, (EEG,), "eeg_reference", optional=self.optional)
        if found and self.to != "none":
            for name in self.channels:
                if name not in channels:
                    raise missing_channel("eeg_reference", name, channels)
            one_rate({**found, **{name: channels[name] for name in self.channels}}, "eeg_reference")
        return channels

    def __call__(self, record: Record) -> Record:
        """Return the record with its EEG against the reference."""
        found = of_kind(record.channels, (EEG,), f"{record.name}: eeg_reference", optional=self.optional)
        if not found or self.to == "none":
            return record
        named = {name: record.channel(name) for name in self.channels}
        one_rate({**found, **named}, "eeg_reference")
        same_length(record, {**found, **named})
        x = stacked(record, found)
        against = stacked(record, named) if named else None
        out = np.empty_like(x)
        for begin in range(0, x.shape[1], AT_ONCE):
            part = slice(begin, begin + AT_ONCE)
            out[:, part] = x[:, part] - (_average(x[:, part]) if against is None else against[:, part].mean(axis=0))
        return with_samples(record, found, out)


def _average(x: F32) -> F32:
    """Return the mean over the channels that have a sample, NaN where more than half have none; shape (sample,)."""
    known = np.isfinite(x)
    if known.all():
        return np.asarray(x.sum(axis=0, dtype=np.float32) / np.float32(x.shape[0]))
    count = known.sum(axis=0).astype(np.float32)
    total = np.where(known, x, np.float32(0)).sum(axis=0, dtype=np.float32)
    return np.where(count >= LEAST_SHARE * x.shape[0], total / np.maximum(count, 1), np.float32(np.nan))
