"""Labels that a data set gives: scales, means over windows, and the rest before a stimulus."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosig_mtl.tasks import AFFECT, STRESS
from biosig_mtl.types import Channel, DataError, Label, Record, Target
from biosig_mtl.windows import Windowing, cut, cut_rest
from biosig_mtl.windows.ratings import to_task

FS = 32.0
VALENCE = Target("valence", "points", 1.0, 9.0)


def record(labels: tuple[Label, ...] = (), seconds: int = 40, **tracks: tuple[float, str, list[float]]) -> Record:
    rng = np.random.default_rng(2)
    channels = {"Fz": Channel("Fz", "eeg", "uV", FS, rng.normal(size=round(seconds * FS)).astype(np.float32))}
    for name, (fs, unit, values) in tracks.items():
        channels[name] = Channel(name, "label", unit, fs, np.array(values, np.float32))
    return Record("r1", "s1", "1", channels, labels=labels)


def cutting(label: str = "record", **words: object) -> Windowing:
    given: dict[str, object] = {"length_s": 4.0, "channels": ("Fz",), "label": label}
    return Windowing(**(given | words))  # type: ignore[arg-type]


@given(st.floats(-10, 10), st.floats(0.1, 20), st.floats(0, 1))
def test_a_scale_is_brought_linearly_from_end_to_end(low: float, width: float, share: float) -> None:
    unit = f"{low:.3f}..{low + width:.3f}"
    ends = np.array([round(low, 3), round(low + width, 3)])
    np.testing.assert_allclose(to_task(ends, unit, VALENCE), [1, 9], atol=1e-9)
    middle = ends[0] + share * (ends[1] - ends[0])
    np.testing.assert_allclose(to_task(np.array([middle]), unit, VALENCE), 1 + 8 * share, atol=1e-6)


def test_a_unit_that_is_no_scale_is_the_targets_own_and_an_upside_down_scale_is_refused() -> None:
    assert to_task(np.array([4.0]), "points", VALENCE) == [4.0]
    with pytest.raises(DataError, match=r"9\.\.1"):
        to_task(np.array([4.0]), "9..1", VALENCE)


def test_ratings_of_a_record_go_by_name_and_not_by_order() -> None:
    rated = (Label("arousal", 5, "1..5"), Label("dominance", 2, "1..5"), Label("valence", -1, "-1..1"))
    for labels in (rated, rated[::-1]):
        windows = cut(record(labels), cutting(), AFFECT)
        np.testing.assert_allclose(windows.targets, np.tile([1, 9], (10, 1)))
    swapped = tuple(replace(x, name={"arousal": "valence", "valence": "arousal"}.get(x.name, x.name)) for x in rated)
    assert not np.allclose(cut(record(swapped), cutting(), AFFECT).targets, [1, 9])


def test_a_rating_outside_its_scale_refuses_and_an_unknown_one_is_nan() -> None:
    windows = cut(record((Label("valence", 10, "1..9"),)), cutting(), AFFECT)
    assert not len(windows)
    assert {r.reason for r in windows.rejected} == {"label outside the plausible range"}
    half = cut(record((Label("valence", 4, "1..9"),)), cutting(), AFFECT)
    assert np.isnan(half.targets[:, 1]).all()
    assert (half.targets[:, 0] == 4).all()
    assert {r.reason for r in cut(record(), cutting(), AFFECT).rejected} == {"no label in the data set"}


def test_a_label_channel_gives_the_mean_of_each_window_on_its_own_clock() -> None:
    values = np.arange(0.0, 40.0, 0.05) / 40 * 9 + 0.5
    windows = cut(record(valence=(20.0, "0.5..9.5", values.tolist())), cutting("track"), AFFECT)
    wanted = 1 + 8 * (windows.onset_s + 2 - 0.025) / 40
    np.testing.assert_allclose(windows.targets[:, 0], wanted, atol=1e-4)
    assert np.isnan(windows.targets[:, 1]).all()
    assert set(windows.facts["label_source"]) == {"continuous"}


def test_a_label_known_for_less_than_half_a_window_is_none() -> None:
    values = [1.0] * 21 + [np.nan] * 19
    windows = cut(record(stress=(1.0, "0..1", values)), cutting("track"), STRESS)
    assert windows.onset_s.tolist() == [0, 4, 8, 12, 16]
    values = [1.0] * 22 + [np.nan] * 18
    assert cut(record(stress=(1.0, "0..1", values)), cutting("track"), STRESS).onset_s.tolist() == [0, 4, 8, 12, 16, 20]


@pytest.mark.parametrize(("known_s", "last"), [(21, 16), (22, 20)])
def test_a_label_that_ends_within_a_window_is_as_unknown_beyond_its_end_as_nan(known_s: int, last: float) -> None:
    short = cut(record(stress=(1.0, "0..1", [1.0] * known_s)), cutting("track"), STRESS)
    assert short.onset_s.tolist() == list(np.arange(0, last + 1, 4))


def test_a_window_in_which_the_label_changes_is_refused_where_asked() -> None:
    stress = record(stress=(1.0, "0..1", [0.0] * 10 + [1.0] * 30))
    assert len(cut(stress, cutting("track"), STRESS)) == 10
    steady = cut(stress, cutting("track", steady_label=True), STRESS)
    assert len(steady) == 9
    assert [(r.onset_s, r.reason) for r in steady.rejected] == [(8.0, "the label changes within the window")]
    assert set(np.unique(steady.targets)) == {0.0, 1.0}


def test_a_part_of_a_recording_has_the_labels_of_the_whole() -> None:
    rng = np.random.default_rng(3)
    whole = record(seconds=60, stress=(1.0, "0..1", rng.random(60).round(2).tolist()))
    part = replace(
        whole,
        start_s=20.0,
        channels={n: replace(c, samples=c.samples[round(20 * c.fs) :]) for n, c in whole.channels.items()},
    )
    a, b = (cut(r, cutting("track"), STRESS, (20, 60)) for r in (whole, part))
    np.testing.assert_array_equal(a.targets, b.targets)


def test_a_channel_named_as_a_target_that_is_no_label_is_refused() -> None:
    given = record(valence=(20.0, "0..1", [0.5] * 800))
    given = given.with_channel(replace(given.channels["valence"], kind="eeg"))
    with pytest.raises(DataError, match="not a label"):
        cut(given, cutting("track"), AFFECT)


# ------------------------------------------------------------------------------------------------- the rest before a stimulus
RATED = (Label("valence", 3.0, "1..9"), Label("arousal", 7.0, "1..9"))


@pytest.mark.parametrize("rest", [(0.0, 3.0), (0.0, 5.0), (2.0, 12.5)])
def test_windows_start_where_the_rest_ends_and_none_reaches_into_it(rest: tuple[float, float]) -> None:
    given = replace(record(RATED), baseline_s=rest)
    windows = cut(given, cutting(), AFFECT)
    np.testing.assert_allclose(windows.onset_s, rest[1] + 4 * np.arange(len(windows)))
    assert len(windows) == int((40 - rest[1]) // 4)
    assert not windows.rejected


@pytest.mark.parametrize(("rest", "length", "count"), [((0.0, 3.0), 3.0, 1), ((0.0, 5.0), 4.0, 1), ((2.0, 12.0), 4.0, 4)])
def test_windows_of_the_rest_end_with_it(rest: tuple[float, float], length: float, count: int) -> None:
    given = replace(record(RATED), baseline_s=rest)
    found = cut_rest(given, cutting(), AFFECT)
    assert found is not None
    assert found.signal.shape == (count, 1, round(length * FS))
    samples = given.channels["Fz"].samples
    np.testing.assert_array_equal(found.signal[-1, 0], samples[round((rest[1] - length) * FS) : round(rest[1] * FS)])
    np.testing.assert_array_equal(
        found.signal[0, 0, :8], samples[(k := round((rest[1] - length - (count - 1) * length / 2) * FS)) : k + 8]
    )


def test_a_record_without_rest_has_no_windows_of_it() -> None:
    assert cut_rest(record(RATED), cutting(), AFFECT) is None
