"""What got slower: the ratios of a run of the benchmarks beside those that are committed.

    python -m tests.benchmarks.guard bench     # measure, measure again what looks slower, compare; exit 1 if it stays slower
    python -m tests.benchmarks.guard check     # compare the last measurement; exit 1 if something got slower
    python -m tests.benchmarks.guard accept    # commit the last measurement to ratios.json; what was not run keeps its ratio

Only ratios are compared, ours beside a peer's on the same input in the same run: a slower machine slows both. A ratio is
*slower* when more than 20 % are lost and its spread does not explain that; *perhaps slower* when it may. Such a row is
measured twice more, and the median of the three counts. A ratio that is only *perhaps* slower is told and lets the run pass: a
guard that cries over noise is switched off.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

COMMITTED = Path(__file__).parent / "ratios.json"
MEASURED = Path(__file__).parents[2] / "build" / "bench"
MORE = 0.20  # of a ratio that may be lost
AGAIN = 2  # further measurements of what looks slower
BUSY = 0.3  # of every core, before the benchmarks: measured under load
Word = Literal["slower", "perhaps slower", "faster", "as before", "new", "not run"]


@dataclass(frozen=True, slots=True)
class Row:
    """One ratio: what was committed and what was measured (None where there is none), ``loss`` as a share, and the spread."""

    name: str
    word: Word
    before: float | None = None
    now: float | None = None
    loss: float = 0.0
    spread: float | None = None
    test: str = ""

    def __str__(self) -> str:
        """Say it in a line."""
        noise = "" if self.spread is None else f" (runs differ by ± {self.spread:.0%})"
        if self.before is None:
            return f"{self.word}: {self.name}: {self.now:.3g}{noise}"
        if self.now is None:
            return f"{self.word}: {self.name}: was {self.before:.3g}"
        way = f"{abs(self.loss):.0%} {'worse' if self.loss > 0 else 'better'}"
        return f"{self.word}: {self.name}: {self.before:.3g} → {self.now:.3g}, {way}{noise}"


def compare(committed: Mapping[str, Mapping[str, Any]], measured: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Return a row for every ratio that is committed or measured: the slowest first, then what is new, then what was not
    run.
    """
    rows = [_row(name, told, measured[name]) for name, told in committed.items() if name in measured]
    rows.sort(key=lambda row: -row.loss)
    rows += [
        Row(name, "new", now=float(told["ratio"]), spread=told.get("spread"), test=str(told.get("test", "")))
        for name, told in measured.items()
        if name not in committed
    ]
    return rows + [
        Row(name, "not run", before=float(told["ratio"])) for name, told in committed.items() if name not in measured
    ]


def _row(name: str, committed: Mapping[str, Any], measured: Mapping[str, Any]) -> Row:
    before, now = float(committed["ratio"]), float(measured["ratio"])
    # How many times as much work the same takes now, less one.
    loss = (before / now if committed.get("better", "higher") == "higher" else now / before) - 1
    noise = max((float(told["spread"]) for told in (committed, measured) if told.get("spread") is not None), default=0.0)
    word: Word = "as before"
    if loss > MORE:
        word = "slower" if loss - noise > MORE else "perhaps slower"
    elif loss < -MORE / (1 + MORE):
        word = "faster"
    return Row(name, word, before, now, loss, measured.get("spread"), str(measured.get("test", "")))


def together(measurements: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the median ratio of several measurements by name, with the spread of the medians where there are several."""
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for one in measurements for name in one):
        told = [one[name] for one in measurements if name in one]
        values = [float(row["ratio"]) for row in told]
        found[name] = dict(told[0]) | {"ratio": median(values)}
        if len(values) > 1:
            found[name] |= {"spread": (max(values) - min(values)) / 2 / median(values)}
    return found


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what is worth a line each, and a sum at the end."""
    yield from (str(row) for row in rows if row.word != "as before")
    counts = {word: sum(row.word == word for row in rows) for word in dict.fromkeys(row.word for row in rows)}
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    yield f"{len(rows)} ratios: {told or 'none'}"


def bad(rows: Sequence[Row]) -> bool:
    """Whether the guard does not let this pass."""
    return any(row.word == "slower" for row in rows)


def accepted(
    committed: Mapping[str, Any], measured: Mapping[str, Mapping[str, Any]], environment: Mapping[str, str]
) -> dict[str, Any]:
    """Return the content of ``ratios.json`` with what was measured; what was not run stays."""
    load = float(environment.get("load", "nan"))
    words = ("python", "numpy", "scipy", "torch")
    machine = ", ".join(
        [processor(), f"{environment.get('cores', '?')} cores", *(f"{w} {environment[w]}" for w in words if w in environment)]
    )
    noted = {"load": "not known" if math.isnan(load) else "busy" if load > BUSY else "quiet", "machine": machine}
    new = {
        name: {
            "ratio": float(f"{told['ratio']:.4g}"),
            "better": told["better"],
            "spread": None if told.get("spread") is None else round(float(told["spread"]), 3),
            "runs": told["runs"],
            "test": told["test"],
            **noted,
        }
        for name, told in measured.items()
    }
    rows = dict(committed.get("ratios") or {}) | new
    return {
        "about": "ratio: ours beside a peer's in one run; better: which way; spread: half the range of single runs, as a "
        "share; load: how busy the machine was before. Made by `make bench-accept`.",
        "ratios": {name: rows[name] for name in sorted(rows)},
    }


def processor() -> str:
    """Return the model of the processor; nothing that names the machine."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        told = []
    model = next((line.partition(":")[2].strip() for line in told if line.startswith("model name")), "")
    return model or platform.machine()


def read(path: Path) -> dict[str, Any]:
    """Return a JSON file; refuse one that is not there with a line that says what to do."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise SystemExit(f"guard: {path}: not there; run `make bench` first") from None
    except ValueError as error:
        raise SystemExit(f"guard: {path}: not readable: {error}") from None
    return content


def last(folder: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return what was measured last, all measurements together, and its environment."""
    first = read(folder / "benchmarks.json")
    more = [read(path) for path in sorted(folder.glob("again-*/benchmarks.json"))]
    return together([told["guarded"] for told in (first, *more)]), first["environment"]


def check(folder: Path, committed: Path) -> list[Row]:
    """Return the last measurement beside the committed ratios; without any of those all is new."""
    known = read(committed)["ratios"] if committed.is_file() else {}
    return compare(known, last(folder)[0])


def measure(folder: Path, tests: Sequence[str]) -> int:
    """Run benchmarks; their book goes to ``folder``. Return pytest's exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    given = {**os.environ, "BENCH_OUT": str(folder), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    command = [sys.executable, "-m", "pytest", "-m", "benchmark", "-s", *tests]
    return subprocess.run(command, env=given, check=False).returncode


def bench(folder: Path, committed: Path) -> int:
    """Measure everything, and again what looks slower; return the exit code."""
    for path in (*folder.glob("again-*/benchmarks.json"), folder / "benchmarks.json"):
        path.unlink(missing_ok=True)
    code = measure(folder, ["tests/benchmarks"])
    suspects = sorted({row.test for row in check(folder, committed) if row.word in {"slower", "perhaps slower"} and row.test})
    for turn in range(AGAIN if suspects else 0):
        sys.stdout.write(f"measured again: {', '.join(suspects)}\n")
        code = max(code, measure(folder / f"again-{turn + 1}", suspects))
    return max(code, tell(check(folder, committed)))


def tell(rows: Sequence[Row]) -> int:
    """Write the lines; return the exit code."""
    sys.stdout.write("".join(f"{line}\n" for line in lines(rows)))
    return int(bad(rows))


def accept(folder: Path, committed: Path) -> int:
    """Write the committed ratios anew from the last measurement."""
    known = read(committed) if committed.is_file() else {}
    content = accepted(known, *last(folder))
    committed.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"{committed}: {len(content['ratios'])} ratios\n")
    return 0


def main(arguments: Sequence[str]) -> int:
    """Do one of ``bench check accept``; ``$BENCH_OUT`` names the folder of what was measured."""
    folder = Path(os.environ.get("BENCH_OUT") or MEASURED)
    verbs = {"bench": bench, "check": lambda *places: tell(check(*places)), "accept": accept}
    if len(arguments) != 1 or arguments[0] not in verbs:
        sys.stderr.write(f"guard: need one of {', '.join(verbs)}\n")
        return 2
    return verbs[arguments[0]](folder, COMMITTED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
