"""Windows that stand alone, as an array: the steps of a recipe on each, then its features of all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from biosig_mtl import features, pipeline, signal, windows
from biosig_mtl.features import FeatureSettings
from biosig_mtl.pipeline import Preparation
from biosig_mtl.recipe import Recipe, build, load
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import F32, Channel, ChannelInfo, RecipeError, Record, Trail, WindowBeats, Windows

# What an own channel name begins with tells its kind; an EEG has the names of its electrodes.
KINDS = ("ppg", "ecg", "abp", "eda", "temp", "resp", "acc", "emg", "eog")
PULSE_FS_HZ = 125.0
PULSE_NAME, ECG_NAME = "ppg_12hz", "ecg_40hz"


def kind_of(name: str) -> str:
    """Return the kind of a channel by its name; what begins with no known word is an electrode of an EEG.

    >>> kind_of("ppg_left"), kind_of("ECG"), kind_of("F3")
    ('ppg', 'ecg', 'eeg')
    """
    word = name.strip().lower().replace("-", "_").split("_")[0]
    return word if word in KINDS else "eeg"


def preparation_of(
    recipe: Recipe | str | None, families: Sequence[str] | None, infos: Mapping[str, ChannelInfo]
) -> Preparation:
    """Return the steps and features for windows that stand alone.

    Without a recipe: pulse and ECG are brought to 125 Hz and filtered to 0.5–12 Hz and 0.5–40 Hz, beats and fiducials found;
    EEG is filtered to 1–45 Hz (below half its rate) and referred to its average.

    Raises
    ------
    RecipeError
        There is neither recipe nor family, or the recipe compares windows with a rest, which a window alone has not.
    """
    if recipe is None and not families:
        raise RecipeError("need families=('pulse_shape', …) or recipe='ppg_bp': nothing says which features are wanted")
    made = _usual(tuple(families or ()), infos) if recipe is None else _of_recipe(recipe, families)
    if made.features.baseline != "none":
        raise RecipeError(
            f"features.baseline is {made.features.baseline}: a window alone has no rest to be compared with; "
            "load the recipe with features.baseline=none"
        )
    # Rules for windows are for choosing whom to learn from; here every window has a row.
    steps = tuple(step for step in made.steps if not isinstance(step, signal.AssessQuality))
    return replace(made, steps=steps, features=replace(made.features, waveform=(), tracks={}))


def _of_recipe(recipe: Recipe | str, families: Sequence[str] | None) -> Preparation:
    made = pipeline.preparation(recipe if isinstance(recipe, Recipe) else load(recipe)).unlabelled()
    return made if not families else replace(made, features=replace(made.features, families=tuple(families)))


def _usual(families: tuple[str, ...], infos: Mapping[str, ChannelInfo]) -> Preparation:
    first = {kind: next((n for n, i in infos.items() if i.kind == kind), kind) for kind in KINDS}
    eeg = tuple(name for name, info in infos.items() if info.kind == "eeg")
    steps: list[signal.Step] = []
    words = {"pulse": first["ppg"], "ecg": first["ecg"]}
    if any(name in infos for name in words.values()):
        steps.append(signal.Resample(PULSE_FS_HZ))
    if words["pulse"] in infos:
        steps += [
            signal.Bandpass(words["pulse"], PULSE_NAME, 0.5, 12.0),
            signal.DetectBeats(PULSE_NAME),
            signal.DetectFiducials(PULSE_NAME),
        ]
    if words["ecg"] in infos:
        steps += [signal.Bandpass(words["ecg"], ECG_NAME, 0.5, 40.0), signal.DetectBeats(ECG_NAME)]
    if eeg:
        steps += [signal.EegFilter(1.0, min(45.0, 0.45 * infos[eeg[0]].fs)), signal.EegReference("average")]
    content = {"families": families, "pulse": PULSE_NAME, "raw": words["pulse"], "ecg": ECG_NAME, "eeg": eeg}
    content |= {"eda": first["eda"], "temperature": first["temp"], "respiration": first["resp"]}
    chosen = build(FeatureSettings, content | {"prv": PULSE_NAME, "hrv": ECG_NAME}, "features")
    required = features.required_channels(chosen)
    trails = dict.fromkeys(features.required_trails(chosen), 1.0)
    carried = required or tuple(trails)[:1] or tuple(infos)[:1]
    optional = tuple(n for n in (words["ecg"], ECG_NAME) if n not in carried)
    return Preparation(BLOOD_PRESSURE, tuple(steps), windows.Windowing(1.0, carried, optional=optional, trails=trails), chosen)


def windowing_for(made: Preparation, length_s: float) -> windows.Windowing:
    """Return the cutting that gives the whole of each window, and refuses only what holds gaps."""
    cut = made.windowing
    return windows.Windowing(
        length_s, cut.channels, optional=cut.optional, label="record", require_label=False,
        trails=dict.fromkeys(cut.trails, length_s), max_flat=1.0, max_clipped=1.0,
    )  # fmt: skip


def features_of(X: F32, infos: Sequence[ChannelInfo], made: Preparation, names: tuple[str, ...]) -> F32:
    """Return the features (n, F) of windows (n, C, L); a window with a gap too long to be bridged has NaN throughout."""
    out = np.full((len(X), len(names)), np.nan, np.float32)
    length_s = X.shape[2] / infos[0].fs
    alone = replace(made, windowing=windowing_for(made, length_s))
    kept, parts = [], []
    for k, row in enumerate(X):
        channels = {i.name: Channel(i.name, i.kind, i.unit, i.fs, row[c]) for c, i in enumerate(infos)}
        record = Record(f"window {k}", "unknown", "1", channels)
        for step in alone.steps:
            record = step(record)
        cut = windows.cut(record, alone.windowing, alone.task)
        if len(cut):
            kept.append(k)
            parts.append(cut)
    if parts:
        out[kept] = features.extract(_joined(parts), alone.features, alone.task).values
    return out


def _joined(parts: Sequence[Windows]) -> Windows:
    """Return windows of many records, one each, as if they were of one: what is counted by windows is counted anew."""
    first = parts[0]
    return replace(
        first,
        onset_s=np.arange(len(parts), dtype=np.float64),
        signal=np.concatenate([part.signal for part in parts]),
        sqi=np.concatenate([part.sqi for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
        beats={name: _joined_beats([part.beats.get(name) for part in parts]) for name in _names(parts)},
        facts={},
        rejected=(),
        trails={name: _joined_trail([part.trails[name] for part in parts]) for name in first.trails},
    )


def _names(parts: Sequence[Windows]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in parts for name in part.beats))


def _joined_beats(parts: Sequence[WindowBeats | None]) -> WindowBeats:
    found = [(k, beats) for k, beats in enumerate(parts) if beats is not None]
    each = [beats for _, beats in found]
    points = tuple(dict.fromkeys(name for beats in each for name in beats.points))
    return WindowBeats(
        channel=each[0].channel,
        fs=each[0].fs,
        window=np.concatenate([np.full(len(beats), k, np.int64) for k, beats in found]),
        onset=np.concatenate([beats.onset for beats in each]),
        peak=np.concatenate([beats.peak for beats in each]),
        end=np.concatenate([beats.end for beats in each]),
        quality=np.concatenate([beats.quality for beats in each]),
        points={p: np.concatenate([b.points.get(p, np.full(len(b), np.nan)) for b in each]) for p in points},
        normal=np.concatenate([beats.normal for beats in each]),
    )


def _joined_trail(parts: Sequence[Trail]) -> Trail:
    beats = [part.beats for part in parts]
    return replace(
        parts[0],
        signal=np.concatenate([part.signal for part in parts]),
        sqi=np.concatenate([part.sqi for part in parts]),
        beats=_joined_beats(beats) if any(one is not None for one in beats) else None,
    )
