"""Laws of motion: known accelerations, whatever their unit, direction and rate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from biosig_mtl.signal import AssessQuality, DetectBeats
from biosig_mtl.signal.motion import UNITS_G, channels_of, motion
from biosig_mtl.signal.sqi import reasons
from biosig_mtl.types import F64, Channel, ChannelInfo, DataError, Record

RATE = 32.0


def worn(
    along: F64, unit: str = "g", fs: float = RATE, direction: tuple[float, float, float] = (0.6, 0.0, 0.8)
) -> dict[str, Channel]:
    """Return three axes of an acceleration along gravity, in a unit."""
    axes = {f"acc_{a}": along * d / UNITS_G[unit] for a, d in zip("xyz", direction, strict=True)}
    return {name: Channel(name, "acc", unit, fs, x.astype(np.float32)) for name, x in axes.items()}


def record(channels: dict[str, Channel], **more: Any) -> Record:
    return Record("r", "s", "1", channels, **more)


def told(channels: dict[str, Channel], count: int, **more: Any) -> F64:
    made = record(channels, **more)
    return motion(made, channels_of(made, ()), count)


def shaking(size_g: float, length_s: int = 20, fs: float = RATE) -> F64:
    return np.asarray(1 + size_g * np.sqrt(2) * np.sin(2 * np.pi * 2 * np.arange(round(length_s * fs)) / fs))


@pytest.mark.parametrize("unit", UNITS_G)
def test_motion_is_the_standard_deviation_in_g_in_every_unit(unit: str) -> None:
    assert told(worn(shaking(0.2), unit), 20)[1:-1] == pytest.approx(0.2, rel=1e-3)


@pytest.mark.parametrize("fs", [25.0, 32.0, 31.25, 100.0])
def test_motion_has_its_own_rate(fs: float) -> None:
    assert told(worn(shaking(0.3, fs=fs), fs=fs), 20)[1:-1] == pytest.approx(0.3, rel=0.03)


@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (0.0, 0.6, -0.8), (-0.48, 0.6, 0.64)])
def test_it_does_not_matter_how_the_device_is_worn(direction: tuple[float, float, float]) -> None:
    along = shaking(0.15)
    np.testing.assert_allclose(told(worn(along, direction=direction), 20), told(worn(along), 20), rtol=1e-4)


def test_rest_is_no_motion_and_a_burst_is_where_it_is() -> None:
    along = np.ones(32 * 30)
    along[320:480] = shaking(0.5, 5)
    found = told(worn(along), 30)
    assert (found[:9] < 1e-6).all()
    assert found[11:14] == pytest.approx(0.5, rel=1e-3)
    assert (found[16:] < 1e-6).all()


def test_what_is_missing_or_in_an_unknown_unit_is_not_known() -> None:
    axes = worn(shaking(0.2))
    hole = axes["acc_y"].samples.copy()
    hole[100:300] = np.nan
    found = told(axes | {"acc_y": replace(axes["acc_y"], samples=hole)}, 20)
    assert np.isnan(found[5:8]).all()
    assert np.isfinite(found[12:]).all()
    assert np.isnan(told({n: replace(c, unit="counts") for n, c in axes.items()}, 20)).all()
    assert np.isnan(told(axes, 30)[22:]).all()
    assert told({n: replace(c, samples=c.samples[:0]) for n, c in axes.items()}, 3).size == 3


def test_of_two_accelerometers_the_greater_motion_counts() -> None:
    two = worn(shaking(0.1)) | {
        f"{n}_chest": replace(c, name=f"{n}_chest") for n, c in worn(shaking(0.4, fs=50.0), fs=50.0).items()
    }
    assert told(two, 20)[1:-1] == pytest.approx(0.4, rel=1e-2)


def test_a_part_gives_what_the_whole_gives() -> None:
    rng = np.random.default_rng(0)
    axes = worn(1 + 0.2 * rng.standard_normal(32 * 300))
    whole = told(axes, 300)
    part = told({n: replace(c, samples=c.samples[32 * 100 : 32 * 140]) for n, c in axes.items()}, 40, start_s=100.0)
    assert np.array_equal(part[2:-2], whole[102:138])


def test_motion_lowers_the_quality_of_a_ppg_and_of_nothing_else(simulate: Any) -> None:
    still = simulate(40, 1).record
    along = np.ones(32 * 40)
    along[32 * 20 :] = shaking(0.6, 20)
    for kind in ("ppg", "ecg", "abp"):
        made = DetectBeats(kind)(replace(still, channels={**still.channels, **worn(along)}))
        track = AssessQuality(kind)(made).quality[kind]
        before = AssessQuality(kind)(DetectBeats(kind)(still)).quality[kind]
        assert "motion" not in before.indices
        assert track.indices["motion"][25:38] == pytest.approx(0.6, rel=1e-2)
        np.testing.assert_array_equal(track.sqi[:19], before.sqi[:19])
        if kind == "ppg":
            assert (track.sqi[22:] < 0.3).all()
            assert set(reasons(track)[22:]) == {"motion"}
        else:
            np.testing.assert_array_equal(track.sqi, before.sqi)


def test_axes_may_be_named_and_must_then_be_there(simulate: Any) -> None:
    still = simulate(20, 1).record
    axes = {name: replace(c, kind="other") for name, c in worn(shaking(0.2)).items()}
    made = replace(still, channels={**still.channels, **axes})
    step = AssessQuality("ppg", motion=("acc_x", "acc_y", "acc_z"))
    assert step(made).quality["ppg"].indices["motion"][5] == pytest.approx(0.2, rel=1e-3)
    assert "motion" not in AssessQuality("ppg")(made).quality["ppg"].indices
    with pytest.raises(DataError, match="missing channel 'acc_x'"):
        step(still)
    with pytest.raises(DataError, match="missing channel 'acc_y'"):
        step.plan({n: ChannelInfo(n, "ppg", "au", 64.0) for n in ("ppg", "acc_x")})
