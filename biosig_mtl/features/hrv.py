"""Heart rate variability of a window: in time, in frequency, and beyond, on intervals between normal beats."""

from __future__ import annotations

import numpy as np

from biosig_mtl.features.beat_intervals import Intervals, intervals
from biosig_mtl.features.hrv_nonlinear import alpha1, sample_entropy
from biosig_mtl.features.hrv_spectrum import powers
from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.rate import LEAST_INTERVALS, Basics, basics, steps
from biosig_mtl.features.summary import by_window, pad
from biosig_mtl.types import F32, F64, I64

# Makes the median absolute deviation an estimate of the SD of a normal distribution.
MAD_TO_SD = 1.4826
# The histogram of the triangular index asks for at least 20 min (Task Force 1996, "Geometrical methods").
TRIANGLE_LEAST_S = 1200.0
BIN_S = 1 / 128
# Differences of sampled times are known to rounding: what is 50 ms on paper must not count as more.
TINY_S = 1e-9


def hrv(inputs: Inputs) -> dict[str, F32]:
    """Return heart rate variability of every window, each of shape (window,); what a window is too short for is NaN.

    The intervals are those of `rate` (R peaks, else pulse feet: ``hrv.from_ecg``; the latter are pulse rate variability, which
    is wider at high frequency) that lie between two beats marked normal: NN intervals. ``hrv.n`` counts them,
    ``hrv.removed_share`` is the share of the detector's intervals in the window that were left out. Differences are taken only
    between intervals that follow each other.

    Names, units and definitions after Task Force of ESC and NASPE, Circulation 93 (1996) 1043, if nothing else is said:

    - time, at least 4 intervals: mean, median, SDNN (n − 1), RMSSD, SDSD, SDNN and RMSSD over the mean (``cvnn``, ``cvsd``),
      1.4826 × median absolute deviation, interquartile range, share of steps above 50 and 20 ms among all NN, in per cent; the
      triangular index with bins of 1/128 s, in windows of 20 min and more. TINN is left out: its fit of a triangle is unstable.
    - frequency: see `powers`; HF in windows of 60 s and more, LF 120 s, VLF and total 300 s.
    - non-linear: SD1 and SD2 of the Poincaré plot (Brennan et al., IEEE Trans. Biomed. Eng. 48 (2001) 1342), sample entropy and
      DFA α1, see `sample_entropy` and `alpha1`: at least 100 and 64 intervals.
    """
    chosen = intervals(inputs)
    nn = chosen.intervals.only(chosen.intervals.normal)
    length_s = inputs.samples / inputs.fs
    known = basics(nn, inputs.count)
    padded = pad(np.stack([nn.seconds, nn.end_s]), nn.window, inputs.count)
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = {
            **in_time(nn, known, inputs.count),
            "triangular_index": _triangular_index(nn, known, length_s),
            **powers(nn, inputs.count, length_s),
            **_poincare(nn, known, inputs.count),
            "sample_entropy": sample_entropy(padded[0], known.count),
            "dfa_alpha1": alpha1(padded[0], known.count),
            "n": known.count,
            "removed_share": 1 - known.count / np.where(chosen.offered > 0, chosen.offered, np.nan),
            "from_ecg": chosen.by_ecg,
        }
    # What is not finite is not known: no division by nothing may reach a model.
    return {f"hrv.{name}": np.where(np.isfinite(value), value, np.nan).astype(np.float32) for name, value in columns.items()}


def in_time(nn: Intervals, known: Basics, windows: int) -> dict[str, F64 | F32]:
    """Return the measures in time of the intervals of every window, each of shape (window,); NaN below four intervals."""
    change, at = steps(nn)
    step_mean = np.bincount(at, change, windows) / known.steps
    sdsd = np.sqrt(_squares(change - step_mean[at], at, windows) / _less_one(known))
    ordered = by_window(nn.seconds[None], nn.window, windows)
    median = ordered.quantile(0.5)[0]
    far = by_window(np.abs(nn.seconds - median[nn.window])[None], nn.window, windows)
    mad = MAD_TO_SD * far.median[0]
    above = {ms: np.bincount(at, np.abs(change) > ms / 1000 + TINY_S, windows) for ms in (50, 20)}
    columns = {
        "mean_s": known.mean_s,
        "median_s": median,
        "sdnn_s": known.sdnn_s,
        "rmssd_s": known.rmssd_s,
        "sdsd_s": sdsd,
        "cvnn": known.sdnn_s / known.mean_s,
        "cvsd": known.rmssd_s / known.mean_s,
        "mad_s": mad,
        "iqr_s": ordered.iqr()[0],
        "pnn50_percent": 100 * above[50] / known.count,
        "pnn20_percent": 100 * above[20] / known.count,
    }
    many = known.count >= LEAST_INTERVALS
    return {name: np.where(many, value, np.nan) for name, value in columns.items()}


def _triangular_index(nn: Intervals, known: Basics, length_s: float) -> F64:
    """Return the number of intervals over the height of their histogram."""
    windows = known.count.size
    if length_s < TRIANGLE_LEAST_S or not nn.window.size:
        return np.full(windows, np.nan)
    place = np.floor(nn.seconds / BIN_S).astype(np.int64)
    bins = int(place.max()) + 1
    histogram = np.bincount(nn.window * bins + place, minlength=windows * bins).reshape(windows, bins)
    return np.asarray(known.count / histogram.max(axis=1))


def _poincare(nn: Intervals, known: Basics, windows: int) -> dict[str, F64]:
    """Return the SD across and along the line of identity of every interval against the next."""
    row = np.flatnonzero(nn.follows)
    at, before, after = nn.window[row], nn.seconds[row - 1], nn.seconds[row]
    out = {}
    for name, turned in (("sd1_s", (after - before) / np.sqrt(2)), ("sd2_s", (after + before) / np.sqrt(2))):
        mean = np.bincount(at, turned, windows) / known.steps
        sd = np.sqrt(_squares(turned - mean[at], at, windows) / _less_one(known))
        out[name] = np.where(known.count >= LEAST_INTERVALS, sd, np.nan)
    return out | {"sd1_sd2": out["sd1_s"] / out["sd2_s"]}


def _squares(values: F64, at: I64, windows: int) -> F64:
    return np.asarray(np.bincount(at, values**2, windows), dtype=np.float64)


def _less_one(known: Basics) -> F64:
    return np.where(known.steps > 1, known.steps - 1.0, np.nan)
