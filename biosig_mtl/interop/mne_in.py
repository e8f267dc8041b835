"""Recordings and epochs of mne → ours. mne itself is not imported: whoever has its objects has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from biosig_mtl.data.readers.channels import match
from biosig_mtl.interop.arrays import UNKNOWN, About, record_of
from biosig_mtl.interop.mne_words import KINDS, UNITS, known, scale_of
from biosig_mtl.types import EMPTY, F32, F64, I64, Channel, DataError, Label, Record

LABEL, STIMULUS = "label/", "stimulus/"
_LABEL = re.compile(rf"{LABEL}(?P<name>[^=]+)=(?P<value>\S+) ?(?P<unit>\S*) ?(?P<source>.*)")


@dataclass(frozen=True)
class Signals:
    """Epochs as an array: ``signal`` (window, channel, time) in our units at ``fs``, and what its channels are.

    ``onset_s`` is the start of each window on the clock of the recording, ``event`` the number of the event that it was cut by.
    """

    signal: F32
    fs: float
    channels: tuple[str, ...]
    kinds: tuple[str, ...]
    units: tuple[str, ...]
    onset_s: F64
    event: I64


@dataclass(frozen=True)
class _Pick:
    """A channel of theirs: its place, our name and kind, our unit, and the factor from their unit."""

    row: int
    name: str
    kind: str
    unit: str
    factor: float


def from_mne(inst: Any, channels: Mapping[str, str | tuple[str, ...]] = EMPTY, about: About = UNKNOWN) -> Record | Signals:
    """Return a `Record` of a Raw, or the `Signals` of Epochs.

    Voltages become µV, conductance µS, temperature °C, as our readers give them; what `to_mne` wrote gets its own units back.
    Parts marked as ``boundary`` are seams. Annotations of other kinds are left behind, but for those that `to_mne` wrote.

    Parameters
    ----------
    inst
        A Raw or Epochs.
    channels
        Our name → theirs, in order of preference where there are several. Without it channels are found by their name, as in
        a file; those whose name says nothing and whose type does keep their own name.
    about
        Names, labels and demographics. Without a subject that of ``info`` is taken.

    Raises
    ------
    DataError
        None of the channels is there, or it is no object of mne.
    """
    ours = {c.__name__ for c in type(inst).__mro__} & {"BaseRaw", "BaseEpochs"}
    if not ours:
        raise DataError(f"need a Raw or Epochs of mne, got {type(inst).__name__}; for plain arrays use from_arrays")
    picks = _picks(inst, channels, about.name)
    return _signals(inst, picks) if "BaseEpochs" in ours else _record(inst, picks, about)


def _picks(inst: Any, channels: Mapping[str, str | tuple[str, ...]], where: str) -> list[_Pick]:
    names = list(inst.ch_names)
    types = inst.get_channel_types()
    ours = known(inst.info["description"])
    if ours and set(ours) == set(names) and not channels:
        return [_pick_ours(inst, row, name, *ours[name]) for row, name in enumerate(names)]
    wanted = {our: (theirs,) if isinstance(theirs, str) else tuple(theirs) for our, theirs in channels.items()}
    chosen = match(names, wanted, where)
    if not wanted:
        taken = {row for kind, row in chosen.values() if kind != "other"}
        typed = {name: (KINDS[t], row) for row, (name, t) in enumerate(zip(names, types, strict=True)) if t in KINDS}
        chosen |= {name: found for name, found in typed.items() if found[1] not in taken}
    return [_pick(inst, row, name, kind) for name, (kind, row) in chosen.items()]


def _pick_ours(inst: Any, row: int, name: str, kind: str, unit: str) -> _Pick:
    """Return a channel that `to_mne` wrote, in the unit that it had."""
    theirs, factor = scale_of(kind, unit)
    if theirs == inst.get_channel_types(picks=[row])[0]:
        return _Pick(row, name, kind, unit, 1.0 / factor)
    # Somebody changed the type since: then the unit is that of the type.
    return _pick(inst, row, name, kind)


def _pick(inst: Any, row: int, name: str, kind: str) -> _Pick:
    factor, unit = UNITS.get(int(inst.info["chs"][row]["unit"]), (1.0, ""))
    return _Pick(row, name, kind, unit, factor)


def _record(raw: Any, picks: list[_Pick], about: About) -> Record:
    fs = float(raw.info["sfreq"])
    values = raw.get_data(picks=[pick.row for pick in picks])
    channels = {
        p.name: Channel(p.name, p.kind, p.unit, fs, (values[n] * p.factor).astype(np.float32), raw.ch_names[p.row])
        for n, p in enumerate(picks)
    }
    told = about if about.subject != UNKNOWN.subject else replace(about, subject=_subject(raw) or about.subject)
    marks = [(float(a["onset"]) - float(raw.first_time), str(a["description"])) for a in raw.annotations]
    length_s = raw.n_times / fs
    seams = [at for at, text in marks if "boundary" in text.lower() and 0 < at < length_s]
    labels = [_label(found, at) for at, text in marks if (found := _LABEL.fullmatch(text))]
    stimuli = [text.removeprefix(STIMULUS) for _, text in marks if text.startswith(STIMULUS)]
    return record_of(
        channels,
        told,
        seams_s=np.unique(np.array(seams, np.float64)),
        labels=about.labels or tuple(labels),
        stimulus=about.stimulus or (stimuli[0] if stimuli else ""),
    )


def _label(found: re.Match[str], at: float) -> Label:
    whole, source = found["unit"].endswith("*"), found["source"]
    unit = found["unit"].removesuffix("*")
    return Label(found["name"], float(found["value"]), unit, source or "cuff", None if whole else at)


def _subject(raw: Any) -> str:
    told = str((raw.info["subject_info"] or {}).get("his_id", "")).strip()
    # In EDF an X stands for what is not told.
    return "" if told == "X" else told


def _signals(epochs: Any, picks: list[_Pick]) -> Signals:
    fs = float(epochs.info["sfreq"])
    values = epochs.get_data(picks=[pick.row for pick in picks], copy=True)
    factors = np.array([pick.factor for pick in picks])
    return Signals(
        signal=(values * factors[:, None]).astype(np.float32),
        fs=fs,
        channels=tuple(pick.name for pick in picks),
        kinds=tuple(pick.kind for pick in picks),
        units=tuple(pick.unit for pick in picks),
        onset_s=epochs.events[:, 0] / fs + float(epochs.tmin),
        event=epochs.events[:, 2].astype(np.int64),
    )
