"""Manifests are strict, sets are found, records are listed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from biosig_mtl.data import manifest
from biosig_mtl.data.found import natural
from biosig_mtl.types import DataError, RecipeError

NAMES = ("mimic3_waveforms", "ppg_bp", "uci_kachuee", "uci_kachuee_mat")


@pytest.mark.parametrize("name", NAMES)
def test_shipped_manifests_say_what_they_must(name: str) -> None:
    found = manifest.load(name)
    assert found.name == name
    assert found.licence
    assert found.citation
    assert found.access.url.startswith("https://")
    assert found.timing_reason
    assert set(found.labels) == {"sbp", "dbp"}
    assert found.defects
    assert name in manifest.names()


@pytest.mark.parametrize("name", NAMES)
def test_saving_and_loading_gives_the_same(tmp_path: Path, name: str) -> None:
    found = manifest.load(name)
    manifest.save(found, tmp_path / "m.yaml")
    assert manifest.load(tmp_path / "m.yaml") == found


def test_a_manifest_tells_channels_and_facts_without_data() -> None:
    found = manifest.load("ppg_bp")
    assert {n: (c.kind, c.unit, c.fs) for n, c in found.channel_infos().items()} == {"ppg": ("ppg", "a.u.", 1000.0)}
    facts = found.facts()
    assert (facts["subject_level"], facts["simulated"]) == ("person", False)
    assert yaml.safe_load(yaml.safe_dump(facts)) == facts


def changed(tmp_path: Path, **change: object) -> Path:
    content = yaml.safe_load(Path("data_manifests/uci_kachuee.yaml").read_text(encoding="utf-8")) | change
    path = tmp_path / "m.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subject_levle": "person"}, "did you mean 'subject_level'"),
        ({"subject_level": "patient"}, "subject_level"),
        ({"name": "My Set"}, "need a name of small letters"),
        ({"index": None}, "need an index or a pattern"),
        ({"index": {"fiel": "x"}}, "fiel"),
        ({"channels": {"ppg": {"names": [], "unit": "NU"}}}, "at least one name"),
        ({"channels": {"ppg": {"names": ["PLETH"], "units": "NU"}}}, "units"),
        ({"channels": {"ppg": {"names": ["PLETH"], "unit": "NU", "fs_hz": 0}}}, "need fs_hz > 0"),
        ({"channels": ["ppg"]}, "need our name of each channel"),
        ({"access": {"kind": "open", "files": [{"url": "ftp://x", "name": "x"}]}}, "https://"),
        ({"access": {"kind": "open", "files": [{"url": "https://x", "name": "../x"}]}}, "plain file name"),
        ({"access": {"kind": "open", "files": [{"url": "https://x", "name": "x", "sha256": "12"}]}}, "64 hexadecimal"),
        ({"access": {"kind": "open", "files": [{"url": "https://x", "name": "x", "bytes": -1}]}}, "bytes >= 0"),
        ({"access": {"kind": "open", "files": [{"url": "https://x", "name": "x", "md5": "1"}]}}, "md5"),
        ({"subject_pattern": "("}, "regular expression"),
        ({"subject_pattern": "p\\d+"}, "need a group"),
    ],
)
def test_unknown_words_and_nonsense_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError) as error:
        manifest.load(changed(tmp_path, **change))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'ppg_bp'"):
        manifest.load("ppgbp")
    (tmp_path / "m.yaml").write_text("- 1\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="a manifest is a mapping"):
        manifest.load(tmp_path / "m.yaml")
    (tmp_path / "m.yaml").write_text("a: [1\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="not readable as YAML"):
        manifest.load(tmp_path / "m.yaml")


def write_set(folder: Path, rows: str = "record,subject\nu2/b,u2\nu10/a,u10\nu2/a,u2\n") -> Path:
    for record in ("u2/a", "u2/b", "u10/a"):
        path = folder / f"{record}.hea"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x", encoding="ascii")
    (folder / "records.csv").write_text(rows, encoding="utf-8-sig")
    return folder


def test_a_set_is_found_by_its_own_folder_or_under_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = manifest.load("uci_kachuee")
    own = write_set(tmp_path / "bp" / "uci_kachuee")
    assert manifest.locate(found, own) == own
    monkeypatch.setenv("BIOSIG_DATA", str(tmp_path))
    assert manifest.locate(found) == own
    monkeypatch.setenv("BIOSIG_DATA", str(tmp_path / "bp"))
    assert manifest.locate(found) == own
    with pytest.raises(DataError, match=r"holds no uci_kachuee \(looked for records\.csv\); see https:"):
        manifest.locate(found, tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        manifest.locate(found, tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no folder mimic3_waveforms or mimic3_atm .* see https://physionet\.org"):
        manifest.locate(manifest.load("mimic3_waveforms"))
    with pytest.raises(DataError, match="looked for 'Data File/0_subject'"):
        manifest.locate(manifest.load("ppg_bp"), own)
    monkeypatch.delenv("BIOSIG_DATA")
    with pytest.raises(DataError, match="or set BIOSIG_DATA"):
        manifest.locate(found)


def test_records_come_in_natural_order_and_missing_ones_with_a_reason(tmp_path: Path) -> None:
    rows = "record,subject\nu10/a,u10\nu2/b,u2\nu2/a,u2\nu3/a,u3\nu2/a,u2\nu2/empty,u2\n"
    folder = write_set(tmp_path, rows)
    (folder / "u2" / "empty.hea").touch()
    listing = manifest.entries(manifest.load("uci_kachuee"), folder)
    assert [e.record for e in listing.entries] == ["u2/a", "u2/b", "u10/a"]
    assert [e.subject for e in listing.entries] == ["u2", "u2", "u10"]
    assert listing.entries[0].channels == {"ppg": ("PLETH",), "ecg": ("II",), "abp": ("ABP",)}
    assert {r.record: r.reason for r in listing.rejected} == {
        "u2/a": "the index lists this record twice",
        "u2/empty": "u2/empty.hea: the file is empty",
        "u3/a": "u3/a.hea: the file is missing",
    }
    assert len(listing) == 3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("record,person\nu2/a,1\n", "no column 'subject'; it has record, person"),
        ("record,subject\nu2/a\n", "line 2: no value in column 'subject'"),
        ("record,subject\nu2/a,u2,1,2\n", "line 2: more cells than headings"),
        ('record,subject\nu2/a,"u2\n', "not readable as CSV"),
        ("record,subject\n../x,u2\n", "leads out of the folder"),
        ("record,subject\n/etc/x,u2\n", "leads out of the folder"),
        ("", "no column 'record'; it has nothing"),
    ],
)
def test_an_index_that_cannot_be_read_names_the_line(tmp_path: Path, rows: str, message: str) -> None:
    folder = write_set(tmp_path, rows)
    with pytest.raises(DataError) as error:
        manifest.entries(manifest.load("uci_kachuee"), folder)
    assert message in str(error.value)
    assert "records.csv" in str(error.value)


def test_a_set_without_its_index_or_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the index records\.csv of uci_kachuee is missing"):
        manifest.entries(manifest.load("uci_kachuee"), tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        manifest.entries(manifest.load("uci_kachuee"), tmp_path / "x")
    with pytest.raises(DataError, match="no file fits"):
        manifest.entries(manifest.load("mimic3_waveforms"), tmp_path)
    with pytest.raises(DataError, match="no file fits"):
        manifest.entries(manifest.load("uci_kachuee_mat"), tmp_path)


def test_without_an_index_wholes_are_listed_and_their_segments_not(tmp_path: Path) -> None:
    folder = tmp_path / "30" / "3000003"
    folder.mkdir(parents=True)
    for name in ("3000003", "3000003_layout", "3000003_0001", "3000003n"):
        (folder / f"{name}.hea").write_text("x", encoding="ascii")
    listing = manifest.entries(manifest.load("mimic3_waveforms"), tmp_path)
    assert [(e.record, e.subject) for e in listing.entries] == [("30/3000003/3000003",) * 2]


def test_a_pattern_may_name_the_subject(tmp_path: Path) -> None:
    path = changed(tmp_path, index=None, pattern="*/*.hea", subject_pattern=r"^u(?P<subject>\d+)/")
    folder = write_set(tmp_path / "set")
    (folder / "stray").mkdir()
    (folder / "stray" / "a.hea").write_text("x", encoding="ascii")
    listing = manifest.entries(manifest.load(path), folder)
    assert [e.subject for e in listing.entries] == ["2", "2", "10"]
    assert [r.reason for r in listing.rejected] == ["no subject found in 'stray/a'"]


def test_an_index_may_know_people_and_cuff_values(tmp_path: Path) -> None:
    index = {"session": "visit", "demographics": {"age_years": "age"}, "labels": {"sbp": "cuff"}, "path": "{record}.hea"}
    path = changed(tmp_path, index=index)
    folder = write_set(tmp_path / "set", "record,subject,visit,age,cuff\nu2/a,u2,v1,44,121\nu2/b,u2,,old,\n")
    first, second = manifest.entries(manifest.load(path), folder).entries
    assert (first.session, dict(first.demographics), first.labels[0].value) == ("v1", {"age_years": 44.0}, 121.0)
    assert (second.session, dict(second.demographics), second.labels) == ("1", {}, ())
    with pytest.raises(DataError, match="no column for the path"):
        manifest.entries(manifest.load(changed(tmp_path, index={"path": "{file}.hea"})), folder)


def test_cells_without_an_index_are_their_own_subjects(tmp_path: Path, data_root: Path) -> None:
    import shutil

    source = data_root / "bp" / "uci_kachuee"
    shutil.copyfile(source / "uci_layout_dev.mat", tmp_path / "Part_1.mat")
    (tmp_path / "Part_2.mat").write_bytes(b"MATLAB 5.0")
    found = manifest.load("uci_kachuee_mat")
    listing = manifest.entries(found, tmp_path)
    assert len(listing) == 24
    assert listing.entries[3].record == listing.entries[3].subject == "Part_1/Part_1/00003"
    assert ["is MATLAB v5" in r.reason for r in listing.rejected] == [True]
    (tmp_path / "Part_2.mat").unlink()
    (tmp_path / "Part_1_index.csv").write_text("record,pseudo_subject\na,b\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"lists 1 records, Part_1\.mat holds 24 cells"):
        manifest.entries(found, tmp_path)


def test_natural_order() -> None:
    assert sorted(["u10/a", "u2/b10", "u2/b9"], key=natural) == ["u2/b9", "u2/b10", "u10/a"]


SIZES = [("uci_kachuee", 3064, 192), ("mimic3_waveforms", 50, 50), ("uci_kachuee_mat", 24, 24)]


@pytest.mark.parametrize(("name", "records", "subjects"), SIZES)
def test_real_sets_are_listed_whole(
    data_root: Path, monkeypatch: pytest.MonkeyPatch, name: str, records: int, subjects: int
) -> None:
    monkeypatch.setenv("BIOSIG_DATA", str(data_root))
    found = manifest.load(name)
    root = manifest.locate(found)
    listing = manifest.entries(found, root)
    assert (len(listing), len({e.subject for e in listing.entries}), listing.rejected) == (records, subjects, ())


def test_an_index_tells_the_scale_of_its_ratings_and_what_was_shown(tmp_path: Path) -> None:
    """Ratings of an index go to the task's scale by what the manifest says of them."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "records.csv").write_text("record,subject,clip,val\na,p1,c1,3\nb,p1,c2,\n")
    for name in "ab":
        (tmp_path / "own" / f"{name}.edf").write_bytes(b"x")
    content = {
        "name": "own", "title": "t", "version": "1", "licence": "l", "citation": "c", "access": {"kind": "open"},
        "format": "edf",
        "channels": {"Fz": {"names": ["Fz"], "unit": "uV"}}, "subject_level": "person", "timing_reliable": True,
        "timing_reason": "r",
        "index": {"path": "{record}.edf", "labels": {"valence": "val"}, "scales": {"valence": "1..5"}, "stimulus": "clip"},
    }  # fmt: skip
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    found = manifest.entries(manifest.load(path), tmp_path / "own").entries
    assert [(e.record, e.stimulus) for e in found] == [("a", "c1"), ("b", "c2")]
    assert [(label.value, label.unit) for e in found for label in e.labels] == [(3.0, "1..5")]
