"""Samples from the lab streaming layer (LSL): a stream on the network by its name or type.

LSL (Kothe et al. 2024, "The lab streaming layer for synchronized multimodal recording") brings names, units and rates along,
and puts the times of another machine on the clock of this one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from biosig_mtl.data.readers.channels import match
from biosig_mtl.inference.stream_words import Chunk
from biosig_mtl.live.sources import PATIENCE_S, split_at_gaps
from biosig_mtl.types import ChannelInfo, DataError, RecipeError

WAIT_S = 10.0
# Seconds that the library keeps for us while we are busy.
BUFFER_S = 60
_MOST = 4096


@dataclass(frozen=True)
class LslSettings:
    """Which stream, and which of its channels.

    Parameters
    ----------
    stream
        Name of the stream; where none is called so, its type (``ECG``).
    channels
        Our channel names to its labels; empty: guessed by label.
    only
        Our names that are wanted; empty: all.
    wait_s
        Seconds to look for it.
    """

    stream: str
    channels: Mapping[str, tuple[str, ...]]
    only: tuple[str, ...] = ()
    wait_s: float = WAIT_S

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not self.stream or not self.wait_s > 0:
            raise ValueError(f"need the name of a stream and wait_s > 0, got '{self.stream}', {self.wait_s}")


class LslSource:
    """An inlet: samples in single precision, their times corrected to the clock of this machine and smoothed.

    A stream that breaks off is waited for; `chunks` yields None meanwhile.

    Parameters
    ----------
    settings
        See `LslSettings`.
    library
        What stands for `pylsl`.

    Raises
    ------
    RecipeError
        The optional package is not there.
    DataError
        No such stream, one without a regular rate, or without any of the channels; the message says what there is.
    """

    def __init__(self, settings: LslSettings, library: Any = None) -> None:
        """Look for the stream and connect."""
        self._library = library or _library()
        found = self._find(settings)
        flags = self._library.proc_clocksync | self._library.proc_dejitter
        self._inlet = self._library.StreamInlet(found, max_buflen=BUFFER_S, processing_flags=flags)
        try:
            # What was found is only the short word about it; labels and units are in the long one.
            info = self._inlet.info(timeout=settings.wait_s)
            self._inlet.open_stream(timeout=settings.wait_s)
        except (TimeoutError, self._library.LostError) as error:
            raise DataError(f"lsl:{settings.stream}: was found and does not answer; start it anew") from error
        self.name, self.notes = f"lsl:{settings.stream}", list[str]()
        self._fs = float(info.nominal_srate())
        if not self._fs > 0:
            raise DataError(f"{self.name}: has no regular rate (markers?); need a stream of samples")
        self._spots = _spots(info, settings)
        units = _words(info.get_channel_units(), info.channel_count())
        self.channels: Mapping[str, ChannelInfo] = {
            ours: ChannelInfo(ours, kind, units[spot], self._fs) for ours, (kind, spot) in self._spots.items()
        }
        self._closed = False

    def close(self) -> None:
        """End soon, and let go of the stream."""
        self._closed = True

    def chunks(self) -> Iterator[Chunk | None]:
        """Yield what arrives, until it is closed."""
        try:
            while not self._closed:
                samples, stamps = self._inlet.pull_chunk(timeout=PATIENCE_S, max_samples=_MOST)
                if not len(stamps):
                    yield None
                    continue
                values, times = np.asarray(samples, np.float32), np.asarray(stamps, np.float64)
                for part, at_s in split_at_gaps(times, self._fs):
                    yield Chunk({ours: values[part, spot] for ours, (_, spot) in self._spots.items()}, at_s)
        finally:
            self._inlet.close_stream()

    def _find(self, settings: LslSettings) -> Any:
        for field in ("name", "type"):
            # Who streams answers within a second; the time is for one that is only starting.
            wait = settings.wait_s if field == "name" else min(settings.wait_s, 1.0)
            if found := self._library.resolve_byprop(field, settings.stream, timeout=wait):
                return found[0]
        there = sorted({str(info.name()) for info in self._library.resolve_streams(wait_time=1.0)})
        raise DataError(
            f"lsl:{settings.stream}: no stream of this name or type within {settings.wait_s:g} s; "
            f"there {'is ' + ', '.join(there) if there else 'is none on this network'}"
        )


def _library() -> Any:
    try:
        return import_module("pylsl")
    except (ImportError, RuntimeError) as error:
        raise RecipeError("lsl: needs the package pylsl; install it with: pip install 'biosig-mtl[lsl]'") from error


def _spots(info: Any, settings: LslSettings) -> dict[str, tuple[str, int]]:
    kind, count = str(info.type() or "channel"), int(info.channel_count())
    labels = _words(info.get_channel_labels(), count)
    if not any(labels):
        # A stream of one channel that is called ECG needs no label.
        labels = [kind] if count == 1 else [f"{kind}_{n + 1}" for n in range(count)]
    where = f"lsl:{settings.stream}"
    chosen = {o: s for o, s in match(labels, settings.channels, where).items() if not settings.only or o in settings.only}
    if not chosen:
        raise DataError(
            f"{where}: none of the channels {', '.join(settings.only)} in {', '.join(labels)}; "
            "say which is which with --channel OURS=THEIRS"
        )
    return chosen


def _words(told: list[str | None] | None, count: int) -> list[str]:
    words = [str(word or "") for word in told or ()]
    return (words + [""] * count)[:count]
