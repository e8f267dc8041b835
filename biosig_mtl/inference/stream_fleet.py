"""Streams of several wearers at once: one pass through the networks for all of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from biosig_mtl.inference.files import NOTHING_TOLD, Told
from biosig_mtl.inference.predictor import Predictor
from biosig_mtl.inference.stream import DEFAULT, Stream
from biosig_mtl.inference.stream_answers import Answers, Due, Panel
from biosig_mtl.inference.stream_words import Chunk, Estimate, StreamSettings
from biosig_mtl.types import ChannelInfo, DataError


class Fleet:
    """Streams of several wearers of one run: their windows go through the networks together.

    Parameters
    ----------
    predictor, settings, answers
        As for `Stream`; all wearers share them.
    without
        Modalities that are treated as if they had not been recorded.
    """

    def __init__(
        self,
        predictor: Predictor,
        settings: StreamSettings = DEFAULT,
        answers: Answers | None = None,
        without: Iterable[str] = (),
    ) -> None:
        """Start with nobody."""
        self._predictor, self._settings = predictor, settings
        self._panel = Panel.of(predictor, settings, answers, tuple(without))
        self.streams: dict[str, Stream] = {}
        """The streams by wearer."""

    def add(self, name: str, channels: Mapping[str, float | ChannelInfo], told: Told = NOTHING_TOLD) -> Stream:
        """Begin a stream for a wearer; raise `DataError` where there is one of that name. ``told.without`` is not looked at."""
        if name in self.streams:
            raise DataError(f"{name}: is in the fleet already; remove it first")
        self.streams[name] = Stream(self._predictor, channels, self._settings, told, self._panel)
        return self.streams[name]

    def remove(self, name: str) -> list[Estimate]:
        """End the stream of a wearer; return the settled estimates that were left."""
        return self.streams.pop(name).finish()

    def push(self, parts: Mapping[str, Chunk | Mapping[str, Any]]) -> dict[str, list[Estimate]]:
        """Take the next chunk of some wearers; return what can be told now, by wearer."""
        return self._answered({name: self.streams[name].take(part) for name, part in parts.items()})

    def finish(self) -> dict[str, list[Estimate]]:
        """Return the settled estimates that are left of all wearers, when the recordings have ended."""
        return self._answered({name: stream.take_last() for name, stream in self.streams.items()})

    def _answered(self, due: Mapping[str, list[Due]]) -> dict[str, list[Estimate]]:
        began = time.perf_counter()
        found = iter(self._panel.estimates([item for items in due.values() for item in items]))
        mine = {name: [next(found) for _ in items] for name, items in due.items()}
        spent_s, count = time.perf_counter() - began, max(sum(len(e) for each in mine.values() for e in each), 1)
        return {
            name: self.streams[name].tell(items, mine[name], spent_s * sum(map(len, mine[name])) / count)
            for name, items in due.items()
        }
