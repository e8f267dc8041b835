"""Steps that turn a record into a better-described record; the table `STEPS` names them."""

from __future__ import annotations

from biosig_mtl.signal.beats import DetectBeats
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
}

__all__ = [
    "STEPS",
    "AssessQuality",
    "Bandpass",
    "DetectBeats",
    "DetectFiducials",
    "Resample",
    "Step",
    "Stream",
    "Tape",
    "context_s",
    "stretch",
]
