"""A clean copy of recordings: channels, units, rates, labels and a few facts, under new names; nothing else.

What stays is what a list allows (`biosig_mtl.data.deidentify_allowed`); the rest of a file is never looked at. That removes
identifiers from headers, labels and names. It does not prove that nobody can be recognised: an ECG by itself can tell people
apart (Biel et al., IEEE Trans. Instrum. Meas. 50 (2001) 808), and so can rare values of the facts that stay.
"""

from __future__ import annotations

import multiprocessing
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from biosig_mtl.data.deidentify_allowed import TARGETS, channel_names, facts_of
from biosig_mtl.data.deidentify_dates import began, moved
from biosig_mtl.data.deidentify_folder import Folder, apart, read_told
from biosig_mtl.data.deidentify_inventory import inventory
from biosig_mtl.data.deidentify_mapping import Key, keep_apart, only_one, open_mapping, write_private
from biosig_mtl.data.deidentify_record import Clean, write_record
from biosig_mtl.data.listing import Listing
from biosig_mtl.data.manifest_schema import Manifest
from biosig_mtl.data.readers import open_source
from biosig_mtl.types import DataError, Entry, RecipeError, Record, Rejected

# What a reader may raise on data that nobody foresaw: the record is refused, the others are written.
_RECORD_ERRORS = (
    *(DataError, RecipeError, EOFError, struct.error, zlib.error, ValueError, TypeError, KeyError, IndexError, ArithmeticError),
    *(OSError, MemoryError, RuntimeError, AttributeError, AssertionError),
)
OWN = "own"
"""What the mapping calls recordings that belong to no data set."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CleanSettings:
    """What a clean copy keeps.

    ``dates``: the day on which a record began is moved (``shift``) or left out (``drop``). ``keep_times``: with the day goes
    the time of day, which is left out otherwise. ``keep_weekday``: days move by whole weeks. ``keep_ages``: ages over 89 stay
    as they are. ``keep_stimuli``: names of what was shown stay.
    """

    dates: Literal["shift", "drop"] = "shift"
    keep_times: bool = False
    keep_weekday: bool = False
    keep_ages: bool = False
    keep_stimuli: bool = False

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.dates not in ("shift", "drop"):
            raise ValueError(f"need dates of shift or drop, got '{self.dates}'")
        if self.dates == "drop" and (self.keep_times or self.keep_weekday):
            raise ValueError("need dates that are kept to keep their time of day or weekday")


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What came of it: ``given`` records are ``written``, ``kept`` from an earlier run, or ``refused``.

    ``gone`` counts what was left out or changed, by kind, in the records that are there now. ``reasons`` is the file that tells
    of each refused record why, with its own name: it lies beside the mapping, not in the copy.
    """

    folder: Path
    given: int
    written: int
    kept: int
    refused: int
    gone: Mapping[str, int]
    rounded: int
    reasons: Path | None

    def lines(self) -> tuple[str, ...]:
        """Return the summary for a user."""
        lost = f", {self.refused} refused" + (f" (see {self.reasons})" if self.reasons else "")
        first = f"{self.given} records: {self.written} written, {self.kept} were there already{lost}"
        rows = [f"  {count} × {kind}" for kind, count in sorted(self.gone.items()) if count]
        if self.rounded:
            rows.append(f"  {self.rounded} × channel without whole steps: small samples rounded to 2^-31 of the largest")
        return (first, "left out or changed, besides all names:" if rows else "nothing but names was left out", *rows)


@dataclass(frozen=True, slots=True)
class _Job:
    """One record to write, as it goes to a worker."""

    entry: Entry
    folder: Path
    subject: str
    name: str
    days: int
    settings: CleanSettings
    declared: tuple[str, ...]
    row: Mapping[str, Any] = field(default_factory=dict)


def deidentify(
    listing: Listing,
    manifest: Manifest | None,
    place: tuple[Path, Path],
    settings: CleanSettings,
    workers: int = 1,
    progress: Progress | None = None,
) -> Cleaned:
    """Write a clean copy of the records of a listing; what an earlier run has written is not done again.

    Parameters
    ----------
    listing
        What to copy.
    manifest
        The data set; None for recordings that belong to none (then they add up in the folder).
    place
        The folder of the copy, and the mapping file.
    settings
        What stays.
    workers
        Processes.
    progress
        Called with (records done, records).

    Raises
    ------
    DataError
        No record could be written; the folder or the mapping hold something else; a disk is full.
    RecipeError
        The mapping lies in the copy, or the copy in the data.
    """
    out, file = place
    apart(out, [e.path for e in listing.entries], whole=manifest is not None)
    keep_apart(file, out)
    with only_one(file):
        key = open_mapping(file, keep_weekday=settings.keep_weekday)
        dataset = manifest.name if manifest else OWN
        for entry in listing.entries:
            key.learn(dataset, entry)
        folder = Folder.claim(out, key.token("folder", dataset), adds_up=manifest is None)
        # Before any name of it is written: a run that is killed leaves no file whose name leads nowhere.
        key.save()
        jobs = list(_jobs(listing.entries, key, manifest, out, settings))
        cleaned = _write(jobs, listing, (folder, key), workers, progress)
        folder.finish(manifest, cleaned, asdict(settings))
        key.save()
    return cleaned


def _jobs(entries: Sequence[Entry], key: Key, manifest: Manifest | None, out: Path, settings: CleanSettings) -> Iterator[_Job]:
    """Yield a job a record, with what the index will say of it."""
    dataset = manifest.name if manifest else OWN
    names, starts = key.of(dataset), _session_starts(entries)
    declared = tuple(c.name for c in manifest.channels) if manifest else ()
    for entry in entries:
        subject, begins = names.subjects[entry.subject], entry.options.get("session_s")
        row = {
            "subject": subject,
            "session": names.sessions[entry.subject][entry.session],
            "person": names.persons.get(str(entry.options.get("person", "")), ""),
            "stimulus": entry.stimulus if settings.keep_stimuli else key.stimulus(dataset, entry.stimulus),
            # From the first record of the session on: a clock of days could be a date.
            "begins_s": None if begins is None else float(begins) - starts[entry.subject, entry.session],
        }
        days = key.days(dataset, entry.subject)
        made = key.token("source", str(entry.path.resolve()), _stamp(entry.path), repr((settings, row, entry, days, declared)))
        folder, name = out / "records" / subject, names.records[entry.record]
        yield _Job(entry, folder, subject, name, days, settings, declared, row | {"source": made})


def _session_starts(entries: Sequence[Entry]) -> dict[tuple[str, str], float]:
    starts: dict[tuple[str, str], float] = {}
    for entry in entries:
        if (begins := entry.options.get("session_s")) is not None:
            place = entry.subject, entry.session
            starts[place] = min(starts.get(place, float(begins)), float(begins))
    return starts


def _stamp(path: Path) -> str:
    """Return what changes when the files of a record change; it is only ever written under the secret."""
    files = sorted(path.iterdir()) if path.is_dir() else sorted(path.parent.glob(f"{path.stem}.*"))
    return ";".join(f"{f.name} {s.st_size} {s.st_mtime_ns}" for f in files if f.is_file() and (s := f.stat()))


# ------------------------------------------------------------------------------------------------------------------ writing
def _write(
    jobs: Sequence[_Job], listing: Listing, where: tuple[Folder, Key], workers: int, progress: Progress | None
) -> Cleaned:
    folder, key = where
    here = {job.name for job in jobs if read_told(job.folder / f"{job.name}.json").get("source") == job.row["source"]}
    todo = [job for job in jobs if job.name not in here]
    refused = list(listing.rejected)
    written = 0
    for done, (job, reason) in enumerate(_run(todo, workers), start=1):
        if reason:
            refused.append(Rejected(job.entry.record, float("nan"), reason))
            folder.forget(job.subject, job.name)
        else:
            written += 1
        if progress is not None:
            progress(len(here) + done, len(jobs))
    folder.sweep({job.name for job in jobs})
    told = [row for _, row in folder.told()]
    gone: Counter[str] = Counter()
    for row in told:
        gone.update(row["gone"])
    return Cleaned(
        folder=folder.path,
        given=len(jobs) + len(listing.rejected),
        written=written,
        kept=len(here),
        refused=len(refused),
        gone=dict(gone),
        rounded=sum(c["samples"] == "rounded" for row in told for c in row["channels"].values()),
        reasons=_reasons(key.path, refused),
    )


def _reasons(mapping: Path, refused: Sequence[Rejected]) -> Path | None:
    """Write why records were refused beside the mapping: names and messages of readers tell of whom they are."""
    path = mapping.with_name(f"{mapping.name}.refused.csv")
    if not refused:
        path.unlink(missing_ok=True)
        return None
    rows = [f"{_cell(r.record)},{_cell(r.reason)}\n" for r in refused]
    write_private(path, "".join(["record,reason\n", *rows]))
    return path


def _cell(text: str) -> str:
    return '"' + " ".join(text.split()).replace('"', '""') + '"'


def _run(jobs: Sequence[_Job], workers: int) -> Iterator[tuple[_Job, str]]:
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield job, _one(job)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        waiting = {pool.submit(_one, job): job for job in jobs}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BrokenProcessPool as error:
            raise DataError("a worker process was killed; run the same command again: what is written is kept") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _one(job: _Job) -> str:
    """Write one record; return why not, where it cannot be."""
    try:
        _written(job)
    except _RECORD_ERRORS as error:
        return str(error) if isinstance(error, DataError) else f"unexpected {type(error).__name__}: {error}"
    return ""


def _written(job: _Job) -> None:
    gone = inventory(job.entry)
    source = open_source(job.entry)
    record = source.read(0.0, 0.0)
    names = channel_names(source.channels, dict.fromkeys(job.declared), gone)
    when = _when(job, gone)
    told = {
        **job.row,
        "facts": facts_of(record.demographics, gone, keep_ages=job.settings.keep_ages),
        "labels": _labels(record, gone),
        "day": None if when is None else when.date().isoformat(),
    }
    job.folder.mkdir(parents=True, exist_ok=True)
    clock = when if job.settings.keep_times else None
    write_record(source, job.entry, Clean(job.folder, job.name, names, clock, told), gone)


def _when(job: _Job, gone: Counter[str]) -> datetime | None:
    start = began(job.entry)
    if start is None:
        return None
    gone["time of day left out"] += not job.settings.keep_times
    if job.settings.dates == "drop":
        gone["date left out"] += 1
        return None
    gone["date moved"] += 1
    return moved(start, job.days)


def _labels(record: Record, gone: Counter[str]) -> dict[str, dict[str, Any]]:
    """Return the labels of targets that we know, with their unit or scale; the name of another may be anything."""
    kept = {x.name: {"value": x.value, "unit": x.unit} for x in record.labels if x.name in TARGETS and x.time_s is None}
    gone["label that is no target of ours"] += len(record.labels) - len(kept)
    return kept
