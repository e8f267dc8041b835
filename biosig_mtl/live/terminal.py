"""The live view on a terminal: the latest estimates in large, the signal as a line of blocks, counts and events below."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from biosig_mtl.inference.stream_words import Estimate, Event
from biosig_mtl.live.table import state_of
from biosig_mtl.live.trace import Strip
from biosig_mtl.live.viewers import event_line
from biosig_mtl.live.watching import About, Status, clock
from biosig_mtl.types import F32, F64, I64

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

SHOWN_S = 6.0
EVENTS = 5
BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN_BLOCKS = "_.-~=+*#"
REFRESH_HZ = 5.0


class TerminalViewer:
    """Draws on a terminal, several times a second, in a thread of the drawing library.

    Parameters
    ----------
    console
        Where to; None: standard output.
    places
        Lines to show below, as the address of the page or the name of the table.
    """

    def __init__(self, console: Console | None = None, places: tuple[str, ...] = ()) -> None:
        """Draw nothing yet."""
        from rich.console import Console as Made
        from rich.live import Live

        self._console = console or Made(highlight=False, markup=False)
        self._places = places
        self._about: About | None = None
        self._last: dict[str, Estimate] = {}  # the latest settled or provisional window, and the latest settled one
        self._refused = ""
        self._traces: dict[str, deque[tuple[float, float, float]]] = {}
        self._beats: dict[str, deque[float]] = {}
        self._events: deque[str] = deque(maxlen=EVENTS)
        self._status = Status(0.0, "waiting")
        self._live = Live(console=self._console, get_renderable=self.picture, refresh_per_second=REFRESH_HZ)

    def begin(self, about: About) -> None:
        """Take over the screen."""
        self._about = about
        self._live.start()

    def trace(self, strips: Mapping[str, Strip], beats: Mapping[str, F64]) -> None:
        """Keep the last seconds."""
        for name, strip in strips.items():
            kept = self._traces.setdefault(name, deque())
            at = strip.start_s + strip.step_s * np.arange(strip.low.size)
            kept.extend(zip(at.tolist(), strip.low.tolist(), strip.high.tolist(), strict=True))
            while kept and kept[0][0] < kept[-1][0] - SHOWN_S:
                kept.popleft()
        for name, found in beats.items():
            self._beats.setdefault(name, deque(maxlen=32)).extend(found.tolist())

    def estimate(self, record: str, estimate: Estimate) -> None:  # noqa: ARG002 (a viewer's face)
        """Keep the latest of each kind."""
        state = state_of(estimate)
        if state == "refused":
            self._refused = f"{clock(estimate.onset_s)}: refused: {estimate.reason}"
            return
        self._last[state] = estimate
        if estimate.onset_s >= self._last.get("latest", estimate).onset_s:
            self._last["latest"] = estimate

    def event(self, event: Event) -> None:
        """Keep the last few."""
        self._events.append(event_line(event))

    def note(self, text: str) -> None:
        """Keep it among the events."""
        self._events.append(f"note: {text}")

    def status(self, status: Status) -> None:
        """Keep it."""
        self._status = status

    def end(self, summary: str) -> None:
        """Give the screen back, with the last picture and the last word on it."""
        self._live.stop()
        self._console.print(summary)

    def picture(self) -> RenderableType:
        """Return what is on the screen now."""
        from rich.console import Group
        from rich.panel import Panel
        from rich.text import Text

        about = self._about
        if about is None:
            return Text("")
        status = self._status
        late = f" · {clock(status.behind_s)} behind" if status.behind_s > 2 else ""
        silent = f" · nothing has arrived for {clock(status.silent_s)}" if status.silent_s else ""
        title = f"{about.run} · {about.task.replace('_', ' ')} · {clock(status.now_s)} · {status.state}{late}{silent}"
        parts: list[Any] = [self._numbers(about), self._quality(), *self._signals(), self._told()]
        parts += [Text(line, style="yellow") for line in self._events]
        parts += [Text(line, style="dim") for line in (*self._places, "Ctrl-C ends")]
        return Panel(Group(*parts), title=Text(title), subtitle=Text(about.says), title_align="left", subtitle_align="left")

    def _numbers(self, about: About) -> RenderableType:
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("", "latest", "interval", "", "settled", "interval", ""):
            table.add_column(heading, justify="right" if heading in {"latest", "settled"} else "left", no_wrap=True)
        latest, settled = self._last.get("latest"), self._last.get("settled")
        for name in about.targets:
            unit = about.units.get(name, "")
            state = "" if latest is None or latest.settled else "provisional"
            age = "" if settled is None else f"of {clock(settled.onset_s)}"
            table.add_row(name, *_pair(latest, name, unit), state, *_pair(settled, name, unit), age)
        return table

    def _quality(self) -> RenderableType:
        from rich.text import Text

        latest = self._last.get("latest")
        if latest is None:
            return Text(self._refused or "waiting for the first window", style="dim")
        full = round(20 * latest.sqi) if math.isfinite(latest.sqi) else 0
        style = "green" if latest.sqi >= 0.7 else "yellow" if latest.sqi >= 0.4 else "red"
        on, off = ("█", "░") if self._fancy else ("#", ".")
        rates = ", ".join(f"{name} {rate:.0f} beats/min" for name, rate in self._status.rate.items() if math.isfinite(rate))
        return Text.assemble("quality ", (on * full + off * (20 - full), style), f" {latest.sqi:.2f}   {rates}")

    def _signals(self) -> list[RenderableType]:
        from rich.text import Text

        width = max(min(self._console.width - 16, 100), 10)
        lines: list[RenderableType] = []
        for name, kept in self._traces.items():
            if not kept:
                continue
            points = np.array(list(kept), np.float64)
            stop = points[-1, 0]
            column = np.clip(((points[:, 0] - stop) / SHOWN_S + 1) * width, 0, width - 1).astype(int)
            beats = {int(((t - stop) / SHOWN_S + 1) * width) for t in self._beats.get(name, ()) if stop - SHOWN_S < t <= stop}
            marks = "".join(("▾" if self._fancy else "v") if k in beats else " " for k in range(width))
            line = spark(column, points[:, 1:].mean(axis=1).astype(np.float32), width, BLOCKS if self._fancy else PLAIN_BLOCKS)
            lines += [Text(f"{'':10} {marks}", style="red"), Text(f"{name[:10]:10} {line}", style="cyan")]
        return lines

    def _told(self) -> RenderableType:
        from rich.text import Text

        counts = self._status.counts
        words = [f"{counts[w]} {w}" for w in ("settled", "provisional", "refused") if counts.get(w)]
        return Text(" · ".join([*words, *([self._refused] if self._refused and self._last else [])]), style="dim")

    @property
    def _fancy(self) -> bool:
        return self._console.encoding.lower().startswith("utf")


def spark(column: I64, level: F32, width: int, blocks: str = BLOCKS) -> str:
    """Return a signal as one line of blocks, a blank where there are no samples.

    Parameters
    ----------
    column
        In which column each point lies, shape (point,).
    level
        Its height, shape (point,); of several in a column the one that is farthest from the middle counts.
    width
        Columns.
    blocks
        Characters from low to high.

    Examples
    --------
    >>> spark(np.array([0, 1, 2, 4]), np.array([0, 1, 2, 2], np.float32), 5, "_-^")
    '_-^ ^'
    """
    known = np.isfinite(level)
    if not known.any():
        return " " * width
    low, high = float(level[known].min()), float(level[known].max())
    middle, span = float(np.median(level[known])), (high - low) or 1.0
    text = [" "] * width
    for k in np.unique(column[known]):
        here = level[known & (column == k)]
        far = float(here[np.abs(here - middle).argmax()])
        text[int(k)] = blocks[min(int((far - low) / span * len(blocks)), len(blocks) - 1)]
    return "".join(text)


def _pair(estimate: Estimate | None, name: str, unit: str) -> tuple[str, str]:
    if estimate is None or name not in estimate.values:
        return "–", ""
    value = estimate.values[name]
    if isinstance(value, str):
        shares = estimate.shares.get(name, ())
        return value, f"{100 * max(shares):.0f} %" if shares else ""
    interval = f"{estimate.lower.get(name, math.nan):.0f} to {estimate.upper.get(name, math.nan):.0f}"
    return f"{value:.1f} {unit}".rstrip(), interval if "nan" not in interval else ""
