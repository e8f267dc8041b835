"""Laws of a whole run: what it leaves, that it is the same however it is worked, and what it refuses."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from biosig_mtl import experiment, store
from biosig_mtl.evaluation import scores as graders
from biosig_mtl.experiment import grading, running, tables
from biosig_mtl.recipe import Recipe, dump, load
from biosig_mtl.types import DataError, RecipeError, WindowTable
from tests.experiment.conftest import FACTS, TINY, Run

# Architecture §7; report.html is the report's.
FILES = {
    "recipe.yaml", "scores.json", "predictions.parquet", "rejected.csv", "history.csv", "environment.json", "model",
    "folds.parquet", "split_report.json", "examples.json", "dataset.json", "interpretation.json",
}  # fmt: skip
KEYS = {
    "schema", "task", "dataset", "protocol", "folds", "seeds", "model", "n_subjects", "n_windows", "n_rejected", "coverage",
    "targets", "baselines", "audit",
}  # fmt: skip
TARGET_KEYS = {
    "unit", "mae", "mae_ci95", "me", "sd", "rmse", "r", "ccc", "mase", "pooled", "iso81060_2", "bhs", "ieee1708",
}  # fmt: skip
SAME = (
    "scores.json",
    "predictions.parquet",
    "folds.parquet",
    "history.csv",
    "split_report.json",
    "examples.json",
    "interpretation.json",
    "recipe.yaml",
)
RUN = """
import sys
from pathlib import Path
from biosig_mtl import experiment
from biosig_mtl.recipe import load
if __name__ == "__main__":
    recipe, stores, out, workers = sys.argv[1:]
    facts = [{"name": "simulated_bp", "simulated": True}]
    print("ready", flush=True)
    experiment.run(load(recipe), [Path(stores)], Path(out), workers=int(workers), facts=facts)
"""


# ---------------------------------------------------------------------------------------------------------- what a run leaves
def test_a_run_folder_holds_all_it_should_and_no_half_done_work(run: Run) -> None:
    assert {p.name for p in run.folder.iterdir()} == FILES
    assert not list(run.folder.rglob("*.tmp"))
    assert {p.suffix for p in (run.folder / "model").iterdir()} == {".safetensors", ".json"}
    assert len(list((run.folder / "model").glob("*.safetensors"))) == 2


def test_the_scores_have_every_key_of_schema_1(run: Run) -> None:
    content = json.loads((run.folder / "scores.json").read_text())
    assert content.keys() >= KEYS
    assert content["schema"] == 1
    assert set(content["targets"]) == {"sbp", "dbp"}
    for target in content["targets"].values():
        assert target.keys() >= TARGET_KEYS
        assert target["pooled"].keys() >= {"mae", "me", "sd"}
    assert content["baselines"].keys() >= {"train_mean", "train_median", "demographics", "ridge", "gradient_boosting"}
    for name in ("train_mean", "train_median", "demographics", "ridge", "gradient_boosting"):
        assert {"mae"} <= content["baselines"][name]["sbp"].keys()
    assert content["audit"]["passed"] is True
    assert {"name", "passed", "detail"} == set(content["audit"]["checks"][0])
    assert content["stamps"] == ["SIMULATED DATA"]
    assert content["reference"] == "simulated"
    assert set(content["negative_control"]) == {"sbp", "dbp"}
    assert 0 <= content["intervals"]["sbp"]["coverage"] <= 1


def test_the_numbers_of_a_run_agree_with_its_store(run: Run, whole: WindowTable) -> None:
    content, told = run.scores.content, store.summary(run.store)
    assert content["n_windows"] == len(whole) == told["windows"]
    assert content["n_rejected"] == told["windows_rejected"]
    assert content["coverage"] == pytest.approx(len(whole) / (len(whole) + told["windows_rejected"]))
    rows = list(csv.reader((run.folder / "rejected.csv").read_text().splitlines()))
    assert len(rows) == 1 + content["n_rejected"]
    assert json.loads((run.folder / "environment.json").read_text())["stores"] == [run.store.name]
    assert json.loads((run.folder / "dataset.json").read_text()) == FACTS
    assert load(run.folder / "recipe.yaml") == run.recipe


def test_every_window_is_tested_once_by_networks_that_never_saw_its_subject(run: Run, whole: WindowTable) -> None:
    frame = pd.read_parquet(run.folder / "predictions.parquet")
    assert len(frame) == 2 * len(whole)
    assert not frame.duplicated(["record", "onset_s", "target"]).any()
    assert (frame["lower"] < frame["y_pred"]).all()
    assert (frame["y_pred"] < frame["upper"]).all()
    folds = pd.read_parquet(run.folder / "folds.parquet")
    for number, group in folds.groupby("fold"):
        people = {part: set(rows["subject"]) for part, rows in group.groupby("part")}
        assert not people["test"] & (people["train"] | people["validation"])
        assert set(frame.loc[frame["fold"] == number, "subject"]) == people["test"]


def test_progress_counts_every_network(run: Run) -> None:
    # Two folds of the model; two of the control, each with two shuffles.
    assert run.progress == tuple((i, 6) for i in range(1, 7))
    history = pd.read_csv(run.folder / "history.csv")
    assert set(history["variant"]) == {"model", "control"}
    assert len(history) == 6 * 2


def test_examples_carry_the_estimate_beside_the_reference(run: Run) -> None:
    examples = json.loads((run.folder / "examples.json").read_text())
    frame = pd.read_parquet(run.folder / "predictions.parquet")
    assert examples
    for example in examples:
        row = frame[(frame["record"] == example["record"]) & (frame["onset_s"] == example["onset_s"])].set_index("target")
        assert example["y_pred"]["sbp"] == pytest.approx(row.loc["sbp", "y_pred"], abs=0.06)
        assert example["y_true"]["dbp"] == pytest.approx(row.loc["dbp", "y_true"], abs=0.06)


# ------------------------------------------------------------------------------------------------------------- the same bytes
def start(recipe: Path, run: Run, out: Path, workers: int) -> subprocess.Popen[str]:
    made = subprocess.Popen(
        [sys.executable, "-c", RUN, str(recipe), str(run.store), str(out), str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert made.stdout is not None
    assert made.stdout.readline() == "ready\n"
    return made


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is of POSIX")
def test_two_workers_and_a_kill_give_the_same_bytes(run: Run, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(dump(run.recipe.to_dict()))
    out = tmp_path / "run"
    process = start(recipe, run, out, 1)
    until = time.monotonic() + 120
    while not list(out.glob("work/**/result.json")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list(out.glob("work/**/result.json"))
    assert not (out / "scores.json").exists()
    experiment.run(run.recipe, [run.store], out, workers=2, facts=[FACTS])
    for name in SAME:
        assert (out / name).read_bytes() == (run.folder / name).read_bytes(), name
    theirs = {p.name: p.read_bytes() for p in (run.folder / "model").iterdir()}
    assert {p.name: p.read_bytes() for p in (out / "model").iterdir()} == theirs


# ----------------------------------------------------------------------------------------------------------- what is refused
def test_another_recipe_in_the_same_run_folder_is_refused(run: Run) -> None:
    before = {p: p.stat().st_mtime_ns for p in run.folder.rglob("*")}
    with pytest.raises(DataError, match="holds a run of another recipe"):
        experiment.run(load("demo_bp", [*TINY, "training.lr=0.01"]), [run.store], run.folder)
    assert {p: p.stat().st_mtime_ns for p in run.folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("override", "error", "expected"),
    [
        ("split.folds=20", DataError, "14 subjects are too few for 20 folds"),
        ("split.fold=2", RecipeError, "did you mean 'folds'"),
        ("split.ablations=[persons]", RecipeError, "no feature family 'persons'"),
        ("split.scheme=transfer", RecipeError, r"needs data\.test_dataset"),
        ("model.widht=8", RecipeError, "did you mean 'width'"),
        ("training.epochs=0", RecipeError, "need epochs >= 1"),
    ],
)
def test_nonsense_is_refused_before_anything_is_trained(
    place: Path, tmp_path: Path, override: str, error: type[Exception], expected: str
) -> None:
    with pytest.raises(error, match=expected):
        experiment.run(load("demo_bp", [*TINY, override]), [place], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def record_level(place: Path, folder: Path) -> Path:
    """Copy a store, as if its ids were only records."""
    copy = Path(shutil.copytree(place, folder / place.name))
    frame = pd.read_parquet(copy / "index.parquet").assign(subject_level="record")
    frame.to_parquet(copy / "index.parquet", index=False)
    about, index = json.loads((copy / "store.json").read_text()), (copy / "index.parquet").read_bytes()
    about["sha256"]["index.parquet"], about["bytes"]["index.parquet"] = hashlib.sha256(index).hexdigest(), len(index)
    del about["seal"]
    (copy / "store.json").write_text(json.dumps(about))
    return copy


def cheap_baselines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a run's baselines cheap: the two that the scores need."""
    from biosig_mtl.models import baselines

    few = {name: baselines.BASELINES[name] for name in ("train_mean", "train_median")}
    monkeypatch.setattr(baselines, "BASELINES", few)


def test_ids_of_records_are_refused_or_stamped(
    tiny: Recipe, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap_baselines(monkeypatch)
    copy = record_level(place, tmp_path)
    with pytest.raises(RecipeError, match=r"set data\.allow_record_level: true") as error:
        experiment.run(tiny, [copy], tmp_path / "run")
    assert error.value.exit_code == 2
    accepted = load("demo_bp", [*TINY, "data.allow_record_level=true", "split.negative_control=false"])
    scores = experiment.run(accepted, [copy], tmp_path / "run")
    assert "record-level ids" in scores.content["stamps"]
    assert "negative_control" not in scores.content
    checks = experiment.audit_again(tmp_path / "run", copy.parent)
    assert any("the report is stamped" in c.detail for c in checks if c.name == "subject_level")
    # No manifest facts: the store tells what its data are, the folder holds an empty list.
    assert scores.content["reference"] == "simulated"
    assert json.loads((tmp_path / "run" / "dataset.json").read_text()) == {"datasets": []}


def test_a_random_window_split_fails_the_audit_with_the_reason(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap_baselines(monkeypatch)
    leak = load("demo_bp", [*TINY, "split.scheme=random_window", "split.negative_control=false"])
    scores = experiment.run(leak, [place], tmp_path / "run")
    assert not scores.audit_passed
    assert "LEAK DEMONSTRATION" in scores.content["stamps"]
    failed = {c["name"]: c["detail"] for c in scores.content["audit"]["checks"] if not c["passed"]}
    assert "random-window split" in failed["split_scheme"]
    assert not all(c.passed for c in experiment.audit_again(tmp_path / "run", place.parent))


# ----------------------------------------------------------------------------------------------- controls, ablation, transfer
def test_ablation_linked_ids_and_several_seeds_are_told(
    linked_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap_baselines(monkeypatch)
    recipe = load("demo_bp", [*TINY, "split.ablations=[person]", "split.seeds=[0, 1]", "training.epochs=1"])
    scores = experiment.run(recipe, [linked_place], tmp_path / "run")
    content = scores.content
    assert scores.audit_passed, content["audit"]
    assert content["warnings"][0].startswith("1 pairs of ids share waveform; each pair counts as one subject")
    assert "s003 = s011" in content["warnings"][0]
    assert content["n_subjects"] == 13
    variants = ["without person", "network without the kernel beside it"]
    assert [(a["variant"], a["target"]) for a in content["ablation"]] == [(v, t) for v in variants for t in ("sbp", "dbp")]
    assert set(content["ablation"][0]) >= {"mase", "mase_ci95", "mae_over_full_model", "mae_over_full_model_ci95"}
    assert content["seeds"] == [0, 1]
    assert content["folds"] == 2
    assert len(list((tmp_path / "run" / "model").glob("*.safetensors"))) == 4  # 2 seeds × 2 folds
    assert {c["name"] for c in content["audit"]["checks"]} >= {"negative_control", "fitted_outside_training"}


def test_a_transfer_tests_on_the_other_set_and_beside_its_own_median(
    place: Path, target_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap_baselines(monkeypatch)
    recipe = load("demo_bp", [*TINY, "split.scheme=transfer", "data.test_dataset=other_bp"])
    scores = experiment.run(recipe, [place, target_place], tmp_path / "run", facts=[FACTS, FACTS])
    content = scores.content
    assert scores.audit_passed, content["audit"]
    assert content["dataset"] == "simulated_bp → other_bp"
    assert set(content["against_target_median"]) == {"sbp", "dbp"}
    assert grading.TARGET_MEDIAN in content["baselines"]
    frame = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert {s.split("/")[0] for s in frame["subject"]} == {"other_bp"}
    folds = pd.read_parquet(tmp_path / "run" / "folds.parquet")
    assert "simulated_bp/s003" not in set(folds["subject"])
    assert len(json.loads((tmp_path / "run" / "dataset.json").read_text())["datasets"]) == 2
    (shutil.copytree(place, tmp_path / "s" / place.name), shutil.copytree(target_place, tmp_path / "s" / target_place.name))
    assert all(c.passed for c in experiment.audit_again(tmp_path / "run", tmp_path / "s"))


def test_a_run_without_a_training_median_is_refused() -> None:
    absent: Any = {graders.MEDIAN: graders.Absent("no labels")}
    graded = grading.Graded(None, {}, absent, ())  # type: ignore[arg-type]
    with pytest.raises(DataError, match="the training median could not be computed: no labels"):
        running._median(graded)


def test_levels_of_ids_are_words_of_the_audit(whole: WindowTable, tiny: Recipe) -> None:
    assert running.subject_level(tiny, whole) == "person"
    assert [running.audit_level(level) for level in ("person", "group", "record", "unknown")] == [
        "subject",
        "subject",
        "record",
        "unknown",
    ]
    grouped = replace(whole, index=whole.index.assign(subject_level="group"))
    assert running.subject_level(tiny, grouped) == "group"


def test_a_table_without_facts_of_the_label_tells_unknown(
    tiny: Recipe, place: Path, whole: WindowTable, tmp_path: Path
) -> None:
    real = Path(shutil.copytree(place, tmp_path / place.name))
    about = json.loads((real / "store.json").read_text())
    assert about.pop("about")["simulated"] is True
    del about["seal"]  # what is not sealed is believed; a seal that does not fit is not
    (real / "store.json").write_text(json.dumps(about))
    table = replace(whole, index=whole.index.drop(columns="label_source"))
    told = running._told(tiny, table, [real], ("person", []))
    assert told["reference"] == "unknown"
    assert told["stamps"] == ()
    assert running._told(tiny, whole, [real], ("person", []))["reference"] == "invasive"
    assert running._told(tiny, whole, [place], ("person", []))["stamps"] == ("SIMULATED DATA",)
    assert tables.linked([place]) == []
