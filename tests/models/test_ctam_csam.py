"""Laws of sequential cross attention: who reads whom, and the formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from biosig_mtl.models.ctam_csam import CtamCsam, CtamCsamSettings, ScaleExchange, TaskExchange, ctam_csam
from biosig_mtl.models.network import Network
from biosig_mtl.types import Batch, InputSpec

MakeSpec = Callable[..., InputSpec]
MakeBatch = Callable[..., Batch]
SMALL: dict[str, Any] = {"width": 8, "stride": 16, "dropout": 0.0}
PER_TASK = ("body.own", "body.tasks", "body.scales", "body.norm.", "heads.", "answers.")
ONE_HEAD = CtamCsamSettings(width=8, heads=1, dropout=0.0)


def small(spec: InputSpec, seed: int = 0, **words: Any) -> Network:
    torch.manual_seed(seed)
    return ctam_csam(CtamCsamSettings(**{**SMALL, **words}), spec)


def normed(x: torch.Tensor) -> torch.Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()


def test_exchange_between_tasks_is_its_formula() -> None:
    torch.manual_seed(0)
    exchange, features = TaskExchange(3, ONE_HEAD), torch.randn(3, 4, 5, 8)
    queries, keys, values = (
        torch.einsum("tbni,tio->tbno", normed(features), part.weight)
        for part in (exchange.queries, exchange.keys, exchange.values)
    )
    expected = features.clone()
    for t in range(3):
        for r in range(3):
            if r != t:
                expected[t] += torch.softmax(queries[t] @ keys[r].mT / math.sqrt(8), dim=-1) @ values[r]
    torch.testing.assert_close(exchange(features), expected, atol=1e-5, rtol=1e-4)


def test_exchange_between_scales_is_its_formula() -> None:
    torch.manual_seed(0)
    exchange, levels = ScaleExchange(2, ONE_HEAD), [torch.randn(2, 4, 5, 8) for _ in range(3)]
    queries = torch.einsum("tbni,tio->tbno", normed(levels[0]), exchange.queries.weight)
    expected = levels[0].clone()
    for level, keys, values in zip(levels[1:], exchange.keys, exchange.values, strict=True):
        k = torch.einsum("tbni,tio->tbno", normed(level), keys.weight)
        v = torch.einsum("tbni,tio->tbno", normed(level), values.weight)
        expected += torch.softmax(queries @ k.mT / math.sqrt(8), dim=-1) @ v
    torch.testing.assert_close(exchange(levels), expected, atol=1e-5, rtol=1e-4)


def test_only_the_exchange_between_tasks_carries_from_one_to_another(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec(targets=3)
    batch = make_batch(spec)
    for silent in (False, True):
        model = small(spec)
        assert isinstance(model.body, CtamCsam)
        assert model.body.tasks is not None
        if silent:
            with torch.no_grad():
                for name, p in model.body.tasks.named_parameters():
                    if "values" in name:
                        p.zero_()
        model(batch).predictions[:, 0].square().sum().backward()
        for name, p in model.body.own.named_parameters():
            assert p.grad is not None
            assert [bool((p.grad[t] != 0).any()) for t in range(3)] == [True, not silent, not silent], name


def test_every_level_is_listened_to(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    model, batch = small(spec).eval(), make_batch(spec)
    before = model(batch).predictions
    assert isinstance(model.body, CtamCsam)
    for own in model.body.own:
        told = {k: v.clone() for k, v in own.state_dict().items()}
        with torch.no_grad():
            own.weight.normal_()  # type: ignore[operator]
        assert not torch.allclose(model(batch).predictions, before)
        own.load_state_dict(told)
    assert torch.equal(model(batch).predictions, before)


def test_one_task_has_nobody_to_ask(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec(targets=1)
    model = small(spec)
    assert isinstance(model.body, CtamCsam)
    assert model.body.tasks is None
    assert torch.isfinite(model(make_batch(spec)).predictions).all()


def test_permuting_tasks_with_their_parameters_permutes_answers(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec, order = make_spec(targets=3), [2, 0, 1]
    model, other, batch = small(spec).eval(), small(spec, seed=1).eval(), make_batch(spec)
    other.load_state_dict({n: v[order] if n.startswith(PER_TASK) else v for n, v in model.state_dict().items()})
    torch.testing.assert_close(other(batch).predictions, model(batch).predictions[:, order], atol=1e-5, rtol=1e-4)


def test_settings_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="need 2 <= levels"):
        CtamCsamSettings(levels=0)
