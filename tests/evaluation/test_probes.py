"""Linear probes: what is there is read, what is not there is not, and people are never on both sides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from biosig_mtl.evaluation import probes
from biosig_mtl.evaluation.probes import NUISANCE, PERSON, TARGET, Asked, Probe, held_out, probe, subject_parts, tells_persons

PEOPLE, PER = 40, 6
SUBJECT = np.repeat([f"s{i:02d}" for i in range(PEOPLE)], PER)
CODE = np.repeat(np.arange(PEOPLE), PER)


def embedding(seed: int = 0, width: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(PEOPLE * PER, width))


def test_a_line_is_read() -> None:
    x = embedding()
    line = probe(x, Asked("sbp", TARGET, 120 + 10 * x[:, 0] - 4 * x[:, 3]), SUBJECT)
    assert line.value > 0.99
    assert (line.metric, line.chance, line.people, line.windows) == ("r2", 0.0, PEOPLE, PEOPLE * PER)
    assert line.ci95[0] <= line.value <= line.ci95[1]


def test_noise_is_seldom_surely_above_chance() -> None:
    # Nominal are 2.5 %; the folds' own bias pushes figures of noise below chance, never above.
    above = np.zeros(2)
    for seed in range(60):
        x, y = embedding(seed), embedding(1000 + seed)[:, 0]
        for i, asked in enumerate((Asked("dbp", TARGET, y), Asked("high", TARGET, (y > 0.3).astype(float), 2))):
            found = probe(x, asked, SUBJECT)
            assert found.skill < 0.25
            above[i] += found.ci95[0] > found.chance
    assert (above <= 6).all()


def test_scale_and_offset_of_an_embedding_do_not_matter() -> None:
    x = embedding()
    asked = Asked("sbp", TARGET, x[:, 0] + embedding(2)[:, 0])
    a, b = probe(x, asked, SUBJECT), probe(1e3 * x + 5, asked, SUBJECT)
    assert a.value == pytest.approx(b.value, abs=1e-9)
    turned = replace(asked, values=-2 * asked.values + 3)
    assert probe(x, turned, SUBJECT).value == pytest.approx(a.value, abs=1e-9)


def test_who_a_person_is_does_not_tell_the_target_of_others() -> None:
    # The embedding is the person's own code, the target is constant within persons: split by windows R² would be near 1.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(PEOPLE, 20))[CODE] + 0.05 * rng.normal(size=(PEOPLE * PER, 20))
    y = rng.normal(size=PEOPLE)[CODE]
    fair = probe(x, Asked("sbp", TARGET, y), SUBJECT)
    assert fair.value < 0.2
    leak, mean = held_out(x, y[:, None], np.ones(y.size), np.arange(y.size) % 5)
    assert 1 - ((y - leak[:, 0]) ** 2).sum() / ((y - mean[:, 0]) ** 2).sum() > 0.35
    person = probe(x, Asked("person", PERSON, CODE.astype(float), PEOPLE), SUBJECT)
    assert person.value > 0.8
    assert person.chance == 1 / PEOPLE
    nobody = probe(embedding(), Asked("person", PERSON, CODE.astype(float), PEOPLE), SUBJECT)
    assert nobody.value < 0.1


def test_classes_are_read_by_balanced_accuracy() -> None:
    x = embedding()
    rare = (x[:, 0] > 1.2).astype(float)
    found = probe(x, Asked("high", TARGET, rare, 2), SUBJECT)
    assert found.metric == "balanced_accuracy"
    assert found.value > 0.8
    assert found.skill == pytest.approx(2 * found.value - 1)


def test_the_ridge_is_the_ridge_and_the_penalty_comes_from_the_others() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
    weight, part = rng.uniform(0.5, 2, 60), np.arange(60) % 3
    told, mean = held_out(x, y, weight, part)
    fitted = {}
    for one in range(3):
        rest = part != one
        w = weight[rest]
        centre, level = (w @ x[rest]) / w.sum(), (w @ y[rest]) / w.sum()
        np.testing.assert_allclose(mean[~rest], np.broadcast_to(level, mean[~rest].shape), atol=1e-9)
        for penalty in probes.PENALTIES:
            away = x[rest] - centre
            slopes = np.linalg.solve(
                (away * w[:, None]).T @ away + penalty * w.sum() * np.eye(3), (away * w[:, None]).T @ (y[rest] - level)
            )
            fitted[penalty, one] = level + (x[~rest] - centre) @ slopes
        assert any(np.allclose(told[~rest], fitted[penalty, one], atol=1e-6) for penalty in probes.PENALTIES)
    # What is in the part itself has no say in its penalty or slopes.
    changed = y.copy()
    changed[part == 0] += 100
    again, _ = held_out(x, changed, weight, part)
    np.testing.assert_allclose(again[part == 0], told[part == 0], atol=1e-9)


def test_people_stay_together() -> None:
    part = subject_parts(SUBJECT)
    assert all(np.unique(part[one == SUBJECT]).size == 1 for one in np.unique(SUBJECT))
    assert np.unique(part).tolist() == [0, 1, 2, 3, 4]


def test_unknown_windows_are_left_out() -> None:
    x = embedding()
    y = x[:, 0].copy()
    y[::2] = np.nan
    found = probe(x, Asked("age", NUISANCE, y), SUBJECT)
    assert found.windows == PEOPLE * PER // 2
    assert found.value > 0.99


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (Asked("age", NUISANCE, np.where(CODE < 3, CODE, np.nan)), "known of 3 people"),
        (Asked("age", NUISANCE, np.full(CODE.size, np.nan)), "known of 0 people"),
        (Asked("sbp", TARGET, np.full(CODE.size, 120.0)), "the same in all windows"),
        (Asked("sex", NUISANCE, np.ones(CODE.size), 2), "the same in all windows"),
        (Asked("site", NUISANCE, (CODE == 7).astype(float), 2), "only one person has"),
        (Asked("person", PERSON, np.where(CODE < 1, CODE, np.nan), 1), "fewer than 2 people"),
        (Asked("person", PERSON, np.arange(CODE.size, dtype=float), CODE.size), "fewer than 2 people"),
    ],
)
def test_what_cannot_be_asked_says_why(asked: Asked, why: str) -> None:
    found = probe(embedding(), asked, SUBJECT)
    assert why in found.why
    assert np.isnan(found.value)
    assert np.isnan(found.skill)


def made(kind: str, value: float, name: str = "", low: float = 0.5) -> Probe:
    chance = 0.1 if kind == PERSON else 0.0
    return Probe(name or kind, kind, "r2", value, (low, 1.0), chance, 100, 10)


def test_a_split_that_tells_persons_better_than_its_target_is_named() -> None:
    person = made(PERSON, 0.8)
    assert tells_persons([made(TARGET, 0.2, "sbp"), person], "sbp") is person
    # A target that is told as well is no fault, nor is a person who is told no better than by chance.
    assert tells_persons([made(TARGET, 0.75, "sbp"), person], "sbp") is None
    assert tells_persons([made(TARGET, -1.0, "sbp"), made(PERSON, 0.3, low=0.05)], "sbp") is None
    # Far below chance is no better than chance: 0.15 stands against 0, not against −1.
    assert tells_persons([made(TARGET, -1.0, "sbp"), made(PERSON, 0.15, low=0.12)], "sbp") is None
    assert tells_persons([made(TARGET, 0.2, "dbp"), person], "sbp") is None
    assert tells_persons([made(TARGET, 0.2, "sbp")], "sbp") is None
    assert tells_persons([made(TARGET, float("nan"), "sbp"), person], "sbp") is None
