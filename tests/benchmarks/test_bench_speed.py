"""CPU seconds for the same work: detectors alone, chains, and the whole preparation of an hour."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl import pipeline, recipe, signal
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.types import F64, Beats, Record
from tests.benchmarks import peers
from tests.benchmarks.book import Book, Speed
from tests.benchmarks.timing import cpu_medians

pytestmark = pytest.mark.benchmark

RUNS = 5
FEW = 3
FS = 125
# NeuroKit2's delineation takes some 15 s an hour and over a gigabyte: it is measured on ten minutes of the hour.
TEN_MIN = 600


@pytest.fixture(scope="module")
def waves(hour: Path) -> dict[str, F64]:
    """PPG and ECG of the hour, in memory."""
    record = open_source(entry_for(header(hour))).read()
    return {kind: np.asarray(record.channels[kind].samples, np.float64) for kind in ("ppg", "ecg")}


def header(folder: Path) -> Path:
    return folder / "s001" / "s001_1.hea"


def our_chain(kind: str, samples: F64, steps: Sequence[signal.Step]) -> Callable[[], object]:
    record = peers.a_record(kind, samples, float(FS))

    def work() -> object:
        done = record
        for step in steps:
            done = step(done)
        assert len(next(iter(done.beats.values()))) > 50
        return done

    return work


def measured(ours: Callable[[], object], theirs: Callable[[], object], runs: int) -> tuple[float, float]:
    with peers.quiet():
        spent = cpu_medians({"ours": ours, "theirs": theirs}, runs)
    return spent["ours"], spent["theirs"]


# ---------------------------------------------------------------------------------------------------------- detectors alone
@pytest.mark.parametrize("kind", ["ecg", "ppg"])
def test_detectors_alone(waves: dict[str, F64], book: Book, kind: str) -> None:
    table = peers.ECG if kind == "ecg" else peers.PPG

    def job(name: str) -> Callable[[], object]:
        return lambda: peers.find(table, name, waves[kind], float(FS))

    able = {}
    for name in table:
        try:
            job(name)()
            able[name] = job(name)
        except peers.PeerError:
            continue  # told with the accuracy
    spent = cpu_medians(able, FEW)
    book.speed += [Speed("detector", kind, name, 1.0, spent[peers.OURS], spent[name], FEW) for name in able]
    assert peers.OURS in able


# ------------------------------------------------------------------------------------------------------------------- chains
def test_pulses_beside_ppg_process(waves: dict[str, F64], neurokit: Any, book: Book) -> None:
    """The same work: a filter, beats, how far each agrees with a template (`Beats.quality`), and a rate for every sample."""
    chain = our_chain("ppg", waves["ppg"], peers.our_steps("ppg"))

    def ours() -> F64:
        done = chain()
        assert isinstance(done, Record)
        return rate_of_every_sample(next(iter(done.beats.values())), waves["ppg"].size)

    assert 30 < np.median(ours()) < 200
    mine, other = measured(ours, lambda: neurokit.ppg_process(waves["ppg"], sampling_rate=FS), RUNS)
    what = "PPG: filter, beats, template agreement of each, rate of every sample"
    book.speed.append(Speed("ppg_process", what, "nk.ppg_process", 1.0, mine, other, RUNS))


def rate_of_every_sample(beats: Beats, size: int) -> F64:
    """Return the rate per minute at every sample, between beats on a line."""
    return np.asarray(np.interp(np.arange(size), beats.peak[1:], 60 * beats.fs / np.diff(beats.peak)))


def test_pulses_with_all_indices_of_quality_beside_ppg_process(waves: dict[str, F64], neurokit: Any, book: Book) -> None:
    ours = our_chain("ppg", waves["ppg"], peers.our_steps("ppg", quality=True))
    mine, other = measured(ours, lambda: neurokit.ppg_process(waves["ppg"], sampling_rate=FS), RUNS)
    what = "PPG: filter, beats, every index of quality and the calibrated sqi (theirs: as above)"
    book.speed.append(Speed("ppg_quality", what, "nk.ppg_process", 1.0, mine, other, RUNS))


def test_ecg_with_points_and_quality_beside_ecg_process(waves: dict[str, F64], neurokit: Any, book: Book) -> None:
    steps = peers.our_steps("ecg", quality=True, fiducials=True)
    points = any(isinstance(step, signal.DetectFiducials) for step in steps)
    wave = waves["ecg"][: TEN_MIN * FS]
    mine, other = measured(our_chain("ecg", wave, steps), lambda: neurokit.ecg_process(wave, sampling_rate=FS), FEW)
    what = f"ECG: filter, R peaks, {'delineation' if points else 'no delineation (theirs: with it)'}, quality (10 min)"
    book.speed.append(Speed("ecg_process", what, "nk.ecg_process", 1 / 6, mine, other, FEW, "ten minutes"))


# ------------------------------------------------------------------------------------------------------- the whole preparation
EVERY_FAMILY = (
    "[pulse_shape, pulse_points, pulse_spread, pulse_spectrum, rate, hrv, pat, pat_points, pat_qrs, perfusion, "
    "ecg_shape, ecg_intervals, stiffness, person]"
)
POINTS = ("ppg_12hz", "ecg_40hz", "abp")


def everything() -> recipe.Recipe:
    """Return the shipped recipe with the points of all three channels and every family of features."""
    made = recipe.load("demo_bp", [f"features.families={EVERY_FAMILY}"])
    return replace(made, signal=with_points(made.signal, POINTS))


def without_points() -> recipe.Recipe:
    """Return the shipped recipe without points in beats: rate, arrival of the pulse, perfusion and shape of the ECG."""
    made = recipe.load("demo_bp", ["features.families=[rate, pat, perfusion, ecg_shape, person]"])
    return replace(made, signal=with_points(made.signal, ()))


def with_points(steps: Sequence[Any], channels: Sequence[str]) -> tuple[Any, ...]:
    plain = [s for s in steps if s["step"] != "detect_fiducials"]
    last = max(k for k, s in enumerate(plain) if s["step"] == "detect_beats") + 1
    return (*plain[:last], *({"step": "detect_fiducials", "channel": c} for c in channels), *plain[last:])


PREPARATIONS: dict[str, tuple[Callable[[], recipe.Recipe], str]] = {
    "no points": (without_points, "read, filter, beats, quality, windows, rate and PAT features, store"),
    "shipped": (lambda: recipe.load("demo_bp"), "the shipped recipe: as above and PPG points, pulse shape"),
    "everything": (everything, "everything: points of PPG, ECG, ABP, all 14 families of features"),
}


@pytest.mark.parametrize("which", PREPARATIONS)
def test_preparation_of_an_hour(hour: Path, tmp_path: Path, neurokit: Any, book: Book, which: str) -> None:
    import wfdb

    turn = itertools.count()
    name = str(header(hour).with_suffix(""))
    make, what = PREPARATIONS[which]
    delineated = which == "everything"

    def ours() -> None:
        pipeline.prepare(make(), hour, tmp_path / str(next(turn)), workers=1)

    def theirs() -> None:
        samples = wfdb.rdrecord(name).p_signal
        neurokit.ppg_process(samples[:, 0], sampling_rate=FS)
        if delineated:
            neurokit.ecg_process(samples[:, 1], sampling_rate=FS)
        else:
            neurokit.ecg_peaks(neurokit.ecg_clean(samples[:, 1], sampling_rate=FS), sampling_rate=FS)

    runs = 1 if delineated else FEW
    mine, other = measured(ours, theirs, runs)
    peer = f"wfdb, nk.ppg_process, nk.{'ecg_process' if delineated else 'ecg_peaks'}"
    book.speed.append(Speed("prepare", f"PPG, ECG, ABP: {what}", peer, 1.0, mine, other, runs))
