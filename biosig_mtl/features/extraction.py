"""From windows to features: the table of families, and the one call that runs them behind the gate."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from biosig_mtl.features import (
    ecg,
    ecg_intervals,
    eda,
    eeg,
    eeg_connectivity,
    eeg_time,
    hrv,
    inputs,
    pat,
    perfusion,
    person,
    pulse,
    pulse_points,
    pulse_spectrum,
    rate,
    respiration,
    temperature,
    tracks,
    trail_change,
    trail_rates,
)
from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.settings import FeatureSettings
from biosig_mtl.features.waveform import waveform
from biosig_mtl.types import F32, ChannelInfo, Features, RecipeError, Task, Windows


@dataclass(frozen=True)
class Family:
    """A function from the admitted inputs to named columns of shape (window,), and the channel roles it reads."""

    run: Callable[[Inputs], dict[str, F32]]
    reads: tuple[str, ...]

    def __call__(self, inputs: Inputs) -> dict[str, F32]:
        """Return the columns of the family."""
        return self.run(inputs)


FEATURES: dict[str, Family] = {
    "pulse_shape": Family(pulse.pulse_shape, ("pulse",)),
    "rate": Family(rate.rate, ("pulse",)),
    "pat": Family(pat.pat, ("pulse",)),
    "perfusion": Family(perfusion.perfusion, ("pulse", "raw")),
    "person": Family(person.person, ()),
    "ecg_shape": Family(ecg.ecg_shape, ()),
    "stiffness": Family(person.stiffness, ("pulse",)),
    "pulse_points": Family(pulse_points.pulse_points, ("pulse",)),
    "pulse_spread": Family(pulse.pulse_spread, ("pulse",)),
    "pulse_spectrum": Family(pulse_spectrum.pulse_spectrum, ("pulse",)),
    "pat_points": Family(pat.pat_points, ("pulse",)),
    "pat_qrs": Family(pat.pat_qrs, ("pulse",)),
    "ptt": Family(pat.ptt, ("pulse", "second")),
    "hrv": Family(hrv.hrv, ("pulse",)),
    "ecg_intervals": Family(ecg_intervals.ecg_intervals, ()),
    "eeg_de": Family(eeg.eeg_de, ("eeg",)),
    "eeg_power": Family(eeg.eeg_power, ("eeg",)),
    "eeg_asym": Family(eeg.eeg_asym, ("eeg",)),
    "eeg_hjorth": Family(eeg_time.eeg_hjorth, ("eeg",)),
    "eeg_entropy": Family(eeg_time.eeg_entropy, ("eeg",)),
    "eeg_plv": Family(eeg_connectivity.eeg_plv, ("eeg",)),
    "eeg_wpli": Family(eeg_connectivity.eeg_wpli, ("eeg",)),
    "eda": Family(eda.eda, ("eda",)),
    "ppg_prv": Family(trail_rates.ppg_prv, ("prv",)),
    "ecg_hrv": Family(trail_rates.ecg_hrv, ("hrv",)),
    "temp": Family(temperature.temp, ("temperature",)),
    "resp": Family(respiration.resp, ("respiration",)),
    "eda_change": Family(trail_change.eda_change, ("eda",)),
    "ppg_change": Family(trail_change.ppg_change, ("prv",)),
    "ecg_change": Family(trail_change.ecg_change, ("hrv",)),
    "temp_change": Family(trail_change.temp_change, ("temperature",)),
}


def extract(windows: Windows, settings: FeatureSettings, task: Task) -> Features:
    """Return what a model may see of the windows of one record.

    Names and their order depend on the settings alone: what a record does not have is a column of NaN.

    Raises
    ------
    RecipeError
        A channel is a reference of the task, is needed and not carried by the windows, or a family is unknown.
    """
    chosen = _families(settings)
    admitted = inputs.admit(windows, settings, task, _roles(settings))
    columns = {name: value for family in chosen for name, value in family(admitted).items()}
    values = np.empty((len(windows), len(columns)), np.float32)
    for k, value in enumerate(columns.values()):
        values[:, k] = value
    made = tracks.tracks(windows, settings, task)
    return Features(values, tuple(columns), waveform(admitted), settings.waveform, made)


def plan(settings: FeatureSettings, channels: Mapping[str, ChannelInfo], task: Task) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the features and of the waveform channels, without data.

    Parameters
    ----------
    channels
        What is known of channels by our name. One that is named by the settings and is a reference of the task raises
        `RecipeError`; one that is not in the mapping is no error here (see `required_channels`).
    """
    inputs.bar_reference(settings, {name: info.kind for name, info in channels.items()}, task)
    # No windows at all still have every name: that way a name is written down once, beside its value.
    needed = required_channels(settings)
    nothing = np.empty((0, 1000), np.float32)
    empty = Inputs(settings, 125.0, 0, 1000, dict.fromkeys(needed, nothing), {}, {}, timing_reliable=False)
    return tuple(name for family in _families(settings) for name in family(empty)), settings.waveform


def required_channels(settings: FeatureSettings) -> tuple[str, ...]:
    """Return the channels that windows must carry for these settings; the ECG of ``settings.ecg`` is welcome beside them."""
    return inputs.needs(settings, _roles(settings))


def required_trails(settings: FeatureSettings) -> tuple[str, ...]:
    """Return the trails that the families read: windows without them give columns of NaN."""
    wanted = _roles(settings)
    return tuple(dict.fromkeys(name for role, name in inputs.trail_roles(settings).items() if role in wanted))


def _families(settings: FeatureSettings) -> list[Family]:
    for name in settings.families:
        if name not in FEATURES:
            near = difflib.get_close_matches(name, FEATURES, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(FEATURES)}"
            raise RecipeError(f"unknown feature family '{name}'; {hint}")
    return [FEATURES[name] for name in settings.families]


def _roles(settings: FeatureSettings) -> set[str]:
    return {role for family in _families(settings) for role in family.reads}
