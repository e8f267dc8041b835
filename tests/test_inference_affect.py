"""Laws of prediction with several modalities: whatever is missing is told, and never a reason to fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from biosig_mtl import cli, experiment, inference, pipeline, store
from biosig_mtl.data import manifest
from biosig_mtl.data.affect_cohort import AffectCohort, write
from biosig_mtl.data.readers import open_source
from biosig_mtl.experiment import answers
from biosig_mtl.inference import Predictor, Told, predict_file
from biosig_mtl.pipeline import preparing
from biosig_mtl.recipe import Recipe, load
from biosig_mtl.training.person import PerSubject, relative
from biosig_mtl.types import ChannelInfo, DataError, Entry, RecipeError

EEG = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")
TINY = (
    "windows.trails={ppg_8hz: 20, eda: 20, temp: 20}",
    "split.scheme=subject_kfold",
    "split.folds=2",
    "split.negative_control=false",
    "model.width=8",
    "model.heads=2",
    "model.answers={valence: {kind: regression}, arousal: {kind: ordinal, edges: [4, 6]}}",
    "training.epochs=1",
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(AffectCohort(n_subjects=4, n_stimuli=4, clip_s=12, rest_s=4), tmp_path_factory.mktemp("d") / "c")


@pytest.fixture(scope="module")
def place(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipeline.prepare(load("demo_affect", TINY), cohort, tmp_path_factory.mktemp("s"))


def trained(recipe: Recipe, place: Path, out: Path) -> Predictor:
    from biosig_mtl.models import baselines

    few = {name: baselines.BASELINES[name] for name in ("train_mean", "train_median", "majority")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "BASELINES", few)
        experiment.run(recipe, [place], out)
    return Predictor.load(out)


@pytest.fixture(scope="module")
def run(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("r") / "run"
    trained(load("demo_affect", TINY), place, out)
    return out


@pytest.fixture(scope="module")
def predictor(run: Path) -> Predictor:
    return Predictor.load(run)


@pytest.fixture(scope="module")
def entry(cohort: Path) -> Entry:
    """Return the last trial that sim01 saw: its trails reach back over others."""
    found = manifest.entries(manifest.load("simulated_affect"), cohort).entries
    return max((e for e in found if e.subject == "sim01"), key=lambda e: e.options["clip"][0])


def lacking(entry: Entry, *gone: str) -> Entry:
    return replace(entry, channels={name: names for name, names in entry.channels.items() if name not in gone})


def told(predictor: Predictor, entry: Entry, *without: str) -> tuple[pd.DataFrame, list[str]]:
    frame, _, notes = predictor.predict(open_source(entry), entry, without)
    assert np.isfinite(frame.select_dtypes(float)).all().all()
    return frame, [note for note in notes if "IBI" not in note]


# ----------------------------------------------------------------------------------------------------------- like in training
@pytest.mark.parametrize("how", ["none", "past", "whole"])
def test_a_recording_of_the_store_gives_the_inputs_of_the_store(
    how: PerSubject, predictor: Predictor, entry: Entry, place: Path
) -> None:
    made, lacking = predictor.suited(open_source(entry).channels, entry.record)
    assert lacking == ()
    _, windows, features = pipeline.work_piece(made, pipeline.Piece(entry))
    given = relative(inference.predictor._table([(windows, features)], predictor.ensemble.spec), how)
    table = store.read(place)
    mine = np.flatnonzero(table.index["record"] == entry.record)
    wanted = relative(replace(table, index=table.index.iloc[mine], values=table.values[mine]), how)
    assert given.names == wanted.names
    np.testing.assert_array_equal(given.values, wanted.values)
    np.testing.assert_allclose(given.index["onset_s"], wanted.index["onset_s"])
    np.testing.assert_allclose(given.index["sqi"], wanted.index["sqi"])
    for name, track in given.tracks.items():
        np.testing.assert_array_equal(track.signal, np.asarray(table.tracks[name].signal)[mine])


def test_the_first_recording_of_a_person_gives_what_the_networks_say_of_the_store(
    predictor: Predictor, cohort: Path, place: Path
) -> None:
    """Of the first: what was usual for the person so far begins anew with a recording that stands alone."""
    assert predictor.per_subject == "past"
    listed = manifest.entries(manifest.load("simulated_affect"), cohort).entries
    first = min((e for e in listed if e.subject == listed[0].subject), key=lambda e: float(e.options["session_s"]))
    table = answers.table_of(load("demo_affect", TINY), [place])
    mine = np.flatnonzero(table.index["record"] == first.record)
    wanted = predictor.ensemble.predict_full(table)
    frame, _ = told(predictor, first)
    np.testing.assert_allclose(frame["valence"], np.clip(wanted.estimates[mine, 0], 1, 9), atol=1e-5)
    np.testing.assert_allclose(frame["arousal_p2"], wanted.probabilities[1][mine, 2], atol=1e-6)


def test_a_class_is_named_with_the_share_of_each(predictor: Predictor, entry: Entry) -> None:
    frame, notes = told(predictor, entry)
    assert notes == []
    share = frame[["arousal_p0", "arousal_p1", "arousal_p2"]].to_numpy()
    np.testing.assert_allclose(share.sum(axis=1), 1, atol=1e-6)
    names = np.array(["≤ 4", "> 4 to 6", "> 6"])
    assert frame["arousal"].tolist() == names[share.argmax(axis=1)].tolist()
    assert "arousal_lower" not in frame
    assert (frame["valence_lower"] <= frame["valence"]).all()
    assert frame["onset_s"].tolist() == [4.0, 8.0, 12.0]


# ------------------------------------------------------------------------------------------------------------ what is missing
@pytest.mark.parametrize("without", [("eeg",), ("ppg",), ("eda",), ("temp",), ("eeg", "ppg"), ("eeg", "ppg", "eda", "temp")])
def test_any_modality_may_be_left_out(without: tuple[str, ...], predictor: Predictor, entry: Entry) -> None:
    whole, _ = told(predictor, entry)
    frame, _ = told(predictor, entry, *without)
    assert not np.allclose(frame["valence"], whole["valence"])


def test_an_unknown_modality_is_named(predictor: Predictor, entry: Entry) -> None:
    with pytest.raises(RecipeError, match="unknown modality 'emg'; choose from eda, eeg, ppg, temp") as error:
        told(predictor, entry, "emg")
    assert error.value.exit_code == 2


@pytest.mark.parametrize("gone", [("eda",), ("ppg",), ("temp", "eda"), ("F3",), ("ppg", "eda", "temp", "AF4")])
def test_what_a_recording_lacks_is_told(gone: tuple[str, ...], predictor: Predictor, entry: Entry) -> None:
    frame, notes = told(predictor, lacking(entry, *gone))
    (note,) = notes
    assert note.startswith("estimated without ")
    listed = note.removeprefix("estimated without ").partition(":")[0]
    assert set(listed.split(", ")) == set(gone)
    assert len(frame) == 3


def test_a_recording_that_lacks_a_modality_is_one_from_which_it_was_taken(predictor: Predictor, entry: Entry) -> None:
    taken, _ = told(predictor, entry, "eda")
    lacks, _ = told(predictor, lacking(entry, "eda"))
    pd.testing.assert_frame_equal(taken, lacks)


def test_a_wristband_alone_is_enough_for_a_run_that_learned_from_eeg_too(run: Path, cohort: Path, tmp_path: Path) -> None:
    said = predict_file(run, cohort / "sim02" / "session_e4.zip", tmp_path / "a.csv")
    assert f"estimated without {', '.join(EEG)}: the recording has none" in said
    frame = pd.read_csv(tmp_path / "a.csv")
    assert np.isfinite(frame.select_dtypes(float)).all().all()
    assert len(frame) > 10
    # What the wristband tells does matter: its track is the trail that the network knows.
    assert frame["valence"].iloc[6:].nunique() > 1
    predict_file(run, cohort / "sim02" / "session_e4.zip", tmp_path / "b.csv", Told(without=("ppg", "eda", "temp")))
    assert pd.read_csv(tmp_path / "b.csv")["valence"].nunique() == 1


def test_a_recording_with_nothing_that_the_run_knows_is_one_line(predictor: Predictor) -> None:
    channels = {"acc_x": ChannelInfo("acc_x", "acc", "g", 32.0)}
    with pytest.raises(DataError, match="walk: missing channel 'AF3', which this run needs; it has acc_x"):
        predictor.suited(channels, "walk")


def test_a_run_on_the_waveforms_of_the_wristband_does_without_any_of_them(cohort: Path, tmp_path: Path) -> None:
    """No hz is said, so that nothing but the network knows how long an absent track is."""
    given = load("demo_affect", [*TINY, "features.tracks={eeg: {channels: [F3, F4]}, eda: {channels: [eda]}}"])
    place = pipeline.prepare(given, cohort, tmp_path / "s")
    predictor = trained(given, place, tmp_path / "run")
    entries = manifest.entries(manifest.load("simulated_affect"), cohort).entries
    _, notes = told(predictor, lacking(entries[0], "eda"))
    assert notes == ["estimated without eda: the recording has none; expect larger errors"]
    predict_file(tmp_path / "run", cohort / "sim01" / "session_e4.zip", tmp_path / "a.csv")
    assert np.isfinite(pd.read_csv(tmp_path / "a.csv").select_dtypes(float)).all().all()


# ------------------------------------------------------------------------------------------------- the rest before a stimulus
def eeg_file(cohort: Path) -> Path:
    return cohort / "sim01" / "session.edf"


def test_a_run_that_compares_with_rest_asks_for_it(run: Path, cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"session: has no rest before its stimulus .* say where it lies \(predict --rest\)"):
        predict_file(run, eeg_file(cohort), tmp_path / "a.csv")
    said = predict_file(run, eeg_file(cohort), tmp_path / "a.csv", Told(rest_s=(4.0, 12.0)))
    assert "estimated without ppg, eda, temp" in said
    assert pd.read_csv(tmp_path / "a.csv")["onset_s"].iloc[0] == 12.0
    predict_file(run, eeg_file(cohort), tmp_path / "b.csv", Told(rest_s=(0.0, 8.0)))
    a, b = (pd.read_csv(tmp_path / name).set_index("onset_s")["valence"] for name in ("a.csv", "b.csv"))
    assert not np.allclose(a, b.loc[a.index])


def test_a_rest_beyond_the_recording_leaves_nothing_and_says_so(run: Path, cohort: Path, tmp_path: Path) -> None:
    said = r"session: no usable window \(record after its rest up to 2000 s shorter than one window of 4 s\)"
    with pytest.raises(DataError, match=said):
        predict_file(run, eeg_file(cohort), tmp_path / "a.csv", Told(rest_s=(1000.0, 2000.0)))


@pytest.mark.parametrize("rest_s", [(4.0, 4.0), (-1.0, 4.0), (5.0, 4.0), (0.0, float("inf")), (float("nan"), 4.0)])
def test_a_rest_that_is_none_is_refused(rest_s: tuple[float, float]) -> None:
    with pytest.raises(RecipeError, match="need a rest that ends after it starts"):
        Told(rest_s=rest_s)


def test_every_piece_of_a_long_recording_is_compared_with_the_same_rest(
    run: Path, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict_file(run, eeg_file(cohort), tmp_path / "whole.csv", Told(rest_s=(4.0, 12.0)))
    monkeypatch.setattr(preparing, "PIECE_S", 30.0)
    predict_file(run, eeg_file(cohort), tmp_path / "parts.csv", Told(rest_s=(4.0, 12.0)))
    whole, parts = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("whole", "parts"))
    assert parts["onset_s"].tolist() == whole["onset_s"].tolist()
    np.testing.assert_allclose(parts["valence"], whole["valence"], atol=2e-3)


@pytest.mark.parametrize("word", ["5", "a:b", "5:", ":5", "1:2:3"])
def test_a_rest_on_the_command_line_is_two_numbers(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["predict", "nowhere", "nothing.edf", "--out", "a.csv", "--rest", word])
    assert ended.value.code == 2
    assert f"--rest {word}: write it as START:STOP in seconds" in capsys.readouterr().err


def test_rest_and_modalities_are_told_on_the_command_line(
    run: Path, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.csv"
    with pytest.raises(SystemExit) as ended:
        cli.main(["predict", str(run), str(eeg_file(cohort)), "--out", str(out), "--rest", "4:12", "--without", "temp"])
    assert ended.value.code == 0
    assert "estimated without ppg, eda, temp" in capsys.readouterr().out
    assert pd.read_csv(out)["onset_s"].iloc[0] == 12.0
