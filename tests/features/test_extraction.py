"""The gate keeps the reference out; names depend on settings alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from biosig_mtl.features import FEATURES, FeatureSettings, extract, least_length_s, plan, required_channels
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import ChannelInfo, Features, RecipeError, WindowBeats, Windows

# Those of the EEG need electrodes, which these windows do not carry.
ALL = FeatureSettings(
    families=tuple(name for name in FEATURES if not name.startswith("eeg")), waveform=("ppg_12hz", "vpg", "apg", "ecg_40hz")
)
INFO = {name: ChannelInfo(name, kind, "", 125.0) for name, kind in (("ppg", "ppg"), ("ppg_12hz", "ppg"), ("ecg_40hz", "ecg"))}
Maker = Callable[..., Windows]


def same(a: Features, b: Features) -> bool:
    return a.names == b.names and a.values.tobytes() == b.values.tobytes() and a.waveform.tobytes() == b.waveform.tobytes()


class Forbidden(Mapping[str, Any]):
    """A mapping that must not be looked into."""

    def __getitem__(self, key: str) -> Any:
        raise AssertionError(f"read {key}")

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("iterated")

    def __len__(self) -> int:
        raise AssertionError("counted")


class OnlyInputs(dict[str, WindowBeats]):
    """Beats of which only the inputs may be read."""

    def __getitem__(self, key: str) -> WindowBeats:
        assert key in {"ppg_12hz", "ecg_40hz"}
        return super().__getitem__(key)

    def values(self) -> Any:
        raise AssertionError("read all beats")

    def items(self) -> Any:
        raise AssertionError("read all beats")


@pytest.mark.parametrize("role", ["waveform", "pulse", "raw", "ecg", "second_pulse"])
def test_reference_channel_is_refused_in_every_role_under_any_name(simulate: Maker, pulse: Any, role: str) -> None:
    windows = simulate(pulse)
    renamed = replace(windows, channels=("ppg", "ppg_12hz", "nice"), kinds=("ppg", "ppg", "abp"))
    beats = {**windows.beats, "nice": windows.beats["abp"]}
    chosen: dict[str, Any] = {"waveform": ("ppg",)} | {role: ("nice",) if role == "waveform" else "nice"}
    settings = replace(ALL, **chosen)
    with pytest.raises(RecipeError, match=r"'nice' is the reference of blood_pressure .* barred from the inputs"):
        extract(replace(renamed, beats=beats), settings, BLOOD_PRESSURE)
    with pytest.raises(RecipeError, match="barred"):
        plan(settings, {**INFO, "nice": ChannelInfo("nice", "abp", "mmHg", 125.0)}, BLOOD_PRESSURE)


def test_reference_is_refused_by_its_own_name_even_if_nothing_is_known_of_it(simulate: Maker, pulse: Any) -> None:
    settings = replace(ALL, ecg="abp")
    with pytest.raises(RecipeError, match="name of the reference"):
        extract(simulate(pulse), settings, BLOOD_PRESSURE)
    with pytest.raises(RecipeError, match="name of the reference"):
        plan(settings, INFO, BLOOD_PRESSURE)


def test_beats_of_a_channel_of_unknown_kind_do_not_pass(simulate: Maker, pulse: Any) -> None:
    # The reference channel is not carried by the windows, but its beats are there under another name.
    windows = simulate(pulse)
    hidden = {**windows.beats, "harmless": windows.beats["abp"]}
    settings = replace(ALL, families=("rate", "pat"), waveform=(), ecg="harmless")
    without = {key: value for key, value in windows.beats.items() if key == "ppg_12hz"}
    got = extract(replace(windows, beats=hidden), settings, BLOOD_PRESSURE)
    assert same(got, extract(replace(windows, beats=without), settings, BLOOD_PRESSURE))


def test_reference_content_does_not_change_a_bit(simulate: Maker, pulse: Any) -> None:
    windows = simulate(pulse)
    rng = np.random.default_rng(0)
    reference = windows.beats["abp"]
    shaken = replace(reference, onset=rng.permutation(reference.onset), peak=reference.peak + 7, quality=reference.quality * 0)
    changed = replace(
        windows,
        targets=rng.normal(size=windows.targets.shape).astype(np.float32),
        facts=Forbidden(),
        beats=OnlyInputs({**windows.beats, "abp": shaken}),
        rejected=(),
    )
    assert same(extract(windows, ALL, BLOOD_PRESSURE), extract(changed, ALL, BLOOD_PRESSURE))


def test_reference_samples_in_the_windows_do_not_change_a_bit(simulate: Maker, pulse: Any) -> None:
    windows = simulate(pulse)
    abp = np.random.default_rng(1).normal(size=windows.signal[:, :1].shape).astype(np.float32)
    carried = replace(
        windows,
        signal=np.concatenate([windows.signal, abp], axis=1),
        channels=(*windows.channels, "abp"),
        kinds=(*windows.kinds, "abp"),
    )
    assert same(extract(windows, ALL, BLOOD_PRESSURE), extract(carried, ALL, BLOOD_PRESSURE))


def test_names_need_no_data_and_do_not_depend_on_the_record(simulate: Maker, pulse: Any) -> None:
    windows = simulate(pulse)
    names, waveform_channels = plan(ALL, INFO, BLOOD_PRESSURE)
    bare = replace(
        windows,
        beats={"ppg_12hz": windows.beats["ppg_12hz"]},
        kinds=("ppg", "ppg", "absent"),
        demographics={},
        timing_reliable=False,
    )
    for made in (extract(windows, ALL, BLOOD_PRESSURE), extract(bare, ALL, BLOOD_PRESSURE)):
        assert (made.names, made.waveform_channels) == (names, waveform_channels)
        assert made.values.shape == (3, len(names))
        assert made.values.dtype == made.waveform.dtype == np.float32
    assert len(set(names)) == len(names)
    assert plan(ALL, {}, BLOOD_PRESSURE)[0] == names


def test_families_come_in_the_order_of_the_settings_with_their_prefix() -> None:
    names, channels = plan(FeatureSettings(families=("person", "rate")), INFO, BLOOD_PRESSURE)
    heads = [name.split(".")[0] for name in names]
    assert heads == sorted(heads, key=("person", "hr").index)
    assert set(heads) == {"person", "hr"}
    assert channels == ()


def test_all_of_a_full_record_is_known(simulate: Maker, pulse: Any) -> None:
    made = extract(simulate(pulse), ALL, BLOOD_PRESSURE)
    missing = {made.names[k] for k in np.flatnonzero(np.isnan(made.values).any(axis=0))}
    # This pulse has no c and d wave, and its body mass index is computed.
    of_c_and_d = {"c_height", "d_height", "augmentation", "c_a", "d_a", "aging_index", "bcd_a", "bd_a", "cd_a", "c_share"}
    of_c_and_d |= {"d_share", "b_d_s"}
    gone = {f"pulse.{name}" for name in of_c_and_d} | {f"spread.{name}.iqr" for name in of_c_and_d}
    # It has no points of the newer kind either, ...
    of_points = {f"{name}_s" for name in ("v", "w", "c", "d", "f", "p1", "p2", "p1_p2")}
    of_points |= {f"{name}_height" for name in ("v", "w", "f", "p1", "p2")}
    of_points |= {"augmentation_index", "p2_p1", "v_u", "w_u", "f_a", "ipad"}
    gone |= {f"points.{name}{what}" for name in of_points for what in ("", ".iqr")}
    # ... nor has its ECG, there is one site, and eight seconds are no record of heart rate variability.
    short = {
        "triangular_index",
        "vlf_ms2",
        "lf_ms2",
        "hf_ms2",
        "total_ms2",
        "lf_hf",
        "lfn",
        "hfn",
        "sample_entropy",
        "dfa_alpha1",
    }
    gone |= {f"hrv.{name}" for name in short}
    gone |= {name for name in made.names if name.startswith(("ptt.", "pat_qrs.")) and not name.endswith("_n")}
    gone |= {name for name in made.names if name.startswith("ecg_intervals.") and not name.startswith("ecg_intervals.n.")}
    # It has no trails.
    gone |= set(least_length_s) | {name for name in made.names if "_change." in name}
    assert missing - {"hrv.sd1_sd2"} == gone
    assert np.isfinite(made.waveform).all()


def test_rows_follow_their_windows(simulate: Maker, pulse: Any) -> None:
    windows = simulate(pulse, 5)
    order = np.array([3, 0, 4, 2, 1])
    whole, turned = extract(windows, ALL, BLOOD_PRESSURE), extract(take(windows, order), ALL, BLOOD_PRESSURE)
    assert_array_equal(turned.values, whole.values[order])
    assert_array_equal(turned.waveform, whole.waveform[order])
    # A record that is worked in pieces gives the same bits.
    alone = extract(take(windows, order[:1]), ALL, BLOOD_PRESSURE)
    assert_array_equal(alone.values, whole.values[order[:1]])


@pytest.mark.parametrize("seed", range(4))
def test_pieces_of_any_size_give_what_the_whole_gives(simulate: Maker, pulse: Any, seed: int) -> None:
    # The law of streams, bit for bit: sums have a fixed order, so neither neighbours nor their number reach the last place.
    rng = np.random.default_rng(seed)
    windows = noisy(simulate(pulse, 40), rng)
    whole = extract(windows, ALL, BLOOD_PRESSURE)
    cuts = [0, *np.sort(rng.choice(np.arange(1, 40), rng.integers(1, 12), replace=False)), 40]
    for a, b in pairwise(cuts):
        part = extract(take(windows, np.arange(a, b)), ALL, BLOOD_PRESSURE)
        assert_array_equal(part.values, whole.values[a:b])
        assert_array_equal(part.waveform, whole.waveform[a:b])


def noisy(windows: Windows, rng: np.random.Generator) -> Windows:
    """Return windows with noise and with some of their beats."""
    rows = {name: np.flatnonzero(rng.random(len(b)) < 0.9) for name, b in windows.beats.items()}
    signal = windows.signal + rng.normal(0, 0.01, windows.signal.shape).astype(np.float32)
    return replace(windows, signal=signal, beats={name: some(b, rows[name]) for name, b in windows.beats.items()})


def some(b: WindowBeats, rows: np.ndarray[Any, Any]) -> WindowBeats:
    points = {key: value[rows] for key, value in b.points.items()}
    return WindowBeats(
        b.channel, b.fs, b.window[rows], b.onset[rows], b.peak[rows], b.end[rows], b.quality[rows], points, b.normal[rows]
    )


def take(windows: Windows, order: np.ndarray[Any, Any]) -> Windows:
    """Return windows in another order, or some of them, with their beats."""
    beats = {}
    for name, b in windows.beats.items():
        parts = [np.flatnonzero(b.window == k) for k in order]
        rows = np.concatenate([np.empty(0, np.int64), *parts])
        window = np.repeat(np.arange(order.size), [part.size for part in parts])
        points = {key: value[rows] for key, value in b.points.items()}
        beats[name] = WindowBeats(name, b.fs, window, b.onset[rows], b.peak[rows], b.end[rows], b.quality[rows], points)
    return replace(
        windows,
        onset_s=windows.onset_s[order],
        signal=windows.signal[order],
        sqi=windows.sqi[order],
        targets=windows.targets[order],
        beats=beats,
        facts={},
    )


def test_no_windows_and_no_beats(simulate: Maker, pulse: Any, column: Callable[..., Any]) -> None:
    windows = simulate(pulse)
    empty = take(windows, np.empty(0, np.int64))
    made = extract(empty, replace(ALL, waveform_hz=62.5), BLOOD_PRESSURE)
    assert made.values.shape == (0, len(made.names))
    assert made.waveform.shape == (0, 4, 500)
    nothing = {name: no_rows(b) for name, b in windows.beats.items()}
    made = extract(replace(windows, beats=nothing), ALL, BLOOD_PRESSURE)
    assert (column(made, "pulse.n_beats") == 0).all()
    assert (column(made, "hr.n_intervals") == 0).all()
    assert (column(made, "pat.n") == 0).all()
    assert np.isnan(column(made, "pulse.crest_time_s")).all()
    assert np.isnan(column(made, "hr.mean_per_min")).all()


def no_rows(b: WindowBeats) -> WindowBeats:
    points = {key: value[:0] for key, value in b.points.items()}
    return WindowBeats(b.channel, b.fs, b.window[:0], b.onset[:0], b.peak[:0], b.end[:0], b.quality[:0], points)


@pytest.mark.parametrize("level", [0.0, 1234.5])
def test_a_constant_channel_is_missing_and_never_infinite(simulate: Maker, pulse: Any, level: float) -> None:
    windows = simulate(pulse)
    flat = replace(windows, signal=np.full_like(windows.signal, level))
    made = extract(flat, ALL, BLOOD_PRESSURE)
    assert not np.isinf(made.values).any()
    assert (made.waveform == 0).all()
    for name in ("pulse.width_50_s", "ppg.skewness", "ppg.spectral_entropy", "ppg.snr_db", "ppg.ac"):
        assert np.isnan(made.values[:, made.names.index(name)]).all(), name


@pytest.mark.parametrize("samples", [1, 2, 3, 12])
@pytest.mark.parametrize("beats", [True, False])
def test_the_shortest_windows_raise_nothing(simulate: Maker, pulse: Any, samples: int, beats: bool) -> None:
    windows = simulate(pulse)
    # Beats that lie outside of the samples are nobody's beats.
    found = windows.beats if beats else {name: no_rows(b) for name, b in windows.beats.items()}
    made = extract(replace(windows, signal=windows.signal[..., :samples].copy(), beats=found), ALL, BLOOD_PRESSURE)
    assert not np.isinf(made.values).any()
    assert (column_of(made, "pulse.n_beats") == 0).all()
    assert np.isnan(column_of(made, "spectrum.peak_hz")).all() or samples > 2


def column_of(made: Features, name: str) -> Any:
    return made.values[:, made.names.index(name)]


def test_input_is_not_touched(simulate: Maker, pulse: Any) -> None:
    windows = simulate(pulse)
    before = windows.signal.copy()
    windows.signal.setflags(write=False)
    for b in windows.beats.values():
        b.onset.setflags(write=False)
    extract(windows, ALL, BLOOD_PRESSURE)
    assert_array_equal(windows.signal, before)


def test_what_is_not_carried_is_told(simulate: Maker, pulse: Any) -> None:
    windows = simulate(pulse)
    with pytest.raises(RecipeError, match=r"channel 'ppg_8hz', the windows carry ppg, ppg_12hz, ecg_40hz: add it"):
        extract(windows, replace(ALL, waveform=("ppg_8hz",)), BLOOD_PRESSURE)
    with pytest.raises(RecipeError, match="detect_beats"):
        extract(replace(windows, beats={}), ALL, BLOOD_PRESSURE)
    with pytest.raises(RecipeError, match="unknown feature family 'pulse_shap'; did you mean 'pulse_shape'"):
        plan(FeatureSettings(families=("pulse_shap",)), {}, BLOOD_PRESSURE)
    with pytest.raises(RecipeError, match="choose from pulse_shape"):
        plan(FeatureSettings(families=("zzz",)), {}, BLOOD_PRESSURE)
    person = FeatureSettings(families=("person",))
    assert extract(replace(windows, channels=(), kinds=(), beats={}), person, BLOOD_PRESSURE).values.shape == (3, 10)
    assert required_channels(person) == ()
    assert required_channels(ALL) == ("ppg_12hz", "ppg", "ecg_40hz")
    assert required_channels(FeatureSettings(families=(), waveform=("vpg",))) == ("ppg_12hz",)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"families": ()}, "at least one"),
        ({"families": ("rate", "rate")}, "every word of families once"),
        ({"waveform": ("vpg", "vpg")}, "every word of waveform once"),
        ({"waveform_scale": "minmax"}, "zscore or none, got minmax"),
        ({"waveform_hz": 0.0}, "waveform_hz > 0"),
    ],
)
def test_settings_refuse_nonsense(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureSettings(**({"families": ("rate",)} | wrong))
