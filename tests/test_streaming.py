"""Windows and features of a recording that arrives part by part are those of the whole."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl import pipeline, recipe
from biosig_mtl.data.synthetic import Cohort, simulate
from biosig_mtl.pipeline import Preparation, QuickWindows, Rest, WindowStream
from biosig_mtl.types import Channel, Features, RecipeError, Record, Windows
from tests.signal.scalp import brain

SECONDS = 600
FAMILIES = (
    "[pulse_shape, pulse_points, pulse_spectrum, rate, pat, pat_points, pat_qrs, hrv, ecg_intervals, ecg_shape, perfusion]"
)


@cache
def made() -> tuple[Preparation, Record, Windows, Features]:
    prepared = pipeline.preparation(recipe.load("demo_bp", [f"features.families={FAMILIES}"]))
    cohort = Cohort(n_subjects=1, records_per_subject=1, record_s=SECONDS, fault_share=0, seed=4, noise="moderate")
    simulated = simulate(cohort, 0)[0].channels
    names = {"ppg": ("PLETH", "NU"), "ecg": ("II", "mV"), "abp": ("ABP", "mmHg")}
    channels = {n: Channel(n, n, unit, 125.0, simulated[word]) for n, (word, unit) in names.items()}
    record = Record("r", "s", "1", channels, timing_reliable=True)
    _, cut, features = prepared.apply(record)
    return prepared, record, cut, features


@settings(max_examples=5, deadline=None)
@given(
    cuts=st.lists(st.integers(1, SECONDS * 125 - 1), max_size=30, unique=True),
    hop_s=st.sampled_from([20.0, 60.0, 300.0]),
)
def test_windows_and_features_of_random_parts_are_those_of_the_whole(cuts: list[int], hop_s: float) -> None:
    prepared, record, whole, features = made()
    stream = WindowStream(prepared, hop_s)
    edges = [0, *sorted(cuts), SECONDS * 125]
    found = []
    for low, high in pairwise(edges):
        channels = {n: replace(c, samples=c.samples[low:high]) for n, c in record.channels.items()}
        found.append(stream.push(replace(record, channels=channels, start_s=low / 125)))
    found.append(stream.finish())
    given_back = [f for f in found if f is not None]
    onset_s = np.concatenate([cut.onset_s for cut, _ in given_back])
    np.testing.assert_array_equal(onset_s, whole.onset_s)
    values = np.concatenate([f.values for _, f in given_back])
    assert given_back[0][1].names == features.names
    np.testing.assert_allclose(values, features.values, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(np.concatenate([cut.targets for cut, _ in given_back]), whole.targets)
    np.testing.assert_array_equal(np.concatenate([cut.sqi for cut, _ in given_back]), whole.sqi)
    assert sum(len(cut.rejected) for cut, _ in given_back) == len(whole.rejected)


def test_the_whole_is_worth_comparing() -> None:
    _, _, whole, features = made()
    assert len(whole) > 40
    assert np.isfinite(features.values).any(axis=0).mean() > 0.8


def parts(record: Record, step_s: int) -> list[Record]:
    found = []
    for start in range(0, SECONDS, step_s):
        channels = {
            n: replace(c, samples=c.samples[round(start * c.fs) : round((start + step_s) * c.fs)])
            for n, c in record.channels.items()
        }
        found.append(replace(record, channels=channels, start_s=float(start)))
    return found


def test_windows_that_are_waited_for_less_long_come_sooner() -> None:
    prepared, record, whole, _ = made()
    stream = WindowStream(prepared, 30.0, settle_s=30.0)
    assert stream.settled_after_s == 60.0 < WindowStream(prepared).settled_after_s
    onset_s: list[float] = []
    for part in parts(record, 10):
        found = stream.push(part)
        if found is not None:
            onset_s += found[0].onset_s.tolist()
            assert part.start_s + 10 - (onset_s[-1] + 8) <= 60.0 + 10
    left = stream.finish()
    assert left is not None
    assert onset_s + left[0].onset_s.tolist() == whole.onset_s.tolist()


# ----------------------------------------------------------------------------------------------------------------- quick
@pytest.mark.parametrize("step_s", [1, 3, 25])
def test_quick_windows_come_once_and_as_soon_as_they_can(step_s: int) -> None:
    prepared, record, whole, features = made()
    quick = QuickWindows(prepared, 30.0, 1.0, Rest(prepared))
    onset_s: list[float] = []
    seen_s, apart = 0.0, []
    for part in parts(record, step_s)[: 200 // step_s]:
        found = quick.push(part)
        seen_s = part.start_s + step_s
        if found is None:
            continue
        described, cut, values = found
        assert described.start_s + described.duration_s == seen_s
        assert described.duration_s <= 30.0 + 2 * step_s
        onset_s += sorted([*cut.onset_s.tolist(), *(r.onset_s for r in cut.rejected)])
        _, mine, theirs = np.intersect1d(cut.onset_s, whole.onset_s, return_indices=True)
        apart.append(np.abs(values.values[mine] - features.values[theirs]))
    assert onset_s == np.arange(0, seen_s - 9 + 1e-9, 8.0).tolist()
    # Close to those of the whole, feature by feature, and not the same.
    known = np.isfinite(features.values).all(axis=0) & (features.values.std(axis=0) > 0)
    typical = np.median(np.concatenate(apart)[:, known], axis=0) / features.values[:, known].std(axis=0)
    assert 0 < np.median(typical) < 0.05


def test_quick_windows_that_are_settled_already_are_skipped() -> None:
    prepared, record, _, _ = made()
    quick = QuickWindows(prepared, 30.0, 1.0, Rest(prepared))
    assert quick.push(parts(record, 100)[0], skip_until_s=80.0) is not None
    assert quick.worked_s[0] == 80.0
    assert quick.push(parts(record, 100)[1], skip_until_s=float("inf")) is None


def test_what_is_looked_at_quickly_is_as_long_as_what_windows_carry() -> None:
    prepared, record, _, _ = made()
    longer = replace(prepared, windowing=replace(prepared.windowing, trails={"ppg": 60.0}))
    quick = QuickWindows(longer, 10.0, 1.0, Rest(longer))
    durations = []
    for part in parts(record, 10)[:20]:
        found = quick.push(part)
        if found is not None:
            durations.append(found[0].duration_s)
    assert 60 + 7 <= max(durations) <= 60 + 7 + 20


# ------------------------------------------------------------------------------------------------------------------ rest
@cache
def compared() -> tuple[Preparation, Record]:
    """Return a recipe that compares with a rest, and a recording with one in it."""
    prepared = pipeline.preparation(recipe.load("demo_affect"))
    eeg = tuple(step for step in prepared.steps if not getattr(step, "channel", None))
    windowing = replace(prepared.windowing, trails={}, require_label=False)
    features = replace(prepared.features, families=("eeg_de", "eeg_asym"), tracks={})
    names = prepared.windowing.channels
    potentials = brain(SECONDS, names, fs=128.0).astype(np.float32)
    channels = {name: Channel(name, "eeg", "uV", 128.0, row) for name, row in zip(names, potentials, strict=True)}
    made = replace(prepared, steps=eeg, windowing=windowing, features=features, rest_s=(20.0, 60.0))
    return made, Record("r", "s", "1", channels)


def test_a_stream_compares_with_a_rest_as_the_whole_does() -> None:
    prepared, record = compared()
    _, whole, features = prepared.apply(record)
    stream = WindowStream(prepared, 50.0)
    found = [f for f in (*(stream.push(part) for part in parts(record, 10)), stream.finish()) if f is not None]
    np.testing.assert_array_equal(np.concatenate([cut.onset_s for cut, _ in found]), whole.onset_s)
    assert whole.onset_s[0] >= 60.0
    values = np.concatenate([f.values for _, f in found])
    np.testing.assert_allclose(values, features.values, rtol=1e-5, atol=1e-5)
    plain = replace(prepared, features=replace(prepared.features, baseline="none"))
    assert not np.allclose(plain.apply(record)[2].values[-1], features.values[-1], atol=0.01)


def test_quick_windows_are_compared_with_what_there_is_of_the_rest() -> None:
    prepared, record = compared()
    rest = Rest(prepared)
    assert rest.record is None
    quick = QuickWindows(prepared, 30.0, 1.0, rest)
    onset_s: list[float] = []
    for part in parts(record, 4)[:60]:
        part = replace(part, baseline_s=(20.0, 60.0))
        rest.add(part)
        found = quick.push(part)
        onset_s += [] if found is None else found[1].onset_s.tolist()
    assert onset_s[0] == 60.0
    assert len(onset_s) > 15


def test_the_rest_does_not_grow_with_the_recording() -> None:
    prepared, record = compared()
    rest = Rest(prepared)
    for part in parts(record, 10):
        rest.add(part)
    assert rest.record is not None
    assert rest.record.duration_s <= 60 + prepared.reach_s + 10
    assert rest.record is rest.record


def test_a_stream_refuses_windows_that_are_compared_with_a_rest_of_which_nobody_tells() -> None:
    prepared = pipeline.preparation(recipe.load("demo_affect"))
    with pytest.raises(RecipeError, match=r"say where in the stream it lies .rest_s., or set features\.baseline to none"):
        WindowStream(prepared)
