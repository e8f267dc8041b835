"""Baselines of classes and of stimuli: known truths, nothing from the tested side, chance that is drawn as told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from biosig_mtl.models import baselines, class_baselines
from biosig_mtl.models.tabular import Known, Shown
from biosig_mtl.types import F64, Head, WindowTable

BINARY, THREE = Head("binary", (5.0,)), Head("classes", (4.0, 6.0))
SUBJECTS, CLIPS, EACH = 20, 6, 4


def make_table(heads: tuple[Head, ...] = (Head(), BINARY), seed: int = 0, *, stimuli: bool = True) -> WindowTable:
    """Valence follows the clip and one feature, arousal another feature; a window in fifty lacks a feature."""
    rng = np.random.default_rng(seed)
    who, clip, _ = np.indices((SUBJECTS, CLIPS, EACH)).reshape(3, -1)
    values = rng.normal(size=(who.size, 5)).astype(np.float32)
    clips = rng.uniform(-2, 2, CLIPS)
    valence = np.clip(5 + clips[clip] + 0.5 * values[:, 0] + rng.normal(0, 0.3, who.size), 1, 9)
    arousal = np.clip(5 + 1.5 * values[:, 1] + rng.normal(0, 0.5, who.size), 1, 9)
    values[rng.random(values.shape) < 0.02] = np.nan
    index = pd.DataFrame(
        {"subject": [f"s{i:02d}" for i in who], "session": "1", "stimulus": [f"clip{c}" if stimuli else "" for c in clip],
         "record": [f"r{a}-{b}" for a, b in zip(who, clip, strict=True)]}
    )  # fmt: skip
    targets = np.stack([valence, arousal], axis=1).astype(np.float32)
    names = tuple(f"eda.f{i}" for i in range(5))
    none = np.empty((who.size, 0, 0), np.float32)
    return WindowTable(index, values, names, none, (), 1.0, targets, ("valence", "arousal"), heads=heads)


TRAIN, TEST = np.arange(360), np.arange(360, 480)


def answered(name: str, table: WindowTable, seed: int = 0, weight: np.ndarray | None = None) -> baselines.Answer:
    told = baselines.fit(name, table, TRAIN, weight, seed).answer(table, TEST)
    assert told is not None
    return told


def truth(table: WindowTable, target: int) -> F64:
    return table.head[target].encode(table.targets[TEST, target])


@pytest.mark.parametrize("name", baselines.BASELINES)
@pytest.mark.parametrize("heads", [(BINARY, BINARY), (Head(), THREE), (THREE, Head("ordinal", (2.0, 4.0, 6.0, 8.0)))])
def test_answers_have_the_shape_of_their_heads(name: str, heads: tuple[Head, ...]) -> None:
    table = make_table(heads)
    fitted = baselines.fit(name, table, TRAIN)
    told = fitted.answer(table, TEST)
    rule = baselines.BASELINES[name]
    if told is None:
        answers = [rule.classes if head.classes else rule.numbers for head in heads]
        assert rule.prefix in {"person.", "hr.mean"} or answers == [None, None]
        assert fitted.reason
        return
    for j, (target, head) in enumerate(zip(table.target_names, heads, strict=True)):
        column = told.estimate[:, j]
        if (rule.classes if head.classes else rule.numbers) is None:
            assert np.isnan(column).all()
            continue
        assert np.isfinite(column).all()
        assert (target in told.probabilities) == bool(head.classes)
        if head.classes:
            shares = told.probabilities[target]
            assert shares.shape == (TEST.size, head.classes)
            assert (shares >= 0).all()
            np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-9)
            assert set(column) <= set(range(head.classes))
            if name != "class_prior":
                np.testing.assert_array_equal(column, shares.argmax(axis=1))


@pytest.mark.parametrize("name", baselines.CLASSES)
def test_nothing_of_the_tested_side_is_learned_from(name: str) -> None:
    table = make_table((THREE, BINARY))
    targets = table.targets.copy()
    targets[TEST] = 9.0
    spoiled = replace(table, targets=targets)
    one, two = answered(name, table), baselines.fit(name, spoiled, TRAIN).answer(table, TEST)
    assert two is not None
    np.testing.assert_array_equal(one.estimate, two.estimate)
    for target, shares in one.probabilities.items():
        np.testing.assert_array_equal(shares, two.probabilities[target])


def test_the_majority_answers_the_commonest_class() -> None:
    table = make_table((Head("binary", (4.0,)), THREE))
    told = answered("majority", table)
    for j, target in enumerate(table.target_names):
        known = table.head[j].encode(table.targets[TRAIN, j]).astype(int)
        share = np.bincount(known, minlength=table.head[j].classes) / known.size
        assert set(told.estimate[:, j]) == {float(share.argmax())}
        np.testing.assert_allclose(told.probabilities[target][0], share)
    # Weights change whose class is common.
    weight = np.where(table.head[0].encode(table.targets[TRAIN, 0]) == 0, 100.0, 1.0).astype(np.float32)
    assert set(answered("majority", table, weight=weight).estimate[:, 0]) == {0.0}


def test_the_prior_is_drawn_once_a_trial_and_anew_in_each_fold() -> None:
    table = make_table((BINARY, THREE))
    told = answered("class_prior", table)
    drawn = told.estimate.reshape(-1, EACH, 2)
    assert (drawn == drawn[:, :1]).all()
    assert len(np.unique(drawn[:, 0, 0])) == 2
    np.testing.assert_array_equal(told.estimate, answered("class_prior", table).estimate)
    other = baselines.fit("class_prior", table, TRAIN[4:]).answer(table, TEST)
    assert other is not None
    assert not np.array_equal(told.estimate, other.estimate)
    assert not np.array_equal(told.estimate, answered("class_prior", table, seed=1).estimate)
    # Without trials every window is drawn, by the shares of the training part.
    known = Known(np.zeros((10, 0)), np.array([0.0] * 7 + [1.0] * 3), np.full(10, "a"), np.ones(10), 0, head=BINARY)
    choose = class_baselines.class_prior(known)
    answers, shares = choose(Shown(np.zeros((20_000, 0))))
    assert answers.mean() == pytest.approx(0.3, abs=0.015)
    np.testing.assert_allclose(shares[0], [0.7, 0.3])


def test_the_stimulus_mean_is_that_of_other_people_who_saw_it() -> None:
    table = make_table((Head(), THREE))
    told = answered("stimulus_mean", table)
    clip = table.index["stimulus"].to_numpy()
    here = TRAIN[clip[TRAIN] == "clip2"]
    at = clip[TEST] == "clip2"
    assert told.estimate[at, 0] == pytest.approx(float(table.targets[here, 0].mean()), rel=1e-6)
    share = np.bincount(THREE.encode(table.targets[here, 1]).astype(int), minlength=3) / here.size
    np.testing.assert_allclose(told.probabilities["arousal"][at][0], share)
    plain = answered("train_mean", table).estimate[:, 0]
    target = table.targets[TEST, 0]
    assert np.abs(told.estimate[:, 0] - target).mean() < 0.75 * np.abs(plain - target).mean()


def test_an_unknown_stimulus_gets_the_mean_of_everybody() -> None:
    table = make_table((Head(), THREE))
    clip = table.index["stimulus"].to_numpy(dtype=str)
    names = np.where(np.arange(len(table)) >= 360, np.char.add("new", clip), clip)
    told = answered("stimulus_mean", replace(table, index=table.index.assign(stimulus=names)))
    assert told.estimate[:, 0] == pytest.approx(float(table.targets[TRAIN, 0].mean()), rel=1e-6)
    np.testing.assert_allclose(told.probabilities["arousal"], answered("majority", table).probabilities["arousal"])
    absent = baselines.fit("stimulus_mean", make_table(stimuli=False), TRAIN)
    assert absent.answer(table, TEST) is None
    assert absent.reason == "the data set names no stimulus"


def test_learners_find_what_features_tell() -> None:
    table = make_table((THREE, BINARY))
    plain = (answered("majority", table).estimate[:, 1] == truth(table, 1)).mean()
    for name in ("logistic", "gradient_boosting"):
        right = (answered(name, table).estimate[:, 1] == truth(table, 1)).mean()
        assert right > max(plain + 0.2, 0.8), name


def test_the_logistic_loss_has_no_slope_where_it_ends() -> None:
    """Law of the minimum, by finite differences of the loss that the docstring states."""
    rng = np.random.default_rng(0)
    x, hot, weight = rng.normal(size=(80, 3)), np.eye(3)[rng.integers(0, 3, 80)], rng.random(80)
    solved = class_baselines._softmax_fit(x, hot, weight, np.array([0.1]))[0]

    def loss(w: F64) -> float:
        likely = (class_baselines._softmax(x, w) * hot).sum(axis=1)
        return float(-(weight / weight.sum() * np.log(likely)).sum() + 0.05 * (w[1:] ** 2).sum())

    for place in np.ndindex(solved.shape):
        step = np.zeros_like(solved)
        step[place] = 1e-5
        assert abs(loss(solved + step) - loss(solved - step)) / 2e-5 < 1e-4, place


def test_logistic_agrees_with_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(300, 4)), rng.integers(0, 3, 300)
    x[:, 0] += y
    mine = class_baselines._softmax_fit(x, np.eye(3)[y], np.ones(300), np.array([0.01]))[0]
    theirs = LogisticRegression(C=1 / (300 * 0.01), tol=1e-8, max_iter=1000).fit(x, y).predict_proba(x)
    np.testing.assert_allclose(class_baselines._softmax(x, mine), theirs, atol=2e-3)


def test_balanced_heads_weigh_classes_alike() -> None:
    rare = (Head("binary", (6.5,), balanced=True), Head("binary", (6.5,)))
    table = make_table(rare)
    table = replace(table, targets=np.stack([table.targets[:, 1]] * 2, axis=1))
    for name in ("logistic", "gradient_boosting"):
        told = answered(name, table).estimate
        assert told[:, 0].mean() > told[:, 1].mean(), name
    weights = class_baselines._balanced(Known(np.zeros((4, 0)), np.array([0.0, 0, 0, 1]), np.full(4, "a"), np.ones(4), 0,
                                              head=Head("classes", (1.0, 2.0), balanced=True)))  # fmt: skip
    assert weights == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])


@pytest.mark.parametrize("name", ["logistic", "gradient_boosting"])
def test_a_class_that_training_lacks_stays_possible_in_the_table(name: str) -> None:
    table = make_table((BINARY, Head("classes", (-1.0, 5.0))))
    told = answered(name, table)
    assert told.probabilities["arousal"].shape == (TEST.size, 3)
    assert (told.probabilities["arousal"][:, 0] < 1e-3).all()
    flat = replace(table, targets=np.full_like(table.targets, 7.0))
    alone = baselines.fit(name, flat, TRAIN).answer(table, TEST)
    assert alone is not None
    np.testing.assert_array_equal(alone.estimate[:, 1], 2.0)


def test_the_penalty_of_one_subject_is_the_strongest() -> None:
    table = make_table((BINARY, BINARY))
    alone = baselines.fit("logistic", table, TRAIN[:24]).answer(table, TEST)
    assert alone is not None
    assert np.isfinite(alone.estimate).all()


def test_a_long_training_part_is_thinned_for_the_penalty_only(monkeypatch: pytest.MonkeyPatch) -> None:
    table = make_table((BINARY, BINARY))
    full = answered("logistic", table).probabilities["arousal"]
    monkeypatch.setattr(class_baselines, "SEARCH_ROWS", 100)
    thin = answered("logistic", table).probabilities["arousal"]
    assert np.corrcoef(full[:, 1], thin[:, 1])[0, 1] > 0.99


def test_the_baselines_beside_a_score_follow_its_heads() -> None:
    assert baselines.names_for(make_table((Head(), Head()))) == baselines.NUMBERS
    assert baselines.names_for(make_table((BINARY, THREE))) == baselines.CLASSES
    both = baselines.names_for(make_table())
    assert set(both) == {*baselines.NUMBERS, *baselines.CLASSES}
    assert len(set(both)) == len(both)
    pressure = replace(make_table((Head(), Head())), target_names=("sbp", "dbp"), heads=())
    assert baselines.names_for(pressure) == baselines.PRESSURE
    wrong = baselines.fit("majority", pressure, TRAIN)
    assert (wrong.answer(pressure, TEST), wrong.reason) == (None, "it answers classes, not numbers")
    assert baselines.fit("ridge", make_table((BINARY, THREE)), TRAIN).reason == "it answers numbers, not classes"


def test_windows_without_a_stimulus_belong_to_no_stimulus_and_weights_count() -> None:
    table = make_table((Head(), THREE))
    clip = table.index["stimulus"].to_numpy(dtype=str)
    some = replace(table, index=table.index.assign(stimulus=np.where(clip == "clip1", "", clip)))
    weight = np.random.default_rng(0).random(360).astype(np.float32)
    told = answered("stimulus_mean", some, weight=weight).estimate[:, 0]
    everyone = np.average(table.targets[TRAIN, 0], weights=weight)
    assert told[clip[TEST] == "clip1"] == pytest.approx(everyone, rel=1e-5)
    here = clip[TRAIN] == "clip3"
    mean = np.average(table.targets[TRAIN[here], 0], weights=weight[here])
    assert told[clip[TEST] == "clip3"] == pytest.approx(mean, rel=1e-5)


def test_the_penalty_is_chosen_on_people_left_out() -> None:
    """Noise teaches nothing, so the strongest penalty wins; on the very people it was fitted to, the weakest would."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 40)), rng.integers(0, 2, 200).astype(float)
    known = Known(x, y, np.repeat([f"s{i}" for i in range(10)], 20), np.ones(200), 0, head=BINARY)
    hot = np.eye(2)[y.astype(int)]
    assert class_baselines._penalty(x, hot, np.ones(200), known) == class_baselines.PENALTIES[0]
    clear = np.eye(2)[(x[:, 0] > 0).astype(int)]
    assert class_baselines._penalty(x, clear, np.ones(200), known) < 0.1
