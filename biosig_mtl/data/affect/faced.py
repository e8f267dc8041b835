"""FACED, processed (Chen et al. 2023, doi:10.1038/s41597-023-02650-w): ``subNNN.pkl``, 28 clips of 30 s, 32 channels at 250 Hz.

The set names emotions, not ratings: what the clip was chosen for gives the class of valence (−1, 0, 1), and no arousal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from biosig_mtl.data.affect.trials import Column, Span, files, numbers, option, source_of
from biosig_mtl.data.found import Found
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.data.readers.spreadsheet import read_sheets
from biosig_mtl.data.unpickle import read_pickle
from biosig_mtl.types import DataError, Entry, Label

FS_HZ = 250.0
TRIALS, CHANNELS, SAMPLES = 28, 32, 7500
EMOTIONS = ("anger", "disgust", "fear", "sadness", "neutral", "amusement", "inspiration", "joy", "tenderness")
# Emotion of each clip, three clips each and four neutral ones.
OF_TRIAL = tuple(n for n, count in enumerate((3, 3, 3, 3, 4, 3, 3, 3, 3)) for _ in range(count))
_NEUTRAL = 4
# The order in which most public readers take the channels; others hold that A1 and A2 stand in the middle (see the manifest).
ELECTRODES = (
    *("Fp1", "Fp2", "Fz", "F3", "F4", "F7", "F8", "FC1", "FC2", "FC5", "FC6", "Cz", "C3", "C4", "T7", "T8"),
    *("CP1", "CP2", "CP5", "CP6", "Pz", "P3", "P4", "P7", "P8", "PO3", "PO4", "Oz", "O1", "O2", "A2", "A1"),
)
LAST_OF_FIRST_COHORT = 60
_MOST_BYTES, _MOST_ROWS = 1 << 20, 1000


def list_faced(root: Path, _: Mapping[str, Any]) -> Iterator[Found]:
    """Yield one record a clip (``sub000/01``), labelled by what the clip was chosen for; the stimulus is the clip."""
    for path in files(root, "sub[0-9][0-9][0-9].pkl", "Processed_data/sub[0-9][0-9][0-9].pkl", "**/sub[0-9][0-9][0-9].pkl"):
        subject = path.stem
        try:
            _array(path)
        except DataError as error:
            yield Found(subject, subject, path, reason=str(error))
            continue
        for trial, emotion in enumerate(OF_TRIAL):
            valence = float((emotion > _NEUTRAL) - (emotion < _NEUTRAL))
            yield Found(
                record=f"{subject}/{trial + 1:02d}",
                subject=subject,
                path=path,
                labels=(
                    Label("valence", valence, "-1..1", "stimulus"),
                    Label("emotion", float(emotion), f"0..{len(EMOTIONS) - 1}", "stimulus"),
                ),
                options={"trial": trial},
                stimulus=str(trial + 1),
            )


def open_faced(entry: Entry) -> LazySource:
    """Open one clip (``entry.options['trial']``, from 0): 30 s at 250 Hz.

    Channels are named by ``entry.options['electrodes']``, else by an electrode file beside the data (or one folder up), else in
    the order of `ELECTRODES`; whatever is in doubt is told in the notes.
    """
    data, trial = _array(entry.path), option(entry, "trial")
    if trial >= len(data):
        raise DataError(f"{entry.path}: no trial {trial + 1}; it has {len(data)}")
    names, notes = _electrodes(entry)
    one = data[trial]
    columns = [Column(name, name, "uV", _load(one, number)) for number, name in enumerate(names)]
    return source_of(entry, columns, Span(FS_HZ, one.shape[1], notes=notes))


def _load(one: NDArray[Any], number: int) -> Any:
    return lambda first, stop: one[number, first:stop]


def _electrodes(entry: Entry) -> tuple[Sequence[str], tuple[str, ...]]:
    """Return the names of the channels in the order of the file, and what is in doubt about them."""
    said = entry.options.get("electrodes")
    if said is not None:
        if isinstance(said, str) or len(said) != CHANNELS or len(set(said)) != CHANNELS:
            raise DataError(f"{entry.path}: option electrodes needs {CHANNELS} different names in the order of the file")
        return [str(name) for name in said], ()
    digits = entry.path.stem[3:]
    second = digits.isdigit() and int(digits) > LAST_OF_FIRST_COHORT
    doubt = (f"{entry.path.name} is of the second cohort, whose order may differ from that of the first",) if second else ()
    for folder in (entry.path.parent, entry.path.parent.parent):
        for path in sorted(folder.glob("*[Ee]lectrode*")):
            names = electrode_file(path)
            if names:
                return names, (f"order of channels is that of {path.name}", *doubt)
    disputed = "order of channels is disputed: compare it with the electrode file of the set, and say it by option electrodes"
    return ELECTRODES, (disputed, *doubt)


def electrode_file(path: Path) -> tuple[str, ...]:
    """Return the 32 names in the order in which a table (CSV, text, XLSX) lists them; none where it lists fewer."""
    if path.stat().st_size > _MOST_BYTES:
        return ()
    known = {name.lower(): name for name in ELECTRODES}
    found = dict.fromkeys(known[cell] for cell in map(str.lower, _cells(path)) if cell in known)
    return tuple(found) if len(found) == CHANNELS else ()


def _cells(path: Path) -> Iterator[str]:
    """Yield the cells of a small table, row by row."""
    if path.suffix.lower() == ".xlsx":
        yield from _sheet(path)
    elif path.suffix.lower() in {".csv", ".tsv", ".txt"}:
        text = path.read_text(encoding="utf-8", errors="replace")
        yield from (cell.strip(" \"'") for cell in re.split(r"[,;\t\r\n]", text))


def _sheet(path: Path) -> list[str]:
    try:
        rows = read_sheets(path)[0][:_MOST_ROWS]
    except DataError:
        return []
    return [str(cell).strip() for row in rows for cell in row if cell is not None]


def _array(path: Path) -> NDArray[Any]:
    return numbers(read_pickle(path), str(path), (TRIALS, CHANNELS, SAMPLES))
