"""Laws of a stream in bad company: gaps, lost channels and nonsense refuse windows with a reason; nothing ends the stream."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl.data import manifest
from biosig_mtl.data.readers import open_source
from biosig_mtl.inference import Predictor
from biosig_mtl.inference.files import Told
from biosig_mtl.inference.stream import Stream
from biosig_mtl.inference.stream_words import Chunk, Estimate, StreamSettings
from biosig_mtl.pipeline import Preparation
from biosig_mtl.types import Record
from tests.live_stream_case import FS, RATES, batch, cut, recording, samples, write_run

SETTLED = StreamSettings(context_s=0)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor.load(write_run(tmp_path_factory.mktemp("run"), networks=1))


def rows(found: list[Estimate], shift_s: float = 0.0) -> dict[float, float | str]:
    """Return the settled systolic estimates, or the reasons, by onset."""
    return {e.onset_s - shift_s: e.reason or round(float(e.values["sbp"]), 3) for e in found if e.settled}


def expected(predictor: Predictor, record: Record) -> dict[float, float | str]:
    table, refused = batch(predictor, record)
    return {**refused, **{float(k): round(float(v), 3) for k, v in table["sbp"].items()}}  # type: ignore[arg-type]


def with_samples(record: Record, **changed: Any) -> Record:
    channels = {n: replace(c, samples=changed.get(n, c.samples)) for n, c in record.channels.items()}
    return replace(record, channels=channels)


def timed(record: Record, spans_s: list[tuple[int, int]], step_s: float = 0.5) -> list[Chunk]:
    """Return chunks of some spans of a recording, with their times."""
    starts = [a for low, high in spans_s for a in np.arange(low, high, step_s).tolist()]
    return [Chunk(samples(record, round(a * FS), round((a + step_s) * FS)), 77.0 + a) for a in starts]


def streamed(stream: Stream, parts: list[Any]) -> list[Estimate]:
    return [*(e for part in parts for e in stream.push(part)), *stream.finish()]


def test_a_gap_gives_what_a_recording_with_missing_samples_gives(predictor: Predictor) -> None:
    record = cut(recording(), 0, 150)
    stream = Stream(predictor, RATES, SETTLED)
    found = streamed(stream, timed(record, [(0, 61), (75, 150)]))
    missing = np.r_[61 * 125 : 75 * 125]
    lost = {n: c.samples.copy() for n, c in record.channels.items()}
    for x in lost.values():
        x[missing] = np.nan
    assert rows(found) == expected(predictor, with_samples(record, **lost))
    assert {e.reason for e in found} == {"", "missing samples (NaN) in ppg"}
    assert stream.counts["gap"] == 2


def test_stretches_are_recordings_of_their_own(predictor: Predictor) -> None:
    record = cut(recording(), 0, 200)
    stream = Stream(predictor, RATES, replace(SETTLED, fill_s=20))
    found = streamed(stream, timed(record, [(0, 71), (150, 200)]))
    first = {k: v for k, v in rows(found).items() if k < 100}
    second = rows([e for e in found if e.onset_s >= 100], 150.0)
    assert first == expected(predictor, cut(record, 0, 71))
    assert second == expected(predictor, cut(record, 150, 200))
    assert stream.counts["stretch"] == 1
    assert not any(71 - 8 < e.onset_s < 150 for e in found), "no window reaches over the seam"


def test_a_jump_of_the_clock_gives_what_a_recording_with_a_seam_gives(predictor: Predictor) -> None:
    record = cut(recording(), 0, 100)
    stream = Stream(predictor, RATES, SETTLED)
    parts = timed(record, [(0, 51)]) + [replace(c, at_s=c.at_s - 33.0) for c in timed(record, [(51, 100)])]  # type: ignore[operator]
    found = streamed(stream, parts)
    assert rows(found) == expected(predictor, replace(record, seams_s=np.array([51.0])))
    assert rows(found)[48.0] == "crosses a seam or gap between blocks"
    assert stream.counts["clock"] == 2


def test_a_channel_that_falls_off_is_left_out_and_the_others_go_on(predictor: Predictor) -> None:
    record = cut(recording(), 0, 100)
    stream = Stream(predictor, RATES, SETTLED)
    parts = timed(record, [(0, 100)])
    half = [replace(c, samples={"ppg": c.samples["ppg"]}) if 107 <= float(c.at_s) < 147 else c for c in parts]  # type: ignore[arg-type]
    found = streamed(stream, half)
    ecg = record.channels["ecg"].samples.copy()
    ecg[30 * 125 : 70 * 125] = np.nan
    assert rows(found) == expected(predictor, with_samples(record, ecg=ecg))
    assert [e.kind for e in stream.events()] == ["lost", "back"]


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e30, -3e38])
def test_a_signal_of_nothing_refuses_every_window(predictor: Predictor, value: float) -> None:
    stream = Stream(predictor, RATES, StreamSettings(hop_s=10, settle_s=10))
    found = streamed(stream, [{n: np.full(125, value) for n in RATES} for _ in range(60)])
    onsets = {e.onset_s for e in found if e.settled}
    assert onsets == {0.0, 8.0, 16.0, 24.0, 32.0, 40.0, 48.0}
    assert all(e.reason and not e.values and np.isnan(e.sqi) for e in found)
    assert stream.counts["refused"] == 7


def test_noise_as_loud_as_can_be_ends_nothing(predictor: Predictor) -> None:
    rng = np.random.default_rng(0)
    stream = Stream(predictor, RATES, StreamSettings(hop_s=10, settle_s=10))
    found = []
    for k in range(80):
        part = {n: rng.normal(0, 10.0 ** rng.uniform(-30, 37), int(rng.integers(0, 300))) for n in RATES}
        if k % 7 == 0:
            part["ppg"][: k % 3] = np.nan
        found += stream.push(Chunk(part, float(rng.normal(k, 5)) if k % 3 else None))
    found += stream.finish()
    assert found
    assert len({e.onset_s for e in found if e.settled}) == len([e for e in found if e.settled])


def test_nothing_is_nothing(predictor: Predictor) -> None:
    stream = Stream(predictor, RATES)
    assert stream.push({}) == []
    assert stream.push(Chunk({}, 3.0)) == []
    assert stream.push({"abp": [1.0, 2.0]}) == []
    assert stream.finish() == []
    assert stream.finish() == []
    assert stream.state == "waiting"
    assert [e.kind for e in stream.events()] == ["unknown"]


def test_less_than_a_window_is_no_window(predictor: Predictor) -> None:
    stream = Stream(predictor, RATES)
    assert streamed(stream, [samples(recording(), 0, 999)]) == []
    again = Stream(predictor, RATES)
    assert len([e for e in streamed(again, [samples(recording(), 0, 1000)]) if e.settled]) == 1


def test_half_an_hour_at_once_is_worked_in_parts(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    longest, plain = [0.0], Preparation.apply

    def watched(self: Preparation, record: Record, *rest: Any) -> Any:
        longest.append(record.duration_s)
        return plain(self, record, *rest)

    monkeypatch.setattr(Preparation, "apply", watched)
    stream = Stream(predictor, RATES, StreamSettings(hop_s=10, settle_s=10))
    long = {n: np.tile(c.samples, 5)[: 1800 * 125] for n, c in recording().channels.items()}
    found = stream.push(long)
    assert len([e for e in found if e.settled]) > 215
    assert max(longest) <= stream._preparation.reach_s + 10 + 8 + 120


def test_steps_that_fail_refuse_their_windows_and_the_stream_goes_on(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, broken = Preparation.apply, [False]

    def failing(self: Preparation, *words: Any) -> Any:
        if broken[0]:
            raise IndexError("index 7 is out\nof bounds")
        return plain(self, *words)

    monkeypatch.setattr(Preparation, "apply", failing)
    stream = Stream(predictor, RATES, StreamSettings(hop_s=8, settle_s=8))
    found = []
    for k in range(90):
        broken[0] = 40 <= k < 60
        found += stream.push(samples(recording(), k * 125, (k + 1) * 125))
    found += stream.finish()
    settled = [e for e in found if e.settled]
    assert [e.onset_s for e in settled] == [8.0 * k for k in range(11)]
    reasons = [e.reason for e in settled]
    assert set(reasons) == {"", "unexpected IndexError: index 7 is out of bounds"}
    assert reasons[0] == reasons[-1] == ""
    assert {e.reason for e in found if not e.settled} == set(reasons)
    whole = Stream(predictor, RATES, SETTLED)
    whole.push(samples(recording(), 0, 30 * 125))
    broken[0] = True
    assert [(e.onset_s, e.reason[:10]) for e in whole.finish()] == [(8.0 * k, "unexpected") for k in range(3)]


def test_what_cannot_be_worked_is_told_at_the_start(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> Any:
        raise ValueError("no")

    monkeypatch.setattr(Preparation, "apply", failing)
    with pytest.raises(ValueError, match="no"):
        Stream(predictor, RATES)


def test_real_recordings_one_after_the_other_give_what_they_give_as_one(predictor: Predictor, data_root: Path) -> None:
    known = manifest.load("uci_kachuee")
    entries = manifest.entries(known, data_root / "bp" / "uci_kachuee").entries[::300][:10]
    records = [open_source(entry).read() for entry in entries]
    parts: list[Chunk] = []
    joined: dict[str, list[Any]] = {name: [] for name in RATES}
    at, rng = 0, np.random.default_rng(1)
    for record in records:
        size = record.channels["ppg"].samples.size
        low = 0
        while low < size:
            high = min(low + int(rng.integers(1, 500)), size)
            # Without jitter: how long a gap was is known no better than its times.
            time = 1e6 + (at + low) / FS
            parts.append(Chunk({n: record.channels[n].samples[low:high] for n in RATES}, time))
            low = high
        pause = np.full(5 * 125, np.nan, np.float32)
        for name, list_ in joined.items():
            list_ += [record.channels[name].samples, pause]
        at += size + pause.size
    whole = with_samples(
        replace(records[0], channels={n: records[0].channels[n] for n in RATES}, labels=(), demographics={}),
        **{n: np.concatenate(x)[: at - 5 * 125] for n, x in joined.items()},
    )
    stream = Stream(predictor, RATES, SETTLED, Told(timing_reliable=whole.timing_reliable))
    settled = [*(e for part in parts for e in stream.push(part)), *stream.finish()]
    table, refused = batch(predictor, whole)
    assert {e.onset_s: e.reason for e in settled if e.reason} == refused
    mine = {e.onset_s: [float(e.values[t]) for t in predictor.targets] for e in settled if not e.reason}
    assert list(mine) == table.index.tolist()
    np.testing.assert_allclose(list(mine.values()), table[list(predictor.targets)], rtol=0, atol=1e-5)
    assert len(mine) > 15
    assert set(stream.counts) - {"settled", "provisional", "refused"} == {"gap"}
