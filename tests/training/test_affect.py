"""Several modalities and any head, from a table to predictions and back from disk."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from biosig_mtl import models
from biosig_mtl.training import checkpoint
from biosig_mtl.training.augmentation import NO_AUGMENTATION, Augmentation, modalities_present, without
from biosig_mtl.training.batches import BatchSource, Scaler, check_table, spec_of, to_batch
from biosig_mtl.training.diagnostics import split_report
from biosig_mtl.training.loop import FitResult, TrainingData, _Run, fit
from biosig_mtl.training.prediction import predict, predict_full
from biosig_mtl.training.settings import TrainingSettings
from biosig_mtl.types import Batch, DataError, Fold, Head, InputSpec, RecipeError, Track, TrackSpec, WindowTable

MakeTable = Callable[..., WindowTable]
FOLD = Fold(train=np.arange(48), validation=np.arange(48, 64), test=np.arange(64, 80))
ROWS = np.arange(80)
QUICK = TrainingSettings(epochs=3, batch_size=16, mi_ramp_epochs=2, patience=0)
HEADS = {
    "regression": Head(),
    "concordance": Head(ccc=0.5),
    "binary": Head("binary", (5.0,)),
    "balanced": Head("classes", (4.0, 6.0), balanced=True),
    "ordinal": Head("ordinal", (3.0, 4.5, 5.5, 7.0)),
    "rasch": Head("rasch", (3.0, 4.5, 5.5, 7.0)),
}
MIXED = (HEADS["rasch"], HEADS["concordance"])


def network(table: WindowTable, seed: int = 0, **words: Any) -> nn.Module:
    torch.manual_seed(seed)
    small = {"width": 8, "heads": 2, "track_tokens": 4, "merge": "gate"}
    return models.build("split_merge", models.MODELS["split_merge"].settings(**{**small, **words}), spec_of(table))


def trained(table: WindowTable, how: TrainingSettings = QUICK, **words: Any) -> tuple[nn.Module, FitResult, Scaler]:
    model, scaler = network(table, **words), Scaler.fit(table, FOLD.train)
    return model, fit(model, TrainingData(table, FOLD, scaler), how, 0), scaler


def same(first: FitResult, second: FitResult) -> bool:
    return repr(first.history) == repr(second.history) and all(
        torch.equal(first.state[k], second.state[k]) for k in first.state
    )


# ----------------------------------------------------------------------------------------------------------------- learning
@pytest.mark.parametrize("kind", HEADS)
def test_it_can_learn_32_windows_by_heart(make_affect: MakeTable, kind: str) -> None:
    head = HEADS[kind]
    table = make_affect(8, heads=(head, Head()))
    fold = Fold(train=np.arange(32), validation=np.arange(0), test=np.arange(0))
    scaler = Scaler.fit(table, fold.train)
    how = TrainingSettings(
        epochs=50, batch_size=32, lr=2e-2, weight_decay=0.0, average=0.0, mi="none", augmentation=NO_AUGMENTATION,
        skip_start="zero", severity_ridge=10.0,
    )  # fmt: skip
    model = network(table, dropout=0.0, width=16)
    fit(model, TrainingData(table, fold, scaler), how, 0)
    found = predict_full(model, table, fold.train, scaler)
    truth = head.encode(table.targets[:32, 0])
    if head.classes:
        assert (found.probabilities[0].argmax(1) == truth).mean() > 0.95
        np.testing.assert_allclose(found.estimates[:, 0], found.probabilities[0] @ np.arange(head.classes), atol=1e-5)
    else:
        assert 1 - ((found.estimates[:, 0] - truth) ** 2).mean() / truth.var() > 0.95
        assert not found.probabilities


def test_it_learns_what_holds_for_new_subjects_and_misses_what_is_taken_away(make_affect: MakeTable) -> None:
    table = make_affect(60, heads=(Head("binary", (5.0,)), Head(ccc=0.5)))
    fold = Fold(train=np.arange(160), validation=np.arange(160, 200), test=np.arange(200, 240))
    scaler = Scaler.fit(table, fold.train)
    model = network(table)
    how = TrainingSettings(epochs=12, batch_size=32, lr=5e-3, mi="none", augmentation=Augmentation(modality_dropout=0.2))
    fit(model, TrainingData(table, fold, scaler), how, 0)
    truth = table.targets[fold.test]
    found = predict_full(model, table, fold.test, scaler)
    high = truth[:, 0] > 5

    def right(shares: Any) -> float:
        told = shares.argmax(1) == 1
        return float(np.mean([told[high].mean(), (~told[~high]).mean()]))

    def error(estimates: Any) -> float:
        return float(np.abs(estimates[:, 1] - truth[:, 1]).mean())

    assert right(found.probabilities[0]) > 0.75
    assert error(found.estimates) < 0.8 * np.abs(truth[:, 1] - truth[:, 1].mean()).mean()
    # Without the EEG valence is a guess; without EDA arousal is worse.
    blind = predict_full(model, table, fold.test, scaler, ("eeg",))
    assert right(blind.probabilities[0]) < 0.65
    assert error(predict(model, table, fold.test, scaler, ("eda",))) > error(found.estimates)


def test_any_subset_of_modalities_gives_finite_answers(make_affect: MakeTable) -> None:
    table = make_affect(heads=(HEADS["ordinal"], HEADS["regression"]))
    model, _, scaler = trained(table, montage=True)
    for gone in ((), ("eeg",), ("eda",), ("hr",), ("eeg", "eda"), ("eeg", "hr"), ("eda", "hr"), ("eeg", "eda", "hr")):
        found = predict_full(model, table, FOLD.test, scaler, gone)
        assert np.isfinite(found.estimates).all()
        assert found.probabilities[0].sum(1) == pytest.approx(np.ones(16))
        if "eeg" in gone:
            assert set(found.weights["electrodes.eeg"].values()) == {0.0}
    # Taking away is the same as never having had it.
    nothing = replace(table.tracks["eeg"], signal=np.full_like(table.tracks["eeg"].signal, np.nan))
    bare = replace(table, values=table.values.copy(), tracks={**table.tracks, "eeg": nothing})
    bare.values[:, :3] = np.nan
    np.testing.assert_array_equal(predict(model, bare, FOLD.test, scaler), predict(model, table, FOLD.test, scaler, ("eeg",)))
    with pytest.raises(RecipeError, match="unknown modality 'ppg'; choose from eeg, eda, hr"):
        predict(model, table, FOLD.test, scaler, ("ppg",))


def test_weights_to_show_are_named(make_affect: MakeTable) -> None:
    table = make_affect()
    table = replace(table, names=("eeg_de.alpha.F3", "eeg_de.alpha.F4", "eeg_asym.alpha", "eda.scl", "hr.mean"))
    model, _, scaler = trained(table, montage=True, pool="learnt")
    weights = predict_full([model, model], table, FOLD.test, scaler).weights
    assert set(weights) == {"electrodes.eeg", "electrodes.eeg_de", "modalities"}
    assert tuple(weights["electrodes.eeg"]) == ("F3", "F4", "Cz", "O1")
    assert tuple(weights["modalities"]) == ("eeg", "eda", "hr")
    assert sum(weights["modalities"].values()) == pytest.approx(1.0)
    assert 0 < weights["electrodes.eeg"]["O1"] < weights["electrodes.eeg"]["F3"] + weights["electrodes.eeg"]["F4"]
    assert predict_full(model, table, FOLD.test[:0], scaler).weights == {}


# -------------------------------------------------------------------------------------------------------------- repeatability
def test_a_killed_run_goes_on_to_the_same_bits(make_affect: MakeTable, tmp_path: Path) -> None:
    table = make_affect(heads=MIXED)
    how = replace(QUICK, epochs=5, augmentation=Augmentation(modality_dropout=0.3, electrode_dropout=0.2))
    data = TrainingData(table, FOLD, Scaler.fit(table, FOLD.train))
    expected = fit(network(table), data, how, 7)

    def kill(row: dict[str, float]) -> None:
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(network(table), data, how, 7, tmp_path, kill)
    seen: list[float] = []
    found = fit(network(table, seed=99), data, how, 7, tmp_path, lambda row: seen.append(row["epoch"]))
    assert seen == [3, 4]
    assert same(expected, found)
    assert not same(expected, fit(network(table), data, how, 8))


def test_test_windows_are_never_read(make_affect: MakeTable) -> None:
    table = make_affect(heads=MIXED)
    _, expected, _ = trained(table)
    table.values[64:], table.targets[64:] = 1e6, 9.0
    for track in table.tracks.values():
        track.signal[64:] = 1e6
    _, found, _ = trained(table)
    assert same(expected, found)


def test_a_folder_gives_back_the_same_answers(make_affect: MakeTable, tmp_path: Path) -> None:
    table = make_affect(heads=MIXED)
    model, _, scaler = trained(table)
    checkpoint.save(tmp_path / "one", "split_merge", model, scaler)
    checkpoint.collect(tmp_path / "model", {"fold0": tmp_path / "one"}, {}, {})
    loaded = checkpoint.load(tmp_path / "model", models.rebuild)
    assert loaded.spec == spec_of(table)
    (member,) = loaded.members
    assert member.scaler.heads == MIXED
    assert set(member.scaler.tracks) == {"eda"}
    expected, found = predict_full(model, table, ROWS, scaler, ("eda",)), loaded.predict_full(table, ("eda",))
    np.testing.assert_array_equal(expected.estimates, found.estimates)
    np.testing.assert_array_equal(expected.probabilities[0], found.probabilities[0])
    assert expected.weights == found.weights
    # Nothing of the raters is saved.
    assert not any("severity" in name for name in member.model.state_dict())
    assert "s00" not in (tmp_path / "model" / "model.json").read_text()


def test_a_model_of_before_there_were_tracks_and_heads_is_read(make_table: MakeTable, tmp_path: Path) -> None:
    table = make_table()
    scaler = Scaler.fit(table, ROWS)
    model = models.build("hard_sharing", models.MODELS["hard_sharing"].settings(width=8), spec_of(table))
    checkpoint.save(tmp_path / "one", "hard_sharing", model, scaler)
    path = tmp_path / "one" / "member.json"
    content = json.loads(path.read_text())
    for key in ("tracks", "heads"):
        del content["spec"][key]
    del content["scaler"]["tracks"]
    for key in ("eeg_encoder", "track_tokens", "montage"):
        del content["settings"][key]
    path.write_text(json.dumps(content))
    checkpoint.collect(tmp_path / "model", {"fold0": tmp_path / "one"}, {}, {})
    loaded = checkpoint.load(tmp_path / "model", models.rebuild)
    assert loaded.spec == spec_of(table)
    np.testing.assert_array_equal(loaded.predict(table), predict(model, table, ROWS, scaler))


# -------------------------------------------------------------------------------------------------------------------- raters
def rated(*, strict: bool) -> tuple[WindowTable, Any]:
    """Return ratings 0…4 of 16 raters by the rating scale model, θ = 1.5 x, with severities of spread 1, or without."""
    rng = np.random.default_rng(0)
    n, people = 960, 16
    who = np.repeat(np.arange(people), n // people)
    severe = rng.normal(size=people)
    severe -= severe.mean()
    x = rng.normal(size=(n, 1))
    theta = 1.5 * x[:, 0] - (severe[who] if strict else 0)
    ladder = np.cumsum(np.concatenate([np.zeros((n, 1)), theta[:, None] - np.array([-1.5, -0.5, 0.5, 1.5])], axis=1), axis=1)
    shares = np.exp(ladder - ladder.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    rating = (rng.random((n, 1)) > np.cumsum(shares, axis=1)).sum(1)
    index = pd.DataFrame({"subject": [f"s{i:02d}" for i in who]})
    head = Head("rasch", (1.5, 2.5, 3.5, 4.5))
    table = WindowTable(
        index, x.astype(np.float32), ("a.x",), np.empty((n, 0, 0), np.float32), (), 1.0,
        (1.0 + rating)[:, None].astype(np.float32), ("valence",), {}, (head,),
    )  # fmt: skip
    return table, severe


@pytest.mark.parametrize("raters", ["differ", "agree"])
def test_severities_of_raters_are_found_and_forgotten(raters: str) -> None:
    table, severe = rated(strict=raters == "differ")
    fold = Fold(train=np.arange(720), validation=np.arange(0), test=np.arange(720, 960))
    scaler = Scaler.fit(table, fold.train)
    how = TrainingSettings(epochs=12, batch_size=48, lr=5e-3, mi="none", average=0.0, augmentation=NO_AUGMENTATION)
    model = network(table, dropout=0.0)
    with torch.random.fork_rng():
        run = _Run(model, TrainingData(table, fold, scaler), how, 0)
        while not run.finished:
            run.one_epoch()
    assert run.severity is not None
    found = run.severity.all()[:, 0].detach().numpy()
    assert found.mean() == pytest.approx(0.0, abs=1e-5)
    if raters == "differ":
        assert np.corrcoef(found, severe[:12])[0, 1] > 0.9
        assert 0.5 < found.std() / severe[:12].std() <= 1.1  # shrunk, not more
    else:
        assert found.std() < 0.25
    # A new person, and a training one seen again, are judged without any severity.
    run.result()
    before = predict(model, table, np.arange(960), scaler)
    with torch.no_grad():
        run.severity.raw.normal_()
    np.testing.assert_array_equal(before, predict(model, table, np.arange(960), scaler))
    assert not any("severity" in name for name in model.state_dict())
    # Windows with the same input get the same answer, whoever rated them.
    copied = replace(table, values=np.tile(table.values[:1], (960, 1)))
    told = predict(model, copied, np.arange(960), scaler)
    assert np.ptp(told) < 1e-5


def test_knowing_who_is_severe_helps_with_new_people() -> None:
    table, severe = rated(strict=True)
    plain = replace(table, heads=(replace(table.heads[0], kind="ordinal", smoothing=1e-3),))
    fold = Fold(train=np.arange(720), validation=np.arange(0), test=np.arange(720, 960))
    slopes = []
    for made in (table, plain):
        scaler = Scaler.fit(made, fold.train)
        model = network(made, dropout=0.0)
        how = TrainingSettings(epochs=6, batch_size=48, mi="none", augmentation=NO_AUGMENTATION)
        fit(model, TrainingData(made, fold, scaler), how, 0)
        told = predict(model, made, fold.test, scaler)[:, 0]
        slopes.append(np.polyfit(made.values[fold.test, 0], told, 1)[0])
    assert severe.std() > 0.5
    assert slopes[0] > slopes[1]  # a mixture of raters looks like less of an effect than each has


# -------------------------------------------------------------------------------------------------------------------- batches
def test_tracks_are_scaled_and_absent_channels_told(make_affect: MakeTable) -> None:
    table = make_affect()
    scaler = Scaler.fit(table, FOLD.train)
    batch = to_batch(table, ROWS, scaler)
    assert not batch.present["eeg"][::7].any()
    assert not batch.present["eeg"][::5, -1].any()
    assert batch.present["eeg"][1].all()
    assert (batch.tracks["eeg"][::7] == 0).all()
    whole = batch.tracks["eeg"][batch.present["eeg"].all(1)]
    torch.testing.assert_close(whole.std(2, correction=0).median(1).values, torch.ones(len(whole)), atol=0.3, rtol=0)
    torch.testing.assert_close(whole.mean(2), torch.zeros(whole.shape[:2]), atol=1e-4, rtol=0)
    eda = batch.tracks["eda"][:48][batch.present["eda"][:48, 0]]
    assert float(eda.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(eda.std()) == pytest.approx(1.0, abs=0.05)
    picked = BatchSource(table, ROWS, scaler, waveform=False, tracks=("eda",)).batch(torch.tensor([3, 1]))
    assert set(picked.tracks) == {"eda"}
    assert torch.equal(picked.tracks["eda"], batch.tracks["eda"][[3, 1]])


@settings(deadline=None)
@given(st.floats(0.01, 1000), st.floats(-100, 100))
def test_eeg_of_another_amplifier_is_the_same(gain: float, offset: float) -> None:
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(3, 5, 64)).astype(np.float32)
    present = np.ones((3, 5), bool)
    present[0, 2:] = False
    empty = np.empty(0)
    scaler = Scaler(empty, empty, empty, empty, empty, empty, np.empty(0, np.int64))
    plain, other = scaler.track("eeg", raw, present), scaler.track("eeg", (gain * raw + offset).astype(np.float32), present)
    np.testing.assert_allclose(other, plain, atol=max(2e-3, 1e-5 * abs(offset) / gain))
    # Every window is by itself: no other window has a say.
    np.testing.assert_array_equal(scaler.track("eeg", raw[1:2], present[1:2])[0], plain[1])


def test_the_median_of_electrodes_is_the_scale() -> None:
    raw = np.random.default_rng(0).normal(size=(2, 4, 500)).astype(np.float32) * np.array([1, 2, 3, 400])[:, None]
    present = np.array([[True] * 4, [True, True, True, False]])
    empty = np.empty(0)
    told = Scaler(empty, empty, empty, empty, empty, empty, np.empty(0, np.int64)).track("eeg", raw.astype(np.float32), present)
    spread = raw.std(axis=2)
    np.testing.assert_allclose(told[0, :3].std(1), spread[0, :3] / np.median(spread[0]), rtol=1e-3)
    np.testing.assert_allclose(told[1, :3].std(1), spread[1, :3] / np.median(spread[1, :3]), rtol=1e-3)
    assert (told[1, 3] == 0).all()
    assert np.isfinite(scale_of_nothing()).all()


def scale_of_nothing() -> Any:
    empty = np.empty(0)
    scaler = Scaler(empty, empty, empty, empty, empty, empty, np.empty(0, np.int64))
    return scaler.track("eeg", np.zeros((2, 3, 8), np.float32), np.array([[True] * 3, [False] * 3]))


def test_a_channel_that_is_broken_within_a_window_is_named(make_affect: MakeTable) -> None:
    table = make_affect()
    scaler = Scaler.fit(table, FOLD.train)
    for bad in (np.nan, np.inf):
        table.tracks["eeg"].signal[13, 2, 5] = bad
        with pytest.raises(DataError, match="window 13 of subject s03: channel 'Cz' has values that are not finite"):
            to_batch(table, ROWS, scaler)


def test_a_table_with_other_tracks_or_heads_is_refused(make_affect: MakeTable) -> None:
    table = make_affect(heads=MIXED)
    spec = spec_of(table)
    check_table(table, spec)
    check_table(replace(table, heads=()), spec)  # a recording without ratings has no heads to ask for
    with pytest.raises(DataError, match=r"track 'eda' of 40 samples at 4 Hz of eda; the table has no such track"):
        check_table(replace(table, tracks={"eeg": table.tracks["eeg"]}), spec)
    moved = replace(table.tracks["eeg"], channels=("F3", "F4", "Cz", "Oz"))
    with pytest.raises(DataError, match=r"of F3, F4, Cz, O1; the table has 128 samples at 64 Hz of F3, F4, Cz, Oz"):
        check_table(replace(table, tracks={**table.tracks, "eeg": moved}), spec)
    with pytest.raises(DataError, match="other heads"):
        check_table(replace(table, heads=(Head(), Head())), spec)


# --------------------------------------------------------------------------------------------------------------- augmentation
def several(n: int, seed: int) -> tuple[Batch, InputSpec]:
    rng = torch.Generator().manual_seed(seed)
    tracks = (TrackSpec("eeg", ("F3", "F4"), 8, 4.0), TrackSpec("eda", ("eda",), 4, 4.0))
    spec = InputSpec((), 0, ("eeg_de.a", "eeg_asym.b", "eda.c", "hr.d"), ("valence",), tracks)
    present = {t.name: torch.rand(n, len(t.channels), generator=rng) < 0.6 for t in spec.tracks}
    whole = {t.name: torch.randn(n, len(t.channels), t.samples, generator=rng) for t in spec.tracks}
    shown = {name: track * present[name][..., None] for name, track in whole.items()}
    missing = torch.rand(n, 4, generator=rng) < 0.4
    values = torch.randn(n, 4, generator=rng).masked_fill(missing, 0.0)
    return Batch(torch.empty(n, 0, 0), values, missing, torch.zeros(n, 1), torch.ones(n), shown, present), spec


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 0.99))
def test_modality_dropout_never_takes_all_that_a_window_has(seed: int, chance: float) -> None:
    batch, spec = several(64, seed)
    before = modalities_present(batch, spec)
    change = Augmentation(0.0, 0, 0.0, 0.0, 0.0, modality_dropout=chance)
    changed = change.apply(batch, torch.Generator().manual_seed(seed), spec)
    after = modalities_present(changed, spec)
    assert not (after & ~before).any()
    assert torch.equal(after.any(1), before.any(1))
    assert (after.sum(1) <= before.sum(1)).all()
    # A modality goes as a whole, or stays as it was.
    for m, (name, columns) in enumerate(spec.modalities.items()):
        gone = before[:, m] & ~after[:, m]
        assert changed.missing[gone][:, list(columns)].all()
        assert torch.equal(changed.missing[~gone][:, list(columns)], batch.missing[~gone][:, list(columns)])
        if name in batch.tracks:
            assert (changed.tracks[name][gone] == 0).all()
            assert not changed.present[name][gone].any()
            assert torch.equal(changed.tracks[name][~gone], batch.tracks[name][~gone])
    assert (changed.values[changed.missing] == 0).all()


def test_modality_dropout_is_as_frequent_as_it_says() -> None:
    batch, spec = several(4000, 0)
    batch = replace(batch, missing=torch.zeros_like(batch.missing))
    change = Augmentation(0.0, 0, 0.0, 0.0, 0.0, modality_dropout=0.3)
    after = modalities_present(change.apply(batch, torch.Generator().manual_seed(0), spec), spec)
    gone = 1 - after.float().mean(0)
    # One in 0.3³ windows would have lost all three and keeps one.
    assert gone.numpy() == pytest.approx(np.full(3, 0.3 - 0.3**3 / 3), abs=0.03)


def test_electrode_dropout_leaves_one_and_tracks_change_only_where_present() -> None:
    batch, spec = several(400, 0)
    change = Augmentation(0.1, 0, 0.1, 0.0, 0.0, electrode_dropout=0.9)
    changed = change.apply(batch, torch.Generator().manual_seed(0), spec)
    assert torch.equal(changed.present["eeg"].any(1), batch.present["eeg"].any(1))
    assert changed.present["eeg"].sum() < batch.present["eeg"].sum()
    assert not (changed.present["eeg"] & ~batch.present["eeg"]).any()
    assert torch.equal(changed.present["eda"], batch.present["eda"])
    for name, track in changed.tracks.items():
        assert (track[~changed.present[name]] == 0).all()
        assert (track[changed.present[name]] != batch.tracks[name][changed.present[name]]).all()
    still = NO_AUGMENTATION.apply(batch, torch.Generator().manual_seed(0), spec)
    assert all(torch.equal(still.tracks[name], track) for name, track in batch.tracks.items())
    assert without(batch, spec, ()) is batch


def test_augmentation_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="modality_dropout"):
        Augmentation(modality_dropout=1.0)
    with pytest.raises(ValueError, match="electrode_dropout"):
        Augmentation(electrode_dropout=-0.1)


# -------------------------------------------------------------------------------------------------------------------- reports
def test_targets_may_be_missing_and_classes_absent(make_affect: MakeTable) -> None:
    table = make_affect(heads=(Head("classes", (0.5, 5.0)), Head("rasch", (4.0, 6.0))))
    table.targets[2:64, 1] = np.nan
    _, found, _ = trained(table)
    assert all(math.isfinite(row["loss"]) and math.isfinite(row["loss_arousal"]) for row in found.history)
    assert any("'arousal' is unknown in all validation windows" in w for w in found.warnings)
    assert "no training window has the class '≤ 0.5' of 'valence'" in found.warnings
    assert sum("no training window" in w for w in found.warnings) >= 1


def test_the_split_report_knows_tracks_and_classes(make_affect: MakeTable) -> None:
    table = make_affect(heads=MIXED)
    model, found, scaler = trained(table)
    told = split_report(model, table, FOLD.test, scaler, found.history)
    assert told["splits"] == ["shared", "valence", "arousal"]
    assert np.isfinite(np.array(told["removal"])).all()
    assert 0 < told["mae"][0] < 4


def test_early_stopping_keeps_the_best_epoch_of_a_mix(make_affect: MakeTable) -> None:
    table = make_affect(heads=(Head("binary", (5.0,), balanced=True), Head()))
    _, found, _ = trained(table, replace(QUICK, epochs=60, patience=3, lr=0.03))
    scores = [row["validation"] for row in found.history]
    assert len(scores) < 60
    assert found.best_epoch == int(np.argmin(scores))
    row = found.history[0]
    assert row["validation"] == pytest.approx((row["validation_valence"] + row["validation_arousal"]) / 2)


def test_a_track_without_any_window_in_the_training_part_is_no_obstacle(make_affect: MakeTable) -> None:
    table = make_affect()
    never = replace(table.tracks["eda"], signal=np.full_like(table.tracks["eda"].signal, np.nan))
    table = replace(table, tracks={**table.tracks, "eda": never})
    model, _, scaler = trained(table)
    assert scaler.tracks["eda"].tolist() == [[0.0], [1.0]]
    assert np.isfinite(predict(model, table, FOLD.test, scaler)).all()
    assert isinstance(never, Track)


@pytest.mark.parametrize("pool", ["balanced", "learnt"])
@pytest.mark.parametrize("amp", ["bf16", "auto"])
def test_mixed_precision_trains_any_head(make_affect: MakeTable, amp: str, pool: str) -> None:
    table = make_affect(heads=MIXED)
    _, found, _ = trained(table, replace(QUICK, epochs=1, amp=amp), montage=True, pool=pool)  # type: ignore[arg-type]
    assert math.isfinite(found.history[-1]["loss"])
    assert math.isfinite(found.best_score)


@pytest.mark.parametrize("merge", ["cross_attention", "gate", "concat", "none"])
@pytest.mark.parametrize("weighting", ["sum", "uncertainty", "dwa"])
def test_every_merge_and_weighting_takes_any_head(make_affect: MakeTable, merge: str, weighting: str) -> None:
    table = make_affect(heads=(HEADS["balanced"], HEADS["ordinal"]))
    _, found, _ = trained(table, replace(QUICK, epochs=1, weighting=weighting), merge=merge)  # type: ignore[arg-type]
    assert math.isfinite(found.history[-1]["loss"])
    assert math.isfinite(found.best_score)
