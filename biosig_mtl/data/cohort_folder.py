"""Folders that hold a SIMULATED cohort and nothing else: made whole or not at all, and left alone where they are right."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from biosig_mtl.types import DataError

COMMENT = "simulated by biosig_mtl, not a person"
MARKER = "simulated.json"


def publish(target: Path, name: str, settings: Mapping[str, object], fill: Callable[[Path], None]) -> Path:
    """Write a cohort with ``fill`` unless the folder holds it; return the folder.

    A folder that holds other settings is replaced; one that holds anything else is refused. Nobody ever sees half a cohort: it
    appears by a rename.

    Parameters
    ----------
    target
        Where it goes; made if it is not there.
    name
        Digest of the settings and of the version of the simulator: the same name, the same bytes.
    settings
        Told in the marker beside the data.
    fill
        Writes all files into the empty folder it is given.

    Raises
    ------
    DataError
        The folder holds something else than a simulated cohort.
    """
    if holds(target, name):
        return target
    if target.exists() and not (target.is_dir() and ((target / MARKER).is_file() or not any(target.iterdir()))):
        raise DataError(f"{target}: holds something else than a simulated cohort; choose an empty folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        fill(made)
        _mark(made, name, settings)
        made.chmod(0o755)
        _put(made, target, name)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return target


def holds(folder: Path, name: str) -> bool:
    """Return whether this very cohort lies there, whole."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        sizes = {file: (folder / file).stat().st_size for file in marker["bytes"]}
        return bool(marker["digest"] == name and sizes == marker["bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_csv(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table with a heading."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


def _mark(folder: Path, name: str, settings: Mapping[str, object]) -> None:
    sizes = {p.relative_to(folder).as_posix(): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    marker = {"what": COMMENT, "digest": name, "settings": dict(settings), "bytes": sizes}
    (folder / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")


def _put(made: Path, target: Path, name: str) -> None:
    """Move a finished cohort into place; somebody who was faster with the same cohort wins."""
    _clear(target)
    try:
        made.replace(target)
    except OSError:
        if not holds(target, name):
            raise


def _clear(target: Path) -> None:
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
        target.replace(old)
        shutil.rmtree(old)
