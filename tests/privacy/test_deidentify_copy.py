"""Laws of a clean copy: what a list allows is there to the last bit, under new names; nothing else is there at all."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from biosig_mtl import pipeline, store
from biosig_mtl.data import manifest as manifests
from biosig_mtl.data.affect_cohort import AffectCohort
from biosig_mtl.data.affect_cohort import write as write_affect
from biosig_mtl.data.deidentify import Cleaned, CleanSettings, deidentify
from biosig_mtl.data.listing import Listing, entries
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.synthetic import Cohort, simulate, write
from biosig_mtl.recipe import load
from biosig_mtl.types import DataError, RecipeError, Record
from tests.privacy import searching, seeded

SIMULATED = manifests.load("simulated_bp")
# Formats whose samples come from whole numbers or decimals: those of the others were never on any grid.
ON_A_GRID = {"wfdb", "edf", "bdf", "csv", "tsv", "parquet", "e4", "ppg_bp"}


def name_them(cohort: Path) -> None:
    """Give the people of a simulated cohort names, dates of sessions, comments; the last of them is 97."""
    frame = pd.read_csv(cohort / "records.csv", dtype=str)
    frame["age_years"] = [*frame["age_years"][:-2], "97", "97"]
    frame["subject"] = [f"KanariSubject{name}" for name in frame["subject"]]
    frame["record"] = [f"KanariRecord{name}" for name in frame["record"]]
    frame["session"] = [f"1987-03-{10 + int(name)}" for name in frame["session"]]
    frame["name"], frame["admitted"] = "KanariIndexName", "14.03.1987"
    frame.to_csv(cohort / "records.csv", index=False)
    for number, path in enumerate(sorted(cohort.glob("*/*.hea"))):
        first, *rest = path.read_text().splitlines()
        day = 14 + 7 * (number % 2)
        path.write_text("\n".join([f"{first} 15:09:26 {day}/03/1987", *rest, "# KanariComment born 23/07/1931"]) + "\n")


# No bare year of a recording: a date that was moved may fall into it by chance; whole dates are among these.
WORDS = ("KanariSubject", "KanariRecord", "KanariIndexName", "KanariComment", "s001", "1931", *seeded.DATES)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write(Cohort(n_subjects=4, records_per_subject=2, record_s=40, fault_share=0.6), tmp_path_factory.mktemp("d") / "c")
    for extra in ("truth.csv", "subjects.csv", "simulated.json"):
        (made / extra).unlink()
    name_them(made)
    return made


def clean(root: Path, place: Path, settings: CleanSettings | None = None, **how: Any) -> Cleaned:
    listing = entries(SIMULATED, root)
    return deidentify(listing, SIMULATED, (place / "copy", place / "map.json"), settings or CleanSettings(), **how)


@pytest.fixture(scope="module")
def place(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("clean")
    clean(cohort, made)
    return made


def back(place: Path, dataset: str = "simulated_bp") -> dict[str, str]:
    """Return who became whom, from the mapping file: new record → original."""
    content = json.loads((place / "map.json").read_text(encoding="utf-8"))
    return {new: old for old, new in content["datasets"][dataset]["records"].items()}


def rows(place: Path) -> list[dict[str, str]]:
    with (place / "copy" / "records.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def copied(place: Path, settings: str = "copy") -> Listing:
    return entries(manifests.load(place / settings / "manifest.yaml"), place / settings)


# ------------------------------------------------------------------------------------------------------------ nothing leaks
def test_nothing_that_identifies_is_in_the_copy(cohort: Path, place: Path) -> None:
    assert searching.search(place / "copy", WORDS) == []
    # The search would find them: they are in the original, and in the mapping.
    assert searching.search(cohort, ["KanariComment", "KanariIndexName"])
    assert searching.found_in((place / "map.json").read_bytes(), ["KanariSubject", "1987"])


@pytest.mark.parametrize("name", list(seeded.MAKERS))
def test_a_recording_of_every_format_becomes_clean_and_stays_what_it_was(tmp_path: Path, name: str) -> None:
    one = seeded.made(tmp_path / "KanariFolder", name)
    entry = entry_for(one.path)
    whole = str(entry.path)
    listing = Listing((replace(entry, record=whole, subject=whole, options={}),))
    told = deidentify(listing, None, (tmp_path / "copy", tmp_path / "map.json"), CleanSettings(keep_times=False))
    assert (told.given, told.written, told.refused) == (1, 1, 0)
    words = [*seeded.everywhere(one), "KanariFolder", one.path.stem if len(one.path.stem) > 3 else "KanariFolder"]
    assert searching.search(tmp_path / "copy", words) == []
    original = open_source(entry).read()
    (found,) = copied(tmp_path).entries
    same(original, open_source(found).read(), "exact" if name in ON_A_GRID else "rounded")


def same(original: Record, copy: Record, samples: str = "exact") -> None:
    assert len(original.channels) == len(copy.channels)
    kinds = {c.kind: c for c in original.channels.values()}
    for channel in copy.channels.values():
        theirs = original.channels.get(channel.name, kinds.get(channel.kind))
        assert theirs is not None
        assert channel.fs == pytest.approx(theirs.fs, rel=1e-12)
        if samples == "exact":
            np.testing.assert_array_equal(channel.samples, theirs.samples)
            continue
        most = float(np.nanmax(np.abs(theirs.samples), initial=0))
        rtol, atol = (0.0, most * 2.0**-31) if samples == "rounded" else (2.0**-22, 1e-8)
        np.testing.assert_allclose(channel.samples, theirs.samples, rtol=rtol + 2.0**-23, atol=atol)


# ---------------------------------------------------------------------------------------------------------- nothing is lost
def test_the_copy_is_prepared_to_the_same_windows(cohort: Path, place: Path, tmp_path: Path) -> None:
    ours = load("demo_bp")
    theirs = load("demo_bp", (f"data.dataset={place / 'copy' / 'manifest.yaml'}",))
    one = store.read(pipeline.prepare(ours, cohort, tmp_path / "a"))
    two = store.read(pipeline.prepare(theirs, place / "copy", tmp_path / "b"))
    names = back(place)
    # The oldest of them is 97 in one and 90 in the other: the one fact that was meant to change.
    age = [n for n in one.names if "age" in n]
    frames = []
    for table, of in ((one, lambda r: r), (two, lambda r: names[r])):
        frame = pd.DataFrame(np.asarray(table.values), columns=list(table.names))
        frame["record"] = [of(str(r)) for r in table.index["record"]]
        frame["onset_s"] = table.index["onset_s"].to_numpy()
        frames.append(frame.sort_values(["record", "onset_s"], ignore_index=True).drop(columns=age))
    assert len(frames[0]) == len(frames[1]) > 12
    pd.testing.assert_frame_equal(frames[0], frames[1], check_exact=True)


def test_samples_gaps_and_labels_stay(cohort: Path, place: Path) -> None:
    originals = {e.record: e for e in entries(SIMULATED, cohort).entries}
    names = back(place)
    gaps = 0
    for entry in copied(place).entries:
        theirs, copy = open_source(originals[names[entry.record]]).read(), open_source(entry).read()
        same(theirs, copy)
        gaps += any(np.isnan(c.samples).any() for c in copy.channels.values())
        assert copy.seams_s.tolist() == theirs.seams_s.tolist()
    assert gaps


def test_the_rest_before_a_stimulus_and_ratings_stay(tmp_path: Path) -> None:
    one = manifests.load("simulated_affect")
    root = write_affect(AffectCohort(n_subjects=2, n_stimuli=3, clip_s=10), tmp_path / "in")
    listing = entries(one, root)
    told = deidentify(listing, one, (tmp_path / "copy", tmp_path / "map.json"), CleanSettings())
    assert told.written == len(listing.entries) == 6
    names = back(tmp_path, "simulated_affect")
    originals = {e.record: e for e in listing.entries}
    starts: dict[str, list[tuple[float, float]]] = {}
    for entry in copied(tmp_path).entries:
        theirs, copy = open_source(originals[names[entry.record]]).read(), open_source(entry).read()
        same(theirs, copy, "near")
        assert copy.baseline_s == theirs.baseline_s is not None
        assert {x.name: (x.value, x.unit) for x in copy.labels} == {x.name: (x.value, x.unit) for x in theirs.labels}
        assert copy.stimulus
        assert copy.stimulus != theirs.stimulus
        starts.setdefault(copy.subject, []).append((float(theirs.session_s or 0), float(copy.session_s or 0)))
    for pairs in starts.values():
        assert len({a - b for a, b in pairs}) == 1
        assert min(b for _, b in pairs) == 0
    # The same film is the same film for everybody.
    assert len({row["stimulus"] for row in rows(tmp_path)}) == 3


@pytest.mark.slow
def test_a_record_of_segments_keeps_its_seams(data_root: Path, tmp_path: Path) -> None:
    entry = entry_for(data_root / "bad" / "missing_segments_s00001" / "s00001-2896-10-10-00-31.hea")
    listing = Listing((replace(entry, options={}),))
    deidentify(listing, None, (tmp_path / "copy", tmp_path / "map.json"), CleanSettings())
    theirs, (found,) = open_source(entry).read(), copied(tmp_path).entries
    copy = open_source(found).read()
    assert copy.seams_s.tolist() == theirs.seams_s.tolist() != []
    same(theirs, copy, "rounded")
    assert "2896-10-10" not in (tmp_path / "copy" / "records.csv").read_text()


# -------------------------------------------------------------------------------------------------------------------- dates
def test_dates_of_a_person_move_together(place: Path) -> None:
    days: dict[str, list[pd.Timestamp]] = {}
    for row in rows(place):
        days.setdefault(row["subject"], []).append(pd.Timestamp(row["day"]))
    assert len(days) == 4
    shifts = set()
    for moved in days.values():
        assert abs(moved[1] - moved[0]) == pd.Timedelta(days=7)
        shifts.add(min(moved) - pd.Timestamp("1987-03-14"))
    assert len(shifts) > 1
    assert all(30 <= abs(s.days) <= 3650 for s in shifts)
    assert not any(":" in p.read_text().splitlines()[0] for p in (place / "copy").glob("records/*/*.hea"))


def test_what_is_asked_for_is_kept(cohort: Path, tmp_path: Path) -> None:
    told = clean(cohort, tmp_path, CleanSettings(keep_times=True, keep_weekday=True, keep_ages=True))
    assert "age over 89, now 90" not in told.gone
    assert "97.0" in {row["age_years"] for row in rows(tmp_path)}
    assert {pd.Timestamp(row["day"]).day_name() for row in rows(tmp_path)} == {"Saturday"}
    for path in (tmp_path / "copy").glob("records/*/*.hea"):
        assert " 15:09:26 " in path.read_text().splitlines()[0]
        assert "/1987" not in path.read_text()


def test_dates_can_be_left_out(cohort: Path, tmp_path: Path) -> None:
    told = clean(cohort, tmp_path, CleanSettings(dates="drop"))
    assert {row["day"] for row in rows(tmp_path)} == {""}
    assert told.gone["date left out"] == told.written == 8
    assert max(float(row["age_years"]) for row in rows(tmp_path)) == 90


# ------------------------------------------------------------------------------------------------------------- again, faults
def test_a_second_run_does_nothing_and_a_killed_one_goes_on(cohort: Path, tmp_path: Path) -> None:
    first = clean(cohort, tmp_path)
    before = {p: p.read_bytes() for p in (tmp_path / "copy").rglob("*") if p.is_file()}
    again = clean(cohort, tmp_path)
    assert (first.written, first.kept, again.written, again.kept) == (8, 0, 0, 8)
    assert first.gone == again.gone
    for path in sorted((tmp_path / "copy" / "records").glob("*/*.json"))[:3]:
        path.unlink()
    (tmp_path / "copy" / "records.csv").unlink()
    told: list[tuple[int, int]] = []
    third = clean(cohort, tmp_path, progress=lambda a, b: told.append((a, b)))
    assert (third.written, third.kept, told) == (3, 5, [(6, 8), (7, 8), (8, 8)])
    after = {p: p.read_bytes() for p in (tmp_path / "copy").rglob("*") if p.is_file()}
    assert set(after) == set(before)
    assert all(after[p] == before[p] for p in before if p.name != "deidentified.json")


def test_the_same_mapping_gives_the_same_names_anywhere_and_another_one_others(cohort: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    clean(cohort, tmp_path / "a")
    shutil.copy2(tmp_path / "a" / "map.json", tmp_path / "b" / "map.json")
    clean(cohort, tmp_path / "b")
    clean(cohort, tmp_path / "c")
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    assert not {r["subject"] for r in rows(tmp_path / "a")} & {r["subject"] for r in rows(tmp_path / "c")}


@pytest.mark.slow
def test_workers_change_nothing(cohort: Path, tmp_path: Path) -> None:
    clean(cohort, tmp_path)
    (tmp_path / "two").mkdir()
    shutil.copy2(tmp_path / "map.json", tmp_path / "two" / "map.json")
    clean(cohort, tmp_path / "two", workers=2)
    ours, theirs = (
        {p.relative_to(f).as_posix(): p.read_bytes() for p in f.rglob("*") if p.is_file()}
        for f in (tmp_path / "copy", tmp_path / "two" / "copy")
    )
    assert ours == theirs


def test_records_in_are_records_written_and_refused(cohort: Path, tmp_path: Path) -> None:
    root = shutil.copytree(cohort, tmp_path / "in")
    paths = sorted(root.glob("*/*.dat"))
    paths[0].write_bytes(b"")
    paths[1].with_suffix(".hea").write_text("KanariGarbage")
    paths[2].unlink()
    told = clean(root, tmp_path)
    assert (told.given, told.written, told.refused) == (8, 5, 3)
    assert told.reasons is not None
    with told.reasons.open(encoding="utf-8", newline="") as stream:
        reasons = {row["record"]: row["reason"] for row in csv.DictReader(stream)}
    assert len(reasons) == 3
    assert all(reasons.values())
    assert told.reasons.stat().st_mode & 0o077 == 0
    assert searching.search(tmp_path / "copy", ["Kanari", "1987"]) == []
    assert "8 records: 5 written, 0 were there already, 3 refused" in told.lines()[0]
    assert json.loads((tmp_path / "copy" / "deidentified.json").read_text())["refused"] == 3


def test_a_record_that_was_taken_back_goes(cohort: Path, tmp_path: Path) -> None:
    root = shutil.copytree(cohort, tmp_path / "in")
    clean(root, tmp_path)
    frame = pd.read_csv(root / "records.csv", dtype=str)
    frame[frame["subject"] != frame["subject"][0]].to_csv(root / "records.csv", index=False)
    assert clean(root, tmp_path).kept == 6
    assert len(rows(tmp_path)) == len(list((tmp_path / "copy").glob("records/*/*.dat"))) == 6
    assert len(list((tmp_path / "copy" / "records").iterdir())) == 3


def test_a_changed_recording_is_written_again(cohort: Path, tmp_path: Path) -> None:
    root = shutil.copytree(cohort, tmp_path / "in")
    clean(root, tmp_path)
    path = min(root.glob("*/*.dat"))
    path.write_bytes(path.read_bytes()[::-1])
    assert clean(root, tmp_path).written == 1
    path.write_bytes(b"")
    # What it was before must not stay under a name that now means nothing.
    assert clean(root, tmp_path).refused == 1
    assert len(rows(tmp_path)) == 7


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("time,PLETH\n0,KanariCell\n")
    entry = replace(entry_for(tmp_path / "in" / "a.csv"), options={})
    with pytest.raises(DataError, match="none of 1 records could be written"):
        deidentify(Listing((entry,)), None, (tmp_path / "copy", tmp_path / "map.json"), CleanSettings())


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda t: ((t / "copy").mkdir(), (t / "copy" / "x").write_text("x")), DataError, "holds something else than a clean"),
        (lambda t: (t / "copy").write_text("x"), DataError, "holds something else than a clean"),
        (lambda t: (t / "map.json").write_text("my thesis"), DataError, "is no mapping file of ours, and is not overwritten"),
        (lambda t: (t / "map.json").write_text('{"what": "x"}'), DataError, "is no mapping file of ours"),
        (lambda t: (t / "map.json").mkdir(), DataError, "is a folder"),
    ],
)
def test_what_is_there_is_never_overwritten(
    cohort: Path, tmp_path: Path, spoil: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    spoil(tmp_path)
    for path in tmp_path.glob("map.json"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(error, match=message):
        clean(cohort, tmp_path)
    assert {
        p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and not p.name.endswith(".lock")
    }.items() >= before.items()


def test_the_mapping_keeps_apart(cohort: Path, tmp_path: Path) -> None:
    listing = entries(SIMULATED, cohort)
    with pytest.raises(RecipeError, match="lies inside --out"):
        deidentify(listing, SIMULATED, (tmp_path / "copy", tmp_path / "copy" / "map.json"), CleanSettings())
    (tmp_path / "link").symlink_to(tmp_path / "copy")
    with pytest.raises(RecipeError, match="lies inside --out"):
        deidentify(listing, SIMULATED, (tmp_path / "copy", tmp_path / "link" / "map.json"), CleanSettings())
    with pytest.raises(RecipeError, match="lies among the recordings"):
        deidentify(listing, SIMULATED, (cohort / "copy", tmp_path / "map.json"), CleanSettings())
    with pytest.raises(RecipeError, match="lies among the recordings"):
        deidentify(listing, SIMULATED, (cohort.parent, tmp_path / "map.json"), CleanSettings())
    clean(cohort, tmp_path)
    assert (tmp_path / "map.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(RecipeError, match="was begun without --keep-weekday"):
        clean(cohort, tmp_path, CleanSettings(keep_weekday=True))
    (tmp_path / "map.json").rename(tmp_path / "old.json")
    with pytest.raises(DataError, match="with another mapping"):
        clean(cohort, tmp_path)
    (tmp_path / "map.json").unlink()
    (tmp_path / "old.json").rename(tmp_path / "map.json")
    (tmp_path / "map.json").chmod(0o644)
    with pytest.raises(DataError, match="chmod 600"):
        clean(cohort, tmp_path)


def test_the_words_of_an_own_manifest_stay_behind(cohort: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(Path("data_manifests/simulated_bp.yaml").read_text(encoding="utf-8"))
    content |= {"name": "kanari_ward", "title": "KanariTitle", "citation": "KanariCitation", "licence": "KanariLicence"}
    content |= {"timing_reason": "KanariReason", "options": {"pass_band_hz": [0.5, 40], "room": "KanariRoom"}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    own = manifests.load(tmp_path / "own.yaml")
    deidentify(entries(own, cohort), own, (tmp_path / "copy", tmp_path / "map.json"), CleanSettings())
    assert searching.search(tmp_path / "copy", ["Kanari", "kanari_ward"]) == []
    copy = manifests.load(tmp_path / "copy" / "manifest.yaml")
    assert (copy.subject_level, copy.timing_reliable, copy.options) == ("person", True, {"pass_band_hz": [0.5, 40]})


def test_recordings_without_a_data_set_add_up(tmp_path: Path) -> None:
    for n in range(2):
        one = tmp_path / "in" / f"{n}" / "same.csv"
        one.parent.mkdir(parents=True)
        made = simulate(Cohort(n_subjects=2, records_per_subject=1, record_s=10, fault_share=0), n)[0].channels
        pd.DataFrame({"time": np.arange(1250) / 125, **made}).to_csv(one, index=False)
        entry = entry_for(one)
        listing = Listing((replace(entry, record=str(one), subject=str(one), options={}),))
        deidentify(listing, None, (tmp_path / "copy", tmp_path / "map.json"), CleanSettings())
    assert len({row["subject"] for row in rows(tmp_path)}) == 2
