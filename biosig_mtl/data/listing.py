"""Which records of a data set lie in a folder, without opening them."""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from biosig_mtl.data.found import FOLLOW, Fence, Found, natural, read_index, showable
from biosig_mtl.data.manifest_schema import Index, Manifest
from biosig_mtl.data.patterns import subject_in, subject_pattern
from biosig_mtl.data.readers import LISTERS
from biosig_mtl.data.readers.channels import fit, is_formula, shown
from biosig_mtl.data.readers.ppg_bp import survey
from biosig_mtl.data.readers.uci_mat import count_cells
from biosig_mtl.types import DataError, Entry, Label, Rejected

_COLUMN = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Listing:
    """Records to work on, and records that cannot be used, each with a reason; both in natural order of their names."""

    entries: tuple[Entry, ...]
    rejected: tuple[Rejected, ...] = ()

    def __len__(self) -> int:
        """Return the number of records to work on."""
        return len(self.entries)


def entries(manifest: Manifest, root: Path) -> Listing:
    """List the records of a data set in its folder.

    Raises
    ------
    DataError
        The folder is not there, or its index is not readable.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    found = sorted(_found(manifest, root), key=lambda f: natural(f.record))
    channels = {c.name: c.names for c in manifest.channels}
    # A scale belongs to the data set; a table of ratings seldom tells it.
    scales = {name: info.unit for name, info in manifest.channel_infos().items() if info.kind == "label"}
    options = {**manifest.options, **({"units": scales} if scales else {})}
    kept: dict[str, Entry] = {}
    rejected = []
    fence = Fence(root)
    for item in found:
        reason = item.reason or _fault(item, fence) or ("the index lists this record twice" if item.record in kept else "")
        if reason:
            rejected.append(Rejected(fit(item.record), math.nan, _reason(reason)))
            continue
        kept[item.record] = Entry(
            dataset=manifest.name,
            record=item.record,
            subject=item.subject,
            session=item.session,
            path=item.path,
            format=manifest.format,
            channels=channels,
            labels=item.labels,
            demographics=item.demographics or {},
            timing_reliable=manifest.timing_reliable,
            stimulus=item.stimulus,
            options={**options, **(item.options or {})},
        )
    return Listing(tuple(kept.values()), tuple(rejected))


def _fault(item: Found, fence: Fence) -> str:
    """Return why a record may not be opened or named, whatever its format; '' where it may."""
    told = (item.record, item.subject, item.session, item.stimulus, str((item.options or {}).get("person", "")))
    odd = next((name for name in told if not showable(name)), None)
    if odd is not None:
        return f"'{shown(odd)}' is no name of a record, subject or stimulus: it is too long, or cannot be shown"
    if not item.record:
        return "a record without a name"
    formula = next((name for name in told if is_formula(name)), None)
    if formula is not None:
        return f"'{shown(formula)}' would be computed by a spreadsheet that opens a table of ours: rename it"
    if not fence.holds(item.path):
        return f"{item.path.name}: a link that leads out of the folder of the set; if you laid it yourself, set {FOLLOW}=1"
    return ""


def _reason(said: str) -> str:
    """Return a reason as it may stand in a table: one line that can be shown, and nothing to compute."""
    line = str(DataError(said))
    return f"'{line}" if is_formula(line) else line


def _found(manifest: Manifest, root: Path) -> Iterator[Found]:
    """Yield what there is: some formats have rules of their own; for the others an index or a pattern says all."""
    if manifest.format in LISTERS:
        return LISTERS[manifest.format](root, manifest.options)
    own: dict[str, Callable[[Manifest, Path], Iterator[Found]]] = {"ppg_bp": _ppg_bp, "uci_mat": _cells}
    return (own.get(manifest.format) or (_indexed if _has_index(manifest, root) else _globbed))(manifest, root)


def _has_index(manifest: Manifest, root: Path) -> bool:
    if manifest.index is None:
        return False
    if (root / manifest.index.file).is_file():
        return True
    if manifest.pattern:
        return False
    raise DataError(f"{root}: the index {manifest.index.file} of {manifest.name} is missing")


def _indexed(manifest: Manifest, root: Path) -> Iterator[Found]:
    """Yield what the index lists; one look into each folder tells which files are there."""
    index = manifest.index or Index()
    rows = read_index(root / index.file, [index.record, index.subject])
    folders: dict[Path, tuple[dict[str, str], str]] = {}
    for number, row in rows:
        record = row[index.record]
        relative = _filled(index.path, row, f"{root / index.file}, line {number}")
        path = root / relative
        if path.parent not in folders:
            folders[path.parent] = _faults(path.parent)
        faults, absent = folders[path.parent]
        fault = faults.get(path.name, absent)
        yield Found(
            record=record,
            subject=row[index.subject],
            path=path,
            session=row.get(index.session) or "1",
            stimulus=row.get(index.stimulus) or "",
            labels=tuple(
                Label(name, value, index.scales.get(name, "mmHg"), "index")
                for name, column in index.labels.items()
                if math.isfinite(value := _value(row.get(column)))
            ),
            demographics={
                name: value for name, column in index.demographics.items() if math.isfinite(value := _value(row.get(column)))
            },
            options=_extra(index, row),
            reason=f"{relative}: {fault}" if fault else "",
        )


def _filled(path: str, row: Mapping[str, str], where: str) -> PurePosixPath:
    """Return the path of a record: only names of columns in braces are filled in, none of what `str.format` can do beside."""
    unknown = next((name for name in _COLUMN.findall(path) if name not in row), None)
    if unknown is not None or "{" in _COLUMN.sub("", path):
        raise DataError(f"{where}: no column for the path '{path}'")
    filled = PurePosixPath(_COLUMN.sub(lambda m: row[m[1]], path))
    if filled.is_absolute() or not showable(str(filled)):
        raise DataError(f"{where}: '{str(filled)[:80]}' leads out of the folder")
    return filled


def _extra(index: Index, row: Mapping[str, str]) -> dict[str, Any]:
    """Return what a reader hands on beside the file: when the record begins in its session, and the tighter id."""
    found: dict[str, Any] = {}
    if math.isfinite(begins := _value(row.get(index.begins))):
        found["session_s"] = begins
    if person := row.get(index.person):
        found["person"] = person
    return found


def _faults(folder: Path) -> tuple[dict[str, str], str]:
    """Return what is wrong with each file of a folder ("" if nothing is), and with what is not in it.

    What is wrong with a folder is wrong with its own records only.
    """
    try:
        return {item.name: _fault_of(item) for item in folder.iterdir()} if folder.is_dir() else {}, "the file is missing"
    except OSError as error:
        return {}, f"its folder is not readable: {error.strerror}"


def _fault_of(path: Path) -> str:
    try:
        told = path.stat()
    except OSError:  # as git-annex leaves them before they are fetched, or one that leads to itself
        return "is a link that leads to no file; fetch what it stands for"
    if not stat.S_ISREG(told.st_mode):
        return "is a folder, not a file" if stat.S_ISDIR(told.st_mode) else "is a pipe or a device, not a file"
    return "" if told.st_size else "the file is empty"


def _globbed(manifest: Manifest, root: Path) -> Iterator[Found]:
    """Yield the files that fit the pattern; of WFDB records with many segments, only the whole."""
    # Not only files: a link whose file was never fetched is a record that is missing, and is told as one.
    paths = sorted(p for p in root.glob(manifest.pattern) if not p.is_dir())
    if not paths:
        raise DataError(f"{root}: no file fits '{manifest.pattern}' of {manifest.name}")
    names = {p: p.relative_to(root).with_suffix("").as_posix() for p in paths}
    pattern = subject_pattern(manifest.subject_pattern) if manifest.subject_pattern else None
    for path in paths:
        if manifest.format == "wfdb" and re.search(r"(_layout|_\d{4}|\dn)$", path.stem):
            continue  # a layout, a segment of another record, or numerics beside the waves
        subject = subject_in(pattern, names[path]) if pattern is not None else names[path]
        reason = "" if subject else f"no subject found in '{names[path]}'"
        subject = subject or names[path]
        yield Found(names[path], subject, path, reason=reason or _fault_of(path))


def _cells(manifest: Manifest, root: Path) -> Iterator[Found]:
    """Yield every cell of every MATLAB file; an index beside it may name record and group."""
    index = manifest.index or Index()
    paths = sorted(root.glob(manifest.pattern), key=lambda p: natural(p.name))
    if not paths:
        raise DataError(f"{root}: no file fits '{manifest.pattern}' of {manifest.name}")
    for path in paths:
        named = path.parent / index.file.replace("{stem}", path.stem)
        rows = [row for _, row in read_index(named, [index.record, index.subject])] if named.is_file() else []
        try:
            cells = [(key, n) for key, count in count_cells(path).items() for n in range(count)]
        except DataError as error:
            yield Found(path.stem, path.stem, path, reason=str(error))
            continue
        if rows and len(rows) != len(cells):
            raise DataError(f"{named}: lists {len(rows)} records, {path.name} holds {len(cells)} cells")
        for position, (key, number) in enumerate(cells):
            own = f"{path.stem}/{key}/{number:05d}"
            record = rows[position][index.record] if rows else own
            subject = rows[position][index.subject] if rows else own
            yield Found(record, subject, path, options={"key": key, "cell": number})


def _ppg_bp(_: Manifest, root: Path) -> Iterator[Found]:
    kept, rejected = survey(root)
    for path, subject, person in kept:
        yield Found(path.stem, subject, path, labels=person.labels, demographics=person.demographics)
    for item in rejected:
        yield Found(item.record, "", root, reason=item.reason)


def _value(cell: str | None) -> float:
    try:
        return float(cell or "nan")
    except ValueError:
        return math.nan
