"""How much there is beside the channels in a file that could tell who it is of: counted by kind, never quoted.

A count is what is found without opening the samples. It is no search for names: nothing beside the channels is copied, whether
it was counted or not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from biosig_mtl.data.readers.bundle import open_bundle
from biosig_mtl.data.readers.files import read_start
from biosig_mtl.types import DataError, Entry

_HEADER_BYTES = 1 << 20
# The start of both EDF fields that says "not known" (EDF+ §2.1.3).
_EDF_UNKNOWN = ("", "X X X X", "Startdate X X X X")


def inventory(entry: Entry) -> Counter[str]:
    """Return how often each kind of text is in the files of a record; empty for a format that is not looked into."""
    look = _LOOK.get(entry.format)
    try:
        return Counter() if look is None else look(entry.path)
    except (DataError, OSError, ValueError):
        return Counter()


def _wfdb(path: Path) -> Counter[str]:
    headers = [path, *path.parent.glob(f"{path.stem}_*.hea")]
    lines = [line.strip() for p in headers for line in read_start(p, _HEADER_BYTES).decode("latin-1").splitlines()]
    samples = {".hea", ".dat", ".mat", ".json", ".csv", ".txt"}
    beside = [p for p in path.parent.glob(f"{path.stem}.*") if p.suffix not in samples]
    return Counter({"comment line": sum(line.startswith("#") for line in lines), "annotation file": len(beside)})


def _edf(path: Path) -> Counter[str]:
    head = read_start(path, 256).decode("latin-1")
    count = int(head[252:256])
    body = read_start(path, 256 * (count + 1))[256:].decode("latin-1")
    labels = [body[16 * n : 16 * n + 16].strip() for n in range(count)]
    devices = [body[16 * count + 80 * n : 16 * count + 80 * n + 80].strip() for n in range(count)]
    return Counter(
        {
            "header field on the patient": head[8:88].strip() not in _EDF_UNKNOWN,
            "header field on the recording": head[88:168].strip() not in _EDF_UNKNOWN,
            "header field on a sensor": sum(bool(device) for device in devices),
            "channel of annotations": sum("annotations" in label.lower() for label in labels),
        }
    )


def _e4(path: Path) -> Counter[str]:
    with open_bundle(path) as bundle:
        names = [name.rsplit("/", 1)[-1].lower() for name in bundle.names]
    return Counter(
        {
            "file of marks": sum(name.startswith(("tags", "ibi")) for name in names),
            "other file of the device": sum(not name.endswith(".csv") for name in names),
        }
    )


def _table(path: Path) -> Counter[str]:
    if path.suffix.lower() not in {".parquet", ".pq"}:
        lines = read_start(path, _HEADER_BYTES).decode("latin-1").splitlines()
        return Counter({"comment line": sum(line.lstrip().startswith(("#", "%", "//")) for line in lines)})
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return Counter({"entry of file metadata": len(file.schema_arrow.metadata or {})})


def _mne(path: Path) -> Counter[str]:
    import warnings

    import mne

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = mne.io.read_raw(path, preload=False, verbose="ERROR")
    about = ("subject_info", "experimenter", "description", "proj_name", "device_info", "helium_info", "proj_id")
    return Counter(
        {"header field on the recording": sum(bool(raw.info.get(key)) for key in about), "mark": len(raw.annotations)}
    )


_LOOK: Mapping[str, Callable[[Path], Counter[str]]] = {"wfdb": _wfdb, "edf": _edf, "e4": _e4, "table": _table, "mne": _mne}
