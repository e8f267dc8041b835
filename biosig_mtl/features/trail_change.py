"""How the last seconds of a trail differ from all of it: what a person is like now, against what the same person was before.

This is a normalisation by person that a device could do as well: it looks back only, and never at labels or at what comes
later. But in an experiment whose conditions come in one order it also tells how long ago the session began; a score that rests
on it says so much less about a person's day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from biosig_mtl.features import eda, temperature
from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.rate import basics
from biosig_mtl.features.summary import by_window
from biosig_mtl.features.trail_rates import intervals_of
from biosig_mtl.features.trail_values import by_rows, long_enough, recent
from biosig_mtl.types import F32, F64, Trail

# Without a length of its own the last quarter of a trail is what is compared with all of it; never less than this.
QUARTER = 0.25
LEAST_NOW_S = 10.0
# A trail must know this many times the seconds that are compared with it.
LEAST_TIMES = 2.0
# Below this, areas of responses are taken as equal.
LEAST_AREA = 0.05
NAMES = {
    "eda_change": ("scl_log", "scr_per_min", "phasic_log"),
    "ppg_change": ("rate_per_min", "rmssd_log"),
    "ecg_change": ("rate_per_min", "rmssd_log"),
    "temp_change": ("mean_degc",),
}
Measures = Mapping[str, F64 | F32]


def eda_change(inputs: Inputs) -> dict[str, F32]:
    """Return how skin conductance of the last seconds differs from the whole trail ``settings.eda``, each of shape (window,).

    ``scl_log``: logarithm of the mean level now over that of the trail; ``scr_per_min``: difference of responses per minute;
    ``phasic_log``: logarithm of the phasic area per minute now over that of the trail, areas below 0.05 µS·s counted as such.
    The measures are those of `eda`; "now" are the last ``settings.recent_s`` seconds, or the last quarter, and 10 s at least.
    NaN where the trail knows less than twice as much.
    """

    def compare(now: Measures, ever: Measures) -> Measures:
        area = [np.maximum(part["phasic_area_us_s_per_min"], LEAST_AREA) for part in (now, ever)]
        return {
            "scl_log": _log_ratio(now["scl_mean_us"], ever["scl_mean_us"]),
            "scr_per_min": now["scr_per_min"] - ever["scr_per_min"],
            "phasic_log": _log_ratio(area[0], area[1]),
        }

    return _change(inputs, "eda", "eda_change", lambda trail: by_rows(trail, eda.measures), compare)


def temp_change(inputs: Inputs) -> dict[str, F32]:
    """Return the mean temperature of the last seconds less that of the trail ``settings.temperature``; see `eda_change`."""
    return _change(
        inputs,
        "temperature",
        "temp_change",
        lambda trail: by_rows(trail, temperature.measures),
        lambda now, ever: {"mean_degc": now["mean_degc"] - ever["mean_degc"]},
    )


def ppg_change(inputs: Inputs) -> dict[str, F32]:
    """Return how the pulse of the last seconds differs from the whole trail ``settings.prv``, each of shape (window,).

    ``rate_per_min``: difference of the rates; ``rmssd_log``: logarithm of RMSSD now over that of the trail; on intervals as
    `ppg_prv` has them, where there are ten or more. See `eda_change` for what is now.
    """
    return _beats_change(inputs, "prv", "ppg_change")


def ecg_change(inputs: Inputs) -> dict[str, F32]:
    """Return the same as `ppg_change` for the R peaks of the trail ``settings.hrv``."""
    return _beats_change(inputs, "hrv", "ecg_change")


LEAST_INTERVALS = 10


def _beats_change(inputs: Inputs, role: str, family: str) -> dict[str, F32]:
    def measure(trail: Trail) -> Measures:
        found = intervals_of(trail, role)
        nn = found.only(found.normal)
        known = basics(nn, inputs.count)
        typical = by_window(nn.seconds[None], nn.window, inputs.count).quantile(0.5, LEAST_INTERVALS)[0]
        return {"rate": 60 / typical, "rmssd": np.where(known.steps >= LEAST_INTERVALS, known.rmssd_s, np.nan)}

    def compare(now: Measures, ever: Measures) -> Measures:
        return {"rate_per_min": now["rate"] - ever["rate"], "rmssd_log": _log_ratio(now["rmssd"], ever["rmssd"])}

    return _change(inputs, role, family, measure, compare)


def _change(
    inputs: Inputs,
    role: str,
    family: str,
    measure: Callable[[Trail], Measures],
    compare: Callable[[Measures, Measures], Measures],
) -> dict[str, F32]:
    trail = inputs.trails.get(getattr(inputs.settings, role))
    if trail is None or not inputs.count or trail.length_s < LEAST_NOW_S:
        return {f"{family}.{name}": inputs.nan() for name in NAMES[family]}
    now_s = max(inputs.settings.recent_s or QUARTER * trail.length_s, LEAST_NOW_S)
    with np.errstate(divide="ignore", invalid="ignore"):
        told = compare(measure(recent(trail, now_s)), measure(trail))
    known_s = long_enough(np.isfinite(trail.signal).sum(axis=1) / trail.fs, trail.fs)
    enough = known_s >= LEAST_TIMES * now_s
    columns = {f"{family}.{name}": np.asarray(value, dtype=np.float32) for name, value in told.items()}
    return {name: np.where(np.isfinite(value) & enough, value, np.float32(np.nan)) for name, value in columns.items()}


def _log_ratio(now: F64 | F32, ever: F64 | F32) -> F64:
    positive = (now > 0) & (ever > 0)
    return np.log(np.where(positive, now, np.nan) / np.where(positive, ever, np.nan))
