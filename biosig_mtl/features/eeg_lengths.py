"""Which bands windows of the EEG can hold, and what to say where they cannot."""

from __future__ import annotations

from biosig_mtl.features.eeg_connectivity import LEAST_CYCLES
from biosig_mtl.features.eeg_spectra import bins
from biosig_mtl.features.settings import FeatureSettings

# Names of features by family, without the channel.
_NAMES = {
    "eeg_de": ("eeg_de.{}",),
    "eeg_power": ("eeg_power.{}", "eeg_power.{}_share"),
    "eeg_asym": ("eeg_asym.dasm_{}", "eeg_asym.rasm_{}"),
    "eeg_plv": ("eeg_plv.{}",),
    "eeg_wpli": ("eeg_wpli.{}",),
}
_CYCLES = ("eeg_plv", "eeg_wpli")


def eeg_reasons(settings: FeatureSettings, length_s: float, fs: float) -> dict[str, str]:
    """Return why features of the EEG will be NaN in every window, by their names without the channel; the others are not in it.

    Parameters
    ----------
    settings
        Families and bands.
    length_s, fs
        Length of the windows in seconds, and their rate in Hz.

    Examples
    --------
    >>> eeg_reasons(FeatureSettings(("eeg_plv",), eeg=("F3", "F4")), 1.0, 128.0)
    {'eeg_plv.theta': 'windows of 1 s hold 4 cycles of 4 Hz, 5 are needed'}
    """
    told: dict[str, str] = {}
    for family in settings.families:
        for band, (low, high) in settings.bands.items():
            why = _reason(low, high, length_s, fs, cycles=family in _CYCLES)
            told |= {name.format(band): why for name in _NAMES.get(family, ()) if why}
            if why and family == "eeg_asym" and band == "alpha":
                told["eeg_asym.faa"] = why
    return told


def _reason(low: float, high: float, length_s: float, fs: float, *, cycles: bool) -> str:
    place = bins(fs, round(length_s * fs), low, high)
    if high > fs / 2:
        return f"the band ends at {high:g} Hz, above half the sampling rate of {fs:g} Hz"
    if cycles and low * length_s < LEAST_CYCLES:
        return f"windows of {length_s:g} s hold {low * length_s:g} cycles of {low:g} Hz, {LEAST_CYCLES:g} are needed"
    least = 2 if cycles else 1
    if place.stop - place.start < least:
        count = "no frequency" if least == 1 else "fewer than two frequencies"
        return f"windows of {length_s:g} s have {count} from {low:g} up to {high:g} Hz"
    return ""
