"""Data sets and stores that lie in an object store: where they are worked here, and what goes there and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from biosig_mtl import store
from biosig_mtl.data import manifest as manifests
from biosig_mtl.data import remote
from biosig_mtl.places import Place, url_of
from biosig_mtl.store import remote as stores


def root_of(manifest: manifests.Manifest, root: Path | str | None) -> Path | None:
    """Return the folder that stands for a data set: of one at an address, its listing."""
    url = None if root is None else url_of(root)
    if url is not None:
        return remote.lay(manifest, Place(url))
    return None if root is None else Path(root)


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where stores lie: in a folder of this machine, or at a place of which it holds copies."""

    folder: Path
    place: Place | None = None

    @classmethod
    def of(cls, into: Path | str) -> Shelf:
        """Return the shelf that was named."""
        url = url_of(into)
        return cls(Path(into)) if url is None else cls(stores.folder_for(Place(url)), Place(url))

    def far(self, folder: Path) -> Place | None:
        """Return the place of one store; None where its folder is all there is."""
        return None if self.place is None else self.place.below(folder.name)

    def is_finished(self, folder: Path) -> bool:
        """Whether a store is whole where it belongs; of one elsewhere, what tells of it is brought."""
        far = self.far(folder)
        if far is None:
            return store.is_finished(folder)
        if not stores.is_published(far):
            return False
        stores.bring_facts(far, folder)
        return True

    def missing(self, folder: Path, count: int) -> list[int]:
        """Return the lots that are still to be written."""
        far = self.far(folder)
        if far is None:
            return store.missing_lots(folder, count)
        done = stores.bring_lots(far, folder)
        return [number for number in range(count) if number not in done]

    def publish(self, folder: Path) -> None:
        """Put a finished store where it belongs, ``store.json`` last."""
        far = self.far(folder)
        if far is not None:
            stores.publish(far, folder)

    def plans(self) -> Path:
        """Return a folder with the plans of all stores."""
        return self.folder if self.place is None else stores.bring_plans(self.place)

    def staged(self, folder: Path) -> Path:
        """Return a finished store as a whole folder of this machine."""
        far = self.far(folder)
        return folder if far is None else stores.stage(far, folder)


def staged(folder: Path, into: Path | str) -> Path:
    """Return a store that was prepared into ``into`` as a whole folder of this machine, to train on.

    Raises
    ------
    DataError
        It is not finished, cannot be reached, or the disk has no room for it.
    """
    return Shelf.of(into).staged(folder)
