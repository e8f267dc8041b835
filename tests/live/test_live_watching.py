"""Laws of the way from the source to those who look on: nothing is lost or told twice, and who leaves leaves cleanly."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from biosig_mtl.inference.stream_words import Chunk, Estimate, Event
from biosig_mtl.live.hub import Hub
from biosig_mtl.live.table import Table
from biosig_mtl.live.terminal import BLOCKS, TerminalViewer, spark
from biosig_mtl.live.trace import MOST_CHANNELS, Scope, Strip, beats_per_minute, thin
from biosig_mtl.live.viewers import HubViewer, PlainViewer, TableViewer, event_line
from biosig_mtl.live.watching import RESEARCH, About, Status, Told, Watch, clock
from biosig_mtl.types import F64, Beats, Channel, ChannelInfo, DataError, Record
from tests.live.fake_stream import FakeStream

CHANNELS = {"ppg": ChannelInfo("ppg", "ppg", "a.u.", 50.0), "ecg": ChannelInfo("ecg", "ecg", "mV", 100.0)}
ABOUT = About("demo", "blood_pressure", ("sbp", "dbp"), {"sbp": "mmHg", "dbp": "mmHg"}, {}, CHANNELS, settled_after_s=8.0)


class Listed:
    """A source that gives what is in a list; an exception in it is raised."""

    channels: Mapping[str, ChannelInfo] = CHANNELS
    name = "secret_person"

    def __init__(self, parts: list[Any]) -> None:
        self.parts, self.notes, self.closed = parts, list[str](), 0

    def chunks(self) -> Iterator[Chunk | None]:
        for part in self.parts:
            if isinstance(part, BaseException):
                raise part
            if isinstance(part, str):
                self.notes.append(part)
            else:
                yield part

    def close(self) -> None:
        self.closed += 1


class Ticking:
    """A clock that goes on by a tenth of a second each time somebody looks."""

    def __init__(self, step_s: float = 0.1) -> None:
        self.now_s, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


class Diary:
    """A viewer that writes everything down."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, Any]] = []

    def begin(self, about: About) -> None:
        self.lines.append(("begin", about))

    def trace(self, strips: Mapping[str, Strip], beats: Mapping[str, F64]) -> None:
        self.lines.append(("trace", (dict(strips), dict(beats))))

    def estimate(self, record: str, estimate: Estimate) -> None:
        self.lines.append(("estimate", (record, estimate)))

    def event(self, event: Event) -> None:
        self.lines.append(("event", event))

    def note(self, text: str) -> None:
        self.lines.append(("note", text))

    def status(self, status: Status) -> None:
        self.lines.append(("status", status))

    def end(self, summary: str) -> None:
        self.lines.append(("end", summary))

    def of(self, kind: str) -> list[Any]:
        return [content for word, content in self.lines if word == kind]


def pulse(seconds: float, begin_s: float = 0.0) -> Chunk:
    def wave(fs: float) -> np.ndarray[Any, Any]:
        at = round(begin_s * fs) + np.arange(round(seconds * fs))
        return np.exp(-(((at / fs) % 1.0 - 0.5) ** 2) / 0.01).astype(np.float32)

    return Chunk({n: wave(c.fs) for n, c in CHANNELS.items()})


def follow(parts: list[Any], *viewers: Any, speed: float = 1.0, clock_: Any = None) -> tuple[Told, Listed, FakeStream]:
    source, stream = Listed(parts), FakeStream(CHANNELS)
    told = Watch(source, stream, viewers, speed, clock_ or Ticking()).run(ABOUT)
    return told, source, stream


PARTS = [pulse(0.5, 0.5 * k) for k in range(64)]


# ----------------------------------------------------------------------------------------------------------------- watch
def test_everything_goes_through_and_is_told_in_order() -> None:
    diary = Diary()
    told, source, stream = follow(list(PARTS), diary)
    assert stream.chunks == PARTS
    assert source.closed
    assert [word for word, _ in diary.lines[:1]] == ["begin"]
    assert diary.lines[-1] == ("end", told.line())
    windows = [e for _, e in diary.of("estimate")]
    assert [e.onset_s for e in windows if e.settled] == [4.0 * k for k in range(8)]
    assert [e.onset_s for e in windows if not e.settled] == [4.0 * k for k in range(8)]
    assert told.windows == {"settled": 8, "provisional": 8}
    assert told.line() == "ended: 8 windows in 32.0 s of signal"


def test_the_trace_is_the_signal() -> None:
    diary = Diary()
    follow(list(PARTS), diary)
    whole = np.concatenate([np.asarray(p.samples["ecg"]) for p in PARTS])
    strips = [strips["ecg"] for strips, _ in diary.of("trace") if "ecg" in strips]
    np.testing.assert_array_equal(np.concatenate([s.low for s in strips]), whole)
    np.testing.assert_allclose(
        np.concatenate([s.start_s + s.step_s * np.arange(s.low.size) for s in strips]), np.arange(3200) / 100
    )
    beats = np.concatenate([b["ppg"] for _, b in diary.of("trace") if "ppg" in b])
    # A beat a second, each told once.
    np.testing.assert_allclose(beats, 0.5 + np.arange(beats.size), atol=0.05)
    assert diary.of("status")[-1].rate["ppg"] == pytest.approx(60, abs=3)


def test_ctrl_c_ends_with_what_had_arrived() -> None:
    diary = Diary()
    told, source, stream = follow([*PARTS[:33], KeyboardInterrupt(), *PARTS[33:]], diary)
    assert told.stopped
    assert told.line() == "stopped: 4 windows in 16.5 s of signal"
    assert stream.chunks == PARTS[:33]
    assert len([e for _, e in diary.of("estimate") if e.settled]) == 4
    assert source.closed


def test_a_source_that_fails_is_told_after_what_it_gave() -> None:
    diary = Diary()
    with pytest.raises(DataError, match="the cable broke"):
        follow([*PARTS[:33], DataError("the cable broke")], diary)
    assert len([e for _, e in diary.of("estimate") if e.settled]) == 4
    assert diary.lines[-1][0] == "end"


def test_a_viewer_that_fails_does_not_keep_the_terminal() -> None:
    class Broken(Diary):
        def estimate(self, *_: Any) -> None:
            raise DataError("the disk is full")

    diary, broken = Diary(), Broken()
    with pytest.raises(DataError, match="the disk is full"):
        follow(list(PARTS), broken, diary)
    assert diary.lines[-1][0] == broken.lines[-1][0] == "end"


def test_silence_is_told_once_until_something_comes() -> None:
    diary = Diary()
    told, _, _ = follow([PARTS[0], *[None] * 90, PARTS[1], *[None] * 90], diary)
    silent = diary.of("event")
    assert [e.kind for e in silent] == ["silent", "silent"]
    assert told.events == {"silent": 2}
    assert max(s.silent_s for s in diary.of("status")) > 5
    assert max(s.behind_s for s in diary.of("status")) < 1


def test_who_is_behind_says_so() -> None:
    diary = Diary()
    follow(list(PARTS), diary, clock_=Ticking(2.0))
    assert max(s.behind_s for s in diary.of("status")) > 20
    hurried = Diary()
    follow(list(PARTS), hurried, speed=math.inf, clock_=Ticking(2.0))
    assert {s.behind_s for s in hurried.of("status")} == {0.0}


def test_remarks_of_the_source_are_told_once() -> None:
    diary = Diary()
    told, _, _ = follow([PARTS[0], "line 3: wrong", PARTS[1], "line 9: wrong", PARTS[2], PARTS[3]], diary)
    assert diary.of("note") == ["line 3: wrong", "line 9: wrong"]
    assert told.events == {"note": 2}


def test_a_window_is_refused_by_its_last_word() -> None:
    told = Told()
    told.count(Estimate(0, 8, reason="flat", settled=False))
    told.count(Estimate(0, 8, reason="low quality"))
    told.count(Estimate(8, 16, reason="low quality"))
    told.count(Estimate(16, 24, values={"sbp": 1.0}))
    told.events["gap"] = 2
    told.seconds = 75.0
    assert told.line() == "ended: 1 windows in 1 min 15 s of signal; refused 2 × low quality; events 2 × gap"
    assert clock(3600 * 25 + 60) == "25 h 01 min"


# ----------------------------------------------------------------------------------------------------------------- trace
@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.sampled_from([4.0, 125.0, 256.0, 1000.0]), st.integers(0, 500))
def test_thinning_does_not_depend_on_how_it_arrives_and_loses_no_peak(sizes: list[int], fs: float, seed: int) -> None:
    whole = np.random.default_rng(seed).standard_normal(sum(sizes)).astype(np.float32)
    scope, at, low, high = Scope({"x": ChannelInfo("x", "ppg", "", fs)}), 0, [], []
    for size in sizes:
        scope.add(Chunk({"x": whole[at : at + size]}), (at + size) / fs)
        at += size
        strips = scope.take()
        if "x" in strips:
            low.append(strips["x"].low)
            high.append(strips["x"].high)
    expected, _ = thin(whole, 0, fs)
    np.testing.assert_array_equal(np.concatenate([*low, np.empty(0)]), expected.low)
    np.testing.assert_array_equal(np.concatenate([*high, np.empty(0)]), expected.high)
    assert expected.low.size <= sum(sizes) / fs * 125 + 1
    if expected.low.size:
        used = whole[: expected.low.size * math.ceil(fs / 125)]
        assert (expected.low.min(), expected.high.max()) == (used.min(), used.max())


def test_holes_stay_holes() -> None:
    samples = np.array([1, np.nan, np.nan, np.nan, np.nan, 2], np.float32)
    strip, _ = thin(samples, 0, 250.0)
    np.testing.assert_array_equal(strip.low, [1, np.nan, 2])


def test_a_scope_holds_the_last_seconds_and_the_first_channels() -> None:
    many = {f"c{k}": ChannelInfo(f"c{k}", "eeg", "uV", 10.0) for k in range(20)} | {"p": ChannelInfo("p", "ppg", "", 10.0)}
    scope = Scope(many)
    assert scope.drawn[0] == "p"
    assert len(scope.drawn) == MOST_CHANNELS
    for k in range(100):
        scope.add(Chunk({"p": np.full(100, k, np.float32)}), 10.0 * (k + 1))
    strip = scope.take()["p"]
    assert strip.start_s + strip.step_s * strip.low.size == pytest.approx(1000)
    assert strip.low.size <= 220
    assert set(strip.low) <= {98.0, 99.0}
    # One very long chunk is cut to its end.
    scope.add(Chunk({"p": np.arange(5000, dtype=np.float32)}), 1500.0)
    strip = scope.take()["p"]
    assert (strip.low.size, strip.low[-1], strip.start_s) == (120, 4999, 1488)


def test_after_a_hole_in_time_the_trace_begins_anew() -> None:
    scope = Scope({"p": CHANNELS["ppg"]})
    scope.add(Chunk({"p": np.zeros(50)}), 1.0)
    scope.add(Chunk({"p": np.ones(50)}), 8.0)
    strip = scope.take()["p"]
    assert (strip.start_s, strip.low.size) == (7.0, 50)
    scope.add(Chunk({}), 9.0)
    assert scope.take() == {}


def test_beats_lie_on_the_channel_they_were_made_from() -> None:
    scope = Scope(CHANNELS)
    peak = np.array([10, 60])

    def seen(start_s: float, source: str, kind: str) -> Record:
        made = Channel("made", kind, "", 50.0, np.zeros(100, np.float32), source)
        beats = Beats("made", 50.0, peak, peak, peak, np.ones(2, np.float32))
        return Record("r", "s", "1", {"made": made}, start_s=start_s, beats={"made": beats, "lost": beats})

    assert scope.beats(None) == {}
    np.testing.assert_allclose(scope.beats(seen(4.0, "ecg", "ecg"))["ecg"], [4.2, 5.2])
    # The same beat, found again a little off, is not told again.
    np.testing.assert_allclose(scope.beats(seen(5.05, "", "ecg"))["ecg"], [6.25])
    assert scope.beats(seen(9.0, "eeg", "eeg")) == {}
    assert math.isnan(beats_per_minute(np.array([1.0, 2.0])))


# --------------------------------------------------------------------------------------------------------------- viewers
def test_rows_and_everything_else_go_apart() -> None:
    rows, aside = io.StringIO(), io.StringIO()
    source, stream = Listed([*PARTS, "a remark"]), FakeStream(CHANNELS)
    stream.pending.append(Event("gap", 1.0, "lost", "ppg"))
    Watch(source, stream, [PlainViewer(rows, aside)], 1.0, Ticking()).run(ABOUT)
    frame = pd.read_csv(io.StringIO(rows.getvalue()))
    assert (frame["state"] == "settled").sum() == 8
    assert frame["record"].unique().tolist() == ["secret_person"]
    told = aside.getvalue().splitlines()
    assert told[0] == RESEARCH
    assert told[1:] == [
        "1.0 s: gap ppg: lost",
        "note: a remark",
        "ended: 8 windows in 32.0 s of signal; events 1 × gap, 1 × note",
    ]
    PlainViewer(rows, aside).estimate("x", Estimate(0, 8))  # before the beginning there is no row


def test_the_table_gets_every_estimate(tmp_path: Path) -> None:
    table = Table(tmp_path / "a.csv", ABOUT.targets, {})
    diary = Diary()
    follow(list(PARTS), TableViewer(table), diary)
    frame = pd.read_csv(tmp_path / "a.csv")
    assert len(frame) == len(diary.of("estimate")) == 16


def test_the_page_is_told_all_but_who_it_is() -> None:
    hub = Hub()
    one = hub.join()
    source, stream = Listed([*PARTS, "secret_person.dat is cut off"]), FakeStream(CHANNELS)
    stream.pending.append(Event("gap", 1.0, "lost", "ppg"))
    Watch(source, stream, [HubViewer(hub)], 1.0, Ticking()).run(ABOUT)
    told = [(m.kind, json.loads(m.text.decode().split("\n")[2][6:])) for m in one.take(0) or []]
    assert b"secret" not in json.dumps(told).encode()
    assert [kind for kind, _ in told][0::1][0] == "about"
    assert told[-1][0] == "end"
    about = told[0][1]
    assert about["targets"][0] == {"name": "sbp", "unit": "mmHg", "classes": []}
    assert about["channels"]["ecg"] == {"kind": "ecg", "unit": "mV", "fs": 100.0}
    assert about["says"] == RESEARCH
    traces = [d for kind, d in told if kind == "trace"]
    whole = np.concatenate([np.asarray(p.samples["ppg"]) for p in PARTS])
    np.testing.assert_allclose(np.concatenate([t["s"]["ppg"]["l"] for t in traces if "ppg" in t["s"]]), whole, rtol=1e-6)
    estimates = [d for kind, d in told if kind == "estimate"]
    assert {d["state"] for d in estimates} == {"settled", "provisional"}
    assert estimates[0]["v"]["sbp"]["lo"] < estimates[0]["v"]["sbp"]["v"] < estimates[0]["v"]["sbp"]["hi"]
    assert [d["kind"] for kind, d in told if kind == "event"] == ["gap", "note"]


def test_thinned_traces_and_classes_reach_the_page() -> None:
    hub = Hub()
    one, viewer = hub.join(), HubViewer(hub)
    viewer.trace({"x": Strip(1.0, 0.1, np.array([0, np.nan], np.float32), np.array([2, np.nan], np.float32))}, {})
    viewer.estimate("r", Estimate(0, 8, values={"valence": "high"}, shares={"valence": (0.2, 0.8)}, sqi=1.0))
    told = [json.loads(m.text.decode().split("\n")[2][6:]) for m in one.take(0) or []]
    assert told[0]["s"]["x"] == {"t": 1.0, "d": 0.1, "l": [0.0, None], "h": [2.0, None]}
    assert told[1]["v"]["valence"] == {"v": "high", "lo": None, "hi": None, "p": [0.2, 0.8]}


# -------------------------------------------------------------------------------------------------------------- terminal
def console(width: int = 100, encoding: str = "utf-8") -> tuple[Console, io.TextIOWrapper]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    return Console(file=file, width=width, highlight=False, markup=False, force_terminal=True, color_system=None), file


def picture(viewer: TerminalViewer, width: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(viewer.picture())
    return out.getvalue()


def test_the_terminal_shows_numbers_signals_and_what_it_is_for() -> None:
    screen, file = console()
    viewer = TerminalViewer(screen, ("page: http://127.0.0.1:1/",))
    assert picture(viewer).strip() == ""
    source, stream = Listed([*PARTS, "a remark"]), FakeStream(CHANNELS)
    stream.pending.append(Event("gap", 1.0, "lost", "ppg"))
    Watch(source, stream, [viewer], 1.0, Ticking()).run(ABOUT)
    text = picture(viewer)
    for words in (
        "Research use only",
        "sbp",
        "mmHg",
        "quality",
        "beats/min",
        "8 settled",
        "gap ppg: lost",
        "a remark",
        "Ctrl-C",
    ):
        assert words in text, words
    assert "127.0.0.1:1" in text
    assert "secret" not in text
    assert "▾" in text
    assert max(len(line) for line in text.splitlines()) == 100
    file.seek(0)
    assert "ended: 8 windows" in file.read()
    # Narrow screens lose the margin, not the numbers.
    assert "mmHg" in picture(viewer, 60)


def test_the_terminal_says_what_is_wrong() -> None:
    viewer = TerminalViewer(console(encoding="ascii")[0])
    viewer._about = About("demo", "affect", ("valence", "sbp"), {}, {"valence": ("low", "high")}, CHANNELS)
    assert "waiting for the first window" in picture(viewer)
    viewer.estimate("r", Estimate(0, 8, reason="flat"))
    assert "0.0 s: refused: flat" in picture(viewer)
    viewer.estimate(
        "r", Estimate(8, 16, values={"valence": "high", "sbp": 7.0}, shares={"valence": (0.2, 0.8)}, sqi=0.1, settled=False)
    )
    viewer.estimate("r", Estimate(0, 8, values={"valence": "low", "sbp": 6.0}, sqi=0.5))
    viewer.estimate("r", Estimate(0, 8, values={"valence": "low", "sbp": 6.0}, shares={"valence": (0.9, 0.1)}, sqi=math.nan))
    viewer.status(Status(20.0, "degraded", {"settled": 1}, {"ppg": math.nan}, behind_s=12.0, silent_s=7.0))
    viewer._traces["ppg"] = type(viewer._events)()  # type: ignore[assignment]
    text = picture(viewer)
    for words in ("degraded", "12.0 s behind", "nothing has arrived for 7.0 s", "high", "80 %", "provisional", "90 %", "##..."):
        assert words in text, words


def test_a_line_of_blocks_follows_the_signal() -> None:
    level = np.sin(np.arange(80) / 80 * 2 * np.pi).astype(np.float32)
    line = spark(np.arange(80), level, 80)
    assert (line[20], line[60]) == (BLOCKS[-1], BLOCKS[0])
    assert spark(np.arange(3), np.full(3, np.nan, np.float32), 3) == "   "
    assert spark(np.arange(3), np.full(3, 5, np.float32), 3, "ab") == "aaa"
    assert event_line(Event("late", 3.0, "ppg: dropped", "ppg")) == "3.0 s: late: ppg: dropped"
    assert event_line(Event("stretch", 3.0, "began anew")) == "3.0 s: stretch: began anew"
