"""The audit: questions that a run must answer before its numbers may be believed.

Each question is a `Check` with counts in its sentence. Evidence that was not handed over fails the check that needs it: what
nobody looked at has not been shown. Only the negative control may be missing (it costs a second training); then there is no
such check, and the report says that it was not run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.evaluation import duplicates, promises
from biosig_mtl.evaluation.controls import Control as Control
from biosig_mtl.evaluation.evidence import Evidence as Evidence
from biosig_mtl.evaluation.evidence import Fitted as Fitted
from biosig_mtl.evaluation.evidence import Inputs as Inputs
from biosig_mtl.evaluation.promises import Spans as Spans
from biosig_mtl.evaluation.promises import spans_of as spans_of
from biosig_mtl.types import I64, Check

PARTS = ("train", "validation", "calibration", "test")
NOT_INDEPENDENT = "not subject-independent"
# Names that come from the reference or from its alignment with the inputs, whatever the task.
_BARRED = frozenset({"map", "lag", "lag_samples", "lag_s", "lag_method", "ppg_abp_corr", "cal_sbp", "cal_dbp", "label"})


def run(evidence: Evidence, rng: np.random.Generator) -> tuple[Check, ...]:
    """Answer every question; ``rng`` draws the sample where there are too many windows to compare all waveforms."""
    checks = [
        split_scheme(evidence),
        subject_overlap(evidence),
        subject_level(evidence),
        equal_windows(evidence),
        near_equal_windows(evidence),
        near_equal_waveforms(evidence, rng),
        fitted_outside_training(evidence),
        barred_inputs(evidence),
        predictions_complete(evidence),
    ]
    if evidence.guarantee is not None:
        checks.insert(2, protocol_guarantee(evidence))
    if evidence.guarantee is not None or evidence.trial is not None:
        checks.insert(2, trial_overlap(evidence))
    if evidence.negative_control:
        checks.append(negative_control(evidence))
    if evidence.mase:
        checks.append(too_good(evidence))
    return tuple(checks)


def split_scheme(evidence: Evidence) -> Check:
    """Refuse the labelled leak demonstration: its numbers may be shown, never believed."""
    leaky = [fold for fold in evidence.folds if fold.leaky]
    if not leaky:
        return _passed("split_scheme", f"none of {len(evidence.folds)} folds is a random-window split")
    shared: set[str] = set()
    for fold in leaky:
        shared |= set(evidence.subject[fold.train]) & set(evidence.subject[fold.test])
    everyone = np.unique(np.concatenate([evidence.subject[np.concatenate([f.train, f.test])] for f in leaky])).size
    detail = f"random-window split: windows of {len(shared)} of {everyone} subjects are in both train and test"
    return _failed("split_scheme", f"{detail} — a labelled leak demonstration")


def subject_overlap(evidence: Evidence) -> Check:
    """No subject in two parts of a fold; calibration windows belong to test subjects but are never test windows.

    A protocol that does not promise new people may test those that it has learned from; the answer then says so.
    """
    names, code = np.unique(evidence.subject, return_inverse=True)
    twice = np.zeros(names.size, bool)
    rows = 0
    for fold in evidence.folds:
        parts = fold.parts()
        has = {name: np.bincount(code[part], minlength=names.size) > 0 for name, part in parts.items()}
        for one, other in promises.PAIRS:
            twice |= has[one] & has[other]
        times = np.bincount(np.concatenate(list(parts.values())), minlength=code.size)
        rows += int(np.maximum(times - 1, 0).sum())
    shared = names[twice]
    detail = f"{shared.size} of {names.size} subjects in two parts of one of {len(evidence.folds)} folds"
    if shared.size:
        detail += f" (first: {_first(shared)})"
    if rows:
        detail += f"; {rows} windows twice in a fold"
    promised = evidence.guarantee
    if shared.size and promised is not None and not promised.subject_independent:
        detail += f"; {NOT_INDEPENDENT}: this protocol tests people it has learned from: {promised.says}"
        return Check("subject_overlap", rows == 0, detail)
    return Check("subject_overlap", shared.size == 0 and rows == 0, detail)


def trial_overlap(evidence: Evidence) -> Check:
    """No windows of one trial in two parts of a fold: they share its rating, and whatever else that hour brought.

    Only a protocol that promises to test what comes later in a recording may cut one; then the order is looked at instead, and
    that no sample is on both sides.
    """
    name = "trial_overlap"
    if evidence.trial is None:
        return _missing(name, "trials")
    found = promises.same_unit(evidence.trial, "trial", evidence.folds)
    many = np.unique(evidence.trial).size
    if found is None:
        return _passed(name, f"none of {many} trials is in two parts of one of {len(evidence.folds)} folds")
    if evidence.guarantee is None or "past" not in evidence.guarantee.disjoint:
        return _failed(name, f"{found.windows} windows belong to one of {many} trials that another part has; {found.first}")
    if evidence.spans is None:
        return _missing(name, "times of the windows")
    for breach in (
        promises.out_of_order(evidence.spans, evidence.folds),
        promises.same_samples(evidence.spans, evidence.folds),
    ):
        if breach is not None:
            return _failed(name, f"{breach.windows} windows break the order of time; {breach.first}")
    return _passed(name, f"{found.windows} windows come later in a trial that was learned from; no sample is on both sides")


def protocol_guarantee(evidence: Evidence) -> Check:
    """Every promise of the protocol holds in every fold, and in the twin of a fold that has one."""
    name, promised = "protocol_guarantee", evidence.guarantee
    if promised is None:
        return _missing(name, "guarantee of its protocol")
    told = {unit: _kept(evidence, unit) for unit in promised.disjoint}
    if "" in told.values():
        return _missing(name, ", ".join(unit for unit, verdict in told.items() if verdict == ""))
    broken = [verdict.first for verdict in told.values() if isinstance(verdict, promises.Breach)]
    twins = [fold.twin for fold in evidence.folds if fold.twin is not None]
    breach = promises.same_unit(evidence.subject, "subject", twins)
    if breach is not None:
        broken.append(f"the uncalibrated twin of {breach.first}")
    if broken:
        return _failed(name, f"{len(broken)} of {len(told)} promises broken ({', '.join(promised.disjoint)}); {broken[0]}")
    apart = f"never on both sides: {', '.join(promised.disjoint) or 'nothing'}"
    return _passed(name, f"{promised.says} ({apart}; {len(evidence.folds)} folds looked at)")


def _kept(evidence: Evidence, unit: str) -> promises.Breach | str | None:
    """Return how a promise is broken, None where it is kept, an empty word where there is nothing to look at."""
    names = {"subject": evidence.subject, "stimulus": evidence.stimulus, "trial": evidence.trial}
    if unit in names:
        given = names[unit]
        if given is None or not given.size:
            return ""
        if unit == "stimulus" and (given == "").any():
            return promises.Breach(int((given == "").sum()), "there are windows without a stimulus")
        # Validation is drawn by the fold's own unit: with new stimuli, the same people may choose that learn.
        sides = promises.PAIRS if all(fold.unit == unit for fold in evidence.folds) else promises.PAIRS[:-1]
        return promises.same_unit(given, unit, evidence.folds, sides)
    if evidence.spans is None:
        return ""
    look = {"window": promises.same_samples, "past": promises.out_of_order}
    return look[unit](evidence.spans, evidence.folds) if unit in look else ""


def subject_level(evidence: Evidence) -> Check:
    """Ids must be persons; ids of records are accepted only where the recipe says so, and then stamped."""
    name, level = "subject_level", evidence.subject_level
    if level == "subject":
        return _passed(name, "the ids of the data set are persons, or groups that never split one on purpose")
    what = "the ids of the data set are records, not persons" if level == "record" else f"what the ids stand for: {level}"
    if evidence.allow_record_level:
        return _passed(name, f"{what}; the recipe accepts it, the report is stamped: a person may be in two parts")
    return _failed(name, f"{what}: set data.allow_record_level to accept it, the report is then stamped")


def equal_windows(evidence: Evidence) -> Check:
    """No window occurs, bit for bit, in two parts of a fold."""
    if evidence.window_id is None:
        return _missing("equal_windows", "window ids")
    _, code = np.unique(np.asarray(evidence.window_id), return_inverse=True)
    found = np.nonzero(duplicates.shared_codes(code[:, None], np.ones((code.size, 1), bool), evidence.folds))[0]
    copies = code.size - np.unique(code).size
    detail = (
        f"{found.size} windows have an identical copy in another part of their fold ({copies} copies among {code.size} windows)"
    )
    return Check("equal_windows", found.size == 0, detail + _whose(evidence, found))


def near_equal_windows(evidence: Evidence) -> Check:
    """No two stretches of raw waveform occur in two parts of a fold, at whatever shift (content-defined fingerprints).

    Patterns of three or more subjects (a monitor's test signal) do not count; a single common stretch is told, not failed.
    """
    if evidence.fingerprints is None:
        return _missing("near_equal_windows", "fingerprints")
    marks = np.asarray(evidence.fingerprints)
    _, code = np.unique(marks, return_inverse=True)
    code, known = code.reshape(marks.shape), marks != 0
    telling = duplicates.personal(code, known, evidence.subject)
    shared = duplicates.shared_codes(code, telling, evidence.folds)
    found = np.nonzero(shared >= duplicates.SHARED)[0]
    notes = {
        "share a single stretch of half a second (not counted)": int(((shared > 0) & (shared < duplicates.SHARED)).sum()),
        "hold a pattern of three or more subjects (a device's test signal, not counted)": int(
            (known & ~telling).any(axis=1).sum()
        ),
        "have no fingerprint": int((~known).all(axis=1).sum()),
    }
    detail = f"{found.size} of {len(marks)} windows share waveform with a window in another part of their fold"
    detail += _whose(evidence, found) + "".join(f"; {count} {what}" for what, count in notes.items() if count)
    return Check("near_equal_windows", found.size == 0, detail)


def near_equal_waveforms(evidence: Evidence, rng: np.random.Generator) -> Check:
    """No two windows in different parts of a fold correlate at 0.999 or more (first waveform channel, no shift).

    Windows that do not have the channel cannot be compared, and are counted. A recipe of features alone stores no waveform:
    then ``near_equal_windows``, which looks at the recordings themselves, is all there is.
    """
    if evidence.waveform is None:
        return _missing("near_equal_waveforms", "waveforms")
    if evidence.waveform.shape[1] == 0:
        return _passed("near_equal_waveforms", "no waveform is stored with the windows; see near_equal_windows")
    n = len(evidence.waveform)
    rows = np.arange(n) if n <= duplicates.LIMIT else np.sort(rng.choice(n, duplicates.LIMIT, replace=False))
    first = np.asarray(evidence.waveform[rows, 0])
    known = np.isfinite(first).all(axis=1)
    if not known.any():
        return _missing("near_equal_waveforms", "waveforms")
    rows, first = rows[known], first[known]
    pairs = rows[duplicates.alike(first)]
    crossing = duplicates.crossing(pairs, evidence.folds, n)
    looked = f"all {n} windows" if known.size == n else f"a random {known.size} of {n} windows"
    looked += f", {int((~known).sum())} of them without the channel" if not known.all() else ""
    detail = f"{len(crossing)} pairs in two parts of a fold correlate ≥ {duplicates.SAME} (compared: {looked})"
    return Check("near_equal_waveforms", len(crossing) == 0, detail + _whose(evidence, np.unique(crossing)))


def fitted_outside_training(evidence: Evidence) -> Check:
    """Whatever was fitted saw windows of its own training part only."""
    name = "fitted_outside_training"
    if not evidence.fitted:
        return _missing(name, "lists of the windows that scalers and models were fitted on")
    folds = {(fold.number, fold.seed): fold for fold in evidence.folds}
    wrong, also = [], set()
    for fit in evidence.fitted:
        fold = folds.get((fit.fold, fit.seed))
        if fold is None:
            wrong.append(f"{fit.what}: there is no fold {fit.fold} with seed {fit.seed}")
            continue
        own = fold.twin if fit.twin and fold.twin is not None else fold
        allowed = np.concatenate([own.parts()[part] for part in fit.parts])
        outside = int((~np.isin(fit.rows, allowed)).sum())
        if outside:
            wrong.append(f"{fit.what} saw {outside} windows outside {' and '.join(fit.parts)} of fold {fit.fold}")
        if "validation" in fit.parts:
            also.add(fit.what)
    seen = f"{len(evidence.fitted)} fits of {len({fit.what for fit in evidence.fitted})} kinds"
    if wrong:
        return _failed(name, f"{len(wrong)} of {seen} looked elsewhere: {wrong[0]}")
    note = f" ({', '.join(sorted(also))}: and validation)" if also else ""
    return _passed(name, f"{seen} saw windows of their training part only{note}")


def barred_inputs(evidence: Evidence) -> Check:
    """Nothing made of the reference reaches the inputs: by kind of channel, by name, and by column of the window table."""
    if evidence.inputs is None:
        return _missing("barred_inputs", "names of the inputs")
    given = evidence.inputs
    channels = [c for c in given.channels if _is_barred(c, evidence)]
    channels += [f"kind {kind}" for kind in given.kinds if kind in evidence.task.reference_kinds]
    features = [f for f in given.features if _is_barred(f, evidence) or f in given.facts]
    wrong = channels + features
    detail = f"{len(wrong)} of {len(given.features)} features and {len(given.channels)} channels come from the reference"
    return Check("barred_inputs", not wrong, f"{detail}: {', '.join(wrong[:5])}" if wrong else detail)


def negative_control(evidence: Evidence) -> Check:
    """Refuse a run whose model, trained on shuffled labels, beats a predictor that sees no signal.

    It fails where a figure of a target is beyond chance by more than a margin *and* chance lies outside its interval: MASE
    below 0.95, CCC above 0.05, balanced accuracy above chance by more than a tenth of it (`controls.Control.clean`).
    """
    found = {t: (given,) if isinstance(given, Control) else tuple(given) for t, given in evidence.negative_control.items()}
    wrong = [target for target, several in found.items() if not all(control.clean for control in several)]
    told = ", ".join(f"{target} {', '.join(map(str, several))}" for target, several in found.items())
    told_all = f"a model trained on shuffled labels (95 % interval): {told}"
    answered = evidence.predictions.target_names if evidence.predictions is not None else evidence.task.target_names
    missing = [name for name in evidence.task.target_names if name in answered and not found.get(name)]
    if missing:
        return _failed("negative_control", f"{told_all}; not run for {', '.join(missing)}")
    leaking = [target for target in wrong if any(np.isfinite(control.value) and not control.clean for control in found[target])]
    unknown = [target for target in wrong if target not in leaking]
    verdicts = [f"the labels leak into {', '.join(leaking)}"] if leaking else []
    verdicts += [f"no figure tells it for {', '.join(unknown)} (does the reference vary?)"] if unknown else []
    verdict = "; ".join(verdicts) or "no better than chance"
    return Check("negative_control", not wrong, f"{told_all}; {verdict}")


def too_good(evidence: Evidence) -> Check:
    """Warn (never fail) where an error is below what honest work on such data has reached."""
    low = {t: f for t, f in evidence.floor.items() if t in evidence.mase and evidence.mase[t] < f}
    if low:
        told = ", ".join(f"{t} MASE {evidence.mase[t]:.2f} (floor {f:.2f})" for t, f in low.items())
        return _passed("too_good", f"warning: {told}: better than honest results so far; look for a leak before believing it")
    if not evidence.floor:
        return _passed("too_good", "no floor is known for this data set")
    return _passed("too_good", f"{len(evidence.floor)} targets are above their plausible floor")


def predictions_complete(evidence: Evidence) -> Check:
    """Each test window is predicted exactly once in each seed, with a finite number, and no other window is."""
    name, given = "predictions_complete", evidence.predictions
    if given is None:
        return _missing(name, "predictions")
    one_split = len({fold.seed for fold in evidence.folds}) == 1
    missing = extra = 0
    for fold in evidence.folds:
        for seed in np.unique(given.seed) if one_split else [fold.seed]:
            rows = given.row[(given.fold == fold.number) & (given.seed == seed)]
            missing += int((~np.isin(fold.test, rows)).sum())
            extra += int((~np.isin(rows, fold.test)).sum())
    keys = np.stack([given.seed, given.row])
    twice = given.row.size - np.unique(keys, axis=1).shape[1]
    lost = int((~np.isfinite(given.y_pred)).any(axis=1).sum())
    detail = f"{given.row.size} predictions of {np.unique(given.row).size} windows, {np.unique(given.seed).size} seeds: "
    detail += f"{missing} missing, {extra} of windows outside their test part, {twice} double, {lost} not finite"
    odd = sum(_no_shares(shares) for shares in given.probabilities.values())
    detail += f", {odd} rows of probabilities that do not add up to 1" if odd else ""
    return Check(name, missing == extra == twice == lost == odd == 0, detail)


def _no_shares(shares: NDArray[np.floating]) -> int:
    """Return how many rows are no probabilities; a comparison with NaN is false, so the question is put the passing way."""
    good = (np.abs(shares.sum(axis=1) - 1) <= 1e-3) & (shares >= -1e-6).all(axis=1)
    return int((~good).sum())


def _is_barred(name: str, evidence: Evidence) -> bool:
    words = name.lower().replace(".", "_").split("_")
    last = name.lower().rpartition(".")[2]
    reference = evidence.task.reference_kinds | set(evidence.task.target_names)
    return last in _BARRED or last.startswith("label") or bool(reference & set(words))


def _passed(name: str, detail: str) -> Check:
    return Check(name, passed=True, detail=detail)


def _failed(name: str, detail: str) -> Check:
    return Check(name, passed=False, detail=detail)


def _missing(name: str, what: str) -> Check:
    return _failed(name, f"nothing to look at: the run handed over no {what}")


def _whose(evidence: Evidence, rows: I64) -> str:
    if rows.size == 0:
        return ""
    people = np.unique(evidence.subject[rows])
    return f"; of {people.size} subjects (first: {_first(people)})"


def _first(people: Any) -> str:
    names = sorted(map(str, people))
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
