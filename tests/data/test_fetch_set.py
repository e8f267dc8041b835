"""Whole sets: lists of checksums, several files at once, archives, what is here already, what was damaged since."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from biosig_mtl import cli
from biosig_mtl.data import download, fetching_set, manifest
from biosig_mtl.data.download import How
from biosig_mtl.data.fetching_line import Patience
from biosig_mtl.data.fetching_lock import only_one
from biosig_mtl.data.fetching_sums import read_notes, read_sums, replace_text
from biosig_mtl.data.manifest import Access, Manifest, RemoteFile
from biosig_mtl.types import DataError
from tests.data.faulty_server import CONTENT, DIGEST, Faulty, Handler, serving, until

QUICK = How(patience=Patience(tries=2, stall_s=5, first_wait_s=0.001, longest_wait_s=0.01))
NAMES = ["RECORDS", "p00/r1.dat", "p00/r1.hea", "p01/r 2.hea"]


@pytest.fixture
def server() -> Iterator[Faulty]:
    with serving() as running:
        yield running


def of(access: Access) -> Manifest:
    return replace(manifest.load("uci_kachuee"), access=access)


def listed(server: Faulty, kind: str = "open", names: list[str] | None = None) -> Manifest:
    """A set as PhysioNet publishes it."""
    names = names or NAMES
    for name in names:
        server.files[f"/set/1.0/{name.replace(' ', '%20')}"] = name.encode() * 100
    sums = "".join(f"{hashlib.sha256(n.encode() * 100).hexdigest()} {n}\n" for n in names)
    server.files["/set/1.0/SHA256SUMS.txt"] = sums.encode()
    return of(Access(kind, "https://example.org", sums=f"{server.url}/set/1.0/SHA256SUMS.txt"))  # type: ignore[arg-type]


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return stream.getvalue()


def archive(server: Faulty, members: dict[str, bytes]) -> Manifest:
    server.files["/z"] = zipped(members)
    return of(Access("open", "https://example.org", (RemoteFile(f"{server.url}/z", "set.zip", unpack=True),)))


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def changed(found: Manifest, root: Path) -> list[str]:
    return [p for p in download.verify(found, root) if "record" not in p]


# ----------------------------------------------------------------------------------------------------------------- lists
def test_a_set_of_many_files_comes_by_its_list(tmp_path: Path, server: Faulty) -> None:
    told: list[tuple[str, int, int]] = []
    text = download.fetch(listed(server), tmp_path, lambda *words: told.append(words), QUICK)
    assert files(tmp_path) == ["RECORDS", "SHA256SUMS.txt", "fetched.json", *NAMES[1:]]
    assert all((tmp_path / name).read_bytes() == name.encode() * 100 for name in NAMES)
    assert text.endswith("4 files, 0.0 MB; 4 fetched, 0 were here; 4 checked against a published sha256")
    assert {name for name, done, total in told if done == total} == set(NAMES)
    # Once more: only the list is asked for.
    server.seen.clear()
    text = download.fetch(listed(server), tmp_path, None, QUICK)
    assert [path for path, _ in server.seen] == ["/set/1.0/SHA256SUMS.txt"]
    assert "0 fetched, 4 were here" in text


def test_a_part_of_a_set_and_later_the_rest(tmp_path: Path, server: Faulty) -> None:
    found = listed(server)
    download.fetch(found, tmp_path, None, replace(QUICK, only=("p00/*",)))
    assert files(tmp_path) == ["SHA256SUMS.txt", "fetched.json", "p00/r1.dat", "p00/r1.hea"]
    # What was not wanted is not missing; what was, is.
    (tmp_path / "records.csv").write_text("record,subject\n", encoding="utf-8")
    assert changed(found, tmp_path) == []
    (tmp_path / "p00" / "r1.dat").unlink()
    (tmp_path / "p00" / "r1.hea").write_bytes(b"y" * 1000)
    assert [p.split(": ")[1].split(" (")[0] for p in changed(found, tmp_path)] == [
        "is missing",
        f"content differs from {tmp_path / 'fetched.json'}",
        f"content differs from {tmp_path / 'SHA256SUMS.txt'}",
    ]
    # Fetching again mends it.
    assert "4 fetched, 0 were here" in download.fetch(found, tmp_path, None, QUICK)
    assert changed(found, tmp_path) == []
    assert set(read_notes(tmp_path)) == set(NAMES)
    with pytest.raises(DataError, match=r"none of its 4 files is like q\* \(they are: RECORDS, p00/r1.dat"):
        download.fetch(found, tmp_path, None, replace(QUICK, only=("q*",)))


def test_what_of_a_set_is_of_use_is_said_by_its_manifest(tmp_path: Path, server: Faulty) -> None:
    found = listed(server)
    found = replace(found, access=replace(found.access, only=("*.hea",)))
    download.fetch(found, tmp_path, None, QUICK)
    assert set(read_notes(tmp_path)) == {"p00/r1.hea", "p01/r 2.hea"}
    assert "(of these *.hea)" in download.describe(found)


def test_many_files_are_told_as_one_line(tmp_path: Path, server: Faulty) -> None:
    found = listed(server, names=[f"r{i}.dat" for i in range(25)])
    assert len(download.preview(found, tmp_path, QUICK).splitlines()) == 22
    assert not list(tmp_path.iterdir())
    assert len(download.fetch(found, tmp_path, None, QUICK).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no file"),
        ("<html>", "line 1: is not 'sha256 path'"),
        (f"{DIGEST} a\n{DIGEST[:-1]} b\n", "line 2: is not 'sha256 path'"),
        (f"{DIGEST} ../a\n", "line 1: '../a' would write outside"),
        (f"{DIGEST} /a\n", "would write outside"),
        (f"{DIGEST} fetched.json\n", "is a name that the fetching itself uses"),
        (f"{DIGEST} a\n{DIGEST} A\n", "'A' and 'a' would be one"),
    ],
)
def test_a_list_that_lies_is_refused_before_the_first_file(tmp_path: Path, server: Faulty, text: str, message: str) -> None:
    found = listed(server)
    server.files["/set/1.0/SHA256SUMS.txt"] = text.encode()
    with pytest.raises(DataError, match=message):
        download.fetch(found, tmp_path / "new", None, QUICK)
    assert files(tmp_path) == []


def test_a_list_in_no_known_letters(tmp_path: Path, server: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    found = listed(server)
    server.files["/set/1.0/SHA256SUMS.txt"] = b"\xff\xfe"
    with pytest.raises(DataError, match="not readable as a list of checksums"):
        download.fetch(found, tmp_path, None, QUICK)
    monkeypatch.setattr(fetching_set, "_LONGEST_LIST", 1)
    with pytest.raises(DataError, match="too many for a list"):
        download.fetch(found, tmp_path, None, QUICK)


def test_lists_are_read_as_sha256sum_writes_them() -> None:
    assert read_sums(f"{DIGEST}  a/b\n\n{DIGEST.upper()} *c d\n", "x") == {"a/b": DIGEST, "c d": DIGEST}


# ------------------------------------------------------------------------------------------------------ several at once
def test_one_bad_file_does_not_stop_the_others(tmp_path: Path, server: Faulty) -> None:
    found = listed(server)
    server.files["/set/1.0/p00/r1.dat"] = b"other"
    with pytest.raises(DataError, match=r"r1.dat: is not the file .*; 1 of 4 files failed, 3 are here"):
        download.fetch(found, tmp_path, None, QUICK)
    assert not (tmp_path / "p00" / "r1.dat").exists()
    assert set(read_notes(tmp_path)) == set(NAMES) - {"p00/r1.dat"}


def test_several_files_come_at_the_same_time(tmp_path: Path, server: Faulty) -> None:
    """Each answer waits until all four were asked for: with fewer workers this would not end."""
    found = listed(server)

    def waits(handler: Handler, _: int) -> bool:
        del handler
        return not until(lambda: len([p for p, _ in server.seen if "SUMS" not in p]) == 4, 5)

    server.rules = {path: waits for path in server.files if "SUMS" not in path}
    download.fetch(found, tmp_path, None, replace(QUICK, workers=4))
    assert set(read_notes(tmp_path)) == set(NAMES)


def test_a_full_disk_stops_all(tmp_path: Path, server: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    found = listed(server)
    free = iter([1 << 30] * 4 + [10] * 100)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Use", (), {"free": next(free)})())
    with pytest.raises(DataError, match=r"needs [0-9]+ more bytes, there are 10; make room first"):
        download.fetch(found, tmp_path, None, replace(QUICK, workers=1))
    assert 0 < len(read_notes(tmp_path)) < 4


def test_what_cannot_fit_as_a_whole_is_not_begun(tmp_path: Path, server: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    found = of(Access("open", "https://example.org", (RemoteFile(f"{server.url}/a", "a.bin", DIGEST, len(CONTENT)),)))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Use", (), {"free": 1000})())
    with pytest.raises(DataError, match="1280000 more bytes are needed, there are 1000; make room first, nothing was fetched"):
        download.fetch(found, tmp_path, None, QUICK)
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:-100])
    download.fetch(found, tmp_path, None, QUICK)
    assert server.asked() == [f"bytes={len(CONTENT) - 100}-"]


def test_an_interrupt_stops_the_others_and_notes_what_is_here(tmp_path: Path, server: Faulty) -> None:
    def stops(name: str, done: int, total: int) -> None:
        del done, total
        if name == "p00/r1.dat":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download.fetch(listed(server), tmp_path, stops, replace(QUICK, workers=1))
    assert set(read_notes(tmp_path)) == {"RECORDS"}
    assert not (tmp_path / "p00" / "r1.dat").exists()
    download.fetch(listed(server), tmp_path, None, QUICK)


def test_two_fetches_do_not_meet_in_a_folder(tmp_path: Path, server: Faulty) -> None:
    program = (
        "import sys; from pathlib import Path; from biosig_mtl.data.fetching_lock import only_one\n"
        "with only_one(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(DataError, match="another process fetches into it now"):
            download.fetch(listed(server), tmp_path, None, QUICK)
        child.kill()
    # A lock that its holder did not give back is no lock.
    assert (tmp_path / ".fetch.lock").exists()
    download.fetch(listed(server), tmp_path, None, QUICK)
    assert not (tmp_path / ".fetch.lock").exists()


def test_a_lock_whose_name_was_taken_away_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("biosig_mtl.data.fetching_lock.take", lambda _: (tmp_path / ".fetch.lock").unlink())
    with pytest.raises(DataError, match="another process"), only_one(tmp_path):
        pass


def test_a_folder_that_is_a_file(tmp_path: Path, server: Faulty) -> None:
    (tmp_path / "file").write_text("x", encoding="ascii")
    with pytest.raises(DataError, match="cannot be written to"):
        download.fetch(listed(server), tmp_path / "file", None, QUICK)
    with pytest.raises(DataError, match="cannot be written: Is a directory"):
        replace_text(tmp_path, "x")


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path, server: Faulty) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "away").mkdir()
    (tmp_path / "set" / "p00").symlink_to(tmp_path / "away")
    with pytest.raises(DataError, match="lies behind a link that leads out"):
        download.fetch(listed(server), tmp_path / "set", None, QUICK)
    assert files(tmp_path / "away") == []


# -------------------------------------------------------------------------------------------------------------- archives
def test_archives_are_opened_noted_and_not_opened_twice(tmp_path: Path, server: Faulty) -> None:
    found = archive(server, {"records.csv": b"record,subject\n", "deep/a.txt": b"aaaa"})
    assert "set.zip: 2 files unpacked" in download.fetch(found, tmp_path, None, QUICK)
    assert changed(found, tmp_path) == []
    stamp = (tmp_path / "deep" / "a.txt").stat().st_mtime_ns
    told: list[tuple[str, int, int]] = []
    download.fetch(found, tmp_path, lambda *words: told.append(words), QUICK)
    assert (tmp_path / "deep" / "a.txt").stat().st_mtime_ns == stamp
    assert len(server.seen) == 1
    assert told[-1][1] == told[-1][2] > 0
    # Damage inside is found though nobody published a sum; a missing file is unpacked again.
    (tmp_path / "deep" / "a.txt").write_bytes(b"aaab")
    assert len(changed(found, tmp_path)) == 1
    (tmp_path / "deep" / "a.txt").unlink()
    assert "is missing" in changed(found, tmp_path)[0]
    download.fetch(found, tmp_path, None, QUICK)
    assert (tmp_path / "deep" / "a.txt").read_bytes() == b"aaaa"
    assert len(server.seen) == 1


def test_an_archive_that_reaches_out_leaves_nothing(tmp_path: Path, server: Faulty) -> None:
    found = archive(server, {"fine": b"f", "../evil": b"e"})
    with pytest.raises(DataError, match="would write outside of the folder; nothing was unpacked"):
        download.fetch(found, tmp_path / "set", None, QUICK)
    assert files(tmp_path) == ["set/set.zip"]


def test_a_copy_that_changed_here_is_fetched_anew_even_without_a_published_sum(tmp_path: Path, server: Faulty) -> None:
    found = archive(server, {"a": b"a"})
    download.fetch(found, tmp_path, None, QUICK)
    whole = (tmp_path / "set.zip").read_bytes()
    (tmp_path / "set.zip").write_bytes(whole[:-1] + b"x")
    download.fetch(found, tmp_path, None, QUICK)
    assert (tmp_path / "set.zip").read_bytes() == whole


# ----------------------------------------------------------------------------------------------------------- who may ask
def test_a_credentialed_set_says_how_and_then_comes(tmp_path: Path, server: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    found = listed(server, "credentialed")
    for text in (download.fetch(found, tmp_path / "set", None, QUICK), download.preview(found, tmp_path / "set", QUICK)):
        assert "open only to people who have signed its agreement" in text
        assert "2. Then write a line 'machine 127.0.0.1 login NAME password PASSWORD' in ~/.netrc" in text
        assert "no option takes a password" in text
    assert server.seen == []
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n", encoding="ascii")
    download.fetch(found, tmp_path / "set", None, QUICK)
    assert {"Authorization" in heads for _, heads in server.seen} == {True}
    assert "secret" not in "".join(p.read_text() for p in (tmp_path / "set").rglob("*") if p.is_file())


def test_a_plan_for_physionet_names_its_variables(tmp_path: Path) -> None:
    found = of(
        Access("credentialed", "https://physionet.org/content/x/1.0/", sums="https://physionet.org/files/x/1.0/SHA256SUMS.txt")
    )
    assert "set PHYSIONET_USERNAME and PHYSIONET_PASSWORD in the environment" in download.plan(found, tmp_path)


# --------------------------------------------------------------------------------------------------------------- the note
def test_a_damaged_note_is_told(tmp_path: Path, server: Faulty) -> None:
    for text in ("{", '{"files": [{"path": "../x"}]}', '{"files": [{"path": "x"}]}'):
        (tmp_path / "fetched.json").write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match="not readable as the note of what was fetched"):
            download.fetch(listed(server), tmp_path, None, QUICK)


def test_the_note_says_what_came_from_where(tmp_path: Path, server: Faulty) -> None:
    found = archive(server, {"a": b"a"})
    download.fetch(found, tmp_path, None, QUICK)
    note = json.loads((tmp_path / "fetched.json").read_text(encoding="utf-8"))
    assert note["set"] == "uci_kachuee"
    assert [(row["path"], row["source"], row["checked"]) for row in note["files"]] == [
        ("a", "set.zip", True),
        ("set.zip", f"{server.url}/z", False),
    ]


def test_an_unfinished_file_is_no_whole_set(tmp_path: Path, server: Faulty) -> None:
    found = archive(server, {"records.csv": b"record,subject\n"})
    download.fetch(found, tmp_path, None, QUICK)
    (tmp_path / "other.part").write_bytes(b"x")
    assert "is not whole; run `biosig-mtl data fetch` again" in changed(found, tmp_path)[0]


# ------------------------------------------------------------------------------------------------------------ at the door
def door(words: list[str]) -> object:
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    return left.value.code


@pytest.fixture
def shipped(server: Faulty, tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    manifest.save(replace(archive(server, {"records.csv": b"record,subject\na,b\n"}), name="own"), path)
    return path


def test_the_verb_fetches_and_tells(
    shipped: Path, server: Faulty, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BIOSIG_DATA", raising=False)
    assert door(["data", "fetch", str(shipped)]) == 2
    assert "say where to" in capsys.readouterr().err
    monkeypatch.setenv("BIOSIG_DATA", str(tmp_path / "data"))
    assert door(["data", "fetch", str(shipped), "--dry-run"]) == 0
    assert "1 files to fetch into" in capsys.readouterr().out
    assert server.seen == []
    assert door(["data", "fetch", str(shipped), "--workers", "2"]) == 0
    out, err = capsys.readouterr()
    assert "set.zip: 1 files unpacked" in out
    assert "set.zip: 0.0 of 0.0 MB" in err
    assert (tmp_path / "data" / "own" / "records.csv").is_file()
    assert door(["data", "fetch", str(shipped), "--only", "nothing*"]) == 3


def test_a_terminal_sees_a_bar(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert door(["data", "fetch", str(shipped), str(tmp_path / "out")]) == 0
    assert "B/s" in capsys.readouterr().err


def test_the_list_says_what_is_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BIOSIG_DATA", raising=False)
    assert door(["data", "list"]) == 0
    out, err = capsys.readouterr()
    assert " here " not in out
    assert "BIOSIG_DATA is not set" in err
    (tmp_path / "uci_kachuee").mkdir()
    (tmp_path / "uci_kachuee" / "records.csv").write_text("record,subject\n", encoding="utf-8")
    monkeypatch.setenv("BIOSIG_DATA", str(tmp_path))
    assert door(["data", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["uci_kachuee"].split()[1] == "here"
    assert lines["uci_kachuee"].endswith(f"at {tmp_path / 'uci_kachuee'}")
    assert lines["deap"].split()[1] == "registration"


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="1 to 32 workers"):
        How(workers=0)
    with pytest.raises(ValueError, match="files of different names"):
        Access("open", files=(RemoteFile("https://a.b/x", "a"), RemoteFile("https://a.b/y", "A")))
    for url in ("http://example.org/x", "https://me:pw@example.org/x", "https:///x"):
        with pytest.raises(ValueError, match="need a url") as caught:
            RemoteFile(url, "x")
        assert "pw@" not in str(caught.value)
        with pytest.raises(ValueError, match="need a url"):
            Access("open", sums=url)
    with pytest.raises(ValueError, match="plain file name"):
        RemoteFile("https://a.b/x", "a.part")
