"""The engine of this machine: processes, each with one job in hand. One that dies is replaced, and the others do not notice.

`concurrent.futures` ends the whole pool with one dead process and does not say whose job it was; hence a pool of our own, of
which every process has a pipe to itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from biosig_mtl.pipeline.engines.answering import answer, outcome
from biosig_mtl.pipeline.engines.interface import Died, Function, Outcome

# Deaths that come from outside: the kernel that is out of memory, an operator, a scheduler.
_FROM_OUTSIDE = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP} if os.name == "posix" else set()
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Local:
    """Processes on this machine."""

    workers: int = 1

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.workers < 1:
            raise ValueError(f"need workers >= 1, got {self.workers}")

    def warm(self) -> None:
        """Start the process from which the workers will be split off; it imports while the caller plans."""
        if _method() == "forkserver":
            from multiprocessing import forkserver

            _context()
            with _one_thread():
                forkserver.ensure_running()

    @contextlib.contextmanager
    def open(self, function: Function, most: int) -> Iterator[_Processes]:
        """Return processes; whatever happens, none outlives the context."""
        crew = _Processes(function, min(self.workers, max(most, 1)))
        try:
            yield crew
        except BaseException:
            crew.end(at_once=True)
            raise
        crew.end(at_once=False)


def _method() -> str:
    """Return how processes are started.

    Never by a plain fork: it copies locks that threads of the caller may hold.
    """
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def _context() -> Any:
    context = multiprocessing.get_context(_method())
    if _method() == "forkserver":
        context.set_forkserver_preload(["biosig_mtl.pipeline.engines.warm"])
    return context


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Start processes whose linear algebra has one thread each, unless the user has said otherwise."""
    ours = [name for name in _THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(ours, "1"))
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


class _Member:
    """A process and our end of its pipe; ``ticket`` is of the job it has in hand."""

    def __init__(self, function: Function) -> None:
        context = _context()
        self.pipe, theirs = context.Pipe()
        self.ticket: int | None = None
        self.process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        with _one_thread():
            self.process.start()
        theirs.close()

    def end(self, *, at_once: bool) -> int | None:
        """Close the pipe, which ends a process that waits; return its exit code."""
        self.pipe.close()
        if at_once:
            self.process.kill()
        self.process.join(_PATIENCE_S)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        code: int | None = self.process.exitcode
        self.process.close()
        return code


class _Processes:
    def __init__(self, function: Function, workers: int) -> None:
        self._function, self._workers = function, workers
        self._members = [_Member(function) for _ in range(workers)]

    def slots(self) -> int:
        return self._workers

    def start(self, ticket: int, job: Any) -> None:
        while True:
            member = self._free()
            try:
                member.pipe.send(job)
            except OSError:  # killed while it had nothing to do
                self._bury(member)
                continue
            member.ticket = ticket
            return

    def wait(self) -> list[tuple[int, Outcome]]:
        busy = [m for m in self._members if m.ticket is not None]
        ready = set(wait([*(m.pipe for m in busy), *(m.process.sentinel for m in busy)]))
        return [self._collect(m) for m in busy if m.pipe in ready or m.process.sentinel in ready]

    def end(self, *, at_once: bool) -> None:
        for member in self._members:
            if not at_once:
                member.pipe.close()  # all of them hear it before any is waited for
        for member in self._members:
            member.end(at_once=at_once)
        self._members = []

    def _free(self) -> _Member:
        free = next((m for m in self._members if m.ticket is None), None)
        if free is None:
            free = _Member(self._function)
            self._members.append(free)
        return free

    def _collect(self, member: _Member) -> tuple[int, Outcome]:
        ticket = member.ticket
        assert ticket is not None
        try:
            given = member.pipe.recv() if member.pipe.poll() else None
        except (EOFError, OSError):
            given = None
        if given is None:
            return ticket, self._bury(member)
        member.ticket = None
        return ticket, outcome(given)

    def _bury(self, member: _Member) -> Died:
        self._members.remove(member)
        code = member.end(at_once=False) or 0
        return Died(_how(code), sure=code not in _FROM_OUTSIDE)


def _how(code: int) -> str:
    """Return what an exit code means."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _serve(pipe: Connection, function: Function) -> None:
    """Work whatever comes through the pipe, until it is closed or nobody is left who could send anything."""
    # Ctrl-C reaches every process of a terminal: the driver is the one that answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    ends: list[Any] = [pipe] if parent is None else [pipe, parent.sentinel]
    with contextlib.suppress(EOFError, OSError):
        while pipe in wait(ends):
            pipe.send(answer(function, pipe.recv()))
