"""Laws of the command line: exit codes, one line on standard error, and no traceback unless it is asked for."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from biosig_mtl import cli
from biosig_mtl.cli import shell
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.types import DataError, RecipeError

WORDS = (
    "training.ensemble=1",
    "split.folds=2",
    "training.epochs=1",
    "model.width=8",
    "model.heads=2",
    "split.negative_control=false",
)
TINY = [word for setting in WORDS for word in ("--set", setting)]
VERBS = ["demo", "check", "prepare", "train", "run", "report", "audit", "predict", "look", "compare", "data", "store"]


@pytest.fixture(scope="module", autouse=True)
def cheap_baselines() -> Iterator[None]:
    from biosig_mtl.models import baselines

    few = {name: baselines.BASELINES[name] for name in ("train_mean", "train_median")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "BASELINES", few)
        yield


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, out, err


def one_line(answer: tuple[int, str, str], code: int) -> str:
    assert answer[0] == code, answer
    assert answer[2].startswith("biosig-mtl: "), answer
    assert answer[2].count("\n") == 1
    assert "Traceback" not in answer[2]
    return answer[2]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cohort = Cohort(n_subjects=8, records_per_subject=1, record_s=40, fault_share=0)
    return write(cohort, tmp_path_factory.mktemp("d") / "c")


@pytest.fixture(scope="module")
def run(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("r") / "run"
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", "demo_bp", "--data", str(cohort), "--out", str(out), "--workers", "1", *TINY])
    assert stop.value.code == 0
    return out


# ---------------------------------------------------------------------------------------------------------------- wrong words
@pytest.mark.parametrize("words", [[], *([v] for v in VERBS), ["data", "list"], ["data", "fetch"], ["store", "verify"]])
def test_every_verb_tells_what_it_does(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    code, out, err = call(capsys, *words, "--help")
    assert (code, err) == (0, "")
    assert "Usage: biosig-mtl" in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["rnu"], "No such command"),
        (["run", "demo_bp"], "--out"),
        (["run", "demo_pb", "--out", "x"], "did you mean 'demo_bp'"),
        (["check", "demo_bp", "--set", "model"], "block.word=value"),
        (["check", "demo_bp", "--set", "modle.width=3"], "did you mean 'model'"),
        (["run", "demo_bp", "--out", "x", "--workers", "0"], "--workers"),
        (["run", "demo_bp", "--out", "x", "--data", "other=."], "this recipe names simulated_bp"),
        (["run", "uci_to_mimic3_bp", "--out", "x", "--data", "."], "write --data NAME=FOLDER"),
        (["prepare", "demo_bp", "--store", "x", "--engine", "spark"], "unknown engine (--engine) 'spark'"),
        (["data", "describe", "ppg_pb"], "did you mean 'ppg_bp'"),
        (["predict", "x", "y", "--out", "z", "--channel", "ppg"], "NAME=VALUE"),
        (["predict", "x", "y", "--out", "z", "--person", "age_years=old"], "not a number"),
        (["predict", "x", "y", "--out", "z", "--person", "agee=3"], "fact about the person"),
        (["demo", "--subjects", "3"], "--subjects"),
        (["compare", "demo_bp"], "--out"),
        (["compare", "demo_bp", "--out", "x", "--sizes", "half"], "write shares with commas"),
        (["compare", "demo_bp", "--out", "x", "--trials", "99"], "trials"),
        (["compare", "demo_bp", "--out", "x", "--variants", "ablatoins"], "ablatoins"),
        (["look", "x.csv", "--start", "soon"], "--start"),
        (["look", "x.csv", "--channel", "ppg"], "NAME=VALUE"),
    ],
)
def test_wrong_words_are_one_line_and_two(capsys: pytest.CaptureFixture[str], words: list[str], expected: str) -> None:
    assert expected in one_line(call(capsys, *words), 2)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "demo_bp", "--out", "x", "--data", "nowhere"], "nowhere: no such folder"),
        (["train", "demo_bp", "--store", "nowhere", "--out", "x"], "holds no finished store"),
        (["predict", "nowhere", "y", "--out", "z"], "nowhere"),
        (["report", "nowhere"], "nowhere"),
        (["compare", "demo_bp", "--store", "nowhere", "--out", "x"], "holds no finished store"),
        (["audit", "nowhere"], "not a finished run folder"),
        (["store", "verify", "nowhere"], "nowhere"),
        (["look", "nowhere.csv"], "nowhere.csv: no such file"),
    ],
)
def test_nothing_usable_is_one_line_and_three(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert expected in one_line(call(capsys, *words), 3)


def test_a_traceback_comes_when_it_is_asked_for() -> None:
    with pytest.raises(RecipeError, match="demo_pb"):
        cli.main(["check", "demo_pb", "--debug"])


def test_a_stop_and_a_full_disk_are_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(error: BaseException) -> Any:
        def get(*_: object) -> Any:
            raise error

        return get

    monkeypatch.setattr("biosig_mtl.cli.typer.main.get_command", raises(KeyboardInterrupt()))
    assert "the same command goes on from there" in one_line(call(capsys, "demo"), 130)
    full = OSError(28, "No space left on device", "shard")
    monkeypatch.setattr("biosig_mtl.cli.typer.main.get_command", raises(full))
    assert "shard: No space left on device" in one_line(call(capsys, "demo"), 3)
    with pytest.raises(OSError, match="No space left"):
        cli.main(["demo", "--debug"])
    monkeypatch.setattr(sys, "argv", ["biosig-mtl", "demo"])
    with pytest.raises(SystemExit):
        cli.main()


# ---------------------------------------------------------------------------------------------------------------- progress
def test_progress_is_a_line_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    tell = shell.progress("train", "networks")
    for done in range(41):
        tell(done, 40)
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 11
    assert err[-1] == "train: 40 of 40 networks"


def test_progress_is_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    draw = shell.progress("train", "networks")
    draw(1, 2)
    draw(2, 2)
    assert "train" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------------- the main job
def test_check_follows_a_recipe_without_data(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "check", "demo_bp")
    assert code == 0
    assert "waveform channels: ppg_8hz, vpg, apg, ecg_40hz" in out
    assert "pat." in out


def test_a_run_ends_with_a_report(run: Path) -> None:
    assert (run / "report.html").is_file()
    assert json.loads((run / "scores.json").read_text())["stamps"] == ["SIMULATED DATA"]


def test_prepare_and_train_are_the_run_in_two(
    capsys: pytest.CaptureFixture[str], run: Path, cohort: Path, tmp_path: Path
) -> None:
    place = run.parent / "store"
    code, out, _ = call(capsys, "prepare", "demo_bp", "--data", cohort, "--store", place, "--workers", 1, *TINY)
    assert code == 0
    assert "8 subjects from 8 of 8 records" in out
    code, out, err = call(capsys, "train", "demo_bp", "--store", place, "--out", tmp_path / "run", "--workers", 1, *TINY)
    assert code == 0
    assert "report: " in out
    assert "train: 2 of 2 networks" in err
    assert (tmp_path / "run" / "scores.json").read_bytes() == (run / "scores.json").read_bytes()


def test_a_leak_demonstration_ends_with_four(capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path) -> None:
    words = ["train", "demo_bp", "--store", run.parent / "store", "--out", tmp_path / "leak", "--workers", 1, *TINY]
    answer = call(capsys, *words, "--set", "split.scheme=random_window")
    assert "random-window split" in one_line((answer[0], answer[1], answer[2].splitlines()[-1] + "\n"), 4)
    assert (tmp_path / "leak" / "report.html").is_file()
    answer = call(capsys, "audit", tmp_path / "leak", "--store", run.parent / "store")
    assert "audit failed: split_scheme" in one_line(answer, 4)


def test_report_and_audit_of_a_finished_run(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    before = (run / "report.html").read_bytes()
    assert call(capsys, "report", run)[0] == 0
    assert (run / "report.html").read_bytes() == before
    code, out, _ = call(capsys, "audit", run)
    assert code == 0
    assert "passed  model_files" in out
    assert "FAILED" not in out


def test_predict_writes_a_row_a_window(capsys: pytest.CaptureFixture[str], run: Path, cohort: Path, tmp_path: Path) -> None:
    path, out = cohort / "s002" / "s002_1.hea", tmp_path / "out.csv"
    words = ["--channel", "ppg=PLETH", "--channel", "ecg=II", "--person", "age_years=61"]
    code, told, err = call(capsys, "predict", run, path, "--out", out, *words)
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert f"{len(rows)} windows of s002_1" in told
    assert {"onset_s", "sbp", "dbp", "sqi"} <= rows[0].keys()
    answer = call(capsys, "predict", run, path, "--out", out, "--channel", "ppg=NOPE")
    assert "NOPE" in one_line(answer, 3) or "'ppg'" in one_line(answer, 3)


def test_look_writes_a_picture_or_a_page_and_a_line_a_channel(
    capsys: pytest.CaptureFixture[str], cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cohort / "s002" / "s002_1.hea"
    monkeypatch.chdir(tmp_path)
    code, told, err = call(capsys, "look", path, "--start", 5, "--length", 10)
    assert (code, err) == (0, "")
    lines = told.splitlines()
    assert lines[0] == "s002_1: 5–15 s of 40 s"
    assert [line.split(":")[0] for line in lines[1:]] == ["ppg", "ecg", "abp", "picture"]
    assert all("beats (" in line and "Hz" in line for line in lines[1:4])
    assert (tmp_path / "s002_1.png").read_bytes().startswith(b"\x89PNG")
    words = ["--out", tmp_path / "a.html", "--recipe", "demo_bp", "--channel", "ppg=PLETH", "--channel", "ecg=II"]
    code, told, err = call(capsys, "look", path, *words, "--overview")
    assert (code, err) == (0, "")
    assert "windows of recipe demo_bp: " in told
    assert "<svg" in (tmp_path / "a.html").read_text(encoding="utf-8")
    monkeypatch.chdir(path.parent)
    assert "--out" in one_line(call(capsys, "look", path.name), 2)
    assert not list(path.parent.glob("*.png"))


def test_the_demo_is_the_run_on_a_simulated_cohort(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(cli, "run", lambda *words, **more: seen.append((words, more)))

    def writes(cohort: Cohort, folder: Path) -> Path:
        seen.append(cohort)
        return folder

    monkeypatch.setattr("biosig_mtl.data.synthetic.write", writes)
    code, out, _ = call(
        capsys, "demo", "--out", tmp_path / "demo", "--subjects", 12, "--workers", 1, "--task", "blood_pressure"
    )
    assert code == 0
    assert "no number of this run says anything about real ones" in out
    assert seen[0].n_subjects == 12
    assert seen[1][0] == ("demo_bp", tmp_path / "demo")


@pytest.mark.slow
def test_the_demo_with_few_people(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = call(
        capsys, "demo", "--out", tmp_path / "demo", "--subjects", 12, "--workers", 1, "--task", "blood_pressure"
    )
    assert code == 0
    assert "report: " in out
    content = json.loads((tmp_path / "demo" / "scores.json").read_text())
    assert content["audit"]["passed"]


# ------------------------------------------------------------------------------------------------------------ data and stores
def test_data_sets_are_listed_and_described(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, out, _ = call(capsys, "data", "list")
    assert {"ppg_bp", "uci_kachuee", "mimic3_waveforms"} <= {line.split()[0] for line in out.splitlines()}
    _, out, _ = call(capsys, "data", "describe", "mimic3_waveforms")
    assert "ODbL" in out
    code, out, _ = call(capsys, "data", "fetch", "mimic3_waveforms", tmp_path)
    assert code == 0
    assert "register" in out


def test_a_copy_of_a_data_set_is_verified(capsys: pytest.CaptureFixture[str], cohort: Path, tmp_path: Path) -> None:
    answer = call(capsys, "data", "verify", "simulated_bp", "--data", cohort)
    assert answer[0] in {0, 3}
    copy = Path(shutil.copytree(cohort, tmp_path / "c"))
    (copy / "s001" / "s001_1.dat").unlink()
    one_line(call(capsys, "data", "verify", "simulated_bp", "--data", copy), 3)


def test_a_store_is_verified_and_exported(capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path) -> None:
    (place,) = (run.parent / "store").iterdir()
    code, out, _ = call(capsys, "store", "verify", place)
    assert code == 0
    assert "every file is as it was written" in out
    code, out, _ = call(capsys, "store", "export", place, "--out", tmp_path / "table.parquet", "--to", "parquet")
    assert code == 0
    copy = Path(shutil.copytree(place, tmp_path / place.name))
    (copy / "rejected.csv").write_text("changed")
    answer = call(capsys, "store", "verify", copy)
    assert "rejected.csv" in answer[1]
    assert "1 damaged or missing files" in one_line(answer, 3)


def test_folders_of_data_sets(tmp_path: Path) -> None:
    assert shell.roots_of(None, ["a", "b"]) == {"a": None, "b": None}
    assert shell.roots_of([f"b={tmp_path}"], ["a", "b"]) == {"a": None, "b": tmp_path}
    assert shell.roots_of([str(tmp_path)], ["a"]) == {"a": tmp_path}
    (tmp_path / "x=y").mkdir()
    assert shell.roots_of([str(tmp_path / "x=y")], ["a"]) == {"a": tmp_path / "x=y"}
    assert shell.roots_of(["s3://bucket/x=y"], ["a"]) == {"a": Path("s3://bucket/x=y")}
    for word in ("https://host/x?key=SECRET", "a=https://host/x?key=SECRET", "b=s3://me:SECRET@bucket/x"):
        with pytest.raises(RecipeError, match="write the plain address") as told:
            shell.roots_of([word], ["a"])
        assert "SECRET" not in str(told.value)
    with pytest.raises(RecipeError, match="s3://bucket/x: this verb needs a folder"):
        shell.at_hand(Path("s3://bucket/x"))
    assert shell.at_hand(tmp_path) == tmp_path
    with pytest.raises(DataError, match="no such folder"):
        shell.roots_of([f"a={tmp_path}/no"], ["a"])


# ---------------------------------------------------------------------------------------------------------------- contest
def test_compare_tells_every_model_and_leaves_a_page(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:  # fmt: skip
    words = ["--store", run.parent / "store", "--out", tmp_path, "--seeds", 1, "--workers", 1, "--models", "hard_sharing"]
    code, out, _ = call(capsys, "compare", "demo_bp", *words, *TINY)
    assert code == 0
    for label in ("single_task", "hard_sharing", "train_median", "Δm", "page: "):
        assert label in out
    for name in ("compare.json", "compare.csv", "compare.md", "compare.html", "predictions.parquet"):
        assert (tmp_path / name).is_file()
    assert one_line(call(capsys, "compare", "demo_bp", *words[:-1], "hard_sharin", *TINY), 2).count("did you mean")
