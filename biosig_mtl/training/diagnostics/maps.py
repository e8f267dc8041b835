"""Mask maps that can be laid over each other: by phase of the pulse, by time before the end, by family of features.

A mask lies over tokens × features of an embedding. Its features have no names and no common order between networks, so maps are
means over features. A time step looks at a stretch of signal at least as long as the step between tokens (``token_s``): finer
detail than that cannot be in a mask. The gradient of a mask in the samples of the waveform is finer, see `sensitivity`.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from biosig_mtl.training.diagnostics import beats
from biosig_mtl.training.diagnostics.seen import Part, Seen, SplittingNetwork
from biosig_mtl.training.prediction import moved, source_for
from biosig_mtl.training.scaling import Scaler
from biosig_mtl.types import F64, I64, WindowTable

SLOPE = "vpg"  # the first derivative of the pulse wave, where a store keeps it
PULSE = "ppg"
GRADIENT_ROWS = 128


def maps_of(seen: Seen, table: WindowTable) -> dict[str, Any]:
    """Return what the masks look at, of K splits: ``beat tracks families``.

    ``beat`` is None without a pulse wave among the waveforms of the table, or without two upstrokes in any window; else
    ``phase`` (of `beats.BINS`), ``pulse`` (mean pulse wave, in standard deviations), ``mean sd`` (K, bins) and ``modulation p``
    (K,) of `beats.Curve`, ``token_s beat_s beats people``. ``tracks`` are by name ``before_s mean sd`` (K, tokens) over people;
    the waveform is one of them where it has no beats. ``families`` are by name ``mean sd`` (K,) over people.
    """
    _, code = np.unique(seen.subject, return_inverse=True)
    beat = _beat_map(seen, table, code)
    tracks, families = {}, {}
    for part in seen.parts:
        mean, sd = _over_people(seen.profile[:, :, part.start : part.stop], code)
        if part.kind == "family":
            families[part.name] = {"mean": mean[:, 0], "sd": sd[:, 0]}
        elif part.kind == "track" or beat is None:
            tracks[part.name] = {"before_s": np.array(_before(part, table)), "mean": mean, "sd": sd}
    return {"beat": beat, "tracks": tracks, "families": families}


def slope_of(table: WindowTable, rows: I64) -> tuple[NDArray[np.floating], NDArray[np.floating]] | None:
    """Return pulse wave and its slope, both (n, L), None where the table has neither ``vpg`` nor a channel ``ppg…``."""
    names = table.waveform_channels
    pulse = next((i for i, name in enumerate(names) if name.startswith(PULSE)), None)
    if SLOPE not in names and pulse is None:
        return None
    raw = np.asarray(table.waveform[rows], np.float64)
    if SLOPE not in names:
        wave = raw[:, cast("int", pulse)]
        return wave, np.gradient(wave, axis=1)
    slope = raw[:, names.index(SLOPE)]
    return (np.cumsum(slope, axis=1) if pulse is None else raw[:, pulse]), slope


def sensitivity(model: nn.Module, table: WindowTable, rows: I64, scaler: Scaler) -> F64 | None:
    """Return how far the masks of the time steps follow the waveform, by phase, (K, bins), each row with mean 1.

    It is |∂ Σ M_k / ∂ x|, summed over channels: masks projected back on the input by their gradient. At most `GRADIENT_ROWS`
    windows, each weighing the same. None without waveform, without beats, or where a mask has no gradient at all.
    """
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), GRADIENT_ROWS)).astype(int)]
    source = source_for([model], table, some, scaler)
    found = slope_of(table, some) if source.batch(torch.arange(1)).waveform.numel() else None
    if found is None:
        return None
    net = cast("SplittingNetwork", model)
    batch = moved(source.batch(torch.arange(len(some))), model)
    batch.waveform.requires_grad = True
    with torch.enable_grad():
        masks, _ = net.split(net.embed(batch))
        sums = masks.sum((0, 2, 3))
        slopes = [torch.autograd.grad(one, batch.waveform, retain_graph=True)[0].abs().sum(1) for one in sums]
    phase = beats.phases(beats.upstrokes(found[1], table.fs), table.fs)
    rows_ = []
    for slope in slopes:
        size = slope.double().cpu().numpy()
        level = size.mean(axis=1, keepdims=True)
        one = beats.curve(size / np.where(level > 0, level, 1.0), phase, np.arange(len(some)))
        if one is None or not (level > 0).any():
            return None
        rows_.append(one.mean / np.nanmean(one.mean))
    return np.stack(rows_)


def _beat_map(seen: Seen, table: WindowTable, code: I64) -> dict[str, Any] | None:
    part = next((part for part in seen.parts if part.kind == "waveform"), None)
    found = slope_of(table, seen.rows) if part is not None else None
    if part is None or found is None:
        return None
    wave, slope = found
    marks = beats.upstrokes(slope, table.fs)
    phase = beats.phases(marks, table.fs)
    spread = wave.std(axis=1, keepdims=True)
    pulse = beats.curve((wave - wave.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0), phase, code)
    there = beats.at_tokens(phase, part.stop - part.start)
    told = [beats.curve(seen.profile[:, k, part.start : part.stop], there, code) for k in range(seen.profile.shape[1])]
    curves = [one for one in told if one is not None]
    if pulse is None or not curves:
        return None
    starts = int((phase == 0).sum())
    whole = np.isfinite(phase)
    return {
        "phase": (np.arange(beats.BINS) + 0.5) / beats.BINS, "pulse": pulse.mean,
        "mean": np.stack([one.mean for one in curves]), "sd": np.stack([one.sd for one in curves]),
        "modulation": np.array([one.modulation for one in curves]), "p": np.array([one.p for one in curves]),
        "token_s": wave.shape[1] / table.fs / (part.stop - part.start),
        "beat_s": float(whole.sum() / max(starts, 1) / table.fs),
        "beats": starts, "people": int(np.unique(code[whole.any(axis=1)]).size),
    }  # fmt: skip


def _over_people(profile: NDArray[np.floating], code: I64) -> tuple[F64, F64]:
    """Return mean and standard deviation over people of (n, K, M), each (K, M); NaN where nobody, or one person, has it."""
    given = profile.reshape(len(profile), -1).astype(np.float64)
    known = np.isfinite(given)
    people = int(code.max()) + 1
    count = np.stack([np.bincount(code, column, people) for column in known.T.astype(float)], axis=1)
    total = np.stack([np.bincount(code, column, people) for column in np.where(known, given, 0.0).T], axis=1)
    there = count > 0
    each = total / np.maximum(count, 1)
    n = there.sum(axis=0)
    mean = np.where(n > 0, np.where(there, each, 0.0).sum(axis=0) / np.maximum(n, 1), np.nan)
    square = np.where(there, (each - mean) ** 2, 0.0).sum(axis=0)
    sd = np.where(n > 1, np.sqrt(square / np.maximum(n - 1, 1)), np.nan)
    return mean.reshape(profile.shape[1:]), sd.reshape(profile.shape[1:])


def _before(part: Part, table: WindowTable) -> F64:
    """Return the time before the end of every token of a row of time steps."""
    if part.before_s:
        return np.array(part.before_s)
    count = part.stop - part.start
    return np.asarray((count - np.arange(count) - 0.5) * table.waveform.shape[-1] / table.fs / count)
