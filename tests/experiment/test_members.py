"""Laws of the jobs of a run: done once, resumed where they stood, and refused with a word when a process dies."""

from __future__ import annotations

import json
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from biosig_mtl import splits, training
from biosig_mtl.experiment import members, tables
from biosig_mtl.experiment.members import CONTROL, MODEL, Job
from biosig_mtl.recipe import Recipe
from biosig_mtl.types import DataError, RecipeError, WindowTable


@pytest.fixture(scope="module")
def job(tiny: Recipe, place: Path, whole: WindowTable, tmp_path_factory: pytest.TempPathFactory) -> Job:
    split = splits.make(whole, splits.Protocol(folds=2))[0]
    made = Job(MODEL, split, 0, 1, tiny.to_dict(), (place,), tmp_path_factory.mktemp("o"))
    members.work(made)
    return made


def test_a_job_tells_what_it_was_fitted_on(job: Job, whole: WindowTable) -> None:
    found = members.result(job)
    assert found.fitted_rows.tolist() == job.fold.train.tolist()
    assert found.validation_rows.tolist() == job.fold.validation.tolist()
    assert found.test.shape == (job.fold.test.size, 2)
    assert found.validation.shape == (job.fold.validation.size, 2)
    assert np.isfinite(found.test).all()
    assert [row["epoch"] for row in found.history] == sorted(row["epoch"] for row in found.history)
    assert found.split_report
    assert not list(job.place.glob("state*"))
    # Plausible pressures in mmHg: the scaler was undone.
    assert abs(found.test[:, 0].mean() - whole.targets[:, 0].mean()) < 40


def test_a_finished_job_is_not_done_again(job: Job) -> None:
    before = {p: p.stat().st_mtime_ns for p in job.place.rglob("*")}
    assert list(members.train([job], 1)) == [job]
    assert list(members.train([job, job], 2)) == [job, job]
    assert {p: p.stat().st_mtime_ns for p in job.place.rglob("*")} == before


def test_a_job_gives_the_same_bytes_whatever_the_threads(job: Job, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2 if before == 1 else 1)
    try:
        again = replace(job, out=tmp_path)
        members.work(again)
        assert torch.get_num_threads() != before
    finally:
        torch.set_num_threads(before)
    for name in ("result.json", "model/model.safetensors"):
        ours = sorted(p for p in job.place.rglob(Path(name).name))
        theirs = sorted(p for p in again.place.rglob(Path(name).name))
        assert [p.read_bytes() for p in ours] == [p.read_bytes() for p in theirs]


def test_work_on_another_store_is_another_place(job: Job) -> None:
    other = replace(job, stores=(job.stores[0].with_name("0" * 12),))
    assert other.place != job.place
    assert other.name == job.name
    assert replace(job, variant="without person").name.startswith("without_person-seed0-fold0")


def test_a_control_learns_from_other_people_s_labels_and_is_tested_on_the_true(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[WindowTable] = []
    real = training.TrainingData

    def data(table: WindowTable, *rest: Any, **words: Any) -> Any:
        seen.append(table)
        return real(table, *rest, **words)

    monkeypatch.setattr("biosig_mtl.experiment.members.TrainingData", data)
    members.work(replace(job, variant=CONTROL, out=tmp_path))
    true = tables.read(job.stores).targets
    side = np.concatenate([job.fold.train, job.fold.validation])
    np.testing.assert_array_equal(seen[0].targets[job.fold.test], true[job.fold.test])
    assert not (seen[0].targets[side] == true[side]).all(axis=1).any()
    control = replace(job, variant=CONTROL, out=tmp_path)
    assert members.result(control).split_report == {}
    assert not (control.place / "model").exists()


def test_an_ablation_is_trained_without_its_family(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, ...]] = []
    real = training.spec_of

    def spec(table: WindowTable) -> Any:
        seen.append(table.names)
        return real(table)

    monkeypatch.setattr(members, "spec_of", spec)
    members.work(replace(job, variant="without person", out=tmp_path))
    assert seen[0]
    assert not any(name.startswith("person.") for name in seen[0])


def test_a_job_without_test_rows_reads_back(job: Job, tmp_path: Path) -> None:
    empty = replace(job, out=tmp_path)
    empty.place.mkdir(parents=True)
    words = ("test", "validation", "validation_rows", "fitted_rows", "history", "warnings")
    lists: dict[str, list[float]] = {word: [] for word in words}
    (empty.place / "result.json").write_text(json.dumps(lists | {"shares": {}}))
    assert members.result(empty).test.size == 0


def test_settings_with_wrong_words_are_refused(tiny: Recipe) -> None:
    with pytest.raises(RecipeError, match="did you mean 'split_merge'"):
        members.settings(replace(tiny, model={"name": "split_merg"}))
    with pytest.raises(RecipeError, match="did you mean 'epochs'"):
        members.settings(replace(tiny, training={"epoch": 3}))
    assert members.settings(replace(tiny, model={}))[0] == "split_merge"


class Pool:
    """A pool whose processes die."""

    error: Exception = BrokenProcessPool("killed")

    def __init__(self, *_args: object, **_more: object) -> None:
        self.stopped = False

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_error: object) -> None:
        assert self.stopped

    def submit(self, *_job: object) -> Future[None]:
        future: Future[None] = Future()
        future.set_exception(self.error)
        return future

    def shutdown(self, **_more: object) -> None:
        self.stopped = True


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "ProcessPoolExecutor", Pool)


@pytest.mark.usefixtures("dying")
def test_a_process_that_dies_is_one_line(job: Job, tmp_path: Path) -> None:
    jobs = [replace(job, out=tmp_path, member=m) for m in range(2)]
    with pytest.raises(DataError, match="a training process was killed; run the same command again"):
        list(members.train(jobs, 2))
