"""One fold of a calibration: fit the methods on its training people, choose among them there, and answer its test people.

Nothing here looks at the truth of a tested window: the tables that come out hold row numbers and answers, and whoever judges
them brings the truth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from biosig_mtl import splits
from biosig_mtl.evaluation.held import HOLD_LAST, HOLD_MEAN, HOLDS, SHRUNK
from biosig_mtl.lifecycle.calibrate_shown import Side, Sides
from biosig_mtl.lifecycle.calibrate_shrunk import Shrunk
from biosig_mtl.splits import anchors
from biosig_mtl.splits.anchors import Anchoring, Course, Drawn, Episode
from biosig_mtl.training.calibration.known import MAIN, Calibrator, Method, Person, Shown
from biosig_mtl.types import F64, I64, DataError

if TYPE_CHECKING:
    import pandas as pd

FIRST = "first"
NETWORK, OFFSET, MEDIAN = "network", "offset_corrected", "population_median"
PLAIN = (*HOLDS, SHRUNK, OFFSET, NETWORK, MEDIAN)
CHOSEN = "chosen"
HORIZON = 32  # windows after a reading that a plan of recalibration is judged on
Say = Callable[[str], None]


class Place(NamedTuple):
    """Where an answer stands: how anchors were drawn, and how many readings those are."""

    draw: str
    readings: int


@dataclass
class Proof:
    """Counts that the audit of a calibration reads: how many queries were looked at, and how many broke a rule."""

    queries: int = 0
    seen_truth: int = 0
    also_anchors: int = 0
    fitted_people: set[str] = field(default_factory=set)
    answered_people: set[str] = field(default_factory=set)

    def note(self, shown: Shown, person: Person) -> None:
        """Look at one episode as a method is shown it."""
        self.queries += person.queries.size
        self.seen_truth += int(np.isfinite(shown.truth[person.queries]).any(axis=1).sum())
        if shown.table is not None:
            self.seen_truth += int(np.isfinite(shown.table.targets[person.queries]).any(axis=1).sum())
        self.also_anchors += int(np.isin(person.queries, person.anchors).sum())
        self.answered_people.add(person.name)


@dataclass(frozen=True, eq=False)
class Answered:
    """What came of a fold: tables of answers, what was chosen and why, what was counted, and seconds by method.

    ``answers`` has a row a query of every `Place`: ``draw k row since_s common``, ``level.<target>`` and ``<method>.<target>``;
    those of `FIRST` are all windows after the K readings, ``common`` marks the ones that every K has. ``chains`` has a row a
    pair of a reading and a later window: ``row anchor lag age_s`` and answers of holding and of the chosen methods. ``chosen``
    is {k: {target: method}}, ``inner`` the figures it was chosen by, ``without`` who has no queries, and why.
    """

    answers: pd.DataFrame
    chains: pd.DataFrame
    chosen: Mapping[int, Mapping[str, str]]
    inner: Mapping[int, Mapping[str, Mapping[str, float]]]
    proof: Proof
    seconds: Mapping[str, float]
    without: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Terms:
    """Under what terms methods are compared: anchors and queries, the methods, and parts of the inner choice."""

    anchoring: Anchoring
    methods: Mapping[str, Method]
    parts: int = 3
    seed: int = 0

    def rng(self, *keys: int) -> np.random.Generator:
        """Return a generator that depends on these numbers alone, so that folds can be done in any order."""
        return np.random.default_rng([self.seed, *keys])


# ------------------------------------------------------------------------------------------------------------- the fold
def work(sides: Sides, course: Course, terms: Terms, say: Say | None = None) -> Answered:
    """Answer the test people of a fold by every method.

    Raises
    ------
    DataError
        A method cannot be fitted on these people.
    """
    proof = Proof()
    clock: dict[str, float] = {}
    parts: list[Any] = []
    chosen: dict[int, dict[str, str]] = {}
    inner: dict[int, dict[str, dict[str, float]]] = {}
    fitted: dict[int, dict[str, Calibrator]] = {}
    number, tested = sides.fold.number, _people(course, sides.test.rows)
    draws = list(range(terms.anchoring.draws))
    by_draw = [anchors.by_chance(course, tested, terms.anchoring, draw) for draw in draws]
    common = anchors.first_in_time(course, tested, terms.anchoring.most, terms.anchoring)
    without = {"common": dict(common.without)}
    for count in terms.anchoring.counts:
        if say is not None:
            say(f"fold {number}, {count} reading{'' if count == 1 else 's'}: choosing and fitting {len(terms.methods)} methods")
        inner[count], chosen[count] = _choose(sides.fit, course, terms, count)
        fitted[count] = _fit(sides.fit, course, (terms, count, clock), proof)
        first = anchors.first_in_time(course, tested, count)
        without[f"next {count}"] = dict(first.without)
        for place, drawn in [
            (Place(FIRST, count), first),
            *((Place(f"random-{draw}", count), made[count]) for draw, made in zip(draws, by_draw, strict=True)),
        ]:
            made = _answer_all(sides, course, drawn, fitted[count], (proof, clock))
            parts.append(_table(place, sides.test, course, drawn, made, common.queries))
    import pandas as pd

    chains = _chains(sides, course, (fitted, chosen), proof)
    answers = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    return Answered(_with_chosen(answers, chosen, sides.test.shown.targets), chains, chosen, inner, proof, clock, without)


def _people(course: Course, rows: I64) -> list[int]:
    return np.unique(course.person[rows]).tolist()  # type: ignore[no-any-return]


def _fit(
    side: Side, course: Course, what: tuple[Terms, int, dict[str, float]], proof: Proof, people: Sequence[int] | None = None
) -> dict[str, Calibrator]:
    """Fit every method on people of the training side, all of whose truth is shown."""
    terms, count, clock = what
    chosen = _people(course, side.rows) if people is None else people
    drawn = anchors.first_in_time(course, chosen, count)
    if not drawn.episodes:
        raise DataError(f"no training person has more than {count} windows with every target; take a smaller --k")
    own = side.people(drawn, course)
    shown = side.hiding(np.flatnonzero(np.isin(course.person[side.rows], chosen)))
    proof.fitted_people |= {person.name for person in own}
    found: dict[str, Calibrator] = {SHRUNK: Shrunk.fit(shown, own)}
    for i, (name, method) in enumerate(terms.methods.items()):
        began = time.process_time()
        found[name] = method.fit(shown, own, terms.rng(count, i))
        clock[name] = clock.get(name, 0.0) + time.process_time() - began
    return found


# ------------------------------------------------------------------------------------------------------------- answers
def _answer_all(
    sides: Sides, course: Course, drawn: Drawn, fitted: Mapping[str, Calibrator], noted: tuple[Proof, dict[str, float]]
) -> dict[str, F64]:
    """Return the answers (q, T) of every method to all queries, in the order of the episodes."""
    told = answers_of(sides.test, course, drawn, fitted, noted)
    told[MEDIAN] = np.broadcast_to(sides.median, told[NETWORK].shape).copy()
    return told


def answers_of(
    side: Side, course: Course, drawn: Drawn, fitted: Mapping[str, Calibrator], noted: tuple[Proof, dict[str, float]]
) -> dict[str, F64]:
    """Return what methods, and the plain ways, answer to all queries (q, T); only anchors tell their truth.

    The plain ways: `HOLD_MEAN` and `HOLD_LAST` of the anchors, the network alone, and the network moved by what it was wrong by
    at the anchors (`OFFSET`).
    """
    proof, clock = noted
    people = side.people(drawn, course)
    told = np.concatenate([np.empty(0, np.int64), *(person.anchors for person in people)])
    shown = side.hiding(told)
    for person in people:
        proof.note(shown, person)
    found: dict[str, list[F64]] = {name: [] for name in (HOLD_MEAN, HOLD_LAST, OFFSET, NETWORK)}
    for person in people:
        level, estimate = shown.truth[person.anchors], shown.estimates[MAIN]
        many = person.queries.size
        asked = estimate[person.queries]
        found[HOLD_MEAN].append(np.repeat(level.mean(axis=0, keepdims=True), many, axis=0))
        found[HOLD_LAST].append(np.repeat(level[-1:], many, axis=0))
        found[OFFSET].append(asked + (level - estimate[person.anchors]).mean(axis=0))
        found[NETWORK].append(asked)
    width = len(shown.targets)
    for name, calibrator in fitted.items():
        began = time.process_time()
        found[name] = [_checked(name, calibrator.answer(shown, person), (person.queries.size, width)) for person in people]
        clock[name] = clock.get(name, 0.0) + time.process_time() - began
    return {name: np.concatenate([np.empty((0, width)), *each]) for name, each in found.items()}


def _checked(name: str, answer: F64, shape: tuple[int, int]) -> F64:
    if answer.shape != shape or not np.isfinite(answer).all():
        raise DataError(f"method '{name}' gave answers of shape {answer.shape} for {shape}, or answers that are no numbers")
    return answer


def _table(place: Place, side: Side, course: Course, drawn: Drawn, made: Mapping[str, F64], common: I64) -> pd.DataFrame:
    import pandas as pd

    targets = side.shown.targets
    rows = np.concatenate([np.empty(0, np.int64), *(e.queries for e in drawn.episodes)])
    since = np.concatenate([np.empty(0), *(anchors.since_s(course, e) for e in drawn.episodes)])
    columns: dict[str, Any] = {
        "draw": np.full(rows.size, place.draw), "k": np.full(rows.size, place.readings), "row": rows, "since_s": since,
        "common": np.isin(rows, common),
    }  # fmt: skip
    # What a person's anchors read, on the mean, is what holding the mean says.
    columns |= {f"level.{target}": made[HOLD_MEAN][:, t] for t, target in enumerate(targets)}
    columns |= {f"{name}.{target}": each[:, t] for name, each in made.items() for t, target in enumerate(targets)}
    return pd.DataFrame(columns)


def _with_chosen(answers: pd.DataFrame, chosen: Mapping[int, Mapping[str, str]], targets: Sequence[str]) -> pd.DataFrame:
    """Return the answers with those of what was chosen on the training people, K by K and target by target."""
    found = {}
    for target in targets:
        own = np.full(len(answers), np.nan)
        for count, named in chosen.items():
            here = (answers["k"] == count).to_numpy()
            own[here] = answers.loc[here, f"{named[target]}.{target}"].to_numpy()
        found[f"{CHOSEN}.{target}"] = own
    return answers.assign(**found)


# -------------------------------------------------------------------------------------------------------------- choice
def _choose(side: Side, course: Course, terms: Terms, count: int) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Return the figures of every method on training people by inner folds, and for every target the method with the least.

    A figure is the error as a share of that of holding the mean: the mean of both ways to weigh, windows alike and people
    alike. Holding may be chosen, too: then nothing on the training people spoke for more.
    """
    targets = side.shown.targets
    names = [*HOLDS, SHRUNK, OFFSET, *terms.methods]
    tables = [_inner_errors(side, course, terms, count, learned, asked) for learned, asked in _inner(side, course, terms)]
    person = np.concatenate([people for people, _ in tables])
    errors = {name: np.concatenate([each[name] for _, each in tables]) for name in names}
    _, code, many = np.unique(person, return_inverse=True, return_counts=True)
    figures: dict[str, dict[str, float]] = {}
    for t, target in enumerate(targets):
        share = {}
        for name in names:
            ratios = [
                np.average(errors[name][:, t], weights=w) / max(np.average(errors[HOLD_MEAN][:, t], weights=w), 1e-9)
                for w in (np.ones(code.size), 1.0 / many[code])
            ]
            share[name] = float(np.mean(ratios))
        figures[target] = share
    return figures, {target: min(share, key=lambda name: share[name]) for target, share in figures.items()}


def _inner(side: Side, course: Course, terms: Terms) -> Iterator[tuple[list[int], list[int]]]:
    """Yield people to fit on and people to ask: parts of the training side that share no subject."""
    shown = side.shown
    parts = min(terms.parts, np.unique(shown.subject).size)
    if parts < 2:
        raise DataError("need two subjects or more on the training side to choose a method by; use more people or folds")
    group = splits.assign(shown.subject, side.truth.astype(np.float32), shown.targets, parts, terms.seed)
    for part in range(parts):
        yield _people(course, side.rows[group != part]), _people(course, side.rows[group == part])


def _inner_errors(
    side: Side, course: Course, terms: Terms, count: int, learned: Sequence[int], asked: Sequence[int]
) -> tuple[I64, dict[str, F64]]:
    """Return whose the common queries of the asked people are (q,), and every method's absolute errors (q, T)."""
    drawn = anchors.first_in_time(course, asked, count, terms.anchoring)
    if not drawn.episodes:
        # Nobody has a window after the embargo: what follows the readings directly is better than no choice.
        drawn = anchors.first_in_time(course, asked, count)
    fitted = _fit(side, course, (terms, count, {}), Proof(), learned)
    told = answers_of(side, course, drawn, fitted, (Proof(), {}))
    at = np.searchsorted(side.rows, np.concatenate([np.empty(0, np.int64), *(e.queries for e in drawn.episodes)]))
    return course.person[side.rows[at]], {name: np.abs(each - side.truth[at]) for name, each in told.items()}


# -------------------------------------------------------------------------------------------------------------- plans
def _chains(
    sides: Sides,
    course: Course,
    made: tuple[Mapping[int, Mapping[str, Calibrator]], Mapping[int, Mapping[str, str]]],
    proof: Proof,
) -> pd.DataFrame:
    """Return answers of holding and of the chosen methods to the windows after one reading, for readings all along."""
    import pandas as pd

    fitted, chosen = made
    targets = sides.test.shown.targets
    if 1 not in chosen:
        return _no_chains(targets)
    wanted = {name: fitted[1][name] for name in dict.fromkeys(chosen[1].values()) if name in fitted[1]}
    parts = []
    # One reading of every person at a time: a method is shown no other reading of the person it answers.
    for round_ in _rounds(anchors.chains(course, _people(course, sides.test.rows), HORIZON)):
        told = answers_of(sides.test, course, Drawn(round_, {}), wanted, (proof, {}))
        parts.append({
            "row": np.concatenate([e.queries for e in round_]),
            "anchor": np.concatenate([np.repeat(e.anchors, e.queries.size) for e in round_]),
            "lag": np.concatenate([course.place[e.queries] - course.place[e.anchors] for e in round_]),
            "age_s": np.concatenate([anchors.since_s(course, e) for e in round_]),
            **{f"hold.{target}": told[HOLD_MEAN][:, t] for t, target in enumerate(targets)},
            **{f"{CHOSEN}.{target}": told[chosen[1][target]][:, t] for t, target in enumerate(targets)},
        })  # fmt: skip
    return pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True) if parts else _no_chains(targets)


def _no_chains(targets: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    words = [*(f"hold.{target}" for target in targets), *(f"{CHOSEN}.{target}" for target in targets)]
    kinds: dict[str, type] = {**dict.fromkeys(("row", "anchor", "lag"), np.int64), "age_s": np.float64}
    return pd.DataFrame({name: np.empty(0, kind) for name, kind in (kinds | dict.fromkeys(words, np.float64)).items()})


def _rounds(episodes: Sequence[Episode]) -> list[tuple[Episode, ...]]:
    """Sort episodes so that in a round nobody comes twice."""
    rounds: list[list[Episode]] = []
    seen: dict[int, int] = {}
    for one in episodes:
        place = seen.get(one.person, 0)
        seen[one.person] = place + 1
        if place == len(rounds):
            rounds.append([])
        rounds[place].append(one)
    return [tuple(each) for each in rounds]
