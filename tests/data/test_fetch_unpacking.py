"""Archives by strangers: nothing ever leaves the folder, and a refused archive leaves nothing in it."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from biosig_mtl.data.fetching_names import below, clash, stays
from biosig_mtl.data.unpacking import Limits, unpack
from biosig_mtl.types import DataError


def packed(path: Path, names: list[str], kind: str, data: bytes = b"data") -> Path:
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name in names:
                file.NameToInfo.clear()  # or it would warn of a name that comes twice
                info = zipfile.ZipInfo("x")
                info.filename = name  # as a stranger's program may write it: ours would mend it
                file.writestr(info, data, zipfile.ZIP_DEFLATED)
        return path
    with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as file:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


def inside(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*")) if folder.is_dir() else []


KINDS = ["zip", "tar", "tar.gz"]


@pytest.mark.parametrize("kind", KINDS)
def test_archives_are_opened(tmp_path: Path, kind: str) -> None:
    archive = packed(tmp_path / "a", ["x.txt", "deep/y.txt", "deep\\z.txt", "./w.txt"], kind)
    made = unpack(archive, tmp_path / "out")
    assert [one.path for one in made] == ["x.txt", "deep/y.txt", "deep/z.txt", "w.txt"]
    assert {(one.bytes, one.sha256) for one in made} == {(4, hashlib.sha256(b"data").hexdigest())}
    assert inside(tmp_path / "out") == ["deep", "deep/y.txt", "deep/z.txt", "w.txt", "x.txt"]


def test_folders_in_archives_are_no_files(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in (".", "sub"):
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE
            tar.addfile(member)
        tar.addfile(tarfile.TarInfo("sub/empty"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.mkdir("sub")
        zipped.writestr("sub/empty", b"")
    for name in ("a.tar", "a.zip"):
        assert [one.path for one in unpack(tmp_path / name, tmp_path / "out")] == ["sub/empty"]


BAD = [
    "../x", "/etc/x", "a/../../x", "..\\x", "C:\\x", "C:x", "//host/x", "\\\\host\\x", "", ".", "a\nb", "a\x1bb", "x" * 1001,
    "NUL", "sub/com1.txt", "fetched.json", ".fetch.lock", "a.part", "a.part.json", "a/..", "../out-of/x",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", BAD)
def test_no_member_leaves_the_folder(tmp_path: Path, kind: str, name: str) -> None:
    archive = packed(tmp_path / "a", ["fine.txt", name], kind)
    with pytest.raises(DataError, match=r"cannot be unpacked: .*nothing was unpacked") as caught:
        unpack(archive, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert inside(tmp_path) == ["a"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "names", [["a.txt", "A.txt"], ["a", "a/b"], ["a/b", "a"], ["Sub/a", "sub/b"], ["a", "a"], ["é", "e\u0301"]]
)
def test_members_that_fall_together_are_refused(tmp_path: Path, kind: str, names: list[str]) -> None:
    archive = packed(tmp_path / "arch", names, kind)
    with pytest.raises(DataError, match="would be one"):
        unpack(archive, tmp_path / "out")
    assert inside(tmp_path) == ["arch"]


@pytest.mark.parametrize("what", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, what: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("fine"))
        odd = tarfile.TarInfo("odd")
        odd.type, odd.linkname = what, "/etc/passwd"
        tar.addfile(odd)
    with pytest.raises(DataError, match="is a link or a device"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", [0o12, 0o02, 0o06, 0o01])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, kind: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        info = zipfile.ZipInfo("odd")
        info.external_attr = (kind << 28) | (0o777 << 16)
        zipped.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="is a link or a device"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_a_link_that_lies_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "away").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "away")
    (tmp_path / "out" / "x").symlink_to(tmp_path / "away" / "x")
    (tmp_path / "out" / "dir").mkdir()
    for name in ("sub/x", "x", "dir"):
        with pytest.raises(DataError, match="through a link, or over a folder"):
            unpack(packed(tmp_path / "a.zip", ["ok", name], "zip"), tmp_path / "out")
    assert inside(tmp_path / "away") == []
    assert not (tmp_path / "out" / "ok").exists()
    assert not stays(tmp_path / "out", PurePosixPath("sub/x"))


# ----------------------------------------------------------------------------------------------------------------- bombs
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_bombs_are_refused(tmp_path: Path, kind: str) -> None:
    bomb = packed(tmp_path / "a", ["zeros"], kind, bytes(80 << 20))
    with pytest.raises(DataError, match="too much for an archive of"):
        unpack(bomb, tmp_path / "out")
    many = packed(tmp_path / "b", [f"f{i}" for i in range(30)], kind)
    for limits in (Limits(files=29), Limits(bytes=100)):
        with pytest.raises(DataError, match="too much for an archive of"):
            unpack(many, tmp_path / "out", limits)
    assert inside(tmp_path) == ["a", "b"]
    assert len(unpack(many, tmp_path / "out", Limits(files=30))) == 30


def test_a_member_that_hides_its_size_is_not_written(tmp_path: Path) -> None:
    """The size in the directory of a zip is a claim: what comes out is counted."""
    archive = packed(tmp_path / "a", ["x"], "zip", bytes(100_000))
    data = bytearray(archive.read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    assert int.from_bytes(data[at : at + 4], "little") == 100_000
    data[at : at + 4] = (10).to_bytes(4, "little")
    archive.write_bytes(bytes(data))
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(archive, tmp_path / "out")
    assert inside(tmp_path / "out") == []


def test_limits_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="need limits > 0"):
        Limits(files=0)


# --------------------------------------------------------------------------------------------------------------- damaged
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_cut_archive_leaves_nothing(tmp_path: Path, kind: str, share: float) -> None:
    noise = hashlib.shake_256(b"n").digest(200_000)
    archive = packed(tmp_path / "a", ["x", "y"], kind, noise)
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * share)])
    with pytest.raises(DataError, match=r"cannot be unpacked|neither a zip nor a tar"):
        unpack(archive, tmp_path / "out")
    assert inside(tmp_path / "out") == []


def test_a_damaged_member_leaves_nothing(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a", ["x", "y"], "zip", hashlib.shake_256(b"n").digest(5000))
    data = bytearray(archive.read_bytes())
    data[-2000] ^= 255
    archive.write_bytes(bytes(data))
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(archive, tmp_path / "out")
    assert inside(tmp_path / "out") == []


def test_what_is_no_archive_locked_empty_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "n").write_bytes(b"nothing")
    with pytest.raises(DataError, match="neither a zip nor a tar"):
        unpack(tmp_path / "n", tmp_path)
    for kind in ("zip", "tar"):
        with pytest.raises(DataError, match="holds no file"):
            unpack(packed(tmp_path / "e", [], kind), tmp_path / "out")
    with pytest.raises(DataError, match="a member of its own name"):
        unpack(packed(tmp_path / "own.zip", ["own.zip"], "zip"), tmp_path)
    archive = packed(tmp_path / "b", ["x"], "zip")
    locked = bytearray(archive.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + at] |= 1
    (tmp_path / "locked").write_bytes(bytes(locked))
    with pytest.raises(DataError, match=r"is locked with a password; unpack it with another program"):
        unpack(tmp_path / "locked", tmp_path / "out")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Use", (), {"free": 1})())
    with pytest.raises(DataError, match="needs 4 bytes unpacked"):
        unpack(archive, tmp_path / "out")


def test_a_way_of_packing_that_is_not_known(tmp_path: Path) -> None:
    data = bytearray(packed(tmp_path / "a", ["x"], "zip").read_bytes())
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.index(mark) + at] = 97
    (tmp_path / "a").write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"compression .*; unpack it with another program"):
        unpack(tmp_path / "a", tmp_path / "out")
    assert inside(tmp_path / "out") == []


def test_what_a_killed_unpacking_left_is_swept(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", ["x"], "zip")
    (tmp_path / "out" / ".a.zip.unpacking").mkdir(parents=True)
    (tmp_path / "out" / ".a.zip.unpacking" / "half").write_bytes(b"h")
    unpack(archive, tmp_path / "out")
    assert inside(tmp_path / "out") == ["x"]


def test_names() -> None:
    assert below("a/b.txt") == PurePosixPath("a/b.txt")
    assert clash([PurePosixPath("a/b"), PurePosixPath("a/c"), PurePosixPath("b")]) == ""
    with pytest.raises(ValueError, match="outside of the folder"):
        below("x" * 90 + "/../..")
