"""Trails: what lies before the end of a window, at its own rate, the same in every part of a recording."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosig_mtl.tasks import AFFECT
from biosig_mtl.types import Beats, Channel, DataError, Label, Quality, Record
from biosig_mtl.windows import Windowing, cut

FS, EDA_HZ = 32.0, 4.0
RATED = (Label("valence", 3.0, "1..9"), Label("arousal", 7.0, "1..9"))


def session(seconds: int = 60, start_s: float = 0.0) -> Record:
    """Return a record whose skin conductance is its own time, so that every sample says when it was taken."""
    rng = np.random.default_rng(1)
    eeg = rng.normal(size=round(seconds * FS)).astype(np.float32)
    eda = (start_s + np.arange(round(seconds * EDA_HZ)) / EDA_HZ).astype(np.float32)
    channels = {"Fz": Channel("Fz", "eeg", "uV", FS, eeg), "eda": Channel("eda", "eda", "uS", EDA_HZ, eda)}
    return Record("r1", "s1", "1", channels, start_s=start_s, labels=RATED)


def cutting(**words: object) -> Windowing:
    given: dict[str, object] = {"length_s": 4.0, "channels": ("Fz",), "label": "record", "trails": {"eda": 20.0}}
    return Windowing(**(given | words))  # type: ignore[arg-type]


def test_a_trail_ends_with_its_window_and_is_unknown_before_the_recording() -> None:
    windows = cut(session(), cutting(), AFFECT)
    trail = windows.trails["eda"]
    assert (trail.kind, trail.fs, trail.signal.shape) == ("eda", EDA_HZ, (15, 80))
    assert trail.length_s == 20.0
    end = windows.onset_s + 4.0
    np.testing.assert_allclose(trail.signal[:, -1], end - 1 / EDA_HZ, atol=1e-5)
    wanted = end[:, None] - 20.0 + np.arange(80) / EDA_HZ
    np.testing.assert_allclose(trail.signal, np.where(wanted >= -1e-9, wanted, np.nan), atol=1e-5)
    assert np.isnan(trail.signal[0]).sum() == 64


@given(st.integers(0, 30), st.integers(34, 40))
def test_a_part_with_enough_before_it_gives_the_trails_of_the_whole(first: int, stop: int) -> None:
    whole = session(80)
    parts = {
        name: replace(c, samples=c.samples[round(max(first - 20, 0) * c.fs) : round((stop + 10) * c.fs)])
        for name, c in whole.channels.items()
    }
    part = replace(whole, channels=parts, start_s=float(max(first - 20, 0)))
    everything, some = cut(whole, cutting(), AFFECT), cut(part, cutting(), AFFECT, (first, stop))
    rows = np.flatnonzero(np.isin(everything.onset_s, some.onset_s))
    assert rows.size == len(some) > 0
    np.testing.assert_array_equal(some.trails["eda"].signal, everything.trails["eda"].signal[rows])


def test_a_record_without_the_channel_has_a_trail_of_nothing() -> None:
    record = replace(session(), channels={"Fz": session().channels["Fz"]})
    trail = cut(record, cutting(), AFFECT).trails["eda"]
    assert trail.kind == "absent"
    assert np.isnan(trail.signal).all()
    assert trail.length_s == 20.0


def test_only_the_windows_that_stay_have_trails_and_gaps_stay_gaps() -> None:
    record = session()
    eeg, eda = record.channels["Fz"].samples.copy(), record.channels["eda"].samples.copy()
    eeg[200] = np.nan
    eda[100:104] = np.nan
    record = record.with_channel(replace(record.channels["Fz"], samples=eeg))
    record = record.with_channel(replace(record.channels["eda"], samples=eda))
    windows = cut(record, cutting(), AFFECT)
    assert len(windows) == 14
    trail = windows.trails["eda"].signal
    assert len(trail) == 14
    inside = (windows.onset_s + 4 > 25.0) & (windows.onset_s + 4 - 20 < 26.0) & (windows.onset_s >= 16)
    assert (np.isnan(trail[windows.onset_s >= 16]).any(axis=1) == inside[windows.onset_s >= 16]).all()


def test_beats_and_quality_of_a_trail_are_counted_from_its_start() -> None:
    record = session()
    onset = np.arange(2, 230, 4)
    beats = Beats(
        "eda",
        EDA_HZ,
        onset,
        onset + 1,
        onset + 4,
        np.ones(onset.size, np.float32),
        {"foot": np.asarray(onset + 0.5, np.float64)},
    )
    sqi = np.linspace(0, 1, 60, dtype=np.float32)
    record = record.with_beats(beats).with_quality(Quality("eda", 1.0, sqi))
    windows = cut(record, cutting(), AFFECT)
    trail = windows.trails["eda"]
    assert trail.beats is not None
    late = windows.onset_s >= 16
    for k in np.flatnonzero(late):
        mine = trail.beats.window == k
        first = round((windows.onset_s[k] + 4 - 20) * EDA_HZ)
        whole = onset[(onset >= first) & (onset + 4 <= first + 80)]
        np.testing.assert_array_equal(trail.beats.onset[mine], whole - first)
        np.testing.assert_allclose(trail.beats.points["foot"][mine], whole - first + 0.5)
    np.testing.assert_allclose(trail.sqi[-1], sqi[40:60].mean(), rtol=1e-5)
    # Beats of a trail are no beats of the window, whose rate is another.
    assert "eda" not in windows.beats


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_a_trail_of_no_length_is_refused_at_birth(seconds: float) -> None:
    with pytest.raises(ValueError, match="trail"):
        cutting(trails={"eda": seconds})


def test_a_channel_of_another_rate_is_still_refused_among_the_channels() -> None:
    with pytest.raises(DataError, match="need one rate"):
        cut(session(), cutting(channels=("Fz", "eda")), AFFECT)
