"""What every signal step is, and how much context a row of them needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from biosig_mtl.types import ChannelInfo, Record


@runtime_checkable
class Step(Protocol):
    """A frozen dataclass of settings that is called with a record and returns a better-described one."""

    @property
    def optional(self) -> bool:
        """Whether a record without the channel passes unchanged."""

    @property
    def reach_s(self) -> float:
        """Context on either side, in seconds, with which a part of a recording gives the very results of the whole."""

    def plan(self, channels: Mapping[str, ChannelInfo]) -> Mapping[str, ChannelInfo]:
        """Return, without data, what channels there will be; raise a one-line error for what cannot be done."""

    def __call__(self, record: Record) -> Record:
        """Return a new record; the old one is left alone."""


def context_s(steps: Sequence[Step]) -> float:
    """Return the context on either side, in seconds, that a list of steps needs as a whole.

    Steps of one kind in a row that do not build on one another work side by side and share theirs.
    """
    total = longest = 0.0
    kind: type[Step] | None = None
    made: set[str | None] = set()
    for step in steps:
        if type(step) is not kind or getattr(step, "channel", None) in made:
            total, longest, kind, made = total + longest, 0.0, type(step), set()
        longest = max(longest, step.reach_s)
        made.add(getattr(step, "name", None))
    return total + longest
