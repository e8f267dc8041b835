"""Numbers and words of a kept calibrator, checked before they are believed."""

from __future__ import annotations

import numpy as np

from biosig_mtl.training.calibration.known import Kept
from biosig_mtl.types import F64, DataError


def number(kept: Kept, name: str, axes: int) -> F64:
    """Return an array of a kept calibrator; raise `DataError` where it is missing, not finite or of other axes."""
    found = kept.numbers.get(name)
    if found is None or found.ndim != axes or not np.isfinite(found).all():
        raise DataError(f"a kept calibrator has no usable numbers '{name}': fit it again with calibrate")
    return np.asarray(found, dtype=np.float64)
