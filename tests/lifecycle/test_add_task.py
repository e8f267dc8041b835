"""A network with one more task: what was there stays, bit for bit."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from typer.testing import CliRunner

from biosig_mtl import store
from biosig_mtl.cli.grow import register
from biosig_mtl.evaluation.scores import plain
from biosig_mtl.lifecycle.add_task import add_task
from biosig_mtl.lifecycle.consolidation import AddSettings, OldTasks, keeping
from biosig_mtl.lifecycle.opened import open_run
from biosig_mtl.lifecycle.suggest_tasks import NewTarget, label_of, with_target
from biosig_mtl.models import rebuild
from biosig_mtl.models.extension import AllAnswers, Extended, ExtendedSettings, LastTask, extended, frozen
from biosig_mtl.models.hard_sharing import HardSharingSettings, hard_sharing
from biosig_mtl.models.split_merge import SplitMerge, SplitMergeSettings
from biosig_mtl.training import Scaler, TrainingData, TrainingSettings, checkpoint, fit, predict, spec_of
from biosig_mtl.types import DataError, Fold, Head, InputSpec, Output, RecipeError
from tests.lifecycle.conftest import ORDINAL, PLAIN, SEVERAL, Run, small_table, windows

FORMS: dict[str, dict[str, Any]] = {
    "as usual": {},
    "gate": {"merge": "gate"},
    "concat": {"merge": "concat"},
    "none": {"merge": "none"},
    "softmax": {"mask_normaliser": "softmax"},
    "one head each": {"split_heads": "one_head_each"},
    "masks of features": {"masks_act": "features"},
    "paper": {"paper_mode": True},
    "ordered": {"ordered": True},
    "kernel": {"kernel_landmarks": 5},
    "bottleneck": {"merge": "bottleneck"},
    "nothing shared": {"shared_split": False},
    "gate, nothing shared": {"shared_split": False, "merge": "gate"},
    "low rank": {"attention": "low_rank"},
    "static": {"masks": "static"},
    "random": {"masks": "random"},
    "conv": {"masks": "conv"},
    "open": {"masks": "none"},
}


def network(spec: InputSpec = PLAIN, seed: int = 0, **words: Any) -> SplitMerge:
    torch.manual_seed(seed)
    model = SplitMerge(SplitMergeSettings(**{"width": 8, **words}), spec).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


def with_one_more(model: torch.nn.Module, name: str = "hr", head: Head | None = None) -> Extended:
    torch.manual_seed(1)
    return extended(model, name, head).eval()


def said(model: torch.nn.Module, spec: InputSpec, size: int = 7) -> Output:
    with torch.no_grad():
        out: Output = model(windows(spec, size))
    return out


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 7, 64])
def test_old_answers_are_the_same_bits(form: str, size: int) -> None:
    old = network(**FORMS[form])
    if old.beside is not None:
        torch.nn.init.normal_(old.beside.slopes)
        old.beside.share.fill_(0.5)
    before, after = said(old, PLAIN, size), said(with_one_more(old), PLAIN, size)
    assert after.predictions.shape == (size, 3)
    assert torch.equal(after.predictions[:, :2], before.predictions)
    for name in ("masks", "splits", "private", "gates"):
        was, now = getattr(before, name), getattr(after, name)
        assert (was is None) == (now is None)
        if was is not None:
            assert torch.equal(now[:, : was.shape[1]], was)
            assert now.shape[1] == was.shape[1] + 1


@pytest.mark.parametrize("spec", [PLAIN, SEVERAL, replace(PLAIN, features=()), replace(PLAIN, targets=("sbp",))])
def test_every_kind_of_input_is_taken(spec: InputSpec) -> None:
    old = network(spec)
    made = with_one_more(old)
    before, after = said(old, spec), said(made, spec)
    assert torch.equal(after.predictions[:, : len(spec.targets)], before.predictions)
    assert torch.isfinite(after.predictions).all()
    assert (made.uses_waveform, made.uses_tracks, made.shown) == (old.uses_waveform, old.uses_tracks, old.shown)


@pytest.mark.parametrize("old_head", [Head(), ORDINAL, Head("rasch", (3.0, 6.0))])
@pytest.mark.parametrize("head", [None, Head("binary", (5.0,)), Head("rasch", (2.0, 4.0, 6.0, 8.0))])
def test_heads_of_all_kinds_stand_side_by_side(old_head: Head, head: Head | None) -> None:
    old = network(replace(PLAIN, heads=(old_head, Head())))
    before, after = said(old, PLAIN), said(with_one_more(old, "hr", head), PLAIN)
    assert torch.equal(after.predictions[:, :2], before.predictions)
    if not old_head.classes and head is None:
        assert after.logits is None
        return
    assert after.logits is not None
    assert after.private_logits is not None
    outputs = max(2, old_head.classes, head.classes if head else 0) if head or old_head.classes else 1
    assert after.logits.shape == after.private_logits.shape == (7, 3, outputs)
    for t, one in enumerate((old_head, Head(), head or Head())):
        if one.classes:
            assert torch.isfinite(after.logits[:, t, : one.classes]).all()
            assert (after.logits[:, t, one.classes :] == float("-inf")).all()
            expected = (torch.softmax(after.logits[:, t], dim=1) * torch.arange(outputs)).sum(1)
            torch.testing.assert_close(after.predictions[:, t], expected)
        else:
            assert (after.logits[:, t] == 0).all()


def test_severities_reach_the_part_that_they_belong_to() -> None:
    rasch = Head("rasch", (3.0, 6.0))
    made = with_one_more(network(replace(PLAIN, heads=(rasch, Head()))), "hr", rasch)
    given = windows(PLAIN)
    severe = torch.zeros(7, 3)
    severe[:, 2] = 2.0
    with torch.no_grad():
        plain, shifted = made(given).predictions, made(replace(given, offset=severe)).predictions
    assert torch.equal(plain[:, :2], shifted[:, :2])
    assert (shifted[:, 2] < plain[:, 2]).all()


def test_the_new_answer_reads_the_old_tokens_and_the_old_shared_split() -> None:
    made = with_one_more(network())
    made(windows(PLAIN)).predictions[:, 2].sum().backward()
    reached = {name for name, p in made.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)}
    assert any(name.startswith("old.tokens") for name in reached)
    splitter = dict(made.named_parameters())["old.splitter.logits.weight"].grad
    if splitter is not None:  # the shared split is the first of the stack, and nothing else of it is read
        assert splitter[0].abs().sum() > 0
        assert not splitter[1:].any()
    assert not any(name.startswith(("old.heads", "old.private", "old.merger", "old.answers")) for name in reached)


def test_old_answers_do_not_read_the_new_task() -> None:
    made = with_one_more(network())
    made(windows(PLAIN)).predictions[:, :2].sum().backward()
    assert all(p.grad is None or not p.grad.any() for name, p in made.named_parameters() if name.startswith("added"))


def test_a_third_task_leaves_the_second_alone() -> None:
    second = with_one_more(network())
    third = with_one_more(second, "map")
    assert third.spec.targets == ("sbp", "dbp", "hr", "map")
    assert third.settings.added == 2
    assert torch.equal(said(third, PLAIN).predictions[:, :3], said(second, PLAIN).predictions)
    # The copy is a copy: nobody learns through a back door.
    with torch.no_grad():
        for p in third.parameters():
            p.add_(1.0)
    assert not torch.equal(said(third, PLAIN).predictions[:, :3], said(second, PLAIN).predictions)


def test_the_report_on_splits_sees_all_of_them() -> None:
    made, given = with_one_more(network()), windows(PLAIN)
    with torch.no_grad():
        masks, splits = made.split(made.embed(given))
        out, whole = made.answer(masks, splits, given), made(given)
    assert masks.shape[1] == 4
    torch.testing.assert_close(out.predictions, whole.predictions)
    torch.testing.assert_close(out.splits, whole.splits)


def test_settings_and_weights_make_the_same_network_again() -> None:
    made = with_one_more(network(merge="gate"))
    again = Extended(ExtendedSettings(**asdict(made.settings)), made.spec)
    again.load_state_dict(made.state_dict())
    assert torch.equal(said(again.eval(), PLAIN).predictions, said(made, PLAIN).predictions)


def test_without_added_tasks_it_is_the_old_network() -> None:
    torch.manual_seed(0)
    plain = SplitMerge(SplitMergeSettings(width=8, kernel_landmarks=3), PLAIN).eval()
    torch.manual_seed(0)
    same = Extended(ExtendedSettings(width=8, kernel_landmarks=3), PLAIN).eval()
    assert torch.equal(said(plain, PLAIN).predictions, said(same, PLAIN).predictions)
    assert same.answers is same.old.answers
    assert same.beside is same.old.beside
    with pytest.raises(ValueError, match="without"):
        LastTask(same)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="added >= 0"):
        ExtendedSettings(added=-1)
    with pytest.raises(ValueError, match="more targets"):
        Extended(ExtendedSettings(width=8, added=2), PLAIN)
    with pytest.raises(ValueError, match="not answered yet"):
        extended(network(), "sbp")
    with pytest.raises(ValueError, match="Split 'n' Merge"):
        extended(torch.nn.Linear(1, 1), "hr")


# ------------------------------------------------------------------------------------------------------------- training
FOLD = Fold(np.arange(50), np.arange(50, 65), np.arange(65, 80))
QUICK = TrainingSettings(epochs=3, batch_size=25, mi_ramp_epochs=0, weight_decay=0.5, average=0.5)


def trained(whole: Extended, settings: TrainingSettings = QUICK) -> Extended:
    table = small_table()
    one = replace(table, targets=table.index["map"].to_numpy(np.float32)[:, None], target_names=("hr",))
    fit(LastTask(whole), TrainingData(one, FOLD, Scaler.fit(one, FOLD.train)), settings, 0)
    return whole


@pytest.mark.parametrize("form", ["as usual", "kernel", "gate"])
def test_training_a_new_task_on_a_frozen_network_changes_no_old_bit(form: str) -> None:
    old = network(**FORMS[form])
    made = with_one_more(old)
    was = {name: value.clone() for name, value in made.state_dict().items()}
    before = said(made, PLAIN)
    with frozen(made):
        trained(made)
    for name, value in made.state_dict().items():
        if name.startswith("old"):
            assert torch.equal(value, was[name]), name
    moved = [name for name, p in made.named_parameters() if name.startswith("added") and not torch.equal(p, was[name])]
    assert len(moved) > 10
    after = said(made, PLAIN)
    assert torch.equal(after.predictions[:, :2], before.predictions[:, :2])
    assert torch.equal(after.predictions[:, :2], said(old, PLAIN).predictions)
    assert not torch.equal(after.predictions[:, 2], before.predictions[:, 2])


def test_frozen_parts_practise_nothing_and_free_ones_do() -> None:
    made = with_one_more(network(dropout=0.5))
    view = LastTask(made)
    with frozen(made):
        view.train()
        assert view.frozen
        assert not made.old.training
        assert made.tasks[0].training
    view.train()
    assert not view.frozen
    assert made.old.training
    trained(made)
    assert not torch.equal(said(made, PLAIN).predictions[:, :2], said(network(dropout=0.5), PLAIN).predictions)


def test_the_last_task_says_what_the_whole_network_says() -> None:
    second = with_one_more(network(SEVERAL))
    made = with_one_more(second, "stress")
    view = LastTask(made).eval()
    assert view.spec.targets == ("stress",)
    assert (view.uses_waveform, view.uses_tracks, view.shown) == (made.uses_waveform, made.uses_tracks, made.shown)
    one, whole = said(view, SEVERAL), said(made, SEVERAL)
    assert torch.equal(one.predictions[:, 0], whole.predictions[:, 3])
    assert one.splits is not None
    assert whole.splits is not None
    assert torch.equal(one.splits, whole.splits)


def test_the_whole_may_also_be_trained_at_once() -> None:
    table = small_table()
    third = np.concatenate([table.targets, table.index[["map"]].to_numpy(np.float32)], axis=1)
    three = replace(table, targets=third, target_names=("sbp", "dbp", "map"))
    torch.manual_seed(0)
    made = Extended(ExtendedSettings(width=8, added=1), spec_of(three))
    assert isinstance(made.answers, AllAnswers)
    assert made.beside is None
    made.answers.set_linear_skip(torch.zeros(1), torch.zeros(1))
    assert made.answers.said_for(torch.ones(2, 3)).shape == (2, 3)
    scaler = Scaler.fit(three, FOLD.train)
    found = fit(made, TrainingData(three, FOLD, scaler), replace(QUICK, epochs=1), 0)
    assert np.isfinite(found.best_score)
    told = torch.cat([made.old.answers.target_mean, made.tasks[0].answers.target_mean])
    assert told.numpy() == pytest.approx(scaler.target_mean, rel=1e-6)


def test_a_model_file_holds_an_extended_network(tmp_path: Path) -> None:
    table = small_table()
    made = trained(with_one_more(network(kernel_landmarks=6)))
    third = np.concatenate([table.targets, table.index[["map"]].to_numpy(np.float32)], axis=1)
    three = replace(table, targets=third, target_names=("sbp", "dbp", "hr"))
    scaler = Scaler.fit(three, FOLD.train)
    checkpoint.save(tmp_path / "one", "extended_split_merge", made, scaler)
    checkpoint.collect(tmp_path / "all", {"one": tmp_path / "one"}, {}, {})
    again = checkpoint.load(tmp_path / "all", rebuild)
    assert torch.equal(said(again.members[0].model, PLAIN).predictions, said(made, PLAIN).predictions)
    assert again.predict(three).shape == (80, 3)


# ------------------------------------------------------------------------------------------------------------ whole runs
def rate(run: Run) -> NewTarget:
    return NewTarget("hr", "hr.mean_per_min", run.with_rate, "per min")


def test_a_frozen_run_keeps_its_answers_and_learns_a_new_one(run: Run, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    told = add_task(run.folder, run.stores, rate(run), tmp_path / "out", progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 2), (2, 2)]
    assert told["target"]["windows"] > 20
    assert all(old["identical"] and old["largest_change"] == 0 for old in told["old"].values())
    assert told["new"]["mae"] > 0
    assert told["baselines"]["train_median"]["skill"] == 0
    assert told["joint"]["skill"] <= 1
    assert told["parameters"]["new"] < told["parameters"]["all"]
    assert json.loads((tmp_path / "out" / "add_task.json").read_text()) == json.loads(json.dumps(plain(told)))
    assert "same bits" in (tmp_path / "out" / "add_task.md").read_text()
    before, after = open_run(run.folder, run.stores), open_run(tmp_path / "out", run.stores)
    assert after.ensemble.spec.targets == ("sbp", "dbp", "hr")
    assert len(after.ensemble.extra["half_width"]) == 3
    table = before.table
    three = with_target(table, "hr", label_of(table, rate(run)))
    assert np.array_equal(after.ensemble.predict(three)[:, :2], before.ensemble.predict(table))


def test_the_same_command_writes_the_same_bits(run: Run, tmp_path: Path) -> None:
    quick = AddSettings(compare=False)
    for name in ("a", "b"):
        add_task(run.folder, run.stores, rate(run), tmp_path / name, quick)
    for name in ("add_task.json", "model/model-seed0-fold1-member0.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_task_can_be_added_to_what_was_added_to(run: Run, tmp_path: Path) -> None:
    quick = AddSettings(compare=False)
    add_task(run.folder, run.stores, rate(run), tmp_path / "one", quick)
    beats = NewTarget("beats", "n_beats")
    told = add_task(tmp_path / "one", run.stores, beats, tmp_path / "two", quick)
    assert list(told["old"]) == ["sbp", "dbp", "hr"]
    assert all(old["identical"] for old in told["old"].values())
    assert [one["name"] for one in told["added"]] == ["hr", "beats"]
    assert told["joint"] is None
    with pytest.raises(DataError, match="extended before"):
        add_task(tmp_path / "one", run.stores, beats, tmp_path / "three", AddSettings("ewc"))
    with pytest.raises(DataError, match="answers 'hr' already"):
        add_task(tmp_path / "one", run.stores, rate(run), tmp_path / "three", quick)


@pytest.mark.parametrize("how", ["ewc", "rehearsal", "joint"])
def test_other_ways_tell_what_they_cost(run: Run, tmp_path: Path, how: Any) -> None:
    told = add_task(run.folder, run.stores, rate(run), tmp_path / how, AddSettings(how, compare=False, buffer=10))
    assert not any(old["identical"] for old in told["old"].values())
    assert all(old["largest_change"] > 0 for old in told["old"].values())
    assert "has to be validated anew" in " ".join(told["sentences"])
    assert (told["parameters"]["new"] == 0) == (how == "joint")
    assert (told["joint"] is not None) == (how == "joint")


@pytest.mark.parametrize("how", ["ewc", "rehearsal"])
def test_what_keeps_old_tasks_keeps_them_better_than_nothing(how: Any) -> None:
    table = small_table()
    torch.manual_seed(0)
    old = SplitMerge(SplitMergeSettings(width=8, dropout=0.0, use_waveform=False), spec_of(table))
    scaler = Scaler.fit(table, FOLD.train)
    settings = replace(QUICK, epochs=12, weight_decay=0.0, lr=5e-3)
    fit(old, TrainingData(table, FOLD, scaler), settings, 0)
    one = replace(table, targets=table.targets[:, :1] * -1.0, target_names=("hr",))
    # Anchored answers stay where they were; rehearsed ones stay near the labels that are shown.
    meant = predict(old, table, FOLD.train, scaler) if how == "ewc" else table.targets[FOLD.train]
    errors = []
    for chosen in (AddSettings("ewc", 0.0), AddSettings(how, 1e3)):
        whole = with_one_more(old)
        hooks = keeping(whole, OldTasks(table, FOLD, scaler, settings), chosen, 0)
        fit(LastTask(whole), TrainingData(one, FOLD, Scaler.fit(one, FOLD.train), hooks), settings, 0)
        errors.append(float(np.abs(predict(whole.old, table, FOLD.train, scaler) - meant).mean()))
    assert errors[1] < 0.8 * errors[0]


def of_another_kind(run: Run, place: Path) -> Path:
    """Return a copy of the run with one network of another kind."""
    copy = Path(shutil.copytree(run.folder, place / "kind"))
    opened = open_run(run.folder, run.stores)
    one = opened.ensemble.members[0]
    made = hard_sharing(HardSharingSettings(width=8), opened.ensemble.spec)
    checkpoint.save(place / "kind-one", "hard_sharing", made, one.scaler)
    checkpoint.collect(copy / "model", {one.name: place / "kind-one"}, opened.recipe.to_dict(), {})
    return copy


def with_other_folds(run: Run, place: Path) -> Path:
    """Return a copy of the run in which two people have changed sides."""
    copy = Path(shutil.copytree(run.folder, place / "folds"))
    frame = pd.read_parquet(copy / "folds.parquet")
    sides = {"train": "validation", "validation": "train"}
    frame["part"] = frame["part"].replace(sides)
    frame.to_parquet(copy / "folds.parquet")
    return copy


def test_labels_that_cannot_be_used_are_refused_in_one_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_run(run.folder, run.stores)
    seen = opened.table.names[0]
    cases = [
        (NewTarget("sbp"), "answers 'sbp' already"),
        (NewTarget("hr", seen), "is an input of its networks"),
        (NewTarget("hr"), "no column of numbers 'hr'"),
        (NewTarget("hr", "record"), "no column of numbers"),
        (NewTarget("hr", "no.such", run.with_rate), "no column of numbers"),
    ]
    for new, words in cases:
        with pytest.raises(DataError, match=words) as error:
            add_task(run.folder, run.stores, new, tmp_path / "out")
        assert "\n" not in str(error.value)
    with pytest.raises(DataError, match="needs networks of split_merge"):
        add_task(of_another_kind(run, tmp_path), run.stores, rate(run), tmp_path / "out")
    with pytest.raises(DataError, match="did not learn from the windows"):
        add_task(with_other_folds(run, tmp_path), run.stores, rate(run), tmp_path / "out")
    other = replace(opened.table, index=opened.table.index.assign(window_id=[f"x{i}" for i in range(len(opened.table))]))
    with pytest.raises(DataError, match="no value in any window"):
        label_of(other, rate(run))
    given = store.read(run.with_rate)
    twice = replace(given, index=given.index.assign(record="r", onset_s=0.0, window_id="x"))
    monkeypatch.setattr(store, "read", lambda _: twice)
    with pytest.raises(DataError, match="several windows have one place"):
        label_of(opened.table, rate(run))
    with pytest.raises(ValueError, match="name of the target"):
        NewTarget("")
    nonsense: list[dict[str, Any]] = [{"how": "zzz"}, {"strength": -1.0}, {"buffer": 0}, {"members": -1}]
    for one in nonsense:
        with pytest.raises(ValueError, match="need"):
            AddSettings(**one)


# ---------------------------------------------------------------------------------------------------------- command line
def said_by(*words: object) -> str:
    app = typer.Typer()
    register(app)
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=True, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.output


def test_verbs_add_and_suggest(run: Run, tmp_path: Path) -> None:
    label = ("--store", run.stores, "--label-store", run.with_rate)
    hr = ("--target", "hr", "--column", "hr.mean_per_min", *label)
    told = said_by("add-task", run.folder, *hr, "--out", tmp_path / "out", "--no-compare", "--unit", "per min")
    assert "hr: MAE" in told
    assert "same bits" in told
    assert str(tmp_path / "out" / "add_task.md") in told
    told = said_by("suggest-tasks", run.folder, *hr, "--source", "longest=hr.min_per_min", "--source", "hr.max_per_min")
    assert told.splitlines()[0].startswith(("longest", "hr.max_per_min"))
    assert "% of folds" in told


def test_verbs_refuse_nonsense_in_one_line(run: Run, tmp_path: Path) -> None:
    usual = ("--store", run.stores, "--out", tmp_path / "out")
    with pytest.raises(RecipeError, match="did you mean 'frozen'"):
        said_by("add-task", run.folder, "--target", "hr", *usual, "--how", "frosen")
    with pytest.raises(RecipeError, match="need a name"):
        said_by("add-task", run.folder, "--target", "", *usual)
    with pytest.raises(DataError, match="no such folder"):
        said_by("add-task", run.folder, "--target", "hr", *usual, "--label-store", tmp_path / "none")
    with pytest.raises(DataError, match="is not there"):
        said_by("suggest-tasks", run.folder, "--target", "hr")
    for word in ("=column", "name="):
        with pytest.raises(RecipeError, match="NAME=COLUMN"):
            said_by("suggest-tasks", run.folder, "--target", "hr", "--store", run.stores, "--source", word)
