"""A window store in an object store: lots are put there as they are written, and staged whole before they are read.

The order of the local store holds here too: the sidecar of a lot is put after its files, ``store.json`` after everything. What
is at the place is therefore enough to go on from, whichever machine was lost. Random reads of single windows from an object
store cost some 0.2 s each against 0.06 s for a whole shard (design notes: dependencies), so training reads local copies.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from biosig_mtl.places import Place, bring, cache
from biosig_mtl.store.files import sidecar
from biosig_mtl.types import DataError

LAST = "store.json"


def folder_for(place: Place) -> Path:
    """Return the folder of this machine in which copies of the stores at a place lie."""
    return cache() / "stores" / hashlib.sha256(place.url.encode()).hexdigest()[:16]


def bring_lots(place: Place, folder: Path) -> set[int]:
    """Bring what `finish` needs of the lots that are at the place, all but their arrays; return their numbers."""
    there = place.files("lots")
    done = {int(Path(name).stem) for name in there if name.endswith(".json") and Path(name).stem.isdigit()}
    wanted = {name: size for name, size in there.items() if not name.endswith(".safetensors") and int(Path(name).stem) in done}
    # Of equal size does not mean equal: a lot of an older plan may lie here.
    for name in wanted:
        (folder / name).unlink(missing_ok=True)
    bring(place, wanted, folder)
    return done


def publish_lot(place: Place, folder: Path, number: int) -> None:
    """Put a lot that was written here to the place, its sidecar last; its arrays are not kept here."""
    base = sidecar(folder, number)
    for path in (base.with_suffix(".safetensors"), base.with_suffix(".parquet"), base):
        if path.is_file():  # a lot of which no window is left has no arrays
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
    for name in facts:
        (folder / name).unlink(missing_ok=True)
    bring(place, facts, folder)


def bring_plans(place: Place) -> Path:
    """Bring plan and summary of every store at a place; return the folder in which a store can be looked for by its plan."""
    into = folder_for(place)
    found = {
        name: size for name, size in place.files().items() if name.count("/") == 1 and name.endswith(("/plan.json", f"/{LAST}"))
    }
    for name in found:
        (into / name).unlink(missing_ok=True)
    bring(place, found, into)
    return into


def stage(place: Place, folder: Path) -> Path:
    """Bring a finished store whole to a folder of this machine; what is there already is not brought again.

    Raises
    ------
    DataError
        The store is not finished, the disk has no room for it, or the place cannot be reached.
    """
    there = place.files()
    if LAST not in there:
        raise DataError(f"{place.url}: not a finished window store; run `biosig-mtl prepare` again to complete it")
    last = {LAST: there.pop(LAST)}
    if folder.is_dir() and not _same(place, folder, last[LAST]):
        for path in folder.glob("lots/*"):
            path.unlink()
    bring(place, there, folder)
    place.fetch(LAST, folder / LAST)
    return folder


def _same(place: Place, folder: Path, size: int) -> bool:
    """Whether the copies here are of the very store that is at the place: its summary holds the sums of all files."""
    here = folder / LAST
    if not here.is_file() or here.stat().st_size != size:
        return False
    before = here.read_bytes()
    return place.fetch(LAST, here).read_bytes() == before
