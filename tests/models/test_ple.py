"""Laws of progressive layered extraction: who feeds whom, and whose experts learn from whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from biosig_mtl.models.mmoe import MmoeSettings, mmoe
from biosig_mtl.models.network import Network
from biosig_mtl.models.ple import CustomizedGates, Extraction, PleSettings, ple
from biosig_mtl.types import Batch, InputSpec

MakeSpec = Callable[..., InputSpec]
MakeBatch = Callable[..., Batch]
SMALL: dict[str, Any] = {"width": 8, "stride": 16, "dropout": 0.0}


def small(spec: InputSpec, seed: int = 0, **words: Any) -> Network:
    torch.manual_seed(seed)
    return ple(PleSettings(**{**SMALL, "own_experts": 2, **words}), spec)


def mean_of_tokens(x: Tensor, axis: int = 0) -> Tensor:
    del axis
    return x.mean(-2)


def grad(model: Network, name: str) -> Tensor:
    found = model.get_parameter(name).grad
    assert found is not None
    return found


@pytest.mark.parametrize("task", [0, 1, 2])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_in_the_last_level_own_experts_learn_from_their_task_alone(
    make_spec: MakeSpec, make_batch: MakeBatch, levels: int, task: int
) -> None:
    spec = make_spec(targets=3)
    model = small(spec, levels=levels)
    model(make_batch(spec)).predictions[:, task].square().sum().backward()
    last = f"body.levels.{levels - 1}"
    for name in ("wide.weight", "wide.bias", "narrow.weight", "narrow.bias", "norm.gain", "norm.offset"):
        found = grad(model, f"{last}.own.{name}")
        by_task = found.view(3, 2, *found.shape[1:])
        for t in range(3):
            assert all((by_task[t, e] != 0).any() == (t == task) for e in range(2)), (name, t)
    assert [bool((grad(model, f"{last}.gates.weight")[t] != 0).any()) for t in range(3)] == [t == task for t in range(3)]
    assert all((part != 0).any() for part in grad(model, f"{last}.common.wide.weight"))


@pytest.mark.parametrize("task", [0, 1])
def test_before_the_last_level_the_shared_gate_opens_all_experts(make_spec: MakeSpec, make_batch: MakeBatch, task: int) -> None:
    spec = make_spec()
    model = small(spec)
    model(make_batch(spec)).predictions[:, task].square().sum().backward()
    assert all((part != 0).any() for part in grad(model, "body.levels.0.own.wide.weight"))
    assert (grad(model, "body.passing.0.weight") != 0).all()
    # The gate of a task is not shared, in no level.
    gates = grad(model, "body.levels.0.gates.weight")
    assert (gates[task] != 0).any()
    assert not (gates[1 - task] != 0).any()


def test_two_levels_are_their_formula() -> None:
    torch.manual_seed(0)
    body = Extraction(("sbp", "dbp"), PleSettings(width=8, dropout=0.0, own_experts=2, shared_experts=1))
    tokens = torch.randn(5, 4, 8)
    joint = body(tokens, mean_of_tokens)
    x = tokens.mean(1)
    own, shared = [x, x], x
    gates: list[Tensor] = []
    for j in range(2):
        level = body.levels[j]
        assert isinstance(level, CustomizedGates)
        common = [level.common(shared[None, :, None])[0, :, 0]]
        experts, mixed, gates = [], [], []
        for t in range(2):
            mine = [level.own(own[t][None, :, None])[2 * t + e, :, 0] for e in range(2)]
            say = torch.softmax(own[t] @ level.gates.weight[t] + level.gates.bias[t], dim=1)
            mixed.append(sum(say[:, e : e + 1] * expert for e, expert in enumerate([*mine, *common])))
            experts += mine
            gates.append(say)
        if j == 0:
            say = torch.softmax(body.passing[0](shared), dim=1)
            assert say.shape == (5, 5)
            shared = torch.stack([say[:, e : e + 1] * expert for e, expert in enumerate([*experts, *common])]).sum(0)
        own = [torch.as_tensor(m) for m in mixed]
    torch.testing.assert_close(joint.embedding, torch.stack(own, dim=1))
    torch.testing.assert_close(joint.weights["experts.dbp"], gates[1])
    assert joint.gates is not None
    torch.testing.assert_close(joint.gates, torch.stack([g[:, 2] for g in gates], dim=1))


def test_one_level_with_closed_own_experts_is_a_mixture_of_the_shared_ones(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    model = small(spec, levels=1, shared_experts=3).eval()
    with torch.no_grad():
        model.get_parameter("body.levels.0.gates.bias")[..., :2] = -1e4
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("body.")}
    for name, value in model.state_dict().items():
        if name.startswith("body.levels.0.common."):
            state[name.replace("levels.0.common", "experts")] = value
        elif name.startswith("body.levels.0.gates."):
            state[name.replace("levels.0.", "")] = value[..., 2:]
    mixture = mmoe(MmoeSettings(**SMALL, experts=3), spec).eval()
    mixture.load_state_dict(state)
    batch = make_batch(spec)
    told = model(batch)
    torch.testing.assert_close(told.predictions, mixture(batch).predictions, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(told.gates, torch.ones(12, 2))


@pytest.mark.parametrize("targets", [1, 2, 4])
@pytest.mark.parametrize("own", [1, 3])
def test_any_number_of_tasks(make_spec: MakeSpec, make_batch: MakeBatch, targets: int, own: int) -> None:
    spec = make_spec(targets=targets, samples=75)
    model = small(spec, own_experts=own).eval()
    out = model(make_batch(spec, 1))
    assert out.predictions.shape == (1, targets)
    assert out.gates is not None
    assert out.gates.shape == (1, targets)
    for name, columns in model.shown.items():
        assert columns == (*(f"own {e + 1}" for e in range(own)), "shared 1", "shared 2")
        assert out.weights[name].shape == (1, own + 2)
        torch.testing.assert_close(out.weights[name].sum(1), torch.ones(1))
    assert set(out.weights) == set(model.shown)


def test_permuting_tasks_with_their_parameters_permutes_answers(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec, order = make_spec(targets=3), [2, 0, 1]
    model, other = small(spec).eval(), small(spec, seed=1).eval()
    by_own = [2 * t + e for t in order for e in range(2)]
    state = {}
    for name, value in model.state_dict().items():
        if ".own." in name:
            state[name] = value[by_own]
        elif "passing" in name:
            state[name] = value[[*by_own, 6, 7]]
        else:
            state[name] = value[order] if name.startswith(("heads.", "answers.")) or ".gates." in name else value
    other.load_state_dict(state)
    batch = make_batch(spec)
    torch.testing.assert_close(other(batch).predictions, model(batch).predictions[:, order], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("words", [{"levels": 0}, {"own_experts": 0}, {"shared_experts": 0}])
def test_settings_refuse_nonsense(words: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"need levels, own_experts and shared_experts >= 1, got .*0"):
        PleSettings(**words)
