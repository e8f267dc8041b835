"""Irregular readings: windows of a table asked about one of them, and a SIMULATED set whose truth is known.

A *question* is about one reading (time 0): what is it, from readings before it, or before and after it? The readings of one
question lie in a row of padded arrays, as `biosig_mtl.models.gp_adapter.Observed` takes them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from biosig_mtl.types import F64, I64, Bool, DataError, WindowTable

VITALS = ("sbp", "dbp", "hr")


@dataclass(frozen=True, slots=True)
class Irregular:
    """B questions with n readings at most: ``values``, ``times_s`` from the question, ``channel``, ``valid``, all (B, n).

    ``channels`` names the channels; ``target`` (B,) is the reading of channel 0 that is asked for, ``subject`` (B,) whose it
    is, ``row`` (B,) the window that it was read in (−1 where there are no windows). Values are zero where not valid. ``truth``
    (B, C) is the true course of all channels at time 0, without noise: only simulated readings have one.
    """

    values: F64
    times_s: F64
    channel: I64
    valid: Bool
    channels: tuple[str, ...]
    target: F64
    subject: NDArray[np.str_]
    row: I64
    truth: F64 | None = None

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.values)

    def rows(self, index: I64 | Bool) -> Irregular:
        """Return some of the questions."""
        words = ("values", "times_s", "channel", "valid", "target", "subject", "row")
        truth = None if self.truth is None else self.truth[index]
        return replace(self, **{word: getattr(self, word)[index] for word in words}, truth=truth)

    def scale(self) -> tuple[F64, F64]:
        """Return mean and standard deviation of the readings of each channel, both (C,); of training questions, if you please.

        A channel that does not vary, or was never read, has scale 1.
        """
        own = [self.values[self.valid & (self.channel == c)] for c in range(len(self.channels))]
        mean = np.array([part.mean() if part.size else 0.0 for part in own])
        spread = np.array([part.std() if part.size else 0.0 for part in own])
        return mean, np.where(spread > 0.0, spread, 1.0)

    def scaled(self, mean: F64, scale: F64) -> Irregular:
        """Return readings, target and truth less ``mean`` and over ``scale``, both (C,)."""
        values = np.where(self.valid, (self.values - mean[self.channel]) / scale[self.channel], 0.0)
        truth = None if self.truth is None else (self.truth - mean) / scale
        return replace(self, values=values, target=(self.target - mean[0]) / scale[0], truth=truth)


@dataclass(frozen=True)
class History:
    """What a question may look at, in seconds from it.

    Readings from ``before_s`` back up to ``gap_s`` back and, for ``after_s`` > 0 (to fill a gap, not to forecast), from
    ``gap_s`` to ``after_s`` ahead. With ``every_s`` > 0 readings are at least so far apart, counted away from the question, as
    if a cuff were read more rarely. Questions of one record are at least ``ask_every_s`` apart. ``most`` readings at most are
    kept, the nearest ones.
    """

    before_s: float = 1200.0
    gap_s: float = 60.0
    after_s: float = 0.0
    every_s: float = 0.0
    ask_every_s: float = 0.0
    most: int = 60

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not 0.0 < self.gap_s <= self.before_s:
            raise ValueError(f"need 0 < gap_s <= before_s, got {self.gap_s}, {self.before_s}")
        if self.after_s and self.after_s < self.gap_s:
            raise ValueError(f"need after_s of 0 or >= gap_s, got {self.after_s}, {self.gap_s}")
        if self.every_s < 0.0 or self.ask_every_s < 0.0 or self.most < 1:
            raise ValueError(
                f"need every_s and ask_every_s >= 0, most >= 1, got {self.every_s}, {self.ask_every_s}, {self.most}"
            )


# --------------------------------------------------------------------------------------------------------- of real windows
def observations(
    table: WindowTable, names: Sequence[str], history: History, subjects: Collection[str] | None = None
) -> Irregular:  # fmt: skip
    """Return a question for each window whose ``names[0]`` is known and that has known readings around it.

    Parameters
    ----------
    table
        Windows; a reading is the value of a feature or target in one window, at the middle of that window. NaN is no reading.
    names
        Of features or targets, the channels in order; the first is asked for.
    history
        What a question may look at. Only windows of the same record are looked at: times of records do not compare.
    subjects
        Whose windows; None: everybody's.

    A question needs a known reading of its own channel on each side that it may look at, among those that are kept.

    Raises
    ------
    DataError
        An unknown name, a gap shorter than a window (a reading would share samples with what is asked), or no question at all.
    """
    columns = np.stack([_column(table, name) for name in names], axis=1)
    onset, end = (table.index[word].to_numpy(np.float64) for word in ("onset_s", "end_s"))
    longest = float((end - onset).max(initial=0.0))
    if history.gap_s < longest:
        raise DataError(
            f"gap_s {history.gap_s:g}: a window has {longest:g} s, so readings would share samples with the question"
        )
    middle = (onset + end) / 2.0
    found = [
        (row, *seen)
        for rows in _records(table, subjects)
        for row in rows[_apart(middle[rows], history.ask_every_s)]
        if np.isfinite(columns[row, 0]) and (seen := _seen(columns[rows], middle[rows] - middle[row], history)) is not None
    ]
    if not found:
        raise DataError(f"{names[0]}: no window has known readings around it; look back further, or closer (gap_s)")
    row = np.array([one[0] for one in found], np.int64)
    return _padded(found, tuple(names), columns[row, 0], table.subject[row], row)


def _column(table: WindowTable, name: str) -> F64:
    if name in table.target_names:
        return np.asarray(table.targets[:, table.target_names.index(name)], np.float64)
    if name in table.names:
        return np.asarray(table.values[:, table.names.index(name)], np.float64)
    raise DataError(f"'{name}' is neither a target nor a feature of the windows; targets: {', '.join(table.target_names)}")


def _records(table: WindowTable, subjects: Collection[str] | None) -> Iterator[I64]:
    """Yield the rows of each record, in the order of time."""
    wanted = np.ones(len(table), bool) if subjects is None else np.isin(table.subject, sorted(subjects))
    keys = zip(*(table.index[word].to_numpy(dtype=str) for word in ("subject", "session", "record")), strict=True)
    rows_of: dict[tuple[str, ...], list[int]] = {}
    for row, key in enumerate(keys):
        if wanted[row]:
            rows_of.setdefault(key, []).append(row)
    onset = table.index["onset_s"].to_numpy(np.float64)
    for rows in rows_of.values():
        yield np.array(sorted(rows, key=lambda row: onset[row]), np.int64)


def _apart(times_s: F64, every_s: float) -> I64:
    """Return which of rising times are kept so that they are ``every_s`` apart: the first, then whatever is far enough."""
    kept: list[int] = []
    for number, time in enumerate(times_s):
        if not kept or time - times_s[kept[-1]] >= every_s:
            kept.append(number)
    return np.array(kept, np.int64)


def _seen(values: F64, times_s: F64, history: History) -> tuple[F64, F64, I64] | None:
    """Return values, times and channels of the readings of a question, the nearest first; None where a side has none."""
    sides = [np.flatnonzero((times_s <= -history.gap_s) & (times_s >= -history.before_s))[::-1]]
    if history.after_s:
        sides.append(np.flatnonzero((times_s >= history.gap_s) & (times_s <= history.after_s)))
    sides = [rows[_apart(np.abs(times_s[rows]), history.every_s)] for rows in sides]
    rows = np.concatenate(sides)
    rows = rows[np.argsort(np.abs(times_s[rows]), kind="stable")]
    which, channel = np.nonzero(np.isfinite(values[rows]))
    which, channel = which[: history.most], channel[: history.most].astype(np.int64)
    # Only now: the nearest readings may all be of other channels.
    own = times_s[rows[which[channel == 0]]]
    if not (own < 0.0).any() or (history.after_s and not (own > 0.0).any()):
        return None
    return values[rows[which], channel], times_s[rows[which]], channel


def _padded(
    found: Sequence[tuple[int, F64, F64, I64]], names: tuple[str, ...], target: F64, subject: NDArray[np.str_], row: I64
) -> Irregular:  # fmt: skip
    shape = (len(found), max(len(one[1]) for one in found))
    values, times_s, channel = np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int64)
    valid = np.zeros(shape, bool)
    for number, (_, seen, at_s, of) in enumerate(found):
        n = len(seen)
        values[number, :n], times_s[number, :n], channel[number, :n], valid[number, :n] = seen, at_s, of, True
    return Irregular(values, times_s, channel, valid, names, target, subject, row)


# --------------------------------------------------------------------------------------------------------------- simulated
@dataclass(frozen=True)
class SimulatedVitals:
    """SIMULATED blood pressure and heart rate: a Gaussian process that is known, read by a cuff and by a wrist.

    The covariance of channels c and c' of one person at times t and t' is

        sd_c sd_c' R[c, c'] (level + (1 − level) e^{−|t − t'| / length_s})

    and readings have Gaussian noise of ``noise_sd``. The cuff reads SBP and DBP together every ``cuff_s`` (uniform between the
    two); the wrist tells a heart rate every ``wrist_s``, of which a share ``lost`` is not known. Means, standard deviations
    (mmHg, 1/min) and correlations are round numbers of ours, not those of any population. ``gap_s`` and ``before_s`` are as in
    `History`; the question is the next cuff reading of SBP, at time 0.
    """

    n_subjects: int = 40
    questions: int = 5
    before_s: float = 7200.0
    gap_s: float = 600.0
    cuff_s: tuple[float, float] = (300.0, 1800.0)
    wrist_s: tuple[float, float] = (300.0, 600.0)
    lost: float = 0.2
    length_s: float = 3600.0
    level: float = 0.6
    mean: tuple[float, float, float] = (125.0, 75.0, 75.0)
    sd: tuple[float, float, float] = (16.0, 10.0, 11.0)
    noise_sd: tuple[float, float, float] = (5.0, 4.0, 3.0)
    correlation: tuple[float, float, float] = field(default=(0.8, 0.4, 0.3))  # sbp–dbp, sbp–hr, dbp–hr

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.n_subjects < 1 or self.questions < 1:
            raise ValueError(f"need n_subjects and questions >= 1, got {self.n_subjects}, {self.questions}")
        if not 0.0 < self.gap_s < self.before_s or not 0.0 < self.length_s < math.inf:
            raise ValueError(f"need 0 < gap_s < before_s and length_s > 0, got {self.gap_s}, {self.before_s}, {self.length_s}")
        if not all(0.0 < low <= high for low, high in (self.cuff_s, self.wrist_s)):
            raise ValueError(f"need 0 < shortest <= longest in cuff_s and wrist_s, got {self.cuff_s}, {self.wrist_s}")
        if not (0.0 <= self.lost < 1.0 and 0.0 <= self.level < 1.0):
            raise ValueError(f"need 0 <= lost < 1 and 0 <= level < 1, got {self.lost}, {self.level}")
        if np.linalg.eigvalsh(self.between()).min() <= 0.0:
            raise ValueError(f"need correlations that can be together, got {self.correlation}")

    def between(self) -> F64:
        """Return the covariance of the channels at one time, (3, 3), in their units."""
        r = np.eye(3)
        for (i, j), value in zip(((0, 1), (0, 2), (1, 2)), self.correlation, strict=True):
            r[i, j] = r[j, i] = value
        return r * np.outer(self.sd, self.sd)


def simulated_vitals(settings: SimulatedVitals, seed: int) -> Irregular:
    """Return simulated questions with their truth; a person keeps the level through all questions, the rest is drawn anew.

    All chance is that of ``seed``. Real pressures are no stationary Gaussian process: scores here say nothing about people.
    """
    rng, s = np.random.default_rng(seed), settings
    root = np.asarray(np.linalg.cholesky(s.between()), np.float64)
    mean, noise = np.array(s.mean), np.array(s.noise_sd)
    found, truth, target = [], [], []
    for _ in range(s.n_subjects):
        level = math.sqrt(s.level) * root @ rng.standard_normal(3)
        for _ in range(s.questions):
            times_s, channel = _when(s, rng)
            course = mean + level + math.sqrt(1.0 - s.level) * _course(times_s, s.length_s, root, rng)
            read = course[np.arange(len(times_s)), channel] + noise[channel] * rng.standard_normal(len(times_s))
            found.append((-1, read[:-1], times_s[:-1], channel[:-1]))
            truth.append(course[-1])
            target.append(read[-1])
    subject = np.repeat([f"s{number:03d}" for number in range(s.n_subjects)], s.questions)
    made = _padded(found, VITALS, np.array(target), subject, np.full(len(found), -1, np.int64))
    return replace(made, truth=np.array(truth))


def _when(s: SimulatedVitals, rng: Generator) -> tuple[F64, I64]:
    """Return times and channels of all readings of a question; the last is the one that is asked for, at time 0."""
    cuff, wrist = -_steps(s.gap_s, s.before_s, s.cuff_s, rng), -_steps(s.gap_s, s.before_s, s.wrist_s, rng)
    wrist = wrist[rng.random(len(wrist)) >= s.lost]
    times_s = np.concatenate([cuff, cuff, wrist, [0.0]])
    channel = np.repeat(np.array([0, 1, 2, 0], np.int64), [len(cuff), len(cuff), len(wrist), 1])
    return times_s, channel


def _steps(first_s: float, last_s: float, every: tuple[float, float], rng: Generator) -> F64:
    """Return rising times from ``first_s`` to ``last_s`` that are uniformly far apart."""
    steps = rng.uniform(*every, size=math.ceil((last_s - first_s) / every[0]) + 1)
    times = first_s + np.concatenate([[0.0], np.cumsum(steps)])
    return times[times <= last_s]


def _course(times_s: F64, length_s: float, root: F64, rng: Generator) -> F64:
    """Return an Ornstein–Uhlenbeck course (n, 3), exact at any times: what is near in time is drawn from what came before."""
    at, place = np.unique(times_s, return_inverse=True)
    free = rng.standard_normal((len(at), 3))
    kept = np.exp(-np.diff(at) / length_s)
    made = free.copy()
    for number, share in enumerate(kept, 1):
        made[number] = share * made[number - 1] + math.sqrt(1.0 - share**2) * free[number]
    whole: F64 = (made @ root.T)[place]
    return whole
