"""One figure of quality in [0, 1] from the indices, read as the probability that the beats there are right; and why it is low.

A second counts as right where every true beat within half a second of it was found and nothing else was. A logistic curve of a
few terms, each of which can only raise the figure, says how probable that is: how far beats agree with their neighbours and two
detectors with each other, whether the rhythm is possible, and whether beats fill the time. Its coefficients were fitted on
simulated recordings, whose beats are known, at three levels of noise and on plain noise
(``python -m tests.benchmarks.fit_sqi write``): no label of any data set was used. Rules come on top of it, as factors: what
they find no detector can mend.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F64, Quality

LOW = 0.5

# Written by tests/benchmarks/fit_sqi.py; natural logarithms of odds, "bias" is that of the worst second that has beats.
COEFFICIENTS: Mapping[str, Mapping[str, float]] = {
    "ecg": {
        "bias": -8.48,
        "template": 0.43,
        "worst": 1.94,
        "confirmed": 2.48,
        "doubtful": 0.3,
        "rate": 2.11,
        "ratio": 2.93,
        "covered": 3.82,
        "joint": 2.12,
    },
    "ppg": {
        "bias": -7.15,
        "template": 0.02,
        "worst": 2.1,
        "confirmed": 0.99,
        "doubtful": 2.28,
        "rate": 0.31,
        "ratio": 1.59,
        "covered": 2.7,
        "joint": 2.94,
    },
    "abp": {
        "bias": -7.22,
        "template": 1.29,
        "worst": 3.42,
        "confirmed": 1.2,
        "doubtful": 0.22,
        "rate": 1.11,
        "ratio": 1.6,
        "covered": 2.17,
        "joint": 3.17,
    },
}
# What leaves everything and what leaves nothing, and how much is left then; between them on a straight line.
RULES: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "missing": (0.0, 0.5, 0.0),
        "flat": (0.0, 0.5, 0.0),
        "clipped": (0.0, 0.4, 0.0),
        "mains": (0.8, 0.95, 0.0),
        "flushed": (0.0, 1.0, 0.0),
    }
)
# Rules for pulses only: an ECG may point down. A moving arm makes pulses of its own, as even as those of a heart.
PULSE_RULES: Mapping[str, tuple[float, float, float]] = MappingProxyType({"polarity": (1.0, -1.0, 0.25)})
PPG_RULES: Mapping[str, tuple[float, float, float]] = MappingProxyType({"motion": (0.1, 0.5, 0.25)})
ABP_RULES: Mapping[str, tuple[float, float, float]] = MappingProxyType({"pressure": (1.0, 0.0, 0.0)})
# Terms of the logistic curve and the index each is made of: (index, value that is worth 0, value that is worth 1).
TERMS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "template": (0.0, 1.0),
        "worst": (0.0, 1.0),
        "confirmed": (0.0, 1.0),
        "doubtful": (1.0, 0.0),
        "rate": (0.0, 1.0),
        "ratio": (2.2, 1.0),
        "covered": (0.0, 1.0),
    }
)
# What must hold at once: the term "joint" is their product.
JOINT = ("template", "covered", "doubtful")
# Where less power than this lies in the band, noise is to blame rather than the beats; it lowers no figure by itself.
NOISY = 0.5
REASONS: Mapping[str, str] = MappingProxyType(
    {
        "missing": "missing",
        "flat": "flat",
        "clipped": "clipped",
        "mains": "mains",
        "flushed": "flushed",
        "no beats": "no beats",
        "pressure": "implausible pressure",
        "polarity": "upside down",
        "motion": "motion",
        "template": "disagreement",
        "worst": "disagreement",
        "confirmed": "disagreement",
        "doubtful": "implausible rate",
        "rate": "implausible rate",
        "ratio": "implausible rate",
        "covered": "implausible rate",
        "snr": "noise",
    }
)
"""What is wrong where an index is, the gravest first."""


def sqi(indices: Mapping[str, NDArray[np.floating]]) -> F64:
    """Return the quality of every second: the logistic curve of the terms times every rule, 0 where there are no beats.

    Where no beats were looked for, the figure is what the rules leave, at most halved by a poor ``snr``.
    """
    left = np.prod([np.exp(-cost) for cost in _ruled(indices).values()], axis=0)
    if "template" not in indices:
        return np.asarray(left * (0.5 + 0.5 * np.nan_to_num(np.asarray(indices["snr"], np.float64))))
    weights = COEFFICIENTS[kind_of(indices)]
    odds = weights["bias"] + sum(weights.get(name, 0.0) * value for name, value in terms(indices).items())
    probable = 1 / (1 + np.exp(-odds))
    return np.asarray(np.where(np.isnan(indices["template"]), 0, probable * left))


def terms(indices: Mapping[str, NDArray[np.floating]]) -> dict[str, F64]:
    """Return the terms of the logistic curve, each in [0, 1] and 0 where its index cannot be told."""
    names = [name for name in TERMS if name in indices]
    if not names:
        return {}
    worst, best = np.array([TERMS[name] for name in names]).T[..., None]
    rows = np.stack([indices[name] for name in names], dtype=np.float64)
    found = dict(zip(names, np.nan_to_num(np.clip((rows - worst) / (best - worst), 0, 1)), strict=True))
    if all(name in found for name in JOINT):
        found["joint"] = found["template"] * found["covered"] * found["doubtful"]
    return found


def reasons(quality: Quality, below: float = LOW) -> NDArray[np.str_]:
    """Return the gravest reason for a low figure of every second, empty where it is not below ``below``, shape (second,).

    A rule that leaves less than half stands first, in the order of `REASONS`, then whatever lowers the figure most. Indices
    that a track does not have are no reason; a low figure that nothing explains is told to be noise.
    """
    indices = quality.indices
    ruled = _ruled(indices)
    costs = dict.fromkeys(REASONS, np.zeros(quality.sqi.size)) | ruled
    if "template" in indices:
        weights, found = COEFFICIENTS[kind_of(indices)], terms(indices)
        shared = weights.get("joint", 0.0) / len(JOINT)
        for name, value in found.items():
            if name in TERMS:
                costs[name] = (weights.get(name, 0.0) + shared * (name in JOINT)) * (1 - value)
        costs["no beats"] = np.where(np.isnan(indices["template"]), 1e3, 0)
    table = np.stack([np.minimum(costs[name], 1e3) for name in REASONS])
    table[list(REASONS).index("snr")] = np.where(indices.get("snr", np.float32(1)) >= NOISY, 0, 2e3)
    decides = {*ruled, "no beats"}
    grave = np.array([name in decides for name in REASONS])[:, None] & (table > -np.log(0.5))
    # Order decides among grave ones: the first of equal costs is taken.
    gravest = np.where(grave, 1e4, table).argmax(axis=0)
    words = np.where(table.max(axis=0) > 0, np.array(list(REASONS.values()))[gravest], "noise")
    return np.where(quality.sqi < below, words, "")


def kind_of(indices: Mapping[str, NDArray[np.floating]]) -> str:
    """Return what kind of channel has these indices: each has one that no other has."""
    return "ecg" if "qrs_power" in indices else "abp" if "flushed" in indices else "ppg"


def _ruled(indices: Mapping[str, NDArray[np.floating]]) -> dict[str, F64]:
    """Return what every rule costs, as −log of the share it leaves."""
    kind = kind_of(indices)
    rules = dict(RULES)
    rules |= PULSE_RULES if kind != "ecg" else {}
    rules |= PPG_RULES if kind == "ppg" else {}
    rules |= ABP_RULES if kind == "abp" else {}
    names = [name for name in rules if name in indices]
    if not names:
        return {}
    good, bad, rest = np.array([rules[name] for name in names]).T[..., None]
    rows = np.stack([np.asarray(indices[name]) for name in names], dtype=np.float64)
    share = np.nan_to_num(np.clip((rows - good) / (bad - good), 0, 1))
    return dict(zip(names, -np.log(np.maximum(1 - (1 - rest) * share, 1e-300)), strict=True))
