"""Several training processes that work as one: what they say to each other, and what happens when one is lost.

Processes are started by ``torchrun`` (or anything that sets ``RANK WORLD_SIZE MASTER_ADDR MASTER_PORT``). Process 0 leads: it
alone reads and writes run folders. What they exchange goes over gloo where it lies in memory and over NCCL where it lies on
a GPU.

Nobody waits for ever: a process that is gone breaks the next exchange at once (gloo) or after ``BIOSIG_MTL_TIMEOUT_S`` (600);
those that wait for the leader to give them work ask the common store twice a second, for grading may take hours. The exception:
where each trains its own networks nothing is exchanged, and a process that was killed is noticed by its launcher alone.

`ALONE` is the world of one process; everything it says to itself costs nothing and changes nothing.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from biosig_mtl.training.packing import pack, unpack
from biosig_mtl.types import DataError

TIMEOUT, TIMEOUT_S = "BIOSIG_MTL_TIMEOUT_S", 600.0
TURN_S = 0.5  # how often one who waits long for the leader asks the store
ROLL_CALL_S = 2.0  # how long those that are left have to say so after one was lost
HEARD_S = 5.0  # how long one who fails waits for the leader to say so
GONE, UNHEARD = "lost", "the leading process did not hear of this"


@dataclass(frozen=True)
class World:
    """The processes that train together; ``rank`` 0 leads. ``store`` holds words that all may read."""

    rank: int = 0
    size: int = 1
    store: Any = None
    turns: Iterator[int] = field(default_factory=itertools.count)
    work: Iterator[int] = field(default_factory=itertools.count)
    drawers: Iterator[int] = field(default_factory=itertools.count)  # apart: only the leader asks for these

    @property
    def leads(self) -> bool:
        """Whether this process reads and writes run folders."""
        return self.rank == 0

    # ------------------------------------------------------------------------------------------------------- exchanges
    def same(self, value: Any) -> Any:
        """Return the leader's value to all; of the others nothing is asked."""
        if self.size == 1:
            return value
        content = pack(value) if self.leads else b""
        with self._heard():
            length = self._sent(torch.tensor([len(content)]))
            flat = _bytes(content) if self.leads else torch.empty(int(length), dtype=torch.uint8)
            return unpack(self._sent(flat).numpy().tobytes())

    def each(self, value: Any) -> list[Any]:
        """Return everybody's value to all, by rank."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        flat = _bytes(pack(value))
        with self._heard():
            lengths = [torch.empty(1, dtype=torch.int64) for _ in range(self.size)]
            dist.all_gather(lengths, torch.tensor([len(flat)]))
            longest = max(int(n) for n in lengths)
            padded = torch.cat([flat, flat.new_zeros(longest - len(flat))])
            found = [torch.empty_like(padded) for _ in range(self.size)]
            dist.all_gather(found, padded)
        return [unpack(one[: int(n)].numpy().tobytes()) for one, n in zip(found, lengths, strict=True)]

    def rows(self, mine: Tensor, most: int) -> list[Tensor]:
        """Return everybody's rows (b, w) of bytes, padded to ``most`` rows, by rank; on the device they lie on."""
        import torch.distributed as dist

        padded = mine if len(mine) == most else torch.cat([mine, mine.new_zeros(most - len(mine), mine.shape[1])])
        found = [torch.empty_like(padded) for _ in range(self.size)]
        with self._heard():
            dist.all_gather(found, padded.contiguous())
        return found

    def mean_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace every gradient by the mean over processes; one that nobody has stays None.

        All gradients go in one message: the networks are small, and many small messages would wait for each other.
        """
        if self.size == 1:
            return
        flags = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
        flat = torch.cat([_gradient(p) for p in parameters] + [flags.to(_wide(parameters))])
        self.mean(flat)
        parts = torch.split(flat, [*(p.numel() for p in parameters), len(parameters)])
        for p, part, reached in zip(parameters, parts, parts[-1].tolist(), strict=False):
            p.grad = part.view_as(p).to(p.dtype) if reached > 0 else None

    def mean(self, flat: Tensor) -> Tensor:
        """Replace ``flat`` by its mean over processes, and return it."""
        if self.size == 1:
            return flat
        import torch.distributed as dist

        with self._heard():
            dist.all_reduce(flat)
        return flat.div_(self.size)

    def agree(self, what: str, content: Callable[[], bytes]) -> None:
        """Raise `DataError` where the processes do not have the same bytes."""
        if self.size == 1:
            return
        found = self.each(hashlib.sha256(content()).hexdigest())
        if odd := [rank for rank, digest in enumerate(found) if digest != found[0]]:
            named = ", ".join(map(str, odd))
            raise DataError(
                f"training process {named} of {self.size} has other {what} than process 0: "
                "give all the same store, recipe, package versions and kind of processor"
            )

    # ------------------------------------------------------------------------------------------------ waiting and losing
    def tell(self, key: str, value: Any) -> None:
        """Leave a value for all, under a key that is used once."""
        self.store.set(key, pack(value))

    def has(self, key: str) -> bool:
        """Whether anybody left something under a key."""
        with self._heard():
            return bool(self.store.check([key]))

    def take(self, key: str) -> int:
        """Return the next number of a count that all share, from 0."""
        with self._heard():
            return int(self.store.add(key, 1)) - 1

    def hand_out(self, value: Any) -> None:
        """Give the others something to do, by the leader; None sends them home."""
        with suppress(RuntimeError):
            self.tell(f"work/{next(self.work)}", value)

    def handed(self) -> Any:
        """Return the next thing to do, however long the leader takes."""
        return self.asked(f"work/{next(self.work)}")

    def drawer(self) -> str:
        """Return a name for keys that was not used before, by the leader."""
        return f"drawer/{next(self.drawers)}"

    def check(self) -> None:
        """Raise `DataError` where one of the others has said that it stops."""
        if any(self.has(f"{GONE}/{rank}") for rank in range(self.size) if rank != self.rank):
            raise DataError(self.lost())

    def asked(self, key: str) -> Any:
        """Return what was left under a key, however long that takes.

        Raises
        ------
        DataError
            The leader is gone.
        """
        pause = TURN_S / 100
        try:
            while not self.store.check([key]):
                time.sleep(pause)
                pause = min(2 * pause, TURN_S)
            return unpack(self.store.get(key))
        except RuntimeError as error:
            raise DataError("the leading training process is gone") from error

    def meet(self) -> None:
        """Wait until the leader is here, however long it has other things to do; all have to meet equally often."""
        if self.size == 1:
            return
        key = f"meet/{next(self.turns)}"
        if self.leads:
            self.tell(key, None)
        else:
            self.asked(key)

    def _sent(self, flat: Tensor) -> Tensor:
        import torch.distributed as dist

        dist.broadcast(flat, src=0)
        return flat

    @contextmanager
    def _heard(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise DataError(self.lost()) from error

    def lost(self) -> str:
        """Return what to say after an exchange failed: who did not answer, or what they said before they stopped."""
        with suppress(RuntimeError):
            self.tell(f"{GONE}/{self.rank}", None)
        end = time.monotonic() + ROLL_CALL_S
        silent = [rank for rank in range(self.size) if rank != self.rank]
        said: dict[int, Any] = {}
        with suppress(RuntimeError, DataError):
            while (silent := [r for r in silent if r not in said]) and time.monotonic() < end:
                said |= {r: unpack(self.store.get(f"{GONE}/{r}")) for r in silent if self.store.check([f"{GONE}/{r}"])}
                time.sleep(0.05)
        if reason := next((f"training process {rank} of {self.size}: {why}" for rank, why in said.items() if why), ""):
            return reason
        who = f"training process {', '.join(map(str, silent))} of {self.size}" if silent else "the line between processes"
        return f"{who} was lost; run the same command again: it goes on from the last finished epoch"

    def leave_word(self, why: str) -> None:
        """Tell the others why this process stops."""
        if self.size > 1:
            with suppress(RuntimeError):
                self.tell(f"{GONE}/{self.rank}", why)


ALONE = World()


class _Current:
    world = ALONE


def current() -> World:
    """Return the world that this process joined, `ALONE` outside of one."""
    return _Current.world


def launched(environment: Mapping[str, str] | None = None) -> tuple[int, int]:
    """Return rank and number of the processes that were started together; (0, 1) for a process by itself."""
    told = os.environ if environment is None else environment
    words = [told.get(name, "") for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")]
    rank, size = (int(word) if word.isdecimal() else -1 for word in words[:2])
    return (rank, size) if all(words) and 0 <= rank < size else (0, 1)


@contextmanager
def joined() -> Iterator[World]:
    """Join the processes that were started together, and leave them at the end.

    Raises
    ------
    DataError
        They do not find each other, or the time-out is no number.
    """
    rank, size = launched()
    if size == 1:
        yield ALONE
        return
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    limit = timedelta(seconds=_timeout())
    try:
        store, rank, size = next(rendezvous("env://", rank, size, timeout=limit))
        # The launcher's store outlives a restart (--max-restarts), and in it the addresses of those that are gone.
        store = PrefixStore(f"start/{agreed_start(store, rank, size, limit.total_seconds())}", store)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=limit)
    except RuntimeError as error:
        why = next(iter(str(error).splitlines()), "")
        raise DataError(f"training process {rank} of {size} did not find the others: {why}") from error
    # A prefix of our own, or a process group's keys and ours could meet.
    _Current.world = World(rank, size, PrefixStore("biosig_mtl", store))
    try:
        yield _Current.world
    except BaseException as error:
        _leave(_Current.world, error)
        raise
    finally:
        _Current.world = ALONE
        with suppress(RuntimeError, AssertionError, ValueError):
            dist.destroy_process_group()


def agreed_start(store: Any, rank: int, size: int, limit_s: float) -> str:
    """Return a name of this start that all its processes agree on, whatever earlier starts left in the store.

    The launcher's count of restarts is no such name: launchers on several machines count differently. So the leader names the
    start, and each of the others has its own word echoed, which nobody can do who is gone.

    Raises
    ------
    RuntimeError
        One of them does not come in time.
    """
    own, end = secrets.token_hex(8), time.monotonic() + limit_s
    if rank == 0:
        store.set("start", own)
    missing = set(range(1, size)) if rank == 0 else {0}
    while time.monotonic() < end:
        name = own if rank == 0 else _word(store, "start")
        if rank == 0:
            missing = {other for other in missing if not _echoed(store, f"start/{own}/{other}")}
        elif name:
            store.set(f"start/{name}/{rank}", own)
            missing = set() if _word(store, f"start/{name}/{rank}/heard") == own else {0}
        if not missing:
            return name
        time.sleep(TURN_S / 25)
    raise RuntimeError(f"process {', '.join(map(str, sorted(missing)))} did not come within {limit_s:g} s")


def _echoed(store: Any, key: str) -> bool:
    word = _word(store, key)
    if word:
        store.set(f"{key}/heard", word)
    return bool(word)


def _word(store: Any, key: str) -> str:
    return str(store.get(key).decode()) if store.check([key]) else ""


def _leave(world: World, error: BaseException) -> None:
    """Leave because of an error; one who follows waits until the leader has heard, or is to say it by itself."""
    import torch.distributed as dist

    if world.leads or not isinstance(error, Exception):  # who was told to stop stops
        return
    with suppress(RuntimeError):
        dist.destroy_process_group()
    end = time.monotonic() + HEARD_S
    with suppress(RuntimeError):
        while time.monotonic() < end:
            if world.store.check([f"{GONE}/0"]):
                return
            time.sleep(0.05)
    error.add_note(UNHEARD)


def speaks(error: BaseException) -> bool:
    """Whether this process is to tell the user of an error: the leader, or one whom the leader did not hear."""
    return launched()[0] == 0 or UNHEARD in getattr(error, "__notes__", ())


def _timeout() -> float:
    told = os.environ.get(TIMEOUT, str(TIMEOUT_S))
    try:
        seconds = float(told)
    except ValueError:
        seconds = 0.0
    if not 1.0 <= seconds <= 1e7:
        raise DataError(f"${TIMEOUT}: needs seconds, 1 or more, got '{told}'")
    return seconds


def _bytes(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _wide(parameters: Sequence[Tensor]) -> torch.dtype:
    return torch.float64 if any(p.dtype == torch.float64 for p in parameters) else torch.float32


def _gradient(p: Tensor) -> Tensor:
    wide = torch.float64 if p.dtype == torch.float64 else torch.float32
    return torch.zeros(p.numel(), dtype=wide, device=p.device) if p.grad is None else p.grad.reshape(-1).to(wide)
