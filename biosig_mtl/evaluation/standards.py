"""Accuracy limits of published standards, applied as a numerical screen on retrospective data; not a validation.

The limits are those of ISO 81060-2:2018 (+Amd 1:2020, Amd 2:2024), the British Hypertension Society protocol of 1993 and
IEEE 1708-2014 / 1708a-2019, taken from secondary texts that quote them by clause; the standards themselves are sold and were
not read. None of the functions here can say that a device passes a standard.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from biosig_mtl.evaluation import metrics

WORDING = "numerical screen on retrospective data; not a validation"
MIN_SUBJECTS = 85
MIN_PAIRS = 255
WITHIN, OUTSIDE, TOO_SMALL = "within limits", "outside limits", "n too small"

# Highest SD of the subject means, indexed by |ME| in steps of 0.1 mmHg from 0.0 to 5.0 (criterion 2).
SUBJECT_SD_LIMIT = (
    6.95, 6.95, 6.95, 6.95, 6.93, 6.92, 6.91, 6.90, 6.89, 6.88,
    6.87, 6.86, 6.84, 6.82, 6.80, 6.78, 6.76, 6.73, 6.71, 6.68,
    6.65, 6.62, 6.58, 6.55, 6.51, 6.47, 6.43, 6.39, 6.34, 6.30,
    6.25, 6.20, 6.14, 6.09, 6.03, 5.97, 5.89, 5.83, 5.77, 5.70,
    5.64, 5.56, 5.49, 5.41, 5.33, 5.25, 5.16, 5.08, 5.01, 4.90,
    4.79,
)  # fmt: skip

# Share of reference readings that must lie at or beyond a pressure: (side, mmHg, share).
_COVERAGE = {
    ("sbp", "auscultatory"): (("<=", 100, 0.05), (">=", 160, 0.05), (">=", 140, 0.20)),
    ("dbp", "auscultatory"): (("<=", 60, 0.05), (">=", 100, 0.05), (">=", 85, 0.20)),
    ("sbp", "invasive"): (("<=", 100, 0.10), (">=", 160, 0.10)),
    ("dbp", "invasive"): (("<=", 70, 0.10), (">=", 85, 0.10)),
}
_BHS = {"A": (0.60, 0.85, 0.95), "B": (0.50, 0.75, 0.90), "C": (0.40, 0.65, 0.85)}


def readings(y_true: ArrayLike, y_pred: ArrayLike, subject: ArrayLike, target: str) -> dict[str, float]:
    """Return the plain numbers that the three screens judge, over all windows of all subjects.

    ``subject_sd`` is the SD (n − 1) of the subjects' mean errors; ``share <= 100`` and the like are shares of the
    reference readings. Numbers of several seeds may be averaged key by key before they are judged.
    """
    true = np.asarray(y_true, dtype=float)
    keep = np.isfinite(true) & np.isfinite(np.asarray(y_pred, dtype=float))
    true = true[keep]
    per = metrics.per_subject(true, np.asarray(y_pred, dtype=float)[keep], np.asarray(subject, dtype=str)[keep])
    pool = metrics.pooled(true, np.asarray(y_pred, dtype=float)[keep])
    sd = float(np.std(per.figures["me"], ddof=1)) if per.subject.size > 1 else float("nan")
    rows = {row for (name, _), table in _COVERAGE.items() if name == target for row in table}
    return {
        "n_subjects": float(per.subject.size), "n_pairs": float(true.size), "me": pool["me"], "sd": pool["sd"],
        "mad": pool["mae"], "mapd": pool["mapd"], "cp5": pool["cp5"], "cp10": pool["cp10"], "cp15": pool["cp15"],
        "subject_sd": sd,
        **{_share_name(side, limit): _share(true, side, limit) for side, limit, _ in sorted(rows)},
    }  # fmt: skip


def subject_sd_limit(me: float) -> float:
    """Return the limit of criterion 2 for a mean error: 0 (cannot be kept) where |ME| rounds above 5.0 mmHg.

    >>> subject_sd_limit(-2.04)
    6.65
    """
    step = int(np.floor(abs(me) * 10 + 0.5 + 1e-9)) if np.isfinite(me) else len(SUBJECT_SD_LIMIT)
    return SUBJECT_SD_LIMIT[step] if step < len(SUBJECT_SD_LIMIT) else 0.0


def iso81060_2(numbers: Mapping[str, float], target: str, reference: str) -> dict[str, Any]:
    """Screen against criteria 1 and 2 and the spread of reference readings of ISO 81060-2.

    Parameters
    ----------
    numbers
        From `readings`.
    target
        ``sbp`` or ``dbp``; another pressure has no table of reference readings.
    reference
        ``invasive``, or the name of another reference (``cuff``, ``unknown`` …). Criterion 2 does not apply to an invasive one.

    Returns
    -------
    dict
        Figures, limits, ``deviations`` from the standard's procedure, ``reasons`` for an outside verdict, and ``verdict``:
        ``within limits``, ``outside limits``, or ``n too small`` below 85 subjects or 255 pairs, which is never a pass.
    """
    invasive = reference == "invasive"
    one = {
        "me": numbers["me"], "me_limit": 5.0, "sd": numbers["sd"], "sd_limit": 8.0,
        "kept": bool(abs(numbers["me"]) <= 5.0 and numbers["sd"] <= 8.0),
    }  # fmt: skip
    limit = subject_sd_limit(numbers["me"])
    two = {
        "applies": not invasive, "subject_sd": numbers["subject_sd"], "subject_sd_limit": limit,
        "kept": None if invasive else bool(numbers["subject_sd"] <= limit),
    }  # fmt: skip
    table = _coverage_table(numbers, target, invasive=invasive)
    reasons = [] if one["kept"] else [f"criterion 1: ME {one['me']:.1f} (±5.0), SD {one['sd']:.1f} (8.0) mmHg"]
    if two["kept"] is False:
        reasons.append(f"criterion 2: SD of subject means {two['subject_sd']:.2f} mmHg (limit {limit:.2f})")
    reasons += [
        f"reference readings {row['readings']} in {row['share']:.1%}, need {row['need']:.0%}"
        for row in table
        if not row["kept"]
    ]
    return {
        **_header(numbers), "reference": reference, "criterion_1": one, "criterion_2": two, "reference_readings": table,
        "deviations": _deviations(invasive=invasive), "reasons": reasons,
        "verdict": _verdict(numbers, within=not reasons, min_pairs=MIN_PAIRS),
    }  # fmt: skip


def bhs(numbers: Mapping[str, float]) -> dict[str, Any]:
    """Grade by the share of errors within 5, 10 and 15 mmHg (British Hypertension Society 1993); the worst column decides.

    Grades A and B are within the limits of the protocol, C and D outside.
    """
    shares = [numbers["cp5"], numbers["cp10"], numbers["cp15"]]
    # Shares are quotients of counts: 17/20 must not miss 85 % by a rounding error.
    grade = next((g for g, need in _BHS.items() if all(s >= n - 1e-12 for s, n in zip(shares, need, strict=True))), "D")
    return {
        **_header(numbers), "cp5": shares[0], "cp10": shares[1], "cp15": shares[2],
        "limits": {g: list(need) for g, need in _BHS.items()}, "grade": grade,
        "verdict": _verdict(numbers, within=grade in "AB"),
    }  # fmt: skip


def ieee1708(numbers: Mapping[str, float]) -> dict[str, Any]:
    """Grade by the mean absolute difference (IEEE 1708): A ≤ 5, B ≤ 6, C < 7, D ≥ 7 mmHg; D is outside.

    The people, posture and induced changes that the standard asks for are not looked at.
    """
    mad = numbers["mad"]
    grade = "A" if mad <= 5 else "B" if mad <= 6 else "C" if mad < 7 else "D"
    return {
        **_header(numbers), "mad": mad, "mapd": numbers["mapd"], "me": numbers["me"], "sd": numbers["sd"],
        "limits": {"A": 5.0, "B": 6.0, "C": 7.0}, "grade": grade, "verdict": _verdict(numbers, within=grade != "D"),
    }  # fmt: skip


def _header(numbers: Mapping[str, float]) -> dict[str, Any]:
    return {"wording": WORDING, "n_subjects": round(numbers["n_subjects"]), "n_pairs": round(numbers["n_pairs"])}


def _verdict(numbers: Mapping[str, float], *, within: bool, min_pairs: int = 0) -> str:
    if numbers["n_subjects"] < MIN_SUBJECTS or numbers["n_pairs"] < min_pairs:
        return TOO_SMALL
    return WITHIN if within else OUTSIDE


def _share_name(side: str, limit: int) -> str:
    return f"share {side} {limit}"


def _share(true: np.ndarray[Any, np.dtype[np.float64]], side: str, limit: int) -> float:
    if true.size == 0:
        return float("nan")
    return float(np.mean(true <= limit if side == "<=" else true >= limit))


def _coverage_table(numbers: Mapping[str, float], target: str, *, invasive: bool) -> list[dict[str, Any]]:
    rows = _COVERAGE.get((target, "invasive" if invasive else "auscultatory"), ())
    table = []
    for side, limit, need in rows:
        share = numbers[_share_name(side, limit)]
        sign = {"<=": "≤", ">=": "≥"}[side]
        table.append(
            {"readings": f"{target.upper()} {sign} {limit} mmHg", "share": share, "need": need, "kept": bool(share >= need)}
        )
    return table


def _deviations(*, invasive: bool) -> list[str]:
    common = [
        "the standard takes 3 pairs a subject; here every window is a pair: numbers differ and pairs depend on each other",
        "sex, age, arm size and posture of the subjects are not screened",
    ]
    if invasive:
        return [
            *common,
            "invasive reference: criterion 2 does not apply",
            "invasive reference: the standard averages it over at least 30 s and may count an error inside its ± SD as 0; "
            "here it is the mean over the window and every error counts whole",
        ]
    return [*common, "the standard's reference is two observers with a stethoscope; here it is what the data set gives"]
