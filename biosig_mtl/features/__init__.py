"""Named numbers and waveforms of a window; the table `FEATURES` names them."""

from biosig_mtl.features.bands import missing_bands, suspect_bands
from biosig_mtl.features.baseline import COMPATIBILITY_WARNING, subtract, subtract_waveform
from biosig_mtl.features.eeg_lengths import eeg_reasons
from biosig_mtl.features.extraction import FEATURES, Family, extract, plan, required_channels, required_trails
from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.settings import FeatureSettings, TrackSettings
from biosig_mtl.features.tracks import named as track_channels
from biosig_mtl.features.trail_lengths import least_length_s, reasons

__all__ = [
    "COMPATIBILITY_WARNING",
    "FEATURES",
    "Family",
    "FeatureSettings",
    "Inputs",
    "TrackSettings",
    "eeg_reasons",
    "extract",
    "least_length_s",
    "missing_bands",
    "plan",
    "reasons",
    "required_channels",
    "required_trails",
    "subtract",
    "subtract_waveform",
    "suspect_bands",
    "track_channels",
]
