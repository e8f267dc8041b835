"""What the audit looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.evaluation.controls import Control
from biosig_mtl.evaluation.promises import Spans
from biosig_mtl.types import EMPTY, F32, I64, Fold, Guarantee, Predictions, Task


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was fitted on which windows: a scaler, an imputer, a feature choice, label statistics, a network.

    ``parts`` are the parts of the fold that it may have seen; anything beyond ``train`` is named in the audit.
    ``twin`` says that they are the parts of the fold's twin.
    """

    what: str
    rows: I64
    fold: int
    seed: int = 0
    parts: tuple[str, ...] = ("train",)
    twin: bool = False

    def __post_init__(self) -> None:
        """Refuse fitting on what is scored."""
        wrong = set(self.parts) - {"train", "validation"}
        if wrong or not self.parts:
            raise ValueError(f"need parts out of train and validation, got {', '.join(self.parts) or 'none'}")


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the model was shown, by name; ``facts`` are the columns of the window table that are never inputs."""

    features: tuple[str, ...]
    channels: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the audit looks at. Row *i* of ``subject window_id fingerprints waveform`` is window *i*.

    ``fingerprints`` has shape (window, hash), 0 where there is none; ``waveform`` shape (window, channel, time), of which the
    first channel is compared; where a recording has no such channel it is NaN. ``subject_level`` is ``subject``, ``record`` or
    ``unknown``. ``mase`` is the model's and ``floor`` what would be too good to be true, per target. Folds and predictions are
    matched by fold number and seed; where all folds have one seed, the seeds of the predictions are training seeds, and each of
    them must predict every fold.

    ``guarantee`` is what the protocol promises; without one it is that nobody tested was learned from. ``trial``, ``stimulus``
    and ``spans`` say of each window what a promise may speak of.
    """

    task: Task
    folds: tuple[Fold, ...]
    subject: NDArray[np.str_]
    window_id: NDArray[Any] | None = None
    fingerprints: NDArray[np.uint64] | None = None
    waveform: F32 | None = None
    inputs: Inputs | None = None
    fitted: tuple[Fitted, ...] = ()
    predictions: Predictions | None = None
    subject_level: str = "subject"
    allow_record_level: bool = False
    negative_control: Mapping[str, Control | Sequence[Control]] = field(default_factory=lambda: EMPTY)
    mase: Mapping[str, float] = field(default_factory=lambda: EMPTY)
    floor: Mapping[str, float] = field(default_factory=lambda: EMPTY)
    guarantee: Guarantee | None = None
    trial: NDArray[np.str_] | None = None
    stimulus: NDArray[np.str_] | None = None
    spans: Spans | None = None
