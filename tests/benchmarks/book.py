"""What the benchmarks measured: rows, the JSON with everything, and the short Markdown that people read."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np

from tests.benchmarks.scoring import Score
from tests.benchmarks.timing import spread

MARGIN = 0.001  # F1 that ours may be below the best peer


def running_test() -> str:
    """Return the test that is running, as pytest names it; empty outside of one."""
    return os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]


@dataclass(frozen=True, slots=True)
class Speed:
    """CPU seconds that the same input took, ours and a peer's. ``key`` groups rows; ``detector`` rows go with the accuracy.

    ``guarded`` is whether the ratio may be compared with that of another day: not where one side was not measured in this run.
    """

    key: str
    what: str
    peer: str
    hours: float
    ours_s: float
    theirs_s: float
    runs: int
    note: str = ""
    guarded: bool = True
    test: str = field(default_factory=running_test)

    @property
    def ratio(self) -> float:
        """How many times as fast ours is."""
        return self.theirs_s / self.ours_s

    @property
    def name(self) -> str:
        """What tells this ratio from all others."""
        return f"{self.key}: {self.what} | {self.peer}"


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio that is no quotient of CPU seconds: a speed-up, a share of a rate. ``name`` tells it from all others.

    ``better`` says which way is better; ``values`` are those of the single runs, of which the ratio is the median.
    """

    name: str
    values: tuple[float, ...]
    better: Literal["higher", "lower"] = "higher"
    note: str = ""
    test: str = field(default_factory=running_test)

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not self.values or not all(math.isfinite(value) and value > 0 for value in self.values):
            raise ValueError(f"need finite values > 0, got {self.values}")

    @property
    def ratio(self) -> float:
        """Median of the runs."""
        return median(self.values)

    @property
    def spread(self) -> float | None:
        """Half of what lies between the largest and the smallest, as a share of the median; None of a single run."""
        return (max(self.values) - min(self.values)) / 2 / self.ratio if len(self.values) > 1 else None


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The score of a method on a set of recordings, or why there is none."""

    kind: str
    method: str
    inputs: str
    score: Score | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took for a job on so many hours of signal."""

    key: str
    what: str
    hours: float
    cpu_s: float
    peak_mb: float
    base_mb: float


@dataclass(frozen=True, slots=True)
class Claim:
    """Ours beside the best peer on one set, F1 at 150 ms."""

    kind: str
    inputs: str
    ours: float
    best: float
    peer: str

    @property
    def held(self) -> bool:
        """Whether ours is at most `MARGIN` below the best peer."""
        return self.ours >= self.best - MARGIN

    def __str__(self) -> str:
        """Say it in a line."""
        word = "holds" if self.held else "FALLS SHORT"
        return f"{self.kind} {self.inputs}: ours {self.ours:.4f}, best peer {self.best:.4f} ({self.peer}): {word}"


@dataclass
class Book:
    """Everything that one run measured."""

    ours: str
    environment: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    speed: list[Speed] = field(default_factory=list)
    accuracy: list[Accuracy] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)

    def guarded(self) -> dict[str, dict[str, object]]:
        """Return what `guard` compares with the committed ratios, by name."""
        found: dict[str, dict[str, object]] = {}
        for row in self.speed:
            if row.guarded and row.peer != self.ours:
                apart = spread(row.ours_s, row.theirs_s)
                found[row.name] = {"ratio": row.ratio, "better": "higher", "spread": apart, "runs": row.runs, "test": row.test}
        for one in self.ratios:
            runs = len(one.values)
            found[one.name] = {"ratio": one.ratio, "better": one.better, "spread": one.spread, "runs": runs, "test": one.test}
        return found

    def claims(self) -> list[Claim]:
        """Return ours beside the best peer on every set that both were tried on."""
        found = []
        for kind, name in dict.fromkeys((row.kind, row.inputs) for row in self.accuracy):
            scored = {r.method: r.score.f1 for r in self.accuracy if (r.kind, r.inputs) == (kind, name) and r.score}
            peers = {method: f1 for method, f1 in scored.items() if method != self.ours}
            if self.ours in scored and peers:
                best = max(peers, key=lambda method: peers[method])
                found.append(Claim(kind, name, scored[self.ours], peers[best], best))
        return found

    def write(self, folder: Path) -> str:
        """Write ``benchmarks.json`` and ``benchmarks.md``; return the Markdown."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "environment": self.environment,
            "notes": self.notes,
            "speed": [{**asdict(row), "ratio": row.ratio} for row in self.speed],
            "accuracy": [told(row) for row in self.accuracy],
            "costs": [asdict(row) for row in self.costs],
            "ratios": [{**asdict(row), "ratio": row.ratio} for row in self.ratios],
            "guarded": self.guarded(),
            "claims": [{**asdict(claim), "held": claim.held} for claim in self.claims()],
        }
        (folder / "benchmarks.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        text = self.markdown()
        (folder / "benchmarks.md").write_text(text, encoding="utf-8")
        return text

    def markdown(self) -> str:
        """Return the tables: speed, length, ECG, PPG."""
        parts = [self._speed(), self._ratios(), self._length(), *(self._accuracy(kind) for kind in ("ecg", "ppg"))]
        parts += ["\n".join(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n\n".join(part for part in parts if part) + "\n"

    def _speed(self) -> str:
        rows = [row for row in self.speed if row.key != "detector"]
        cells = [
            (row.what, row.peer, number(row.ours_s / row.hours), number(row.theirs_s / row.hours), f"**{number(row.ratio)} ×**")
            for row in rows
        ]
        head = ("work, CPU seconds an hour of signal", "peer", "ours", "peer's", "ratio")
        return titled("Speed", head, cells, ":--|:--|--:|--:|--:")

    def _ratios(self) -> str:
        cells = [
            (row.name, number(row.ratio), f"{row.spread:.0%}" if row.spread is not None else "–", row.better, row.note)
            for row in self.ratios
        ]
        return titled("Further ratios", ("ratio", "median", "±", "better", ""), cells, ":--|--:|--:|:--|:--")

    def _length(self) -> str:
        cells = [
            (row.what, number(row.hours, 3), number(row.cpu_s), number(row.cpu_s / row.hours), f"{row.peak_mb:.0f}")
            for row in self.costs
        ]
        head = ("a process of its own", "hours", "CPU s", "CPU s an hour", "peak MB")
        text = titled("Length and memory", head, cells, ":--|--:|--:|--:|--:")
        fit = self.line()
        told = "\n\nOurs, single records: {:.2f} s + {:.2f} s an hour; no length is more than {:.0%} off this line."
        return text + (told.format(*fit) if fit and text else "")

    def line(self) -> tuple[float, float, float] | None:
        """Return the line through the CPU seconds of ours on single records: at 0 h, per hour, largest relative error."""
        own = [row for row in self.costs if row.key == "ours" and "1 record" in row.what]
        hours, spent = (np.array(values) for values in ([r.hours for r in own], [r.cpu_s for r in own]))
        if hours.size < 3:
            return None
        slope, fixed = np.polyfit(hours, spent, 1, w=1 / spent)
        return float(fixed), float(slope), float(np.abs((fixed + slope * hours) / spent - 1).max())

    def _accuracy(self, kind: str) -> str:
        rows = [row for row in self.accuracy if row.kind == kind]
        sets = list(dict.fromkeys(row.inputs for row in rows))
        methods = list(dict.fromkeys(row.method for row in rows if row.score))
        by = {(row.method, row.inputs): row for row in rows}
        columns = [_column([by.get((method, name)) for method in methods]) for name in sets]
        table = []
        for i, method in enumerate(methods):
            scores = [row.score for name in sets if (row := by.get((method, name))) and row.score]
            seconds = {r.peer: r.theirs_s / r.hours for r in self.speed if r.key == "detector" and r.what == kind}
            timing = (_lag(scores), _jitter(by.get((method, _cleanest(sets)))), number(seconds.get(method, math.nan)))
            table.append((_name(method, self.ours), *(column[i] for column in columns), *timing))
        head = ("F1 within 150 ms / 50 ms", *sets, "lag, ms", "jitter, ms", "CPU s/h")
        text = titled(f"{kind.upper()} beats", head, table, "|".join([":--", *["--:"] * (len(head) - 1)]))
        failures = dict.fromkeys(f"{row.method}: {row.reason}" for row in rows if row.reason)
        return text + ("\n\n" + "\n".join(f"- {why}" for why in failures) if text and failures else "")


def told(row: Accuracy) -> dict[str, object]:
    """Return a row of accuracy as JSON: counts, shares, milliseconds."""
    content: dict[str, object] = {"kind": row.kind, "method": row.method, "inputs": row.inputs}
    if row.score is None:
        return {**content, "reason": row.reason}
    score = row.score
    shares = {"f1": score.f1, "f1_50ms": score.strict_f1, "sensitivity": score.sensitivity, "ppv": score.ppv}
    times = {"lag_ms": score.lag_s, "jitter_ms": score.jitter_s, "sd_ms": score.sd_s}
    known = {name: round(1000 * value, 3) if math.isfinite(value) else None for name, value in times.items()}
    return {**content, "n_true": score.n_true, "n_found": score.n_found, "hits": score.hits, **shares, **known}


def titled(title: str, head: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> str:
    """Return a Markdown table under a heading, or nothing without rows."""
    rows = list(rows)
    if not rows:
        return ""
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([f"### {title}", "", f"| {' | '.join(head)} |", f"|{align}|", *lines])


def number(value: float, digits: int = 2) -> str:
    """Return a number with so many significant digits and no exponent, or a dash."""
    if not math.isfinite(value):
        return "–"
    places = max(digits - 1 - math.floor(math.log10(abs(value))), 0) if value else 0
    return f"{value:.{places}f}"


def _column(rows: Sequence[Accuracy | None]) -> list[str]:
    """Return the cells of one set, the best of each tolerance in bold."""
    scores = [row.score if row else None for row in rows]
    wide, strict = ([f"{s.f1 if at == 0 else s.strict_f1:.4f}" if s else "" for s in scores] for at in (0, 1))
    best = max(wide, default=""), max(strict, default="")
    pairs = zip(wide, strict, strict=True)
    return [
        " / ".join(_bold(x, best=x == top) for x, top in zip(pair, best, strict=True)) if pair[0] else "–" for pair in pairs
    ]


def _bold(text: str, *, best: bool) -> str:
    short = text.removeprefix("0")
    return f"**{short}**" if best else short


def _name(method: str, ours: str) -> str:
    return f"**{method}**" if method == ours else method


def _cleanest(sets: Sequence[str]) -> str:
    return next((name for name in sets if "clean" in name), sets[0] if sets else "")


def _lag(scores: Sequence[Score]) -> str:
    lags = sorted(1000 * score.lag_s for score in scores if math.isfinite(score.lag_s) and abs(score.lag_s) < 0.2)
    return f"{round(lags[len(lags) // 2]):+d}" if lags else "–"


def _jitter(row: Accuracy | None) -> str:
    return f"{1000 * row.score.jitter_s:.1f}" if row and row.score and math.isfinite(row.score.jitter_s) else "–"
