"""What the answers of a calibration are worth: figures, gains over holding, where there is some, and the words for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from biosig_mtl.evaluation import held, oracles, schedule, standards, tracking
from biosig_mtl.evaluation.held import HOLD_MEAN, PEOPLE, POOLED, SHRUNK, Asked
from biosig_mtl.lifecycle.calibrate_answers import CHOSEN, FIRST, NETWORK, OFFSET
from biosig_mtl.splits.anchors import Course
from biosig_mtl.types import F64, I64, Predictions, WindowTable

if TYPE_CHECKING:
    import pandas as pd

COMMON, NEXT, BOTH = "common", "next", "both_ways"
PERSON_MEAN = oracles.SUBJECT_MEAN
# Told in every bin; a row of every method in every bin would be read by nobody.
IN_BINS = (CHOSEN, SHRUNK, OFFSET, NETWORK)
FEWEST_IN_BIN = 10  # people without whom a gain in a bin is told in its table only
CALIBRATED = (
    "the limits are for devices as they come; here every person's own readings of the same reference moved the estimates"
)


@dataclass(frozen=True, eq=False)
class Judged:
    """What answers are judged against: the windows, whose they are, and how the reference was measured."""

    table: WindowTable
    course: Course
    reference: str

    @property
    def subject(self) -> I64:
        """Number of the group of every window, which is what the bootstrap draws."""
        return np.asarray(np.unique(self.table.subject, return_inverse=True)[1], dtype=np.int64)

    def asked(self, answers: pd.DataFrame, target: str) -> Asked:
        """Return answers of one target beside their truth, with the oracle that knows the mean of what is asked of a person."""
        rows = answers["row"].to_numpy(np.int64)
        truth = self.table.targets[rows, self.table.target_names.index(target)].astype(np.float64)
        names = [name.removesuffix(f".{target}") for name in answers.columns if name.endswith(f".{target}")]
        told = {name: answers[f"{name}.{target}"].to_numpy(np.float64) for name in names if name != "level"}
        told[PERSON_MEAN] = _person_mean(self.course.person[rows], truth)
        return Asked(
            person=self.course.person[rows],
            subject=self.subject[rows],
            truth=truth,
            level=answers[f"level.{target}"].to_numpy(np.float64),
            since_s=answers["since_s"].to_numpy(np.float64),
            told=told,
        )


def _person_mean(person: I64, truth: F64) -> F64:
    nothing = np.zeros(person.size)
    plain = (np.arange(person.size), nothing.astype(np.int64), nothing.astype(np.int64), person.astype(str), nothing)
    return np.asarray(oracles.subject_mean(Predictions(*plain, truth[:, None], nothing[:, None], ("x",))).y_pred[:, 0])


# ------------------------------------------------------------------------------------------------------------- figures
def judge(answers: pd.DataFrame, target: str, judged: Judged) -> dict[str, Any]:
    """Return everything that is told of one target: by set of queries, then by K.

    Returns
    -------
    dict
        `COMMON` and `NEXT`: {K: what `of_set` gives}. `BOTH`: {K: {``first`` and ``random``: errors and gains on the queries
        that both ways of drawing leave}}, empty without random draws.
    """
    first = answers[answers["draw"] == FIRST]
    told: dict[str, Any] = {COMMON: {}, NEXT: {}, BOTH: {}}
    for count in sorted(int(k) for k in answers["k"].unique()):
        own = first[first["k"] == count]
        told[COMMON][str(count)] = of_set(judged.asked(own[own["common"]], target), target, judged.reference)
        told[NEXT][str(count)] = of_set(judged.asked(own, target), target, judged.reference)
        drawn = answers[(answers["draw"] != FIRST) & (answers["k"] == count)]
        if len(drawn):
            told[BOTH][str(count)] = _both(own, drawn, target, judged)
    return told


def of_set(asked: Asked, target: str, reference: str) -> dict[str, Any]:
    """Return the figures of all methods on one set of queries, by time since calibration and by change, and the screens."""
    counts = held.draws(asked)
    names = list(asked.told)
    numbers = standards.readings(asked.truth, asked.told[CHOSEN], asked.person.astype(str), target)
    iso = standards.iso81060_2(numbers, target, reference)
    screens = {"iso81060_2": iso, "bhs": standards.bhs(numbers), "ieee1708": standards.ieee1708(numbers)}
    for screen in screens.values():
        screen["deviations"] = [CALIBRATED, *screen.get("deviations", ())]
    return {
        "n_windows": len(asked), "n_people": int(np.unique(asked.person).size),
        "n_subjects": int(np.unique(asked.subject).size),
        "sds": tracking.sds(asked), "best_hold": {how: held.best_hold(asked, how) for how in (POOLED, PEOPLE)},
        "methods": {
            name: held.figures(asked, name, counts) | {"tracking": tracking.tracked(asked, name, counts)} for name in names
        },
        "by_since": held.by_since(asked, IN_BINS, counts), "by_change": held.by_change(asked, IN_BINS, counts),
        "screens": screens,
    }  # fmt: skip


def _both(first: pd.DataFrame, drawn: pd.DataFrame, target: str, judged: Judged) -> dict[str, Any]:
    """Return errors and gains of both ways of drawing on the same queries, those of all random draws together."""
    told: dict[str, Any] = {}
    for word, frame in (("first", _like(first, drawn)), ("random", drawn)):
        asked = judged.asked(frame, target)
        counts = held.draws(asked)
        told["n_windows"], told["n_people"] = len(asked), int(np.unique(asked.person).size)
        told[word] = {name: held.figures(asked, name, counts) for name in asked.told}
    return told


def _like(first: pd.DataFrame, drawn: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first way that every random draw asks for, once a draw, seed by seed."""
    keys = ["seed", "row"]
    return drawn[keys].merge(first, on=keys, how="left", validate="many_to_one")


# --------------------------------------------------------------------------------------------------------------- plans
def plans(chains: pd.DataFrame, target: str, judged: Judged) -> dict[str, Any]:
    """Return how often one must recalibrate: for holding and for the chosen method, in seconds within a stay and in windows."""
    rows = chains["row"].to_numpy(np.int64)
    truth = judged.table.targets[rows, judged.table.target_names.index(target)].astype(np.float64)
    person, subject = judged.course.person[rows], judged.subject[rows]
    told: dict[str, Any] = {}
    for word in ("hold", CHOSEN):
        error = np.abs(chains[f"{word}.{target}"].to_numpy(np.float64) - truth)
        told[word] = {}
        for unit, ages, every in (
            ("s", chains["age_s"].to_numpy(np.float64), schedule.EVERY_S),
            ("windows", chains["lag"].to_numpy(np.float64), schedule.EVERY_WINDOWS),
        ):
            made = schedule.plan(schedule.Pairs(person, subject, ages, error), every, _draws(subject))
            made["words"] = {criterion: schedule.in_words(made, criterion, unit) for criterion in ("mean", "share")}
            told[word][unit] = made
    return told


def _draws(subject: I64) -> I64:
    nothing = np.zeros(subject.size)
    return held.draws(Asked(subject, subject, nothing, nothing, nothing, dict.fromkeys(held.HOLDS, nothing)))


# --------------------------------------------------------------------------------------------------------------- words
def sentences(told: Mapping[str, Any]) -> list[str]:
    """Return what ``calibration.json`` says, the verdict first: gain and interval for every K, or that there is none."""
    said = []
    for name, target in told["targets"].items():
        said += [_verdict(name, count, target[COMMON][str(count)]) for count in told["counts"]]
    least = told["counts"][0]
    for name, target in told["targets"].items():
        said.append(f"Without an embargo, on all windows after the readings: {_verdict(name, least, target[NEXT][str(least)])}")
    for name, target in told["targets"].items():
        if target["schedule"] is not None:
            said += [_plan_words(name, target["schedule"], word) for word in (CHOSEN, "hold")]
    return said


def _verdict(name: str, count: int, own: Mapping[str, Any]) -> str:
    """Return one verdict: the chosen method against the better way of holding, over windows and over people."""
    readings = "1 reading" if count == 1 else f"{count} readings"
    gains = {how: own["methods"][CHOSEN][how]["gain"][own["best_hold"][how]] for how in (POOLED, PEOPLE)}
    ways = {how: f"{own['methods'][CHOSEN][how]['mae']:.2f} against {own['methods'][own['best_hold'][how]][how]['mae']:.2f}"
            for how in (POOLED, PEOPLE)}  # fmt: skip
    parts = [f"{_with_ends(gains[how])} over {what}" for how, what in WAYS.items()]
    told = f"{name.upper()}, {readings}: MAE {ways[POOLED]} mmHg of {_held(own, count)} over {own['n_windows']:,} windows"
    told += f", {ways[PEOPLE]} as the mean over {own['n_people']} people"
    better = [what for how, what in WAYS.items() if gains[how]["verdict"] == "better"]
    worse = any(gain["verdict"] == "worse" for gain in gains.values())
    if len(better) == len(WAYS):
        return f"{told}. Gain over holding: {', '.join(parts)}. {_without_signal(own)}"
    if better:
        return f"{told}. Gain over holding for {better[0]} only: {', '.join(parts)}. {_without_signal(own)}"
    return f"{told}. {'Worse than holding' if worse else 'No gain over holding'}: {', '.join(parts)}. {_where(own)}"


WAYS = {POOLED: "windows", PEOPLE: "people"}


def _without_signal(own: Mapping[str, Any]) -> str:
    """Say what of a gain the signal gave, beyond that extreme readings come back."""
    parts = [f"{_with_ends(own['methods'][CHOSEN][how]['gain'][SHRUNK])} over {what}" for how, what in WAYS.items()]
    return f"Over the readings drawn to the median of others, without any signal: {', '.join(parts)}."


def _held(own: Mapping[str, Any], count: int) -> str:
    """Say what is held, where both ways to weigh have the same to beat."""
    ways = set(own["best_hold"].values())
    if count == 1 or len(ways) > 1:
        return "holding it" if count == 1 else "holding"
    return f"holding {'their mean' if HOLD_MEAN in ways else 'the last'}"


def _with_ends(gain: Mapping[str, Any]) -> str:
    low, high = gain["ci95"]
    return f"{_signed(gain['difference'])} ({_signed(low)} to {_signed(high)})"


def _where(own: Mapping[str, Any]) -> str:
    """Say in which bins there is a gain all the same."""
    found = []
    for key, what in (("by_change", "where the pressure moved {} mmHg"), ("by_since", "at {} since calibration")):
        for row in own[key]:
            gain = row["methods"][CHOSEN]["gain"]
            if gain["verdict"] == "better" and row["n_people"] >= FEWEST_IN_BIN:
                said = "in other stays" if row["bin"] == held.OTHER_STAY else what.format(row["bin"])
                found.append(f"{said} ({_signed(gain['difference'])}, {row['n_people']} people)")
    return f"There is some {'; '.join(found)}." if found else "Nor is there any in a bin of change or time."


def _signed(value: float | None) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:+.2f}".replace("-", "−")


def _plan_words(name: str, plan: Mapping[str, Any], word: str) -> str:
    what = "with the chosen method" if word == CHOSEN else "by holding"
    mean, counted, close = (
        plan[word][unit]["words"][key] for unit, key in (("s", "mean"), ("windows", "mean"), ("s", "share"))
    )
    return (
        f"{name.upper()}, a new reading to stay within {schedule.MEAN_LIMIT:g} mmHg on the mean, {what}: {mean}; counted in "
        f"windows, over stays too: {counted}. For {100 * schedule.SHARE_LIMIT:.0f} % within {schedule.WITHIN:g} mmHg: {close}."
    )


def markdown(told: Mapping[str, Any]) -> list[str]:
    """Return the main table as lines of Markdown."""
    lines = [*(f"- {line}" for line in told["sentences"]), ""]
    for key in (COMMON, NEXT):
        lines += [f"## {told['sets'][key]['says']}", "", _row(_heads(told)), _row(["---"] * len(_heads(told)))]
        for count in told["counts"]:
            names = list(next(iter(told["targets"].values()))[key][str(count)]["methods"])
            lines += [_row([str(count), name, *_cells(told, key, count, name)]) for name in names]
        lines.append("")
    return lines


def _heads(told: Mapping[str, Any]) -> list[str]:
    columns = [f"{name} {word}" for name in told["targets"] for word in ("MAE windows", "MAE people", "gain windows (95 % CI)")]
    return ["K", "method", *columns]


def _cells(told: Mapping[str, Any], key: str, count: int, name: str) -> Sequence[str]:
    cells = []
    for target in told["targets"].values():
        own = target[key][str(count)]
        each = own["methods"][name]
        gain = each[POOLED]["gain"][HOLD_MEAN]
        ends = " to ".join(_signed(end) for end in gain["ci95"])
        cells += [f"{each[POOLED]['mae']:.2f}", f"{each[PEOPLE]['mae']:.2f}", f"{_signed(gain['difference'])} ({ends})"]
    return cells


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
