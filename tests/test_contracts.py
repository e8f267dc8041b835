"""Laws that every entry of a table keeps. A new entry is found here by its table and must come with an example.

Input untouched, finite out for finite in, shape, determinism, frozen settings that say what they are, a stable digest.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from biosig_mtl import signal
from biosig_mtl.data.readers import LISTERS, READERS
from biosig_mtl.data.synthetic import Cohort, simulate, write
from biosig_mtl.evaluation import metrics
from biosig_mtl.features import FEATURES, FeatureSettings, extract, plan
from biosig_mtl.models import MODELS, baselines
from biosig_mtl.models import build as build_model
from biosig_mtl.models.encoders import ENCODERS, TokenChoice
from biosig_mtl.recipe import build, digest
from biosig_mtl.signal import STEPS
from biosig_mtl.signal.beats import DETECTORS
from biosig_mtl.tasks import BLOOD_PRESSURE, TASKS
from biosig_mtl.training.independence import MATRICES
from biosig_mtl.types import (
    Batch,
    BiosigError,
    Channel,
    ChannelInfo,
    DataError,
    Entry,
    Head,
    HeadKind,
    InputSpec,
    Record,
    Source,
    TrackSpec,
    Trail,
    WindowBeats,
    Windows,
    WindowTable,
)
from biosig_mtl.windows import ReferenceRules, Windowing, cut

FS = 125.0
SECONDS = 30
ELECTRODES = ("F3", "F4", "Fp1", "Fp2", "Pz")
PERSON = {"age_years": 50.0, "sex_male": 1.0, "height_cm": 170.0, "weight_kg": 70.0}


# --------------------------------------------------------------------------------------------------------- what laws compare
def arrays(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every array and plain value inside a value, with the way to it."""
    if isinstance(value, np.ndarray | torch.Tensor):
        yield name, np.asarray(value.detach() if isinstance(value, torch.Tensor) else value)
    elif isinstance(value, Mapping):
        for key in value:
            yield from arrays(value[key], f"{name}[{key}]")
    elif is_dataclass(value):
        for f in fields(value):
            yield from arrays(getattr(value, f.name), f"{name}.{f.name}")
    elif isinstance(value, tuple | list):
        for i, item in enumerate(value):
            yield from arrays(item, f"{name}[{i}]")
    else:
        yield name, value


def snapshot(value: Any) -> dict[str, Any]:
    return {name: found.copy() if isinstance(found, np.ndarray) else found for name, found in arrays(value)}


def same(first: Any, second: Any) -> None:
    a, b = snapshot(first), snapshot(second)
    assert a.keys() == b.keys()
    for name, value in a.items():
        np.testing.assert_array_equal(value, b[name], err_msg=name)


def is_settings(kind: type[Any]) -> None:
    """Hold a settings class to the laws of settings."""
    assert is_dataclass(kind)
    assert kind.__dataclass_params__.frozen, f"{kind.__name__} is not frozen"  # type: ignore[attr-defined]
    assert (kind.__doc__ or "").strip()
    assert not (kind.__doc__ or "").startswith(f"{kind.__name__}("), f"{kind.__name__} has no docstring of its own"


def survives_a_recipe(settings: Any) -> None:
    """Settings come back from plain content, and their digest follows every value and nothing else."""
    content = asdict(settings)
    assert build(type(settings), content, "test") == settings
    assert digest(settings) == digest(dict(reversed(content.items()))) == digest(content)
    for word, value in content.items():
        assert digest({**content, word: [value, "another"]}) != digest(content)
    with pytest.raises(BiosigError, match="unknown setting") as error:
        build(type(settings), {"no_such_word": 1}, "test")
    assert "\n" not in str(error.value)


# --------------------------------------------------------------------------------------------------------------------- tasks
@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_named_and_bounded_and_bars_its_reference(name: str) -> None:
    task = TASKS[name]
    assert task.name == name
    assert len(set(task.target_names)) == len(task.targets) > 0
    assert all(t.low < t.high and t.unit for t in task.targets)
    assert task.reference_kinds


# --------------------------------------------------------------------------------------------------------------------- steps
STEP_EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "resample": [{"fs_hz": 100.0}, {"fs_hz": 250.0}, {"fs_hz": FS}, {"fs_hz": 100.0, "kinds": ("eeg",)}],
    "bandpass": [
        {"channel": "ppg", "name": "new", "low_hz": 0.5, "high_hz": 8.0},
        {"channel": "ecg", "name": "new", "low_hz": 0.5, "high_hz": 40.0, "family": "chebyshev2", "order": 4},
    ],
    "detect_beats": [{"channel": "ppg_12hz"}, {"channel": "ecg_40hz"}, {"channel": "abp"}, {"channel": "abp", "name": "line"}],
    "detect_fiducials": [{"channel": "ppg_12hz"}, {"channel": "abp"}, {"channel": "ecg_40hz"}],
    "assess_quality": [{"channel": "ppg_12hz", "raw": "ppg"}, {"channel": "ecg_40hz", "raw": "ecg"}, {"channel": "abp"}],
    "eeg_filter": [{}, {"low_hz": 0.5, "high_hz": 58.0, "order": 2, "notch_hz": 50.0, "kinds": ("eeg",)}],
    "eeg_bad_channels": [{}, {"repair": "mark", "block_s": 8.0}],
    "eeg_reference": [{}, {"to": "channels", "channels": ("F3", "F4")}, {"to": "none"}],
    "eeg_eog": [{}, {"block_s": 10.0}],
}
STEPS_AND_SETTINGS = [(name, settings) for name, found in STEP_EXAMPLES.items() for settings in found]


def brain() -> dict[str, Channel]:
    """Return channels of EEG that have a part in common, and an EOG that leaks into the frontal ones."""
    rng = np.random.default_rng(0)
    noise = np.cumsum(rng.normal(0, 1, (len(ELECTRODES) + 2, round(SECONDS * FS))), axis=1) + rng.normal(
        0, 5, (len(ELECTRODES) + 2, 1)
    )
    noise -= np.array([np.convolve(row, np.ones(125) / 125, "same") for row in noise])
    eye = 60 * np.exp(-((((np.arange(noise.shape[1]) / FS) % 4 - 2) / 0.1) ** 2))
    mixed = {name: 8 * (noise[k] + noise[-2]) + eye * name.startswith("Fp") for k, name in enumerate(ELECTRODES)}
    made = {name: Channel(name, "eeg", "uV", FS, x.astype(np.float32)) for name, x in mixed.items()}
    return made | {"veog": Channel("veog", "eog", "uV", FS, (3 * noise[-1] + 4 * eye).astype(np.float32))}


@cache
def described() -> Record:
    """Return a simulated record with every channel, beats, fiducials and quality."""
    made = simulate(Cohort(n_subjects=1, records_per_subject=1, record_s=SECONDS, fault_share=0), 0)[0]
    kinds = {"ppg": ("PLETH", "NU"), "ecg": ("II", "mV"), "abp": ("ABP", "mmHg")}
    channels = {n: Channel(n, n, unit, FS, made.channels[there], there) for n, (there, unit) in kinds.items()}
    record = Record("r1", "s1", "1", channels | brain(), demographics=PERSON, timing_reliable=True)
    steps: list[signal.Step] = [
        signal.Bandpass("ppg", "ppg_8hz", 0.5, 8),
        signal.Bandpass("ppg", "ppg_12hz", 0.5, 12),
        signal.Bandpass("ecg", "ecg_40hz", 0.5, 40),
        *(signal.DetectBeats(n) for n in ("ppg_12hz", "ecg_40hz", "abp")),
        signal.DetectFiducials("ppg_12hz"),
        signal.AssessQuality("ppg_12hz", raw="ppg"),
    ]
    for step in steps:
        record = step(record)
    return record


def info(record: Record) -> dict[str, ChannelInfo]:
    return {n: ChannelInfo(n, c.kind, c.unit, c.fs) for n, c in record.channels.items()}


def test_every_step_has_an_example() -> None:
    assert set(STEP_EXAMPLES) == set(STEPS)
    shown = {described().channels[s["channel"]].kind for name, s in STEPS_AND_SETTINGS if name == "detect_beats"}
    assert shown == set(DETECTORS)


@pytest.mark.parametrize("name", STEPS)
def test_the_settings_of_a_step_are_settings(name: str) -> None:
    is_settings(STEPS[name])
    assert (STEPS[name].__call__.__doc__ or "").strip()
    assert (STEPS[name].plan.__doc__ or "").strip()


@pytest.mark.parametrize(("name", "settings"), STEPS_AND_SETTINGS)
def test_a_step_keeps_the_laws(name: str, settings: dict[str, Any]) -> None:
    step = build(STEPS[name], settings, name)
    assert isinstance(step, signal.Step)
    survives_a_recipe(step)
    assert np.isfinite(step.reach_s)
    assert step.reach_s >= 0
    record = described()
    before = snapshot(record)
    planned = step.plan(info(record))
    made = step(record)
    for key, value in snapshot(record).items():
        np.testing.assert_array_equal(value, before[key], err_msg=f"{name} changed its input {key}")
    same(made, step(record))
    assert {n: (c.kind, c.fs) for n, c in made.channels.items()} == {n: (c.kind, c.fs) for n, c in planned.items()}
    assert (made.name, made.subject, made.session, made.start_s) == (record.name, record.subject, record.session, 0.0)
    for channel in made.channels.values():
        assert channel.samples.dtype == np.float32
        assert np.isfinite(channel.samples).all(), f"{name} made {channel.name} not finite"
        assert abs(channel.samples.size / channel.fs - SECONDS) < 2 / channel.fs
    for beats in made.beats.values():
        assert beats.onset.size == beats.peak.size == beats.end.size == beats.quality.size > 10
        assert (np.diff(beats.onset) > 0).all()
        assert np.isfinite(beats.quality).all()
        assert ((beats.quality >= 0) & (beats.quality <= 1)).all()
        assert all(points.shape == beats.onset.shape for points in beats.points.values())
    for quality in made.quality.values():
        assert ((quality.sqi >= 0) & (quality.sqi <= 1)).all()
        assert {"missing", "flat", "clipped"} <= set(quality.indices)
        assert all(track.shape == quality.sqi.shape for track in quality.indices.values())


@pytest.mark.parametrize(("name", "settings"), STEPS_AND_SETTINGS)
def test_a_step_takes_missing_flat_and_short_signals(name: str, settings: dict[str, Any]) -> None:
    step = build(STEPS[name], settings, name)
    whole = described()
    half = np.concatenate([np.zeros(50), np.full(50, np.nan)])
    for samples in (np.full(1000, np.nan), np.zeros(1000), half, np.zeros(3), np.zeros(1)):
        channels = {n: replace(c, samples=samples.astype(np.float32)) for n, c in whole.channels.items()}
        # A step either works or refuses in its own words.
        with contextlib.suppress(BiosigError):
            made = step(replace(whole, channels=channels, beats={}, quality={}))
            for channel in made.channels.values():
                assert not np.isinf(channel.samples).any()


@pytest.mark.parametrize(("name", "settings"), STEPS_AND_SETTINGS)
def test_a_step_takes_channels_without_samples(name: str, settings: dict[str, Any]) -> None:
    whole = described()
    channels = {n: replace(c, samples=np.empty(0, np.float32)) for n, c in whole.channels.items()}
    with contextlib.suppress(BiosigError):
        made = build(STEPS[name], settings, name)(replace(whole, channels=channels, beats={}, quality={}))
        assert all(c.samples.size == 0 for c in made.channels.values())


@pytest.mark.parametrize(("name", "settings"), [(n, s) for n, s in STEPS_AND_SETTINGS if "channel" in s])
def test_a_step_without_its_channel_says_so_or_passes(name: str, settings: dict[str, Any]) -> None:
    record = described()
    empty = replace(record, channels={"eda": Channel("eda", "eda", "uS", 4.0, np.ones(120, np.float32))}, beats={}, quality={})
    step = build(STEPS[name], settings, name)
    for look in (lambda: step(empty), lambda: step.plan(info(empty))):
        with pytest.raises(BiosigError, match=f"missing channel '{settings['channel']}'") as error:
            look()
        assert "\n" not in str(error.value)
    optional = build(STEPS[name], {**settings, "optional": True}, name)
    assert optional.optional
    same(optional(empty), empty)
    assert optional.plan(info(empty)) == info(empty)


# ------------------------------------------------------------------------------------------------------------------ features
@cache
def some_windows() -> Windows:
    names = ("ppg", "ppg_8hz", "ppg_12hz", *ELECTRODES)
    rules = ReferenceRules(max_sd_mmhg=100)
    windows = cut(described(), Windowing(6.0, names, 3.0, ("ecg", "ecg_40hz"), rules=rules), BLOOD_PRESSURE)
    return replace(windows, trails={name: some_trail(name, len(windows)) for name in ("eda", "temp", "resp", "ppg", "ecg")})


def some_trail(name: str, count: int) -> Trail:
    """Return two minutes at 64 Hz that swing, with a beat every 0.9 s."""
    t = np.arange(120 * 64) / 64
    swing = 0.5 * np.sin(2 * np.pi * t * np.linspace(0.1, 0.3, count)[:, None]) - np.cos(2 * np.pi * (t - 0.2) / 0.9)
    at = np.rint(np.arange(0.2, 119, 0.9) * 1000).astype(np.int64)
    window, onset = np.repeat(np.arange(count), at.size - 1), np.tile(at[:-1], count)
    end, quality = np.tile(at[1:], count), np.ones(window.size, np.float32)
    beats = WindowBeats(name, 1000.0, window, onset, onset + 450, end, quality)
    return Trail(name, name, 64.0, (5 + swing).astype(np.float32), np.ones(count, np.float32), beats)


def trail_rows(trail: Trail, chosen: np.ndarray[Any, Any]) -> Trail:
    """Return the trail of some windows."""
    b = trail.beats
    assert b is not None
    here = np.concatenate([np.flatnonzero(b.window == r) for r in chosen] or [np.empty(0, int)]).astype(int)
    new = np.repeat(np.arange(chosen.size), [(b.window == r).sum() for r in chosen]).astype(np.int64)
    per_beat = {k: getattr(b, k)[here] for k in ("onset", "peak", "end", "quality", "normal")}
    return replace(trail, signal=trail.signal[chosen], sqi=trail.sqi[chosen], beats=replace(b, window=new, **per_beat))


def rows_of(windows: Windows, rows: Any) -> Windows:
    """Return some windows as a record of its own."""
    chosen = np.asarray(rows)
    beats = {}
    for name, b in windows.beats.items():
        here = np.concatenate([np.flatnonzero(b.window == r) for r in chosen] or [np.empty(0, int)]).astype(int)
        new = np.repeat(np.arange(chosen.size), [(b.window == r).sum() for r in chosen])
        beats[name] = replace(
            b,
            window=new.astype(np.int64),
            **{k: getattr(b, k)[here] for k in ("onset", "peak", "end", "quality")},
            points={k: v[here] for k, v in b.points.items()},
        )
    return replace(
        windows,
        onset_s=windows.onset_s[chosen],
        signal=windows.signal[chosen],
        sqi=windows.sqi[chosen],
        targets=windows.targets[chosen],
        beats=beats,
        facts={k: v[chosen] for k, v in windows.facts.items()},
        trails={k: trail_rows(v, chosen) for k, v in windows.trails.items()},
    )


WAVEFORMS: list[dict[str, Any]] = [
    {"waveform": ("ppg_8hz", "vpg", "apg", "ecg_40hz")},
    {"waveform": ("ppg",), "waveform_scale": "none", "waveform_hz": 62.5},
]
FEATURE_SETTINGS = [FeatureSettings((name,), eeg=ELECTRODES, **w) for name in FEATURES for w in WAVEFORMS]


def label(settings: FeatureSettings) -> str:
    return f"{settings.families[0]}-{settings.waveform_scale}"


@pytest.mark.parametrize("name", FEATURES)
def test_a_family_of_features_says_what_it_is(name: str) -> None:
    assert (FEATURES[name].run.__doc__ or "").strip()
    is_settings(FeatureSettings)


@pytest.mark.parametrize("settings", FEATURE_SETTINGS, ids=label)
def test_a_family_of_features_keeps_the_laws(settings: FeatureSettings) -> None:
    survives_a_recipe(settings)
    windows = some_windows()
    n = len(windows)
    assert n > 4
    before = snapshot(windows)
    made = extract(windows, settings, BLOOD_PRESSURE)
    for key, value in snapshot(windows).items():
        np.testing.assert_array_equal(value, before[key], err_msg=key)
    same(made, extract(windows, settings, BLOOD_PRESSURE))
    assert made.values.shape == (n, len(made.names))
    assert made.values.dtype == made.waveform.dtype == np.float32
    assert len(set(made.names)) == len(made.names) > 0
    assert all("." in name for name in made.names)
    assert not np.isinf(made.values).any()
    assert np.isfinite(made.values).any(axis=0).mean() > 0.2
    assert made.waveform.shape[:2] == (n, len(settings.waveform))
    assert made.waveform_channels == settings.waveform
    assert np.isfinite(made.waveform).all()
    names, waveform = plan(settings, info(described()), BLOOD_PRESSURE)
    assert (names, waveform) == (made.names, made.waveform_channels)


@pytest.mark.parametrize("settings", FEATURE_SETTINGS, ids=label)
def test_a_window_has_the_same_features_whatever_its_neighbours(settings: FeatureSettings) -> None:
    windows = some_windows()
    whole = extract(windows, settings, BLOOD_PRESSURE)
    for rows in ([0], [3, 1], list(range(len(windows)))[::-1], []):
        part = extract(rows_of(windows, np.array(rows, int)), settings, BLOOD_PRESSURE)
        assert part.names == whole.names
        np.testing.assert_allclose(part.values, whole.values[rows], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(part.waveform, whole.waveform[rows], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", FEATURE_SETTINGS, ids=label)
def test_targets_facts_and_the_reference_do_not_change_a_feature(settings: FeatureSettings) -> None:
    windows = some_windows()
    rng = np.random.default_rng(0)
    other = replace(
        windows,
        targets=rng.normal(0, 1, windows.targets.shape).astype(np.float32),
        facts={k: rng.permutation(v) for k, v in windows.facts.items()},
        beats={k: v for k, v in windows.beats.items() if k != "abp"},
        subject="other",
        record="other",
    )
    same(extract(windows, settings, BLOOD_PRESSURE), extract(other, settings, BLOOD_PRESSURE))


@pytest.mark.parametrize("settings", FEATURE_SETTINGS, ids=label)
def test_flat_windows_without_beats_give_no_infinity(settings: FeatureSettings) -> None:
    windows = rows_of(some_windows(), np.array([0, 1]))
    beatless = {
        name: replace(
            b,
            **{k: getattr(b, k)[:0] for k in ("window", "onset", "peak", "end", "quality")},
            points={k: v[:0] for k, v in b.points.items()},
        )
        for name, b in windows.beats.items()
    }
    for level in (0.0, 1e-30, 5.0):
        flat = replace(windows, signal=np.full_like(windows.signal, level), beats=beatless, demographics={})
        made = extract(flat, settings, BLOOD_PRESSURE)
        assert made.values.shape[0] == 2
        assert not np.isinf(made.values).any()
        assert np.isfinite(made.waveform).all()


# ------------------------------------------------------------------------------------------------------------------- readers
def wave(rows: int = 1000) -> Any:
    return np.round(np.random.default_rng(1).normal(0, 1, (rows, 2)), 3)


def wfdb_example(folder: Path) -> Path:
    cohort = write(Cohort(n_subjects=1, records_per_subject=1, record_s=10, fault_share=0), folder / "c")
    return cohort / "s001" / "s001_1.hea"


def uci_example(folder: Path) -> Path:
    path = folder / "Part_1.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        cell = file.create_dataset("#refs#/a", data=np.random.default_rng(0).normal(90, 9, (1000, 3)))
        file.create_dataset("Part_1", (1, 1), dtype=h5py.ref_dtype)[0, 0] = cell.ref
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file")
    return path


def ppg_bp_example(folder: Path) -> Path:
    path = folder / "2_1.txt"
    path.write_text("\t".join(f"{v:.1f}" for v in 2000 + 100 * wave(2100)[:, 0]))
    return path


def table_example(folder: Path) -> Path:
    path = folder / "own.csv"
    pd.DataFrame({"time": np.arange(1000) / 100, "PLETH": wave()[:, 0], "II": wave()[:, 1]}).to_csv(path, index=False)
    return path


def edf_example(folder: Path) -> Path:
    words: list[tuple[object, int]] = [
        (0, 8), ("X X X X", 80), ("x", 80), ("01.01.20", 8), ("00.00.00", 8), (512, 8), ("", 44), (10, 8), (1, 8), (1, 4),
        ("PLETH", 16), ("", 80), ("NU", 8), (-1, 8), (1, 8), (-32768, 8), (32767, 8), ("", 80), (100, 8), ("", 32),
    ]  # fmt: skip
    head = b"".join(str(word).encode().ljust(width) for word, width in words)
    path = folder / "a.edf"
    path.write_bytes(head + (3000 * wave()[:, 0]).astype("<i2").tobytes())
    return path


def mne_example(folder: Path) -> Path:
    import mne

    path = folder / "a_raw.fif"
    raw = mne.io.RawArray(wave().T * 1e-5, mne.create_info(["ECG", "Fp1"], 100.0, ["ecg", "eeg"]), verbose="ERROR")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw.save(path, verbose="ERROR")
    return path


def deidentified_example(folder: Path) -> Path:
    from biosig_mtl.data.deidentify import CleanSettings, deidentify
    from biosig_mtl.data.listing import Listing
    from biosig_mtl.data.readers import entry_for

    listing = Listing((replace(entry_for(wfdb_example(folder)), options={}),))
    deidentify(listing, None, (folder / "copy", folder / "map.json"), CleanSettings())
    return next((folder / "copy").glob("records/*/*.hea"))


@dataclass(frozen=True)
class Example:
    """How to make a file of a format, and the channels to ask for."""

    make: Callable[[Path], Path]
    channels: Mapping[str, tuple[str, ...]]


READER_EXAMPLES: dict[str, Example] = {
    "wfdb": Example(wfdb_example, {"ppg": ("PLETH",), "abp": ("ABP",)}),
    "uci_mat": Example(uci_example, {}),
    "ppg_bp": Example(ppg_bp_example, {}),
    "table": Example(table_example, {"ppg": ("PLETH",), "ecg": ("II",)}),
    "edf": Example(edf_example, {"ppg": ("PLETH",)}),
    "mne": Example(mne_example, {"ecg": ("ECG",)}),
    "deidentified": Example(deidentified_example, {"ppg": ("ppg",), "abp": ("abp",)}),
}


def entry(name: str, path: Path, channels: Mapping[str, tuple[str, ...]] | None = None) -> Entry:
    wanted = READER_EXAMPLES[name].channels if channels is None else channels
    options = {"key": "Part_1", "cell": 0} if name == "uci_mat" else {}
    return Entry("own", "rec", "sub", "ses", path, name, wanted, demographics={"age_years": 3.0}, options=options)


# Formats that find their records by rules of their own are held to the laws in test_set_contracts.py.
OF_FILES = sorted(set(READERS) - set(LISTERS))


def test_every_reader_has_an_example() -> None:
    assert set(READER_EXAMPLES) == set(OF_FILES)


@pytest.mark.parametrize("name", OF_FILES)
def test_a_reader_keeps_the_laws(name: str, tmp_path: Path) -> None:
    assert (READERS[name].__doc__ or "").strip()
    path = READER_EXAMPLES[name].make(tmp_path)
    files = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    source = READERS[name](entry(name, path))
    assert isinstance(source, Source)
    assert set(READER_EXAMPLES[name].channels) <= set(source.channels)
    whole = source.read()
    assert (whole.name, whole.subject, whole.session, whole.start_s) == ("rec", "sub", "ses", 0.0)
    assert whole.demographics == {"age_years": 3.0}
    for ours, channel in whole.channels.items():
        told = source.channels[ours]
        assert (told.name, told.kind, told.unit, told.fs) == (channel.name, channel.kind, channel.unit, channel.fs)
        assert channel.samples.dtype == np.float32
        assert np.isfinite(channel.samples).all()
        assert channel.samples.size == round(source.duration_s * channel.fs)
        assert channel.samples.std() > 0
    same(whole, READERS[name](entry(name, path)).read())
    ends = [0.0, 0.5, 0.51, source.duration_s / 2, source.duration_s]
    parts = [source.read(a, b) for a, b in pairwise(sorted(ends))]
    for ours in whole.channels:
        joined = np.concatenate([part.channel(ours).samples for part in parts])
        np.testing.assert_array_equal(joined, whole.channel(ours).samples)
    beyond = source.read(source.duration_s + 5, source.duration_s + 9)
    assert all(c.samples.size == 0 for c in beyond.channels.values())
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == files


@pytest.mark.parametrize("name", OF_FILES)
def test_a_reader_refuses_what_it_cannot_read_in_one_line_that_names_the_file(name: str, tmp_path: Path) -> None:
    path = READER_EXAMPLES[name].make(tmp_path)
    with pytest.raises(DataError) as error:
        READERS[name](entry(name, path, {"ppg": ("no such channel",)}))
    assert path.stem in str(error.value)
    assert "\n" not in str(error.value)
    for content in (b"", b"\x00\xff" * 300, b"nothing of the kind\n" * 40):
        path.write_bytes(content)
        with pytest.raises(DataError) as error:
            READERS[name](entry(name, path)).read()
        assert path.stem in str(error.value)
        assert "\n" not in str(error.value)
    path.unlink()
    with pytest.raises(DataError) as error:
        READERS[name](entry(name, path)).read()
    assert path.stem in str(error.value)


# ------------------------------------------------------------------------------------------------------------------ networks
SPEC = InputSpec(("ppg", "vpg"), 256, ("pulse.a", "pulse.b", "hr.a"), ("sbp", "dbp"))
EEG, EDA = TrackSpec("eeg", ("F3", "F4", "Cz", "O1", "EMG"), 256, 128.0), TrackSpec("eda", ("eda",), 120, 4.0)
SEVERAL = InputSpec((), 0, ("eeg_de.alpha.F3", "eeg_de.alpha.Cz", "eda.scl", "hr.a"), ("valence", "arousal"), (EEG, EDA))
# What a model that does not take every input is shown.
MODEL_SPECS: dict[str, InputSpec] = {"histn": replace(SEVERAL, features=(), tracks=(EEG,))}
MODEL_INPUTS = [(name, spec) for name in MODELS for spec in ([MODEL_SPECS[name]] if name in MODEL_SPECS else [SPEC, SEVERAL])]
HEADS: dict[str, Head] = {
    "regression": Head(),
    "binary": Head("binary", (5.0,)),
    "classes": Head("classes", (4.0, 6.0)),
    "ordinal": Head("ordinal", (2.0, 4.0, 6.0, 8.0)),
    "rasch": Head("rasch", (2.0, 4.0, 6.0, 8.0)),
}


def batch(n: int = 6, spec: InputSpec = SPEC) -> Batch:
    rng = torch.Generator().manual_seed(0)
    missing = torch.rand(n, len(spec.features), generator=rng) < 0.3
    return Batch(
        waveform=torch.randn(n, len(spec.waveform_channels), spec.samples, generator=rng),
        values=torch.randn(n, len(spec.features), generator=rng).masked_fill(missing, 0.0),
        missing=missing,
        targets=torch.randn(n, len(spec.targets), generator=rng),
        weight=torch.ones(n),
        tracks={t.name: torch.randn(n, len(t.channels), t.samples, generator=rng) for t in spec.tracks},
        present={t.name: torch.rand(n, len(t.channels), generator=rng) < 0.8 for t in spec.tracks},
    )


def window(given: Batch, i: int) -> Batch:
    """Return one window of a batch as a batch."""
    some = slice(i, i + 1)
    tracks, present = ({name: part[some] for name, part in parts.items()} for parts in (given.tracks, given.present))
    plain = given.waveform[some], given.values[some], given.missing[some], given.targets[some], given.weight[some]
    return Batch(*plain, tracks=tracks, present=present)


def network(name: str, spec: InputSpec = SPEC, **settings: Any) -> torch.nn.Module:
    torch.manual_seed(3)
    return build_model(name, MODELS[name].settings(**settings), spec)


def test_every_kind_of_head_is_tried() -> None:
    assert set(HEADS) == set(get_args(HeadKind))


@pytest.mark.parametrize(("name", "spec"), MODEL_INPUTS)
def test_a_network_keeps_the_laws(name: str, spec: InputSpec) -> None:
    is_settings(MODELS[name].settings)
    survives_a_recipe(MODELS[name].settings())
    net, given = network(name, spec).eval(), batch(spec=spec)
    assert (type(net).__doc__ or "").strip()
    before = snapshot(given)
    with torch.no_grad():
        made = net(given)
        same(made, net(given))
        same(made, network(name, spec).eval()(given))
        for key, value in snapshot(given).items():
            np.testing.assert_array_equal(value, before[key], err_msg=key)
        assert made.predictions.shape == (6, 2)
        assert made.predictions.dtype == torch.float32
        for key, value in arrays(made):
            assert value is None or np.isfinite(value).all(), key
        alone = torch.cat([net(window(given, i)).predictions for i in range(6)])
        torch.testing.assert_close(alone, made.predictions, rtol=1e-4, atol=1e-5)
        blind = replace(given, targets=torch.full_like(given.targets, float("nan")), weight=torch.zeros(6))
        torch.testing.assert_close(net(blind).predictions, made.predictions)


@pytest.mark.parametrize(("name", "spec"), MODEL_INPUTS)
def test_every_weight_of_a_network_learns(name: str, spec: InputSpec) -> None:
    net, given = network(name, spec, dropout=0.0).train(), batch(16, spec)
    made = net(given)
    loss = (made.predictions - given.targets).square().mean()
    if made.private is not None:
        loss = loss + made.private.square().mean()
    for early in made.early:
        loss = loss + early.square().mean()
    loss.backward()
    idle = [key for key, p in net.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not idle


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", HEADS)
def test_a_network_answers_with_any_head(name: str, kind: str) -> None:
    spec = replace(MODEL_SPECS.get(name, SPEC), targets=("a", "b"), heads=(Head(), HEADS[kind]))
    with torch.no_grad():
        made = network(name, spec).eval()(batch(spec=spec))
    assert made.predictions.shape == (6, 2)
    assert torch.isfinite(made.predictions).all()
    classes = HEADS[kind].classes
    if not classes:
        assert made.logits is None
        return
    assert made.logits is not None
    assert made.logits.shape == (6, 2, classes)
    assert (made.logits[:, 0] == 0).all()
    shares = torch.softmax(made.logits[:, 1], dim=1)
    torch.testing.assert_close(made.predictions[:, 1], (shares * torch.arange(classes)).sum(1))


@pytest.mark.parametrize("name", [name for name in MODELS if name not in MODEL_SPECS])
@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, features=()),
        replace(SPEC, waveform_channels=(), samples=0),
        replace(SPEC, targets=("valence",)),
        replace(SPEC, samples=999, targets=("a", "b", "c")),
        replace(SPEC, tracks=(EEG, EDA)),
        replace(SEVERAL, features=(), tracks=(replace(EDA, samples=7),)),
    ],
    ids=["no features", "no waveform", "one target", "odd length", "waveform and tracks", "seven samples"],
)
def test_a_network_takes_other_inputs_and_targets(name: str, spec: InputSpec) -> None:
    with torch.no_grad():
        made = network(name, spec).eval()(batch(4, spec))
    assert made.predictions.shape == (4, len(spec.targets))
    assert torch.isfinite(made.predictions).all()


@pytest.mark.parametrize("name", MODELS)
def test_a_network_that_has_nothing_to_look_at_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(BiosigError) as error:
        network(name, InputSpec((), 0, (), ("sbp",)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_makes_tokens(name: str) -> None:
    choice = TokenChoice(16, name, 32, True, 0.0)
    is_settings(TokenChoice)
    for samples in (256, 1000):
        torch.manual_seed(0)
        encoder = ENCODERS[name](2, choice).eval()
        with torch.no_grad():
            tokens = encoder(torch.randn(3, 2, samples))
        assert tokens.shape[0] == 3
        assert tokens.shape[2] == 16
        assert abs(tokens.shape[1] - samples / 32) <= 1
        assert torch.isfinite(tokens).all()


@pytest.mark.parametrize("name", MATRICES)
def test_a_measure_of_dependence_is_symmetric_and_tells_a_copy_from_noise(name: str) -> None:
    torch.manual_seed(0)
    first, second = torch.randn(2, 256, 4)
    found = MATRICES[name](torch.stack([first, first, second]))
    assert found.shape == (3, 3)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found, found.T)
    assert found[0, 1] > 4 * found[0, 2].abs()
    assert (MATRICES[name].__doc__ or "").strip()


# ----------------------------------------------------------------------------------------------------------------- baselines
@cache
def some_table() -> WindowTable:
    rng = np.random.default_rng(0)
    n, names = 120, ("person.age_years", "hr.mean_per_min", "pulse.a", "pulse.never")
    values = rng.normal(0, 1, (n, 4)).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    values[:, 3] = np.nan
    known = np.nan_to_num(values)
    targets = np.stack([120 + 9 * known[:, 0] + 3 * known[:, 1], 80 + 5 * known[:, 2]], axis=1).astype(np.float32)
    targets[:5, 1] = np.nan
    index = pd.DataFrame({"subject": [f"s{i // 6}" for i in range(n)], "stimulus": [f"clip{i % 6}" for i in range(n)]})
    wave_ = np.zeros((n, 1, 8), np.float32)
    return WindowTable(index, values, names, wave_, ("ppg",), FS, targets, ("sbp", "dbp"))


def table_for(name: str) -> WindowTable:
    """Return a table that the baseline answers: with classes where it answers nothing else."""
    table = some_table()
    classes = (Head("binary", (120.0,)), Head("ordinal", (76.0, 83.0)))
    return table if baselines.BASELINES[name].numbers else replace(table, heads=classes)


@pytest.mark.parametrize("name", baselines.BASELINES)
def test_a_baseline_keeps_the_laws(name: str) -> None:
    table = table_for(name)
    values, targets = table.values.copy(), table.targets.copy()
    rows, held = np.arange(90), np.arange(90, 120)
    first, second = (baselines.fit(name, table, rows, seed=1) for _ in range(2))
    assert (first.name, first.reason) == (name, "")
    np.testing.assert_array_equal(first.fitted_rows, rows)
    made, again = first.predict(table.values[held]), second.predict(table.values[held])
    assert made is not None
    assert again is not None
    assert made.shape == (30, 2)
    assert np.isfinite(made).all()
    np.testing.assert_array_equal(made, again)
    np.testing.assert_array_equal(table.values, values)
    np.testing.assert_array_equal(table.targets, targets)


@pytest.mark.parametrize("name", baselines.BASELINES)
def test_a_baseline_looks_at_nothing_outside_its_rows(name: str) -> None:
    table = table_for(name)
    rows = np.arange(90)
    values, targets = table.values.copy(), table.targets.copy()
    values[90:], targets[90:] = 1e6, 1e6
    poisoned = replace(table, values=values, targets=targets)
    seen = table.values[90:]
    clean, other = (baselines.fit(name, t, rows).predict(seen) for t in (table, poisoned))
    assert clean is not None
    np.testing.assert_array_equal(clean, other)


# ------------------------------------------------------------------------------------------------------------------- figures
@pytest.mark.parametrize("name", metrics.FIGURES)
def test_a_figure_is_made_for_every_subject_and_does_not_depend_on_the_order_of_rows(name: str) -> None:
    rng = np.random.default_rng(0)
    true, subject = rng.normal(120, 9, 60), np.repeat(["a", "b", "c"], 20)
    pred = true + rng.normal(0, 3, 60)
    order = rng.permutation(60)
    scored = metrics.per_subject(true, pred, subject)
    turned = metrics.per_subject(true[order], pred[order], subject[order])
    assert scored.figures[name].shape == (3,)
    assert np.isfinite(scored.figures[name]).all()
    np.testing.assert_allclose(turned.figures[name], scored.figures[name])
