"""The UCI cuff-less set in its original layout: MATLAB v7.3 cells of glued 8-s blocks.

Each cell is one record: columns PPG, ABP and ECG at 125 Hz. The authors cut out what they disliked and glued the rest, so that
every 1000 samples there may be a jump in time that the file does not mark.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.data.matlab import check_dataset, open_hdf5
from biosig_mtl.data.readers.channels import match
from biosig_mtl.data.readers.samples import as_samples
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.types import F32, F64, I64, ChannelInfo, DataError, Entry

COLUMNS = ("PPG", "ABP", "ECG")
UNITS = ("NU", "mmHg", "mV")
FS_HZ = 125.0
BLOCK = 1000
# Found on 4,705 joints of the WFDB copy whose truth is known (1,343 seams): see `find_seams`.
THRESHOLD = 1.4
_SLAB = 64


def open_uci_mat(entry: Entry) -> LazySource:
    """Open one cell: ``entry.options`` names the variable (``key``) and the cell (``cell``, from 0); by default the first."""
    with open_hdf5(entry.path) as file:
        cells = _cells(file, entry.path)
        key, number = entry.options.get("key", next(iter(cells))), int(entry.options.get("cell", 0))
        if not 0 <= number < cells.get(key, 0):
            raise DataError(
                f"{entry.path}: no cell {number} in '{key}'; it has {', '.join(f'{k}: {n}' for k, n in cells.items())}"
            )
        samples, _ = _cell(file, key, number, entry.path).shape
        seams = _all_seams(file, key, number, entry.path)
    chosen = match(COLUMNS, entry.channels, str(entry.path))
    columns = {ours: position for ours, (_, position) in chosen.items()}

    def fetch(first: int, stop: int) -> dict[str, F32]:
        with open_hdf5(entry.path) as again:
            cell = _cell(again, key, number, entry.path)
            return {ours: as_samples(cell.column(c, first, stop)) for ours, c in columns.items()}

    whole = "key" not in entry.options and sum(cells.values()) > 1
    return LazySource(
        entry=entry,
        channels={ours: ChannelInfo(ours, chosen[ours][0], UNITS[c], FS_HZ) for ours, c in columns.items()},
        source_names={ours: COLUMNS[c] for ours, c in columns.items()},
        fs=FS_HZ,
        frames=samples,
        fetch=fetch,
        seams_s=seams / FS_HZ,
        notes=(f"{entry.path.name}: cell {number + 1} of {sum(cells.values())} is read",) if whole else (),
    )


def count_cells(path: Path) -> dict[str, int]:
    """Return the number of cells of every cell variable in a file."""
    with open_hdf5(path) as file:
        return _cells(file, path)


def find_seams(samples: F64, threshold: float = THRESHOLD) -> F64:
    """Return the sample numbers where two glued blocks do not continue each other.

    A joint is a seam if, in any channel, the second difference across it is more than ``threshold`` times what is usual in
    the two blocks (the mean of their 99th percentiles, plus 0.2 % of the channel's range against steps of the converter).
    A second difference is blind to the slope of a pulse and sees a jump of either level or slope.

    Parameters
    ----------
    samples
        Shape (sample, channel).
    threshold
        On 4,705 joints with known truth 1.4 finds all 1,343 seams, and 1.7 % of what it finds is none. A missed seam
        spoils a window, a false one costs a window: so it leans to finding.
    """
    joints = np.arange(BLOCK, samples.shape[0] - 1, BLOCK)
    if joints.size == 0:
        return np.empty(0)
    # Values that no pulse has make no seam; what is infinite becomes NaN where it is read.
    with np.errstate(over="ignore", invalid="ignore"):
        return _seams_at(samples, joints, threshold)


def _seams_at(samples: F64, joints: I64, threshold: float) -> F64:
    bend = np.abs(np.diff(samples, n=2, axis=0))
    # bend[i] spans the samples i, i+1, i+2: two of them lie across a joint.
    at_joint = np.fmax(bend[joints - 2], bend[joints - 1])
    usual = np.array([_usual(part) for part in np.split(samples, joints)])
    seams: F64 = joints[(at_joint > threshold * (usual[:-1] + usual[1:]) / 2).any(axis=1)].astype(np.float64)
    return seams


def _usual(block: F64) -> F64:
    if block.shape[0] < 3:
        return np.zeros(block.shape[1])
    # Joints of a block with its neighbours are outside of it: what is left is the signal's own.
    bend = np.percentile(np.abs(np.diff(block, n=2, axis=0)), 99, axis=0)
    result: F64 = bend + 0.002 * np.ptp(block, axis=0)
    return result


class _Cell:
    """One cell as (sample, channel), whichever way it lies in the file."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.upright = dataset.shape[1] == len(COLUMNS)
        self.shape = dataset.shape if self.upright else dataset.shape[::-1]

    def column(self, channel: int, first: int, stop: int) -> F64:
        part = self.dataset[first:stop, channel] if self.upright else self.dataset[channel, first:stop]
        with np.errstate(invalid="ignore"):
            return np.asarray(part, np.float64)

    def rows(self, first: int, stop: int) -> F64:
        return np.stack([self.column(c, first, stop) for c in range(len(COLUMNS))], axis=1)


def _cells(file: Any, path: Path) -> dict[str, int]:
    import h5py

    found = {}
    for key in file:
        # A link may lead to any file that the reader may open: data of a set never need that.
        if not isinstance(file.get(key, getlink=True), h5py.HardLink):
            raise DataError(f"{path}: '{key}' is a link to elsewhere; links are not followed")
        item = file[key]
        if isinstance(item, h5py.Dataset) and h5py.check_ref_dtype(item.dtype) is h5py.Reference:
            check_dataset(item, key, path)
            found[key] = int(item.size)
    if not any(found.values()):
        raise DataError(f"{path}: holds no MATLAB cells (it has {', '.join(file) or 'nothing'})")
    return found


def _cell(file: Any, key: str, number: int, path: Path) -> _Cell:
    import h5py

    references = file[key]
    dataset = file[references[np.unravel_index(number, references.shape)]]
    if isinstance(dataset, h5py.Dataset):
        check_dataset(dataset, f"cell {number} of {key}", path)
    if getattr(dataset, "ndim", 0) != 2 or len(COLUMNS) not in dataset.shape or dataset.dtype.kind not in "fiu":
        raise DataError(f"{path}: cell {number} of '{key}' is not a table of PPG, ABP and ECG")
    return _Cell(dataset)


def _all_seams(file: Any, key: str, number: int, path: Path) -> F64:
    """Find the seams slab by slab: neighbouring slabs share a block, so that every joint is seen with both its blocks."""
    cell = _cell(file, key, number, path)
    ends = range(0, max(cell.shape[0] - BLOCK, 1), _SLAB * BLOCK)
    slabs = (cell.rows(first, min(first + (_SLAB + 1) * BLOCK, cell.shape[0])) for first in ends)
    return np.concatenate([first + find_seams(slab) for first, slab in zip(ends, slabs, strict=True)])
