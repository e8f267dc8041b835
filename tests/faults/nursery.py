"""A process that has imported everything, forks a child for each command and kills it when it is told to.

A kill costs no start-up this way: a child begins with every module in memory. The process stands by itself (``python -m
tests.faults.nursery``), for a fork of the process of the tests would copy whatever threads happen to run there. Orders come as
lines of JSON on standard input, answers go back as lines of JSON.
"""

from __future__ import annotations

import contextlib
import glob
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LIMIT_S = 100.0
_FIRST = ("biosig_mtl.cli", "biosig_mtl.pipeline", "biosig_mtl.experiment", "biosig_mtl.report", "biosig_mtl.data.synthetic")
_POLL_S = 0.0005
_PATIENCE_S = 15.0
_QUIET = re.compile(r"(prepare |train: |warning: |a worker died at |\S+: left out: )")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended: exit code (negative: the signal that ended it), what it said, how long it ran, and how many places
    it passed at which `kill_at` may strike. ``hung`` is one that had to be ended after `LIMIT_S`; ``orphans``: a process that
    it had started was still there `_PATIENCE_S` later.
    """

    code: int
    out: str
    err: str
    seconds: float
    places: int
    hung: bool = False
    orphans: bool = False

    @property
    def errors(self) -> list[str]:
        """Lines on standard error but progress and what is told of workers that died: an error of ours, or a foreign one."""
        return [line for line in self.err.splitlines() if line.strip() and not _QUIET.match(line)]


class Nursery:
    """The test's end of the process."""

    def __init__(self) -> None:
        """Start it and wait until everything is imported."""
        alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        # Threads of others would be copied half; pyarrow's own pool and the tracer of coverage are not needed here.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **alone},
        )
        self.threads = int(self._answer()["threads"])

    def order(self, *words: object, **more: Any) -> Outcome:
        """Run the command line with these words in a child; ``more`` is read by `_raise_child` and `injections.inject`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"words": [str(w) for w in words], **more}) + "\n")
        self._process.stdin.flush()
        return Outcome(**self._answer())

    def learn(self, *words: object, **more: Any) -> Outcome:
        """Run a command and import in the nursery what it had to import."""
        return self.order(*words, **more, learn=True)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the nursery is gone"
        content: dict[str, Any] = json.loads(line)
        return content


# ------------------------------------------------------------------------------------------------------- the nursery's end
def main() -> None:
    """Import everything, then obey."""
    for name in _FIRST:
        importlib.import_module(name)
    _say({"threads": len(list(Path("/proc/self/task").iterdir())) if Path("/proc/self/task").is_dir() else 1})
    for line in sys.stdin:
        order = json.loads(line)
        with tempfile.TemporaryDirectory(prefix="nursery-") as place:
            Path(place).chmod(0o777)
            _say(_obey(order, Path(place)))


def _say(content: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def _obey(order: Mapping[str, Any], place: Path) -> dict[str, Any]:
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _raise_child(order, place)
    status, hung = _wait(child, order, began)
    seconds = time.monotonic() - began
    orphans = _outlived(child)
    if order.get("learn"):
        _import((place / "modules").read_text(encoding="utf-8").split())
    return {
        "code": os.waitstatus_to_exitcode(status),
        "out": _text(place / "out"),
        "err": _text(place / "err"),
        "seconds": seconds,
        "places": int(_text(place / "places") or 0),
        "hung": hung,
        "orphans": orphans,
    }


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace") if path.is_file() else ""


def _wait(child: int, order: Mapping[str, Any], began: float) -> tuple[int, bool]:
    """Wait for a child, and send it (``group``: it and all it started) signals.

    ``signals`` are pairs of a time after the start, or of a pattern of a file to wait for, and a number.
    """
    plans: list[tuple[float | str, int]] = [(when, number) for when, number in order.get("signals", ())]
    limit = float(order.get("limit_s", LIMIT_S))
    hung = False
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            with contextlib.suppress(ProcessLookupError):
                if order.get("group"):
                    os.killpg(child, signal.SIGKILL)  # whoever outlived the first of them
            return status, hung
        passed = time.monotonic() - began
        if plans and _due(plans[0][0], passed):
            number = plans.pop(0)[1]
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if order.get("group") else os.kill)(child, number)
        if passed > limit:
            hung = True
            os.killpg(child, signal.SIGKILL)
        time.sleep(_POLL_S)


def _outlived(child: int) -> bool:
    """Return whether a process of the child's group is still there after a while; it is ended then."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        if not any(_is_alive_in(child, path) for path in Path("/proc").glob("[0-9]*/stat")):
            return False
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return True


def _is_alive_in(group: int, path: Path) -> bool:
    """Return whether a process belongs to a group and is more than a name that nobody has asked for."""
    try:
        state, _, belongs = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:3]
    except (OSError, ValueError):
        return False
    return int(belongs) == group and state != "Z"


def _due(when: float | str, passed: float) -> bool:
    return bool(glob.glob(when)) if isinstance(when, str) else passed >= when  # noqa: PTH207 (the pattern is absolute)


def _import(names: Sequence[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            if name not in sys.modules and "__mp_main__" not in name:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)


# ------------------------------------------------------------------------------------------------------------- in a child
def _raise_child(order: Mapping[str, Any], place: Path) -> None:
    """Run the command as the program would, and leave by its exit code; never return."""
    code = 70
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background of a shell ignores it
        _redirect(order, place)
        os.environ.update(order.get("env", {}))
        for name in order.get("unset", ()):
            os.environ.pop(name, None)
        from tests.faults import injections

        with injections.inject(order, place):
            code = _run(order["words"])
            if order.get("learn"):
                (place / "modules").write_text("\n".join(sys.modules), encoding="utf-8")
    except BaseException:  # noqa: BLE001 (whatever it was, the child must not go on as the nursery)
        import traceback

        os.write(2, traceback.format_exc().encode())
        code = 70
    finally:
        with contextlib.suppress(BaseException):
            sys.stderr.flush()
        os._exit(code)


def _redirect(order: Mapping[str, Any], place: Path) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "out"), (2, "err")):
        if name in order.get("broken_pipes", ()):
            end, other = os.pipe()
            os.close(end)
        elif name in order.get("full", ()):
            other = os.open("/dev/full", os.O_WRONLY)
        else:
            other = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(other, number)
        os.close(other)
    closed = [name in order.get("closed", ()) for name in ("out", "err")]
    for number, gone in enumerate(closed, start=1):
        if gone:
            os.close(number)
    sys.stdout, sys.stderr = (None if gone else _stream(number) for number, gone in enumerate(closed, start=1))


def _stream(number: int) -> Any:
    # As the interpreter opens them: what cannot be said is an error on standard output, and escaped on the other.
    errors = "strict" if number == 1 else "backslashreplace"
    return open(number, "w", encoding="utf-8", errors=errors, closefd=False)


def _run(words: Sequence[str]) -> int:
    from biosig_mtl import cli

    try:
        cli.main(words)
    except SystemExit as leaving:
        # The interpreter flushes on its way out, and tells of what it cannot flush.
        with contextlib.suppress(AttributeError):
            sys.stdout.flush()
        return leaving.code if isinstance(leaving.code, int) else 0
    return 0


@contextlib.contextmanager
def nursery() -> Iterator[Nursery]:
    """Hold a nursery for as long as the context lasts."""
    made = Nursery()
    try:
        yield made
    finally:
        made.close()


if __name__ == "__main__":
    main()
