"""What tells windows apart: whose they are, what was shown, which trial and recording, and when."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F64, I64, DataError, WindowTable

Names = NDArray[np.str_]
# Less than a sample of any recording; onsets are sums of floats.
TINY_S = 1e-4


@dataclass(frozen=True)
class Keys:
    """The columns of a window table that protocols speak of, each made once, when it is asked for; shape (window,)."""

    table: WindowTable

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.table)

    def names(self, unit: str) -> Names:
        """Return the names of a unit: ``subject stimulus trial``."""
        if unit == "subject":
            return self.subject
        return self.stimulus if unit == "stimulus" else self.trial

    def code(self, unit: str) -> I64:
        """Return numbers in the order of the names: quicker to compare, and the same groups come of them."""
        if unit not in self._codes:
            self._codes[unit] = np.unique(self.names(unit), return_inverse=True)[1]
        return self._codes[unit]

    @cached_property
    def _codes(self) -> dict[str, I64]:
        return {}

    @cached_property
    def subject(self) -> Names:
        """Person of each window."""
        return self.table.subject

    @cached_property
    def stimulus(self) -> Names:
        """What was shown; refused where a window has none, for then nobody knows what it shares."""
        names = self.table.stimulus if "stimulus" in self.table.index else np.zeros(len(self.table), dtype=str)
        if names.size and not (names != "").any():
            raise DataError("the data set names no stimulus, which this split needs; take another split.scheme")
        without = np.flatnonzero(names == "")
        if without.size:
            raise DataError(
                f"record '{self.record[without[0]]}' and its like ({without.size} windows) have no stimulus, which this split "
                "needs; leave them out with data.exclude, or take another split.scheme"
            )
        return names

    @cached_property
    def trial(self) -> Names:
        """Trial: all windows that one rating may stand for."""
        return self.table.trial

    @cached_property
    def record(self) -> Names:
        """Recording, the stretch with a clock of its own, told apart over data sets."""
        names = self.table.index["record"].to_numpy(dtype=str)
        if "dataset" not in self.table.index:
            return names
        return np.strings.add(np.strings.add(self.table.index["dataset"].to_numpy(dtype=str), "/"), names)

    @cached_property
    def stretch(self) -> I64:
        """Number of the recording."""
        return np.unique(self.record, return_inverse=True)[1]

    @cached_property
    def onset_s(self) -> F64:
        """Start of the window in its recording."""
        return self.table.index["onset_s"].to_numpy(np.float64)

    @cached_property
    def end_s(self) -> F64:
        """End of the window in its recording."""
        return self.table.index["end_s"].to_numpy(np.float64)

    @cached_property
    def bounds_s(self) -> tuple[F64, F64]:
        """Start and end of the windows of each window's recording."""
        many = int(self.stretch.max(initial=-1)) + 1
        low, high = np.full(many, np.inf), np.full(many, -np.inf)
        np.minimum.at(low, self.stretch, self.onset_s)
        np.maximum.at(high, self.stretch, self.end_s)
        return low[self.stretch], high[self.stretch]

    @cached_property
    def in_time(self) -> tuple[I64, F64, F64]:
        """Rows by recording and onset, and their onsets and ends on one axis where no two recordings meet."""
        order = np.lexsort((self.onset_s, self.stretch))
        low, high = self.bounds_s
        apart = self.stretch * (float((high - low).max(initial=0.0)) + 1.0) - low
        return order, (self.onset_s + apart)[order], (self.end_s + apart)[order]
