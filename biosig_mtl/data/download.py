"""Fetching open data sets, checking what was fetched, and telling how to obtain the others."""

from __future__ import annotations

import csv
import hashlib
import http.client
import os
import re
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from biosig_mtl.data.listing import entries
from biosig_mtl.data.manifest_schema import Manifest, RemoteFile
from biosig_mtl.types import DataError

# Name of the file, bytes so far, bytes in all (0 where unknown).
Progress = Callable[[str, int, int], None]

_CHUNK = 1 << 20
_TIMEOUT_S = 60
# No file of a known set comes near this; an endless answer must not fill the disk.
_MOST_BYTES = 50 << 30
_NET_ERRORS = (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException)
_SUMS = ("SHA256SUMS.txt", "SHA256SUMS", "MANIFEST.csv")


def fetch(manifest: Manifest, folder: Path, progress: Progress | None = None) -> str:
    """Fetch an open set into a folder; for another return what to do, in words.

    A broken transfer goes on where it stopped (``NAME.part``). A file takes its name only when its size and checksum are
    right. Archives are opened beside themselves.

    Returns
    -------
    str
        One line a file: its size and sha256, and whether that was checked against the manifest.

    Raises
    ------
    DataError
        The transfer failed (run it again), the file is not the one that the manifest names, or an archive would write
        outside the folder.
    """
    if manifest.access.kind != "open" or not manifest.access.files:
        return plan(manifest, folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for file in manifest.access.files:
        path = folder / file.name
        digest = sha256_of(path) if path.is_file() else ""
        if not digest or (file.sha256 and digest != file.sha256):
            digest = _download(file, path, progress)
        checked = "checked" if file.sha256 else "not checked: the manifest names none"
        lines.append(f"{file.name}: {path.stat().st_size} bytes, sha256 {digest} ({checked})")
        if file.unpack:
            lines.append(f"{file.name}: {unpack(path, folder)} files unpacked")
    return "\n".join(lines)


def plan(manifest: Manifest, folder: Path) -> str:
    """Return how a person obtains a set that cannot simply be fetched."""
    access = manifest.access
    if access.kind == "simulated":
        return f"{manifest.name} is simulated: it is made, not fetched"
    steps = [f"{manifest.title} ({manifest.licence}) is not fetched by this program."]
    if access.kind == "registration":
        steps.append(f"1. Read the terms and register where asked: {access.url}")
        steps.append(f"2. Fetch what you need into {folder}, for example: {access.command or 'by the page above'}")
    else:
        steps.append(f"1. Obtain it from {access.url}")
        steps.append(f"2. Put it into {folder}")
    steps.append(f"3. Check it: biosig-mtl data verify {manifest.name}")
    return "\n".join([*steps, *([access.note] if access.note else [])])


def describe(manifest: Manifest) -> str:
    """Return the facts about a set as readable text."""
    level = {
        "person": "ids are persons",
        "group": "ids are conservative groups: safe for splits, may merge people",
        "record": "ids are only records: a person may have several",
        "unknown": "it is not known what the ids are",
    }[manifest.subject_level]
    channels = [f"  {c.name}: {' or '.join(c.names)} ({c.unit})" for c in manifest.channels]
    return "\n".join(
        [
            f"{manifest.name}: {manifest.title}, version {manifest.version}" + (" (SIMULATED)" if manifest.simulated else ""),
            f"licence: {manifest.licence}" + (f"; doi:{manifest.doi}" if manifest.doi else ""),
            f"cite: {manifest.citation}",
            f"access: {manifest.access.kind} {manifest.access.url}".rstrip(),
            *([f"  {manifest.access.note}"] if manifest.access.note else []),
            f"format: {manifest.format}",
            "channels:",
            *channels,
            "labels:",
            *[f"  {name}: {where}" for name, where in manifest.labels.items()],
            f"subjects: {level}",
            f"timing between channels: {'reliable' if manifest.timing_reliable else 'not reliable'}; {manifest.timing_reason}",
            *(["known defects:"] if manifest.defects else []),
            *[f"  - {defect}" for defect in manifest.defects],
        ]
    )


def verify(manifest: Manifest, root: Path) -> list[str]:
    """Return what is wrong with a set on disk: files missing or changed, records that cannot be used.

    Checked are the files that the manifest names, and those of a checksum list in the folder or above it
    (``SHA256SUMS.txt`` as PhysioNet publishes it, or ``MANIFEST.csv`` with path, bytes, sha256). Where there is no checksum
    at all, that is told too: then nothing is verified but that the records are there.
    """
    sums = [(path, size, digest, str(lists)) for lists in _lists(root) for path, size, digest in _listed(lists, root)]
    sums += [(root / f.name, f.bytes, f.sha256, "the manifest") for f in manifest.access.files if (root / f.name).is_file()]
    problems = [p for p in (_problem(*item) for item in sums) if p]
    if not any(digest for _, _, digest, _ in sums):
        problems.append(f"{root}: no checksums known; looked for {', '.join(_SUMS)} here and above")
    problems += [f"record {r.record}: {r.reason}" for r in entries(manifest, root).rejected]
    return problems


def _problem(path: Path, size: int, digest: str, source: str) -> str:
    if not path.is_file():
        return f"{path}: is missing (listed in {source})"
    held = path.stat().st_size
    if size and held != size:
        return f"{path}: has {held} bytes, {source} says {size}"
    if digest and sha256_of(path) != digest:
        return f"{path}: content differs from {source} (sha256)"
    return ""


def _lists(root: Path) -> list[Path]:
    """Return the nearest checksum list, here or up to two levels above."""
    for folder in (root, *root.resolve().parents[:2]):
        found = [folder / name for name in _SUMS if (folder / name).is_file()]
        if found:
            return found[:1]
    return []


def _listed(path: Path, root: Path) -> Iterator[tuple[Path, int, str]]:
    """Yield the files of a list that lie under the folder of the set."""
    root = root.resolve()
    try:
        if path.suffix == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as stream:
                rows = [(r["path"], int(r["bytes"]), r["sha256"]) for r in csv.DictReader(stream)]
        else:
            found = (re.match(r"([0-9a-f]{64})\s+\*?(.+)", line) for line in path.read_text(encoding="utf-8").splitlines())
            rows = [(m[2], 0, m[1]) for m in found if m]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not readable as a list of checksums") from error
    for name, size, digest in rows:
        target = (path.resolve().parent / name).resolve()
        if target.is_relative_to(root):
            yield target, size, digest


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# --------------------------------------------------------------------------------------------------------- the transfer
def _download(file: RemoteFile, path: Path, progress: Progress | None) -> str:
    part = path.with_name(path.name + ".part")
    try:
        _transfer(file, part, progress)
    except _NET_ERRORS as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(f"{file.url}: transfer failed ({str(reason)[:100]}); run it again to go on") from error
    size, digest = part.stat().st_size, sha256_of(part)
    if (file.bytes and size != file.bytes) or (file.sha256 and digest != file.sha256):
        part.unlink()
        raise DataError(
            f"{file.url}: is not the file that the manifest names ({size} bytes, sha256 {digest}); nothing was kept"
        )
    os.replace(part, path)  # noqa: PTH105
    return digest


def _transfer(file: RemoteFile, part: Path, progress: Progress | None) -> None:
    held = part.stat().st_size if part.is_file() else 0
    if file.bytes and held == file.bytes:
        return  # was complete, and only not checked yet
    request = urllib.request.Request(file.url, headers={"User-Agent": "biosig-mtl"})
    if held:
        request.add_header("Range", f"bytes={held}-")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            _store(answer, file, part, held, progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        # What we hold is not a beginning of what they have: start again.
        part.unlink()
        _transfer(file, part, progress)


def _store(answer: Any, file: RemoteFile, part: Path, held: int, progress: Progress | None) -> None:
    goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
    if goes_on and not str(answer.headers.get("Content-Range", "")).startswith(f"bytes {held}-"):
        part.unlink()
        raise DataError(f"{file.url}: the server sent another part than was asked for; run it again")
    done = held if goes_on else 0
    length = int(answer.headers.get("Content-Length") or 0)
    total = file.bytes or (done + length if length else 0)
    most = file.bytes or _MOST_BYTES
    with part.open("ab" if goes_on else "wb") as stream:
        while block := answer.read(_CHUNK):
            done += len(block)
            if done > most:
                stream.close()
                part.unlink()
                raise DataError(f"{file.url}: sends more than {most} bytes; nothing was kept")
            stream.write(block)
            if progress:
                progress(file.name, done, total)
    if total and done < total:
        raise ConnectionError(f"{done} of {total} bytes")


# --------------------------------------------------------------------------------------------------------- the archives
def unpack(archive: Path, folder: Path) -> int:
    """Open a zip or tar archive; return the number of files.

    Every member is looked at before the first is written: absolute names, names that lead out of the folder, links and
    devices are refused.
    """
    try:
        if zipfile.is_zipfile(archive):
            return _unzip(archive, folder)
        if tarfile.is_tarfile(archive):
            return _untar(archive, folder)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{archive}: cannot be unpacked: {str(error)[:100]}") from error
    raise DataError(f"{archive}: is neither a zip nor a tar archive")


def _unzip(archive: Path, folder: Path) -> int:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        for member in members:
            # Unix keeps the kind of a member in the upper half: 0o12 is a symbolic link.
            _check_member(archive, member.filename, is_link=member.external_attr >> 28 == 0o12)
        _check_space(archive, folder, sum(m.file_size for m in members))
        file.extractall(folder)
        return sum(not m.is_dir() for m in members)


def _untar(archive: Path, folder: Path) -> int:
    with tarfile.open(archive) as file:
        members = file.getmembers()
        for member in members:
            _check_member(archive, member.name, is_link=not (member.isfile() or member.isdir()))
        _check_space(archive, folder, sum(m.size for m in members))
        file.extractall(folder, members, filter="data")
        return sum(m.isfile() for m in members)


def _check_member(archive: Path, name: str, *, is_link: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if is_link or path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
        raise DataError(f"{archive}: member '{name}' would write outside of the folder, or is a link; nothing was unpacked")


def _check_space(archive: Path, folder: Path, size: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DataError(f"{archive}: needs {size} bytes unpacked, {folder} has {free} left")
