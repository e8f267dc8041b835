"""Laws of cutting: an absolute grid, nothing inside a window that must not be, and one reason for each that is refused."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import Beats, Channel, DataError, Label, Quality, Record, WindowBeats, Windows
from biosig_mtl.windows import ReferenceRules, Windowing, cut

FS = 125.0
Known = Callable[..., Record]
Part = Callable[[Record, int, int], Record]

EASY = ReferenceRules(min_beats=1, min_share=0.1, max_sd_mmhg=1e6, max_flat=1, max_clipped=1)


def windowing(length_s: float = 2.0, stride_s: float | None = None, **more: object) -> Windowing:
    settings_: dict[str, object] = {"channels": ("ppg",), "rules": EASY, **more}
    return Windowing(length_s=length_s, stride_s=stride_s, **settings_)  # type: ignore[arg-type]


def random_record(known: Known, seed: int, beats: int = 30) -> Record:
    rng = np.random.default_rng(seed)
    dbp = rng.uniform(50, 90, beats)
    record = known(dbp + rng.uniform(30, 60, beats), dbp)
    ppg, abp = (record.channels[n].samples.copy() for n in ("ppg", "abp"))
    for samples in (ppg, abp):
        for at in rng.integers(0, samples.size, rng.integers(0, 3)):
            samples[at : at + rng.integers(1, 80)] = np.nan
    channels = {
        "ppg": replace(record.channels["ppg"], samples=ppg),
        "abp": replace(record.channels["abp"], samples=abp),
    }
    seams = rng.integers(0, ppg.size, rng.integers(0, 4)) / FS
    return replace(record, channels=channels, seams_s=seams)


def same_beats(a: WindowBeats, b: WindowBeats) -> None:
    for name in ("window", "onset", "peak", "end", "quality"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for key in a.points:
        np.testing.assert_allclose(a.points[key], b.points[key])


def chosen(whole: Windows, start_s: float, stop_s: float) -> np.ndarray:
    return np.flatnonzero((whole.onset_s >= start_s - 1e-9) & (whole.onset_s < stop_s - 1e-9))


# ---------------------------------------------------------------------------------------------------------------- the grid
@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    length_s=st.sampled_from([1.0, 1.6, 2.0, 4.004]),
    stride_s=st.sampled_from([None, 0.1, 0.5, 0.5 / 3, 1.0, 1.3, 2.0]),
    spot=st.tuples(st.integers(0, 3000), st.integers(0, 3000)),
    context=st.integers(0, 300),
)
def test_a_part_gives_exactly_the_windows_of_the_whole(
    known: Known, part: Part, seed: int, length_s: float, stride_s: float | None, spot: tuple[int, int], context: int
) -> None:
    record = random_record(known, seed)
    size = record.channels["ppg"].samples.size
    low, high = min(spot), max(spot) + 1
    setting = windowing(length_s, stride_s)
    whole = cut(record, setting, BLOOD_PRESSURE)
    reach = math.ceil(length_s * FS) + context + 1
    span = (low / FS, high / FS)
    piece = cut(part(record, max(0, low - context - 1), min(size, high + reach)), setting, BLOOD_PRESSURE, span)
    rows = chosen(whole, *span)
    np.testing.assert_array_equal(piece.onset_s, whole.onset_s[rows])
    np.testing.assert_array_equal(piece.signal, whole.signal[rows])
    np.testing.assert_allclose(piece.targets, whole.targets[rows], rtol=1e-6)
    for key, value in piece.facts.items():
        if value.dtype.kind == "f":
            np.testing.assert_allclose(value, whole.facts[key][rows], atol=1e-5)
        else:
            np.testing.assert_array_equal(value, whole.facts[key][rows])
    inside = {r.onset_s: r.reason for r in whole.rejected if span[0] - 1e-9 <= r.onset_s < span[1] - 1e-9}
    assert {r.onset_s: r.reason for r in piece.rejected} == inside
    for name in ("ppg", "abp"):
        found = whole.beats[name]
        here = np.isin(found.window, rows)
        expected = replace(
            found,
            window=np.searchsorted(rows, found.window[here]),
            **{k: getattr(found, k)[here] for k in ("onset", "peak", "end", "quality")},
            points={k: v[here] for k, v in found.points.items()},
        )
        same_beats(piece.beats[name], expected)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), edges=st.lists(st.integers(0, 3000), max_size=5))
def test_pieces_side_by_side_give_each_window_once(known: Known, part: Part, seed: int, edges: list[int]) -> None:
    record = random_record(known, seed)
    setting = windowing(2.0, 0.5)
    whole = cut(record, setting, BLOOD_PRESSURE)
    bounds = sorted({0, *edges})
    onsets: list[float] = []
    refused = 0
    for low, high in zip(bounds, [*bounds[1:], None], strict=True):
        stop = 10**9 if high is None else high + 300
        span = (low / FS, math.inf if high is None else high / FS)
        piece = cut(part(record, max(0, low - 5), stop), setting, BLOOD_PRESSURE, span)
        onsets += piece.onset_s.tolist()
        refused += len(piece.rejected)
    assert onsets == whole.onset_s.tolist()
    assert refused == len(whole.rejected)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), length=st.integers(1, 900), stride=st.integers(5, 900))
def test_every_window_of_the_grid_is_either_kept_or_refused_once_and_rightly(
    known: Known, seed: int, length: int, stride: int
) -> None:
    record = random_record(known, seed)
    ppg, abp = (record.channels[n].samples for n in ("ppg", "abp"))
    made = cut(record, windowing(length / FS, stride / FS), BLOOD_PRESSURE)
    grid = np.arange(0, ppg.size - length + 1, stride)
    assert len(made) + len(made.rejected) == grid.size
    refused = {round(r.onset_s * FS): r.reason for r in made.rejected}
    kept = np.rint(made.onset_s * FS).astype(int)
    assert sorted([*kept, *refused]) == grid.tolist()
    seams = np.asarray(record.seams_s) * FS
    for row, first in enumerate(kept):
        np.testing.assert_array_equal(made.signal[row, 0], ppg[first : first + length])
    for first in grid.tolist():
        inside = ((seams > first + 0.3) & (seams < first + length - 0.3)).any()
        reason = refused.get(first, "")
        assert ("seam" in reason) == inside
        if not inside:
            missing = np.isnan(ppg[first : first + length]).any()
            assert (reason == "missing samples (NaN) in ppg") == missing
            if not missing:
                assert (reason == "missing samples (NaN) in abp") == np.isnan(abp[first : first + length]).any()


def test_windows_start_on_multiples_of_the_stride_whatever_the_record_starts_at(known: Known, part: Part) -> None:
    record = known(np.full(40, 120.0), np.full(40, 80.0))
    made = cut(part(record, 131, 4000), windowing(2, 1.5), BLOOD_PRESSURE)
    assert made.onset_s[0] == 1.5
    np.testing.assert_allclose(np.diff(made.onset_s), 1.5)
    np.testing.assert_array_equal(made.signal[0, 0], record.channels["ppg"].samples[188 : 188 + 250])


def test_a_window_may_begin_and_end_at_a_seam_but_not_hold_it(known: Known) -> None:
    record = replace(known(np.full(40, 120.0), np.full(40, 80.0)), seams_s=np.array([4.0, 10.0]))
    made = cut(record, windowing(2.0), BLOOD_PRESSURE)
    assert not any("seam" in r.reason for r in made.rejected)
    made = cut(replace(record, seams_s=np.array([5.0])), windowing(2.0), BLOOD_PRESSURE)
    assert [r.onset_s for r in made.rejected if "seam" in r.reason] == [4.0]


@pytest.mark.parametrize("size", [0, 1, 249])
def test_a_record_that_is_too_short_is_one_row(known: Known, part: Part, size: int) -> None:
    record = part(known(np.full(4, 120.0), np.full(4, 80.0)), 0, size)
    made = cut(record, windowing(2.0), BLOOD_PRESSURE)
    assert len(made) == 0
    assert made.signal.shape == (0, 1, 250)
    assert made.targets.shape == (0, 2)
    assert made.facts["fingerprints"].shape == (0, 16)
    (row,) = made.rejected
    assert math.isnan(row.onset_s)
    assert row.reason == "record shorter than one window of 2 s"


def test_a_record_of_exactly_one_window_gives_it(known: Known, part: Part) -> None:
    made = cut(part(known(np.full(4, 120.0), np.full(4, 80.0)), 0, 250), windowing(2.0), BLOOD_PRESSURE)
    assert made.onset_s.tolist() == [0.0]


# ----------------------------------------------------------------------------------------------------------------- refusal
def test_the_first_reason_stands_and_the_gravest_comes_first(known: Known, quality_track: Callable[..., Quality]) -> None:
    record = known(np.full(20, 120.0), np.full(20, 80.0))
    seconds = 17

    def bad(*where: int) -> np.ndarray:
        row = np.zeros(seconds)
        row[list(where)] = 1
        return row

    spoilt = record.channels["ppg"].samples.copy()
    spoilt[12 * 125 + 10] = np.nan
    record = replace(
        record.with_channel(replace(record.channels["ppg"], samples=spoilt)),
        seams_s=np.array([1.0]),
        quality={
            "ppg": quality_track("ppg", seconds, missing=bad(0, 2), flat=bad(2, 4), clipped=bad(4, 6), sqi=1 - bad(6, 8)),
            "abp": quality_track("abp", seconds, flat=bad(8, 10)),
        },
    )
    made = cut(record, windowing(2.0, min_sqi=0.6, rules=replace(EASY, max_flat=0.2)), BLOOD_PRESSURE)
    assert {r.onset_s: r.reason for r in made.rejected} == {
        0.0: "crosses a seam or gap between blocks",
        2.0: "missing samples (NaN) in ppg",
        4.0: "flat ppg",
        6.0: "saturated or clipped ppg",
        8.0: "low signal quality in ppg",
        10.0: "flat abp",
        12.0: "missing samples (NaN) in ppg",
    }
    assert made.onset_s.tolist() == [14.0]
    np.testing.assert_allclose(made.sqi, 1.0)


def test_shares_are_of_the_windows_length_and_partly_covered_seconds_count_by_their_part(
    known: Known, quality_track: Callable[..., Quality]
) -> None:
    record = known(np.full(10, 120.0), np.full(10, 80.0))
    flat = np.zeros(9)
    flat[2] = 1.0
    record = record.with_quality(quality_track("ppg", 9, flat=flat, sqi=np.arange(9) / 10))
    made = cut(record, windowing(2.0, 0.5, max_flat=0.4), BLOOD_PRESSURE)
    # Windows at 0.5 … 2.5 s hold 0.5, 1, 1, 1, 0.5 of the flat second: shares of 0.25, 0.5, 0.5, 0.5, 0.25.
    assert [r.onset_s for r in made.rejected] == [1.0, 1.5, 2.0]
    np.testing.assert_allclose(made.sqi[1, 0], (0.5 * 0.0 + 1 * 0.1 + 0.5 * 0.2) / 2, atol=1e-6)


def test_a_filtered_copy_shares_the_quality_of_its_source_and_an_electrode_does_not(
    known: Known, quality_track: Callable[..., Quality]
) -> None:
    record = known(np.full(10, 120.0), np.full(10, 80.0))
    copy = replace(record.channels["ppg"], name="ppg_8hz", source_name="ppg")
    other = replace(record.channels["ppg"], name="ppg_ir", source_name="PLETH2")
    sqi = np.linspace(0, 1, 9)
    record = record.with_channel(copy).with_channel(other).with_quality(quality_track("ppg_8hz", 9, sqi=sqi))
    made = cut(record, windowing(2.0, channels=("ppg", "ppg_8hz", "ppg_ir")), BLOOD_PRESSURE)
    np.testing.assert_allclose(made.sqi[:, 0], made.sqi[:, 1])
    assert made.sqi[0, 0] < 0.2
    np.testing.assert_allclose(made.sqi[:, 2], 1.0)
    looped = replace(record.channels["ppg"], source_name="ppg_8hz")
    assert len(cut(record.with_channel(looped), windowing(2.0), BLOOD_PRESSURE)) == len(made)


def test_windows_with_too_few_complete_beats_of_the_named_channel_are_refused(known: Known) -> None:
    record = known(np.full(20, 120.0), np.full(20, 80.0))
    ppg = record.beats["ppg"]
    sparse = Beats("ppg", FS, ppg.onset[:5], ppg.peak[:5], ppg.end[:5], ppg.quality[:5])
    made = cut(record.with_beats(sparse), windowing(2.0, beats="ppg", min_beats=2), BLOOD_PRESSURE)
    assert made.onset_s.tolist() == [0.0]
    assert {r.reason for r in made.rejected} == {"too few complete beats in ppg"}
    none = cut(replace(record, beats={"abp": record.beats["abp"]}), windowing(2.0, beats="ppg"), BLOOD_PRESSURE)
    assert len(none) == 0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), stride_s=st.sampled_from([0.4, 1.0, 2.0]))
def test_beats_of_a_window_are_whole_inside_it_sorted_and_all_there(known: Known, seed: int, stride_s: float) -> None:
    record = random_record(known, seed)
    made = cut(record, windowing(2.0, stride_s), BLOOD_PRESSURE)
    source = record.beats["ppg"]
    found = made.beats["ppg"]
    expected = []
    for row, onset_s in enumerate(made.onset_s):
        first = round(onset_s * FS)
        inside = np.flatnonzero((source.onset >= first) & (source.end <= first + 250) & (source.end > 0))
        expected += [(row, *(int(v[i]) - first for v in (source.onset, source.peak, source.end))) for i in inside]
    assert list(zip(found.window, found.onset, found.peak, found.end, strict=True)) == expected
    np.testing.assert_allclose(found.points["foot"], found.onset + 0.25)


# ---------------------------------------------------------------------------------------------------------------- optional
def test_an_absent_optional_channel_is_zero_and_says_so(known: Known) -> None:
    record = known(np.full(20, 120.0), np.full(20, 80.0))
    made = cut(record, windowing(2.0, optional=("ecg",)), BLOOD_PRESSURE)
    assert made.channels == ("ppg", "ecg")
    assert made.kinds == ("ppg", "absent")
    assert not made.channel("ecg").any()
    assert not made.sqi[:, 1].any()
    with pytest.raises(DataError, match="missing channel 'eeg'"):
        made.channel("eeg")


def test_an_optional_channel_is_carried_where_it_is_good_and_its_beats_with_it(known: Known) -> None:
    record = known(np.full(20, 120.0), np.full(20, 80.0))
    ecg = record.channels["ppg"].samples.copy()
    ecg[3 * 125] = np.nan
    beats = replace(record.beats["ppg"], channel="ecg")
    record = record.with_channel(Channel("ecg", "ecg", "mV", FS, ecg)).with_beats(beats)
    made = cut(record, windowing(2.0, optional=("ecg",)), BLOOD_PRESSURE)
    assert not made.rejected
    good = made.channel("ecg").any(axis=1)
    assert good.tolist() == [True, False, *[True] * 6]
    assert np.isfinite(made.signal).all()
    assert made.sqi[:, 1].tolist() == good.astype(float).tolist()
    assert set(made.beats["ecg"].window) == set(np.flatnonzero(good))
    assert set(made.beats["ppg"].window) == set(range(8))


@pytest.mark.parametrize("name", ["ecg", "abp"])
def test_a_channel_that_ends_before_the_others_spoils_only_the_last_windows(known: Known, name: str) -> None:
    record = known(np.full(20, 120.0), np.full(20, 80.0))
    short = replace(record.channels["abp"], name=name, samples=record.channels["abp"].samples[:1990])
    beats = record.beats["abp"]
    cut_off = Beats("abp", FS, beats.onset[:19], beats.peak[:19], beats.end[:19], beats.quality[:19])
    made = cut(record.with_channel(short).with_beats(cut_off), windowing(2.0, optional=("ecg",)), BLOOD_PRESSURE)
    assert len(made) + len(made.rejected) == 8
    if name == "ecg":
        assert made.channel("ecg").any(axis=1).tolist() == [True] * 7 + [False]
    else:
        assert [(r.onset_s, r.reason) for r in made.rejected] == [(14.0, "missing samples (NaN) in abp")]


# ------------------------------------------------------------------------------------------------------------------ labels
def labelled(known: Known, *labels: Label) -> Record:
    record = known(np.full(20, 120.0), np.full(20, 80.0))
    return replace(record, labels=labels, channels={"ppg": record.channels["ppg"]}, beats={})


def test_labels_of_the_data_set_hold_for_every_window(known: Known) -> None:
    record = labelled(known, Label("sbp", 131.0, "mmHg"), Label("dbp", 77.0, "mmHg"))
    made = cut(record, windowing(2.0, label="record"), BLOOD_PRESSURE)
    np.testing.assert_allclose(made.targets, np.tile([131.0, 77.0], (8, 1)))
    assert set(made.facts["label_source"]) == {"cuff"}
    half = cut(labelled(known, Label("sbp", 131.0, "mmHg")), windowing(2.0, label="record"), BLOOD_PRESSURE)
    assert np.isnan(half.targets[:, 1]).all()
    assert (half.targets[:, 0] == 131).all()


def test_a_missing_or_impossible_label_refuses_unless_none_is_needed(known: Known) -> None:
    none, wild = labelled(known), labelled(known, Label("sbp", 20.0, "mmHg"))
    for record, reason in ((none, "no label in the data set"), (wild, "label outside the plausible range")):
        made = cut(record, windowing(2.0, label="record"), BLOOD_PRESSURE)
        assert Counter(r.reason for r in made.rejected) == {reason: 8}
        assert len(cut(record, windowing(2.0, label="record", require_label=False), BLOOD_PRESSURE)) == 8
    made = cut(none, windowing(2.0, label="record", require_label=False), BLOOD_PRESSURE)
    assert np.isnan(made.targets).all()
    assert set(made.facts["label_source"]) == {"unknown"}


# ------------------------------------------------------------------------------------------------------------------- facts
def test_every_fact_has_one_value_a_window(known: Known) -> None:
    record = random_record(known, 3)
    for setting in (windowing(2.0, 0.5), windowing(2.0, label="record", require_label=False)):
        made = cut(record, setting, BLOOD_PRESSURE)
        assert len(made) > 0
        assert {len(value) for value in made.facts.values()} == {len(made)}
        assert made.signal.dtype == made.targets.dtype == made.sqi.dtype == np.float32


def test_the_record_is_left_alone_and_twice_is_the_same(known: Known) -> None:
    record = random_record(known, 4)
    before = {n: c.samples.copy() for n, c in record.channels.items()}
    first, second = (cut(record, windowing(2.0, 0.5), BLOOD_PRESSURE) for _ in range(2))
    for name, samples in before.items():
        np.testing.assert_array_equal(record.channels[name].samples, samples)
    np.testing.assert_array_equal(first.signal, second.signal)
    assert first.rejected == second.rejected
    first.signal[:] = 0
    np.testing.assert_array_equal(record.channels["ppg"].samples, before["ppg"])


def test_whose_windows_they_are_goes_with_them(known: Known) -> None:
    record = replace(
        known(np.full(20, 120.0), np.full(20, 80.0)), demographics={"age_years": 50.0}, timing_reliable=True, stimulus="rest"
    )
    made = cut(record, windowing(2.0), BLOOD_PRESSURE)
    assert (made.record, made.subject, made.session, made.stimulus) == ("r1", "s1", "1", "rest")
    assert made.timing_reliable
    assert made.demographics == {"age_years": 50.0}
    assert made.target_names == ("sbp", "dbp")


# ------------------------------------------------------------------------------------------------------------------ errors
@pytest.mark.parametrize(
    "wrong",
    [
        {"length_s": 0},
        {"length_s": -1},
        {"length_s": math.nan},
        {"length_s": math.inf},
        {"stride_s": 0},
        {"stride_s": math.nan},
        {"channels": ()},
        {"min_sqi": 1.5},
        {"min_sqi": -0.1},
    ],
)
def test_nonsense_settings_are_refused_at_birth(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="need"):
        Windowing(**{"length_s": 8.0, "channels": ("ppg",), **wrong})  # type: ignore[arg-type]


def test_errors_name_the_record_and_what_to_do(known: Known) -> None:
    record = known(np.full(20, 120.0), np.full(20, 80.0))
    with pytest.raises(DataError, match="r1: missing channel 'ecg'; it has abp, ppg"):
        cut(record, windowing(2.0, channels=("ecg",)), BLOOD_PRESSURE)
    with pytest.raises(DataError, match="missing channel 'art'"):
        cut(record, windowing(2.0, reference="art"), BLOOD_PRESSURE)
    with pytest.raises(DataError, match=r"r1: need one rate .* abp 250 Hz.*'resample'"):
        cut(record.with_channel(replace(record.channels["abp"], fs=250.0)), windowing(2.0), BLOOD_PRESSURE)
    with pytest.raises(DataError, match="beats of ppg 250 Hz"):
        cut(record.with_beats(replace(record.beats["ppg"], fs=250.0)), windowing(2.0), BLOOD_PRESSURE)
    with pytest.raises(DataError, match="hold no sample"):
        cut(record, windowing(0.001), BLOOD_PRESSURE)
    with pytest.raises(DataError, match="beats of abp"):
        cut(replace(record, beats={}), windowing(2.0), BLOOD_PRESSURE)


def test_a_channel_without_any_sample_is_told_as_missing(known: Known) -> None:
    record = known(np.full(20, 120.0), np.full(20, 80.0))
    empty = replace(record.channels["ppg"], samples=np.full_like(record.channels["ppg"].samples, np.nan))
    made = cut(record.with_channel(empty), windowing(2.0), BLOOD_PRESSURE)
    assert {r.reason for r in made.rejected} == {"missing channel: ppg holds no samples"}


def test_a_record_shorter_than_asked_for_is_refused_whole_but_a_piece_is_not(known: Known) -> None:
    record = known(np.full(20, 120.0), np.full(20, 80.0))
    setting = windowing(2.0, min_record_s=30)
    with pytest.raises(DataError, match=r"record of 16\.32 s is shorter than the 30 s asked for"):
        cut(record, setting, BLOOD_PRESSURE)
    assert len(cut(record, setting, BLOOD_PRESSURE, (0.0, math.inf))) == 8
