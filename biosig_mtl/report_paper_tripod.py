"""What a reader asks of a prediction study (TRIPOD+AI), as far as a run can answer, and what only its authors can.

The items are those of the statement, by number, in our own short words: Collins GS et al., TRIPOD+AI statement, BMJ
2024;385:e078378 (27 items, 52 with their parts). Its full wording and explanation are there; filling in this list does not
make a report complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from biosig_mtl.report_paper_methods import methods, recipe_of, sets_of, short
from biosig_mtl.report_paper_text import Table
from biosig_mtl.report_sections import Run, dropped, name_of, number
from biosig_mtl.report_verdict import CLASSES, PRESSURE, kind_of

FROM_RUN, IN_PART, AUTHORS = "from the run", "in part", "authors must say"


@dataclass(frozen=True, slots=True)
class Item:
    """An item: its number, its part of the paper, what it asks, and what the authors add even where the run knows something."""

    number: str
    section: str
    asks: str
    left: str = ""


ITEMS = (
    Item("1", "Title", "say that a prediction model is developed or evaluated, in whom, for which outcome"),
    Item("2", "Abstract", "the items of TRIPOD+AI for abstracts"),
    Item("3a", "Introduction", "health context, and why this model beside those that exist"),
    Item("3b", "Introduction", "for whom, for which purpose and which users the model is meant"),
    Item("3c", "Introduction", "known inequalities in health between groups of people"),
    Item("4", "Introduction", "the aims: development, evaluation, or both"),
    Item("5a", "Methods", "sources of the data, to learn from and to test, and whom they stand for", "whom the data stand for"),
    Item("5b", "Methods", "dates when people were recorded"),
    Item("6a", "Methods", "setting: kind, number and place of the centres"),
    Item("6b", "Methods", "who was eligible", "eligibility as the data set's own paper gives it"),
    Item("6c", "Methods", "treatments, and how they were handled"),
    Item(
        "7",
        "Methods",
        "preparation of data and checks of quality, and whether alike in all groups",
        "whether alike in all groups",
    ),
    Item(
        "8a",
        "Methods",
        "the outcome: what, how and when measured",
        "why this outcome, and whether measured alike in all groups",
    ),
    Item("8b", "Methods", "who judged an outcome that needs judgement"),
    Item("8c", "Methods", "blinding of who assessed the outcome"),
    Item("9a", "Methods", "how predictors were chosen at first", "why these"),
    Item("9b", "Methods", "all predictors: what, how and when measured"),
    Item("9c", "Methods", "who judged a predictor that needs judgement"),
    Item("10", "Methods", "how the size of the study was arrived at", "the reason for the size"),
    Item("11", "Methods", "missing data, and why data were left out"),
    Item("12a", "Methods", "how the data were parted to develop and to evaluate"),
    Item("12b", "Methods", "how predictors were handled: scaling, form"),
    Item("12c", "Methods", "the model, how it was built and tuned, internal validation", "how the recipe was arrived at"),
    Item("12d", "Methods", "differences between clusters such as hospitals"),
    Item("12e", "Methods", "the measures and plots by which the model is judged, and why"),
    Item("12f", "Methods", "updating of the model after evaluation, such as recalibration"),
    Item("12g", "Methods", "how predictions were computed: code, object"),
    Item("13", "Methods", "what was done about rare classes, and recalibration after it"),
    Item("14", "Methods", "what was done for fairness, and why"),
    Item("15", "Methods", "what the model gives out, and reasons for thresholds"),
    Item("16", "Methods", "differences between the data learned from and tested", "settings and eligibility of both"),
    Item("17", "Methods", "ethical approval and consent"),
    Item("18a", "Open science", "funding and the part of the funders"),
    Item("18b", "Open science", "conflicts of interest"),
    Item("18c", "Open science", "where the study's protocol is, or that there is none"),
    Item("18d", "Open science", "registration, or that there is none"),
    Item("18e", "Open science", "where the data are", "where own data are"),
    Item("18f", "Open science", "where the code is", "an address and a version of it"),
    Item("19", "Involvement", "how patients and the public took part, or that they did not"),
    Item("20a", "Results", "the way of people through the study, a diagram if it helps"),
    Item(
        "20b",
        "Results",
        "who they were, in all and a data source: dates, people, outcome, missing data",
        "dates, age, sex, health",
    ),
    Item("20c", "Results", "predictors and people tested beside those learned from"),
    Item("21", "Results", "how many people and outcomes in each analysis"),
    Item("22", "Results", "the whole model, so that others can use it: code, object, access", "where others find the folder"),
    Item("23a", "Results", "performance with intervals, also in key groups", "groups by age, sex and origin"),
    Item("23b", "Results", "differences of performance between clusters"),
    Item("24", "Results", "results of updating the model"),
    Item("25", "Discussion", "what the results mean, fairness included, beside earlier studies"),
    Item("26", "Discussion", "limits: people, size, overfitting, missing data, and what follows", "what follows from them"),
    Item("27a", "Discussion", "what to do with poor or missing input in use", "what is to be done in use"),
    Item("27b", "Discussion", "whether users handle input or model, and what they must know"),
    Item("27c", "Discussion", "next steps, and where else it may hold"),
)


def checklist(run: Run) -> Table:
    """Return the checklist: number, part, what is asked, who answers, and what the run answers."""
    parts = {part.title: part.paragraphs for part in methods(run)}
    rows = []
    for item in ITEMS:
        answer = ANSWERS[item.number](run, parts) if item.number in ANSWERS else ""
        state = (IN_PART if item.left else FROM_RUN) if answer else AUTHORS
        add = f" The authors add: {item.left}." if answer and item.left else ""
        rows.append((item.number, item.section, item.asks, state, f"{answer}{add}"))
    counts = {state: sum(row[3] == state for row in rows) for state in (FROM_RUN, IN_PART, AUTHORS)}
    told = ", ".join(f"{state}: {n}" for state, n in counts.items())
    notes = (
        f"{len(rows)} items; {told}. Item wording is ours; the statement is Collins GS et al., BMJ 2024;385:e078378.",
        "This list helps to fill in the checklist. It does not show that a report is complete.",
    )
    return Table("tripod_ai", "TRIPOD+AI: what the run answers, and what the authors must say.",
                 ("Item", "Part", "Asked", "Answered", "Answer"), tuple(rows), notes)  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- the answers
Parts = Mapping[str, tuple[str, ...]]
Answer = Callable[[Run, Parts], str]


def _part(title: str) -> Answer:
    return lambda _, parts: _seen(title, parts)


def _seen(title: str, parts: Parts) -> str:
    """Return where the methods tell it, and how they begin."""
    found = parts.get(title)
    return f'Methods, "{title}": {found[0]}' if found else ""


def _prepared(run: Run, parts: Parts) -> str:
    return _seen("Signals and windows", parts) if recipe_of(run) else ""


def _aims(run: Run, _: Parts) -> str:
    targets = " and ".join(map(short, run.scores["targets"]))
    how = "another data set than it was learned from" if _two_sets(run) else "people of the same data set"
    return f"Development of a model of {targets}, and its evaluation on {how}."


def _two_sets(run: Run) -> bool:
    return len(sets_of(run)) > 1


def _sources(run: Run, _: Parts) -> str:
    cited = [str(one["citation"]) for one in sets_of(run) if one.get("citation")]
    role = "The first was learned from, the last tested. " if _two_sets(run) else ""
    return f"{role}{' '.join(cited)}" if cited else ""


def _eligible(run: Run, _: Parts) -> str:
    told = dropped(run)
    return f"{told['windows']} windows and {told['records']} records were left out, by rules named in the run." if told else ""


def _outcome(run: Run, _: Parts) -> str:
    labels = [f"{short(n)}: {where}" for one in sets_of(run) for n, where in (one.get("labels") or {}).items()]
    reference = run.scores.get("reference")
    return "; ".join(dict.fromkeys(labels)) + (f". Reference: {reference}." if labels and reference else "")


def _predictors(run: Run, _: Parts) -> str:
    recipe = recipe_of(run)
    families = (recipe.get("features") or {}).get("families") or ()
    channels = (recipe.get("windows") or {}).get("channels") or ()
    return f"Channels {', '.join(channels)}; features {', '.join(map(name_of, families)) or 'none'}." if recipe else ""


def _size(run: Run, _: Parts) -> str:
    return (
        f"{run.scores['n_subjects']} subjects, {run.scores['n_windows']} windows: what the set had and the rules let through."
    )


def _measures(run: Run, parts: Parts) -> str:
    plots = "agreement, Bland–Altman, baselines" if _has(run, PRESSURE) else "baselines, agreement or confusion"
    return f"{_seen('Figures and intervals', parts)} Plots: {plots}."


def _has(run: Run, kind: str) -> bool:
    return any(kind_of(target) == kind for target in run.scores["targets"].values())


def _computed(run: Run, _: Parts) -> str:
    return f"By biosig-mtl {_version(run)} from the networks of the run; each tested window is in predictions.parquet."


def _version(run: Run) -> str:
    return str(((run.environment or {}).get("packages") or {}).get("biosig-mtl", "(version not in the run)"))


def _output(run: Run, _: Parts) -> str:
    told = []
    for name, target in run.scores["targets"].items():
        kind = (
            "a class and its probability" if kind_of(target) == CLASSES else f"a number in {target.get('unit') or 'its unit'}"
        )
        told.append(f"{short(name)}: {kind}")
    ends = " with a prediction interval" if run.scores.get("intervals") else ""
    edges = [f"{short(n)} at {', '.join(map(str, t['edges']))}" for n, t in run.scores["targets"].items() if t.get("edges")]
    return f"{'; '.join(told)}{ends}." + (f" Classes are cut: {'; '.join(edges)}." if edges else "")


def _differences(run: Run, _: Parts) -> str:
    return "Two data sets: " + " and ".join(str(one["title"]) for one in sets_of(run)) + "." if _two_sets(run) else ""


def _where(run: Run, _: Parts) -> str:
    return " ".join(
        f"{one['title']}: {one.get('url', '')} ({one.get('licence', '')})." for one in sets_of(run) if one.get("title")
    )


def _in_each(run: Run, parts: Parts) -> str:
    found = [text for text in parts["Who was trained on, who was tested"] if text.startswith("In a fold:")]
    return " ".join([f"{run.scores['n_subjects']} subjects and {run.scores['n_windows']} windows were tested.", *found])


def _performance(_: Run, parts: Parts) -> str:
    return f"{' '.join(parts['Result in a sentence'])} Tables: main, figures, classes."


def _rare(run: Run, _: Parts) -> str:
    if not _has(run, CLASSES):
        return "Does not apply: the outcomes are numbers."
    return "Judged by balanced accuracy, in which each class counts alike." if not recipe_of(run) else _weights(run)


def _weights(run: Run) -> str:
    words = (recipe_of(run).get("training") or {}).get("class_weights")
    return f"Class weights in training: {words}." if words is not None else "Nothing is set in the recipe beyond its defaults."


def _limits(run: Run, _: Parts) -> str:
    known = [str(defect) for one in sets_of(run) for defect in one.get("defects") or ()]
    return " ".join([*known, *(f"{w}." for w in run.scores.get("warnings") or ())])


def _poor_input(run: Run, _: Parts) -> str:
    share = number(100 * float(run.scores["coverage"]), 1)
    return f"Windows are refused by quality and missing channels, with a reason each; {share} % of windows passed in this run."


ANSWERS: dict[str, Answer] = {
    "4": _aims, "5a": _sources, "6b": _eligible, "7": _prepared, "8a": _outcome, "9a": _predictors,
    "9b": _predictors, "10": _size, "11": _part("From records to windows"), "12a": _part("Who was trained on, who was tested"),
    "12b": _prepared, "12c": _part("Model"), "12e": _measures, "12g": _computed, "13": _rare, "15": _output,
    "16": _differences, "18e": _where, "18f": lambda run, _: f"biosig-mtl {_version(run)}; the recipe is in the run folder.",
    "20a": _part("From records to windows"), "20b": lambda *_: "Table cohort.", "21": _in_each,
    "22": lambda *_: "The run folder holds the recipe and the networks; biosig-mtl predict uses them.",
    "23a": _performance, "26": _limits, "27a": _poor_input,
}  # fmt: skip
