"""Laws of intervals and of files: what they say holds on new people, and comes back from a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from biosig_mtl.estimators import SplitMergeClassifier, SplitMergeRegressor
from biosig_mtl.estimators.regressor import half_width
from biosig_mtl.types import DataError

SMALL: dict[str, Any] = {"width": 8, "epochs": 4, "random_state": 0}
Arrays = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.str_]]


# ------------------------------------------------------------------------------------------------------------- intervals
def test_half_widths_give_every_person_the_same_say() -> None:
    # Nine people with one error each and one with a thousand small ones.
    errors = np.concatenate([np.arange(1.0, 10.0), np.full(1000, 0.5)])
    unit = np.concatenate([np.arange(9), np.full(1000, 9)])
    assert half_width(errors, unit, 0.5) == 5.0  # 6 of 11 people with errors up to 5
    assert half_width(np.append(errors, np.nan), np.append(unit, 99), 0.5) == 5.0
    assert half_width(errors[:3], unit[:3], 0.9) == np.inf


def test_intervals_hold_what_they_say_on_new_people() -> None:
    rng = np.random.default_rng(8)

    def cohort(n: int) -> Arrays:
        who = np.repeat(np.arange(n), 3)
        X = rng.normal(size=(3 * n, 2))
        own = rng.normal(size=(n, 2))[who] * 5
        return X, 100 + 10 * X + own + rng.normal(size=(3 * n, 2)), who.astype(str)

    X, y, groups = cohort(150)
    made = SplitMergeRegressor(**SMALL, validation=0.5).fit(X, y, groups=groups)
    new, truth, _ = cohort(300)
    low, high = made.predict_interval(new, 0.8)
    assert low.shape == truth.shape
    covered = ((truth >= low) & (truth <= high)).mean(axis=0)
    # 75 people were held back: chance alone moves the coverage by some 0.05.
    assert (np.abs(covered - 0.8) < 0.1).all()
    wide = made.predict_interval(new, 0.95)
    assert (wide[0] <= low).all()
    assert (wide[1] >= high).all()


def test_an_interval_that_nothing_carries_is_refused(people: Arrays, fitted: SplitMergeRegressor) -> None:
    with pytest.raises(ValueError, match=r"an interval of 90% needs 9 persons .* got 4"):
        fitted.predict_interval(people[0])
    with pytest.raises(ValueError, match="need 0 < level < 1"):
        fitted.predict_interval(people[0], 1.0)


# ----------------------------------------------------------------------------------------------------------------- files
def test_a_saved_regressor_says_the_same(people: Arrays, tmp_path: Path) -> None:
    X, y, groups = people
    frame = pd.DataFrame(X, columns=[f"pulse.{k}" for k in range(5)])
    made = SplitMergeRegressor(**SMALL, ensemble=3, waveform_shape=(1, 2), model_options={"heads": 1}).fit(
        frame, y, groups=groups
    )
    again = SplitMergeRegressor.load(made.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.predict(frame), made.predict(frame))
    assert again.get_params() == made.get_params()
    assert again.feature_names_in_.tolist() == list(frame)
    np.testing.assert_equal(again.history_, made.history_)
    for ours, theirs in zip(again.predict_interval(frame, 0.6), made.predict_interval(frame, 0.6), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert {p.suffix for p in (tmp_path / "model").iterdir()} == {".json", ".safetensors"}
    with pytest.raises(ValueError, match="feature names"):
        again.predict(frame[frame.columns[::-1]])


@pytest.mark.parametrize("words", [("low", "high"), (0, 1), (0.0, 1.0), (False, True)])
def test_a_saved_classifier_says_the_same(tmp_path: Path, words: tuple[Any, Any]) -> None:
    X = np.random.default_rng(9).normal(size=(30, 3))
    y = np.array(words)[(X[:, 0] > 0).astype(int)]
    made = SplitMergeClassifier(**SMALL | {"random_state": np.random.RandomState(0)}).fit(X, y)
    again = SplitMergeClassifier.load(made.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.predict_proba(X), made.predict_proba(X))
    np.testing.assert_array_equal(again.predict(X), made.predict(X))
    assert np.asarray(again.classes_).dtype == np.asarray(made.classes_).dtype
    assert again.random_state is None
    several = SplitMergeClassifier(**SMALL).fit(X, np.stack([y, y], axis=1))
    assert len(SplitMergeClassifier.load(several.save(tmp_path / "several")).classes_) == 2


def test_files_that_are_another_or_altered_are_refused(fitted: SplitMergeRegressor, tmp_path: Path) -> None:
    folder = fitted.save(tmp_path / "model")
    with pytest.raises(DataError, match="holds SplitMergeRegressor, not a SplitMergeClassifier"):
        SplitMergeClassifier.load(folder)
    content = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(content | {"extra": {}}))
    with pytest.raises(DataError, match="holds the model of a run"):
        SplitMergeRegressor.load(folder)
    weights = folder / "member0.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(DataError, match="altered"):
        SplitMergeRegressor.load(folder)


def test_what_is_not_fitted_or_no_plain_word_is_not_saved(fitted: SplitMergeRegressor, people: Arrays, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        clone(fitted).save(tmp_path / "no")
    odd = clone(fitted).set_params(model_options={"heads": np.int64(2)}).fit(*people[:2])
    with pytest.raises(ValueError, match="parameter 'model_options' is no plain word"):
        odd.save(tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_a_notebook_sees_a_box(fitted: SplitMergeRegressor) -> None:
    assert "SplitMergeRegressor" in fitted._repr_html_()
