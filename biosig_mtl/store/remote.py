"""A window store in an object store: lots are put there as they are written, and staged whole before they are read.

The order of the local store holds here too: the sidecar of a lot is put after its files, ``store.json`` after everything. What
is at the place is therefore enough to go on from, whichever machine was lost. Random reads of single windows from an object
store cost some 0.2 s each against 0.06 s for a whole shard (design notes: dependencies), so training reads local copies.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path

from biosig_mtl.places import Place, bring, cache
from biosig_mtl.store.files import sidecar
from biosig_mtl.types import DataError

LAST = "store.json"
# Summaries at the place: of the copies that lie here so far, and as it is now. No reader looks at either.
_BEGUN, _ASKED = ".store.json.begun", ".store.json.asked"
# Beside lots may lie what a killed writer left, or somebody's notes.
_OF_LOTS = re.compile(r"lots/(\d+)\.(json|parquet)")


def folder_for(place: Place) -> Path:
    """Return the folder of this machine in which copies of the stores at a place lie."""
    return cache() / "stores" / hashlib.sha256(place.url.encode()).hexdigest()[:16]


def bring_lots(place: Place, folder: Path) -> set[int]:
    """Bring what `finish` needs of the lots that are at the place, all but their arrays; return their numbers."""
    there = {name: (found, size) for name, size in place.files("lots").items() if (found := _OF_LOTS.fullmatch(name))}
    done = {int(found[1]) for found, _ in there.values() if found[2] == "json"}
    wanted = {name: size for name, (found, size) in there.items() if int(found[1]) in done}
    # Never taken away first: another run on this machine may be merging them.
    bring(place, wanted, folder, anew=True)
    return done


def publish_lot(place: Place, folder: Path, number: int) -> None:
    """Put a lot that was written here to the place, its sidecar last; its arrays are not kept here."""
    base = sidecar(folder, number)
    for path in (base.with_suffix(".safetensors"), base.with_suffix(".parquet"), base):
        place.put(path, path.relative_to(folder).as_posix())
    with contextlib.suppress(OSError):
        base.with_suffix(".safetensors").unlink()


def publish(place: Place, folder: Path) -> None:
    """Put everything but the lots to the place, ``store.json`` last."""
    names = sorted(
        (p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")), key=lambda n: (n == LAST, n)
    )
    for name in names:
        place.put(folder / name, name)


def is_published(place: Place) -> bool:
    """Whether a finished store is at the place."""
    return LAST in place.files()


def bring_facts(place: Place, folder: Path) -> None:
    """Bring everything of a finished store but its lots."""
    facts = {name: size for name, size in place.files().items() if "/" not in name}
    bring(place, facts, folder, anew=True)


def bring_plans(place: Place) -> Path:
    """Bring plan and summary of every store at a place; return the folder in which a store can be looked for by its plan."""
    into = folder_for(place)
    found = {
        name: size for name, size in place.files().items() if name.count("/") == 1 and name.endswith(("/plan.json", f"/{LAST}"))
    }
    bring(place, found, into, anew=True)
    return into


def stage(place: Place, folder: Path) -> Path:
    """Bring a finished store whole to a folder of this machine; what is there already is not brought again.

    A killed staging is gone on with. Files of a store that was made anew at the place meanwhile are never mixed with the
    earlier ones, whose sizes may be the same.

    Raises
    ------
    DataError
        The store is not finished, the disk has no room for it, or the place cannot be reached.
    """
    there = {name: size for name, size in place.files().items() if not Path(name).name.startswith(".")}
    if LAST not in there:
        raise DataError(f"{place.url}: not a finished window store; run `biosig-mtl prepare` again to complete it")
    del there[LAST]
    if not _same(place, folder):
        for path in (*folder.glob("lots/*"), *(folder / name for name in there if "/" not in name), folder / LAST):
            path.unlink(missing_ok=True)
    place.fetch(LAST, folder / _BEGUN)
    bring(place, there, folder)
    place.fetch(LAST, folder / LAST)
    for name in (_BEGUN, _ASKED):
        (folder / name).unlink(missing_ok=True)
    return folder


def _same(place: Place, folder: Path) -> bool:
    """Whether all copies here are of the very store that is at the place: its summary holds the sums of all files."""
    known = [path.read_bytes() for name in (LAST, _BEGUN) if (path := folder / name).is_file()]
    there = place.fetch(LAST, folder / _ASKED).read_bytes()
    return bool(known) and all(content == there for content in known)
