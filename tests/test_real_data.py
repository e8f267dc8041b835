"""What is known of the real recordings: nothing is lost without a word, and no damaged file ends in a traceback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from biosig_mtl import cli, experiment, pipeline, store
from biosig_mtl.recipe import load

TINY = ("split.folds=2", "training.epochs=1", "model.width=8", "model.heads=2", "split.negative_control=false")
BAD = [
    "empty.csv", "header_only.csv", "lfs_pointer/a103l.hea", "lfs_pointer/a103l.mat", "ppgbp_231_1_4200samples.txt",
    "truncated_in_header.edf", "truncated_mid_record.edf", "wfdb_truncated_dat/3400715.hea",
    "missing_segments_s00001/s00001-2896-10-10-00-31.hea", "missing_segments_s00001/3975656_0011.hea",
]  # fmt: skip


def test_ppg_bp_is_counted(data_root: Path, tmp_path: Path) -> None:
    folder = pipeline.prepare(load("ppg_bp"), data_root / "bp" / "ppg_bp", tmp_path)
    told = store.summary(folder)
    rejected = store.read_rejected(folder)
    used = set(store.read(folder).index["record"])
    assert len(used | {record for record, _, _ in rejected}) == 405
    subjects = {record.split("_")[0] for record in used | {record for record, _, _ in rejected}}
    assert len(subjects) == 135
    assert told["records_used"] == len(used)
    copies = {record: reason for record, _, reason in rejected if "identical" in reason}
    assert {"24_1", "23_3"} <= set(copies)
    assert {record.split("_")[0] for record in copies} == {"23", "24", "146", "148", "185", "216"}


@pytest.fixture(scope="module")
def mimic(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipeline.prepare(load("mimic3_bp"), data_root / "bp" / "mimic3_atm", tmp_path_factory.mktemp("s"))


def test_every_mimic_record_is_used_or_rejected_with_a_reason(data_root: Path, mimic: Path) -> None:
    names = {p.stem for p in (data_root / "bp" / "mimic3_atm").glob("*.hea")}
    assert len(names) == 50
    told = store.summary(mimic)
    assert told["records"] == told["records_used"] + told["records_rejected"] == 50
    reasons: dict[str, set[str]] = {}
    for record, _, reason in store.read_rejected(mimic):
        reasons.setdefault(record, set()).add(reason)
    assert set(store.read(mimic).index["record"]) | set(reasons) == names
    assert not any("unexpected" in reason for found in reasons.values() for reason in found)
    assert any("10" in r and " s" in r for found in reasons.values() for r in found)


@pytest.fixture(scope="module")
def run(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from biosig_mtl.models import baselines

    recipe = load("uci_bp", [*TINY, "data.limit=40"])
    place = pipeline.prepare(recipe, data_root / "bp" / "uci_kachuee", tmp_path_factory.mktemp("s"))
    out = tmp_path_factory.mktemp("r") / "run"
    few = {name: baselines.BASELINES[name] for name in ("train_mean", "train_median")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "BASELINES", few)
        scores = experiment.run(recipe, [place], out)
    assert scores.audit_passed, scores.content["audit"]
    assert scores.content["n_windows"] == len(store.read(place))
    assert store.summary(place)["records"] == 40
    return out


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int | str | None, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(word) for word in words])
    out, err = capsys.readouterr()
    return stop.value.code, out, err


def test_pressures_of_a_record_that_the_run_has_never_seen(
    data_root: Path, run: Path, mimic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usable = store.read(mimic).index["record"].mode()[0]
    out = tmp_path / "out.csv"
    code, told, err = call(capsys, "predict", run, data_root / "bp" / "mimic3_atm" / f"{usable}.hea", "--out", out)
    assert (code, err) == (0, "")
    frame = pd.read_csv(out)
    assert f"{len(frame)} windows of {usable}" in told
    assert np.isfinite(frame[["onset_s", "sbp", "dbp", "sqi"]].to_numpy()).all()
    assert frame["sqi"].between(0, 1).all()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line_or_rows_and_a_note(
    data_root: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / "out.csv"
    code, told, err = call(capsys, "predict", run, data_root / "bad" / name, "--out", out)
    assert "Traceback" not in told + err
    if code == 0:
        assert "note: " in told or "refused" in told
        assert len(pd.read_csv(out)) > 0
    else:
        assert code == 3
        assert err.startswith("biosig-mtl: ")
        assert err.count("\n") == 1
        assert not out.exists()
