"""The run in two plain sentences: what was reached, and whether that beats predictors that see no signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from biosig_mtl.report_sections import audit_sentence, interval, name_of, number

PRESSURE, REGRESSION, CLASSES = "pressure", "regression", "classes"
# Predictors that see no signal.
TRIVIAL = ("majority", "class_prior", "train_mean", "train_median", "stimulus_mean", "elapsed_time")
# Those of them that know the course of the experiment, which is the same for everybody.
OF_COURSE = ("stimulus_mean", "elapsed_time")
# By what predictors are ranked: figure, its name in a sentence, whether more is better.
RANKED_BY = {REGRESSION: ("mae", "MAE", False), CLASSES: ("balanced_accuracy", "balanced accuracy", True)}
DEPENDENT, LEAK = "not subject-independent", "leak"


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
    known = any(DEPENDENT in stamp.lower() or LEAK in stamp.lower() for stamp in own)
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
    text = f"{name_of(name).capitalize()}: {_summary(target)}; {against_trivial(scores, name)}"
    twin = ((scores.get("uncalibrated_twin") or {}).get("targets") or {}).get(name)
    return f"{text} Without labels of the tested people (its uncalibrated twin): {_summary(twin)}." if twin else text


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
def reached(target: Mapping[str, Any], figure: str) -> tuple[Any, Any, str]:
    """Return a figure over subjects and its interval, or the pooled ones where no subject has it, and then ``, pooled``.

    Subjects whose reference has one class only have no balanced accuracy of their own.
    """
    if target.get(figure) is not None:
        return target[figure], target.get(f"{figure}_ci95"), ""
    value = (target.get("pooled") or {}).get(figure)
    return value, (target.get("pooled_ci95") or {}).get(figure), ", pooled" if value is not None else ""


def _summary(target: Mapping[str, Any]) -> str:
    """Return the two main figures of a target with their intervals."""
    if kind_of(target) == REGRESSION:
        return f"{_with_ends(target, 'ccc', 'CCC')}, {_with_ends(target, 'mae', 'MAE')}"
    text = _with_ends(target, "balanced_accuracy", "balanced accuracy", by_chance(target))
    return text if reached(target, "auc")[0] is None else f"{text}, {_with_ends(target, 'auc', 'AUC', 0.5)}"


def by_chance(target: Mapping[str, Any]) -> float | None:
    """Return the balanced accuracy that chance gives: 1 ÷ classes that occur, of all classes where no more is known."""
    told = (target.get("chance") or {}).get("balanced_accuracy")
    count = len(class_names(target))
    return float(told) if told is not None else (1 / count if count else None)


def class_names(target: Mapping[str, Any]) -> list[str]:
    """Return the names of a target's classes, numbers where it has none; empty for a regression."""
    names = [str(name) for name in target.get("classes") or ()]
    return names or [str(i) for i in range(len(target.get("confusion") or ()))]


def _with_ends(target: Mapping[str, Any], key: str, called: str, chance: float | None = None) -> str:
    value, ends, how = reached(target, key)
    unit = f" {target['unit']}" if key == "mae" and target.get("unit") else ""
    written = interval(ends, 2)
    beside = [f"95 % CI {written}"] if written else []
    beside += [f"chance {number(chance, 2)}"] if chance is not None else []
    return f"{called}{how.replace(',', '')} {number(value, 2)}{unit}" + (f" ({'; '.join(beside)})" if beside else "")


def best_trivial(scores: Mapping[str, Any], name: str, among: Sequence[str] = TRIVIAL) -> tuple[str, Mapping[str, Any]] | None:
    """Return the trivial baseline that does best on a target and its figures, None where there is none.

    It is chosen on the tested windows, which can only make the comparison harder.
    """
    figure, _, more_is_better = RANKED_BY[kind_of(scores["targets"][name])]
    known = {word: entry for word in among if (entry := (scores["baselines"].get(word) or {}).get(name))}
    rows = [(reached(entry, figure)[0], word, entry) for word, entry in known.items()]
    sign = -1 if more_is_better else 1
    ranked = sorted((row for row in rows if row[0] is not None), key=lambda row: sign * float(row[0]))
    return (ranked[0][1], ranked[0][2]) if ranked else None


def against_trivial(scores: Mapping[str, Any], name: str) -> str:
    """Return in words whether the run beats the best trivial baseline on a target, and by how much.

    Where one that knows the course of the experiment is not beaten, the best of those that do not is told too.
    """
    found = best_trivial(scores, name)
    if found is None:
        return "no trivial baseline to compare with."
    kind = kind_of(scores["targets"][name])
    figure, called, _ = RANKED_BY[kind]
    unit = f" {scores['targets'][name].get('unit') or ''}".rstrip() if kind == REGRESSION else ""
    word, other = found
    versus = versus_model(other, figure)
    beaten = versus.get("verdict") == "better"
    best = f"{name_of(word)}, the best of them ({called} {number(reached(other, figure)[0], 2)})"
    text = f"it {'beats' if beaten else 'does not beat'} the trivial baselines: {_compared(versus, best, unit)}."
    others = [one for one in TRIVIAL if one not in OF_COURSE]
    rest = best_trivial(scores, name, others) if word in OF_COURSE and not beaten else None
    if rest is None:
        return text
    told = _compared(versus_model(rest[1], figure), f"{name_of(rest[0])}, which knows neither what was shown nor when", unit)
    return f"{text} It is {told}."


def _compared(versus: Mapping[str, Any], other: str, unit: str) -> str:
    """Return ``better than …, by …`` with the interval, or that nothing can be told apart."""
    verdict, difference = versus.get("verdict"), versus.get("difference")
    ends: Sequence[Any] | None = versus.get("ci95")
    if verdict not in {"better", "worse"}:
        told = interval(ends, 2)
        gap = "" if difference is None else f"; the difference is {number(difference, 2)}{unit}"
        return f"not distinguishable from {other}{gap}" + (f" (95 % CI {told})" if told else "")
    sizes = interval(sorted(abs(end) for end in ends), 2) if ends is not None and None not in ends else ""
    return f"{verdict} than {other}, by {number(abs(difference or 0.0), 2)}{unit}" + (f" (95 % CI {sizes})" if sizes else "")


def versus_model(other: Mapping[str, Any], figure: str) -> Mapping[str, Any]:
    """Return the comparison over subjects, or the pooled one where no subject has the figure."""
    versus: Mapping[str, Any] = other.get("model_minus_baseline") or {}
    pooled = (versus.get("pooled") or {}).get(figure)
    return pooled if versus.get("difference") is None and pooled else versus
