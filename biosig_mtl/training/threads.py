"""One thread while numbers are made that must come out the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Make sums in one order: with two threads the last digits, and after some epochs the network, are others.

    Two processes with one thread each also train small networks faster than one process with two.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
