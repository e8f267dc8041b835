"""The way of the reference waveform from a recording to a table: kept beside the windows, never among the inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from biosig_mtl import features, pipeline, store, windows
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.experiment import tables
from biosig_mtl.pipeline.upstream import preparation
from biosig_mtl.recipe import Recipe, from_dict, load
from biosig_mtl.store import Lot
from biosig_mtl.tasks import TASKS
from biosig_mtl.training import Scaler, spec_of
from biosig_mtl.types import F32, Channel, ChannelInfo, DataError, Features, Fold, RecipeError, Record, Track, Windows
from tests.store.conftest import DATASET, a_lot, one_record
from tests.windows.conftest import known_record

WORD = "windows.reference_waveform=true"
TASK = TASKS["blood_pressure"]
CUT = windows.Windowing(length_s=4.0, channels=("ppg",), reference_waveform=True)


def record() -> Record:
    return known_record(np.full(20, 120.0), np.full(20, 70.0))


def with_samples(made: Record, name: str, samples: F32, fs: float = 125.0) -> Record:
    return made.with_channel(Channel(name, "abp", "mmHg", fs, samples))


# ------------------------------------------------------------------------------------------------------------------- windows
def test_windows_carry_the_samples_of_the_reference_as_they_are() -> None:
    made = windows.cut(record(), CUT, TASK)
    assert len(made) == 4
    assert made.reference is not None
    assert (made.reference.channels, made.reference.fs) == (("abp",), 125.0)
    whole = record().channels["abp"].samples
    first = np.rint(made.onset_s * 125).astype(int)
    np.testing.assert_array_equal(made.reference.signal, np.stack([whole[None, i : i + 500] for i in first]))
    assert made.reference.signal.dtype == np.float32


def test_all_else_is_what_it_is_without_the_word() -> None:
    told, plain = (windows.cut(record(), replace(CUT, reference_waveform=on), TASK) for on in (True, False))
    assert plain.reference is None
    assert told.channels == plain.channels == ("ppg",)
    for name in ("signal", "targets", "onset_s", "sqi"):
        np.testing.assert_array_equal(getattr(told, name), getattr(plain, name))


def test_what_is_unknown_or_not_plausible_is_nan() -> None:
    rows = replace(CUT, label="record", require_label=False)
    samples = record().channels["abp"].samples.copy()
    samples[10:20], samples[30:40], samples[50] = np.nan, 300.0, 0.0
    found = windows.cut(with_samples(record(), "abp", samples), rows, TASK)
    assert found.reference is not None
    bad = np.isnan(found.reference.signal[:, 0])
    np.testing.assert_array_equal(np.flatnonzero(bad[0]), [*range(10, 20), *range(30, 40), 50])
    assert not bad[1:].any()


def test_a_record_without_the_channel_has_none_of_it() -> None:
    made = record()
    alone = replace(made, channels={"ppg": made.channels["ppg"]})
    found = windows.cut(alone, replace(CUT, label="record", require_label=False), TASK)
    assert found.reference is not None
    assert found.reference.signal.shape == (len(found), 1, 500)
    assert np.isnan(found.reference.signal).all()


def test_a_reference_at_another_rate_is_refused() -> None:
    other = with_samples(record(), "abp", record().channels["abp"].samples[::2].copy(), 62.5)
    with pytest.raises(DataError, match=r"need one rate for all channels, got ppg 125 Hz, abp 62\.5 Hz"):
        windows.cut(other, replace(CUT, label="record", require_label=False), TASK)


def test_the_rest_before_a_stimulus_carries_none() -> None:
    made = replace(record(), baseline_s=(0.0, 5.0))
    found = windows.cut_rest(made, CUT, TASK)
    assert found is not None
    assert found.reference is None


# -------------------------------------------------------------------------------------------------------------------- recipe
def test_without_the_word_a_recipe_is_what_it_was() -> None:
    assert "reference_waveform" not in pipeline.resolved(load("uci_bp"))["windows"]
    assert pipeline.resolved(load("uci_bp", [WORD.replace("true", "false")])) == pipeline.resolved(load("uci_bp"))
    assert pipeline.resolved(load("uci_bp", [WORD]))["windows"]["reference_waveform"] is True


def test_the_word_needs_a_channel_to_keep() -> None:
    content = load("demo_bp", [WORD]).to_dict()
    content["windows"] |= {"label": "record", "reference": "pressure"}
    infos = {n: ChannelInfo(n, n, "", 125.0) for n in ("ppg", "ecg", "abp")}
    with pytest.raises(RecipeError, match=r"windows\.reference: there is no channel 'pressure'"):
        pipeline.check(from_dict(content), infos)


def test_a_prediction_looks_for_no_reference() -> None:
    assert not preparation(load("demo_bp", [WORD])).unlabelled().windowing.reference_waveform


# --------------------------------------------------------------------------------------------------------------------- inputs
def test_features_are_the_same_bytes_with_and_without_it() -> None:
    made = preparation(load("demo_bp", [WORD]))
    bare = replace(made.features, families=(), waveform=("ppg",))
    told = windows.cut(record(), CUT, TASK)
    assert told.reference is not None
    upside_down = replace(told, reference=replace(told.reference, signal=-told.reference.signal))
    found = [features.extract(w, bare, TASK) for w in (told, upside_down, replace(told, reference=None))]
    for one in found[1:]:
        np.testing.assert_array_equal(one.waveform, found[0].waveform)
        np.testing.assert_array_equal(one.values, found[0].values)
        assert one.names == found[0].names


@pytest.mark.parametrize("where", ["waveform", "pulse"])
def test_it_cannot_be_named_as_an_input(where: str) -> None:
    content = load("demo_bp", [WORD]).to_dict()
    content["features"][where] = ["abp"] if where == "waveform" else "abp"
    with pytest.raises(RecipeError, match=r"barred from the inputs|not carried by the windows"):
        pipeline.check(from_dict(content), {n: ChannelInfo(n, n, "", 125.0) for n in ("ppg", "ecg", "abp")})


# ---------------------------------------------------------------------------------------------------------------------- store
def told_pair(rng: np.random.Generator, name: str, n: int) -> tuple[Windows, Features]:
    cut, made = one_record(rng, name, n)
    pressure = rng.normal(90, 20, (n, 1, 50)).astype(np.float32)
    pressure[:1, :, :3] = np.nan
    return replace(cut, reference=Track(("abp",), 25.0, pressure)), made


def told_lot(number: int) -> Lot:
    rng = np.random.default_rng(number)
    cut, made = zip(*(told_pair(rng, f"q{number}{i}", i + 1) for i in range(3)), strict=True)
    return Lot(cut, made, tuple(w.record for w in cut), ())


def written(folder: Path, *lots: Lot) -> Path:
    store.write_plan(folder, {})
    for number, lot in enumerate(lots):
        store.write_lot(folder, number, lot, DATASET)
    store.finish(folder, len(lots))
    return folder


def test_a_store_gives_it_back_bit_by_bit(tmp_path: Path) -> None:
    place = written(tmp_path / "s", told_lot(0), told_lot(1))
    table = store.read(place)
    assert table.reference is not None
    assert (table.reference.channels, table.reference.fs) == (("abp",), 25.0)
    wanted = np.concatenate([w.reference.signal for n in (0, 1) for w in told_lot(n).windows if w.reference])
    np.testing.assert_array_equal(np.asarray(table.reference.signal), wanted)
    np.testing.assert_array_equal(table.reference.signal[[7, 0]], wanted[[7, 0]])
    assert store.verify(place) == []
    assert table.tracks == {}
    assert table.waveform_channels == ("ppg_8hz",)


def test_a_store_without_it_has_no_word_of_it(tmp_path: Path) -> None:
    place = written(tmp_path / "s", a_lot(1))
    assert store.read(place).reference is None
    assert '"reference"' not in (place / "lots" / "00000.json").read_text(encoding="utf-8")
    assert b'"reference"' not in (place / "lots" / "00000.safetensors").read_bytes()


def test_lots_that_do_not_agree_on_it_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the lots do not agree on their reference"):
        written(tmp_path / "s", told_lot(0), a_lot(1))


def test_it_is_exported_under_its_name(tmp_path: Path) -> None:
    import h5py

    place = written(tmp_path / "s", told_lot(0))
    with h5py.File(store.export(place, "hdf5", tmp_path / "s.h5"), "r") as file:
        reference = store.read(place).reference
        assert reference is not None
        np.testing.assert_array_equal(file["reference"][:], np.asarray(reference.signal))


# --------------------------------------------------------------------------------------------------- from recordings to a table
@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(Cohort(n_subjects=2, records_per_subject=1, record_s=20, fault_share=0.0), tmp_path_factory.mktemp("d") / "c")


def small(*overrides: str) -> Recipe:
    return load("demo_bp", overrides)


@pytest.fixture(scope="module")
def both(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("s")
    return pipeline.prepare(small(), cohort, place), pipeline.prepare(small(WORD), cohort, place)


def test_a_recording_becomes_a_table_with_its_pressure(both: tuple[Path, Path]) -> None:
    plain, told = (store.read(folder) for folder in both)
    assert both[0] != both[1]
    assert plain.reference is None
    assert told.reference is not None
    assert told.reference.signal.shape[:2] == (len(told), 1)
    pressure = np.asarray(told.reference.signal)[:, 0]
    np.testing.assert_allclose(np.nanmean(pressure, axis=1), told.index["map"], rtol=1e-4)
    assert (np.nanmax(pressure, axis=1) >= told.targets[:, 0] - 1).all()
    # Everything that a network may see, and the table beside it, is what it is without.
    assert spec_of(told) == spec_of(plain)
    for name in ("values", "waveform", "targets"):
        np.testing.assert_array_equal(np.asarray(getattr(told, name)), np.asarray(getattr(plain, name)))
    assert told.index.equals(plain.index)


def test_each_recipe_finds_its_own_store(both: tuple[Path, Path]) -> None:
    name = small().data.dataset
    assert pipeline.find_store(small(), both[0].parent, name) == both[0]
    assert pipeline.find_store(small(WORD), both[0].parent, name) == both[1]


# --------------------------------------------------------------------------------------------------------------------- tables
def test_rows_and_joined_stores_keep_it(tmp_path: Path) -> None:
    one, two = written(tmp_path / "a", told_lot(0)), written(tmp_path / "b", told_lot(5))
    table = tables.read([one, two])
    parts = [np.asarray(t.reference.signal) for t in (store.read(one), store.read(two)) if t.reference is not None]
    assert table.reference is not None
    np.testing.assert_array_equal(np.asarray(table.reference.signal), np.concatenate(parts))
    rows = tables._rows(table, np.array([8, 1]))
    assert rows.reference is not None
    np.testing.assert_array_equal(np.asarray(rows.reference.signal), np.concatenate(parts)[[8, 1]])
    with pytest.raises(DataError, match="the two data sets of a transfer differ in reference"):
        tables.read([one, written(tmp_path / "c", a_lot(3))])


def test_labels_that_are_handed_on_take_their_waveform_along(tmp_path: Path) -> None:
    table = store.read(written(tmp_path / "s", *(told_lot(n) for n in range(3))))
    rows = np.arange(len(table))
    fold = Fold(rows[:10], rows[10:14], rows[14:])
    moved = tables.shuffled_labels(table, fold, np.random.default_rng(0))
    plain = tables.shuffled_labels(replace(table, reference=None), fold, np.random.default_rng(0))
    np.testing.assert_array_equal(moved.targets, plain.targets)
    assert plain.reference is None
    assert moved.reference is not None
    assert table.reference is not None
    giver = [int(np.flatnonzero((table.targets == row).all(axis=1))[0]) for row in moved.targets]
    assert giver[:14] != list(range(14))
    assert giver[14:] == rows[14:].tolist()
    np.testing.assert_array_equal(np.asarray(moved.reference.signal), np.asarray(table.reference.signal)[giver])


def test_an_unknown_reference_has_a_scale_that_harms_nobody(tmp_path: Path) -> None:
    table = store.read(written(tmp_path / "s", told_lot(0)))
    assert table.reference is not None
    blank = replace(table, reference=replace(table.reference, signal=np.full(table.reference.signal.shape, np.nan, np.float32)))
    scaler = Scaler.fit(blank, np.arange(len(blank)))
    assert scaler.reference is not None
    assert scaler.reference.tolist() == [0.0, 1.0]
    assert Scaler.fit(replace(table, reference=None), np.arange(3)).reference is None
