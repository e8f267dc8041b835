"""Laws of a stream: whatever the chunks, settled estimates are those of the whole recording; provisional ones come soon."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl.inference import Predictor
from biosig_mtl.inference.files import Told
from biosig_mtl.inference.stream import Stream
from biosig_mtl.inference.stream_answers import Panel
from biosig_mtl.inference.stream_fleet import Fleet
from biosig_mtl.inference.stream_past import Past
from biosig_mtl.inference.stream_words import Chunk, Estimate, StreamSettings
from biosig_mtl.training.person import past_z
from biosig_mtl.training.prediction import Predicted
from biosig_mtl.types import ChannelInfo, DataError, Features, Head, RecipeError, Record
from tests.live_stream_case import FS, RATES, batch, cut, recording, samples, write_run

# Soon settled, for laws that are about something else.
SOON = StreamSettings(hop_s=10, settle_s=20)
SETTLED = StreamSettings(context_s=0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def predictor(run: Path) -> Predictor:
    return Predictor.load(run)


def chunks(record: Record, seed: int, longest: int) -> Iterator[Chunk]:
    """Yield a recording in chunks of random length, with times that jitter."""
    rng = np.random.default_rng(seed)
    at, size = 0, record.channels["ppg"].samples.size
    while at < size:
        count = int(rng.integers(1, longest))
        yield Chunk(samples(record, at, at + count), 1e9 + at / FS + float(rng.normal(0, 0.02)))
        at += count


def streamed(stream: Stream, parts: Any) -> list[Estimate]:
    return [*(estimate for part in parts for estimate in stream.push(part)), *stream.finish()]


def same(found: list[Estimate], predictor: Predictor, record: Record, atol: float = 1e-5) -> None:
    """Hold the settled estimates, one a window, against those of the whole recording."""
    table, refused = batch(predictor, record)
    settled = [e for e in found if e.settled]
    assert [e.onset_s for e in settled if not e.reason] == table.index.tolist()
    assert {e.onset_s: e.reason for e in settled if e.reason} == refused
    for e in settled:
        if not e.reason:
            row = {str(name): float(table[name][e.onset_s]) for name in table if name != "record"}
            for target in predictor.targets:
                given = [float(e.values[target]), e.lower[target], e.upper[target]]
                expected = [row[target], row[f"{target}_lower"], row[f"{target}_upper"]]
                np.testing.assert_allclose(given, expected, rtol=0, atol=atol)
            assert e.sqi == pytest.approx(row["sqi"], abs=1e-6)
            assert e.end_s == row["end_s"]


@pytest.mark.parametrize(("seed", "longest", "noise"), [(0, 40, "moderate"), (1, 400, "heavy"), (2, 5000, "moderate")])
def test_settled_estimates_are_those_of_the_whole_recording(predictor: Predictor, seed: int, longest: int, noise: str) -> None:
    record = recording(420, 5, noise)
    stream = Stream(predictor, RATES, SETTLED)
    found = streamed(stream, chunks(record, seed, longest))
    same(found, predictor, record)
    assert len(found) > 45
    assert stream.events() == []
    assert stream.counts["settled"] == len(found)


def test_one_sample_at_a_time_gives_the_same(predictor: Predictor) -> None:
    record = cut(recording(), 0, 60)
    stream = Stream(predictor, RATES, SETTLED)
    found = streamed(stream, (samples(record, k, k + 1) for k in range(60 * 125)))
    same(found, predictor, record)


def test_estimates_settle_within_the_time_that_is_told(predictor: Predictor) -> None:
    stream = Stream(predictor, RATES, SETTLED)
    found = [e for part in chunks(recording(), 0, 250) for e in stream.push(part)]
    assert found
    assert all(0 <= e.latency_s <= stream.settled_after_s + 2 for e in found)
    sooner = Stream(predictor, RATES, replace(SETTLED, settle_s=20))
    found = [e for part in chunks(recording(), 0, 250) for e in sooner.push(part)]
    assert max(e.latency_s for e in found) <= sooner.settled_after_s + 2 <= 55


def test_a_provisional_estimate_comes_with_its_window_and_is_followed_by_the_settled_one(predictor: Predictor) -> None:
    record = cut(recording(), 0, 203)
    stream = Stream(predictor, RATES)
    found = streamed(stream, chunks(record, 3, 100))
    quick = {e.onset_s: e for e in found if not e.settled}
    settled = {e.onset_s: e for e in found if e.settled}
    assert set(quick) == set(settled)
    assert max(e.latency_s for e in quick.values()) < 2.0 + 1.0 + 0.8
    order = [e.onset_s for e in found if not e.settled]
    assert order == sorted(order)
    both = [k for k in quick if not quick[k].reason and not settled[k].reason]
    assert len(both) > 0.9 * len(settled)
    apart = [abs(float(quick[k].values["sbp"]) - float(settled[k].values["sbp"])) for k in both]
    assert 0 < np.median(apart) < 1.0
    first = {e.onset_s: e.settled for e in reversed(found)}
    assert not any(first.values()), "the provisional one comes first"


def test_a_chunk_that_settles_much_is_not_worked_twice(predictor: Predictor) -> None:
    stream = Stream(predictor, RATES, SOON)
    found = stream.push(samples(recording(), 0, 300 * 125))
    quick, settled = [e.onset_s for e in found if not e.settled], [e.onset_s for e in found if e.settled]
    assert len(quick) <= 6 < 30 < len(settled)
    assert quick[-1] > settled[-1]
    assert not any(e.settled for e in found[: len(quick)])


def test_the_clock_of_the_source_goes_with_the_estimates(predictor: Predictor) -> None:
    stream = Stream(predictor, RATES, SOON)
    found = streamed(stream, chunks(cut(recording(), 0, 60), 0, 100))
    assert found
    assert all(e.clock_s == pytest.approx(1e9 + e.end_s, abs=0.1) for e in found)
    assert all(np.isnan(e.clock_s) for e in Stream(predictor, RATES, SOON).push(samples(recording(), 0, 2000)))


def test_what_is_seen_can_be_drawn(predictor: Predictor) -> None:
    stream = Stream(predictor, RATES, SOON)
    assert stream.seen is None
    stream.push(samples(recording(), 0, 60 * 125))
    seen = stream.seen
    assert seen is not None
    assert seen.start_s + seen.duration_s == 60.0
    assert len(seen.beats["ppg_12hz"]) > 10
    assert stream.now_s == 60.0
    assert stream.state == "running"
    assert stream.units == {"sbp": "mmHg", "dbp": "mmHg"}
    assert set(stream.channels) == {"ppg", "ecg"}


# -------------------------------------------------------------------------------------------------------------- networks
def test_fewer_networks_are_told_and_give_their_own_estimate(predictor: Predictor) -> None:
    record = cut(recording(), 0, 60)
    one = replace(predictor, ensemble=replace(predictor.ensemble, members=predictor.ensemble.members[1:]))
    stream = Stream(predictor, RATES, replace(SETTLED, networks=1))
    assert [e.says.split(";")[0] for e in stream.events()] == [
        "settled estimates come from 1 of the run's 2 networks",
        "provisional estimates come from 1 of the run's 2 networks",
    ]
    same(streamed(stream, [samples(record, 0, 7500)]), one, record)


def test_networks_of_one_person_answer_together(predictor: Predictor) -> None:
    personal: Any = Doubled(predictor)
    personal.members = predictor.ensemble.members
    with pytest.raises(RecipeError, match="answer together"):
        Stream(replace(predictor, ensemble=personal), RATES, StreamSettings(networks=1))
    assert Stream(replace(predictor, ensemble=personal), RATES).events() == []


class Doubled:
    """Answers in place of the networks: twice what they say."""

    def __init__(self, predictor: Predictor) -> None:
        self.inner, self.calls = predictor.ensemble, 0
        self.spec, self.extra = self.inner.spec, self.inner.extra

    def predict_full(self, table: Any, without: tuple[str, ...] = ()) -> Predicted:
        self.calls += 1
        found = self.inner.predict_full(table, without)
        return replace(found, estimates=found.estimates * 1.1)


def test_something_else_may_answer_in_place_of_the_networks(predictor: Predictor) -> None:
    record = cut(recording(), 0, 60)
    plain = streamed(Stream(predictor, RATES, SETTLED), [samples(record, 0, 7500)])
    other = streamed(Stream(predictor, RATES, SETTLED, answers=Doubled(predictor)), [samples(record, 0, 7500)])
    for a, b in zip(plain, other, strict=True):
        if not a.reason:
            assert float(b.values["sbp"]) == pytest.approx(1.1 * float(a.values["sbp"]), rel=1e-6)


def test_networks_that_fail_refuse_windows_and_end_nothing(predictor: Predictor) -> None:
    class Broken(Doubled):
        def predict_full(self, table: Any, without: tuple[str, ...] = ()) -> Predicted:
            raise RuntimeError(f"out of\norder after {len(table)} and {without}"[:12])

    stream = Stream(predictor, RATES, SOON, answers=Broken(predictor))
    found = streamed(stream, chunks(cut(recording(), 0, 90), 0, 500))
    assert found
    assert {e.reason for e in found if "unexpected" in e.reason} == {"unexpected RuntimeError: out of order"}
    assert not any(e.values for e in found)


class Classed(Doubled):
    """Answers the first target by two classes."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__(predictor)
        self.spec = replace(self.spec, heads=(Head("binary", (120.0,)), Head()))

    def predict_full(self, table: Any, without: tuple[str, ...] = ()) -> Predicted:
        found = super().predict_full(table, without)
        share = np.linspace(0.1, 0.9, len(table))
        return replace(found, probabilities={0: np.stack([1 - share, share], axis=1)})


def test_a_target_with_classes_has_shares_and_no_interval(predictor: Predictor) -> None:
    found = streamed(Stream(predictor, RATES, SETTLED, answers=Classed(predictor)), [samples(recording(), 0, 60 * 125)])
    made = [e for e in found if not e.reason]
    assert made[0].values["sbp"] == "≤ 120"
    assert made[-1].values["sbp"] == "> 120"
    assert made[0].shares["sbp"] == pytest.approx((0.9, 0.1))
    assert "sbp" not in made[0].lower
    assert made[0].lower["dbp"] < float(made[0].values["dbp"]) < made[0].upper["dbp"]


def test_a_fleet_gives_every_wearer_what_a_stream_gives_and_asks_the_networks_once(predictor: Predictor) -> None:
    people = {f"w{seed}": recording(60, seed) for seed in range(3)}
    counter = Doubled(predictor)
    fleet = Fleet(predictor, SOON, counter)
    for name in people:
        fleet.add(name, RATES)
    with pytest.raises(DataError, match="w0: is in the fleet already"):
        fleet.add("w0", RATES)
    found: dict[str, list[Estimate]] = {name: [] for name in people}
    for k in range(0, 60, 2):
        for name, told in fleet.push({n: samples(r, k * 125, (k + 2) * 125) for n, r in people.items()}).items():
            found[name] += told
    assert counter.calls < 25
    for name, told in fleet.finish().items():
        found[name] += told
    for name, record in people.items():
        alone = Stream(predictor, RATES, SOON, answers=Panel.of(predictor, SOON, Doubled(predictor)))
        expected = [e for k in range(0, 60, 2) for e in alone.push(samples(record, k * 125, (k + 2) * 125))] + alone.finish()
        assert [(e.onset_s, e.settled, e.reason) for e in found[name]] == [(e.onset_s, e.settled, e.reason) for e in expected]
        mine, other = ([float(e.values["sbp"]) for e in each if not e.reason] for each in (found[name], expected))
        np.testing.assert_allclose(mine, other, atol=1e-3)
    assert fleet.remove("w0") == []
    assert set(fleet.streams) == {"w1", "w2"}


# ---------------------------------------------------------------------------------------------------- what is remembered
def test_what_was_usual_so_far_is_that_of_the_table() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(5, 2, (40, 6)).astype(np.float32)
    values[rng.random(values.shape) < 0.2] = np.nan
    values[:, 3], values[:, 4] = 1e6, np.nan
    expected = past_z(values.astype(np.float64), np.full(40, "s"))
    past, rows = Past(), []
    for part in np.split(values, [1, 2, 9, 30]):
        made = Features(part, tuple("abcdef"), np.empty((len(part), 0, 0), np.float32), ())
        before = past.copy()
        rows.append(past.extended(made).values[:, 6:])
        np.testing.assert_array_equal(before.extended(made).values[:, 6:], rows[-1])
    np.testing.assert_array_equal(np.concatenate(rows), expected)
    assert past.extended(made).names == (*"abcdef", *(f"{name}.past_z" for name in "abcdef"))


def test_a_run_that_compares_with_the_past_gives_what_the_whole_gives(tmp_path: Path) -> None:
    predictor = Predictor.load(write_run(tmp_path, "training.per_subject=past", networks=1))
    record = cut(recording(), 0, 300)
    stream = Stream(predictor, RATES, StreamSettings(hop_s=20))
    found = streamed(stream, chunks(record, 0, 1000))
    same(found, predictor, record)
    assert len([e for e in found if not e.settled and not e.reason]) > 30


def test_a_run_that_compares_with_the_whole_is_refused(predictor: Predictor) -> None:
    with pytest.raises(RecipeError, match="compares each window with the whole recording"):
        Stream(replace(predictor, per_subject="whole"), RATES)


# -------------------------------------------------------------------------------------------------------------- channels
def test_what_is_known_of_the_person_is_used(predictor: Predictor) -> None:
    part = samples(recording(), 0, 60 * 125)
    plain = streamed(Stream(predictor, RATES, SETTLED), [part])
    old = streamed(Stream(predictor, RATES, SETTLED, Told(demographics={"age_years": 90.0})), [part])
    assert [e.values for e in plain] != [e.values for e in old]


def test_channels_that_a_run_needs_have_to_be_promised_with_a_rate(predictor: Predictor) -> None:
    with pytest.raises(DataError, match="stream: missing channel 'ppg', which this run needs; it has ecg"):
        Stream(predictor, {"ecg": 125.0})
    with pytest.raises(DataError, match="channel 'ppg' needs a rate in Hz above 0, got 0"):
        Stream(predictor, {"ppg": 0.0})
    with pytest.raises((DataError, RecipeError), match="8"):
        Stream(predictor, {"ppg": 8.0})


def test_channels_may_have_rates_of_their_own(predictor: Predictor) -> None:
    record = cut(recording(), 0, 90)
    slow = replace(record.channels["ppg"], fs=62.5, samples=record.channels["ppg"].samples[::2].copy())
    whole = replace(record, channels={**record.channels, "ppg": slow})
    stream = Stream(predictor, {"ppg": ChannelInfo("ppg", "ppg", "NU", 62.5), "ecg": 125.0}, SETTLED)
    rng, at, parts = np.random.default_rng(3), {"ppg": 0, "ecg": 0}, []
    while at["ecg"] < 90 * 125:
        part = {}
        for name, fs in (("ppg", 62.5), ("ecg", 125.0)):
            count = int(rng.integers(0, round(fs)))
            part[name] = whole.channels[name].samples[at[name] : at[name] + count]
            at[name] += count
        parts.append(part)
    parts.append({"ppg": slow.samples[at["ppg"] :]})
    same(streamed(stream, parts), predictor, whole)


@pytest.mark.parametrize("wrong", [{"hop_s": 0}, {"context_s": -1}, {"networks": 0}, {"settle_s": -1.0}, {"slack_s": np.inf}])
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need "):
        StreamSettings(**wrong)
