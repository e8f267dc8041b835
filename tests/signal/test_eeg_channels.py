"""Bad electrodes: found for what they are, put right from the others, named in the notes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosig_mtl import montage
from biosig_mtl.signal import EegBadChannels
from biosig_mtl.signal.eeg_spline import spline_weights
from biosig_mtl.types import F64
from tests.signal.scalp import CAP, FS, brain, recording, samples

BLOCK = round(32 * FS)


def spoilt(how: str, x: F64, k: int, part: slice) -> F64:
    """Return the recording with one electrode spoilt in a part of it."""
    rng = np.random.default_rng(1)
    x, size = x.copy(), part.stop - part.start
    x[k, part] = {
        "missing": np.full(size, np.nan),
        "flat": np.full(size, 3.0),
        "tiny": 1e-3 * x[k, part],
        "huge": 40 * x[k, part],
        "buzz": x[k, part] + 60 * rng.standard_normal(size),
        "own": 15 * np.convolve(rng.standard_normal(size), np.ones(3) / np.sqrt(3), "same"),
        "held": np.repeat(x[k, part][::8], 8)[:size],
    }[how]
    return x


REASON = {
    "missing": "missing",
    "flat": "flat",
    "held": "flat",
    "tiny": "flat",
    "huge": "amplitude",
    "buzz": "amplitude|high frequencies",
    "own": "unlike the others",
}


def test_a_good_recording_is_left_alone() -> None:
    record = recording(brain(100))
    made = EegBadChannels()(record)
    np.testing.assert_array_equal(samples(made), samples(record))
    assert made.notes == ()


@pytest.mark.parametrize("how", REASON)
@pytest.mark.parametrize("k", [1, 7])
def test_a_bad_electrode_is_found_named_and_interpolated_where_it_is_bad(how: str, k: int) -> None:
    clean = brain(128)
    part = slice(BLOCK, 2 * BLOCK)
    x = spoilt(how, clean, k, part)
    made = EegBadChannels()(recording(x))
    (note,) = made.notes
    assert note.startswith("bad channels of the EEG, of 4 blocks of 32 s: ")
    assert any(f"{CAP[k]} {why} in 1 (interpolated)" in note for why in REASON[how].split("|")), note
    assert note.count("interpolated") == 1
    out = samples(made)
    others = np.delete(np.arange(14), k)
    np.testing.assert_array_equal(out[others], x[others].astype(np.float32))
    outside = np.r_[0:BLOCK, 2 * BLOCK : x.shape[1]]
    np.testing.assert_array_equal(out[k, outside], x[k, outside].astype(np.float32))
    assert np.corrcoef(out[k, part], clean[k, part])[0, 1] > 0.8


def test_marked_channels_are_a_gap() -> None:
    x = spoilt("huge", brain(64), 4, slice(0, BLOCK))
    made = EegBadChannels(repair="mark")(recording(x))
    assert np.isnan(samples(made)[4, :BLOCK]).all()
    assert np.isfinite(samples(made)[4, BLOCK:]).all()
    assert "T7 amplitude in 1 (left out)" in made.notes[0]


def test_a_channel_of_unknown_place_is_left_out_and_helps_no_other() -> None:
    names = (*CAP[:-1], "X9")
    x = brain(32)
    x[-1], x[0] = 30 * x[-1], 0
    made = EegBadChannels()(recording(x, names))
    assert np.isnan(samples(made)[-1]).all()
    assert np.isfinite(samples(made)[0]).all()
    assert "AF3 flat in 1 (interpolated), X9 amplitude in 1 (left out)" in made.notes[0]


def test_too_few_good_channels_repair_none() -> None:
    x = brain(32)
    x[:8] = 0
    made = EegBadChannels()(recording(x))
    assert np.isnan(samples(made)[:8]).all()
    assert np.isfinite(samples(made)[8:]).all()
    assert made.notes[0].count("left out") == 8


def test_short_gaps_and_bursts_do_not_make_a_channel_bad() -> None:
    x = brain(64)
    x[3, 500:900] = np.nan
    x[5, 3000:3300] += 800 * np.hanning(300)
    made = EegBadChannels()(recording(x))
    assert made.notes == ()
    np.testing.assert_array_equal(samples(made), x.astype(np.float32))


@given(gain=st.floats(1e-3, 1e3))
def test_the_verdict_does_not_depend_on_the_unit(gain: float) -> None:
    x = spoilt("buzz", brain(32), 2, slice(0, BLOCK))
    assert EegBadChannels()(recording(gain * x)).notes == EegBadChannels()(recording(x)).notes != ()


def test_the_end_of_a_recording_is_judged_with_what_came_before() -> None:
    # Five seconds into the second block.
    x = brain(37)
    x[6, BLOCK:] *= 30
    assert EegBadChannels()(recording(x)).notes == ()
    x[6] *= 30
    assert "O1 amplitude in 2 (interpolated)" in EegBadChannels()(recording(x)).notes[0]


def test_a_part_with_context_gives_the_bits_of_the_whole() -> None:
    x = brain(400)
    for k, how in enumerate(("flat", "huge", "buzz", "own", "missing")):
        x = spoilt(how, x, k + 2, slice(round((40 + 61 * k) * FS), round((100 + 61 * k) * FS)))
    step = EegBadChannels()
    whole = step(recording(x))
    assert whole.notes[0].count("interpolated") >= 5
    for start, stop in ((130, 217), (200, 290)):
        low, high = int(start - step.reach_s), int(stop + step.reach_s)
        part = samples(step(recording(x[:, round(low * FS) : round(high * FS)], start_s=float(low))))
        inside = part[:, round((start - low) * FS) : round((stop - low) * FS)]
        np.testing.assert_array_equal(inside, samples(whole)[:, round(start * FS) : round(stop * FS)])


@pytest.mark.parametrize(
    "settings",
    [{"block_s": 1}, {"repair": "drop"}, {"most_deviation": 0}, {"least_correlation": 1}, {"block_s": np.inf}],
)
def test_nonsense_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need"):
        EegBadChannels(**settings)


def test_hostile_recordings_raise_nothing() -> None:
    for x in (np.full((14, 5000), np.nan), np.zeros((14, 5000)), np.zeros((14, 3)), brain(40) * 1e30, np.eye(14, 5000)):
        made = EegBadChannels()(recording(x))
        assert not np.isinf(samples(made)).any()
    lonely = recording(brain(40)[:1], ("Cz",))
    assert EegBadChannels()(lonely).notes == ()
    assert EegBadChannels()(replace(lonely, channels={**lonely.channels})).channels.keys() == {"Cz"}


# ------------------------------------------------------------------------------------------------------------------- splines
def test_a_spline_keeps_a_constant_and_takes_most_from_what_is_near() -> None:
    assert CAP[int(spline_weights(("F1",), CAP)[0].argmax())] == "F3"
    assert (spline_weights(CAP, CAP).argmax(axis=1) == np.arange(14)).all()
    np.testing.assert_allclose(spline_weights(("Cz", "Pz", "Oz"), CAP).sum(axis=1), 1, atol=1e-9)


def test_a_spline_finds_a_field_that_is_smooth_over_the_head() -> None:
    known = tuple(name for name in montage.POSITIONS if name[-1] in "12345678z")
    field = {name: 3 + 2 * x - y + z * x for name, (x, y, z) in montage.POSITIONS.items()}
    for name in ("C3", "Fz", "PO4"):
        others = tuple(other for other in known if other != name)
        guess = spline_weights((name,), others)[0] @ np.array([field[other] for other in others])
        assert guess == pytest.approx(field[name], abs=0.01)


def test_a_spline_agrees_with_mne() -> None:
    interpolation = pytest.importorskip("mne.channels.interpolation")
    make = getattr(interpolation, "_make_interpolation_matrix", None)
    if make is None:
        pytest.skip("this version of mne has no such function")
    theirs = make(montage.positions(CAP), montage.positions(("Cz", "Pz")), alpha=1e-5)
    np.testing.assert_allclose(spline_weights(("Cz", "Pz"), CAP), theirs, atol=2e-3)


def test_a_spline_of_nothing_is_refused() -> None:
    for wanted, known in ((("nobody",), CAP), (("Cz",), ("F3", "nobody")), (("Cz",), ())):
        with pytest.raises(ValueError, match="places are known"):
            spline_weights(wanted, known)
