"""What potentials are measured against."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosig_mtl.signal import EegReference
from biosig_mtl.types import BiosigError, Channel, ChannelInfo, DataError, Record
from tests.signal.scalp import CAP, FS, brain, recording, samples


def info(record: Record) -> dict[str, ChannelInfo]:
    return {n: ChannelInfo(n, c.kind, c.unit, c.fs) for n, c in record.channels.items()}


def test_the_average_of_all_channels_is_zero_afterwards() -> None:
    made = samples(EegReference()(recording(brain(90))))
    assert np.abs(made.mean(axis=0)).max() < 1e-4
    np.testing.assert_allclose(made, brain(90) - brain(90).mean(axis=0), atol=1e-4)


@given(st.integers(0, 50))
def test_what_all_channels_share_goes_and_differences_stay(seed: int) -> None:
    x, shared = brain(2), 300 * np.random.default_rng(seed).standard_normal(256)
    for step in (EegReference(), EegReference("channels", ("T7", "T8"))):
        made, other = samples(step(recording(x))), samples(step(recording(x + shared)))
        np.testing.assert_allclose(made, other, atol=1e-3)
        np.testing.assert_allclose(made[2] - made[9], x[2] - x[9], atol=1e-3)


def test_named_channels_become_zero_on_average_whatever_their_kind() -> None:
    mastoids = {
        n: Channel(n, "other", "uV", FS, brain(2, ("Cz",), k)[0].astype(np.float32)) for k, n in enumerate(("M1", "M2"))
    }
    record = recording(brain(2), more=mastoids)
    made = samples(EegReference("channels", ("M1", "M2"))(record))
    against = (mastoids["M1"].samples + mastoids["M2"].samples) / 2
    np.testing.assert_allclose(made, brain(2) - against, atol=1e-4)
    assert EegReference("channels", ("M1",))(record).channels["M1"] is mastoids["M1"]


def test_a_channel_that_is_missing_does_not_count_and_too_few_are_no_reference() -> None:
    x = brain(4)
    x[0, 100:200] = np.nan
    x[:8, 300:310] = np.nan
    made = samples(EegReference()(recording(x)))
    assert np.isnan(made[0, 100:200]).all()
    np.testing.assert_allclose(made[1:, 100:200], x[1:, 100:200] - x[1:, 100:200].mean(axis=0), atol=1e-4)
    assert np.isnan(made[:, 300:310]).all()
    assert np.isfinite(made[1:, :300]).all()
    named = samples(EegReference("channels", ("AF3", "F7"))(recording(x)))
    assert np.isnan(named[:, 100:200]).all()


def test_none_leaves_all_as_it_is() -> None:
    record = recording(brain(1))
    assert EegReference("none")(record) is record


def test_a_part_gives_the_bits_of_the_whole_without_context() -> None:
    x = brain(200)
    x[2, 5000:5100] = np.nan
    whole = samples(EegReference()(recording(x)))
    part = samples(EegReference()(recording(x[:, 4700:9000], start_s=4700 / FS)))
    np.testing.assert_array_equal(part, whole[:, 4700:9000])


@pytest.mark.parametrize("settings", [{"to": "cz"}, {"to": "channels"}, {"channels": ("Cz",)}])
def test_nonsense_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need"):
        EegReference(**settings)


def test_what_cannot_be_done_is_told_with_and_without_data() -> None:
    record = recording(brain(2))
    fast = replace(record, channels={**record.channels, "M1": Channel("M1", "eeg", "uV", 256.0, np.ones(512, np.float32))})
    for step, found, told in (
        (EegReference("channels", ("M2",)), record, "missing channel 'M2'"),
        (EegReference(), fast, r"one rate \(.* 128 Hz, M1 256 Hz\): add a 'resample' step"),
    ):
        with pytest.raises(BiosigError, match=told):
            step(found)
        with pytest.raises(BiosigError, match=told):
            step.plan(info(found))
    short = replace(record, channels={**record.channels, "M1": Channel("M1", "eeg", "uV", FS, np.ones(5, np.float32))})
    with pytest.raises(DataError, match=r"differ in length \(.* 256, M1 5 samples\)"):
        EegReference()(short)
    assert len(CAP) == 14
