"""How far answers spread, and whether that spread can be believed: MC dropout, deep ensembles, and the check of both.

MC dropout (Gal & Ghahramani 2016, ICML, §4): dropout stays on while predicting, and the answers of many passes are samples.
Deep ensembles (Lakshminarayanan et al. 2017, NeurIPS, §2.4): networks with other starts answer, and the mixture is taken as
normal; ours say one number, so the variance that each of theirs also says is missing.

Both tell how much the *networks* do not know. Neither tells how much a person's blood pressure differs from what the inputs
can tell, which is most of the error on new people: by themselves such intervals are too narrow. `residual_sd` adds that part,
as the inverse precision 1/τ does in Gal & Ghahramani. Ours: it is measured on held-out windows with each subject alike; and
coverage is the mean over subjects, because windows of one person are wrong together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from biosig_mtl.training.batches import check_table
from biosig_mtl.training.checkpoint import Member
from biosig_mtl.training.prediction import EVALUATION_BATCH, as_network, moved, predict, source_for
from biosig_mtl.training.scaling import Scaler
from biosig_mtl.training.state import own_chance
from biosig_mtl.types import F64, I64, Batch, RecipeError, WindowTable

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
NOMINAL = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Spread:
    """What several answers to the same windows have in common, in the unit of the target (class numbers for heads of classes).

    ``mean`` and ``sd`` are (n, T), sd with the divisor S − 1 of S answers; ``quantiles`` (level, n, T) are those of the
    answers at ``levels``, interpolated linearly.
    """

    mean: F64
    sd: F64
    levels: tuple[float, ...]
    quantiles: F64

    def interval(self, level: float, noise: F64 | None = None) -> tuple[F64, F64]:
        """Return both ends (n, T) of the normal interval that should hold a share ``level`` of the truths.

        ``noise`` (T,) is the standard deviation of what no answer can know, see `residual_sd`; None leaves it out.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"need 0 < level < 1, got {level}")
        z = NormalDist().inv_cdf(0.5 + 0.5 * level)
        half = z * np.sqrt(self.sd**2 + (0.0 if noise is None else np.square(noise)))
        return self.mean - half, self.mean + half


def spread_of(answers: F64, levels: tuple[float, ...] = LEVELS) -> Spread:
    """Return the spread of answers (S, n, T); raise `ValueError` for fewer than two."""
    if answers.ndim != 3 or len(answers) < 2:
        raise ValueError(f"need answers (S, n, T) with S >= 2, got {answers.shape}")
    return Spread(answers.mean(axis=0), answers.std(axis=0, ddof=1), levels, np.quantile(answers, levels, axis=0))


# ------------------------------------------------------------------------------------------------------------- two spreads
def predict_mc(
    models: nn.Module | Sequence[nn.Module], table: WindowTable, rows: I64, scaler: Scaler, passes: int = 30, seed: int = 0
) -> Spread:
    """Return the spread of predictions with dropout left on.

    Parameters
    ----------
    models
        Networks with dropout. Of several, all passes of all networks count alike. They are left in evaluation mode.
    table, rows, scaler
        As for `biosig_mtl.training.predict`.
    passes
        Of each network, at least 2.
    seed
        Of dropout: the same rows, models and seed give the same numbers. Torch's own generator is left as it was.

    Returns
    -------
    Spread
        Everything but dropout works as in evaluation: no augmentation, no noise in masks; a kernel ridge beside the network
        takes part and, having no dropout, narrows the spread.

    Raises
    ------
    RecipeError
        A network has no dropout: all passes would be the same.
    DataError
        The table does not fit the network.
    """
    if passes < 2:
        raise ValueError(f"need passes >= 2, got {passes}")
    members = [models] if isinstance(models, nn.Module) else list(models)
    drawn = []
    for number, model in enumerate(members):
        check_table(table, as_network(model).spec)
        batches = source_for([model], table, rows, scaler).in_order(EVALUATION_BATCH)
        with own_chance(model, seed + number), _dropping(model), torch.inference_mode():
            drawn.append(scaler.unscale(_passes(model, batches, passes)))
    return spread_of(np.concatenate(drawn))


def _passes(model: nn.Module, batches: Iterable[Batch], passes: int) -> F64:
    """Return scaled predictions (pass, n, T)."""
    told = []
    for batch in batches:
        here = moved(batch, model)
        told.append(torch.stack([model(here).predictions.double().cpu() for _ in range(passes)]))
    return np.asarray(torch.cat(told, dim=1).numpy())


@contextmanager
def _dropping(model: nn.Module) -> Iterator[None]:
    """Switch dropout on and nothing else, and off again."""
    layers = [m for m in model.modules() if "Dropout" in type(m).__name__ and _share(m) > 0]
    if not layers:
        raise RecipeError("MC dropout needs model.dropout > 0: without dropout all passes are the same")
    model.eval()
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        model.eval()


def _share(layer: nn.Module) -> float:
    return float(getattr(layer, "p", getattr(layer, "share", 0.0)))


def predict_ensemble(members: Sequence[Member], table: WindowTable, rows: I64) -> Spread:
    """Return the spread of networks that were trained apart, each with its own scaler; at least two.

    Give members that did not learn from ``rows``: those of the fold that tests them.
    """
    return spread_of(np.stack([predict(member.model, table, rows, member.scaler) for member in members]))


# --------------------------------------------------------------------------------------------------------------- the check
@dataclass(frozen=True)
class Calibration:
    """What intervals of one nominal level hold: ``coverage`` (T,), the mean over subjects of the share of their windows whose
    truth is inside, NaN where none is known; ``width`` (T,), the mean over windows, in the unit of the target.
    """

    level: float
    coverage: F64
    width: F64


def calibration(
    spread: Spread, truth: NDArray[np.floating], subject: NDArray[np.str_], noise: F64 | None = None
) -> tuple[Calibration, ...]:
    """Compare nominal levels of 50, 80, 90 and 95 % with what the intervals hold.

    ``truth`` (n, T) is in the unit of the target, NaN where unknown; ``subject`` (n,); ``noise`` (T,) as in `Spread.interval`.
    """
    made = []
    for level in NOMINAL:
        low, high = spread.interval(level, noise)
        made.append(Calibration(level, coverage(low, high, truth, subject), (high - low).mean(axis=0)))
    return tuple(made)


def coverage(low: F64, high: F64, truth: NDArray[np.floating], subject: NDArray[np.str_]) -> F64:
    """Return the share of truths inside their intervals, all (n, T): windows of a subject first, then subjects alike; (T,)."""
    return _by_subject(((low <= truth) & (truth <= high)).astype(np.float64), np.isfinite(truth), subject)


def residual_sd(spread: Spread, truth: NDArray[np.floating], subject: NDArray[np.str_]) -> F64:
    """Return the standard deviation (T,) of what the answers do not know about, in the unit of the target.

    √ of the mean squared error that the spread does not account for, mean over subjects of (truth − mean)² − sd², at least 0.
    Windows must be neither learned from nor tested: validation windows, as for the split-conformal width of a run.
    """
    known = np.isfinite(truth)
    unexplained = np.where(known, truth - spread.mean, 0.0) ** 2 - spread.sd**2
    return np.asarray(np.sqrt(np.maximum(_by_subject(unexplained, known, subject), 0.0)))


def _by_subject(values: F64, known: NDArray[np.bool_], subject: NDArray[np.str_]) -> F64:
    people, code = np.unique(subject, return_inverse=True)
    member = (code[:, None] == np.arange(people.size)).astype(np.float64)
    count, total = member.T @ known, member.T @ np.where(known, values, 0.0)
    told = count > 0
    return np.asarray(
        np.where(told, total / np.where(told, count, 1.0), 0.0).sum(axis=0)
        / np.where(told.any(axis=0), told.sum(axis=0), np.nan)
    )
