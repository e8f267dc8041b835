"""The report: one file, from the run folder alone, that says what is missing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from biosig_mtl import plots, report
from biosig_mtl import report_sections as sections
from biosig_mtl.evaluation import scores as graded
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import Check, DataError, Predictions
from tests.report_page import Page

FS = 125.0


def predictions(skill: float, seeds: tuple[int, ...] = (0,), subjects: int = 60, windows: int = 8) -> Predictions:
    """Estimates that follow a share ``skill`` of the differences between people."""
    rng = np.random.default_rng(0)
    code = np.repeat(np.arange(subjects), windows)
    level = rng.normal(0, 1, (subjects, 1)) * [[16.0, 9.0]] + [[128.0, 70.0]]
    true = level[code] + rng.normal(0, 1, (code.size, 2)) * [[6.0, 3.0]]
    noise = [np.random.default_rng(s + 1).normal(0, 1, true.shape) * [[6.0, 4.0]] for s in seeds]
    pred = np.concatenate([[[128.0, 70.0]] + skill * (true - [[128.0, 70.0]]) + skill * n for n in noise])
    n = len(seeds)
    return Predictions(
        row=np.tile(np.arange(code.size), n),
        fold=np.tile(code % 5, n),
        seed=np.repeat(np.array(seeds), code.size),
        subject=np.tile(np.array([f"s{c:03d}" for c in code]), n),
        onset_s=np.tile(np.arange(code.size) % windows * 8.0, n),
        y_true=np.tile(true, (n, 1)),
        y_pred=pred,
        target_names=("sbp", "dbp"),
    )


def graded_run(seeds: tuple[int, ...] = (0, 1), *, passed: bool = True, **words: Any) -> dict[str, Any]:
    protocol = graded.Protocol(
        dataset="simulated_cohort",
        protocol="subject_kfold",
        folds=5,
        seeds=seeds,
        model="split_merge",
        n_rejected=57,
        coverage=0.87,
        reference="invasive",
        stamps=("SIMULATED DATA", "record-level ids"),
        extras={
            "negative_control": {
                "sbp": {"mase": 1.012, "mase_ci95": [0.98, 1.05]},
                "dbp": {"mase": 1.004, "mase_ci95": [0.97, 1.04]},
            },
            "ablation": [{"without": "person", "sbp_mase": 0.91, "dbp_mase": 0.97}],
            "demographics": {"age_years": {"mean": 57.1, "sd": 15.2, "missing": 3}, "sex_male": "48 %"},
            **words,
        },
    )
    given: graded.Baselines = {
        "train_mean": predictions(0.02),
        "train_median": predictions(0.0),
        "demographics": predictions(0.2),
        "heart_rate": graded.Absent("no beats in any window"),
        "ridge": predictions(0.32),
        "gradient_boosting": predictions(0.3),
    }
    checks = [
        Check("split_scheme", True, "none of 5 folds is a random-window split"),
        Check("subject_overlap", passed, f"{0 if passed else 4} of 60 subjects in two parts of one of 5 folds"),
        Check(
            "equal_windows", True, "0 windows have an identical copy in another part of their fold (0 copies among 480 windows)"
        ),
        Check("too_good", True, "warning: sbp MASE 0.60 (floor 0.70): better than honest results so far; look for a leak"),
    ]
    scores = graded.score(BLOOD_PRESSURE, protocol, predictions(0.35, seeds), given, checks, np.random.default_rng(0))
    content: dict[str, Any] = json.loads(graded.to_json(scores))
    return content


def pulses(rng: np.random.Generator) -> dict[str, Any]:
    time = np.arange(int(8 * FS)) / FS
    beat = np.arange(0.4, 7.5, 0.8)
    after = time[:, None] - beat
    ppg = (np.exp(-(((after - 0.2) / 0.09) ** 2)) + 0.45 * np.exp(-(((after - 0.47) / 0.12) ** 2))).sum(1)
    ecg = (np.exp(-(((after + 0.02) / 0.012) ** 2)) - 0.2 * np.exp(-(((after - 0.02) / 0.015) ** 2))).sum(1)
    apg = np.gradient(np.gradient(ppg)) * 400
    return {
        "title": "a typical window",
        "record": "r<01>&$x$",
        "subject": "s001",
        "onset_s": 16.0,
        "fs": FS,
        "channels": {"ppg": (ppg + rng.normal(0, 0.01, ppg.size)).tolist(), "apg": apg.tolist(), "ecg": ecg.tolist()},
        "beats": {
            "ppg": {"onset": (beat * FS).tolist(), "peak": ((beat + 0.2) * FS).tolist()},
            "ecg": {"peak": (beat * FS - 2.5).tolist()},
        },
        "points": {
            "ppg": {"notch": [*((beat[:-1] + 0.36) * FS).tolist(), None]},
            "apg": {"a": ((beat + 0.1) * FS).tolist(), "b": ((beat + 0.2) * FS).tolist()},
        },
        "y_true": {"sbp": 131.2, "dbp": 71.0},
        "y_pred": {"sbp": 126.4, "dbp": 69.5},
        "sqi": 0.93,
    }


def table_of(given: Predictions) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    parts = [
        pd.DataFrame(
            {
                "subject": given.subject,
                "session": "1",
                "record": given.subject,
                "stimulus": "",
                "onset_s": given.onset_s,
                "fold": given.fold,
                "seed": given.seed,
                "target": name,
                "y_true": given.y_true[:, i],
                "y_pred": given.y_pred[:, i],
                "lower": given.y_pred[:, i] - 20,
                "upper": given.y_pred[:, i] + 20,
                "sqi": rng.uniform(0.5, 1, len(given.row)),
                "role": "test",
            }
        )
        for i, name in enumerate(given.target_names)
    ]
    return pd.concat(parts)


def write_run(folder: Path, *, optional: bool = True, seeds: tuple[int, ...] = (0, 1), passed: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "scores.json").write_text(json.dumps(graded_run(seeds, passed=passed)), encoding="utf-8")
    table_of(predictions(0.35, seeds)).to_parquet(folder / "predictions.parquet")
    if not optional:
        return folder
    rng = np.random.default_rng(0)
    (folder / "recipe.yaml").write_text("name: demo\ntask: blood_pressure\n# <script>alert(1)</script>\n", encoding="utf-8")
    reasons = (
        ["low_sqi"] * 31 + ["abp_implausible"] * 14 + ["too_few_beats"] * 9 + ["record shorter than one window of 8 s"] * 3
    )
    onset = [*np.arange(54) * 8.0, np.nan, np.nan, np.nan]
    pd.DataFrame({"record": [f"r{i:03d}" for i in range(57)], "onset_s": onset, "reason": reasons}).to_csv(
        folder / "rejected.csv"
    )
    epoch = np.arange(30)
    pd.concat(
        [
            pd.DataFrame(
                {
                    "fold": f,
                    "seed": s,
                    "member": 0,
                    "epoch": epoch,
                    "train_loss": 0.55 + 0.5 * np.exp(-epoch / 6) + rng.normal(0, 0.01, 30),
                    "validation_loss": 0.72 + 0.35 * np.exp(-epoch / 5) + rng.normal(0, 0.02, 30),
                    "mi": 0.05 * np.exp(-epoch / 9),
                    "lr": 1e-3,
                    "note": "x",
                }
            )
            for f in range(5)
            for s in seeds
        ]
    ).to_csv(folder / "history.csv", index=False)
    files = {
        "environment.json": {
            "python": "3.11.9",
            "numpy": "2.4.6",
            "torch": "2.13.0",
            "cores": 2,
            "seconds": 311.2,
            "gpu": None,
        },
        "examples.json": [pulses(rng), {**pulses(rng), "title": "the largest error"}],
        "split_report.json": {
            "sentences": ["The private splits differ from the shared one (HSIC 0.03)."],
            "gates": {"sbp": 0.41, "dbp": 0.55},
        },
        "dataset.json": {
            "title": "Simulated cohort",
            "licence": "none needed",
            "citation": "made by this package",
            "simulated": True,
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = write_run(tmp_path_factory.mktemp("run"))
    return folder, report.render(folder).read_text(encoding="utf-8")


def test_the_report_is_one_file_that_loads_nothing(full: tuple[Path, str]) -> None:
    page = Page()
    page.feed(full[1])
    assert page.open == []
    assert all(link.startswith(("#", "data:")) for link in page.loads)
    assert not re.findall(r"url\((?!#)|@import|<script", full[1])
    assert len(full[1].encode()) < 3_000_000


def test_ids_are_unique_and_every_reference_is_met(full: tuple[Path, str]) -> None:
    page = Page()
    page.feed(full[1])
    assert len(page.ids) == len(set(page.ids))
    wanted = {link[1:] for link in [*page.loads, *page.anchors] if link.startswith("#")} | set(
        re.findall(r"url\(#([^)]+)\)", full[1])
    )
    assert wanted <= set(page.ids)


def test_what_comes_from_files_is_escaped(full: tuple[Path, str]) -> None:
    assert "r<01>" not in full[1]
    assert "r&lt;01&gt;&amp;$x$" in full[1]
    assert "&lt;script&gt;" in full[1]


def test_the_same_run_gives_the_same_bytes(full: tuple[Path, str]) -> None:
    assert report.render(full[0]).read_text(encoding="utf-8") == full[1]


def test_the_page_says_what_must_be_said(full: tuple[Path, str]) -> None:
    said = [
        "SIMULATED DATA",
        "record-level ids",
        "COVERAGE 87 %",
        "numerical screen on retrospective data; not a validation",
        "n too small",
        "Research use only",
        "Audit passed: 4 checks.",
        "not available: no beats in any window",
        "does not apply: invasive reference",
        "low_sqi",
        "Negative control",
        "made by this package",
        "HSIC 0.03",
        "prefers-color-scheme: dark",
        "averaged",
        "not run",
        "prediction intervals hold the reference",
        "seed",
        "What was left out",
    ]
    for text in said:
        assert text.lower() in full[1].lower(), text
    assert "compliant" not in full[1]


def test_colours_follow_the_page(full: tuple[Path, str]) -> None:
    body = full[1][full[1].index("<main>") :]
    assert not any(colour in body for colour in plots.THEME)
    style = full[1][: full[1].index("</style>")]
    roles = set(plots.THEME.values())
    assert all(style.count(f"--{role}:") == 2 for role in roles)


def test_a_failed_audit_is_loud(tmp_path: Path) -> None:
    page = report.render(write_run(tmp_path, optional=False, passed=False)).read_text(encoding="utf-8")
    assert "Audit failed: 1 of 4 checks (subject overlap)." in page
    assert "must not be believed" in page
    assert "AUDIT FAILED, do not believe these numbers." in page


def test_missing_files_are_told(tmp_path: Path) -> None:
    page = report.render(write_run(tmp_path, optional=False, seeds=(0,))).read_text(encoding="utf-8")
    for name in ("rejected.csv", "examples.json", "history.csv", "dataset.json", "recipe.yaml", "environment.json"):
        assert f"<code>{name}</code>" in page


def test_empty_files_are_no_fault(tmp_path: Path) -> None:
    write_run(tmp_path, optional=False)
    (tmp_path / "rejected.csv").write_text("record,onset_s,reason\n", encoding="utf-8")
    (tmp_path / "history.csv").write_text("fold,seed,member,epoch,train_loss,validation_loss\n", encoding="utf-8")
    page = report.render(tmp_path).read_text(encoding="utf-8")
    assert "0 windows and 0 whole records were not used" in page
    assert "The history has no epochs" in page


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("scores.json", "{", "scores.json: cannot be read"),
        ("scores.json", '{"schema": 2}', "not of schema 1"),
        ("scores.json", '{"schema": 1}', "not as schema 1 says"),
        ("scores.json", "[]", "not of schema 1"),
        ("predictions.parquet", "no parquet", "predictions.parquet: cannot be read"),
        ("rejected.csv", "record,why\n1,2\n", "missing columns onset_s, reason"),
        ("history.csv", "", "history.csv: cannot be read"),
        ("examples.json", '[{"channels": {}}]', "example 0 cannot be drawn"),
        ("examples.json", '[{"channels": {}, "fs": 1}]', "example 0 cannot be drawn"),
    ],
)
def test_a_broken_run_folder_is_one_line_that_names_the_file(tmp_path: Path, name: str, content: str, message: str) -> None:
    write_run(tmp_path, optional=False)
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        report.render(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such run folder"):
        report.render(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"scores\.json is missing"):
        report.render(tmp_path)
    write_run(tmp_path, optional=False)
    (tmp_path / "predictions.parquet").unlink()
    with pytest.raises(DataError, match=r"predictions\.parquet is missing"):
        report.render(tmp_path)
    pd.DataFrame({"subject": ["a"]}).to_parquet(tmp_path / "predictions.parquet")
    with pytest.raises(DataError, match="missing columns seed, target, y_pred, y_true"):
        report.render(tmp_path)


def target(**words: Any) -> dict[str, Any]:
    paired = {"best_baseline": "ridge", "difference": -0.42, "ci95": [-1.0, 0.2], "verdict": "not distinguishable"}
    return {"unit": "mmHg", "mae": 13.11, "mae_ci95": [12.0, 14.31], "mase": 0.842, "paired": paired, **words}


def test_the_verdict_is_two_plain_sentences() -> None:
    audit = {"passed": True, "checks": [{"name": "x", "passed": True, "detail": ""}]}
    worse = {"best_baseline": "train_median", "difference": 0.6, "verdict": "worse"}
    lines = report.verdict_lines({"targets": {"sbp": target(), "dbp": target(paired=worse)}, "audit": audit})
    assert lines[0] == (
        "SBP: MAE 13.1 mmHg (95 % CI 12.0–14.3), 0.84 of the training-median predictor; not distinguishable from ridge."
    )
    assert lines[1].endswith("; worse than training median by 0.6 mmHg.")


def test_the_verdict_does_without_what_is_unknown() -> None:
    audit = {"passed": False, "checks": [{"name": "subject_overlap", "passed": False, "detail": ""}]}
    alone = target(mae_ci95=[None, None], mase=None, paired={"verdict": None})
    lines = report.verdict_lines({"targets": {"sbp": alone}, "audit": audit, "stamps": ["SIMULATED DATA"]})
    assert (
        lines[0]
        == "[SIMULATED DATA] AUDIT FAILED, do not believe these numbers. SBP: MAE 13.1 mmHg; no baseline to compare with."
    )
    assert lines[1] == "Audit failed: 1 of 1 checks (subject overlap)."
    better = target(paired={"best_baseline": "ridge", "difference": -0.4, "verdict": "better"})
    assert (
        "better than ridge, the best baseline, by 0.4 mmHg"
        in report.verdict_lines({"targets": {"a": better}, "audit": audit})[0]
    )


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (-0.04, 1, "0.0"),
        (-1.25, 2, "−1.25"),
        (1234.5, 0, "1,234"),
        (None, 1, "–"),
        (float("nan"), 1, "–"),
        ("x", 1, "–"),
        (3, 0, "3"),
    ],
)
def test_numbers_are_written_for_people(value: Any, digits: int, text: str) -> None:
    assert sections.number(value, digits) == text


def test_intervals_with_a_negative_end_use_a_word() -> None:
    assert sections.interval([-1.0, 0.2]) == "−1.0 to 0.2"
    assert sections.interval([0.1, 0.2]) == "0.1–0.2"
    assert sections.interval([None, 0.2]) == sections.interval(None) == ""


def test_an_unknown_protocol_and_another_task_still_give_a_report(tmp_path: Path) -> None:
    write_run(tmp_path, optional=False)
    content = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    content.update(protocol="leave_one_out", task="other", ablation={"none": 1.0}, coverage=0.97, coverage_sufficient=True)
    for entry in content["targets"].values():
        for key in ("iso81060_2", "bhs", "ieee1708", "classes", "bland_altman"):
            del entry[key]
    (tmp_path / "scores.json").write_text(json.dumps(content), encoding="utf-8")
    table = pd.read_parquet(tmp_path / "predictions.parquet").drop(columns=["sqi", "lower", "role"])
    table.to_parquet(tmp_path / "predictions.parquet")
    page = report.render(tmp_path).read_text(encoding="utf-8")
    assert "leave_one_out" in page
    assert "By signal quality" not in page


def test_calibration_windows_are_not_drawn(tmp_path: Path) -> None:
    write_run(tmp_path, optional=False, seeds=(0,))
    table = pd.read_parquet(tmp_path / "predictions.parquet")
    table.loc[table["onset_s"] == 0, "role"] = "calibration"
    table.to_parquet(tmp_path / "predictions.parquet")
    assert len(sections.scored(report.read(tmp_path))) == 7 * 60 * 2
