"""Laws of a whole run of affect: any mix of heads, what is not known, twins, and the same bytes after a kill."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from biosig_mtl import experiment, store
from biosig_mtl.experiment import members
from biosig_mtl.models import baselines
from biosig_mtl.store.files import sealed
from biosig_mtl.types import DataError, Scores
from tests.experiment.affect import Rate, answering, rated, recipe, write_store

MIXED = answering("{kind: regression, ccc: 0.5}", "{kind: ordinal, edges: [4, 6]}")
BINARY = "{kind: binary, edges: [5], balanced: true}"
FEW = ("train_mean", "train_median", "majority", "class_prior", "stimulus_mean")


@pytest.fixture(autouse=True, scope="module")
def _cheap_baselines() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "BASELINES", {name: baselines.BASELINES[name] for name in FEW})
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("s") / "store")


@pytest.fixture(scope="module")
def mixed(place: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scores]:
    out = tmp_path_factory.mktemp("r") / "run"
    return out, experiment.run(recipe(MIXED, "split.negative_control=true"), [place], out)


def predicted(out: Path, target: str) -> pd.DataFrame:
    frame = pd.read_parquet(out / "predictions.parquet")
    return frame[frame["target"] == target].reset_index(drop=True)


def failed(scores: Scores) -> list[str]:
    """Return the checks that failed; what two shuffles say of six people is luck."""
    return [c["detail"] for c in scores.content["audit"]["checks"] if not c["passed"] and c["name"] != "negative_control"]


def shares(frame: pd.DataFrame) -> Any:
    return frame[[name for name in frame if str(name).startswith("p_")]].dropna(axis=1).to_numpy()


def quick(folder: Path, place: Path, *overrides: str) -> Scores:
    return experiment.run(recipe(*overrides), [place], folder / "run")


# --------------------------------------------------------------------------------------------------------------------- heads
def test_numbers_and_classes_stand_side_by_side(mixed: tuple[Path, Scores]) -> None:
    out, scores = mixed
    assert not failed(scores)
    valence, arousal = predicted(out, "valence"), predicted(out, "arousal")
    assert len(valence) == len(arousal) == 6 * 4 * 3
    share = shares(arousal)
    assert share.shape[1] == 3
    np.testing.assert_allclose(share.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(arousal["y_pred"], share.argmax(axis=1))
    clip = [int(name[-1]) for name in arousal["stimulus"]]
    person = [int(name[1:]) for name in arousal["subject"]]
    rating = np.array([rated(p, c) for p, c in zip(person, clip, strict=True)])
    np.testing.assert_array_equal(arousal["y_true"], np.digitize(rating[:, 1], [4, 6], right=True))
    np.testing.assert_allclose(valence["y_true"], rating[:, 0], atol=1e-6)
    assert shares(valence).size == 0
    assert (valence["lower"] < valence["upper"]).all()
    assert arousal[["lower", "upper"]].isna().all().all()
    assert set(scores.content["intervals"]) == {"valence"}
    assert valence["trial"].nunique() == 24


def test_each_kind_of_target_has_its_own_baselines_and_control(mixed: tuple[Path, Scores]) -> None:
    content = mixed[1].content
    assert set(content["negative_control"]["valence"]) == {"mase", "mase_ci95", "ccc", "ccc_ci95"}
    assert set(content["negative_control"]["arousal"]) == {"balanced_accuracy", "balanced_accuracy_ci95"}
    assert set(FEW) <= set(content["baselines"])
    removal = json.loads((mixed[0] / "interpretation.json").read_text())["modalities"]["removal"]
    assert {target: set(of) for target, of in removal.items()} == {key: {"eeg", "eda", "hr"} for key in ("valence", "arousal")}
    assert (mixed[0] / "model" / "model.json").is_file()
    half = json.loads((mixed[0] / "model" / "model.json").read_text())["extra"]["half_width"]
    assert half[0] > 0
    assert half[1] is None


def test_the_second_audit_of_a_run_with_heads_and_tracks_passes(mixed: tuple[Path, Scores], place: Path) -> None:
    checks = experiment.audit_again(mixed[0], place.parent)
    assert all(c.passed for c in checks if c.name != "negative_control"), [c for c in checks if not c.passed]
    assert {"trial_overlap", "protocol_guarantee"} <= {c.name for c in checks}


@pytest.mark.parametrize(
    "heads",
    [
        answering(BINARY, "{kind: rasch, edges: [3, 5, 7]}"),
        answering("{kind: classes, edges: [3, 5, 6, 7]}", "{}"),
        answering("{kind: rasch, edges: [5]}"),
    ],
)
def test_any_mix_of_heads_gives_finite_shares(heads: str, place: Path, tmp_path: Path) -> None:
    scores = quick(tmp_path, place, heads)
    assert not failed(scores)
    frame = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert np.isfinite(frame["y_pred"]).all()
    classed = [target for target in set(frame["target"]) if shares(predicted(tmp_path / "run", target)).size]
    assert classed
    for target in classed:
        share = shares(predicted(tmp_path / "run", target))
        np.testing.assert_allclose(share.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_array_equal(predicted(tmp_path / "run", target)["y_pred"], share.argmax(axis=1))


def test_examples_tell_reference_and_estimate_in_one_language(place: Path, tmp_path: Path) -> None:
    """A rating of 1.2 beside class number 1 would be read as the class that it is not."""
    copy = Path(shutil.copytree(place, tmp_path / "s" / place.name))
    path = copy / "lots" / "00000.json"
    told = json.loads(path.read_text())
    shown = {"record": "p0/clip1", "onset_s": 2.0, "y_true": {"valence": 4.0, "arousal": 6.0}}
    path.write_bytes(sealed(told | {"examples": [shown]}))
    about = store.summary(copy)
    (copy / "store.json").unlink()
    store.finish(copy, about["lots"], (), about["about"])
    experiment.run(recipe(answering("{}", "{kind: ordinal, edges: [4, 5, 6]}")), [copy], tmp_path / "run")
    (example,) = json.loads((tmp_path / "run" / "examples.json").read_text())
    assert example["y_true"] == {"valence": 4.0, "arousal": 2.0}
    frame = predicted(tmp_path / "run", "arousal")
    (answer,) = frame.loc[(frame["record"] == "p0/clip1") & (frame["onset_s"] == 2.0), "y_pred"]
    assert example["y_pred"]["arousal"] == answer


# ------------------------------------------------------------------------------------------------------------ what is unknown
def unrated(*people: int) -> Rate:
    """Return ratings without arousal for some people."""
    return lambda person, clip: (rated(person, clip)[0], np.nan if person in people else rated(person, clip)[1])


@pytest.mark.parametrize("heads", [MIXED, answering("{}", BINARY)])
def test_a_person_without_one_rating_is_learned_from_and_tested_by_the_other(heads: str, tmp_path: Path) -> None:
    place = write_store(tmp_path / "store", unrated(3))
    scores = quick(tmp_path, place, heads)
    assert not failed(scores)
    arousal = predicted(tmp_path / "run", "arousal")
    assert arousal.loc[arousal["subject"] == "p3", "y_true"].isna().all()
    assert np.isfinite(arousal["y_pred"]).all()
    assert predicted(tmp_path / "run", "valence")["y_true"].notna().all()
    json.loads((tmp_path / "run" / "scores.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize("heads", [answering("{}", "{}"), MIXED])
def test_a_fold_that_tests_people_without_a_rating_is_no_obstacle(heads: str, tmp_path: Path) -> None:
    place = write_store(tmp_path / "store", unrated(1))
    scores = quick(tmp_path, place, heads, "split.scheme=leave_one_subject_out")
    content = scores.content
    assert not failed(scores)
    assert content["targets"]["valence"]["mae"] > 0
    assert content["folds"] == 6
    json.loads((tmp_path / "run" / "scores.json").read_text(), parse_constant=pytest.fail)
    json.loads((tmp_path / "run" / "interpretation.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize("heads", [answering("{}", "{}"), MIXED])
def test_a_rating_that_only_one_person_gave_is_refused_where_nobody_is_left_to_learn_from(heads: str, tmp_path: Path) -> None:
    place = write_store(tmp_path / "store", unrated(0, 1, 2, 3, 4))
    with pytest.raises(DataError, match="target 'arousal' is unknown in every window of the training part") as error:
        quick(tmp_path, place, heads, "split.scheme=leave_one_subject_out")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("heads", [answering("{}", "{}"), MIXED])
def test_a_transfer_to_people_who_lack_a_rating_grades_the_other(heads: str, place: Path, tmp_path: Path) -> None:
    other = write_store(tmp_path / "other", unrated(7, 8), people=(7, 8), dataset="another")
    given = recipe(heads, "split.scheme=transfer", "data.test_dataset=another")
    scores = experiment.run(given, [place, other], tmp_path / "run")
    assert not failed(scores)
    assert scores.content["targets"]["valence"]["mae"] > 0
    assert predicted(tmp_path / "run", "arousal")["y_true"].isna().all()
    json.loads((tmp_path / "run" / "scores.json").read_text(), parse_constant=pytest.fail)
    removal = json.loads((tmp_path / "run" / "interpretation.json").read_text())["modalities"]["removal"]
    assert removal["valence"]["eeg"] is not None
    assert all(value is None for value in removal["arousal"].values())


@pytest.mark.parametrize(
    "heads", [answering("{}", BINARY), answering("{kind: rasch, edges: [5]}", "{kind: classes, edges: [4, 6]}")]
)
def test_ratings_that_never_vary_end_in_words_and_not_in_a_crash(heads: str, tmp_path: Path) -> None:
    place = write_store(tmp_path / "store", lambda *_: (2.0, 3.0))
    scores = quick(tmp_path, place, heads, "split.negative_control=true")
    assert not failed(scores)
    (control,) = (c for c in scores.content["audit"]["checks"] if c["name"] == "negative_control")
    assert not control["passed"]
    assert "leak" not in control["detail"]
    assert "no figure tells it for" in control["detail"]
    json.loads((tmp_path / "run" / "scores.json").read_text(), parse_constant=pytest.fail)


def test_a_class_that_training_never_saw_is_told(tmp_path: Path) -> None:
    # One person alone is ever aroused: when that one is tested, nobody is left to show it.
    place = write_store(tmp_path / "store", lambda p, c: (rated(p, c)[0], 9.0 if p == 5 else 2.0 + 0.1 * c))
    scores = quick(tmp_path, place, answering("{}", BINARY), "split.scheme=leave_one_subject_out")
    told = [w for w in scores.content["warnings"] if "no training window has the class '> 5' of 'arousal'" in w]
    assert told
    share = shares(predicted(tmp_path / "run", "arousal"))
    np.testing.assert_allclose(share.sum(axis=1), 1, atol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------- twins
CALIBRATED = ("split.scheme=calibrated_within_trial", "split.calibration_s=4", "split.gap_s=0")


@pytest.fixture(scope="module")
def long_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("s") / "store", count=5)


@pytest.fixture(scope="module")
def calibrated(long_place: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scores]:
    out = tmp_path_factory.mktemp("r") / "run"
    return out, experiment.run(recipe(MIXED, *CALIBRATED, "training.ensemble=2"), [long_place], out)


def test_a_calibrated_run_stands_beside_its_twin_on_the_same_windows(calibrated: tuple[Path, Scores]) -> None:
    out, scores = calibrated
    content = scores.content
    assert not failed(scores)
    assert "NOT SUBJECT-INDEPENDENT" in content["stamps"]
    assert set(content["uncalibrated_twin"]["targets"]) == {"valence", "arousal"}
    assert content["uncalibrated_twin"]["targets"]["valence"]["mae"] != content["targets"]["valence"]["mae"]
    frame = pd.read_parquet(out / "folds.parquet")
    for _, one in frame.groupby("fold"):
        own, twin = one[~one["twin"]], one[one["twin"]]
        tested = {kind: set(part.loc[part["part"] == "test", "row"]) for kind, part in (("own", own), ("twin", twin))}
        assert tested["own"] == tested["twin"]
        people = set(own.loc[own["part"] == "test", "subject"])
        assert people & set(own.loc[own["part"] == "train", "subject"]) == people
        assert not people & set(twin.loc[twin["part"] != "test", "subject"])
    history = pd.read_csv(out / "history.csv")
    assert history["variant"].value_counts().to_dict() == {"model": 4, "twin": 4}


def test_the_audit_of_a_calibrated_run_looks_at_its_twin_again(
    calibrated: tuple[Path, Scores], long_place: Path, tmp_path: Path
) -> None:
    assert all(c.passed for c in experiment.audit_again(calibrated[0], long_place.parent))
    copy = Path(shutil.copytree(calibrated[0], tmp_path / "run"))
    frame = pd.read_parquet(copy / "folds.parquet")
    tested = frame[(frame["part"] == "test") & (frame["fold"] == 0)]["subject"].iloc[0]
    given = frame[(frame["fold"] == 0) & ~frame["twin"] & (frame["part"] == "train") & (frame["subject"] == tested)]
    moved = pd.concat([frame, given.assign(twin=True)], ignore_index=True)
    moved.to_parquet(copy / "folds.parquet", index=False)
    found = {c.name: c for c in experiment.audit_again(copy, long_place.parent)}
    assert not found["protocol_guarantee"].passed
    assert "the uncalibrated twin of" in found["protocol_guarantee"].detail


# ------------------------------------------------------------------------------------------------------------- the same bytes
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(
    mixed: tuple[Path, Scores], place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = mixed[0], tmp_path / "run"
    done: list[str] = []
    real = members.work

    def stopping(job: members.Job) -> None:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(job.name)
        real(job)

    with monkeypatch.context() as patch:
        patch.setattr(members, "work", stopping)
        with pytest.raises(KeyboardInterrupt):
            experiment.run(recipe(MIXED, "split.negative_control=true"), [place], out)
    assert len(list(out.glob("work/**/result.json"))) == 3
    experiment.run(recipe(MIXED, "split.negative_control=true"), [place], out)
    for path in sorted(p for p in whole.rglob("*") if p.is_file()):
        assert (out / path.relative_to(whole)).read_bytes() == path.read_bytes(), path.name
