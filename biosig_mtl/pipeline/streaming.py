"""Windows and features of a recording that arrives part by part."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from biosig_mtl import signal
from biosig_mtl.pipeline.upstream import Preparation
from biosig_mtl.types import Channel, Features, RecipeError, Record, Windows

# A quick look reaches back at least so far beyond the longest that a window carries.
QUICK_MARGIN_S = 7.0


class Rest:
    """The rest before the stimulus of a recording that arrives part by part, with the context that work on it needs.

    Features of later windows are compared with it, however long ago it was.
    """

    def __init__(self, preparation: Preparation) -> None:
        """Start with nothing; raise `RecipeError` where windows are compared with a rest and nobody says where it lies."""
        needed = preparation.features.baseline != "none"
        if needed and preparation.rest_s is None:
            raise RecipeError(
                "this recipe compares windows with a rest before the stimulus: say where in the stream it lies (rest_s), "
                "or set features.baseline to none before training"
            )
        lies = preparation.rest_s if needed else None
        self._span = None if lies is None else (max(lies[0] - preparation.reach_s, 0.0), lies[1] + preparation.reach_s)
        self._parts: list[Record] = []
        self._whole: Record | None = None

    @property
    def record(self) -> Record | None:
        """The part of the recording with the rest, as far as it has arrived; None where no rest is needed."""
        if self._whole is None and self._parts:
            self._whole = joined(self._parts)
        return self._whole

    def add(self, part: Record) -> None:
        """Keep of a part what belongs to the rest."""
        if self._span is None or part.start_s > self._span[1] or part.start_s + part.duration_s < self._span[0]:
            return
        self._parts = [*(self._parts if self._whole is None else [self._whole]), part]
        self._whole = None


class WindowStream:
    """A recipe's preparation on a recording that arrives part by part.

    The windows and features are those of the whole recording, whatever the parts are; each comes once its context has arrived.

    Parameters
    ----------
    preparation
        From `biosig_mtl.pipeline.preparation`; `Preparation.unlabelled` where there is no reference.
    hop_s
        Seconds of new signal between two rounds of work.
    settle_s
        Seconds of signal after the end of a window that are waited for. None: so many that its windows are, for certain, those
        of the whole recording: the reach of all steps, each on top of the one before.
    rest
        The rest that windows are compared with, filled by the caller; needed where the recipe compares.
    """

    def __init__(
        self, preparation: Preparation, hop_s: float = 10.0, settle_s: float | None = None, rest: Rest | None = None
    ) -> None:
        """Start with nothing; raise `RecipeError` where windows are compared with a rest and nobody says where it lies."""
        self._preparation = preparation
        self._rest = Rest(preparation) if rest is None else rest
        self._own_rest = rest is None
        # What a window carries ends with it, so after it only the steps need context; before it what is carried does too.
        after = signal.context_s(preparation.steps) if settle_s is None else settle_s
        self._tape = signal.Tape(preparation.reach_s, hop_s, after + preparation.windowing.length_s)
        self.worked_s = (0.0, 0.0)

    @property
    def settled_after_s(self) -> float:
        """Seconds of signal after the end of a window at which it is settled, at the most."""
        return self._tape.latency_s - math.floor(self._preparation.windowing.length_s)

    def push(self, part: Record) -> tuple[Windows, Features] | None:
        """Take the next part; return the windows that have become settled, or None. ``worked_s`` is the span they start in.

        Raises
        ------
        DataError
            The part does not follow the one before.
        """
        self._tape.add(part)
        if self._own_rest:
            self._rest.add(part)
        return self._work(self._tape.take())

    def finish(self) -> tuple[Windows, Features] | None:
        """Return the windows that are left, when the recording has ended."""
        return self._work(self._tape.take(last=True))

    def _work(self, taken: tuple[Record, float, float] | None) -> tuple[Windows, Features] | None:
        if taken is None:
            return None
        record, start_s, stop_s = taken
        last_s = record.start_s + record.duration_s - self._preparation.windowing.length_s + 1e-6
        self.worked_s = (start_s, max(min(stop_s, last_s), start_s))
        _, cut, made = self._preparation.apply(record, (start_s, stop_s), self._rest.record)
        return cut, made


class QuickWindows:
    """Windows as soon as their samples are there, described by the last seconds alone.

    They are close to the settled ones and not the same: filters have not swung in, beats after the window are not known yet.

    Parameters
    ----------
    preparation
        As for `WindowStream`.
    context_s
        Seconds before the end of a window that are looked at; at least what a window carries and a little more.
    look_ahead_s
        Seconds after its end that are waited for.
    rest
        As for `WindowStream`.
    """

    def __init__(self, preparation: Preparation, context_s: float, look_ahead_s: float, rest: Rest) -> None:
        """Start with nothing."""
        self._preparation, self._rest = preparation, rest
        cut = preparation.windowing
        self._context = max(context_s, max([cut.length_s, *cut.trails.values()]) + QUICK_MARGIN_S)
        self._length, self._stride, self._look = cut.length_s, cut.stride, look_ahead_s
        self._parts: list[Record] = []
        self._next_s = 0.0
        self.worked_s = (0.0, 0.0)

    def push(self, part: Record, skip_until_s: float = 0.0) -> tuple[Record, Windows, Features] | None:
        """Take the next part, which begins at a whole second; return what it made whole, or None.

        Windows that start before ``skip_until_s`` are left out: they are settled already.

        Returns
        -------
        tuple
            The described record that they were cut from, the windows and their features; ``worked_s`` is the span they start
            in.
        """
        self._parts.append(part)
        stop_s = part.start_s + part.duration_s - self._look - self._length + 1e-6
        origin_s = 0.0 if part.baseline_s is None else part.baseline_s[1]
        start_s = max(self._next_s, min(skip_until_s, stop_s), origin_s)
        first_s = origin_s + math.ceil((start_s - origin_s - 1e-9) / self._stride) * self._stride
        self._next_s = max(start_s, stop_s)
        kept_s = max(math.floor(min(first_s, self._next_s) + self._length - self._context), 0)
        self._parts = [p for p in self._parts if p.start_s + p.duration_s > kept_s]
        if first_s >= stop_s:
            return None
        self.worked_s = (start_s, stop_s)
        record = _from(joined(self._parts), kept_s)
        return self._preparation.apply(record, self.worked_s, self._rest.record)


def joined(parts: list[Record]) -> Record:
    """Return one record of parts that follow one another."""
    if len(parts) == 1:
        return parts[0]
    samples = {name: np.concatenate([part.channels[name].samples for part in parts]) for name in parts[0].channels}
    channels = {name: replace(channel, samples=samples[name]) for name, channel in parts[0].channels.items()}
    return replace(parts[0], channels=channels, seams_s=np.concatenate([p.seams_s for p in parts]))


def _from(record: Record, second: int) -> Record:
    """Return a record from a whole second of the recording on."""
    if second <= record.start_s:
        return record
    channels: dict[str, Channel] = {}
    for name, channel in record.channels.items():
        away = round(second * channel.fs) - round(record.start_s * channel.fs)
        channels[name] = replace(channel, samples=channel.samples[away:])
    return replace(record, channels=channels, start_s=float(second))
