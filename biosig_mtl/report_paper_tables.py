"""The tables of a paper, cell by cell out of a run folder: nothing is computed anew that ``scores.json`` holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from biosig_mtl import report_pressure
from biosig_mtl.evaluation.oracles import ORACLES
from biosig_mtl.report_affect import COMPARED
from biosig_mtl.report_affect import FIGURES as OF_AFFECT
from biosig_mtl.report_paper_text import Cell, Num, Table
from biosig_mtl.report_sections import Run, name_of, scored
from biosig_mtl.report_verdict import CLASSES, PRESSURE, RANKED_BY, class_names, kind_of, reached, stamps, versus_model

if TYPE_CHECKING:
    import pandas as pd

_SCREENED = "Numerical screens on retrospective data. No device or algorithm was examined by the procedure of a standard."
_OF_CLASS = (("n_windows", 0), ("n_subjects", 0), ("mae", 1), ("me", 1), ("sd", 1))
_OVER_PEOPLE = "Each figure is the mean over subjects; in brackets its 95 % interval (2000 bootstrap draws of subjects)."
# Figure, heading and decimals, by kind of target.
_COMPARED = {
    PRESSURE: (("mae", "MAE", 1), ("rmse", "RMSE", 1), ("mase", "MASE", 2), ("ccc", "CCC", 2)),
    **{kind: tuple((key, label, 2) for key, label in columns) for kind, columns in COMPARED.items()},
}


def tables(run: Run) -> list[Table]:
    """Return all tables that the run has content for, the main result first; each carries the stamps of the run."""
    made = [
        *main_results(run), figures(run), *classes(run), *confusions(run), screens(run), ablation(run), controls(run),
        cohort(run), excluded(run), audit(run),
    ]  # fmt: skip
    marks = warnings(run.scores)
    return [replace(table, notes=(*marks, *table.notes)) for table in made if table is not None and table.rows]


def warnings(scores: Mapping[str, Any]) -> list[str]:
    """Return what must stand under every number: a failed audit, and the stamps of the run."""
    marks = [] if scores["audit"]["passed"] else ["AUDIT FAILED, do not believe these numbers."]
    found = stamps(scores)
    return [*marks, *([f"Stamped by the run: {'; '.join(found)}."] if found else [])]


def called(name: str, target: Mapping[str, Any]) -> str:
    """Write the name of a target: pressures have short ones, and their unit."""
    unit = target.get("unit") or ""
    short = name.upper() if unit == "mmHg" else name_of(name)
    return f"{short}, {unit}" if unit and kind_of(target) != CLASSES else short


# ---------------------------------------------------------------------------------------------------------------- results
def main_results(run: Run) -> list[Table]:
    """Return the model beside every baseline; targets of different kinds have tables of their own."""
    made: list[Table] = []
    for kind in dict.fromkeys(kind_of(target) for target in run.scores["targets"].values()):
        named = [name for name, target in run.scores["targets"].items() if kind_of(target) == kind]
        columns = _COMPARED[kind]
        header = ("Target", "Predictor", *(label for _, label, _ in columns), "Model − predictor", "Verdict")
        rows = tuple(row for name in named for row in _against(run, name, kind))
        figure = RANKED_BY["regression" if kind == PRESSURE else kind][1]
        notes = [_OVER_PEOPLE, f"Model − predictor: paired difference of {figure} over the same subjects."]
        notes += ["MASE: MAE divided by that of the median of the training subjects."] if kind == PRESSURE else []
        pooled = kind != PRESSURE and any(reached(run.scores["targets"][n], columns[0][0])[2] for n in named)
        notes += ["Figures that no subject has are those over all windows."] if pooled else []
        absent = {name_of(w): c["unavailable"] for w, c in run.scores["baselines"].items() if "unavailable" in c}
        notes += [f"Not available: {word} ({reason})." for word, reason in absent.items()]
        told = [name_of(word) for word in ORACLES if word in run.scores["baselines"]]
        notes += [f"No competitor, because it is told labels of the tested people: {', '.join(told)}."] if told else []
        caption = f"Main result: {run.scores['model']} and all baselines on {_where(run)}."
        made.append(Table(f"main_{kind}" if made else "main", caption, header, rows, tuple(notes)))
    return made


def _where(run: Run) -> str:
    scores = run.scores
    return f"{scores['dataset']}, protocol {name_of(str(scores['protocol']))}, {scores['n_subjects']} subjects"


def _against(run: Run, name: str, kind: str) -> Iterator[tuple[Cell, ...]]:
    target, columns = run.scores["targets"][name], _COMPARED[kind]
    title = called(name, target)
    yield (title, run.scores["model"], *_cells(target, columns), "", "")
    figure = RANKED_BY["regression" if kind == PRESSURE else kind][0]
    for word, content in run.scores["baselines"].items():
        if "unavailable" in content:
            yield (title, name_of(word), *("–" for _ in columns), "", "not available")
        elif name in content:
            versus = versus_model(content[name], figure)
            gap = Num.of({"d": versus.get("difference"), "d_ci95": versus.get("ci95")}, "d", columns[0][2])
            yield (title, name_of(word), *_cells(content[name], columns), gap, str(versus.get("verdict") or ""))


def _cells(content: Mapping[str, Any], columns: tuple[tuple[str, str, int], ...]) -> list[Num]:
    found = []
    for key, _, digits in columns:
        value, ends, _ = reached(content, key)
        found.append(Num.of({key: value, f"{key}_ci95": ends}, key, digits))
    return found


def figures(run: Run) -> Table:
    """Return every figure of the model, over subjects and over windows."""
    rows: list[tuple[Cell, ...]] = []
    for name, target in run.scores["targets"].items():
        kind = kind_of(target)
        listed = report_pressure.FIGURES if kind == PRESSURE else [(key, label, 2) for key, label in OF_AFFECT[kind]]
        pooled = target.get("pooled") or {}
        pooled = {**pooled, **{f"{key}_ci95": ends for key, ends in (target.get("pooled_ci95") or {}).items()}}
        rows += [
            (called(name, target), label, Num.of(target, key, digits), Num.of(pooled, key, digits))
            for key, label, digits in listed
            if target.get(key) is not None or pooled.get(key) is not None
        ]
    notes = ["Mean over subjects: computed for each subject, then averaged. Pooled: every window weighs the same."]
    return Table("figures", f"All figures of {run.scores['model']} on {_where(run)}.",
                 ("Target", "Figure", "Mean over subjects", "Pooled"), tuple(rows), tuple(notes))  # fmt: skip


def classes(run: Run) -> list[Table]:
    """Return the error in each class of pressure."""
    rows: list[tuple[Cell, ...]] = [
        (name.upper(), str(row["class"]), *(Num(row.get(key), digits) for key, digits in _OF_CLASS))
        for name, target in run.scores["targets"].items()
        if kind_of(target) == PRESSURE
        for row in target.get("classes") or ()
    ]
    header = ("Target", "Reference, mmHg", "Windows", "Subjects", "MAE, mmHg", "Mean error, mmHg", "SD of errors, mmHg")
    notes = ("A mean error that falls as the pressure rises shows estimates that shrink to the mean.",)
    return [Table("classes", "Error by class of reference pressure.", header, tuple(rows), notes)] if rows else []


def confusions(run: Run) -> list[Table]:
    """Return the table of true and estimated classes of each target that has classes."""
    made = []
    for name, target in run.scores["targets"].items():
        matrix, names = target.get("confusion"), class_names(target)
        if not matrix or kind_of(target) == PRESSURE:
            continue
        rows: list[tuple[Cell, ...]] = [(w, *(Num(n, 0) for n in row)) for w, row in zip(names, matrix, strict=True)]
        caption = f"{name_of(name).capitalize()}: windows by true class (rows) and estimated class."
        made.append(Table(f"confusion_{name}", caption, ("True class", *(f"estimated {w}" for w in names)), tuple(rows)))
    return made


def screens(run: Run) -> Table:
    """Return the screens by the criteria of the standards."""
    words = {True: "kept", False: "not kept", None: "–"}
    rows = tuple(
        (name.upper(), screen["name"], *(str(word) for word in row[:3]), words[row[3]])
        for name, target in run.scores["targets"].items()
        if kind_of(target) == PRESSURE
        for screen in report_pressure.screens(target)
        for row in screen["rows"]
    )
    return Table("screens", "Criteria of standards for blood pressure, as a numerical screen.",
                 ("Target", "Standard", "Criterion", "Found", "Limit", "Outcome"), rows, (_SCREENED,))  # fmt: skip


def ablation(run: Run) -> Table | None:
    """Return what the parts of the model and of its inputs give."""
    found = run.scores.get("ablation")
    if not isinstance(found, list) or not found:
        return None
    keys = [key for key in dict.fromkeys(k for row in found for k in row) if not key.endswith("_ci95")]
    rows = tuple(tuple(_plain(row, key) for key in keys) for row in found)
    notes = (
        "MASE: MAE divided by that of the median of the training subjects. MAE over full model: above 1 the variant is worse.",
    )
    return Table("ablation", "What is lost without a part.", tuple(_head(key) for key in keys), rows, notes)


def _head(key: str) -> str:
    text = name_of(key).replace("mae", "MAE").replace("mase", "MASE").replace("ccc", "CCC")
    return text[:1].upper() + text[1:]


def _plain(row: Mapping[str, Any], key: str) -> Cell:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = "–" if value is None else str(value)
        return text.upper() if key == "target" and text in {"sbp", "dbp"} else text
    return Num.of(row, key, 0 if isinstance(value, int) else 2)


def controls(run: Run) -> Table:
    """Return the negative control, the prediction intervals, and the comparison with the median of the tested set."""
    rows: list[tuple[Cell, ...]] = []
    asked = {"negative_control": "trained on shuffled labels", "against_target_median": "against the median of the tested set"}
    for key, label in asked.items():
        for name, content in (run.scores.get(key) or {}).items():
            figure = next((word for word in ("mase", "balanced_accuracy", "mae") if content.get(word) is not None), "mase")
            rows.append((_title(run, name), f"{_head(figure)}, {label}", Num.of(content, figure, 2)))
    for name, content in (run.scores.get("intervals") or {}).items():
        level = f"{100 * content['level']:.0f} % prediction intervals"
        rows.append((_title(run, name), f"share of windows whose reference lies in the {level}", Num(content["coverage"], 3)))
        rows.append((_title(run, name), f"mean width of the {level}", Num(content["width"], 1)))
    return Table("controls", "Controls and prediction intervals.", ("Target", "What", "Found"), tuple(rows))


def _title(run: Run, name: str) -> str:
    return called(name, run.scores["targets"].get(name, {}))


# ------------------------------------------------------------------------------------------------------------------ people
def cohort(run: Run) -> Table:
    """Return who was tested: the usual first table. Medians and spreads are computed from ``predictions.parquet``."""
    scores, test = run.scores, scored(run)
    test = test[test["seed"] == test["seed"].min()]
    one = test[test["target"] == next(iter(scores["targets"]))]
    counts = one.groupby("subject", observed=True).size()
    rows: list[tuple[Cell, ...]] = [("Subjects", Num(scores["n_subjects"], 0)), ("Windows", Num(scores["n_windows"], 0))]
    rows += [("Records", Num(int(one["record"].nunique()), 0))] if "record" in one else []
    if len(counts):
        rows.append(("Windows a subject, median", Num(float(counts.median()), 0)))
        rows.append(("Windows a subject, fewest to most", f"{int(counts.min())} to {int(counts.max())}"))
    known = scores.get("demographics") or (run.dataset or {}).get("demographics") or {}
    for key, value in known.items():
        rows += _demographic(name_of(str(key)), value)
    for name, target in scores["targets"].items():
        if kind_of(target) == CLASSES:
            shares = target.get("class_windows") or {}
            rows += [(f"{name_of(name)}: windows of class {word}", Num(n, 0)) for word, n in shares.items()]
        else:
            rows += _levels(called(name, target), test[test["target"] == name])
    note = "Age, sex and health of the subjects are not in the run: the authors must add them."
    return Table(
        "cohort", f"Who was tested: {scores['dataset']}.", ("Characteristic", "Value"), tuple(rows), () if known else (note,)
    )


def _levels(title: str, part: pd.DataFrame) -> list[tuple[Cell, ...]]:
    """Return how the reference spreads over people and over windows."""
    mean = part.groupby("subject", observed=True)["y_true"].mean()
    if mean.empty:
        return []
    return [
        (f"Reference {title}: mean of subject means", Num(float(mean.mean()), 1)),
        (f"Reference {title}: SD of subject means", Num(float(mean.std(ddof=1)) if len(mean) > 1 else None, 1)),
        (f"Reference {title}: lowest to highest window", f"{part['y_true'].min():.0f} to {part['y_true'].max():.0f}"),
    ]


def _demographic(label: str, value: Any) -> list[tuple[Cell, ...]]:
    if isinstance(value, dict):
        return [row for key, one in value.items() for row in _demographic(f"{label}, {name_of(str(key))}", one)]
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return [(label, Num(value, 0 if isinstance(value, int) else 1) if known else str(value))]


def excluded(run: Run) -> Table | None:
    """Return what was not used, by reason."""
    if run.rejected is None or run.rejected.empty:
        return None
    table = run.rejected
    whole = table["onset_s"].isna()
    rows: list[tuple[Cell, ...]] = []
    for reason in table["reason"].value_counts().index:
        mine = table["reason"] == reason
        rows.append((str(reason), Num(int((mine & ~whole).sum()), 0), Num(int((mine & whole).sum()), 0)))
    return Table("excluded", "What was not used, by reason.", ("Reason", "Windows", "Whole records"), tuple(rows))


def audit(run: Run) -> Table:
    """Return the audit for leaks, a row a check."""
    outcome = {True: "passed", False: "FAILED"}
    rows = tuple((name_of(c["name"]), outcome[bool(c["passed"])], str(c["detail"])) for c in run.scores["audit"]["checks"])
    return Table("audit", "Audit of the run for leaks.", ("Check", "Outcome", "What was looked at"), rows)


# ----------------------------------------------------------------------------------------------------------------- contest
def contest(made: Mapping[str, Any]) -> Table:
    """Return the standings of ``compare.json``, the largest gain first."""
    ranked = sorted(made["rows"], key=lambda row: -row["delta_m"] if row["delta_m"] is not None else float("inf"))
    digits = {
        name: 3 if target["classes"] else 1 if target["unit"] == "mmHg" else 2 for name, target in made["targets"].items()
    }
    rows: list[tuple[Cell, ...]] = []
    for row in ranked:
        errors = [Num.of(row["targets"].get(name) or {}, "error", digits[name]) for name in made["targets"]]
        gain = Num.of({"g": row["delta_m"], "g_ci95": row.get("delta_m_ci95")}, "g", 1)
        rows.append((str(row["label"]), Num(row.get("parameters"), 0), *errors, gain, str(row["verdict"])))
    heads = [f"{name.upper() if t['unit'] == 'mmHg' else name_of(name)}, {t['is']}" for name, t in made["targets"].items()]
    notes = (
        _OVER_PEOPLE,
        "Δm: mean relative gain over single-task networks of the same size, in per cent.",
        str(made["headline"]),
    )
    return Table("contest", f"Models compared on {made['dataset']}, {made['n_subjects']} subjects.",
                 ("Model", "Parameters", *heads, "Δm, %", "Verdict"), tuple(rows), notes)  # fmt: skip
