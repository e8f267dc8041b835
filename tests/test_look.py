"""Laws of a look: a stretch shows what the whole would, only what is needed is read, and what is refused is named."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from biosig_mtl import cli, looking, pipeline
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.looking import View, view
from biosig_mtl.looking_facts import Facts, describe, refused_stretches, shares
from biosig_mtl.plots_recording import Panel, Stretch
from biosig_mtl.recipe import load
from biosig_mtl.signal import Bandpass
from biosig_mtl.types import (
    F64,
    Beats,
    Channel,
    ChannelInfo,
    DataError,
    Entry,
    Quality,
    RecipeError,
    Record,
    Source,
)

LENGTH_S = 300.0
BAD = [
    "empty.csv", "header_only.csv", "lfs_pointer/a103l.hea", "lfs_pointer/a103l.mat", "ppgbp_231_1_4200samples.txt",
    "truncated_in_header.edf", "truncated_mid_record.edf", "wfdb_truncated_dat/3400715.hea",
    "missing_segments_s00001/s00001-2896-10-10-00-31.hea", "missing_segments_s00001/3975656_0011.hea",
]  # fmt: skip


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cohort = Cohort(n_subjects=1, records_per_subject=1, record_s=LENGTH_S, fault_share=0)
    root = write(cohort, tmp_path_factory.mktemp("d") / "c")
    return next(root.rglob("*.hea"))


def table(path: Path, columns: dict[str, F64], fs: float = 50.0) -> Path:
    """Write a CSV; NaN is an empty cell."""
    time = np.arange(len(next(iter(columns.values())))) / fs
    rows = [
        [f"{t:.4f}", *("" if math.isnan(v) else f"{v:.5f}" for v in row)]
        for t, *row in zip(time, *columns.values(), strict=True)
    ]
    path.write_text("\n".join([",".join(["time", *columns]), *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


def pulses(seconds: float, fs: float = 50.0, rate_hz: float = 1.2) -> F64:
    phase = (np.arange(round(seconds * fs)) / fs * rate_hz) % 1
    out: F64 = 2 + np.exp(-(((phase - 0.25) / 0.1) ** 2)) + 0.3 * np.exp(-(((phase - 0.6) / 0.1) ** 2))
    return out


def inside(panel: Panel, values: Any, start: float, stop: float) -> np.ndarray[Any, Any]:
    """Return the values of the beats that a picture of this stretch shows."""
    assert panel.beats is not None
    peak_s = panel.origin_s + panel.beats.peak / panel.beats.fs
    return np.asarray(values)[(peak_s >= start) & (peak_s < stop)]


# ------------------------------------------------------------------------------------------------- the part and the whole
@pytest.mark.parametrize("recipe", [None, "demo_bp"])
@pytest.mark.parametrize("start", [0.0, 101.0, 143.7, 284.0])
def test_a_stretch_shows_the_beats_points_and_quality_of_the_whole(recording: Path, recipe: str | None, start: float) -> None:
    part = view(recording, start, 12.5, recipe=recipe, overview=False)
    whole = view(recording, 0, LENGTH_S, recipe=recipe, overview=False)
    stop = part.stage.stop_s
    assert stop == min(start + 12.5, LENGTH_S)
    for a, b in zip(part.stage.panels, whole.stage.panels, strict=True):
        assert a.beats is not None
        assert b.beats is not None
        assert a.quality is not None
        assert b.quality is not None
        assert len(inside(a, a.beats.peak, start, stop)) > 5
        for one in ("peak", "onset"):
            at_a, at_b = (np.asarray(getattr(p.beats, one)) + round(p.origin_s * p.beats.fs) for p in (a, b) if p.beats)
            np.testing.assert_array_equal(inside(a, at_a, start, stop), inside(b, at_b, start, stop))
        for one in ("mark", "polarity", "confirmed", "quality"):
            mine, theirs = getattr(a.beats, one), getattr(b.beats, one)
            np.testing.assert_array_equal(inside(a, mine, start, stop), inside(b, theirs, start, stop))
        for name, points in a.beats.points.items():
            shift = a.origin_s * a.beats.fs
            np.testing.assert_array_equal(
                inside(a, points + shift, start, stop), inside(b, b.beats.points[name], start, stop), err_msg=name
            )
        lead, first, last = round(a.origin_s), math.floor(start), math.floor(stop)
        np.testing.assert_array_equal(a.quality.sqi[first - lead : last - lead], b.quality.sqi[first:last])


@dataclass(frozen=True)
class Spy:
    """A source that notes what is read of it."""

    source: Source
    spans: list[tuple[float, float | None]] = field(default_factory=list)

    @property
    def channels(self) -> Any:
        return self.source.channels

    @property
    def duration_s(self) -> float:
        return self.source.duration_s

    def read(self, start_s: float = 0.0, stop_s: float | None = None) -> Record:
        self.spans.append((start_s, stop_s))
        return self.source.read(start_s, stop_s)


def test_only_the_stretch_and_its_context_are_read(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spies: list[Spy] = []

    def spied(entry: Entry) -> Source:
        spies.append(Spy(open_source(entry)))
        return spies[-1]

    monkeypatch.setattr(looking, "open_source", spied)
    reach = looking.default_plan(open_source(entry_for(recording)).channels).reach_s
    view(recording, 150, 10, overview=False)
    assert spies[0].spans == [(max(0, 150 - reach), 160 + reach)]


def test_the_overview_is_the_quality_of_the_whole_piece_by_piece(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = view(recording, 0, LENGTH_S, overview=False)
    monkeypatch.setattr(looking, "PIECE_S", 70.0)
    seen = view(recording, 100, 10)
    assert list(seen.stage.overview) == ["ppg", "ecg", "abp"]
    for panel in whole.stage.panels:
        assert panel.quality is not None
        np.testing.assert_array_equal(seen.stage.overview[panel.channel.name], panel.quality.sqi)


def test_the_overview_comes_for_short_recordings_or_when_asked(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not view(recording, 0, LENGTH_S).stage.overview  # all of it is drawn
    assert not view(recording, 10, 10, overview=False).stage.overview
    monkeypatch.setattr(looking, "OVERVIEW_S", 100.0)
    assert not view(recording, 10, 10).stage.overview
    assert view(recording, 10, 10, overview=True).stage.overview


def test_windows_of_a_recipe_are_those_of_its_preparation(recording: Path) -> None:
    made = pipeline.preparation(load("demo_bp"))
    record = open_source(entry_for(recording)).read()
    # A stretch that lies still is refused, with the recipe's own words.
    samples = record.channel("ppg").samples.copy()
    samples[125 * 100 : 125 * 112] = samples[125 * 100]
    broken = record.with_channel(replace(record.channel("ppg"), samples=samples))
    _, cut, _ = made.apply(broken)
    path = table(recording.with_name("broken.csv"), {n: c.samples.astype(float) for n, c in broken.channels.items()}, 125.0)
    seen = view(path, 90, 40, recipe="demo_bp")
    shown = {s.start_s: s.reason for s in seen.stage.windows}
    assert all(s.stop_s - s.start_s == 8 for s in seen.stage.windows)
    expected = {float(t): "" for t in cut.onset_s} | {r.onset_s: r.reason for r in cut.rejected}
    assert shown == {t: why for t, why in expected.items() if 82 < t < 130}
    assert "flat ppg" in shown.values()
    assert any("windows of recipe demo_bp:" in line and "flat ppg" in line for line in seen.lines())
    assert all(one.rejected is None for one in seen.facts)


# ------------------------------------------------------------------------------------------------------- what is drawn
def test_a_look_begins_where_a_signal_begins(tmp_path: Path) -> None:
    signal = np.concatenate([np.full(50 * 70, np.nan), np.full(50 * 65, 1.0), pulses(60)])
    seen = view(table(tmp_path / "late.csv", {"ppg": signal}))
    assert (seen.stage.start_s, seen.stage.stop_s) == (135.0, 155.0)
    assert seen.lines()[0] == "late: 135–155 s of 195 s"


def test_a_short_recording_is_drawn_whole_and_a_dead_one_from_its_start(tmp_path: Path) -> None:
    short = view(table(tmp_path / "short.csv", {"ppg": np.concatenate([np.full(200, np.nan), pulses(6)])}))
    assert (short.stage.start_s, short.stage.stop_s) == (0.0, 10.0)
    dead = view(table(tmp_path / "dead.csv", {"ppg": np.full(5000, np.nan), "resp": np.full(5000, 1.0)}))
    assert (dead.stage.start_s, dead.stage.stop_s) == (0.0, 20.0)
    ppg, resp = dead.facts
    assert (ppg.beats, ppg.rejected, resp.beats) == (0, {"missing": 1.0}, None)


def test_channels_of_other_kinds_are_drawn_plainly_and_slow_ones_with_a_note(tmp_path: Path) -> None:
    slow = table(tmp_path / "slow.csv", {"ppg": pulses(40, 10), "EDA": pulses(40, 10), "resp": pulses(40, 10)}, 10.0)
    seen = view(slow)
    assert [(p.channel.name, p.beats, p.quality) for p in seen.stage.panels] == [
        (n, None, None) for n in ("ppg", "eda", "resp")
    ]
    assert len([line for line in seen.lines() if "no beats are looked for" in line and "10 Hz" in line]) == 1
    assert not seen.stage.overview
    looking.write(seen, tmp_path / "slow.png")


@pytest.mark.parametrize("fs", [25.0, 64.0, 1000.0])
def test_the_band_follows_the_rate(fs: float) -> None:
    plan = looking.default_plan({"ppg": ChannelInfo("ppg", "ppg", "", fs), "ecg": ChannelInfo("ecg", "ecg", "", fs)})
    bands = [step for step in plan.steps if isinstance(step, Bandpass)]
    assert [b.high_hz for b in bands] == [min(12, 0.4 * fs), min(40, 0.4 * fs)]
    # Steps of one kind stand together: they share their context.
    kinds = [type(step) for step in plan.steps]
    assert len(list(dict.fromkeys(kinds))) == 1 + sum(a is not b for a, b in pairwise(kinds))


def test_a_channel_may_have_the_name_of_a_filtered_one(tmp_path: Path) -> None:
    seen = view(table(tmp_path / "two.csv", {"a": pulses(30), "b": pulses(30)}), channels={"ppg": "a", "ppg filtered": ["b"]})
    assert [one.name for one in seen.facts] == ["ppg", "ppg filtered"]
    assert all(one.beats == seen.facts[0].beats and one.beats for one in seen.facts)


def test_of_very_many_channels_the_first_are_drawn(tmp_path: Path) -> None:
    seen = view(table(tmp_path / "many.csv", {f"x{i}": np.arange(100.0) for i in range(40)}))
    assert len(seen.stage.panels) == 32
    assert any("8 more channels are not drawn" in note for note in seen.stage.notes)


# ---------------------------------------------------------------------------------------------------------- what is told
def judged(samples: F64, fs: float, start_s: float = 0.0) -> tuple[Stretch, ...]:
    channel = Channel("ppg", "ppg", "NU", fs, samples.astype(np.float32))
    raw = Record("r", "r", "1", {"ppg": channel}, start_s=start_s)
    record = raw
    for step in looking.default_plan({"ppg": ChannelInfo("ppg", "ppg", "NU", fs)}).steps:
        record = step(record)
    return refused_stretches(channel, raw, record, (start_s, start_s + samples.size / fs))


def test_faults_are_named_where_they_are() -> None:
    fs = 100.0
    signal = pulses(60, fs)
    signal[1000:1537] = np.nan
    signal[3000:3500] = signal[3000]
    found = judged(signal, fs, 7.0)
    missing = [s for s in found if s.reason == "missing"]
    assert [(s.start_s, s.stop_s) for s in missing] == [(17.0, 22.37)]
    flat = [s for s in found if s.reason == "flat"]
    assert min(s.start_s for s in flat) <= 38
    assert max(s.stop_s for s in flat) >= 41
    assert all(a.stop_s <= b.start_s for a, b in pairwise(found))
    assert 5.3 / 60 < shares(found, (7.0, 67.0))["missing"] < 5.4 / 60


def test_a_clean_signal_has_nothing_refused_and_an_empty_one_nothing_to_refuse() -> None:
    assert [s for s in judged(pulses(30, 100.0), 100.0) if s.reason in {"missing", "flat", "saturated"}] == []
    assert judged(np.empty(0), 100.0) == ()
    assert judged(np.ones(1), 100.0) == ()
    assert [s.reason for s in judged(np.full(7, np.nan), 100.0)] == ["missing"]


def test_shares_count_overlapping_stretches_once_and_cut_at_the_edges() -> None:
    found = [Stretch(0, 8, "a"), Stretch(4, 12, "a"), Stretch(2, 3, "b"), Stretch(30, 40, "c")]
    assert shares(found, (2, 22)) == {"a": 0.5, "b": 0.05}


def test_facts_of_a_channel_are_told_in_one_line() -> None:
    at = np.arange(0, 1000, 100, dtype=np.int64)
    end = np.append(at[1:], -1)
    beats = Beats("ecg", 100.0, at, at, end, np.ones(10, np.float32), polarity=np.full(10, -1, np.int8))
    channel = Channel("ecg", "ecg", "mV", 250.0, np.zeros(2500, np.float32), "MLII")
    track = Quality("ecg", 1.0, np.linspace(0, 1, 10, dtype=np.float32))
    facts = describe(channel, 5.0, beats, track, [Stretch(5, 6, "flat"), Stretch(6, 6.01, "missing")], (5.0, 10.0))
    assert facts.line() == (
        "MLII, 250 Hz, in mV, 5 beats (60 per minute), quality 0.22, reversed (points down), rejected 20 % flat; < 1 % missing"
    )
    plain = Facts("eda", "", "", 4.0, None, math.nan, math.nan)
    assert plain.line() == "4 Hz"


# --------------------------------------------------------------------------------------------------------------- wrong words
@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        ({"start_s": -1}, RecipeError, "start: need a time from 0 on"),
        ({"start_s": math.nan}, RecipeError, "start: need a time"),
        ({"length_s": 0}, RecipeError, "length: need a length above 0"),
        ({"start_s": 300}, DataError, r"is 300 s long, there is nothing from 300 s on"),
        ({"channels": {"ppg": "Finger"}}, DataError, "none of the channels looked for"),
        ({"recipe": "demo_pb"}, RecipeError, "did you mean 'demo_bp'"),
        ({"recipe": "demo_bp", "channels": {"ecg": "II"}}, DataError, r"recipe demo_bp: .*missing channel 'ppg'; it has ecg"),
    ],
)
def test_wrong_words_are_one_line(recording: Path, words: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as error:
        view(recording, **words)
    assert "\n" not in str(error.value)


def test_a_rate_is_for_tables_only(recording: Path) -> None:
    with pytest.raises(RecipeError, match="fs_hz is for tables"):
        view(entry_for(recording, options={"fs_hz": 100.0}))


def test_a_recipe_without_its_reference_still_shows_its_windows(tmp_path: Path) -> None:
    path = table(tmp_path / "no_abp.csv", {"ppg": pulses(40), "ecg": pulses(40)})
    seen = view(path, recipe="demo_bp")
    assert seen.stage.windows
    assert not [s for s in seen.stage.windows if "reference" in s.reason or "label" in s.reason]
    short = view(table(tmp_path / "short.csv", {"ppg": pulses(5), "ecg": pulses(5)}), recipe="demo_bp")
    assert any("no window of recipe demo_bp fits" in note for note in short.stage.notes)


# ------------------------------------------------------------------------------------------------------------------ files
@pytest.fixture(scope="module")
def seen(recording: Path) -> View:
    return view(recording, 10, 6)


def test_a_picture_is_the_same_twice_and_of_the_size_that_was_meant(seen: View, tmp_path: Path) -> None:
    one, two = (looking.write(seen, tmp_path / n / "a.png").read_bytes() for n in ("1", "2"))
    assert one == two
    assert one.startswith(b"\x89PNG")
    assert int.from_bytes(one[16:20], "big") == 1210
    assert len(one) < 500_000
    assert [p.name for p in (tmp_path / "1").iterdir()] == ["a.png"]


def test_a_page_is_self_contained_and_has_the_facts(seen: View, tmp_path: Path) -> None:
    page = looking.write(seen, tmp_path / "a.html").read_text(encoding="utf-8")
    assert page == looking.write(seen, tmp_path / "b.html").read_text(encoding="utf-8")
    drawing = ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])  # our own text
    assert drawing.get("viewBox")
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "<script" not in page
    assert "url(http" not in page
    for one in seen.facts:
        assert f"<th>{one.name}</th>" in page
    assert seen.stage.title in page


def test_names_from_a_file_are_escaped(tmp_path: Path) -> None:
    path = table(tmp_path / "odd.csv", {"<script>x</script>": pulses(8), "$a_b$": pulses(8)})
    page = looking.write(view(path), tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;x" in page


def test_other_suffixes_and_places_that_cannot_be_written_are_one_line(seen: View, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"a\.pdf: a look is written as \.png or \.html"):
        looking.write(seen, tmp_path / "a.pdf")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        looking.write(seen, tmp_path / "file" / "a.png")


def test_nothing_is_put_beside_the_data_unasked(
    recording: Path, seen: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert looking.place_for(recording, seen) == Path(f"{recording.stem}.png")
    monkeypatch.chdir(recording.parent)
    with pytest.raises(RecipeError, match="--out"):
        looking.place_for(Path(recording.name), seen)


def test_a_notebook_shows_the_figure_by_itself(recording: Path) -> None:
    import biosig_mtl

    figure: Any = biosig_mtl.look(recording, 10, 6)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert "10–16 s of 300 s" in figure.texts[0].get_text()


# -------------------------------------------------------------------------------------------------------- real recordings
def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int | str | None, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(word) for word in words])
    out, err = capsys.readouterr()
    return stop.value.code, out, err


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line_or_a_picture_and_a_note(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / "a.png"
    code, told, err = call(capsys, "look", data_root / "bad" / name, "--out", out)
    assert "Traceback" not in told + err
    if code == 0:
        assert "note: " in told
        assert out.stat().st_size > 10_000
    else:
        assert code == 3
        assert err.startswith("biosig-mtl: ")
        assert err.count("\n") == 1
        assert not out.exists()


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        ("annotated/100.hea", ["--no-overview"], "ecg: MLII, 360 Hz, in mV"),
        ("annotated/bidmc_01_Signals.csv", ["--length", "8", "--recipe", "uci_bp"], "windows of recipe uci_bp"),
        ("bp/mimic3_atm/3400086.hea", ["--start", "0", "--length", "60"], "flat"),
        ("peers/heartpy/data.csv", ["--fs-hz", "100", "--channel", "ppg=column_1"], "ppg: column_1, 100 Hz"),
        ("readers/edf_bdf/test_uneven_samp.edf", [], "12.8 Hz"),
    ],
)
def test_real_recordings_are_drawn(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: list[str], expected: str
) -> None:
    code, told, err = call(capsys, "look", data_root / name, "--out", tmp_path / "a.html", *words)
    assert (code, err) == (0, "")
    assert expected in told
    assert (tmp_path / "a.html").stat().st_size < 1_500_000


def test_a_stretch_of_a_real_recording_shows_the_beats_of_the_whole(data_root: Path) -> None:
    path = data_root / "annotated" / "105.hea"
    part, whole = view(path, 1220.3, 15, overview=False), view(path, 0, 1805, overview=False)
    a, b = part.stage.panels[0], whole.stage.panels[0]
    assert a.beats is not None
    assert b.beats is not None
    shift = round(a.origin_s * a.beats.fs)
    np.testing.assert_array_equal(inside(a, a.beats.peak + shift, 1220.3, 1235.3), inside(b, b.beats.peak, 1220.3, 1235.3))
