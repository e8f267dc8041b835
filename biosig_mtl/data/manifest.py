"""Manifests: reading one, and finding the data it speaks of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from biosig_mtl.data.listing import Listing, entries
from biosig_mtl.data.manifest_schema import Access, Index, Manifest, RemoteFile, SourceChannel
from biosig_mtl.data.readers import LISTERS
from biosig_mtl.recipe import build, dump, find_shipped
from biosig_mtl.recipe_text import read_yaml
from biosig_mtl.types import DataError, RecipeError

__all__ = [
    "Access",
    "Index",
    "Listing",
    "Manifest",
    "RemoteFile",
    "SourceChannel",
    "entries",
    "load",
    "locate",
    "names",
    "save",
]


def load(name_or_path: str | Path) -> Manifest:
    """Read a manifest: a file, or the name of one that comes with the package.

    Raises
    ------
    RecipeError
        No such manifest, not readable, a word unknown or missing, nonsense.
    """
    path = find_shipped(name_or_path, "data_manifests", "manifest")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: a manifest is a mapping that begins with 'name'")
    return build(Manifest, content | {"channels": _listed(content.get("channels"), path)}, path.name)


def _listed(channels: Any, path: Path) -> list[dict[str, Any]]:
    """Turn ``ppg: {names: [PLETH], unit: NU}`` into a list, in which the name is one of the words."""
    if not (isinstance(channels, dict) and channels and all(isinstance(c, dict) for c in channels.values())):
        raise RecipeError(f"{path}: channels: need our name of each channel with its names and unit in the files")
    return [{"name": str(name), **channel} for name, channel in channels.items()]


def save(manifest: Manifest, path: Path) -> None:
    """Write a manifest (the inverse of `load`)."""
    content: dict[str, Any] = {k: v for k, v in vars(manifest).items() if v not in ((), {}, "", None)}
    content["channels"] = {c.name: {"names": c.names, "unit": c.unit, "fs_hz": c.fs_hz} for c in manifest.channels}
    path.write_text(dump(content), encoding="utf-8")


def names() -> tuple[str, ...]:
    """Return the names of the manifests that come with the package."""
    package = Path(__file__).parents[1]
    folders = [f for f in (package.parent / "data_manifests", package / "_data_manifests") if f.is_dir()]
    return tuple(sorted({p.stem for f in folders for p in f.glob("*.yaml")}))


def locate(manifest: Manifest, data: Path | None = None) -> Path:
    """Return the folder of a data set.

    Parameters
    ----------
    manifest
        The data set.
    data
        Its own folder. Without it ``$BIOSIG_DATA/NAME`` and ``$BIOSIG_DATA/*/NAME`` are looked for.

    Raises
    ------
    DataError
        It is not there: the message names what was looked for and how to obtain the set.
    """
    if data is not None:
        folder = Path(data)
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; {_how(manifest)}")
        if not _holds(manifest, folder):
            raise DataError(f"{folder}: holds no {manifest.name} (looked for {_mark(manifest)}); {_how(manifest)}")
        return folder
    root = os.environ.get("BIOSIG_DATA")
    if not root:
        raise DataError(f"{manifest.name}: say where it lies (--data DIR) or set BIOSIG_DATA; {_how(manifest)}")
    for folder in _candidates(manifest, Path(root)):
        if folder.is_dir() and _holds(manifest, folder):
            return folder
    folders = " or ".join(manifest.folders or (manifest.name,))
    raise DataError(
        f"{manifest.name}: no folder {folders} with {_mark(manifest)} in {root} or one level below; {_how(manifest)}"
    )


def _candidates(manifest: Manifest, root: Path) -> Iterator[Path]:
    for name in manifest.folders or (manifest.name,):
        yield root / name
        yield from sorted(root.glob(f"*/{name}"))


def _holds(manifest: Manifest, folder: Path) -> bool:
    if manifest.index and manifest.format != "uci_mat" and (folder / manifest.index.file).is_file():
        return True
    patterns = [manifest.pattern] if manifest.pattern else []
    if manifest.format in LISTERS and not manifest.pattern:
        return next(iter(LISTERS[manifest.format](folder, manifest.options)), None) is not None
    if manifest.format == "ppg_bp":
        patterns = ["Data File/0_subject/*.txt", "0_subject/*.txt", "*_*.txt"]
    return folder.is_dir() and any(next(iter(folder.glob(p)), None) is not None for p in patterns)


def _mark(manifest: Manifest) -> str:
    if manifest.format == "ppg_bp":
        return "'Data File/0_subject'"
    if manifest.format in LISTERS and not manifest.pattern:
        return f"files of {manifest.name}"
    return manifest.pattern if manifest.format == "uci_mat" or not manifest.index else manifest.index.file


def _how(manifest: Manifest) -> str:
    if manifest.access.kind == "open" and (manifest.access.files or manifest.access.sums):
        return f"fetch it with `biosig-mtl data fetch {manifest.name}` or from {manifest.access.url}"
    return f"see {manifest.access.url or 'its manifest'} and `biosig-mtl data describe {manifest.name}`"
