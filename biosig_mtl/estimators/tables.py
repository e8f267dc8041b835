"""From the arrays of scikit-learn's grammar to the window table that networks are trained on.

Rows are put in an order of their own, by a digest of what they hold: a fit then does not depend on the order in which they were
given, and a row that is there twice lies beside its twin.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F32, F64, I64, Head, WindowTable

# Features without a family of their own ("age", or columns without names) share one token.
NO_FAMILY = "x"
# Whole weights are counts as long as they do not make the table so many times longer; beyond, they are shares like others.
MOST_REPEATS = 10


@dataclass(frozen=True)
class Layout:
    """What the columns of X are: ``features`` by name first, then a waveform of ``channels`` × ``samples``, if there is one.

    ``solid`` tells that X has the shape (row, channel, time) itself.
    """

    features: tuple[str, ...]
    channels: tuple[str, ...] = ()
    samples: int = 0
    fs: float = 1.0
    solid: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row of X."""
        if self.solid:
            return (len(self.channels), self.samples)
        return (len(self.features) + len(self.channels) * self.samples,)

    def split(self, X: F64) -> tuple[F64, F32]:
        """Return features (n, F) and waveforms (n, C, L) of X."""
        if self.solid:
            return np.empty((len(X), 0)), X.astype(np.float32)
        n = len(self.features)
        return X[:, :n], X[:, n:].reshape(len(X), len(self.channels), self.samples).astype(np.float32)


def layout(
    shape: tuple[int, ...], names: Sequence[str] | None, waveform_shape: tuple[int, int] | None, fs: float | None
) -> Layout:
    """Return what an X of this shape is.

    Parameters
    ----------
    shape
        (n, F) or (n, C, L).
    names
        Names of the columns, where X had some. A name with a dot tells its family, ``pulse.rise_s``; other columns are one
        family together.
    waveform_shape
        (C, L): the last C × L columns of a table are a waveform.
    fs
        Rate of the waveform in Hz, None where it is not told.

    Raises
    ------
    ValueError
        The shape is neither, or leaves no room for the waveform.
    """
    rate = 1.0 if fs is None else float(fs)
    if len(shape) == 3:
        if waveform_shape is not None:
            raise ValueError("need waveform_shape=None with X of shape (row, channel, time): X is the waveform itself")
        return Layout((), _channels(shape[1]), shape[2], rate, solid=True)
    if len(shape) != 2:
        raise ValueError(f"need X of shape (row, feature) or (row, channel, time), got {len(shape)} axes")
    channels, samples = waveform_shape or (0, 0)
    n = shape[1] - channels * samples
    if channels < 0 or samples < 0 or n < 0:
        raise ValueError(f"need X with {channels} x {samples} columns of waveform at its end, got {shape[1]} columns in all")
    words = [str(name) for name in names[:n]] if names is not None else [str(k) for k in range(n)]
    return Layout(tuple(w if "." in w else f"{NO_FAMILY}.{w}" for w in words), _channels(channels), samples, rate)


def _channels(n: int) -> tuple[str, ...]:
    return tuple(f"channel_{k}" for k in range(n))


@dataclass(frozen=True)
class Answers:
    """What is to be learned: values (n, T), class numbers for heads of classes, NaN where unknown.

    ``flat`` tells that it was given as (n,).
    """

    values: F64
    names: tuple[str, ...]
    heads: tuple[Head, ...] = ()
    flat: bool = False


@dataclass(frozen=True)
class Fitted:
    """What a fit keeps beside its networks: the layout of X, the targets (without values), errors (m, T) on what was held back
    (truth − estimate), and of whom those rows are (m,).
    """

    layout: Layout
    answers: Answers
    errors: F64
    unit: I64


@dataclass(frozen=True)
class Rows:
    """Rows of X in the order in which they are learned from, with repeats, and who each is of.

    ``unit`` (n,) numbers persons where groups were given and rows that differ where not.
    """

    index: I64
    unit: I64
    grouped: bool


def rows_of(X: F64, answers: Answers, weight: F64 | None, groups: NDArray[Any] | None, seed: int) -> Rows:
    """Put rows in order; leave out those of weight 0 and those of which nothing is known.

    Whole weights are counts: a row of weight 3 is there three times. By other weights twice as many rows as there are are drawn
    in proportion, evenly along the order, so that a row is there ⌊2nw⌋ or ⌈2nw⌉ times, w its share of all weight.
    """
    whose = np.zeros(len(X), np.int64) if groups is None else np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
    kept = np.isfinite(answers.values).any(axis=1) & (True if weight is None else weight > 0)
    some = np.flatnonzero(kept)
    order = some[np.lexsort(_digests(X[some], answers.values[some], whose[some]).T)]
    if weight is not None:
        order = np.repeat(order, _counts(weight[order], len(X), seed))
    # Without groups: the same row in two parts would be a row that is known from training.
    who = whose[order] if groups is not None else _digests(X[order])
    unit = np.unique(who, axis=0, return_inverse=True)[1].reshape(-1)
    return Rows(order, unit, groups is not None)


def _counts(weight: F64, n: int, seed: int) -> I64:
    """Return how often each row is there, from weights above 0."""
    if (weight == np.rint(weight)).all() and weight.sum() <= MOST_REPEATS * n:
        return weight.astype(np.int64)
    reached = np.cumsum(weight) * (2 * len(weight) / weight.sum())
    # Without the last place of the sum, which may be a hair below the whole number that it is.
    steps = np.floor(np.round(reached, 9) + np.random.default_rng(seed).random())
    counts: I64 = np.diff(steps, prepend=0.0).astype(np.int64)
    return counts


def _digests(*parts: NDArray[Any]) -> NDArray[np.uint64]:
    """Return two words (n, 2) a row that tell what it holds; −0 is 0, and all NaN are one."""
    plain = [np.ascontiguousarray(np.where(np.isnan(part), np.nan, part + 0.0)) for part in parts]
    told = b"".join(
        hashlib.blake2b(b"".join(part[k].tobytes() for part in plain), digest_size=16).digest() for k in range(len(plain[0]))
    )
    return np.frombuffer(told, np.uint64).reshape(-1, 2)


def table_of(X: F64, plan: Layout, answers: Answers, unit: I64) -> WindowTable:
    """Return rows of X as a window table; ``unit`` stands for the subject."""
    import pandas as pd

    values, waveform = plan.split(X)
    return WindowTable(
        index=pd.DataFrame({"subject": np.char.mod("%d", unit)}),
        # In double precision: a feature may differ between rows in its last places only.
        values=cast("F32", values),
        names=plan.features,
        waveform=waveform,
        waveform_channels=plan.channels,
        fs=plan.fs,
        targets=cast("F32", answers.values),
        target_names=answers.names,
        heads=answers.heads,
    )


def unknown_table(X: F64, plan: Layout, answers: Answers) -> WindowTable:
    """Return rows whose targets are to be estimated; of ``answers`` only names and heads are read."""
    nothing = replace(answers, values=np.full((len(X), len(answers.names)), np.nan))
    return table_of(X, plan, nothing, np.arange(len(X)))


def beside(features: Any, signals: NDArray[np.floating]) -> Any:
    """Return features (n, F) with waveforms (n, C, L) as further columns: an X for ``waveform_shape=(C, L)``.

    A DataFrame stays one, with columns ``waveform.<channel>.<sample>`` after its own.

    >>> beside(np.zeros((5, 3)), np.zeros((5, 2, 10))).shape
    (5, 23)
    """
    n, channels, samples = np.shape(signals)
    flat = np.asarray(signals).reshape(n, -1)
    if not hasattr(features, "columns"):
        return np.hstack([np.asarray(features), flat])
    import pandas as pd

    names = [f"waveform.{c}.{k}" for c in range(channels) for k in range(samples)]
    return pd.concat([features, pd.DataFrame(flat, index=features.index, columns=names)], axis=1)
