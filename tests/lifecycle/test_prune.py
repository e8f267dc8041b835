"""Pruned networks: what stays is the largest, what is gone stays gone, and nobody's part is taken whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from biosig_mtl.cli import compress
from biosig_mtl.evaluation.scores import plain
from biosig_mtl.lifecycle import prune as pruning
from biosig_mtl.lifecycle.opened import open_run
from biosig_mtl.lifecycle.prune import (
    Ground,
    PruneSettings,
    alone,
    arms,
    cut,
    ground_of,
    held,
    kept,
    prunable,
    prune,
    shuffled,
    whole,
)
from biosig_mtl.models.hard_sharing import HardSharingSettings, hard_sharing
from biosig_mtl.models.split_merge import SplitMerge, SplitMergeSettings
from biosig_mtl.training import Scaler, TrainingSettings, spec_of
from biosig_mtl.types import DataError, Fold, RecipeError
from tests.lifecycle.conftest import PLAIN, Run, small_table

FOLD = Fold(np.arange(50), np.arange(50, 65), np.arange(65, 80))
QUICK = TrainingSettings(epochs=3, batch_size=25, mi_ramp_epochs=0, weight_decay=0.5, average=0.5, lr=1e-2)


def network(seed: int = 0) -> SplitMerge:
    torch.manual_seed(seed)
    return SplitMerge(SplitMergeSettings(width=8), PLAIN)


def ground(training: TrainingSettings = QUICK) -> Ground:
    table = small_table()
    settings = SplitMergeSettings(width=8, kernel_landmarks=5)
    return Ground(table, FOLD, Scaler.fit(table, FOLD.train), training, "split_merge", settings, 3)


# ----------------------------------------------------------------------------------------------------------------- masks
def test_rounds_take_a_fifth_of_what_is_left_and_end_where_they_should() -> None:
    usual = PruneSettings().shares()
    assert len(usual) == 11
    assert np.allclose(usual[:-1], 0.8 ** np.arange(1, 11))
    assert usual[-1] == 0.1
    assert np.allclose(PruneSettings(rounds=2).shares(), [0.1**0.5, 0.1])


def test_only_matrices_are_pruned() -> None:
    model = network()
    found = prunable(model)
    assert "answers.skip.weight" not in found
    assert all(name.endswith(".weight") and dict(model.named_parameters())[name].ndim > 1 for name in found)
    assert not [name for name in found if "norm" in name or "embedding" in name]
    assert found["splitter.queries.weight"].shape == (3, 64)
    assert found["heads.last.weight"].shape == (2, 8)
    assert found["tokens.waveform.encoder.stem.0.weight"].shape[0] == 1
    model.splitter.requires_grad_(requires_grad=False)
    assert "splitter.queries.weight" not in prunable(model)


def test_the_largest_stay_all_layers_together() -> None:
    weights = prunable(network())
    masks = cut(weights, whole(network()), 0.3, 0.0)
    alive = torch.cat([w[masks[name]] for name, w in weights.items()]).abs()
    gone = torch.cat([w[~masks[name]] for name, w in weights.items()]).abs()
    assert len(alive) == round(0.3 * (len(alive) + len(gone)))
    assert alive.min() >= gone.max()


def test_what_is_gone_never_comes_back() -> None:
    first = cut(prunable(network(0)), whole(network()), 0.5, 0.05)
    second = cut(prunable(network(1)), first, 0.2, 0.05)
    assert all(bool((first[name] | ~second[name]).all()) for name in first)
    assert sum(int(m.sum()) for m in second.values()) == round(0.2 * sum(m.numel() for m in second.values()))


def test_no_task_is_pruned_away() -> None:
    model = network()
    with torch.no_grad():
        model.splitter.values.weight[2] *= 1e-9  # type: ignore[union-attr, operator, index]
        model.heads.hidden.weight[1] *= 1e-9
    without = cut(prunable(model), whole(model), 0.1, 0.0)
    assert not without["splitter.values.weight"][2].any()
    masks = cut(prunable(model), whole(model), 0.1, 0.05)
    for mask in masks.values():
        assert bool((mask.sum(1) >= 0.05 * mask.shape[1]).all())
    assert int(masks["heads.hidden.weight"][1].sum()) == 4  # of 64: the next whole number above 5 %


def test_a_floor_may_be_all_that_stays() -> None:
    weights = {"a.weight": torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])}
    full = {"a.weight": torch.ones(2, 3, dtype=torch.bool)}
    assert cut(weights, full, 0.1, 0.1)["a.weight"].tolist() == [[False, False, True]] * 2


def test_shares_by_task_are_counted_by_owner() -> None:
    masks = {
        "split": torch.tensor([[True, True], [True, False], [False, False]]),
        "heads": torch.tensor([[True, True], [True, False]]),
        "stem": torch.tensor([[False, False, True, True]]),
    }
    assert kept(masks, ("sbp", "dbp")) == {"shared": 4 / 6, "sbp": 3 / 4, "dbp": 1 / 4}
    assert kept({"stem": masks["stem"]}, ("one",)) == {"shared": 0.5}


def test_chance_keeps_as_many_of_every_slice() -> None:
    masks = cut(prunable(network()), whole(network()), 0.2, 0.05)
    drawn = shuffled(masks, torch.Generator().manual_seed(0))
    assert all(torch.equal(drawn[name].sum(1), mask.sum(1)) for name, mask in masks.items())
    assert not torch.equal(drawn["splitter.values.weight"], masks["splitter.values.weight"])


def test_nonsense_is_refused() -> None:
    for keep, floor in ((0.0, 0.0), (1.0, 0.05), (0.1, 0.2), (0.1, -0.1)):
        with pytest.raises(ValueError, match="floor <= keep"):
            PruneSettings(keep=keep, floor=floor)
    for rounds, epoch, members in ((-1, 0, 1), (0, -1, 1), (0, 0, 0)):
        with pytest.raises(ValueError, match="need rounds"):
            PruneSettings(rounds=rounds, rewind_epoch=epoch, members=members)


# -------------------------------------------------------------------------------------------------------------- training
def test_pruned_weights_stay_zero_while_the_others_learn() -> None:
    g = ground()
    model = g.fresh()
    masks = cut(prunable(model), whole(model), 0.2, 0.05)
    with held(model, masks) as hooks:
        was = {name: w.clone() for name, w in prunable(model).items()}
        g.train(model, hooks)
    for name, w in prunable(model).items():
        assert not w[~masks[name]].any(), name
    moved = [name for name, w in prunable(model).items() if not torch.equal(w, was[name])]
    assert len(moved) > 10
    g.train(model)  # let go of, they come back
    assert any(bool(w[~masks[name]].any()) for name, w in prunable(model).items())


def test_weights_that_do_not_exist_have_no_gradient() -> None:
    g = ground()
    model = g.fresh()
    masks = cut(prunable(model), whole(model), 0.2, 0.05)
    seen = []

    def look(net: torch.nn.Module) -> None:
        named = dict(net.named_parameters())
        for name, mask in masks.items():
            grad = named[name].grad
            assert grad is not None
            seen.append(float(grad.view_as(mask)[~mask].abs().sum()))

    with held(model, masks) as hooks:
        g.train(model, replace(hooks, after_step=look))
    assert seen
    assert not any(seen)


def test_survivors_are_put_back_to_where_they_started() -> None:
    g = ground()
    trained, start = g.trained_and_start(0)
    fresh = g.fresh().state_dict()
    assert all(torch.equal(start[name], fresh[name]) for name in fresh)
    _, later = g.trained_and_start(1)
    name = "splitter.values.weight"
    assert not torch.equal(later[name], fresh[name])
    assert not torch.equal(later[name], trained.state_dict()[name])
    _, latest = g.trained_and_start(2)
    assert not torch.equal(latest[name], later[name])


def test_the_controls_are_what_they_say() -> None:
    g = ground(replace(QUICK, epochs=1))
    found = {arm.label: arm for arm in arms(g, PruneSettings(keep=0.2, rounds=1))}
    assert list(found) == ["dense", "round 1", "one-shot, as it is", "one-shot, trained further", "random", "none left"]
    for label, arm in found.items():
        for name, w in prunable(arm.model).items():
            assert not w[~arm.masks[name]].any(), (label, name)
    dense, once = prunable(found["dense"].model), found["one-shot, as it is"]
    for name, w in prunable(once.model).items():
        assert torch.equal(w[once.masks[name]], dense[name][once.masks[name]])
    assert not any(bool(mask.any()) for mask in found["none left"].masks.values())
    assert len(list(arms(g, PruneSettings(keep=0.2, rounds=1, compare=False)))) == 2


def test_alone_is_without_skip_and_kernel() -> None:
    other = alone(ground())
    assert other is not None
    assert (other.settings.linear_skip, other.settings.kernel_landmarks) == (False, 0)
    assert other.settings.width == 8
    assert alone(other) is None


def test_other_networks_can_be_pruned_too() -> None:
    torch.manual_seed(0)
    model = hard_sharing(HardSharingSettings(width=8), spec_of(small_table()))
    masks = cut(prunable(model), whole(model), 0.2, 0.05)
    assert set(kept(masks, PLAIN.targets)) == {"shared", "sbp", "dbp"}


# ------------------------------------------------------------------------------------------------------------ whole runs
def test_the_network_of_a_run_can_be_trained_again_bit_for_bit(run: Run) -> None:
    opened = open_run(run.folder, run.stores)
    g, member = ground_of(opened, opened.folds[1], 0)
    trained, _ = g.trained_and_start(0)
    again, was = trained.state_dict(), member.model.state_dict()
    assert all(torch.equal(again[name], was[name]) for name in was)
    with pytest.raises(DataError, match="did not learn from"):
        ground_of(replace(opened, folds=opened.folds[::-1]), replace(opened.folds[0], number=1), 0)


def test_a_run_is_pruned_and_can_be_opened_again(run: Run, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    settings = PruneSettings(keep=0.3, rounds=1)
    told = prune(run.folder, run.stores, tmp_path / "out", settings, lambda done, of: seen.append((done, of)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert list(told["variants"]) == ["as trained", "network alone"]
    first = {row["label"]: row for row in told["variants"]["as trained"]}
    assert first["dense"]["kept"] == 1
    assert first["dense"]["targets"]["sbp"]["cost"] == 0
    assert first["round 1"]["kept"] == pytest.approx(0.3, abs=0.01)
    assert first["random"]["by_task"] == first["round 1"]["by_task"]
    assert min(first["round 1"]["by_task"].values()) >= 0.05
    assert json.loads((tmp_path / "out" / "prune.json").read_text()) == json.loads(json.dumps(plain(told)))
    assert "| none left | 0 % |" in (tmp_path / "out" / "prune.md").read_text()
    after = open_run(tmp_path / "out", run.stores)
    assert [m.name for m in after.ensemble.members] == [m.name for m in open_run(run.folder, run.stores).ensemble.members]
    for member in after.ensemble.members:
        alive = [float((w != 0).double().sum()) for w in prunable(member.model).values()]
        assert sum(alive) / told["prunable"] == pytest.approx(0.3, abs=0.01)
    assert np.isfinite(after.ensemble.predict(after.table)).all()
    assert len(after.ensemble.extra["half_width"]) == 2


def test_a_verb_prunes(run: Run, tmp_path: Path) -> None:
    app = typer.Typer()
    compress.register(app)
    words = ["prune", str(run.folder), "--store", str(run.stores), "--keep", "0.5", "--rounds", "1", "--no-compare"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "a")], catch_exceptions=False)
    assert "| round 1 | 50 % |" in done.output
    assert "prune.json" in done.output
    cases = [
        ([*words[:5], "2"], RecipeError, "prune: need"),
        (["prune", str(run.folder), "--rewind-epoch", "9", *words[2:4]], RecipeError, "need less than the 2 epochs"),
        (["prune", str(run.folder)], DataError, "--store"),
        ([*words[:4], "--out", str(run.folder)], DataError, "is the run itself"),
    ]
    for arguments, kind, match in cases:
        with pytest.raises(kind, match=match):
            CliRunner().invoke(app, ["prune", "--out", str(tmp_path / "b"), *arguments[1:]], catch_exceptions=False)


def test_a_run_without_matrices_is_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "prunable", lambda _: {})
    with pytest.raises(DataError, match="no weights that can be pruned"):
        prune(run.folder, run.stores, tmp_path / "out")
