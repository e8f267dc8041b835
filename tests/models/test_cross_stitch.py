"""Laws of cross-stitch: what a unit mixes, what it keeps apart, symmetry of tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from biosig_mtl.models.cross_stitch import (
    ColumnLayer,
    CrossStitchSettings,
    StitchedColumns,
    StitchUnit,
    cross_stitch,
)
from biosig_mtl.models.hard_sharing import TrunkLayer
from biosig_mtl.models.network import Network
from biosig_mtl.types import Batch, InputSpec

MakeSpec = Callable[..., InputSpec]
MakeBatch = Callable[..., Batch]
SMALL: dict[str, Any] = {"width": 8, "stride": 16, "dropout": 0.0}


def small(spec: InputSpec, seed: int = 0, **words: Any) -> Network:
    torch.manual_seed(seed)
    return cross_stitch(CrossStitchSettings(**{**SMALL, **words}), spec)


def units(model: Network) -> list[StitchUnit]:
    return [cast("StitchUnit", unit) for unit in cast("StitchedColumns", model.body).units]


def mean(x: Tensor, axis: int = 0) -> Tensor:
    assert axis >= 0
    return x.mean(-2)


def test_a_unit_is_equation_1() -> None:
    # 0.9 · 1 + 0.1 · 10 = 1.9 and 0.1 · 1 + 0.9 · 10 = 9.1, by hand from eq. 1 with the numbers at birth.
    x = torch.stack([torch.full((1, 1, 1), 1.0), torch.full((1, 1, 1), 10.0)])
    torch.testing.assert_close(StitchUnit(2, 1)(x).flatten(), torch.tensor([1.9, 9.1]))
    unit = StitchUnit(3, 4)
    nn.init.normal_(unit.alpha)
    x = torch.randn(3, 2, 5, 4)
    expected = torch.stack([sum((unit.alpha[t, r] * x[r] for r in range(3)), torch.zeros(1)) for t in range(3)])
    torch.testing.assert_close(unit(x), expected)


@pytest.mark.parametrize("tasks", range(1, 5))
@pytest.mark.parametrize("features", [1, 8])
def test_units_are_born_as_shares(tasks: int, features: int) -> None:
    alpha = StitchUnit(tasks, features).alpha
    assert alpha.shape == (tasks, tasks, features)
    torch.testing.assert_close(alpha.sum(1), torch.ones(tasks, features))
    torch.testing.assert_close(alpha.diagonal(), torch.full((features, tasks), 0.9 if tasks > 1 else 1.0))
    # Columns that say the same go through a unit as they are.
    x = torch.randn(1, 2, 3, 8).expand(tasks, -1, -1, -1)
    torch.testing.assert_close(StitchUnit(tasks, features)(x), x)


@pytest.mark.parametrize("stitch", ["column", "feature"])
def test_only_the_units_let_a_loss_into_other_columns(make_spec: MakeSpec, make_batch: MakeBatch, stitch: str) -> None:
    spec = make_spec(targets=3)
    for mixed in (True, False):
        model = small(spec, stitch=stitch)
        for unit in units(model) if not mixed else []:
            with torch.no_grad():
                unit.alpha.copy_(torch.eye(3)[..., None].expand_as(unit.alpha))
        model(make_batch(spec)).predictions[:, 1].sum().backward()
        for name, parameter in model.body.named_parameters():
            if name.startswith("layers."):
                assert parameter.grad is not None
                assert parameter.grad[1].any()
                assert parameter.grad[0].any() == parameter.grad[2].any() == mixed
            else:
                assert parameter.grad is not None
                assert parameter.grad[1].all()
        # After the last layer nothing of other tasks is a way to this one.
        last = units(model)[-1].alpha.grad
        assert last is not None
        assert not last[[0, 2]].any()


def test_equal_rows_make_all_columns_one(make_spec: MakeSpec) -> None:
    body = small(make_spec(targets=3)).body
    tokens = torch.randn(4, 5, 8)
    apart = body(tokens, mean).embedding
    assert not torch.allclose(apart[:, 0], apart[:, 1])
    with torch.no_grad():
        for unit in cast("StitchedColumns", body).units:
            cast("StitchUnit", unit).alpha.fill_(1 / 3)
    one = body(tokens, mean).embedding
    torch.testing.assert_close(one, one[:, :1].expand(-1, 3, -1))


def test_matrices_of_features_that_agree_are_one_matrix(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec()
    plain, wide = small(spec).eval(), small(spec, stitch="feature").eval()
    batch = make_batch(spec)
    torch.testing.assert_close(plain(batch).predictions, wide(batch).predictions)
    with torch.no_grad():
        units(wide)[0].alpha[0, 1, 3] += 1.0
    moved = wide(batch).predictions
    assert not torch.allclose(plain(batch).predictions, moved)


def test_a_column_layer_is_a_trunk_layer_a_task() -> None:
    torch.manual_seed(0)
    stack, x = ColumnLayer(3, 8, 0.0), torch.randn(3, 2, 5, 8)
    for parameter in stack.parameters():
        nn.init.normal_(parameter, 0.3)
    for t in range(3):
        one = TrunkLayer(8, 0.0)
        given = {
            "norm.weight": stack.norm.gain[t].flatten(), "norm.bias": stack.norm.offset[t].flatten(),
            "wide.weight": stack.wide.weight[t].T, "wide.bias": stack.wide.bias[t, 0],
            "narrow.weight": stack.narrow.weight[t].T, "narrow.bias": stack.narrow.bias[t, 0],
        }  # fmt: skip
        one.load_state_dict(given)
        torch.testing.assert_close(stack(x)[t], one(x[t]))


@pytest.mark.parametrize("stitch", ["column", "feature"])
def test_the_order_of_tasks_does_not_matter(make_spec: MakeSpec, make_batch: MakeBatch, stitch: str) -> None:
    order = [2, 0, 1]
    spec = make_spec(targets=3)
    model, other = (small(spec, stitch=stitch, layers=3).eval() for _ in range(2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    state = model.state_dict()
    for name, value in state.items():
        if name.startswith(("heads.", "answers.", "body.")):
            state[name] = value[order][:, order] if name.endswith("alpha") else value[order]
    other.load_state_dict(state)
    batch = make_batch(spec)
    torch.testing.assert_close(other(batch).predictions, model(batch).predictions[:, order])
    assert not torch.allclose(other(batch).predictions, model(batch).predictions)


def test_the_units_are_shown(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec(targets=3)
    model = small(spec, layers=2, stitch="feature")
    out = model(make_batch(spec, 5))
    assert set(out.weights) == set(model.shown) == {f"stitch.{n}.{name}" for n in (1, 2) for name in spec.targets}
    with torch.no_grad():
        units(model)[1].alpha[1, 2] = torch.arange(8.0)
    told = model(make_batch(spec, 5)).weights["stitch.2.dbp"]
    torch.testing.assert_close(told, torch.tensor([0.05, 0.9, 3.5]).expand(5, -1))
    assert model.shown["stitch.2.dbp"] == spec.targets


def test_mixing_weights_do_not_decay(make_spec: MakeSpec) -> None:
    # The trainer decays what ends in `weight`: decay would pull a task away from its own column.
    names = [name for name, _ in small(make_spec()).named_parameters() if "units" in name]
    assert names
    assert not [name for name in names if name.endswith("weight")]


def test_one_task_works(make_spec: MakeSpec, make_batch: MakeBatch) -> None:
    spec = make_spec(targets=1)
    out = small(spec)(make_batch(spec, 1))
    assert out.predictions.shape == (1, 1)
    assert torch.equal(out.weights["stitch.1.sbp"], torch.ones(1, 1))


@pytest.mark.parametrize(("words", "message"), [({"layers": 0}, "layers >= 1, got 0"), ({"stitch": "task"}, "got task")])
def test_settings_refuse_nonsense(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CrossStitchSettings(**words)
