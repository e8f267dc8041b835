"""Where electrodes of the extended 10-20 system (the 10-10 system) lie on the head, from their names.

The positions are computed from the system's own definition on a sphere, not measured on a head: steps of ten per cent along
the line from nasion to inion, a ring through the forehead, the ears and the back of the head that is divided in the same way,
and rows in between, each on the circle through its two ends on the ring and its middle.

Coordinates: unit sphere, x to the right, y to the front, z up (RAS). Radians of a step: the line from nasion to inion spans
230° of the sphere that fits a head, so ten per cent are 23° (the convention of the common electrode caps), and the ring lies
at 92° from the vertex.

Sources: Klem et al., "The ten-twenty electrode system of the International Federation", Electroencephalogr Clin Neurophysiol
Suppl 52 (1999); Oostenveld & Praamstra, "The five percent electrode system", Clin Neurophysiol 112 (2001), for the names and
rows. Deviations: the rows are divided in equal angles (on a head,
in equal lengths of skin); mastoids (M1, M2) stand at TP9 and TP10, some 10° above their true place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Place = tuple[float, float, float]

STEP_RAD = np.deg2rad(23.0)
"""Ten per cent of the way from nasion to inion."""

# Middle electrodes: steps from the vertex, towards the nose.
_MIDDLE = {"Nz": 5, "Fpz": 4, "AFz": 3, "Fz": 2, "FCz": 1, "Cz": 0, "CPz": -1, "Pz": -2, "POz": -3, "Oz": -4, "Iz": -5}
# Rows: name inside, name from the ring outward, tenths of the ring from the forehead.
_ROWS = (("AF", "AF", 2), ("F", "F", 3), ("FC", "FT", 4), ("C", "T", 5), ("CP", "TP", 6), ("P", "P", 7), ("PO", "PO", 8))

# Names before the system of 1991, and places with names of their own that lie at or next to one of the system.
_OTHER_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8", "M1": "TP9", "M2": "TP10", "CB1": "PO9", "CB2": "PO10"}

_REGIONS = {"N": "frontal", "FP": "frontal", "AF": "frontal", "F": "frontal", "FC": "central", "C": "central", "CP": "central"}
_REGIONS |= {"FT": "temporal", "T": "temporal", "TP": "temporal", "A": "temporal"}
_REGIONS |= {"P": "parietal", "PO": "occipital", "O": "occipital", "I": "occipital"}


def _at(azimuth_rad: float, polar_rad: float) -> NDArray[np.float64]:
    """Return the place at an angle from the nose (to the right positive) and an angle from the vertex."""
    across = np.sin(polar_rad)
    return np.array([across * np.sin(azimuth_rad), across * np.cos(azimuth_rad), np.cos(polar_rad)])


def _along(middle: NDArray[np.float64], end: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Return the place that lies ``share`` of the way from the middle to the end of a row, on the row's circle."""
    mirrored = end * np.array([-1.0, 1.0, 1.0])
    normal = np.cross(end - middle, mirrored - middle)
    normal /= np.linalg.norm(normal)
    center = normal * (normal @ middle)
    first, last = middle - center, end - center
    angle = np.arccos(np.clip(first @ last / (first @ first), -1.0, 1.0))
    return np.asarray(center + (np.sin((1 - share) * angle) * first + np.sin(share * angle) * last) / np.sin(angle))


def _all_places() -> dict[str, Place]:
    """Compute every position of the 10-10 system."""
    places = {name: _at(0.0, steps * STEP_RAD) for name, steps in _MIDDLE.items()}
    for left in (True, False):
        sign, extra = (-1.0, 0) if left else (1.0, 1)
        for inside, outside, tenth in _ROWS:
            azimuth = sign * tenth * np.pi / 10
            ring = _at(azimuth, 4 * STEP_RAD)
            for quarter, number in enumerate((1, 3, 5), start=1):
                places[f"{inside}{number + extra}"] = _along(places[f"{inside}z"], ring, quarter / 4)
            places[f"{outside}{7 + extra}"] = ring
            places[f"{outside}{9 + extra}"] = _at(azimuth, 5 * STEP_RAD)
        places[f"Fp{1 + extra}"] = _at(sign * np.pi / 10, 4 * STEP_RAD)
        places[f"O{1 + extra}"] = _at(sign * 9 * np.pi / 10, 4 * STEP_RAD)
        places[f"O{9 + extra}"] = _at(sign * 9 * np.pi / 10, 5 * STEP_RAD)
        places[f"A{1 + extra}"] = _at(sign * np.pi / 2, 5.5 * STEP_RAD)
    return {name: (float(p[0]), float(p[1]), float(p[2])) for name, p in places.items()}


POSITIONS: dict[str, Place] = _all_places()
"""Name of the 10-10 system → place on the unit sphere (x right, y front, z up)."""

_BY_UPPER = {name.upper(): name for name in POSITIONS} | _OTHER_NAMES
_REFERENCES = {"REF", "LE", "AR", "AVG", "AVE", "AV", "CAR", "MEAN", "UV"}
_REFERENCES |= {"A1", "A2", "A1A2", "M1", "M2", "M1M2", "TP9", "TP10"}


def canonical(name: str) -> str | None:
    """Return the 10-10 name that a channel's name means, or None where it means no single place.

    Case does not matter; ``EEG`` in front, dots behind and a reference behind (``-REF -LE -A1 -M2 -AVG`` …) are put aside; old
    names are translated (T3 → T7, T4 → T8, T5 → P7, T6 → P8; M1, M2 → TP9, TP10; CB1, CB2 → PO9, PO10).

    Examples
    --------
    >>> canonical("EEG FP1-REF"), canonical("t3"), canonical("Fc5."), canonical("F3-C3"), canonical("hEOG")
    ('Fp1', 'T7', 'FC5', None, None)
    """
    words = re.split(r"[\s_:/-]+", re.sub(r"^EEG[\s._:-]*(?=\w)", "", name.strip().upper()).strip(" ._:-"))
    if not words or any(word.strip(".") not in _REFERENCES for word in words[1:]):
        return None
    return _BY_UPPER.get(words[0].strip("."))


def position(name: str) -> Place | None:
    """Return where an electrode lies on the unit sphere (x right, y front, z up), or None where its name is not known.

    Examples
    --------
    >>> position("Cz"), position("EMG1")
    ((0.0, 0.0, 1.0), None)
    """
    known = canonical(name)
    return None if known is None else POSITIONS[known]


def positions(names: Iterable[str]) -> NDArray[np.float64]:
    """Return the places of many electrodes, shape (channel, 3), NaN where a name is not known."""
    unknown = (np.nan, np.nan, np.nan)
    return np.array([position(name) or unknown for name in names], np.float64).reshape(-1, 3)


def flat(name: str) -> tuple[float, float] | None:
    """Return where an electrode lies on a map of the head seen from above, or None where its name is not known.

    Azimuthal equidistant projection: the distance from the middle is the angle from the vertex, scaled such that nasion and
    inion (115°) lie at distance 1. The outline of the head is that circle; x points right, y to the nose.
    """
    place = position(name)
    if place is None:
        return None
    x, y, z = place
    across = float(np.hypot(x, y))
    if across < 1e-12:
        return (0.0, 0.0)
    scale = float(np.arctan2(across, z)) / (5 * float(STEP_RAD) * across)
    return (x * scale, y * scale)


def side(name: str) -> int | None:
    """Return −1 for the left side (odd numbers), +1 for the right (even), 0 for the middle; None where it is not known."""
    known = canonical(name)
    if known is None:
        return None
    number = re.search(r"\d+$", known)
    if number is None:
        return 0
    return -1 if int(number[0]) % 2 else 1


def mirror(name: str) -> str | None:
    """Return the 10-10 name of the electrode opposite (``F3`` → ``F4``, ``TP10`` → ``TP9``); a middle one is its own.

    None where the name is not known.
    """
    known, where = canonical(name), side(name)
    if known is None or not where:
        return known
    letters, number = re.fullmatch(r"([A-Za-z]+)(\d+)", known).groups()  # type: ignore[union-attr]
    return f"{letters}{int(number) - where}"


def pairs(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the pairs (left, right) of opposite electrodes among channels, by the names given, in the order of the left ones.

    Examples
    --------
    >>> pairs(["Fp1", "Cz", "T4", "EEG FP2", "T7"])
    (('Fp1', 'EEG FP2'), ('T7', 'T4'))
    """
    listed = list(names)
    by_place = {known: name for name in reversed(listed) if (known := canonical(name)) is not None}
    left = [name for name in listed if side(name) == -1 and by_place[str(canonical(name))] == name]
    return tuple((name, by_place[opposite]) for name in left if (opposite := mirror(name)) in by_place)


def region(name: str) -> str | None:
    """Return ``frontal central temporal parietal occipital``, by the letters of the name; None where it is not known."""
    known = canonical(name)
    return None if known is None else _REGIONS[known.rstrip("0123456789z").upper()]
