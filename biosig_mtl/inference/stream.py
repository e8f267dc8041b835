"""A finished run on a recording that is being made: chunks of any size in, an estimate for every window out.

Two kinds of estimates come. A *provisional* one comes as soon as the samples of its window are there; it is made from the last
seconds alone. The *settled* one comes later and is what the whole recording would give: filters reach far, and beats are told
from noise by what surrounds them. Memory and work per second of signal do not grow, however long it goes on.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from biosig_mtl import pipeline
from biosig_mtl.data.readers.channels import kind_of
from biosig_mtl.inference.files import NOTHING_TOLD, Told
from biosig_mtl.inference.predictor import Predictor
from biosig_mtl.inference.stream_answers import FAILURES, Answers, Due, Panel
from biosig_mtl.inference.stream_intake import Intake, Part
from biosig_mtl.inference.stream_journal import Journal
from biosig_mtl.inference.stream_past import Past
from biosig_mtl.inference.stream_words import Chunk, Estimate, Event, StreamSettings
from biosig_mtl.types import Channel, ChannelInfo, DataError, Features, RecipeError, Record, Windows

DEFAULT = StreamSettings()
NAME = "stream"


class Stream:
    """Estimates on a recording that is being made.

    Parameters
    ----------
    predictor
        The run.
    channels
        What will arrive: our channel names with their rates in Hz, or with all that is known of them.
    settings
        See `StreamSettings`.
    told
        What is known beside the samples: the person, whether times between channels can be trusted, where the rest lies (in
        seconds of the stream). ``told.channels`` is for files and is not looked at.
    answers
        What answers tables of windows instead of the networks of the run: anything with ``spec`` and ``predict_full(table,
        without)``; or a `Panel` that is shared with other streams.

    Raises
    ------
    DataError
        A channel that the run needs is not promised, or a rate is none.
    RecipeError
        The run compares each window with the whole recording, or with a rest of which nobody says where it lies.
    """

    def __init__(
        self,
        predictor: Predictor,
        channels: Mapping[str, float | ChannelInfo],
        settings: StreamSettings = DEFAULT,
        told: Told = NOTHING_TOLD,
        answers: Answers | Panel | None = None,
    ) -> None:
        """Start with nothing."""
        if predictor.per_subject == "whole":
            raise RecipeError("this run compares each window with the whole recording, which a stream does not have yet")
        self.panel = answers if isinstance(answers, Panel) else Panel.of(predictor, settings, answers, told.without)
        """Who answers."""
        self._settings, self._told = settings, told
        self._channels = _infos(channels)
        made, lacking = predictor.suited(self._channels, NAME)
        self._preparation = replace(made, rest_s=told.rest_s)
        self._rest = pipeline.Rest(self._preparation)
        _try(self._preparation, self._channels)
        self._journal = Journal()
        self._intake = Intake(self._channels, settings, self._journal)
        self._past = Past() if predictor.per_subject == "past" else None
        self._ahead: list[tuple[float, Features]] = []
        self._windows = Counter({"settled": 0, "provisional": 0, "refused": 0})
        self._base_s = 0
        self._renew()
        self.seen: Record | None = None
        """The last seconds as the provisional work described them, with beats and quality, for drawing; None before."""
        for remark in self.panel.remarks:
            self._journal.tell("note", 0.0, remark)
        if lacking:
            self._journal.tell("note", 0.0, f"estimated without {', '.join(lacking)}: not promised; expect larger errors")

    def _renew(self) -> None:
        """Begin a stretch."""
        s = self._settings
        self._stream = pipeline.WindowStream(self._preparation, s.hop_s, s.settle_s, self._rest)
        self._quick = pipeline.QuickWindows(self._preparation, s.context_s, s.look_ahead_s, self._rest)

    # ------------------------------------------------------------------------------------------------------------- facts
    @property
    def targets(self) -> tuple[str, ...]:
        """Names of what is estimated."""
        return self.panel.settled.targets

    @property
    def units(self) -> Mapping[str, str]:
        """The units of what is estimated."""
        known = {target.name: target.unit for target in self._preparation.task.targets}
        return {name: known.get(name, "") for name in self.targets}

    @property
    def channels(self) -> Mapping[str, ChannelInfo]:
        """What was promised to arrive."""
        return self._channels

    @property
    def settled_after_s(self) -> float:
        """Seconds of signal after the end of a window at which its estimate is settled, at the most."""
        return self._stream.settled_after_s

    @property
    def now_s(self) -> float:
        """Seconds of signal so far."""
        return self._intake.now_s

    @property
    def counts(self) -> Mapping[str, int]:
        """How many events of each kind there have been, and windows: ``settled``, ``provisional``, ``refused`` (of settled)."""
        return {**self._journal.counts, **self._windows}

    @property
    def state(self) -> str:
        """Return ``waiting`` (nothing yet), ``running``, ``degraded`` (a channel is lost) or ``silent``."""
        return self._intake.state

    # -------------------------------------------------------------------------------------------------------------- work
    def push(self, part: Chunk | Mapping[str, Any]) -> list[Estimate]:
        """Take the next chunk; return what can be told now, provisional estimates first. Nothing that arrives raises an error.

        A plain mapping is a chunk without times. A provisional estimate never comes after the settled one of its window.
        """
        return self._answered(self.take(part))

    def finish(self) -> list[Estimate]:
        """Return the settled estimates that are left, when the recording has ended."""
        return self._answered(self.take_last())

    def events(self) -> list[Event]:
        """Return what happened since the last call, oldest first; of more than 1000 the last."""
        return self._journal.take()

    def _answered(self, due: list[Due]) -> list[Estimate]:
        began = time.perf_counter()
        found = self.panel.estimates(due)
        return self.tell(due, found, time.perf_counter() - began)

    # --------------------------------------------------------------------------------------------- the steps of a fleet
    def take(self, part: Chunk | Mapping[str, Any]) -> list[Due]:
        """Take the next chunk as far as the networks: return the windows that wait for an answer; see `tell`."""
        # What is absurd is refused by its quality; that numbers ran over on the way there is no news.
        with np.errstate(all="ignore"):
            return self._worked(self._intake.offer(part if isinstance(part, Chunk) else Chunk(part)))

    def take_last(self) -> list[Due]:
        """Do so with what is left, when the recording has ended."""
        with np.errstate(all="ignore"):
            return self._worked(self._intake.finish())

    def tell(self, due: list[Due], found: list[list[Estimate]], spent_s: float) -> list[Estimate]:
        """Return the estimates on what `take` gave, once it is answered in ``spent_s`` seconds, with times and latencies."""
        count = max(sum(map(len, found)), 1)
        told: list[Estimate] = []
        for item, estimates in sorted(zip(due, found, strict=True), key=lambda pair: pair[0].settled):
            each_ms = 1000 * (item.spent_s / max(len(estimates), 1) + spent_s / count)
            told += [self._timed(estimate, each_ms) for estimate in estimates]
        for estimate in told:
            self._windows["settled" if estimate.settled else "provisional"] += 1
            self._windows["refused"] += bool(estimate.reason) and estimate.settled
        return told

    def _timed(self, estimate: Estimate, each_ms: float) -> Estimate:
        late_s = max(self.now_s - estimate.end_s, 0.0)
        return replace(estimate, clock_s=self._intake.clock_s(estimate.end_s), latency_s=late_s, work_ms=each_ms)

    def _worked(self, parts: list[Part]) -> list[Due]:
        due: list[Due] = []
        for number, part in enumerate(parts):
            skip_s = self._settled_anyway(parts[number:])
            record = self._record(part)
            if record is not None:
                if not part.base_s:
                    self._rest.add(record)
                due += self._due(partial(self._stream.push, record), part.base_s)
                due += self._look(record, part.base_s, skip_s)
            if part.ends:
                due += self._due(self._stream.finish, part.base_s)
                self._renew()
                self._ahead = []
        return due

    def _settled_anyway(self, parts: list[Part]) -> float:
        """Return the second of the stretch before which windows are settled by what has arrived already."""
        mine = [part for part in parts if part.base_s == parts[0].base_s]
        if any(part.ends for part in mine):
            return math.inf
        whole_s: float = mine[-1].start_s + min(x.size / self._channels[name].fs for name, x in mine[-1].samples.items())
        return whole_s - self.settled_after_s - self._preparation.windowing.length_s

    def _record(self, part: Part) -> Record | None:
        if not any(x.size for x in part.samples.values()):
            return None
        infos = self._channels
        rest = self._preparation.rest_s
        return Record(
            NAME,
            NAME,
            "1",
            {name: Channel(name, infos[name].kind, infos[name].unit, infos[name].fs, x) for name, x in part.samples.items()},
            float(part.start_s),
            np.array(part.seams_s),
            demographics=self._told.demographics,
            timing_reliable=self._told.timing_reliable,
            # Later stretches count from their own start; the rest lies before it.
            baseline_s=None if rest is None else (rest[0] - part.base_s, rest[1] - part.base_s),
        )

    def _due(self, work: Callable[[], tuple[Windows, Features] | None], base_s: int) -> list[Due]:
        """Do settled work; what fails refuses its windows."""
        began = time.perf_counter()
        try:
            found = work()
        except FAILURES as error:
            return [self._failed(error, self._stream.worked_s, base_s, settled=True)]
        if found is None:
            return []
        cut, made = found
        if self._past is not None and len(cut):
            made = self._past.extended(made)
        last_s = self._stream.worked_s[1]
        self._ahead = [(onset_s, features) for onset_s, features in self._ahead if onset_s >= last_s]
        return [self._made(cut, made, base_s, time.perf_counter() - began, settled=True)]

    def _look(self, record: Record, base_s: int, skip_s: float) -> list[Due]:
        """Do provisional work."""
        if not self._settings.context_s:
            return []
        began = time.perf_counter()
        try:
            found = self._quick.push(record, skip_s)
        except FAILURES as error:
            return [self._failed(error, self._quick.worked_s, base_s, settled=False)]
        if found is None:
            return []
        described, cut, made = found
        self.seen = replace(described, start_s=described.start_s + base_s, seams_s=described.seams_s + base_s)
        if self._past is not None and len(cut):
            past = self._past.copy()
            for _, earlier in self._ahead:
                past.extended(earlier)
            self._ahead.append((float(cut.onset_s[0]), made))
            made = past.extended(made)
        return [self._made(cut, made, base_s, time.perf_counter() - began, settled=False)]

    def _made(self, cut: Windows, made: Features, base_s: int, spent_s: float, *, settled: bool) -> Due:
        length_s = self._preparation.windowing.length_s
        refused = tuple(
            Estimate(r.onset_s + base_s, r.onset_s + base_s + length_s, reason=r.reason, settled=settled) for r in cut.rejected
        )
        return Due(cut, made, refused, base_s, spent_s, settled)

    def _failed(self, error: Exception, span_s: tuple[float, float], base_s: int, *, settled: bool) -> Due:
        """Refuse the windows of a span of which nothing could be made."""
        cut, reason = self._preparation.windowing, " ".join(str(error).split())
        if not isinstance(error, DataError):
            reason = f"unexpected {type(error).__name__}: {reason}"
        origin_s = 0.0 if self._preparation.rest_s is None else self._preparation.rest_s[1] - base_s
        first, stop = (math.ceil((s - origin_s - 1e-9) / cut.stride) for s in span_s)
        onsets = [origin_s + k * cut.stride + base_s for k in range(max(first, 0), stop)]
        refused = tuple(Estimate(at, at + cut.length_s, reason=reason, settled=settled) for at in onsets)
        return Due(None, None, refused, base_s, 0.0, settled)


def _infos(channels: Mapping[str, float | ChannelInfo]) -> dict[str, ChannelInfo]:
    """Return all that is known of the channels; of one with a rate alone the kind is told by its name."""
    infos = {n: c if isinstance(c, ChannelInfo) else ChannelInfo(n, kind_of(n), "", float(c)) for n, c in channels.items()}
    for name, info in infos.items():
        if not 0 < info.fs < math.inf:
            raise DataError(f"{NAME}: channel '{name}' needs a rate in Hz above 0, got {info.fs:g}")
    return infos


def _try(preparation: pipeline.Preparation, channels: Mapping[str, ChannelInfo]) -> None:
    """Take some silent seconds through every step: what cannot be worked is told at the start and not window by window."""
    present = dict(channels)
    for step in preparation.steps:
        present = dict(step.plan(present))
    if preparation.features.baseline != "none":
        return
    seconds = math.ceil(preparation.windowing.length_s) + 2
    silent = {n: Channel(n, i.kind, i.unit, i.fs, np.zeros(round(seconds * i.fs), np.float32)) for n, i in channels.items()}
    preparation.apply(Record(NAME, NAME, "1", silent), (0.0, 1.0))
