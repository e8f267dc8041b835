"""Laws of resampling and filtering."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl.signal import STEPS, Bandpass, Resample, Step, context_s
from biosig_mtl.types import F32, F64, BiosigError, Channel, ChannelInfo, DataError, RecipeError, Record


def wave(time: F64) -> F64:
    return np.asarray(80 + np.sin(2 * np.pi * 1.3 * time) + 0.3 * np.sin(2 * np.pi * 7 * time))


def record(samples: Any, fs: float, start_s: float = 0.0, **more: Any) -> Record:
    return Record("r", "s", "1", {"ppg": Channel("ppg", "ppg", "au", fs, np.asarray(samples, np.float32))}, start_s, **more)


def samples(made: Record, name: str = "ppg") -> F32:
    return made.channels[name].samples


@pytest.mark.parametrize("fs", [64, 100, 250, 360, 1000, 62.4725, 499.997])
def test_resampling_keeps_what_lies_below_both_nyquist_rates(fs: float) -> None:
    made = samples(Resample(125)(record(wave(np.arange(int(40 * fs)) / fs), fs)))
    truth = wave(np.arange(made.size) / 125)
    assert abs(made.size - 5000) <= 2
    assert np.abs(made - truth)[250:-250].max() < 0.002
    # The common default, which thinks of zeros beyond the ends, is wrong by half of the offset of 80 here.
    assert np.abs(made - truth).max() < 0.35


@pytest.mark.parametrize("fs", [64, 250, 1000, 62.4725])
@pytest.mark.parametrize("start", [3, 10, 17])
def test_a_part_is_resampled_to_the_samples_of_the_whole(fs: float, start: int) -> None:
    x = wave(np.arange(int(40 * fs)) / fs)
    whole = samples(Resample(125)(record(x, fs)))
    part = samples(Resample(125)(record(x[round(start * fs) : round((start + 12) * fs)], fs, float(start))))
    assert np.array_equal(part[125:-125], whole[start * 125 :][: part.size][125:-125])


def test_resampling_leaves_gaps_and_seams_alone() -> None:
    x = wave(np.arange(2500) / 250)
    x[700:900] = np.nan
    made = samples(Resample(125)(record(x, 250)))
    assert np.isnan(made[351:449]).all()
    assert np.isfinite(np.r_[made[:349], made[451:]]).all()
    jump = np.r_[np.zeros(1000), np.full(1000, 100.0)]
    kept = samples(Resample(125)(record(jump, 250, seams_s=np.array([4.0]))))
    assert np.array_equal(kept, np.r_[np.zeros(500), np.full(500, 100.0)].astype(np.float32))


def test_resampling_returns_unchanged_what_has_the_rate() -> None:
    one = record(wave(np.arange(500) / 125), 125)
    assert Resample(125)(one).channels["ppg"] is one.channels["ppg"]
    assert np.isnan(samples(Resample(125)(record(np.full(64, np.nan), 64)))).all()
    assert samples(Resample(125)(record(np.empty(0), 64))).size == 0


def test_bandpass_is_zero_phase_and_has_the_gain_of_two_passes() -> None:
    time = np.arange(125 * 60) / 125
    for hertz, gain in ((0.5, 0.5), (3.0, 1.0), (12.0, 0.5)):
        x = np.sin(2 * np.pi * hertz * time)
        made = samples(Bandpass("ppg", "y", 0.5, 12)(record(x, 125)), "y")
        assert np.abs(made - gain * x)[2000:-2000].max() < 0.02
    stop = samples(Bandpass("ppg", "y", 0.5, 8, "chebyshev2", 4)(record(np.sin(2 * np.pi * 8 * time), 125)), "y")
    assert np.abs(stop)[2000:-2000].max() == pytest.approx(0.01, abs=0.001)


def test_bandpass_of_a_short_piece_resembles_that_of_the_whole(data_root: Path) -> None:
    x = np.genfromtxt(data_root / "annotated" / "bidmc_01_Signals.csv", delimiter=",", skip_header=1)[:, 2]
    step = Bandpass("ppg", "y", 0.5, 12)
    whole = samples(step(record(x, 125)), "y")
    for seconds, limit in ((2.1, 0.12), (8.0, 0.06)):
        size = int(seconds * 125)
        errors = []
        for start in range(1000, x.size - 2000, 1997):
            piece = samples(step(record(x[start : start + size], 125)), "y")
            errors.append(np.sqrt(np.mean((piece - whole[start : start + size]) ** 2)) / whole.std())
        assert np.median(errors) < limit


@pytest.mark.parametrize("step", [Bandpass("ppg", "y", 0.5, 12), Bandpass("ppg", "y", 0.5, 8, "chebyshev2", 4)])
def test_a_part_is_filtered_to_the_bits_of_the_whole(step: Bandpass) -> None:
    x = np.random.default_rng(0).standard_normal(125 * 600).cumsum() + 80
    x[20000:20300] = np.nan
    whole = samples(step(record(x, 125, seams_s=np.array([300.5]))), "y")
    reach = int(np.ceil(step.reach_s))
    for start, stop in ((100, 140), (173, 301), (400, 401)):
        part = x[(start - reach) * 125 : (stop + reach) * 125]
        made = samples(step(record(part, 125, float(start - reach), seams_s=np.array([300.5]))), "y")
        assert np.array_equal(made[reach * 125 : -reach * 125], whole[start * 125 : stop * 125], equal_nan=True)


def test_a_block_of_the_grid_leaves_no_trace() -> None:
    from scipy.signal import butter, sosfiltfilt

    x = np.random.default_rng(1).standard_normal(125 * 200)
    made = samples(Bandpass("ppg", "y", 0.5, 12)(record(x, 125)), "y")
    truth = sosfiltfilt(butter(2, [0.5, 12], "bandpass", fs=125, output="sos"), x)
    assert np.abs(made - truth)[2500:-2500].max() < 1e-6


def test_bandpass_works_each_run_by_itself_and_bridges_only_short_gaps() -> None:
    x = wave(np.arange(125 * 60) / 125)
    step = Bandpass("ppg", "y", 0.5, 12)
    clean = samples(step(record(x, 125)), "y")
    short = x.copy()
    short[3000:3008] = np.nan
    made = samples(step(record(short, 125)), "y")
    assert np.isnan(made[3000:3008]).all()
    assert np.abs(made - clean)[np.isfinite(made)].max() < 0.15
    long = x + np.where(np.arange(x.size) < 3000, 0.0, 500.0)
    seamed = samples(step(record(long, 125, seams_s=np.array([24.0]))), "y")
    assert np.abs(seamed).max() < 3
    island = np.full(1000, np.nan)
    island[400:440] = 1.0
    assert np.isnan(samples(step(record(island, 125)), "y")).all()


def test_steps_leave_the_record_alone_and_say_where_a_channel_came_from() -> None:
    one = record(wave(np.arange(1250) / 125), 125)
    before = samples(one).copy()
    made = Bandpass("ppg", "ppg_8hz", 0.5, 8)(one)
    assert list(one.channels) == ["ppg"]
    assert np.array_equal(samples(one), before)
    derived = made.channels["ppg_8hz"]
    assert (derived.kind, derived.source_name, str(derived.samples.dtype)) == ("ppg", "ppg", "float32")


def test_a_plan_tells_the_channels_without_data() -> None:
    info = {"ppg": ChannelInfo("ppg", "ppg", "au", 20.0)}
    assert Resample(125).plan(info)["ppg"].fs == 125
    planned = Bandpass("ppg", "y", 0.5, 8).plan(info)
    assert set(planned) == {"ppg", "y"}
    with pytest.raises(RecipeError, match=r"channel 'ppg' has fs=20 Hz, 'bandpass' up to 12 Hz needs more than 24"):
        Bandpass("ppg", "y", 0.5, 12).plan(info)
    with pytest.raises(RecipeError, match="needs more than 24"):
        Bandpass("ppg", "y", 0.5, 12)(record(np.zeros(100), 20))
    with pytest.raises(DataError, match="bandpass: missing channel 'ecg'; it has ppg"):
        Bandpass("ecg", "y", 0.5, 8).plan(info)
    with pytest.raises(BiosigError, match="r: bandpass: missing channel 'ecg'"):
        Bandpass("ecg", "y", 0.5, 8)(record(np.zeros(1000), 125))


@pytest.mark.parametrize("word", ["bandpass", "detect_beats", "detect_fiducials", "assess_quality"])
def test_an_optional_step_passes_a_record_without_the_channel(word: str) -> None:
    settings: dict[str, Any] = {"name": "y", "low_hz": 0.5, "high_hz": 8.0} if word == "bandpass" else {}
    one = record(np.zeros(1000), 125)
    kind: Any = STEPS[word]
    step = kind(channel="ecg", optional=True, **settings)
    assert step(one) is one
    assert step.plan({}) == {}
    with pytest.raises(DataError, match="missing channel 'ecg'"):
        replace(step, optional=False)(one)


@pytest.mark.parametrize(
    "settings",
    [(0.0, 8.0), (8.0, 0.5), (0.5, 8.0, "butterworth", 0), (0.5, 8.0, "bessel")],
)
def test_nonsense_is_refused_at_birth(settings: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="need"):
        Bandpass("ppg", "y", *settings)
    with pytest.raises(ValueError, match="need fs_hz > 0"):
        Resample(0)


def test_context_of_steps_side_by_side_is_shared() -> None:
    one, two = Bandpass("ppg", "a", 0.5, 8), Bandpass("ppg", "b", 0.5, 12)
    steps: list[Step] = [Resample(125), one, two]
    assert context_s(steps) == pytest.approx(Resample(125).reach_s + max(one.reach_s, two.reach_s))
    chained: list[Step] = [one, Bandpass("a", "c", 0.5, 12)]
    assert context_s(chained) == pytest.approx(one.reach_s + two.reach_s)
    assert context_s([]) == 0
    assert all(isinstance(step, Step) for step in steps)
