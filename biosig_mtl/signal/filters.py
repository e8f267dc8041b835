"""Sampling rate and band: steps that change a channel's samples, never their timing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np

from biosig_mtl.signal.runs import bridge, find, first_sample, hold, runs, seam_samples
from biosig_mtl.signal.sliding import padded, views
from biosig_mtl.types import F32, F64, I64, Channel, ChannelInfo, RecipeError, Record

# The kind of channels that hold what the data set says again and again.
LABEL = "label"
# Taps on either side of the anti-alias filter, in samples of the slower of the two rates.
HALF_TAPS = 10
# Ratios such as 50000/24989 (62.4725 Hz to 125 Hz) are kept exact up to here; beyond, the drift stays under 0.1 s a day.
LARGEST_DENOMINATOR = 200_000
# A gap this short is bridged by a line before filtering and is a gap again afterwards: it need not cost a second of ringing.
BRIDGE_S = 0.1
# Beyond the ends of a run the signal is thought to turn about its last value and to fade with this time constant …
FADE_S = 0.05
# … to its mean over so many periods of the low corner.
MEAN_PERIODS = 1.5
PAD_PERIODS = 1.0
SHORTEST_PERIODS = 0.5
# Ripple of the Chebyshev design: attenuation in dB at its corners.
STOP_DB = 20.0
# Long runs are filtered in blocks on a fixed grid of the recording, each with so much context that the start has decayed by so
# many nepers (e^-20 is a thirtieth of the last place of a float32): a part of a recording then gives bit for bit what the whole
# gives, which a recursive filter started elsewhere does not.
BLOCK_S = 32.0
FORGOTTEN = 20.0
# So many blocks are transformed at once.
AT_ONCE = 8


@dataclass(frozen=True)
class Resample:
    """Bring channels to one sampling rate by a zero-phase polyphase filter.

    The new grid is anchored at the start of the *recording*, so a part of a recording gives the very samples of the whole.
    Gaps stay gaps. A channel that already has the rate is returned as it is.

    Parameters
    ----------
    fs_hz
        The rate wanted.
    kinds, channels
        Only channels of these kinds or with these names are brought to it, and others keep their rates; both empty: all are,
        except those of kind ``label``, which hold what the data set says and no signal.
    upsample
        Whether slower channels are brought to the rate too. Skin conductance at 4 Hz says no more at 128 Hz.
    optional
        As in every step; a record without channels is returned as it is in any case.

    Notes
    -----
    Kaiser-windowed sinc (beta 5, ten samples of the slower rate on either side), the usual polyphase design (Crochiere &
    Rabiner 1983). Beyond the edges of a run the nearest sample is held, where the common default thinks of zeros and so bends
    the ends of a pressure curve.
    """

    fs_hz: float
    optional: bool = False
    kinds: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    upsample: bool = True

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not 0 < self.fs_hz < np.inf:
            raise ValueError(f"need fs_hz > 0, got {self.fs_hz}")

    @property
    def reach_s(self) -> float:
        """Context on either side in seconds; enough for channels of 4 Hz and more."""
        return 2 * HALF_TAPS / min(self.fs_hz, 4.0)

    def plan(self, channels: Mapping[str, ChannelInfo]) -> Mapping[str, ChannelInfo]:
        """Return the channels that will be there."""
        return {name: replace(info, fs=self.fs_hz) if self._moves(info) else info for name, info in channels.items()}

    def __call__(self, record: Record) -> Record:
        """Return the record with the channels that are meant at ``fs_hz``."""
        moved = {n: _resampled(record, c, self.fs_hz) if self._moves(c) else c for n, c in record.channels.items()}
        return replace(record, channels=moved)

    def _moves(self, channel: Channel | ChannelInfo) -> bool:
        if channel.fs == self.fs_hz or (channel.fs < self.fs_hz and not self.upsample):
            return False
        if self.kinds or self.channels:
            return channel.kind in self.kinds or channel.name in self.channels
        return channel.kind != LABEL


@dataclass(frozen=True)
class Bandpass:
    """Filter one channel without moving anything in time, and put the result beside it under a name of its own.

    Every run between gaps and seams is filtered by itself, forwards and backwards, in double precision. Runs shorter than half
    a period of ``low_hz`` become a gap.

    Parameters
    ----------
    channel, name
        What is filtered, and what the result is called. The result keeps the kind and names its source in ``source_name``.
    low_hz, high_hz
        Corners: −3 dB a pass for ``butterworth`` (−6 dB in all); 20 dB a pass for ``chebyshev2``, whose corners are the edges
        of its stop band (the habit of Liang 2018 and of PulseDB).
    family, order
        ``order`` poles at each corner.
    optional
        Return the record unchanged if it has no such channel.

    Notes
    -----
    Ends of a run: odd reflection that fades to the local mean. Measured on pieces of 2.1 s cut from long photoplethysmograms,
    against the same stretch of the filtered whole: median error 0.08 SD, where odd reflection has 0.36, even 0.14, a constant
    0.20 and Gustafsson's method 0.77 (0.5–12 Hz); on 8 s 0.04 against 0.18, 0.07, 0.10 and 0.40.
    """

    channel: str
    name: str
    low_hz: float
    high_hz: float
    family: Literal["butterworth", "chebyshev2"] = "butterworth"
    order: int = 2
    optional: bool = False

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not 0 < self.low_hz < self.high_hz < np.inf:
            raise ValueError(f"need 0 < low_hz < high_hz < fs/2, got {self.low_hz}, {self.high_hz}")
        if not 1 <= self.order <= 8:
            raise ValueError(f"need 1 <= order <= 8, got {self.order}")
        if self.family not in {"butterworth", "chebyshev2"}:
            raise ValueError(f"need family butterworth or chebyshev2, got {self.family}")

    @property
    def reach_s(self) -> float:
        """Context on either side in seconds, of which one block of the grid and the filter's memory."""
        fs = 8 * self.high_hz
        return BLOCK_S + self._design(fs).memory / fs + BRIDGE_S + 1.0

    def plan(self, channels: Mapping[str, ChannelInfo]) -> Mapping[str, ChannelInfo]:
        """Return the channels that will be there; raise `RecipeError` if the corner does not fit the rate."""
        source = find(channels, self.channel, "bandpass", optional=self.optional)
        if source is None:
            return channels
        self._check(source)
        return {**channels, self.name: replace(source, name=self.name)}

    def __call__(self, record: Record) -> Record:
        """Return the record with the channel ``name`` added."""
        source = find(record.channels, self.channel, f"{record.name}: bandpass", optional=self.optional)
        if source is None:
            return record
        self._check(source)
        samples = filtered(record, source, self._design(source.fs), self.low_hz)
        return record.with_channel(replace(source, name=self.name, samples=samples, source_name=self.channel))

    def _check(self, source: Channel | ChannelInfo) -> None:
        if source.fs <= 2 * self.high_hz:
            need = f"'bandpass' up to {self.high_hz:g} Hz needs more than {2 * self.high_hz:g}"
            raise RecipeError(
                f"channel '{self.channel}' has fs={source.fs:g} Hz, {need}; lower high_hz or add a 'resample' step before it"
            )

    def _design(self, fs: float) -> Design:
        return _design(self.family, self.order, self.low_hz, self.high_hz, fs)


@dataclass(frozen=True, eq=False)
class Design:
    """Sections of a recursive filter for one sampling rate."""

    sos: F64
    rest: F64  # state after a long constant 1
    fs: float
    memory: int  # after how many samples it has forgotten where it began


@lru_cache(maxsize=64)
def _design(family: str, order: int, low_hz: float, high_hz: float, fs: float) -> Design:
    from scipy.signal import butter, cheby2

    band = [low_hz, high_hz]
    if family == "butterworth":
        sos = butter(order, band, "bandpass", fs=fs, output="sos")
    else:
        sos = cheby2(order, STOP_DB, band, "bandpass", fs=fs, output="sos")
    return designed(sos, fs)


def designed(sos: F64, fs: float) -> Design:
    """Return sections with what their use needs to know: their state at rest, and how long they remember."""
    from scipy.signal import sosfilt_zi

    slowest = max(np.abs(np.roots(section[3:])).max() for section in sos)
    return Design(sos, sosfilt_zi(sos), fs, int(np.ceil(-FORGOTTEN / np.log(slowest))))


def filtered(record: Record, source: Channel, design: Design, low_hz: float) -> F32:
    """Return a channel filtered forwards and backwards, run by run; runs of less than half a period become a gap."""
    x = source.samples
    gap = ~np.isfinite(x)
    valid = ~gap
    if gap.any():
        x = x.copy()
        valid = bridge(x, valid, int(BRIDGE_S * source.fs))
    out = np.full(x.size, np.nan, np.float32)
    period = source.fs / low_hz
    for start, stop in zip(*runs(valid, seam_samples(record, source.fs, x.size)), strict=True):
        if stop - start >= SHORTEST_PERIODS * period:
            _filter_run(x[start:stop], out[start:stop], first_sample(record, source.fs) + int(start), design, period)
    out[gap] = np.nan
    return out


def _filter_run(x: F32, out: F32, first: int, design: Design, period: float) -> None:
    """Fill ``out`` block by block; ``first`` is the number of ``x[0]`` in the recording."""
    block, memory = round(BLOCK_S * design.fs), design.memory
    starts = np.arange(-first % block, x.size, block)
    starts = starts if first % block == 0 else padded(starts, 1, 0)
    stops = padded(starts[1:], 0, 1, x.size)
    inside = (starts >= memory + 1) & (stops + memory + 1 <= x.size) & (stops - starts == block)
    if inside.any():
        _filter_blocks(x, out, starts[inside], block, design)
    span, ahead, made = (0, 0), 0, np.empty(0)
    for start, stop in zip(starts[~inside].tolist(), stops[~inside].tolist(), strict=True):
        low, high = max(start - memory, 0), min(stop + memory, x.size)
        if (low, high) != span:
            # The blocks of a short run all see the whole of it: it is filtered once.
            before = _beyond(x, design.fs, period) if low == 0 else np.empty(0)
            after = _beyond(x[::-1], design.fs, period)[::-1] if high == x.size else np.empty(0)
            longer = np.concatenate((before, x[low:high].astype(np.float64), after))
            span, ahead, made = (low, high), before.size, _both_ways(longer, design)
        begin = ahead + start - low
        out[start:stop] = made[begin : begin + stop - start]


def _filter_blocks(x: F32, out: F32, starts: I64, block: int, design: Design) -> None:
    """Fill whole blocks that have their context on both sides, by multiplication with the squared gain.

    What the filter does forwards and backwards is |H|² in all, and its impulse response is over after ``memory`` samples: a
    transform over block and context gives the same as the recursion to e^−20, and in single precision (about the first sample
    of each piece) to a millionth of the piece's own range, in a quarter of the time.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    memory = design.memory
    width = block + 2 * memory
    size = next_fast_len(width, real=True)
    gain = _squared_gain(design, size)
    pieces = views(x, width)
    # Some blocks at a time stay in the cache. Transforms come in eights, the last ones filled up with repeats: a row alone
    # takes another path through the library, whose last bit differs.
    for begin in range(0, starts.size, AT_ONCE):
        mine = starts[begin : begin + AT_ONCE]
        rows = pieces[np.append(mine, np.repeat(mine[-1:], AT_ONCE - mine.size)) - memory]
        level = rows[:, :1]
        filtered = irfft(rfft(rows - level, size, axis=1) * gain, size, axis=1)[:, memory : memory + block] + level * gain[0]
        with np.errstate(over="ignore"):
            out[mine[0] : mine[-1] + block] = filtered[: mine.size].ravel()


@lru_cache(maxsize=64)
def _squared_gain(design: Design, size: int) -> F32:
    turn = np.exp(-1j * 2 * np.pi * np.arange(size // 2 + 1) / size)
    response = np.ones(turn.size, np.complex128)
    for b0, b1, b2, a0, a1, a2 in design.sos:
        response *= (b0 + b1 * turn + b2 * turn**2) / (a0 + a1 * turn + a2 * turn**2)
    gain: F32 = (np.abs(response) ** 2).astype(np.float32)
    return gain


def _both_ways(x: F64, design: Design) -> F64:
    from scipy.signal import sosfilt

    def rest(first: F64) -> F64:
        return design.rest * first if x.ndim == 1 else design.rest[:, None, :] * first[None, :, None]

    forward, _ = sosfilt(design.sos, x, zi=rest(x[..., 0]))
    back: F64
    back, _ = sosfilt(design.sos, forward[..., ::-1], zi=rest(forward[..., -1]))
    return back[..., ::-1]


def _beyond(x: F32, fs: float, period: float) -> F64:
    """Return what is thought to lie before the first sample."""
    size = int(PAD_PERIODS * period)
    x = x[: max(int(MEAN_PERIODS * period) + 1, size + 1)].astype(np.float64)
    mean = x[: int(MEAN_PERIODS * period) + 1].mean()
    reflected = min(size, x.size - 1, int(8 * FADE_S * fs))
    step = np.arange(1, reflected + 1)
    pad = np.full(size, mean)
    pad[:reflected] += (2 * x[0] - x[1 : reflected + 1] - mean) * np.exp(step / (-FADE_S * fs))
    return pad[::-1]


def _resampled(record: Record, source: Channel, fs: float) -> Channel:
    ratio = (Fraction(str(fs)) / Fraction(str(source.fs))).limit_denominator(LARGEST_DENOMINATOR)
    up, down = ratio.numerator, ratio.denominator
    first, size = first_sample(record, source.fs), source.samples.size
    begin, end = round(record.start_s * fs), -(-(first + size) * up // down)
    valid = np.isfinite(source.samples)
    place = np.arange(begin, max(end, begin)) * (down / up)
    at = place - first
    if not valid.any() or not at.size:
        return replace(source, fs=fs, samples=np.full(at.size, np.nan, np.float32))
    out = np.empty(at.size)
    inner = seam_samples(record, source.fs, size)
    edges = [0, *inner.tolist(), size]
    # New samples belong to the nearest old one; the first and the last piece take what lies beyond the ends.
    bounds = [0, *np.searchsorted(at, inner - 0.5).tolist(), at.size]
    for (start, stop), mine in zip(pairwise(edges), (slice(a, b) for a, b in pairwise(bounds)), strict=True):
        if mine.stop > mine.start:
            piece = hold(source.samples[start:stop].astype(np.float64), valid[start:stop])
            out[mine] = _polyphase(piece, up, down, (begin + mine.start) * down - (first + start) * up, mine.stop - mine.start)
    # The nearest sample by its number in the recording: halves round to even, and that must not depend on where a part starts.
    out[~valid[np.clip(np.rint(place).astype(np.int64) - first, 0, size - 1)]] = np.nan
    return replace(source, fs=fs, samples=out.astype(np.float32))


def _polyphase(x: F64, up: int, down: int, offset: int, count: int) -> F64:
    """Return ``count`` samples, ``down`` apart, from position ``offset`` on of the signal made ``up`` times denser."""
    from scipy.signal import upfirdn

    taps = _anti_alias(up, down)
    half = HALF_TAPS * max(up, down)
    margin = half // up + 2 + abs(min(offset, 0)) // up
    tail = max(0, (offset + (count - 1) * down + half) // up + 2 - x.size)
    longer = np.concatenate((np.full(margin, x[0]), x, np.full(tail, x[-1])))
    spot = offset + margin * up + half
    lead = -spot % down
    dense = upfirdn(np.concatenate((np.zeros(lead), taps)), longer, up, down)
    begin = (spot + lead) // down
    picked: F64 = dense[begin : begin + count]
    return picked


@lru_cache(maxsize=16)
def _anti_alias(up: int, down: int) -> F64:
    from scipy.signal import firwin

    widest = max(up, down)
    taps: F64 = np.zeros(-(-(2 * HALF_TAPS * widest + 1) // up) * up)
    taps[: 2 * HALF_TAPS * widest + 1] = firwin(2 * HALF_TAPS * widest + 1, 1 / widest, window=("kaiser", 5.0))
    phases = taps.reshape(-1, up)
    # Every phase sums to one: otherwise a pressure of 80 mmHg gets a ripple of 0.05 mmHg.
    return np.asarray((phases / phases.sum(axis=0)).ravel())
