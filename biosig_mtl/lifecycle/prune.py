"""Prune the networks of a finished run by magnitude, with rewinding, and tell what of it was the magnitude.

One round takes the smallest of the weights that are left, puts all others back to where they started, and trains again. Source:
"lottery tickets" (Frankle & Carbin, ICLR 2019) for networks with several tasks (MIR-L): 20 % of the surviving weights a round,
all layers together.

Ours: norms, biases, embeddings and the linear skip are never pruned; every slice of a stacked weight (one split's, one merge's,
one head's) keeps at least a ``floor`` of its weights, so that no task is pruned away; the controls. A pruned weight is a zero
in a dense matrix: the files stay as large, and nothing is faster without kernels for sparse matrices.

"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from biosig_mtl.experiment import folder, members
from biosig_mtl.lifecycle.opened import Opened
from biosig_mtl.lifecycle.slim import Judge, Made, cells, copy_facts, heads, open_beside, percent, write_run
from biosig_mtl.models.blocks import StackedLinear
from biosig_mtl.training import Scaler, TrainingData, TrainingSettings, fit, predict, spec_of
from biosig_mtl.training.checkpoint import Member
from biosig_mtl.training.hooks import NO_HOOKS, Hooks
from biosig_mtl.training.threads import one_thread
from biosig_mtl.types import F64, DataError, Fold, RecipeError, WindowTable

FILE = "prune.json"
ROUND = 0.8  # of the weights that are left stay in a round
KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, StackedLinear)
DENSE = "dense"
Masks = dict[str, Tensor]
State = dict[str, Tensor]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PruneSettings:
    """How far and how.

    ``keep`` is the share of the prunable weights that stays; ``rounds`` in which it is reached, 0 = as many as 20 % a round
    takes. ``rewind_epoch`` is the epoch to whose end survivors are put back, 0 = the very start. ``floor`` is the share that
    every slice keeps. ``members`` of each fold are pruned. ``compare`` adds the controls, and all of it once more for networks
    without linear skip and kernel.
    """

    keep: float = 0.1
    rounds: int = 0
    rewind_epoch: int = 0
    floor: float = 0.05
    members: int = 1
    compare: bool = True

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not 0.0 <= self.floor <= self.keep < 1.0 or self.keep == 0.0:
            raise ValueError(f"need 0 <= floor <= keep < 1 and keep > 0, got {self.floor}, {self.keep}")
        if self.rounds < 0 or self.rewind_epoch < 0 or self.members < 1:
            raise ValueError(f"need rounds and rewind_epoch >= 0, members >= 1, got {self}")

    def shares(self) -> tuple[float, ...]:
        """Return the share of weights that is left after every round.

        >>> PruneSettings(keep=0.5).shares()
        (0.8, 0.64, 0.512, 0.5)
        """
        n = self.rounds or math.ceil(math.log(self.keep) / math.log(ROUND))
        step = self.keep ** (1 / n) if self.rounds else ROUND
        return (*(round(step**i, 9) for i in range(1, n)), self.keep)


USUAL = PruneSettings()


# ----------------------------------------------------------------------------------------------------------------- masks
def prunable(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights that may be pruned, each as rows of slices (n, size): n > 1 for stacked layers only."""
    found = {}
    for name, part in model.named_modules():
        if isinstance(part, KINDS) and "answers" not in name.split(".") and part.weight.requires_grad:
            w = part.weight.detach()
            found[f"{name}.weight"] = w.flatten(1) if isinstance(part, StackedLinear) else w.reshape(1, -1)
    return found


def whole(model: nn.Module) -> Masks:
    """Return masks that keep everything."""
    return {name: torch.ones_like(w, dtype=torch.bool) for name, w in prunable(model).items()}


def cut(weights: Mapping[str, Tensor], masks: Masks, keep: float, floor: float) -> Masks:
    """Return masks that keep the share ``keep`` of all weights: the largest of those that ``masks`` keep.

    All layers are ranked together, but every slice first gets its own largest ``floor``. Where the floors alone are more than
    ``keep``, only they stay.
    """
    parts = []
    for name, w in weights.items():
        size = w.abs().double().masked_fill(~masks[name], -1.0)
        least = min(math.ceil(floor * w.shape[1]), int(masks[name].sum(1).min()))
        size.scatter_(1, size.topk(least, dim=1).indices, math.inf)
        parts.append(size)
    ranked = torch.cat([part.flatten() for part in parts])
    budget = max(round(keep * ranked.numel()), int(ranked.isinf().sum()))
    chosen = torch.zeros_like(ranked, dtype=torch.bool)
    chosen[ranked.topk(min(budget, int((ranked >= 0).sum()))).indices] = True
    rows = torch.split(chosen, [part.numel() for part in parts])
    return {name: flat.view_as(part) for name, flat, part in zip(weights, rows, parts, strict=True)}


def shuffled(masks: Masks, rng: torch.Generator) -> Masks:
    """Return masks that keep as many weights of every slice, drawn by chance."""
    return {
        name: torch.stack([row[torch.randperm(row.numel(), generator=rng)] for row in mask]) for name, mask in masks.items()
    }


@contextmanager
def held(model: nn.Module, masks: Masks) -> Iterator[Hooks]:
    """Put masked weights to zero and yield the hooks that keep them there.

    Their gradients are masked too, or weights that do not exist would have a say in the clipping of the others.
    """
    named = dict(model.named_parameters())
    pairs = [(named[name], mask.view_as(named[name]).to(named[name])) for name, mask in masks.items()]

    def enforce(_: nn.Module) -> None:
        with torch.no_grad():
            for weight, mask in pairs:
                weight.mul_(mask)

    enforce(model)
    handles = [weight.register_hook(mask.mul) for weight, mask in pairs]  # type: ignore[no-untyped-call]
    try:
        yield Hooks(after_step=enforce)
    finally:
        for handle in handles:
            handle.remove()


def kept(masks: Masks, targets: Sequence[str]) -> dict[str, float]:
    """Return the share that is kept of what belongs to all tasks (``shared``) and to each.

    A stack of T parts has one a target; one of T + 1, as in the splitter, has the shared part first.
    """
    sums: dict[str, list[int]] = {name: [0, 0] for name in ("shared", *targets)}
    for mask in masks.values():
        stacked = len(mask) in {len(targets), len(targets) + 1} and len(mask) > 1
        owners = ("shared", *targets)[-len(mask) :] if stacked else ("shared",) * len(mask)
        for owner, row in zip(owners, mask, strict=True):
            sums[owner][0] += int(row.sum())
            sums[owner][1] += row.numel()
    return {name: alive / size for name, (alive, size) in sums.items() if size}


# -------------------------------------------------------------------------------------------------------------- training
@dataclass(frozen=True)
class Ground:
    """What one network was trained on, and how: enough to train it again, bit for bit."""

    table: WindowTable
    fold: Fold
    scaler: Scaler
    training: TrainingSettings
    name: str
    settings: Any
    seed: int

    def fresh(self) -> nn.Module:
        """Return the network as it was before training."""
        return members.fresh(self.name, self.settings, spec_of(self.table), self.seed)

    def train(self, model: nn.Module, hooks: Hooks = NO_HOOKS) -> nn.Module:
        """Train a network in place; return it."""
        fit(model, TrainingData(self.table, self.fold, self.scaler, hooks), self.training, self.seed)
        return model

    def said(self, model: nn.Module) -> tuple[Fold, F64]:
        """Return the fold, and what a network says of its test windows."""
        return self.fold, predict(model, self.table, self.fold.test, self.scaler)

    def trained_and_start(self, rewind_epoch: int) -> tuple[nn.Module, State]:
        """Return the trained dense network, and its weights at the end of ``rewind_epoch`` epochs."""
        model = self.fresh()
        states = [_copy(model)]

        def note(row: dict[str, float]) -> None:
            if row["epoch"] < rewind_epoch:
                states.append(_copy(model))

        fit(model, TrainingData(self.table, self.fold, self.scaler), self.training, self.seed, on_epoch=note)
        return model, states[min(rewind_epoch, len(states) - 1)]


def _copy(model: nn.Module) -> State:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def ground_of(opened: Opened, fold: Fold, number: int) -> tuple[Ground, Member]:
    """Return what a network of a run was trained on, and the network; raise `DataError` where they do not belong together."""
    inner, member = opened.inner(fold, number), opened.member(fold, number)
    if not np.array_equal(np.sort(member.scaler.fitted_rows), np.sort(inner.train)):
        raise DataError(f"{member.name}: did not learn from the windows that its fold names; copy the run folder again")
    name, settings, training = members.settings(opened.recipe)
    seed = int(np.random.SeedSequence([fold.seed, fold.number, number]).generate_state(1)[0])
    return Ground(opened.table, inner, member.scaler, training, name, settings, seed), member


# ------------------------------------------------------------------------------------------------------------------ arms
@dataclass(frozen=True)
class Arm:
    """One way to have pruned a network."""

    label: str
    masks: Masks
    model: nn.Module


def arms(ground: Ground, s: PruneSettings) -> Iterator[Arm]:
    """Yield the dense network, the network after every round, and with ``compare`` the controls.

    - ``one-shot, as it is``: the trained network, pruned at once and not trained further;
    - ``one-shot, trained further``: the same, trained further with the settings of the run;
    - ``random``: the same number of weights, drawn by chance within every slice, from the same start. As good as the last
      round means that the sizes of weights told nothing beyond how many each layer needs;
    - ``none left``: no weight at all. What it can do is done by biases, norms, embeddings, linear skip and kernel.
    """
    dense, start = ground.trained_and_start(s.rewind_epoch)
    full = whole(dense)
    yield Arm(DENSE, full, dense)
    trained, masks = dense, full
    for number, share in enumerate(s.shares(), start=1):
        masks = cut(prunable(trained), masks, share, s.floor)
        trained = _from(ground, start, masks)
        yield Arm(f"round {number}", masks, trained)
    if not s.compare:
        return
    once = cut(prunable(dense), full, s.keep, s.floor)
    untouched = _loaded(ground, _copy(dense))
    with held(untouched, once):
        yield Arm("one-shot, as it is", once, untouched.eval())
    # The skip has learned already: a ridge would put it back to its start.
    further = replace(ground, training=replace(ground.training, skip_start="zero"))
    yield Arm("one-shot, trained further", once, _from(further, _copy(dense), once))
    drawn = shuffled(masks, torch.Generator().manual_seed(ground.seed))
    yield Arm("random", drawn, _from(ground, start, drawn))
    none = {name: torch.zeros_like(mask) for name, mask in masks.items()}
    yield Arm("none left", none, _from(ground, start, none))


def _loaded(ground: Ground, state: State) -> nn.Module:
    model = ground.fresh()
    model.load_state_dict(state)
    return model


def _from(ground: Ground, state: State, masks: Masks) -> nn.Module:
    model = _loaded(ground, state)
    with held(model, masks) as hooks:
        return ground.train(model, hooks)


def alone(ground: Ground) -> Ground | None:
    """Return the ground of the same network without linear skip and kernel; None where it has neither."""
    words = {"linear_skip": False, "kernel_landmarks": 0}
    known = {word: off for word, off in words.items() if getattr(ground.settings, word, off) != off}
    return replace(ground, settings=replace(ground.settings, **known)) if known else None


# ----------------------------------------------------------------------------------------------------------------- a run
def prune(
    run: Path, stores: Path, out: Path, settings: PruneSettings = USUAL, progress: Progress | None = None
) -> dict[str, Any]:
    """Prune the networks of a finished run and write a run folder with what is left; return what ``prune.json`` holds.

    Parameters
    ----------
    run, stores
        Folder of a run, and of the window stores that it was made from.
    out
        Folder to write: ``model/`` with the networks of the last round, ``prune.json``, ``prune.md``. The old run stays.
    settings, progress
        See `PruneSettings`. The callback is told the number of networks that are done, and of all.

    Returns
    -------
    dict
        ``variants``: for ``as trained`` and ``network alone`` (without linear skip and kernel) one row an arm (see `arms`),
        with the ``kept`` share of all, ``by_task``, and by target what `Judge.figures` tells, the dense network being the
        reference; ``prunable`` and ``parameters`` of a network; ``sentences``.

    Raises
    ------
    DataError, RecipeError
        The run cannot be opened with these stores or has no weights to prune; ``rewind_epoch`` is not before its last epoch.
    """
    opened = open_beside(run, stores, out)
    if settings.rewind_epoch >= opened.training.epochs:
        raise RecipeError(
            f"rewind_epoch {settings.rewind_epoch}: need less than the {opened.training.epochs} epochs of the run"
        )
    numbers = range(min(settings.members, opened.training.ensemble))
    opening = [ground_of(opened, fold, number) for fold in opened.folds for number in numbers]
    if not prunable(opening[0][1].model):
        raise DataError(f"{run}: its networks have no weights that can be pruned")
    grounds = {"as trained": [ground for ground, _ in opening]}
    apart = [other for ground, _ in opening if settings.compare and (other := alone(ground)) is not None]
    grounds |= {"network alone": apart} if apart else {}
    judge = Judge(opened.table, opened.folds, opened.training.balance_subjects)
    told: dict[str, Any] = {}
    done, total = 0, sum(len(each) for each in grounds.values())
    last: list[nn.Module] = []
    with one_thread():
        for variant, each in grounds.items():
            found: dict[str, list[tuple[Ground, Arm]]] = {}
            for ground in each:
                for arm in arms(ground, settings):
                    found.setdefault(arm.label, []).append((ground, arm))
                done += 1
                if progress is not None:
                    progress(done, total)
            told[variant] = _rows(judge, found)
            last = last or [arm.model for _, arm in found[f"round {len(settings.shares())}"]]
        made = [Made(m.name, g.name, net, g.fold, g.scaler) for (g, m), net in zip(opening, last, strict=True)]
        write_run(out, opened.recipe, opened.table, made)
        copy_facts(run, out)
    dense = opening[0][1].model
    content: dict[str, Any] = {
        "schema": 1, "run": run.name, "keep": settings.keep, "rewind_epoch": settings.rewind_epoch, "floor": settings.floor,
        "networks": len(opening), "people": judge.people, "variants": told,
        "prunable": sum(w.numel() for w in prunable(dense).values()), "parameters": sum(p.numel() for p in dense.parameters()),
    }  # fmt: skip
    content["sentences"] = sentences(content)
    folder.write_json(out / FILE, content)
    folder.write(out / "prune.md", "\n".join(in_words(content)) + "\n")
    return content


def _rows(judge: Judge, found: Mapping[str, Sequence[tuple[Ground, Arm]]]) -> list[dict[str, Any]]:
    said = {label: [ground.said(arm.model) for ground, arm in own] for label, own in found.items()}
    rows = []
    for label, own in found.items():
        masks = [arm.masks for _, arm in own]
        shares = [kept(one, judge.table.target_names) for one in masks]
        rows.append({
            "label": label,
            "kept": float(np.mean([_share(one) for one in masks])),
            "by_task": {name: float(np.mean([share[name] for share in shares])) for name in shares[0]},
            "targets": judge.figures(said[label], said[DENSE]),
        })  # fmt: skip
    return rows


def _share(masks: Masks) -> float:
    return sum(int(mask.sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())


# ----------------------------------------------------------------------------------------------------------------- words
def sentences(told: Mapping[str, Any]) -> list[str]:
    """Return what ``prune.json`` says, in words."""
    said = []
    for variant, rows in told["variants"].items():
        by = {row["label"]: row for row in rows}
        last = [row for row in rows if row["label"].startswith("round")][-1]
        costs = ", ".join(f"{name} {percent(each)}" for name, each in last["targets"].items())
        said.append(f"{variant}: {100 * last['kept']:.3g} % of the weights cost in MAE: {costs}.")
        for label, what in (("random", "as many drawn by chance"), ("none left", "no weight at all")):
            if label in by:
                costs = ", ".join(f"{name} {percent(each)}" for name, each in by[label]["targets"].items())
                said.append(f"{variant}: {what} cost {costs}; only what lies above this was gained by the weights that stayed.")
    skills = told["variants"]["as trained"][0]["targets"]
    poor = [name for name, each in skills.items() if each["skill"] < 0.1]
    if poor:
        said.append(
            f"The dense network is less than 10 % better than the training median for {', '.join(poor)}: little can be lost."
        )
    said.append("Pruned weights are zeros in dense files: by themselves neither the files get smaller nor the answers faster.")
    return said


def in_words(told: Mapping[str, Any]) -> list[str]:
    """Return ``prune.json`` as lines of Markdown: a table a variant, and the sentences."""
    lines = [f"# {told['run']}, pruned", ""]
    for variant, rows in told["variants"].items():
        targets = list(rows[0]["targets"])
        head = heads(targets)
        lines += [f"## {variant}", "", f"| | kept | {' | '.join(head)} | kept by task |", f"|---|{'---|' * (len(head) + 2)}"]
        for row in rows:
            tasks = ", ".join(f"{name} {100 * share:.3g} %" for name, share in row["by_task"].items())
            lines.append(f"| {row['label']} | {100 * row['kept']:.3g} % | {' | '.join(cells(row['targets']))} | {tasks} |")
        lines.append("")
    return [*lines, *(f"- {sentence}" for sentence in told["sentences"])]
