"""Laws of a run that is run again: the same bits wherever on a machine it is done; a difference is told as large as it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from safetensors.numpy import load_file, save_file

from biosig_mtl import experiment
from biosig_mtl.cli import reproduce as verb
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.lifecycle import reproduce, reproduce_words
from biosig_mtl.lifecycle.reproduce_compare import compare, paired, target
from biosig_mtl.lifecycle.reproduce_folder import Finished, open_finished, refuse_begun
from biosig_mtl.lifecycle.reproduce_tolerance import OTHER_MACHINE, OTHER_VERSIONS, Tolerance, tolerance_for, worst
from biosig_mtl.types import AuditError, DataError, RecipeError
from tests.lifecycle.conftest import Run

Copied = Callable[..., Path]
USUAL = OTHER_MACHINE


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Copied:
    """Copy the finished run; change its predictions, if a change is given."""

    def make(change: Callable[[pd.DataFrame], pd.DataFrame] | None = None, name: str = "again") -> Path:
        place = tmp_path / name
        shutil.copytree(run.folder, place)
        if change is not None:
            path = place / "predictions.parquet"
            change(pd.read_parquet(path)).to_parquet(path, index=False)
        return place

    return make


def compared(run: Run, other: Path, tolerance: Tolerance = USUAL) -> dict[str, Any]:
    return compare(open_finished(run.folder), open_finished(other), tolerance)


def moved(by: float, rows: slice = slice(None)) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.copy()
        at = frame.index[frame["target"] == "sbp"][rows]
        frame.loc[at, "y_pred"] += by
        return frame

    return change


def edited(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


# ------------------------------------------------------------------------------------------------- the same, to the last bit
def in_another_order(source: Path, target_: Path) -> Path:
    """Copy a data folder with its files made in the reverse order, and dates of another year."""
    for path in sorted((p for p in source.rglob("*") if p.is_file()), reverse=True):
        place = target_ / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        os.utime(place, (10**9, 10**9))
    return target_


def test_elsewhere_on_the_machine_a_run_is_the_same_to_the_last_bit(run: Run, tmp_path: Path) -> None:
    """Another process, folder, hash seed, time zone, locale, number of workers, order of the files; prepared from the data."""
    cohort = write(Cohort(n_subjects=12, records_per_subject=1, record_s=30, fault_share=0.1), tmp_path / "first" / "c")
    data = in_another_order(cohort, tmp_path / "an other place" / "c")
    out = tmp_path / "out"
    words = f"Path({str(run.folder)!r}), data=[{str(data)!r}], out=Path({str(out)!r}), workers=2"
    # Files are opened in ASCII unless somebody says otherwise; the terminal is another matter.
    place = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "utf-8"}
    elsewhere = {"PYTHONHASHSEED": "12345", **place}
    done = subprocess.run(
        [sys.executable, "-c", f"from pathlib import Path\nfrom biosig_mtl.cli.reproduce import reproduce\nreproduce({words})"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **elsewhere},
        cwd=tmp_path / "first",
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads((out / reproduce.FILE).read_text(encoding="utf-8"))
    assert told["verdict"] == "identical"
    assert told["stores"] == [
        {"run": p.name, "again": p.name, "same_digest": True, "same_content": True} for p in (out / "store").iterdir()
    ]
    assert told["networks"]["identical"] == told["networks"]["run"] == told["networks"]["again"]
    # The first run was told no facts of its data set.
    assert [name for name, same in told["files"].items() if not same] == ["dataset.json"]
    # Who edits the package while the tests run has another program.
    assert [row["what"] for row in told["environment"] if row["what"] != "source"] == []
    assert "identical: every estimate and every figure" in done.stdout


def test_a_copy_is_identical(run: Run, copied: Copied) -> None:
    told = compared(run, copied())
    assert told["verdict"] == "identical"
    assert all(told["files"].values())
    assert told["networks"]["largest_distance"] == 0


# ------------------------------------------------------------------------------------------------- a difference is told
def test_the_order_of_rows_is_no_difference(run: Run, copied: Copied) -> None:
    told = compared(run, copied(lambda frame: frame.sample(frac=1, random_state=0)))
    assert told["verdict"] == "identical"
    assert not told["files"]["predictions.parquet"]


def test_a_difference_is_as_large_as_it_is(run: Run, copied: Copied) -> None:
    told = compared(run, copied(moved(0.25)), OTHER_VERSIONS)
    assert told["verdict"] == "within tolerance"
    assert told["targets"]["sbp"]["largest"] == pytest.approx(0.25)
    assert told["targets"]["sbp"]["usual"] == pytest.approx(0.25)
    assert told["targets"]["dbp"]["verdict"] == "identical"
    exact = replace(USUAL, usual_mmhg=0.2)
    assert compared(run, copied(moved(0.25), "b"), exact)["verdict"] == "differs"


@pytest.mark.parametrize(("by", "rows"), [(USUAL.usual_mmhg * 1.1, slice(None)), (USUAL.window_mmhg * 1.1, slice(1))])
def test_beyond_the_tolerance_a_run_differs(run: Run, copied: Copied, by: float, rows: slice) -> None:
    told = compared(run, copied(moved(by, rows)))
    assert told["verdict"] == "differs"
    assert told["targets"]["sbp"]["verdict"] == "differs"


def test_one_last_bit_is_not_identical(run: Run, copied: Copied) -> None:
    told = compared(run, copied(lambda f: f.assign(y_pred=np.nextafter(f["y_pred"].to_numpy(), np.inf))))
    assert told["verdict"] == "within tolerance"


def test_windows_of_one_run_only_are_counted(run: Run, copied: Copied) -> None:
    told = compared(run, copied(lambda frame: frame.iloc[3:]))
    assert (told["windows"]["only_run"], told["windows"]["only_again"]) == (3, 0)
    assert told["verdict"] == "differs"


def test_an_estimate_that_one_run_lacks_differs(run: Run, copied: Copied) -> None:
    told = compared(run, copied(moved(np.nan, slice(1))))
    assert told["targets"]["sbp"]["verdict"] == "differs"


def test_a_figure_that_moved_is_told(run: Run, copied: Copied) -> None:
    other = copied()

    def worse(content: dict[str, Any]) -> None:
        content["targets"]["sbp"]["mae"] += 2 * USUAL.mae_mmhg

    edited(other / "scores.json", worse)
    told = compared(run, other)
    assert told["targets"]["sbp"]["mae_change"] == pytest.approx(2 * USUAL.mae_mmhg)
    assert told["verdict"] == "differs"


def test_other_folds_differ(run: Run, copied: Copied) -> None:
    other = copied()
    frame = pd.read_parquet(other / "folds.parquet")
    frame.loc[0, "part"] = "test" if frame.loc[0, "part"] != "test" else "train"
    frame.to_parquet(other / "folds.parquet", index=False)
    told = compared(run, other)
    assert told["folds"] == {"rows": len(frame), "other": 2, "verdict": "differs"}
    assert told["verdict"] == "differs"


def test_an_audit_that_passed_in_one_run_only_differs(run: Run, copied: Copied) -> None:
    other = copied()
    edited(other / "scores.json", lambda content: content["audit"].update(passed=not content["audit"]["passed"]))
    assert compared(run, other)["verdict"] == "differs"


def test_weights_that_moved_are_told_and_altered_ones_refused(run: Run, copied: Copied) -> None:
    import hashlib

    other = copied()
    name, told = next(iter(json.loads((other / "model" / "model.json").read_text())["members"].items()))
    path = other / "model" / f"{name}.safetensors"
    tensors = load_file(path)
    save_file({k: np.asarray(v * np.float32(1.5)) if v.dtype == np.float32 else v for k, v in tensors.items()}, path)
    with pytest.raises(DataError, match="was altered after training"):
        open_finished(other).tensors(name, told["sha256"])
    edited(
        other / "model" / "model.json",
        lambda content: content["members"][name].update(sha256=hashlib.sha256(path.read_bytes()).hexdigest()),
    )
    found = compared(run, other)["networks"]
    assert found["identical"] == found["run"] - 1
    assert found["largest_distance"] == pytest.approx(0.5, abs=0.01)
    # A network of another shape is infinitely far.
    save_file({"x": np.zeros(3, np.float32)}, path)
    edited(
        other / "model" / "model.json",
        lambda content: content["members"][name].update(sha256=hashlib.sha256(path.read_bytes()).hexdigest()),
    )
    assert compared(run, other)["networks"]["largest_distance"] == np.inf


# -------------------------------------------------------------------------------------------------------------- classes
def of_classes(run: Run, first: list[float], second: list[float], figures: tuple[float, float]) -> dict[str, Any]:
    n = len(first)
    keys: dict[str, Any] = {
        "target": "valence",
        "seed": 0,
        "fold": 0,
        "subject": "a",
        "session": "1",
        "record": "r",
        "stimulus": "",
    }

    def table(share: list[float]) -> pd.DataFrame:
        low = np.array(share)
        frame = pd.DataFrame({"onset_s": np.arange(n, dtype=float), "y_true": 0.0, "y_pred": (low < 0.5).astype(float)})
        return frame.assign(lower=np.nan, upper=np.nan, p_0=low, p_1=1 - low, p_2=np.nan, **keys)

    finished = open_finished(run.folder)
    runs = tuple(replace(finished, scores={"targets": {"valence": {"unit": "", "balanced_accuracy": f}}}) for f in figures)
    rows, _ = paired(table(first), table(second))
    return target("valence", rows, (runs[0], runs[1]), OTHER_VERSIONS)


def test_classes_are_compared_by_their_shares(run: Run) -> None:
    assert of_classes(run, [0.2, 0.6], [0.2, 0.6], (0.5, 0.5))["verdict"] == "identical"
    near = of_classes(run, [0.2, 0.51], [0.2, 0.49], (0.5, 0.51))
    assert near["mean_share"] == pytest.approx(0.01)
    assert near["other_class"] == 0.5
    assert near["verdict"] == "within tolerance"
    assert of_classes(run, [0.2, 0.9], [0.2, 0.1], (0.5, 0.5))["verdict"] == "differs"
    assert of_classes(run, [0.2, 0.6], [0.2, 0.6], (0.5, 0.6))["verdict"] == "differs"


def test_other_units_have_the_same_share_of_their_spread() -> None:
    scaled = USUAL.scaled("points", 2.0)
    assert scaled.mae == pytest.approx(USUAL.mae_mmhg * 2.0 / USUAL.spread_mmhg)
    assert USUAL.scaled("mmHg", 2.0).window == USUAL.window_mmhg
    assert USUAL.scaled("points", float("nan")).window == 0


def test_other_versions_are_given_more_than_another_machine() -> None:
    for fact in ("processor.model", "processor.flags", "variables.OMP_NUM_THREADS", "torch.kernels", "torch.threads"):
        assert tolerance_for([fact]) is OTHER_MACHINE
    for fact in ("python", "packages.numpy", "source", "torch.mkl", "numpy.version"):
        assert tolerance_for(["torch.threads", fact]) is OTHER_VERSIONS
    assert tolerance_for([]) is OTHER_MACHINE
    assert OTHER_MACHINE.usual_mmhg < OTHER_VERSIONS.usual_mmhg


def test_the_worst_verdict_counts() -> None:
    assert worst(["identical", "differs", "within tolerance"]) == "differs"
    assert worst([]) == "identical"


@pytest.mark.parametrize(("words", "why"), [({"mae_mmhg": -1.0}, "tolerances >= 0"), ({"spread_mmhg": 0.0}, "spread_mmhg > 0")])
def test_a_tolerance_refuses_nonsense(words: dict[str, float], why: str) -> None:
    given: dict[str, Any] = dict(words)
    with pytest.raises(ValueError, match=why):
        replace(USUAL, **given)
    with pytest.raises(ValueError, match="workers >= 1"):
        reproduce.Work(workers=0)


# ------------------------------------------------------------------------------------------------------------ from end to end
def test_a_finished_folder_is_only_compared(run: Run, copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    other = copied(moved(0.001))
    monkeypatch.setattr(experiment, "run", lambda *_, **__: pytest.fail("trained again"))
    told = reproduce.reproduce(run.folder, reproduce.stores_of(run.folder, run.stores), other)
    assert not told["trained"]
    assert told["verdict"] == "within tolerance"
    assert told == json.loads((other / reproduce.FILE).read_text(encoding="utf-8"))
    # Told where, in words; nobody knows why in one environment.
    assert told["environment"] == []
    assert any("depends on chance or on time" in line for line in reproduce_words.in_words(told))
    lines = reproduce_words.in_words(told)
    assert any(line.startswith("sbp MAE") and "within tolerance" in line for line in lines)
    assert lines[-1].startswith("within tolerance")
    assert reproduce_words.reasons(told) == []


def test_the_run_itself_and_other_recipes_are_refused(run: Run, copied: Copied) -> None:
    stores = reproduce.stores_of(run.folder, run.stores)
    for inside in (run.folder, run.folder / "again"):
        with pytest.raises(DataError, match="is the run itself or lies in it"):
            reproduce.reproduce(run.folder, stores, inside)
    other = copied()
    (other / "recipe.yaml").write_text((other / "recipe.yaml").read_text() + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds a run of another recipe"):
        reproduce.reproduce(run.folder, stores, other)


def test_other_data_end_with_one_line_and_exit_4(run: Run, copied: Copied, capsys: pytest.CaptureFixture[str]) -> None:
    other = copied()
    with pytest.raises(AuditError, match=f"store {run.with_rate.name} where the run has") as caught:
        reproduce.reproduce(run.folder, [run.with_rate], other)
    assert caught.value.exit_code == 4
    told = reproduce.reproduce(run.folder, [run.with_rate], other, reproduce.Work(anyway=True))
    assert told["verdict"] == "differs"
    assert reproduce_words.reasons(told) == [f"store {run.with_rate.name} is not {told['stores'][0]['run']}"]
    with pytest.raises(DataError, match="made from 1 window stores, got 2"):
        reproduce.reproduce(run.folder, [run.with_rate] * 2, other)
    assert "DIFFERS" in "\n".join(reproduce_words.in_words(told))
    assert not capsys.readouterr().out


def test_a_store_with_other_bytes_is_told(run: Run, copied: Copied, tmp_path: Path) -> None:
    (place,) = reproduce.stores_of(run.folder, run.stores)
    other = tmp_path / "stores" / place.name
    shutil.copytree(place, other)
    (other / "store.json").write_text((other / "store.json").read_text() + "\n", encoding="utf-8")
    (row,) = reproduce.compare_stores(open_finished(run.folder), [other])
    assert (row["same_digest"], row["same_content"]) == (True, False)
    old = copied()
    edited(old / "environment.json", lambda content: content.pop("store_sha256"))
    (row,) = reproduce.compare_stores(open_finished(old), [other])
    assert row["same_content"] is None


def test_the_verb_says_what_differs_and_ends_with_4(run: Run, copied: Copied, capsys: pytest.CaptureFixture[str]) -> None:
    other = copied(moved(50.0))
    edited(other / "environment.json", lambda content: content["packages"].update(numpy="1.0"))
    with pytest.raises(AuditError, match=r"sbp: estimates differ by up to 50\.00 mmHg") as caught:
        verb.reproduce(run.folder, store=run.stores, out=other)
    assert caught.value.exit_code == 4
    said = capsys.readouterr().out
    assert "was finished; only compared" in said
    assert "packages.numpy" in said
    assert "DIFFERS: this is not the result of the run" in said


def test_the_verb_ends_well_where_nothing_differs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stores are prepared in a folder of their own, and what is trained goes to the folder that was asked for."""
    from biosig_mtl.cli import stores as preparing

    asked = []

    def prepare_stores(_: object, data: list[str], into: Path, workers: int) -> list[Path]:
        asked.append((data, into, workers))
        return reproduce.stores_of(run.folder, run.stores)

    monkeypatch.setattr(preparing, "prepare_stores", prepare_stores)
    monkeypatch.setattr(experiment, "run", lambda _, __, out, **___: shutil.copytree(run.folder, out))
    app = typer.Typer()
    verb.register(app)
    assert [command.callback for command in app.registered_commands] == [verb.reproduce]
    verb.reproduce(run.folder, data=["somewhere"], out=tmp_path / "out", workers=3)
    assert asked == [(["somewhere"], tmp_path / "out" / "store", 3)]
    said = capsys.readouterr().out
    assert "only compared" not in said
    assert "identical: every estimate" in said


def test_the_verb_refuses_two_sources(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="give one"):
        verb.reproduce(run.folder, data=["x"], store=tmp_path)
    with pytest.raises(DataError, match="is not there; give its folder with --store"):
        verb.reproduce(run.folder, store=tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "store").write_text("a file", encoding="utf-8")
    with pytest.raises(DataError, match="is no folder"):
        verb.reproduce(run.folder, data=[str(tmp_path)], out=tmp_path / "out")


# ------------------------------------------------------------------------------------------------------- damaged run folders
@pytest.mark.parametrize("name", ["recipe.yaml", "predictions.parquet", "model/model.json", "environment.json"])
def test_a_folder_that_is_no_finished_run_is_refused(copied: Copied, name: str) -> None:
    other = copied()
    (other / name).unlink()
    with pytest.raises(DataError, match=f"not a finished run folder: {name} is missing"):
        open_finished(other)


def test_damaged_files_are_told_in_a_line(run: Run, copied: Copied) -> None:
    other = copied()
    (other / "predictions.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="not readable, copy the run folder again"):
        compared(run, other)
    (other / "scores.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match="damaged"):
        open_finished(other)
    (other / "scores.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=r"scores\.json or environment\.json is damaged"):
        open_finished(other)
    (other / "scores.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="missing or not readable"):
        open_finished(other)


def test_damaged_networks_are_told_in_a_line(copied: Copied) -> None:
    import hashlib

    other = copied()
    finished = open_finished(other)
    name = next(iter(finished.networks))
    path = other / "model" / f"{name}.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(DataError, match="not readable"):
        finished.tensors(name, hashlib.sha256(b"no weights").hexdigest())
    path.unlink()
    with pytest.raises(DataError, match="missing or not readable"):
        finished.tensors(name, "")
    (other / "model" / "model.json").write_text('{"members": {"a": {}}}', encoding="utf-8")
    with pytest.raises(DataError, match="damaged"):
        _ = finished.networks


def test_a_run_that_began_with_other_networks_is_refused(run: Run) -> None:
    refuse_begun("A plain title (of 2020)", run.folder)
    with pytest.raises(RecipeError, match="started from my set, which no recipe makes again"):
        refuse_begun("A title (networks start from my set, 0123456789ab)", run.folder)


# ------------------------------------------------------------------------------------------------------------- environment
def test_environments_are_compared_fact_by_fact() -> None:
    old = {"python": "3.11", "packages": {"numpy": "2.0", "mne": "1"}, "stores": ["a"], "processor": {"flags": ["avx", "fma"]}}
    new = {"python": "3.11", "packages": {"numpy": "2.1", "mne": "1"}, "stores": ["b"], "processor": {"flags": ["avx"]}, "x": 1}
    assert reproduce.differences(old, new) == [
        {"what": "packages.numpy", "run": "2.0", "again": "2.1"},
        {"what": "processor.flags", "run": "avx fma", "again": "avx"},
        {"what": "x", "run": "not told", "again": "1"},
    ]
    assert reproduce.differences(old, old) == []


def test_many_differences_are_cut_short() -> None:
    rows = [{"what": f"p{k}", "run": "1" * 80, "again": "2"} for k in range(20)]
    told = {
        "stores": [],
        "windows": {"rows": 1, "only_run": 0, "only_again": 1, "verdict": "differs"},
        "folds": {"rows": 1, "other": 1, "verdict": "differs"},
        "targets": {
            "valence": {
                "balanced_accuracy": [None, 0.5], "balanced_accuracy_change": None, "mean_share": 0.3,
                "tolerance": {"mean_share": 0.1}, "verdict": "differs",
            }
        },
        "networks": {"run": 1, "again": 1, "identical": 0, "largest_distance": None},
        "files": {"a": True},
        "audit": [True, False],
        "tolerance": {"name": "other versions"},
        "environment": rows,
        "verdict": "differs",
    }  # fmt: skip
    lines = reproduce_words.in_words(told)
    assert "  and 8 more, see the JSON" in lines
    assert any("other shapes" in line for line in lines)
    why = reproduce_words.reasons(told)
    assert len(why) == 4
    assert "balanced accuracy by –" in why[2]


def test_finished_knows_its_stores(run: Run) -> None:
    finished: Finished = open_finished(run.folder)
    assert set(finished.store_sha256) == set(finished.stores)
