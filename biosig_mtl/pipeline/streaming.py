"""Windows and features of a recording that arrives part by part."""

from __future__ import annotations

from biosig_mtl import signal
from biosig_mtl.pipeline.upstream import Preparation
from biosig_mtl.types import Features, RecipeError, Record, Windows


class WindowStream:
    """A recipe's preparation on a recording that arrives part by part.

    The windows and features are those of the whole recording, whatever the parts are; each comes once its context has arrived.

    Parameters
    ----------
    preparation
        From `biosig_mtl.pipeline.preparation`; `Preparation.unlabelled` where there is no reference.
    hop_s
        Seconds of new signal between two rounds of work.
    """

    def __init__(self, preparation: Preparation, hop_s: float = 10.0) -> None:
        """Start with nothing; raise `RecipeError` where windows are compared with a rest that a stream has long forgotten."""
        if preparation.features.baseline != "none":
            raise RecipeError("a stream keeps no rest to compare windows with; set features.baseline to none")
        self._preparation = preparation
        self._tape = signal.Tape(preparation.reach_s, hop_s)

    def push(self, part: Record) -> tuple[Windows, Features] | None:
        """Take the next part; return the windows that have become settled, or None.

        Raises
        ------
        DataError
            The part does not follow the one before.
        """
        self._tape.add(part)
        return self._work(self._tape.take())

    def finish(self) -> tuple[Windows, Features] | None:
        """Return the windows that are left, when the recording has ended."""
        return self._work(self._tape.take(last=True))

    def _work(self, taken: tuple[Record, float, float] | None) -> tuple[Windows, Features] | None:
        if taken is None:
            return None
        record, start_s, stop_s = taken
        _, cut, made = self._preparation.apply(record, (start_s, stop_s))
        return cut, made
