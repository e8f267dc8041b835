"""Which targets have to do with a new one: known answers are found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from biosig_mtl.lifecycle.opened import open_run
from biosig_mtl.lifecycle.suggest_tasks import (
    Given,
    Heads,
    NewTarget,
    Relevance,
    SuggestSettings,
    embedding_of,
    heads_of,
    lasso,
    relevance,
    suggest_tasks,
)
from biosig_mtl.types import DataError
from tests.lifecycle.conftest import Run


def made(seed: int = 0, *, noise: float = 0.3, people: int = 40, per: int = 15) -> Given:
    """Return four sources on an embedding of 16; the wanted target is made of the first two."""
    rng = np.random.default_rng(seed)
    n = people * per
    x = rng.normal(size=(n, 16))
    ways = np.linalg.qr(rng.normal(size=(16, 4)))[0]
    sources = x @ ways + noise * rng.normal(size=(n, 4))
    wanted = x @ (0.9 * ways[:, 0] - 0.5 * ways[:, 1]) + noise * rng.normal(size=n)
    return Given(x, sources, wanted, np.repeat([f"s{i}" for i in range(people)], per))


@pytest.mark.parametrize("seed", range(4))
def test_related_sources_are_found_and_unrelated_ones_are_near_zero(seed: int) -> None:
    found = relevance(made(seed))
    assert found.nu[0] > 0.6
    assert found.nu[1] < -0.25
    assert np.abs(found.nu[2:]).max() < 0.08
    assert found.explained > 0.8


def test_where_nothing_is_related_nothing_is_suggested() -> None:
    given = made()
    noise = np.random.default_rng(9).normal(size=given.wanted.size)
    found = relevance(Given(given.embedding, given.sources, noise, given.subject))
    assert np.abs(found.nu).max() < 0.3
    assert found.explained < 0.3
    still = relevance(Given(given.embedding, given.sources, np.zeros_like(noise), given.subject))
    assert not still.nu.any()
    assert still.explained == 0.0


def test_a_copy_of_the_target_explains_all_of_it() -> None:
    given = made()
    sources = np.column_stack([given.sources[:, 2:], given.wanted * 7.0 + 3.0])
    found = relevance(Given(given.embedding, sources, given.wanted, given.subject))
    assert found.nu[2] == pytest.approx(1.0, abs=0.1)
    assert np.abs(found.nu[:2]).max() < 0.02
    assert found.explained > 0.98


def test_scale_and_offset_of_labels_say_nothing() -> None:
    given = made()
    moved = Given(given.embedding * 100.0 - 3.0, given.sources * [1, 1e3, 1e-3, 1] + 50.0, given.wanted * 20 + 5, given.subject)
    assert relevance(moved).nu == pytest.approx(relevance(given).nu, abs=1e-6)


def test_labels_may_be_known_of_some_windows_only() -> None:
    given = made()
    sources, wanted = given.sources.copy(), given.wanted.copy()
    sources[::3, 0], wanted[1::3] = np.nan, np.nan
    found = relevance(Given(given.embedding, sources, wanted, given.subject))
    assert found.nu[0] > 0.6
    assert np.abs(found.nu[2:]).max() < 0.1
    # What is known of one person alone can be told by no inner fold, and is no error either.
    lonely = np.where(given.subject == "s0", given.wanted, np.nan)
    assert np.isfinite(relevance(Given(given.embedding, given.sources, lonely, given.subject)).nu).all()


def test_the_lasso_keeps_its_condition() -> None:
    rng = np.random.default_rng(3)
    heads = Heads(rng.normal(size=(20, 5)), rng.normal(size=20))
    strength = 0.1
    nu = lasso(heads, strength)
    slope = heads.source.T @ (heads.wanted - heads.source @ nu) / 20
    # The subgradient of the stated objective: λ sign(ν) where ν ≠ 0, at most λ elsewhere.
    np.testing.assert_allclose(slope[nu != 0], strength * np.sign(nu[nu != 0]), atol=1e-4)
    assert (np.abs(slope[nu == 0]) <= strength + 1e-6).all()
    assert not lasso(heads, 1e3).any()


def test_heads_of_white_columns_are_their_correlations() -> None:
    given = made(people=400)
    heads = heads_of(given, penalty=1e-9)
    said = np.array([np.corrcoef(x, given.wanted)[0, 1] for x in given.embedding.T])
    assert heads.wanted == pytest.approx(said, abs=0.03)
    assert heads.source.shape == (16, 4)


def test_a_target_unknown_everywhere_is_refused() -> None:
    given = made()
    for part in ({"wanted": np.full(600, np.nan)}, {"sources": np.full((600, 1), np.nan)}):
        words: dict[str, Any] = {"wanted": given.wanted, "sources": given.sources, **part}
        with pytest.raises(DataError, match="unknown in all training windows"):
            relevance(Given(given.embedding, words["sources"], words["wanted"], given.subject))
    with pytest.raises(ValueError, match="penalty"):
        SuggestSettings(penalty=0.0)


# ------------------------------------------------------------------------------------------------------------ whole runs
def test_a_run_suggests(run: Run) -> None:
    hr = NewTarget("hr", "hr.mean_per_min", run.with_rate)
    more = [NewTarget("longest", "hr.min_per_min", run.with_rate)]
    told = suggest_tasks(run.folder, run.stores, hr, more)
    assert {one["name"] for one in told["sources"]} == {"sbp", "dbp", "longest"}
    sizes = [abs(one["nu"]) for one in told["sources"]]
    assert sizes == sorted(sizes, reverse=True)
    assert told["sources"][0]["name"] == "longest"
    assert "hr" in told["sentence"]
    assert told == suggest_tasks(run.folder, run.stores, hr, more)
    known = suggest_tasks(run.folder, run.stores, NewTarget("dbp"))
    assert [one["name"] for one in known["sources"]] == ["sbp"]


def test_nobody_who_is_tested_is_looked_at(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from biosig_mtl.lifecycle import suggest_tasks as module

    seen: list[Given] = []

    def watched(given: Given, settings: SuggestSettings) -> Relevance:
        seen.append(given)
        return relevance(given, settings)

    monkeypatch.setattr(module, "relevance", watched)
    suggest_tasks(run.folder, run.stores, NewTarget("sbp"))
    opened = open_run(run.folder, run.stores)
    assert len(seen) == len(opened.folds)
    for given, fold in zip(seen, opened.folds, strict=True):
        tested = set(opened.table.subject[fold.test]) | set(opened.table.subject[fold.validation])
        assert not tested & set(given.subject.tolist())


def test_the_embedding_of_a_window_does_not_depend_on_others(run: Run) -> None:
    opened = open_run(run.folder, run.stores)
    fold = opened.folds[0]
    rows = opened.inner(fold).train
    first = embedding_of(opened.member(fold), opened, rows)
    assert first.shape == (rows.size, 8)
    np.testing.assert_allclose(embedding_of(opened.member(fold), opened, rows[3:4]), first[3:4], atol=1e-5)


def test_without_a_source_there_is_nothing_to_suggest(run: Run) -> None:
    with pytest.raises(DataError, match="no column of numbers 'zzz'"):
        suggest_tasks(run.folder, run.stores, NewTarget("zzz"))
