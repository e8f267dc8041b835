"""Laws of the multi-gate mixture: its formula, one expert, whose gate learns from whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from biosig_mtl.models.hard_sharing import HardSharingSettings, hard_sharing
from biosig_mtl.models.mmoe import Experts, Mixture, MmoeSettings, mmoe
from biosig_mtl.models.network import Network
from biosig_mtl.types import Batch, InputSpec

MakeSpec = Callable[..., InputSpec]
MakeBatch = Callable[..., Batch]
SMALL: dict[str, Any] = {"width": 8, "stride": 16, "dropout": 0.0}


def small(spec: InputSpec, seed: int = 0, **words: Any) -> Network:
    torch.manual_seed(seed)
    return mmoe(MmoeSettings(**{**SMALL, **words}), spec)


def mean_of_tokens(x: Tensor, axis: int = 0) -> Tensor:
    del axis
    return x.mean(-2)


def test_a_mixture_is_its_formula() -> None:
    torch.manual_seed(0)
    body = Mixture(("sbp", "dbp"), 8, 3, 0.0)
    tokens = torch.randn(5, 4, 8)
    joint = body(tokens, mean_of_tokens)
    x = tokens.mean(1)
    for task in range(2):
        scores = x @ body.gates.weight[task] + body.gates.bias[task]
        gates = scores.exp() / scores.exp().sum(1, keepdim=True)
        expected = torch.zeros(5, 8)
        for e in range(3):
            centred = x - x.mean(1, keepdim=True)
            normed = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
            hidden = torch.nn.functional.gelu(normed @ body.experts.wide.weight[e] + body.experts.wide.bias[e])
            expected = expected + gates[:, e : e + 1] * (
                x + hidden @ body.experts.narrow.weight[e] + body.experts.narrow.bias[e]
            )
        torch.testing.assert_close(joint.embedding[:, task], expected)
        torch.testing.assert_close(joint.weights[f"experts.{('sbp', 'dbp')[task]}"], gates)


def test_one_expert_is_hard_sharing(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    mixture = small(spec, experts=1).eval()
    hard = hard_sharing(HardSharingSettings(**SMALL, trunk_layers=1), spec).eval()
    state = {name: value for name, value in mixture.state_dict().items() if not name.startswith("body.")}
    for layer in ("wide", "narrow"):
        state[f"body.trunk.0.{layer}.weight"] = mixture.get_parameter(f"body.experts.{layer}.weight")[0].T
        state[f"body.trunk.0.{layer}.bias"] = mixture.get_parameter(f"body.experts.{layer}.bias")[0, 0]
    state |= {"body.trunk.0.norm.weight": torch.ones(8), "body.trunk.0.norm.bias": torch.zeros(8)}
    hard.load_state_dict(state)
    batch = make_batch(spec)
    torch.testing.assert_close(mixture(batch).predictions, hard(batch).predictions, atol=1e-6, rtol=1e-5)


def test_experts_are_shown_the_same_and_differ() -> None:
    torch.manual_seed(0)
    experts = Experts(3, 8, 0.0)
    x = torch.randn(1, 5, 1, 8)
    said = experts(x)
    assert said.shape == (3, 5, 1, 8)
    torch.testing.assert_close(said, experts(x.expand(3, -1, -1, -1)))
    assert not torch.allclose(said[0], said[1])


@pytest.mark.parametrize("targets", [1, 2, 5])
def test_gates_are_shares_by_name_and_window(make_spec: MakeSpec, make_batch: MakeBatch, targets: int) -> None:
    spec = make_spec(targets=targets, samples=75)
    model = small(spec, experts=3).eval()
    out = model(make_batch(spec))
    assert out.predictions.shape == (12, targets)
    assert set(out.weights) == {f"experts.{name}" for name in spec.targets} == set(model.shown)
    for name, gates in out.weights.items():
        assert gates.shape == (12, len(model.shown[name])) == (12, 3)
        torch.testing.assert_close(gates.sum(1), torch.ones(12))
        assert not torch.allclose(gates[0], gates[1])
    assert model(make_batch(spec, 1)).predictions.shape == (1, targets)


@pytest.mark.parametrize("task", [0, 1, 2])
def test_a_task_teaches_its_own_gate_and_all_experts(make_spec: MakeSpec, make_batch: MakeBatch, task: int) -> None:
    spec = make_spec(targets=3)
    model = small(spec)
    model(make_batch(spec)).predictions[:, task].square().sum().backward()
    gates, experts = (model.get_parameter(f"body.{name}.weight").grad for name in ("gates", "experts.wide"))
    assert gates is not None
    assert experts is not None
    assert [bool((gates[t] != 0).any()) for t in range(3)] == [t == task for t in range(3)]
    assert all((experts[e] != 0).any() for e in range(4))


def test_permuting_tasks_or_experts(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec, order, by_expert = make_spec(targets=3), [2, 0, 1], [3, 1, 0, 2]
    model, other = small(spec).eval(), small(spec, seed=1).eval()
    state = {}
    for name, value in model.state_dict().items():
        moved = value[by_expert] if name.startswith("body.experts.") else value
        moved = moved[order][..., by_expert] if name.startswith("body.gates.") else moved
        state[name] = moved[order] if name.startswith(("heads.", "answers.")) else moved
    other.load_state_dict(state)
    batch = make_batch(spec)
    torch.testing.assert_close(other(batch).predictions, model(batch).predictions[:, order], atol=1e-6, rtol=1e-5)


def test_settings_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="need experts >= 1, got 0"):
        MmoeSettings(experts=0)
    with pytest.raises(ValueError, match="stride"):
        MmoeSettings(stride=3)
