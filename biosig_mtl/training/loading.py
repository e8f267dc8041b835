"""Batches made ahead of time by a thread, so that a GPU does not wait for the store.

The thread makes the very batches that would be made without it, in the same order and with the same chance: all chance of the
loader comes from one generator that nobody else touches while an epoch runs. An error of the thread is the caller's error, at
the batch where it arose, and when the caller stops early the thread ends too.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from biosig_mtl.types import Batch

AHEAD = 3  # batches that wait: one being copied, one ready, one against a slow read
TURN_S = 0.1  # how soon the thread sees that nobody wants more

T = TypeVar("T")
U = TypeVar("U")


class _Last:
    """Says that no more is to come, and why."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


@contextmanager
def ahead(wanted: Iterable[T], make: Callable[[T], U], depth: int = AHEAD) -> Iterator[Iterator[U]]:
    """Give ``make(x)`` for each ``x`` in ``wanted``, in order, made by a thread up to ``depth`` before they are asked for.

    Raises
    ------
    Exception
        Whatever ``wanted`` or ``make`` raised, when what they failed to make is asked for.
    """
    line: _Line[U] = _Line(depth)
    thread = threading.Thread(target=line.fill, args=(at_once(wanted, make),), name="batches", daemon=True)
    thread.start()
    try:
        yield line.items()
    finally:
        line.stopped.set()
        thread.join()


class _Line(Generic[U]):
    """What was made and is waiting."""

    def __init__(self, depth: int) -> None:
        self._made: queue.Queue[U | _Last] = queue.Queue(depth)
        self.stopped = threading.Event()

    def fill(self, made: Iterator[U]) -> None:
        """Put in what is made, until it ends, fails, or nobody wants more."""
        last = _Last()
        try:
            for item in made:
                self._put(item)
                if self.stopped.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 (it is raised again where the batch is asked for)
            last = _Last(error)
        self._put(last)

    def _put(self, item: U | _Last) -> None:
        while not self.stopped.is_set():
            with suppress(queue.Full):
                self._made.put(item, timeout=TURN_S)
                return

    def items(self) -> Iterator[U]:
        """Give what was put in, in order."""
        while not isinstance(item := self._made.get(), _Last):
            yield item
        if item.error is not None:
            raise item.error


def at_once(wanted: Iterable[T], make: Callable[[T], U]) -> Iterator[U]:
    """Give ``make(x)`` for each ``x`` in ``wanted`` when it is asked for."""
    return (make(one) for one in wanted)


def pinned(batch: Batch) -> Batch:
    """Return a batch in memory that a GPU copies from by itself; the same batch where there is no GPU."""
    if not torch.cuda.is_available():
        return batch
    return _each(batch, Tensor.pin_memory)


def placed(batch: Batch, device: torch.device) -> Batch:
    """Return the batch on a device; copies from pinned memory do not make the caller wait."""
    if device.type == "cpu":
        return batch
    return _each(batch, lambda x: x.to(device, non_blocking=True))


def _each(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    return replace(
        batch,
        waveform=change(batch.waveform),
        values=change(batch.values),
        missing=change(batch.missing),
        targets=change(batch.targets),
        weight=change(batch.weight),
        tracks={name: change(track) for name, track in batch.tracks.items()},
        present={name: change(here) for name, here in batch.present.items()},
        offset=None if batch.offset is None else change(batch.offset),
        reference=None if batch.reference is None else change(batch.reference),
    )
