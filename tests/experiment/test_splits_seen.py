"""Of one network and of all networks of a run: what is asked of the splits, pooled over folds, and said in words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from biosig_mtl.experiment import splits_seen
from biosig_mtl.models.hard_sharing import HardSharingSettings, hard_sharing
from biosig_mtl.models.split_merge import SplitMerge, SplitMergeSettings
from biosig_mtl.training import Scaler, predict, spec_of
from biosig_mtl.training.diagnostics import Subjects
from biosig_mtl.types import Head, WindowTable

PEOPLE, PER = 12, 6
ROWS = np.arange(PEOPLE * PER)


@pytest.fixture(scope="module")
def table() -> WindowTable:
    rng = np.random.default_rng(0)
    n, samples = PEOPLE * PER, 128
    code = np.repeat(np.arange(PEOPLE), PER)
    time = np.arange(samples) / 32
    turns = rng.uniform(1, 1.6, n)[:, None] * time + rng.uniform(0, 1, n)[:, None]
    slope = np.exp(4 * (np.cos(2 * np.pi * turns) - 1)) - 0.2
    waveform = np.stack([np.cumsum(slope, axis=1), slope], axis=1).astype(np.float32)
    # Every person has features of their own: a network tells who it is, and the pressures are chance.
    values = (rng.normal(size=(PEOPLE, 5))[code] + 0.02 * rng.normal(size=(n, 5))).astype(np.float32)
    values[:, 3] = (code % 2).astype(np.float32)
    index = pd.DataFrame(
        {
            "subject": [f"s{i:02d}" for i in code],
            "dataset": np.where(code < 6, "a", "b"),
            "device": "one",
            "sqi": rng.uniform(0.5, 1, n),
        }
    )
    names = ("pulse.a", "hr.mean_per_min", "person.age_years", "person.sex_male", "pat.a")
    targets = rng.normal([120, 80], [10, 5], size=(n, 2)).astype(np.float32)
    return WindowTable(index, values, names, waveform, ("ppg_8hz", "vpg"), 32.0, targets, ("sbp", "dbp"))


def network(table: WindowTable, seed: int = 0, **words: Any) -> SplitMerge:
    torch.manual_seed(seed)
    return SplitMerge(SplitMergeSettings(**{"width": 16, "stride": 8, "dropout": 0.0, **words}), spec_of(table))


def reported(table: WindowTable, model: torch.nn.Module, history: Any = ()) -> dict[str, Any]:
    return splits_seen.fold_report(model, Subjects(table, ROWS, Scaler.fit(table, ROWS), history))


@pytest.fixture(scope="module")
def two(table: WindowTable) -> dict[str, dict[str, Any]]:
    return {f"seed {s}, fold 0": reported(table, network(table, s, merge="gate")) for s in range(2)}


def test_a_report_is_plain_and_has_everything(table: WindowTable, two: dict[str, dict[str, Any]]) -> None:
    told = two["seed 0, fold 0"]
    json.dumps(told, allow_nan=False)
    assert told["dependence"]["permuted"] == "subjects"
    assert told["dependence"]["units"] == PEOPLE
    assert [one["name"] for one in told["probes"][0]] == [
        "sbp", "dbp", "person", "dataset", "age", "heart rate", "sex", "signal quality",
    ]  # fmt: skip
    assert len(told["probes"]) == 3
    assert np.array(told["gates_by_person"]["mean"]).shape == np.array(told["gates_by_person"]["sd"]).shape == (2,)
    assert told["gates"] == pytest.approx(told["gates_by_person"]["mean"], abs=1e-4)  # all have as many windows
    assert told["maps"]["beat"]["people"] == PEOPLE
    assert len(told["maps"]["beat"]["sensitivity"]) == 3
    whole = np.array(told["by_person"]["whole"]).mean(axis=0)
    np.testing.assert_allclose(whole * Scaler.fit(table, ROWS).target_scale, told["mae"], rtol=1e-3)


def test_a_split_that_tells_persons_is_said_in_words(two: dict[str, dict[str, Any]]) -> None:
    told = [w for w in two["seed 0, fold 0"]["warnings"] if "tells persons better than its target" in w]
    assert len(told) == 2
    assert f"of {PEOPLE} people (chance 8%)" in told[0]
    person = next(one for one in two["seed 0, fold 0"]["probes"][1] if one["kind"] == "person")
    assert person["value"] > 0.4


class Unshared(torch.nn.Module):
    """A network without a shared split: one split a target, answered alone."""

    def __init__(self, whole: SplitMerge) -> None:
        super().__init__()
        self.whole = whole
        self.spec, self.tokens = whole.spec, whole.tokens
        self.uses_waveform, self.uses_tracks = whole.uses_waveform, whole.uses_tracks
        self.embed = whole.embed

    def split(self, embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        masks, splits = self.whole.split(embedding)
        return masks[:, 1:], splits[:, 1:]

    def answer(self, masks: torch.Tensor, splits: torch.Tensor, batch: Any) -> Any:
        return self.whole.answer(masks, torch.cat([splits[:, :1], splits], dim=1), batch)


def test_a_network_without_a_shared_split_is_told_in_its_own_splits(table: WindowTable) -> None:
    whole = network(table, merge="none")
    told = reported(table, Unshared(whole))
    assert told["splits"] == ["sbp", "dbp"]
    assert np.array(told["removal"]).shape == (2, 2)
    assert told["removal"][0][1] == told["removal"][1][0] == 0.0
    assert not any("shared split" in w for w in told["warnings"])
    assert sum("tells persons better" in w for w in told["warnings"]) == 2
    json.dumps(splits_seen.gather({"a": told}), allow_nan=False)
    with torch.no_grad():
        whole.heads.last.weight.zero_()
    idle = reported(table, Unshared(whole))
    assert sum("no split is needed" in w for w in idle["warnings"]) == 2
    assert sum("it cannot be said that" in w for w in splits_seen.gather({"a": idle})["sentences"]) == 2


def test_networks_that_do_not_split_have_nothing(table: WindowTable) -> None:
    hard = hard_sharing(HardSharingSettings(width=8), spec_of(table))
    told = reported(table, hard)
    assert told == {"splits": [], "warnings": []}
    assert splits_seen.gather({"a": told}) == {"sentences": [], "folds": {"a": told}}
    assert splits_seen.gather({}) == {"sentences": [], "folds": {}}


def test_without_gates_and_with_few_windows(table: WindowTable) -> None:
    model = network(table)
    told = splits_seen.fold_report(model, Subjects(table, ROWS[:5], Scaler.fit(table, ROWS)))
    assert told["gates_by_person"] is None
    assert told["dependence"] is None
    assert {one["why"] for one in told["probes"][0]} >= {"known of 1 people, needs 6"}
    gated = splits_seen.fold_report(network(table, merge="gate"), Subjects(table, ROWS[:5], Scaler.fit(table, ROWS)))
    assert gated["gates_by_person"]["sd"] == [None, None]
    found = splits_seen.gather({"seed 0, fold 0": told})
    json.dumps(found, allow_nan=False)
    assert found["agreement"] == {"networks": 1}


def test_targets_of_classes_are_asked_as_classes(table: WindowTable) -> None:
    classed = replace(table, heads=(Head("binary", (120.0,)), Head()))
    asked = {one.name: one for one in splits_seen.asked_of(classed, ROWS)}
    assert asked["sbp"].classes == 2
    assert set(np.unique(asked["sbp"].values)) == {0.0, 1.0}
    assert asked["dbp"].classes == 0
    assert "device" not in asked  # there is only one


def test_a_table_without_facts_is_asked_for_targets_and_persons(table: WindowTable) -> None:
    bare = replace(table, index=table.index[["subject"]], names=("a", "b", "c", "d", "e"))
    assert [one.name for one in splits_seen.asked_of(bare, ROWS)] == ["sbp", "dbp", "person"]


def test_maps_of_tracks_agree_or_do_not() -> None:
    def one(values: list[float]) -> dict[str, Any]:
        track = {"before_s": list(range(len(values))), "mean": [values, values], "sd": [values, values]}
        return {"splits": ["shared", "a"], "warnings": [], "maps": {"beat": None, "tracks": {"eeg": track}, "families": {}}}

    up, down = [0.1, 0.2, 0.3, 0.4, 0.5], [0.5, 0.4, 0.3, 0.2, 0.1]
    assert splits_seen.gather({"a": one(up), "b": one(up)})["agreement"]["eeg"] == [1, 1]
    told = splits_seen.gather({"a": one(up), "b": one(down)})
    assert told["agreement"]["eeg"] == [-1, -1]
    assert any("maps (eeg)" in w for w in told["sentences"])
    # Three points say nothing, and neither does a flat map or one of another length.
    for first, second in ((up[:3], up[:3]), ([0.5] * 5, up), (up[:4], up)):
        assert "eeg" not in splits_seen.gather({"a": one(first), "b": one(second)})["agreement"]


def test_an_unknown_target_does_not_stop_the_report(table: WindowTable) -> None:
    targets = table.targets.copy()
    targets[:, 1] = np.nan
    unknown = replace(table, targets=targets)
    told = splits_seen.fold_report(network(table), Subjects(unknown, ROWS, Scaler.fit(table, ROWS)))
    found = splits_seen.gather({"a": told})
    json.dumps(found, allow_nan=False)
    assert found["removal"]["zeros"]["value"][2][1] is None
    assert told["probes"][0][1]["why"] == "known of 0 people, needs 6"


def test_cosines_are_read_from_the_history(table: WindowTable) -> None:
    history = [{"cosine_sbp_dbp": c, "loss": 1.0} for c in (0.5, float("nan"), -0.1, 0.2)] + [{"loss": 0.5}]
    told = reported(table, network(table), history)
    assert told["cosines"] == {"sbp_dbp": {"mean": 0.2, "last": 0.2, "negative": 0.33333}}
    assert reported(table, network(table), [{"cosine_sbp_dbp": float("nan")}])["cosines"] == {}


# -------------------------------------------------------------------------------------------------------- of all networks
def test_people_of_several_seeds_are_one_person(two: dict[str, dict[str, Any]]) -> None:
    found = splits_seen.gather(two)
    json.dumps(found, allow_nan=False)
    assert found["removal"]["people"] == PEOPLE
    whole = np.mean([one["by_person"]["whole"] for one in two.values()], axis=0)
    zeros = np.mean([one["by_person"]["zeros"] for one in two.values()], axis=0)
    np.testing.assert_allclose(
        np.array(found["removal"]["zeros"]["value"]), zeros.mean(axis=1) / whole.mean(axis=0) - 1, atol=1e-4
    )
    low, high = np.moveaxis(np.array(found["removal"]["shuffled"]["ci95"]), -1, 0)
    value = np.array(found["removal"]["shuffled"]["value"])
    assert ((low <= value + 1e-9) & (value <= high + 1e-9)).all()
    assert all("by_person" not in one for one in found["folds"].values())
    # A task's error does not know the split of another.
    assert found["removal"]["zeros"]["ci95"][2][0] == [0.0, 0.0]


def test_masks_of_networks_that_disagree_are_not_to_be_interpreted(two: dict[str, dict[str, Any]]) -> None:
    found = splits_seen.gather(two)
    assert found["agreement"]["networks"] == 2
    assert any(w.startswith("masks are not stable: their maps (beat)") for w in found["sentences"])
    same = splits_seen.gather({"a": two["seed 0, fold 0"], "b": two["seed 0, fold 0"]})
    assert same["agreement"]["beat"] == pytest.approx([1, 1, 1])
    assert same["agreement"]["families"] == pytest.approx([1, 1, 1])
    assert not any("not stable" in w for w in same["sentences"])


def test_a_split_without_effect_is_said_not_to_be_needed_surely(table: WindowTable) -> None:
    model = network(table)
    with torch.no_grad():
        model.heads.last.weight.zero_()
    found = splits_seen.gather({"a": reported(table, model)})
    assert sum("it cannot be said that" in w for w in found["sentences"]) == 2
    # A network that is right but for a little noise misses what it uses.
    right = network(table, merge="none")
    scaler = Scaler.fit(table, ROWS)
    known = replace(table, targets=predict(right, table, ROWS, scaler).astype(np.float32) + np.float32(0.01))
    told = splits_seen.gather({"a": splits_seen.fold_report(right, Subjects(known, ROWS, scaler))})
    assert not any("it cannot be said that" in w for w in told["sentences"])


def test_sentences_that_differ_in_numbers_are_said_once() -> None:
    folds = {
        f"fold {i}": {"splits": [], "warnings": [f"near copies (uHSIC 0.9{i}): raise it", "other"][: 1 + i % 2]}
        for i in range(5)
    }
    told = splits_seen.gather(folds)["sentences"]
    assert told == ["near copies (uHSIC 0.90): raise it (fold 0; alike in 5 of 5 networks)", "other (fold 1; fold 3)"]


def test_a_report_without_errors_of_people_has_no_removal(two: dict[str, dict[str, Any]]) -> None:
    # As a run folder holds it: the errors of people are pooled and then left out.
    bare = splits_seen.gather(two)["folds"]
    again = splits_seen.gather(bare)
    assert again["removal"] == {}
    assert again["folds"] == bare
