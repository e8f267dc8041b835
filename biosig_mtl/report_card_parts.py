"""Sections of the model card about data, protocol, use and limits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from biosig_mtl.recipe_text import plain_yaml
from biosig_mtl.report_sections import Run, audit_sentence, interval, name_of, number
from biosig_mtl.report_verdict import PRESSURE, kind_of, stamps

NOT_TOLD = "the run's files do not tell"
_PERSON = {"person.age_years": "age, years", "person.sex_male": "share of men", "person.height_cm": "height, cm",
           "person.weight_kg": "weight, kg", "person.bmi": "body mass index"}  # fmt: skip
# A class of the reference whose error is this many times that of all is named among the limits.
WORSE = 1.5


@dataclass(frozen=True)
class Block:
    """A paragraph, a list, a table or a piece of code: what is not empty."""

    text: str = ""
    lines: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    code: str = ""


@dataclass(frozen=True)
class Section:
    """A heading with its blocks; without any it is left out."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Card:
    """A model card: its name, its head for machines, its sections for people."""

    name: str
    head: Mapping[str, Any]
    sections: tuple[Section, ...] = field(default_factory=tuple)


def intended(scores: Mapping[str, Any]) -> Section:
    """Return what the model is for, and what it is not for."""
    what = "blood pressure" if scores["task"] == "blood_pressure" else str(scores["task"]).replace("_", " ")
    marks = [f"stamped: {stamp}" for stamp in stamps(scores)]
    return Section(
        "Intended use",
        (
            Block(text="Research use only. This is not a medical device."),
            Block(
                lines=(
                    *marks,
                    f"intended: research on estimating {what} from recordings like those it was tested on; a reference for "
                    "comparing methods under the same protocol",
                    "out of scope: diagnosis, treatment, triage or monitoring of patients; decisions about a person (work, "
                    "insurance, policing, schools); devices, places and people unlike those of the data below",
                )
            ),
        ),
    )


def inputs(run: Run, model: Mapping[str, Any]) -> Section:
    """Return what a recording must have."""
    recipe = (plain_yaml(run.recipe, str(run.path / "recipe.yaml")) if run.recipe else None) or {}
    windows, spec = recipe.get("windows") or {}, model.get("spec") or {}
    if not windows and not spec:
        return Section("Inputs", (Block(text=f"What it needs: {NOT_TOLD}."),))
    lines = [
        f"windows of {windows.get('length_s', NOT_TOLD)} s; needed channels: {_words(windows.get('channels'))}; used where "
        f"they are good: {_words(windows.get('optional'))}"
    ]
    if windows.get("trails"):
        lines.append("also: " + ", ".join(f"{name} (last {seconds:g} s)" for name, seconds in windows["trails"].items()))
    families = dict.fromkeys(str(name).partition(".")[0] for name in spec.get("features", ()))
    if families:
        lines.append(f"{len(spec['features'])} features of the families {', '.join(families)}; missing ones are allowed")
    lines += [
        f"track {t['name']}: {t['samples']} samples at {t['fs']:g} Hz of {_words(t['channels'])}"
        for t in spec.get("tracks", ())
    ]
    return Section("Inputs", (Block(lines=tuple(lines)),))


def _words(words: Any) -> str:
    return ", ".join(map(str, words)) if words else "none"


def data(run: Run, model: Mapping[str, Any]) -> Section:
    """Return where the data come from, under which licence, and who is in them."""
    told = run.dataset or {}
    s = run.scores
    labels = told.get("labels") or {}
    lines = [
        f"{told.get('title') or s['dataset']} (version {told.get('version') or NOT_TOLD})",
        f"licence of the data: {told.get('licence') or NOT_TOLD}",
        f"source: {told.get('doi') or told.get('url') or NOT_TOLD}",
        f"a subject is a {told.get('subject_level') or 'subject of the data set'}",
        *(f"reference of {name}: {what}" for name, what in labels.items()),
        f"{s['n_subjects']} subjects, {s['n_windows']} windows tested; {s['n_rejected']} windows refused before",
        *_people(run, model),
    ]
    return Section("Data", (Block(lines=tuple(lines)),))


def _people(run: Run, model: Mapping[str, Any]) -> list[str]:
    """Return who is in: from the run's own summary, else from the scales that the networks carry, else that it is not told."""
    told = run.scores.get("demographics") or (run.dataset or {}).get("demographics")
    if isinstance(told, Mapping):
        return [f"{name_of(str(key))}: {_fact(value)}" for key, value in told.items()]
    names = list((model.get("spec") or {}).get("features", ()))
    scalers = [member["scaler"] for member in (model.get("members") or {}).values()]
    known = [(what, names.index(name)) for name, what in _PERSON.items() if name in names]
    if not known or not scalers:
        return [f"age, sex and size of the people: {NOT_TOLD}"]
    found = []
    for what, column in known:
        mean, spread = (sum(s[key][column] for s in scalers) / len(scalers) for key in ("feature_center", "feature_scale"))
        found.append(f"{what}: {number(mean, 2 if mean < 1 else 1)} ± {number(spread, 2 if mean < 1 else 1)}")
    return [f"people, mean ± SD over training windows: {'; '.join(found)}"]


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name_of(str(key))} {_fact(one)}" for key, one in value.items())
    return number(value, 1) if isinstance(value, float) else str(value)


def protocol(run: Run) -> Section:
    """Return how it was tested, and what the audit found."""
    s = run.scores
    says = [line for line in str((s.get("protocol_guarantee") or {}).get("says") or "").splitlines() if line.strip()]
    rows = tuple((name_of(c["name"]), "passed" if c["passed"] else "FAILED", str(c["detail"])) for c in s["audit"]["checks"])
    seeds = s.get("seeds") or [0]
    return Section(
        "Protocol and audit",
        (
            Block(text=f"{name_of(str(s['protocol']))}, {s['folds']} folds, {len(seeds)} seed{'s' if len(seeds) > 1 else ''}."),
            Block(lines=tuple(says)),
            Block(text=audit_sentence(s["audit"])),
            Block(header=("check", "result", "detail"), rows=rows),
        ),
    )


def limits(run: Run) -> Section:
    """Return where it fails: classes of the reference, defects of the data, what the run itself warned of."""
    told = run.dataset or {}
    lines = [*_weak_classes(run.scores)]
    lines += [
        f"{called(name, target)}: {_screens(target)}" for name, target in run.scores["targets"].items() if _screens(target)
    ]
    if told.get("timing_reliable") is False:
        lines.append(f"times between channels are not trusted: {told.get('timing_reason') or NOT_TOLD}")
    lines += [f"data: {one}" for one in told.get("defects") or ()]
    lines += [f"run: {one}" for one in run.scores.get("warnings") or ()]
    lines.append("skin tone, posture, movement, drugs and illness of the people were not looked at unless told above")
    return Section("Limits", (Block(lines=tuple(lines)),))


def called(name: str, target: Mapping[str, Any]) -> str:
    """Return a target's name for people: ``SBP``, but ``valence``."""
    return name.upper() if target.get("unit") == "mmHg" else name_of(name)


def _weak_classes(scores: Mapping[str, Any]) -> list[str]:
    found = []
    for name, target in scores["targets"].items():
        whole = (target.get("pooled") or {}).get("mae") or target.get("mae")
        for row in target.get("classes") or ():
            if not isinstance(row, Mapping) or whole is None or row.get("mae") is None or row["mae"] <= WORSE * whole:
                continue
            found.append(
                f"{called(name, target)} {row['class']} {target['unit']}: mean error {number(row['mae'])} "
                f"{target['unit']} (bias {number(row['me'])}), against {number(whole)} over all windows"
            )
    return found


def _screens(target: Mapping[str, Any]) -> str:
    if kind_of(target) != PRESSURE:
        return ""
    named = (("ISO 81060-2", "iso81060_2"), ("BHS", "bhs"), ("IEEE 1708", "ieee1708"))
    told = [f"{word} {(target.get(key) or {}).get('verdict')}" for word, key in named if target.get(key)]
    return f"numerical screens on retrospective data, which validate nothing: {', '.join(told)}" if told else ""


def use(run: Run, *, exported: bool) -> Section:
    """Return how it is used."""
    name = run.path.resolve().name
    if exported:
        code = (
            "from biosig_mtl.export import Exported\n\n"
            'model = Exported.load("model.onnx")       # units, targets and networks: model.told\n'
            "answers = model.predict_full(windows)     # a table of windows; or model.answer({...}) with arrays"
        )
        beside = "Preparation of recordings is told in the recipe beside the file; a runner without the toolkit: --runner."
        return Section("How to use", (Block(code=code), Block(text=beside)))
    code = f"biosig-mtl predict {name} RECORDING --out estimates.csv\nbiosig-mtl export {name} --out model.onnx"
    return Section("How to use", (Block(code=code),))


def made_of(run: Run, model: Mapping[str, Any]) -> Section:
    """Return versions, digests and what to cite."""
    environment, told = run.environment or {}, run.dataset or {}
    packages = environment.get("packages") or model.get("versions") or {}
    lines = [f"network: {run.scores['model']}; {len(model.get('members') or {})} networks"]
    sums = (("recipe.yaml", run.path / "recipe.yaml"), ("model.json", run.path / "model" / "model.json"))
    lines += [f"sha256 of {word}: {hashlib.sha256(path.read_bytes()).hexdigest()}" for word, path in sums if path.is_file()]
    lines.append(f"window stores: {', '.join(environment.get('stores') or ()) or NOT_TOLD}")
    lines.append("versions: " + (", ".join(f"{key} {value}" for key, value in packages.items()) or NOT_TOLD))
    lines.append(f"cite the data as: {told.get('citation') or NOT_TOLD}")
    return Section("Made of", (Block(lines=tuple(lines)),))


def ends_of(target: Mapping[str, Any], key: str, digits: int = 1) -> str:
    """Return a figure with its interval, as ``17.0 (15.6–18.5)``."""
    told = interval(target.get(f"{key}_ci95"), digits)
    return number(target.get(key), digits) + (f" ({told})" if told else "")
