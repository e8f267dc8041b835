"""Sentences about targets that a training run could not steer by or learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import Head


def target_remarks(
    names: Sequence[str], heads: Sequence[Head], train: NDArray[np.floating], validation: NDArray[np.floating] | None
) -> list[str]:
    """Return what is missing in scaled targets (n, T) of training and of validation, which may be None where there is none."""
    told = []
    for t, (name, head) in enumerate(zip(names, heads, strict=True)):
        if validation is not None and not np.isfinite(validation[:, t]).any():
            told.append(f"target '{name}' is unknown in all validation windows and did not steer early stopping")
        here = np.unique(train[np.isfinite(train[:, t]), t])
        told += [
            f"no training window has the class '{word}' of '{name}'" for k, word in enumerate(head.names()) if k not in here
        ]
    return told
