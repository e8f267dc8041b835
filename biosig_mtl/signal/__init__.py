"""Steps that turn a record into a better-described record; the table `STEPS` names them."""

from __future__ import annotations

from biosig_mtl.signal.beats import DetectBeats
from biosig_mtl.signal.eeg_channels import EegBadChannels
from biosig_mtl.signal.eeg_eog import EegEog
from biosig_mtl.signal.eeg_filter import EegFilter
from biosig_mtl.signal.eeg_reference import EegReference
from biosig_mtl.signal.fiducials import DetectFiducials
from biosig_mtl.signal.filters import Bandpass, Resample
from biosig_mtl.signal.quality import AssessQuality
from biosig_mtl.signal.steps import Step, context_s
from biosig_mtl.signal.stream import Stream, Tape, stretch

STEPS: dict[str, type[Step]] = {
    "resample": Resample,
    "bandpass": Bandpass,
    "detect_beats": DetectBeats,
    "detect_fiducials": DetectFiducials,
    "assess_quality": AssessQuality,
    "eeg_filter": EegFilter,
    "eeg_bad_channels": EegBadChannels,
    "eeg_reference": EegReference,
    "eeg_eog": EegEog,
}

__all__ = [
    "STEPS",
    "AssessQuality",
    "Bandpass",
    "DetectBeats",
    "DetectFiducials",
    "EegBadChannels",
    "EegEog",
    "EegFilter",
    "EegReference",
    "Resample",
    "Step",
    "Stream",
    "Tape",
    "context_s",
    "stretch",
]
