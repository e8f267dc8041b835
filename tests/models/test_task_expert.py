"""Laws of assembled experts: the formula of a layer, what a memory carries, who learns from whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from biosig_mtl.models.network import Network
from biosig_mtl.models.task_expert import Assembly, MemorialLayer, TaskExpertSettings, task_expert
from biosig_mtl.types import Batch, InputSpec

MakeSpec = Callable[..., InputSpec]
MakeBatch = Callable[..., Batch]
SMALL: dict[str, Any] = {"width": 8, "stride": 16, "dropout": 0.0}


def small(spec: InputSpec, seed: int = 0, **words: Any) -> Network:
    torch.manual_seed(seed)
    return task_expert(TaskExpertSettings(**{**SMALL, **words}), spec)


def mean_of_tokens(x: Tensor, axis: int = 0) -> Tensor:
    del axis
    return x.mean(-2)


def test_a_layer_is_its_formula() -> None:
    """f_t on every token, as the source has it, and pooled only then."""
    torch.manual_seed(0)
    layer = MemorialLayer(2, 8, 3, 0.0)
    tokens, memory = torch.randn(5, 4, 8), torch.randn(2, 5, 8)
    made = layer(tokens, memory, mean_of_tokens)
    normed = functional.layer_norm(tokens, (8,))
    experts = [
        functional.gelu(normed @ layer.down.weight[e] + layer.down.bias[e]) @ layer.up.weight[e] + layer.up.bias[e]
        for e in range(3)
    ]
    for t in range(2):
        asked = torch.cat([tokens.mean(1), memory[t]], dim=1)
        gates = torch.softmax(asked @ layer.gates.weight[t] + layer.gates.bias[t], dim=1)
        found = gates[:, 3, None, None] * memory[t][:, None].expand(-1, 4, -1)
        for e in range(3):
            found = found + gates[:, e, None, None] * experts[e]
        taken = found.mean(1) @ layer.update.weight[t] + layer.update.bias[t]
        torch.testing.assert_close(made.memory[t], functional.layer_norm(memory[t] + taken, (8,)))
        torch.testing.assert_close(made.gates[t], gates)
    torch.testing.assert_close(made.tokens, tokens + torch.stack(experts).mean(0))


def test_who_listens_to_the_memory_alone_does_not_see_the_window() -> None:
    torch.manual_seed(0)
    body = Assembly(("sbp", "dbp"), TaskExpertSettings(width=8, dropout=0.0))
    with torch.no_grad():
        for layer in body.layers:
            assert isinstance(layer, MemorialLayer)
            layer.gates.bias[0, :, -1] = 1e4
    joint = body(torch.randn(5, 4, 8), mean_of_tokens)
    assert torch.equal(joint.embedding[:, 0], joint.embedding[:1, 0].expand(5, -1))
    assert not torch.allclose(joint.embedding[0, 1], joint.embedding[1, 1])
    assert joint.gates is not None
    assert torch.equal(joint.gates[:, 0], torch.zeros(5))


def test_the_memory_carries_what_an_earlier_layer_found() -> None:
    torch.manual_seed(0)
    body = Assembly(("sbp", "dbp"), TaskExpertSettings(width=8, dropout=0.0))
    last = body.layers[-1]
    assert isinstance(last, MemorialLayer)
    with torch.no_grad():
        last.gates.bias[..., -1] = 1e4  # the last layer hears the memory alone
    embedding = body(torch.randn(5, 4, 8), mean_of_tokens).embedding
    assert all(not torch.allclose(embedding[0, t], embedding[1, t]) for t in range(2))


@pytest.mark.parametrize("task", [0, 1, 2])
def test_a_task_teaches_its_own_gate_and_memory_and_all_experts(make_spec: MakeSpec, make_batch: MakeBatch, task: int) -> None:
    spec = make_spec(targets=3)
    model = small(spec)
    model(make_batch(spec)).predictions[:, task].square().sum().backward()
    seen = set()
    for name, p in model.body.named_parameters():
        assert p.grad is not None, name
        part = name.split(".")[-2] if "." in name else name
        if part in {"gates", "update", "settled", "start"}:
            assert [bool((p.grad[t] != 0).any()) for t in range(3)] == [t == task for t in range(3)], name
            seen.add(part)
        elif part in {"down", "up"}:
            assert all((expert != 0).any() for expert in p.grad), name
    assert seen == {"gates", "update", "settled", "start"}


@pytest.mark.parametrize("targets", [1, 2, 4])
@pytest.mark.parametrize("layers", [1, 3])
def test_any_number_of_tasks_and_layers(make_spec: MakeSpec, make_batch: MakeBatch, targets: int, layers: int) -> None:
    spec = make_spec(targets=targets, samples=75)
    model = small(spec, layers=layers, experts=2).eval()
    out = model(make_batch(spec))
    assert out.predictions.shape == (12, targets)
    assert out.gates is not None
    assert set(out.weights) == set(model.shown)
    for column, name in enumerate(f"experts.{target}" for target in spec.targets):
        assert model.shown[name] == ("expert 1", "expert 2", "memory")
        torch.testing.assert_close(out.weights[name].sum(1), torch.ones(12))
        torch.testing.assert_close(out.weights[name][:, :2].sum(1), out.gates[:, column])
    assert model(make_batch(spec, 1)).predictions.shape == (1, targets)


def test_permuting_tasks_with_their_parameters_permutes_answers(make_affect_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec, order = make_affect_spec(targets=3), [2, 0, 1]
    model, other = small(spec).eval(), small(spec, seed=1).eval()
    own = (".gates.", ".update.", ".settled.", "body.start")
    state = {}
    for name, value in model.state_dict().items():
        mine = name.startswith(("heads.", "answers.")) or (name.startswith("body.") and any(word in name for word in own))
        state[name] = value[order] if mine else value
    other.load_state_dict(state)
    batch = make_batch(spec)
    torch.testing.assert_close(other(batch).predictions, model(batch).predictions[:, order], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [({"experts": 0}, "got 0, 2"), ({"layers": 0}, "got 4, 0"), ({"width": 1}, "need width")],
)
def test_settings_refuse_nonsense(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TaskExpertSettings(**words)
