"""Laws of the quality track, and of parts and wholes through all steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl.signal import AssessQuality, Bandpass, DetectBeats, DetectFiducials, Resample, Step, context_s
from biosig_mtl.signal.points import highest
from biosig_mtl.signal.runs import long_runs
from biosig_mtl.types import F64, Channel, ChannelInfo, DataError, Quality, RecipeError, Record

STANDARD: list[Step] = [
    Resample(125),
    Bandpass("ppg", "ppg_8hz", 0.5, 8),
    Bandpass("ppg", "ppg_12hz", 0.5, 12),
    Bandpass("ecg", "ecg_40hz", 0.5, 40),
    DetectBeats("ppg_12hz"),
    DetectBeats("ecg_40hz"),
    DetectBeats("abp"),
    DetectFiducials("ppg_12hz"),
    AssessQuality("ppg_8hz", "ppg"),
    AssessQuality("ecg_40hz", "ecg"),
    AssessQuality("abp", "abp"),
]
NAMES = {"ppg": "ppg_8hz", "ecg": "ecg_40hz", "abp": "abp"}


def run(record: Record) -> Record:
    for step in STANDARD:
        record = step(record)
    return record


def changed(record: Record, kind: str, samples: Any) -> Record:
    return record.with_channel(replace(record.channels[kind], samples=np.asarray(samples, np.float32)))


def test_a_clean_record_is_good_and_noise_is_not(simulate: Any) -> None:
    made = simulate(60, 1, 0.01).record
    rng = np.random.default_rng(0)
    for kind, track in run(made).quality.items():
        assert np.median(track.sqi) > 0.85, kind
        assert track.sqi.shape == (60,)
    for kind in NAMES:
        noisy = run(changed(made, kind, rng.standard_normal(7500)))
        assert np.median(noisy.quality[NAMES[kind]].sqi) < 0.15, kind


@pytest.mark.parametrize("kind", ["ppg", "ecg", "abp"])
@pytest.mark.parametrize("fault", ["missing", "flat", "clipped"])
def test_faults_are_told_and_leave_nothing(simulate: Any, kind: str, fault: str) -> None:
    made = simulate(60, 2, 0.005).record
    x = made.channels[kind].samples.astype(np.float64)
    x[2500:3750] = {"missing": np.nan, "flat": x[2500], "clipped": x.max() + 1}[fault]
    track = run(changed(made, kind, x)).quality[NAMES[kind]]
    assert (track.indices[fault][21:29] > 0.95).all()
    assert (track.sqi[21:29] == 0).all()
    assert (track.indices["missing"][:19] == 0).all()
    assert np.median(track.sqi[:17]) > 0.7


def test_a_clipped_top_of_every_pulse_lowers_the_figure(simulate: Any) -> None:
    made = simulate(60, 3).record
    x = made.channels["abp"].samples
    track = run(changed(made, "abp", np.minimum(x, 105.0))).quality["abp"]
    clean = run(made).quality["abp"]
    assert np.median(track.indices["clipped"]) > 0.05
    assert np.median(track.sqi) < np.median(clean.sqi) - 0.15


def test_a_steep_staircase_is_not_flat(simulate: Any) -> None:
    made = simulate(60, 4).record
    coarse = np.round(made.channels["ppg"].samples * 16) / 16
    track = run(changed(made, "ppg", coarse)).quality["ppg_8hz"]
    assert np.median(track.indices["flat"]) == 0
    assert np.median(track.sqi) > 0.7


def test_an_upside_down_pulse_has_negative_skewness(simulate: Any) -> None:
    made = simulate(60, 5).record
    upright = run(made).quality["ppg_8hz"].indices["skewness"]
    turned = run(changed(made, "ppg", -made.channels["ppg"].samples)).quality["ppg_8hz"].indices["skewness"]
    assert np.nanmedian(upright) > 0.2
    assert np.nanmedian(turned) == pytest.approx(-np.nanmedian(upright), rel=0.05)


def test_without_beats_the_other_indices_still_count(simulate: Any) -> None:
    made = AssessQuality("ecg")(simulate(20, 6).record).quality["ecg"]
    assert "template" not in made.indices
    assert np.median(made.sqi) > 0.8


def test_beats_may_be_named(simulate: Any) -> None:
    made = DetectBeats("abp", name="pressure")(simulate(20).record)
    assert "template" in AssessQuality("abp", beats="pressure")(made).quality["abp"].indices
    with pytest.raises(RecipeError, match="finds no beats 'else'"):
        AssessQuality("abp", beats="else")(made)


def test_plans_name_what_is_missing() -> None:
    info = {"eeg": ChannelInfo("eeg", "eeg", "uV", 128.0), "abp": ChannelInfo("abp", "abp", "mmHg", 125.0)}
    with pytest.raises(RecipeError, match="is of kind 'eeg'; quality is known of ppg, abp, ecg"):
        AssessQuality("eeg").plan(info)
    with pytest.raises(DataError, match="missing channel 'art'"):
        AssessQuality("abp", raw="art").plan(info)
    assert AssessQuality("abp").plan(info) is info


@pytest.mark.parametrize("size", [0, 60, 125, 300])
def test_very_short_records_get_a_track(size: int) -> None:
    x = np.sin(np.arange(size) / 15).astype(np.float32)
    made = AssessQuality("abp")(Record("r", "s", "1", {"abp": Channel("abp", "abp", "mmHg", 125.0, x)}))
    assert made.quality["abp"].sqi.size == -(-size // 125)
    one = Record("r", "s", "1", {"abp": Channel("abp", "abp", "mmHg", 125.0, x[:1])})
    assert AssessQuality("abp")(one).quality["abp"].sqi.size == min(size, 1)


def test_spans_and_runs() -> None:
    mask = np.array([1, 1, 0, 1, 1, 1, 0, 1], bool)
    assert long_runs(mask, 2).tolist() == [True, True, False, True, True, True, False, False]
    x = np.array([0.0, 3, 1, 5, 2])
    assert highest(x, np.array([0, 2, 4]), np.array([3, 5, 4])).tolist() == [1, 3, 4]
    assert highest(x, np.empty(0, np.int64), np.empty(0, np.int64)).size == 0


def assert_same(part: Record, whole: Record, start: int, stop: int) -> None:
    """Hold everything between two seconds of a part against the whole."""
    offset = int(part.start_s)
    for name, channel in part.channels.items():
        part_samples = channel.samples[(start - offset) * 125 : (stop - offset) * 125]
        assert np.array_equal(part_samples, whole.channels[name].samples[start * 125 : stop * 125], equal_nan=True), name
    for name, beats in part.beats.items():
        other, shift = whole.beats[name], offset * 125
        mine = (beats.peak + shift >= start * 125) & (beats.peak + shift < stop * 125)
        theirs = (other.peak >= start * 125) & (other.peak < stop * 125)
        assert np.array_equal(beats.peak[mine] + shift, other.peak[theirs]), name
        assert np.array_equal(beats.onset[mine] + shift, other.onset[theirs]), name
        assert np.array_equal(np.where(beats.end[mine] >= 0, beats.end[mine] + shift, -1), other.end[theirs]), name
        assert np.array_equal(beats.quality[mine], other.quality[theirs]), name
        for word, values in beats.points.items():
            assert np.array_equal(values[mine] + shift, other.points[word][theirs], equal_nan=True), (name, word)
    for name, track in part.quality.items():
        assert_same_track(track, whole.quality[name], start - offset, start, stop - start)


def assert_same_track(mine: Quality, theirs: Quality, at: int, start: int, count: int) -> None:
    for a, b in ((mine.sqi, theirs.sqi), *((mine.indices[w], theirs.indices[w]) for w in mine.indices)):
        assert np.array_equal(a[at : at + count], b[start : start + count], equal_nan=True)


def cut(record: Record, start: float, stop: float) -> Record:
    channels = {n: replace(c, samples=c.samples[round(start * c.fs) : round(stop * c.fs)]) for n, c in record.channels.items()}
    return replace(record, channels=channels, start_s=start)


def test_parts_of_hours_give_what_the_whole_gives(simulate: Any) -> None:
    made = simulate(2 * 3600, 7, 0.03).record
    x = made.channels["ppg"].samples.copy()
    x[300000:300700] = np.nan
    x[500000:503000] = x[500000]
    record = replace(changed(made, "ppg", x), seams_s=np.array([1800.004, 3333.0]))
    whole, reach = run(record), int(np.ceil(context_s(STANDARD)))
    for start, stop in ((1000, 1130), (1790, 1811), (2390, 2420), (3990, 4060)):
        assert_same(run(cut(record, max(start - reach, 0), stop + reach)), whole, start, stop)


def concatenated(root: Path) -> tuple[dict[str, F64], list[float]]:
    wfdb = pytest.importorskip("wfdb")
    names = {"ppg": "PLETH", "ecg": "II", "abp": "ABP"}
    pieces: dict[str, list[Any]] = {kind: [] for kind in names}
    seams, total = [], 0
    for path in sorted((root / "bp" / "mimic3_atm").glob("*.hea"))[::3]:
        signal, fields = wfdb.rdsamp(str(path.with_suffix("")))
        for kind, name in names.items():
            has = name in fields["sig_name"]
            pieces[kind].append(signal[:, fields["sig_name"].index(name)] if has else np.full(len(signal), np.nan))
        total += len(signal)
        seams.append(total / 125)
    return {kind: np.concatenate(parts) for kind, parts in pieces.items()}, seams


def test_parts_of_real_recordings_with_all_their_faults_give_what_the_whole_gives(data_root: Path) -> None:
    waves, seams = concatenated(data_root)
    channels = {k: Channel(k, k, "mmHg" if k == "abp" else "au", 125.0, x.astype(np.float32)) for k, x in waves.items()}
    record = Record("r", "s", "1", channels, seams_s=np.array(seams))
    whole, reach = run(record), int(np.ceil(context_s(STANDARD)))
    for start, stop in ((200, 260), (301, 400), (555, 760)):
        assert_same(run(cut(record, max(start - reach, 0), stop + reach)), whole, start, stop)


def test_the_faults_of_mimic_records_are_seen(data_root: Path) -> None:
    wfdb = pytest.importorskip("wfdb")
    medians = {}
    for name in ("3600490", "3400086", "3401323"):
        signal, fields = wfdb.rdsamp(str(data_root / "bp" / "mimic3_atm" / name))
        x = signal[:, fields["sig_name"].index("PLETH")].astype(np.float32)
        record = Record(name, "s", "1", {"ppg": Channel("ppg", "ppg", "au", 125.0, x)})
        for step in (STANDARD[1], STANDARD[2], STANDARD[4], STANDARD[8]):
            record = step(record)
        medians[name] = float(np.median(record.quality["ppg_8hz"].sqi))
    assert medians["3600490"] > 0.9
    assert medians["3400086"] == medians["3401323"] == 0
