"""The gate: what of a `Windows` value a feature may see. Reference channels, targets and facts stay outside.

Families get an `Inputs` value and nothing else, so a feature that is made of the reference cannot be written by mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from biosig_mtl.features.derivatives import derivative
from biosig_mtl.features.pulse_beats import PulseBeats, pulse_beats
from biosig_mtl.features.settings import DERIVATIVES, FeatureSettings
from biosig_mtl.types import EMPTY, F32, RecipeError, Task, Trail, WindowBeats, Windows

# The kind that windows give to an optional channel which the record does not have.
ABSENT = "absent"
TRAIL_ROLES = ("eda", "temperature", "respiration", "prv", "hrv")
"""Settings that name a trail; a family that reads one says so among its roles."""
T = TypeVar("T")


class Channels(Mapping[str, F32]):
    """Some channels of windows, each in one piece of memory from the first time that it is asked for.

    A part of a larger array would be copied again by everyone who reads between its samples; and not all families read samples.
    """

    def __init__(self, windows: Windows, names: tuple[str, ...]) -> None:
        """Name the channels; no other can be had."""
        self._windows = windows
        self._made: dict[str, F32 | None] = dict.fromkeys(names)

    def __getitem__(self, name: str) -> F32:
        """Return a channel, shape (window, time)."""
        made = self._made[name]
        if made is None:
            made = self._made[name] = np.ascontiguousarray(self._windows.channel(name))
        return made

    def block(self, names: tuple[str, ...], rows: slice) -> F32:
        """Return some windows of several channels as they lie in memory, shape (window, channel, time)."""
        if unknown := [name for name in names if name not in self._made]:
            raise KeyError(unknown[0])
        at = [self._windows.channels.index(name) for name in names]
        in_a_row = at == list(range(at[0], at[0] + len(at)))
        return self._windows.signal[rows, at[0] : at[0] + len(at)] if in_a_row else self._windows.signal[rows, at]

    def __iter__(self) -> Iterator[str]:
        """Go through the names."""
        return iter(self._made)

    def __len__(self) -> int:
        """Return the number of channels."""
        return len(self._made)


@dataclass(frozen=True)
class Inputs:
    """The admitted part of the windows of one record.

    ``signals`` maps a channel to its samples, shape (window, time); ``beats`` holds the beats of the pulse, of the second pulse
    and of the ECG. ``trails`` are those that the families read, as far as the windows have them. ``shared`` keeps what families
    have in common.
    """

    settings: FeatureSettings
    fs: float
    count: int
    samples: int
    signals: Mapping[str, F32]
    beats: Mapping[str, WindowBeats]
    demographics: Mapping[str, float]
    timing_reliable: bool
    trails: Mapping[str, Trail] = field(default_factory=lambda: EMPTY)
    shared: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def pulse(self) -> F32:
        """Pulse wave, shape (window, time)."""
        return self.signals[self.settings.pulse]

    def eeg(self, rows: slice) -> F32:
        """Return some windows of all EEG channels, shape (window, channel, time); not to be written to."""
        if isinstance(self.signals, Channels):
            return self.signals.block(self.settings.eeg, rows)
        return np.stack([self.signals[name][rows] for name in self.settings.eeg], axis=1)

    @cached_property
    def pulse_beats(self) -> PulseBeats:
        """Usable beats of the pulse wave."""
        return pulse_beats(self.pulse, self.beats.get(self.settings.pulse), self.fs)

    @cached_property
    def vpg(self) -> F32:
        """First derivative of the pulse wave per second, shape (window, time)."""
        return derivative(self.pulse, self.fs, 1)

    @cached_property
    def apg(self) -> F32:
        """Second derivative of the pulse wave per second squared, shape (window, time)."""
        return derivative(self.pulse, self.fs, 2)

    def once(self, name: str, make: Callable[[Inputs], T]) -> T:
        """Return what ``make`` makes of these inputs, made once for all families that ask for it by this name."""
        if name not in self.shared:
            self.shared[name] = make(self)
        made: T = self.shared[name]
        return made

    def nan(self) -> F32:
        """Return NaN for every window."""
        return np.full(self.count, np.nan, np.float32)


def bar_reference(settings: FeatureSettings, kinds: Mapping[str, str], task: Task) -> None:
    """Raise `RecipeError` if a channel that the settings name is a reference of the task, under whatever name."""
    named = (
        *settings.waveform,
        settings.pulse,
        settings.raw,
        settings.ecg,
        settings.second_pulse,
        *settings.eeg,
        *trail_roles(settings).values(),
    )
    for name in dict.fromkeys(name for name in named if name is not None):
        kind = kinds.get(name)
        if kind in task.reference_kinds:
            raise RecipeError(
                f"channel '{name}' is the reference of {task.name} (kind {kind}): it and all that is made of it "
                "are barred from the inputs"
            )
        # A channel with the name of the reference is refused even where nothing is known of it.
        if kind is None and name in task.reference_kinds:
            raise RecipeError(f"channel '{name}' has the name of the reference of {task.name}: it is barred from the inputs")


def trail_roles(settings: FeatureSettings) -> dict[str, str]:
    """Return the trail that plays each part, by the name of the setting."""
    return {role: getattr(settings, role) for role in TRAIL_ROLES}


def needs(settings: FeatureSettings, required: Collection[str]) -> tuple[str, ...]:
    """Return the channels that the windows must carry; ``required`` are the roles that the families read."""
    roles = {"pulse": settings.pulse, "raw": settings.raw}
    if settings.second_pulse is not None:
        roles["second"] = settings.second_pulse
    named = [roles["pulse"]] if set(DERIVATIVES) & set(settings.waveform) else []
    named += [roles[role] for role in roles if role in required]
    if "eeg" in required:
        if not settings.eeg:
            raise RecipeError("families of the EEG need to be told its channels: add features.eeg")
        named += settings.eeg
    return tuple(dict.fromkeys([*named, *(name for name in settings.waveform if name not in DERIVATIVES)]))


def admit(windows: Windows, settings: FeatureSettings, task: Task, required: Collection[str]) -> Inputs:
    """Let the permitted part of ``windows`` through the gate.

    Raises
    ------
    RecipeError
        A named channel is a reference, or is needed and not carried by the windows, or its beats were never looked for.
    """
    kinds = dict(zip(windows.channels, windows.kinds, strict=True))
    bar_reference(settings, kinds, task)
    bar_reference(settings, {name: trail.kind for name, trail in windows.trails.items()}, task)
    needed = needs(settings, required)
    for name in needed:
        if name not in kinds:
            have = ", ".join(windows.channels) or "no channel"
            raise RecipeError(f"features need channel '{name}', the windows carry {have}: add it to windows.channels")
    if "pulse" in required and len(windows) and settings.pulse not in windows.beats:
        raise RecipeError(f"features need the beats of '{settings.pulse}': add a 'detect_beats' step for it")
    # Beats of a channel that the windows do not carry have no known kind, so they do not pass.
    read = (settings.pulse, settings.ecg, settings.second_pulse)
    known = [name for name in read if name is not None and kinds.get(name, ABSENT) != ABSENT]
    carried = dict.fromkeys([*needed, *(name for name in known if name == settings.ecg)])
    followed = [name for role, name in trail_roles(settings).items() if role in required]
    return Inputs(
        settings=settings,
        fs=windows.fs,
        count=len(windows),
        samples=int(windows.signal.shape[-1]),
        signals=Channels(windows, tuple(carried)),
        beats={name: windows.beats[name] for name in known if name in windows.beats},
        demographics=windows.demographics,
        timing_reliable=windows.timing_reliable,
        trails={name: windows.trails[name] for name in followed if name in windows.trails},
    )
