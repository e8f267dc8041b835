"""All files of a set: which are wanted, which are here, several at once, archives opened, everything noted."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urljoin

from biosig_mtl.data.fetching import NoRoomError, Progress, Wanted, fetch_file
from biosig_mtl.data.fetching_line import Line, Patience
from biosig_mtl.data.fetching_lock import only_one
from biosig_mtl.data.fetching_names import stays
from biosig_mtl.data.fetching_sums import LISTS, Noted, read_notes, read_sums, replace_text, sha256_of, write_notes
from biosig_mtl.data.manifest_schema import Manifest
from biosig_mtl.data.unpacking import unpack
from biosig_mtl.types import DataError

# More files than this are told as one line.
_MANY = 20
# A list of checksums of a hundred thousand files has some ten million bytes.
_LONGEST_LIST = 1 << 28


@dataclass(frozen=True)
class How:
    """How to fetch: files at a time, patterns of the paths that are wanted (``s1_*``, ``p00/*``; none: all), patience."""

    workers: int = 4
    only: tuple[str, ...] = ()
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not 1 <= self.workers <= 32:
            raise ValueError(f"need 1 to 32 workers, got {self.workers}")


@dataclass(frozen=True, slots=True)
class _Job:
    """What all files of a fetch share."""

    folder: Path
    line: Line
    notes: dict[str, Noted]
    progress: Progress | None


@dataclass(frozen=True, slots=True)
class _Done:
    """A file of the set that is here now."""

    notes: tuple[Noted, ...]
    fetched: bool
    text: str


def fetch_set(manifest: Manifest, folder: Path, how: How, progress: Progress | None = None) -> str:
    """Fetch a set into a folder; see `biosig_mtl.data.download.fetch`."""
    line = _line(manifest, how)
    with only_one(folder):
        notes = read_notes(folder)
        wanted, listing = _wanted(manifest, line, how)
        _check_room(wanted, folder)
        if listing:
            replace_text(folder / LISTS[0], listing)
        about = {"set": manifest.name, "version": manifest.version, "licence": manifest.licence, "from": manifest.access.url}
        done: list[_Done] = []
        try:
            _all(_Job(folder, line, dict(notes), progress), wanted, how.workers, done)
        finally:
            for one in done:
                notes |= {note.path: note for note in one.notes}
            if done:
                write_notes(folder, about, notes.values())
    return _told(done, folder)


def preview(manifest: Manifest, folder: Path, how: How) -> str:
    """Return what a fetch would do: which files, how large, where to; nothing is written but a list is asked for."""
    wanted, _ = _wanted(manifest, _line(manifest, how), how)
    notes = read_notes(folder)
    here = [w for w in wanted if _is_here(w, folder, notes) is not None]
    missing = [w for w in wanted if w not in here]
    size = sum(w.bytes for w in missing)
    unknown = sum(not w.bytes for w in missing)
    lines = [f"{w.name}: {f'{w.bytes} bytes' if w.bytes else 'size not known'}, from {w.url}" for w in missing[:_MANY]]
    lines += [f"… and {len(missing) - _MANY} more"] if len(missing) > _MANY else []
    sizes = f"{size / 1e6:.1f} MB" + (f" and {unknown} of unknown size" if unknown else "")
    return "\n".join([*lines, f"{len(missing)} files to fetch into {folder} ({sizes}); {len(here)} are here already"])


def _check_room(wanted: Sequence[Wanted], folder: Path) -> None:
    """Refuse what cannot fit as a whole before the first file comes."""
    parts = [(folder / name, w.bytes) for w in wanted for name in (w.name, f"{w.name}.part") if w.bytes]
    held = sum(min(path.stat().st_size, size) for path, size in parts if path.is_file())
    needed, free = sum(w.bytes for w in wanted) - held, shutil.disk_usage(folder).free
    if needed > free:
        raise NoRoomError(f"{folder}: {needed} more bytes are needed, there are {free}; make room first, nothing was fetched")


def _line(manifest: Manifest, how: How) -> Line:
    return Line(page=manifest.access.url, login=manifest.access.kind == "credentialed", patience=how.patience)


def _wanted(manifest: Manifest, line: Line, how: How) -> tuple[list[Wanted], str]:
    """Return the files of a set that are wanted, and the publisher's list of checksums if it has one."""
    access = manifest.access
    files = [Wanted(f.url, f.name, f.sha256, f.bytes, f.unpack) for f in access.files]
    listing = ""
    if access.sums:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "sums"
            size, _ = fetch_file(Wanted(access.sums, LISTS[0]), path, line)
            if size > _LONGEST_LIST:
                raise DataError(f"{access.sums}: {size} bytes are too many for a list of checksums")
            try:
                listing = path.read_bytes().decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(f"{access.sums}: not readable as a list of checksums") from error
        files += [Wanted(urljoin(access.sums, quote(n)), n, d) for n, d in read_sums(listing, access.sums).items()]
    patterns = how.only or access.only
    kept = [w for w in files if not patterns or any(fnmatchcase(w.name, p) for p in patterns)]
    if not kept:
        some = ", ".join(w.name for w in files[:3])
        raise DataError(
            f"{manifest.name}: none of its {len(files)} files is like {' or '.join(patterns)} (they are: {some}, …)"
        )
    return kept, listing


def _all(job: _Job, wanted: Sequence[Wanted], workers: int, done: list[_Done]) -> None:
    """Fetch what is wanted, some at a time; what fails does not stop the others, but a full disk does."""
    failed: list[DataError] = []
    with ThreadPoolExecutor(min(workers, len(wanted))) as pool:
        jobs: list[Future[_Done]] = [pool.submit(_one, w, job) for w in wanted]
        try:
            for ended in as_completed(jobs):
                try:
                    done.append(ended.result())
                except DataError as error:
                    failed.append(error)
                    if isinstance(error, NoRoomError):
                        raise
        except BaseException:
            job.line.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    if failed:
        more = f"; {len(failed)} of {len(wanted)} files failed, {len(done)} are here" if len(wanted) > 1 else ""
        raise DataError(f"{failed[0]}{more}") from failed[0]


def _one(wanted: Wanted, job: _Job) -> _Done:
    folder, notes, progress = job.folder, job.notes, job.progress
    if job.line.stop.is_set():
        raise DataError(f"{wanted.url}: stopped; run it again to go on")
    path = folder / wanted.name
    if not stays(folder, PurePosixPath(wanted.name)):
        raise DataError(f"{path}: lies behind a link that leads out of {folder}; nothing was fetched to it")
    held = _is_here(wanted, folder, notes)
    size, digest = held or fetch_file(wanted, path, job.line, progress)
    if progress and held:
        progress(wanted.name, size, size)
    made = [Noted(wanted.name, size, digest, wanted.url, bool(wanted.sha256))]
    checked = "checked" if wanted.sha256 else "not checked: the manifest names none"
    text = f"{wanted.name}: {size} bytes, sha256 {digest} ({checked})"
    if wanted.unpack:
        inside = _still_open(wanted, folder, notes) if held else []
        if not inside:
            inside = [Noted(u.path, u.bytes, u.sha256, wanted.name, checked=True) for u in unpack(path, folder)]
        text += f"\n{wanted.name}: {len(inside)} files unpacked"
        made += inside
    return _Done(tuple(made), held is None, text)


def _is_here(wanted: Wanted, folder: Path, notes: dict[str, Noted]) -> tuple[int, str] | None:
    """Return size and sha256 of a file that is here and as it should be."""
    path = folder / wanted.name
    noted = notes.get(wanted.name)
    if not path.is_file():
        return None
    size, digest = path.stat().st_size, sha256_of(path)
    known = wanted.sha256 or (noted.sha256 if noted and noted.source == wanted.url else "")
    wrong = (known and digest != known) or (wanted.bytes and size != wanted.bytes)
    return None if wrong else (size, digest)


def _still_open(wanted: Wanted, folder: Path, notes: dict[str, Noted]) -> list[Noted]:
    """Return what came out of an archive, if all of it is still there; else nothing."""
    inside = [note for note in notes.values() if note.source == wanted.name]
    whole = all((folder / n.path).is_file() and (folder / n.path).stat().st_size == n.bytes for n in inside)
    return inside if whole else []


def _told(done: list[_Done], folder: Path) -> str:
    files = [note for one in done for note in one.notes[:1]]
    new = sum(one.fetched for one in done)
    total = (
        f"{folder}: {len(files)} files, {sum(n.bytes for n in files) / 1e6:.1f} MB; {new} fetched, "
        f"{len(files) - new} were here; {sum(n.checked for n in files)} checked against a published sha256"
    )
    lines = [one.text for one in sorted(done, key=lambda d: d.notes[0].path)] if len(done) <= _MANY else []
    return "\n".join([*lines, total])
