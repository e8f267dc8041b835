"""Patterns of manifests against names as the data sets have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from biosig_mtl.data import manifest as manifests

# A file of each set whose subjects are read off its names → its subject.
NAMED = {"bidmc": ("bidmc01.hea", "bidmc01"), "mit_bih": ("100.hea", "100"), "ptt_ppg": ("s12_walk.hea", "s12")}


def test_every_pattern_of_subjects_has_an_example() -> None:
    assert {name for name in manifests.names() if manifests.load(name).subject_pattern} == set(NAMED)


@pytest.mark.parametrize("name", NAMED)
def test_a_pattern_finds_the_subject_of_a_file(name: str, tmp_path: Path) -> None:
    file, subject = NAMED[name]
    (tmp_path / file).write_text("x")
    (tmp_path / f"x{file}").write_text("x")
    listing = manifests.entries(manifests.load(name), tmp_path)
    assert [(e.record, e.subject) for e in listing.entries] == [(file.removesuffix(".hea"), subject)]


def test_records_of_mit_bih_are_listed(data_root: Path) -> None:
    listing = manifests.entries(manifests.load("mit_bih"), data_root / "annotated")
    assert [e.subject for e in listing.entries] == ["100", "105"]
    assert listing.rejected == ()
