"""A record whose pressures are known exactly: straight lines from foot to peak to foot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from biosig_mtl.types import F64, Beats, Channel, Quality, Record

FS = 125.0


def known_record(systolic: F64, diastolic: F64, period: int = 100, rise: int = 20, lead: int = 10, tail: int = 30) -> Record:
    """Return a record with one beat a value; beat *i* starts at sample ``lead + i × period``, ``period`` samples long.

    ``diastolic[i]`` is the pressure at its foot, ``systolic[i]`` at its peak. The pulse is the pressure one sample later.
    """
    n = systolic.size
    onset = lead + period * np.arange(n)
    at = np.concatenate([onset, onset + rise, [0, lead + period * n, lead + period * n + tail - 1]])
    value = np.concatenate([diastolic, systolic, [diastolic[0], diastolic[-1], diastolic[-1]]])
    order = np.argsort(at)
    size = lead + period * n + tail
    abp = np.interp(np.arange(size), at[order], value[order]).astype(np.float32)
    ppg = np.concatenate([abp[:1], abp[:-1]]) + np.random.default_rng(n).normal(0, 0.01, size)
    end = np.append(onset[1:], lead + period * n)
    foot = (onset + 0.25).astype(np.float64)
    beats = {name: Beats(name, FS, onset, onset + rise, end, np.ones(n, np.float32), {"foot": foot}) for name in ("abp", "ppg")}
    channels = {
        "ppg": Channel("ppg", "ppg", "NU", FS, ppg.astype(np.float32)),
        "abp": Channel("abp", "abp", "mmHg", FS, abp),
    }
    return Record("r1", "s1", "1", channels, beats=beats)


def part_of(record: Record, start: int, stop: int) -> Record:
    """Return what a reader and the steps give for samples ``start … stop`` of a recording."""
    channels = {n: replace(c, samples=c.samples[start:stop]) for n, c in record.channels.items()}
    beats = {}
    for name, b in record.beats.items():
        here = (b.onset >= start) & (b.onset < stop)
        end = np.where((b.end[here] > stop) | (b.end[here] < 0), -1, b.end[here] - start)
        beats[name] = Beats(
            name,
            b.fs,
            b.onset[here] - start,
            np.minimum(b.peak[here] - start, stop - start - 1),
            end,
            b.quality[here],
            {key: value[here] - start for key, value in b.points.items()},
        )
    first, last = int(start // FS), int(-(-stop // FS))
    quality = {
        name: Quality(name, q.fs, q.sqi[first:last], {k: v[first:last] for k, v in q.indices.items()})
        for name, q in record.quality.items()
    }
    return replace(record, channels=channels, beats=beats, quality=quality, start_s=start / FS)


def track(channel: str, seconds: int, **indices: F64) -> Quality:
    """Return a quality track: perfect but for what is given."""
    none = np.zeros(seconds, np.float32)
    given = {key: np.asarray(indices.get(key, none), np.float32) for key in ("missing", "flat", "clipped")}
    return Quality(channel, 1.0, np.asarray(indices.get("sqi", np.ones(seconds)), np.float32), given)


@pytest.fixture(scope="session")
def known() -> Callable[..., Record]:
    """Return the maker of records with known pressures."""
    return known_record


@pytest.fixture(scope="session")
def part() -> Callable[[Record, int, int], Record]:
    """Return the maker of parts."""
    return part_of


@pytest.fixture(scope="session")
def quality_track() -> Callable[..., Quality]:
    """Return the maker of quality tracks."""
    return track
