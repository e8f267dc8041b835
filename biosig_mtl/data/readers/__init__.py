"""One module a format; the table `READERS` names them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from biosig_mtl.data.found import Found
from biosig_mtl.data.readers.channels import fit
from biosig_mtl.data.readers.deidentified import open_deidentified
from biosig_mtl.data.readers.e4 import looks_like_e4, open_e4
from biosig_mtl.data.readers.edf import open_edf
from biosig_mtl.data.readers.files import check_file, read_start
from biosig_mtl.data.readers.mne_file import SUFFIXES as MNE_SUFFIXES
from biosig_mtl.data.readers.mne_file import open_mne
from biosig_mtl.data.readers.ppg_bp import looks_like_ppg_bp, open_ppg_bp
from biosig_mtl.data.readers.tables import open_table
from biosig_mtl.data.readers.uci_mat import open_uci_mat
from biosig_mtl.data.readers.wfdb_record import open_wfdb
from biosig_mtl.recipe import choose
from biosig_mtl.types import DataError, Entry, Source

Reader = Callable[[Entry], Source]
Lister = Callable[[Path, Mapping[str, Any]], Iterator[Found]]


def _reader(module: str) -> Reader:
    """Return the function ``open_<format>`` of a module, which is imported when it is first used."""
    return lambda entry: getattr(import_module(f"biosig_mtl.data.{module}"), f"open_{module.rpartition('.')[2]}")(entry)


def _lister(module: str) -> Lister:
    """Return the function ``list_<format>`` of a module, which is imported when it is first used."""
    name = f"list_{module.rpartition('.')[2]}"
    return lambda root, options: getattr(import_module(f"biosig_mtl.data.{module}"), name)(root, options)


# Data sets that have a module of their own: ``open_<format>`` and ``list_<format>`` in the module of that name. They stand on
# the general readers, so they are imported late: otherwise the two would import each other.
_AFFECT = (
    "mahnob",
    "kemocon",
    "gameemo",
    "case",
    "amigos",
    "dasps",
    "deap",
    "deap_bdf",
    "dreamer",
    "faced",
    "seed",
    "wesad",
    "stress_predict",
)

READERS: dict[str, Reader] = {
    "wfdb": open_wfdb,
    "uci_mat": open_uci_mat,
    "ppg_bp": open_ppg_bp,
    "table": open_table,
    "edf": open_edf,
    "mne": open_mne,
    "e4": open_e4,
    "paired": _reader("readers.paired"),
    "deidentified": open_deidentified,
    **{name: _reader(f"affect.{name}") for name in _AFFECT},
}

# Formats whose records are found by rules of their own: folder of the set and the manifest's options → records.
LISTERS: dict[str, Lister] = {
    "e4": _lister("readers.e4"),
    "paired": _lister("readers.paired"),
    **{name: _lister(f"affect.{name}") for name in _AFFECT},
}

_BY_SUFFIX = {
    ".hea": "wfdb",
    ".dat": "wfdb",
    ".csv": "table",
    ".tsv": "table",
    ".parquet": "table",
    ".pq": "table",
    ".edf": "edf",
    ".bdf": "edf",
    **dict.fromkeys(MNE_SUFFIXES, "mne"),
}
_NONE: Mapping[str, Any] = MappingProxyType({})


def open_source(entry: Entry) -> Source:
    """Open a record with the reader of its format; nothing but headers is read yet.

    Raises
    ------
    RecipeError
        The format has no reader.
    DataError
        The recording cannot be read: one line that names the file.
    """
    return READERS[choose(entry.format, READERS, "format")](entry)


def entry_for(
    path: str | Path, channels: Mapping[str, tuple[str, ...]] | None = None, options: Mapping[str, Any] = _NONE
) -> Entry:
    """Describe a single recording that belongs to no data set.

    Parameters
    ----------
    path
        A file, or a WFDB record by its name without suffix.
    channels
        Our channel name → names in the file in order of preference; without it channels are guessed by name.
    options
        What the reader of the format takes: ``fs_hz`` and ``time`` of tables, ``key`` and ``cell`` of MATLAB cells.

    Returns
    -------
    Entry
        Record and subject are named by the file.
    """
    given = Path(path)
    beside = given.parent / (given.name + ".hea")
    if not given.suffix and beside.is_file():
        given = beside
    form = _sniff(given)
    # The header speaks for the file of samples beside it.
    given = given.with_suffix(
        {"wfdb": ".hea", "mne": ".vhdr" if given.suffix == ".eeg" else given.suffix}.get(form, given.suffix)
    )
    return Entry(
        dataset="own",
        record=fit(given.stem),
        subject=fit(given.stem),
        session="1",
        path=given,
        format=form,
        channels={ours: tuple(names) for ours, names in (channels or {}).items()},
        options=options,
    )


def _sniff(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix == ".zip" or (path.is_dir() and looks_like_e4(path)):
        return "e4"
    if suffix in {".mat", ".dat", ".eeg"}:
        return _by_company(path, suffix)
    if suffix == ".txt":
        check_file(path)
        return "ppg_bp" if looks_like_ppg_bp(path) else "table"
    if path.name.lower().endswith(".fif.gz"):
        return "mne"
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    check_file(path)
    others = ".mat (UCI cells), .txt (PPG-BP), a zip or folder of an Empatica E4"
    raise DataError(f"{path}: format not known; readable are {', '.join(sorted(_BY_SUFFIX))}, {others}")


def _by_company(path: Path, suffix: str) -> str:
    """Tell the format of a file by what lies beside it: samples of a WFDB record may be called .mat."""
    if path.with_suffix(".hea").is_file():
        return "wfdb"
    check_file(path)
    if suffix == ".mat" and read_start(path, 6) == b"MATLAB":
        return "uci_mat"
    if suffix == ".mat":
        raise DataError(f"{path}: is no MATLAB file")
    header = path.with_suffix(".vhdr" if suffix == ".eeg" else ".hea")
    if header.is_file():
        return "mne"
    raise DataError(f"{path}: its header {header.name} is missing")
