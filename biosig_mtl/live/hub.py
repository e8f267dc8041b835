"""What onlookers of a live recording are told: a bounded history, and a bounded queue for each of them.

The messages are server-sent events (WHATWG HTML Living Standard §9.2): an id, a kind and one line of JSON. Who comes back with
the id of the last message it saw gets exactly what came after; where that is no longer held, it is told to begin anew.
"""

from __future__ import annotations

import json
import math
import secrets
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Messages of a kind that are held for those who come later; of a kind that is not named only the last.
KEEP: Mapping[str, int] = {"trace": 160, "estimate": 1200, "event": 200}
# A queue that is longer belongs to somebody who does not read: more than a minute of traces.
BACKLOG = 600
RESET = "reset"


@dataclass(frozen=True, slots=True)
class Message:
    """One thing told: its ``number`` grows by one with each, ``text`` is the whole event as it goes over the line."""

    number: int
    kind: str
    text: bytes


@dataclass(eq=False)
class Onlooker:
    """One who looks on: a queue that its own thread empties. ``dropped`` once it has fallen too far behind."""

    ready: threading.Condition
    queue: deque[Message] = field(default_factory=deque)
    dropped: bool = False
    closed: bool = False

    def take(self, timeout_s: float) -> list[Message] | None:
        """Return what is new, nothing after ``timeout_s`` without news, and None when there will be no more."""
        with self.ready:
            self.ready.wait_for(lambda: self.queue or self.dropped or self.closed, timeout_s)
            if self.dropped or (self.closed and not self.queue):
                return None
            told = list(self.queue)
            self.queue.clear()
            return told


class Hub:
    """Tells all onlookers the same in the same order.

    Parameters
    ----------
    keep
        How many messages of a kind are held for those who come later; 1 for a kind that is not named.
    backlog
        Messages that may wait for one onlooker; beyond it is dropped, so that memory does not grow with who does not read.
    """

    def __init__(self, keep: Mapping[str, int] = KEEP, backlog: int = BACKLOG) -> None:
        """Start with nothing told."""
        if backlog < 1 or any(n < 1 for n in keep.values()):
            raise ValueError(f"need keep >= 1 and backlog >= 1, got {dict(keep)}, {backlog}")
        self._keep, self._backlog = dict(keep), backlog
        self._held: dict[str, deque[Message]] = {}
        self._number = 0
        self._lost = 0  # the newest message of a kept kind that is no longer held
        self._ready = threading.Condition()
        self._onlookers: list[Onlooker] = []
        self._closed = False
        # Numbers begin anew with each start; an id of an earlier start must not be taken for one of this.
        self._token = secrets.token_hex(4)

    @property
    def onlookers(self) -> int:
        """How many look on."""
        with self._ready:
            return len(self._onlookers)

    def publish(self, kind: str, content: Mapping[str, Any]) -> None:
        """Tell everybody; ``content`` is made JSON, with null for numbers that are not finite."""
        with self._ready:
            if self._closed:
                return
            self._number += 1
            message = self._message(self._number, kind, content)
            held = self._held.setdefault(kind, deque())
            held.append(message)
            while len(held) > self._keep.get(kind, 1):
                gone = held.popleft()
                # Of a state only the last word counts: nobody misses the ones before.
                self._lost = max(self._lost, gone.number) if kind in self._keep else self._lost
            for one in self._onlookers:
                self._hand(one, message)
            self._ready.notify_all()

    def join(self, last_id: str | None = None) -> Onlooker:
        """Return a new onlooker, whose queue begins with what it has not seen.

        Parameters
        ----------
        last_id
            Id of the last message that it saw (``Last-Event-ID``); None: it has seen nothing. Where something it missed is held
            no longer, or the id is not of this hub, a ``reset`` comes first, and then everything that is held.
        """
        with self._ready:
            seen = self._seen(last_id)
            one = Onlooker(self._ready, closed=self._closed)
            if seen is None or (seen < self._lost and last_id):
                # Its number is that of what was lost: the next message must still count as new.
                one.queue.append(self._message(self._lost, RESET, {}))
                seen = 0
            held = sorted((m for kind in self._held.values() for m in kind), key=lambda m: m.number)
            one.queue.extend(m for m in held if m.number > seen)
            if not self._closed:
                self._onlookers.append(one)
            return one

    def leave(self, one: Onlooker) -> None:
        """Forget an onlooker."""
        with self._ready:
            if one in self._onlookers:
                self._onlookers.remove(one)

    def close(self) -> None:
        """Let everybody go once they have read what waits for them."""
        with self._ready:
            self._closed = True
            for one in self._onlookers:
                one.closed = True
            self._ready.notify_all()

    def _hand(self, one: Onlooker, message: Message) -> None:
        if one.dropped:
            return
        one.queue.append(message)
        if len(one.queue) > self._backlog + sum(len(h) for h in self._held.values()):
            one.dropped = True
            one.queue.clear()

    def _seen(self, last_id: str | None) -> int | None:
        """Return the number in an id, 0 without one, None for an id that this hub never gave."""
        if not last_id:
            return 0
        token, _, number = last_id.partition("-")
        known = token == self._token and number.isascii() and number.isdigit() and len(number) < 16
        return int(number) if known and int(number) <= self._number else None

    def _message(self, number: int, kind: str, content: Mapping[str, Any]) -> Message:
        line = json.dumps(plain(content), allow_nan=False, separators=(",", ":"))
        return Message(number, kind, f"id: {self._token}-{number}\nevent: {kind}\ndata: {line}\n\n".encode())


def plain(value: Any) -> Any:
    """Return a value as JSON can tell it: numbers that are not finite become null, arrays and tuples lists."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
