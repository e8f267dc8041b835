"""Regression of the EOG: what the eyes added goes, what the brain did stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from biosig_mtl import montage
from biosig_mtl.signal import EegEog
from biosig_mtl.types import F64, Channel, ChannelInfo, RecipeError, Record
from tests.signal.scalp import CAP, FS, brain, recording, samples

# Blinks spread from the front; looking aside, with opposite signs.
PLACES = montage.positions(CAP)
SPREAD = np.stack([np.maximum(PLACES[:, 1], 0) ** 2, 0.5 * np.maximum(PLACES[:, 1], 0) * PLACES[:, 0]], axis=1)


def eyes(seconds: float, seed: int = 5) -> F64:
    """Return blinks and saccades in µV, shape (2, sample)."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * FS)) / FS
    blinks = sum(150 * np.exp(-(((time - at) / 0.08) ** 2)) for at in rng.uniform(0, seconds, round(seconds / 4)))
    sides = np.cumsum(
        np.bincount(rng.integers(0, time.size, round(seconds / 3)), rng.normal(0, 80, round(seconds / 3)), time.size)
    )
    return np.stack([blinks, sides - sides.mean()])


def looking(seconds: float, x: F64 | None = None, e: F64 | None = None, spread: F64 = SPREAD, **about: Any) -> Record:
    x = brain(seconds) if x is None else x
    e = eyes(seconds) if e is None else e
    names = ("veog", "heog")
    more = {n: Channel(n, "eog", "uV", FS, row.astype(np.float32)) for n, row in zip(names, e, strict=True)}
    return recording(x + spread @ np.nan_to_num(e), more=more, **about)


def rms(x: Any) -> float:
    return float(np.sqrt(np.nanmean(np.square(np.asarray(x, float)))))


def test_the_eyes_go_and_the_brain_stays() -> None:
    clean = brain(120)
    record = looking(120)
    made = samples(EegEog()(record))
    added, left = samples(record) - clean, made - clean
    assert rms(added[0]) > 15
    for k in range(len(CAP)):
        assert rms(left[k]) < 0.1 * rms(clean[k])
    assert np.corrcoef(made[0], clean[0])[0, 1] > 0.99
    np.testing.assert_array_equal(samples(EegEog()(record), "eog"), samples(record, "eog"))


def test_what_is_left_does_not_follow_the_eog() -> None:
    e = eyes(60)
    made = samples(EegEog(block_s=60)(looking(60)))
    for row in made:
        for eye in e:
            assert abs(np.corrcoef(row, eye)[0, 1]) < 1e-3


def test_offsets_of_either_change_nothing() -> None:
    base = looking(60)
    moved = looking(60, brain(60) + 50, eyes(60))
    np.testing.assert_allclose(samples(EegEog()(moved)) - 50, samples(EegEog()(base)), atol=0.01)


def test_the_gain_of_the_eog_does_not_matter_nor_a_copy_of_it() -> None:
    base = samples(EegEog()(looking(60)))
    record = looking(60)
    big = {n: Channel(n, "eog", "uV", FS, 1000 * record.channels[n].samples) for n in ("veog", "heog")}
    copy = {**big, "again": Channel("again", "eog", "uV", FS, record.channels["veog"].samples)}
    for more in (big, copy):
        made = EegEog()(recording(samples(record), more=more))
        np.testing.assert_allclose(samples(made), base, atol=0.02)


def test_a_spread_that_changes_slowly_is_followed_without_steps() -> None:
    seconds = 300
    e, clean = eyes(seconds), brain(seconds)
    ramp = np.linspace(1, 0.3, e.shape[1])
    x = clean + SPREAD @ (e * ramp)
    more = {n: Channel(n, "eog", "uV", FS, row.astype(np.float32)) for n, row in zip(("veog", "heog"), e, strict=True)}
    left = samples(EegEog()(recording(x, more=more))) - clean
    middle = slice(round(60 * FS), round(240 * FS))
    assert rms(left[0, middle]) < 0.2 * rms((x - clean)[0, middle])
    assert rms(left[0]) < 0.25 * rms((x - clean)[0])
    # At the borders of blocks as small as anywhere.
    borders = np.arange(30, seconds, 30) * round(FS)
    jumps = np.abs(np.diff(left[0]))
    assert jumps[borders - 1].max() < 2 * np.quantile(jumps, 0.999)


def test_where_there_is_no_eog_nothing_is_taken_away_and_it_is_told() -> None:
    e = eyes(120)
    e[0, 1280:2560] = np.nan
    record = looking(120, e=e)
    made = EegEog()(record)
    assert made.notes == ("10.0 s without EOG: there, nothing was regressed out of the EEG",)
    np.testing.assert_array_equal(samples(made)[:, 1280:2560], samples(record)[:, 1280:2560])
    assert np.isfinite(samples(made)).all()
    bare = recording(brain(20))
    assert EegEog()(bare).notes == ("no EOG: nothing was regressed out of the EEG",)
    np.testing.assert_array_equal(samples(EegEog()(bare)), samples(bare))
    short = EegEog()(looking(4))
    assert short.notes == ("less than 5 s of EOG: nothing was regressed out of the EEG",)
    np.testing.assert_array_equal(samples(short), samples(looking(4)))


def test_gaps_of_the_eeg_stay_gaps_and_cost_nothing_else() -> None:
    x = brain(90)
    x[3, 1000:3000] = np.nan
    made = samples(EegEog()(looking(90, x)))
    assert np.array_equal(np.isnan(made), np.isnan(x))
    np.testing.assert_allclose(np.delete(made, 3, 0), np.delete(samples(EegEog()(looking(90))), 3, 0), atol=1e-3)
    assert rms(made[3] - brain(90)[3]) < 2


def test_a_dead_eog_takes_nothing_away() -> None:
    record = looking(60, e=np.zeros((2, round(60 * FS))))
    np.testing.assert_array_equal(samples(EegEog()(record)), samples(record))


def test_a_part_with_context_gives_the_bits_of_the_whole() -> None:
    step, x, e = EegEog(), brain(500), eyes(500)
    e[:, 30_000:31_000] = np.nan
    whole = samples(step(looking(500, x, e)))
    start, stop = 203, 288
    low, high = int(start - step.reach_s), int(stop + step.reach_s)
    cut = slice(round(low * FS), round(high * FS))
    part = samples(step(looking(0, x[:, cut], e[:, cut], start_s=float(low))))
    inside = part[:, round((start - low) * FS) : round((stop - low) * FS)]
    np.testing.assert_array_equal(inside, whole[:, round(start * FS) : round(stop * FS)])


def test_what_cannot_be_done_is_told_with_and_without_data() -> None:
    record = looking(20)
    slow = {**record.channels, "veog": Channel("veog", "eog", "uV", 64.0, np.ones(1280, np.float32))}
    info = {n: ChannelInfo(n, c.kind, c.unit, c.fs) for n, c in slow.items()}
    with pytest.raises(RecipeError, match="'eeg_eog' needs channels of one rate"):
        EegEog().plan(info)
    with pytest.raises(RecipeError, match="'eeg_eog' needs channels of one rate"):
        EegEog()(Record("r", "s", "1", slow))
    with pytest.raises(ValueError, match="need block_s"):
        EegEog(block_s=1)


def test_one_fit_of_the_whole_is_that_of_mne() -> None:
    mne = pytest.importorskip("mne")
    record = looking(50)
    names = [*CAP, "veog", "heog"]
    x = np.stack([record.channels[name].samples for name in names]).astype(np.float64) * 1e-6
    about = mne.create_info(names, FS, ["eeg"] * len(CAP) + ["eog"] * 2)
    raw = mne.io.RawArray(x, about, verbose=False).set_eeg_reference([], verbose=False)
    fitted = mne.preprocessing.EOGRegression(picks="eeg", picks_artifact="eog").fit(raw)
    theirs = fitted.apply(raw, copy=True).get_data(picks="eeg") * 1e6
    ours = samples(EegEog(block_s=60)(record))
    # They take the mean of the EOG away with it; an offset is no matter here.
    offset = (ours - theirs).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(ours - offset, theirs, atol=1e-3)
