"""Run folders of answers about how people feel, as a run writes them: ratings, stress in two classes, five ordered classes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biosig_mtl.evaluation import scores as graded
from biosig_mtl.evaluation.oracles import SUBJECT_MEAN, subject_mean
from biosig_mtl.tasks import AFFECT, STRESS
from biosig_mtl.types import F64, Check, Head, Predictions, Task

EMOTIV = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")
BANDS = ("theta", "alpha", "beta", "gamma")
FIVE = Head("ordinal", (2.6, 4.2, 5.8, 7.4))
SUBJECTS, STIMULI, WINDOWS = 15, 8, 5


@dataclass(frozen=True)
class Case:
    """What a run was asked, and how much its model knows beyond the stimulus."""

    task: Task
    heads: tuple[Head, ...]
    skill: float
    seeds: tuple[int, ...]
    protocol: str
    dataset: str


CASES = {
    "ratings": Case(AFFECT, (Head(), Head()), 0.8, (0, 1), "leave_one_subject_out", "dasps"),
    "stress": Case(STRESS, STRESS.heads, 0.7, (0,), "leave_one_subject_out", "stress_predict"),
    "ordinal": Case(AFFECT, (FIVE, FIVE), 0.6, (0,), "calibrated_within_trial", "dreamer"),
}


def _truth(case: Case) -> tuple[F64, dict[str, Any]]:
    """Return ratings (window, target) and what every window belongs to: a person, a stimulus and its own noise."""
    rng = np.random.default_rng(5)
    low, high = case.task.targets[0].low, case.task.targets[0].high
    shape = (SUBJECTS, STIMULI, len(case.heads))
    share = 0.5 + 0.2 * rng.normal(size=(1, *shape[1:])) + 0.1 * rng.normal(size=(shape[0], 1, shape[2]))
    rating = low + (high - low) * np.clip(share + 0.14 * rng.normal(size=shape), 0, 1)
    code = np.arange(SUBJECTS * STIMULI * WINDOWS) // WINDOWS
    subject = np.array([f"S{i // STIMULI + 1:02d}" for i in code])
    stimulus = np.array([f"clip {i % STIMULI + 1}" for i in code])
    # Nobody asked S03 about more than one feeling: its figures do not exist.
    rating[2] = rating[2, :1]
    return rating.reshape(-1, shape[2])[code], {"subject": subject, "stimulus": stimulus}


def _answers(case: Case, estimate: F64, true: F64, facts: dict[str, Any], seed: int) -> Predictions:
    """Return predictions of a predictor that believes in these ratings."""
    probabilities, answer = {}, estimate.copy()
    names = tuple(target.name for target in case.task.targets)
    width = case.task.targets[0].high - case.task.targets[0].low
    for j, (name, head) in enumerate(zip(names, case.heads, strict=True)):
        if head.classes:
            centre = np.linspace(case.task.targets[0].low + 0.1 * width, case.task.targets[0].high - 0.1 * width, head.classes)
            weight = np.exp(-(((estimate[:, j : j + 1] - centre) / (0.22 * width)) ** 2))
            probabilities[name] = weight / weight.sum(axis=1, keepdims=True)
            answer[:, j] = probabilities[name].argmax(axis=1)
    n = len(true)
    return Predictions(
        row=np.arange(n), fold=np.unique(facts["subject"], return_inverse=True)[1], seed=np.full(n, seed),
        subject=facts["subject"], onset_s=4.0 * (np.arange(n) % WINDOWS).astype(np.float64),
        y_true=np.stack([head.encode(true[:, j]) for j, head in enumerate(case.heads)], axis=1), y_pred=answer,
        target_names=names, heads=case.heads, probabilities=probabilities,
        trial=np.char.add(np.char.add(facts["subject"], "/1/"), facts["stimulus"]), stimulus=facts["stimulus"],
    )  # fmt: skip


def _joined(parts: list[Predictions]) -> Predictions:
    named: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("row", "fold", "seed", "subject", "onset_s", "y_true", "y_pred", "trial", "stimulus")
    }
    shares = {name: np.concatenate([part.probabilities[name] for part in parts]) for name in parts[0].probabilities}
    return replace(parts[0], **named, probabilities=shares)


def _model(case: Case, true: F64, facts: dict[str, Any], skill: float) -> Predictions:
    mean = true.mean(axis=0)
    parts = []
    for seed in case.seeds:
        noise = np.random.default_rng(seed + 40).normal(0, 0.35 * true.std(axis=0), true.shape)
        parts.append(_answers(case, mean + skill * (true - mean) + noise, true, facts, seed))
    return _joined(parts)


def predictions(name: str) -> tuple[Predictions, dict[str, Any]]:
    """Return the model's predictions of a case, and its baselines."""
    case = CASES[name]
    true, facts = _truth(case)
    _, code = np.unique(facts["stimulus"], return_inverse=True)
    by_stimulus = np.stack([np.bincount(code, column) / np.bincount(code) for column in true.T], axis=1)[code]
    constant = _joined([_answers(case, np.tile(true.mean(axis=0), (len(true), 1)), true, facts, seed) for seed in case.seeds])
    stimulus = _joined([_answers(case, by_stimulus, true, facts, seed) for seed in case.seeds])
    baselines: dict[str, Any] = {"stimulus_mean": stimulus, "gradient_boosting": graded.Absent("no features <in any> window")}
    first = "majority" if case.heads[0].classes else "train_mean"
    baselines = {first: constant, **baselines, "ridge": _model(case, true, facts, 0.1)}
    model = _model(case, true, facts, case.skill)
    return model, {**baselines, SUBJECT_MEAN: subject_mean(model)}


def scores(name: str) -> dict[str, Any]:
    """Return the content of ``scores.json``."""
    case = CASES[name]
    model, baselines = predictions(name)
    calibrated = case.protocol == "calibrated_within_trial"
    extras: dict[str, Any] = {
        "protocol_guarantee": {
            "disjoint": ["past", "window"] if calibrated else ["subject", "trial", "window"],
            "subject_independent": not calibrated,
            "says": "The first seconds of each tested trial were learned from, with their labels." if calibrated
            else "Every person was tested by a model that had seen nobody but the others.",
        }
    }  # fmt: skip
    checks = [Check("split_scheme", True, "no random windows"), Check("protocol_guarantee", True, "kept in every fold")]
    protocol = graded.Protocol(case.dataset, case.protocol, 15, case.seeds, "split_merge", 31, 0.97, "self", ())
    if calibrated:
        blind = _model(case, *_truth(case), 0.05)
        twin = graded.score(case.task, protocol, blind, {}, checks, np.random.default_rng(0))
        extras["uncalibrated_twin"] = {"targets": twin.content["targets"]}
    done = graded.score(case.task, replace(protocol, extras=extras), model, baselines, checks, np.random.default_rng(0))
    content: dict[str, Any] = json.loads(graded.to_json(done))
    return content


def interpretation(name: str) -> dict[str, Any] | None:
    """Return ``interpretation.json`` of a case; the ordinal one has none."""
    rng = np.random.default_rng(8)
    reasons = {f"ecg_hrv.lf_{part}": "window of 60 s is too short" for part in ("power", "share")}
    reasons |= {"eda.scr_rise_s": "no <response> in the window"}
    if name == "ordinal":
        return None
    if name == "stress":
        removal = {"stress": {"eda": {"value": 0.061, "ci95": [0.02, 0.1]}, "ppg": 0.034, "temp": -0.004, "acc": None}}
        modalities = {"names": ["ppg", "eda", "temp"], "removal": removal, "learned": {"ppg": 0.41, "eda": 0.37, "temp": 0.22}}
        return {"modalities": modalities, "reasons": reasons}
    names = [*EMOTIV, "EXG1"]
    growth = {"valence": {"eeg": 0.12, "eda": 0.01}, "arousal": {"eeg": -0.02, "eda": -0.01}}
    weights = {"eeg": [*rng.dirichlet(np.full(14, 6.0)).tolist(), None]}
    bands = {band: [*rng.normal(0, 0.12, 14).round(4).tolist(), None] for band in BANDS}
    return {
        "electrodes": {
            "names": names, "weights": weights,
            "bands": {f"valence, {band}": v for band, v in bands.items()}
            | {f"arousal, {band}": [*np.negative(v[:14]).tolist(), None] for band, v in bands.items()},
        },
        "modalities": {
            "names": ["eeg", "eda"], "removal": growth,
            "learned": {"eeg": 0.6, "eda": 0.4},
        },
        "reasons": reasons,
    }  # fmt: skip


def table_of(given: Predictions) -> pd.DataFrame:
    """Return the rows of ``predictions.parquet``."""
    frames = []
    for j, name in enumerate(given.target_names):
        columns: dict[str, Any] = {
            "subject": given.subject, "session": "1", "record": given.subject, "stimulus": given.stimulus, "trial": given.trial,
            "onset_s": given.onset_s, "fold": given.fold, "seed": given.seed, "target": name, "y_true": given.y_true[:, j],
            "y_pred": given.y_pred[:, j], "sqi": 0.9, "role": "test",
        }  # fmt: skip
        shares = given.probabilities.get(name)
        columns |= {} if shares is None else {f"p_{k}": shares[:, k] for k in range(shares.shape[1])}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames)


def write_run(folder: Path, name: str) -> Path:
    """Write the run folder of a case."""
    folder.mkdir(exist_ok=True)
    (folder / "scores.json").write_text(json.dumps(scores(name)), encoding="utf-8")
    table_of(predictions(name)[0]).to_parquet(folder / "predictions.parquet")
    told = interpretation(name)
    if told is not None:
        (folder / "interpretation.json").write_text(json.dumps(told), encoding="utf-8")
    (folder / "rejected.csv").write_text("record,onset_s,reason\nS03,4.0,low_sqi\n", encoding="utf-8")
    return folder
