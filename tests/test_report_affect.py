"""The report of how people feel: what chance gives stands beside every figure, and nothing is said of pressures."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from biosig_mtl import plots, report, report_affect, report_insight, report_sections, report_verdict, report_words
from biosig_mtl.types import DataError
from tests import report_affect_run
from tests.report_page import Page
from tests.test_report import write_run as write_pressure_run

CASES = tuple(report_affect_run.CASES)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """Return folder and page of each case."""
    root = tmp_path_factory.mktemp("runs")
    folders = {name: report_affect_run.write_run(root / name, name) for name in CASES}
    return {name: (folder, report.render(folder).read_text(encoding="utf-8")) for name, folder in folders.items()}


@pytest.fixture
def stress(runs: dict[str, tuple[Path, str]], tmp_path: Path) -> Path:
    """Return a copy of the stress run that may be broken."""
    return shutil.copytree(runs["stress"][0], tmp_path / "stress")


def scores_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    return content


def words_of(page: str) -> str:
    """Return what a person reads: no markup, no style, one space between words."""
    body = page[page.index("<body>") :]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)).replace("\u2060", "")


# ------------------------------------------------------------------------------------------------------------------ page
@pytest.mark.parametrize("name", CASES)
def test_the_report_is_one_sound_file_that_loads_nothing(runs: dict[str, tuple[Path, str]], name: str) -> None:
    text = runs[name][1]
    page = Page()
    page.feed(text)
    assert page.open == []
    assert all(link.startswith(("#", "data:")) for link in page.loads)
    assert not re.findall(r"url\((?!#)|@import|<script", text)
    assert len(page.ids) == len(set(page.ids))
    wanted = {link[1:] for link in [*page.loads, *page.anchors] if link.startswith("#")}
    assert wanted | set(re.findall(r"url\(#([^)]+)\)", text)) <= set(page.ids)
    assert len(text.encode()) < 1_500_000
    assert not any(colour in text[text.index("<main>") :] for colour in plots.THEME)


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_said_of_pressures(runs: dict[str, tuple[Path, str]], name: str) -> None:
    said = words_of(runs[name][1])
    for word in ("mmHg", "pressure", "ISO 81060", "BHS", "IEEE", "Standards", "MASE", "beats and points", "Bland"):
        assert word.lower() not in said.lower(), word


def test_nothing_of_feelings_is_said_of_pressures(tmp_path: Path) -> None:
    said = words_of(report.render(write_pressure_run(tmp_path, optional=False)).read_text(encoding="utf-8"))
    assert "Limits of the standards" in said
    for word in ("Electrodes", "Modalities", "Person by person", "balanced accuracy", "trivial"):
        assert word not in said, word


SAID = {
    "ratings": [
        "Valence MAE, points", "concordance (CCC)", "95 % CI", "trials by subject", "(120 trials)", "training mean no signals",
        "was told labels of the tested people", "means of 120 trials", "14 of 14 do better than a constant answer",
        "1 has none", "EEG: what the network learned to look at. Most: ", "Not drawn, no known place: EXG1",
        "Arousal: correlation with the target within persons, r, band by band",
        "most is lost without eeg (12.0 %)", "no modality is missed", "the line is an equal say", "Features without a value",
        "window of 60 s is too short", "tested on people it has never seen",
        "No two parts of a fold share: subject, trial, window",
        "Every person was tested by a model that had seen nobody but the others", "Seed 0 of 2", "not available: no features",
        "RMSE 0.", "Haufe et al. 2014",
    ],
    "stress": [
        "Stress balanced accuracy", "Stress AUC", "chance 0.50", "600 windows, pooled", "120 trials, pooled", "low",
        "majority no signals",
        "most is lost without eda (6.1 %)", "this run has no electrodes", "Weight of each modality; the line is an equal say",
        "Audit passed: 2 checks.", "Confusion of the classes",
    ],
    "ordinal": [
        "not subject-independent", "Beside its uncalibrated twin",
        "Without labels of the tested people (its uncalibrated twin)",
        "Only the right column says what to expect of a new person", "Seq2HR", "&gt; 2.6 to 4.2",
        # Five classes, of which most people had four: more than 1 ÷ 5.
        "chance 0.25",
        "the run folder has no interpretation.json", "learned from, with their labels", "without balanced accuracy",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_page_says_what_must_be_said(runs: dict[str, tuple[Path, str]], name: str) -> None:
    said = words_of(runs[name][1])
    for text in SAID[name]:
        assert text in said, text


def test_what_comes_from_files_is_escaped(runs: dict[str, tuple[Path, str]]) -> None:
    text = runs["ratings"][1]
    assert "<response>" not in text
    assert "<in any>" not in text
    assert {"no &lt;response&gt; in the window", "no features &lt;in any&gt; window"} <= set(
        re.findall(r"no [^<]*window", text)
    )


def test_the_same_run_gives_the_same_bytes(runs: dict[str, tuple[Path, str]]) -> None:
    folder, text = runs["stress"]
    assert report.render(folder).read_text(encoding="utf-8") == text


# --------------------------------------------------------------------------------------------------------------- figures
def test_every_figure_of_the_scores_stands_in_its_column(runs: dict[str, tuple[Path, str]]) -> None:
    scores = scores_of(runs["stress"][0])
    entry = scores["targets"]["stress"]
    table = report_affect._figures(scores, "stress")
    assert table["columns"] == [
        ("windows", "by subject"),
        ("windows", "pooled"),
        ("trials", "by subject"),
        ("trials", "pooled"),
    ]
    rows = {label: ([value for value, _ in cells], chance) for label, cells, chance in table["rows"]}
    for key, label in (("balanced_accuracy", "balanced accuracy"), ("auc", "AUC"), ("accuracy", "accuracy")):
        trials = entry["trial_level"]
        assert rows[label][0] == [entry[key], entry["pooled"][key], trials[key], trials["pooled"][key]]
        assert len(set(rows[label][0])) > 1
    assert rows["balanced accuracy"][1] == (0.5, "")
    assert rows["accuracy"][1] == (scores["baselines"]["majority"]["stress"]["accuracy"], "majority")
    pooled = {label: cells[1][1] for label, cells, _ in table["rows"]}
    assert pooled["AUC"] == entry["pooled_ci95"]["auc"]


def test_figures_of_people_are_those_of_the_scores(runs: dict[str, tuple[Path, str]]) -> None:
    for name, key in (("ratings", "ccc"), ("stress", "balanced_accuracy"), ("ordinal", "balanced_accuracy")):
        run = report.read(runs[name][0])
        for target, content in run.scores["targets"].items():
            people = report_affect._people(run, run.predictions[run.predictions["target"] == target], content)
            value = np.array([row[2] for row in people["rows"]], float)
            assert np.nanmean(value) == pytest.approx(content[key])
            assert np.isnan(value).sum() == content["undefined_subjects"][key] > 0
            assert [row[0] for row in people["rows"]] == [f"S{i:02d}" for i in range(1, 16)]


def test_a_constant_answer_reaches_more_where_a_person_knows_fewer_classes() -> None:
    true, code = np.array([0, 1, 1, 0, 2, 4.0]), np.array([0, 0, 0, 1, 1, 1])
    value, floor = report_affect._one_seed(true, np.ones(6), (code, 3), 5)
    np.testing.assert_allclose(value, [0.5, 0.0, np.nan])
    np.testing.assert_allclose(floor[:2], [1 / 2, 1 / 3])


def test_trials_within_which_the_class_changes_are_not_told(stress: Path) -> None:
    content = scores_of(stress)
    content["targets"]["stress"]["trial_level"]["trials_whose_reference_varies"] = 61
    (stress / "scores.json").write_text(json.dumps(content), encoding="utf-8")
    (told,) = report_affect.targets(report.read(stress))
    assert told["figures"]["columns"] == [("windows", "by subject"), ("windows", "pooled")]
    assert len(told["agreement"]) == 1
    assert told["varying"] == "Stress: the class changes within 61 of 120 trials, so nothing is told of whole trials."


def test_calibration_windows_count_for_nobody(stress: Path) -> None:
    table = pd.read_parquet(stress / "predictions.parquet")
    table.loc[table["subject"] == "S01", "role"] = "calibration"
    table.to_parquet(stress / "predictions.parquet")
    (told,) = report_affect.targets(report.read(stress))
    assert "S01" not in told["people"]["subject"]


# --------------------------------------------------------------------------------------------------------------- verdict
def versus(verdict: str, difference: float, ends: list[float]) -> dict[str, Any]:
    return {"difference": difference, "ci95": ends, "verdict": verdict}


def rating(baselines: dict[str, Any], **words: Any) -> dict[str, Any]:
    own = {"unit": "points", "head": "regression", "mae": 1.5, "mae_ci95": [1.4, 1.6], "ccc": 0.3, "ccc_ci95": [0.2, 0.4]}
    audit = {"passed": True, "checks": [{"name": "x", "passed": True, "detail": ""}]}
    told = {name: {"valence": entry} for name, entry in baselines.items()}
    return {"targets": {"valence": own}, "baselines": told, "audit": audit, **words}


def test_the_verdict_says_plainly_that_the_trivial_baselines_are_beaten() -> None:
    mean = {"mae": 1.7, "model_minus_baseline": versus("better", -0.2, [-0.3, -0.1])}
    scores = rating({"train_mean": mean, "ridge": {"mae": 1.2, "model_minus_baseline": versus("worse", 0.3, [0.2, 0.4])}})
    assert report.verdict_lines(scores)[0] == (
        "Valence: CCC 0.30 (95 % CI 0.20–0.40), MAE 1.50 points (95 % CI 1.40–1.60); it beats the trivial baselines: better "
        "than training mean, the best of them (MAE 1.70), by 0.20 points (95 % CI 0.10–0.30)."
    )


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (
            versus("worse", 0.2, [0.1, 0.3]),
            "worse than training mean, the best of them (MAE 1.30), by 0.20 points (95 % CI 0.10–0.30).",
        ),
        (
            versus("not distinguishable", -0.01, [-0.1, 0.08]),
            "not distinguishable from training mean, the best of them (MAE 1.30); the difference is −0.01 points "
            "(95 % CI −0.10 to 0.08).",
        ),
        ({}, "not distinguishable from training mean, the best of them (MAE 1.30)."),
    ],
)
def test_the_verdict_says_plainly_that_they_are_not(entry: dict[str, Any], told: str) -> None:
    scores = rating({"train_median": {"mae": 1.4}, "train_mean": {"mae": 1.3, "model_minus_baseline": entry}})
    assert report_verdict.against_trivial(scores, "valence") == f"it does not beat the trivial baselines: {told}"


def test_who_knows_what_was_shown_is_told_apart() -> None:
    shown = {"mae": 1.2, "model_minus_baseline": versus("worse", 0.3, [0.2, 0.4])}
    mean = {"mae": 1.7, "model_minus_baseline": versus("better", -0.2, [-0.3, -0.1])}
    text = report_verdict.against_trivial(rating({"train_mean": mean, "stimulus_mean": shown}), "valence")
    assert "worse than stimulus mean" in text
    assert text.endswith(
        "It is better than training mean, which knows neither what was shown nor when, by 0.20 points (95 % CI 0.10–0.30)."
    )
    assert "which knows neither" not in report_verdict.against_trivial(rating({"stimulus_mean": shown}), "valence")


def test_a_clock_alone_is_a_trivial_baseline() -> None:
    clock = {"mae": 1.1, "model_minus_baseline": versus("worse", 0.4, [0.3, 0.5])}
    text = report_verdict.against_trivial(rating({"train_mean": {"mae": 1.7}, "elapsed_time": clock}), "valence")
    assert text.startswith("it does not beat the trivial baselines: worse than elapsed time, the best of them (MAE 1.10)")


def test_oracles_and_rivals_with_signals_are_no_trivial_baselines() -> None:
    scores = rating({"subject_mean_oracle": {"mae": 0.5}, "ridge": {"mae": 0.6}, "gradient_boosting": {"mae": 0.7}})
    assert report_verdict.best_trivial(scores, "valence") is None
    assert report.verdict_lines(scores)[0].endswith("no trivial baseline to compare with.")


def test_of_classes_more_is_better_and_pooled_figures_step_in() -> None:
    against = {"difference": None, "pooled": {"balanced_accuracy": versus("better", 0.1, [0.05, 0.15])}}
    low, high = (
        {"balanced_accuracy": None, "pooled": {"balanced_accuracy": value}, "model_minus_baseline": against}
        for value in (0.5, 0.55)
    )
    own = {
        "unit": "share", "head": "binary", "classes": ["no", "yes"], "balanced_accuracy": None, "auc": 0.7,
        "auc_ci95": [0.6, 0.8], "pooled": {"balanced_accuracy": 0.65}, "pooled_ci95": {"balanced_accuracy": [0.6, 0.7]},
    }  # fmt: skip
    scores = {
        **rating({}),
        "targets": {"stress": own},
        "baselines": {"majority": {"stress": low}, "class_prior": {"stress": high}},
    }
    line = report.verdict_lines(scores)[0]
    assert line.startswith(
        "Stress: balanced accuracy pooled 0.65 (95 % CI 0.60–0.70; chance 0.50), AUC 0.70 (95 % CI 0.60–0.80; chance 0.50)"
    )
    assert "better than class prior, the best of them (balanced accuracy 0.55), by 0.10 (95 % CI 0.05–0.15)." in line


def test_a_protocol_that_learned_from_the_tested_people_is_stamped_once() -> None:
    promise = {"protocol_guarantee": {"subject_independent": False, "disjoint": ["past"], "says": "x"}}
    assert report.verdict_lines(rating({}, **promise))[0].startswith("[not subject-independent] Valence")
    assert report_verdict.stamps(rating({}, stamps=["NOT subject-independent: y"], **promise)) == ["NOT subject-independent: y"]
    assert report_verdict.stamps(rating({}, stamps=["LEAK DEMONSTRATION"], **promise)) == ["LEAK DEMONSTRATION"]
    assert report_verdict.stamps(rating({}, protocol_guarantee={"subject_independent": True})) == []
    assert report_verdict.stamps(rating({})) == []


def test_a_failed_audit_is_loud() -> None:
    audit = {"passed": False, "checks": [{"name": "trial_overlap", "passed": False, "detail": ""}]}
    lines = report.verdict_lines(rating({}, audit=audit))
    assert lines[0].startswith("AUDIT FAILED, do not believe these numbers. Valence")
    assert lines[1] == "Audit failed: 1 of 1 checks (trial overlap)."


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ({"unit": "mmHg"}, "pressure"),
        ({"unit": "points"}, "regression"),
        ({"unit": "points", "head": "regression", "classes": []}, "regression"),
        ({"unit": "points", "head": {"kind": "rasch"}}, "classes"),
        ({"unit": "share", "head": "binary"}, "classes"),
        ({"unit": "share", "balanced_accuracy": 0.5}, "classes"),
    ],
)
def test_how_a_target_is_told(target: dict[str, Any], kind: str) -> None:
    assert report_verdict.kind_of(target) == kind


def test_every_line_of_the_protocol_is_told() -> None:
    promise = {"protocol": "subject_kfold", "protocol_guarantee": {"says": "first line\n\nsecond line"}}
    told = report_words.words(promise, [], pressure=False, twin=False)
    assert told["protocol"] == ["first line", "second line"]
    assert "dealt into folds" in report_words.words(promise, [], pressure=True, twin=False)["protocol"][0]
    assert report_words.words({"protocol": "x"}, [], pressure=True, twin=False)["protocol"] == []


# ------------------------------------------------------------------------------------------------------- what the network used
def test_bands_may_be_given_by_target_or_not(runs: dict[str, tuple[Path, str]]) -> None:
    named, joined, alone = {"valence": {"alpha": [1]}}, {"valence, alpha": [1]}, {"alpha": [1]}
    by_target = report_insight._by_target
    assert by_target(named) == by_target(joined) == {"valence": {"alpha": [1]}}
    assert by_target(alone) == {"": {"alpha": [1]}}
    told = report_insight.insight(report.read(runs["ratings"][0]))
    assert [picture.caption.split(":")[0] for picture in told["bands"]] == ["Valence", "Arousal"]
    assert {"theta", "gamma"} <= set(re.findall(r">(\w+)</text>", told["bands"][0].svg))


def test_growth_is_a_share_of_the_error_unless_the_run_says_otherwise(stress: Path) -> None:
    given: dict[str, Any] = {"modalities": {"removal": {"stress": {"eda": 0.25}}}}
    for words, said in (({}, "(25.0 %)"), ({"removal_is": "AUC lost"}, "(0.250)")):
        given["modalities"].update(words)
        (stress / "interpretation.json").write_text(json.dumps(given), encoding="utf-8")
        (picture,) = report_insight.insight(report.read(stress))["removal"]
        assert picture.caption == f"Stress: most is lost without eda {said}."


# ------------------------------------------------------------------------------------------------- what is missing or broken
def test_a_run_that_knows_little_still_gives_a_report(stress: Path) -> None:
    content = scores_of(stress)
    entry = content["targets"]["stress"]
    content["targets"]["stress"] = {key: entry[key] for key in ("head", "classes", "balanced_accuracy")}
    content["baselines"] = {"majority": {}, "ridge": {"unavailable": "no features"}}
    del content["protocol_guarantee"]
    (stress / "scores.json").write_text(json.dumps(content), encoding="utf-8")
    (stress / "interpretation.json").unlink()
    table = pd.read_parquet(stress / "predictions.parquet").drop(columns=["trial", "role", "sqi"])
    table.to_parquet(stress / "predictions.parquet")
    said = words_of(report.render(stress).read_text(encoding="utf-8"))
    assert "no trivial baseline to compare with" in said
    assert "the scores hold no confusion" in said
    assert "has no description here" in said
    assert "interval unknown" in said


def test_nobody_tested_is_told(stress: Path) -> None:
    table = pd.read_parquet(stress / "predictions.parquet")
    table["y_true"] = np.nan
    table.to_parquet(stress / "predictions.parquet")
    assert "nobody has both a reference and an estimate" in words_of(report.render(stress).read_text(encoding="utf-8"))


BROKEN: dict[str, Any] = {
    "no list": {"electrodes": {"names": ["F3"], "weights": {"valence": 1.0}}},
    "too few values": {"electrodes": {"names": ["F3", "F4"], "weights": {"valence": [1.0]}}},
    "words": {"modalities": {"removal": {"stress": {"eda": "much"}}}},
    "a list": ["electrodes"],
    "no target": {"modalities": {"removal": {"stress": 0.3}}},
    "no value": {"modalities": {"removal": {"stress": {"eda": {"growth": 1}}}}},
    "bands": {"electrodes": {"names": ["F3"], "bands": {"alpha": 3}}},
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_interpretation_is_one_line_that_names_the_file(stress: Path, name: str) -> None:
    (stress / "interpretation.json").write_text(json.dumps(BROKEN[name]), encoding="utf-8")
    with pytest.raises(DataError, match=r"interpretation\.json: cannot be shown") as caught:
        report.render(stress)
    assert "\n" not in str(caught.value)


def test_an_unreadable_interpretation_is_one_line(stress: Path) -> None:
    (stress / "interpretation.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"interpretation\.json: cannot be read"):
        report.render(stress)


def test_predictions_that_are_no_classes_are_one_line(stress: Path) -> None:
    table = pd.read_parquet(stress / "predictions.parquet")
    table.loc[0, "y_pred"] = 7.0
    table.to_parquet(stress / "predictions.parquet")
    with pytest.raises(DataError, match=r"predictions\.parquet: does not go with the classes") as caught:
        report.render(stress)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"confusion": [[1, 2, 3]]}, {"pooled": 3}, {"auc_ci95": 4}, {"undefined_subjects": {"auc": "x"}}]
)
def test_broken_scores_are_one_line(stress: Path, change: dict[str, Any]) -> None:
    content = copy.deepcopy(scores_of(stress))
    content["targets"]["stress"].update(change)
    (stress / "scores.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=r"scores\.json: not as schema 1 says") as caught:
        report.render(stress)
    assert "\n" not in str(caught.value)


def test_long_lists_are_folded_away_and_nothing_is_lost(stress: Path) -> None:
    content = scores_of(stress) | {"warnings": [f"warning {i} <&>" for i in range(9)]}
    (stress / "scores.json").write_text(json.dumps(content), encoding="utf-8")
    folds = {f"seed 0, fold {i}": {"mae": 0.25} for i in range(3)}
    sentences = [f"sentence {i}" for i in range(7)]
    (stress / "split_report.json").write_text(json.dumps({"sentences": sentences, "folds": folds}), encoding="utf-8")
    text = report.render(stress).read_text(encoding="utf-8")
    assert "4 more notes" in text
    assert "2 more sentences" in text
    for line in (*sentences, *folds, "warning 8 &lt;&amp;&gt;"):
        assert line in text


def test_only_the_model_has_learning_curves(stress: Path) -> None:
    epoch = np.arange(5.0)
    frames = [
        pd.DataFrame(
            {"variant": word, "seed": 0, "fold": 0, "epoch": epoch, "loss": level - epoch, "loss_stress": level - epoch}
        )
        for word, level in (("model", 10.0), ("control", 900.0))
    ]
    pd.concat(frames).to_csv(stress / "history.csv", index=False)
    (picture,) = report_sections.curves(report.read(stress))
    assert picture.caption == "Loss, by epoch."
    numbers = [float(word) for word in re.findall(r">(\d+(?:\.\d+)?)</text>", picture.svg)]
    assert max(numbers) <= 10


def test_examples_speak_of_feelings_in_their_own_words(stress: Path) -> None:
    window = {"channels": {"eda": [0.0, 1.0, 0.5, 0.2]}, "fs": 4.0, "y_true": {"stress": 1}, "y_pred": {"stress": 0}}
    (stress / "examples.json").write_text(json.dumps([window]), encoding="utf-8")
    assert "stress &gt; 0.5 → ≤ 0.5 (reference → estimate)" in words_of(report.render(stress).read_text(encoding="utf-8"))
