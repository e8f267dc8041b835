"""What a calibration writes: its audit, ``calibration.json`` and ``calibrated.parquet``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from biosig_mtl.lifecycle import calibrate_judge as judging
from biosig_mtl.lifecycle.calibrate_answers import CHOSEN, FIRST, PLAIN, Terms
from biosig_mtl.lifecycle.opened import Opened
from biosig_mtl.splits.anchors import Anchoring, Course
from biosig_mtl.types import Check, Fold

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Done:
    """A fold that was answered, as its files hold it; ``told`` are words and counts."""

    fold: Fold
    frames: Mapping[str, pd.DataFrame]
    told: Mapping[str, Any]


def joined(done: Sequence[Done], name: str) -> pd.DataFrame:
    """Return one table of all folds: ``answers`` or ``chains``."""
    import pandas as pd

    frames = [one.frames[name] for one in done]
    full = [frame for frame in frames if len(frame)]
    return pd.concat(full or frames[:1], ignore_index=True)


# -------------------------------------------------------------------------------------------------------------- audit
def audit(done: Sequence[Done], answers: pd.DataFrame, course: Course, anchoring: Anchoring) -> list[Check]:
    """Answer whether anything was known that must not be."""
    proofs = [one.told["proof"] for one in done]
    queries, seen, double = (sum(int(p[key]) for p in proofs) for key in ("queries", "seen_truth", "also_anchors"))
    both = sorted({name for p in proofs for name in set(p["fitted_people"]) & set(p["answered_people"])})
    estimates, known = (sum(int(one.told["strangers"][key]) for one in done) for key in ("estimates", "by_acquaintances"))
    first = answers[answers["draw"] == FIRST]
    asked = {count: set(own.loc[own["common"], ["seed", "row"]].itertuples(index=False, name=None))
             for count, own in first.groupby("k")}  # fmt: skip
    other = [str(count) for count, rows in asked.items() if rows != asked[anchoring.counts[0]]]
    torn = sum(np.unique(course.person[rows]).size for rows in (_shared(one.fold, course) for one in done))
    return [
        Check("truth_hidden", seen == 0, f"the truth of {seen} of {queries} queries was shown to a method"),
        Check("anchors_not_scored", double == 0, f"{double} of {queries} queries were anchors"),
        Check(
            "people_apart", not both and torn == 0, f"{len(both)} people were fitted on and answered in one fold, {torn} torn"
        ),
        Check("estimates_of_strangers", known == 0, f"{known} of {estimates} estimates by a network that knew the subject"),
        Check("same_queries", not other, f"{len(asked)} numbers of readings, {len(other)} of them with queries of their own"),
    ]


def _shared(fold: Fold, course: Course) -> Any:
    learned = np.concatenate([fold.train, fold.validation])
    return fold.test[np.isin(course.person[fold.test], course.person[learned])]


# -------------------------------------------------------------------------------------------------------------- content
def content(
    about: Mapping[str, Any], judged: judging.Judged, terms: Terms, done: Sequence[Done], checks: Sequence[Check]
) -> dict[str, Any]:
    """Return what ``calibration.json`` holds; see ``docs/calibration.md``.

    Parameters
    ----------
    about, judged
        What `about_run` tells of the run, and what answers are judged against.
    terms, done, checks
        What was compared under what terms, what came of every fold, and the audit.
    """
    anchoring, answers, chains = terms.anchoring, joined(done, "answers"), joined(done, "chains")
    gap, counts = anchoring.gap_s(judged.course), list(anchoring.counts)
    told: dict[str, Any] = {
        "schema": SCHEMA, **about, "counts": counts, "embargo_s": gap,
        "draws": anchoring.draws, "folds": len(done), "seeds": sorted({one.fold.seed for one in done}),
        "methods": list(terms.methods), "plain": list(PLAIN), "oracles": [judging.PERSON_MEAN],
        "sets": {
            judging.COMMON: {
                "says": f"on the windows that lie {gap:g} s or more after the first {anchoring.most}, the same for every K",
                "without": _without(done, "common"),
            },
            judging.NEXT: {
                "says": "on all windows after the readings, without an embargo",
                "without": {str(k): _without(done, f"next {k}") for k in counts},
            },
            judging.BOTH: {"says": "first readings and random ones on the same windows: those that neither way tells"},
        },
        "choice": [{"seed": one.fold.seed, "fold": one.fold.number, "chosen": one.told["chosen"], "inner": one.told["inner"]}
                   for one in done],
        "seconds": {name: sum(one.told["seconds"].get(name, 0.0) for one in done) for name in terms.methods},
        "audit": {"passed": all(one.passed for one in checks), "checks": [asdict(one) for one in checks]},
    }  # fmt: skip
    told["targets"] = {
        name: {
            "unit": "mmHg", **judging.judge(answers, name, judged),
            "schedule": judging.plans(chains, name, judged) if len(chains) else None,
            "tracking_points": _points(answers, name, judged, counts[0]),
        }
        for name in judged.table.target_names
    }  # fmt: skip
    told["sentences"] = judging.sentences(told)
    return told


def about_run(run: Path, opened: Opened) -> dict[str, Any]:
    """Return what the run's own scores say of its data; a folder without them is told of by its windows."""
    path = run / "scores.json"
    scores = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    sources = sorted(set(opened.table.index.get("label_source", ()))) or ["unknown"]
    return {
        "dataset": scores.get("dataset", opened.recipe.data.dataset), "model": scores.get("model", "unknown"),
        "reference": scores.get("reference", sources[0]), "stamps": list(scores.get("stamps", ())), "run": run.name,
        "unit": "person" if "person" in opened.table.index else "subject",
    }  # fmt: skip


def _without(done: Sequence[Done], key: str) -> dict[str, int]:
    """Return how many people have no queries, by reason; every seed tests the same people."""
    found: dict[str, int] = {}
    for one in (one for one in done if one.fold.seed == done[0].fold.seed):
        for reason, many in one.told["without"].get(key, {}).items():
            found[reason] = found.get(reason, 0) + many
    return found


def _points(answers: pd.DataFrame, target: str, judged: judging.Judged, count: int, most: int = 1500) -> list[list[float]]:
    """Return changes from the reading (reference, estimate) of the smallest K to draw, at most so many, evenly taken."""
    own = answers[(answers["draw"] == FIRST) & (answers["k"] == count)]
    asked = judged.asked(own, target)
    rows = np.unique(np.linspace(0, len(asked) - 1, min(most, len(asked))).round().astype(int))
    change, said = asked.truth - asked.level, asked.told[CHOSEN] - asked.level
    return [[round(float(change[i]), 2), round(float(said[i]), 2)] for i in rows]


def long_table(answers: pd.DataFrame, judged: judging.Judged) -> pd.DataFrame:
    """Return ``calibrated.parquet``: a row a query, method, target, K, way of drawing and seed."""
    import pandas as pd

    rows = answers["row"].to_numpy(np.int64)
    index, course = judged.table.index, judged.course
    shared = pd.DataFrame({
        "person": pd.Categorical(course.names[course.person[rows]]),
        "subject": pd.Categorical(index["subject"].to_numpy(dtype=str)[rows]),
        "record": pd.Categorical(index["record"].to_numpy(dtype=str)[rows]),
        "onset_s": index["onset_s"].to_numpy(np.float64)[rows],
        "row": rows, "seed": answers["seed"], "fold": answers["fold"], "k": answers["k"],
        "draw": pd.Categorical(answers["draw"]), "common": answers["common"],
        "since_s": np.where(np.isfinite(answers["since_s"]), answers["since_s"], np.nan),
    })  # fmt: skip
    frames = []
    for target in judged.table.target_names:
        truth = judged.table.targets[rows, judged.table.target_names.index(target)].astype(np.float64)
        for name in [n.removesuffix(f".{target}") for n in answers.columns if n.endswith(f".{target}")]:
            if name != "level":
                beside = {"y_true": truth, "y_pred": answers[f"{name}.{target}"], "anchor": answers[f"level.{target}"]}
                frames.append(shared.assign(method=name, target=target, **beside))
    return pd.concat(frames, ignore_index=True).astype({"method": "category", "target": "category"})
