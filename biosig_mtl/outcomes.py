"""Nouns of learning and grading: targets, heads, what a network takes and gives, and results.

The other rooms know them through `biosig_mtl.types`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.recordings import EMPTY, F64, I64

if TYPE_CHECKING:
    from torch import Tensor


# ------------------------------------------------------------------------------------------------- tasks and the network
@dataclass(frozen=True, slots=True)
class Target:
    """One number to estimate. ``low`` and ``high`` bound what is plausible, in ``unit``.

    A ``bounded`` target is a scale that has nothing outside: estimates are cut to it.
    """

    name: str
    unit: str
    low: float
    high: float
    bounded: bool = False


HeadKind = Literal["regression", "binary", "classes", "ordinal", "rasch"]


@dataclass(frozen=True)
class Head:
    """How one target is answered.

    ``regression`` gives a number in the unit of the target. All other kinds give classes: ``edges`` are the inner edges in the
    unit of the target, and a value belongs to the class above an edge only where it is *greater* (> 5 is high, 5 is low).
    ``binary`` has one edge; ``classes`` are without order; ``ordinal`` learns from Gaussian neighbours of spread ``smoothing``
    (in classes); ``rasch`` is one latent number with learnt thresholds, from which the severity of each *training* rater is
    taken away (Andrich 1978) — a new person has none. ``balanced`` weighs classes alike in the loss. ``ccc`` is the share of
    the loss 1 − CCC in a regression.
    """

    kind: HeadKind = "regression"
    edges: tuple[float, ...] = ()
    smoothing: float = 0.5
    balanced: bool = False
    ccc: float = 0.0

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError(f"need edges that rise, got {self.edges}")
        if self.kind == "regression" and self.edges:
            raise ValueError(f"need no edges for regression, got {self.edges}")
        if self.kind == "binary" and len(self.edges) != 1:
            raise ValueError(f"need one edge for binary, got {len(self.edges)}")
        if self.kind in {"classes", "ordinal", "rasch"} and not self.edges:
            raise ValueError(f"need edges between the classes of {self.kind}")
        if not self.smoothing > 0 or not 0 <= self.ccc <= 1:
            raise ValueError(f"need smoothing > 0 and 0 <= ccc <= 1, got {self.smoothing}, {self.ccc}")

    @property
    def classes(self) -> int:
        """Number of classes, 0 for regression."""
        return len(self.edges) + 1 if self.edges else 0

    def encode(self, values: NDArray[np.floating]) -> F64:
        """Return class numbers (NaN stays NaN), or for regression the values as they are.

        >>> Head("binary", (5.0,)).encode(np.array([5.0, 5.1, np.nan])).tolist()
        [0.0, 1.0, nan]
        """
        given = np.asarray(values, dtype=np.float64)
        if not self.edges:
            return given
        return np.where(np.isnan(given), np.nan, np.digitize(given, self.edges, right=True))

    def names(self) -> tuple[str, ...]:
        """Return a name a class.

        >>> Head("classes", (4.0, 6.0)).names()
        ('≤ 4', '> 4 to 6', '> 6')
        """
        if not self.edges:
            return ()
        inner = [f"> {low:g} to {high:g}" for low, high in zip(self.edges, self.edges[1:], strict=False)]
        return (f"≤ {self.edges[0]:g}", *inner, f"> {self.edges[-1]:g}")


@dataclass(frozen=True, slots=True)
class Task:
    """A named set of targets. Channels of a ``reference_kinds`` kind are barred from the inputs, with all made of them.

    ``heads`` say how each target is answered unless a recipe says otherwise; empty: all by regression.
    """

    name: str
    targets: tuple[Target, ...]
    reference_kinds: frozenset[str]
    heads: tuple[Head, ...] = ()

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the targets in order."""
        return tuple(t.name for t in self.targets)


@dataclass(frozen=True, slots=True)
class TrackSpec:
    """The shape of one modality's waveform."""

    name: str
    channels: tuple[str, ...]
    samples: int
    fs: float


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The shapes that a network is built for, and the answers that it gives."""

    waveform_channels: tuple[str, ...]
    samples: int
    features: tuple[str, ...]
    targets: tuple[str, ...]
    tracks: tuple[TrackSpec, ...] = ()
    heads: tuple[Head, ...] = ()

    @property
    def head(self) -> tuple[Head, ...]:
        """One head a target: regression where nothing else is said."""
        return self.heads or (Head(),) * len(self.targets)

    @property
    def modalities(self) -> dict[str, tuple[int, ...]]:
        """Return the columns of the features of every modality: those with a track first, then the other families.

        >>> InputSpec((), 0, ("eeg_de.a", "hr.mean", "eeg_asym.a"), (), (TrackSpec("eeg", ("F3",), 8, 2.0),)).modalities
        {'eeg': (0, 2), 'hr': (1,)}
        """
        found: dict[str, tuple[int, ...]] = {track.name: () for track in self.tracks}
        for column, name in enumerate(self.features):
            modality = name.partition(".")[0].partition("_")[0]
            found[modality] = (*found.get(modality, ()), column)
        return found


@dataclass(frozen=True, slots=True)
class Batch:
    """Scaled windows as tensors: waveform (B, C, L), values (B, F) without NaN, missing (B, F) bool, targets (B, T) with NaN
    where unknown (class numbers for heads of classes), weight (B,).

    ``tracks`` maps a modality to its waveform (B, C, L), zero where ``present`` (B, C) bool says that there is none. ``offset``
    (B, T) is what a rater is more severe than others; only training has one. ``reference`` (B, L) is the scaled waveform of the
    reference signal (NaN where unknown): something to learn to tell, never an input.
    """

    waveform: Tensor
    values: Tensor
    missing: Tensor
    targets: Tensor
    weight: Tensor
    tracks: Mapping[str, Tensor] = field(default_factory=lambda: EMPTY)
    present: Mapping[str, Tensor] = field(default_factory=lambda: EMPTY)
    offset: Tensor | None = None
    reference: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """What every network returns: predictions (B, T) in scaled units, for heads of classes the expected class number.

    ``logits`` (B, T, O), O the largest number of classes, are given where any head has classes: −inf beyond a head's own, and
    zero for regression. Networks that split also give ``masks`` and ``splits`` (B, K, N, D), K = T + 1 with the shared split
    first; ``private`` (B, T) are each private split's own predictions and ``private_logits`` their logits; ``gates`` (B, T) is
    the share of the shared split where the merge has one. ``weights`` are learnt weights to show, by name, each (B, n).

    ``early`` are answers before the last, each (B, T), and ``early_logits`` their logits: deep supervision gives them a loss.
    ``reference`` (B, S) is an estimate of the waveform of the reference signal, scaled, at as many points as asked for.
    """

    predictions: Tensor
    masks: Tensor | None = None
    splits: Tensor | None = None
    private: Tensor | None = None
    gates: Tensor | None = None
    logits: Tensor | None = None
    private_logits: Tensor | None = None
    weights: Mapping[str, Tensor] = field(default_factory=lambda: EMPTY)
    early: tuple[Tensor, ...] = ()
    early_logits: tuple[Tensor, ...] = ()
    reference: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What a protocol promises of every fold, and what it does not.

    ``disjoint`` names what no two parts share: ``subject``, ``stimulus``, ``trial``, ``window`` (no sample of one window is in
    a window of another part), ``past`` (within a trial, everything that is learned from lies before what is tested).
    """

    disjoint: tuple[str, ...]
    subject_independent: bool
    says: str


# --------------------------------------------------------------------------------------------------------------- results
@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions in the unit of the target. ``y_true`` and ``y_pred`` have shape (window, target); ``row`` numbers windows of
    the `WindowTable`.

    For a target whose head has classes both hold class numbers, and ``probabilities`` has the shares (window, class) that were
    predicted. ``trial`` and ``stimulus`` have shape (window,), empty arrays where they were not told.
    """

    row: I64
    fold: I64
    seed: I64
    subject: NDArray[np.str_]
    onset_s: F64
    y_true: F64
    y_pred: F64
    target_names: tuple[str, ...]
    heads: tuple[Head, ...] = ()
    probabilities: Mapping[str, F64] = field(default_factory=lambda: EMPTY)
    trial: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, dtype=str))
    stimulus: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, dtype=str))

    @property
    def head(self) -> tuple[Head, ...]:
        """One head a target: regression where nothing else is said."""
        return self.heads or (Head(),) * len(self.target_names)


@dataclass(frozen=True, slots=True)
class Check:
    """One question of the audit and its answer."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Scores:
    """A graded run; ``content`` is what ``scores.json`` holds (schema 1)."""

    content: Mapping[str, Any]

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from biosig_mtl import cards

        return cards.of_scores(self)

    @property
    def audit_passed(self) -> bool:
        """Whether every check of the audit passed."""
        return bool(self.content["audit"]["passed"])
