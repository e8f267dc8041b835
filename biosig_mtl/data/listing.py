"""Which records of a data set lie in a folder, without opening them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from biosig_mtl.data.found import Found, natural, read_index
from biosig_mtl.data.manifest_schema import Index, Manifest
from biosig_mtl.data.readers import LISTERS
from biosig_mtl.data.readers.ppg_bp import survey
from biosig_mtl.data.readers.uci_mat import count_cells
from biosig_mtl.types import DataError, Entry, Label, Rejected


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
    for item in found:
        reason = item.reason or ("the index lists this record twice" if item.record in kept else "")
        if reason:
            rejected.append(Rejected(item.record, math.nan, reason))
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
    folders: dict[Path, dict[str, int]] = {}
    for number, row in rows:
        record = row[index.record]
        try:
            relative = PurePosixPath(index.path.format(**row))
        except (KeyError, IndexError, ValueError) as error:
            raise DataError(f"{root / index.file}, line {number}: no column for the path '{index.path}'") from error
        if relative.is_absolute() or ".." in relative.parts:
            raise DataError(f"{root / index.file}, line {number}: '{relative}' leads out of the folder")
        path = root / relative
        if path.parent not in folders:
            folders[path.parent] = _sizes(path.parent)
        size = folders[path.parent].get(path.name)
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
            reason="" if size else f"{relative}: {'the file is missing' if size is None else 'the file is empty'}",
        )


def _extra(index: Index, row: Mapping[str, str]) -> dict[str, Any]:
    """Return what a reader hands on beside the file: when the record begins in its session, and the tighter id."""
    found: dict[str, Any] = {}
    if math.isfinite(begins := _value(row.get(index.begins))):
        found["session_s"] = begins
    if person := row.get(index.person):
        found["person"] = person
    return found


def _sizes(folder: Path) -> dict[str, int]:
    if not folder.is_dir():
        return {}
    return {item.name: item.stat().st_size for item in folder.iterdir()}


def _globbed(manifest: Manifest, root: Path) -> Iterator[Found]:
    """Yield the files that fit the pattern; of WFDB records with many segments, only the whole."""
    paths = sorted(p for p in root.glob(manifest.pattern) if p.is_file())
    if not paths:
        raise DataError(f"{root}: no file fits '{manifest.pattern}' of {manifest.name}")
    names = {p: p.relative_to(root).with_suffix("").as_posix() for p in paths}
    for path in paths:
        if manifest.format == "wfdb" and re.search(r"(_layout|_\d{4}|\dn)$", path.stem):
            continue  # a layout, a segment of another record, or numerics beside the waves
        found = re.search(manifest.subject_pattern, names[path]) if manifest.subject_pattern else None
        subject = found["subject"] if found else names[path]
        unnamed = bool(manifest.subject_pattern) and not found
        reason = f"no subject found in '{names[path]}'" if unnamed else ""
        yield Found(names[path], subject, path, reason=reason or ("" if path.stat().st_size else "the file is empty"))


def _cells(manifest: Manifest, root: Path) -> Iterator[Found]:
    """Yield every cell of every MATLAB file; an index beside it may name record and group."""
    index = manifest.index or Index()
    paths = sorted(root.glob(manifest.pattern), key=lambda p: natural(p.name))
    if not paths:
        raise DataError(f"{root}: no file fits '{manifest.pattern}' of {manifest.name}")
    for path in paths:
        named = path.with_name(index.file.format(stem=path.stem))
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
