"""Those who look on without drawing: the table on disk, lines for a pipe, and the page's messages."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

from biosig_mtl.inference.stream_words import Estimate, Event
from biosig_mtl.live.hub import Hub
from biosig_mtl.live.table import Rows, Table, state_of
from biosig_mtl.live.trace import Strip
from biosig_mtl.live.watching import About, Status
from biosig_mtl.types import F64


class TableViewer:
    """Writes every estimate into a table on disk."""

    def __init__(self, table: Table) -> None:
        """Take a table that is open; it is closed with the last word."""
        self._table = table

    def begin(self, about: About) -> None:
        """Nothing to do."""

    def trace(self, strips: Mapping[str, Strip], beats: Mapping[str, F64]) -> None:
        """Nothing to do."""

    def estimate(self, record: str, estimate: Estimate) -> None:
        """Write it; raise `DataError` where the disk does not take it."""
        self._table.add(record, estimate)

    def event(self, event: Event) -> None:
        """Nothing to do."""

    def note(self, text: str) -> None:
        """Nothing to do."""

    def status(self, status: Status) -> None:
        """Nothing to do."""

    def end(self, summary: str) -> None:  # noqa: ARG002 (a viewer's face)
        """Close the table."""
        self._table.close()


class PlainViewer:
    """Rows of CSV for a pipe, and everything else as lines beside it.

    Parameters
    ----------
    rows
        Where estimates go (standard output).
    aside
        Where events and the last word go (standard error).
    """

    def __init__(self, rows: IO[str], aside: IO[str]) -> None:
        """Write nothing yet."""
        self._sink, self._aside = rows, aside
        self._rows: Rows | None = None

    def begin(self, about: About) -> None:
        """Write the heading."""
        self._line(about.says)
        self._rows = Rows(self._sink, about.targets, {name: len(words) for name, words in about.classes.items()})
        self._written(self._rows.heading)

    def trace(self, strips: Mapping[str, Strip], beats: Mapping[str, F64]) -> None:
        """Nothing to do."""

    def estimate(self, record: str, estimate: Estimate) -> None:
        """Write a row; raise ``KeyboardInterrupt`` when nobody reads any more."""
        if self._rows is not None:
            self._written(partial(self._rows.add, record, estimate))

    def event(self, event: Event) -> None:
        """Write a line."""
        self._line(event_line(event))

    def note(self, text: str) -> None:
        """Write a line."""
        self._line(f"note: {text}")

    def status(self, status: Status) -> None:
        """Nothing to do: a pipe wants rows."""

    def end(self, summary: str) -> None:
        """Write the last word."""
        self._line(summary)

    def _written(self, write: Callable[[], None]) -> None:
        try:
            write()
        except BrokenPipeError:
            self._rows = None
            # What waits in the buffer would be tried once more when the program ends; it goes nowhere instead.
            with suppress(OSError), Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), self._sink.fileno())
            raise KeyboardInterrupt from None

    def _line(self, text: str) -> None:
        self._aside.write(f"{text}\n")
        self._aside.flush()


def event_line(event: Event) -> str:
    """Return an event as people read it."""
    # What is said often begins with the name of the channel.
    where = f" {event.channel}" if event.channel and not event.says.startswith(f"{event.channel}:") else ""
    return f"{event.at_s:.1f} s: {event.kind}{where}: {event.says}"


class HubViewer:
    """Tells the page.

    Neither the name of the recording nor any text of a file goes there: who looks on may not be meant to know.
    """

    def __init__(self, hub: Hub) -> None:
        """Tell nothing yet."""
        self._hub, self._now_s = hub, 0.0

    def begin(self, about: About) -> None:
        """Tell what the page needs to draw its frame."""
        channels = {n: {"kind": c.kind, "unit": c.unit, "fs": c.fs} for n, c in about.channels.items()}
        self._hub.publish(
            "about",
            {
                "task": about.task,
                "targets": [
                    {"name": name, "unit": about.units.get(name, ""), "classes": about.classes.get(name, ())}
                    for name in about.targets
                ],
                "channels": channels,
                "speed": about.speed,
                "provisional": about.provisional,
                "settled_after_s": about.settled_after_s,
                "says": about.says,
            },
        )

    def trace(self, strips: Mapping[str, Strip], beats: Mapping[str, F64]) -> None:
        """Tell a piece of the signals."""
        told = {n: {"t": _digits(s.start_s), "d": s.step_s, **_levels(s)} for n, s in strips.items()}
        self._hub.publish("trace", {"s": told, "b": {n: [_digits(t) for t in at] for n, at in beats.items()}})

    def estimate(self, record: str, estimate: Estimate) -> None:  # noqa: ARG002 (it stays untold)
        """Tell an estimate."""
        values: dict[str, Any] = {
            name: {
                "v": value,
                "lo": estimate.lower.get(name, math.nan),
                "hi": estimate.upper.get(name, math.nan),
                **({"p": estimate.shares[name]} if name in estimate.shares else {}),
            }
            for name, value in estimate.values.items()
        }
        self._hub.publish(
            "estimate",
            {
                "t": estimate.onset_s,
                "e": estimate.end_s,
                "state": state_of(estimate),
                "settled": estimate.settled,
                "reason": estimate.reason,
                "sqi": estimate.sqi,
                "late": estimate.latency_s,
                "v": values,
            },
        )

    def event(self, event: Event) -> None:
        """Tell what happened."""
        self._now_s = event.at_s
        self._hub.publish("event", {"kind": event.kind, "t": event.at_s, "channel": event.channel, "says": event.says})

    def note(self, text: str) -> None:  # noqa: ARG002 (it stays untold)
        """Tell that there is something to know."""
        says = "there is a remark on the recording; the terminal tells it"
        self._hub.publish("event", {"kind": "note", "t": self._now_s, "channel": "", "says": says})

    def status(self, status: Status) -> None:
        """Tell how the recording does."""
        self._now_s = status.now_s
        self._hub.publish(
            "status",
            {
                "now": status.now_s,
                "state": status.state,
                "counts": status.counts,
                "rate": status.rate,
                "behind": status.behind_s,
                "silent": status.silent_s,
                "onlookers": self._hub.onlookers,
            },
        )

    def end(self, summary: str) -> None:
        """Tell that it is over; the page stays as it is. The reasons in the summary are of the windows, not of the person."""
        self._hub.publish("end", {"says": summary})


def _digits(value: float) -> float:
    return float(f"{value:.9g}")


def _levels(strip: Strip) -> dict[str, list[float]]:
    low = [float(f"{v:.7g}") for v in strip.low]
    high = [float(f"{v:.7g}") for v in strip.high]
    same = all(a == b or a != a for a, b in zip(low, high, strict=True))
    return {"l": low} if same else {"l": low, "h": high}
