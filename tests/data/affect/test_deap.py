"""DEAP: the preprocessed pickles and the original BDF files give the same trials, channels and ratings."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl.data.affect import deap
from biosig_mtl.data.affect.deap_bdf import video_starts
from biosig_mtl.data.readers import open_source
from biosig_mtl.types import DataError
from tests.data.affect import writers_a as writers
from tests.data.affect.reading import assert_parts_join, labels, listed


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deap, "TRIALS", 3)
    monkeypatch.setattr(deap, "SAMPLES", 640)


# ---------------------------------------------------------------------------------------------------------------- .dat
def test_a_file_of_true_size_is_read_trial_by_trial(tmp_path: Path) -> None:
    data = writers.deap(tmp_path / "s01.dat")
    assert 103_000_000 < (tmp_path / "s01.dat").stat().st_size < 104_000_000
    found, rejected = listed("deap", tmp_path)
    assert (len(found), rejected) == (40, {})
    record = open_source(found["s01/02"]).read()
    assert (record.subject, record.stimulus, record.baseline_s, record.duration_s) == ("s01", "2", (0.0, 3.0), 63.0)
    assert len(record.channels) == 40
    for number, name in enumerate(deap.ELECTRODES):
        channel = record.channel(name)
        assert (channel.kind, channel.unit, channel.fs, channel.source_name) == ("eeg", "uV", 128, name)
        np.testing.assert_array_equal(channel.samples, data[1, number].astype(np.float32))
    kinds = {name: c.kind for name, c in record.channels.items() if c.kind != "eeg"}
    assert kinds == {
        "eog_h": "eog",
        "eog_v": "eog",
        "emg_zygo": "emg",
        "emg_trap": "emg",
        "eda": "eda",
        "resp": "resp",
        "ppg": "ppg",
        "temp": "temp",
    }
    np.testing.assert_array_equal(record.channel("ppg").samples, data[1, 38].astype(np.float32))
    np.testing.assert_array_equal(record.channel("temp").samples, data[1, 39].astype(np.float32))
    np.testing.assert_allclose(record.channel("eda").samples, 1e6 / data[1, 36], rtol=1e-6)
    assert record.channel("eda").unit == "uS"


@pytest.mark.usefixtures("small")
def test_the_order_of_ratings_is_valence_arousal_dominance_liking(tmp_path: Path) -> None:
    writers.deap(tmp_path / "s01.dat", 3, 640)
    found, _ = listed("deap", tmp_path)
    assert labels(found["s01/01"]) == {"valence": 7.71, "arousal": 7.6, "dominance": 6.9, "liking": 7.83}
    assert [(label.unit, label.source) for label in found["s01/01"].labels[:2]] == [("1..9", "self")] * 2
    swapped = writers.deap_scores(3)[:, [1, 0, 2, 3]]
    writers.deap(tmp_path / "s01.dat", 3, 640, swapped)
    assert labels(listed("deap", tmp_path)[0]["s01/01"])["valence"] != 7.71


@pytest.mark.usefixtures("small")
def test_parts_join_to_the_whole(tmp_path: Path) -> None:
    writers.deap(tmp_path / "s01.dat", 3, 640)
    assert_parts_join(listed("deap", tmp_path)[0]["s01/03"], 1.5, 4)


@pytest.mark.usefixtures("small")
def test_resistance_that_is_none_is_no_conductance(tmp_path: Path) -> None:
    content = {"labels": writers.deap_scores(3), "data": np.ones((3, 40, 640))}
    content["data"][0, 36, :3] = [0.0, -5.0, 2e6]
    (tmp_path / "s01.dat").write_bytes(writers.Python2().dump(content))
    eda = open_source(listed("deap", tmp_path)[0]["s01/01"]).read(0, 1).channel("eda").samples
    np.testing.assert_array_equal(eda[:3], np.array([np.nan, np.nan, 0.5], np.float32))


@pytest.mark.parametrize(("value", "said"), [(12.0, "'12.0'"), (np.nan, "'nan'"), (0.0, "'0.0'"), (np.inf, "'inf'")])
@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.usefixtures("small")
def test_ratings_off_the_scale_are_named(tmp_path: Path, column: int, value: float, said: str) -> None:
    scores = writers.deap_scores(3)
    scores[1, column] = value
    writers.deap(tmp_path / "s07.dat", 3, 640, scores)
    found, rejected = listed("deap", tmp_path)
    assert list(found) == ["s07/01", "s07/03"]
    name = ("valence", "arousal")[column]
    assert rejected == {"s07/02": f"{tmp_path / 's07.dat'}, trial 2: {name} is {said}; its scale is 1 to 9"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"labels": np.ones((3, 4)), "data": np.ones((3, 32, 640))},
            r"data: need an array of shape \(3, 40, 640\)",
        ),
        (
            {"labels": np.ones((3, 3)), "data": np.ones((3, 40, 640))},
            r"labels: need .* found \(3, 3\)",
        ),
        ({"data": np.ones((3, 40, 640))}, "missing 'labels'; it has data"),
        ({"labels": "1234", "data": "x"}, "data: need an array of shape .* found str"),
    ],
)
@pytest.mark.usefixtures("small")
def test_files_of_another_shape_are_named(tmp_path: Path, content: dict[str, Any], said: str) -> None:
    (tmp_path / "s01.dat").write_bytes(writers.Python2().dump(content))
    writers.deap(tmp_path / "s02.dat", 3, 640)
    found, rejected = listed("deap", tmp_path)
    assert len(found) == 3
    assert list(rejected) == ["s01"]
    assert re.search(said, rejected["s01"])
    assert rejected["s01"].startswith(str(tmp_path / "s01.dat"))


@pytest.mark.usefixtures("small")
def test_a_file_that_is_cut_off_or_hostile_costs_one_line(tmp_path: Path) -> None:
    writers.deap(tmp_path / "s01.dat", 3, 640)
    raw = (tmp_path / "s01.dat").read_bytes()
    (tmp_path / "s01.dat").write_bytes(raw[: len(raw) // 2])
    (tmp_path / "s02.dat").write_bytes(b"cposix\nsystem\n(S'true'\ntR.")
    found, rejected = listed("deap", tmp_path)
    assert found == {}
    assert "refused as a pickle" in rejected["s01"]
    assert "blocked 'posix.system'" in rejected["s02"]


@pytest.mark.usefixtures("small")
def test_a_trial_that_is_not_there_is_refused(tmp_path: Path) -> None:
    writers.deap(tmp_path / "s01.dat", 3, 640)
    entry = listed("deap", tmp_path)[0]["s01/01"]
    for trial, said in ((3, "no trial 4; it has 3"), (-1, "whole number"), ("x", "whole number")):
        with pytest.raises(DataError, match=said):
            open_source(replace(entry, options={"trial": trial}))


# ---------------------------------------------------------------------------------------------------------------- .bdf
FS = 64
TWENTE = (
    *("Fp1", "AF3", "F7", "F3", "FC1", "FC5", "T7", "C3", "CP1", "CP5", "P7", "P3", "Pz", "PO3", "O1", "Oz"),
    *("O2", "PO4", "P4", "P8", "CP6", "CP2", "C4", "T8", "FC6", "FC2", "F4", "F8", "AF4", "Fp2", "Fz", "Cz"),
)
OTHERS = (*(f"EXG{n}" for n in range(1, 9)), "GSR1", "GSR2", "Erg1", "Erg2", "Resp", "Plet", "Temp")
STARTS = (7, 75, 143)


def write_bdf(path: Path, base: int, electrodes: tuple[str, ...], starts: tuple[int, ...] = STARTS) -> dict[str, Any]:
    seconds = 210
    rng = np.random.default_rng(1)
    signals: dict[str, Any] = {name: rng.integers(-(2**20), 2**20, seconds * FS) for name in (*electrodes, *OTHERS)}
    signals["GSR1"] = 32 * 2000 + rng.integers(0, 999, seconds * FS)
    status = np.full(seconds * FS, base)
    for start in starts:
        status[(start - 5) * FS : start * FS] = base + 3
        status[start * FS : start * FS + 20] = base + 4
        status[(start + 60) * FS : (start + 60) * FS + 10] = base + 5
    signals["Status"] = status
    writers.bdf(path, signals, FS)
    return signals


def write_table(root: Path, subject: int, videos: tuple[int, ...]) -> None:
    """Write rows as the set has them: sorted by participant and *presentation*."""
    with (root / "participant_ratings.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        heading = "Participant_id,Trial,Experiment_id,Start_time,Valence,Arousal,Dominance,Liking,Familiarity"
        rows.writerow(heading.split(","))
        for trial, video in enumerate(videos, 1):
            rows.writerow([subject, trial, video, 1695918, round(video / 5, 2), 9 - video / 5, 5, 6, 4])


@pytest.mark.parametrize("base", [0, 0x18FF00, 0x58FF00])
def test_videos_start_where_the_low_byte_is_four(tmp_path: Path, base: int) -> None:
    write_bdf(tmp_path / "s01.bdf", base, TWENTE)
    starts, fs = video_starts(tmp_path / "s01.bdf")
    assert (starts.tolist(), fs) == ([s * FS for s in STARTS], FS)
    mne = pytest.importorskip("mne")
    raw = mne.io.read_raw_bdf(tmp_path / "s01.bdf", verbose="error")
    events = mne.find_events(raw, "Status", mask=0xFF, mask_type="and", consecutive=True, verbose="error")
    assert events[events[:, 2] == 4][:, 0].tolist() == starts.tolist()


@pytest.mark.parametrize(("subject", "order"), [("s01", TWENTE), ("s23", deap.ELECTRODES)])
def test_channels_are_taken_by_name_and_videos_by_the_table(tmp_path: Path, subject: str, order: tuple[str, ...]) -> None:
    """The second video that was shown is video 31 of the set: its ratings, its record, its stimulus."""
    signals = write_bdf(tmp_path / f"{subject}.bdf", 0x18FF00, order)
    write_table(tmp_path, int(subject[1:]), (18, 31, 7))
    found, rejected = listed("deap_bdf", tmp_path)
    assert (list(found), rejected) == ([f"{subject}/07", f"{subject}/18", f"{subject}/31"], {})
    entry = found[f"{subject}/31"]
    assert (entry.stimulus, labels(entry)["valence"], labels(entry)["arousal"]) == ("31", 6.2, 2.8)
    record = open_source(entry).read()
    assert (record.baseline_s, record.duration_s, record.start_s) == ((0.0, 5.0), 65.0, 0.0)
    part = slice((STARTS[1] - 5) * FS, (STARTS[1] + 60) * FS)
    for name in order:
        np.testing.assert_allclose(record.channel(name).samples, signals[name][part] / 32, atol=0.02)
    np.testing.assert_allclose(record.channel("eog_h").samples, (signals["EXG1"] - signals["EXG2"])[part] / 32, atol=0.05)
    np.testing.assert_allclose(record.channel("emg_trap").samples, (signals["EXG7"] - signals["EXG8"])[part] / 32, atol=0.05)
    raw = signals["GSR1"][part] / 32
    expected = raw / 1000 if subject == "s01" else 1e6 / raw
    np.testing.assert_allclose(record.channel("eda").samples, expected, rtol=1e-4)
    assert [record.channel(n).kind for n in ("eog_h", "emg_trap", "eda", "ppg", "Oz")] == ["eog", "emg", "eda", "ppg", "eeg"]


def test_parts_of_a_video_join_to_the_whole(tmp_path: Path) -> None:
    write_bdf(tmp_path / "s01.bdf", 0, TWENTE)
    write_table(tmp_path, 1, (12, 11, 13))
    assert_parts_join(listed("deap_bdf", tmp_path)[0]["s01/11"], 7.25, 40)


def test_marks_that_do_not_fit_the_table_are_told(tmp_path: Path) -> None:
    write_bdf(tmp_path / "s01.bdf", 0, TWENTE)
    assert "no ratings: participant_ratings.csv is missing" in listed("deap_bdf", tmp_path)[1]["s01"]
    write_table(tmp_path, 1, (2, 1))
    assert "marks 3 videos, but participant_ratings.csv has 2 rows" in listed("deap_bdf", tmp_path)[1]["s01"]
    write_table(tmp_path, 2, (2, 1, 3))
    assert "has 0 rows of its subject" in listed("deap_bdf", tmp_path)[1]["s01"]
    write_table(tmp_path, 1, (2, 1, 50))
    assert "s01.bdf" not in listed("deap_bdf", tmp_path)[1]["s01/50"]
    assert "line 4: valence is '10.0'" in listed("deap_bdf", tmp_path)[1]["s01/50"]


def test_a_recording_that_ends_within_a_video_says_so(tmp_path: Path) -> None:
    write_bdf(tmp_path / "s01.bdf", 0, TWENTE, (7, 75, 160))
    write_table(tmp_path, 1, (12, 11, 13))
    record = open_source(listed("deap_bdf", tmp_path)[0]["s01/13"]).read()
    assert (record.duration_s, record.notes) == (55.0, ("s01/13: the recording ends 10.0 s before the video does",))


def test_a_file_without_marks_is_told(tmp_path: Path) -> None:
    writers.bdf(tmp_path / "s01.bdf", {"Fp1": np.zeros(640, int)}, FS)
    write_table(tmp_path, 1, (2, 1, 3))
    assert "has no signal 'Status'; it has Fp1" in listed("deap_bdf", tmp_path)[1]["s01"]


@pytest.mark.usefixtures("small")
def test_without_a_choice_all_channels_are_read_under_our_names(tmp_path: Path) -> None:
    writers.deap(tmp_path / "s01.dat", 3, 640)
    write_bdf(tmp_path / "s01.bdf", 0, TWENTE)
    write_table(tmp_path, 1, (12, 11, 13))
    for name, record in (("deap", "s01/01"), ("deap_bdf", "s01/11")):
        entry = listed(name, tmp_path)[0][record]
        free = open_source(replace(entry, channels={}))
        assert set(free.channels) == set(open_source(entry).channels)
        assert len(free.channels) == 40
        one = open_source(replace(entry, channels={"heart": ("Plet",)}))
        assert {n: c.source_name for n, c in one.read(0, 1).channels.items()} == {"heart": "Plet"}
        with pytest.raises(DataError, match="none of the channels looked for"):
            open_source(replace(entry, channels={"ecg": ("ECG",)}))
