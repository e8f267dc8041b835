"""The training loop: early stopping on validation subjects, the same numbers for the same seed, resumable after a kill.

Nothing here reads a test window. A run that was killed and started again in the same folder ends with the very bits of one
that was not: everything that chance or an optimiser remembers is in the training state, written by rename after each epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from biosig_mtl.training.aggregation import AGGREGATORS
from biosig_mtl.training.batches import check_table, shuffled, subject_weights
from biosig_mtl.training.cosines import cosine_columns, fixed_positions, mean_cosines, measured
from biosig_mtl.training.descent import Descent
from biosig_mtl.training.flatness import Chance
from biosig_mtl.training.hooks import NO_HOOKS, Hooks
from biosig_mtl.training.independence import IndependenceTerm, ramp
from biosig_mtl.training.kernel import choose_share, fit_kernel
from biosig_mtl.training.losses import Objective, mask_coverage
from biosig_mtl.training.optimiser import groups, rate
from biosig_mtl.training.precision import autocast, bf16_pays
from biosig_mtl.training.prediction import EVALUATION_BATCH, as_network, device_of, moved, predict, source_for
from biosig_mtl.training.remarks import target_remarks
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
    """The table, which of its rows train and validate, the scaler that was fitted on the training rows, and hooks."""

    table: WindowTable
    fold: Fold
    scaler: Scaler
    hooks: Hooks = NO_HOOKS


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
        Where the table does not fit the network, the loss stops being finite, or the folder holds another run.
    """
    with own_chance(model, seed):
        run = _Run(model, data, settings, seed)
        if folder is not None and (state := read_state(folder, run.fingerprint)) is not None:
            run.load_state_dict(state)
        while not run.finished:
            row = run.one_epoch()
            if folder is not None:
                write_state(folder, run.fingerprint, run.state_dict())
            if on_epoch is not None:
                on_epoch(row)
    return run.result()


class _Run:
    """What a training run remembers."""

    def __init__(self, model: nn.Module, data: TrainingData, settings: TrainingSettings, seed: int) -> None:
        check_table(data.table, as_network(model).spec)
        table, fold, scaler = data.table, data.fold, data.scaler
        self.model, self.settings, self.scaler, self.hooks = model, settings, scaler, data.hooks
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
        self.validation_subject = table.subject[fold.validation]
        self.validation_targets = scaler.targets(table.targets[fold.validation])
        self.objective = Objective.fit(self.spec.head, settings.loss, self.train_targets, self.train.weight.numpy())
        device = device_of(model)
        self.severity = Severity(self.train_subject, self.spec.head).to(device) if has_raters(self.spec.head) else None
        self.rng = torch.Generator().manual_seed(seed)
        as_network(model).answers.set_target_scale(torch.from_numpy(scaler.target_mean), torch.from_numpy(scaler.target_scale))
        if settings.skip_start == "ridge" and as_network(model).answers.skip is not None:
            start_skip(model, self.train, self.objective, self.train_subject, seed)
        self.weights = LossWeights(settings.weighting, len(self.targets), settings.fixed_weights).to(device)
        self.term: IndependenceTerm | None = None
        self.optimiser = torch.optim.AdamW(groups(model, [self.weights, self.severity], settings), lr=settings.lr)
        self.descent = self._make_descent()
        self.fixed = fixed_positions(len(self.train), settings.batch_size, seed)
        self.average = {n: p.detach().clone() for n, p in model.named_parameters()} if settings.average else {}
        self.epoch, self.step = 0, 0
        self.history: list[Row] = []
        self.best_epoch, self.best_score = -1, math.inf
        self.best: dict[str, Tensor] = {}
        self.bf16 = settings.amp == "bf16"
        if settings.amp == "auto":
            self.bf16 = bf16_pays(
                model, moved(self.train.batch(torch.arange(min(len(self.train), settings.batch_size))), model)
            )

    def _make_descent(self) -> Descent | None:
        """Return what weighs gradients, None where the gradient of the plain total is all that is needed."""
        s = self.settings
        if s.weighting not in AGGREGATORS and not s.flat_radius:
            return None
        others = [p for other in (self.weights, self.severity) if other is not None for p in other.parameters()]
        return Descent(self.model, others, s.weighting, s.flat_radius)

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
        for positions in self._order():
            batch = self.settings.augmentation.apply(self.train.batch(positions), self.rng, self.spec)
            self._step(self._with_severity(batch, positions), tally)
        self.weights.end_epoch(tally.losses())
        row = self._row(tally, skipped)
        self.epoch += 1
        self.history.append(row)
        return row

    def _with_severity(self, batch: Batch, positions: Tensor) -> Batch:
        batch = moved(batch, self.model)
        return batch if self.severity is None else replace(batch, offset=self.severity(positions))

    def _order(self) -> Iterable[Tensor]:
        order = self.hooks.order
        size = self.settings.batch_size
        return shuffled(len(self.train), size, self.rng) if order is None else order(size, self.rng)

    def _step(self, batch: Batch, tally: Tally) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.lr * self._rate() * group["share"]
        chance = Chance(self.model) if self.settings.flat_radius else None
        with autocast(self.model, on=self.bf16):
            out: Output = self.model(batch)
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
        else:
            rest = torch.stack([term.to(each) for term in terms]).sum() if terms else None
            tally.cosines.append(self.descent(each, present, rest, lambda w: self._losses_at(w, batch, chance)))
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip)
        self.optimiser.step()
        self.step += 1
        if self.hooks.after_step is not None:
            self.hooks.after_step(self.model)
        self._average()
        tally.add(total, norm, out.splits)

    def _losses_at(self, weights: Mapping[str, Tensor], batch: Batch, chance: Chance | None) -> Tensor:
        """Return the weighted losses (T,) of a batch as the network would have them with other weights, by the same chance."""
        assert chance is not None
        fixed = batch if batch.offset is None else replace(batch, offset=batch.offset.detach())
        with chance.again(), autocast(self.model, on=self.bf16):
            out: Output = functional_call(self.model, dict(weights), (fixed,))
        return self.weights.each(*self._judge(out.predictions, out.logits, fixed))

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
            self.term = self._make_term(splits.shape[1], splits.shape[3])
        return self.term(splits)

    def _make_term(self, splits: int, width: int) -> IndependenceTerm:
        return IndependenceTerm(self.settings.mi, self.settings.mi_pairs, splits, width, device_of(self.model))

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
        batch = self._with_severity(self.train.batch(self.fixed), self.fixed)

        def judge() -> tuple[Tensor, Tensor]:
            out: Output = self.model(batch)
            return self._judge(out.predictions, out.logits, batch)

        return measured(judge, self.model)

    def _validate(self) -> F64:
        if len(self.validation) == 0:
            return np.full(len(self.targets), np.nan)
        self.model.eval()
        parts, logits = [], []
        with torch.inference_mode():
            for batch in self.validation.in_order(EVALUATION_BATCH):
                here = moved(batch, self.model)
                out: Output = functional_call(self.model, self.average, (here,)) if self.average else self.model(here)
                parts.append(out.predictions.float().cpu())
                logits += [out.logits.float().cpu()] if out.logits is not None else []
        told = torch.cat(logits) if logits else None
        return validation_scores(self.objective, torch.cat(parts), told, self.validation_targets, self.validation_subject)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs to end with the same bits."""
        device = device_of(self.model)
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "weights": self.weights.state_dict(),
            "severity": self.severity.state_dict() if self.severity is not None else None,
            "term": self.term.state_dict() if self.term is not None else None,
            "descent": self.descent.state_dict() if self.descent is not None else None,
            "average": self.average,
            "best": self.best,
            "numbers": [self.epoch, self.step, self.best_epoch, self.best_score, self.bf16],
            "history": self.history,
            "order": self.rng.get_state(),
            "chance": torch.get_rng_state(),
            "device_chance": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where `state_dict` was made."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.weights.load_state_dict(state["weights"])
        if self.severity is not None:
            self.severity.load_state_dict(state["severity"])
        if state["term"] is not None:
            self.term = self._make_term(state["term"]["splits"], state["term"]["width"])
            self.term.load_state_dict(state["term"])
        if self.descent is not None:
            self.descent.load_state_dict(state["descent"])
        device = device_of(self.model)
        self.average = {k: v.to(device) for k, v in state["average"].items()}
        self.best, self.history = state["best"], state["history"]
        self.epoch, self.step, self.best_epoch, self.best_score, self.bf16 = state["numbers"]
        self.rng.set_state(state["order"])
        torch.set_rng_state(state["chance"])
        if state["device_chance"] is not None:
            torch.cuda.set_rng_state(state["device_chance"], device)

    def result(self) -> FitResult:
        """Put the best weights into the network and say what went wrong."""
        self.model.load_state_dict(self.best)
        self.model.eval()
        self._set_beside()
        state = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        return FitResult(state, tuple(self.history), self.best_epoch, self.best_score, self._warnings())

    def _set_beside(self) -> None:
        """Fit the kernel beside the network, if it has one, and its share of the prediction."""
        kernel = getattr(self.model, "beside", None)
        if kernel is None or len(self.validation) == 0:
            return
        values = self.train.linear_inputs()[0][:, : kernel.landmarks.shape[1]]
        truth = self.train_targets.astype(np.float64)
        with torch.no_grad():
            fit_kernel(kernel, values.cpu(), truth, self.train_subject, self.train.weight.double().numpy(), self.seed)
            batches = (moved(b, self.model) for b in self.validation.in_order(EVALUATION_BATCH))
            parts = [(self.model(b).predictions, kernel(b)) for b in batches]
            network, beside = (torch.cat(side).double().cpu().numpy() for side in zip(*parts, strict=True))
            shares = choose_share(network, beside, self.validation_targets.astype(np.float64), self.validation_subject)
            kernel.share.copy_(torch.from_numpy(shares))

    def _warnings(self) -> tuple[str, ...]:
        told = []
        if self.descent is not None and self.descent.skipped:
            told.append(
                f"weighting '{self.settings.weighting}' found no direction {self.descent.skipped} times: the sum was taken"
            )
        if len(self.validation) == 0:
            told.append("no validation windows: the last epoch was kept, and no kernel stands beside the network")
        elif self.best_epoch == self.settings.epochs - 1 > 0:
            told.append(f"the last epoch ({self.best_epoch}) was the best: train longer")
        known = self.validation_targets if len(self.validation) else None
        return (*told, *target_remarks(self.targets, self.spec.head, self.train_targets, known))
