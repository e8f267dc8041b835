"""Laws of features of windows that stand alone: each by itself, the names by the parameters, close to those of the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from biosig_mtl import pipeline, store
from biosig_mtl.data.readers import open_source
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.estimators import FeatureExtractor
from biosig_mtl.features import FEATURES
from biosig_mtl.recipe import load
from biosig_mtl.types import RecipeError

Signals = NDArray[np.float32]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Signals, pd.DataFrame]:
    """Return windows of two signals cut from simulated recordings, and the features of the recordings as a whole."""
    from biosig_mtl.data import manifest

    cohort = write(Cohort(n_subjects=3, records_per_subject=1, record_s=64, fault_share=0), tmp_path_factory.mktemp("d") / "c")
    recipe = load("demo_bp")
    table = store.read(pipeline.prepare(recipe, cohort, tmp_path_factory.mktemp("s")))
    known = manifest.load("simulated_bp")
    entries = {e.record: e for e in manifest.entries(known, cohort).entries}
    records = {name: open_source(entry).read() for name, entry in entries.items()}
    rows = []
    for name, onset in zip(table.index["record"], table.index["onset_s"], strict=True):
        fs = records[name].channels["ppg"].fs
        first = round(float(onset) * fs)
        rows.append([records[name].channels[c].samples[first : first + round(8 * fs)] for c in ("ppg", "ecg")])
    made = pd.DataFrame(table.values, columns=list(table.names))
    made.attrs["fs"] = fs
    return np.array(rows, np.float32), made


def test_windows_alone_have_the_features_of_the_whole_but_for_their_edges(whole: tuple[Signals, pd.DataFrame]) -> None:
    signals, wanted = whole
    made = FeatureExtractor(fs=wanted.attrs["fs"], channels=("ppg", "ecg"), recipe="demo_bp").set_output(transform="pandas")
    found = made.fit_transform(signals)
    assert list(found) == list(wanted)
    compared = [n for n in map(str, wanted) if not n.startswith(("person.", "pat.")) and wanted[n].std() > 0]
    assert len(compared) > 100
    off = [float((found[n] - wanted[n]).abs().median() / wanted[n].std()) for n in compared]
    assert np.median(off) < 0.02
    assert found["person.age_years"].isna().all()


def test_a_row_does_not_depend_on_the_others(whole: tuple[Signals, pd.DataFrame]) -> None:
    signals = whole[0][:5]
    made = FeatureExtractor(fs=whole[1].attrs["fs"], channels=("ppg", "ecg"), recipe="demo_bp")
    together = made.fit_transform(signals)
    apart = np.concatenate([made.transform(signals[[k]]) for k in range(len(signals))])
    np.testing.assert_array_equal(together, apart)
    np.testing.assert_array_equal(made.transform(signals[::-1]), together[::-1])


def test_a_window_with_a_gap_is_unknown_and_a_flat_one_is_harmless(whole: tuple[Signals, pd.DataFrame]) -> None:
    signals = whole[0][:4].copy()
    signals[1, 0, 200:600] = np.nan
    signals[2] = 1.0
    made = FeatureExtractor(fs=whole[1].attrs["fs"], channels=("ppg", "ecg"), families=("rate", "pulse_shape"))
    found = made.fit_transform(signals)
    assert np.isnan(found[1]).all()
    assert np.isnan(found[2]).any()
    assert np.isfinite(found[[0, 3]]).mean() > 0.9
    assert np.isnan(made.transform(signals[[1]])).all()


def test_the_rate_is_that_of_the_pulse() -> None:
    t = np.arange(1600) / 200
    waves = [np.sin(2 * np.pi * hz * t) + 0.3 * np.sin(4 * np.pi * hz * t + 1) for hz in (1.0, 1.5)]
    made = FeatureExtractor(fs=200, families=("rate",)).set_output(transform="pandas").fit_transform(np.stack(waves)[:, None])
    np.testing.assert_allclose(made["hr.mean_per_min"], [60, 90], rtol=0.01)


def test_eeg_by_the_names_of_electrodes() -> None:
    rng = np.random.default_rng(0)
    t = np.arange(512) / 128
    alpha = 20 * np.sin(2 * np.pi * 10 * t)
    X = rng.normal(size=(3, 4, 512)) + alpha * np.array([0.1, 0.1, 2, 2])[:, None]
    made = FeatureExtractor(fs=128, channels=("F3", "F4", "O1", "O2"), families=("eeg_de", "eeg_asym"))
    found = made.set_output(transform="pandas").fit_transform(X)
    bands = [name for name in found if name.startswith("eeg_de.") and name.endswith("O1")]
    assert found[bands].mean().idxmax() == "eeg_de.alpha.O1"


def test_slow_signals_as_trails() -> None:
    t = np.arange(64 * 30) / 64
    X = np.stack([5 + 0.01 * t, 33 + 0 * t])[None].repeat(2, axis=0)
    made = FeatureExtractor(fs=64, channels=("eda", "temp"), families=("eda", "temp")).set_output(transform="pandas")
    found = made.fit_transform(X)
    means = found[[name for name in found if name.startswith("temp.") and "mean" in name]]
    np.testing.assert_allclose(means, 33, atol=1e-3)
    assert found.filter(like="eda.").notna().any(axis=None)


@pytest.mark.parametrize("family", sorted(FEATURES))
def test_every_family_has_its_names_without_data(family: str) -> None:
    channels = ("ppg", "ecg", "eda", "temp", "resp", "F3", "F4")
    made = FeatureExtractor(fs=125, channels=channels, families=(family,))
    names = made.get_feature_names_out()
    assert len(names) == len(set(names)) > 0
    X = np.random.default_rng(0).normal(size=(2, 7, 1250)).cumsum(axis=2).astype(np.float32)
    assert made.fit_transform(X).shape == (2, len(names))


def test_it_is_a_transformer_that_learns_nothing() -> None:
    made = FeatureExtractor(fs=64, families=("rate",))
    check_is_fitted(made)
    again = clone(made.fit(np.zeros((1, 1, 128))))
    assert again.get_params() == made.get_params()
    assert not [name for name in vars(made) if name.endswith("_") and name != "n_features_in_"]


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ({}, RecipeError, "need families="),
        ({"families": ("ratee",)}, RecipeError, "did you mean 'rate'"),
        ({"families": ("rate",), "channels": ("ecg",)}, RecipeError, "need channel 'ppg_12hz'"),
        ({"families": ("rate",), "channels": ("ppg", "ppg")}, RecipeError, "different channel names"),
        ({"families": ("rate",), "kinds": ("ppg", "ecg")}, RecipeError, "as many kinds"),
        ({"families": ("rate",), "kinds": ("abp",)}, RecipeError, "abp|ppg_12hz"),
        ({"families": ("rate",), "fs": 0}, RecipeError, "need fs > 0"),
        ({"recipe": "demo_affect", "channels": ("F3",)}, RecipeError, "no rest to be compared with"),
        ({"recipe": "no_such"}, RecipeError, "no_such"),
    ],
)
def test_a_wrong_word_is_answered(words: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        FeatureExtractor(**words).fit(np.zeros((2, 1, 500)))


@pytest.mark.parametrize("shape", [(4, 500), (4, 2, 500), (4, 1, 0), (4, 1, 5, 5)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"need X of shape \(window, 1 channels, time\)|minimum of|0 feature"):
        FeatureExtractor(families=("rate",)).fit(np.zeros(shape))


def test_a_recipe_may_be_a_value_or_a_name() -> None:
    recipe = load("ppg_bp")
    by_name = FeatureExtractor(fs=1000, recipe="ppg_bp").get_feature_names_out()
    assert FeatureExtractor(fs=1000, recipe=recipe).get_feature_names_out().tolist() == by_name.tolist()
    some = FeatureExtractor(fs=1000, recipe=recipe, families=("rate",)).get_feature_names_out()
    assert set(some) < set(by_name)
