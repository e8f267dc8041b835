"""Shards: a data set prepared by several runs that know nothing of one another, as those of a job array."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from biosig_mtl.types import RecipeError


@dataclass(frozen=True, slots=True)
class Shard:
    """The ``number``-th of ``count`` parts of the lots; lots go round like cards, because neighbours take about as long."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not 1 <= self.number <= self.count:
            raise ValueError(f"need 1 <= number <= count, got {self.number}/{self.count}")

    @classmethod
    def read(cls, words: str) -> Shard:
        """Return the shard that ``"3/8"`` means.

        >>> Shard.read("3/8").own(range(20))
        [2, 10, 18]
        """
        number, slash, count = words.partition("/")
        try:
            return cls(int(number), int(count if slash else ""))
        except ValueError as error:
            raise RecipeError(f"--shard {words}: write it as i/n with 1 <= i <= n, as 3/8") from error

    def own(self, lots: Iterable[int]) -> list[int]:
        """Return the lots of this shard."""
        return [i for i in lots if i % self.count == self.number - 1]

    def size(self, count: int) -> int:
        """Return how many of ``count`` lots are of this shard."""
        return len(range(self.number - 1, count, self.count))
