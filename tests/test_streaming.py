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
from biosig_mtl.pipeline import Preparation, WindowStream
from biosig_mtl.types import Channel, Features, RecipeError, Record, Windows

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


def test_a_stream_refuses_windows_that_are_compared_with_a_rest() -> None:
    compared = pipeline.preparation(recipe.load("demo_affect"))
    with pytest.raises(RecipeError, match=r"features\.baseline to none"):
        WindowStream(compared)
