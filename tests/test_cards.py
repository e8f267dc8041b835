"""Laws of what nouns show of themselves: every word is escaped, nothing is loaded, and the figures are those of the noun."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from biosig_mtl import cards, pipeline
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.recipe import load
from biosig_mtl.types import Channel, Features, Record, Rejected, Scores, Track, Windows, WindowTable

BAD = "<img src=x onerror=alert(1)>"


def channel(samples: np.ndarray, name: str = "ppg") -> Channel:
    return Channel(name, "ppg", "NU", 50.0, samples.astype(np.float32))


def parsed(html: str) -> ElementTree.Element:
    """Return the card as a tree: it must be well formed, with no word of a recording left as markup."""
    assert not re.search(r"https?://|<script|<img|<iframe", html)
    return ElementTree.fromstring(html)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Windows, Features]:
    cohort = Cohort(n_subjects=1, records_per_subject=1, record_s=64, fault_share=0)
    root = write(cohort, tmp_path_factory.mktemp("d") / "c")
    return pipeline.preparation(load("demo_bp")).apply(open_source(entry_for(next(root.rglob("*.hea")))).read())


def test_nouns_of_a_real_preparation_show_themselves(made: tuple[Record, Windows, Features]) -> None:
    record, windows, features = made
    shown = parsed(record._repr_html_())
    rows = [[cell.text for cell in row] for row in shown.iter("tr")]
    assert [row[0] for row in rows[1:]] == list(record.channels)
    beats = {row[0]: row[rows[0].index("beats")] for row in rows[1:]}
    assert beats["ppg_12hz"] == str(len(record.beats["ppg_12hz"]))
    text = windows._repr_html_()
    parsed(text)
    assert f"{len(windows)} windows" in text
    assert f"{windows.targets[:, 0].mean():.1f}" in text
    text = features._repr_html_()
    parsed(text)
    families = dict.fromkeys(name.partition(".")[0] for name in features.names)
    assert all(f">{family}<" in text for family in families)


def test_words_of_a_recording_are_escaped() -> None:
    record = Record(BAD, BAD, "1", {BAD: channel(np.arange(9.0), BAD)}, notes=(BAD,), seams_s=np.array([1.0]), start_s=3.0)
    assert BAD not in record._repr_html_()
    parsed(record._repr_html_())
    windows = Windows(
        record=BAD, subject="s", session="1", fs=1.0, onset_s=np.empty(0), signal=np.empty((0, 1, 8), np.float32),
        channels=(BAD,), kinds=("ppg",), sqi=np.empty((0, 1), np.float32), targets=np.empty((0, 1), np.float32),
        target_names=(BAD,), rejected=(Rejected(BAD, 0.0, BAD), Rejected(BAD, 8.0, BAD)),
    )  # fmt: skip
    parsed(windows._repr_html_())
    assert "refused 2 ×" in windows._repr_html_()
    scores = Scores({"model": BAD, "targets": {BAD: {"mae": None, "unit": BAD}}, "audit": {"passed": False, "checks": []}})
    parsed(scores._repr_html_())
    assert "do not believe" in scores._repr_html_()


def test_a_gap_and_an_empty_signal_draw_nothing() -> None:
    assert cards.spark(np.empty(0, np.float32)) == "–"
    assert cards.spark(np.full(9, np.nan, np.float32)) == "–"
    holed = np.r_[np.zeros(160), np.full(160, np.nan), np.ones(160)].astype(np.float32)
    assert cards.spark(holed).count("M") == pytest.approx(107, abs=2)
    assert "33.3 %" in cards.of_channel(channel(holed))["missing"]
    assert cards.of_channel(channel(np.empty(0)))["missing"] == "100.0 %"


def test_scores_show_figures_of_numbers_and_of_classes() -> None:
    number = {
        "mae": 12.34,
        "mae_ci95": [11.0, 13.5],
        "unit": "mmHg",
        "mase": 0.91,
        "paired": {"verdict": "worse", "best_baseline": "ridge"},
    }
    classes = {"balanced_accuracy": 0.612, "balanced_accuracy_ci95": [None, None]}
    content = {"targets": {"sbp": number, "stress": classes}, "stamps": ["SIMULATED DATA"], "n_windows": 9, "n_subjects": 3}
    text = Scores({**content, "audit": {"passed": True, "checks": []}})._repr_html_()
    for word in (
        "12.3 mmHg",
        "11.0 to 13.5",
        "0.91",
        "worse (ridge)",
        "0.61",
        "SIMULATED DATA",
        "9 windows of 3 people",
        "audit passed",
    ):
        assert word in text
    failing = {**content, "audit": {"passed": False, "checks": [{"name": "overlap", "passed": False}]}}
    assert "AUDIT FAILED (overlap)" in Scores(failing)._repr_html_()


def test_a_table_tells_people_and_targets() -> None:
    targets = np.array([[100.0, np.nan], [120.0, np.nan], [140.0, np.nan]], np.float32)
    nothing = np.empty((3, 0, 0), np.float32)
    values = np.array([[1.0], [np.nan], [2.0]], np.float32)
    index = pd.DataFrame({"subject": ["a", "a", "b"], "record": ["r1", "r2", "r3"]})
    table = WindowTable(index, values, ("hr.mean",), nothing, (), 1.0, targets, ("sbp", "dbp"))
    text = table._repr_html_()
    parsed(text)
    assert "3 windows of 2 people in 3 recordings" in text
    assert "33 % unknown" in text
    assert "100.0 to 140.0" in text


def test_tracks_are_told_and_many_rows_are_counted() -> None:
    values = np.empty((2, 0), np.float32)
    track = Track(("F3", "F4"), 128.0, np.zeros((2, 2, 8), np.float32))
    assert "F3, F4 at 128 Hz" in Features(values, (), np.empty((2, 0, 0), np.float32), (), {"eeg": track})._repr_html_()
    assert "and 6 more" in cards.card("t", [{"a": i} for i in range(30)])


def test_a_card_has_no_path_of_this_machine(made: tuple[Record, Windows, Features]) -> None:
    assert str(Path.cwd()) not in made[0]._repr_html_()
