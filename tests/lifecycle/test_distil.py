"""A student hears what its teacher says of the windows that it learns from, and of no others."""

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
from biosig_mtl.lifecycle.distil import LABELS, DistilSettings, Lesson, Teaching, distil, lesson, taught
from biosig_mtl.lifecycle.opened import open_run
from biosig_mtl.lifecycle.prune import Ground, ground_of
from biosig_mtl.models.hard_sharing import HardSharingSettings
from biosig_mtl.models.split_merge import SplitMergeSettings
from biosig_mtl.training import Scaler, TrainingSettings, predict, spec_of
from biosig_mtl.training.batches import shuffled
from biosig_mtl.training.checkpoint import Member
from biosig_mtl.types import Batch, DataError, Fold, Head, Output, RecipeError, WindowTable
from tests.lifecycle.conftest import ORDINAL, PLAIN, Run, small_table, windows

FOLD = Fold(np.arange(50), np.arange(50, 65), np.arange(65, 80))
QUICK = TrainingSettings(epochs=3, batch_size=25, mi_ramp_epochs=0, lr=1e-2)
LARGE = DistilSettings(width=4, most=10.0)


def ground(table: WindowTable | None = None, name: str = "hard_sharing") -> Ground:
    table = table or small_table()
    settings = HardSharingSettings(width=8) if name == "hard_sharing" else SplitMergeSettings(width=8)
    return Ground(table, FOLD, Scaler.fit(table, FOLD.train), QUICK, name, settings, 3)


def batch_of(size: int, weight: torch.Tensor | None = None) -> Batch:
    return replace(windows(PLAIN, size), weight=torch.ones(size) if weight is None else weight)


# -------------------------------------------------------------------------------------------------------------- teaching
def test_the_order_is_the_one_that_training_would_draw() -> None:
    what = Lesson(torch.zeros(50, 2), {})
    own = Teaching(what, PLAIN.head).order(16, torch.Generator().manual_seed(4))
    usual = shuffled(50, 16, torch.Generator().manual_seed(4))
    assert all(torch.equal(a, b) for a, b in zip(own, usual, strict=True))


def test_a_student_that_says_the_same_has_nothing_to_learn() -> None:
    what = Lesson(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)), {})
    teaching, model = Teaching(what, PLAIN.head), torch.nn.Identity()
    for positions in teaching.order(16, torch.Generator().manual_seed(4)):
        given = batch_of(len(positions))
        assert float(teaching(model, Output(what.scaled[positions]), given, 0)) == 0
        assert float(teaching(model, Output(what.scaled[positions.flip(0)]), given, 0)) > 0


def test_the_term_is_a_weighted_mean_of_squares() -> None:
    teaching = Teaching(Lesson(torch.tensor([[1.0, 2.0], [0.0, 0.0]]), {}), PLAIN.head)
    list(teaching.order(1, torch.Generator().manual_seed(0)))
    teaching.here = torch.tensor([0, 1])
    said = Output(torch.tensor([[2.0, 4.0], [1.0, 0.0]]))
    # By hand: squares 1 + 4 and 1 + 0, weights ¾ and ¼.
    assert float(teaching(torch.nn.Identity(), said, batch_of(2, torch.tensor([3.0, 1.0])), 0)) == pytest.approx(4.0)


def test_shares_of_classes_are_learned_by_cross_entropy() -> None:
    shares = torch.tensor([[0.7, 0.2, 0.1]])
    teaching = Teaching(Lesson(torch.tensor([[9.0, 1.0]]), {0: shares}), (Head("classes", (1.0, 2.0)), Head()))
    teaching.here = torch.tensor([0])

    def term(first: torch.Tensor) -> torch.Tensor:
        logits = torch.stack([torch.nn.functional.pad(first, (0, 1), value=5.0), torch.zeros(1, 4)], dim=1)
        return teaching(torch.nn.Identity(), Output(torch.tensor([[0.0, 1.0]]), logits=logits), batch_of(1), 0)

    at = shares.log().requires_grad_()
    value = term(at)
    value.backward()  # type: ignore[no-untyped-call]
    # The expected class number, 9 here, is no part of it: the smallest value is the entropy of the shares.
    assert float(value.detach()) == pytest.approx(float(-(shares * shares.log()).sum()))
    assert at.grad is not None
    assert at.grad.abs().max() < 1e-6
    assert float(term(torch.zeros(1, 3))) > float(value.detach())


def test_a_lesson_is_the_mean_of_the_teachers_in_scaled_units() -> None:
    g = ground(name="split_merge")
    other = replace(g.scaler, target_mean=g.scaler.target_mean + 5.0)  # teachers have scalers of their own
    teachers = [Member("a", g.fresh(), g.scaler), Member("b", g.fresh(), other)]
    what = lesson(teachers, g)
    assert len(what) == 50
    one = predict(teachers[0].model, g.table, FOLD.train, g.scaler)
    wanted = g.scaler.targets(one + 2.5)
    assert what.scaled.numpy() == pytest.approx(wanted, abs=1e-5)
    cheat = replace(g.scaler, fitted_rows=np.arange(60, 70))
    with pytest.raises(DataError, match="that its fold tests"):
        lesson([Member("c", g.fresh(), cheat)], g)


def test_classes_are_distilled_too() -> None:
    table = small_table()
    scale = (table.targets[:, :1] - 120) / 9 * 2 + 5
    table = replace(
        table, targets=np.concatenate([scale, table.targets[:, 1:]], axis=1).astype(np.float32), heads=(ORDINAL, Head())
    )
    g = ground(table)
    what = lesson([Member("a", g.train(g.fresh()), g.scaler)], g)
    assert what.shares[0].shape == (50, 4)
    assert list(what.shares) == [0]
    student = taught(g, what)
    assert np.isfinite(predict(student, table, FOLD.test, g.scaler)).all()


def test_labels_of_tested_people_are_never_looked_at() -> None:
    g = ground()
    other = small_table()
    other.targets[FOLD.test] = 1.0
    other.values[FOLD.test] = 0.0
    states = []
    for table in (g.table, other):
        own = replace(g, table=table)
        states.append(taught(own, lesson([Member("a", own.fresh(), own.scaler)], own)).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_student_gets_nearer_to_its_teacher_than_one_without() -> None:
    # Without validation windows the last epoch is kept; with them, labels would choose one in which little was heard yet.
    everyone = Fold(FOLD.train, np.empty(0, np.int64), FOLD.test)
    g = replace(ground(), fold=everyone, training=replace(QUICK, epochs=15, skip_start="zero", average=0.0))
    # A teacher that says the opposite of the labels: whoever is near to it has listened.
    against = Lesson(-torch.from_numpy(g.scaler.targets(g.table.targets[FOLD.train])), {})
    said = [
        g.scaler.targets(predict(model, g.table, FOLD.train, g.scaler)) for model in (taught(g, against), g.train(g.fresh()))
    ]
    away = [float(np.square(each - against.scaled.numpy()).mean()) for each in said]
    assert away[0] < 0.8 * away[1]
    assert LABELS == 0.5


# ------------------------------------------------------------------------------------------------------------ whole runs
def test_a_run_is_distilled_and_can_be_opened_again(run: Run, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    told = distil(run.folder, run.stores, tmp_path / "out", LARGE, lambda done, of: seen.append((done, of)))
    assert seen == [(1, 2), (2, 2)]
    arms = told["arms"]
    assert arms["teacher"]["targets"]["sbp"]["cost"] == 0
    assert arms["teacher"]["targets"] == arms["one network of the teacher"]["targets"]  # an ensemble of one
    assert arms["train_median"]["targets"]["sbp"]["skill"] == 0
    assert arms["student"]["parameters"] < arms["teacher"]["parameters"]
    assert {"student without a teacher", "student, no linear skip", "ridge"} <= set(arms)
    assert json.loads((tmp_path / "out" / "distil.json").read_text()) == json.loads(json.dumps(plain(told)))
    assert "| student |" in (tmp_path / "out" / "distil.md").read_text()
    before, after = open_run(run.folder, run.stores), open_run(tmp_path / "out", run.stores)
    assert after.recipe.model["name"] == "hard_sharing"
    assert after.member(after.folds[0]).model.settings.width == 4  # type: ignore[union-attr]
    # The new folder can be gone on from as the old one: its networks know what they learned from.
    ground_of(after, after.folds[1], 0)
    assert after.ensemble.predict(before.table).shape == (len(before.table), 2)
    assert spec_of(before.table) == after.ensemble.spec


def test_a_student_that_is_no_student_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"more than 0\.1 of the"):
        distil(run.folder, run.stores, tmp_path / "out", DistilSettings(name="split_merge"))
    with pytest.raises(RecipeError, match="zzz"):
        distil(run.folder, run.stores, tmp_path / "out", DistilSettings(words={"zzz": 1}))
    for name in ("zzz", "histn"):
        with pytest.raises(ValueError, match="need the name"):
            DistilSettings(name=name)
    for width, most in ((3, 0.1), (8, 0.0)):
        with pytest.raises(ValueError, match="need width"):
            DistilSettings(width=width, most=most)


def test_a_verb_distils(run: Run, tmp_path: Path) -> None:
    app = typer.Typer()
    compress.register(app)
    words = ["distil", str(run.folder), "--store", str(run.stores), "--out", str(tmp_path / "a"), "--no-compare"]
    done = CliRunner().invoke(app, [*words, "--width", "4", "--most", "10"], catch_exceptions=False)
    assert "| student |" in done.output
    assert "without a teacher" not in done.output
    with pytest.raises(RecipeError, match="distil: need width"):
        CliRunner().invoke(app, [*words, "--width", "1"], catch_exceptions=False)
