"""What happened to the samples of a stream: counted for good, told from a bounded list."""

from __future__ import annotations

import math
from collections import Counter, deque

from biosig_mtl.inference.stream_words import Event, EventKind

HELD = 1000


class Journal:
    """Events of a stream. What nobody asks for in time is forgotten, the oldest first; the counts are not."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.counts: Counter[str] = Counter()
        self._each: Counter[tuple[str, str]] = Counter()
        self._held: deque[Event] = deque(maxlen=HELD)

    def tell(self, kind: EventKind, at_s: float, says: str, channel: str = "", seconds: float = math.nan) -> None:
        """Write down an event."""
        self.counts[kind] += 1
        # Names of channels that were not promised may be any number.
        key = kind, "" if kind == "unknown" else channel
        self._each[key] += 1
        self._held.append(Event(kind, at_s, says, channel, seconds, self._each[key]))

    def take(self) -> list[Event]:
        """Return what happened since the last call, oldest first."""
        events = list(self._held)
        self._held.clear()
        return events
