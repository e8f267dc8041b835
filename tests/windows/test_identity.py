"""Fingerprints: shared waveform is seen at any shift, different waveform never."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import F32, Record
from biosig_mtl.windows import ReferenceRules, Windowing, cut
from biosig_mtl.windows.identity import FINGERPRINTS, fingerprints


def walk(seed: int, size: int = 4000) -> F32:
    return np.random.default_rng(seed).normal(0, 1, size).cumsum().astype(np.float32)


def hashes(samples: F32) -> set[int]:
    return set(fingerprints(samples[None])[0].tolist()) - {0}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), shift=st.integers(0, 500))
def test_windows_that_share_half_of_their_waveform_share_hashes_at_any_shift(seed: int, shift: int) -> None:
    samples = walk(seed)
    assert hashes(samples[:1000]) & hashes(samples[shift : shift + 1000])


@settings(max_examples=60, deadline=None)
@given(pair=st.lists(st.integers(0, 10**6), min_size=2, max_size=2, unique=True))
def test_different_walks_share_none(pair: list[int]) -> None:
    first, second = (hashes(walk(seed, 1000)) for seed in pair)
    assert first
    assert second
    assert not first & second


def test_many_different_windows_share_none() -> None:
    rng = np.random.default_rng(1)
    found = fingerprints(rng.normal(0, 1, (600, 1000)).cumsum(axis=1).astype(np.float32))
    assert found.shape == (600, FINGERPRINTS)
    known = found[found > 0]
    assert np.unique(known).size == known.size
    assert (found > 0).sum(axis=1).min() >= 4


def test_a_window_does_not_depend_on_its_neighbours_in_the_table() -> None:
    rows = np.stack([walk(seed, 1000) for seed in range(6)])
    whole = fingerprints(rows)
    for i in range(6):
        np.testing.assert_array_equal(fingerprints(rows[i : i + 1])[0], whole[i])
    np.testing.assert_array_equal(fingerprints(rows[::-1]), whole[::-1])


def test_hashes_are_sorted_distinct_and_padded_with_zero() -> None:
    found = fingerprints(np.stack([walk(3, 300), np.zeros(300, np.float32)]))
    row = found[0][found[0] > 0]
    assert (np.diff(row.astype(object)) > 0).all()
    assert not found[0][row.size :].any()
    assert not found[1].any()


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(1000),
        np.full(1000, 7.5),
        np.arange(1000),
        np.round(np.sin(np.arange(1000) / 20) * 3),
        np.random.default_rng(0).integers(0, 8, 1000),
    ],
    ids=["zero", "flat", "ramp", "seven steps", "three bits of noise"],
)
def test_flat_and_coarse_signals_have_none(samples: np.ndarray) -> None:
    assert not fingerprints(samples[None].astype(np.float32)).any()


@pytest.mark.parametrize("shape", [(0, 1000), (3, 0), (3, 65), (0, 0)])
def test_nothing_and_very_short_windows_have_none(shape: tuple[int, int]) -> None:
    found = fingerprints(np.ones(shape, np.float32))
    assert found.shape == (shape[0], FINGERPRINTS)
    assert not found.any()


def test_fingerprints_are_the_same_on_every_machine() -> None:
    # Golden: this package's own first output; a change makes every store's fingerprints incomparable and needs a new format.
    samples = (np.arange(400) * 7919 % 1009).astype(np.float32)[None]
    assert fingerprints(samples)[0, :2].tolist() == [602322390049990801, 686627428388013825]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), stride=st.integers(100, 400))
def test_window_id_is_equal_exactly_where_the_samples_are(known: Callable[..., Record], seed: int, stride: int) -> None:
    rng = np.random.default_rng(seed)
    record = known(np.full(20, 120.0), np.full(20, 80.0))
    ppg = record.channels["ppg"]
    block = rng.integers(0, 2, (5, 400)).astype(np.float32)
    samples = np.concatenate([block[i] for i in rng.integers(0, 5, 6)])[:2040]
    changed = ppg.__class__("ppg", "ppg", "NU", ppg.fs, samples)
    setting = Windowing(400 / 125, ("ppg",), stride / 125, rules=ReferenceRules(min_beats=1))
    made = cut(record.with_channel(changed), setting, BLOOD_PRESSURE)
    ids = made.facts["window_id"]
    equal = (made.signal[:, 0][:, None] == made.signal[:, 0][None]).all(axis=2)
    np.testing.assert_array_equal(ids[:, None] == ids[None], equal)
    assert {len(i) for i in ids} == {16}
