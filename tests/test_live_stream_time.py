"""Laws of the clock of a stream: what is lost, doubled, late or jumped is put in its place or told; nothing ends the stream."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as drawn
from hypothesis import strategies as st

from biosig_mtl.inference.stream_intake import Intake, Part
from biosig_mtl.inference.stream_journal import HELD, Journal
from biosig_mtl.inference.stream_words import EVENTS, Chunk, Event, StreamSettings
from biosig_mtl.types import F32, ChannelInfo

FS = 100.0
CLOCK = 5e8
X: F32 = np.arange(100 * 100, dtype=np.float32)


class Bench:
    """An intake, with all that came out of it."""

    def __init__(self, names: tuple[str, ...] = ("ppg",), rates: tuple[float, ...] = (FS,), **words: Any) -> None:
        self.journal = Journal()
        self.rates = dict(zip(names, rates, strict=True))
        infos = {name: ChannelInfo(name, "ppg", "NU", fs) for name, fs in self.rates.items()}
        self.intake = Intake(infos, StreamSettings(**words), self.journal)
        self.parts: list[Part] = []

    def give(self, samples: Any, at_s: Any = None) -> None:
        given = samples if isinstance(samples, dict) else {"ppg": samples}
        self.parts += self.intake.offer(Chunk(given, at_s))

    def spans(self, spans: Iterable[tuple[float, float]], shift_s: float = 0.0) -> None:
        """Give stretches of the ramp, in seconds, at their time on the clock."""
        for start, stop in spans:
            self.give(X[round(start * FS) : round(stop * FS)], CLOCK + start + shift_s)

    def finish(self) -> None:
        self.parts += self.intake.finish()

    def all(self, name: str = "ppg", base_s: int = 0) -> F32:
        """Return what came out of a stretch, and hold that its parts follow one another on whole seconds."""
        mine = [part for part in self.parts if part.base_s == base_s]
        at = 0
        for part in mine:
            assert round(part.start_s * self.rates[name]) == at
            at += part.samples[name].size
        return np.concatenate([np.empty(0, np.float32), *(part.samples[name] for part in mine)])

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    @property
    def events(self) -> list[Event]:
        self._told = [*getattr(self, "_told", []), *self.journal.take()]
        return self._told


def tenths(start: float, stop: float) -> list[tuple[float, float]]:
    """Return chunks of a tenth of a second."""
    return list(pairwise(np.round(np.arange(start, stop + 0.05, 0.1), 3).tolist()))


@drawn(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 2999), max_size=60, unique=True),
    jitter=st.floats(0, 0.1),
    seed=st.integers(0, 99),
)
def test_a_steady_source_loses_nothing_however_it_is_cut_and_its_times_jitter(
    cuts: list[int], jitter: float, seed: int
) -> None:
    bench, rng = Bench(), np.random.default_rng(seed)
    for low, high in pairwise([0, *sorted(cuts), 3000]):
        bench.give(X[low:high], CLOCK + low / FS + float(rng.uniform(-jitter, jitter)))
    bench.finish()
    start = bench.all()
    # Where the first time was early or late, that is where the stream begins.
    np.testing.assert_array_equal(start[np.isfinite(start)], X[:3000])
    assert bench.kinds == []


def test_a_gap_is_filled_with_nan() -> None:
    bench = Bench()
    bench.spans([*tenths(0, 3), *tenths(7, 12)])
    bench.finish()
    out = bench.all()
    np.testing.assert_array_equal(out[:300], X[:300])
    assert np.isnan(out[300:700]).all()
    np.testing.assert_array_equal(out[700:], X[700:1200])
    assert bench.kinds == ["gap"]
    assert bench.events[0].seconds == pytest.approx(4.0)
    assert bench.events[0].at_s == pytest.approx(3.0)


def test_a_long_gap_begins_a_new_stretch_on_a_whole_second() -> None:
    bench = Bench(fill_s=5.0)
    bench.spans([*tenths(0, 3.5), *tenths(20.25, 25.25)])
    bench.finish()
    assert [part.ends for part in bench.parts].count(True) == 2
    np.testing.assert_array_equal(bench.all(base_s=0), X[:350])
    np.testing.assert_array_equal(bench.all(base_s=21), X[2025:2525])
    assert bench.kinds == ["stretch"]
    assert bench.intake.clock_s(22.0) == pytest.approx(CLOCK + 21.25)
    assert bench.intake.clock_s(2.0) == pytest.approx(CLOCK + 2.0)


def test_all_channels_begin_the_new_stretch_together() -> None:
    bench = Bench(("ppg", "ecg"), (FS, 50.0), fill_s=5.0)
    for start, stop in [*tenths(0, 3), *tenths(30, 36)]:
        both = {"ppg": X[round(start * FS) : round(stop * FS)], "ecg": X[round(start * 50) : round(stop * 50)]}
        bench.give(both, CLOCK + start)
    bench.finish()
    np.testing.assert_array_equal(bench.all("ppg", 30), X[3000:3600])
    np.testing.assert_array_equal(bench.all("ecg", 30), X[1500:1800])
    assert bench.kinds == ["stretch"]


def test_samples_that_come_twice_are_dropped() -> None:
    bench = Bench()
    bench.spans([(0, 2), (2, 4), (2, 4), (3, 5), (4.5, 6)])
    bench.finish()
    np.testing.assert_array_equal(bench.all(), X[:600])
    assert bench.kinds == ["overlap", "overlap", "overlap"]
    assert [event.seconds for event in bench.events] == pytest.approx([2.0, 1.0, 0.5])
    assert [event.count for event in bench.events] == [1, 2, 3]


def test_chunks_in_another_order_are_put_right() -> None:
    bench = Bench(reorder_s=3.0)
    bench.spans([(0, 1), (2, 3), (1, 2), (3, 4), (6, 7), (5, 6), (4, 5), (7, 8)])
    bench.finish()
    np.testing.assert_array_equal(bench.all(), X[:800])
    assert set(bench.kinds) == {"order"}


def test_what_comes_after_its_place_was_filled_is_dropped() -> None:
    bench = Bench()
    bench.spans([*tenths(0, 3), *tenths(4, 8), (3, 4), *tenths(8, 10)])
    bench.finish()
    out = bench.all()
    assert np.isnan(out[300:400]).all()
    np.testing.assert_array_equal(np.delete(out, slice(300, 400)), np.delete(X[:1000], slice(300, 400)))
    assert bench.kinds == ["gap", "late"]


@pytest.mark.parametrize("jump_s", [-3.0, -40.0])
def test_a_clock_that_jumps_back_leaves_a_seam_and_no_hole(jump_s: float) -> None:
    bench = Bench()
    bench.spans(tenths(0, 5))
    bench.spans(tenths(5, 9), jump_s)
    bench.finish()
    np.testing.assert_array_equal(bench.all(), X[:900])
    assert bench.kinds == ["clock"]
    assert bench.events[0].seconds == pytest.approx(jump_s)
    assert [s for part in bench.parts for s in part.seams_s] == [5.0]
    assert bench.intake.clock_s(8.0) == pytest.approx(CLOCK + 8.0 + jump_s)


def test_a_clock_that_begins_anew_begins_a_new_stretch_and_goes_on() -> None:
    bench = Bench()
    bench.spans(tenths(0, 5.5))
    bench.spans(tenths(5.5, 30), -CLOCK)
    bench.finish()
    np.testing.assert_array_equal(bench.all(base_s=0), X[:550])
    np.testing.assert_array_equal(bench.all(base_s=6), X[550:3000])
    assert bench.kinds == ["clock", "stretch"]


def test_a_chunk_that_says_seam_leaves_one_and_sets_the_clock_anew() -> None:
    bench = Bench()
    bench.give(X[:530], CLOCK)
    bench.parts += bench.intake.offer(Chunk({"ppg": X[530:1000]}, 7.0, seam=True))
    bench.give(X[1000:1500], 11.7)
    bench.finish()
    np.testing.assert_array_equal(bench.all(), X[:1500])
    assert [seam for part in bench.parts for seam in part.seams_s] == pytest.approx([5.3])
    assert bench.kinds == []


def test_one_wrong_time_is_seen_as_such() -> None:
    bench = Bench()
    bench.spans([(0, 1), (1, 2)])
    bench.give(X[200:300], CLOCK + 1000.0)
    bench.spans([(3, 4), (4, 5)])
    bench.finish()
    np.testing.assert_array_equal(bench.all(), X[:500])
    assert bench.kinds == ["clock"]


def test_a_clock_that_drifts_is_followed_without_a_lost_sample() -> None:
    bench = Bench()
    for start, stop in tenths(0, 90):
        bench.give(X[round(start * FS) : round(stop * FS)], CLOCK + start * 1.002)
    bench.finish()
    np.testing.assert_array_equal(bench.all(), X[:9000])
    assert bench.kinds == []
    assert bench.intake.clock_s(90.0) == pytest.approx(CLOCK + 90.0 * 1.002, abs=0.1)


@pytest.mark.parametrize("ratio", [1.002, 0.998])
def test_channels_that_drift_apart_are_held_together(ratio: float) -> None:
    bench = Bench(("ppg", "ecg"), (FS, FS))
    for start, stop in tenths(0, 100):
        part = X[round(start * FS) : round(stop * FS)]
        if part.size:
            bench.give({"ppg": part, "ecg": part}, {"ppg": CLOCK + start, "ecg": CLOCK + start * ratio})
    bench.finish()
    assert set(bench.kinds) == {"drift"}
    # 0.2 s apart at the end, less what the slow following has not seen yet; either may have given way.
    assert 8 <= len(bench.kinds) <= 20
    apart = bench.all("ecg").size - bench.all("ppg").size
    assert apart == (len(bench.kinds) if ratio > 1 else -len(bench.kinds))


def test_another_rate_than_was_promised_is_told_once() -> None:
    bench = Bench()
    for k in range(600):
        bench.give(X[k * 8 : k * 8 + 8], CLOCK + k * 0.1)
    rates = [event for event in bench.events if event.kind == "rate"]
    assert len(rates) == 1
    assert "80 samples a second arrive, 100 were promised" in rates[0].says


# -------------------------------------------------------------------------------------------------------------- channels
def test_a_channel_that_stops_is_filled_and_the_others_go_on() -> None:
    bench = Bench(("ppg", "ecg"), (FS, FS), lost_s=2.0)
    for start, stop in tenths(0, 30):
        part = X[round(start * FS) : round(stop * FS)]
        bench.give({"ppg": part, **({} if 5 <= start < 20 else {"ecg": part})}, CLOCK + start)
        if start == 15:
            assert bench.intake.state == "degraded"
    assert bench.intake.state == "running"
    bench.finish()
    np.testing.assert_array_equal(bench.all("ppg"), X[:3000])
    ecg = bench.all("ecg")
    np.testing.assert_array_equal(ecg[:500], X[:500])
    assert np.isnan(ecg[500:2000]).all()
    np.testing.assert_array_equal(ecg[2000:], X[2000:3000])
    assert bench.kinds == ["lost", "back"]


def test_a_channel_that_never_comes_does_not_hold_up_the_others() -> None:
    bench = Bench(("ppg", "ecg"), (FS, FS))
    for start, stop in tenths(0, 20):
        bench.give(X[round(start * FS) : round(stop * FS)])
    assert bench.all("ppg").size == 2000
    assert np.isnan(bench.all("ecg")).all()
    assert bench.events[0].says.startswith("ecg has sent nothing yet")


def test_channels_that_begin_at_different_times_are_aligned() -> None:
    bench = Bench(("ppg", "ecg"), (FS, FS))
    for start, stop in tenths(0, 10):
        part = X[round(start * FS) : round(stop * FS)]
        bench.give({"ecg": part, "ppg": part}, {"ppg": CLOCK + start, "ecg": CLOCK + start + 0.13})
    bench.finish()
    np.testing.assert_array_equal(bench.all("ppg"), X[:1000])
    assert np.isnan(bench.all("ecg")[:13]).all()
    np.testing.assert_array_equal(bench.all("ecg")[13:], X[:1000])
    assert bench.kinds == []


def test_a_channel_that_begins_before_the_others_is_cut_where_the_stream_begins() -> None:
    bench = Bench(("ppg", "ecg"), (FS, FS))
    bench.give({"ppg": X[:100]}, CLOCK)
    bench.give({"ecg": X[:10]}, CLOCK - 0.2)
    bench.give({"ecg": X[10:300]}, CLOCK - 0.1)
    bench.give({"ppg": X[100:300]}, CLOCK + 1)
    bench.finish()
    np.testing.assert_array_equal(bench.all("ecg"), X[20:300])


def test_a_device_whose_clock_jumps_ahead_of_the_others_ends_nothing() -> None:
    bench = Bench(("ppg", "ecg"), (FS, FS), fill_s=20.0, reorder_s=30.0)
    for start, stop in tenths(0, 60):
        part = X[round(start * FS) : round(stop * FS)]
        ahead = 1000.0 if start >= 10 else 0.0
        bench.give({"ppg": part, "ecg": part}, {"ppg": CLOCK + start + ahead, "ecg": CLOCK + start})
    bench.finish()
    assert bench.journal.counts["stretch"] == 1
    assert sum(int(np.isfinite(part.samples["ecg"]).sum()) for part in bench.parts) == 6000
    base_s = bench.parts[-1].base_s
    np.testing.assert_array_equal(bench.all("ppg", base_s), X[1000:6000])


def test_two_clocks_of_their_own_are_each_followed() -> None:
    bench = Bench(("ppg", "ecg"), (FS, FS))
    for start, stop in tenths(0, 20):
        part = X[round(start * FS) : round(stop * FS)]
        bench.give({"ppg": part, "ecg": part}, {"ppg": CLOCK + start, "ecg": 7.0 + start})
    bench.finish()
    np.testing.assert_array_equal(bench.all("ppg"), bench.all("ecg"))
    assert bench.kinds == []


def test_a_channel_that_begins_long_after_the_others_is_told() -> None:
    bench = Bench(("ppg", "ecg"), (FS, FS), lost_s=5.0)
    bench.give({"ppg": X[:1200], "ecg": X[800:1200]}, {"ppg": CLOCK, "ecg": CLOCK + 8})
    bench.finish()
    assert np.isnan(bench.all("ecg")[:800]).all()
    np.testing.assert_array_equal(bench.all("ecg")[800:], X[800:1200])
    assert bench.kinds == ["gap"]


def test_a_duplicate_behind_a_hole_is_dropped_and_the_hole_is_filled() -> None:
    bench = Bench(reorder_s=5.0)
    bench.spans([(0, 2), (4, 5), (1, 2), (5, 6)])
    bench.finish()
    out = bench.all()
    assert np.isnan(out[200:400]).all()
    np.testing.assert_array_equal(np.delete(out, slice(200, 400)), np.delete(X[:600], slice(200, 400)))
    assert bench.kinds == ["gap", "overlap"]


def test_silence_is_told_once_and_ends_with_the_next_sample() -> None:
    bench = Bench()
    assert bench.intake.state == "waiting"
    bench.spans(tenths(0, 3))
    for k in range(5):
        bench.give({}, CLOCK + 3 + 4 * k)
    assert bench.kinds == ["silent"]
    assert bench.intake.state == "silent"
    bench.spans([(30, 31), (31, 32)])
    assert bench.intake.state == "running"
    assert bench.kinds == ["silent", "gap"]


def test_times_that_come_later_than_the_samples_do_no_harm() -> None:
    bench = Bench()
    bench.give(X[:150])
    bench.spans([(1.5, 2), (2, 3)])
    bench.give(X[300:400])
    bench.spans([(4, 5)])
    bench.finish()
    np.testing.assert_array_equal(bench.all(), X[:500])
    assert bench.kinds == []


# --------------------------------------------------------------------------------------------------------------- hostile
HOSTILE: list[Any] = [
    [],
    np.empty(0),
    ["a", "b"],
    [[1.0, 2.0], [3.0, 4.0]],
    3.0,
    None,
    {"x": 1},
    np.array([1 + 2j]),
    np.array(["2020-01-01"], "datetime64[D]"),
    [1.0, [2.0]],
    object(),
    b"bytes",
]


@pytest.mark.parametrize("what", HOSTILE, ids=lambda what: type(what).__name__)
def test_what_is_no_list_of_numbers_is_dropped(what: Any) -> None:
    bench = Bench()
    bench.give(X[:100])
    bench.give(what if not isinstance(what, dict) else {"ppg": what})
    bench.give(X[100:200])
    bench.finish()
    np.testing.assert_array_equal(bench.all(), X[:200])
    assert set(bench.kinds) <= {"bad"}
    assert len(bench.kinds) == (0 if isinstance(what, list | np.ndarray) and not len(what) else 1)


def test_infinite_and_enormous_numbers_are_missing() -> None:
    bench = Bench()
    bench.give([1.0, np.inf, -np.inf, 1e300, np.nan, 2.0])
    bench.give([True, False])
    bench.give(np.arange(3, dtype=np.int16))
    bench.finish()
    np.testing.assert_array_equal(bench.all(), np.array([1, np.nan, np.nan, np.nan, np.nan, 2, 1, 0, 0, 1, 2], np.float32))
    assert "3 infinite samples" in bench.events[0].says


@pytest.mark.parametrize("time", [np.nan, np.inf, "noon", {"ppg": None}, {"ecg": 4.0}, {"ppg": "x"}])
def test_a_time_that_is_none_is_left_out(time: Any) -> None:
    bench = Bench()
    bench.give(X[:100], CLOCK)
    bench.give(X[100:200], time)
    bench.give(X[200:300], CLOCK + 2)
    bench.finish()
    np.testing.assert_array_equal(bench.all(), X[:300])
    assert set(bench.kinds) <= {"bad"}


def test_channels_that_were_not_promised_are_dropped_and_counted_as_one() -> None:
    bench = Bench()
    for k in range(50):
        bench.give({f"c{k}": [1.0], 7: [1.0], "ppg": X[k : k + 1]})
    assert bench.all().size == 0
    bench.finish()
    assert bench.all().size == 50
    assert bench.journal.counts == {"unknown": 100}
    assert bench.events[-1].count == 100


def test_a_chunk_that_is_no_mapping_is_told() -> None:
    bench = Bench()
    bench.parts += bench.intake.offer(Chunk([1.0, 2.0]))  # type: ignore[arg-type]
    assert bench.kinds == ["bad"]


def test_an_hour_at_once_comes_out_in_parts() -> None:
    bench = Bench()
    hour = np.zeros(3600 * 100, np.float32)
    bench.give(hour)
    assert max(part.samples["ppg"].size for part in bench.parts) <= 6000
    assert bench.all().size == hour.size


def test_the_journal_forgets_and_its_counts_do_not() -> None:
    journal = Journal()
    for k in range(3 * HELD):
        journal.tell("gap", float(k), "x", "ppg")
    assert journal.counts["gap"] == 3 * HELD
    told = journal.take()
    assert len(told) == HELD
    assert told[-1].count == 3 * HELD
    assert journal.take() == []
    assert set(EVENTS) >= {"gap", "lost"}


def test_what_is_held_does_not_grow_with_the_days() -> None:
    # Ten days at 4 Hz, with a jump of the clock and a hole every hour, and nobody who asks for events.
    bench = Bench(rates=(4.0,))
    for hour in range(240):
        shift = CLOCK + 10_000.0 * (hour % 2) + 3600.0 * hour
        bench.give(np.zeros(4 * 1700, np.float32), shift)
        bench.give(np.zeros(4 * 1700, np.float32), shift + 1720)
        bench.parts.clear()
    line = bench.intake._lines["ppg"]
    assert sum(x.size for x in line.waiting) <= 4 * 3600
    assert sum(x.size for x in line.past) <= 2 * 4 * 10
    assert len(bench.intake._anchors) <= 1200
    assert len(bench.intake._seams) <= 2
    assert bench.journal.counts["gap"] + bench.journal.counts["stretch"] > 200
