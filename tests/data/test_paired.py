"""One record out of several files of one session, each with its own clock."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biosig_mtl.data import manifest
from biosig_mtl.data.listing import Listing
from biosig_mtl.data.readers import open_source
from biosig_mtl.types import DataError, Entry, RecipeError
from tests.data.affect import writers_a, writers_b

EEG_S, E4_S = 40, 60
MANIFEST = """
name: own
title: x
version: "1"
licence: x
citation: x
access: {kind: registration}
format: paired
options:
  index: trials.csv
  parts:
    - {column: eeg, format: edf}
    - {column: e4, format: e4, offset: offset_s}
  labels: {valence: 1..9, arousal: 1..9}
channels:
  AF3: {names: [AF3], unit: uV, fs_hz: 128}
  ppg: {names: [BVP], unit: NU, fs_hz: 64}
  eda: {names: [EDA], unit: uS, fs_hz: 4}
subject_level: person
timing_reliable: true
timing_reason: x
"""
HEAD = "record,subject,stimulus,eeg,e4,offset_s,start_s,stop_s,rest_s,valence,arousal"


def cohort(root: Path, rows: list[str], more: str = "") -> Listing:
    """Write one session whose EEG tells its own sample numbers, and an index; list it."""
    if not (root / "P1").is_dir():
        (root / "P1").mkdir()
        writers_a.bdf(root / "P1" / "eeg.bdf", {"AF3": np.arange(EEG_S * 128), "GSR1": np.arange(EEG_S * 128)}, 128)
        writers_b.zipped(root / "P1" / "e4.zip", writers_b.e4_texts(streams()))
    (root / "trials.csv").write_text("\n".join([HEAD, *rows]) + "\n", encoding="utf-8")
    (root / "own.yaml").write_text(MANIFEST.replace("  index:", f"{more}  index:"), encoding="utf-8")
    return manifest.entries(manifest.load(root / "own.yaml"), root)


def row(record: str = "P1/1", offset: float = -12.0, clip: str = "10,20,4", e4: str = "P1/e4.zip") -> str:
    return f"{record},P1,film,P1/eeg.bdf,{e4},{offset},{clip},7,3"


def numbers(samples: Any) -> Any:
    """Return the sample numbers that the EEG was written with."""
    return np.rint(samples * 16777215 / 524288 - 0.5).astype(int)


def streams() -> dict[str, Any]:
    """Return the streams of the wristband: no two samples are alike."""
    return {"BVP": np.arange(64 * E4_S) / 100, "EDA": (1 + np.arange(4 * E4_S)) / 1000}


def test_a_trial_is_cut_on_both_clocks_with_its_rest_in_front(tmp_path: Path) -> None:
    entry = cohort(tmp_path, [row()]).entries[0]
    assert [(x.name, x.value, x.unit) for x in entry.labels] == [("valence", 7, "1..9"), ("arousal", 3, "1..9")]
    record = open_source(entry).read()
    assert (record.stimulus, record.subject, record.duration_s, record.baseline_s) == ("film", "P1", 14.0, (0.0, 4.0))
    first = numbers(record.channel("AF3").samples)
    assert first.tolist() == list(range(first[0], first[0] + 14 * 128))
    assert abs(first[0] - 6 * 128) <= 1
    # The wristband was switched on 12 s before the EEG: second 6 of the EEG is its second 18.
    np.testing.assert_allclose(record.channel("ppg").samples, streams()["BVP"][18 * 64 : 32 * 64], rtol=1e-6)
    np.testing.assert_allclose(record.channel("eda").samples, streams()["EDA"][18 * 4 : 32 * 4], rtol=1e-6)
    assert {n: c.fs for n, c in record.channels.items()} == {"AF3": 128.0, "ppg": 64.0, "eda": 4.0}


def test_a_clip_begins_between_whole_seconds(tmp_path: Path) -> None:
    record = open_source(cohort(tmp_path, [row(offset=-12.25, clip="10.5,20.75,0")]).entries[0]).read()
    assert abs(numbers(record.channel("AF3").samples)[0] - 10.5 * 128) <= 1
    at = int((10.5 + 12.25) * 64)
    np.testing.assert_allclose(record.channel("ppg").samples[:640], streams()["BVP"][at : at + 640], rtol=1e-6)
    assert record.baseline_s is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(offset=st.floats(-50, 30), cuts=st.lists(st.floats(0, 41), min_size=1, max_size=3))
def test_parts_that_meet_are_the_whole(offset: float, cuts: list[float], tmp_path: Path) -> None:
    source = open_source(cohort(tmp_path, [row(offset=offset, clip=",,")]).entries[0])
    parts = [source.read(a, b) for a, b in pairwise([0.0, *sorted(cuts), 99.0])]
    for name, channel in source.read().channels.items():
        np.testing.assert_array_equal(np.concatenate([p.channels[name].samples for p in parts]), channel.samples)


@given(offset=st.floats(-50, 30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
def test_every_channel_lies_within_half_a_sample(offset: float, tmp_path: Path) -> None:
    record = open_source(cohort(tmp_path, [row(offset=offset, clip=",,")]).entries[0]).read()
    for name, stream in (("ppg", "BVP"), ("eda", "EDA")):
        channel, values = record.channels[name], streams()[stream].astype(np.float32)
        there = np.flatnonzero(~np.isnan(channel.samples))
        if not there.size:
            assert offset > EEG_S - 1 or offset < 1 - E4_S
            continue
        lag = there[0] / channel.fs - offset
        first = int(np.flatnonzero(values == channel.samples[there[0]])[0])
        assert abs(lag - first / channel.fs) <= 0.5 / channel.fs + 1e-6
        np.testing.assert_array_equal(channel.samples[there], values[first : first + there.size])


@pytest.mark.parametrize(("span", "length"), [("first", 40.0), ("common", 40.0), ("union", 60.0)])
def test_how_long_a_session_lasts(span: str, length: float, tmp_path: Path) -> None:
    record = open_source(cohort(tmp_path, [row(clip=",,")], f"  span: {span}\n").entries[0]).read()
    assert record.duration_s == length
    lead = 12 if span == "union" else 0
    eeg = record.channel("AF3").samples
    assert np.isnan(eeg[: lead * 128]).all()
    assert abs(numbers(eeg[lead * 128 : lead * 128 + 1])[0]) <= 1
    late = open_source(cohort(tmp_path, [row(offset=10, clip=",,")], f"  span: {span}\n").entries[0]).read()
    assert late.duration_s == {"first": 40.0, "common": 30.0, "union": 70.0}[span]


def test_a_session_without_the_second_file_is_read_without_it(tmp_path: Path) -> None:
    entry = cohort(tmp_path, [row(e4="")]).entries[0]
    assert set(open_source(entry).read().channels) == {"AF3"}


def test_the_first_file_with_a_name_has_it_and_parts_may_be_told_what_to_bring(tmp_path: Path) -> None:
    listing = cohort(tmp_path, [row()])
    both = {"AF3": ("AF3",), "eda": ("GSR1", "EDA")}
    entry = listing.entries[0]
    made = Entry(**{f: getattr(entry, f) for f in entry.__slots__} | {"channels": both})
    assert open_source(made).read().channel("eda").source_name == "GSR1"
    parts = [dict(part) for part in entry.options["parts"]]
    parts[0]["channels"] = ["AF3"]
    made = Entry(**{f: getattr(made, f) for f in made.__slots__} | {"options": {**entry.options, "parts": parts}})
    assert open_source(made).read().channel("eda").source_name == "EDA"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (row(e4="P1/none.zip"), "line 2: P1/none.zip is missing"),
        (row(e4="../e4.zip"), r"line 2: '\.\./e4\.zip' leads out of the folder"),
        (row(e4="/etc/passwd"), "leads out of the folder"),
        (row(clip="ten,20,4"), "'ten' in column 'start_s' is no number"),
        (row(offset=float("inf")), "'inf' in column 'offset_s' is no number"),
        (row().replace(",7,3", ",70,3"), "valence is '70'; its scale is 1 to 9"),
        (row().replace(",7,3", ",nan,3"), "valence is 'nan'"),
    ],
)
def test_a_wrong_row_is_told_and_the_others_are_kept(line: str, says: str, tmp_path: Path) -> None:
    listing = cohort(tmp_path, [line, row("P1/2")])
    assert [e.record for e in listing.entries] == ["P1/2"]
    assert [r.record for r in listing.rejected] == ["P1/1"]
    assert re.search(says, listing.rejected[0].reason)


@pytest.mark.parametrize("clip", ["50,60,0", "20,20,0", "-5,3,0"])
def test_a_clip_outside_of_the_recording_is_refused(clip: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"eeg\.bdf: P1/1: .* s is no part of the recording"):
        open_source(cohort(tmp_path, [row(clip=clip)]).entries[0])


def test_files_without_common_time_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no time in common"):
        open_source(cohort(tmp_path, [row(offset=500, clip=",,")], "  span: common\n").entries[0])


def test_a_recording_that_ends_early_is_told(tmp_path: Path) -> None:
    record = open_source(cohort(tmp_path, [row(clip="30,50,0")]).entries[0]).read()
    assert record.duration_s == 10
    assert "P1/1: the recording ends 10.0 s before the stimulus" in record.notes


@pytest.mark.parametrize(
    ("more", "says"),
    [("  span: longest\n", "span"), ("  labels_: {}\n", None), ("  demographics: 3\n", "demographics")],
)
def test_wrong_options_are_refused(more: str, says: str | None, tmp_path: Path) -> None:
    if says is None:
        # Words that are not of the index belong to others (the pass band, say).
        assert len(cohort(tmp_path, [row()], more)) == 1
        return
    with pytest.raises(RecipeError, match=says):
        cohort(tmp_path, [row()], more)


def test_the_facts_of_a_record_do_not_name_its_folder(tmp_path: Path) -> None:
    entry = cohort(tmp_path, [row()]).entries[0]
    assert str(tmp_path) not in str(dict(entry.options))
    assert [part["path"] for part in entry.options["parts"]] == ["eeg.bdf", "../P1/e4.zip"]
    assert all(part["bytes"] > 0 for part in entry.options["parts"])
