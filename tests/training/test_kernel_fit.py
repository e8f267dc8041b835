"""Laws of the kernel ridge beside a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from biosig_mtl.models.kernel import KernelRidge
from biosig_mtl.models.split_merge import SplitMerge, SplitMergeSettings
from biosig_mtl.training.kernel import _Part, choose_share, fit_kernel, landmarks
from biosig_mtl.types import Batch, InputSpec

SPEC = InputSpec((), 0, ("pulse.a", "pulse.b", "hr.c"), ("sbp", "dbp"))


def rows(n: int, seed: int = 0) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shown = torch.from_numpy(rng.normal(size=(n, 3)).astype(np.float32))
    x = shown.numpy().astype(np.float64)
    targets = np.stack([np.sin(2 * x[:, 0]) + 0.5 * x[:, 1], x[:, 2] ** 2], axis=1)
    return shown, targets, np.array([f"s{i % 20}" for i in range(n)])


def batch_of(shown: torch.Tensor) -> Batch:
    n = len(shown)
    missing = torch.zeros_like(shown, dtype=torch.bool)
    return Batch(torch.empty(n, 0, 0), shown, missing, torch.zeros(n, 2), torch.ones(n))


def test_with_every_row_as_a_landmark_it_is_kernel_ridge_itself() -> None:
    shown, targets, _ = rows(40)
    kernel = KernelRidge(SPEC, 40)
    near = kernel.similarity(shown.double(), shown.double())
    weight = np.linspace(0.5, 2.0, 40)
    part = _Part(near, torch.from_numpy(targets), torch.from_numpy(weight), torch.zeros(40))
    slopes = part.solve(near, [0.7, 0.7]).numpy()
    # (K + λ W⁻¹) a = y − offset is the textbook solution (Saunders 1998, with weights).
    exact = np.linalg.solve(near.numpy() + 0.7 * np.diag(1 / weight), targets - part.offset.numpy())
    np.testing.assert_allclose(near.numpy() @ slopes, near.numpy() @ exact, atol=2e-3)


def test_it_learns_what_no_line_can() -> None:
    shown, targets, subject = rows(400)
    kernel = KernelRidge(SPEC, 200)
    fit_kernel(kernel, shown, targets, subject, np.ones(400), seed=0)
    fresh, truth, _ = rows(200, seed=1)
    said = kernel(batch_of(fresh)).numpy()
    assert (np.abs(said - truth).mean(axis=0) < 0.5 * np.abs(truth - targets.mean(axis=0)).mean(axis=0)).all()


def test_fewer_rows_than_landmarks_and_unknown_targets() -> None:
    shown, targets, subject = rows(30)
    targets[:, 1] = np.nan
    kernel = KernelRidge(SPEC, 100)
    fit_kernel(kernel, shown, targets, subject, np.ones(30), seed=0)
    assert torch.isfinite(kernel(batch_of(shown))).all()
    assert not kernel.slopes[:, 1].any()
    assert not kernel.slopes[30:].any()


def test_the_same_seed_gives_the_same_kernel() -> None:
    shown, targets, subject = rows(120)
    made = [KernelRidge(SPEC, 50) for _ in range(3)]
    for kernel, seed in zip(made, (4, 4, 5), strict=True):
        fit_kernel(kernel, shown, targets, subject, np.ones(120), seed=seed)
    assert torch.equal(made[0].slopes, made[1].slopes)
    assert not torch.equal(made[0].landmarks, made[2].landmarks)


def test_landmarks_are_spread_evenly_over_subjects() -> None:
    subject = np.array(["a"] * 90 + ["b"] * 6 + ["c"] * 4)
    chosen = landmarks(subject, 12, np.random.default_rng(0))
    assert dict(zip(*np.unique(subject[chosen], return_counts=True), strict=True)) == {"a": 4, "b": 4, "c": 4}
    assert landmarks(subject, 1000, np.random.default_rng(0)).size == 100


@pytest.mark.parametrize(("right", "share"), [("network", 0.0), ("kernel", 1.0)])
def test_the_share_goes_to_whoever_is_right(right: str, share: float) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(60, 2))
    wrong = truth + rng.normal(size=(60, 2))
    pair = (truth, wrong) if right == "network" else (wrong, truth)
    subject = np.array([f"s{i % 6}" for i in range(60)])
    assert choose_share(*pair, truth, subject).tolist() == [share, share]


def test_a_target_that_is_unknown_keeps_the_network() -> None:
    truth = np.full((5, 1), np.nan)
    assert choose_share(truth, truth, truth, np.array(["a"] * 5)).tolist() == [0.0]


def test_an_unset_kernel_changes_no_bit_and_paper_mode_has_none() -> None:
    settings = {"width": 8, "heads": 2, "use_waveform": False}
    spec = InputSpec((), 0, SPEC.features, SPEC.targets)
    torch.manual_seed(0)
    plain = SplitMerge(SplitMergeSettings(**settings), spec).eval()  # type: ignore[arg-type]
    torch.manual_seed(0)
    beside = SplitMerge(SplitMergeSettings(**settings, kernel_landmarks=10), spec).eval()  # type: ignore[arg-type]
    batch = batch_of(rows(16)[0])
    assert torch.equal(plain(batch).predictions, beside(batch).predictions)
    assert SplitMerge(SplitMergeSettings(**settings, kernel_landmarks=10, paper_mode=True), spec).beside is None  # type: ignore[arg-type]


def test_a_blend_cannot_promise_an_order() -> None:
    with pytest.raises(ValueError, match="kernel_landmarks"):
        SplitMergeSettings(kernel_landmarks=10, ordered=True)
