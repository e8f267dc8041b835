"""The honesty laws: each planted leak is caught, and the reference never reaches the inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl import pipeline, splits, store
from biosig_mtl.data.canary import canary
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.evaluation import audit, promises
from biosig_mtl.experiment import running, tables
from biosig_mtl.recipe import Recipe, load
from biosig_mtl.tasks import AFFECT, BLOOD_PRESSURE
from biosig_mtl.training import Scaler
from biosig_mtl.types import F32, F64, DataError, Fold, Record, WindowTable


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


# --------------------------------------------------------------------------------------------------------------- the canary
# Windows whose ratings have nothing to do with the signal, of trials that can be recognised: whoever scores above chance has
# seen the trial before. One canary has 320 ratings, so a single score of chance scatters by about 0.015 in balanced accuracy
# and 0.03 in CCC; several of them are averaged, and the bounds are narrower than 0.45–0.55 and ± 0.05.
FLOCK = range(6)
CLIPS = [f"clip{k:02d}" for k in range(1, 41)]
# Neither map knows the ratings. (Quadrants by rating would leave the high ratings out of training where they are tested: a
# model that knows nothing then scores *below* chance.)
QUADRANT = {clip: ("HVHA", "HVLA", "LVHA", "LVLA")[k % 4] for k, clip in enumerate(CLIPS)}
VERSION = {clip: str(k % 2) for k, clip in enumerate(CLIPS)}
BLIND: dict[str, dict[str, Any]] = {
    "epic_elicitor": {"quadrants": QUADRANT},
    "epic_version": {"versions": VERSION},
    "epic_time": {"validation": 0.4},
}
SAFE = [name for name, scheme in splits.PROTOCOLS.items() if "trial" in scheme.guarantee.disjoint and name != "transfer"]
SEEING = ["random_window", "epic_time", "calibrated_within_trial"]


@pytest.fixture(scope="module")
def flock() -> list[tuple[WindowTable, F32]]:
    """Return canaries, with the squared distance of all pairs of windows but for a term of the row."""
    made = []
    for seed in FLOCK:
        bird = canary(np.random.default_rng(seed), windows=10)
        x = bird.values
        made.append((bird, (x * x).sum(axis=1) - 2 * x @ x.T))
    return made


def nearest(bird: WindowTable, distance: F32, folds: list[Fold]) -> tuple[F64, F64]:
    """Return the ratings of tested windows, and those of the nearest training window of each."""
    found = [fold.train[np.argmin(distance[np.ix_(fold.test, fold.train)], axis=1)] for fold in folds]
    tested = np.concatenate([fold.test for fold in folds])
    return bird.targets[tested].astype(np.float64), bird.targets[np.concatenate(found)].astype(np.float64)


def figures(truth: F64, guess: F64) -> tuple[float, float]:
    """Return balanced accuracy at > 5 and CCC, as means over valence and arousal."""
    high = truth > 5
    right = (guess > 5) == high
    accuracy = [(right[high[:, j], j].mean() + right[~high[:, j], j].mean()) / 2 for j in (0, 1)]
    both = (truth - truth.mean(axis=0)) * (guess - guess.mean(axis=0))
    spread = truth.var(axis=0) + guess.var(axis=0) + (truth.mean(axis=0) - guess.mean(axis=0)) ** 2
    return float(np.mean(accuracy)), float(np.mean(2 * both.mean(axis=0) / spread))


def score_of(name: Any, flock: list[tuple[WindowTable, F32]], *, twins: bool = False) -> tuple[float, float]:
    """Return the figures of 1-nearest-neighbour under a protocol, as means over the canaries."""
    found = []
    for bird, distance in flock:
        folds = splits.make(bird, splits.Protocol(name, **BLIND.get(name, {})))
        found.append(figures(*nearest(bird, distance, [f.twin for f in folds if f.twin] if twins else folds)))
    return float(np.mean([a for a, _ in found])), float(np.mean([c for _, c in found]))


@pytest.mark.parametrize("name", SAFE)
def test_the_canary_is_silent_under_every_protocol_that_keeps_trials_apart(
    name: str, flock: list[tuple[WindowTable, F32]]
) -> None:
    accuracy, ccc = score_of(name, flock)
    assert 0.48 < accuracy < 0.52
    assert abs(ccc) < 0.03


@pytest.mark.parametrize("name", SEEING)
def test_the_canary_sings_where_a_trial_is_on_both_sides(name: str, flock: list[tuple[WindowTable, F32]]) -> None:
    accuracy, ccc = score_of(name, flock)
    assert accuracy > 0.9
    assert ccc > 0.85


def test_the_twin_of_a_calibrated_canary_is_silent(flock: list[tuple[WindowTable, F32]]) -> None:
    accuracy, ccc = score_of("calibrated_within_trial", flock, twins=True)
    assert 0.48 < accuracy < 0.52
    assert abs(ccc) < 0.03


def asked(bird: WindowTable, name: Any, folds: list[Fold] | None = None) -> audit.Evidence:
    made = folds or splits.make(bird, splits.Protocol(name, **BLIND.get(name, {})))
    return audit.Evidence(
        AFFECT,
        tuple(made),
        bird.subject,
        window_id=bird.index["window_id"].to_numpy(dtype=str),
        guarantee=splits.PROTOCOLS[name].guarantee,
        trial=bird.trial,
        stimulus=bird.stimulus,
        spans=promises.spans_of(bird),
    )


SPLIT_CHECKS = {"split_scheme", "subject_overlap", "trial_overlap", "protocol_guarantee", "equal_windows"}


@pytest.mark.parametrize("name", [name for name in splits.PROTOCOLS if name not in {"transfer", "random_window"}])
def test_the_audit_finds_every_promise_kept_and_stamps_who_is_known(name: str, flock: list[tuple[WindowTable, F32]]) -> None:
    evidence = asked(flock[0][0], name)
    found = {check.name: check for check in audit.run(evidence, np.random.default_rng(0))}
    assert set(found) >= SPLIT_CHECKS
    assert not SPLIT_CHECKS & set(failed(evidence))
    independent = splits.PROTOCOLS[name].guarantee.subject_independent
    assert ("tests people it has learned from" in found["subject_overlap"].detail) == (not independent)


def test_the_audit_refuses_the_canary_that_sings(flock: list[tuple[WindowTable, F32]]) -> None:
    told = failed(asked(flock[0][0], "random_window"))
    assert "random-window split: windows of 8 of 8 subjects are in both" in told["split_scheme"]
    assert "belong to one of 320 trials that another part has" in told["trial_overlap"]


def test_folds_that_sing_are_refused_under_any_honest_name(flock: list[tuple[WindowTable, F32]]) -> None:
    bird = flock[0][0]
    leak = [replace(fold, leaky=False) for fold in splits.make(bird, splits.Protocol("random_window"))]
    for name in splits.PROTOCOLS:
        if name != "random_window":
            assert {"trial_overlap", "protocol_guarantee"} <= set(failed(asked(bird, name, leak)))
            with pytest.raises(DataError, match="this is a leak"):
                splits.prove(leak[0], bird, splits.PROTOCOLS[name].guarantee)
