"""Each known failure of a split network, built on purpose, gets its sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from biosig_mtl import models
from biosig_mtl.models.blocks import StackedLinear
from biosig_mtl.models.hard_sharing import HardSharingSettings
from biosig_mtl.models.split_merge import SplitMerge, SplitMergeSettings
from biosig_mtl.training.batches import Scaler, spec_of, to_batch
from biosig_mtl.training.diagnostics import beats, history_warnings, look, split_report
from biosig_mtl.training.diagnostics.maps import maps_of, sensitivity, slope_of
from biosig_mtl.training.diagnostics.seen import Part, Seen, donors, spaced
from biosig_mtl.training.prediction import predict
from biosig_mtl.types import WindowTable

MakeTable = Callable[..., WindowTable]
ROWS = np.arange(80)


def report(table: WindowTable, change: Callable[[SplitMerge], None], **words: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    settings = SplitMergeSettings(**{"width": 8, "heads": 2, "stride": 8, "dropout": 0.0, **words})
    model = SplitMerge(settings, spec_of(table))
    with torch.no_grad():
        change(model)
    return split_report(model, table, ROWS, Scaler.fit(table, ROWS))


def logits_of(model: SplitMerge) -> StackedLinear:
    """Return the last map before the masks."""
    found = model.splitter.logits
    assert isinstance(found, StackedLinear)
    return found


def nothing(_: SplitMerge) -> None:
    """Leave the network as it is."""


def test_the_report_says_what_each_split_does(make_table: MakeTable) -> None:
    told = report(make_table(), nothing, merge="gate")
    assert told["splits"] == ["shared", "sbp", "dbp"]
    assert all(0 < m < 1 for m in told["mask_mean"])
    assert np.diag(told["uhsic"]) == pytest.approx([1, 1, 1], abs=1e-4)
    assert np.array(told["removal"]).shape == (3, 2)
    assert all(0 < g < 1 for g in told["gates"])
    # Without a common path, the split of one task does nothing for the other.
    assert told["removal"][1][1] == told["removal"][2][0] == 0.0
    assert len(told["mae"]) == 2


def test_a_closed_mask_is_told(make_table: MakeTable) -> None:
    def close(model: SplitMerge) -> None:
        logits_of(model).weight[1] = 0.0
        logits_of(model).bias[1] = -20.0

    warnings = report(make_table(), close)["warnings"]
    assert any("'sbp' split has collapsed" in w for w in warnings)
    assert not any("'dbp' split has collapsed" in w for w in warnings)


def test_a_constant_split_is_told(make_table: MakeTable) -> None:
    table = make_table()
    table.values[:], table.waveform[:] = 0.5, 0.5
    assert any("'dbp' split is constant" in w for w in report(table, nothing)["warnings"])


def test_a_shared_split_that_takes_over_is_told(make_table: MakeTable) -> None:
    table = make_table()
    torch.manual_seed(0)
    model = SplitMerge(SplitMergeSettings(width=8, stride=8, dropout=0.0, merge="concat"), spec_of(table))
    with torch.no_grad():
        model.heads.hidden.weight[:, 8:] = 0.0  # the second half is the task's own split
    scaler = Scaler.fit(table, ROWS)
    # Targets that the network knows but for a little noise: whatever it uses is then missed.
    noise = 0.1 * np.random.default_rng(0).normal(size=(80, 2))
    known = replace(table, targets=(predict(model, table, ROWS, scaler) + noise).astype(np.float32))
    told = split_report(model, known, ROWS, scaler)
    assert sum(w.startswith("the shared split has taken over") for w in told["warnings"]) == 2
    assert told["removal"][1] == told["removal"][2] == [0.0, 0.0]


def test_splits_that_nothing_depends_on_are_told(make_table: MakeTable) -> None:
    def ignore(model: SplitMerge) -> None:
        model.heads.last.weight.zero_()

    assert sum("no split is needed" in w for w in report(make_table(), ignore)["warnings"]) == 2


def test_a_shared_split_that_nobody_uses_is_told(make_table: MakeTable) -> None:
    table = make_table()
    torch.manual_seed(0)
    model = SplitMerge(SplitMergeSettings(width=8, stride=8, dropout=0.0, merge="none", kernel_landmarks=0), spec_of(table))
    scaler = Scaler.fit(table, ROWS)
    noise = 0.05 * np.random.default_rng(0).normal(size=(80, 2))
    known = replace(table, targets=(predict(model, table, ROWS, scaler) + noise).astype(np.float32))
    told = split_report(model, known, ROWS, scaler)
    assert sum("the shared split is ignored" in w for w in told["warnings"]) == 1
    assert told["removal"][0] == told["removal_shuffled"][0] == [0.0, 0.0]
    assert min(told["removal_shuffled"][1][0], told["removal_shuffled"][2][1]) > 0.01


def test_a_flat_mask_is_told(make_table: MakeTable) -> None:
    def flatten(model: SplitMerge) -> None:
        logits_of(model).weight[2] *= 0.001

    told = report(make_table(), flatten)
    assert any("mask of the 'dbp' split is nearly flat (0.50 ± 0.000" in w for w in told["warnings"])
    assert not any("mask of the 'sbp' split is nearly flat" in w for w in told["warnings"]) or told["mask_spread"][1] < 0.02


class FromEmbedding(nn.Module):
    """A splitter that has nothing to learn: its masks are the embedding's own."""

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        masks = torch.sigmoid(embedding).unsqueeze(1).expand(-1, 3, -1, -1)
        return masks, masks * embedding.unsqueeze(1)


def test_masks_that_come_from_the_embedding_alone_are_told(make_table: MakeTable) -> None:
    def replace_splitter(model: SplitMerge) -> None:
        model.splitter = FromEmbedding()  # type: ignore[assignment]

    told = report(make_table(), replace_splitter)
    assert told["fresh"] == pytest.approx([1, 1, 1], abs=1e-4)
    assert sum("looks like that of a splitter that never learned" in w for w in told["warnings"]) == 3
    usual = report(make_table(), nothing)
    assert max(abs(r) for r in usual["fresh"]) < 0.5
    assert not any("never learned" in w for w in usual["warnings"])


def test_a_network_that_hides_its_splitter_and_tokens_has_no_maps(make_table: MakeTable) -> None:
    table = make_table()
    torch.manual_seed(0)
    model = SplitMerge(SplitMergeSettings(width=8, stride=8), spec_of(table))

    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = model
            self.spec, self.answers = model.spec, model.answers
            self.embed, self.split, self.answer = model.embed, model.split, model.answer
            self.uses_waveform, self.uses_tracks = model.uses_waveform, model.uses_tracks

    told = split_report(Hidden(), table, ROWS, Scaler.fit(table, ROWS))
    assert told["fresh"] is None
    assert told["maps"] == {"beat": None, "tracks": {}, "families": {}}


# --------------------------------------------------------------------------------------------------------------- looking
def test_what_is_seen_is_what_the_network_does_window_by_window(make_table: MakeTable) -> None:
    table = make_table()
    torch.manual_seed(0)
    model = SplitMerge(SplitMergeSettings(width=8, stride=8, dropout=0.0, merge="gate"), spec_of(table)).eval()
    scaler = Scaler.fit(table, ROWS)
    rows = np.array([70, 3, 41, 8, 22])
    seen = look(model, table, rows, scaler)
    assert seen.rows.tolist() == sorted(rows.tolist())
    batch = to_batch(table, seen.rows, scaler)
    with torch.no_grad():
        masks, splits = model.split(model.embed(batch))
        out = model.answer(masks, splits, batch)
        zeroed = splits.clone()
        zeroed[:, 1] = 0.0
        without = model.answer(masks, zeroed, batch).predictions - batch.targets
    np.testing.assert_allclose(seen.profile, masks.mean(3), atol=1e-6)
    np.testing.assert_allclose(seen.pooled, splits.mean(2).transpose(0, 1), atol=1e-6)
    np.testing.assert_allclose(seen.errors, out.predictions - batch.targets, atol=1e-5)
    np.testing.assert_allclose(seen.zeros[1], without, atol=1e-5)
    np.testing.assert_allclose(seen.mask_spread, masks.transpose(0, 1).flatten(1).std(1, correction=0), atol=1e-6)
    assert out.gates is not None
    np.testing.assert_allclose(np.asarray(seen.gates), out.gates, atol=1e-6)
    assert [part.name for part in seen.parts] == ["waveform", "pulse", "hr", "person", "ppg"]
    assert seen.parts[-1].stop == masks.shape[2]


def test_an_exchange_is_one_and_goes_to_other_people() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        code = rng.integers(0, 6, 40)
        found = donors(code)
        assert sorted(found.tolist()) == list(range(40))
        if np.bincount(code).max() <= 20:
            assert (code[found] != code).all()
    # One person alone exchanges with nobody else, and one window with itself.
    assert donors(np.zeros(1, np.int64)).tolist() == [0]


def test_rows_are_spread_over_all() -> None:
    assert spaced(np.arange(5000)[::-1])[[0, -1]].tolist() == [0, 4999]
    assert spaced(np.arange(5000)).size == 1024
    assert spaced(np.array([4, 2])).tolist() == [2, 4]


def test_what_a_window_lacks_has_no_mask(make_affect: MakeTable) -> None:
    table = make_affect()
    torch.manual_seed(0)
    model = SplitMerge(SplitMergeSettings(width=8, stride=8), spec_of(table))
    seen = look(model, table, ROWS, Scaler.fit(table, ROWS))
    place = {part.name: slice(part.start, part.stop) for part in seen.parts}
    assert np.isnan(seen.profile[::7, :, place["eeg"]]).all()
    assert np.isfinite(seen.profile[1:7, :, place["eeg"]]).all()
    assert np.isnan(seen.profile[::7, :, place["eeg_de"]]).all()
    maps = maps_of(seen, table)
    assert maps["beat"] is None
    assert set(maps["tracks"]) == {"eeg", "eda"}
    assert maps["tracks"]["eda"]["mean"].shape == (3, maps["tracks"]["eda"]["before_s"].size)
    assert np.isfinite(maps["tracks"]["eeg"]["mean"]).all()
    assert maps["families"]["hr"]["mean"].shape == (3,)


# ------------------------------------------------------------------------------------------------------------------ maps
def pulses(n: int = 24, fs: float = 50.0, seconds: float = 6.0, people: int = 12) -> tuple[WindowTable, np.ndarray[Any, Any]]:
    """Return a table whose waveforms are pulses with upstrokes at known phases, and the phase of every sample."""
    rng = np.random.default_rng(0)
    time = np.arange(int(fs * seconds)) / fs
    turns = rng.uniform(0.8, 1.6, n)[:, None] * time + rng.uniform(0, 1, n)[:, None]
    # The slope is largest, once a beat, where the phase is whole.
    slope = np.exp(4 * (np.cos(2 * np.pi * turns) - 1)) - 0.2 + 0.1 * np.cos(4 * np.pi * turns)
    wave = np.cumsum(slope, axis=1)
    raw = np.stack([wave, slope], axis=1).astype(np.float32)
    index = pd.DataFrame({"subject": np.repeat([f"s{i:02d}" for i in range(people)], n // people)})
    values, targets = rng.normal(size=(n, 2)).astype(np.float32), rng.normal(size=(n, 2)).astype(np.float32)
    return WindowTable(index, values, ("hr.a", "hr.b"), raw, ("ppg", "vpg"), fs, targets, ("sbp", "dbp")), turns % 1


def seen_of(table: WindowTable, profile: np.ndarray[Any, Any]) -> Seen:
    n, k, tokens = profile.shape
    nothing_ = np.zeros((k, n, 2))
    return Seen(
        np.arange(n), table.subject, (Part("waveform", "waveform", 0, tokens),), profile.astype(np.float32), np.zeros(k),
        np.zeros(k), np.ones(k), np.zeros((k, n, 4), np.float32), None, np.zeros((n, 2)), nothing_, nothing_, np.empty((0, k)),
    )  # fmt: skip


def test_upstrokes_are_found_where_they_are() -> None:
    table, truth = pulses()
    marks = beats.upstrokes(table.waveform[:, 1], table.fs)
    there = truth[marks]
    assert np.minimum(there, 1 - there).max() < 0.05
    inside = np.diff(truth, axis=1) < -0.5  # one step before a whole phase
    assert abs(int(marks.sum()) - int(inside.sum())) <= len(table)  # the ends of a window may hide one
    assert not beats.upstrokes(np.zeros((2, 50)), 50.0).any()


def test_phase_is_linear_between_upstrokes_and_unknown_outside() -> None:
    marks = np.zeros((2, 200), bool)
    marks[0, [20, 60, 110]] = True
    marks[1, [5, 15, 190]] = True  # 10 samples are too short for a beat, 175 too long
    phase = beats.phases(marks, 50.0)
    assert phase[0, [20, 40, 60, 85]].tolist() == [0.0, 0.5, 0.0, 0.5]
    assert np.isnan(phase[0, [0, 19, 110, 199]]).all()
    assert np.isnan(phase[1]).all()
    assert beats.at_tokens(phase, 5)[0].tolist()[1:2] == [0.0]  # the middle of 40…80 is 60


def test_a_mask_that_follows_the_beat_is_found_with_its_phase() -> None:
    table, truth = pulses()
    phase = beats.at_tokens(truth, 60)
    level = np.repeat(np.random.default_rng(1).normal(0, 0.2, (12, 1)), 2, axis=0)
    follows = 0.5 + 0.1 * np.cos(2 * np.pi * (phase - 0.3)) + level
    noise = np.random.default_rng(2).normal(0.5, 0.1, phase.shape)
    beat = maps_of(seen_of(table, np.stack([follows, noise], axis=1)), table)["beat"]
    assert abs(beat["phase"][np.nanargmax(beat["mean"][0])] - 0.3) < 0.05
    assert beat["modulation"][0] == pytest.approx(0.1 / np.sqrt(2), rel=0.1)
    assert beat["p"][0] == 1 / 200
    assert beat["p"][1] > 0.05
    # A person's own level is no difference in shape.
    assert np.nanmax(beat["sd"][0]) < 0.04
    assert beat["people"] == 12
    assert beat["token_s"] == pytest.approx(0.1)
    assert 1 / 1.6 < beat["beat_s"] < 1 / 0.8
    # The pulse rises from its steepest place on.
    assert beat["pulse"][2] > beat["pulse"][-2]


def test_few_people_have_no_p_and_a_flat_line_no_beats() -> None:
    table, truth = pulses(people=4)
    profile = np.cos(2 * np.pi * beats.at_tokens(truth, 60))[:, None]
    assert np.isnan(maps_of(seen_of(table, profile), table)["beat"]["p"]).all()
    flat = replace(table, waveform=np.zeros_like(table.waveform))
    maps = maps_of(seen_of(flat, profile), flat)
    assert maps["beat"] is None
    assert maps["tracks"]["waveform"]["before_s"][[0, -1]].tolist() == pytest.approx([5.95, 0.05])
    assert beats.curve(profile[:, 0], np.full((len(table), 60), np.nan), np.zeros(len(table), np.int64)) is None


def test_the_slope_comes_from_what_a_store_has() -> None:
    table, _ = pulses()
    rows = np.arange(4)
    both = slope_of(table, rows)
    pulse = slope_of(replace(table, waveform=table.waveform[:, :1], waveform_channels=("ppg_8hz",)), rows)
    slope = slope_of(replace(table, waveform=table.waveform[:, 1:], waveform_channels=("vpg",)), rows)
    assert both is not None
    assert pulse is not None
    assert slope is not None
    np.testing.assert_allclose(pulse[1][:, 5:-5], both[1][:, 5:-5], atol=0.15)
    np.testing.assert_allclose(slope[0], both[0], atol=1e-3)
    assert slope_of(replace(table, waveform_channels=("ecg", "abp")), rows) is None


def test_masks_are_projected_back_on_the_waveform() -> None:
    table, _ = pulses()
    torch.manual_seed(0)
    scaler = Scaler.fit(table, np.arange(24))
    model = SplitMerge(SplitMergeSettings(width=8, stride=8), spec_of(table))
    found = sensitivity(model, table, np.arange(24), scaler)
    assert found is not None
    assert found.shape == (3, beats.BINS)
    np.testing.assert_allclose(np.nanmean(found, axis=1), 1.0, atol=1e-9)
    assert all(p.grad is None for p in model.parameters())
    with torch.no_grad():
        logits_of(model).weight.zero_()
    assert sensitivity(model, table, np.arange(24), scaler) is None
    blind = SplitMerge(SplitMergeSettings(width=8, stride=8, use_waveform=False), spec_of(table))
    assert sensitivity(blind, table, np.arange(24), scaler) is None
    flat = replace(table, waveform=np.zeros_like(table.waveform))
    assert sensitivity(model, flat, np.arange(24), scaler) is None


def test_copies_are_told(make_table: MakeTable) -> None:
    def copy(model: SplitMerge) -> None:
        for p in model.splitter.parameters():
            p[2] = p[1]

    told = report(make_table(), copy)
    assert any("'sbp' and 'dbp' are near copies" in w for w in told["warnings"])
    assert told["uhsic"][1][2] == pytest.approx(1.0, abs=1e-3)


def test_few_rows_and_networks_without_splits(make_table: MakeTable) -> None:
    table = make_table()
    scaler = Scaler.fit(table, ROWS)
    model: nn.Module = models.build("split_merge", SplitMergeSettings(width=8), spec_of(table))
    assert split_report(model, table, ROWS[:5], scaler)["uhsic"] is None
    assert split_report(model, table, ROWS[:0], scaler)["splits"] == []
    hard = models.build("hard_sharing", HardSharingSettings(width=8), spec_of(table))
    assert split_report(hard, table, ROWS, scaler) == {"splits": [], "warnings": []}


def test_what_only_the_course_of_training_shows() -> None:
    nan = float("nan")
    first = {"mi": 0.9, "split_std": 0.2, "critic": -1.0, "mi_skipped": 2.0}
    last = {"mi": 0.2, "split_std": 0.05, "critic": -3.0, "mi_skipped": 0.0}
    told = history_warnings([{"mi": nan, "split_std": 0.1, "critic": nan, "mi_skipped": 1.0}, first, last])
    assert any("3 batches had fewer than 8 windows" in w for w in told)
    assert any("shrunk to 25%" in w for w in told)
    assert any("critic's likelihood fell" in w for w in told)
    assert history_warnings([first | {"mi_skipped": 0.0}, last | {"split_std": 0.2, "critic": nan}]) == []
    assert history_warnings([]) == []
