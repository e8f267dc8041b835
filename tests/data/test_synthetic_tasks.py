"""Synthetic tasks: as akin as was asked for, what is shown reveals what is latent, and all chance is the seed's."""

from __future__ import annotations

import numpy as np
import pytest

from biosig_mtl.data import synthetic_tasks as tasks
from biosig_mtl.data.synthetic_tasks import polynomials, synthetic_tasks, truth_correlation, weights
from biosig_mtl.types import F64, WindowTable


def make(
    correlation: float = 0.5, degree: int = 3, noise: float = 0.0, *, targets: int = 2, conflict: bool = False
) -> WindowTable:
    return synthetic_tasks(
        correlation, degree, noise, n_subjects=2000, windows_per_subject=4, targets=targets, conflict=conflict, seed=7
    )


def axes(targets: int, seed: int = 0) -> F64:
    return tasks._orthonormal(np.random.default_rng(seed))[:targets]


# ---------------------------------------------------------------------------------------------------------------- kinship
@pytest.mark.parametrize(("correlation", "targets"), [(0.8, 2), (0.0, 2), (-1.0, 2), (1.0, 3), (0.3, 5), (-0.5, 3)])
def test_weight_vectors_have_exactly_the_correlation_asked_for(correlation: float, targets: int) -> None:
    w = weights(correlation, axes(targets))
    assert w.shape == (targets, tasks.LATENTS)
    assert w @ w.T == pytest.approx((1 - correlation) * np.eye(targets) + correlation, abs=1e-12)


def test_two_tasks_have_the_angle_of_the_pair_in_the_paper() -> None:
    first, second = axes(2)
    p = 0.3
    ours = weights(p, axes(2))
    theirs = np.stack([first, p * first + np.sqrt(1 - p**2) * second])
    assert ours @ ours.T == pytest.approx(theirs @ theirs.T)
    # Both pairs span the same plane.
    assert np.linalg.matrix_rank(np.concatenate([ours, theirs]), tol=1e-9) == 2


@pytest.mark.parametrize("conflict", [False, True])
@pytest.mark.parametrize(("correlation", "degree"), [(0.8, 1), (0.8, 3), (0.0, 2), (-0.6, 1), (-0.6, 2), (1.0, 4)])
def test_truths_correlate_as_the_closed_form_says(correlation: float, degree: int, conflict: bool) -> None:
    table = make(correlation, degree, conflict=conflict)
    found = np.asarray(np.corrcoef(table.targets.T))[0, 1]
    # 2000 people whose windows are alike in part; cubes have heavy tails.
    assert found == pytest.approx(truth_correlation(correlation, degree), abs=0.06)


def test_of_many_tasks_each_two_are_equally_akin() -> None:
    found = np.asarray(np.corrcoef(make(0.6, 1, targets=4).targets.T))
    assert found[np.triu_indices(4, 1)] == pytest.approx(np.full(6, 0.6), abs=0.06)


@pytest.mark.parametrize("degree", [1, 2, 3, 5])
def test_polynomials_have_mean_0_variance_1_and_their_degree(degree: int) -> None:
    # Gauss–Hermite quadrature is exact for polynomials: no sampling.
    x, w = np.polynomial.hermite_e.hermegauss(20)
    w = w / w.sum()
    y = polynomials(x, degree)
    assert w @ y == pytest.approx(0, abs=1e-12)
    assert w @ y**2 == pytest.approx(1)
    fitted = np.polynomial.Polynomial.fit(x, y, 8).convert().coef
    assert abs(fitted[degree]) > 1e-3
    assert fitted[degree + 1 :] == pytest.approx(0, abs=1e-6)


def test_polynomials_are_those_of_hermite() -> None:
    x = np.array([-2.0, 0.0, 0.5, 3.0])
    assert polynomials(x, 1) == pytest.approx(x)
    assert polynomials(x, 2) == pytest.approx((x + (x**2 - 1) / np.sqrt(2)) / np.sqrt(2))
    assert polynomials(x, 3) == pytest.approx((x + (x**2 - 1) / np.sqrt(2) + (x**3 - 3 * x) / np.sqrt(6)) / np.sqrt(3))


# ------------------------------------------------------------------------------------------------------------------ noise
@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_noise_has_its_size_is_each_tasks_own_and_changes_no_input(noise: float) -> None:
    clean, noisy = make(0.8), make(0.8, noise=noise)
    off = noisy.targets - clean.targets
    assert off.std(axis=0) == pytest.approx([noise, noise], rel=0.05)
    assert np.asarray(np.corrcoef(off.T))[0, 1] == pytest.approx(0, abs=0.06)
    between = off.reshape(2000, 4, 2).mean(axis=1).var(axis=0) / noise**2
    assert between == pytest.approx([0.3 + 0.7 / 4] * 2, rel=0.1)


# ----------------------------------------------------------------------------------------------------------------- inputs
def held_out_r2(inputs: F64, y: F64) -> float:
    half = len(y) // 2
    design = np.concatenate([inputs, np.ones((len(y), 1))], axis=1)
    slope = np.linalg.lstsq(design[:half], y[:half], rcond=None)[0]
    return float(1 - np.mean((design[half:] @ slope - y[half:]) ** 2) / y[half:].var())


@pytest.mark.parametrize("conflict", [False, True])
def test_features_reveal_linear_truths_and_hide_others_from_lines(conflict: bool) -> None:
    straight, bent = make(0.5, 1, conflict=conflict), make(0.5, 3, conflict=conflict)
    for t in range(2):
        assert held_out_r2(straight.values.astype(float), straight.targets[:, t].astype(float)) > 0.75
        # A line can have the first of three Hermite terms of equal variance and no more.
        assert held_out_r2(bent.values.astype(float), bent.targets[:, t].astype(float)) < 0.4


def test_waveforms_reveal_something_too() -> None:
    table = make(0.5, 1)
    size = np.log(table.waveform.astype(float).std(axis=2))
    crossings = (np.diff(np.sign(table.waveform), axis=2) != 0).sum(axis=2)
    told = held_out_r2(np.concatenate([size, crossings], axis=1), table.targets.sum(axis=1).astype(float))
    assert told > 0.05
    shuffled = np.random.default_rng(0).permutation(table.targets.sum(axis=1).astype(float))
    assert held_out_r2(np.concatenate([size, crossings], axis=1), shuffled) < 0.01


def test_with_conflict_what_one_task_adds_the_other_subtracts() -> None:
    own, rest = axes(tasks.LATENTS)[:2], axes(tasks.LATENTS)[2:]
    mixed = tasks._opposed(np.random.default_rng(0), own, rest)
    assert np.linalg.norm(mixed, axis=1) == pytest.approx(np.ones(tasks.FEATURES))
    uses = mixed @ own.T
    assert np.abs(uses) == pytest.approx(np.full(uses.shape, 0.5))
    assert (uses[:, 0] > 0).all()
    assert (uses[:, 1] > 0).sum() == tasks.FEATURES // 2
    crowded = tasks._opposed(np.random.default_rng(0), axes(tasks.LATENTS), rest[:0])
    assert np.linalg.norm(crowded, axis=1) == pytest.approx(np.ones(tasks.FEATURES))


def test_people_have_offsets_of_their_own() -> None:
    values = make(0.5, 1).values.astype(float).reshape(2000, 4, -1)
    between, within = values.mean(axis=1).var(axis=0), values.var(axis=1, ddof=1).mean(axis=0)
    # If people did not differ, means of 4 windows would vary a quarter as much as windows do.
    assert (between > 1.5 * within / 4).all()


# ------------------------------------------------------------------------------------------------------------------ table
def test_the_table_is_whole() -> None:
    table = synthetic_tasks(0.5, 2, 0.1, n_subjects=3, windows_per_subject=5, targets=3, seed=0)
    assert len(table) == 15
    assert table.values.shape == (15, 24)
    assert table.waveform.shape == (15, 2, 128)
    assert table.targets.shape == (15, 3)
    assert table.target_names == ("task1", "task2", "task3")
    assert {table.values.dtype, table.waveform.dtype, table.targets.dtype} == {np.dtype("float32")}
    assert {name.partition(".")[0] for name in table.names} == {"a", "b", "c", "d"}
    assert dict(zip(*np.unique(table.subject, return_counts=True), strict=True)) == {"s001": 5, "s002": 5, "s003": 5}
    assert table.index["onset_s"].tolist()[:6] == [0, 4, 8, 12, 16, 0]
    assert table.index["window_id"].is_unique
    assert np.array_equal(table.index["task2"], table.targets[:, 1])
    assert table.trial.size == 15
    assert np.isfinite(table.values).all()
    assert np.isfinite(table.waveform).all()


def test_chance_is_that_of_the_seed() -> None:
    one, same, other = (synthetic_tasks(0.5, 2, 0.1, n_subjects=3, windows_per_subject=5, seed=seed) for seed in (0, 0, 1))
    for name in ("values", "waveform", "targets"):
        assert np.array_equal(getattr(one, name), getattr(same, name))
        assert not np.array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"correlation": 1.1}, "need -1 <= correlation <= 1"),
        ({"correlation": -0.6, "targets": 3}, "need -0.5 <= correlation"),
        ({"correlation": float("nan")}, "correlation"),
        ({"targets": 1}, "need 2 <= targets <= 12"),
        ({"targets": 13}, "need 2 <= targets <= 12"),
        ({"degree": 0}, "need degree >= 1"),
        ({"noise": -0.1}, "noise >= 0"),
        ({"noise": float("nan")}, "noise >= 0"),
        ({"n_subjects": 0}, "at least one"),
        ({"windows_per_subject": 0}, "at least one"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, float], told: str) -> None:
    asked = {"correlation": 0.5, "degree": 2, "noise": 0.1, "n_subjects": 3, "windows_per_subject": 2, "targets": 2}
    with pytest.raises(ValueError, match=told):
        synthetic_tasks(**(asked | wrong), seed=0)  # type: ignore[arg-type]
