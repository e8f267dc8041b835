"""How long a trail must be for each number made of it, and what to say where it is shorter."""

from __future__ import annotations

import math
from collections.abc import Mapping

from biosig_mtl.features import eda, respiration, temperature, trail_change, trail_rates
from biosig_mtl.features.inputs import trail_roles
from biosig_mtl.features.settings import FeatureSettings
from biosig_mtl.features.trail_values import long_enough

_FAMILIES: dict[str, tuple[str, Mapping[str, float]]] = {
    "eda": ("eda", eda.LEAST_S),
    "ppg_prv": ("prv", trail_rates.LEAST_S),
    "ecg_hrv": ("hrv", trail_rates.LEAST_S),
    "temp": ("temperature", temperature.LEAST_S),
    "resp": ("respiration", respiration.LEAST_S),
}

least_length_s: dict[str, float] = {
    f"{family}.{name}": seconds for family, (_, least) in _FAMILIES.items() for name, seconds in least.items()
}
"""The least seconds of trail that each feature asks for; below, it is NaN."""

_CHANGES = {"eda_change": "eda", "ppg_change": "prv", "ecg_change": "hrv", "temp_change": "temperature"}


def reasons(settings: FeatureSettings, lengths_s: Mapping[str, float]) -> dict[str, str]:
    """Return why features on trails will be NaN in every window, by the name of the feature; the others are not in it.

    Parameters
    ----------
    settings
        Families, and the trails that they read.
    lengths_s
        Length of every trail of the windows in seconds, by its name; one that is not there is told as missing.

    Examples
    --------
    >>> told = reasons(FeatureSettings(families=("ecg_hrv",)), {"ecg": 4.0})
    >>> told["ecg_hrv.rmssd_s"]
    "4 s of 'ecg' are too short: ecg_hrv.rmssd_s needs 30 s"
    """
    named = trail_roles(settings)
    recent_s = settings.recent_s or math.inf
    told = {}
    for family in settings.families:
        role, least = _asked(family, settings)
        looked_at = {name: length if family in _CHANGES else min(length, recent_s) for name, length in lengths_s.items()}
        for name, seconds in least.items():
            why = _reason(f"{family}.{name}", seconds, named[role], looked_at)
            if why:
                told[f"{family}.{name}"] = why
    return told


def _asked(family: str, settings: FeatureSettings) -> tuple[str, Mapping[str, float]]:
    """Return the role of a family's trail, and the least seconds for each of its features."""
    if family in _CHANGES:
        least_s = trail_change.LEAST_TIMES * max(settings.recent_s or 0.0, trail_change.LEAST_NOW_S)
        return _CHANGES[family], dict.fromkeys(trail_change.NAMES[family], least_s)
    return _FAMILIES.get(family, ("", {}))


def _reason(feature: str, least_s: float, trail: str, lengths_s: Mapping[str, float]) -> str:
    if trail not in lengths_s:
        return f"the windows carry no trail '{trail}', which {feature} is made of"
    # Forgiven as much as at the rate of an ordinary trail.
    if long_enough(lengths_s[trail], 4.0) < least_s:
        return f"{lengths_s[trail]:g} s of '{trail}' are too short: {feature} needs {least_s:g} s"
    return ""
