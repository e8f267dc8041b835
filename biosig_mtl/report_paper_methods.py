"""The protocol of a run in words, from the recipe, the folds and the scores; and the way from records to tested windows.

Nothing is said that the run folder does not hold. What only the authors know is left to them; `report_paper_tripod` lists it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from biosig_mtl.evaluation.intervals import REPEATS
from biosig_mtl.evaluation.oracles import ORACLES
from biosig_mtl.recipe_text import plain_yaml
from biosig_mtl.report_paper_tables import warnings
from biosig_mtl.report_paper_text import Part
from biosig_mtl.report_sections import Run, dropped, interval, name_of, number
from biosig_mtl.report_verdict import CLASSES, PRESSURE, kind_of, verdict_lines
from biosig_mtl.report_words import PROTOCOLS
from biosig_mtl.types import DataError, RecipeError

if TYPE_CHECKING:
    import pandas as pd

_LEVELS = {
    "person": "its ids are persons",
    "group": "its ids are conservative groups, which may merge people and were never split on purpose",
    "record": "its ids are records, of which a person may have several",
    "unknown": "what its ids are is not known",
}
_STEPS = {
    "bandpass": "band-pass {low_hz}–{high_hz} Hz of {channel}", "lowpass": "low-pass {high_hz} Hz of {channel}",
    "highpass": "high-pass {low_hz} Hz of {channel}", "notch": "notch filter of {channel}",
    "resample": "resampling to {fs_hz} Hz",
    "detect_beats": "beat detection in {channel}", "detect_fiducials": "fiducial points of {channel}",
    "assess_quality": "signal quality of {channel}",
}  # fmt: skip


def recipe_of(run: Run) -> dict[str, Any]:
    """Return the recipe as plain content; empty where the run has none.

    Raises
    ------
    DataError
        It is not readable as YAML.
    """
    try:
        content = plain_yaml(run.recipe or "", str(run.path / "recipe.yaml"))
    except RecipeError as error:
        raise DataError(f"{error}; write the run again") from error
    return content if isinstance(content, dict) else {}


def sets_of(run: Run) -> list[Mapping[str, Any]]:
    """Return what is known of the data sets: one, or the one learned from and the one tested."""
    known = run.dataset or {}
    found = known.get("datasets")
    if isinstance(found, Mapping):
        return list(found.values())
    return list(found) if isinstance(found, list) else [known] if known.get("name") else []


def methods(run: Run) -> list[Part]:
    """Return the protocol in words, a part a question: who, how prepared, how split, what learned, how judged, what found."""
    recipe = recipe_of(run)
    parts = [
        Part("Data", tuple(_data(run))),
        Part("From records to windows", tuple(flow(run))),
        Part("Signals and windows", tuple(_preparation(recipe))),
        Part("Who was trained on, who was tested", tuple(_split(run, recipe))),
        Part("Model", tuple(_model(run, recipe))),
        Part("Baselines", tuple(_baselines(run))),
        Part("Figures and intervals", tuple(_figures(run))),
        Part("Audit for leaks", tuple(_audit(run))),
        Part("Result in a sentence", (*warnings(run.scores), *verdict_lines(run.scores, stamped=False))),
        Part("Software", tuple(_software(run))),
    ]
    return [part for part in parts if part.paragraphs]


def _data(run: Run) -> list[str]:
    told = []
    for one in sets_of(run):
        text = f"{one['title']} (version {one.get('version', 'not known')}, {one.get('licence', 'licence not known')}"
        text += f", doi:{one['doi']})" if one.get("doi") else ")"
        text += f"; {_LEVELS.get(str(one.get('subject_level')), _LEVELS['unknown'])}"
        timing = "reliable" if one.get("timing_reliable") else "not reliable"
        told.append(f"{text}. Times between its channels are {timing}: {one.get('timing_reason', 'no reason is given')}.")
        if one.get("labels"):
            told.append("Reference: " + "; ".join(f"{short(name)}: {where}" for name, where in one["labels"].items()) + ".")
        if one.get("defects"):
            told.append("Known defects: " + " ".join(str(defect) for defect in one["defects"]))
        if one.get("simulated"):
            told.append("THESE DATA ARE SIMULATED: they are no recordings of people.")
    return told or [f"Data set {run.scores['dataset']}; the run folder holds no more facts about it."]


def short(name: str) -> str:
    """Write the name of a target in a sentence."""
    return name.upper() if name in {"sbp", "dbp"} else name_of(name)


def flow(run: Run) -> list[str]:
    """Return how many records and windows were left at each step, in words."""
    scores, told = run.scores, dropped(run)
    text = f"{scores['n_windows']} windows of {scores['n_subjects']} subjects were tested. "
    text += f"Of all windows that were cut, to learn from and to test, {number(100 * float(scores['coverage']), 1)} % were used"
    text += "." if scores.get("coverage_sufficient", True) else "; the run calls this insufficient."
    if told is None:
        return [f"{text} {scores['n_rejected']} were not used; the reasons are not in the run."]
    reasons = "; ".join(f"{reason}: {n}" for reason, n in told["counts"].items())
    lost = f"Not used: {told['windows']} windows and {told['records']} whole records"
    return [text, f"{lost} ({reasons})." if reasons else f"{lost}."]


def _preparation(recipe: Mapping[str, Any]) -> list[str]:
    if not recipe:
        return ["The run folder holds no recipe: how the signals were prepared is for the authors to say."]
    steps = [_step(step) for step in recipe.get("signal") or () if isinstance(step, Mapping)]
    told = ["Steps, in this order: " + "; ".join(steps) + "."] if steps else []
    windows = recipe.get("windows") or {}
    text = f"Windows of {windows.get('length_s', '?')} s, one every {windows.get('stride_s', '?')} s"
    text += f", of the channels {', '.join(windows['channels'])}" if windows.get("channels") else ""
    text += f" and, where there, {', '.join(windows['optional'])}" if windows.get("optional") else ""
    text += f". The label of a window comes from {windows['reference']}" if windows.get("reference") else ""
    asked = {"min_beats": "at least {} beats", "min_sqi": "a signal quality of at least {}"}
    limits = [words.format(windows[key]) for key, words in asked.items() if windows.get(key) is not None]
    text += f". A window was used only with {' and '.join(limits)}" if limits else ""
    families = (recipe.get("features") or {}).get("families") or ()
    features = [f"Features: {', '.join(map(name_of, families))}."] if families else []
    return [*told, f"{text}.", *features]


def _step(step: Mapping[str, Any]) -> str:
    words = {key: value for key, value in step.items() if value is not None}
    pattern = _STEPS.get(str(step.get("step")))
    try:
        return pattern.format(**words) if pattern else _plainly(words)
    except KeyError:
        return _plainly(words)


def _plainly(words: Mapping[str, Any]) -> str:
    rest = ", ".join(f"{name_of(str(key))} {value}" for key, value in words.items() if key != "step")
    return f"{name_of(str(words.get('step', 'a step')))}" + (f" ({rest})" if rest else "")


def _split(run: Run, recipe: Mapping[str, Any]) -> list[str]:
    scores = run.scores
    says = str((scores.get("protocol_guarantee") or {}).get("says") or "")
    ours = PROTOCOLS.get(str(scores["protocol"]), "")
    seeds = f"{_count(len(scores['seeds']), 'seed')} ({', '.join(map(str, scores['seeds']))})"
    told = [f"Protocol {name_of(str(scores['protocol']))}: {_count(int(scores['folds']), 'fold')}, {seeds}.", *_sizes(run)]
    told += [ours] if ours else []
    told += [line for line in says.splitlines() if line.strip()]
    excluded = (recipe.get("data") or {}).get("exclude") or {}
    told += [f"Left out by the recipe: {', '.join(map(str, excluded))}."] if excluded else []
    fitted = [c for c in scores["audit"]["checks"] if c["name"] == "fitted_outside_training" and c["passed"]]
    told += [f"What was fitted, as the audit found: {check['detail']}." for check in fitted]
    return [*told, "Whether the recipe was chosen with a look at results on these data is for the authors to say."]


def _count(number_of: int, word: str) -> str:
    return f"{number_of} {word}" if number_of == 1 else f"{number_of} {word}s"


def _sizes(run: Run) -> list[str]:
    """Return how many subjects and windows stood in each part of a fold, as ``folds.parquet`` lists them."""
    import pandas as pd

    path = run.path / "folds.parquet"
    if not path.is_file():
        return []
    table = pd.read_parquet(path)
    if not {"part", "fold", "seed", "subject"} <= set(table.columns) or table.empty:
        return []
    told = []
    for part in ("train", "validation", "test"):
        folds = table[table["part"] == part].groupby(["seed", "fold"])
        people, windows = folds["subject"].nunique(), folds.size()
        if len(people):
            told.append(f"{part} {_span(people)} subjects, {_span(windows)} windows")
    return [f"In a fold: {'; '.join(told)}."] if told else []


def _span(counts: pd.Series[int]) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low}–{high}"


def _model(run: Run, recipe: Mapping[str, Any]) -> list[str]:
    told = [f"Network {run.scores['model']}."]
    for key, label in (("model", "Model"), ("training", "Training")):
        words = _flat({k: v for k, v in (recipe.get(key) or {}).items() if k != "name"})
        told += [f"{label}, in the recipe: {words}; all else by the defaults of the version named below."] if words else []
    told += [f"Noted by the run: {'; '.join(map(str, run.scores['warnings']))}."] if run.scores.get("warnings") else []
    return told


def _flat(content: Mapping[str, Any]) -> str:
    """Write settings as one phrase."""
    words = []
    for key, value in content.items():
        inner = _flat(value) if isinstance(value, Mapping) else ""
        if inner:
            words.append(f"{name_of(str(key))}: {inner}")
        elif value is not None and not isinstance(value, Mapping):
            words.append(f"{name_of(str(key))} {_setting(value)}")
    return "; ".join(words)


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _baselines(run: Run) -> list[str]:
    known: Mapping[str, Any] = run.scores["baselines"]
    absent = {name_of(word): content["unavailable"] for word, content in known.items() if "unavailable" in content}
    oracles = [name_of(word) for word in known if word in ORACLES]
    had = [name_of(word) for word in known if name_of(word) not in absent and word not in ORACLES]
    told = [f"Compared on the same folds and windows with: {', '.join(had)}." if had else "There is no baseline in this run."]
    told += [f"Not available: {'; '.join(f'{word} ({why})' for word, why in absent.items())}."] if absent else []
    return told + ([f"Told labels of the tested people, so no competitor: {', '.join(oracles)}."] if oracles else [])


def _figures(run: Run) -> list[str]:
    kinds = {kind_of(target) for target in run.scores["targets"].values()}
    told = [
        "Figures were computed for each subject and averaged over subjects; pooled figures, over all windows, stand beside "
        f"them. Intervals are 95 % percentile intervals of {REPEATS} bootstrap draws of subjects, not of windows; comparisons "
        "are paired: model and baseline are drawn with the same subjects.",
    ]
    if PRESSURE in kinds:
        told.append(
            "Errors are estimate minus reference. MASE is the MAE divided by that of the median of the training subjects. "
            "Criteria of ISO 81060-2:2018, BHS 1993 and IEEE 1708 serve as numerical screens on retrospective data."
        )
    if CLASSES in kinds:
        told.append("Balanced accuracy is the mean recall of the classes that a subject had; by chance it is 1 ÷ their number.")
    for name, content in (run.scores.get("intervals") or {}).items():
        held, width = number(100 * content["coverage"], 1), number(content["width"], 1)
        level = f"{100 * content['level']:.0f} %"
        told.append(f"{short(name)}: prediction intervals of {level} held {held} % of the references; mean width {width}.")
    return told


def _audit(run: Run) -> list[str]:
    audit = run.scores["audit"]
    checks: Sequence[Mapping[str, Any]] = audit["checks"]
    failed = [check for check in checks if not check["passed"]]
    text = f"{len(checks) - len(failed)} of {len(checks)} checks passed ({', '.join(name_of(c['name']) for c in checks)})."
    told = [text, *(f"FAILED: {name_of(c['name'])}: {c['detail']}." for c in failed)]
    for name, content in (run.scores.get("negative_control") or {}).items():
        if content.get("mase") is not None:
            told.append(f"Trained on shuffled labels the same model reached a MASE of {number(content['mase'], 2)} "
                        f"({interval(content.get('mase_ci95'), 2)}) for {short(name)}; 1 is no skill.")  # fmt: skip
    return told


def _software(run: Run) -> list[str]:
    known = run.environment or {}
    packages = known.get("packages") or {}
    if not packages:
        return []
    listed = ", ".join(f"{name} {version}" for name, version in packages.items())
    return [f"Python {known.get('python', '?')} on {known.get('system', '?')}: {listed}."]
