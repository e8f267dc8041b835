"""Laws of MTI-Net: initial predictions at every level, propagation to finer levels, distillation between tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from biosig_mtl.models.mti_net import Distillation, MtiNet, MtiNetSettings, Propagation, mti_net
from biosig_mtl.models.network import Network
from biosig_mtl.types import Batch, Head, InputSpec

MakeSpec = Callable[..., InputSpec]
MakeBatch = Callable[..., Batch]
SMALL: dict[str, Any] = {"width": 8, "stride": 16, "dropout": 0.0}


def small(spec: InputSpec, seed: int = 0, **words: Any) -> tuple[Network, MtiNet]:
    torch.manual_seed(seed)
    model = mti_net(MtiNetSettings(**{**SMALL, **words}), spec)
    assert isinstance(model.body, MtiNet)
    return model, model.body


def mean(x: Tensor, axis: int = 0) -> Tensor:
    del axis
    return x.mean(-2)


def test_distillation_is_its_formula() -> None:
    torch.manual_seed(0)
    distil, features = Distillation(3, 4), torch.randn(3, 2, 5, 4)
    expected = features.clone()
    for p, (t, r) in enumerate([(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]):
        gate = torch.sigmoid(features[r] @ distil.gates.weight[p] + distil.gates.bias[p])
        expected[t] += gate * (features[r] @ distil.values.weight[p] + distil.values.bias[p])
    made, gates = distil(features)
    torch.testing.assert_close(made, expected)
    assert gates.shape == (6, 2, 5, 4)


def test_propagation_is_its_formula() -> None:
    torch.manual_seed(0)
    part, f = Propagation(2, 8), torch.randn(2, 3, 5, 8)
    assert part.joint is not None
    assert part.score is not None
    joint = torch.nn.functional.gelu(torch.cat([*f], -1) @ torch.cat([*part.joint.weight]) + part.joint.bias.sum(0))
    shares = torch.softmax(torch.stack([joint @ w for w in part.score.weight]), 0)
    mixed = torch.cat([*(shares * f)], -1) @ torch.cat([*part.mix.weight])
    expected = []
    for t in range(2):
        inside = torch.relu(mixed.mean(1, keepdim=True) @ part.squeeze.weight[t])
        expected.append(f[t] + torch.sigmoid(inside @ part.excite.weight[t]) * mixed)
    torch.testing.assert_close(part(f, mean), torch.stack(expected), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("heads", [(), (Head("binary", (5.0,)), Head("ordinal", (3.0, 6.0)))], ids=["regression", "classes"])
def test_every_level_answers_early(make_affect_spec: MakeSpec, make_batch: MakeBatch, heads: tuple[Head, ...]) -> None:
    spec = make_affect_spec(heads=heads)
    out = small(spec, levels=4)[0](make_batch(spec))
    assert [e.shape for e in out.early] == [(12, 2)] * 4
    assert [e.shape for e in out.early_logits] == ([(12, 2, 3)] * 4 if heads else [])
    assert out.predictions.shape == (12, 2)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_an_early_answer_hears_its_level_and_the_coarser_ones(make_spec: MakeSpec, make_batch: MakeBatch, level: int) -> None:
    spec = make_spec(targets=3)
    model, body = small(spec)
    model(make_batch(spec)).early[level][:, 1].square().sum().backward()
    for name, parts in (("entry", body.entry), ("initial", body.initial), ("propagations", body.propagations)):
        for i, part in enumerate(parts):
            heard = any(p.grad is not None and bool((p.grad != 0).any()) for p in part.parameters())
            assert heard == (i == level if name == "initial" else i >= level), (name, i)
    assert body.distillations is not None  # initial predictions come before the exchange
    assert all(p.grad is None for p in body.distillations.parameters())
    # Its own level's features are each task's own; the coarser ones came through all tasks.
    for i in range(level, 3):
        grad = body.entry[i].weight.grad
        assert isinstance(grad, Tensor)
        assert [bool((grad[t] != 0).any()) for t in range(3)] == ([False, True, False] if i == level else [True] * 3)


def test_gates_are_shown_by_pair_and_level(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec(targets=3)
    model, body = small(spec)
    shown = model.eval()(make_batch(spec)).weights
    pairs = tuple(f"{a} from {b}" for a in spec.targets for b in spec.targets if a != b)
    assert model.shown == {f"affinity.level {i}": pairs for i in (1, 2, 3)}
    assert all(((shown[name] > 0) & (shown[name] < 1)).all() and shown[name].shape == (12, 6) for name in model.shown)
    assert body.distillations is not None
    closed = body.distillations[2]
    assert isinstance(closed, Distillation)
    with torch.no_grad():
        closed.gates.weight.zero_()
        closed.gates.bias.zero_()
        closed.gates.bias[3] = -200.0
    told = model(make_batch(spec)).weights["affinity.level 3"]
    torch.testing.assert_close(told, torch.tensor([0.5, 0.5, 0.5, 0.0, 0.5, 0.5]).expand(12, -1))


def test_one_task_has_nobody_to_exchange_with(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec(targets=1)
    model, body = small(spec)
    out = model(make_batch(spec))
    assert body.distillations is None
    assert (out.weights, model.shown) == ({}, {})
    (out.predictions.sum() + sum(e.sum() for e in out.early)).backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in body.parameters())


def test_permuting_tasks_with_their_parameters_permutes_answers(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec, order = make_spec(targets=3), [2, 0, 1]
    first = [(t, r) for t in range(3) for r in range(3) if r != t]
    by_pair = [first.index((order[t], order[r])) for t, r in first]
    (model, _), (other, _), batch = small(spec), small(spec, seed=1), make_batch(spec)
    state = {}
    for name, value in model.state_dict().items():
        own = name.startswith(("body.", "heads.", "answers.")) and ".levels." not in name
        state[name] = value[by_pair] if "distillations" in name else value[order] if own else value
    other.load_state_dict(state)
    told, turned = model.eval()(batch), other.eval()(batch)
    torch.testing.assert_close(turned.predictions, told.predictions[:, order], atol=1e-5, rtol=1e-4)
    for a, b in zip(turned.early, told.early, strict=True):
        torch.testing.assert_close(a, b[:, order], atol=1e-5, rtol=1e-4)
