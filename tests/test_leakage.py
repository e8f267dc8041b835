"""The honesty laws: each planted leak is caught, and the reference never reaches the inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl import pipeline, splits, store
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.evaluation import audit
from biosig_mtl.experiment import running, tables
from biosig_mtl.recipe import Recipe, load
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.training import Scaler
from biosig_mtl.types import DataError, Record, WindowTable


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load("demo_bp")


@pytest.fixture(scope="module")
def place(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cohort = Cohort(n_subjects=8, records_per_subject=1, record_s=40, fault_share=0)
    return pipeline.prepare(recipe, write(cohort, tmp_path_factory.mktemp("d") / "c"), tmp_path_factory.mktemp("s"))


@pytest.fixture(scope="module")
def table(place: Path) -> WindowTable:
    return tables.read([place])


@pytest.fixture(scope="module")
def evidence(recipe: Recipe, place: Path, table: WindowTable) -> audit.Evidence:
    folds = splits.make(table, splits.Protocol(folds=2))
    return audit.Evidence(task=BLOOD_PRESSURE, **running.evidence_of(recipe, table, folds, None, [place]))


def failed(evidence: audit.Evidence) -> dict[str, str]:
    return {c.name: c.detail for c in audit.run(evidence, np.random.default_rng(0)) if not c.passed}


# What the evidence of a table alone cannot hold: fits and predictions.
LATER = {"fitted_outside_training", "predictions_complete"}


def test_an_honest_table_passes(evidence: audit.Evidence) -> None:
    assert set(failed(evidence)) == LATER


@pytest.mark.parametrize("name", ["sbp", "label.sbp", "summary.abp_mean", "pulse.dbp_last", "ppg_abp_corr", "lag_samples"])
def test_a_feature_that_is_the_label_is_caught(evidence: audit.Evidence, name: str) -> None:
    inputs = evidence.inputs
    assert inputs is not None
    leak = replace(evidence, inputs=replace(inputs, features=(*inputs.features, name)))
    assert name in failed(leak)["barred_inputs"]


def test_a_channel_that_is_the_reference_is_caught(evidence: audit.Evidence) -> None:
    inputs = evidence.inputs
    assert inputs is not None
    assert "abp" in failed(replace(evidence, inputs=replace(inputs, channels=("ppg_8hz", "abp_8hz"))))["barred_inputs"]


def test_a_scaler_that_saw_test_windows_is_caught(evidence: audit.Evidence, table: WindowTable) -> None:
    fold = evidence.folds[0]
    for rows, caught in ((fold.train, False), (np.append(fold.train, fold.test[:3]), True), (np.arange(len(table)), True)):
        scaler = Scaler.fit(table, rows)
        fitted = audit.Fitted("scaler", scaler.fitted_rows, fold.number, fold.seed)
        found = failed(replace(evidence, fitted=(fitted,)))
        assert ("fitted_outside_training" in found) is caught


def test_a_subject_on_two_sides_is_caught_twice(evidence: audit.Evidence, table: WindowTable) -> None:
    fold = evidence.folds[0]
    moved = replace(fold, train=np.append(fold.train, fold.test[0]), test=fold.test[1:])
    assert "1 of 8 subjects" in failed(replace(evidence, folds=(moved,)))["subject_overlap"]
    with pytest.raises(DataError, match="this is a leak"):
        splits.prove_disjoint(moved, table.subject)


def test_equal_windows_under_two_ids_are_caught(evidence: audit.Evidence) -> None:
    fold = evidence.folds[0]
    a, b = int(fold.train[0]), int(fold.test[0])
    ids, marks, waveform = (np.array(x) for x in (evidence.window_id, evidence.fingerprints, evidence.waveform))
    ids[b], marks[b], waveform[b] = ids[a], marks[a], waveform[a]
    assert "equal_windows" in failed(replace(evidence, window_id=ids))
    assert "near_equal_windows" in failed(replace(evidence, fingerprints=marks))
    assert "near_equal_waveforms" in failed(replace(evidence, waveform=waveform))


def test_every_fold_of_every_scheme_is_disjoint_or_says_that_it_leaks(table: WindowTable) -> None:
    for fold in splits.make(table, splits.Protocol(folds=3, seeds=(0, 1))):
        splits.prove_disjoint(fold, table.subject)
    assert all(fold.leaky for fold in splits.make(table, splits.Protocol(scheme="random_window", folds=2)))


def test_inputs_know_nothing_of_the_reference(recipe: Recipe, tmp_path: Path) -> None:
    """With the labels fixed, noise in the place of the pressure leaves every input as it was, to the last bit."""
    root = write(Cohort(n_subjects=1, records_per_subject=1, record_s=40, fault_share=0), tmp_path / "c")
    entry = entry_for(root / "s001" / "s001_1.hea", {"ppg": ("PLETH",), "ecg": ("II",), "abp": ("ABP",)})
    made = pipeline.preparation(recipe)
    free = replace(made, windowing=replace(made.windowing, label="record", require_label=False))
    clean = open_source(entry).read()
    noise = np.random.default_rng(0).uniform(40, 180, clean.channels["abp"].samples.size).astype(np.float32)
    channel = replace(clean.channels["abp"], samples=noise)
    _, a, inputs = free.apply(clean)
    _, b, others = free.apply(noisy(clean, channel))
    assert len(a) > 0
    np.testing.assert_array_equal(a.onset_s, b.onset_s)
    np.testing.assert_array_equal(inputs.values, others.values)
    np.testing.assert_array_equal(inputs.waveform, others.waveform)
    np.testing.assert_array_equal(a.signal, b.signal)


def noisy(record: Record, channel: Any) -> Record:
    return replace(record, channels={**record.channels, "abp": channel})


def test_targets_and_facts_are_no_inputs_of_a_network(table: WindowTable, place: Path) -> None:
    from biosig_mtl.training import spec_of

    spec = spec_of(table)
    barred = {*table.target_names, "abp", *store.read(place).index.columns}
    assert not barred & {*spec.features, *spec.waveform_channels}
