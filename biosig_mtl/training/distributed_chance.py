"""Dropout and noise for some rows of a batch as one process would have drawn them for the whole batch.

Several processes share the rows of a batch. If each drew its own masks the gradient would be that of another draw: right in
law, but no number could be compared with one process. So everybody draws for the whole batch, from generators that stand at the
same place everywhere, and takes its rows; the generators then still stand at the same place, and a training state fits any
number of processes. Drawing costs little beside a forward pass; who has very many processes may let each draw for itself.

Where the rows lie in what a network draws (first axis, second where layers are stacked by task) is found by running it twice
with different numbers of rows (`Plan.of`): the axis whose length went along is it.

The masks are bit for bit those of one process on a CPU. On a GPU a fused dropout may lay its numbers out in another way, so
there the masks are equal to those of one process in law only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

PROBES = (5, 7)  # rows of the two trials; primes, so that few layers have such a width by themselves

Draw = Callable[..., Any]
# What draws something of the shape of its first argument, and of a shape that is told.
DROPS: dict[Draw, int] = {functional.dropout: 0, functional.dropout1d: 2, functional.dropout2d: 2, functional.dropout3d: 2}
LIKES: tuple[Draw, ...] = (torch.randn_like, torch.rand_like)
SHAPED: tuple[Draw, ...] = (torch.randn, torch.rand, torch.randint)
# What draws in a way that nobody here can cut into rows.
STRANGE: tuple[Draw, ...] = (
    torch.bernoulli, torch.normal, torch.multinomial, torch.randperm, torch.rrelu, Tensor.bernoulli_, Tensor.normal_,
    Tensor.uniform_, Tensor.random_, Tensor.exponential_, functional.alpha_dropout, functional.feature_alpha_dropout,
    functional.gumbel_softmax,
)  # fmt: skip


class StrangeChanceError(Exception):
    """A network draws chance in a way that cannot be cut into rows."""


@dataclass(frozen=True)
class Rows:
    """Which rows of a batch of ``whole`` are here: from ``start``, ``count`` of them; ``stop`` is the end of what counts.

    A process without rows of its own still has one, as a stand-in (``count`` 1, ``stop`` = ``start``): it takes part in the
    network's work so that everybody does the same steps, and nothing of it counts.
    """

    start: int
    stop: int
    whole: int

    @property
    def count(self) -> int:
        """How many rows are run."""
        return max(self.stop - self.start, 1)

    @property
    def first(self) -> int:
        """The first row that is run."""
        return min(self.start, self.whole - 1)

    @property
    def run(self) -> slice:
        """The rows that are run."""
        return slice(self.first, self.first + self.count)

    @property
    def own(self) -> int:
        """How many rows count."""
        return self.stop - self.start

    @classmethod
    def of(cls, whole: int, rank: int, size: int) -> Rows:
        """Cut ``whole`` rows into ``size`` neighbouring parts whose lengths differ by one at most."""
        return cls(whole * rank // size, whole * (rank + 1) // size, whole)


@dataclass(frozen=True)
class Plan:
    """The axis of the rows in everything that a network draws in a forward pass, in the order of drawing."""

    axes: tuple[int, ...]

    @classmethod
    def of(cls, run: Callable[[int], object]) -> Plan | None:
        """Return the plan of a network, of which ``run`` makes a forward pass with so many rows; None where there is none."""
        seen: list[list[tuple[int, ...]]] = []
        with torch.random.fork_rng(devices=_devices()):
            for rows in PROBES:
                with Seen() as record:
                    try:
                        run(rows)
                    except StrangeChanceError:
                        return None
                seen.append(record.shapes)
        first, second = seen
        if len(first) != len(second):
            return None
        axes = [_axis(a, b) for a, b in zip(first, second, strict=True)]
        return cls(tuple(a for a in axes if a is not None)) if all(a is not None for a in axes) else None


def _axis(first: tuple[int, ...], second: tuple[int, ...]) -> int | None:
    """Return the one axis whose length is the number of rows of each trial, −1 where nothing went along, None otherwise."""
    if len(first) != len(second):
        return None
    moved = [i for i, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1]]
    if not moved:
        return -1  # drawn for all rows together
    return moved[0] if len(moved) == 1 and (first[moved[0]], second[moved[0]]) == PROBES else None


class _Watching(TorchFunctionMode):
    """Sees every function of torch that draws chance."""

    def __torch_function__(
        self, func: Draw, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        words = dict(kwargs or {})
        if func in DROPS:
            return self._dropped(func, args, words)
        if func in LIKES:
            return self._like(func, args, words)
        if func in SHAPED:
            return self._shaped(func, args, words)
        if func in STRANGE or (func is functional.scaled_dot_product_attention and words.get("dropout_p")):
            raise StrangeChanceError(getattr(func, "__name__", str(func)))
        return func(*args, **words)

    def _dropped(self, func: Draw, args: tuple[Any, ...], words: dict[str, Any]) -> Any:
        x, p, training = _drop_words(func, args, words)
        if not training or p == 0.0:
            return func(*args, **words)
        drawn = (*x.shape[: DROPS[func]], *(1 for _ in x.shape[DROPS[func] :])) if DROPS[func] else tuple(x.shape)
        return x * self.draw(drawn, lambda shape: func(torch.ones(shape, dtype=x.dtype, device=x.device), p, True))  # noqa: FBT003

    def _like(self, func: Draw, args: tuple[Any, ...], words: dict[str, Any]) -> Any:
        x: Tensor = args[0]
        return self.draw(tuple(x.shape), lambda shape: func(_template(x, shape), *args[1:], **words))

    def _shaped(self, func: Draw, args: tuple[Any, ...], words: dict[str, Any]) -> Any:
        shape, before, words = _shape_words(args, words)
        return self.draw(shape, lambda wanted: func(*before, wanted, **words))

    def draw(self, shape: tuple[int, ...], make: Callable[[tuple[int, ...]], Tensor]) -> Tensor:
        """Return what is drawn in the place of a tensor of ``shape``."""
        raise NotImplementedError


class Seen(_Watching):
    """Lets everything be drawn as it is, and keeps the shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def draw(self, shape: tuple[int, ...], make: Callable[[tuple[int, ...]], Tensor]) -> Tensor:
        """Note the shape."""
        self.shapes.append(shape)
        return make(shape)


class WholeChance(_Watching):
    """Draws for the whole batch what a network asks for its rows; ``plan`` None: the rows are always the first axis.

    Raises
    ------
    StrangeChanceError
        The network drew something else than in its trial.
    """

    def __init__(self, rows: Rows, plan: Plan | None = None) -> None:
        super().__init__()
        self.rows, self.plan, self._turn = rows, plan, 0

    def draw(self, shape: tuple[int, ...], make: Callable[[tuple[int, ...]], Tensor]) -> Tensor:
        """Draw for all rows and take those that are here."""
        axis = 0
        if self.plan is not None:
            if self._turn >= len(self.plan.axes):
                raise StrangeChanceError("drew more often than in its trial")
            axis = self.plan.axes[self._turn]
            self._turn += 1
        if axis < 0:
            return make(shape)
        if axis >= len(shape) or shape[axis] != self.rows.count:
            raise StrangeChanceError(f"drew {shape}, and axis {axis} is not that of {self.rows.count} rows")
        whole = make((*shape[:axis], self.rows.whole, *shape[axis + 1 :]))
        return whole.narrow(axis, self.rows.first, self.rows.count)


class OwnChance:
    """Every process draws for its own rows: one number of the common chance, and the rank, seed it for a forward pass."""

    def __init__(self, rank: int) -> None:
        self._seed = int(torch.randint(2**62, ())) + rank
        self._fork: Any = None

    def __enter__(self) -> None:
        """Leave the common chance for one's own."""
        self._fork = torch.random.fork_rng(devices=_devices())
        self._fork.__enter__()
        torch.manual_seed(self._seed)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Come back to the common chance."""
        self._fork.__exit__(kind, error, trace)


def _devices() -> list[int]:
    return [torch.cuda.current_device()] if torch.cuda.is_available() else []


def _drop_words(func: Draw, args: tuple[Any, ...], words: Mapping[str, Any]) -> tuple[Tensor, float, bool]:
    named = dict(zip(("input", "p", "training", "inplace"), args, strict=False)) | dict(words)
    if named.get("inplace"):
        raise StrangeChanceError(f"{func.__name__} in place")
    return named["input"], float(named.get("p", 0.5)), bool(named.get("training", True))


def _shape_words(args: tuple[Any, ...], words: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[Any, ...], dict[str, Any]]:
    """Return the shape, what stands before it (the bounds of `torch.randint`), and the other words."""
    rest = dict(words)
    told = rest.pop("size", None)
    if told is not None:
        return tuple(told), args, rest
    if args and isinstance(args[-1], tuple | list):
        return tuple(args[-1]), args[:-1], rest
    return tuple(args), (), rest


def _template(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return an empty tensor of another shape whose axes lie in memory as those of ``x`` do: chance is drawn in that order."""
    strides: tuple[int, ...] = x.stride()
    order = sorted(range(x.ndim), key=lambda i: -(strides[i] or 2**62))
    back = [order.index(i) for i in range(x.ndim)]
    return torch.empty([shape[i] for i in order], dtype=x.dtype, device=x.device).permute(back)
