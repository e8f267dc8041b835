"""How far two runs of one recipe may lie apart, and still be the same result.

In one environment they may not lie apart at all. On another processor, or with another number of threads, the same numbers are
added in another order: the last bit of a sum moves, and training magnifies it a little. Another version of a library may do
something else altogether. Hence two tolerances, `OTHER_MACHINE` and `OTHER_VERSIONS`. Both were measured on real and simulated
windows under the conditions that `docs/reproducibility.md` lists, not derived: they are what such a change did there, with room
for data on which it does more. They say nothing about how right a result is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["identical", "within tolerance", "differs"]
PRESSURE = "mmHg"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest differences that are no other result, and what it is called.

    ``mae_mmhg`` holds for the mean absolute error of a pressure, ``usual_mmhg`` for the root mean square of the differences of
    its estimates, window by window, and ``window_mmhg`` for the largest of them. Targets in another unit are held to the same
    shares of the spread of their reference as a pressure with a standard deviation of ``spread_mmhg``. ``share`` bounds the
    mean change of a class's predicted share, ``figure`` that of a balanced accuracy.
    """

    name: str
    mae_mmhg: float
    usual_mmhg: float
    window_mmhg: float
    share: float
    figure: float
    spread_mmhg: float = 20.0

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        given = (self.mae_mmhg, self.usual_mmhg, self.window_mmhg, self.share, self.figure)
        if not all(math.isfinite(value) and value >= 0 for value in given):
            raise ValueError(f"need finite tolerances >= 0, got {', '.join(f'{value:g}' for value in given)}")
        if not (math.isfinite(self.spread_mmhg) and self.spread_mmhg > 0):
            raise ValueError(f"need spread_mmhg > 0, got {self.spread_mmhg:g}")

    def scaled(self, unit: str, spread: float) -> Bounds:
        """Return the bounds of a target that is answered by a number, in its unit; ``spread`` is the SD of its reference."""
        factor = 1.0 if unit == PRESSURE else (spread / self.spread_mmhg if math.isfinite(spread) else 0.0)
        return Bounds(factor * self.mae_mmhg, factor * self.usual_mmhg, factor * self.window_mmhg)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The tolerance of one target, in its unit: of its MAE, of the root mean square and the largest change of its estimates."""

    mae: float
    usual: float
    window: float


OTHER_MACHINE = Tolerance("another machine", mae_mmhg=0.02, usual_mmhg=0.1, window_mmhg=1.0, share=0.01, figure=0.01)
OTHER_VERSIONS = Tolerance("other versions", mae_mmhg=0.25, usual_mmhg=2.0, window_mmhg=10.0, share=0.05, figure=0.02)
# Facts of the environment by whose first word a difference is one of versions, our own program among them.
VERSIONED = ("python", "libc", "packages", "source", "torch.mkl", "torch.onednn", "torch.blas", "numpy", "torch.cuda")


def tolerance_for(differing: Iterable[str]) -> Tolerance:
    """Return the tolerance for runs whose environments differ in these facts, named as `reproduce.differences` does.

    >>> tolerance_for(["processor.model"]).name
    'another machine'
    >>> tolerance_for(["processor.model", "packages.torch"]).name
    'other versions'
    """
    versions = any(fact == word or fact.startswith(f"{word}.") for fact in differing for word in VERSIONED)
    return OTHER_VERSIONS if versions else OTHER_MACHINE


def worst(verdicts: list[Verdict]) -> Verdict:
    """Return the worst of several verdicts; of none: identical.

    >>> worst(["identical", "within tolerance"])
    'within tolerance'
    """
    order: tuple[Verdict, ...] = ("differs", "within tolerance", "identical")
    return next((verdict for verdict in order if verdict in verdicts), "identical")
