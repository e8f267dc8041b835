"""MAHNOB-HCI: one folder a trial, with a description in XML and a BDF of EEG, ECG, skin conductance, respiration, temperature.

A recording begins 30 s before the film clip and ends 30 s after it; two marks in the channel Status, code 16, tell where the
clip begins and ends (Soleymani et al. 2012, IEEE Trans Affect Comput 3:42). The upper bits of Status belong to the amplifier.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.data.affect.ratings import ratings
from biosig_mtl.data.affect.session_xml import read_elements
from biosig_mtl.data.found import Found, natural
from biosig_mtl.data.readers.channels import kind_of
from biosig_mtl.data.readers.clip import Clip
from biosig_mtl.data.readers.edf import open_edf, read_codes
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.types import F32, F64, ChannelInfo, DataError, Entry

MARK = 16
REST_S = 30.0
SCALE = (1.0, 9.0)
_FELT = {"valence": "feltVlnc", "arousal": "feltArsl", "dominance": "feltCtrl"}
_OHM = {"ohm", "ohms", "Ω"}
# A clip whose marks lie further from its stated length than this is told.
_TOLERANCE_S = 2.0


def list_mahnob(root: Path, _: Mapping[str, Any]) -> Iterator[Found]:
    """List one record a session of the emotion experiment; its stimulus is the film (``mediaFile``).

    Sessions of the other experiments (no ``feltArsl``), without a BDF or with several, with a rating off the scale or an
    unreadable description are told with the reason.

    Raises
    ------
    DataError
        No folder here, or in ``Sessions``, holds a ``session.xml``.
    """
    base = root / "Sessions" if (root / "Sessions").is_dir() else root
    paths = sorted(base.glob("*/session.xml"), key=lambda p: natural(p.parent.name))
    if not paths:
        raise DataError(f"{root}: no folder Sessions/<number> with a session.xml of MAHNOB-HCI")
    for path in paths:
        found = Found(f"session{path.parent.name}", "", path)
        try:
            yield _session(found, path)
        except DataError as error:
            yield replace(found, reason=str(error))


def _session(found: Found, path: Path) -> Found:
    elements = read_elements(path)
    session: Mapping[str, str] = next((a for name, a in elements if name == "session"), {})
    subject = next((a.get("id", "") for name, a in elements if name == "subject"), "")
    if not (session.get("feltArsl") and session.get("feltVlnc")):
        return replace(
            found, subject=subject, reason=f"{path}: no feltArsl and feltVlnc: not a trial of the emotion experiment"
        )
    if not subject:
        return replace(found, reason=f"{path}: names no subject")
    signals = sorted(path.parent.glob("*.bdf"))
    if len(signals) != 1:
        return replace(found, subject=subject, reason=f"{path.parent}: holds {len(signals)} BDF files; need one")
    felt = {name: session[word] for name, word in _FELT.items() if session.get(word)}
    length = _float(session.get("cutLenSec"))
    return replace(
        found,
        subject=subject,
        path=signals[0],
        labels=ratings(felt, SCALE, str(path)),
        stimulus=session.get("mediaFile", "") or session.get("cutNr", ""),
        options={"clip_s": length} if math.isfinite(length) else {},
    )


def _float(word: str | None) -> float:
    try:
        return float(word or "nan")
    except ValueError:
        return math.nan


def open_mahnob(entry: Entry) -> Clip:
    """Open one trial: the clip, and in front of it up to 30 s of rest as its baseline.

    A channel of the manifest may be named as a difference, ``EXG3-EXG1``: the electrodes of the ECG were recorded one by one.
    Skin conductance that the header gives in ohm is turned into µS (10⁶ over it).

    Raises
    ------
    DataError
        The BDF is not readable, or has fewer than the two marks of the clip's begin and end.
    """
    start, stop, notes = _marks(entry)
    source = _differences(entry)
    stated = float(entry.options.get("clip_s", math.nan))
    if abs(stop - start - stated) > _TOLERANCE_S:
        notes = (*notes, f"{entry.path.name}: its marks lie {stop - start:.1f} s apart, the clip lasts {stated:.1f} s")
    begin = max(start - REST_S, 0.0)
    return Clip(source, entry, begin, stop, (0.0, start - begin) if start > begin else None, notes=notes)


def _marks(entry: Entry) -> tuple[float, float, tuple[str, ...]]:
    """Return where the clip begins and ends, in seconds."""
    words, fs = read_codes(entry.path)
    codes = words & 0xFF
    onsets = np.flatnonzero((codes == MARK) & (np.concatenate([[0], codes[:-1]]) != MARK))
    if onsets.size < 2:
        raise DataError(
            f"{entry.path}: Status holds {onsets.size} marks of code {MARK}; need two, where the clip begins and ends"
        )
    more = (f"{entry.path.name}: {onsets.size} marks of code {MARK}; the first two are taken",) if onsets.size > 2 else ()
    return float(onsets[0] / fs), float(onsets[1] / fs), more


def _differences(entry: Entry) -> LazySource:
    """Open the BDF; channels that are named as a difference of two are computed."""
    pairs = {ours: _pair(names) for ours, names in entry.channels.items()}
    plain = {ours: names for ours, names in entry.channels.items() if pairs[ours] is None}
    for ours, pair in pairs.items():
        for n, name in enumerate(pair or ()):
            plain[f"{ours}#{n}"] = (name,)
    source = open_edf(replace(entry, channels=plain))
    made = [ours for ours, pair in pairs.items() if pair and {f"{ours}#0", f"{ours}#1"} <= set(source.channels)]
    kept = [name for name in source.channels if "#" not in name]
    ohms = {name for name in kept if kind_of(name) == "eda" and source.channels[name].unit.strip().lower() in _OHM}

    def fetch(first: int, stop: int) -> dict[str, F32]:
        samples = source.fetch(first, stop)
        out = {name: _conductance(samples[name]) if name in ohms else samples[name] for name in kept}
        return out | {ours: samples[f"{ours}#0"] - samples[f"{ours}#1"] for ours in made}

    infos = {name: replace(source.channels[name], unit="uS") if name in ohms else source.channels[name] for name in kept}
    names = {name: source.source_names[name] for name in kept}
    for ours in made:
        first, second = (source.source_names[f"{ours}#{n}"] for n in (0, 1))
        info = source.channels[f"{ours}#0"]
        infos[ours], names[ours] = ChannelInfo(ours, kind_of(ours), info.unit, info.fs), f"{first}-{second}"
    return replace(source, entry=entry, channels=infos, source_names=names, fetch=fetch)


def _pair(names: tuple[str, ...]) -> tuple[str, str] | None:
    first, dash, second = names[0].partition("-")
    return (first.strip(), second.strip()) if dash and first.strip() and second.strip() else None


def _conductance(ohms: F32) -> F32:
    out: F64 = np.full(ohms.shape, np.nan)
    np.divide(1e6, ohms, out=out, where=ohms > 0)
    return out.astype(np.float32)
