"""What may stay in a clean copy: everything here is a list of what is allowed; what is in no list is dropped and counted."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping

from biosig_mtl.data.readers.channels import LABELS, NAMES, kind_of
from biosig_mtl.types import ChannelInfo

# Our own names of channels of a wristband; those of other kinds are the kinds themselves.
_OURS = (*NAMES, *LABELS, "acc_x", "acc_y", "acc_z", "hr")
FACTS = ("age_years", "sex_male", "height_cm", "weight_kg")
TARGETS = ("sbp", "dbp", *LABELS)
OLDEST = 90.0
"""45 CFR 164.514(b)(2)(i)(C): ages over 89 "may be aggregated into a single category of age 90 or older"."""

_UNITS = (
    *("V", "mV", "uV", "nV", "pm", "fT", "mmHg", "kPa", "cmH2O", "S", "mS", "uS", "nS", "Ohm", "kOhm", "degC", "degF", "C"),
    *("K", "g", "m/s2", "m/s^2", "deg/s", "bpm", "Hz", "%", "NU", "a.u.", "L/min", "mL", "s", "ms", "count", "counts", "bits"),
    "points",
)
_BY_FOLDED = {unit.casefold(): unit for unit in reversed(_UNITS)}
_SCALE = re.compile(r"-?\d{1,4}(\.\d{1,3})?\.\.-?\d{1,4}(\.\d{1,3})?")
_MICRO = str.maketrans("µμ", "uu")
NO_UNIT = "NU"
# An electrode by itself: whatever a device wrote behind it is free text.
_SITE = re.compile(r"(eeg[ _-]?)?((fp|af|f|fc|ft|t|tp|c|cp|p|po|o|i)(z|\d{1,2}))(?![a-z0-9])", re.IGNORECASE)


def unit_of(unit: str, gone: Counter[str]) -> str:
    """Return a unit that is one, or the scale of a rating; anything else may be a stranger's words and becomes ``NU``.

    >>> unit_of("µV", Counter()), unit_of("1..9", Counter()), unit_of("John Smith", Counter())
    ('uV', '1..9', 'NU')
    """
    word = unit.strip().translate(_MICRO)
    if _SCALE.fullmatch(word) or word in _UNITS:
        return word
    known = _BY_FOLDED.get(word.casefold(), NO_UNIT)
    if known == NO_UNIT and word:
        gone["unit that is none, now NU"] += 1
    return known


def channel_names(infos: Mapping[str, ChannelInfo], declared: Mapping[str, object], gone: Counter[str]) -> dict[str, str]:
    """Return the clean name of every channel: those that the manifest declares stay; a name from a file stays if it is known.

    A name that a device wrote may be anything. It becomes its kind (``ppg``), its electrode (``Fp1``) or a number.

    >>> infos = {n: ChannelInfo(n, "eeg", "uV", 128.0) for n in ("EEG Fp1-John", "Cz", "EEG of John")}
    >>> list(channel_names(infos, {}, Counter()).values())
    ['Fp1', 'Cz', 'eeg_1']
    """
    found: dict[str, str] = {}
    for name, info in infos.items():
        clean = name if name in declared or name in _OURS else _site(name, info.kind)
        if not clean or clean in found.values() or kind_of(clean) != info.kind:
            clean = next(c for n in range(1, len(infos) + 2) if (c := f"{info.kind}_{n}") not in found.values())
        gone["channel renamed"] += clean != name
        found[name] = clean
    return found


def _site(name: str, kind: str) -> str:
    found = _SITE.match(name.strip()) if kind == "eeg" else None
    return found[2] if found else ""


def facts_of(facts: Mapping[str, float], gone: Counter[str], *, keep_ages: bool) -> dict[str, float]:
    """Return the facts of a person that may stay; an age over 89 becomes 90 unless it is to be kept.

    >>> facts_of({"age_years": 97.0, "room": 12.0}, Counter(), keep_ages=False)
    {'age_years': 90.0}
    """
    gone["fact of a person that is in no list"] += sum(name not in FACTS for name in facts)
    kept = {name: float(value) for name, value in facts.items() if name in FACTS and math.isfinite(value)}
    if not keep_ages and kept.get("age_years", 0.0) >= OLDEST:
        gone["age over 89, now 90"] += kept["age_years"] != OLDEST
        kept["age_years"] = OLDEST
    return kept
