"""Data sets that are not shipped: what they are, fetching the open ones, checking a copy, how to obtain the others."""

from __future__ import annotations

from pathlib import Path

from biosig_mtl.data import fetching_set
from biosig_mtl.data.fetching import Progress
from biosig_mtl.data.fetching_line import asks_for, credentials
from biosig_mtl.data.fetching_set import How
from biosig_mtl.data.fetching_sums import LISTS, Sum, problem_of, sums_near
from biosig_mtl.data.listing import entries
from biosig_mtl.data.manifest_schema import Manifest

__all__ = ["How", "Progress", "describe", "fetch", "plan", "preview", "verify"]


def fetch(manifest: Manifest, folder: Path, progress: Progress | None = None, how: How | None = None) -> str:
    """Fetch a set into a folder; for one that this program cannot fetch return what to do, in words.

    A broken transfer goes on where it stopped (``NAME.part``), in this run and in the next. A file takes its name only when it
    is whole and its size and checksum are right. Archives are opened beside themselves. ``fetched.json`` notes each file with
    its sha256, so that `verify` finds what is damaged later even where a publisher names no checksum.

    Parameters
    ----------
    progress
        Is called from several threads, with the name of a file, its bytes so far, its bytes in all (0 where not known).

    Returns
    -------
    str
        One line a file (many are told as one): size and sha256, and whether that was checked against a published one.

    Raises
    ------
    DataError
        A transfer failed (run it again), a file is not the one that the manifest names, there is no room, the set is not open
        to this account, an archive would write outside the folder, or another process fetches into this folder.
    """
    if not _can_fetch(manifest):
        return plan(manifest, folder)
    return fetching_set.fetch_set(manifest, folder, how or How(), progress)


def preview(manifest: Manifest, folder: Path, how: How | None = None) -> str:
    """Return what `fetch` would do, without doing it."""
    if not _can_fetch(manifest):
        return plan(manifest, folder)
    return fetching_set.preview(manifest, folder, how or How())


def _can_fetch(manifest: Manifest) -> bool:
    access = manifest.access
    first = access.sums or (access.files[0].url if access.files else "")
    if access.kind == "credentialed":
        return bool(first) and credentials(first) is not None
    return access.kind == "open" and bool(first)


def plan(manifest: Manifest, folder: Path) -> str:
    """Return how a person obtains a set that cannot simply be fetched."""
    access = manifest.access
    if access.kind == "simulated":
        return f"{manifest.name} is simulated: it is made, not fetched"
    first = access.sums or (access.files[0].url if access.files else "")
    steps = [f"{manifest.title} ({manifest.licence}) is not fetched by this program."]
    if access.kind == "credentialed" and first:
        steps = [f"{manifest.title} ({manifest.licence}) is open only to people who have signed its agreement."]
        steps.append(f"1. Read the terms, register and sign: {access.url}")
        steps.append(f"2. Then {asks_for(first)}; no option takes a password")
        steps.append(f"3. Fetch it: biosig-mtl data fetch {manifest.name} {folder}")
        steps.append(f"4. Check it: biosig-mtl data verify {manifest.name}")
        return "\n".join([*steps, *([access.note] if access.note else [])])
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
            *_files(manifest),
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


def _files(manifest: Manifest) -> list[str]:
    """Return what would be fetched, as far as the manifest knows it."""
    access = manifest.access
    sizes = [(f, f"{f.bytes} bytes" if f.bytes else "size not known") for f in access.files]
    lines = [f"  {f.name}: {size}, {f'sha256 {f.sha256}' if f.sha256 else 'no published sha256'}, {f.url}" for f, size in sizes]
    which = f" (of these {' and '.join(access.only)})" if access.only else ""
    return lines + ([f"  all files of {access.sums}{which}"] if access.sums else [])


def verify(manifest: Manifest, root: Path) -> list[str]:
    """Return what is wrong with a set on disk: files missing, changed or not whole, records that cannot be used.

    Checked are the files that the manifest names, those of our own note of what was fetched and unpacked, and those of a
    checksum list in the folder or above it (``SHA256SUMS.txt`` as PhysioNet publishes it, or ``MANIFEST.csv`` with path, bytes,
    sha256). Where there is no checksum at all, that is told too: then nothing is verified but that the records are there.
    """
    sums = sums_near(root)
    sums += [Sum(root / f.name, f.bytes, f.sha256, "the manifest") for f in manifest.access.files if (root / f.name).is_file()]
    problems = [f"{part}: is not whole; run `biosig-mtl data fetch` again" for part in sorted(root.rglob("*.part"))]
    problems += dict.fromkeys(p for p in map(problem_of, sums) if p)
    if not any(one.sha256 for one in sums):
        problems.append(f"{root}: no checksums known; looked for {', '.join(LISTS)} here and above")
    problems += [f"record {r.record}: {r.reason}" for r in entries(manifest, root).rejected]
    return problems
