"""Figures of classes: those of scikit-learn, hand-counted tables, and laws that hold for any answers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl.evaluation import classification, intervals
from biosig_mtl.types import F64


def example(seed: int, classes: int, n: int = 200) -> tuple[F64, F64, F64, np.ndarray]:
    """Answers that are right more often than by chance; rounded probabilities, so that there are ties."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, n).astype(float)
    shares = np.round(rng.dirichlet(np.ones(classes), n) + 0.4 * (true[:, None] == np.arange(classes)), 1) + 0.05
    shares /= shares.sum(axis=1, keepdims=True)
    return true, shares.argmax(axis=1).astype(float), shares, np.array(["a", "b", "c", "d"])[rng.integers(0, 4, n)]


def everybody(counted: classification.Counted) -> dict[str, float]:
    return {k: float(v[0]) for k, v in classification.figures(counted, np.ones((1, counted.subject.size))).items()}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 3, 5]))
def test_figures_are_those_of_scikit_learn(seed: int, classes: int) -> None:
    from sklearn import metrics as sk

    true, pred, shares, subject = example(seed, classes)
    counted = classification.count(true, pred, shares, subject, classes)
    told = everybody(counted)
    curve = shares[:, 1] if classes == 2 else shares
    assert told["accuracy"] == pytest.approx(sk.accuracy_score(true, pred))
    assert told["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(true, pred))
    assert told["macro_f1"] == pytest.approx(sk.f1_score(true, pred, average="macro"))
    assert told["kappa"] == pytest.approx(sk.cohen_kappa_score(true, pred))
    assert told["auc"] == pytest.approx(sk.roc_auc_score(true, curve, multi_class="ovr", average="macro"))
    np.testing.assert_array_equal(counted.confusion.sum(axis=0), sk.confusion_matrix(true, pred, labels=range(classes)))
    single = classification.figures(counted, np.eye(4))
    for i, name in enumerate("abcd"):
        own = subject == name
        assert single["accuracy"][i] == pytest.approx(sk.accuracy_score(true[own], pred[own]))
        assert single["balanced_accuracy"][i] == pytest.approx(sk.balanced_accuracy_score(true[own], pred[own]))
        assert single["auc"][i] == pytest.approx(sk.roc_auc_score(true[own], curve[own], multi_class="ovr"))


def test_a_table_counted_by_hand() -> None:
    """Right: 3 of 4 low, 4 of 6 high. Recalls 3/4 and 4/6; F1 6/9 and 8/11; kappa (0.7 − 0.5) / 0.5."""
    true = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1], float)
    pred = np.array([0, 0, 0, 1, 1, 1, 1, 1, 0, 0], float)
    told = everybody(classification.count(true, pred, None, np.full(10, "a"), 2))
    assert told["accuracy"] == pytest.approx(0.7)
    assert told["balanced_accuracy"] == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert told["macro_f1"] == pytest.approx((6 / 9 + 8 / 11) / 2)
    assert told["kappa"] == pytest.approx((0.7 - 0.5) / 0.5)
    assert np.isnan(told["auc"])


def test_neighbours_and_near_misses_counted_by_hand() -> None:
    """Two likeliest: {0, 1} holds 0; {0, 2} are no neighbours; {1, 2} has no 0; {1, 2} holds 2. Answers 0, 2, 2, 1."""
    shares = np.array([[0.6, 0.3, 0.1], [0.3, 0.1, 0.6], [0.1, 0.3, 0.6], [0.1, 0.5, 0.4]])
    true = np.array([0.0, 0.0, 0.0, 2.0])
    told = everybody(classification.count(true, shares.argmax(axis=1), shares, np.full(4, "a"), 3))
    assert told["seq2hr"] == pytest.approx(2 / 4)
    assert told["tri_p"] == pytest.approx(2 / 4)
    assert told["class_mae"] == pytest.approx((0 + 2 + 2 + 1) / 4)
    two = everybody(classification.count([0, 1], [0, 1], None, ["a", "a"], 2))
    assert not {"seq2hr", "tri_p", "class_mae"} & set(two)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 3, 5]))
def test_neither_the_order_of_windows_nor_the_names_of_classes_matter(seed: int, classes: int) -> None:
    true, pred, shares, subject = example(seed, classes)
    rng = np.random.default_rng(seed)
    order, name = rng.permutation(true.size), rng.permutation(classes)
    one = everybody(classification.count(true, pred, shares, subject, classes))
    other = classification.count(true[order], pred[order], shares[order], subject[order], classes)
    assert everybody(other) == pytest.approx(one, nan_ok=True)
    renamed = classification.count(
        name[true.astype(int)], name[pred.astype(int)], shares[:, np.argsort(name)], subject, classes
    )
    for figure in classification.FIGURES:
        assert everybody(renamed)[figure] == pytest.approx(one[figure]), figure


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 3]))
def test_a_bootstrap_sample_is_the_figure_of_the_drawn_people(seed: int, classes: int) -> None:
    """Law of the sums: drawing a subject twice is having its windows twice."""
    true, pred, shares, subject = example(seed, classes)
    counts = intervals.draw(4, np.random.default_rng(seed), 5)
    drawn = classification.figures(classification.count(true, pred, shares, subject, classes), counts)
    for i, weights in enumerate(counts):
        rows = np.concatenate([np.tile(np.flatnonzero(subject == s), w) for s, w in zip("abcd", weights, strict=True)])
        same = classification.count(true[rows], pred[rows], shares[rows], np.full(rows.size, "all"), classes)
        told = everybody(same)
        for figure, values in drawn.items():
            assert values[i] == pytest.approx(told[figure]), figure


def test_a_subject_with_one_class_has_an_accuracy_and_nothing_else() -> None:
    subject = ["flat", "flat", "two", "two", "none"]
    counted = classification.count([1, 1, 0, 1, np.nan], [1, 0, 0, 1, 1], np.full((5, 2), 0.5), subject, 2)
    single = classification.figures(counted, np.eye(3))
    assert counted.subject.tolist() == ["flat", "none", "two"]
    np.testing.assert_array_equal(single["accuracy"], [0.5, np.nan, 1.0])
    for name in ("balanced_accuracy", "macro_f1", "kappa", "auc"):
        np.testing.assert_array_equal(np.isnan(single[name]), [True, True, False], name)
    assert classification.over_subjects(single)["accuracy"] == pytest.approx(0.75)
    assert single["auc"][2] == 0.5


def test_answers_without_any_knowledge() -> None:
    """Constant answers: balanced accuracy 1/classes, kappa 0, area 0.5, whatever the shares of the classes."""
    true = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2], float)
    told = everybody(classification.count(true, np.zeros(9), np.tile([0.6, 0.3, 0.1], (9, 1)), np.full(9, "a"), 3))
    assert told["balanced_accuracy"] == pytest.approx(1 / 3)
    assert told["kappa"] == pytest.approx(0)
    assert told["auc"] == pytest.approx(0.5)


def test_the_expected_figures_are_the_mean_of_many_draws() -> None:
    rng = np.random.default_rng(0)
    true = rng.choice(3, 400, p=[0.6, 0.3, 0.1]).astype(float)
    shares = np.tile([0.5, 0.3, 0.2], (400, 1))
    told = classification.expected(true, shares)
    draws = [
        everybody(classification.count(true, rng.choice(3, 400, p=shares[0]), None, np.full(400, "a"), 3)) for _ in range(400)
    ]
    for figure, tolerance in (("accuracy", 0.005), ("balanced_accuracy", 0.01), ("kappa", 0.01), ("macro_f1", 0.015)):
        assert told[figure] == pytest.approx(np.mean([d[figure] for d in draws]), abs=tolerance), figure
    assert told["balanced_accuracy"] == pytest.approx(1 / 3)
    assert told["kappa"] == pytest.approx(0)


def test_very_many_different_scores_are_ranked_in_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, 5000).astype(float)
    score = 0.3 * true + rng.normal(size=5000)
    shares, subject = np.stack([1 - score, score], axis=1), np.repeat(["a", "b"], 2500)
    exact = everybody(classification.count(true, score > 0, shares, subject, 2))["auc"]
    monkeypatch.setattr(classification, "_BLOCK", 64)
    assert everybody(classification.count(true, score > 0, shares, subject, 2))["auc"] == pytest.approx(exact, abs=1e-12)
    monkeypatch.setattr(classification, "_CELLS", 100)
    monkeypatch.setattr(classification, "_LEVELS", 500)
    near = everybody(classification.count(true, score > 0, shares, subject, 2))["auc"]
    assert near == pytest.approx(exact, abs=1e-3)
    assert near != exact


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="three vectors of one length"):
        classification.count([0, 1], [0], None, ["a", "a"], 2)
    with pytest.raises(ValueError, match="class numbers 0 to 1"):
        classification.count([0, 2], [0, 1], None, ["a", "a"], 2)
    with pytest.raises(ValueError, match="class numbers 0 to 1"):
        classification.count([0, 0.5], [0, 1], None, ["a", "a"], 2)
    with pytest.raises(ValueError, match=r"probabilities of shape \(2, 2\), got \(2, 3\)"):
        classification.count([0, 1], [0, 1], np.ones((2, 3)), ["a", "a"], 2)
    with pytest.raises(ValueError, match="weights of 1 subjects"):
        classification.figures(classification.count([0, 1], [0, 1], None, ["a", "a"], 2), np.ones((1, 2)))


def test_no_windows_give_no_figures_and_no_warnings() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = everybody(classification.count([np.nan], [0], np.ones((1, 3)) / 3, ["a"], 3))
    assert np.isnan(list(told.values())).all()


def test_a_class_that_is_answered_and_never_true_counts_in_the_mean_of_f1() -> None:
    """F1 of the three classes that occur on either side: 4/5, 1 and 0; a fourth occurs nowhere."""
    told = everybody(classification.count([0, 0, 0, 1], [0, 0, 2, 1], None, np.full(4, "a"), 4))
    assert told["macro_f1"] == pytest.approx((4 / 5 + 1 + 0) / 3)
    assert told["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)


def test_a_window_without_probabilities_does_not_count_where_others_have_them() -> None:
    shares = np.array([[0.9, 0.1], [0.2, 0.8], [np.nan, np.nan], [0.4, 0.6]])
    counted = classification.count([0, 1, 1, 0], [0, 1, 0, 1], shares, np.full(4, "a"), 2)
    assert counted.confusion.sum() == 3
    assert everybody(counted)["auc"] == 1.0
