"""The verb that calibrates a run, and the page that it writes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from biosig_mtl import plots_calibration, report_calibration
from biosig_mtl.cli import calibrate as verb
from biosig_mtl.lifecycle import calibrate as calibrating
from biosig_mtl.types import DataError, RecipeError
from tests.lifecycle.calibrate_case import moving_table, opened_run, run_folder
from tests.report_page import Page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a run folder that opens, though its networks lie nowhere, with a folder of stores beside it."""
    place = run_folder(tmp_path_factory.mktemp("verb") / "run")
    (place.parent / "store").mkdir()
    opened = opened_run(moving_table(people=24, per=8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrating, "open_run", lambda *_: opened)
        yield place


def call(*words: str) -> Any:
    app = typer.Typer()
    verb.register(app)
    app.command("other")(lambda: None)  # with one verb alone typer would drop its name
    return CliRunner().invoke(app, ["calibrate", *words], catch_exceptions=False)


@pytest.fixture(scope="module")
def done(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("out") / "calibrated"
    said = call(str(folder), "--out", str(out), "--k", "1,2", "--method", "offset", "--method", "shrink", "--draws", "1")
    return out, said.output


def told_of(done: tuple[Path, str]) -> Any:
    return json.loads((done[0] / "calibration.json").read_text(encoding="utf-8"))


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    return page


# ------------------------------------------------------------------------------------------------------------- the verb
def test_the_verb_says_the_gain_first(done: tuple[Path, str]) -> None:
    out, said = done
    lines = [line for line in said.splitlines() if not line.startswith("calibrate")]
    assert lines[0].startswith("SBP, 1 reading: MAE")
    assert "holding" in lines[0]
    assert lines[-2] == f"page: {(out / 'calibration.html').resolve()}"
    assert lines[-1] == f"figures: {(out / 'calibration.json').resolve()}"
    assert sorted(path.name for path in out.iterdir()) == [
        "calibrated.parquet", "calibration.html", "calibration.json", "calibration.md",
    ]  # fmt: skip
    assert told_of(done)["methods"] == ["offset", "shrink"]


def test_progress_is_told_on_the_side(done: tuple[Path, str]) -> None:
    assert "calibrate: 1 of 2 folds" in done[1]
    assert "calibrate: fold 1, 2 readings: choosing and fitting 2 methods" in done[1]


def test_a_bar_is_not_torn_by_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    verb._aside("fold 0")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "kind", "match"),
    [
        (("--k", "one"), RecipeError, "--k one: write whole numbers"),
        (("--k", "2,1"), RecipeError, "calibrate: need numbers of readings that rise"),
        (("--embargo", "-1"), RecipeError, "need an embargo"),
        (("--seeds", "0"), RecipeError, "need seeds >= 1"),
        (("--method", "offse"), RecipeError, "did you mean 'offset'"),
        (("--store", "/nowhere"), DataError, "/nowhere: no such folder; give the folder of window stores"),
    ],
)
def test_wrong_words_are_refused(
    folder: Path, tmp_path: Path, words: tuple[str, ...], kind: type[Exception], match: str
) -> None:
    with pytest.raises(kind, match=match):
        call(str(folder), "--out", str(tmp_path), *words)


# ------------------------------------------------------------------------------------------------------------- the page
def test_the_page_is_whole_and_loads_nothing(done: tuple[Path, str]) -> None:
    page = read(done[0] / "calibration.html")
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert [link for link in page.loads if not link.startswith(("data:", "#"))] == []
    assert {link[1:] for link in page.anchors} <= set(page.ids)
    assert {"gain", "where", "tracking", "plans", "methods", "ways", "screens", "protocol", "audit"} <= set(page.ids)


def test_the_page_says_what_the_file_says(done: tuple[Path, str]) -> None:
    text = (done[0] / "calibration.html").read_text(encoding="utf-8")
    told = told_of(done)
    assert told["sentences"][0] in text
    assert told["sentences"][1] in text
    assert "SIMULATED DATA" in text
    assert "Audit passed: 5 checks." in text
    assert "not a validation" in text
    for target in told["targets"].values():
        assert f"{target['common']['1']['methods']['shrink']['pooled']['mae']:.2f}" in text
    assert "chosen method" in text
    assert re.search(r"mean of what is asked \(oracle\)", text)


def test_the_page_is_the_same_every_time(done: tuple[Path, str]) -> None:
    path = done[0] / "calibration.html"
    before = path.read_bytes()
    assert report_calibration.render(done[0]) == path
    assert path.read_bytes() == before


def test_what_was_not_asked_for_is_left_out(folder: Path, tmp_path: Path) -> None:
    said = call(str(folder), "--out", str(tmp_path), "--k", "2", "--method", "offset", "--draws", "0")
    assert "a new reading to stay within" not in said.output
    text = (tmp_path / "calibration.html").read_text(encoding="utf-8")
    assert "First readings and random ones" not in text
    assert "Plans are judged with one reading at a time" in text


def test_folders_without_a_calibration_are_refused(done: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not there; run `biosig-mtl calibrate` first"):
        report_calibration.render(tmp_path)
    (tmp_path / "calibration.json").write_text("{")
    with pytest.raises(DataError, match="not readable as JSON"):
        report_calibration.render(tmp_path)
    (tmp_path / "calibration.json").write_text("{}")
    with pytest.raises(DataError, match="not as schema 1 says"):
        report_calibration.render(tmp_path)
    told = told_of(done)
    # Nothing changed by as much as counts: there is no share, and the page has a dash.
    for target in told["targets"].values():
        target["common"]["1"]["methods"]["chosen"]["tracking"]["concordance"] = None
    (tmp_path / "calibration.json").write_text(json.dumps(told))
    assert "<b>–</b>" in report_calibration.render(tmp_path).read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------------------------- pictures
def test_pictures_are_the_same_every_time_and_say_what_they_show() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(0, 12, (2, 900))
    drawn = [
        [
            plots_calibration.by_bin(["0–5", "5–10"], {"held": [1.0, 7.0], "chosen": [2.0, 6.0]}, "change", "MAE"),
            plots_calibration.changes(points[0], points[1], "mmHg", 10.0),
            plots_calibration.plans(
                {"held": [(15.0, 3.0, 2.0, 4.0), (30.0, 4.0, 3.0, 5.0)]}, 8.0, "every", "MAE", {15.0: "15 s"}
            ),
        ]
        for _ in range(2)
    ]
    assert drawn[0] == drawn[1]
    assert all(svg.startswith("<svg") for svg in drawn[0])
    assert "5–10" in drawn[0][0]
    assert "change of the reference (mmHg)" in drawn[0][1]
    assert "15 s" in drawn[0][2]
    assert "change of the estimate" in plots_calibration.changes([], [], "mmHg", 10.0)


def test_ticks_are_in_units_that_people_read() -> None:
    assert [report_calibration._tick(x, "s") for x in (15.0, 300.0, 7200.0)] == ["15 s", "5 min", "2 h"]
    assert report_calibration._tick(4.0, "windows") == "4"
    assert report_calibration.gain_ci({"ci95": [None, None]}) == ""
    assert report_calibration.signed(0.0) == "0.00"
