"""Laws of what beats tell of quality, on beats made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from biosig_mtl.signal.beat_indices import BeatTable, of_beats, perfusion, pressures, rise
from biosig_mtl.types import F64, I64, MARKS, Beats, Channel

FS = 100.0
SECONDS = 30
WHOLE = (np.array([0]), np.array([3000]))


def made(onset: Any, end: Any = None, **more: Any) -> Beats:
    onset = np.asarray(onset, np.int64)
    end = np.append(onset[1:], -1)[: onset.size] if end is None else np.asarray(end, np.int64)
    quality = np.asarray(more.pop("quality", np.ones(onset.size)), np.float32)
    return Beats("ppg", FS, onset, onset + 20, end, quality, **more)


def indices(beats: Beats, stretches: tuple[I64, I64] = WHOLE) -> dict[str, F64]:
    return of_beats(beats, stretches, 0.0, SECONDS)[0]


def table(beats: Beats) -> BeatTable:
    return of_beats(beats, WHOLE, 0.0, SECONDS)[1]


def test_even_beats_are_perfect() -> None:
    found = indices(made(np.arange(0, 3001, 100)))
    for name in ("template", "worst", "confirmed", "rate", "ratio", "covered", "polarity"):
        assert found[name] == pytest.approx(1.0), name
    assert (found["doubtful"] == 0).all()


def test_one_bad_beat_is_seen_two_seconds_on_either_side() -> None:
    quality = np.ones(31)
    quality[10] = 0.2  # from 10 to 11 s
    found = indices(made(np.arange(0, 3001, 100), quality=quality))
    near = np.isclose(found["worst"], 0.2)
    # The middle of a second is within two seconds of 10 or 11 s: from 8.5 to 12.5 s.
    assert np.flatnonzero(near).tolist() == [8, 9, 10, 11, 12]
    assert found["template"][10] == pytest.approx((4 + 0.2) / 5)
    assert (found["template"][~near] == 1).all()


def test_shares_are_of_the_beats_near_by() -> None:
    odd = np.arange(31) % 2 == 1
    mark = np.where(odd, MARKS.index("doubtful"), MARKS.index("ectopic")).astype(np.int8)
    found = indices(made(np.arange(0, 3001, 100), confirmed=~odd, mark=mark, polarity=np.where(odd, 1, -1).astype(np.int8)))
    assert found["confirmed"][11] == pytest.approx(2 / 5)  # beats 9 to 13
    assert found["doubtful"][11] == pytest.approx(3 / 5)
    assert found["polarity"][10] == -1
    assert found["polarity"][11] == 1


def test_a_pause_is_a_ratio_and_too_long_or_short_beats_are_implausible() -> None:
    onset = np.concatenate([np.arange(0, 1000, 100), [1250], np.arange(1350, 3000, 100)])
    found = indices(made(onset))
    assert found["ratio"][11] == pytest.approx(3.5)
    assert found["ratio"][3] == pytest.approx(1.0)
    assert found["rate"][11] < 1
    assert (indices(made(np.arange(0, 3000, 30)))["rate"] == 0).all()


def test_holes_count_as_not_covered_and_edges_do_not() -> None:
    onset = np.concatenate([np.arange(50, 1000, 100), np.arange(2050, 2951, 100)])
    end = np.append(onset[1:], -1)
    end[9] = -1  # nothing from 9.5 to 20.5 s
    found = indices(made(onset, end))
    assert found["covered"][0] == pytest.approx(1.0)
    assert found["covered"][5] == pytest.approx(1.0)
    assert found["covered"][29] == pytest.approx(1.0)
    assert found["covered"][14] == 0
    assert 0 < found["covered"][10] < 0.5
    assert np.isnan(found["template"][14])
    # Where the signal itself has a hole there, the beats beside it are whole enough.
    gap = (np.array([0, 2040]), np.array([960, 3000]))
    beside = indices(made(onset, end), gap)
    assert beside["covered"][9] == pytest.approx(1.0)
    assert beside["covered"][20] == pytest.approx(1.0)


@pytest.mark.parametrize("count", [0, 1])
def test_no_complete_beat_tells_nothing(count: int) -> None:
    found = indices(made(np.arange(count)))
    assert all(np.isnan(found[name]).all() for name in ("template", "worst", "confirmed", "rate", "ratio", "polarity"))
    assert (found["covered"][2:-2] == 0).all()
    none = table(made(np.arange(count)))
    assert np.isnan(perfusion(none, np.ones(3000, np.float32), np.ones(SECONDS), FS)).all()
    assert all(
        np.isnan(row).all() for row in pressures(none, Channel("abp", "abp", "mmHg", FS, np.ones(3000, np.float32))).values()
    )


def pulses(low: float, high: float, onset: I64, size: int = 3000) -> Any:
    x = np.full(size, low)
    x[onset + 20] = high
    return x.astype(np.float32)


def test_perfusion_is_height_over_mean_where_the_mean_is_an_offset() -> None:
    onset = np.arange(0, 2951, 100)
    beats = table(made(onset))
    assert perfusion(beats, pulses(2.0, 2.1, onset), np.full(SECONDS, 2.0), FS) == pytest.approx(5.0, rel=1e-4)
    assert np.isnan(perfusion(beats, pulses(-0.05, 0.05, onset), np.zeros(SECONDS), FS)).all()
    assert np.isnan(perfusion(beats, pulses(-2.0, -1.9, onset), np.full(SECONDS, -2.0), FS)).all()


def test_pressures_are_those_at_foot_and_peak() -> None:
    onset = np.arange(0, 2951, 100)
    x = pulses(80.0, 120.0, onset)
    x[1520] = 135.0
    found = pressures(table(made(onset)), Channel("abp", "abp", "mmHg", FS, x))
    assert found["pulse_pressure"][5] == pytest.approx(40)
    assert found["upstroke"][5] == pytest.approx(40 / 0.2)
    assert found["jump"][5] == 0
    assert found["jump"][15] == pytest.approx(15)
    assert found["pressure"] == pytest.approx(1.0)
    assert pressures(table(made(onset)), Channel("abp", "abp", "mmHg", FS, x * 4))["pressure"] == pytest.approx(0.0)
    assert np.isnan(pressures(table(made(onset)), Channel("abp", "abp", "au", FS, x))["pressure"]).all()
    assert rise(table(made(onset)))[5] == pytest.approx(0.2)


def test_a_part_finds_the_numbers_of_the_whole() -> None:
    rng = np.random.default_rng(5)
    onset = np.cumsum(rng.integers(40, 160, 2000))
    whole = made(onset, quality=rng.random(2000), confirmed=rng.random(2000) > 0.3)
    count = int(onset[-1] // FS)
    every = of_beats(whole, (np.array([0]), np.array([onset[-1]])), 0.0, count)[0]
    low, high = 400, 470
    here = (onset >= (low - 12) * FS) & (onset < (high + 12) * FS)
    shift = int((low - 12) * FS)
    piece = made(
        onset[here] - shift,
        np.where(here, whole.end - shift, -1)[here],
        quality=whole.quality[here],
        confirmed=whole.confirmed[here],
    )
    found = of_beats(piece, (np.array([0]), np.array([94 * int(FS)])), low - 12.0, 94)[0]
    for name, row in found.items():
        assert np.array_equal(row[12:82], every[name][low:high], equal_nan=True), name
