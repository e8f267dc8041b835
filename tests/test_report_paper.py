"""What a paper takes from a run: numbers of scores.json only, sound LaTeX, and nothing said that is not known."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from biosig_mtl import report, report_paper
from biosig_mtl import report_paper_figures as drawing
from biosig_mtl import report_paper_methods as methods
from biosig_mtl import report_paper_tables as tables
from biosig_mtl import report_paper_text as text
from biosig_mtl import report_paper_tripod as tripod
from biosig_mtl.cli import paper as verb
from biosig_mtl.report_paper_text import Num, Table
from biosig_mtl.report_sections import Run
from biosig_mtl.types import DataError
from tests import report_affect_run
from tests.test_report import write_run as write_pressure_run

KINDS = ("pressure", *report_affect_run.CASES)
RECIPE = {
    "name": "x", "data": {"exclude": {"r7": "twin"}},
    "signal": [
        {"step": "bandpass", "channel": "ppg", "low_hz": 0.5, "high_hz": 8}, {"step": "odd_step", "share_of": 0.5},
        {"step": "bandpass", "channel": "ppg"}, "no step",
    ],
    "windows": {"length_s": 8, "stride_s": 8, "channels": ["ppg"], "optional": ["ecg"], "reference": "abp", "min_sqi": 0.3},
    "features": {"families": ["pulse_shape"]}, "model": {"name": "split_merge", "use_waveform": False, "empty": {}},
    "training": {"epochs": 3, "seen": [1, 2], "augmentation": {"noise": 0.5}, "class_weights": "balanced", "none": None},
}  # fmt: skip
SET = {
    "name": "a set", "title": "A {set} & more", "version": "1", "licence": "CC BY 4.0", "doi": "10.1/x_y", "url": "https://a.b/c_d",
    "citation": "Somebody 2020: 5 % of $x_1$", "subject_level": "group", "timing_reliable": False, "timing_reason": "one clock",
    "labels": {"sbp": "cuff"}, "defects": ["It is small."], "simulated": True,
}  # fmt: skip
ENVIRONMENT = {"python": "3.11", "system": "Linux", "packages": {"biosig-mtl": "0.1.0", "numpy": "2.0"}}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    made = {name: report_affect_run.write_run(root / name, name) for name in report_affect_run.CASES}
    made["pressure"] = write_pressure_run(root / "pressure")
    return made


@pytest.fixture(scope="module")
def runs(folders: dict[str, Path]) -> dict[str, Run]:
    return {name: report.read(folder) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def pressure(runs: dict[str, Run]) -> Run:
    """A run that has everything a run may have."""
    run = runs["pressure"]
    ends = {"level": 0.9, "coverage": 0.912, "width": 61.25}
    ablation = [
        {"variant": "without x", "target": "sbp", "mase": 0.912, "mase_ci95": [0.9, 0.95], "parameters": 12, "note": None}
    ]
    more = {"intervals": {"sbp": ends, "dbp": ends}, "ablation": ablation, "against_target_median": {"sbp": {"mase": 0.951}}}
    return replace(run, scores={**run.scores, **more}, recipe=yaml.safe_dump(RECIPE), dataset=SET, environment=ENVIRONMENT)


def numbers(content: Any) -> Iterator[float]:
    """Return every number of scores.json."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        for item in content:
            yield from numbers(item)
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield float(content)


def cells(table: Table) -> Iterator[Num]:
    return (cell for row in table.rows for cell in row if isinstance(cell, Num))


# --------------------------------------------------------------------------------------------------------------- numbers
@pytest.mark.parametrize("kind", KINDS)
def test_every_printed_number_is_one_of_the_scores(runs: dict[str, Run], pressure: Run, kind: str) -> None:
    run = pressure if kind == "pressure" else runs[kind]
    known = np.array(sorted(numbers(dict(run.scores))))
    seen = 0
    for table in tables.tables(run):
        # Who was tested and what was left out are counted from the run's own tables.
        for cell in cells(table) if table.name not in {"cohort", "excluded"} else ():
            assert all(np.any(known == value) for value in (cell.value, *(cell.ci95 or ())) if value is not None)
            for written, digits in re.findall(r"(\d[\d,]*(?:\.(\d+))?)", cell.text()):
                near = np.abs(np.abs(known) - float(written.replace(",", ""))) <= 0.5 * 10.0 ** -len(digits) + 1e-9
                assert near.any(), (table.name, written)
                seen += 1
    assert seen > 50


def test_the_three_kinds_of_a_table_say_the_same(pressure: Run) -> None:
    for table in tables.tables(pressure):
        rows = list(csv.reader(io.StringIO(text.comma_separated(table))))
        assert len(rows) == 1 + len(table.rows)
        assert len({len(row) for row in rows}) == 1
        body = text.markdown(table).split("|\n")[2:]
        assert len(body) >= len(table.rows)
        for row, line in zip(table.rows, body, strict=False):
            assert [text._md(text.shown(cell)) for cell in row] == [
                part.strip() for part in re.split(r"(?<!\\)\|", line.strip())[1:]
            ][: len(row)]
        for cell_row, csv_row in zip(table.rows, rows[1:], strict=True):
            exact = [float(word) for word in csv_row if re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", word)]
            for cell in cell_row:
                if isinstance(cell, Num) and cell.value is not None:
                    assert cell.value in exact
                    assert all(end in exact for end in cell.ci95 or ())


def test_the_first_table_counts_people_and_windows(pressure: Run) -> None:
    found = {row[0]: row[1] for row in tables.cohort(pressure).rows}
    table = pressure.predictions
    one = table[(table["target"] == "sbp") & (table["seed"] == table["seed"].min())]
    mean = one.groupby("subject")["y_true"].mean()
    assert found["Reference SBP, mmHg: mean of subject means"] == Num(float(mean.mean()), 1)
    assert found["Reference SBP, mmHg: SD of subject means"] == Num(float(mean.std(ddof=1)), 1)
    assert found["age years, mean"] == Num(57.1, 1)
    assert found["sex male"] == "48 %"
    assert found["Windows a subject, median"] == Num(8.0, 0)


def test_who_was_left_out_is_counted(runs: dict[str, Run]) -> None:
    table = pd.DataFrame({"record": list("abc"), "onset_s": [0.0, math.nan, 8.0], "reason": ["x", "y", "x"]})
    run = replace(runs["pressure"], rejected=table)
    made = tables.excluded(run)
    assert made is not None
    assert [[text.shown(cell) for cell in row] for row in made.rows] == [["x", "2", "0"], ["y", "0", "1"]]
    assert tables.excluded(replace(run, rejected=table[:0])) is None
    assert "2 windows and 1 whole records (x: 2; y: 1)" in methods.flow(run)[1]
    assert methods.flow(replace(run, rejected=table[:0]))[1] == "Not used: 0 windows and 0 whole records."
    assert "the reasons are not in the run" in methods.flow(replace(run, rejected=None))[0]
    low = replace(run, scores={**run.scores, "coverage_sufficient": False})
    assert "calls this insufficient" in methods.flow(low)[0]


def test_stamps_and_a_failed_audit_stand_under_every_table(runs: dict[str, Run]) -> None:
    run = runs["pressure"]
    audit = {"passed": False, "checks": [{"name": "subject_overlap", "passed": False, "detail": "4 of 60"}]}
    failed = replace(run, scores={**run.scores, "audit": audit})
    for table in tables.tables(failed):
        assert table.notes[0] == "AUDIT FAILED, do not believe these numbers."
        assert table.notes[1] == "Stamped by the run: SIMULATED DATA; record-level ids."
    assert all("AUDIT FAILED" in one.caption for one in drawing.drawings(failed))
    assert (
        "FAILED: subject overlap: 4 of 60."
        in next(p for p in methods.methods(failed) if p.title == "Audit for leaks").paragraphs
    )
    assert "subject-independent" in tables.warnings(runs["ordinal"].scores)[0]
    clean = {**run.scores, "stamps": []}
    assert tables.warnings(clean) == []


def test_who_is_told_the_answers_is_no_competitor(runs: dict[str, Run]) -> None:
    main = tables.main_results(runs["stress"])[0]
    assert any("told labels of the tested people: subject mean oracle" in note for note in main.notes)
    assert any("Not available: gradient boosting" in note for note in main.notes)
    assert "subject mean oracle" not in next(p for p in methods.methods(runs["stress"]) if p.title == "Baselines").paragraphs[0]


def test_a_table_of_what_is_not_there_is_left_out(runs: dict[str, Run]) -> None:
    names = [table.name for table in tables.tables(runs["ratings"])]
    assert "screens" not in names
    assert "classes" not in names
    assert "confusion_valence" not in names
    assert names[0] == "main"
    bare = replace(runs["pressure"], scores={**runs["pressure"].scores, "ablation": None, "negative_control": None})
    assert {"ablation", "controls"}.isdisjoint(table.name for table in tables.tables(bare))


# ----------------------------------------------------------------------------------------------------------------- LaTeX
SPECIALS = '5 % of a_b & c#1 $x$ {y} ~ ^ \\ < > | " − – ≤ Δ … é'


def sound(source: str) -> None:
    """Fail where LaTeX would: braces, environments, letters that mean something, cells of a row."""
    depth = 0
    for token in re.findall(r"\\.|[{}]", source, flags=re.DOTALL):
        depth += {"{": 1, "}": -1}.get(token, 0)
        assert depth >= 0
    assert depth == 0
    stack: list[str] = []
    for word, name in re.findall(r"\\(begin|end)\{([a-z*]+)\}", source):
        if word == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert stack == []
    assert source.isascii() or set(re.findall(r"[^\x00-\x7f]", source)) <= set("éäöüß")
    assert not re.search(
        r"(?<!\\)[%$#^_]", re.sub(r"\\(label|input|includegraphics|usepackage)(\[[^]]*\])?\{[^}]*\}", "", source)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_latex_is_sound(runs: dict[str, Run], pressure: Run, kind: str) -> None:
    run = pressure if kind == "pressure" else runs[kind]
    for table in (*tables.tables(run), tripod.checklist(run)):
        source = text.latex(table)
        sound(source)
        rows = [line for line in source.splitlines() if line.endswith(r"\\") and not line.startswith(r"\caption")]
        assert len(rows) == 1 + len(table.rows)
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(table.header) - 1}
    sound(text.text_latex(methods.methods(run)))


def test_letters_that_mean_something_are_escaped() -> None:
    table = Table(
        "odd [name]",
        SPECIALS,
        ("[a]", "b_c"),
        (("[x] " + SPECIALS, Num(-1.25, 2, (-2.0, 0.5))), ("=1+1", Num(None))),
        (SPECIALS,),
    )
    source = text.latex(table)
    sound(source)
    assert "\n{[}x] 5" in source
    assert r"\label{tab:odd-name-}" in source
    assert r"\(-\)1.25 (\(-\)2.00 to 0.50)" in source
    assert r"a\_b" in text.markdown(table)
    assert r"\|" in text.markdown(table)
    lines = text.comma_separated(table).splitlines()
    assert lines[0] == '[a],b_c,"b_c, low","b_c, high"'
    assert lines[2] == "'=1+1,,,"
    with pytest.raises(ValueError, match="rows of 2 cells"):
        Table("x", "x", ("a", "b"), (("a",),))


def test_long_tables_go_over_several_pages() -> None:
    table = Table("long", "c", ("a", "b"), tuple((str(i), Num(i, 0)) for i in range(60)))
    assert r"\begin{longtable}{@{}lr@{}}" in text.latex(table)
    assert r"\begin{table}[htbp]" in text.latex(replace(table, rows=table.rows[:5]))


# --------------------------------------------------------------------------------------------------------------- methods
def test_the_protocol_is_told_from_the_recipe_and_the_folds(pressure: Run, tmp_path: Path) -> None:
    rows = [{"subject": f"s{i}", "part": part, "fold": 0, "seed": 0} for i, part in enumerate(["train"] * 5 + ["test"] * 2)]
    pd.DataFrame(rows).to_parquet(tmp_path / "folds.parquet")
    told = {part.title: " ".join(part.paragraphs) for part in methods.methods(replace(pressure, path=tmp_path))}
    assert "band-pass 0.5–8 Hz of ppg; odd step (share of 0.5); bandpass (channel ppg)." in told["Signals and windows"]
    assert "Windows of 8 s, one every 8 s" in told["Signals and windows"]
    assert "a signal quality of at least 0.3" in told["Signals and windows"]
    assert "train 5 subjects, 5 windows; test 2 subjects, 2 windows" in told["Who was trained on, who was tested"]
    assert "Left out by the recipe: r7." in told["Who was trained on, who was tested"]
    assert "use waveform no" in told["Model"]
    assert "augmentation: noise 0.5; class weights balanced; epochs 3; seen 1, 2; all else" in told["Model"]
    assert "conservative groups" in told["Data"]
    assert "THESE DATA ARE SIMULATED" in told["Data"]
    assert "SBP: prediction intervals of 90 % held 91.2 % of the references; mean width 61.2" in told["Figures and intervals"]
    assert "reached a MASE of 1.01" in told["Audit for leaks"]
    assert "numpy 2.0" in told["Software"]
    assert "screens on retrospective data" in told["Figures and intervals"]


def test_what_is_not_in_the_run_is_not_said(runs: dict[str, Run], tmp_path: Path) -> None:
    bare = replace(runs["stress"], recipe=None, dataset=None, environment=None, path=tmp_path)
    told = {part.title: " ".join(part.paragraphs) for part in methods.methods(bare)}
    assert "for the authors to say" in told["Signals and windows"]
    assert "no more facts" in told["Data"]
    assert "Software" not in told
    lonely = replace(bare, scores={**bare.scores, "baselines": {}})
    assert methods._baselines(lonely) == ["There is no baseline in this run."]
    with pytest.raises(DataError, match="not readable as YAML"):
        methods.recipe_of(replace(bare, recipe="a: [", path=tmp_path))
    pd.DataFrame({"other": [1]}).to_parquet(tmp_path / "folds.parquet")
    assert methods._sizes(bare) == []
    pd.DataFrame({"part": ["odd"], "fold": [0], "seed": [0], "subject": ["s"]}).to_parquet(tmp_path / "folds.parquet")
    assert methods._sizes(bare) == []


def test_two_sets_are_both_told(pressure: Run) -> None:
    both = replace(
        pressure, dataset={"datasets": {"a": SET, "b": {**SET, "title": "Other", "doi": "", "labels": {}, "simulated": False}}}
    )
    assert len(methods.sets_of(both)) == 2
    assert len(methods.sets_of(replace(pressure, dataset={"datasets": [SET]}))) == 1
    rows = {row[0]: row for row in tripod.checklist(both).rows}
    assert "another data set" in str(rows["4"][4])
    assert "Two data sets" in str(rows["16"][4])


# ---------------------------------------------------------------------------------------------------------------- checklist
def test_the_checklist_has_all_items_and_invents_none(runs: dict[str, Run], pressure: Run) -> None:
    assert len(tripod.ITEMS) == 52
    assert len({item.number for item in tripod.ITEMS}) == 52
    assert len({re.match(r"\d+", item.number)[0] for item in tripod.ITEMS}) == 27  # type: ignore[index]
    assert set(tripod.ANSWERS) <= {item.number for item in tripod.ITEMS}
    for run in (*runs.values(), pressure):
        table = tripod.checklist(run)
        for row in table.rows:
            assert bool(row[4]) is (row[3] != tripod.AUTHORS)
        states = {str(row[0]): row[3] for row in table.rows}
        # What a run can never know.
        assert {states[n] for n in ("3a", "5b", "6a", "6c", "14", "17", "18a", "18b", "19", "25", "27c")} == {tripod.AUTHORS}
    answers = {str(row[0]): str(row[4]) for row in tripod.checklist(pressure).rows}
    assert "a number in mmHg" in answers["15"]
    assert "Does not apply" in answers["13"]
    assert answers["26"].startswith("It is small.")
    stress = {str(row[0]): str(row[4]) for row in tripod.checklist(runs["stress"]).rows}
    assert "Classes are cut: stress at 0.5" in stress["15"]
    assert "balanced accuracy" in stress["13"]
    weighed = replace(runs["stress"], recipe=yaml.safe_dump(RECIPE))
    assert "Class weights in training: balanced" in {str(row[0]): str(row[4]) for row in tripod.checklist(weighed).rows}["13"]
    plain = replace(runs["stress"], recipe="name: x")
    assert "Nothing is set" in {str(row[0]): str(row[4]) for row in tripod.checklist(plain).rows}["13"]


# --------------------------------------------------------------------------------------------------------------- figures
def test_figures_are_vectors_of_column_width_and_the_same_every_time(
    pressure: Run, runs: dict[str, Run], tmp_path: Path
) -> None:
    made = {one.name: one for one in drawing.drawings(pressure)}
    assert set(made) == {
        "flow",
        *(f"{kind}_{name}" for kind in ("agreement", "baselines", "classes") for name in ("sbp", "dbp")),
    }
    assert {one.width_mm for one in made.values()} == {85.0, 180.0}
    for name in ("agreement_sbp",):
        first = [path.read_bytes() for path in drawing.save(made[name], tmp_path)]
        assert [path.read_bytes() for path in drawing.save(made[name], tmp_path)] == first
        width = float(re.search(rb'<svg [^>]*width="([\d.]+)pt"', first[0])[1])  # type: ignore[index]
        assert width == pytest.approx(made[name].width_mm / 25.4 * 72, abs=0.01)
        assert b"<image" not in first[0]
        assert b"<text" not in first[0]  # letters are outlines: no font is asked for
        assert b"/FontFile2" in first[1]
        assert b"/Subtype /Image" not in first[1]
    assert "(a) estimate" in made["agreement_sbp"].caption
    stress = {one.name: one for one in drawing.drawings(runs["stress"])}
    assert set(stress) == {"flow", "baselines_stress", "confusion_stress"}
    for one in (made["classes_sbp"], stress["confusion_stress"], stress["baselines_stress"]):
        assert all(path.stat().st_size > 1000 for path in drawing.save(one, tmp_path))
    assert {"agreement_valence"} <= {one.name for one in drawing.drawings(runs["ratings"])}


def test_a_figure_without_limits_or_classes_is_drawn_too(pressure: Run, tmp_path: Path) -> None:
    target = {k: v for k, v in pressure.scores["targets"]["sbp"].items() if k not in {"bland_altman", "classes"}}
    scores = {**pressure.scores, "targets": {"sbp": target}, "seeds": [0]}
    many = pd.DataFrame({"record": [f"r{i}" for i in range(15)], "onset_s": 0.0, "reason": [f"reason {i}" for i in range(15)]})
    made = {one.name: one for one in drawing.drawings(replace(pressure, scores=scores, rejected=many))}
    assert set(made) == {"flow", "agreement_sbp", "baselines_sbp"}
    assert "Seed" not in made["agreement_sbp"].caption
    for one in made.values():
        assert all(path.stat().st_size > 1000 for path in drawing.save(one, tmp_path))
    assert drawing.drawings(replace(pressure, rejected=None))[0].height_mm < made["flow"].height_mm


# ------------------------------------------------------------------------------------------------------------------ folder
def few(patch: pytest.MonkeyPatch) -> None:
    """Draw one figure of each paper: all are drawn elsewhere."""
    every = drawing.drawings
    patch.setattr(drawing, "drawings", lambda run: every(run)[:1])


@pytest.mark.parametrize("kind", ["pressure", "stress"])
def test_a_paper_is_written_whole(folders: dict[str, Path], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)
    files = report_paper.write(folders[kind], tmp_path / "out")
    assert all(path.is_file() for path in files)
    whole = (tmp_path / "out" / "paper.tex").read_text(encoding="utf-8")
    sound(whole)
    for name in re.findall(r"\\input\{([^}]+)\}", whole):
        assert (tmp_path / "out" / f"{name}.tex").is_file()
    for name in re.findall(r"\]\{([^}]+\.pdf)\}", whole):
        assert (tmp_path / "out" / name).is_file()
    page = (tmp_path / "out" / "paper.md").read_text(encoding="utf-8")
    for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page):
        assert (tmp_path / "out" / name).is_file()
    # Nothing of this machine is told.
    assert str(tmp_path) not in "".join(
        path.read_text(encoding="utf-8") for path in files if path.suffix in {".md", ".tex", ".csv"}
    )


def test_citations_are_sound(pressure: Run) -> None:
    source = report_paper.citations(pressure)
    assert re.findall(r"@(\w+)\{(\w+),", source) == [("misc", "a_set"), ("misc", "biosig_mtl"), ("article", "tripod_ai")]
    assert r"title = {{A \{set\} \& more}}" in source
    assert "doi = {10.1/x_y}" in source
    assert r"5 \% of \$x\_" in source
    assert source.count("{") - source.count(r"\{") == source.count("}") - source.count(r"\}")


def test_the_verb_writes_beside_the_run(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import typer

    few(monkeypatch)

    app = typer.Typer()
    verb.register(app)
    copy = Path(shutil.copytree(folders["stress"], tmp_path / "run"))
    verb.paper(copy)
    out = capsys.readouterr().out
    assert f"begin with {copy / 'paper' / 'paper.md'}" in out
    assert "1 svg, 1 pdf" in out
    assert [command.callback for command in app.registered_commands] == [verb.paper]


def test_a_contest_gives_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = {"error": 18.36, "error_ci95": [16.8, 19.98]}
    still = {"delta_m": 0.0, "delta_m_ci95": [0.0, 0.0], "verdict": "reference"}
    rows = [
        {"label": "single_task", "parameters": 46286, "targets": {"sbp": one}, **still},
        {"label": "ridge", "targets": {"sbp": one}, "delta_m": 1.44, "delta_m_ci95": [-1.9, 4.2], "verdict": "better"},
        {"label": "late", "targets": {}, "delta_m": None, "verdict": "waiting"},
    ]
    made = {
        "rows": rows,
        "targets": {"sbp": {"unit": "mmHg", "classes": 0, "is": "mean absolute error"}},
        "dataset": "uci",
        "n_subjects": 9,
        "headline": "It does not.",
    }
    (tmp_path / "compare.json").write_text(json.dumps(made), encoding="utf-8")
    verb.paper(tmp_path)
    assert "begin with" in capsys.readouterr().out
    table = (tmp_path / "paper" / "tables" / "contest.md").read_text(encoding="utf-8")
    assert [line.split("|")[1].strip() for line in table.splitlines()[4:7]] == ["ridge", r"single\_task", "late"]
    assert "18.4 (16.8–20.0)" in table
    sound((tmp_path / "paper" / "tables" / "contest.tex").read_text(encoding="utf-8"))
    for wrong in ("{", "{}"):
        (tmp_path / "compare.json").write_text(wrong, encoding="utf-8")
        with pytest.raises(DataError, match=r"run the comparison again|not as schema 1 says"):
            report_paper.write(tmp_path, tmp_path / "out")


def test_what_is_no_run_is_told_and_leaves_nothing(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such run folder"):
        report_paper.write(tmp_path / "no", tmp_path / "out")
    broken = Path(shutil.copytree(folders["stress"], tmp_path / "broken"))
    scores = json.loads((broken / "scores.json").read_text(encoding="utf-8"))
    del scores["n_subjects"]
    (broken / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    with pytest.raises(DataError, match="not as schema 1 says"):
        report_paper.write(broken, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("x", encoding="ascii")
    with pytest.raises(DataError, match="choose another --out"):
        report_paper.write(folders["stress"], tmp_path / "file")
