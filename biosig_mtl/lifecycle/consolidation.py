"""What keeps a network from forgetting old tasks while it learns a new one: terms for `biosig_mtl.training.hooks.Hooks`.

Elastic weight consolidation (Kirkpatrick et al., PNAS 114, 2017, eq. 3) takes what the old tasks taught as a Gaussian prior on
the weights, which is also the reading of "Statistical mechanics of continual learning" (the posterior of the old tasks is the
prior of the new one):

    ½ λ Σ_i F_i (θ_i − θ*_i)²,    F the diagonal of the Fisher information at θ*

Rehearsal shows some old windows again, with their old labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from biosig_mtl.models.extension import Extended
from biosig_mtl.training import Scaler, TrainingSettings, subject_weights
from biosig_mtl.training.batches import BatchSource
from biosig_mtl.training.hooks import NO_HOOKS, Hooks
from biosig_mtl.training.losses import Objective
from biosig_mtl.training.prediction import as_network, moved, source_for
from biosig_mtl.types import Batch, Fold, Output, WindowTable

How = Literal["frozen", "ewc", "rehearsal", "joint"]
HOWS: tuple[How, ...] = ("frozen", "ewc", "rehearsal", "joint")
FISHER_WINDOWS = 256


@dataclass(frozen=True)
class AddSettings:
    """How a target is added.

    ``strength`` is λ of ``ewc``; ``buffer`` the number of old windows that ``rehearsal`` may show; ``members`` how many
    networks of each fold are extended, 0 = all. ``compare`` trains a joint network beside each.
    """

    how: How = "frozen"
    strength: float = 10.0
    buffer: int = 256
    members: int = 0
    compare: bool = True

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.how not in HOWS:
            raise ValueError(f"need how in {', '.join(HOWS)}, got {self.how}")
        if self.strength < 0.0 or self.buffer < 1 or self.members < 0:
            raise ValueError(
                f"need strength >= 0, buffer >= 1 and members >= 0, got {self.strength:g}, {self.buffer}, {self.members}"
            )


def fisher(model: nn.Module, source: BatchSource, rng: torch.Generator, windows: int = FISHER_WINDOWS) -> dict[str, Tensor]:
    """Return the diagonal of the Fisher information of every weight, by name, as a mean over windows of the training part.

    A window's labels are drawn from what the network itself says of them: a normal distribution of variance 1 in scaled units
    about a number, the predicted shares of classes. With the real labels the figure would vanish just where the fit is good
    (Kunstner et al., NeurIPS 2019). Each window is a pass of its own; at most ``windows`` of them are taken, at random. The
    network is left in the mode it was in.

    Parameters
    ----------
    model
        A trained network.
    source
        Windows that it learned from; of their labels only the places of unknown ones are looked at: what was never known
        taught nothing.
    rng
        Of the windows and of the labels.
    windows
        How many windows to take.
    """
    was = model.training
    model.eval()
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    total = {name: torch.zeros_like(p) for name, p in named.items()}
    some = torch.randperm(len(source), generator=rng)[:windows]
    for position in some:
        batch = moved(source.batch(position[None]), model)
        surprise = _surprise(model(batch), batch, as_network(model).spec.head, rng)
        found = torch.autograd.grad(surprise, list(named.values()), allow_unused=True)
        for name, slope in zip(named, found, strict=True):
            if slope is not None:
                total[name] += slope.square()
    model.train(was)
    return {name: value / max(len(some), 1) for name, value in total.items()}


def _surprise(out: Output, batch: Batch, heads: Iterable[object], rng: torch.Generator) -> Tensor:
    """Return −log p of labels that are drawn from the network's own answer to one window."""
    known = torch.isfinite(batch.targets[0])
    terms = out.predictions.sum() * 0.0
    for t, head in enumerate(heads):
        classes = int(getattr(head, "classes", 0))
        if not known[t]:
            continue
        if classes and out.logits is not None:
            logs = torch.log_softmax(out.logits[0, t, :classes].float(), dim=0)
            drawn = torch.multinomial(logs.detach().exp().cpu(), 1, generator=rng)
            terms = terms - logs[drawn.to(logs.device)].sum()
        else:
            said = out.predictions[0, t].float()
            # The drawn label is said + ε: half of the squared error has the slope −ε ∂said.
            terms = terms - float(torch.randn((), generator=rng)) * said
    return terms


class Consolidation:
    """½ λ Σ F (θ − θ*)² over the weights that ``fisher`` names, held at where they are now; a term of `Hooks.extra`."""

    def __init__(self, old: nn.Module, fisher: Mapping[str, Tensor], strength: float) -> None:
        if strength < 0.0:
            raise ValueError(f"need strength >= 0, got {strength}")
        named = dict(old.named_parameters())
        self.strength = strength
        self.held = [(named[name], named[name].detach().clone(), weight) for name, weight in fisher.items()]

    def __call__(self, model: nn.Module, out: Output, batch: Batch, epoch: int) -> Tensor:
        """Return the penalty (), zero where no weight has moved."""
        del model, batch, epoch
        total = out.predictions.new_zeros(())
        for weight, star, importance in self.held:
            total = total + (importance * (weight - star).square()).sum()
        return 0.5 * self.strength * total


@dataclass(frozen=True)
class Rehearsed:
    """What is rehearsed: ``source`` are old windows with their old labels, NaN where unknown, and ``objective`` judges them."""

    source: BatchSource
    objective: Objective
    batch_size: int
    private_weight: float


class Rehearsal:
    """The loss of the old network on old windows, drawn anew for every step; a term of `Hooks.extra`."""

    def __init__(self, old: nn.Module, what: Rehearsed, rng: torch.Generator) -> None:
        if not len(what.source):
            raise ValueError("need windows to rehearse, got none")
        self.old, self.what, self.rng = old, what, rng

    def __call__(self, model: nn.Module, out: Output, batch: Batch, epoch: int) -> Tensor:
        """Return the sum (), over old tasks, of their loss on a batch of old windows, with that of their private heads."""
        del model, out, batch, epoch
        w = self.what
        some = torch.randperm(len(w.source), generator=self.rng)[: w.batch_size]
        given = moved(w.source.batch(some), self.old)
        said: Output = self.old(given)
        total = w.objective(said.predictions.float(), _float(said.logits), given.targets, given.weight)[0].sum()
        if said.private is not None and w.private_weight:
            alone = w.objective(said.private.float(), _float(said.private_logits), given.targets, given.weight)[0]
            total = total + w.private_weight * alone.sum()
        return total


def _float(logits: Tensor | None) -> Tensor | None:
    return None if logits is None else logits.float()


@dataclass(frozen=True)
class OldTasks:
    """What the old tasks were learned from: ``table`` has the old targets only."""

    table: WindowTable
    fold: Fold
    scaler: Scaler
    training: TrainingSettings


def keeping(whole: Extended, old: OldTasks, settings: AddSettings, seed: int) -> Hooks:
    """Return what keeps the old tasks of a network while its last one is learned: nothing where it is frozen.

    The buffer of a rehearsal is drawn from the training windows, each person having the say that training gives them.
    """
    rng, rows, training = torch.Generator().manual_seed(seed), old.fold.train, old.training
    if settings.how == "ewc":
        weigh = fisher(whole.old, source_for([whole], old.table, rows, old.scaler), rng)
        return Hooks(extra=(Consolidation(whole.old, weigh, settings.strength),))
    if settings.how != "rehearsal":
        return NO_HOOKS
    say = subject_weights(old.table.subject[rows], training.balance_subjects).astype(np.float64)
    objective = Objective.fit(whole.old.spec.head, training.loss, old.scaler.targets(old.table.targets[rows]), say)
    size = min(settings.buffer, rows.size)
    chosen = np.random.default_rng(seed).choice(rows, size, replace=False, p=say / say.sum())
    source = source_for([whole], old.table, np.sort(chosen), old.scaler)
    what = Rehearsed(source, objective, training.batch_size, training.private_head_weight)
    return Hooks(extra=(Rehearsal(whole.old, what, rng),))
