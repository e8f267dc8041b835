"""How mne names what is measured, in which units, and what we write into its recordings to know our own again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from biosig_mtl.types import Channel, ChannelInfo

# mne's type of a channel → our kind.
KINDS = {"eeg": "eeg", "ecg": "ecg", "eog": "eog", "emg": "emg", "gsr": "eda", "resp": "resp", "temperature": "temp"}
TYPES = {ours: theirs for theirs, ours in KINDS.items()}
# Codes of units in the FIF standard: volt, tesla, siemens, degree Celsius; factor and our unit. As in our reader of FIF files.
UNITS = {107: (1e6, "uV"), 112: (1e15, "fT"), 110: (1e6, "uS"), 114: (1.0, "degC")}
# One of our unit in mne's, which are those of the SI.
VOLTS = {"V": 1.0, "mV": 1e-3, "uV": 1e-6, "µV": 1e-6, "nV": 1e-9}
SIEMENS = {"S": 1.0, "mS": 1e-3, "uS": 1e-6, "µS": 1e-6}
CELSIUS = {"degC": 1.0, "C": 1.0, "°C": 1.0}
USUAL = {"eeg": "uV", "eog": "uV", "emg": "uV", "ecg": "mV", "eda": "uS", "temp": "degC"}
"""Units of windows, which carry none: what our readers give."""

_MARK = "biosig-mtl channels: "


def scale_of(kind: str, unit: str) -> tuple[str, float]:
    """Return mne's type and the factor to its unit; what is no voltage, conductance or temperature is ``misc`` as it is.

    >>> scale_of("ecg", "mV"), scale_of("eda", "uS"), scale_of("ppg", "NU"), scale_of("ecg", "NU")
    (('ecg', 0.001), ('gsr', 1e-06), ('misc', 1.0), ('misc', 1.0))
    """
    told = {"gsr": SIEMENS, "temperature": CELSIUS}
    theirs = TYPES.get(kind, "misc")
    factor = told.get(theirs, VOLTS).get(unit)
    return (theirs, factor) if theirs != "misc" and factor is not None else ("misc", 1.0)


def told(channels: Mapping[str, Channel | ChannelInfo]) -> str:
    """Return kinds and units as the description of a recording of mne, which has no place for them."""
    return _MARK + json.dumps({name: [c.kind, c.unit] for name, c in channels.items()}, ensure_ascii=True)


def known(description: Any) -> dict[str, tuple[str, str]]:
    """Return kinds and units by channel from a description that we wrote, nothing from any other."""
    text = str(description or "")
    if not text.startswith(_MARK):
        return {}
    try:
        content = json.loads(text.removeprefix(_MARK))
        return {str(name): (str(kind), str(unit)) for name, (kind, unit) in content.items()}
    except (ValueError, AttributeError, TypeError):
        return {}
