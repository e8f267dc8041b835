"""A stretch of a recording as a recording of its own."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosig_mtl.data.readers.clip import Clip
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.types import ChannelInfo, DataError, Entry, Label, Source

FS = {"fast": 8, "slow": 2}
SECONDS = 40


def source(**more: object) -> LazySource:
    """Return a recording whose samples are their own time in seconds."""
    samples = {name: (np.arange(SECONDS * fs) / fs).astype(np.float32) for name, fs in FS.items()}
    entry = Entry("own", "whole", "p", "1", Path("whole.x"), "x")
    made = LazySource(
        entry=entry,
        channels={name: ChannelInfo(name, "other", "", fs) for name, fs in FS.items()},
        source_names={name: name for name in FS},
        fs=2.0,
        frames=SECONDS * 2,
        fetch=lambda first, stop: {n: x[first * FS[n] // 2 : stop * FS[n] // 2] for n, x in samples.items()},
        seams_s=np.array([5.0, 12.0, 30.0]),
    )
    return replace(made, **more)  # type: ignore[arg-type]


def clip(start: float, stop: float, baseline: tuple[float, float] | None = None, of: LazySource | None = None) -> Clip:
    entry = Entry("own", "clip", "p", "2", Path("whole.x"), "x", stimulus="film")
    return Clip(of or source(), entry, start, stop, baseline)


def test_times_count_from_the_start_of_the_clip() -> None:
    made = clip(10.0, 20.0, baseline=(0.0, 2.0))
    assert isinstance(made, Source)
    record = made.read(1.0, 4.0)
    assert (record.name, record.session, record.stimulus, record.start_s, made.duration_s) == ("clip", "2", "film", 1.0, 10.0)
    assert record.channel("fast").samples[[0, -1]].tolist() == [11.0, 13.875]
    assert record.seams_s.tolist() == [2.0]
    assert record.baseline_s == (0.0, 2.0)


@given(start=st.floats(0, 20), length=st.floats(1, 30), cuts=st.lists(st.floats(-1, 50), max_size=4))
def test_parts_that_meet_are_the_whole(start: float, length: float, cuts: list[float]) -> None:
    made = clip(start, start + length)
    edges = [-1.0, *sorted(cuts), 99.0]
    parts = [made.read(a, b) for a, b in pairwise(edges)]
    for name, fs in FS.items():
        whole = made.read().channels[name].samples
        np.testing.assert_array_equal(np.concatenate([p.channels[name].samples for p in parts]), whole)
        assert abs(whole.size / fs - made.duration_s) <= 0.5
        # Each part says where it begins: its first sample is of that time of the recording.
        for part in parts:
            if part.channels[name].samples.size:
                assert part.channels[name].samples[0] == pytest.approx(made.start_s + part.start_s)


def test_labels_and_rests_of_the_recording_come_along_where_they_belong() -> None:
    timed = tuple(Label("stress", float(t), "0..1", time_s=float(t)) for t in (1, 11, 25))
    entry = Entry("own", "whole", "p", "1", Path("whole.x"), "x", labels=(*timed, Label("valence", 3, "1..9", "self")))
    record = clip(10, 20, of=source(entry=entry, baseline_s=(8.0, 13.0))).read()
    assert [(x.name, x.value, x.time_s) for x in record.labels] == [("stress", 11.0, 1.0), ("valence", 3, None)]
    assert record.baseline_s == (0.0, 3.0)
    assert clip(20, 30, of=source(baseline_s=(8.0, 13.0))).read().baseline_s is None


def test_a_clip_that_outlasts_the_recording_is_told() -> None:
    record = clip(30, 60).read()
    assert record.duration_s == 10
    assert record.notes == ("whole.x: ends 20.0 s before the clip does",)


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 5), (6, 5), (float("nan"), 5), (5, float("nan")), (40, 50)])
def test_what_is_no_part_of_a_recording_is_refused(start: float, stop: float) -> None:
    with pytest.raises(DataError, match=r"whole\.x: clip"):
        clip(start, stop)
