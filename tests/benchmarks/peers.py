"""Beat detectors of other packages and ours, behind one call: ``samples, fs -> beat times in seconds``.

Each is called with its defaults, the way its own documentation shows: with its own cleaning where it has one. Ours is what the
shipped recipe does with such a channel at its own sampling rate. A peer that is not installed or that fails is told so.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import metadata
from typing import Any

import numpy as np

from biosig_mtl import pipeline, recipe, signal
from biosig_mtl.types import F64, Channel, ChannelInfo, RecipeError, Record

Detector = Callable[[F64, float], F64]
OURS = "biosig_mtl"
# Package on the index -> module.
PACKAGES = {
    "neurokit2": "neurokit2",
    "wfdb": "wfdb",
    "sleepecg": "sleepecg",
    "biosppy": "biosppy",
    "heartpy": "heartpy",
    "py-ecg-detectors": "ecgdetectors",
}


class PeerError(Exception):
    """A peer failed; the message is one line."""


@contextmanager
def quiet() -> Any:
    """Let the peers warn and print: that is not our business."""
    with (
        warnings.catch_warnings(action="ignore"),
        open(os.devnull, "w") as sink,  # noqa: PTH123 (not a path of ours)
        redirect_stdout(sink),
        redirect_stderr(sink),
        np.errstate(all="ignore"),
    ):
        yield


def missing(name: str) -> str:
    """Return why a peer cannot run, or nothing."""
    package = name.split()[0]
    if package == OURS or importlib.util.find_spec(PACKAGES[package]):
        return ""
    return f"{package} is not installed: pip install 'biosig-mtl[peers]'"


def load(module: str) -> Any:
    """Return a module of a peer; it must not be needed for these tests to be read, and most ship no types."""
    return importlib.import_module(module)


def find(detectors: dict[str, Detector], name: str, samples: F64, fs: float) -> F64:
    """Return the beats that a detector finds; raise `PeerError` with one line where it is missing or fails."""
    if reason := missing(name):
        raise PeerError(reason)
    if name == OURS:
        return detectors[name](samples, fs)
    try:
        with quiet():
            found = np.asarray(detectors[name](samples.copy(), fs), np.float64)
    except Exception as error:  # whatever it is, it is theirs, and it is told
        first = (str(error).splitlines() or [""])[0]
        raise PeerError(f"{type(error).__name__}: {first}"[:120]) from error
    return np.unique(found[np.isfinite(found)])


def versions() -> dict[str, str]:
    """Return the versions of the peers that are installed."""
    return {name: metadata.version(name) for name, module in PACKAGES.items() if importlib.util.find_spec(module)}


# ------------------------------------------------------------------------------------------------------------------ ours
def our_steps(kind: str, *, quality: bool = False, fiducials: bool = False) -> tuple[signal.Step, ...]:
    """Return what the shipped recipe does with a channel: a band-pass, the detector and, if wanted, what follows."""
    steps = pipeline.preparation(recipe.load("demo_bp")).steps
    detect = next(s for s in steps if isinstance(s, signal.DetectBeats) and s.channel.startswith(kind))
    wanted: list[signal.Step] = [s for s in steps if isinstance(s, signal.Bandpass) and s.name == detect.channel]
    points = [s for s in steps if isinstance(s, signal.DetectFiducials) and s.channel == detect.channel]
    if fiducials:
        wanted += [detect, *(points or _points(kind, detect.channel))]
    else:
        wanted += [detect]
    if quality:
        wanted += [s for s in steps if isinstance(s, signal.AssessQuality) and s.channel == detect.channel]
    return tuple(wanted)


def _points(kind: str, channel: str) -> list[signal.Step]:
    """Return the step that finds points in a kind of beat, if there are any for it."""
    step = signal.DetectFiducials(channel)
    try:
        step.plan({channel: ChannelInfo(channel, kind, "", 125.0)})
    except RecipeError:
        return []
    return [step]


def a_record(kind: str, samples: F64, fs: float) -> Record:
    """Return a record of one channel."""
    channel = Channel(kind, kind, "", fs, np.asarray(samples, np.float32))
    return Record("bench", "s", "1", {kind: channel})


def ours(kind: str) -> Detector:
    """Return our detector of a kind of channel."""
    steps = our_steps(kind)
    (name,) = (s.channel for s in steps if isinstance(s, signal.DetectBeats))

    def detect(samples: F64, fs: float) -> F64:
        record = a_record(kind, samples, fs)
        for step in steps:
            record = step(record)
        return np.asarray(record.beats[name].peak / fs)

    return detect


# --------------------------------------------------------------------------------------------------------------- NeuroKit2
def nk_ecg(samples: F64, fs: float) -> F64:
    """NeuroKit2's default: its own cleaning, then steepness."""
    nk = load("neurokit2")

    _, info = nk.ecg_peaks(nk.ecg_clean(samples, sampling_rate=fs), sampling_rate=fs)
    return np.asarray(info["ECG_R_Peaks"]) / fs


def nk_ppg(method: str) -> Detector:
    """NeuroKit2's pulse detectors after its own cleaning."""

    def detect(samples: F64, fs: float) -> F64:
        nk = load("neurokit2")

        rate = int(fs) if fs.is_integer() else fs  # one of its detectors takes whole numbers only
        cleaned = nk.ppg_clean(samples, sampling_rate=rate)
        return np.asarray(nk.ppg_findpeaks(cleaned, sampling_rate=rate, method=method)["PPG_Peaks"]) / fs

    return detect


# -------------------------------------------------------------------------------------------------------------------- wfdb
def xqrs(samples: F64, fs: float) -> F64:
    """WFDB's XQRS."""
    processing = load("wfdb.processing")

    detector = processing.XQRS(sig=samples, fs=fs)
    detector.detect(verbose=False)
    return np.asarray(detector.qrs_inds) / fs


def gqrs(samples: F64, fs: float) -> F64:
    """WFDB's gqrs, which counts in steps of a converter: 200 a millivolt, as its thresholds expect."""
    processing = load("wfdb.processing")

    centred = samples - np.median(samples)
    return np.asarray(processing.gqrs_detect(d_sig=np.round(200 * centred), fs=fs, adc_gain=200, adc_zero=0)) / fs


# ------------------------------------------------------------------------------------------------------------------ others
def sleepecg_c(samples: F64, fs: float) -> F64:
    """Sleepecg's detector, written in C (modified Pan-Tompkins)."""
    return np.asarray(load("sleepecg").detect_heartbeats(samples, fs)) / fs


def biosppy_ecg(segmenter: str) -> Detector:
    """Return a BioSPPy segmenter with the filter and the correction around it that its ``ecg.ecg`` has."""

    def detect(samples: F64, fs: float) -> F64:
        ecg, tools = load("biosppy.signals.ecg"), load("biosppy.signals.tools")

        band = {"ftype": "FIR", "band": "bandpass", "order": int(1.5 * fs), "frequency": [0.67, 45], "sampling_rate": fs}
        filtered, _, _ = tools.filter_signal(signal=samples - np.mean(samples), **band)
        (at,) = getattr(ecg, segmenter)(signal=filtered, sampling_rate=fs)
        (at,) = ecg.correct_rpeaks(signal=filtered, rpeaks=at, sampling_rate=fs, tol=0.05)
        return np.asarray(at) / fs

    return detect


def biosppy_ppg(samples: F64, fs: float) -> F64:
    """BioSPPy's ``ppg.ppg``: filter and Elgendi 2013."""
    return np.asarray(load("biosppy.signals.ppg").ppg(signal=samples, sampling_rate=fs, show=False)["peaks"]) / fs


def heartpy(low_hz: float, high_hz: float) -> Detector:
    """Return HeartPy after its own band-pass; it has no cleaning by default, and raw signals serve it worse nearly everywhere.

    For pulses 0.7–3.5 Hz, as its documentation shows; for an electrocardiogram 5–25 Hz, the best of three that were tried.
    """

    def detect(samples: F64, fs: float) -> F64:
        hp = load("heartpy")

        band = {"cutoff": [low_hz, high_hz], "sample_rate": fs, "order": 3, "filtertype": "bandpass"}
        return _accepted(hp.process(hp.filter_signal(samples, **band), fs)[0]) / fs

    return detect


def _accepted(working: dict[str, Any]) -> F64:
    at, kept = np.asarray(working["peaklist"], np.float64), np.asarray(working["binary_peaklist"], bool)
    return np.asarray(at[kept])


def pyecg(method: str) -> Detector:
    """Return a detector of py-ecg-detectors."""

    def detect(samples: F64, fs: float) -> F64:
        return np.asarray(getattr(load("ecgdetectors").Detectors(fs), f"{method}_detector")(samples), np.float64) / fs

    return detect


ECG: dict[str, Detector] = {
    OURS: ours("ecg"),
    "neurokit2 neurokit": nk_ecg,
    "wfdb xqrs": xqrs,
    "wfdb gqrs": gqrs,
    "sleepecg": sleepecg_c,
    "biosppy hamilton": biosppy_ecg("hamilton_segmenter"),
    "biosppy ASI": biosppy_ecg("ASI_segmenter"),
    "heartpy": heartpy(5, 25),
    "py-ecg-detectors swt": pyecg("swt"),
    "py-ecg-detectors pan_tompkins": pyecg("pan_tompkins"),
    "py-ecg-detectors two_average": pyecg("two_average"),
    "py-ecg-detectors hamilton": pyecg("hamilton"),
}
PPG: dict[str, Detector] = {
    OURS: ours("ppg"),
    "neurokit2 elgendi": nk_ppg("elgendi"),
    "neurokit2 charlton": nk_ppg("charlton"),
    "biosppy": biosppy_ppg,
    "heartpy": heartpy(0.7, 3.5),
}
