"""The training loop: early stopping on validation subjects, the same numbers for the same seed, resumable after a kill.

Nothing here reads a test window. A run that was killed and started again in the same folder ends with the very bits of one
that was not: everything that chance or an optimiser remembers is in the training state, written by rename after each epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from biosig_mtl.training.aggregation import AGGREGATORS
from biosig_mtl.training.batches import check_table, subject_weights
from biosig_mtl.training.compiling import Forward
from biosig_mtl.training.cosines import cosine_columns, fixed_positions, mean_cosines, measured
from biosig_mtl.training.descent import Descent
from biosig_mtl.training.distributed import ALONE, World
from biosig_mtl.training.distributed_batch import Given, Loader, Shared, digest_of, run_in_turns, start_together
from biosig_mtl.training.finishing import Side, remarks_on_epochs, set_beside
from biosig_mtl.training.flatness import Chance
from biosig_mtl.training.hooks import NO_HOOKS, Hooks
from biosig_mtl.training.independence import IndependenceTerm, ramp
from biosig_mtl.training.loading import ahead, at_once
from biosig_mtl.training.loading_order import order_of
from biosig_mtl.training.losses import Objective, mask_coverage
from biosig_mtl.training.optimiser import groups, rate
from biosig_mtl.training.precision import autocast, bf16_pays
from biosig_mtl.training.prediction import as_network, device_of, moved, predict, source_for
from biosig_mtl.training.remarks import target_remarks
from biosig_mtl.training.remembering import remembered, take_up
from biosig_mtl.training.scaling import Scaler
from biosig_mtl.training.scoring import validation_scores
from biosig_mtl.training.settings import TrainingSettings
from biosig_mtl.training.severity import Severity, has_raters
from biosig_mtl.training.skip_start import start_skip
from biosig_mtl.training.state import fingerprint, own_chance, read_state, write_state
from biosig_mtl.training.tally import Tally
from biosig_mtl.training.waveform import start_waveform, waveform_terms
from biosig_mtl.training.weighting import LossWeights
from biosig_mtl.types import F64, Batch, DataError, Fold, Output, WindowTable

__all__ = ["FitResult", "TrainingData", "fit", "predict"]

Row = dict[str, float]
OnEpoch = Callable[[Row], None]


@dataclass(frozen=True)
class TrainingData:
    """The table, which of its rows train and validate, the scaler that was fitted on the training rows, hooks, and the
    processes that train the network together.
    """

    table: WindowTable
    fold: Fold
    scaler: Scaler
    hooks: Hooks = NO_HOOKS
    world: World = ALONE


@dataclass(frozen=True)
class FitResult:
    """A trained network: ``state`` are the weights of ``best_epoch``; ``history`` has one row an epoch; ``warnings`` are
    sentences about what went wrong without stopping the run.
    """

    state: dict[str, Tensor]
    history: tuple[Row, ...]
    best_epoch: int
    best_score: float
    warnings: tuple[str, ...]


def fit(
    model: nn.Module,
    data: TrainingData,
    settings: TrainingSettings,
    seed: int,
    folder: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> FitResult:
    """Train a network in place and leave it with its best weights, in evaluation mode.

    Parameters
    ----------
    model
        A network of `biosig_mtl.models`, on the device to train on.
    data
        Table, fold and scaler.
    settings
        See `TrainingSettings`.
    seed
        Of data order, augmentation and dropout. The start of the weights is the caller's: seed torch before building.
    folder
        Where the training state lies. If one of the same run is there, training goes on from it.
    on_epoch
        Called with each row of the history.

    Raises
    ------
    DataError
        Where the table does not fit the network, the loss stops being finite, the folder holds another run, or one of several
        processes is lost or has other data.
    """
    world = data.world
    with own_chance(model, seed):
        run = _Run(model, data, settings, seed)
        keep = folder if world.leads else None
        state = world.same(None if keep is None else read_state(keep, run.fingerprint))
        if state is not None:
            take_up(run, state)
        run.settle()
        while not run.finished:
            row = run.one_epoch()
            world.agree("weights", lambda: digest_of(model))
            if keep is not None:
                write_state(keep, run.fingerprint, remembered(run))
            if on_epoch is not None:
                on_epoch(row)
    return run.result()


class _Run:
    """What a training run remembers."""

    def __init__(self, model: nn.Module, data: TrainingData, settings: TrainingSettings, seed: int) -> None:
        check_table(data.table, as_network(model).spec)
        table, fold, scaler = data.table, data.fold, data.scaler
        self.model, self.settings, self.scaler, self.hooks, self.world = model, settings, scaler, data.hooks, data.world
        self.fingerprint = fingerprint(settings, seed, fold)
        self.targets = tuple(table.target_names)
        self.spec = as_network(model).spec
        self.train = source_for([model], table, fold.train, scaler)
        self.train.weight = torch.from_numpy(subject_weights(table.subject[fold.train], settings.balance_subjects))
        if settings.waveform_weight:
            start_waveform(model, self.train, scaler)
        self.validation = source_for([model], table, fold.validation, scaler)
        self.seed, self.train_subject = seed, table.subject[fold.train]
        self.train_targets = scaler.targets(table.targets[fold.train])
        self.shared = Shared(data.world, settings)
        self.forward = Forward(model)
        self.validation_subject = table.subject[fold.validation]
        self.validation_targets = scaler.targets(table.targets[fold.validation])
        self.objective = Objective.fit(self.spec.head, settings.loss, self.train_targets, self.train.weight.numpy())
        device = device_of(model)
        self.severity = Severity(self.train_subject, self.spec.head).to(device) if has_raters(self.spec.head) else None
        self.rng = torch.Generator().manual_seed(seed)
        self.load = Loader(data.world, self.train, settings, self.spec, self.rng)
        as_network(model).answers.set_target_scale(torch.from_numpy(scaler.target_mean), torch.from_numpy(scaler.target_scale))
        if settings.skip_start == "ridge" and as_network(model).answers.skip is not None:
            start_skip(model, self.train, self.objective, self.train_subject, seed)
        start_together(data.world, model, self.fingerprint, self.train_targets)
        self.weights = LossWeights(settings.weighting, len(self.targets), settings.fixed_weights).to(device)
        self.term: IndependenceTerm | None = None
        self.optimiser = torch.optim.AdamW(groups(model, [self.weights, self.severity], settings), lr=settings.lr)
        self.trained = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.descent = self._make_descent()
        self.fixed = fixed_positions(len(self.train), settings.batch_size, seed)
        self.average = {n: p.detach().clone() for n, p in model.named_parameters()} if settings.average else {}
        self.epoch, self.step = 0, 0
        self.history: list[Row] = []
        self.best_epoch, self.best_score = -1, math.inf
        self.best: dict[str, Tensor] = {}
        self.bf16 = settings.amp == "bf16"
        self.compiled: bool | None = None
        self.told: list[str] = []

    def settle(self) -> None:
        """Choose what is tried out first, unless a state has told: precision, compiling, how chance is shared."""
        s, first = self.settings, torch.arange(min(len(self.train), self.settings.batch_size))
        if self.step == 0 and s.amp == "auto":
            self.bf16 = self.world.same(bf16_pays(self.model, moved(self.train.batch(first), self.model)))
        drawn = self.shared.prepare(self.model, self.train)
        if not self.finished and len(first):
            left = (s.epochs - self.epoch) * math.ceil(len(self.train) / s.batch_size)
            word = s.compile if self.compiled is None or s.compile == "off" else ("on" if self.compiled else "off")
            self.forward.settle(word, moved(self.shared.part(self.train, first), self.model), left, bf16=self.bf16)
        self.told += [said for said in (drawn, self.forward.remark) if said]

    def _make_descent(self) -> Descent | None:
        """Return what weighs gradients, None where the gradient of the plain total is all that is needed."""
        s = self.settings
        if s.weighting not in AGGREGATORS and not s.flat_radius:
            return None
        others = [p for other in (self.weights, self.severity) if other is not None for p in other.parameters()]
        return Descent(self.model, others, s.weighting, s.flat_radius, self.world.mean)

    @property
    def finished(self) -> bool:
        waited = self.epoch - 1 - self.best_epoch
        stop = bool(self.settings.patience) and len(self.validation) > 0 and waited >= self.settings.patience
        return self.epoch >= self.settings.epochs or (self.epoch > 0 and stop)

    def one_epoch(self) -> Row:
        """Train one epoch, validate, remember the best weights."""
        self.model.train()
        tally = Tally(len(self.targets))
        skipped = self.term.skipped if self.term is not None else 0
        with self._batches() as batches:
            for given in batches:
                self._step(self._with_severity(given), tally)
        self.weights.end_epoch(tally.losses())
        row = self._row(tally, skipped)
        self.epoch += 1
        self.history.append(row)
        return row

    def _batches(self) -> AbstractContextManager[Iterator[Given]]:
        """Return the batches of an epoch, made ahead by a thread where a network would wait for them."""
        word, on_gpu = self.settings.prefetch, device_of(self.model).type == "cuda"
        if word == "off" or (word == "auto" and not on_gpu):
            return nullcontext(at_once(self._order(), self.load))
        return ahead(self._order(), (lambda positions: self.load(positions).pinned()) if on_gpu else self.load)

    def _with_severity(self, given: Given) -> Given:
        given = given.placed(device_of(self.model))
        if self.severity is None:
            return given
        return replace(given, own=replace(given.own, offset=self.severity(given.positions[given.rows.run])))

    def _order(self) -> Iterable[Tensor]:
        order = self.hooks.order
        return (
            order_of(self.settings, len(self.train), self.rng) if order is None else order(self.settings.batch_size, self.rng)
        )

    def _step(self, given: Given, tally: Tally) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.lr * self._rate() * group["share"]
        chance = Chance(self.model) if self.settings.flat_radius else None
        with autocast(self.model, on=self.bf16):
            out, batch = self.shared(self.forward, given)
        losses, present = self._judge(out.predictions, out.logits, batch)
        tally.add_losses(losses, present)
        each = self.weights.each(losses, present)
        terms = list(self._terms(out, batch, tally))
        total: Tensor = sum(terms, start=each.sum())
        if not bool(torch.isfinite(total)):
            raise DataError(
                f"the loss is not finite in epoch {self.epoch}: lower training.lr, or look for extreme values in the inputs"
            )
        self.optimiser.zero_grad()
        if self.descent is None:
            total.backward()  # type: ignore[no-untyped-call]
            self.world.mean_gradients(self.trained)
        else:
            rest = torch.stack([term.to(each) for term in terms]).sum() if terms else None
            tally.cosines.append(self.descent(each, present, rest, lambda w: self._losses_at(w, given, chance)))
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip)
        self.optimiser.step()
        self.step += 1
        if self.hooks.after_step is not None:
            self.hooks.after_step(self.model)
        self._average()
        tally.add(total, norm, out.splits)

    def _losses_at(self, weights: Mapping[str, Tensor], given: Given, chance: Chance | None) -> Tensor:
        """Return the weighted losses (T,) of a batch as the network would have them with other weights, by the same chance."""
        assert chance is not None

        def forward(batch: Batch) -> Output:
            fixed = batch if batch.offset is None else replace(batch, offset=batch.offset.detach())
            out: Output = functional_call(self.model, dict(weights), (fixed,))
            return out

        with chance.again(), autocast(self.model, on=self.bf16):
            out, batch = self.shared(forward, given)
        return self.weights.each(*self._judge(out.predictions, out.logits, batch))

    def _terms(self, out: Output, batch: Batch, tally: Tally) -> Iterator[Tensor]:
        """Yield everything that is added to the losses of the targets."""
        s = self.settings
        if out.private is not None and s.private_head_weight:
            alone, _ = self._judge(out.private, out.private_logits, batch)
            yield s.private_head_weight * alone.sum()
        for i, early in enumerate(out.early if s.early_weight else ()):
            said, _ = self._judge(early, out.early_logits[i] if out.early_logits else None, batch)
            yield s.early_weight * said.sum()
        yield from waveform_terms(out, batch, s.waveform_weight)
        for extra in self.hooks.extra:
            yield extra(self.model, out, batch, self.epoch)
        if self.severity is not None and s.severity_ridge:
            yield s.severity_ridge * self.severity.penalty()
        if out.masks is not None and s.mask_coverage_weight and not getattr(self.model, "paper_mode", False):
            yield s.mask_coverage_weight * mask_coverage(out.masks.float())
        share = ramp(self.epoch, s.mi_ramp_epochs)
        if out.splits is not None and s.penalises_dependence and share > 0:
            dependence = self._dependence(out.splits)
            if dependence is not None:
                tally.dependence.append(float(dependence.detach()))
                yield s.mi_weight * share * dependence

    def _judge(self, predictions: Tensor, logits: Tensor | None, batch: Batch) -> tuple[Tensor, Tensor]:
        logits = logits.float() if logits is not None else None
        return self.objective(predictions.float(), logits, batch.targets, batch.weight)

    def _dependence(self, splits: Tensor) -> Tensor | None:
        if self.term is None:
            self.make_term(splits.shape[1], splits.shape[3])
        assert self.term is not None
        return self.term(splits)

    def make_term(self, splits: int, width: int) -> None:
        """Make the term that keeps so many splits of so many features apart."""
        self.term = IndependenceTerm(self.settings.mi, self.settings.mi_pairs, splits, width, device_of(self.model))

    def _rate(self) -> float:
        return rate(self.settings, self.step, len(self.train))

    def _average(self) -> None:
        # The average starts as the weights themselves and forgets that start, or a short run would keep its random beginning.
        decay = min(self.settings.average, self.step / (self.step + 10))
        with torch.no_grad():
            for name, p in self.model.named_parameters() if self.average else ():
                self.average[name].lerp_(p, 1.0 - decay)

    def _row(self, tally: Tally, skipped: int) -> Row:
        scores = self._validate()
        score = float(np.nanmean(scores)) if np.isfinite(scores).any() else math.nan
        if not math.isfinite(score) or score < self.best_score:  # without validation the last epoch is kept
            self.best_epoch, self.best_score = self.epoch, score if math.isfinite(score) else math.inf
            self.best = {k: v.detach().clone() for k, v in {**self.model.state_dict(), **self.average}.items()}
        row = {"epoch": float(self.epoch), "lr": self.settings.lr * self._rate(), "loss": tally.mean_total()}
        row |= {f"loss_{name}": float(x) for name, x in zip(self.targets, tally.losses(), strict=True)}
        row |= {"validation": score}
        row |= {f"validation_{name}": float(x) for name, x in zip(self.targets, scores, strict=True)}
        row |= cosine_columns(self.targets, self._cosines(tally))
        row |= {
            "mi": float(np.mean(tally.dependence)) if tally.dependence else math.nan,
            "mi_weight": self.settings.mi_weight * ramp(self.epoch, self.settings.mi_ramp_epochs),
            "mi_skipped": float((self.term.skipped if self.term is not None else 0) - skipped),
            "critic": self.term.critic_log_likelihood if self.term is not None else math.nan,
            "split_std": tally.split_std,
            "grad_norm": tally.mean_norm(),
        }
        return row

    def _cosines(self, tally: Tally) -> F64:
        """Return the cosines between the gradients of targets: of all steps where these had them, else on one fixed batch."""
        if self.descent is not None or len(self.targets) == 1:
            return mean_cosines(tally.cosines, len(self.targets))
        batch = self._with_severity(Given.alone(self.fixed, self.train.batch(self.fixed))).own

        def judge() -> tuple[Tensor, Tensor]:
            out: Output = self.model(batch)
            return self._judge(out.predictions, out.logits, batch)

        return measured(judge, self.model)

    def _validate(self) -> F64:
        if len(self.validation) == 0:
            return np.full(len(self.targets), np.nan)
        self.model.eval()
        predictions, logits = run_in_turns(self.world, self.validation, self._said)
        return validation_scores(self.objective, predictions, logits, self.validation_targets, self.validation_subject)

    def _said(self, batch: Batch) -> Output:
        here = moved(batch, self.model)
        out: Output = functional_call(self.model, self.average, (here,)) if self.average else self.model(here)
        return out

    def result(self) -> FitResult:
        """Put the best weights into the network and say what went wrong."""
        self.model.load_state_dict(self.best)
        self.model.eval()
        train = Side(self.train, self.train_targets, self.train_subject)
        set_beside(self.model, train, Side(self.validation, self.validation_targets, self.validation_subject), self.seed)
        state = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        return FitResult(state, tuple(self.history), self.best_epoch, self.best_score, self._warnings())

    def _warnings(self) -> tuple[str, ...]:
        told = list(self.told)
        if self.descent is not None and self.descent.skipped:
            told.append(
                f"weighting '{self.settings.weighting}' found no direction {self.descent.skipped} times: the sum was taken"
            )
        told += remarks_on_epochs(self.best_epoch, self.settings.epochs, validated=len(self.validation) > 0)
        known = self.validation_targets if len(self.validation) else None
        return (*told, *target_remarks(self.targets, self.spec.head, self.train_targets, known))
