"""Samples handed over by somebody else's thread: the callback of a serial port, of Bluetooth, of a driver."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike

from biosig_mtl.data.readers.channels import kind_of
from biosig_mtl.inference.stream_words import Chunk
from biosig_mtl.live.sources import PATIENCE_S
from biosig_mtl.types import F32, ChannelInfo

HOLD_S = 60.0


class QueueSource:
    """A bounded queue with a name: one thread puts samples in, the stream takes them out.

    A chunk that finds it full is dropped and counted, and the hole it leaves is known to the stream: what comes later lies as
    much later in time as was dropped. So a slow machine loses samples in the open and not its memory.

    Parameters
    ----------
    channels
        What will be put: our channel names with their rates in Hz, or with all that is known of them.
    name
        What it is, in a word for the table.
    hold_s
        Seconds of signal that may wait.

    Examples
    --------
    >>> source = QueueSource({"ppg": 100.0})
    >>> source.put({"ppg": [0.1, 0.2]})
    True
    >>> source.close()
    >>> [chunk.samples["ppg"].tolist() for chunk in source.chunks()]
    [[0.10000000149011612, 0.20000000298023224]]
    """

    def __init__(self, channels: Mapping[str, float | ChannelInfo], name: str = "queue", hold_s: float = HOLD_S) -> None:
        """Start empty; raise `ValueError` for rates or a length that are no positive numbers."""
        self._channels = {
            n: c if isinstance(c, ChannelInfo) else ChannelInfo(n, kind_of(n), "", float(c)) for n, c in channels.items()
        }
        if not self._channels or not all(0 < c.fs < math.inf for c in self._channels.values()):
            raise ValueError(f"need channels with fs > 0, got { ({n: c.fs for n, c in self._channels.items()}) }")
        if not 0 < hold_s < math.inf:
            raise ValueError(f"need hold_s > 0, got {hold_s}")
        self._name, self._hold_s = name, hold_s
        self._ready = threading.Condition()
        self._queue: deque[Chunk] = deque()
        self._waiting = dict.fromkeys(self._channels, 0)
        self._taken = dict.fromkeys(self._channels, 0)  # samples that were put so far, dropped ones too
        self._dropped = dict.fromkeys(self._channels, 0)
        self._closed = False

    @property
    def channels(self) -> Mapping[str, ChannelInfo]:
        """What will arrive."""
        return self._channels

    @property
    def name(self) -> str:
        """What it is."""
        return self._name

    @property
    def dropped(self) -> Mapping[str, int]:
        """Samples by channel that found the queue full."""
        with self._ready:
            return dict(self._dropped)

    @property
    def notes(self) -> list[str]:
        """What was dropped."""
        return [f"{n} samples of {c} were dropped: the estimates do not keep up" for c, n in self.dropped.items() if n]

    def put(self, samples: Mapping[str, ArrayLike], at_s: float | None = None) -> bool:
        """Hand over samples; return False where they were dropped because the queue is full. Any thread may call it.

        Parameters
        ----------
        samples
            Our channel names to lists of numbers, shape (sample,), at the rates that were promised.
        at_s
            When the first was taken, on a clock of yours. None: they follow on what was put before.

        Raises
        ------
        ValueError
            A channel that was not promised, or what is no list of numbers; nothing of it is taken.
        """
        taken = {name: self._checked(name, values) for name, values in samples.items()}
        with self._ready:
            if self._closed:
                return False
            at = {n: self._taken[n] / self._channels[n].fs if at_s is None else at_s for n in taken}
            for name, values in taken.items():
                self._taken[name] += values.size
            full = any((self._waiting[n] + v.size) / self._channels[n].fs > self._hold_s for n, v in taken.items())
            for name, values in taken.items():
                (self._dropped if full else self._waiting)[name] += values.size
            if not full:
                self._queue.append(Chunk(taken, at))
                self._ready.notify_all()
            return not full

    def close(self) -> None:
        """Say that no more will come; what waits is still told."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def chunks(self) -> Iterator[Chunk | None]:
        """Yield what was put, in order."""
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._queue or self._closed, PATIENCE_S)
                chunk = self._queue.popleft() if self._queue else None
                if chunk is None and self._closed:
                    return
                for name, values in chunk.samples.items() if chunk else ():
                    self._waiting[name] -= np.size(values)
            yield chunk

    def _checked(self, name: str, values: ArrayLike) -> F32:
        if name not in self._channels:
            raise ValueError(f"need one of the channels {', '.join(self._channels)}, got '{name}'")
        # A copy: who puts may use the buffer again at once.
        made = np.array(values, np.float32)
        if made.ndim != 1:
            raise ValueError(f"need samples of shape (sample,), got {made.shape} of '{name}'")
        return made
