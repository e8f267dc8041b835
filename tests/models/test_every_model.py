"""The contract of every network in the table: shapes, gradients, chance, independence of windows, what is missing, export."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from biosig_mtl import models
from biosig_mtl.models.answers import Heads
from biosig_mtl.models.blocks import StackedLinear
from biosig_mtl.training.losses import Objective
from biosig_mtl.types import Batch, Head, InputSpec, Output, TrackSpec
from tests.models.onnx_case import exported

MakeBatch = Callable[..., Batch]
NAMES = sorted(models.MODELS)
WORDS: dict[str, Any] = {"width": 8, "stride": 16, "dropout": 0.0}
TARGETS = ("a", "b", "c", "d")
EEG, EDA = TrackSpec("eeg", ("F3", "F4", "Cz", "O1"), 128, 64.0), TrackSpec("eda", ("eda",), 40, 4.0)
CLASSES = (Head("binary", (5.0,)), Head("ordinal", (3.0, 6.0)), Head())
# Networks that look at one modality alone are shown nothing else.
EEG_ALONE = {"histn"}
# Parameters that never matter, and why: an offset that all keys have in common leaves a softmax as it was.
IDLE = re.compile(r"keys(\.\d+)?\.bias$")
# Networks that torch cannot export, by the operator that has no counterpart in ONNX; a test proves that it is still so.
NOT_EXPORTABLE: dict[str, str] = {}  # name → what the exporter says


def spec_of(name: str, tasks: int = 2, heads: tuple[Head, ...] = (), *, several: bool = False) -> InputSpec:
    """Return small inputs: seven time steps and three families, or tracks with families of their own."""
    if name in EEG_ALONE:
        return InputSpec((), 0, (), TARGETS[:tasks], (EEG,), heads)
    if several:
        features = ("eeg_de.alpha.F3", "eeg_de.alpha.F4", "eda.scl", "hr.mean")
        return InputSpec((), 0, features, TARGETS[:tasks], (EEG, EDA), heads)
    return InputSpec(("c0", "c1"), 112, ("pulse.a", "pulse.b", "hr.a", "person.a"), TARGETS[:tasks], (), heads)


def network(name: str, spec: InputSpec, seed: int = 0, **words: Any) -> nn.Module:
    """Return a small network; words that its settings do not know are left out."""
    settings = models.MODELS[name].settings
    known = {field.name for field in fields(settings)}
    torch.manual_seed(seed)
    return models.build(name, settings(**{k: v for k, v in {**WORDS, **words}.items() if k in known}), spec)


def said(out: Output) -> list[Tensor]:
    """Return everything that is answered: what a loss may be made of."""
    found = [out.predictions, out.private, out.logits, out.private_logits, out.reference, *out.early, *out.early_logits]
    return [x.masked_fill(torch.isinf(x), 0.0) for x in found if x is not None]


def chosen(batch: Batch, rows: Tensor) -> Batch:
    """Return some windows of a batch."""
    waveform, values, missing, targets, weight = (
        part[rows] for part in (batch.waveform, batch.values, batch.missing, batch.targets, batch.weight)
    )
    tracks, present = ({k: v[rows] for k, v in part.items()} for part in (batch.tracks, batch.present))
    return Batch(waveform, values, missing, targets, weight, tracks, present)


def double(batch: Batch) -> Batch:
    """Return the batch in float64."""
    plain = (batch.waveform.double(), batch.values.double(), batch.missing, batch.targets.double(), batch.weight.double())
    return Batch(*plain, {k: v.double() for k, v in batch.tracks.items()}, batch.present)


def stirred(model: nn.Module) -> nn.Module:
    """Give every parameter a push: what is born as zero or as the identity must not hide what comes before it."""
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=rng))
    return model


def objective(spec: InputSpec, targets: Tensor) -> Objective:
    return Objective.fit(spec.head, "huber", targets.numpy(), torch.ones(len(targets)).numpy())


# ---------------------------------------------------------------------------------------------------------------- shapes
@pytest.mark.parametrize("tasks", [1, 2, 3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_shapes_are_those_of_targets(make_batch: MakeBatch, name: str, tasks: int) -> None:
    spec = spec_of(name, tasks)
    model = network(name, spec)
    out: Output = model(make_batch(spec, 5))
    assert out.predictions.shape == (5, tasks)
    assert all(x.shape[:2] == (5, tasks) for x in (out.private, out.gates, *out.early) if x is not None)
    assert all(torch.isfinite(x).all() for x in said(out))
    with torch.no_grad():
        alone = model.eval()(make_batch(spec, 1))
    assert alone.predictions.shape == (1, tasks)
    assert torch.isfinite(alone.predictions).all()


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_weights_to_show_have_names(make_batch: MakeBatch, name: str, several: bool) -> None:
    spec = spec_of(name, 3, several=several)
    model: Any = network(name, spec).eval()
    shown: dict[str, tuple[str, ...]] = model.shown
    out: Output = model(make_batch(spec, 5))
    assert set(out.weights) == set(shown)
    for word, weights in out.weights.items():
        assert weights.shape == (5, len(shown[word])), word
        assert torch.isfinite(weights).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_odd_number_of_tokens_will_do(make_batch: MakeBatch, name: str) -> None:
    for samples in (75, 33, 7):
        spec = spec_of(name)
        spec = replace(spec, samples=samples) if spec.samples else replace(spec, tracks=(replace(EEG, samples=samples),))
        out = network(name, spec).eval()(make_batch(spec, 3))
        assert out.predictions.shape == (3, 2)
        assert torch.isfinite(out.predictions).all()


@pytest.mark.parametrize("name", NAMES)
def test_heads_of_classes_say_logits(make_batch: MakeBatch, name: str) -> None:
    spec = spec_of(name, 3, CLASSES)
    out: Output = network(name, spec)(make_batch(spec, 5))
    told = [(out.predictions, out.logits), (out.private, out.private_logits), *zip(out.early, out.early_logits, strict=True)]
    for predictions, logits in told:
        if predictions is None:
            continue
        assert logits is not None
        assert logits.shape == (5, 3, 3)
        assert torch.isneginf(logits[:, 0, 2]).all()  # binary: two classes
        assert torch.isfinite(logits[:, 0, :2]).all()
        assert torch.isfinite(logits[:, 1]).all()
        assert (logits[:, 2] == 0).all()  # regression
        assert torch.isfinite(predictions).all()
        assert (predictions[:, 0] > 0).all()
        assert (predictions[:, 0] < 1).all()


# ------------------------------------------------------------------------------------------------------------- gradients
@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_taught(make_batch: MakeBatch, name: str, tasks: int) -> None:
    spec = spec_of(name, tasks)
    model = stirred(network(name, spec))
    torch.stack([x.square().sum() for x in said(model(make_batch(spec)))]).sum().backward()  # type: ignore[no-untyped-call]
    taught = {n: p.grad is not None and bool((p.grad != 0).any()) for n, p in model.named_parameters() if p.requires_grad}
    assert [n for n, is_taught in taught.items() if not is_taught and not IDLE.search(n)] == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_target_teaches_its_head_nothing(make_batch: MakeBatch, name: str) -> None:
    spec = spec_of(name, 3)
    model, batch = stirred(network(name, spec)), make_batch(spec)
    targets = batch.targets.clone()
    targets[:, 1] = float("nan")
    judge, out = objective(spec, targets), model(batch)
    losses = [judge(x, None, targets, batch.weight)[0] for x in (out.predictions, out.private, *out.early) if x is not None]
    assert all(torch.isfinite(loss).all() for loss in losses)
    torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
    heads: list[nn.Module] = [part for part in model.modules() if isinstance(part, Heads)]
    heads += [part for word, part in model.named_children() if word == "last"]
    stacks = [part for head in heads for part in head.modules() if isinstance(part, StackedLinear)]
    assert stacks
    for p in (p for stack in stacks for p in stack.parameters() if len(p) == 3):
        assert p.grad is not None
        assert [bool((row != 0).any()) for row in p.grad] == [True, False, True]


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_window_does_not_look_at_its_neighbours(make_batch: MakeBatch, name: str, train: bool) -> None:
    spec = spec_of(name)
    model = stirred(network(name, spec)).train(train)
    batch = make_batch(spec, 4)
    looked = [batch.waveform, batch.values, *batch.tracks.values()]
    for x in looked:
        x.requires_grad_()
    torch.stack([x[1].square().sum() for x in said(model(batch))]).sum().backward()  # type: ignore[no-untyped-call]
    seen = [x.grad for x in looked if x.grad is not None and x.numel()]
    assert seen
    assert all((grad[1] != 0).any() for grad in seen)
    assert all((grad[[0, 2, 3]] == 0).all() for grad in seen)


# ---------------------------------------------------------------------------------------------------------------- chance
@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_network(make_batch: MakeBatch, name: str) -> None:
    spec = spec_of(name)
    first, same, other = (network(name, spec, seed=s) for s in (0, 0, 1))
    states = [part.state_dict() for part in (first, same, other)]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert any(not torch.equal(states[0][k], states[2][k]) for k in states[0])
    for a, b in zip(said(first(make_batch(spec))), said(same(make_batch(spec))), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_the_order_and_company_of_windows_do_not_matter(make_batch: MakeBatch, name: str, train: bool) -> None:
    spec = spec_of(name)
    model, batch = stirred(network(name, spec)).train(train), make_batch(spec)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = said(model(batch))
        for rows in (order, order[:5], order[:1]):
            for a, b in zip(said(model(chosen(batch, rows))), whole, strict=True):
                torch.testing.assert_close(a, b[rows], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_saved_settings_and_weights_make_the_same_network(make_batch: MakeBatch, name: str) -> None:
    spec = spec_of(name)
    model: Any = stirred(network(name, spec)).eval()
    words = json.loads(json.dumps(asdict(model.settings)))
    torch.manual_seed(9)
    again: Any = models.rebuild(name, words, spec).eval()
    assert again.settings == model.settings
    again.load_state_dict(model.state_dict(), strict=True)
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in again.state_dict().items())
    for a, b in zip(said(again(make_batch(spec))), said(model(make_batch(spec))), strict=True):
        assert torch.equal(a, b)


# --------------------------------------------------------------------------------------------------------------- missing
@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_leaves_answers_finite(make_batch: MakeBatch, name: str) -> None:
    spec = spec_of(name, several=True)
    batch = make_batch(spec, 6)
    some = {k: v.clone() for k, v in batch.present.items()}
    some["eeg"][:3] = False
    tracks = {k: v * some[k][..., None] for k, v in batch.tracks.items()}
    gone = batch.missing.clone()
    gone[2:4] = True
    nowhere = {k: torch.zeros_like(v) for k, v in batch.present.items()}
    empty = {k: torch.zeros_like(v) for k, v in batch.tracks.items()}
    cases = {
        "a track": replace(batch, tracks=tracks, present=some),
        "features of some windows": replace(batch, tracks=tracks, present=some, missing=gone),
        "everything": replace(batch, tracks=empty, present=nowhere, missing=torch.ones_like(batch.missing)),
    }
    for word, case in cases.items():
        model = stirred(network(name, spec))
        out = model(case)
        assert all(torch.isfinite(x).all() for x in said(out)), word
        torch.stack([x.square().sum() for x in said(out)]).sum().backward()  # type: ignore[no-untyped-call]
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None), word


# ------------------------------------------------------------------------------------------------------------- precision
@pytest.mark.parametrize("name", NAMES)
def test_other_precisions_give_the_same_answers(make_batch: MakeBatch, name: str) -> None:
    spec = spec_of(name)
    batch = make_batch(spec)
    model = network(name, spec).eval()
    with torch.no_grad():
        told = model(batch).predictions
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model(batch).predictions
        exact = model.double()(double(batch)).predictions
    assert exact.dtype == torch.float64
    torch.testing.assert_close(exact.float(), told, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(rough.float(), told, atol=0.1, rtol=0.1)


# -------------------------------------------------------------------------------------------------------------- learning
@pytest.mark.parametrize("name", NAMES)
def test_thirty_two_windows_can_be_learnt_by_heart(make_batch: MakeBatch, name: str) -> None:
    spec = spec_of(name)
    # Without the linear path beside it: the network itself has to learn.
    model, batch = network(name, spec, linear_skip=False), make_batch(spec, 32)
    judge = objective(spec, batch.targets)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(50):
        loss = judge(model(batch).predictions, None, batch.targets, batch.weight)[0].sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0], (losses[0], losses[-1])


# ---------------------------------------------------------------------------------------------------------------- export
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_graph_of_onnx_answers_the_same(make_batch: MakeBatch, name: str) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    spec = spec_of(name)
    model = stirred(network(name, spec, encoder="patch", levels=2, blocks=1, layers=1)).eval()
    if name in NOT_EXPORTABLE:
        with pytest.raises(torch.onnx.OnnxExporterError, match=NOT_EXPORTABLE[name]):
            exported(model, spec, make_batch(spec, 5))
        return
    run = exported(model, spec, make_batch(spec, 5))
    for size in (1, 3, 17):
        batch = make_batch(spec, size, seed=size)
        with torch.no_grad():
            told = model(batch).predictions
        torch.testing.assert_close(torch.from_numpy(run(batch)), told, atol=1e-4, rtol=0)


def test_only_networks_of_the_table_are_excused_from_export() -> None:
    assert set(NOT_EXPORTABLE) <= set(NAMES)
