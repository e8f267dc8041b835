"""Laws of replayed files and of queues: what comes out is what was put in, at the right time, and never more than fits."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.inference.stream_words import Chunk
from biosig_mtl.live import LiveSource, Pace, QueueSource, ReplaySource
from biosig_mtl.live.sources import Tally, split_at_gaps
from biosig_mtl.types import F32, ChannelInfo, DataError, Entry

RATES = {"ppg": 125.0, "ecg": 250.0, "eda": 4.0}


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s, self.slept = 100.0, 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_s += seconds
        self.slept += seconds


def memory(
    seconds: float, rates: Mapping[str, float] = RATES, seams: tuple[float, ...] = ()
) -> tuple[LazySource, dict[str, F32]]:
    rng = np.random.default_rng(0)
    samples = {n: rng.standard_normal(round(seconds * fs)).astype(np.float32) for n, fs in rates.items()}
    infos = {n: ChannelInfo(n, n, "u", fs) for n, fs in rates.items()}
    entry = Entry("own", "one", "one", "1", Path("one.hea"), "wfdb")

    def fetch(first: int, stop: int) -> dict[str, F32]:
        return {n: samples[n][round(first * fs) : round(stop * fs)] for n, fs in rates.items()}

    return LazySource(entry, infos, {n: n for n in rates}, 1.0, int(seconds), fetch, np.array(seams)), samples


def joined(chunks: list[Chunk], name: str) -> F32:
    return np.concatenate([np.asarray(c.samples[name], np.float32) for c in chunks])


def told(source: LiveSource) -> list[Chunk]:
    return [chunk for chunk in source.chunks() if chunk is not None]


# ----------------------------------------------------------------------------------------------------------------- replay
@given(st.floats(0.01, 150), st.integers(1, 130), st.sampled_from([1.0, 3.0, math.inf]))
def test_the_chunks_of_a_file_joined_are_the_file(chunk_s: float, seconds: int, speed: float) -> None:
    opened, samples = memory(seconds)
    clock = Clock()
    source = ReplaySource(opened, pace=Pace(speed, 1, max(chunk_s, seconds / 200)), now=clock, sleep=clock.sleep)
    chunks = told(source)
    for name in samples:
        np.testing.assert_array_equal(joined(chunks, name), samples[name])


def test_a_real_file_is_replayed_as_it_is(tmp_path: Path) -> None:
    root = write(Cohort(n_subjects=1, records_per_subject=1, record_s=30, fault_share=0), tmp_path / "c")
    entry = entry_for(root / "s001" / "s001_1.hea", {"ppg": ("PLETH",), "ecg": ("II",), "abp": ("ABP",)})
    whole = open_source(entry).read()
    source = ReplaySource(open_source(entry), ("ppg", "ecg"), Pace(math.inf))
    assert isinstance(source, LiveSource)
    chunks = told(source)
    # The reference is not wanted, and is not told.
    assert set(chunks[0].samples) == set(source.channels) == {"ppg", "ecg"}
    for name in ("ppg", "ecg"):
        np.testing.assert_array_equal(joined(chunks, name), whole.channels[name].samples)
    assert source.name == "s001_1"
    assert source.notes == []
    assert source.duration_s == 30


@pytest.mark.parametrize("speed", [1.0, 2.5, 10.0])
def test_a_file_is_told_at_its_speed(speed: float) -> None:
    opened, _ = memory(20)
    clock = Clock()
    source = ReplaySource(opened, pace=Pace(speed), now=clock, sleep=clock.sleep)
    seconds = 0.0
    for chunk in source.chunks():
        if chunk is not None:
            seconds += np.size(chunk.samples["ppg"]) / 125
            # Never before it could have been measured.
            assert clock.now_s - 100 >= (seconds - 0.5 / 125) / speed - 1e-6
    assert clock.slept == pytest.approx(20 / speed)


def test_who_waits_long_is_told_that_nothing_came() -> None:
    opened, _ = memory(4)
    clock = Clock()
    source = ReplaySource(opened, pace=Pace(0.1), now=clock, sleep=clock.sleep)
    parts = list(source.chunks())
    assert parts.count(None) > len(parts) / 2


def test_a_slow_listener_is_not_waited_for_twice() -> None:
    opened, _ = memory(10)
    clock = Clock()
    source = ReplaySource(opened, pace=Pace(1.0), now=clock, sleep=clock.sleep)
    for chunk in source.chunks():
        # Every chunk takes half of the time there is; the rest is slept.
        clock.now_s += 0.1 if chunk is not None else 0
    assert clock.slept == pytest.approx(5, abs=0.3)


def test_rounds_and_the_end() -> None:
    opened, samples = memory(3)
    assert joined(told(ReplaySource(opened, pace=Pace(math.inf, 3))), "ppg").size == 3 * samples["ppg"].size
    endless = ReplaySource(opened, pace=Pace(math.inf, 0))
    count = 0
    for _ in endless.chunks():
        count += 1
        if count == 50:
            endless.close()
    assert count == 50


def test_seams_begin_chunks_and_lose_nothing() -> None:
    opened, samples = memory(30, seams=(7.5, 20.0))
    source = ReplaySource(opened, pace=Pace(math.inf, 1, 2.0))
    chunks = told(source)
    for name, fs in RATES.items():
        np.testing.assert_array_equal(joined(chunks, name), samples[name])
        sizes = np.cumsum([0, *(np.size(c.samples[name]) for c in chunks)])[:-1]
        # No chunk reaches over a seam.
        assert sizes[[c.seam for c in chunks]] / fs == pytest.approx([7.5, 20.0], abs=0.5 / fs)
    assert len(source.notes) == 1
    assert all(c.at_s is None and not c.seam for c in told(ReplaySource(memory(3)[0], pace=Pace(math.inf))))


def test_a_source_that_is_closed_while_it_waits_ends() -> None:
    opened, _ = memory(30)
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        source.close()

    source = ReplaySource(opened, pace=Pace(1.0), now=clock, sleep=sleep)
    assert told(source) == []


def test_what_the_reader_noted_is_told(tmp_path: Path) -> None:
    root = write(Cohort(n_subjects=1, records_per_subject=1, record_s=60, fault_share=0), tmp_path / "c")
    data = root / "s001" / "s001_1.dat"
    data.write_bytes(data.read_bytes()[: 6 * 125 * 30])
    source = ReplaySource(open_source(entry_for(data.with_suffix(".hea"))), pace=Pace(math.inf))
    list(source.chunks())
    assert len(source.notes) == 1


def test_a_file_without_what_is_wanted_is_refused() -> None:
    opened, _ = memory(2)
    with pytest.raises(DataError, match=r"none of the channels eeg; it has ppg, ecg, eda; .* --channel OURS=THEIRS"):
        ReplaySource(opened, ("eeg",))


@pytest.mark.parametrize(
    "wrong", [{"speed": 0.0}, {"speed": math.nan}, {"rounds": -1}, {"chunk_s": 0.0}, {"chunk_s": math.inf}]
)
def test_a_pace_that_is_none_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"need (speed|rounds|chunk_s)"):
        Pace(**wrong)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------------ holes
def test_stamps_tell_where_holes_are() -> None:
    times = np.arange(20) / 10
    times[12:] += 0.5
    assert [(p.start, p.stop, at) for p, at in split_at_gaps(times, 10.0)] == [(0, 12, 0.0), (12, 20, pytest.approx(1.7))]
    # Jitter is none, and neither are rows whose stamp is missing.
    jitter = np.arange(50) / 10 + np.random.default_rng(0).uniform(-0.05, 0.05, 50)
    jitter[[0, 7, 8]] = np.nan
    parts = list(split_at_gaps(jitter, 10.0))
    assert len(parts) == 1
    assert parts[0][1] == pytest.approx(0, abs=0.06)
    assert list(split_at_gaps(np.full(3, np.nan), 10.0)) == [(slice(0, 3), None)]


def test_a_tally_tells_few_and_counts_all() -> None:
    tally = Tally("line", 4)
    for number in range(1, 10):
        tally.bad(number, "wrong")
        tally.good()
    assert tally.notes == [*(f"line {n}: wrong" for n in range(1, 6)), "line …: 4 more cannot be read"]
    for number in range(3):
        tally.bad(number, "wrong")
    with pytest.raises(DataError, match="line 7: bent; so were the 3 before"):
        tally.bad(7, "bent")


# ----------------------------------------------------------------------------------------------------------------- queues
def test_a_queue_gives_what_was_put_from_any_thread() -> None:
    source = QueueSource({"ppg": 100.0, "ecg": ChannelInfo("ecg", "ecg", "mV", 200.0)})
    assert isinstance(source, LiveSource)

    def put(name: str, fs: int) -> None:
        for k in range(100):
            assert source.put({name: np.arange(k * fs // 100, (k + 1) * fs // 100)})

    threads = [threading.Thread(target=put, args=pair) for pair in (("ppg", 100), ("ecg", 200))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    source.close()
    chunks = told(source)
    for name, fs in (("ppg", 100), ("ecg", 200)):
        mine = [c for c in chunks if name in c.samples]
        np.testing.assert_array_equal(joined(mine, name), np.arange(fs))
        # Put one after the other, they lie one after the other.
        assert [c.at_s[name] for c in mine] == pytest.approx(np.arange(100) / 100)  # type: ignore[index]
    assert source.channels["ppg"] == ChannelInfo("ppg", "ppg", "", 100.0)
    assert source.name == "queue"


def test_a_full_queue_drops_counts_and_leaves_a_hole() -> None:
    source = QueueSource({"ppg": 10.0}, hold_s=2.0)
    assert [source.put({"ppg": np.ones(8)}) for _ in range(4)] == [True, True, False, False]
    assert source.dropped == {"ppg": 16}
    assert source.notes == ["16 samples of ppg were dropped: the estimates do not keep up"]
    parts = source.chunks()
    assert [next(parts).at_s for _ in range(2)] == [{"ppg": 0.0}, {"ppg": 0.8}]  # type: ignore[union-attr]
    assert source.put({"ppg": np.ones(8)})
    # What was dropped is time that has passed.
    assert next(parts).at_s == {"ppg": pytest.approx(3.2)}  # type: ignore[union-attr]
    assert source.put({"ppg": np.ones(21)}) is False


def test_a_queue_takes_times_and_copies() -> None:
    source = QueueSource({"ppg": 10.0})
    buffer = np.arange(3.0)
    source.put({"ppg": buffer}, at_s=1234.5)
    buffer[:] = -1
    source.close()
    chunk = told(source)[0]
    assert chunk.at_s == {"ppg": 1234.5}
    np.testing.assert_array_equal(chunk.samples["ppg"], [0, 1, 2])
    assert source.put({"ppg": [1.0]}) is False


def test_an_empty_queue_says_that_nothing_came() -> None:
    assert next(QueueSource({"ppg": 10.0}).chunks()) is None


def test_what_cannot_be_put_is_refused_whole() -> None:
    source = QueueSource({"ppg": 10.0})
    with pytest.raises(ValueError, match="need one of the channels ppg, got 'pgp'"):
        source.put({"ppg": [1.0], "pgp": [1.0]})
    with pytest.raises(ValueError, match=r"need samples of shape \(sample,\), got \(1, 2\)"):
        source.put({"ppg": [[1.0, 2.0]]})
    source.close()
    assert told(source) == []


@pytest.mark.parametrize(
    ("channels", "hold_s"), [({}, 1.0), ({"ppg": 0.0}, 1.0), ({"ppg": math.inf}, 1.0), ({"ppg": 1.0}, 0.0)]
)
def test_a_queue_of_nonsense_is_refused(channels: dict[str, float], hold_s: float) -> None:
    with pytest.raises(ValueError, match=r"need (channels|hold_s)"):
        QueueSource(channels, hold_s=hold_s)
