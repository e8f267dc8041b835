"""Laws of the numbers of quality: what each is on signals for which it is known, and what changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl.signal import AssessQuality, Bandpass, DetectBeats
from biosig_mtl.signal.indices import INDICES, Seconds, flushed, means, moments
from biosig_mtl.types import F32, Beats, Channel, Quality, Record

FS = 125.0


def seconds(count: int, fs: float = FS, size: int | None = None) -> Seconds:
    return Seconds(np.round(np.arange(count) * fs).astype(np.int64), round(count * fs) if size is None else size, fs)


def assess(kind: str, samples: Any, unit: str = "au", fs: float = FS) -> tuple[Quality, Beats]:
    channel = Channel(kind, kind, unit, fs, np.asarray(samples, np.float32))
    record = Record("r", "s", "1", {kind: channel})
    name = kind
    if kind != "abp":
        name = f"{kind}_band"
        record = Bandpass(kind, name, 0.5, 40 if kind == "ecg" else 12)(record)
    record = AssessQuality(name, kind)(DetectBeats(name)(record))
    return record.quality[name], record.beats[name]


def test_the_table_names_every_index_and_no_other(simulate: Any) -> None:
    record = simulate(20).record
    acc = {a: Channel(a, "acc", "g", 32.0, np.ones(640, np.float32)) for a in ("acc_x", "acc_y", "acc_z")}
    found: set[str] = set()
    for kind in ("ppg", "ecg", "abp"):
        made = DetectBeats(kind)(replace(record, channels={**record.channels, **acc}))
        found |= set(AssessQuality(kind)(made).quality[kind].indices)
    assert found == set(INDICES)
    assert all(text.strip() == text and text for text in INDICES.values())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), fs=st.sampled_from([64.0, 125.0, 62.4725, 250.0]), offset=st.sampled_from([0.0, 3.0, 1e4]))
def test_moments_are_those_of_five_seconds(seed: int, fs: float, offset: float) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.gamma(2.0, 1.0, round(20 * fs)) + np.repeat(rng.normal(0, 1, 20), round(fs) + 1)[: round(20 * fs)]).astype(
        np.float32
    )
    x[rng.integers(0, x.size, 30)] = np.nan
    made = moments((x + np.float32(offset)).astype(np.float32), seconds(20, fs, x.size))
    edge = np.round(np.arange(21) * fs).astype(int)
    for j in (2, 9, 17):
        part = (x + np.float32(offset)).astype(np.float64)[edge[j - 2] : edge[j + 3]]
        d = part[np.isfinite(part)] - np.nanmean(part)
        assert made["skewness"][j] == pytest.approx((d**3).mean() / (d**2).mean() ** 1.5, abs=2e-2 if offset > 10 else 1e-4)
        assert made["kurtosis"][j] == pytest.approx((d**4).mean() / (d**2).mean() ** 2 - 3, abs=5e-2 if offset > 10 else 1e-3)


def test_a_tone_crosses_its_mean_twice_a_period() -> None:
    at = np.arange(2500) / FS
    made = moments(np.sin(2 * np.pi * 3 * at + 0.3).astype(np.float32), seconds(20))
    assert made["crossings"][3:-3] == pytest.approx(6, abs=0.01)
    assert made["skewness"][3:-3] == pytest.approx(0, abs=0.01)
    assert made["kurtosis"][3:-3] == pytest.approx(-1.5, abs=0.01)


@pytest.mark.parametrize("value", [0.0, 5.0, 1e7, -3e5])
def test_a_constant_has_no_shape(value: float) -> None:
    made = moments(np.full(1250, value, np.float32), seconds(10))
    assert np.isnan(made["skewness"]).all()
    assert np.isnan(made["kurtosis"]).all()
    assert (made["crossings"] == 0).all()


def test_what_is_missing_has_no_numbers() -> None:
    nothing = np.full(1250, np.nan, np.float32)
    assert all(np.isnan(row).all() for row in moments(nothing, seconds(10)).values())
    assert np.isnan(means(nothing, seconds(10))).all()
    none: F32 = np.empty(0, np.float32)
    assert all(
        row.size == 0 for row in (*moments(none, seconds(0)).values(), means(none, seconds(0)), flushed(none, seconds(0)))
    )


def test_means_are_of_what_is_known() -> None:
    x = np.repeat(np.arange(10.0), 125).astype(np.float32)
    x[60:125] = np.nan
    x[250:375] = np.nan
    expected = np.arange(10.0)
    expected[2] = np.nan
    np.testing.assert_allclose(means(x, seconds(10)), expected)


def test_a_resting_pressure_is_flushed_only_where_no_artery_rests() -> None:
    at = np.arange(125) / FS
    pulse = 20 * np.sin(2 * np.pi * at)
    line = [np.full(125, 185.0), np.full(125, 2.0), 90 + pulse, np.full(125, 90.0), 180 + pulse]
    assert flushed(np.concatenate(line).astype(np.float32), seconds(5)).tolist() == [1, 1, 0, 0, 0]


@settings(max_examples=12, deadline=None)
@given(
    gain=st.sampled_from([1e-3, 0.25, 8.0, 1000.0]),
    offset=st.sampled_from([-50.0, 0.0, 3.0]),
    kind=st.sampled_from(["ppg", "ecg"]),
)
def test_gain_and_offset_change_no_index_but_perfusion(simulate: Any, gain: float, offset: float, kind: str) -> None:
    x = simulate(30, 3, 0.02).record.channels[kind].samples.astype(np.float64)
    before, _ = assess(kind, x)
    after, _ = assess(kind, gain * (x + offset))
    for name, track in before.indices.items():
        if name != "perfusion":
            np.testing.assert_allclose(after.indices[name], track, atol=0.02, err_msg=name)
    np.testing.assert_allclose(after.sqi, before.sqi, atol=0.02)


def test_every_index_is_a_track_of_the_same_length_and_shares_are_shares(simulate: Any) -> None:
    for kind, unit in (("ppg", "au"), ("ecg", "mV"), ("abp", "mmHg")):
        made, _ = assess(kind, simulate(40, 4, 0.1).record.channels[kind].samples, unit)
        for name, track in made.indices.items():
            assert track.shape == (40,)
            assert track.dtype == np.float32
            if INDICES[name].startswith(("share", "power")):
                assert np.nanmin(track, initial=0) >= 0, name
                assert np.nanmax(track, initial=0) <= 1 + 1e-6, name
