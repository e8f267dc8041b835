"""What a set is, how it is obtained, and checking a copy against lists."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from biosig_mtl.data import download, manifest
from biosig_mtl.data.manifest import Access, Manifest
from biosig_mtl.types import DataError


def test_sets_that_need_a_person_come_with_a_plan(tmp_path: Path) -> None:
    text = download.fetch(manifest.load("mimic3_waveforms"), tmp_path)
    assert "https://physionet.org/content/mimic3wdb/1.0/" in text
    assert "wget" in text
    assert "biosig-mtl data verify mimic3_waveforms" in text
    assert "Obtain it from" in download.plan(manifest.load("uci_kachuee"), tmp_path)
    simulated = replace(manifest.load("uci_kachuee"), access=Access("simulated"))
    assert "made, not fetched" in download.fetch(simulated, tmp_path)
    assert list(tmp_path.iterdir()) == []


def small_set(root: Path) -> Manifest:
    (root / "records.csv").write_text("record,subject\na,s\n", encoding="utf-8")
    (root / "a.hea").write_text("header", encoding="ascii")
    return manifest.load("uci_kachuee")


def test_a_set_is_checked_against_lists(tmp_path: Path) -> None:
    found = small_set(tmp_path)
    assert len(download.verify(found, tmp_path)) == 1
    assert "no checksums known" in download.verify(found, tmp_path)[0]
    digest = hashlib.sha256(b"header").hexdigest()
    (tmp_path / "SHA256SUMS.txt").write_text(f"{digest} a.hea\n", encoding="ascii")
    assert download.verify(found, tmp_path) == []
    (tmp_path / "SHA256SUMS.txt").write_text(f"{digest[::-1]}  a.hea\n{digest}  b.hea\n", encoding="ascii")
    assert [p.split(": ")[1].split(" (")[0] for p in download.verify(found, tmp_path)] == [
        f"content differs from {tmp_path / 'SHA256SUMS.txt'}",
        "is missing",
    ]
    (tmp_path / "SHA256SUMS.txt").unlink()
    (tmp_path / "MANIFEST.csv").write_text(f"path,bytes,sha256\na.hea,7,{digest}\n../other,1,{digest}\n", encoding="ascii")
    assert [p.split(": ")[1].split(",")[0] for p in download.verify(found, tmp_path)] == ["has 6 bytes"]
    (tmp_path / "a.hea").unlink()
    assert download.verify(found, tmp_path)[-1] == "record a: a.hea: the file is missing"
    (tmp_path / "MANIFEST.csv").write_text("path,size\na,1\n", encoding="ascii")
    with pytest.raises(DataError, match="not readable as a list of checksums"):
        download.verify(found, tmp_path)


def test_a_description_has_the_facts_that_matter() -> None:
    for name in manifest.names():
        found = manifest.load(name)
        text = download.describe(found)
        assert found.licence in text
        assert found.citation in text
        assert ("not reliable" in text) is not found.timing_reliable
        assert all(defect in text for defect in found.defects)
    assert "ids are only records" in download.describe(manifest.load("mimic3_waveforms"))


def test_the_real_set_verifies(data_root: Path) -> None:
    found = manifest.load("mimic3_waveforms")
    assert download.verify(found, manifest.locate(found, data_root / "bp" / "mimic3_atm")) == []
