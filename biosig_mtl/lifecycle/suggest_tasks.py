"""Which known targets a new one has to do with: a Lasso of its linear head on theirs.

From A-MTRL (Wang et al., "Improved active multi-task representation learning via Lasso", ICML 2023): on a representation H that
all tasks share, the head of the wanted target is written as a sum of the heads of others,

    min_ν ½D⁻¹ ‖w_T − W ν‖² + λ ‖ν‖₁,

and the sources with ν ≠ 0 are those worth learning together with it, the largest first. There ν decides how many labels to buy
of each source; here it is shown. Ours: H is the pooled embedding of a trained network that is not changed; heads are ridges on
its standardised columns, for standardised targets; λ is the largest whose error on held-back people is within one standard
error of the smallest (Breiman's rule). Only training windows of a fold are looked at, and folds are averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from biosig_mtl import store
from biosig_mtl.lifecycle.opened import Opened, open_run
from biosig_mtl.models.extension import Extended
from biosig_mtl.models.split_merge import SplitMerge
from biosig_mtl.training.checkpoint import Member
from biosig_mtl.training.prediction import EVALUATION_BATCH, source_for
from biosig_mtl.types import F32, F64, I64, DataError, Head, WindowTable

LAMBDAS = np.logspace(0, -3, 13)  # shares of the smallest λ at which nothing is left
INNER_FOLDS = 5
NEAR_ZERO = 0.05  # |ν| below which a source is said to have nothing to do with the target


@dataclass(frozen=True)
class NewTarget:
    """What is added. ``column`` is where its label stands (empty: under its own name), ``store`` the store that has it.

    Without a store the label is a column of the index of the run's own windows. Another store has to hold the same windows
    (place and waveform are compared), prepared with other features, say; its features are looked at too. Only numbers
    can be added.
    """

    name: str
    column: str = ""
    store: Path | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not self.name:
            raise ValueError("need a name of the target, got none")

    @property
    def source(self) -> str:
        """Name of the column with the label."""
        return self.column or self.name


@dataclass(frozen=True)
class Heads:
    """Linear heads on a common embedding: ``source`` (D, M), ``wanted`` (D,), all of standardised columns and targets."""

    source: F64
    wanted: F64


@dataclass(frozen=True)
class Given:
    """What heads are fitted on: embedding (n, D), sources (n, M) and wanted target (n,), NaN where unknown, subject (n,)."""

    embedding: F64
    sources: F64
    wanted: F64
    subject: NDArray[np.str_]

    def rows(self, chosen: NDArray[Any]) -> Given:
        """Return some of the windows."""
        return Given(self.embedding[chosen], self.sources[chosen], self.wanted[chosen], self.subject[chosen])


@dataclass(frozen=True)
class SuggestSettings:
    """``penalty`` is the ridge of the heads, per window; ``seed`` deals people to inner folds."""

    penalty: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not self.penalty > 0.0:
            raise ValueError(f"need penalty > 0, got {self.penalty}")


USUAL = SuggestSettings()


def suggest_tasks(
    run: Path, stores: Path, wanted: NewTarget, sources: Sequence[NewTarget] = (), settings: SuggestSettings = USUAL
) -> dict[str, Any]:
    """Rank targets by what they have to do with a wanted one.

    Parameters
    ----------
    run
        Folder of a run of ``split_merge``, or of an `add_task`; its networks make the embedding.
    stores
        Folder of the window stores that it was made from.
    wanted
        The target that is to be learned: one that the run answers, or a column as for `add_task`.
    sources
        Further targets to look at, beside those that the run answers.
    settings
        See `SuggestSettings`.

    Returns
    -------
    dict
        ``wanted``, ``sources`` (by falling |ν|: ``name``, ``nu``, ``chosen`` the share of folds in which ν ≠ 0), ``explained``
        (the share of the wanted head that the sum has, a mean over folds) and ``sentence``.

    Raises
    ------
    DataError
        The run has no Split 'n' Merge, there is no source, or a label is nowhere to be found.
    """
    opened = open_run(run, stores)
    if not isinstance(opened.ensemble.members[0].model, SplitMerge | Extended):
        raise DataError(f"{run}: suggest_tasks needs networks of split_merge, the run has others")
    labels = _labels(opened.table, sources)
    truth = labels.pop(wanted.name, None)
    truth = label_of(opened.table, wanted).astype(np.float64) if truth is None else truth
    if not labels:
        raise DataError(f"there is no target beside '{wanted.name}' to suggest; name some with --source")
    found = []
    for fold in opened.folds:
        rows = opened.inner(fold).train
        given = Given(
            embedding_of(opened.member(fold), opened, rows),
            np.stack([label[rows] for label in labels.values()], axis=1),
            truth[rows],
            opened.table.subject[rows],
        )
        found.append(relevance(given, settings))
    return _ranked(wanted.name, tuple(labels), found)


def _labels(table: WindowTable, sources: Sequence[NewTarget]) -> dict[str, F64]:
    columns = table.targets.astype(np.float64).T
    known = {name: head.encode(column) for name, head, column in zip(table.target_names, table.head, columns, strict=True)}
    return known | {one.name: label_of(table, one).astype(np.float64) for one in sources}


def embedding_of(member: Member, opened: Opened, rows: I64) -> F64:
    """Return the pooled embedding (n, D) of windows: what a network makes of them before any task has its say."""
    model: Any = member.model
    net = cast("SplitMerge", model.old if isinstance(model, Extended) else model).eval()
    source = source_for([net], opened.table, rows, member.scaler)
    with torch.inference_mode():
        parts = [net.tokens.pool(net.embed(b), net.settings.pool, b) for b in source.in_order(EVALUATION_BATCH)]
    return torch.cat(parts).double().numpy()


# ----------------------------------------------------------------------------------------------------------------- Lasso
@dataclass(frozen=True)
class Relevance:
    """ν of every source (M,), and the share of the wanted head (by its square) that the sum of sources has."""

    nu: F64
    explained: float


def relevance(given: Given, settings: SuggestSettings = USUAL) -> Relevance:
    """Return what each source has to do with the wanted target, on some windows.

    λ is chosen by inner folds of people: heads and ν are made of the others, and the wanted target of the people held back is
    estimated by the sum of source heads.
    """
    _check(given)
    heads = heads_of(given, settings.penalty)
    top = _top(heads)
    if top <= 0.0:
        return Relevance(np.zeros(given.sources.shape[1]), 0.0)
    nu = lasso(heads, top * _chosen(given, settings))
    left = float(np.square(heads.wanted - heads.source @ nu).sum() / np.square(heads.wanted).sum())
    return Relevance(nu, 1.0 - left)


def heads_of(given: Given, penalty: float) -> Heads:
    """Return the ridge heads of all targets, each on the windows where it is known.

    Columns of the embedding and targets are brought to mean 0 and variance 1 first, so that heads can be compared: what differs
    is then their direction, and how well the embedding tells the target.
    """
    x = _standard(given.embedding)
    columns = [*given.sources.T, given.wanted]
    found = np.stack([_ridge(x, column, penalty) for column in columns], axis=1)
    return Heads(found[:, :-1], found[:, -1])


def _ridge(x: F64, target: F64, penalty: float) -> F64:
    known = np.isfinite(target)
    y = _standard(target[known][:, None])[:, 0]
    part = x[known] - x[known].mean(axis=0)
    head = np.linalg.solve(part.T @ part / y.size + penalty * np.eye(x.shape[1]), part.T @ y / y.size)
    return np.asarray(head, np.float64)


def _standard(x: F64) -> F64:
    spread = x.std(axis=0)
    return np.asarray((x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0), np.float64)


def _top(heads: Heads) -> float:
    """Return the smallest λ at which ν is zero."""
    return float(np.abs(heads.source.T @ heads.wanted).max() / len(heads.wanted))


def lasso(heads: Heads, strength: float) -> F64:
    """Return ν (M,) of min ½D⁻¹ ‖w_T − W ν‖² + λ ‖ν‖₁."""
    from sklearn.linear_model import Lasso

    # In units of the wanted head, so that the solver's own limits fit heads of any size.
    unit = float(np.sqrt(np.square(heads.wanted).mean()))
    solver = Lasso(alpha=strength / unit**2, fit_intercept=False, max_iter=50_000, tol=1e-6)
    return np.asarray(solver.fit(heads.source / unit, heads.wanted / unit).coef_, np.float64)


def _chosen(given: Given, settings: SuggestSettings) -> float:
    """Return the share of the largest λ by inner folds of people, by the rule of one standard error."""
    people, code = np.unique(given.subject, return_inverse=True)
    parts = min(INNER_FOLDS, people.size)
    part = np.random.default_rng(settings.seed).permutation(people.size)[code] % parts
    errors = []
    for k in range(parts):
        kept, held = given.rows(part != k), given.rows(part == k)
        known = np.isfinite(held.wanted)
        if not known.any() or not np.isfinite(kept.wanted).any():
            continue
        heads = heads_of(kept, settings.penalty)
        mean, spread = kept.embedding.mean(axis=0), kept.embedding.std(axis=0)
        x = (held.embedding[known] - mean) / np.where(spread > 0, spread, 1.0)
        y = (held.wanted[known] - np.nanmean(kept.wanted)) / max(float(np.nanstd(kept.wanted)), 1e-12)
        top = _top(heads)
        said = [x @ heads.source @ lasso(heads, top * share) if top > 0 else 0.0 * y for share in LAMBDAS]
        errors.append([float(np.abs(one - y).mean()) for one in said])
    if not errors:
        return float(LAMBDAS[0])
    mean_error = np.mean(errors, axis=0)
    best = int(mean_error.argmin())
    # Differences to the best λ in the same folds: how hard a fold is says nothing about λ.
    away = np.array(errors) - np.array(errors)[:, [best]]
    limit = away.std(axis=0, ddof=1) / np.sqrt(len(errors)) if len(errors) > 1 else np.zeros(len(LAMBDAS))
    return float(LAMBDAS[int(np.argmax(away.mean(axis=0) <= limit))])


def _check(given: Given) -> None:
    for label in [*given.sources.T, given.wanted]:
        if not np.isfinite(label).any():
            raise DataError("a target is unknown in all training windows of a fold; leave it out")


def _ranked(wanted: str, names: Sequence[str], found: Sequence[Relevance]) -> dict[str, Any]:
    nu = np.stack([one.nu for one in found])
    told: list[dict[str, Any]] = [
        {"name": name, "nu": float(column.mean()), "chosen": float((column != 0).mean())}
        for name, column in zip(names, nu.T, strict=True)
    ]
    told.sort(key=lambda one: -abs(one["nu"]))
    explained = float(np.mean([one.explained for one in found]))
    return {"wanted": wanted, "sources": told, "explained": explained, "sentence": _sentence(wanted, told, explained)}


def _sentence(wanted: str, told: Sequence[Mapping[str, Any]], explained: float) -> str:
    near = [one for one in told if abs(one["nu"]) >= NEAR_ZERO]
    if not near:
        return f"Nothing that was looked at has to do with {wanted}, as far as this network can tell."
    names = ", ".join(f"{one['name']} ({one['nu']:+.2f})" for one in near)
    rest = [one["name"] for one in told if abs(one["nu"]) < NEAR_ZERO]
    beside = f"; {', '.join(rest)} {'have' if len(rest) > 1 else 'has'} little or nothing to do with it" if rest else ""
    return f"Learn {wanted} together with {names}: they have {100 * explained:.0f} % of its head{beside}."


# ---------------------------------------------------------------------------------------------------------------- labels
def label_of(table: WindowTable, new: NewTarget) -> F32:
    """Return the label of every window (n,), NaN where it is unknown; raise `DataError` where there is none."""
    given = store.read(new.store) if new.store is not None else table
    if new.source in given.index and given.index[new.source].dtype.kind in "iuf":
        column = given.index[new.source].to_numpy(np.float64)
    elif new.store is not None and new.source in given.names:
        column = given.values[:, given.names.index(new.source)].astype(np.float64)
    else:
        where = f"{new.store}" if new.store is not None else "the run's own windows"
        raise DataError(f"{where}: no column of numbers '{new.source}' to learn '{new.name}' from; name another with --column")
    if new.store is not None:
        keys = _keys(given)
        if len(set(keys)) < len(keys):
            raise DataError(f"{new.store}: several windows have one place; it cannot be told which label is whose")
        label = dict(zip(keys, column.tolist(), strict=True))
        column = np.array([label.get(key, np.nan) for key in _keys(table)])
    if not np.isfinite(column).any():
        raise DataError(f"'{new.source}' has no value in any window of the run; is {new.store or 'it'} of the same data?")
    return np.where(np.isfinite(column), column, np.nan).astype(np.float32)


def _keys(table: WindowTable) -> list[tuple[Any, ...]]:
    """Return what tells each window from all others: its place, and its waveform by digest (one that was copied has two)."""
    columns = ("dataset", "session", "record", "onset_s", "window_id")
    return list(zip(*(table.index[name].tolist() for name in columns), strict=True))


def with_target(table: WindowTable, name: str, label: F32) -> WindowTable:
    """Return the table with one more target (n,), a number."""
    heads = (*table.head, Head()) if table.heads else ()
    targets = np.concatenate([table.targets, label[:, None]], axis=1)
    return replace(table, targets=targets, target_names=(*table.target_names, name), heads=heads)
