"""Baselines that answer with a class and its probabilities."""

from __future__ import annotations

import numpy as np

from biosig_mtl.models.tabular import Choose, Known, Shown, design, stimulus_table, subject_folds
from biosig_mtl.types import F64

PENALTIES = np.logspace(1, -3, 5)
SEARCH_ROWS = 4000  # windows that the penalty is chosen on: neighbouring windows of a recording say nearly the same
STEPS = 200


def majority(known: Known) -> Choose:
    """Answer the commonest class of the training part, with the training shares as probabilities."""
    shares = _prior(known)

    def choose(shown: Shown) -> tuple[F64, F64]:
        return _likeliest(np.tile(shares, (len(shown.values), 1)))

    return choose


def class_prior(known: Known) -> Choose:
    """Answer a class drawn at random by the training shares, one draw a trial where trials are told, else one a window.

    One draw a window would, over the many windows of a trial, always average to the majority.
    """
    shares = _prior(known)
    seed = np.random.SeedSequence([known.seed, known.salt])

    def choose(shown: Shown) -> tuple[F64, F64]:
        n = len(shown.values)
        names, code = np.unique(shown.trial, return_inverse=True) if shown.trial.size else (np.arange(n), np.arange(n))
        drawn = np.random.default_rng(seed).choice(shares.size, size=len(names), p=shares)
        return drawn[code].astype(np.float64), np.tile(shares, (n, 1))

    return choose


def stimulus_classes(known: Known) -> Choose:
    """Answer the commonest class among the training windows of the same stimulus: no physiology at all."""
    look_up = stimulus_table(known, _one_hot(known))
    return lambda shown: _likeliest(look_up(shown))


def logistic(known: Known) -> Choose:
    """Multinomial logistic regression, its ridge penalty chosen by subject-grouped inner folds on the weighted log-loss."""
    prepared = design(known.values)
    x, hot, weight = prepared(known.values), _one_hot(known), _balanced(known)
    if (hot.sum(axis=0) > 0).sum() < 2:
        return majority(known)
    solved = _softmax_fit(x, hot, weight, np.array([_penalty(x, hot, weight, known)]))[0]
    return lambda shown: _likeliest(_softmax(prepared(shown.values), solved))


def boosting(known: Known) -> Choose:
    """Histogram gradient boosting on the log-loss; a modest forest, for sets of a few thousand windows."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    if np.unique(known.target).size < 2:
        return majority(known)
    model = HistGradientBoostingClassifier(
        learning_rate=0.06, max_iter=120, max_leaf_nodes=12, min_samples_leaf=20,
        l2_regularization=1.0, max_features=0.5, early_stopping=False, random_state=known.seed,
    )  # fmt: skip
    model.fit(known.values, known.target.astype(np.int64), sample_weight=_balanced(known))

    def choose(shown: Shown) -> tuple[F64, F64]:
        # A class that training never saw has no column of its own.
        shares = np.zeros((len(shown.values), known.head.classes))
        shares[:, np.asarray(model.classes_, dtype=np.int64)] = model.predict_proba(np.asarray(shown.values))
        return _likeliest(shares)

    return choose


def _likeliest(shares: F64) -> tuple[F64, F64]:
    return shares.argmax(axis=1).astype(np.float64), shares


def _one_hot(known: Known) -> F64:
    return np.asarray(known.target[:, None] == np.arange(known.head.classes), dtype=np.float64)


def _prior(known: Known) -> F64:
    shares = np.average(_one_hot(known), axis=0, weights=known.weight)
    return np.asarray(shares / shares.sum())


def _balanced(known: Known) -> F64:
    """Return the weights, with every class that occurs weighing the same where the head says so (as the networks' losses)."""
    if not known.head.balanced:
        return known.weight
    code = known.target.astype(np.int64)
    total = np.bincount(code, known.weight, minlength=known.head.classes)
    return np.asarray(known.weight * (known.weight.sum() / (total > 0).sum() / np.where(total > 0, total, 1.0))[code])


def _penalty(x: F64, hot: F64, weight: F64, known: Known) -> float:
    rows = np.arange(0, len(x), max(1, -(-len(x) // SEARCH_ROWS)))
    x, hot, weight = x[rows], hot[rows], weight[rows]
    fold = subject_folds(known.subject[rows], known.seed)
    if fold.max() == 0:
        return float(PENALTIES[0])
    loss = np.zeros(PENALTIES.size)
    for k in range(fold.max() + 1):
        fit_part, held = fold != k, fold == k
        for i, solved in enumerate(_softmax_fit(x[fit_part], hot[fit_part], weight[fit_part], PENALTIES)):
            likely = (_softmax(x[held], solved) * hot[held]).sum(axis=1)
            loss[i] -= (np.log(np.maximum(likely, 1e-9)) * weight[held]).sum()
    return float(PENALTIES[int(np.argmin(loss))])


def _softmax_fit(x: F64, hot: F64, weight: F64, penalties: F64) -> list[F64]:
    """Return offsets and slopes (1 + feature, class) for each penalty, from strong to weak, each starting at the last one.

    Minimises mean weighted log-loss + penalty/2 · Σ slopes² by L-BFGS; offsets are free.
    """
    from scipy.optimize import minimize

    share = (weight / weight.sum())[:, None]
    shape = (x.shape[1] + 1, hot.shape[1])
    start = np.zeros(shape)
    start[0] = np.log(np.maximum((share * hot).sum(axis=0), 1e-4))

    def loss(flat: F64, penalty: float) -> tuple[float, F64]:
        w = flat.reshape(shape)
        likely = _softmax(x, w)
        off = share * (likely - hot)
        slope = np.concatenate([off.sum(axis=0)[None], x.T @ off + penalty * w[1:]])
        size = -(share[:, 0] * np.log(np.maximum((likely * hot).sum(axis=1), 1e-300))).sum()
        return float(size + penalty / 2 * (w[1:] ** 2).sum()), slope.ravel()

    found = []
    for penalty in penalties:
        told = minimize(loss, start.ravel(), args=(float(penalty),), jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
        start = np.asarray(told.x, dtype=np.float64).reshape(shape)
        found.append(start)
    return found


def _softmax(x: F64, weights: F64) -> F64:
    score = x @ weights[1:] + weights[0]
    raised = np.exp(score - score.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
