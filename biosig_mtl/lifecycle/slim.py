"""Train networks that answer at several widths, and tell what each width costs and saves.

See `biosig_mtl.models.slimmable` for the network and its source. One checkpoint holds all widths; which one is used is said
when it is loaded (`load_at`). `Judge`, `Made` and `write_run` also serve the other ways to make a network smaller.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from biosig_mtl import recipe as recipes
from biosig_mtl import splits
from biosig_mtl.evaluation import grades, intervals, scores
from biosig_mtl.experiment import answers, folder, grading, grading_intervals, members
from biosig_mtl.lifecycle.opened import Opened, open_run
from biosig_mtl.models import baselines
from biosig_mtl.models.slimmable import FORMS, SHARES, Slimmable, SlimmableSettings, at_width, price, remake
from biosig_mtl.recipe import Recipe, build
from biosig_mtl.training import (
    Scaler,
    TrainingData,
    TrainingSettings,
    checkpoint,
    fit,
    predict,
    spec_of,
    subject_weights,
    to_batch,
)
from biosig_mtl.training.checkpoint import Ensemble
from biosig_mtl.training.conformal_record import Intervals
from biosig_mtl.training.hooks import Hooks
from biosig_mtl.training.threads import one_thread
from biosig_mtl.types import EMPTY, F64, Batch, DataError, Fold, Output, RecipeError, WindowTable

FILE = "slim.json"
KIND = "slimmable"
AT_WIDTH = "intervals_at"
Progress = Callable[[int, int], None]
Said = Sequence[tuple[Fold, F64]]


# --------------------------------------------------------------------------------------------------------------- judging
class Judge:
    """Mean absolute errors of many predictors on the test windows of the same folds, each person alike."""

    def __init__(self, table: WindowTable, folds: Sequence[Fold], alpha: float) -> None:
        self.table, self.folds, self.alpha = table, list({(f.seed, f.number): f for f in folds}.values()), alpha
        self.median = self.mae(self.baseline("train_median"))
        self.people = next(iter(self.median.values())).size
        self.counts = intervals.draw(self.people, np.random.default_rng(0))

    def baseline(self, name: str) -> Said:
        """Return what a baseline, fitted on the training sides, says of the test windows; NaN where it cannot answer."""
        said = []
        for fold in self.folds:
            side = np.sort(np.concatenate([fold.train, fold.validation]))
            weight = subject_weights(self.table.subject[side], self.alpha)
            answer = baselines.fit(name, self.table, side, weight, seed=fold.seed).answer(self.table, fold.test)
            unknown = np.full((fold.test.size, len(self.table.target_names)), np.nan)
            said.append((fold, unknown if answer is None else answer.estimate))
        return said

    def mae(self, said: Said) -> dict[str, F64]:
        """Return the error of every person, by target; several networks of a fold are averaged first."""
        parts = []
        for fold in self.folds:
            own = [each for f, each in said if (f.seed, f.number) == (fold.seed, fold.number)]
            parts.append((fold, members.Estimated(np.mean(own, axis=0), {})))
        given = grading.predictions(self.table, parts)
        return {name: grades.grade(given, name).mae for name in self.table.target_names}

    def figures(self, said: Said, reference: Said) -> dict[str, Any]:
        """Return by target ``mae``, ``cost`` = MAE / MAE of the reference − 1 with its interval over people, and ``skill`` =
        1 − MAE / MAE of the training median.
        """
        own, other = self.mae(said), self.mae(reference)
        told = {}
        for name, each in own.items():
            mae, before, usual = (float(np.nanmean(x)) for x in (each, other[name], self.median[name]))
            low, high = intervals.ratio_ci95(each, other[name], self.counts)
            told[name] = {
                "mae": mae, "cost": mae / before - 1.0, "cost_ci95": [low - 1.0, high - 1.0], "skill": 1.0 - mae / usual
            }  # fmt: skip
        return told


def percent(each: Mapping[str, Any]) -> str:
    """Return a cost with its interval in words."""
    low, high = each["cost_ci95"]
    return f"{100 * each['cost']:+.1f} % ({100 * low:+.1f} to {100 * high:+.1f})"


def cells(targets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return three cells of a table a target: error, cost, skill."""
    return [cell for each in targets.values() for cell in (f"{each['mae']:.3g}", percent(each), f"{each['skill']:.3f}")]


def heads(targets: Sequence[str]) -> list[str]:
    """Return the heads of `cells`."""
    return [cell for name in targets for cell in (f"{name} MAE", "cost (95 % CI)", "skill")]


# --------------------------------------------------------------------------------------------------------------- writing
@dataclass(frozen=True)
class Made:
    """A network to write: its name in the run, the name under which it can be built, its fold and its scaler."""

    name: str
    kind: str
    model: nn.Module
    fold: Fold
    scaler: Scaler


def write_run(out: Path, recipe: Recipe, table: WindowTable, made: Sequence[Made], more: Mapping[str, Any] = EMPTY) -> None:
    """Write recipe and model folder of networks; ``more`` goes into the folder beside their intervals."""
    folder.write_recipe(out, recipe)
    places = {one.name: out / "work" / one.name for one in made}
    for one in made:
        checkpoint.save(places[one.name], one.kind, one.model, one.scaler)
    extra = {**grading_intervals.carried(intervals_of(table, made)), **more}
    checkpoint.collect(out / "model", places, recipe.to_dict(), scores.plain(extra))
    shutil.rmtree(out / "work")


def intervals_of(table: WindowTable, made: Sequence[Made]) -> Intervals:
    """Return the intervals of networks from the validation people of all folds, as a run has them."""
    results = []
    for one in made:
        told = predict(one.model, table, one.fold.validation, one.scaler)
        job = members.Job(members.MODEL, one.fold, 0, 1, {}, (), Path())
        tested = predict(one.model, table, one.fold.test, one.scaler) if "transfer_test" in table.index else np.empty((0, 0))
        results.append(members.Result(job, tested, one.fold.validation, told, one.fold.train, [], (), {}, None, ()))
    folds = list({(one.fold.seed, one.fold.number): one.fold for one in made}.values())
    return grading_intervals.record(table, folds, results)


def open_beside(run: Path, stores: Path, out: Path) -> Opened:
    """Open a run to write another one; raise `DataError` where the two folders are one."""
    if out.resolve() == run.resolve():
        raise DataError(f"{out}: is the run itself; choose another --out")
    return open_run(run, stores)


def copy_facts(run: Path, out: Path) -> None:
    """Copy what tells a run's stores and folds, so that the new folder can be opened as the old one."""
    for name in ("environment.json", "folds.parquet"):
        folder.write(out / name, (run / name).read_bytes())


# -------------------------------------------------------------------------------------------------------------- slimming
@dataclass(frozen=True)
class SlimSettings:
    """``shares`` of the width, rising to 1; ``invariance`` is the weight of L_CI, ``early_weight`` that of each narrower loss.
    ``compare`` also trains an ordinary network at every width.
    """

    shares: tuple[float, ...] = SHARES
    invariance: float = 0.1
    early_weight: float = 1.0
    compare: bool = True

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.invariance < 0.0 or self.early_weight < 0.0:
            raise ValueError(f"need invariance and early_weight >= 0, got {self.invariance}, {self.early_weight}")


USUAL = SlimSettings()


def slim(
    recipe: Recipe, stores: Sequence[Path], out: Path, settings: SlimSettings = USUAL, progress: Progress | None = None
) -> dict[str, Any]:
    """Train one slimmable network a fold of a recipe; return what ``slim.json`` holds.

    Parameters
    ----------
    recipe
        Its model is ``split_merge`` or ``hard_sharing``; its kernel, if it has one, is left out.
    stores
        Of the data set.
    out
        Folder to write: ``model/`` for `load_at`, ``slim.json``, ``slim.md``.
    settings
        See `SlimSettings`.
    progress
        Called with the number of folds that are done, and of all.

    Returns
    -------
    dict
        ``widths``: a row a share with ``width``, ``parameters``, ``flops``, ``latency_ms``, by target what `Judge.figures`
        tells of it, and under ``own`` the same of an ordinary network of that width. The reference of all costs is the ordinary
        network of full width, or without ``compare`` the slimmable one at full width. ``ridge`` is that baseline.

    Raises
    ------
    RecipeError
        The model cannot be slimmed to these shares.
    """
    chosen, training = _chosen(recipe, settings)
    table = answers.table_of(recipe, stores)
    folds = splits.make(table, build(splits.Protocol, recipe.split, "split"))
    folder.write_recipe(out, recipe)
    folder.write_environment(out, stores)
    folder.write_folds(out, table, folds)
    judge = Judge(table, folds, training.balance_subjects)
    said: dict[tuple[str, float], list[tuple[Fold, F64]]] = {}
    made = []
    with one_thread():
        for done, fold in enumerate(folds, start=1):
            inner = splits.inner(fold, table, 0, training.ensemble)
            work = _Work(table, inner, Scaler.fit(table, inner.train), training, settings)
            model = work.slimmable(chosen)
            for share in chosen.shares:
                said.setdefault((KIND, share), []).append(work.said(at_width(model, share)))
                if settings.compare:
                    said.setdefault(("own", share), []).append(work.said(work.ordinary(chosen, share)))
            made.append(Made(f"{members.MODEL}-seed{fold.seed}-fold{fold.number}-member0", KIND, model, inner, work.scaler))
            if progress is not None:
                progress(done, len(folds))
        at = {share: intervals_of(table, [_narrow(one, share) for one in made]) for share in chosen.shares}
        write_run(out, recipe, table, made, {AT_WIDTH: {str(s): grading_intervals.carried(found) for s, found in at.items()}})
    single = to_batch(table, made[0].fold.test[:1], made[0].scaler)
    rows = [_row(judge, said, _narrow(made[0], share), single) for share in chosen.shares]
    told: dict[str, Any] = {"schema": 1, "recipe": recipe.name, "model": chosen.of, "people": judge.people, "widths": rows}
    told["ridge"] = judge.figures(judge.baseline("ridge"), _reference(said))
    told["sentences"] = sentences(told)
    folder.write_json(out / FILE, told)
    folder.write(out / "slim.md", "\n".join(in_words(told)) + "\n")
    return told


def _chosen(recipe: Recipe, settings: SlimSettings) -> tuple[SlimmableSettings, TrainingSettings]:
    name, made, training = members.settings(recipe)
    if name not in FORMS:
        raise RecipeError(f"model '{name}' cannot be slimmed; set model.name to {' or '.join(FORMS)}")
    words = {word: getattr(made, word) for word in FORMS[name].words()}
    try:
        chosen = SlimmableSettings(name, words, settings.shares)
    except ValueError as error:
        raise RecipeError(f"slim: {error}") from error
    return chosen, training


@dataclass(frozen=True)
class _Work:
    """What the networks of a fold learn from."""

    table: WindowTable
    fold: Fold
    scaler: Scaler
    training: TrainingSettings
    settings: SlimSettings

    @property
    def seed(self) -> int:
        return int(np.random.SeedSequence([self.fold.seed, self.fold.number, 0]).generate_state(1)[0])

    def slimmable(self, chosen: SlimmableSettings) -> Slimmable:
        """Train all widths at once."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = Slimmable(chosen, spec_of(self.table))
        hooks = Hooks(extra=(Invariance(self.settings.invariance),))
        training = replace(self.training, early_weight=self.settings.early_weight)
        fit(model, TrainingData(self.table, self.fold, self.scaler, hooks), training, self.seed)
        return model

    def ordinary(self, chosen: SlimmableSettings, share: float) -> nn.Module:
        """Train an ordinary network of one width."""
        model = members.fresh(chosen.of, chosen.at(share), spec_of(self.table), self.seed)
        fit(model, TrainingData(self.table, self.fold, self.scaler), self.training, self.seed)
        return model

    def said(self, model: nn.Module) -> tuple[Fold, F64]:
        """Return what a network says of the test windows."""
        return self.fold, predict(model, self.table, self.fold.test, self.scaler)


@dataclass(frozen=True)
class Invariance:
    """The weighted L_CI of the batch that a slimmable network has just seen; a term of `Hooks.extra`."""

    weight: float

    def __call__(self, model: nn.Module, out: Output, batch: Batch, epoch: int) -> Tensor:
        """Return the term ()."""
        del out, batch, epoch
        assert isinstance(model, Slimmable)
        return self.weight * model.invariance


def _reference(said: Mapping[tuple[str, float], Said]) -> Said:
    return said.get(("own", 1.0), said[KIND, 1.0])


def _narrow(made: Made, share: float) -> Made:
    return replace(made, kind=str(share), model=at_width(_slimmable(made.model), share))


def _row(judge: Judge, said: Mapping[tuple[str, float], Said], narrow: Made, single: Batch) -> dict[str, Any]:
    cost, share, net = price(narrow.model, single), float(narrow.kind), narrow.model
    own = said.get(("own", share))
    return {
        "share": share, "width": _width(net), "parameters": cost.parameters, "flops": cost.flops,
        "latency_ms": cost.latency_ms, "targets": judge.figures(said[KIND, share], _reference(said)),
        "own": judge.figures(own, _reference(said)) if own is not None else None,
    }  # fmt: skip


def _width(model: nn.Module) -> int:
    made: Any = model.settings
    return int(made.width)


# ----------------------------------------------------------------------------------------------------------------- words
def sentences(told: Mapping[str, Any]) -> list[str]:
    """Return what ``slim.json`` says, in words."""
    said = []
    for row in told["widths"]:
        costs = ", ".join(f"{name} {percent(each)}" for name, each in row["targets"].items())
        own = ", ".join(f"{name} {percent(each)}" for name, each in (row["own"] or {}).items())
        beside = f"; an ordinary network of that width: {own}" if own else ""
        said.append(f"Width {row['width']}, {row['parameters']} parameters, costs in MAE: {costs}{beside}.")
    costs = ", ".join(f"{name} {percent(each)}" for name, each in told["ridge"].items())
    said.append(f"A ridge on the features, without a network, costs {costs}: where it is no worse, width cannot matter.")
    return said


def in_words(told: Mapping[str, Any]) -> list[str]:
    """Return ``slim.json`` as lines of Markdown: a table, and the sentences."""
    names = heads(list(told["ridge"]))
    lines = [
        f"# {told['recipe']}, {told['model']} at several widths", "",
        f"| | width | parameters | kFLOP a window | ms a window | {' | '.join(names)} |", f"|---|{'---|' * (len(names) + 4)}",
    ]  # fmt: skip
    for row in told["widths"]:
        size = f"{row['width']} | {row['parameters']} | {row['flops'] / 1000:.4g} | {row['latency_ms']:.2g}"
        for what, targets in (("slimmable", row["targets"]), ("ordinary", row["own"])):
            if targets:
                lines.append(f"| {what} | {size} | {' | '.join(cells(targets))} |")
    lines.append(f"| ridge | | | | | {' | '.join(cells(told['ridge']))} |")
    return [*lines, "", *(f"- {sentence}" for sentence in told["sentences"])]


# --------------------------------------------------------------------------------------------------------------- loading
def load_at(place: Path, share: float) -> Ensemble:
    """Load the networks that `slim` wrote as ordinary ones of a share of their width; the width is chosen here.

    Raises
    ------
    DataError
        The folder holds no slimmable networks, or they were not trained at that share.
    """
    try:
        found = checkpoint.load(place / "model", remake)
        narrow = tuple(replace(m, model=at_width(_slimmable(m.model), share)) for m in found.members)
    except ValueError as error:
        raise DataError(f"{place}: {error}") from error
    extra = {key: value for key, value in found.extra.items() if key != AT_WIDTH}
    return replace(found, members=narrow, extra=extra | found.extra[AT_WIDTH][str(share)])


def _slimmable(model: nn.Module) -> Slimmable:
    assert isinstance(model, Slimmable)
    return model


def export_width(place: Path, share: float, to: Path) -> None:
    """Write one width of what `slim` wrote as a run folder of ordinary networks, with which every verb can go on."""
    narrow = load_at(place, share)
    recipe = recipes.load(place / "recipe.yaml")
    words = {"width": _width(narrow.members[0].model), "kernel_landmarks": 0}
    recipe = replace(recipe, model={**recipe.model, **words})
    name = str(recipe.model.get("name", "split_merge"))
    folder.write_recipe(to, recipe)
    copy_facts(place, to)
    places = {one.name: to / "work" / one.name for one in narrow.members}
    for one in narrow.members:
        checkpoint.save(places[one.name], name, one.model, one.scaler)
    checkpoint.collect(to / "model", places, recipe.to_dict(), narrow.extra)
    shutil.rmtree(to / "work")
