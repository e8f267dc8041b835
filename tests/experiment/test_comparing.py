"""Laws of a contest: who enters on what terms, that nobody tested is looked at, that it goes on where it was stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from biosig_mtl import experiment, models, report_compare
from biosig_mtl.experiment import comparing, entrants, members
from biosig_mtl.experiment.entrants import Choice
from biosig_mtl.recipe import Recipe
from biosig_mtl.types import DataError, InputSpec, RecipeError, WindowTable
from tests.experiment.conftest import FACTS

SPEC = InputSpec(("ppg", "vpg"), 250, ("pulse.a", "hr.mean", "person.age"), ("sbp", "dbp"))
FEW = ("train_mean", "train_median")


@dataclass(frozen=True)
class Held:
    out: Path
    made: dict[str, Any]
    told: list[Any]


@pytest.fixture(autouse=True, scope="module")
def few_baselines() -> Any:
    from biosig_mtl.models import baselines

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "BASELINES", {name: baselines.BASELINES[name] for name in FEW})
        yield


@pytest.fixture(scope="module")
def short(tiny: Recipe) -> Recipe:
    return replace(tiny, training={**tiny.training, "epochs": 1}, model={**tiny.model, "use_waveform": False})


@pytest.fixture(scope="module")
def held(short: Recipe, place: Path, tmp_path_factory: pytest.TempPathFactory) -> Held:
    """Return a whole contest: two networks, a variant, two trials, a learning curve."""
    out = tmp_path_factory.mktemp("c") / "contest"
    told: list[Any] = []
    chosen = Choice(("hard_sharing", "split_merge"), {"gated": {"model": {"merge": "gate"}, "training": {"ensemble": 2}}})
    terms = experiment.Terms(seeds=2, trials=2, sizes=(0.5,), curves=("hard_sharing",))
    made = experiment.compare(short, [place], out, chosen, terms, experiment.Crew(told=told.append, facts=(FACTS,)))
    return Held(out, made, told)


# --------------------------------------------------------------------------------------------------------------- entrants
def test_single_task_networks_always_enter_and_come_first(tiny: Recipe) -> None:
    found = entrants.enter(tiny, SPEC, Choice(("hard_sharing", "single_task")))
    assert [one.label for one in found] == ["single_task", "hard_sharing"]
    assert [one.apart for one in found] == [True, False]


@pytest.mark.parametrize("name", [n for n in models.MODELS if n != "histn"])
def test_sizes_are_matched(tiny: Recipe, name: str) -> None:
    base = replace(tiny, model={"name": "split_merge", "width": 32})
    found = {one.label: one for one in entrants.enter(base, SPEC, Choice((name, "split_merge"), parameters=60_000))}
    assert found[name].parameters == pytest.approx(60_000, rel=0.12)
    assert found["split_merge"].parameters == pytest.approx(60_000, rel=0.12)


def test_the_size_is_that_of_the_recipes_own_network(tiny: Recipe) -> None:
    base = replace(tiny, model={"name": "split_merge", "width": 32})
    found = {one.label: one for one in entrants.enter(base, SPEC, Choice(("split_merge",)))}
    assert found["split_merge"].width == 32


def test_unmatched_networks_keep_their_width(tiny: Recipe) -> None:
    base = replace(tiny, model={"name": "split_merge", "width": 24})
    found = entrants.enter(base, SPEC, Choice(("hard_sharing", "mtan"), matched=False))
    assert {one.width for one in found} == {24}


def test_what_stands_beside_networks_is_left_out_unless_asked_for(tiny: Recipe) -> None:
    base = replace(tiny, model={"name": "split_merge", "kernel_landmarks": 50})
    for one in entrants.enter(base, SPEC, Choice(("mtan",))):
        assert (one.recipe.model["kernel_landmarks"], one.recipe.model["linear_skip"]) == (0, False)
    kept = entrants.enter(base, SPEC, Choice(("mtan",), beside=True))
    assert all(one.recipe.model["kernel_landmarks"] == 50 for one in kept)
    assert all("linear_skip" not in one.recipe.model for one in kept)


def test_a_network_takes_the_words_that_it_knows(tiny: Recipe) -> None:
    base = replace(tiny, model={"name": "split_merge", "dropout": 0.37, "merge": "gate"})
    found = {one.label: one.recipe.model for one in entrants.enter(base, SPEC, Choice(("hard_sharing",)))}
    assert found["hard_sharing"]["dropout"] == 0.37
    assert "merge" not in found["hard_sharing"]


def test_single_task_networks_are_trained_one_by_one(tiny: Recipe) -> None:
    single = entrants.enter(tiny, SPEC, Choice())[0]
    assert [word for word, _ in single.groups()] == ["sbp", "dbp"]
    assert [list(recipe.model["answers"]) for _, recipe in single.groups()] == [["sbp"], ["dbp"]]


def test_unknown_networks_and_odd_variants_are_refused(tiny: Recipe, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'mtan'"):
        entrants.enter(tiny, SPEC, Choice(("mtam",)))
    with pytest.raises(RecipeError, match="has the name of a network"):
        entrants.enter(tiny, SPEC, Choice(variants={"mtan": {}}))
    for text in ("- a\n", "gate: {modle: {}}\n", "gate: {model: 3}\n", "a: [b\n", "gate: 3\n"):
        path = tmp_path / "odd.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(RecipeError, match=r"odd\.yaml"):
            entrants.read_variants(path)


def test_every_trial_changes_the_settings_that_it_says(tiny: Recipe) -> None:
    base = members.settings(tiny)[2]
    rates = [members.settings(entrants.trial(tiny, n))[2].lr / base.lr for n in range(len(entrants.TRIALS))]
    assert rates[:3] == pytest.approx([1.0, 3.0, 1 / 3])
    assert entrants.trial(tiny, 3).model["dropout"] == 0.5
    assert entrants.trial(tiny, 0).training == tiny.training


def test_networks_that_do_not_fit_are_not_chosen(tiny: Recipe) -> None:
    found = entrants.fitting(tiny, SPEC)
    assert "histn" not in found
    assert set(models.MODELS) - {"histn"} == set(found)


@pytest.mark.parametrize(("words", "said"), [({"seeds": 0}, "seeds"), ({"trials": 9}, "trials"), ({"sizes": (1.5,)}, "sizes")])
def test_terms_refuse_nonsense(words: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        comparing.Terms(**words)


# ---------------------------------------------------------------------------------------------------------------- contest
def test_every_model_has_a_row_with_gain_interval_and_cost(held: Held) -> None:
    rows = {row["label"]: row for row in held.made["rows"]}
    assert set(rows) == {"single_task", "hard_sharing", "split_merge", "gated", "knn_dtw", *FEW}
    assert rows["single_task"]["verdict"] == "reference"
    assert rows["single_task"]["delta_m"] == 0.0
    for label in ("hard_sharing", "split_merge", "gated"):
        row = rows[label]
        assert row["parameters"] > 0
        assert min(row["flops_per_window"], row["step_ms"], row["latency_ms"], row["train_cpu_s"]) > 0
        low, high = row["delta_m_ci95"]
        assert low <= row["delta_m"] <= high
        assert set(row["targets"]) == {"sbp", "dbp"}
    assert held.made["audit"]["passed"]
    assert held.made["stamps"] == ["SIMULATED DATA"]
    assert "single-task" in held.made["headline"]


def test_all_models_are_judged_on_the_same_windows(held: Held) -> None:
    table = pd.read_parquet(held.out / "predictions.parquet")
    keys = ["row", "seed", "fold", "target"]
    groups = {name: part[keys].sort_values(keys).to_numpy() for name, part in table.groupby("model", observed=True)}
    first = groups["single_task"]
    assert all((part == first).all() for part in groups.values())
    assert np.isfinite(table["y_pred"]).all()


def test_the_gain_is_that_of_the_predictions(held: Held) -> None:
    table = pd.read_parquet(held.out / "predictions.parquet")
    table["error"] = (table["y_true"] - table["y_pred"]).abs()
    each = table.groupby(["model", "target", "subject", "seed"], observed=True)["error"].mean()
    mae = each.groupby(["model", "target", "subject"], observed=True).mean().groupby(["model", "target"], observed=True).mean()
    own = np.mean([1 - mae["hard_sharing", t] / mae["single_task", t] for t in ("sbp", "dbp")])
    row = next(row for row in held.made["rows"] if row["label"] == "hard_sharing")
    assert row["delta_m"] == pytest.approx(100 * own, rel=1e-3)


def test_the_learning_curve_ends_at_the_whole(held: Held) -> None:
    points = [p for p in held.made["curves"] if p["target"] == "sbp"]
    assert [p["size"] for p in points] == [0.5, 1.0]
    assert points[0]["subjects"] < points[1]["subjects"]
    row = next(row for row in held.made["rows"] if row["label"] == "hard_sharing")
    assert points[1]["error"] == row["targets"]["sbp"]["error"]


def test_standings_are_told_one_by_one(held: Held) -> None:
    assert [len(told["rows"]) for told in held.told] == [1, 2, 3, 4, 5, 6, 7]
    assert held.told[0]["waiting"] == ["hard_sharing", "split_merge", "gated"]
    assert held.told[0]["headline"] == ""
    assert not held.told[-1]["finished"]


def test_the_chosen_trial_is_the_best_on_validation(held: Held) -> None:
    results = [
        json.loads(p.read_text(encoding="utf-8")) for p in sorted((held.out / "entrants" / "hard_sharing").rglob("result.json"))
    ]
    assert len(results) == 2 * 2 * 2 + 4  # folds × seeds × trials, and the curve
    table = pd.read_parquet(held.out / "predictions.parquet")
    own = table[(table["model"] == "hard_sharing") & (table["target"] == "sbp") & (table["seed"] == 0) & (table["fold"] == 0)]
    best, said = np.inf, None
    for number in range(2):
        folder = next((held.out / "entrants" / "hard_sharing" / "all").rglob(f"trial_{number}-seed0-fold0-member0"))
        found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        score = min(row["validation"] for row in found["history"])
        if score < best:
            best, said = score, np.array(found["test"])[:, 0]
    assert own["y_pred"].to_numpy() == pytest.approx(said, rel=1e-5)


def test_what_is_there_is_not_done_again_and_what_is_missing_is(held: Held, short: Recipe, place: Path) -> None:
    results = sorted((held.out / "entrants").rglob("result.json"))
    times = {path: path.stat().st_mtime_ns for path in results}
    results[0].unlink()
    chosen = Choice(("hard_sharing", "split_merge"), {"gated": {"model": {"merge": "gate"}, "training": {"ensemble": 2}}})
    terms = experiment.Terms(seeds=2, trials=2, sizes=(0.5,), curves=("hard_sharing",))
    again = experiment.compare(short, [place], held.out, chosen, terms, experiment.Crew())
    for path, before in times.items():
        assert (path.stat().st_mtime_ns == before) == (path != results[0])
    keys = ("label", "targets", "delta_m", "verdict")
    assert [{k: row[k] for k in keys} for row in again["rows"]] == [{k: row[k] for k in keys} for row in held.made["rows"]]


def test_another_recipe_in_the_same_folder_is_refused(held: Held, short: Recipe, place: Path) -> None:
    other = replace(short, training={**short.training, "epochs": 2})
    with pytest.raises(DataError, match="holds a run of another recipe"):
        experiment.compare(other, [place], held.out, Choice(("hard_sharing",)), experiment.Terms(2), experiment.Crew())


def test_a_curve_of_somebody_who_does_not_enter_is_refused(short: Recipe, place: Path, tmp_path: Path) -> None:
    terms = experiment.Terms(1, sizes=(0.5,), curves=("mtan",))
    with pytest.raises(RecipeError, match="'mtan' does not enter"):
        experiment.compare(short, [place], tmp_path, Choice(("hard_sharing",)), terms, experiment.Crew())


def test_smaller_training_parts_are_nested_and_hold_nobody_else(
    held: Held, short: Recipe, place: Path, whole: WindowTable
) -> None:
    from biosig_mtl import splits
    from biosig_mtl.recipe import build

    recipe = entrants.protocol_of(short, range(1))
    folds = splits.make(whole, build(splits.Protocol, recipe.split, "split"))
    state = comparing._Contest(recipe, (place,), held.out, comparing.Terms(1), whole, tuple(folds), [], "person")
    for fold in folds:
        half, most = (set(comparing._smaller(state, fold, share).train) for share in (0.4, 0.8))
        assert half < most < set(fold.train)
        assert comparing._smaller(state, fold, 0.4).test is fold.test


# ------------------------------------------------------------------------------------------------------------------- page
def test_page_and_table_say_the_same(held: Held) -> None:
    path = report_compare.render(held.out)
    page, table = path.read_text(encoding="utf-8"), (held.out / "compare.md").read_text(encoding="utf-8")
    for row in held.made["rows"]:
        assert row["label"] in page
        assert row["label"] in table
    assert held.made["headline"] in table
    assert "SIMULATED DATA" in page
    assert "SIMULATED DATA" in table
    assert page.count("<svg") == 5  # gains, ranks, two learning curves, cost
    assert "http-equiv" not in page
    assert "src=" not in page
    csv = pd.read_csv(held.out / "compare.csv")
    assert list(csv["model"]) == [row["label"] for row in held.made["rows"]]
    shown = report_compare.lines(held.made)
    assert shown[0] == held.made["headline"]
    assert len(shown) == 1 + len(csv)


def test_the_page_of_a_contest_that_runs_reloads_itself(held: Held, tmp_path: Path) -> None:
    page = report_compare.write(held.told[1], tmp_path).read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' in page
    assert "still running: 2 networks to go" in page


def test_a_folder_without_a_contest_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run `biosig-mtl compare` first"):
        report_compare.render(tmp_path)
    (tmp_path / "compare.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="not readable as JSON"):
        report_compare.render(tmp_path)
    (tmp_path / "compare.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="not as schema 1 says"):
        report_compare.render(tmp_path)
