"""Laws of prediction on a new recording: the run folder alone says how, and whatever is wrong is told in one line."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from biosig_mtl import experiment, pipeline, store
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.inference import Predictor, Told, predict_file
from biosig_mtl.interop import from_mne, opened, to_mne
from biosig_mtl.pipeline import preparing
from biosig_mtl.recipe import load
from biosig_mtl.types import DataError, Entry, RecipeError, Record

TINY = ("split.folds=2", "training.epochs=1", "model.width=8", "model.heads=2", "split.negative_control=false")
NAMES = {"ppg": ("PLETH",), "ecg": ("II",)}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cohort = Cohort(n_subjects=8, records_per_subject=1, record_s=40, fault_share=0)
    return write(cohort, tmp_path_factory.mktemp("d") / "c")


@pytest.fixture(scope="module")
def place(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipeline.prepare(load("demo_bp", TINY), cohort, tmp_path_factory.mktemp("s"))


@pytest.fixture(scope="module")
def run(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from biosig_mtl.models import baselines

    out = tmp_path_factory.mktemp("r") / "run"
    few = {name: baselines.BASELINES[name] for name in ("train_mean", "train_median")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "BASELINES", few)
        experiment.run(load("demo_bp", TINY), [place], out)
    return out


@pytest.fixture(scope="module")
def predictor(run: Path) -> Predictor:
    return Predictor.load(run)


def recording(cohort: Path, channels: Any = NAMES) -> Entry:
    return entry_for(cohort / "s001" / "s001_1.hea", channels)


def people(cohort: Path) -> dict[str, float]:
    frame = pd.read_csv(cohort / "subjects.csv").set_index("subject")
    return {str(k): float(frame[k]["s001"]) for k in ("age_years", "sex_male", "height_cm", "weight_kg")}


def test_a_prediction_is_the_mean_of_all_networks_on_the_windows_of_the_store(
    predictor: Predictor, cohort: Path, place: Path
) -> None:
    # A file by itself does not say that its channels share a clock; the manifest of the data set does.
    entry = replace(recording(cohort), demographics=people(cohort), timing_reliable=True)
    frame, _, _ = predictor.predict(open_source(entry), entry)
    table = store.read(place)
    mine = np.flatnonzero(table.index["record"] == "s001_1")
    one = replace(table, index=table.index.iloc[mine], values=table.values[mine], waveform=table.waveform[mine])
    expected = predictor.ensemble.predict(replace(one, targets=table.targets[mine]))
    seen = frame.set_index("onset_s").loc[table.index["onset_s"].to_numpy()[mine]]
    np.testing.assert_allclose(seen[["sbp", "dbp"]], expected, atol=1e-3, rtol=1e-4)
    np.testing.assert_allclose(seen["sqi"], table.index["sqi"].to_numpy()[mine], atol=1e-3)
    assert list(frame) == [
        "record",
        "onset_s",
        "end_s",
        "sbp",
        "sbp_lower",
        "sbp_upper",
        "dbp",
        "dbp_lower",
        "dbp_upper",
        "sqi",
    ]
    assert (frame["sbp_lower"] < frame["sbp"]).all()
    np.testing.assert_allclose(frame["end_s"] - frame["onset_s"], 8.0)


def test_the_run_folder_alone_is_enough(run: Path, cohort: Path, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere" / "run"
    shutil.copytree(run / "model", alone / "model")
    told = predict_file(alone, cohort / "s001" / "s001_1.hea", tmp_path / "a.csv")
    assert "windows of s001_1" in told
    frame = pd.read_csv(tmp_path / "a.csv")
    predict_file(run, cohort / "s001" / "s001_1.hea", tmp_path / "deep" / "a.parquet")
    again = pd.read_parquet(tmp_path / "deep" / "a.parquet")
    np.testing.assert_allclose(frame["sbp"], again["sbp"], atol=1e-4)


def test_what_is_known_of_the_person_is_used(run: Path, cohort: Path, tmp_path: Path) -> None:
    path, out = cohort / "s001" / "s001_1.hea", tmp_path / "a.csv"
    predict_file(run, path, out)
    before = pd.read_csv(out)
    predict_file(run, path, out, Told(demographics={"age_years": 90.0, "weight_kg": 120.0}))
    assert not np.allclose(before["sbp"], pd.read_csv(out)["sbp"])
    with pytest.raises(RecipeError, match="'age'; choose from age_years"):
        predict_file(run, path, out, Told(demographics={"age": 90.0}))
    with pytest.raises(RecipeError, match="'pgp'"):
        predict_file(run, path, out, Told({"pgp": ("PLETH",), "ppg": ("PLETH",)}))


def test_a_long_recording_in_pieces_gives_what_the_whole_gives(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(Cohort(n_subjects=1, records_per_subject=1, record_s=150, fault_share=0), tmp_path / "c")
    entry = recording(root)
    whole, _, _ = predictor.predict(open_source(entry), entry)
    monkeypatch.setattr(preparing, "PIECE_S", 37.0)
    assert len(list(pipeline.pieces(open_source(entry), entry))) == 5
    parts, _, _ = predictor.predict(open_source(entry), entry)
    assert parts["onset_s"].tolist() == whole["onset_s"].tolist()
    numbers = [name for name in whole if name != "record"]
    np.testing.assert_allclose(parts[numbers], whole[numbers], atol=1e-3)


def test_a_missing_channel_is_named(predictor: Predictor, cohort: Path) -> None:
    entry = recording(cohort, {"ecg": ("II",)})
    with pytest.raises(DataError, match="s001_1: missing channel 'ppg', which this run needs; it has ecg") as error:
        predictor.predict(open_source(entry), entry)
    assert error.value.exit_code == 3


def test_the_reference_is_neither_needed_nor_looked_at(predictor: Predictor, cohort: Path) -> None:
    without, with_abp = recording(cohort), recording(cohort, {**NAMES, "abp": ("ABP",)})
    a, _, _ = predictor.predict(open_source(without), without)
    b, _, _ = predictor.predict(open_source(with_abp), with_abp)
    pd.testing.assert_frame_equal(a, b)


def test_a_recording_without_a_usable_window_is_one_line(run: Path, tmp_path: Path) -> None:
    flat = pd.DataFrame({"time": np.arange(2500) / 125, "ppg": np.zeros(2500), "ecg": np.zeros(2500)})
    flat.to_csv(tmp_path / "flat.csv", index=False)
    with pytest.raises(DataError, match="flat: no usable window") as error:
        predict_file(run, tmp_path / "flat.csv", tmp_path / "out.csv")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out.csv").exists()


def test_what_was_refused_and_what_is_missing_is_told(run: Path, tmp_path: Path) -> None:
    root = write(Cohort(n_subjects=1, records_per_subject=1, record_s=60, fault_share=0), tmp_path / "c")
    data = root / "s001" / "s001_1.dat"
    data.write_bytes(data.read_bytes()[: 6 * 125 * 30])
    told = predict_file(run, data.with_suffix(".hea"), tmp_path / "out.csv")
    assert "note: " in told
    frame = pd.read_csv(tmp_path / "out.csv")
    assert frame["end_s"].max() <= 30


def test_an_altered_model_is_refused(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    path = next((copy / "model").glob("*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=path.name):
        Predictor.load(copy)
    with pytest.raises(DataError, match="nowhere"):
        Predictor.load(tmp_path / "nowhere")


def test_a_table_that_cannot_be_written_is_told(run: Path, cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"a\.csv: cannot be written"):
        predict_file(run, cohort / "s001" / "s001_1.hea", tmp_path / "file" / "a.csv")


def test_windows_whose_interval_is_too_wide_are_refused_and_counted(run: Path, cohort: Path, tmp_path: Path) -> None:
    path, out = cohort / "s001" / "s001_1.hea", tmp_path / "a.csv"
    predict_file(run, path, out)
    whole = pd.read_csv(out)
    reach = (whole[["sbp_upper", "dbp_upper"]].to_numpy() - whole[["sbp", "dbp"]].to_numpy()).max()
    assert "refused" not in predict_file(run, path, out, Told(refuse_above=float(reach) + 1))
    pd.testing.assert_frame_equal(pd.read_csv(out), whole)
    with pytest.raises(DataError, match=r"no window is sure enough \(5 refused\)"):
        predict_file(run, path, out, Told(refuse_above=0.01))
    with pytest.raises(RecipeError, match="above"):
        predict_file(run, path, out, Told(refuse_above=-1.0))


def test_a_recording_in_memory_is_estimated_as_its_file(cohort: Path, predictor: Predictor) -> None:
    entry = recording(cohort)
    wanted, refused, _ = predictor.predict(open_source(entry), entry)
    there = open_source(entry).read()
    for record in (there, from_mne(to_mne(there, list(NAMES)))):
        assert isinstance(record, Record)
        found, also, _ = predictor.predict(*opened(replace(record, name=there.name, demographics=there.demographics)))
        pd.testing.assert_frame_equal(found, wanted)
        assert also == refused
