"""The order of the windows of an epoch: wholly at random, or block by block for stores larger than memory.

A memory-mapped store that does not fit into memory is slow to read window by window: each is somewhere else on the disk. Here
blocks of windows that lie side by side are put into random order, the windows of a few blocks at a time are mixed, and batches
are cut from that (the shuffle buffer of WebDataset and tf.data, with whole blocks in place of single windows). While a buffer
lasts, only its blocks are read, each once, and the system's page cache holds them.

The whole order is drawn when the epoch begins (8 bytes a window), so that a resumed run has nothing of it to remember.
"""

from __future__ import annotations

import torch
from torch import Tensor

from biosig_mtl.training.batches import shuffled
from biosig_mtl.training.settings import TrainingSettings


def blocked(n: int, size: int, rng: torch.Generator, block: int, buffer: int) -> tuple[Tensor, ...]:
    """Return positions 0…n−1 in parts of ``size``, mixed within buffers of ``buffer`` blocks of ``block`` neighbours.

    Blocks begin at a random offset, so that the same windows do not share a block in every epoch. A batch may begin in one
    buffer and end in the next one.
    """
    offset = int(torch.randint(min(block, max(n, 1)), (), generator=rng))
    ends = [*([offset] if offset else []), *(range(offset + block, n, block)), n]
    starts = [0, *ends[:-1]]
    order = torch.randperm(len(starts), generator=rng).tolist()
    mixed = []
    for first in range(0, len(order), buffer):
        rows = torch.cat([torch.arange(starts[b], ends[b]) for b in order[first : first + buffer]])
        mixed.append(rows[torch.randperm(len(rows), generator=rng)])
    return torch.split(torch.cat(mixed), size)


def order_of(settings: TrainingSettings, n: int, rng: torch.Generator) -> tuple[Tensor, ...]:
    """Return the positions of every batch of an epoch of ``n`` windows."""
    if settings.shuffle == "blocks":
        return blocked(n, settings.batch_size, rng, settings.block_windows, settings.buffer_blocks)
    return shuffled(n, settings.batch_size, rng)
