"""What strangers have always tried, against texts, tables and containers: each is refused in one line that says what to do."""

from __future__ import annotations

import contextlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from biosig_mtl import recipe
from biosig_mtl.data import manifest
from biosig_mtl.data.found import FOLLOW, Fence, natural, read_index
from biosig_mtl.data.listing import Listing
from biosig_mtl.data.patterns import inside, subject_in, subject_pattern
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.readers.bundle import open_bundle
from biosig_mtl.data.readers.channels import fit, shown
from biosig_mtl.data.readers.clock import parse_clock
from biosig_mtl.data.readers.parquet_pages import read_footer
from biosig_mtl.data.readers.ppg_bp import read_people
from biosig_mtl.data.readers.spreadsheet import read_sheets
from biosig_mtl.looking_browse import browse
from biosig_mtl.recipe_text import plain_yaml, read_yaml
from biosig_mtl.types import BiosigError, DataError, RecipeError, Record
from tests.fuzz.targets_text import CSV, INDEX, MANIFEST, SLOW, sheet_parts, table, zipped

HEAD = b'<?xml version="1.0"?><worksheet xmlns="x"><sheetData>%s</sheetData></worksheet>'


def read(path: Path, **options: Any) -> Record:
    return open_source(entry_for(path, options=options)).read()


# -------------------------------------------------------------------------------------------------------------------- YAML
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("a: !!python/name:os.system ''", "could not determine a constructor"),
        ("a: &a [*a]", "line 1: a block refers to itself"),
        ("a: &x\n  b: *x", "refers to itself"),
        (
            "a: &b [x]\n" + "".join(f"c{n}: &c{n} [{','.join(['*b' if n == 0 else f'*c{n - 1}'] * 40)}]\n" for n in range(4)),
            "unfold to more",
        ),
        ("".join(f"a{n}: &a{n} [{'*a' + str(n - 1) if n else 'x'}]\n" for n in range(60)), "or 40 deep"),
        ("a: " + "[" * 100, "more than 40 deep"),
        ("- x\n" * 60_000, "more than 50000 values"),
        ("a: 1" + ":59" * 100, "a number of 301 letters"),
        ("a: " + "9" * 5000, "a number of 5000 letters"),
        ("a: 2024-02-30", "day is out of range"),
        ("a: 1\na: 2", "line 2: 'a' stands twice"),
        ('a: "\\e[31m"', "cannot be shown"),
        ('a: "\\0"', "cannot be shown"),
        ("a: b" + " " * (1 << 20), "more than 1 MB"),
        ("a: [", "not readable as YAML"),
    ],
)
def test_yaml_makes_plain_values_within_bounds_or_nothing(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    for load in (recipe.load, manifest.load, read_yaml):
        with pytest.raises(RecipeError, match=says) as error:
            load(tmp_path / "x.yaml")
        assert error.value.exit_code == 2
        assert str(error.value).isprintable()
    with pytest.raises(RecipeError, match=says):
        plain_yaml(text, "--set x")


def test_yaml_that_is_honest_is_as_it_was(tmp_path: Path) -> None:
    text = "a: &a {x: 1, y: [0o7, 1e3, .5]}\nb: {<<: *a, x: 2}\nc: *a\nd: 2024-02-28\n"
    assert plain_yaml(text, "x")["b"] == {"x": 2, "y": ["0o7", "1e3", 0.5]}
    assert plain_yaml("", "x") is None
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match="not readable as YAML"):
        read_yaml(tmp_path / "x.yaml")
    with pytest.raises(RecipeError, match="not readable as YAML"):
        read_yaml(tmp_path)


# -------------------------------------------------------------------------------------------------- manifests and listings
def listing(root: Path, words: bytes = MANIFEST, index: bytes = INDEX) -> Listing:
    (root / "own.yaml").write_bytes(words)
    (root / "records.csv").write_bytes(index)
    (root / "a.csv").write_bytes(CSV)
    return manifest.entries(manifest.load(root / "own.yaml"), root)


@pytest.mark.parametrize(
    "change",
    [
        (b'pattern: "*.csv"', b'pattern: "../../*"'),
        (b'pattern: "*.csv"', b'pattern: "/etc/*"'),
        (b'pattern: "*.csv"', b'pattern: "a/../../*"'),
        (b'pattern: "*.csv"', b'pattern: "**/**/**/*"'),
        (b"index: {", b"index: {file: ../x.csv, "),
        (b"index: {", b"index: {file: /etc/passwd, "),
        (b'path: "{record}.csv"', b'path: "../{record}.csv"'),
        (b"format: table", b"format: table\nfolders: [../x]"),
    ],
)
def test_a_manifest_names_nothing_outside_of_its_folder(tmp_path: Path, change: tuple[bytes, bytes]) -> None:
    assert change[0] in MANIFEST
    with pytest.raises(RecipeError, match=r"need a .* that stays below|at most 2 '\*\*'"):
        listing(tmp_path, MANIFEST.replace(*change))


@pytest.mark.parametrize("path", ["{record.__class__}.csv", "{record!r}.csv", "{record:>99999999999}.csv", "{0}.csv", "{.csv"])
def test_a_path_fills_in_columns_and_nothing_else(tmp_path: Path, path: str) -> None:
    # `str.format` would reach into objects, and fill a line of 100 GB with blanks.
    with pytest.raises(DataError, match="line 2: no column for the path"):
        listing(tmp_path, MANIFEST.replace(b"{record}.csv", path.encode()))


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "x/../../a"])
def test_an_index_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"line 2: '.*' leads out of the folder"):
        listing(tmp_path, index=f"record,subject\n{name},S1\n".encode())


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a,S\x1b[31m1", "cannot be shown"),
        ('a,"S\n1"', "cannot be shown"),
        ("a," + "x" * 500, "too long"),
        ("a,=cmd|'/C calc'!A0", "would be computed by a spreadsheet"),
        ("a,@SUM(1)", "would be computed"),
        ("a,../S1", "no name of a record"),
    ],
)
def test_names_that_could_do_something_are_rejected_with_the_reason(tmp_path: Path, row: str, says: str) -> None:
    found = listing(tmp_path, index=f"record,subject\n{row}\n".encode())
    assert not found.entries
    assert says in found.rejected[0].reason
    assert found.rejected[0].reason.isprintable()


def test_a_number_is_no_formula(tmp_path: Path) -> None:
    found = listing(tmp_path, index=b"record,subject\na,-1\n")
    assert [e.subject for e in found.entries] == ["-1"]
    assert [fit(name) for name in ("-1", "=1+1", "-x", "S1", "+")] == ["-1", "_=1+1", "_-x", "S1", "+"]


def test_links_stay_below_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, away = tmp_path / "real", tmp_path / "away"
    for folder in (real, away, tmp_path / ".git" / "annex" / "objects"):
        folder.mkdir(parents=True)
    (away / "a.csv").write_bytes(CSV)
    (tmp_path / ".git" / "annex" / "objects" / "k").write_bytes(CSV)
    root = tmp_path / "link"
    root.symlink_to(real)
    # The folder itself may be a link, and what git-annex keeps lies around it.
    assert len(listing(root)) == 1
    (real / "b.csv").symlink_to(tmp_path / ".git" / "annex" / "objects" / "k")
    (real / "loop.csv").symlink_to("loop.csv")
    (real / "deep").symlink_to(away)
    index = b"record,subject\na,1\nb,1\nout,2\nloop,3\ndeep/a,4\n"
    (real / "out.csv").symlink_to(away / "a.csv")
    found = listing(root, index=index)
    assert [e.record for e in found.entries] == ["a", "b"]
    reasons = {r.record: r.reason for r in found.rejected}
    assert set(reasons) == {"out", "loop", "deep/a"}
    assert f"a link that leads out of the folder of the set; if you laid it yourself, set {FOLLOW}=1" in reasons["out"]
    assert not Fence(root).holds(root / "deep" / "a.csv")
    monkeypatch.setenv(FOLLOW, "1")
    assert {e.record for e in listing(root, index=index).entries} >= {"a", "b", "out"}


@pytest.mark.parametrize(
    "pattern",
    ["(?P<subject>(a+)+)$", "(?P<subject>(a|a)*)b", r"(?P<subject>.*.*.*.*)x", r"(?P<subject>a)(?P=subject)",
     r"(a)(?P<subject>b)\1", "(?P<subject>(a{1,9}){1,9})", "(?P<subject>", "subject",
     "(?P<subject>" + "a" * 300 + ")", "(?P<subject>x{99999999999})"],
)  # fmt: skip
def test_a_pattern_that_could_take_for_ever_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="need a"):
        subject_pattern(pattern)


def test_patterns_that_end_are_taken() -> None:
    for pattern in ("(?P<subject>[12]\\d\\d)", r"(?P<subject>s\d+)_[a-z]+", "(?P<subject>[^/]+)", r"(?:x)?(?P<subject>\w{3})"):
        assert subject_in(subject_pattern(pattern), "x/s12_walk/123")
    assert subject_in(subject_pattern("(?P<subject>z)?"), "a") == ""
    for name in ("a\\b", "C:x", "a\nb", "x" * 300):
        with pytest.raises(ValueError, match="stays below"):
            inside(name, "pattern")


def test_an_index_is_read_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.csv"
    for text, says in (
        ("record,record\na,b\n", "two columns 'record'"),
        (",".join(map(str, range(20_000))), "20000 columns"),
        ("record\n" + '"' + "x" * 200_000, "not readable as CSV"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=says):
            list(read_index(path, ["record"]))
    monkeypatch.setattr("biosig_mtl.data.found._MOST_BYTES", 10)
    with pytest.raises(DataError, match="is it an index"):
        list(read_index(path, ["record"]))
    assert sorted(["²", "9" * 5000, "10", "2"], key=natural)[:2] == ["2", "10"]


# ------------------------------------------------------------------------------------------------------------------ tables
def test_clocks_say_what_they_mean() -> None:
    def seconds(*words: str) -> list[float]:
        return list(parse_clock(np.array(words), "x", 1))

    assert seconds("11:59:59 PM", "12:00:00 AM", "12:00:01 am") == [86399.0, 86400.0, 86401.0]
    assert seconds("1:00:00 p.m.", "01:00:01PM") == [46800.0, 46801.0]
    # The same instant in two zones.
    a, b = seconds("2024-03-31T01:00:00+01:00", "2024-03-31T00:00:00Z")
    assert a == b
    zones = ["2024-03-31T01:00:00+01:00", "2024-03-31T01:00:00"]
    for words in (zones, ["now"], ["NaT"], ["9999-01-01"], ["0001-01-01"], ["12:00", "nan"]):
        with pytest.raises(DataError, match=r"x, line \d: time stamp '.*' is not readable"):
            seconds(*words)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"time,ppg\n0,1\n1,2,3,4\n", "line 3: 4 cells; its table has 2"),
        (b"time,ppg\n0,1\n" + b"1,2\n" * 70_000 + b"\0,1\n", "zero bytes"),
        (b"time,ppg\n0,1\n1e400,2\n2,3\n", "line 3: time stamp '.*' is not readable"),
        (b"time,ppg\n0,1\n1e300,2\n", "out of range"),
        (b"time,ppg\n0,1\n1e-320,2\n", "apart"),
    ],
)
def test_tables_of_nonsense_are_refused(tmp_path: Path, text: bytes, says: str) -> None:
    (tmp_path / "a.csv").write_bytes(text)
    with pytest.raises(DataError, match=says):
        read(tmp_path / "a.csv")


def test_a_sample_beyond_all_numbers_was_never_measured(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"time,ppg\n0,1e39\n1,-1e300\n2,inf\n3,5\n")
    np.testing.assert_array_equal(read(tmp_path / "a.csv").channel("ppg").samples, [np.nan, np.nan, np.nan, 5])


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b"\n\n\n"])
def test_empty_lines_are_no_rows_wherever_reading_begins(tmp_path: Path, blank: bytes) -> None:
    rows = [b"%.1f,%d\n" % (n / 10, n) for n in range(100)]
    (tmp_path / "a.csv").write_bytes(b"time,ppg\n" + b"".join(rows[:10]) + blank + b"".join(rows[10:]))
    source = open_source(entry_for(tmp_path / "a.csv"))
    np.testing.assert_array_equal(source.read(3.0, 5.0).channel("ppg").samples, np.arange(30, 50))


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"ppg": [[1.0], [2.0]]}, "column 'ppg' is list"),
        ({"ppg": [{"a": 1}, {"a": 2}]}, "column 'ppg' is struct"),
        ({"ppg": pa.array([b"1", b"2"])}, "column 'ppg' is binary"),
        ({"ppg": pa.array([None, None])}, "column 'ppg' is"),
        ({"ppg": ["1", "x"]}, "column 'ppg' is string, not numbers"),
        ({"ppg": ["1", "2" * 100]}, "a word of 100 letters"),
        ({"ppg": pa.array(["1", "2"]).dictionary_encode()}, ""),
        ({"ppg": pa.array([1, 2], pa.time32("ms"))}, "column 'ppg' is time32"),
    ],
)
def test_columns_of_parquet_that_are_no_numbers_are_named(tmp_path: Path, columns: dict[str, Any], says: str) -> None:
    (tmp_path / "a.parquet").write_bytes(table({"time": [0.0, 0.5], **columns}))
    if not says:
        assert read(tmp_path / "a.parquet").duration_s == 1.0
        return
    with pytest.raises(DataError, match=says):
        read(tmp_path / "a.parquet")


def test_times_of_parquet_count_in_their_unit(tmp_path: Path) -> None:
    for kind in (pa.duration("ms"), pa.time32("ms"), pa.timestamp("ms"), pa.int64()):
        stamps = pa.array(
            [1_700_000_000_000 * (kind in (pa.timestamp("ms"), pa.int64())) + 8 * n for n in range(50)], pa.int64()
        )
        stamps = stamps.cast(pa.int32()).view(kind) if kind == pa.time32("ms") else stamps.view(kind)
        (tmp_path / "a.parquet").write_bytes(table({"time": stamps, "ppg": np.arange(50.0)}))
        assert open_source(entry_for(tmp_path / "a.parquet")).channels["ppg"].fs == 125.0
    (tmp_path / "a.parquet").write_bytes(table({"time": [0.0, None, 1.0], "ppg": [1, 2, 3]}))
    with pytest.raises(DataError, match="row 2: the time stamp is missing"):
        read(tmp_path / "a.parquet")


def test_a_footer_that_lies_never_reaches_arrow(tmp_path: Path) -> None:
    whole = table({"time": np.arange(50.0), "ppg": np.arange(50.0)})
    path = tmp_path / "a.parquet"
    path.write_bytes(whole)
    told = read_footer(path)
    assert told.rows == (50,)
    assert set(told.places) == {"time", "ppg"}
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for place in range(start, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(ValueError):
            read_footer(path)
    for raw in (b"PAR1", b"PAR1" + bytes(50), whole[:-4] + b"PARE", whole[:-8] + b"\xff\xff\xff\x7fPAR1"):
        path.write_bytes(raw)
        with pytest.raises(ValueError, match="none of a Parquet file"):
            read_footer(path)


# ---------------------------------------------------------------------------------------------------- zips and spreadsheets
def packed(*members: tuple[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
    return sink.getvalue()


def overlapping() -> bytes:
    """Return a zip whose second member is told to lie where the first does."""
    raw = bytearray(packed(("BVP.csv", b"1\n" * 500), ("EDA.csv", b"1\n" * 500)))
    at = raw.rindex(b"PK\x01\x02")
    raw[at + 42 : at + 46] = bytes(4)
    return bytes(raw)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (packed(("../BVP.csv", b"1")), "leads out of it"),
        (packed(("/etc/BVP.csv", b"1")), "leads out of it"),
        (packed(("C:BVP.csv", b"1")), "leads out of it"),
        (packed(("x" * 2000 + "/BVP.csv", b"1")), "leads out of it"),
        (overlapping(), "lie in one another"),
        (packed(*((f"{n}.csv", b"") for n in range(10_001))), "10001 members"),
        (b"PK\x05\x06" + bytes(18), "is no export"),
    ],
)
def test_zips_that_were_made_to_harm_are_refused(tmp_path: Path, raw: bytes, says: str) -> None:
    (tmp_path / "S1.zip").write_bytes(raw)
    with pytest.raises(DataError, match=says):
        read(tmp_path / "S1.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "S1.zip").write_bytes(packed(("BVP.csv", b"1"), ("BVP.csv", b"2")))
    with pytest.raises(DataError, match="two members of one name"), open_bundle(tmp_path / "S1.zip"):
        pass


def test_a_link_in_a_folder_of_an_export_is_not_followed_out(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"1\n1\n1\n")
    (tmp_path / "S1").mkdir()
    (tmp_path / "S1" / "EDA.csv").write_bytes(b"1544027337\n4\n" + b"1\n" * 40)
    (tmp_path / "S1" / "BVP.csv").symlink_to(tmp_path / "secret")
    assert set(read(tmp_path / "S1").channels) == {"eda"}


@pytest.mark.parametrize(
    ("member", "text", "says"),
    [
        ("xl/worksheets/sheet1.xml", b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x"><worksheet/>', "document type or entities"),
        (
            "xl/worksheets/sheet1.xml",
            b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><t>&e;</t>',
            "document type or entities",
        ),
        ("xl/worksheets/sheet1.xml", HEAD % b'<row r="20001"><c><v>1</v></c></row>', "row 20001"),
        ("xl/worksheets/sheet1.xml", HEAD % b'<row><c r="1A"><v>1</v></c></row>', "a cell called '1A'"),
        ("xl/worksheets/sheet1.xml", HEAD % b'<row r="-1"><c><v>1</v></c></row>', "row -1"),
        ("xl/worksheets/sheet1.xml", HEAD % b"<row><c><v>x</v></c></row>", "not readable as a spreadsheet"),
        ("xl/worksheets/sheet1.xml", b"<a>" * 100, "64 inside each other"),
        ("xl/worksheets/sheet1.xml", HEAD % (b"<row><c><v>" + b"1" * 40_000 + b"</v></c></row>"), "more letters"),
        ("xl/worksheets/sheet1.xml", HEAD % b"", "no row of headings"),
    ],
)
def test_a_spreadsheet_makes_the_reader_do_nothing(tmp_path: Path, member: str, text: bytes, says: str) -> None:
    (tmp_path / "a.xlsx").write_bytes(zipped(sheet_parts() | {member: text}))
    with pytest.raises(DataError, match=says):
        read_people(tmp_path)


def test_cells_have_the_values_that_were_stored(tmp_path: Path) -> None:
    cells = (
        b'<row r="2"><c r="B2"><f>WEBSERVICE("http://x")</f><v>3</v></c><c t="b"><v>1</v></c><c t="e"><v>#N/A</v></c>'
        b'<c t="str"><v>=1</v></c><c t="s"><v>99</v></c><c r="H2" t="inlineStr"><is><t>a</t><t>b</t></is></c><c/></row>'
    )
    (tmp_path / "a.xlsx").write_bytes(zipped(sheet_parts() | {"xl/worksheets/sheet1.xml": HEAD % cells}))
    assert read_sheets(tmp_path / "a.xlsx") == [[(), (None, 3.0, True, None, "=1", None, None, "ab")]]
    for raw, says in (
        (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600), "locked with a password"),
        (zipped({"x": b""}), "0 sheets"),
        (zipped({f"{n}": b"" for n in range(2001)}), "2001 parts"),
        (b"PK", "not a zip"),
    ):
        (tmp_path / "a.xlsx").write_bytes(raw)
        with pytest.raises(DataError, match=says):
            read_sheets(tmp_path / "a.xlsx")


# ------------------------------------------------------------------------------------------------------------------- names
NAMES = (
    "<script>alert(1)</script>",
    "{{ 7*7 }}",
    "</script><img src=x onerror=alert(1)>",
    "\x1b]0;owned\x07",
    "a\u202eb",
    "=1+1",
    "x" * 10_000,
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_from_a_file_is_shown_and_does_nothing(tmp_path: Path, name: str) -> None:
    text = CSV.replace(b"PLETH (a.u.)", f'"{name}"'.encode()).replace(b",II", b",x")
    (tmp_path / "a.csv").write_bytes(text)
    source = open_source(entry_for(tmp_path / "a.csv"))
    assert all(n.isprintable() and len(n) <= 100 for n in (*source.channels, *source.read().channels))
    made = tmp_path / "a.html"
    browse(tmp_path / "a.csv").write(made)
    html = made.read_text()
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert "\x1b" not in html


def test_an_error_is_one_line_that_can_be_shown_whatever_is_in_it() -> None:
    for name in NAMES:
        said = str(BiosigError(f"{name}\n{name}: do this"))
        assert said.isprintable()
        assert len(said) <= 1500
        assert said.endswith("do this")
    assert shown("a\tb\n c") == "a b c"


def test_two_short_files_far_apart_are_refused(tmp_path: Path) -> None:
    from tests.fuzz.targets_text import PAIRED, PAIRS

    (tmp_path / "own.yaml").write_bytes(PAIRED)
    (tmp_path / "a.csv").write_bytes(CSV)
    (tmp_path / "b.csv").write_bytes(SLOW)
    for offset, says in ((b"1e300", "more than a month"), (b"2500000", "of which its files hold")):
        (tmp_path / "records.csv").write_bytes(PAIRS.replace(b"-0.5,0.1,0.5,0.1", offset + b",,,"))
        entry = manifest.entries(manifest.load(tmp_path / "own.yaml"), tmp_path).entries[0]
        with pytest.raises(DataError, match=says):
            open_source(entry)
