"""Laws of quality in windows: every index a number a window, every limit counted by name, and none of it an input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl import store
from biosig_mtl.evaluation import audit
from biosig_mtl.features import FeatureSettings, extract
from biosig_mtl.recipe import build
from biosig_mtl.signal import AssessQuality, DetectBeats
from biosig_mtl.signal.indices import INDICES as SIGNAL_INDICES
from biosig_mtl.store import Lot
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import Quality, RecipeError, Record
from biosig_mtl.windows import ReferenceRules, Windowing, cut
from biosig_mtl.windows.quality import INDICES, Means, track_means

Known = Callable[..., Record]
EASY = ReferenceRules(min_beats=1, min_share=0.1, max_sd_mmhg=1e6, max_flat=1, max_clipped=1)


def windowing(length_s: float = 2.0, **more: Any) -> Windowing:
    return Windowing(length_s=length_s, **{"channels": ("ppg",), "rules": EASY, **more})


def with_track(record: Record, channel: str = "ppg", **indices: Any) -> Record:
    none = np.zeros(16, np.float32)
    rows = {"missing": none, "flat": none, "clipped": none} | {k: np.asarray(v, np.float32) for k, v in indices.items()}
    return record.with_quality(Quality(channel, 1.0, rows.pop("sqi", np.ones(16, np.float32)), rows))


def steady(known: Known) -> Record:
    return known(np.full(20, 120.0), np.full(20, 80.0))


def test_windows_know_every_index_of_signal_and_no_other() -> None:
    assert set(INDICES) == {"sqi", *SIGNAL_INDICES}
    assert len(set(INDICES)) == len(INDICES)


# ----------------------------------------------------------------------------------------------------------------------- means
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), length=st.floats(0.05, 12.0), fs=st.sampled_from([0.5, 1.0, 4.0]))
def test_a_mean_is_the_integral_of_the_stairs_over_what_is_known(seed: int, length: float, fs: float) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, 3, (3, 20))
    rows[1, rng.integers(0, 20, 6)] = np.nan
    start = np.sort(rng.uniform(0, 20 / fs - length if 20 / fs > length else 0.1, 7)) * fs
    made = track_means(rows, start, length * fs)
    fine = np.linspace(0, 1, 4001)[:-1] + 0.5 / 4000
    for j, first in enumerate(start):
        at = first + fine * length * fs
        inside = rows[:, np.minimum(at[at < 20].astype(int), 19)]
        expected = np.array([row[np.isfinite(row)].mean() if np.isfinite(row).any() else np.nan for row in inside])
        np.testing.assert_allclose(made[:, j], expected, atol=0.03)


def test_a_window_of_whole_seconds_is_their_plain_mean() -> None:
    rows = np.arange(10.0)[None]
    np.testing.assert_array_equal(track_means(rows, np.array([0.0, 3.0, 8.0]), 2.0), [[0.5, 3.5, 8.5]])
    rows[0, 3] = np.nan
    np.testing.assert_array_equal(track_means(rows, np.array([2.0, 3.0]), 2.0), [[2.0, 4.0]])
    assert np.isnan(track_means(np.full((2, 5), np.nan), np.array([1.0]), 2.0)).all()
    assert track_means(np.ones((2, 0)), np.array([1.0]), 2.0).shape == (2, 1)
    assert track_means(np.ones((2, 5)), np.empty(0), 2.0).shape == (2, 0)


def test_a_part_has_the_bits_of_the_whole(known: Known) -> None:
    rng = np.random.default_rng(0)
    record = replace(steady(known), quality={})
    rows = {"sqi": rng.random(300, np.float32), **{k: rng.normal(0, 1, 300).astype(np.float32) for k in ("snr", "skewness")}}
    rows["snr"][rng.integers(0, 300, 40)] = np.nan
    onset = np.arange(100.0, 150.0, 0.7)

    def means(low: int, high: int) -> dict[str, Any]:
        part = {k: v[low:high] for k, v in rows.items()}
        made = replace(record, start_s=float(low)).with_quality(
            Quality("ppg", 1.0, part["sqi"], {k: part[k] for k in ("snr", "skewness")})
        )
        return dict(Means(made, onset, 8.0).of("ppg") or {})

    whole, part = means(0, 300), means(90, 180)
    for name in rows:
        assert np.array_equal(whole[name], part[name], equal_nan=True), name


# ---------------------------------------------------------------------------------------------------------------------- limits
def test_every_limit_refuses_with_its_own_reason(known: Known) -> None:
    track: dict[str, Any] = {
        "skewness": [0.5] * 2 + [-0.5] * 2 + [0.5] * 12,
        "motion": [0.0] * 4 + [0.6] * 2 + [np.nan] * 2 + [0.0] * 8,
        "template": [1.0] * 8 + [0.2] * 2 + [np.nan] * 2 + [1.0] * 4,
        "sqi": [1.0] * 12 + [0.1] * 2 + [1.0] * 2,
    }
    record = with_track(steady(known), **track)
    setting = windowing(min_sqi=0.3, max_motion=0.3, limits={"skewness": (0.0, None), "template": (0.5, 1.0)})
    made = cut(record, setting, BLOOD_PRESSURE)
    assert {r.onset_s: r.reason for r in made.rejected} == {
        2.0: "skewness of ppg below 0",
        4.0: "motion of ppg above 0.3",
        8.0: "template of ppg below 0.5",
        12.0: "low signal quality in ppg",
    }
    assert made.onset_s.tolist() == [0.0, 6.0, 10.0, 14.0]
    assert len(cut(record, windowing(), BLOOD_PRESSURE)) == 8


def test_an_optional_channel_beyond_a_limit_is_not_carried_and_refuses_nothing(known: Known) -> None:
    record = steady(known)
    other = replace(record.channels["ppg"], name="ecg", kind="ecg", source_name="")
    record = with_track(with_track(record.with_channel(other)), "ecg", motion=[0.6] * 8 + [0.0] * 8)
    made = cut(record, windowing(optional=("ecg",), max_motion=0.3), BLOOD_PRESSURE)
    assert len(made) == 8
    assert (made.sqi[:, 1] == [0, 0, 0, 0, 1, 1, 1, 1]).all()
    assert not made.signal[:4, 1].any()


def test_a_limit_on_what_a_channel_does_not_have_refuses_nothing(known: Known) -> None:
    record = steady(known)
    setting = windowing(max_motion=0.1, limits={"qrs_power": (0.5, None)})
    assert len(cut(record, setting, BLOOD_PRESSURE)) == len(cut(with_track(record), setting, BLOOD_PRESSURE)) == 8


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"limits": {"skewnes": (0.0, None)}}, "got 'skewnes'"),
        ({"limits": {"snr": (0.9, 0.2)}}, "lower limit below the upper"),
        ({"max_motion": 0.0}, "max_motion > 0"),
    ],
)
def test_nonsense_limits_are_refused_at_birth(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        windowing(**wrong)
    with pytest.raises(RecipeError, match=words):
        build(Windowing, {"length_s": 8.0, "channels": ["ppg"], **wrong}, "windows")


def test_limits_come_from_a_recipe() -> None:
    content = {"length_s": 8, "channels": ["ppg"], "limits": {"motion": [None, 0.4], "template": [0.5, None]}}
    made = build(Windowing, content, "windows")
    assert made.limits == {"motion": (None, 0.4), "template": (0.5, None)}
    assert made.allowed.bounds == made.limits
    assert replace(made, max_motion=0.2).allowed.bounds["motion"] == (None, 0.2)


# ----------------------------------------------------------------------------------------------------------------------- facts
def assessed(known: Known) -> Record:
    record = steady(known)
    for step in (DetectBeats("ppg"), AssessQuality("ppg"), DetectBeats("abp"), AssessQuality("abp")):
        record = step(record)
    return record


def test_every_index_of_every_track_is_a_fact_of_the_window(known: Known) -> None:
    record = assessed(known)
    made = cut(record, windowing(), BLOOD_PRESSURE)
    assert len(made) > 0
    for name, track in record.quality.items():
        for index, row in {"sqi": track.sqi, **track.indices}.items():
            fact = made.facts[f"quality.{name}.{index}"]
            assert fact.dtype == np.float32
            first = np.round(made.onset_s).astype(int)
            pairs = np.stack([row[first], row[first + 1]]).astype(np.float64)
            expected = np.where(
                np.isfinite(pairs).any(axis=0), np.nansum(pairs, axis=0) / np.maximum(np.isfinite(pairs).sum(axis=0), 1), np.nan
            )
            np.testing.assert_allclose(fact, expected, rtol=1e-5, atol=1e-6, err_msg=index)


def test_the_facts_reach_the_table_of_the_store_and_never_the_inputs(known: Known, tmp_path: Any) -> None:
    made = cut(assessed(known), windowing(), BLOOD_PRESSURE)
    chosen = FeatureSettings(families=("pulse_shape",), pulse="ppg", raw="ppg", waveform=("ppg",))
    features = extract(made, chosen, BLOOD_PRESSURE)
    assert not [name for name in (*features.names, *features.waveform_channels) if "quality" in name]
    store.write_plan(tmp_path, {"digest": "x"})
    store.write_lot(
        tmp_path, 0, Lot((made,), (features,), ("r1",), made.rejected), {"dataset": "d", "subject_level": "subject"}
    )
    store.finish(tmp_path, 1)
    table = store.read(tmp_path)
    for key, value in made.facts.items():
        if key.startswith("quality."):
            np.testing.assert_array_equal(table.index[key].to_numpy(), value)
    told = tuple(map(str, table.index.columns))
    assert {"quality.ppg.template", "quality.abp.pulse_pressure"} <= set(told)
    given_ = audit.Inputs(features=(*table.names, "quality.ppg.skewness"), channels=("ppg",), facts=told)
    evidence = audit.Evidence(task=BLOOD_PRESSURE, folds=(), subject=np.array(["s"]), inputs=given_)
    found = audit.barred_inputs(evidence)
    assert not found.passed
    assert "quality.ppg.skewness" in found.detail
    assert audit.barred_inputs(replace(evidence, inputs=replace(given_, features=table.names))).passed
