"""WESAD (Schmidt et al. 2018, doi:10.1145/3242969.3242985): ``S2/S2.pkl``, chest and wrist of one person over some 100 minutes.

All streams begin and end together (the authors aligned them by a double tap). The label of every sample is the state of the
protocol, which is stress or none; valence and arousal come from the manikins that people marked after each state.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.data.affect.ratings import unit_of
from biosig_mtl.data.affect.trials import Column, Span, files, numbers, source_of, values
from biosig_mtl.data.found import Found
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.data.unpickle import read_pickle
from biosig_mtl.types import F64, I64, DataError, Entry

CHEST_HZ = 700
LABEL_HZ = 4
# Stream in the file: rate, and of each of its columns our name and unit. `Temp` is the chest's, `TEMP` the wrist's.
CHEST: dict[str, tuple[int, tuple[tuple[str, str], ...]]] = {
    "ECG": (700, (("ecg", "mV"),)),
    "EDA": (700, (("eda_chest", "uS"),)),
    "EMG": (700, (("emg", "mV"),)),
    "Resp": (700, (("resp", "%"),)),
    "Temp": (700, (("temp_chest", "degC"),)),
    "ACC": (700, (("acc_chest_x", "g"), ("acc_chest_y", "g"), ("acc_chest_z", "g"))),
}
WRIST: dict[str, tuple[int, tuple[tuple[str, str], ...]]] = {
    "BVP": (64, (("ppg", "a.u."),)),
    "EDA": (4, (("eda", "uS"),)),
    "TEMP": (4, (("temp", "degC"),)),
    "ACC": (32, (("acc_x", "g"), ("acc_y", "g"), ("acc_z", "g"))),
}
# The wristband counts 1/64 g.
_WRIST_ACC = 64.0
STRESS_OF_STATE = {1: 0.0, 2: 1.0, 3: 0.0, 4: 0.0}
_HIGHEST_STATE = 7
# Names of the conditions in the questionnaire and their state; meditation comes twice.
STATE_OF = {"Base": 1, "TSST": 2, "Fun": 3, "Medi 1": 4, "Medi 2": 4}
SAM_SCALE = (1.0, 9.0)
SAM_ORDER = ("valence", "arousal")
_MOST_APART_S = 2.0


def list_wesad(root: Path, _: Mapping[str, Any]) -> Iterator[Found]:
    """Yield one record a person (``S2``), with age, sex, height and weight from ``S2_readme.txt`` where it is there."""
    for path in files(root, "S*/S*.pkl", "S*.pkl", "**/S*/S*.pkl"):
        if re.fullmatch(r"S\d+", path.stem):
            yield Found(path.stem, path.stem, path, demographics=_person(path.with_name(f"{path.stem}_readme.txt")))


def open_wesad(entry: Entry) -> LazySource:
    """Open one person: chest channels at 700 Hz, the wrist's at 64, 32 and 4 Hz, and channels of kind ``label``.

    ``stress`` (0..1, 4 Hz) is 1 in the stress test, 0 at baseline, amusement and meditation, and NaN between and otherwise.
    ``valence`` and ``arousal`` (1..9) hold the manikin marked for each state, throughout that state; without a questionnaire
    there are none, and a note says so.
    """
    columns, seconds, notes = _streams(entry.path)
    state = _states(entry.path)[: seconds * CHEST_HZ]
    tracks = {"stress": (_stress(state), "0..1")}
    sam, missing = self_ratings(entry.path.with_name(f"{entry.path.stem}_quest.csv"), state)
    tracks |= {name: (track, unit_of(SAM_SCALE)) for name, track in sam.items()}
    columns += [Column(name, name, unit, _part(track), LABEL_HZ, label=True) for name, (track, unit) in tracks.items()]
    return source_of(entry, columns, Span(1.0, seconds, notes=notes + missing))


def self_ratings(path: Path, state: NDArray[Any]) -> tuple[dict[str, F64], tuple[str, ...]]:
    """Return valence and arousal as tracks of 4 Hz, and what could not be used.

    Rows ``# DIM`` of the questionnaire hold valence, then arousal, in the order of the conditions of row ``# ORDER`` (read from
    public code that uses the real files). The times are those of the states, not the clock of the questionnaire.
    """
    try:
        marked = _marked(path)
    except DataError as error:
        return {}, (f"no valence and arousal: {error}",)
    blocks = _blocks(state)
    tracks = {name: np.full(len(state) // (CHEST_HZ // LABEL_HZ), np.nan) for name in SAM_ORDER}
    notes = []
    for number, (condition, pair) in enumerate(marked):
        which = STATE_OF[condition]
        rank = sum(STATE_OF[name] == which for name, _ in marked[:number])
        wanted = sum(STATE_OF[name] == which for name, _ in marked)
        held = blocks.get(which, [])
        if len(held) != wanted:
            notes.append(
                f"{path.name}: '{condition}' is not used: the labels hold state {which} {len(held)} times, not {wanted}"
            )
            continue
        first, stop = (-(-edge * LABEL_HZ // CHEST_HZ) for edge in held[rank])
        for name, value in zip(SAM_ORDER, pair, strict=True):
            tracks[name][first:stop] = value
    return tracks, tuple(notes)


def _marked(path: Path) -> list[tuple[str, tuple[float, float]]]:
    """Return condition, valence and arousal of each manikin; raise `DataError` that names the row."""
    try:
        text = path.read_text(encoding="latin-1")[: 1 << 16]
    except OSError as error:
        raise DataError(f"{path.name} is missing") from error
    rows = [[cell.strip() for cell in line.split(";")] for line in text.splitlines()]
    order = next((row[1:] for row in rows if row[0] == "# ORDER"), [])
    conditions = [name for name in order if name in STATE_OF]
    given = [(line, row) for line, row in enumerate(rows, 1) if row[0] in {"# DIM", "# SAM"}]
    if not conditions or len(given) != len(conditions):
        raise DataError(f"{path.name} holds {len(given)} rows '# DIM' for {len(conditions)} conditions")
    return [(name, _pair(row, f"{path.name}, line {line}")) for name, (line, row) in zip(conditions, given, strict=True)]


def _pair(row: list[str], where: str) -> tuple[float, float]:
    try:
        valence, arousal = (float(cell) for cell in row[1:3])
    except ValueError as error:
        raise DataError(f"{where}: need valence and arousal, found '{';'.join(row)[:40]}'") from error
    for name, value in zip(SAM_ORDER, (valence, arousal), strict=True):
        if not SAM_SCALE[0] <= value <= SAM_SCALE[1]:
            raise DataError(f"{where}: {name} is {value:g}; its scale is {unit_of(SAM_SCALE)}")
    return valence, arousal


def _blocks(state: NDArray[Any]) -> dict[int, list[tuple[int, int]]]:
    """Return first and last sample (half-open) of every stretch of each state."""
    edges = np.flatnonzero(np.diff(state)) + 1
    starts, stops = np.append(0, edges), np.append(edges, len(state))
    found: dict[int, list[tuple[int, int]]] = {}
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        found.setdefault(int(state[start]), []).append((start, stop))
    return found


def _stress(state: NDArray[Any]) -> F64:
    table = np.array([STRESS_OF_STATE.get(n, np.nan) for n in range(_HIGHEST_STATE + 1)])
    track: F64 = table[state[:: CHEST_HZ // LABEL_HZ]]
    return track


def _states(path: Path) -> I64:
    state = numbers(values(read_pickle(path), str(path), "label")[0], f"{path}, label", (None,))
    found = state.astype(np.int64)
    wrong = np.flatnonzero((found < 0) | (found > _HIGHEST_STATE) | (found != state))
    if wrong.size:
        raise DataError(f"{path}, label: sample {wrong[0]} is {state[wrong[0]]}; states are 0 to {_HIGHEST_STATE}")
    return found


def _streams(path: Path) -> tuple[list[Column], int, tuple[str, ...]]:
    """Return the columns of all streams, the whole seconds that all of them have, and notes."""
    signal = values(read_pickle(path), str(path), "signal")[0]
    chest, wrist = values(signal, f"{path}, signal", "chest", "wrist")
    columns, lengths = [], {}
    for place, held, streams in (("chest", chest, CHEST), ("wrist", wrist, WRIST)):
        for name, (rate, named) in streams.items():
            where = f"{path}, {place} {name}"
            table = numbers(values(held, f"{path}, {place}", name)[0], where, (None, len(named)))
            lengths[f"{place} {name}"] = len(table) / rate
            divisor = _WRIST_ACC if (place, name) == ("wrist", "ACC") else 1.0
            columns += [
                Column(f"{place} {name}" + (f" {n + 1}" if len(named) > 1 else ""), ours, unit, _load(table, n, divisor), rate)
                for n, (ours, unit) in enumerate(named)
            ]
    lengths["label"] = len(_states(path)) / CHEST_HZ
    short, long = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
    if lengths[long] - lengths[short] > _MOST_APART_S:
        raise DataError(
            f"{path}: {short} lasts {lengths[short]:.1f} s but {long} {lengths[long]:.1f} s: they do not belong together"
        )
    seconds = int(lengths[short])
    lost = lengths[long] - seconds
    return columns, seconds, (f"{path.name}: the last {lost:.2f} s, which not all streams have, are left out",) if lost else ()


def _person(path: Path) -> dict[str, float]:
    try:
        text = path.read_text(encoding="latin-1")[: 1 << 16]
    except OSError:
        return {}
    words = {"age_years": r"Age", "height_cm": r"Height \(cm\)", "weight_kg": r"Weight \(kg\)"}
    found = {ours: re.search(rf"^{word}:\s*(\d+(?:\.\d+)?)\s*$", text, re.MULTILINE) for ours, word in words.items()}
    person = {ours: float(m[1]) for ours, m in found.items() if m}
    sex = re.search(r"^Gender:\s*(male|female)\s*$", text, re.MULTILINE | re.IGNORECASE)
    return person | ({"sex_male": float(sex[1].lower() == "male")} if sex else {})


def _load(table: NDArray[Any], number: int, divisor: float) -> Any:
    if divisor == 1.0:
        return lambda first, stop: table[first:stop, number]
    return lambda first, stop: table[first:stop, number] / divisor


def _part(track: F64) -> Any:
    return lambda first, stop: track[first:stop]
