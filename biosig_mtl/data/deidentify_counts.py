"""Samples as whole numbers and a gain, so that a WFDB file gives back the float32 that was read.

Most recordings came from a converter: their samples are whole steps of some size. Where the steps are found and give back every
bit, the copy is ``exact``. Some readers add up a gain and an offset, whose rounding no WFDB header can repeat: there the steps
are those of the source, and a sample may differ in its last bit or by 2⁻³³ of the largest (``near``). Where there are no steps,
as in a filtered signal, samples over 1/128 of the largest are kept to the last bit and smaller ones are rounded to 2⁻³¹ of the
largest (``rounded``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from biosig_mtl.types import F32, F64, I64

# Largest whole numbers of WFDB formats 16 and 32; one below their lowest means "no sample" (signal(5)).
LARGEST = {16: 2**15 - 1, 32: 2**31 - 1}
NO_SAMPLE = {16: -(2**15), 32: -(2**31)}
# Steps per unit that converters and texts with decimals have; headers tell more.
_USUAL = (*(10.0**n for n in range(8)), *(2.0**n for n in range(1, 25)), 200.0, 250.0, 500.0, 2000.0, 5000.0)
_LOOK = 4096
# Of the largest sample: what adding a gain and an offset may leave. Less than rounding would cost, so near is never worse.
_NOISE = 2.0**-33


@dataclass(slots=True)
class Steps:
    """Steps per unit that one channel may have, as far as it was read: see `look`. ``largest`` is its largest size."""

    gains: tuple[float, ...] = _USUAL
    near: tuple[float, ...] = ()
    largest: float = 0.0
    seen: bool = field(default=False)

    def look(self, samples: F32) -> None:
        """Strike out the gains that do not give back these samples; NaN says nothing."""
        known = samples[np.isfinite(samples)].astype(np.float64)
        if not known.size:
            return
        if not self.seen:
            self.seen = True
            self.gains = self.near = tuple(sorted({*self.gains, *_smallest_step(known)}))
        self.largest = max(self.largest, float(np.abs(known).max()))
        # Most of the wrong ones fail at once.
        for part in (known[:_LOOK], known):
            self.gains = tuple(g for g in self.gains if _gives_back(g, part))
            self.near = tuple(g for g in self.near if g in self.gains or _is_near(g, part, self.largest))

    @property
    def kind(self) -> str:
        """How the copy gives the samples back: ``exact``, ``near`` or ``rounded``."""
        if self.gains and self.largest * self.gains[0] <= LARGEST[32]:
            return "exact"
        return "near" if self.near and self.largest * self.near[0] <= LARGEST[32] else "rounded"

    @property
    def gain(self) -> float:
        """Steps per unit: the fewest that fit; else the largest power of two that 32 bits can hold."""
        fewest = {"exact": self.gains, "near": self.near}.get(self.kind)
        return fewest[0] if fewest else 2.0 ** (31 - math.frexp(self.largest)[1])

    @property
    def bits(self) -> int:
        """Bits that a step number needs, 16 or 32."""
        return 16 if self.kind != "rounded" and self.largest * self.gain <= LARGEST[16] else 32


def _gives_back(gain: float, known: F64) -> bool:
    return np.array_equal((np.rint(known * gain) / gain).astype(np.float32), known.astype(np.float32))


def _is_near(gain: float, known: F64, largest: float) -> bool:
    last_bit = np.spacing(np.abs(known).astype(np.float32)).astype(np.float64)
    return bool((np.abs(np.rint(known * gain) / gain - known) <= last_bit + _NOISE * largest).all())


def _smallest_step(known: F64) -> tuple[float, ...]:
    """Return the gain that the smallest difference of two values suggests, made precise by the whole range."""
    values = np.unique(known[: 1 << 16])
    if values.size < 2:
        return ()
    smallest, span = float(np.diff(values).min()), float(values[-1] - values[0])
    whole = round(span / smallest)
    found = [whole / span, 2 * whole / span]
    return tuple(g for g in found if math.isfinite(g) and 0 < g < 2.0**40)


def to_counts(samples: F32, gain: float, bits: int) -> I64:
    """Return step numbers, shape (sample,); NaN becomes the number that means "no sample".

    >>> to_counts(np.array([0.5, np.nan, -1.0], np.float32), 100.0, 16).tolist()
    [50, -32768, -100]
    """
    steps = np.rint(samples.astype(np.float64) * gain)
    limit = LARGEST[bits]
    counts: I64 = np.where(np.isfinite(steps), np.clip(np.nan_to_num(steps), -limit, limit), NO_SAMPLE[bits]).astype(np.int64)
    return counts


def header_gains(pairs: Iterable[tuple[float, float]]) -> tuple[float, ...]:
    """Return the steps per unit that ranges in a header tell, (span of whole numbers, span of the quantity), and their halves.

    A range that is not centred (−200 … 200 for −32768 … 32767) puts zero between two steps: hence the halves.
    """
    told = [whole / span for whole, span in pairs if span and math.isfinite(span) and whole / span > 0]
    return tuple(sorted({*told, *(2 * g for g in told)}))
