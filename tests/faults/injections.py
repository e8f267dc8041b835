"""Faults that are put into a child before it runs: kills at a place, errors of the file system, clocks that jump, limits.

The calls of the file system are wrapped where Python makes them: ``os.replace``, ``os.fsync``, ``os.rename``, ``open`` and what
is read from and written to what it returns. What C or Rust code opens by itself is not seen.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import importlib
import io
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

NOBODY = 65534
COMMITS = ("replace", "rename", "fsync", "link")
"""Calls before and after which `kill_at` may strike; between the halves of every write it may strike too."""
_CLOCKS = ("time", "monotonic", "perf_counter")


@contextlib.contextmanager
def inject(order: Mapping[str, Any], place: Path) -> Iterator[None]:
    """Put in what an order asks for.

    ``kill_at``: number of the place at which the child kills itself (0: never, but count the places). ``error``: what of
    ``call match errno nth times`` says. ``clock``: ``after`` so many looks it jumps by ``by_s``. ``limits``: of `resource`, by
    name. ``uid``: become this user. ``small_lots``: a lot a record; "forked": workers are forks. ``quick``: few baselines, no
    report. ``raises``: the function ``where`` raises ``what``.
    """
    with contextlib.ExitStack() as stack:
        for fault, put in _FAULTS.items():
            if fault in order:
                stack.enter_context(put(order[fault], place))
        yield


# ------------------------------------------------------------------------------------------------------------ in our code
@contextlib.contextmanager
def _small_lots(workers: str, _: Path) -> Iterator[None]:
    """Let every record be a lot of its own, so that a tiny cohort passes as many places as a large one."""
    from biosig_mtl.pipeline import preparing
    from biosig_mtl.pipeline.engines import local

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(preparing, "LOT_RECORDS", 1))
        if workers == "forked":
            # The child has one thread, so that its workers may be forks of it: they have everything in memory too.
            stack.enter_context(mock.patch.object(local, "_method", return_value="fork"))
        yield


@contextlib.contextmanager
def _quick(_: Any, __: Path) -> Iterator[None]:
    """Leave out what takes long and writes nothing that is compared: slow baselines and the page."""
    from biosig_mtl import report
    from biosig_mtl.models import baselines

    few = {name: baselines.BASELINES[name] for name in ("train_mean", "train_median")}
    with (
        mock.patch.object(baselines, "BASELINES", few),
        mock.patch.object(report, "render", return_value=Path("report.html")),
        mock.patch.object(report, "verdict_lines", return_value=[]),
    ):
        yield


@contextlib.contextmanager
def _raises(told: Mapping[str, str], _: Path) -> Iterator[None]:
    """Let the function at ``where`` (module:name) raise the built-in error ``what``."""
    module, name = told["where"].split(":")
    error = getattr(builtins, told["what"])
    with mock.patch.object(importlib.import_module(module), name, side_effect=error):
        yield


# ------------------------------------------------------------------------------------------------------------------ kills
@contextlib.contextmanager
def _kill_at(nth: int, place: Path) -> Iterator[None]:
    passed = [0]

    def here() -> None:
        passed[0] += 1
        if passed[0] == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **more: Any) -> Any:
            here()
            result = call(*args, **more)
            here()
            return result

        return wrapped

    class Torn(io.FileIO):
        """A file whose writes may end in the middle."""

        def write(self, data: Any) -> int:
            view = memoryview(data).cast("B")
            half = len(view) // 2
            if half:
                super().write(view[:half])
                here()
            super().write(view[half:])
            return len(view)

    with contextlib.ExitStack() as stack:
        for name in COMMITS:
            stack.enter_context(mock.patch.object(os, name, around(getattr(os, name))))
        _patch_open(stack, lambda path, mode: Torn(path, mode) if "w" in mode or "a" in mode else None)
        yield
    (place / "places").write_text(str(passed[0]), encoding="utf-8")


# ----------------------------------------------------------------------------------------------------------------- errors
@contextlib.contextmanager
def _error(told: Mapping[str, Any], _: Path) -> Iterator[None]:
    """Let calls named ``call`` on paths that contain ``match`` fail with ``errno``, from the ``nth`` on, ``times`` times."""
    number = getattr(errno, told["errno"])
    state = {"seen": 0, "failed": 0}

    def strike(path: object) -> None:
        if told.get("match", "") not in os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else False:
            return
        state["seen"] += 1
        if state["seen"] >= told.get("nth", 1) and state["failed"] < told.get("times", 1 << 30):
            state["failed"] += 1
            raise OSError(number, os.strerror(number), path if isinstance(path, str | os.PathLike) else None)

    with contextlib.ExitStack() as stack:
        call = told["call"]
        if call in {"open", "read", "write"}:
            _patch_open(stack, _failing_file(call, strike))
        else:
            stack.enter_context(mock.patch.object(os, call, _failing(getattr(os, call), strike)))
        yield


def _failing(call: Callable[..., Any], strike: Callable[[object], None]) -> Callable[..., Any]:
    def wrapped(first: Any, *args: Any, **more: Any) -> Any:
        # A number is an open file: its path is what its link says.
        strike(Path(f"/proc/self/fd/{first}").readlink() if isinstance(first, int) else first)
        return call(first, *args, **more)

    return wrapped


class _Failing(io.FileIO):
    """A file that fails while it is read or written."""

    fails = ""
    strike: Callable[[object], None]

    def _use(self, call: str) -> None:
        if call == self.fails:
            self.strike(self.name)

    def readinto(self, buffer: Any, /) -> int | None:
        self._use("read")
        return super().readinto(buffer)

    def readall(self) -> bytes:
        self._use("read")
        return super().readall() or b""

    def read(self, size: int | None = -1, /) -> bytes:
        self._use("read")
        return super().read(-1 if size is None else size) or b""

    def write(self, data: Any, /) -> int:
        self._use("write")
        return super().write(data)


def _failing_file(call: str, strike: Callable[[object], None]) -> Callable[[str, str], io.FileIO | None]:
    kind: Any = type("Failing", (_Failing,), {"fails": call, "strike": staticmethod(strike)})

    def make(path: str, mode: str) -> io.FileIO | None:
        if call == "open":
            strike(path)
            return None
        writes = any(c in mode for c in "wax+")
        made: io.FileIO | None = kind(path, mode) if (call == "write") is writes else None
        return made

    return make


def _patch_open(stack: contextlib.ExitStack, make: Callable[[str, str], io.FileIO | None]) -> None:
    """Let ``open`` and ``Path.open`` ask ``make`` for the raw file; None: the usual one."""
    real = io.open

    def opened(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **more: Any) -> Any:
        if isinstance(file, int) or more.get("opener"):
            return real(file, mode, buffering, *args, **more)
        raw = make(os.fsdecode(file), mode.replace("t", "").replace("b", ""))
        if raw is None:
            return real(file, mode, buffering, *args, **more)
        if buffering == 0:
            return raw
        buffered: Any = io.BufferedReader(raw) if raw.readable() and not raw.writable() else io.BufferedWriter(raw)
        if "b" in mode:
            return buffered
        names = ("encoding", "errors", "newline")
        words = {**dict(zip(names, args, strict=False)), **{k: v for k, v in more.items() if k in names}}
        return io.TextIOWrapper(buffered, **words)

    stack.enter_context(mock.patch.object(io, "open", opened))
    stack.enter_context(mock.patch.object(builtins, "open", opened))


# ------------------------------------------------------------------------------------------------------- clocks and limits
@contextlib.contextmanager
def _clock(told: Mapping[str, Any], _: Path) -> Iterator[None]:
    """Let all clocks jump by ``by_s`` after ``after`` looks at any of them."""
    looks = [0]

    def jumping(real: Callable[[], float]) -> Callable[[], float]:
        def look() -> float:
            looks[0] += 1
            return real() + (told["by_s"] if looks[0] > told["after"] else 0.0)

        return look

    with contextlib.ExitStack() as stack:
        for name in _CLOCKS:
            stack.enter_context(mock.patch.object(time, name, jumping(getattr(time, name))))
        yield


@contextlib.contextmanager
def _limits(told: Mapping[str, int], _: Path) -> Iterator[None]:
    """Set limits of this process. A file that grows too large is an error then, and no signal."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for name, value in told.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        if name == "AS":
            value += _used_bytes()
        resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))
    yield


def _used_bytes() -> int:
    """Return the address space that is taken already: a limit means what may come on top of it."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


@contextlib.contextmanager
def _uid(number: int, place: Path) -> Iterator[None]:
    """Become another user; who is nobody already stays so."""
    if os.geteuid() == 0:
        place.chmod(0o777)
        os.setgroups([])
        os.setgid(number)
        os.setuid(number)
    yield


_FAULTS: dict[str, Callable[[Any, Path], contextlib.AbstractContextManager[None]]] = {
    "small_lots": _small_lots,
    "quick": _quick,
    "uid": _uid,
    "raises": _raises,
    "clock": _clock,
    "kill_at": _kill_at,
    "error": _error,
    "limits": _limits,
}
