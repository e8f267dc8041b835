"""The same recording twice: planted copies are found, chance is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from biosig_mtl.evaluation import duplicates
from biosig_mtl.types import Fold
from biosig_mtl.windows.identity import fingerprints

NONE = np.empty(0, np.int64)


def walks(n: int, size: int = 500, seed: int = 0) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).normal(size=(n, size)), axis=1).astype(np.float32)


def fold(train: list[int], test: list[int], validation: list[int] | None = None) -> Fold:
    return Fold(np.array(train), np.array(validation or [], dtype=np.int64), np.array(test))


def test_pairs_are_those_of_the_full_correlation_matrix() -> None:
    x = walks(300, 260)
    rng = np.random.default_rng(1)
    for noise in (0.0, 0.02, 0.04, 0.06, 0.08, 0.2, 0.5):
        x = np.concatenate(
            [x, x[:40] * 1.7 + 3 + (noise * x[:40].std(1, keepdims=True) * rng.normal(size=(40, 260))).astype(np.float32)]
        )
    full = np.corrcoef(x.astype(float))
    expected = np.argwhere(np.triu(full >= duplicates.SAME, 1))
    found = duplicates.alike(x)
    assert len(expected) > 80
    np.testing.assert_array_equal(found[np.lexsort(found.T[::-1])], expected)


def test_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    x = walks(120)
    x = np.concatenate([x, x[:50]])
    whole = duplicates.alike(x)
    monkeypatch.setattr(duplicates, "_BLOCK", 7)
    parts = duplicates.alike(x)
    assert {tuple(p) for p in parts} == {tuple(p) for p in whole} == {(i, i + 120) for i in range(50)}


def test_scale_and_offset_do_not_hide_a_copy_and_flat_windows_are_no_copies() -> None:
    x = walks(4)
    x = np.concatenate([x, -2 * x[:1], 5 * x[1:2] - 40, np.full((3, 500), 7, np.float32)])
    assert duplicates.alike(x).tolist() == [[1, 5]]
    assert duplicates.alike(np.empty((0, 10), np.float32)).shape == (0, 2)
    assert duplicates.alike(walks(3, 5)).shape[1] == 2


def test_only_pairs_in_two_parts_of_one_fold_cross() -> None:
    pairs = np.array([[0, 1], [0, 2], [2, 3], [4, 5]])
    folds = [fold([0, 1], [2, 3]), fold([0, 1, 2, 3], [4])]
    assert duplicates.crossing(pairs, folds, 6).tolist() == [[0, 2]]
    assert duplicates.crossing(np.empty((0, 2), np.int64), folds, 6).shape == (0, 2)


def test_shared_codes_count_the_worst_fold() -> None:
    code = np.array([[0, 1, 2], [0, 1, 9], [5, 6, 9], [0, 7, 8]])
    known = np.ones(code.shape, bool)
    known[:, 2] = False
    folds = [fold([0], [1]), fold([0, 1, 2], [3])]
    assert duplicates.shared_codes(code, known, folds).tolist() == [2, 2, 0, 1]
    assert duplicates.shared_codes(code, ~known & False, folds).tolist() == [0, 0, 0, 0]


def test_what_three_people_share_is_a_device() -> None:
    code = np.array([[0, 1], [0, 2], [0, 1], [3, 3]])
    telling = duplicates.personal(code, np.ones(code.shape, bool), np.array(["a", "b", "c", "a"]))
    assert telling.tolist() == [[False, True], [False, True], [False, True], [True, True]]


def test_people_who_share_waveform_are_linked() -> None:
    x = walks(12, 1000)
    x[7, 100:900] = x[2, 0:800]  # another shift on another grid
    subject = np.array([f"s{i // 2}" for i in range(12)])
    assert duplicates.linked_subjects(fingerprints(x), subject) == [("s1", "s3")]
    assert duplicates.linked_subjects(np.zeros((12, 16), np.uint64), subject) == []


def test_the_known_copy_of_ppg_bp_is_found(data_root: Path) -> None:
    """Data set README: 24_1 is identical to 23_3, two different subjects."""
    files = sorted((data_root / "bp/ppg_bp/Data File/0_subject").glob("2[0-9]_*.txt"))
    raw = np.stack([np.array(f.read_text(encoding="utf-8").split(), dtype=np.float32)[:2100] for f in files])
    subject = np.array([f.stem.split("_")[0] for f in files])
    assert duplicates.linked_subjects(fingerprints(raw), subject) == [("23", "24")]
    crossing = [{files[i].stem, files[j].stem} for i, j in duplicates.alike(raw) if subject[i] != subject[j]]
    assert crossing == [{"23_3", "24_1"}]
