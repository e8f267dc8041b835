"""What a recipe says about features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DERIVATIVES = ("vpg", "apg")


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
    """

    families: tuple[str, ...]
    waveform: tuple[str, ...] = ()
    pulse: str = "ppg_12hz"
    raw: str = "ppg"
    ecg: str = "ecg_40hz"
    waveform_scale: Literal["zscore", "none"] = "zscore"
    waveform_hz: float | None = None
    second_pulse: str | None = None

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not self.families and not self.waveform:
            raise ValueError("need at least one feature family or one waveform channel")
        for what, words in (("families", self.families), ("waveform", self.waveform)):
            if len(set(words)) < len(words):
                raise ValueError(f"need every word of {what} once, got {', '.join(words)}")
        if self.waveform_scale not in {"zscore", "none"}:
            raise ValueError(f"need waveform_scale zscore or none, got {self.waveform_scale}")
        if self.second_pulse == self.pulse:
            raise ValueError(f"need two different pulses, got {self.pulse} twice")
        if self.waveform_hz is not None and not self.waveform_hz > 0:
            raise ValueError(f"need waveform_hz > 0, got {self.waveform_hz}")
