"""Fetching from a server on this machine, opening archives, checking sets."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from biosig_mtl.data import download, manifest
from biosig_mtl.data.manifest import Access, Manifest, RemoteFile
from biosig_mtl.types import DataError

CONTENT = bytes(range(256)) * 5000


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT: as a whole or in part, or badly."""

    seen: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        type(self).seen.append(asked)
        begin = int(re.findall(r"\d+", asked)[0]) if asked and "stubborn" not in self.path else 0
        if "missing" in self.path:
            self.send_error(404)
            return
        if begin >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin + ('shifted' in self.path)}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - begin))
        self.end_headers()
        self.wfile.write(CONTENT[begin : 700_000 if "broken" in self.path and not begin else None])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    Handler.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def open_set(url: str, sha256: str | None = None, size: int | None = None, *, unpack: bool = False) -> Manifest:
    digest = hashlib.sha256(CONTENT).hexdigest() if sha256 is None else sha256
    file = RemoteFile(url, "data.bin", digest, len(CONTENT) if size is None else size, unpack)
    return replace(manifest.load("uci_kachuee"), access=Access("open", "https://example.org", (file,)))


def test_a_file_is_fetched_checked_and_not_fetched_twice(tmp_path: Path, server: str) -> None:
    told: list[tuple[str, int, int]] = []
    text = download.fetch(open_set(f"{server}/a"), tmp_path / "new", lambda *args: told.append(args))
    assert (tmp_path / "new" / "data.bin").read_bytes() == CONTENT
    assert "(checked)" in text
    assert told[-1] == ("data.bin", len(CONTENT), len(CONTENT))
    download.fetch(open_set(f"{server}/a"), tmp_path / "new")
    assert len(Handler.seen) == 1


def test_a_broken_transfer_goes_on_where_it_stopped(tmp_path: Path, server: str) -> None:
    broken = open_set(f"{server}/broken")
    with pytest.raises(DataError, match=r"transfer failed .*; run it again to go on"):
        download.fetch(broken, tmp_path)
    assert (tmp_path / "data.bin.part").stat().st_size == 700_000
    assert not (tmp_path / "data.bin").exists()
    download.fetch(broken, tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert Handler.seen == [None, "bytes=700000-"]


def test_a_server_that_knows_no_parts_sends_the_whole(tmp_path: Path, server: str) -> None:
    (tmp_path / "data.bin.part").write_bytes(b"x" * 10)
    download.fetch(open_set(f"{server}/stubborn"), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_thrown_away(tmp_path: Path, server: str) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT + b"x")
    download.fetch(open_set(f"{server}/a"), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert Handler.seen == [f"bytes={len(CONTENT) + 1}-", None]


def test_a_complete_part_is_only_checked(tmp_path: Path, server: str) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    download.fetch(open_set(f"{server}/a"), tmp_path)
    assert Handler.seen == []


@pytest.mark.parametrize(
    ("page", "sha256", "size", "message"),
    [
        ("a", "0" * 64, None, "is not the file that the manifest names"),
        ("a", None, 1000, "sends more than 1000 bytes"),
        ("missing", None, None, "transfer failed"),
        ("shifted", None, None, "sent another part than was asked for"),
    ],
)
def test_a_wrong_file_is_not_kept(
    tmp_path: Path, server: str, page: str, sha256: str | None, size: int | None, message: str
) -> None:
    if page == "shifted":
        (tmp_path / "data.bin.part").write_bytes(CONTENT[:100])
    with pytest.raises(DataError, match=message):
        download.fetch(open_set(f"{server}/{page}", sha256, size), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_a_pinned_checksum_the_found_one_is_told(tmp_path: Path, server: str) -> None:
    text = download.fetch(open_set(f"{server}/a", "", 0), tmp_path)
    assert hashlib.sha256(CONTENT).hexdigest() in text
    assert "not checked" in text


def test_sets_that_need_a_person_come_with_a_plan(tmp_path: Path) -> None:
    text = download.fetch(manifest.load("mimic3_waveforms"), tmp_path)
    assert "https://physionet.org/content/mimic3wdb/1.0/" in text
    assert "wget" in text
    assert "biosig-mtl data verify mimic3_waveforms" in text
    assert "Obtain it from" in download.plan(manifest.load("uci_kachuee"), tmp_path)
    simulated = replace(manifest.load("uci_kachuee"), access=Access("simulated"))
    assert "made, not fetched" in download.fetch(simulated, tmp_path)
    assert list(tmp_path.iterdir()) == []


def archive_of(path: Path, names: list[str], kind: str) -> Path:
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            for name in names:
                file.writestr(name, b"data")
        return path
    with tarfile.open(path, "w:gz") as file:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 4
            file.addfile(member, io.BytesIO(b"data"))
    return path


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_are_opened(tmp_path: Path, kind: str) -> None:
    archive = archive_of(tmp_path / "a", ["x.txt", "deep/y.txt"], kind)
    assert download.unpack(archive, tmp_path / "out") == 2
    assert (tmp_path / "out" / "deep" / "y.txt").read_bytes() == b"data"


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "..\\x", "C:\\x"])
def test_no_member_leaves_the_folder(tmp_path: Path, kind: str, name: str) -> None:
    archive = archive_of(tmp_path / "a", ["fine.txt", name], kind)
    with pytest.raises(DataError, match="would write outside"):
        download.unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "x").exists()


def test_links_in_archives_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        zipped.writestr(info, "/etc")
    for name in ("a.tar", "a.zip"):
        with pytest.raises(DataError, match="is a link"):
            download.unpack(tmp_path / name, tmp_path / "out")


def test_what_is_no_archive_or_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"nothing")
    with pytest.raises(DataError, match="neither a zip nor a tar"):
        download.unpack(tmp_path / "a", tmp_path)
    archive = archive_of(tmp_path / "b", ["x" * 8], "zip")
    data = bytearray(archive.read_bytes())
    data[38:42] = b"evil"
    (tmp_path / "c").write_bytes(bytes(data))
    with pytest.raises(DataError, match="cannot be unpacked"):
        download.unpack(tmp_path / "c", tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Use", (), {"free": 1})())
    with pytest.raises(DataError, match="needs 4 bytes unpacked"):
        download.unpack(archive, tmp_path)


def test_fetched_archives_are_opened(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = archive_of(tmp_path / "a.zip", ["x.txt"], "zip").read_bytes()
    monkeypatch.setitem(globals(), "CONTENT", archive)
    text = download.fetch(open_set(f"{server}/a", unpack=True), tmp_path / "set")
    assert "data.bin: 1 files unpacked" in text
    assert (tmp_path / "set" / "x.txt").is_file()


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
