"""Laws of ATI-Net: predict, exchange, refine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from biosig_mtl.models.ati_net import AtiNet, AtiNetSettings, ati_net
from biosig_mtl.models.network import Network
from biosig_mtl.types import Batch, Head, InputSpec

MakeSpec = Callable[..., InputSpec]
MakeBatch = Callable[..., Batch]
SMALL: dict[str, Any] = {"width": 8, "bottleneck": 4, "stride": 16, "dropout": 0.0}
OWN = ("body.exchange.down", "body.exchange.initial", "body.exchange.up", "heads.", "answers.")


def small(spec: InputSpec, seed: int = 0, **words: Any) -> tuple[Network, AtiNet]:
    torch.manual_seed(seed)
    model = ati_net(AtiNetSettings(**{**SMALL, **words}), spec)
    assert isinstance(model.body, AtiNet)
    return model, model.body


def mean(x: Tensor, axis: int = 0) -> Tensor:
    del axis
    return x.mean(-2)


@pytest.mark.parametrize("heads", [(), (Head("binary", (5.0,)), Head("ordinal", (3.0, 6.0)))], ids=["regression", "classes"])
def test_there_is_one_answer_before_the_last(
    make_affect_spec: MakeSpec, make_batch: MakeBatch, heads: tuple[Head, ...]
) -> None:
    spec = make_affect_spec(heads=heads)
    out = small(spec)[0](make_batch(spec))
    assert [e.shape for e in out.early] == [(12, 2)]
    assert [e.shape for e in out.early_logits] == ([(12, 2, 3)] if heads else [])


def test_the_first_answer_is_each_tasks_own_and_the_last_is_not(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec(targets=3)
    model, body = small(spec)
    out = model(make_batch(spec))
    out.early[0][:, 1].square().sum().backward(retain_graph=True)
    for part in (body.exchange.down, body.exchange.initial.last):
        assert part.weight.grad is not None
        assert [bool((part.weight.grad[t] != 0).any()) for t in range(3)] == [False, True, False]
    assert all(p.grad is None for p in body.refinements.parameters())
    model.zero_grad()
    out.predictions[:, 1].square().sum().backward()
    assert body.exchange.down.weight.grad is not None
    assert (body.exchange.down.weight.grad != 0).flatten(1).any(1).all()
    assert all(p.grad is None for p in body.exchange.initial.parameters())
    # A task's masks are its own; what is made of them afterwards is shared.
    for refinement in body.refinements:
        for name, p in refinement.named_parameters():
            assert p.grad is not None
            taught = [bool((row != 0).any()) for row in p.grad]
            assert taught == [False, True, False] if not name.startswith("after") else any(taught), name


def test_what_is_given_back_is_the_mean_over_tasks(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    model, body = small(spec)
    tokens = model.tokens(make_batch(spec))
    exchange = body.exchange
    assert exchange.distil is not None
    low = torch.nn.functional.gelu(torch.einsum("bni,tio->tbno", tokens, exchange.down.weight))
    gates, values = exchange.distil.gates.weight, exchange.distil.values.weight
    swapped = torch.stack([low[t] + torch.sigmoid(low[1 - t] @ gates[t]) * (low[1 - t] @ values[t]) for t in (0, 1)])
    expected = tokens + 0.5 * (swapped[0] @ exchange.up.weight[0] + swapped[1] @ exchange.up.weight[1])
    richer, said = exchange(tokens, mean)
    torch.testing.assert_close(richer, expected, atol=1e-5, rtol=1e-4)
    assert said.shape == (12, 2)


def test_one_task_has_nobody_to_exchange_with(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec(targets=1)
    model, body = small(spec)
    assert body.exchange.distil is None
    assert torch.isfinite(model(make_batch(spec)).predictions).all()


def test_permuting_tasks_with_their_parameters_permutes_answers(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec, order = make_spec(targets=3), [2, 0, 1]
    first = [(t, r) for t in range(3) for r in range(3) if r != t]
    by_pair = [first.index((order[t], order[r])) for t, r in first]
    (model, _), (other, _), batch = small(spec), small(spec, seed=1), make_batch(spec)
    state = {}
    for name, value in model.state_dict().items():
        own = name.startswith(OWN) or ("refinements" in name and ".after." not in name)
        state[name] = value[by_pair] if ".distil." in name else value[order] if own else value
    other.load_state_dict(state)
    told, turned = model.eval()(batch), other.eval()(batch)
    torch.testing.assert_close(turned.predictions, told.predictions[:, order], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(turned.early[0], told.early[0][:, order], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"bottleneck": 0}, "bottleneck and blocks >= 1, got 0, 2"),
        ({"blocks": 0}, "got 16, 0"),
        ({"heads": 5}, "divide width, got 5, 32"),
        ({"width": 1}, "width"),
    ],
)
def test_settings_refuse_nonsense(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AtiNetSettings(**words)
