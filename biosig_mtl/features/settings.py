"""What a recipe says about features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from biosig_mtl.features.bands import BANDS, check_bands

DERIVATIVES = ("vpg", "apg")
SCALES = ("zscore", "none")
PAIRS = ("regions", "all")


@dataclass(frozen=True)
class TrackSettings:
    """The waveform of one modality: channels of the windows, or trails, that share a rate; ``hz`` resamples them."""

    channels: tuple[str, ...]
    hz: float | None = None

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not self.channels or len(set(self.channels)) < len(self.channels):
            raise ValueError(f"need one or more different channels, got {', '.join(self.channels) or 'none'}")
        if self.hz is not None and not self.hz > 0:
            raise ValueError(f"need hz > 0, got {self.hz}")


@dataclass(frozen=True)
class FeatureSettings:
    """Which numbers and waveforms of a window a model may see.

    Parameters
    ----------
    families
        Names from `biosig_mtl.features.FEATURES`; columns come in this order.
    waveform
        Channels of the windows, and the words ``vpg`` and ``apg``: first and second derivative of ``pulse``.
    pulse, raw, ecg
        Channels that the families read: the pulse with beats and fiducials, the same as recorded (its amplitudes mean
        something), and the electrocardiogram. Windows without the ``ecg`` channel give NaN; the other two must be there.
    second_pulse
        A pulse at another site, with beats, for transit times between the two (`ptt`); None: there is none.
    waveform_scale
        ``zscore``: each window and channel to mean 0 and SD 1, a constant one to zeros; ``none``: as it is.
    waveform_hz
        Sampling rate of the waveform channels in Hz; None keeps the rate of the windows.
    eda, temperature, respiration, prv, hrv
        Trails (see `Trail`) that the families of the same purpose read: skin conductance, skin temperature, breathing, and the
        channels whose beats give pulse and heart rate variability. Windows without such a trail give NaN.
    recent_s
        Families on trails look at the last so many seconds of them; None: at the whole trail. The families of change compare
        these seconds with the whole (None: the last quarter).
    eeg, bands, eeg_pairs
        Channels that the families of the EEG read, which the windows must carry; the bands that they tell apart, as lower and
        upper edge in Hz (the lower one belongs to the band, the upper one does not); and whether connectivity is the mean over
        pairs of ``regions`` of the head, or that of ``all`` pairs of channels one by one.
    tracks
        Waveforms by modality (``eeg ppg eda`` …), each at its own rate, for networks that encode every modality by itself.
    baseline
        What is done with the rest before a stimulus, for families of the EEG: ``none``; ``subtract`` takes the mean feature of
        the rest away from that of every window; ``torcheeg`` takes the mean *waveform* of the rest away before anything else,
        as TorchEEG and LibEER do. The last adds one template to all windows of a trial, by which a leaked split knows the trial
        again; it is there to reproduce published numbers only, and warns.
    """

    families: tuple[str, ...]
    waveform: tuple[str, ...] = ()
    pulse: str = "ppg_12hz"
    raw: str = "ppg"
    ecg: str = "ecg_40hz"
    waveform_scale: Literal["zscore", "none"] = "zscore"
    waveform_hz: float | None = None
    second_pulse: str | None = None
    eda: str = "eda"
    temperature: str = "temp"
    respiration: str = "resp"
    prv: str = "ppg"
    hrv: str = "ecg"
    recent_s: float | None = None
    eeg: tuple[str, ...] = ()
    bands: dict[str, tuple[float, float]] = field(default_factory=lambda: dict(BANDS))
    eeg_pairs: Literal["regions", "all"] = "regions"
    tracks: dict[str, TrackSettings] = field(default_factory=dict)
    baseline: Literal["none", "subtract", "torcheeg"] = "none"

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not self.families and not self.waveform and not self.tracks:
            raise ValueError("need at least one feature family, one waveform channel or one track")
        if self.baseline == "subtract" and not any(name.startswith("eeg_") for name in self.families):
            raise ValueError("need a family of the EEG for baseline subtract")
        for what, words in (("families", self.families), ("waveform", self.waveform), ("eeg", self.eeg)):
            if len(set(words)) < len(words):
                raise ValueError(f"need every word of {what} once, got {', '.join(words)}")
        for what, word, words in (("waveform_scale", self.waveform_scale, SCALES), ("eeg_pairs", self.eeg_pairs, PAIRS)):
            _one_of(what, word, words)
        if self.second_pulse == self.pulse:
            raise ValueError(f"need two different pulses, got {self.pulse} twice")
        check_bands(self.bands)
        _need_positive(waveform_hz=self.waveform_hz, recent_s=self.recent_s)


def _one_of(what: str, word: str, words: tuple[str, ...]) -> None:
    if word not in words:
        raise ValueError(f"need {what} {' or '.join(words)}, got {word}")


def _need_positive(**values: float | None) -> None:
    for what, value in values.items():
        if value is not None and not value > 0:
            raise ValueError(f"need {what} > 0, got {value}")
