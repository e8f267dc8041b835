"""The engine of many machines: Dask over TCP, on workers of its own, on a scheduler that runs already, or on jobs of SLURM.

Dask hands out and restarts; who is to blame for a death is decided by our own count (`biosig_mtl.pipeline.engines.driving`),
because Dask also suspects the jobs that only waited on the dead worker. So its own ``allowed-failures`` is zero where the
scheduler is ours; another's scheduler may try by itself first, and each of its tries leaves a crumb as well.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from biosig_mtl.pipeline.engines import slurm
from biosig_mtl.pipeline.engines.answering import answer, outcome
from biosig_mtl.pipeline.engines.interface import Died, Function, Outcome
from biosig_mtl.types import DataError, RecipeError

AHEAD = 2
"""Jobs in hand for each worker: one at work, one on the way."""

_LOOK_S = 5.0
_ADDRESS = re.compile(r"(tcp|tls)://(?P<host>\[[0-9a-fA-F:.]+\]|[\w.-]+):(?P<port>\d{1,5})")
_CONFIG = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
    # Its workers give every freed array back to the system at once, which doubles what our steps cost (measured: 15 of 29 s of
    # processor time in the kernel); and they look at what their threads do a hundred times a second.
    **{f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in slurm.MALLOC.items()},
    "distributed.worker.profile.enabled": False,
}


@dataclass(frozen=True)
class Dask:
    """Workers of Dask.

    ``scheduler`` is the address of one that runs (``tcp://host:8786``); without it ``cluster`` asks SLURM for workers; without
    both, ``workers`` processes are started on this machine. ``one_thread`` refuses workers that do two jobs at once, for the
    sake of a time limit, which is one for a process. ``tell`` is called with a line where there is something to wait for.
    """

    scheduler: str | None = None
    workers: int = 1
    cluster: slurm.Cluster | None = None
    one_thread: bool = False
    tell: Callable[[str], None] | None = None
    patience_s: float = 10.0

    def warm(self) -> None:
        """Refuse early what cannot be.

        Raises
        ------
        RecipeError
            The extra is missing, and what to install; the address is none.
        """
        if self.scheduler is not None and not _ADDRESS.fullmatch(self.scheduler):
            raise RecipeError(f"--scheduler {self.scheduler}: write it as tcp://HOST:PORT, as `dask scheduler` tells it")
        missing = "distributed"
        try:
            import distributed  # noqa: F401 (only whether it is there)

            if self.scheduler is None and self.cluster is not None:
                missing = "dask_jobqueue"
                import dask_jobqueue  # noqa: F401
        except ImportError as error:
            raise RecipeError(f"--engine dask: needs {missing}; pip install 'biosig-mtl[dask]'") from error

    @contextlib.contextmanager
    def open(self, function: Function, most: int) -> Iterator[_Crew]:
        """Connect, or start what there is to connect to.

        Raises
        ------
        DataError
            Nobody answers at the address.
        """
        self.warm()
        import dask
        import distributed

        # The library declares no types of its calls.
        connect: Any = distributed.Client

        with dask.config.set(_CONFIG), _quiet(), contextlib.ExitStack() as stack:
            place: Any = self.scheduler
            if place is None:
                place = stack.enter_context(self._started(most))
            name = self.scheduler or place.scheduler_address
            try:
                _knock(name, self.patience_s)
                client = stack.enter_context(connect(place, timeout=self.patience_s, set_as_default=False))
            except (OSError, ValueError, TypeError) as error:
                todo = "start one with `dask scheduler`, or leave out --scheduler"
                raise DataError(f"--scheduler {name}: no scheduler of Dask answers there; {todo}") from error
            yield _Crew(client, name, function, self)

    def _started(self, most: int) -> Any:
        """Return a cluster of our own."""
        if self.cluster is not None:
            return slurm.start(self.cluster)
        import distributed

        made: Any = distributed.LocalCluster
        return made(
            n_workers=min(self.workers, max(most, 1)),
            threads_per_worker=1,
            processes=True,
            protocol="tcp",
            host="127.0.0.1",
            dashboard_address=None,
            worker_dashboard_address=None,
            silence_logs=logging.CRITICAL,
            # A record that takes much is killed by the kernel as everywhere, and not at a share of this machine.
            memory_limit=0,
        )


def _knock(address: str, patience_s: float) -> None:
    """Raise `OSError` where nothing listens at an address: the library's own client would complain long after."""
    found = _ADDRESS.fullmatch(address)
    if found is not None:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), patience_s).close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's own talk off the terminal: what matters of it is told in our words."""
    # Some loggers of the family have a level of their own, which that of the first does not reach.
    family = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    loggers = [logging.getLogger(name) for name in {"distributed", *family}]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


class _Crew:
    def __init__(self, client: Any, name: str, function: Function, settings: Dask) -> None:
        self._client, self._name, self._function, self._settings = client, name, function, settings
        self._ended: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._futures: dict[int, Any] = {}
        self._mark = secrets.token_hex(4)
        self._slots, self._looked_s = 0, -math.inf
        self._told = False

    def slots(self) -> int:
        """Return twice the threads of all workers: they come and go, so they are counted again and again."""
        if time.monotonic() - self._looked_s >= _LOOK_S or not self._slots:
            threads = self._threads()
            self._looked_s = time.monotonic()
            self._slots = AHEAD * sum(threads.values())
            if self._settings.one_thread and any(n > 1 for n in threads.values()):
                raise RecipeError(
                    "--record-timeout: needs workers of one thread each; start them with `dask worker --nthreads 1`"
                )
        if not self._slots and not self._told and self._settings.tell is not None:
            self._settings.tell(f"waiting for a worker of {self._name}")
        self._told = not self._slots
        return max(self._slots, 1)

    def start(self, ticket: int, job: Any) -> None:
        key = f"biosig-lot-{self._mark}-{ticket}"
        try:
            future = self._client.submit(answer, self._function, job, key=key, pure=False)
        except (OSError, RuntimeError, ValueError) as error:
            raise self._gone() from error
        self._futures[ticket] = future
        future.add_done_callback(lambda done: self._ended.put((ticket, done)))

    def wait(self) -> list[tuple[int, Outcome]]:
        while True:
            with contextlib.suppress(queue.Empty):
                ticket, future = self._ended.get(timeout=1.0)
                ended = [(ticket, self._outcome(future))]
                del self._futures[ticket]
                future.release()
                return ended
            if self._client.status != "running" or any(f.cancelled() for f in self._futures.values()):
                raise self._gone()
            self.slots()

    def _threads(self) -> dict[str, int]:
        try:
            threads: dict[str, int] = self._client.nthreads()
        except (OSError, RuntimeError, ValueError, TimeoutError) as error:
            raise self._gone() from error
        return threads

    def _outcome(self, future: Any) -> Outcome:
        from distributed.scheduler import KilledWorker

        if future.cancelled() or future.status == "lost":
            raise self._gone()
        try:
            error = future.exception() if future.status == "error" else None
            given: Any = future.result() if error is None else None
        except (OSError, RuntimeError, ValueError, TimeoutError) as failure:
            raise self._gone() from failure
        if error is None:
            return outcome(given)
        if isinstance(error, KilledWorker):
            return Died("killed")
        if isinstance(error, ImportError | AttributeError):
            raise DataError(
                f"{self._name}: its workers cannot run this version of biosig_mtl ({error}); install the same there"
            )
        raise DataError(f"{self._name}: a worker failed with {type(error).__name__}: {error}")

    def _gone(self) -> DataError:
        return DataError(f"{self._name}: the scheduler of Dask is gone; run the same command again: finished lots are kept")
