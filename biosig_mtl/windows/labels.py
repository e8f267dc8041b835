"""Targets from the reference channel: the mean over complete, plausible beats, and what is known of each label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F32, F64, I64, Record, Track, missing_channel
from biosig_mtl.windows.grid import Grid, Limits, Verdicts, beats_in, faults

# So many windows are aligned at once.
AT_ONCE = 64


@dataclass(frozen=True)
class ReferenceRules:
    """When beats of the reference pressure make a label.

    The defaults follow the rules of bp-benchmark (Gonzalez 2023): systolic ≤ 220, diastolic ≥ 30, pulse pressure ≥ 10 mmHg;
    heart rate between 35 and 200 per minute (theirs stops at 140, which drops infants and fever). A window needs
    ``min_beats`` plausible complete beats, and at least ``min_share`` of its complete beats must be plausible.
    ``max_sd_mmhg`` refuses windows whose pressure is not one number.
    """

    min_mmhg: float = 30.0
    max_mmhg: float = 220.0
    min_pulse_mmhg: float = 10.0
    max_pulse_mmhg: float = 150.0
    min_rate: float = 35.0
    max_rate: float = 200.0
    min_beats: int = 3
    min_share: float = 0.7
    max_sd_mmhg: float = 20.0
    max_flat: float = 0.2
    max_clipped: float = 0.1

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not 0 <= self.min_mmhg < self.max_mmhg:
            raise ValueError(f"need 0 <= min_mmhg < max_mmhg, got {self.min_mmhg}, {self.max_mmhg}")
        if self.min_beats < 1 or not 0 < self.min_share <= 1:
            raise ValueError(f"need min_beats >= 1 and 0 < min_share <= 1, got {self.min_beats}, {self.min_share}")


def reference_targets(
    record: Record, name: str, against: str, rules: ReferenceRules, grid: Grid, verdicts: Verdicts
) -> tuple[F64, dict[str, NDArray[Any]]]:
    """Return SBP and DBP as the mean over the complete plausible beats of the reference, and what is known of the label."""
    n = grid.first.size
    pressure = record.channel(name).samples
    for bad, reason in faults(record, name, grid, Limits(rules.max_flat, rules.max_clipped)):
        verdicts.refuse(bad, reason)
    if name not in record.beats:
        raise missing_channel(record.name, f"beats of {name}", record.beats)
    beats = beats_in(record.beats[name], grid)
    origin = grid.first[beats.window]
    systolic = pressure[beats.peak + origin].astype(np.float64)
    diastolic = pressure[beats.onset + origin].astype(np.float64)
    rate = 60 * beats.fs / np.maximum(beats.end - beats.onset, 1)
    pulse = systolic - diastolic
    plausible = (
        (systolic <= rules.max_mmhg)
        & (diastolic >= rules.min_mmhg)
        & (pulse >= rules.min_pulse_mmhg)
        & (pulse <= rules.max_pulse_mmhg)
        & (rate >= rules.min_rate)
        & (rate <= rules.max_rate)
    )
    every = np.bincount(beats.window, minlength=n)
    window = beats.window[plausible]
    count = np.bincount(window, minlength=n)
    mean, sd = zip(*(_mean_sd(x[plausible], window, n) for x in (systolic, diastolic)), strict=True)
    verdicts.refuse(every == 0, f"no complete beat in the reference {name}")
    verdicts.refuse(count < rules.min_share * every, f"implausible beats in the reference {name}")
    verdicts.refuse(count < rules.min_beats, f"too few complete beats in the reference {name}")
    verdicts.refuse(np.maximum(*sd) > rules.max_sd_mmhg, f"unstable pressure in the reference {name}")
    lag, agreement = _alignment(record, against, name, grid)
    facts: dict[str, NDArray[Any]] = {
        "label_source": np.full(n, "invasive"),
        "n_beats": count,
        "sbp_sd": sd[0].astype(np.float32),
        "dbp_sd": sd[1].astype(np.float32),
        "map": _window_mean(grid.cut(pressure)),
        "lag_samples": lag,
        "ppg_abp_corr": agreement,
    }
    return np.stack(mean, axis=1), facts


def reference_waveform(record: Record, name: str, rules: ReferenceRules, grid: Grid) -> Track:
    """Return the waveform of the reference in every window, (window, 1, time), in its own unit and at the rate of the grid.

    NaN where the recording has none, and where the pressure lies outside ``rules.min_mmhg`` to ``rules.max_mmhg``: a line that
    is flushed or zeroed tells nothing of the person. A record without the channel is NaN throughout.
    """
    shape = (grid.first.size, 1, grid.samples)
    if name not in record.channels:
        return Track((name,), grid.fs, np.full(shape, np.nan, np.float32))
    raw = np.asarray(grid.cut(record.channels[name].samples), np.float32)
    # Comparisons with NaN are false, so that what is unknown stays unknown.
    usable = (raw >= rules.min_mmhg) & (raw <= rules.max_mmhg)
    return Track((name,), grid.fs, np.where(usable, raw, np.float32(np.nan)).reshape(shape))


def _mean_sd(values: F64, window: I64, n: int) -> tuple[F64, F64]:
    count = np.bincount(window, minlength=n)
    safe = np.maximum(count, 1)
    mean = np.bincount(window, values, n) / safe
    sd = np.sqrt(np.bincount(window, (values - mean[window]) ** 2, n) / np.maximum(count - 1, 1))
    return np.where(count > 0, mean, np.nan), sd


def _window_mean(windows: F32) -> F32:
    return np.asarray(windows.mean(axis=1, dtype=np.float64), np.float32)


def _alignment(record: Record, channel: str, reference: str, grid: Grid) -> tuple[I64, F32]:
    """Return the lag of a channel behind the reference (samples, within ±1 s) and their correlation at that lag.

    Both use the reference: they are facts about a window, stored to describe it, and never inputs.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    n, size = grid.first.size, grid.samples
    if n == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    reach = min(size - 1, round(grid.fs))
    padded = next_fast_len(size + reach, real=True)
    lags = np.arange(-reach, reach + 1)
    best, agreement = np.zeros(n, np.int64), np.zeros(n, np.float32)
    # Some windows at a time stay in the cache. They come in a fixed number: a row alone takes another path through the library,
    # whose last bit differs.
    for begin in range(0, n, AT_ONCE):
        rows = np.minimum(np.arange(begin, begin + AT_ONCE), n - 1)
        x, y = (_centred(grid.cut_some(record.channel(c).samples, rows)) for c in (channel, reference))
        product = irfft(rfft(x, padded, axis=1) * np.conj(rfft(y, padded, axis=1)), padded, axis=1)
        scale = np.sqrt(np.einsum("ij,ij->i", x, x) * np.einsum("ij,ij->i", y, y))
        correlation = product[:, lags] / np.maximum(scale, np.float32(1e-12))[:, None]
        place = correlation.argmax(axis=1)
        keep = slice(begin, min(begin + AT_ONCE, n))
        best[keep] = lags[place][: keep.stop - begin]
        agreement[keep] = correlation[np.arange(AT_ONCE), place][: keep.stop - begin]
    return best, agreement


def _centred(windows: F32) -> F32:
    rows = np.nan_to_num(windows)
    centred: F32 = rows - (np.einsum("ij->i", rows) / np.float32(rows.shape[1]))[:, None]
    return centred
