"""One network at several widths: narrow ones are the leading part of the widest, and an ordinary network says the same."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from biosig_mtl.cli import compress
from biosig_mtl.evaluation.scores import plain
from biosig_mtl.lifecycle.opened import open_run
from biosig_mtl.lifecycle.slim import Invariance, Judge, SlimSettings, export_width, load_at, slim
from biosig_mtl.models.slimmable import Slimmable, SlimmableSettings, at_width, price, remake
from biosig_mtl.recipe import load
from biosig_mtl.training import Scaler, TrainingData, TrainingSettings, fit, spec_of
from biosig_mtl.training.hooks import Hooks
from biosig_mtl.types import DataError, Fold, InputSpec, RecipeError
from tests.lifecycle.conftest import PLAIN, SEVERAL, TINY, Run, small_table, windows

FOLD = Fold(np.arange(50), np.arange(50, 65), np.arange(65, 80))
QUICK = TrainingSettings(epochs=3, batch_size=25, mi_ramp_epochs=0, early_weight=1.0, average=0.5, lr=1e-2)
WORDS: dict[str, Any] = {"width": 16, "dropout": 0.0}
FORMS: list[tuple[str, dict[str, Any], InputSpec]] = [
    ("hard_sharing", {}, PLAIN),
    ("hard_sharing", {"use_waveform": False, "linear_skip": False}, PLAIN),
    ("hard_sharing", {"encoder": "patch", "pool": "learnt"}, SEVERAL),
    ("split_merge", {}, PLAIN),
    ("split_merge", {"merge": "gate", "ordered": True}, PLAIN),
    ("split_merge", {"merge": "concat", "masks": "random"}, PLAIN),
    ("split_merge", {"attention": "low_rank", "paper_mode": True}, PLAIN),
    ("split_merge", {}, SEVERAL),
]


def network(of: str = "split_merge", spec: InputSpec = PLAIN, **words: Any) -> Slimmable:
    torch.manual_seed(0)
    model = Slimmable(SlimmableSettings(of, {**WORDS, **words}), spec).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


# ----------------------------------------------------------------------------------------------------------------- widths
@pytest.mark.parametrize(("of", "words", "spec"), FORMS)
def test_an_ordinary_network_says_the_very_same(of: str, words: dict[str, Any], spec: InputSpec) -> None:
    model, given = network(of, spec, **words), windows(spec)
    with torch.no_grad():
        for share in (0.25, 0.5, 0.75):
            alike, wrapped = at_width(model, share), model.at(share, given)
            assert torch.equal(alike(given).predictions, wrapped.predictions), share
            assert alike.settings.width == 16 * share  # type: ignore[union-attr]
        assert torch.equal(at_width(model, 1.0)(given).predictions, model(given).predictions)
        assert not torch.equal(model.at(0.5, given).predictions, model(given).predictions)


def test_narrow_weights_are_the_leading_part_of_the_widest() -> None:
    model, given = network(), windows(PLAIN)
    layer: Any = model.widest
    with torch.no_grad():
        before = model.at(0.5, given).predictions
        layer.splitter.values.weight[:, 8:] += 1.0
        layer.splitter.values.weight[:, :, 8:] += 1.0
        assert torch.equal(model.at(0.5, given).predictions, before)
        layer.splitter.values.weight[:, :8, :8] += 1.0
        assert not torch.equal(model.at(0.5, given).predictions, before)


def test_norms_are_each_width_s_own() -> None:
    model, given = network(), windows(PLAIN)
    layer: Any = model.widest
    own: Any = model.norms["0__5"]
    with torch.no_grad():
        narrow, wide = model.at(0.5, given).predictions, model(given).predictions
        layer.tokens.norm.weight += 1.0
        layer.merger.norms[0].gain += 1.0
        assert torch.equal(model.at(0.5, given).predictions, narrow)
        assert not torch.equal(model(given).predictions, wide)
        wide = model(given).predictions
        own["tokens__norm__weight"] += 1.0
        assert not torch.equal(model.at(0.5, given).predictions, narrow)
        assert torch.equal(model(given).predictions, wide)


def test_narrow_networks_have_no_weights_beside_their_norms() -> None:
    model = network()
    beside = [name for name, _ in model.named_parameters() if not name.startswith("widest.")]
    assert beside
    assert all((name.startswith("norms.") and "norm" in name) or "encoder" in name for name in beside)
    wide = sum(p.numel() for p in model.widest.parameters())
    assert sum(p.numel() for p in model.parameters()) < 1.2 * wide


def test_what_is_narrow_is_pulled_to_what_is_wide_and_never_the_other_way() -> None:
    model = network("hard_sharing").train()
    layer: Any = model.widest
    model(windows(PLAIN))
    assert float(model.invariance.detach()) > 0
    model.invariance.backward()  # type: ignore[no-untyped-call]
    grad = layer.body.trunk[0].wide.weight.grad
    assert grad[:24, :12].abs().sum() > 0  # the leading part, of three quarters of the width at most
    assert not grad[24:].any()
    assert not grad[:, 12:].any()
    assert layer.tokens.norm.weight.grad is None  # a norm of the widest is reached by its own answer alone
    assert layer.heads.last.weight.grad is None


def test_all_widths_answer_while_they_are_trained() -> None:
    model, given = network(), windows(PLAIN)
    assert model(given).early == ()
    out = model.train()(given)
    assert len(out.early) == 3
    assert torch.equal(out.early[1], model.at(0.5, given).predictions)
    only = Slimmable(SlimmableSettings("hard_sharing", WORDS, (1.0,)), PLAIN).train()
    assert only(given).early == ()
    assert float(only.invariance) == 0
    assert (only.paper_mode, network(paper_mode=True).paper_mode) == (False, True)
    assert (model.uses_waveform, model.uses_tracks, model.shown) == (True, (), {})


def test_training_moves_every_width() -> None:
    table = small_table()
    torch.manual_seed(0)
    model = Slimmable(SlimmableSettings("hard_sharing", WORDS), spec_of(table))
    was = {name: p.detach().clone() for name, p in model.named_parameters()}
    data = TrainingData(table, FOLD, Scaler.fit(table, FOLD.train), Hooks(extra=(Invariance(0.1),)))
    found = fit(model, data, QUICK, 0)
    assert np.isfinite(found.best_score)
    assert [name for name, p in model.named_parameters() if torch.equal(p, was[name])] == []
    again = remake("slimmable", asdict(model.settings), spec_of(table))
    again.load_state_dict(found.state)
    given = windows(PLAIN)
    with torch.no_grad():
        assert torch.equal(at_width(_slimmable(again), 0.25)(given).predictions, at_width(model, 0.25)(given).predictions)


def _slimmable(model: torch.nn.Module) -> Slimmable:
    assert isinstance(model, Slimmable)
    return model


def test_narrow_networks_cost_less() -> None:
    model, one = network(), windows(PLAIN, 1)
    costs = [price(at_width(model, share), one) for share in model.settings.shares]
    assert [c.parameters for c in costs] == sorted({c.parameters for c in costs})
    assert [c.flops for c in costs] == sorted({c.flops for c in costs})
    assert all(c.latency_ms > 0 for c in costs)


def test_nonsense_is_refused() -> None:
    for shares in ((), (0.5,), (1.0, 0.5), (0.0, 1.0), (0.5, 0.5, 1.0)):
        with pytest.raises(ValueError, match="shares that rise"):
            SlimmableSettings("hard_sharing", WORDS, shares)
    with pytest.raises(ValueError, match="width >= 4"):
        SlimmableSettings("hard_sharing", {"width": 8})
    with pytest.raises(ValueError, match="need of in"):
        SlimmableSettings("mtan")
    with pytest.raises(ValueError, match="words that hard_sharing has"):
        SlimmableSettings("hard_sharing", {"zzz": 1})
    with pytest.raises(ValueError, match="need a share in"):
        at_width(network(), 0.3)
    with pytest.raises(ValueError, match="slimmable"):
        remake("mtan", {}, PLAIN)
    with pytest.raises(ValueError, match="need invariance"):
        SlimSettings(invariance=-1.0)
    with pytest.raises(ValueError, match="need invariance"):
        SlimSettings(early_weight=-1.0)


# ------------------------------------------------------------------------------------------------------------ whole runs
def test_costs_are_those_of_people() -> None:
    table = small_table()
    table = replace(table, index=table.index.assign(onset_s=0.0, stimulus=""))
    judge = Judge(table, [FOLD], 1.0)
    truth = table.targets[FOLD.test].astype(np.float64)
    told = judge.figures([(FOLD, truth + 3.0)], [(FOLD, truth + 2.0)])["sbp"]
    assert told["mae"] == pytest.approx(3.0)
    assert told["cost"] == pytest.approx(0.5)
    assert told["cost_ci95"] == pytest.approx([0.5, 0.5])
    assert judge.figures(judge.baseline("train_median"), [(FOLD, truth + 2.0)])["sbp"]["skill"] == 0
    two = judge.mae([(FOLD, truth + 3.0), (FOLD, truth - 1.0)])
    assert two["sbp"] == pytest.approx(np.ones(3))  # networks of a fold are averaged before they are judged


NARROW = SlimSettings((0.5, 1.0))


def test_a_recipe_is_slimmed_and_loaded_at_a_width(run: Run, tmp_path: Path) -> None:
    opened = open_run(run.folder, run.stores)
    stores = [run.stores / json.loads((run.folder / "environment.json").read_text())["stores"][0]]
    seen: list[tuple[int, int]] = []
    told = slim(opened.recipe, stores, tmp_path / "out", NARROW, lambda done, of: seen.append((done, of)))
    assert seen == [(1, 2), (2, 2)]
    assert [(row["share"], row["width"]) for row in told["widths"]] == [(0.5, 4), (1.0, 8)]
    assert told["widths"][1]["own"]["sbp"]["cost"] == 0
    assert told["widths"][0]["flops"] < told["widths"][1]["flops"]
    assert json.loads((tmp_path / "out" / "slim.json").read_text()) == json.loads(json.dumps(plain(told)))
    assert "| ordinary | 4 |" in (tmp_path / "out" / "slim.md").read_text()
    narrow, wide = load_at(tmp_path / "out", 0.5), load_at(tmp_path / "out", 1.0)
    assert narrow.extra["half_width"] != wide.extra["half_width"]
    export_width(tmp_path / "out", 0.5, tmp_path / "half")
    half = open_run(tmp_path / "half", run.stores)
    assert half.recipe.model["width"] == 4
    assert np.array_equal(half.ensemble.predict(opened.table), narrow.predict(opened.table))
    assert not np.array_equal(wide.predict(opened.table), narrow.predict(opened.table))
    with pytest.raises(DataError, match="need a share in"):
        load_at(tmp_path / "out", 0.3)
    with pytest.raises(DataError, match="slimmable"):
        load_at(run.folder, 0.5)
    with pytest.raises(RecipeError, match="slim: need width"):
        slim(opened.recipe, stores, tmp_path / "none")
    other = load(tmp_path / "out" / "recipe.yaml", ["model={name: mtan}"])
    with pytest.raises(RecipeError, match="cannot be slimmed"):
        slim(other, stores, tmp_path / "none")


def test_a_verb_slims(run: Run, tmp_path: Path) -> None:
    app = typer.Typer()
    compress.register(app)
    sets = [word for each in (*TINY, "features.families=[perfusion, person]") for word in ("--set", each)]
    words = ["slim", "demo_bp", "--store", str(run.stores), "--out", str(tmp_path / "a"), *sets, "--no-compare"]
    done = CliRunner().invoke(app, [*words, "--widths", "0.5,1", "--export", "0.5"], catch_exceptions=False)
    assert "| slimmable | 4 |" in done.output
    assert "ordinary" not in done.output
    assert (tmp_path / "a" / "width-0.5" / "model" / "model.json").is_file()
    cases = [(["--widths", "zzz"], "with commas"), (["--widths", "0.5,1", "--export", "0.3"], "--export")]
    for arguments, match in cases:
        with pytest.raises(RecipeError, match=match):
            CliRunner().invoke(app, [*words, *arguments], catch_exceptions=False)
