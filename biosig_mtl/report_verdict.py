"""The run in two plain sentences: what was reached, and whether that beats predictors that see no signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from biosig_mtl.report_sections import audit_sentence, interval, name_of, number

PRESSURE, REGRESSION, CLASSES = "pressure", "regression", "classes"
# Predictors that see no signal.
TRIVIAL = ("majority", "class_prior", "train_mean", "train_median", "stimulus_mean")
# They were given labels of the very people that are tested: a ceiling, no rival.
ORACLES = ("subject_mean_oracle",)
# By what predictors are ranked: figure, its name in a sentence, whether more is better.
RANKED_BY = {REGRESSION: ("mae", "MAE", False), CLASSES: ("balanced_accuracy", "balanced accuracy", True)}
DEPENDENT = "not subject-independent"


def kind_of(target: Mapping[str, Any]) -> str:
    """Return how a target is told: ``pressure``, ``regression`` or ``classes``."""
    if target.get("unit") == "mmHg":
        return PRESSURE
    head = target.get("head")
    word = head.get("kind") if isinstance(head, Mapping) else head
    if word is None:
        return CLASSES if "balanced_accuracy" in target else REGRESSION
    return REGRESSION if word == REGRESSION else CLASSES


def stamps(scores: Mapping[str, Any]) -> list[str]:
    """Return what must be said large: the run's own stamps, and that people were learned from where the protocol did so."""
    own = [str(stamp) for stamp in scores.get("stamps", ())]
    promised = scores.get("protocol_guarantee") or {}
    known = any(DEPENDENT in stamp.lower() for stamp in own)
    return own if promised.get("subject_independent", True) or known else [DEPENDENT, *own]


def verdict_lines(scores: Mapping[str, Any], *, stamped: bool = True) -> tuple[str, str]:
    """Return the run in two plain sentences, one a target (for a single target the second one is the audit's).

    Parameters
    ----------
    scores
        Content of ``scores.json``.
    stamped
        Whether the stamps come first.
    """
    lines = [_of_target(scores, name, target) for name, target in scores["targets"].items()]
    if len(lines) < 2:
        lines.append(audit_sentence(scores["audit"]))
    marks = "".join(f"[{stamp}] " for stamp in stamps(scores)) if stamped else ""
    failed = "" if scores["audit"]["passed"] else "AUDIT FAILED, do not believe these numbers. "
    return marks + failed + lines[0], " ".join(lines[1:])


def _of_target(scores: Mapping[str, Any], name: str, target: Mapping[str, Any]) -> str:
    if kind_of(target) == PRESSURE:
        return _of_pressure(name.upper(), target)
    text = f"{name_of(name).capitalize()}: {_reached(target)}; {against_trivial(scores, name)}"
    twin = ((scores.get("uncalibrated_twin") or {}).get("targets") or {}).get(name)
    return f"{text} Without labels of the tested people (its uncalibrated twin): {_reached(twin)}." if twin else text


def _of_pressure(name: str, target: Mapping[str, Any]) -> str:
    text = f"{name}: MAE {number(target['mae'])} {target['unit']}"
    if ends := interval(target.get("mae_ci95")):
        text += f" (95 % CI {ends})"
    if target.get("mase") is not None:
        text += f", {number(target['mase'], 2)} of the training-median predictor"
    paired = target.get("paired") or {}
    if paired.get("verdict") is None:
        return text + "; no baseline to compare with."
    best, difference = name_of(paired["best_baseline"]), number(abs(paired["difference"]))
    told = {"better": f"better than {best}, the best baseline, by {difference} {target['unit']}",
            "worse": f"worse than {best} by {difference} {target['unit']}"}  # fmt: skip
    return f"{text}; {told.get(paired['verdict'], f'not distinguishable from {best}')}."


# ------------------------------------------------------------------------------------------------ how people feel
def _reached(target: Mapping[str, Any]) -> str:
    """Return the two main figures of a target with their intervals."""
    if kind_of(target) == REGRESSION:
        unit = f" {target['unit']}" if target.get("unit") else ""
        return f"CCC {_with_ends(target, 'ccc')}, MAE {_with_ends(target, 'mae', unit)}"
    text = f"balanced accuracy {_with_ends(target, 'balanced_accuracy')}"
    if target.get("auc") is not None:
        text += f", AUC {_with_ends(target, 'auc')}"
    count = len(target.get("classes") or ())
    return f"{text} (chance {number(1 / count, 2)}{' and 0.50' if target.get('auc') is not None else ''})" if count else text


def _with_ends(target: Mapping[str, Any], key: str, unit: str = "") -> str:
    ends = interval(target.get(f"{key}_ci95"), 2)
    return f"{number(target.get(key), 2)}{unit}" + (f" (95 % CI {ends})" if ends else "")


def best_trivial(scores: Mapping[str, Any], name: str) -> tuple[str, Mapping[str, Any]] | None:
    """Return the trivial baseline that does best on a target and its figures, None where there is none.

    It is chosen on the tested windows, which can only make the comparison harder.
    """
    figure, _, more_is_better = RANKED_BY[kind_of(scores["targets"][name])]
    known = {word: entry for word in TRIVIAL if (entry := (scores["baselines"].get(word) or {}).get(name))}
    rows = [(word, entry) for word, entry in known.items() if entry.get(figure) is not None]
    if not rows:
        return None
    sign = -1 if more_is_better else 1
    return min(rows, key=lambda row: sign * float(row[1][figure]))


def against_trivial(scores: Mapping[str, Any], name: str) -> str:
    """Return in words whether the run beats the best trivial baseline on a target, and by how much."""
    target = scores["targets"][name]
    found = best_trivial(scores, name)
    if found is None:
        return "no trivial baseline to compare with."
    word, other = found
    figure, called, more_is_better = RANKED_BY[kind_of(target)]
    best = f"{name_of(word)}, the best of them ({called} {number(other[figure], 2)})"
    versus = other.get("model_minus_baseline") or {}
    told = {"better": f"it beats the trivial baselines: better than {best}",
            "worse": f"it does not beat the trivial baselines: worse than {best}"}  # fmt: skip
    text = told.get(versus.get("verdict", ""), f"it does not beat the trivial baselines: not distinguishable from {best}")
    unit = "" if more_is_better else f" {target.get('unit', '')}".rstrip()
    return f"{text}{_difference(versus, unit)}."


def _difference(versus: Mapping[str, Any], unit: str) -> str:
    if versus.get("difference") is None:
        return ""
    ends: Sequence[Any] | None = versus.get("ci95")
    if versus.get("verdict") in {"better", "worse"} and ends is not None and None not in ends:
        ends = sorted(abs(end) for end in ends)
        return f", by {number(abs(versus['difference']), 2)}{unit} (95 % CI {interval(ends, 2)})"
    told = interval(ends, 2)
    return f"; model minus this {number(versus['difference'], 2)}{unit}" + (f" (95 % CI {told})" if told else "")
