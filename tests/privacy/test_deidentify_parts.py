"""Laws of the parts of de-identification: names, dates, steps, what is allowed, the reader of a clean copy and the verb."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from biosig_mtl.cli import deidentify as verb
from biosig_mtl.data import deidentify_dates as dates
from biosig_mtl.data.deidentify import CleanSettings
from biosig_mtl.data.deidentify_allowed import channel_names, facts_of, unit_of
from biosig_mtl.data.deidentify_counts import LARGEST, Steps, header_gains, to_counts
from biosig_mtl.data.deidentify_inventory import inventory
from biosig_mtl.data.deidentify_mapping import Key, only_one, open_mapping, write_private
from biosig_mtl.data.deidentify_record import Clean, known_gains, write_record
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.readers.deidentified import open_deidentified
from biosig_mtl.types import Channel, ChannelInfo, DataError, Entry, RecipeError, Record
from tests.privacy import seeded

SECRET = b"\7" * 32


# -------------------------------------------------------------------------------------------------------------------- names
def entry(record: str, subject: str, session: str = "1", **options: Any) -> Entry:
    return Entry("d", record, subject, session, Path(record), "table", options=options)


def test_names_come_from_the_secret_alone(tmp_path: Path) -> None:
    one, same = (Key(tmp_path / "m", SECRET, keep_weekday=False) for _ in range(2))
    other = Key(tmp_path / "m", b"\10" * 32, keep_weekday=False)
    assert one.token("subject", "d", "Jane") == same.token("subject", "d", "Jane") != other.token("subject", "d", "Jane")
    # Words are not run together: ("ab", "c") is not ("a", "bc").
    assert one.token("ab", "c") != one.token("a", "bc")
    assert len({one.token("subject", "d", str(n)) for n in range(2000)}) == 2000


def test_subjects_of_two_sets_are_not_the_same_person(tmp_path: Path) -> None:
    key = Key(tmp_path / "m", SECRET, keep_weekday=False)
    key.learn("a", entry("r", "7"))
    key.learn("b", entry("r", "7"))
    assert key.of("a").subjects["7"] != key.of("b").subjects["7"]


def test_later_records_change_no_earlier_name(tmp_path: Path) -> None:
    key = Key(tmp_path / "m", SECRET, keep_weekday=False)
    for name in ("r2", "r5"):
        key.learn("a", entry(name, "7", f"session of {name}", person="p7"))
    before = dict(key.of("a").records), dict(key.of("a").sessions["7"])
    key.learn("a", entry("r1", "7", "an earlier session"))
    key.learn("a", entry("r2", "7", "session of r2"))
    assert dict(key.of("a").records).items() >= before[0].items()
    assert key.of("a").sessions["7"] == {**before[1], "an earlier session": "3"}
    assert len(set(key.of("a").records.values())) == 3
    assert key.of("a").persons["p7"].startswith("q")


@pytest.mark.parametrize("weekday", [False, True])
def test_dates_move_by_30_to_3650_days_either_way(tmp_path: Path, weekday: bool) -> None:
    key = Key(tmp_path / "m", SECRET, keep_weekday=weekday)
    days = np.array([key.days("d", str(n)) for n in range(4000)])
    assert (np.abs(days) >= 30).all()
    assert (np.abs(days) <= 3650).all()
    assert not (days % 7).any() if weekday else len(set(days % 7)) == 7
    # Even: a quarter lies in each half of either side.
    for part in (days < -1840, (days < 0) & (days >= -1840), (days > 0) & (days <= 1840), days > 1840):
        assert 0.2 < part.mean() < 0.3


def test_a_mapping_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "map.json"
    with only_one(path):
        key = open_mapping(path, keep_weekday=True)
        key.learn("a", entry("r", "Jané", "s", person="q"))
        key.stimulus("a", "film")
        key.save()
        with pytest.raises(DataError, match="another process"), only_one(path):
            pass
    assert path.stat().st_mode & 0o777 == 0o600
    again = open_mapping(path, keep_weekday=True)
    assert (again.secret, again.sets) == (key.secret, key.sets)
    assert json.loads(path.read_text())["datasets"]["a"]["subjects"]["Jané"]["days"] == key.days("a", "Jané")


@pytest.mark.parametrize("word", ["secret", "datasets", "keep_weekday"])
def test_a_damaged_mapping_is_not_begun_anew(tmp_path: Path, word: str) -> None:
    path = tmp_path / "map.json"
    open_mapping(path, keep_weekday=False)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, word: "x"} if word == "secret" else {k: v for k, v in content.items() if k != word}))
    with pytest.raises(DataError, match="a damaged mapping file"):
        open_mapping(path, keep_weekday=False)


def test_places_that_cannot_be_written_to_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be written"):
        write_private(tmp_path / "none" / "map.json", "x")
    with pytest.raises(DataError, match="its folder cannot be written to"), only_one(tmp_path / "file" / "map.json"):
        pass


# -------------------------------------------------------------------------------------------------------------------- dates
@pytest.mark.parametrize("name", ["wfdb", "edf", "bdf", "brainvision", "fif", "csv", "parquet", "e4"])
def test_the_start_of_a_recording_is_found(tmp_path: Path, name: str) -> None:
    one = seeded.made(tmp_path, name)
    assert dates.began(entry_for(one.path)) == seeded.RECORDED.replace(tzinfo=None)


def test_a_start_that_is_none_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,PLETH\n0,1\n0.1,2\n")
    (tmp_path / "b.csv").write_text("PLETH\n1\n2\n")
    (tmp_path / "c.hea").write_text("c 0\n")
    (tmp_path / "d.edf").write_text("x" * 300)
    for path in tmp_path.iterdir():
        assert dates.began(entry_for(path)) is None
    assert dates.began(entry_for(seeded.made(tmp_path, "ppg_bp").path)) is None
    head = "0".ljust(8) + "X".ljust(80) + "Y".ljust(80) + "31.02.9910.00.00"
    (tmp_path / "d.edf").write_text(head.ljust(256))
    assert dates.began(entry_for(tmp_path / "d.edf")) is None
    (tmp_path / "d.edf").write_text(head.replace("31.02.99", "03.02.84").ljust(256))
    assert dates.began(entry_for(tmp_path / "d.edf")) == datetime(2084, 2, 3, 10)
    pair = Entry("d", "r", "s", "1", tmp_path / "d.edf", "paired", options={"parts": [{"format": "edf"}]})
    assert dates.began(pair) == datetime(2084, 2, 3, 10)
    with pytest.raises(ValueError, match="need a date that can be moved"):
        dates.moved(datetime(9999, 1, 1), 3000)


# -------------------------------------------------------------------------------------------------------------------- steps
@given(arrays(np.int32, 50, elements=st.integers(-30000, 30000)), st.sampled_from([100.0, 200.0, 4096.0, 1234.5, 56734.5289]))
def test_whole_steps_come_back_to_the_last_bit(counts: np.ndarray[Any, Any], gain: float) -> None:
    samples = (counts / gain).astype(np.float32)
    steps = Steps(gains=tuple(sorted({*Steps().gains, *header_gains([(gain, 1.0)])})))
    for part in np.array_split(samples, 3):
        steps.look(part)
    assert steps.kind == "exact"
    back = to_counts(samples, steps.gain, steps.bits)
    np.testing.assert_array_equal((back / steps.gain).astype(np.float32), samples)


@given(arrays(np.float32, 40, elements=st.floats(-1e6, 1e6, width=32)))
def test_any_samples_come_back_to_a_share_of_the_largest(samples: np.ndarray[Any, Any]) -> None:
    steps = Steps()
    steps.look(samples)
    back = to_counts(samples, steps.gain, steps.bits) / steps.gain
    np.testing.assert_allclose(back, samples, rtol=2.0**-22, atol=float(np.abs(samples).max()) * 2.0**-31)


def test_missing_samples_and_ends_of_the_range() -> None:
    for bits in (16, 32):
        counts = to_counts(np.array([np.nan, 1e12, -1e12], np.float32), 1.0, bits)
        assert counts.tolist() == [-(2 ** (bits - 1)), LARGEST[bits], -LARGEST[bits]]
    steps = Steps()
    steps.look(np.full(5, np.nan, np.float32))
    assert (steps.kind, steps.gain, steps.bits) == ("exact", 1.0, 16)
    steps.look(np.full(3, 0.1, np.float32))
    assert steps.gain == 10.0
    rounded = Steps()
    rounded.look(np.array([1.0, 1e-7 * np.pi, math.e], np.float32))
    assert (rounded.kind, rounded.bits) == ("rounded", 32)


# ------------------------------------------------------------------------------------------------------------------ allowed
def test_units_names_and_facts_are_lists_of_what_is_allowed() -> None:
    gone: Counter[str] = Counter()
    units = {"MMHG": "mmHg", "μV": "uV", "-1..1": "-1..1", "": "NU", "of John": "NU", "1..9 John": "NU"}
    assert {given: unit_of(given, gone) for given in units} == units
    assert gone["unit that is none, now NU"] == 2
    kinds = {"PLETH of John": "ppg", "ppg": "ppg", "EEG Cz-John": "eeg", "John EOG": "eog", "acc_x": "acc", "hr": "other"}
    kinds["CVP"] = "other"
    infos = {name: ChannelInfo(name, kind, "", 1.0) for name, kind in kinds.items()}
    assert list(channel_names(infos, {}, gone).values()) == ["ppg_1", "ppg", "Cz", "eog_1", "acc_x", "hr", "other_1"]
    assert channel_names({"John": infos["CVP"]}, {"John": 1}, gone) == {"John": "John"}
    facts = {"age_years": 90.0, "height_cm": np.nan, "room": 3.0}
    assert facts_of(facts, gone, keep_ages=False) == {"age_years": 90.0}
    assert facts_of({"age_years": 101.0}, gone, keep_ages=True) == {"age_years": 101.0}
    assert facts_of({"age_years": 89.5}, gone, keep_ages=False) == {"age_years": 89.5}


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("wfdb", {"comment line": 4, "annotation file": 1}),
        ("edf", {"header field on the patient": 1, "header field on the recording": 1, "header field on a sensor": 1}),
        ("e4", {"file of marks": 2, "other file of the device": 1}),
        ("parquet", {"entry of file metadata": 2}),
        ("brainvision", {"mark": 1}),
        ("fif", {"mark": 1, "header field on the recording": 4}),
    ],
)
def test_what_is_left_behind_is_counted(tmp_path: Path, name: str, kinds: dict[str, int]) -> None:
    found = inventory(entry_for(seeded.made(tmp_path, name).path))
    assert {kind: found[kind] for kind in kinds} == kinds


def test_an_inventory_never_stands_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.edf").write_bytes(b"x")
    (tmp_path / "a.csv").write_text("# made by John\ntime,PLETH\n0,1\n")
    assert inventory(entry_for(tmp_path / "a.edf")) == Counter()
    assert inventory(entry_for(tmp_path / "a.csv")) == Counter({"comment line": 1})
    assert inventory(entry("x", "x")) == Counter()
    assert known_gains(replace(entry_for(tmp_path / "a.edf"), format="edf")) == ()
    assert inventory(replace(entry("x", "x"), format="uci_mat")) == Counter()


# ------------------------------------------------------------------------------------------------------- records and reader
class Uneven:
    """A recording whose channels do not last equally long."""

    def __init__(self, sizes: tuple[int, int]) -> None:
        self.channels = {"ppg": ChannelInfo("ppg", "ppg", "NU", 10.0), "ecg": ChannelInfo("ecg", "ecg", "mV", 10.0)}
        self.duration_s = 2.0
        self.sizes = sizes

    def read(self, start_s: float = 0.0, stop_s: float | None = None) -> Record:
        del start_s, stop_s
        made = {n: Channel(n, n, "", 10.0, np.zeros(k, np.float32)) for n, k in zip(("ppg", "ecg"), self.sizes, strict=True)}
        return Record("r", "s", "1", made)


@pytest.mark.parametrize(("sizes", "message"), [((20, 15), "share no frames"), ((0, 0), "holds no samples")])
def test_what_has_no_frames_is_refused(tmp_path: Path, sizes: tuple[int, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_record(Uneven(sizes), entry("r", "s"), Clean(tmp_path, "x", {"ppg": "ppg", "ecg": "ecg"}), Counter())
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.dat").mkdir()
    with pytest.raises(DataError, match=r"x\.dat: cannot be written"):
        write_record(Uneven((20, 20)), entry("r", "s"), Clean(tmp_path, "x", {"ppg": "ppg", "ecg": "ecg"}), Counter())
    (tmp_path / "x.dat").rmdir()
    (tmp_path / "x.hea").mkdir()
    with pytest.raises(DataError, match=r"x\.hea: cannot be written"):
        write_record(Uneven((20, 20)), entry("r", "s"), Clean(tmp_path, "x", {"ppg": "ppg", "ecg": "ecg"}), Counter())
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"seams_s": 3, "baseline_s": null}', '{"seams_s": [NaN], "baseline_s": null}',
    '{"seams_s": [], "baseline_s": [2, 1]}', '{"seams_s": [], "baseline_s": [1]}', '{"seams_s": ["a"], "baseline_s": null}'],
)  # fmt: skip
def test_a_damaged_record_of_a_copy_is_refused(tmp_path: Path, content: str) -> None:
    write_record(Uneven((20, 20)), entry("r", "s"), Clean(tmp_path, "x", {"ppg": "ppg", "ecg": "ecg"}), Counter())
    there = Entry("d", "x", "s", "1", tmp_path / "x.hea", "deidentified")
    assert open_deidentified(there).read().seams_s.size == 0
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match=r"x\.json: (damaged; run|the file is empty)"):
        open_deidentified(there)


# --------------------------------------------------------------------------------------------------------------------- verb
def test_settings_that_contradict_are_refused() -> None:
    with pytest.raises(ValueError, match="need dates of shift or drop"):
        CleanSettings(dates="keep")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="need dates that are kept"):
        CleanSettings(dates="drop", keep_times=True)


def run(*words: object) -> None:
    app = typer.Typer()
    verb.register(app)
    typer.main.get_command(app).main([str(w) for w in words], standalone_mode=False)


def test_the_verb_copies_recordings_and_says_what_it_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = seeded.made(tmp_path / "in", "wfdb"), seeded.made(tmp_path / "in", "csv")
    where = ("--out", tmp_path / "copy", "--mapping", tmp_path / "map.json")
    run(one.path, two.path, tmp_path / "none.edf", *where)
    out, err = capsys.readouterr()
    assert "3 records: 2 written, 0 were there already, 1 refused (see " in out
    assert "4 × comment line" in out
    assert "date moved" in out
    assert "does not prove anonymity" in out
    assert "never give it away" in out
    assert "deidentify: 3 of 3 records" in err
    assert not any(word in out + err for word in (*one.words, *two.words))
    entry = entry_for(min((tmp_path / "copy").glob("records/*/*.hea")))
    assert open_source(entry).duration_s == seeded.SECONDS


def test_the_verb_copies_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from biosig_mtl.data.synthetic import Cohort, write

    root = write(Cohort(n_subjects=2, records_per_subject=1, record_s=10, fault_share=0), tmp_path / "in")
    where = ("--out", tmp_path / "copy", "--mapping", tmp_path / "map.json")
    run("simulated_bp", "--data", root, *where, "--keep-ages")
    assert "2 records: 2 written" in capsys.readouterr().out
    for words, message in (
        (("simulated_bp", "--data", root, *where, "--channel", "ppg=x"), "go with recordings"),
        ((root / "s001" / "s001_1.hea", "--data", root, *where), "goes with the name of a data set"),
        (("simulated_bp", "--data", root, *where, "--dates", "drop", "--keep-times"), "need dates that are kept"),
        (("simulated_bp", "--data", root, *where, "--dates", "dorp"), "did you mean 'drop'"),
    ):
        with pytest.raises(RecipeError, match=message):
            run(*words)
