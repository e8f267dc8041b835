"""Laws of inputs of several modalities: what is absent, montages, who has a say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from biosig_mtl import models
from biosig_mtl.models.electrodes import ElectrodePool, PowerBands, per_electrode, places
from biosig_mtl.models.encoders import MontageEncoder, TokenChoice
from biosig_mtl.models.hard_sharing import HardSharingSettings, hard_sharing
from biosig_mtl.models.histn import Histn, HistnSettings, regions, scaled_laplacian
from biosig_mtl.models.split_merge import SplitMerge, SplitMergeSettings
from biosig_mtl.models.tokens import Tokens
from biosig_mtl.types import Batch, Head, InputSpec, RecipeError, TrackSpec

MakeSpec = Callable[..., InputSpec]
MakeBatch = Callable[..., Batch]
SMALL: dict[str, Any] = {"width": 8, "heads": 2, "dropout": 0.0}
FOURTEEN = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")
THIRTY_TWO = (
    "Fp1", "AF3", "F3", "F7", "FC5", "FC1", "C3", "T7", "CP5", "CP1", "P3", "P7", "PO3", "O1", "Oz", "Pz",
    "Fp2", "AF4", "Fz", "F4", "F8", "FC6", "FC2", "Cz", "C4", "T8", "CP6", "CP2", "P4", "P8", "PO4", "O2",
)  # fmt: skip


def small(spec: InputSpec, seed: int = 0, **words: Any) -> SplitMerge:
    torch.manual_seed(seed)
    return SplitMerge(SplitMergeSettings(**{**SMALL, **words}), spec)


def changed(batch: Batch, name: str, rows: slice, *, channel: int | None = None) -> Batch:
    """Return the batch with a track, or one channel of it, taken from some windows."""
    present = batch.present[name].clone()
    present[rows, slice(None) if channel is None else channel] = False
    track = batch.tracks[name] * present[..., None]
    return replace(batch, tracks={**batch.tracks, name: track}, present={**batch.present, name: present})


# ---------------------------------------------------------------------------------------------------------------- absence
def test_what_an_absent_modality_would_have_held_is_not_looked_at(make_affect_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_affect_spec()
    model, batch = small(spec).eval(), make_batch(spec)
    away = changed(batch, "eeg", slice(0, 3))
    filled = replace(away, tracks={**away.tracks, "eeg": batch.tracks["eeg"]})
    told, whole = model(away).predictions, model(batch).predictions
    assert torch.equal(told, model(filled).predictions)
    assert not torch.allclose(told[:3], whole[:3])
    torch.testing.assert_close(told[3:], whole[3:])
    assert torch.isfinite(model(changed(away, "eda", slice(0, 3))).predictions).all()


def test_a_window_with_nothing_at_all_gets_an_answer(make_affect_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_affect_spec()
    batch = make_batch(spec)
    nothing = changed(changed(replace(batch, missing=torch.ones_like(batch.missing)), "eeg", slice(None)), "eda", slice(None))
    for pool in ("balanced", "mean", "learnt"):
        out = small(spec, pool=pool, montage=True).train()(nothing)
        out.predictions.sum().backward()
        assert torch.isfinite(out.predictions).all()
        assert torch.equal(out.weights["electrodes.eeg"], torch.zeros(12, 4))


def test_an_absent_electrode_is_not_listened_to(make_affect_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_affect_spec()
    model, batch = small(spec).eval(), make_batch(spec)
    away = changed(batch, "eeg", slice(0, 5), channel=2)
    noise = replace(away, tracks={**away.tracks, "eeg": away.tracks["eeg"] + 9.0 * (~away.present["eeg"][..., None])})
    shares = model(noise).weights["electrodes.eeg"]
    assert (shares[:5, 2] == 0).all()
    assert (shares[5:, 2] > 0).all()
    torch.testing.assert_close(shares.sum(1), torch.ones(12))
    torch.testing.assert_close(model(noise).predictions, model(away).predictions)


def test_an_unused_waveform_leaves_the_features_alone(make_affect_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_affect_spec()
    model = small(spec, use_waveform=False)
    assert model.uses_tracks == ()
    bare = replace(make_batch(spec), tracks={}, present={})
    assert torch.isfinite(model(bare).predictions).all()
    assert small(spec).uses_tracks == ("eeg", "eda")


# ---------------------------------------------------------------------------------------------------------------- montages
@pytest.mark.parametrize("words", [{}, {"montage": True}, {"pool": "learnt"}], ids=str)
@pytest.mark.parametrize("kind", ["split_merge", "hard_sharing", "histn"])
def test_the_order_of_electrodes_does_not_matter(
    make_affect_spec: MakeSpec, make_batch: MakeBatch, words: dict[str, Any], kind: str
) -> None:
    names = ("F3", "F4", "Cz", "O1")
    order = [2, 0, 3, 1]
    spec, turned = (make_affect_spec(electrodes) for electrodes in (names, tuple(names[i] for i in order)))
    if not words.get("montage"):
        spec, turned = replace(spec, features=spec.features[-2:]), replace(turned, features=turned.features[-2:])
    settings = models.MODELS[kind].settings(**({"width": 8} | (words if kind != "histn" else {})))
    torch.manual_seed(0)
    model = models.build(kind, settings, spec).eval()
    other = models.build(kind, settings, turned).eval()
    other.load_state_dict(model.state_dict())
    batch = changed(make_batch(spec), "eeg", slice(0, 4), channel=1)
    columns = [spec.features.index(name) for name in turned.features]
    same = replace(
        batch,
        values=batch.values[:, columns],
        missing=batch.missing[:, columns],
        tracks={**batch.tracks, "eeg": batch.tracks["eeg"][:, order]},
        present={**batch.present, "eeg": batch.present["eeg"][:, order]},
    )
    torch.testing.assert_close(other(same).predictions, model(batch).predictions, atol=1e-5, rtol=1e-4)
    # Names that do not go with their signals are another head.
    assert not torch.allclose(model(same if len(columns) < 3 else batch).predictions, other(batch).predictions, atol=1e-5)


@pytest.mark.parametrize("kind", ["split_merge", "hard_sharing", "histn"])
def test_weights_of_14_electrodes_fit_32_and_back(make_affect_spec: MakeSpec, make_batch: MakeBatch, kind: str) -> None:
    words = {} if kind == "histn" else {"width": 8, "montage": True}
    few, many = (make_affect_spec(names) for names in (FOURTEEN, THIRTY_TWO))
    for trained, spec in ((few, many), (many, few)):
        torch.manual_seed(0)
        model = models.build(kind, models.MODELS[kind].settings(**words), trained).eval()
        other = models.build(kind, models.MODELS[kind].settings(**words), spec).eval()
        other.load_state_dict(model.state_dict(), strict=True)
        told = other(make_batch(spec))
        assert torch.isfinite(told.predictions).all()
        assert told.predictions.std() > 0
    # The electrodes that both have, alone, are the same head to either network.
    shared = [name for name in FOURTEEN if name in THIRTY_TWO]
    wide = make_batch(many)
    here = torch.tensor([name in shared for name in THIRTY_TWO]).expand(12, -1)
    wide = replace(wide, present={**wide.present, "eeg": here})
    bands = [few.features.index(f"eeg_de.{band}.{name}") for name in FOURTEEN for band in ("alpha", "beta")]
    taken = [many.features.index(few.features[c]) for c in bands]
    gone = torch.ones_like(wide.missing)
    gone[:, taken], gone[:, -2:] = wide.missing[:, taken], wide.missing[:, -2:]
    wide = replace(wide, missing=gone)
    narrow = replace(
        make_batch(few),
        values=torch.cat([wide.values[:, taken], wide.values[:, -2:]], dim=1),
        missing=torch.cat([wide.missing[:, taken], wide.missing[:, -2:]], dim=1),
        tracks={**wide.tracks, "eeg": wide.tracks["eeg"][:, [THIRTY_TWO.index(name) for name in FOURTEEN]]},
        present={**wide.present, "eeg": torch.ones(12, 14, dtype=torch.bool)},
    )
    small_, large = (models.build(kind, models.MODELS[kind].settings(**words), s).eval() for s in (few, many))
    large.load_state_dict(small_.state_dict())
    torch.testing.assert_close(large(wide).predictions, small_(narrow).predictions, atol=1e-5, rtol=1e-4)


def test_only_whole_families_are_pooled_over_electrodes() -> None:
    assert per_electrode(("eeg_de.alpha.F3", "eeg_de.alpha.none", "hr.mean")) == {}
    assert per_electrode(("eeg_de.alpha.F3", "eeg_de.beta.F4")) == {}
    assert set(per_electrode(("eeg_de.alpha.F3", "eeg_h.mobility.F3", "eeg_h.mobility.F4", "eeg_asym.alpha"))) == {
        "eeg_de",
        "eeg_h",
    }


def test_with_a_montage_no_layer_counts_electrodes(make_affect_spec: MakeSpec) -> None:
    one, other = (small(make_affect_spec(names), montage=True) for names in (FOURTEEN, THIRTY_TWO))
    assert [p.shape for p in one.parameters()] == [p.shape for p in other.parameters()]
    assert one.answers.skip is not None
    assert one.answers.skip.in_features == 4  # eda.scl and hr.mean with their flags
    plain, wide = (small(make_affect_spec(names)) for names in (FOURTEEN, THIRTY_TWO))
    assert [p.shape for p in plain.parameters()] != [p.shape for p in wide.parameters()]


def test_places_are_those_of_the_names() -> None:
    found = places(("Cz", "EMG1", "F3", "F4"))
    assert torch.equal(found[0], torch.tensor([0.0, 0.0, 1.0]))
    assert torch.equal(found[1], torch.zeros(3))
    torch.testing.assert_close(found[2] * torch.tensor([-1.0, 1.0, 1.0]), found[3], atol=1e-6, rtol=0)


def test_attention_over_electrodes_is_its_formula() -> None:
    torch.manual_seed(0)
    pool = ElectrodePool(("F3", "Cz", "O2"), 2, 8)
    content, present = torch.randn(5, 3, 4, 2), torch.rand(5, 3) < 0.7
    present[0] = torch.tensor([True, False, False])
    _, shares = pool(content, present)
    where = pool.place(pool.places)
    scores = pool.score(torch.tanh(pool.content(content.mean(2)) + where))
    expected = torch.exp(scores) * present[..., None]
    expected = (expected / expected.sum(1, keepdim=True).clamp(min=1e-9)).mean(2)
    torch.testing.assert_close(shares, expected)
    torch.testing.assert_close(shares[0], torch.tensor([1.0, 0.0, 0.0]))


def test_power_bands_see_power_and_not_phase() -> None:
    bands = PowerBands(64, 128.0, 12)
    time = torch.arange(512) / 128
    waves = torch.stack([torch.sin(2 * torch.pi * (rate * time + shift)) for rate in (3, 11, 35) for shift in (0.0, 0.2, 0.5)])
    power = bands(waves[None])[0].detach()[:, 1:-1].exp().mean(1)  # (signal, band), away from the ends
    pairs = power.view(3, 3, 6, 2).sum(3)  # sine and cosine of a band together
    best = pairs.mean(1).argmax(1)
    assert (best.diff() < 0).all()  # bands are born from high to low
    loudest = pairs[torch.arange(3), :, best]
    assert (loudest.std(1) < 0.02 * loudest.mean(1)).all()
    # Twice the amplitude is four times the power; a constant is no power.
    twice = bands(2 * waves[None])[0].detach()[:, 1:-1].exp().mean(1).view(3, 3, 6, 2).sum(3)
    torch.testing.assert_close(twice[torch.arange(3), :, best], 4 * loudest, rtol=0.01, atol=0)
    assert float(bands(torch.ones(1, 1, 512))[:, :, 2:6].max().detach()) < -5


@pytest.mark.parametrize(("samples", "stride"), [(512, 64), (500, 32), (7, 64), (130, 4), (33, 8)])
def test_a_montage_encoder_takes_any_length(samples: int, stride: int) -> None:
    encoder = MontageEncoder(2, TokenChoice(8, stride=stride), ("F3", "F4"), 128.0).eval()
    tokens, shares = encoder.listen(torch.randn(3, 2, samples), torch.ones(3, 2, dtype=torch.bool))
    assert abs(tokens.shape[1] - samples / stride) <= 1
    assert torch.isfinite(tokens).all()
    assert shares.shape == (3, 2)


# ---------------------------------------------------------------------------------------------------------------- who says
def test_every_modality_present_has_the_same_say(make_affect_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_affect_spec()
    tokens = Tokens(spec, TokenChoice(8))
    batch = make_batch(spec)
    batch = changed(replace(batch, missing=torch.zeros_like(batch.missing)), "eeg", slice(0, 2))
    groups, modal = tokens.shares(batch)
    assert tokens.modalities == ("eeg", "eda", "hr")
    torch.testing.assert_close(modal, torch.full((12, 3), 1 / 3))  # windows 0 and 1 still have features of the EEG
    assert [g.modality for g in tokens.groups] == ["eeg", "eda", "eeg", "eda", "hr"]
    torch.testing.assert_close(groups[0], torch.tensor([0, 1 / 6, 1 / 3, 1 / 6, 1 / 3]))
    torch.testing.assert_close(groups[2], torch.tensor([1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 3]))
    counts = [g.tokens for g in tokens.groups]
    x = torch.cat([torch.full((12, n, 8), float(i)) for i, n in enumerate(counts)], dim=1)
    torch.testing.assert_close(tokens.pool(x, "balanced", batch)[2], torch.full((8,), (0 + 1 + 2 + 3) / 6 + 4 / 3))
    stacked = x.expand(3, -1, -1, -1)
    torch.testing.assert_close(tokens.pool(stacked, "balanced", batch, 1)[1], tokens.pool(x, "balanced", batch))
    torch.testing.assert_close(tokens.pool(x, "mean", batch), x.mean(1))


def test_a_waveform_beside_tracks_is_a_modality(make_affect_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = replace(make_affect_spec(), waveform_channels=("ppg",), samples=70, features=())
    tokens = Tokens(spec, TokenChoice(8, stride=8))
    batch = changed(make_batch(spec), "eda", slice(0, 1))
    assert tokens.modalities == ("waveform", "eeg", "eda")
    groups, modal = tokens.shares(batch)
    torch.testing.assert_close(modal[:2], torch.tensor([[0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]]))
    assert torch.equal(groups, modal)
    x = tokens(batch)
    steps = x.shape[1] - sum(group.tokens for group in tokens.groups)
    eeg = x[:, steps : steps + tokens.groups[1].tokens].mean(1)
    torch.testing.assert_close(tokens.pool(x, "balanced", batch)[0], 0.5 * (x[:, :steps].mean(1) + eeg)[0])


def test_a_learnt_say_is_shown_and_goes_to_those_present(make_affect_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_affect_spec()
    model = small(spec, pool="learnt").eval()
    assert model.shown["modalities"] == ("eeg", "eda", "hr")
    assert model.tokens.say is not None
    with torch.no_grad():
        model.tokens.say.copy_(torch.tensor([2.0, 0.0, -1.0]))
    batch = make_batch(spec)
    gone = torch.zeros_like(batch.missing)
    gone[:, -1] = True  # hr.mean
    shares = model(replace(batch, missing=gone)).weights["modalities"]
    expected = torch.softmax(torch.tensor([2.0, 0.0]), 0)
    torch.testing.assert_close(shares[0], torch.cat([expected, torch.zeros(1)]))
    with pytest.raises(ValueError, match="need pool in"):
        hard_sharing(HardSharingSettings(pool="best"), spec)  # type: ignore[arg-type]


@pytest.mark.parametrize("task", [0, 1])
@pytest.mark.parametrize("heads", [(), (Head("binary", (5.0,)), Head("rasch", (3.0, 6.0)))], ids=["regression", "classes"])
def test_a_task_teaches_only_its_own_split_and_head(
    make_affect_spec: MakeSpec, make_batch: MakeBatch, heads: tuple[Head, ...], task: int
) -> None:
    spec = make_affect_spec(heads=heads)
    model = small(spec)
    out = model(make_batch(spec))
    told: Tensor = out.predictions[:, task] if out.logits is None else torch.softmax(out.logits[:, task], 1)[:, 0]
    told.square().sum().backward()  # type: ignore[no-untyped-call]
    for name, p in model.named_parameters():
        if p.grad is None:
            assert name.startswith(("private.", "answers.classes")), name
        elif name.startswith(("splitter.", "heads.", "merger.")) and not name.endswith("keys.bias"):
            own = task + 1 if name.startswith("splitter.") else task
            other = 2 - task if name.startswith("splitter.") else 1 - task
            assert (p.grad[own] != 0).any(), name
            assert not (p.grad[other] != 0).any(), name
    for track in ("eeg", "eda"):
        grads = [p.grad for n, p in model.named_parameters() if n.startswith(f"tokens.tracks.{track}.encoder")]
        assert all(g is not None and (g != 0).any() for g in grads), track


# ------------------------------------------------------------------------------------------------------------------- HiSTN
def test_histn_is_tiny_and_looks_at_the_eeg_alone(make_affect_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = replace(
        make_affect_spec(FOURTEEN), tracks=(TrackSpec("eeg", FOURTEEN, 512, 128.0), TrackSpec("eda", ("eda",), 40, 4.0))
    )
    torch.manual_seed(0)
    model = Histn(HistnSettings(dropout=0.0), spec)
    assert sum(p.numel() for p in model.parameters()) < 1500
    batch = make_batch(spec)
    other = replace(make_batch(spec, seed=1), tracks={**batch.tracks, "eda": -batch.tracks["eda"]})
    assert torch.equal(model(batch).predictions, model(other).predictions)
    with pytest.raises(RecipeError, match="need a track 'eeg'"):
        models.build("histn", HistnSettings(), InputSpec((), 0, ("a.x",), ("valence",)))


def test_regions_and_edges_follow_the_places() -> None:
    member = regions(places(("Fz", "T7", "T8", "Oz", "Cz", "none")))
    assert torch.equal(member[:, :4], torch.eye(4))
    assert (member[:, 4:] == 1).all()
    laplacian = scaled_laplacian(places(("F3", "F1", "O2")), torch.ones(1, 3, dtype=torch.bool))[0]
    torch.testing.assert_close(laplacian, laplacian.T)
    assert (laplacian.diagonal() == 0).all()
    assert laplacian[0, 1] < laplacian[0, 2] < 0
    assert (torch.linalg.eigvalsh(laplacian).abs() <= 1 + 1e-5).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [({"filters": 0}, "filters"), ({"stride": 12}, "multiple of 8"), ({"dropout": 1.0}, "dropout")],
)
def test_histn_refuses_nonsense(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HistnSettings(**words)


def test_token_choice_refuses_nonsense_about_tracks() -> None:
    with pytest.raises(ValueError, match="track_tokens"):
        TokenChoice(8, track_tokens=0)
    with pytest.raises(ValueError, match="need encoder in"):
        TokenChoice(8, eeg_encoder="graph")


def test_a_kernel_and_classes_do_not_go_together(make_affect_spec: MakeSpec) -> None:
    spec = make_affect_spec(heads=(Head("binary", (5.0,)), Head()))
    with pytest.raises(RecipeError, match="knows no classes"):
        models.build("split_merge", SplitMergeSettings(kernel_landmarks=4), spec)
    pressures = InputSpec((), 0, ("a.x",), ("sbp", "dbp"), (), (Head(), Head("binary", (80.0,))))
    with pytest.raises(RecipeError, match="ordered pressures"):
        models.build("split_merge", SplitMergeSettings(ordered=True), pressures)


def test_tokens_of_one_time_have_one_code(make_affect_spec: MakeSpec) -> None:
    tokens = Tokens(make_affect_spec(), TokenChoice(8))
    assert tokens.tracks is not None
    ends = {name: part.before_s for name, part in tokens.tracks.items()}
    assert isinstance(ends["eeg"], Tensor)
    assert isinstance(ends["eda"], Tensor)
    assert ends["eeg"].max() < 2.0 < 8.0 < ends["eda"].max() < 10.0  # lengths of 2 and 10 s that end together
    assert isinstance(tokens.tracks, nn.ModuleDict)


@pytest.mark.parametrize("heads", [(), (Head("rasch", (3.0, 6.0)), Head("binary", (5.0,)))], ids=["regression", "classes"])
def test_other_precisions(make_affect_spec: MakeSpec, make_batch: MakeBatch, heads: tuple[Head, ...]) -> None:
    spec = make_affect_spec(heads=heads)
    model, batch = small(spec, montage=True, pool="learnt").eval(), make_batch(spec)
    reference = model(batch).predictions
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.allclose(model(batch).predictions.float(), reference, atol=0.05)
    tracks = {name: track.double() for name, track in batch.tracks.items()}
    double = replace(batch, values=batch.values.double(), tracks=tracks, waveform=batch.waveform.double())
    answer = model.double()(double).predictions
    assert answer.dtype == torch.float64
    assert torch.allclose(answer.float(), reference, atol=1e-4)
